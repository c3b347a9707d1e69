/* Optimizers against plain loops in double. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { COUNT = 1003, STEPS = 30 };

static nn_params *registry(void) {
    nn_params *params = nn_params_new();
    nn_param(params, "a", NN_NORMAL(1), TENSOR_SHAPE(COUNT - 3));
    nn_param(params, "b", NN_NORMAL(1), TENSOR_SHAPE(3));
    cr_assert(nn_params_finalize(params, 11));
    return params;
}

/* New gradients for a step. */
static void draw_gradients(nn_params *params, int step) {
    cr_assert(tensor_rand_normal(nn_grads(params), &(tensor_rng){7, (uint64_t)step, 0}, 0, 0.5f, NULL));
}

static void expect_values(const nn_params *params, const double *expected) {
    for (int i = 0; i < COUNT; i++)
        cr_assert_float_eq(nn_values(params).f32[i], expected[i], 2e-5, "number %d is %g, expected %g", i,
                           (double)nn_values(params).f32[i], expected[i]);
}

static void check_sgd(nn_sgd_options options) {
    nn_params *params = registry();
    struct nn_sgd o;
    cr_assert(nn_sgd_init(&o, params, options));
    cr_assert_eq(o.state.arrays, options.momentum != 0);
    static double p[COUNT], v[COUNT];
    for (int i = 0; i < COUNT; i++) p[i] = (double)nn_values(params).f32[i], v[i] = 0;
    for (int step = 0; step < STEPS; step++) {
        draw_gradients(params, step);
        for (int i = 0; i < COUNT; i++) {
            double g = (double)nn_grads(params).f32[i] + (double)options.decay * p[i];
            v[i] = (double)options.momentum * v[i] + g;
            p[i] -= (double)options.rate * v[i];
        }
        uint64_t version = nn_values(params).storage->version;
        float before = nn_grads(params).f32[5];
        cr_assert(nn_sgd_step(&o, params), "%s", nn_params_error(params));
        cr_assert_gt(nn_values(params).storage->version, version);
        cr_assert_eq(nn_grads(params).f32[5], before);
    }
    expect_values(params, p);
    nn_params_free(params);
}

Test(optim, sgd) {
    cr_assert_eq(NN_SGD_DEFAULTS.rate, 1e-3);
    check_sgd((nn_sgd_options){.rate = 0.1f});
    check_sgd((nn_sgd_options){.rate = 0.1f, .decay = 0.1f});
    check_sgd((nn_sgd_options){.rate = 0.05f, .momentum = 0.9f});
    check_sgd((nn_sgd_options){.rate = 0.05f, .momentum = 0.9f, .decay = 0.1f});
}

/* "a" is a matrix where the decay distinguishes. */
static nn_params *registry_with_matrix(void) {
    nn_params *params = nn_params_new();
    nn_param(params, "c", NN_NORMAL(1), TENSOR_SHAPE(3));
    nn_param(params, "d", NN_NORMAL(1), TENSOR_SHAPE(10));
    nn_param(params, "a", NN_NORMAL(1), TENSOR_SHAPE(11, 17));
    nn_tie(params, "alias", nn_params_find(params, "a"));
    nn_param(params, "e", NN_NORMAL(1), TENSOR_SHAPE(2, 5, 7));
    nn_param(params, "b", NN_NORMAL(1), TENSOR_SHAPE(COUNT - 270));
    cr_assert(nn_params_finalize(params, 11));
    cr_assert_eq(nn_params_count(params), COUNT);
    return params;
}

