/* Windows over images: how many there are, and where they lie. */
#ifndef SAMPO_TENSOR_WINDOWS_INTERNAL_H
#define SAMPO_TENSOR_WINDOWS_INTERNAL_H

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

/* The same with each 0 replaced by what it stands for. */
static inline tensor_windows windows_complete(const tensor_windows *windows) {
    tensor_windows t = *windows;
    for (int i = 0; i < 2; i++) {
        if (t.stride[i] == 0) t.stride[i] = 1;
        if (t.dilation[i] == 0) t.dilation[i] = 1;
    }
    if (t.groups == 0) t.groups = 1;
    return t;
}

/* How many windows lie along an axis; false where these sizes are not possible. */
static inline bool windows_count(const char *what, const tensor_windows *t, int i, int64_t size,
                                 int64_t window, int64_t *count, tensor_error *err) {
    enum { MOST = 1 << 30 };
    const int64_t stride = t->stride[i], padding = t->padding[i], dilation = t->dilation[i];
    if (window < 1 || window > MOST || stride < 1 || stride > MOST || padding < 0 || padding > MOST ||
        dilation < 1 || dilation > MOST)
        return tensor_fail(
            err, "%s: a window of %lld with stride %lld, padding %lld and dilation %lld is not possible",
            what, (long long)window, (long long)stride, (long long)padding, (long long)dilation);
    const int64_t room = size + 2 * padding - dilation * (window - 1) - 1;
    if (room < 0)
        return tensor_fail(err, "%s: a window over %lld is larger than %lld with a padding of %lld", what,
                           (long long)(dilation * (window - 1) + 1), (long long)size, (long long)padding);
    *count = room / stride + 1;
    return true;
}

/* The axis of an image on which windows lie, y being the result. */
static inline window_axis windows_along(const tensor_windows *t, int i, const tensor *x, int64_t taps,
                                        const tensor *y) {
    return (window_axis){.windows = y->shape[2 + i],
                         .taps = taps,
                         .step = t->stride[i],
                         .first = -t->padding[i],
                         .apart = t->dilation[i],
                         .size = x->shape[2 + i],
                         .stride = x->stride[2 + i]};
}

/* Every element of an image by itself, or those `step` apart from `first` on. */
static inline window_axis windows_elements(const tensor *x, int i, int64_t first, int64_t step) {
    return (window_axis){.windows = (x->shape[2 + i] - first + step - 1) / step,
                         .taps = 1,
                         .step = step,
                         .first = first,
                         .size = x->shape[2 + i],
                         .stride = x->stride[2 + i]};
}

/* After how many taps, `apart` from each other, a whole number of steps has been made. */
static inline int64_t windows_period(int64_t apart, int64_t step) {
    int64_t divisor = step;
    for (int64_t rest = apart; rest != 0;) {
        const int64_t next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    return step / divisor;
}

/* The taps that elements first, first + stride, ... of x meet: tap number `tap`, and every `every`-th after it. */
typedef struct windows_phase {
    window_axis axis; /* of y */
    int64_t tap, every;
} windows_phase;

static inline windows_phase windows_phase_of(const tensor_windows *t, int i, int64_t first, const tensor *x,
                                             int64_t taps, const tensor *y) {
    const int64_t stride = t->stride[i], dilation = t->dilation[i], at = first + t->padding[i];
    const int64_t every = windows_period(dilation, stride), most = every < taps ? every : taps;
    int64_t tap = 0;
    while (tap < most && (at - tap * dilation) % stride != 0) tap++; /* most: no tap meets them */
    return (windows_phase){.axis = {.windows = windows_elements(x, i, first, stride).windows,
                                    .taps = tap < most ? (taps - tap + every - 1) / every : 0,
                                    .step = 1,
                                    .first = (at - tap * dilation) / stride,
                                    .apart = -(every * dilation / stride),
                                    .size = y->shape[2 + i],
                                    .stride = y->stride[2 + i]},
                           .tap = tap,
                           .every = every};
}

#endif
