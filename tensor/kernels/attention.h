/* Attention of one head of one sequence, tiled over queries and keys (Dao et al. 2022): a tile of scores stays in the
 * first-level cache, the part above a causal diagonal is never computed, and the backward pass recomputes the
 * probabilities from the saved maximum and sum of each row. Tiles of keys begin at multiples of ATTENTION_TILE whatever
 * the number of queries, so a row has the same bits with a key/value cache. */
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
    int64_t diagonal; /* row r sees columns up to r + diagonal, less those that the mask hides */
    const attention_args
        *strict; /* not NULL: what is hidden may be infinite or NaN and must not be multiplied by 0 */
} attention_tile;

static inline attention_tile tile_at(const attention_args *t, int64_t i0, int64_t rows, int64_t j0,
                                     bool strict) {
    return (attention_tile){.i0 = i0,
                            .rows = rows,
                            .j0 = j0,
                            .cols = min64(ATTENTION_TILE, t->tk - j0),
                            .diagonal = t->causal ? i0 + t->tk - t->tq - j0 : ATTENTION_TILE,
                            .strict = strict ? t : NULL};
}

/* How many keys, from the first on, the tile of queries from i0 on can see. */
static int64_t keys_of(const attention_args *t, int64_t i0) {
    const int64_t last = i0 + min64(ATTENTION_TILE, t->tq - i0) + t->tk - t->tq;
    return t->causal ? max64(0, last) : t->tk;
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

static bool sees(const attention_args *t, int64_t i, int64_t j) {
    if (t->causal && j > i + t->tk - t->tq) return false;
    if (!t->mask) return true;
    const float m = t->mask[i * t->mask_row + j * t->mask_col];
    return t->additive ? m != -INFINITY : m != 0;
}

/* The products below term by term, without those of hidden pairs. */
static void strict_product(const gemm_args *g, const attention_tile *t) {
    const bool lower = g->part == GEMM_A_LOWER;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t c = 0; c < g->n; c++) {
            vec sum = vec_splat(g->start ? g->start[i * g->start_row + c] : 0);
            for (int64_t p = 0; p < g->k; p++)
                if (sees(t->strict, t->i0 + (lower ? i : p), t->j0 + (lower ? p : i)))
                    sum = vec_fma(vec_splat(g->a[i * g->a_row + p * g->a_col]),
                                  vec_splat(g->b[p * g->b_row + c]), sum);
            g->c[i * g->c_row + c] = sum[0];
        }
}

/* p zero where not visible, as far as clear_hidden goes; GEMM_A_LOWER: out[rows, d] (+)= p[rows, cols] x[cols, d];
 * GEMM_A_UPPER: out[cols, d] (+)= p[rows, cols]^T x[rows, d]. */
static void tile_product(float *out, int64_t out_row, const attention_tile *t, gemm_part part, int64_t d,
                         const float *p, const float *x, int64_t x_row, bool accumulate) {
    const bool lower = part == GEMM_A_LOWER;
    const gemm_args product = {.m = lower ? t->rows : t->cols,
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
                               .diagonal = t->diagonal};
    if (t->strict)
        strict_product(&product, t);
    else
        gemm(&product);
}

/* The first n elements, at least one, of a vector. */
static inline vec load_first(const float *x, int64_t n) {
    return n < VEC_WIDTH ? vec_load_part(x, n) : vec_load(x);
}

/* x in the first n lanes, elsewhere `other`. */
static inline vec vec_first(vec x, int64_t n, vec other) {
    return vec_select(lane_numbers(0) < (int32_t)n, x, other);
}

static bool any_lane(veci x) {
    int32_t any = 0;
    for (int i = 0; i < VEC_WIDTH; i++) any |= x[i];
    return any != 0;
}

/* The larger; x where `top` or both are NaN is never taken. */
static inline vec vec_larger(vec x, vec top) {
    return vec_select(x > top, x, top);
}

