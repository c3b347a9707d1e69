/* The products of a tile of attention: eight accumulators run beside each other, and all operands are read where they
 * lie, but for keys, which are transposed, and for columns that fill no vector. Each number is one chain of fused
 * multiply-adds in ascending order. */
#ifndef SAMPO_TENSOR_ATTENTION_TILE_H
#define SAMPO_TENSOR_ATTENTION_TILE_H

#include <math.h>

#include "tensor/kernels/gemm.h"
#include "tensor/kernels/lanes.h"

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

enum {
    TILE_ROWS =
        8, /* rows that share the number of columns they are worked on: loops turn alike for all of them */
    PANEL_STEPS = 64 /* steps of a score whose keys are transposed at once */
};

/* The columns that the `group` rows from r on are worked on: whole groups of lanes. */
static int64_t group_cols(const attention_tile *t, int64_t r, int group) {
    return (visible(t, min64(r + group, t->rows) - 1) + LANES - 1) / LANES * LANES;
}

/* A strip of a product of a tile: rows of C, one or two vectors of columns. */
typedef struct chains {
    const attention_tile *tile;
    const float *a, *b;
    float *c;
    int64_t b_row, c_row;
    int64_t rows, cols; /* of c, of which `cols` are left */
    bool add;           /* c is where the chains start */
} chains;

/* acc[i][v] += a[i][p] b[v] for one step p. `down`: rows of A stand side by side, from a[0] on. */
TILE chain_step(const bool down, const int mr, const int nv, vec *acc, const float *const *a, int64_t p,
                const float *b) {
    vec row[2];
    UNROLL
    for (int v = 0; v < nv; v++) row[v] = vec_load(b + v * VEC_WIDTH);
    UNROLL
    for (int i = 0; i < mr; i++) {
        const vec x = vec_splat(down ? a[0][p * ATTENTION_TILE + i] : a[i][p]);
        UNROLL
        for (int v = 0; v < nv; v++) acc[i * nv + v] = vec_accumulate(x, row[v], acc[i * nv + v]);
    }
}

TILE chain_steps(const bool down, const int mr, const int nv, vec *acc, const float *const *a, int64_t k,
                 const float *b, int64_t b_row) {
    int64_t p = 0;
    for (; p + 4 <= k; p += 4, b += 4 * b_row) {
        chain_step(down, mr, nv, acc, a, p, b);
        chain_step(down, mr, nv, acc, a, p + 1, b + b_row);
        chain_step(down, mr, nv, acc, a, p + 2, b + 2 * b_row);
        chain_step(down, mr, nv, acc, a, p + 3, b + 3 * b_row);
    }
    for (; p < k; p++, b += b_row) chain_step(down, mr, nv, acc, a, p, b);
}

/* `down`: C = A^T B with A in a tile, else C = A B. */
TILE chains_any(const bool down, const int mr, const int nv, const chains *g) {
    const attention_tile *t = g->tile;
    const int64_t rows = g->rows, cols = g->cols, b_row = g->b_row, c_row = g->c_row, steps = t->rows;
    const int64_t diagonal = t->diagonal;
    const bool add = g->add, part = cols < VEC_WIDTH;
    float *c = g->c;
    for (int64_t i = 0; i < rows; i += mr, c += mr * c_row) {
        const int64_t last = min64(mr, rows - i) - 1;
        const int64_t from = down ? min64(steps, max64(0, i - diagonal)) : 0;
        const float *a[TILE_ROWS];
        if (down)
            a[0] = g->a + from * ATTENTION_TILE + i;
        else {
            UNROLL
            for (int r = 0; r < mr; r++) a[r] = g->a + (i + min64(r, last)) * ATTENTION_TILE;
        }
        vec acc[TILE_ROWS];
        tile_clear(mr, nv, acc);
        if (add && !part) {
            UNROLL
            for (int r = 0; r < mr; r++) {
                UNROLL
                for (int v = 0; v < nv; v++)
                    acc[r * nv + v] = vec_load(c + min64(r, last) * c_row + v * VEC_WIDTH);
            }
        } else if (add) {
            UNROLL
            for (int r = 0; r < mr; r++) acc[r * nv] = vec_load_part(c + min64(r, last) * c_row, cols);
        }
        chain_steps(down, mr, nv, acc, a, down ? steps - from : visible(t, i + last), g->b + from * b_row,
                    b_row);
        if (last == mr - 1 && !part) {
            tile_store(mr, nv, acc, c, c_row);
            continue;
        }
        UNROLL
        for (int r = 0; r < mr; r++) {
            if (r > last) break;
            if (part)
                vec_store_part(c + r * c_row, acc[r * nv], cols);
            else {
                UNROLL
                for (int v = 0; v < nv; v++) vec_store(c + r * c_row + v * VEC_WIDTH, acc[r * nv + v]);
            }
        }
    }
}

#define CHAINS(mr, nv)                                                                                       \
    static __attribute__((noinline)) void chains_##mr##x##nv(const chains *g) {                              \
        chains_any(false, mr, nv, g);                                                                        \
    }                                                                                                        \
    static __attribute__((noinline)) void chains_down_##mr##x##nv(const chains *g) {                         \
        chains_any(true, mr, nv, g);                                                                         \
    }
