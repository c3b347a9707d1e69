/* Sampo nn: modules, parameters, optimizers, data-parallel training and checkpoints.
 *
 * A model is a struct of modules. Its parameters are registered by name, then laid out flat:
 *
 *     nn_params *params = nn_params_new();
 *     struct nn_linear hidden, out;
 *     nn_linear_init(&hidden, params, "hidden", 2, 16, NN_LINEAR_DEFAULTS);
 *     nn_linear_init(&out, params, "out", 16, 1, NN_LINEAR_DEFAULTS);
 *     if (!nn_params_finalize(params, seed)) puts(nn_params_error(params));
 *     ag_var *y = nn_linear(&out, ag_tanh(nn_linear(&hidden, x)));
 *     if (!nn_backward(params, loss)) puts(ag_error(tape));
 *     nn_adamw_step(&adamw, params);
 *
 * Conventions: registering never fails visibly; the first failure (memory, a name used twice, a bad size)
 * stays in the registry and makes nn_params_finalize fail with it. A module is a plain struct without
 * memory of its own: it lives as long as the registry. Forward functions follow autograd.h: NULL in, NULL
 * out. Defaults equal PyTorch's.
 */
#ifndef SAMPO_NN_H
#define SAMPO_NN_H

#include "sampo/autograd.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parameters --------------------------------------------------------------------------- */

typedef struct nn_params nn_params;

/* How a parameter is filled: low..high uniform, or normal(mean, deviation), or one value. */
typedef enum nn_init_kind { NN_INIT_VALUE, NN_INIT_UNIFORM, NN_INIT_NORMAL } nn_init_kind;
typedef struct nn_init {
    nn_init_kind kind;
    float a, b; /* the value; low and high; mean and deviation */
} nn_init;
#define NN_ZEROS (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 0, 0})
#define NN_ONES (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 1, 0})
#define NN_UNIFORM(bound) (TENSOR_LITERAL(nn_init){NN_INIT_UNIFORM, -(float)(bound), (float)(bound)})
#define NN_NORMAL(deviation) (TENSOR_LITERAL(nn_init){NN_INIT_NORMAL, 0, (float)(deviation)})

nn_params *nn_params_new(void);                       /* NULL when memory is out */
void nn_params_free(nn_params *params);               /* NULL is accepted */
const char *nn_params_error(const nn_params *params); /* the first failure; NULL: none */

/* Registers a parameter and returns its variable, whose value is there after nn_params_finalize; the
 * registry owns it and copies the name. */
ag_var *nn_param(nn_params *params, const char *name, nn_init init, int rank, const int64_t *shape);

/* Gives a registered parameter a second name: one entry, one gradient (tied weights). */
void nn_tie(nn_params *params, const char *alias, ag_var *parameter);

/* A name in the registry's memory: nn_name(params, "h.%d.ln_1", 3). NULL when memory is out (accepted by the
 * functions that take names). */
const char *nn_name(nn_params *params, const char *format, ...) TENSOR_PRINTF(2, 3);

/* Allocates all values and gradients, one flat array each, and fills the values: parameter number i from
 * stream i of the seed, so a parameter's values do not depend on the others' sizes. */
bool nn_params_finalize(nn_params *params, uint64_t seed);
/* The same, but values that nn_params_load will give are not filled. */
bool nn_params_reserve(nn_params *params);

/* After nn_params_finalize: all values, all gradients, each [count], in the order of registration. */
tensor nn_values(const nn_params *params);
tensor nn_grads(nn_params *params);
/* The part of nn_grads that belongs to one parameter, in its shape; no tensor for what is no parameter of these. */
tensor nn_grad(nn_params *params, const ag_var *parameter);
int64_t nn_params_count(const nn_params *params); /* numbers in all, tied ones once */

/* Entries by index, aliases included (an alias returns the parameter it stands for), and by name. */
int nn_params_entries(const nn_params *params);
const char *nn_params_name(const nn_params *params, int i);
ag_var *nn_params_at(const nn_params *params, int i);
bool nn_params_is_alias(const nn_params *params, int i);
ag_var *nn_params_find(const nn_params *params, const char *name); /* NULL: no such name */

