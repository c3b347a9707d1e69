/* Elements by number along an axis: gather, and its opposite. */
#include <string.h>

#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 }; /* elements a thread takes at least */

static bool check_ids(const char *what, tensor ids, int64_t n, tensor_error *err) {
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ROW_MAJOR, 1, &ids);
    tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            const int32_t id = ((const int32_t *)run.at[0])[i * loop.inner_stride[0]];
            if (id < 0 || id >= n)
                return tensor_fail(err, "%s: id %d is outside 0..%lld", what, (int)id, (long long)n - 1);
        }
    return true;
}

/* The axis from the front where all arguments fit, else -1: `few` has ids' shape, and `many` differs from it in `axis`
 * alone. */
static int check(const char *what, tensor few, const char *few_name, tensor many, const char *many_name,
                 int axis, tensor ids, tensor_error *err) {
    if (!tensor_expect(what, few_name, &few, TENSOR_F32, err) ||
        !tensor_expect(what, many_name, &many, TENSOR_F32, err) ||
        !tensor_expect(what, "ids", &ids, TENSOR_I32, err))
        return -1;
    axis = tensor_expect_axis(what, axis, many.rank, err);
    if (axis < 0) return -1;
    tensor shape = many;
    if (ids.rank == many.rank) shape.shape[axis] = ids.shape[axis];
    if (!tensor_expect_shape(what, "ids", &ids, shape.rank, shape.shape, err) ||
        !tensor_expect_shape(what, few_name, &few, ids.rank, ids.shape, err) ||
        !check_ids(what, ids, many.shape[axis], err))
        return -1;
    return axis;
}

/* ---- Gather ----------------------------------------------------------------------------------- */

typedef struct gather_job {
    tensor_loop loop; /* out, ids, and x at 0 along the axis */
    int64_t step;     /* of x along the axis */
} gather_job;

static void gather_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const gather_job *t = context;
    const int64_t *stride = t->loop.inner_stride;
    tensor_run run = tensor_loop_runs(&t->loop, begin, end);
    while (tensor_run_next(&run)) {
        float *out = run.at[0];
        const int32_t *ids = run.at[1];
        const float *x = run.at[2];
        if (stride[1] != 0) {
            for (int64_t i = 0; i < run.n; i++)
                out[i * stride[0]] = x[i * stride[2] + ids[i * stride[1]] * t->step];
            continue;
        }
        x += *ids * t->step; /* one id for all */
        if (stride[0] == 1 && stride[2] == 1)
            memcpy(out, x, (size_t)run.n * sizeof *out);
        else
            for (int64_t i = 0; i < run.n; i++) out[i * stride[0]] = x[i * stride[2]];
    }
}

bool tensor_gather(tensor out, tensor x, int axis, tensor ids, tensor_error *err) {
    axis = check("gather", out, "out", x, "x", axis, ids, err);
    if (axis < 0) return false;
    gather_job t = {.step = x.stride[axis]};
    x.shape[axis] = ids.shape[axis];
    x.stride[axis] = 0;
    tensor_loop_init(&t.loop, TENSOR_ANY_ORDER, 3, (tensor[]){out, ids, x});
    tensor_parallel(t.loop.size, GRAIN, gather_range, &t);
    tensor_touch(out);
    return true;
}

/* ---- Scatter ---------------------------------------------------------------------------------- */

static float *at(float *base, int64_t index, int64_t stride) {
    return base + index * stride;
}

/* One line along the axis. total[id] is anything for an id that does not come; where it has gone to out, it becomes 0, so
 * that an id that comes again adds nothing. */
static void scatter_line(int64_t n, float *out, int64_t out_step, const int32_t *ids, int64_t ids_step,
                         const float *x, int64_t x_step, double *total) {
    for (int64_t i = 0; i < n; i++) total[ids[i * ids_step]] = 0;
    for (int64_t i = 0; i < n; i++) total[ids[i * ids_step]] += (double)x[i * x_step];
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = ids[i * ids_step];
        if (total[id] != 0) *at(out, id, out_step) += (float)total[id];
        total[id] = 0;
    }
}

bool tensor_scatter_add(tensor out, int axis, tensor ids, tensor x, tensor scratch, tensor_error *err) {
    const char *what = "scatter_add";
    axis = check(what, x, "x", out, "out", axis, ids, err);
    if (axis < 0 || !tensor_expect(what, "scratch", &scratch, TENSOR_F32, err)) return false;
    const int64_t need = 2 * out.shape[axis], n = ids.shape[axis];
    if (tensor_size(scratch) < need || !tensor_dense(&scratch) || (uintptr_t)scratch.data % sizeof(double))
        return tensor_fail(err, "scatter_add: scratch needs %lld elements without gaps", (long long)need);
    const int64_t step[3] = {out.stride[axis], ids.stride[axis], x.stride[axis]};
    tensor line[3] = {out, ids, x};
    for (int k = 0; k < 3; k++) line[k].shape[axis] = 1;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 3, line);
    tensor_run run = tensor_loop_runs(&loop, 0, n > 0 ? loop.size : 0);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++)
            scatter_line(n, at(run.at[0], i, loop.inner_stride[0]), step[0],
                         (const int32_t *)run.at[1] + i * loop.inner_stride[1], step[1],
                         at(run.at[2], i, loop.inner_stride[2]), step[2], scratch.data);
    tensor_touch(out);
    tensor_touch(scratch);
    return true;
}
