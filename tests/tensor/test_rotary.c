/* Rotary positions: the table against libm, rows against plain loops in double, every layout. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_arena_free(arena);
}
TestSuite(rotary, .init = set_up, .fini = tear_down);

static tensor uniform(uint64_t seed, int kind, int rank, const int64_t *shape) {
    const tensor x = test_view(arena, TENSOR_F32, kind, rank, shape);
    test_fill(kind == VIEW_BROADCAST ? tensor_slice(x, 0, 0, 1, 1, NULL) : x, seed, -1, 1);
    return x;
}

Test(rotary, table_equals_libm) {
    const double bases[] = {1, 1.5, 100, 10000, 500000, 1e30};
    const int64_t firsts[] = {-3, 0, 1, 63, 1000, 65535, 131071, 999983},
                  pairs[] = {0, 1, 2, 5, 32, 128, 300};
    for (int i = 0; i < 6 * 8 * 7; i++) {
        const double base = bases[i % 6];
        const int64_t first = firsts[i / 6 % 8], n = pairs[i / 48];
        tensor_arena_reset(arena);
        const tensor cos_table = test_view(arena, TENSOR_F32, i % VIEW_WRITABLE, TENSOR_SHAPE(17, n));
        const tensor sin_table = test_view(arena, TENSOR_F32, (i + 1) % VIEW_WRITABLE, TENSOR_SHAPE(17, n));
        TEST_OK(tensor_rotary_table(cos_table, sin_table, first, base, &err));
        for (int64_t at = 0; at < 17 * n; at++) {
            const long double power = powl((long double)base, -(long double)(at % n) / (long double)n);
            const long double angle = (long double)(first + at / n) * power;
            TEST_EACH(fabs((double)*test_at(cos_table, at) - (double)cosl(angle)) <= 1e-7 &&
                          fabs((double)*test_at(sin_table, at) - (double)sinl(angle)) <= 1e-7,
                      "base %g, position %lld, angle %lld", base, (long long)(first + at / n),
                      (long long)(at % n));
        }
    }
}

/* A token's row alone, as with a cache, has the bits it has among others. */
Test(rotary, rows_of_a_table_stand_alone) {
    enum { T = 300, N = 24 };
    const tensor cos = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(T, N)),
                 sin = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(T, N));
    const tensor cos_1 = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(1, N)),
                 sin_1 = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(1, N));
    TEST_OK(tensor_rotary_table(cos, sin, 5, 10000, &err));
    for (int64_t t = 0; t < T; t++) {
        TEST_OK(tensor_rotary_table(cos_1, sin_1, 5 + t, 10000, &err));
        cr_assert_arr_eq(cos_1.f32, cos.f32 + t * N, N * sizeof(float));
        cr_assert_arr_eq(sin_1.f32, sin.f32 + t * N, N * sizeof(float));
    }
}

/* out of x by plain loops; each element is right to the rounding of two products and their sum. */
static void check_rows(tensor out, tensor x, tensor cos, tensor sin, bool interleaved, bool inverse) {
    const int64_t d = x.shape[x.rank - 1], t = x.shape[x.rank - 2], n = d / 2, size = tensor_size(x);
    const float *in = test_numbers(arena, x), *got = test_numbers(arena, out);
    const float *c = test_numbers(arena, cos), *s = test_numbers(arena, sin);
    for (int64_t at = 0; at < size; at++) {
        const int64_t column = at % d, row = at - column, angle = at / d % t * n;
        const bool second = interleaved ? column % 2 : column >= n;
        const int64_t i = interleaved ? column / 2 : column % n, apart = interleaved ? 1 : n;
        const double other = (double)in[row + (second ? column - apart : column + apart)];
        const double turn = (double)s[angle + i] * (inverse != second ? 1 : -1);
        const double want = (double)in[at] * (double)c[angle + i] + other * turn;
        TEST_EACH(fabs((double)got[at] - want) <= 2e-7, "element %lld of width %lld", (long long)at,
                  (long long)d);
    }
}

