/* Products of bfloat16 numbers with float32 sums: what rounds, and how.
 *
 * The contract is that of VDPBF16PS (Intel's Software Developer's Manual): a step of a chain takes two neighbours of k,
 *
 *     sum = fma(a[p + 1], b[p + 1], sum);  sum = fma(a[p], b[p], sum);     p = 0, 2, 4, ...
 *
 * the odd one first, each multiply-add rounded once, to nearest, ties to even; a sum that comes in denormal counts as
 * zero, one that comes out denormal becomes zero, both with their sign; MXCSR has no say. An odd k is filled up with a
 * pair of zeros, which costs a sum of -0 its sign. Operands are rounded as VCVTNE2PS2BF16 does: to nearest, ties to even,
 * denormals to zero with their sign, a NaN is cut and made quiet; what is past the range becomes infinite.
 *
 * A product of two bfloat16 numbers is exact in float32 (8 + 8 bits), or out of its range. So the same bits come from
 * float32's own kernel where its operands hold rounded numbers, each pair's halves have changed places, and denormals
 * are flushed meanwhile (MXCSR's FTZ and DAZ; FPCR's FZ). Even the baseline, which has no fused multiply-add, then has
 * them, as long as no product alone leaves float32's range. One thing differs: x86 calls a result tiny after it was
 * rounded, ARM before. So a sum within 2^-151 below 2^-126 is 2^-126 on x86, 0 on ARM.
 *
 * Not used, as their bits are others or nothing is won: AMX's TDPBF16PS adds up the odd and the even products of a tile
 * apart and their sums at the end; ARM's BFDOT and BFMMLA round each product and each sum to odd; its BFMLALB and BFMLALT
 * are the multiply-adds above, but four at a time, as float32's. */
#ifndef SAMPO_TENSOR_BFLOAT16_H
#define SAMPO_TENSOR_BFLOAT16_H

#include "tensor/kernels/vec.h"

typedef uint32_t vecu __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint64_t vecu_pairs __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint32_t vecu_unaligned __attribute__((vector_size(4 * VEC_WIDTH), aligned(4), may_alias));

enum { BF16_KC = 256 }; /* steps of k in a block: even, so that no pair is cut */

static inline int64_t even(int64_t k) {
    return k + (k & 1);
}

/* The upper half of each element is x as bfloat16, the lower half is 0: the same number as float32. */
static inline vecu bf16_round(vec x) {
    const vecu u = (vecu)x, is_nan = (vecu)(x != x), is_tiny = (vecu)((u & 0x7f800000) == 0);
    const vecu carry = ((u >> 16) & 1) + 0x7fff;
    return ((u + (carry & ~is_nan)) | (is_nan & 0x00400000)) & ~(is_tiny & 0x7fffffff) & 0xffff0000;
}

static inline float bf16_round_one(float x) {
    const vec rounded = (vec)bf16_round(vec_splat(x));
    return rounded[0];
}

/* ---- Denormals ------------------------------------------------------------------------------------- */

/* From here on denormals are zero, before and after an operation on floats; what it was before. To and from memory, so
 * that no work on memory is moved past it. */
#if defined(__x86_64__)
static inline uint64_t flush_begin(void) {
    enum { DAZ = 1 << 6, FTZ = 1 << 15 };
    uint32_t before;
    __asm__ volatile("stmxcsr %0" : "=m"(before) : : "memory");
    const uint32_t now = before | DAZ | FTZ;
    __asm__ volatile("ldmxcsr %0" : : "m"(now) : "memory");
    return before;
}
static inline void flush_end(uint64_t before) {
    const uint32_t then = (uint32_t)before;
    __asm__ volatile("ldmxcsr %0" : : "m"(then) : "memory");
}
#elif defined(__aarch64__)
static inline uint64_t flush_begin(void) {
    const uint64_t FZ = 1 << 24;
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(before | FZ) : "memory");
    return before;
}
static inline void flush_end(uint64_t before) {
    __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}
#else
static inline uint64_t flush_begin(void) {
    return 0;
}
static inline void flush_end(uint64_t before) {
    (void)before;
}
#endif

#endif