/* ---- Modules ------------------------------------------------------------------------------ */

/* y = x W + b. W [in, out] (out_in: [out, in], as tied heads have it), b [out]. Initialised uniform in
 * +-1/sqrt(in), as torch.nn.Linear, or normal(0, deviation) with zero biases, as GPT-2, for deviation > 0. */
struct nn_linear {
    ag_var *weight, *bias; /* bias NULL: none */
    bool out_in;
};
typedef struct nn_linear_options {
    bool no_bias, out_in;
    float deviation;
    ag_var *tied; /* use this weight instead of registering one; the name becomes its alias */
    bool zero;    /* weight and bias begin as zeros */
} nn_linear_options;
#define NN_LINEAR_DEFAULTS (TENSOR_LITERAL(nn_linear_options){false, false, 0, NULL, false})
void nn_linear_init(struct nn_linear *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    nn_linear_options options);
ag_var *nn_linear(const struct nn_linear *m, ag_var *x);

/* Rows of a table [count, width], normal(0, deviation); torch.nn.Embedding has 1. ids int32. */
struct nn_embedding {
    ag_var *weight;
};
void nn_embedding_init(struct nn_embedding *m, nn_params *params, const char *name, int64_t count,
                       int64_t width, float deviation);
ag_var *nn_embedding(const struct nn_embedding *m, ag_var *ids);

/* Layer normalisation over the last axis, weight 1, bias 0. */
struct nn_layer_norm {
    ag_var *weight, *bias;
    float eps;
};
#define NN_LAYER_NORM_EPS 1e-5f
void nn_layer_norm_init(struct nn_layer_norm *m, nn_params *params, const char *name, int64_t width,
                        float eps);
ag_var *nn_layer_norm(const struct nn_layer_norm *m, ag_var *x);

/* Dropout while rng is given, nothing without (evaluation). */
struct nn_dropout {
    float p;
};
ag_var *nn_dropout(const struct nn_dropout *m, ag_var *x, tensor_rng *rng);

typedef enum nn_activation { NN_RELU, NN_GELU_TANH, NN_GELU } nn_activation;
ag_var *nn_activate(nn_activation activation, ag_var *x);

/* Causal self-attention: x [B, T, C] -> projection of the attention of x's queries, keys and values.
 * Parameters c_attn [C, 3C] and c_proj [C, C], as GPT-2 names them. */
struct nn_attention {
    struct nn_linear c_attn, c_proj;
    struct nn_dropout dropout; /* after the projection */
    int heads;
    float scale;
};
typedef struct nn_attention_options {
    int heads;   /* divides the width */
    float scale; /* 0: 1 / sqrt(width / heads) */
    bool no_qkv_bias;
    float dropout;
    float deviation, projection_deviation; /* as in nn_linear_options */
    bool zero_projection;                  /* c_proj begins as zeros */
} nn_attention_options;
#define NN_ATTENTION_DEFAULTS (TENSOR_LITERAL(nn_attention_options){1, 0, false, 0, 0, 0, false})
void nn_attention_init(struct nn_attention *m, nn_params *params, const char *name, int64_t width,
                       nn_attention_options options);
ag_var *nn_attention(const struct nn_attention *m, ag_var *x, tensor_rng *dropout);
/* How much each token attends to those before it: ag_attention_weights of x's queries and keys. */
ag_var *nn_attention_weights(const struct nn_attention *m, ag_var *x);

/* c_proj(activation(c_fc(x))), then dropout. */
struct nn_mlp {
    struct nn_linear c_fc, c_proj;
    struct nn_dropout dropout;
    nn_activation activation;
};
typedef struct nn_mlp_options {
    int64_t hidden; /* 0: 4 width */
    nn_activation activation;
    float dropout;
    float deviation, projection_deviation;
    bool zero_projection;
} nn_mlp_options;
#define NN_MLP_DEFAULTS (TENSOR_LITERAL(nn_mlp_options){0, NN_RELU, 0, 0, 0, false})
void nn_mlp_init(struct nn_mlp *m, nn_params *params, const char *name, int64_t width,
                 nn_mlp_options options);
