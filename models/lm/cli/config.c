/* Options from a file, one a line: "lr = 0.003", "lr 0.003", "watch"; "#" begins a comment. They become words of the
 * command line, before its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/cli_internal.h"

enum { MAX_LINE = 4096, MAX_PLACE = 4096 };

static int no_memory(tensor_error *err) {
    tensor_fail(err, "out of memory");
    return LM_FAILED;
}

static int add_word(lm_words *words, const char *text, bool owned, tensor_error *err) {
    if ((words->argc & (words->argc + 1)) == 0) { /* 1, 3, 7, ...: it is full */
        char **more = realloc(words->argv, 2 * (size_t)(words->argc + 1) * sizeof *more);
        if (!more) return no_memory(err);
        words->argv = more;
    }
    char *word = owned ? strdup(text) : (char *)text;
    if (!word) return no_memory(err);
    words->argv[words->argc++] = word;
    words->argv[words->argc] = NULL;
    if (owned) words->made = words->argc;
    return LM_DONE;
}

void lm_words_free(lm_words *words) {
    for (int i = 0; i < words->made; i++) free(words->argv[i]);
    free(words->argv);
    *words = (lm_words){0};
}

/* Reads a line into `line`, without its end; false at the end of the file, and with a fault. */
static bool read_line(FILE *file, char line[MAX_LINE], tensor_error *err) {
    int c, length = 0;
    errno = 0;
    while ((c = getc(file)) != EOF && c != '\n') {
        if (c == '\0') return tensor_fail(err, "there is a NUL byte in it: this is not a text file");
        if (length == MAX_LINE - 1) return tensor_fail(err, "it is longer than %d bytes", MAX_LINE - 1);
        line[length++] = (char)c;
    }
    line[length] = '\0';
    if (ferror(file)) return tensor_fail(err, "cannot be read: %s", strerror(errno ? errno : EIO));
    return c == '\n' || length > 0;
}

static const char blank[] = " \t\r";

/* The value in what stands behind a name, cut off in place: in quotes, or up to a comment. */
static char *value_in(char *text, tensor_error *err) {
    if (*text == '"' || *text == '\'') {
        char *end = strchr(text + 1, *text), *rest = end ? end + 1 + strspn(end + 1, blank) : NULL;
        if (!end || (*rest && *rest != '#')) return tensor_fail(err, "its quotes do not match"), NULL;
        *end = '\0';
        return text + 1;
    }
    char *end = text;
    for (; *end && !(*end == '#' && (end == text || strchr(blank, end[-1]))); end++) continue;
    while (end > text && strchr(blank, end[-1])) end--;
    *end = '\0';
    return text;
}

/* Makes "--name=value" of a line, an empty word of one that says nothing. */
static bool word_of(char *line, char word[MAX_LINE + 4], tensor_error *err) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    *word = '\0';
    line += strspn(line, blank);
    if (!*line || *line == '#') return true;
    if (strncmp(line, "--", 2) == 0) line += 2;
    const size_t length = strspn(line, letters);
    char *rest = line + length + strspn(line + length, blank);
    if (length == 0 || (rest == line + length && *rest && *rest != '='))
        return tensor_fail(err, "'%.60s' is not of the form name = value", line);
    if (length == 6 && memcmp(line, "config", 6) == 0)
        return tensor_fail(err, "a file of options cannot name another one");
    const bool assigned = *rest == '=';
    const char *value = value_in(assigned ? rest + 1 + strspn(rest + 1, blank) : rest, err);
    if (!value) return false;
    snprintf(word, MAX_LINE + 4, "--%.*s%s%s", (int)length, line, assigned || *value ? "=" : "", value);
    return true;
}

/* Adds the words of a file, each behind its place. */
static int add_file(lm_words *words, const char *path, tensor_error *err) {
    char line[MAX_LINE], word[MAX_LINE + 4], place[MAX_PLACE];
    tensor_error fault = {0};
    FILE *file = fopen(path, "r");
    int status = LM_DONE, number = 1;
    if (!file) {
        status = errno == ENOENT ? LM_BAD_USAGE : LM_FAILED;
        tensor_fail(err, "%.100s: cannot be opened: %s", path, strerror(errno));
        return status;
    }
    for (; status == LM_DONE && read_line(file, line, &fault); number++) {
        const bool marked = number == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0;
        if (!word_of(line + (marked ? 3 : 0), word, &fault)) break;
        if (!*word) continue;
        snprintf(place, sizeof place, "--config=%s, line %d", path, number);
        status = add_word(words, place, true, &fault);
        if (status == LM_DONE) status = add_word(words, word, true, &fault);
    }
    const bool unread = ferror(file);
    if (status == LM_DONE && fault.text[0]) status = unread && errno != EISDIR ? LM_FAILED : LM_BAD_USAGE;
    fclose(file);
    if (status != LM_DONE && unread)
        tensor_fail(err, "%.100s: %s", path, fault.text);
    else if (status != LM_DONE)
        tensor_fail(err, "%.100s, line %d: %s", path, number, fault.text);
    return status;
}

/* The file that the option --config at *i names, "" where the name is missing; NULL: there is another word. Leaves *i at
 * the last word of it. */
static const char *config_at(int argc, char *const *argv, int *i) {
    static const char name[] = "--config";
    const char *behind = argv[*i] + sizeof name - 1;
    if (strncmp(argv[*i], name, sizeof name - 1) != 0 || (*behind && *behind != '=')) return NULL;
    if (*behind) return behind + 1;
    ++*i;
    return *i < argc && strncmp(argv[*i], "--", 2) != 0 ? argv[*i] : "";
}

int lm_config_expand(lm_words *words, int argc, char *const *argv, tensor_error *err) {
    *words = (lm_words){.argv = calloc(1, sizeof *words->argv)};
    int status = words->argv ? LM_DONE : no_memory(err);
    for (int pass = 0; pass < 2; pass++) { /* the files; then what else there is */
        bool end = false;
        for (int i = 0; status == LM_DONE && i < argc; i++) {
            end |= strcmp(argv[i], "--") == 0;
            const char *word = argv[i], *path = end ? NULL : config_at(argc, argv, &i);
            if (path && !*path) return tensor_fail(err, "--config needs the name of a file"), LM_BAD_USAGE;
            if (path && pass == 0) status = add_file(words, path, err);
            if (!path && pass == 1) status = add_word(words, word, false, err);
        }
    }
    return status;
}
