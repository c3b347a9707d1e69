/* Elements by number along an axis: gather, and its opposite. */
#include <string.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 }; /* elements a thread takes at least */

static bool check_ids(const char *what, tensor ids, int64_t n, tensor_error *err) {
    for (int axis = 0; axis < ids.rank; axis++) /* those that are repeated are looked at once */
        if (ids.stride[axis] == 0 && ids.shape[axis] > 1) ids.shape[axis] = 1;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 1, &ids);
    tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
    while (tensor_run_next(&run)) {
        const int32_t *at = run.at[0];
        const int64_t step = loop.inner_stride[0];
        int32_t low = 0, high = 0;
        for (int64_t i = 0; i < run.n; i++) {
            low = at[i * step] < low ? at[i * step] : low;
            high = at[i * step] > high ? at[i * step] : high;
        }
        if (low < 0 || high >= n)
            return tensor_fail(err, "%s: id %d is outside 0..%lld", what, (int)(low < 0 ? low : high),
                               (long long)n - 1);
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

/* Four at a time, which are all read before they are written, as `out` might lie in x for what a compiler knows. */
static void gather_line(int64_t n, float *out, const int32_t *ids, const float *x) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float four[] = {x[ids[i]], x[ids[i + 1]], x[ids[i + 2]], x[ids[i + 3]]};
        for (int k = 0; k < 4; k++) out[i + k] = four[k];
    }
    for (; i < n; i++) out[i] = x[ids[i]];
}

static void gather_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const gather_job *t = context;
    const int64_t *stride = t->loop.inner_stride;
    tensor_run run = tensor_loop_runs(&t->loop, begin, end);
    while (tensor_run_next(&run)) {
        float *out = run.at[0];
        const int32_t *ids = run.at[1];
        const float *x = run.at[2];
        if (stride[0] == 1 && stride[1] == 1 && stride[2] == 0 && t->step == 1) {
            gather_line(run.n, out, ids, x);
            continue;
        }
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

enum {
    LINES = 16,
    MOST_LINES = 64
}; /* lines with the same ids that are taken together: more, where scratch has room */

/* Lines along an axis, and the strides of out, ids and x there. */
typedef struct scatter_job {
    int64_t ids, n; /* how many of them, and elements of out */
    int64_t step[3];
    int64_t lines; /* together */
    double *total; /* [n, lines], zeros */
} scatter_job;

/* One line. Totals go to out by the ids or, where these are many, all of them; they are zeros again. */
static void scatter_line(const scatter_job *t, float *out, const int32_t *ids, const float *x) {
    double *total = t->total;
    for (int64_t i = 0; i < t->ids; i++) total[ids[i * t->step[1]]] += (double)x[i * t->step[2]];
    const bool all = t->n <= 8 * t->ids;
    if (all && t->step[0] == 1) tensor_kernels_get()->take_totals(t->n, out, total);
    for (int64_t j = 0; all && t->step[0] != 1 && j < t->n; j++) {
        out[j * t->step[0]] += (float)total[j];
        total[j] = 0;
    }
    for (int64_t i = 0; !all && i < t->ids; i++) {
        const int32_t id = ids[i * t->step[1]];
        if (total[id] != 0) out[id * t->step[0]] += (float)total[id];
        total[id] = 0;
    }
}

/* Up to t->lines neighbours with the same ids. */
static void scatter_lines(const scatter_job *t, int64_t lines, float *out, const int32_t *ids,
                          const float *x) {
    for (int64_t i = 0; i < t->ids; i++) {
        const float *row = x + i * t->step[2];
        tensor_kernels_get()->add_rows(lines, t->total + ids[i * t->step[1]] * t->lines, 1, &row);
    }
    for (int64_t i = 0; i < t->ids; i++) {
        const int32_t id = ids[i * t->step[1]];
        tensor_kernels_get()->take_totals(lines, out + id * t->step[0], t->total + id * t->lines);
    }
}

bool tensor_scatter_add(tensor out, int axis, tensor ids, tensor x, tensor scratch, tensor_error *err) {
    const char *what = "scatter_add";
    axis = check(what, x, "x", out, "out", axis, ids, err);
    if (axis < 0 || !tensor_expect(what, "scratch", &scratch, TENSOR_F32, err)) return false;
    scatter_job t = {ids.shape[axis], out.shape[axis], {out.stride[axis], ids.stride[axis], x.stride[axis]}};
    tensor line[3] = {out, ids, x};
    for (int k = 0; k < 3; k++) line[k].shape[axis] = 1;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 3, line);
    const int64_t *apart = loop.inner_stride;
    const bool together = apart[0] == 1 && apart[1] == 0 && apart[2] == 1;
    const int64_t need = (together ? 2 * LINES : 2) * t.n, room = tensor_size(scratch) / (2 * t.n + !t.n);
    if (tensor_size(scratch) < need || !tensor_dense(&scratch) || (uintptr_t)scratch.data % sizeof(double))
        return tensor_fail(err, "scatter_add: scratch needs %lld elements without gaps", (long long)need);
    t.lines = !together ? 1 : room < MOST_LINES ? room : MOST_LINES;
    t.total = scratch.data;
    memset(t.total, 0, (size_t)(t.lines * t.n) * sizeof *t.total);
    tensor_run run = tensor_loop_runs(&loop, 0, t.ids > 0 ? loop.size : 0);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n;) {
            float *to = (float *)run.at[0] + i * apart[0];
            const int32_t *at = (const int32_t *)run.at[1] + i * apart[1];
            const float *from = (const float *)run.at[2] + i * apart[2];
            const int64_t count = run.n - i < t.lines ? run.n - i : t.lines;
            if (together)
                scatter_lines(&t, count, to, at, from);
            else
                scatter_line(&t, to, at, from);
            i += count;
        }
    tensor_touch(out);
    tensor_touch(scratch);
    return true;
}