ag_var *nn_mlp(const struct nn_mlp *m, ag_var *x, tensor_rng *dropout);

/* A transformer's block with its norms in front: x += attn(ln_1(x)); x += mlp(ln_2(x)). Parameters as GPT-2 names
 * them: ln_1, attn, ln_2, mlp. */
struct nn_block {
    struct nn_layer_norm ln_1;
    struct nn_attention attn;
    struct nn_layer_norm ln_2;
    struct nn_mlp mlp;
};
void nn_block_init(struct nn_block *m, nn_params *params, const char *name, int64_t width,
                   nn_attention_options attention, nn_mlp_options mlp);
ag_var *nn_block(const struct nn_block *m, ag_var *x, tensor_rng *dropout);
/* The same where `values` [B, T, C] is added to the values of attention, all heads side by side: such as rows of a table for
 * each token, or for each pair of tokens, which then need not go through the block's input. */
ag_var *nn_block_with_values(const struct nn_block *m, ag_var *x, ag_var *values, tensor_rng *dropout);

/* ---- Writing token by token: keys and values are kept --------------------------------------- */

/* Keys and values of the tokens that a model has read, so that the tokens after them are computed alone. Whoever runs the
 * model adds the number of new tokens to `length` after each run; 0 forgets everything. H is the number of key heads. */
typedef struct nn_cache {
    tensor k;       /* [layers, B, H, D, T]: a token's key is a column */
    tensor v;       /* [layers, B, H, T, D] */
    int64_t length; /* tokens it holds, up to T */
} nn_cache;
bool nn_cache_init(nn_cache *cache, int64_t layers, int64_t batch, int64_t heads, int64_t context,
                   int64_t head_size, tensor_arena *arena, tensor_error *err);
/* The same cache for rows begin..end-1 of the batch alone (clipped, as tensor_slice does), in the same memory: for threads
 * that share the rows. */
nn_cache nn_cache_rows(const nn_cache *cache, int64_t begin, int64_t end);
/* Appends *k and *v [B, H, N, D], those of the N tokens after the cache's, to a layer, and makes of them views of all
 * tokens so far: [B, H, length + N, D], for ag_attention with `causal`. A row of its result has the bits that it has for
 * the whole sequence at once. Rotary positions come before it, for positions from `length` on. Without recording only. */
bool nn_cache_append(const nn_cache *cache, int64_t layer, ag_var **k, ag_var **v);

/* nn_block without recording or dropout, where x [B, N, C] are the tokens after the cache's: appends their keys and values
 * to its layer `layer` and returns the results of x[:, first:], -1 being the last. */
ag_var *nn_block_cached(const struct nn_block *m, ag_var *x, const nn_cache *cache, int64_t layer,
                        int64_t first);
ag_var *nn_block_with_values_cached(const struct nn_block *m, ag_var *x, ag_var *values,
                                    const nn_cache *cache, int64_t layer,
                                    int64_t first); /* values [B, N, C] */

/* ---- Losses ------------------------------------------------------------------------------- */

ag_var *nn_cross_entropy(ag_var *logits, ag_var *targets); /* ag_cross_entropy */
ag_var *nn_mse_loss(ag_var *x, ag_var *target);            /* mean of (x - target)^2; equal shapes */

/* ---- Optimizers: one pass over the flat arrays -------------------------------------------- */

/* Adds the gradient of a scalar to nn_grads: of the parameters of this registry and nothing else. So two models in one
 * expression train apart, and nothing of the other is computed; a loss that depends on none of them adds nothing. False
 * with a text on the loss's tape. */
bool nn_backward(nn_params *params, ag_var *loss);

void nn_zero_grad(nn_params *params);

/* Scales all gradients so that their Euclidean norm is at most max_norm; returns the norm before, summed in
 * double (torch.nn.utils.clip_grad_norm_). */
