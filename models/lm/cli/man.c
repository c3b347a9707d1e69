/* The options as a manual page: a section of it in man's own language. */
#include <string.h>

#include "models/lm/cli/cli_internal.h"

enum { LINE = 76 };

void lm_man_text(FILE *file, const char *text) {
    char escaped[4096];
    size_t used = 0;
    for (const char *c = text; *c && used < sizeof escaped - 8; c++) {
        const bool begins = c == text || c[-1] == ' ';
        if (begins && (*c == '.' || *c == '\'')) used += (size_t)sprintf(escaped + used, "\\&");
        if (*c == '-')
            used += (size_t)sprintf(escaped + used, "\\-");
        else if (*c == '\\')
            used += (size_t)sprintf(escaped + used, "\\e");
        else
            escaped[used++] = *c;
    }
    escaped[used] = '\0';
    lm_wrap(file, escaped, 0, 0, LINE);
}

/* A text that stays on its line. */
static void put(FILE *file, const char *text) {
    for (const char *c = text; *c; c++) fprintf(file, *c == '-' ? "\\-" : *c == '\\' ? "\\e" : "%c", *c);
}

void lm_man_entry(FILE *file, const char *name, const char *value, const char *text) {
    fputs(".TP\n\\fB", file);
    put(file, name);
    fputs("\\fR", file);
    if (*value) fputs(" \\fI", file);
    put(file, value);
    fputs(*value ? "\\fR\n" : "\n", file);
    lm_man_text(file, text);
}

void lm_options_man(const lm_usage *usage, FILE *file) {
    const lm_option *o;
    lm_group group, last = LM_GROUPS;
    bool some_free = false;
    fprintf(file, ".SS %s%s%s\n", usage->command, usage->operand ? " " : "",
            usage->operand ? usage->operand : "");
    lm_man_text(file, usage->summary);
    for (int i = 0; (o = lm_option_listed(usage, i, &group)); i++) {
        char name[LM_MAX_NAME + 3], buffer[LM_MAX_WORDS], text[4 * LM_MAX_WORDS];
        const char *listed;
        if (lm_option_is_common(o)) continue; /* said once for all */
        if (group != last) fprintf(file, ".PP\n%s:\n", lm_group_titles[group]);
        last = group;
        snprintf(name, sizeof name, "--%s", o->name);
        const char *value = lm_option_value(o, LINE - LM_MAX_NAME, buffer, &listed);
        lm_option_help(o, listed, text, sizeof text - 16);
        if (lm_option_is_free(o)) strcat(text, " *");
        some_free |= lm_option_is_free(o);
        lm_man_entry(file, name, value, text);
    }
    if (!some_free) return;
    fputs(".PP\n", file);
    lm_man_text(file, "* can be given anew with --resume. All other options then stay what they were.");
}
