/* Writing checkpoints so that a failure at any moment leaves an earlier file whole; parameters to and from them. */
#include "nn/nn_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 30 }; /* some systems refuse larger writes */

/* ---- The header --------------------------------------------------------------------------------- */

static bool valid_text(const char *text) {
    const char *end = text + strlen(text);
    for (int length; text < end; text += length)
        if ((length = nn_utf8(text, end)) == 0) return false;
    return true;
}

static bool check_entry(const char *path, const nn_entry *entry, tensor_error *err) {
    if (!valid_text(entry->name) || strcmp(entry->name, "__metadata__") == 0)
        return nn_file_fail(err, path, "%s cannot be a tensor's name", NN_QUOTED(entry->name));
    if (strcmp(entry->dtype, "F32") != 0 && strcmp(entry->dtype, "I32") != 0)
        return nn_file_fail(err, path, "tensor %s: cannot write %s", NN_QUOTED(entry->name),
                            NN_QUOTED(entry->dtype));
    bool fits = entry->rank >= 0 && entry->rank <= TENSOR_MAX_RANK;
    for (int i = 0; fits && i < entry->rank; i++) fits = entry->shape[i] >= 0;
    int64_t bytes;
    if (!fits || !nn_entry_bytes(entry, &bytes) || (uint64_t)bytes != entry->bytes)
        return nn_file_fail(err, path, "tensor %s: its shape does not have %zu bytes", NN_QUOTED(entry->name),
                            entry->bytes);
    return true;
}

static bool check(const char *path, const nn_entry *entries, int count, const nn_metadata *metadata,
                  int metadata_count, tensor_error *err) {
    for (int i = 0; i < count; i++) {
        if (!check_entry(path, &entries[i], err)) return false;
        for (int j = 0; j < i; j++)
            if (strcmp(entries[i].name, entries[j].name) == 0)
                return nn_file_fail(err, path, "tensor %s comes twice", NN_QUOTED(entries[i].name));
    }
    for (int i = 0; i < metadata_count; i++) {
        if (!valid_text(metadata[i].key) || !valid_text(metadata[i].value))
            return nn_file_fail(err, path, "metadata %s: invalid UTF-8", NN_QUOTED(metadata[i].key));
        for (int j = 0; j < i; j++)
            if (strcmp(metadata[i].key, metadata[j].key) == 0)
                return nn_file_fail(err, path, "metadata %s comes twice", NN_QUOTED(metadata[i].key));
    }
    return true;
}

static void add(nn_text *text, const char *string) {
    nn_text_add(text, string, strlen(string));
}

static void add_integer(nn_text *text, const char *before, int64_t value) {
    char digits[24];
    add(text, before);
    nn_text_add(text, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value));
}

/* The header as JSON, padded with spaces to a multiple of eight bytes. */
static void write_header(nn_text *text, const nn_entry *entries, int count, const nn_metadata *metadata,
                         int metadata_count) {
    add(text, "{");
    if (metadata_count > 0) {
        for (int i = 0; i < metadata_count; i++) {
            add(text, i ? "," : "\"__metadata__\":{");
            nn_text_quote(text, metadata[i].key);
            add(text, ":");
            nn_text_quote(text, metadata[i].value);
        }
        add(text, count ? "}," : "}");
    }
    int64_t offset = 0;
    for (int i = 0; i < count; i++) {
        if (i) add(text, ",");
        nn_text_quote(text, entries[i].name);
        add(text, ":{\"dtype\":");
        nn_text_quote(text, entries[i].dtype);
        add(text, ",\"shape\":[");
        for (int axis = 0; axis < entries[i].rank; axis++)
            add_integer(text, axis ? "," : "", entries[i].shape[axis]);
        add_integer(text, "],\"data_offsets\":[", offset);
        add_integer(text, ",", offset += (int64_t)entries[i].bytes);
        add(text, "]}");
    }
    add(text, "}");
    while (text->length % 8) add(text, " ");
}

/* ---- The file ----------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t bytes) {
    for (const char *at = data; bytes > 0;) {
        ssize_t n = write(fd, at, bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool write_file(int fd, nn_text header, const nn_entry *entries, int count) {
    uint64_t length = header.length;
    bool done = write_all(fd, &length, sizeof length) && write_all(fd, header.buffer, header.length);
    for (int i = 0; done && i < count; i++) done = write_all(fd, entries[i].data, entries[i].bytes);
    return done;
}

bool nn_file_save(const char *path, const nn_entry *entries, int count, const nn_metadata *metadata,
                  int metadata_count, tensor_error *err) {
    if (!check(path, entries, count, metadata, metadata_count, err)) return false;
    nn_text header = {0};
    write_header(&header, entries, count, metadata, metadata_count); /* measures */
    tensor_arena *arena = tensor_arena_new(NULL);
    header = (nn_text){.buffer = arena ? tensor_arena_alloc(arena, header.length, NULL) : NULL,
                       .size = header.length};
    bool done = header.buffer || nn_file_fail(err, path, "out of memory");
    int fd = done ? nn_file_begin(path, err) : -1;
    if (fd >= 0) {
        write_header(&header, entries, count, metadata, metadata_count);
        done = write_file(fd, header, entries, count) ||
               nn_file_fail(err, path, "cannot be written: %s", strerror(errno));
        done = nn_file_end(fd, path, done, err);
    }
    tensor_arena_free(arena);
    return fd >= 0 && done;
}

