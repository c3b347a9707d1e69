/* What all optimizers share: PyTorch's values, groups, frozen parameters, their state in checkpoints. */
#include "sampo/nn.h"
#include "tests/nn/temporary.h"

TestSuite(optimizers, .init = setup, .fini = teardown);

enum { COUNT = 12, STEPS = 20 };

/* Any of them, behind one pair of functions. */
typedef struct optimizer {
    const char *name;
    bool (*init)(struct optimizer *o, nn_params *params, const nn_group *groups);
    bool (*step)(struct optimizer *o, nn_params *params);
    nn_state *state;
    double *rate;
    union {
        struct nn_sgd sgd;
        struct nn_adamw adamw;
        struct nn_rmsprop rmsprop;
        struct nn_adagrad adagrad;
        struct nn_lion lion;
        struct nn_muon muon;
    } as;
} optimizer;

/* NAME_init and NAME_step with options. */
#define OPTIMIZER(id, kind, ...)                                                                             \
    static bool init_##id(optimizer *o, nn_params *params, const nn_group *groups) {                         \
        o->state = &o->as.kind.state;                                                                        \
        o->rate = &o->as.kind.options.rate;                                                                  \
        return nn_##kind##_init(&o->as.kind, params,                                                         \
                                (nn_##kind##_options){__VA_ARGS__, .rate = 0.05, .groups = groups});         \
    }                                                                                                        \
    static bool step_##id(optimizer *o, nn_params *params) {                                                 \
        return nn_##kind##_step(&o->as.kind, params);                                                        \
    }
OPTIMIZER(sgd, sgd, .momentum = 0)
OPTIMIZER(sgd_decay, sgd, .decay = 0.1)
OPTIMIZER(sgd_momentum, sgd, .momentum = 0.8, .decay = 0.1)
OPTIMIZER(adamw, adamw, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1)
OPTIMIZER(adam, adamw, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay_in_gradient = true)
OPTIMIZER(adam_decay, adamw, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-8, .decay = 0.1,
          .decay_in_gradient = true)
OPTIMIZER(rmsprop, rmsprop, .alpha = 0.99, .eps = 1e-8)
OPTIMIZER(rmsprop_decay, rmsprop, .alpha = 0.9, .eps = 1e-3, .decay = 0.1)
OPTIMIZER(rmsprop_momentum, rmsprop, .alpha = 0.9, .eps = 1e-8, .decay = 0.1, .momentum = 0.5)
OPTIMIZER(adagrad, adagrad, .eps = 1e-10)
OPTIMIZER(adagrad_decay, adagrad, .eps = 1e-10, .rate_decay = 0.1, .decay = 0.1)
OPTIMIZER(lion, lion, .beta1 = 0.9, .beta2 = 0.99)
OPTIMIZER(lion_decay, lion, .beta1 = 0.8, .beta2 = 0.95, .decay = 0.1)
OPTIMIZER(muon, muon, .momentum = 0.9, .eps = 1e-7, .decay = 0.1)

static const optimizer all[] = {{"sgd", init_sgd, step_sgd},
                                {"sgd decay", init_sgd_decay, step_sgd_decay},
                                {"sgd momentum", init_sgd_momentum, step_sgd_momentum},
                                {"adamw", init_adamw, step_adamw},
                                {"adam", init_adam, step_adam},
                                {"adam decay", init_adam_decay, step_adam_decay},
                                {"rmsprop", init_rmsprop, step_rmsprop},
                                {"rmsprop decay", init_rmsprop_decay, step_rmsprop_decay},
                                {"rmsprop momentum", init_rmsprop_momentum, step_rmsprop_momentum},
                                {"adagrad", init_adagrad, step_adagrad},
                                {"adagrad decay", init_adagrad_decay, step_adagrad_decay},
                                {"lion", init_lion, step_lion},
                                {"lion decay", init_lion_decay, step_lion_decay},
                                {"muon", init_muon, step_muon}};
enum { OPTIMIZERS = sizeof all / sizeof all[0] };

