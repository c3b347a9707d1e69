/* The matrix product. One register tile of MR x NR elements of C is computed at a time, over all of a
 * block of k: per step it reads NR contiguous elements of B and broadcasts MR elements of A, which may
 * have any strides. B is copied to the stack panel by panel, k x NR elements each, just before a block of A's rows passes
 * over it, so that it is still in a cache (Goto & van de Geijn 2008); A is copied only where its steps lie far apart, or
 * its rows collide in the first-level cache. A product of few rows reads both in place; one of a single row is gemv.h's.
 *
 * Contract with the callers: C[i, j] = fma(A[i, k-1], B[k-1, j], ... fma(A[i, 0], B[0, j], start)), whatever
 * the block sizes, so they may differ between instruction sets. */
#ifndef SAMPO_TENSOR_GEMM_H
#define SAMPO_TENSOR_GEMM_H

#include "tensor/kernels/edge.h"
#include "tensor/kernels/gemv.h"
#include "tensor/kernels/pack.h"

#if defined(__AVX512F__) || defined(__aarch64__)
#define EACH_TILE(_) EACH_MR_12(_, 1) EACH_MR_12(_, 2)
static const int gemm_tile_rows[GEMM_NV + 1] = {0, 12, 12};
#else
#define EACH_TILE(_) EACH_MR_12(_, 1) EACH_MR_6(_, 2) EACH_MR_4(_, 3)
static const int gemm_tile_rows[GEMM_NV + 1] = {0, 12, 6, 4}; /* of a tile that is 1, 2, 3 vectors wide */
#endif
#define EACH_MR_4(_, nv) _(1, nv) _(2, nv) _(3, nv) _(4, nv)
#define EACH_MR_6(_, nv) EACH_MR_4(_, nv) _(5, nv) _(6, nv)
#define EACH_MR_12(_, nv) EACH_MR_6(_, nv) _(7, nv) _(8, nv) _(9, nv) _(10, nv) _(11, nv) _(12, nv)

/* Blocks. A tile of three vectors needs its panel in the first-level cache; one of two vectors, with twelve rows, loads so
 * little for each multiply-add that the panel may come from the second level. Then longer steps of k write and read C
 * less often. */
enum {
    GEMM_KC = GEMM_NV == 3 ? 256 : 768,            /* steps of k: a panel of B has at most 24 or 96 KiB */
    GEMM_KC_SPREAD = GEMM_NV == 3 ? 128 : GEMM_KC, /* where A's steps need all of that cache, too */
    GEMM_KC_PACKED = 256,                          /* where A is copied */
    GEMM_NEAR = 1 << 16, /* elements that steps of A may span: 256 KiB, half of a second-level cache */
    /* Rows of A that stay in the second-level cache while the panels change, about. */
    GEMM_MC = GEMM_NV == 3 ? 264 : 396
};

/* Tiles one below the other: rows of C in one panel of columns. */
typedef struct gemm_strip {
    int64_t rows, k;
    const float *a, *b, *start; /* start NULL: 0 */
    float *c;
    int64_t a_row, a_col, b_row, start_row, c_row;
    bool a_packed; /* in groups of GEMM_MR rows, [k][GEMM_MR] each */
} gemm_strip;

#define TILE static inline __attribute__((always_inline)) void

/* Rows of A that are read from one address: an instruction adds once or twice the distance of rows to it. More would
 * need a register each, of which there are too few for twelve. */
enum { TILE_REACH = 3, TILE_BASES = (GEMM_MR + TILE_REACH - 1) / TILE_REACH };

/* acc += the numbers of A at one step times `row`, a row of B. Between two multiply-adds there is room for hardly
 * anything: where a core runs two threads, every other instruction takes a multiply-add's place. */
TILE tile_multiply(const int mr, const int nv, vec *acc, const float *const *a, int64_t a_row, int64_t a_step,
                   const vec *row) {
    UNROLL
    for (int i = 0; i < mr; i++) {
        const vec x = vec_splat(a[i / TILE_REACH][i % TILE_REACH * a_row + a_step]);
        UNROLL
        for (int v = 0; v < nv; v++) acc[i * nv + v] = vec_accumulate(x, row[v], acc[i * nv + v]);
    }
}

