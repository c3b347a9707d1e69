/* What is in an open file: its tensors and metadata by name, and how they are changed before parameters are loaded. */
#include "nn/files/files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- Order ---------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const nn_entry *const *)a)->name, (*(const nn_entry *const *)b)->name);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const nn_metadata *)a)->key, ((const nn_metadata *)b)->key);
}

static bool sort_names(nn_file *file, tensor_error *err) {
    const size_t bytes = (size_t)file->count * sizeof *file->by_name;
    file->by_name = tensor_arena_alloc(file->arena, bytes, NULL);
    if (!file->by_name) return nn_file_fail(err, file->path, "out of memory: %zu bytes", bytes);
    for (int i = 0; i < file->count; i++) file->by_name[i] = &file->entries[i];
    qsort(file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    for (int i = 1; i < file->count; i++)
        if (compare_names(&file->by_name[i - 1], &file->by_name[i]) == 0)
            return nn_file_fail(err, file->path, "tensor %s comes twice", NN_QUOTED(file->by_name[i]->name));
    return true;
}

static bool sort_keys(nn_file *file, tensor_error *err) {
    if (file->metadata_count)
        qsort(file->metadata, (size_t)file->metadata_count, sizeof *file->metadata, compare_keys);
    for (int i = 1; i < file->metadata_count; i++)
        if (compare_keys(&file->metadata[i - 1], &file->metadata[i]) == 0)
            return nn_file_fail(err, file->path, "metadata %s comes twice", NN_QUOTED(file->metadata[i].key));
    return true;
}

bool nn_file_sort(nn_file *file, tensor_error *err) {
    return sort_names(file, err) && sort_keys(file, err);
}

/* ---- Look-ups ------------------------------------------------------------------------------- */

void nn_file_close(nn_file *file) {
    for (nn_file *next; file; file = next) {
        next = file->next;
        if (file->map) munmap(file->map, file->map_bytes);
        tensor_arena_free(file->arena);
    }
}

const char *nn_file_path(const nn_file *file) {
    return file->path;
}

const char *nn_file_metadata(const nn_file *file, const char *key) {
    if (!file || !key || file->metadata_count == 0) return NULL;
    const nn_metadata *found = bsearch(&(nn_metadata){.key = key}, file->metadata,
                                       (size_t)file->metadata_count, sizeof *file->metadata, compare_keys);
    return found ? found->value : NULL;
}

int nn_file_metadata_count(const nn_file *file) {
    return file ? file->metadata_count : 0;
}

const nn_metadata *nn_file_metadata_at(const nn_file *file, int i) {
    return &file->metadata[i];
}

int nn_file_entries(const nn_file *file) {
    return file ? file->count : 0;
}

const nn_entry *nn_file_at(const nn_file *file, int i) {
    return &file->entries[i];
}

const nn_entry *nn_file_find(const nn_file *file, const char *name) {
    if (!file || !name || file->count == 0) return NULL;
    const nn_entry *key = &(nn_entry){.name = name};
    const nn_entry **found =
        bsearch(&key, file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

/* ---- Changes -------------------------------------------------------------------------------- */

/* Whether there is a file, which may not have been opened, and the name, for which memory may have been out. */
static bool expect(const nn_file *file, const void *name, tensor_error *err) {
    if (!file) return tensor_fail(err, "no file to change");
    return name || nn_file_fail(err, file->path, "no name is given");
}

bool nn_file_strip(nn_file *file, const char *prefix, tensor_error *err) {
    if (!expect(file, prefix, err)) return false;
    const size_t length = strlen(prefix);
    for (int i = 0; i < file->count; i++)
        if (strncmp(file->entries[i].name, prefix, length) == 0) file->entries[i].name += length;
    return sort_names(file, err);
}

bool nn_file_join(nn_file *file, nn_file *part, tensor_error *err) {
    if (!file || !part) {
        nn_file_close(part);
        return tensor_fail(err, "no file to join");
    }
    for (const nn_file *a = file; a; a = a->next)
        for (const nn_file *b = part; b; b = b->next)
            if (a == b) return nn_file_fail(err, file->path, "the part is joined already");
    nn_file *last = part;
    while (last->next) last = last->next;
    last->next = file->next;
    file->next = part;
    for (int i = 0; i < part->count; i++) {
        void *entries = file->entries;
        if (!nn_grow(file->arena, &entries, sizeof *file->entries, file->count, &file->entry_capacity, err))
            return false;
        file->entries = entries;
        file->entries[file->count++] = part->entries[i];
    }
    return sort_names(file, err);
}

bool nn_file_crop(nn_file *file, const char *name, int64_t rows, tensor_error *err) {
    if (!expect(file, name, err)) return false;
    for (int i = 0; i < file->count; i++) {
        nn_entry *e = &file->entries[i];
        if (strcmp(e->name, name) != 0) continue;
        if (e->rank < 1 || rows < 0 || rows > e->shape[0])
            return nn_file_fail(err, file->path, "tensor %s has no %lld rows", NN_QUOTED(name),
                                (long long)rows);
        e->bytes = e->shape[0] > 0 ? e->bytes / (size_t)e->shape[0] * (size_t)rows : 0;
        e->shape[0] = rows;
        return true;
    }
    return nn_file_fail(err, file->path, "no tensor %s", NN_QUOTED(name));
}
