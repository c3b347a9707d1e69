/* Borders around a tensor, and what windows show of images as rows of a matrix. */
#include <limits.h>

#include "autograd/ops.h"

/* ---- pad ------------------------------------------------------------------------------------------ */

/* The part of y, or of its gradient, that is x. */
static void pad_backward(ag_var *y, ag_var *dy) {
    const int64_t *before = y->saved;
    const tensor *x = &y->in[0]->value;
    for (int axis = 0; axis < x->rank; axis++)
        if (x->shape[axis] != y->value.shape[axis])
            dy = ag_slice(dy, axis, before[axis], before[axis] + x->shape[axis], 1);
    ag_add_grad(y->in[0], dy);
}
static ag_var *pad_case(ag_var **in) {
    return ag_pad(in[0], (int64_t[]){0, 2, 1}, (int64_t[]){0, 0, 3}, 0.5f);
}
static ag_var *pad_crop_case(ag_var **in) {
    return ag_pad(in[0], (int64_t[]){-1, 2}, (int64_t[]){1, -2}, 0);
}
static const ag_case pad_cases[] = {
    {"", pad_case, 1, {{3, {2, 4, 3}}}},
    {"less than nothing", pad_crop_case, 1, {{2, {3, 5}}}, .fixed = 5, .not_empty = 3}};
const ag_op ag_op_pad = {"pad", pad_backward, AG_CASES(pad_cases)};

/* x with no border less than nothing. */
static ag_var *widen(ag_var *x, const int64_t *before, const int64_t *after, float value) {
    ag_var *y = ag_begin(&ag_op_pad, 1, &x);
    int64_t *saved = ag_save(y, sizeof(int64_t[TENSOR_MAX_RANK]));
    if (!saved) return NULL;
    int64_t shape[TENSOR_MAX_RANK];
    const int rank = x->value.rank;
    for (int axis = 0; axis < rank; axis++) {
        saved[axis] = before[axis] > 0 ? before[axis] : 0;
        shape[axis] = x->value.shape[axis] + saved[axis] + (after[axis] > 0 ? after[axis] : 0);
    }
    if (!ag_out(y, x->value.dtype, rank, shape)) return NULL;
    tensor inside = y->value;
    for (int axis = 0; axis < rank; axis++)
        inside = tensor_slice(inside, axis, saved[axis], saved[axis] + x->value.shape[axis], 1, ag_err(y));
    if (tensor_ok(inside) && tensor_fill(y->value, (double)value, ag_err(y)))
        tensor_copy(inside, x->value, ag_err(y));
    return ag_end(y);
}

ag_var *ag_pad(ag_var *x, const int64_t *before, const int64_t *after, float value) {
    if (!x) return NULL;
    if (ag_rank(x) > 0 && (!before || !after)) return ag_fail(x->tape, "pad: a list of borders is NULL");
    bool wider = false;
    for (int axis = 0, rank = ag_rank(x); x && axis < rank; axis++) {
        const int64_t size = ag_size(x, axis);
        int64_t more, all;
        const bool counts = !__builtin_add_overflow(before[axis], after[axis], &more) &&
                            !__builtin_add_overflow(size, more, &all);
        if (before[axis] < -size || after[axis] < -size || !counts || all < 0)
            return ag_fail(x->tape, "pad: borders of %lld and %lld %s axis %d of size %lld",
                           (long long)before[axis], (long long)after[axis],
                           before[axis] > 0 && after[axis] > 0 ? "are too large for" : "leave nothing of",
                           axis, (long long)size);
        if (before[axis] < 0 || after[axis] < 0)
            x = ag_slice(x, axis, before[axis] < 0 ? -before[axis] : 0,
                         after[axis] < 0 ? size + after[axis] : size, 1);
        wider = wider || before[axis] > 0 || after[axis] > 0;
    }
    return wider ? widen(x, before, after, value) : x;
}

/* ---- unfold: made of slices, one for each tap ------------------------------------------------------ */

static ag_var *unfold_case(ag_var **in) {
    return ag_unfold(in[0], 2, 3, (tensor_windows){.padding = {1, 0}});
}
static ag_var *unfold_strides_case(ag_var **in) {
    return ag_unfold(in[0], 2, 2, (tensor_windows){.stride = {2, 3}, .padding = {0, 1}, .dilation = {2, 1}});
}
static const ag_case unfold_cases[] = {
    {"", unfold_case, 1, {{4, {1, 2, 4, 5}}}, .fixed = 5},
    {"strides and dilation", unfold_strides_case, 1, {{4, {2, 1, 4, 5}}}, .fixed = 4, .not_empty = 5},
};
const ag_op ag_op_unfold = {"unfold", AG_CASES(unfold_cases)};

ag_var *ag_unfold(ag_var *x, int64_t height, int64_t width, tensor_windows windows) {
    enum { MOST = 1 << 30 }; /* no size below overflows */
    ag_tape *tape = ag_tape_of(x);
    if (!tape) return NULL;
    if (ag_rank(x) != 4) return ag_fail(tape, "unfold: needs x[N, C, H, W], not a rank of %d", ag_rank(x));
    const int64_t window[2] = {height, width}, n = ag_size(x, 0), c = ag_size(x, 1);
    int64_t stride[2], dilation[2], count[2], border[4] = {0};
    for (int i = 0; i < 2; i++) {
        stride[i] = windows.stride[i] ? windows.stride[i] : 1;
        dilation[i] = windows.dilation[i] ? windows.dilation[i] : 1;
        border[2 + i] = windows.padding[i];
        const bool counts = window[i] >= 1 && window[i] <= MOST && stride[i] >= 1 && dilation[i] >= 1 &&
                            dilation[i] <= MOST && windows.padding[i] >= 0 && windows.padding[i] <= MOST &&
                            (i == 0 || height <= INT_MAX / width);
        const int64_t room =
            counts ? ag_size(x, 2 + i) + 2 * windows.padding[i] - dilation[i] * (window[i] - 1) - 1 : -1;
        if (room < 0)
            return ag_fail(tape, "unfold: windows of %lld x %lld are not possible over %lld x %lld",
                           (long long)height, (long long)width, (long long)ag_size(x, 2),
                           (long long)ag_size(x, 3));
        count[i] = room / stride[i] + 1;
    }
    x = ag_pad(x, border, border, 0);
    if (!x) return NULL;
    ag_var **tap = tensor_arena_alloc(tape->arena, (size_t)(height * width) * sizeof(ag_var *), &tape->error);
    for (int64_t k = 0; tap && k < height * width; k++) {
        const int64_t at[2] = {k / width * dilation[0], k % width * dilation[1]};
        tap[k] = ag_slice(x, 2, at[0], at[0] + (count[0] - 1) * stride[0] + 1, stride[0]);
        tap[k] = ag_slice(tap[k], 3, at[1], at[1] + (count[1] - 1) * stride[1] + 1, stride[1]);
    }
    return tap ? ag_reshape(ag_stack(tap, (int)(height * width), 2),
                            TENSOR_SHAPE(n, c * height * width, count[0] * count[1]))
               : NULL;
}
