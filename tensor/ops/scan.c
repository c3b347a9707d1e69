/* Sums of all elements so far along an axis, and triangles of matrices. */
#include <string.h>

#include "tensor/tensor_internal.h"

enum {
    GRAIN = 16384, /* elements a thread takes at least */
    ROWS = 4,      /* lines whose sums run side by side: rows, or columns that are neighbours */
    COLUMNS = 16
};

/* ---- Running sums ----------------------------------------------------------------------------- */

typedef struct sums_job {
    tensor_loop lines; /* out and x at 0 along the axis */
    int64_t n, out_step, x_step;
} sums_job;

/* From one element of a line to the next, and from line to line. */
typedef struct strides {
    int64_t step, apart;
} strides;

/* `count` lines: one alone would wait for each of its additions. */
static inline __attribute__((always_inline)) void sum_lines(const int64_t count, int64_t n, float *out,
                                                            strides o, const float *x, strides s) {
    double total[COLUMNS] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < count; j++) {
            total[j] += (double)x[i * s.step + j * s.apart];
            out[i * o.step + j * o.apart] = (float)total[j];
        }
}

static void sum_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const sums_job *t = context;
    const strides o = {t->out_step, t->lines.inner_stride[0]}, s = {t->x_step, t->lines.inner_stride[1]};
    const bool columns = o.apart == 1 && s.apart == 1, rows = o.step == 1 && s.step == 1,
               from_end = o.step == -1 && s.step == -1;
    tensor_run run = tensor_loop_runs(&t->lines, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n;) {
            float *out = (float *)run.at[0] + i * o.apart;
            const float *x = (const float *)run.at[1] + i * s.apart;
            if (columns && run.n - i >= COLUMNS)
                sum_lines(COLUMNS, t->n, out, (strides){o.step, 1}, x, (strides){s.step, 1}), i += COLUMNS;
            else if (rows && run.n - i >= ROWS)
                sum_lines(ROWS, t->n, out, (strides){1, o.apart}, x, (strides){1, s.apart}), i += ROWS;
            else if (from_end && run.n - i >= ROWS)
                sum_lines(ROWS, t->n, out, (strides){-1, o.apart}, x, (strides){-1, s.apart}), i += ROWS;
            else
                sum_lines(1, t->n, out, o, x, s), i++;
        }
}

bool tensor_cumulative_sum(tensor out, tensor x, int axis, tensor_error *err) {
    const char *what = "cumulative_sum";
    if (!tensor_expect(what, "out", &out, TENSOR_F32, err) || !tensor_expect(what, "x", &x, TENSOR_F32, err))
        return false;
    axis = tensor_expect_axis(what, axis, x.rank, err);
    if (axis < 0 || !tensor_expect_shape(what, "out", &out, x.rank, x.shape, err)) return false;
    sums_job t = {.n = x.shape[axis], .out_step = out.stride[axis], .x_step = x.stride[axis]};
    out.shape[axis] = x.shape[axis] = t.n > 0; /* no lines where they are empty */
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
    if (tensor_size(x) == 0) return true; /* however many rows */
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
