/* Training: the command (train.c), going on with a run (resume.c), the loop (loop.c) and its log (log.c). */
#ifndef SAMPO_LM_TRAIN_INTERNAL_H
#define SAMPO_LM_TRAIN_INTERNAL_H

#include <sys/types.h>

#include "models/lm/train/train.h"
#include "models/lm/write/write.h"

/* ---- What is written beside the checkpoints ----------------------------------------------------- */

/* One of its files. One that is not open (of a run without --out) is not written to. */
typedef struct lm_log_file {
    const char *path;
    FILE *stream;
    off_t end;    /* of what stays of an earlier part of the run */
    bool unended; /* its last newline is missing */
    bool later;   /* behind it are things that are made again */
    bool torn;    /* behind it is something that is not whole */
    double last;  /* iteration in it */
} lm_log_file;

enum { LM_LOG_COLUMNS = 64 };
typedef struct lm_log {
    lm_log_file csv, samples;
    int columns, column[LM_LOG_COLUMNS]; /* of log.csv: what each is */
    int64_t from;
} lm_log;

typedef struct lm_log_row {
    double iteration, loss, rate, gradient_norm, tokens_per_second;
    bool report; /* whether a report was made before the step; then its losses: */
    double train_loss, validation_loss;
} lm_log_row;

/* Opens log.csv and samples.txt in a folder, to go on at iteration `from`, which is below 0 for a new run, whose files
 * begin anew. Nothing is changed yet: a file that cannot be read to its end, or is not what the program writes, is a
 * failure. Editors may have changed the ends of lines. */
bool lm_log_open(lm_log *log, const char *folder, int64_t from, tensor_arena *arena, tensor_error *err);
/* Drops what is in them of iteration `from` and later, saying so, and what is cut off at the end. */
bool lm_log_begin(lm_log *log, const lm_model *model, tensor_error *err);
void lm_log_close(lm_log *log);
/* Rows are written when a buffer is full or at lm_log_flush, which fails where any was lost. lm_log_sync: to the disk. */
void lm_log_step(lm_log *log, const lm_log_row *row);
bool lm_log_flush(lm_log *log, tensor_error *err);
bool lm_log_sync(lm_log *log, tensor_error *err);
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
#define LM_NO_LOSS 1e30

typedef struct lm_trainer {
    lm_settings set;
    const lm_usage *usage; /* the options */
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
    lm_lock lock;            /* of the folder */
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

/* Trains from the state's iteration to the last, to Ctrl-C or to an early stop, with reports and checkpoints. Returns
 * an exit status. */
int lm_train_loop(lm_trainer *t);

#endif
