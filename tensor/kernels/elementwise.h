/* Elementwise kernels over contiguous memory: one expression on vectors each. The last, incomplete vector
 * goes through the same expression, so an element's bits do not depend on its position. */
#ifndef SAMPO_TENSOR_ELEMENTWISE_H
#define SAMPO_TENSOR_ELEMENTWISE_H

#include "tensor/kernels/copy.h"
#include "tensor/kernels/math.h"
#include "tensor/kernels/power.h"
#include "tensor/kernels/trigonometry.h"

/* An operand whose elements are `step` apart, 1 or 0: one that repeats its element is spread over a vector, which is
 * read again and again. To write it out for a whole row would fill the queue of stores, where the results wait. */
static inline const float *spread(const float *x, int64_t step, float room[VEC_WIDTH]) {
    if (step != 0) return x;
    fill(VEC_WIDTH, room, x);
    return room;
}

/* The kernel of each_OP, which moves its operands on by as much as it is told after each vector: where both have
 * neighbours these are constants, and one index serves all. */
#define BINARY_KERNEL(op, width)                                                                             \
    static void binary_##op(int64_t n, float *out, const float *a, int64_t a_step, const float *b,           \
                            int64_t b_step) {                                                                \
        float room[2][VEC_WIDTH];                                                                            \
        if (a_step && b_step)                                                                                \
            each_##op(n, out, a, width, b, width);                                                           \
        else                                                                                                 \
            each_##op(n, out, spread(a, a_step, room[0]), a_step *(width), spread(b, b_step, room[1]),       \
                      b_step *(width));                                                                      \
    }

