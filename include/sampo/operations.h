/* Sampo autograd: the differentiable operations. sampo/autograd.h, which includes this, says what is true of all of them:
 * who owns results, how failures show, how operands broadcast. */
#ifndef SAMPO_OPERATIONS_H
#define SAMPO_OPERATIONS_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* ---- Elementwise -------------------------------------------------------------------------- *
 * The result has the shape to which the operands broadcast; of a single operand it is the operand's. All are float32. */

/* a + b, a - b, a b, a / b, element by element. */
ag_var *ag_add(ag_var *a, ag_var *b);
ag_var *ag_sub(ag_var *a, ag_var *b);
ag_var *ag_mul(ag_var *a, ag_var *b);
ag_var *ag_div(ag_var *a, ag_var *b);
/* a^b; at a = 0 the gradients are PyTorch's: 0 for a where b = 0, 0 for b where b >= 0. */
ag_var *ag_pow(ag_var *a, ag_var *b);
/* The larger, the smaller; at a tie each side gets half of the gradient. */
ag_var *ag_max(ag_var *a, ag_var *b);
ag_var *ag_min(ag_var *a, ag_var *b);

/* a x + b, and functions by their names: -x, e^x, e^x - 1, the natural logarithm, log(1 + x), the root, 1 / sqrt x, x x,
 * 1 / x, |x| (slope 0 at 0, and NaN at NaN, where PyTorch has 0), sine and cosine of any angle. */
ag_var *ag_affine(ag_var *x, float a, float b);
ag_var *ag_neg(ag_var *x);
ag_var *ag_exp(ag_var *x);
ag_var *ag_expm1(ag_var *x);
ag_var *ag_log(ag_var *x);
ag_var *ag_log1p(ag_var *x);
ag_var *ag_sqrt(ag_var *x);
ag_var *ag_rsqrt(ag_var *x);
ag_var *ag_square(ag_var *x);
ag_var *ag_reciprocal(ag_var *x);
ag_var *ag_abs(ag_var *x);
ag_var *ag_sin(ag_var *x);
ag_var *ag_cos(ag_var *x);
ag_var *ag_tanh(ag_var *x);
ag_var *ag_erf(ag_var *x);
ag_var *ag_sigmoid(ag_var *x);   /* 1 / (1 + e^-x) */
ag_var *ag_softplus(ag_var *x);  /* log(1 + e^x) */
ag_var *ag_relu(ag_var *x);      /* max(x, 0); slope 0 at 0 */
ag_var *ag_gelu(ag_var *x);      /* x/2 (1 + erf(x / sqrt 2)), Hendrycks & Gimpel 2016; PyTorch's default */
ag_var *ag_gelu_tanh(ag_var *x); /* its tanh approximation, as GPT-2 uses it */
ag_var *ag_silu(ag_var *x);      /* x / (1 + e^-x), also called swish (Hendrycks & Gimpel 2016) */

/* Functions with numbers of their own. At a kink the slope is that of the left side, but for clamp, which has 0 at both
 * bounds. */
ag_var *ag_leaky_relu(ag_var *x, float slope); /* x > 0 ? x : slope x */
ag_var *ag_elu(ag_var *x, float alpha);        /* x > 0 ? x : alpha (e^x - 1), Clevert et al. 2015 */
ag_var *ag_clamp(ag_var *x, float low,
                 float high); /* x within low..high; high where low is above it; NaN stays */

/* Steps: the largest integer that is not above x, the nearest one (of two the even one), -1, 0 or 1. Their gradient is 0:
 * backward passes them, and what lies before them gets none. */
ag_var *ag_floor(ag_var *x);
ag_var *ag_round(ag_var *x);
ag_var *ag_sign(ag_var *x);

/* The same in place: the result has the memory of the first operand, whose value is gone. That must be the contiguous
 * result of an operation, and no other may need it: backward fails where one does. b has a's shape or broadcasts to it. */
ag_var *ag_add_in_place(ag_var *a, ag_var *b);
ag_var *ag_relu_in_place(ag_var *x);

ag_var *ag_where(ag_var *cond, ag_var *a, ag_var *b);         /* cond != 0 ? a : b; cond gets no gradient */
ag_var *ag_masked_fill(ag_var *x, ag_var *mask, float value); /* mask != 0 ? value : x */

