/* The products that a convolution is made of, and both ways to compute them. */
#ifndef SAMPO_TENSOR_CONVOLVE_INTERNAL_H
#define SAMPO_TENSOR_CONVOLVE_INTERNAL_H

#include "tensor/kernels/kernels.h"
#include "tensor/ops/windows_internal.h"

/* Sums of each group: C[rows, windows] = bias[rows] + A[rows, k] columns[k, windows]. */
typedef struct products {
    windows_args from, to; /* where the columns come from; where results go, of one tap each */
    int64_t groups, rows, k, windows;
    int64_t from_group, to_group; /* from one group's images to the next's */
    const float *a;
    int64_t a_group, a_row;
    const float *bias;
    int64_t bias_step;
    int64_t block_rows, block_windows, row_blocks, window_blocks; /* where columns are copied */
} products;

enum {
    CONVOLVE_ROWS = 256,    /* of the matrix at once, and of results */
    CONVOLVE_ROOM = 1 << 16 /* numbers on the stack */
};

/* How many pieces of `size` n makes. */
static inline int64_t convolve_pieces(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/* How many tasks of so many multiply-adds a thread takes at least. */
static inline int64_t convolve_grain(double work) {
    enum { GRAIN = 1 << 17 };
    return work > GRAIN ? 1 : 1 + (int64_t)(GRAIN / (work + 1));
}

/* All products, reading windows where they lie; false, and nothing is done, where that would be slower. */
bool convolve_slide(const products *p);

#endif
