/* GPT: a decoder of transformer blocks (Vaswani et al. 2017; Radford et al. 2019). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt_presets.h"
#include "models/lm/lm.h"

enum { MAX_LAYERS = 256, OPTIONS = 13 };
enum { BY_WIDTH, BY_HEAD }; /* what attention's scale is 1/sqrt of */

struct config {
    int64_t layers, heads, width; /* C = width */
    int64_t activation;           /* nn_activation */
    double attention_scale;       /* 0: as scale_by says */
    int64_t scale_by;
    double dropout;
    double deviation; /* of initial weights, as GPT-2 draws them; 0: PyTorch's defaults */
    bool qkv_bias, final_norm, tied_head, head_bias;
};

struct gpt {
    struct config config;
    const lm_preset *preset;
    struct nn_embedding wte, wpe; /* tokens [V, C], positions [T, C] */
    struct nn_dropout dropout;
    struct nn_block h[MAX_LAYERS];
    struct nn_layer_norm ln_f;
    struct nn_linear lm_head;
};

/* What the preset kalevala is to reach with the Kalevala: by the PyTorch program that Sampo replaces. */
static const lm_reference references[] = {
    {"published", 1.284, 1.479},
    {"PyTorch, over the whole validation split", NAN, 1.4606},
    {0},
};

static ag_var *forward(const void *self, ag_var *ids, nn_cache *cache, tensor_rng *dropout) {
    const struct gpt *m = self;
    ag_var *positions = lm_positions(ids, cache);
    ag_var *x = ag_add(nn_embedding(&m->wte, ids), nn_embedding(&m->wpe, positions)); /* [B, T, C] */
    x = nn_dropout(&m->dropout, x, dropout);
    for (int64_t i = 0; i < m->config.layers; i++) {
        const bool last = i == m->config.layers - 1; /* what follows needs the last token alone */
        x = cache ? nn_block_cached(&m->h[i], x, cache, i, last ? -1 : 0) : nn_block(&m->h[i], x, dropout);
    }
    if (m->config.final_norm) x = nn_layer_norm(&m->ln_f, x);
    return nn_linear(&m->lm_head, x); /* [B, T, V] */
}

static ag_var *attention(const void *self, ag_var *ids) {
    const struct gpt *m = self;
    const int64_t layers = m->config.layers;
    ag_var *weights[MAX_LAYERS]; /* [B, 1, H, T, T] each */
    ag_var *x = ag_add(nn_embedding(&m->wte, ids), nn_embedding(&m->wpe, lm_positions(ids, NULL)));
    for (int64_t i = 0; i < layers; i++) {
        weights[i] = ag_unsqueeze(nn_attention_weights(&m->h[i].attn, nn_layer_norm(&m->h[i].ln_1, x)), 1);
        x = nn_block(&m->h[i], x, NULL);
    }
    return ag_concat(weights, (int)layers, 1);
}

static void init(void *self, nn_params *params, int64_t vocabulary, int64_t context) {
    struct gpt *m = self;
    const struct config *c = &m->config;
    const float dropout = (float)c->dropout;
    /* Tied, the table must also make small logits. The 2 layers' sums on the residual path: Radford et al. 2019. */
    const float deviation = (float)c->deviation, table = deviation > 0 ? deviation : c->tied_head ? 0.02f : 1;
    const float projection = (float)(c->deviation / sqrt(2 * (double)c->layers));
    const nn_attention_options attention = {.heads = (int)c->heads,
                                            .scale = (float)c->attention_scale,
                                            .no_qkv_bias = !c->qkv_bias,
                                            .dropout = dropout,
                                            .deviation = deviation,
                                            .projection_deviation = projection};
    const nn_mlp_options mlp = {.activation = (nn_activation)c->activation,
                                .dropout = dropout,
                                .deviation = deviation,
                                .projection_deviation = projection};

    nn_embedding_init(&m->wte, params, "wte", vocabulary, c->width, table);
    nn_embedding_init(&m->wpe, params, "wpe", context, c->width, table);
    m->dropout.p = dropout;
    for (int i = 0; i < c->layers; i++)
        nn_block_init(&m->h[i], params, nn_name(params, "h.%d", i), c->width, attention, mlp);
    if (c->final_norm) nn_layer_norm_init(&m->ln_f, params, "ln_f", c->width, NN_LAYER_NORM_EPS);
    nn_linear_init(&m->lm_head, params, "lm_head", c->width, vocabulary,
                   (nn_linear_options){.out_in = true,
                                       .no_bias = !c->head_bias,
                                       .deviation = deviation,
                                       .tied = c->tied_head ? m->wte.weight : NULL});
}

