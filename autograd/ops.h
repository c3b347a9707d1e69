/* The operation table: one line an operation. Private to autograd/. */
#ifndef SAMPO_AUTOGRAD_OPS_H
#define SAMPO_AUTOGRAD_OPS_H

#include "autograd/autograd_internal.h"

/* clang-format off */
#define AG_OPS(_) \
    _(add) \
    _(sub) \
    _(mul) \
    _(div) \
    _(pow) \
    _(max) \
    _(min) \
    _(less) \
    _(less_equal) \
    _(greater) \
    _(greater_equal) \
    _(equal) \
    _(not_equal) \
    _(and) \
    _(or) \
    _(where) \
    _(affine) \
    _(exp) \
    _(expm1) \
    _(log) \
    _(log1p) \
    _(sqrt) \
    _(rsqrt) \
    _(square) \
    _(reciprocal) \
    _(abs) \
    _(sin) \
    _(cos) \
    _(tanh) \
    _(erf) \
    _(sigmoid) \
    _(softplus) \
    _(relu) \
    _(gelu) \
    _(gelu_tanh) \
    _(silu) \
    _(leaky_relu) \
    _(elu) \
    _(clamp) \
    _(huber) \
    _(logistic_loss) \
    _(kl) \
    _(floor) \
    _(round) \
    _(sign) \
    _(add_in_place) \
    _(relu_in_place) \
    _(dropout) \
    _(checkpoint) \
    _(sum) \
    _(mean) \
    _(max_over) \
    _(min_over) \
    _(product) \
    _(sum_squares) \
    _(sum_sizes) \
    _(log_sum_exp) \
    _(variance) \
    _(deviation) \
    _(norm) \
    _(cumulative_sum) \
    _(reshape) \
    _(permute) \
    _(slice) \
    _(unslice) \
    _(select) \
    _(expand) \
    _(concat) \
    _(stack) \
    _(split) \
    _(unbind) \
    _(gather) \
    _(scatter_add) \
    _(index_select) \
    _(argsort) \
    _(sort) \
    _(top_k) \
    _(argmax) \
    _(flip) \
    _(tril) \
    _(triu) \
    _(einsum) \
    _(one_hot) \
    _(detach) \
    _(matmul) \
    _(linear) \
    _(embedding) \
    _(softmax) \
    _(log_softmax) \
    _(layer_norm) \
    _(rms_norm) \
    _(attention) \
    _(split_heads) \
    _(merge_heads) \
    _(rotary) \
    _(cross_entropy) \
    _(row_losses) \
    _(mse_loss) \
    _(l1_loss) \
    _(huber_loss) \
    _(smooth_l1_loss) \
    _(binary_cross_entropy) \
    _(kl_divergence) \
    _(conv2d) \
    _(conv_transpose2d) \
    _(conv2d_weight)
/* clang-format on */

#define AG_DECLARE(name) extern const ag_op ag_op_##name;
AG_OPS(AG_DECLARE)
#undef AG_DECLARE

#endif
