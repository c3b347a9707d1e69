/* Elementary functions on vectors. Each is a polynomial behind a range reduction; the coefficients are our
 * own minimax fits (Remez exchange on the relative error of the whole result, then rounded to float from
 * the lowest power up, refitting the rest each time). The errors stated are the largest seen over every
 * seventh float, in units in the last place against libm's double function; in brackets without fused
 * multiply-add.
 */
#ifndef SAMPO_TENSOR_MATH_H
#define SAMPO_TENSOR_MATH_H

#include "tensor/kernels/vec.h"

typedef uint32_t vecu __attribute__((vector_size(4 * VEC_WIDTH)));

static inline vec vec_abs(vec x) {
    return (vec)((veci)x & 0x7fffffff);
}

/* x >= 0 with the sign of s. */
static inline vec vec_signed(vec x, vec s) {
    return (vec)((veci)x | ((veci)s & ~0x7fffffff));
}

/* x within low..high; NaN stays NaN. */
static inline vec vec_clamp(vec x, float low, float high) {
    return vec_at_most(vec_at_least(x, vec_splat(low)), vec_splat(high));
}

/* A step of Horner's rule: p x + c. */
static inline vec horner(vec p, vec x, float c) {
    return vec_fma(p, x, vec_splat(c));
}

static inline vec vec_sqrt(vec x) {
    for (int i = 0; i < VEC_WIDTH; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
}

/* To the nearest integer, of two the even one, which keeps the sign of x: from 2^23 on all floats are integers. */
static inline vec vec_round(vec x) {
#if defined(__AVX512F__)
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX__)
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const vec size = vec_abs(x);
    return vec_signed(vec_select(size < vec_splat(0x1p23f), (size + 0x1p23f) - 0x1p23f, size), x);
#endif
}

static inline vec vec_floor(vec x) {
#if defined(__AVX512F__)
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX__)
    return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    const vec near = vec_round(x);
    return near - (vec)((near > x) & (veci)vec_splat(1));
#endif
}

/* 1.5 2^23: adding it to |x| < 2^22 leaves x rounded to an integer in the low bits. */
#define MATH_MAGIC 0x1.8p23f

/* Vectors that are worked on step by step together: one alone waits for each of its steps. */
enum { MATH_SIDE = 4 };

/* e^x as 2^n e^r: n = round(x / ln 2), r = x - n ln 2 in two steps, of which the first is exact (the high part of ln 2
 * has nine bits), e^r = 1 + r + r^2 p to 3.3e-9. */
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)
static inline __attribute__((always_inline)) void exp_parts_each(const int count, vec *p, vec *r,
                                                                 const vec *x, veci *n) {
    vec k[MATH_SIDE], t[MATH_SIDE];
    EACH(i, count) t[i] = horner(vec_splat(0x1.715476p0f), x[i], MATH_MAGIC);
    EACH(i, count) k[i] = t[i] - MATH_MAGIC;
    EACH(i, count) n[i] = (veci)((vecu)t[i] - 0x4b400000u); /* any number where x is far out of range */
    EACH(i, count) r[i] = vec_fma(k[i], vec_splat(-0x1.63p-1f), x[i]);
    EACH(i, count) r[i] = vec_fma(k[i], vec_splat(0x1.bd0106p-13f), r[i]);
    EACH(i, count) p[i] = horner(vec_splat(0x1.6a6284p-10f), r[i], 0x1.123852p-7f);
    EACH(i, count) p[i] = horner(p[i], r[i], 0x1.55589ap-5f);
    EACH(i, count) p[i] = horner(p[i], r[i], 0x1.555494p-3f);
    EACH(i, count) p[i] = horner(p[i], r[i], 0x1.fffffcp-2f);
}

/* e^x as p 2^n with p in [0.70, 1.42]. */
static inline __attribute__((always_inline)) void exp_reduced_each(const int count, vec *p, const vec *x,
                                                                   veci *n) {
    vec r[MATH_SIDE];
    exp_parts_each(count, p, r, x, n);
#if defined(__FMA__) || defined(__aarch64__)
    EACH(i, count) p[i] = horner(p[i], r[i], 1);
    EACH(i, count) p[i] = horner(p[i], r[i], 1);
#else
    EACH(i, count) p[i] = ((r[i] * r[i]) * p[i] + r[i]) + 1; /* one rounding less where products round */
#endif
}
static inline __attribute__((always_inline)) vec exp_reduced(vec x, veci *n) {
    vec p;
    exp_reduced_each(1, &p, &x, n);
    return p;
}