static bool make_cache(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                       tensor_error *err) {
    const struct config *c = &((const struct gpt *)self)->config;
    return nn_cache_init(cache, c->layers, batch, c->heads, context, c->width / c->heads, arena, err);
}

/* Measured: what backward needs of the blocks, and at its peak the largest gradients and the logits'. */
static double activations(const void *self, int64_t vocabulary) {
    const struct config *c = &((const struct gpt *)self)->config;
    const double block = 12.3 + (c->activation == NN_RELU ? 0 : 4) + (c->dropout > 0 ? 4 : 0);
    return (double)c->width * (block * (double)c->layers + 16) + 2 * (double)vocabulary;
}

static bool check(void *self, tensor_error *err) {
    struct config *c = &((struct gpt *)self)->config;
    if (c->width % c->heads != 0) {
        return tensor_fail(err, "%" PRId64 " heads do not divide a width of %" PRId64, c->heads, c->width);
    }
    if (c->attention_scale == 0) {
        const int64_t size = c->scale_by == BY_HEAD ? c->width / c->heads : c->width;
        c->attention_scale = 1 / sqrt((double)size);
    }
    return true;
}

/* ---- GPT-2 as published ------------------------------------------------------------------------ */

enum { GPT2_HEAD = 64 }; /* the size of a head in all sizes of GPT-2 */

/* What config.json may say beside what settings below are made of. */
static bool expect_gpt2(const lm_published *p, int64_t layers, int64_t width, tensor_error *err) {
    char text[3][24];
    snprintf(text[0], sizeof *text, "%" PRId64, layers);
    snprintf(text[1], sizeof *text, "%" PRId64, width);
    snprintf(text[2], sizeof *text, "%" PRId64, p->context);
    const nn_metadata expected[] = {{"model_type", "gpt2"},
                                    {"n_layer", text[0]},
                                    {"n_embd", text[1]},
                                    {"n_positions", text[2]},
                                    {"scale_attn_weights", "true"},
                                    {"scale_attn_by_inverse_layer_idx", "false"},
                                    {"layer_norm_epsilon", "1e-05"}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const nn_metadata e = expected[i];
        const char *value = lm_published_config(p, e.key);
        if (value && strcmp(value, e.value) != 0)
            return tensor_fail(err, "config.json: %s is %.40s, expected %s", e.key, value, e.value);
    }
    return true;
}

/* The activation's name here. */
static const char *gpt2_activation(const lm_published *p, tensor_error *err) {
    static const nn_metadata names[] = {
        {"gelu_new", "gelu"}, {"gelu_pytorch_tanh", "gelu"}, {"gelu", "gelu_erf"}, {"relu", "relu"}};
    const char *given = lm_published_config(p, "activation_function");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!given || strcmp(given, names[i].key) == 0) return names[i].value;
    tensor_fail(err, "config.json: activation_function is %.40s, expected gelu_new, gelu or relu", given);
    return NULL;
}

static bool gpt2_heads(const lm_published *p, int64_t width, int64_t *heads, tensor_error *err) {
    const lm_option option = lm_integer(NULL, heads, 1, 1024, NULL);
    const char *given = lm_published_config(p, "n_head");
    tensor_error fault = {0};
    *heads = width / GPT2_HEAD;
    if (given)
        return lm_option_set(&option, given, &fault) ||
               tensor_fail(err, "config.json: n_head: %s", fault.text);
    return (width > 0 && width % GPT2_HEAD == 0) ||
           tensor_fail(err,
                       "a width of %" PRId64
                       " are no heads of %d, as GPT-2 has them; config.json with its n_head must "
                       "lie beside it",
                       width, GPT2_HEAD);
}

