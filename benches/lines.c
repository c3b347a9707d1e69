/* The table of benches/ops. */
#include "benches/lines.h"

enum { W = LINE_WIDTH, T = 64, C = 64, HEADS = 4 }; /* tokens, channels and heads of attention */

#define UNARY_RUN(name)                                                                                      \
    static ag_var *run_##name(ag_var **in) {                                                                 \
        return ag_##name(in[0]);                                                                             \
    }
#define BINARY_RUN(name)                                                                                     \
    static ag_var *run_##name(ag_var **in) {                                                                 \
        return ag_##name(in[0], in[1]);                                                                      \
    }
#define RUN(name, call)                                                                                      \
    static ag_var *run_##name(ag_var **in) {                                                                 \
        return call;                                                                                         \
    }
UNARY_RUN(exp)
UNARY_RUN(log)
UNARY_RUN(sqrt)
UNARY_RUN(square)
UNARY_RUN(tanh)
UNARY_RUN(erf)
UNARY_RUN(sigmoid)
UNARY_RUN(relu)
UNARY_RUN(gelu)
UNARY_RUN(gelu_tanh)
UNARY_RUN(silu)
UNARY_RUN(sin)
UNARY_RUN(cos)
UNARY_RUN(expm1)
UNARY_RUN(log1p)
UNARY_RUN(rsqrt)
UNARY_RUN(floor)
BINARY_RUN(add)
BINARY_RUN(sub)
BINARY_RUN(mul)
BINARY_RUN(div)
BINARY_RUN(pow)
BINARY_RUN(max)
BINARY_RUN(min)
BINARY_RUN(less)
BINARY_RUN(equal)
BINARY_RUN(matmul)
BINARY_RUN(embedding)
BINARY_RUN(cross_entropy)
RUN(where, ag_where(in[0], in[1], in[2]))
RUN(affine, ag_affine(in[0], 2, 1))
RUN(dropout, ag_dropout(in[0], 0.1f, &(tensor_rng){.seed = 1}))
RUN(sum, ag_sum(in[0], AG_AXIS(1), false))
RUN(mean, ag_mean(in[0], AG_AXIS(1), false))
RUN(max_over, ag_max_over(in[0], AG_AXIS(1), false))
RUN(min_over, ag_min_over(in[0], AG_AXIS(1), false))
RUN(product, ag_product(in[0], AG_AXIS(1), false))
RUN(sum_squares, ag_sum_squares(in[0], AG_AXIS(1), false))
RUN(log_sum_exp, ag_log_sum_exp(in[0], AG_AXIS(1), false))
RUN(variance, ag_variance(in[0], AG_AXIS(1), 1, false))
RUN(variance_rows, ag_variance(in[0], AG_AXIS(0), 1, false))
RUN(deviation, ag_deviation(in[0], AG_AXIS(1), 1, false))
RUN(norm, ag_norm(in[0], 2, AG_AXIS(1), false))
RUN(norm_1, ag_norm(in[0], 1, AG_AXIS(1), false))
RUN(cumulative_sum, ag_cumulative_sum(in[0], 1))
RUN(cumulative_sum_rows, ag_cumulative_sum(in[0], 0))
RUN(stack, ag_stack(in, 2, 1))
RUN(gather, ag_gather(in[0], 1, in[1]))
RUN(scatter_add, ag_scatter_add(in[0], 1, in[1], in[2]))
RUN(index_select, ag_index_select(in[0], 0, in[1]))
RUN(index_select_1, ag_index_select(in[0], 1, in[1]))
RUN(index_select_2, ag_index_select(in[0], 2, in[1]))
RUN(argsort, ag_argsort(in[0], 1, false))
RUN(sort, ag_sort(in[0], 1, false, NULL))
RUN(top_k, ag_top_k(in[0], 1, 8, NULL))
RUN(argmax, ag_argmax(in[0], 1))
RUN(tril, ag_tril(in[0], 0))
RUN(one_hot, ag_one_hot(in[0], W))
RUN(mse_loss, ag_mse_loss(in[0], in[1], AG_LOSS_MEAN))
RUN(l1_loss, ag_l1_loss(in[0], in[1], AG_LOSS_MEAN))
RUN(huber_loss, ag_huber_loss(in[0], in[1], 1, AG_LOSS_MEAN))
RUN(smooth_l1_loss, ag_smooth_l1_loss(in[0], in[1], 0.5f, AG_LOSS_MEAN))
RUN(binary_cross_entropy, ag_binary_cross_entropy(in[0], in[1], AG_LOSS_MEAN))
RUN(kl_divergence, ag_kl_divergence(in[0], in[1], AG_LOSS_MEAN))

