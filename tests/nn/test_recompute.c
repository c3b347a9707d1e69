/* Blocks that are computed again in backward: the bits of keeping everything, in less memory. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LAYERS = 6, B = 4, T = 16, WIDTH = 32 };

typedef enum way { KEEP, RECOMPUTE, NESTED } way;

typedef struct model {
    nn_params *params;
    struct nn_block blocks[LAYERS];
    struct nn_linear head;
    way way;
} model;

static void build(model *m, way how) {
    nn_attention_options attention = NN_ATTENTION_DEFAULTS;
    nn_mlp_options mlp = NN_MLP_DEFAULTS;
    attention.heads = 4;
    attention.dropout = mlp.dropout = 0.2f;
    *m = (model){.params = nn_params_new(), .way = how};
    for (int i = 0; i < LAYERS; i++)
        nn_block_init(&m->blocks[i], m->params, nn_name(m->params, "h.%d", i), WIDTH, attention, mlp);
    nn_linear_init(&m->head, m->params, "head", WIDTH, 1, NN_LINEAR_DEFAULTS);
    cr_assert(nn_params_finalize(m->params, 3));
}

static ag_var *block(const void *context, ag_var *const *in, tensor_rng *rng) {
    return nn_block(context, in[0], rng);
}

/* Which blocks, by value: the context is copied. */
typedef struct pair {
    const struct nn_block *first, *second;
} pair;

static ag_var *two_blocks(const void *context, ag_var *const *in, tensor_rng *rng) {
    const pair *p = context;
    ag_var *x = ag_checkpoint(block, p->first, 0, 1, in, rng);
    return ag_checkpoint(block, p->second, 0, 1, &x, rng);
}

static ag_var *loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const model *m = context;
    tensor_rng data = {.seed = 1, .stream = (uint64_t)begin},
               dropout = {.seed = 9, .stream = (uint64_t)begin};
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(end - begin, T, WIDTH));
    if (!tensor_rand_normal(x, &data, 0, 1, NULL)) return NULL;
    ag_var *y = ag_input(tape, x);
    for (int i = 0; i < LAYERS; i++) {
        if (m->way == KEEP) y = nn_block(&m->blocks[i], y, &dropout);
        if (m->way == RECOMPUTE) y = ag_checkpoint(block, &m->blocks[i], 0, 1, &y, &dropout);
        if (m->way == NESTED && i % 2 == 0) {
            const pair p = {&m->blocks[i], &m->blocks[i + 1]};
            y = ag_checkpoint(two_blocks, &p, sizeof p, 1, &y, &dropout);
        }
    }
    return ag_mean(ag_square(nn_linear(&m->head, y)), AG_ALL, false);
}

Test(recompute, has_the_bits_of_keeping_everything) {
    model kept, again;
    build(&kept, KEEP);
    for (int how = RECOMPUTE; how <= NESTED; how++) {
        build(&again, (way)how);
        ag_tape *one = ag_tape_new(), *two = ag_tape_new();
        size_t first = 0;
        for (int turn = 0; turn < 3; turn++, ag_reset(one), ag_reset(two)) {
            ag_var *x = loss(&kept, one, 0, B), *y = loss(&again, two, 0, B);
            cr_assert(x && y, "%s", ag_error(two));
            cr_expect_eq(ag_item(x), ag_item(y));
            nn_zero_grad(kept.params);
            nn_zero_grad(again.params);
            cr_assert(nn_backward(kept.params, x) && nn_backward(again.params, y), "%s", ag_error(two));
            const int64_t count = nn_params_count(kept.params);
            cr_expect_gt(tensor_sum_squares(nn_grads(kept.params)), 0);
            cr_expect_eq(memcmp(nn_grads(kept.params).f32, nn_grads(again.params).f32, (size_t)count * 4), 0);
            cr_expect_lt(2 * ag_tape_peak(two), ag_tape_peak(one), "%zu bytes, %zu with all kept",
                         ag_tape_peak(two), ag_tape_peak(one));
            if (turn == 0) first = ag_tape_bytes(two);
            cr_expect_eq(ag_tape_bytes(two), first, "a step allocates nothing after the first");
        }
        ag_tape_free(one);
        ag_tape_free(two);
        nn_parallel *p = nn_parallel_new(kept.params), *q = nn_parallel_new(again.params);
        double mean, same;
        cr_assert(nn_parallel_backward(p, 7, loss, &kept, &mean, NULL));
        cr_assert(nn_parallel_backward(q, 7, loss, &again, &same, NULL));
        cr_expect_eq(mean, same);
        cr_expect_eq(memcmp(nn_grads(kept.params).f32, nn_grads(again.params).f32,
                            (size_t)nn_params_count(kept.params) * 4),
                     0);
        cr_assert(nn_parallel_loss(p, 7, loss, &kept, &mean, NULL) &&
                  nn_parallel_loss(q, 7, loss, &again, &same, NULL));
        cr_expect_eq(mean, same);
        nn_parallel_free(p);
        nn_parallel_free(q);
        nn_params_free(again.params);
    }
    nn_params_free(kept.params);
}

