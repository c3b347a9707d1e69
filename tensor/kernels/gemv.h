/* Matrix products of one to GEMV_ROWS rows. They take each element of B a few times at most, so they run at the speed of
 * memory: B is read in place, once, along whole rows of it, and what comes next is fetched ahead.
 *
 * Contract with the callers: as in gemm.h, C[i, j] = fma(A[i, k-1], B[k-1, j], ... fma(A[i, 0], B[0, j], start)). */
#ifndef SAMPO_TENSOR_GEMV_H
#define SAMPO_TENSOR_GEMV_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/pack.h"

enum {
    GEMV_ROWS = 8,      /* the most rows of A */
    GEMV_STEPS = 8,     /* rows of B that are read side by side for one row of A: few are loads of sums */
    GEMV_FEW_STEPS = 4, /* the same for several rows of A */
    GEMV_WIDTH = 32,    /* columns at once, two cache lines */
    GEMV_SUMS = 4096,   /* sums that stay in the first-level cache: 16 KiB */
    GEMV_LINE = 16,     /* floats in a cache line */
    GEMV_STRIP = VEC_WIDTH == 16 ? 12 : 8, /* vectors of sums that stay in registers */
    GEMV_AHEAD = 4,                        /* rows of B that a strip fetches ahead */
    GEMV_NEAR = 1 << 15                    /* numbers of B, 128 KiB, up to which it is taken for cached */
};

/* ---- B by rows: sums stand in C, the steps go in groups --------------------------------------------- */

/* c[j] += a[0] b[0, j], then a[1] b[1, j] and so on, for `steps` rows of B and n columns: whole vectors. */
static inline __attribute__((always_inline)) void gemv_steps(const int steps, int64_t n, const float *a,
                                                             int64_t a_col, const float *b, int64_t b_row,
                                                             float *c) {
    enum { NV = GEMV_WIDTH / VEC_WIDTH };
    vec x[GEMV_STEPS];
    int64_t j = 0;
    for (int p = 0; p < steps; p++) x[p] = vec_splat(a[p * a_col]);
    for (; j + GEMV_WIDTH <= n; j += GEMV_WIDTH) {
        vec sum[NV];
        for (int v = 0; v < NV; v++) sum[v] = vec_load(c + j + v * VEC_WIDTH);
        for (int p = 0; p < steps; p++) {
            const float *row = b + p * b_row + j;
            for (int i = 0; steps == GEMV_STEPS && i < GEMV_WIDTH; i += GEMV_LINE)
                __builtin_prefetch(row + steps * b_row + i, 0, 2); /* of the next group */
            for (int v = 0; v < NV; v++) sum[v] = vec_accumulate_at(x[p], row + v * VEC_WIDTH, sum[v]);
        }
        for (int v = 0; v < NV; v++) vec_store(c + j + v * VEC_WIDTH, sum[v]);
    }
    for (; j < n; j += VEC_WIDTH) {
        vec sum = vec_load(c + j);
        for (int p = 0; p < steps; p++) sum = vec_accumulate_at(x[p], b + p * b_row + j, sum);
        vec_store(c + j, sum);
    }
}

/* The same for m rows of A and of C: what is loaded of B serves all of them. */
static inline __attribute__((always_inline)) void gemv_few_steps(const int steps, int64_t m, int64_t n,
                                                                 const float *a, int64_t a_row, int64_t a_col,
                                                                 const float *b, int64_t b_row, float *c,
                                                                 int64_t c_row) {
    for (int64_t j = 0; j < n; j += 2 * VEC_WIDTH) {
        const bool two = j + VEC_WIDTH < n;
        vec row[GEMV_FEW_STEPS][2];
        for (int p = 0; p < steps; p++) {
            row[p][0] = vec_load(b + p * b_row + j);
            row[p][1] = two ? vec_load(b + p * b_row + j + VEC_WIDTH) : vec_splat(0);
            for (int i = 0; i < 2 * VEC_WIDTH; i += GEMV_LINE)
                __builtin_prefetch(b + (p + GEMV_FEW_STEPS) * b_row + j + i, 0, 2);
        }
        for (int64_t i = 0; i < m; i++) {
            float *to = c + i * c_row + j;
            vec low = vec_load(to), high = two ? vec_load(to + VEC_WIDTH) : vec_splat(0);
            for (int p = 0; p < steps; p++) {
                const vec x = vec_splat(a[i * a_row + p * a_col]);
                low = vec_accumulate(x, row[p][0], low);
                high = vec_accumulate(x, row[p][1], high);
            }
            vec_store(to, low);
            if (two) vec_store(to + VEC_WIDTH, high);
        }
    }
}

