/* Vocabularies of byte pairs as files and checkpoints have them. A token is written as symbols, one for each byte: the
 * byte itself where that is a visible character of Latin-1, else one of the characters from U+0100 on. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

enum { SYMBOLS = 0x100 + 68 /* bytes that are not visible */ };

/* The symbol of a byte: those that are not visible are 0 to 0x20, 0x7f to 0xa0 and 0xad. */
static uint32_t symbol_of(unsigned char byte) {
    if ((byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad)) return byte;
    return byte <= 0x20 ? 0x100u + byte : byte == 0xad ? 0x100 + 67 : 0x100u + 0x21 + byte - 0x7f;
}

typedef struct alphabet {
    int16_t byte[SYMBOLS]; /* of each symbol; -1: it is none */
} alphabet;

static alphabet make_alphabet(void) {
    alphabet a;
    memset(a.byte, -1, sizeof a.byte);
    for (int b = 0; b < 256; b++) a.byte[symbol_of((unsigned char)b)] = (int16_t)b;
    return a;
}

/* The bytes that `size` bytes of symbols stand for, written over them; -1: some are no symbols, and all stays. */
static int64_t read_symbols(const alphabet *a, char *text, size_t size) {
    int64_t count = 0;
    for (int write = 0; write < 2; write++) {
        count = 0;
        for (size_t at = 0; at < size;) {
            uint32_t code;
            const int length = lm_utf8_decode(text + at, size - at, &code);
            if (length == 0 || code >= SYMBOLS || a->byte[code] < 0) return -1;
            at += (size_t)length;
            if (write) text[count] = (char)a->byte[code]; /* never before what is read next */
            count++;
        }
    }
    return count;
}

/* Writes the symbols of a piece and a NUL; returns their end. */
static char *write_symbols(lm_piece piece, char *text) {
    for (size_t i = 0; i < piece.size; i++)
        text += lm_utf8_encode(symbol_of((unsigned char)piece.bytes[i]), text);
    *text = '\0';
    return text;
}

/* ---- Vocabularies --------------------------------------------------------------------------- */

static bool begin(lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    lm_bpe *bpe = tensor_arena_alloc(arena, sizeof *bpe, err);
    *t = (lm_tokenizer){.kind = LM_BPE, .tokens = lm_table_new(arena, err), .bpe = bpe};
    if (!bpe || !t->tokens) return false;
    *bpe = (lm_bpe){.pairs = lm_table_new(arena, err), .capacity = 1024, .end_of_text = -1};
    bpe->made = tensor_arena_alloc(arena, (size_t)bpe->capacity * sizeof *bpe->made, err);
    return bpe->pairs && bpe->made;
}

/* When all tokens are there. */
static void finish(lm_tokenizer *t) {
    lm_bpe *bpe = t->bpe;
    t->count = t->tokens->count;
    for (int b = 0; b < 256; b++)
        bpe->of_byte[b] = lm_table_find(t->tokens, &(unsigned char){(unsigned char)b}, 1);
}

