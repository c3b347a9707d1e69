/* Pooling: the largest and the mean of what windows show, and windows themselves as rows. */
#include "autograd/ops.h"

/* What an operation of these saves; size: of the images that a gradient goes back to. */
typedef struct pooling {
    tensor_windows windows;
    int64_t window[2], size[2];
} pooling;

static const pooling *begin(ag_var *y, int64_t height, int64_t width, tensor_windows windows) {
    pooling *saved = ag_save(y, sizeof *saved);
    if (saved) *saved = (pooling){windows, {height, width}, {ag_size(y->in[0], 2), ag_size(y->in[0], 3)}};
    return saved;
}

/* ---- max_pool2d: elements by their number in the image ------------------------------------------- */

const ag_op ag_op_max_pool2d_ids = {
    "max_pool2d_ids", NULL, .no_cases = "its result is the numbers of elements, which have no gradient"};

static ag_var *max_pool2d_ids(ag_var *x, int64_t height, int64_t width, tensor_windows windows) {
    ag_var *y = ag_begin(&ag_op_max_pool2d_ids, 1, &x);
    const int64_t window[2] = {height, width};
    int64_t shape[4];
    if (y && tensor_pool_shape(x->value, window, &windows, shape, ag_err(y)) &&
        ag_out(y, TENSOR_I32, 4, shape))
        tensor_pool_largest(y->value, x->value, window, &windows, ag_err(y));
    return ag_end(y);
}

static ag_var *max_pool2d_case(ag_var **in) {
    return ag_max_pool2d(in[0], 2, 2, (tensor_windows){0});
}
static ag_var *max_pool2d_overlap_case(ag_var **in) {
    return ag_max_pool2d(in[0], 3, 2, (tensor_windows){.stride = {1, 2}, .padding = {1, 1}});
}
static ag_var *max_pool2d_dilation_case(ag_var **in) {
    return ag_max_pool2d(in[0], 2, 3, (tensor_windows){.stride = {2, 1}, .dilation = {2, 2}});
}
static const ag_case max_pool2d_cases[] = {
    {"2 x 2", max_pool2d_case, 1, {{4, {3, 2, 4, 4}}}, .fixed = 4},
    {"overlapping", max_pool2d_overlap_case, 1, {{4, {2, 3, 5, 5}}}, .not_empty = 5},
    {"dilation", max_pool2d_dilation_case, 1, {{4, {2, 3, 5, 5}}}, .fixed = 5},
};
const ag_op ag_op_max_pool2d = {"max_pool2d", AG_CASES(max_pool2d_cases)};

ag_var *ag_max_pool2d(ag_var *x, int64_t height, int64_t width, tensor_windows windows) {
    ag_var *ids = max_pool2d_ids(x, height, width, windows);
    if (!ids) return NULL;
    const int64_t *in = x->value.shape, *out = ids->value.shape;
    ag_var *flat = ag_reshape(x, TENSOR_SHAPE(in[0], in[1], in[2] * in[3]));
    ag_var *y = ag_gather(flat, 2, ag_reshape(ids, TENSOR_SHAPE(out[0], out[1], out[2] * out[3])));
    return ag_reshape(y, 4, out);
}

/* ---- average_pool2d, and the share of each element: each is the other's backward ------------------- */

static ag_var *average_share(ag_var *y, const pooling *saved);

static ag_var *average(ag_var *x, int64_t height, int64_t width, tensor_windows windows) {
    ag_var *y = ag_begin(&ag_op_average_pool2d, 1, &x);
    const pooling *saved = begin(y, height, width, windows);
    int64_t shape[4];
    if (!saved) return NULL;
    if (tensor_pool_shape(x->value, saved->window, &windows, shape, ag_err(y)) &&
        ag_out(y, TENSOR_F32, 4, shape))
        tensor_pool_average(y->value, x->value, saved->window, &windows, ag_err(y));
    return ag_end(y);
}

static void average_pool2d_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], average_share(dy, y->saved));
}
static ag_var *average_pool2d_case(ag_var **in) {
    return ag_average_pool2d(in[0], 2, 2, (tensor_windows){0}, true);
}
static ag_var *average_pool2d_overlap_case(ag_var **in) {
    return ag_average_pool2d(in[0], 3, 2, (tensor_windows){.stride = {1, 2}, .padding = {1, 1}}, false);
}
static const ag_case average_pool2d_cases[] = {
    {"2 x 2", average_pool2d_case, 1, {{4, {3, 2, 4, 4}}}, .fixed = 4},
    {"overlapping", average_pool2d_overlap_case, 1, {{4, {2, 3, 5, 5}}}, .not_empty = 5},
};
const ag_op ag_op_average_pool2d = {"average_pool2d", average_pool2d_backward,
                                    AG_CASES(average_pool2d_cases)};

