/* Rows of a table by number: embedding lookups and their gradients. */
#include <string.h>

#include "tensor/kernels/kernels.h"
#include "tensor/ops/columns_internal.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 32768, /* elements a thread takes at least */
    COLUMNS = 16   /* columns that stay on one thread */
};

typedef struct rows_job {
    tensor_loop ids; /* ids, and the first element of their row in `rows` */
    int64_t width, stride;
    float *table;
    int64_t table_row, table_stride;
} rows_job;

static bool rows_init(rows_job *t, const char *what, tensor table, tensor ids, tensor rows,
                      const char *rows_name, tensor_error *err) {
    if (!tensor_expect(what, "table", &table, TENSOR_F32, err) ||
        !tensor_expect(what, "ids", &ids, TENSOR_I32, err) ||
        !tensor_expect(what, rows_name, &rows, TENSOR_F32, err))
        return false;
    if (table.rank != 2) return tensor_fail(err, "%s: table has rank %d, expected 2", what, table.rank);
    if (ids.rank == TENSOR_MAX_RANK) return tensor_fail(err, "%s: ids have rank %d already", what, ids.rank);
    int64_t shape[TENSOR_MAX_RANK];
    for (int i = 0; i < ids.rank; i++) shape[i] = ids.shape[i];
    shape[ids.rank] = table.shape[1];
    if (!tensor_expect_shape(what, rows_name, &rows, ids.rank + 1, shape, err)) return false;
    *t = (rows_job){.width = table.shape[1],
                    .stride = rows.stride[ids.rank],
                    .table = table.f32,
                    .table_row = table.stride[0],
                    .table_stride = table.stride[1]};
    rows.rank--;
    tensor_loop_init(&t->ids, TENSOR_ROW_MAJOR, 2, (tensor[]){ids, rows});

    int64_t position = 0;
    tensor_run run = tensor_loop_runs(&t->ids, 0, t->ids.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, position++) {
            const int32_t id = ((const int32_t *)run.at[0])[i * t->ids.inner_stride[0]];
            if (id < 0 || id >= table.shape[0])
                return tensor_fail(err, "%s: id %d at position %lld is outside 0..%lld", what, (int)id,
                                   (long long)position, (long long)table.shape[0] - 1);
        }
    return true;
}

static void gather_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const rows_job *t = context;
    tensor_run run = tensor_loop_runs(&t->ids, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            const float *from =
                t->table + ((const int32_t *)run.at[0])[i * t->ids.inner_stride[0]] * t->table_row;
            float *to = (float *)run.at[1] + i * t->ids.inner_stride[1];
            if (t->stride == 1 && t->table_stride == 1)
                memcpy(to, from, (size_t)t->width * sizeof *to);
            else
                for (int64_t j = 0; j < t->width; j++) to[j * t->stride] = from[j * t->table_stride];
        }
}

bool tensor_gather_rows(tensor out, tensor table, tensor ids, tensor_error *err) {
    rows_job t;
    if (!rows_init(&t, "gather_rows", table, ids, out, "out", err)) return false;
    tensor_parallel(t.ids.size, GRAIN / (t.width + 1) + 1, gather_range, &t);
    tensor_touch(out);
    return true;
}

/* ---- Scatter: the positions of each id together, so that its sum is taken as sums of columns are ---- */

int64_t tensor_scatter_add_scratch(tensor table, tensor ids) {
    return (table.rank > 0 ? table.shape[0] : 0) + tensor_size(ids);
}

typedef struct scatter_job {
    rows_job rows;
    int64_t ids;    /* different ones */
    int32_t *last;  /* [ids]: where in `order` an id's positions end and the next one's begin */
    int32_t *order; /* the positions, by id and ascending */
} scatter_job;

