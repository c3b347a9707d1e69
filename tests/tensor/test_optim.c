/* Updates against their formulas in double. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(optim, .init = setup, .fini = teardown);

Test(optim, adamw_follows_its_formula) {
    static const int64_t sizes[] = {0, 1, 7, 15, 16, 17, 33, 257, 40000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s];
        tensor t[4];
        double *want = malloc((size_t)(3 * n + 1) * sizeof *want);
        for (int k = 0; k < 4; k++) {
            t[k] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 1, &n);
            test_fill(t[k], (uint64_t)k + 1, k == 2 ? 0 : -1, 1);
            for (int64_t i = 0; i < n && k < 3; i++) want[k * n + i] = (double)t[k].f32[i];
        }
        double *p = want, *m = want + n, *v = want + 2 * n;
        for (int step = 1; step <= 3; step++) {
            const double bias1 = 1 - pow(0.9, step), bias2 = 1 - pow(0.999, step);
            const tensor_update_step numbers = {.rate = 0.01f,
                                                .beta1 = 0.9f,
                                                .beta2 = 0.999f,
                                                .eps = 1e-3f,
                                                .decay = 0.1f,
                                                .bias1 = (float)bias1,
                                                .bias2 = (float)bias2};
            TEST_OK(tensor_update(TENSOR_UPDATE_ADAMW, t[0], t[1], t[2], t[3], &numbers, &err));
            for (int64_t i = 0; i < n; i++) {
                const double g = (double)t[3].f32[i];
                p[i] -= 0.01 * 0.1 * p[i];
                m[i] += (1 - 0.9) * (g - m[i]);
                v[i] += (1 - 0.999) * (g * g - v[i]);
                p[i] -= 0.01 / bias1 * m[i] / (sqrt(v[i] / bias2) + (double)1e-3f);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            test_close((double)t[0].f32[i], p[i], 3e-6, "p");
            test_close((double)t[1].f32[i], m[i], 1e-6, "m");
            test_close((double)t[2].f32[i], v[i], 1e-6, "v");
        }
        free(want);
        tensor_arena_reset(arena);
    }
}

/* A gradient whose square is no float: what PyTorch's AdamW makes of it and of the ones that follow. */
Test(optim, adamw_after_a_spike) {
    static const double want[] = {0.99899, 0.99830991, 0.99778193};
    tensor t[4];
    for (int k = 0; k < 4; k++) {
        t[k] = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1));
        *t[k].f32 = k == 0 ? 1 : k == 3 ? 1e20f : 0;
    }
    for (int step = 1; step <= 3; step++, *t[3].f32 = 1) {
        const tensor_update_step numbers = {.rate = 1e-3,
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .eps = 1e-8,
                                            .decay = 0.01,
                                            .bias1 = 1 - pow(0.9, step),
                                            .bias2 = 1 - pow(0.999, step)};
        TEST_OK(tensor_update(TENSOR_UPDATE_ADAMW, t[0], t[1], t[2], t[3], &numbers, &err));
        cr_assert_float_eq((double)*t[0].f32, want[step - 1], 1e-7, "step %d: %.9g", step, (double)*t[0].f32);
    }
}

/* A step of each rule by its formula; AdamW has a test of its own. */
static void formula(tensor_update_rule rule, const tensor_update_step *s, double *p, double *a, double *b,
                    double g) {
    const double h = g + s->decay * *p;
    switch (rule) {
    case TENSOR_UPDATE_SGD:
        *p -= s->rate * h;
        return;
    case TENSOR_UPDATE_MOMENTUM:
        *a = s->beta1 * *a + h;
        *p -= s->rate * *a;
        return;
    case TENSOR_UPDATE_ADAM:
        *a += (1 - s->beta1) * (h - *a);
        *b += (1 - s->beta2) * (h * h - *b);
        *p -= s->rate / s->bias1 * *a / (sqrt(*b / s->bias2) + s->eps);
        return;
    case TENSOR_UPDATE_RMSPROP:
    case TENSOR_UPDATE_RMSPROP_MOMENTUM:
        *a += (1 - s->beta2) * (h * h - *a);
        *b = (rule == TENSOR_UPDATE_RMSPROP ? 0 : s->beta1 * *b) + h / (sqrt(*a) + s->eps);
        *p -= s->rate * *b;
        return;
    case TENSOR_UPDATE_ADAGRAD:
        *a += h * h;
        *p -= s->rate * h / (sqrt(*a) + s->eps);
        return;
    default:
        *p -= s->rate * s->decay * *p + s->rate * (double)((s->beta1 * *a + (1 - s->beta1) * g > 0) * 2 - 1);
        *a += (1 - s->beta2) * (g - *a);
    }
}

Test(optim, every_rule_follows_its_formula) {
    static const int64_t sizes[] = {0, 1, 15, 16, 17, 33, 40000};
    const tensor_update_step step = {0.01, 0.9, 0.97, 1e-3, 0.1, 0.3, 0.2};
    for (int at = 0; at < 7 * TENSOR_UPDATE_COUNT; at++) {
        const tensor_update_rule rule = (tensor_update_rule)(at / 7);
        const int64_t n = sizes[at % 7];
        if (rule == TENSOR_UPDATE_ADAMW) continue;
        tensor t[4];
        double *want = malloc((size_t)(3 * n + 1) * sizeof *want);
        for (int k = 0; k < 4; k++) {
            t[k] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 1, &n);
            test_fill(t[k], (uint64_t)k + 1, k == 1 || k == 2 ? 0 : -1, 1);
            for (int64_t i = 0; i < n && k < 3; i++) want[k * n + i] = (double)t[k].f32[i];
        }
        for (int turn = 0; turn < 3; turn++) {
            TEST_OK(tensor_update(rule, t[0], t[1], t[2], t[3], &step, &err));
            for (int64_t i = 0; i < n; i++)
                formula(rule, &step, &want[i], &want[n + i], &want[2 * n + i], (double)t[3].f32[i]);
        }
        for (int64_t i = 0; i < n; i++) {
            test_close((double)t[0].f32[i], want[i], 3e-6, "p");
            if (tensor_update_states(rule) > 0) test_close((double)t[1].f32[i], want[n + i], 2e-6, "a");
            if (tensor_update_states(rule) > 1) test_close((double)t[2].f32[i], want[2 * n + i], 4e-6, "b");
        }
        free(want);
        tensor_arena_reset(arena);
    }
}

Test(optim, errors) {
    tensor p = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(4)),
           q = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(5));
    tensor stepped = test_view(arena, TENSOR_F32, VIEW_STEPPED, TENSOR_SHAPE(4));
    const tensor_update_step step = {.bias1 = 1, .bias2 = 1};
    TEST_FAILS(tensor_update(TENSOR_UPDATE_ADAMW, p, p, q, p, &step, &err), "adamw: b is [5], expected [4]");
    TEST_OK(tensor_update(TENSOR_UPDATE_LION, p, p, q, p, &step, &err));
    TEST_FAILS(tensor_update(TENSOR_UPDATE_ADAMW, p, p, p, stepped, &step, &err),
               "adamw: g is not contiguous");
}
