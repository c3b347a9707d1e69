/* Counting: the places of a text are cut up by the token before them, these parts by the one before that, and so on. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/count/count_internal.h"

/* ---- Lists that grow --------------------------------------------------------------------------- */

typedef struct numbers {
    uint32_t *at;
    int64_t count, room;
} numbers;

static void push(numbers *n, uint32_t value, bool *failed) {
    if (n->count == n->room) {
        const int64_t room = 2 * n->room + 64;
        uint32_t *more = realloc(n->at, (size_t)room * sizeof *more);
        if (!more) {
            *failed = true;
            return;
        }
        n->at = more;
        n->room = room;
    }
    n->at[n->count++] = value;
}

/* ---- Learning ---------------------------------------------------------------------------------- */

typedef numbers lists[LM_MAX_ORDER + 1][COUNT_PARTS];

/* What a thread needs to count by token: how often each was met, and which. */
typedef struct tally {
    uint32_t *times, *met; /* [V]; times are 0 between uses */
    int64_t count;
} tally;

static void add(tally *t, uint32_t token) {
    if (t->times[token]++ == 0) t->met[t->count++] = token;
}

static int ascending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort(tally *t) {
    qsort(t->met, (size_t)t->count, sizeof *t->met, ascending);
}

static void forget(tally *t) {
    for (int64_t i = 0; i < t->count; i++) t->times[t->met[i]] = 0;
    t->count = 0;
}

/* Contexts that one thread counts: all those that end with some of the tokens. */
typedef struct share {
    int64_t begin, end; /* of their places */
    lists of;
    bool failed; /* memory was out */
} share;
enum { SHARES = 64 };

typedef struct learner {
    lm_tokens tokens;
    int64_t vocabulary;
    int order;
    uint32_t *places, *spare; /* [N]: of the tokens that follow contexts */
    tally *tallies;           /* a thread's */
    share shares[SHARES + 1]; /* the last one is the empty context's */
    int share_count;
} learner;

static uint32_t token_at(const learner *l, int64_t i) {
    const count_list list = {l->tokens.data, l->tokens.count, l->tokens.width};
    return count_at(&list, i);
}

/* Sorts places by the token `back` before them, and drops those that have none. Returns how many stay. */
static int64_t sort_places(const learner *l, tally *t, uint32_t *places, uint32_t *spare, int64_t count,
                           int64_t back) {
    int64_t kept = 0, begin = 0;
    for (int64_t i = 0; i < count; i++) {
        if (places[i] < back) continue;
        add(t, token_at(l, places[i] - back));
        spare[kept++] = places[i];
    }
    sort(t);
    for (int64_t i = 0; i < t->count; i++) {
        const uint32_t times = t->times[t->met[i]];
        t->times[t->met[i]] = (uint32_t)begin;
        begin += times;
    }
    for (int64_t i = 0; i < kept; i++) places[t->times[token_at(l, spare[i] - back)]++] = spare[i];
    forget(t);
    return kept;
}

/* One place alone: each longer context has one, too. */
static void learn_place(const learner *l, lists *of, uint32_t place, int level, bool *failed) {
    for (; level <= l->order && place >= (uint32_t)level; level++) {
        numbers *part = (*of)[level];
        const bool longer = level < l->order && place > (uint32_t)level;
        if (level > 0) push(&part[COUNT_TOKEN], token_at(l, (int64_t)place - level), failed);
        push(&part[COUNT_GRAMS], 1, failed);
        push(&part[COUNT_NEXT], token_at(l, place), failed);
        push(&part[COUNT_TIMES], 1, failed);
        if (level == l->order) return;
        push(&part[COUNT_CHILDREN], longer, failed);
        push(&part[COUNT_DIFFERENT], longer, failed);
    }
}

static void learn_context(const learner *l, lists *of, tally *t, uint32_t *places, uint32_t *spare,
                          int64_t count, int level, bool *failed);

/* The contexts that are longer than this by one token; returns how many. */
static uint32_t learn_children(const learner *l, lists *of, tally *t, uint32_t *places, uint32_t *spare,
                               int64_t count, int level, bool *failed) {
    uint32_t children = 0;
    count = sort_places(l, t, places, spare, count, level + 1);
    for (int64_t begin = 0, end; begin < count && !*failed; begin = end, children++) {
        const uint32_t token = token_at(l, (int64_t)places[begin] - level - 1);
        for (end = begin + 1; end < count && token_at(l, (int64_t)places[end] - level - 1) == token;) end++;
        learn_context(l, of, t, places + begin, spare, end - begin, level + 1, failed);
    }
    return children;
}

