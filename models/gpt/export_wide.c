/* Our GPT without a final norm for other programs. For transformers it is an OPT (Zhang et al. 2022), the one form of a
 * decoder with norms in front that transformers has without a norm behind; its head has no bias, and its epsilon is
 * fixed. For llama.cpp it is a GPT-2. The model becomes wider by a head or more, in which other channels lie:
 *
 *     z = (s (x - m), t m, -t m, k, -k, 0, ...)     x: ours, m: its mean
 *
 * Layer norm does not see the mean, so the first channels go without it, and the mean of z is 0. Everything that is
 * added to x is projected in this way. The sum of squares of z is s^2 C var(x) + 2 k^2, but for t^2, which is lost in
 * rounding: with s and k such that (2 k^2 + C' epsilon') / (s^2 C) is our epsilon, the norm of z is that of x but for a
 * factor, which its weight takes. The head finds m and the constants in the other channels.
 *
 * A GPT-2 has a norm behind. The last layer makes k so large that what this norm divides by is constant but for some
 * millionths; llama.cpp rounds more than that elsewhere. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt/export.h"

enum { MEAN, MINUS_MEAN, CONSTANT, MINUS_CONSTANT, EXTRA, PARTS = 16, OTHERS = 5, FIRST_POSITION = 2 };
static const double epsilon = 1e-5;         /* of every norm */
static const double tiny = 1.0 / (1 << 16); /* t */
static const float large = 8192;            /* what is added to k behind the last layer of a GPT-2 */

typedef struct wide {
    gpt_export export;
    bool gguf;
    int64_t from, to, heads;      /* C, C' */
    double scale, constant, last; /* s, k, and k before the head */
    double divisor;               /* of the norm behind; 1: there is none */
} wide;

static void choose(wide *o, const struct gpt_config *c, lm_form form) {
    const int64_t size = c->width / c->heads, more = (EXTRA + size - 1) / size;
    o->gguf = form == LM_GGUF;
    o->from = c->width;
    o->to = c->width + more * size;
    o->heads = c->heads + more;
    const double ours = (double)o->from * c->norm_epsilon, theirs = (double)o->to * epsilon;
    o->scale = 1;
    while (o->scale * o->scale * ours < 2 * theirs) o->scale *= 2;
    o->constant = o->last = sqrt((o->scale * o->scale * ours - theirs) / 2);
    o->divisor = 1;
    if (!o->gguf) return;
    o->last = (double)((float)o->constant + large);
    o->divisor = sqrt(2 * o->last * o->last / (double)o->to + epsilon);
}

/* ---- Projections ----------------------------------------------------------------------------------- */

/* A part of a layer: `name` is OPT's, `gguf` llama.cpp's. */
static float *add(wide *o, int64_t rows, int64_t columns, int64_t layer, const char *name, const char *gguf,
                  const char *part) {
    return gpt_export_add(&o->export, rows, columns, "%s.%" PRId64 ".%s.%s",
                          o->gguf ? "blk" : "model.decoder.layers", layer, o->gguf ? gguf : name, part);
}

static const float *find(const wide *o, int64_t layer, const char *ours, const char *part) {
    return gpt_export_find(&o->export, "h.%" PRId64 ".%s.%s", layer, ours, part);
}

/* What is added to x, [C], times a factor, as what is added to z; its channel j is to[j step]. */
static void project(const wide *o, const float *from, double factor, float *to, int64_t step) {
    double sum = 0;
    for (int64_t j = 0; j < o->from; j++) sum += (double)from[j];
    const double mean = sum / (double)o->from;
    for (int64_t j = 0; j < o->from; j++)
        to[j * step] = (float)(factor * o->scale * ((double)from[j] - mean));
    to[(o->from + MEAN) * step] = (float)(factor * tiny * mean);
    to[(o->from + MINUS_MEAN) * step] = (float)-(factor * tiny * mean);
}

/* A table of rows that are added to x, behind `first` others and before `more`. */
static float *add_table(wide *o, const char *ours, int64_t first, int64_t count, int64_t more,
                        const char *name) {
    const float *from = gpt_export_find(&o->export, "%s", ours);
    float *table = gpt_export_add(&o->export, first + count + more, o->to, "%s.weight", name);
    for (int64_t i = 0; table && i < count; i++)
        project(o, from + i * o->from, 1, table + (first + i) * o->to, 1);
    return table;
}

