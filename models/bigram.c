/* Bigram: the next character's logits are a row of a table, chosen by the last character alone. */
#include "models/lm/lm.h"

struct bigram {
    struct nn_embedding table; /* [V, V] */
};

static ag_var *forward(const void *self, const lm_input *in) {
    const struct bigram *m = self;
    return nn_embedding(&m->table, in->ids); /* [B, T] -> [B, T, V] */
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct bigram *m = self;
    (void)context;
    nn_embedding_init(&m->table, params, "table", vocabulary, vocabulary, 1);
}

/* What the PyTorch program that Sampo replaces reached with the Kalevala. */
static const lm_reference references[] = {{"published", 2.471, 2.462}, {0}};

const lm_model *lm_program(void) {
    static struct bigram bigram;
    static const lm_model model = {.name = "bigram",
                                   .summary = "A bigram model of characters",
                                   .self = &bigram,
                                   .defaults = {.context = 8, .batch = 32, .iterations = 5000, .rate = 1e-3},
                                   .init = init,
                                   .forward = forward,
                                   .references = references};
    return &model;
}
