/* The command export: a model for other programs. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "models/lm/files/files.h"

/* What is exported, and how. */
typedef struct export {
    const lm_instance *instance;
    lm_publication publication;
    bool force;
}
export;

typedef bool writer(const export *e, FILE *file, tensor_error *err);

/* ---- Files that are written as a whole ---------------------------------------------------------- */

static bool write_whole(const export *e, const char *path, writer *write, tensor_error *err) {
    tensor_error fault = {0};
    FILE *file = lm_create(path, err);
    if (!file) return false;
    const bool whole = write(e, file, &fault) || tensor_fail(err, "%.200s: %s", path, fault.text);
    return lm_finish(file, path, whole, err);
}

/* ---- A folder for transformers -------------------------------------------------------------------- */

static void put_fact(FILE *file, const lm_fact *fact) {
    fprintf(file, "  \"%s\": ", fact->key);
    if (fact->kind == LM_TEXT && !fact->text)
        fputs("null", file);
    else if (fact->kind == LM_TEXT)
        lm_json_string(file, fact->text);
    else if (fact->kind == LM_YES_NO)
        fputs(fact->yes ? "true" : "false", file);
    else if (fact->kind == LM_INTEGER)
        fprintf(file, "%" PRId64, fact->integer);
    else
        fprintf(file, "%.9g", fact->real);
    fputs(",\n", file);
}

static bool write_config(const export *e, FILE *file, tensor_error *err) {
    const lm_publication *p = &e->publication;
    const lm_tokenizer *t = &e->instance->tokenizer;
    (void)err;
    fprintf(file, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n", p->architecture, p->type);
    for (int i = 0; i < p->fact_count; i++) put_fact(file, &p->facts[i]);
    for (int i = 0; i < 2; i++) {
        fprintf(file, "  \"%s_token_id\": ", i == 0 ? "bos" : "eos");
        if (lm_tokenizer_end(t) < 0)
            fputs("null,\n", file);
        else
            fprintf(file, "%d,\n", lm_tokenizer_end(t));
    }
    fprintf(file, "  \"dtype\": \"float32\",\n  \"torch_dtype\": \"float32\",\n  \"vocab_size\": %d\n}\n",
            t->count);
    return true;
}

static bool write_tokenizer(const export *e, FILE *file, tensor_error *err) {
    return lm_tokenizer_write_json(&e->instance->tokenizer, file, err);
}

static bool write_tokenizer_config(const export *e, FILE *file, tensor_error *err) {
    const lm_tokenizer *t = &e->instance->tokenizer;
    static const char *const roles[] = {"bos_token", "eos_token"};
    (void)err;
    fprintf(file, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                  "  \"clean_up_tokenization_spaces\": false,\n");
    for (int i = 0; i < 2 && lm_tokenizer_is_whole(t, lm_tokenizer_end(t)); i++) {
        fprintf(file, "  \"%s\": ", roles[i]);
        lm_json_piece(file, lm_decode(t, lm_tokenizer_end(t)));
        fputs(",\n", file);
    }
    fprintf(file, "  \"model_max_length\": %" PRId64 "\n}\n", e->instance->context);
    return true;
}

static bool export_folder(export *e, const char *folder, tensor_error *err) {
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors"};
    static writer *const writers[] = {write_config, write_tokenizer, write_tokenizer_config};
    static const char *const runs[] = {"last.safetensors", "best.safetensors"};
    static const nn_metadata metadata = {"format", "pt"};
    lm_publication *p = &e->publication;
    const char *paths[4];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return tensor_fail(err, "%.200s: cannot be made: %s", folder, strerror(errno));
    for (int i = 0; i < 2; i++) {
        const char *path = lm_path_in(folder, runs[i], p->arena, err);
        const lm_place place = path ? lm_place_of(path, err) : LM_UNKNOWN;
        if (place == LM_UNKNOWN) return false;
        if (place != LM_NOTHING)
            return tensor_fail(err, "%.200s is the folder of a run; name another one", folder);
    }
    for (int i = 0; i < 4; i++) {
        paths[i] = lm_path_in(folder, names[i], p->arena, err);
        if (!paths[i] || !lm_may_write(paths[i], e->force, err)) return false;
    }
    for (int i = 0; i < 3; i++)
        if (!write_whole(e, paths[i], writers[i], err)) return false;
    return nn_file_save(paths[3], p->tensors, p->tensor_count, &metadata, 1, err);
}

/* ---- A file for llama.cpp -------------------------------------------------------------------------- */

static bool write_gguf(const export *e, FILE *file, tensor_error *err) {
    return lm_gguf_write(file, &e->publication, &e->instance->tokenizer, err);
}

/* ---- The command --------------------------------------------------------------------------------------- */

/* Writes one form to `path`. */
static int write_form(const lm_instance *instance, lm_form form, const char *path, bool force) {
    const lm_model *model = instance->model;
    tensor_error err = {0};
    export e = {.instance = instance, .force = force};
    e.publication = (lm_publication){.form = form,
                                     .spare = form == LM_GGUF && lm_tokenizer_end(&instance->tokenizer) < 0,
                                     .arena = tensor_arena_new(&err)};
    bool ok = e.publication.arena && model->publish(model->self, instance, &e.publication, &err);
    if (ok && form == LM_GGUF)
        ok = lm_may_write(path, force, &err) && write_whole(&e, path, write_gguf, &err);
    else if (ok)
        ok = export_folder(&e, path, &err);
    tensor_arena_free(e.publication.arena);
    if (!ok) return lm_fail(model, "%s", err.text);
    lm_say(model, "wrote %s, for %s", path, form == LM_GGUF ? "llama.cpp" : "transformers");
    return LM_DONE;
}

int lm_export_command(const lm_model *model, int argc, char *const *argv) {
    const char *operands[2] = {NULL}, *gguf = NULL;
    bool force = false;
    const int64_t threads = 0;
    const lm_option options[] = {lm_string("gguf", &gguf, "FILE", "Write this file for llama.cpp."),
                                 lm_flag("force", &force, "Write over files that are there."),
                                 {0}};
    const lm_usage usage = {model->name,
                            "export",
                            "Writes a model for other programs: a folder that transformers loads, or a file "
                            "that llama.cpp loads.",
                            "FILE [DIR]",
                            {options},
                            2};
    int status = lm_begin(model, &usage, argc, argv, operands, &threads);
    if (status >= 0) return status;
    const char *ending = operands[1] ? strrchr(operands[1], '.') : NULL;
    if (ending && strcmp(ending, ".gguf") == 0) {
        lm_say(model, "export: --gguf %s writes a file for llama.cpp; without --gguf it would be a folder",
               operands[1]);
        return LM_BAD_USAGE;
    }
    if (!operands[1] && !gguf) {
        lm_say(model, "export: where to? A folder for transformers, or --gguf FILE for llama.cpp");
        return LM_BAD_USAGE;
    }
    tensor_error err = {0};
    lm_instance instance = {0};
    if (!model->publish)
        status = lm_fail(model, "no other program knows the model of %s", model->name);
    else
        status = lm_checkpoint_load(&instance, model, operands[0], &err) ? LM_DONE
                                                                         : lm_fail(model, "%s", err.text);
    if (status == LM_DONE && operands[1]) status = write_form(&instance, LM_TRANSFORMERS, operands[1], force);
    if (status == LM_DONE && gguf) status = write_form(&instance, LM_GGUF, gguf, force);
    lm_instance_free(&instance);
    return status;
}