/* How many contexts, from the gram number `from` of the longer ones on, have each of a context's last `grams` tokens. */
static void count_different(lists *of, tally *t, int level, int64_t from, int64_t grams, bool *failed) {
    const numbers *longer = &(*of)[level + 1][COUNT_NEXT], *next = &(*of)[level][COUNT_NEXT];
    for (int64_t i = from; i < longer->count; i++) add(t, longer->at[i]);
    for (int64_t i = next->count - grams; i < next->count; i++)
        push(&(*of)[level][COUNT_DIFFERENT], t->times[next->at[i]], failed);
    forget(t);
}

/* The tokens of all these places, into the lists of their context; returns how many different ones. */
static int64_t learn_grams(const learner *l, numbers *part, tally *t, const uint32_t *places, int64_t count,
                           bool *failed) {
    for (int64_t i = 0; i < count; i++) add(t, token_at(l, places[i]));
    sort(t);
    const int64_t grams = t->count;
    push(&part[COUNT_GRAMS], (uint32_t)grams, failed);
    for (int64_t i = 0; i < grams; i++) {
        push(&part[COUNT_NEXT], t->met[i], failed);
        push(&part[COUNT_TIMES], t->times[t->met[i]], failed);
    }
    forget(t);
    return grams;
}

/* The context of `level` tokens that stands before all of these places. */
static void learn_context(const learner *l, lists *of, tally *t, uint32_t *places, uint32_t *spare,
                          int64_t count, int level, bool *failed) {
    if (count == 1) {
        learn_place(l, of, *places, level, failed);
        return;
    }
    numbers *part = (*of)[level];
    if (level > 0) push(&part[COUNT_TOKEN], token_at(l, (int64_t)*places - level), failed);
    const int64_t grams = learn_grams(l, part, t, places, count, failed);
    if (level == l->order || *failed) return;
    const int64_t from = (*of)[level + 1][COUNT_NEXT].count;
    const uint32_t children = learn_children(l, of, t, places, spare, count, level, failed);
    push(&part[COUNT_CHILDREN], children, failed);
    if (!*failed) count_different(of, t, level, from, grams, failed);
}

/* ---- Threads: the contexts of one token and more, in shares by that token ------------------------- */

static void learn_share(const learner *l, tally *t, share *s) {
    for (int64_t begin = s->begin, end; begin < s->end && !s->failed; begin = end) {
        const uint32_t token = token_at(l, (int64_t)l->places[begin] - 1);
        for (end = begin + 1; end < s->end && token_at(l, (int64_t)l->places[end] - 1) == token;) end++;
        learn_context(l, &s->of, t, l->places + begin, l->spare + begin, end - begin, 1, &s->failed);
    }
}

static void learn_shares(void *context, int64_t begin, int64_t end, int worker) {
    learner *l = context;
    for (int64_t i = begin; i < end; i++) learn_share(l, &l->tallies[worker], &l->shares[i]);
}

/* Cuts `count` sorted places into shares, each with all places of its tokens. Returns how many tokens there are. */
static uint32_t cut(learner *l, int64_t count) {
    uint32_t tokens = 0;
    for (int64_t i = 0; i < count; i++) {
        const bool begins =
            i == 0 || token_at(l, (int64_t)l->places[i] - 1) != token_at(l, (int64_t)l->places[i - 1] - 1);
        tokens += begins;
        if (begins && (i == 0 || i - l->shares[l->share_count - 1].begin >= (count + SHARES - 1) / SHARES)) {
            if (l->share_count > 0) l->shares[l->share_count - 1].end = i;
            l->shares[l->share_count++] = (share){.begin = i};
        }
    }
    if (l->share_count > 0) l->shares[l->share_count - 1].end = count;
    return tokens;
}

/* The empty context, and with it all others. */
static bool learn(learner *l) {
    tally *t = l->tallies;
    share *root = &l->shares[SHARES];
    numbers *part = root->of[0];
    const int64_t count = l->tokens.count;
    for (int64_t i = 0; i < count; i++) l->places[i] = (uint32_t)i;
    learn_grams(l, part, t, l->places, count, &root->failed);
    if (l->order == 0) return !root->failed;
    push(&part[COUNT_CHILDREN], cut(l, sort_places(l, t, l->places, l->spare, count, 1)), &root->failed);
    tensor_parallel(l->share_count, 1, learn_shares, l);
    bool ok = !root->failed;
    for (int i = 0; i < l->share_count; i++) {
        const numbers *next = &l->shares[i].of[1][COUNT_NEXT];
        ok = ok && !l->shares[i].failed;
        for (int64_t k = 0; k < next->count; k++) add(t, next->at[k]);
    }
    for (int64_t i = 0; ok && i < part[COUNT_NEXT].count; i++)
        push(&part[COUNT_DIFFERENT], t->times[part[COUNT_NEXT].at[i]], &root->failed);
    return ok && !root->failed;
}

