/* Products with compact weights: bfloat16, or blocks of 8-bit integers with a scale each. Weights are read once, in the
 * order they lie in, and become numbers in registers.
 *
 * A panel has 16 columns. Two steps of a column stand side by side, 16 columns make a line of them, and lines follow one
 * another: [K / 2][16][2]. With bfloat16 K is rounded up to 2. With integers it is rounded up to blocks of 32, and the 16
 * scales of a block (bfloat16) stand behind it: [K / 32]{[16][16][2], [16]}.
 *
 * What is computed, whatever the instruction set: with bfloat16 the chain of gemm.h; with integers
 * C[i, j] = fma(sum of block b, sx[i, b] sw[b, j], ... start[j]), a chain over ascending blocks b, where the sum of
 * qx[i, p] qw[p, j] over the block's p is exact, as x = sx qx is rounded to 16 bits in blocks of 32 as well. */
#ifndef SAMPO_TENSOR_COMPACT_H
#define SAMPO_TENSOR_COMPACT_H

#include "tensor/kernels/gemm.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    COMPACT_ROWS = 4, /* rows that share what was loaded of a panel */
    COMPACT_ACCS = 8, /* sums in registers, about */
    COMPACT_MOST = COMPACT_ROWS * LANE_VECS > COMPACT_ACCS ? COMPACT_ROWS *LANE_VECS : COMPACT_ACCS,
    COMPACT_AHEAD = 1024, /* bytes that are fetched ahead */
    COMPACT_LINE = 64
};

typedef uint32_t vecu __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint32_t vecu_unaligned __attribute__((vector_size(4 * VEC_WIDTH), aligned(1), may_alias));
typedef int16_t shorts __attribute__((vector_size(4 * VEC_WIDTH)));
typedef int8_t bytes_unaligned __attribute__((vector_size(2 * VEC_WIDTH), aligned(1), may_alias));
typedef uint16_t halves_unaligned __attribute__((vector_size(2 * VEC_WIDTH), aligned(1), may_alias));

/* sum + the products of neighbours, added in pairs. */
static inline veci add_pairs(veci sum, shorts a, shorts b) {
#if defined(__AVX512BW__)
    return sum + (veci)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return sum + (veci)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && VEC_WIDTH == 4
    return sum + (veci)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const veci x = (veci)a, y = (veci)b;
    return sum + ((veci)((vecu)x << 16) >> 16) * ((veci)((vecu)y << 16) >> 16) + (x >> 16) * (y >> 16);
#endif
}

/* Columns of a tile: whole panels, of which the last may have fewer in C. */
typedef struct compact_tile {
    int64_t i, j, columns;
    const char *w;
    int64_t panel; /* bytes */
} compact_tile;

static inline __attribute__((always_inline)) void
compact_begin(const int rows, const int nv, vec *acc, const compact_args *g, const compact_tile *t) {
    float start[COMPACT_MOST * VEC_WIDTH];
    const bool whole = t->columns == nv * VEC_WIDTH;
    if (g->start && !whole)
        for (int64_t j = 0; j < nv * VEC_WIDTH; j++) start[j] = j < t->columns ? g->start[t->j + j] : 0;
    for (int v = 0; v < nv; v++)
        acc[v] = !g->start ? vec_splat(0) : vec_load((whole ? g->start + t->j : start) + v * VEC_WIDTH);
    for (int v = nv; v < rows * nv; v++) acc[v] = acc[v - nv];
}

static inline __attribute__((always_inline)) void compact_end(const int rows, const int nv, const vec *acc,
                                                              const compact_args *g, const compact_tile *t) {
    float part[COMPACT_MOST * VEC_WIDTH];
    for (int r = 0; r < rows; r++) {
        float *c = g->c + (t->i + r) * g->c_row + t->j;
        const bool whole = t->columns == nv * VEC_WIDTH;
        for (int v = 0; v < nv; v++) vec_store((whole ? c : part) + v * VEC_WIDTH, acc[r * nv + v]);
        for (int64_t j = 0; !whole && j < t->columns; j++) c[j] = part[j];
    }
}

/* Two steps of the chains, or one. */
static inline __attribute__((always_inline)) void bf16_step(const int rows, const int panels, const int steps,
                                                            vec *acc, const float *x, int64_t x_row,
                                                            const char *line, int64_t panel) {
    for (int q = 0; q < panels; q++, line += panel) {
        if (rows < COMPACT_ROWS) __builtin_prefetch(line + COMPACT_AHEAD);
        for (int v = 0; v < LANE_VECS; v++) {
            const vecu pair = *(const vecu_unaligned *)(line + 4 * VEC_WIDTH * v);
            const vec step[2] = {(vec)(pair << 16), (vec)(pair & 0xffff0000u)};
            for (int s = 0; s < steps; s++)
                for (int r = 0; r < rows; r++) {
                    vec *sum = &acc[(r * panels + q) * LANE_VECS + v];
                    *sum = vec_accumulate(vec_splat(x[r * x_row + s]), step[s], *sum);
                }
        }
    }
}

