/* The options as what a shell completes: a command's part of a script for bash or for zsh. */
#include <ctype.h>
#include <string.h>

#include "models/lm/cli/cli_internal.h"

/* Whether files or folders can be meant: "FILE", "char|byte|bpe|DIR". */
static bool means_path(const lm_option *o, const char *words) {
    if (o->kind == LM_FILES) return true;
    return o->kind == LM_TEXT && words && (strstr(words, "FILE") || strstr(words, "DIR"));
}

/* Writes those words that stand for themselves: not FILE. */
static void put_choices(FILE *file, const char *words) {
    int length, count = 0;
    const char *word;
    for (int64_t i = 0; (word = lm_word(words, i, &length)); i++)
        if (!isupper((unsigned char)*word)) fprintf(file, "%s%.*s", count++ ? " " : "", length, word);
}

void lm_options_bash(const lm_usage *usage, FILE *file) {
    const lm_option *o;
    lm_group group;
    fprintf(file, "    %s)\n        case $before in\n", usage->command);
    for (int i = 0; (o = lm_option_listed(usage, i, &group)); i++) {
        char buffer[LM_MAX_WORDS];
        const char *words = lm_option_words(o, buffer);
        const bool path = means_path(o, words), choices = words && islower((unsigned char)*words);
        if (o->kind == LM_FLAG) continue;
        fprintf(file, "        --%s)%s", o->name, choices ? " words='" : "");
        put_choices(file, words);
        fprintf(file, "%s%s ;;\n", choices ? "'" : "", path ? " files=1" : "");
    }
    const bool names = usage->operand && isupper((unsigned char)*usage->operand);
    fputs(names ? "        *) if [[ $now != -* ]]; then files=1; else words='" : "        *) words='", file);
    for (int i = 0; (o = lm_option_listed(usage, i, &group)); i++) fprintf(file, "--%s ", o->name);
    put_choices(file, usage->operand);
    fputs(names ? "'; fi ;;\n        esac ;;\n" : "' ;;\n        esac ;;\n", file);
}

/* A text within '...[here]...' of zsh. */
static void put_text(FILE *file, const char *text) {
    for (const char *c = text; *c; c++) {
        if (strchr("[]:\\", *c)) fputc('\\', file);
        fputs(*c == '\'' ? "'\\''" : (const char[]){*c, '\0'}, file);
    }
}

void lm_options_zsh(const lm_usage *usage, FILE *file) {
    const lm_option *o;
    lm_group group;
    fprintf(file, "    %s) _arguments", usage->command);
    for (int i = 0; (o = lm_option_listed(usage, i, &group)); i++) {
        char buffer[LM_MAX_WORDS];
        const char *words = lm_option_words(o, buffer);
        const bool path = means_path(o, words);
        fprintf(file, " \\\n        '%s--%s%s[", o->kind == LM_FILES ? "*" : "", o->name,
                o->kind == LM_FLAG ? "" : "=");
        put_text(file, o->help);
        fputc(']', file);
        if (o->kind != LM_FLAG) {
            const bool choices = words && islower((unsigned char)*words);
            fprintf(file, ":%s:%s", o->name, choices ? "{compadd -- " : path ? "_files" : " ");
            put_choices(file, words);
            if (choices) fputs(path ? "; _files}" : "}", file);
        }
        fputc('\'', file);
    }
    if (usage->operand) {
        const bool names = isupper((unsigned char)*usage->operand);
        fprintf(file, " \\\n        '%s:%s:", usage->most > 1 ? "*" : "1", usage->operand);
        if (!names) fputs("{compadd -- ", file);
        put_choices(file, usage->operand);
        fputs(names ? "_files'" : "}'", file);
    }
    fputs(" ;;\n", file);
}