/* ---- The result -------------------------------------------------------------------------------- */

static void pack(void *to, int64_t at, int width, const numbers *from) {
    for (int64_t i = 0; i < from->count; i++) {
        if (width == 1) ((uint8_t *)to)[at + i] = (uint8_t)from->at[i];
        if (width == 2) ((uint16_t *)to)[at + i] = (uint16_t)from->at[i];
        if (width == 4) ((uint32_t *)to)[at + i] = from->at[i];
    }
}

/* The lists of all shares one behind the other. */
static bool join(count_list *list, const learner *l, int level, int part, tensor_arena *arena,
                 tensor_error *err) {
    uint32_t largest = 0;
    for (int i = 0; i <= SHARES; i++) {
        const numbers *n = &l->shares[i].of[level][part];
        for (int64_t k = 0; k < n->count; k++) largest = n->at[k] > largest ? n->at[k] : largest;
        list->count += n->count;
    }
    list->width = largest <= UINT8_MAX ? 1 : largest <= UINT16_MAX ? 2 : 4;
    void *data = tensor_arena_alloc(arena, (size_t)(list->count * list->width), err);
    list->data = data;
    int64_t at = 0;
    for (int i = 0; data && i <= SHARES; at += l->shares[i++].of[level][part].count)
        pack(data, at, list->width, &l->shares[i].of[level][part]);
    return data;
}

static lm_counts *result(const learner *l, tensor_error *err) {
    lm_counts *c = counts_new(l->vocabulary, l->order, err);
    bool ok = c;
    for (int level = 0; level <= l->order; level++)
        for (int part = 0; part < COUNT_PARTS; part++)
            ok = ok && join(&c->level[level].part[part], l, level, part, c->arena, err);
    if (ok && counts_complete(c, err)) return c;
    lm_counts_free(c);
    return NULL;
}

/* Room for places and for each thread's tally. */
static bool prepare(learner *l, tensor_arena *arena) {
    const size_t count = (size_t)l->tokens.count, vocabulary = (size_t)l->vocabulary;
    const int threads = tensor_threads();
    l->places = tensor_arena_alloc(arena, count * sizeof *l->places, NULL);
    l->spare = tensor_arena_alloc(arena, count * sizeof *l->spare, NULL);
    l->tallies = tensor_arena_alloc(arena, (size_t)threads * sizeof *l->tallies, NULL);
    bool ok = l->places && l->spare && l->tallies;
    for (int i = 0; ok && i < threads; i++) {
        l->tallies[i] = (tally){.times = tensor_arena_alloc(arena, vocabulary * sizeof(uint32_t), NULL),
                                .met = tensor_arena_alloc(arena, vocabulary * sizeof(uint32_t), NULL)};
        ok = l->tallies[i].times && l->tallies[i].met;
        if (ok) memset(l->tallies[i].times, 0, vocabulary * sizeof(uint32_t));
    }
    return ok;
}

lm_counts *lm_counts_learn(lm_tokens tokens, int64_t vocabulary, int order, tensor_error *err) {
    lm_counts *counts = NULL;
    if (!counts_possible(vocabulary, order, err)) return NULL;
    if (tokens.count > UINT32_MAX) {
        tensor_fail(err, "%" PRId64 " tokens are too many to be counted", tokens.count);
        return NULL;
    }
    tensor_arena *arena = tensor_arena_new(err);
    learner *l = arena ? tensor_arena_alloc(arena, sizeof *l, NULL) : NULL;
    if (l) *l = (learner){.tokens = tokens, .vocabulary = vocabulary, .order = order};
    if (l && prepare(l, arena) && learn(l))
        counts = result(l, err);
    else
        tensor_fail(err, "out of memory");
    for (int i = 0; l && i <= SHARES; i++)
        for (int level = 0; level <= LM_MAX_ORDER; level++)
            for (int part = 0; part < COUNT_PARTS; part++) free(l->shares[i].of[level][part].at);
    tensor_arena_free(arena);
    return counts;
}
