/* The registry of parameters: names and shapes first, then all values and gradients flat. */
#include "nn/params/params.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

nn_params *nn_params_new(void) {
    tensor_arena *arena = tensor_arena_new(NULL);
    nn_params *params = arena ? tensor_arena_alloc(arena, sizeof *params, NULL) : NULL;
    if (!params) {
        tensor_arena_free(arena);
        return NULL;
    }
    *params = (nn_params){.arena = arena};
    return params;
}

void nn_params_free(nn_params *params) {
    if (params) tensor_arena_free(params->arena);
}

const char *nn_params_error(const nn_params *params) {
    if (!params) return "out of memory";
    return params->error.text[0] ? params->error.text : NULL;
}

bool nn_grow(tensor_arena *arena, void **items, size_t item_bytes, int count, int *capacity,
             tensor_error *err) {
    if (count < *capacity) return true;
    if (count > INT_MAX / 2) return tensor_fail(err, "more than %d entries", count);
    int larger = count ? 2 * count : 16;
    void *memory = tensor_arena_alloc(arena, (size_t)larger * item_bytes, err);
    if (!memory) return false;
    if (count) memcpy(memory, *items, (size_t)count * item_bytes);
    *items = memory;
    *capacity = larger;
    return true;
}

/* ---- Registering ----------------------------------------------------------------------------- */

const char *nn_name(nn_params *params, const char *format, ...) {
    if (!params) return NULL;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) return tensor_fail(&params->error, "nn_name: cannot format '%s'", format), NULL;
    char *name = tensor_arena_alloc(params->arena, (size_t)length + 1, &params->error);
    if (!name) return NULL;
    va_start(args, format);
    vsnprintf(name, (size_t)length + 1, format, args);
    va_end(args);
    return name;
}

static const nn_registered *find(const nn_params *params, const char *name) {
    for (int i = 0; params && name && i < params->count; i++)
        if (strcmp(params->entries[i].name, name) == 0) return &params->entries[i];
    return NULL;
}

/* Whether a name may be registered now. */
static bool expect_name(nn_params *params, const char *name) {
    if (!params) return false;
    if (!name) return tensor_fail(&params->error, "a parameter without a name");
    if (tensor_ok(params->values))
        return tensor_fail(&params->error, "%s: registered after nn_params_finalize", name);
    if (find(params, name)) return tensor_fail(&params->error, "%s: the name is registered already", name);
    return true;
}

static bool enter(nn_params *params, nn_registered entry) {
    void *entries = params->entries;
    entry.name = nn_name(params, "%s", entry.name);
    if (!entry.name ||
        !nn_grow(params->arena, &entries, sizeof entry, params->count, &params->capacity, &params->error))
        return false;
    params->entries = entries;
    params->entries[params->count++] = entry;
    return true;
}

static ag_var *add(nn_params *params, const char *name, nn_init init, int rank, const int64_t *shape,
                   bool buffer) {
    if (!expect_name(params, name)) return NULL;
    tensor value = {.dtype = TENSOR_F32, .rank = rank};
    if (rank < 0 || rank > TENSOR_MAX_RANK)
        return tensor_fail(&params->error, "%s: a rank of %d is not in 0..%d", name, rank, TENSOR_MAX_RANK),
               NULL;
    int64_t *total = buffer ? &params->buffered : &params->numbers, size = 1, numbers;
    bool fits = true;
    for (int i = 0; i < rank; i++) {
        value.shape[i] = shape[i];
        fits = fits && shape[i] > 0 && !__builtin_mul_overflow(size, shape[i], &size);
    }
    if (!fits || __builtin_add_overflow(*total, size, &numbers)) {
        char text[TENSOR_SHAPE_TEXT];
        tensor_shape_text(text, sizeof text, rank, shape);
        tensor_fail(&params->error, "%s: bad size %s", name, text);
        return NULL;
    }
    ag_var *parameter = tensor_arena_alloc(params->arena, sizeof *parameter, &params->error);
    if (!parameter) return NULL;
    *parameter = (ag_var){.value = value};
    if (!enter(params, (nn_registered){.name = name, .parameter = parameter, .init = init, .buffer = buffer}))
        return NULL;
    parameter->name = params->entries[params->count - 1].name;
    *total = numbers;
    params->buffers += buffer;
    return parameter;
}

