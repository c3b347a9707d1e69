/* Keys and values that are kept, for a model that nn has no block for: RMS norm, rotary positions, grouped heads. */
#include <criterion/criterion.h>
#include <string.h>

#include "sampo/nn.h"

enum { LAYERS = 2, BATCH = 2, TOKENS = 70, WIDTH = 24, HEADS = 6, KEY_HEADS = 2, D = WIDTH / HEADS };

typedef struct layer {
    ag_var *attention_norm, *mlp_norm;
    struct nn_linear q, k, v, o, gate, up, down;
} layer;

typedef struct model {
    nn_params *params;
    tensor_arena *arena;
    layer layers[LAYERS];
    tensor cos, sin; /* [TOKENS, D / 2] */
} model;

static void model_init(model *m) {
    const nn_linear_options plain = {.no_bias = true};
    *m = (model){.params = nn_params_new(), .arena = tensor_arena_new(NULL)};
    for (int i = 0; i < LAYERS; i++) {
        layer *l = &m->layers[i];
        const int64_t width = WIDTH;
        l->attention_norm = nn_param(m->params, nn_name(m->params, "%d.n1", i), NN_ONES, 1, &width);
        l->mlp_norm = nn_param(m->params, nn_name(m->params, "%d.n2", i), NN_ONES, 1, &width);
        nn_linear_init(&l->q, m->params, nn_name(m->params, "%d.q", i), WIDTH, HEADS * D, plain);
        nn_linear_init(&l->k, m->params, nn_name(m->params, "%d.k", i), WIDTH, KEY_HEADS * D, plain);
        nn_linear_init(&l->v, m->params, nn_name(m->params, "%d.v", i), WIDTH, KEY_HEADS * D, plain);
        nn_linear_init(&l->o, m->params, nn_name(m->params, "%d.o", i), HEADS * D, WIDTH, plain);
        nn_linear_init(&l->gate, m->params, nn_name(m->params, "%d.gate", i), WIDTH, 40, plain);
        nn_linear_init(&l->up, m->params, nn_name(m->params, "%d.up", i), WIDTH, 40, plain);
        nn_linear_init(&l->down, m->params, nn_name(m->params, "%d.down", i), 40, WIDTH, plain);
    }
    cr_assert(nn_params_finalize(m->params, 5), "%s", nn_params_error(m->params));
    m->cos = tensor_new(m->arena, TENSOR_F32, TENSOR_SHAPE(TOKENS, D / 2), NULL);
    m->sin = tensor_new(m->arena, TENSOR_F32, TENSOR_SHAPE(TOKENS, D / 2), NULL);
    cr_assert(tensor_rotary_table(m->cos, m->sin, 0, 10000, NULL));
}

static void model_free(model *m) {
    nn_params_free(m->params);
    tensor_arena_free(m->arena);
}

static ag_var *rms_norm(ag_var *x, ag_var *w) {
    ag_var *size = ag_sqrt(ag_affine(ag_mean(ag_square(x), AG_AXIS(-1), true), 1, 1e-5f));
    return ag_mul(ag_div(x, size), w);
}

/* The tokens x [B, N, C] after those of the cache; NULL: all tokens there are. */
static ag_var *forward(const model *m, ag_var *x, const nn_cache *cache) {
    const int64_t first = cache ? cache->length : 0, end = first + ag_size(x, 1);
    const tensor cos = tensor_slice(m->cos, 0, first, end, 1, NULL),
                 sin = tensor_slice(m->sin, 0, first, end, 1, NULL);
    for (int i = 0; i < LAYERS; i++) {
        const layer *l = &m->layers[i];
        ag_var *h = rms_norm(x, l->attention_norm);
        ag_var *q = ag_rotary(ag_split_heads(nn_linear(&l->q, h), HEADS, 0, 1), cos, sin, false);
        ag_var *k = ag_rotary(ag_split_heads(nn_linear(&l->k, h), KEY_HEADS, 0, 1), cos, sin, false);
        ag_var *v = ag_split_heads(nn_linear(&l->v, h), KEY_HEADS, 0, 1);
        if (cache) cr_assert(nn_cache_append(cache, i, &k, &v));
        ag_var *y = ag_attention(q, k, v, (ag_attention_options){.causal = true});
        x = ag_add(x, nn_linear(&l->o, ag_merge_heads(y)));
        h = rms_norm(x, l->mlp_norm);
        ag_var *gate = nn_linear(&l->gate, h);
        x = ag_add(x, nn_linear(&l->down, ag_mul(ag_mul(gate, ag_sigmoid(gate)), nn_linear(&l->up, h))));
    }
    return x;
}

