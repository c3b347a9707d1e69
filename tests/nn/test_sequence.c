/* Recurrent networks and blocks of transformers: PyTorch's values and gradients (make_sequence.py), and the same bits
 * with a cache. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "sampo/nn.h"

#define FIXTURE SAMPO_FIXTURES "/nn/sequence.safetensors"

enum { WIDTH = 12, HEADS = 4, HEAD = 6, MEMORY = 7 };

static nn_file *file;
static nn_params *params;
static tensor_arena *arena;
static ag_tape *tape;

static void setup(void) {
    tensor_error err = {0};
    file = nn_file_open(FIXTURE, &err);
    cr_assert(file, "%s", err.text);
    params = nn_params_new();
    arena = tensor_arena_new(NULL);
    tape = ag_tape_new();
}

static void teardown(void) {
    ag_tape_free(tape);
    tensor_arena_free(arena);
    nn_params_free(params);
    nn_file_close(file);
}

TestSuite(sequence, .init = setup, .fini = teardown);

static tensor expected(const char *module, const char *what) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", module, what);
    const nn_entry *entry = nn_file_find(file, name);
    cr_assert(entry, "no %s", name);
    const tensor x = tensor_new(arena, TENSOR_F32, entry->rank, entry->shape, NULL);
    memcpy(x.f32, entry->data, entry->bytes);
    return x;
}

static void expect_close(tensor x, const char *module, const char *what) {
    const tensor e = expected(module, what), dense = tensor_contiguous(arena, x, NULL);
    cr_assert(tensor_same_shape(x, e), "%s.%s", module, what);
    for (int64_t i = 0; i < tensor_size(e); i++)
        cr_assert(fabsf(dense.f32[i] - e.f32[i]) <= 3e-6f * fmaxf(1, fabsf(e.f32[i])),
                  "%s.%s: element %lld is %g, expected %g", module, what, (long long)i, (double)dense.f32[i],
                  (double)e.f32[i]);
}

static void load(void) {
    tensor_error err = {0};
    cr_assert(nn_params_finalize(params, 1), "%s", nn_params_error(params));
    cr_assert(nn_params_load(params, file, &err), "%s", err.text);
}

/* y, and the gradients of sum(y r) for x and for all parameters. */
static void check(const char *module, ag_var *y, ag_var *x) {
    cr_assert(y, "%s: %s", module, ag_error(tape));
    expect_close(y->value, module, "y");
    ag_var *loss = ag_sum(ag_mul(y, ag_input(tape, expected(module, "r"))), AG_ALL, false);
    cr_assert(ag_backward(loss), "%s: %s", module, ag_error(tape));
    expect_close(ag_grad(x), module, "dx");
    for (int i = 0; i < nn_params_entries(params); i++) {
        if (!nn_params_at(params, i)->needs_grad) continue; /* a buffer */
        char what[96];
        snprintf(what, sizeof what, "d.%s", nn_params_name(params, i) + strlen(module) + 1);
        expect_close(ag_grad(ag_use(tape, nn_params_at(params, i))), module, what);
    }
}

/* ---- Recurrent networks --------------------------------------------------------------------------- */

static const char *const kinds[] = {"rnn", "gru", "lstm"};

static void check_recurrent(nn_cell_kind kind) {
    struct nn_recurrent m;
    nn_recurrent_init(&m, params, kinds[kind], kind, 3, 4, (nn_recurrent_options){.layers = 2});
    load();
    nn_hidden states[2] = {{0}};
    ag_var *x = ag_variable(tape, expected(kinds[kind], "x")), *y = nn_recurrent(&m, x, states, NULL);
    ag_var *h = ag_concat((ag_var *[]){ag_unsqueeze(states[0].h, 0), ag_unsqueeze(states[1].h, 0)}, 2, 0);
    cr_assert(h, "%s", ag_error(tape));
    expect_close(h->value, kinds[kind], "last_h");
    if (kind == NN_LSTM)
        expect_close(
            ag_concat((ag_var *[]){ag_unsqueeze(states[0].c, 0), ag_unsqueeze(states[1].c, 0)}, 2, 0)->value,
            "lstm", "last_c");
    check(kinds[kind], y, x);
}
Test(sequence, rnn_equals_pytorch) {
    check_recurrent(NN_RNN);
}
Test(sequence, gru_equals_pytorch) {
    check_recurrent(NN_GRU);
}
Test(sequence, lstm_equals_pytorch) {
    check_recurrent(NN_LSTM);
}

