/* The program: its commands. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look.h"
#include "models/lm/manual.h"
#include "models/lm/train/train.h"
#include "models/lm/write/write.h"

static int help_command(const lm_model *model, int argc, char *const *argv);
static int completion_command(const lm_model *model, int argc, char *const *argv);

/* The names of other programs for a command lead to it. */
static const lm_command commands[] = {
    {"train", lm_train_command, "Learn from a text.", "learn|fit|finetune|fine-tune|resume"},
    {"sample", lm_sample_command, "Write text with what was learned.",
     "generate|write|complete|predict|chat|run|talk|inference"},
    {"eval", lm_eval_command, "Measure how well a text is predicted.", "evaluate|test|validate|loss|score"},
    {"presets", lm_presets_command, "List the sizes of models.", "preset|sizes|models|list"},
    {"info", lm_info_command, "Tell what is in a checkpoint.", "show|inspect|print|summary|describe"},
    {"export", lm_export_command, "Write a model for other programs.", "convert|gguf|huggingface|hf"},
    {"quantize", lm_quantize_command, "Write a model in less memory.", "quantise|compress|shrink|round"},
    {"plot", lm_plot_command, "Draw the losses of runs.", "graph|draw|curve|curves|chart"},
    {"report", lm_report_command, "Write a page about a run.", "html|page"},
    {"help", help_command, "Print the options of a command.", "man|usage|commands"},
    {"completion", completion_command, "Make bash or zsh complete command lines.", "completions|bash|zsh"},
    {0}};

/* A command by its name; NULL: there is none. */
static const lm_command *find_command(const char *name) {
    for (const lm_command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static int unknown(const lm_model *model, const char *word) {
    const char *names[LM_MAX_COMMANDS], *nearest = NULL;
    int count = 0;
    for (const lm_command *c = commands; c->name; c++) {
        names[count++] = c->name;
        if (lm_has_word(c->other_names, word)) nearest = c->name;
    }
    if (!nearest) nearest = lm_nearest(word, names, count);
    lm_say(model, "unknown command '%s'%s%s%s (" LM_COMMAND("%s help") " lists the commands)", word,
           nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "", lm_typed(model));
    return LM_BAD_USAGE;
}

/* Flushes what was printed; its exit status. */
static int printed(const lm_model *model) {
    tensor_error err = {0};
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

/* Runs a command with the options that files of --config hold as well. */
static int run(const lm_model *model, const lm_command *command, int argc, char *const *argv) {
    tensor_error err = {0};
    lm_words words;
    if (command->run == help_command) return help_command(model, argc, argv); /* that runs another */
    int status = lm_config_expand(&words, argc, argv, &err);
    if (status == LM_DONE)
        status = command->run(model, words.argc, words.argv);
    else
        lm_say(model, "%s: %s", command->name, err.text);
    lm_words_free(&words);
    return status;
}

static int general_help(const lm_model *model) {
    lm_manual_help(model, commands, stdout);
    return printed(model);
}

static int help_command(const lm_model *model, int argc, char *const *argv) {
    char names[256];
    const lm_usage usage = {
        model->name, "help", "Prints a command's options, or what commands there are.", names, {NULL}};
    const int64_t threads = 0;
    const char *name;
    size_t used = 0;
    for (const lm_command *c = commands; c->name && used < sizeof names; c++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? "|" : "", c->name);
    if (argc == 0) return general_help(model);
    const int status = argv[0][0] == '-' ? lm_begin(model, &usage, argc, argv, &name, &threads) : -1;
    if (status >= 0) return status;

    const lm_command *command = find_command(argv[0]);
    char *words[LM_MAX_FILES];
    if (!command) return unknown(model, argv[0]);
    if (argc > LM_MAX_FILES) return lm_fail(model, "help: there are too many words");
    for (int i = 1; i < argc; i++)
        words[i - 1] = argv[i]; /* they may change the defaults, as a preset does */
    words[argc - 1] = "--help";
    return run(model, command, argc, words);
}

static int completion_command(const lm_model *model, int argc, char *const *argv) {
    const lm_usage usage = {model->name,
                            "completion",
                            "Prints a script by which a shell completes command lines, for bash or for zsh.",
                            "bash|zsh",
                            {NULL}};
    const int64_t threads = 0;
    const char *shell;
    const int status = lm_begin(model, &usage, argc, argv, &shell, &threads);
    if (status >= 0) return status;
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
        lm_say(model, "completion: '%s' is neither bash nor zsh", shell);
        return LM_BAD_USAGE;
    }
    lm_manual_completion(model, commands, strcmp(shell, "zsh") == 0);
    return printed(model);
}

int lm_main(const lm_model *program, int argc, char **argv) {
    lm_model called = *program;
    const lm_model *model = &called;
    const char *script = getenv("SAMPO_PROGRAM"), *typed = script && *script ? script
                                                           : argc > 0        ? argv[0]
                                                                             : NULL;
    char quoted[LM_QUOTED];
    called.typed = typed ? lm_quoted(typed, quoted, sizeof quoted) : NULL;
    tensor_error err = {0};
    if (!lm_process_begin(&err)) return lm_fail(model, "%s", err.text);
    const char *word = argc < 2 ? "" : argv[1];
    if (argc < 2) {
        lm_manual_help(model, commands, stderr);
        return LM_BAD_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return general_help(model);
    if (lm_has_word("--version|-V|-v|version", word)) {
        printf("%s (Sampo) %s\n", model->name, SAMPO_VERSION);
        return printed(model);
    }
    if (strcmp(word, "--man") == 0) {
        lm_manual_man(model, commands);
        return printed(model);
    }
    if (*word == '-') {
        lm_say(model, "%s is not a command, and a command comes first: " LM_COMMAND("%s train %s"), word,
               lm_typed(model), word);
        return LM_BAD_USAGE;
    }
    const lm_command *command = find_command(word);
    return command ? run(model, command, argc - 2, argv + 2) : unknown(model, word);
}
