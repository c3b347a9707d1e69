/* Sampo tensor: windows that move over images: convolution and pooling. Images are [N, C, H, W], weights [O, C /
 * groups, h, w], as PyTorch has them; an image of one axis is one of a single row. sampo/tensor.h, which includes this,
 * says how errors and memory work. */
#ifndef SAMPO_WINDOWS_H
#define SAMPO_WINDOWS_H

#include "sampo/tensor.h"

SAMPO_BEGIN_DECLS

/* How windows move, each for rows and columns. A 0 stands for the usual: a stride of 1, a
 * dilation of 1, one group. So {0} is PyTorch's default and (tensor_windows){.padding = {1, 1}} one with a border. */
typedef struct tensor_windows {
    int64_t stride[2];
    int64_t padding[2];  /* zeros on each side */
    int64_t dilation[2]; /* from one element of a window to the next */
    int64_t groups;      /* of channels: output channels of group g see the input channels of group g alone */
} tensor_windows;

/* ---- Convolution -------------------------------------------------------------------------------- *
 * With s, p, d for stride, padding and dilation, x[n, c, y, x] outside of its sizes 0, and all o and c of one group:
 *
 *     y[n, o, r, q] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, r s - p + i d, q s - p + j d]
 *
 * which is [N, O, R, Q] with R = (H + 2 p - d (h - 1) - 1) / s + 1, rounded down, and likewise Q. Each result is one
 * chain of fused multiply-adds over ascending (c, i, j) from its bias (no tensor: from 0). The two functions after it
 * are its vector-Jacobian products for x and for w; these three are each other's, so that any derivative is one of
 * them. w is contiguous, but for its first axis in the convolution itself; other strides may be any. */

/* Sizes of the result. Fails where a window is empty or larger than x with its padding: "convolution: ...". */
bool tensor_convolve_shape(tensor x, tensor w, const tensor_windows *windows, int64_t shape[4],
                           tensor_error *err);
bool tensor_convolve(tensor y, tensor x, tensor w, tensor bias, const tensor_windows *windows,
                     tensor_error *err);
/* x[n, c, ., .] = bias[c] + the sum of w[o, c, i, j] y[n, o, r, q] over all o, r, q, i and j that meet it: one chain over
 * ascending (o, i, j). Known as transposed convolution, too. x is overwritten. scratch: contiguous, w's size. */
bool tensor_convolve_transposed(tensor x, tensor y, tensor w, tensor bias, const tensor_windows *windows,
                                tensor scratch, tensor_error *err);
/* w[o, c, i, j] = the sum of y[n, o, r, q] x[n, c, r s - p + i d, q s - p + j d]: one chain over ascending (n, r, q). w
 * is overwritten. scratch: contiguous, w's size. */
bool tensor_convolve_weight(tensor w, tensor y, tensor x, const tensor_windows *windows, tensor scratch,
                            tensor_error *err);

/* ---- Pooling ------------------------------------------------------------------------------------ *
 * Windows of window[0] rows and window[1] columns over each channel of x [N, C, H, W] by itself; here a stride of 0 is
 * the window's size, and groups mean nothing. Padding is at most half of a window. Any strides in memory. */

/* Sizes of the result [N, C, R, Q], as tensor_convolve_shape has them. Fails with "pooling: ...". */
bool tensor_pool_shape(tensor x, const int64_t window[2], const tensor_windows *windows, int64_t shape[4],
                       tensor_error *err);
/* y[n, c, r, q] = the sum of x[n, c, r s - p + i d, q s - p + j d] over i and j, divided by window[0] window[1]: what
 * lies in the padding counts as 0. Columns are summed first, then rows; up to 16 terms in float, runs of 16 in double.
 * The second is its vector-Jacobian product: dx is overwritten. */
bool tensor_pool_average(tensor y, tensor x, const int64_t window[2], const tensor_windows *windows,
                         tensor_error *err);
bool tensor_pool_average_vjp(tensor dx, tensor dy, const int64_t window[2], const tensor_windows *windows,
                             tensor_error *err);
/* Where in its image, row W + column, the first of each window's largest elements lies; NaN counts as the largest. ids is
 * int32 [N, C, R, Q]. Fails where a window shows nothing but padding. */
bool tensor_pool_largest(tensor ids, tensor x, const int64_t window[2], const tensor_windows *windows,
                         tensor_error *err);

SAMPO_END_DECLS
#endif
