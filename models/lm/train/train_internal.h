/* Training: the command (train.c), what stands before the loop (prepare.c), several processes (ranks.c), going on with
 * a run (resume.c), the loop (loop.c), what it warns of (warn.c). The plan, the optimizer and the log have headers of
 * their own. */
#ifndef SAMPO_LM_TRAIN_INTERNAL_H
#define SAMPO_LM_TRAIN_INTERNAL_H

#include "models/lm/ranks.h"
#include "models/lm/train/log.h"
#include "models/lm/train/train.h"
#include "models/lm/write/write.h"

/* ---- The run ------------------------------------------------------------------------------------ */

typedef enum lm_optimizer { LM_ADAMW, LM_MUON } lm_optimizer;

/* What the command line says. */
typedef struct lm_settings {
    lm_paths data;
    const char *out, *resume, *init, *tokenizer, *time;
    bool force, dry_run, quiet;
    int64_t iterations, batch, accumulate, shards, context, vocab_size, seed, threads;
    int64_t schedule, warmup, schedule_end, decay_on; /* schedule: nn_schedule_kind; decay_on: 1: matrices */
    int64_t precision;                                /* tensor_precision */
    int64_t optimizer;                                /* lm_optimizer */
    double rate, lowest_rate, decay, beta1, beta2, eps, clip;
    double cooldown;   /* of the run, the share in which the rate falls */
    int64_t average;   /* iterations whose weights are averaged; 0: none */
    double table_rate; /* of the model's tables; 0: as the others' */
    double muon_rate, muon_momentum;
    int64_t report_every, report_batches, patience, sample_tokens;
    double temperature;
    double seconds; /* of --time; 0: none */
} lm_settings;

/* How far a run is. A checkpoint of iteration i holds it as it was after i steps and before the report of
 * iteration i, which a resumed run therefore makes again. */
typedef struct lm_state {
    int64_t iteration; /* steps done */
    double best_loss;  /* of the validation text at the best report; LM_NO_LOSS: none yet */
    int64_t best_iteration;
    int64_t reports_since_best;
    int64_t text_tokens, text_hash; /* of the text, to know it again */
    int64_t averaged;               /* iterations that are in the mean of --average */
} lm_state;

typedef struct lm_trainer {
    lm_settings set;
    const lm_usage *usage; /* the options */
    int argc;              /* the command line, behind the command */
    char *const *argv;
    tensor_arena *arena;
    lm_instance instance;
    lm_corpus corpus;
    lm_tokens parts[2];                   /* tokens to train on and to validate with, by lm_split */
    double per_character[2], per_byte[2]; /* tokens for each; 0: there are no characters */
    lm_batch batches;                     /* of an iteration, one below the other */
    int64_t shards;                       /* of all their rows */
    nn_parallel *parallel;
    lm_ranks ranks; /* the processes of the run */
    int signal;     /* that ends it, as all of them see it; 0: none */
    struct nn_adamw adamw;
    struct nn_muon muon;       /* of the hidden matrices, with LM_MUON */
    struct nn_average average; /* of the last weights */
    nn_group adamw_groups[3], muon_groups[3];
    lm_state state;
    lm_progress progress;
    lm_log log;
    const char *last, *best;         /* the checkpoints' paths; NULL: nothing is saved */
    const char *tokens, *unfinished; /* the paths of the text's tokens, and of those that are being written */
    lm_lock lock;                    /* of the folder */
    tensor best_values;              /* the best weights where nothing is saved */
    /* Of the validation text, by what was counted alone; NaN: nothing was, or there is nothing else. */
    double counted_loss;
    double best_train;   /* loss at the best report of this process; NaN: none yet */
    int64_t shown;       /* the iteration whose text stands last on the terminal; -1: none */
    int64_t saved;       /* the iteration that `last` holds; -1: none of this process */
    lm_log_row row;      /* of the step to come */
    double begun;        /* clock: when the loop began */
    int made;            /* folders: `out` and those above it, as far as they were not there */
    bool keeps_nothing;  /* --out none */
    bool fitted;         /* the iterations were chosen here */
    bool stopped;        /* early */
    bool time_up, timed; /* --time is over; the duration has been said */
    bool said_overfit, said_diverged;
} lm_trainer;

/* ---- Processes ------------------------------------------------------------------------------------ */

