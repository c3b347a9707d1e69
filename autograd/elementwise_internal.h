/* What the files of elementwise operations share. The engine undoes broadcasting, so each of their rules is written as
 * for equal shapes. */
#ifndef SAMPO_AUTOGRAD_ELEMENTWISE_INTERNAL_H
#define SAMPO_AUTOGRAD_ELEMENTWISE_INTERNAL_H

#include "autograd/ops.h"

/* Whether this backward is recorded. */
static inline bool ag_recorded(const ag_var *y) {
    return y->tape->phase == AG_RECORDED_GRADIENTS;
}

/* Memory for y: that of an operand which may be overwritten, or new. */
bool ag_elementwise_out(ag_var *y, int rank, const int64_t *shape);

/* An operation by its kernel; `parametric` has no second operand where y is NULL. */
ag_var *ag_unary(const ag_op *op, tensor_unary_op kernel, ag_var *x);
ag_var *ag_binary(const ag_op *op, tensor_binary_op kernel, ag_var *a, ag_var *b);
ag_var *ag_parametric(const ag_op *op, tensor_parametric_op kernel, ag_var *x, ag_var *y, float a, float b);

/* For losses: log(1 + e^x) - x t, t (log t - x), and x^2 / 2 that goes on straight from |x| = delta. */
ag_var *ag_logistic_loss(ag_var *x, ag_var *t);
ag_var *ag_kl(ag_var *x, ag_var *t);
ag_var *ag_huber(ag_var *x, float delta);

#endif
