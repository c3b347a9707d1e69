/* The vector types that kernels are written in: portable GCC/Clang vector extensions of the width that
 * the instruction set at hand has. Elementwise work and matrix products do not depend on the width;
 * reductions always use 16 lanes (`lanes`), so that every instruction set adds in the same order. */
#ifndef SAMPO_TENSOR_VEC_H
#define SAMPO_TENSOR_VEC_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define VEC_WIDTH 16
#elif defined(__AVX__)
#define VEC_WIDTH 8
#else
#define VEC_WIDTH 4
#endif

typedef float vec __attribute__((vector_size(4 * VEC_WIDTH)));
typedef int32_t veci __attribute__((vector_size(4 * VEC_WIDTH)));
typedef float vec_unaligned __attribute__((vector_size(4 * VEC_WIDTH), aligned(4), may_alias));

static inline vec vec_load(const float *p) {
    return *(const vec_unaligned *)p;
}
static inline void vec_store(float *p, vec v) {
    *(vec_unaligned *)p = v;
}
/* vec_load where memory is read once and written beside, as elementwise work does. Zen 4 lets a load of 64 bytes wait for
 * an earlier store whose address differs from its own by whole pages, and neighbours in an arena often lie so; loads of 32
 * bytes pass by. From the second-level cache that takes a quarter of the time of a pass. */
static inline vec vec_stream(const float *p) {
#if defined(__AVX512F__)
    vec v = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    /* Written as a load and an insertion, both would be one load of 64 bytes in clang's hands. */
    __asm__("vinsertf64x4 $1, %1, %0, %0" : "+v"(v) : "m"(*(const __m256_u *)(p + VEC_WIDTH / 2)));
    return v;
#else
    return vec_load(p);
#endif
}
static inline vec vec_splat(float x) {
    return x - (vec){0};
}

/* x y + z, rounded once where the instruction set can; elsewhere twice. */
static inline vec vec_fma(vec x, vec y, vec z) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(x, y, z);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(x, y, z);
#elif defined(__aarch64__)
    return vfmaq_f32(z, x, y);
#else
    return x * y + z;
#endif
}

/* The same in the form that overwrites the sum and takes all from registers: left to itself gcc 12 also overwrites
 * factors, copies and loads twice, which costs a matrix product a tenth of its speed. */
static inline vec vec_accumulate(vec x, vec y, vec sum) {
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
#elif defined(__FMA__)
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y));
    return sum;
#else
    return vec_fma(x, y, sum);
#endif
}

/* The same with y in memory, for a y that is used once: it takes no load of its own. */
static inline vec vec_accumulate_at(vec x, const float *y, vec sum) {
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "m"(*(const vec_unaligned *)y));
    return sum;
#elif defined(__FMA__)
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "m"(*(const vec_unaligned *)y));
    return sum;
#else
    return vec_fma(x, vec_load(y), sum);
#endif
}

/* Sixteen lanes in as many vectors as the width needs. */
enum { LANES = 16, LANE_VECS = LANES / VEC_WIDTH };
typedef struct lanes {
    vec v[LANE_VECS];
} lanes;

/* Copies n < 16 elements in pieces of fixed sizes: a memcpy of unknown size is a call. */
static inline void copy_part(float *to, const float *from, int64_t n) {
    int64_t i = 0;
    if (n & 8) memcpy(to, from, 8 * sizeof(float)), i = 8;
    if (n & 4) memcpy(to + i, from + i, 4 * sizeof(float)), i += 4;
    if (n & 2) memcpy(to + i, from + i, 2 * sizeof(float)), i += 2;
    if (n & 1) to[i] = from[i];
}

/* The first n < VEC_WIDTH elements, the rest 0. Loading a vector that was stored in pieces waits for all of them, so
 * that the tail of a row of 51 elements takes as long as the rest; masked loads take no time. */
