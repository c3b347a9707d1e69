/* Sampo nn: gradients of a registry, optimizers, means of weights, learning rates. */
#ifndef SAMPO_OPTIM_H
#define SAMPO_OPTIM_H

#include "sampo/checkpoint.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

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

/* v = momentum v + g; p -= rate v (torch.optim.SGD; decay adds decay p to g). */
typedef struct nn_sgd_options {
    double rate, momentum, decay;
} nn_sgd_options;
#define NN_SGD_DEFAULTS (TENSOR_LITERAL(nn_sgd_options){1e-3, 0, 0})
struct nn_sgd {
    nn_sgd_options options;
    tensor velocity; /* of the registry; no tensor without momentum */
};
/* A step fails, with a text in the registry, where since nn_zero_grad neither nn_backward put something into nn_grads nor
 * somebody asked for them. */
bool nn_sgd_init(struct nn_sgd *o, nn_params *params, nn_sgd_options options);
bool nn_sgd_step(struct nn_sgd *o, nn_params *params);

/* Parameters by their names, which an optimizer treats apart: `rate` multiplies its rate for them, and 0 leaves them out,
 * as they are. `names` are patterns with a space between them, in which * stands for any text: "wte.weight h.*.ln_*". The
 * first group of a list that fits a name counts; what none fits has 1. The list ends with {0} and outlives the optimizer. */
typedef struct nn_group {
    const char *names;
    double rate;
} nn_group;

/* tensor_adamw over all parameters (torch.optim.AdamW). */
typedef struct nn_adamw_options {
    double rate, beta1, beta2, eps, decay;
    bool decay_matrices;    /* decay is for parameters of rank 2 and above alone: no biases, no layer norms */
    const nn_group *groups; /* NULL: none */
} nn_adamw_options;
#define NN_ADAMW_DEFAULTS (TENSOR_LITERAL(nn_adamw_options){1e-3, 0.9, 0.999, 1e-8, 0.01, false, NULL})
struct nn_adamw {
    nn_adamw_options options; /* rate may change between steps */
    tensor m, v;              /* of the registry, each [count] */
    int64_t step;             /* steps done */
};
bool nn_adamw_init(struct nn_adamw *o, nn_params *params, nn_adamw_options options);
bool nn_adamw_step(struct nn_adamw *o, nn_params *params);

/* Muon (Jordan et al. 2024), for the weights of hidden layers; biases, tables and the output are for another optimizer, by
 * groups. With g, v and p being gradient, momentum and value of a weight, as [out, in]:
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
struct nn_muon_state;
struct nn_muon {
    nn_muon_options options; /* rate, momentum and decay may change between steps */
    tensor momentum;         /* of the registry, [count] */
    struct nn_muon_state *state;
};
bool nn_muon_init(struct nn_muon *o, nn_params *params, nn_muon_options options);
bool nn_muon_step(struct nn_muon *o, nn_params *params);
/* How many float32 numbers nn_muon_init takes; also before nn_params_finalize. */
int64_t nn_muon_numbers(const nn_params *params, const nn_muon_options *options);

/* The mean of the values after several steps, mean += (x - mean) / count: less noisy than the last ones (Polyak & Juditsky
 * 1992). nn_average_show puts it in the place of the values, to be measured and saved, and the values back (false), with which
 * training goes on; before there is a mean it does nothing. */
struct nn_average {
    tensor other;  /* of the registry, [count]: the mean or, while that is shown, the values */
    int64_t count; /* so many values are in the mean; 0 begins anew */
    bool shown;
};
bool nn_average_init(struct nn_average *o, nn_params *params);
bool nn_average_add(struct nn_average *o, nn_params *params);
void nn_average_show(struct nn_average *o, nn_params *params, bool shown);

/* The learning rate of step i, counted from 0: a linear warm-up, rate (i + 1) / (warmup + 1) for i < warmup; then
 * constant, or falling from step `fall` on (from the warm-up's end where that is later) to `lowest` at step `end`, on a line or
 * as half a period of a cosine (Loshchilov & Hutter 2017).
 * The same bits on every machine. */
typedef enum nn_schedule_kind { NN_CONSTANT, NN_LINEAR_DECAY, NN_COSINE_DECAY } nn_schedule_kind;
typedef struct nn_schedule {
    nn_schedule_kind kind;
    double rate, lowest;
    int64_t warmup, fall, end;
} nn_schedule;
double nn_schedule_rate(const nn_schedule *schedule, int64_t step);

/* ---- Their state in checkpoints ----------------------------------------------------------- */

/* AdamW's moments as entries of a checkpoint, "optimizer.exp_avg" and "optimizer.exp_avg_sq", valid as long as the registry;
 * and back: makes the optimizer as nn_adamw_init does, with the moments of a file and `step` steps done. False with a
 * text in err where the file has none that fit. */
enum { NN_ADAMW_ENTRIES = 2 };
void nn_adamw_list(const struct nn_adamw *o, nn_entry entries[NN_ADAMW_ENTRIES]);
bool nn_adamw_load(struct nn_adamw *o, nn_params *params, nn_adamw_options options, const nn_file *file,
                   int64_t step, tensor_error *err);
/* The same of Muon: "optimizer.momentum". */
enum { NN_MUON_ENTRIES = 1 };
void nn_muon_list(const struct nn_muon *o, nn_entry entries[NN_MUON_ENTRIES]);
bool nn_muon_load(struct nn_muon *o, nn_params *params, nn_muon_options options, const nn_file *file,
                  tensor_error *err);
/* While a mean is shown, and saved as the model, the values that training goes on with, "optimizer.values"; returns how
 * many entries: 0 where none is shown. And back, for parameters that were loaded from that file. */
enum { NN_AVERAGE_ENTRIES = 1 };
int nn_average_list(const struct nn_average *o, nn_entry entries[NN_AVERAGE_ENTRIES]);
bool nn_average_load(struct nn_average *o, nn_params *params, const nn_file *file, int64_t count,
                     tensor_error *err);

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