/* One step of the chains of a tile. */
TILE tile_step(const int mr, const int nv, vec *acc, const float *const *a, int64_t a_row, int64_t a_step,
               const float *b) {
    vec row[GEMM_NV];
    UNROLL
    for (int v = 0; v < nv; v++) row[v] = vec_load(b + v * VEC_WIDTH);
    tile_multiply(mr, nv, acc, a, a_row, a_step, row);
}

TILE tile_clear(const int mr, const int nv, vec *acc) {
    UNROLL
    for (int v = 0; v < mr * nv; v++) acc[v] = vec_splat(0);
}
TILE tile_load(const int mr, const int nv, vec *acc, const float *from, int64_t row) {
    UNROLL
    for (int r = 0; r < mr; r++) {
        UNROLL
        for (int v = 0; v < nv; v++) acc[r * nv + v] = vec_load(from + r * row + v * VEC_WIDTH);
    }
}
TILE tile_store(const int mr, const int nv, const vec *acc, float *to, int64_t row) {
    UNROLL
    for (int r = 0; r < mr; r++) {
        UNROLL
        for (int v = 0; v < nv; v++) vec_store(to + r * row + v * VEC_WIDTH, acc[r * nv + v]);
    }
}

/* The A of the tile that begins `row` rows after the first; the one before it is at `a`. */
static inline const float *next_tile(const gemm_strip *s, bool packed, const float *a, int64_t row,
                                     int64_t mr, int64_t a_row) {
    return a + mr * a_row + (packed && row % GEMM_MR == 0 ? group_stride(s->k) - GEMM_MR : 0);
}

/* The tiles of a strip; mr, nv and, in the usual cases, the strides are constants where this is inlined. What the loop
 * needs of *s stands in variables: for all the compiler knows, a store to C could change it. */
TILE strip_any(const int mr, const int nv, const gemm_strip *s, const bool packed, int64_t a_row,
               int64_t a_col, int64_t b_row) {
    const float *tile_a = s->a, *start = s->start, *const panel = s->b;
    float *c = s->c;
    const int64_t rows = s->rows, all = s->k, c_row = s->c_row, start_row = s->start_row;
    const bool near = __builtin_constant_p(a_row); /* one address reaches all rows */
    const int bases = (mr + TILE_REACH - 1) / TILE_REACH;
    for (int64_t i = 0; i < rows; i += mr) {
        vec acc[GEMM_ACCS]; /* [mr][nv] */
        if (start)
            tile_load(mr, nv, acc, start, start_row);
        else
            tile_clear(mr, nv, acc);
        int64_t k = all;
        const float *a[TILE_BASES], *b = panel;
        UNROLL
        for (int at = 0; at < bases; at++) {
            a[at] = tile_a + at * TILE_REACH * a_row;
            if (at > 0 && !near) __asm__("" : "+r"(a[at])); /* not to be found from the others */
        }
        for (; k >= 4; k -= 4, b += 4 * b_row) {
            UNROLL
            for (int step = 0; step < 4; step++)
                tile_step(mr, nv, acc, a, a_row, step * a_col, b + step * b_row);
            UNROLL
            for (int at = 0; at < bases; at++) a[at] += 4 * a_col;
        }
        for (; k > 0; k--, b += b_row) {
            tile_step(mr, nv, acc, a, a_row, 0, b);
            UNROLL
            for (int at = 0; at < bases; at++) a[at] += a_col;
        }
        tile_store(mr, nv, acc, c, c_row);
        tile_a = next_tile(s, packed, tile_a, i + mr, mr, a_row);
        c += mr * c_row;
        if (start) start += mr * start_row;
    }
}

/* What is constant of the strides decides how a strip is compiled: the form's name, whether A is packed, the row's and the
 * step's of A, the step's of B. A function each, as gcc 12 copies registers to and fro where several loops share one. */