/* Without recording what a block makes is used again by the next one. */
Test(recompute, evaluation_needs_less_memory_too) {
    model kept, again;
    build(&kept, KEEP);
    build(&again, RECOMPUTE);
    ag_tape *one = ag_tape_new(), *two = ag_tape_new();
    ag_set_recording(one, false);
    ag_set_recording(two, false);
    cr_expect_eq(ag_item(loss(&kept, one, 0, B)), ag_item(loss(&again, two, 0, B)));
    cr_expect_lt(3 * ag_tape_peak(two), ag_tape_peak(one));
    ag_tape_free(one);
    ag_tape_free(two);
    nn_params_free(kept.params);
    nn_params_free(again.params);
}

static ag_var *multiplied(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)rng;
    return ag_tanh(ag_mul(in[0], (ag_var *)context));
}

static ag_var *growing(const void *context, ag_var *const *in, tensor_rng *rng) {
    int *calls = *(int *const *)context;
    (void)rng;
    return ++*calls > 1 ? ag_sum(in[0], AG_ALL, false) : ag_exp(in[0]);
}

Test(recompute, failures_have_a_text) {
    nn_params *params = nn_params_new();
    ag_var *w = nn_param(params, "w", NN_ONES, TENSOR_SHAPE(3));
    cr_assert(nn_params_finalize(params, 1));
    ag_tape *tape = ag_tape_new();
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3));
    tensor_fill(x, 0.5, NULL);
    ag_var *in = ag_variable(tape, x), *y = ag_checkpoint(multiplied, w, 0, 1, &in, NULL);
    ag_var *sum = ag_sum(y, AG_ALL, false);
    cr_assert(nn_backward(params, sum), "a parameter that the block alone uses: %s", ag_error(tape));
    cr_expect_gt(nn_grad(params, w).f32[0], 0);
    ag_var *dx;
    cr_assert(ag_gradients(sum, 1, &in, &dx, true) && dx->value.f32[0] > 0);
    tensor_fill(w->value, 2, NULL);
    cr_expect_not(nn_backward(params, sum));
    cr_expect(strstr(ag_error(tape), "(w) was changed in place after its use") != NULL, "%s", ag_error(tape));
    ag_reset(tape);
    tensor fresh = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3));
    tensor_fill(fresh, 0.5, NULL);
    in = ag_variable(tape, fresh);
    int calls = 0, *counter = &calls;
    y = ag_checkpoint(growing, &counter, sizeof counter, 1, &in, NULL);
    cr_expect_not(ag_backward(ag_sum(y, AG_ALL, false)));
    cr_expect_str_eq(ag_error(tape), "checkpoint: the block gave [3] and then []");
    ag_reset(tape);
    in = NULL;
    cr_expect_null(ag_checkpoint(multiplied, w, 0, 1, &in, NULL));
    ag_tape_free(tape);
    nn_params_free(params);
}
