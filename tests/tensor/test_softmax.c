/* Softmax and log-softmax along every axis and in every layout. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(softmax, .init = setup, .fini = teardown);

static void check(tensor x, int axis, int to, bool log_form) {
    tensor out = to < 0 ? x : test_view(arena, TENSOR_F32, to, x.rank, x.shape);
    const int64_t n = x.shape[axis];
    double *want = malloc((size_t)(tensor_size(x) + 1) * sizeof *want);
    int64_t inner = 1;
    for (int i = axis + 1; i < x.rank; i++) inner *= x.shape[i];
    const float *in = test_numbers(arena, x);
    for (int64_t i = 0; i < tensor_size(x); i++) {
        if (i / inner % n > 0) continue; /* i is the first of its row */
        double top = -(double)INFINITY, sum = 0;
        for (int64_t j = 0; j < n; j++)
            top = in[i + j * inner] > top ? in[i + j * inner]
                                          : top; /* gcc 12 for ARM cannot compile fmax here */
        for (int64_t j = 0; j < n; j++) sum += exp((double)in[i + j * inner] - top);
        for (int64_t j = 0; j < n; j++) {
            const double y = (double)in[i + j * inner] - top - log(sum);
            want[i + j * inner] = log_form ? y : exp(y);
        }
    }
    TEST_OK(log_form ? tensor_log_softmax(out, x, axis, &err) : tensor_softmax(out, x, axis - x.rank, &err));
    for (int64_t i = 0; i < tensor_size(x); i++)
        test_close((double)*test_at(out, i), want[i], log_form ? 1e-6 : 3e-7, "softmax");
    free(want);
}

/* log sum e^x along the axis: what log-softmax takes away. */
static void check_sum(tensor x, int axis, int to) {
    int64_t shape[3] = {x.shape[0], x.shape[1], x.shape[2]};
    shape[axis] = 1;
    tensor out = test_view(arena, TENSOR_F32, to, 3, shape);
    TEST_OK(tensor_log_sum_exp(out, x, axis - 3, &err));
    const tensor plain = test_view(arena, TENSOR_F32, VIEW_PLAIN, 3, shape);
    double *sums = calloc((size_t)tensor_size(out) + 1, sizeof *sums);
    for (int64_t j = 0; j < tensor_size(x); j++)
        sums[test_at_as(plain, j, 3, x.shape) - plain.f32] += exp((double)*test_at(x, j));
    for (int64_t i = 0; i < tensor_size(out); i++)
        if (sums[i] == 0)
            cr_assert_eq(*test_at(out, i), -INFINITY);
        else
            test_close((double)*test_at(out, i), log(sums[i]), 1e-6, "log_sum_exp");
    free(sums);
}

Test(softmax, axes_and_layouts) {
    static const int64_t shapes[][3] = {{1, 1, 1},   {2, 3, 7},   {3, 2, 16}, {17, 33, 2},
                                        {2, 2, 257}, {15, 1, 64}, {2, 0, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int from = 0; from < VIEW_COUNT; from++)
            for (int axis = 0; axis < 3; axis++)
                for (int form = 0; form < 2; form++)
                    for (int to = from < VIEW_WRITABLE ? -1 : 0; to < VIEW_WRITABLE; to++) {
                        tensor x = test_view(arena, TENSOR_F32, from, 3, shapes[s]);
                        test_fill(x, 1, -30, 30);
                        check(x, axis, to, form);
                        if (to >= 0 && form == 0) check_sum(x, axis, to);
                        tensor_arena_reset(arena);
                    }
}

/* Rows longer than the stack's stage have the bits of contiguous ones. */
Test(softmax, long_rows_have_the_same_bits_in_any_layout) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(2, 9001)), y[2];
    test_fill(x, 1, -10, 10);
    for (int form = 0; form < 2; form++) {
        check(x, 1, VIEW_PLAIN, form);
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            tensor view = test_view(arena, TENSOR_F32, kind, 2, x.shape);
            TEST_OK(tensor_copy(view, x, &err));
            TEST_OK(form ? tensor_log_softmax(view, view, 1, &err) : tensor_softmax(view, view, 1, &err));
            y[kind > 0] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 2, x.shape);
            TEST_OK(tensor_copy(y[kind > 0], view, &err));
            cr_assert_eq(memcmp(y[0].f32, y[kind > 0].f32, 2 * 9001 * sizeof(float)), 0);
        }
    }
}

