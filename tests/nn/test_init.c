/* Initialisers by their statistics; schedules by their formulas. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* One parameter in the registry of its own. */
static const float *filled(nn_params **params, nn_init init, uint64_t seed, int rank, const int64_t *shape) {
    *params = nn_params_new();
    nn_param(*params, "w", init, rank, shape);
    cr_assert(nn_params_finalize(*params, seed), "%s", nn_params_error(*params));
    return nn_values(*params).f32;
}

/* Mean 0 and a deviation, within five standard errors, and no number beyond a bound (0: none), but some near to it. */
static void expect_spread(nn_init init, int rank, const int64_t *shape, double deviation, double bound) {
    nn_params *params;
    const float *x = filled(&params, init, 3, rank, shape);
    const int64_t n = nn_params_count(params);
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        sum += v, squares += v * v;
        largest = fmax(largest, fabs(v));
    }
    const double error = 5 / sqrt((double)n);
    cr_expect_lt(fabs(sum / (double)n), error * deviation, "kind %d: mean %g", (int)init.kind,
                 sum / (double)n);
    cr_expect_lt(fabs(sqrt(squares / (double)n) / deviation - 1), error, "kind %d: deviation %g, expected %g",
                 (int)init.kind, sqrt(squares / (double)n), deviation);
    if (bound > 0)
        cr_expect(largest <= bound && largest > 0.98 * bound, "kind %d: %g", (int)init.kind, largest);
    nn_params_free(params);
}

Test(init, has_its_spread) {
    const int64_t matrix[] = {60, 100}, kernel[] = {32, 16, 3, 3};
    expect_spread(NN_TRUNCATED_NORMAL(0.5), 2, matrix, 0.5 * 0.879626, 1);
    expect_spread(NN_XAVIER_UNIFORM(2), 2, matrix, 2 * sqrt(2.0 / 160), 2 * sqrt(6.0 / 160));
    expect_spread(NN_XAVIER_NORMAL(1), 2, matrix, sqrt(2.0 / 160), 0);
    expect_spread(NN_KAIMING_UNIFORM(NN_GAIN_RELU, NN_FAN_IN), 2, matrix, sqrt(2.0 / 60), sqrt(6.0 / 60));
    expect_spread(NN_KAIMING_NORMAL(1, NN_FAN_OUT), 2, matrix, sqrt(1.0 / 100), 0);
    expect_spread(NN_KAIMING_NORMAL(NN_GAIN_RELU, NN_FAN_IN), 4, kernel, sqrt(2.0 / (16 * 9)), 0);
    expect_spread(NN_KAIMING_NORMAL(NN_GAIN_TANH, NN_FAN_OUT), 4, kernel, 5.0 / 3 / sqrt(32 * 9), 0);
    expect_spread(NN_XAVIER_UNIFORM(1), 4, kernel, sqrt(2.0 / (48 * 9)), sqrt(6.0 / (48 * 9)));
}

/* The fan of a linear layer is the same however it stores its weight. */
Test(init, knows_the_layout_of_a_linear_layer) {
    nn_params *params = nn_params_new();
    struct nn_linear a, b;
    nn_linear_init(&a, params, "a", 400, 25, NN_LINEAR_DEFAULTS);
    nn_linear_init(&b, params, "b", 400, 25, (nn_linear_options){.out_in = true});
    cr_expect_eq(nn_set_init(params, "*.weight", NN_KAIMING_UNIFORM(1, NN_FAN_IN)), 2);
    cr_assert(nn_params_finalize(params, 1));
    for (int i = 0; i < 2; i++) {
        const tensor w = (i ? b.weight : a.weight)->value;
        float largest = 0;
        for (int k = 0; k < 10000; k++) largest = fmaxf(largest, fabsf(w.f32[k]));
        cr_expect(largest <= sqrtf(3.0f / 400) && largest > 0.99f * sqrtf(3.0f / 400));
    }
    nn_params_free(params);
}

/* w w^T or w^T w is gain^2 times the identity. */
static void expect_orthogonal(int rank, const int64_t *shape, double gain) {
    nn_params *params;
    const float *w = filled(&params, NN_ORTHOGONAL(gain), 5, rank, shape);
    const int64_t rows = shape[0], columns = nn_params_count(params) / rows;
    const bool by_rows = rows <= columns;
    const int64_t count = by_rows ? rows : columns, n = by_rows ? columns : rows;
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j <= i; j++) {
            double dot = 0;
            for (int64_t k = 0; k < n; k++)
                dot += (double)(by_rows ? w[i * columns + k] : w[k * columns + i]) *
                       (double)(by_rows ? w[j * columns + k] : w[k * columns + j]);
            cr_expect_float_eq(dot, i == j ? gain * gain : 0, 1e-6, "%d, %d: %g", (int)i, (int)j, dot);
        }
    nn_params_free(params);
}

