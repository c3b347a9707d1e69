/* Every operation of autograd, forward and backward, against the limit that binds it, traffic or multiply-adds, and beside
 * PyTorch where that is installed.
 *
 *     build/benches/ops [--threads N] [--json FILE] [--only NAME] [--torch PYTHON]
 */
#include <string.h>

#include "benches/measure.h"
#include "benches/peer.h"

/* ---- The operations ------------------------------------------------------------------------- */

enum { W = 256, T = 64, C = 64, HEADS = 4 }; /* width of a row; tokens, channels and heads of attention */

/* What one row needs at least. Floats: operands read and results written, once each, wherever they lie; flops: two for
 * each addition, product or multiply-add of floats in tensor/kernels/math.h, a division or root taken for one. */
typedef struct cost {
    double floats, flops;
} cost;

typedef struct line {
    const char *op;
    ag_var *(*run)(ag_var **in);
    int inputs;
    ag_operand in[AG_MAX_OPERANDS]; /* a size below 0 stands for the rows divided by it */
    cost forward, backward;
    bool no_gradient;
    const char *reason; /* for measuring nothing */
    const char *form;   /* another name, where an operation has several lines */
    bool once;          /* the operands have sizes of their own: the costs are of the whole */
} line;

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
static const line lines[] = {
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
enum { LINES = sizeof lines / sizeof *lines };

/* An operation without a line is elementwise: its first check case on rows of X's width, against its traffic. */
static line usual_line(const ag_op *op) {
    const ag_case *c = op->case_count > 0 ? &op->cases[0] : NULL;
    if (!c) return (line){op->name, .reason = op->no_cases};
    line l = {op->name, c->run, c->inputs, .forward = {(c->inputs + 1) * W, 0},
              .backward = {(2 * c->inputs + 1) * W, 0}};
    for (int k = 0; k < c->inputs; k++)
        l.in[k] = (ag_operand){2, {-1, W}, c->in[k].low, c->in[k].high == 0 ? 2 : c->in[k].high};
    return l;
}

static bool is_operation(const char *name) {
    for (int i = 0; ag_ops[i]; i++)
        if (strcmp(ag_ops[i]->name, name) == 0) return true;
    return false;
}

/* Every line is of an operation. */
static bool complete(tensor_error *err) {
    for (const line *l = lines; l < lines + LINES; l++)
        if (!is_operation(l->op)) return tensor_fail(err, "%s is no operation of autograd", l->op);
    return true;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

typedef struct task {
    line line;
    int64_t rows;
    ag_tape *tape;
    tensor in[AG_MAX_OPERANDS], dy;
    bool backward; /* what is measured */
    peer *torch;
} task;

/* What the table calls it; the peer knows it by this name. */
static const char *name_of(const line *l) {
    return l->form ? l->form : l->op;
}

/* A scalar whose backward gives its operand a gradient that was made before. */
static void seed_backward(ag_var *y, ag_var *dy) {
    (void)dy;
    ag_add_grad(y->in[0], ag_input(y->tape, *(const tensor *)y->saved));
}
static const ag_op seed_op = {.name = "seed", .backward = seed_backward};

static ag_var *seed(ag_var *x, tensor dy) {
    ag_var *y = ag_begin(&seed_op, 1, &x);
    tensor *saved = ag_save(y, sizeof *saved);
    if (!saved || !ag_out(y, TENSOR_F32, 0, NULL)) return NULL;
    *saved = dy;
    return ag_end(y);
}

static ag_var *forward(task *t, double *seconds) {
    ag_var *in[AG_MAX_OPERANDS];
    ag_reset(t->tape);
    for (int k = 0; k < t->line.inputs; k++) {
        const ag_operand *o = &t->line.in[k];
        in[k] = o->ids || o->constant ? ag_input(t->tape, t->in[k]) : ag_variable(t->tape, t->in[k]);
    }
    const double start = now();
    ag_var *y = t->line.run(in);
    *seconds = now() - start;
    return y;
}

static double theirs(void *context) {
    const task *t = context;
    char question[80];
    snprintf(question, sizeof question, "%s/%s %lld", name_of(&t->line), t->backward ? "backward" : "forward",
             (long long)t->rows);
    return peer_ask(t->torch, question);
}

static double ours(void *context) {
    task *t = context;
    double seconds;
    ag_var *y = forward(t, &seconds);
    if (!t->backward || !y) return y ? seconds : -1;
    if (y->value.rank > 0) y = seed(y, t->dy);
    const double start = now();
    return ag_backward(y) ? now() - start : -1;
}

/* Operands, and a gradient of the result. */
static bool prepare(task *t, tensor_arena *arena, tensor_error *err) {
    tensor_rng rng = {.seed = 1};
    for (int k = 0; k < t->line.inputs; k++) {
        const ag_operand *o = &t->line.in[k];
        int64_t shape[4];
        for (int i = 0; i < o->rank; i++) shape[i] = o->shape[i] < 0 ? t->rows / -o->shape[i] : o->shape[i];
        t->in[k] = tensor_new(arena, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, shape, err);
        const bool ok = o->ids ? tensor_rand_integers(t->in[k], &rng, 0, o->ids, err)
                               : tensor_rand_uniform(t->in[k], &rng, o->low, o->high, err);
        if (!ok) return false;
    }
    double seconds;
    const ag_var *y = forward(t, &seconds);
    if (!y) return tensor_fail(err, "%s: %.200s", name_of(&t->line), ag_error(t->tape));
    t->dy = tensor_new(arena, TENSOR_F32, y->value.rank, y->value.shape, err);
    return tensor_rand_uniform(t->dy, &rng, -1, 1, err);
}

/* One row of the table: times against both limits, of which the one that takes longer binds, and beside PyTorch. */
static bool measure(bench *b, task *t, tensor_arena *arena, tensor_error *err) {
    enum { TURNS = 11 };
    const cost c = t->backward ? t->line.backward : t->line.forward;
    const double bytes = 4 * c.floats * (double)t->rows, flops = c.flops * (double)t->rows;
    /* PyTorch's threads spin on, on processors that ours need. */
    const double settle = tensor_threads() > 1 && !b->quick ? 0.04 : 0;
    limit_stream stream;
    bench_side sides[] = {{.run = ours, .context = t},
                          limit_peak_side(&b->peak, NULL),
                          limit_stream_side(&stream, LIMIT_TRIAD, (int64_t)bytes, arena, err),
                          {.run = theirs, .context = t, .settle = settle}};
    const bool beside = t->torch->to && theirs(t) >= 0;
    if (!bench_alternate(b, sides, beside ? 4 : 3, TURNS))
        return tensor_fail(err, "%s: %.200s", name_of(&t->line),
                           ag_error(t->tape) ? ag_error(t->tape) : "PyTorch has ended");
    const double seconds = sides[0].seconds.median;
    const double by_bytes = 100 * sides[2].lead.median * bytes / stream.moved;
    double by_flops;
    if (!limit_percent(&sides[1], flops, seconds, &by_flops, err)) return false;
    const bool work = bytes > 0;
    bench_row(b,
              (bench_cell[]){cell_text(name_of(&t->line)), cell_text(t->backward ? "backward" : "forward"),
                             cell_figure(figure_times(sides[0].seconds, 1e6)),
                             work ? cell_number(1e-9 * bytes / seconds) : (bench_cell){0},
                             flops > 0 ? cell_number(1e-9 * flops / seconds) : (bench_cell){0},
                             cell_text(!work                 ? "no work"
                                       : by_bytes > by_flops ? "traffic"
                                                             : "arithmetic"),
                             work ? cell_number(by_bytes > by_flops ? by_bytes : by_flops) : (bench_cell){0},
                             beside ? cell_number(1e6 * sides[3].seconds.median) : (bench_cell){0},
                             beside ? cell_number(sides[3].lead.median) : (bench_cell){0}});
    return true;
}

/* Both passes of a line. */
static bool measure_line(bench *b, task *t, tensor_arena *arena, tensor_error *err) {
    for (int pass = 0; pass < (t->line.no_gradient ? 1 : 2); pass++) {
        tensor_arena_reset(arena);
        t->backward = pass;
        if (!prepare(t, arena, err) || !measure(b, t, arena, err)) return false;
    }
    return true;
}

/* The lines of rows of W, or, where `rows` is 1, those of sizes of their own. */
static bool all(bench *b, task *t, const char *only, tensor_arena *arena, tensor_error *err) {
    static const bench_column columns[] = {{"op", "operation", -19, 0},
                                           {"pass", "pass", -8, 0},
                                           {"us", "us", 15, 1},
                                           {"gb_per_s", "GB/s", 7, 1},
                                           {"gflops", "GFLOP/s", 7, 1},
                                           {"bound", "bound by", -10, 0},
                                           {"percent_of_bound", "% of it", 7, 0},
                                           {"torch_us", "PyTorch us", 10, 1},
                                           {"torch_by_ours", "by ours", 7, 2},
                                           {0}};
    char title[64];
    snprintf(title, sizeof title, t->rows > 1 ? "%lld rows of %d" : "sizes of their own", (long long)t->rows,
             W);
    bench_table(b, title, columns);
    for (int i = 0; ag_ops[i]; i++) {
        const char *name = ag_ops[i]->name;
        if (only && strcmp(only, name) != 0) continue;
        bool listed = false;
        for (const line *l = lines; l < lines + LINES; l++) {
            if (strcmp(l->op, name) != 0) continue;
            listed = true;
            t->line = *l;
            if (!l->reason && l->once == (t->rows == 1) && !measure_line(b, t, arena, err)) return false;
        }
        t->line = usual_line(ag_ops[i]);
        if (!listed && !t->line.reason && t->rows > 1 && !measure_line(b, t, arena, err)) return false;
    }
    return true;
}

/* PyTorch, with as many threads as ours. */
static void begin_torch(peer *torch, const char *python) {
    char threads[16];
    snprintf(threads, sizeof threads, "%d", tensor_threads());
    if (peer_begin(torch, python, PEERS_FOLDER "/torch_ops.py", threads))
        printf("beside %s, %s thread%s\n", torch->name, threads, tensor_threads() == 1 ? "" : "s");
    else
        printf("PyTorch is not installed for %s (--torch names another Python): its columns stay empty\n",
               python);
}

int main(int argc, char **argv) {
    bench b;
    const char *only = NULL, *python = "python3";
    const lm_option options[] = {
        lm_string("only", &only, "NAME", "this operation alone"),
        lm_string("torch", &python, "PYTHON", "the Python that has PyTorch, to compare"),
        {0}};
    const int status = bench_begin(&b, "ops", "The operations of autograd", options, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    ag_tape *tape = ag_tape_new();
    if (!tape) tensor_fail(&err, "out of memory");
    if (only && !is_operation(only)) tensor_fail(&err, "--only %.60s: autograd has no such operation", only);
    bool ok = !err.text[0] && complete(&err);
    peer torch = {.process = -1};
    if (ok) begin_torch(&torch, python);
    for (int i = 0; ok && i < 3; i++) {
        task t = {.rows = (const int64_t[]){256, 8192, 1}[i], .tape = tape, .torch = &torch};
        ok = all(&b, &t, only, arena, &err);
    }
    peer_end(&torch);
    if (ok) {
        puts("\nnot measured:");
        for (const line *l = lines; l < lines + LINES; l++)
            if (l->reason) printf("%-16s  %s\n", l->op, l->reason);
    }
    ag_tape_free(tape);
    tensor_arena_free(arena);
    return bench_end(&b, &err);
}
