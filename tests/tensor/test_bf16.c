/* Products of bfloat16 numbers: to the bit what bf16.h promises, by an oracle of single steps. */
#include "tests/tensor/tensor_test.h"

#include <string.h>

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_set_threads(1, NULL);
    tensor_arena_free(arena);
}
TestSuite(bf16, .init = set_up, .fini = tear_down);

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- The oracle ------------------------------------------------------------------------------------ */

static float rounded(float x) {
    const uint32_t bits = bits_of(x), size = bits & 0x7fffffff;
    if (size > 0x7f800000) return float_of((bits | 0x00400000) & 0xffff0000);
    if (size < 0x00800000) return float_of(bits & 0x80000000);
    const uint32_t below = bits & 0xffff, cut = bits & 0xffff0000;
    const bool up = below > 0x8000 || (below == 0x8000 && (cut & 0x10000));
    return float_of(up ? cut + 0x10000 : cut);
}

static float flushed(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* Denormal sums are zero, before and after; what is tiny is said after rounding to 24 bits, which a scale shows that
 * brings it into the normal range. */
static float step(float a, float b, float sum) {
    sum = flushed(sum);
    const float y = fmaf(a, b, sum);
    if (y == 0 || !(fabsf(y) <= 0x1p-126f)) return y;
    const float large = fabsf(a) > fabsf(b) ? a : b, small = fabsf(a) > fabsf(b) ? b : a;
    const float scaled = fmaf(large, small * 0x1p100f, sum * 0x1p100f);
    return fabsf(scaled) < 0x1p-26f ? copysignf(0, y) : copysignf(0x1p-126f, y);
}

static float at(tensor x, int64_t i, int64_t j) {
    return x.f32[i * x.stride[0] + j * x.stride[1]];
}

/* A matrix's elements row by row, rounded. */
static const float *rounded_rows(tensor x) {
    float *numbers = test_numbers(arena, x);
    for (int64_t i = 0; i < tensor_size(x); i++) numbers[i] = rounded(numbers[i]);
    return numbers;
}

/* Of k rounded numbers of A's row and B's column. */
static float chain(int64_t k, const float *a, const float *b, float sum) {
    for (int64_t p = 0; p < k; p += 2) {
        const bool pair = p + 1 < k;
        sum = step(pair ? a[p + 1] : 0, pair ? b[p + 1] : 0, sum);
        sum = step(a[p], b[p], sum);
    }
    return sum;
}

static bool same(float x, float y) {
    return (isnan(x) && isnan(y)) || bits_of(x) == bits_of(y);
}

static void check(tensor out, tensor a, tensor b, tensor before) {
    const int64_t k = a.shape[1];
    const float *rows = rounded_rows(a), *columns = rounded_rows(tensor_transpose(b, 0, 1, NULL));
    for (int64_t i = 0; i < out.shape[0]; i++)
        for (int64_t j = 0; j < out.shape[1]; j++) {
            const float expected =
                chain(k, rows + i * k, columns + j * k, before.rank ? at(before, i, j) : 0);
            TEST_EACH(same(at(out, i, j), expected), "[%lld, %lld] x [%lld, %lld] at %lld, %lld: %a, not %a",
                      (long long)a.shape[0], (long long)a.shape[1], (long long)b.shape[0],
                      (long long)b.shape[1], (long long)i, (long long)j, (double)at(out, i, j),
                      (double)expected);
        }
}

/* ---- Products -------------------------------------------------------------------------------------- */

/* How a matrix lies in memory: its rows or its columns are contiguous, or neither. */
static tensor matrix(int layout, int64_t m, int64_t n) {
    return test_view(arena, TENSOR_F32, layout, TENSOR_SHAPE(m, n));
}

static void check_product(int64_t m, int64_t n, int64_t k, int la, int lb, int lc,
                          void (*fill)(tensor, uint64_t)) {
    const tensor a = matrix(la, m, k), b = matrix(lb, k, n), c = matrix(lc, m, n), before = matrix(0, m, n);
    fill(a, 1), fill(b, 2), fill(before, 3);
    TEST_OK(tensor_matmul_at(c, a, b, false, TENSOR_BFLOAT16, &err));
    check(c, a, b, (tensor){0});
    TEST_OK(tensor_copy(c, before, &err) && tensor_matmul_at(c, a, b, true, TENSOR_BFLOAT16, &err));
    check(c, a, b, before);
    tensor_arena_reset(arena);
}

static void ordinary(tensor x, uint64_t seed) {
    test_fill(x, seed, -3, 2);
}

/* Numbers of every size, zeros, denormals, infinities and NaN among them. */
static void any_bits(tensor x, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < tensor_size(x); i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        *test_at(x, i) = float_of((uint32_t)(state >> 20));
    }
}

