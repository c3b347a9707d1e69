/* Operands that do not fit the functions of kernels.h, arrange.h and windows.h. */
#include "tests/refusals.h"
#include "tests/tensor/tensor_test.h"

static const tensor_attention_options attending = {.scale = 1};
static const tensor_windows windows = {.groups = 1};
static tensor_compact half, quarter; /* of [4, 3] */
static int8_t values[64];
static uint16_t scales[64];
static const tensor_update_step update = {.rate = 0.1, .beta1 = 0.9, .beta2 = 0.9, .bias1 = 1, .bias2 = 1};

#define CALLS(_)                                                                                             \
    _(copy, "^f23 f23", tensor_copy(t[0], t[1], err))                                                        \
    _(concat, "f53 f23 f33", tensor_concat(t[0], 2, t + 1, 0, err))                                          \
    _(fill, "|*f3", tensor_fill(t[0], 1, err))                                                               \
    _(unary, "^f23 f23", tensor_unary(t[0], TENSOR_EXP, t[1], err))                                          \
    _(binary, "^f23 f23 f3", tensor_binary(t[0], TENSOR_ADD, t[1], t[2], err))                               \
    _(parametric, "^f23 f23 f3", tensor_parametric(t[0], TENSOR_AXPY, t[1], t[2], 1, 2, err))                \
    _(affine, "^f23 f23", tensor_affine(t[0], 1, t[1], 2, err))                                              \
    _(axpy, "^f23 f23", tensor_axpy(t[0], 1, t[1], err))                                                     \
    _(where, "^f23 f23 f23 f23", tensor_where(t[0], t[1], t[2], t[3], err))                                  \
    _(reduce, "f13 f2~3", tensor_reduce(t[0], TENSOR_SUM, t[1], 1, false, err))                              \
    _(reduce_of, "f13 f2~3", tensor_reduce_of(t[0], TENSOR_SUM, TENSOR_SQUARE, t[1], 1, false, err))         \
    _(argmax, "i13 f2~3", tensor_argmax(t[0], t[1], 0, err))                                                 \
    _(matmul, "f23 f24 f43", tensor_matmul(t[0], t[1], t[2], false, err))                                    \
    _(matmul_at, "f23 f24 f43", tensor_matmul_at(t[0], t[1], t[2], false, TENSOR_BFLOAT16, err))             \
    _(linear, "f23 f24 f43 ?f3", tensor_linear(t[0], t[1], t[2], t[3], err))                                 \
    _(linear_at, "f23 f24 f43 ?f3", tensor_linear_at(t[0], t[1], t[2], t[3], TENSOR_BFLOAT16, err))          \
    _(gather_rows, "f24 f3~4 i2", tensor_gather_rows(t[0], t[1], t[2], err))                                 \
    _(scatter_add_rows, "f3~4 i2 f24 *i99", tensor_scatter_add_rows(t[0], t[1], t[2], t[3], err))            \
    _(log_sum_exp, "f21 f23~", tensor_log_sum_exp(t[0], t[1], 1, err))                                       \
    _(softmax, "f23 f23", tensor_softmax(t[0], t[1], 1, err))                                                \
    _(log_softmax, "f23 f23", tensor_log_softmax(t[0], t[1], 1, err))                                        \
    _(softmax_vjp, "f23 f23 f23", tensor_softmax_vjp(t[0], t[1], t[2], 1, false, err))                       \
    _(log_softmax_vjp, "f23 f23 f23", tensor_log_softmax_vjp(t[0], t[1], t[2], 1, false, err))               \
    _(layer_norm, "f23 ?f22 f23 ?f3 ?f3", tensor_layer_norm(t[0], t[1], t[2], t[3], t[4], 1e-5f, err))       \
    _(layer_norm_vjp, "?f23 ?f3 ?f3 f23 f23 ?f3 f22",                                                        \
      tensor_layer_norm_vjp(t[0], t[1], t[2], t[3], t[4], t[5], t[6], false, err))                           \
    _(rms_norm, "f23 ?f22 f23 ?f3", tensor_rms_norm(t[0], t[1], t[2], t[3], 1e-5f, err))                     \
    _(rms_norm_vjp, "?f23 ?f3 f23 f23 ?f3 f22",                                                              \
      tensor_rms_norm_vjp(t[0], t[1], t[2], t[3], t[4], t[5], false, err))                                   \
    _(channel_norm, "f243 f34 f243 f4 f4", tensor_channel_norm(t[0], t[1], t[2], t[3], t[4], 2, 1e-5f, err)) \
    _(channel_norm_vjp, "?f243 ?f4 ?f4 f243 f243 f4 f34 *f99",                                               \
      tensor_channel_norm_vjp(t[0], t[1], t[2], t[3], t[4], t[5], t[6], 2, false, t[7], err))                \
    _(attention, "f1234 ?f1232 f1234 f1134 f1134",                                                           \
      tensor_attention(t[0], t[1], t[2], t[3], t[4], &attending, err))                                       \
    _(attention_vjp, "?f1234 ?f1134 ?f1134 f1234 f1234 f1232 f1234 f1134 f1134",                             \
      tensor_attention_vjp(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], &attending,                 \
                           (const bool[3]){false}, err))                                                     \
    _(rotary_table, "f23 f23", tensor_rotary_table(t[0], t[1], 0, 10000, err))                               \
    _(rotary, "f24 f24 f22 f22", tensor_rotary(t[0], t[1], t[2], t[3], false, false, err))                   \
    _(cross_entropy, "f f2 f23~ i2", tensor_cross_entropy(t[0], t[1], t[2], t[3], err))                      \
    _(cross_entropy_vjp, "f23 f2 f23 i2", tensor_cross_entropy_vjp(t[0], 1, t[1], t[2], t[3], false, err))   \
    _(cross_entropy_rows, "f2 f2 f23~ i2", tensor_cross_entropy_rows(t[0], t[1], t[2], t[3], 9, err))        \
    _(cross_entropy_rows_vjp, "f23 f2 f2 f23 i2",                                                            \
      tensor_cross_entropy_rows_vjp(t[0], t[1], t[2], t[3], t[4], 9, false, err))                            \
    _(update, "f3 f3 f3 f3", tensor_update(TENSOR_UPDATE_ADAMW, t[0], t[1], t[2], t[3], &update, err))       \
    _(rand_uniform, "*f3", tensor_rand_uniform(t[0], &(tensor_rng){.seed = 1}, 0, 1, err))                   \
    _(rand_normal, "*f3", tensor_rand_normal(t[0], &(tensor_rng){.seed = 1}, 0, 1, err))                     \
    _(rand_integers, "*i3", tensor_rand_integers(t[0], &(tensor_rng){.seed = 1}, 0, 5, err))                 \
    _(rand_dropout, "*f3", tensor_rand_dropout(t[0], &(tensor_rng){.seed = 1}, 0.5f, err))                   \
    _(rand_categorical, "i2 f23~", tensor_rand_categorical(t[0], &(tensor_rng){.seed = 1}, t[1], err))       \
    _(gather, "f23 f4~3 i23", tensor_gather(t[0], t[1], 0, t[2], err))                                       \
    _(scatter_add, "f2~3 i23 f23 *f99", tensor_scatter_add(t[0], 0, t[1], t[2], t[3], err))                  \
    _(argsort, "i23 f23 *i99", tensor_argsort(t[0], t[1], 1, false, t[2], err))                              \
    _(top_k, "i22~ f23~ *i99", tensor_top_k(t[0], t[1], 1, t[2], err))                                       \
    _(cumulative_sum, "f23 f23", tensor_cumulative_sum(t[0], t[1], 1, err))                                  \
    _(triangle, "f23 f23", tensor_triangle(t[0], t[1], 0, false, err))                                       \
    _(convolve, "f1233 f1255 f2233 ?f2", tensor_convolve(t[0], t[1], t[2], t[3], &windows, err))             \
    _(convolve_transposed, "f1255 f1233 f2233 ?f2 *f66",                                                     \
      tensor_convolve_transposed(t[0], t[1], t[2], t[3], &windows, t[4], err))                               \
    _(convolve_weight, "f2233 f1233 f1255 *f66",                                                             \
      tensor_convolve_weight(t[0], t[1], t[2], &windows, t[3], err))                                         \
    _(pool_average, "f1222 f124~4~",                                                                         \
      tensor_pool_average(t[0], t[1], (const int64_t[2]){2, 2}, &windows, err))                              \
    _(pool_average_vjp, "f124~4~ f1222",                                                                     \
      tensor_pool_average_vjp(t[0], t[1], (const int64_t[2]){2, 2}, &windows, err))                          \
    _(pool_largest, "i1222 f124~4~",                                                                         \
      tensor_pool_largest(t[0], t[1], (const int64_t[2]){2, 2}, &windows, err))                              \
    _(compact_linear, "f23 f24 ?f3 *i99", tensor_compact_linear(t[0], t[1], &quarter, t[2], t[3], err))      \
    _(compact_linear_bf16, "f23 f24 ?f3", tensor_compact_linear(t[0], t[1], &half, t[2], (tensor){0}, err))  \
    _(compact_gather, "f24 i2", tensor_compact_gather(t[0], &half, t[1], err))                               \
    _(round_weights, "f4~3~", tensor_round_weights(t[0], TENSOR_INT8, false, values, scales, err))

#define FUNCTION(name, operands, ...)                                                                        \
    static bool call_##name(const tensor *t, tensor_error *err) {                                            \
        return __VA_ARGS__;                                                                                  \
    }
CALLS(FUNCTION)

#define ENTRY(name, operands, ...) {"tensor_" #name, operands, call_##name},
static const refusing calls[] = {CALLS(ENTRY)};

Test(refusals, operands) {
    const int64_t shape[] = {4, 3};
    tensor_arena *arena = tensor_arena_new(NULL);
    TEST_OK(tensor_compact_new(&half, TENSOR_BFLOAT16, shape, false, values, NULL, arena, &err));
    TEST_OK(tensor_compact_new(&quarter, TENSOR_INT8, shape, false, values, scales, arena, &err));
    refuse_all(sizeof calls / sizeof *calls, calls);
    tensor_arena_free(arena);
}
