/* Models to and from safetensors files: the configuration travels as strings beside the parameters. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/files/files.h"

enum { MAX_KEYS = 32, VALUE_BYTES = 32 };

/* ---- Saving -------------------------------------------------------------------------------- */

/* Writes all of the model's options that have a key; returns how many. */
static int configuration(const lm_model *model, nn_metadata *metadata, char (*values)[VALUE_BYTES]) {
    int count = 0;
    for (const lm_option *o = model->options; o && o->name; o++) {
        if (!o->key) continue;
        if (o->kind == LM_YES_NO)
            snprintf(values[count], VALUE_BYTES, *(bool *)o->value ? "true" : "false");
        else
            lm_option_text(o, values[count], VALUE_BYTES);
        metadata[count] = (nn_metadata){o->key, values[count]};
        count++;
    }
    return count;
}

/* The parameters and the further tensors in one list, on the arena. */
static nn_entry *list_entries(const nn_params *params, lm_extras extras, int *count, tensor_arena *arena,
                              tensor_error *err) {
    int most = nn_params_entries(params) + extras.entry_count;
    nn_entry *list = tensor_arena_alloc(arena, (size_t)most * sizeof *list, err);
    if (!list) return NULL;
    *count = nn_params_list(params, list);
    for (int i = 0; i < extras.entry_count; i++) list[(*count)++] = extras.entries[i];
    return list;
}

/* Adds those whose key is not there yet; returns how many there are then. */
static int add_metadata(nn_metadata *metadata, int count, const nn_metadata *more, int more_count) {
    for (int i = 0; i < more_count; i++)
        if (!nn_json_member(metadata, count, more[i].key)) metadata[count++] = more[i];
    return count;
}

/* Adds the tensors of what was counted, if anything was. */
static bool add_counts(lm_extras *all, const lm_counts *counts, tensor_arena *arena, tensor_error *err) {
    if (!counts) return true;
    const size_t most = (size_t)all->entry_count + LM_COUNT_ENTRIES;
    nn_entry *list = tensor_arena_alloc(arena, most * sizeof *list, err);
    if (!list) return false;
    if (all->entry_count > 0) memcpy(list, all->entries, (size_t)all->entry_count * sizeof *list);
    all->entry_count += lm_counts_list(counts, list + all->entry_count);
    all->entries = list;
    return true;
}

bool lm_checkpoint_write(const lm_instance *instance, lm_extras all, const char *path, tensor_error *err) {
    char values[MAX_KEYS][VALUE_BYTES], vocab_size[VALUE_BYTES], context_length[VALUE_BYTES];
    tensor_arena *arena = tensor_arena_new(err);
    nn_metadata *metadata =
        arena ? tensor_arena_alloc(arena, (size_t)(MAX_KEYS + all.metadata_count) * sizeof *metadata, err)
              : NULL;
    int count = metadata ? configuration(instance->model, metadata, values) : 0;
    const int keys =
        metadata ? lm_tokenizer_metadata(&instance->tokenizer, metadata + count + 3, arena, err) : 0;
    bool ok = keys > 0 && add_counts(&all, instance->counts, arena, err);
    if (ok) {
        snprintf(vocab_size, sizeof vocab_size, "%d", instance->tokenizer.count);
        snprintf(context_length, sizeof context_length, "%" PRId64, instance->context);
        metadata[count++] = (nn_metadata){"architecture", instance->model->name};
        metadata[count++] = (nn_metadata){"vocab_size", vocab_size};
        metadata[count++] = (nn_metadata){"context_length", context_length};
        count = add_metadata(metadata, count + keys, all.metadata, all.metadata_count);
        ok = nn_file_save(path, all.entries, all.entry_count, metadata, count, err);
    }
    tensor_arena_free(arena);
    return ok;
}

bool lm_checkpoint_save(const lm_instance *instance, lm_extras extras, const char *path, tensor_error *err) {
    tensor_arena *arena = tensor_arena_new(err);
    lm_extras all = extras;
    all.entries = arena ? list_entries(instance->params, extras, &all.entry_count, arena, err) : NULL;
    const bool ok = all.entries && lm_checkpoint_write(instance, all, path, err);
    tensor_arena_free(arena);
    return ok;
}

/* ---- Loading ------------------------------------------------------------------------------- */

/* A key that must be there. */
static const char *value_of(const nn_file *file, const char *key, tensor_error *err) {
    const char *value = nn_file_metadata(file, key);
    if (!value) tensor_fail(err, "the metadata lack '%s'", key);
    return value;
}

static bool read_option(const nn_file *file, const lm_option *option, tensor_error *err) {
    tensor_error fault = {0};
    if (option->since && !nn_file_metadata(file, option->key))
        return lm_option_set(option, option->since, err);
    const char *value = value_of(file, option->key, err);
    return value &&
           (lm_option_set(option, value, &fault) || tensor_fail(err, "%s: %s", option->key, fault.text));
}

static bool read_word(const nn_file *file, const char *key, const char *expected, tensor_error *err) {
    const char *value = value_of(file, key, err);
    return value && (strcmp(value, expected) == 0 ||
                     tensor_fail(err, "its %s is '%.40s', not '%s'; the program %.40s reads it", key, value,
                                 expected, value));
}