Test(init, orthogonal) {
    expect_orthogonal(2, (const int64_t[]){30, 30}, 1);
    expect_orthogonal(2, (const int64_t[]){7, 40}, 1.5);
    expect_orthogonal(2, (const int64_t[]){40, 7}, 1);
    expect_orthogonal(4, (const int64_t[]){8, 3, 3, 3}, 1);
    expect_orthogonal(2, (const int64_t[]){1, 1}, 1);
    double sum = 0;
    int positive = 0;
    for (uint64_t seed = 0; seed < 400; seed++) { /* no direction is likelier */
        nn_params *params;
        const float *w = filled(&params, NN_ORTHOGONAL(1), seed, 2, (const int64_t[]){3, 3});
        sum += (double)w[0];
        positive += w[0] * (w[4] * w[8] - w[5] * w[7]) - w[1] * (w[3] * w[8] - w[5] * w[6]) +
                        w[2] * (w[3] * w[7] - w[4] * w[6]) >
                    0;
        nn_params_free(params);
    }
    cr_expect_lt(fabs(sum / 400), 5 / sqrt(3 * 400.0));
    cr_expect_lt(abs(positive - 200), 50, "rotations and reflections");
}

Test(init, is_a_function_of_the_seed) {
    static const nn_init all[] = {
        {NN_INIT_TRUNCATED, 0, 1}, {NN_INIT_XAVIER_NORMAL, 1, 0}, {NN_INIT_ORTHOGONAL, 1, 0}};
    for (int k = 0; k < 3; k++) {
        nn_params *params[3];
        const float *x = filled(&params[0], all[k], 1, 2, (const int64_t[]){9, 9}),
                    *y = filled(&params[1], all[k], 1, 2, (const int64_t[]){9, 9}),
                    *z = filled(&params[2], all[k], 2, 2, (const int64_t[]){9, 9});
        cr_expect_eq(memcmp(x, y, 81 * sizeof *x), 0);
        cr_expect_neq(memcmp(x, z, 81 * sizeof *x), 0);
        for (int i = 0; i < 3; i++) nn_params_free(params[i]);
    }
    nn_params *params = nn_params_new();
    nn_param(params, "bias", NN_XAVIER_NORMAL(1), TENSOR_SHAPE(3));
    cr_expect_not(nn_params_finalize(params, 1));
    cr_expect_str_eq(nn_params_error(params),
                     "bias: a parameter of rank 1 has no fan; an initialiser without one is possible");
    nn_params_free(params);
}

/* ---- Schedules ---------------------------------------------------------------------------------- */

Test(schedule, one_cycle) {
    const double pi = 3.14159265358979323846;
    const nn_schedule s = {
        .kind = NN_ONE_CYCLE, .rate = 0.1, .first = 0.004, .lowest = 4e-7, .warmup = 29, .end = 99};
    for (int i = 0; i < 120; i++) { /* torch's OneCycleLR with 100 steps of which 0.3 go up */
        const double x = i < 29   ? i / 29.0
                         : i < 99 ? (i - 29) / 70.0
                                  : 1,
                     from = i < 29 ? 0.004 : 0.1, to = i < 29 ? 0.1 : 4e-7;
        cr_expect_float_eq(nn_schedule_rate(&s, i), to + (from - to) / 2 * (1 + cos(pi * x)), 1e-15,
                           "step %d", i);
    }
}

Test(schedule, steps) {
    const nn_schedule s = {.kind = NN_STEP_DECAY, .rate = 2, .warmup = 3, .factor = 0.5, .every = 10};
    cr_expect_eq(nn_schedule_rate(&s, 0), 0.5);
    for (int i = 3; i < 50; i++)
        cr_expect_eq(nn_schedule_rate(&s, i), 2 * pow(0.5, (i - 3) / 10), "step %d", i);
    cr_expect_eq(nn_schedule_rate(&(nn_schedule){.kind = NN_STEP_DECAY, .rate = 2}, 7), 2);
    const nn_schedule endless = {.kind = NN_CONSTANT, .rate = 2, .warmup = INT64_MAX};
    cr_expect_gt(nn_schedule_rate(&endless, 0), 0);
    cr_expect_gt(nn_schedule_rate(&endless, 1000), nn_schedule_rate(&endless, 999));
}

/* Steps far apart: no difference of them overflows. */
Test(schedule, ends_far_apart) {
    for (nn_schedule_kind kind = NN_LINEAR_DECAY; kind <= NN_ONE_CYCLE; kind++) {
        const nn_schedule s = {.kind = kind,
                               .rate = 2,
                               .warmup = INT64_MIN,
                               .fall = INT64_MIN,
                               .end = INT64_MAX,
                               .factor = 0.5,
                               .every = INT64_MAX / 2};
        cr_expect_eq(nn_schedule_rate(&s, 0), 2);
        const double late = nn_schedule_rate(&s, INT64_MAX - 1);
        cr_expect(late >= 0 && late <= 0.5, "kind %d: %g", (int)kind, late);
    }
}

Test(schedule, warm_up_stable_decay) {
    const nn_schedule s = {.kind = NN_LINEAR_DECAY, .rate = 1, .warmup = 4, .fall = 80, .end = 100};
    cr_expect_eq(nn_schedule_rate(&s, 3), 0.8);
    cr_expect_eq(nn_schedule_rate(&s, 4), 1);
    cr_expect_eq(nn_schedule_rate(&s, 80), 1);
    cr_expect_eq(nn_schedule_rate(&s, 95), 0.25);
    cr_expect_eq(nn_schedule_rate(&s, 100), 0);
}
