/* Files of models: checkpoints, published models, the folder of a run. */
#ifndef SAMPO_LM_FILES_H
#define SAMPO_LM_FILES_H

#include "models/lm/lm.h"

/* ---- Checkpoints ----------------------------------------------------------------------------------- */

/* Tensors and strings that a checkpoint holds beside the model. */
typedef struct lm_extras {
    const nn_entry *entries;
    const nn_metadata *metadata;
    int entry_count, metadata_count; /* the latter up to LM_MAX_EXTRAS */
} lm_extras;
enum { LM_MAX_EXTRAS = 96 };
/* The model's configuration and tokenizer with the extras' strings, but for those that say the same, and the extras'
 * tensors alone. */
bool lm_checkpoint_write(const lm_instance *instance, lm_extras all, const char *path, tensor_error *err);
bool lm_checkpoint_save(const lm_instance *instance, lm_extras extras, const char *path, tensor_error *err);
/* Fills an instance, and the model's options, from a file; the error text names the file. Free it also after a
 * failure. */
bool lm_checkpoint_load(lm_instance *instance, const lm_model *model, const char *path, tensor_error *err);
/* The same to read only: what the file has as BF16 or I8 stays compact (nn_params_load_compact). */
bool lm_checkpoint_load_compact(lm_instance *instance, const lm_model *model, const char *path,
                                tensor_error *err);
/* The same for a context of the first `context` positions of those that the checkpoint has; 0: all. */
bool lm_checkpoint_load_cropped(lm_instance *instance, const lm_model *model, const char *path,
                                int64_t context, tensor_error *err);
/* Opens a checkpoint: the file at `path` or, where that is an index such as model.safetensors.index.json, all files that
 * it names. NULL with one line that names the file. */
nn_file *lm_checkpoint_open(const char *path, tensor_error *err);
/* The first part of it: options, tokenizer, context, and parameters without memory for their values; the error
 * text does not name the file. */
bool lm_checkpoint_configure(lm_instance *instance, const lm_model *model, nn_file *file, const char *path,
                             tensor_error *err);
/* The run in a folder of runs that was saved last, for a line that says so; on the arena, NULL where there is none, or it
 * cannot be seen. */
#define LM_FOLDER_OF_RUNS "%.80s: a folder of runs; name one of them, such as %.120s"
const char *lm_newest_run(const char *folder, tensor_arena *arena);
/* The file that `path` names, or that lies in the folder it names; on the arena, or `path` itself. */
const char *lm_checkpoint_path(const char *path, tensor_arena *arena, tensor_error *err);

/* Configures the model, and an instance's tokenizer and context, for a published checkpoint at `path`. */
bool lm_published_read(lm_instance *instance, nn_file *file, const char *path, tensor_error *err);

/* ---- Export ------------------------------------------------------------------------------------------ */

/* Writes a publication of the form LM_GGUF for llama.cpp, in version 3 of its format, behind the stream's position.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
bool lm_gguf_write(FILE *file, const lm_publication *publication, const lm_tokenizer *tokenizer,
                   tensor_error *err);
/* The command export: a folder for transformers, a file for llama.cpp. */
int lm_export_command(const lm_model *model, int argc, char *const *argv);

/* The command quantize: a model in less memory. */
int lm_quantize_command(const lm_model *model, int argc, char *const *argv);

/* ---- Files that commands write ---------------------------------------------------------------------- */

/* A stream to write a file with. An earlier one stays whole until lm_finish, with all of the new one (`whole`), has it on
 * the disk; devices and pipes are written to as they are. NULL and false with a text that names the file, but where it
 * is not whole: that the caller has said. */
FILE *lm_create(const char *path, tensor_error *err);
bool lm_finish(FILE *file, const char *path, bool whole, tensor_error *err);
/* Refuses to write over a file, unless forced, and over what is none. */
bool lm_may_write(const char *path, bool force, tensor_error *err);

/* ---- The folder of a run --------------------------------------------------------------------------- */

/* The lock of a folder for the one process that writes there: the file .lock in it, locked while it is open. It ends with
 * the process, however that ends; what a killed one leaves of it is no obstacle. fd -1: not locked. */
typedef struct lm_lock {
    int fd;
    const char *path;
} lm_lock;
/* Fails where another process has it, with a text that names that and the folder. A file system without locks gives
 * none. */
bool lm_run_lock(lm_lock *lock, const char *folder, tensor_arena *arena, tensor_error *err);
void lm_run_unlock(lm_lock *lock);

#endif
