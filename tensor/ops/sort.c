/* The order of elements along an axis. A float becomes an integer that is ordered as floats are, so that a sort by its
 * digits, of eight bits each, needs no comparisons. */
#include <string.h>

#include "tensor/tensor_internal.h"

enum { DIGITS = 4, BUCKETS = 256, FEW = 48 };

/* An element: its number and what it is ordered by. */
typedef struct item {
    uint32_t key;
    int32_t index;
} item;

/* NaN is above all others, and -0 equals 0. */
static uint32_t key_of(float x, uint32_t flip) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (bits << 1 == 0) bits = 0;
    const uint32_t key = bits << 1 > 0xff000000u ? ~0u : bits ^ (bits >> 31 ? ~0u : 0x80000000u);
    return key ^ flip;
}

static bool before(item a, item b) {
    return a.key < b.key || (a.key == b.key && a.index < b.index);
}

/* Lines along an axis of x with their results, and the memory for one of them. */
typedef struct lines {
    tensor_loop loop; /* out and x at 0 along the axis */
    int64_t n, out_step, x_step;
    item *scratch;
} lines;

static bool lines_init(lines *t, const char *what, tensor out, tensor x, int axis, int64_t length,
                       int64_t items, tensor scratch, tensor_error *err) {
    if (!tensor_expect(what, "scratch", &scratch, TENSOR_I32, err)) return false;
    tensor shape = x;
    shape.shape[axis] = length;
    if (!tensor_expect_shape(what, "out", &out, shape.rank, shape.shape, err)) return false;
    if (tensor_size(scratch) < 2 * items || !tensor_dense(&scratch))
        return tensor_fail(err, "%s: scratch needs %lld elements without gaps", what, 2 * (long long)items);
    if (x.shape[axis] > INT32_MAX) return tensor_fail(err, "%s: axis %d is too long for int32", what, axis);
    t->n = x.shape[axis];
    t->out_step = out.stride[axis];
    t->x_step = x.stride[axis];
    t->scratch = scratch.data;
    out.shape[axis] = x.shape[axis] = length > 0; /* no lines where they are empty */
    tensor_loop_init(&t->loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    tensor_touch(scratch);
    return true;
}

static int checked_axis(const char *what, tensor out, tensor x, int axis, tensor_error *err) {
    if (!tensor_expect(what, "out", &out, TENSOR_I32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return -1;
    return tensor_expect_axis(what, axis, x.rank, err);
}

/* ---- Sorting ---------------------------------------------------------------------------------- */

static void insertion_sort(int64_t n, item *items) {
    for (int64_t i = 1; i < n; i++) {
        const item one = items[i];
        int64_t j = i;
        for (; j > 0 && one.key < items[j - 1].key; j--) items[j] = items[j - 1];
        items[j] = one;
    }
}

/* By the digits from the last to the first; `other` is as large as items. Returns where the result lies. */
static item *digit_sort(int64_t n, item *items, item *other) {
    int32_t count[DIGITS][BUCKETS] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < DIGITS; d++) count[d][items[i].key >> 8 * d & 255]++;
    for (int d = 0; d < DIGITS; d++) {
        int32_t first = 0, most = 0;
        for (int b = 0; b < BUCKETS; b++) {
            const int32_t here = count[d][b];
            most = here > most ? here : most;
            count[d][b] = first;
            first += here;
        }
        if (most == n) continue; /* all have this digit */
        for (int64_t i = 0; i < n; i++) other[count[d][items[i].key >> 8 * d & 255]++] = items[i];
        item *swap = items;
        items = other;
        other = swap;
    }
    return items;
}

bool tensor_argsort(tensor out, tensor x, int axis, bool falling, tensor scratch, tensor_error *err) {
    const char *what = "argsort";
    lines t;
    axis = checked_axis(what, out, x, axis, err);
    if (axis < 0 || !lines_init(&t, what, out, x, axis, x.shape[axis], 2 * x.shape[axis], scratch, err))
        return false;
    tensor_run run = tensor_loop_runs(&t.loop, 0, t.loop.size);
    while (tensor_run_next(&run))
        for (int64_t r = 0; r < run.n; r++) {
            const float *from = (const float *)run.at[1] + r * t.loop.inner_stride[1];
            int32_t *to = (int32_t *)run.at[0] + r * t.loop.inner_stride[0];
            item *items = t.scratch;
            for (int64_t i = 0; i < t.n; i++)
                items[i] = (item){key_of(from[i * t.x_step], falling ? ~0u : 0), (int32_t)i};
            if (t.n <= FEW)
                insertion_sort(t.n, items);
            else
                items = digit_sort(t.n, items, items + t.n);
            for (int64_t i = 0; i < t.n; i++) to[i * t.out_step] = items[i].index;
        }
    tensor_touch(out);
    return true;
}

/* ---- The largest ------------------------------------------------------------------------------ */

/* Moves the item at i of a heap of k, whose first is the last in order, down to its place. */
static void sink(int64_t k, item *heap, int64_t i) {
    const item one = heap[i];
    for (int64_t child; (child = 2 * i + 1) < k; i = child) {
        if (child + 1 < k && before(heap[child], heap[child + 1])) child++;
        if (!before(one, heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = one;
}

/* The first k of n elements in falling order, in order. */
static void first_of(int64_t k, item *heap, int64_t n, const float *x, int64_t step) {
    for (int64_t i = 0; i < k; i++) heap[i] = (item){key_of(x[i * step], ~0u), (int32_t)i};
    for (int64_t i = k / 2 - 1; i >= 0; i--) sink(k, heap, i);
    for (int64_t i = k; i < n; i++) {
        const uint32_t key = key_of(x[i * step], ~0u);
        if (key >= heap[0].key) continue; /* of equals the earlier one stays */
        heap[0] = (item){key, (int32_t)i};
        sink(k, heap, 0);
    }
    for (int64_t end = k - 1; end > 0; end--) {
        const item last = heap[0];
        heap[0] = heap[end];
        heap[end] = last;
        sink(end, heap, 0);
    }
}

bool tensor_top_k(tensor out, tensor x, int axis, tensor scratch, tensor_error *err) {
    const char *what = "top_k";
    lines t;
    axis = checked_axis(what, out, x, axis, err);
    if (axis < 0) return false;
    const int64_t k = out.rank == x.rank ? out.shape[axis] : 0;
    if (k > x.shape[axis])
        return tensor_fail(err, "top_k: %lld elements of %lld", (long long)k, (long long)x.shape[axis]);
    if (!lines_init(&t, what, out, x, axis, k, k, scratch, err)) return false;
    tensor_run run = tensor_loop_runs(&t.loop, 0, t.loop.size);
    while (tensor_run_next(&run))
        for (int64_t r = 0; r < run.n; r++) {
            int32_t *to = (int32_t *)run.at[0] + r * t.loop.inner_stride[0];
            first_of(k, t.scratch, t.n, (const float *)run.at[1] + r * t.loop.inner_stride[1], t.x_step);
            for (int64_t i = 0; i < k; i++) to[i * t.out_step] = t.scratch[i].index;
        }
    tensor_touch(out);
    return true;
}
