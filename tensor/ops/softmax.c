/* Softmax and its gradient along any axis. Rows of neighbouring elements go to the kernels as they are, short strided
 * ones through the stack; long strided rows are taken in the kernels' own blocks, in the same order of sums. */
#include "tensor/ops/softmax_internal.h"

#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 8192 }; /* elements a thread takes at least */

static void load(float *to, const float *x, int64_t stride, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = x[i * stride];
}

static void store(float *out, int64_t stride, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i * stride] = from[i];
}

/* x = a x + b. */
static void scale(int64_t n, float *x, float a, float b) {
    tensor_kernels_get()->parametric[TENSOR_AFFINE](n, x, x, NULL, a, b);
}

static int64_t block_at(int64_t n, int64_t i) {
    return n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK;
}

/* The largest element, and the sum of e^(x - largest). */
static float long_row_sum(int64_t n, const float *x, int64_t stride, float *top) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float stage[REDUCE_BLOCK];
    *top = -INFINITY;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK) {
        load(stage, x + i * stride, stride, block_at(n, i));
        const float next = reduce_one(kernels->max, block_at(n, i), stage);
        if (!(*top >= next) && !isnan(*top)) *top = next;
    }
    double sum = 0;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK) {
        const int64_t size = block_at(n, i);
        load(stage, x + i * stride, stride, size);
        scale(size, stage, 1, -*top);
        kernels->unary[TENSOR_EXP](size, stage, stage);
        sum += (double)reduce_one(kernels->sum, size, stage);
    }
    return (float)sum;
}

static float log_one(float x) {
    tensor_kernels_get()->unary[TENSOR_LOG](1, &x, &x);
    return x;
}

float tensor_row_log_sum_exp(int64_t n, const float *x, int64_t stride) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float stage[REDUCE_BLOCK], top;
    if (stride != 1 && n <= REDUCE_BLOCK) {
        load(stage, x, stride, n);
        x = stage;
        stride = 1;
    }
    if (stride == 1) {
        kernels->log_sum_exp(1, n, &top, x, 0);
        return top;
    }
    const float sum = long_row_sum(n, x, stride, &top);
    return isinf(top) ? top : top + log_one(sum);
}

typedef struct softmax_job {
    tensor_loop rows; /* out and x at the first element of each row */
    int64_t n, out_stride, x_stride;
    bool log;
} softmax_job;

static void long_row(const softmax_job *t, float *out, const float *x) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float stage[REDUCE_BLOCK], top;
    const float sum = long_row_sum(t->n, x, t->x_stride, &top), log_sum = log_one(sum), inverse = 1 / sum;
    for (int64_t i = 0; i < t->n; i += REDUCE_BLOCK) {
        const int64_t size = block_at(t->n, i);
        load(stage, x + i * t->x_stride, t->x_stride, size);
        scale(size, stage, 1, -top);
        if (t->log) {
            scale(size, stage, 1, -log_sum);
        } else {
            kernels->unary[TENSOR_EXP](size, stage, stage);
            scale(size, stage, inverse, 0);
        }
        store(out + i * t->out_stride, t->out_stride, stage, size);
    }
}

static void softmax_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const softmax_job *t = context;
    const tensor_kernels *kernels = tensor_kernels_get();
    void (*kernel)(int64_t, float *, const float *) = t->log ? kernels->log_softmax : kernels->softmax;
    float stage[REDUCE_BLOCK];
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            float *out = (float *)run.at[0] + i * t->rows.inner_stride[0];
            const float *x = (const float *)run.at[1] + i * t->rows.inner_stride[1];
            if (t->out_stride == 1 && t->x_stride == 1) {
                kernel(t->n, out, x);
            } else if (t->n <= REDUCE_BLOCK) {
                load(stage, x, t->x_stride, t->n);
                kernel(t->n, stage, stage);
                store(out, t->out_stride, stage, t->n);
            } else {
                long_row(t, out, x);
            }
        }
}

static bool softmax(const char *what, bool log, tensor out, tensor x, int axis, tensor_error *err) {
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    axis = tensor_expect_axis(what, axis, x.rank, err);
    if (axis < 0 || !tensor_expect_shape(what, "out", &out, x.rank, x.shape, err)) return false;
    softmax_job t = {
        .n = x.shape[axis], .out_stride = out.stride[axis], .x_stride = x.stride[axis], .log = log};
    out.shape[axis] = x.shape[axis] = t.n > 0; /* no rows where they are empty */
    tensor_loop_init(&t.rows, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, softmax_rows, &t);
    tensor_touch(out);
    return true;
}

bool tensor_softmax(tensor out, tensor x, int axis, tensor_error *err) {
    return softmax("softmax", false, out, x, axis, err);
}

bool tensor_log_softmax(tensor out, tensor x, int axis, tensor_error *err) {
    return softmax("log_softmax", true, out, x, axis, err);
}

