/* Byte pair encoding: a word is its bytes, of which neighbours are merged in the order that the vocabulary gives
 * (Sennrich et al. 2016; on bytes, Radford et al. 2019). Equal to the tokenizers package's ByteLevel BPE. */
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

/* Words that are remembered with their tokens: most texts are few words, often. */
enum { CACHED_WORDS = 1 << 18, CACHED_IDS = 1 << 20, CACHED_BYTES = 64 };

/* A token of the word in the making, linked with its neighbours; -1: none. */
typedef struct symbol {
    int32_t id, previous, next;
} symbol;

/* A merge that could be done: of the symbol at `at` with the next. */
typedef struct candidate {
    int32_t rank, at;
} candidate;

typedef struct encoder {
    const lm_tokenizer *tokenizer;
    tensor_arena *arena;
    const char *text; /* all of it, for messages */
    size_t text_size;
    symbol *symbols;
    candidate *heap; /* the lowest rank first, then the leftmost */
    size_t room, candidates;
    lm_table *words;
    int32_t *ends, *ids; /* word i has ids[ends[i]] to ids[ends[i + 1] - 1] */
    int32_t max_words;
} encoder;

/* ---- One word ------------------------------------------------------------------------------ */

static bool before(candidate a, candidate b) {
    return a.rank < b.rank || (a.rank == b.rank && a.at < b.at);
}

