/* What the files of nn/ share: the registry's insides, growing lists, and JSON. */
#ifndef SAMPO_NN_INTERNAL_H
#define SAMPO_NN_INTERNAL_H

#include "sampo/nn.h"

/* ---- The registry --------------------------------------------------------------------------- */

/* What a weight is to the module that registered it: how its numbers are rounded together. */
typedef enum nn_form { NN_NUMBERS, NN_IN_OUT, NN_OUT_IN } nn_form; /* OUT_IN: tables, too */

typedef struct nn_registered {
    const char *name;
    ag_var *parameter; /* until nn_params_finalize its value is no tensor, but has the shape */
    nn_init init;
    bool alias, frozen;
    nn_form form;
    int parts;              /* so many matrices stand beside each other along its outputs; 0: one */
    tensor_compact compact; /* the value, once data is not NULL */
} nn_registered;

struct nn_params {
    tensor_arena *arena; /* owns everything, this struct as well */
    tensor_error error;
    nn_registered *entries;
    int count, capacity;
    int64_t numbers;
    tensor values, grads; /* [numbers] */
    int trained;          /* parameters, aliases left out */
    ag_var **parameters;  /* [trained] */
    tensor *gradients;    /* [trained]: their parts of grads */
    bool has_grads;       /* something was put into grads */
};

/* Fills a parameter's new value. */
bool nn_fill(tensor value, nn_init init, nn_form form, tensor_rng rng, tensor_error *err);

/* Says what a weight is, and that it is several beside each other. NULL is accepted. */
void nn_set_form(nn_params *params, const ag_var *weight, nn_form form);
void nn_set_parts(nn_params *params, const ag_var *weight, int parts);

/* "name.part"; NULL for no name. */
static inline const char *nn_part(nn_params *params, const char *name, const char *part) {
    return name ? nn_name(params, "%s.%s", name, part) : NULL;
}

/* Whether a name fits one of several patterns, see nn_group; and by how much a parameter's rate is multiplied. */
bool nn_name_fits(const char *patterns, const char *name);
double nn_group_rate(const nn_group *groups, const char *name);
/* x^n by squaring: libm's pow may differ in its last bit between platforms. */
static inline double nn_power(double x, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) result *= x;
    return result;
}
/* The state of an optimizer or a mean, zeros. False, with a text in the registry that names who asks, where that is not ready
 * or memory is out. */
bool nn_state_new(nn_state *s, nn_params *params, const char *what, int arrays, const char *const *names);
/* Whether a state has been made for a registry; `what` is the optimizer, as "nn_sgd". */
bool nn_state_fits(const nn_state *s, nn_params *params, const char *what, int arrays);

/* A parameter's tensor in a file, with that of its scales (NULL: it has none); NULL: none that fits, with the reason. */
const nn_entry *nn_expect_entry(const nn_params *params, const nn_registered *parameter, const nn_file *file,
                                const nn_entry **scales, tensor_error *err);
/* The number of elements of a shape that fits. */
static inline int64_t nn_size_of(const tensor *value) {
    int64_t size = 1;
    for (int i = 0; i < value->rank; i++) size *= value->shape[i];
    return size;
}

/* The same parts of another flat array of gradients: into [trained]. */
void nn_params_parts(const nn_params *params, tensor flat, tensor *parts);

/* Whether nn_grads holds something for the step of an optimizer; if not, the text is in the registry. */
bool nn_params_has_grads(nn_params *params, const char *what);

/* Whether nn_params_finalize has succeeded; if not, the text is in the registry. */
bool nn_params_ready(nn_params *params, const char *what);

/* Makes room for one more item behind `count` of a list on an arena. The list doubles: the old places, no
 * larger together than the new one, stay in the arena. */
bool nn_grow(tensor_arena *arena, void **items, size_t item_bytes, int count, int *capacity,
             tensor_error *err);

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
    char
        *text; /* where decoded strings go, each ended by NUL: as much room as end - begin, or begin itself */
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

#endif
