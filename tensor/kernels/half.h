/* Vectors of double, which hold half as many elements as those of float. */
#ifndef SAMPO_TENSOR_HALF_H
#define SAMPO_TENSOR_HALF_H

#include "tensor/kernels/vec.h"

enum { HALF_WIDTH = VEC_WIDTH / 2 };
typedef float vech __attribute__((vector_size(2 * VEC_WIDTH)));
typedef int32_t vechi __attribute__((vector_size(2 * VEC_WIDTH)));
typedef double vecd __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint64_t vecdu __attribute__((vector_size(4 * VEC_WIDTH)));

static inline vech half_load(const float *p) {
    vech v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void half_store(float *p, vech v) {
    memcpy(p, &v, sizeof v);
}
static inline vech half_select(vechi mask, vech a, vech b) {
    return (vech)((mask & (vechi)a) | (~mask & (vechi)b));
}

static inline vecd double_select(vecdu mask, vecd a, vecd b) {
    return (vecd)((mask & (vecdu)a) | (~mask & (vecdu)b));
}

/* p x + c, fused as vec_fma is. */
static inline vecd double_horner(vecd p, vecd x, double c) {
    const vecd z = (vecd){0} + c;
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(p, x, z);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(p, x, z);
#elif defined(__aarch64__)
    return vfmaq_f64(z, p, x);
#else
    return p * x + z;
#endif
}

/* The two halves of a vector, and both together again. */
#if VEC_WIDTH == 16
#define HALVES(pick, a, b) pick(a, b, 0, 1, 2, 3, 4, 5, 6, 7), pick(a, b, 8, 9, 10, 11, 12, 13, 14, 15)
#define HALF_JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#elif VEC_WIDTH == 8
#define HALVES(pick, a, b) pick(a, b, 0, 1, 2, 3), pick(a, b, 4, 5, 6, 7)
#define HALF_JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#else
#define HALVES(pick, a, b) pick(a, b, 0, 1), pick(a, b, 2, 3)
#define HALF_JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3)
#endif

#endif
