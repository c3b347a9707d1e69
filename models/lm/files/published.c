/* Checkpoints published for Hugging Face's transformers: a file of tensors or several, and beside it config.json and the
 * tokenizer's files. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/lm/files/files.h"

const char *lm_newest_run(const char *folder, tensor_arena *arena) {
    const char *newest = NULL;
    time_t at = 0;
    DIR *runs = opendir(folder);
    for (struct dirent *entry; runs && (entry = readdir(runs));) {
        struct stat saved;
        const char *run = entry->d_name[0] == '.' ? NULL : lm_path_in(folder, entry->d_name, arena, NULL);
        const char *last = run ? lm_path_in(run, "last.safetensors", arena, NULL) : NULL;
        if (!last || stat(last, &saved) != 0 || (newest && saved.st_mtime < at)) continue;
        newest = run, at = saved.st_mtime;
    }
    if (runs) closedir(runs);
    return newest;
}

const char *lm_checkpoint_path(const char *path, tensor_arena *arena, tensor_error *err) {
    static const char *const names[] = {"model.safetensors", "best.safetensors", "last.safetensors",
                                        "model.safetensors.index.json"};
    const lm_place named = lm_place_of(path, err);
    if (named != LM_FOLDER) return named == LM_UNKNOWN ? NULL : path; /* who opens it says what is wrong */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *file = lm_path_in(path, names[i], arena, err);
        const lm_place place = file ? lm_place_of(file, err) : LM_UNKNOWN;
        if (place != LM_NOTHING) return place == LM_UNKNOWN ? NULL : file;
    }
    const char *other = lm_path_in(path, "pytorch_model.bin", arena, err), *run;
    if (other && lm_place_of(other, NULL) == LM_FILE)
        tensor_fail(err,
                    "%.100s: pytorch_model.bin is a program that only PyTorch runs; a new version of "
                    "transformers loads it, and its save_pretrained writes %s",
                    path, names[0]);
    else if ((run = lm_newest_run(path, arena)))
        tensor_fail(err, LM_FOLDER_OF_RUNS, path, run);
    else
        tensor_fail(err, "%.100s: a folder without %s, %s or %s", path, names[0], names[1], names[2]);
    return NULL;
}

/* ---- Several files ------------------------------------------------------------------------------- */

/* Opens the files that {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}} names, each once. */
static nn_file *open_parts(const char *path, const char *json, tensor_arena *arena, tensor_error *err) {
    const nn_metadata *list;
    nn_file *whole = NULL;
    int count;
    if (!nn_json_members(json, arena, &list, &count, err)) return NULL;
    const char *map = nn_json_member(list, count, "weight_map");
    if (!map) return tensor_fail(err, "it has no weight_map"), NULL;
    if (!nn_json_members(map, arena, &list, &count, err)) return NULL;
    if (count == 0) return tensor_fail(err, "its weight_map is empty"), NULL;
    for (int i = 0; i < count; i++) {
        int first = 0;
        while (strcmp(list[first].value, list[i].value) != 0) first++;
        if (first < i) continue;
        const bool name = !strchr(list[i].value, '/');
        const char *part_path = name ? lm_path_beside(path, list[i].value, arena, err) : NULL;
        if (!name) tensor_fail(err, "'%.60s' is not a file beside it", list[i].value);
        nn_file *part = part_path ? nn_file_open(part_path, err) : NULL;
        if (part && (!whole || nn_file_join(whole, part, err))) {
            if (!whole) whole = part;
            continue;
        }
        nn_file_close(whole);
        return NULL;
    }
    return whole;
}

nn_file *lm_checkpoint_open(const char *path, tensor_error *err) {
    static const char index[] = ".index.json";
    const size_t length = strlen(path), end = strlen(index);
    if (length < end || strcmp(path + length - end, index) != 0) return nn_file_open(path, err);
    tensor_error fault = {0};
    tensor_arena *arena = tensor_arena_new(&fault);
    const char *json = arena ? lm_text_string(path, arena, &fault) : NULL;
    nn_file *file = json ? open_parts(path, json, arena, &fault) : NULL;
    tensor_arena_free(arena);
    if (!file) tensor_fail(err, "%.100s: %s", path, fault.text);
    return file;
}

