/* The matrix product. One register tile of MR x NR elements of C is computed at a time, over all of a
 * block of k: per step it reads NR contiguous elements of B and broadcasts MR elements of A, which may
 * have any strides. B is copied to the stack in panels of k x NR, each contiguous, so that it stays in the
 * first-level cache while a block of A's rows passes over it (Goto & van de Geijn 2008); so is A where its
 * steps lie far apart. A product of few rows reads both in place; one of a single row is gemv.h's.
 *
 * Contract with the callers: C[i, j] = fma(A[i, k-1], B[k-1, j], ... fma(A[i, 0], B[0, j], start)), whatever
 * the block sizes, so they may differ between instruction sets. */
#ifndef SAMPO_TENSOR_GEMM_H
#define SAMPO_TENSOR_GEMM_H

#include "tensor/kernels/gemv.h"

/* A tile has as many accumulators as the register file holds beside its vectors of B and one of A. Wide tiles load
 * least for each multiply-add: 4 x 3 vectors take 7 loads for 12, 6 x 2 take 8. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { GEMM_NV = 2, GEMM_ACCS = 24 };
#define EACH_TILE(_) EACH_MR_12(_, 1) EACH_MR_12(_, 2)
static const int gemm_tile_rows[GEMM_NV + 1] = {0, 12, 12};
#else
enum { GEMM_NV = 3, GEMM_ACCS = 12 };
#define EACH_TILE(_) EACH_MR_12(_, 1) EACH_MR_6(_, 2) EACH_MR_4(_, 3)
static const int gemm_tile_rows[GEMM_NV + 1] = {0, 12, 6, 4}; /* of a tile that is 1, 2, 3 vectors wide */
#endif
#define EACH_MR_4(_, nv) _(1, nv) _(2, nv) _(3, nv) _(4, nv)
#define EACH_MR_6(_, nv) EACH_MR_4(_, nv) _(5, nv) _(6, nv)
#define EACH_MR_12(_, nv) EACH_MR_6(_, nv) _(7, nv) _(8, nv) _(9, nv) _(10, nv) _(11, nv) _(12, nv)
enum {
    GEMM_MR = 12, /* the most rows of a tile, a multiple of all others */
    GEMM_NR = GEMM_NV * VEC_WIDTH,
    GEMM_KC = 256, /* a panel of B: at most 256 x 32 floats, a first-level cache */
    GEMM_NC = 288, /* columns of B that are packed at once, whole panels: 290 KiB of stack, beside 97 for A */
    GEMM_NEAR = 1 << 16, /* elements that steps of A may span: 256 KiB, half of a second-level cache */
    GEMM_MC = 96         /* rows of A that stay in the second-level cache while the panels change, about */
};

/* Tiles one below the other: rows of C in one panel of columns. Tile number t takes the steps from + t rise_from
 * to to + t rise_to, clipped to 0..k: a triangular A rises by a tile's rows, others by nothing. */
typedef struct gemm_strip {
    int64_t rows, k;
    const float *a, *b, *start; /* start NULL: 0 */
    float *c;
    int64_t a_row, a_col, b_row, start_row, c_row;
    bool a_packed; /* in groups of GEMM_MR rows, [k][GEMM_MR] each */
    int64_t from, to, rise_from, rise_to;
} gemm_strip;

/* One step of the chains of a tile. Between two multiply-adds there is room for hardly anything: where a core runs two
 * threads, every other instruction takes a multiply-add's place. */
static inline __attribute__((always_inline)) void tile_step(const int mr, const int nv, vec *acc,
                                                            const float *a, int64_t a_row, const float *b) {
    vec row[GEMM_NV];
    for (int v = 0; v < nv; v++) row[v] = vec_load(b + v * VEC_WIDTH);
    for (int i = 0; i < mr; i++) {
        const vec x = vec_splat(a[i * a_row]);
        for (int v = 0; v < nv; v++) acc[i * nv + v] = vec_accumulate(x, row[v], acc[i * nv + v]);
    }
}

/* From one packed panel of k steps to the next: a cache line more than it needs, so that the panels of a power of two of
 * steps do not lie in the same sets of the first-level cache while they are filled side by side. */
static inline int64_t packed_stride(int64_t width, int64_t k) {
    return width * k + 16;
}

/* The A of the tile that begins `row` rows after the first; the one before it is at `a`. */
static inline const float *next_tile(const gemm_strip *s, const float *a, int64_t row, int64_t mr,
                                     int64_t a_row) {
    return a + mr * a_row + (s->a_packed && row % GEMM_MR == 0 ? packed_stride(GEMM_MR, s->k) - GEMM_MR : 0);
}

/* The tiles of a strip; mr, nv and, in the usual cases, the strides are constants where this is inlined. What the loop
 * needs of *s stands in variables: for all the compiler knows, a store to C could change it. */
