/* The matrix product whose operands are rounded to bfloat16; bf16.h says to which bits. Two ways to them:
 *
 * With AVX512_BF16, blocks of A and B are rounded and packed in pairs of k, and a tile of 12 rows and two vectors takes a
 * pair a step, all its sums in registers. Elsewhere, rounded copies of blocks go through float32's own kernel. */
#ifndef SAMPO_TENSOR_GEMM_BF16_H
#define SAMPO_TENSOR_GEMM_BF16_H

#ifdef __AVX512BF16__
#include "tensor/kernels/gemm_pairs.h"
#else
#include "tensor/kernels/bf16.h"
#include "tensor/kernels/gemm.h"

/* ---- Rounded copies -------------------------------------------------------------------------------- */

enum {
    BF16_MC = 96, /* rows of A, and */
    BF16_NC =
        192, /* columns of B that are rounded at once: 119 and 221 KiB of stack beside what gemm takes */
    BF16_APART =
        16 /* between runs of a copy: a cache line, so that those of a power of two do not share their sets */
};

/* One operand's block: k steps of `count` rows of A or columns of B. */
typedef struct bf16_block {
    const float *x;
    int64_t step, apart; /* from one step, and from one row or column, to the next */
} bf16_block;

/* A run of n numbers whose neighbours are steps of k: each two change places, and zero follows the last odd one. */
static void round_steps(float *to, int64_t n, const float *x, int64_t step) {
    int64_t p = 0;
    for (; step == 1 && p + VEC_WIDTH <= n; p += VEC_WIDTH) {
        const vecu_pairs pairs = (vecu_pairs)bf16_round(vec_load(x + p));
        vec_store(to + p, (vec)(pairs << 32 | pairs >> 32));
    }
    for (; p < n; p += 2) {
        to[p + 1] = bf16_round_one(x[p * step]);
        to[p] = p + 1 < n ? bf16_round_one(x[(p + 1) * step]) : 0;
    }
}

/* A run of n numbers of one step. */
static void round_step(float *to, int64_t n, const float *x) {
    int64_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(to + i, (vec)bf16_round(vec_load(x + i)));
    if (i < n) vec_store_part(to + i, (vec)bf16_round(vec_load_part(x + i, n - i)), n - i);
}

/* The copy, whose runs are those of the original. */
static bf16_block round_block(float *to, int64_t k, int64_t count, bf16_block from) {
    if (from.apart != 1 || from.step == 1) {
        const bf16_block copy = {to, 1, BF16_KC + BF16_APART};
        for (int64_t i = 0; i < count; i++)
            round_steps(to + i * copy.apart, k, from.x + i * from.apart, from.step);
        return copy;
    }
    const bf16_block copy = {to, count + BF16_APART, 1};
    for (int64_t p = 0; p < k; p++) round_step(to + (p ^ 1) * copy.step, count, from.x + p * from.step);
    if (k & 1) memset(to + (k - 1) * copy.step, 0, (size_t)count * sizeof *to);
    return copy;
}

/* The columns j..j+n-1 over k steps of the chains, which begin at step p. */
static void bf16_columns(const gemm_args *g, int64_t j, int64_t n, int64_t p, int64_t k, float *copy_a,
                         float *copy_b) {
    const bf16_block b =
        round_block(copy_b, k, n, (bf16_block){g->b + p * g->b_row + j * g->b_col, g->b_row, g->b_col});
    for (int64_t i = 0; i < g->m; i += BF16_MC) {
        gemm_args part = {.m = min64(BF16_MC, g->m - i), .n = n, .k = even(k)};
        const bf16_block a = round_block(
            copy_a, k, part.m, (bf16_block){g->a + i * g->a_row + p * g->a_col, g->a_col, g->a_row});
        part.a = a.x, part.a_row = a.apart, part.a_col = a.step;
        part.b = b.x, part.b_row = b.step, part.b_col = b.apart;
        part.c = g->c + i * g->c_row + j * g->c_col, part.c_row = g->c_row, part.c_col = g->c_col;
        part.start = part.c, part.start_row = g->c_row, part.start_col = g->c_col;
        if (p == 0) {
            part.start = g->start ? g->start + i * g->start_row + j * g->start_col : NULL;
            part.start_row = g->start_row, part.start_col = g->start_col;
        }
        gemm(&part);
    }
}

static void gemm_bf16(const gemm_args *g) {
    float copy_a[(BF16_KC + BF16_APART) * (BF16_MC + BF16_APART)] __attribute__((aligned(64)));
    float copy_b[(BF16_KC + BF16_APART) * (BF16_NC + BF16_APART)] __attribute__((aligned(64)));
    const uint64_t before = flush_begin();
    for (int64_t p = 0; p == 0 || p < g->k; p += BF16_KC)
        for (int64_t j = 0; j < g->n; j += BF16_NC)
            bf16_columns(g, j, min64(BF16_NC, g->n - j), p, min64(BF16_KC, g->k - p), copy_a, copy_b);
    flush_end(before);
}
#endif

#endif