static void check_adamw(nn_adamw_options options) {
    nn_params *params = options.decay_matrices ? registry_with_matrix() : registry();
    struct nn_adamw o;
    cr_assert(nn_adamw_init(&o, params, options));
    static double p[COUNT], m[COUNT], v[COUNT];
    for (int i = 0; i < COUNT; i++) p[i] = (double)nn_values(params).f32[i], m[i] = v[i] = 0;
    double beta1 = (double)options.beta1, beta2 = (double)options.beta2;
    for (int step = 1; step <= STEPS; step++) {
        o.options.rate = options.rate / step; /* may change between steps */
        double rate = (double)o.options.rate;
        draw_gradients(params, step);
        for (int i = 0; i < COUNT; i++) {
            double g = (double)nn_grads(params).f32[i];
            bool decays = !options.decay_matrices || (i >= 13 && i < 270);
            if (decays) p[i] -= rate * (double)options.decay * p[i];
            m[i] += (1 - beta1) * (g - m[i]);
            v[i] += (1 - beta2) * (g * g - v[i]);
            p[i] -= rate * m[i] / (1 - pow(beta1, step)) /
                    (sqrt(v[i] / (1 - pow(beta2, step))) + (double)options.eps);
        }
        cr_assert(nn_adamw_step(&o, params), "%s", nn_params_error(params));
        cr_assert_eq(o.state.step, step);
    }
    expect_values(params, p);
    nn_params_free(params);
}

Test(optim, adamw) {
    nn_adamw_options defaults = NN_ADAMW_DEFAULTS;
    cr_assert(defaults.rate == 1e-3 && defaults.beta1 == 0.9 && defaults.beta2 == 0.999 &&
              defaults.eps == 1e-8 && defaults.decay == 0.01);
    check_adamw(defaults);
    check_adamw((nn_adamw_options){.rate = 0.1f, .beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f, .decay = 0.2f});
    check_adamw((nn_adamw_options){
        .rate = 0.1f, .beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f, .decay = 0.2f, .decay_matrices = true});
}

/* The first step of Adam moves every number by the rate, whatever its gradient. */
Test(optim, adamw_takes_a_first_step_of_the_rate) {
    nn_params *params = registry();
    struct nn_adamw o;
    cr_assert(nn_adamw_init(&o, params, (nn_adamw_options){.rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f}));
    float before = nn_values(params).f32[0];
    cr_assert(tensor_fill(nn_grads(params), 1e-3, NULL));
    cr_assert(nn_adamw_step(&o, params));
    cr_assert_float_eq(nn_values(params).f32[0], before - 0.01f, 1e-6);
    nn_params_free(params);
}

Test(optim, need_a_finalized_registry) {
    nn_params *params = nn_params_new();
    nn_param(params, "a", NN_ONES, TENSOR_SHAPE(4));
    struct nn_adamw o;
    cr_assert_not(nn_adamw_init(&o, params, NN_ADAMW_DEFAULTS));
    cr_assert_str_eq(nn_params_error(params), "nn_adamw_init: nn_params_finalize comes first");
    nn_params_free(params);
    params = nn_params_new();
    nn_param(params, "a", NN_ONES, TENSOR_SHAPE(4));
    struct nn_sgd sgd;
    cr_assert_not(nn_sgd_init(&sgd, params, NN_SGD_DEFAULTS));
    cr_assert_str_eq(nn_params_error(params), "nn_sgd_init: nn_params_finalize comes first");
    nn_params_free(params);
}

Test(optim, zero_grad) {
    nn_params *params = registry();
    draw_gradients(params, 1);
    nn_zero_grad(params);
    cr_assert_eq(tensor_sum_squares(nn_grads(params)), 0);
    nn_params_free(params);
}

Test(optim, clip_grad_norm) {
    nn_params *params = registry();
    draw_gradients(params, 1);
    double squares = 0;
    static float before[COUNT];
    memcpy(before, nn_grads(params).f32, sizeof before);
    for (int i = 0; i < COUNT; i++) squares += (double)before[i] * (double)before[i];
    double norm = sqrt(squares);

    cr_assert_float_eq(nn_clip_grad_norm(params, norm * 1.01), norm, norm * 1e-6);
    cr_assert(memcmp(before, nn_grads(params).f32, sizeof before) == 0,
              "small enough gradients stay as they are");

    cr_assert_float_eq(nn_clip_grad_norm(params, 1), norm, norm * 1e-6);
    double after = sqrt(tensor_sum_squares(nn_grads(params)));
    cr_assert(after <= 1 && after > 0.99999, "%.9f", after);
    cr_assert_float_eq(nn_grads(params).f32[9], (double)before[9] / norm, 1e-6);

    nn_zero_grad(params);
    cr_assert_eq(nn_clip_grad_norm(params, 1), 0);
    cr_assert_eq(tensor_sum_squares(nn_grads(params)), 0);
    nn_params_free(params);
}