static inline __attribute__((always_inline)) void strip_any(const int mr, const int nv, const gemm_strip *s,
                                                            int64_t a_row, int64_t a_col, int64_t b_row) {
    const float *tile_a = s->a, *start = s->start, *const panel = s->b;
    float *c = s->c;
    const int64_t rows = s->rows, all = s->k, c_row = s->c_row, start_row = s->start_row;
    const int64_t rise_from = s->rise_from, rise_to = s->rise_to;
    int64_t from = s->from, to = s->to;
    for (int64_t i = 0; i < rows; i += mr) {
        vec acc[GEMM_ACCS]; /* [mr][nv] */
        if (start)
            for (int r = 0; r < mr; r++)
                for (int v = 0; v < nv; v++)
                    acc[r * nv + v] = vec_load(start + r * start_row + v * VEC_WIDTH);
        else
            for (int v = 0; v < mr * nv; v++) acc[v] = vec_splat(0);
        const int64_t first = min64(max64(from, 0), all);
        int64_t k = min64(to, all) - first;
        const float *a = tile_a + first * a_col, *b = panel + first * b_row;
        for (; k >= 4; k -= 4, a += 4 * a_col, b += 4 * b_row) {
            tile_step(mr, nv, acc, a, a_row, b);
            tile_step(mr, nv, acc, a + a_col, a_row, b + b_row);
            tile_step(mr, nv, acc, a + 2 * a_col, a_row, b + 2 * b_row);
            tile_step(mr, nv, acc, a + 3 * a_col, a_row, b + 3 * b_row);
        }
        for (; k > 0; k--, a += a_col, b += b_row) tile_step(mr, nv, acc, a, a_row, b);
        for (int r = 0; r < mr; r++)
            for (int v = 0; v < nv; v++) vec_store(c + r * c_row + v * VEC_WIDTH, acc[r * nv + v]);
        tile_a = next_tile(s, tile_a, i + mr, mr, a_row);
        c += mr * c_row;
        if (start) start += mr * start_row;
        from += rise_from;
        to += rise_to;
    }
}

/* What is constant of the strides decides how a strip is compiled: the form's name, the row's and the step's of A, the
 * step's of B. A function each, as gcc 12 copies registers to and fro where several loops share one. */
#define EACH_FORM(_, ...)                                                                                    \
    _(ROWS, s->a_row, 1, GEMM_NR, __VA_ARGS__)                                                               \
    _(PACKED, 1, GEMM_MR, GEMM_NR, __VA_ARGS__)                                                              \
    _(COLUMNS, 1, s->a_col, GEMM_NR, __VA_ARGS__)                                                            \
    _(STRIDED, s->a_row, s->a_col, s->b_row, __VA_ARGS__)
#define FORM(form, a_row, a_col, b_row, _) FORM_##form,
enum gemm_form { EACH_FORM(FORM, ) FORMS };

static enum gemm_form form_of(const gemm_strip *s) {
    if (s->b_row != GEMM_NR) return FORM_STRIDED;
    if (s->a_packed) return FORM_PACKED;
    return s->a_col == 1 ? FORM_ROWS : s->a_row == 1 ? FORM_COLUMNS : FORM_STRIDED;
}

#define STRIP(form, a_row, a_col, b_row, mr, nv)                                                             \
    static void strip_##mr##x##nv##_##form(const gemm_strip *s) {                                            \
        strip_any(mr, nv, s, a_row, a_col, b_row);                                                           \
    }
#define STRIPS(mr, nv) EACH_FORM(STRIP, mr, nv)
EACH_TILE(STRIPS)
#define STRIP_ENTRY(form, a_row, a_col, b_row, mr, nv) strip_##mr##x##nv##_##form,
#define STRIP_ENTRIES(mr, nv) [nv][mr] = {EACH_FORM(STRIP_ENTRY, mr, nv)},
static void (*const gemm_strips[GEMM_NV + 1][GEMM_MR + 1][FORMS])(const gemm_strip *) = {
    EACH_TILE(STRIP_ENTRIES)};

static int64_t padded_columns(int64_t n) {
    return (n + VEC_WIDTH - 1) / VEC_WIDTH * VEC_WIDTH;
}