/* Comparisons and their combination, 1 or 0, without gradient; an element is true that is not 0. */
ag_var *ag_less(ag_var *a, ag_var *b);
ag_var *ag_less_equal(ag_var *a, ag_var *b);
ag_var *ag_greater(ag_var *a, ag_var *b);
ag_var *ag_greater_equal(ag_var *a, ag_var *b);
ag_var *ag_equal(ag_var *a, ag_var *b);
ag_var *ag_not_equal(ag_var *a, ag_var *b);
ag_var *ag_and(ag_var *a, ag_var *b);
ag_var *ag_or(ag_var *a, ag_var *b);
ag_var *ag_not(ag_var *x);

/* With probability p, 0 <= p < 1, an element becomes 0, else x / (1 - p) (Srivastava et al. 2014). The mask is a pure
 * function of *rng, which advances; no generator is an error. p = 0 returns x. */
ag_var *ag_dropout(ag_var *x, float p, tensor_rng *rng);

/* ---- Reductions --------------------------------------------------------------------------- */

/* Over the axes of a set: AG_AXIS(0) | AG_AXIS(-1) are the first and the last, AG_ALL all of them. The axes vanish, or
 * stay with size 1 where keep is true. */
#define AG_AXIS(axis) (1u << ((unsigned)(axis)&31u)) /* bit i: axis i; bit 32 - i: axis -i */
#define AG_ALL (~0u)
ag_var *ag_sum(ag_var *x, unsigned axes, bool keep);
ag_var *ag_mean(ag_var *x, unsigned axes, bool keep);
ag_var *ag_max_over(ag_var *x, unsigned axes, bool keep); /* equal maxima share the gradient */
ag_var *ag_min_over(ag_var *x, unsigned axes, bool keep); /* equal minima do */
/* Where a part of it leaves float's range: infinite, 0 or NaN. Second derivatives are right where no element is 0. */
ag_var *ag_product(ag_var *x, unsigned axes, bool keep);
ag_var *ag_sum_squares(ag_var *x, unsigned axes, bool keep);
/* log sum e^x, without overflow; where all x are -infinity, so is it, and the gradient is 0 (PyTorch has NaN) */
ag_var *ag_log_sum_exp(ag_var *x, unsigned axes, bool keep);

/* sum (x - mean)^2 / (n - correction) of the n elements of a sum, and its root, whose slope is 0 where it is 0. PyTorch's
 * correction is 1; 0 is what layer norm has. */
ag_var *ag_variance(ag_var *x, unsigned axes, double correction, bool keep);
ag_var *ag_deviation(ag_var *x, unsigned axes, double correction, bool keep);

/* (sum |x|^p)^(1/p) over a set of axes, p >= 1; p = INFINITY: the largest |x|; p = 0: how many are not 0. The slope is
 * 0 where the norm is. */
ag_var *ag_norm(ag_var *x, double p, unsigned axes, bool keep);

/* y[..., i, ...] = the sum of x[..., j, ...] over j <= i along an axis; added in double; x's shape. */
ag_var *ag_cumulative_sum(ag_var *x, int axis);

/* ---- Shape -------------------------------------------------------------------------------- */

/* Views of x where strides permit; reshape copies where they do not. */
ag_var *ag_reshape(ag_var *x, int rank, const int64_t *shape); /* one size may be -1 */
ag_var *ag_transpose(ag_var *x, int axis0, int axis1);
ag_var *ag_permute(ag_var *x, const int *axes);
ag_var *ag_slice(ag_var *x, int axis, int64_t start, int64_t stop, int64_t step); /* as tensor_slice */
ag_var *ag_select(ag_var *x, int axis,
                  int64_t index); /* x[index] along the axis, which goes; negative from the end */
ag_var *ag_expand(ag_var *x, int rank, const int64_t *shape);
ag_var *ag_squeeze(ag_var *x, int axis);
ag_var *ag_unsqueeze(ag_var *x, int axis);

/* The opposite of a slice: zeros of the given shape in which the slice is x. */
ag_var *ag_unslice(ag_var *x, int rank, const int64_t *shape, int axis, int64_t start, int64_t stop,
                   int64_t step);

/* x between before[axis] and after[axis] elements of a value along each axis, lists as long as its rank; below 0, so many
 * elements go instead (torch's constant pad). */
ag_var *ag_pad(ag_var *x, const int64_t *before, const int64_t *after, float value);

/* The `count` variables one after the other along `axis`; all other sizes are equal. Or, all of one shape, along a new
 * axis of size `count`. */
