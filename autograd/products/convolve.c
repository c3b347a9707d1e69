/* Convolutions: the operation, its gradient for the images and its gradient for the weights. Each is linear in both of
 * its operands, and the gradients of each are the other two, so that they may be differentiated as often as one likes. */
#include <math.h>

#include "autograd/ops.h"

/* What an operation of these saves; sizes: of the result along the axes that the operands do not tell. */
typedef struct convolution {
    tensor_windows windows;
    int64_t sizes[2];
} convolution;

static convolution *begin(ag_var *y, tensor_windows windows, int64_t height, int64_t width) {
    convolution *saved = ag_save(y, sizeof *saved);
    if (saved) *saved = (convolution){windows, {height, width}};
    return saved;
}

/* Numbers beside w: the kernels turn it. */
static tensor scratch_for(ag_var *y, int64_t size) {
    return ag_tensor(y->tape, TENSOR_F32, 1, &size);
}

static ag_var *transposed(int inputs, ag_var *const *in, tensor_windows windows, int64_t height,
                          int64_t width);

/* The sum over images, rows and columns, where the third operand is a bias. */
static void bias_backward(ag_var *y, ag_var *dy) {
    if (y->inputs > 2 && ag_needs_grad(y->in[2]))
        ag_add_grad(y->in[2], ag_sum(dy, AG_AXIS(0) | AG_AXIS(2) | AG_AXIS(3), false));
}

/* ---- conv2d --------------------------------------------------------------------------------------- */

static void conv2d_backward(ag_var *y, ag_var *dy) {
    const convolution *saved = y->saved;
    ag_var *x = y->in[0], *w = y->in[1];
    if (ag_needs_grad(x))
        ag_add_grad(x, transposed(2, (ag_var *[]){dy, w}, saved->windows, ag_size(x, 2), ag_size(x, 3)));
    if (ag_needs_grad(w))
        ag_add_grad(w, ag_conv2d_weight(dy, x, ag_size(w, 2), ag_size(w, 3), saved->windows));
    bias_backward(y, dy);
}
static ag_var *conv2d_case(ag_var **in) {
    return ag_conv2d(in[0], in[1], in[2], (tensor_windows){.padding = {1, 2}});
}
static ag_var *conv2d_strides_case(ag_var **in) {
    return ag_conv2d_no_bias(in[0], in[1],
                             (tensor_windows){.stride = {2, 3}, .padding = {2, 4}, .dilation = {1, 2}});
}
/* Two groups, whatever the sizes of one: w, or something else of each group, beside itself. */
static ag_var *twice(ag_var *x, int axis) {
    return ag_concat((ag_var *[]){x, ag_affine(x, 0.5f, 0.25f)}, 2, axis);
}
static ag_var *conv2d_groups_case(ag_var **in) {
    return ag_conv2d(twice(in[0], 1), twice(in[1], 0), twice(in[2], 0),
                     (tensor_windows){.stride = {3, 1}, .padding = {2, 2}, .groups = 2});
}
static const ag_case conv2d_cases[] = {
    {"3 x 3", conv2d_case, 3, {{4, {1, 2, 5, 4}}, {4, {4, 2, 3, 3}}, {1, {4}}}, .fixed = 3, .not_empty = 5},
    {"strides and dilation", conv2d_strides_case, 2, {{4, {2, 1, 5, 7}}, {4, {4, 1, 3, 3}}}, .not_empty = 3},
    {"groups", conv2d_groups_case, 3, {{4, {3, 2, 5, 1}}, {4, {4, 2, 3, 1}}, {1, {4}}}, .not_empty = 3},
};
/* Each number of y [N, out, ...] sums in / groups k numbers, which the weight [out, in / groups, k] has for it. */
static double conv_flops(const tensor y, const tensor w) {
    return w.shape[0] ? 2 * (double)tensor_size(y) * (double)(tensor_size(w) / w.shape[0]) : 0;
}
static double conv2d_flops(const ag_var *y) {
    return conv_flops(y->value, y->in[1]->value);
}
static double transpose_flops(const ag_var *x) {
    return conv_flops(x->in[0]->value, x->in[1]->value);
}
static double weight_flops(const ag_var *w) {
    return conv_flops(w->in[0]->value, w->value);
}

const ag_op ag_op_conv2d = {"conv2d", conv2d_backward, .reads = AG_READS(0) | AG_READS(1),
                            AG_CASES(conv2d_cases), .flops = conv2d_flops};

static ag_var *conv2d(int inputs, ag_var *const *in, tensor_windows windows) {
    ag_var *y = ag_begin(&ag_op_conv2d, inputs, in);
    int64_t shape[4];
    if (!begin(y, windows, 0, 0)) return NULL;
    const tensor x = in[0]->value, w = ag_contiguous(y->tape, in[1]->value);
    if (tensor_convolve_shape(x, w, &windows, shape, ag_err(y)) && ag_out(y, TENSOR_F32, 4, shape))
        tensor_convolve(y->value, x, w, inputs > 2 ? in[2]->value : (tensor){0}, &windows, ag_err(y));
    return ag_end(y);
}

