/* Reductions. The order of a sum follows from the shape alone, not from strides or threads: where the last
 * axis is reduced, each result is a row of elements in row-major order, summed by the kernel in blocks that
 * are added in double; elsewhere many columns are summed side by side (columns_internal.h). */
#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/ops/columns_internal.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 32768, /* elements a thread takes at least */
    PARTIALS = 256 /* blocks reduced side by side */
};

typedef enum block_op { BLOCK_SUM, BLOCK_MAX, BLOCK_MIN, BLOCK_PRODUCT, BLOCK_SQUARES } block_op;
#define AS_IT_IS TENSOR_UNARY_COUNT /* no map of x */

/* What nothing is, and what two parts are together. */
static double start(block_op op) {
    return op == BLOCK_MAX ? -(double)INFINITY : op == BLOCK_MIN ? (double)INFINITY : op == BLOCK_PRODUCT;
}
static double combine(block_op op, double a, double b) {
    if (op == BLOCK_MAX) return a >= b || isnan(a) ? a : b;
    if (op == BLOCK_MIN) return a <= b || isnan(a) ? a : b;
    return op == BLOCK_PRODUCT ? a * b : a + b;
}

/* ---- Rows ------------------------------------------------------------------------------------- */

typedef struct row_blocks {
    const tensor_loop *row;
    block_op op;
    tensor_unary_op map;
    int64_t first;
    double partial[PARTIALS];
} row_blocks;

static bool contiguous(const tensor_loop *row) {
    return row->outer_rank == 0 && (row->inner_stride[0] == 1 || row->size <= 1);
}

static rows_kernel *kernel_of(block_op op) {
    const tensor_kernels *kernels = tensor_kernels_get();
    rows_kernel *const of[] = {[BLOCK_SUM] = kernels->sum,
                               [BLOCK_MAX] = kernels->max,
                               [BLOCK_MIN] = kernels->min,
                               [BLOCK_PRODUCT] = kernels->product};
    return of[op];
}

static double reduce_block(const tensor_loop *row, block_op op, tensor_unary_op map, int64_t block) {
    float stage[REDUCE_BLOCK];
    const int64_t begin = block * REDUCE_BLOCK,
                  n = row->size - begin < REDUCE_BLOCK ? row->size - begin : REDUCE_BLOCK;
    const float *x = stage;
    if (contiguous(row)) {
        x = (const float *)row->base[0] + begin;
    } else {
        float *to = stage;
        tensor_run run = tensor_loop_runs(row, begin, begin + n);
        while (tensor_run_next(&run))
            for (int64_t i = 0; i < run.n; i++) *to++ = ((const float *)run.at[0])[i * row->inner_stride[0]];
    }
    const tensor_kernels *kernels = tensor_kernels_get();
    if (map == TENSOR_SQUARE && op == BLOCK_SUM) return (double)kernels->dot(n, x, x);
    if (map != AS_IT_IS) kernels->unary[map](n, stage, x), x = stage;
    return op == BLOCK_SQUARES ? kernels->sum_squares(n, x) : (double)reduce_one(kernel_of(op), n, x);
}

static void reduce_blocks(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    row_blocks *t = context;
    for (int64_t i = begin; i < end; i++) t->partial[i] = reduce_block(t->row, t->op, t->map, t->first + i);
}

static double reduce_row(const tensor_loop *row, block_op op, tensor_unary_op map) {
    const int64_t blocks = (row->size + REDUCE_BLOCK - 1) / REDUCE_BLOCK;
    if (blocks == 1) return reduce_block(row, op, map, 0);
    row_blocks t = {.row = row, .op = op, .map = map};
    double total = start(op);
    for (; t.first < blocks; t.first += PARTIALS) {
        const int64_t count = blocks - t.first < PARTIALS ? blocks - t.first : PARTIALS;
        tensor_parallel(count, GRAIN / REDUCE_BLOCK, reduce_blocks, &t);
        for (int64_t i = 0; i < count; i++) total = combine(op, total, t.partial[i]);
    }
    return total;
}

/* ---- The two ways ----------------------------------------------------------------------------- */

typedef struct reduce_job {
    tensor_reduce_op op;
    tensor_unary_op map;
    bool accumulate;
    tensor_loop kept;    /* over the results: out and, along the kept axes, x */
    tensor_loop reduced; /* over the elements of one result, in row-major order */
} reduce_job;

static void finish(const reduce_job *t, float *out, double value) {
    if (t->op == TENSOR_MEAN) value /= (double)t->reduced.size;
    *out = t->accumulate ? *out + (float)value : (float)value;
}

/* n rows of which each is a block as it lies in memory. */
static void reduce_short_rows(const reduce_job *t, block_op op, int64_t n, float *out, const float *x) {
    const int64_t *step = t->kept.inner_stride;
    float some[PARTIALS];
    for (int64_t i = 0, count; i < n; i += count) {
        count = n - i < PARTIALS ? n - i : PARTIALS;
        kernel_of(op)(count, t->reduced.size, some, x + i * step[1], step[1]);
        for (int64_t k = 0; k < count; k++) finish(t, out + (i + k) * step[0], (double)some[k]);
    }
}

