/* Parameters to and from checkpoints, as float32 or compact. */
#include "nn/files/files.h"

#include <math.h>
#include <string.h>

/* ---- Parameters --------------------------------------------------------------------------------- */

int nn_params_list(const nn_params *params, nn_entry *list) {
    int count = 0;
    for (int i = 0; i < nn_params_entries(params); i++) {
        if (params->entries[i].alias || params->entries[i].compact.data) continue;
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
    for (int i = 0; i < params->count; i++)
        if (params->entries[i].compact.data)
            return nn_file_fail(err, path, "parameter %s is compact", NN_QUOTED(params->entries[i].name));
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

/* Whether a tensor of a file has a shape. */
static bool expect_shape(const nn_entry *entry, const char *path, int rank, const int64_t *shape,
                         tensor_error *err) {
    if (entry->rank == rank && memcmp(entry->shape, shape, (size_t)rank * sizeof *shape) == 0) return true;
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    tensor_shape_text(is, sizeof is, entry->rank, entry->shape);
    tensor_shape_text(expected, sizeof expected, rank, shape);
    return nn_file_fail(err, path, "tensor %s is %s, expected %s", NN_QUOTED(entry->name), is, expected);
}

/* The scales of a tensor of 8-bit integers. */
static const nn_entry *expect_scales(const nn_registered *parameter, const nn_entry *entry,
                                     const nn_file *file, tensor_error *err) {
    const char *path = nn_file_path(file);
    char name[512];
    int64_t shape[2];
    const bool fits = snprintf(name, sizeof name, "%s.scale", entry->name) < (int)sizeof name;
    const nn_entry *scales = fits ? nn_file_find(file, name) : NULL;
    if (!scales)
        return nn_file_fail(err, path, "tensor %s is I8, and there is no tensor of its scales, %s.scale",
                            NN_QUOTED(entry->name), NN_QUOTED(entry->name)),
               NULL;
    if (strcmp(scales->dtype, "BF16") != 0)
        return nn_file_fail(err, path, "tensor %s is %s, expected BF16", NN_QUOTED(scales->name),
                            scales->dtype),
               NULL;
    tensor_scale_shape(entry->shape, parameter->form == NN_OUT_IN, shape);
    return expect_shape(scales, path, 2, shape, err) ? scales : NULL;
}

/* Whether a tensor of a file is one that a parameter can take. */
static bool expect_kind(const nn_registered *parameter, const nn_entry *entry, const nn_file *file,
                        const nn_entry **scales, tensor_error *err) {
    const char *path = nn_file_path(file);
    const tensor *value = &parameter->parameter->value;
    *scales = NULL;
    const bool integers = strcmp(entry->dtype, "I8") == 0 && parameter->form != NN_NUMBERS;
    if (!integers && strcmp(entry->dtype, "F32") != 0 && strcmp(entry->dtype, "F16") != 0 &&
        strcmp(entry->dtype, "BF16") != 0)
        return nn_file_fail(err, path, "tensor %s is %s, expected F32, F16 or BF16", NN_QUOTED(entry->name),
                            entry->dtype);
    if (!expect_shape(entry, path, value->rank, value->shape, err)) return false;
    return !integers || (*scales = expect_scales(parameter, entry, file, err));
}

const nn_entry *nn_expect_entry(const nn_params *params, const nn_registered *parameter, const nn_file *file,
                                const nn_entry **scales, tensor_error *err) {
    const nn_entry *entry = find_entry(params, parameter, file);
    *scales = NULL;
    if (!entry)
        return nn_file_fail(err, nn_file_path(file), "no tensor %s", NN_QUOTED(parameter->name)), NULL;
    return expect_kind(parameter, entry, file, scales, err) ? entry : NULL;
}

static bool is_ready(const nn_params *params, const nn_file *file, bool compact, tensor_error *err) {
    if (!file) return tensor_fail(err, "no file to load from");
    return compact != tensor_ok(nn_values(params)) ||
           nn_file_fail(err, nn_file_path(file),
                        compact ? "the parameters are finalized already"
                                : "the parameters are not finalized");
}

/* All are checked first: a file that does not fit changes nothing. */
static bool expect_entries(const nn_params *params, const nn_file *file, tensor_error *err) {
    const nn_entry *scales;
    for (int i = 0; i < params->count; i++)
        if (!params->entries[i].alias && !nn_expect_entry(params, &params->entries[i], file, &scales, err))
            return false;
    return true;
}

static void copy_entry(const nn_registered *p, const nn_entry *entry, const nn_entry *scales) {
    if (scales)
        tensor_unround_weights(p->parameter->value, TENSOR_INT8, p->form == NN_OUT_IN, entry->data,
                               scales->data);
    else
        copy_values(p->parameter->value.f32, entry);
}

/* The values of all parameters that are not compact. */
static void copy_all(nn_params *params, const nn_file *file) {
    for (int i = 0; i < params->count; i++) {
        const nn_registered *p = &params->entries[i];
        const nn_entry *scales,
            *entry = p->alias || p->compact.data ? NULL : nn_expect_entry(params, p, file, &scales, NULL);
        if (entry) copy_entry(p, entry, scales);
    }
    params->values.storage->version++;
}

bool nn_params_load(nn_params *params, const nn_file *file, tensor_error *err) {
    if (!is_ready(params, file, false, err) || !expect_entries(params, file, err)) return false;
    copy_all(params, file);
    return true;
}

/* ---- A part of the parameters -------------------------------------------------------------------- */

/* The tensor of a file that is called `prefix` and then `rest`. */
static const nn_entry *find_joined(const nn_file *file, const char *prefix, const char *rest) {
    const size_t length = strlen(prefix);
    for (int i = 0; i < nn_file_entries(file); i++) {
        const nn_entry *entry = nn_file_at(file, i);
        if (strncmp(entry->name, prefix, length) == 0 && strcmp(entry->name + length, rest) == 0)
            return entry;
    }
    return NULL;
}

/* A parameter's tensor in a file, under its name or an alias in the scope, whose beginning is another there. *inside:
 * one of the names is in the scope. */
static const nn_entry *find_in_scope(const nn_params *params, const nn_registered *parameter,
                                     const nn_file *file, const char *scope, const char *prefix,
                                     bool *inside) {
    const size_t length = strlen(scope);
    const nn_entry *found = NULL;
    *inside = false;
    for (int i = 0; !found && i < params->count; i++) {
        const nn_registered *name = &params->entries[i];
        if (name->parameter != parameter->parameter || strncmp(name->name, scope, length) != 0) continue;
        *inside = true;
        found = find_joined(file, prefix, name->name + length);
    }
    return found;
}

int nn_params_load_part(nn_params *params, const nn_file *file, const char *scope, const char *prefix,
                        const char **missing, tensor_error *err) {
    int count = 0;
    if (!is_ready(params, file, false, err)) return -1;
    if (!scope || !prefix) return nn_file_fail(err, nn_file_path(file), "no scope or no prefix is given"), -1;
    for (int pass = 0; pass < 2; pass++) { /* all are checked first */
        for (int i = 0; i < params->count; i++) {
            const nn_registered *p = &params->entries[i];
            bool inside;
            if (p->alias || p->compact.data) continue;
            const nn_entry *scales, *entry = find_in_scope(params, p, file, scope, prefix, &inside);
            if (entry && !expect_kind(p, entry, file, &scales, err)) return -1;
            if (entry && pass == 1) copy_entry(p, entry, scales);
            if (entry || !inside || pass == 1) continue;
            if (missing) missing[count] = p->name;
            count++;
        }
    }
    params->values.storage->version++;
    return count;
}

/* ---- Compact parameters -------------------------------------------------------------------------- */

/* Makes a parameter compact where the file has it so. */
static bool take_compact(nn_params *params, nn_registered *p, const nn_file *file, tensor_error *err) {
    const nn_entry *scales, *entry = nn_expect_entry(params, p, file, &scales, err);
    ag_var *parameter = p->parameter;
    if (p->form == NN_NUMBERS || (!scales && strcmp(entry->dtype, "BF16") != 0)) return true;
    if (!tensor_compact_new(&p->compact, scales ? TENSOR_INT8 : TENSOR_BFLOAT16, entry->shape,
                            p->form == NN_OUT_IN, entry->data, scales ? scales->data : NULL, params->arena,
                            err))
        return false;
    parameter->compact = &p->compact;
    params->numbers -= nn_size_of(&parameter->value);
    return true;
}

bool nn_params_load_compact(nn_params *params, const nn_file *file, tensor_error *err) {
    if (!is_ready(params, file, true, err) || !expect_entries(params, file, err)) return false;
    for (int i = 0; i < params->count; i++)
        if (!params->entries[i].alias && !take_compact(params, &params->entries[i], file, err)) return false;
    if (!nn_params_reserve(params))
        return nn_file_fail(err, nn_file_path(file), "%s", nn_params_error(params));
    copy_all(params, file);
    return true;
}

/* Rounds one parameter into an entry, and its scales into the one behind it. */
static bool round_entry(const nn_registered *p, tensor_precision precision, nn_entry *entry,
                        tensor_arena *arena, tensor_error *err) {
    const bool by_rows = p->form == NN_OUT_IN, bf16 = precision == TENSOR_BFLOAT16;
    const tensor value = p->parameter->value;
    nn_entry *scales = entry + 1;
    tensor_error fault = {0};
    tensor_scale_shape(value.shape, by_rows, scales->shape);
    const int64_t size = tensor_size(value), count = scales->shape[0] * scales->shape[1];
    void *values = tensor_arena_alloc(arena, (size_t)size * (bf16 ? 2 : 1), err);
    uint16_t *scale = tensor_arena_alloc(arena, (size_t)count * sizeof *scale, err);
    char *name = tensor_arena_alloc(arena, strlen(p->name) + sizeof ".scale", err);
    if (!values || !scale || !name) return false;
    if (!tensor_round_weights(value, precision, by_rows, values, scale, &fault))
        return tensor_fail(err, "%s: %s", p->name, fault.text);
    strcat(strcpy(name, p->name), ".scale");
    *entry = (nn_entry){.name = p->name, .dtype = bf16 ? "BF16" : "I8", .rank = 2, .data = values};
    memcpy(entry->shape, value.shape, sizeof entry->shape);
    entry->bytes = (size_t)size * (bf16 ? 2 : 1);
    scales->name = name;
    scales->dtype = "BF16";
    scales->rank = 2;
    scales->data = scale;
    scales->bytes = (size_t)count * sizeof *scale;
    return true;
}

int nn_params_list_rounded(const nn_params *params, tensor_precision precision, const char *except,
                           nn_entry *list, tensor_arena *arena, tensor_error *err) {
    const int listed = nn_params_list(params, list);
    nn_entry *more = list + listed, whole[2];
    for (int i = 0; i < listed; i++) {
        const nn_registered *p = params->entries;
        while (p->alias || strcmp(p->name, list[i].name) != 0) p++;
        if (p->form == NN_NUMBERS || (except && strcmp(p->name, except) == 0)) continue;
        if (!round_entry(p, precision, whole, arena, err)) return -1;
        list[i] = whole[0];
        if (precision == TENSOR_INT8) *more++ = whole[1];
    }
    return (int)(more - list);
}