static ag_var *run_row_losses(ag_var **in) {
    ag_cross_entropy_options o = AG_CROSS_ENTROPY_DEFAULTS;
    o.form = AG_LOSS_EACH;
    return ag_cross_entropy_with(in[0], in[1], o);
}
static ag_var *run_smoothed(ag_var **in) {
    ag_cross_entropy_options o = AG_CROSS_ENTROPY_DEFAULTS;
    o.smoothing = 0.1f;
    return ag_cross_entropy_with(in[0], in[1], o);
}
RUN(reshape, ag_reshape(ag_transpose(in[0], 0, 1), TENSOR_SHAPE(-1)))
RUN(sum_rows, ag_sum(in[0], AG_AXIS(0), false))
RUN(max_over_rows, ag_max_over(in[0], AG_AXIS(0), false))
RUN(permute_0213, ag_reshape(ag_permute(in[0], (int[]){0, 2, 1, 3}), TENSOR_SHAPE(-1)))
RUN(permute_0231, ag_reshape(ag_permute(in[0], (int[]){0, 2, 3, 1}), TENSOR_SHAPE(-1)))
RUN(permute_210, ag_reshape(ag_permute(in[0], (int[]){2, 1, 0}), TENSOR_SHAPE(-1)))
RUN(slice, ag_slice(in[0], 1, 0, W / 2, 1))
RUN(unslice, ag_unslice(in[0], TENSOR_SHAPE(in[0]->value.shape[0], W), 1, 0, W / 2, 1))
RUN(expand, ag_expand(in[0], TENSOR_SHAPE(in[1]->value.shape[0], W)))
RUN(concat, ag_concat(in, 2, 1))
RUN(linear, ag_linear(in[0], in[1], in[2]))
RUN(softmax, ag_softmax(in[0], -1))
RUN(log_softmax, ag_log_softmax(in[0], -1))
RUN(layer_norm, ag_layer_norm(in[0], in[1], in[2], 1e-5f))
RUN(rms_norm, ag_rms_norm(in[0], in[1], 1e-5f))
RUN(conv2d, ag_conv2d(in[0], in[1], in[2], (tensor_windows){.padding = {1, 1}}))
RUN(conv2d_stride, ag_conv2d(in[0], in[1], in[2], (tensor_windows){.stride = {2, 2}, .padding = {1, 1}}))
RUN(conv_transpose2d, ag_conv_transpose2d(in[0], in[1], in[2], (tensor_windows){.padding = {1, 1}}, NULL))
RUN(conv2d_weight, ag_conv2d_weight(in[0], in[1], 3, 3, (tensor_windows){.padding = {1, 1}}))
RUN(max_pool2d, ag_max_pool2d(in[0], 2, 2, (tensor_windows){0}))
RUN(max_pool2d_3, ag_max_pool2d(in[0], 3, 3, (tensor_windows){.stride = {2, 2}, .padding = {1, 1}}))
RUN(average_pool2d, ag_average_pool2d(in[0], 2, 2, (tensor_windows){0}, true))
RUN(average_pool2d_3, ag_average_pool2d(in[0], 3, 3, (tensor_windows){{1, 1}, {1, 1}, {0, 0}, 0}, false))
RUN(average_pool2d_all, ag_average_pool2d(in[0], 32, 32, (tensor_windows){0}, true))
RUN(unfold, ag_unfold(in[0], 3, 3, (tensor_windows){.padding = {1, 1}}))
RUN(pad, ag_pad(in[0], (int64_t[]){0, 0, 1, 1}, (int64_t[]){0, 0, 1, 1}, 0))
RUN(batch_norm, ag_batch_norm(in[0], in[1], in[2], 1e-5f, NULL))
RUN(group_norm, ag_group_norm(in[0], in[1], in[2], 8, 1e-5f))
RUN(attention, ag_causal_attention(in[0], HEADS, 0.25f)) /* and the views that pack and unpack */

static ag_var *run_rotary(ag_var **in) { /* [rows / 64, 64 tokens, W] */
    static float memory[2][T * W / 2];
    static tensor_storage storage[2] = {{memory[0], sizeof memory[0], 0}, {memory[1], sizeof memory[1], 0}};
    static tensor cos, sin;
    if (!tensor_ok(sin)) {
        cos = tensor_wrap(&storage[0], TENSOR_F32, TENSOR_SHAPE(T, W / 2), NULL);
        sin = tensor_wrap(&storage[1], TENSOR_F32, TENSOR_SHAPE(T, W / 2), NULL);
        tensor_rotary_table(cos, sin, 0, 10000, NULL);
    }
    return ag_rotary(ag_reshape(in[0], TENSOR_SHAPE(-1, T, W)), cos, sin, false);
}

