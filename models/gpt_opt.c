/* Our GPT without a final norm for transformers, as an OPT (Zhang et al. 2022): the one form of a decoder with norms in
 * front that transformers has without a norm behind. Its head has no bias and its epsilon is fixed, so that the model
 * becomes wider by a head or more, in which other channels lie:
 *
 *     z = (s (x - m), t m, -t m, k, -k, 0, ...)     x: ours, m: its mean
 *
 * Layer norm does not see the mean, so the first channels go without it, and the mean of z is 0. Everything that is added to
 * x is projected in this way. The sum of squares of z is s^2 C var(x) + 2 k^2, but for t^2, which is lost in rounding: with s
 * and k such that (2 k^2 + C' epsilon') / (s^2 C) is our epsilon, the norm of z is that of x but for a factor, which its
 * weight takes. The head finds m and the constants in the other channels. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt_export.h"

enum { MEAN, MINUS_MEAN, CONSTANT, MINUS_CONSTANT, EXTRA, PARTS = 16, OTHERS = 3, FIRST_POSITION = 2 };
static const double epsilon = 1e-5;         /* of every norm */
static const double tiny = 1.0 / (1 << 16); /* t */

typedef struct opt {
    gpt_export export;
    int64_t from, to, heads; /* C, C' */
    double scale, constant;  /* s, k */
} opt;

static void choose(opt *o, const struct gpt_config *c) {
    const int64_t size = c->width / c->heads, more = (EXTRA + size - 1) / size;
    o->from = c->width;
    o->to = c->width + more * size;
    o->heads = c->heads + more;
    const double ours = (double)o->from * c->norm_epsilon, theirs = (double)o->to * epsilon;
    o->scale = 1;
    while (o->scale * o->scale * ours < 2 * theirs) o->scale *= 2;
    o->constant = sqrt((o->scale * o->scale * ours - theirs) / 2);
}

/* ---- Projections ----------------------------------------------------------------------------------- */

/* What is added to x, [C], as what is added to z; its channel j is to[j step]. */
static void project(const opt *o, const float *from, float *to, int64_t step) {
    double sum = 0;
    for (int64_t j = 0; j < o->from; j++) sum += (double)from[j];
    const double mean = sum / (double)o->from;
    for (int64_t j = 0; j < o->from; j++) to[j * step] = (float)(o->scale * ((double)from[j] - mean));
    to[(o->from + MEAN) * step] = (float)(tiny * mean);
    to[(o->from + MINUS_MEAN) * step] = (float)-(tiny * mean);
}

/* A table of rows that are added to x. */
static float *add_table(opt *o, const char *ours, int64_t count, int64_t first, const char *name) {
    const float *from = gpt_export_find(&o->export, "%s", ours);
    float *table = gpt_export_add(&o->export, first + count, o->to, "model.decoder.%s.weight", name);
    for (int64_t i = 0; table && i < count; i++)
        project(o, from + i * o->from, table + (first + i) * o->to, 1);
    return table;
}

/* A linear layer whose result is added to x. */
static bool add_output(opt *o, int64_t layer, const char *ours, int64_t rows, int64_t inputs,
                       const char *name) {
    const float *w = gpt_export_find(&o->export, "h.%" PRId64 ".%s.weight", layer, ours);
    const float *b = gpt_export_find(&o->export, "h.%" PRId64 ".%s.bias", layer, ours);
    float *weight =
        gpt_export_add(&o->export, o->to, inputs, "model.decoder.layers.%" PRId64 ".%s.weight", layer, name);
    float *bias =
        gpt_export_add(&o->export, 0, o->to, "model.decoder.layers.%" PRId64 ".%s.bias", layer, name);
    if (!weight || !bias) return false;
    for (int64_t i = 0; i < rows; i++) project(o, w + i * o->from, weight + i, inputs);
    project(o, b, bias, 1);
    return true;
}

/* A linear layer of what a norm gives: columns begin..begin + count - 1 of ours, which has `columns`. */
static bool add_input(opt *o, int64_t layer, const char *ours, int64_t columns, int64_t begin, int64_t count,
                      int64_t outputs, double factor, const char *name) {
    const float *w = gpt_export_find(&o->export, "h.%" PRId64 ".%s.weight", layer, ours);
    const float *b = gpt_export_find(&o->export, "h.%" PRId64 ".%s.bias", layer, ours);
    float *weight =
        gpt_export_add(&o->export, outputs, o->to, "model.decoder.layers.%" PRId64 ".%s.weight", layer, name);
    float *bias =
        gpt_export_add(&o->export, 0, outputs, "model.decoder.layers.%" PRId64 ".%s.bias", layer, name);
    if (!weight || !bias) return false;
    for (int64_t j = 0; j < count; j++) {
        for (int64_t i = 0; i < o->from; i++)
            weight[j * o->to + i] = (float)(factor * (double)w[i * columns + begin + j]);
        if (b) bias[j] = (float)(factor * (double)b[begin + j]);
    }
    return true;
}

