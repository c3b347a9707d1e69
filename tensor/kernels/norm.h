/* Normalisation of one row and its gradients, x^ = (x - mean) rstd: layer norm (Ba et al. 2016), and RMS norm (Zhang &
 * Sennrich 2019), which is not centred: its mean stays 0, and rstd is that of its squares. */
#ifndef SAMPO_TENSOR_NORM_H
#define SAMPO_TENSOR_NORM_H

#include <float.h>

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/math.h"
#include "tensor/kernels/reduce.h"

/* Two sums over a row, which are taken together. */
typedef struct row_sums {
    double first, second;
} row_sums;

/* The blocks stand in functions of their own: where they are part of a larger one, gcc 12 keeps a sum in memory. */
#define NORM_BLOCK static __attribute__((noinline)) row_sums

NORM_BLOCK centred_block(int64_t n, const float *x, float centre) {
    lanes sum = lanes_splat(0), squares = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, centre);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec d = row.v[v] - vec_splat(centre);
            sum.v[v] += d;
            squares.v[v] = vec_fma(d, d, squares.v[v]);
        }
    });
    return (row_sums){(double)lanes_sum(sum), (double)lanes_sum(squares)};
}

/* Sums of x - centre and of its square. */
static row_sums centred_sums(int64_t n, const float *x, float centre) {
    row_sums total = {0, 0};
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK) {
        const row_sums part = centred_block(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK, x + i, centre);
        total.first += part.first;
        total.second += part.second;
    }
    return total;
}

/* The mean of a row, 0 where it is not centred, and the sum of the squares of what is left, of numbers whose squares or
 * sums are too large for float. Infinity and NaN give NaN or infinity. */
static __attribute__((noinline)) row_sums wide_moments(int64_t n, const float *x, bool centred) {
    row_sums moments = {0, 0};
    for (int64_t i = 0; centred && i < n; i++) moments.first += (double)x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)x[i] - moments.first;
        moments.second += d * d;
    }
    return moments;
}

/* The rounded sum's mean is a first guess: sums around it give the mean and the variance without its error, which would
 * show where a row hardly varies. */
static void norm_row(int64_t n, float *y, float stats[2], const float *x, const float *w, const float *b,
                     float eps, bool centred) {
    const double part = 1 / (double)n;
    const float guess = centred ? (float)((double)reduce_one(reduce_sum, n, x) * part) : 0;
    const row_sums sums = centred_sums(n, x, guess);
    const double shift = centred ? sums.first * part : 0, variance = sums.second * part - shift * shift;
    float mean = (float)((double)guess + shift);
    float rstd = 1 / __builtin_sqrtf((float)((variance > 0 ? variance : 0) + (double)eps));
    if (!(variance <= FLT_MAX)) {
        const row_sums wide = wide_moments(n, x, centred);
        mean = (float)wide.first;
        rstd = (float)(1 / __builtin_sqrt(wide.second * part + (double)eps));
    }
    EACH_LANES(n, i, count, {
        lanes row = lanes_load_some(x + i, count, 0);
        const lanes weight = w ? lanes_load_some(w + i, count, 0) : lanes_splat(1);
        const lanes bias = b ? lanes_load_some(b + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec normal = (row.v[v] - vec_splat(mean)) * vec_splat(rstd);
            row.v[v] = vec_fma(normal, weight.v[v], bias.v[v]);
        }
        lanes_store_some(y + i, row, count);
    });
    stats[0] = mean;
    stats[1] = rstd;
}

/* g = dy w. */
static inline lanes norm_gradient(int64_t n, const float *dy, const float *w) {
    lanes g = lanes_load_some(dy, n, 0);
    if (w) {
        const lanes weight = lanes_load_some(w, n, 0);
        for (int v = 0; v < LANE_VECS; v++) g.v[v] = g.v[v] * weight.v[v];
    }
    return g;
}

NORM_BLOCK gradient_block(int64_t n, const float stats[2], const float *dy, const float *x, const float *w) {
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]);
    lanes sum = lanes_splat(0), dot = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes g = norm_gradient(count, dy + i, w ? w + i : NULL);
        const lanes row = lanes_load_some(x + i, count, stats[0]);
        for (int v = 0; v < LANE_VECS; v++) {
            sum.v[v] += g.v[v];
            dot.v[v] = vec_fma((row.v[v] - mean) * rstd, g.v[v], dot.v[v]);
        }
    });
    return (row_sums){(double)lanes_sum(sum), (double)lanes_sum(dot)};
}

