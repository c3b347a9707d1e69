/* Training: the command (train.c), what it will take (plan.c, memory.c), going on with a run (resume.c), the loop (loop.c),
 * its optimizer (optimize.c), what it warns of (warn.c); its log has a header of its own. */
#ifndef SAMPO_LM_TRAIN_INTERNAL_H
#define SAMPO_LM_TRAIN_INTERNAL_H

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
    nn_world world;   /* the processes of the run */
    int signal;       /* that ends it, as all of them see it; 0: none */
    bool own_failure; /* this process has failed, and rank 0 has not */
    bool lost;        /* a rank does not answer */
    struct nn_adamw adamw;
    struct nn_muon muon;       /* of the hidden matrices, with LM_MUON */
    struct nn_average average; /* of the last weights */
    nn_group adamw_groups[3], muon_groups[3];
    lm_state state;
    lm_progress progress;
    lm_log log;
    const char *last, *best; /* the checkpoints' paths; NULL: nothing is saved */
    lm_lock lock;            /* of the folder */
    tensor best_values;      /* the best weights where nothing is saved */
    /* Of the validation text, by what was counted alone; NaN: nothing was, or there is nothing else. */
    double counted_loss;
    double best_train;   /* loss at the best report of this process; NaN: none yet */
    int64_t saved;       /* the iteration that `last` holds; -1: none of this process */
    lm_log_row row;      /* of the step to come */
    double begun;        /* clock: when the loop began */
    bool new_folder;     /* `out` was chosen and made here */
    bool keeps_nothing;  /* --out none */
    bool fitted;         /* the iterations were chosen here */
    bool stopped;        /* early */
    bool time_up, timed; /* --time is over; the duration has been said */
    bool said_overfit, said_diverged;
} lm_trainer;

/* ---- Processes ------------------------------------------------------------------------------------ */

/* Joins the others. All but rank 0 are silent from then on, and keep no files. */
bool lm_ranks_begin(lm_trainer *t, tensor_error *err);
/* What all of them see: whether one has failed, was told to end, or is out of time. Returns `status`, or a failure. */
int lm_ranks_agree(lm_trainer *t, int status);
/* Refuses, with a line, processes that would not compute the same; then they share the shards of a batch. */
int lm_ranks_compare(lm_trainer *t);
/* Returns the status; does not return where a rank does not answer, which ends the others. */
int lm_ranks_end(lm_trainer *t, int status);

/* The signal that this process was told to end with; 0: none. */
int lm_interrupted(void);

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

/* Into how many shards an iteration's batches are cut: as they are best, or as --shards says. */
int64_t lm_train_shards(const lm_trainer *t);

/* Bytes that training takes: for the weights, their gradients, the optimizer and the counts, and for a batch. The parameters need to be
 * registered, not finalized. */
typedef struct lm_memory {
    double weights, batch;
} lm_memory;
lm_memory lm_memory_needed(const lm_trainer *t);
const char *lm_memory_parts(const lm_trainer *t); /* what the first of these is for, in words */
/* Refuses, with a line, what the machine has not enough memory for. Returns an exit status. */
int lm_memory_check(const lm_trainer *t);

/* Passes over the text that are useful at most, by trials: on texts from 30 KB to 3 MB the loss on unseen text was lowest
 * before. On top of counts a model has less to learn: on verses of 40 KB the loss was lowest after 6 passes of Muon with a falling rate, on
 * the Kalevala 7 and 10 were alike. */
enum { LM_MOST_PASSES = 42, LM_MOST_COUNTED_PASSES = 11 };
/* Whether the command line has the option. */
bool lm_train_given(const lm_trainer *t, const char *name);
/* How often the run sees each token of the text. */
double lm_passes(const lm_trainer *t);
/* The validation text, or as much of it as a report has time for. */
lm_tokens lm_validation(const lm_trainer *t);
/* How many batches a reported training loss is the mean of. */
int64_t lm_report_batches(const lm_trainer *t);
/* Sets iterations, reports and patience for the text where the command line does not, once text and model are there. */
void lm_plan_fit(lm_trainer *t);
/* The same for --time, of which a step takes so many seconds. */
void lm_plan_time(lm_trainer *t, double step_seconds);
/* As many iterations as the text is good for. */
int64_t lm_useful_iterations(const lm_trainer *t);
/* Measures what the counts predict alone, for the reports to say. */
int lm_measure_counts(lm_trainer *t);
/* Says what the run learns from. */
void lm_train_introduce(const lm_trainer *t);
/* Says what comes: iterations, passes, memory, the folder. */
void lm_plan_say(const lm_trainer *t);
/* Prints the estimate for --dry-run. Returns an exit status. */
int lm_plan_print(const lm_trainer *t);
/* Multiplications and additions of a step; how many a second the machine does in products of matrices, 0: it failed; the
 * seconds of a step that follow. */
double lm_step_work(const lm_trainer *t);
double lm_machine_speed(tensor_error *err);
double lm_step_estimate(const lm_trainer *t, double speed);

/* ---- The optimizer --------------------------------------------------------------------------------- */

/* Whether its options fit together, and the model. */
bool lm_optimizer_check(const lm_trainer *t, tensor_error *err);
/* Makes it anew, or from a checkpoint; the former leaves the text in the registry. */
bool lm_optimizer_init(lm_trainer *t);
bool lm_optimizer_load(lm_trainer *t, const nn_file *file, tensor_error *err);
/* Its state for a checkpoint; returns how many entries. */
enum { LM_OPTIMIZER_ENTRIES = 3 * NN_STATE_ENTRIES };
int lm_optimizer_list(const lm_trainer *t, nn_entry entries[LM_OPTIMIZER_ENTRIES]);
/* How many float32 numbers it takes; the parameters need to be registered, not finalized. */
double lm_optimizer_numbers(const lm_trainer *t);
/* The work of such a step, after which all is as before; AdamW's, which takes no time to speak of, is left out. */
bool lm_optimizer_rehearse(const lm_trainer *t);
/* With --average, whether the model is the mean of the last weights, or the weights that are trained. */
void lm_average_show(lm_trainer *t, bool shown);
/* A step at the rates that the schedule has for the state's iteration; *rate is AdamW's. On failure the text is in the
 * registry. */
bool lm_optimizer_step(lm_trainer *t, double *rate);

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

/* Trains from the state's iteration to the last, to Ctrl-C or to an early stop, with reports and checkpoints. Returns
 * an exit status. */
int lm_train_loop(lm_trainer *t);

#endif
