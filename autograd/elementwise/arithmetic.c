/* Arithmetic of two operands, a x + b, and what overwrites its operand. */
#include "autograd/elementwise_internal.h"

/* ---- Binary ------------------------------------------------------------------------------- */

/* Gradients of a and b in terms of a, b, y and dy; check cases: equal shapes, and broadcasting over
 * leading axes and axes of size 1. [lo, hi] is b's range, a's is [alo, ahi]. */
#define BINARY(fn, kernel, what, da, db, alo, ahi, lo, hi)                                                   \
    static void fn##_backward(ag_var *y, ag_var *dy) {                                                       \
        ag_var *a = y->in[0], *b = y->in[1];                                                                 \
        if (ag_needs_grad(a)) ag_add_grad(a, da);                                                            \
        if (ag_needs_grad(b)) ag_add_grad(b, db);                                                            \
    }                                                                                                        \
    static ag_var *fn##_case(ag_var **in) {                                                                  \
        return ag_##fn(in[0], in[1]);                                                                        \
    }                                                                                                        \
    static ag_var *fn##_twice(ag_var **in) {                                                                 \
        return ag_##fn(in[0], ag_affine(in[0], 0.75f, 0.25f));                                               \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {                                                                    \
        {"same shape", fn##_case, 2, {{2, {3, 5}, alo, ahi}, {2, {3, 5}, lo, hi}}},                          \
        {"broadcast both", fn##_case, 2, {{3, {2, 1, 3}, alo, ahi}, {2, {4, 1}, lo, hi}}},                   \
        {"scalar", fn##_case, 2, {{0, {0}, alo, ahi}, {1, {17}, lo, hi}}},                                   \
        {"operand twice", fn##_twice, 1, {{1, {7}, alo, ahi}}},                                              \
    };                                                                                                       \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = what, AG_CASES(fn##_cases)};                      \
    ag_var *ag_##fn(ag_var *a, ag_var *b) {                                                                  \
        return ag_binary(&ag_op_##fn, TENSOR_##kernel, a, b);                                                \
    }

#define READS_BOTH (AG_READS(0) | AG_READS(1))

BINARY(add, ADD, 0, dy, dy, -2, 2, -2, 2)
BINARY(sub, SUB, 0, dy, ag_neg(dy), -2, 2, -2, 2)
BINARY(mul, MUL, READS_BOTH, ag_mul(dy, b), ag_mul(dy, a), -2, 2, -2, 2)
BINARY(div, DIV, AG_READS(1) | AG_READS_OUTPUT, ag_div(dy, b),
       ag_neg(ag_reuse(ag_mul(ag_reuse(ag_div(dy, b)), y))), 0.5f, 2, 0.75f, 2)

/* dy b a^(b-1). Where both are 0 the slope is 0, as PyTorch has it, and a is replaced so that no infinity stays in the
 * graph. */
static ag_var *pow_base(ag_var *dy, ag_var *a, ag_var *b) {
    if (!ag_recorded(dy)) return ag_mul(ag_reuse(ag_binary(&ag_op_pow, TENSOR_POW_BASE_SLOPE, a, b)), dy);
    ag_var *zero = ag_constant(dy->tape, 0), *one = ag_constant(dy->tape, 1);
    ag_var *safe = ag_where(ag_mul(ag_equal(a, zero), ag_equal(b, zero)), one, a);
    return ag_mul(dy, ag_mul(b, ag_pow(safe, ag_affine(b, 1, -1))));
}
/* dy a^b log a, and 0 where a is 0 and b is not negative. */
static ag_var *pow_exponent(ag_var *dy, ag_var *a, ag_var *b, ag_var *y) {
    if (!ag_recorded(dy)) return ag_mul(ag_reuse(ag_binary(&ag_op_pow, TENSOR_POW_EXPONENT_SLOPE, a, b)), dy);
    ag_var *zero = ag_constant(dy->tape, 0), *one = ag_constant(dy->tape, 1);
    ag_var *flat = ag_mul(ag_equal(a, zero), ag_affine(ag_less(b, zero), -1, 1));
    return ag_where(flat, zero, ag_mul(dy, ag_mul(y, ag_log(ag_where(flat, one, a)))));
}
BINARY(pow, POW, READS_BOTH | AG_READS_OUTPUT, pow_base(dy, a, b), pow_exponent(dy, a, b, y), 0.5f, 2, -1.5f,
       2)

/* 1 where a > b, 1/2 where they are equal, else 0. It has no gradient, as ag_less has none. */
static ag_var *share(ag_var *a, ag_var *b) {
    return ag_binary(&ag_op_less, TENSOR_MAX_SHARE, a, b);
}
BINARY(max, MAX, READS_BOTH, ag_mul(ag_reuse(share(a, b)), dy), ag_mul(ag_reuse(share(b, a)), dy), -2, 2,
       -1.875f, 2.125f)
BINARY(min, MIN, READS_BOTH, ag_mul(ag_reuse(share(b, a)), dy), ag_mul(ag_reuse(share(a, b)), dy), -2, 2,
       -1.875f, 2.125f)

/* ---- Two parts of losses ------------------------------------------------------------------- */

/* dy times the slope for t, log t + 1 - x, which is 0 where t is. */
static ag_var *kl_slope(ag_var *dy, ag_var *x, ag_var *t) {
    ag_var *zero = ag_constant(dy->tape, 0), *none = ag_equal(t, zero);
    ag_var *log = ag_log(ag_where(none, ag_constant(dy->tape, 1), t));
    return ag_where(none, zero, ag_mul(dy, ag_sub(ag_affine(log, 1, 1), x)));
}
BINARY(logistic_loss, LOGISTIC_LOSS, READS_BOTH, ag_mul(ag_reuse(ag_sub(ag_reuse(ag_sigmoid(a)), b)), dy),
       ag_neg(ag_reuse(ag_mul(dy, a))), -2, 2, 0.1f, 0.9f)
BINARY(kl, KL, AG_READS(0) | AG_READS(1), ag_neg(ag_reuse(ag_mul(dy, b))), kl_slope(dy, a, b), 0, 1, 0.25f,
       0.9f)

/* ---- In place ----------------------------------------------------------------------------- */

/* Makes the memory of x that of y. */
static bool take_over(ag_var *y, ag_var *x) {
    if (!y) return false;
    if (!x->buffer || !tensor_is_contiguous(x->value))
        return ag_fail(y->tape, "%s: the first operand is no contiguous result of an operation", y->op->name);
    return ag_out_view(y, x, x->value);
}

/* Ends y, which has overwritten its first operand: from now on nothing may use that. */
static ag_var *end_in_place(ag_var *y) {
    y->buffer->taken = y->value.storage->version;
    return ag_end(y);
}

static ag_var *add_in_place_case(ag_var **in) {
    return ag_add_in_place(ag_affine(in[0], 2, 0), in[1]);
}
static ag_var *add_in_place_residual(ag_var **in) {
    ag_var *x = ag_square(in[0]);
    return ag_add_in_place(ag_affine(ag_exp(x), 1, 0), x);
}
static const ag_case add_in_place_cases[] = {
    {"same shape", add_in_place_case, 2, {{2, {3, 5}}, {2, {3, 5}}}},
    {"broadcast", add_in_place_case, 2, {{3, {2, 4, 3}}, {2, {4, 1}}}},
    {"residual", add_in_place_residual, 1, {{1, {7}, -1, 1}}},
};
const ag_op ag_op_add_in_place = {"add_in_place", add_backward, AG_CASES(add_in_place_cases)};

ag_var *ag_add_in_place(ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(&ag_op_add_in_place, 2, (ag_var *[]){a, b});
    if (!take_over(y, a)) return NULL;
    if (b != a && b->value.storage == a->value.storage)
        return ag_fail(y->tape, "add_in_place: the second operand lies in the memory of the first");
    tensor_binary(y->value, TENSOR_ADD, a->value, b->value, ag_err(y));
    return end_in_place(y);
}

static void relu_in_place_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_binary(y->op, TENSOR_RELU_VJP, dy, y));
}
static ag_var *relu_in_place_decompose(ag_var *y) {
    return ag_op_relu.decompose(y);
}
static ag_var *relu_in_place_case(ag_var **in) {
    return ag_relu_in_place(ag_affine(in[0], 3, 0));
}
static const ag_case relu_in_place_cases[] = {{"around 0", relu_in_place_case, 1, {{2, {3, 6}, -2, 2.5f}}}};
/* The operand's memory holds the result, which is above 0 where the operand was: relu of it has the same slope. */
const ag_op ag_op_relu_in_place = {"relu_in_place", relu_in_place_backward, relu_in_place_decompose,
                                   AG_READS_OUTPUT, AG_CASES(relu_in_place_cases)};

ag_var *ag_relu_in_place(ag_var *x) {
    ag_var *y = ag_begin(&ag_op_relu_in_place, 1, &x);
    if (!take_over(y, x)) return NULL;
    tensor_unary(y->value, TENSOR_RELU, x->value, ag_err(y));
    return end_in_place(y);
}

/* ---- a x + b ------------------------------------------------------------------------------ */

static void affine_backward(ag_var *y, ag_var *dy) {
    const float *a = y->saved;
    ag_add_grad(y->in[0], ag_affine(dy, *a, 0));
}
static ag_var *affine_case(ag_var **in) {
    return ag_affine(in[0], -1.5f, 0.25f);
}
static const ag_case affine_cases[] = {{"", affine_case, 1, {{2, {3, 7}}}}};
const ag_op ag_op_affine = {"affine", affine_backward, AG_CASES(affine_cases)};

ag_var *ag_affine(ag_var *x, float a, float b) {
    ag_var *y = ag_begin(&ag_op_affine, 1, &x);
    float *saved = ag_save(y, sizeof *saved);
    if (saved && ag_elementwise_out(y, x->value.rank, x->value.shape)) {
        *saved = a;
        tensor_affine(y->value, a, x->value, b, ag_err(y));
    }
    return ag_end(y);
}

ag_var *ag_neg(ag_var *x) {
    return ag_affine(x, -1, 0);
}
