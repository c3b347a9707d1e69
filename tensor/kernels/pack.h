/* Copies of a matrix product's operands in the order in which its tiles read them: B in panels [k][GEMM_NR], A in groups
 * [k][GEMM_MR] one after the other. Whoever packs and whoever reads cuts alike: `piece`. */
#ifndef SAMPO_TENSOR_PACK_H
#define SAMPO_TENSOR_PACK_H

#include "tensor/kernels/vec.h"

/* A tile has as many accumulators as the register file holds beside its vectors of B and one of A. Wide tiles load
 * least for each multiply-add: 4 x 3 vectors take 7 loads for 12, 6 x 2 take 8. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { GEMM_NV = 2, GEMM_ACCS = 24 };
#else
enum { GEMM_NV = 3, GEMM_ACCS = 12 };
#endif
enum {
    GEMM_MR = 12, /* the most rows of a tile, a multiple of all others */
    GEMM_NR = GEMM_NV * VEC_WIDTH
};

/* The next of the pieces that `left` rows or vectors are cut into: `most`, but the last two about alike, as a tile with
 * few accumulators waits for each. */
static inline int64_t piece(int64_t left, int64_t most) {
    return left > most && left < 2 * most ? (left + 1) / 2 : min64(left, most);
}

/* From one group of k steps to the next. */
static inline int64_t group_stride(int64_t k) {
    return GEMM_MR * k;
}

/* Both operands' numbers for each group of four lanes; 4 and above: of the second one. */
#define LANE(i, four) ((i) < 4 ? 4 * (four) + (i) : VEC_WIDTH + 4 * (four) + (i)-4)
#define FOUR(a, b, c, d, four) LANE(a, four), LANE(b, four), LANE(c, four), LANE(d, four)
#if VEC_WIDTH == 16
#define FOURS(x, y, a, b, c, d)                                                                              \
    __builtin_shufflevector(x, y, FOUR(a, b, c, d, 0), FOUR(a, b, c, d, 1), FOUR(a, b, c, d, 2),             \
                            FOUR(a, b, c, d, 3))
#elif VEC_WIDTH == 8
#define FOURS(x, y, a, b, c, d) __builtin_shufflevector(x, y, FOUR(a, b, c, d, 0), FOUR(a, b, c, d, 1))
#else
#define FOURS(x, y, a, b, c, d) __builtin_shufflevector(x, y, FOUR(a, b, c, d, 0))
#endif

/* Four numbers each from x + at[0], x + at[apart] and so on, as many as a vector holds. */
static inline vec gather_fours(const float *x, const int64_t *at, const int apart) {
#define FROM(i) (*(const lanes4_unaligned *)(x + at[(i)*apart]))
#if VEC_WIDTH == 4
    return FROM(0);
#else
    const lanes8 low = __builtin_shufflevector(FROM(0), FROM(1), 0, 1, 2, 3, 4, 5, 6, 7);
#if VEC_WIDTH == 8
    return low;
#else
    const lanes8 high = __builtin_shufflevector(FROM(2), FROM(3), 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
#endif
#undef FROM
}

/* out[p][i] = x[at[i] + p] for four p. */
static inline void transpose_vec(vec out[4], const float *x, const int64_t at[VEC_WIDTH]) {
    const vec r0 = gather_fours(x, at, 4), r1 = gather_fours(x, at + 1, 4);
    const vec r2 = gather_fours(x, at + 2, 4), r3 = gather_fours(x, at + 3, 4);
    const vec lo01 = FOURS(r0, r1, 0, 4, 1, 5), hi01 = FOURS(r0, r1, 2, 6, 3, 7);
    const vec lo23 = FOURS(r2, r3, 0, 4, 1, 5), hi23 = FOURS(r2, r3, 2, 6, 3, 7);
    out[0] = FOURS(lo01, lo23, 0, 1, 4, 5);
    out[1] = FOURS(lo01, lo23, 2, 3, 6, 7);
    out[2] = FOURS(hi01, hi23, 0, 1, 4, 5);
    out[3] = FOURS(hi01, hi23, 2, 3, 6, 7);
}

/* One vector of n <= VEC_WIDTH columns; the last one stands in for those that are missing. */
static void pack_vec(float *to, int64_t k, int64_t n, int64_t to_row, const float *b, int64_t b_row,
                     int64_t b_col) {
    int64_t at[VEC_WIDTH], p = 0;
    for (int64_t i = 0; i < VEC_WIDTH; i++) at[i] = min64(i, n - 1) * b_col;
    if (b_col == 1 && n == VEC_WIDTH)
        for (; p < k; p++) vec_store(to + p * to_row, vec_load(b + p * b_row));
    for (; b_col == 1 && p < k; p++) vec_store(to + p * to_row, vec_load_part(b + p * b_row, n));
    for (; b_row == 1 && p + 4 <= k; p += 4) {
        vec rows[4];
        transpose_vec(rows, b + p, at);
        for (int r = 0; r < 4; r++) vec_store(to + (p + r) * to_row, rows[r]);
    }
    for (; p < k; p++)
        for (int64_t i = 0; i < VEC_WIDTH; i++) to[p * to_row + i] = b[p * b_row + at[i]];
}

/* Copies k rows of n <= GEMM_NR columns of B to a panel, whose last vector may end in numbers of no meaning. */
static void pack_panel(float *panel, int64_t k, int64_t n, const float *b, int64_t b_row, int64_t b_col) {
    if (b_col == 1 && n == GEMM_NR)
        for (int64_t p = 0; p < k; p++, b += b_row, panel += GEMM_NR)
            for (int v = 0; v < GEMM_NR; v += VEC_WIDTH) vec_store(panel + v, vec_load(b + v));
    else
        for (int64_t j = 0; j < n; j += VEC_WIDTH)
            pack_vec(panel + j, k, min64(VEC_WIDTH, n - j), GEMM_NR, b + j * b_col, b_row, b_col);
}

/* Copies k steps of rows of A to groups. Where steps are neighbours, vectors of rows are transposed, and the last one may
 * end in numbers of no meaning, up to a vector behind the groups. Otherwise it goes step by step, as steps that are copied
 * lie far apart and rows are neighbours. */
static void pack_rows(float *groups, int64_t k, int64_t rows, const float *a, int64_t a_row, int64_t a_col) {
    if (a_col == 1) {
        for (int64_t left = rows, n; left > 0; left -= n, a += n * a_row, groups += group_stride(k)) {
            n = piece(left, GEMM_MR);
            for (int64_t r = 0; r < n; r += VEC_WIDTH)
                pack_vec(groups + r, k, min64(VEC_WIDTH, n - r), GEMM_MR, a + r * a_row, 1, a_row);
        }
        return;
    }
    for (int64_t p = 0; p < k; p++, a += a_col, groups += GEMM_MR) {
        const float *from = a;
        float *to = groups;
        for (int64_t left = rows, n; left > 0; left -= n, from += n * a_row, to += group_stride(k)) {
            n = piece(left, GEMM_MR);
            if (a_row == 1 && left >= GEMM_MR)
                memcpy(to, from, GEMM_MR * sizeof *to);
            else
                for (int64_t r = 0; r < n; r++) to[r] = from[r * a_row];
        }
    }
}

#endif
