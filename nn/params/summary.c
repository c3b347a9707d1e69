/* A model as a table. */
#include <inttypes.h>
#include <string.h>

#include "nn/params/params.h"

/* 160051 as "160,051". */
static const char *grouped(char text[32], int64_t number) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, number);
    int to = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

bool nn_summary(FILE *file, const nn_params *params) {
    if (!file || !params) return false;
    int width = (int)sizeof "parameter" - 1, count = 0;
    int64_t numbers = 0, frozen = 0;
    char text[32], shape[TENSOR_SHAPE_TEXT];
    for (int i = 0; i < params->count; i++) {
        const int length = (int)strlen(params->entries[i].name);
        width = length > width ? length : width;
    }
    fprintf(file, "%-*s  %-20s %14s\n", width, "parameter", "shape", "numbers");
    for (int i = 0; i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        const tensor *value = &entry->parameter->value;
        tensor_shape_text(shape, sizeof shape, value->rank, value->shape);
        if (entry->alias) {
            fprintf(file, "%-*s  %-20s %14s %s\n", width, entry->name, shape, "is", entry->parameter->name);
            continue;
        }
        const int64_t size = nn_size_of(value);
        fprintf(file, "%-*s  %-20s %14s%s%s\n", width, entry->name, shape, grouped(text, size),
                entry->buffer   ? " buffer"
                : entry->frozen ? " frozen"
                                : "",
                entry->compact.data ? " compact" : "");
        if (entry->buffer) continue;
        count++;
        numbers += size;
        if (entry->frozen) frozen += size;
    }
    fprintf(file, "%s numbers in %d parameter%s", grouped(text, numbers), count, count == 1 ? "" : "s");
    if (frozen > 0) fprintf(file, ", %s of them frozen", grouped(text, frozen));
    putc('\n', file);
    return !ferror(file);
}
