/* Writing checkpoints so that a failure at any moment leaves an earlier file whole. */
#include "nn/files/files.h"

#include <errno.h>
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
    if (!entry->name || !entry->dtype) return nn_file_fail(err, path, "a tensor without a name or a dtype");
    if (!valid_text(entry->name) || strcmp(entry->name, "__metadata__") == 0)
        return nn_file_fail(err, path, "%s cannot be a tensor's name", NN_QUOTED(entry->name));
    static const char *const types[] = {"F32", "I32", "BF16", "I8", "U8", "U16", "U32"};
    bool known = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) known |= strcmp(entry->dtype, types[i]) == 0;
    if (!known)
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
        if (!metadata[i].key || !metadata[i].value)
            return nn_file_fail(err, path, "metadata %s has no value",
                                metadata[i].key ? NN_QUOTED(metadata[i].key) : "without a key");
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
