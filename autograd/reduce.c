/* Reductions. Each is computed with its reduced axes kept as size 1, and then viewed without them. */
#include "autograd/ops.h"

/* x's shape with size 1 on the reduced axes. */
typedef struct reduction {
    unsigned axes;
    int64_t kept[TENSOR_MAX_RANK];
} reduction;

/* A set made with AG_AXIS as bits from the front: bit 32 - i is axis -i. */
static bool axes_of(ag_var *y, unsigned axes, unsigned *front) {
    const int rank = y->in[0]->value.rank;
    *front = 0;
    for (int bit = 0; bit < 32; bit++) {
        if (!(axes >> bit & 1u) || (axes == AG_ALL && bit >= rank)) continue;
        const int axis = ag_axis(y, bit < 16 ? bit : bit - 32, rank);
        if (axis < 0) return false;
        *front |= 1u << axis;
    }
    return true;
}

static ag_var *reduce(const ag_op *op, tensor_reduce_op kernel, ag_var *x, unsigned axes, bool keep) {
    ag_var *y = ag_begin(op, 1, &x);
    reduction *r = ag_save(y, sizeof *r);
    if (!r) return NULL;
    const int rank = x->value.rank;
    if (!axes_of(y, axes, &r->axes)) return NULL;
    axes = r->axes;
    int64_t shape[TENSOR_MAX_RANK];
    int left = 0;
    for (int axis = 0; axis < rank; axis++) {
        r->kept[axis] = axes & AG_AXIS(axis) ? 1 : x->value.shape[axis];
        if (keep || !(axes & AG_AXIS(axis))) shape[left++] = r->kept[axis];
    }
    if (ag_out(y, TENSOR_F32, rank, r->kept) &&
        tensor_reduce(y->value, kernel, x->value, axes, false, ag_err(y)))
        y->value = tensor_reshape(y->value, left, shape, ag_err(y));
    return ag_end(y);
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

/* All elements that equal the maximum share its gradient. */
static void max_over_backward(ag_var *y, ag_var *dy) {
    const reduction *r = y->saved;
    ag_var *x = y->in[0], *hit = ag_equal(x, restore(y, y));
    ag_var *share = ag_div(restore(y, dy), ag_sum(hit, r->axes, true));
    ag_add_grad(x, ag_mul(ag_reuse(hit), share));
}

/* least: whether nothing may be reduced (0) or one element at least (1). */
#define REDUCTION(fn, kernel, what, least)                                                                   \
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
        {"one axis", fn##_one, 1, {{3, {2, 5, 3}}}, .not_empty = 5 * (least)},                               \
        {"two axes, kept", fn##_two, 1, {{3, {3, 4, 3}}}, .not_empty = 3 * (least)},                         \
        {"all axes", fn##_all, 1, {{2, {4, 4}}}, .not_empty = 4 * (least)},                                  \
    };                                                                                                       \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = what, AG_CASES(fn##_cases)};                      \
    ag_var *ag_##fn(ag_var *x, unsigned axes, bool keep) {                                                   \
        return reduce(&ag_op_##fn, kernel, x, axes, keep);                                                   \
    }

REDUCTION(sum, TENSOR_SUM, 0, 0)
REDUCTION(mean, TENSOR_MEAN, 0, 0)
REDUCTION(max_over, TENSOR_REDUCE_MAX, AG_READS(0) | AG_READS_OUTPUT, 1)
