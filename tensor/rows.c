/* Rows of a table by number: embedding lookups and their gradients. */
#include <string.h>

#include "tensor/kernels/kernels.h"
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
    if (!tensor_expect(what, "table", table, TENSOR_F32, err) ||
        !tensor_expect(what, "ids", ids, TENSOR_I32, err) ||
        !tensor_expect(what, rows_name, rows, TENSOR_F32, err))
        return false;
    if (table.rank != 2) return tensor_fail(err, "%s: table has rank %d, expected 2", what, table.rank);
    if (ids.rank == TENSOR_MAX_RANK) return tensor_fail(err, "%s: ids have rank %d already", what, ids.rank);
    int64_t shape[TENSOR_MAX_RANK];
    for (int i = 0; i < ids.rank; i++) shape[i] = ids.shape[i];
    shape[ids.rank] = table.shape[1];
    if (!tensor_expect_shape(what, rows_name, rows, ids.rank + 1, shape, err)) return false;
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

/* Threads share the columns, not the rows: every sum keeps its order. */
static void scatter_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const rows_job *t = context;
    binary_kernel *add = tensor_kernels_get()->binary[TENSOR_ADD];
    const int64_t first = begin * COLUMNS, last = end * COLUMNS < t->width ? end * COLUMNS : t->width;
    tensor_run run = tensor_loop_runs(&t->ids, 0, t->ids.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            float *to = t->table + ((const int32_t *)run.at[0])[i * t->ids.inner_stride[0]] * t->table_row;
            const float *from = (const float *)run.at[1] + i * t->ids.inner_stride[1];
            if (t->stride == 1 && t->table_stride == 1)
                add(last - first, to + first, to + first, from + first);
            else
                for (int64_t j = first; j < last; j++) to[j * t->table_stride] += from[j * t->stride];
        }
}

bool tensor_scatter_add_rows(tensor table, tensor ids, tensor rows, tensor_error *err) {
    rows_job t;
    if (!rows_init(&t, "scatter_add_rows", table, ids, rows, "rows", err)) return false;
    tensor_parallel((t.width + COLUMNS - 1) / COLUMNS, GRAIN / (COLUMNS * (t.ids.size + 1)) + 1,
                    scatter_columns, &t);
    tensor_touch(table);
    return true;
}
