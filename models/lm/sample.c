/* Writing text: one token after the other from the model's own probabilities. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/lm.h"

/* What sampling holds: the last T tokens, and the probabilities of the next. */
typedef struct sampler {
    const lm_instance *instance;
    ag_tape *tape;
    tensor_arena *arena;
    tensor window, scores, token; /* [1, T], [1, V], [1] */
    int64_t length;               /* of what is in the window */
    nn_cache cache;               /* of the first tokens in the window */
    tensor_rng rng;
    float temperature;
} sampler;

/* Appends a token; a full window drops its first, so that all positions shift by one and the cache is void. */
static void push(sampler *s, int32_t id) {
    int32_t *window = s->window.i32;
    int64_t context = s->instance->context;
    if (s->length == context) {
        memmove(window, window + 1, (size_t)(context - 1) * sizeof *window);
        s->length--;
        s->cache.length = 0;
    }
    window[s->length++] = id;
}

/* The logits of the token after the window, into scores. */
static bool predict(sampler *s, tensor_error *err) {
    const lm_model *model = s->instance->model;
    ag_reset(s->tape);
    tensor ids = tensor_slice(s->window, 1, s->cache.length, s->length, 1, err);
    ag_var *logits = model->forward(model->self, ag_input(s->tape, ids), &s->cache, NULL);
    if (!logits) return tensor_fail(err, "%s", ag_error(s->tape));
    s->cache.length = s->length;
    tensor last = tensor_slice(logits->value, 1, -1, INT64_MAX, 1, err);
    return tensor_copy(s->scores, tensor_squeeze(last, 1, err), err);
}

/* Draws from softmax(logits / temperature); below a temperature of 1e-6 takes the first largest. */
static bool choose(sampler *s, int32_t *id, tensor_error *err) {
    const float *scores = s->scores.f32;
    int64_t count = s->scores.shape[1], largest = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(scores[i])) return tensor_fail(err, "the model predicts no finite numbers");
        if (scores[i] > scores[largest]) largest = i;
    }
    if (s->temperature < 1e-6f) {
        *id = (int32_t)largest;
        return true;
    }
    /* Subtracting the largest first keeps the quotient from overflowing upwards. */
    bool ok = tensor_affine(s->scores, 1, s->scores, -scores[largest], err) &&
              tensor_affine(s->scores, 1 / s->temperature, s->scores, 0, err) &&
              tensor_softmax(s->scores, s->scores, -1, err) &&
              tensor_rand_categorical(s->token, &s->rng, s->scores, err);
    if (ok) *id = s->token.i32[0];
    return ok;
}

static bool sampler_init(sampler *s, const lm_instance *instance, const lm_sampling *sampling,
                         tensor_error *err) {
    *s = (sampler){.instance = instance, .temperature = (float)sampling->temperature};
    s->rng = lm_rng(sampling->seed, LM_STREAM_SAMPLING, 0);
    s->tape = ag_tape_new();
    s->arena = tensor_arena_new(err);
    if (!s->tape || !s->arena) return tensor_fail(err, "out of memory");
    ag_set_recording(s->tape, false);
    s->window = tensor_zeros(s->arena, TENSOR_I32, TENSOR_SHAPE(1, instance->context), err);
    s->scores = tensor_new(s->arena, TENSOR_F32, TENSOR_SHAPE(1, instance->tokenizer.count), err);
    s->token = tensor_new(s->arena, TENSOR_I32, TENSOR_SHAPE(1), err);
    if (!tensor_ok(s->window) || !tensor_ok(s->scores) || !tensor_ok(s->token)) return false;
    const lm_model *model = instance->model;
    if (model->cache && !model->cache(model->self, &s->cache, instance->context, s->arena, err)) return false;
    s->length = instance->context; /* a full window first, so that no later one needs more memory */
    bool ok = predict(s, err);
    s->length = s->cache.length = 0;
    return ok;
}

/* Fills the window with the prompt, or with what a line begins after, and writes the prompt. */
static bool begin(sampler *s, const char *prompt, FILE *file, tensor_error *err) {
    const lm_tokenizer *tokenizer = &s->instance->tokenizer;
    if (!prompt || !*prompt) {
        push(s, lm_tokenizer_start(tokenizer));
        return true;
    }
    tensor_error fault = {0};
    tensor ids = lm_encode(tokenizer, prompt, strlen(prompt), s->arena, &fault);
    if (!tensor_ok(ids)) return tensor_fail(err, "the prompt: %s", fault.text);
    for (int64_t i = 0; i < ids.shape[0]; i++) push(s, ids.i32[i]);
    fputs(prompt, file);
    return lm_flush(file, err);
}

bool lm_sample(const lm_instance *instance, const lm_sampling *sampling, FILE *file, tensor_error *err) {
    sampler s;
    bool ok = sampler_init(&s, instance, sampling, err) && begin(&s, sampling->prompt, file, err);
    for (int64_t i = 0; ok && i < sampling->tokens; i++) {
        int32_t id = 0;
        ok = predict(&s, err) && choose(&s, &id, err);
        if (!ok) break;
        push(&s, id);
        lm_piece piece = lm_decode(&instance->tokenizer, id);
        fwrite(piece.bytes, 1, piece.size, file);
        ok = lm_flush(file, err);
    }
    if (ok) {
        fputc('\n', file);
        ok = lm_flush(file, err);
    }
    ag_tape_free(s.tape);
    tensor_arena_free(s.arena);
    return ok;
}

/* ---- The command --------------------------------------------------------------------------- */

int lm_sample_command(const lm_model *model, int argc, char *const *argv) {
    lm_sampling sampling = {.tokens = 200, .temperature = 1};
    int64_t seed = 1, threads = 0;
    const char *file;
    const lm_option options[] = {lm_string("prompt", &sampling.prompt, "TEXT", "what to continue"),
                                 lm_integer("tokens", &sampling.tokens, 0, 1e12, "how many tokens to write"),
                                 lm_real("temperature", &sampling.temperature, 0, 1000,
                                         "0: always the likeliest token; higher: bolder"),
                                 lm_seed(&seed),
                                 lm_threads(&threads),
                                 {0}};
    const lm_usage usage = {model->name, "sample", "Writes text with a checkpoint.", "FILE", {options}};
    int status = lm_begin(model, &usage, argc, argv, &file, &threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    lm_instance instance;
    sampling.seed = (uint64_t)seed;
    bool ok =
        lm_checkpoint_load(&instance, model, file, &err) && lm_sample(&instance, &sampling, stdout, &err);
    lm_instance_free(&instance);
    return ok ? LM_DONE : lm_fail(model, "%s", err.text);
}