static void reduce_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const reduce_job *t = context;
    static const block_op blocks[] = {BLOCK_SUM, BLOCK_SUM, BLOCK_MAX, BLOCK_MIN, BLOCK_PRODUCT};
    const bool shorts = t->map == AS_IT_IS && contiguous(&t->reduced) && t->reduced.size <= REDUCE_BLOCK;
    tensor_loop row = t->reduced;
    tensor_run run = tensor_loop_runs(&t->kept, begin, end);
    while (tensor_run_next(&run)) {
        if (shorts) reduce_short_rows(t, blocks[t->op], run.n, run.at[0], run.at[1]);
        for (int64_t i = 0; !shorts && i < run.n; i++) {
            row.base[0] = (float *)run.at[1] + i * t->kept.inner_stride[1];
            finish(t, (float *)run.at[0] + i * t->kept.inner_stride[0],
                   reduce_row(&row, blocks[t->op], t->map));
        }
    }
}

/* n elements of a row, as neighbours and mapped: in `stage` where they are not so already. */
static const float *row_of(const reduce_job *t, int64_t n, const float *row, float *stage) {
    const int64_t stride = t->kept.inner_stride[1];
    if (stride != 1) {
        for (int64_t j = 0; j < n; j++) stage[j] = row[j * stride];
        row = stage;
    }
    if (t->map == AS_IT_IS) return row;
    tensor_kernels_get()->unary[t->map](n, stage, row);
    return stage;
}

/* Up to COLUMN_SUMS neighbouring results. */
static void sum_columns(const reduce_job *t, int64_t n, float *out, const tensor_loop *rows) {
    column_sums s;
    column_sums_begin(&s, n);
    tensor_run run = tensor_loop_runs(rows, 0, rows->size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++)
            column_sums_add(
                &s, row_of(t, n, (const float *)run.at[0] + i * rows->inner_stride[0], s.room[s.rows]));
    column_sums_end(&s);
    for (int64_t j = 0; j < n; j++) finish(t, out + j * t->kept.inner_stride[0], s.total[j]);
}

/* The same for those that one operation on two rows gathers. Few columns are gathered from many rows in registers; longer
 * rows one by one, as memory is best read in its order. */
static void fold_columns(const reduce_job *t, int64_t n, float *out, const tensor_loop *rows) {
    enum { FEW = 64 };
    const tensor_kernels *kernels = tensor_kernels_get();
    const struct {
        tensor_binary_op op;
        fold_rows_kernel *few;
        float start;
    } folds[] = {[TENSOR_REDUCE_MAX] = {TENSOR_MAX, kernels->fold_max, -INFINITY},
                 [TENSOR_REDUCE_MIN] = {TENSOR_MIN, kernels->fold_min, INFINITY},
                 [TENSOR_REDUCE_PRODUCT] = {TENSOR_MUL, kernels->fold_product, 1}},
      *fold = &folds[t->op];
    const bool few = fold->few && n <= FEW && t->kept.inner_stride[1] == 1 && t->map == AS_IT_IS;
    const int64_t step = rows->inner_stride[0];
    float total[COLUMN_SUMS], stage[COLUMN_SUMS];
    for (int64_t j = 0; j < n; j++) total[j] = fold->start;
    tensor_run run = tensor_loop_runs(rows, 0, rows->size);
    while (tensor_run_next(&run)) {
        if (few) fold->few(n, total, run.n, run.at[0], step);
        for (int64_t i = 0; !few && i < run.n; i++)
            kernels->binary[fold->op](n, total, total, 1,
                                      row_of(t, n, (const float *)run.at[0] + i * step, stage), 1);
    }
    for (int64_t j = 0; j < n; j++) finish(t, out + j * t->kept.inner_stride[0], (double)total[j]);
}

static void reduce_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const reduce_job *t = context;
    tensor_loop rows = t->reduced;
    tensor_run run = tensor_loop_runs(&t->kept, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i += COLUMN_SUMS) {
            const int64_t n = run.n - i < COLUMN_SUMS ? run.n - i : COLUMN_SUMS;
            rows.base[0] = (float *)run.at[1] + i * t->kept.inner_stride[1];
            (t->op >= TENSOR_REDUCE_MAX ? fold_columns : sum_columns)(
                t, n, (float *)run.at[0] + i * t->kept.inner_stride[0], &rows);
        }
}

/* x without the axes whose bit in `axes` is `drop`. */
static tensor without_axes(tensor x, unsigned axes, unsigned drop) {
    tensor view = x;
    view.rank = 0;
    for (int i = 0; i < x.rank; i++)
        if ((axes >> i & 1u) != drop) {
            view.shape[view.rank] = x.shape[i];
            view.stride[view.rank++] = x.stride[i];
        }
    return view;
}

