/* Pooling, image by image. The gradient of sums adds each result to all elements that its window shows. Where these are
 * in so many windows that adding one after the other would lose, it is again a pooling: with a stride of s, elements
 * that are s apart are in the same taps of windows, so that they sum windows over the results. */
#include "tensor/kernels/kernels.h"
#include "tensor/ops/windows_internal.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 }; /* elements a thread takes at least */

/* A stride of 0 is the window's size. */
static tensor_windows complete(const tensor_windows *windows, const int64_t window[2]) {
    tensor_windows t = windows_complete(windows);
    for (int i = 0; i < 2; i++)
        if (windows->stride[i] == 0) t.stride[i] = window[i];
    return t;
}

bool tensor_pool_shape(tensor x, const int64_t window[2], const tensor_windows *windows, int64_t shape[4],
                       tensor_error *err) {
    if (!tensor_expect("pooling", "x", &x, TENSOR_F32, err)) return false;
    if (x.rank != 4) return tensor_fail(err, "pooling: needs x[N, C, H, W], not a rank of %d", x.rank);
    const tensor_windows t = complete(windows, window);
    shape[0] = x.shape[0];
    shape[1] = x.shape[1];
    for (int i = 0; i < 2; i++) {
        if (!windows_count("pooling", &t, i, x.shape[2 + i], window[i], &shape[2 + i], err)) return false;
        if (2 * t.padding[i] > t.dilation[i] * (window[i] - 1) + 1)
            return tensor_fail(err, "pooling: a padding of %lld is more than half of a window of %lld",
                               (long long)t.padding[i], (long long)t.dilation[i] * (window[i] - 1) + 1);
    }
    return true;
}

/* Images of x and of the result, one after the other. */
typedef struct pool_job {
    pool_args args;
    float *out; /* or integers */
    void (*kernel)(const pool_args *args, float *out);
    int64_t channels, x_image, x_channel, out_image, out_channel;
} pool_job;

static void pool_images(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pool_job *t = context;
    for (int64_t at = begin; at < end; at++) {
        const int64_t image = at / t->channels, channel = at % t->channels;
        pool_args args = t->args;
        args.x += image * t->x_image + channel * t->x_channel;
        float *out = t->out + image * t->out_image + channel * t->out_channel;
        if (t->kernel)
            t->kernel(&args, out);
        else
            tensor_kernels_get()->pool_largest(&args, (int32_t *)(void *)out);
    }
}

static void run(pool_job *t, int64_t images) {
    const window_axis *rows = &t->args.rows, *cols = &t->args.cols;
    const int64_t each = rows->windows * cols->windows + rows->size * cols->size;
    tensor_parallel(images, GRAIN / (each + 1) + 1, pool_images, t);
}

/* out's rows and columns of windows over x, in steps through out from an element on. */
static void pool(tensor out, tensor x, window_axis rows, window_axis cols, const window_axis *out_rows,
                 const window_axis *out_cols, float divisor) {
    pool_job t = {.args = {.rows = rows,
                           .cols = cols,
                           .x = x.f32,
                           .out_row = out_rows->step * out_rows->stride,
                           .out_col = out_cols->step * out_cols->stride,
                           .divisor = divisor},
                  .out = out.f32 + out_rows->first * out_rows->stride + out_cols->first * out_cols->stride,
                  .channels = out.shape[1],
                  .x_image = x.stride[0],
                  .x_channel = x.stride[1],
                  .out_image = out.stride[0],
                  .out_channel = out.stride[1],
                  .kernel = out.dtype == TENSOR_I32 ? NULL : tensor_kernels_get()->pool_sums};
    run(&t, out.shape[0] * out.shape[1]);
}

/* How many windows show one element at most: those whose taps are so far apart that a whole number of steps lies
 * between. */
static int64_t met(const window_axis *axis) {
    const int64_t every = windows_period(axis->apart, axis->step);
    return (axis->taps + every - 1) / every;
}

/* dx, each of whose elements few windows show. */
static void share(tensor dx, tensor dy, window_axis rows, window_axis cols, float divisor) {
    pool_job t = {.args = {.rows = rows,
                           .cols = cols,
                           .x = dy.f32,
                           .out_row = dy.stride[2],
                           .out_col = dy.stride[3],
                           .divisor = divisor},
                  .out = dx.f32,
                  .channels = dx.shape[1],
                  .x_image = dy.stride[0],
                  .x_channel = dy.stride[1],
                  .out_image = dx.stride[0],
                  .out_channel = dx.stride[1],
                  .kernel = tensor_kernels_get()->pool_shares};
    run(&t, dx.shape[0] * dx.shape[1]);
}

