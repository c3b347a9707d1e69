/* A model with random tokens, for measuring its training steps. */
#ifndef SAMPO_BENCHES_STEP_H
#define SAMPO_BENCHES_STEP_H

#include "benches/measure.h"
#include "models/lm/train/train.h"

typedef struct setting {
    const char *name, *what;
    const lm_model *(*program)(void);
    int64_t vocabulary, positions, context, rows; /* 0: the model's default */
    const char *const *options;                   /* names and values */
    int turns;
    bool large;
} setting;

typedef struct training {
    tensor_arena *arena;
    tensor text; /* random tokens to draw batches from */
    nn_params *params;
    nn_parallel *parallel;
    struct nn_adamw adamw;
    lm_loss_context c;
    int64_t rows, context, steps;
    tensor_precision precision;
    double linear_flops, attention_flops; /* of the forward pass; the backward pass has twice as many */
    tensor_error *err;
} training;

/* Of a step; 0: not to speak of. What of it the peak limits: all in float32, nothing in another precision, whose peak is
 * another one. */
double training_flops(const training *t);
double training_limited(const training *t);

/* A line with its name and sizes, where it is a GPT: gpt vocabulary=51 context=64 batch=64 width=64 layers=3 heads=4
 * gpt2=0. */
void setting_print(const setting *s, tensor_error *err);

/* What a step will take, before it is begun: arithmetic, and bytes of memory, rather too many. */
typedef struct setting_cost {
    double flops, bytes;
} setting_cost;
bool setting_estimate(const setting *s, setting_cost *cost, tensor_error *err);

/* With products in this precision. End it also after a failure. */
bool training_begin(training *t, const setting *s, tensor_precision precision, tensor_error *err);
void training_end(training *t);

/* A step in its parts: a batch is drawn; forward, backward and the addition of the shards, with lm_loss or a loss around
 * it; AdamW. Each returns the seconds it took, below 0: it failed. */
double training_draw(training *t);
double training_backward(training *t, nn_loss *loss, void *context);
double training_update(training *t);
/* All of it, as a bench_side's run. */
double training_step(void *training);

/* Where the time of a step goes, on one thread: a table, and its rows of a model. */
bool breakdown_begin(bench *b, tensor_error *err);
bool breakdown(bench *b, const setting *s, tensor_precision precision, tensor_error *err);

#endif
