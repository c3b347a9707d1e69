/* Matrix products against plain loops in double, and the orders that tensor.h promises. */
#include "tests/tensor/tensor_test.h"
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "sampo/tensor.h"

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_arena_free(arena);
}
TestSuite(matmul, .init = set_up, .fini = tear_down);

static tensor normal(uint64_t stream, int rank, const int64_t *shape) {
    tensor_rng rng = {.seed = 1, .stream = stream};
    const tensor x = tensor_new(arena, TENSOR_F32, rank, shape, NULL);
    cr_assert(tensor_rand_normal(x, &rng, 0, 1, NULL));
    return x;
}

/* NaN, to be written over. */
static tensor blank(int rank, const int64_t *shape) {
    const tensor x = tensor_new(arena, TENSOR_F32, rank, shape, NULL);
    cr_assert(tensor_fill(x, NAN, NULL));
    return x;
}

/* The same elements in other memory: 0: as they are, 1: column-major, 2: every second of a wider matrix,
 * 3: both axes backwards. */
enum { LAYOUTS = 4 };
static tensor laid_out(tensor x, int layout) {
    const int64_t m = x.shape[0], n = x.shape[1];
    tensor y = x;
    if (layout == 1) y = tensor_transpose(blank(TENSOR_SHAPE(n, m)), 0, 1, NULL);
    if (layout == 2) y = tensor_slice(blank(TENSOR_SHAPE(m, 2 * n + 1)), 1, 0, 2 * n, 2, NULL);
    if (layout == 3) {
        y = tensor_slice(blank(TENSOR_SHAPE(m, n)), 0, -1, INT64_MIN, -1, NULL);
        y = tensor_slice(y, 1, -1, INT64_MIN, -1, NULL);
    }
    if (layout && tensor_size(x)) cr_assert(tensor_copy(y, x, NULL));
    return y;
}

static float at(tensor x, int64_t i, int64_t j) {
    return x.f32[i * x.stride[0] + j * x.stride[1]];
}

/* |error| of a sum of k products of normal numbers in float32. */
static double bound(int64_t k) {
    return 1e-6 * (8 + (double)k);
}

static void check_product(int64_t m, int64_t n, int64_t k, int la, int lb, int lc, bool accumulate) {
    const tensor a = laid_out(normal(1, TENSOR_SHAPE(m, k)), la),
                 b = laid_out(normal(2, TENSOR_SHAPE(k, n)), lb);
    const tensor before = normal(3, TENSOR_SHAPE(m, n)), c = laid_out(normal(3, TENSOR_SHAPE(m, n)), lc);
    tensor_error err = {0};
    cr_assert(tensor_matmul(c, a, b, accumulate, &err), "%s", err.text);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = accumulate ? (double)at(before, i, j) : 0;
            for (int64_t p = 0; p < k; p++) sum += (double)at(a, i, p) * (double)at(b, p, j);
            TEST_EACH(fabs((double)at(c, i, j) - sum) <= bound(k),
                      "%lld x %lld x %lld, layouts %d %d %d, at %lld %lld: %g, not %g", (long long)m,
                      (long long)n, (long long)k, la, lb, lc, (long long)i, (long long)j, (double)at(c, i, j),
                      sum);
        }
}

Test(matmul, all_sizes_around_the_tiles) {
    const int64_t sizes[] = {0, 1, 2, 5, 6, 7, 8, 12, 13, 15, 16, 17, 31, 33, 51};
    const size_t count = sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            for (size_t p = 0; p < count; p += 2)
                check_product(sizes[i], sizes[j], sizes[p], 0, 0, 0, (i + j) % 2);
}

Test(matmul, all_layouts) {
    for (int la = 0; la < LAYOUTS; la++)
        for (int lb = 0; lb < LAYOUTS; lb++)
            for (int lc = 0; lc < LAYOUTS; lc++) {
                check_product(37, 51, 19, la, lb, lc, false);
                check_product(64, 32, 16, la, lb, lc, true);
                check_product(3, 5, 70, la, lb, lc, true);
            }
}

Test(matmul, several_blocks_of_rows_columns_and_k) {
    check_product(500, 40, 300, 0, 0, 0, false);
    check_product(250, 530, 33, 1, 1, 0, true);
    check_product(13, 20, 1030, 0, 1, 0, true);
    check_product(60, 40, 1700, 0, 0, 0, false);
    check_product(530, 260, 20, 0, 0, 1, false);
}

