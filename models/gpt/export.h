/* What the forms of a GPT for other programs share. */
#ifndef SAMPO_GPT_EXPORT_H
#define SAMPO_GPT_EXPORT_H

#include "models/gpt/gpt.h"

typedef struct gpt_export {
    const struct gpt_config *config;
    lm_publication *publication;
    const nn_entry *list; /* our parameters */
    int count;
    tensor_error *err;
} gpt_export;

/* Makes room for so many tensors. */
bool gpt_export_begin(gpt_export *e, const struct gpt_config *config, const lm_instance *instance,
                      lm_publication *publication, int64_t tensors, tensor_error *err);
/* One of our parameters; NULL: the model has none of that name, which is printed as printf does. */
const float *gpt_export_find(const gpt_export *e, const char *format, ...) TENSOR_PRINTF(2, 3);
/* Adds a tensor [rows, columns], or [columns] where rows is 0; returns its numbers, zeros; NULL: memory is out. */
float *gpt_export_add(gpt_export *e, int64_t rows, int64_t columns, const char *format, ...)
    TENSOR_PRINTF(4, 5);
/* By what queries are multiplied for a program that divides their scores by the root of a head's size. */
double gpt_export_scale(const struct gpt_config *config);
const char *gpt_export_activation(const struct gpt_config *config); /* transformers' name */

/* Says what the model is: at most LM_MAX_FACTS facts, and its names; no architecture: NULL. */
void gpt_export_describe(lm_publication *p, const lm_fact *facts, size_t count, const char *type,
                         const char *architecture);
/* For llama.cpp: what its architecture gpt2 asks to know. */
void gpt_export_facts(const struct gpt_config *config, int64_t width, int64_t heads, double epsilon,
                      int64_t context, lm_publication *publication);

/* llama.cpp's GPT-2 knows no ReLU: gelu(k x) / k is that but for 0.2 / k near 0, with this k, a power of 2. */
#define GPT_STEEP 65536.0f

/* A model without final norm; as lm_model's publish. */
bool gpt_publish_wide(const struct gpt_config *config, const lm_instance *instance,
                      lm_publication *publication, tensor_error *err);

#endif