static inline vec vec_load_part(const float *p, int64_t n) {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
    const veci index = {0, 1, 2, 3, 4, 5, 6, 7};
    return _mm256_maskload_ps(p, (__m256i)(index < (int32_t)n));
#else
    float v[LANES] = {0};
    copy_part(v, p, n);
    return vec_load(v);
#endif
}
static inline void vec_store_part(float *p, vec v, int64_t n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
#elif defined(__AVX2__)
    /* In pieces: AMD's processors take some forty steps for a masked store. */
    __m128 four = _mm256_castps256_ps128(v);
    if (n & 4) _mm_storeu_ps(p, four), p += 4, four = _mm256_extractf128_ps(v, 1);
    if (n & 2) _mm_storel_pi((__m64 *)p, four), p += 2, four = _mm_movehl_ps(four, four);
    if (n & 1) _mm_store_ss(p, four);
#else
    float from[LANES] = {0};
    vec_store(from, v);
    copy_part(p, from, n);
#endif
}

/* mask ? a : b, where mask is the result of a vector comparison (all bits or none). */
static inline vec vec_select(veci mask, vec a, vec b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return _mm256_blendv_ps(b, a, (vec)mask); /* one operation for three */
#endif
    return (vec)((mask & (veci)a) | (~mask & (veci)b));
}

/* Whether a lane of a mask is set. */
static inline int vec_any(veci mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX__)
    return _mm256_movemask_ps((vec)mask) != 0;
#else
    uint64_t two[VEC_WIDTH / 2], all = 0;
    memcpy(two, &mask, sizeof two);
    for (int i = 0; i < VEC_WIDTH / 2; i++) all |= two[i];
    return all != 0;
#endif
}

/* x, or `low` where x is below it; NaN stays NaN, and of equals x is taken. x86's maximum is that comparison. */
static inline vec vec_at_least(vec x, vec low) {
#if defined(__AVX512F__)
    return _mm512_max_ps(low, x);
#elif defined(__AVX__)
    return _mm256_max_ps(low, x);
#else
    return vec_select(x < low, low, x);
#endif
}
/* x, or `high` where x is above it, likewise. */
static inline vec vec_at_most(vec x, vec high) {
#if defined(__AVX512F__)
    return _mm512_min_ps(high, x);
#elif defined(__AVX__)
    return _mm256_min_ps(high, x);
#else
    return vec_select(x > high, high, x);
#endif
}

/* Half and a quarter of the lanes, where these are folded. */
typedef float lanes8 __attribute__((vector_size(32)));
typedef float lanes4 __attribute__((vector_size(16)));

/* vec_fma of a quarter. */
static inline lanes4 lanes4_fma(lanes4 x, lanes4 y, lanes4 z) {
#if defined(__FMA__)
    return _mm_fmadd_ps(x, y, z);
#elif defined(__aarch64__)
    return vfmaq_f32(z, x, y);
#else
    return x * y + z;
#endif
}

typedef float lanes4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* out[i][j] = bj[i] for 4 x 4 elements. */
static inline void transpose_4x4(lanes4 out[4], const float *b0, const float *b1, const float *b2,
                                 const float *b3) {
    const lanes4 r0 = *(const lanes4_unaligned *)b0, r1 = *(const lanes4_unaligned *)b1;
    const lanes4 r2 = *(const lanes4_unaligned *)b2, r3 = *(const lanes4_unaligned *)b3;
    const lanes4 lo01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5),
                 hi01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const lanes4 lo23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
                 hi23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(lo01, lo23, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(lo01, lo23, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(hi01, hi23, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(hi01, hi23, 2, 3, 6, 7);
}

/* Adds the sixteen lanes in a fixed tree: i with i + 8, then + 4, 2, 1. The first half of it leaves four. */
static inline lanes4 lanes_sum_four(lanes a) {
    lanes8 eight[2];
    memcpy(eight, &a, sizeof eight);
    eight[0] += eight[1];
    lanes4 four[2];
    memcpy(four, eight, sizeof four);
    return four[0] + four[1];
}
static inline float lanes_sum(lanes a) {
    const lanes4 four = lanes_sum_four(a);
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* A loop that leaves no loop, so that the vectors of an array are registers: clang gives up on large ones. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

static inline int64_t vectors_of(int64_t columns) {
    return (columns + VEC_WIDTH - 1) / VEC_WIDTH;
}

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

#endif