/* One chain of fused multiply-adds over ascending k, whatever the blocks: the reference is fmaf. */
Test(matmul, each_element_is_one_chain) {
    if (strcmp(tensor_isa(), "baseline") == 0) cr_skip_test("the baseline has no fused multiply-add");
    const int64_t m = 41, n = 35, k = 602;
    const tensor a = normal(1, TENSOR_SHAPE(m, k)), b = normal(2, TENSOR_SHAPE(k, n)),
                 c = normal(3, TENSOR_SHAPE(m, n));
    const tensor bias = normal(4, TENSOR_SHAPE(n)), y = normal(5, TENSOR_SHAPE(m, n)),
                 z = normal(6, TENSOR_SHAPE(n, m));
    const tensor zt = tensor_transpose(z, 0, 1, NULL);
    cr_assert(tensor_matmul(c, a, b, false, NULL));
    cr_assert(tensor_linear(y, a, b, bias, NULL));
    cr_assert(tensor_matmul(zt, a, b, false, NULL));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = 0, biased = bias.f32[j];
            for (int64_t p = 0; p < k; p++) {
                sum = fmaf(at(a, i, p), at(b, p, j), sum);
                biased = fmaf(at(a, i, p), at(b, p, j), biased);
            }
            cr_assert_eq(at(c, i, j), sum);
            cr_assert_eq(at(y, i, j), biased);
            cr_assert_eq(at(zt, i, j), sum);
        }
}

/* However a product is cut into blocks, and in whatever order of B's elements it is read. */
Test(matmul, any_number_of_threads_gives_the_same_bits) {
    const int64_t sizes[][3] = {{64, 64, 700}, {256, 64, 300}, {51, 64, 1030}, {65, 300, 200}, {300, 51, 64}};
    const int before = tensor_threads();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        const tensor a = normal(1, TENSOR_SHAPE(k, m)), b = normal(2, TENSOR_SHAPE(k, n));
        const tensor at = tensor_transpose(a, 0, 1, NULL), one = normal(3, TENSOR_SHAPE(m, n));
        cr_assert(tensor_set_threads(1, NULL));
        cr_assert(tensor_matmul(one, at, b, true, NULL));
        for (int threads = 2; threads <= 5; threads++) {
            const tensor many = normal(3, TENSOR_SHAPE(m, n));
            cr_assert(tensor_set_threads(threads, NULL));
            cr_assert(tensor_matmul(many, at, b, true, NULL));
            cr_assert_arr_eq(many.f32, one.f32, (size_t)(m * n) * sizeof(float), "%d threads", threads);
        }
    }
    cr_assert(tensor_set_threads(before, NULL));
}

/* Rows whose lines share a set of a cache are copied before; the elements are the same. */
Test(matmul, rows_whole_pages_apart_have_the_same_bits) {
    enum { PAGE = 1024 };
    const int64_t sizes[][3] = {
        {26, 300, 601}, {397, 256, 257}, {12, 259, 4}, {37, 290, PAGE}, {11, 256, 40}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        const tensor near = normal(1, TENSOR_SHAPE(m, k)), b = normal(2, TENSOR_SHAPE(k, n));
        const tensor far = tensor_slice(normal(3, TENSOR_SHAPE(m, PAGE)), 1, 0, k, 1, NULL);
        const tensor want = normal(4, TENSOR_SHAPE(m, n)), c = normal(4, TENSOR_SHAPE(m, n));
        cr_assert(tensor_copy(far, near, NULL));
        cr_assert(tensor_matmul(want, near, b, true, NULL));
        cr_assert(tensor_matmul(c, far, b, true, NULL));
        cr_assert_arr_eq(c.f32, want.f32, (size_t)(m * n) * sizeof(float), "%lld rows", (long long)m);
    }
}

