/* Softmax and its relatives over a row of contiguous elements. The sum of e^(x - max) is taken as
 * reduce_sum takes it: 16 lanes over blocks of 4096, blocks added in double; drivers that see a row in
 * pieces rely on it to get the same bits. */
#ifndef SAMPO_TENSOR_SOFTMAX_H
#define SAMPO_TENSOR_SOFTMAX_H

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/reduce.h"

/* Sum of e^(x - shift) over one block; the terms go to `out` unless it is NULL. */
static inline float exp_sum_block(int64_t n, float *out, const float *x, float shift) {
    lanes total = lanes_splat(0);
    EACH_LANES(n, i, count, {
        lanes e = lanes_load_some(x + i, count, -__builtin_inff());
        for (int v = 0; v < LANE_VECS; v++) {
            e.v[v] = vec_exp(e.v[v] - vec_splat(shift));
            total.v[v] += e.v[v];
        }
        if (out) lanes_store_some(out + i, e, count);
    });
    return lanes_sum(total);
}

static inline float exp_sum(int64_t n, float *out, const float *x, float shift) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK)
        sum += (double)exp_sum_block(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK, out ? out + i : NULL, x + i,
                                     shift);
    return (float)sum;
}

static inline float log_one(float x) {
    return vec_log(vec_splat(x))[0];
}

static void softmax_row(int64_t n, float *out, const float *x) {
    const float inverse = 1 / exp_sum(n, out, x, reduce_max(n, x));
    affine(n, out, inverse, out, 0);
}

static void log_softmax_row(int64_t n, float *out, const float *x) {
    const float top = reduce_max(n, x), log_sum = log_one(exp_sum(n, NULL, x, top));
    EACH_LANES(n, i, count, {
        lanes y = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) y.v[v] = (y.v[v] - vec_splat(top)) - vec_splat(log_sum);
        lanes_store_some(out + i, y, count);
    });
}

/* An infinite maximum is the result: x - max would be NaN. */
static float log_sum_exp_row(int64_t n, const float *x) {
    const float top = reduce_max(n, x);
    if (top - top != 0) return top;
    return top + log_one(exp_sum(n, NULL, x, top));
}

static void cross_entropy_vjp_row(int64_t n, float *dx, float scale, float lse, const float *x,
                                  int32_t target) {
    const bool has_target = target >= 0 && target < n;
    const float before = has_target ? dx[target] : 0;
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, 0);
        lanes d = lanes_load_some(dx + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++)
            d.v[v] = vec_exp(row.v[v] - vec_splat(lse)) * vec_splat(scale) + d.v[v];
        lanes_store_some(dx + i, d, count);
    });
    if (has_target) dx[target] = (vec_exp(vec_splat(x[target] - lse))[0] - 1) * scale + before;
}

#endif