static bool read_tokenizer(lm_instance *instance, const nn_file *file, tensor_error *err) {
    int64_t size = 0;
    const lm_option vocab_size = lm_kept("vocab_size", lm_integer(NULL, &size, 1, LM_MAX_VOCABULARY, NULL));
    if (!lm_tokenizer_of_file(&instance->tokenizer, file, instance->arena, err) ||
        !read_option(file, &vocab_size, err))
        return false;
    int32_t count = instance->tokenizer.count;
    return count == size ||
           tensor_fail(err, "the vocabulary has %d entries, vocab_size says %" PRId64, count, size);
}

static bool read_configuration(lm_instance *instance, const nn_file *file, tensor_error *err) {
    const lm_model *model = instance->model;
    const lm_option context =
        lm_kept("context_length", lm_integer(NULL, &instance->context, 1, LM_MAX_CONTEXT, NULL));
    if (!read_word(file, "architecture", model->name, err) || !read_option(file, &context, err)) return false;
    for (const lm_option *o = model->options; o && o->name; o++) {
        if (o->key && !read_option(file, o, err)) return false;
    }
    return (!model->check || model->check(model->self, err)) && read_tokenizer(instance, file, err);
}

/* Whether the file has numbers enough for the parameters: asked before memory is taken for them. */
static bool expect_size(const nn_params *params, const nn_file *file, tensor_error *err) {
    int64_t numbers = 0;
    for (int i = 0; i < nn_file_entries(file); i++) {
        const nn_entry *e = nn_file_at(file, i);
        int64_t size = e->bytes > 0;
        for (int k = 0; k < e->rank && size > 0; k++) size *= e->shape[k];
        numbers += size;
    }
    return nn_params_count(params) <= numbers ||
           tensor_fail(err,
                       "its tensors have %" PRId64 " numbers, too few for the %" PRId64
                       " parameters of its configuration",
                       numbers, nn_params_count(params));
}

/* Makes the context shorter; 0: leaves it. */
static bool crop(lm_instance *instance, nn_file *file, int64_t context, tensor_error *err) {
    const char *positions = instance->model->positions;
    if (context == 0 || context == instance->context) return true;
    if (positions && context > instance->context)
        return tensor_fail(err, "its context is %" PRId64 ", so --context can be lower, but not %" PRId64,
                           instance->context, context);
    instance->context = context;
    return !positions || nn_file_crop(file, positions, context, err);
}

static bool configure(lm_instance *instance, const lm_model *model, nn_file *file, const char *path,
                      int64_t context, tensor_error *err) {
    *instance = (lm_instance){.model = model, .arena = tensor_arena_new(err), .params = nn_params_new()};
    nn_params *params = instance->params;
    if (!instance->arena || !params) return tensor_fail(err, "out of memory");
    const bool ours = nn_file_metadata(file, "architecture") || !model->adopt;
    if (!(ours ? read_configuration(instance, file, err) : lm_published_read(instance, file, path, err)) ||
        !crop(instance, file, context, err))
        return false;
    model->init(model->self, params, instance->tokenizer.count, instance->context);
    return !nn_params_error(params) || tensor_fail(err, "%s", nn_params_error(params));
}

bool lm_checkpoint_configure(lm_instance *instance, const lm_model *model, nn_file *file, const char *path,
                             tensor_error *err) {
    return configure(instance, model, file, path, 0, err);
}

/* What was counted for the model. */
static bool load_counts(lm_instance *instance, const nn_file *file, tensor_error *err) {
    const int64_t *order = instance->model->order;
    if (!order || *order == 0) return true;
    instance->counts = lm_counts_of_file(file, instance->tokenizer.count, (int)*order, err);
    return instance->counts;
}

static bool load(lm_instance *instance, const lm_model *model, const char *path, int64_t context,
                 bool compact, tensor_error *err) {
    tensor_error fault = {0};
    tensor_arena *arena = tensor_arena_new(err);
    path = arena ? lm_checkpoint_path(path, arena, err) : NULL;
    nn_file *file = path ? lm_checkpoint_open(path, err) : NULL;
    *instance = (lm_instance){0};
    bool ok = file && configure(instance, model, file, path, context, &fault) &&
              expect_size(instance->params, file, &fault) && load_counts(instance, file, &fault);
    if (ok && !compact && !nn_params_reserve(instance->params))
        ok = tensor_fail(&fault, "%s", nn_params_error(instance->params));
    if (file && !ok) tensor_fail(err, "%.100s: %s", path, fault.text);
    ok = ok &&
         (compact ? nn_params_load_compact : nn_params_load)(instance->params, file, err); /* which name it */
    nn_file_close(file);
    tensor_arena_free(arena);
    return ok;
}

bool lm_checkpoint_load_cropped(lm_instance *instance, const lm_model *model, const char *path,
                                int64_t context, tensor_error *err) {
    return load(instance, model, path, context, false, err);
}

bool lm_checkpoint_load_compact(lm_instance *instance, const lm_model *model, const char *path,
                                tensor_error *err) {
    return load(instance, model, path, 0, true, err);
}

bool lm_checkpoint_load(lm_instance *instance, const lm_model *model, const char *path, tensor_error *err) {
    return load(instance, model, path, 0, false, err);
}
