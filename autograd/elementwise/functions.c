/* Functions of one operand. */
#include "autograd/elementwise_internal.h"

/* ---- Unary -------------------------------------------------------------------------------- */

/* The gradient of x in terms of x, y and dy: as numbers, and as it is recorded; x's range in the check is [lo, hi]. */
#define UNARY(fn, kernel, what, numbers, graph, lo, hi)                                                      \
    static void fn##_backward(ag_var *y, ag_var *dy) {                                                       \
        ag_var *x = y->in[0];                                                                                \
        ag_add_grad(x, ag_recorded(y) ? graph : numbers);                                                    \
    }                                                                                                        \
    static ag_var *fn##_case(ag_var **in) {                                                                  \
        return ag_##fn(in[0]);                                                                               \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {{"", fn##_case, 1, {{2, {3, 7}, lo, hi}}}};                         \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = what, AG_CASES(fn##_cases)};                      \
    ag_var *ag_##fn(ag_var *x) {                                                                             \
        return ag_unary(&ag_op_##fn, TENSOR_##kernel, x);                                                    \
    }
/* The same where both are one expression. */
#define UNARY_ONE(fn, kernel, what, dx, lo, hi) UNARY(fn, kernel, what, dx, dx, lo, hi)
/* dy times the slope at x (or y), in one pass. */
#define VJP(kernel, at) ag_binary(y->op, TENSOR_##kernel##_VJP, dy, at)

#define TWO_OVER_ROOT_PI 1.12837916709551257f

/* s(x) s(-x), the slope of the sigmoid: 1 - s(x) would lose its digits where s is near 1. Here and below the factors have
 * statements of their own: the order in which x is used is that in which its gradients are added. */
static ag_var *logistic_slope(ag_var *x) {
    ag_var *above = ag_sigmoid(x);
    return ag_mul(above, ag_sigmoid(ag_neg(x)));
}

UNARY_ONE(exp, EXP, AG_READS_OUTPUT, ag_mul(dy, y), -2, 1)
UNARY_ONE(expm1, EXPM1, AG_READS(0), ag_mul(ag_reuse(ag_exp(x)), dy), -2, 1)
UNARY_ONE(log, LOG, AG_READS(0), ag_div(dy, x), 0.5f, 3)
UNARY_ONE(log1p, LOG1P, AG_READS(0), ag_div(dy, ag_reuse(ag_affine(x, 1, 1))), -0.5f, 2)
UNARY(sqrt, SQRT, AG_READS_OUTPUT, VJP(SQRT, y), ag_div(ag_affine(dy, 0.5f, 0), y), 0.5f, 3)
UNARY(rsqrt, RSQRT, AG_READS_OUTPUT, VJP(RSQRT, y), ag_affine(ag_mul(dy, ag_mul(y, ag_square(y))), -0.5f, 0),
      0.5f, 3)
UNARY(reciprocal, RECIPROCAL, AG_READS_OUTPUT, VJP(RECIPROCAL, y), ag_neg(ag_mul(dy, ag_square(y))), 0.5f, 3)
UNARY_ONE(abs, ABS, AG_READS(0), ag_mul(ag_reuse(ag_sign(x)), dy), -2, 2.6f)
UNARY_ONE(sin, SIN, AG_READS(0), ag_mul(ag_reuse(ag_cos(x)), dy), -4, 4)
UNARY_ONE(cos, COS, AG_READS(0), ag_neg(ag_reuse(ag_mul(ag_reuse(ag_sin(x)), dy))), -4, 4)
UNARY(square, SQUARE, AG_READS(0), VJP(SQUARE, x), ag_mul(dy, ag_affine(x, 2, 0)), -2, 2)
UNARY(tanh, TANH, AG_READS(0), VJP(TANH, x), ag_mul(dy, ag_affine(logistic_slope(ag_affine(x, 2, 0)), 4, 0)),
      -2, 2)
UNARY(erf, ERF, AG_READS(0), VJP(ERF, x),
      ag_mul(dy, ag_affine(ag_exp(ag_neg(ag_square(x))), TWO_OVER_ROOT_PI, 0)), -2, 2)
UNARY(sigmoid, SIGMOID, AG_READS(0), VJP(SIGMOID, x), ag_mul(dy, logistic_slope(x)), -2, 2)
UNARY_ONE(softplus, SOFTPLUS, AG_READS(0), ag_mul(ag_reuse(ag_sigmoid(x)), dy), -2, 2)

