/* GPT-2 as it is published for Hugging Face's transformers: what its file and its config.json mean for our GPT. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/gpt/gpt.h"

enum { HEAD = 64 }; /* the size of a head in all sizes of GPT-2 */

typedef struct activation {
    const char *name;
    nn_activation value;
} activation;

/* Whether config.json, where it says something, agrees with the tensors. */
static bool expect(const lm_published *p, const char *key, int64_t expected, tensor_error *err) {
    int64_t value = expected;
    return lm_published_integer(p, key, 0, INT64_MAX / 2, &value, err) &&
           (value == expected ||
            tensor_fail(err, "config.json: %s is %" PRId64 ", expected %" PRId64, key, value, expected));
}

static bool read_activation(struct gpt_config *c, const lm_published *p, tensor_error *err) {
    static const activation names[] = {{"gelu_new", NN_GELU_TANH},  {"gelu_pytorch_tanh", NN_GELU_TANH},
                                       {"gelu_fast", NN_GELU_TANH}, {"gelu", NN_GELU},
                                       {"gelu_python", NN_GELU},    {"relu", NN_RELU}};
    const char *given = lm_published_text(p, "activation_function");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (given && strcmp(given, names[i].name) != 0) continue;
        c->activation = names[i].value;
        return true;
    }
    return tensor_fail(err, "config.json: activation_function is %.40s, expected gelu_new, gelu or relu",
                       given);
}

static bool read_heads(struct gpt_config *c, const lm_published *p, tensor_error *err) {
    bool scaled = true;
    c->heads = 0;
    if (!lm_published_integer(p, "n_head", 1, GPT_MAX_HEADS, &c->heads, err) ||
        !lm_published_flag(p, "scale_attn_weights", &scaled, err) ||
        !lm_published_flag(p, "scale_attn_by_inverse_layer_idx", &c->scale_by_layer, err))
        return false;
    if (c->heads == 0 && c->width % HEAD != 0)
        return tensor_fail(err,
                           "a width of %" PRId64 " are no heads of %d, as GPT-2 has them; config.json with "
                           "its n_head must lie beside it",
                           c->width, HEAD);
    if (c->heads == 0) c->heads = c->width / HEAD;
    c->attention_scale = scaled ? 1 / sqrt((double)c->width / (double)c->heads) : 1;
    return true;
}

/* Whether the head is the table of tokens. A head of its own in the file counts, whatever config.json says. */
static bool read_tied(struct gpt_config *c, const lm_published *p, const nn_entry *wte, tensor_error *err) {
    const nn_entry *head = nn_file_find(p->file, "lm_head.weight");
    const bool same = !head || (strcmp(head->dtype, wte->dtype) == 0 && head->bytes == wte->bytes &&
                                memcmp(head->data, wte->data, wte->bytes) == 0);
    c->tied_head = true;
    if (!lm_published_flag(p, "tie_word_embeddings", &c->tied_head, err)) return false;
    if (!c->tied_head && !head)
        return tensor_fail(err, "config.json: tie_word_embeddings is false, but there is no lm_head.weight");
    c->tied_head = c->tied_head && same;
    return true;
}

static const nn_entry *find_table(const nn_file *file, const char *name, tensor_error *err) {
    const nn_entry *e = nn_file_find(file, name);
    if (e && e->rank == 2 && e->shape[0] > 0 && e->shape[1] > 0) return e;
    tensor_fail(err, "it was not written by Sampo, and is not a GPT-2: it has no table %s", name);
    return NULL;
}

/* Sizes are those of the tensors. */
static bool read_sizes(struct gpt_config *c, lm_published *p, const nn_entry *wte, tensor_error *err) {
    const nn_entry *wpe = find_table(p->file, "wpe.weight", err);
    const nn_entry *fc = wpe ? find_table(p->file, "h.0.mlp.c_fc.weight", err) : NULL;
    if (!fc) return false;
    p->vocabulary = wte->shape[0];
    p->context = wpe->shape[0];
    c->width = wte->shape[1];
    c->hidden = fc->shape[1];
    c->layers = 0;
    for (char name[48]; c->layers <= GPT_MAX_LAYERS; c->layers++) {
        snprintf(name, sizeof name, "h.%" PRId64 ".ln_1.weight", c->layers);
        if (!nn_file_find(p->file, name)) break;
    }
    return (c->layers > 0 && c->layers <= GPT_MAX_LAYERS) ||
           tensor_fail(err, "it has %s layers", c->layers ? "too many" : "no");
}

bool gpt2_adopt(struct gpt_config *c, lm_published *p, tensor_error *err) {
    const char *type = lm_published_text(p, "model_type");
    bool crossed = false;
    if (type && strcmp(type, "gpt2") != 0)
        return tensor_fail(err, "config.json: model_type is %.40s, expected gpt2%s", type,
                           strcmp(type, "opt")
                               ? ""
                               : "; what export writes as opt is for other programs: name the run itself");
    if (!nn_file_strip(p->file, "transformer.", err)) return false;
    const nn_entry *wte = find_table(p->file, "wte.weight", err);
    if (!wte || !read_sizes(c, p, wte, err)) return false;
    c->norm_epsilon = NN_LAYER_NORM_EPS;
    c->scale_by_layer = false;
    c->qkv_bias = c->final_norm = true;
    c->head_bias = false;
    return read_tied(c, p, wte, err) && read_activation(c, p, err) && read_heads(c, p, err) &&
           expect(p, "n_layer", c->layers, err) && expect(p, "n_embd", c->width, err) &&
           expect(p, "n_positions", p->context, err) && expect(p, "n_inner", c->hidden, err) &&
           lm_published_real(p, "layer_norm_epsilon", 1e-20, 1, &c->norm_epsilon, err) &&
           lm_published_flag(p, "add_cross_attention", &crossed, err) &&
           (!crossed || tensor_fail(err, "config.json: add_cross_attention is true, expected false"));
}
