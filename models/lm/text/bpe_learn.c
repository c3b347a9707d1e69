/* Learning byte pairs: the pair of neighbours that is most frequent in the words of a text becomes a token, and
 * so on. Counts are kept up to date where a merge changes them, so that a merge costs what it changes. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

enum { LEARNED_BYTES = 64 << 20, LEAST_COUNT = 2 };

/* A place in a pair's list of words. */
typedef struct place {
    int32_t word, next; /* -1: the last */
} place;

typedef struct pair {
    int64_t count; /* in the whole text */
    int32_t places;
    int32_t touched; /* by which merge last */
} pair;

/* A pair in the heap, with its count at the time: at least what it is now. */
typedef struct entry {
    int64_t count;
    int32_t ids[2], pair;
} entry;

/* A list that grows. */
typedef struct list {
    void *items;
    size_t count, capacity;
} list;

typedef struct learner {
    lm_tokenizer *tokenizer;
    tensor_arena *arena;
    lm_table *words, *keys; /* distinct words; pairs, as two int32 */
    list occurrences;       /* int64_t of each word */
    int32_t *symbols;       /* word i, of lengths[i] tokens, begins where its bytes do */
    int32_t *lengths;
    list pairs, places, heap, touched;
    int32_t merge;
} learner;

/* Room for one more item: returns it. */
static void *append(list *l, size_t size, tensor_error *err) {
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 1024;
        void *items = l->count > INT32_MAX / 2 ? NULL : realloc(l->items, capacity * size);
        if (!items) return tensor_fail(err, "out of memory"), NULL;
        l->items = items;
        l->capacity = capacity;
    }
    return (char *)l->items + size * l->count++;
}

/* ---- The heap: the most frequent first, then the lowest tokens ------------------------------ */

static bool before(const entry *a, const entry *b) {
    if (a->count != b->count) return a->count > b->count;
    return a->ids[0] != b->ids[0] ? a->ids[0] < b->ids[0] : a->ids[1] < b->ids[1];
}

static bool push(learner *l, int32_t number, tensor_error *err) {
    entry e = {.count = ((pair *)l->pairs.items)[number].count, .pair = number};
    memcpy(e.ids, lm_table_at(l->keys, number).bytes, sizeof e.ids);
    if (!append(&l->heap, sizeof e, err)) return false;
    entry *heap = l->heap.items;
    size_t i = l->heap.count - 1;
    for (; i > 0 && before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = e;
    return true;
}

static entry pop(learner *l) {
    entry *heap = l->heap.items, top = heap[0], e = heap[--l->heap.count];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < l->heap.count; i = child) {
        if (child + 1 < l->heap.count && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &e)) break;
        heap[i] = heap[child];
    }
    heap[i] = e;
    return top;
}

/* ---- Counting ------------------------------------------------------------------------------- */

/* `times` more, or fewer, of a pair in a word. */
static bool count_pair(learner *l, int32_t left, int32_t right, int32_t word, int64_t times,
                       tensor_error *err) {
    int32_t known = l->keys->count;
    int32_t number = lm_table_add(l->keys, (int32_t[]){left, right}, 2 * sizeof left, err);
    if (number < 0) return false;
    if (number == known) {
        pair *new = append(&l->pairs, sizeof *new, err);
        if (!new) return false;
        *new = (pair){.places = -1, .touched = -1};
    }
    pair *p = (pair *)l->pairs.items + number;
    place *places = l->places.items;
    p->count += times;
    if (times < 0) return true;
    if (p->touched != l->merge) {
        int32_t *touched = append(&l->touched, sizeof number, err);
        if (!touched) return false;
        *touched = number;
        p->touched = l->merge;
    }
    if (p->places >= 0 && places[p->places].word == word) return true;
    place *new = append(&l->places, sizeof *new, err);
    if (!new) return false;
    *new = (place){word, p->places};
    p->places = (int32_t)l->places.count - 1;
    return true;
}

/* What has become more frequent goes to the heap, once. */
static bool push_touched(learner *l, tensor_error *err) {
    const int32_t *touched = l->touched.items;
    for (size_t i = 0; i < l->touched.count; i++) {
        if (!push(l, touched[i], err)) return false;
    }
    l->touched.count = 0;
    l->merge++;
    return true;
}