/* ---- Its logarithm ---------------------------------------------------------------------------- */

typedef struct sum_job {
    tensor_loop rows; /* out and x at the first element of each row */
    int64_t n, stride;
} sum_job;

static void log_sum_exp_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const sum_job *t = context;
    const int64_t *step = t->rows.inner_stride;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run)) {
        float *out = run.at[0];
        const float *x = run.at[1];
        if (t->stride == 1 && step[0] == 1)
            tensor_kernels_get()->log_sum_exp(run.n, t->n, out, x, step[1]);
        else
            for (int64_t i = 0; i < run.n; i++)
                out[i * step[0]] = tensor_row_log_sum_exp(t->n, x + i * step[1], t->stride);
    }
}

bool tensor_log_sum_exp(tensor out, tensor x, int axis, tensor_error *err) {
    const char *what = "log_sum_exp";
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    axis = tensor_expect_axis(what, axis, x.rank, err);
    if (axis < 0) return false;
    sum_job t = {.n = x.shape[axis], .stride = x.stride[axis]};
    x.shape[axis] = 1;
    if (!tensor_expect_shape(what, "out", &out, x.rank, x.shape, err)) return false;
    if (t.n == 0) return tensor_fill(out, -(double)INFINITY, err);
    tensor_loop_init(&t.rows, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    tensor_parallel(t.rows.size, GRAIN / t.n + 1, log_sum_exp_rows, &t);
    tensor_touch(out);
    return true;
}

/* ---- Gradients -------------------------------------------------------------------------------- */

typedef struct vjp_job {
    tensor_loop rows; /* dx, dy and y at the first element of each row */
    int64_t n, stride[3];
    bool log, accumulate;
} vjp_job;

/* The row from element i on, through the stage where its elements are not neighbours. */
static const float *staged(float *stage, const float *row, int64_t stride, int64_t i, int64_t size) {
    if (stride == 1) return row + i;
    load(stage, row + i * stride, stride, size);
    return stage;
}

static void vjp_row(const vjp_job *t, float *dx, const float *dy, const float *y) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float stage[3][REDUCE_BLOCK];
    double sum = 0;
    for (int64_t i = 0; i < t->n; i += REDUCE_BLOCK) {
        const int64_t size = block_at(t->n, i);
        const float *g = staged(stage[1], dy, t->stride[1], i, size);
        sum += (double)(t->log ? reduce_one(kernels->sum, size, g)
                               : kernels->dot(size, g, staged(stage[2], y, t->stride[2], i, size)));
    }
    for (int64_t i = 0; i < t->n; i += REDUCE_BLOCK) {
        const int64_t size = block_at(t->n, i);
        const float *g = staged(stage[1], dy, t->stride[1], i, size);
        const float *p = staged(stage[2], y, t->stride[2], i, size);
        float *d = t->stride[0] == 1 ? dx + i : stage[0];
        if (t->accumulate && t->stride[0] != 1) load(d, dx + i * t->stride[0], t->stride[0], size);
        (t->log ? kernels->log_softmax_vjp : kernels->softmax_vjp)(size, d, g, p, (float)sum, t->accumulate);
        if (t->stride[0] != 1) store(dx + i * t->stride[0], t->stride[0], d, size);
    }
}

static void vjp_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const vjp_job *t = context;
    const int64_t *step = t->rows.inner_stride;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++)
            vjp_row(t, (float *)run.at[0] + i * step[0], (const float *)run.at[1] + i * step[1],
                    (const float *)run.at[2] + i * step[2]);
}

static bool vjp(const char *what, vjp_job t, tensor dx, tensor dy, tensor y, int axis, tensor_error *err) {
    tensor all[] = {dx, dy, y};
    const char *const names[] = {"dx", "dy", "y"};
    for (int k = 0; k < 3; k++)
        if (!tensor_expect(what, names[k], &all[k], TENSOR_F32, err) ||
            !tensor_expect_shape(what, names[k], &all[k], y.rank, y.shape, err))
            return false;
    axis = tensor_expect_axis(what, axis, y.rank, err);
    if (axis < 0) return false;
    t.n = y.shape[axis];
    for (int k = 0; k < 3; k++) {
        t.stride[k] = all[k].stride[axis];
        all[k].shape[axis] = t.n > 0;
    }
    tensor_loop_init(&t.rows, TENSOR_ANY_ORDER, 3, all);
    tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, vjp_rows, &t);
    tensor_touch(dx);
    return true;
}

bool tensor_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err) {
    return vjp("softmax_vjp", (vjp_job){.accumulate = accumulate}, dx, dy, y, axis, err);
}

bool tensor_log_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err) {
    return vjp("log_softmax_vjp", (vjp_job){.log = true, .accumulate = accumulate}, dx, dy, y, axis, err);
}
