/* Operations that move elements without changing them. */
#include "autograd/ops.h"

#include <string.h>

static ag_var *no_list(ag_var *y) {
    return ag_fail(y->tape, "%s: the list of sizes or axes is NULL", y->op->name);
}

/* ---- reshape ------------------------------------------------------------------------------ */

static void reshape_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_reshape(dy, y->in[0]->value.rank, y->in[0]->value.shape));
}
static tensor reshape_view(const ag_var *y, tensor x) {
    return tensor_reshape(x, y->value.rank, y->value.shape, NULL);
}
static ag_var *reshape_case(ag_var **in) {
    return ag_reshape(in[0], TENSOR_SHAPE(2, -1));
}
static ag_var *reshape_copy_case(ag_var **in) {
    return ag_reshape(ag_transpose(in[0], 0, 1), TENSOR_SHAPE(-1));
}
static const ag_case reshape_cases[] = {{"view", reshape_case, 1, {{2, {3, 4}}}, .fixed = 4},
                                        {"copy", reshape_copy_case, 1, {{2, {3, 4}}}}};
const ag_op ag_op_reshape = {"reshape", reshape_backward, AG_CASES(reshape_cases), .view = reshape_view};

ag_var *ag_reshape(ag_var *x, int rank, const int64_t *shape) {
    ag_var *y = ag_begin(&ag_op_reshape, 1, &x);
    if (!y) return NULL;
    if (rank > 0 && !shape) return no_list(y);
    if (!ag_out_view(y, x, tensor_reshape(x->value, rank, shape, NULL))) {
        /* Not as a view: of a copy, and the error text where the shape is wrong. */
        if (ag_out(y, x->value.dtype, x->value.rank, x->value.shape) &&
            tensor_copy(y->value, x->value, ag_err(y)))
            y->value = tensor_reshape(y->value, rank, shape, ag_err(y));
    }
    return ag_end(y);
}

/* ---- permute ------------------------------------------------------------------------------ */

static void permute_backward(ag_var *y, ag_var *dy) {
    const int *axes = y->saved;
    int back[TENSOR_MAX_RANK];
    for (int axis = 0; axis < y->value.rank; axis++) back[axes[axis]] = axis;
    ag_add_grad(y->in[0], ag_permute(dy, back));
}
static tensor permute_view(const ag_var *y, tensor x) {
    return tensor_permute(x, y->saved, NULL);
}
static ag_var *permute_case(ag_var **in) {
    return ag_permute(in[0], (int[]){2, 0, 1});
}
static ag_var *transpose_case(ag_var **in) {
    return ag_mul(ag_transpose(in[0], -1, 0), in[1]);
}
static const ag_case permute_cases[] = {{"permute", permute_case, 1, {{3, {2, 3, 4}}}},
                                        {"transpose", transpose_case, 2, {{2, {2, 5}}, {2, {5, 2}}}}};
const ag_op ag_op_permute = {"permute", permute_backward, AG_CASES(permute_cases), .view = permute_view};

ag_var *ag_permute(ag_var *x, const int *axes) {
    ag_var *y = ag_begin(&ag_op_permute, 1, &x);
    int *saved = ag_save(y, sizeof(int[TENSOR_MAX_RANK]));
    if (y && !axes && x->value.rank > 0) return no_list(y);
    if (!saved || !ag_out_view(y, x, tensor_permute(x->value, axes, ag_err(y)))) return NULL;
    for (int axis = 0; axis < x->value.rank; axis++)
        saved[axis] = axes[axis] < 0 ? axes[axis] + x->value.rank : axes[axis];
    return ag_end(y);
}

ag_var *ag_transpose(ag_var *x, int axis0, int axis1) {
    if (!x) return NULL;
    const int rank = x->value.rank, a = axis0 < 0 ? axis0 + rank : axis0,
              b = axis1 < 0 ? axis1 + rank : axis1;
    if (a < 0 || a >= rank || b < 0 || b >= rank)
        return ag_fail(x->tape, "transpose: the axes %d and %d are not both in a tensor of rank %d", axis0,
                       axis1, rank);
    int axes[TENSOR_MAX_RANK];
    for (int axis = 0; axis < rank; axis++) axes[axis] = axis == a ? b : axis == b ? a : axis;
    return ag_permute(x, axes);
}

/* ---- slice and unslice: each is the other's backward ---------------------------------------- */

typedef struct range {
    int axis;
    int64_t start, stop, step;
} range;

