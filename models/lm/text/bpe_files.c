/* Vocabularies of byte pairs in files: GPT-2's vocab.json and merges.txt, and checkpoints. In both, a token is
 * written as symbols, one for each byte: the byte itself where that is a visible character of Latin-1, else one
 * of the characters from U+0100 on. */
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

enum { SYMBOLS = 0x100 + 68 /* bytes that are not visible */ };

typedef struct alphabet {
    uint32_t symbol[256];  /* of each byte */
    int16_t byte[SYMBOLS]; /* of each symbol; -1: it is none */
} alphabet;

static alphabet make_alphabet(void) {
    alphabet a;
    uint32_t next = 0x100;
    memset(a.byte, -1, sizeof a.byte);
    for (int b = 0; b < 256; b++) {
        bool visible = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        a.symbol[b] = visible ? (uint32_t)b : next++;
        a.byte[a.symbol[b]] = (int16_t)b;
    }
    return a;
}

/* The bytes that `size` bytes of symbols stand for, written over them; -1: some are no symbols. */
static int64_t read_symbols(const alphabet *a, char *text, size_t size) {
    int64_t count = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        int length = lm_utf8_decode(text + at, size - at, &code);
        if (length == 0 || code >= SYMBOLS || a->byte[code] < 0) return -1;
        text[count++] = (char)a->byte[code];
        at += (size_t)length;
    }
    return count;
}

/* Writes the symbols of a piece and a NUL; returns their end. */
static char *write_symbols(const alphabet *a, lm_piece piece, char *text) {
    for (size_t i = 0; i < piece.size; i++)
        text += lm_utf8_encode(a->symbol[(unsigned char)piece.bytes[i]], text);
    *text = '\0';
    return text;
}

/* ---- Vocabularies --------------------------------------------------------------------------- */

static bool begin(lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    lm_bpe *bpe = tensor_arena_alloc(arena, sizeof *bpe, err);
    *t = (lm_tokenizer){.kind = LM_BPE, .tokens = lm_table_new(arena, err), .bpe = bpe};
    if (!bpe || !t->tokens) return false;
    *bpe = (lm_bpe){.pairs = lm_table_new(arena, err), .capacity = 1024};
    bpe->made = tensor_arena_alloc(arena, (size_t)bpe->capacity * sizeof *bpe->made, err);
    return bpe->pairs && bpe->made;
}

/* When all tokens are there. */
static bool finish(lm_tokenizer *t, tensor_error *err) {
    lm_bpe *bpe = t->bpe;
    t->count = t->tokens->count;
    bpe->end_of_text = lm_table_find(t->tokens, LM_END_OF_TEXT, strlen(LM_END_OF_TEXT));
    for (int b = 0; b < 256; b++) {
        bpe->of_byte[b] = lm_table_find(t->tokens, &(unsigned char){(unsigned char)b}, 1);
        if (bpe->of_byte[b] < 0) return tensor_fail(err, "the vocabulary has no token of the byte 0x%02x", b);
    }
    return true;
}

bool lm_bpe_new(lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    const alphabet a = make_alphabet();
    if (!begin(t, arena, err)) return false;
    for (int symbol = 0; symbol < SYMBOLS; symbol++) {
        const char byte = (char)a.byte[symbol];
        if (a.byte[symbol] >= 0 && lm_table_add(t->tokens, &byte, 1, err) < 0) return false;
    }
    return finish(t, err);
}