ag_var *nn_param(nn_params *params, const char *name, nn_init init, int rank, const int64_t *shape) {
    return add(params, name, init, rank, shape, false);
}

ag_var *nn_buffer(nn_params *params, const char *name, float value, int rank, const int64_t *shape) {
    return add(params, name, (nn_init){NN_INIT_VALUE, value, 0}, rank, shape, true);
}

void nn_tie(nn_params *params, const char *alias, ag_var *parameter) {
    if (!expect_name(params, alias)) return;
    bool known = false;
    for (int i = 0; i < params->count; i++) known |= params->entries[i].parameter == parameter;
    if (!known)
        tensor_fail(&params->error, "%s: tied to what is no parameter of this registry", alias);
    else
        enter(params, (nn_registered){.name = alias, .parameter = parameter, .alias = true});
}

/* The entry under which a parameter was registered. */
static nn_registered *entry_of(nn_params *params, const ag_var *weight) {
    for (int i = 0; params && weight && i < params->count; i++)
        if (params->entries[i].parameter == weight && !params->entries[i].alias) return &params->entries[i];
    return NULL;
}

void nn_set_form(nn_params *params, const ag_var *weight, nn_form form) {
    nn_registered *entry = entry_of(params, weight);
    if (entry) entry->form = form;
}

void nn_set_parts(nn_params *params, const ag_var *weight, int parts) {
    nn_registered *entry = entry_of(params, weight);
    if (entry) entry->parts = parts;
}

int nn_set_init(nn_params *params, const char *names, nn_init init) {
    int count = 0;
    for (int i = 0; i < nn_params_entries(params); i++)
        if (nn_name_fits(names, params->entries[i].name)) {
            nn_registered *entry = entry_of(params, params->entries[i].parameter);
            if (entry->buffer) continue;
            entry->init = init;
            count++;
        }
    return count;
}

int nn_freeze(nn_params *params, const char *names, bool frozen) {
    int count = 0;
    for (int i = 0; i < nn_params_entries(params); i++) {
        nn_registered *entry = &params->entries[i];
        if (!nn_name_fits(names, entry->name)) continue;
        entry = entry_of(params, entry->parameter); /* an alias freezes what it stands for */
        if (entry->buffer) continue;
        entry->frozen = frozen;
        if (tensor_ok(params->values)) entry->parameter->needs_grad = !frozen && !entry->compact.data;
        count++;
    }
    return count;
}

/* ---- Laying out ------------------------------------------------------------------------------- */

/* The part of a flat array that begins at `offset`, in the shape of a parameter. */
static tensor view(tensor flat, int64_t offset, int64_t size, tensor shape, tensor_error *err) {
    return tensor_reshape(tensor_slice(flat, 0, offset, offset + size, 1, err), shape.rank, shape.shape, err);
}

static bool place(nn_params *params, const nn_registered *entry, tensor values, tensor grads, int64_t *offset,
                  const tensor_rng *rng, tensor_error *err) {
    tensor shape = entry->parameter->value;
    const int64_t size = nn_size_of(&shape);
    tensor value = view(values, *offset, size, shape, err), grad = view(grads, *offset, size, shape, err);
    if (!tensor_ok(value) || !tensor_ok(grad) ||
        (rng && !nn_fill(value, entry->init, entry->form, *rng, err)))
        return false;
    ag_parameter(entry->parameter, value, !entry->frozen, entry->name);
    params->parameters[params->trained] = entry->parameter;
    params->gradients[params->trained++] = grad;
    *offset += size;
    return true;
}