/* Copies k rows of n columns of B to panels [k][GEMM_NR]; columns up to a whole vector become 0. */
static void pack_columns(float *panels, int64_t k, int64_t n, const float *b, int64_t b_row, int64_t b_col) {
    const int64_t padded = padded_columns(n), stride = packed_stride(GEMM_NR, k);
    for (int64_t j = n; j < padded; j++)
        for (int64_t p = 0; p < k; p++) panels[j / GEMM_NR * stride + p * GEMM_NR + j % GEMM_NR] = 0;
    int64_t j = 0, p4 = 0;
    if (b_row == 1) {
        p4 = k & ~(int64_t)3;
        for (; j + 4 <= n; j += 4) {
            const float *from = b + j * b_col;
            float *to = panels + j / GEMM_NR * stride + j % GEMM_NR;
            for (int64_t p = 0; p < p4; p += 4, from += 4, to += 4 * GEMM_NR) {
                lanes4 rows[4];
                transpose_4x4(rows, from, from + b_col, from + 2 * b_col, from + 3 * b_col);
                for (int r = 0; r < 4; r++) *(lanes4_unaligned *)(to + r * GEMM_NR) = rows[r];
            }
        }
    } else if (b_col == 1) {
        const int64_t whole = n / GEMM_NR, vectors = n % GEMM_NR / VEC_WIDTH;
        for (int64_t p = 0; p < k; p++) {
            const float *from = b + p * b_row;
            float *to = panels + p * GEMM_NR;
            for (int64_t i = 0; i < whole; i++, from += GEMM_NR, to += stride)
                for (int v = 0; v < GEMM_NR; v += VEC_WIDTH) vec_store(to + v, vec_load(from + v));
            for (int64_t i = 0; i < vectors; i++)
                vec_store(to + i * VEC_WIDTH, vec_load(from + i * VEC_WIDTH));
        }
        j = n / VEC_WIDTH * VEC_WIDTH;
        p4 = k;
    }
    if (j == n && p4 == k) return;
    for (int64_t done = j, i = 0; i < n; i++) /* what is left of whole blocks */
        for (int64_t p = i < done ? p4 : 0; p < k; p++)
            panels[i / GEMM_NR * stride + p * GEMM_NR + i % GEMM_NR] = b[p * b_row + i * b_col];
}

/* Copies k steps of rows of A to groups [k][GEMM_MR]. */
static void pack_rows(float *groups, int64_t k, int64_t rows, const float *a, int64_t a_row, int64_t a_col) {
    const int64_t stride = packed_stride(GEMM_MR, k);
    for (int64_t p = 0; p < k; p++) {
        const float *from = a + p * a_col;
        float *to = groups + p * GEMM_MR;
        int64_t i = 0;
        for (; a_row == 1 && i + GEMM_MR <= rows; i += GEMM_MR, to += stride)
            memcpy(to, from + i, GEMM_MR * sizeof *to);
        for (; i < rows; i += GEMM_MR, to += stride)
            for (int64_t r = 0; r < min64(GEMM_MR, rows - i); r++) to[r] = from[(i + r) * a_row];
    }
}

/* Rows i0..i1-1 of A over steps p0..p1-1 of the chains. */
typedef struct gemm_block {
    int64_t i0, i1, p0, p1;
    const float *packed; /* in groups of GEMM_MR rows; NULL: A is read in place */
} gemm_block;

/* Rows i0..i1-1 of a strip, whole tiles or less than one: straight into C, or, at a ragged or strided edge of C (n
 * columns of `padded`), tile by tile through a whole one. */
static void gemm_rows(const gemm_args *g, const gemm_block *block, gemm_strip s, int64_t mr, int64_t i0,
                      int64_t i1, int64_t j, int64_t n) {
    const int64_t padded = padded_columns(n), row = i0 - block->i0;
    void (*const strip)(const gemm_strip *) = gemm_strips[padded / VEC_WIDTH][mr][form_of(&s)];
    const bool first = block->p0 == 0;
    const float *start = first ? g->start : g->c;
    const int64_t start_row = first ? g->start_row : g->c_row, start_col = first ? g->start_col : g->c_col;
    if (g->part == GEMM_A_LOWER) s.to = i0 + mr + g->diagonal - block->p0, s.rise_to = mr;
    if (g->part == GEMM_A_UPPER) s.from = i0 - g->diagonal - block->p0, s.rise_from = mr;
    s.a += s.a_packed ? row / GEMM_MR * packed_stride(GEMM_MR, s.k) + row % GEMM_MR : row * g->a_row;
    if (n == padded && g->c_col == 1 && (!start || start_col == 1)) {
        s.rows = i1 - i0;
        s.c = g->c + i0 * g->c_row + j;
        s.c_row = g->c_row;
        s.start = start ? start + i0 * start_row + j : NULL;
        s.start_row = start_row;
        strip(&s);
        return;
    }
    float whole[GEMM_ACCS * VEC_WIDTH] = {0};
    s.rows = mr;
    s.c = whole;
    s.start = start ? whole : NULL;
    s.c_row = s.start_row = padded;
    for (int64_t i = i0; i < i1; i += mr) {
        for (int64_t r = 0; start && r < mr; r++)
            for (int64_t c = 0; c < n; c++)
                whole[r * padded + c] = start[(i + r) * start_row + (j + c) * start_col];
        strip(&s);
        for (int64_t r = 0; r < mr; r++)
            for (int64_t c = 0; c < n; c++)
                g->c[(i + r) * g->c_row + (j + c) * g->c_col] = whole[r * padded + c];
        s.a = next_tile(&s, s.a, i + mr - block->i0, mr, s.a_row);
        s.from += s.rise_from;
        s.to += s.rise_to;
    }
}

