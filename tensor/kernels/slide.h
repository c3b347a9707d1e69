/* Products of weights with windows over an image that are read where they lie: a row of the matrix that a convolution
 * multiplies is what one tap shows of all windows, and along a row of windows these are neighbours in the image. So a
 * tile of results reads the image itself, with a table of where each tap lies, and nothing is copied for each tap.
 * The chains are those of gemm.h: fused multiply-adds over ascending taps. */
#ifndef SAMPO_TENSOR_SLIDE_H
#define SAMPO_TENSOR_SLIDE_H

#include "tensor/kernels/gemm.h"

#if defined(__AVX512F__) || defined(__aarch64__)
#define EACH_SLIDE(_) EACH_MR_12(_, 2)
enum { SLIDE_MR = 12 };
#else
#define EACH_SLIDE(_) EACH_MR_6(_, 2)
enum { SLIDE_MR = 6 };
#endif
enum { SLIDE_NV = 2 };

/* A tile: rows of weights by two vectors of windows, which lie anywhere. */
typedef struct slide_tile {
    int64_t k;
    const float *a, *b[SLIDE_NV], *bias; /* bias NULL: sums go on from C */
    float *c[SLIDE_NV];
    int64_t a_row, c_row, bias_step;
    const int64_t *offset;
} slide_tile;

TILE slide_step(const int mr, vec *acc, const float *const *a, int64_t a_row, int64_t step,
                const float *const *b, int64_t offset) {
    vec row[SLIDE_NV];
    UNROLL
    for (int v = 0; v < SLIDE_NV; v++) row[v] = vec_load(b[v] + offset);
    tile_multiply(mr, SLIDE_NV, acc, a, a_row, step, row);
}

TILE slide_any(const int mr, const slide_tile *t) {
    vec acc[SLIDE_MR * SLIDE_NV]; /* [mr][SLIDE_NV] */
    const int64_t a_row = t->a_row, *offset = t->offset;
    const float *a[TILE_BASES], *const b[SLIDE_NV] = {t->b[0], t->b[1]};
    const int bases = (mr + TILE_REACH - 1) / TILE_REACH;
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < SLIDE_NV; v++)
            acc[i * SLIDE_NV + v] =
                t->bias ? vec_splat(t->bias[i * t->bias_step]) : vec_load(t->c[v] + i * t->c_row);
    }
    UNROLL
    for (int at = 0; at < bases; at++) {
        a[at] = t->a + at * TILE_REACH * a_row;
        if (at > 0) __asm__("" : "+r"(a[at])); /* not to be found from the others */
    }
    int64_t k = t->k;
    for (; k >= 4; k -= 4, offset += 4) {
        UNROLL
        for (int step = 0; step < 4; step++) slide_step(mr, acc, a, a_row, step, b, offset[step]);
        UNROLL
        for (int at = 0; at < bases; at++) a[at] += 4;
    }
    for (; k > 0; k--, offset++) {
        slide_step(mr, acc, a, a_row, 0, b, *offset);
        UNROLL
        for (int at = 0; at < bases; at++) a[at]++;
    }
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < SLIDE_NV; v++) vec_store(t->c[v] + i * t->c_row, acc[i * SLIDE_NV + v]);
    }
}

#define SLIDE(mr, nv)                                                                                        \
    static void slide_##mr(const slide_tile *t) {                                                            \
        slide_any(mr, t);                                                                                    \
    }
EACH_SLIDE(SLIDE)
#define SLIDE_ENTRY(mr, nv) [mr] = slide_##mr,
static void (*const slide_tiles[SLIDE_MR + 1])(const slide_tile *) = {EACH_SLIDE(SLIDE_ENTRY)};

/* Two vectors of windows: where they begin, and how many of each count. */
typedef struct slide_windows {
    int64_t b[SLIDE_NV], c[SLIDE_NV], n[SLIDE_NV];
    bool whole;
} slide_windows;

static slide_windows slide_windows_at(const slide_args *t, int64_t first, int64_t vectors) {
    const int64_t in_row = vectors_of(t->windows);
    slide_windows w = {.whole = true};
    for (int v = 0; v < SLIDE_NV; v++) {
        const int64_t at = min64(first + v, vectors - 1), row = at / in_row, col = at % in_row * VEC_WIDTH;
        w.b[v] = row * t->b_next + col;
        w.c[v] = row * t->c_next + col;
        w.n[v] = min64(VEC_WIDTH, t->windows - col);
        w.whole = w.whole && w.n[v] == VEC_WIDTH;
    }
    return w;
}

/* Rows i..i+mr-1 of the tile: through one of whole vectors where C has less. */
static void slide_rows(const slide_args *t, const slide_windows *w, int64_t i, int64_t mr) {
    float room[SLIDE_NV][SLIDE_MR * VEC_WIDTH];
    slide_tile tile = {.k = t->k,
                       .a = t->a + i * t->a_row,
                       .a_row = t->a_row,
                       .offset = t->offset,
                       .bias = t->bias ? t->bias + i * t->bias_step : NULL,
                       .bias_step = t->bias_step,
                       .c_row = w->whole ? t->c_row : VEC_WIDTH};
    float *const c = t->c + i * t->c_row;
    for (int v = 0; v < SLIDE_NV; v++) {
        tile.b[v] = t->b + w->b[v];
        tile.c[v] = w->whole ? c + w->c[v] : room[v];
        for (int64_t r = 0; !t->bias && !w->whole && r < mr; r++)
            load_row(room[v] + r * VEC_WIDTH, c + r * t->c_row + w->c[v], w->n[v], 1);
    }
    slide_tiles[mr](&tile);
    for (int v = 0; !w->whole && v < SLIDE_NV; v++)
        for (int64_t r = 0; r < mr; r++)
            store_row(c + r * t->c_row + w->c[v], room[v] + r * VEC_WIDTH, w->n[v], 1);
}

static void slide(const slide_args *t) {
    const int64_t vectors = t->window_rows * vectors_of(t->windows);
    for (int64_t at = 0; at < vectors; at += SLIDE_NV) {
        const slide_windows w = slide_windows_at(t, at, vectors);
        for (int64_t i = 0, mr; i < t->rows; i += mr) {
            mr = piece(t->rows - i, SLIDE_MR);
            slide_rows(t, &w, i, mr);
        }
    }
}

#endif
