#include "models/example/example.h"

#include <inttypes.h>
#include <math.h>

#include "models/lm/cli/pages.h"

int example_begin(example *e, const char *name, const char *summary, int64_t iterations, const lm_option *own,
                  int argc, char *const *argv) {
    *e = (example){.program = {.name = name, .typed = argc > 0 ? argv[0] : NULL}, .iterations = iterations};
    const lm_option common[] = {lm_about(LM_ABOUT_TRAINING, lm_integer("iters", &e->iterations, 1, 1000000000,
                                                                       "How many steps to learn for.")),
                                lm_seed(&e->seed),
                                lm_threads(&e->threads),
                                {0}};
    const lm_usage usage = {name, "", summary, NULL, {own, common}, 0};
    const char *operand;
    lm_words words;
    if (!lm_process_begin(&e->err)) return lm_fail(&e->program, "%s", e->err.text);
    int status = lm_config_expand(&words, argc - 1, argv + 1, &e->err);
    if (status == LM_DONE)
        status = lm_begin(&e->program, &usage, words.argc, words.argv, &operand, &e->threads);
    else
        lm_say(&e->program, "%s", e->err.text);
    lm_words_free(&words);
    return status;
}

bool example_step(example *e, int64_t step, double loss) {
    const int64_t done = step + 1, every = e->iterations < 10 ? 1 : e->iterations / 10;
    if (!isfinite(loss))
        return tensor_fail(&e->err, "step %" PRId64 ": the loss is no finite number; a lower --lr may help",
                           done);
    if (step == 0 || done % every == 0 || done == e->iterations) {
        printf("step %6" PRId64 "  loss %.4g\n", done, loss);
        fflush(stdout);
    }
    return true;
}

int example_end(example *e, bool ok, ag_tape *tape, nn_params *params, nn_params *others) {
    const char *fault = nn_params_error(params);
    if (!fault) fault = nn_params_error(others);
    if (!ok) tensor_fail(&e->err, "%s", fault ? fault : ag_error(tape));
    ok = lm_flush(stdout, &e->err) && ok;
    ag_tape_free(tape);
    nn_params_free(params);
    nn_params_free(others);
    return ok ? LM_DONE : lm_fail(&e->program, "%s", e->err.text);
}

void example_show(tensor pictures) {
    static const char ink[] = " .:-=+*#%@";
    const int64_t count = pictures.shape[0], rows = pictures.shape[1], columns = pictures.shape[2];
    const int64_t across = columns < 40 ? 80 / (columns + 1) : 1;
    for (int64_t first = 0; first < count; first += across) {
        const int64_t end = first + across < count ? first + across : count;
        for (int64_t row = 0; row < rows; row += 2) {
            for (int64_t i = first * columns; i < end * columns; i++) {
                const float *p = pictures.f32 + (i / columns * rows + row) * columns + i % columns;
                const float mean = row + 1 < rows ? (p[0] + p[columns]) / 2 : p[0];
                if (i > first * columns && i % columns == 0) putchar(' ');
                putchar(ink[(int)(fminf(fmaxf(mean, 0), 1) * 9.99f)]);
            }
            putchar('\n');
        }
    }
}