/* dx of all rows along `axis`, in double. */
static void check_vjp(tensor dy, tensor y, int axis, int to, bool log_form, bool accumulate) {
    tensor dx = to < 0 ? dy : test_view(arena, TENSOR_F32, to, y.rank, y.shape);
    const int64_t n = y.shape[axis], size = tensor_size(y);
    double *want = malloc((size_t)(size + 1) * sizeof *want);
    int64_t inner = 1;
    for (int i = axis + 1; i < y.rank; i++) inner *= y.shape[i];
    const float *gradient = test_numbers(arena, dy), *numbers = test_numbers(arena, y);
    for (int64_t i = 0; i < size; i++) {
        if (i / inner % n > 0) continue; /* i is the first of its row */
        double sum = 0;
        for (int64_t j = i; j < i + n * inner; j += inner)
            sum += (double)gradient[j] * (log_form ? 1 : (double)numbers[j]);
        for (int64_t j = i; j < i + n * inner; j += inner) {
            const double at = (double)numbers[j], g = (double)gradient[j];
            want[j] = (log_form ? g - exp(at) * sum : at * (g - sum)) + (accumulate ? 3 : 0);
        }
    }
    if (to >= 0) TEST_OK(tensor_fill(dx, accumulate ? 3 : NAN, &err));
    TEST_OK(log_form ? tensor_log_softmax_vjp(dx, dy, y, axis - y.rank, accumulate, &err)
                     : tensor_softmax_vjp(dx, dy, y, axis, accumulate, &err));
    test_walk walk = test_begin(dx);
    for (int64_t i = 0; i < size; i++) test_close((double)*test_next(&walk), want[i], 1e-6, "softmax_vjp");
    free(want);
}

Test(softmax, vjp_over_axes_and_layouts) {
    static const int64_t shapes[][3] = {{1, 1, 1},   {2, 3, 7}, {3, 16, 2},
                                        {2, 2, 257}, {2, 0, 3}, {1, 5001, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int from = 0; from < VIEW_COUNT; from++)
            for (int axis = 0; axis < 3; axis++)
                for (int form = 0; form < 4; form++)
                    for (int to = from < VIEW_WRITABLE && form < 2 ? -1 : 0; to < VIEW_WRITABLE; to++) {
                        tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, 3, shapes[s]), y = x;
                        tensor dy = test_view(arena, TENSOR_F32, from, 3, shapes[s]);
                        test_fill(x, 1, -3, 3);
                        test_fill(dy, 2, -1, 1);
                        if (from < VIEW_WRITABLE) {
                            y = test_view(arena, TENSOR_F32, from, 3, shapes[s]);
                            TEST_OK(tensor_copy(y, x, &err));
                        }
                        TEST_OK(form & 1 ? tensor_log_softmax(y, y, axis, &err)
                                         : tensor_softmax(y, y, axis, &err));
                        check_vjp(dy, y, axis, to, form & 1, form & 2);
                        tensor_arena_reset(arena);
                    }
}

Test(softmax, large_and_masked_values) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3));
    memcpy(x.f32, (float[]){1e30f, -INFINITY, 1e30f}, 3 * sizeof(float));
    TEST_OK(tensor_softmax(x, x, 0, &err));
    cr_assert(x.f32[0] == 0.5f && x.f32[1] == 0 && x.f32[2] == 0.5f);
}

Test(softmax, small_terms_vanish_and_nan_stays) {
    enum { N = 21 };
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(N)),
           y = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(N));
    for (int i = 0; i < N; i++)
        x.f32[i] = i == 3 ? 7 : i == 18 ? 7 - 86 : i == 20 ? -INFINITY : 7 - 88 - 50 * (float)i;
    TEST_OK(tensor_softmax(y, x, 0, &err));
    for (int i = 0; i < N; i++)
        cr_expect_float_eq(y.f32[i], i == 3 ? 1 : i == 18 ? expf(-86) : 0, i == 18 ? 1e-43f : 0, "%d", i);
    x.f32[19] = NAN;
    TEST_OK(tensor_softmax(y, x, 0, &err));
    for (int i = 0; i < N; i++) cr_expect(isnan(y.f32[i]), "%d", i);
}

Test(softmax, errors) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(2, 3)),
           y = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3));
    TEST_FAILS(tensor_softmax(y, x, 0, &err), "softmax: out is [3], expected [2, 3]");
    TEST_FAILS(tensor_softmax_vjp(y, x, x, 0, false, &err), "softmax_vjp: dx is [3], expected [2, 3]");
    TEST_FAILS(tensor_log_softmax_vjp(x, (tensor){0}, x, 0, false, &err), "log_softmax_vjp: dy is no tensor");
    TEST_FAILS(tensor_log_softmax(x, x, 2, &err), "log_softmax: axis 2 is outside a tensor of rank 2");
}