static void slice_backward(ag_var *y, ag_var *dy) {
    const range *r = y->saved;
    const tensor x = y->in[0]->value;
    ag_add_grad(y->in[0], ag_unslice(dy, x.rank, x.shape, r->axis, r->start, r->stop, r->step));
}
static tensor slice_view(const ag_var *y, tensor x) {
    const range *r = y->saved;
    return tensor_slice(x, r->axis, r->start, r->stop, r->step, NULL);
}
static ag_var *slice_case(ag_var **in) {
    return ag_slice(in[0], 1, 1, 6, 2);
}
static ag_var *slice_reverse_case(ag_var **in) {
    return ag_slice(in[0], -1, -1, INT64_MIN, -2);
}
static ag_var *slice_overlap_case(ag_var **in) {
    return ag_mul(ag_slice(in[0], 0, 0, 3, 1), ag_slice(in[0], 0, 1, 4, 1));
}
static const ag_case slice_cases[] = {{"step 2", slice_case, 1, {{2, {3, 7}}}},
                                      {"backwards", slice_reverse_case, 1, {{2, {2, 7}}}},
                                      {"overlapping slices", slice_overlap_case, 1, {{2, {4, 3}}}}};
const ag_op ag_op_slice = {"slice", slice_backward, AG_CASES(slice_cases), .view = slice_view};

ag_var *ag_slice(ag_var *x, int axis, int64_t start, int64_t stop, int64_t step) {
    ag_var *y = ag_begin(&ag_op_slice, 1, &x);
    range *r = ag_save(y, sizeof *r);
    if (!r) return NULL;
    *r = (range){axis, start, stop, step};
    ag_out_view(y, x, tensor_slice(x->value, axis, start, stop, step, ag_err(y)));
    return ag_end(y);
}

/* ---- select: a slice of one, without its axis ------------------------------------------------ */

static tensor select_view(const ag_var *y, tensor x) {
    const range *r = y->saved;
    return tensor_squeeze(tensor_slice(x, r->axis, r->start, r->stop, 1, NULL), r->axis, NULL);
}
static void select_backward(ag_var *y, ag_var *dy) {
    const range *r = y->saved;
    const tensor x = y->in[0]->value;
    ag_add_grad(y->in[0],
                ag_unslice(ag_unsqueeze(dy, r->axis), x.rank, x.shape, r->axis, r->start, r->stop, 1));
}
static ag_var *select_case(ag_var **in) {
    return ag_mul(ag_select(in[0], 1, 2), ag_select(in[0], -2, -1));
}
static const ag_case select_cases[] = {{"", select_case, 1, {{3, {2, 5, 3}}}, .fixed = 5}};
const ag_op ag_op_select = {"select", select_backward, AG_CASES(select_cases), .view = select_view};

ag_var *ag_select(ag_var *x, int axis, int64_t index) {
    ag_var *y = ag_begin(&ag_op_select, 1, &x);
    range *r = ag_save(y, sizeof *r);
    if (!r || (axis = ag_axis(y, axis, x->value.rank)) < 0) return NULL;
    const int64_t size = x->value.shape[axis], at = index < 0 ? index + size : index;
    if (at < 0 || at >= size)
        return ag_fail(y->tape, "select: index %lld is outside axis %d of size %lld", (long long)index, axis,
                       (long long)size);
    *r = (range){axis, at, at + 1, 1};
    ag_out_view(y, x, select_view(y, x->value));
    return ag_end(y);
}

static void unslice_backward(ag_var *y, ag_var *dy) {
    const range *r = y->saved;
    ag_add_grad(y->in[0], ag_slice(dy, r->axis, r->start, r->stop, r->step));
}
static ag_var *unslice_case(ag_var **in) {
    return ag_unslice(in[0], TENSOR_SHAPE(ag_size(in[0], 0), 2 * ag_size(in[0], 1) + 1), 1, 1, INT64_MAX, 2);
}
static const ag_case unslice_cases[] = {{"step 2", unslice_case, 1, {{2, {3, 4}}}}};
const ag_op ag_op_unslice = {"unslice", unslice_backward, AG_CASES(unslice_cases)};

ag_var *ag_unslice(ag_var *x, int rank, const int64_t *shape, int axis, int64_t start, int64_t stop,
                   int64_t step) {
    ag_var *y = ag_begin(&ag_op_unslice, 1, &x);
    range *r = ag_save(y, sizeof *r);
    if (!r) return NULL;
    *r = (range){axis, start, stop, step};
    if (rank > 0 && !shape) return no_list(y);
    if (!ag_out(y, x->value.dtype, rank, shape)) return NULL;
    const tensor slice = tensor_slice(y->value, axis, start, stop, step, ag_err(y));
    if (tensor_ok(slice) && !tensor_same_shape(slice, x->value)) {
        char a[TENSOR_SHAPE_TEXT], b[TENSOR_SHAPE_TEXT];
        return ag_fail(y->tape, "unslice: the slice is %s, not %s",
                       tensor_shape_text(a, sizeof a, slice.rank, slice.shape),
                       tensor_shape_text(b, sizeof b, x->value.rank, x->value.shape));
    }
    if (tensor_fill(y->value, 0, ag_err(y))) tensor_copy(slice, x->value, ag_err(y));
    return ag_end(y);
}

