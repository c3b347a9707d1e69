/* Normalisation of channels that are columns of rows, x^ = (x - mean) rstd: each has a mean, an rstd and a weight. */
#ifndef SAMPO_TENSOR_COLUMNS_H
#define SAMPO_TENSOR_COLUMNS_H

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/kernels.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/reduce.h"

#define EACH_COLUMNS(n, j, count, ...) EACH_GROUP(VEC_WIDTH, n, j, count, __VA_ARGS__)

static inline vec load_some(const float *p, int64_t count) {
    return count == VEC_WIDTH ? vec_load(p) : vec_load_part(p, count);
}
static inline void store_some(float *p, vec v, int64_t count) {
    if (count == VEC_WIDTH)
        vec_store(p, v);
    else
        vec_store_part(p, v, count);
}
static inline void add_some_to_totals(double *total, vec v, int64_t count) {
    if (count == VEC_WIDTH)
        add_to_totals(total, v);
    else
        for (int64_t i = 0; i < count; i++) total[i] += (double)v[i];
}

enum {
    COLUMNS_NV = 4
}; /* vectors side by side: rows are read in pieces, and chains hide an addition's latency */

/* total[j] = OP(total[j], x[r, j]) over the rows: nv vectors of columns, the last of `count` elements, and all n. */
#define FOLD_ROWS(op)                                                                                        \
    static inline __attribute__((always_inline)) void fold_##op##_at(                                        \
        const int nv, int64_t count, float *total, int64_t rows, const float *x, int64_t x_row) {            \
        vec sum[COLUMNS_NV];                                                                                 \
        for (int v = 0; v < nv; v++) sum[v] = load_some(total + v * VEC_WIDTH, count);                       \
        for (int64_t r = 0; r < rows; r++, x += x_row)                                                       \
            for (int v = 0; v < nv; v++) sum[v] = apply_##op(sum[v], load_some(x + v * VEC_WIDTH, count));   \
        for (int v = 0; v < nv; v++) store_some(total + v * VEC_WIDTH, sum[v], count);                       \
    }                                                                                                        \
    static void fold_rows_##op(int64_t n, float *total, int64_t rows, const float *x, int64_t x_row) {       \
        int64_t j = 0;                                                                                       \
        for (; j + COLUMNS_NV * VEC_WIDTH <= n; j += COLUMNS_NV * VEC_WIDTH)                                 \
            fold_##op##_at(COLUMNS_NV, VEC_WIDTH, total + j, rows, x + j, x_row);                            \
        for (; j + 2 * VEC_WIDTH <= n; j += 2 * VEC_WIDTH)                                                   \
            fold_##op##_at(2, VEC_WIDTH, total + j, rows, x + j, x_row);                                     \
        for (; j + VEC_WIDTH <= n; j += VEC_WIDTH)                                                           \
            fold_##op##_at(1, VEC_WIDTH, total + j, rows, x + j, x_row);                                     \
        if (j < n) fold_##op##_at(1, n - j, total + j, rows, x + j, x_row);                                  \
    }
FOLD_ROWS(MAX)
FOLD_ROWS(MIN)
FOLD_ROWS(MUL)
#undef FOLD_ROWS

/* nv vectors of columns from column j on, the last of `count` elements. */
static inline __attribute__((always_inline)) void add_squares_at(const int nv, int64_t count, double *sum,
                                                                 double *squares, int64_t rows,
                                                                 const float *x, int64_t x_row,
                                                                 const float *centre) {
    vec c[COLUMNS_NV], first[COLUMNS_NV], second[COLUMNS_NV];
    for (int v = 0; v < nv; v++) {
        c[v] = load_some(centre + v * VEC_WIDTH, count);
        first[v] = second[v] = vec_splat(0);
    }
    for (int64_t r = 0; r < rows; r++, x += x_row)
        for (int v = 0; v < nv; v++) {
            const vec d = load_some(x + v * VEC_WIDTH, count) - c[v];
            first[v] += d;
            second[v] = vec_fma(d, d, second[v]);
        }
    for (int v = 0; v < nv; v++) {
        add_some_to_totals(sum + v * VEC_WIDTH, first[v], count);
        add_some_to_totals(squares + v * VEC_WIDTH, second[v], count);
    }
}

