/* Llama: a decoder with RMS norms, rotary positions, grouped heads and gated layers (Touvron et al. 2023). Parameters
 * have the names and layouts of its published files. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/llama/llama.h"

enum { OPTIONS = 12 };

struct llama {
    struct llama_config config;
    const lm_preset *preset;
    struct nn_embedding table;
    struct nn_transformer layer[LLAMA_MAX_LAYERS];
    struct nn_rms_norm norm;
    struct nn_linear head;
};

static const lm_preset presets[] = {
    {"kalevala", "", "100 KB to 1 MB"},
    {"small",
     "layers=4 width=128 heads=4 key-heads=2 context=128 batch=32 schedule=cosine warmup=25 clip=1 "
     "beta2=0.99",
     "500 KB to 3 MB"},
    {"smollm-135m",
     "layers=30 width=576 heads=9 key-heads=3 hidden=1536 tied-head=yes init-deviation=0.02 context=1024 "
     "batch=4 "
     "lr=6e-4 schedule=cosine warmup=200 clip=1 beta2=0.95 weight-decay=0.1 decay-on=matrices "
     "eval-batches=10",
     "from 500 MB"},
    {0},
};

/* How each layer's attention is called for the tokens of `in`. */
static nn_attend attend(const struct llama *m, const lm_input *in) {
    const int64_t first = in->cache ? in->cache->length : 0;
    const nn_rotary rotary = nn_rotary_positions(ag_tape_of(in->ids), first, ag_size(in->ids, 1),
                                                 m->config.head_size, m->config.rotary_base);
    return (nn_attend){.causal = true, .rotary = rotary, .dropout = in->dropout, .cache = in->cache};
}

static ag_var *forward(const void *self, const lm_input *in) {
    const struct llama *m = self;
    ag_var *x = nn_embedding(&m->table, in->ids); /* [B, T, C] */
    nn_attend how = attend(m, in);
    for (how.layer = 0; how.layer < m->config.layers; how.layer++) {
        /* What follows the last layer needs the last token alone. */
        if (in->cache && how.layer == m->config.layers - 1) how.first = -1;
        x = nn_transformer(&m->layer[how.layer], x, how);
    }
    return nn_linear(&m->head, nn_rms_norm(&m->norm, x)); /* [B, T, V] */
}

static ag_var *attention(const void *self, const lm_input *in) {
    const struct llama *m = self;
    ag_var *weights[LLAMA_MAX_LAYERS], *x = nn_embedding(&m->table, in->ids); /* [B, 1, H, T, T] each */
    const nn_attend how = attend(m, in);
    for (int i = 0; i < m->config.layers; i++) {
        const struct nn_transformer *layer = &m->layer[i];
        ag_var *h = ag_rms_norm(x, layer->norm[0].weight, layer->norm[0].eps);
        weights[i] = ag_unsqueeze(nn_multihead_weights(&layer->self_attn, h, how), 1);
        x = nn_transformer(layer, x, how);
    }
    return ag_concat(weights, (int)m->config.layers, 1);
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct llama *m = self;
    const struct llama_config *c = &m->config;
    const float deviation = (float)c->deviation, dropout = (float)c->dropout;
    nn_transformer_options o = NN_TRANSFORMER_DEFAULTS;
    (void)context;
    o.attention = (nn_multihead_options){.heads = (int)c->heads,
                                         .key_heads = (int)c->key_heads,
                                         .head_size = c->head_size,
                                         .no_bias = true,
                                         .no_out_bias = true,
                                         .out_in = true,
                                         .deviation = deviation,
                                         .out_deviation = deviation,
                                         .dropout = dropout};
    o.gated_mlp = (nn_gated_options){c->hidden, NN_SILU, true, true, deviation, deviation};
    o.mlp.dropout = dropout;
    o.eps = (float)c->norm_epsilon;
    o.gated = o.rms = true;
    /* Tied, the table must also make small logits. */
    nn_embedding_init(&m->table, params, "model.embed_tokens", vocabulary, c->width,
                      deviation > 0  ? deviation
                      : c->tied_head ? 0.02f
                                     : 1);
    for (int i = 0; i < c->layers; i++)
        nn_transformer_init(&m->layer[i], params, nn_name(params, "model.layers.%d", i), c->width, o);
    nn_rms_norm_init(&m->norm, params, "model.norm", c->width, o.eps);
    nn_linear_init(&m->head, params, "lm_head", c->width, vocabulary,
                   (nn_linear_options){.out_in = true,
                                       .no_bias = true,
                                       .deviation = deviation,
                                       .tied = c->tied_head ? m->table.weight : NULL});
}

