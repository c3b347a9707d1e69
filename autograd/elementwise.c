/* Elementwise operations. The engine undoes broadcasting, so each rule is written as for equal shapes. */
#include "autograd/ops.h"

/* Whether this backward is recorded. */
static bool recorded(const ag_var *y) {
    return y->tape->phase == AG_RECORDED_GRADIENTS;
}

/* Memory for y: that of an operand which may be overwritten, or new. */
static bool out(ag_var *y, int rank, const int64_t *shape) {
    for (int i = 0; y && i < y->inputs; i++) {
        ag_var *x = y->in[i];
        if (!x->overwritable || x->value.rank != rank) continue;
        bool fits = true;
        for (int axis = 0; axis < rank; axis++) fits = fits && x->value.shape[axis] == shape[axis];
        if (!fits) continue;
        x->overwritable = false;
        return ag_out_view(y, x, x->value);
    }
    return ag_out(y, TENSOR_F32, rank, shape);
}

static ag_var *unary(const ag_op *op, tensor_unary_op kernel, ag_var *x) {
    ag_var *y = ag_begin(op, 1, &x);
    if (y && out(y, x->value.rank, x->value.shape)) tensor_unary(y->value, kernel, x->value, ag_err(y));
    return ag_end(y);
}

static ag_var *binary(const ag_op *op, tensor_binary_op kernel, ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(op, 2, (ag_var *[]){a, b});
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (y && tensor_broadcast_shape(op->name, a->value, b->value, &rank, shape, ag_err(y)) &&
        out(y, rank, shape))
        tensor_binary(y->value, kernel, a->value, b->value, ag_err(y));
    return ag_end(y);
}

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
        return binary(&ag_op_##fn, TENSOR_##kernel, a, b);                                                   \
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
    if (!recorded(dy)) return ag_mul(ag_reuse(binary(&ag_op_pow, TENSOR_POW_BASE_SLOPE, a, b)), dy);
    ag_var *zero = ag_constant(dy->tape, 0), *one = ag_constant(dy->tape, 1);
    ag_var *safe = ag_where(ag_mul(ag_equal(a, zero), ag_equal(b, zero)), one, a);
    return ag_mul(dy, ag_mul(b, ag_pow(safe, ag_affine(b, 1, -1))));
}
/* dy a^b log a, and 0 where a is 0 and b is not negative. */
static ag_var *pow_exponent(ag_var *dy, ag_var *a, ag_var *b, ag_var *y) {
    if (!recorded(dy)) return ag_mul(ag_reuse(binary(&ag_op_pow, TENSOR_POW_EXPONENT_SLOPE, a, b)), dy);
    ag_var *zero = ag_constant(dy->tape, 0), *one = ag_constant(dy->tape, 1);
    ag_var *flat = ag_mul(ag_equal(a, zero), ag_affine(ag_less(b, zero), -1, 1));
    return ag_where(flat, zero, ag_mul(dy, ag_mul(y, ag_log(ag_where(flat, one, a)))));
}
BINARY(pow, POW, READS_BOTH | AG_READS_OUTPUT, pow_base(dy, a, b), pow_exponent(dy, a, b, y), 0.5f, 2, -1.5f,
       2)

/* 1 where a > b, 1/2 where they are equal, else 0. It has no gradient, as ag_less has none. */
static ag_var *share(ag_var *a, ag_var *b) {
    return binary(&ag_op_less, TENSOR_MAX_SHARE, a, b);
}
BINARY(max, MAX, READS_BOTH, ag_mul(ag_reuse(share(a, b)), dy), ag_mul(ag_reuse(share(b, a)), dy), -2, 2,
       -1.875f, 2.125f)
BINARY(min, MIN, READS_BOTH, ag_mul(ag_reuse(share(b, a)), dy), ag_mul(ag_reuse(share(a, b)), dy), -2, 2,
       -1.875f, 2.125f)

static const char piecewise[] = "piecewise constant: it has no gradient";
const ag_op ag_op_less = {"less", NULL, .no_cases = piecewise};
const ag_op ag_op_equal = {"equal", NULL, .no_cases = piecewise};

