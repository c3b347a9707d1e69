/* Numbers at the ends of what float32 holds: large logits, rows of one value, long sums, infinity and NaN, which go
 * through and never vanish. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_arena_free(arena);
}
TestSuite(extremes, .init = set_up, .fini = tear_down);

static tensor made(int rank, const int64_t *shape) {
    const tensor x = tensor_zeros(arena, TENSOR_F32, rank, shape, NULL);
    cr_assert(tensor_ok(x));
    return x;
}

/* ---- Softmax and losses ------------------------------------------------------------------------- */

/* Logits of +-1e4 and one of 1e9, in rows of every length about a vector's and a block's. */
Test(extremes, softmax_and_cross_entropy_of_large_logits) {
    static const int64_t lengths[] = {1, 2, 15, 16, 17, 51, 257, 1025, 5000};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const int64_t n = lengths[k], top = n / 2;
        const tensor x = made(TENSOR_SHAPE(2, n)), y = made(TENSOR_SHAPE(2, n)),
                     losses = made(TENSOR_SHAPE(2)), lse = made(TENSOR_SHAPE(2)),
                     targets = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(2), NULL);
        for (int64_t i = 0; i < 2 * n; i++) x.f32[i] = i % 2 ? 1e4f : -1e4f;
        x.f32[n + top] = 1e9f;
        targets.i32[1] = (int32_t)top;
        TEST_OK(tensor_softmax(y, x, 1, &err));
        for (int64_t i = 0; i < n; i++) {
            const double first = n == 1 ? 1 : i % 2 ? 1 / (double)(n / 2) : 0;
            cr_assert(fabs((double)y.f32[i] - first) <= 1e-6, "%g of %lld", (double)y.f32[i], (long long)n);
            cr_assert_eq(y.f32[n + i], i == top);
        }
        TEST_OK(tensor_log_softmax(y, x, 1, &err));
        cr_expect_eq(y.f32[n + top], 0);
        for (int64_t i = 0; i < 2 * n; i++) cr_assert(y.f32[i] <= 0 && isfinite(y.f32[i]));
        TEST_OK(tensor_cross_entropy_rows(losses, lse, x, targets, -1, &err));
        cr_expect(fabsf(losses.f32[0] - (n == 1 ? 0 : 2e4f + logf((float)(n / 2)))) <= 0.01f);
        cr_expect(losses.f32[1] == 0 && lse.f32[1] == 1e9f);
    }
}

/* A row whose largest logit is infinite: what it is made of shows. */
Test(extremes, infinity_and_nan_in_rows) {
    const float values[][3] = {
        {INFINITY, 0, 1}, {-INFINITY, -INFINITY, -INFINITY}, {NAN, 0, 1}, {0, -INFINITY, 0}};
    for (int64_t n = 3; n < 2000; n = 3 * n) {
        const tensor x = made(TENSOR_SHAPE(4, n)), y = made(TENSOR_SHAPE(4, n)),
                     sum = made(TENSOR_SHAPE(4, 1));
        for (int64_t i = 0; i < 4 * n; i++) x.f32[i] = values[i / n][i % n % 3];
        TEST_OK(tensor_log_sum_exp(sum, x, 1, &err));
        cr_expect_eq(sum.f32[0], INFINITY);
        cr_expect_eq(sum.f32[1], -INFINITY);
        cr_expect(isnan(sum.f32[2]));
        cr_expect(fabsf(sum.f32[3] - logf((float)(2 * n / 3))) < 1e-5f);
        TEST_OK(tensor_softmax(y, x, 1, &err));
        cr_expect(isnan(y.f32[0]) && isnan(y.f32[2 * n]) && isnan(y.f32[2 * n + 1]));
        cr_expect(y.f32[3 * n + 1] == 0 && fabsf(y.f32[3 * n] * (float)(2 * n / 3) - 1) < 1e-5f);
    }
}

/* ---- Attention -------------------------------------------------------------------------------- */

/* Later tiles of keys have ever larger scores, so that what was summed shrinks to nothing each time. Also with one
 * query, which has code of its own, and all of it again with the large keys first. */
