/* The matrix product. One register tile of MR x NR elements of C is computed at a time, over all of a
 * block of k: per step it reads NR contiguous elements of B and broadcasts MR elements of A, which may
 * have any strides. B is copied to the stack in panels of k x NR, each contiguous, so that it stays in the
 * first-level cache while a block of A's rows passes over it (Goto & van de Geijn 2008). A product of few
 * rows reads B in place; one of a single row has wider tiles of its own.
 *
 * Contract with the callers: C[i, j] = fma(A[i, k-1], B[k-1, j], ... fma(A[i, 0], B[0, j], start)), whatever
 * the block sizes, so they may differ between instruction sets. */
#ifndef SAMPO_TENSOR_GEMM_H
#define SAMPO_TENSOR_GEMM_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/vec.h"

/* As many accumulators as the register file holds beside NV vectors of B and one of A. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { GEMM_MR = 12 };
#else
enum { GEMM_MR = 6 };
#endif
enum {
    GEMM_NV = 2,
    GEMM_ROW_NV = 8, /* of a tile that is one row: enough chains to hide the latency of a multiply-add */
    GEMM_NR = GEMM_NV * VEC_WIDTH,
    GEMM_KC = 256, /* a panel of B: 256 x 16 floats are 16 KiB, half of a first-level cache */
    GEMM_NC = 256, /* columns of B that are packed at once: 256 KiB of stack */
    GEMM_MC = 96   /* rows of A that stay in the second-level cache while the panels change, about */
};

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* Tiles one below the other: rows of C in one panel of columns. Tile number t takes the steps from + t rise_from
 * to to + t rise_to, clipped to 0..k: a triangular A rises by a tile's rows, others by nothing. */
typedef struct gemm_strip {
    int64_t rows, k;
    const float *a, *b, *start; /* start NULL: 0 */
    float *c;
    int64_t a_row, a_col, b_row, start_row, c_row;
    int64_t from, to, rise_from, rise_to;
} gemm_strip;

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* One step of the chains of a tile. */
static inline __attribute__((always_inline)) void tile_step(const int mr, const int nv, vec *acc,
                                                            const float *a, int64_t a_row, const float *b) {
    vec row[GEMM_ROW_NV];
    for (int v = 0; v < nv; v++) row[v] = vec_load(b + v * VEC_WIDTH);
    for (int i = 0; i < mr; i++) {
        const vec x = vec_splat(a[i * a_row]);
        for (int v = 0; v < nv; v++) acc[i * nv + v] += x * row[v];
    }
}

/* The tiles of a strip; mr, nv and, in the usual cases, the strides are constants where this is inlined. Four steps a
 * turn: where a core runs two threads, the loop's own instructions would take the place of multiply-adds. */
static inline __attribute__((always_inline)) void strip_any(const int mr, const int nv, const gemm_strip *s,
                                                            int64_t a_row, int64_t a_col, int64_t b_row) {
    const float *tile_a = s->a, *start = s->start;
    float *c = s->c;
    int64_t from = s->from, to = s->to;
    for (int64_t i = 0; i < s->rows; i += mr) {
        vec acc[GEMM_MR * GEMM_NV]; /* [mr][nv] */
        if (start)
            for (int r = 0; r < mr; r++)
                for (int v = 0; v < nv; v++)
                    acc[r * nv + v] = vec_load(start + r * s->start_row + v * VEC_WIDTH);
        else
            for (int v = 0; v < mr * nv; v++) acc[v] = vec_splat(0);
        const int64_t first = min64(max64(from, 0), s->k);
        int64_t k = min64(to, s->k) - first;
        const float *a = tile_a + first * a_col, *b = s->b + first * b_row;
        for (; k >= 4; k -= 4, a += 4 * a_col, b += 4 * b_row) {
            tile_step(mr, nv, acc, a, a_row, b);
            tile_step(mr, nv, acc, a + a_col, a_row, b + b_row);
            tile_step(mr, nv, acc, a + 2 * a_col, a_row, b + 2 * b_row);
            tile_step(mr, nv, acc, a + 3 * a_col, a_row, b + 3 * b_row);
        }
        for (; k > 0; k--, a += a_col, b += b_row) tile_step(mr, nv, acc, a, a_row, b);
        for (int r = 0; r < mr; r++)
            for (int v = 0; v < nv; v++) vec_store(c + r * s->c_row + v * VEC_WIDTH, acc[r * nv + v]);
        tile_a += mr * a_row;
        c += mr * s->c_row;
        if (start) start += mr * s->start_row;
        from += s->rise_from;
        to += s->rise_to;
    }
}

