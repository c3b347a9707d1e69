/* GGUF, llama.cpp's format of models: a header, keys with values, tensors with their places, and the numbers. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/files/files.h"

enum { GGUF_VERSION = 3, ALIGNMENT = 32, F32 = 0 };
enum { U32 = 4, I32 = 5, REAL32 = 6, TRUTH = 7, STRING = 8, ARRAY = 9 }; /* types of values */
enum { NORMAL = 1, CONTROL = 3, UNUSED = 5 };                            /* types of tokens */

static void put_u32(FILE *file, uint32_t x) {
    fwrite(&x, sizeof x, 1, file); /* little-endian, as all of this library */
}

static void put_u64(FILE *file, uint64_t x) {
    fwrite(&x, sizeof x, 1, file);
}

static void put_string(FILE *file, const char *text) {
    put_u64(file, strlen(text));
    fputs(text, file);
}

/* ---- Keys with values: each function writes one and returns 1, to count them ----------------------- */

static int put_number(FILE *file, const char *key, int64_t value) {
    put_string(file, key);
    put_u32(file, U32);
    put_u32(file, (uint32_t)value);
    return 1;
}

static int put_text(FILE *file, const char *key, const char *value) {
    put_string(file, key);
    put_u32(file, STRING);
    put_string(file, value);
    return 1;
}

static int put_fact(FILE *file, const lm_fact *fact) {
    const float number = fact->kind == LM_REAL ? (float)fact->real : 0;
    if (fact->kind == LM_TEXT) return put_text(file, fact->key, fact->text);
    if (fact->kind == LM_INTEGER) return put_number(file, fact->key, fact->integer);
    put_string(file, fact->key);
    put_u32(file, fact->kind == LM_REAL ? REAL32 : TRUTH);
    if (fact->kind == LM_REAL)
        fwrite(&number, sizeof number, 1, file);
    else
        fputc(fact->yes, file);
    return 1;
}

static int put_array(FILE *file, const char *key, uint32_t type, uint64_t count) {
    put_string(file, key);
    put_u32(file, ARRAY);
    put_u32(file, type);
    put_u64(file, count);
    return 1;
}

/* The tokenizer as byte pairs. llama.cpp wants a token that ends a text, and takes number 11 where there is none: a
 * spare one behind the others is that then. */
static int put_tokenizer(FILE *file, const lm_publication *p, const lm_tokenizer *t, tensor_error *err) {
    const char *const *tokens, *const *merges;
    int32_t merge_count;
    int keys = 0;
    if (!lm_tokenizer_as_bpe(t, &tokens, &merges, &merge_count, p->arena, err)) return -1;
    const int32_t end = p->spare ? t->count : lm_tokenizer_end(t);
    keys += put_text(file, "tokenizer.ggml.model", "gpt2");
    keys += put_text(file, "tokenizer.ggml.pre", "gpt-2");
    keys += put_array(file, "tokenizer.ggml.tokens", STRING, (uint64_t)t->count + p->spare);
    for (int32_t i = 0; i < t->count; i++) {
        char name[32];
        const lm_piece piece = lm_decode(t, i);
        const bool whole = lm_tokenizer_is_whole(t, i);
        snprintf(name, sizeof name, "<|spare %d|>", i);
        if (whole) put_u64(file, piece.size), fwrite(piece.bytes, 1, piece.size, file);
        if (!whole) put_string(file, piece.size > 0 ? tokens[i] : name);
    }
    if (p->spare) put_string(file, "<|endoftext|>");
    keys += put_array(file, "tokenizer.ggml.token_type", I32, (uint64_t)t->count + p->spare);
    for (int32_t i = 0; i < t->count; i++)
        put_u32(file, lm_decode(t, i).size == 0 ? UNUSED : lm_tokenizer_is_whole(t, i) ? CONTROL : NORMAL);
    if (p->spare) put_u32(file, CONTROL);
    keys += put_array(file, "tokenizer.ggml.merges", STRING, (uint64_t)merge_count);
    for (int32_t i = 0; i < merge_count; i++) put_string(file, merges[i]);
    keys += put_number(file, "tokenizer.ggml.bos_token_id", end);
    keys += put_number(file, "tokenizer.ggml.eos_token_id", end);
    keys += put_fact(file, &(lm_fact){.key = "tokenizer.ggml.add_bos_token", .kind = LM_YES_NO});
    return keys;
}

/* Returns how many there are; -1: failed. */
static int put_keys(FILE *file, const lm_publication *p, const lm_tokenizer *t, tensor_error *err) {
    int keys = put_text(file, "general.architecture", p->type);
    keys += put_number(file, "general.file_type", 0); /* all float32 */
    for (int i = 0; i < p->fact_count; i++) keys += put_fact(file, &p->facts[i]);
    const int more = put_tokenizer(file, p, t, err);
    return more < 0 ? -1 : keys + more;
}

/* ---- The file ----------------------------------------------------------------------------------------- */

static void pad(FILE *file, uint64_t size) {
    for (; size % ALIGNMENT; size++) fputc(0, file);
}

static uint64_t aligned(uint64_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_places(FILE *file, const lm_publication *p) {
    uint64_t offset = 0;
    for (int i = 0; i < p->tensor_count; i++) {
        const nn_entry *e = &p->tensors[i];
        put_string(file, e->name);
        put_u32(file, (uint32_t)e->rank);
        for (int axis = e->rank - 1; axis >= 0; axis--) put_u64(file, (uint64_t)e->shape[axis]);
        put_u32(file, F32);
        put_u64(file, offset);
        offset += aligned(e->bytes);
    }
}

bool lm_gguf_write(FILE *file, const lm_publication *p, const lm_tokenizer *t, tensor_error *err) {
    lm_sheet head;
    if (!lm_sheet_open(&head, err)) return false;
    const int keys = put_keys(head.file, p, t, err);
    put_places(head.file, p);
    const bool ok = lm_sheet_close(&head, keys < 0 ? NULL : err) && keys >= 0;
    if (ok) {
        fwrite("GGUF", 1, 4, file);
        put_u32(file, GGUF_VERSION);
        put_u64(file, (uint64_t)p->tensor_count);
        put_u64(file, (uint64_t)keys);
        fwrite(head.text, 1, head.size, file);
        pad(file, 4 + 4 + 8 + 8 + head.size);
        for (int i = 0; i < p->tensor_count; i++) {
            fwrite(p->tensors[i].data, 1, p->tensors[i].bytes, file);
            pad(file, p->tensors[i].bytes);
        }
    }
    free(head.text);
    return ok;
}
