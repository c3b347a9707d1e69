/* Optimizers that change each number by itself: one sweep over the flat arrays. */
#include "nn/optim/state.h"

/* ---- The sweep ---------------------------------------------------------------------------------- */

/* A step of an optimizer, which `what` names. */
typedef struct sweep {
    const char *what;
    tensor_update_rule rule;
    tensor_update_step step;
    bool decay_matrices;
    const nn_group *groups;
} sweep;

/* How a run of parameters is treated. */
typedef struct manner {
    double rate; /* multiplies the optimizer's; 0: they stay as they are */
    bool decays;
} manner;

static manner manner_of(const sweep *s, const nn_registered *entry) {
    const double rate = entry->parameter->needs_grad ? nn_group_rate(s->groups, entry->name) : 0;
    return (manner){rate, !s->decay_matrices || entry->parameter->value.rank >= 2};
}

/* Changes elements begin..end-1 of the flat arrays. */
static bool update(const sweep *s, const nn_state *state, nn_params *params, int64_t begin, int64_t end,
                   manner how) {
    if (begin == end || how.rate == 0) return true;
    tensor_error *err = &params->error;
    tensor_update_step step = s->step;
    tensor part[2 + NN_STATE_ARRAYS] = {tensor_slice(params->values, 0, begin, end, 1, err),
                                        tensor_slice(params->grads, 0, begin, end, 1, err)};
    for (int k = 0; k < state->arrays; k++)
        part[2 + k] = tensor_slice(state->array[k], 0, begin, end, 1, err);
    if (!how.decays) step.decay = 0;
    step.rate *= how.rate;
    return tensor_update(s->rule, part[0], part[2], part[3], part[1], &step, err);
}

/* Runs of parameters that are treated alike are changed together. */
static bool sweep_all(const sweep *s, nn_state *state, nn_params *params) {
    if (!params || !nn_params_has_grads(params, s->what) ||
        !nn_state_fits(state, params, s->what, tensor_update_states(s->rule)))
        return false;
    int64_t begin = 0, end = 0;
    manner how = {0};
    for (int i = 0; i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        if (!nn_is_flat(entry)) continue;
        const manner next = manner_of(s, entry);
        const bool alike = next.rate == how.rate && next.decays == how.decays;
        if (!alike && !update(s, state, params, begin, end, how)) return false;
        if (!alike) begin = end;
        how = next;
        end += tensor_size(entry->parameter->value);
    }
    if (!update(s, state, params, begin, end, how)) return false;
    nn_state_count(state);
    return true;
}

static bool begin(nn_state *state, nn_params *params, const char *what, tensor_update_rule rule,
                  const char *first, const char *second) {
    return nn_state_new(state, params, what, tensor_update_states(rule),
                        (const char *const[]){first, second});
}

/* ---- SGD ---------------------------------------------------------------------------------------- */

static tensor_update_rule sgd_rule(const nn_sgd_options *options) {
    return options->momentum == 0 ? TENSOR_UPDATE_SGD : TENSOR_UPDATE_MOMENTUM;
}

bool nn_sgd_init(struct nn_sgd *o, nn_params *params, nn_sgd_options options) {
    o->options = options;
    return begin(&o->state, params, "nn_sgd_init", sgd_rule(&options), "optimizer.momentum_buffer", NULL);
}

bool nn_sgd_step(struct nn_sgd *o, nn_params *params) {
    const nn_sgd_options *p = &o->options;
    const tensor_update_step step = {
        .rate = p->rate, .beta1 = p->momentum, .decay = p->decay, .bias1 = 1, .bias2 = 1};
    return sweep_all(&(sweep){"nn_sgd", sgd_rule(p), step, p->decay_matrices, p->groups}, &o->state, params);
}

/* ---- AdamW and Adam ----------------------------------------------------------------------------- */