static inline __attribute__((always_inline)) void bf16_tile(const int rows, const int panels,
                                                            const compact_args *g, const compact_tile *t) {
    vec acc[COMPACT_MOST];
    const float *x = g->x + t->i * g->x_row;
    const int64_t x_row = g->x_row, k = g->k, panel = t->panel;
    const char *w = t->w;
    int64_t p = 0;
    compact_begin(rows, panels * LANE_VECS, acc, g, t);
    for (; p + 2 <= k; p += 2, w += COMPACT_LINE) bf16_step(rows, panels, 2, acc, x + p, x_row, w, panel);
    if (p < k) bf16_step(rows, panels, 1, acc, x + p, x_row, w, panel);
    compact_end(rows, panels * LANE_VECS, acc, g, t);
}

static inline __attribute__((always_inline)) void int8_tile(const int rows, const int panels,
                                                            const compact_args *g, const compact_tile *t) {
    const int nv = panels * LANE_VECS;
    vec acc[COMPACT_MOST];
    const char *w = t->w;
    compact_begin(rows, nv, acc, g, t);
    for (int64_t b = 0; b < g->blocks; b++, w += COMPACT_BLOCK_BYTES) {
        const int16_t *x = g->rounded + (t->i * g->blocks + b) * COMPACT_BLOCK;
        const float *scale = g->scales + t->i * g->blocks + b;
        veci sum[COMPACT_MOST];
        for (int v = 0; v < rows * nv; v++) sum[v] = (veci){0};
        for (int p = 0; p < COMPACT_BLOCK; p += 2) {
            shorts pair[COMPACT_ROWS];
            for (int r = 0; r < rows; r++) {
                int32_t bits;
                memcpy(&bits, x + r * g->blocks * COMPACT_BLOCK + p, sizeof bits);
                pair[r] = (shorts)(bits - (veci){0});
            }
            for (int panel = 0; panel < panels; panel++) {
                const char *line = w + panel * t->panel + p * LANES;
                if (rows < COMPACT_ROWS && p % 4 == 0) __builtin_prefetch(line + COMPACT_AHEAD);
                for (int v = 0; v < LANE_VECS; v++) {
                    const bytes_unaligned eight = *(const bytes_unaligned *)(line + 2 * VEC_WIDTH * v);
                    const shorts wide = __builtin_convertvector(eight, shorts);
                    for (int r = 0; r < rows; r++) {
                        veci *s = &sum[r * nv + panel * LANE_VECS + v];
                        *s = add_pairs(*s, wide, pair[r]);
                    }
                }
            }
        }
        for (int v = 0; v < nv; v++) {
            const char *scales = w + v / LANE_VECS * t->panel + COMPACT_BLOCK * LANES;
            const halves_unaligned sixteen =
                *(const halves_unaligned *)(scales + 2 * VEC_WIDTH * (v % LANE_VECS));
            const vec sw = (vec)(__builtin_convertvector(sixteen, vecu) << 16);
            for (int r = 0; r < rows; r++)
                acc[r * nv + v] = vec_fma(__builtin_convertvector(sum[r * nv + v], vec),
                                          sw * vec_splat(scale[r * g->blocks]), acc[r * nv + v]);
        }
    }
    compact_end(rows, nv, acc, g, t);
}

/* Few rows take several panels at once, as a chain alone waits for its own last result. */
#define COMPACT_PANELS(rows) (COMPACT_ACCS / (rows) / LANE_VECS > 0 ? COMPACT_ACCS / (rows) / LANE_VECS : 1)

/* All columns of `t` for some rows, tile by tile. */
#define COMPACT_GROUP(kind, rows)                                                                            \
    static void kind##_group_##rows(const compact_args *g, compact_tile t) {                                 \
        enum { PANELS = COMPACT_PANELS(rows) };                                                              \
        int64_t left = t.columns;                                                                            \
        for (int64_t panels; left > 0; left -= panels * LANES) {                                             \
            panels = left > (PANELS - 1) * LANES ? PANELS : 1;                                               \
            t.columns = min64(left, panels * LANES);                                                         \
            if (panels == PANELS)                                                                            \
                kind##_tile(rows, PANELS, g, &t);                                                            \
            else                                                                                             \
                kind##_tile(rows, 1, g, &t);                                                                 \
            t.j += panels * LANES, t.w += panels * t.panel;                                                  \
        }                                                                                                    \
    }