ag_var *ag_less(ag_var *a, ag_var *b) {
    return binary(&ag_op_less, TENSOR_LESS, a, b);
}

ag_var *ag_equal(ag_var *a, ag_var *b) {
    return binary(&ag_op_equal, TENSOR_EQUAL, a, b);
}

/* ---- Unary -------------------------------------------------------------------------------- */

/* The gradient of x in terms of x, y and dy: as numbers, and as it is recorded; x's range in the check is [lo, hi]. */
#define UNARY(fn, kernel, what, numbers, graph, lo, hi)                                                      \
    static void fn##_backward(ag_var *y, ag_var *dy) {                                                       \
        ag_var *x = y->in[0];                                                                                \
        ag_add_grad(x, recorded(y) ? graph : numbers);                                                       \
    }                                                                                                        \
    static ag_var *fn##_case(ag_var **in) {                                                                  \
        return ag_##fn(in[0]);                                                                               \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {{"", fn##_case, 1, {{2, {3, 7}, lo, hi}}}};                         \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = what, AG_CASES(fn##_cases)};                      \
    ag_var *ag_##fn(ag_var *x) {                                                                             \
        return unary(&ag_op_##fn, TENSOR_##kernel, x);                                                       \
    }
/* The same where both are one expression. */
#define UNARY_ONE(fn, kernel, what, dx, lo, hi) UNARY(fn, kernel, what, dx, dx, lo, hi)
/* dy times the slope at x (or y), in one pass. */
#define VJP(kernel, at) binary(y->op, TENSOR_##kernel##_VJP, dy, at)

#define TWO_OVER_ROOT_PI 1.12837916709551257f

/* s(x) s(-x), the slope of the sigmoid: 1 - s(x) would lose its digits where s is near 1. */
static ag_var *logistic_slope(ag_var *x) {
    return ag_mul(ag_sigmoid(x), ag_sigmoid(ag_neg(x)));
}

UNARY_ONE(exp, EXP, AG_READS_OUTPUT, ag_mul(dy, y), -2, 1)
UNARY_ONE(log, LOG, AG_READS(0), ag_div(dy, x), 0.5f, 3)
UNARY(sqrt, SQRT, AG_READS_OUTPUT, VJP(SQRT, y), ag_div(ag_affine(dy, 0.5f, 0), y), 0.5f, 3)
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
        return unary(&ag_op_##fn, TENSOR_##kernel, x);                                                       \
    }

static ag_var *relu_decompose(ag_var *y) {
    ag_var *x = y->in[0], *zero = ag_constant(y->tape, 0);
    return ag_where(ag_less(zero, x), x, zero);
}
static ag_var *gelu_decompose(ag_var *y) {
    ag_var *x = y->in[0];
    return ag_mul(ag_affine(x, 0.5f, 0), ag_affine(ag_erf(ag_affine(x, 0.70710678118654752f, 0)), 1, 1));
}
static ag_var *gelu_tanh_decompose(ag_var *y) {
    ag_var *x = y->in[0], *cubed = ag_mul(ag_square(x), x);
    ag_var *inner = ag_affine(ag_add(x, ag_affine(cubed, 0.044715f, 0)), 0.79788456080286536f, 0);
    return ag_mul(ag_affine(x, 0.5f, 0), ag_affine(ag_tanh(inner), 1, 1));
}
static ag_var *silu_decompose(ag_var *y) {
    return ag_mul(y->in[0], ag_sigmoid(y->in[0]));
}
ACTIVATION(relu, RELU)
ACTIVATION(gelu, GELU_ERF)
ACTIVATION(gelu_tanh, GELU_TANH)
ACTIVATION(silu, SILU)

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
    ag_add_grad(y->in[0], VJP(RELU, y));
}
static ag_var *relu_in_place_case(ag_var **in) {
    return ag_relu_in_place(ag_affine(in[0], 3, 0));
}
static const ag_case relu_in_place_cases[] = {{"around 0", relu_in_place_case, 1, {{2, {3, 6}, -2, 2.5f}}}};
/* The operand's memory holds the result, which is above 0 where the operand was: relu of it has the same slope. */
const ag_op ag_op_relu_in_place = {"relu_in_place", relu_in_place_backward, relu_decompose, AG_READS_OUTPUT,
                                   AG_CASES(relu_in_place_cases)};

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
    if (saved && out(y, x->value.rank, x->value.shape)) {
        *saved = a;
        tensor_affine(y->value, a, x->value, b, ag_err(y));
    }
    return ag_end(y);
}

