/* The command presets: the sizes that a model comes in, and what each needs on this machine. */
#include <inttypes.h>

#include "models/lm/cli/pages.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

enum { CHARACTERS = 100, ROW_COLUMNS = 60 };

static const lm_option *preset_option(const lm_model *model) {
    const lm_option *o = model->options;
    while (o && o->name && o->kind != LM_PRESET) o++;
    return o && o->name ? o : NULL;
}

/* In a narrow terminal a row takes two lines. */
static void print_row(const char *name, const char *parameters, const char *memory, const char *time,
                      const char *suits) {
    const bool narrow = lm_help_columns(stdout) < ROW_COLUMNS;
    printf("%-11s %10s %7s%s%12s  %s\n", name, parameters, memory, narrow ? "\n" : " ", time, suits);
}

/* Prints the row of the preset that the options hold. */
static int describe(lm_trainer *t, const void *speed) {
    lm_instance *instance = &t->instance;
    const lm_model *model = instance->model;
    const lm_preset *preset = *(const lm_preset **)preset_option(model)->value;
    char text[2][32];
    tensor_error err = {0};
    instance->params = nn_params_new();
    instance->tokenizer.count = CHARACTERS;
    instance->context = t->set.context;
    if (model->check && !model->check(model->self, &err)) return lm_fail(model, "%s", err.text);
    if (instance->params) model->init(model->self, instance->params, CHARACTERS, instance->context);
    t->parallel = lm_parallel_new(instance);
    if (nn_params_error(instance->params) || !t->parallel) return lm_fail(model, "out of memory");
    const lm_memory need = lm_memory_needed(t);
    char parameters[32];
    snprintf(parameters, sizeof parameters, "%.2f M", 1e-6 * (double)nn_params_count(instance->params));
    print_row(preset->name, parameters, lm_memory_text(need.weights + need.batch, text[0], sizeof *text),
              lm_duration(1000 * lm_step_estimate(t, *(const double *)speed), text[1], sizeof *text),
              preset->suits);
    return LM_DONE;
}

int lm_presets_command(const lm_model *model, int argc, char *const *argv) {
    int64_t threads = 0;
    const lm_option options[] = {lm_threads(&threads), {0}};
    const lm_usage usage = {
        model->name, "presets", "Lists the sizes of models, and what each needs.", NULL, {options}};
    const char *operand;
    tensor_error err = {0};
    int status = lm_begin(model, &usage, argc, argv, &operand, &threads);
    if (status >= 0) return status;
    if (!preset_option(model)) {
        printf("%s has one size\n", model->name);
        return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
    }
    const double speed = lm_machine_speed(&err);
    if (speed <= 0) return lm_fail(model, "%s", err.text);
    print_row("preset", "parameters", "memory", "1000 iters", "for texts of");
    for (const lm_preset *p = preset_option(model)->presets; p->name && status < LM_FAILED; p++) {
        char *const words[] = {(char *)"--preset", (char *)p->name};
        const lm_model *fresh = lm_program(); /* with its defaults again */
        status = lm_train_with(fresh, 2, words, describe, &speed);
    }
    if (status != LM_DONE) return status;
    char note[200];
    const int used = tensor_threads();
    snprintf(
        note, sizeof note,
        "The parameters, in millions, and the memory to train with a text of %d distinct characters; the "
        "time is roughly what %d thread%s of this machine need%s.",
        CHARACTERS, used, lm_s(used), used > 1 ? "" : "s");
    putchar('\n');
    const int columns = lm_help_columns(stdout);
    lm_wrap(stdout, note, 0, 0, columns < ROW_COLUMNS ? columns : ROW_COLUMNS);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}
