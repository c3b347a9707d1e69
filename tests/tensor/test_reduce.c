/* Reductions over every set of axes and every layout, against plain loops in double. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(reduce, .init = setup, .fini = teardown);

/* What x's elements that share an element of the result come to. */
typedef struct together {
    double sum, max, min, product;
    int64_t count;
} together;

/* For each element of a plain tensor of out's shape, by one loop over all of x. */
static together *exact(tensor x, tensor plain) {
    const size_t size = (size_t)tensor_size(plain) + 1;
    together *all = tensor_arena_alloc(arena, size * sizeof *all, NULL);
    for (size_t i = 0; i < size; i++) all[i] = (together){0, -(double)INFINITY, (double)INFINITY, 1, 0};
    const float *numbers = test_numbers(arena, x);
    const int64_t count = tensor_size(x);
    for (int64_t i = 0; i < count; i++) {
        together *t = all + (test_at_as(plain, i, x.rank, x.shape) - plain.f32);
        const double v = (double)numbers[i];
        t->sum += v;
        t->max = v > t->max ? v : t->max;
        t->min = v < t->min ? v : t->min;
        t->product *= v;
        t->count++;
    }
    return all;
}

static void check(tensor_reduce_op op, tensor x, unsigned axes, int to, bool accumulate) {
    int64_t shape[TENSOR_MAX_RANK];
    for (int i = 0; i < x.rank; i++) shape[i] = axes >> i & 1 ? 1 : x.shape[i];
    tensor out = test_view(arena, TENSOR_F32, to, x.rank, shape);
    TEST_OK(tensor_fill(out, 3, &err));
    TEST_OK(tensor_reduce(out, op, x, axes, accumulate, &err));
    const together *all = exact(x, test_view(arena, TENSOR_F32, VIEW_PLAIN, x.rank, shape));
    for (int64_t i = 0; i < tensor_size(out); i++) {
        const together t = all[i];
        const double results[] = {t.sum, t.sum / (double)t.count, t.max, t.min, t.product};
        const double e = results[op] + (accumulate ? 3 : 0);
        if (isnan(e))
            TEST_EACH(isnan(*test_at(out, i)), "element %lld is a number", (long long)i);
        else
            test_close((double)*test_at(out, i), e, 2e-5, "reduce");
    }
}

Test(reduce, every_set_of_axes_and_layout) {
    static const int64_t shapes[][3] = {{1, 1, 1},   {2, 3, 7},   {3, 1, 17}, {4, 33, 5},
                                        {2, 3, 257}, {15, 16, 1}, {0, 3, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int from = 0; from < VIEW_COUNT; from++)
            for (unsigned axes = 0; axes < 8; axes++)
                for (int op = 0; op < TENSOR_REDUCE_COUNT; op++) {
                    tensor x = test_view(arena, TENSOR_F32, from, 3, shapes[s]);
                    test_fill(x, 11, -1, 1);
                    const bool needs_one = op == TENSOR_REDUCE_MAX || op == TENSOR_REDUCE_MIN;
                    if (needs_one && tensor_size(x) == 0) continue;
                    check((tensor_reduce_op)op, x, axes, from % VIEW_WRITABLE, false);
                    if (op <= TENSOR_MEAN) check((tensor_reduce_op)op, x, axes, VIEW_PLAIN, true);
                    tensor_arena_reset(arena);
                }
}

/* With a map that is not stored: as that of the mapped elements, in rows, columns and blocks. */
Test(reduce, of_mapped_elements) {
    static const int64_t shapes[][2] = {{3, 5}, {2, 5000}, {5000, 2}, {40, 33}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int from = 0; from < VIEW_COUNT; from++)
            for (unsigned axes = 0; axes < 4; axes++)
                for (int op = 0; op < TENSOR_REDUCE_COUNT; op++) {
                    int64_t shape[2];
                    for (int i = 0; i < 2; i++) shape[i] = axes >> i & 1 ? 1 : shapes[s][i];
                    tensor x = test_view(arena, TENSOR_F32, from, 2, shapes[s]);
                    tensor squares = test_view(arena, TENSOR_F32, VIEW_PLAIN, 2, shapes[s]);
                    tensor out = test_view(arena, TENSOR_F32, from % VIEW_WRITABLE, 2, shape);
                    tensor expected = test_view(arena, TENSOR_F32, VIEW_PLAIN, 2, shape);
                    test_fill(x, 4, -1, 1);
                    TEST_OK(tensor_unary(squares, TENSOR_SQUARE, x, &err));
                    TEST_OK(tensor_reduce(expected, (tensor_reduce_op)op, squares, axes, false, &err));
                    TEST_OK(tensor_reduce_of(out, (tensor_reduce_op)op, TENSOR_SQUARE, x, axes, false, &err));
                    for (int64_t i = 0; i < tensor_size(out); i++)
                        test_close((double)*test_at(out, i), (double)*test_at(expected, i), 2e-7,
                                   "reduce_of");
                    tensor_arena_reset(arena);
                }
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3));
    TEST_FAILS(tensor_reduce_of(x, TENSOR_SUM, TENSOR_UNARY_COUNT, x, 0, false, &err),
               "reduce_of: there is no operation 23 to map with");
}