/* As tensor.h promises: some systems give a thread no more than 512 KiB. */
static void *products_that_copy(void *context) {
    const tensor *x = context; /* two operands and the result */
    return tensor_matmul_at(x[2], x[0], x[1], false, TENSOR_FLOAT32, NULL) &&
                   tensor_matmul_at(x[2], x[0], x[1], false, TENSOR_BFLOAT16, NULL)
               ? context
               : NULL;
}
Test(matmul, a_stack_of_one_megabyte_is_enough) {
    enum { ROWS = 30, N = 1024, STACK = 1 << 20 };
    tensor x[3];
    for (uint64_t i = 0; i < 3; i++) x[i] = normal(i, TENSOR_SHAPE(i == 1 ? N : ROWS, N));
    pthread_attr_t attributes;
    pthread_t thread;
    void *result = NULL;
    cr_assert_eq(pthread_attr_init(&attributes), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attributes, STACK), 0);
    cr_assert_eq(pthread_create(&thread, &attributes, products_that_copy, x), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert(result == x);
    pthread_attr_destroy(&attributes);
}

Test(matmul, batches_broadcast) {
    const tensor a = normal(1, TENSOR_SHAPE(3, 1, 5, 7)), b = normal(2, TENSOR_SHAPE(2, 7, 4));
    const tensor c = normal(3, TENSOR_SHAPE(3, 2, 5, 4));
    cr_assert(tensor_matmul(c, a, b, false, NULL));
    for (int64_t x = 0; x < 3; x++)
        for (int64_t y = 0; y < 2; y++)
            for (int64_t i = 0; i < 5; i++)
                for (int64_t j = 0; j < 4; j++) {
                    double sum = 0;
                    for (int64_t p = 0; p < 7; p++)
                        sum += (double)a.f32[(x * 5 + i) * 7 + p] * (double)b.f32[(y * 7 + p) * 4 + j];
                    cr_assert_float_eq(c.f32[((x * 2 + y) * 5 + i) * 4 + j], sum, bound(7));
                }
}

Test(matmul, linear_takes_any_rows_and_no_bias) {
    const tensor x = normal(1, TENSOR_SHAPE(2, 3, 5)), w = normal(2, TENSOR_SHAPE(5, 4)),
                 b = normal(3, TENSOR_SHAPE(4));
    const tensor y = normal(4, TENSOR_SHAPE(2, 3, 4)), none = {0};
    for (int biased = 0; biased < 2; biased++) {
        /* a view whose rows cannot be folded into one axis */
        const tensor view = tensor_transpose(x, 0, 1, NULL), out = tensor_transpose(y, 0, 1, NULL);
        cr_assert(tensor_linear(out, view, w, biased ? b : none, NULL));
        for (int64_t r = 0; r < 6; r++)
            for (int64_t j = 0; j < 4; j++) {
                double sum = biased ? (double)b.f32[j] : 0;
                for (int64_t p = 0; p < 5; p++) sum += (double)x.f32[r * 5 + p] * (double)w.f32[p * 4 + j];
                cr_assert_float_eq(y.f32[r * 4 + j], sum, bound(5));
            }
    }
    const tensor row = tensor_slice(x, 0, 0, 1, 1, NULL), one = normal(5, TENSOR_SHAPE(4));
    cr_assert(tensor_linear(one, tensor_reshape(tensor_slice(row, 1, 1, 2, 1, NULL), TENSOR_SHAPE(5), NULL),
                            w, b, NULL));
    cr_assert_eq(one.f32[2], y.f32[4 + 2]);
}

/* One to eight rows, which have kernels of their own, have the bits that they have among others. */
static void check_rows(int64_t rows, int64_t n, int64_t k, int lb, int lc, bool accumulate) {
    enum { M = 13 };
    const tensor a = normal(1, TENSOR_SHAPE(M, k)), b = laid_out(normal(2, TENSOR_SHAPE(k, n)), lb);
    const tensor all = normal(3, TENSOR_SHAPE(M, n));
    const tensor last = tensor_slice(normal(3, TENSOR_SHAPE(M, n)), 0, M - rows, INT64_MAX, 1, NULL);
    const tensor some = laid_out(tensor_contiguous(arena, last, NULL), lc);
    cr_assert(tensor_matmul(all, a, b, accumulate, NULL));
    cr_assert(tensor_matmul(some, tensor_slice(a, 0, M - rows, INT64_MAX, 1, NULL), b, accumulate, NULL));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            TEST_EACH(at(some, i, j) == at(all, M - rows + i, j),
                      "[%lld, %lld] x [%lld, %lld], layouts %d and %d, at %lld %lld", (long long)rows,
                      (long long)k, (long long)k, (long long)n, lb, lc, (long long)i, (long long)j);
    tensor_arena_reset(arena);
}

