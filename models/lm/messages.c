/* Messages, and what every command begins with: its options, its texts. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/cli/pages.h"
#include "models/lm/lm.h"

static int marks(const char *text) {
    int count = 0;
    for (; *text; text++) count += *text == LM_COMMAND_BEGIN || *text == LM_COMMAND_END;
    return count;
}

/* Takes the marks of LM_COMMAND out, and sets LM_COMMAND_BEGIN for the spaces between them, which fold leaves. */
static void join_commands(char *text) {
    bool command = false;
    char *to = text;
    for (const char *c = text; *c; c++) {
        const bool mark = *c == LM_COMMAND_BEGIN || *c == LM_COMMAND_END;
        if (mark)
            command = *c == LM_COMMAND_BEGIN;
        else
            *to++ = *c == ' ' && command ? LM_COMMAND_BEGIN : *c;
    }
    *to = '\0';
}

static void part_commands(char *text) {
    for (; *text; text++)
        if (*text == LM_COMMAND_BEGIN) *text = ' ';
}

/* Breaks text at its spaces so that its lines fit a terminal, the first one after `used` columns. */
static void fold(char *text, int used, int columns) {
    char *space = NULL;
    int at = used, since = 0; /* columns so far, and those behind the last space */
    for (char *c = text; *c; c++) {
        if (((unsigned char)*c & 0xc0) == 0x80) continue; /* within a character of UTF-8 */
        if (*c == ' ') space = c, since = 0;
        at++, since++;
        if (at < columns || !space) continue;
        *space = '\n';
        at = since + 1;
        space = NULL;
    }
}

static void say(const lm_model *model, const char *format, va_list args) {
    char text[8192]; /* holds any path */
    vsnprintf(text, sizeof text, format, args);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\t') *c = '?';         /* a name with a newline stays one line */
    const bool commands = marks(text) == marks(format); /* else a name has such bytes, which show as ? */
    if (commands) join_commands(text);
    if (isatty(STDERR_FILENO)) fold(text, (int)strlen(model->name) + 2, lm_columns());
    if (commands) part_commands(text);
    fprintf(stderr, "%s: ", model->name);
    for (char *part = text, *end; part; part = end) {
        if ((end = strchr(part, '\n'))) *end++ = '\0';
        lm_visible(stderr, part, INT_MAX, true);
        fputs(end ? "\n  " : "\n", stderr); /* what goes on stands further in */
    }
}

const char *lm_quoted(const char *word, char *buffer, size_t size) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    if (*word && word[strspn(word, plain)] == '\0') return word;
    size_t used = 0;
    if (size > 4) buffer[used++] = '\'';
    for (; *word && used + 6 < size; word++)
        used += (size_t)snprintf(buffer + used, size - used, *word == '\'' ? "'\\''" : "%c", *word);
    snprintf(buffer + used, size - used, "'");
    return buffer;
}

void lm_say(const lm_model *model, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(model, format, args);
    va_end(args);
}

int lm_fail(const lm_model *model, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(model, format, args);
    va_end(args);
    return LM_FAILED;
}

bool lm_wants_memory(const tensor_error *err) {
    return strstr(err->text, "out of memory");
}

/* What prints a command's options: main.c asks for all but the first. */
static const struct {
    const char *word;
    void (*print)(const lm_usage *usage, FILE *file);
} forms[] = {{"--help", lm_options_help},
             {"--help=man", lm_options_man},
             {"--help=bash", lm_options_bash},
             {"--help=zsh", lm_options_zsh}};

