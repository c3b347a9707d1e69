/* Sixteen lanes at a time over rows of contiguous elements: element i belongs to lane i mod 16. */
#ifndef SAMPO_TENSOR_LANES_H
#define SAMPO_TENSOR_LANES_H

#include "tensor/kernels/vec.h"

static inline lanes lanes_splat(float x) {
    lanes a;
    for (int v = 0; v < LANE_VECS; v++) a.v[v] = vec_splat(x);
    return a;
}

static inline lanes lanes_load(const float *p) {
    lanes a;
    for (int v = 0; v < LANE_VECS; v++) a.v[v] = vec_load(p + v * VEC_WIDTH);
    return a;
}

static inline void lanes_store(float *p, lanes a) {
    for (int v = 0; v < LANE_VECS; v++) vec_store(p + v * VEC_WIDTH, a.v[v]);
}

/* The numbers of the lanes in vector v. */
static inline veci lane_numbers(int v) {
    static const int32_t numbers[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    veci n;
    memcpy(&n, numbers + v * VEC_WIDTH, sizeof n);
    return n;
}

/* The first n lanes, the rest `fill`. */
static inline lanes lanes_first(lanes a, int64_t n, float fill) {
    for (int v = 0; v < LANE_VECS; v++)
        a.v[v] = vec_select(lane_numbers(v) < (int32_t)n, a.v[v], vec_splat(fill));
    return a;
}

/* The first n < 16 elements, the rest `fill`. */
static inline lanes lanes_load_part(const float *p, int64_t n, float fill) {
    lanes a = lanes_splat(fill);
    for (int v = 0; v < LANE_VECS; v++) {
        const int64_t at = v * VEC_WIDTH;
        if (n >= at + VEC_WIDTH)
            a.v[v] = vec_load(p + at);
        else if (n > at)
            a.v[v] = vec_load_part(p + at, n - at);
    }
    return lanes_first(a, n, fill);
}

/* The first `count` elements of 16 at most. */
static inline lanes lanes_load_some(const float *p, int64_t count, float fill) {
    return count == LANES ? lanes_load(p) : lanes_load_part(p, count, fill);
}

static inline void lanes_store_some(float *p, lanes a, int64_t count) {
    if (count == LANES) {
        lanes_store(p, a);
    } else {
        float pad[LANES];
        lanes_store(pad, a);
        copy_part(p, pad, count);
    }
}

/* Runs the statements for each group of `width` of n elements, the first of which is i, and then for the `count`
 * elements that are left. They stand in two loops because `count` is a constant in the first, where the
 * compiler keeps vectors in registers. */
#define EACH_GROUP(width, n, i, count, ...)                                                                  \
    do {                                                                                                     \
        int64_t i = 0;                                                                                       \
        for (; i + (width) <= (n); i += (width)) {                                                           \
            enum { count = (width) };                                                                        \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
        if (i < (n)) {                                                                                       \
            const int64_t count = (n)-i;                                                                     \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    } while (0)
#define EACH_LANES(n, i, count, ...) EACH_GROUP(LANES, n, i, count, __VA_ARGS__)

/* x where it is NaN, else y. */
static inline vec vec_nan_or(vec x, vec y) {
#if defined(__AVX512F__)
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x); /* one operation for two */
#else
    return vec_select(x != x, x, y);
#endif
}

/* The larger, of equals `top`; NaN if either is. What is done with x alone does not make a chain of maxima wait. */
static inline vec vec_max(vec top, vec x) {
    return vec_nan_or(x, vec_at_least(top, x));
}

/* top = vec_max(top, x) for vectors of any width; a function would take them as arguments, whose passing depends on the
 * instruction set. */
#define FOLD_MAX(top, x)                                                                                     \
    do {                                                                                                     \
        const __typeof__(top >= x) keep = (top >= x) | (top != top);                                         \
        top = (__typeof__(top))((keep & (__typeof__(keep))top) | (~keep & (__typeof__(keep))x));             \
    } while (0)

/* The largest lane by the tree of lanes_sum, in vectors: a branch that depends on the data is often missed. */
static inline float lanes_max(lanes a) {
    lanes8 eight[2];
    memcpy(eight, &a, sizeof eight);
    FOLD_MAX(eight[0], eight[1]);
    lanes4 four[2];
    memcpy(four, eight, sizeof four);
    FOLD_MAX(four[0], four[1]);
    four[1] = __builtin_shufflevector(four[0], four[0], 2, 3, 0, 1);
    FOLD_MAX(four[0], four[1]);
    four[1] = __builtin_shufflevector(four[0], four[0], 1, 0, 3, 2);
    FOLD_MAX(four[0], four[1]);
    return four[0][0];
}

static inline lanes lanes_minus(lanes a) {
    for (int v = 0; v < LANE_VECS; v++) a.v[v] = -a.v[v];
    return a;
}

/* The product of the lanes by the tree of lanes_sum. */
static inline float lanes_product(lanes a) {
    lanes8 eight[2];
    memcpy(eight, &a, sizeof eight);
    eight[0] *= eight[1];
    lanes4 four[2];
    memcpy(four, eight, sizeof four);
    four[0] *= four[1];
    return (four[0][0] * four[0][2]) * (four[0][1] * four[0][3]);
}

#endif
