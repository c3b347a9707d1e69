/* Copies: of four bytes an element, whatever they mean. */
#include <string.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 32768, /* elements a thread takes at least */
    /* A tile of a transposition: its columns fill the cache line that they are written to, its rows are as many as leave
     * the lines that they are read from in the cache nearest to the processor. */
    TILE_ROWS = 128,
    TILE_COLUMNS = 16,
    TILE_LEAST = 4, /* fewer rows or columns go one by one */
    SHORT = 64      /* runs up to this length are copied many at a time */
};

static void copy_runs(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const tensor_loop *loop = context;
    const int64_t to = loop->inner_stride[0], from = loop->inner_stride[1];
    tensor_run run = tensor_loop_runs(loop, begin, end);
    while (tensor_run_next(&run)) {
        tensor_word *out = run.at[0];
        const tensor_word *x = run.at[1];
        const int64_t n = run.n; /* locals, as `out` may alias anything */
        if (to == 1 && from == 1)
            memcpy(out, x, (size_t)n * sizeof *out);
        else if (to == 1 && from == 0)
            tensor_kernels_get()->fill(n, run.at[0], run.at[1]);
        else
            for (int64_t i = 0; i < n; i++) out[i * to] = x[i * from];
    }
}

/* Of runs that are too short for a call each. */
static void copy_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const tensor_loop *loop = context;
    const tensor_loop rows = tensor_loop_rows(loop);
    const int64_t to[] = {rows.inner_stride[0], loop->inner_stride[0]},
                  from[] = {rows.inner_stride[1], loop->inner_stride[1]};
    tensor_run run = tensor_loop_runs(&rows, begin, end);
    while (tensor_run_next(&run)) tensor_copy_short(run.n, loop->inner, run.at[0], to, run.at[1], from);
}

/* ---- Where the source's neighbours are rows of the result: tiles ------------------------------- */

typedef struct tiling {
    tensor_loop planes; /* the first element of each */
    int64_t rows, columns, row_tiles, column_tiles;
    int64_t out_row,
        x_row; /* from a row of the result to the next; from a column of it to the next, in the source */
} tiling;

static void copy_tiles(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const tiling *t = context;
    const int64_t each = t->row_tiles * t->column_tiles;
    for (int64_t tile = begin; tile < end; tile++) {
        tensor_run plane = tensor_loop_runs(&t->planes, tile / each, tile / each + 1);
        tensor_run_next(&plane);
        const int64_t row = tile % each / t->column_tiles * TILE_ROWS,
                      column = tile % t->column_tiles * TILE_COLUMNS;
        tensor_kernels_get()->transpose(t->rows - row < TILE_ROWS ? t->rows - row : TILE_ROWS,
                                        t->columns - column < TILE_COLUMNS ? t->columns - column
                                                                           : TILE_COLUMNS,
                                        (float *)plane.at[0] + row * t->out_row + column, t->out_row,
                                        (const float *)plane.at[1] + column * t->x_row + row, t->x_row);
    }
}

/* The axis along which the source's elements are neighbours while the result's are along the innermost; -1: none. */
static int row_axis(const tensor_loop *loop) {
    const int64_t from = loop->inner_stride[1];
    if (loop->inner_stride[0] != 1 || from == 0 || from == 1 || loop->inner < TILE_LEAST) return -1;
    for (int i = loop->outer_rank - 1; i >= 0; i--)
        if (loop->outer_stride[i][1] == 1 && loop->outer_shape[i] >= TILE_LEAST) return i;
    return -1;
}

