/* The loss of a batch's rows: what the model is given, and dropout's numbers. */
#include "models/lm/train/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 6, CONTEXT = 8, VOCABULARY = 5 };

typedef struct toy {
    struct nn_embedding table;
    struct nn_dropout dropout;
} toy;

static ag_var *forward(const void *state, const lm_input *in) {
    const toy *m = state;
    return nn_dropout(&m->dropout, nn_embedding(&m->table, in->ids), in->dropout);
}

static toy self = {.dropout = {0.5f}};
static const lm_model model = {.name = "toy", .self = &self, .forward = forward};
static tensor_error err;
static tensor_arena *arena;
static nn_params *params;
static ag_tape *tape;
static lm_loss_context context;

static void setup(void) {
    arena = tensor_arena_new(&err);
    tape = ag_tape_new();
    params = nn_params_new();
    nn_embedding_init(&self.table, params, "table", VOCABULARY, VOCABULARY, 1);
    cr_assert(nn_params_finalize(params, 1));
    context = (lm_loss_context){.model = &model};
    cr_assert(lm_batch_new(&context.batch, ROWS, CONTEXT, arena, &err));
    for (int32_t i = 0; i < ROWS * CONTEXT; i++) { /* all rows alike */
        context.batch.ids.i32[i] = i % CONTEXT % VOCABULARY;
        context.batch.targets.i32[i] = (i + 1) % CONTEXT % VOCABULARY;
    }
}

static void teardown(void) {
    ag_tape_free(tape);
    nn_params_free(params);
    tensor_arena_free(arena);
}

TestSuite(loss, .init = setup, .fini = teardown);

static float loss_of(int64_t begin, int64_t end) {
    ag_reset(tape);
    ag_var *loss = lm_loss(&context, tape, begin, end);
    cr_assert(loss, "%s", ag_error(tape));
    return loss->value.f32[0];
}

Test(loss, is_the_cross_entropy) {
    double sum = 0;
    const float *table = self.table.weight->value.f32;
    for (int t = 0; t < CONTEXT; t++) {
        double total = 0;
        const float *row = table + context.batch.ids.i32[t] * VOCABULARY;
        for (int v = 0; v < VOCABULARY; v++) total += exp((double)row[v]);
        sum += log(total) - (double)row[context.batch.targets.i32[t]];
    }
    cr_expect_float_eq(loss_of(0, ROWS), sum / CONTEXT, 1e-6);
}

Test(loss, rows_are_those_asked_for) {
    float before = loss_of(2, 4);
    context.batch.targets.i32[0] = context.batch.ids.i32[4 * CONTEXT] = 3; /* rows 0 and 4 */
    cr_expect_eq(loss_of(2, 4), before);
    cr_expect_neq(loss_of(0, 1), before);
    cr_expect_neq(loss_of(4, 5), before);
}

Test(loss, dropout_is_a_function_of_seed_iteration_and_row) {
    float without = loss_of(0, 1);
    cr_expect_eq(loss_of(3, 4), without); /* the rows are alike */
    tensor_rng rng = lm_rng(1, LM_STREAM_DROPOUT, 7), other = lm_rng(1, LM_STREAM_DROPOUT, 8);
    context.dropout = &rng;
    float first = loss_of(0, 1), fourth = loss_of(3, 4);
    cr_expect_neq(first, without);
    cr_expect_neq(first, fourth);
    cr_expect_eq(loss_of(0, 1), first);
    cr_expect_eq(loss_of(3, 4), fourth);
    context.dropout = &other;
    cr_expect_neq(loss_of(0, 1), first);
}

Test(loss, positions) {
    tensor ids = context.batch.ids;
    ag_var *positions = lm_positions(ag_input(tape, ids), NULL);
    cr_assert(positions && positions->value.rank == 1 && positions->value.shape[0] == CONTEXT);
    for (int32_t i = 0; i < CONTEXT; i++) cr_expect_eq(positions->value.i32[i], i);
    positions = lm_positions(ag_input(tape, ids), &(nn_cache){.length = 3});
    cr_assert(positions && positions->value.shape[0] == CONTEXT);
    for (int32_t i = 0; i < CONTEXT; i++) cr_expect_eq(positions->value.i32[i], 3 + i);
    cr_expect_null(lm_positions(NULL, NULL));
}