#define STRIP(mr, nv)                                                                                        \
    static void strip_##mr##x##nv(const gemm_strip *s) {                                                     \
        if (s->a_col == 1 && s->b_row == GEMM_NR)                                                            \
            strip_any(mr, nv, s, s->a_row, 1, GEMM_NR);                                                      \
        else if (s->a_row == 1 && s->b_row == GEMM_NR)                                                       \
            strip_any(mr, nv, s, 1, s->a_col, GEMM_NR);                                                      \
        else                                                                                                 \
            strip_any(mr, nv, s, s->a_row, s->a_col, s->b_row);                                              \
    }
#define STRIPS(mr) STRIP(mr, 1) STRIP(mr, 2)
#define STRIP_ENTRY(mr) {strip_##mr##x1, strip_##mr##x2},
#define EACH_MR_6(_) _(1) _(2) _(3) _(4) _(5) _(6)
#if defined(__AVX512F__) || defined(__aarch64__)
#define EACH_MR(_) EACH_MR_6(_) _(7) _(8) _(9) _(10) _(11) _(12)
#else
#define EACH_MR(_) EACH_MR_6(_)
#endif
EACH_MR(STRIPS)
static void (*const gemm_strips[GEMM_MR][GEMM_NV])(const gemm_strip *) = {EACH_MR(STRIP_ENTRY)};

#define ROW_STRIP(nv)                                                                                        \
    static void strip_row_##nv(const gemm_strip *s) {                                                        \
        if (s->a_col == 1)                                                                                   \
            strip_any(1, nv, s, 0, 1, s->b_row);                                                             \
        else                                                                                                 \
            strip_any(1, nv, s, 0, s->a_col, s->b_row);                                                      \
    }
