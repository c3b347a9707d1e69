/* A neural probabilistic language model (Bengio, Ducharme, Vincent & Jauvin 2003): the vectors of the last tokens
 * beside each other, a hidden layer, and a softmax over the next token. */
#include <string.h>

#include "models/lm/lm.h"

enum { OPTIONS = 5 };

struct bengio {
    int64_t tokens, width, hidden;
    bool direct;
    double dropout_share;
    int32_t before; /* the row for what stands before the window */
    struct nn_embedding table;
    struct nn_linear hidden_layer, output, shortcut;
    struct nn_dropout dropout;
};

/* y = b + W x + U tanh(d + H x), where x are the vectors of the last tokens (formula 1 there); W is optional. */
static ag_var *forward(const void *self, const lm_input *in) {
    const struct bengio *m = self;
    ag_var *x = nn_embedding(&m->table, lm_last(in, (int)m->tokens, m->before)); /* [B, N, tokens, C] */
    x = ag_reshape(x, TENSOR_SHAPE(ag_size(x, 0), ag_size(x, 1), m->tokens * m->width));
    x = nn_dropout(&m->dropout, x, in->dropout);
    ag_var *h = nn_dropout(&m->dropout, ag_tanh(nn_linear(&m->hidden_layer, x)), in->dropout);
    ag_var *y = nn_linear(&m->output, h);
    return m->direct ? ag_add_in_place(nn_linear(&m->shortcut, x), y) : y;
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct bengio *m = self;
    const int64_t seen = m->tokens * m->width;
    (void)context;
    m->before = (int32_t)vocabulary;
    m->dropout.p = (float)m->dropout_share;
    nn_embedding_init(&m->table, params, "table", vocabulary + 1, m->width, 1);
    nn_linear_init(&m->hidden_layer, params, "hidden", seen, m->hidden, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->output, params, "output", m->hidden, vocabulary, NN_LINEAR_DEFAULTS);
    if (m->direct)
        nn_linear_init(&m->shortcut, params, "direct", seen, vocabulary,
                       (nn_linear_options){.no_bias = true, .zero = true});
}

/* Vectors, hidden layer and logits, each with what backward makes of it. */
static double activations(const void *self, int64_t vocabulary) {
    const struct bengio *m = self;
    return 2 * (double)(m->tokens * m->width) + 4 * (double)m->hidden + 2 * (double)vocabulary;
}

const lm_model *lm_program(void) {
    static struct bengio m = {.tokens = 8, .width = 32, .hidden = 256};
    static lm_option options[OPTIONS + 1];
    static lm_model model;
    const lm_option all[OPTIONS] = {
        lm_about(LM_ABOUT_MODEL, lm_kept("tokens", lm_integer("tokens", &m.tokens, 1, 1024,
                                                              "Look at this many last tokens."))),
        lm_kept("width", lm_integer("width", &m.width, 1, 65536, "How many numbers stand for a token.")),
        lm_kept("hidden",
                lm_integer("hidden", &m.hidden, 1, 1 << 20, "How many numbers the hidden layer has.")),
        lm_kept("direct", lm_yes_no("direct", &m.direct, "The tokens also act on the output directly.")),
        lm_real("dropout", &m.dropout_share, 0, 0.99,
                "Leave out this share of numbers at random while training."),
    };
    memcpy(options, all, sizeof all);
    model = (lm_model){.name = "bengio",
                       .summary = "The neural language model of Bengio et al. (2003)",
                       .self = &m,
                       .options = options,
                       .defaults = {.context = 64, .batch = 64, .iterations = 5000, .rate = 3e-3},
                       .init = init,
                       .forward = forward,
                       .activations = activations,
                       .matrices = "hidden.weight",
                       .tables = "table.weight"};
    return &model;
}
