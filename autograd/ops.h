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
    _(equal) \
    _(where) \
    _(affine) \
    _(exp) \
    _(log) \
    _(sqrt) \
    _(square) \
    _(tanh) \
    _(erf) \
    _(sigmoid) \
    _(softplus) \
    _(relu) \
    _(gelu) \
    _(gelu_tanh) \
    _(silu) \
    _(add_in_place) \
    _(relu_in_place) \
    _(dropout) \
    _(checkpoint) \
    _(sum) \
    _(mean) \
    _(max_over) \
    _(reshape) \
    _(permute) \
    _(slice) \
    _(unslice) \
    _(select) \
    _(expand) \
    _(concat) \
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
    _(conv2d) \
    _(conv_transpose2d) \
    _(conv2d_weight)
/* clang-format on */

#define AG_DECLARE(name) extern const ag_op ag_op_##name;
AG_OPS(AG_DECLARE)
#undef AG_DECLARE

#endif