/* Sums of g and of g x^. */
static row_sums gradient_sums(int64_t n, const float stats[2], const float *dy, const float *x,
                              const float *w) {
    row_sums total = {0, 0};
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK) {
        const int64_t size = n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK;
        const row_sums part = gradient_block(size, stats, dy + i, x + i, w ? w + i : NULL);
        total.first += part.first;
        total.second += part.second;
    }
    return total;
}

/* dx (+)= rstd (g - mean(g) - x^ mean(g x^)), without mean(g) where the row was not centred. */
static void norm_vjp_row(int64_t n, float *dx, const float stats[2], const float *dy, const float *x,
                         const float *w, bool centred, bool accumulate) {
    const double part = 1 / (double)n;
    const row_sums sums = gradient_sums(n, stats, dy, x, w);
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]);
    const vec mean_g = vec_splat(centred ? (float)(sums.first * part) : 0),
              mean_dot = vec_splat((float)(sums.second * part));
    EACH_LANES(n, i, count, {
        const lanes g = norm_gradient(count, dy + i, w ? w + i : NULL);
        const lanes row = lanes_load_some(x + i, count, 0);
        lanes d = accumulate ? lanes_load_some(dx + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec normal = (row.v[v] - mean) * rstd;
            d.v[v] = vec_fma(vec_fma(-normal, mean_dot, g.v[v] - mean_g), rstd, d.v[v]);
        }
        lanes_store_some(dx + i, d, count);
    });
}

enum {
    NORM_ROWS_TOGETHER = 4
}; /* a first-level cache holds them, and what the sums of columns read and write */

/* dx of `rows` rows from `first` on and, while they are in a cache, their parts of both sums of columns. */
static inline __attribute__((always_inline)) void norm_vjp_some(const int rows, int64_t n, float *dw,
                                                                float *db, const norm_rows *t, int64_t first,
                                                                const float *w, bool centred,
                                                                bool accumulate) {
    const double part = 1 / (double)n;
    const float *dy[NORM_ROWS_TOGETHER], *x[NORM_ROWS_TOGETHER];
    vec mean[NORM_ROWS_TOGETHER], rstd[NORM_ROWS_TOGETHER];
    vec mean_g[NORM_ROWS_TOGETHER], mean_dot[NORM_ROWS_TOGETHER];
    for (int r = 0; r < rows; r++) {
        const float *stats = t->stats[first + r];
        dy[r] = t->dy[first + r], x[r] = t->x[first + r];
        const row_sums sums = gradient_sums(n, stats, dy[r], x[r], w);
        mean[r] = vec_splat(stats[0]), rstd[r] = vec_splat(stats[1]);
        mean_g[r] = vec_splat(centred ? (float)(sums.first * part) : 0);
        mean_dot[r] = vec_splat((float)(sums.second * part));
    }
    EACH_LANES(n, i, count, {
        lanes weight = lanes_load(dw + i);
        lanes bias = lanes_load(db + i);
        const lanes scale = w ? lanes_load_some(w + i, count, 0) : lanes_splat(1);
        for (int r = 0; r < rows; r++) {
            const lanes g = lanes_load_some(dy[r] + i, count, 0), row = lanes_load_some(x[r] + i, count, 0);
            float *dx = t->dx[first + r] + i;
            lanes d = accumulate ? lanes_load_some(dx, count, 0) : lanes_splat(0);
            for (int v = 0; v < LANE_VECS; v++) {
                const vec normal = (row.v[v] - mean[r]) * rstd[r];
                weight.v[v] = vec_fma(normal, g.v[v], weight.v[v]);
                bias.v[v] += g.v[v];
                d.v[v] =
                    vec_fma(vec_fma(-normal, mean_dot[r], g.v[v] * scale.v[v] - mean_g[r]), rstd[r], d.v[v]);
            }
            lanes_store_some(dx, d, count);
        }
        lanes_store(dw + i, weight);
        lanes_store(db + i, bias);
    });
}

/* ---- Normalisation of channels: rows of which each has one weight ---------------------------------- */

/* The mean of a row, n > 0, and the sum of the squares of what is left, as norm_row computes them. */
static void norm_moments(int64_t n, const float *x, double moments[2]) {
    const float guess = (float)((double)reduce_one(reduce_sum, n, x) / (double)n);
    const row_sums sums = centred_sums(n, x, guess);
    const double shift = sums.first / (double)n, rest = sums.second - sums.first * shift;
    moments[0] = (double)guess + shift;
    moments[1] = rest > 0 ? rest : 0;
    if (!(rest <= FLT_MAX)) {
        const row_sums wide = wide_moments(n, x, true);
        moments[0] = wide.first;
        moments[1] = wide.second;
    }
}