/* The mean loss of the first `count` tokens to predict. */
static double mean_of(const float *table, const int32_t *ids, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
        double total = 0;
        for (int v = 0; v < VOCABULARY; v++) total += exp((double)table[ids[i] * VOCABULARY + v]);
        sum += log(total) - (double)table[ids[i] * VOCABULARY + ids[i + 1]];
    }
    return sum / count;
}

/* Each token that was counted is left out where it is predicted, and no other. */
Test(loss, evaluation_leaves_out_what_was_counted) {
    enum { LENGTH = 6 * CONTEXT + 1 };
    static const int64_t counted[] = {2 * CONTEXT, 3 * CONTEXT + 1, 3 * CONTEXT + 2, LENGTH};
    lm_instance instance = {.model = &model, .params = params, .context = CONTEXT};
    nn_parallel *parallel = nn_parallel_new(params);
    int32_t ids[LENGTH];
    const lm_tokens all = {ids, LENGTH, 4};
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)((i * i * 5 + i / 3) % 11 % VOCABULARY);
    for (int k = 0; k < 4; k++) {
        lm_counts *counts = lm_counts_learn(lm_tokens_from(all, 0, counted[k]), VOCABULARY, 2, &err);
        double loss, sum = 0;
        int64_t predicted;
        instance.counts = counts;
        cr_assert(counts && lm_evaluate_counts(&instance, parallel,
                                               (lm_measured){.tokens = all, .counted = counted[k]}, &loss,
                                               &predicted, &err),
                  "%s", err.text);
        for (int64_t i = 0; i + 1 < LENGTH; i++) {
            float p[VOCABULARY];
            lm_counts_predict(counts, ids + i + 1, i % CONTEXT + 1, i + 1 < counted[k] ? ids[i + 1] : -1, p,
                              NULL);
            sum -= log((double)p[ids[i + 1]]);
        }
        cr_expect_float_eq(loss, sum / (LENGTH - 1), 1e-6, "%lld counted: %.9g", (long long)counted[k], loss);
        lm_counts_free(counts);
    }
    nn_parallel_free(parallel);
}

/* Whole windows, each token once, whatever the number of threads; what is left over where it is asked for. */
Test(loss, evaluation_covers_the_windows) {
    enum { LENGTH = 40 * CONTEXT + 5 };
    lm_instance instance = {.model = &model, .params = params, .context = CONTEXT};
    nn_parallel *parallel = nn_parallel_new(params);
    tensor tokens = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(LENGTH), &err);
    const lm_tokens all = {tokens.i32, LENGTH, 4};
    const float *table = self.table.weight->value.f32;
    double loss, again;
    int64_t predicted;
    for (int i = 0; i < LENGTH; i++) tokens.i32[i] = (int32_t)(i * i % 7 % VOCABULARY);
    cr_assert(tensor_set_threads(1, &err) &&
              lm_evaluate(&instance, parallel, (lm_measured){.tokens = all}, &loss, &predicted, &err));
    cr_expect_eq(predicted, 40 * CONTEXT);
    cr_expect_float_eq(loss, mean_of(table, tokens.i32, 40 * CONTEXT), 1e-6);
    cr_assert(tensor_set_threads(3, &err) &&
              lm_evaluate(&instance, parallel, (lm_measured){.tokens = all}, &again, &predicted, &err));
    cr_expect_eq(loss, again);

    const lm_tokens one = lm_tokens_from(all, 0, CONTEXT + 1), none = lm_tokens_from(all, 0, CONTEXT);
    cr_expect(lm_evaluate(&instance, parallel, (lm_measured){.tokens = one}, &loss, &predicted, &err) &&
              predicted == CONTEXT);
    cr_expect(lm_evaluate(&instance, parallel, (lm_measured){.tokens = none}, &loss, &predicted, &err) &&
              predicted == CONTEXT - 1);
    cr_expect_float_eq(loss, mean_of(table, tokens.i32, CONTEXT - 1), 1e-6);
    cr_expect(lm_evaluate(&instance, parallel, (lm_measured){.tokens = all, .all = true}, &loss, &predicted,
                          &err) &&
              predicted == LENGTH - 1);
    cr_expect_float_eq(loss, mean_of(table, tokens.i32, LENGTH - 1), 1e-6);
    const lm_tokens single = lm_tokens_from(all, 0, 1);
    cr_expect_not(lm_evaluate(&instance, parallel, (lm_measured){.tokens = single, .all = true}, &loss,
                              &predicted, &err));
    cr_expect_str_eq(err.text, "this part of the text has 1 token; a loss needs 2 at least");
    nn_parallel_free(parallel);
}
