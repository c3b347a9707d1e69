/* Feeds bytes to the readers of vocab.json, merges.txt and added_tokens.json, with NULs between them, and to that of
 * tokenizer.json. What stands behind a third NUL says by its length how many tokens the model has. What they accept turns
 * texts into tokens and these back into the text, unless the vocabulary lacks a byte of it; what they refuse has a
 * reason. */
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

/* What is accepted turns its own tokens, one behind the other, and the input into tokens and back. */
static void check(const lm_tokenizer *t, const uint8_t *data, size_t size, tensor_arena *arena) {
    uint8_t own[2048];
    size_t used = 0;
    for (int32_t i = 0; i < t->count && i < 4096; i++) {
        const lm_piece piece = lm_decode(t, i);
        if (piece.size > sizeof own - used) break;
        if (piece.size) memcpy(own + used, piece.bytes, piece.size);
        used += piece.size;
    }
    check_text(t, own, used, arena);
    if (t->kind == LM_BPE) check_text(t, data, size, arena); /* characters read line ends and UTF-8 alone */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json"};
    fuzz_piece rest = {data, size}, piece;
    char path[FUZZ_PATH];
    lm_tokenizer t;
    fuzz_folder_begin();
    tensor_arena *arena = fuzz_arena();
    for (int i = 0; i < 3 && fuzz_cut(&rest, &piece); i++) fuzz_file(names[i], piece.bytes, piece.size);
    const int64_t rows = (int64_t)rest.size;
    tensor_error err = {0};
    bool ok = lm_tokenizer_of_folder(&t, fuzz_folder, rows, arena, &err);
    CHECK(ok == !err.text[0]);
    CHECK(ok || strstr(err.text, fuzz_folder));
    if (ok) check(&t, data, size, arena);
    arena = fuzz_arena();
    fuzz_file("tokenizer.json", data, size);
    err = (tensor_error){0};
    ok = lm_tokenizer_of_json(&t, fuzz_path("tokenizer.json", path), 0, arena, &err);
    CHECK(ok == !err.text[0]);
    if (ok) check(&t, data, size, arena);
    return 0;
}
