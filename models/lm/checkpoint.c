/* Models to and from safetensors files: the configuration travels as strings beside the parameters. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/lm.h"

enum { MAX_KEYS = 32, VALUE_BYTES = 32 };

void lm_instance_free(lm_instance *instance) {
    nn_params_free(instance->params);
    tensor_arena_free(instance->arena);
    *instance = (lm_instance){0};
}

/* ---- Saving -------------------------------------------------------------------------------- */

/* The vocabulary as a JSON array: ["\n", " ", "a"]. */
static const char *vocabulary_json(const lm_tokenizer *t, tensor_arena *arena, tensor_error *err) {
    size_t size = (size_t)t->count * 16 + 3, used = 0; /* quoted, a character has at most 12 bytes */
    char *json = tensor_arena_alloc(arena, size, err);
    if (!json) return NULL;
    json[used++] = '[';
    for (int32_t i = 0; i < t->count; i++) {
        char character[5];
        lm_utf8_encode(t->codes[i], character);
        if (i > 0) used += (size_t)snprintf(json + used, size - used, ", ");
        used += nn_json_quote(json + used, size - used, character);
    }
    snprintf(json + used, size - used, "]");
    return json;
}

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

bool lm_checkpoint_save(const lm_instance *instance, const char *path, tensor_error *err) {
    nn_metadata metadata[MAX_KEYS];
    char values[MAX_KEYS][VALUE_BYTES], vocab_size[VALUE_BYTES], context_length[VALUE_BYTES];
    tensor_arena *arena = tensor_arena_new(err);
    const char *vocabulary = arena ? vocabulary_json(&instance->tokenizer, arena, err) : NULL;
    bool ok = vocabulary != NULL;
    if (ok) {
        int count = configuration(instance->model, metadata, values);
        snprintf(vocab_size, sizeof vocab_size, "%d", instance->tokenizer.count);
        snprintf(context_length, sizeof context_length, "%" PRId64, instance->context);
        metadata[count++] = (nn_metadata){"architecture", instance->model->name};
        metadata[count++] = (nn_metadata){"vocab_size", vocab_size};
        metadata[count++] = (nn_metadata){"context_length", context_length};
        metadata[count++] = (nn_metadata){"tokenizer", "char"};
        metadata[count++] = (nn_metadata){"vocabulary", vocabulary};
        ok = nn_params_save(instance->params, path, metadata, count, err);
    }
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
    const char *value = value_of(file, option->key, err);
    return value &&
           (lm_option_set(option, value, &fault) || tensor_fail(err, "%s: %s", option->key, fault.text));
}

static bool read_word(const nn_file *file, const char *key, const char *expected, tensor_error *err) {
    const char *value = value_of(file, key, err);
    return value && (strcmp(value, expected) == 0 ||
                     tensor_fail(err, "its %s is '%.40s', not '%s'", key, value, expected));
}

static bool read_vocabulary(lm_instance *instance, const nn_file *file, tensor_error *err) {
    int64_t size = 0;
    int count = 0;
    const char *const *strings = NULL;
    const lm_option vocab_size = lm_kept("vocab_size", lm_integer(NULL, &size, 1, LM_MAX_VOCABULARY, NULL));
    const char *json = value_of(file, "vocabulary", err);
    if (!json || !read_word(file, "tokenizer", "char", err) || !read_option(file, &vocab_size, err))
        return false;
    tensor_error fault = {0};
    if (!nn_json_strings(json, instance->arena, &strings, &count, &fault)) {
        return tensor_fail(err, "vocabulary: %s", fault.text);
    }
    if (count != size)
        return tensor_fail(err, "the vocabulary has %d entries, vocab_size says %" PRId64, count, size);
    return lm_tokenizer_of_strings(&instance->tokenizer, strings, count, instance->arena, err);
}

static bool read_configuration(lm_instance *instance, const nn_file *file, tensor_error *err) {
    const lm_model *model = instance->model;
    const lm_option context =
        lm_kept("context_length", lm_integer(NULL, &instance->context, 1, LM_MAX_CONTEXT, NULL));
    if (!read_word(file, "architecture", model->name, err) || !read_option(file, &context, err)) return false;
    for (const lm_option *o = model->options; o && o->name; o++) {
        if (o->key && !read_option(file, o, err)) return false;
    }
    return (!model->check || model->check(model->self, err)) && read_vocabulary(instance, file, err);
}

/* Whether the file is large enough for the parameters: asked before memory is taken for them. */
static bool expect_size(const nn_params *params, const nn_file *file, tensor_error *err) {
    size_t bytes = 0, needed;
    for (int i = 0; i < nn_file_entries(file); i++) bytes += nn_file_at(file, i)->bytes;
    bool fits =
        !__builtin_mul_overflow((size_t)nn_params_count(params), sizeof(float), &needed) && needed <= bytes;
    return fits ||
           tensor_fail(err,
                       "its tensors have %zu bytes, too few for the %" PRId64 " parameters of its metadata",
                       bytes, nn_params_count(params));
}

static bool make_parameters(lm_instance *instance, const nn_file *file, tensor_error *err) {
    const lm_model *model = instance->model;
    nn_params *params = instance->params = nn_params_new();
    if (!params) return tensor_fail(err, "out of memory");
    model->init(model->self, params, instance->tokenizer.count, instance->context);
    if (!nn_params_error(params) && !expect_size(params, file, err)) return false;
    return nn_params_finalize(params, 0) || tensor_fail(err, "%s", nn_params_error(params));
}

bool lm_checkpoint_load(lm_instance *instance, const lm_model *model, const char *path, tensor_error *err) {
    tensor_error fault = {0};
    *instance = (lm_instance){.model = model, .arena = tensor_arena_new(err)};
    nn_file *file = instance->arena ? nn_file_open(path, err) : NULL;
    if (!file) return false;
    bool ok = read_configuration(instance, file, &fault) && make_parameters(instance, file, &fault);
    if (!ok) tensor_fail(err, "%.100s: %s", path, fault.text);
    ok = ok && nn_params_load(instance->params, file, err); /* which names the file itself */
    nn_file_close(file);
    return ok;
}
