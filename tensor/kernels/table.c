/* Compiled once per instruction set: all kernels, and the one table of them that leaves this file. */
#include "tensor/kernels/kernels.h"

#include "tensor/kernels/attention.h"
#include "tensor/kernels/columns.h"
#include "tensor/kernels/compact.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/gemm_bf16.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/optim.h"
#include "tensor/kernels/pool.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/rotary.h"
#include "tensor/kernels/slide.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/windows.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

const tensor_kernels PASTE(tensor_kernels_, SAMPO_ISA);

const tensor_kernels PASTE(tensor_kernels_, SAMPO_ISA) = {
    .name = STRING(SAMPO_ISA),
#define ENTRY(op, text) [TENSOR_##op] = unary_##op,
    .unary = {TENSOR_UNARY_OPS(ENTRY)},
#undef ENTRY
#define ENTRY(op, text) [TENSOR_##op] = binary_##op,
    .binary = {TENSOR_BINARY_OPS(ENTRY)},
#undef ENTRY
#define ENTRY(op, text, operands) [TENSOR_##op] = parametric_##op,
    .parametric = {TENSOR_PARAMETRIC_OPS(ENTRY)},
#undef ENTRY
    .where = where,
    .fill = fill,
    .transpose = transpose,
    .philox = philox_blocks,
    .dropout = dropout_mask,
    .sum = reduce_sum,
    .dot = reduce_dot,
    .max = reduce_max,
    .min = reduce_min,
    .product = reduce_product,
    .fold_max = fold_rows_MAX,
    .fold_min = fold_rows_MIN,
    .fold_product = fold_rows_MUL,
    .sum_squares = reduce_sum_squares,
    .add_rows = add_rows,
    .take_totals = take_totals,
    .softmax = softmax_row,
    .log_softmax = log_softmax_row,
    .log_sum_exp = log_sum_exp_rows,
    .softmax_vjp = softmax_vjp_row,
    .log_softmax_vjp = log_softmax_vjp_row,
    .cross_entropy_vjp = cross_entropy_vjp,
    .norm = norm_row,
    .norm_vjp = norm_vjp_row,
    .add_norm_rows = add_norm_rows,
    .norm_vjp_rows = norm_vjp_rows,
    .norm_moments = norm_moments,
    .norm_scale = norm_scale,
    .norm_sums = norm_sums,
    .norm_scale_vjp = norm_scale_vjp,
    .add_column_squares = add_column_squares,
    .add_column_dots = add_column_dots,
    .norm_columns = norm_columns,
    .norm_columns_vjp = norm_columns_vjp,
    .gemm = gemm,
    .compact_bf16 = compact_bf16_any,
    .compact_int8 = compact_int8,
    .compact_round = compact_round,
    .gemm_bf16 = gemm_bf16,
    .attention = attention,
    .attention_vjp = attention_vjp,
    .gather_windows = gather_windows,
    .scatter_windows = scatter_windows,
    .slide = slide,
    .slide_width = VEC_WIDTH,
    .pool_sums = pool_sums,
    .pool_shares = pool_shares,
    .pool_largest = pool_largest,
    .rotary = rotary_row,
#define ENTRY(rule, text, states) [TENSOR_UPDATE_##rule] = updates_##rule,
    .update = {TENSOR_UPDATE_RULES(ENTRY)},
#undef ENTRY
};