/* How many elements windows show along an axis beside the padding, as their share of the window: 1 / that in `factor`. */
static void unpadded(float *factor, const pooling *p, int axis, int64_t windows) {
    const int64_t dilation = p->windows.dilation[axis] ? p->windows.dilation[axis] : 1;
    const int64_t stride = p->windows.stride[axis] ? p->windows.stride[axis] : p->window[axis];
    for (int64_t q = 0; q < windows; q++) {
        int64_t inside = 0;
        for (int64_t j = 0, at = q * stride - p->windows.padding[axis]; j < p->window[axis];
             j++, at += dilation)
            inside += at >= 0 && at < p->size[axis];
        factor[q] = inside > 0 ? (float)p->window[axis] / (float)inside : 0;
    }
}

ag_var *ag_average_pool2d(ag_var *x, int64_t height, int64_t width, tensor_windows windows,
                          bool count_padding) {
    const bool padded = windows.padding[0] != 0 || windows.padding[1] != 0;
    if (!padded && height > 0 && width > 0 && ag_rank(x) == 4 && height == ag_size(x, 2) &&
        width == ag_size(x, 3) && windows.dilation[0] <= 1 && windows.dilation[1] <= 1)
        return ag_mean(x, AG_AXIS(2) | AG_AXIS(3), true); /* one window shows all */
    ag_var *y = average(x, height, width, windows);
    if (!y || count_padding || !padded) return y;
    const pooling p = {windows, {height, width}, {ag_size(x, 2), ag_size(x, 3)}};
    const tensor rows = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(ag_size(y, 2), 1)),
                 cols = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(ag_size(y, 3)));
    if (!tensor_ok(rows) || !tensor_ok(cols)) return NULL;
    unpadded(rows.f32, &p, 0, ag_size(y, 2));
    unpadded(cols.f32, &p, 1, ag_size(y, 3));
    return ag_mul(y, ag_mul(ag_input(y->tape, rows), ag_input(y->tape, cols)));
}

/* Of dx, which has the pooling's result's shape: x's shape, where each element is the sum of the shares that it has. */
static void average_share_backward(ag_var *x, ag_var *dx) {
    const pooling *saved = x->saved;
    ag_add_grad(x->in[0], average(dx, saved->window[0], saved->window[1], saved->windows));
}
static ag_var *average_share_case(ag_var **in) {
    const pooling p = {{.stride = {1, 2}, .padding = {1, 1}}, {3, 2}, {ag_size(in[0], 2), 6}};
    return average_share(in[0], &p);
}
static const ag_case average_share_cases[] = {
    {"", average_share_case, 1, {{4, {2, 3, 5, 4}}}, .fixed = 4, .not_empty = 5}};
const ag_op ag_op_average_share = {"average_share", average_share_backward, AG_CASES(average_share_cases)};

static ag_var *average_share(ag_var *y, const pooling *p) {
    ag_var *x = ag_begin(&ag_op_average_share, 1, &y);
    pooling *saved = ag_save(x, sizeof *saved);
    if (!saved) return NULL;
    *saved = *p;
    if (ag_out(x, TENSOR_F32, TENSOR_SHAPE(ag_size(y, 0), ag_size(y, 1), p->size[0], p->size[1])))
        tensor_pool_average_vjp(x->value, y->value, p->window, &p->windows, ag_err(x));
    return ag_end(x);
}

/* ---- One axis ------------------------------------------------------------------------------------ */

ag_var *ag_max_pool1d(ag_var *x, int64_t width, tensor_windows windows) {
    x = ag_one_row(ag_tape_of(x), "max_pool1d", x);
    return ag_squeeze(ag_max_pool2d(x, 1, width, ag_along_columns(windows)), 2);
}
ag_var *ag_average_pool1d(ag_var *x, int64_t width, tensor_windows windows, bool count_padding) {
    x = ag_one_row(ag_tape_of(x), "average_pool1d", x);
    return ag_squeeze(ag_average_pool2d(x, 1, width, ag_along_columns(windows), count_padding), 2);
}
