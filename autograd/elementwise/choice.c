/* Comparisons and what is chosen by them: where, masks, dropout. */
#include "autograd/elementwise_internal.h"

/* ---- Comparisons ---------------------------------------------------------------------------- */

#define COMPARISON(fn, kernel, first, second)                                                                \
    const ag_op ag_op_##fn = {#fn, NULL, .no_cases = "piecewise constant: it has no gradient"};              \
    ag_var *ag_##fn(ag_var *a, ag_var *b) {                                                                  \
        return ag_binary(&ag_op_##fn, TENSOR_##kernel, first, second);                                       \
    }
COMPARISON(less, LESS, a, b)
COMPARISON(less_equal, LESS_EQUAL, a, b)
COMPARISON(greater, LESS, b, a)
COMPARISON(greater_equal, LESS_EQUAL, b, a)
COMPARISON(equal, EQUAL, a, b)
COMPARISON(not_equal, NOT_EQUAL, a, b)
COMPARISON(and, AND, a, b)
COMPARISON(or, OR, a, b)

ag_var *ag_not(ag_var *x) {
    return ag_equal(x, ag_constant(ag_tape_of(x), 0));
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
    return ag_masked_fill(in[0], ag_less(in[1], ag_constant(ag_tape_of(in[0]), 0)), 0.5f);
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