#define EACH_FORM(_, ...)                                                                                    \
    _(ROWS, false, s->a_row, 1, GEMM_NR, __VA_ARGS__)                                                        \
    _(PACKED, true, 1, GEMM_MR, GEMM_NR, __VA_ARGS__)                                                        \
    _(COLUMNS, false, 1, s->a_col, GEMM_NR, __VA_ARGS__)                                                     \
    _(STRIDED, false, s->a_row, s->a_col, s->b_row, __VA_ARGS__)
#define FORM(form, packed, a_row, a_col, b_row, _) FORM_##form,
enum gemm_form { EACH_FORM(FORM, ) FORMS };

static enum gemm_form form_of(const gemm_strip *s) {
    if (s->b_row != GEMM_NR) return FORM_STRIDED;
    if (s->a_packed) return FORM_PACKED;
    return s->a_col == 1 ? FORM_ROWS : s->a_row == 1 ? FORM_COLUMNS : FORM_STRIDED;
}

#define STRIP(form, packed, a_row, a_col, b_row, mr, nv)                                                     \
    static void strip_##mr##x##nv##_##form(const gemm_strip *s) {                                            \
        strip_any(mr, nv, s, packed, a_row, a_col, b_row);                                                   \
    }
#define STRIPS(mr, nv) EACH_FORM(STRIP, mr, nv)
EACH_TILE(STRIPS)
#define STRIP_ENTRY(form, packed, a_row, a_col, b_row, mr, nv) strip_##mr##x##nv##_##form,
#define STRIP_ENTRIES(mr, nv) [nv][mr] = {EACH_FORM(STRIP_ENTRY, mr, nv)},
static void (*const gemm_strips[GEMM_NV + 1][GEMM_MR + 1][FORMS])(const gemm_strip *) = {
    EACH_TILE(STRIP_ENTRIES)};

/* Rows i0..i1-1 of A over steps p0..p1-1 of the chains. */
typedef struct gemm_block {
    int64_t i0, i1, p0, p1;
    const float *packed; /* in groups of GEMM_MR rows; NULL: A is read in place */
} gemm_block;

/* A row of n elements of C, `col` apart, to or from a row of whole vectors. */
static inline void load_row(float *row, const float *c, int64_t n, int64_t col) {
    int64_t j = 0;
    for (; col == 1 && j + VEC_WIDTH <= n; j += VEC_WIDTH) vec_store(row + j, vec_load(c + j));
    if (col == 1 && j < n)
        vec_store(row + j, vec_load_part(c + j, n - j));
    else
        for (; j < n; j++) row[j] = c[j * col];
}
static inline void store_row(float *c, const float *row, int64_t n, int64_t col) {
    int64_t j = 0;
    for (; col == 1 && j + VEC_WIDTH <= n; j += VEC_WIDTH) vec_store(c + j, vec_load(row + j));
    if (col == 1 && j < n)
        vec_store_part(c + j, vec_load(row + j), n - j);
    else
        for (; j < n; j++) c[j * col] = row[j];
}

/* Rows i0..i1-1 of a strip, whole tiles or less than one, from s.a on: straight into C, or, at a ragged or strided edge
 * of C, tile by tile through a whole one. */
static void gemm_rows(const gemm_args *g, const gemm_block *block, gemm_strip s, int64_t i0, int64_t i1,
                      int64_t j, int64_t n) {
    const int64_t vectors = vectors_of(n), padded = vectors * VEC_WIDTH;
    const int64_t mr = min64(i1 - i0, gemm_tile_rows[vectors]);
    void (*const strip)(const gemm_strip *) = gemm_strips[vectors][mr][form_of(&s)];
    const bool first = block->p0 == 0;
    const float *start = first ? g->start : g->c;
    const int64_t start_row = first ? g->start_row : g->c_row, start_col = first ? g->start_col : g->c_col;
    if (n == padded && g->c_col == 1 && (!start || start_col == 1)) {
        s.rows = i1 - i0;
        s.c = g->c + i0 * g->c_row + j;
        s.c_row = g->c_row;
        s.start = start ? start + i0 * start_row + j : NULL;
        s.start_row = start_row;
        strip(&s);
        return;
    }
    float whole[GEMM_ACCS * VEC_WIDTH];
    s.rows = mr;
    s.c = whole;
    s.start = start ? whole : NULL;
    s.c_row = s.start_row = padded;
    for (int64_t i = i0; i < i1; i += mr) {
        for (int64_t r = 0; start && r < mr; r++)
            load_row(whole + r * padded, start + (i + r) * start_row + j * start_col, n, start_col);
        strip(&s);
        for (int64_t r = 0; r < mr; r++)
            store_row(g->c + (i + r) * g->c_row + j * g->c_col, whole + r * padded, n, g->c_col);
        s.a = next_tile(&s, s.a_packed, s.a, i + mr - i0, mr, s.a_row);
    }
}

