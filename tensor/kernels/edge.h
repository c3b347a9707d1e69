/* The last columns of a matrix product where they fill no more than a quarter of a vector, as 3 of 51 do: a vector then
 * holds four columns of several rows, so that three of four multiply-adds are saved. The rows of A are read four steps at
 * a time. */
#ifndef SAMPO_TENSOR_EDGE_H
#define SAMPO_TENSOR_EDGE_H

#include "tensor/kernels/pack.h"

enum {
    EDGE_COLS = 4,
    EDGE_VECS = 8, /* of a tile: chains that hide the latency of a multiply-add */
    EDGE_ROWS = EDGE_VECS * VEC_WIDTH / EDGE_COLS
};

/* Columns of n that are an edge; 0: none, or no gain. */
static inline int64_t edge_of(int64_t n) {
    const int64_t left = n % VEC_WIDTH;
    return VEC_WIDTH > EDGE_COLS && n > VEC_WIDTH && left <= EDGE_COLS ? left : 0;
}

/* The four columns of a row of B for each row of a vector. */
static inline vec edge_columns(const float *b) {
    return gather_fours(b, (int64_t[4]){0}, 1);
}

/* c = c + a b for a tile: c[row][4], rows of A at `at`, k steps of B, b_row apart. */
static void edge_tile(float *c, int64_t k, const float *a, const int64_t at[EDGE_ROWS], const float *b,
                      int64_t b_row) {
    enum { IN_VEC = VEC_WIDTH / EDGE_COLS };
    vec acc[EDGE_VECS];
    for (int v = 0; v < EDGE_VECS; v++) acc[v] = vec_load(c + v * VEC_WIDTH);
    for (; k >= 4; k -= 4, a += 4, b += 4 * b_row) {
        const vec b0 = edge_columns(b), b1 = edge_columns(b + b_row);
        const vec b2 = edge_columns(b + 2 * b_row), b3 = edge_columns(b + 3 * b_row);
        for (int v = 0; v < EDGE_VECS; v++) {
            const vec x = gather_fours(a, at + v * IN_VEC, 1);
            acc[v] = vec_accumulate(FOURS(x, x, 0, 0, 0, 0), b0, acc[v]);
            acc[v] = vec_accumulate(FOURS(x, x, 1, 1, 1, 1), b1, acc[v]);
            acc[v] = vec_accumulate(FOURS(x, x, 2, 2, 2, 2), b2, acc[v]);
            acc[v] = vec_accumulate(FOURS(x, x, 3, 3, 3, 3), b3, acc[v]);
        }
    }
    for (; k > 0; k--, a++, b += b_row)
        for (int v = 0; v < EDGE_VECS; v++) {
            float x[VEC_WIDTH];
            for (int i = 0; i < VEC_WIDTH; i++) x[i] = a[at[v * IN_VEC + i / EDGE_COLS]];
            acc[v] = vec_accumulate(vec_load(x), edge_columns(b), acc[v]);
        }
    for (int v = 0; v < EDGE_VECS; v++) vec_store(c + v * VEC_WIDTH, acc[v]);
}

#endif
