/* Reductions. Each is computed with its reduced axes kept as size 1, and then viewed without them. */
#include "autograd/ops.h"

#include <math.h>

/* What is reduced, and x's shape with size 1 there; the shape of the result. */
typedef struct reduction {
    unsigned axes;
    int64_t kept[TENSOR_MAX_RANK];
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
} reduction;

/* Begins a reduction of x: y with all axes so far. y->saved has `bytes`, the first of which are a reduction. NULL on a
 * failure. */
static ag_var *begin(const ag_op *op, ag_var *x, unsigned axes, bool keep, size_t bytes) {
    ag_var *y = ag_begin(op, 1, &x);
    reduction *r = ag_save(y, bytes);
    if (!r || !ag_axes_of(y->tape, op->name, axes, x->value.rank, &r->axes)) return NULL;
    r->rank = 0;
    for (int axis = 0; axis < x->value.rank; axis++) {
        r->kept[axis] = r->axes & AG_AXIS(axis) ? 1 : x->value.shape[axis];
        if (keep || !(r->axes & AG_AXIS(axis))) r->shape[r->rank++] = r->kept[axis];
    }
    return ag_out(y, TENSOR_F32, x->value.rank, r->kept) ? y : NULL;
}

static ag_var *end(ag_var *y) {
    const reduction *r = y->saved;
    if (!ag_failed(y->tape)) y->value = tensor_reshape(y->value, r->rank, r->shape, ag_err(y));
    return ag_end(y);
}

enum { AS_IT_IS = -1 };

/* map: a unary operation that is done first, or AS_IT_IS. */
static ag_var *reduce(const ag_op *op, tensor_reduce_op kernel, int map, ag_var *x, unsigned axes,
                      bool keep) {
    ag_var *y = begin(op, x, axes, keep, sizeof(reduction));
    if (!y) return NULL;
    axes = ((const reduction *)y->saved)->axes;
    if (map == AS_IT_IS)
        tensor_reduce(y->value, kernel, x->value, axes, false, ag_err(y));
    else
        tensor_reduce_of(y->value, kernel, (tensor_unary_op)map, x->value, axes, false, ag_err(y));
    return end(y);
}

/* v, of y's shape, with the reduced axes back as size 1, so that it broadcasts with x. */
static ag_var *restore(ag_var *y, ag_var *v) {
    const reduction *r = y->saved;
    return ag_reshape(v, y->in[0]->value.rank, r->kept);
}

static void sum_backward(ag_var *y, ag_var *dy) {
    const ag_var *x = y->in[0];
    ag_add_grad(y->in[0], ag_expand(restore(y, dy), x->value.rank, x->value.shape));
}

static void mean_backward(ag_var *y, ag_var *dy) {
    const ag_var *x = y->in[0];
    const float share = (float)((double)tensor_size(y->value) / (double)tensor_size(x->value));
    ag_add_grad(y->in[0], ag_expand(restore(y, ag_affine(dy, share, 0)), x->value.rank, x->value.shape));
}

/* All elements that equal the largest, or the smallest, share its gradient. */
static void max_over_backward(ag_var *y, ag_var *dy) {
    const reduction *r = y->saved;
    ag_var *x = y->in[0], *hit = ag_equal(x, restore(y, y));
    ag_var *share = ag_div(restore(y, dy), ag_sum(hit, r->axes, true));
    ag_add_grad(x, ag_mul(ag_reuse(hit), share));
}

static void min_over_backward(ag_var *y, ag_var *dy) {
    max_over_backward(y, dy);
}

static void sum_squares_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_mul(y->in[0], restore(y, ag_affine(dy, 2, 0))));
}

static void sum_sizes_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_mul(ag_reuse(ag_sign(y->in[0])), restore(y, dy)));
}

