/* Elements by number and in order. */
#include "autograd/ops.h"

#include <string.h>

/* ---- gather and scatter_add: each is the other's backward ---------------------------------------- */

static tensor scatter_scratch(ag_var *y, tensor out, int axis) {
    enum { SHORT = 4096 }; /* a longer axis gets no more than it must */
    const int64_t n = out.shape[axis], times = n > 1 && out.stride[axis] == 1 ? 2 : n > SHORT ? 32 : 128;
    return ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(times * n));
}

static void gather_backward(ag_var *y, ag_var *dy) {
    const int axis = *(const int *)y->saved;
    ag_var *x = y->in[0], *ids = y->in[1];
    if (y->tape->phase == AG_RECORDED_GRADIENTS) {
        ag_var *zeros = ag_zeros(y->tape, x->value.rank, x->value.shape);
        ag_add_grad(x, ag_scatter_add(zeros, axis, ids, dy));
        return;
    }
    const tensor dx = ag_grad_buffer(y, x, NULL);
    if (tensor_ok(dx))
        tensor_scatter_add(dx, axis, ids->value, dy->value, scatter_scratch(y, dx, axis), ag_err(y));
}
static ag_var *gather_case(ag_var **in) {
    return ag_gather(in[0], 1, in[1]);
}
static ag_var *gather_first(ag_var **in) {
    return ag_gather(in[0], -2, in[1]);
}
static const ag_case gather_cases[] = {
    {"last axis", gather_case, 2, {{2, {3, 5}}, {2, {3, 4}, .ids = 5}}, .not_empty = 5},
    {"first axis", gather_first, 2, {{2, {4, 3}}, {2, {7, 3}, .ids = 4}}, .not_empty = 4}};
const ag_op ag_op_gather = {"gather", gather_backward, .reads = AG_READS(1), AG_CASES(gather_cases)};