ag_var *ag_conv2d(ag_var *x, ag_var *w, ag_var *b, tensor_windows windows) {
    return conv2d(3, (ag_var *[]){x, w, b}, windows);
}
ag_var *ag_conv2d_no_bias(ag_var *x, ag_var *w, tensor_windows windows) {
    return conv2d(2, (ag_var *[]){x, w}, windows);
}

/* ---- conv_transpose2d ----------------------------------------------------------------------------- */

static void transpose_backward(ag_var *x, ag_var *dx) {
    const convolution *saved = x->saved;
    ag_var *y = x->in[0], *w = x->in[1];
    if (ag_needs_grad(y)) ag_add_grad(y, ag_conv2d_no_bias(dx, w, saved->windows));
    if (ag_needs_grad(w))
        ag_add_grad(w, ag_conv2d_weight(y, dx, ag_size(w, 2), ag_size(w, 3), saved->windows));
    bias_backward(x, dx);
}
static ag_var *transpose_case(ag_var **in) {
    return ag_conv_transpose2d(in[0], in[1], in[2], (tensor_windows){.padding = {1, 0}}, NULL);
}
static ag_var *transpose_strides_case(ag_var **in) {
    return ag_conv_transpose2d_no_bias(
        in[0], in[1], (tensor_windows){.stride = {2, 3}, .padding = {1, 0}, .dilation = {3, 2}},
        (int64_t[]){1, 2});
}
static ag_var *transpose_groups_case(ag_var **in) {
    return ag_conv_transpose2d(twice(in[0], 1), twice(in[1], 0), twice(in[2], 0),
                               (tensor_windows){.stride = {4, 1}, .groups = 2}, NULL);
}
static const ag_case conv_transpose2d_cases[] = {
    {"3 x 3",
     transpose_case,
     3,
     {{4, {1, 2, 5, 5}}, {4, {2, 4, 3, 3}}, {1, {4}}},
     .fixed = 3,
     .not_empty = 5},
    {"strides and dilation",
     transpose_strides_case,
     2,
     {{4, {1, 4, 2, 2}}, {4, {4, 1, 3, 3}}},
     .fixed = 2,
     .not_empty = 3},
    {"groups",
     transpose_groups_case,
     3,
     {{4, {3, 4, 5, 1}}, {4, {4, 2, 3, 1}}, {1, {2}}},
     .fixed = 3,
     .not_empty = 5},
};
const ag_op ag_op_conv_transpose2d = {"conv_transpose2d", transpose_backward,
                                      .reads = AG_READS(0) | AG_READS(1), AG_CASES(conv_transpose2d_cases),
                                      .flops = transpose_flops};

/* Of operands y, w and perhaps a bias, into images of height and width. */
static ag_var *transposed(int inputs, ag_var *const *in, tensor_windows windows, int64_t height,
                          int64_t width) {
    ag_var *x = ag_begin(&ag_op_conv_transpose2d, inputs, in);
    if (!begin(x, windows, height, width)) return NULL;
    const tensor y = in[0]->value, w = ag_contiguous(x->tape, in[1]->value);
    if (y.rank != 4 || w.rank != 4)
        return ag_fail(x->tape,
                       "conv_transpose2d: needs y[N, O, R, Q] and w[O, C, h, w], not ranks %d and %d", y.rank,
                       w.rank);
    int64_t channels;
    if (__builtin_mul_overflow(w.shape[1], windows.groups > 0 ? windows.groups : 1, &channels))
        channels = -1; /* which ag_out refuses */
    const tensor scratch = scratch_for(x, tensor_size(w));
    if (ag_out(x, TENSOR_F32, TENSOR_SHAPE(y.shape[0], channels, height, width)))
        tensor_convolve_transposed(x->value, y, w, inputs > 2 ? in[2]->value : (tensor){0}, &windows, scratch,
                                   ag_err(x));
    return ag_end(x);
}

static ag_var *transpose2d(int inputs, ag_var *const *in, tensor_windows windows, const int64_t *more) {
    int64_t size[2] = {0, 0};
    for (int i = 0; i < 2 && in[0] && in[1] && ag_rank(in[0]) == 4 && ag_rank(in[1]) == 4; i++) {
        const double stride = windows.stride[i] ? (double)windows.stride[i] : 1,
                     dilation = windows.dilation[i] ? (double)windows.dilation[i] : 1;
        const double exact = (double)(ag_size(in[0], 2 + i) - 1) * stride - 2 * (double)windows.padding[i] +
                             dilation * (double)(ag_size(in[1], 2 + i) - 1) + 1 +
                             (more ? (double)more[i] : 0);
        size[i] = fabs(exact) < 1e15 ? (int64_t)exact : -1; /* which ag_out refuses */
    }
    return transposed(inputs, in, windows, size[0], size[1]);
}

ag_var *ag_conv_transpose2d(ag_var *y, ag_var *w, ag_var *b, tensor_windows windows, const int64_t more[2]) {
    return transpose2d(3, (ag_var *[]){y, w, b}, windows, more);
}
ag_var *ag_conv_transpose2d_no_bias(ag_var *y, ag_var *w, tensor_windows windows, const int64_t more[2]) {
    return transpose2d(2, (ag_var *[]){y, w}, windows, more);
}