/* A sequence, its steps by a cell, and its pieces with a cache give the same numbers; without biases, too. */
static void check_steps(nn_cell_kind kind, bool no_bias) {
    enum { B = 3, T = 6, IN = 5, H = 7 };
    nn_params *own = nn_params_new();
    struct nn_recurrent m;
    nn_recurrent_init(&m, own, "m", kind, IN, H, (nn_recurrent_options){.layers = 1, .no_bias = no_bias});
    cr_assert(nn_params_finalize(own, 4), "%s", nn_params_error(own));
    cr_assert_eq(nn_params_entries(own), no_bias ? 2 : 4);
    const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(B, T, IN), NULL);
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 2}, 0, 1, NULL));
    ag_reset(tape);
    ag_set_recording(tape, false);
    const ag_var *all = nn_recurrent(&m, ag_input(tape, x), NULL, NULL);
    cr_assert(all, "%s", ag_error(tape));
    nn_hidden s = {0};
    nn_cache cache;
    cr_assert(nn_recurrent_cache(&m, &cache, B, arena, NULL));
    for (int64_t t = 0; t < T; t++) {
        s = nn_cell(&m.layer[0], ag_select(ag_input(tape, x), 1, t), s);
        const tensor piece = tensor_slice(x, 1, t, t + 1, 1, NULL);
        const ag_var *y = nn_recurrent_cached(&m, ag_input(tape, piece), &cache);
        cache.length++;
        cr_assert(s.h && y, "%s", ag_error(tape));
        for (int64_t i = 0; i < B * H; i++) {
            const float e = all->value.f32[i / H * T * H + t * H + i % H];
            cr_assert(fabsf(s.h->value.f32[i] - e) <= 1e-6f, "step %lld", (long long)t);
            cr_assert(fabsf(y->value.f32[i] - e) <= 1e-6f, "step %lld with a cache", (long long)t);
        }
    }
    nn_params_free(own);
}
Test(sequence, steps_and_caches_equal_the_sequence) {
    for (int kind = NN_RNN; kind <= NN_LSTM; kind++)
        for (int no_bias = 0; no_bias < 2; no_bias++) check_steps((nn_cell_kind)kind, no_bias);
}

/* Dropout stands between layers, and not behind the last. */
Test(sequence, dropout_is_between_layers) {
    for (int layers = 1; layers < 3; layers++) {
        nn_params *own = nn_params_new();
        struct nn_recurrent m;
        tensor_rng rng = {.seed = 3};
        nn_recurrent_init(&m, own, "m", NN_GRU, 5, 7,
                          (nn_recurrent_options){.layers = layers, .dropout = 0.5f});
        cr_assert(nn_params_finalize(own, 4), "%s", nn_params_error(own));
        const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(2, 3, 5), NULL);
        cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 2}, 0, 1, NULL));
        ag_reset(tape);
        const ag_var *without = nn_recurrent(&m, ag_input(tape, x), NULL, NULL),
                     *with = nn_recurrent(&m, ag_input(tape, x), NULL, &rng);
        cr_assert(without && with, "%s", ag_error(tape));
        cr_expect_eq(memcmp(without->value.f32, with->value.f32, 42 * sizeof(float)) == 0, layers == 1);
        for (int i = 0; i < 42; i++) cr_expect_neq(with->value.f32[i], 0);
        nn_params_free(own);
    }
}