static void copy_transposed(const tensor_loop *loop, int axis) {
    tiling t = {.planes = *loop,
                .rows = loop->outer_shape[axis],
                .columns = loop->inner,
                .out_row = loop->outer_stride[axis][0],
                .x_row = loop->inner_stride[1]};
    t.row_tiles = (t.rows + TILE_ROWS - 1) / TILE_ROWS;
    t.column_tiles = (t.columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    t.planes.size = loop->size / (t.rows * t.columns);
    t.planes.inner = 1;
    t.planes.outer_rank--;
    for (int i = axis; i < t.planes.outer_rank; i++) {
        t.planes.outer_shape[i] = loop->outer_shape[i + 1];
        memcpy(t.planes.outer_stride[i], loop->outer_stride[i + 1], sizeof t.planes.outer_stride[i]);
    }
    const int64_t tiles = t.planes.size * t.row_tiles * t.column_tiles;
    tensor_parallel(tiles, GRAIN / (loop->size / tiles + 1) + 1, copy_tiles, &t);
}

/* ---- Copy --------------------------------------------------------------------------------------- */

bool tensor_copy(tensor out, tensor x, tensor_error *err) {
    if (!tensor_expect("copy", "out", &out, out.dtype, err) ||
        !tensor_expect("copy", "x", &x, out.dtype, err))
        return false;
    const bool same = tensor_equal_sizes(x.rank, x.shape, out.rank, out.shape);
    if (!same) x = tensor_expand(x, out.rank, out.shape, err);
    if (!tensor_ok(x)) return false;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    const int axis = row_axis(&loop);
    if (axis >= 0)
        copy_transposed(&loop, axis);
    else if (loop.inner <= SHORT && loop.outer_rank > 0)
        tensor_parallel(loop.size / loop.inner, GRAIN / loop.inner, copy_rows, &loop);
    else
        tensor_parallel(loop.size, GRAIN, copy_runs, &loop);
    tensor_touch(out);
    return true;
}

/* ---- Concat ------------------------------------------------------------------------------------- */

typedef struct joining {
    int count;
    const tensor *x;
    char *out;
    int axis;
    int64_t step, bytes; /* of one index along the axis; of a row of the result */
} joining;

/* The result is written from front to back: pieces of a row that are written by themselves, with gaps, take half as long
 * again where the result is larger than a cache. */
static void join_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const joining *t = context;
    char *to = t->out + begin * t->bytes;
    for (int64_t row = begin; row < end; row++)
        for (int i = 0; i < t->count; i++) {
            const size_t bytes = (size_t)(t->x[i].shape[t->axis] * t->step);
            if (bytes > 0) memcpy(to, (const char *)t->x[i].data + (size_t)row * bytes, bytes);
            to += bytes;
        }
}

bool tensor_concat(tensor out, int count, const tensor *x, int axis, tensor_error *err) {
    if (!tensor_expect("concat", "out", &out, out.dtype, err)) return false;
    axis = tensor_expect_axis("concat", axis, out.rank, err);
    if (axis < 0) return false;
    int64_t shape[TENSOR_MAX_RANK], at = 0, rows = 1;
    memcpy(shape, out.shape, sizeof shape);
    bool dense = tensor_dense(&out);
    for (int i = 0; i < count; i++) {
        if (!tensor_expect("concat", "x", &x[i], out.dtype, err)) return false;
        shape[axis] = axis < x[i].rank ? x[i].shape[axis] : out.shape[axis];
        if (!tensor_expect_shape("concat", "x", &x[i], out.rank, shape, err)) return false;
        at += shape[axis];
        dense = dense && tensor_dense(&x[i]);
    }
    shape[axis] = at;
    if (!tensor_expect_shape("concat", "out", &out, out.rank, shape, err)) return false;
    for (int i = 0; i < axis; i++) rows *= out.shape[i];
    if (dense && rows > 1 && tensor_size(out) > 0) {
        const int64_t width = tensor_size(out) / rows, bytes = width * (int64_t)sizeof(tensor_word);
        joining t = {count, x, out.data, axis, bytes / at, bytes};
        tensor_parallel(rows, GRAIN / width + 1, join_rows, &t);
        tensor_touch(out);
        return true;
    }
    at = 0;
    for (int i = 0; i < count; i++) {
        const int64_t size = x[i].shape[axis];
        if (!tensor_copy(tensor_slice(out, axis, at, at + size, 1, err), x[i], err)) return false;
        at += size;
    }
    return true;
}

/* ---- Fill --------------------------------------------------------------------------------------- */

bool tensor_fill(tensor out, double value, tensor_error *err) {
    if (!tensor_expect("fill", "out", &out, out.dtype, err)) return false;
    union {
        float f32;
        int32_t i32;
    } element;
    tensor_storage storage = {&element, sizeof element, 0};
    if (out.dtype == TENSOR_F32)
        element.f32 = (float)value;
    else if (value > -2147483649.0 && value < 2147483648.0)
        element.i32 = (int32_t)value;
    else
        return tensor_fail(err, "fill: %g does not fit into int32", value);
    return tensor_copy(out, tensor_wrap(&storage, out.dtype, 0, NULL, err), err);
}