static bool count_words(learner *l, const lm_text *text, tensor_error *err) {
    size_t size = text->size < LEARNED_BYTES ? text->size : LEARNED_BYTES;
    for (size_t at = 0, length; at < size; at += length) {
        length = lm_word_length(text->bytes + at, text->size - at);
        int32_t known = l->words->count, word = lm_table_add(l->words, text->bytes + at, length, err);
        if (word < 0) return false;
        if (word == known) {
            int64_t *new = append(&l->occurrences, sizeof *new, err);
            if (!new) return false;
            *new = 0;
        }
        ((int64_t *)l->occurrences.items)[word]++;
    }
    return true;
}

static bool count_pairs(learner *l, tensor_error *err) {
    const lm_table *words = l->words;
    const int32_t *of_byte = l->tokenizer->bpe->of_byte;
    const size_t bytes = words->ends[words->count];
    l->symbols = tensor_arena_alloc(l->arena, bytes * sizeof *l->symbols, err);
    l->lengths = tensor_arena_alloc(l->arena, (size_t)words->count * sizeof *l->lengths, err);
    if (!l->symbols || !l->lengths) return false;
    for (size_t i = 0; i < bytes; i++) l->symbols[i] = of_byte[(unsigned char)words->bytes[i]];
    for (int32_t word = 0; word < words->count; word++) {
        const int32_t *s = l->symbols + words->ends[word];
        const int64_t times = ((int64_t *)l->occurrences.items)[word];
        l->lengths[word] = (int32_t)(words->ends[word + 1] - words->ends[word]);
        for (int32_t i = 0; i + 1 < l->lengths[word]; i++) {
            if (!count_pair(l, s[i], s[i + 1], word, times, err)) return false;
        }
    }
    return push_touched(l, err);
}

/* ---- Merging -------------------------------------------------------------------------------- */

/* Puts `made` for each left and right in a word, from its beginning on, and counts what that changes. */
static bool merge_in(learner *l, int32_t word, const entry *e, int32_t made, tensor_error *err) {
    int32_t *s = l->symbols + l->words->ends[word], length = l->lengths[word], out = 0;
    const int32_t left = e->ids[0], right = e->ids[1];
    const int64_t times = ((int64_t *)l->occurrences.items)[word];
    bool ok = true;
    for (int32_t i = 0; ok && i < length; out++) {
        if (i + 1 == length || s[i] != left || s[i + 1] != right) {
            s[out] = s[i++];
            continue;
        }
        if (out > 0)
            ok = count_pair(l, s[out - 1], left, word, -times, err) &&
                 count_pair(l, s[out - 1], made, word, times, err);
        if (ok && i + 2 < length)
            ok = count_pair(l, right, s[i + 2], word, -times, err) &&
                 count_pair(l, made, s[i + 2], word, times, err);
        s[out] = made;
        i += 2;
    }
    l->lengths[word] = out;
    return ok;
}

static bool merge(learner *l, const entry *e, tensor_error *err) {
    bool repeated;
    if (!lm_bpe_add(l->tokenizer, e->ids[0], e->ids[1], &repeated, err)) return false;
    const lm_bpe *bpe = l->tokenizer->bpe;
    const int32_t made = bpe->made[lm_table_find(bpe->pairs, e->ids, sizeof e->ids)];
    for (int32_t at = ((pair *)l->pairs.items)[e->pair].places; at >= 0;) {
        const place p = ((place *)l->places.items)[at];
        if (!merge_in(l, p.word, e, made, err)) return false;
        at = p.next;
    }
    ((pair *)l->pairs.items)[e->pair].count = 0; /* it is nowhere any more */
    return push_touched(l, err);
}

static bool learn(learner *l, const lm_text *text, int32_t count, tensor_error *err) {
    l->words = lm_table_new(l->arena, err);
    l->keys = lm_table_new(l->arena, err);
    if (!l->words || !l->keys || !count_words(l, text, err) || !count_pairs(l, err)) return false;
    while (l->tokenizer->count < count && l->heap.count > 0) {
        const entry top = pop(l);
        const int64_t now = ((pair *)l->pairs.items)[top.pair].count;
        if (now < LEAST_COUNT) continue;
        if (now != top.count ? !push(l, top.pair, err) : !merge(l, &top, err)) return false;
    }
    return true;
}

bool lm_tokenizer_learn(lm_tokenizer *t, const lm_text *text, int32_t count, tensor_arena *arena,
                        tensor_error *err) {
    learner l = {.tokenizer = t, .arena = tensor_arena_new(err)};
    bool ok = l.arena && lm_bpe_new(t, arena, err) && learn(&l, text, count, err);
    list *const lists[] = {&l.occurrences, &l.pairs, &l.places, &l.heap, &l.touched};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]->items);
    tensor_arena_free(l.arena);
    return ok;
}