/* Two models on one tape: each is trained by its own gradient alone. */
Test(optim, two_models_train_apart) {
    nn_params *one = nn_params_new(), *two = nn_params_new();
    ag_var *a = nn_param(one, "a", NN_ONES, 0, NULL), *b = nn_param(two, "b", NN_ONES, 0, NULL);
    cr_assert(nn_params_finalize(one, 1) && nn_params_finalize(two, 1));
    struct nn_adamw adamw;
    cr_assert(nn_adamw_init(&adamw, one, NN_ADAMW_DEFAULTS));
    cr_expect_not(nn_adamw_step(&adamw, one), "before there is a gradient");
    cr_expect_str_eq(nn_params_error(one),
                     "nn_adamw_step: there is no gradient; nn_backward(params, loss) computes it");
    ag_tape *tape = ag_tape_new();
    ag_var *loss = ag_mul(ag_affine(ag_use(tape, a), 3, 0), ag_affine(ag_use(tape, b), 5, 0));
    cr_assert(nn_backward(two, loss), "%s", ag_error(tape));
    cr_expect_eq(nn_grad(one, a).f32[0], 0);
    cr_expect_eq(nn_grad(two, b).f32[0], 15);
    cr_assert(nn_backward(two, loss));
    cr_expect_eq(nn_grad(two, b).f32[0], 30, "it is added");
    cr_expect_not(tensor_ok(nn_grad(one, b)), "no parameter of this model");
    nn_zero_grad(two);
    struct nn_sgd sgd;
    cr_assert(nn_sgd_init(&sgd, two, NN_SGD_DEFAULTS));
    cr_expect_not(nn_sgd_step(&sgd, two), "after nn_zero_grad there is no gradient");
    cr_expect_not(nn_backward(two, NULL));
    cr_expect_not(nn_sgd_step(&sgd, two), "after a failure there is none either");
    ag_tape *other = ag_tape_new();
    cr_expect_not(nn_backward(two, ag_ones(other, TENSOR_SHAPE(2))), "no scalar");
    cr_expect_not(nn_sgd_step(&sgd, two), "nor after one that begins and fails");
    ag_tape_free(other);
    cr_assert(nn_adamw_init(&adamw, two, NN_ADAMW_DEFAULTS));
    cr_assert(nn_backward(two, loss) && nn_sgd_step(&sgd, two) && nn_adamw_step(&adamw, two));
    cr_expect_not(nn_adamw_step(&(struct nn_adamw){.options = NN_ADAMW_DEFAULTS}, two), "without a state");
    ag_tape_free(tape);
    nn_params_free(one);
    nn_params_free(two);
}

/* The mean of several values takes their place and gives it back. */
Test(optim, average) {
    nn_params *params = registry();
    struct nn_average average;
    static double mean[COUNT];
    cr_assert(nn_average_init(&average, params, 0));
    nn_average_show(&average, params, true);
    cr_expect_not(average.state.shown, "before there is one");
    for (int step = 0; step < STEPS; step++) {
        cr_assert(tensor_rand_normal(nn_values(params), &(tensor_rng){3, (uint64_t)step, 0}, 1, 2, NULL));
        for (int i = 0; i < COUNT; i++) mean[i] += (double)nn_values(params).f32[i] / STEPS;
        cr_assert(nn_average_add(&average, params));
    }
    static float trained[COUNT];
    memcpy(trained, nn_values(params).f32, sizeof trained);
    const uint64_t version = nn_values(params).storage->version;
    nn_average_show(&average, params, true);
    nn_average_show(&average, params, true);
    cr_expect_gt(nn_values(params).storage->version, version);
    expect_values(params, mean);
    cr_expect_not(nn_average_add(&average, params), "while it is shown");
    nn_average_show(&average, params, false);
    cr_expect_eq(memcmp(trained, nn_values(params).f32, sizeof trained), 0);
    average.state.step = 0;
    nn_params *other = nn_params_new();
    nn_param(other, "a", NN_ONES, TENSOR_SHAPE(4));
    cr_expect_not(nn_average_init(&average, other, 0), "before nn_params_finalize");
    cr_expect_not(nn_average_add(&average, other), "of another model");
    nn_params_free(other);
    nn_params_free(params);
}
