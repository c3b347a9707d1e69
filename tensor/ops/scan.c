/* Sums of all elements so far along an axis, and triangles of matrices. */
#include <string.h>

#include "tensor/tensor_internal.h"

enum { GRAIN = 16384, LINES = 16 }; /* elements a thread takes at least; lines whose sums run side by side */

/* ---- Running sums ----------------------------------------------------------------------------- */

typedef struct sums_job {
    tensor_loop lines; /* out and x at 0 along the axis */
    int64_t n, out_step, x_step;
} sums_job;

/* Some lines: one alone would wait for each of its additions. */
static void sum_lines(const sums_job *t, int64_t count, float *out, const float *x) {
    const int64_t *apart = t->lines.inner_stride;
    double total[LINES] = {0};
    for (int64_t i = 0; i < t->n; i++, out += t->out_step, x += t->x_step)
        for (int64_t j = 0; j < count; j++) {
            total[j] += (double)x[j * apart[1]];
            out[j * apart[0]] = (float)total[j];
        }
}

static void sum_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const sums_job *t = context;
    tensor_run run = tensor_loop_runs(&t->lines, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i += LINES)
            sum_lines(t, run.n - i < LINES ? run.n - i : LINES,
                      (float *)run.at[0] + i * t->lines.inner_stride[0],
                      (const float *)run.at[1] + i * t->lines.inner_stride[1]);
}

bool tensor_cumulative_sum(tensor out, tensor x, int axis, tensor_error *err) {
    const char *what = "cumulative_sum";
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    axis = tensor_expect_axis(what, axis, x.rank, err);
    if (axis < 0 || !tensor_expect_shape(what, "out", &out, x.rank, x.shape, err)) return false;
    sums_job t = {.n = x.shape[axis], .out_step = out.stride[axis], .x_step = x.stride[axis]};
    out.shape[axis] = x.shape[axis] = 1;
    tensor_loop_init(&t.lines, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    tensor_parallel(t.lines.size, GRAIN / (t.n + 1) + 1, sum_range, &t);
    tensor_touch(out);
    return true;
}

/* ---- Triangles -------------------------------------------------------------------------------- */

/* Elements begin..end-1 of a row are x's, the others 0. */
static void triangle_row(int64_t n, float *out, int64_t out_step, const float *x, int64_t x_step,
                         int64_t begin, int64_t end) {
    if (out_step == 1 && x_step == 1) {
        memset(out, 0, (size_t)begin * sizeof *out);
        if (out != x) memcpy(out + begin, x + begin, (size_t)(end - begin) * sizeof *out);
        memset(out + end, 0, (size_t)(n - end) * sizeof *out);
        return;
    }
    for (int64_t j = 0; j < n; j++) out[j * out_step] = j >= begin && j < end ? x[j * x_step] : 0;
}

static int64_t within(int64_t at, int64_t n) {
    return at < 0 ? 0 : at > n ? n : at;
}

bool tensor_triangle(tensor out, tensor x, int64_t diagonal, bool upper, tensor_error *err) {
    const char *what = "triangle";
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    if (x.rank < 2) return tensor_fail(err, "triangle: x has rank %d, expected 2 or more", x.rank);
    if (!tensor_expect_shape(what, "out", &out, x.rank, x.shape, err)) return false;
    const int last = x.rank - 1;
    const int64_t rows = x.shape[last - 1], n = x.shape[last];
    diagonal = diagonal < -rows ? -rows : diagonal > n ? n : diagonal; /* beyond, all is alike */
    const int64_t step[2] = {out.stride[last], x.stride[last]},
                  row[2] = {out.stride[last - 1], x.stride[last - 1]};
    out.rank = x.rank = last - 1;
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, x});
    tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            float *to = (float *)run.at[0] + i * loop.inner_stride[0];
            const float *from = (const float *)run.at[1] + i * loop.inner_stride[1];
            for (int64_t r = 0; r < rows; r++) {
                const int64_t edge = within(r + diagonal + !upper, n);
                triangle_row(n, to + r * row[0], step[0], from + r * row[1], step[1], upper ? edge : 0,
                             upper ? n : edge);
            }
        }
    tensor_touch(out);
    return true;
}