#define EACH_ROW_NV(_) _(1) _(2) _(4) _(8)
EACH_ROW_NV(ROW_STRIP)

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* out[i][j] = bj[i] for 4 x 4 elements. */
static inline void transpose_4x4(vec4 out[4], const float *b0, const float *b1, const float *b2,
                                 const float *b3) {
    const vec4 r0 = *(const vec4_unaligned *)b0, r1 = *(const vec4_unaligned *)b1;
    const vec4 r2 = *(const vec4_unaligned *)b2, r3 = *(const vec4_unaligned *)b3;
    const vec4 lo01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5),
               hi01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const vec4 lo23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
               hi23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(lo01, lo23, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(lo01, lo23, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(hi01, hi23, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(hi01, hi23, 2, 3, 6, 7);
}

static int64_t padded_columns(int64_t n) {
    return (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
}

/* Copies k rows of n <= GEMM_NR columns of B to panel[k][GEMM_NR]; columns up to a whole vector become 0. */
static void pack_panel(float *panel, int64_t k, int64_t n, const float *b, int64_t b_row, int64_t b_col) {
    const int64_t padded = padded_columns(n);
    if (n < padded)
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = n; j < padded; j++) panel[p * GEMM_NR + j] = 0;
    if (b_row == 1) {
        const int64_t k4 = k & ~(int64_t)3, n4 = n & ~(int64_t)3;
        for (int64_t j = 0; j < n4; j += 4)
            for (int64_t p = 0; p < k4; p += 4) {
                const float *from = b + j * b_col + p;
                vec4 rows[4];
                transpose_4x4(rows, from, from + b_col, from + 2 * b_col, from + 3 * b_col);
                for (int r = 0; r < 4; r++) *(vec4_unaligned *)(panel + (p + r) * GEMM_NR + j) = rows[r];
            }
        for (int64_t j = 0; j < n; j++)
            for (int64_t p = j < n4 ? k4 : 0; p < k; p++) panel[p * GEMM_NR + j] = b[j * b_col + p];
    } else if (b_col == 1 && n == GEMM_NR) {
        for (int64_t p = 0; p < k; p++)
            for (int v = 0; v < GEMM_NV; v++)
                vec_store(panel + p * GEMM_NR + v * VEC_WIDTH, vec_load(b + p * b_row + v * VEC_WIDTH));
    } else {
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < n; j++) panel[p * GEMM_NR + j] = b[p * b_row + j * b_col];
    }
}

/* Rows i0..i1-1 of a strip, whole tiles or less than one: straight into C, or, at a ragged or strided edge of C (n
 * columns of `padded`), tile by tile through a whole one. */
static void gemm_rows(const gemm_args *g, gemm_strip s, int64_t mr, int64_t i0, int64_t i1, int64_t j,
                      int64_t n, int64_t p0) {
    const int64_t padded = padded_columns(n);
    void (*const strip)(const gemm_strip *) = gemm_strips[mr - 1][padded / VEC_WIDTH - 1];
    const bool first = p0 == 0;
    const float *start = first ? g->start : g->c;
    const int64_t start_row = first ? g->start_row : g->c_row, start_col = first ? g->start_col : g->c_col;
    if (g->part == GEMM_A_LOWER) s.to = i0 + mr + g->diagonal - p0, s.rise_to = mr;
    if (g->part == GEMM_A_UPPER) s.from = i0 - g->diagonal - p0, s.rise_from = mr;
    s.a += i0 * g->a_row;
    if (n == padded && g->c_col == 1 && (!start || start_col == 1)) {
        s.rows = i1 - i0;
        s.c = g->c + i0 * g->c_row + j;
        s.c_row = g->c_row;
        s.start = start ? start + i0 * start_row + j : NULL;
        s.start_row = start_row;
        strip(&s);
        return;
    }
    float whole[GEMM_MR * GEMM_NR] = {0};
    s.rows = mr;
    s.c = whole;
    s.start = start ? whole : NULL;
    s.c_row = s.start_row = GEMM_NR;
    for (int64_t i = i0; i < i1; i += mr) {
        for (int64_t r = 0; start && r < mr; r++)
            for (int64_t c = 0; c < n; c++)
                whole[r * GEMM_NR + c] = start[(i + r) * start_row + (j + c) * start_col];
        strip(&s);
        for (int64_t r = 0; r < mr; r++)
            for (int64_t c = 0; c < n; c++)
                g->c[(i + r) * g->c_row + (j + c) * g->c_col] = whole[r * GEMM_NR + c];
        s.a += mr * g->a_row;
        s.from += s.rise_from;
        s.to += s.rise_to;
    }
}

/* One panel of C's columns: rows i0..i1-1, columns j..j+n-1, over p0..p1-1 of the chain. `b` points at row
 * p0 of the panel and has whole vectors of columns to read. */
static void gemm_panel(const gemm_args *g, int64_t i0, int64_t i1, int64_t j, int64_t n, int64_t p0,
                       int64_t p1, const float *b, int64_t b_row) {
    if (g->part == GEMM_C_LOWER) i0 = max64(i0, j - g->diagonal);
    if (i0 >= i1) return;
    const gemm_strip s = {.k = p1 - p0,
                          .to = p1 - p0,
                          .a = g->a + p0 * g->a_col,
                          .a_row = g->a_row,
                          .a_col = g->a_col,
                          .b = b,
                          .b_row = b_row};
    const int64_t whole = i0 + (i1 - i0) / GEMM_MR * GEMM_MR;
    if (whole > i0) gemm_rows(g, s, GEMM_MR, i0, whole, j, n, p0);
    if (i1 > whole) gemm_rows(g, s, i1 - whole, whole, i1, j, n, p0);
}

/* The columns j0..j1-1 over p0..p1-1 of the chains: packs B, then passes blocks of rows over it. */
static void gemm_columns(const gemm_args *g, int64_t j0, int64_t j1, int64_t p0, int64_t p1) {
    float packed[GEMM_KC * GEMM_NC] __attribute__((aligned(64)));
    const float *b = g->b + p0 * g->b_row;
    /* A copy pays where several tiles of rows share it. */
    const bool pack = g->b_col != 1 || (j1 - j0) % VEC_WIDTH || g->m > 4 * GEMM_MR;
    for (int64_t j = j0; pack && j < j1; j += GEMM_NR)
        pack_panel(packed + (j - j0) * GEMM_KC, p1 - p0, min64(GEMM_NR, j1 - j), b + j * g->b_col, g->b_row,
                   g->b_col);
    const int64_t blocks =
        (g->m + GEMM_MC - 1) / GEMM_MC; /* about equal ones, whole tiles but for the last */
    const int64_t mc = blocks ? ((g->m + blocks - 1) / blocks + GEMM_MR - 1) / GEMM_MR * GEMM_MR : 1;
    for (int64_t i = 0; i < g->m; i += mc)
        for (int64_t j = j0; j < j1; j += GEMM_NR) {
            const int64_t n = min64(GEMM_NR, j1 - j), i1 = min64(g->m, i + mc);
            if (pack)
                gemm_panel(g, i, i1, j, n, p0, p1, packed + (j - j0) * GEMM_KC, GEMM_NR);
            else
                gemm_panel(g, i, i1, j, n, p0, p1, b + j, g->b_row);
        }
}

/* One row of C over steps from..to-1 where B is stored transposed: eight columns at a time, through registers (the last
 * one stands in for those that are missing). */
static void gemm_row_transposed(const gemm_args *g, int64_t from, int64_t to) {
    for (int64_t j = 0; j < g->n; j += 8) {
        const int64_t n = min64(8, g->n - j);
        const float *b[8];
        float c[8] = {0};
        for (int64_t i = 0; i < 8; i++) b[i] = g->b + (j + min64(i, n - 1)) * g->b_col;
        for (int64_t i = 0; g->start && i < n; i++) c[i] = g->start[(j + i) * g->start_col];
        vec4 low = *(vec4_unaligned *)c, high = *(vec4_unaligned *)(c + 4), row[4];
        int64_t p = from;
        for (; p + 4 <= to; p += 4) {
            const float *a = g->a + p * g->a_col;
            transpose_4x4(row, b[0] + p, b[1] + p, b[2] + p, b[3] + p);
            for (int i = 0; i < 4; i++) low += a[i * g->a_col] * row[i];
            transpose_4x4(row, b[4] + p, b[5] + p, b[6] + p, b[7] + p);
            for (int i = 0; i < 4; i++) high += a[i * g->a_col] * row[i];
        }
        for (; p < to; p++) {
            low += g->a[p * g->a_col] * (vec4){b[0][p], b[1][p], b[2][p], b[3][p]};
            high += g->a[p * g->a_col] * (vec4){b[4][p], b[5][p], b[6][p], b[7][p]};
        }
        *(vec4_unaligned *)c = low, *(vec4_unaligned *)(c + 4) = high;
        for (int64_t i = 0; i < n; i++) g->c[(j + i) * g->c_col] = c[i];
    }
}

/* The same where B's rows are contiguous: whole vectors of columns; returns how many columns that are. */
static int64_t gemm_row_vectors(const gemm_args *g, int64_t from, int64_t to) {
    gemm_strip s = {
        .rows = 1, .k = to, .from = from, .to = to, .a = g->a, .a_col = g->a_col, .b_row = g->b_row};
    int64_t j = 0;
    for (int64_t n = g->n / VEC_WIDTH, nv; n > 0; n -= nv, j += nv * VEC_WIDTH) {
        s.b = g->b + j;
        s.c = g->c + j;
        s.start = g->start ? g->start + j : NULL;
        if (n >= GEMM_ROW_NV)
            nv = GEMM_ROW_NV, strip_row_8(&s);
        else if (n >= 4)
            nv = 4, strip_row_4(&s);
        else if (n >= 2)
            nv = 2, strip_row_2(&s);
        else
            nv = 1, strip_row_1(&s);
    }
    return j;
}

/* A single row of C: no other row shares B, which is read in place, from the first to the last step. Returns how many
 * columns are done. */
static int64_t gemm_row(const gemm_args *g) {
    int64_t from = 0, to = g->k;
    if (g->part == GEMM_A_LOWER) to = min64(to, max64(0, 1 + g->diagonal));
    if (g->part == GEMM_A_UPPER) from = min64(to, max64(0, -g->diagonal));
    if (g->b_col == 1 && g->c_col == 1 && (!g->start || g->start_col == 1))
        return gemm_row_vectors(g, from, to);
    if (g->b_row != 1) return 0;
    gemm_row_transposed(g, from, to);
    return g->n;
}

static void gemm(const gemm_args *g) {
    const int64_t done = g->m == 1 ? gemm_row(g) : 0;
    if (done == g->n) return;
    for (int64_t p = 0; p == 0 || p < g->k; p += GEMM_KC)
        for (int64_t j = done; j < g->n; j += GEMM_NC)
            gemm_columns(g, j, min64(g->n, j + GEMM_NC), p, min64(g->k, p + GEMM_KC));
}

#endif
