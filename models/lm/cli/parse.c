/* The command line: which options it gives, and what it names beside them. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/cli/cli_internal.h"

const lm_option *lm_option_at(const lm_usage *usage, int i) {
    for (int table = 0; table < 2; table++) {
        for (const lm_option *o = usage->options[table]; o && o->name; o++) {
            if (i-- == 0) return o;
        }
    }
    return NULL;
}

static const lm_option *find_in(const lm_option *table, const char *name) {
    for (const lm_option *o = table; o && o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

const lm_option *lm_find_option(const lm_usage *usage, const char *name) {
    const lm_option *o = find_in(usage->options[0], name);
    if (!o) o = find_in(usage->options[1], name);
    return o ? o : find_in(lm_common_options, name);
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* A command line being read. What a configuration file says comes first, each word behind another that names its place,
 * "--config=run.conf, line 3" "--lr=0.1". */
typedef struct reader {
    int argc, at;
    char *const *argv;
    const char *place; /* of the present word; NULL: the command line itself */
    int begin;         /* of the command line's own words */
} reader;

static const char mark[] = "--config=";

bool lm_is_place(const char *word) {
    return strncmp(word, mark, strlen(mark)) == 0;
}

static reader read_words(int argc, char *const *argv) {
    reader r = {.argc = argc, .argv = argv};
    while (r.begin + 1 < argc && lm_is_place(argv[r.begin])) r.begin += 2;
    return r;
}

/* The next word; NULL: there are no more. */
static const char *next(reader *r) {
    r->place = r->at < r->begin ? r->argv[r->at++] + strlen(mark) : NULL;
    return r->at < r->argc ? r->argv[r->at++] : NULL;
}

/* Whether a word is this option: "--name" or "--name=value". */
static bool is_option(const char *word, const lm_option *o) {
    const size_t length = strlen(o->name);
    return strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, length) == 0 &&
           (word[length + 2] == '=' || word[length + 2] == '\0');
}

/* Whether one of the words that are still to come is this option. */
static bool given(const lm_option *o, reader r) {
    for (const char *word;
         (word = next(&r)) && strcmp(word, "--") != 0;) /* no value begins with two dashes */
        if (is_option(word, o)) return true;
    return false;
}

/* Whether the command line gives it itself. */
static bool given_by_hand(const lm_option *o, reader r) {
    r.at = r.begin;
    return given(o, r);
}

bool lm_option_given(const lm_option *o, int argc, char *const *argv) {
    return given(o, read_words(argc, argv));
}

/* ---- Options --------------------------------------------------------------------------------- */

/* Sets the option from what stands behind its "="; NULL: from the next word. */
static bool take_value(reader *r, const lm_option *o, const char *value, tensor_error *err) {
    tensor_error fault = {0};
    bool yes = true;
    if (o->kind == LM_FLAG) {
        if (value && !r->place) return tensor_fail(err, "--%s takes no value", o->name);
        if (value && !lm_yes(value, &yes, &fault)) return tensor_fail(err, "--%s %s", o->name, fault.text);
        *(bool *)o->value = yes;
        return true;
    }
    const bool follows = !r->place && r->at < r->argc && strncmp(r->argv[r->at], "--", 2) != 0;
    if (!value && follows) value = r->argv[r->at++];
    if (!value || (!*value && o->kind != LM_TEXT)) return tensor_fail(err, "--%s needs a value", o->name);
    if (!*value && (strcmp(o->words, "FILE") == 0 || strcmp(o->words, "DIR") == 0))
        return tensor_fail(err, "--%s needs the name of a %s", o->name, *o->words == 'D' ? "folder" : "file");
    return lm_option_set(o, value, &fault) || tensor_fail(err, "--%s %s", o->name, fault.text);
}