double nn_clip_grad_norm(nn_params *params, double max_norm);

/* v = momentum v + g; p -= rate v (torch.optim.SGD; decay adds decay p to g). */
typedef struct nn_sgd_options {
    double rate, momentum, decay;
} nn_sgd_options;
#define NN_SGD_DEFAULTS (TENSOR_LITERAL(nn_sgd_options){1e-3, 0, 0})
struct nn_sgd {
    nn_sgd_options options;
    tensor velocity; /* of the registry; no tensor without momentum */
};
/* A step fails, with a text in the registry, where since nn_zero_grad neither nn_backward put something into nn_grads nor
 * somebody asked for them. */
bool nn_sgd_init(struct nn_sgd *o, nn_params *params, nn_sgd_options options);
bool nn_sgd_step(struct nn_sgd *o, nn_params *params);

/* Parameters by their names, which an optimizer treats apart: `rate` multiplies its rate for them, and 0 leaves them out,
 * as they are. `names` are patterns with a space between them, in which * stands for any text: "wte.weight h.*.ln_*". The
 * first group of a list that fits a name counts; what none fits has 1. The list ends with {0} and outlives the optimizer. */
typedef struct nn_group {
    const char *names;
    double rate;
} nn_group;

/* tensor_adamw over all parameters (torch.optim.AdamW). */
typedef struct nn_adamw_options {
    double rate, beta1, beta2, eps, decay;
    bool decay_matrices;    /* decay is for parameters of rank 2 and above alone: no biases, no layer norms */
    const nn_group *groups; /* NULL: none */
} nn_adamw_options;
#define NN_ADAMW_DEFAULTS (TENSOR_LITERAL(nn_adamw_options){1e-3, 0.9, 0.999, 1e-8, 0.01, false, NULL})
struct nn_adamw {
    nn_adamw_options options; /* rate may change between steps */
    tensor m, v;              /* of the registry, each [count] */
    int64_t step;             /* steps done */
};
bool nn_adamw_init(struct nn_adamw *o, nn_params *params, nn_adamw_options options);
bool nn_adamw_step(struct nn_adamw *o, nn_params *params);

/* Muon (Jordan et al. 2024), for the weights of hidden layers; biases, tables and the output are for another optimizer, by
 * groups. With g, v and p being gradient, momentum and value of a weight, as [out, in]:
 *     v = m v + (1 - m) g; u = m v + (1 - m) g, or v where not `nesterov`;
 *     X = u / max(|u|, eps); five times: A = X X^T; X = 3.4445 X + (2.0315 A A - 4.7750 A) X;
 *     p = (1 - rate decay) p - rate sqrt(max(1, out / in)) X.
 * A weight [in, out] changes by the same numbers. The queries, keys and values of nn_attention are three weights. This is
 * torch.optim.Muon, but for X, which is float32 here and bfloat16 there. */
typedef struct nn_muon_options {
    double rate, momentum, eps, decay;
    bool nesterov;
    const nn_group *groups; /* NULL: all parameters, which must be matrices then; read by nn_muon_init */
} nn_muon_options;
#define NN_MUON_DEFAULTS (TENSOR_LITERAL(nn_muon_options){1e-3, 0.95, 1e-7, 0.1, true, NULL})
struct nn_muon_state;
struct nn_muon {
    nn_muon_options options; /* rate, momentum and decay may change between steps */
    tensor momentum;         /* of the registry, [count] */
    struct nn_muon_state *state;
};
bool nn_muon_init(struct nn_muon *o, nn_params *params, nn_muon_options options);
bool nn_muon_step(struct nn_muon *o, nn_params *params);
/* How many float32 numbers nn_muon_init takes; also before nn_params_finalize. */
int64_t nn_muon_numbers(const nn_params *params, const nn_muon_options *options);

/* The mean of the values after several steps, mean += (x - mean) / count: less noisy than the last ones (Polyak & Juditsky
 * 1992). nn_average_show puts it in the place of the values, to be measured and saved, and the values back (false), with which
 * training goes on; before there is a mean it does nothing. */