Test(extremes, attention_whose_later_keys_are_far_larger) {
    enum { KEYS = 300, D = 4 };
    static const float scales[] = {0.01f, 1, 100, 1e4f, 1e9f};
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++)
        for (int turned = 0; turned < 2; turned++)
            for (int64_t queries = 1; queries < 80; queries += 39) {
                const tensor q = made(TENSOR_SHAPE(1, 1, queries, D)),
                             y = made(TENSOR_SHAPE(1, 1, queries, D)),
                             keys = made(TENSOR_SHAPE(1, 1, KEYS, D)), v = made(TENSOR_SHAPE(1, 1, KEYS, D));
                for (int64_t i = 0; i < queries; i++) q.f32[i * D] = 1;
                test_fill(v, 1, -1, 1);
                for (int64_t j = 0; j < KEYS; j++)
                    keys.f32[j * D] = scales[k] * (float)(turned ? KEYS - j : j) / KEYS;
                const tensor_attention_options options = {.scale = 1};
                TEST_OK(tensor_attention(y, (tensor){0}, q, keys, v, &options, &err));
                const double top = (double)keys.f32[turned ? 0 : (KEYS - 1) * D];
                for (int64_t c = 0; c < D; c++) {
                    double sum = 0, total = 0;
                    for (int64_t j = 0; j < KEYS; j++) {
                        const double p = exp((double)keys.f32[j * D] - top);
                        sum += p * (double)v.f32[j * D + c];
                        total += p;
                    }
                    for (int64_t i = 0; i < queries; i++)
                        test_close((double)y.f32[i * D + c], sum / total, 2e-5, "attention");
                }
            }
}

/* ---- Norms, sums ------------------------------------------------------------------------------ */

/* Rows of one value have a deviation of 0, and huge ones still their order, while the sum of their squares is below
 * 3e38. */
Test(extremes, layer_norm_of_constant_and_huge_rows) {
    for (int64_t n = 1; n < 3000; n = 3 * n + 1) {
        const tensor x = made(TENSOR_SHAPE(2, n)), y = made(TENSOR_SHAPE(2, n)), none = {0};
        for (int64_t i = 0; i < n; i++) x.f32[i] = 3.3f, x.f32[n + i] = 1e15f;
        TEST_OK(tensor_layer_norm(y, none, x, none, none, 1e-5f, &err));
        for (int64_t i = 0; i < 2 * n; i++)
            cr_assert(y.f32[i] == 0, "a row of %lld has %g", (long long)n, (double)y.f32[i]);
        x.f32[0] = NAN;
        TEST_OK(tensor_layer_norm(y, none, x, none, none, 1e-5f, &err));
        for (int64_t i = 0; i < n; i++) cr_assert(isnan(y.f32[i]));
    }
}

/* The mean is a rounded one, whose error shows in what is left of these rows. */
Test(extremes, layer_norm_of_rows_that_hardly_vary) {
    for (int64_t n = 10; n < 5000; n = 2 * n + 7) {
        const tensor x = made(TENSOR_SHAPE(1, n)), y = made(TENSOR_SHAPE(1, n)),
                     stats = made(TENSOR_SHAPE(1, 2)), none = {0};
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; i++)
            x.f32[i] = 1234567 + 0.125f * (float)(i % 7), mean += (double)x.f32[i] / (double)n;
        for (int64_t i = 0; i < n; i++) variance += pow((double)x.f32[i] - mean, 2) / (double)n;
        TEST_OK(tensor_layer_norm(y, stats, x, none, none, 0, &err));
        test_close((double)stats.f32[1] * sqrt(variance), 1, 1e-6, "one over the deviation");
    }
}

enum { LAYER, RMS, BATCH, GROUP, COLUMNS, NORMS };

/* y and dx, for a dy of 1 at the front, of one row of n numbers, by each norm. */
static void normalise(int which, int64_t n, tensor x, tensor y, tensor dx) {
    const int64_t groups = which == GROUP;
    const tensor one = made(TENSOR_SHAPE(1)), zero = made(TENSOR_SHAPE(1)), none = {0},
                 row = made(TENSOR_SHAPE(1, 2)), sets = made(TENSOR_SHAPE(3, 1)),
                 dy = made(TENSOR_SHAPE(1, n));
    *one.f32 = *dy.f32 = 1;
    if (which == LAYER) {
        TEST_OK(tensor_layer_norm(y, row, x, none, none, 1e-5f, &err));
        TEST_OK(tensor_layer_norm_vjp(dx, none, none, dy, x, none, row, false, &err));
    } else if (which == RMS) {
        TEST_OK(tensor_rms_norm(y, row, x, none, 1e-5f, &err));
        TEST_OK(tensor_rms_norm_vjp(dx, none, dy, x, none, row, false, &err));
    } else {
        const int64_t shape[] = {which == COLUMNS ? n : 1, 1, which == COLUMNS ? 1 : n};
        const tensor a = tensor_reshape(x, 3, shape, NULL), b = tensor_reshape(y, 3, shape, NULL),
                     da = tensor_reshape(dx, 3, shape, NULL), db = tensor_reshape(dy, 3, shape, NULL);
        TEST_OK(tensor_channel_norm(b, sets, a, one, zero, groups, 1e-5f, &err));
        TEST_OK(tensor_channel_norm_vjp(da, none, none, db, a, one, sets, groups, false,
                                        made(TENSOR_SHAPE(4 * n + 2)), &err));
    }
}

