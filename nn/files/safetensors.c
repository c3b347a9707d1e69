/* Checkpoints in the safetensors format: a strict reader. */
#include "nn/files/files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian, and so is this code");

enum {
    LENGTH_BYTES = 8,
    HEADER_LIMIT = 100000000, /* as the reference has it */
    ENTRY_LIMIT = 1 << 18     /* of tensors and of metadata: many times what models have, read in a second */
};

/* ---- Errors ------------------------------------------------------------------------------------- */

bool nn_file_fail(tensor_error *err, const char *path, const char *format, ...) {
    enum { SHOWN = 90 };
    if (!path) return tensor_fail(err, "a file without a name");
    char fault[sizeof err->text - SHOWN - sizeof "...: "];
    va_list args;
    va_start(args, format);
    vsnprintf(fault, sizeof fault, format, args);
    va_end(args);
    size_t length = strlen(path);
    bool all = length <= SHOWN;
    return tensor_fail(err, "%s%s: %s", all ? "" : "...", all ? path : path + length - SHOWN, fault);
}

nn_short_text nn_quoted(const char *name) {
    nn_short_text t;
    nn_json_quote(t.text, sizeof t.text, name);
    return t;
}

/* ---- The header --------------------------------------------------------------------------------- */

typedef struct dtype {
    const char *name;
    int bytes;
} dtype;

static const dtype dtypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
    {"F32", 4},  {"F64", 8}, {"I64", 8}, {"U64", 8},
};

