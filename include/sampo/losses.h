/* Sampo autograd: losses. sampo/autograd.h, which includes this, says who owns results and how failures show. */
#ifndef SAMPO_LOSSES_H
#define SAMPO_LOSSES_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* What is made of the losses of all elements or rows: their mean, a scalar; their sum, a scalar; or each as it is. */
typedef enum ag_loss_form { AG_LOSS_MEAN, AG_LOSS_SUM, AG_LOSS_EACH } ag_loss_form;

/* Mean over all rows of log sum e^x - x[target]: logits [..., V], targets [...] int32; a scalar, in nats. */
ag_var *ag_cross_entropy(ag_var *logits, ag_var *targets);

/* The same with options, PyTorch's and with its defaults. A row's loss is (1 - s) w[target] (lse - x[target]) +
 * s/V sum_c w[c] (lse - x[c]), where lse = log sum e^x, or 0 where the target is `ignored`. The mean divides by the sum
 * of w[target] over the rows that are not: NaN where there are none. AG_LOSS_EACH gives [...]. */
typedef struct ag_cross_entropy_options {
    ag_loss_form form;
    ag_var *weights; /* w [V], of the classes, which get no gradient; NULL: 1 */
    int32_t ignored; /* a target, which need not be in 0..V-1 */
    float smoothing; /* s, 0 to 1 (Szegedy et al. 2016) */
} ag_cross_entropy_options;
#define AG_CROSS_ENTROPY_DEFAULTS (TENSOR_LITERAL(ag_cross_entropy_options){AG_LOSS_MEAN, NULL, -100, 0})
ag_var *ag_cross_entropy_with(ag_var *logits, ag_var *targets, ag_cross_entropy_options options);

/* Losses of elements: x and the targets t have one shape, as broadcasting would hide a mistake. Both may have
 * gradients. The first: (x - t)^2, and |x - t|, whose slope at 0 is 0. */
ag_var *ag_mse_loss(ag_var *x, ag_var *t, ag_loss_form form);
ag_var *ag_l1_loss(ag_var *x, ag_var *t, ag_loss_form form);
/* Elements of the distance d = |x - t|: d^2 / 2 up to delta, then delta (d - delta / 2); delta is above 0 (Huber 1964).
 * Smooth L1 is that divided by its width beta (Girshick 2015); with a beta of 0 it is |x - t|. */
ag_var *ag_huber_loss(ag_var *x, ag_var *t, float delta, ag_loss_form form);
ag_var *ag_smooth_l1_loss(ag_var *x, ag_var *t, float beta, ag_loss_form form);
/* Elements log(1 + e^x) - x t: the cross-entropy of probabilities t in 0..1 with sigmoid(x), exact in both tails. */
ag_var *ag_binary_cross_entropy(ag_var *x, ag_var *t, ag_loss_form form);
/* t (log t - x), the divergence of Kullback and Leibler of probabilities e^x from t; 0 where t is 0, also where x is then
 * -infinity, and so is the gradient of t (PyTorch has NaN for both). The mean is that over all elements, as PyTorch's
 * default. */
ag_var *ag_kl_divergence(ag_var *x, ag_var *t, ag_loss_form form);

SAMPO_END_DECLS
#endif