static const struct {
    const char *name;
    double values[COUNT];
} expected[] = {
#include "tests/nn/optim_values.h"
};

enum {
    AVERAGES = 2
}; /* the last of them: the mean of the values after each step of SGD, and the moving average */

/* Three matrices with the numbers that make_optim.py has as well. */
static nn_params *registry(void) {
    nn_params *params = nn_params_new();
    nn_param(params, "one.weight", NN_ZEROS, TENSOR_SHAPE(2, 2));
    nn_param(params, "two.weight", NN_ZEROS, TENSOR_SHAPE(2, 2));
    nn_param(params, "two.more", NN_ZEROS, TENSOR_SHAPE(2, 2));
    cr_assert(nn_params_finalize(params, 1));
    for (int i = 0; i < COUNT; i++) nn_values(params).f32[i] = (float)(((37 * i + 11) % 61) / 30.0 - 1);
    return params;
}

static void steps(optimizer *o, nn_params *params, int begin, int end) {
    for (int step = begin; step < end; step++) {
        for (int i = 0; i < COUNT; i++)
            nn_grads(params).f32[i] = (float)(((53 * i + 17 * step + 5) % 71) / 35.0 - 1);
        cr_assert(o->step(o, params), "%s: %s", o->name, nn_params_error(params));
    }
}

Test(optimizers, have_the_values_of_pytorch) {
    cr_assert_eq(sizeof expected / sizeof expected[0], OPTIMIZERS - 1 + AVERAGES,
                 "all but Muon, which has a test of its own");
    for (int k = 0; k < OPTIMIZERS - 1; k++) {
        nn_params *params = registry();
        optimizer o = all[k];
        cr_assert_str_eq(o.name, expected[k].name);
        cr_assert(o.init(&o, params, NULL));
        steps(&o, params, 0, STEPS);
        for (int i = 0; i < COUNT; i++)
            cr_expect_float_eq(nn_values(params).f32[i], expected[k].values[i], 2e-6, "%s, number %d: %.9g",
                               o.name, i, (double)nn_values(params).f32[i]);
        cr_expect_eq(o.state->step, STEPS);
        nn_params_free(params);
    }
}

Test(optimizers, averages_have_the_values_of_pytorch) {
    static const double decays[AVERAGES] = {0, 0.9};
    for (int k = 0; k < AVERAGES; k++) {
        nn_params *params = registry();
        optimizer o = all[0];
        struct nn_average average;
        cr_assert(o.init(&o, params, NULL) && nn_average_init(&average, params, decays[k]));
        for (int step = 0; step < STEPS; step++) {
            steps(&o, params, step, step + 1);
            cr_assert(nn_average_add(&average, params));
        }
        nn_average_show(&average, params, true);
        for (int i = 0; i < COUNT; i++)
            cr_expect_float_eq(nn_values(params).f32[i], expected[OPTIMIZERS - 1 + k].values[i], 1e-6,
                               "%s, number %d: %.9g", expected[OPTIMIZERS - 1 + k].name, i,
                               (double)nn_values(params).f32[i]);
        nn_params_free(params);
    }
}

Test(optimizers, have_the_defaults_of_pytorch) {
    const nn_adamw_options adam = NN_ADAM_DEFAULTS;
    const nn_rmsprop_options rmsprop = NN_RMSPROP_DEFAULTS;
    const nn_adagrad_options adagrad = NN_ADAGRAD_DEFAULTS;
    const nn_lion_options lion = NN_LION_DEFAULTS;
    cr_expect(adam.rate == 1e-3 && adam.beta1 == 0.9 && adam.beta2 == 0.999 && adam.eps == 1e-8 &&
              adam.decay == 0 && adam.decay_in_gradient);
    cr_expect(rmsprop.rate == 1e-2 && rmsprop.alpha == 0.99 && rmsprop.eps == 1e-8 && rmsprop.momentum == 0);
    cr_expect(adagrad.rate == 1e-2 && adagrad.rate_decay == 0 && adagrad.eps == 1e-10);
    cr_expect(lion.rate == 1e-4 && lion.beta1 == 0.9 && lion.beta2 == 0.99 && lion.decay == 0);
}