static int print_options(const lm_model *model, const lm_usage *usage, int form) {
    tensor_error err = {0};
    lm_usage typed = *usage;
    typed.program = lm_typed(model);
    forms[form].print(&typed, stdout);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

void lm_table_line(const lm_cell *cells, int count, const char *name, int columns) {
    const int share = columns * 2 / 5;
    int used = 0;
    for (int i = 0; i < count; used += cells[i++].width + 2) {
        if (i > 0 && used + cells[i].width + 2 + share > columns) break;
        printf("%*s  ", cells[i].width, name ? cells[i].text : cells[i].title);
    }
    const char *shown = name ? name : "checkpoint";
    int64_t left_out = lm_utf8_count(shown, strlen(shown), NULL) - (columns - used);
    if (left_out > 0) { /* of folders, the ends tell them apart */
        fputs("...", stdout);
        used += 3;
        for (left_out += 3; left_out > 0 && *shown; left_out--) do
                shown++;
            while ((*shown & 0xc0) == 0x80);
    }
    lm_visible(stdout, shown, columns - used, true);
    putchar('\n');
}

int lm_begin(const lm_model *model, const lm_usage *usage, int argc, char *const *argv, const char **operand,
             const int64_t *threads) {
    tensor_error err = {0};
    bool help;
    for (int i = 1; argc == 1 && i < (int)(sizeof forms / sizeof *forms); i++)
        if (strcmp(argv[0], forms[i].word) == 0) return print_options(model, usage, i);
    if (!lm_options_parse(usage, argc, argv, operand, &help, &err)) {
        const bool named = *usage->command;
        lm_say(model, "%s%s%s (" LM_COMMAND("%s%s%s --help") " lists the options)", usage->command,
               named ? ": " : "", err.text, lm_typed(model), named ? " " : "", usage->command);
        return LM_BAD_USAGE;
    }
    if (help) return print_options(model, usage, 0);
    if (!tensor_isa_check(&err) || !tensor_threads_check(&err)) {
        lm_say(model, "%s", err.text);
        return LM_BAD_USAGE;
    }
    if (*threads > 0 && !tensor_set_threads((int)*threads, &err)) return lm_fail(model, "%s", err.text);
    return -1;
}

/* Nothing where a name is none that a checkpoint can keep so. */
static const char *join_paths(const lm_paths *data, tensor_arena *arena, tensor_error *err) {
    size_t size = 1;
    for (int i = 0; i < data->count; i++) {
        const char *path = data->paths[i];
        if (strchr(path, '\n') || lm_utf8_count(path, strlen(path), NULL) < 0) return "";
        size += strlen(path) + 1;
    }
    char *joined = tensor_arena_alloc(arena, size, err), *at = joined;
    if (joined) *joined = '\0';
    for (int i = 0; joined && i < data->count; i++)
        at += snprintf(at, size - (size_t)(at - joined), "%s%s", i > 0 ? "\n" : "", data->paths[i]);
    return joined;
}

bool lm_name_texts(const lm_model *model, lm_paths *data, tensor_arena *arena, tensor_error *err) {
    if (data->count == 0) {
        if (!(data->paths[0] = lm_text_default(arena, err))) return false;
        data->count = 1;
        lm_say(model, "reading %s; --data FILE names another text", data->paths[0]);
    }
    const char *first = data->paths[0];
    data->name = data->count > 1 ? "the texts" : strcmp(first, "-") == 0 ? "standard input" : first;
    data->joined = join_paths(data, arena, err);
    return data->joined != NULL;
}

/* Copies all texts into a file and opens that. *name becomes the one that a fault is of. */
static bool join_texts(lm_text *text, const lm_paths *data, lm_tokenizer_kind kind, const char **name,
                       tensor_error *err) {
    const int fd = lm_temporary(err);
    bool ok = fd >= 0;
    for (int i = 0; ok && i < data->count; i++) {
        ok = lm_text_read(text, data->paths[i], kind, err) && lm_write_all(fd, text->bytes, text->size, err);
        lm_text_free(text);
        if (!ok) *name = data->paths[i];
    }
    if (ok && lseek(fd, 0, SEEK_SET) != 0) ok = tensor_fail(err, "cannot be read: %s", strerror(errno));
    ok = ok && lm_text_map(text, fd, kind, err);
    if (fd >= 0) close(fd);
    return ok;
}

int lm_open_text(const lm_model *model, lm_text *text, lm_paths *data, lm_tokenizer_kind kind,
                 tensor_arena *arena) {
    tensor_error err = {0};
    if (!lm_name_texts(model, data, arena, &err)) return lm_fail(model, "%s", err.text);
    const char *name = data->name;
    lm_busy *busy = lm_busy_begin(model->name, "reading the text");
    const bool ok = data->count > 1 ? join_texts(text, data, kind, &name, &err)
                                    : lm_text_read(text, data->paths[0], kind, &err);
    lm_busy_end(busy); /* before the fault: it takes its line off the terminal */
    return ok ? LM_DONE : lm_fail(model, "%s: %s", name, err.text);
}
