/* Tokenizers: vocabularies, and bytes to tokens and back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/cli.h"
#include "models/lm/text/tokenizer_internal.h"

uint64_t lm_hash(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) hash = (hash ^ b[i]) * LM_HASH_PRIME;
    return hash;
}

/* ---- Vocabularies -------------------------------------------------------------------------- */

static bool tokenizer_new(lm_tokenizer *t, lm_tokenizer_kind kind, tensor_arena *arena, tensor_error *err) {
    *t = (lm_tokenizer){.kind = kind, .tokens = lm_table_new(arena, err)};
    return t->tokens != NULL;
}

/* Adds the next token, of which *repeated says whether it was there. */
static bool add(lm_tokenizer *t, const void *bytes, size_t size, bool *repeated, tensor_error *err) {
    int32_t id = lm_table_add(t->tokens, bytes, size, err);
    *repeated = id >= 0 && id < t->count;
    t->count = t->tokens->count;
    return id >= 0;
}

bool lm_tokenizer_of_text(lm_tokenizer *t, const lm_text *text, tensor_arena *arena, tensor_error *err) {
    if (!tokenizer_new(t, LM_CHAR, arena, err)) return false;
    bool *seen = calloc(LM_MAX_VOCABULARY, sizeof *seen), ok = true, repeated;
    if (!seen) return tensor_fail(err, "out of memory");
    uint32_t code = 0, end = 0;
    for (size_t at = 0; at < text->size;) {
        at += (size_t)lm_utf8_next(text->bytes + at, text->size - at, &code);
        seen[code] = true;
        if (end <= code) end = code + 1;
    }
    for (code = 0; ok && code < end; code++) {
        char character[5];
        if (seen[code]) ok = add(t, character, (size_t)lm_utf8_encode(code, character), &repeated, err);
    }
    free(seen);
    return ok;
}

bool lm_tokenizer_of_strings(lm_tokenizer *t, const char *const *strings, int count, tensor_arena *arena,
                             tensor_error *err) {
    if (!tokenizer_new(t, LM_CHAR, arena, err)) return false;
    for (int i = 0; i < count; i++) {
        size_t size = strlen(strings[i]);
        uint32_t code;
        bool repeated;
        int length = lm_utf8_decode(strings[i], size, &code);
        if (length == 0 || (size_t)length != size)
            return tensor_fail(err, "entry %d of the vocabulary is not one character", i);
        if (!add(t, strings[i], size, &repeated, err)) return false;
        if (repeated) return tensor_fail(err, "the vocabulary has entry %d twice", i);
    }
    return true;
}

bool lm_tokenizer_of_bytes(lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    if (!tokenizer_new(t, LM_BYTE, arena, err)) return false;
    bool repeated;
    for (int i = 0; i < 256; i++) {
        if (!add(t, &(unsigned char){(unsigned char)i}, 1, &repeated, err)) return false;
    }
    return true;
}

static const char *const kinds[] = {[LM_CHAR] = "char", [LM_BYTE] = "byte", [LM_BPE] = "bpe"};
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *lm_tokenizer_name(lm_tokenizer_kind kind) {
    return kinds[kind];
}

/* KINDS: none has that name. */
static int kind_named(const char *name) {
    int i = 0;
    while (i < KINDS && strcmp(name, kinds[i]) != 0) i++;
    return i;
}

lm_tokenizer_kind lm_tokenizer_kind_of(const char *choice) {
    int kind = kind_named(choice);
    return kind < KINDS ? (lm_tokenizer_kind)kind : LM_BPE;
}

