/* Rows of a table: gather and scatter-add. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(rows, .init = setup, .fini = teardown);

static void make(int kind, int64_t width, tensor *table, tensor *ids, tensor *rows) {
    *table = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(5, width));
    *ids = test_view(arena, TENSOR_I32, kind, TENSOR_SHAPE(3, 4));
    *rows = test_view(arena, TENSOR_F32, (kind + 1) % VIEW_WRITABLE, TENSOR_SHAPE(3, 4, width));
    test_fill(*table, 1, -1, 1);
    test_fill(*rows, 2, -1, 1);
    for (int64_t i = 0; i < 12; i++) *test_int_at(*ids, i) = (int32_t)(i * i % 5);
}

static const int64_t widths[] = {0, 1, 7, 16, 17, 33, 257};
enum { WIDTHS = sizeof widths / sizeof *widths };

Test(rows, gather_in_every_layout) {
    for (int s = 0; s < WIDTHS; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            tensor table, ids, rows;
            make(kind, widths[s], &table, &ids, &rows);
            TEST_OK(tensor_gather_rows(rows, table, ids, &err));
            for (int64_t i = 0; i < tensor_size(rows); i++)
                cr_assert_eq(*test_at(rows, i),
                             *test_at(table, *test_int_at(ids, i / widths[s]) * widths[s] + i % widths[s]));
        }
}

Test(rows, scatter_adds_in_every_layout) {
    for (int s = 1; s < WIDTHS; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            const int64_t n = widths[s];
            tensor table, ids, rows;
            float want[5 * 257];
            make(kind, n, &table, &ids, &rows);
            for (int64_t i = 0; i < 5 * n; i++) want[i] = *test_at(table, i);
            for (int64_t i = 0; i < 12 * n; i++)
                want[*test_int_at(ids, i / n) * n + i % n] += *test_at(rows, i);
            TEST_OK(tensor_scatter_add_rows(table, ids, rows, &err));
            for (int64_t i = 0; i < 5 * n; i++)
                cr_assert_eq(*test_at(table, i), want[i]); /* the same order */
        }
}

Test(rows, errors) {
    tensor table, ids, rows;
    make(VIEW_PLAIN, 7, &table, &ids, &rows);
    TEST_FAILS(tensor_gather_rows(table, table, ids, &err), "gather_rows: out is [5, 7], expected [3, 4, 7]");
    *test_int_at(ids, 9) = -1;
    TEST_FAILS(tensor_gather_rows(rows, table, ids, &err),
               "gather_rows: id -1 at position 9 is outside 0..4");
    *test_int_at(ids, 9) = 5;
    TEST_FAILS(tensor_scatter_add_rows(table, ids, rows, &err),
               "scatter_add_rows: id 5 at position 9 is outside 0..4");
    TEST_FAILS(tensor_gather_rows(rows, rows, ids, &err), "gather_rows: table has rank 3, expected 2");
}