/* p 2^n in two factors. */
static inline vec exp_scaled(vec p, veci n) {
    const veci half = n >> 1;
    return p * (vec)((half + 127) << 23) * (vec)((n - half + 127) << 23);
}

/* e^x; 0.91 ulp [1.00]. The scale 2^n goes on in two factors, so that overflow gives infinity and
 * underflow rounds once, through the denormals to 0. */
static inline vec vec_exp(vec x) {
    veci n;
    const vec p = exp_reduced(vec_clamp(x, -150, 150), &n);
    return exp_scaled(p, n);
}

/* e^x - 1; 1.5 ulp [1.6]. 2^n ((e^r - 1) + (1 - 2^-n)), where e^r - 1 has its digits near 0 as well; far to the right
 * 2^-n is nothing, and no float. */
static inline vec vec_expm1(vec x) {
    const vec t = vec_clamp(x, -30, 150);
    vec p, r;
    veci n;
    exp_parts_each(1, &p, &r, &t, &n);
    const vec less = (vec)((127 - n) << 23);
    const vec rest = vec_select(t > vec_splat(40), vec_splat(1), 1 - less);
    return exp_scaled(vec_fma(r * r, p, r) + rest, n);
}

/* e^x for x within -150..0, the same: p 2^(n + 100) is exact, so that 2^-100 rounds once. */
static inline vec exp_falling(vec x) {
    veci n;
    const vec p = exp_reduced(x, &n);
    return p * (vec)(((vecu)n + 227) << 23) * 0x1p-100f;
}

/* e^-|x|, the same. */
static inline vec exp_minus_size(vec x) {
    return exp_falling(vec_at_least((vec)((veci)x | ~0x7fffffff), vec_splat(-150)));
}

/* e^x for |x| < 87, where one factor does. */
static inline vec exp_small(vec x) {
    veci n;
    const vec p = exp_reduced(x, &n);
    return p * (vec)(((vecu)n + 127) << 23);
}

/* e^x for x <= 0, and 0 where it is below 2^-125: a part of a sum that has 1 in it. p and x are different. */
static inline __attribute__((always_inline)) void exp_negative_each(const int count, vec *p, const vec *x) {
    veci n[MATH_SIDE];
    exp_reduced_each(count, p, x, n);
    EACH(i, count) n[i] = (veci)(((vecu)n[i] + 127) << 23);
    EACH(i, count) p[i] = (vec)((veci)(p[i] * (vec)n[i]) & ~(x[i] < vec_splat(-87)));
}
static inline vec exp_negative(vec x) {
    vec p;
    exp_negative_each(1, &p, &x);
    return p;
}

/* Natural logarithm; 0.92 ulp [0.93]. x = 2^k (1 + f) with |f| <= 1/3, log(1 + f) = f + f^2 q(f) with a
 * relative error of 5e-9; denormals are first scaled by 2^23. The high part of ln 2 times k is exact. */
static inline vec vec_log(vec x) {
    const veci tiny = x < vec_splat(0x1p-126f);
    const vec scaled = vec_select(tiny, x * 0x1p23f, x);
    const veci e = (veci)((vecu)scaled - 0x3f2aaaab) & ~0x7fffff;
    const vec f = (vec)((vecu)scaled - (vecu)e) - 1;
    const vec k = (vec)((((e >> 23) + (tiny & -23)) + 0x4b400000)) - MATH_MAGIC;
    vec q = horner(vec_splat(-0x1.03037ap-3f), f, 0x1.1ee68ap-3f);
    q = horner(q, f, -0x1.f56284p-4f);
    q = horner(q, f, 0x1.1eb8dep-3f);
    q = horner(q, f, -0x1.55884ep-3f);
    q = horner(q, f, 0x1.99d268p-3f);
    q = horner(q, f, -0x1.ffff6ap-3f);
    q = horner(q, f, 0x1.5555p-2f);
    q = horner(q, f, -0.5f);
    vec y = vec_fma(f * f, q, f);
    y = vec_fma(k, vec_splat(-0x1.bd0106p-13f), y);
    y = vec_fma(k, vec_splat(0x1.63p-1f), y);
    y = vec_select(x == vec_splat(0), vec_splat(-__builtin_inff()), y);
    y = vec_select(x < vec_splat(0), vec_splat(__builtin_nanf("")), y);
    return vec_select(x < vec_splat(__builtin_inff()), y, x); /* infinity and NaN stay */
}