/* A cache that begins again has forgotten what it held. */
Test(sequence, a_cache_is_used_again) {
    nn_params *own = nn_params_new();
    struct nn_recurrent m;
    nn_cache cache;
    nn_recurrent_init(&m, own, "m", NN_LSTM, 5, 7, (nn_recurrent_options){.layers = 2});
    cr_assert(nn_params_finalize(own, 4) && nn_recurrent_cache(&m, &cache, 2, arena, NULL));
    const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(2, 3, 5), NULL);
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 2}, 0, 1, NULL));
    ag_reset(tape);
    ag_set_recording(tape, false);
    const ag_var *first = nn_recurrent_cached(&m, ag_input(tape, x), &cache);
    const ag_var *again = nn_recurrent_cached(&m, ag_input(tape, x), &cache);
    cache.length = 3;
    const ag_var *later = nn_recurrent_cached(&m, ag_input(tape, x), &cache);
    cr_assert(first && again && later, "%s", ag_error(tape));
    cr_expect_eq(memcmp(first->value.f32, again->value.f32, 42 * sizeof(float)), 0);
    cr_expect_neq(memcmp(first->value.f32, later->value.f32, 42 * sizeof(float)), 0);
    nn_params_free(own);
}

Test(sequence, recurrent_says_what_does_not_fit) {
    struct nn_recurrent m;
    nn_recurrent_init(&m, params, "rnn", NN_RNN, 3, 4, NN_RECURRENT_DEFAULTS);
    load();
    const tensor x = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 3), NULL);
    cr_expect_null(nn_recurrent(&m, ag_input(tape, x), NULL, NULL));
    cr_expect_str_eq(ag_error(tape),
                     "recurrent: needs [B, T, in] of one step or more, not rank 2 and 3 steps");
    ag_reset(tape);
    nn_cache cache = {.length = 1};
    cr_expect_null(nn_recurrent_cached(&m, ag_input(tape, expected("rnn", "x")), &cache));
    cr_expect_str_eq(ag_error(tape), "recurrent: a cache of 1 layers, without gradients, is needed");
    ag_reset(tape);
    ag_var *one = ag_ones(tape, TENSOR_SHAPE(1, 4)); /* which adding would repeat for both rows */
    cr_expect_null(nn_cell(&m.layer[0], ag_input(tape, x), (nn_hidden){.h = one}).h);
    cr_expect_str_eq(ag_error(tape), "cell: a state is [1, 4], expected [2, 4]");
    nn_params *bad = nn_params_new();
    nn_recurrent_init(&m, bad, "r", NN_GRU, 3, 4, (nn_recurrent_options){.layers = NN_MAX_RECURRENT + 1});
    cr_expect_str_eq(nn_params_error(bad), "r: 17 layers are not 1 to 16");
    ag_reset(tape);
    struct nn_recurrent none = {0}, many;
    nn_recurrent_init(&many, NULL, "r", NN_GRU, 3, 4, (nn_recurrent_options){.layers = INT32_MAX});
    const struct nn_recurrent *const refused[] = {&m, &none,
                                                  &many}; /* used all the same, or before its init */
    for (int i = 0; i < 3; i++, ag_reset(tape)) {
        nn_cache own = {0};
        cr_expect_null(nn_recurrent(
            refused[i], ag_input(tape, ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(2, 2, 3))), NULL, NULL));
        cr_expect_str_eq(ag_error(tape), "recurrent: it has 0 layers, not 1 to 16");
        ag_reset(tape);
        nn_recurrent_cache(refused[i], &own, 2, arena, NULL);
        cr_expect_null(nn_recurrent_cached(
            refused[i], ag_input(tape, ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(2, 2, 3))), &own));
        cr_expect_not(ag_ok(tape));
    }
    nn_params_free(bad);
}

/* Hidden units unless given: 8/3 of the width, rounded up. */
Test(sequence, a_gated_layer_has_eight_thirds_of_the_width) {
    static const int64_t hidden[] = {0, 3, 6, 8, 11};
    for (int64_t width = 1; width < 5; width++) {
        nn_params *own = nn_params_new();
        struct nn_gated m;
        nn_gated_init(&m, own, "m", width, (nn_gated_options){0});
        cr_assert(!nn_params_error(own) && m.up_proj.weight, "%s", nn_params_error(own));
        cr_expect_eq(m.up_proj.weight->value.shape[1], hidden[width]);
        nn_params_free(own);
    }
}

/* ---- Transformers ---------------------------------------------------------------------------------- */

