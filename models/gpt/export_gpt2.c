/* Our GPT as a GPT-2 that other programs load: transformers' GPT2LMHeadModel, and llama.cpp's architecture gpt2. What a
 * GPT-2 has no word for is folded into its weights where the logits stay what they are, but for rounding:
 *
 * - Another scale of attention is a factor of the queries; queries, keys and values without bias have one of zeros.
 * - A head with a bias: the final norm's rows sum to 0 before its weight g and bias b, so that a row w of the head
 * gives the
 *   same logits with the mean of w g taken off; and where the norm's weight and bias are all 1, a constant added to the
 * row
 *   is C times that constant added to the logit. The head is then a table of its own.
 * - llama.cpp knows no ReLU here, but a gelu that is as steep. */
#include <inttypes.h>
#include <string.h>

#include "models/gpt/export.h"

/* A part of a block and its name for llama.cpp. */
typedef struct piece {
    const char *name, *gguf;
} piece;
static const piece parts[] = {
    {"ln_1.weight", "attn_norm.weight"},          {"ln_1.bias", "attn_norm.bias"},
    {"attn.c_attn.weight", "attn_qkv.weight"},    {"attn.c_attn.bias", "attn_qkv.bias"},
    {"attn.c_proj.weight", "attn_output.weight"}, {"attn.c_proj.bias", "attn_output.bias"},
    {"ln_2.weight", "ffn_norm.weight"},           {"ln_2.bias", "ffn_norm.bias"},
    {"mlp.c_fc.weight", "ffn_up.weight"},         {"mlp.c_fc.bias", "ffn_up.bias"},
    {"mlp.c_proj.weight", "ffn_down.weight"},     {"mlp.c_proj.bias", "ffn_down.bias"},
};
enum { PARTS = sizeof parts / sizeof *parts, OTHERS = 5 };

static bool copy_table(gpt_export *b, const char *ours, const char *name, int64_t rows, int64_t more) {
    float *x = gpt_export_add(b, rows + more, b->config->width, "%s", name);
    if (x) memcpy(x, gpt_export_find(b, "%s", ours), (size_t)(rows * b->config->width) * sizeof *x);
    return x;
}

/* ---- Blocks -------------------------------------------------------------------------------------- */

/* By what a number in column `column` of a part is multiplied. */
static float factor(const gpt_export *b, const char *name, int64_t layer, int64_t column) {
    const struct gpt_config *c = b->config;
    const bool gguf = b->publication->form == LM_GGUF;
    if (strncmp(name, "attn.c_attn", 11) == 0 && column < c->width) {
        double scale = gpt_export_scale(c);
        if (gguf && c->scale_by_layer) scale /= (double)(layer + 1);
        return (float)scale;
    }
    if (!gguf || c->activation != NN_RELU) return 1;
    return strncmp(name, "mlp.c_fc", 8) == 0        ? GPT_STEEP
           : strcmp(name, "mlp.c_proj.weight") == 0 ? 1 / GPT_STEEP
                                                    : 1;
}

static bool add_part(gpt_export *b, const piece *part, int64_t layer) {
    const struct gpt_config *c = b->config;
    const bool gguf = b->publication->form == LM_GGUF, bias = strstr(part->name, ".bias");
    const bool matrix = !bias && strncmp(part->name, "ln_", 3) != 0;
    const bool qkv = strncmp(part->name, "attn.c_attn", 11) == 0;
    const bool fc = strncmp(part->name, "mlp.c_fc", 8) == 0;
    const int64_t columns = qkv ? 3 * c->width : fc ? c->hidden : c->width;
    const int64_t inputs = strncmp(part->name, "mlp.c_proj", 10) == 0 ? c->hidden : c->width;
    const int64_t rows = matrix ? inputs : 1;
    int64_t shape[2] = {matrix ? rows : 0, columns};
    if (matrix && gguf) shape[0] = columns, shape[1] = rows; /* llama.cpp has a row for each output */
    const float *from = gpt_export_find(b, "h.%" PRId64 ".%s", layer, part->name);
    float *to = gpt_export_add(b, shape[0], shape[1], "%s.%" PRId64 ".%s", gguf ? "blk" : "transformer.h",
                               layer, gguf ? part->gguf : part->name);
    if (!to || !from) return to; /* no bias: zeros */
    for (int64_t j = 0; j < columns; j++) {
        const float f = factor(b, part->name, layer, j);
        for (int64_t i = 0; i < rows; i++)
            to[gguf ? j * rows + i : i * columns + j] = f * from[i * columns + j];
    }
    return true;
}

/* ---- The head -------------------------------------------------------------------------------------- */