/* log(1 + x) for x below infinity. What 1 + x rounds away comes back as the factor x / ((1 + x) - 1) (Kahan), so that
 * small x keep their digits. */
static inline vec log1p_finite(vec x) {
    const vec u = x + 1, rounded = u - 1;
    return vec_select(rounded == vec_splat(0), x, vec_log(u) * (x / rounded));
}

/* log(1 + x); 2.5 ulp [2.5]. */
static inline vec vec_log1p(vec x) {
    return vec_select(x == vec_splat(__builtin_inff()), x, log1p_finite(x));
}

/* tanh x; 1.37 ulp [1.34]. Below 0.625 x + x^3 p(x^2) with a relative error of 5e-9, above
 * 1 - 2 / (e^2|x| + 1). */
static inline vec vec_tanh(vec x) {
    const vec t = vec_at_most(vec_abs(x), vec_splat(10)), u = x * x;
    vec p = horner(vec_splat(-0x1.7567ecp-8f), u, 0x1.52095ep-6f);
    p = horner(p, u, -0x1.b83780p-5f);
    p = horner(p, u, 0x1.1106fep-3f);
    p = horner(p, u, -0x1.555532p-2f);
    const vec small = vec_fma(u * x, p, x);
    const vec large = 1 - 2 / (exp_small(t + t) + 1);
    return vec_select(t < vec_splat(0.625f), small, vec_signed(large, x));
}

/* erf x; 1.04 ulp [1.12]. Below 475/512 x + x p(x^2), above 1 - e^(t q(t) - t): q is fitted to
 * log erfc(t) up to 4, where erf rounds to 1; both with a relative error of 1e-9. */
static inline vec vec_erf(vec x) {
    const vec t = vec_at_most(vec_abs(x), vec_splat(4)), u = x * x;
    vec p = horner(vec_splat(0x1.5bfd88p-14f), u, -0x1.a9ecbap-11f);
    p = horner(p, u, 0x1.54bbe6p-8f);
    p = horner(p, u, -0x1.b80ce2p-6f);
    p = horner(p, u, 0x1.ce2decp-4f);
    p = horner(p, u, -0x1.812742p-2f);
    p = horner(p, u, 0x1.06eba8p-3f);
    const vec small = vec_fma(x, p, x);
    vec q = horner(vec_splat(-0x1.983464p-17f), t, 0x1.5bffb6p-12f);
    q = horner(q, t, -0x1.e21d56p-9f);
    q = horner(q, t, 0x1.86851cp-6f);
    q = horner(q, t, -0x1.b37c10p-4f);
    q = horner(q, t, -0x1.452c34p-1f);
    q = horner(q, t, -0x1.077eeep-3f);
    const vec large = 1 - exp_small(vec_fma(q, t, -t));
    return vec_select(t < vec_splat(0x1.dbp-1f), small, vec_signed(large, x));
}

/* 1 / (1 + e^-x); 2.41 ulp [2.41]. By e^-|x|, so that both tails keep their digits. */
static inline vec vec_sigmoid(vec x) {
    const vec e = exp_minus_size(x);
    return vec_select(x < vec_splat(0), e, vec_splat(1)) / (e + 1);
}

/* 1 / cosh x, from e^-|x|: no digits are lost where it is small. */
static inline vec vec_sech(vec x) {
    const vec e = exp_minus_size(x);
    return (e + e) / vec_fma(e, e, vec_splat(1));
}

/* dy sech^2 x; 6.1 ulp [6.1]. The factors one by one: their product may be too small for a float where dy is large. */
static inline vec vec_tanh_vjp(vec dy, vec x) {
    const vec s = vec_sech(x);
    return dy * s * s;
}

