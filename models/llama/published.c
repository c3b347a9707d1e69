/* Llama as it is published for Hugging Face's transformers. Our parameters have its names and layouts, so only
 * config.json is translated. */
#include <inttypes.h>
#include <string.h>

#include "models/llama/llama.h"

/* Reads a whole number that must be there. */
static bool size(const lm_published *p, const char *key, int64_t most, int64_t *value, tensor_error *err) {
    *value = 0;
    return lm_published_integer(p, key, 1, most, value, err) &&
           (*value > 0 || tensor_fail(err, "config.json: %s is missing; a Llama needs it", key));
}

/* The base of rotary positions, which newer files have in an object of its own; other scalings are unknown here. */
static bool read_rotary(struct llama_config *c, const lm_published *p, tensor_error *err) {
    static const char *const places[] = {"rope_scaling", "rope_parameters"};
    lm_published inner = {.config_count = 0};
    c->rotary_base = 10000;
    if (!lm_published_real(p, "rope_theta", 1, 1e12, &c->rotary_base, err)) return false;
    for (int i = 0; i < 2; i++) {
        const char *json = lm_published_text(p, places[i]);
        if (!json) continue;
        tensor_arena *arena = tensor_arena_new(err);
        bool ok = arena && nn_json_members(json, arena, &inner.config, &inner.config_count, err);
        const char *type = ok ? lm_published_text(&inner, "rope_type") : NULL;
        if (ok && !type) type = lm_published_text(&inner, "type");
        if (ok && type && strcmp(type, "default") != 0)
            ok = tensor_fail(err, "config.json: %s: the type is %.40s, expected default", places[i], type);
        ok = ok && lm_published_real(&inner, "rope_theta", 1, 1e12, &c->rotary_base, err);
        tensor_arena_free(arena);
        if (!ok) return false;
    }
    return true;
}

/* What would change the numbers, and has one value in all Llamas. */
static bool expect_plain(const lm_published *p, tensor_error *err) {
    static const char *const flags[] = {"attention_bias", "mlp_bias"};
    const char *activation = lm_published_text(p, "hidden_act");
    for (int i = 0; i < 2; i++) {
        bool biased = false;
        if (!lm_published_flag(p, flags[i], &biased, err)) return false;
        if (biased) return tensor_fail(err, "config.json: %s is true, expected false", flags[i]);
    }
    return !activation || strcmp(activation, "silu") == 0 ||
           tensor_fail(err, "config.json: hidden_act is %.40s, expected silu", activation);
}

/* Whether the head is the table of tokens: where config.json says so, or there is no other. */
static bool read_head(struct llama_config *c, const lm_published *p, tensor_error *err) {
    c->tied_head = false;
    if (!lm_published_flag(p, "tie_word_embeddings", &c->tied_head, err)) return false;
    return c->tied_head || nn_file_find(p->file, "lm_head.weight") ||
           tensor_fail(err, "config.json: the head is not tied, but there is no lm_head.weight");
}

bool llama_adopt(struct llama_config *c, lm_published *p, tensor_error *err) {
    const char *type = lm_published_text(p, "model_type");
    const nn_entry *table = nn_file_find(p->file, "model.embed_tokens.weight");
    if (type && strcmp(type, "llama") != 0)
        return tensor_fail(err, "config.json: model_type is %.40s, expected llama", type);
    if (!table || table->rank != 2)
        return tensor_fail(err, "it was not written by Sampo, and is not a Llama: it has no table "
                                "model.embed_tokens.weight");
    if (!type)
        return tensor_fail(err, "what its heads are is not known: config.json of a Llama must lie beside it");
    p->vocabulary = table->shape[0];
    p->context = 2048; /* as transformers has it where the file says nothing */
    c->head_size = c->key_heads = 0;
    c->norm_epsilon = 1e-6;
    if (!size(p, "num_hidden_layers", LLAMA_MAX_LAYERS, &c->layers, err) ||
        !size(p, "num_attention_heads", LLAMA_MAX_HEADS, &c->heads, err) ||
        !size(p, "hidden_size", 65536, &c->width, err) ||
        !size(p, "intermediate_size", LLAMA_MAX_HIDDEN, &c->hidden, err) ||
        !lm_published_integer(p, "num_key_value_heads", 1, LLAMA_MAX_HEADS, &c->key_heads, err) ||
        !lm_published_integer(p, "head_dim", 1, 65536, &c->head_size, err) ||
        !lm_published_integer(p, "max_position_embeddings", 1, INT32_MAX, &p->context, err) ||
        !lm_published_real(p, "rms_norm_eps", 1e-20, 1, &c->norm_epsilon, err))
        return false;
    if (p->context > LM_MAX_CONTEXT) p->context = LM_MAX_CONTEXT; /* positions are no parameters */
    return read_rotary(c, p, err) && expect_plain(p, err) && read_head(c, p, err);
}

bool llama_publish(const struct llama_config *c, const lm_instance *instance, lm_publication *p,
                   tensor_error *err) {
    if (p->form == LM_GGUF) return tensor_fail(err, "a Llama is not written for llama.cpp yet");
    const lm_fact facts[] = {
        lm_fact_integer("hidden_size", c->width),
        lm_fact_integer("intermediate_size", c->hidden),
        lm_fact_integer("num_hidden_layers", c->layers),
        lm_fact_integer("num_attention_heads", c->heads),
        lm_fact_integer("num_key_value_heads", c->key_heads),
        lm_fact_integer("head_dim", c->head_size),
        lm_fact_integer("max_position_embeddings", instance->context),
        lm_fact_text("hidden_act", "silu"),
        lm_fact_real("rms_norm_eps", c->norm_epsilon),
        lm_fact_real("rope_theta", c->rotary_base),
        lm_fact_yes("attention_bias", false),
        lm_fact_yes("mlp_bias", false),
        lm_fact_yes("tie_word_embeddings", c->tied_head),
    };
    const size_t entries = (size_t)nn_params_entries(instance->params);
    p->tensors = tensor_arena_alloc(p->arena, entries * sizeof *p->tensors, err);
    if (!p->tensors) return false;
    p->tensor_count = nn_params_list(instance->params, p->tensors);
    p->type = "llama";
    p->architecture = "LlamaForCausalLM";
    p->fact_count = sizeof facts / sizeof *facts;
    memcpy(p->facts, facts, sizeof facts);
    return true;
}