static void llama_init(struct nn_transformer *m, nn_params *registry) {
    nn_transformer_options o = NN_TRANSFORMER_DEFAULTS;
    o.attention = (nn_multihead_options){.heads = HEADS,
                                         .key_heads = 2,
                                         .head_size = HEAD,
                                         .no_bias = true,
                                         .no_out_bias = true,
                                         .out_in = true};
    o.gated_mlp = (nn_gated_options){.hidden = 10, .activation = NN_SILU, .no_bias = true, .out_in = true};
    o.gated = o.rms = true;
    nn_transformer_init(m, registry, "llama", WIDTH, o);
}

Test(sequence, block_as_llama_has_it_equals_pytorch) {
    struct nn_transformer m;
    llama_init(&m, params);
    load();
    ag_var *x = ag_variable(tape, expected("llama", "x"));
    const nn_rotary rotary = nn_rotary_positions(tape, 0, 5, HEAD, 10000);
    check("llama", nn_transformer(&m, x, (nn_attend){.causal = true, .rotary = rotary}), x);
}

Test(sequence, decoder_block_equals_pytorch) {
    struct nn_transformer m;
    nn_transformer_options o = NN_TRANSFORMER_DEFAULTS;
    o.attention =
        (nn_multihead_options){.heads = HEADS, .head_size = HEAD, .memory_width = MEMORY, .out_in = true};
    o.mlp = (nn_mlp_options){.hidden = 20, .activation = NN_GELU};
    o.cross = true;
    nn_transformer_init(&m, params, "decoder", WIDTH, o);
    load();
    ag_var *x = ag_variable(tape, expected("decoder", "x")),
           *memory = ag_variable(tape, expected("decoder", "memory")),
           *seen = ag_input(tape, expected("decoder", "seen"));
    ag_var *y = nn_transformer_cross(&m, x, memory, (nn_attend){.causal = true}, (nn_attend){.mask = seen});
    check("decoder", y, x);
    expect_close(ag_grad(memory), "decoder", "dmemory");
    cr_expect_null(nn_transformer(&m, x, (nn_attend){.causal = true}));
    cr_expect_str_eq(ag_error(tape), "transformer: a block with cross_attn needs a memory");
}

Test(sequence, a_block_with_a_cache_has_the_same_bits) {
    enum { B = 2, T = 70 };
    static const int64_t runs[][2] = {{3, 0}, {1, 0}, {1, -1}, {60, -2}, {1, 0}, {4, 1}}; /* tokens, first */
    nn_params *own = nn_params_new();
    struct nn_transformer m;
    llama_init(&m, own);
    cr_assert(nn_params_finalize(own, 6), "%s", nn_params_error(own));
    ag_set_recording(tape, false);
    const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(B, T, WIDTH), NULL);
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 2}, 0, 1, NULL));
    nn_attend how = {.causal = true, .rotary = nn_rotary_positions(tape, 0, T, HEAD, 10000)};
    const ag_var *full = nn_transformer(&m, ag_input(tape, x), how);
    cr_assert(full, "%s", ag_error(tape));
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, 1, B, 2, T, HEAD, arena, NULL));
    how.cache = &cache;
    for (int i = 0; cache.length < T; cache.length += runs[i++][0]) {
        const int64_t n = runs[i][0], end = cache.length + n,
                      rows = runs[i][1] < 0 ? -runs[i][1] : n - runs[i][1];
        how.first = runs[i][1];
        how.rotary = nn_rotary_positions(tape, cache.length, n, HEAD, 10000);
        const tensor piece = tensor_slice(x, 1, cache.length, end, 1, NULL);
        const ag_var *y = nn_transformer(&m, ag_input(tape, piece), how);
        cr_assert(y, "%s", ag_error(tape));
        cr_assert_eq(ag_size(y, 1), rows);
        for (int64_t b = 0; b < B; b++)
            cr_assert_arr_eq(y->value.f32 + b * rows * WIDTH, full->value.f32 + (b * T + end - rows) * WIDTH,
                             (size_t)(rows * WIDTH) * sizeof(float), "run %d of row %lld", i, (long long)b);
    }
    nn_params_free(own);
}

