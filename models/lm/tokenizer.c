/* UTF-8, and characters as tokens. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/lm.h"

/* ---- UTF-8 (The Unicode Standard, table 3-7) ----------------------------------------------- */

int lm_utf8_decode(const char *bytes, size_t size, uint32_t *code) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* what needs that many bytes */
    if (size == 0) return 0;
    unsigned char first = (unsigned char)bytes[0];
    int length = first < 0x80         ? 1
                 : (first >> 5) == 6  ? 2
                 : (first >> 4) == 14 ? 3
                 : (first >> 3) == 30 ? 4
                                      : 0;
    if (length == 0 || (size_t)length > size) return 0;
    uint32_t c = length == 1 ? first : first & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        unsigned char next = (unsigned char)bytes[i];
        if ((next & 0xc0) != 0x80) return 0;
        c = c << 6 | (next & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    if (c < smallest[length] || c > 0x10ffff || surrogate) return 0;
    *code = c;
    return length;
}

int lm_utf8_encode(uint32_t code, char bytes[5]) {
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(length == 1 ? code : (0xf0u << (4 - length) & 0xff) | code);
    bytes[length] = '\0';
    return length;
}

int64_t lm_utf8_count(const char *bytes, size_t size, tensor_error *err) {
    int64_t count = 0;
    uint32_t code;
    for (size_t at = 0; at < size; count++) {
        int length = lm_utf8_decode(bytes + at, size - at, &code);
        if (length == 0) {
            tensor_fail(err,
                        "byte %zu is not valid UTF-8 (0x%02x); convert it, e.g. iconv -f latin1 -t utf-8",
                        at + 1, (unsigned char)bytes[at]);
            return -1;
        }
        at += (size_t)length;
    }
    return count;
}

/* ---- Vocabulary ---------------------------------------------------------------------------- */

static bool tokenizer_new(lm_tokenizer *t, int count, tensor_arena *arena, tensor_error *err) {
    t->count = count;
    t->codes = tensor_arena_alloc(arena, (size_t)count * sizeof *t->codes, err);
    t->sorted = tensor_arena_alloc(arena, (size_t)count * sizeof *t->sorted, err);
    return t->codes && t->sorted;
}

bool lm_tokenizer_of_text(lm_tokenizer *t, const lm_text *text, tensor_arena *arena, tensor_error *err) {
    bool *seen = calloc(LM_MAX_VOCABULARY, sizeof *seen);
    if (!seen) return tensor_fail(err, "out of memory");
    int count = 0;
    uint32_t code = 0;
    for (size_t at = 0; at < text->size;) {
        at += (size_t)lm_utf8_decode(text->bytes + at, text->size - at, &code);
        count += !seen[code];
        seen[code] = true;
    }
    bool ok = tokenizer_new(t, count, arena, err);
    int32_t id = 0;
    for (code = 0; ok && code < LM_MAX_VOCABULARY; code++) {
        if (!seen[code]) continue;
        t->codes[id] = code;
        t->sorted[id] = id;
        id++;
    }
    free(seen);
    return ok;
}

/* Tokens and their code points, for sorting the one by the other. */
struct coded {
    uint32_t code;
    int32_t id;
};

static int by_code(const void *a, const void *b) {
    const struct coded *x = a, *y = b;
    return (x->code > y->code) - (x->code < y->code);
}

bool lm_tokenizer_of_strings(lm_tokenizer *t, const char *const *strings, int count, tensor_arena *arena,
                             tensor_error *err) {
    if (!tokenizer_new(t, count, arena, err)) return false;
    struct coded *order = tensor_arena_alloc(arena, (size_t)count * sizeof *order, err);
    if (!order) return false;
    for (int32_t i = 0; i < count; i++) {
        size_t size = strlen(strings[i]);
        int length = lm_utf8_decode(strings[i], size, &t->codes[i]);
        if (length == 0 || (size_t)length != size) {
            return tensor_fail(err, "entry %d of the vocabulary is not one character", i);
        }
        order[i] = (struct coded){t->codes[i], i};
    }
    qsort(order, (size_t)count, sizeof *order, by_code);
    for (int32_t i = 0; i < count; i++) {
        if (i > 0 && order[i].code == order[i - 1].code) {
            return tensor_fail(err, "the vocabulary has entry %d twice", order[i].id);
        }
        t->sorted[i] = order[i].id;
    }
    return true;
}

int32_t lm_tokenizer_find(const lm_tokenizer *t, uint32_t code) {
    int32_t low = 0, high = t->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (t->codes[t->sorted[middle]] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->count && t->codes[t->sorted[low]] == code ? t->sorted[low] : -1;
}

/* Says which character is not in the vocabulary and where: after `at` bytes. */
static void fail_unknown(const char *bytes, size_t at, uint32_t code, tensor_error *err) {
    int64_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        bool continues = (bytes[i] & 0xc0) == 0x80;
        column = bytes[i] == '\n' ? 1 : column + !continues;
        line += bytes[i] == '\n';
    }
    char character[5], shown[10] = "";
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    lm_utf8_encode(code, character);
    if (!control) snprintf(shown, sizeof shown, " '%s'", character);
    tensor_fail(err,
                "the character%s U+%04" PRIX32 " in line %" PRId64 ", column %" PRId64 " is not in the "
                "checkpoint's vocabulary",
                shown, code, line, column);
}

tensor lm_encode(const lm_tokenizer *t, const char *bytes, size_t size, tensor_arena *arena,
                 tensor_error *err) {
    int64_t count = lm_utf8_count(bytes, size, err);
    if (count < 0) return (tensor){0};
    tensor ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(count), err);
    size_t at = 0;
    for (int64_t i = 0; tensor_ok(ids) && i < count; i++) {
        uint32_t code = 0;
        int length = lm_utf8_decode(bytes + at, size - at, &code);
        int32_t id = lm_tokenizer_find(t, code);
        if (id < 0) {
            fail_unknown(bytes, at, code, err);
            return (tensor){0};
        }
        ids.i32[i] = id;
        at += (size_t)length;
    }
    return ids;
}