/* Whether the head is the table of tokens. */
static bool gpt2_tied(const lm_published *p, const nn_entry *wte) {
    const nn_entry *head = nn_file_find(p->file, "lm_head.weight");
    const char *given = lm_published_config(p, "tie_word_embeddings");
    if (!head) return true;
    if (p->config_count > 0) return !given || strcmp(given, "false") != 0;
    return head->bytes == wte->bytes && memcmp(head->data, wte->data, wte->bytes) == 0;
}

static const nn_entry *find_table(const nn_file *file, const char *name, tensor_error *err) {
    const nn_entry *e = nn_file_find(file, name);
    if (e && e->rank == 2) return e;
    tensor_fail(err, "neither has it our metadata, nor is it a GPT-2: it has no table %s", name);
    return NULL;
}

static const char *adopt(lm_published *p, tensor_arena *arena, tensor_error *err) {
    if (!nn_file_strip(p->file, "transformer.", err)) return NULL;
    const nn_entry *wte = find_table(p->file, "wte.weight", err),
                   *wpe = find_table(p->file, "wpe.weight", err);
    if (!wte || !wpe) return NULL;
    p->vocabulary = wte->shape[0];
    p->context = wpe->shape[0];
    int64_t layers = 0, heads = 0, width = wte->shape[1];
    for (char name[48]; layers <= MAX_LAYERS; layers++) {
        snprintf(name, sizeof name, "h.%" PRId64 ".ln_1.weight", layers);
        if (!nn_file_find(p->file, name)) break;
    }
    const char *activation = gpt2_activation(p, err);
    enum { ROOM = 400 };
    char *settings = tensor_arena_alloc(arena, ROOM, err);
    if (!settings || !activation || !expect_gpt2(p, layers, width, err) || !gpt2_heads(p, width, &heads, err))
        return NULL;
    snprintf(settings, ROOM,
             GPT2_SHAPE "layers=%" PRId64 " width=%" PRId64 " heads=%" PRId64
                        " activation=%s tied-head=%s attention-scale=%.9g",
             layers, width, heads, activation, gpt2_tied(p, wte) ? "yes" : "no",
             1 / sqrt((double)width / (double)heads));
    return settings;
}

/* ---- The program ------------------------------------------------------------------------------- */

const lm_model *lm_program(void) {
    static struct gpt gpt;
    static lm_option options[OPTIONS + 1];
    static lm_model model;
    struct config *c = &gpt.config;
    gpt.preset = presets;
    *c = (struct config){.layers = 3, .heads = 4, .width = 64, .activation = NN_RELU, .head_bias = true};
    const lm_option all[OPTIONS] = {
        lm_presets(&gpt.preset, presets, "Set the other options as this preset does, unless they are given."),
        lm_kept("n_layer", lm_integer("layers", &c->layers, 1, MAX_LAYERS, "How many layers the model has.")),
        lm_kept("n_head", lm_integer("heads", &c->heads, 1, 1024, "How many attention heads a layer has.")),
        lm_kept("n_embd", lm_integer("width", &c->width, 1, 65536, "How many numbers stand for a token.")),
        lm_real("dropout", &c->dropout, 0, 0.99, "Leave out this share of numbers at random while training."),
        lm_kept("activation", lm_choice("activation", &c->activation, "relu|gelu|gelu_erf",
                                        "The function in each layer; GPT-2 has gelu, in its tanh form.")),
        lm_kept("attention_scale", lm_real("attention-scale", &c->attention_scale, 1e-6, 1000,
                                           "Multiply attention scores by this, if given; else see below.")),
        lm_choice("attention-scale-by", &c->scale_by, "width|head", "Divide scores by the root of this."),
        lm_kept("qkv_bias", lm_yes_no("qkv-bias", &c->qkv_bias, "Queries, keys and values have biases.")),
        lm_kept("final_norm", lm_yes_no("final-norm", &c->final_norm, "A layer norm precedes the output.")),
        lm_kept("tied_head", lm_yes_no("tied-head", &c->tied_head, "Output and input share a table.")),
        lm_kept("head_bias", lm_yes_no("head-bias", &c->head_bias, "The output has biases.")),
        lm_real("init-deviation", &c->deviation, 1e-6, 10,
                "Draw first weights with this deviation, as GPT-2 does; else as PyTorch does."),
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
                       .activations = activations,
                       .cache = make_cache,
                       .adopt = adopt,
                       .attention = attention,
                       .references = references};
    return &model;
}
