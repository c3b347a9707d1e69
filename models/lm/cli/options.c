/* Options: their values, from text and to text. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/cli_internal.h"

/* A large power of ten as people write it, 1e12. */
static char *integer_text(int64_t x, char text[32]) {
    int zeros = 0;
    int64_t rest = x;
    for (; rest >= 10 && rest % 10 == 0; rest /= 10) zeros++;
    if (zeros >= 6 && rest < 10)
        snprintf(text, 32, "%" PRId64 "e%d", rest, zeros);
    else
        snprintf(text, 32, "%" PRId64, x);
    return text;
}

const char *lm_word(const char *words, int64_t i, int *length) {
    for (; i > 0 && words; i--) {
        words = strchr(words, '|');
        if (words) words++;
    }
    if (words) *length = (int)strcspn(words, "|");
    return words;
}

char *lm_plain_number(char *text) {
    char *e = strchr(text, 'e');
    if (!e) return text;
    const size_t sign = e[1] == '-' ? 2 : 1, skipped = strspn(e + sign, "+0");
    memmove(e + sign, e + sign + skipped, strlen(e + sign + skipped) + 1);
    return text;
}

static char *real_text(double x, char text[32]) {
    snprintf(text, 32, "%g", x);
    return lm_plain_number(text);
}

static bool is_number(const char *text, const char *end) {
    const bool starts = *text == '-' || *text == '+' || *text == '.' || (*text >= '0' && *text <= '9');
    return starts && end > text && !*end && !strpbrk(text, "xX");
}

/* 5000, or 5e3: exactly that. */
static bool set_integer(const lm_option *o, const char *text, tensor_error *err) {
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (*end == '.' || *end == 'e' || *end == 'E') {
        const double real = strtod(text, &end);
        const bool exact = fabs(real) < 1e15;
        if (strpbrk(text, "eE") && (!exact || real == floor(real))) {
            x = exact ? (long long)real : 0;
            errno = exact ? 0 : ERANGE;
        } else {
            end = (char *)text; /* 1.5 */
        }
    }
    char least[32], most[32];
    if (!is_number(text, end)) return tensor_fail(err, "'%.60s' is not a whole number", text);
    if (errno == ERANGE || x < o->least || x > o->most)
        return tensor_fail(err, "%.60s is out of range: %s to %s", text, integer_text(o->least, least),
                           integer_text(o->most, most));
    *(int64_t *)o->value = x;
    return true;
}

static bool set_real(const lm_option *o, const char *text, tensor_error *err) {
    char *end, low[32], high[32];
    const double x = strtod(text, &end);
    if (!is_number(text, end)) return tensor_fail(err, "'%.60s' is not a number", text);
    if (!(x >= o->low && x <= o->high))
        return tensor_fail(err, "%.60s is out of range: %s to %s", text, real_text(o->low, low),
                           real_text(o->high, high));
    *(double *)o->value = x;
    return true;
}

/* Whether a number has been given, or has a default. */
static bool has_number(const lm_option *o) {
    if (o->kind == LM_INTEGER) return *(int64_t *)o->value >= o->least && *(int64_t *)o->value <= o->most;
    return *(double *)o->value >= o->low && *(double *)o->value <= o->high;
}

/* What is none of the words; with the one that it resembles. */
static bool no_word(const char *text, const char *words, tensor_error *err) {
    char copy[LM_MAX_WORDS];
    const char *list[LM_MAX_CHOICES];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *at = copy; at && count < LM_MAX_CHOICES; count++) {
        list[count] = at;
        if ((at = strchr(at, '|'))) *at++ = '\0';
    }
    const char *nearest = lm_nearest(text, list, count);
    return tensor_fail(err, "'%.60s' is none of %s%s%s%s", text, words, nearest ? "; did you mean " : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

static bool set_choice(const lm_option *o, const char *text, tensor_error *err) {
    int length;
    const char *word;
    for (int64_t i = 0; (word = lm_word(o->words, i, &length)); i++) {
        if (strlen(text) == (size_t)length && memcmp(word, text, (size_t)length) == 0) {
            *(int64_t *)o->value = i;
            return true;
        }
    }
    return no_word(text, o->words, err);
}

bool lm_yes(const char *text, bool *yes, tensor_error *err) {
    *yes = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    return *yes || strcmp(text, "no") == 0 || strcmp(text, "false") == 0 ||
           tensor_fail(err, "'%.60s' is neither yes nor no", text);
}

const char *lm_option_words(const lm_option *o, char buffer[LM_MAX_WORDS]) {
    if (o->kind == LM_YES_NO) return "yes|no";
    if (o->kind != LM_PRESET) return o->words;
    size_t used = 0;
    buffer[0] = '\0';
    for (const lm_preset *p = o->presets; p->name && used < LM_MAX_WORDS; p++)
        used += (size_t)snprintf(buffer + used, LM_MAX_WORDS - used, "%s%s", used ? "|" : "", p->name);
    return buffer;
}

static bool set_preset(const lm_option *o, const char *text, tensor_error *err) {
    char words[LM_MAX_WORDS];
    for (const lm_preset *p = o->presets; p->name; p++) {
        if (strcmp(p->name, text) != 0) continue;
        *(const lm_preset **)o->value = p;
        return true;
    }
    return no_word(text, lm_option_words(o, words), err);
}

static bool add_path(lm_paths *files, const char *path, tensor_error *err) {
    if (files->count == LM_MAX_FILES) return tensor_fail(err, "names more than %d files", LM_MAX_FILES);
    files->paths[files->count++] = path;
    return true;
}

bool lm_option_set(const lm_option *o, const char *text, tensor_error *err) {
    bool yes;
    switch (o->kind) {
    case LM_INTEGER:
        return set_integer(o, text, err);
    case LM_REAL:
        return set_real(o, text, err);
    case LM_CHOICE:
        return set_choice(o, text, err);
    case LM_YES_NO:
        if (!lm_yes(text, &yes, err)) return false;
        *(bool *)o->value = yes;
        return true;
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

void lm_option_take_away(const lm_option *o) {
    if (o->kind == LM_INTEGER && o->least > 0) *(int64_t *)o->value = 0;
    if (o->kind == LM_REAL && o->low > 0) *(double *)o->value = 0;
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
        text = lm_word(o->words, *(int64_t *)o->value, &length);
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

bool lm_option_has_value(const lm_option *o) {
    char text[LM_MAX_WORDS];
    return o->value && o->kind != LM_FLAG && o->kind != LM_FILES && *lm_option_text(o, text, sizeof text);
}
