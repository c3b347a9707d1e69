/* What a run will take: shards, memory (memory.c), iterations, time (plan.c). */
#ifndef SAMPO_LM_TRAIN_PLAN_H
#define SAMPO_LM_TRAIN_PLAN_H

#include "models/lm/train/train_internal.h"

/* Into how many shards an iteration's batches are cut: as they are best, or as --shards says. */
int64_t lm_train_shards(const lm_trainer *t);

/* Bytes that training takes: for the weights, their gradients, the optimizer and the counts, and for a batch. The
 * parameters need to be registered, not finalized. */
typedef struct lm_memory {
    double weights, batch;
} lm_memory;
lm_memory lm_memory_needed(const lm_trainer *t);
const char *lm_memory_parts(const lm_trainer *t); /* what the first of these is for, in words */
/* Refuses, with a line, what the machine has not enough memory for. Returns an exit status. */
int lm_memory_check(const lm_trainer *t);
/* Whether what is needed beyond what is loaded fits into so many free bytes; less than 0: nobody knows how many. */
bool lm_memory_fits(const lm_trainer *t, double bytes);

/* Passes over the text that are useful at most, by trials: on texts from 30 KB to 3 MB the loss on unseen text was lowest
 * before. On top of counts a model has less to learn: on verses of 40 KB the loss was lowest after 6 passes of Muon
 * with a falling rate, on the Kalevala 7 and 10 were alike. */
enum { LM_MOST_PASSES = 42, LM_MOST_COUNTED_PASSES = 11 };
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

#endif