/* The last n < VEC_WIDTH columns. */
static void gemv_part(const gemm_args *g, int64_t i, int64_t j, int64_t n) {
    vec sum = vec_load_part(g->c + i * g->c_row + j, n);
    const float *a = g->a + i * g->a_row, *b = g->b + j;
    for (int64_t k = g->k; k > 0; k--, a += g->a_col, b += g->b_row)
        sum = vec_accumulate(vec_splat(*a), vec_load_part(b, n), sum);
    vec_store_part(g->c + i * g->c_row + j, sum, n);
}

/* A strip of nv vectors of columns whose sums stay in registers. */
static inline __attribute__((always_inline)) void gemv_strip(const int nv, const gemm_args *g, int64_t j) {
    vec sum[GEMV_STRIP];
    const float *a = g->a, *b = g->b + j;
    const int64_t a_col = g->a_col, b_row = g->b_row;
    for (int v = 0; v < nv; v++) sum[v] = g->start ? vec_load(g->start + j + v * VEC_WIDTH) : vec_splat(0);
    for (int64_t k = g->k; k > 0; k--, a += a_col, b += b_row) {
        const vec x = vec_splat(*a);
        for (int i = 0; i < nv * VEC_WIDTH; i += GEMV_LINE) __builtin_prefetch(b + GEMV_AHEAD * b_row + i);
        for (int v = 0; v < nv; v++) sum[v] = vec_accumulate_at(x, b + v * VEC_WIDTH, sum[v]);
    }
    for (int v = 0; v < nv; v++) vec_store(g->c + j + v * VEC_WIDTH, sum[v]);
}

/* The first n columns, whole vectors, strip by strip: the fastest way where B is in the second-level cache. */
static void gemv_strips(const gemm_args *g, int64_t n) {
    int64_t j = 0;
    for (; j + GEMV_STRIP * VEC_WIDTH <= n; j += GEMV_STRIP * VEC_WIDTH) gemv_strip(GEMV_STRIP, g, j);
    for (; j + 4 * VEC_WIDTH <= n; j += 4 * VEC_WIDTH) gemv_strip(4, g, j);
    if (j + 2 * VEC_WIDTH <= n) gemv_strip(2, g, j), j += 2 * VEC_WIDTH;
    for (; j < n; j += VEC_WIDTH) gemv_strip(1, g, j);
}

/* Columns j..j+n-1, whole vectors, of sums that begin with what is in C. */
static void gemv_columns(const gemm_args *g, int64_t j, int64_t n) {
    const float *a = g->a, *b = g->b + j;
    float *c = g->c + j;
    int64_t left = g->k;
    if (g->m == 1) {
        for (; left >= GEMV_STEPS; left -= GEMV_STEPS, a += GEMV_STEPS * g->a_col, b += GEMV_STEPS * g->b_row)
            gemv_steps(GEMV_STEPS, n, a, g->a_col, b, g->b_row, c);
        for (; left > 0; left--, a += g->a_col, b += g->b_row) gemv_steps(1, n, a, g->a_col, b, g->b_row, c);
        return;
    }
    const int64_t group = GEMV_FEW_STEPS;
    for (; left >= group; left -= group, a += group * g->a_col, b += group * g->b_row)
        gemv_few_steps(GEMV_FEW_STEPS, g->m, n, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row);
    for (; left > 0; left--, a += g->a_col, b += g->b_row)
        gemv_few_steps(1, g->m, n, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row);
}

static void gemv_by_rows(const gemm_args *g) {
    const int64_t whole = g->n / VEC_WIDTH * VEC_WIDTH, sums = GEMV_SUMS / g->m / GEMV_WIDTH * GEMV_WIDTH;
    const bool near = g->m == 1 && g->k * g->n <= GEMV_NEAR;
    if (near) gemv_strips(g, whole);
    for (int64_t i = 0; g->start != g->c && i < g->m; i++)
        for (int64_t j = near ? whole : 0; j < g->n; j++)
            g->c[i * g->c_row + j] = g->start ? g->start[i * g->start_row + j] : 0;
    for (int64_t j = 0; j < whole && !near; j += sums) gemv_columns(g, j, min64(sums, whole - j));
    for (int64_t i = 0; whole < g->n && i < g->m; i++) gemv_part(g, i, whole, g->n - whole);
}

/* ---- B by columns: transposed in registers ---------------------------------------------------------- */

/* nv vectors of columns from j on, for m rows of A; the last column stands in for those that are missing. A line of each
 * column is used as a whole, as columns of a power of two of steps push one another out of the cache. */