/* More than a block of 4096, and more than one round of them. */
Test(reduce, long_rows_and_columns) {
    for (int from = 0; from < VIEW_WRITABLE; from++) {
        tensor rows = test_view(arena, TENSOR_F32, from, TENSOR_SHAPE(3, 5000));
        tensor columns = test_view(arena, TENSOR_F32, from, TENSOR_SHAPE(5000, 3));
        test_fill(rows, 2, -1, 1);
        test_fill(columns, 3, -1, 1);
        for (int op = 0; op < TENSOR_REDUCE_COUNT; op++) {
            check((tensor_reduce_op)op, rows, 2, VIEW_PLAIN, false);
            check((tensor_reduce_op)op, rows, 3, VIEW_PLAIN, false);
            check((tensor_reduce_op)op, columns, 1, VIEW_PLAIN, false);
            check((tensor_reduce_op)op, columns, 3, VIEW_PLAIN, false);
        }
    }
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(300 * 4096 + 5));
    tensor out = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1));
    test_fill(x, 2, 0, 1);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < x.shape[0]; i++)
        sum += (double)x.f32[i], squares += (double)x.f32[i] * (double)x.f32[i];
    TEST_OK(tensor_reduce(out, TENSOR_SUM, x, 1, false, &err));
    test_close((double)*out.f32, sum, 1e-6, "sum");
    test_close(tensor_sum_squares(x), squares, 1e-12, "sum of squares");
    test_close(tensor_sum_squares(tensor_slice(x, 0, INT64_MAX, INT64_MIN, -1, NULL)), squares, 1e-12,
               "reversed");
    cr_assert_eq(tensor_sum_squares((tensor){0}), 0);
}

/* Rows that a kernel takes together have the bits that each has alone, and where its elements are no neighbours. */
Test(reduce, a_row_has_the_same_bits_anywhere) {
    enum { ROWS = 300, MOST = 1025 };
    for (int64_t n = 1; n <= MOST; n += n < 40 ? 1 : 197)
        for (int op = 0; op < TENSOR_REDUCE_COUNT; op++) {
            tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(ROWS, n));
            tensor turned = test_view(arena, TENSOR_F32, VIEW_TRANSPOSED, TENSOR_SHAPE(ROWS, n));
            tensor all = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(ROWS, 1));
            tensor other = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(ROWS, 1));
            test_fill(x, 2, -2, 2);
            TEST_OK(tensor_copy(turned, x, &err));
            TEST_OK(tensor_reduce(all, (tensor_reduce_op)op, x, 2, false, &err));
            TEST_OK(tensor_reduce(other, (tensor_reduce_op)op, turned, 2, false, &err));
            cr_assert_eq(memcmp(all.f32, other.f32, ROWS * sizeof(float)), 0, "op %d, n %d", op, (int)n);
            for (int64_t r = 0; r < ROWS; r++)
                TEST_OK(tensor_reduce(tensor_slice(other, 0, r, r + 1, 1, NULL), (tensor_reduce_op)op,
                                      tensor_slice(x, 0, r, r + 1, 1, NULL), 2, false, &err));
            cr_assert_eq(memcmp(all.f32, other.f32, ROWS * sizeof(float)), 0, "op %d, n %d", op, (int)n);
            tensor_arena_reset(arena);
        }
}

/* Sums and means of a hundred thousand and of millions of elements along leading, trailing and mixed axes. */
Test(reduce, sums_do_not_lose_with_length) {
    static const struct {
        int64_t shape[3];
        unsigned axes;
    } cases[] = {{{20000000, 1, 1}, 1}, {{1, 1, 20000000}, 4}, {{1000000, 1, 10}, 1}, {{1000000, 1, 10}, 5},
                 {{10, 1, 1000000}, 4}, {{1000, 3, 1000}, 5},  {{1000, 100, 3}, 3},   {{20000, 3, 17}, 1},
                 {{7, 100000, 3}, 2},   {{7, 100000, 3}, 7}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int kind = 0; kind <= VIEW_TRANSPOSED; kind++)
            for (int value = 0; value < 3; value++) {
                tensor x = test_view(arena, TENSOR_F32, kind, 3, cases[c].shape), out;
                const float values[] = {1, 0.1f, 16777215.f};
                int64_t shape[3], count = 1;
                for (int i = 0; i < 3; i++) {
                    shape[i] = cases[c].axes >> i & 1 ? 1 : x.shape[i];
                    count *= x.shape[i] / shape[i];
                }
                TEST_OK(tensor_fill(x, (double)values[value], &err));
                out = test_view(arena, TENSOR_F32, VIEW_PLAIN, 3, shape);
                for (int op = TENSOR_SUM; op <= TENSOR_MEAN; op++) {
                    TEST_OK(tensor_reduce(out, (tensor_reduce_op)op, x, cases[c].axes, false, &err));
                    const double sum = (double)values[value] * (op == TENSOR_SUM ? (double)count : 1);
                    for (int64_t i = 0; i < tensor_size(out); i++)
                        cr_assert(fabs((double)out.f32[i] - sum) <= (value == 0 ? 6e-8 : 4.3e-6) * sum,
                                  "case %zu, view %d, operation %d: %.9g, expected %.9g", c, kind, op,
                                  (double)out.f32[i], sum);
                }
                tensor_arena_reset(arena);
            }
}

