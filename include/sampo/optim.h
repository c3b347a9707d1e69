/* Sampo nn: gradients of a registry, optimizers, means of weights, learning rates. */
#ifndef SAMPO_OPTIM_H
#define SAMPO_OPTIM_H

#include "sampo/checkpoint.h"

SAMPO_BEGIN_DECLS

/* ---- Optimizers: one pass over the flat arrays -------------------------------------------- */

/* Adds the gradient of a scalar to nn_grads: of the parameters of this registry and nothing else. So two models in one
 * expression train apart, and nothing of the other is computed; a loss that depends on none of them adds nothing. False
 * with a text on the loss's tape. */
bool nn_backward(nn_params *params, ag_var *loss);

/* All of nn_grads becomes 0. NULL is accepted. */
void nn_zero_grad(nn_params *params);

/* Scales all gradients so that their Euclidean norm is at most max_norm; returns the norm before, summed in
 * double (torch.nn.utils.clip_grad_norm_). */
double nn_clip_grad_norm(nn_params *params, double max_norm);

/* Every optimizer is a struct with its options, of which the rate and other numbers may change between steps, and its
 * state. NAME_init makes the state in the registry's memory, once that is finalized; NAME_step changes all values by
 * the gradients. A step fails, with a text in the registry, where since nn_zero_grad neither nn_backward put something
 * into nn_grads nor somebody asked for them. */

/* Parameters by their names, which an optimizer treats apart: `rate` multiplies its rate for them, and 0 leaves them out,
 * as they are. `names` are patterns with a space between them, in which * stands for any text: "wte.weight h.*.ln_*". The
 * first group of a list that fits a name counts; what none fits has 1. The list ends with {0} and outlives the
 * optimizer. */
typedef struct nn_group {
    const char *names;
    double rate;
} nn_group;

/* Freezes the parameters whose names fit such patterns, or with false sets them free: as long as they are frozen, no
 * gradient is computed for them, and no optimizer changes them. Before or after nn_params_finalize. Returns how many
 * parameters fit. */
int nn_freeze(nn_params *params, const char *names, bool frozen);

/* What an optimizer or a mean keeps beside the parameters: arrays of the registry, each [count], and steps done. The
 * names are those in a checkpoint, where they may be changed before the first of the two functions below is called. */
enum { NN_STATE_ARRAYS = 2, NN_STATE_ENTRIES = NN_STATE_ARRAYS + 1 };
typedef struct nn_state {
    int arrays;
    const char *names[NN_STATE_ARRAYS]; /* as "optimizer.exp_avg" */
    const char *steps;                  /* as "optimizer.step"; NULL: they are not saved */
    tensor array[NN_STATE_ARRAYS];
    int32_t step;
    bool shown; /* see nn_average */
    const char *shown_name;
} nn_state;
/* nn_state_list writes the state as entries of a checkpoint, valid as long as *s and the registry, and returns how many.
 * nn_state_load reads them from a file into the state of an optimizer that has been made with the same options. False,
 * with a text in err and nothing changed, where the file has none that fit; a file without the number of steps leaves
 * it. */
int nn_state_list(const nn_state *s, nn_entry entries[NN_STATE_ENTRIES]);
bool nn_state_load(nn_state *s, const nn_file *file, tensor_error *err);

/* TENSOR_UPDATE_SGD, with a momentum TENSOR_UPDATE_MOMENTUM (torch.optim.SGD). */
typedef struct nn_sgd_options {
    double rate, momentum, decay;
    bool decay_matrices;    /* decay is for parameters of rank 2 and above alone: no biases, no layer norms */
    const nn_group *groups; /* NULL: none */
} nn_sgd_options;
#define NN_SGD_DEFAULTS (TENSOR_LITERAL(nn_sgd_options){1e-3, 0, 0, false, NULL})
struct nn_sgd {
    nn_sgd_options options;
    nn_state state;
};
bool nn_sgd_init(struct nn_sgd *o, nn_params *params, nn_sgd_options options);
bool nn_sgd_step(struct nn_sgd *o, nn_params *params);

/* TENSOR_UPDATE_ADAMW (torch.optim.AdamW) or, with `decay_in_gradient`, TENSOR_UPDATE_ADAM (torch.optim.Adam). */
typedef struct nn_adamw_options {
    double rate, beta1, beta2, eps, decay;
    bool decay_matrices;
    const nn_group *groups;
    bool decay_in_gradient;
} nn_adamw_options;
#define NN_ADAMW_DEFAULTS (TENSOR_LITERAL(nn_adamw_options){1e-3, 0.9, 0.999, 1e-8, 0.01, false, NULL, false})
#define NN_ADAM_DEFAULTS (TENSOR_LITERAL(nn_adamw_options){1e-3, 0.9, 0.999, 1e-8, 0, false, NULL, true})
struct nn_adamw {
    nn_adamw_options options;
    nn_state state;
};
bool nn_adamw_init(struct nn_adamw *o, nn_params *params, nn_adamw_options options);
bool nn_adamw_step(struct nn_adamw *o, nn_params *params);

/* TENSOR_UPDATE_RMSPROP with alpha as beta2, with a momentum TENSOR_UPDATE_RMSPROP_MOMENTUM (torch.optim.RMSprop). */
typedef struct nn_rmsprop_options {
    double rate, alpha, eps, decay, momentum;
    bool decay_matrices;
    const nn_group *groups;
} nn_rmsprop_options;
#define NN_RMSPROP_DEFAULTS (TENSOR_LITERAL(nn_rmsprop_options){1e-2, 0.99, 1e-8, 0, 0, false, NULL})
struct nn_rmsprop {
    nn_rmsprop_options options;
    nn_state state;
};
bool nn_rmsprop_init(struct nn_rmsprop *o, nn_params *params, nn_rmsprop_options options);
bool nn_rmsprop_step(struct nn_rmsprop *o, nn_params *params);

