/* Modules against plain loops in double, and what they register. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static tensor random_tensor(tensor_arena *arena, int rank, const int64_t *shape, uint64_t stream) {
    tensor x = tensor_new(arena, TENSOR_F32, rank, shape, NULL);
    cr_assert(tensor_rand_normal(x, &(tensor_rng){99, stream, 0}, 0, 1, NULL));
    return x;
}

static void expect_near(tensor x, const double *expected, int64_t n, double tolerance) {
    cr_assert(tensor_is_contiguous(x) && tensor_size(x) == n);
    for (int64_t i = 0; i < n; i++)
        cr_assert(fabs((double)x.f32[i] - expected[i]) <= tolerance * fmax(1, fabs(expected[i])),
                  "element %lld is %g, expected %g", (long long)i, (double)x.f32[i], expected[i]);
}

/* y[row, j] = b[j] + sum_i x[row, i] w[i, j], or w[j, i] with out_in. */
static void linear_in_double(double *y, const double *x, const struct nn_linear *m, int rows, int in,
                             int out) {
    const float *w = m->weight->value.f32;
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < out; j++) {
            double sum = m->bias ? (double)m->bias->value.f32[j] : 0;
            for (int i = 0; i < in; i++)
                sum += x[row * in + i] * (double)(m->out_in ? w[j * in + i] : w[i * out + j]);
            y[row * out + j] = sum;
        }
}

static void to_double(double *out, tensor x) {
    for (int64_t i = 0; i < tensor_size(x); i++) out[i] = (double)x.f32[i];
}