/* The final norm and a head with the biases in its rows; a row behind the others is for what is never chosen. */
static bool fold_head(gpt_export *b, const char *norm[2], const char *head, int64_t vocabulary) {
    const int64_t width = b->config->width, rows = vocabulary + b->publication->spare;
    const float *g = gpt_export_find(b, "ln_f.weight"), *shift = gpt_export_find(b, "ln_f.bias"),
                *bias = gpt_export_find(b, "lm_head.bias");
    const float *from = gpt_export_find(b, "%s", b->config->tied_head ? "wte.weight" : "lm_head.weight");
    float *ones[2] = {gpt_export_add(b, 0, width, "%s", norm[0]), gpt_export_add(b, 0, width, "%s", norm[1])};
    float *to = gpt_export_add(b, rows, width, "%s", head);
    if (!ones[0] || !ones[1] || !to) return false;
    for (int64_t j = 0; j < width; j++) ones[0][j] = ones[1][j] = 1;
    for (int64_t i = 0; i < rows; i++, from += width, to += width) {
        double sum = 0, constant = i < vocabulary ? (bias ? (double)bias[i] : 0) : -1e4;
        for (int64_t j = 0; i < vocabulary && j < width; j++) {
            sum += (double)from[j] * (double)g[j];
            constant += (double)from[j] * (double)shift[j];
        }
        for (int64_t j = 0; j < width; j++) {
            const double w = i < vocabulary ? (double)from[j] * (double)g[j] : 0;
            to[j] = (float)(w - sum / (double)width + constant / (double)width);
        }
    }
    return true;
}

static bool add_head(gpt_export *b, int64_t vocabulary) {
    const bool gguf = b->publication->form == LM_GGUF;
    const char *norm[2] = {gguf ? "output_norm.weight" : "transformer.ln_f.weight",
                           gguf ? "output_norm.bias" : "transformer.ln_f.bias"};
    const char *head = gguf ? "output.weight" : "lm_head.weight";
    if (b->publication->spare || b->config->head_bias) return fold_head(b, norm, head, vocabulary);
    static const char *const ours[2] = {"ln_f.weight", "ln_f.bias"};
    for (int i = 0; i < 2; i++) {
        float *x = gpt_export_add(b, 0, b->config->width, "%s", norm[i]);
        if (!x) return false;
        memcpy(x, gpt_export_find(b, "%s", ours[i]), (size_t)b->config->width * sizeof *x);
    }
    if (b->config->tied_head && !gguf) return true; /* not all of llama.cpp's versions know a tied one */
    return copy_table(b, b->config->tied_head ? "wte.weight" : "lm_head.weight", head, vocabulary, 0);
}

/* ---- Facts --------------------------------------------------------------------------------------- */

static void facts_of_transformers(const struct gpt_config *c, int64_t context, lm_publication *p) {
    const lm_fact facts[] = {
        lm_fact_integer("n_positions", context),
        lm_fact_integer("n_embd", c->width),
        lm_fact_integer("n_layer", c->layers),
        lm_fact_integer("n_head", c->heads),
        lm_fact_integer("n_inner", c->hidden),
        lm_fact_text("activation_function", gpt_export_activation(c)),
        lm_fact_real("layer_norm_epsilon", c->norm_epsilon),
        lm_fact_yes("scale_attn_weights", true),
        lm_fact_yes("scale_attn_by_inverse_layer_idx", c->scale_by_layer),
        lm_fact_yes("tie_word_embeddings", c->tied_head && !c->head_bias),
        lm_fact_real("attn_pdrop", 0), /* we drop none of the attention's weights */
        lm_fact_real("embd_pdrop", c->dropout),
        lm_fact_real("resid_pdrop", c->dropout),
    };
    gpt_export_describe(p, facts, sizeof facts / sizeof *facts, "gpt2", "GPT2LMHeadModel");
}

bool gpt2_publish(const struct gpt_config *c, const lm_instance *instance, lm_publication *p,
                  tensor_error *err) {
    const bool gguf = p->form == LM_GGUF;
    const int64_t vocabulary = instance->tokenizer.count;
    if (gguf && c->activation == NN_GELU)
        return tensor_fail(err, "llama.cpp's GPT-2 has no gelu_erf; train with --activation gelu or relu");
    if (c->prior > 0 || c->gram_rows > 0 || c->value_rows > 0)
        return tensor_fail(
            err, "no other program knows a counted prior or tables for sequences of tokens; a model "
                 "that is trained with --prior 0 --gram-rows 0 --value-rows 0 can be exported");
    if (!c->final_norm) return gpt_publish_wide(c, instance, p, err);
    gpt_export b;
    if (!gpt_export_begin(&b, c, instance, p, c->layers * PARTS + OTHERS, err)) return false;
    if (gguf)
        gpt_export_facts(c, c->width, c->heads, c->norm_epsilon, instance->context, p);
    else
        facts_of_transformers(c, instance->context, p);
    if (!copy_table(&b, "wte.weight", gguf ? "token_embd.weight" : "transformer.wte.weight", vocabulary,
                    p->spare) ||
        !copy_table(&b, "wpe.weight", gguf ? "position_embd.weight" : "transformer.wpe.weight",
                    instance->context, 0))
        return false;
    for (int64_t layer = 0; layer < c->layers; layer++)
        for (int i = 0; i < PARTS; i++)
            if (!add_part(&b, &parts[i], layer)) return false;
    return add_head(&b, vocabulary);
}