/* Activations have their slope as a kernel of its own, and are decomposed for second derivatives. */
#define ACTIVATION(fn, kernel)                                                                               \
    static void fn##_backward(ag_var *y, ag_var *dy) {                                                       \
        ag_var *x = y->in[0];                                                                                \
        ag_add_grad(x, VJP(kernel, x));                                                                      \
    }                                                                                                        \
    static ag_var *fn##_case(ag_var **in) {                                                                  \
        return ag_##fn(in[0]);                                                                               \
    }                                                                                                        \
    static ag_var *fn##_wide(ag_var **in) {                                                                  \
        return ag_##fn(ag_affine(in[0], 3, 0));                                                              \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {{"around 0", fn##_case, 1, {{2, {3, 6}, -2, 2.5f}}},                \
                                         {"wide", fn##_wide, 1, {{1, {18}, -2, 2.5f}}}};                     \
    const ag_op ag_op_##fn = {#fn, fn##_backward, fn##_decompose, AG_READS(0), AG_CASES(fn##_cases)};        \
    ag_var *ag_##fn(ag_var *x) {                                                                             \
        return ag_unary(&ag_op_##fn, TENSOR_##kernel, x);                                                    \
    }

static ag_var *relu_decompose(ag_var *y) {
    ag_var *x = y->in[0], *zero = ag_constant(y->tape, 0);
    return ag_where(ag_less(zero, x), x, zero);
}
static ag_var *gelu_decompose(ag_var *y) {
    ag_var *x = y->in[0], *half = ag_affine(x, 0.5f, 0);
    return ag_mul(half, ag_affine(ag_erf(ag_affine(x, 0.70710678118654752f, 0)), 1, 1));
}
static ag_var *gelu_tanh_decompose(ag_var *y) {
    ag_var *x = y->in[0], *half = ag_affine(x, 0.5f, 0), *cubed = ag_mul(ag_square(x), x);
    ag_var *inner = ag_affine(ag_add(x, ag_affine(cubed, 0.044715f, 0)), 0.79788456080286536f, 0);
    return ag_mul(half, ag_affine(ag_tanh(inner), 1, 1));
}
static ag_var *silu_decompose(ag_var *y) {
    return ag_mul(y->in[0], ag_sigmoid(y->in[0]));
}
ACTIVATION(relu, RELU)
ACTIVATION(gelu, GELU_ERF)
ACTIVATION(gelu_tanh, GELU_TANH)
ACTIVATION(silu, SILU)

/* ---- Steps ---------------------------------------------------------------------------------- */

/* The gradient is 0, so that there is nothing to add. */
static void step_backward(ag_var *y, ag_var *dy) {
    (void)y;
    (void)dy;
}
#define STEPS(fn, kernel)                                                                                    \
    const ag_op ag_op_##fn = {#fn, step_backward, .no_cases = "piecewise constant: its gradient is 0"};      \
    ag_var *ag_##fn(ag_var *x) {                                                                             \
        return ag_unary(&ag_op_##fn, TENSOR_##kernel, x);                                                    \
    }
STEPS(floor, FLOOR)
STEPS(round, ROUND)
STEPS(sign, SIGN)

/* ---- With numbers of their own ---------------------------------------------------------------- */

/* In y->saved; the kernel of the gradient takes the same ones. */
#define PARAMETRIC(fn, kernel, ...)                                                                          \
    static void fn##_backward(ag_var *y, ag_var *dy) {                                                       \
        const float *n = y->saved;                                                                           \
        ag_add_grad(y->in[0], ag_parametric(y->op, TENSOR_##kernel##_VJP, dy, y->in[0], n[0], n[1]));        \
    }                                                                                                        \
    static ag_var *fn##_case(ag_var **in) {                                                                  \
        return ag_##fn(in[0], __VA_ARGS__);                                                                  \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {{"", fn##_case, 1, {{2, {3, 6}, -2, 2.5f}}}};                       \
    const ag_op ag_op_##fn = {#fn, fn##_backward, fn##_decompose, AG_READS(0), AG_CASES(fn##_cases)};

static ag_var *leaky_relu_decompose(ag_var *y) {
    const float *n = y->saved;
    ag_var *x = y->in[0];
    return ag_where(ag_less(ag_constant(y->tape, 0), x), x, ag_affine(x, n[0], 0));
}
static ag_var *elu_decompose(ag_var *y) {
    const float *n = y->saved;
    ag_var *x = y->in[0], *zero = ag_constant(y->tape, 0), *right = ag_less(zero, x);
    return ag_where(right, x, ag_affine(ag_expm1(ag_where(right, zero, x)), n[0], 0));
}
static ag_var *clamp_decompose(ag_var *y) {
    const float *n = y->saved;
    ag_var *x = y->in[0], *low = ag_constant(y->tape, n[0]), *high = ag_constant(y->tape, n[1]);
    ag_var *inside = ag_and(ag_less(low, x), ag_less(x, high));
    return ag_where(inside, x, ag_where(ag_less_equal(high, x), high, low));
}
static ag_var *huber_decompose(ag_var *y) {
    const float *n = y->saved;
    ag_var *x = y->in[0], *size = ag_abs(x);
    return ag_where(ag_less_equal(size, ag_constant(y->tape, n[0])), ag_affine(ag_square(x), 0.5f, 0),
                    ag_affine(size, n[0], -0.5f * n[0] * n[0]));
}
PARAMETRIC(leaky_relu, LEAKY_RELU, 0.25f)
PARAMETRIC(elu, ELU, 0.75f)
PARAMETRIC(clamp, CLAMP, -1, 1.5f)
PARAMETRIC(huber, HUBER, 1)

ag_var *ag_leaky_relu(ag_var *x, float slope) {
    return ag_parametric(&ag_op_leaky_relu, TENSOR_LEAKY_RELU, x, NULL, slope, 0);
}
ag_var *ag_elu(ag_var *x, float alpha) {
    return ag_parametric(&ag_op_elu, TENSOR_ELU, x, NULL, alpha, 0);
}
ag_var *ag_clamp(ag_var *x, float low, float high) {
    return ag_parametric(&ag_op_clamp, TENSOR_CLAMP, x, NULL, low, high);
}
ag_var *ag_huber(ag_var *x, float delta) {
    return ag_parametric(&ag_op_huber, TENSOR_HUBER, x, NULL, delta, 0);
}