struct nn_average {
    tensor other;  /* of the registry, [count]: the mean or, while that is shown, the values */
    int64_t count; /* so many values are in the mean; 0 begins anew */
    bool shown;
};
bool nn_average_init(struct nn_average *o, nn_params *params);
bool nn_average_add(struct nn_average *o, nn_params *params);
void nn_average_show(struct nn_average *o, nn_params *params, bool shown);

/* The learning rate of step i, counted from 0: a linear warm-up, rate (i + 1) / (warmup + 1) for i < warmup; then
 * constant, or falling from step `fall` on (from the warm-up's end where that is later) to `lowest` at step `end`, on a line or
 * as half a period of a cosine (Loshchilov & Hutter 2017).
 * The same bits on every machine. */
typedef enum nn_schedule_kind { NN_CONSTANT, NN_LINEAR_DECAY, NN_COSINE_DECAY } nn_schedule_kind;
typedef struct nn_schedule {
    nn_schedule_kind kind;
    double rate, lowest;
    int64_t warmup, fall, end;
} nn_schedule;
double nn_schedule_rate(const nn_schedule *schedule, int64_t step);

/* ---- Data-parallel training --------------------------------------------------------------- *
 * A batch of rows is cut into shards, a function of the batch and the model alone. Each shard runs forward
 * and backward on one thread with a tape of that thread and gradients of its own; these are added in
 * the order of the shards. The same seed gives the same bits with any number of threads. Where the model is
 * too large for so many gradients there is one shard, and operations run parallel inside. */

typedef struct nn_parallel nn_parallel;

/* For this registry (finalized; must outlive it). NULL when memory is out. */
nn_parallel *nn_parallel_new(nn_params *params);
void nn_parallel_free(nn_parallel *parallel);

/* Every shard has at least so many rows (1 unless told otherwise), where the batch has them: for rows so small that
 * handing them out takes longer than their work. */
void nn_parallel_set_grain(nn_parallel *parallel, int64_t rows);

/* In which precision nn_parallel_backward multiplies (ag_set_precision), its loss included; float32 unless told otherwise.
 * Parameters, their gradients and the optimizer stay float32, and nn_parallel_loss multiplies in float32 as ever: what a
 * model has learned is looked at in one precision, however it was trained. */
void nn_parallel_set_precision(nn_parallel *parallel, tensor_precision precision);

/* The mean loss of rows begin..end-1 of a batch, a scalar on `tape`. Called by several threads at once, so it
 * reads `context` only; may be called again for the same rows, to size a thread's tape. */
typedef ag_var *nn_loss(void *context, ag_tape *tape, int64_t begin, int64_t end);

/* The mean loss of rows 0..rows-1 and its gradient, which overwrites nn_grads. False with a text in err. */
bool nn_parallel_backward(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                          tensor_error *err);
/* The mean loss alone, without recording. */
bool nn_parallel_loss(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                      tensor_error *err);
/* Into how many shards a batch is cut: the gradients of several take the memory of so many models. */
int nn_parallel_shards(const nn_parallel *parallel, int64_t rows);
/* Bytes held by tapes and the shards' gradients. */
size_t nn_parallel_bytes(const nn_parallel *parallel);

/* Whether all parameters are finite numbers. */
bool nn_finite(const nn_params *params);
/* Names what is not, into `text`: a parameter; else the first result of computing rows 0..rows-1 of the loss, one by one
 * (NULL: none); else a parameter's gradient. False where all is finite. */
bool nn_find_not_finite(nn_params *params, int64_t rows, nn_loss *loss, void *context, char *text,
                        size_t size);

/* ---- Files that are replaced as a whole ----------------------------------------------------- *
 * A new file is written as PATH.tmp beside the one at PATH and takes its name only when all of it is on the disk: a
 * failure at any moment, or the end of the process, leaves the earlier file whole. */

/* A descriptor to write and read the new file with; -1: failed. A file that a killed program left at PATH.tmp is removed,
 * a link there is refused. */
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
 * the meantime is no matter, one that is cut short is. */
