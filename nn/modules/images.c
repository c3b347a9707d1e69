/* Modules for images and samples: convolutions, normalisation of channels. */
#include "nn/params/params.h"

#include <math.h>

/* ---- Convolutions -------------------------------------------------------------------------------- */

/* The weight [first, second / groups, taps...] of one axis or two, and the bias (NULL: none). Noise as torch has it:
 * within +-1/sqrt of what the weight's first axis does not count. */
static ag_var *filters(nn_params *params, const char *name, int64_t first, int64_t second, int axes,
                       const int64_t *taps, int64_t groups, int64_t biases, ag_var **bias) {
    groups = groups > 0 ? groups : 1;
    if (params && (first % groups != 0 || second % groups != 0)) {
        tensor_fail(&params->error, "%s: %lld groups do not divide %lld and %lld channels",
                    name ? name : "convolution", (long long)groups, (long long)first, (long long)second);
        return NULL;
    }
    int64_t shape[4] = {first, second / groups};
    double seen = (double)shape[1];
    for (int i = 0; i < axes; i++) {
        shape[2 + i] = taps[i];
        seen *= (double)taps[i];
    }
    const nn_init noise = NN_UNIFORM(seen > 0 ? 1 / sqrt(seen) : 0);
    ag_var *weight = nn_param(params, nn_part(params, name, "weight"), noise, 2 + axes, shape);
    if (bias) *bias = nn_param(params, nn_part(params, name, "bias"), noise, 1, &biases);
    return weight;
}

void nn_conv2d_init(struct nn_conv2d *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    int64_t height, int64_t width, nn_conv2d_options options) {
    *m = (struct nn_conv2d){.windows = options.windows};
    m->weight = filters(params, name, out, in, 2, (int64_t[]){height, width}, options.windows.groups, out,
                        options.no_bias ? NULL : &m->bias);
}

ag_var *nn_conv2d(const struct nn_conv2d *m, ag_var *x) {
    return m->bias ? ag_conv2d(x, m->weight, m->bias, m->windows)
                   : ag_conv2d_no_bias(x, m->weight, m->windows);
}

void nn_conv1d_init(struct nn_conv1d *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    int64_t width, nn_conv2d_options options) {
    *m = (struct nn_conv1d){.windows = options.windows};
    m->weight = filters(params, name, out, in, 1, &width, options.windows.groups, out,
                        options.no_bias ? NULL : &m->bias);
}

ag_var *nn_conv1d(const struct nn_conv1d *m, ag_var *x) {
    return m->bias ? ag_conv1d(x, m->weight, m->bias, m->windows)
                   : ag_conv1d_no_bias(x, m->weight, m->windows);
}

void nn_conv_transpose2d_init(struct nn_conv_transpose2d *m, nn_params *params, const char *name, int64_t in,
                              int64_t out, int64_t height, int64_t width,
                              nn_conv_transpose2d_options options) {
    *m = (struct nn_conv_transpose2d){.windows = options.windows, .more = {options.more[0], options.more[1]}};
    m->weight = filters(params, name, in, out, 2, (int64_t[]){height, width}, options.windows.groups, out,
                        options.no_bias ? NULL : &m->bias);
}

ag_var *nn_conv_transpose2d(const struct nn_conv_transpose2d *m, ag_var *x) {
    return m->bias ? ag_conv_transpose2d(x, m->weight, m->bias, m->windows, m->more)
                   : ag_conv_transpose2d_no_bias(x, m->weight, m->windows, m->more);
}

void nn_conv_transpose1d_init(struct nn_conv_transpose1d *m, nn_params *params, const char *name, int64_t in,
                              int64_t out, int64_t width, nn_conv_transpose2d_options options) {
    *m = (struct nn_conv_transpose1d){.windows = options.windows, .more = options.more[0]};
    m->weight = filters(params, name, in, out, 1, &width, options.windows.groups, out,
                        options.no_bias ? NULL : &m->bias);
}

ag_var *nn_conv_transpose1d(const struct nn_conv_transpose1d *m, ag_var *x) {
    return m->bias ? ag_conv_transpose1d(x, m->weight, m->bias, m->windows, m->more)
                   : ag_conv_transpose1d_no_bias(x, m->weight, m->windows, m->more);
}