/* Of `left` rows those that come in whole units, but for what is cut into two pieces at the end. */
static inline int64_t run_of(int64_t left, int64_t unit) {
    return left < 2 * unit ? piece(left, unit) : (left / unit - (left % unit > 0)) * unit;
}

/* The columns j..j+n-1 of a block's rows. `b` points at row p0 of the panel and has whole vectors of columns to read. */
static void gemm_panel(const gemm_args *g, const gemm_block *block, int64_t j, int64_t n, const float *b,
                       int64_t b_row) {
    const int64_t i0 = block->i0, i1 = block->i1, k = block->p1 - block->p0;
    const bool packed = block->packed != NULL;
    gemm_strip s = {.k = k,
                    .a_row = packed ? 1 : g->a_row,
                    .a_col = packed ? GEMM_MR : g->a_col,
                    .a_packed = packed,
                    .b = b,
                    .b_row = b_row};
    const float *a = packed ? block->packed : g->a + i0 * g->a_row + block->p0 * g->a_col;
    for (int64_t i = i0, group; i < i1; a += (group + GEMM_MR - 1) / GEMM_MR * group_stride(k)) {
        group = packed ? run_of(i1 - i, GEMM_MR) : i1 - i; /* as they are packed */
        s.a = a;
        for (int64_t left = group, rows; left > 0; left -= rows, i += rows, s.a += rows * s.a_row) {
            rows = run_of(left, gemm_tile_rows[vectors_of(n)]);
            gemm_rows(g, block, s, i, i + rows, j, n);
        }
    }
}

/* The last columns of a block's rows, from j on, which are an edge. The last row stands in for those that a tile
 * misses. */
static void gemm_edge(const gemm_args *g, const gemm_block *block, int64_t j, const float *b) {
    const bool first = block->p0 == 0;
    const int64_t n = g->n - j;
    const int64_t start_row = first ? g->start_row : g->c_row, start_col = first ? g->start_col : g->c_col;
    for (int64_t i = block->i0; i < block->i1; i += EDGE_ROWS) {
        const int64_t rows = min64(EDGE_ROWS, block->i1 - i);
        float tile[EDGE_ROWS][EDGE_COLS] = {{0}}, *c = g->c + i * g->c_row + j * g->c_col;
        int64_t at[EDGE_ROWS];
        for (int64_t r = 0; r < EDGE_ROWS; r++) at[r] = min64(r, rows - 1) * g->a_row;
        const float *start = !first ? c : g->start ? g->start + i * start_row + j * start_col : NULL;
        for (int64_t r = 0; start && r < rows; r++)
            for (int64_t e = 0; e < n; e++) tile[r][e] = start[r * start_row + e * start_col];
        edge_tile(tile[0], block->p1 - block->p0, g->a + i * g->a_row + block->p0, at, b, GEMM_NR);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t e = 0; e < n; e++) c[r * g->c_row + e * g->c_col] = tile[r][e];
    }
}

/* Rows that are whole pages apart: the lines of a tile of twelve share the eight places of one set of the first-level
 * cache. */
static bool collide(int64_t row) {
    enum { SET = 1024 }; /* floats from a line to the next one of its set */
    return GEMM_NV == 2 && row % SET == 0;
}

/* A is copied where several panels share it, and its rows collide, or its steps are so far apart that they fall out of the
 * second-level cache before their neighbours are read. (A copy of nearer ones costs more than it wins.) */