/* Around the least normal number and its root, so that products and sums are tiny. */
static void tiny(tensor x, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < tensor_size(x); i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        *test_at(x, i) = ldexpf((float)(int32_t)(state >> 32) * 0x1p-31f,
                                -(int)(seed == 3 ? 124 : 60) - (int)(state >> 9 & 3));
    }
}

Test(bf16, all_sizes_around_the_tiles) {
    const int64_t sizes[] = {0, 1, 2, 7, 8, 12, 13, 16, 17, 25, 33};
    const size_t count = sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            for (size_t p = 0; p < count; p++) check_product(sizes[i], sizes[j], sizes[p], 0, 0, 0, ordinary);
}

Test(bf16, all_layouts) {
    for (int la = 0; la < VIEW_WRITABLE; la++)
        for (int lb = 0; lb < VIEW_WRITABLE; lb++)
            for (int lc = 0; lc < VIEW_WRITABLE; lc++) {
                check_product(37, 51, 19, la, lb, lc, ordinary);
                check_product(48, 32, 70, la, lb, lc, ordinary);
            }
}

Test(bf16, several_blocks_of_rows_columns_and_k) {
    for (int layouts = 0; layouts < 8; layouts++) {
        check_product(205, 40, 300, layouts & 1, layouts >> 1 & 1, layouts >> 2, ordinary);
        check_product(30, 330, 515, layouts & 1, layouts >> 1 & 1, layouts >> 2, ordinary);
    }
}

static tensor part(tensor x, int i) {
    return tensor_squeeze(tensor_slice(x, 0, i, i + 1, 1, NULL), 0, NULL);
}

Test(bf16, a_single_row_and_batches) {
    const tensor x = matrix(0, 1, 77), w = matrix(0, 77, 90), bias = matrix(0, 1, 90), y = matrix(0, 1, 90);
    ordinary(x, 1), ordinary(w, 2), ordinary(bias, 3);
    const tensor row = tensor_squeeze(bias, 0, NULL);
    TEST_OK(tensor_linear_at(y, x, w, row, TENSOR_BFLOAT16, &err));
    check(y, x, w, bias);
    const tensor wt = matrix(VIEW_TRANSPOSED, 77, 90);
    TEST_OK(tensor_copy(wt, w, &err) && tensor_linear_at(y, x, wt, row, TENSOR_BFLOAT16, &err));
    check(y, x, w, bias);
    const tensor many = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(3, 20, 77), NULL),
                 out = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(3, 20, 90), NULL);
    ordinary(many, 4);
    TEST_OK(tensor_matmul_at(out, many, w, false, TENSOR_BFLOAT16, &err));
    check(tensor_reshape(out, TENSOR_SHAPE(60, 90), NULL), tensor_reshape(many, TENSOR_SHAPE(60, 77), NULL),
          w, (tensor){0});
    tensor_arena_reset(arena);
    const tensor a = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 13, 9), NULL),
                 b = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 9, 17), NULL),
                 c = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 13, 17), NULL);
    ordinary(a, 5), ordinary(b, 6);
    TEST_OK(tensor_matmul_at(c, a, b, false, TENSOR_BFLOAT16, &err));
    for (int i = 0; i < 2; i++) check(part(c, i), part(a, i), part(b, i), (tensor){0});
}

/* Without a fused multiply-add a product alone leaves the range of float32. */
static void skip_baseline(void) {
    if (strcmp(tensor_isa(), "baseline") == 0) cr_skip_test("the baseline has no fused multiply-add");
}

Test(bf16, numbers_of_every_size) {
    skip_baseline();
    for (int layouts = 0; layouts < 8; layouts++)
        for (int64_t k = 1; k < 6; k++)
            check_product(50, 70, k, layouts & 1, layouts >> 1 & 1, layouts >> 2, any_bits);
}

Test(bf16, sums_near_the_least_normal_number) {
    skip_baseline();
    for (int layouts = 0; layouts < 4; layouts++)
        for (int64_t k = 1; k < 40; k += 5) check_product(50, 70, k, layouts & 1, layouts >> 1, 0, tiny);
}