/* Panels that are near while all rows pass over them. */
#define COMPACT_PRODUCT(kind)                                                                                \
    COMPACT_GROUP(kind, 1)                                                                                   \
    COMPACT_GROUP(kind, 2)                                                                                   \
    COMPACT_GROUP(kind, 4)                                                                                   \
    static void compact_##kind(const compact_args *g) {                                                      \
        enum { COLUMNS = COMPACT_PANELS(1) * LANES };                                                        \
        for (int64_t j = 0; j < g->n; j += COLUMNS) {                                                        \
            const char *w = (const char *)g->w + j / LANES * g->panel;                                       \
            for (int64_t i = 0, rows; i < g->m; i += rows) {                                                 \
                const compact_tile t = {i, j, min64(COLUMNS, g->n - j), w, g->panel};                        \
                rows = g->m - i >= 4 ? 4 : g->m - i >= 2 ? 2 : 1;                                            \
                if (rows == 4)                                                                               \
                    kind##_group_4(g, t);                                                                    \
                else if (rows == 2)                                                                          \
                    kind##_group_2(g, t);                                                                    \
                else                                                                                         \
                    kind##_group_1(g, t);                                                                    \
            }                                                                                                \
        }                                                                                                    \
    }
COMPACT_PRODUCT(bf16)
COMPACT_PRODUCT(int8)

/* For many rows: block by block of W as float, for gemm. The chains are the same. */
static void compact_bf16_rows(const compact_args *g) {
    enum { STEPS = 256, PANELS = 6 };
    float block[STEPS][PANELS * LANES] __attribute__((aligned(64)));
    for (int64_t j = 0; j < g->n; j += PANELS * LANES)
        for (int64_t p = 0; p == 0 || p < g->k; p += STEPS) {
            const int64_t steps = min64(STEPS, g->k - p), columns = min64(PANELS * LANES, g->n - j);
            const char *w = (const char *)g->w + j / LANES * g->panel + p / 2 * COMPACT_LINE;
            for (int64_t q = 0; q * LANES < columns; q++, w += g->panel)
                for (int64_t s = 0; s < steps; s++)
                    for (int i = 0; i < LANES; i += VEC_WIDTH) {
                        const vecu pair = *(const vecu_unaligned *)(w + s / 2 * COMPACT_LINE + 4 * i);
                        vec_store(&block[s][q * LANES + i], (vec)(s % 2 ? pair & 0xffff0000u : pair << 16));
                    }
            gemm(&(gemm_args){.m = g->m,
                              .n = columns,
                              .k = steps,
                              .a = g->x + p,
                              .a_row = g->x_row,
                              .a_col = 1,
                              .b = block[0],
                              .b_row = PANELS * LANES,
                              .b_col = 1,
                              .c = g->c + j,
                              .c_row = g->c_row,
                              .c_col = 1,
                              .start = p > 0      ? g->c + j
                                       : g->start ? g->start + j
                                                  : NULL,
                              .start_row = p > 0 ? g->c_row : 0,
                              .start_col = 1});
        }
}

static void compact_bf16_any(const compact_args *g) {
    enum { MANY = 12 }; /* rows that are worth it */
    if (g->m < MANY)
        compact_bf16(g);
    else
        compact_bf16_rows(g);
}

/* x = scale q, rounded to nearest even, in blocks of 32 of which the largest becomes 32767. Blocks below 2^-100 count as
 * 0; one with a value that is not finite becomes NaN as a whole. */
static void compact_round(int64_t n, int16_t *q, float *scale, const float *x) {
    for (int64_t b = 0; b * COMPACT_BLOCK < n; b++, q += COMPACT_BLOCK) {
        float block[COMPACT_BLOCK] = {0}, most;
        int32_t bits[COMPACT_BLOCK], largest = 0;
        memcpy(block, x + b * COMPACT_BLOCK, (size_t)min64(COMPACT_BLOCK, n - b * COMPACT_BLOCK) * sizeof *x);
        memcpy(bits, block, sizeof bits);
        for (int i = 0; i < COMPACT_BLOCK; i++) {
            const int32_t size = bits[i] & 0x7fffffff; /* ordered as the floats are, NaN above all */
            largest = size > largest ? size : largest;
        }
        memcpy(&most, &largest, sizeof most);
        const bool finite = largest < 0x7f800000, counts = finite && most >= 0x1p-100f;
        const float inverse = counts ? 32767 / most : 0, magic = 0x1.8p23f; /* whose last bit counts ones */
        for (int i = 0; i < COMPACT_BLOCK; i++) {
            const float sum = block[i] * inverse + magic;
            int32_t low;
            memcpy(&low, &sum, sizeof low);
            q[i] = counts ? (int16_t)(low - 0x4b400000) : 0;
        }
        scale[b] = counts ? most / 32767 : finite ? 0 : __builtin_nanf("");
    }
}

#endif