/* ---- expand ------------------------------------------------------------------------------- */

static void expand_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], dy);
}
static ag_var *expand_case(ag_var **in) {
    return ag_mul(ag_expand(in[0], 3, in[1] ? in[1]->value.shape : NULL), in[1]);
}
static const ag_case expand_cases[] = {{"", expand_case, 2, {{2, {3, 1}}, {3, {2, 3, 4}}}}};
const ag_op ag_op_expand = {"expand", expand_backward, AG_CASES(expand_cases)};

ag_var *ag_expand(ag_var *x, int rank, const int64_t *shape) {
    ag_var *y = ag_begin(&ag_op_expand, 1, &x);
    if (y && rank > 0 && !shape) return no_list(y);
    if (y) ag_out_view(y, x, tensor_expand(x->value, rank, shape, ag_err(y)));
    return ag_end(y);
}

ag_var *ag_squeeze(ag_var *x, int axis) {
    if (!x || !x->tape) return NULL;
    const tensor t = tensor_squeeze(x->value, axis, &x->tape->error);
    return tensor_ok(t) ? ag_reshape(x, t.rank, t.shape) : NULL;
}

ag_var *ag_unsqueeze(ag_var *x, int axis) {
    if (!x || !x->tape) return NULL;
    const tensor t = tensor_unsqueeze(x->value, axis, &x->tape->error);
    return tensor_ok(t) ? ag_reshape(x, t.rank, t.shape) : NULL;
}

/* ---- concat ------------------------------------------------------------------------------- */

static void concat_backward(ag_var *y, ag_var *dy) {
    const int axis = *(const int *)y->saved;
    int64_t at = 0;
    for (int i = 0; i < y->inputs; i++) {
        const int64_t size = y->in[i]->value.shape[axis];
        if (ag_needs_grad(y->in[i])) ag_add_grad(y->in[i], ag_slice(dy, axis, at, at + size, 1));
        at += size;
    }
}
static ag_var *concat_case(ag_var **in) {
    return ag_concat(in, 3, 1);
}
static ag_var *concat_twice_case(ag_var **in) {
    return ag_concat((ag_var *[]){in[0], in[1], in[0]}, 3, -2);
}
static const ag_case concat_cases[] = {{"three", concat_case, 3, {{2, {3, 2}}, {2, {3, 1}}, {2, {3, 4}}}},
                                       {"operand twice", concat_twice_case, 2, {{2, {2, 3}}, {2, {1, 3}}}}};
const ag_op ag_op_concat = {"concat", concat_backward, AG_CASES(concat_cases)};

/* The sizes of the result, where all agree but for the axis. */
static bool concat_shape(ag_var *y, int axis, int64_t *shape) {
    const tensor first = y->in[0]->value;
    memcpy(shape, first.shape, sizeof first.shape);
    for (int i = 1; i < y->inputs; i++) {
        const tensor x = y->in[i]->value;
        bool same = x.rank == first.rank && x.dtype == first.dtype;
        for (int k = 0; same && k < x.rank; k++) same = k == axis || x.shape[k] == first.shape[k];
        if (!same) {
            char a[TENSOR_SHAPE_TEXT], b[TENSOR_SHAPE_TEXT];
            ag_fail(y->tape, "concat: shapes differ beside axis %d: %s and %s", axis,
                    tensor_shape_text(a, sizeof a, first.rank, first.shape),
                    tensor_shape_text(b, sizeof b, x.rank, x.shape));
            return false;
        }
        shape[axis] += x.shape[axis];
    }
    return true;
}

ag_var *ag_concat(ag_var *const *x, int count, int axis) {
    if (count < 1 || !x) return NULL;
    ag_var *y = ag_begin(&ag_op_concat, count, x);
    int *saved = ag_save(y, sizeof *saved);
    if (!saved) return NULL;
    *saved = ag_axis(y, axis, x[0]->value.rank);
    int64_t shape[TENSOR_MAX_RANK];
    if (*saved < 0 || !concat_shape(y, *saved, shape) ||
        !ag_out(y, x[0]->value.dtype, x[0]->value.rank, shape))
        return NULL;
    tensor *parts = tensor_arena_alloc(y->tape->arena, (size_t)count * sizeof *parts, ag_err(y));
    if (!parts) return NULL;
    for (int i = 0; i < count; i++) parts[i] = x[i]->value;
    tensor_concat(y->value, count, parts, *saved, ag_err(y));
    return ag_end(y);
}

