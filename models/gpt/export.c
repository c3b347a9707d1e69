/* What the forms of a GPT for other programs share. */
#include "models/gpt/export.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { NAME = 96 };

bool gpt_export_begin(gpt_export *e, const struct gpt_config *config, const lm_instance *instance,
                      lm_publication *p, int64_t tensors, tensor_error *err) {
    const size_t most = (size_t)nn_params_entries(instance->params);
    nn_entry *list = tensor_arena_alloc(p->arena, most * sizeof *list, err);
    p->tensors = tensor_arena_alloc(p->arena, (size_t)tensors * sizeof *p->tensors, err);
    if (!list || !p->tensors) return false;
    *e = (gpt_export){.config = config, .publication = p, .list = list, .err = err};
    e->count = nn_params_list(instance->params, list);
    return true;
}

const float *gpt_export_find(const gpt_export *e, const char *format, ...) {
    char name[NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (int i = 0; i < e->count; i++)
        if (strcmp(e->list[i].name, name) == 0) return e->list[i].data;
    return NULL;
}

float *gpt_export_add(gpt_export *e, int64_t rows, int64_t columns, const char *format, ...) {
    lm_publication *p = e->publication;
    const size_t bytes = (size_t)((rows > 0 ? rows : 1) * columns) * sizeof(float);
    float *data = tensor_arena_alloc(p->arena, bytes, e->err);
    char *name = tensor_arena_alloc(p->arena, NAME, e->err);
    if (!data || !name) return NULL;
    memset(data, 0, bytes);
    va_list args;
    va_start(args, format);
    vsnprintf(name, NAME, format, args);
    va_end(args);
    nn_entry *entry = &p->tensors[p->tensor_count++];
    *entry = (nn_entry){.name = name, .dtype = "F32", .rank = 1, .data = data, .bytes = bytes};
    entry->shape[0] = columns;
    if (rows > 0) entry->rank = 2, entry->shape[0] = rows, entry->shape[1] = columns;
    return data;
}

double gpt_export_scale(const struct gpt_config *c) {
    return c->attention_scale * sqrt((double)(c->width / c->heads));
}

const char *gpt_export_activation(const struct gpt_config *c) {
    static const char *const names[] = {[NN_RELU] = "relu", [NN_GELU_TANH] = "gelu_new", [NN_GELU] = "gelu"};
    return names[c->activation];
}

void gpt_export_describe(lm_publication *p, const lm_fact *facts, size_t count, const char *type,
                         const char *architecture) {
    memcpy(p->facts, facts, count * sizeof *facts);
    p->fact_count = (int)count;
    p->type = type;
    p->architecture = architecture;
}

void gpt_export_facts(const struct gpt_config *c, int64_t width, int64_t heads, double epsilon,
                      int64_t context, lm_publication *p) {
    const lm_fact facts[] = {
        lm_fact_integer("gpt2.context_length", context),
        lm_fact_integer("gpt2.embedding_length", width),
        lm_fact_integer("gpt2.block_count", c->layers),
        lm_fact_integer("gpt2.feed_forward_length", c->hidden),
        lm_fact_integer("gpt2.attention.head_count", heads),
        lm_fact_real("gpt2.attention.layer_norm_epsilon", epsilon),
    };
    gpt_export_describe(p, facts, sizeof facts / sizeof *facts, "gpt2", NULL);
}
