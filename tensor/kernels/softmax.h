/* Softmax and its relatives over a row of contiguous elements. The sum of e^(x - max) is taken as
 * reduce_sum takes it: 16 lanes over a block, blocks added in double; drivers that see a row in
 * pieces rely on it to get the same bits. */
#ifndef SAMPO_TENSOR_SOFTMAX_H
#define SAMPO_TENSOR_SOFTMAX_H

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/reduce.h"

enum { SHORT_ROW = 256 };

/* Sum of e^(x - shift) over one block; the terms go to `out` unless it is NULL. */
static inline float exp_sum_block(int64_t n, float *out, const float *x, float shift) {
    lanes total = lanes_splat(0);
    EACH_LANES(n, i, count, {
        lanes e = lanes_load_some(x + i, count, shift);
        for (int v = 0; v < LANE_VECS; v++) e.v[v] = exp_negative(e.v[v] - vec_splat(shift));
        if (count % LANES) e = lanes_first(e, count, 0);
        for (int v = 0; v < LANE_VECS; v++) total.v[v] += e.v[v];
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
    const float inverse = 1 / exp_sum(n, out, x, reduce_one(reduce_max, n, x));
    parametric_AFFINE(n, out, out, NULL, inverse, 0);
}

static void log_softmax_row(int64_t n, float *out, const float *x) {
    const float top = reduce_one(reduce_max, n, x), log_sum = log_one(exp_sum(n, NULL, x, top));
    EACH_LANES(n, i, count, {
        lanes y = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) y.v[v] = (y.v[v] - vec_splat(top)) - vec_splat(log_sum);
        lanes_store_some(out + i, y, count);
    });
}

/* Short rows take turns, so that the chains of operations of one overlap those of the next. An infinite maximum is the
 * result: x - max would be NaN. */
static void log_sum_exp_rows(int64_t rows, int64_t n, float *out, const float *x, int64_t x_row) {
    const int64_t group = n <= SHORT_ROW ? LANES : 1;
    for (int64_t first = 0; first < rows; first += group) {
        const int64_t count = rows - first < group ? rows - first : group;
        float top[LANES] = {0}, sum[LANES] = {0};
        const float *row = x + first * x_row;
        reduce_max(count, n, top, row, x_row);
        for (int64_t r = 0; r < count; r++) sum[r] = exp_sum(n, NULL, row + r * x_row, top[r]);
        lanes y = lanes_load(top);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec t = y.v[v], log_sum = vec_log(vec_load(sum + v * VEC_WIDTH));
            y.v[v] = vec_select(t - t == vec_splat(0), t + log_sum, t);
        }
        lanes_store_some(out + first, y, count);
    }
}

static void softmax_vjp_row(int64_t n, float *dx, const float *dy, const float *y, float share,
                            bool accumulate) {
    EACH_LANES(n, i, count, {
        const lanes g = lanes_load_some(dy + i, count, 0);
        const lanes p = lanes_load_some(y + i, count, 0);
        lanes d = accumulate ? lanes_load_some(dx + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++) d.v[v] = vec_fma(p.v[v], g.v[v] - vec_splat(share), d.v[v]);
        lanes_store_some(dx + i, d, count);
    });
}

static void log_softmax_vjp_row(int64_t n, float *dx, const float *dy, const float *y, float share,
                                bool accumulate) {
    EACH_LANES(n, i, count, {
        const lanes g = lanes_load_some(dy + i, count, 0);
        const lanes log = lanes_load_some(y + i, count, 0);
        lanes d = accumulate ? lanes_load_some(dx + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++)
            d.v[v] += vec_fma(exp_negative(log.v[v]), vec_splat(-share), g.v[v]);
        lanes_store_some(dx + i, d, count);
    });
}

static void cross_entropy_vjp(const cross_entropy_args *t) {
    const int64_t n = t->n;
    for (int64_t r = 0; r < t->rows; r++) {
        const float *x = t->x + r * t->x_row;
        const vec lse = vec_splat(t->lse[r]);
        const int32_t target = t->targets[r * t->targets_stride];
        const vec scale = vec_splat(target == t->ignored ? 0 : t->scale[r * t->scale_stride]);
        float *dx = t->dx + r * t->dx_row;
        EACH_LANES(n, i, count, {
            const lanes row = lanes_load_some(x + i, count, 0);
            lanes d = t->accumulate ? lanes_load_some(dx + i, count, 0) : lanes_splat(0);
            for (int v = 0; v < LANE_VECS; v++) {
                const vec hot = vec_truth(lane_numbers(v) == (int32_t)(target - i));
                d.v[v] = vec_fma(exp_negative(row.v[v] - lse) - hot, scale, d.v[v]);
            }
            lanes_store_some(dx + i, d, count);
        });
    }
}

#endif