ag_var *ag_gather(ag_var *x, int axis, ag_var *ids) {
    ag_var *y = ag_begin(&ag_op_gather, 2, (ag_var *[]){x, ids});
    int *saved = ag_save(y, sizeof *saved);
    if (!saved || (*saved = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    if (ag_out(y, TENSOR_F32, ids->value.rank, ids->value.shape))
        tensor_gather(y->value, x->value, *saved, ids->value, ag_err(y));
    return ag_end(y);
}

static void scatter_add_backward(ag_var *y, ag_var *dy) {
    const int axis = *(const int *)y->saved;
    ag_add_grad(y->in[0], dy);
    if (ag_needs_grad(y->in[2])) ag_add_grad(y->in[2], ag_gather(dy, axis, y->in[1]));
}
static ag_var *scatter_add_case(ag_var **in) {
    return ag_scatter_add(in[0], 1, in[1], in[2]);
}
static const ag_case scatter_add_cases[] = {
    {"", scatter_add_case, 3, {{2, {3, 5}}, {2, {3, 7}, .ids = 5}, {2, {3, 7}}}, .not_empty = 5}};
const ag_op ag_op_scatter_add = {"scatter_add", scatter_add_backward, .reads = AG_READS(1),
                                 AG_CASES(scatter_add_cases)};

ag_var *ag_scatter_add(ag_var *x, int axis, ag_var *ids, ag_var *src) {
    ag_var *y = ag_begin(&ag_op_scatter_add, 3, (ag_var *[]){x, ids, src});
    int *saved = ag_save(y, sizeof *saved);
    if (!saved || (*saved = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape) && tensor_copy(y->value, x->value, ag_err(y)))
        tensor_scatter_add(y->value, *saved, ids->value, src->value, scatter_scratch(y, y->value, *saved),
                           ag_err(y));
    return ag_end(y);
}

/* ---- index_select ----------------------------------------------------------------------------- */

static ag_var *index_select_case(ag_var **in) {
    return ag_index_select(in[0], 1, in[1]);
}
static ag_var *index_select_first(ag_var **in) {
    return ag_index_select(in[0], 0, in[1]);
}
static const ag_case index_select_cases[] = {
    {"rows", index_select_first, 2, {{3, {4, 2, 3}}, {1, {7}, .ids = 4}}, .not_empty = 4},
    {"columns", index_select_case, 2, {{2, {3, 5}}, {1, {7}, .ids = 5}}, .not_empty = 5}};
const ag_op ag_op_index_select = {"index_select", AG_CASES(index_select_cases)};

ag_var *ag_index_select(ag_var *x, int axis, ag_var *ids) {
    ag_tape *tape = ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(ids);
    x = ag_use(tape, x);
    ids = ag_use(tape, ids);
    if (!x || !ids || (axis = ag_axis_of(tape, "index_select", axis, x->value.rank)) < 0) return NULL;
    if (ids->value.rank != 1)
        return ag_fail(tape, "index_select: ids have rank %d, expected 1", ids->value.rank);
    const int rank = x->value.rank;
    int64_t shape[TENSOR_MAX_RANK], flat[TENSOR_MAX_RANK], rest = 1;
    for (int i = 0; i < rank; i++) {
        shape[i] = i == axis ? ids->value.shape[0] : x->value.shape[i];
        flat[i] = i == axis ? shape[i] : 1;
        if (i != axis) rest *= shape[i];
    }
    if (axis == 0 && rank > 1) { /* whole rows */
        ag_var *table = ag_reshape(x, TENSOR_SHAPE(x->value.shape[0], rest));
        return ag_reshape(ag_embedding(table, ids), rank, shape);
    }
    return ag_gather(x, axis, ag_expand(ag_reshape(ids, rank, flat), rank, shape));
}

/* ---- In order --------------------------------------------------------------------------------- */

static const char numbers[] = "its result is the numbers of elements, which have no gradient";

const ag_op ag_op_argsort = {"argsort", NULL, .no_cases = numbers};

ag_var *ag_argsort(ag_var *x, int axis, bool falling) {
    ag_var *y = ag_begin(&ag_op_argsort, 1, &x);
    if (!y || (axis = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    const tensor scratch = ag_tensor(y->tape, TENSOR_I32, TENSOR_SHAPE(4 * x->value.shape[axis]));
    if (ag_out(y, TENSOR_I32, x->value.rank, x->value.shape))
        tensor_argsort(y->value, x->value, axis, falling, scratch, ag_err(y));
    return ag_end(y);
}

static ag_var *sort_case(ag_var **in) {
    return ag_sort(in[0], -1, true, NULL);
}
static ag_var *sort_first(ag_var **in) {
    return ag_mul(ag_sort(in[0], 0, false, NULL), in[0]);
}
static const ag_case sort_cases[] = {{"falling", sort_case, 1, {{2, {3, 5}}}},
                                     {"first axis", sort_first, 1, {{2, {4, 3}}}}};
const ag_op ag_op_sort = {"sort", AG_CASES(sort_cases)};

ag_var *ag_sort(ag_var *x, int axis, bool falling, ag_var **ids) {
    ag_var *order = ag_argsort(x, axis, falling);
    if (ids) *ids = order;
    return order ? ag_gather(x, axis, order) : NULL;
}

static ag_var *top_k_case(ag_var **in) {
    return ag_top_k(in[0], -1, 2, NULL);
}
static const ag_case top_k_cases[] = {{"", top_k_case, 1, {{3, {2, 3, 5}}}, .fixed = 5}};
const ag_op ag_op_top_k = {"top_k", AG_CASES(top_k_cases)};

ag_var *ag_top_k(ag_var *x, int axis, int64_t k, ag_var **ids) {
    ag_var *y = ag_begin(&ag_op_top_k, 1, &x);
    if (ids) *ids = NULL;
    if (!y || (axis = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    int64_t shape[TENSOR_MAX_RANK];
    memcpy(shape, x->value.shape, sizeof shape);
    if (k < 0 || k > shape[axis])
        return ag_fail(y->tape, "top_k: there are %lld elements, not %lld", (long long)shape[axis],
                       (long long)k);
    shape[axis] = k;
    const tensor scratch = ag_tensor(y->tape, TENSOR_I32, TENSOR_SHAPE(2 * k));
    if (ag_out(y, TENSOR_I32, x->value.rank, shape))
        tensor_top_k(y->value, x->value, axis, scratch, ag_err(y));
    y = ag_end(y);
    if (ids) *ids = y;
    return y ? ag_gather(x, axis, y) : NULL;
}

const ag_op ag_op_argmax = {"argmax", NULL, .no_cases = numbers};

ag_var *ag_argmax(ag_var *x, int axis) {
    ag_var *y = ag_begin(&ag_op_argmax, 1, &x);
    if (!y || (axis = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    int64_t shape[TENSOR_MAX_RANK];
    memcpy(shape, x->value.shape, sizeof shape);
    shape[axis] = 1;
    if (ag_out(y, TENSOR_I32, x->value.rank, shape) && tensor_argmax(y->value, x->value, axis, ag_err(y)))
        y->value = tensor_squeeze(y->value, axis, ag_err(y));
    return ag_end(y);
}

ag_var *ag_argmin(ag_var *x, int axis) {
    return ag_argmax(ag_neg(ag_detach(x)), axis);
}

/* ---- Views and triangles ------------------------------------------------------------------------ */

static ag_var *flip_case(ag_var **in) {
    return ag_mul(ag_flip(in[0], AG_AXIS(0) | AG_AXIS(-1)), in[0]);
}
static const ag_case flip_cases[] = {{"", flip_case, 1, {{3, {2, 3, 4}}}}};
const ag_op ag_op_flip = {"flip", AG_CASES(flip_cases)};

ag_var *ag_flip(ag_var *x, unsigned axes) {
    unsigned front;
    if (!ag_tape_of(x) || !ag_axes_of(x->tape, "flip", axes, x->value.rank, &front)) return NULL;
    for (int axis = 0; axis < ag_rank(x); axis++)
        if (front & AG_AXIS(axis)) x = ag_slice(x, axis, -1, INT64_MIN, -1);
    return x;
}

typedef struct triangle {
    int64_t diagonal;
    bool upper;
} triangle;

static ag_var *part_of(const ag_op *op, ag_var *x, int64_t diagonal, bool upper) {
    ag_var *y = ag_begin(op, 1, &x);
    triangle *t = ag_save(y, sizeof *t);
    if (!t) return NULL;
    *t = (triangle){diagonal, upper};
    if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape))
        tensor_triangle(y->value, x->value, diagonal, upper, ag_err(y));
    return ag_end(y);
}

static void triangle_backward(ag_var *y, ag_var *dy) {
    const triangle *t = y->saved;
    ag_add_grad(y->in[0], part_of(y->op, dy, t->diagonal, t->upper));
}
static ag_var *tril_case(ag_var **in) {
    return ag_tril(in[0], -1);
}
static ag_var *triu_case(ag_var **in) {
    return ag_mul(ag_triu(in[0], 1), in[0]);
}
static const ag_case tril_cases[] = {{"", tril_case, 1, {{3, {2, 4, 5}}}}};
static const ag_case triu_cases[] = {{"", triu_case, 1, {{2, {5, 4}}}}};
const ag_op ag_op_tril = {"tril", triangle_backward, AG_CASES(tril_cases)};
const ag_op ag_op_triu = {"triu", triangle_backward, AG_CASES(triu_cases)};

ag_var *ag_tril(ag_var *x, int64_t diagonal) {
    return part_of(&ag_op_tril, x, diagonal, false);
}
ag_var *ag_triu(ag_var *x, int64_t diagonal) {
    return part_of(&ag_op_triu, x, diagonal, true);
}
