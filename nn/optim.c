/* Gradients and optimizers over the flat arrays. */
#include "nn/nn_internal.h"

#include <math.h>
#include <string.h>

bool nn_backward(nn_params *params, ag_var *loss) {
    if (!params || !loss) return false;
    if (!tensor_ok(params->values)) return ag_fail(loss->tape, "backward: nn_params_finalize comes first");
    const bool done = ag_gradients_into(loss, params->trained, params->parameters, params->gradients, true);
    params->has_grads |= done;
    return done;
}

void nn_zero_grad(nn_params *params) {
    if (!params) return;
    tensor_fill(params->grads, 0, NULL);
    params->has_grads = false;
}

double nn_clip_grad_norm(nn_params *params, double max_norm) {
    if (!params) return 0;
    tensor grads = params->grads;
    double norm = sqrt(tensor_sum_squares(grads));
    double scale = max_norm / (norm + 1e-6); /* PyTorch's slack against a norm of 0 */
    if (scale < 1) tensor_affine(grads, (float)scale, grads, 0, NULL);
    return norm;
}

/* ---- Groups ------------------------------------------------------------------------------------- */

/* Whether a name fits the pattern begin..end-1. */
static bool fits(const char *begin, const char *end, const char *name) {
    for (; begin < end && *begin != '*'; begin++, name++)
        if (*name != *begin) return false;
    if (begin == end) return !*name;
    for (;; name++) { /* what * stands for ends here, or later */
        if (fits(begin + 1, end, name)) return true;
        if (!*name) return false;
    }
}

double nn_group_rate(const nn_group *groups, const char *name) {
    for (; groups && groups->names; groups++)
        for (const char *begin = groups->names, *end; *begin; begin = end + (*end == ' ')) {
            end = begin + strcspn(begin, " ");
            if (fits(begin, end, name)) return groups->rate;
        }
    return 1;
}

/* ---- SGD ---------------------------------------------------------------------------------------- */

bool nn_sgd_init(struct nn_sgd *o, nn_params *params, nn_sgd_options options) {
    *o = (struct nn_sgd){.options = options};
    if (options.momentum == 0) return nn_params_ready(params, "nn_sgd_init");
    o->velocity = nn_params_state(params, "nn_sgd_init");
    return tensor_ok(o->velocity);
}

bool nn_sgd_step(struct nn_sgd *o, nn_params *params) {
    if (!params || !nn_params_has_grads(params, "nn_sgd_step")) return false;
    tensor_error *err = &params->error;
    tensor p = params->values, g = params->grads, v = o->velocity;
    const float rate = (float)o->options.rate, momentum = (float)o->options.momentum,
                decay = (float)o->options.decay;
    if (tensor_ok(v)) /* v = momentum v + g + decay p; p -= rate v */
        return tensor_affine(v, momentum, v, 0, err) && tensor_binary(v, TENSOR_ADD, v, g, err) &&
               (decay == 0 || tensor_axpy(v, decay, p, err)) && tensor_axpy(p, -rate, v, err);
    /* p -= rate (g + decay p) */
    return (decay == 0 || tensor_affine(p, 1 - rate * decay, p, 0, err)) && tensor_axpy(p, -rate, g, err);
}

/* ---- AdamW -------------------------------------------------------------------------------------- */

bool nn_adamw_init(struct nn_adamw *o, nn_params *params, nn_adamw_options options) {
    *o = (struct nn_adamw){.options = options};
    o->m = nn_params_state(params, "nn_adamw_init");
    o->v = nn_params_state(params, "nn_adamw_init");
    return tensor_ok(o->m) && tensor_ok(o->v);
}

/* x^n by squaring: libm's pow may differ in its last bit between platforms. */
static double power(double x, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) result *= x;
    return result;
}

/* How a run of parameters is treated. */
typedef struct manner {
    double rate; /* multiplies the optimizer's; 0: they stay as they are */
    bool decays;
} manner;