bool lm_tokenizer_check(const char *choice, tensor_error *err) {
    if (kind_named(choice) < KINDS) return true;
    const lm_place place = lm_place_of(choice, NULL);
    if (place == LM_FOLDER || place == LM_UNKNOWN) return true; /* who reads it says what is wrong */
    const char *nearest = lm_nearest(choice, kinds, KINDS);
    return tensor_fail(err, "--tokenizer: '%.60s' is none of char, byte and bpe, and no folder%s%s%s", choice,
                       nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

bool lm_tokenizer_choose(lm_tokenizer *t, const char *choice, int32_t count, const lm_text *text,
                         tensor_arena *arena, tensor_error *err) {
    switch (kind_named(choice)) {
    case LM_CHAR:
        return lm_tokenizer_of_text(t, text, arena, err);
    case LM_BYTE:
        return lm_tokenizer_of_bytes(t, arena, err);
    case LM_BPE:
        return lm_tokenizer_learn(t, text, count, arena, err);
    default:
        break;
    }
    return lm_tokenizer_of_folder(t, choice, 0, arena, err);
}

lm_piece lm_decode(const lm_tokenizer *t, int32_t id) {
    return lm_table_at(t->tokens, id);
}

int32_t lm_tokenizer_find(const lm_tokenizer *t, const char *bytes, size_t size) {
    return lm_table_find(t->tokens, bytes, size);
}

int32_t lm_tokenizer_start(const lm_tokenizer *t) {
    const int32_t newline = lm_tokenizer_find(t, "\n", 1), end = lm_tokenizer_end(t);
    if (end >= 0) return end;
    return newline >= 0 ? newline : 0;
}

int32_t lm_tokenizer_end(const lm_tokenizer *t) {
    return t->kind == LM_BPE ? t->bpe->end_of_text : -1;
}

void lm_tokenizer_set_end(lm_tokenizer *t, int64_t id) {
    if (t->kind == LM_BPE && id >= 0 && id < t->count) t->bpe->end_of_text = (int32_t)id;
}

/* ---- Encoding ------------------------------------------------------------------------------ */

bool lm_outlet_flush(lm_outlet *outlet, tensor_error *err) {
    int64_t count = outlet->count;
    outlet->count = 0;
    return count == 0 || outlet->sink(outlet->context, outlet->ids, count, err);
}

bool lm_fail_unknown(const char *bytes, size_t size, size_t at, tensor_error *err) {
    int64_t line = 1, column = 1;
    size_t begin = at;
    uint32_t code = 0;
    while (begin > 0 && at - begin < 3 && (bytes[begin] & 0xc0) == 0x80) begin--;
    const size_t length = (size_t)lm_utf8_decode(bytes + begin, size - begin, &code);
    const bool character = length > at - begin;
    if (character) at = begin;
    for (size_t i = 0; i < at; i++) {
        bool continues = (bytes[i] & 0xc0) == 0x80;
        column = bytes[i] == '\n' ? 1 : column + !continues;
        line += bytes[i] == '\n';
    }
    char what[40], encoded[5];
    lm_utf8_encode(code, encoded);
    if (!character)
        snprintf(what, sizeof what, "byte 0x%02x", (unsigned char)bytes[at]);
    else if (lm_is_control(code))
        snprintf(what, sizeof what, "character U+%04" PRIX32, code);
    else
        snprintf(what, sizeof what, "character '%s' U+%04" PRIX32, encoded, code);
    return tensor_fail(err,
                       "the %s in line %" PRId64 ", column %" PRId64 " is not in the checkpoint's vocabulary",
                       what, line, column);
}

/* Lines of people's texts end in "\r\n", too: where the vocabulary has no "\r", they are read as if in "\n" alone. */
static bool encode_characters(const lm_tokenizer *t, const char *bytes, size_t size, lm_outlet *outlet,
                              tensor_error *err) {
    int32_t near[0x800]; /* the tokens of the characters of one or two bytes, most of those of most texts */
    for (uint32_t code = 0; code < 0x800; code++) {
        char character[5];
        near[code] = lm_tokenizer_find(t, character, (size_t)lm_utf8_encode(code, character));
    }
    for (size_t at = 0; at < size;) {
        uint32_t code = 0;
        int length = lm_utf8_next(bytes + at, size - at, &code);
        if (length == 0) return lm_utf8_count(bytes, size, err) >= 0; /* says where */
        int32_t id = code < 0x800 ? near[code] : lm_tokenizer_find(t, bytes + at, (size_t)length);
        const bool line_end = code == '\r' && at + 1 < size && bytes[at + 1] == '\n';
        if (id < 0 && !line_end) return lm_fail_unknown(bytes, size, at, err);
        if (id >= 0 && !lm_outlet_put(outlet, id, err)) return false;
        at += (size_t)length;
    }
    return true;
}

static bool encode_bytes(const char *bytes, size_t size, lm_outlet *outlet, tensor_error *err) {
    bool ok = true;
    for (size_t i = 0; ok && i < size; i++) ok = lm_outlet_put(outlet, (unsigned char)bytes[i], err);
    return ok;
}

bool lm_encode_to(const lm_tokenizer *t, const char *bytes, size_t size, lm_token_sink sink, void *context,
                  tensor_error *err) {
    lm_outlet outlet;
    outlet.sink = sink;
    outlet.context = context;
    outlet.count = 0;
    bool ok = t->kind == LM_CHAR  ? encode_characters(t, bytes, size, &outlet, err)
              : t->kind == LM_BPE ? lm_bpe_encode(t, bytes, size, &outlet, err)
                                  : encode_bytes(bytes, size, &outlet, err);
    return ok && lm_outlet_flush(&outlet, err);
}

/* A sink: appends to the int32s that `context` points to. */
static bool append(void *context, const int32_t *ids, int64_t count, tensor_error *err) {
    int32_t **end = context;
    (void)err;
    memcpy(*end, ids, (size_t)count * sizeof *ids);
    *end += count;
    return true;
}

tensor lm_encode(const lm_tokenizer *t, const char *bytes, size_t size, tensor_arena *arena,
                 tensor_error *err) {
    tensor ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE((int64_t)size), err); /* a token has a byte */
    int32_t *end = ids.i32;
    if (!tensor_ok(ids) || !lm_encode_to(t, bytes, size, append, &end, err)) return (tensor){0};
    return tensor_slice(ids, 0, 0, end - ids.i32, 1, err);
}

/* ---- In checkpoints ------------------------------------------------------------------------ */

const char *lm_json_array(const char *const *strings, int32_t count, tensor_arena *arena, tensor_error *err) {
    size_t size = 3, used = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!strings[i]) return NULL;
        size += nn_json_quote(NULL, 0, strings[i]) + 2;
    }
    char *json = tensor_arena_alloc(arena, size, err);
    if (!json) return NULL;
    json[used++] = '[';
    for (int32_t i = 0; i < count; i++) {
        if (i > 0) used += (size_t)snprintf(json + used, size - used, ", ");
        used += nn_json_quote(json + used, size - used, strings[i]);
    }
    snprintf(json + used, size - used, "]");
    return json;
}