bool nn_adamw_init(struct nn_adamw *o, nn_params *params, nn_adamw_options options) {
    o->options = options;
    return begin(&o->state, params, "nn_adamw_init", TENSOR_UPDATE_ADAMW, "optimizer.exp_avg",
                 "optimizer.exp_avg_sq");
}

bool nn_adamw_step(struct nn_adamw *o, nn_params *params) {
    const nn_adamw_options *p = &o->options;
    const int64_t n = (int64_t)o->state.step + 1;
    const tensor_update_step step = {.rate = p->rate,
                                     .beta1 = p->beta1,
                                     .beta2 = p->beta2,
                                     .eps = p->eps,
                                     .decay = p->decay,
                                     .bias1 = 1 - nn_power(p->beta1, n),
                                     .bias2 = 1 - nn_power(p->beta2, n)};
    const tensor_update_rule rule = p->decay_in_gradient ? TENSOR_UPDATE_ADAM : TENSOR_UPDATE_ADAMW;
    return sweep_all(&(sweep){"nn_adamw", rule, step, p->decay_matrices, p->groups}, &o->state, params);
}

/* ---- RMSprop ------------------------------------------------------------------------------------ */

static tensor_update_rule rmsprop_rule(const nn_rmsprop_options *options) {
    return options->momentum == 0 ? TENSOR_UPDATE_RMSPROP : TENSOR_UPDATE_RMSPROP_MOMENTUM;
}

bool nn_rmsprop_init(struct nn_rmsprop *o, nn_params *params, nn_rmsprop_options options) {
    o->options = options;
    return begin(&o->state, params, "nn_rmsprop_init", rmsprop_rule(&options), "optimizer.square_avg",
                 "optimizer.momentum_buffer");
}

bool nn_rmsprop_step(struct nn_rmsprop *o, nn_params *params) {
    const nn_rmsprop_options *p = &o->options;
    const tensor_update_step step = {.rate = p->rate,
                                     .beta1 = p->momentum,
                                     .beta2 = p->alpha,
                                     .eps = p->eps,
                                     .decay = p->decay,
                                     .bias1 = 1,
                                     .bias2 = 1};
    return sweep_all(&(sweep){"nn_rmsprop", rmsprop_rule(p), step, p->decay_matrices, p->groups}, &o->state,
                     params);
}

/* ---- Adagrad ------------------------------------------------------------------------------------ */

bool nn_adagrad_init(struct nn_adagrad *o, nn_params *params, nn_adagrad_options options) {
    o->options = options;
    return begin(&o->state, params, "nn_adagrad_init", TENSOR_UPDATE_ADAGRAD, "optimizer.sum", NULL);
}

bool nn_adagrad_step(struct nn_adagrad *o, nn_params *params) {
    const nn_adagrad_options *p = &o->options;
    const tensor_update_step step = {.rate = p->rate / (1 + o->state.step * p->rate_decay),
                                     .eps = p->eps,
                                     .decay = p->decay,
                                     .bias1 = 1,
                                     .bias2 = 1};
    return sweep_all(&(sweep){"nn_adagrad", TENSOR_UPDATE_ADAGRAD, step, p->decay_matrices, p->groups},
                     &o->state, params);
}

/* ---- Lion --------------------------------------------------------------------------------------- */

bool nn_lion_init(struct nn_lion *o, nn_params *params, nn_lion_options options) {
    o->options = options;
    return begin(&o->state, params, "nn_lion_init", TENSOR_UPDATE_LION, "optimizer.exp_avg", NULL);
}

bool nn_lion_step(struct nn_lion *o, nn_params *params) {
    const nn_lion_options *p = &o->options;
    const tensor_update_step step = {
        .rate = p->rate, .beta1 = p->beta1, .beta2 = p->beta2, .decay = p->decay, .bias1 = 1, .bias2 = 1};
    return sweep_all(&(sweep){"nn_lion", TENSOR_UPDATE_LION, step, p->decay_matrices, p->groups}, &o->state,
                     params);
}