CHAINS(4, 2)
CHAINS(8, 1)

/* Rows of scores at a time: two vectors of each are as many chains as there is room for. */
enum { SCORE_ROWS = GEMM_NV == 2 ? 8 : 4 };

/* One or two vectors of columns. */
TILE score_columns(const int nv, float *c, int64_t k, bool add, const float *const *row, const float *panel) {
    vec acc[2 * SCORE_ROWS];
    if (add)
        tile_load(SCORE_ROWS, nv, acc, c, ATTENTION_TILE);
    else
        tile_clear(SCORE_ROWS, nv, acc);
    chain_steps(false, SCORE_ROWS, nv, acc, row, k, panel, ATTENTION_TILE);
    tile_store(SCORE_ROWS, nv, acc, c, ATTENTION_TILE);
}

/* out[rows, cols] (+)= x[rows, k] panel[k, cols] */
static __attribute__((noinline)) void score_rows(float *out, const attention_tile *t, int64_t k, bool add,
                                                 const float *x, int64_t x_row, const float *panel) {
    for (int64_t r = 0; r < (t->rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; r += SCORE_ROWS) {
        const int64_t n = group_cols(t, r / TILE_ROWS * TILE_ROWS, TILE_ROWS);
        const float *row[SCORE_ROWS];
        float *c = out + r * ATTENTION_TILE;
        int64_t j = 0;
        UNROLL
        for (int i = 0; i < SCORE_ROWS; i++) row[i] = x + min64(r + i, t->rows - 1) * x_row;
        for (; j + 2 * VEC_WIDTH <= n; j += 2 * VEC_WIDTH) score_columns(2, c + j, k, add, row, panel + j);
        if (j < n) score_columns(1, c + j, k, add, row, panel + j);
    }
}

/* out[rows, cols] = x[rows, d] y[cols, d]^T, where visible. */
static void tile_scores(float *out, const attention_tile *t, const int group, int64_t d, const float *x,
                        int64_t x_row, const float *y, int64_t y_row, int64_t y_col) {
    if (group == 1) {
        gemm(&(gemm_args){.m = 1,
                          .n = visible(t, 0),
                          .k = d,
                          .a = x,
                          .a_row = x_row,
                          .a_col = 1,
                          .b = y,
                          .b_row = y_col,
                          .b_col = y_row,
                          .c = out,
                          .c_row = ATTENTION_TILE,
                          .c_col = 1});
        return;
    }
    float panel[PANEL_STEPS * ATTENTION_TILE] __attribute__((aligned(64)));
    for (int64_t p = 0; p == 0 || p < d; p += PANEL_STEPS) {
        const int64_t k = min64(PANEL_STEPS, d - p);
        for (int64_t j = 0; j < t->cols; j += VEC_WIDTH)
            pack_vec(panel + j, k, min64(VEC_WIDTH, t->cols - j), ATTENTION_TILE, y + j * y_row + p * y_col,
                     y_col, y_row);
        score_rows(out, t, k, p > 0, x + p, x_row, panel);
    }
}

static bool sees(const attention_args *t, int64_t i, int64_t j) {
    if (t->causal && j > i + t->tk - t->tq) return false;
    if (!t->mask) return true;
    const float m = t->mask[i * t->mask_row + j * t->mask_col];
    return t->additive ? m != -INFINITY : m != 0;
}

/* The products below term by term, without those of hidden pairs. */
static void strict_product(const gemm_args *g, const attention_tile *t, bool lower) {
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

/* The same by chains; columns of B that fill no vector are copied to one. */
static void direct_product(const gemm_args *g, const attention_tile *t, bool lower) {
    float tail[ATTENTION_TILE * VEC_WIDTH] __attribute__((aligned(64)));
    for (int64_t j = 0, nv; j < g->n; j += nv * VEC_WIDTH) {
        nv = g->n - j >= 2 * VEC_WIDTH ? 2 : 1;
        chains s = {.tile = t,
                    .a = g->a,
                    .b = g->b + j,
                    .b_row = g->b_row,
                    .c = g->c + j,
                    .c_row = g->c_row,
                    .rows = g->m,
                    .cols = g->n - j,
                    .add = g->start != NULL};
        if (g->n - j < VEC_WIDTH) {
            pack_vec(tail, g->k, g->n - j, VEC_WIDTH, s.b, g->b_row, 1);
            s.b = tail;
            s.b_row = VEC_WIDTH;
        }
        if (nv == 2)
            (lower ? chains_4x2 : chains_down_4x2)(&s);
        else
            (lower ? chains_8x1 : chains_down_8x1)(&s);
    }
}

/* p zero where not visible, as far as group_cols goes; `lower`: out[rows, d] (+)= p[rows, cols] x[cols, d]; else
 * out[cols, d] (+)= p[rows, cols]^T x[rows, d]. A single row is the last query, which the diagonal hides nothing from. */
static void tile_product(float *out, int64_t out_row, const attention_tile *t, bool lower, int64_t d,
                         const float *p, const float *x, int64_t x_row, bool accumulate) {
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
                               .start_col = 1};
    if (t->strict)
        strict_product(&product, t, lower);
    else if (t->rows == 1)
        gemm(&product);
    else
        direct_product(&product, t, lower);
}

#endif