ag_var *ag_concat(ag_var *const *x, int count, int axis);
ag_var *ag_stack(ag_var *const *x, int count, int axis);

/* x cut along an axis into `count` views y[0..count-1] of these sizes, which add up to its size; NULL: of equal ones. Or
 * into its `count` parts without the axis. False, and y all NULL, on a failure. */
bool ag_split(ag_var *x, int axis, int count, const int64_t *sizes, ag_var **y);
bool ag_unbind(ag_var *x, int axis, int count, ag_var **y);

/* ---- Matrix products ---------------------------------------------------------------------- */

ag_var *ag_matmul(ag_var *a, ag_var *b);               /* [..., M, K] x [..., K, N], batches broadcast */
ag_var *ag_linear(ag_var *x, ag_var *w, ag_var *bias); /* x[..., K] w[K, N] + bias[N] */
/* The same without bias, x[..., K] w[K, N]. (NULL as a bias is a failed operand, as everywhere.) */
ag_var *ag_linear_no_bias(ag_var *x, ag_var *w);
/* Rows of a table: table[ids[...], C]; ids is int32 */
ag_var *ag_embedding(ag_var *table, ag_var *ids);

/* ---- Neural networks ---------------------------------------------------------------------- */

/* Along an axis: e^x / sum e^x, and its logarithm, x - log sum e^x; the shape stays. */
ag_var *ag_softmax(ag_var *x, int axis);
ag_var *ag_log_softmax(ag_var *x, int axis);

/* (x - mean) / sqrt(variance + eps) w + b over the last axis C; w, b [C] (Ba et al. 2016). */
ag_var *ag_layer_norm(ag_var *x, ag_var *w, ag_var *b, float eps);

/* x / sqrt(mean of x^2 + eps) w over the last axis C; w [C] (Zhang & Sennrich 2019). */
ag_var *ag_rms_norm(ag_var *x, ag_var *w, float eps);

/* Scaled dot-product attention (Vaswani et al. 2017): y_i = sum_j softmax_j(scale q_i . k_j + mask_ij) v_j. q and y are
 * [B, H, Tq, D], k and v [B, H_kv, Tk, D], where H is a multiple of H_kv and query head h reads key head
 * h / (H / H_kv) (grouped heads, Ainslie et al. 2023). Any strides: heads side by side in [B, T, H D] are views. The
 * Tq x Tk matrix is never stored. y lies in memory as [B, Tq, H, D], so that ag_transpose(y, 1, 2) reshapes to
 * [B, Tq, H D] without a copy. */
typedef struct ag_attention_options {
    float scale; /* 0: 1 / sqrt(D) */
    bool causal; /* query i, at position i + Tk - Tq, sees the keys up to its own position */
    /* Broadcasts to [B, H, Tq, Tk] and gets no gradient; NULL: none. A query that sees no key gives 0. */
    ag_var *mask;
    bool additive; /* the mask is added, -infinity hides; else keys where it is 0 are hidden */
} ag_attention_options;
#define AG_ATTENTION_DEFAULTS (TENSOR_LITERAL(ag_attention_options){0, false, NULL, false})
ag_var *ag_attention(ag_var *q, ag_var *k, ag_var *v, ag_attention_options options);
/* Its probabilities, to look at: [B, H, Tq, Tk]. */
ag_var *ag_attention_weights(ag_var *q, ag_var *k, ag_attention_options options);
/* Part number `part` of `parts` of packed heads, x [B, T, parts H D], as a view [B, H, T, D]; and all heads side by side
 * again, [B, H, T, D] as [B, T, H D], a view of what ag_attention returns. */
ag_var *ag_split_heads(ag_var *x, int heads, int part, int parts);
ag_var *ag_merge_heads(ag_var *x);
/* The short way for packed causal self-attention: qkv [B, T, 3C] holds queries, keys and values, each with its heads side
 * by side; the result is [B, T, C]. */
ag_var *ag_causal_attention(ag_var *qkv, int heads, float scale);

/* Rotary positions (Su et al. 2021): each pair of x [..., T, D] is turned by the angle of its row, whose cosine and sine
 * the tables [T, D/2] hold (tensor_rotary_table; they live as long as the tape's variables). Pairs are (i, i + D/2), as
 * Llama has them, or (2i, 2i + 1) where interleaved. */
ag_var *ag_rotary(ag_var *x, tensor cos, tensor sin, bool interleaved);

SAMPO_END_DECLS
#endif
