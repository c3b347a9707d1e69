/* Options: one table says their names, types, defaults, ranges and help. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/cli.h"

enum { MAX_NAME = 31, MAX_HEAD = 80 };

/* The i-th word of "a|b|c" and its length; NULL: there are fewer. */
static const char *word_at(const char *words, int64_t i, int *length) {
    for (; i > 0 && words; i--) {
        words = strchr(words, '|');
        if (words) words++;
    }
    if (words) *length = (int)strcspn(words, "|");
    return words;
}

static bool set_integer(const lm_option *o, const char *text, tensor_error *err) {
    char *end;
    errno = 0;
    const long long x = strtoll(text, &end, 10);
    const bool starts = *text == '-' || *text == '+' || (*text >= '0' && *text <= '9');
    if (!starts || end == text || *end) return tensor_fail(err, "'%.60s' is not a whole number", text);
    if (errno == ERANGE || x < o->least || x > o->most)
        return tensor_fail(err, "%.60s is out of range: %" PRId64 " to %" PRId64, text, o->least, o->most);
    *(int64_t *)o->value = x;
    return true;
}

static bool set_real(const lm_option *o, const char *text, tensor_error *err) {
    char *end;
    const double x = strtod(text, &end);
    const bool starts = *text == '-' || *text == '+' || *text == '.' || (*text >= '0' && *text <= '9');
    if (!starts || end == text || *end) return tensor_fail(err, "'%.60s' is not a number", text);
    if (!(x >= o->low && x <= o->high))
        return tensor_fail(err, "%.60s is out of range: %g to %g", text, o->low, o->high);
    *(double *)o->value = x;
    return true;
}

/* Whether a number has been given, or has a default. */
static bool has_number(const lm_option *o) {
    if (o->kind == LM_INTEGER) return *(int64_t *)o->value >= o->least && *(int64_t *)o->value <= o->most;
    return *(double *)o->value >= o->low && *(double *)o->value <= o->high;
}

static bool set_choice(const lm_option *o, const char *text, tensor_error *err) {
    int length;
    const char *word;
    for (int64_t i = 0; (word = word_at(o->words, i, &length)); i++) {
        if (strlen(text) == (size_t)length && memcmp(word, text, (size_t)length) == 0) {
            *(int64_t *)o->value = i;
            return true;
        }
    }
    return tensor_fail(err, "'%.60s' is none of %s", text, o->words);
}

static bool set_yes_no(const lm_option *o, const char *text, tensor_error *err) {
    bool yes = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    bool no = strcmp(text, "no") == 0 || strcmp(text, "false") == 0;
    if (!yes && !no) return tensor_fail(err, "'%.60s' is neither yes nor no", text);
    *(bool *)o->value = yes;
    return true;
}

/* "kalevala|gpt2" */
static const char *preset_names(const lm_option *o, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    for (const lm_preset *p = o->presets; p->name && used < size; p++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? "|" : "", p->name);
    }
    return buffer;
}

static bool set_preset(const lm_option *o, const char *text, tensor_error *err) {
    char names[MAX_HEAD];
    for (const lm_preset *p = o->presets; p->name; p++) {
        if (strcmp(p->name, text) != 0) continue;
        *(const lm_preset **)o->value = p;
        return true;
    }
    return tensor_fail(err, "'%.60s' is none of %s", text, preset_names(o, names, sizeof names));
}

static bool add_path(lm_paths *files, const char *path, tensor_error *err) {
    if (files->count == LM_MAX_FILES) return tensor_fail(err, "names more than %d files", LM_MAX_FILES);
    files->paths[files->count++] = path;
    return true;
}

bool lm_option_set(const lm_option *o, const char *text, tensor_error *err) {
    switch (o->kind) {
    case LM_INTEGER:
        return set_integer(o, text, err);
    case LM_REAL:
        return set_real(o, text, err);
    case LM_CHOICE:
        return set_choice(o, text, err);
    case LM_YES_NO:
        return set_yes_no(o, text, err);
    case LM_FLAG:
        *(bool *)o->value = true;
        return true;
    case LM_PRESET:
        return set_preset(o, text, err);
    case LM_FILES:
        return add_path(o->value, text, err);
    case LM_TEXT:
        break;
    }
    *(const char **)o->value = text;
    return true;
}

