/* Powers and their slopes, in double. */
#ifndef SAMPO_TENSOR_POWER_H
#define SAMPO_TENSOR_POWER_H

#include "tensor/kernels/half.h"

/* log2 of a > 0, 5e-14 relative: a = 2^k m with m in [sqrt 1/2, sqrt 2), log2 m = s P(s^2) with
 * s = (m - 1) / (m + 1). k goes to double through the low bits of 2^52. */
static inline vecd log2_double(vecd a) {
    const vecdu shifted = (vecdu)a - 0x3fe6a09e667f3bcdu + 0x3ff0000000000000u;
    const vecd k = (vecd)((shifted >> 52) | 0x4330000000000000u) - (0x1p52 + 1023);
    const vecd m = (vecd)((vecdu)a - (shifted & 0xfff0000000000000u) + 0x3ff0000000000000u);
    const vecd s = (m - 1) / (m + 1), u = s * s;
    vecd p = double_horner((vecd){0} + 0x1.21b12924fabddp-2, u, 0x1.4795520b4c38dp-2);
    p = double_horner(p, u, 0x1.a61a2ee24d443p-2);
    p = double_horner(p, u, 0x1.2776c29321737p-1);
    p = double_horner(p, u, 0x1.ec709dc53c7edp-1);
    p = double_horner(p, u, 0x1.71547652b8251p+1);
    return s * p + k;
}

/* 2^y for |y| <= 1000, 2e-10 relative; NaN stays NaN. */
static inline vecd exp2_double(vecd y) {
    const vecd t = y + 0x1.8p52, r = y - (t - 0x1.8p52);
    vecd p = double_horner((vecd){0} + 0x1.05a0649ee470cp-16, r, 0x1.44879c5061481p-13);
    p = double_horner(p, r, 0x1.5d850d0a48714p-10);
    p = double_horner(p, r, 0x1.3b29c22c0f27ep-7);
    p = double_horner(p, r, 0x1.c6b0865e48b3bp-5);
    p = double_horner(p, r, 0x1.ebfbe0a64a59ep-3);
    p = double_horner(p, r, 0x1.62e42ffc8c5d3p-1);
    p = double_horner(p, r, 0x1.ffffffffabbccp-1);
    return p * (vecd)(((vecdu)t + 1023) << 52);
}

/* log2 |a|. */
static inline vecd log2_size(vech a) {
    const vecd size = __builtin_convertvector((vech)((vechi)a & 0x7fffffff), vecd);
    const vecd log = double_select((vecdu)(size == 0), (vecd){0} - __builtin_inf(), log2_double(size));
    return double_select((vecdu)(size == __builtin_inf()), size, log);
}

/* a^(b - less) with the special cases of C's powf (C17 F.10.4.4); less: 0 or 1; 0.51 ulp. */
static inline vech half_pow(vech a, vech b, float less) {
    const vech zero = {0}, one = zero + 1, inf = zero + __builtin_inff(), nan = zero + __builtin_nanf("");
    const vech size_b = (vech)((vechi)b & 0x7fffffff);

    const vecd top = (vecd){0} + 200;
    vecd y = (__builtin_convertvector(b, vecd) - less) * log2_size(a);
    y = double_select((vecdu)(y > top), top, y);
    y = double_select((vecdu)(y < -top), -top, y);
    vech p = __builtin_convertvector(exp2_double(y), vech);

    /* Below 2^23 a number plus 2^23 has its units in bit 0; from 2^24 on all are even. */
    const vechi whole = size_b >= zero + 0x1p23f;
    const vech units = half_select(whole, size_b, size_b + 0x1p23f);
    const vechi integer = whole | (units - 0x1p23f == size_b);
    const vechi odd_b = (size_b < zero + 0x1p24f) & -((vechi)units & 1);
    const vechi odd = integer & (size_b < inf) & (less > 0 ? ~odd_b : odd_b);
    p = (vech)((vechi)p ^ (odd & (vechi)a & ~0x7fffffff));
    p = half_select((a < zero) & (a > -inf) & ~integer, nan, p);
    p = half_select((a != a) | (b != b), a + b, p);
    return half_select((b == zero + less) | (a == one) | ((a == -one) & (size_b == inf)), one, p);
}

/* d a^b / da = b a^(b-1), 0 where b is. */
static inline vech half_pow_base_slope(vech a, vech b) {
    const vech zero = {0};
    return half_select(b == zero, zero, b * half_pow(a, b, 1));
}

/* d a^b / db = a^b log a, 0 where a is and b is not below. */
static inline vech half_pow_exponent_slope(vech a, vech b) {
    const vech zero = {0}, nan = zero + __builtin_nanf("");
    const vech log = __builtin_convertvector(log2_size(a) * 0x1.62e42fefa39efp-1, vech);
    const vech slope = half_pow(a, b, 0) * half_select(a >= zero, log, nan);
    return half_select((a == zero) & (b >= zero), zero, slope);
}

#endif