/* TENSOR_UPDATE_ADAGRAD with rate / (1 + rate_decay (step - 1)) as its rate (torch.optim.Adagrad). */
typedef struct nn_adagrad_options {
    double rate, rate_decay, decay, eps;
    bool decay_matrices;
    const nn_group *groups;
} nn_adagrad_options;
#define NN_ADAGRAD_DEFAULTS (TENSOR_LITERAL(nn_adagrad_options){1e-2, 0, 0, 1e-10, false, NULL})
struct nn_adagrad {
    nn_adagrad_options options;
    nn_state state;
};
bool nn_adagrad_init(struct nn_adagrad *o, nn_params *params, nn_adagrad_options options);
bool nn_adagrad_step(struct nn_adagrad *o, nn_params *params);

/* TENSOR_UPDATE_LION, whose steps have the rate's size: it wants a third to a tenth of AdamW's, and as much more decay. */
typedef struct nn_lion_options {
    double rate, beta1, beta2, decay;
    bool decay_matrices;
    const nn_group *groups;
} nn_lion_options;
#define NN_LION_DEFAULTS (TENSOR_LITERAL(nn_lion_options){1e-4, 0.9, 0.99, 0, false, NULL})
struct nn_lion {
    nn_lion_options options;
    nn_state state;
};
bool nn_lion_init(struct nn_lion *o, nn_params *params, nn_lion_options options);
bool nn_lion_step(struct nn_lion *o, nn_params *params);

/* Muon (Jordan et al. 2024), for the weights of hidden layers; biases, tables and the output are for another optimizer,
 * by groups. With g, v and p being gradient, momentum and value of a weight, as [out, in]:
 *     v = m v + (1 - m) g; u = m v + (1 - m) g, or v where not `nesterov`;
 *     X = u / max(|u|, eps); five times: A = X X^T; X = 3.4445 X + (2.0315 A A - 4.7750 A) X;
 *     p = (1 - rate decay) p - rate sqrt(max(1, out / in)) X.
 * A weight [in, out] changes by the same numbers. The queries, keys and values of nn_attention are three weights. This is
 * torch.optim.Muon, but for X, which is float32 here and bfloat16 there. */
typedef struct nn_muon_options {
    double rate, momentum, eps, decay;
    bool nesterov;
    const nn_group *groups; /* NULL: all parameters, which must be matrices then; read by nn_muon_init */
} nn_muon_options;
#define NN_MUON_DEFAULTS (TENSOR_LITERAL(nn_muon_options){1e-3, 0.95, 1e-7, 0.1, true, NULL})
struct nn_muon_work;
struct nn_muon {
    nn_muon_options options; /* rate, momentum and decay may change between steps */
    nn_state state;
    struct nn_muon_work *work;
};
bool nn_muon_init(struct nn_muon *o, nn_params *params, nn_muon_options options);
bool nn_muon_step(struct nn_muon *o, nn_params *params);
/* How many float32 numbers nn_muon_init takes; also before nn_params_finalize. */
int64_t nn_muon_numbers(const nn_params *params, const nn_muon_options *options);

/* The mean of the values after several steps, less noisy than the last ones: mean += (x - mean) / count (Polyak &
 * Juditsky 1992) or, with a decay above 0, mean = decay mean + (1 - decay) x from the first value on (an exponential
 * moving average). nn_average_show puts it in the place of the values, to be measured and saved, and the values back
 * (false), with which training goes on; before there is a mean it does nothing. The state's step says how many values
 * are in the mean; 0 begins anew. Saved while the mean is shown, the values stand beside it, and a file that is loaded
 * is at first as it was saved: nn_state_load gives the state, nn_average_show(.., false) the values. */
struct nn_average {
    nn_state state; /* the mean or, while that is shown, the values */
    double decay;
};
bool nn_average_init(struct nn_average *o, nn_params *params, double decay);
bool nn_average_add(struct nn_average *o, nn_params *params);
void nn_average_show(struct nn_average *o, nn_params *params, bool shown);

/* The learning rate of step i, counted from 0: a linear warm-up, rate (i + 1) / (warmup + 1) for i < warmup; then
 *  - constant;
 *  - or falling from step `fall` on (from the warm-up's end where that is later) to `lowest` at step `end`, on a line
 * or as half
 *    a period of a cosine (Loshchilov & Hutter 2017); with a late `fall` it is called warm-up, stable, decay;
 *  - or times `factor` after each `every` steps behind the warm-up (torch's StepLR).
 * NN_ONE_CYCLE (Smith & Topin 2018): half a period of a cosine from `first` up to the rate at step `warmup`, another
 * one down to `lowest` at step `end`; torch's OneCycleLR has rate / 25 and rate / 250000 for these two by default.
 * The same bits on every machine. */
typedef enum nn_schedule_kind {
    NN_CONSTANT,
    NN_LINEAR_DECAY,
    NN_COSINE_DECAY,
    NN_STEP_DECAY,
    NN_ONE_CYCLE
} nn_schedule_kind;
typedef struct nn_schedule {
    nn_schedule_kind kind;
    double rate, lowest;
    int64_t warmup, fall, end;
    double first, factor;
    int64_t every;
} nn_schedule;
double nn_schedule_rate(const nn_schedule *schedule, int64_t step);

SAMPO_END_DECLS
#endif
