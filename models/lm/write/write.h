/* Writing text with a model. */
#ifndef SAMPO_LM_WRITE_H
#define SAMPO_LM_WRITE_H

#include <signal.h>

#include "models/lm/files/files.h"

/* ---- Sampling -------------------------------------------------------------------------------------- */

/* How text is written. An option that is 0 is off. */
typedef struct lm_sampling {
    const char *prompt; /* NULL: a line's beginning */
    int64_t tokens;
    const char *stop;   /* the text ends before this one; NULL: none */
    double temperature; /* below 1e-6: always the likeliest token */
    int64_t top_k;      /* only the k likeliest tokens */
    double top_p;       /* of these, the fewest that have this share of their probability */
    double min_p;       /* of these, those with this share of the likeliest one's */
    double
        repetition_penalty; /* divides positive logits of the last `repetition_window` tokens, multiplies others */
    int64_t repetition_window;
    int64_t samples, number; /* how many texts; of the first one: others have other random numbers */
    int64_t hop;             /* tokens by which a full window moves; 0 is 1 */
    bool no_cache;
    double pace; /* characters a second */
    uint64_t seed;
    const volatile sig_atomic_t *interrupted; /* NULL, or ends the texts where it becomes other than 0 */
    const nn_world *world;                    /* the processes that share the texts; NULL: this one alone */
} lm_sampling;
/* Writes each sample: the prompt and the tokens after it, as they come and whole characters at a time, and a newline;
 * "---" stands on a line between samples. Several processes write them into rank 0's file. Fails also where writing
 * fails. */
bool lm_sample(const lm_instance *instance, const lm_sampling *sampling, FILE *file, tensor_error *err);

/* The next token of one text: from its logits [V], contiguous, which it changes. `order` has room for V tokens,
 * `recent` are those that count as repeated. */
bool lm_choose(const lm_sampling *sampling, tensor scores, int32_t *order, const int32_t *recent,
               int64_t recent_count, tensor_rng *rng, int32_t *id, tensor_error *err);
/* Sets the weights to 0 that top_k, top_p and min_p, in this order, leave out. */
void lm_keep_likeliest(const lm_sampling *sampling, float *weights, int32_t *order, int64_t count);

int lm_sample_command(const lm_model *model, int argc, char *const *argv);

#endif
