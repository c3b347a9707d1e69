/* Work that is cut into ranges: any number of threads gives the same bits, in every layout. Operands are so large that
 * there are several ranges, which begin amid them. */
#include "tests/tensor/tensor_test.h"

enum { ROWS = 300, COLUMNS = 400, TABLE = 50 };

/* What each of the operations may read. */
typedef struct operands {
    tensor x, y, row; /* [ROWS, COLUMNS] and [COLUMNS] */
    tensor down, across,
        few; /* numbers of rows and of columns, [ROWS, COLUMNS], and of rows of a table, [ROWS] */
    tensor table, cos, sin;
} operands;

static tensor_arena *arena;

static tensor view(tensor_dtype dtype, int kind, int64_t rows, int64_t columns) {
    return test_view(arena, dtype, kind, TENSOR_SHAPE(rows, columns));
}

static operands make(int kind) {
    operands o = {.x = view(TENSOR_F32, kind, ROWS, COLUMNS),
                  .y = view(TENSOR_F32, kind, ROWS, COLUMNS),
                  .row = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(COLUMNS)),
                  .down = view(TENSOR_I32, kind, ROWS, COLUMNS),
                  .across = view(TENSOR_I32, kind, ROWS, COLUMNS),
                  .few = test_view(arena, TENSOR_I32, kind, TENSOR_SHAPE(ROWS)),
                  .table = view(TENSOR_F32, kind, TABLE, COLUMNS),
                  .cos = view(TENSOR_F32, VIEW_PLAIN, ROWS, COLUMNS / 2),
                  .sin = view(TENSOR_F32, VIEW_PLAIN, ROWS, COLUMNS / 2)};
    test_fill(o.x, 1, -1, 1), test_fill(o.y, 2, -1, 1), test_fill(o.row, 3, -1, 1);
    test_fill(o.table, 4, -1, 1);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        *test_int_at(o.down, i) = (int32_t)(i * 7919 % ROWS);
        *test_int_at(o.across, i) = (int32_t)(i * 7919 % COLUMNS);
        if (i < ROWS) *test_int_at(o.few, i) = (int32_t)(i * i % TABLE);
    }
    cr_assert(tensor_rotary_table(o.cos, o.sin, 0, 100, NULL));
    return o;
}

/* Operations whose result has x's shape. */
static bool whole(int k, tensor out, const operands *o) {
    const tensor x = o->x, y = o->y,
                 scratch = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(128 * COLUMNS), NULL);
    switch (k) {
    case 0:
        return tensor_unary(out, TENSOR_SQUARE, x, NULL);
    case 1:
        return tensor_binary(out, TENSOR_ADD, x, y, NULL);
    case 2:
        return tensor_binary(out, TENSOR_MUL, x, o->row, NULL);
    case 3:
        return tensor_affine(out, 2, x, 1, NULL);
    case 4:
        return tensor_copy(out, x, NULL) && tensor_axpy(out, 2, y, NULL);
    case 5:
        return tensor_where(out, o->row, x, y, NULL);
    case 6:
        return tensor_copy(out, o->row, NULL);
    case 7:
        return tensor_fill(out, 3, NULL);
    case 8:
    case 9:
        return tensor_softmax(out, x, k - 8, NULL);
    case 10:
    case 11:
        return tensor_log_softmax(out, x, k - 10, NULL);
    case 12:
    case 13:
        return tensor_softmax_vjp(out, x, y, k - 12, false, NULL);
    case 14:
    case 15:
        return tensor_cumulative_sum(out, x, k - 14, NULL);
    case 16:
        return tensor_gather(out, x, 0, o->down, NULL);
    case 17:
        return tensor_gather(out, x, 1, o->across, NULL);
    case 18:
        return tensor_fill(out, 0, NULL) && tensor_scatter_add(out, 1, o->across, x, scratch, NULL);
    case 19:
        return tensor_gather_rows(out, o->table, o->few, NULL);
    case 20:
    case 21:
        return tensor_rotary(out, x, o->cos, o->sin, k == 21, false, NULL);
    default:
        return tensor_concat(
            out, 2, (tensor[]){tensor_slice(x, 0, 0, 7, 1, NULL), tensor_slice(y, 0, 7, ROWS, 1, NULL)}, 0,
            NULL);
    }
}
enum { WHOLE = 23 };

/* The operation's result without gaps. */
static tensor result(int k, int kind, const operands *o) {
    tensor out, scratch;
    bool done;
    if (k < WHOLE) {
        out = view(TENSOR_F32, kind, ROWS, COLUMNS);
        done = whole(k, out, o);
    } else if (k < WHOLE + 4) {
        const int axis = k % 2;
        out = view(TENSOR_F32, kind, axis ? ROWS : 1, axis ? 1 : COLUMNS);
        done = k < WHOLE + 2 ? tensor_reduce(out, TENSOR_SUM, o->x, 1u << axis, false, NULL)
                             : tensor_log_sum_exp(out, o->x, axis, NULL);
    } else if (k < WHOLE + 6) {
        const int axis = k % 2;
        out = view(TENSOR_I32, kind, axis ? ROWS : 1, axis ? 1 : COLUMNS);
        done = tensor_argmax(out, o->x, axis, NULL);
    } else if (k < WHOLE + 8) { /* rows so short that they are taken together */
        enum { TALL = 30000, SHORT = 4 };
        const tensor x = view(TENSOR_F32, kind, TALL, SHORT),
                     row = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(SHORT));
        test_fill(x, 5, -1, 1), test_fill(row, 6, -1, 1);
        out = view(TENSOR_F32, kind, TALL, SHORT);
        done = k % 2 ? tensor_binary(out, TENSOR_MUL, x, row, NULL) : tensor_copy(out, row, NULL);
    } else {
        out = view(TENSOR_F32, kind, TABLE, COLUMNS);
        scratch =
            tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(tensor_scatter_add_scratch(out, o->few)), NULL);
        done = tensor_fill(out, 0, NULL) && tensor_scatter_add_rows(out, o->few, o->x, scratch, NULL);
    }
    cr_assert(done, "operation %d", k);
    return tensor_contiguous(arena, out, NULL);
}
enum { OPERATIONS = WHOLE + 9 };

Test(partition, any_number_of_threads_gives_the_same_bits) {
    arena = tensor_arena_new(NULL);
    for (int kind = 0; kind < VIEW_WRITABLE; kind++)
        for (int k = 0; k < OPERATIONS; k++) {
            tensor results[2];
            const operands o = make(kind);
            for (int i = 0; i < 2; i++) {
                cr_assert(tensor_set_threads(i == 0 ? 1 : 3, NULL));
                results[i] = result(k, kind, &o);
            }
            cr_expect_arr_eq(results[0].data, results[1].data,
                             (size_t)tensor_size(results[0]) * sizeof(float), "operation %d, layout %d", k,
                             kind);
            tensor_arena_reset(arena);
        }
    tensor_arena_free(arena);
}
