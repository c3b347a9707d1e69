/* Sampling with the GPT's default configuration, random weights: the time to the first token, with everything that is
 * set up once, and the tokens a second within the context, where each is computed alone, for one text and for a batch
 * of them, and past it, where each is computed with the window before it: with each token, or with every 32nd where
 * the window hops. Times of n tokens less those of one or of a full context.
 *
 *     build/benches/sample [--threads N] [--json FILE]
 */
#include <stdio.h>

#include "benches/measure.h"
#include "models/lm/write/write.h"

/* models/gpt.c, compiled with this name for lm_program. */
const lm_model *bench_gpt(void);

enum { TURNS = 41, VOCABULARY = 51, PAST = 192, TEXTS = 32, HOP = 32 };

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

/* The figures, in this order. */
enum { FIRST, WITHIN, BATCH, PAST_CONTEXT, HOPPING, FIGURES };
static const char *const names[FIGURES] = {"the first token", "within the context", "the same, 32 texts",
                                           "past the context", "the same, hops of 32"};

/* Seconds that `tokens` tokens of each text take; below 0: failed. */
static double time_of(const lm_instance *instance, int64_t tokens, int64_t texts, int64_t hop, FILE *file,
                      tensor_error *err) {
    const lm_sampling sampling = {
        .tokens = tokens, .temperature = 1, .seed = 1, .samples = texts, .hop = hop};
    const double start = now();
    return lm_sample(instance, &sampling, file, err) ? now() - start : -1;
}

/* The seconds a token in each of `turns` turns. */
static bool take_turns(const lm_instance *instance, int turns, FILE *file, double seconds[FIGURES][TURNS],
                       tensor_error *err) {
    const int64_t context = instance->context;
    for (int i = -2; i < turns; i++) { /* two to warm up */
        const double one = time_of(instance, 1, 1, 1, file, err);
        const double full = time_of(instance, context, 1, 1, file, err);
        const double one_each = time_of(instance, 1, TEXTS, 1, file, err);
        const double full_each = time_of(instance, context, TEXTS, 1, file, err);
        const double more = time_of(instance, context + PAST, 1, 1, file, err);
        const double hopping = time_of(instance, context + PAST, 1, HOP, file, err);
        if (one < 0 || full < 0 || one_each < 0 || full_each < 0 || more < 0 || hopping < 0) return false;
        if (i < 0) continue;
        seconds[FIRST][i] = one;
        seconds[WITHIN][i] = (full - one) / (double)(context - 1);
        seconds[BATCH][i] = (full_each - one_each) / (double)(TEXTS * (context - 1));
        seconds[PAST_CONTEXT][i] = (more - full) / PAST;
        seconds[HOPPING][i] = (hopping - full) / PAST;
    }
    return true;
}

int main(int argc, char **argv) {
    bench b;
    const int status = bench_begin(&b, "sample", "Sampling with the GPT", NULL, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    lm_instance instance = {0};
    FILE *file = fopen("/dev/null", "w");
    const int turns = b.quick ? 3 : TURNS;
    double seconds[FIGURES][TURNS];
    if (!file) tensor_fail(&err, "/dev/null cannot be opened");
    if (file && make_instance(&instance, &err) && take_turns(&instance, turns, file, seconds, &err)) {
        static const bench_column columns[] = {
            {"what", "what", -24, 0}, {"per_second", "tokens/s", 16, 0}, {"ms", "ms a token", 16, 4}, {0}};
        bench_table(&b, "sampling: random weights, a context of 64", columns);
        for (int i = 0; i < FIGURES; i++) {
            const figure time = figure_of(seconds[i], turns);
            bench_row(&b, (bench_cell[]){cell_text(names[i]), cell_figure(figure_rate(1, time)),
                                         cell_figure(figure_times(time, 1e3))});
        }
    }
    if (file) fclose(file);
    lm_instance_free(&instance);
    return bench_end(&b, &err);
}
