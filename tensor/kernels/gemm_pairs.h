/* The product of gemm_bf16.h by pairs: both operands are packed as bfloat16, two steps of k in 32 bits, the earlier one
 * below. Where there is no AVX512_BF16 two multiply-adds stand for its instruction, for tests. */
#ifndef SAMPO_TENSOR_GEMM_PAIRS_H
#define SAMPO_TENSOR_GEMM_PAIRS_H

#include "tensor/kernels/bf16.h"
#include "tensor/kernels/kernels.h"

enum {
    PAIRS_NV = 2,
    PAIRS_MR = 12, /* rows of a tile: 24 sums, two vectors of B and one of A, of 32 registers */
    PAIRS_NR = PAIRS_NV * VEC_WIDTH,
    PAIRS_KC = 256, /* a panel of B: 32 KiB at most; fewer steps would read and write C more often */
    PAIRS_MC = 96,  /* rows of A: whole tiles */
    PAIRS_NC = 288, /* columns of B: 288 KiB of stack, beside 112 for A */
    /* From a panel to the next: in this and the two below, 16 keep them from lying in the same sets of a cache. */
    PAIRS_PANEL = PAIRS_KC * PAIRS_NR + 16,
    PAIRS_ROW = PAIRS_KC + 16, /* from a row of A to the next, where its steps are neighbours, */
    PAIRS_STEP = PAIRS_MC + 16 /* and from a step to the next, where its rows are */
};

/* sum + the products of two pairs, in the order and with the rounding of bf16.h. Written out for the compiler as
 * vec_accumulate is. */
static inline vec pair_accumulate(vecu x, vecu y, vec sum) {
#if defined(__AVX512BF16__)
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
#else
    sum = vec_accumulate((vec)(x & 0xffff0000), (vec)(y & 0xffff0000), sum);
    return vec_accumulate((vec)(x << 16), (vec)(y << 16), sum);
#endif
}

static inline vecu pair_load(const uint32_t *p) {
    return *(const vecu_unaligned *)p;
}
static inline void pair_store(uint32_t *p, vecu v) {
    *(vecu_unaligned *)p = v;
}

/* ---- Packing --------------------------------------------------------------------------------------- */

/* Pairs of one step and the next, of as many rows or columns as a vector has. */
static inline vecu pairs_of_steps(vec first, vec second) {
#if defined(__AVX512BF16__)
    const __m512i merge = {0x0011000100100000, 0x0013000300120002, 0x0015000500140004, 0x0017000700160006,
                           0x0019000900180008, 0x001b000b001a000a, 0x001d000d001c000c, 0x001f000f001e000e};
    return (vecu)_mm512_permutexvar_epi16(merge, (__m512i)_mm512_cvtne2ps_pbh(second, first));
#else
    return bf16_round(first) >> 16 | bf16_round(second);
#endif
}

static uint32_t one_pair(float first, float second) {
    const vecu pairs = pairs_of_steps(vec_splat(first), vec_splat(second));
    return pairs[0];
}

/* k steps of n neighbours, which lie `step` apart: to[p / 2][n], filled up with zeros to whole vectors. */
static void pack_steps(uint32_t *to, int64_t to_step, int64_t k, int64_t n, const float *x, int64_t step) {
    for (int64_t p = 0; p < k; p += 2, x += 2 * step, to += to_step) {
        const bool odd = p + 1 == k;
        int64_t i = 0;
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
            pair_store(to + i, pairs_of_steps(vec_load(x + i), odd ? vec_splat(0) : vec_load(x + step + i)));
        if (i == n) continue;
        const vec first = vec_load_part(x + i, n - i);
        pair_store(to + i, pairs_of_steps(first, odd ? vec_splat(0) : vec_load_part(x + step + i, n - i)));
    }
}

/* n rows of k steps: to[n][k / 2]. */
static void pack_runs(uint32_t *to, int64_t to_row, int64_t k, int64_t n, const float *x, int64_t apart,
                      int64_t step) {
    for (int64_t i = 0; i < n; i++, x += apart, to += to_row) {
        int64_t p = 0;
#if defined(__AVX512BF16__)
        for (; step == 1 && p + 32 <= k; p += 32)
            pair_store(to + p / 2, (vecu)_mm512_cvtne2ps_pbh(vec_load(x + p + 16), vec_load(x + p)));
#endif
        for (; p < k; p += 2) to[p / 2] = one_pair(x[p * step], p + 1 < k ? x[(p + 1) * step] : 0);
    }
}

