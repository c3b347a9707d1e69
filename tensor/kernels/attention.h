/* Attention of one head of one sequence, tiled over queries and keys (Dao et al. 2022): a tile of scores stays in the
 * first-level cache, the part above a causal diagonal is never computed, and the backward pass recomputes the
 * probabilities from the saved maximum and sum of each row. Tiles of keys begin at multiples of ATTENTION_TILE whatever
 * the number of queries, so a row has the same bits with a key/value cache. */
#ifndef SAMPO_TENSOR_ATTENTION_H
#define SAMPO_TENSOR_ATTENTION_H

#include "tensor/kernels/attention_tile.h"
#include "tensor/kernels/math.h"

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

/* x from column n of a tile's row on, `other`; columns j.. */
static inline vec vec_before(vec x, int64_t j, int64_t n, vec other) {
    return vec_select(lane_numbers(0) < (int32_t)(n - j), x, other);
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

/* Rows whose exponentials are taken side by side. */
enum { PAIR = MATH_SIDE / LANE_VECS };

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

/* The largest visible element of each row that is not NaN, else -infinity, which also takes the place of those that are
 * hidden. */
static inline __attribute__((always_inline)) void row_maxima(float *top, float *s, const attention_tile *tile,
                                                             const int group) {
    const vec none = vec_splat(-INFINITY);
    row_lanes rows;
    for (int64_t r = 0; r < tile->rows; r += group) {
        const int64_t n = group_cols(tile, r, group), whole = visible(tile, r) / VEC_WIDTH * VEC_WIDTH;
        float *row = s + r * ATTENTION_TILE;
        vec high[TILE_ROWS];
        EACH(i, group) high[i] = none;
        for (int64_t j = 0; j < whole; j += VEC_WIDTH)
            EACH(i, group) high[i] = vec_at_least(high[i], vec_load(row + i * ATTENTION_TILE + j));
        for (int64_t j = whole; j < n; j += VEC_WIDTH) EACH(i, group) {
                float *at = row + i * ATTENTION_TILE + j;
                const vec x = vec_before(vec_load(at), j, visible(tile, r + i), none);
                vec_store(at, x);
                high[i] = vec_at_least(high[i], x);
            }
        EACH(i, group) {
            lanes4 four[VEC_WIDTH / 4];
            memcpy(four, &high[i], sizeof four);
            for (int half = VEC_WIDTH / 8; half >= 1; half /= 2)
                for (int h = 0; h < half; h++) four[h] = larger_four(four[h], four[h + half]);
            rows.of[r + i] = four[0];
        }
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

/* s = e^(scale s - shift) and the sum of each row, of which the hidden elements are -infinity. The product rounds before
 * the shift goes off, as it did when the largest was chosen: the exponent of that one is 0. */
static inline __attribute__((always_inline)) void tile_exp(float *sum, float *s, const attention_tile *tile,
                                                           const int group, float scale, const float *shift) {
    const int pair = group < PAIR ? 1 : PAIR;
    row_lanes rows;
    for (int64_t r = 0; r < tile->rows; r += group) {
        const int64_t n = group_cols(tile, r, group);
        lanes total[TILE_ROWS];
        EACH(i, group) total[i] = lanes_splat(0);
        for (int64_t j = 0; j < n; j += LANES)
            for (int64_t i = 0; i < group; i += pair) {
                float *at = s + (r + i) * ATTENTION_TILE + j;
                vec x[MATH_SIDE], p[MATH_SIDE];
                EACH(v, pair * LANE_VECS)
                x[v] = vec_load(at + v / LANE_VECS * ATTENTION_TILE + v % LANE_VECS * VEC_WIDTH) *
                           vec_splat(scale) -
                       vec_splat(shift[min64(r + i + v / LANE_VECS, tile->rows - 1)]);
                exp_negative_each(pair * LANE_VECS, p, x);
                EACH(v, pair * LANE_VECS) {
                    vec_store(at + v / LANE_VECS * ATTENTION_TILE + v % LANE_VECS * VEC_WIDTH, p[v]);
                    total[i + v / LANE_VECS].v[v % LANE_VECS] += p[v];
                }
            }
        EACH(i, group) rows.of[r + i] = lanes_sum_four(total[i]);
    }
    fold_sums(sum, &rows, tile->rows);
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
        const vec high = vec_at_least(old, vec_load(top + r) * vec_splat(factor));
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
static inline __attribute__((always_inline)) void attention_tile_step(const attention_args *t,
                                                                      const attention_tile *tile,
                                                                      const int group, row_state *state,
                                                                      float *s) {
    const bool first = tile->j0 == 0;
    const float factor = t->mask ? 1 : t->scale; /* that the scores still lack */
    float *y = t->y + tile->i0 * t->y_row, each[ATTENTION_TILE];
    tile_scores(s, tile, group, t->d, t->q + tile->i0 * t->q_row, t->q_row, t->k + tile->j0 * t->k_row,
                t->k_row, t->k_col);
    if (t->mask) mask_scores(s, t, tile);
    row_maxima(each, s, tile, group);
    raise_shift(state, each, factor, tile->rows, first);
    tile_exp(each, s, tile, group, factor, state->shift);
    for (int64_t r = 0; !first && r < tile->rows; r++)
        if (state->shrink[r] != 1) scale_row(y + r * t->y_row, t->d, state->shrink[r]);
    add_sums(state, each, tile->rows, first);
    tile_product(y, t->y_row, tile, true, t->d, s, t->v + tile->j0 * t->v_row, t->v_row, !first);
}

/* `rows` queries from i0 on. Whether y is free of NaN. */
static inline __attribute__((always_inline)) bool
attention_queries(const attention_args *t, int64_t i0, int64_t rows, const int group, bool strict) {
    float s[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    row_state state;
    const int64_t keys = keys_of(t, i0);
    float *y = t->y + i0 * t->y_row, *stats = t->stats + i0 * t->stats_row;
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        const attention_tile tile = tile_at(t, i0, rows, j0, strict);
        attention_tile_step(t, &tile, group, &state, s);
    }
    if (keys == 0) memset(&state, 0, sizeof state);
    for (int64_t r = 0; r < rows; r += VEC_WIDTH) {
        const vec sum = vec_load(state.sum + r), none = vec_splat(0);
        vec_store(state.sum + r, vec_select(sum == none, none, 1 / sum));
    }
    veci nan = {0};
    for (int64_t r = 0; r < rows; r++) {
        float *row = y + r * t->y_row;
        if (keys == 0) memset(row, 0, (size_t)t->d * sizeof *row);
        const float weight = state.sum[r];
        nan |= scale_row(row, t->d, weight);
        if (!t->stats) continue;
        stats[r * t->stats_row] = state.shift[r];
        stats[r * t->stats_row + t->stats_col] = weight;
    }
    return !any_lane(nan);
}

static bool attention_tile_of_queries(const attention_args *t, int64_t i0, bool strict) {
    return attention_queries(t, i0, min64(ATTENTION_TILE, t->tq - i0), TILE_ROWS, strict);
}
/* As where text is written token by token: compiled for one row, it loses what only several need. */
static bool attention_query(const attention_args *t) {
    return attention_queries(t, 0, 1, 1, false);
}

/* 0 times NaN is NaN: where one comes out and keys were hidden, it may be theirs. */
static void attention(const attention_args *t) {
    for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) {
        const bool clean = t->tq == 1 ? attention_query(t) : attention_tile_of_queries(t, i0, false);
        if (!clean && (t->causal || t->mask)) attention_tile_of_queries(t, i0, true);
    }
}

/* ---- Backward --------------------------------------------------------------------------------- */

/* p = e^(score - shift) / sum; ds = scale p (dp - share), where share = sum_j p_j dp_j = y . dy. */
static inline __attribute__((always_inline)) void attention_tile_vjp(const attention_args *t,
                                                                     const attention_tile *tile, float factor,
                                                                     float *s, float *dp, const float *share,
                                                                     const int group, bool masked) {
    const int pair = group < PAIR ? 1 : PAIR;
    const vec zero = vec_splat(0), none = vec_splat(-INFINITY);
    for (int64_t r = 0; r < tile->rows;
         r += group, s += group * ATTENTION_TILE, dp += group * ATTENTION_TILE) {
        const int64_t n = group_cols(tile, r, group), whole = visible(tile, r) / VEC_WIDTH * VEC_WIDTH;
        float shift[TILE_ROWS], weight[TILE_ROWS], own[TILE_ROWS];
        EACH(i, group) {
            const int64_t at = min64(r + i, tile->rows - 1);
            const float *stats = t->stats + (tile->i0 + at) * t->stats_row;
            shift[i] = stats[0], weight[i] = stats[t->stats_col], own[i] = share[at];
        }
        for (int64_t j = 0; j < n; j += LANES)
            for (int64_t i = 0; i < group; i += pair) {
#define AT(v) ((i + (v) / LANE_VECS) * ATTENTION_TILE + j + (v) % LANE_VECS * VEC_WIDTH)
#define OF(v) (i + (v) / LANE_VECS)
                vec x[MATH_SIDE], p[MATH_SIDE];
                EACH(v, pair * LANE_VECS)
                x[v] = vec_load(s + AT(v)) * vec_splat(factor) - vec_splat(shift[OF(v)]);
                exp_negative_each(pair * LANE_VECS, p, x);
                EACH(v, pair * LANE_VECS) {
                    p[v] *= vec_splat(weight[OF(v)]);
                    vec ds = p[v] * (vec_load(dp + AT(v)) - vec_splat(own[OF(v)])) * vec_splat(t->scale);
                    if (masked) {
                        const veci hidden = vec_load(s + AT(v)) == none;
                        p[v] = vec_select(hidden, zero, p[v]);
                        ds = vec_select(hidden, zero, ds);
                    }
                    vec_store(s + AT(v), p[v]);
                    vec_store(dp + AT(v), ds);
                }
            }
        for (int64_t j = whole; j < n; j += VEC_WIDTH) EACH(i, group) {
                float *at = s + i * ATTENTION_TILE + j, *of = dp + i * ATTENTION_TILE + j;
                vec_store(at, vec_before(vec_load(at), j, visible(tile, r + i), zero));
                vec_store(of, vec_before(vec_load(of), j, visible(tile, r + i), zero));
            }
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

static inline __attribute__((always_inline)) void attention_queries_vjp(const attention_args *t, int64_t i0,
                                                                        int64_t rows, const int group) {
    float p[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float ds[ATTENTION_TILE * ATTENTION_TILE] __attribute__((aligned(64)));
    float share[ATTENTION_TILE];
    const int64_t keys = keys_of(t, i0), d = t->d;
    const float *q = t->q + i0 * t->q_row, *dy = t->dy + i0 * t->dy_row;
    float *dq = t->dq ? t->dq + i0 * t->dq_row : NULL;
    row_dots(share, rows, d, dy, t->dy_row, t->y + i0 * t->y_row, t->y_row);
    bool finite = true;
    for (int64_t r = 0; r < rows; r++) finite &= share[r] - share[r] == 0;
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_TILE) {
        attention_tile tile = tile_at(t, i0, rows, j0, false);
        const float *k = t->k + j0 * t->k_row;
        tile_scores(p, &tile, group, d, q, t->q_row, k, t->k_row, t->k_col);
        tile_scores(ds, &tile, group, d, dy, t->dy_row, t->v + j0 * t->v_row, t->v_row, 1);
        if ((t->causal || t->mask) && !(finite && scores_finite(p, &tile))) tile.strict = t;
        if (t->mask) {
            mask_scores(p, t, &tile);
            attention_tile_vjp(t, &tile, 1, p, ds, share, group, true);
        } else {
            attention_tile_vjp(t, &tile, t->scale, p, ds, share, group, false);
        }
        /* Whether an earlier tile of queries has written these keys' gradients. */
        const bool seen = i0 > 0 && (!t->causal || j0 < i0 + t->tk - t->tq);
        if (t->dv)
            tile_product(t->dv + j0 * t->dv_row, t->dv_row, &tile, false, d, p, dy, t->dy_row,
                         t->add_v || seen);
        if (t->dk)
            tile_product(t->dk + j0 * t->dk_row, t->dk_row, &tile, false, d, ds, q, t->q_row,
                         t->add_k || seen);
        if (dq) tile_product(dq, t->dq_row, &tile, true, d, ds, k, t->k_row, t->add_q || j0 > 0);
    }
    for (int64_t r = 0; dq && !t->add_q && keys == 0 && r < rows; r++)
        memset(dq + r * t->dq_row, 0, (size_t)d * sizeof *dq);
}

static void attention_tile_of_queries_vjp(const attention_args *t, int64_t i0) {
    attention_queries_vjp(t, i0, min64(ATTENTION_TILE, t->tq - i0), TILE_ROWS);
}
static void attention_query_vjp(const attention_args *t) {
    attention_queries_vjp(t, 0, 1, 1);
}

static void attention_vjp(const attention_args *t) {
    if (t->tq == 1)
        attention_query_vjp(t);
    else
        for (int64_t i0 = 0; i0 < t->tq; i0 += ATTENTION_TILE) attention_tile_of_queries_vjp(t, i0);
}

#endif
