/* Training: the command (train.c), going on with a run (resume.c), the loop (loop.c) and its log (log.c). */
#ifndef SAMPO_LM_TRAIN_INTERNAL_H
#define SAMPO_LM_TRAIN_INTERNAL_H

#include "models/lm/train/train.h"
#include "models/lm/write/write.h"

/* ---- What is written beside the checkpoints ----------------------------------------------------- */

/* Files that are not open (of a run without --out) are not written to. */
typedef struct lm_log {
    FILE *csv, *samples;
    const char *csv_path, *samples_path;
} lm_log;

typedef struct lm_log_row {
    double loss, rate, gradient_norm, tokens_per_second;
    bool report; /* whether a report was made before the step; then its losses: */
    double train_loss, validation_loss;
} lm_log_row;

/* Opens log.csv and samples.txt in a folder and drops what is in them of iteration `from` and later. */
bool lm_log_open(lm_log *log, const char *folder, int64_t from, tensor_arena *arena, tensor_error *err);
void lm_log_close(lm_log *log);
/* Rows are written when a buffer is full or at lm_log_flush, which fails where any was lost. */
void lm_log_step(lm_log *log, int64_t iteration, const lm_log_row *row);
bool lm_log_flush(lm_log *log, tensor_error *err);
bool lm_log_sample(lm_log *log, int64_t iteration, const char *text, size_t bytes, tensor_error *err);

/* ---- The run ------------------------------------------------------------------------------------ */

/* What the command line says. */
typedef struct lm_settings {
    lm_paths data;
    const char *out, *resume, *init, *tokenizer;
    bool force;
    int64_t iterations, batch, accumulate, context, vocab_size, seed, threads;
    int64_t schedule, warmup, schedule_end, decay_on; /* schedule: nn_schedule_kind; decay_on: 1: matrices */
    double rate, lowest_rate, decay, beta1, beta2, eps, clip;
    int64_t report_every, report_batches, patience, sample_tokens;
    double temperature;
} lm_settings;

/* How far a run is. A checkpoint of iteration i holds it as it was after i steps and before the report of
 * iteration i, which a resumed run therefore makes again. */
typedef struct lm_state {
    int64_t iteration; /* steps done */
    double best_loss;  /* of the validation text at the best report; LM_NO_LOSS: none yet */
    int64_t best_iteration;
    int64_t reports_since_best;
    int64_t text_tokens, text_hash; /* of the text, to know it again */
} lm_state;

typedef struct lm_trainer {
    lm_settings set;
    const lm_usage *usage; /* the options */
    int argc;              /* the command line, behind the command */
    char *const *argv;
    tensor_arena *arena;
    lm_instance instance;
    lm_corpus corpus;
    lm_tokens parts[2];      /* tokens to train on and to validate with, by lm_split */
    double per_character[2]; /* their number for each character; 0: not reported */
    lm_batch batch;
    tensor sum; /* of the micro-batches' gradients; no tensor where there is one */
    nn_parallel *parallel;
    struct nn_adamw adamw;
    lm_state state;
    lm_progress progress;
    lm_log log;
    const char *last, *best; /* the checkpoints' paths; NULL: nothing is saved */
    int64_t saved;           /* the iteration that `last` holds; -1: none of this process */
    lm_log_row row;          /* of the step to come */
    bool stopped;            /* early */
} lm_trainer;

/* Loads the checkpoint of --resume, with its training state, or of --init, and takes over its options. Returns an
 * exit status. */
int lm_resume_load(lm_trainer *t, int argc, char *const *argv);

/* Sets the text's fingerprint; false where a resumed run had another text. */
bool lm_resume_text(lm_trainer *t, tensor_error *err);

/* Writes the weights with all that resuming needs, or with the loss that they were best at. */
bool lm_resume_save(const lm_trainer *t, tensor_error *err);
bool lm_best_save(const lm_trainer *t, tensor_error *err);

/* Appends what started here and now to run.txt in the run's folder. */
bool lm_start_write(const lm_trainer *t, tensor_error *err);

/* Trains from the state's iteration to the last, to Ctrl-C or to an early stop, with reports and checkpoints. Returns
 * an exit status. */
int lm_train_loop(lm_trainer *t);

#endif
