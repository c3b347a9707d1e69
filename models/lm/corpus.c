/* Texts, their two parts, and batches drawn from them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/lm.h"

/* Reads a file to its end, whatever it is: a pipe has no size to ask for. */
static bool read_all(FILE *file, lm_text *text, tensor_error *err) {
    size_t capacity = 0;
    for (;;) {
        if (text->size == capacity) {
            capacity = capacity ? 2 * capacity : (size_t)1 << 20;
            char *memory = realloc(text->memory, capacity);
            if (!memory) return tensor_fail(err, "out of memory");
            text->memory = memory;
        }
        size_t got = fread(text->memory + text->size, 1, capacity - text->size, file);
        text->size += got;
        if (got == 0) return !ferror(file) || tensor_fail(err, "cannot be read: %s", strerror(errno));
    }
}

bool lm_text_read(lm_text *text, const char *path, tensor_error *err) {
    *text = (lm_text){0};
    FILE *file = fopen(path, "rb");
    if (!file) return tensor_fail(err, "cannot be opened: %s", strerror(errno));
    struct stat status;
    bool directory = fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode);
    bool ok =
        directory ? tensor_fail(err, "this is a directory, not a text file") : read_all(file, text, err);
    fclose(file);

    text->bytes = text->memory;
    if (ok) {
        text->characters = lm_utf8_count(text->bytes, text->size, err);
        ok = text->characters >= 0;
    }
    if (ok && text->size >= 3 && memcmp(text->bytes, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        text->bytes += 3;
        text->size -= 3;
        text->characters--;
    }
    const char *nul = ok ? memchr(text->bytes, '\0', text->size) : NULL;
    if (ok && text->size == 0) ok = tensor_fail(err, "the file is empty");
    if (nul)
        ok = tensor_fail(err, "byte %zu is 0: this is not a text file", (size_t)(nul - text->memory) + 1);
    if (!ok) lm_text_free(text);
    return ok;
}

void lm_text_free(lm_text *text) {
    free(text->memory);
    *text = (lm_text){0};
}

const char *lm_text_default(tensor_arena *arena, tensor_error *err) {
    static const char *const names[] = {"kalevala.txt", "verses.txt"};
    const char *chosen = getenv("SAMPO_DATA");
    if (chosen && !*chosen) chosen = NULL;
    const char *folders[] = {chosen ? chosen : SAMPO_DATA_DIR, chosen ? chosen : SAMPO_INSTALLED_DATA_DIR};
    for (int i = 0; i < 4; i++) {
        const char *folder = folders[i / 2], *name = names[i % 2];
        size_t size = strlen(folder) + strlen(name) + 2;
        char *path = tensor_arena_alloc(arena, size, err);
        if (!path) return NULL;
        snprintf(path, size, "%s/%s", folder, name);
        if (access(path, F_OK) == 0) return path;
    }
    tensor_fail(err,
                "no text to read: %.120s has neither kalevala.txt nor verses.txt; name one with --data FILE",
                folders[0]);
    return NULL;
}

tensor lm_split_of(tensor tokens, lm_split split, tensor_error *err) {
    int64_t count = tokens.shape[0], train = count / 10 * 9 + count % 10 * 9 / 10; /* 9 count / 10 */
    int64_t begin = split == LM_VALIDATION ? train : 0;
    int64_t end = split == LM_TRAIN ? train : count;
    return tensor_slice(tokens, 0, begin, end, 1, err);
}

tensor_rng lm_rng(uint64_t seed, lm_stream stream, uint64_t index) {
    return (tensor_rng){.seed = seed, .stream = (uint64_t)stream << 56 | index};
}

bool lm_batch_new(lm_batch *batch, int64_t rows, int64_t context, tensor_arena *arena, tensor_error *err) {
    batch->ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    batch->targets = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    return tensor_ok(batch->ids) && tensor_ok(batch->targets);
}

void lm_batch_draw(lm_batch *batch, tensor tokens, tensor_rng rng) {
    int64_t rows = batch->ids.shape[0], context = batch->ids.shape[1];
    size_t bytes = (size_t)context * sizeof(int32_t);
    uint64_t places = (uint64_t)(tokens.shape[0] - context);
    for (int64_t i = 0; i < rows; i++) {
        const int32_t *from = tokens.i32 + tensor_rng_below(&rng, places);
        memcpy(batch->ids.i32 + i * context, from, bytes);
        memcpy(batch->targets.i32 + i * context, from + 1, bytes);
    }
}
