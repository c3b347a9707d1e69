/* How a run was made: its run.txt, a paragraph a start. */
#include <errno.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* Notes a line "key value"; of commands all, of the rest what stands first or last. */
static void note(lm_record *r, char *line) {
    char *value = strchr(line, ' ');
    if (!value) return;
    *value++ = '\0';
    if (strcmp(line, "started") == 0) {
        if (!r->started) r->started = value;
        r->last_started = value;
        r->starts++;
    } else if (strcmp(line, "command") == 0) {
        if (!r->command) r->command = value;
        r->last_command = value;
    } else if (strcmp(line, "processor") == 0) {
        r->processor = value;
    } else if (strcmp(line, "threads") == 0) {
        r->threads = value;
    } else if (strcmp(line, "instructions") == 0) {
        r->instructions = value;
    }
}

bool lm_record_read(lm_record *r, const char *path, tensor_arena *arena, tensor_error *err) {
    enum { MOST = 1 << 20 };
    *r = (lm_record){0};
    FILE *file = fopen(path, "r");
    if (!file)
        return errno == ENOENT || tensor_fail(err, "%.150s: cannot be opened: %s", path, strerror(errno));
    char *text = tensor_arena_alloc(arena, MOST + 1, err);
    const size_t size = text ? fread(text, 1, MOST, file) : 0;
    const bool ok =
        text && (!ferror(file) || tensor_fail(err, "%.150s: cannot be read: %s", path, strerror(errno)));
    fclose(file);
    if (!ok) return false;
    text[size] = '\0';
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (end > line && end[-1] == '\r') end[-1] = '\0';
        note(r, line);
    }
    return true;
}