/* Where squares or their sums are too large for float32, too. Scaled by s, a row has the same result, and 1 / s of the
 * gradient. */
Test(extremes, norms_of_huge_rows) {
    static const int64_t lengths[] = {2, 16, 34, 1024, 2050};
    for (int which = 0; which < NORMS; which++)
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            for (int exponent = 10; exponent <= 38; exponent++) {
                const int64_t n = lengths[k];
                const float huge = powf(10, (float)exponent),
                            slope = 1 - (which == RMS ? 1.f : 2.f) / (float)n;
                const tensor x = made(TENSOR_SHAPE(1, n)), y = made(TENSOR_SHAPE(1, n)),
                             dx = made(TENSOR_SHAPE(1, n));
                for (int64_t i = 0; i < n; i++) x.f32[i] = i % 2 ? -huge : huge;
                normalise(which, n, x, y, dx);
                for (int64_t i = 0; i < n; i++)
                    cr_assert(fabsf(y.f32[i] - (i % 2 ? -1.f : 1.f)) < 1e-5f, "norm %d of %lld at 1e%d: %g",
                              which, (long long)n, exponent, (double)y.f32[i]);
                cr_assert(fabsf(dx.f32[0] * huge - slope) < 1e-5f, "norm %d of %lld at 1e%d: %g", which,
                          (long long)n, exponent, (double)(dx.f32[0] * huge));
                x.f32[n / 2] = INFINITY;
                normalise(which, n, x, y, dx);
                cr_assert(isnan(y.f32[n / 2]), "norm %d of %lld: %g", which, (long long)n,
                          (double)y.f32[n / 2]);
            }
}

/* Along rows that are all the same memory, and along columns. */
Test(extremes, a_sum_of_a_hundred_million) {
    const tensor one = made(TENSOR_SHAPE(1, 10000)), sum = made(TENSOR_SHAPE(1, 1));
    for (int64_t i = 0; i < 10000; i++) one.f32[i] = 0.1f;
    const tensor x = tensor_expand(one, TENSOR_SHAPE(10000, 10000), NULL);
    TEST_OK(tensor_reduce(sum, TENSOR_SUM, x, 3, false, &err));
    test_close((double)*sum.f32, 1e8 * (double)0.1f, 1e-6, "sum");
    const tensor column = tensor_transpose(x, 0, 1, NULL), sums = made(TENSOR_SHAPE(10000, 1));
    TEST_OK(tensor_reduce(sums, TENSOR_SUM, column, 2, false, &err));
    for (int64_t i = 0; i < 10000; i++) cr_assert(fabsf(sums.f32[i] - 1000) < 1e-3f);
}

Test(extremes, nan_goes_through_every_function_and_reduction) {
    for (int64_t n = 1; n < 1200; n = 3 * n + 1)
        for (int64_t at = 0; at < n; at += n / 5 + 1) {
            const tensor x = made(TENSOR_SHAPE(n)), y = made(TENSOR_SHAPE(n)), all = made(TENSOR_SHAPE(1));
            for (int64_t i = 0; i < n; i++) x.f32[i] = 0.5f;
            x.f32[at] = NAN;
            for (int op = 0; op < TENSOR_UNARY_COUNT; op++) {
                TEST_OK(tensor_unary(y, (tensor_unary_op)op, x, &err));
                cr_assert(isnan(y.f32[at]), "%s", tensor_unary_name((tensor_unary_op)op));
            }
            for (int op = 0; op < TENSOR_REDUCE_COUNT; op++) {
                TEST_OK(tensor_reduce(all, (tensor_reduce_op)op, x, 1, false, &err));
                cr_assert(isnan(*all.f32), "reduction %d of %lld", op, (long long)n);
            }
        }
}
