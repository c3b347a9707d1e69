/* Counted n-grams as a part of a model. */
#include "models/lm/prior.h"

void lm_prior_init(struct lm_prior *m, nn_params *params, const char *name, int64_t order, int64_t vocabulary,
                   int64_t width) {
    /* The gate begins with 1 + nearly 0: before it has learned anything, the model is not worse than its counts. */
    const nn_linear_options narrow = {.deviation = 1e-4f};
    nn_linear_init(&m->in, params, nn_name(params, "%s.in", name), vocabulary + order + 1, width,
                   NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->gate, params, nn_name(params, "%s.gate", name), width, 1, narrow);
}

ag_var *lm_prior_embed(const struct lm_prior *m, lm_counted counted) {
    return nn_linear(&m->in, counted.features);
}

ag_var *lm_prior_add(const struct lm_prior *m, lm_counted counted, ag_var *x, ag_var *logits) {
    if (!x || !logits) return NULL;
    ag_var *log_p = counted.log_p;
    if (ag_size(log_p, 1) > ag_size(x, 1)) log_p = ag_slice(log_p, 1, -ag_size(x, 1), INT64_MAX, 1);
    ag_var *weight = ag_affine(nn_linear(&m->gate, x), 1, 1);
    return ag_add(logits, ag_mul(log_p, weight));
}
