/* The program: its commands. */
#include <string.h>

#include "models/lm/look/look.h"
#include "models/lm/train/train.h"
#include "models/lm/write/write.h"

typedef struct command {
    const char *name;
    int (*run)(const lm_model *model, int argc, char *const *argv);
    const char *help;
} command;

static const command commands[] = {
    {"train", lm_train_command, "learn from a text"},
    {"sample", lm_sample_command, "write text with a checkpoint"},
    {"eval", lm_eval_command, "measure a checkpoint on a text"},
    {"info", lm_info_command, "tell what is in a checkpoint"},
    {"plot", lm_plot_command, "draw the losses of runs"},
    {"report", lm_report_command, "write a page about a run"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int help(const lm_model *model) {
    tensor_error err = {0};
    const char *name = model->name;
    printf("usage: %s COMMAND [options]\n%s: trains on any UTF-8 text and writes text like it.\n\n", name,
           model->summary);
    for (int i = 0; i < COMMANDS; i++) printf("  %-10s %s\n", commands[i].name, commands[i].help);
    printf("\n%s COMMAND --help lists a command's options. %s --version prints the version.\n"
           "Exit status: 0 done, 1 failed, 2 bad usage, 130 after Ctrl-C.\n",
           name, name);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

static int version(const lm_model *model) {
    tensor_error err = {0};
    printf("%s (Sampo) %s\n", model->name, SAMPO_VERSION);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

static int unknown(const lm_model *model, const char *word) {
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *nearest = lm_nearest(word, names, COMMANDS);
    lm_say(model, "unknown command '%s'%s%s%s (%s --help lists the commands)", word,
           nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "", model->name);
    return LM_BAD_USAGE;
}

int lm_main(const lm_model *model, int argc, char **argv) {
    if (!lm_streams_begin())
        return lm_fail(model, "a standard stream is closed, and /dev/null cannot take its place");
    if (argc < 2) {
        lm_say(model, "no command; %s --help lists them", model->name);
        return LM_BAD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return help(model);
    if (strcmp(argv[1], "--version") == 0) return version(model);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(model, argc - 2, argv + 2);
    }
    return unknown(model, argv[1]);
}