/* The slope is the product of the other elements: that of all, divided, or, where one is 0, found without it. */
static void product_backward(ag_var *y, ag_var *dy) {
    const reduction *r = y->saved;
    ag_var *x = y->in[0];
    bool zeros = false;
    for (int64_t i = 0; i < tensor_size(y->value); i++) zeros |= y->value.f32[i] == 0;
    dy = restore(y, dy);
    if (!zeros) {
        ag_add_grad(x, ag_div(ag_mul(dy, restore(y, y)), x));
        return;
    }
    ag_var *zero = ag_constant(y->tape, 0), *one = ag_constant(y->tape, 1);
    ag_var *is_zero = ag_equal(x, zero), *count = ag_sum(is_zero, r->axes, true);
    ag_var *safe = ag_where(is_zero, one, x), *others = ag_mul(dy, ag_product(safe, r->axes, true));
    ag_add_grad(x, ag_where(is_zero, ag_mul(others, ag_equal(count, one)),
                            ag_div(ag_mul(others, ag_equal(count, zero)), safe)));
}

/* least: whether nothing may be reduced (0) or one element at least (1); x's range in the check is [lo, hi]. */
#define REDUCTION(fn, kernel, map, what, least, lo, hi)                                                      \
    static ag_var *fn##_one(ag_var **in) {                                                                   \
        return ag_##fn(in[0], AG_AXIS(1), false);                                                            \
    }                                                                                                        \
    static ag_var *fn##_two(ag_var **in) {                                                                   \
        return ag_##fn(in[0], AG_AXIS(0) | AG_AXIS(-1), true);                                               \
    }                                                                                                        \
    static ag_var *fn##_all(ag_var **in) {                                                                   \
        return ag_square(ag_##fn(in[0], AG_ALL, false));                                                     \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {                                                                    \
        {"one axis", fn##_one, 1, {{3, {2, 5, 3}, lo, hi}}, .not_empty = 5 * (least)},                       \
        {"two axes, kept", fn##_two, 1, {{3, {3, 4, 3}, lo, hi}}, .not_empty = 3 * (least)},                 \
        {"all axes", fn##_all, 1, {{2, {4, 4}, lo, hi}}, .not_empty = 4 * (least)},                          \
    };                                                                                                       \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = what, AG_CASES(fn##_cases)};                      \
    ag_var *ag_##fn(ag_var *x, unsigned axes, bool keep) {                                                   \
        return reduce(&ag_op_##fn, kernel, map, x, axes, keep);                                              \
    }

REDUCTION(sum, TENSOR_SUM, AS_IT_IS, 0, 0, 0, 0)
REDUCTION(mean, TENSOR_MEAN, AS_IT_IS, 0, 0, 0, 0)
REDUCTION(max_over, TENSOR_REDUCE_MAX, AS_IT_IS, AG_READS(0) | AG_READS_OUTPUT, 1, 0, 0)
REDUCTION(min_over, TENSOR_REDUCE_MIN, AS_IT_IS, AG_READS(0) | AG_READS_OUTPUT, 1, 0, 0)
REDUCTION(product, TENSOR_REDUCE_PRODUCT, AS_IT_IS, AG_READS(0) | AG_READS_OUTPUT, 0, 0.5f, 1.5f)
REDUCTION(sum_squares, TENSOR_SUM, TENSOR_SQUARE, AG_READS(0), 0, 0, 0)
ag_var *ag_sum_sizes(ag_var *x, unsigned axes, bool keep); /* of |x|: hidden, for the norm */
REDUCTION(sum_sizes, TENSOR_SUM, TENSOR_ABS, AG_READS(0), 0, 0.25f, 2)

/* ---- log sum e^x ------------------------------------------------------------------------------ */

/* dy e^(x - y); where y is -infinity, all x are, and e^x has no slope. */
static void log_sum_exp_backward(ag_var *y, ag_var *dy) {
    ag_var *none = ag_equal(y, ag_constant(y->tape, -INFINITY));
    ag_var *safe = ag_where(none, ag_constant(y->tape, 0), y);
    ag_var *share = ag_exp(ag_reuse(ag_sub(y->in[0], restore(y, safe))));
    ag_add_grad(y->in[0], ag_mul(ag_reuse(share), restore(y, dy)));
}
static ag_var *log_sum_exp_last(ag_var **in) {
    return ag_log_sum_exp(in[0], AG_AXIS(-1), false);
}
static ag_var *log_sum_exp_two(ag_var **in) {
    return ag_log_sum_exp(in[0], AG_AXIS(0) | AG_AXIS(2), true);
}
static const ag_case log_sum_exp_cases[] = {
    {"last axis", log_sum_exp_last, 1, {{2, {4, 5}}}, .not_empty = 5},
    {"two axes, kept", log_sum_exp_two, 1, {{3, {3, 4, 2}}}, .not_empty = 3}};
const ag_op ag_op_log_sum_exp = {"log_sum_exp", log_sum_exp_backward, .reads = AG_READS(0) | AG_READS_OUTPUT,
                                 AG_CASES(log_sum_exp_cases)};

ag_var *ag_log_sum_exp(ag_var *x, unsigned axes, bool keep) {
    ag_var *y = begin(&ag_op_log_sum_exp, x, axes, keep, sizeof(reduction));
    if (!y) return NULL;
    const reduction *r = y->saved;
    tensor so_far = x->value; /* one axis after the other */
    for (int axis = 0; axis < x->value.rank; axis++) {
        if (!(r->axes & AG_AXIS(axis))) continue;
        tensor next = so_far;
        next.shape[axis] = 1;
        next = ag_tensor_like(y->tape, next);
        tensor_log_sum_exp(next, so_far, axis, ag_err(y));
        so_far = next;
    }
    tensor_copy(y->value, so_far, ag_err(y));
    return end(y);
}

/* ---- Variance --------------------------------------------------------------------------------- */

typedef struct spread {
    reduction of; /* first, as restore looks for it */
    float factor;
    ag_var *centred; /* x - mean, as data */
} spread;

/* dy 2 (x - mean) factor: the mean's share of it is 0. */
static void variance_backward(ag_var *y, ag_var *dy) {
    const spread *s = y->saved;
    ag_add_grad(y->in[0], ag_mul(s->centred, restore(y, ag_affine(dy, 2 * s->factor, 0))));
}
static ag_var *variance_decompose(ag_var *y) {
    const spread *s = y->saved;
    ag_var *x = y->in[0], *centred = ag_sub(x, ag_mean(x, s->of.axes, true));
    ag_var *sum = ag_affine(ag_sum_squares(centred, s->of.axes, true), s->factor, 0);
    return ag_reshape(sum, y->value.rank, y->value.shape);
}
static ag_var *variance_one(ag_var **in) {
    return ag_variance(in[0], AG_AXIS(1), 1, false);
}
static ag_var *variance_all(ag_var **in) {
    return ag_variance(in[0], AG_ALL, 0, true);
}
static const ag_case variance_cases[] = {{"one axis", variance_one, 1, {{3, {2, 5, 3}}}, .fixed = 5},
                                         {"all axes", variance_all, 1, {{2, {4, 3}}}, .not_empty = 4}};
const ag_op ag_op_variance = {"variance", variance_backward, variance_decompose, AG_CASES(variance_cases)};

ag_var *ag_variance(ag_var *x, unsigned axes, double correction, bool keep) {
    ag_var *y = begin(&ag_op_variance, x, axes, keep, sizeof(spread));
    if (!y) return NULL;
    spread *s = y->saved;
    const tensor mean = ag_tensor_like(y->tape, y->value), centred = ag_tensor_like(y->tape, x->value);
    const double count =
        tensor_size(x->value) > 0 ? (double)tensor_size(x->value) / (double)tensor_size(y->value) : 0;
    s->factor = (float)(1 / fmax(count - correction, 0));
    s->centred = ag_input(y->tape, centred);
    tensor_reduce(mean, TENSOR_MEAN, x->value, s->of.axes, false, ag_err(y));
    tensor_binary(centred, TENSOR_SUB, x->value, mean, ag_err(y));
    tensor_reduce_of(y->value, TENSOR_SUM, TENSOR_SQUARE, centred, s->of.axes, false, ag_err(y));
    tensor_affine(y->value, s->factor, y->value, 0, ag_err(y));
    return end(y);
}

/* ---- Roots of sums ------------------------------------------------------------------------------ */

/* v^e for v >= 0, with a slope of 0 at 0. */
static ag_var *power(ag_var *v, float e) {
    ag_tape *tape = ag_tape_of(v);
    ag_var *zero = ag_constant(tape, 0), *none = ag_equal(v, zero);
    ag_var *safe = ag_where(none, ag_constant(tape, 1), v);
    return ag_where(none, zero, e == 0.5f ? ag_sqrt(safe) : ag_pow(safe, ag_constant(tape, e)));
}

static ag_var *deviation_case(ag_var **in) {
    return ag_deviation(in[0], AG_AXIS(-1), 1, false);
}
static const ag_case deviation_cases[] = {{"", deviation_case, 1, {{3, {2, 3, 5}}}, .fixed = 5}};
const ag_op ag_op_deviation = {"deviation", AG_CASES(deviation_cases)};

ag_var *ag_deviation(ag_var *x, unsigned axes, double correction, bool keep) {
    return power(ag_variance(x, axes, correction, keep), 0.5f);
}

static ag_var *norm_2(ag_var **in) {
    return ag_norm(in[0], 2, AG_AXIS(-1), false);
}
static ag_var *norm_1(ag_var **in) {
    return ag_norm(in[0], 1, AG_ALL, true);
}
static ag_var *norm_3(ag_var **in) {
    return ag_norm(in[0], 3, AG_AXIS(0), false);
}
static ag_var *norm_largest(ag_var **in) {
    return ag_norm(in[0], (double)INFINITY, AG_AXIS(-1), false);
}
static const ag_case norm_cases[] = {
    {"2", norm_2, 1, {{2, {3, 5}, 0.25f, 2}}},
    {"1", norm_1, 1, {{2, {3, 5}, 0.25f, 2}}},
    {"3", norm_3, 1, {{2, {4, 3}, 0.25f, 2}}},
    {"the largest", norm_largest, 1, {{2, {3, 5}, 0.25f, 2}}, .not_empty = 5},
};
const ag_op ag_op_norm = {"norm", AG_CASES(norm_cases)};

ag_var *ag_norm(ag_var *x, double p, unsigned axes, bool keep) {
    ag_tape *tape = ag_tape_of(x);
    if (p == 2) return power(ag_sum_squares(x, axes, keep), 0.5f);
    if (p == 1) return ag_sum_sizes(x, axes, keep);
    if (p == (double)INFINITY) return ag_max_over(ag_abs(x), axes, keep);
    if (p == 0) return ag_sum(ag_not_equal(x, ag_constant(tape, 0)), axes, keep);
    if (!(p > 1)) return ag_fail(tape, "norm: %g is neither 0 nor 1 or more", p);
    ag_var *powers = ag_pow(ag_abs(x), ag_constant(tape, (float)p));
    return power(ag_sum(powers, axes, keep), (float)(1 / p));
}

/* ---- Running sums ------------------------------------------------------------------------------- */

typedef struct running {
    int axis;
    bool from_end;
} running;

static ag_var *run_sum(ag_var *x, int axis, bool from_end);

/* What comes at i is in all sums from i on: the running sum of dy from the other end. */
static void cumulative_sum_backward(ag_var *y, ag_var *dy) {
    const running *r = y->saved;
    ag_add_grad(y->in[0], run_sum(dy, r->axis, !r->from_end));
}
static ag_var *cumulative_sum_case(ag_var **in) {
    return ag_mul(ag_cumulative_sum(in[0], 1), in[0]);
}
static ag_var *cumulative_sum_first(ag_var **in) {
    return ag_cumulative_sum(in[0], -2);
}
static const ag_case cumulative_sum_cases[] = {{"last axis", cumulative_sum_case, 1, {{2, {3, 5}}}},
                                               {"first axis", cumulative_sum_first, 1, {{2, {4, 3}}}}};
const ag_op ag_op_cumulative_sum = {"cumulative_sum", cumulative_sum_backward,
                                    AG_CASES(cumulative_sum_cases)};

static tensor turned(ag_var *y, tensor x, const running *r) {
    return r->from_end ? tensor_slice(x, r->axis, -1, INT64_MIN, -1, ag_err(y)) : x;
}

static ag_var *run_sum(ag_var *x, int axis, bool from_end) {
    ag_var *y = ag_begin(&ag_op_cumulative_sum, 1, &x);
    running *r = ag_save(y, sizeof *r);
    if (!r || (r->axis = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    r->from_end = from_end;
    if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape))
        tensor_cumulative_sum(turned(y, y->value, r), turned(y, x->value, r), r->axis, ag_err(y));
    return ag_end(y);
}

ag_var *ag_cumulative_sum(ag_var *x, int axis) {
    return run_sum(x, axis, false);
}
