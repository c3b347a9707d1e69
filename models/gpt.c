/* GPT: a decoder of transformer blocks (Vaswani et al. 2017; Radford et al. 2019). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt/gpt.h"
#include "models/gpt/presets.h"
#include "models/lm/prior.h"

enum { OPTIONS = 20, GRAM_TOKENS = 3 };
enum { BY_WIDTH, BY_HEAD }; /* what attention's scale is 1/sqrt of */

struct gpt {
    struct gpt_config config;
    const lm_preset *preset;
    struct nn_embedding wte, wpe; /* tokens [V, C], positions [T, C] */
    struct nn_dropout dropout;
    struct nn_block h[GPT_MAX_LAYERS];
    struct nn_layer_norm ln_f;
    struct nn_linear lm_head;
    struct lm_prior prior;     /* if the configuration has one */
    struct nn_embedding grams; /* of the last tokens, [rows, C]; as the next one, if there are rows */
    struct nn_embedding values[GPT_MAX_LAYERS]; /* of the last two, for each layer's attention */
    int64_t vocabulary;
};

/* What the preset kalevala is to reach with the Kalevala: by the PyTorch program that Sampo replaces. */
static const lm_reference references[] = {
    {"published", 1.284, 1.479},
    {"PyTorch, over the whole validation split", NAN, 1.4606},
    {0},
};

/* Tokens, positions and what was counted: [B, T, C]. */
static ag_var *embed(const struct gpt *m, const lm_input *in, lm_counted counted) {
    ag_var *positions = lm_positions(in->ids, in->cache);
    ag_var *tokens = nn_embedding(&m->wte, in->ids);
    ag_var *x = ag_add(tokens, nn_embedding(&m->wpe, positions));
    if (m->config.gram_rows > 0)
        x = ag_add(x, nn_embedding(&m->grams, lm_grams(in, GRAM_TOKENS, m->vocabulary, m->config.gram_rows)));
    return m->config.prior > 0 ? ag_add(x, lm_prior_embed(&m->prior, counted)) : x;
}

static ag_var *block(const struct gpt *m, int64_t i, ag_var *x, ag_var *pairs, const lm_input *in) {
    const struct nn_block *h = &m->h[i];
    const int64_t first = i == m->config.layers - 1 ? -1 : 0; /* what follows needs the last token alone */
    if (!m->config.value_rows)
        return in->cache ? nn_block_cached(h, x, in->cache, i, first) : nn_block(h, x, in->dropout);
    ag_var *values = nn_embedding(&m->values[i], pairs);
    return in->cache ? nn_block_with_values_cached(h, x, values, in->cache, i, first)
                     : nn_block_with_values(h, x, values, in->dropout);
}

/* Which rows of the tables of values belong to the tokens. */
static ag_var *pairs_of(const struct gpt *m, const lm_input *in) {
    return m->config.value_rows ? lm_grams(in, 2, m->vocabulary, m->config.value_rows) : NULL;
}

static lm_counted count(const struct gpt *m, const lm_input *in) {
    return m->config.prior > 0 ? lm_count(in) : (lm_counted){0};
}

static ag_var *forward(const void *self, const lm_input *in) {
    const struct gpt *m = self;
    const lm_counted counted = count(m, in);
    ag_var *pairs = pairs_of(m, in);
    ag_var *x = nn_dropout(&m->dropout, embed(m, in, counted), in->dropout); /* [B, T, C] */
    for (int64_t i = 0; i < m->config.layers; i++) x = block(m, i, x, pairs, in);
    if (m->config.final_norm) x = nn_layer_norm(&m->ln_f, x);
    ag_var *logits = nn_linear(&m->lm_head, x); /* [B, T, V] */
    return m->config.prior > 0 ? lm_prior_add(&m->prior, counted, x, logits) : logits;
}