static bool packs_rows(const gemm_args *g) {
    enum { PANELS = 8 }; /* that pay for transposing A */
    if (g->m < GEMM_MR) return false;
    if (g->a_col == 1) return collide(g->a_row) && g->n >= PANELS * GEMM_NR;
    const int64_t span = min64(g->k, GEMM_KC_PACKED) * max64(g->a_col, -g->a_col);
    return g->n > GEMM_NR && !(g->a_row == 1 && span <= GEMM_NEAR);
}

/* Steps of A that lie in a cache line each and, no whole number of lines apart, in every set of the first-level cache:
 * with a panel of B they overflow it, and both come from the second level for each tile. (Steps that are whole lines
 * apart, as those of 64 columns, share a few sets and leave the panel in the others.) */
static bool spreads(const gemm_args *g) {
    enum { LINE = 16 }; /* floats */
    return g->a_row == 1 && g->a_col > LINE && g->a_col % LINE;
}

/* A copy of B pays where several tiles of rows share it. */
static bool packs_panels(const gemm_args *g) {
    return g->b_col != 1 || g->n % VEC_WIDTH || g->m > 2 * GEMM_MR;
}

/* A block of rows, panel by panel; panel NULL: B is read in place. */
static void gemm_block_panels(const gemm_args *g, gemm_block block, float *panel) {
    const int64_t k = block.p1 - block.p0;
    const bool edged = g->a_col == 1 && block.i1 - block.i0 >= EDGE_ROWS;
    const int64_t edge = edged ? edge_of(g->n) : 0, whole = g->n - edge;
    const float *b = g->b + block.p0 * g->b_row;
    for (int64_t j = 0, n; j < whole; j += n) {
        n = min64(whole - j, piece(vectors_of(whole - j), GEMM_NV) * VEC_WIDTH);
        const float *from = b + j * g->b_col;
        if (panel) pack_panel(panel, k, n, from, g->b_row, g->b_col);
        gemm_panel(g, &block, j, n, panel ? panel : from, panel ? GEMM_NR : g->b_row);
    }
    if (edge) {
        pack_panel(panel, k, edge, b + whole * g->b_col, g->b_row, g->b_col);
        gemm_edge(g, &block, whole, panel);
    }
}

/* Functions of their own, so that one's copies do not take the other's part of the stack. */
static __attribute__((noinline)) void gemm_in_place(const gemm_args *g, int64_t mc) {
    float panel[GEMM_KC * GEMM_NR] __attribute__((aligned(64)));
    const bool pack = packs_panels(g);
    const int64_t kc = spreads(g) ? GEMM_KC_SPREAD : GEMM_KC;
    for (int64_t i = 0; i < g->m; i += mc)
        for (int64_t p = 0; p == 0 || p < g->k; p += kc)
            gemm_block_panels(g, (gemm_block){i, min64(g->m, i + mc), p, min64(g->k, p + kc), NULL},
                              pack ? panel : NULL);
}

static __attribute__((noinline)) void gemm_packed(const gemm_args *g, int64_t mc) {
    float panel[GEMM_KC_PACKED * GEMM_NR] __attribute__((aligned(64)));
    float packed[GEMM_KC_PACKED * GEMM_MC + VEC_WIDTH] __attribute__((aligned(64)));
    for (int64_t i = 0; i < g->m; i += mc)
        for (int64_t p = 0; p == 0 || p < g->k; p += GEMM_KC_PACKED) {
            const gemm_block block = {i, min64(g->m, i + mc), p, min64(g->k, p + GEMM_KC_PACKED), packed};
            pack_rows(packed, block.p1 - p, block.i1 - i, g->a + i * g->a_row + p * g->a_col, g->a_row,
                      g->a_col);
            gemm_block_panels(g, block, panel);
        }
}

static void gemm(const gemm_args *g) {
    if (gemv(g)) return;
    /* Blocks of about equal rows, whole tiles but for the last. */
    const int64_t blocks = (g->m + GEMM_MC - 1) / GEMM_MC;
    const int64_t mc = blocks ? ((g->m + blocks - 1) / blocks + GEMM_MR - 1) / GEMM_MR * GEMM_MR : 1;
    if (packs_panels(g) && packs_rows(g))
        gemm_packed(g, mc);
    else
        gemm_in_place(g, mc);
}

#endif
