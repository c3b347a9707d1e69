/* Our GPT as a GPT-2 that other programs load: transformers' GPT2LMHeadModel, and llama.cpp's architecture gpt2. What a
 * GPT-2 has no word for is folded into its weights where the logits stay what they are, but for rounding:
 *
 * - Another scale of attention is a factor of the queries; queries, keys and values without bias have one of zeros.
 * - A head with a bias: the final norm's rows sum to 0 before its weight g and bias b, so that a row w of the head gives the
 *   same logits with the mean of w g taken off; and where the norm's weight and bias are all 1, a constant added to the row
 *   is C times that constant added to the logit. The head is then a table of its own.
 * - llama.cpp knows no ReLU here: gelu(k x) / k is that but for 0.2 / k, near 0. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt.h"

static const float steep = 65536; /* k, a power of 2 */

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

typedef struct builder {
    const struct gpt_config *c;
    lm_publication *p;
    const nn_entry *list; /* our parameters */
    int count;
    tensor_error *err;
} builder;

/* One of our parameters; NULL: the model has none of that name. */
static const float *find(const builder *b, const char *name) {
    for (int i = 0; i < b->count; i++)
        if (strcmp(b->list[i].name, name) == 0) return b->list[i].data;
    return NULL;
}

/* Adds a tensor [rows, columns], or [columns] where rows is 0; returns its numbers, zeros; NULL: memory is out. */
static float *add(builder *b, const char *name, int64_t rows, int64_t columns) {
    const size_t bytes = (size_t)((rows > 0 ? rows : 1) * columns) * sizeof(float);
    float *data = tensor_arena_alloc(b->p->arena, bytes, b->err);
    char *copy = tensor_arena_alloc(b->p->arena, strlen(name) + 1, b->err);
    if (!data || !copy) return NULL;
    memset(data, 0, bytes);
    nn_entry *e = &b->p->tensors[b->p->tensor_count++];
    *e = (nn_entry){.name = strcpy(copy, name), .dtype = "F32", .rank = 1, .data = data, .bytes = bytes};
    e->shape[0] = columns;
    if (rows > 0) e->rank = 2, e->shape[0] = rows, e->shape[1] = columns;
    return data;
}

static bool copy_table(builder *b, const char *ours, const char *name, int64_t rows, int64_t more) {
    float *x = add(b, name, rows + more, b->c->width);
    if (x) memcpy(x, find(b, ours), (size_t)(rows * b->c->width) * sizeof *x);
    return x;
}

/* ---- Blocks -------------------------------------------------------------------------------------- */

/* By what a number in column `column` of a part is multiplied. */
static float factor(const builder *b, const char *name, int64_t layer, int64_t column) {
    const struct gpt_config *c = b->c;
    const bool gguf = b->p->form == LM_GGUF;
    if (strncmp(name, "attn.c_attn", 11) == 0 && column < c->width) {
        double scale = c->attention_scale * sqrt((double)(c->width / c->heads));
        if (gguf && c->scale_by_layer) scale /= (double)(layer + 1);
        return (float)scale;
    }
    if (!gguf || c->activation != NN_RELU) return 1;
    return strncmp(name, "mlp.c_fc", 8) == 0 ? steep : strcmp(name, "mlp.c_proj.weight") == 0 ? 1 / steep : 1;
}