static bool make_cache(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                       tensor_error *err) {
    const struct llama_config *c = &((const struct llama *)self)->config;
    return nn_cache_init(cache, c->layers, batch, c->key_heads, context, c->head_size, arena, err);
}

/* What backward needs of the blocks, and at its peak the largest gradients and the logits'. */
static double activations(const void *self, int64_t vocabulary) {
    const struct llama_config *c = &((const struct llama *)self)->config;
    const double width = (double)c->width, hidden = (double)c->hidden;
    const double heads = (double)(c->head_size * (2 * c->heads + 3 * c->key_heads));
    return (double)c->layers * (6 * width + heads + 4 * hidden) + 8 * width + 2 * hidden +
           2 * (double)vocabulary;
}

static bool check(void *self, tensor_error *err) {
    struct llama_config *c = &((struct llama *)self)->config;
    if (c->key_heads == 0) c->key_heads = c->heads;
    if (c->heads % c->key_heads != 0)
        return tensor_fail(err, "%" PRId64 " heads cannot be divided among %" PRId64 " heads of keys",
                           c->heads, c->key_heads);
    if (c->head_size == 0 && c->width % c->heads != 0)
        return tensor_fail(err, "a width of %" PRId64 " cannot be divided among %" PRId64 " heads", c->width,
                           c->heads);
    if (c->head_size == 0) c->head_size = c->width / c->heads;
    if (c->head_size % 2 != 0)
        return tensor_fail(err, "heads of %" PRId64 " have no pairs to turn; an even size is needed",
                           c->head_size);
    if (c->hidden == 0) c->hidden = (8 * c->width + 2) / 3;
    return true;
}

static bool adopt(void *self, lm_published *p, tensor_error *err) {
    return llama_adopt(&((struct llama *)self)->config, p, err);
}

static bool publish(const void *self, const lm_instance *instance, lm_publication *p, tensor_error *err) {
    return llama_publish(&((const struct llama *)self)->config, instance, p, err);
}

const lm_model *lm_program(void) {
    static struct llama llama = {.config = {.layers = 3, .heads = 4, .width = 64}, .preset = presets};
    static lm_option options[OPTIONS + 1];
    static lm_model model;
    struct llama_config *c = &llama.config;
    c->norm_epsilon = 1e-5;
    c->rotary_base = 10000;
    const lm_option all[OPTIONS] = {
        lm_presets(&llama.preset, presets,
                   "Take other options from this preset; the command presets lists them."),
        lm_kept("n_layer",
                lm_integer("layers", &c->layers, 1, LLAMA_MAX_LAYERS, "How many layers the model has.")),
        lm_kept("n_head",
                lm_integer("heads", &c->heads, 1, LLAMA_MAX_HEADS, "How many attention heads a layer has.")),
        lm_kept("n_head_kv", lm_integer("key-heads", &c->key_heads, 0, LLAMA_MAX_HEADS,
                                        "How many heads its keys and values have; 0 is as many.")),
        lm_kept("n_embd", lm_integer("width", &c->width, 1, 65536, "How many numbers stand for a token.")),
        lm_kept("head_size", lm_integer("head-size", &c->head_size, 0, 65536,
                                        "How many numbers a head has; 0 is the width by the heads.")),
        lm_kept("n_inner", lm_integer("hidden", &c->hidden, 0, LLAMA_MAX_HIDDEN,
                                      "How many numbers stand in the middle of a layer; 0 is 8/3 widths.")),
        lm_real("dropout", &c->dropout, 0, 0.99, "Leave out this share of numbers at random while training."),
        lm_kept("norm_epsilon", lm_real("norm-epsilon", &c->norm_epsilon, 1e-20, 1,
                                        "The norms add this to a mean of squares.")),
        lm_kept("rotary_base",
                lm_real("rotary-base", &c->rotary_base, 1, 1e12,
                        "The slowest pair of a head turns once in about 6 times so many tokens.")),
        lm_kept("tied_head", lm_yes_no("tied-head", &c->tied_head, "Output and input share a table.")),
        lm_of_new(
            lm_real("init-deviation", &c->deviation, 1e-6, 10,
                    "Draw first weights with this deviation, as published Llamas do; else as PyTorch does.")),
    };
    memcpy(options, all, sizeof all);
    model = (lm_model){.name = "llama",
                       .summary = "A Llama",
                       .self = &llama,
                       .options = options,
                       .defaults = {.context = 64, .batch = 64, .iterations = 2000, .rate = 1e-2},
                       .check = check,
                       .init = init,
                       .forward = forward,
                       .activations = activations,
                       .cache = make_cache,
                       .adopt = adopt,
                       .publish = publish,
                       .matrices = "model.layers.*_proj.weight",
                       .tables = "model.embed_tokens.weight",
                       .attention = attention};
    return &model;
}