bool lm_bpe_add(lm_tokenizer *t, int32_t left, int32_t right, bool *repeated, tensor_error *err) {
    lm_bpe *bpe = t->bpe;
    lm_table *pairs = bpe->pairs;
    lm_piece a = lm_decode(t, left), b = lm_decode(t, right);
    if (pairs->count == bpe->capacity) {
        size_t bytes = (size_t)bpe->capacity * sizeof *bpe->made;
        int32_t *made = tensor_arena_alloc(pairs->arena, 2 * bytes, err);
        if (!made) return false;
        memcpy(made, bpe->made, bytes);
        bpe->made = made;
        bpe->capacity *= 2;
    }
    char *joint = tensor_arena_alloc(pairs->arena, a.size + b.size, err);
    if (!joint) return false;
    memcpy(joint, a.bytes, a.size);
    memcpy(joint + a.size, b.bytes, b.size);
    int32_t id = lm_table_add(t->tokens, joint, a.size + b.size, err), before = pairs->count;
    int32_t rank = id < 0 ? -1 : lm_table_add(pairs, (int32_t[]){left, right}, 2 * sizeof left, err);
    if (rank < 0) return false;
    t->count = t->tokens->count;
    *repeated = rank < before;
    bpe->made[rank] = id;
    return true;
}

/* Token i is what the symbols strings[i] stand for, which this writes over. */
static bool add_tokens(lm_tokenizer *t, char *const *strings, int count, tensor_error *err) {
    const alphabet a = make_alphabet();
    for (int i = 0; i < count; i++) {
        int64_t size = read_symbols(&a, strings[i], strlen(strings[i]));
        if (size < 1) return tensor_fail(err, "entry %d of the vocabulary is not written as bytes are", i);
        int32_t id = lm_table_add(t->tokens, strings[i], (size_t)size, err);
        if (id < 0) return false;
        if (id != i) return tensor_fail(err, "the vocabulary has entry %d twice", i);
    }
    return finish(t, err);
}

/* One merge, "a b". */
static bool add_merge(lm_tokenizer *t, const alphabet *a, char *line, tensor_error *err) {
    char *space = strchr(line, ' ');
    if (!space) return tensor_fail(err, "'%.40s' is not two tokens", line);
    int64_t sizes[2] = {read_symbols(a, line, (size_t)(space - line)),
                        read_symbols(a, space + 1, strlen(space + 1))};
    int32_t left = sizes[0] > 0 ? lm_tokenizer_find(t, line, (size_t)sizes[0]) : -1;
    int32_t right = sizes[1] > 0 ? lm_tokenizer_find(t, space + 1, (size_t)sizes[1]) : -1;
    if (left < 0 || right < 0) return tensor_fail(err, "it does not merge two tokens of the vocabulary");
    int32_t count = t->count;
    bool repeated;
    if (!lm_bpe_add(t, left, right, &repeated, err)) return false;
    if (t->count > count) return tensor_fail(err, "what it makes is not in the vocabulary");
    return !repeated || tensor_fail(err, "it is there twice");
}

/* ---- Files of text --------------------------------------------------------------------------- */

/* A file as a string on the arena. */
static char *read_file(const char *path, tensor_arena *arena, tensor_error *err) {
    tensor_error fault = {0};
    lm_text text;
    char *copy = NULL;
    if (lm_text_read(&text, path, LM_BYTE, &fault)) {
        if (memchr(text.bytes, '\0', text.size))
            tensor_fail(&fault, "a byte is 0: this is not a text file");
        else if ((copy = tensor_arena_alloc(arena, text.size + 1, &fault)))
            *((char *)memcpy(copy, text.bytes, text.size) + text.size) = '\0';
        lm_text_free(&text);
    }
    if (!copy) tensor_fail(err, "%.200s: %s", path, fault.text);
    return copy;
}

/* vocab.json: {"!": 0, ...}, all numbers from 0 on, in any order. */
static bool read_vocabulary(lm_tokenizer *t, const char *json, tensor_arena *arena, tensor_error *err) {
    const char *const *keys;
    const int64_t *ids;
    int count;
    if (!nn_json_integers(json, arena, &keys, &ids, &count, err)) return false;
    char **strings = tensor_arena_alloc(arena, (size_t)count * sizeof *strings, err);
    if (!strings) return false;
    memset(strings, 0, (size_t)count * sizeof *strings);
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= count || strings[ids[i]])
            return tensor_fail(err, "token %lld: %d tokens should have the numbers 0 to %d, each once",
                               (long long)ids[i], count, count - 1);
        strings[ids[i]] = (char *)keys[i];
    }
    return add_tokens(t, strings, count, err);
}