/* dy s(x) s(-x), where s(x) s(-x) = (sech(x / 2) / 2)^2; 6.1 ulp [6.1]. */
static inline vec vec_sigmoid_vjp(vec dy, vec x) {
    const vec e = exp_minus_size(x * 0.5f), s = e / vec_fma(e, e, vec_splat(1));
    return dy * s * s;
}

/* dy 2/sqrt(pi) e^(-x^2); 3.2 ulp [3.2]. The square's own rounding would cost 40: it is taken back by Dekker's product. */
static inline vec vec_erf_vjp(vec dy, vec x) {
    const vec t = vec_clamp(x, -12, 12), square = t * t;
    const vec high = (vec)((veci)t & ~0xfff), low = t - high;
    const vec rest = ((high * high - square) + (high + high) * low) + low * low;
    const vec e = exp_falling(-square);
    return dy * 0x1.20dd76p0f * vec_fma(-rest, e, e);
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). */
static inline vec vec_softplus(vec x) {
    return vec_select(x > vec_splat(0), x, vec_splat(0)) + log1p_finite(exp_minus_size(x));
}

/* The loss of a logistic unit, log(1 + e^x) - x t for a target t, with the digits of both tails. */
static inline vec vec_logistic_loss(vec x, vec t) {
    return vec_select(x > vec_splat(0), x * (1 - t), -x * t) + log1p_finite(exp_minus_size(x));
}

/* t log t - t x, which at t = 0 is 0: a class's part of the divergence of e^x from t. */
static inline vec vec_kl(vec x, vec t) {
    return vec_select(t == vec_splat(0), t, t * (vec_log(t) - x));
}

/* x / (1 + e^-x); below 5 ulp. On the left e^x as the square of e^(x/2), so that its product with x keeps its digits. */
static inline vec vec_silu(vec x) {
    const vec h = exp_minus_size(x * 0.5f), d = vec_fma(h, h, vec_splat(1));
    return vec_select(x < vec_splat(0), x * h * h, x) / d;
}

/* dy (s + x s (1 - s)), s = sigmoid(x), where s (1 - s) = e / (1 + e)^2, e = e^-|x|. */
static inline vec vec_silu_vjp(vec dy, vec x) {
    const vec e = exp_minus_size(x), d = e + 1;
    const vec s = vec_select(x < vec_splat(0), e, vec_splat(1)) / d;
    return dy * vec_fma(vec_clamp(x, -128, 128), e / (d * d), s);
}

/* The approximation of GELU by tanh (Hendrycks & Gimpel 2016): x/2 (1 + tanh u) = x sigmoid(2 u) with
 * 2 u = 2 sqrt(2/pi) (x + 0.044715 x^3), beyond +-16 as at +-16. */
static inline vec gelu_tanh_argument(vec x) {
    const vec t = vec_clamp(x, -16, 16);
    return t * horner(vec_splat(0x1.2444f2p-4f), t * t, 0x1.988454p0f);
}

static inline vec vec_gelu_tanh(vec x) {
    return x * vec_sigmoid(gelu_tanh_argument(x));
}

/* dy (s + x s (1 - s) (2 u)'), s = sigmoid(2 u), where s (1 - s) = e / (1 + e)^2, e = e^-|2 u|. */
static inline vec vec_gelu_tanh_vjp(vec dy, vec x) {
    const vec t = vec_clamp(x, -16, 16), g = gelu_tanh_argument(x);
    const vec e = exp_minus_size(g), d = e + 1;
    const vec s = vec_select(g < vec_splat(0), e, vec_splat(1)) / d;
    const vec slope = horner(vec_splat(0x1.b6676cp-3f), t * t, 0x1.988454p0f);
    return dy * vec_fma(t * (e / (d * d)), slope, s);
}

static inline vec vec_gelu_erf(vec x) {
    return (x * 0.5f) * (1 + vec_erf(x * 0x1.6a09e6p-1f));
}
/* dy (Phi(x) + x phi(x)): the distribution and density of the normal distribution. */
static inline vec vec_gelu_erf_vjp(vec dy, vec x) {
    const vec t = vec_clamp(x, -16, 16);
    const vec half = horner(vec_erf(t * 0x1.6a09e6p-1f), vec_splat(0.5f), 0.5f);
    const vec e = exp_falling(t * t * -0.5f); /* of -128 at least */
    return dy * vec_fma(t * 0x1.988454p-2f, e, half);
}

#endif
