/* Probabilities from counts. */
#include "models/lm/count/count_internal.h"

/* The number of a token's entry among begin..end-1 of an ascending list; -1: it is not there. */
static int64_t find(const count_list *list, uint32_t begin, uint32_t end, uint32_t token) {
    while (begin < end) {
        const uint32_t middle = begin + (end - begin) / 2;
        const uint32_t at = count_at(list, middle);
        if (at == token) return middle;
        if (at < token)
            begin = middle + 1;
        else
            end = middle;
    }
    return -1;
}

/* Begins to fetch a number into the caches: which contexts there are takes several accesses to memory, one after the
 * other. */
static inline void fetch(const count_list *list, uint32_t i) {
    __builtin_prefetch((const char *)list->data + (size_t)i * (size_t)list->width);
}

/* A context of the text and what it says of the next token. */
typedef struct view {
    const count_level *level;
    const count_list *numbers;
    const double *discount;
    uint32_t begin, end; /* of its n-grams */
    int64_t without;     /* the one that counts one less; -1: none */
    float total;         /* of its numbers */
    double weight;       /* by which its discounted numbers count */
} view;

static inline uint32_t number_at(const view *v, int64_t i) {
    return count_at(v->numbers, i) - (i == v->without);
}

static inline double discounted(const view *v, uint32_t number) {
    return number - v->discount[number < 3 ? number : 3];
}

/* Whether the text has the context once: with what follows it there left out, it has neither this nor a longer one. */
static bool is_single(const view *v) {
    return v->end - v->begin == 1 && count_at(&v->level->part[COUNT_TIMES], v->begin) == 1;
}

/* The contexts of 0, 1, ... tokens that end before `end`, and of which something remains where the token is left out;
 * returns the length of the longest. */
static int find_contexts(const lm_counts *c, const int32_t *end, int64_t available, int32_t without,
                         view *views) {
    const int longest = available < c->order ? (int)available : c->order;
    const count_start *at = c->level[0].start;
    for (int k = 0;; k++) {
        const count_level *level = &c->level[k];
        const bool own = k == longest;
        views[k] = (view){.level = level,
                          .numbers = &level->part[own ? COUNT_TIMES : COUNT_DIFFERENT],
                          .discount = level->discount[!own],
                          .begin = at[0].gram,
                          .end = at[1].gram,
                          .without = -1};
        fetch(&level->part[COUNT_NEXT], at[0].gram);
        fetch(views[k].numbers, at[0].gram);
        if (without >= 0 && k > 0 && is_single(&views[k])) return k - 1;
        if (own) return k;
        const int64_t child =
            find(&c->level[k + 1].part[COUNT_TOKEN], at[0].child, at[1].child, (uint32_t)end[-k - 1]);
        if (child < 0) return k;
        at = &c->level[k + 1].start[child];
    }
}

/* Leaves a token out once: an n-gram that the text has once takes the one that is shorter by its first token with it. */
static void leave_out(view *views, int longest, uint32_t token) {
    bool gone = true;
    for (int k = longest; k >= 0 && gone; k--) {
        view *v = &views[k];
        v->without = find(&v->level->part[COUNT_NEXT], v->begin, v->end, token);
        gone = v->without >= 0 && count_at(&v->level->part[COUNT_TIMES], v->without) == 1;
    }
}

/* How much of the probability a context gives to its own n-grams; the rest is for shorter contexts. Sums are of
 * integers, or of three products. */
static double weigh(view *v, double share) {
    uint64_t total = 0, one = 0, two = 0, more = 0;
    for (int64_t i = v->begin; i < v->end; i++) {
        const uint32_t number = count_at(v->numbers, i);
        total += number;
        one += number == 1;
        two += number == 2;
        more += number > 2;
    }
    if (v->without >= 0) { /* one of them has one less */
        const uint32_t number = number_at(v, v->without);
        total--;
        one += (number == 1) - (number == 0);
        two += (number == 2) - (number == 1);
        more -= number == 2;
    }
    v->total = (float)total;
    if (total == 0) return share;
    const double freed =
        (double)one * v->discount[1] + (double)two * v->discount[2] + (double)more * v->discount[3];
    v->weight = share / (double)total;
    return v->weight * freed;
}

void lm_counts_predict(const lm_counts *c, const int32_t *end, int64_t available, int32_t without, float *p,
                       float *seen) {
    view views[LM_MAX_ORDER + 1];
    const int longest = find_contexts(c, end, available, without, views);
    if (without >= 0) leave_out(views, longest, (uint32_t)without);
    double share = 1;
    for (int k = longest; k >= 0; k--) share = weigh(&views[k], share);
    for (int k = 0; seen && k <= c->order; k++) seen[k] = k <= longest ? views[k].total : 0;
    const float rest = (float)(share / (double)c->vocabulary);
    for (int64_t i = 0; i < c->vocabulary; i++) p[i] = rest;
    for (int k = 0; k <= longest; k++) {
        const view *v = &views[k];
        const count_list *next = &v->level->part[COUNT_NEXT];
        for (int64_t i = v->begin; i < v->end; i++)
            p[count_at(next, i)] += (float)(v->weight * discounted(v, number_at(v, i)));
    }
}
