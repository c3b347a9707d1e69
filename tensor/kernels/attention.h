/* Causal attention of one head of one sequence, tiled over queries and keys (Dao et al. 2022): a tile of
 * scores stays in the first-level cache, the part above the diagonal is never computed, and the backward
 * pass recomputes the probabilities from the saved log-sum-exp. Tiles of keys begin at multiples of
 * ATTENTION_TILE whatever the number of queries, so a row has the same bits with a key/value cache. */
#ifndef SAMPO_TENSOR_ATTENTION_H
#define SAMPO_TENSOR_ATTENTION_H

#include <math.h>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/math.h"

enum { ATTENTION_TILE = 64 };

/* One tile: queries i0.. and keys j0.., and which of its keys a query may see. */
typedef struct attention_tile {
    int64_t i0, rows, j0, cols;
    int64_t diagonal; /* row r sees columns up to r + diagonal */
} attention_tile;

static attention_tile tile_at(const attention_args *t, int64_t i0, int64_t j0) {
    const int64_t rows = min64(ATTENTION_TILE, t->tq - i0), position = i0 + t->tk - t->tq;
    const int64_t cols = min64(ATTENTION_TILE, position + rows - j0);
    return (attention_tile){i0, rows, j0, cols, position - j0};
}

static int64_t visible(const attention_tile *t, int64_t row) {
    return max64(0, min64(t->cols, row + t->diagonal + 1));
}

/* out[rows, cols] = x[rows, d] y[cols, d]^T, where visible. */
static void tile_scores(float *out, const attention_tile *t, int64_t d, const float *x, int64_t x_row,
                        const float *y, int64_t y_row, int64_t y_col) {
    gemm(&(gemm_args){.m = t->rows,
                      .n = t->cols,
                      .k = d,
                      .a = x,
                      .a_row = x_row,
                      .a_col = 1,
                      .b = y,
                      .b_row = y_col,
                      .b_col = y_row,
                      .c = out,
                      .c_row = ATTENTION_TILE,
                      .c_col = 1,
                      .part = GEMM_C_LOWER,
                      .diagonal = t->diagonal});
}

/* p zero where not visible, as far as clear_hidden goes; GEMM_A_LOWER: out[rows, d] (+)= p[rows, cols] x[cols, d];
 * GEMM_A_UPPER: out[cols, d] (+)= p[rows, cols]^T x[rows, d]. */
static void tile_product(float *out, int64_t out_row, const attention_tile *t, gemm_part part, int64_t d,
                         const float *p, const float *x, int64_t x_row, bool accumulate) {
    const bool lower = part == GEMM_A_LOWER;
    gemm(&(gemm_args){.m = lower ? t->rows : t->cols,
                      .n = d,
                      .k = lower ? t->cols : t->rows,
                      .a = p,
                      .a_row = lower ? ATTENTION_TILE : 1,
                      .a_col = lower ? 1 : ATTENTION_TILE,
                      .b = x,
                      .b_row = x_row,
                      .b_col = 1,
                      .c = out,
                      .c_row = out_row,
                      .c_col = 1,
                      .start = accumulate ? out : NULL,
                      .start_row = out_row,
                      .start_col = 1,
                      .part = part,
                      .diagonal = t->diagonal});
}

/* x in the first n lanes, elsewhere `other`. */
static inline vec vec_first(vec x, int64_t n, vec other) {
    return n < VEC_WIDTH ? vec_select(lane_numbers(0) < (int32_t)n, x, other) : x;
}

/* The largest of the first n > 0 elements of a row. */
static inline float row_max(const float *s, int64_t n) {
    const vec first = vec_splat(s[0]);
    vec top = first;
    for (int64_t j = 0; j < n; j += VEC_WIDTH) {
        const vec x = vec_first(vec_load(s + j), n - j, first);
        top = vec_select(x > top, x, top);
    }
    lanes all;
    for (int v = 0; v < LANE_VECS; v++) all.v[v] = top;
    return lanes_max(all);
}

