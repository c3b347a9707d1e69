/* Sampo nn: files that are replaced as a whole, checkpoints in the safetensors format, JSON. */
#ifndef SAMPO_CHECKPOINT_H
#define SAMPO_CHECKPOINT_H

#include "sampo/params.h"

SAMPO_BEGIN_DECLS

/* ---- Files that are replaced as a whole ----------------------------------------------------- *
 * A new file is written as PATH.tmp beside the one at PATH and takes its name only when all of it is on the disk: a
 * failure at any moment, or the end of the process, leaves the earlier file whole. */

/* A descriptor to write and read the new file with; -1: failed. A file that a killed program left at PATH.tmp is removed,
 * a link there is refused, and so is a PATH that is a device, a pipe or a folder. */
int nn_file_begin(const char *path, tensor_error *err);
/* Closes it in any case. Where all has been written (`whole`), syncs it and gives it its name; otherwise, or where that
 * fails, removes it and returns false. Not whole: leaves err as it is. */
bool nn_file_end(int fd, const char *path, bool whole, tensor_error *err);
bool nn_file_sync(int fd); /* fsync, again where a signal interrupts it */

/* ---- Checkpoints: the safetensors format --------------------------------------------------- *
 * Eight bytes: the header's length; the header, a JSON object of names, dtypes, shapes and offsets, with
 * strings under "__metadata__"; the data, little-endian. https://github.com/huggingface/safetensors */

typedef struct nn_file nn_file;

/* Opens and validates a file: header, names, shapes, offsets inside the file and without overlap. NULL with
 * one line in err that names the file and the fault. The data are mapped, not read: a file that is replaced in
 * the meantime is no matter, one that is cut short is. Free with nn_file_close (NULL is accepted). */
nn_file *nn_file_open(const char *path, tensor_error *err);
void nn_file_close(nn_file *file);

/* A string of the metadata, which the file owns until nn_file_close; NULL: no such key. */
const char *nn_file_metadata(const nn_file *file, const char *key);

/* Strings of "__metadata__": of a file by index, 0 <= i < nn_file_metadata_count, in ascending order of keys; never NULL
 * there. They live until nn_file_close. */
typedef struct nn_metadata {
    const char *key, *value;
} nn_metadata;
int nn_file_metadata_count(const nn_file *file);
const nn_metadata *nn_file_metadata_at(const nn_file *file, int i);

/* One tensor of a file: `data` is aligned to its type and lives until nn_file_close. By index, 0 <= i < nn_file_entries,
 * and never NULL there; and by name. */
typedef struct nn_entry {
    const char *name;
    const char *dtype; /* "F32", "F64", "I32", ... as in the file */
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    const void *data;
    size_t bytes;
} nn_entry;
int nn_file_entries(const nn_file *file);
const nn_entry *nn_file_at(const nn_file *file, int i);
const nn_entry *nn_file_find(const nn_file *file, const char *name); /* NULL: no such tensor */

/* Takes `prefix` off the names that begin with it: of a model that was saved as a part of another. False where two
 * names become one. */
bool nn_file_strip(nn_file *file, const char *prefix, tensor_error *err);
/* Adds the tensors of another file, of a model in several; the file owns `part` from then on, also after a failure. False
 * where both have a name, or where there is no part (NULL, as nn_file_open may return it) or it is joined already. */
bool nn_file_join(nn_file *file, nn_file *part, tensor_error *err);
/* Keeps only the first rows of a tensor; false where there is none with so many. */
bool nn_file_crop(nn_file *file, const char *name, int64_t rows, tensor_error *err);

/* Writes entries (F32, I32, BF16, I8, U8, U16, U32) and metadata into a file that replaces an earlier one as a whole. */
bool nn_file_save(const char *path, const nn_entry *entries, int count, const nn_metadata *metadata,
                  int metadata_count, tensor_error *err);

/* All parameters under their names, aliases left out, as entries that stay valid as long as the registry: into a
 * list with room for nn_params_entries; returns how many. Once finalized. */
int nn_params_list(const nn_params *params, nn_entry *list);

/* The same with the weights of linear layers and tables rounded (see tensor_compact), but for the one named `except`
 * (NULL: none): as BF16, or as I8 with the scales as BF16 in NAME.scale. Memory is the arena's, the list has room for
 * twice nn_params_entries; -1: failed. */
int nn_params_list_rounded(const nn_params *params, tensor_precision precision, const char *except,
                           nn_entry *list, tensor_arena *arena, tensor_error *err);

/* nn_params_save writes all parameters to a file, and nn_params_load reads them from one. Loading needs each parameter,
 * under its name or an alias, as F32, F16 or BF16, or as I8 with scales, and with its shape, and accepts further
 * tensors in the file. */
bool nn_params_save(const nn_params *params, const char *path, const nn_metadata *metadata,
                    int metadata_count, tensor_error *err);
bool nn_params_load(nn_params *params, const nn_file *file, tensor_error *err);
/* Loads what there is: of the parameters whose names begin with `scope` ("" all of them) those that the file has, where
 * that beginning is `prefix`: "encoder." and "bert.encoder." give encoder.0.weight the tensor bert.encoder.0.weight.
 * Returns how many of them the file lacks, which keep their values; their names go into missing (NULL, or room for
 * nn_params_entries) and live as long as the registry. -1, with a text in err and nothing changed, where a tensor does
 * not fit. */
int nn_params_load_part(nn_params *params, const nn_file *file, const char *scope, const char *prefix,
                        const char **missing, tensor_error *err);
/* The same as nn_params_load in place of nn_params_finalize: weights of linear layers and tables that the file has as
 * BF16 or as I8 stay compact, in half or a quarter of the memory. nn_linear and nn_embedding take them on tapes that do
 * not record; they cannot be trained, and are no part of nn_values. */
bool nn_params_load_compact(nn_params *params, const nn_file *file, tensor_error *err);

/* The strings of a JSON array such as a vocabulary, ["a", "b"], into memory that `arena` owns: *strings [count],
 * each ended by NUL (a NUL inside is refused). */
bool nn_json_strings(const char *json, tensor_arena *arena, const char *const **strings, int *count,
                     tensor_error *err);
/* The same of an object of integers such as {"a": 0, "b": 1}: *keys and *values [count]. */
bool nn_json_integers(const char *json, tensor_arena *arena, const char *const **keys, const int64_t **values,
                      int *count, tensor_error *err);
/* The values of a JSON array of anything, as nn_json_members has them. */
bool nn_json_values(const char *json, tensor_arena *arena, const char *const **values, int *count,
                    tensor_error *err);
/* The members of a JSON object such as a configuration, in its order, into memory that `arena` owns: strings
 * decoded, all other values as they are written, such as 1e-5, null or [1, 2]. */
bool nn_json_members(const char *json, tensor_arena *arena, const nn_metadata **members, int *count,
                     tensor_error *err);
/* The value of a key among them; NULL: none, or null. */
const char *nn_json_member(const nn_metadata *members, int count, const char *key);
/* Writes text as a JSON string with its quotes; returns the length it needs, as snprintf does. */
size_t nn_json_quote(char *buffer, size_t size, const char *text);

SAMPO_END_DECLS
#endif
