/* N-grams: the next token by how the text went on after the same tokens. Nothing is trained: it is counted. */
#include "models/lm/lm.h"

struct ngram {
    int64_t order;
};

static ag_var *forward(const void *self, const lm_input *in) {
    (void)self;
    return lm_count(in).log_p; /* [B, T] -> [B, T, V] */
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    (void)self, (void)params, (void)vocabulary, (void)context;
}

const lm_model *lm_program(void) {
    static struct ngram ngram;
    static lm_option options[2];
    static lm_model model;
    ngram.order = 6;
    options[0] = lm_about(
        LM_ABOUT_MODEL, lm_kept("order", lm_integer("order", &ngram.order, 1, LM_MAX_ORDER,
                                                    "Look at up to this many tokens before the next one.")));
    model = (lm_model){.name = "ngram",
                       .summary = "An n-gram model, by modified Kneser-Ney smoothing",
                       .self = &ngram,
                       .options = options,
                       .defaults = {.context = 64, .batch = 64},
                       .init = init,
                       .forward = forward,
                       .order = &ngram.order};
    return &model;
}
