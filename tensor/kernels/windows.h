/* What windows over images show, as rows of a matrix that a product reads (im2col), and rows of a result back into an
 * image. Both only copy. */
#ifndef SAMPO_TENSOR_WINDOWS_H
#define SAMPO_TENSOR_WINDOWS_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/vec.h"

/* Where the first of the windows lies; divisions take longer than a row does. */
typedef struct window_start {
    int64_t column, row, image;
} window_start;

static inline window_start start_of(const windows_args *t) {
    const int64_t in_rows = t->begin / t->cols.windows;
    return (window_start){t->begin % t->cols.windows, in_rows % t->rows.windows,
                          in_rows / t->rows.windows * t->image};
}

/* The first window whose element `at` elements from its step is not before `edge`: of 0..windows. */
static inline int64_t first_window(const window_axis *axis, int64_t at, int64_t edge) {
    const int64_t off = edge - at;
    const int64_t first = off <= 0 ? 0 : axis->step == 1 ? off : (off + axis->step - 1) / axis->step;
    return min64(first, axis->windows);
}

#if VEC_WIDTH == 16
#define EVEN(x, y) __builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(x, y) __builtin_shufflevector(x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif VEC_WIDTH == 8
#define EVEN(x, y) __builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(x, y) __builtin_shufflevector(x, y, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define EVEN(x, y) __builtin_shufflevector(x, y, 0, 2, 4, 6)
#define ODD(x, y) __builtin_shufflevector(x, y, 1, 3, 5, 7)
#endif

/* n elements, `step` apart in x, side by side. The last vector may copy some a second time. */
static inline void copy_steps(float *out, const float *x, int64_t n, int64_t step) {
    int64_t i = 0;
    if (step == 2 && n == VEC_WIDTH) {
        vec_store(out, EVEN(vec_load(x), vec_load_part(x + VEC_WIDTH, VEC_WIDTH - 1)));
        return;
    }
    if (step == 2 && n > VEC_WIDTH) {
        for (; i + VEC_WIDTH < n; i += VEC_WIDTH)
            vec_store(out + i, EVEN(vec_load(x + 2 * i), vec_load(x + 2 * i + VEC_WIDTH)));
        const float *last = x + 2 * (n - VEC_WIDTH) - 1; /* nothing behind the last element is read */
        vec_store(out + n - VEC_WIDTH, ODD(vec_load(last), vec_load(last + VEC_WIDTH)));
        return;
    }
    if (step == 1 && n >= VEC_WIDTH) {
        for (; i + VEC_WIDTH < n; i += VEC_WIDTH) vec_store(out + i, vec_load(x + i));
        vec_store(out + n - VEC_WIDTH, vec_load(x + n - VEC_WIDTH));
        return;
    }
    for (; i < n; i++) out[i] = x[i * step];
}

static inline void clear(float *out, int64_t n) {
    const vec zero = vec_splat(0);
    int64_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(out + i, zero);
    for (; i < n; i++) out[i] = 0;
}

/* One row: what tap (i, j) of `channel` shows of each window. Windows come in runs, each of one row of one image. */
static void gather_row(const windows_args *t, window_start at, float *out, const float *channel, int64_t i,
                       int64_t j) {
    const window_axis *rows = &t->rows, *cols = &t->cols;
    const int64_t at_row = rows->first + i * rows->apart, at_col = cols->first + j * cols->apart;
    const int64_t low = first_window(cols, at_col, 0), high = first_window(cols, at_col, cols->size);
    const int64_t step = cols->step * cols->stride;
    const float *image = channel + at.image + at_col * cols->stride;
    for (int64_t left = t->n, n; left > 0; left -= n, out += n) {
        n = min64(left, cols->windows - at.column);
        const int64_t y = at.row * rows->step + at_row;
        const bool inside = y >= 0 && y < rows->size;
        const int64_t from = inside ? min64(max64(low - at.column, 0), n) : n,
                      to = inside ? min64(max64(high - at.column, from), n) : n;
        clear(out, from);
        copy_steps(out + from, image + y * rows->stride + (at.column + from) * step, to - from, step);
        clear(out + to, n - to);
        at.column = 0;
        if (++at.row == rows->windows) at.row = 0, image += t->image;
    }
}

