/* What a tokenizer does, for test_tokenizers.py to compare:
 *
 *     tokens learn N FILE       byte pairs learned from a file: the JSON arrays of its tokens and of its merges
 *     tokens encode DIR FILE    the tokens of a file by DIR/vocab.json and DIR/merges.txt, one a line
 */
#include <stdlib.h>
#include <string.h>

#include "models/lm/text/text.h"

static bool print(void *context, const int32_t *ids, int64_t count, tensor_error *err) {
    (void)context, (void)err;
    for (int64_t i = 0; i < count; i++) printf("%d\n", ids[i]);
    return true;
}

static bool learn(const char *count, const lm_text *text, tensor_arena *arena, tensor_error *err) {
    lm_tokenizer t;
    nn_metadata metadata[LM_TOKENIZER_KEYS];
    bool ok = lm_tokenizer_learn(&t, text, (int32_t)strtol(count, NULL, 10), arena, err) &&
              lm_tokenizer_metadata(&t, metadata, arena, err) == 3;
    return ok && printf("%s\n%s\n", metadata[1].value, metadata[2].value) > 0;
}

static bool encode(const char *folder, const lm_text *text, tensor_arena *arena, tensor_error *err) {
    lm_tokenizer t;
    return lm_tokenizer_choose(&t, folder, 0, NULL, arena, err) &&
           lm_encode_to(&t, text->bytes, text->size, print, NULL, err);
}

int main(int argc, char **argv) {
    tensor_error err = {0};
    lm_text text;
    if (argc != 4) return fputs("usage: tokens learn N FILE | tokens encode DIR FILE\n", stderr), 2;
    tensor_arena *arena = tensor_arena_new(&err);
    bool ok = arena && lm_text_read(&text, argv[3], LM_BYTE, &err);
    if (ok) {
        ok = (strcmp(argv[1], "learn") == 0 ? learn : encode)(argv[2], &text, arena, &err);
        lm_text_free(&text);
    }
    tensor_arena_free(arena);
    if (!ok) fprintf(stderr, "tokens: %s\n", err.text);
    return !ok;
}
