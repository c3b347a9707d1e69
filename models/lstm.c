/* A recurrent language model: long short-term memory, gated recurrent units or Elman's network (Mikolov et al. 2010;
 * Karpathy 2015). While it writes, it keeps its state from token to token. */
#include <string.h>

#include "models/lm/lm.h"

enum { OPTIONS = 5 };

struct lstm {
    int64_t cell, layers, width, hidden; /* hidden 0: as the width */
    double dropout_share;
    struct nn_embedding table;
    struct nn_recurrent recurrent;
    struct nn_linear output;
    struct nn_dropout dropout;
};

static ag_var *forward(const void *self, const lm_input *in) {
    const struct lstm *m = self;
    ag_var *x = nn_dropout(&m->dropout, nn_embedding(&m->table, in->ids), in->dropout); /* [B, T, C] */
    x = in->cache ? ag_slice(nn_recurrent_cached(&m->recurrent, x, in->cache), 1, -1, INT64_MAX, 1)
                  : nn_recurrent(&m->recurrent, x, NULL, in->dropout); /* [B, T, H] */
    return nn_linear(&m->output, nn_dropout(&m->dropout, x, in->dropout));
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct lstm *m = self;
    const float dropout = (float)m->dropout_share;
    (void)context;
    m->dropout.p = dropout;
    nn_embedding_init(&m->table, params, "table", vocabulary, m->width, 1);
    nn_recurrent_init(&m->recurrent, params, "recurrent", (nn_cell_kind)m->cell, m->width, m->hidden,
                      (nn_recurrent_options){.layers = (int)m->layers, .dropout = dropout});
    nn_linear_init(&m->output, params, "output", m->hidden, vocabulary, NN_LINEAR_DEFAULTS);
}

static bool make_cache(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                       tensor_error *err) {
    (void)context;
    return nn_recurrent_cache(&((const struct lstm *)self)->recurrent, cache, batch, arena, err);
}

static bool check(void *self, tensor_error *err) {
    struct lstm *m = self;
    (void)err;
    if (m->hidden == 0) m->hidden = m->width;
    return true;
}

/* What a step's gates and state leave for backward. */
static double activations(const void *self, int64_t vocabulary) {
    const struct lstm *m = self;
    const double parts = m->cell == NN_LSTM ? 18 : m->cell == NN_GRU ? 14 : 4;
    return (double)m->layers * parts * (double)m->hidden + 2 * (double)m->width + 2 * (double)vocabulary;
}

const lm_model *lm_program(void) {
    static struct lstm m = {.cell = NN_LSTM, .layers = 1, .width = 64, .hidden = 256};
    static lm_option options[OPTIONS + 1];
    static lm_model model;
    const lm_option all[OPTIONS] = {
        lm_about(LM_ABOUT_MODEL, lm_kept("cell", lm_choice("cell", &m.cell, "rnn|gru|lstm",
                                                           "What remembers: Elman's network, a gated "
                                                           "recurrent unit, or long short-term memory."))),
        lm_kept("layers", lm_integer("layers", &m.layers, 1, NN_MAX_RECURRENT,
                                     "How many layers stand one over the other.")),
        lm_kept("width", lm_integer("width", &m.width, 1, 65536, "How many numbers stand for a token.")),
        lm_kept("hidden", lm_integer("hidden", &m.hidden, 0, 1 << 16,
                                     "How many numbers a layer remembers; 0 is the width.")),
        lm_real("dropout", &m.dropout_share, 0, 0.99,
                "Leave out this share of numbers at random while training."),
    };
    memcpy(options, all, sizeof all);
    model = (lm_model){.name = "lstm",
                       .summary = "A recurrent language model",
                       .self = &m,
                       .options = options,
                       .defaults = {.context = 64, .batch = 64, .iterations = 2000, .rate = 3e-3},
                       .check = check,
                       .init = init,
                       .forward = forward,
                       .rows = 16,
                       .activations = activations,
                       .cache = make_cache,
                       .matrices = "recurrent.weight_*",
                       .tables = "table.weight"};
    return &model;
}
