/* Counted n-grams as a part of a model. */
#include "models/lm/prior.h"

void lm_prior_init(struct lm_prior *m, nn_params *params, const char *name, int64_t order, int64_t vocabulary,
                   int64_t width) {
    /* The gate begins with 1 + nearly 0: before it has learned anything, the model is not worse than its counts. */
    const nn_linear_options narrow = {.deviation = 1e-4f};
    nn_linear_init(&m->in, params, nn_name(params, "%s.in", name), vocabulary, width,
                   (nn_linear_options){.no_bias = true});
    nn_linear_init(&m->seen, params, nn_name(params, "%s.seen", name), order + 1, width, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->gate, params, nn_name(params, "%s.gate", name), width, 1, narrow);
}

ag_var *lm_prior_embed(const struct lm_prior *m, lm_counted counted) {
    /* Probabilities are small and numbers of times large, beside embeddings. */
    ag_var *p = ag_affine(nn_linear(&m->in, counted.p), 8, 0);
    ag_var *seen = ag_affine(ag_log(ag_affine(counted.seen, 1, 1)), 0.125f, 0);
    return ag_add(p, nn_linear(&m->seen, seen));
}

ag_var *lm_prior_add(const struct lm_prior *m, lm_counted counted, ag_var *x, ag_var *logits) {
    if (!x || !logits) return NULL;
    ag_var *p = counted.p;
    if (p && p->value.shape[1] > x->value.shape[1]) p = ag_slice(p, 1, -x->value.shape[1], INT64_MAX, 1);
    ag_var *weight = ag_affine(nn_linear(&m->gate, x), 1, 1);
    return ag_add(logits, ag_mul(ag_log(p), weight));
}
