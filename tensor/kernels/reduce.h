/* Reductions of a row of contiguous elements, in an order that the source alone defines. */
#ifndef SAMPO_TENSOR_REDUCE_H
#define SAMPO_TENSOR_REDUCE_H

#include "tensor/kernels/half.h"
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/lanes.h"

enum { ADD_ROWS_NV = 8 }; /* vectors of columns side by side: chains that hide an addition's latency */

/* name(rows, n, out, x, x_row): out[r] = `result` of row r's lanes, `total`, into which its elements are folded, each
 * lane's in ascending order. A row is a chain of operations that wait for each other; a processor begins the next one
 * meanwhile where nothing but this loop stands between. */
#define FOLDS(name, start, fold, result)                                                                     \
    static void name(int64_t rows, int64_t n, float *out, const float *x, int64_t x_row) {                   \
        for (int64_t r = 0; r < rows; r++, x += x_row) {                                                     \
            lanes total = lanes_splat(start);                                                                \
            EACH_LANES(n, i, count, {                                                                        \
                const lanes row = lanes_load_some(x + i, count, start);                                      \
                for (int v = 0; v < LANE_VECS; v++) total.v[v] = fold(total.v[v], row.v[v]);                 \
            });                                                                                              \
            out[r] = result;                                                                                 \
        }                                                                                                    \
    }

static inline vec fold_sum(vec total, vec x) {
    return total + x;
}
static inline vec fold_product(vec total, vec x) {
    return total * x;
}
/* As vec_max. */
static inline vec fold_min(vec least, vec x) {
    return vec_nan_or(x, vec_at_most(least, x));
}

FOLDS(sum_blocks, 0, fold_sum, lanes_sum(total))
FOLDS(reduce_max, -__builtin_inff(), vec_max, lanes_max(total))
FOLDS(reduce_min, __builtin_inff(), fold_min, -lanes_max(lanes_minus(total)))
FOLDS(reduce_product, 1, fold_product, lanes_product(total))
#undef FOLDS

static void reduce_sum(int64_t rows, int64_t n, float *out, const float *x, int64_t x_row) {
    if (n <= REDUCE_BLOCK) {
        sum_blocks(rows, n, out, x, x_row);
        return;
    }
    for (int64_t r = 0; r < rows; r++, x += x_row) {
        double total = 0;
        for (int64_t i = 0; i < n; i += REDUCE_BLOCK) {
            float part;
            sum_blocks(1, min64(n - i, REDUCE_BLOCK), &part, x + i, x_row);
            total += (double)part;
        }
        out[r] = (float)total;
    }
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
    const vech part[2] = {HALVES(__builtin_shufflevector, v, v)};
    for (int half = 0; half < 2; half++) {
        vecd sum;
        memcpy(&sum, total + half * HALF_WIDTH, sizeof sum);
        sum += __builtin_convertvector(part[half], vecd);
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

static void take_totals(int64_t n, float *out, double *total) {
    const vecd zero = {0};
    int64_t j = 0;
    for (; j + HALF_WIDTH <= n; j += HALF_WIDTH) {
        vecd sum;
        memcpy(&sum, total + j, sizeof sum);
        half_store(out + j, half_load(out + j) + __builtin_convertvector(sum, vech));
        memcpy(total + j, &zero, sizeof zero);
    }
    for (; j < n; j++) out[j] += (float)total[j], total[j] = 0;
}

#endif
