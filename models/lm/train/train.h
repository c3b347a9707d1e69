/* Learning from a text: batches, the loss, training, evaluation. */
#ifndef SAMPO_LM_TRAIN_H
#define SAMPO_LM_TRAIN_H

#include "models/lm/files/files.h"

/* ---- Batches --------------------------------------------------------------------------------------- */

/* Rows of tokens and, one further, those to predict: both [B, T] int32. */
typedef struct lm_batch {
    tensor ids, targets;
} lm_batch;
bool lm_batch_new(lm_batch *batch, int64_t rows, int64_t context, tensor_arena *arena, tensor_error *err);
/* A part of it, in the same memory. */
lm_batch lm_batch_rows(lm_batch batch, int64_t begin, int64_t end);
/* Fills it with rows that begin at uniformly drawn places of `tokens`, at least T + 1 of them. */
void lm_batch_draw(lm_batch *batch, lm_tokens tokens, tensor_rng rng);

/* nn_parallel_new for rows of an instance's context, of which a shard gets enough to be worth it. */
nn_parallel *lm_parallel_new(const lm_instance *instance);

/* The mean loss of a batch's rows, as an nn_loss whose context is this. */
typedef struct lm_loss_context {
    const lm_model *model;
    const lm_counts *counts; /* as in lm_input */
    lm_batch batch;
    tensor without;            /* [B, T], as in lm_input */
    const tensor_rng *dropout; /* NULL: none; else row i's numbers begin at counter i 2^40 */
} lm_loss_context;
ag_var *lm_loss(void *context, ag_tape *tape, int64_t begin, int64_t end);

/* ---- Training -------------------------------------------------------------------------------------- */

/* A best loss before there is any. */
#define LM_NO_LOSS 1e30

int lm_train_command(const lm_model *model, int argc, char *const *argv);
int lm_presets_command(const lm_model *model, int argc, char *const *argv);

/* ---- Evaluation ------------------------------------------------------------------------------------ */

/* What to measure on: */
typedef struct lm_measured {
    lm_tokens tokens;
    int64_t counted; /* so many of the first ones are what the model has counted */
    bool all; /* what is left over behind the last whole window, too; it is where there is no whole window */
} lm_measured;
/* Mean loss over consecutive windows of T tokens, summed in double; *predicted receives the number of tokens. */
bool lm_evaluate(const lm_instance *instance, nn_parallel *parallel, lm_measured on, double *loss,
                 int64_t *predicted, tensor_error *err);
/* The same of an instance's counts alone. */
bool lm_evaluate_counts(const lm_instance *instance, nn_parallel *parallel, lm_measured on, double *loss,
                        int64_t *predicted, tensor_error *err);

/* The tokens of `data` or, where that names nothing, of the text that the checkpoint was trained on: tokens.bin beside
 * it, or the files that its metadata name, which must still have that text. A checkpoint that knows of no text gets the
 * default one. Completes data->name; *own: whether it is the text that the model was trained on. Returns LM_DONE or
 * LM_FAILED, with the fault printed; free the corpus after both. */
int lm_open_own_text(const lm_instance *instance, const char *checkpoint, lm_paths *data, lm_corpus *corpus,
                     bool *own);
/* Of these, what lies beside the checkpoint at `path`; false without a text in err: nothing that fits. */
bool lm_open_kept_text(const lm_instance *instance, const char *path, lm_corpus *corpus, tensor_error *err);

int lm_eval_command(const lm_model *model, int argc, char *const *argv);

#endif