/* clang-format off */
#define X {2, {-1, W}, -2, 2}
#define POSITIVE {2, {-1, W}, 0.5f, 2}
#define HALF {2, {-1, W / 2}, -2, 2}
#define WEIGHT {2, {W, W}, -0.1f, 0.1f}
#define VECTOR {1, {W}, -1, 1}
#define COLUMN {2, {-1, 1}, -2, 2}
#define IDS {1, {-1}, .ids = W}
#define IMAGES {4, {8, 64, 32, 32}, -1, 1}
#define FILTERS {4, {64, 64, 3, 3}, -0.1f, 0.1f}
#define IMAGE_FLOATS (8 * 64 * 32 * 32)
#define CONV_FLOPS (2.0 * IMAGE_FLOATS * 64 * 9) /* a product: 64 channels to 64, 3 x 3 */
#define HEADS_4 {4, {32, 64, 8, 64}, -2, 2}
/* The costs of an element: floats and flops, forward and backward. */
#define EACH(floats, flops, dfloats, dflops) {floats * W, flops * W}, {dfloats * W, dflops * W}
#define UNARY(name, operand, flops, dflops) {#name, run_##name, 1, {operand}, EACH(2, flops, 3, dflops)}
#define BINARY(name, operand, flops, dfloats, dflops) \
    {#name, run_##name, 2, {operand, operand}, EACH(3, flops, dfloats, dflops)}
/* One of its own sizes: floats and flops of the whole. */
#define WHOLE(floats, flops, dfloats, dflops) {floats, flops}, {dfloats, dflops}, .once = true
const line lines[] = {
    BINARY(add, X, 2, 0, 0), /* dy itself is both gradients */
    {"add", run_add, 2, {X, COLUMN}, EACH(2, 2, 1, 2), .form = "add a column"},
    {"add", run_add, 2, {X, VECTOR}, EACH(2, 2, 1, 2), .form = "add a row"},
    BINARY(sub, X, 2, 2, 2),
    BINARY(mul, X, 2, 5, 4),
    BINARY(div, POSITIVE, 2, 5, 6),
    BINARY(pow, POSITIVE, 92, 5, 130), /* in double: an operation counts for two */
    BINARY(max, X, 2, 5, 4),
    BINARY(min, X, 2, 5, 4),
    {"less", run_less, 2, {X, X}, EACH(3, 2, 0, 0), .no_gradient = true},
    {"equal", run_equal, 2, {X, X}, EACH(3, 2, 0, 0), .no_gradient = true},
    {"where", run_where, 3, {{2, {-1, W}, -1, 1, .constant = true}, X, X}, EACH(4, 0, 4, 0)},
    {"affine", run_affine, 1, {X}, EACH(2, 2, 2, 2)},
    UNARY(exp, X, 24, 2),
    UNARY(log, POSITIVE, 32, 2),
    UNARY(sqrt, POSITIVE, 2, 4),
    UNARY(square, X, 2, 4),
    UNARY(tanh, X, 44, 4),
    UNARY(erf, X, 54, 30),
    UNARY(sigmoid, X, 28, 6),
    UNARY(relu, X, 0, 0),
    UNARY(gelu, X, 62, 90),
    UNARY(gelu_tanh, X, 36, 48),
    UNARY(silu, X, 32, 36),
    UNARY(expm1, X, 28, 26),
    UNARY(log1p, POSITIVE, 40, 4),
    UNARY(rsqrt, POSITIVE, 4, 8),
    UNARY(sin, X, 60, 62), /* in double in part, where an operation counts for two */
    UNARY(cos, X, 60, 62),
    {"floor", run_floor, 1, {X}, EACH(2, 6, 0, 0), .no_gradient = true},
    {"logistic_loss", .reason = "see binary_cross_entropy"},
    {"kl", .reason = "see kl_divergence"},
    {"huber", .reason = "see huber_loss"},
    {"sum_sizes", .reason = "see norm 1"},
    {"add_in_place", .reason = "add over a result that is still in a cache"},
    {"relu_in_place", .reason = "relu over a result that is still in a cache"},
    {"dropout", run_dropout, 1, {X}, EACH(3, 2, 3, 2)}, /* and integers for random numbers, not counted */
    {"sum", run_sum, 1, {X}, EACH(1, 2, 1, 0)},
    {"sum", run_sum_rows, 1, {X}, EACH(1, 2, 1, 0), .form = "sum of columns"},
    {"mean", run_mean, 1, {X}, EACH(1, 2, 1, 0)},
    {"max_over", run_max_over, 1, {X}, EACH(1, 2, 2, 4)},
    {"max_over", run_max_over_rows, 1, {X}, EACH(1, 2, 2, 4), .form = "max of columns"},
    {"min_over", run_min_over, 1, {X}, EACH(1, 2, 2, 4)},
    {"product", run_product, 1, {{2, {-1, W}, 0.97f, 1.03f}}, EACH(1, 2, 2, 4)},
    {"sum_squares", run_sum_squares, 1, {X}, EACH(1, 2, 2, 2)},
    {"log_sum_exp", run_log_sum_exp, 1, {X}, EACH(1, 28, 2, 28)},
    {"variance", run_variance, 1, {X}, EACH(1, 6, 2, 4)},
    {"variance", run_variance_rows, 1, {X}, EACH(1, 6, 2, 4), .form = "variance of columns"},
    {"deviation", run_deviation, 1, {X}, EACH(1, 6, 2, 4)},
    {"norm", run_norm, 1, {X}, EACH(1, 2, 2, 2)},
    {"norm", run_norm_1, 1, {X}, EACH(1, 2, 2, 2), .form = "norm 1"},
    {"cumulative_sum", run_cumulative_sum, 1, {X}, EACH(2, 2, 2, 2)},
    {"cumulative_sum", run_cumulative_sum_rows, 1, {X}, EACH(2, 2, 2, 2), .form = "cumulative of rows"},
    {"reshape", run_reshape, 1, {X}, EACH(2, 0, 0, 0)}, /* of a transposed operand: a copy */
    {"reshape", run_reshape, 1, {{2, {2048, 2048}, -2, 2}}, WHOLE(8 << 20, 0, 0, 0),
     .form = "transpose 2048^2"},
    {"reshape", run_permute_0213, 1, {HEADS_4}, WHOLE(2 << 20, 0, 0, 0), .form = "permute 0 2 1 3"},
    {"reshape", run_permute_0231, 1, {HEADS_4}, WHOLE(2 << 20, 0, 0, 0), .form = "permute 0 2 3 1"},
    {"reshape", run_permute_210, 1, {{3, {64, 96, 128}, -2, 2}}, WHOLE(2 * 64 * 96 * 128, 0, 0, 0),
     .form = "permute 2 1 0"},
    {"permute", .reason = "a view: no element is touched"},
    {"split_heads", .reason = "a view: no element is touched"},
    {"merge_heads", .reason = "a view of what attention gives"},
    {"select", .reason = "a view: no element is touched"},
    {"split", .reason = "views: no element is touched"},
    {"unbind", .reason = "views: no element is touched"},
    {"flip", .reason = "a view: no element is touched"},
    {"einsum", .reason = "permute and matmul"},
    {"stack", run_stack, 2, {HALF, HALF}, EACH(2, 0, 0, 0)},
    {"gather", run_gather, 2, {X, {2, {-1, W}, .ids = W}}, EACH(3, 0, 3, 2)},
    {"scatter_add", run_scatter_add, 3, {X, {2, {-1, W}, .ids = W}, X}, EACH(4, 2, 3, 0)},
    {"index_select", run_index_select, 2, {X, {1, {-1}, .ids = 256}}, EACH(2, 0, 2, 2)},
    {"index_select", run_index_select_1, 2, {{3, {32, 64, 256}, -1, 1}, {1, {64}, .ids = 64}},
     WHOLE(2 * 32 * 64 * 256, 0, 2 * 32 * 64 * 256, 0), .form = "index_select 1"},
    {"index_select", run_index_select_2, 2, {{3, {32, 64, 256}, -1, 1}, {1, {256}, .ids = 256}},
     WHOLE(2 * 32 * 64 * 256, 0, 2 * 32 * 64 * 256, 0), .form = "index_select 2"},
    {"argsort", run_argsort, 1, {X}, EACH(2, 0, 0, 0), .no_gradient = true},
    {"sort", run_sort, 1, {X}, EACH(2, 0, 3, 0)},
    {"sort", run_sort, 1, {{2, {4, 100000}, -1, 1}}, WHOLE(800000, 0, 1200000, 0), .form = "sort 100000"},
    {"top_k", run_top_k, 1, {X}, EACH(1, 0, 1, 0)},
    {"top_k", run_top_k, 1, {{2, {16, 50257}, -1, 1}}, WHOLE(16 * 50257, 0, 16 * 50257, 0), .form = "top_k 50257"},
    {"argmax", run_argmax, 1, {X}, EACH(1, 2, 0, 0), .no_gradient = true},
    {"tril", run_tril, 1, {{3, {32, 256, 256}, -1, 1}}, WHOLE(1.5 * (1 << 21), 0, 1.5 * (1 << 21), 0)},
    {"triu", .reason = "as tril"},
    {"one_hot", run_one_hot, 1, {IDS}, EACH(1, 0, 0, 0), .no_gradient = true},
    {"slice", run_slice, 1, {X}, EACH(0, 0, 1.5, 0)},
    {"unslice", run_unslice, 1, {HALF}, EACH(1.5, 0, 0, 0)},
    {"expand", run_expand, 2, {{2, {1, W}, -2, 2}, {1, {-1}, -1, 1, .constant = true}}, EACH(0, 0, 1, 2)},
    {"concat", run_concat, 2, {HALF, HALF}, EACH(2, 0, 0, 0)},
    {"matmul", run_matmul, 2, {X, WEIGHT}, {2 * W, 2.0 * W * W}, {4 * W, 4.0 * W * W}},
    {"linear", run_linear, 3, {X, WEIGHT, VECTOR}, {2 * W, 2.0 * W * W}, {4 * W, 4.0 * W * W}},
    {"embedding", run_embedding, 2, {WEIGHT, IDS}, EACH(1, 0, 1, 2)}, /* the table stays in a cache */
    {"embedding", run_embedding, 2, {{2, {51, 64}, -1, 1}, {1, {4096}, .ids = 51}},
     WHOLE(4096 * 64, 0, 4096 * 64, 2 * 4096 * 64), .form = "embedding 64"},
    {"softmax", run_softmax, 1, {X}, EACH(2, 30, 3, 6)},
    {"log_softmax", run_log_softmax, 1, {X}, EACH(2, 30, 3, 30)},
    {"layer_norm", run_layer_norm, 3, {X, VECTOR, VECTOR}, EACH(2, 10, 3, 20)},
    {"rms_norm", run_rms_norm, 2, {X, VECTOR}, EACH(2, 6, 3, 16)},
    /* Two products of T / 2 keys forward, four backward. */
    {"attention", run_attention, 1, {{3, {-T, T, 3 * C}, -1, 1}},
     {4 * C, 2.0 * T * C}, {8 * C, 4.0 * T * C}},
    {"conv2d", run_conv2d, 3, {IMAGES, FILTERS, {1, {64}, -1, 1}},
     WHOLE(2 * IMAGE_FLOATS, CONV_FLOPS, 3 * IMAGE_FLOATS, 2 * CONV_FLOPS)},
    {"conv2d", run_conv2d_stride, 3, {IMAGES, FILTERS, {1, {64}, -1, 1}},
     WHOLE(1.25 * IMAGE_FLOATS, CONV_FLOPS / 4, 2.5 * IMAGE_FLOATS, CONV_FLOPS / 2), .form = "conv2d, stride 2"},
    {"conv_transpose2d", run_conv_transpose2d, 3, {IMAGES, FILTERS, {1, {64}, -1, 1}},
     WHOLE(2 * IMAGE_FLOATS, CONV_FLOPS, 3 * IMAGE_FLOATS, 2 * CONV_FLOPS)},
    {"conv2d_weight", run_conv2d_weight, 2, {IMAGES, IMAGES},
     WHOLE(2 * IMAGE_FLOATS, CONV_FLOPS, 2 * IMAGE_FLOATS, 2 * CONV_FLOPS)},
    {"max_pool2d", run_max_pool2d, 1, {IMAGES}, WHOLE(1.25 * IMAGE_FLOATS, IMAGE_FLOATS, 1.25 * IMAGE_FLOATS, 0)},
    {"max_pool2d", run_max_pool2d_3, 1, {IMAGES},
     WHOLE(1.25 * IMAGE_FLOATS, 2.25 * IMAGE_FLOATS, 1.25 * IMAGE_FLOATS, 0), .form = "max_pool2d 3"},
    {"max_pool2d_ids", .reason = "see max_pool2d"},
    {"average_pool2d", run_average_pool2d, 1, {IMAGES},
     WHOLE(1.25 * IMAGE_FLOATS, IMAGE_FLOATS, 1.25 * IMAGE_FLOATS, IMAGE_FLOATS)},
    {"average_pool2d", run_average_pool2d_3, 1, {IMAGES},
     WHOLE(2 * IMAGE_FLOATS, 9 * IMAGE_FLOATS, 2 * IMAGE_FLOATS, 9 * IMAGE_FLOATS), .form = "average_pool2d 3"},
    {"average_pool2d", run_average_pool2d_all, 1, {IMAGES},
     WHOLE(IMAGE_FLOATS, IMAGE_FLOATS, IMAGE_FLOATS, IMAGE_FLOATS), .form = "average_pool2d all"},
    {"average_share", .reason = "see average_pool2d, backward"},
    {"unfold", run_unfold, 1, {IMAGES}, WHOLE(10 * IMAGE_FLOATS, 0, 10 * IMAGE_FLOATS, 9 * IMAGE_FLOATS)},
    {"pad", run_pad, 1, {IMAGES}, WHOLE(2.13 * IMAGE_FLOATS, 0, 0, 0)},
    {"batch_norm", run_batch_norm, 3, {IMAGES, {1, {64}, -1, 1}, {1, {64}, -1, 1}},
     WHOLE(2 * IMAGE_FLOATS, 10 * IMAGE_FLOATS, 3 * IMAGE_FLOATS, 20 * IMAGE_FLOATS)},
    {"batch_norm", run_batch_norm, 3, {X, VECTOR, VECTOR}, EACH(2, 10, 3, 20), .form = "batch_norm, rows"},
    {"group_norm", run_group_norm, 3, {IMAGES, {1, {64}, -1, 1}, {1, {64}, -1, 1}},
     WHOLE(2 * IMAGE_FLOATS, 10 * IMAGE_FLOATS, 3 * IMAGE_FLOATS, 20 * IMAGE_FLOATS)},
    {"rotary", run_rotary, 1, {X}, EACH(2, 4, 2, 4)}, /* the table stays in a cache */
    {"checkpoint", .reason = "it costs what its block costs"},
    {"cross_entropy", run_cross_entropy, 2, {X, IDS}, EACH(1, 28, 2, 28)},
    {"row_losses", run_row_losses, 2, {X, IDS}, EACH(1, 28, 2, 28)},
    {"row_losses", run_smoothed, 2, {X, IDS}, EACH(1, 30, 2, 30), .form = "smoothed"},
    BINARY(mse_loss, X, 4, 3, 4),
    BINARY(l1_loss, X, 4, 3, 4),
    BINARY(huber_loss, X, 8, 3, 6),
    BINARY(smooth_l1_loss, X, 8, 3, 6),
    {"binary_cross_entropy", run_binary_cross_entropy, 2, {X, {2, {-1, W}, 0.1f, 0.9f, .constant = true}},
     EACH(2, 60, 3, 32)},
    {"kl_divergence", run_kl_divergence, 2, {X, {2, {-1, W}, 0.1f, 0.9f, .constant = true}}, EACH(2, 36, 2, 2)},
    {"cross_entropy", run_cross_entropy, 2, {{2, {4096, 51}, -2, 2}, {1, {4096}, .ids = 51}},
     WHOLE(4096 * 51, 28.0 * 4096 * 51, 2 * 4096 * 51, 28.0 * 4096 * 51), .form = "cross_entropy 51"},
    {"cross_entropy", run_cross_entropy, 2, {{2, {64, 50257}, -2, 2}, {1, {64}, .ids = 50257}},
     WHOLE(64 * 50257, 28.0 * 64 * 50257, 2 * 64 * 50257, 28.0 * 64 * 50257), .form = "cross_entropy 50257"},
};
/* clang-format on */
const int line_count = sizeof lines / sizeof *lines;

line usual_line(const ag_op *op) {
    const ag_case *c = op->case_count > 0 ? &op->cases[0] : NULL;
    if (!c) return (line){op->name, .reason = op->no_cases};
    line l = {op->name, c->run, c->inputs, .forward = {(c->inputs + 1) * W, 0},
              .backward = {(2 * c->inputs + 1) * W, 0}};
    for (int k = 0; k < c->inputs; k++)
        l.in[k] = (ag_operand){2, {-1, W}, c->in[k].low, c->in[k].high == 0 ? 2 : c->in[k].high};
    return l;
}
