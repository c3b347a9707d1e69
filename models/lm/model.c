/* What belongs to a model and to no room. */
#include <stdlib.h>

#include "models/lm/lm.h"

tensor_rng lm_rng(uint64_t seed, lm_stream stream, uint64_t index) {
    return (tensor_rng){.seed = seed, .stream = (uint64_t)stream << 56 | index};
}

ag_var *lm_positions(ag_var *ids, const nn_cache *cache) {
    if (!ids) return NULL;
    int64_t count = ids->value.shape[ids->value.rank - 1], first = cache ? cache->length : 0;
    tensor positions = ag_tensor(ids->tape, TENSOR_I32, TENSOR_SHAPE(count));
    if (!tensor_ok(positions)) return NULL;
    for (int64_t i = 0; i < count; i++) positions.i32[i] = (int32_t)(first + i);
    return ag_input(ids->tape, positions);
}

ag_var *lm_last(const lm_input *in, int n, int32_t before) {
    if (!in->ids) return NULL;
    const tensor ids = in->ids->value, window = tensor_ok(in->window) ? in->window : ids;
    const int64_t count = ids.shape[1], more = window.shape[1] - count;
    const tensor last = ag_tensor(in->ids->tape, TENSOR_I32, TENSOR_SHAPE(ids.shape[0], count, n));
    if (!tensor_ok(last)) return NULL;
    int32_t *out = last.i32;
    for (int64_t row = 0; row < ids.shape[0]; row++)
        for (int64_t i = 0; i < count; i++)
            for (int64_t at = more + i - n + 1; at <= more + i; at++)
                *out++ = at < 0 ? before : window.i32[row * window.stride[0] + at];
    return ag_input(in->ids->tape, last);
}

ag_var *lm_grams(const lm_input *in, int n, int64_t vocabulary, int64_t rows) {
    ag_var *last = lm_last(in, n, (int32_t)vocabulary);
    if (!last) return NULL;
    const int64_t *shape = last->value.shape, tokens = shape[0] * shape[1];
    const tensor grams = ag_tensor(last->tape, TENSOR_I32, 2, shape);
    if (!tensor_ok(grams)) return NULL;
    for (int64_t i = 0; i < tokens; i++) {
        uint64_t code = 0, most = 1;
        for (int k = n - 1; k >= 0; k--, most *= (uint64_t)vocabulary + 1)
            code = code * ((uint64_t)vocabulary + 1) + (uint64_t)last->value.i32[i * n + k];
        if (most > (uint64_t)rows) code = (code * 0x9e3779b97f4a7c15u) >> 32; /* Fibonacci hashing (Knuth) */
        grams.i32[i] = (int32_t)(code % (uint64_t)rows);
    }
    return ag_input(last->tape, grams);
}

/* The rows of what a model sees, each token of which gets its probabilities, and 1 more than how often its contexts
 * were seen. */
typedef struct counting {
    const lm_input *in;
    tensor window, features;
    int64_t vocabulary;
} counting;

static void predict_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const counting *r = context;
    const lm_input *in = r->in;
    const int64_t count = r->features.shape[1], before = r->window.shape[1] - count;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / count, at = i % count, seen = before + at + 1;
        const int32_t without =
            tensor_ok(in->without) ? in->without.i32[row * in->without.stride[0] + at] : -1;
        float *p = r->features.f32 + i * r->features.shape[2];
        lm_counts_predict(in->counts, r->window.i32 + row * r->window.stride[0] + seen, seen, without, p,
                          p + r->vocabulary);
        for (int64_t k = r->vocabulary; k < r->features.shape[2]; k++) p[k] += 1;
    }
}

lm_counted lm_count(const lm_input *in) {
    enum { GRAIN = 64 }; /* tokens, of about a microsecond each */
    const lm_counted none = {0};
    if (!in->ids) return none;
    ag_tape *tape = in->ids->tape;
    const tensor ids = in->ids->value;
    if (!in->counts) {
        ag_fail(tape, "nothing has been counted for this model");
        return none;
    }
    const int64_t rows = ids.shape[0], count = ids.shape[1];
    counting r = {.in = in, .vocabulary = lm_counts_vocabulary(in->counts)};
    const int64_t features = r.vocabulary + lm_counts_order(in->counts) + 1;
    r.window = tensor_ok(in->window) ? in->window : ids;
    r.features = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(rows, count, features));
    const tensor log_p = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(rows, count, r.vocabulary));
    if (!tensor_ok(r.features) || !tensor_ok(log_p)) return none;
    tensor_parallel(rows * count, GRAIN, predict_rows, &r);

    const tensor seen = tensor_slice(r.features, 2, r.vocabulary, features, 1, NULL);
    tensor_unary(log_p, TENSOR_LOG, tensor_slice(r.features, 2, 0, r.vocabulary, 1, NULL), NULL);
    tensor_unary(seen, TENSOR_LOG, seen, NULL);
    float *x = r.features.f32; /* factors that are powers of two change no bits: a loop will do */
    for (int64_t i = 0; i < rows * count; i++, x += features) {
        for (int64_t v = 0; v < r.vocabulary; v++) x[v] *= 8;
        for (int64_t k = r.vocabulary; k < features; k++) x[k] *= 0.125f;
    }
    return (lm_counted){ag_input(tape, log_p), ag_input(tape, r.features)};
}

const char *lm_typed(const lm_model *model) {
    return model->typed ? model->typed : model->name;
}

void lm_instance_free(lm_instance *instance) {
    lm_counts_free(instance->counts);
    nn_params_free(instance->params);
    tensor_arena_free(instance->arena);
    *instance = (lm_instance){0};
}
