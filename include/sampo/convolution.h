/* Sampo autograd: operations on images [N, C, H, W] and on rows of samples [N, C, T]: convolution, pooling.
 * sampo/autograd.h, which includes this, says what is true of all operations; sampo/windows.h has the formulas. */
#ifndef SAMPO_CONVOLUTION_H
#define SAMPO_CONVOLUTION_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* ---- Convolution ---------------------------------------------------------------------------------- */

/* x [N, C, H, W], w [O, C / groups, h, w], b [O]: y [N, O, R, Q], where y[n, o, r, q] = b[o] + sum over c, i, j of w[o,
 * c, i, j] x[n, c, r s - p + i d, q s - p + j d] (tensor_convolve). Products are float32 in any case. Fails where the
 * channels do not fit or a window is larger than x with its padding. */
ag_var *ag_conv2d(ag_var *x, ag_var *w, ag_var *b, tensor_windows windows);
ag_var *ag_conv2d_no_bias(ag_var *x, ag_var *w, tensor_windows windows);

/* The same of one axis, with the first of each pair: x [N, C, T], w [O, C / groups, k], b [O]: [N, O, R]. */
ag_var *ag_conv1d(ag_var *x, ag_var *w, ag_var *b, tensor_windows windows);
ag_var *ag_conv1d_no_bias(ag_var *x, ag_var *w, tensor_windows windows);

/* Transposed convolution: y [N, O, R, Q], w [O, C / groups, h, w], b [C]: x [N, C, H, W], the gradient for x of ag_conv2d
 * with such a w. H = (R - 1) s - 2 p + d (h - 1) + 1 + more[0], 0 <= more < s, as several sizes of x have one of y. */
ag_var *ag_conv_transpose2d(ag_var *y, ag_var *w, ag_var *b, tensor_windows windows, const int64_t more[2]);
ag_var *ag_conv_transpose2d_no_bias(ag_var *y, ag_var *w, tensor_windows windows, const int64_t more[2]);
ag_var *ag_conv_transpose1d(ag_var *y, ag_var *w, ag_var *b, tensor_windows windows, int64_t more);
ag_var *ag_conv_transpose1d_no_bias(ag_var *y, ag_var *w, tensor_windows windows, int64_t more);

/* The gradient for w of ag_conv2d: w [O, C / groups, height, width] from y [N, O, R, Q] and x [N, C, H, W]. */
ag_var *ag_conv2d_weight(ag_var *y, ag_var *x, int64_t height, int64_t width, tensor_windows windows);

/* ---- Pooling -------------------------------------------------------------------------------------- */

/* Of windows of height x width over each channel of x [N, C, H, W]: the largest element, whose gradient goes to the
 * first of equal ones, and the mean: [N, C, R, Q] with the sizes of ag_conv2d, but that a stride of 0 is the window's
 * size (torch's max_pool2d and avg_pool2d). Padding is at most half of a window, and never the largest; in the mean it
 * counts as 0, or with count_padding false not at all. */
ag_var *ag_max_pool2d(ag_var *x, int64_t height, int64_t width, tensor_windows windows);
ag_var *ag_average_pool2d(ag_var *x, int64_t height, int64_t width, tensor_windows windows,
                          bool count_padding);
/* The same of one axis, with the first of each pair: x [N, C, T]: [N, C, R]. */
ag_var *ag_max_pool1d(ag_var *x, int64_t width, tensor_windows windows);
ag_var *ag_average_pool1d(ag_var *x, int64_t width, tensor_windows windows, bool count_padding);

/* ---- Normalisation of channels ------------------------------------------------------------------------ */

/* (x - mean) / sqrt(variance + eps) w + b of channels of x [N, C, ...], w and b [C], x's shape. Mean and variance,
 * divided by the count, are each channel's over all N and places (Ioffe & Szegedy 2015); stats (NULL: not wanted)
 * receives them: [3, C], whose rows are mean, variance and 1 / sqrt(variance + eps), and which lives as long as the
 * tape's variables. */
ag_var *ag_batch_norm(ag_var *x, ag_var *w, ag_var *b, float eps, tensor *stats);
/* The same with mean and variance of each image by itself, over each of `groups` runs of C / groups channels (Wu & He
 * 2018). C groups: instance norm. */
ag_var *ag_group_norm(ag_var *x, ag_var *w, ag_var *b, int64_t groups, float eps);

/* What windows of height x width over x [N, C, H, W] show, 0 in the padding, as columns: [N, C height width, R Q]
 * (torch's unfold, im2col). */
ag_var *ag_unfold(ag_var *x, int64_t height, int64_t width, tensor_windows windows);

SAMPO_END_DECLS
#endif