Test(matmul, few_rows_have_the_same_bits) {
    const int64_t columns[] = {1, 7, 8, 51, 64, 200, 300}, steps[] = {0, 1, 3, 16, 65, 300};
    for (int64_t rows = 1; rows <= 9; rows++)
        for (int n = 0; n < 7; n++)
            for (int k = 0; k < 6; k++)
                for (int layouts = 0; layouts < LAYOUTS * LAYOUTS; layouts++)
                    if (rows < 3 || (layouts + n + k) % 3 == 0)
                        check_rows(rows, columns[n], steps[k], layouts % LAYOUTS, layouts / LAYOUTS, k % 2);
}

/* More columns than have their sums in the first-level cache. */
Test(matmul, few_rows_of_many_columns_have_the_same_bits) {
    for (int64_t rows = 1; rows <= 8; rows += 3)
        for (int lb = 0; lb < 2; lb++) check_rows(rows, 9001, 37, lb, 0, false);
}

/* A sum of nothing: zeros, the bias, or what was there. */
Test(matmul, sizes_of_zero_and_one) {
    for (int64_t m = 0; m < 3; m++)
        for (int64_t n = 0; n < 20; n += n < 3 ? 1 : 16)
            for (int64_t k = 0; k < 2; k++)
                for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
                    tensor a = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(m, k)), bias, out;
                    tensor b = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(k, n));
                    bias = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(n));
                    out = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(m, n));
                    TEST_OK(tensor_fill(a, 2, &err) && tensor_fill(b, 3, &err) && tensor_fill(bias, 5, &err));
                    TEST_OK(tensor_fill(out, 7, &err) && tensor_linear(out, a, b, bias, &err));
                    for (int64_t i = 0; i < m * n; i++) cr_assert_eq(*test_at(out, i), k ? 11 : 5);
                    TEST_OK(tensor_matmul(out, a, b, true, &err));
                    for (int64_t i = 0; i < m * n; i++) cr_assert_eq(*test_at(out, i), k ? 17 : 5);
                    TEST_OK(tensor_matmul(out, a, b, false, &err));
                    for (int64_t i = 0; i < m * n; i++) cr_assert_eq(*test_at(out, i), k ? 6 : 0);
                    tensor_arena_reset(arena);
                }
}

Test(matmul, wrong_shapes) {
    const tensor a = normal(1, TENSOR_SHAPE(256, 64)), b = normal(2, TENSOR_SHAPE(63, 192)),
                 c = normal(3, TENSOR_SHAPE(2, 2));
    tensor_error err = {0};
    cr_expect_not(tensor_matmul(c, a, b, false, &err));
    cr_expect_str_eq(err.text, "matmul: inner sizes differ: [256, 64] x [63, 192]");
    err.text[0] = '\0';
    cr_expect_not(tensor_matmul(c, a, normal(3, TENSOR_SHAPE(64)), false, &err));
    cr_expect_str_eq(err.text, "matmul: both operands need rank 2 or more: [256, 64] x [64]");
    err.text[0] = '\0';
    cr_expect_not(
        tensor_matmul(c, normal(3, TENSOR_SHAPE(2, 4, 4)), normal(3, TENSOR_SHAPE(3, 4, 4)), false, &err));
    cr_expect_str_eq(err.text, "matmul: batch sizes do not broadcast: [2, 4, 4] x [3, 4, 4]");
    err.text[0] = '\0';
    cr_expect_not(tensor_matmul(c, a, tensor_transpose(a, 0, 1, NULL), false, &err));
    cr_expect(strncmp(err.text, "matmul: out is [2, 2]", 21) == 0, "%s", err.text);
    err.text[0] = '\0';
    cr_expect_not(tensor_linear(c, a, b, (tensor){0}, &err));
    cr_expect_str_eq(err.text, "linear: inner sizes differ: [256, 64] x [63, 192]");
    err.text[0] = '\0';
    cr_expect_not(tensor_matmul_at(c, c, c, false, TENSOR_INT8, &err));
    cr_expect_str_eq(err.text, "matmul: the precision is neither float32 nor bfloat16");
}
