/* Philox 4x32-10 (Salmon et al. 2011), as tensor/ops/random.c has it for one counter, for neighbouring counters side by
 * side; and the mask that dropout makes of its words. */
#ifndef SAMPO_TENSOR_RANDOM_H
#define SAMPO_TENSOR_RANDOM_H

#include "tensor/kernels/copy.h"
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

/* Both halves of x m. */
static inline vecu product_halves(vecu x, uint32_t m, vecu *high) {
    const vecdu even = wide_product((vecdu)x, m), odd = wide_product((vecdu)x >> 32, m);
    *high = (vecu)((even >> 32) | (odd & 0xffffffff00000000u));
    return (vecu)((even & 0xffffffffu) | (odd << 32));
}

/* The words of VEC_WIDTH counters from `counter` on: word w of all of them is c[w]. */
static inline void philox_words(vecu c[4], uint64_t seed, uint64_t stream, uint64_t counter) {
    uint32_t lane[VEC_WIDTH];
    for (uint32_t i = 0; i < VEC_WIDTH; i++) lane[i] = i;
    memcpy(&c[0], lane, sizeof c[0]);
    c[0] += (uint32_t)counter;
    c[1] = (uint32_t)(counter >> 32) - (vecu)(c[0] < (uint32_t)counter - (vecu){0}); /* the carry */
    c[2] = (uint32_t)stream - (vecu){0};
    c[3] = (uint32_t)(stream >> 32) - (vecu){0};
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        vecu high0, high1;
        const vecu low0 = product_halves(c[0], 0xD2511F53u, &high0);
        const vecu low1 = product_halves(c[2], 0xCD9E8D57u, &high1);
        c[0] = high1 ^ c[1] ^ key0;
        c[2] = high0 ^ c[3] ^ key1;
        c[1] = low1;
        c[3] = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

static void philox_blocks(int64_t blocks, uint32_t *words, uint64_t seed, uint64_t stream, uint64_t counter) {
    for (int64_t i = 0; i < blocks; i += VEC_WIDTH) {
        vecu c[4];
        philox_words(c, seed, stream, counter + (uint64_t)i);
        transpose(blocks - i < VEC_WIDTH ? blocks - i : VEC_WIDTH, 4, (float *)(void *)(words + 4 * i), 4,
                  (const float *)(const void *)c, VEC_WIDTH);
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