/* ---- Parameters --------------------------------------------------------------------------------- */

int nn_params_list(const nn_params *params, nn_entry *list) {
    int count = 0;
    for (int i = 0; i < nn_params_entries(params); i++) {
        if (params->entries[i].alias) continue;
        tensor value = params->entries[i].parameter->value;
        nn_entry *entry = &list[count++];
        *entry = (nn_entry){.name = params->entries[i].name,
                            .dtype = "F32",
                            .rank = value.rank,
                            .data = value.data,
                            .bytes = (size_t)tensor_size(value) * sizeof(float)};
        memcpy(entry->shape, value.shape, sizeof entry->shape);
    }
    return count;
}

bool nn_params_save(const nn_params *params, const char *path, const nn_metadata *metadata,
                    int metadata_count, tensor_error *err) {
    if (!tensor_ok(nn_values(params))) return nn_file_fail(err, path, "the parameters are not finalized");
    tensor_arena *arena = tensor_arena_new(NULL);
    nn_entry *entries =
        arena ? tensor_arena_alloc(arena, (size_t)params->count * sizeof *entries, NULL) : NULL;
    bool done =
        entries ? nn_file_save(path, entries, nn_params_list(params, entries), metadata, metadata_count, err)
                : nn_file_fail(err, path, "out of memory");
    tensor_arena_free(arena);
    return done;
}

/* A parameter's tensor in a file, under its name or else under an alias. */
static const nn_entry *find_entry(const nn_params *params, const nn_registered *parameter,
                                  const nn_file *file) {
    const nn_entry *found = nn_file_find(file, parameter->name);
    for (int i = 0; !found && i < params->count; i++)
        if (params->entries[i].alias && params->entries[i].parameter == parameter->parameter)
            found = nn_file_find(file, params->entries[i].name);
    return found;
}

/* IEEE 754 half precision, and the upper half of single precision. */
static float of_f16(uint16_t h) {
    const int exponent = h >> 10 & 31;
    const float fraction = (float)(h & 1023), sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24));
}

static float of_bf16(uint16_t b) {
    const uint32_t bits = (uint32_t)b << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void copy_values(float *x, const nn_entry *entry) {
    const uint16_t *halves = entry->data;
    const bool f16 = strcmp(entry->dtype, "F16") == 0;
    if (strcmp(entry->dtype, "F32") == 0) {
        memcpy(x, entry->data, entry->bytes);
        return;
    }
    for (size_t i = 0; i < entry->bytes / sizeof *halves; i++)
        x[i] = f16 ? of_f16(halves[i]) : of_bf16(halves[i]);
}

/* The entry that fits a parameter; NULL and the reason. */
static const nn_entry *expect_entry(const nn_params *params, const nn_registered *parameter,
                                    const nn_file *file, tensor_error *err) {
    const char *path = nn_file_path(file), *name = parameter->name;
    const nn_entry *entry = find_entry(params, parameter, file);
    tensor value = parameter->parameter->value;
    if (!entry) return nn_file_fail(err, path, "no tensor %s", NN_QUOTED(name)), NULL;
    if (strcmp(entry->dtype, "F32") != 0 && strcmp(entry->dtype, "F16") != 0 &&
        strcmp(entry->dtype, "BF16") != 0)
        return nn_file_fail(err, path, "tensor %s is %s, expected F32, F16 or BF16", NN_QUOTED(entry->name),
                            entry->dtype),
               NULL;
    if (entry->rank == value.rank &&
        memcmp(entry->shape, value.shape, (size_t)value.rank * sizeof(int64_t)) == 0)
        return entry;
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    tensor_shape_text(is, sizeof is, entry->rank, entry->shape);
    tensor_shape_text(expected, sizeof expected, value.rank, value.shape);
    nn_file_fail(err, path, "tensor %s is %s, expected %s", NN_QUOTED(entry->name), is, expected);
    return NULL;
}

bool nn_params_load(nn_params *params, const nn_file *file, tensor_error *err) {
    if (!file) return tensor_fail(err, "no file to load from");
    if (!tensor_ok(nn_values(params)))
        return nn_file_fail(err, nn_file_path(file), "the parameters are not finalized");
    /* All are checked first: a file that does not fit changes nothing. */
    for (int i = 0; i < params->count; i++)
        if (!params->entries[i].alias && !expect_entry(params, &params->entries[i], file, err)) return false;
    for (int i = 0; i < params->count; i++) {
        if (params->entries[i].alias) continue;
        const nn_entry *entry = find_entry(params, &params->entries[i], file);
        copy_values(params->entries[i].parameter->value.f32, entry);
    }
    params->values.storage->version++;
    return true;
}