/* The columns j..j+n-1 of a block's rows. `b` points at row p0 of the panel and has whole vectors of columns to read. */
static void gemm_panel(const gemm_args *g, const gemm_block *block, int64_t j, int64_t n, const float *b,
                       int64_t b_row) {
    const int64_t i1 = block->i1;
    int64_t i0 = block->i0;
    if (g->part == GEMM_C_LOWER) i0 = max64(i0, j - g->diagonal);
    if (i0 >= i1) return;
    const bool packed = block->packed != NULL;
    const gemm_strip s = {.k = block->p1 - block->p0,
                          .to = block->p1 - block->p0,
                          .a = packed ? block->packed : g->a + block->i0 * g->a_row + block->p0 * g->a_col,
                          .a_row = packed ? 1 : g->a_row,
                          .a_col = packed ? GEMM_MR : g->a_col,
                          .a_packed = packed,
                          .b = b,
                          .b_row = b_row};
    const int mr = gemm_tile_rows[padded_columns(n) / VEC_WIDTH];
    const int64_t whole = i0 + (i1 - i0) / mr * mr;
    if (whole > i0) gemm_rows(g, block, s, mr, i0, whole, j, n);
    if (i1 > whole) gemm_rows(g, block, s, i1 - whole, whole, i1, j, n);
}

/* Rows of A whose steps are so far apart that they fall out of the second-level cache before their neighbours are read:
 * copied where several panels share them. */
static bool packs_rows(const gemm_args *g, int64_t columns, int64_t k) {
    const bool near = g->a_col == 1 || (g->a_row == 1 && k * max64(g->a_col, -g->a_col) <= GEMM_NEAR);
    return g->part == GEMM_FULL && columns > GEMM_NR && g->m >= GEMM_MR && !near;
}

/* The columns j0..j1-1 over p0..p1-1 of the chains: packs B, then passes blocks of rows over it. */
static void gemm_columns(const gemm_args *g, int64_t j0, int64_t j1, int64_t p0, int64_t p1) {
    float packed_b[(GEMM_KC + 2) * GEMM_NC] __attribute__((aligned(64)));
    float packed_a[(GEMM_KC + 2) * GEMM_MC] __attribute__((aligned(64)));
    const int64_t k = p1 - p0;
    const float *b = g->b + p0 * g->b_row;
    /* A copy pays where several tiles of rows share it. */
    const bool pack_b = g->b_col != 1 || (j1 - j0) % VEC_WIDTH || g->m > 2 * GEMM_MR;
    const bool pack_a = pack_b && packs_rows(g, j1 - j0, k);
    if (pack_b) pack_columns(packed_b, k, j1 - j0, b + j0 * g->b_col, g->b_row, g->b_col);
    /* Blocks of about equal rows, whole tiles but for the last. */
    const int64_t blocks = (g->m + GEMM_MC - 1) / GEMM_MC;
    const int64_t mc = blocks ? ((g->m + blocks - 1) / blocks + GEMM_MR - 1) / GEMM_MR * GEMM_MR : 1;
    for (int64_t i = 0; i < g->m; i += mc) {
        const gemm_block block = {i, min64(g->m, i + mc), p0, p1, pack_a ? packed_a : NULL};
        if (pack_a)
            pack_rows(packed_a, k, block.i1 - i, g->a + i * g->a_row + p0 * g->a_col, g->a_row, g->a_col);
        for (int64_t j = j0; j < j1; j += GEMM_NR) {
            const int64_t n = min64(GEMM_NR, j1 - j);
            if (pack_b)
                gemm_panel(g, &block, j, n, packed_b + (j - j0) / GEMM_NR * packed_stride(GEMM_NR, k),
                           GEMM_NR);
            else
                gemm_panel(g, &block, j, n, b + j, g->b_row);
        }
    }
}

static void gemm(const gemm_args *g) {
    if (g->m == 1 && gemv(g)) return;
    for (int64_t p = 0; p == 0 || p < g->k; p += GEMM_KC)
        for (int64_t j = 0; j < g->n; j += GEMM_NC)
            gemm_columns(g, j, min64(g->n, j + GEMM_NC), p, min64(g->k, p + GEMM_KC));
}

#endif