/* Counting sort. */
static void order_positions(scatter_job *t) {
    const tensor_loop *loop = &t->rows.ids;
    memset(t->last, 0, (size_t)t->ids * sizeof *t->last);
    for (int pass = 0; pass < 2; pass++) {
        int32_t position = 0;
        tensor_run run = tensor_loop_runs(loop, 0, loop->size);
        while (tensor_run_next(&run))
            for (int64_t i = 0; i < run.n; i++, position++) {
                int32_t *last = &t->last[((const int32_t *)run.at[0])[i * loop->inner_stride[0]]];
                if (pass == 1) t->order[*last] = position;
                ++*last;
            }
        if (pass == 1) break;
        for (int32_t id = 0, begin = 0; id < t->ids; id++) {
            const int32_t count = t->last[id];
            t->last[id] = begin;
            begin += count;
        }
    }
}

static const float *row_at(const rows_job *t, int64_t position) {
    const tensor_loop *loop = &t->ids;
    if (loop->outer_rank == 0) return (const float *)loop->base[1] + position * loop->inner_stride[1];
    const float *row = (const float *)loop->base[1] + position % loop->inner * loop->inner_stride[1];
    position /= loop->inner;
    for (int axis = loop->outer_rank - 1; axis >= 0; axis--) {
        row += position % loop->outer_shape[axis] * loop->outer_stride[axis][1];
        position /= loop->outer_shape[axis];
    }
    return row;
}

/* Columns first..first+n-1 of the table's row `to` get the rows at `count` positions: few go straight in, as many as
 * column_sums would add in float as well. */
static void add_positions(const scatter_job *t, float *to, int64_t first, int64_t n, const int32_t *position,
                          int64_t count) {
    const rows_job *rows = &t->rows;
    to += first * rows->table_stride;
    for (int64_t i = 0; count <= SUM_ROWS && i < count; i++) {
        const float *from = row_at(rows, position[i]) + first * rows->stride;
        if (rows->stride == 1 && rows->table_stride == 1)
            tensor_kernels_get()->binary[TENSOR_ADD](n, to, to, 1, from, 1);
        else
            for (int64_t j = 0; j < n; j++) to[j * rows->table_stride] += from[j * rows->stride];
    }
    if (count <= SUM_ROWS) return;
    column_sums s;
    column_sums_begin(&s, n);
    for (int64_t i = 0; i < count; i++)
        column_sums_add_strided(&s, row_at(rows, position[i]) + first * rows->stride, rows->stride);
    column_sums_end(&s);
    for (int64_t j = 0; j < n; j++) to[j * rows->table_stride] += (float)s.total[j];
}

/* Threads share the columns, not the rows, which may all have one id. */
static void scatter_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const scatter_job *t = context;
    const int64_t width = t->rows.width, last = end * COLUMNS < width ? end * COLUMNS : width;
    for (int64_t first = begin * COLUMNS; first < last; first += COLUMN_SUMS) {
        const int64_t n = last - first < COLUMN_SUMS ? last - first : COLUMN_SUMS;
        int32_t at = 0;
        for (int64_t id = 0; id < t->ids; at = t->last[id++])
            if (t->last[id] > at)
                add_positions(t, t->rows.table + id * t->rows.table_row, first, n, t->order + at,
                              t->last[id] - at);
    }
}

bool tensor_scatter_add_rows(tensor table, tensor ids, tensor rows, tensor scratch, tensor_error *err) {
    const char *what = "scatter_add_rows";
    scatter_job t = {.ids = tensor_ok(table) ? table.shape[0] : 0};
    if (!rows_init(&t.rows, what, table, ids, rows, "rows", err) ||
        !tensor_expect(what, "scratch", &scratch, TENSOR_I32, err))
        return false;
    const int64_t need = tensor_scatter_add_scratch(table, ids);
    if (!tensor_is_contiguous(scratch) || tensor_size(scratch) < need)
        return tensor_fail(err, "scatter_add_rows: scratch needs %lld elements without gaps",
                           (long long)need);
    if (need > INT32_MAX) return tensor_fail(err, "scatter_add_rows: more positions than int32 counts");
    t.last = scratch.i32;
    t.order = scratch.i32 + t.ids;
    order_positions(&t);
    tensor_parallel((t.rows.width + COLUMNS - 1) / COLUMNS, GRAIN / (COLUMNS * (t.rows.ids.size + 1)) + 1,
                    scatter_columns, &t);
    tensor_touch(table);
    tensor_touch(scratch);
    return true;
}