/* Whether y, which is called `name`, has what the windows of x give. */
static bool expect_pooled(const char *name, const tensor *y, tensor_dtype dtype, tensor x,
                          const int64_t window[2], const tensor_windows *windows, tensor_error *err) {
    int64_t shape[4];
    return tensor_pool_shape(x, window, windows, shape, err) &&
           tensor_expect("pooling", name, y, dtype, err) &&
           tensor_expect_shape("pooling", name, y, 4, shape, err);
}

static bool forward(tensor out, tensor_dtype dtype, tensor x, const int64_t window[2],
                    const tensor_windows *windows, tensor_error *err) {
    if (!expect_pooled("out", &out, dtype, x, window, windows, err)) return false;
    const tensor_windows t = complete(windows, window);
    const window_axis rows = windows_along(&t, 0, &x, window[0], &out),
                      cols = windows_along(&t, 1, &x, window[1], &out);
    for (int i = 0; dtype == TENSOR_I32 && i < 2;
         i++) { /* the only way to miss an image: all taps beside it */
        const window_axis *axis = i == 0 ? &rows : &cols;
        for (int64_t p = 0; p < axis->windows; p++) {
            int64_t at = p * axis->step + axis->first;
            if (at < 0) at += (-at + axis->apart - 1) / axis->apart * axis->apart;
            if (at >= axis->size)
                return tensor_fail(err,
                                   "pooling: a window shows nothing but padding, of %lld elements %lld apart",
                                   (long long)axis->taps, (long long)axis->apart);
        }
    }
    const window_axis out_rows = windows_elements(&out, 0, 0, 1), out_cols = windows_elements(&out, 1, 0, 1);
    pool(out, x, rows, cols, &out_rows, &out_cols, (float)(window[0] * window[1]));
    tensor_touch(out);
    return true;
}

bool tensor_pool_average(tensor y, tensor x, const int64_t window[2], const tensor_windows *windows,
                         tensor_error *err) {
    return forward(y, TENSOR_F32, x, window, windows, err);
}

bool tensor_pool_largest(tensor ids, tensor x, const int64_t window[2], const tensor_windows *windows,
                         tensor_error *err) {
    if (x.rank == 4 && x.shape[3] > 0 && x.shape[2] > INT32_MAX / x.shape[3])
        return tensor_fail(err, "pooling: an image of %lld x %lld elements is too large for int32",
                           (long long)x.shape[2], (long long)x.shape[3]);
    return forward(ids, TENSOR_I32, x, window, windows, err);
}

bool tensor_pool_average_vjp(tensor dx, tensor dy, const int64_t window[2], const tensor_windows *windows,
                             tensor_error *err) {
    if (!expect_pooled("dy", &dy, TENSOR_F32, dx, window, windows, err)) return false;
    const tensor_windows t = complete(windows, window);
    const window_axis all_rows = windows_along(&t, 0, &dx, window[0], &dy),
                      all_cols = windows_along(&t, 1, &dx, window[1], &dy);
    if (met(&all_rows) <= SUM_ROWS && met(&all_cols) <= SUM_ROWS) {
        share(dx, dy, all_rows, all_cols, (float)(window[0] * window[1]));
        tensor_touch(dx);
        return true;
    }
    for (int64_t r = 0; r < t.stride[0] && r < dx.shape[2]; r++)
        for (int64_t q = 0; q < t.stride[1] && q < dx.shape[3]; q++) {
            const window_axis rows = windows_phase_of(&t, 0, r, &dx, window[0], &dy).axis,
                              cols = windows_phase_of(&t, 1, q, &dx, window[1], &dy).axis;
            const window_axis dx_rows = windows_elements(&dx, 0, r, t.stride[0]),
                              dx_cols = windows_elements(&dx, 1, q, t.stride[1]);
            pool(dx, dy, rows, cols, &dx_rows, &dx_cols, (float)(window[0] * window[1]));
        }
    tensor_touch(dx);
    return true;
}
