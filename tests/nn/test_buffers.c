/* Buffers: tensors of a model that are not trained, and the running statistics of batch norm, which steps change. */
#include "sampo/nn.h"

#include <math.h>

#include "tests/nn/temporary.h"

enum { ROWS = 24, IN = 3, CHANNELS = 4 };

/* A layer, batch norm, a layer, for rows of numbers. */
typedef struct model {
    nn_params *params;
    struct nn_linear in, out;
    struct nn_batch_norm norm;
} model;

static void model_init(model *m, bool fixed) {
    nn_batch_norm_options options = NN_BATCH_NORM_DEFAULTS;
    options.fixed = fixed;
    m->params = nn_params_new();
    nn_linear_init(&m->in, m->params, "in", IN, CHANNELS, NN_LINEAR_DEFAULTS);
    nn_batch_norm_init(&m->norm, m->params, "norm", CHANNELS, options);
    nn_linear_init(&m->out, m->params, "out", CHANNELS, 1, NN_LINEAR_DEFAULTS);
    cr_assert(nn_params_finalize(m->params, 3), "%s", nn_params_error(m->params));
}

static ag_var *rows(ag_tape *tape, int64_t begin, int64_t end) {
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(end - begin, IN));
    for (int64_t i = 0; tensor_ok(x) && i < tensor_size(x); i++)
        x.f32[i] = (float)((begin * IN + i) * 37 % 61) / 30 - 1;
    return ag_input(tape, x);
}

static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const model *m = context;
    ag_var *h = ag_tanh(nn_batch_norm(&m->norm, nn_linear(&m->in, rows(tape, begin, end))));
    return ag_mean(ag_square(nn_linear(&m->out, h)), AG_ALL, false);
}

static double step(nn_parallel *parallel, model *m) {
    double mean = 0;
    tensor_error err = {0};
    cr_assert(nn_parallel_backward(parallel, ROWS, loss_of, m, &mean, &err), "%s", err.text);
    return mean;
}

static void copy_statistics(const model *m, float to[2 * CHANNELS]) {
    memcpy(to, m->norm.running_mean->value.f32, CHANNELS * sizeof(float));
    memcpy(to + CHANNELS, m->norm.running_var->value.f32, CHANNELS * sizeof(float));
}

TestSuite(buffers, .init = setup, .fini = teardown);