static ag_var *attention(const void *self, const lm_input *in) {
    const struct gpt *m = self;
    const int64_t layers = m->config.layers;
    ag_var *weights[GPT_MAX_LAYERS]; /* [B, 1, H, T, T] each */
    ag_var *x = embed(m, in, count(m, in)), *pairs = pairs_of(m, in);
    for (int64_t i = 0; i < layers; i++) {
        weights[i] = ag_unsqueeze(nn_attention_weights(&m->h[i].attn, nn_layer_norm(&m->h[i].ln_1, x)), 1);
        x = block(m, i, x, pairs, in);
    }
    return ag_concat(weights, (int)layers, 1);
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct gpt *m = self;
    const struct gpt_config *c = &m->config;
    const float dropout = (float)c->dropout;
    /* Tied, the table must also make small logits. The 2 layers' sums on the residual path: Radford et al. 2019. */
    const float deviation = (float)c->deviation, table = deviation > 0 ? deviation : c->tied_head ? 0.02f : 1;
    const float projection = (float)(c->deviation / sqrt(2 * (double)c->layers));
    const float epsilon = (float)c->norm_epsilon;
    const nn_attention_options attention = {.heads = (int)c->heads,
                                            .scale = (float)c->attention_scale,
                                            .no_qkv_bias = !c->qkv_bias,
                                            .dropout = dropout,
                                            .deviation = deviation,
                                            .projection_deviation = projection,
                                            .zero_projection = c->zero};
    const nn_mlp_options mlp = {.hidden = c->hidden,
                                .activation = (nn_activation)c->activation,
                                .dropout = dropout,
                                .deviation = deviation,
                                .projection_deviation = projection,
                                .zero_projection = c->zero};

    nn_embedding_init(&m->wte, params, "wte", vocabulary, c->width, table);
    nn_embedding_init(&m->wpe, params, "wpe", context, c->width, table);
    m->dropout.p = dropout;
    for (int i = 0; i < c->layers; i++) {
        struct nn_block *h = &m->h[i];
        nn_block_init(h, params, nn_name(params, "h.%d", i), c->width, attention, mlp);
        h->ln_1.eps = h->ln_2.eps = epsilon;
        if (c->scale_by_layer) h->attn.scale /= (float)(i + 1);
    }
    if (c->final_norm) nn_layer_norm_init(&m->ln_f, params, "ln_f", c->width, epsilon);
    /* On top of counts the output begins with nearly nothing to say: the loss begins as theirs. */
    nn_linear_init(&m->lm_head, params, "lm_head", c->width, vocabulary,
                   (nn_linear_options){.out_in = true,
                                       .no_bias = !c->head_bias,
                                       .deviation = deviation,
                                       .zero = c->zero || c->prior > 0,
                                       .tied = c->tied_head ? m->wte.weight : NULL});
    m->vocabulary = vocabulary;
    if (c->gram_rows > 0) nn_embedding_init(&m->grams, params, "grams", c->gram_rows, c->width, 0);
    for (int i = 0; c->value_rows > 0 && i < c->layers; i++)
        nn_embedding_init(&m->values[i], params, nn_name(params, "h.%d.values", i), c->value_rows, c->width,
                          0);
    if (c->prior > 0) lm_prior_init(&m->prior, params, "prior", c->prior, vocabulary, c->width);
}

static bool make_cache(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                       tensor_error *err) {
    const struct gpt_config *c = &((const struct gpt *)self)->config;
    return nn_cache_init(cache, c->layers, batch, c->heads, context, c->width / c->heads, arena, err);
}

/* What backward needs of the blocks, and at its peak the largest gradients and the logits'. The factors are measured. */
static double activations(const void *self, int64_t vocabulary) {
    const struct gpt_config *c = &((const struct gpt *)self)->config;
    const double width = (double)c->width, hidden = (double)c->hidden;
    const double block = (c->dropout > 0 ? 12.3 : 8.3) * width + (c->activation == NN_RELU ? 1 : 2) * hidden;
    return (double)c->layers * block + 8 * width + 2 * hidden + 2 * (double)vocabulary;
}

static double looked_up(const void *self) {
    const struct gpt_config *c = &((const struct gpt *)self)->config;
    return (double)c->width * ((double)c->gram_rows + (double)c->layers * (double)c->value_rows);
}

static bool check(void *self, tensor_error *err) {
    struct gpt_config *c = &((struct gpt *)self)->config;
    if (c->width % c->heads != 0) {
        return tensor_fail(err, "a width of %" PRId64 " cannot be divided among %" PRId64 " heads", c->width,
                           c->heads);
    }
    if (c->attention_scale == 0) {
        const int64_t size = c->scale_by == BY_HEAD ? c->width / c->heads : c->width;
        c->attention_scale = 1 / sqrt((double)size);
    }
    if (c->hidden == 0) c->hidden = 4 * c->width;
    return true;
}

static bool adopt(void *self, lm_published *p, tensor_error *err) {
    return gpt2_adopt(&((struct gpt *)self)->config, p, err);
}

static bool publish(const void *self, const lm_instance *instance, lm_publication *p, tensor_error *err) {
    return gpt2_publish(&((const struct gpt *)self)->config, instance, p, err);
}

