/* Messages, and what every command begins with: its options, its texts. */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/lm.h"

static void say(const lm_model *model, const char *format, va_list args) {
    char text[8192], line[2 * sizeof text], shown[12]; /* hold any path */
    size_t used = 0;
    vsnprintf(text, sizeof text, format, args);
    for (const char *c = text, *end = text + strlen(text); c < end;) {
        uint32_t code = (unsigned char)*c; /* what is no UTF-8 is shown byte by byte */
        const int length = lm_utf8_decode(c, (size_t)(end - c), &code);
        const size_t size = length > 0 ? (size_t)length : 1;
        const char *part = lm_control_shown(code, shown); /* a name with a newline stays one line */
        if (used + sizeof shown > sizeof line) break;
        if (part)
            used += (size_t)snprintf(line + used, sizeof line - used, "%s", part);
        else
            memcpy(line + used, c, size), used += size;
        c += size;
    }
    fprintf(stderr, "%s: %.*s\n", model->name, (int)used, line);
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

int lm_begin(const lm_model *model, const lm_usage *usage, int argc, char *const *argv, const char **operand,
             const int64_t *threads) {
    tensor_error err = {0};
    bool help;
    if (!lm_options_parse(usage, argc, argv, operand, &help, &err)) {
        lm_say(model, "%s: %s (%s %s --help lists the options)", usage->command, err.text, usage->program,
               usage->command);
        return LM_BAD_USAGE;
    }
    if (help) {
        lm_options_help(usage, stdout);
        return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
    }
    if (!tensor_isa_check(&err) || !tensor_threads_check(&err)) {
        lm_say(model, "%s", err.text);
        return LM_BAD_USAGE;
    }
    if (*threads > 0 && !tensor_set_threads((int)*threads, &err)) return lm_fail(model, "%s", err.text);
    return -1;
}

static const char *join_paths(const lm_paths *data, tensor_arena *arena, tensor_error *err) {
    size_t size = 1;
    for (int i = 0; i < data->count; i++) size += strlen(data->paths[i]) + 1;
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

/* Copies all texts into a file and opens that. */
static int join_texts(const lm_model *model, lm_text *text, const lm_paths *data, lm_tokenizer_kind kind) {
    tensor_error err = {0};
    int fd = lm_temporary(&err), status = LM_DONE;
    if (fd < 0) return lm_fail(model, "%s", err.text);
    for (int i = 0; status == LM_DONE && i < data->count; i++) {
        bool ok =
            lm_text_read(text, data->paths[i], kind, &err) && lm_write_all(fd, text->bytes, text->size, &err);
        lm_text_free(text);
        if (!ok) status = lm_fail(model, "%s: %s", data->paths[i], err.text);
    }
    if (status == LM_DONE && (lseek(fd, 0, SEEK_SET) != 0 || !lm_text_map(text, fd, kind, &err)))
        status = lm_fail(model, "%s: %s", data->name, err.text);
    close(fd);
    return status;
}

int lm_open_text(const lm_model *model, lm_text *text, lm_paths *data, lm_tokenizer_kind kind,
                 tensor_arena *arena) {
    tensor_error err = {0};
    if (!lm_name_texts(model, data, arena, &err)) return lm_fail(model, "%s", err.text);
    if (data->count > 1) return join_texts(model, text, data, kind);
    return lm_text_read(text, data->paths[0], kind, &err) ? LM_DONE
                                                          : lm_fail(model, "%s: %s", data->name, err.text);
}
