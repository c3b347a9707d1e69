/* Sine and cosine, with an angle that is reduced rightly for every float: 1.6 ulp [1.6]. */
#ifndef SAMPO_TENSOR_TRIGONOMETRY_H
#define SAMPO_TENSOR_TRIGONOMETRY_H

#include "tensor/kernels/half.h"
#include "tensor/kernels/math.h"

/* From here on the product of k and the high part of pi/2 would no longer be exact in double. */
#define ANGLE_LARGE 0x1p20f

/* |x| = k pi/2 + r with r in [-pi/4, pi/4]: k and r as floats. The high part of pi/2 has 33 bits. */
static inline vech half_angle(vech x, vech *k) {
    const vecd size = __builtin_convertvector(x, vecd);
    const vecd n = (size * 0x1.45f306dc9c883p-1 + 0x1.8p52) - 0x1.8p52;
    *k = __builtin_convertvector(n, vech);
    return __builtin_convertvector((size - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34, vech);
}

/* The same for one x >= 2^20, k modulo 4, after Payne and Hanek (1983): of 2/pi only those bits count that x's place in
 * the number line does not make a multiple of 4. x is m 2^e with an integer m; 96 bits of 2/pi from the one on whose
 * product with 2^e is 2 give k in the upper two bits, and r behind them with 60 bits. */
static float large_angle(float x, float *k) {
    static const uint32_t two_over_pi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                           0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t m = (bits & 0x7fffff) | 0x800000;
    const int first = (int)(bits >> 23 & 255) - 150 + 30; /* of the table's bits, which begin with 32 zeros */
    uint64_t window[3];
    for (int i = 0; i < 3; i++) {
        const uint64_t two = (uint64_t)two_over_pi[first / 32 + i] << 32 | two_over_pi[first / 32 + i + 1];
        window[i] = two << first % 32 >> 32;
    }
    const uint64_t product = ((m * window[0]) << 32) + m * window[1] + (m * window[2] >> 32);
    const uint64_t quarter = (product + ((uint64_t)1 << 61)) >> 62;
    *k = (float)(quarter & 3);
    return (float)((double)(int64_t)(product - (quarter << 62)) * 0x1.921fb54442d18p-62);
}

/* Lanes of which one is large: those that are not finite become NaN. */
static __attribute__((noinline)) void large_angles(vec *r, vec *k, vec size) {
    for (int i = 0; i < VEC_WIDTH; i++) {
        float quarter = 0;
        if (size[i] >= ANGLE_LARGE) {
            (*r)[i] = size[i] < __builtin_inff() ? large_angle(size[i], &quarter) : size[i] - size[i];
            (*k)[i] = quarter;
        }
    }
}

/* sin(x + quarters pi/2), with the sign of x for the sine of |x|. */
static inline vec sine_of(vec x, int32_t quarters) {
    const vec size = vec_abs(x);
    vech part[2] = {HALVES(__builtin_shufflevector, size, size)}, turn[2];
    for (int i = 0; i < 2; i++) part[i] = half_angle(part[i], &turn[i]);
    vec r = HALF_JOIN(part[0], part[1]), k = HALF_JOIN(turn[0], turn[1]);
    if (vec_any(size >= vec_splat(ANGLE_LARGE))) large_angles(&r, &k, size);

    const vec u = r * r;
    vec s = horner(vec_splat(-0x1.9954p-13f), u, 0x1.110778p-7f);
    s = horner(s, u, -0x1.555546p-3f);
    s = vec_fma(u * r, s, r);
    vec c = horner(vec_splat(0x1.99e80cp-16f), u, -0x1.6c0c28p-10f);
    c = horner(c, u, 0x1.55554ap-5f);
    c = vec_fma(u * u, c, horner(vec_splat(-0.5f), u, 1));

    const veci quarter = ((veci)(k + MATH_MAGIC) & 3) + quarters; /* the low bits of 1.5 2^23 are 0 */
    const vec y = vec_select((quarter & 1) == 1, c, s);
    return (vec)((veci)y ^ (quarter & 2) << 30);
}

static inline vec vec_sin(vec x) {
    return (vec)((veci)sine_of(x, 0) ^ ((veci)x & ~0x7fffffff));
}

static inline vec vec_cos(vec x) {
    return sine_of(x, 1);
}

#endif