Test(buffers, are_entries_but_are_not_trained) {
    model m;
    model_init(&m, false);
    cr_expect_eq(nn_params_count(m.params), IN * CHANNELS + CHANNELS + 2 * CHANNELS + CHANNELS + 1);
    cr_expect_eq(nn_params_entries(m.params), 8);
    ag_var *var = nn_params_find(m.params, "norm.running_var");
    cr_assert_eq(var, m.norm.running_var);
    cr_expect_eq(var->value.f32[CHANNELS - 1], 1);
    cr_expect_not(tensor_ok(nn_grad(m.params, var)));
    cr_expect_eq(nn_freeze(m.params, "norm.*", false), 2);
    cr_expect_not(var->needs_grad);
    FILE *file = fopen(path, "w+");
    char text[1024] = "";
    cr_assert(nn_summary(file, m.params));
    rewind(file);
    cr_assert(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    cr_expect(strstr(text, "4 buffer\n"));
    cr_expect(strstr(text, "29 numbers in 6 parameters"), "%s", text);
    nn_params_free(m.params);
}

/* As a step, so a loss that is thrown away changes nothing; nor does measuring. */
/* A layer that is used twice on a tape blends twice. */
Test(buffers, of_a_layer_that_is_used_twice) {
    model m;
    model_init(&m, false);
    ag_tape *tape = ag_tape_new();
    ag_var *x = rows(tape, 0, ROWS), *y = nn_batch_norm(&m.norm, nn_linear(&m.in, x)),
           *z = ag_affine(y, 3, 1);
    const tensor first = ag_left(tape, m.norm.running_mean);
    cr_assert(y && tensor_ok(first), "%s", ag_error(tape));
    float before[CHANNELS];
    memcpy(before, first.f32, sizeof before);
    cr_assert(nn_batch_norm(&m.norm, z), "%s", ag_error(tape));
    const tensor after = ag_left(tape, m.norm.running_mean);
    for (int i = 0; i < CHANNELS; i++) /* the mean of z is 1, as that of y is 0 */
        cr_expect_float_eq(after.f32[i], 0.9 * (double)before[i] + 0.1, 1e-6);
    cr_expect_neq(before[0], 0);
    ag_tape_free(tape);
    nn_params_free(m.params);
}

Test(buffers, change_when_a_step_is_done) {
    model m;
    model_init(&m, false);
    ag_tape *tape = ag_tape_new();
    float before[2 * CHANNELS], after[2 * CHANNELS];
    copy_statistics(&m, before);
    ag_var *loss = loss_of(&m, tape, 0, ROWS);
    copy_statistics(&m, after);
    cr_expect_arr_eq(before, after, sizeof before);
    cr_assert(nn_backward(m.params, loss), "%s", ag_error(tape));
    copy_statistics(&m, after);
    for (int c = 0; c < 2 * CHANNELS; c++) cr_expect_neq(before[c], after[c]);
    memcpy(before, after, sizeof after);
    cr_assert(nn_backward(m.params, loss), "%s", ag_error(tape)); /* the same step once more */
    ag_reset(tape);
    ag_set_recording(tape, false);
    cr_assert(loss_of(&m, tape, 0, ROWS), "%s", ag_error(tape));
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean;
    cr_assert(nn_parallel_loss(parallel, ROWS, loss_of, &m, &mean, NULL));
    copy_statistics(&m, after);
    cr_expect_arr_eq(before, after, sizeof before);
    nn_parallel_free(parallel);
    ag_tape_free(tape);
    nn_params_free(m.params);
}

Test(buffers, any_number_of_threads_gives_the_same_bits) {
    float first[2 * CHANNELS], again[2 * CHANNELS];
    for (int threads = 1; threads <= 3; threads++) {
        cr_assert(tensor_set_threads(threads, NULL));
        model m;
        model_init(&m, false);
        nn_parallel *parallel = nn_parallel_new(m.params);
        nn_parallel_set_shards(parallel, 5);
        for (int i = 0; i < 3; i++) step(parallel, &m);
        copy_statistics(&m, threads == 1 ? first : again);
        if (threads > 1) cr_expect_arr_eq(first, again, sizeof first);
        nn_parallel_free(parallel);
        nn_params_free(m.params);
    }
}

/* The mean of the shards' by their rows; of one shard, what nn_backward makes of the batch. */
Test(buffers, of_shards_are_their_mean) {
    enum { SHARDS = 5 };
    model m, one;
    model_init(&m, false), model_init(&one, false);
    nn_parallel *parallel = nn_parallel_new(m.params);
    nn_parallel_set_shards(parallel, SHARDS);
    double expected[2 * CHANNELS] = {0};
    ag_tape *tape = ag_tape_new();
    for (int64_t s = 0; s < SHARDS; s++) {
        const int64_t begin = ROWS * s / SHARDS, end = ROWS * (s + 1) / SHARDS;
        ag_reset(tape);
        cr_assert(loss_of(&m, tape, begin, end));
        const tensor mean = ag_left(tape, m.norm.running_mean), var = ag_left(tape, m.norm.running_var);
        for (int c = 0; c < CHANNELS; c++) {
            expected[c] += (double)mean.f32[c] * (double)(end - begin) / ROWS;
            expected[CHANNELS + c] += (double)var.f32[c] * (double)(end - begin) / ROWS;
        }
    }
    float got[2 * CHANNELS], whole[2 * CHANNELS];
    step(parallel, &m);
    copy_statistics(&m, got);
    for (int c = 0; c < 2 * CHANNELS; c++) cr_expect_float_eq((double)got[c], expected[c], 1e-6);
    nn_parallel_free(parallel);
    parallel = nn_parallel_new(one.params);
    nn_parallel_set_shards(parallel, 1);
    step(parallel, &one);
    copy_statistics(&one, got);
    nn_params_free(one.params), model_init(&one, false);
    ag_reset(tape);
    cr_assert(nn_backward(one.params, loss_of(&one, tape, 0, ROWS)));
    copy_statistics(&one, whole);
    cr_expect_arr_eq(got, whole, sizeof got);
    nn_parallel_free(parallel);
    ag_tape_free(tape);
    nn_params_free(m.params), nn_params_free(one.params);
}

Test(buffers, are_saved_and_loaded) {
    model m, other;
    tensor_error err = {0};
    model_init(&m, false), model_init(&other, false);
    nn_parallel *parallel = nn_parallel_new(m.params);
    step(parallel, &m);
    cr_assert(nn_params_save(m.params, path, NULL, 0, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert(file && nn_params_load(other.params, file, &err), "%s", err.text);
    float a[2 * CHANNELS], b[2 * CHANNELS];
    copy_statistics(&m, a), copy_statistics(&other, b);
    cr_expect_arr_eq(a, b, sizeof a);
    nn_file_close(file);
    nn_parallel_free(parallel);
    nn_params_free(m.params), nn_params_free(other.params);
}

/* A part that is not trained: its parameters are frozen, and its statistics stay; gradients go through it. */
Test(buffers, of_a_fixed_part_stay) {
    model m;
    model_init(&m, true);
    cr_expect_eq(nn_freeze(m.params, "norm.*", true), 2);
    float before[2 * CHANNELS], after[2 * CHANNELS];
    copy_statistics(&m, before);
    nn_parallel *parallel = nn_parallel_new(m.params);
    step(parallel, &m);
    copy_statistics(&m, after);
    cr_expect_arr_eq(before, after, sizeof before);
    cr_expect_neq(nn_grad(m.params, m.in.weight).f32[0], 0);
    cr_expect_eq(nn_grad(m.params, m.norm.weight).f32[0], 0);
    struct nn_adamw adamw;
    const float weight = m.norm.weight->value.f32[0], other = m.out.weight->value.f32[0];
    cr_assert(nn_adamw_init(&adamw, m.params, NN_ADAMW_DEFAULTS) && nn_adamw_step(&adamw, m.params));
    cr_expect_eq(m.norm.weight->value.f32[0], weight);
    cr_expect_neq(m.out.weight->value.f32[0], other);
    nn_parallel_free(parallel);
    nn_params_free(m.params);
}

/* A block that backward computes a second time leaves its statistics once; a module that is used twice, twice. */
static ag_var *block(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)rng;
    return ag_tanh(nn_batch_norm(&((const model *)context)->norm, in[0]));
}

Test(buffers, of_a_block_that_is_recomputed_change_once) {
    float expected[2 * CHANNELS], got[2 * CHANNELS];
    ag_tape *tape = ag_tape_new();
    for (int recomputed = 0; recomputed < 2; recomputed++) {
        model m;
        model_init(&m, false);
        ag_reset(tape);
        ag_var *h = nn_linear(&m.in, rows(tape, 0, ROWS));
        for (int turn = 0; turn < 2; turn++)
            h = recomputed ? ag_checkpoint(block, &m, 0, 1, &h, NULL) : block(&m, &h, NULL);
        cr_assert(nn_backward(m.params, ag_mean(ag_square(nn_linear(&m.out, h)), AG_ALL, false)), "%s",
                  ag_error(tape));
        copy_statistics(&m, recomputed ? got : expected);
        nn_params_free(m.params);
    }
    cr_expect_arr_eq(got, expected, sizeof got);
    ag_tape_free(tape);
}