/* to[c][r] = x[r][c] for 4 x 4 pairs. */
static inline void transpose_pairs(uint32_t *to, int64_t to_row, const uint32_t *x, int64_t row) {
    typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias));
    const four r0 = *(const four *)x, r1 = *(const four *)(x + row), r2 = *(const four *)(x + 2 * row),
               r3 = *(const four *)(x + 3 * row);
    const four lo01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5),
               hi01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const four lo23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
               hi23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(four *)to = __builtin_shufflevector(lo01, lo23, 0, 1, 4, 5);
    *(four *)(to + to_row) = __builtin_shufflevector(lo01, lo23, 2, 3, 6, 7);
    *(four *)(to + 2 * to_row) = __builtin_shufflevector(hi01, hi23, 0, 1, 4, 5);
    *(four *)(to + 3 * to_row) = __builtin_shufflevector(hi01, hi23, 2, 3, 6, 7);
}

/* A panel of n columns of B: [k / 2][PAIRS_NR]; columns up to a whole vector are zeros. */
static void pack_pairs(uint32_t *to, int64_t k, int64_t n, const float *b, int64_t b_row, int64_t b_col) {
    if (b_col == 1) {
        pack_steps(to, PAIRS_NR, k, n, b, b_row);
        return;
    }
    uint32_t runs[PAIRS_NR][PAIRS_ROW] __attribute__((aligned(64)));
    pack_runs(runs[0], PAIRS_ROW, k, n, b, b_col, b_row);
    const int64_t pairs = even(k) / 2, columns = vectors_of(n) * VEC_WIDTH;
    for (int64_t j = n; j < columns; j++) memset(runs[j], 0, (size_t)pairs * sizeof **runs);
    for (int64_t p = 0; p < pairs; p += 4) /* the panel has room for what the last four are too many */
        for (int64_t j = 0; j < columns; j += 4)
            transpose_pairs(to + p * PAIRS_NR + j, PAIRS_NR, &runs[j][p], PAIRS_ROW);
}

/* ---- Tiles ----------------------------------------------------------------------------------------- */

/* A tile of C: PAIRS_MR rows, 1 or 2 vectors wide. */
typedef struct pairs_tile {
    int64_t pairs;
    const uint32_t *a, *b;
    const float *start; /* NULL: 0 */
    float *c;
    int64_t start_row, c_row;
} pairs_tile;

static inline __attribute__((always_inline)) void tile_any(const pairs_tile *t, const int nv, const int a_row,
                                                           const int a_step) {
    vec sum[PAIRS_MR * PAIRS_NV]; /* [PAIRS_MR][nv] */
    const int64_t start_row = t->start_row, c_row = t->c_row;
    const float *start = t->start;
    const uint32_t *a = t->a, *b = t->b;
    float *c = t->c;
    if (start)
        for (int i = 0; i < PAIRS_MR; i++)
            for (int v = 0; v < nv; v++) sum[i * nv + v] = vec_load(start + i * start_row + v * VEC_WIDTH);
    else
        for (int i = 0; i < PAIRS_MR * nv; i++) sum[i] = vec_splat(0);
    for (int64_t p = t->pairs; p > 0; p--, a += a_step, b += PAIRS_NR) {
        vecu row[PAIRS_NV];
        for (int v = 0; v < nv; v++) row[v] = pair_load(b + v * VEC_WIDTH);
        for (int i = 0; i < PAIRS_MR; i++) {
            const vecu x = a[i * a_row] - (vecu){0};
            for (int v = 0; v < nv; v++) sum[i * nv + v] = pair_accumulate(x, row[v], sum[i * nv + v]);
        }
    }
    for (int i = 0; i < PAIRS_MR; i++)
        for (int v = 0; v < nv; v++) vec_store(c + i * c_row + v * VEC_WIDTH, sum[i * nv + v]);
}

/* By the vectors of its width and by whether A's rows are neighbours. */
static void tile_1_runs(const pairs_tile *t) {
    tile_any(t, 1, PAIRS_ROW, 1);
}
static void tile_2_runs(const pairs_tile *t) {
    tile_any(t, 2, PAIRS_ROW, 1);
}
static void tile_1_steps(const pairs_tile *t) {
    tile_any(t, 1, 1, PAIRS_STEP);
}
static void tile_2_steps(const pairs_tile *t) {
    tile_any(t, 2, 1, PAIRS_STEP);
}
static void (*const tiles[PAIRS_NV][2])(const pairs_tile *) = {{tile_1_runs, tile_1_steps},
                                                               {tile_2_runs, tile_2_steps}};