/* merges.txt: a line for each merge, behind one that names the version. */
static bool read_merges(lm_tokenizer *t, char *text, tensor_error *err) {
    const alphabet a = make_alphabet();
    int line = 1;
    for (char *at = text, *end; *at; at = end, line++) {
        end = at + strcspn(at, "\n");
        if (*end) *end++ = '\0';
        tensor_error fault = {0};
        if (strncmp(at, "#version", 8) == 0) continue;
        if (!add_merge(t, &a, at, &fault)) return tensor_fail(err, "line %d: %s", line, fault.text);
    }
    return true;
}

bool lm_tokenizer_of_files(lm_tokenizer *t, const char *vocab_path, const char *merges_path,
                           tensor_arena *arena, tensor_error *err) {
    tensor_error fault = {0};
    const char *json = read_file(vocab_path, arena, err);
    char *merges = json ? read_file(merges_path, arena, err) : NULL;
    if (!merges || !begin(t, arena, err)) return false;
    if (!read_vocabulary(t, json, arena, &fault))
        return tensor_fail(err, "%.200s: %s", vocab_path, fault.text);
    return read_merges(t, merges, &fault) || tensor_fail(err, "%.200s: %s", merges_path, fault.text);
}

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/* A token's symbols, or with `right` those of a merge: "a b". */
static const char *written(const alphabet *a, lm_piece left, const lm_piece *right, tensor_arena *arena,
                           tensor_error *err) {
    char *text = tensor_arena_alloc(arena, 2 * (left.size + (right ? right->size : 0)) + 2, err);
    if (!text) return NULL;
    char *end = write_symbols(a, left, text);
    if (right) {
        *end++ = ' ';
        write_symbols(a, *right, end);
    }
    return text;
}

int lm_bpe_metadata(const lm_tokenizer *t, nn_metadata metadata[2], tensor_arena *arena, tensor_error *err) {
    const alphabet a = make_alphabet();
    const int32_t tokens = t->count, merges = t->bpe->pairs->count;
    const char **list = tensor_arena_alloc(arena, (size_t)(tokens + merges) * sizeof *list, err);
    if (!list) return -1;
    for (int32_t i = 0; i < tokens; i++) list[i] = written(&a, lm_decode(t, i), NULL, arena, err);
    for (int32_t i = 0; i < merges; i++) {
        int32_t pair[2];
        memcpy(pair, lm_table_at(t->bpe->pairs, i).bytes, sizeof pair);
        lm_piece right = lm_decode(t, pair[1]);
        list[tokens + i] = written(&a, lm_decode(t, pair[0]), &right, arena, err);
    }
    metadata[0] = (nn_metadata){"vocabulary", lm_json_array(list, tokens, arena, err)};
    metadata[1] = (nn_metadata){"merges", lm_json_array(list + tokens, merges, arena, err)};
    return metadata[0].value && metadata[1].value ? 2 : -1;
}

bool lm_bpe_of_file(lm_tokenizer *t, const nn_file *file, tensor_arena *arena, tensor_error *err) {
    const alphabet a = make_alphabet();
    const char *const *tokens, *const *merges;
    int count, merge_count;
    if (!begin(t, arena, err) || !lm_read_strings(file, "vocabulary", arena, &tokens, &count, err) ||
        !lm_read_strings(file, "merges", arena, &merges, &merge_count, err) ||
        !add_tokens(t, (char *const *)tokens, count, err))
        return false;
    for (int i = 0; i < merge_count; i++) {
        tensor_error fault = {0};
        if (!add_merge(t, &a, (char *)merges[i], &fault))
            return tensor_fail(err, "merge %d: %s", i, fault.text);
    }
    return true;
}