/* 2^-126 less something so small that rounding brings it back: tiny where that is said before rounding, as on ARM. */
Test(bf16, a_sum_that_rounding_makes_normal_again) {
    skip_baseline();
    const tensor a = matrix(0, 3, 2), b = matrix(0, 2, 1), c = matrix(0, 3, 1);
    const float rows[3][2] = {{-0x1p-80f, 0x1p-60f}, {-0x1p-91f, 0x1p-60f}, {-0x1p-90f, 0x1p-60f}};
    memcpy(a.f32, rows, sizeof rows);
    b.f32[0] = 0x1p-60f, b.f32[1] = 0x1p-66f;
    TEST_OK(tensor_matmul_at(c, a, b, false, TENSOR_BFLOAT16, &err));
#if defined(__x86_64__)
    check(c, a, b, (tensor){0});
    cr_assert_eq(c.f32[1], 0x1p-126f);
    cr_assert_eq(c.f32[2], 0);
#endif
}

/* Each upper half of the bits with lower halves on either side of the middle; a column of A, then a row of B. */
Test(bf16, every_number_is_rounded_to_nearest_even) {
    const uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    const int64_t count = 6 << 16;
    const tensor x = matrix(0, count, 1), y = matrix(0, count, 1), one = matrix(0, 1, 1);
    one.f32[0] = 1;
    for (int64_t i = 0; i < count; i++) x.f32[i] = float_of((uint32_t)(i / 6) << 16 | lower[i % 6]);
    for (int columns = 0; columns < 2; columns++) {
        TEST_OK(columns ? tensor_matmul_at(tensor_transpose(y, 0, 1, &err), one,
                                           tensor_transpose(x, 0, 1, &err), false, TENSOR_BFLOAT16, &err)
                        : tensor_matmul_at(y, x, one, false, TENSOR_BFLOAT16, &err));
        for (int64_t i = 0; i < count; i++) {
            const float expected = rounded(x.f32[i]) + 0; /* -0 + 0 is 0 */
            cr_assert(same(y.f32[i], expected), "%a is %a, not %a", (double)x.f32[i], (double)y.f32[i],
                      (double)expected);
        }
    }
}

/* A zero that fills a pair takes the sign from a sum of -0; no step at all leaves it. */
Test(bf16, signs_of_zero) {
    const tensor y = matrix(0, 1, 1);
    for (int64_t k = 0; k < 3; k++) {
        const tensor a = matrix(0, 1, k), b = matrix(0, k, 1);
        TEST_OK(tensor_fill(a, -0.0f, &err) && tensor_fill(b, 1, &err) && tensor_fill(y, -0.0f, &err));
        TEST_OK(tensor_matmul_at(y, a, b, true, TENSOR_BFLOAT16, &err));
        cr_assert_eq(bits_of(y.f32[0]), k == 1 ? 0 : 0x80000000, "%lld", (long long)k);
    }
}

/* What was rounded for one product is nothing to the next: denormals count again. */
Test(bf16, float32_keeps_its_denormals) {
    const tensor a = matrix(0, 20, 20), c = matrix(0, 20, 20);
    TEST_OK(tensor_fill(a, 0x1p-70f, &err) && tensor_matmul_at(c, a, a, false, TENSOR_BFLOAT16, &err));
    cr_assert_eq(c.f32[0], 0);
    TEST_OK(tensor_matmul(c, a, a, false, &err));
    cr_assert_eq(c.f32[0], 20 * 0x1p-140f);
    cr_assert_neq(a.f32[0] * a.f32[0], 0);
}

Test(bf16, threads_do_not_matter) {
    const tensor a = matrix(VIEW_TRANSPOSED, 300, 517), b = matrix(0, 517, 290);
    tensor c[3];
    any_bits(a, 1), ordinary(b, 2);
    for (int threads = 1; threads < 4; threads++) {
        c[threads - 1] = matrix(0, 300, 290);
        TEST_OK(tensor_set_threads(threads, &err) &&
                tensor_matmul_at(c[threads - 1], a, b, false, TENSOR_BFLOAT16, &err));
        for (int64_t i = 0; i < 300 * 290; i++) cr_assert(same(c[0].f32[i], c[threads - 1].f32[i]));
    }
}

Test(bf16, faults_are_those_of_matmul) {
    const tensor a = matrix(0, 3, 4);
    TEST_FAILS(tensor_matmul_at(a, a, a, false, TENSOR_BFLOAT16, &err),
               "matmul: inner sizes differ: [3, 4] x [3, 4]");
    TEST_FAILS(tensor_linear_at(a, a, a, (tensor){0}, TENSOR_BFLOAT16, &err),
               "linear: inner sizes differ: [3, 4] x [3, 4]");
}