/* ---- Normalisation of channels -------------------------------------------------------------------- */

void nn_batch_norm_init(struct nn_batch_norm *m, nn_params *params, const char *name, int64_t channels,
                        nn_batch_norm_options options) {
    *m = (struct nn_batch_norm){.eps = options.eps, .momentum = options.momentum, .fixed = options.fixed};
    m->weight = nn_param(params, nn_part(params, name, "weight"), NN_ONES, 1, &channels);
    m->bias = nn_param(params, nn_part(params, name, "bias"), NN_ZEROS, 1, &channels);
    m->running_mean = nn_buffer(params, nn_part(params, name, "running_mean"), 0, 1, &channels);
    m->running_var = nn_buffer(params, nn_part(params, name, "running_var"), 1, 1, &channels);
}

/* Leaves (1 - momentum) of what a buffer is, or is to become, and momentum factor value. */
static bool blend(ag_tape *tape, const ag_var *buffer, double momentum, double factor, tensor value) {
    const tensor left = ag_left(tape, buffer), before = tensor_ok(left) ? left : buffer->value;
    tensor_error fault = {0};
    const tensor next = ag_tensor(tape, TENSOR_F32, before.rank, before.shape);
    if (!tensor_ok(next)) return false;
    if (!tensor_affine(next, (float)(1 - momentum), before, 0, &fault) ||
        !tensor_axpy(next, (float)(momentum * factor), value, &fault))
        return ag_fail(tape, "batch_norm: %s", fault.text);
    return ag_leave(tape, buffer, next);
}

/* By the running statistics: x scale + shift. */
static ag_var *normalise_as_ever(const struct nn_batch_norm *m, ag_var *x) {
    ag_tape *tape = ag_tape_of(x);
    int64_t shape[TENSOR_MAX_RANK] = {ag_size(m->weight, 0)};
    const int rank = ag_rank(x) > 2 ? ag_rank(x) - 1 : 1;
    for (int axis = 1; axis < rank; axis++) shape[axis] = 1;
    ag_var *rstd = ag_rsqrt(ag_affine(ag_use(tape, m->running_var), 1, m->eps));
    ag_var *scale = ag_mul(m->weight, rstd);
    ag_var *shift = ag_sub(m->bias, ag_mul(m->running_mean, scale));
    return ag_add_in_place(ag_mul(x, ag_reshape(scale, rank, shape)), ag_reshape(shift, rank, shape));
}

ag_var *nn_batch_norm(const struct nn_batch_norm *m, ag_var *x) {
    ag_tape *tape = ag_tape_of(x);
    if (m->fixed || !ag_is_recording(tape)) return normalise_as_ever(m, x);
    tensor stats;
    ag_var *y = ag_batch_norm(x, m->weight, m->bias, m->eps, &stats);
    if (!y) return NULL;
    const double count = ag_size(x, 1) > 0 ? (double)ag_count(x) / (double)ag_size(x, 1) : 0;
    const tensor mean = tensor_reshape(tensor_slice(stats, 0, 0, 1, 1, NULL), 1, &stats.shape[1], NULL),
                 variance = tensor_reshape(tensor_slice(stats, 0, 1, 2, 1, NULL), 1, &stats.shape[1], NULL);
    return blend(tape, m->running_mean, m->momentum, 1, mean) &&
                   blend(tape, m->running_var, m->momentum, count > 1 ? count / (count - 1) : 1, variance)
               ? y
               : NULL;
}

void nn_group_norm_init(struct nn_group_norm *m, nn_params *params, const char *name, int64_t groups,
                        int64_t channels, float eps) {
    *m = (struct nn_group_norm){.groups = groups, .eps = eps};
    if (params && (groups < 1 || channels % groups != 0)) {
        tensor_fail(&params->error, "%s: %lld groups do not divide %lld channels", name ? name : "group_norm",
                    (long long)groups, (long long)channels);
        return;
    }
    m->weight = nn_param(params, nn_part(params, name, "weight"), NN_ONES, 1, &channels);
    m->bias = nn_param(params, nn_part(params, name, "bias"), NN_ZEROS, 1, &channels);
}

ag_var *nn_group_norm(const struct nn_group_norm *m, ag_var *x) {
    return ag_group_norm(x, m->weight, m->bias, m->groups, m->eps);
}
