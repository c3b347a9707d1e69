/* Learning rates by iteration, and numbers that are no longer finite. */
#include "models/lm/train/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- Schedules --------------------------------------------------------------------------------- */

static double rate_of(nn_schedule_kind kind, int64_t i) {
    const nn_schedule schedule = {.kind = kind, .rate = 0.01, .lowest = 0.001, .warmup = 10, .end = 1010};
    return nn_schedule_rate(&schedule, i);
}

Test(schedule, follows_its_formula) {
    for (int64_t i = 0; i < 1200; i++) {
        double x = i < 1010 ? (double)(i - 10) / 1000 : 1, warm = 0.01 * (double)(i + 1) / 11;
        double linear = 0.01 + (0.001 - 0.01) * x, cosine = 0.001 + 0.009 * (1 + cos(acos(-1.0) * x)) / 2;
        cr_expect_float_eq(rate_of(NN_CONSTANT, i), i < 10 ? warm : 0.01, 1e-17, "%d", (int)i);
        cr_expect_float_eq(rate_of(NN_LINEAR_DECAY, i), i < 10 ? warm : linear, 1e-17, "%d", (int)i);
        cr_expect_float_eq(rate_of(NN_COSINE_DECAY, i), i < 10 ? warm : cosine, 1e-17, "%d", (int)i);
    }
}

Test(schedule, edges) {
    const nn_schedule plain = {.kind = NN_CONSTANT, .rate = 0.1};
    cr_expect_eq(nn_schedule_rate(&plain, 0), 0.1);
    cr_expect_eq(nn_schedule_rate(&plain, 1000000), 0.1);
    for (int kind = NN_LINEAR_DECAY; kind <= NN_COSINE_DECAY; kind++) {
        cr_expect_eq(rate_of((nn_schedule_kind)kind, 10), 0.01, "it begins at the rate");
        cr_expect_eq(rate_of((nn_schedule_kind)kind, 1010), 0.001, "it ends at the lowest");
        const nn_schedule late = {.kind = (nn_schedule_kind)kind, .rate = 1, .warmup = 20, .end = 10};
        cr_expect_eq(nn_schedule_rate(&late, 19), 20.0 / 21);
        cr_expect_eq(nn_schedule_rate(&late, 20), 0, "a warm-up that is longer than all");
    }
}

Test(schedule, stays_before_it_falls) {
    for (int kind = NN_LINEAR_DECAY; kind <= NN_COSINE_DECAY; kind++) {
        const nn_schedule late = {
            .kind = (nn_schedule_kind)kind, .rate = 2, .lowest = 1, .warmup = 4, .fall = 40, .end = 100};
        const nn_schedule alone = {.kind = late.kind, .rate = 2, .lowest = 1, .end = 60};
        for (int64_t i = 0; i < 120; i++)
            cr_expect_eq(nn_schedule_rate(&late, i),
                         i < 4    ? 2.0 * ((double)(i + 1) / 5)
                         : i < 40 ? 2
                                  : nn_schedule_rate(&alone, i - 40),
                         "%d", (int)i);
        nn_schedule early = late, warm = late;
        early.fall = 3, warm.fall = 0;
        for (int64_t i = 0; i < 120; i++) /* the warm-up comes first */
            cr_expect_eq(nn_schedule_rate(&early, i), nn_schedule_rate(&warm, i));
    }
}

/* The same bits everywhere: these are they. */
Test(schedule, bits) {
    cr_expect_eq(rate_of(NN_COSINE_DECAY, 260), 0x1.1c7dbb305ec5cp-7, "%a", rate_of(NN_COSINE_DECAY, 260));
    cr_expect_eq(rate_of(NN_COSINE_DECAY, 777), 0x1.1a2885b4264f8p-9, "%a", rate_of(NN_COSINE_DECAY, 777));
}

/* ---- What is no longer finite ------------------------------------------------------------------ */

enum { ROWS = 3, CONTEXT = 4, VOCABULARY = 5 };

typedef struct toy {
    struct nn_embedding table;
    struct nn_linear head;
} toy;

static ag_var *forward(const void *state, const lm_input *in) {
    const toy *m = state;
    return nn_linear(&m->head, ag_exp(nn_embedding(&m->table, in->ids)));
}

static toy self;
static const lm_model model = {.name = "toy", .self = &self, .forward = forward};
static tensor_error err;
static tensor_arena *arena;
static nn_params *params;
static lm_loss_context batch;
static char text[160];

static void setup(void) {
    arena = tensor_arena_new(&err);
    params = nn_params_new();
    nn_embedding_init(&self.table, params, "table", VOCABULARY, 6, 1);
    nn_linear_init(&self.head, params, "head", 6, VOCABULARY, NN_LINEAR_DEFAULTS);
    cr_assert(nn_params_finalize(params, 1));
    batch = (lm_loss_context){.model = &model};
    cr_assert(lm_batch_new(&batch.batch, ROWS, CONTEXT, arena, &err));
    for (int32_t i = 0; i < ROWS * CONTEXT; i++) /* row i has tokens i and i + 1 */
        batch.batch.ids.i32[i] = batch.batch.targets.i32[i] = i / CONTEXT + i % 2;
}

static void teardown(void) {
    nn_params_free(params);
    tensor_arena_free(arena);
}

TestSuite(finite, .init = setup, .fini = teardown);

Test(finite, all_is_well) {
    cr_expect(nn_finite(params));
    cr_expect_not(nn_find_not_finite(params, batch.batch.ids.shape[0], lm_loss, &batch, text, sizeof text));
}

Test(finite, a_parameter) {
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        self.head.bias->value.f32[3] = bad[i];
        cr_expect_not(nn_finite(params));
        cr_assert(nn_find_not_finite(params, batch.batch.ids.shape[0], lm_loss, &batch, text, sizeof text));
        cr_expect_str_eq(text, "the parameter head.bias");
    }
    self.table.weight->value.f32[29] = NAN;
    cr_assert(nn_find_not_finite(params, 0, NULL, NULL, text, sizeof text));
    cr_expect_str_eq(text, "the parameter table.weight", "the first of two");
}

Test(finite, large_is_finite) {
    cr_assert(tensor_fill(nn_values(params), 3e38, &err));
    cr_expect(nn_finite(params));
}

Test(finite, a_result) {
    for (int i = 0; i < 6; i++) self.table.weight->value.f32[2 * 6 + i] = 100; /* e^100 is too large */
    cr_assert(nn_find_not_finite(params, batch.batch.ids.shape[0], lm_loss, &batch, text, sizeof text));
    cr_expect_str_eq(text, "the result of exp in row 1 of the batch");
    for (int i = 0; i < 6; i++) self.table.weight->value.f32[2 * 6 + i] = 80;
    cr_assert(tensor_fill(self.head.weight->value, 1e38, &err));
    cr_assert(nn_find_not_finite(params, batch.batch.ids.shape[0], lm_loss, &batch, text, sizeof text));
    cr_expect_str_eq(text, "the result of linear with head.weight in row 0 of the batch");
}

Test(finite, a_gradient) {
    nn_grad(params, self.head.weight).f32[4] = NAN;
    cr_assert(nn_find_not_finite(params, batch.batch.ids.shape[0], lm_loss, &batch, text, sizeof text));
    cr_expect_str_eq(text, "the gradient of head.weight");
}