static bool add_part(builder *b, const piece *part, int64_t layer) {
    const struct gpt_config *c = b->c;
    const bool gguf = b->p->form == LM_GGUF, matrix = strcmp(strrchr(part->name, '.'), ".weight") == 0 &&
                                                      strncmp(part->name, "ln_", 3) != 0;
    const bool qkv = strncmp(part->name, "attn.c_attn", 11) == 0;
    const bool fc = strncmp(part->name, "mlp.c_fc", 8) == 0;
    const int64_t columns = qkv ? 3 * c->width : fc ? c->hidden : c->width;
    const int64_t rows = !matrix ? 1 : strncmp(part->name, "mlp.c_proj", 10) == 0 ? c->hidden : c->width;
    char name[64];
    snprintf(name, sizeof name, "h.%" PRId64 ".%s", layer, part->name);
    const float *from = find(b, name);
    snprintf(name, sizeof name, gguf ? "blk.%" PRId64 ".%s" : "transformer.h.%" PRId64 ".%s", layer,
             gguf ? part->gguf : part->name);
    /* llama.cpp's matrices have a row for each output */
    float *to = add(b, name, !matrix ? 0 : gguf ? columns : rows, gguf && matrix ? rows : columns);
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
static bool fold_head(builder *b, const char *norm[2], const char *head, int64_t vocabulary) {
    const int64_t width = b->c->width, rows = vocabulary + b->p->spare;
    const float *g = find(b, "ln_f.weight"), *shift = find(b, "ln_f.bias"), *bias = find(b, "lm_head.bias");
    const float *from = find(b, b->c->tied_head ? "wte.weight" : "lm_head.weight");
    float *ones[2] = {add(b, norm[0], 0, width), add(b, norm[1], 0, width)};
    float *to = add(b, head, rows, width);
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

static bool add_head(builder *b, int64_t vocabulary) {
    const bool gguf = b->p->form == LM_GGUF;
    const char *norm[2] = {gguf ? "output_norm.weight" : "transformer.ln_f.weight",
                           gguf ? "output_norm.bias" : "transformer.ln_f.bias"};
    const char *head = gguf ? "output.weight" : "lm_head.weight";
    if (b->p->spare || b->c->head_bias) return fold_head(b, norm, head, vocabulary);
    static const char *const ours[2] = {"ln_f.weight", "ln_f.bias"};
    for (int i = 0; i < 2; i++) {
        float *x = add(b, norm[i], 0, b->c->width);
        if (!x) return false;
        memcpy(x, find(b, ours[i]), (size_t)b->c->width * sizeof *x);
    }
    if (b->c->tied_head && !gguf) return true; /* not all of llama.cpp's versions know a tied one */
    return copy_table(b, b->c->tied_head ? "wte.weight" : "lm_head.weight", head, vocabulary, 0);
}

/* ---- Facts --------------------------------------------------------------------------------------- */

static void facts_of_gguf(const struct gpt_config *c, int64_t context, lm_publication *p) {
    const lm_fact facts[] = {
        {"gpt2.context_length", LM_INTEGER, (double)context, NULL},
        {"gpt2.embedding_length", LM_INTEGER, (double)c->width, NULL},
        {"gpt2.block_count", LM_INTEGER, (double)c->layers, NULL},
        {"gpt2.feed_forward_length", LM_INTEGER, (double)c->hidden, NULL},
        {"gpt2.attention.head_count", LM_INTEGER, (double)c->heads, NULL},
        {"gpt2.attention.layer_norm_epsilon", LM_REAL, c->norm_epsilon, NULL},
    };
    memcpy(p->facts, facts, sizeof facts);
    p->fact_count = sizeof facts / sizeof *facts;
}

static void facts_of_transformers(const struct gpt_config *c, int64_t context, lm_publication *p) {
    static const char *const activations[] = {
        [NN_RELU] = "relu", [NN_GELU_TANH] = "gelu_new", [NN_GELU] = "gelu"};
    const lm_fact facts[] = {
        {"n_positions", LM_INTEGER, (double)context, NULL},
        {"n_embd", LM_INTEGER, (double)c->width, NULL},
        {"n_layer", LM_INTEGER, (double)c->layers, NULL},
        {"n_head", LM_INTEGER, (double)c->heads, NULL},
        {"n_inner", LM_INTEGER, (double)c->hidden, NULL},
        {"activation_function", LM_TEXT, 0, activations[c->activation]},
        {"layer_norm_epsilon", LM_REAL, c->norm_epsilon, NULL},
        {"scale_attn_weights", LM_YES_NO, true, NULL},
        {"scale_attn_by_inverse_layer_idx", LM_YES_NO, c->scale_by_layer, NULL},
        {"tie_word_embeddings", LM_YES_NO, c->tied_head && !c->head_bias, NULL},
        {"attn_pdrop", LM_REAL, 0, NULL}, /* we drop none of the attention's weights */
        {"embd_pdrop", LM_REAL, c->dropout, NULL},
        {"resid_pdrop", LM_REAL, c->dropout, NULL},
    };
    memcpy(p->facts, facts, sizeof facts);
    p->fact_count = sizeof facts / sizeof *facts;
}

bool gpt2_publish(const struct gpt_config *c, const lm_instance *instance, lm_publication *p,
                  tensor_error *err) {
    const bool gguf = p->form == LM_GGUF;
    const int64_t vocabulary = instance->tokenizer.count;
    if (!c->final_norm)
        return tensor_fail(err, "a GPT-2 has a layer norm before its head, and this model has none; "
                                "train with --final-norm yes to export it");
    if (gguf && c->activation == NN_GELU)
        return tensor_fail(err, "llama.cpp's GPT-2 has no gelu_erf; train with --activation gelu or relu");
    builder b = {.c = c, .p = p, .err = err};
    nn_entry *list =
        tensor_arena_alloc(p->arena, (size_t)nn_params_entries(instance->params) * sizeof *list, err);
    p->tensors = tensor_arena_alloc(p->arena, (size_t)(c->layers * PARTS + OTHERS) * sizeof *p->tensors, err);
    if (!list || !p->tensors) return false;
    b.count = nn_params_list(instance->params, list);
    b.list = list;
    p->type = "gpt2";
    p->architecture = "GPT2LMHeadModel";
    (gguf ? facts_of_gguf : facts_of_transformers)(c, instance->context, p);
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
