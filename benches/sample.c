/* Sampling with the GPT's default configuration, one stream, random weights: the time to the first token, with
 * everything that is set up once, and the tokens a second within the context, where each is computed alone, and past
 * it, where each is computed with the window before it. Times of n tokens less those of one or of a full context.
 *
 *     build/benches/sample [--threads N] [--json FILE]
 */
#include <stdio.h>

#include "benches/measure.h"

/* models/gpt.c, compiled with this name for lm_program. */
const lm_model *bench_gpt(void);

enum { TURNS = 41, VOCABULARY = 51, PAST = 200 };

static bool make_instance(lm_instance *instance, tensor_error *err) {
    const lm_model *model = bench_gpt();
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

/* The times of `turns` turns: to the first token, and of a token within the context and past it. */
static bool take_turns(const lm_instance *instance, int turns, FILE *file, double *first, double *within,
                       double *past, tensor_error *err) {
    const int64_t context = instance->context;
    for (int i = -2; i < turns; i++) { /* two to warm up */
        const double one = time_of(instance, 1, file, err), full = time_of(instance, context, file, err);
        const double more = time_of(instance, context + PAST, file, err);
        if (one < 0 || full < 0 || more < 0) return false;
        if (i < 0) continue;
        first[i] = one;
        within[i] = (full - one) / (double)(context - 1);
        past[i] = (more - full) / PAST;
    }
    return true;
}

int main(int argc, char **argv) {
    bench b;
    const int status = bench_begin(&b, "sample", "Sampling with the GPT, one stream", NULL, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    lm_instance instance = {0};
    FILE *file = fopen("/dev/null", "w");
    const int turns = b.quick ? 3 : TURNS;
    double first[TURNS], within[TURNS], past[TURNS];
    if (!file) tensor_fail(&err, "/dev/null cannot be opened");
    if (file && make_instance(&instance, &err) &&
        take_turns(&instance, turns, file, first, within, past, &err)) {
        static const bench_column columns[] = {
            {"what", "what", -24, 0}, {"per_second", "tokens/s", 16, 0}, {"ms", "ms a token", 16, 4}, {0}};
        const figure figures[] = {figure_of(first, turns), figure_of(within, turns), figure_of(past, turns)};
        static const char *const names[] = {"the first token", "within the context", "past the context"};
        bench_table(&b, "sampling: random weights, a context of 64", columns);
        for (int i = 0; i < 3; i++)
            bench_row(&b, (bench_cell[]){cell_text(names[i]), cell_figure(figure_rate(1, figures[i])),
                                         cell_figure(figure_times(figures[i], 1e3))});
    }
    if (file) fclose(file);
    lm_instance_free(&instance);
    return bench_end(&b, &err);
}