/* A group with a rate of 0 leaves its parameters as they are, and so does freezing; the others do not notice. */
Test(optimizers, leave_out_groups_and_frozen_parameters) {
    static const nn_group groups[] = {{"two.*", 0}, {0}};
    for (int k = 0; k < OPTIMIZERS; k++)
        for (int way = 0; way < 2; way++) {
            nn_params *params = registry(), *whole = registry();
            optimizer o = all[k], same = all[k];
            float before[COUNT];
            memcpy(before, nn_values(params).f32, sizeof before);
            cr_assert(o.init(&o, params, way == 0 ? groups : NULL) && same.init(&same, whole, NULL));
            if (way == 1) cr_expect_eq(nn_freeze(params, "three two.*", true), 2);
            steps(&o, params, 0, 3);
            steps(&same, whole, 0, 3);
            cr_expect_eq(memcmp(nn_values(params).f32, nn_values(whole).f32, 4 * sizeof(float)), 0, "%s",
                         o.name);
            cr_expect_eq(memcmp(nn_values(params).f32 + 4, before + 4, 8 * sizeof(float)), 0, "%s", o.name);
            if (way == 1) {
                nn_freeze(params, "*", false);
                steps(&o, params, 3, 4);
                cr_expect_neq(nn_values(params).f32[5], before[5], "%s", o.name);
            }
            nn_params_free(params);
            nn_params_free(whole);
        }
}

/* A group's rate multiplies the optimizer's wherever that counts, in the decay as well. */
Test(optimizers, a_rate_of_a_group_is_one_of_the_optimizer) {
    static const nn_group half[] = {{"*", 0.5}, {0}};
    for (int k = 0; k < OPTIMIZERS; k++) {
        nn_params *params = registry(), *whole = registry();
        optimizer o = all[k], same = all[k];
        cr_assert(o.init(&o, params, half) && same.init(&same, whole, NULL));
        *same.rate /= 2;
        steps(&o, params, 0, 3);
        steps(&same, whole, 0, 3);
        cr_expect_eq(memcmp(nn_values(params).f32, nn_values(whole).f32, COUNT * sizeof(float)), 0, "%s",
                     o.name);
        nn_params_free(params);
        nn_params_free(whole);
    }
}

/* Half of the steps, saved and loaded, and the other half: the bits of all at once. */
Test(optimizers, go_on_from_a_checkpoint) {
    for (int k = 0; k < OPTIMIZERS; k++) {
        nn_params *params = registry(), *again = registry(), *whole = registry();
        optimizer o = all[k], resumed = all[k], same = all[k];
        struct nn_average mean, loaded;
        nn_entry entries[3 + 2 * NN_STATE_ENTRIES];
        tensor_error err = {0};
        cr_assert(o.init(&o, params, NULL) && resumed.init(&resumed, again, NULL) &&
                  same.init(&same, whole, NULL));
        cr_assert(nn_average_init(&mean, params, 0.9) && nn_average_init(&loaded, again, 0.9));
        for (int i = 0; i < 10; i++) {
            steps(&o, params, i, i + 1);
            cr_assert(nn_average_add(&mean, params));
        }
        if (k % 2) nn_average_show(&mean, params, true);
        int count = nn_params_list(params, entries);
        count += nn_state_list(o.state, entries + count);
        count += nn_state_list(&mean.state, entries + count);
        cr_assert(nn_file_save(path, entries, count, NULL, 0, &err), "%s", err.text);
        nn_file *file = nn_file_open(path, &err);
        cr_assert(file && nn_params_load(again, file, &err) && nn_state_load(resumed.state, file, &err) &&
                      nn_state_load(&loaded.state, file, &err),
                  "%s", err.text);
        nn_file_close(file);
        cr_expect_eq(loaded.state.shown, k % 2);
        nn_average_show(&loaded, again, false);
        nn_average_show(&mean, params, false);
        cr_expect_eq(memcmp(loaded.state.array[0].f32, mean.state.array[0].f32, COUNT * sizeof(float)), 0);
        cr_expect_eq(loaded.state.step, 10);
        steps(&resumed, again, 10, STEPS);
        steps(&same, whole, 0, STEPS);
        cr_expect_eq(memcmp(nn_values(again).f32, nn_values(whole).f32, COUNT * sizeof(float)), 0, "%s",
                     o.name);
        nn_params_free(params);
        nn_params_free(again);
        nn_params_free(whole);
    }
}

