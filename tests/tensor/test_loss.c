/* Softmax cross-entropy and its gradient, against the formula in double. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(loss, .init = setup, .fini = teardown);

enum { ROWS = 39 }; /* more than the kernels take at once */

static void make(int kind, int64_t n, tensor *logits, tensor *targets, tensor *lse) {
    *logits = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(3, ROWS / 3, n));
    *targets = test_view(arena, TENSOR_I32, kind, TENSOR_SHAPE(3, ROWS / 3));
    *lse = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(ROWS));
    test_fill(*logits, 8, -9, 9);
    for (int64_t i = 0; i < ROWS; i++) *test_int_at(*targets, i) = (int32_t)(i * 7919 % n);
}

static double exact_lse(tensor logits, int64_t row, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += exp((double)*test_at(logits, row * n + j));
    return log(sum);
}

static const int64_t sizes[] = {1, 7, 15, 16, 17, 33, 257, 300, 4100};
enum { SIZES = sizeof sizes / sizeof *sizes };

Test(loss, value_and_gradient_in_every_layout) {
    for (int s = 0; s < SIZES; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            const int64_t n = sizes[s];
            tensor logits, targets, lse, loss = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
            make(kind, n, &logits, &targets, &lse);
            TEST_OK(tensor_cross_entropy(loss, lse, logits, targets, &err));
            tensor d = test_view(arena, TENSOR_F32, (kind + 1) % VIEW_WRITABLE, 3, logits.shape);
            const bool accumulate = s % 2 == 0;
            const double before = accumulate ? 0.25 : 0;
            TEST_OK(tensor_fill(d, accumulate ? 0.25 : NAN, &err) &&
                    tensor_cross_entropy_vjp(d, 0.5f, lse, logits, targets, accumulate, &err));
            double total = 0;
            for (int64_t r = 0; r < ROWS; r++) {
                const double l = exact_lse(logits, r, n);
                const int64_t target = *test_int_at(targets, r);
                test_close((double)*test_at(lse, r), l, 1e-6, "lse");
                total += l - (double)*test_at(logits, r * n + target);
                for (int64_t j = 0; j < n; j++) {
                    const double p = exp((double)*test_at(logits, r * n + j) - l);
                    test_close((double)*test_at(d, r * n + j), before + 0.5 * (p - (j == target)), 1e-6,
                               "dlogits");
                }
            }
            test_close((double)*loss.f32, total / ROWS, 1e-6, "loss");
            tensor_arena_reset(arena);
        }
}

/* Each row with a scale of its own; one target is ignored. */
Test(loss, rows_in_every_layout) {
    for (int s = 1; s < SIZES; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            const int64_t n = sizes[s];
            const int32_t ignored = kind % 2 ? -100 : 3;
            tensor logits, targets, lse,
                losses = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3, ROWS / 3)),
                scales = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3, ROWS / 3));
            make(kind, n, &logits, &targets, &lse);
            for (int64_t r = 4; r < ROWS; r += 9) *test_int_at(targets, r) = ignored;
            test_fill(scales, 2, -1, 1);
            TEST_OK(tensor_cross_entropy_rows(losses, lse, logits, targets, ignored, &err));
            tensor d = test_view(arena, TENSOR_F32, (kind + 1) % VIEW_WRITABLE, 3, logits.shape);
            TEST_OK(tensor_cross_entropy_rows_vjp(d, scales, lse, logits, targets, ignored, false, &err));
            for (int64_t r = 0; r < ROWS; r++) {
                const double l = exact_lse(logits, r, n);
                const int32_t target = *test_int_at(targets, r);
                const bool counts = target != ignored;
                test_close((double)losses.f32[r], counts ? l - (double)*test_at(logits, r * n + target) : 0,
                           1e-6, "losses");
                for (int64_t j = 0; j < n; j++) {
                    const double p = exp((double)*test_at(logits, r * n + j) - l);
                    const double slope = counts ? p - (j == target) : 0;
                    test_close((double)*test_at(d, r * n + j), (double)scales.f32[r] * slope, 1e-6,
                               "dlogits");
                }
            }
            tensor_arena_reset(arena);
        }
}

Test(loss, threads_do_not_change_the_bits) {
    enum { MANY = 9000, N = 9 };
    const tensor logits = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(MANY, N)),
                 targets = test_view(arena, TENSOR_I32, VIEW_PLAIN, TENSOR_SHAPE(MANY)),
                 scales = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(MANY));
    tensor results[2][6];
    test_fill(logits, 8, -9, 9), test_fill(scales, 2, -1, 1);
    for (int32_t i = 0; i < MANY; i++) targets.i32[i] = i * 7919 % N;
    for (int i = 0; i < 2; i++) {
        tensor *r = results[i];
        cr_assert(tensor_set_threads(i == 0 ? 1 : 3, NULL));
        r[0] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
        for (int k = 1; k < 4; k++) r[k] = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(MANY));
        for (int k = 4; k < 6; k++) r[k] = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(MANY, N));
        TEST_OK(tensor_cross_entropy(r[0], r[1], logits, targets, &err) &&
                tensor_cross_entropy_rows(r[2], r[3], logits, targets, 3, &err) &&
                tensor_cross_entropy_vjp(r[4], 0.5f, r[1], logits, targets, false, &err) &&
                tensor_cross_entropy_rows_vjp(r[5], scales, r[3], logits, targets, 3, false, &err));
    }
    for (int k = 0; k < 6; k++)
        cr_expect_arr_eq(results[0][k].data, results[1][k].data,
                         (size_t)tensor_size(results[0][k]) * sizeof(float), "result %d", k);
}

Test(loss, extreme_logits) {
    tensor logits = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 3));
    tensor targets = test_view(arena, TENSOR_I32, VIEW_PLAIN, TENSOR_SHAPE(1));
    tensor lse = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1)),
           loss = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
    logits.f32[0] = 1000, logits.f32[1] = -1000, logits.f32[2] = -INFINITY;
    TEST_OK(tensor_cross_entropy(loss, lse, logits, targets, &err));
    cr_assert_eq(*loss.f32, 0);
    targets.i32[0] = 1;
    TEST_OK(tensor_cross_entropy(loss, lse, logits, targets, &err));
    cr_assert_eq(*loss.f32, 2000);
}

Test(loss, errors) {
    tensor logits, targets, lse, loss = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
    make(VIEW_PLAIN, 7, &logits, &targets, &lse);
    *test_int_at(targets, 5) = 7;
    TEST_FAILS(tensor_cross_entropy(loss, lse, logits, targets, &err),
               "cross_entropy: target 7 of row 5 is outside 0..6");
    TEST_FAILS(tensor_cross_entropy_vjp(logits, 1, lse, logits, targets, true, &err),
               "cross_entropy: target 7 of row 5 is outside 0..6");
    TEST_FAILS(tensor_cross_entropy(loss, loss, logits, targets, &err),
               "cross_entropy: lse is [], expected [39]");
    TEST_FAILS(tensor_cross_entropy(loss, lse, logits, lse, &err),
               "cross_entropy: targets is float32, expected int32");
}
