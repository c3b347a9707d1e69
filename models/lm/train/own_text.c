/* The text that a checkpoint was trained on, found again: its metadata say which one that was. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/train/train.h"

/* What metadata say of a text. */
typedef struct origin {
    const char *names; /* of its files, with newlines between them; NULL: nothing is known of a text */
    int64_t tokens, hash;
} origin;

static int64_t number_of(const nn_file *file, const char *key) {
    const char *value = nn_file_metadata(file, key);
    return value ? strtoll(value, NULL, 10) : 0;
}

/* The path is a checkpoint's; memory is the arena's. */
static bool read_origin(origin *o, const char *path, tensor_arena *arena, tensor_error *err) {
    *o = (origin){0};
    nn_file *file = lm_checkpoint_open(path, err);
    if (!file) return false;
    const char *names = nn_file_metadata(file, "train.data");
    o->tokens = number_of(file, "train.text_tokens");
    o->hash = number_of(file, "train.text_hash");
    if (names && o->tokens > 0) {
        char *copy = tensor_arena_alloc(arena, strlen(names) + 1, err);
        o->names = copy ? strcpy(copy, names) : NULL;
    }
    nn_file_close(file);
    return !err->text[0];
}

static bool is_it(const lm_corpus *corpus, const origin *o) {
    return corpus->tokens.count == o->tokens && (int64_t)(corpus->hash >> 12) == o->hash;
}

/* Uses the tokens that the run kept beside the checkpoint; false without a text in err: none that fit. */
static bool open_kept(const lm_instance *instance, const char *path, const origin *o, lm_corpus *corpus,
                      tensor_error *err) {
    const char *tokens = lm_path_beside(path, "tokens.bin", instance->arena, err);
    if (!tokens || !lm_corpus_reuse(corpus, &instance->tokenizer, tokens, err)) return false;
    if (is_it(corpus, o)) return true;
    lm_corpus_free(corpus);
    return false;
}

bool lm_open_kept_text(const lm_instance *instance, const char *path, lm_corpus *corpus, tensor_error *err) {
    origin o;
    *corpus = (lm_corpus){0};
    return read_origin(&o, path, instance->arena, err) && o.names &&
           open_kept(instance, path, &o, corpus, err);
}

/* Names the files; fails, with the reason, where one cannot be read. */
static int name_files(const lm_model *model, const char *path, const origin *o, lm_paths *data,
                      tensor_arena *arena) {
    char *names = tensor_arena_alloc(arena, strlen(o->names) + 1, NULL);
    if (!names) return lm_fail(model, "out of memory");
    strcpy(names, o->names);
    for (char *at = names, *end; at && data->count < LM_MAX_FILES; at = end) {
        end = strchr(at, '\n');
        if (end) *end++ = '\0';
        if (strcmp(at, "-") == 0 || !*at)
            return lm_fail(model, "%s was trained on %s; name a text with --data", path,
                           *at ? "standard input, which is gone" : "a text that it does not name");
        if (access(at, R_OK) != 0)
            return lm_fail(model, "%s was trained on %s, which cannot be read: %s; name a text with --data",
                           path, at, strerror(errno));
        data->paths[data->count++] = at;
    }
    return LM_DONE;
}

static int open_text(const lm_instance *instance, lm_paths *data, lm_corpus *corpus) {
    tensor_error err = {0};
    lm_text text = {0};
    int status = lm_open_text(instance->model, &text, data, instance->tokenizer.kind, instance->arena);
    lm_busy *busy = lm_busy_begin(instance->model->name, "cutting the text into tokens");
    const bool ok = status == LM_DONE && lm_corpus_open(corpus, &instance->tokenizer, &text, NULL, &err);
    lm_busy_end(busy);
    if (status == LM_DONE && !ok) status = lm_fail(instance->model, "%s: %s", data->name, err.text);
    lm_text_free(&text);
    return status;
}

int lm_open_own_text(const lm_instance *instance, const char *checkpoint, lm_paths *data, lm_corpus *corpus,
                     bool *own) {
    const lm_model *model = instance->model;
    tensor_error err = {0};
    origin o;
    *corpus = (lm_corpus){0};
    const char *path = lm_checkpoint_path(checkpoint, instance->arena, &err);
    if (!path || !read_origin(&o, path, instance->arena, &err)) return lm_fail(model, "%s", err.text);
    *own = true;
    if (data->count > 0 || !o.names) {
        const int status = open_text(instance, data, corpus);
        *own = status == LM_DONE && is_it(corpus, &o);
        return status;
    }
    data->name = strchr(o.names, '\n') ? "its texts" : strcmp(o.names, "-") == 0 ? "standard input" : o.names;
    if (open_kept(instance, path, &o, corpus, &err)) return LM_DONE;
    if (err.text[0]) return lm_fail(model, "%s", err.text);
    int status = name_files(model, path, &o, data, instance->arena);
    if (status == LM_DONE) status = open_text(instance, data, corpus);
    if (status == LM_DONE && !is_it(corpus, &o))
        return lm_fail(model,
                       "%s is no longer the text that %s was trained on: that had %" PRId64
                       " tokens, this has %" PRId64 "; name a text with --data",
                       data->name, path, o.tokens, corpus->tokens.count);
    return status;
}