/* sum += sum of x - centre, squares += sum of its squares over the rows, as add_rows. */
static void add_column_squares(int64_t n, double *sum, double *squares, int64_t rows, const float *x,
                               int64_t x_row, const float *centre) {
    int64_t j = 0;
    for (; j + COLUMNS_NV * VEC_WIDTH <= n; j += COLUMNS_NV * VEC_WIDTH)
        add_squares_at(COLUMNS_NV, VEC_WIDTH, sum + j, squares + j, rows, x + j, x_row, centre + j);
    for (; j + VEC_WIDTH <= n; j += VEC_WIDTH)
        add_squares_at(1, VEC_WIDTH, sum + j, squares + j, rows, x + j, x_row, centre + j);
    if (j < n) add_squares_at(1, n - j, sum + j, squares + j, rows, x + j, x_row, centre + j);
}

static inline __attribute__((always_inline)) void add_dots_at(const int nv, int64_t count, double *dot,
                                                              double *sum, int64_t rows, const float *dy,
                                                              const float *x, int64_t row, const float *mean,
                                                              const float *rstd) {
    vec centre[COLUMNS_NV], scale[COLUMNS_NV], first[COLUMNS_NV], second[COLUMNS_NV];
    for (int v = 0; v < nv; v++) {
        centre[v] = load_some(mean + v * VEC_WIDTH, count);
        scale[v] = load_some(rstd + v * VEC_WIDTH, count);
        first[v] = second[v] = vec_splat(0);
    }
    for (int64_t r = 0; r < rows; r++, x += row, dy += row)
        for (int v = 0; v < nv; v++) {
            const vec g = load_some(dy + v * VEC_WIDTH, count);
            first[v] = vec_fma((load_some(x + v * VEC_WIDTH, count) - centre[v]) * scale[v], g, first[v]);
            second[v] += g;
        }
    for (int v = 0; v < nv; v++) {
        add_some_to_totals(dot + v * VEC_WIDTH, first[v], count);
        add_some_to_totals(sum + v * VEC_WIDTH, second[v], count);
    }
}

/* dot += sum of dy x^, sum += sum of dy over the rows, as add_rows. */
static void add_column_dots(int64_t n, double *dot, double *sum, int64_t rows, const float *dy,
                            const float *x, int64_t row, const float *mean, const float *rstd) {
    int64_t j = 0;
    for (; j + COLUMNS_NV * VEC_WIDTH <= n; j += COLUMNS_NV * VEC_WIDTH)
        add_dots_at(COLUMNS_NV, VEC_WIDTH, dot + j, sum + j, rows, dy + j, x + j, row, mean + j, rstd + j);
    for (; j + VEC_WIDTH <= n; j += VEC_WIDTH)
        add_dots_at(1, VEC_WIDTH, dot + j, sum + j, rows, dy + j, x + j, row, mean + j, rstd + j);
    if (j < n) add_dots_at(1, n - j, dot + j, sum + j, rows, dy + j, x + j, row, mean + j, rstd + j);
}

/* y = x^ w + b. */
static void norm_columns(int64_t n, float *y, const float *x, const float *mean, const float *rstd,
                         const float *w, const float *b) {
    EACH_COLUMNS(n, j, count, {
        const vec normal =
            (load_some(x + j, count) - load_some(mean + j, count)) * load_some(rstd + j, count);
        store_some(y + j, vec_fma(normal, load_some(w + j, count), load_some(b + j, count)), count);
    });
}

/* dx (+)= rstd (w dy - mean_g - x^ mean_dot). */
static void norm_columns_vjp(int64_t n, float *dx, const float *dy, const float *x, const float *mean,
                             const float *rstd, const float *w, const float *mean_g, const float *mean_dot,
                             bool accumulate) {
    EACH_COLUMNS(n, j, count, {
        const vec scale = load_some(rstd + j, count);
        const vec normal = (load_some(x + j, count) - load_some(mean + j, count)) * scale;
        const vec g = load_some(dy + j, count) * load_some(w + j, count) - load_some(mean_g + j, count);
        const vec d = accumulate ? load_some(dx + j, count) : vec_splat(0);
        store_some(dx + j, vec_fma(vec_fma(-normal, load_some(mean_dot + j, count), g), scale, d), count);
    });
}

#endif