static bool reduce(tensor out, tensor_reduce_op op, tensor_unary_op map, tensor x, unsigned axes,
                   bool accumulate, tensor_error *err) {
    static const char *const names[] = {"sum", "mean", "max", "min", "product"};
    if (op >= TENSOR_REDUCE_COUNT) return tensor_fail(err, "reduce: there is no operation %d", (int)op);
    const char *what = names[op];
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    if (axes >> x.rank)
        return tensor_fail(err, "%s: axes 0x%x are outside a tensor of rank %d", what, axes, x.rank);
    int64_t shape[TENSOR_MAX_RANK];
    bool rows = true; /* the last axis of more than one element is reduced */
    for (int i = 0; i < x.rank; i++) {
        const bool reduced = axes >> i & 1u;
        shape[i] = reduced ? 1 : x.shape[i];
        if (x.shape[i] != 1) rows = reduced;
    }
    if (!tensor_expect_shape(what, "out", &out, x.rank, shape, err)) return false;
    if (accumulate && op >= TENSOR_REDUCE_MAX) return tensor_fail(err, "%s: cannot accumulate", what);

    reduce_job t = {.op = op, .map = map, .accumulate = accumulate};
    tensor_loop_init(&t.kept, TENSOR_ANY_ORDER, 2,
                     (tensor[]){without_axes(out, axes, 1), without_axes(x, axes, 1)});
    tensor_loop_init(&t.reduced, TENSOR_ROW_MAJOR, 1, (tensor[]){without_axes(x, axes, 0)});
    const int64_t each = t.reduced.size;
    if ((op == TENSOR_REDUCE_MAX || op == TENSOR_REDUCE_MIN) && each == 0 && t.kept.size > 0)
        return tensor_fail(err, "%s: there are no elements", what);
    tensor_parallel(t.kept.size, each < GRAIN ? GRAIN / (each + 1) + 1 : 1,
                    rows ? reduce_rows : reduce_columns, &t);
    tensor_touch(out);
    return true;
}

bool tensor_reduce(tensor out, tensor_reduce_op op, tensor x, unsigned axes, bool accumulate,
                   tensor_error *err) {
    return reduce(out, op, AS_IT_IS, x, axes, accumulate, err);
}

bool tensor_reduce_of(tensor out, tensor_reduce_op op, tensor_unary_op map, tensor x, unsigned axes,
                      bool accumulate, tensor_error *err) {
    if (map >= TENSOR_UNARY_COUNT)
        return tensor_fail(err, "reduce_of: there is no operation %d to map with", (int)map);
    return reduce(out, op, map, x, axes, accumulate, err);
}

double tensor_sum_squares(tensor x) {
    if (!tensor_ok(x) || x.dtype != TENSOR_F32) return 0;
    tensor_loop row;
    tensor_loop_init(&row, TENSOR_ROW_MAJOR, 1, &x);
    return reduce_row(&row, BLOCK_SQUARES, AS_IT_IS);
}

/* ---- Argmax ----------------------------------------------------------------------------------- */

typedef struct argmax_job {
    tensor_loop kept;
    int64_t n, stride;
} argmax_job;

static void argmax_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const argmax_job *t = context;
    tensor_run run = tensor_loop_runs(&t->kept, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            const float *x = (const float *)run.at[1] + i * t->kept.inner_stride[1];
            int64_t best = 0;
            for (int64_t j = 1; j < t->n && !isnan(x[best * t->stride]); j++)
                if (!(x[j * t->stride] <= x[best * t->stride])) best = j;
            ((int32_t *)run.at[0])[i * t->kept.inner_stride[0]] = (int32_t)best;
        }
}

bool tensor_argmax(tensor out, tensor x, int axis, tensor_error *err) {
    if (!tensor_expect("argmax", "out", &out, TENSOR_I32, err) ||
        !tensor_expect("argmax", "x", &x, TENSOR_F32, err))
        return false;
    axis = tensor_expect_axis("argmax", axis, x.rank, err);
    if (axis < 0) return false;
    argmax_job t = {.n = x.shape[axis], .stride = x.stride[axis]};
    tensor along = x;
    along.shape[axis] = 1;
    if (!tensor_expect_shape("argmax", "out", &out, along.rank, along.shape, err)) return false;
    tensor_loop_init(&t.kept, TENSOR_ANY_ORDER, 2, (tensor[]){out, along});
    if (t.kept.size > 0 && t.n == 0) return tensor_fail(err, "argmax: axis %d has no elements", axis);
    if (t.n > INT32_MAX) return tensor_fail(err, "argmax: axis %d is too long for int32", axis);
    tensor_parallel(t.kept.size, GRAIN / (t.n + 1) + 1, argmax_rows, &t);
    tensor_touch(out);
    return true;
}