static void check_linear(nn_linear_options options) {
    enum { ROWS = 6, IN = 5, OUT = 7 };
    nn_params *params = nn_params_new();
    struct nn_linear m;
    nn_linear_init(&m, params, "l", IN, OUT, options);
    cr_assert(nn_params_finalize(params, 3), "%s", nn_params_error(params));
    cr_assert_eq(nn_params_find(params, "l.weight"), m.weight);
    cr_assert_eq(nn_params_find(params, "l.bias"), m.bias);
    cr_assert_eq(m.weight->value.shape[0], options.out_in ? OUT : IN);
    cr_assert_eq(m.weight->value.shape[1], options.out_in ? IN : OUT);
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor x = random_tensor(arena, TENSOR_SHAPE(2, 3, IN), 1);
    ag_tape *tape = ag_tape_new();
    ag_var *y = nn_linear(&m, ag_input(tape, x));
    cr_assert_not_null(y, "%s", ag_error(tape));
    double input[ROWS * IN], expected[ROWS * OUT];
    to_double(input, x);
    linear_in_double(expected, input, &m, ROWS, IN, OUT);
    expect_near(y->value, expected, ROWS * OUT, 1e-5);

    /* The gradient of the sum of y: of a weight the sum of its input over rows, of a bias the rows. */
    cr_assert(ag_backward(ag_sum(y, AG_ALL, false)), "%s", ag_error(tape));
    for (int i = 0; i < IN; i++) {
        double column = 0;
        for (int row = 0; row < ROWS; row++) column += input[row * IN + i];
        for (int j = 0; j < OUT; j++)
            cr_assert_float_eq(ag_grad(ag_use(tape, m.weight)).f32[options.out_in ? j * IN + i : i * OUT + j],
                               column, 1e-5);
    }
    for (int j = 0; m.bias && j < OUT; j++) cr_assert_eq(ag_grad(ag_use(tape, m.bias)).f32[j], ROWS);
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

Test(modules, linear) {
    check_linear(NN_LINEAR_DEFAULTS);
    check_linear((nn_linear_options){.no_bias = true});
    check_linear((nn_linear_options){.out_in = true});
    check_linear((nn_linear_options){.out_in = true, .no_bias = true});
}

Test(modules, linear_is_initialised_as_in_pytorch_or_gpt2) {
    nn_params *params = nn_params_new();
    struct nn_linear uniform, normal;
    nn_linear_init(&uniform, params, "u", 100, 64, NN_LINEAR_DEFAULTS);
    nn_linear_init(&normal, params, "n", 100, 64, (nn_linear_options){.deviation = 0.02f});
    cr_assert(nn_params_finalize(params, 5));
    tensor weights[] = {uniform.weight->value, uniform.bias->value};
    for (int k = 0; k < 2; k++) {
        float low = 0, high = 0;
        for (int64_t i = 0; i < tensor_size(weights[k]); i++) {
            low = fminf(low, weights[k].f32[i]);
            high = fmaxf(high, weights[k].f32[i]);
        }
        cr_assert(low >= -0.1f && low < -0.09f && high <= 0.1f && high > 0.09f);
    }
    double deviation = sqrt(tensor_sum_squares(normal.weight->value) / 6400);
    cr_assert_float_eq(deviation, 0.02, 0.001);
    cr_assert_eq(tensor_sum_squares(normal.bias->value), 0);
    nn_params_free(params);
}

/* What begins as zeros, and that all else begins as ever. */
Test(modules, can_begin_with_zeros) {
    enum { C = 8 };
    struct nn_linear head[2];
    struct nn_block block[2];
    nn_params *params[2];
    for (int zero = 0; zero < 2; zero++) {
        params[zero] = nn_params_new();
        nn_block_init(&block[zero], params[zero], "h", C,
                      (nn_attention_options){.heads = 2, .zero_projection = zero},
                      (nn_mlp_options){.zero_projection = zero});
        nn_linear_init(&head[zero], params[zero], "head", C, 5, (nn_linear_options){.zero = zero});
        cr_assert(nn_params_finalize(params[zero], 1));
    }
    for (int i = 0; i < nn_params_entries(params[0]); i++) {
        const char *name = nn_params_name(params[1], i);
        const tensor usual = nn_params_at(params[0], i)->value, value = nn_params_at(params[1], i)->value;
        const bool zero = strstr(name, "c_proj") || strstr(name, "head");
        for (int64_t k = 0; k < tensor_size(value); k++)
            cr_expect_eq(value.f32[k], zero ? 0 : usual.f32[k], "%s", name);
        if (zero) cr_expect_gt(tensor_sum_squares(usual), 0, "%s", name);
    }
    for (int zero = 0; zero < 2; zero++) nn_params_free(params[zero]);
}

Test(modules, linear_shares_a_tied_weight) {
    nn_params *params = nn_params_new();
    struct nn_embedding wte;
    struct nn_linear head;
    nn_embedding_init(&wte, params, "wte", 4, 3, 1);
    nn_linear_init(&head, params, "lm_head", 3, 4,
                   (nn_linear_options){.no_bias = true, .out_in = true, .tied = wte.weight});
    cr_assert(nn_params_finalize(params, 5));
    cr_assert_eq(nn_params_count(params), 12);
    cr_assert_eq(head.weight, wte.weight);
    cr_assert_eq(nn_params_find(params, "lm_head.weight"), wte.weight);

    /* The gradient of sum(embedding W^T): both uses add up. */
    int32_t ids[] = {2, 2, 0};
    tensor_storage storage = {ids, sizeof ids, 0};
    ag_tape *tape = ag_tape_new();
    ag_var *x = nn_embedding(&wte, ag_input(tape, tensor_wrap(&storage, TENSOR_I32, TENSOR_SHAPE(3), NULL)));
    const float *w = wte.weight->value.f32;
    for (int row = 0; row < 3; row++)
        cr_assert(memcmp(x->value.f32 + 3 * row, w + 3 * ids[row], 3 * sizeof *w) == 0);
    cr_assert(ag_backward(ag_sum(nn_linear(&head, x), AG_ALL, false)), "%s", ag_error(tape));
    for (int v = 0; v < 4; v++)
        for (int c = 0; c < 3; c++) {
            double uses = v == 2 ? 2 : v == 0, column = 0, inputs = 0;
            for (int u = 0; u < 4; u++) column += (double)w[3 * u + c];
            for (int row = 0; row < 3; row++) inputs += (double)w[3 * ids[row] + c];
            cr_assert_float_eq(ag_grad(ag_use(tape, wte.weight)).f32[3 * v + c], uses * column + inputs,
                               1e-5);
        }
    ag_tape_free(tape);
    nn_params_free(params);

    params = nn_params_new();
    nn_embedding_init(&wte, params, "wte", 4, 3, 1);
    nn_linear_init(&head, params, "lm_head", 3, 4, (nn_linear_options){.tied = wte.weight});
    cr_assert_str_eq(nn_params_error(params), "lm_head.weight: tied to a weight of [4, 3], expected [3, 4]");
    nn_params_free(params);
    params = nn_params_new();
    nn_embedding_init(&wte, params, "wte", 4, 3, 1);
    nn_linear_init(&head, params, "lm_head", 2, 4, (nn_linear_options){.out_in = true, .tied = wte.weight});
    cr_assert_str_eq(nn_params_error(params), "lm_head.weight: tied to a weight of [4, 3], expected [4, 2]");
    nn_params_free(params);
}

Test(modules, layer_norm) {
    enum { ROWS = 5, C = 33 };
    nn_params *params = nn_params_new();
    struct nn_layer_norm m;
    nn_layer_norm_init(&m, params, "ln", C, NN_LAYER_NORM_EPS);
    cr_assert(nn_params_finalize(params, 1));
    for (int i = 0; i < C; i++) cr_assert(m.weight->value.f32[i] == 1 && m.bias->value.f32[i] == 0);
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor x = random_tensor(arena, TENSOR_SHAPE(ROWS, C), 1);
    cr_assert(tensor_rand_normal(nn_values(params), &(tensor_rng){5, 5, 5}, 0, 1, NULL));
    double expected[ROWS * C];
    for (int row = 0; row < ROWS; row++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < C; i++) mean += (double)x.f32[row * C + i] / C;
        for (int i = 0; i < C; i++) variance += pow((double)x.f32[row * C + i] - mean, 2) / C;
        for (int i = 0; i < C; i++)
            expected[row * C + i] =
                ((double)x.f32[row * C + i] - mean) / sqrt(variance + 1e-5) * (double)m.weight->value.f32[i] +
                (double)m.bias->value.f32[i];
    }
    ag_tape *tape = ag_tape_new();
    ag_var *y = nn_layer_norm(&m, ag_input(tape, x));
    cr_assert_not_null(y, "%s", ag_error(tape));
    expect_near(y->value, expected, ROWS * C, 1e-5);
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

/* y_i = sum_{j <= i} softmax_j(scale q_i . k_j) v_j for one head; qkv [T, 3C], y [T, C]. */
static void head_in_double(double *y, const double *qkv, int T, int C, int D, int head, double scale) {
    for (int i = 0; i < T; i++) {
        double weight[16], total = 0;
        for (int j = 0; j <= i; j++) {
            double score = 0;
            for (int d = 0; d < D; d++)
                score += qkv[i * 3 * C + head * D + d] * qkv[j * 3 * C + C + head * D + d];
            total += weight[j] = exp(scale * score);
        }
        for (int d = 0; d < D; d++) {
            double sum = 0;
            for (int j = 0; j <= i; j++) sum += weight[j] / total * qkv[j * 3 * C + 2 * C + head * D + d];
            y[i * C + head * D + d] = sum;
        }
    }
}

static void check_attention(nn_attention_options options, double scale) {
    enum { B = 2, T = 9, C = 12 };
    nn_params *params = nn_params_new();
    struct nn_attention m;
    nn_attention_init(&m, params, "attn", C, options);
    cr_assert(nn_params_finalize(params, 8), "%s", nn_params_error(params));
    cr_assert_eq(!nn_params_find(params, "attn.c_attn.bias"), options.no_qkv_bias);
    cr_assert_not_null(nn_params_find(params, "attn.c_proj.bias"));
    cr_assert_eq(nn_params_find(params, "attn.c_attn.weight")->value.shape[1], 3 * C);
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor x = random_tensor(arena, TENSOR_SHAPE(B, T, C), 1);
    double input[B * T * C], qkv[B * T * 3 * C], heads[B * T * C], expected[B * T * C];
    to_double(input, x);
    linear_in_double(qkv, input, &m.c_attn, B * T, C, 3 * C);
    for (int b = 0; b < B; b++)
        for (int h = 0; h < options.heads; h++)
            head_in_double(heads + b * T * C, qkv + b * T * 3 * C, T, C, C / options.heads, h, scale);
    linear_in_double(expected, heads, &m.c_proj, B * T, C, C);
    ag_tape *tape = ag_tape_new();
    ag_var *y = nn_attention(&m, ag_input(tape, x), NULL);
    cr_assert_not_null(y, "%s", ag_error(tape));
    expect_near(y->value, expected, B * T * C, 1e-5);

    /* The weights to look at, [B, H, T, T], give the same with the values. */
    ag_var *weights = nn_attention_weights(&m, ag_input(tape, x));
    ag_var *v = ag_slice(nn_linear(&m.c_attn, ag_input(tape, x)), 2, 2 * C, 3 * C, 1);
    v = ag_transpose(ag_reshape(v, TENSOR_SHAPE(B, T, options.heads, C / options.heads)), 1, 2);
    y = ag_reshape(ag_transpose(ag_matmul(weights, v), 1, 2), TENSOR_SHAPE(B, T, C));
    y = nn_linear(&m.c_proj, y);
    cr_assert_not_null(y, "%s", ag_error(tape));
    expect_near(y->value, expected, B * T * C, 1e-5);
    for (int64_t i = 0; i < B * options.heads * T * T; i++) /* nothing of what comes later */
        cr_assert(i % T <= i / T % T || weights->value.f32[i] == 0);
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

Test(modules, attention) {
    check_attention(NN_ATTENTION_DEFAULTS, 1 / sqrt(12));
    check_attention((nn_attention_options){.heads = 3}, 0.5);
    check_attention((nn_attention_options){.heads = 4, .scale = 0.25f, .no_qkv_bias = true}, 0.25);
}

/* Runs of tokens after each other; of those with `first` below 0, only the last tokens' results. */
static void check_cached(int64_t batch, int64_t tokens, int64_t width, nn_attention_options attention,
                         nn_mlp_options mlp, const int64_t (*runs)[2], bool with_values) {
    nn_params *params = nn_params_new();
    struct nn_block m;
    nn_block_init(&m, params, "h.0", width, attention, mlp);
    cr_assert(nn_params_finalize(params, 8), "%s", nn_params_error(params));
    tensor_rng rng = {.seed = 3};
    cr_assert(tensor_rand_normal(nn_values(params), &rng, 0, 0.2f, NULL)); /* norms and biases too */
    tensor_arena *arena = tensor_arena_new(NULL);
    const tensor x = random_tensor(arena, TENSOR_SHAPE(batch, tokens, width), 1);
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    const tensor values = random_tensor(arena, TENSOR_SHAPE(batch, tokens, width), 2);
    ag_var *all = ag_input(tape, x);
    const tensor full =
        (with_values ? nn_block_with_values(&m, all, ag_input(tape, values), NULL) : nn_block(&m, all, NULL))
            ->value;
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, 2, batch, attention.heads, tokens, width / attention.heads, arena, NULL));
    for (int i = 0; cache.length < tokens; cache.length += runs[i++][0]) {
        const int64_t end = cache.length + runs[i][0], begin = runs[i][1] ? end + runs[i][1] : cache.length;
        ag_var *run =
            ag_input(tape, tensor_contiguous(arena, tensor_slice(x, 1, cache.length, end, 1, NULL), NULL));
        ag_var *more = ag_input(tape, tensor_slice(values, 1, cache.length, end, 1, NULL));
        const ag_var *y = with_values ? nn_block_with_values_cached(&m, run, more, &cache, 1, runs[i][1])
                                      : nn_block_cached(&m, run, &cache, 1, runs[i][1]);
        cr_assert(y, "%s", ag_error(tape));
        cr_assert_eq(y->value.shape[1], end - begin);
        for (int64_t b = 0; b < batch; b++)
            cr_assert_arr_eq(
                y->value.f32 + b * (end - begin) * width, full.f32 + (b * tokens + begin) * width,
                (size_t)((end - begin) * width) * sizeof(float), "run %d of row %lld", i, (long long)b);
    }
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

static void check_cached_block(int64_t batch, int64_t tokens, int64_t width, nn_attention_options attention,
                               nn_mlp_options mlp, const int64_t (*runs)[2]) {
    check_cached(batch, tokens, width, attention, mlp, runs, false);
    check_cached(batch, tokens, width, attention, mlp, runs, true);
}

/* The same for every token, they are a bias of the values. */
Test(modules, values_are_added_to_those_of_attention) {
    enum { B = 2, T = 7, C = 12 };
    nn_params *params = nn_params_new();
    tensor_arena *arena = tensor_arena_new(NULL);
    ag_tape *tape = ag_tape_new();
    struct nn_block m;
    nn_block_init(&m, params, "h", C, (nn_attention_options){.heads = 3}, NN_MLP_DEFAULTS);
    cr_assert(nn_params_finalize(params, 8), "%s", nn_params_error(params));
    const tensor x = random_tensor(arena, TENSOR_SHAPE(B, T, C), 1),
                 bias = random_tensor(arena, TENSOR_SHAPE(C), 2);
    ag_var *values = ag_expand(ag_input(tape, bias), TENSOR_SHAPE(B, T, C));
    const ag_var *y = nn_block_with_values(&m, ag_input(tape, x), values, NULL);
    cr_assert(y, "%s", ag_error(tape));
    double expected[B * T * C];
    for (int i = 0; i < C; i++) m.attn.c_attn.bias->value.f32[2 * C + i] += bias.f32[i];
    to_double(expected, nn_block(&m, ag_input(tape, x), NULL)->value);
    expect_near(y->value, expected, B * T * C, 1e-5);
    cr_expect_null(nn_block_with_values(&m, ag_input(tape, x), NULL, NULL), "values that failed");
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

Test(modules, a_block_with_a_cache_has_the_same_bits) {
    const int64_t few[][2] = {{3, 0}, {1, 0}, {5, -2}}, many[][2] = {{70, 0}, {1, -1}, {29, -1}};
    const nn_attention_options attention = {.heads = 3, .scale = 0.25f, .no_qkv_bias = true};
    check_cached_block(2, 9, 12, (nn_attention_options){.heads = 3}, NN_MLP_DEFAULTS, few);
    check_cached_block(1, 9, 36, attention, (nn_mlp_options){.hidden = 17, .activation = NN_GELU}, few);
    check_cached_block(3, 100, 24, attention, (nn_mlp_options){.activation = NN_GELU_TANH}, many);
    check_cached_block(2, 100, 240, attention, NN_MLP_DEFAULTS, many); /* rows that share their products */
}

Test(modules, a_block_with_a_cache_names_what_does_not_fit) {
    enum { T = 4, C = 12 };
    nn_params *params = nn_params_new();
    struct nn_block m;
    nn_block_init(&m, params, "h.0", C, (nn_attention_options){.heads = 3}, NN_MLP_DEFAULTS);
    cr_assert(nn_params_finalize(params, 8));
    tensor_arena *arena = tensor_arena_new(NULL);
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, 2, 1, 3, T, C / 3, arena, NULL));
    cache.length = 2;
    const tensor two = random_tensor(arena, TENSOR_SHAPE(1, 2, C), 1),
                 three = random_tensor(arena, TENSOR_SHAPE(1, 3, C), 1);
    const struct {
        tensor x;
        int64_t layer, first;
        const char *text;
    } wrong[] = {{three, 1, 0, "cache: 3 tokens after 2 do not fit into a cache of 4"},
                 {two, 2, 0, "cache: layer 2 is outside a cache of 2"},
                 {two, 1, -3, "block: row -3 is outside of 2"},
                 {two, 1, 3, "block: row 3 is outside of 2"},
                 {tensor_transpose(two, 0, 1, NULL), 1, 0,
                  "cache: keys and values are [2, 3, 1, 4], expected [1, 3, 1, 4]"},
                 {tensor_squeeze(two, 0, NULL), 1, 0, "block: needs [B, N, C], not rank 2"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ag_reset(tape);
        cr_assert_null(
            nn_block_cached(&m, ag_input(tape, wrong[i].x), &cache, wrong[i].layer, wrong[i].first));
        cr_assert_str_eq(ag_error(tape), wrong[i].text);
    }
    ag_reset(tape);
    ag_set_recording(tape, true);
    cr_assert_null(nn_block_cached(&m, ag_input(tape, two), &cache, 1, 0));
    cr_assert_str_eq(ag_error(tape), "cache: what it holds has no gradients; see ag_set_recording");
    cr_assert_null(nn_block_cached(&m, NULL, &cache, 1, 0));
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

Test(modules, attention_needs_heads_that_divide_the_width) {
    const int heads[] = {5, 0, -2};
    for (int i = 0; i < 3; i++) {
        nn_params *params = nn_params_new();
        struct nn_attention m;
        nn_attention_init(&m, params, "h.0.attn", 12, (nn_attention_options){.heads = heads[i]});
        cr_assert_not(nn_params_finalize(params, 1));
        char text[80];
        snprintf(text, sizeof text, "h.0.attn: %d heads do not divide a width of 12", heads[i]);
        cr_assert_str_eq(nn_params_error(params), text);
        nn_params_free(params);
    }
}

static double activate_in_double(nn_activation activation, double x) {
    if (activation == NN_RELU) return fmax(x, 0);
    if (activation == NN_GELU) return x / 2 * (1 + erf(x / sqrt(2)));
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static void check_mlp(nn_mlp_options options, int hidden) {
    enum { ROWS = 6, C = 5, MOST = 20 };
    nn_params *params = nn_params_new();
    struct nn_mlp m;
    nn_mlp_init(&m, params, "mlp", C, options);
    cr_assert(nn_params_finalize(params, 8), "%s", nn_params_error(params));
    cr_assert_eq(nn_params_find(params, "mlp.c_fc.weight")->value.shape[1], hidden);
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor x = random_tensor(arena, TENSOR_SHAPE(ROWS, C), 1);
    double input[ROWS * C], middle[ROWS * MOST], expected[ROWS * C];
    to_double(input, x);
    linear_in_double(middle, input, &m.c_fc, ROWS, C, hidden);
    for (int i = 0; i < ROWS * hidden; i++) middle[i] = activate_in_double(options.activation, middle[i]);
    linear_in_double(expected, middle, &m.c_proj, ROWS, hidden, C);
    ag_tape *tape = ag_tape_new();
    ag_var *y = nn_mlp(&m, ag_input(tape, x), NULL);
    cr_assert_not_null(y, "%s", ag_error(tape));
    expect_near(y->value, expected, ROWS * C, 1e-5);
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
}

Test(modules, mlp) {
    check_mlp(NN_MLP_DEFAULTS, 20);
    check_mlp((nn_mlp_options){.hidden = 7, .activation = NN_GELU}, 7);
    check_mlp((nn_mlp_options){.activation = NN_GELU_TANH, .deviation = 0.5f, .projection_deviation = 0.25f},
              20);
}

Test(modules, dropout_is_off_without_random_numbers) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor ones = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(1000), NULL);
    cr_assert(tensor_fill(ones, 1, NULL));
    ag_tape *tape = ag_tape_new();
    ag_var *x = ag_input(tape, ones);
    struct nn_dropout m = {0.25f};
    tensor_rng rng = {1, 2, 3};
    cr_assert_eq(nn_dropout(&m, x, NULL), x);
    ag_var *y = nn_dropout(&m, x, &rng);
    cr_assert_gt(rng.counter, 3);
    int zeros = 0;
    for (int i = 0; i < 1000; i++) {
        zeros += y->value.f32[i] == 0;
        cr_assert(y->value.f32[i] == 0 || fabsf(y->value.f32[i] - 4.0f / 3) < 1e-6f);
    }
    cr_assert(zeros > 200 && zeros < 300, "%d", zeros);
    ag_tape_free(tape);
    tensor_arena_free(arena);
}

Test(modules, losses) {
    float a[] = {1, 2, 3, 4}, b[] = {0, 2, 5, 1};
    int32_t target[] = {1, 0};
    tensor_storage sa = {a, sizeof a, 0}, sb = {b, sizeof b, 0}, st = {target, sizeof target, 0};
    ag_tape *tape = ag_tape_new();
    ag_var *x = ag_input(tape, tensor_wrap(&sa, TENSOR_F32, TENSOR_SHAPE(2, 2), NULL));
    ag_var *y = ag_input(tape, tensor_wrap(&sb, TENSOR_F32, TENSOR_SHAPE(2, 2), NULL));
    ag_var *t = ag_input(tape, tensor_wrap(&st, TENSOR_I32, TENSOR_SHAPE(2), NULL));
    cr_assert_float_eq(nn_mse_loss(x, y)->value.f32[0], 14.0 / 4, 1e-6);
    cr_assert_null(nn_mse_loss(x, ag_sum(y, AG_AXIS(1), false)));
    cr_assert_str_eq(ag_error(tape), "mse_loss: shapes differ: [2, 2] and [2]");
    ag_reset(tape);
    x = ag_input(tape, tensor_wrap(&sa, TENSOR_F32, TENSOR_SHAPE(2, 2), NULL));
    t = ag_input(tape, tensor_wrap(&st, TENSOR_I32, TENSOR_SHAPE(2), NULL));
    double expected = (log(exp(1) + exp(2)) - 2 + log(exp(3) + exp(4)) - 3) / 2;
    cr_assert_float_eq(nn_cross_entropy(x, t)->value.f32[0], expected, 1e-6);
    ag_tape_free(tape);
}

Test(modules, accept_null) {
    nn_params *params = nn_params_new();
    struct nn_linear linear;
    struct nn_attention attention;
    struct nn_mlp mlp;
    nn_linear_init(&linear, params, "l", 2, 2, (nn_linear_options){.out_in = true});
    nn_attention_init(&attention, params, "a", 2, NN_ATTENTION_DEFAULTS);
    nn_mlp_init(&mlp, params, "m", 2, NN_MLP_DEFAULTS);
    struct nn_embedding embedding = {nn_param(params, "e", NN_ONES, TENSOR_SHAPE(2, 2))};
    struct nn_layer_norm norm = {NULL, NULL, NN_LAYER_NORM_EPS};
    struct nn_dropout dropout = {0.5f};
    cr_assert(nn_params_finalize(params, 1));
    tensor_rng rng = {0};
    cr_assert_null(nn_linear(&linear, NULL));
    cr_assert_null(nn_embedding(&embedding, NULL));
    cr_assert_null(nn_layer_norm(&norm, NULL));
    cr_assert_null(nn_dropout(&dropout, NULL, &rng));
    cr_assert_null(nn_dropout(&dropout, NULL, NULL));
    cr_assert_null(nn_activate(NN_RELU, NULL));
    cr_assert_null(nn_activate((nn_activation)9, NULL));
    cr_assert_null(nn_attention(&attention, NULL, &rng));
    cr_assert_null(nn_mlp(&mlp, NULL, &rng));
    cr_assert_null(nn_mse_loss(NULL, NULL));
    cr_assert_null(nn_cross_entropy(NULL, NULL));
    ag_tape *tape = ag_tape_new();
    cr_assert_null(nn_activate((nn_activation)9, ag_constant(tape, 1)));
    cr_assert_str_eq(ag_error(tape), "unknown activation 9");
    ag_tape_free(tape);
    nn_params_free(params);
}

Test(modules, convolution_registers_its_parameters_and_is_the_operation) {
    nn_params *params = nn_params_new();
    tensor_arena *arena = tensor_arena_new(NULL);
    ag_tape *tape = ag_tape_new();
    struct nn_conv2d m, bare, wrong;
    const tensor_windows windows = {.stride = {2, 1}, .padding = {1, 1}, .groups = 2};
    nn_conv2d_init(&m, params, "conv", 4, 6, 3, 3, (nn_conv2d_options){windows, false});
    nn_conv2d_init(&bare, params, "bare", 4, 6, 1, 1, (nn_conv2d_options){.no_bias = true});
    cr_assert(nn_params_finalize(params, 1), "%s", nn_params_error(params));
    cr_expect_eq(nn_params_count(params), 6 * 2 * 9 + 6 + 6 * 4);
    cr_expect_eq(nn_params_find(params, "conv.bias"), m.bias);
    const float bound = 1 / sqrtf(2 * 9);
    float largest = 0;
    for (int64_t i = 0; i < 6 * 2 * 9; i++) largest = fmaxf(largest, fabsf(m.weight->value.f32[i]));
    cr_expect(largest <= bound && largest > 0.9f * bound);
    ag_var *x = ag_input(tape, random_tensor(arena, TENSOR_SHAPE(2, 4, 5, 7), 1));
    ag_var *y = nn_conv2d(&m, x), *same = ag_conv2d(x, m.weight, m.bias, windows);
    cr_assert(y && same, "%s", ag_error(tape));
    cr_expect_arr_eq(y->value.data, same->value.data, 2 * 6 * 3 * 7 * sizeof(float));
    cr_expect_eq(ag_size(nn_conv2d(&bare, x), 1), 6);
    cr_expect_null(nn_conv2d(&m, NULL));
    nn_params *other = nn_params_new();
    nn_conv2d_init(&wrong, other, "odd", 4, 5, 3, 3, (nn_conv2d_options){windows, false});
    cr_expect_str_eq(nn_params_error(other), "odd: 2 groups do not divide 5 and 4 channels");
    nn_params_free(other), nn_params_free(params), ag_tape_free(tape), tensor_arena_free(arena);
}