/* s = scale s + mask, or scale s where the mask is not 0; -infinity where it hides a key. */
static void mask_scores(float *s, const attention_args *t, const attention_tile *tile) {
    const vec hidden = vec_splat(-INFINITY), hides = t->additive ? hidden : vec_splat(0);
    for (int64_t r = 0; r < tile->rows; r++) {
        const float *mask = t->mask + (tile->i0 + r) * t->mask_row + tile->j0 * t->mask_col;
        const int64_t n = visible(tile, r);
        for (int64_t j = 0; j < n; j += VEC_WIDTH) {
            float m[VEC_WIDTH] = {0};
            for (int64_t i = 0; t->mask_col != 1 && i < min64(VEC_WIDTH, n - j); i++)
                m[i] = mask[(j + i) * t->mask_col];
            const vec x = t->mask_col == 1 ? load_first(mask + j, n - j) : vec_load(m);
            vec z = vec_load(s + r * ATTENTION_TILE + j) * vec_splat(t->scale);
            if (t->additive) z += x;
            vec_store(s + r * ATTENTION_TILE + j, vec_select(x == hides, hidden, z));
        }
    }
}

/* ---- A number for each row of a tile ---------------------------------------------------------- *
 * Rows leave four lanes each, and four rows at a time fold theirs: no row waits for its own last steps. The numbers fill
 * whole vectors. */

typedef struct row_lanes {
    lanes4 of[ATTENTION_TILE];
} row_lanes;