/* Rows of the weights sum to 1 where they see anything, and 0 stands above the diagonal. */
Test(sequence, weights_of_attention) {
    nn_params *own = nn_params_new();
    struct nn_multihead m;
    nn_multihead_init(&m, own, "a", WIDTH, (nn_multihead_options){.heads = 3});
    cr_assert(nn_params_finalize(own, 6), "%s", nn_params_error(own));
    const ag_var *w =
        nn_multihead_weights(&m, ag_input(tape, expected("llama", "x")), (nn_attend){.causal = true});
    cr_assert(w, "%s", ag_error(tape));
    cr_assert(w->value.rank == 4 && ag_size(w, 1) == 3 && ag_size(w, 2) == 5 && ag_size(w, 3) == 5);
    for (int64_t i = 0; i < 2 * 3 * 5; i++) {
        float sum = 0;
        for (int64_t j = 0; j < 5; j++) {
            sum += w->value.f32[i * 5 + j];
            cr_assert(j <= i % 5 || w->value.f32[i * 5 + j] == 0);
        }
        cr_assert(fabsf(sum - 1) < 1e-6f);
    }
    nn_params_free(own);
    own = nn_params_new();
    nn_multihead_init(&m, own, "a", WIDTH, (nn_multihead_options){.heads = 3, .key_heads = 2});
    cr_expect_str_eq(nn_params_error(own), "a: 2 heads of keys do not divide 3 heads");
    nn_params_free(own);
}

/* ---- Images and samples ------------------------------------------------------------------------------ */

static ag_var *input(const char *module) {
    return ag_variable(tape, expected(module, "x"));
}

Test(sequence, convolutions_and_group_norm_are_those_of_pytorch) {
    struct nn_conv1d conv1;
    struct nn_conv_transpose1d back1;
    struct nn_conv_transpose2d back2;
    struct nn_group_norm norm;
    const tensor_windows windows = {.stride = {2}, .padding = {1}, .groups = 2};
    for (int which = 0; which < 4; which++) {
        static const char *const names[] = {"conv1d", "conv_transpose1d", "conv_transpose2d", "group_norm"};
        nn_params_free(params);
        params = nn_params_new();
        ag_reset(tape);
        if (which == 0)
            nn_conv1d_init(&conv1, params, names[0], 4, 6, 3, (nn_conv2d_options){windows, false});
        if (which == 1)
            nn_conv_transpose1d_init(&back1, params, names[1], 4, 6, 3,
                                     (nn_conv_transpose2d_options){windows, {1, 0}, false});
        if (which == 2)
            nn_conv_transpose2d_init(
                &back2, params, names[2], 3, 2, 3, 2,
                (nn_conv_transpose2d_options){{.stride = {2, 1}, .padding = {1, 0}}, {1, 0}, false});
        if (which == 3) nn_group_norm_init(&norm, params, names[3], 2, 4, NN_GROUP_NORM_EPS);
        load();
        ag_var *x = input(names[which]);
        check(names[which],
              which == 0   ? nn_conv1d(&conv1, x)
              : which == 1 ? nn_conv_transpose1d(&back1, x)
              : which == 2 ? nn_conv_transpose2d(&back2, x)
                           : nn_group_norm(&norm, x),
              x);
    }
}

Test(sequence, batch_norm_and_its_running_statistics_are_those_of_pytorch) {
    struct nn_batch_norm m;
    nn_batch_norm_init(&m, params, "batch_norm", 3, NN_BATCH_NORM_DEFAULTS);
    load();
    ag_var *x = input("batch_norm");
    check("batch_norm", nn_batch_norm(&m, x), x);
    for (int step = 0; step < 2; step++) {
        ag_reset(tape);
        x = input("batch_norm");
        if (step == 1) x = ag_affine(x, 2, 1);
        cr_assert(nn_backward(params, ag_mean(nn_batch_norm(&m, x), AG_ALL, false)), "%s", ag_error(tape));
    }
    expect_close(m.running_mean->value, "batch_norm", "next_mean");
    expect_close(m.running_var->value, "batch_norm", "next_var");
    ag_reset(tape);
    ag_set_recording(tape, false);
    expect_close(nn_batch_norm(&m, input("batch_norm"))->value, "batch_norm", "eval");
}
