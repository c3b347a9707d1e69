/* Feeds bytes to what reads texts: as characters and as bytes, with vocabularies and byte pairs made of them, as a file
 * of tokens, and as such a file for another text. What is accepted turns into tokens and back, also by a tokenizer that
 * was written and read again. */
#include <fcntl.h>

#include "models/lm/text/text.h"
#include "tests/fuzz/folder.h"

static void check_ids(const lm_tokenizer *t, tensor ids, const lm_text *text) {
    size_t at = 0;
    for (int64_t i = 0; i < ids.shape[0]; i++) {
        const lm_piece piece = lm_decode(t, ids.i32[i]);
        CHECK(ids.i32[i] >= 0 && ids.i32[i] < t->count);
        CHECK(piece.size > 0 && piece.size <= text->size - at &&
              memcmp(piece.bytes, text->bytes + at, piece.size) == 0);
        at += piece.size;
    }
    CHECK(at == text->size);
}

/* Byte pairs written as JSON and read again make the same tokens. */
static void check_written(const lm_tokenizer *t, tensor ids, const lm_text *text, tensor_arena *arena) {
    char path[FUZZ_PATH];
    tensor_error err = {0};
    lm_tokenizer again;
    FILE *file = fopen(fuzz_path("tokenizer.json", path), "w");
    CHECK(file && lm_tokenizer_write_json(t, file, &err) && fclose(file) == 0);
    CHECK(lm_tokenizer_of_json(&again, path, 0, arena, &err) && again.count == t->count);
    const tensor same = lm_encode(&again, text->bytes, text->size, arena, &err);
    CHECK(tensor_ok(same) && same.shape[0] == ids.shape[0]);
    CHECK(memcmp(same.i32, ids.i32, (size_t)tensor_size(ids) * sizeof *ids.i32) == 0);
}

/* The tokens in a file of tokens are those of the text, whatever the file held before. */
static void check_corpus(const lm_tokenizer *t, tensor ids, const lm_text *text) {
    char path[FUZZ_PATH];
    tensor_error err = {0};
    lm_corpus corpus;
    CHECK(lm_corpus_open(&corpus, t, text, fuzz_path("tokens.bin", path), &err));
    CHECK(corpus.tokens.count == ids.shape[0]);
    for (int64_t i = 0; i < ids.shape[0]; i++) {
        int32_t id;
        lm_tokens_read(corpus.tokens, i, 1, &id);
        CHECK(id == ids.i32[i]);
    }
    lm_extent extent;
    CHECK(lm_extent_of(&extent, t, corpus.tokens, &err) && (size_t)extent.bytes == text->size);
    lm_corpus_free(&corpus);
}

static void check_tokenizer(const lm_tokenizer *t, const lm_text *text, tensor_arena *arena) {
    tensor_error err = {0};
    const tensor ids = lm_encode(t, text->bytes, text->size, arena, &err);
    CHECK(tensor_ok(ids));
    check_ids(t, ids, text);
    check_corpus(t, ids, text);
    /* Texts of every fourth length: for each of them this would take more than half of the time. */
    if (t->kind == LM_BPE && text->size % 4 == 0) check_written(t, ids, text, arena);
}

static void check_kind(int fd, lm_tokenizer_kind kind, tensor_arena *arena) {
    tensor_error err = {0};
    lm_text text = {0};
    lm_tokenizer t;
    const bool ok = lm_text_map(&text, fd, kind, &err);
    CHECK(ok == !err.text[0] && !strchr(err.text, '\n'));
    if (ok) {
        CHECK(kind != LM_CHAR || lm_tokenizer_of_text(&t, &text, arena, &err));
        CHECK(kind != LM_BYTE || lm_tokenizer_of_bytes(&t, arena, &err));
        CHECK(kind != LM_BPE || lm_tokenizer_learn(&t, &text, 300, arena, &err));
        check_tokenizer(&t, &text, arena);
    }
    lm_text_free(&text);
}

/* Tokens in the bytes themselves are in the vocabulary, or an error of whoever counts them. */
static void check_alone(tensor_arena *arena) {
    char path[FUZZ_PATH];
    tensor_error err = {0};
    lm_tokenizer t;
    lm_corpus corpus = {0};
    lm_extent extent;
    CHECK(lm_tokenizer_of_bytes(&t, arena, &err));
    const bool ok = lm_corpus_open(&corpus, &t, NULL, fuzz_path("tokens.bin", path), &err);
    CHECK(ok == !err.text[0]);
    if (ok) CHECK(lm_extent_of(&extent, &t, corpus.tokens, &err) == !err.text[0]);
    lm_corpus_free(&corpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[FUZZ_PATH];
    fuzz_folder_begin();
    tensor_arena *arena = fuzz_arena();
    fuzz_file("tokens.bin", data, size);
    fuzz_file("text", data, size);
    check_alone(arena);
    const int fd = open(fuzz_path("text", path), O_RDONLY);
    CHECK(fd >= 0);
    check_kind(fd, LM_CHAR, arena);
    check_kind(fd, LM_BYTE, arena);
    check_kind(fd, LM_BPE, arena);
    close(fd);
    return 0;
}
