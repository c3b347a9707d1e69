/* Counts as a whole: what follows from the lists, their sizes, and checkpoints. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/count/count_internal.h"

static const char *const names[COUNT_PARTS] = {"token", "children", "grams", "next", "times", "different"};

bool counts_possible(int64_t vocabulary, int order, tensor_error *err) {
    return (order >= 0 && order <= LM_MAX_ORDER && vocabulary >= 1) ||
           tensor_fail(err, "counts of order %d over %" PRId64 " tokens are not possible", order, vocabulary);
}

lm_counts *counts_new(int64_t vocabulary, int order, tensor_error *err) {
    if (!counts_possible(vocabulary, order, err)) return NULL;
    tensor_arena *arena = tensor_arena_new(err);
    lm_counts *c = arena ? tensor_arena_alloc(arena, sizeof *c, err) : NULL;
    if (!c) {
        tensor_arena_free(arena);
        return NULL;
    }
    *c = (lm_counts){.arena = arena, .vocabulary = vocabulary, .order = order};
    for (int k = 0; k <= order; k++)
        for (int part = 0; part < COUNT_PARTS; part++)
            snprintf(c->name[k][part], sizeof c->name[k][part], LM_COUNTS_PREFIX "%d.%s", k, names[part]);
    return c;
}

void lm_counts_free(lm_counts *counts) {
    if (counts) tensor_arena_free(counts->arena);
}

int lm_counts_order(const lm_counts *counts) {
    return counts->order;
}

int64_t lm_counts_vocabulary(const lm_counts *counts) {
    return counts->vocabulary;
}

static size_t list_bytes(const count_list *list) {
    return (size_t)(list->count * list->width);
}

int64_t lm_counts_grams(const lm_counts *counts) {
    int64_t grams = 0;
    for (int k = 0; k <= counts->order; k++) grams += counts->level[k].part[COUNT_NEXT].count;
    return grams;
}

size_t lm_counts_bytes(const lm_counts *counts) {
    size_t bytes = 0;
    for (int k = 0; k <= counts->order; k++)
        for (int part = 0; part < COUNT_PARTS; part++) bytes += list_bytes(&counts->level[k].part[part]);
    return bytes;
}

/* ---- What follows from the lists ----------------------------------------------------------------- */

static bool unfit(tensor_error *err, int level, const char *what) {
    return tensor_fail(err, "the counts for contexts of %d tokens are damaged: %s", level, what);
}

/* Numbers of a list as they come, so that loops over many do not ask for the width of each. */
enum { BLOCK = 1024 };
static int64_t unpack(const count_list *list, int64_t begin, uint32_t block[BLOCK]) {
    const int64_t n = list->count - begin < BLOCK ? list->count - begin : BLOCK;
    const uint8_t *one = (const uint8_t *)list->data + begin;
    const uint16_t *two = (const uint16_t *)list->data + begin;
    if (list->width == 1)
        for (int64_t i = 0; i < n; i++) block[i] = one[i];
    else if (list->width == 2)
        for (int64_t i = 0; i < n; i++) block[i] = two[i];
    else
        memcpy(block, (const uint32_t *)list->data + begin, (size_t)n * sizeof *block);
    return n;
}

/* Where each of the parts of a list begins goes into a column of count_start, start[0], start[2], ...; together they
 * must be `total`. */
static bool set_starts(uint32_t *start, const count_list *sizes, int64_t total) {
    uint32_t block[BLOCK];
    int64_t sum = 0;
    for (int64_t i = 0, n; i < sizes->count && sum <= total; i += n) {
        n = unpack(sizes, i, block);
        for (int64_t k = 0; k < n; k++) {
            start[2 * (i + k)] = (uint32_t)sum;
            sum += block[k];
        }
    }
    start[2 * sizes->count] = (uint32_t)sum;
    return sum == total;
}

/* Whether tokens are below V, and ascend in each part of a list. */
static bool ascend(const count_list *tokens, const uint32_t *start, int64_t parts, int64_t vocabulary) {
    uint32_t block[BLOCK], largest = 0;
    for (int64_t i = 0, n; i < tokens->count; i += n) {
        n = unpack(tokens, i, block);
        for (int64_t k = 0; k < n; k++) largest = block[k] > largest ? block[k] : largest;
    }
    if (tokens->count > 0 && largest >= vocabulary) return false;
    for (int64_t i = 0; i < parts; i++)
        for (uint32_t k = start[2 * i] + 1; k < start[2 * i + 2]; k++)
            if (count_at(tokens, k) <= count_at(tokens, k - 1)) return false;
    return true;
}

/* So that what follows no context keeps a probability. */
static const double LEAST = 0.1;