/* One sweep over elements begin..end-1 of the flat arrays. */
static bool update(const struct nn_adamw *o, nn_params *params, int64_t begin, int64_t end, manner how,
                   tensor_adamw_step step) {
    if (begin == end || how.rate == 0) return true;
    tensor_error *err = &params->error;
    const tensor all[] = {params->values, o->m, o->v, params->grads};
    tensor part[4];
    for (int k = 0; k < 4; k++) part[k] = tensor_slice(all[k], 0, begin, end, 1, err);
    if (!how.decays) step.decay = 0;
    step.rate *= how.rate;
    return tensor_adamw(part[0], part[1], part[2], part[3], &step, err);
}

bool nn_adamw_step(struct nn_adamw *o, nn_params *params) {
    if (!params || !nn_params_has_grads(params, "nn_adamw_step")) return false;
    const nn_adamw_options *options = &o->options;
    if (!tensor_ok(o->m) || tensor_size(o->m) != params->numbers)
        return tensor_fail(&params->error,
                           "nn_adamw_step: its state is not of this model; nn_adamw_init makes it");
    tensor_adamw_step step = {
        .rate = options->rate,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .eps = options->eps,
        .decay = options->decay,
        .bias1 = 1 - power(options->beta1, o->step + 1),
        .bias2 = 1 - power(options->beta2, o->step + 1),
    };
    int64_t begin = 0, end = 0; /* of a run of parameters that are treated alike */
    manner how = {0};
    for (int i = 0; i < params->count; i++) {
        if (params->entries[i].alias) continue;
        tensor value = params->entries[i].parameter->value;
        const manner next = {.rate = nn_group_rate(options->groups, params->entries[i].name),
                             .decays = !options->decay_matrices || value.rank >= 2};
        const bool alike = next.rate == how.rate && next.decays == how.decays;
        if (!alike && !update(o, params, begin, end, how, step)) return false;
        if (!alike) begin = end;
        how = next;
        end += tensor_size(value);
    }
    if (!update(o, params, begin, end, how, step)) return false;
    o->step++;
    return true;
}

/* ---- AdamW in checkpoints: the moments flat, in the order of the parameters ----------------------- */

static const char *const moment_names[NN_ADAMW_ENTRIES] = {"optimizer.exp_avg", "optimizer.exp_avg_sq"};

void nn_adamw_list(const struct nn_adamw *o, nn_entry entries[NN_ADAMW_ENTRIES]) {
    const tensor moments[NN_ADAMW_ENTRIES] = {o->m, o->v};
    for (int i = 0; i < NN_ADAMW_ENTRIES; i++) entries[i] = nn_state_entry(moment_names[i], moments[i]);
}

nn_entry nn_state_entry(const char *name, tensor state) {
    return (nn_entry){.name = name,
                      .dtype = "F32",
                      .rank = 1,
                      .shape = {tensor_size(state)},
                      .data = state.data,
                      .bytes = (size_t)tensor_size(state) * sizeof(float)};
}

bool nn_load_state(tensor state, const nn_file *file, const char *name, tensor_error *err) {
    const nn_entry *entry = nn_file_find(file, name);
    const size_t bytes = (size_t)tensor_size(state) * sizeof(float);
    if (!entry || strcmp(entry->dtype, "F32") != 0 || entry->bytes != bytes)
        return tensor_fail(err, "the tensor %s does not fit the parameters", name);
    memcpy(state.data, entry->data, bytes);
    return true;
}

bool nn_adamw_load(struct nn_adamw *o, nn_params *params, nn_adamw_options options, const nn_file *file,
                   int64_t step, tensor_error *err) {
    if (!nn_adamw_init(o, params, options)) return tensor_fail(err, "%s", nn_params_error(params));
    const tensor moments[NN_ADAMW_ENTRIES] = {o->m, o->v};
    for (int i = 0; i < NN_ADAMW_ENTRIES; i++)
        if (!nn_load_state(moments[i], file, moment_names[i], err)) return false;
    o->step = step;
    return true;
}