/* ---- config.json ----------------------------------------------------------------------------------- */

const char *lm_published_text(const lm_published *p, const char *key) {
    return nn_json_member(p->config, p->config_count, key);
}

/* A number as JSON writes it; false where a value is none. */
static bool number(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end > text && !*end && (*text == '-' || (*text >= '0' && *text <= '9'));
}

bool lm_published_real(const lm_published *p, const char *key, double low, double high, double *value,
                       tensor_error *err) {
    const char *text = lm_published_text(p, key);
    double x;
    if (!text) return true;
    if (!number(text, &x)) return tensor_fail(err, "config.json: %s: '%.40s' is not a number", key, text);
    if (!(x >= low && x <= high))
        return tensor_fail(err, "config.json: %s: %.40s is out of range: %g to %g", key, text, low, high);
    *value = x;
    return true;
}

bool lm_published_integer(const lm_published *p, const char *key, int64_t least, int64_t most, int64_t *value,
                          tensor_error *err) {
    const char *text = lm_published_text(p, key);
    double x;
    if (!text) return true;
    if (!number(text, &x) || x != floor(x))
        return tensor_fail(err, "config.json: %s: '%.40s' is not a whole number", key, text);
    if (!(x >= (double)least && x <= (double)most))
        return tensor_fail(err, "config.json: %s: %.40s is out of range: %" PRId64 " to %" PRId64, key, text,
                           least, most);
    *value = (int64_t)x;
    return true;
}

bool lm_published_flag(const lm_published *p, const char *key, bool *value, tensor_error *err) {
    const char *text = lm_published_text(p, key);
    const bool yes = text && strcmp(text, "true") == 0;
    if (text && !yes && strcmp(text, "false") != 0)
        return tensor_fail(err, "config.json: %s: '%.40s' is neither true nor false", key, text);
    if (text) *value = yes;
    return true;
}

static bool read_config(lm_published *p, const char *path, tensor_arena *arena, tensor_error *err) {
    const char *name = lm_path_beside(path, "config.json", arena, err);
    tensor_error fault = {0};
    const lm_place place = name ? lm_place_of(name, err) : LM_UNKNOWN;
    if (place == LM_NOTHING || place == LM_UNKNOWN) return place == LM_NOTHING;
    const char *json = lm_text_string(name, arena, &fault);
    return (json && nn_json_members(json, arena, &p->config, &p->config_count, &fault)) ||
           tensor_fail(err, "config.json: %s", fault.text);
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

static bool read_tokenizer(lm_instance *instance, const lm_published *p, const char *path,
                           tensor_error *err) {
    const char *slash = strrchr(path, '/');
    const size_t length = slash ? (size_t)(slash - path) : 1;
    int64_t end = -1;
    char *folder = tensor_arena_alloc(instance->arena, length + 1, err);
    if (!folder) return false;
    snprintf(folder, length + 1, "%s", slash ? path : ".");
    if (!lm_tokenizer_of_folder(&instance->tokenizer, folder, p->vocabulary, instance->arena, err))
        return false;
    if (lm_published_integer(p, "eos_token_id", 0, LM_MAX_VOCABULARY, &end, NULL)) /* some have a list */
        lm_tokenizer_set_end(&instance->tokenizer, end);
    return true;
}

bool lm_published_read(lm_instance *instance, nn_file *file, const char *path, tensor_error *err) {
    const lm_model *model = instance->model;
    lm_published p = {.file = file};
    if (!read_config(&p, path, instance->arena, err) || !model->adopt(model->self, &p, err)) return false;
    if (p.context < 1 || p.context > LM_MAX_CONTEXT)
        return tensor_fail(err, "its context is out of range: %" PRId64 ", not 1 to %d", p.context,
                           LM_MAX_CONTEXT);
    if (p.vocabulary < 1 || p.vocabulary > LM_MAX_VOCABULARY)
        return tensor_fail(err, "its vocabulary is out of range: %" PRId64 ", not 1 to %d", p.vocabulary,
                           LM_MAX_VOCABULARY);
    instance->context = p.context;
    return (!model->check || model->check(model->self, err)) && read_tokenizer(instance, &p, path, err);
}