/* y = x^ w + b. */
static void norm_scale(int64_t n, float *y, const float stats[2], const float *x, float w, float b) {
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]), weight = vec_splat(w),
              bias = vec_splat(b);
    EACH_LANES(n, i, count, {
        lanes row = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) row.v[v] = vec_fma((row.v[v] - mean) * rstd, weight, bias);
        lanes_store_some(y + i, row, count);
    });
}

/* Sums of dy and of dy x^. */
static void norm_sums(int64_t n, const float stats[2], const float *dy, const float *x, double sums[2]) {
    const row_sums both = gradient_sums(n, stats, dy, x, NULL);
    sums[0] = both.first;
    sums[1] = both.second;
}

/* dx (+)= rstd (w dy - means[0] - x^ means[1]). */
static void norm_scale_vjp(int64_t n, float *dx, const float stats[2], const float *dy, const float *x,
                           float w, const float means[2], bool accumulate) {
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]), weight = vec_splat(w);
    const vec mean_g = vec_splat(means[0]), mean_dot = vec_splat(means[1]);
    EACH_LANES(n, i, count, {
        const lanes g = lanes_load_some(dy + i, count, 0), row = lanes_load_some(x + i, count, 0);
        lanes d = accumulate ? lanes_load_some(dx + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec normal = (row.v[v] - mean) * rstd;
            d.v[v] = vec_fma(vec_fma(-normal, mean_dot, g.v[v] * weight - mean_g), rstd, d.v[v]);
        }
        lanes_store_some(dx + i, d, count);
    });
}

/* ---- Gradients of a row norm's weights -------------------------------------------------------------- */

enum { NORM_ROWS_NV = 4 };

/* nv whole vectors of columns from column j on, as add_rows_at; both sums at once, as reading takes the time. */
static inline __attribute__((always_inline)) void add_norm_rows_at(const int nv, int64_t j, double *dw,
                                                                   double *db, const norm_rows *t) {
    vec weight[NORM_ROWS_NV], bias[NORM_ROWS_NV];
    for (int v = 0; v < nv; v++) weight[v] = bias[v] = vec_splat(0);
    for (int64_t r = 0; r < t->rows; r++) {
        const vec mean = vec_splat(t->stats[r][0]), rstd = vec_splat(t->stats[r][1]);
        for (int v = 0; v < nv; v++) {
            const vec g = vec_load(t->dy[r] + j + v * VEC_WIDTH);
            weight[v] = vec_fma((vec_load(t->x[r] + j + v * VEC_WIDTH) - mean) * rstd, g, weight[v]);
            bias[v] += g;
        }
    }
    for (int v = 0; v < nv; v++) {
        add_to_totals(dw + j + v * VEC_WIDTH, weight[v]);
        add_to_totals(db + j + v * VEC_WIDTH, bias[v]);
    }
}

static void add_norm_rows(int64_t n, double *dw, double *db, const norm_rows *t) {
    int64_t j = 0;
    for (; j + NORM_ROWS_NV * VEC_WIDTH <= n; j += NORM_ROWS_NV * VEC_WIDTH)
        add_norm_rows_at(NORM_ROWS_NV, j, dw, db, t);
    for (; j + VEC_WIDTH <= n; j += VEC_WIDTH) add_norm_rows_at(1, j, dw, db, t);
    if (j == n) return;
    vec weight = vec_splat(0), bias = weight;
    for (int64_t r = 0; r < t->rows; r++) {
        const vec row = vec_load_part(t->x[r] + j, n - j) - vec_splat(t->stats[r][0]);
        const vec g = vec_load_part(t->dy[r] + j, n - j);
        weight = vec_fma(row * vec_splat(t->stats[r][1]), g, weight);
        bias += g;
    }
    for (int64_t i = 0; j + i < n; i++) {
        dw[j + i] += (double)weight[i];
        db[j + i] += (double)bias[i];
    }
}

/* norm_vjp of each row and add_norm_rows of all, to the same bits. */
static void norm_vjp_rows(int64_t n, double *dw, double *db, const norm_rows *t, const float *w, bool centred,
                          bool accumulate) {
    float weight[NORM_COLUMNS + LANES], bias[NORM_COLUMNS + LANES];
    const size_t size = (size_t)(n + LANES) * sizeof(float);
    memset(weight, 0, size), memset(bias, 0, size);
    int64_t r = 0;
    for (; !t->far && r + NORM_ROWS_TOGETHER <= t->rows; r += NORM_ROWS_TOGETHER)
        norm_vjp_some(NORM_ROWS_TOGETHER, n, weight, bias, t, r, w, centred, accumulate);
    for (; r < t->rows; r++) norm_vjp_some(1, n, weight, bias, t, r, w, centred, accumulate);
    const float *row = weight;
    add_rows(n, dw, 1, &row);
    row = bias;
    add_rows(n, db, 1, &row);
}

#endif
