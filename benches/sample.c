/* Sampling with the GPT's default configuration, one stream, random weights: the time to the first token, with
 * everything that is set up once, and the tokens a second within the context, where each is computed alone, and past
 * it, where each is computed with the window before it. Times of n tokens less those of one or of a full context.
 *
 *     build/benches/sample
 */
#include <stdio.h>

#include "benches/measure.h"
#include "models/lm/lm.h"

enum { TURNS = 41, VOCABULARY = 51, PAST = 200 };

static bool make_instance(lm_instance *instance, tensor_error *err) {
    const lm_model *model = lm_program();
    uint32_t codes[VOCABULARY];
    const char *strings[VOCABULARY];
    char texts[VOCABULARY][5];
    for (int i = 0; i < VOCABULARY; i++) {
        codes[i] = i == 0 ? '\n' : (uint32_t)('A' + i);
        lm_utf8_encode(codes[i], texts[i]);
        strings[i] = texts[i];
    }
    *instance = (lm_instance){.model = model,
                              .arena = tensor_arena_new(err),
                              .context = model->defaults.context,
                              .params = nn_params_new()};
    if (!instance->arena || !instance->params) return tensor_fail(err, "out of memory");
    if (!lm_tokenizer_of_strings(&instance->tokenizer, strings, VOCABULARY, instance->arena, err) ||
        !model->check(model->self, err))
        return false;
    model->init(model->self, instance->params, VOCABULARY, instance->context);
    return nn_params_finalize(instance->params, 1) ||
           tensor_fail(err, "%s", nn_params_error(instance->params));
}

/* Seconds that `tokens` tokens take; below 0: failed. */
static double time_of(const lm_instance *instance, int64_t tokens, FILE *file, tensor_error *err) {
    const lm_sampling sampling = {.tokens = tokens, .temperature = 1, .seed = 1};
    const double start = now();
    return lm_sample(instance, &sampling, file, err) ? now() - start : -1;
}

int main(void) {
    tensor_error err = {0};
    lm_instance instance = {0};
    FILE *file = fopen("/dev/null", "w");
    bool ok = tensor_isa_check(&err) && make_instance(&instance, &err) &&
              (file || tensor_fail(&err, "/dev/null cannot be opened"));
    const int64_t context = instance.context;
    double first[TURNS], within[TURNS], past[TURNS];
    for (int i = -2; ok && i < TURNS; i++) { /* two to warm up */
        const double one = time_of(&instance, 1, file, &err), full = time_of(&instance, context, file, &err);
        const double more = time_of(&instance, context + PAST, file, &err);
        ok = one >= 0 && full >= 0 && more >= 0;
        if (i < 0) continue;
        first[i] = one;
        within[i] = (full - one) / (double)(context - 1);
        past[i] = (more - full) / PAST;
    }
    if (ok)
        printf("%s, %d threads: %.2f ms to the first token, %.0f tokens/s within the context of %lld, %.0f "
               "past it\n",
               tensor_isa(), tensor_threads(), 1e3 * median(first, TURNS), 1 / median(within, TURNS),
               (long long)context, 1 / median(past, TURNS));
    else
        fprintf(stderr, "sample: %s\n", err.text);
    if (file) fclose(file);
    lm_instance_free(&instance);
    return ok ? 0 : 1;
}
