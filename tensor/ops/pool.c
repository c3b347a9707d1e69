/* Pooling, image by image. The gradient of sums is again a pooling: with a stride of s, elements that are s apart are in the
 * same taps of windows, so that they sum windows over the results. */
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
                               (long long)t.padding[i], (long long)(t.dilation[i] * (window[i] - 1) + 1));
    }
    return true;
}

/* Images of x and of the result, one after the other. */
typedef struct pool_job {
    pool_args args;
    float *out; /* or integers */
    int64_t channels, x_image, x_channel, out_image, out_channel;
    bool largest;
} pool_job;

static void pool_images(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pool_job *t = context;
    for (int64_t at = begin; at < end; at++) {
        const int64_t image = at / t->channels, channel = at % t->channels;
        pool_args args = t->args;
        args.x += image * t->x_image + channel * t->x_channel;
        float *out = t->out + image * t->out_image + channel * t->out_channel;
        if (t->largest)
            tensor_kernels_get()->pool_largest(&args, (int32_t *)(void *)out);
        else
            tensor_kernels_get()->pool_sums(&args, out);
    }
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
                  .largest = out.dtype == TENSOR_I32};
    const int64_t each = rows.windows * cols.windows + rows.size * cols.size;
    tensor_parallel(out.shape[0] * out.shape[1], GRAIN / (each + 1) + 1, pool_images, &t);
}

static bool forward(tensor out, tensor_dtype dtype, tensor x, const int64_t window[2],
                    const tensor_windows *windows, tensor_error *err) {
    int64_t shape[4];
    if (!tensor_pool_shape(x, window, windows, shape, err) ||
        !tensor_expect("pooling", "out", &out, dtype, err) ||
        !tensor_expect_shape("pooling", "out", &out, 4, shape, err))
        return false;
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
    int64_t shape[4];
    if (!tensor_pool_shape(dx, window, windows, shape, err) ||
        !tensor_expect("pooling", "dy", &dy, TENSOR_F32, err) ||
        !tensor_expect_shape("pooling", "dy", &dy, 4, shape, err))
        return false;
    const tensor_windows t = complete(windows, window);
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
