/* Feeds bytes to the readers of vocab.json and merges.txt, of which the first byte 0 cuts the two, and to that of
 * tokenizer.json. What they accept turns a text into tokens and these back into the text, unless the vocabulary lacks a
 * byte of it; what they refuse has a reason. */
#include "models/lm/text/text.h"
#include "tests/fuzz/folder.h"

static void check_text(const lm_tokenizer *t, const uint8_t *data, size_t size, tensor_arena *arena) {
    tensor_error err = {0};
    tensor ids = lm_encode(t, (const char *)data, size, arena, &err);
    CHECK(tensor_ok(ids) == !err.text[0]);
    if (!tensor_ok(ids)) {
        CHECK(strstr(err.text, "is not in the checkpoint's vocabulary"));
        return;
    }
    size_t at = 0;
    for (int64_t i = 0; i < ids.shape[0]; i++) {
        CHECK(ids.i32[i] >= 0 && ids.i32[i] < t->count);
        lm_piece piece = lm_decode(t, ids.i32[i]);
        CHECK(piece.size > 0 && piece.size <= size - at && memcmp(piece.bytes, data + at, piece.size) == 0);
        at += piece.size;
    }
    CHECK(at == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tensor_arena *arena;
    if (!arena) arena = tensor_arena_new(NULL);
    CHECK(arena);
    fuzz_folder_begin();
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size;
    char paths[2][FUZZ_PATH];
    fuzz_file("vocab.json", data, first);
    fuzz_file("merges.txt", data + first + (nul != NULL), size - first - (nul != NULL));
    tensor_error err = {0};
    lm_tokenizer t;
    bool ok = lm_tokenizer_of_files(&t, fuzz_path("vocab.json", paths[0]), fuzz_path("merges.txt", paths[1]),
                                    NULL, 0, arena, &err);
    CHECK(ok == !err.text[0]);
    CHECK(ok || strstr(err.text, fuzz_folder));
    if (ok) check_text(&t, data, size, arena);
    tensor_arena_reset(arena);
    fuzz_file("tokenizer.json", data, size);
    err = (tensor_error){0};
    ok = lm_tokenizer_of_json(&t, fuzz_path("tokenizer.json", paths[0]), 0, arena, &err);
    CHECK(ok == !err.text[0]);
    if (ok) check_text(&t, data, size, arena);
    tensor_arena_reset(arena);
    return 0;
}