bool lm_read_strings(const nn_file *file, const char *key, tensor_arena *arena, const char *const **strings,
                     int *count, tensor_error *err) {
    const char *json = nn_file_metadata(file, key);
    tensor_error fault = {0};
    if (!json) return tensor_fail(err, "the metadata lack '%s'", key);
    return nn_json_strings(json, arena, strings, count, &fault) ||
           tensor_fail(err, "%s: %s", key, fault.text);
}

static const char *characters_json(const lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    const char **strings = tensor_arena_alloc(arena, (size_t)t->count * sizeof *strings, err);
    char(*texts)[5] = tensor_arena_alloc(arena, (size_t)t->count * sizeof *texts, err);
    if (!strings || !texts) return NULL;
    for (int32_t i = 0; i < t->count; i++) {
        lm_piece piece = lm_decode(t, i);
        memcpy(texts[i], piece.bytes, piece.size);
        texts[i][piece.size] = '\0';
        strings[i] = texts[i];
    }
    return lm_json_array(strings, t->count, arena, err);
}

int lm_tokenizer_metadata(const lm_tokenizer *t, nn_metadata metadata[LM_TOKENIZER_KEYS], tensor_arena *arena,
                          tensor_error *err) {
    metadata[0] = (nn_metadata){"tokenizer", kinds[t->kind]};
    if (t->kind == LM_BYTE) return 1;
    if (t->kind == LM_BPE) {
        int count = lm_bpe_metadata(t, metadata + 1, arena, err);
        return count < 0 ? -1 : 1 + count;
    }
    metadata[1] = (nn_metadata){"vocabulary", characters_json(t, arena, err)};
    return metadata[1].value ? 2 : -1;
}

bool lm_tokenizer_of_file(lm_tokenizer *t, const nn_file *file, tensor_arena *arena, tensor_error *err) {
    const char *kind = nn_file_metadata(file, "tokenizer"), *const * strings;
    int count;
    if (!kind) return tensor_fail(err, "the metadata lack 'tokenizer'");
    switch (kind_named(kind)) {
    case LM_CHAR:
        return lm_read_strings(file, "vocabulary", arena, &strings, &count, err) &&
               lm_tokenizer_of_strings(t, strings, count, arena, err);
    case LM_BYTE:
        return lm_tokenizer_of_bytes(t, arena, err);
    case LM_BPE:
        return lm_bpe_of_file(t, file, arena, err);
    default:
        return tensor_fail(err, "its tokenizer is '%.40s', none of char, byte and bpe", kind);
    }
}