Test(rotary, rows_equal_plain_loops) {
    const int64_t sizes[] = {0, 2, 4, 16, 20, 32, 62, 64, 66, 130}, lengths[] = {0, 1, 2, 63, 65};
    int round = 0;
    for (int i = 0; i < 10 * 5 * 4; i++)
        for (int views = 0; views < VIEW_COUNT * 2; views++, round++) {
            const int64_t d = sizes[i % 10], t = lengths[i / 10 % 5];
            const bool interleaved = i / 50 % 2, inverse = i / 100;
            tensor_arena_reset(arena);
            const tensor x = uniform(1, views % VIEW_COUNT, TENSOR_SHAPE(2, 3, t, d));
            const tensor cos =
                uniform(2, views < VIEW_COUNT ? VIEW_PLAIN : round % VIEW_COUNT, TENSOR_SHAPE(t, d / 2));
            const tensor sin =
                uniform(3, views < VIEW_COUNT ? VIEW_PLAIN : round / 2 % VIEW_COUNT, TENSOR_SHAPE(t, d / 2));
            const tensor out = test_view(arena, TENSOR_F32,
                                         views < VIEW_COUNT ? views % VIEW_WRITABLE : round % VIEW_WRITABLE,
                                         x.rank, x.shape);
            TEST_OK(tensor_rotary(out, x, cos, sin, interleaved, inverse, &err));
            check_rows(out, x, cos, sin, interleaved, inverse);
            if (views % VIEW_COUNT == VIEW_BROADCAST) continue;
            TEST_OK(tensor_rotary(x, x, cos, sin, interleaved, inverse, &err)); /* in place: the same bits */
            const float *in_place = test_numbers(arena, x), *beside = test_numbers(arena, out);
            for (int64_t at = 0; at < tensor_size(x); at++)
                TEST_EACH(in_place[at] == beside[at], "in place: element %lld of width %lld", (long long)at,
                          (long long)d);
        }
}

Test(rotary, rank_two_and_there_and_back) {
    enum { T = 70, D = 48 };
    const tensor cos = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(T, D / 2)),
                 sin = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(T, D / 2));
    const tensor x = uniform(2, VIEW_PLAIN, TENSOR_SHAPE(T, D)),
                 out = uniform(3, VIEW_PLAIN, TENSOR_SHAPE(T, D));
    TEST_OK(tensor_rotary_table(cos, sin, 0, 10000, &err));
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        TEST_OK(tensor_rotary(out, x, cos, sin, interleaved, false, &err));
        cr_assert_arr_eq(out.f32, x.f32, D * sizeof(float), "position 0 does not turn");
        TEST_OK(tensor_rotary(out, out, cos, sin, interleaved, true, &err));
        for (int64_t at = 0; at < T * D; at++) cr_assert_float_eq(out.f32[at], x.f32[at], 1e-6f);
    }
}

Test(rotary, wrong_arguments) {
    const tensor x = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(3, 4, 6)),
                 odd = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(4, 5));
    const tensor table = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(4, 3)),
                 row = uniform(1, VIEW_PLAIN, TENSOR_SHAPE(3));
    const tensor none = {0};
    TEST_FAILS(tensor_rotary_table(table, odd, 0, 10000, &err),
               "rotary_table: sin is [4, 5], expected [4, 3]");
    TEST_FAILS(tensor_rotary_table(row, row, 0, 10000, &err),
               "rotary_table: cos has rank 1, expected [T, D/2]");
    TEST_FAILS(tensor_rotary_table(table, table, 0, 0.5, &err),
               "rotary_table: the base must be 1 or more and finite, not 0.5");
    TEST_FAILS(tensor_rotary_table(table, none, 0, 10000, &err), "rotary_table: sin is no tensor");
    TEST_FAILS(tensor_rotary(x, x, x, table, false, false, &err),
               "rotary: cos is [3, 4, 6], expected [4, 3]");
    TEST_FAILS(tensor_rotary(odd, odd, table, table, false, false, &err),
               "rotary: a width of 5 has no pairs");
    TEST_FAILS(tensor_rotary(row, row, table, table, false, false, &err),
               "rotary: x has rank 1, expected [..., T, D]");
    TEST_FAILS(tensor_rotary(table, x, table, table, false, false, &err),
               "rotary: out is [4, 3], expected [3, 4, 6]");
}
