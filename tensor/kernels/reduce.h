/* Reductions of a row of contiguous elements, in an order that the source alone defines. */
#ifndef SAMPO_TENSOR_REDUCE_H
#define SAMPO_TENSOR_REDUCE_H

#include "tensor/kernels/half.h"
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/lanes.h"

enum { ADD_ROWS_NV = 8 }; /* vectors of columns side by side: chains that hide an addition's latency */

/* One block: each lane adds its elements in ascending order, then the tree. */
static float sum_block(int64_t n, const float *x) {
    lanes total = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) total.v[v] += row.v[v];
    });
    return lanes_sum(total);
}

static float reduce_sum(int64_t n, const float *x) {
    double total = 0;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK)
        total += (double)sum_block(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK, x + i);
    return (float)total;
}

/* Sum of the products, as reduce_sum takes it. */
static float dot_block(int64_t n, const float *a, const float *b) {
    lanes total = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes x = lanes_load_some(a + i, count, 0), y = lanes_load_some(b + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) total.v[v] = vec_fma(x.v[v], y.v[v], total.v[v]);
    });
    return lanes_sum(total);
}

static float reduce_dot(int64_t n, const float *a, const float *b) {
    double total = 0;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK)
        total += (double)dot_block(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK, a + i, b + i);
    return (float)total;
}

/* The largest of the elements with `flip` in their bits, which the sign turns into the smallest. */
static inline __attribute__((always_inline)) float largest(int64_t n, const float *x, const int32_t flip) {
    lanes top = lanes_splat(-__builtin_inff());
    EACH_LANES(n, i, count, {
        lanes row = lanes_load_some(x + i, count, flip ? __builtin_inff() : -__builtin_inff());
        for (int v = 0; v < LANE_VECS; v++) top.v[v] = vec_max(top.v[v], (vec)((veci)row.v[v] ^ flip));
    });
    return lanes_max(top);
}

static float reduce_max(int64_t n, const float *x) {
    return largest(n, x, 0);
}

static float reduce_min(int64_t n, const float *x) {
    return -largest(n, x, ~0x7fffffff);
}

static float reduce_product(int64_t n, const float *x) {
    lanes total = lanes_splat(1);
    float lane[LANES];
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, 1);
        for (int v = 0; v < LANE_VECS; v++) total.v[v] *= row.v[v];
    });
    lanes_store(lane, total);
    for (int half = LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++) lane[l] *= lane[l + half];
    return lane[0];
}

static double reduce_sum_squares(int64_t n, const float *x) {
    double total[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) total[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i + l < n; l++) total[l] += (double)x[i + l] * (double)x[i + l];
    for (int half = LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++) total[l] += total[l + half];
    return total[0];
}

/* total += v. */
static inline void add_to_totals(double *total, vec v) {
    float from[VEC_WIDTH];
    vec_store(from, v);
    for (int half = 0; half < 2; half++) {
        vecd sum;
        memcpy(&sum, total + half * HALF_WIDTH, sizeof sum);
        sum += __builtin_convertvector(half_load(from + half * HALF_WIDTH), vecd);
        memcpy(total + half * HALF_WIDTH, &sum, sizeof sum);
    }
}

/* nv whole vectors of columns from column j on. */
static inline __attribute__((always_inline)) void add_rows_at(const int nv, int64_t j, double *total,
                                                              int64_t rows, const float *const row[]) {
    vec sum[ADD_ROWS_NV];
    for (int v = 0; v < nv; v++) sum[v] = vec_load(row[0] + j + v * VEC_WIDTH);
    for (int64_t r = 1; r < rows; r++)
        for (int v = 0; v < nv; v++) sum[v] += vec_load(row[r] + j + v * VEC_WIDTH);
    for (int v = 0; v < nv; v++) add_to_totals(total + j + v * VEC_WIDTH, sum[v]);
}

static void add_rows(int64_t n, double *total, int64_t rows, const float *const row[]) {
    int64_t j = 0;
    for (; j + ADD_ROWS_NV * VEC_WIDTH <= n; j += ADD_ROWS_NV * VEC_WIDTH)
        add_rows_at(ADD_ROWS_NV, j, total, rows, row);
    for (; j + VEC_WIDTH <= n; j += VEC_WIDTH) add_rows_at(1, j, total, rows, row);
    if (j == n) return;
    vec sum = vec_load_part(row[0] + j, n - j);
    for (int64_t r = 1; r < rows; r++) sum += vec_load_part(row[r] + j, n - j);
    for (int64_t i = 0; j + i < n; i++) total[j + i] += (double)sum[i];
}

#endif
