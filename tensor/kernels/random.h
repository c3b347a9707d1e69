/* Philox 4x32-10 (Salmon et al. 2011), as tensor/ops/random.c has it for one counter, for neighbouring counters side by
 * side; and the mask that dropout makes of its words. */
#ifndef SAMPO_TENSOR_RANDOM_H
#define SAMPO_TENSOR_RANDOM_H

#include "tensor/kernels/copy.h"
#include "tensor/kernels/half.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/math.h"

/* x times m in full, of the low halves of each 64 bits. */
static inline vecdu wide_product(vecdu x, uint32_t m) {
#if defined(__AVX512F__)
    return (vecdu)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(m));
#elif defined(__AVX2__)
    return (vecdu)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(m));
#elif defined(__aarch64__)
    return (vecdu)vmull_u32(vmovn_u64((uint64x2_t)x), vdup_n_u32(m));
#else
    return (x & 0xffffffffu) * m;
#endif
}

/* The high halves of x m; the low ones are x * m. */
static inline vecu high_product(vecu x, uint32_t m) {
    const vecdu even = wide_product((vecdu)x, m), odd = wide_product((vecdu)x >> 32, m);
    return (vecu)((even >> 32) | (odd & 0xffffffff00000000u));
}

/* The four words of VEC_WIDTH counters. */
typedef struct philox_words {
    vecu w[4];
} philox_words;

/* The counters from `counter` on. */
static inline philox_words philox_begin(uint64_t stream, uint64_t counter) {
    const vecu zero = {0}, low = (vecu)lane_numbers(0) + (uint32_t)counter;
    const vecu carry = (vecu)(low < zero + (uint32_t)counter); /* -1 where there is one */
    return (philox_words){
        {low, (uint32_t)(counter >> 32) - carry, zero + (uint32_t)stream, zero + (uint32_t)(stream >> 32)}};
}

static inline philox_words philox_round(philox_words c, uint32_t key0, uint32_t key1) {
    const vecu high0 = high_product(c.w[0], 0xD2511F53u), high1 = high_product(c.w[2], 0xCD9E8D57u);
    return (philox_words){
        {high1 ^ c.w[1] ^ key0, c.w[2] * 0xCD9E8D57u, high0 ^ c.w[3] ^ key1, c.w[0] * 0xD2511F53u}};
}

/* Words in the order of the counters, `blocks` at most. */
static inline void philox_store(int64_t blocks, uint32_t *words, philox_words c) {
    float from[4][VEC_WIDTH];
    memcpy(from, &c, sizeof from);
    if (blocks > 0)
        transpose(blocks < VEC_WIDTH ? blocks : VEC_WIDTH, 4, (float *)(void *)words, 4, from[0], VEC_WIDTH);
}

/* Two vectors of counters side by side: each round waits for the one before. */
static void philox_blocks(int64_t blocks, uint32_t *words, uint64_t seed, uint64_t stream, uint64_t counter) {
    for (int64_t i = 0; i < blocks; i += 2 * VEC_WIDTH) {
        philox_words a = philox_begin(stream, counter + (uint64_t)i);
        philox_words b = philox_begin(stream, counter + (uint64_t)i + VEC_WIDTH);
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) {
            a = philox_round(a, key0, key1);
            b = philox_round(b, key0, key1);
            key0 += 0x9E3779B9u; /* golden ratio */
            key1 += 0xBB67AE85u; /* sqrt 3 - 1 */
        }
        philox_store(blocks - i, words + 4 * i, a);
        philox_store(blocks - i - VEC_WIDTH, words + 4 * (i + VEC_WIDTH), b);
    }
}

static void dropout_mask(int64_t n, float *out, const uint32_t *words, uint32_t dropped, float kept) {
    for (int64_t i = 0; i < n; i += VEC_WIDTH) {
        const float *at = (const float *)(const void *)(words + i);
        const bool whole = n - i >= VEC_WIDTH;
        const vecu word = (vecu)(whole ? vec_load(at) : vec_load_part(at, n - i));
        const vec mask = (vec)((vecu)(word >= dropped - (vecu){0}) & (vecu)vec_splat(kept));
        if (whole)
            vec_store(out + i, mask);
        else
            vec_store_part(out + i, mask, n - i);
    }
}

#endif