bool lm_bpe_new(lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    const alphabet a = make_alphabet();
    if (!begin(t, arena, err)) return false;
    for (int symbol = 0; symbol < SYMBOLS; symbol++) {
        const char byte = (char)a.byte[symbol];
        if (a.byte[symbol] >= 0 && lm_table_add(t->tokens, &byte, 1, err) < 0) return false;
    }
    finish(t);
    return true;
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

/* ---- Of a source ----------------------------------------------------------------------------- */

/* A token on its way into the vocabulary. */
typedef struct entry {
    char *text; /* NULL: none, a spare one */
    bool whole;
} entry;

/* Puts tokens at their numbers. Those of the vocabulary have to be in the model's table. */
static bool place(entry *entries, int64_t count, const lm_bpe_source *s, tensor_error *err) {
    for (int i = 0; i < s->count; i++) {
        const int64_t id = s->ids ? s->ids[i] : i;
        char *text = (char *)s->tokens[i];
        if (id >= count)
            return tensor_fail(err, "token %lld: the model has only %lld tokens", (long long)id,
                               (long long)count);
        if (entries[id].text) return tensor_fail(err, "two tokens have the number %lld", (long long)id);
        entries[id] = (entry){*text ? text : NULL, strcmp(text, LM_END_OF_TEXT) == 0};
    }
    for (int i = 0; i < s->whole_count; i++) {
        char *text = (char *)s->whole[i];
        if (s->whole_ids[i] >= count || !*text) continue;
        entries[s->whole_ids[i]] = (entry){text, true};
    }
    return true;
}

/* Adds the next token. What is whole is found by lm_table_find only where merges may make it, too. */
static bool add_entry(lm_tokenizer *t, const alphabet *a, entry *e, tensor_error *err) {
    lm_table *tokens = t->tokens;
    const int32_t next = tokens->count;
    if (!e->text) return lm_table_append(tokens, NULL, 0, err) >= 0;
    const size_t raw = strlen(e->text);
    bool plain = true; /* as symbols it is the same text */
    for (size_t i = 0; i < raw; i++) plain = plain && e->text[i] > 0x20 && e->text[i] < 0x7f;
    const int64_t size = e->whole ? -1 : read_symbols(a, e->text, raw);
    e->whole = size < 0;
    if (!e->whole) {
        const int32_t id = lm_table_add(tokens, e->text, (size_t)size, err);
        return id == next || (id >= 0 && tensor_fail(err, "the vocabulary has entry %d twice", next));
    }
    if (plain && lm_table_find(tokens, e->text, raw) < 0) return lm_table_add(tokens, e->text, raw, err) >= 0;
    return lm_table_append(tokens, e->text, raw, err) >= 0;
}

typedef struct whole_token {
    lm_piece piece;
    int32_t id;
} whole_token;

/* The longest first, and of equally long ones that with the lowest number. */
static int by_size(const void *a, const void *b) {
    const whole_token *x = a, *y = b;
    const int order = (x->piece.size < y->piece.size) - (x->piece.size > y->piece.size);
    return order ? order : x->id - y->id;
}

/* What another begins with stands before it, and of equal ones that with the lowest number. */
static int by_bytes(const void *a, const void *b) {
    const whole_token *x = a, *y = b;
    const size_t size = x->piece.size < y->piece.size ? x->piece.size : y->piece.size;
    const int order = memcmp(x->piece.bytes, y->piece.bytes, size);
    return order ? order : x->piece.size == y->piece.size ? x->id - y->id : by_size(b, a);
}

/* Lists the whole tokens, the longest first, and in the order of their bytes. */
static bool list_whole(lm_tokenizer *t, const entry *entries, tensor_arena *arena, tensor_error *err) {
    lm_bpe *bpe = t->bpe;
    size_t count = 0;
    for (int32_t i = 0; i < t->count; i++) count += entries[i].whole;
    if (count == 0) return true;
    whole_token *list = tensor_arena_alloc(arena, count * sizeof *list, err);
    bpe->whole = tensor_arena_alloc(arena, count * sizeof *bpe->whole, err);
    bpe->in_order = tensor_arena_alloc(arena, count * sizeof *bpe->in_order, err);
    bpe->is_whole = tensor_arena_alloc(arena, (size_t)t->count * sizeof *bpe->is_whole, err);
    if (!list || !bpe->whole || !bpe->in_order || !bpe->is_whole) return false;
    for (int32_t i = 0, k = 0; i < t->count; i++) {
        bpe->is_whole[i] = entries[i].whole;
        if (!entries[i].whole) continue;
        list[k++] = (whole_token){lm_decode(t, i), i};
        bpe->begins[(unsigned char)lm_decode(t, i).bytes[0]] = true;
        if (strcmp(entries[i].text, LM_END_OF_TEXT) == 0) bpe->end_of_text = i;
    }
    qsort(list, count, sizeof *list, by_size);
    for (size_t i = 0; i < count; i++) bpe->whole[bpe->whole_count++] = list[i].id;
    qsort(list, count, sizeof *list, by_bytes);
    for (size_t i = 0; i < count; i++) {
        const lm_piece one = list[i].piece, *last = i > 0 ? &list[i - 1].piece : NULL;
        if (last && one.size == last->size && memcmp(one.bytes, last->bytes, one.size) == 0) continue;
        bpe->in_order[bpe->in_order_count++] = list[i].id;
    }
    return true;
}

/* How many tokens there are; -1: a number is none of a token. */
static int64_t count_tokens(const lm_bpe_source *s, tensor_error *err) {
    int64_t count = s->count;
    for (int k = 0; k < 2; k++) {
        const int64_t *ids = k == 0 ? s->ids : s->whole_ids;
        for (int i = 0; ids && i < (k == 0 ? s->count : s->whole_count); i++) {
            if (ids[i] < 0 || ids[i] >= LM_MAX_VOCABULARY) {
                tensor_fail(err, "token %lld: the numbers of tokens are 0 to %d", (long long)ids[i],
                            LM_MAX_VOCABULARY - 1);
                return -1;
            }
            if (ids[i] >= count) count = ids[i] + 1;
        }
    }
    return s->rows > 0 ? s->rows : count;
}

bool lm_bpe_make(lm_tokenizer *t, const lm_bpe_source *s, tensor_arena *arena, tensor_error *err) {
    const alphabet a = make_alphabet();
    const int64_t count = count_tokens(s, err);
    if (count < 0 || !begin(t, arena, err)) return false;
    entry *entries = tensor_arena_alloc(arena, (size_t)count * sizeof *entries, err);
    if (!entries) return false;
    for (int64_t i = 0; i < count; i++) entries[i] = (entry){0};
    if (!place(entries, count, s, err)) return false;
    for (int64_t i = 0; i < count; i++)
        if (!add_entry(t, &a, &entries[i], err)) return false;
    finish(t);
    if (!list_whole(t, entries, arena, err)) return false;
    for (int i = 0; i < s->merge_count; i++) {
        tensor_error fault = {0};
        if (s->merges[i] && !add_merge(t, &a, (char *)s->merges[i], &fault))
            return tensor_fail(err, "%s %d: %s", s->merge, i + 1, fault.text);
    }
    return true;
}

/* ---- Checkpoints ---------------------------------------------------------------------------- */

char *lm_bpe_symbols(lm_piece piece, tensor_arena *arena, tensor_error *err) {
    char *text = tensor_arena_alloc(arena, 2 * piece.size + 1, err);
    if (text) write_symbols(piece, text);
    return text;
}

/* The whole tokens but LM_END_OF_TEXT, which is always one: {"[PAD]": 300}. NULL: memory is out. */
static const char *whole_json(const lm_tokenizer *t, int *count, tensor_arena *arena, tensor_error *err) {
    const lm_bpe *bpe = t->bpe;
    size_t size = 3, used = 1;
    for (int32_t i = 0; i < bpe->whole_count; i++) size += 6 * lm_decode(t, bpe->whole[i]).size + 20;
    char *json = tensor_arena_alloc(arena, size, err), *text = tensor_arena_alloc(arena, size, err);
    if (!json || !text) return NULL;
    *count = 0;
    json[0] = '{';
    for (int32_t i = 0; i < bpe->whole_count; i++) {
        const lm_piece piece = lm_decode(t, bpe->whole[i]);
        snprintf(text, size, "%.*s", (int)piece.size, piece.bytes);
        if (strcmp(text, LM_END_OF_TEXT) == 0) continue;
        if ((*count)++ > 0) used += (size_t)snprintf(json + used, size - used, ", ");
        used += nn_json_quote(json + used, size - used, text);
        used += (size_t)snprintf(json + used, size - used, ": %d", bpe->whole[i]);
    }
    snprintf(json + used, size - used, "}");
    return json;
}

/* A merge: "a b". */
static const char *written(lm_piece left, lm_piece right, tensor_arena *arena, tensor_error *err) {
    char *text = tensor_arena_alloc(arena, 2 * (left.size + right.size) + 2, err);
    if (!text) return NULL;
    char *end = write_symbols(left, text);
    *end++ = ' ';
    write_symbols(right, end);
    return text;
}

int lm_bpe_metadata(const lm_tokenizer *t, nn_metadata *metadata, tensor_arena *arena, tensor_error *err) {
    const int32_t tokens = t->count, merges = t->bpe->pairs->count;
    int count = 2, whole;
    const char **list = tensor_arena_alloc(arena, (size_t)(tokens + merges) * sizeof *list, err);
    char *end = tensor_arena_alloc(arena, 16, err);
    const char *added = whole_json(t, &whole, arena, err);
    if (!list || !end || !added) return -1;
    for (int32_t i = 0; i < tokens; i++) list[i] = lm_bpe_symbols(lm_decode(t, i), arena, err);
    for (int32_t i = 0; i < merges; i++) {
        int32_t pair[2];
        memcpy(pair, lm_table_at(t->bpe->pairs, i).bytes, sizeof pair);
        list[tokens + i] = written(lm_decode(t, pair[0]), lm_decode(t, pair[1]), arena, err);
    }
    metadata[0] = (nn_metadata){"vocabulary", lm_json_array(list, tokens, arena, err)};
    metadata[1] = (nn_metadata){"merges", lm_json_array(list + tokens, merges, arena, err)};
    if (whole > 0) metadata[count++] = (nn_metadata){"added_tokens", added};
    if (t->bpe->end_of_text >= 0) {
        snprintf(end, 16, "%d", t->bpe->end_of_text);
        metadata[count++] = (nn_metadata){"end_of_text", end};
    }
    return metadata[0].value && metadata[1].value ? count : -1;
}

bool lm_bpe_of_file(lm_tokenizer *t, const nn_file *file, tensor_arena *arena, tensor_error *err) {
    lm_bpe_source s = {.merge = "merge"};
    tensor_error fault = {0};
    const char *added = nn_file_metadata(file, "added_tokens"), *end = nn_file_metadata(file, "end_of_text");
    if (!lm_read_strings(file, "vocabulary", arena, &s.tokens, &s.count, err) ||
        !lm_read_strings(file, "merges", arena, &s.merges, &s.merge_count, err))
        return false;
    if (added && !nn_json_integers(added, arena, &s.whole, &s.whole_ids, &s.whole_count, &fault))
        return tensor_fail(err, "added_tokens: %s", fault.text);
    s.rows = s.count;
    if (!lm_bpe_make(t, &s, arena, err)) return false;
    if (end) lm_tokenizer_set_end(t, strtoll(end, NULL, 10));
    return true;
}