static inline __attribute__((always_inline)) void gemv_block(const int m, const int nv, const gemm_args *g,
                                                             int64_t j) {
    enum { MOST = GEMV_WIDTH };
    const int64_t n = min64(nv * VEC_WIDTH, g->n - j), a_col = g->a_col;
    const float *const next = g->b + (j + nv * VEC_WIDTH) * g->b_col;
    int64_t at[MOST]; /* where the columns begin */
    float c[GEMV_ROWS][MOST];
    vec sum[GEMV_ROWS][MOST / VEC_WIDTH];
    for (int64_t i = 0; i < nv * VEC_WIDTH; i++) at[i] = (j + min64(i, n - 1)) * g->b_col;
    for (int i = 0; i < m; i++) {
        for (int64_t l = 0; l < nv * VEC_WIDTH; l++)
            c[i][l] = g->start && l < n ? g->start[i * g->start_row + (j + l) * g->start_col] : 0;
        for (int v = 0; v < nv; v++) sum[i][v] = vec_load(c[i] + v * VEC_WIDTH);
    }
    for (int64_t p = 0; p < g->k; p += GEMV_LINE) {
        const int64_t steps = min64(GEMV_LINE, g->k - p);
        for (int v = 0; v < nv; v++) {
            const int64_t *const columns = at + v * VEC_WIDTH;
            for (int i = 0; i < VEC_WIDTH; i++) /* of the next columns, which follow in memory as a rule */
                __builtin_prefetch(next + p * nv * VEC_WIDTH + (v * VEC_WIDTH + i) * GEMV_LINE, 0, 2);
            int64_t q = 0;
            for (; q + 4 <= steps; q += 4) {
                vec row[4];
                transpose_vec(row, g->b + p + q, columns);
                for (int s = 0; s < 4; s++)
                    for (int i = 0; i < m; i++)
                        sum[i][v] = vec_accumulate(vec_splat(g->a[i * g->a_row + (p + q + s) * a_col]),
                                                   row[s], sum[i][v]);
            }
            for (; q < steps; q++) {
                float column[VEC_WIDTH];
                for (int i = 0; i < VEC_WIDTH; i++) column[i] = g->b[columns[i] + p + q];
                for (int i = 0; i < m; i++)
                    sum[i][v] = vec_accumulate(vec_splat(g->a[i * g->a_row + (p + q) * a_col]),
                                               vec_load(column), sum[i][v]);
            }
        }
    }
    for (int i = 0; i < m; i++) {
        for (int v = 0; v < nv; v++) vec_store(c[i] + v * VEC_WIDTH, sum[i][v]);
        for (int64_t l = 0; l < n; l++) g->c[i * g->c_row + (j + l) * g->c_col] = c[i][l];
    }
}

/* Few rows need several vectors of columns, as a chain alone waits for its own last result; columns that fill no more
 * than one vector get one. */
#define GEMV_BY_COLUMNS(m, width)                                                                            \
    static void gemv_by_columns_##m(const gemm_args *g) {                                                    \
        enum { NV = (width) / VEC_WIDTH > 0 ? (width) / VEC_WIDTH : 1 };                                     \
        int64_t j = 0;                                                                                       \
        for (; g->n - j > (NV > 1 ? VEC_WIDTH : 0); j += NV * VEC_WIDTH) gemv_block(m, NV, g, j);            \
        if (NV > 1 && j < g->n) gemv_block(m, 1, g, j);                                                      \
    }
GEMV_BY_COLUMNS(1, 32)
GEMV_BY_COLUMNS(2, 16)
GEMV_BY_COLUMNS(3, 16)
GEMV_BY_COLUMNS(4, 8)
GEMV_BY_COLUMNS(5, 8)
GEMV_BY_COLUMNS(6, 8)
GEMV_BY_COLUMNS(7, 8)
GEMV_BY_COLUMNS(8, 8)

/* ---- The choice ------------------------------------------------------------------------------------- */

/* Whether the product is one of these. */
static bool gemv(const gemm_args *g) {
    static void (*const by_columns[GEMV_ROWS + 1])(const gemm_args *) = {NULL,
                                                                         gemv_by_columns_1,
                                                                         gemv_by_columns_2,
                                                                         gemv_by_columns_3,
                                                                         gemv_by_columns_4,
                                                                         gemv_by_columns_5,
                                                                         gemv_by_columns_6,
                                                                         gemv_by_columns_7,
                                                                         gemv_by_columns_8};
    if (g->m < 1 || g->m > GEMV_ROWS) return false;
    const bool by_rows = g->b_col == 1 && g->c_col == 1 && (!g->start || g->start_col == 1);
    if (by_rows && g->m > 1 && g->k * g->n <= GEMV_NEAR) return false; /* tiles are faster */
    if (by_rows)
        gemv_by_rows(g);
    else if (g->b_row == 1)
        by_columns[g->m](g);
    else
        return false;
    return true;
}

#endif
