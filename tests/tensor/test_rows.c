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

static tensor scratch_of(tensor table, tensor ids) {
    return tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(tensor_scatter_add_scratch(table, ids)), NULL);
}

Test(rows, scatter_adds_in_every_layout) {
    for (int s = 1; s < WIDTHS; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            const int64_t n = widths[s];
            tensor table, ids, rows;
            float sum[5 * 257];
            make(kind, n, &table, &ids, &rows);
            for (int64_t i = 0; i < 5 * n; i++) sum[i] = *test_at(table, i);
            for (int64_t i = 0; i < 12 * n; i++)
                sum[*test_int_at(ids, i / n) * n + i % n] += *test_at(rows, i);
            TEST_OK(tensor_scatter_add_rows(table, ids, rows, scratch_of(table, ids), &err));
            for (int64_t i = 0; i < 5 * n; i++) cr_assert_eq(*test_at(table, i), sum[i]); /* the same order */
        }
}

/* One id hit very often, one never, one once; columns of more than one piece. */
Test(rows, scatter_does_not_lose_with_the_number_of_hits) {
    enum { HITS = 300001 };
    static const int64_t width[] = {1, 3, 40};
    for (size_t w = 0; w < sizeof width / sizeof *width; w++) {
        const int64_t n = width[w];
        tensor table = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(3, n), NULL), rows, ids;
        ids = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(HITS), NULL);
        rows = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(HITS, n), NULL);
        ids.i32[HITS / 2] = 2;
        TEST_OK(tensor_fill(rows, 0.1, &err));
        TEST_OK(tensor_scatter_add_rows(table, ids, rows, scratch_of(table, ids), &err));
        for (int64_t j = 0; j < n; j++) {
            test_close((double)*test_at(table, j), (double)0.1f * (HITS - 1), 1e-6, "often");
            cr_assert(*test_at(table, n + j) == 0 && *test_at(table, 2 * n + j) == 0.1f);
        }
        tensor_arena_reset(arena);
    }
}

Test(rows, scatter_of_no_rows_and_no_columns) {
    for (int64_t n = 0; n < 2; n++)
        for (int64_t count = 0; count < 3; count++) {
            tensor table = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, n), NULL);
            tensor ids = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(count), NULL);
            tensor rows = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(count, n), NULL);
            TEST_OK(tensor_scatter_add_rows(table, ids, rows, scratch_of(table, ids), &err));
            TEST_OK(tensor_gather_rows(rows, table, ids, &err));
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
    TEST_FAILS(tensor_scatter_add_rows(table, ids, rows, scratch_of(table, ids), &err),
               "scatter_add_rows: id 5 at position 9 is outside 0..4");
    *test_int_at(ids, 9) = 4;
    TEST_FAILS(tensor_scatter_add_rows(table, ids, rows, ids, &err),
               "scatter_add_rows: scratch needs 17 elements without gaps");
    TEST_FAILS(tensor_gather_rows(rows, rows, ids, &err), "gather_rows: table has rank 3, expected 2");
}