/* A linear layer whose result is added to x; returns its bias. */
static float *add_output(wide *o, int64_t layer, const char *ours, int64_t rows, int64_t inputs,
                         double factor, const char *name, const char *gguf) {
    const float *w = find(o, layer, ours, "weight");
    float *weight = add(o, o->to, inputs, layer, name, gguf, "weight");
    float *bias = add(o, 0, o->to, layer, name, gguf, "bias");
    if (!weight || !bias) return NULL;
    for (int64_t i = 0; i < rows; i++) project(o, w + i * o->from, factor, weight + i, inputs);
    project(o, find(o, layer, ours, "bias"), 1, bias, 1);
    return bias;
}

/* Columns begin..begin + count - 1 of a linear layer of ours that has `columns` and takes what a norm gives. */
static void fill_input(const wide *o, int64_t layer, const char *ours, int64_t columns, int64_t begin,
                       int64_t count, double factor, float *weight, float *bias) {
    const float *w = find(o, layer, ours, "weight"), *b = find(o, layer, ours, "bias");
    for (int64_t j = 0; j < count; j++) {
        for (int64_t i = 0; i < o->from; i++)
            weight[j * o->to + i] = (float)(factor * (double)w[i * columns + begin + j]);
        if (b) bias[j] = (float)(factor * (double)b[begin + j]);
    }
}

/* Queries, keys and values: three tensors of an OPT, one of a GPT-2. */
static bool add_qkv(wide *o, const struct gpt_config *c, int64_t layer) {
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    const double scale = gpt_export_scale(c) / (c->scale_by_layer ? (double)(layer + 1) : 1);
    float *weight = NULL, *bias = NULL;
    for (int64_t i = 0; i < 3; i++) {
        if (i == 0 || !o->gguf) {
            const int64_t rows = o->gguf ? 3 * o->to : o->to;
            weight = add(o, rows, o->to, layer, names[i], "attn_qkv", "weight");
            bias = add(o, 0, rows, layer, names[i], "attn_qkv", "bias");
        } else {
            weight += o->to * o->to;
            bias += o->to;
        }
        if (!weight || !bias) return false;
        fill_input(o, layer, "attn.c_attn", 3 * o->from, i * o->from, o->from, i == 0 ? scale : 1, weight,
                   bias);
    }
    return true;
}

static bool add_norm(wide *o, int64_t layer, const char *ours, const char *name, const char *gguf) {
    const double factor = sqrt((double)o->from / (double)o->to);
    const float *w = find(o, layer, ours, "weight"), *b = find(o, layer, ours, "bias");
    float *weight = add(o, 0, o->to, layer, name, gguf, "weight");
    float *bias = add(o, 0, o->to, layer, name, gguf, "bias");
    if (!weight || !bias) return false;
    for (int64_t i = 0; i < o->from; i++) weight[i] = (float)(factor * (double)w[i]);
    memcpy(bias, b, (size_t)o->from * sizeof *bias);
    return true;
}

/* ---- The model --------------------------------------------------------------------------------------- */

static bool add_layer(wide *o, const struct gpt_config *c, int64_t layer) {
    const double steep = o->gguf && c->activation == NN_RELU ? (double)GPT_STEEP : 1;
    if (!add_norm(o, layer, "ln_1", "self_attn_layer_norm", "attn_norm") || !add_qkv(o, c, layer) ||
        !add_output(o, layer, "attn.c_proj", o->from, o->to, 1, "self_attn.out_proj", "attn_output") ||
        !add_norm(o, layer, "ln_2", "final_layer_norm", "ffn_norm"))
        return false;
    float *weight = add(o, c->hidden, o->to, layer, "fc1", "ffn_up", "weight");
    float *bias = add(o, 0, c->hidden, layer, "fc1", "ffn_up", "bias");
    if (!weight || !bias) return false;
    fill_input(o, layer, "mlp.c_fc", c->hidden, 0, c->hidden, steep, weight, bias);
    bias = add_output(o, layer, "mlp.c_proj", c->hidden, c->hidden, 1 / steep, "fc2", "ffn_down");
    if (!bias) return false;
    if (o->gguf && layer == c->layers - 1) {
        bias[o->from + CONSTANT] = large;
        bias[o->from + MINUS_CONSTANT] = -large;
    }
    return true;
}

