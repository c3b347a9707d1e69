/* The matrix product of a single row: B is read in place, each element once.
 *
 * Contract with the callers: as in gemm.h, C[j] = fma(A[k-1], B[k-1, j], ... fma(A[0], B[0, j], start)). */
#ifndef SAMPO_TENSOR_GEMV_H
#define SAMPO_TENSOR_GEMV_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/vec.h"

enum {
    GEMV_NV = 8,   /* vectors of a strip: enough chains to hide the latency of a multiply-add */
    GEMV_AHEAD = 8 /* steps that a strip fetches ahead */
};

/* Some columns of the row over steps from..to-1. */
typedef struct gemv_strip {
    int64_t from, to;
    const float *a, *b, *start; /* start NULL: 0 */
    float *c;
    int64_t a_col, b_row;
} gemv_strip;

/* A strip of one row, which takes each element of B once. */
static inline __attribute__((always_inline)) void gemv_columns(const int nv, const gemv_strip *s) {
    vec acc[GEMV_NV];
    for (int v = 0; v < nv; v++) acc[v] = s->start ? vec_load(s->start + v * VEC_WIDTH) : vec_splat(0);
    const float *a = s->a + s->from * s->a_col, *b = s->b + s->from * s->b_row;
    for (int64_t k = s->to - s->from; k > 0; k--, a += s->a_col, b += s->b_row) {
        /* Matrices of a model come from the second-level cache or further away, once. */
        for (int i = 0; nv == GEMV_NV && i < nv * VEC_WIDTH; i += 16)
            __builtin_prefetch(b + GEMV_AHEAD * s->b_row + i);
        const vec x = vec_splat(*a);
        for (int v = 0; v < nv; v++) acc[v] = vec_accumulate_at(x, b + v * VEC_WIDTH, acc[v]);
    }
    for (int v = 0; v < nv; v++) vec_store(s->c + v * VEC_WIDTH, acc[v]);
}

#define GEMV_STRIP(nv)                                                                                       \
    static void gemv_columns_##nv(const gemv_strip *s) {                                                     \
        gemv_columns(nv, s);                                                                                 \
    }
#define EACH_GEMV_NV(_) _(1) _(2) _(4) _(8)
EACH_GEMV_NV(GEMV_STRIP)

/* The same of the first n < VEC_WIDTH columns. */
static void gemv_columns_part(const gemv_strip *s, int64_t n) {
    vec sum = s->start ? vec_load_part(s->start, n) : vec_splat(0);
    const float *a = s->a + s->from * s->a_col, *b = s->b + s->from * s->b_row;
    for (int64_t k = s->to - s->from; k > 0; k--, a += s->a_col, b += s->b_row)
        sum = vec_accumulate(vec_splat(*a), vec_load_part(b, n), sum);
    vec_store_part(s->c, sum, n);
}

/* The columns from j on. */
static inline void row_columns(gemv_strip *s, const gemm_args *g, int64_t j) {
    s->b = g->b + j;
    s->c = g->c + j;
    s->start = g->start ? g->start + j : NULL;
}

/* One row of C over steps from..to-1 where B is stored transposed: eight columns at a time, through registers (the last
 * one stands in for those that are missing). */
static void gemv_transposed(const gemm_args *g, int64_t from, int64_t to) {
    for (int64_t j = 0; j < g->n; j += 8) {
        const int64_t n = min64(8, g->n - j);
        const float *b[8];
        float c[8] = {0};
        for (int64_t i = 0; i < 8; i++) b[i] = g->b + (j + min64(i, n - 1)) * g->b_col;
        for (int64_t i = 0; g->start && i < n; i++) c[i] = g->start[(j + i) * g->start_col];
        lanes4 low = *(lanes4_unaligned *)c, high = *(lanes4_unaligned *)(c + 4), row[4];
        int64_t p = from;
        for (; p + 4 <= to; p += 4) {
            const float *a = g->a + p * g->a_col;
            transpose_4x4(row, b[0] + p, b[1] + p, b[2] + p, b[3] + p);
            for (int i = 0; i < 4; i++) low = lanes4_fma(a[i * g->a_col] - (lanes4){0}, row[i], low);
            transpose_4x4(row, b[4] + p, b[5] + p, b[6] + p, b[7] + p);
            for (int i = 0; i < 4; i++) high = lanes4_fma(a[i * g->a_col] - (lanes4){0}, row[i], high);
        }
        for (; p < to; p++) {
            const lanes4 a = g->a[p * g->a_col] - (lanes4){0};
            low = lanes4_fma(a, (lanes4){b[0][p], b[1][p], b[2][p], b[3][p]}, low);
            high = lanes4_fma(a, (lanes4){b[4][p], b[5][p], b[6][p], b[7][p]}, high);
        }
        *(lanes4_unaligned *)c = low, *(lanes4_unaligned *)(c + 4) = high;
        for (int64_t i = 0; i < n; i++) g->c[(j + i) * g->c_col] = c[i];
    }
}

/* The same where B's rows are contiguous, in whole vectors of columns. Columns left over are taken with the last whole
 * vector, some of whose columns are then computed twice, or, where there is none or a sum in place cannot be taken
 * twice, by themselves. */
static void gemv_vectors(const gemm_args *g, int64_t from, int64_t to) {
    gemv_strip s = {.from = from, .to = to, .a = g->a, .a_col = g->a_col, .b_row = g->b_row};
    int64_t left = g->n % VEC_WIDTH, j = 0;
    const bool twice = left > 0 && g->start != g->c && g->n > VEC_WIDTH;
    for (int64_t n = g->n / VEC_WIDTH, nv; n > 0; n -= nv, j += nv * VEC_WIDTH) {
        row_columns(&s, g, j);
        if (n >= GEMV_NV)
            nv = GEMV_NV, gemv_columns_8(&s);
        else if (n >= 4)
            nv = 4, gemv_columns_4(&s);
        else if (n >= 2)
            nv = 2, gemv_columns_2(&s);
        else
            nv = 1, gemv_columns_1(&s);
        if (n == nv && twice && left > 0) j -= VEC_WIDTH - left, n = nv + 1, left = 0;
    }
    if (left == 0) return;
    row_columns(&s, g, j);
    gemv_columns_part(&s, left);
}

/* A single row of C: no other row shares B, which is read in place, from the first to the last step. Whether its layout
 * is one of these. */
static bool gemv(const gemm_args *g) {
    int64_t from = 0, to = g->k;
    if (g->part == GEMM_A_LOWER) to = min64(to, max64(0, 1 + g->diagonal));
    if (g->part == GEMM_A_UPPER) from = min64(to, max64(0, -g->diagonal));
    if (g->b_col == 1 && g->c_col == 1 && (!g->start || g->start_col == 1))
        gemv_vectors(g, from, to);
    else if (g->b_row == 1)
        gemv_transposed(g, from, to);
    else
        return false;
    return true;
}

#endif
