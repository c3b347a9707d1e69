/* Tokens after tokens: several texts at once, with one beginning. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/write/write_internal.h"

enum { SHARE_ROWS = 4 }; /* that a thread takes at least */

/* The rows are shared among the threads, each of which computes its own from the first to the last operation. */
static bool make_shares(lm_generator *g) {
    int64_t shares = g->rows / SHARE_ROWS;
    if (shares > tensor_threads()) shares = tensor_threads();
    g->shares = shares < 1 ? 1 : shares > LM_SHARES ? LM_SHARES : (int)shares;
    for (int i = 0; i < g->shares; i++) {
        lm_share *s = &g->share[i];
        *s = (lm_share){
            .begin = g->rows * i / g->shares, .end = g->rows * (i + 1) / g->shares, .tape = ag_tape_new()};
        if (!s->tape) return false;
        ag_set_recording(s->tape, false);
        s->cache = nn_cache_rows(&g->cache, s->begin, s->end);
    }
    return true;
}

/* Lists the tokens that stand for nothing. */
static bool find_spare(lm_generator *g, tensor_error *err) {
    const lm_tokenizer *t = &g->instance->tokenizer;
    int64_t count = 0;
    for (int32_t i = 0; i < t->count; i++) count += lm_decode(t, i).size == 0;
    g->spare = tensor_arena_alloc(g->arena, (size_t)count * sizeof *g->spare, err);
    for (int32_t i = 0; g->spare && i < t->count; i++)
        if (lm_decode(t, i).size == 0) g->spare[g->spare_count++] = i;
    return g->spare;
}

bool lm_generator_init(lm_generator *g, const lm_instance *instance, const lm_sampling *sampling,
                       int64_t rows, int64_t first, tensor_error *err) {
    const lm_model *model = instance->model;
    const int64_t context = instance->context, recent = sampling->repetition_window;
    *g = (lm_generator){.instance = instance, .sampling = sampling, .rows = rows};
    g->arena = tensor_arena_new(err);
    if (!g->arena) return false;
    g->window = tensor_zeros(g->arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    g->recent = tensor_zeros(g->arena, TENSOR_I32, TENSOR_SHAPE(rows, recent), err);
    g->scores = tensor_new(g->arena, TENSOR_F32, TENSOR_SHAPE(instance->tokenizer.count), err);
    g->order = tensor_new(g->arena, TENSOR_I32, TENSOR_SHAPE(instance->tokenizer.count), err);
    g->ids = tensor_arena_alloc(g->arena, (size_t)rows * sizeof *g->ids, err);
    g->rng = tensor_arena_alloc(g->arena, (size_t)rows * sizeof *g->rng, err);
    if (!tensor_ok(g->window) || !tensor_ok(g->recent) || !tensor_ok(g->scores) || !tensor_ok(g->order) ||
        !g->ids || !g->rng)
        return false;
    if (!find_spare(g, err)) return false;
    for (int64_t i = 0; i < rows; i++)
        g->rng[i] = lm_rng(sampling->seed, LM_STREAM_SAMPLING, (uint64_t)(first + i));
    if (!sampling->no_cache && model->cache &&
        !model->cache(model->self, &g->cache, rows, context, g->arena, err))
        return false;
    return make_shares(g) || tensor_fail(err, "out of memory");
}

void lm_generator_free(lm_generator *g) {
    for (int i = 0; i < LM_SHARES; i++) ag_tape_free(g->share[i].tape);
    tensor_arena_free(g->arena);
    *g = (lm_generator){0};
}

void lm_generator_push(lm_generator *g, const int32_t *ids, int64_t step) {
    const int64_t context = g->instance->context, hop = g->sampling->hop > 1 ? g->sampling->hop : 1;
    const int64_t recent = g->recent.shape[1];
    if (g->length == context) {
        const int64_t dropped = hop < context ? hop : context;
        g->length -= dropped;
        g->read = g->read > dropped ? g->read - dropped : 0;
        if (tensor_ok(g->cache.k)) g->cache.length = g->read = 0; /* all positions shift, so it is void */
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

/* The logits of a share's rows for their next token. */
static void run_shares(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const lm_generator *g = context;
    const lm_model *model = g->instance->model;
    for (lm_share *s = (lm_share *)&g->share[begin]; s < &g->share[end]; s++) {
        ag_reset(s->tape);
        s->cache.length = g->cache.length;
        const tensor rows = tensor_slice(g->window, 0, s->begin, s->end, 1, NULL),
                     window = tensor_slice(rows, 1, 0, g->length, 1, NULL),
                     ids = g->sampling->no_cache ? window
                                                 : tensor_slice(window, 1, g->read, g->length, 1, NULL);
        s->logits = model->forward(model->self, &(lm_input){.ids = ag_input(s->tape, ids),
                                                            .cache = g->sampling->no_cache ? NULL : &s->cache,
                                                            .counts = g->instance->counts,
                                                            .window = window});
    }
}

bool lm_generator_next(lm_generator *g, tensor_error *err) {
    const int64_t recent = g->recent.shape[1], vocabulary = g->scores.shape[0];
    if (g->shares == 1) /* outside tensor_parallel: operations run parallel inside */
        run_shares(g, 0, 1, 0);
    else
        tensor_parallel(g->shares, 1, run_shares, g);
    g->cache.length += g->length - g->read;
    g->read = g->length;
    for (const lm_share *s = g->share; s < g->share + g->shares; s++) {
        if (!s->logits) return tensor_fail(err, "%s", ag_error(s->tape));
        const tensor x = s->logits->value;
        for (int64_t row = s->begin; row < s->end; row++) {
            memcpy(g->scores.f32, x.f32 + ((row - s->begin + 1) * x.shape[1] - 1) * vocabulary,
                   (size_t)vocabulary * sizeof(float));
            for (int64_t i = 0; i < g->spare_count; i++) g->scores.f32[g->spare[i]] = -FLT_MAX;
            if (!lm_choose(g->sampling, g->scores, g->order.i32, g->recent.i32 + row * recent,
                           g->count < recent ? g->count : recent, &g->rng[row], &g->ids[row], err))
                return false;
        }
    }
    lm_generator_push(g, g->ids, 1);
    return true;
}
