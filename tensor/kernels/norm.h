/* Layer normalisation of one row (Ba et al. 2016), x^ = (x - mean) rstd, and its gradients. */
#ifndef SAMPO_TENSOR_NORM_H
#define SAMPO_TENSOR_NORM_H

#include "tensor/kernels/lanes.h"
#include "tensor/kernels/math.h"

static void layer_norm_row(int64_t n, float *y, float stats[2], const float *x, const float *w,
                           const float *b, float eps) {
    lanes sum = lanes_splat(0), squares = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) sum.v[v] += row.v[v];
    });
    const float mean = lanes_sum(sum) / (float)n;
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, mean);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec d = row.v[v] - vec_splat(mean);
            squares.v[v] += d * d;
        }
    });
    const float rstd = 1 / __builtin_sqrtf(lanes_sum(squares) / (float)n + eps);
    EACH_LANES(n, i, count, {
        lanes row = lanes_load_some(x + i, count, 0);
        const lanes weight = w ? lanes_load_some(w + i, count, 0) : lanes_splat(1);
        const lanes bias = b ? lanes_load_some(b + i, count, 0) : lanes_splat(0);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec normal = vec_round((row.v[v] - vec_splat(mean)) * vec_splat(rstd));
            row.v[v] = normal * weight.v[v] + bias.v[v];
        }
        lanes_store_some(y + i, row, count);
    });
    stats[0] = mean;
    stats[1] = rstd;
}

/* g = dy w, rounded on its own: it is added and multiplied. */
static inline lanes norm_gradient(int64_t n, const float *dy, const float *w) {
    lanes g = lanes_load_some(dy, n, 0);
    if (w) {
        const lanes weight = lanes_load_some(w, n, 0);
        for (int v = 0; v < LANE_VECS; v++) g.v[v] = vec_round(g.v[v] * weight.v[v]);
    }
    return g;
}

/* dx += rstd (g - mean(g) - x^ mean(g x^)). */
static void layer_norm_vjp_row(int64_t n, float *dx, const float stats[2], const float *dy, const float *x,
                               const float *w) {
    if (!dx) return;
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]);
    lanes sum = lanes_splat(0), dot = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes g = norm_gradient(count, dy + i, w ? w + i : NULL);
        const lanes row = lanes_load_some(x + i, count, stats[0]);
        for (int v = 0; v < LANE_VECS; v++) {
            sum.v[v] += g.v[v];
            dot.v[v] += ((row.v[v] - mean) * rstd) * g.v[v];
        }
    });
    const vec mean_g = vec_splat(lanes_sum(sum) / (float)n), mean_dot = vec_splat(lanes_sum(dot) / (float)n);
    EACH_LANES(n, i, count, {
        const lanes g = norm_gradient(count, dy + i, w ? w + i : NULL);
        const lanes row = lanes_load_some(x + i, count, 0);
        lanes d = lanes_load_some(dx + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) {
            const vec centred = (g.v[v] - mean_g) - ((row.v[v] - mean) * rstd) * mean_dot;
            d.v[v] = centred * rstd + d.v[v];
        }
        lanes_store_some(dx + i, d, count);
    });
}

static void layer_norm_param_vjp_row(int64_t n, float *dw, float *db, const float stats[2], const float *dy,
                                     const float *x) {
    const vec mean = vec_splat(stats[0]), rstd = vec_splat(stats[1]);
    EACH_LANES(n, i, count, {
        const lanes g = lanes_load_some(dy + i, count, 0);
        if (dw) {
            const lanes row = lanes_load_some(x + i, count, 0);
            lanes d = lanes_load_some(dw + i, count, 0);
            for (int v = 0; v < LANE_VECS; v++) d.v[v] = ((row.v[v] - mean) * rstd) * g.v[v] + d.v[v];
            lanes_store_some(dw + i, d, count);
        }
        if (db) {
            lanes d = lanes_load_some(db + i, count, 0);
            for (int v = 0; v < LANE_VECS; v++) d.v[v] += g.v[v];
            lanes_store_some(db + i, d, count);
        }
    });
}

#endif
