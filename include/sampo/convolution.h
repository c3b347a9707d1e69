/* Sampo autograd: operations on images [N, C, H, W] and on rows of samples [N, C, T]: convolution.
 * sampo/autograd.h, which includes this, says what is true of all operations; sampo/windows.h has the formulas. */
#ifndef SAMPO_CONVOLUTION_H
#define SAMPO_CONVOLUTION_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* ---- Convolution ---------------------------------------------------------------------------------- */

/* x [N, C, H, W], w [O, C / groups, h, w], b [O]: y [N, O, R, Q], where y[n, o, r, q] = b[o] + sum over c, i, j of w[o, c, i,
 * j] x[n, c, r s - p + i d, q s - p + j d] (tensor_convolve). Products are float32 in any case. Fails where the channels do
 * not fit or a window is larger than x with its padding. */
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

/* The gradient for w of ag_conv2d: w [O, C / groups, height, width] from y [N, O, R, Q] and x [N, C, H, W]. */
ag_var *ag_conv2d_weight(ag_var *y, ag_var *x, int64_t height, int64_t width, tensor_windows windows);

SAMPO_END_DECLS
#endif