static void push(encoder *e, candidate c) {
    size_t i = e->candidates++;
    for (; i > 0 && before(c, e->heap[(i - 1) / 2]); i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
}

static candidate pop(encoder *e) {
    candidate top = e->heap[0], c = e->heap[--e->candidates];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < e->candidates; i = child) {
        if (child + 1 < e->candidates && before(e->heap[child + 1], e->heap[child])) child++;
        if (!before(e->heap[child], c)) break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = c;
    return top;
}

/* The rank of merging the symbol with the next; -1: there is no such merge. */
static int32_t rank_of(const encoder *e, int32_t at) {
    const symbol *s = e->symbols + at;
    if (at < 0 || s->id < 0 || s->next < 0) return -1;
    return lm_table_find(e->tokenizer->bpe->pairs, (int32_t[]){s->id, e->symbols[s->next].id},
                         2 * sizeof(int32_t));
}

static void consider(encoder *e, int32_t at) {
    int32_t rank = rank_of(e, at);
    if (rank >= 0) push(e, (candidate){rank, at});
}

static bool make_room(encoder *e, size_t size, tensor_error *err) {
    if (size <= e->room) return true;
    e->room = 2 * size;
    e->symbols = tensor_arena_alloc(e->arena, e->room * sizeof *e->symbols, err);
    e->heap = tensor_arena_alloc(e->arena, 3 * e->room * sizeof *e->heap, err); /* 1, and 2 a merge */
    return e->symbols && e->heap;
}

/* Merges the word's bytes; its tokens are then the chain that begins at symbols[0]. */
static bool merge_word(encoder *e, const char *bytes, size_t size, tensor_error *err) {
    const lm_bpe *bpe = e->tokenizer->bpe;
    if (!make_room(e, size, err)) return false;
    e->candidates = 0;
    for (size_t i = 0; i < size; i++) {
        if (bpe->of_byte[(unsigned char)bytes[i]] < 0)
            return lm_fail_unknown(e->text, e->text_size, (size_t)(bytes - e->text) + i, err);
        e->symbols[i] = (symbol){bpe->of_byte[(unsigned char)bytes[i]], (int32_t)i - 1,
                                 i + 1 < size ? (int32_t)i + 1 : -1};
    }
    for (size_t i = 0; i + 1 < size; i++) consider(e, (int32_t)i);
    while (e->candidates > 0) {
        candidate c = pop(e);
        symbol *s = e->symbols + c.at;
        if (rank_of(e, c.at) != c.rank) continue; /* a neighbour was merged since */
        symbol *gone = e->symbols + s->next;
        s->id = bpe->made[c.rank];
        s->next = gone->next;
        gone->id = -1;
        if (s->next >= 0) e->symbols[s->next].previous = c.at;
        consider(e, s->previous);
        consider(e, c.at);
    }
    return true;
}

/* ---- A text -------------------------------------------------------------------------------- */

/* Puts the merged word's tokens and remembers them where there is room. */
static bool put_word(encoder *e, const char *bytes, size_t size, lm_outlet *outlet, tensor_error *err) {
    int32_t count = e->words->count, used = e->ends[count];
    bool keep = size <= CACHED_BYTES && count < e->max_words && used + CACHED_BYTES <= CACHED_IDS;
    for (int32_t at = 0; at >= 0; at = e->symbols[at].next) {
        if (keep) e->ids[used++] = e->symbols[at].id;
        if (!lm_outlet_put(outlet, e->symbols[at].id, err)) return false;
    }
    if (keep) e->ends[count + 1] = used;
    return !keep || lm_table_add(e->words, bytes, size, err) >= 0;
}

static bool encode_words(encoder *e, const char *bytes, size_t size, lm_outlet *outlet, tensor_error *err) {
    for (size_t at = 0, length; at < size; at += length) {
        length = lm_word_length(bytes + at, size - at);
        int32_t word = lm_table_find(e->words, bytes + at, length);
        if (word < 0) {
            if (!merge_word(e, bytes + at, length, err) || !put_word(e, bytes + at, length, outlet, err))
                return false;
            continue;
        }
        for (int32_t i = e->ends[word]; i < e->ends[word + 1]; i++) {
            if (!lm_outlet_put(outlet, e->ids[i], err)) return false;
        }
    }
    return true;
}

/* The first of the whole tokens from `low` to `high`, in their order, whose byte at a place is at least `least`. */
static int32_t first_whole(const lm_tokenizer *t, int32_t low, int32_t high, size_t at, int least) {
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if ((unsigned char)lm_decode(t, t->bpe->in_order[middle]).bytes[at] < least)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest whole token that a text begins with; -1: none. Those from low to high begin as the text does, up to `at`. */
static int32_t whole_at(const lm_tokenizer *t, const char *bytes, size_t size) {
    int32_t low = 0, high = t->bpe->in_order_count, found = -1;
    for (size_t at = 0; low < high; at++) {
        if (lm_decode(t, t->bpe->in_order[low]).size == at) found = t->bpe->in_order[low++];
        if (at == size) break;
        const int byte = (unsigned char)bytes[at];
        low = first_whole(t, low, high, at, byte);
        high = first_whole(t, low, high, at, byte + 1);
    }
    return found;
}

/* How much of the text stands before the first whole token, which *id becomes. */
static size_t before_whole(const lm_tokenizer *t, const char *bytes, size_t size, int32_t *id) {
    *id = -1;
    if (t->bpe->whole_count == 0) return size;
    for (size_t at = 0; at < size; at++)
        if (t->bpe->begins[(unsigned char)bytes[at]] && (*id = whole_at(t, bytes + at, size - at)) >= 0)
            return at;
    return size;
}

static bool encode_parts(encoder *e, const char *bytes, size_t size, lm_outlet *outlet, tensor_error *err) {
    for (size_t at = 0; at < size;) {
        int32_t id;
        const size_t part = before_whole(e->tokenizer, bytes + at, size - at, &id);
        if (!encode_words(e, bytes + at, part, outlet, err)) return false;
        at += part;
        if (id < 0) break;
        if (!lm_outlet_put(outlet, id, err)) return false;
        at += lm_decode(e->tokenizer, id).size;
    }
    return true;
}

bool lm_bpe_encode(const lm_tokenizer *t, const char *bytes, size_t size, lm_outlet *outlet,
                   tensor_error *err) {
    encoder e = {.tokenizer = t, .arena = tensor_arena_new(err), .text = bytes, .text_size = size};
    if (!e.arena) return false;
    const size_t words = size < CACHED_WORDS ? size : CACHED_WORDS;
    const size_t ids = size < CACHED_IDS ? size + CACHED_BYTES : CACHED_IDS;
    e.max_words = (int32_t)words;
    e.words = lm_table_new(e.arena, err);
    e.ends = tensor_arena_alloc(e.arena, (words + 1) * sizeof *e.ends, err);
    e.ids = tensor_arena_alloc(e.arena, ids * sizeof *e.ids, err);
    bool ok = e.words && e.ends && e.ids;
    if (ok) e.ends[0] = 0;
    ok = ok && encode_parts(&e, bytes, size, outlet, err);
    tensor_arena_free(e.arena);
    return ok;
}
