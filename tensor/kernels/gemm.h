/* The matrix product. One register tile of MR x NR elements of C is computed at a time, over all of a
 * block of k: per step it reads NR contiguous elements of B and broadcasts MR elements of A, which may
 * have any strides. A panel of B (k x NR) is copied to the stack where that makes it contiguous and keeps
 * it in the first-level cache while all rows of A pass over it (Goto & van de Geijn 2008).
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
    GEMM_NR = GEMM_NV * VEC_WIDTH,
    GEMM_KC = 256,         /* a panel of B: 256 x 16 floats are 16 KiB, half of a first-level cache */
    GEMM_MC = 20 * GEMM_MR /* rows of A that stay in the second-level cache while the panels change */
};

#define TILE_PARAMS                                                                                        \
    int64_t k, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row, float *c,      \
        int64_t c_row, const float *start, int64_t start_row

typedef void gemm_tile(TILE_PARAMS);

/* c[mr, nv vectors] = start + a[mr, k] b[k, nv vectors]; mr and nv are constants where this is inlined. */
static inline __attribute__((always_inline)) void tile_any(const int mr, const int nv, TILE_PARAMS) {
    vec acc[GEMM_MR][GEMM_NV];
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < nv; v++)
            acc[i][v] = start ? vec_load(start + i * start_row + v * VEC_WIDTH) : vec_splat(0);
    for (int64_t p = 0; p < k; p++) {
        vec row[GEMM_NV];
        for (int v = 0; v < nv; v++) row[v] = vec_load(b + v * VEC_WIDTH);
        for (int i = 0; i < mr; i++) {
            const vec x = vec_splat(a[i * a_row]);
            for (int v = 0; v < nv; v++) acc[i][v] += x * row[v];
        }
        a += a_col;
        b += b_row;
    }
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < nv; v++) vec_store(c + i * c_row + v * VEC_WIDTH, acc[i][v]);
}

#define TILE(mr, nv)                                                                                       \
    static void tile_##mr##x##nv(TILE_PARAMS) {                                                            \
        tile_any(mr, nv, k, a, a_row, a_col, b, b_row, c, c_row, start, start_row);                        \
    }
#define TILES(mr) TILE(mr, 1) TILE(mr, 2)
#define TILE_ENTRY(mr) {tile_##mr##x1, tile_##mr##x2},
#define EACH_TILE_6(_) _(1) _(2) _(3) _(4) _(5) _(6)
#if defined(__AVX512F__) || defined(__aarch64__)
#define EACH_TILE(_) EACH_TILE_6(_) _(7) _(8) _(9) _(10) _(11) _(12)
#else
#define EACH_TILE(_) EACH_TILE_6(_)
#endif
EACH_TILE(TILES)
static gemm_tile *const gemm_tiles[GEMM_MR][GEMM_NV] = {EACH_TILE(TILE_ENTRY)};

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* out[p, j] = b[j, p] for 4 x 4 elements; `stride` separates b's rows. */
static inline void transpose_4x4(float *out, const float *b, int64_t stride) {
    const vec4 r0 = *(const vec4_unaligned *)b, r1 = *(const vec4_unaligned *)(b + stride);
    const vec4 r2 = *(const vec4_unaligned *)(b + 2 * stride), r3 = *(const vec4_unaligned *)(b + 3 * stride);
    const vec4 lo01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), hi01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const vec4 lo23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), hi23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(vec4_unaligned *)out = __builtin_shufflevector(lo01, lo23, 0, 1, 4, 5);
    *(vec4_unaligned *)(out + GEMM_NR) = __builtin_shufflevector(lo01, lo23, 2, 3, 6, 7);
    *(vec4_unaligned *)(out + 2 * GEMM_NR) = __builtin_shufflevector(hi01, hi23, 0, 1, 4, 5);
    *(vec4_unaligned *)(out + 3 * GEMM_NR) = __builtin_shufflevector(hi01, hi23, 2, 3, 6, 7);
}