static const dtype *find_dtype(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

bool nn_entry_bytes(const nn_entry *entry, int64_t *bytes) {
    int64_t size = find_dtype(entry->dtype)->bytes;
    bool empty = false;
    for (int i = 0; i < entry->rank; i++) {
        if (entry->shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(size, entry->shape[i], &size))
            return false;
    }
    *bytes = empty ? 0 : size;
    return true;
}

/* An array of at most `most` integers >= 0 into list; returns how many. */
static int read_sizes(nn_json *json, int64_t *list, int most) {
    int count = 0;
    nn_json_open(json, '[');
    while (nn_json_next(json, ']')) {
        int64_t value;
        if (!nn_json_integer(json, &value)) break;
        if (value < 0) nn_json_expected(json, "no negative number");
        if (count == most) nn_json_expected(json, most == 2 ? "two offsets" : "a rank of at most 8");
        if (nn_json_ok(json)) list[count++] = value;
    }
    return count;
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, in any order. */
static bool read_entry(nn_json *json, nn_entry *entry, int64_t offsets[2]) {
    bool shape = false;
    int found = -1;
    nn_json_open(json, '{');
    while (nn_json_next(json, '}')) {
        const char *key = nn_json_key(json);
        if (key && strcmp(key, "dtype") == 0 && !entry->dtype) {
            const char *name = nn_json_string(json);
            const dtype *type = name ? find_dtype(name) : NULL;
            if (!type) return nn_json_expected(json, "a known dtype");
            entry->dtype = type->name;
        } else if (key && strcmp(key, "shape") == 0 && !shape) {
            entry->rank = read_sizes(json, entry->shape, TENSOR_MAX_RANK);
            shape = true;
        } else if (key && strcmp(key, "data_offsets") == 0 && found < 0) {
            found = read_sizes(json, offsets, 2);
        } else if (key) {
            return nn_json_expected(json, "dtype, shape and data_offsets, once each");
        }
    }
    return nn_json_ok(json) && ((entry->dtype && shape && found == 2) ||
                                nn_json_expected(json, "dtype, shape and two data_offsets"));
}

static bool read_metadata(nn_file *file, nn_json *json) {
    if (file->has_metadata) return nn_json_expected(json, "__metadata__ once");
    file->has_metadata = true;
    nn_json_open(json, '{');
    while (nn_json_next(json, '}')) {
        nn_metadata pair = {.key = nn_json_key(json)};
        pair.value = nn_json_string(json);
        void *list = file->metadata;
        if (file->metadata_count == ENTRY_LIMIT) return nn_json_expected(json, "at most 262144 metadata");
        if (!pair.value || !nn_grow(file->arena, &list, sizeof pair, file->metadata_count,
                                    &file->metadata_capacity, &json->error))
            return false;
        file->metadata = list;
        file->metadata[file->metadata_count++] = pair;
    }
    return nn_json_ok(json);
}

static bool add_entry(nn_file *file, nn_json *json, const char *name) {
    nn_entry entry = {.name = name};
    int64_t offsets[2] = {0};
    void *entries = file->entries, *spans = file->spans;
    if (file->count == ENTRY_LIMIT) return nn_json_expected(json, "at most 262144 tensors");
    if (!read_entry(json, &entry, offsets) ||
        !nn_grow(file->arena, &entries, sizeof entry, file->count, &file->entry_capacity, &json->error) ||
        !nn_grow(file->arena, &spans, sizeof *file->spans, file->count, &file->span_capacity, &json->error))
        return false;
    file->entries = entries;
    file->spans = spans;
    file->spans[file->count] = (nn_span){offsets[0], offsets[1], file->count};
    file->entries[file->count++] = entry;
    return true;
}

/* Decodes the header in its own place: names and strings point into it. */
static bool read_header(nn_file *file, char *header, int64_t length, tensor_error *err) {
    nn_json json = {.begin = header, .at = header, .end = header + length, .text = header};
    if (header[0] != '{') nn_json_expected(&json, "an object");
    nn_json_open(&json, '{');
    while (nn_json_next(&json, '}')) {
        const char *name = nn_json_key(&json);
        if (name && strcmp(name, "__metadata__") == 0)
            read_metadata(file, &json);
        else if (name)
            add_entry(file, &json, name);
    }
    while (nn_json_ok(&json) && json.at < json.end && *json.at == ' ') json.at++;
    if (json.at < json.end) nn_json_expected(&json, "the header's end or spaces");
    return nn_json_ok(&json) || nn_file_fail(err, file->path, "header, %s", json.error.text);
}

/* Memory that lives as long as the file. */
static void *allocate(nn_file *file, int64_t bytes, tensor_error *err) {
    void *memory = tensor_arena_alloc(file->arena, (size_t)bytes, NULL);
    if (!memory) nn_file_fail(err, file->path, "out of memory: %lld bytes", (long long)bytes);
    return memory;
}

/* ---- Validation --------------------------------------------------------------------------------- */

static int compare_spans(const void *a, const void *b) {
    const nn_span *x = a, *y = b;
    int begin = (x->begin > y->begin) - (x->begin < y->begin);
    return begin ? begin : (x->end > y->end) - (x->end < y->end);
}

static bool check_sizes(const nn_file *file, tensor_error *err) {
    for (int i = 0; i < file->count; i++) {
        const nn_entry *entry = &file->entries[i];
        nn_span at = file->spans[i];
        int64_t bytes;
        if (!nn_entry_bytes(entry, &bytes))
            return nn_file_fail(err, file->path, "tensor %s: its size overflows", NN_QUOTED(entry->name));
        if (at.end < at.begin || at.end - at.begin != bytes)
            return nn_file_fail(err, file->path, "tensor %s needs %lld bytes, its offsets are %lld to %lld",
                                NN_QUOTED(entry->name), (long long)bytes, (long long)at.begin,
                                (long long)at.end);
    }
    return true;
}

/* As the reference does: the tensors cover the data from end to end, without holes or overlap. */
static bool check_cover(nn_file *file, tensor_error *err) {
    nn_span *sorted = allocate(file, file->count * (int64_t)sizeof *sorted, err);
    if (!sorted) return false;
    for (int i = 0; i < file->count; i++) sorted[i] = file->spans[i];
    qsort(sorted, (size_t)file->count, sizeof *sorted, compare_spans);
    int64_t end = 0;
    for (int i = 0; i < file->count; end = sorted[i++].end)
        if (sorted[i].begin != end)
            return nn_file_fail(
                err, file->path, "tensor %s begins at %lld, expected %lld: a hole or an overlap",
                NN_QUOTED(file->entries[sorted[i].entry].name), (long long)sorted[i].begin, (long long)end);
    if (end > file->data_bytes)
        return nn_file_fail(err, file->path, "truncated: the tensors need %lld bytes, the file has %lld",
                            (long long)end, (long long)file->data_bytes);
    return end == file->data_bytes || nn_file_fail(err, file->path, "%lld bytes behind the last tensor",
                                                   (long long)(file->data_bytes - end));
}

/* ---- Reading ------------------------------------------------------------------------------------ */

/* Places the tensors; those that their own type does not align in the file move to memory of their own. */
static bool place_entries(nn_file *file, tensor_error *err) {
    for (int i = 0; i < file->count; i++) {
        nn_entry *entry = &file->entries[i];
        nn_span at = file->spans[i];
        entry->data = file->data + at.begin;
        entry->bytes = (size_t)(at.end - at.begin);
        if ((uintptr_t)entry->data % (uintptr_t)find_dtype(entry->dtype)->bytes == 0) continue;
        void *copy = allocate(file, at.end - at.begin, err);
        if (!copy) return false;
        entry->data = memcpy(copy, entry->data, entry->bytes);
    }
    return true;
}

static bool read_file(nn_file *file, int fd, int64_t bytes, tensor_error *err) {
    const char *path = file->path;
    uint64_t length;
    if (bytes < LENGTH_BYTES)
        return nn_file_fail(err, path, "truncated: %lld bytes, not a safetensors file", (long long)bytes);
    if (!nn_read_all(fd, path, &length, LENGTH_BYTES, err)) return false;
    if (length > HEADER_LIMIT && length > (uint64_t)bytes) /* the letters that another file begins with */
        return nn_file_fail(err, path, "not a safetensors file");
    if (length > HEADER_LIMIT || length < 2)
        return nn_file_fail(err, path, "a header of %llu bytes: not a safetensors file",
                            (unsigned long long)length);
    file->data_bytes = bytes - LENGTH_BYTES - (int64_t)length;
    if (file->data_bytes < 0)
        return nn_file_fail(err, path, "truncated: a header of %llu bytes in a file of %lld",
                            (unsigned long long)length, (long long)bytes);
    char *header = allocate(file, (int64_t)length, err);
    if (!header || !nn_read_all(fd, path, header, (int64_t)length, err) ||
        !read_header(file, header, (int64_t)length, err) || !nn_file_sort(file, err) ||
        !check_sizes(file, err) || !check_cover(file, err))
        return false;
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return nn_file_fail(err, path, "cannot map: %s", strerror(errno));
    file->map = map;
    file->map_bytes = (size_t)bytes;
    file->data = (const char *)map + LENGTH_BYTES + length;
    return place_entries(file, err);
}

static nn_file *new_file(const char *path, tensor_error *err) {
    tensor_arena *arena = tensor_arena_new(NULL);
    nn_file *file = arena ? tensor_arena_alloc(arena, sizeof *file, NULL) : NULL;
    char *copy = file ? tensor_arena_alloc(arena, strlen(path) + 1, NULL) : NULL;
    if (!copy) {
        tensor_arena_free(arena);
        return nn_file_fail(err, path, "out of memory"), NULL;
    }
    *file = (nn_file){.arena = arena, .path = strcpy(copy, path)};
    return file;
}

nn_file *nn_file_open(const char *path, tensor_error *err) {
    int64_t bytes;
    const int fd = nn_read_begin(path, &bytes, err);
    if (fd < 0) return NULL;
    nn_file *file = new_file(path, err);
    if (file && !read_file(file, fd, bytes, err)) {
        nn_file_close(file);
        file = NULL;
    }
    close(fd);
    return file;
}