/* Whether as many windows as an image has columns move by one over rows without gaps: then what a tap shows of all of
 * them is the image itself, moved, but for the columns that come from beside it. */
static inline bool is_shift(const windows_args *t) {
    return t->rows.step == 1 && t->cols.step == 1 && t->cols.stride == 1 && t->cols.windows == t->cols.size &&
           t->rows.stride == t->cols.size;
}

static void clear_columns(float *out, int64_t n, int64_t width, int64_t from, int64_t to) {
    for (; from < to; from++)
        for (int64_t at = from; at < n; at += width)
            if (at >= 0) out[at] = 0;
}

/* gather_row, where is_shift: a run is all windows of one image. */
static void gather_shift(const windows_args *t, window_start at, float *out, const float *channel, int64_t i,
                         int64_t j) {
    const int64_t width = t->cols.size, last = t->rows.size * width, all = t->rows.windows * width;
    const int64_t at_col = t->cols.first + j * t->cols.apart;
    const int64_t down = (t->rows.first + i * t->rows.apart) * width, shift = down + at_col;
    const int64_t low = first_window(&t->cols, at_col, 0), high = first_window(&t->cols, at_col, width);
    const float *image = channel + at.image;
    int64_t begin = at.row * width + at.column;
    for (int64_t left = t->n, n; left > 0; left -= n, out += n, begin = 0, image += t->image) {
        n = min64(left, all - begin);
        const int64_t from = min64(max64(max64(-down, -shift) - begin, 0), n),
                      to = min64(max64(min64(last - down, last - shift) - begin, from), n);
        clear(out, from);
        copy_steps(out + from, image + begin + from + shift, to - from, 1);
        clear(out + to, n - to);
        clear_columns(out, n, width, -(begin % width), low - begin % width);
        clear_columns(out, n, width, high - begin % width, width - begin % width);
    }
}

static void gather_windows(const windows_args *t, float *out) {
    const window_start start = start_of(t);
    void (*const gather)(const windows_args *, window_start, float *, const float *, int64_t, int64_t) =
        is_shift(t) ? gather_shift : gather_row;
    const int64_t taps = t->rows.taps * t->cols.taps;
    const float *channel = t->x + t->from / taps * t->channel;
    int64_t i = t->from % taps / t->cols.taps, j = t->from % t->cols.taps;
    for (int64_t k = t->from; k < t->to; k++, out += t->out_row) {
        gather(t, start, out, channel, i, j);
        clear(out + t->n, t->out_row - t->n);
        if (++j < t->cols.taps) continue;
        j = 0;
        if (++i < t->rows.taps) continue;
        i = 0;
        channel += t->channel;
    }
}

/* Rows from..to-1, one a channel, to where windows of one tap show them; all lies inside. */
static void scatter_windows(const windows_args *t, const float *from) {
    const window_axis *rows = &t->rows, *cols = &t->cols;
    const window_start start = start_of(t);
    const int64_t step = cols->step * cols->stride;
    for (int64_t k = t->from; k < t->to; k++, from += t->out_row) {
        window_start to = start;
        float *image = t->x + k * t->channel + to.image + cols->first * cols->stride;
        for (int64_t at = 0, n; at < t->n; at += n) {
            n = min64(t->n - at, cols->windows - to.column);
            float *out = image + (to.row * rows->step + rows->first) * rows->stride + to.column * step;
            if (step == 1)
                copy_steps(out, from + at, n, 1);
            else
                for (int64_t i = 0; i < n; i++) out[i * step] = from[at + i];
            to.column = 0;
            if (++to.row == rows->windows) to.row = 0, image += t->image;
        }
    }
}

#endif