/* ---- Made of these -------------------------------------------------------------------------- */

static ag_var *stack_case(ag_var **in) {
    return ag_stack(in, 3, 1);
}
static ag_var *stack_last_case(ag_var **in) {
    return ag_stack((ag_var *[]){in[0], in[1], in[0]}, 3, -1);
}
static const ag_case stack_cases[] = {{"three", stack_case, 3, {{2, {3, 4}}, {2, {3, 4}}, {2, {3, 4}}}},
                                      {"last axis", stack_last_case, 2, {{1, {5}}, {1, {5}}}}};
const ag_op ag_op_stack = {"stack", AG_CASES(stack_cases)};

ag_var *ag_stack(ag_var *const *x, int count, int axis) {
    ag_tape *tape = NULL;
    for (int i = 0; x && i < count && !tape; i++) tape = ag_tape_of(x[i]);
    if (!tape || ag_failed(tape)) return NULL;
    ag_var **rows = tensor_arena_alloc(tape->arena, (size_t)count * sizeof(ag_var *), &tape->error);
    for (int i = 0; rows && i < count; i++) rows[i] = ag_unsqueeze(ag_use(tape, x[i]), axis);
    return rows ? ag_concat(rows, count, axis) : NULL;
}

/* Whether the axis has so many equal parts, or parts of these sizes. */
static bool divide(ag_var *x, const char *what, int axis, int count, const int64_t *sizes) {
    const int64_t size = x->value.shape[axis];
    int64_t sum = 0;
    bool possible = count > 0 && (sizes || size % count == 0);
    for (int i = 0; possible && sizes && i < count; i++) {
        possible = sizes[i] >= 0 && sizes[i] <= size - sum;
        sum += possible ? sizes[i] : 0;
    }
    if (possible && (!sizes || sum == size)) return true;
    ag_fail(x->tape, "%s: axis %d of size %lld does not have %d such parts", what, axis, (long long)size,
            count);
    return false;
}

static ag_var *split_case(ag_var **in) {
    ag_var *y[3];
    return ag_split(in[0], 1, 3, (int64_t[]){1, 3, 1}, y) ? ag_mul(y[1], ag_mul(y[0], y[2])) : NULL;
}
static ag_var *unbind_case(ag_var **in) {
    ag_var *y[3];
    return ag_unbind(in[0], -2, 3, y) ? ag_mul(y[2], y[0]) : NULL;
}
static const ag_case split_cases[] = {{"sizes", split_case, 1, {{3, {2, 5, 3}}}, .fixed = 5}};
static const ag_case unbind_cases[] = {{"", unbind_case, 1, {{3, {2, 3, 4}}}, .fixed = 3}};
const ag_op ag_op_split = {"split", AG_CASES(split_cases)};
const ag_op ag_op_unbind = {"unbind", AG_CASES(unbind_cases)};

static bool all_made(int count, ag_var **y) {
    bool made = true;
    for (int i = 0; i < count; i++) made = made && y[i];
    for (int i = 0; !made && i < count; i++) y[i] = NULL;
    return made;
}

bool ag_split(ag_var *x, int axis, int count, const int64_t *sizes, ag_var **y) {
    for (int i = 0; i < count; i++) y[i] = NULL;
    if (!ag_tape_of(x) || (axis = ag_axis_of(x->tape, "split", axis, x->value.rank)) < 0 ||
        !divide(x, "split", axis, count, sizes))
        return false;
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const int64_t size = sizes ? sizes[i] : x->value.shape[axis] / count;
        y[i] = ag_slice(x, axis, at, at + size, 1);
        at += size;
    }
    return all_made(count, y);
}

bool ag_unbind(ag_var *x, int axis, int count, ag_var **y) {
    for (int i = 0; i < count; i++) y[i] = NULL;
    if (!ag_tape_of(x) || (axis = ag_axis_of(x->tape, "unbind", axis, x->value.rank)) < 0) return false;
    const int64_t size = x->value.shape[axis];
    if (size != count)
        return ag_fail(x->tape, "unbind: axis %d has %lld parts, not %d", axis, (long long)size, count);
    for (int i = 0; i < count; i++) y[i] = ag_select(x, axis, i);
    return all_made(count, y);
}