static bool place_buffer(nn_params *params, const nn_registered *entry, tensor_error *err) {
    const tensor *shape = &entry->parameter->value;
    const tensor value = tensor_new(params->arena, TENSOR_F32, shape->rank, shape->shape, err);
    if (!tensor_ok(value) || !tensor_fill(value, (double)entry->init.a, err)) return false;
    ag_parameter(entry->parameter, value, false, entry->name);
    return true;
}

/* rng NULL: values are left as they are. */
static bool lay_out(nn_params *params, tensor_rng *rng) {
    if (!params || nn_params_error(params)) return false;
    tensor_error *err = &params->error;
    if (tensor_ok(params->values)) return tensor_fail(err, "nn_params_finalize: called twice");
    tensor values = tensor_new(params->arena, TENSOR_F32, 1, &params->numbers, err);
    const int64_t numbers = params->numbers + params->buffered + params->buffers;
    tensor flat = tensor_zeros(params->arena, TENSOR_F32, 1, &numbers, err);
    tensor grads = tensor_slice(flat, 0, 0, params->numbers, 1, err);
    const size_t count = (size_t)params->count;
    params->parameters = tensor_arena_alloc(params->arena, count * sizeof *params->parameters, err);
    params->gradients = tensor_arena_alloc(params->arena, count * sizeof *params->gradients, err);
    if (!tensor_ok(values) || !tensor_ok(grads) || !params->parameters || !params->gradients) return false;
    int64_t offset = 0;
    for (int i = 0; i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        tensor_error fault = {0};
        if (entry->buffer ? !place_buffer(params, entry, &fault)
                          : nn_is_flat(entry) && !place(params, entry, values, grads, &offset, rng, &fault))
            return tensor_fail(err, "%s: %s", entry->name, fault.text);
        if (rng && nn_is_flat(entry)) rng->stream++;
    }
    params->values = values;
    params->flat = flat;
    params->grads = grads;
    return true;
}

bool nn_params_finalize(nn_params *params, uint64_t seed) {
    tensor_rng rng = {.seed = seed};
    return lay_out(params, &rng);
}

bool nn_params_reserve(nn_params *params) {
    return lay_out(params, NULL);
}

bool nn_params_ready(nn_params *params, const char *what) {
    if (!params) return false;
    return tensor_ok(params->values) ||
           tensor_fail(&params->error, "%s: nn_params_finalize comes first", what);
}

bool nn_params_has_grads(nn_params *params, const char *what) {
    return params->has_grads ||
           tensor_fail(&params->error, "%s_step: there is no gradient; nn_backward(params, loss) computes it",
                       what);
}

void nn_params_parts(const nn_params *params, tensor flat, tensor *parts) {
    for (int i = 0; i < params->trained; i++) {
        parts[i] = params->gradients[i];
        parts[i].storage = flat.storage;
        parts[i].f32 = flat.f32 + (params->gradients[i].f32 - params->grads.f32);
    }
}

/* ---- Looking up ------------------------------------------------------------------------------- */

tensor nn_values(const nn_params *params) {
    return params ? params->values : (tensor){0};
}

/* Who asks may write to them. */
tensor nn_grads(nn_params *params) {
    if (!params) return (tensor){0};
    params->has_grads = true;
    return params->grads;
}

tensor nn_grad(nn_params *params, const ag_var *parameter) {
    for (int i = 0; params && i < params->trained; i++)
        if (params->parameters[i] == parameter) {
            params->has_grads = true;
            return params->gradients[i];
        }
    return (tensor){0};
}

int64_t nn_params_count(const nn_params *params) {
    return params ? params->numbers : 0;
}

int nn_params_entries(const nn_params *params) {
    return params ? params->count : 0;
}

const char *nn_params_name(const nn_params *params, int i) {
    return params->entries[i].name;
}

ag_var *nn_params_at(const nn_params *params, int i) {
    return params->entries[i].parameter;
}

bool nn_params_is_alias(const nn_params *params, int i) {
    return params->entries[i].alias;
}

ag_var *nn_params_find(const nn_params *params, const char *name) {
    const nn_registered *entry = find(params, name);
    return entry ? entry->parameter : NULL;
}