/* Copies k rows of n <= GEMM_NR columns of B to panel[k][GEMM_NR]; columns up to `padded` become 0. */
static void pack_panel(float *panel, int64_t k, int64_t n, int64_t padded, const float *b, int64_t b_row,
                       int64_t b_col) {
    if (n < padded)
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = n; j < padded; j++) panel[p * GEMM_NR + j] = 0;
    if (b_row == 1) {
        const int64_t k4 = k & ~(int64_t)3, n4 = n & ~(int64_t)3;
        for (int64_t j = 0; j < n4; j += 4)
            for (int64_t p = 0; p < k4; p += 4) transpose_4x4(panel + p * GEMM_NR + j, b + j * b_col + p, b_col);
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

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* One panel of C's columns: rows i0..i1-1, columns j..j+n-1, over p0..p1-1 of the chain. `b` points at row
 * p0 of the panel and has `padded` columns to read. */
static void gemm_panel(const gemm_args *g, int64_t i0, int64_t i1, int64_t j, int64_t n, int64_t padded,
                       int64_t p0, int64_t p1, const float *b, int64_t b_row) {
    const float *start = p0 == 0 ? g->start : g->c;
    const int64_t start_row = p0 == 0 ? g->start_row : g->c_row, start_col = p0 == 0 ? g->start_col : g->c_col;
    const bool direct = n == padded && g->c_col == 1 && (!start || start_col == 1);
    if (g->part == GEMM_C_LOWER) i0 = max64(i0, j - g->diagonal);
    for (int64_t i = i0; i < i1; i += GEMM_MR) {
        const int64_t mr = min64(GEMM_MR, i1 - i);
        int64_t from = p0, to = p1;
        if (g->part == GEMM_A_LOWER) to = max64(p0, min64(to, i + mr + g->diagonal));
        if (g->part == GEMM_A_UPPER) from = min64(p1, max64(from, i - g->diagonal));
        gemm_tile *tile = gemm_tiles[mr - 1][padded / VEC_WIDTH - 1];
        const float *a = g->a + i * g->a_row + from * g->a_col, *rows = b + (from - p0) * b_row;
        if (direct) {
            tile(to - from, a, g->a_row, g->a_col, rows, b_row, g->c + i * g->c_row + j, g->c_row,
                 start ? start + i * start_row + j : NULL, start_row);
        } else { /* a ragged or strided edge of C goes through a whole tile */
            float whole[GEMM_MR * GEMM_NR];
            if (start)
                for (int64_t r = 0; r < mr; r++)
                    for (int64_t s = 0; s < padded; s++)
                        whole[r * GEMM_NR + s] =
                            s < n ? start[(i + r) * start_row + (j + s) * start_col] : 0;
            tile(to - from, a, g->a_row, g->a_col, rows, b_row, whole, GEMM_NR, start ? whole : NULL, GEMM_NR);
            for (int64_t r = 0; r < mr; r++)
                for (int64_t s = 0; s < n; s++)
                    g->c[(i + r) * g->c_row + (j + s) * g->c_col] = whole[r * GEMM_NR + s];
        }
    }
}

static void gemm(const gemm_args *g) {
    float panel[GEMM_KC * GEMM_NR] __attribute__((aligned(64)));
    for (int64_t i = 0; i < g->m; i += GEMM_MC) {
        const int64_t i1 = min64(g->m, i + GEMM_MC);
        for (int64_t p = 0; p == 0 || p < g->k; p += GEMM_KC) {
            const int64_t p1 = min64(g->k, p + GEMM_KC);
            for (int64_t j = 0; j < g->n; j += GEMM_NR) {
                const int64_t n = min64(GEMM_NR, g->n - j);
                const int64_t padded = (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
                const float *b = g->b + p * g->b_row + j * g->b_col;
                /* A copy pays where several tiles of rows share it. */
                if (g->b_col != 1 || n != padded || i1 - i > 4 * GEMM_MR) {
                    pack_panel(panel, p1 - p, n, padded, b, g->b_row, g->b_col);
                    gemm_panel(g, i, i1, j, n, padded, p, p1, panel, GEMM_NR);
                } else {
                    gemm_panel(g, i, i1, j, n, padded, p, p1, b, g->b_row);
                }
            }
        }
    }
}

#endif