/* What all of them see: whether one has failed, was told to end, or is out of time. Returns `status`, or a failure. */
int lm_train_agree(lm_trainer *t, int status);
/* Refuses, with a line, processes that would not compute the same; then they share the shards of a batch. */
int lm_train_compare(lm_trainer *t);
/* Now and then, whether all have the same weights, as a bit of memory may have turned. */
int lm_train_compare_weights(lm_trainer *t);

/* Those that end a run: Ctrl-C, a closed terminal, SIGTERM. */
enum { LM_SIGNALS = 3 };
extern const int lm_signals[LM_SIGNALS];
/* The signal that this process was told to end with; 0: none. */
int lm_interrupted(void);

/* ---- The folder ---------------------------------------------------------------------------------- */

/* The paths of its checkpoints; false: memory is out. */
bool lm_out_name(lm_trainer *t);
/* Sees to it that the folder of --out can be written to before time goes into training, and that nobody else does: it is
 * locked, and without --force no other run is in it. Returns an exit status. */
int lm_out_prepare(lm_trainer *t);
/* A new folder for a run that names none: runs/gpt-1, runs/gpt-2, the first that is not there yet. Returns an exit
 * status. */
int lm_out_make(lm_trainer *t);
/* Takes a new one away again, where the run did not begin. */
void lm_out_remove(lm_trainer *t);
/* Until lm_out_unguard, a signal that ends the program has a line and does the same. */
void lm_out_guard(const lm_trainer *t);
void lm_out_unguard(void);
/* Removes the best weights of an earlier run, which --force gives up, once the new run has saved its own: it may have
 * no best ones for long, or never. */
bool lm_out_forget(const lm_trainer *t, tensor_error *err);

/* ---- Before the loop ----------------------------------------------------------------------------- */

/* Reads the text, and takes its vocabulary unless a checkpoint has given one. */
int lm_prepare_text(lm_trainer *t, lm_text *text);
/* The model's parameters, unless a checkpoint has given them, without memory for their values. */
int lm_prepare_model(lm_trainer *t);
/* The text's tokens and their two parts. */
int lm_prepare_tokens(lm_trainer *t, const lm_text *text);
/* Counts the part to train on, for a model that asks for it. */
int lm_prepare_counts(lm_trainer *t);
/* The values of the parameters, the optimizer, room for batches. */
int lm_prepare_parameters(lm_trainer *t);
/* Measures what the counts predict alone, for the reports to say. */
int lm_measure_counts(lm_trainer *t);
/* Whether the command line has the option. */
bool lm_train_given(const lm_trainer *t, const char *name);

/* ---- Warnings: one line each, once ---------------------------------------------------------------- */

/* Before it begins: passes, the rate, a small validation part. */
void lm_warn_plan(const lm_trainer *t);
/* At a report, after the state knows it: overfitting. */
void lm_warn_report(lm_trainer *t, double train, double validation);
/* At a step: a loss far above what guessing gives. */
void lm_warn_step(lm_trainer *t, double loss);

/* Reads the options of `train`, then hands the trainer over, and frees it. Returns an exit status. */
int lm_train_with(const lm_model *model, int argc, char *const *argv,
                  int (*then)(lm_trainer *t, const void *context), const void *context);

/* Loads the checkpoint of --resume, with its training state, or of --init, and takes over its options. Returns an
 * exit status. */
int lm_resume_load(lm_trainer *t, int argc, char *const *argv);

/* Sets the text's fingerprint; false where a resumed run had another text. */
bool lm_resume_text(lm_trainer *t, tensor_error *err);

/* Writes the weights with all that resuming needs, or with the loss that they were best at. */
bool lm_resume_save(lm_trainer *t, tensor_error *err);
bool lm_best_save(const lm_trainer *t, tensor_error *err);

/* Seconds that a step takes, by steps that change nothing. Returns an exit status. */
int lm_train_timing(lm_trainer *t, double *seconds);

/* Says what was reached and where it is, and writes a text with the best weights. Returns an exit status. */
int lm_train_finish(lm_trainer *t);
/* Appends what started here and now to run.txt in the run's folder. */
bool lm_start_write(const lm_trainer *t, tensor_error *err);

/* Whether the weights of an iteration are worth keeping as the best: before the first step, only of a model on counts. */
bool lm_train_keeps(const lm_trainer *t, int64_t iteration);

/* Trains from the state's iteration to the last, to Ctrl-C or to an early stop, with reports and checkpoints. Returns
 * an exit status. */
int lm_train_loop(lm_trainer *t);

#endif