char *lm_option_text(const lm_option *o, char *buffer, size_t size) {
    const char *text = "";
    int length = 0;
    switch (o->kind) {
    case LM_INTEGER:
        if (!has_number(o)) break;
        snprintf(buffer, size, "%" PRId64, *(int64_t *)o->value);
        return buffer;
    case LM_REAL:
        if (!has_number(o)) break;
        snprintf(buffer, size, "%.9g", *(double *)o->value);
        if (strtod(buffer, NULL) != *(double *)o->value) snprintf(buffer, size, "%.17g", *(double *)o->value);
        return buffer;
    case LM_CHOICE:
        text = word_at(o->words, *(int64_t *)o->value, &length);
        snprintf(buffer, size, "%.*s", length, text);
        return buffer;
    case LM_YES_NO:
    case LM_FLAG:
        text = *(bool *)o->value ? "yes" : "no";
        break;
    case LM_TEXT:
        if (*(const char **)o->value) text = *(const char **)o->value;
        break;
    case LM_FILES:
        if (((lm_paths *)o->value)->joined) text = ((lm_paths *)o->value)->joined;
        break;
    case LM_PRESET:
        text = (*(const lm_preset **)o->value)->name;
        break;
    }
    snprintf(buffer, size, "%s", text);
    return buffer;
}

/* ---- Spelling ------------------------------------------------------------------------------ */

/* The number of letters to insert, delete, change or swap with their neighbour; many for what is no name. */
static int distance(const char *a, const char *b) {
    int m = (int)strlen(a), n = (int)strlen(b);
    if (m > MAX_NAME || n > MAX_NAME) return INT_MAX;
    int d[MAX_NAME + 1][MAX_NAME + 1];
    for (int i = 0; i <= m; i++) {
        for (int j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[m][n];
}

const char *lm_nearest(const char *text, const char *const *names, int count) {
    const char *nearest = NULL;
    int best = (int)strlen(text) / 3 + 1; /* more than a third of the letters wrong is another word */
    for (int i = 0; i < count; i++) {
        int d = distance(text, names[i]);
        bool longer = strlen(text) > 2 && strncmp(text, names[i], strlen(text)) == 0; /* an abbreviation */
        if (longer && d > 1) d = 1;
        if (d > best || (d == best && nearest)) continue;
        nearest = names[i];
        best = d;
    }
    return nearest;
}

/* ---- The command line ---------------------------------------------------------------------- */

const lm_option *lm_option_at(const lm_usage *usage, int i) {
    for (int table = 0; table < 2; table++) {
        for (const lm_option *o = usage->options[table]; o && o->name; o++) {
            if (i-- == 0) return o;
        }
    }
    return NULL;
}

static bool unknown(const lm_usage *usage, const char *name, tensor_error *err) {
    const char *names[64] = {"help"};
    int count = 1;
    for (const lm_option *o; count < 64 && (o = lm_option_at(usage, count - 1)); count++)
        names[count] = o->name;
    const char *nearest = lm_nearest(name, names, count);
    if (!nearest) return tensor_fail(err, "unknown option --%.60s", name);
    return tensor_fail(err, "unknown option --%.60s; did you mean --%s?", name, nearest);
}

static const lm_option *find_option(const lm_usage *usage, const char *name) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(usage, i)) && strcmp(o->name, name) != 0;) i++;
    return o;
}

/* One option at argv[*i], "--name", "--name=value" or "--name" "value". */
static bool parse_option(const lm_usage *usage, int argc, char *const *argv, int *i, bool *help,
                         tensor_error *err) {
    char name[MAX_NAME + 1];
    const char *given = argv[*i] + 2, *value = strchr(given, '=');
    size_t length = value ? (size_t)(value - given) : strlen(given);
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), given);
    if (strcmp(given, "help") == 0) {
        *help = true;
        return true;
    }
    const lm_option *o = find_option(usage, name);
    if (!o) return unknown(usage, name, err);
    if (o->kind == LM_FLAG && value) return tensor_fail(err, "--%s takes no value", name);
    if (o->kind != LM_FLAG) {
        if (value)
            value++;
        else if (*i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
            value = argv[++*i];
        else
            return tensor_fail(err, "--%s needs a value", name);
    }
    tensor_error fault = {0};
    return lm_option_set(o, value, &fault) || tensor_fail(err, "--%s %s", name, fault.text);
}

/* Whether a word of the command line is this option: "--name" or "--name=value". */
static bool is_option(const char *word, const lm_option *o) {
    const size_t length = strlen(o->name);
    return strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, length) == 0 &&
           (word[length + 2] == '=' || word[length + 2] == '\0');
}

bool lm_option_given(const lm_option *o, int argc, char *const *argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) { /* no value begins with two dashes */
        if (is_option(argv[i], o)) return true;
    }
    return false;
}