static int64_t padded_rows(int64_t rows) {
    return (rows + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
}

/* The last steps of lanes_sum, from lanes_sum_four on. */
static inline void fold_sums(float *sum, const row_lanes *rows, int64_t n) {
    int64_t r = 0;
    vec_store(sum + padded_rows(n) - VEC_WIDTH, vec_splat(0));
    for (; r + 4 <= n; r += 4) {
        const float *of = (const float *)(rows->of + r);
        lanes4 column[4];
        transpose_4x4(column, of, of + 4, of + 8, of + 12);
        *(lanes4_unaligned *)(sum + r) = (column[0] + column[2]) + (column[1] + column[3]);
    }
    for (; r < n; r++) sum[r] = (rows->of[r][0] + rows->of[r][2]) + (rows->of[r][1] + rows->of[r][3]);
}

typedef int32_t vec4i __attribute__((vector_size(16)));

static inline lanes4 larger_four(lanes4 x, lanes4 top) {
    const vec4i larger = x > top;
    return (lanes4)((larger & (vec4i)x) | (~larger & (vec4i)top));
}

static inline float larger(float x, float top) {
    return x > top ? x : top;
}

/* The largest visible element of each row that is not NaN, else -infinity, which also fills the last visible vector. */
static inline __attribute__((always_inline)) void row_maxima(float *top, float *s,
                                                             const attention_tile *tile) {
    const vec none = vec_splat(-INFINITY);
    row_lanes rows;
    for (int64_t r = 0; r < tile->rows; r++) {
        float *row = s + r * ATTENTION_TILE;
        const int64_t n = visible(tile, r);
        int64_t j = 0;
        vec high = none;
        for (; j + VEC_WIDTH <= n; j += VEC_WIDTH) high = vec_larger(vec_load(row + j), high);
        if (j < n) {
            const vec x = vec_first(vec_load(row + j), n - j, none);
            vec_store(row + j, x);
            high = vec_larger(x, high);
        }
        lanes4 four[VEC_WIDTH / 4];
        memcpy(four, &high, sizeof four);
        for (int half = VEC_WIDTH / 8; half >= 1; half /= 2)
            for (int i = 0; i < half; i++) four[i] = larger_four(four[i], four[i + half]);
        rows.of[r] = four[0];
    }
    int64_t r = 0;
    vec_store(top + padded_rows(tile->rows) - VEC_WIDTH, none);
    for (; r + 4 <= tile->rows; r += 4) {
        const float *of = (const float *)(rows.of + r);
        lanes4 column[4];
        transpose_4x4(column, of, of + 4, of + 8, of + 12);
        *(lanes4_unaligned *)(top + r) =
            larger_four(larger_four(column[0], column[1]), larger_four(column[2], column[3]));
    }
    for (; r < tile->rows; r++)
        top[r] = larger(larger(rows.of[r][0], rows.of[r][1]), larger(rows.of[r][2], rows.of[r][3]));
}

/* Zeros behind the vectors that hold a row's n visible elements, as far as a product's tile of rows may read. */
static inline void clear_hidden(float *s, int64_t n) {
    int64_t j = (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
    for (int v = 0; v < (GEMM_MR + VEC_WIDTH - 1) / VEC_WIDTH; v++, j += VEC_WIDTH)
        if (j < ATTENTION_TILE) vec_store(s + j, vec_splat(0));
}

/* s = e^(scale s - shift) over a row's n visible elements, -infinity behind them, 0 on the others. Returns the sum's
 * lanes. The product rounds before the shift goes off, as it did when the largest was chosen: the exponent of that one
 * is 0. */
static inline lanes4 row_exp(float *s, int64_t n, float scale, float shift) {
    lanes total = lanes_splat(0);
    for (int64_t j = 0; j < n; j += LANES)
        for (int v = 0; v < LANE_VECS && j + v * VEC_WIDTH < n; v++) {
            float *at = s + j + v * VEC_WIDTH;
            const vec p = exp_negative(vec_load(at) * vec_splat(scale) - vec_splat(shift));
            vec_store(at, p);
            total.v[v] += p;
        }
    clear_hidden(s, n);
    return lanes_sum_four(total);
}

/* x *= factor. Lanes in which a result is NaN are not 0. */
static inline veci scale_row(float *x, int64_t n, float factor) {
    veci nan = {0};
    int64_t c = 0;
    for (; c + VEC_WIDTH <= n; c += VEC_WIDTH) {
        const vec y = vec_load(x + c) * vec_splat(factor);
        nan |= y != y;
        vec_store(x + c, y);
    }
    for (; c < n; c++) {
        x[c] *= factor;
        nan[0] |= x[c] != x[c];
    }
    return nan;
}

/* ---- Forward ---------------------------------------------------------------------------------- */

/* Of each row, over the keys so far. */
typedef struct row_state {
    float high[ATTENTION_TILE];  /* the largest score, -infinity where none is */
    float shift[ATTENTION_TILE]; /* the same with 0 where none is, so that e^(score - shift) is 0 */
    float sum[ATTENTION_TILE];   /* of e^(score - shift) */
    float shrink[ATTENTION_TILE];
} row_state;

/* Takes in the largest scores of a further tile; sums so far are to shrink by e^(old - new). */
static void raise_shift(row_state *s, const float *top, float factor, int64_t rows, bool first) {
    for (int64_t r = 0; r < rows; r += VEC_WIDTH) {
        const vec none = vec_splat(-INFINITY), old = first ? none : vec_load(s->high + r);
        const vec high = vec_larger(vec_load(top + r) * vec_splat(factor), old);
        const vec shift = vec_select(high == none, vec_splat(0), high);
        vec_store(s->high + r, high);
        vec_store(s->shift + r, shift);
        if (!first) vec_store(s->shrink + r, vec_exp(old - shift));
    }
}

static void add_sums(row_state *s, const float *sum, int64_t rows, bool first) {
    for (int64_t r = 0; r < rows; r += VEC_WIDTH) {
        const vec x = vec_load(sum + r);
        vec_store(s->sum + r, first ? x : vec_load(s->sum + r) * vec_load(s->shrink + r) + x);
    }
}

/* y and the sums over one tile of keys more. */
static inline __attribute__((always_inline)) void
attention_tile_step(const attention_args *t, const attention_tile *tile, row_state *state, float *s) {
    const bool first = tile->j0 == 0;
    const float factor = t->mask ? 1 : t->scale; /* that the scores still lack */
    float *y = t->y + tile->i0 * t->y_row, each[ATTENTION_TILE];
    row_lanes sums;
    tile_scores(s, tile, t->d, t->q + tile->i0 * t->q_row, t->q_row, t->k + tile->j0 * t->k_row, t->k_row,
                t->k_col);
    if (t->mask) mask_scores(s, t, tile);
    row_maxima(each, s, tile);
    raise_shift(state, each, factor, tile->rows, first);
    for (int64_t r = 0; r < tile->rows; r++) {
        sums.of[r] = row_exp(s + r * ATTENTION_TILE, visible(tile, r), factor, state->shift[r]);
        if (!first && state->shrink[r] != 1) scale_row(y + r * t->y_row, t->d, state->shrink[r]);
    }
    fold_sums(each, &sums, tile->rows);
    add_sums(state, each, tile->rows, first);
    tile_product(y, t->y_row, tile, GEMM_A_LOWER, t->d, s, t->v + tile->j0 * t->v_row, t->v_row, !first);
}

/* `rows` queries from i0 on. Whether y is free of NaN. */
static inline __attribute__((always_inline)) bool attention_queries(const attention_args *t, int64_t i0,
                                                                    int64_t rows, bool strict) {
    float s[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    row_state state;
    const int64_t keys = keys_of(t, i0);
    float *y = t->y + i0 * t->y_row, *stats = t->stats + i0 * t->stats_row;
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        const attention_tile tile = tile_at(t, i0, rows, j0, strict);
        attention_tile_step(t, &tile, &state, s);
    }
    veci nan = {0};
    for (int64_t r = 0; r < rows; r++) {
        float *row = y + r * t->y_row;
        if (keys == 0) {
            state.sum[r] = state.shift[r] = 0;
            memset(row, 0, (size_t)t->d * sizeof *row);
        }
        const float weight = state.sum[r] == 0 ? 0 : 1 / state.sum[r];
        nan |= scale_row(row, t->d, weight);
        if (!t->stats) continue;
        stats[r * t->stats_row] = state.shift[r];
        stats[r * t->stats_row + t->stats_col] = weight;
    }
    return !any_lane(nan);
}

static bool attention_tile_of_queries(const attention_args *t, int64_t i0, bool strict) {
    return attention_queries(t, i0, min64(ATTENTION_TILE, t->tq - i0), strict);
}
/* As where text is written token by token: compiled for one row, it loses what only several need. */
static bool attention_query(const attention_args *t) {
    return attention_queries(t, 0, 1, false);
}

/* 0 times NaN is NaN: where one comes out and keys were hidden, it may be theirs. */
static void attention(const attention_args *t) {
    for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) {
        const bool clean = t->tq == 1 ? attention_query(t) : attention_tile_of_queries(t, i0, false);
        if (!clean && (t->causal || t->mask)) attention_tile_of_queries(t, i0, true);
    }
}

/* ---- Backward --------------------------------------------------------------------------------- */

/* Zeros from the nth element on, as far as a product's tile of rows may read. */
static inline void clear_from(float *s, int64_t n) {
    const int64_t last = n / VEC_WIDTH * VEC_WIDTH;
    if (last < n) vec_store(s + last, vec_first(vec_load(s + last), n - last, vec_splat(0)));
    clear_hidden(s, n);
}

/* p = e^(score - shift) / sum; ds = scale p (dp - share), where share = sum_j p_j dp_j = y . dy. */
static inline __attribute__((always_inline)) void attention_tile_vjp(const attention_args *t,
                                                                     const attention_tile *tile, float factor,
                                                                     float *s, float *dp, const float *share,
                                                                     bool masked) {
    const vec zero = vec_splat(0);
    for (int64_t r = 0; r < tile->rows; r++, s += ATTENTION_TILE, dp += ATTENTION_TILE) {
        const float *stats = t->stats + (tile->i0 + r) * t->stats_row;
        const vec shift = vec_splat(stats[0]), weight = vec_splat(stats[t->stats_col]);
        const int64_t n = visible(tile, r);
        for (int64_t j = 0; j < n; j += VEC_WIDTH) {
            const vec score = vec_load(s + j) * vec_splat(factor);
            vec p = exp_negative(score - shift) * weight;
            vec ds = p * (vec_load(dp + j) - vec_splat(share[r])) * vec_splat(t->scale);
            if (masked) {
                const veci hidden = score == vec_splat(-INFINITY);
                p = vec_select(hidden, zero, p);
                ds = vec_select(hidden, zero, ds);
            }
            vec_store(s + j, p);
            vec_store(dp + j, ds);
        }
        clear_from(s, n);
        clear_from(dp, n);
    }
}

/* share[r] = x[r] . y[r]. */
static void row_dots(float *share, int64_t rows, int64_t d, const float *x, int64_t x_row, const float *y,
                     int64_t y_row) {
    row_lanes sums;
    for (int64_t r = 0; r < rows; r++) {
        lanes total = {0};
        for (int64_t c = 0; c < d; c += LANES)
            for (int v = 0; v < LANE_VECS && c + v * VEC_WIDTH < d; v++) {
                const int64_t at = c + v * VEC_WIDTH;
                total.v[v] = vec_fma(load_first(x + r * x_row + at, d - at),
                                     load_first(y + r * y_row + at, d - at), total.v[v]);
            }
        sums.of[r] = lanes_sum_four(total);
    }
    fold_sums(share, &sums, rows);
}

/* Whether all visible scores, before a mask, are finite: every query and every key that a tile's products read has one,
 * so these are finite too. */
static bool scores_finite(const float *s, const attention_tile *tile) {
    veci odd = {0}; /* x - x is 0 or NaN */
    for (int64_t r = 0; r < tile->rows; r++, s += ATTENTION_TILE) {
        const int64_t n = visible(tile, r), whole = n / VEC_WIDTH * VEC_WIDTH;
        for (int64_t j = 0; j < whole; j += VEC_WIDTH) odd |= (veci)(vec_load(s + j) - vec_load(s + j));
        const vec last = n > whole ? vec_first(vec_load(s + whole), n - whole, vec_splat(0)) : vec_splat(0);
        odd |= (veci)(last - last);
    }
    return !any_lane(odd);
}

static void attention_queries_vjp(const attention_args *t, int64_t i0) {
    float p[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float ds[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float share[ATTENTION_TILE];
    const int64_t rows = min64(ATTENTION_TILE, t->tq - i0), keys = keys_of(t, i0), d = t->d;
    const float *q = t->q + i0 * t->q_row, *dy = t->dy + i0 * t->dy_row;
    float *dq = t->dq ? t->dq + i0 * t->dq_row : NULL;
    row_dots(share, rows, d, dy, t->dy_row, t->y + i0 * t->y_row, t->y_row);
    bool finite = true;
    for (int64_t r = 0; r < rows; r++) finite &= share[r] - share[r] == 0;
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        attention_tile tile = tile_at(t, i0, rows, j0, false);
        const float *k = t->k + j0 * t->k_row;
        tile_scores(p, &tile, d, q, t->q_row, k, t->k_row, t->k_col);
        tile_scores(ds, &tile, d, dy, t->dy_row, t->v + j0 * t->v_row, t->v_row, 1);
        if ((t->causal || t->mask) && !(finite && scores_finite(p, &tile))) tile.strict = t;
        if (t->mask) {
            mask_scores(p, t, &tile);
            attention_tile_vjp(t, &tile, 1, p, ds, share, true);
        } else {
            attention_tile_vjp(t, &tile, t->scale, p, ds, share, false);
        }
        /* Whether an earlier tile of queries has written these keys' gradients. */
        const bool seen = i0 > 0 && (!t->causal || j0 < i0 + t->tk - t->tq);
        if (t->dv)
            tile_product(t->dv + j0 * t->dv_row, t->dv_row, &tile, GEMM_A_UPPER, d, p, dy, t->dy_row,
                         t->add_v || seen);
        if (t->dk)
            tile_product(t->dk + j0 * t->dk_row, t->dk_row, &tile, GEMM_A_UPPER, d, ds, q, t->q_row,
                         t->add_k || seen);
        if (dq) tile_product(dq, t->dq_row, &tile, GEMM_A_LOWER, d, ds, k, t->k_row, t->add_q || j0 > 0);
    }
    for (int64_t r = 0; dq && !t->add_q && keys == 0 && r < rows; r++)
        memset(dq + r * t->dq_row, 0, (size_t)d * sizeof *dq);
}

static void attention_vjp(const attention_args *t) {
    for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) attention_queries_vjp(t, i0);
}

#endif