/* unary_OP over vec x, binary_OP over vec a, b. */
#define UNARY(op, expression)                                                                                \
    static inline vec apply_##op(vec x) {                                                                    \
        return expression;                                                                                   \
    }                                                                                                        \
    static void unary_##op(int64_t n, float *out, const float *in) {                                         \
        int64_t i = 0;                                                                                       \
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(out + i, apply_##op(vec_stream(in + i)));       \
        if (i < n) vec_store_part(out + i, apply_##op(vec_load_part(in + i, n - i)), n - i);                 \
    }

#define BINARY(op, expression)                                                                               \
    static inline vec apply_##op(vec a, vec b) {                                                             \
        return expression;                                                                                   \
    }                                                                                                        \
    static inline __attribute__((always_inline)) void each_##op(                                             \
        int64_t n, float *out, const float *a, int64_t a_move, const float *b, int64_t b_move) {             \
        int64_t i = 0;                                                                                       \
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH, a += a_move, b += b_move)                                 \
            vec_store(out + i, apply_##op(vec_stream(a), vec_stream(b)));                                    \
        if (i < n)                                                                                           \
            vec_store_part(out + i, apply_##op(vec_load_part(a, n - i), vec_load_part(b, n - i)), n - i);    \
    }                                                                                                        \
    BINARY_KERNEL(op, VEC_WIDTH)

/* The same over vech a, b, which are computed in double. */
#define POWER(op, expression)                                                                                \
    static inline vech apply_##op(vech a, vech b) {                                                          \
        return expression;                                                                                   \
    }                                                                                                        \
    static inline __attribute__((always_inline)) void each_##op(                                             \
        int64_t n, float *out, const float *a, int64_t a_move, const float *b, int64_t b_move) {             \
        int64_t i = 0;                                                                                       \
        for (; i + HALF_WIDTH <= n; i += HALF_WIDTH, a += a_move, b += b_move)                               \
            half_store(out + i, apply_##op(half_load(a), half_load(b)));                                     \
        if (i < n) {                                                                                         \
            float part_a[LANES] = {0}, part_b[LANES] = {0};                                                  \
            copy_part(part_a, a, n - i);                                                                     \
            copy_part(part_b, b, n - i);                                                                     \
            half_store(part_a, apply_##op(half_load(part_a), half_load(part_b)));                            \
            copy_part(out + i, part_a, n - i);                                                               \
        }                                                                                                    \
    }                                                                                                        \
    BINARY_KERNEL(op, HALF_WIDTH)

/* The same over vec x and two numbers as vec p, q; and over vec x, y with them. */
#define PARAMETRIC(op, expression)                                                                           \
    static inline vec apply_##op(vec x, vec p, vec q) {                                                      \
        (void)q;                                                                                             \
        return expression;                                                                                   \
    }                                                                                                        \
    static void parametric_##op(int64_t n, float *out, const float *in_x, const float *in_y, float a,        \
                                float b) {                                                                   \
        const vec p = vec_splat(a), q = vec_splat(b);                                                        \
        int64_t i = 0;                                                                                       \
        (void)in_y;                                                                                          \
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)                                                           \
            vec_store(out + i, apply_##op(vec_stream(in_x + i), p, q));                                      \
        if (i < n) vec_store_part(out + i, apply_##op(vec_load_part(in_x + i, n - i), p, q), n - i);         \
    }

#define PARAMETRIC_BINARY(op, expression)                                                                    \
    static inline vec apply_##op(vec x, vec y, vec p, vec q) {                                               \
        (void)q;                                                                                             \
        return expression;                                                                                   \
    }                                                                                                        \
    static void parametric_##op(int64_t n, float *out, const float *in_x, const float *in_y, float a,        \
                                float b) {                                                                   \
        const vec p = vec_splat(a), q = vec_splat(b);                                                        \
        int64_t i = 0;                                                                                       \
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)                                                           \
            vec_store(out + i, apply_##op(vec_stream(in_x + i), vec_stream(in_y + i), p, q));                \
        if (i < n) {                                                                                         \
            const vec x = vec_load_part(in_x + i, n - i), y = vec_load_part(in_y + i, n - i);                \
            vec_store_part(out + i, apply_##op(x, y, p, q), n - i);                                          \
        }                                                                                                    \
    }

/* A comparison's mask as 1 or 0. */
static inline vec vec_truth(veci mask) {
    return (vec)(mask & (veci)vec_splat(1));
}

static inline vec vec_sign(vec x) {
    const vec zero = vec_splat(0), one = vec_splat(1);
    return vec_select(x > zero, one, vec_select(x < zero, -one, x));
}

/* x^2 / 2 up to the width p on both sides, and from there straight on. */
static inline vec vec_huber(vec x, vec p) {
    const vec size = vec_abs(x);
    return vec_select(size > p, (size - p * 0.5f) * p, size * size * 0.5f);
}

UNARY(NEG, -x)
UNARY(ABS, vec_abs(x))
UNARY(SIGN, vec_sign(x))
UNARY(EXP, vec_exp(x))
UNARY(LOG, vec_log(x))
UNARY(EXPM1, vec_expm1(x))
UNARY(LOG1P, vec_log1p(x))
UNARY(SQRT, vec_sqrt(x))
UNARY(RSQRT, 1 / vec_sqrt(x))
UNARY(SIN, vec_sin(x))
UNARY(COS, vec_cos(x))
UNARY(TANH, vec_tanh(x))
UNARY(ERF, vec_erf(x))
UNARY(SIGMOID, vec_sigmoid(x))
UNARY(SOFTPLUS, vec_softplus(x))
UNARY(RELU, vec_at_least(x, vec_splat(0)))
UNARY(GELU_TANH, vec_gelu_tanh(x))
UNARY(GELU_ERF, vec_gelu_erf(x))
UNARY(SILU, vec_silu(x))
UNARY(RECIPROCAL, 1 / x)
UNARY(SQUARE, x *x)
UNARY(FLOOR, vec_floor(x))
UNARY(ROUND, vec_round(x))

BINARY(ADD, a + b)
BINARY(SUB, a - b)
BINARY(MUL, a *b)
BINARY(DIV, a / b)
BINARY(MAX, vec_select((a > b) | (a != a), a, b))
BINARY(MIN, vec_select((a < b) | (a != a), a, b))
BINARY(LESS, vec_truth(a < b))
BINARY(LESS_EQUAL, vec_truth(a <= b))
BINARY(EQUAL, vec_truth(a == b))
BINARY(NOT_EQUAL, vec_truth(a != b))
BINARY(AND, vec_truth((a != vec_splat(0)) & (b != vec_splat(0))))
BINARY(OR, vec_truth((a != vec_splat(0)) | (b != vec_splat(0))))
BINARY(LOGISTIC_LOSS, vec_logistic_loss(a, b))
BINARY(KL, vec_kl(a, b))
BINARY(RELU_VJP, vec_select(b <= vec_splat(0), vec_splat(0), a))
BINARY(GELU_TANH_VJP, vec_gelu_tanh_vjp(a, b))
BINARY(GELU_ERF_VJP, vec_gelu_erf_vjp(a, b))
BINARY(SILU_VJP, vec_silu_vjp(a, b))
BINARY(TANH_VJP, vec_tanh_vjp(a, b))
BINARY(SIGMOID_VJP, vec_sigmoid_vjp(a, b))
BINARY(ERF_VJP, vec_erf_vjp(a, b))
BINARY(SQRT_VJP, a / (b + b))
BINARY(SQUARE_VJP, a *(b + b))
BINARY(RECIPROCAL_VJP, -a *b *b)
BINARY(RSQRT_VJP, a * -0.5f * b * b * b)
BINARY(MAX_SHARE, vec_select(a < b, vec_splat(0), 1 - vec_truth(a == b) * 0.5f))

POWER(POW, half_pow(a, b, 0))
POWER(POW_BASE_SLOPE, half_pow_base_slope(a, b))
POWER(POW_EXPONENT_SLOPE, half_pow_exponent_slope(a, b))

PARAMETRIC(AFFINE, vec_fma(x, p, q))
PARAMETRIC(CLAMP, vec_at_most(vec_at_least(x, p), q))
PARAMETRIC(LEAKY_RELU, vec_select(x > vec_splat(0), x, x *p))
PARAMETRIC(ELU, vec_select(x > vec_splat(0), x, vec_expm1(vec_at_most(x, vec_splat(0))) * p))
PARAMETRIC(HUBER, vec_huber(x, p))
PARAMETRIC_BINARY(AXPY, vec_fma(x, p, y))
PARAMETRIC_BINARY(CLAMP_VJP, vec_select((y > p) & (y < q), x, vec_splat(0)))
PARAMETRIC_BINARY(LEAKY_RELU_VJP, vec_select(y > vec_splat(0), x, x *p))
PARAMETRIC_BINARY(ELU_VJP, vec_select(y > vec_splat(0), x, x *exp_minus_size(y) * p))
PARAMETRIC_BINARY(HUBER_VJP, x *vec_at_most(vec_at_least(y, -p), p))

static void where(int64_t n, float *out, const float *cond, const float *a, const float *b) {
    int64_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
        vec_store(out + i,
                  vec_select(vec_stream(cond + i) != vec_splat(0), vec_stream(a + i), vec_stream(b + i)));
    if (i < n) {
        const vec c = vec_load_part(cond + i, n - i);
        const vec x = vec_load_part(a + i, n - i), y = vec_load_part(b + i, n - i);
        vec_store_part(out + i, vec_select(c != vec_splat(0), x, y), n - i);
    }
}

#undef UNARY
#undef BINARY
#undef BINARY_KERNEL
#undef POWER
#undef PARAMETRIC
#undef PARAMETRIC_BINARY
#endif