/* Sets "name=value", the first `length` bytes of `setting`. */
static bool apply_setting(const lm_usage *usage, const char *setting, size_t length, tensor_error *err) {
    char text[MAX_HEAD];
    snprintf(text, sizeof text, "%.*s", (int)length, setting);
    char *value = strchr(text, '=');
    if (value) *value++ = '\0';
    const lm_option *o = find_option(usage, text);
    tensor_error fault = {0};
    if (!o || !value) return tensor_fail(err, "there is no option %s", text);
    return lm_option_set(o, value, &fault) || tensor_fail(err, "%s: %s", text, fault.text);
}

bool lm_options_apply(const lm_usage *usage, const char *settings, tensor_error *err) {
    for (const char *at = settings; *at; at += strspn(at, " ")) {
        const size_t length = strcspn(at, " ");
        if (length > 0 && !apply_setting(usage, at, length, err)) return false;
        at += length;
    }
    return true;
}

/* Makes the settings of the preset that the command line names last. */
static bool parse_presets(const lm_usage *usage, int argc, char *const *argv, tensor_error *err) {
    const lm_option *o = NULL;
    for (int i = 0; (o = lm_option_at(usage, i)) && o->kind != LM_PRESET;) i++;
    if (!o) return true;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) { /* no value begins with two dashes */
        bool ignored;
        if (is_option(argv[i], o) && !parse_option(usage, argc, argv, &i, &ignored, err)) return false;
    }
    const lm_preset *preset = *(const lm_preset **)o->value;
    tensor_error fault = {0};
    return lm_options_apply(usage, preset->settings, &fault) ||
           tensor_fail(err, "the preset %s: %s", preset->name, fault.text);
}

bool lm_options_parse(const lm_usage *usage, int argc, char *const *argv, const char **operand, bool *help,
                      tensor_error *err) {
    bool options_end = false;
    int operands = 0, most = !usage->operand ? 0 : usage->most ? usage->most : 1;
    *help = false;
    for (int i = 0; i < most || i == 0; i++) operand[i] = NULL;
    if (!parse_presets(usage, argc, argv, err)) return false;
    for (int i = 0; i < argc && !*help; i++) {
        const char *word = argv[i];
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strncmp(word, "--", 2) == 0) {
            if (!parse_option(usage, argc, argv, &i, help, err)) return false;
        } else if (!options_end && strcmp(word, "-h") == 0) {
            *help = true;
        } else if (!options_end && word[0] == '-' && word[1]) {
            return tensor_fail(err, "unknown option %.60s; options begin with two dashes", word);
        } else if (operands == most) {
            return tensor_fail(err, "'%.60s' is one argument too many", word);
        } else {
            operand[operands++] = word;
        }
    }
    if (usage->operand && operands == 0 && !*help) return tensor_fail(err, "%s is missing", usage->operand);
    return true;
}

/* "--batch N", "--activation relu|gelu". */
static int option_head(const lm_option *o, char *buffer, size_t size) {
    static const char *const stands[] = {[LM_INTEGER] = " N", [LM_REAL] = " X", [LM_YES_NO] = " yes|no"};
    char names[MAX_HEAD];
    const char *words = o->kind == LM_PRESET ? preset_names(o, names, sizeof names) : o->words;
    const char *what = words ? words : o->kind == LM_FLAG || o->kind == LM_TEXT ? "" : stands[o->kind];
    return snprintf(buffer, size, "--%s%s%s", o->name, words ? " " : "", what);
}

static bool has_default(const lm_option *o) {
    switch (o->kind) {
    case LM_INTEGER:
    case LM_REAL:
        return has_number(o);
    case LM_CHOICE:
    case LM_YES_NO:
    case LM_PRESET:
        return true;
    case LM_TEXT:
        return *(const char **)o->value != NULL;
    case LM_FILES:
    case LM_FLAG:
        break;
    }
    return false;
}

void lm_options_help(const lm_usage *usage, FILE *file) {
    char head[MAX_HEAD], value[MAX_HEAD];
    const lm_option *o;
    bool changeable = false;
    fprintf(file, "usage: %s %s %s%s[options]\n%s\n\n", usage->program, usage->command,
            usage->operand ? usage->operand : "", usage->operand ? " " : "", usage->summary);
    for (int i = 0; (o = lm_option_at(usage, i)); i++) {
        if (option_head(o, head, sizeof head) <= 20)
            fprintf(file, "  %-20s %s", head, o->help);
        else
            fprintf(file, "  %s\n  %20s %s", head, "", o->help);
        if (has_default(o)) fprintf(file, " (default %s)", lm_option_text(o, value, sizeof value));
        fputs(o->resume == LM_CHANGEABLE ? " *\n" : "\n", file);
        changeable |= o->resume == LM_CHANGEABLE;
    }
    fprintf(file, "  %-20s print this and exit\n", "--help");
    if (changeable) fputs("\n* may change when a run is resumed; all else is the checkpoint's\n", file);
}