/* Discounts by Chen & Goodman (1999), eq. 26; 1/2 for the empty context, whose numbers are large, and where the text is
 * too short to tell. */
static void set_discounts(double discount[4], const count_list *numbers, int level) {
    uint32_t block[BLOCK];
    double n[5] = {0};
    for (int64_t i = 0, size; i < numbers->count; i += size) {
        uint32_t some[5] = {0};
        size = unpack(numbers, i, block);
        for (int64_t k = 0; k < size; k++)
            for (uint32_t x = 1; x < 5; x++) some[x] += block[k] == x;
        for (int x = 1; x < 5; x++) n[x] += some[x];
    }
    const double y = n[1] / (n[1] + 2 * n[2]);
    for (int i = 1; i <= 3; i++) {
        const double d = level == 0 || n[1] == 0 || n[i] == 0 ? 0.5 : i - (i + 1) * y * n[i + 1] / n[i];
        discount[i] = d < LEAST ? LEAST : d;
    }
    discount[0] = 0;
}

bool counts_complete(lm_counts *c, tensor_error *err) {
    int64_t contexts = 1;
    for (int k = 0; k <= c->order; k++) {
        count_level *level = &c->level[k];
        const count_list *part = level->part;
        const bool last = k == c->order;
        const int64_t children = last ? 0 : c->level[k + 1].part[COUNT_TOKEN].count,
                      grams = part[COUNT_NEXT].count;
        if (part[COUNT_TOKEN].count != (k > 0 ? contexts : 0) || part[COUNT_GRAMS].count != contexts ||
            part[COUNT_CHILDREN].count != (last ? 0 : contexts) || part[COUNT_TIMES].count != grams ||
            part[COUNT_DIFFERENT].count != (last ? 0 : grams) || grams > UINT32_MAX || children > UINT32_MAX)
            return unfit(err, k, "its lists have other lengths");
        count_start *start = tensor_arena_alloc(c->arena, (size_t)(contexts + 1) * sizeof *start, err);
        if (!start) return false;
        level->start = start;
        if (!set_starts(&start->gram, &part[COUNT_GRAMS], grams) ||
            (!last && !set_starts(&start->child, &part[COUNT_CHILDREN], children)))
            return unfit(err, k, "the sizes of its parts do not add up");
        if (!ascend(&part[COUNT_NEXT], &start->gram, contexts, c->vocabulary) ||
            (!last && !ascend(&c->level[k + 1].part[COUNT_TOKEN], &start->child, contexts, c->vocabulary)))
            return unfit(err, k, "its tokens do not ascend");
        set_discounts(level->discount[0], &part[COUNT_TIMES], k);
        set_discounts(level->discount[1], &part[COUNT_DIFFERENT], k);
        contexts = children;
    }
    return true;
}

/* ---- Checkpoints ------------------------------------------------------------------------------------ */

static const char *const dtypes[] = {NULL, "U8", "U16", NULL, "U32"}; /* by width */

int lm_counts_list(const lm_counts *c, nn_entry entries[LM_COUNT_ENTRIES]) {
    int count = 0;
    for (int k = 0; k <= c->order; k++)
        for (int part = 0; part < COUNT_PARTS; part++) {
            const count_list *list = &c->level[k].part[part];
            entries[count++] = (nn_entry){.name = c->name[k][part],
                                          .dtype = dtypes[list->width],
                                          .rank = 1,
                                          .shape = {list->count},
                                          .data = list->data,
                                          .bytes = list_bytes(list)};
        }
    return count;
}

/* A list of a file, as a copy. */
static bool read_list(count_list *list, const nn_file *file, const char *name, tensor_arena *arena,
                      tensor_error *err) {
    const nn_entry *e = nn_file_find(file, name);
    int width = 0;
    for (int w = 1; e && w <= 4; w *= 2)
        if (strcmp(e->dtype, dtypes[w]) == 0) width = w;
    if (width == 0 || e->rank != 1) return tensor_fail(err, "the tensor %s of the counts does not fit", name);
    void *data = tensor_arena_alloc(arena, e->bytes, err);
    if (!data) return false;
    memcpy(data, e->data, e->bytes);
    *list = (count_list){data, e->shape[0], width};
    return true;
}

lm_counts *lm_counts_of_file(const nn_file *file, int64_t vocabulary, int order, tensor_error *err) {
    lm_counts *c = counts_new(vocabulary, order, err);
    bool ok = c;
    for (int k = 0; ok && k <= order; k++)
        for (int part = 0; ok && part < COUNT_PARTS; part++)
            ok = read_list(&c->level[k].part[part], file, c->name[k][part], c->arena, err);
    if (ok && counts_complete(c, err)) return c;
    lm_counts_free(c);
    return NULL;
}