ag_var *ag_neg(ag_var *x) {
    return ag_affine(x, -1, 0);
}

/* ---- Choice ------------------------------------------------------------------------------- */

static void where_backward(ag_var *y, ag_var *dy) {
    ag_var *cond = y->in[0], *zero = ag_constant(y->tape, 0);
    if (ag_needs_grad(y->in[1])) ag_add_grad(y->in[1], ag_where(cond, dy, zero));
    if (ag_needs_grad(y->in[2])) ag_add_grad(y->in[2], ag_where(cond, zero, dy));
}
static ag_var *where_case(ag_var **in) {
    return ag_where(ag_less(in[0], in[1]), in[2], in[3]);
}
static ag_var *masked_fill_case(ag_var **in) {
    return ag_masked_fill(in[0], ag_less(in[1], ag_constant(in[0]->tape, 0)), 0.5f);
}
static const ag_case where_cases[] = {
    {"broadcast",
     where_case,
     4,
     {{2, {3, 5}, .constant = true}, {1, {5}, .constant = true}, {2, {3, 1}}, {3, {2, 1, 5}}}},
    {"masked fill", masked_fill_case, 2, {{2, {4, 3}}, {1, {3}, .constant = true}}},
};
const ag_op ag_op_where = {"where", where_backward, .reads = AG_READS(0), AG_CASES(where_cases)};

ag_var *ag_where(ag_var *cond, ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(&ag_op_where, 3, (ag_var *[]){cond, a, b});
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (y && tensor_broadcast_shape("where", a->value, b->value, &rank, shape, ag_err(y))) {
        tensor both = a->value; /* only its shape counts */
        both.rank = rank;
        for (int axis = 0; axis < rank; axis++) both.shape[axis] = shape[axis];
        if (tensor_broadcast_shape("where", cond->value, both, &rank, shape, ag_err(y)) &&
            ag_out(y, TENSOR_F32, rank, shape))
            tensor_where(y->value, cond->value, a->value, b->value, ag_err(y));
    }
    return ag_end(y);
}

ag_var *ag_masked_fill(ag_var *x, ag_var *mask, float value) {
    return ag_where(mask, ag_constant(ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(mask), value), x);
}

/* ---- Dropout ------------------------------------------------------------------------------ */

/* The mask is data: the gradient is that of a product with it. */
static void dropout_backward(ag_var *y, ag_var *dy) {
    ag_var *mask = y->saved;
    ag_add_grad(y->in[0], ag_mul(dy, mask));
}
static ag_var *dropout_case(ag_var **in) {
    tensor_rng rng = {.seed = 7};
    return ag_dropout(in[0], 0.4f, &rng);
}
static const ag_case dropout_cases[] = {{"", dropout_case, 1, {{2, {5, 7}}}}};
const ag_op ag_op_dropout = {"dropout", dropout_backward, AG_CASES(dropout_cases)};

ag_var *ag_dropout(ag_var *x, float p, tensor_rng *rng) {
    if (p == 0) return x;
    ag_var *y = ag_begin(&ag_op_dropout, 1, &x);
    if (y && !rng) return ag_fail(y->tape, "dropout: there is no generator of random numbers");
    if (y && ag_out(y, TENSOR_F32, x->value.rank, x->value.shape)) {
        ag_var *mask = ag_input(y->tape, ag_tensor_like(y->tape, y->value));
        y->saved = mask;
        if (mask && tensor_rand_dropout(mask->value, rng, p, ag_err(y)))
            tensor_binary(y->value, TENSOR_MUL, x->value, mask->value, ag_err(y));
    }
    return ag_end(y);
}
