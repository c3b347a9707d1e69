/* What reads and writes files in nn/ shares: JSON, text, checkpoints. */
#ifndef SAMPO_NN_FILES_FILES_H
#define SAMPO_NN_FILES_FILES_H

#include "nn/params/params.h"

/* ---- Reading JSON (RFC 8259) ----------------------------------------------------------------- *
 * The caller says what must come next, so nothing is nested deeper than the caller's own code. The first
 * failure stays in `error`; after it every call fails:
 *
 *     nn_json_open(&json, '[');
 *     while (nn_json_next(&json, ']')) use(nn_json_string(&json)); // NULL on failure
 *     if (!nn_json_ok(&json)) ...
 */
typedef struct nn_json {
    const char *begin, *at, *end;
    char *text; /* for decoded strings, each ended by NUL: as much room as end - begin, or begin itself */
    bool first; /* an object or array has just been opened */
    tensor_error error;
} nn_json;

static inline bool nn_json_ok(const nn_json *json) {
    return !json->error.text[0];
}
bool nn_json_open(nn_json *json, char bracket);
bool nn_json_next(nn_json *json, char close); /* false: closed, or failed */
const char *nn_json_string(nn_json *json);
const char *nn_json_key(nn_json *json); /* a string and the colon */
bool nn_json_integer(nn_json *json, int64_t *value);
bool nn_json_expected(nn_json *json,
                      const char *what); /* fails: "byte 7: expected a string"; returns false */

/* The length of the UTF-8 sequence at `at`, 1 to 4; 0: none that is valid (RFC 3629). */
int nn_utf8(const char *at, const char *end);

/* ---- Writing text ---------------------------------------------------------------------------- */

/* Text that goes to a buffer as far as there is room; `length` counts all of it. */
typedef struct nn_text {
    char *buffer;
    size_t size, length;
} nn_text;
void nn_text_add(nn_text *text, const char *bytes, size_t count);
void nn_text_quote(nn_text *text, const char *string); /* as nn_json_quote */

/* ---- Files ----------------------------------------------------------------------------------- */

/* A regular file that is to be read, and its size, which is not 0; -1: failed. And its next bytes. */
int nn_read_begin(const char *path, int64_t *bytes, tensor_error *err);
bool nn_read_all(int fd, const char *path, void *buffer, int64_t bytes, tensor_error *err);

/* The bytes of entry number `entry`, counted from the end of the header. */
typedef struct nn_span {
    int64_t begin, end;
    int entry;
} nn_span;

struct nn_file {
    tensor_arena *arena; /* owns everything, this struct as well */
    const char *path;
    void *map; /* the whole file; NULL: not yet */
    size_t map_bytes;
    const char *data;
    int64_t data_bytes;
    nn_entry *entries; /* in the header's order */
    nn_span *spans;
    int count, entry_capacity, span_capacity;
    const nn_entry **by_name; /* sorted */
    nn_metadata *metadata;    /* sorted */
    int metadata_count, metadata_capacity;
    bool has_metadata;
    nn_file *next; /* a part that was joined to it */
};

/* Orders names and keys, for look-ups; false where one comes twice. */
bool nn_file_sort(nn_file *file, tensor_error *err);

/* "path: fault"; of a long path only the end, so that there is room for the fault. */
bool nn_file_fail(tensor_error *err, const char *path, const char *format, ...) TENSOR_PRINTF(3, 4);

/* A name as an argument of nn_file_fail: quoted, its beginning. NN_QUOTED(name) lives until the full expression
 * ends. */
typedef struct nn_short_text {
    char text[64];
} nn_short_text;
nn_short_text nn_quoted(const char *name);
#define NN_QUOTED(name) nn_quoted(name).text

/* The path a file was opened with. */
const char *nn_file_path(const nn_file *file);

/* The bytes that a shape and a known dtype need; false where they overflow. */
bool nn_entry_bytes(const nn_entry *entry, int64_t *bytes);

/* A parameter's tensor in a file, with that of its scales (NULL: it has none); NULL: none that fits, with the reason. */
const nn_entry *nn_expect_entry(const nn_params *params, const nn_registered *parameter, const nn_file *file,
                                const nn_entry **scales, tensor_error *err);

#endif