/* A tile at a ragged or strided edge of C, m x n of it, through a whole one. */
static void tile_edge(pairs_tile t, void (*tile)(const pairs_tile *), int64_t m, int64_t n, int64_t start_col,
                      int64_t c_col) {
    float whole[PAIRS_MR * PAIRS_NR] = {0};
    for (int64_t r = 0; t.start && r < m; r++)
        for (int64_t j = 0; j < n; j++) whole[r * PAIRS_NR + j] = t.start[r * t.start_row + j * start_col];
    pairs_tile inner = t;
    if (t.start) inner.start = whole;
    inner.c = whole;
    inner.start_row = inner.c_row = PAIRS_NR;
    tile(&inner);
    for (int64_t r = 0; r < m; r++)
        for (int64_t j = 0; j < n; j++) t.c[r * t.c_row + j * c_col] = whole[r * PAIRS_NR + j];
}

/* ---- The product ----------------------------------------------------------------------------------- */

/* A block of rows i..i+m-1 and one panel, the columns j..j+n-1, over k steps, which begin at step p. What lies in `a`
 * below the last row is multiplied, too, and dropped. */
static void pairs_panel(const gemm_args *g, int64_t i, int64_t m, int64_t j, int64_t n, int64_t p, int64_t k,
                        const uint32_t *a, bool steps, const uint32_t *b) {
    const bool first = p == 0;
    const float *start = first ? g->start : g->c;
    const int64_t start_row = first ? g->start_row : g->c_row, start_col = first ? g->start_col : g->c_col;
    void (*const tile)(const pairs_tile *) = tiles[n > VEC_WIDTH][steps];
    const bool plain = n % VEC_WIDTH == 0 && g->c_col == 1 && (!start || start_col == 1);
    for (int64_t r = 0; r < m; r += PAIRS_MR) {
        const pairs_tile t = {.pairs = even(k) / 2,
                              .a = a + r * (steps ? 1 : PAIRS_ROW),
                              .b = b,
                              .start = start ? start + (i + r) * start_row + j * start_col : NULL,
                              .c = g->c + (i + r) * g->c_row + j * g->c_col,
                              .start_row = start_row,
                              .c_row = g->c_row};
        if (plain && m - r >= PAIRS_MR)
            tile(&t);
        else
            tile_edge(t, tile, min64(PAIRS_MR, m - r), n, start_col, g->c_col);
    }
}

/* The columns j..j+n-1 over k steps, which begin at step p. */
static void pairs_columns(const gemm_args *g, int64_t j, int64_t n, int64_t p, int64_t k) {
    uint32_t b[PAIRS_NC / PAIRS_NR * PAIRS_PANEL] __attribute__((aligned(64)));
    uint32_t a[PAIRS_MC * PAIRS_ROW > PAIRS_KC * PAIRS_STEP ? PAIRS_MC * PAIRS_ROW : PAIRS_KC * PAIRS_STEP]
        __attribute__((aligned(64)));
    const bool steps = g->a_row == 1 && g->a_col != 1;
    for (int64_t panel = 0; panel < n; panel += PAIRS_NR)
        pack_pairs(b + panel / PAIRS_NR * PAIRS_PANEL, k, min64(PAIRS_NR, n - panel),
                   g->b + p * g->b_row + (j + panel) * g->b_col, g->b_row, g->b_col);
    for (int64_t i = 0; i < g->m; i += PAIRS_MC) {
        const int64_t m = min64(PAIRS_MC, g->m - i);
        const float *from = g->a + i * g->a_row + p * g->a_col;
        if (steps)
            pack_steps(a, PAIRS_STEP, k, m, from, g->a_col);
        else
            pack_runs(a, PAIRS_ROW, k, m, from, g->a_row, g->a_col);
        for (int64_t panel = 0; panel < n; panel += PAIRS_NR)
            pairs_panel(g, i, m, j + panel, min64(PAIRS_NR, n - panel), p, k, a, steps,
                        b + panel / PAIRS_NR * PAIRS_PANEL);
    }
}

static void gemm_bf16(const gemm_args *g) {
    const uint64_t before = flush_begin(); /* of use to tests alone: VDPBF16PS flushes in any case */
    for (int64_t p = 0; p == 0 || p < g->k; p += 2 * PAIRS_KC)
        for (int64_t j = 0; j < g->n; j += PAIRS_NC)
            pairs_columns(g, j, min64(PAIRS_NC, g->n - j), p, min64(2 * PAIRS_KC, g->k - p));
    flush_end(before);
}

#endif