Test(cache, any_model_has_the_same_bits_with_it) {
    model m;
    model_init(&m);
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    const tensor x = tensor_new(m.arena, TENSOR_F32, TENSOR_SHAPE(BATCH, TOKENS, WIDTH), NULL);
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 2}, 0, 1, NULL));
    const ag_var *full = forward(&m, ag_input(tape, x), NULL);
    cr_assert(full, "%s", ag_error(tape));
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, LAYERS, BATCH, KEY_HEADS, TOKENS, D, m.arena, NULL));
    static const int64_t runs[] = {3, 1, 1, 60, 1, 4};
    for (int i = 0; cache.length < TOKENS; cache.length += runs[i++]) {
        const tensor part = tensor_slice(x, 1, cache.length, cache.length + runs[i], 1, NULL);
        const ag_var *y = forward(&m, ag_input(tape, part), &cache);
        cr_assert(y, "%s", ag_error(tape));
        for (int64_t b = 0; b < BATCH; b++)
            cr_assert_eq(memcmp(y->value.f32 + b * runs[i] * WIDTH,
                                full->value.f32 + (b * TOKENS + cache.length) * WIDTH,
                                (size_t)(runs[i] * WIDTH) * sizeof(float)),
                         0, "run %d of row %lld", i, (long long)b);
    }
    ag_tape_free(tape);
    model_free(&m);
}

/* Rows that threads share lie in one memory. */
Test(cache, rows_of_a_cache) {
    tensor_arena *arena = tensor_arena_new(NULL);
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, 1, 3, 2, 5, 4, arena, NULL));
    cr_assert(tensor_fill(cache.k, 0, NULL) && tensor_fill(cache.v, 0, NULL));
    const nn_cache row = nn_cache_rows(&cache, 1, 2);
    const tensor ones = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(1, 2, 1, 4), NULL);
    cr_assert(tensor_fill(ones, 1, NULL));
    ag_var *k = ag_input(tape, ones), *v = ag_input(tape, ones);
    cr_assert(nn_cache_append(&row, 0, &k, &v), "%s", ag_error(tape));
    cr_expect(ag_size(k, 0) == 1 && ag_size(k, 1) == 2 && ag_size(k, 2) == 1 && ag_size(k, 3) == 4);
    cr_expect_eq(tensor_sum_squares(cache.k), 8);
    cr_expect_eq(tensor_sum_squares(cache.v), 8);
    cr_expect_eq(cache.k.f32[2 * 4 * 5], 1, "in the second row");
    ag_tape_free(tape);
    tensor_arena_free(arena);
}

/* Neither keys nor values that need a gradient. */
Test(cache, holds_nothing_with_gradients) {
    tensor_arena *arena = tensor_arena_new(NULL);
    ag_tape *tape = ag_tape_new();
    nn_cache cache;
    cr_assert(nn_cache_init(&cache, 1, 1, 3, 2, 4, arena, NULL));
    const tensor row = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(1, 3, 1, 4), NULL);
    for (int needed = 0; needed < 4; needed++, ag_reset(tape)) {
        ag_var *k = needed & 1 ? ag_variable(tape, row) : ag_input(tape, row),
               *v = needed & 2 ? ag_variable(tape, row) : ag_input(tape, row);
        cr_expect_eq(nn_cache_append(&cache, 0, &k, &v), needed == 0);
        if (needed == 0) continue;
        cr_expect_str_eq(ag_error(tape), "cache: what it holds has no gradients; see ag_set_recording");
        cr_expect(!k && !v);
    }
    ag_tape_free(tape);
    tensor_arena_free(arena);
}
