/* Checkpoints published for Hugging Face's transformers: a file of tensors, and beside it config.json, vocab.json and
 * merges.txt. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/files/files.h"

/* "folder/name" on the arena. */
static const char *join(const char *folder, size_t length, const char *name, tensor_arena *arena,
                        tensor_error *err) {
    const size_t size = length + strlen(name) + 2;
    char *path = tensor_arena_alloc(arena, size, err);
    if (path) snprintf(path, size, "%.*s/%s", (int)length, folder, name);
    return path;
}

const char *lm_checkpoint_path(const char *path, tensor_arena *arena, tensor_error *err) {
    static const char *const names[] = {"model.safetensors", "best.safetensors", "last.safetensors"};
    if (lm_place_of(path, NULL) != LM_FOLDER) return path; /* who opens it says what is wrong */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *file = join(path, strlen(path), names[i], arena, err);
        const lm_place place = file ? lm_place_of(file, err) : LM_UNKNOWN;
        if (place != LM_NOTHING) return place == LM_UNKNOWN ? NULL : file;
    }
    tensor_fail(err, "%.100s: a folder without %s, %s or %s", path, names[0], names[1], names[2]);
    return NULL;
}

/* A file beside the one at `path`. */
static const char *beside(const char *path, const char *name, tensor_arena *arena, tensor_error *err) {
    const char *slash = strrchr(path, '/');
    return slash ? join(path, (size_t)(slash - path), name, arena, err) : name;
}

const char *lm_published_config(const lm_published *p, const char *key) {
    for (int i = 0; i < p->config_count; i++)
        if (strcmp(p->config[i].key, key) == 0 && strcmp(p->config[i].value, "null") != 0)
            return p->config[i].value;
    return NULL;
}

static bool read_config(lm_published *p, const char *path, tensor_arena *arena, tensor_error *err) {
    const char *name = beside(path, "config.json", arena, err);
    lm_text text = {0};
    tensor_error fault = {0};
    const lm_place place = name ? lm_place_of(name, err) : LM_UNKNOWN;
    if (place == LM_NOTHING || place == LM_UNKNOWN) return place == LM_NOTHING;
    bool ok = lm_text_read(&text, name, LM_CHAR, &fault);
    char *json = ok ? tensor_arena_alloc(arena, text.size + 1, &fault) : NULL;
    if (json) {
        memcpy(json, text.bytes, text.size);
        json[text.size] = '\0';
        ok = nn_json_members(json, arena, &p->config, &p->config_count, &fault);
    }
    lm_text_free(&text);
    return (json && ok) || tensor_fail(err, "config.json: %s", fault.text);
}

static bool read_tokenizer(lm_instance *instance, const lm_published *p, const char *path,
                           tensor_error *err) {
    tensor_arena *arena = instance->arena;
    const char *vocabulary = beside(path, "vocab.json", arena, err);
    const char *merges = beside(path, "merges.txt", arena, err);
    const lm_place places[] = {vocabulary ? lm_place_of(vocabulary, err) : LM_UNKNOWN,
                               merges ? lm_place_of(merges, err) : LM_UNKNOWN};
    if (places[0] == LM_UNKNOWN || places[1] == LM_UNKNOWN) return false;
    if (places[0] == LM_NOTHING || places[1] == LM_NOTHING)
        return tensor_fail(err,
                           "what its tokens are is not known: vocab.json and merges.txt must lie beside it");
    if (!lm_tokenizer_of_files(&instance->tokenizer, vocabulary, merges, arena, err)) return false;
    return instance->tokenizer.count == p->vocabulary ||
           tensor_fail(err, "vocab.json has %d tokens, the model %" PRId64, instance->tokenizer.count,
                       p->vocabulary);
}

bool lm_published_read(lm_instance *instance, nn_file *file, const char *path, tensor_error *err) {
    const lm_model *model = instance->model;
    const lm_usage usage = {.options = {model->options}};
    const lm_option context = lm_integer("context", &instance->context, 1, LM_MAX_CONTEXT, NULL);
    lm_published p = {.file = file};
    char text[24];
    if (!read_config(&p, path, instance->arena, err)) return false;
    const char *settings = model->adopt(&p, instance->arena, err);
    if (!settings || !lm_options_apply(&usage, settings, err)) return false;
    snprintf(text, sizeof text, "%" PRId64, p.context);
    tensor_error fault = {0};
    if (!lm_option_set(&context, text, &fault)) return tensor_fail(err, "its context: %s", fault.text);
    return (!model->check || model->check(model->self, err)) && read_tokenizer(instance, &p, path, err);
}