static bool add_norm(opt *o, int64_t layer, const char *ours, const char *name) {
    const double factor = sqrt((double)o->from / (double)o->to);
    const float *w = gpt_export_find(&o->export, "h.%" PRId64 ".%s.weight", layer, ours);
    const float *b = gpt_export_find(&o->export, "h.%" PRId64 ".%s.bias", layer, ours);
    float *weight =
        gpt_export_add(&o->export, 0, o->to, "model.decoder.layers.%" PRId64 ".%s.weight", layer, name);
    float *bias =
        gpt_export_add(&o->export, 0, o->to, "model.decoder.layers.%" PRId64 ".%s.bias", layer, name);
    if (!weight || !bias) return false;
    for (int64_t i = 0; i < o->from; i++) weight[i] = (float)(factor * (double)w[i]);
    memcpy(bias, b, (size_t)o->from * sizeof *bias);
    return true;
}

/* ---- The model --------------------------------------------------------------------------------------- */

static bool add_layer(opt *o, const struct gpt_config *c, int64_t layer) {
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    const double scale = gpt_export_scale(c) / (c->scale_by_layer ? (double)(layer + 1) : 1);
    for (int64_t i = 0; i < 3; i++)
        if (!add_input(o, layer, "attn.c_attn", 3 * o->from, i * o->from, o->from, o->to, i == 0 ? scale : 1,
                       names[i]))
            return false;
    return add_norm(o, layer, "ln_1", "self_attn_layer_norm") &&
           add_norm(o, layer, "ln_2", "final_layer_norm") &&
           add_output(o, layer, "attn.c_proj", o->from, o->to, "self_attn.out_proj") &&
           add_input(o, layer, "mlp.c_fc", c->hidden, 0, c->hidden, c->hidden, 1, "fc1") &&
           add_output(o, layer, "mlp.c_proj", c->hidden, c->hidden, "fc2");
}

static bool add_head(opt *o, const struct gpt_config *c, int64_t vocabulary) {
    const float *w = gpt_export_find(&o->export, "%s", c->tied_head ? "wte.weight" : "lm_head.weight");
    const float *bias = gpt_export_find(&o->export, "lm_head.bias");
    float *head = gpt_export_add(&o->export, vocabulary, o->to, "lm_head.weight");
    for (int64_t i = 0; head && i < vocabulary; i++) {
        const float *from = w + i * o->from;
        float *to = head + i * o->to, *extra = to + o->from;
        double sum = 0;
        for (int64_t j = 0; j < o->from; j++) {
            to[j] = (float)((double)from[j] / o->scale);
            sum += (double)from[j];
        }
        extra[MEAN] = (float)(sum / (2 * tiny));
        extra[MINUS_MEAN] = -extra[MEAN];
        extra[CONSTANT] = bias ? (float)((double)bias[i] / (2 * o->constant)) : 0;
        extra[MINUS_CONSTANT] = -extra[CONSTANT];
    }
    return head;
}

static void facts(const opt *o, const struct gpt_config *c, int64_t context, lm_publication *p) {
    const lm_fact list[] = {
        {"hidden_size", LM_INTEGER, (double)o->to, NULL},
        {"word_embed_proj_dim", LM_INTEGER, (double)o->to, NULL},
        {"num_hidden_layers", LM_INTEGER, (double)c->layers, NULL},
        {"num_attention_heads", LM_INTEGER, (double)o->heads, NULL},
        {"ffn_dim", LM_INTEGER, (double)c->hidden, NULL},
        {"max_position_embeddings", LM_INTEGER, (double)context, NULL},
        {"activation_function", LM_TEXT, 0, gpt_export_activation(c)},
        {"do_layer_norm_before", LM_YES_NO, true, NULL},
        {"_remove_final_layer_norm", LM_YES_NO, true, NULL},
        {"enable_bias", LM_YES_NO, true, NULL},
        {"layer_norm_elementwise_affine", LM_YES_NO, true, NULL},
        {"tie_word_embeddings", LM_YES_NO, false, NULL},
        {"dropout", LM_REAL, c->dropout, NULL},
        {"attention_dropout", LM_REAL, 0, NULL},
        {"pad_token_id", LM_TEXT, 0, NULL},
    };
    memcpy(p->facts, list, sizeof list);
    p->fact_count = sizeof list / sizeof *list;
}

bool gpt_publish_opt(const struct gpt_config *c, const lm_instance *instance, lm_publication *p,
                     tensor_error *err) {
    const int64_t vocabulary = instance->tokenizer.count;
    opt o;
    if (!gpt_export_begin(&o.export, c, instance, p, c->layers * PARTS + OTHERS, err)) return false;
    p->type = "opt";
    p->architecture = "OPTForCausalLM";
    choose(&o, c);
    facts(&o, c, instance->context, p);
    float *tokens = add_table(&o, "wte.weight", vocabulary, 0, "embed_tokens");
    if (!tokens || !add_table(&o, "wpe.weight", instance->context, FIRST_POSITION, "embed_positions"))
        return false;
    for (int64_t i = 0; i < vocabulary; i++) {
        tokens[i * o.to + o.from + CONSTANT] = (float)o.constant;
        tokens[i * o.to + o.from + MINUS_CONSTANT] = (float)-o.constant;
    }
    for (int64_t layer = 0; layer < c->layers; layer++)
        if (!add_layer(&o, c, layer)) return false;
    return add_head(&o, c, vocabulary);
}
