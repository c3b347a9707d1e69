/* The optimizer of a run (optimize.c). */
#ifndef SAMPO_LM_TRAIN_OPTIMIZE_H
#define SAMPO_LM_TRAIN_OPTIMIZE_H

#include "models/lm/train/train_internal.h"

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

#endif