static void expect_refused(nn_state *state, const nn_entry *entries, int count, const char *text) {
    tensor_error err = {0};
    cr_assert(nn_file_save(path, entries, count, NULL, 0, NULL));
    nn_file *file = nn_file_open(path, NULL);
    cr_expect_not(nn_state_load(state, file, &err));
    cr_expect_str_eq(err.text, text);
    nn_file_close(file);
}

Test(optimizers, refuse_a_state_that_is_not_theirs) {
    nn_params *params = registry();
    optimizer o = all[3];
    float three[3] = {0};
    nn_entry entries[] = {{"optimizer.exp_avg", "F32", 1, {3}, three, sizeof three},
                          {"optimizer.exp_avg_sq", "F32", 1, {3}, three, sizeof three}};
    cr_assert(o.init(&o, params, NULL));
    expect_refused(o.state, entries, 2, "the tensor optimizer.exp_avg does not fit the parameters");
    o.state->names[0] = "critic.exp_avg";
    expect_refused(o.state, entries, 2, "the tensor critic.exp_avg does not fit the parameters");
    const int32_t whole[COUNT] = {0}; /* as many bytes of another type */
    const nn_entry integers[] = {{"critic.exp_avg", "I32", 1, {COUNT}, whole, sizeof whole},
                                 {"optimizer.exp_avg_sq", "I32", 1, {COUNT}, whole, sizeof whole}};
    expect_refused(o.state, integers, 2, "the tensor critic.exp_avg does not fit the parameters");
    const float each[COUNT] = {0};
    const nn_entry counted[] = {{"critic.exp_avg", "F32", 1, {COUNT}, each, sizeof each},
                                {"optimizer.exp_avg_sq", "F32", 1, {COUNT}, each, sizeof each},
                                {"optimizer.step", "F32", 0, {0}, each, sizeof *each}};
    expect_refused(o.state, counted, 3, "the tensor optimizer.step is no count of steps");
    const int32_t below = -1;
    const nn_entry negative[] = {
        counted[0], counted[1], {"optimizer.step", "I32", 0, {0}, &below, sizeof below}};
    expect_refused(o.state, negative, 3, "the tensor optimizer.step is no count of steps");
    cr_expect_eq(o.state->step, 0);
    nn_params *other = nn_params_new();
    nn_param(other, "a", NN_ONES, TENSOR_SHAPE(4));
    cr_assert(nn_params_finalize(other, 1) && tensor_ok(nn_grads(other)));
    cr_expect_not(o.step(&o, other));
    cr_expect_str_eq(nn_params_error(other),
                     "nn_adamw_step: its state is not of this model; nn_adamw_init makes it");
    nn_params_free(other);
    nn_params_free(params);
}

/* A file may have the largest count that there is; what goes on from it stays there, and no value is lost. */
Test(optimizers, count_no_further_than_they_can) {
    for (int k = 0; k < OPTIMIZERS; k++) {
        nn_params *params = registry();
        optimizer o = all[k];
        struct nn_average mean;
        cr_assert(o.init(&o, params, NULL) && nn_average_init(&mean, params, 0));
        o.state->step = mean.state.step = INT32_MAX;
        for (int i = 0; i < 3; i++) {
            steps(&o, params, i, i + 1);
            cr_assert(nn_average_add(&mean, params));
        }
        cr_expect_eq(o.state->step, INT32_MAX, "%s", o.name);
        cr_expect_eq(mean.state.step, INT32_MAX);
        cr_expect(nn_finite(params), "%s", o.name);
        nn_params_free(params);
    }
}