/* One option: "--name", "--name=value" or "--name" "value". */
static bool parse_option(const lm_usage *usage, reader *r, const char *word, bool *help, tensor_error *err) {
    char name[LM_MAX_WORDS];
    tensor_error fault = {0};
    size_t length = strcspn(word, "=");
    if (length >= sizeof name) length = sizeof name - 1;
    memcpy(name, word, length);
    name[length] = '\0';
    const char *value = strchr(word, '=');
    const lm_option *o = strncmp(name, "--", 2) == 0 ? lm_find_option(usage, name + 2) : NULL;
    bool ok = true;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        *help = true;
    else if (!o || !o->value)
        ok = lm_unknown_option(usage, name, &fault);
    else if (!r->place || !given_by_hand(o, *r)) /* the command line overrides files, also those of --data */
        ok = take_value(r, o, value ? value + 1 : NULL, &fault);
    if (ok) return true;
    return tensor_fail(err, "%s%s%s", r->place ? r->place : "", r->place ? ": " : "", fault.text);
}

/* Sets "name=value", the first `length` bytes of `setting`. */
static bool apply_setting(const lm_usage *usage, const char *setting, size_t length, tensor_error *err) {
    char text[LM_MAX_WORDS];
    snprintf(text, sizeof text, "%.*s", (int)length, setting);
    char *value = strchr(text, '=');
    if (value) *value++ = '\0';
    const lm_option *o = lm_find_option(usage, text);
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
static bool parse_presets(const lm_usage *usage, reader r, tensor_error *err) {
    const lm_option *o = NULL;
    for (int i = 0; (o = lm_option_at(usage, i)) && o->kind != LM_PRESET;) i++;
    if (!o) return true;
    for (const char *word;
         (word = next(&r)) && strcmp(word, "--") != 0;) { /* no value begins with two dashes */
        bool ignored;
        if (is_option(word, o) && !parse_option(usage, &r, word, &ignored, err)) return false;
    }
    const lm_preset *preset = *(const lm_preset **)o->value;
    tensor_error fault = {0};
    return lm_options_apply(usage, preset->settings, &fault) ||
           tensor_fail(err, "the preset %s: %s", preset->name, fault.text);
}

static bool refuse_operand(const lm_usage *usage, const char *word, tensor_error *err) {
    const char *option = usage->operand ? "prompt" : "data"; /* what people write without its name */
    const bool no_file = access(word, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
    if (!lm_find_option(usage, option) || (!usage->operand && no_file))
        return tensor_fail(err, "'%.60s' is one argument too many", word);
    return tensor_fail(err, "'%.60s' is one argument too many; did you mean --%s '%.60s'?", word, option,
                       word);
}

/* The fault of a command line without its operand: "FILE [DIR]", "DIR...", "bash|zsh". */
static bool miss_operand(const char *operand, tensor_error *err) {
    char words[LM_MAX_WORDS];
    size_t used = 0;
    if (isupper((unsigned char)*operand))
        return tensor_fail(err, "no %s is named", strncmp(operand, "DIR", 3) == 0 ? "folder" : "file");
    for (const char *c = operand; *c && used < sizeof words; c++)
        used += (size_t)snprintf(words + used, sizeof words - used, *c == '|' ? " or " : "%c", *c);
    return tensor_fail(err, "say which: %s", words);
}

bool lm_options_parse(const lm_usage *usage, int argc, char *const *argv, const char **operand, bool *help,
                      tensor_error *err) {
    bool options_end = false;
    int operands = 0, most = !usage->operand ? 0 : usage->most ? usage->most : 1;
    reader r = read_words(argc, argv);
    *help = false;
    for (int i = 0; i < most || i == 0; i++) operand[i] = NULL;
    if (!parse_presets(usage, r, err)) return false;
    for (const char *word; !*help && (word = next(&r));) {
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && word[0] == '-' && word[1]) {
            if (!parse_option(usage, &r, word, help, err)) return false;
        } else if (operands == most) {
            return refuse_operand(usage, word, err);
        } else {
            if (!*word) return tensor_fail(err, "an argument is empty, and names nothing");
            operand[operands++] = word;
        }
    }
    if (usage->operand && operands == 0 && !*help) return miss_operand(usage->operand, err);
    return true;
}