/* Zeros behind the vectors that hold a row's n visible elements, as far as a product's tile of rows may read. */
static inline void clear_hidden(float *s, int64_t n) {
    int64_t j = (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
    for (int v = 0; v < (GEMM_MR + VEC_WIDTH - 1) / VEC_WIDTH; v++, j += VEC_WIDTH)
        if (j < ATTENTION_TILE) vec_store(s + j, vec_splat(0));
}

/* s = e^(scale s - shift) over a row's n visible elements, 0 on the others. Returns the sum. */
static inline float row_exp(float *s, int64_t n, float scale, float shift) {
    lanes total = lanes_splat(0);
    for (int64_t j = 0; j < n; j += LANES)
        for (int v = 0; v < LANE_VECS && j + v * VEC_WIDTH < n; v++) {
            float *at = s + j + v * VEC_WIDTH;
            vec p = exp_negative(vec_load(at) * vec_splat(scale) - vec_splat(shift));
            p = vec_first(p, n - j - v * VEC_WIDTH, vec_splat(0));
            vec_store(at, p);
            total.v[v] += p;
        }
    clear_hidden(s, n);
    return lanes_sum(total);
}

/* x *= factor. */
static inline void scale_row(float *x, int64_t n, float factor) {
    int64_t c = 0;
    for (; c + VEC_WIDTH <= n; c += VEC_WIDTH) vec_store(x + c, vec_load(x + c) * vec_splat(factor));
    for (; c < n; c++) x[c] *= factor;
}

static void attention_queries(const attention_args *t, int64_t i0) {
    float s[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float high[ATTENTION_TILE], sum[ATTENTION_TILE]; /* of each row, over the keys so far */
    const int64_t rows = min64(ATTENTION_TILE, t->tq - i0), keys = i0 + t->tk - t->tq + rows;
    float *y = t->y + i0 * t->y_row;
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        const attention_tile tile = tile_at(t, i0, j0);
        tile_scores(s, &tile, t->d, t->q + i0 * t->q_row, t->q_row, t->k + j0 * t->k_row, t->k_row, t->k_col);
        /* The rows take turns, so that the chain of one overlaps those of the others. */
        float next[ATTENTION_TILE];
        for (int64_t r = 0; r < rows; r++) {
            const int64_t n = visible(&tile, r);
            next[r] = n > 0 ? row_max(s + r * ATTENTION_TILE, n) * t->scale : high[r];
            if (j0 > 0 && high[r] > next[r]) next[r] = high[r];
        }
        for (int64_t r = 0; r < rows; r++) {
            const float total = row_exp(s + r * ATTENTION_TILE, visible(&tile, r), t->scale, next[r]);
            if (j0 > 0) {
                const float shrink = vec_exp(vec_splat(high[r] - next[r]))[0];
                sum[r] = sum[r] * shrink + total;
                if (shrink != 1) scale_row(y + r * t->y_row, t->d, shrink);
            } else {
                sum[r] = total;
            }
            high[r] = next[r];
        }
        tile_product(y, t->y_row, &tile, GEMM_A_LOWER, t->d, s, t->v + j0 * t->v_row, t->v_row, j0 > 0);
    }
    for (int64_t r = 0; r < rows; r++) scale_row(y + r * t->y_row, t->d, 1 / sum[r]);
    for (int64_t r = 0; t->lse && r < rows; r += VEC_WIDTH) {
        float log_sum[VEC_WIDTH];
        const int64_t count = min64(VEC_WIDTH, rows - r);
        vec_store(log_sum, vec_log(count == VEC_WIDTH ? vec_load(sum + r) : vec_load_part(sum + r, count)));
        for (int64_t i = 0; i < count; i++) t->lse[(i0 + r + i) * t->lse_row] = high[r + i] + log_sum[i];
    }
}

static void attention(const attention_args *t) {
    for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) attention_queries(t, i0);
}

/* p = e^(scale s - lse); ds = scale p (dp - share), where share = sum_j p_j dp_j = y . dy. */
static void attention_tile_vjp(const attention_args *t, const attention_tile *tile, float *s, float *dp,
                               const float *share) {
    for (int64_t r = 0; r < tile->rows; r++) {
        float *p = s + r * ATTENTION_TILE, *ds = dp + r * ATTENTION_TILE;
        const int64_t n = visible(tile, r);
        const float lse = t->lse[(tile->i0 + r) * t->lse_row];
        for (int64_t j = 0; j < n; j += VEC_WIDTH) {
            const vec x = exp_negative(vec_load(p + j) * vec_splat(t->scale) - vec_splat(lse));
            const vec dx = x * (vec_load(ds + j) - vec_splat(share[r])) * vec_splat(t->scale);
            vec_store(p + j, vec_first(x, n - j, vec_splat(0)));
            vec_store(ds + j, vec_first(dx, n - j, vec_splat(0)));
        }
        clear_hidden(p, n);
        clear_hidden(ds, n);
    }
}

static void attention_queries_vjp(const attention_args *t, int64_t i0) {
    float p[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float ds[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float share[ATTENTION_TILE];
    const int64_t rows = min64(ATTENTION_TILE, t->tq - i0), keys = i0 + t->tk - t->tq + rows;
    const float *q = t->q + i0 * t->q_row, *dy = t->dy + i0 * t->dy_row;
    for (int64_t r = 0; r < rows; r++) {
        lanes total = {0};
        for (int64_t c = 0; c < t->d; c += LANES)
            for (int v = 0; v < LANE_VECS; v++) {
                const int64_t at = c + v * VEC_WIDTH, n = min64(VEC_WIDTH, t->d - at);
                if (n <= 0) break;
                const float *a = dy + r * t->dy_row + at, *b = t->y + (i0 + r) * t->y_row + at;
                const vec x = n == VEC_WIDTH ? vec_load(a) : vec_load_part(a, n);
                const vec y = n == VEC_WIDTH ? vec_load(b) : vec_load_part(b, n);
                total.v[v] += x * y;
            }
        share[r] = lanes_sum(total);
    }
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        const attention_tile tile = tile_at(t, i0, j0);
        const float *k = t->k + j0 * t->k_row, *v = t->v + j0 * t->v_row;
        tile_scores(p, &tile, t->d, q, t->q_row, k, t->k_row, 1);
        tile_scores(ds, &tile, t->d, dy, t->dy_row, v, t->v_row, 1);
        attention_tile_vjp(t, &tile, p, ds, share);
        /* With as many keys as queries, a tile of keys is first seen by the tile of queries at its place. */
        const bool add_keys = !t->overwrite || j0 < i0, add_queries = !t->overwrite || j0 > 0;
        if (t->dv)
            tile_product(t->dv + j0 * t->dv_row, t->dv_row, &tile, GEMM_A_UPPER, t->d, p, dy, t->dy_row,
                         add_keys);
        if (t->dk)
            tile_product(t->dk + j0 * t->dk_row, t->dk_row, &tile, GEMM_A_UPPER, t->d, ds, q, t->q_row,
                         add_keys);
        if (t->dq)
            tile_product(t->dq + i0 * t->dq_row, t->dq_row, &tile, GEMM_A_LOWER, t->d, ds, k, t->k_row,
                         add_queries);
    }
}

static void attention_vjp(const attention_args *t) {
    for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) attention_queries_vjp(t, i0);
}

#endif