/* No gradient is computed for what is frozen, on one tape and over shards, and the others' do not change. */
static ag_var *frozen_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    nn_params *params = context;
    const int64_t rows = end - begin;
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(rows, 2));
    for (int64_t i = 0; i < 2 * rows; i++) x.f32[i] = (float)(2 * begin + i) / 7;
    ag_var *y = ag_input(tape, x);
    for (int i = 0; i < 3; i++) y = ag_tanh(ag_matmul(y, nn_params_at(params, i)));
    return ag_mean(y, AG_ALL, false);
}

Test(optimizers, frozen_parameters_have_no_gradient) {
    nn_params *params = registry(), *frozen = nn_params_new();
    nn_param(frozen, "one.weight", NN_ZEROS, TENSOR_SHAPE(2, 2));
    nn_param(frozen, "two.weight", NN_ZEROS, TENSOR_SHAPE(2, 2));
    cr_expect_eq(nn_freeze(frozen, "one.*", true), 1, "before it is finalized");
    nn_param(frozen, "two.more", NN_ZEROS, TENSOR_SHAPE(2, 2));
    nn_tie(frozen, "alias", nn_params_find(frozen, "two.weight"));
    cr_assert(nn_params_finalize(frozen, 1));
    memcpy(nn_values(frozen).f32, nn_values(params).f32, COUNT * sizeof(float));
    cr_expect_eq(nn_freeze(frozen, "alias", true), 1);
    cr_expect_eq(nn_freeze(frozen, "nobody", true), 0);
    nn_parallel *free_runs = nn_parallel_new(params), *frozen_runs = nn_parallel_new(frozen);
    double mean, same;
    tensor_fill(nn_grads(frozen), 7, NULL);
    cr_assert(nn_parallel_backward(free_runs, 5, frozen_loss, params, &mean, NULL));
    cr_assert(nn_parallel_backward(frozen_runs, 5, frozen_loss, frozen, &same, NULL));
    cr_expect_eq(mean, same);
    for (int i = 0; i < COUNT; i++)
        cr_expect_eq(nn_grads(frozen).f32[i], i < 8 ? 0 : nn_grads(params).f32[i], "number %d", i);
    nn_zero_grad(frozen);
    ag_tape *tape = ag_tape_new();
    cr_assert(nn_backward(frozen, frozen_loss(frozen, tape, 0, 5)), "%s", ag_error(tape));
    for (int i = 0; i < 8; i++) cr_expect_eq(nn_grads(frozen).f32[i], 0);
    cr_expect_neq(nn_grads(frozen).f32[9], 0);
    ag_reset(tape);
    nn_freeze(frozen, "*", true);
    cr_expect_not(nn_backward(frozen, frozen_loss(frozen, tape, 0, 5)));
    cr_expect(strstr(ag_error(tape), "depends on nothing that needs a gradient") != NULL);
    ag_tape_free(tape);
    nn_parallel_free(free_runs);
    nn_parallel_free(frozen_runs);
    nn_params_free(params);
    nn_params_free(frozen);
}

/* decay mean + (1 - decay) x, which begins with the first value. */
Test(optimizers, exponential_moving_average) {
    nn_params *params = registry();
    struct nn_average mean;
    double want[COUNT];
    cr_assert(nn_average_init(&mean, params, 0.75));
    for (int step = 0; step < 9; step++) {
        cr_assert(tensor_rand_normal(nn_values(params), &(tensor_rng){3, (uint64_t)step, 0}, 1, 2, NULL));
        for (int i = 0; i < COUNT; i++) {
            const double x = (double)nn_values(params).f32[i];
            want[i] = step ? 0.75 * want[i] + 0.25 * x : x;
        }
        cr_assert(nn_average_add(&mean, params));
    }
    nn_average_show(&mean, params, true);
    for (int i = 0; i < COUNT; i++) cr_expect_float_eq(nn_values(params).f32[i], want[i], 1e-6);
    nn_params_free(params);
}
