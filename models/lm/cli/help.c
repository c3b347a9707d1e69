/* --help: what a command's options are, in lines that fit the terminal. */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/cli/cli_internal.h"

enum { LEAST_COLUMNS = 24, MOST_COLUMNS = 100, ONE_ROW = 60, TEXT_AT = 26, TEXT_BELOW = 6 };

const lm_option lm_common_options[] = {
    {.name = "config",
     .kind = LM_TEXT,
     .words = "FILE",
     .help = "Read options from this file, one a line: lr = 0.003. The command line overrides them.",
     .group = LM_ABOUT_RUNNING},
    {.name = "help", .kind = LM_FLAG, .help = "Print this and end.", .group = LM_ABOUT_RUNNING},
    {0}};

const char *const lm_group_titles[LM_GROUPS] = {
    "Options", "Data", "Model", "Training", "Writing", "Reports", "Files", "Running",
};

bool lm_option_is_common(const lm_option *option) {
    for (const lm_option *o = lm_common_options; o->name; o++)
        if (o == option) return true;
    return false;
}

bool lm_option_is_free(const lm_option *option) {
    return option->resume == LM_CHANGEABLE || option->resume == LM_ANEW;
}

const lm_option *lm_option_listed(const lm_usage *usage, int i, lm_group *group) {
    const lm_option *const tables[] = {usage->options[0], usage->options[1], lm_common_options};
    for (*group = LM_AS_BEFORE; *group < LM_GROUPS; ++*group) {
        for (int table = 0; table < 3; table++) {
            lm_group at = table == 1 ? LM_ABOUT_MODEL : LM_AS_BEFORE;
            for (const lm_option *o = tables[table]; o && o->name; o++) {
                if (o->group != LM_AS_BEFORE) at = o->group;
                if (at == *group && i-- == 0) return o;
            }
        }
    }
    return NULL;
}

const char *lm_option_value(const lm_option *o, int most, char buffer[LM_MAX_WORDS], const char **listed) {
    static const char *const stands[] = {
        [LM_INTEGER] = "N", [LM_REAL] = "X", [LM_TEXT] = "TEXT", [LM_FILES] = "FILE"};
    *listed = NULL;
    if (o->kind == LM_FLAG) return "";
    const char *words = lm_option_words(o, buffer);
    if (!words) return stands[o->kind];
    if ((int)strlen(words) <= most) return words;
    *listed = words;
    return "NAME";
}

/* ---- Lines ----------------------------------------------------------------------------------- */

int lm_help_columns(FILE *file) {
    const int n = lm_columns_of(fileno(file));
    return n < LEAST_COLUMNS ? LEAST_COLUMNS : n > MOST_COLUMNS ? MOST_COLUMNS : n;
}

int lm_line_columns(FILE *file) {
    return isatty(fileno(file)) ? lm_help_columns(file) : INT_MAX;
}

void lm_wrap(FILE *file, const char *text, int used, int indent, int columns) {
    const int room = columns - indent;
    bool first = true;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        int length = (int)strcspn(text, " ");
        if (length > room) length = room; /* cut: it fits no line */
        if (used + !first + length > columns) {
            fprintf(file, "\n%*s", indent, "");
            used = indent;
            first = true;
        }
        fputs(first ? "" : " ", file);
        for (int i = 0; i < length; i++) fputc(text[i] == '\t' ? ' ' : text[i], file);
        used += !first + length;
        first = false;
        text += length;
    }
    fputc('\n', file);
}

/* A name, and what it means behind or below it. */
static void put_entry(FILE *file, const char *head, const char *text, int columns) {
    const bool wide = columns >= ONE_ROW;
    const int length = (int)strlen(head), at = wide ? TEXT_AT : TEXT_BELOW;
    const bool below = !wide || length > TEXT_AT - 2;
    fprintf(file, "%s%s%*s", head, below ? "\n" : "", below ? at : at - length, "");
    lm_wrap(file, text, at, at, columns);
}

/* ---- Options --------------------------------------------------------------------------------- */

char *lm_option_help(const lm_option *o, const char *listed, char *text, size_t size) {
    char value[LM_MAX_WORDS];
    size_t used = (size_t)snprintf(text, size, "%s", o->help);
    int length;
    const char *word;
    for (int64_t i = 0; (word = lm_word(listed, i, &length)) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", i ? ", " : " One of: ", length, word);
    if (listed && used < size) used += (size_t)snprintf(text + used, size - used, ".");
    if (!lm_option_has_value(o) || used >= size) return text;
    lm_option_text(o, value, sizeof value);
    snprintf(text + used, size - used, " (default\t%s)", o->kind == LM_REAL ? lm_plain_number(value) : value);
    return text;
}

static void print_option(const lm_option *o, FILE *file, int columns) {
    char head[LM_MAX_WORDS], buffer[LM_MAX_WORDS], text[4 * LM_MAX_WORDS];
    const char *listed;
    const int named = snprintf(head, sizeof head, "%s --%s", lm_option_is_free(o) ? "*" : " ", o->name);
    const char *value = lm_option_value(o, columns - named - 1, buffer, &listed);
    snprintf(head + named, sizeof head - (size_t)named, "%s%s", *value ? " " : "", value);
    put_entry(file, head, lm_option_help(o, listed, text, sizeof text), columns);
}

void lm_options_help(const lm_usage *usage, FILE *file) {
    const int columns = lm_help_columns(file);
    bool some_free = false;
    const lm_option *o;
    lm_group group, last = LM_GROUPS;
    char line[LM_MAX_WORDS];
    snprintf(line, sizeof line, "usage: %s %s %s%s[options]", usage->program, usage->command,
             usage->operand ? usage->operand : "", usage->operand ? " " : "");
    lm_wrap(file, line, 0, TEXT_BELOW, columns);
    lm_wrap(file, usage->summary, 0, 0, columns);
    for (int i = 0; (o = lm_option_listed(usage, i, &group)); i++) {
        if (group != last) fprintf(file, "\n%s\n", lm_group_titles[group]);
        last = group;
        print_option(o, file, columns);
        some_free |= lm_option_is_free(o);
    }
    if (!some_free) return;
    fputc('\n', file);
    lm_wrap(file, "* can be given anew with --resume. All other options then stay what they were.", 0, 2,
            columns);
}