/* ---- conv2d_weight -------------------------------------------------------------------------------- */

static void weight_backward(ag_var *w, ag_var *dw) {
    const convolution *saved = w->saved;
    ag_var *y = w->in[0], *x = w->in[1];
    if (ag_needs_grad(y)) ag_add_grad(y, ag_conv2d_no_bias(x, dw, saved->windows));
    if (ag_needs_grad(x))
        ag_add_grad(x, transposed(2, (ag_var *[]){y, dw}, saved->windows, ag_size(x, 2), ag_size(x, 3)));
}
static ag_var *weight_case(ag_var **in) {
    return ag_conv2d_weight(in[0], in[1], 3, 3, (tensor_windows){.padding = {1, 1}});
}
static ag_var *weight_strides_case(ag_var **in) {
    return ag_conv2d_weight(
        twice(in[0], 1), twice(in[1], 1), 3, 2,
        (tensor_windows){.stride = {2, 1}, .padding = {3, 0}, .dilation = {1, 3}, .groups = 2});
}
static const ag_case conv2d_weight_cases[] = {
    {"3 x 3", weight_case, 2, {{4, {2, 4, 5, 1}}, {4, {2, 3, 5, 1}}}, .not_empty = 5},
    {"strides and dilation", weight_strides_case, 2, {{4, {5, 3, 4, 1}}, {4, {5, 2, 4, 4}}}, .fixed = 4},
};
const ag_op ag_op_conv2d_weight = {"conv2d_weight", weight_backward, .reads = AG_READS(0) | AG_READS(1),
                                   AG_CASES(conv2d_weight_cases), .flops = weight_flops};

ag_var *ag_conv2d_weight(ag_var *y, ag_var *x, int64_t height, int64_t width, tensor_windows windows) {
    ag_var *w = ag_begin(&ag_op_conv2d_weight, 2, (ag_var *[]){y, x});
    if (!begin(w, windows, height, width)) return NULL;
    const int64_t groups = windows.groups > 0 ? windows.groups : 1;
    if (y->value.rank != 4 || x->value.rank != 4 || x->value.shape[1] % groups != 0)
        return ag_fail(
            w->tape, "conv2d_weight: needs y[N, O, R, Q] and x[N, C, H, W] whose channels %lld groups divide",
            (long long)groups);
    if (ag_out(w, TENSOR_F32, TENSOR_SHAPE(y->value.shape[1], x->value.shape[1] / groups, height, width)))
        tensor_convolve_weight(w->value, y->value, x->value, &windows, scratch_for(w, tensor_size(w->value)),
                               ag_err(w));
    return ag_end(w);
}

/* ---- One axis: images of a single row ------------------------------------------------------------- */

/* x as an image of one row, w as windows of one. */
ag_var *ag_one_row(ag_tape *tape, const char *what, ag_var *x) {
    if (!tape || !x) return NULL;
    if (ag_rank(x) != 3) return ag_fail(tape, "%s: needs a rank of 3, not of %d", what, ag_rank(x));
    return ag_unsqueeze(ag_use(tape, x), 2);
}

tensor_windows ag_along_columns(tensor_windows w) {
    return (tensor_windows){{0, w.stride[0]}, {0, w.padding[0]}, {0, w.dilation[0]}, w.groups};
}

static ag_tape *tape_of(ag_var *x, ag_var *w) {
    return ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(w);
}

ag_var *ag_conv1d(ag_var *x, ag_var *w, ag_var *b, tensor_windows windows) {
    ag_tape *tape = tape_of(x, w);
    return ag_squeeze(
        ag_conv2d(ag_one_row(tape, "conv1d", x), ag_one_row(tape, "conv1d", w), b, ag_along_columns(windows)),
        2);
}
ag_var *ag_conv1d_no_bias(ag_var *x, ag_var *w, tensor_windows windows) {
    ag_tape *tape = tape_of(x, w);
    return ag_squeeze(ag_conv2d_no_bias(ag_one_row(tape, "conv1d", x), ag_one_row(tape, "conv1d", w),
                                        ag_along_columns(windows)),
                      2);
}
ag_var *ag_conv_transpose1d(ag_var *y, ag_var *w, ag_var *b, tensor_windows windows, int64_t more) {
    ag_tape *tape = tape_of(y, w);
    return ag_squeeze(ag_conv_transpose2d(ag_one_row(tape, "conv1d", y), ag_one_row(tape, "conv1d", w), b,
                                          ag_along_columns(windows), (int64_t[]){0, more}),
                      2);
}
ag_var *ag_conv_transpose1d_no_bias(ag_var *y, ag_var *w, tensor_windows windows, int64_t more) {
    ag_tape *tape = tape_of(y, w);
    return ag_squeeze(ag_conv_transpose2d_no_bias(ag_one_row(tape, "conv1d", y),
                                                  ag_one_row(tape, "conv1d", w), ag_along_columns(windows),
                                                  (int64_t[]){0, more}),
                      2);
}
