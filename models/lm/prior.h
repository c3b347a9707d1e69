/* A prior for a model: what counted n-grams say (lm_count) goes into the model and is added to what comes out of it. The
 * model learns where to trust them, and what they lack. */
#ifndef SAMPO_LM_PRIOR_H
#define SAMPO_LM_PRIOR_H

#include "models/lm/lm.h"

struct lm_prior {
    struct nn_linear in;   /* [V + order + 1, C]: into the model */
    struct nn_linear gate; /* [C, 1]: how much the logarithms count among the logits, more or less than 1 */
};
void lm_prior_init(struct lm_prior *m, nn_params *params, const char *name, int64_t order, int64_t vocabulary,
                   int64_t width);
/* Added to the embeddings of the tokens: [B, N, C]. */
ag_var *lm_prior_embed(const struct lm_prior *m, lm_counted counted);
/* logits [B, M, V] + (1 + gate(x)) log p, for the last M of the tokens that were counted; x [B, M, C] is what the
 * logits are made of. */
ag_var *lm_prior_add(const struct lm_prior *m, lm_counted counted, ag_var *x, ag_var *logits);

#endif