/* The same elements give the same bits in any layout and with any number of threads. */
Test(reduce, bits_depend_on_neither_layout_nor_threads) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(70, 9000));
    test_fill(x, 5, -1, 1);
    tensor first[2], out;
    for (int threads = 1; threads <= 3; threads++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            TEST_OK(tensor_set_threads(threads, &err));
            tensor view = test_view(arena, TENSOR_F32, kind, 2, x.shape);
            TEST_OK(tensor_copy(view, x, &err));
            for (unsigned axis = 0; axis < 2; axis++) {
                out = test_view(arena, TENSOR_F32, VIEW_PLAIN, 2,
                                axis ? (int64_t[]){70, 1} : (int64_t[]){1, 9000});
                TEST_OK(tensor_reduce(out, TENSOR_SUM, view, 1u << axis, false, &err));
                if (threads == 1 && kind == 0) first[axis] = out;
                cr_assert_eq(memcmp(out.f32, first[axis].f32, (size_t)tensor_size(out) * sizeof(float)), 0);
            }
        }
}

Test(reduce, nan_and_infinity) {
    for (int64_t n = 1; n < 40; n++)
        for (int64_t at = 0; at < n; at++) {
            tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, 1, &n),
                   out = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1));
            test_fill(x, 1, -5, -1);
            x.f32[at] = NAN;
            TEST_OK(tensor_reduce(out, TENSOR_REDUCE_MAX, x, 1, false, &err));
            cr_assert(isnan(*out.f32));
            tensor both = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(n, 2)),
                   columns = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 2));
            TEST_OK(tensor_copy(both, tensor_reshape(x, TENSOR_SHAPE(n, 1), &err), &err) &&
                    tensor_reduce(columns, TENSOR_REDUCE_MAX, both, 1, false, &err));
            cr_assert(isnan(columns.f32[0]) && isnan(columns.f32[1]));
            x.f32[at] = -0.5f;
            TEST_OK(tensor_reduce(out, TENSOR_REDUCE_MAX, x, 1, false, &err));
            cr_assert_eq(*out.f32, -0.5f);
            TEST_OK(tensor_fill(x, -INFINITY, &err) &&
                    tensor_reduce(out, TENSOR_REDUCE_MAX, x, 1, false, &err));
            cr_assert_eq(*out.f32, -INFINITY);
            tensor_arena_reset(arena);
        }
}

Test(reduce, argmax_is_the_first_largest) {
    static const int64_t shape[] = {3, 17, 5};
    for (int from = 0; from < VIEW_COUNT; from++)
        for (int axis = 0; axis < 3; axis++) {
            tensor x = test_view(arena, TENSOR_F32, from, 3, shape);
            test_fill(x, 6, 0, 9);
            for (int64_t i = 0; i < tensor_size(x); i++) *test_at(x, i) = floorf(*test_at(x, i)); /* ties */
            int64_t out_shape[] = {3, 17, 5};
            out_shape[axis] = 1;
            tensor out = test_view(arena, TENSOR_I32, from % VIEW_WRITABLE, 3, out_shape);
            TEST_OK(tensor_argmax(out, x, axis - 3, &err));
            for (int64_t i = 0; i < tensor_size(out); i++) {
                int64_t best = -1;
                float top = -1;
                int64_t position = 0;
                for (int64_t j = 0; j < tensor_size(x); j++)
                    if (test_at_as(out, j, 3, shape) == test_at(out, i)) {
                        if (*test_at(x, j) > top) best = position, top = *test_at(x, j);
                        position++;
                    }
                cr_assert_eq(*test_int_at(out, i), best);
            }
        }
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(4)),
           out = test_view(arena, TENSOR_I32, VIEW_PLAIN, TENSOR_SHAPE(1));
    memcpy(x.f32, (float[]){1, NAN, INFINITY, NAN}, 4 * sizeof(float));
    TEST_OK(tensor_argmax(out, x, 0, &err));
    cr_assert_eq(*out.i32, 1);
}

Test(reduce, errors) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(2, 0)),
           out = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(2, 1));
    TEST_FAILS(tensor_reduce(out, TENSOR_REDUCE_MAX, x, 2, false, &err), "max: there are no elements");
    TEST_FAILS(tensor_reduce(out, TENSOR_REDUCE_MIN, x, 2, false, &err), "min: there are no elements");
    TEST_FAILS(tensor_reduce(out, TENSOR_SUM, x, 1, false, &err), "sum: out is [2, 1], expected [1, 0]");
    TEST_FAILS(tensor_reduce(out, TENSOR_SUM, x, 4, false, &err),
               "sum: axes 0x4 are outside a tensor of rank 2");
    TEST_FAILS(tensor_reduce(out, TENSOR_REDUCE_MAX, out, 0, true, &err), "max: cannot accumulate");
}
