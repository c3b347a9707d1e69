/* Copies whose elements change places: words of four bytes, whatever they mean. */
#ifndef SAMPO_TENSOR_COPY_H
#define SAMPO_TENSOR_COPY_H

#include <stdint.h>

#include "tensor/kernels/vec.h"

typedef float lanes4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t __attribute__((may_alias)) copied_word;

/* Four rows of four: halves of rows are brought together, then of those. */
static inline void transpose_four(float *out, int64_t out_row, const float *x, int64_t x_row) {
    lanes4 row[4], pair[4];
    for (int i = 0; i < 4; i++) row[i] = *(const lanes4_unaligned *)(x + i * x_row);
    for (int i = 0; i < 2; i++) {
        pair[i] = __builtin_shufflevector(row[i], row[i + 2], 0, 4, 1, 5);
        pair[i + 2] = __builtin_shufflevector(row[i], row[i + 2], 2, 6, 3, 7);
    }
    for (int i = 0; i < 4; i += 2) {
        *(lanes4_unaligned *)(out + i * out_row) = __builtin_shufflevector(pair[i], pair[i + 1], 0, 4, 1, 5);
        *(lanes4_unaligned *)(out + (i + 1) * out_row) =
            __builtin_shufflevector(pair[i], pair[i + 1], 2, 6, 3, 7);
    }
}

static void fill(int64_t n, float *out, const float *x) {
    int32_t one;
    memcpy(&one, x, sizeof one); /* as a number it might be a NaN, whose bits may change */
    const vec all = (vec)(one - (veci){0});
    int64_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(out + i, all);
    if (i < n) vec_store_part(out + i, all, n - i);
}

static void transpose(int64_t rows, int64_t cols, float *out, int64_t out_row, const float *x,
                      int64_t x_row) {
    for (int64_t i = 0; i < rows; i += 4)
        for (int64_t j = 0; j < cols; j += 4) {
            if (rows - i >= 4 && cols - j >= 4) {
                transpose_four(out + i * out_row + j, out_row, x + j * x_row + i, x_row);
                continue;
            }
            for (int64_t r = i; r < rows && r < i + 4; r++)
                for (int64_t c = j; c < cols && c < j + 4; c++)
                    ((copied_word *)out)[r * out_row + c] = ((const copied_word *)x)[c * x_row + r];
        }
}

#endif