static bool add_head(wide *o, const struct gpt_config *c, int64_t vocabulary) {
    const float *w = gpt_export_find(&o->export, "%s", c->tied_head ? "wte.weight" : "lm_head.weight");
    const float *bias = gpt_export_find(&o->export, "lm_head.bias");
    const int64_t rows = vocabulary + o->export.publication->spare;
    float *norm = o->gguf ? gpt_export_add(&o->export, 0, o->to, "output_norm.weight") : NULL;
    if (o->gguf && (!norm || !gpt_export_add(&o->export, 0, o->to, "output_norm.bias"))) return false;
    for (int64_t j = 0; norm && j < o->to; j++) norm[j] = 1;
    float *head = gpt_export_add(&o->export, rows, o->to, "%s", o->gguf ? "output.weight" : "lm_head.weight");
    for (int64_t i = 0; head && i < rows; i++) {
        const bool token = i < vocabulary; /* else what is never chosen */
        float *to = head + i * o->to, *extra = to + o->from;
        double sum = 0, constant = !token ? -1e4 : bias ? (double)bias[i] : 0;
        for (int64_t j = 0; token && j < o->from; j++) {
            const double x = (double)w[i * o->from + j];
            to[j] = (float)(x / o->scale * o->divisor);
            sum += x;
        }
        extra[MEAN] = (float)(sum / (2 * tiny) * o->divisor);
        extra[CONSTANT] = (float)(constant / (2 * o->last) * o->divisor);
        extra[MINUS_MEAN] = -extra[MEAN];
        extra[MINUS_CONSTANT] = -extra[CONSTANT];
    }
    return head;
}

static void facts_of_opt(const wide *o, const struct gpt_config *c, int64_t context, lm_publication *p) {
    const lm_fact list[] = {
        lm_fact_integer("hidden_size", o->to),
        lm_fact_integer("word_embed_proj_dim", o->to),
        lm_fact_integer("num_hidden_layers", c->layers),
        lm_fact_integer("num_attention_heads", o->heads),
        lm_fact_integer("ffn_dim", c->hidden),
        lm_fact_integer("max_position_embeddings", context),
        lm_fact_text("activation_function", gpt_export_activation(c)),
        lm_fact_yes("do_layer_norm_before", true),
        lm_fact_yes("_remove_final_layer_norm", true),
        lm_fact_yes("enable_bias", true),
        lm_fact_yes("layer_norm_elementwise_affine", true),
        lm_fact_yes("tie_word_embeddings", false),
        lm_fact_real("dropout", c->dropout),
        lm_fact_real("attention_dropout", 0),
        lm_fact_text("pad_token_id", NULL),
    };
    gpt_export_describe(p, list, sizeof list / sizeof *list, "opt", "OPTForCausalLM");
}

bool gpt_publish_wide(const struct gpt_config *c, const lm_instance *instance, lm_publication *p,
                      tensor_error *err) {
    const int64_t vocabulary = instance->tokenizer.count;
    wide o;
    if (!gpt_export_begin(&o.export, c, instance, p, c->layers * PARTS + OTHERS, err)) return false;
    choose(&o, c, p->form);
    if (o.gguf)
        gpt_export_facts(c, o.to, o.heads, epsilon, instance->context, p);
    else
        facts_of_opt(&o, c, instance->context, p);
    float *tokens = add_table(&o, "wte.weight", 0, vocabulary, p->spare,
                              o.gguf ? "token_embd" : "model.decoder.embed_tokens");
    if (!tokens || !add_table(&o, "wpe.weight", o.gguf ? 0 : FIRST_POSITION, instance->context, 0,
                              o.gguf ? "position_embd" : "model.decoder.embed_positions"))
        return false;
    for (int64_t i = 0; i < vocabulary + p->spare; i++) {
        tokens[i * o.to + o.from + CONSTANT] = (float)o.constant;
        tokens[i * o.to + o.from + MINUS_CONSTANT] = (float)-o.constant;
    }
    for (int64_t layer = 0; layer < c->layers; layer++)
        if (!add_layer(&o, c, layer)) return false;
    return add_head(&o, c, vocabulary);
}
