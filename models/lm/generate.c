/* Tokens after tokens: several texts at once, with one beginning. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/sample_internal.h"

bool lm_generator_init(lm_generator *g, const lm_instance *instance, const lm_sampling *sampling,
                       int64_t rows, int64_t first, tensor_error *err) {
    const lm_model *model = instance->model;
    const int64_t context = instance->context, recent = sampling->repetition_window;
    *g = (lm_generator){.instance = instance, .sampling = sampling, .rows = rows};
    g->tape = ag_tape_new();
    g->arena = tensor_arena_new(err);
    if (!g->tape || !g->arena) return tensor_fail(err, "out of memory");
    ag_set_recording(g->tape, false);
    g->window = tensor_zeros(g->arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    g->recent = tensor_zeros(g->arena, TENSOR_I32, TENSOR_SHAPE(rows, recent), err);
    g->scores = tensor_new(g->arena, TENSOR_F32, TENSOR_SHAPE(instance->tokenizer.count), err);
    g->order = tensor_new(g->arena, TENSOR_I32, TENSOR_SHAPE(instance->tokenizer.count), err);
    g->ids = tensor_arena_alloc(g->arena, (size_t)rows * sizeof *g->ids, err);
    g->rng = tensor_arena_alloc(g->arena, (size_t)rows * sizeof *g->rng, err);
    if (!tensor_ok(g->window) || !tensor_ok(g->recent) || !tensor_ok(g->scores) || !tensor_ok(g->order) ||
        !g->ids || !g->rng)
        return false;
    for (int64_t i = 0; i < rows; i++)
        g->rng[i] = lm_rng(sampling->seed, LM_STREAM_SAMPLING, (uint64_t)(first + i));
    return sampling->no_cache || !model->cache ||
           model->cache(model->self, &g->cache, rows, context, g->arena, err);
}

void lm_generator_free(lm_generator *g) {
    ag_tape_free(g->tape);
    tensor_arena_free(g->arena);
    *g = (lm_generator){0};
}

void lm_generator_push(lm_generator *g, const int32_t *ids, int64_t step) {
    const int64_t context = g->instance->context, hop = g->sampling->hop > 1 ? g->sampling->hop : 1;
    const int64_t recent = g->recent.shape[1];
    if (g->length == context) { /* all positions shift, so the cache is void */
        g->length -= hop < context ? hop : context;
        g->cache.length = 0;
        for (int64_t row = 0; row < g->rows; row++) {
            int32_t *window = g->window.i32 + row * context;
            memmove(window, window + context - g->length, (size_t)g->length * sizeof *window);
        }
    }
    for (int64_t row = 0; row < g->rows; row++) {
        g->window.i32[row * context + g->length] = ids[row * step];
        if (recent > 0) g->recent.i32[row * recent + g->count % recent] = ids[row * step];
    }
    g->length++;
    g->count++;
}

bool lm_generator_next(lm_generator *g, tensor_error *err) {
    const lm_model *model = g->instance->model;
    const int64_t recent = g->recent.shape[1], vocabulary = g->scores.shape[0];
    ag_reset(g->tape);
    const tensor ids =
        tensor_slice(g->window, 1, g->sampling->no_cache ? 0 : g->cache.length, g->length, 1, err);
    const ag_var *logits =
        model->forward(model->self, ag_input(g->tape, ids), g->sampling->no_cache ? NULL : &g->cache, NULL);
    if (!logits) return tensor_fail(err, "%s", ag_error(g->tape));
    g->cache.length = g->length;
    const tensor x = logits->value; /* [rows, 1 or N, V] */
    for (int64_t row = 0; row < g->rows; row++) {
        memcpy(g->scores.f32, x.f32 + ((row + 1) * x.shape[1] - 1) * vocabulary,
               (size_t)vocabulary * sizeof(float));
        if (!lm_choose(g->sampling, g->scores, g->order.i32, g->recent.i32 + row * recent,
                       g->count < recent ? g->count : recent, &g->rng[row], &g->ids[row], err))
            return false;
    }
    lm_generator_push(g, g->ids, 1);
    return true;
}
