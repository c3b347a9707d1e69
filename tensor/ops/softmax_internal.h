/* The log-sum-exp of a row with any stride, which softmax.c and loss.c share. */
#ifndef SAMPO_TENSOR_SOFTMAX_INTERNAL_H
#define SAMPO_TENSOR_SOFTMAX_INTERNAL_H

#include "sampo/tensor.h"

/* log sum e^x over n >= 1 elements of a row that are `stride` apart. */
float tensor_row_log_sum_exp(int64_t n, const float *x, int64_t stride);

#endif
