/* Training: what the command (train.c) prepares and the loop (trainer.c) works on. */
#ifndef SAMPO_LM_TRAIN_INTERNAL_H
#define SAMPO_LM_TRAIN_INTERNAL_H

#include "models/lm/lm.h"

/* What the command line says. */
typedef struct lm_settings {
    const char *data, *out, *tokenizer;
    bool force;
    int64_t iterations, batch, context, seed, threads, report_every, report_batches, sample_tokens,
        vocab_size;
    double rate, decay, beta1, beta2, temperature;
} lm_settings;

typedef struct lm_trainer {
    lm_settings set;
    lm_instance instance;
    tensor parts[2]; /* tokens to train on and to validate with, by lm_split */
    lm_batch batch;
    nn_parallel *parallel;
    struct nn_adamw adamw;
    lm_progress progress;
    const char *checkpoint; /* the file's path; NULL: nothing is saved */
} lm_trainer;

/* Trains from the first iteration to the last or to Ctrl-C, with reports and checkpoints. Returns an exit status. */
int lm_train_loop(lm_trainer *t);

#endif