nn_file *nn_file_open(const char *path, tensor_error *err);
void nn_file_close(nn_file *file);

/* A string of the metadata; NULL: no such key. */
const char *nn_file_metadata(const nn_file *file, const char *key);

/* Strings of "__metadata__": of a file by index, in ascending order of keys. */
typedef struct nn_metadata {
    const char *key, *value;
} nn_metadata;
int nn_file_metadata_count(const nn_file *file);
const nn_metadata *nn_file_metadata_at(const nn_file *file, int i);

/* One tensor of a file: `data` is aligned to its type and lives until nn_file_close. */
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
 * where both have a name. */
bool nn_file_join(nn_file *file, nn_file *part, tensor_error *err);
/* Keeps only the first rows of a tensor; false where there is none with so many. */
bool nn_file_crop(nn_file *file, const char *name, int64_t rows, tensor_error *err);

/* Writes entries (F32, I32, BF16, I8, U8, U16, U32) and metadata into a file that replaces an earlier one as a whole. */
bool nn_file_save(const char *path, const nn_entry *entries, int count, const nn_metadata *metadata,
                  int metadata_count, tensor_error *err);

/* All parameters under their names, aliases left out, as entries that stay valid as long as the registry: into a
 * list with room for nn_params_entries; returns how many. Once finalized. */
int nn_params_list(const nn_params *params, nn_entry *list);

/* The same with the weights of linear layers and tables rounded (see tensor_compact), but for the one named `except` (NULL:
 * none): as BF16, or as I8 with the scales as BF16 in NAME.scale. Memory is the arena's, the list has room for twice
 * nn_params_entries; -1: failed. */
int nn_params_list_rounded(const nn_params *params, tensor_precision precision, const char *except,
                           nn_entry *list, tensor_arena *arena, tensor_error *err);

/* They as a file, and back. Loading needs each parameter, under its name or an alias, as F32, F16 or BF16, or as I8 with
 * scales, and with its shape, and accepts further tensors in the file. */
bool nn_params_save(const nn_params *params, const char *path, const nn_metadata *metadata,
                    int metadata_count, tensor_error *err);
bool nn_params_load(nn_params *params, const nn_file *file, tensor_error *err);
/* The same in place of nn_params_finalize: weights of linear layers and tables that the file has as BF16 or as I8 stay
 * compact, in half or a quarter of the memory. nn_linear and nn_embedding take them on tapes that do not record; they
 * cannot be trained, and are no part of nn_values. */
bool nn_params_load_compact(nn_params *params, const nn_file *file, tensor_error *err);

/* AdamW's moments as entries of a checkpoint, "optimizer.exp_avg" and "optimizer.exp_avg_sq", valid as long as the registry;
 * and back: makes the optimizer as nn_adamw_init does, with the moments of a file and `step` steps done. False with a
 * text in err where the file has none that fit. */
enum { NN_ADAMW_ENTRIES = 2 };
void nn_adamw_list(const struct nn_adamw *o, nn_entry entries[NN_ADAMW_ENTRIES]);
bool nn_adamw_load(struct nn_adamw *o, nn_params *params, nn_adamw_options options, const nn_file *file,
                   int64_t step, tensor_error *err);
/* The same of Muon: "optimizer.momentum". */
enum { NN_MUON_ENTRIES = 1 };
void nn_muon_list(const struct nn_muon *o, nn_entry entries[NN_MUON_ENTRIES]);
bool nn_muon_load(struct nn_muon *o, nn_params *params, nn_muon_options options, const nn_file *file,
                  tensor_error *err);
/* While a mean is shown, and saved as the model, the values that training goes on with, "optimizer.values"; returns how
 * many entries: 0 where none is shown. And back, for parameters that were loaded from that file. */
enum { NN_AVERAGE_ENTRIES = 1 };
int nn_average_list(const struct nn_average *o, nn_entry entries[NN_AVERAGE_ENTRIES]);
bool nn_average_load(struct nn_average *o, nn_params *params, const nn_file *file, int64_t count,
                     tensor_error *err);

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

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