/* ---- The program ------------------------------------------------------------------------------- */

const lm_model *lm_program(void) {
    static struct gpt gpt;
    static lm_option options[OPTIONS + 1];
    static lm_model model;
    struct gpt_config *c = &gpt.config;
    gpt.preset = presets;
    *c = (struct gpt_config){.layers = 3, .heads = 4, .width = 64, .head_bias = true};
    c->norm_epsilon = 1e-5;
    const lm_option all[OPTIONS] = {
        lm_presets(&gpt.preset, presets,
                   "Take other options from this preset; the command presets lists them."),
        lm_kept("n_layer",
                lm_integer("layers", &c->layers, 1, GPT_MAX_LAYERS, "How many layers the model has.")),
        lm_kept("n_head",
                lm_integer("heads", &c->heads, 1, GPT_MAX_HEADS, "How many attention heads a layer has.")),
        lm_kept("n_embd", lm_integer("width", &c->width, 1, 65536, "How many numbers stand for a token.")),
        lm_kept_since("n_inner", "0",
                      lm_integer("hidden", &c->hidden, 0, GPT_MAX_HIDDEN,
                                 "How many numbers stand in the middle of a layer; 0 is 4 widths.")),
        lm_real("dropout", &c->dropout, 0, 0.99, "Leave out this share of numbers at random while training."),
        lm_kept("activation", lm_choice("activation", &c->activation, "relu|gelu|gelu_erf",
                                        "The function in each layer; GPT-2 has gelu, in its tanh form.")),
        lm_kept("attention_scale", lm_real("attention-scale", &c->attention_scale, 1e-6, 1000,
                                           "Multiply attention scores by this, if given; else see below.")),
        lm_of_new(lm_choice("attention-scale-by", &c->scale_by, "width|head",
                            "Divide scores by the root of this.")),
        lm_kept_since(
            "scale_by_layer", "no",
            lm_yes_no("scale-by-layer", &c->scale_by_layer, "Divide scores by the layer's number, too.")),
        lm_kept_since(
            "norm_epsilon", "1e-5",
            lm_real("norm-epsilon", &c->norm_epsilon, 1e-20, 1, "Layer norm adds this to a variance.")),
        lm_kept("qkv_bias", lm_yes_no("qkv-bias", &c->qkv_bias, "Queries, keys and values have biases.")),
        lm_kept("final_norm", lm_yes_no("final-norm", &c->final_norm, "A layer norm precedes the output.")),
        lm_kept("tied_head", lm_yes_no("tied-head", &c->tied_head, "Output and input share a table.")),
        lm_kept("head_bias", lm_yes_no("head-bias", &c->head_bias, "The output has biases.")),
        lm_kept_since(
            "prior", "0",
            lm_integer("prior", &c->prior, 0, LM_MAX_ORDER,
                       "Count how the text goes on after up to this many tokens, and learn on top of "
                       "what that predicts; 0 counts nothing.")),
        lm_kept_since(
            "gram_rows", "0",
            lm_integer("gram-rows", &c->gram_rows, 0, GPT_MAX_ROWS,
                       "Add a row of a table with this many to the input, chosen by the last 3 tokens.")),
        lm_kept_since(
            "value_rows", "0",
            lm_integer("value-rows", &c->value_rows, 0, GPT_MAX_ROWS,
                       "Add a row of such a table to the values of each layer's attention, chosen by the "
                       "last 2 tokens.")),
        lm_of_new(lm_real("init-deviation", &c->deviation, 1e-6, 10,
                          "Draw first weights with this deviation, as GPT-2 does; else as PyTorch does.")),
        lm_of_new(lm_yes_no("zero-init", &c->zero,
                            "Begin with zeros where a layer adds to what it read, and in the output.")),
    };
    memcpy(options, all, sizeof all);
    model = (lm_model){.name = "gpt",
                       .summary = "A GPT",
                       .self = &gpt,
                       .options = options,
                       .defaults = {.context = 64, .batch = 64, .iterations = 5000, .rate = 1e-2},
                       .check = check,
                       .init = init,
                       .forward = forward,
                       .order = &c->prior,
                       .activations = activations,
                       .looked_up = looked_up,
                       .cache = make_cache,
                       .adopt = adopt,
                       .publish = publish,
                       .positions = "wpe.weight",
                       .matrices = "h.*.c_*.weight",
                       .tables = "wte.weight wpe.weight grams.weight h.*.values.weight",
                       .attention = attention,
                       .references = references};
    return &model;
}
