/* Help, the manual page and the scripts for shells. Each command prints its own options: run with --help=man, say. */
#include "models/lm/manual.h"

static void print_commands(const lm_model *model, const lm_command *commands, char *form) {
    for (const lm_command *c = commands; c->name; c++) c->run(model, 1, &form);
}

/* ---- Help ------------------------------------------------------------------------------------ */

/* A line to type, and what it does. */
static const struct {
    const char *line, *help;
} first_steps[] = {
    {"train --data book.txt --out run", "Learn from a text, and keep the model in the folder run."},
    {"sample run", "Write text like it."},
    {"train --resume run", "Go on learning after Ctrl-C."},
};
enum { FIRST_STEPS = sizeof first_steps / sizeof *first_steps };

/* Where nothing is trained, nothing can go on. */
static int steps_of(const lm_model *model) {
    return FIRST_STEPS - (model->defaults.iterations == 0);
}

void lm_manual_help(const lm_model *model, const lm_command *commands, FILE *file) {
    const int columns = lm_help_columns(file);
    char text[1024];
    const char *name = lm_typed(model);
    snprintf(text, sizeof text, "usage: %s COMMAND [options]", name);
    lm_wrap(file, text, 0, 6, columns);
    snprintf(text, sizeof text, "%s: learns from any UTF-8 text and writes text like it.", model->summary);
    lm_wrap(file, text, 0, 0, columns);
    fputs("\nFirst steps\n", file);
    for (int i = 0; i < steps_of(model); i++) {
        snprintf(text, sizeof text, "%s %s", name, first_steps[i].line);
        fputs("  ", file);
        lm_wrap(file, text, 2, 4, columns);
        fprintf(file, "%6s", "");
        lm_wrap(file, first_steps[i].help, 6, 6, columns);
    }
    fputs("\nCommands\n", file);
    for (const lm_command *c = commands; c->name; c++) {
        fprintf(file, "  %-10s  ", c->name);
        lm_wrap(file, c->help, 14, 14, columns);
    }
    fputc('\n', file);
    snprintf(text, sizeof text, "%s help COMMAND lists a command's options; %s --version prints the version.",
             name, name);
    lm_wrap(file, text, 0, 0, columns);
    lm_wrap(file, "Exit status: 0 done, 1 failed, 2 bad usage, 130 after Ctrl-C.", 0, 0, columns);
}

/* ---- The manual page --------------------------------------------------------------------------- */

static const struct {
    const char *name, *help;
} environment[] = {
    {"SAMPO_DATA", "The folder with the text to learn from where there is no --data."},
    {"SAMPO_THREADS", "How many threads to compute with, unless --threads says."},
    {"SAMPO_ISA", "The instruction set to compute with, such as baseline or avx2, instead of the best."},
    {"COLUMNS", "How wide lines may be where the output is no terminal."},
    {"NO_COLOR", "Where it is set, there are no colours."},
};

void lm_manual_man(const lm_model *model, const lm_command *commands) {
    char text[256];
    printf(".TH SAMPO\\-");
    for (const char *c = model->name; *c; c++) putchar(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    printf(" 1 \"\" \"Sampo %s\" \"User commands\"\n", SAMPO_VERSION);
    printf(".SH NAME\nsampo\\-%s \\- learns from a text and writes text like it\n", model->name);
    printf(".SH SYNOPSIS\n.B sampo\\-%s\n.I command\n[options]\n", model->name);
    printf(".SH DESCRIPTION\n");
    snprintf(text, sizeof text, "%s: learns from any UTF-8 text and writes text like it.", model->summary);
    lm_man_text(stdout, text);
    printf(".SH EXAMPLES\n");
    for (int i = 0; i < steps_of(model); i++) {
        snprintf(text, sizeof text, "sampo-%s %s", model->name, first_steps[i].line);
        lm_man_entry(stdout, text, "", first_steps[i].help);
    }
    printf(".SH COMMANDS\n");
    print_commands(model, commands, "--help=man");
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    lm_man_text(
        stdout,
        "An option's value follows it, or an equals sign: --lr 0.003, --lr=0.003. Of an option that is "
        "given twice the last counts. Whole numbers may be written as 5e3.");
    lm_man_entry(stdout, "--help", "", "Print the options of the command, with their defaults.");
    lm_man_entry(
        stdout, "--config", "FILE",
        "Read options from this file, one a line: the name and its value, with or without an equals sign "
        "between them. A value may stand in quotes. What follows # is a comment. Files named in it are "
        "looked for where the program runs. The command line overrides the file.");
    printf(".SH EXIT STATUS\n");
    lm_man_text(
        stdout,
        "0 where all was done, 1 after a failure, 2 for a command line that cannot be understood, 130 "
        "after Ctrl-C.");
    printf(".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof environment / sizeof *environment; i++)
        lm_man_entry(stdout, environment[i].name, "", environment[i].help);
}

/* ---- Shells ------------------------------------------------------------------------------------ */

static void print_bash(const lm_model *model, const lm_command *commands) {
    const char *name = model->name;
    printf("# What bash completes in the command lines of %s. Try it: source <(%s completion bash)\n", name,
           name);
    printf(
        "_sampo_%s() {\n"
        "    local now=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words='' files='' word\n"
        "    if [[ $now == = ]]; then now=''\n"
        "    elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
        "    COMPREPLY=()\n"
        "    if ((COMP_CWORD == 1)); then words='",
        name);
    for (const lm_command *c = commands; c->name; c++) printf("%s ", c->name);
    printf("--help --version'\n    else case ${COMP_WORDS[1]} in\n");
    print_commands(model, commands, "--help=bash");
    printf("    esac; fi\n"
           "    while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(\n"
           "        compgen -W \"$words\" -- \"$now\"\n"
           "        [[ ! $files ]] || compgen -f -- \"$now\")\n"
           "    [[ ! $files ]] || compopt -o filenames 2>/dev/null\n"
           "}\n"
           "complete -F _sampo_%s sampo-%s %s\n",
           name, name, name);
}

static void print_zsh(const lm_model *model, const lm_command *commands) {
    const char *name = model->name;
    printf("#compdef sampo-%s %s\n", name, name);
    printf("# What zsh completes in the command lines of %s. Try it: source <(%s completion zsh)\n", name,
           name);
    printf("_sampo_%s() {\n    local -a names=(", name);
    for (const lm_command *c = commands; c->name; c++) printf("\n        '%s:%s'", c->name, c->help);
    printf(")\n    if (( CURRENT == 2 )); then _describe command names; return; fi\n"
           "    shift words\n    (( CURRENT-- ))\n    case $words[1] in\n");
    print_commands(model, commands, "--help=zsh");
    printf("    esac\n}\n"
           "if [[ $funcstack[1] == _sampo_%s ]]; then _sampo_%s \"$@\"\n"
           "else compdef _sampo_%s sampo-%s %s; fi\n",
           name, name, name, name, name);
}

void lm_manual_completion(const lm_model *model, const lm_command *commands, bool zsh) {
    if (zsh)
        print_zsh(model, commands);
    else
        print_bash(model, commands);
}
