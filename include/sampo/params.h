/* Sampo nn: the registry of parameters. */
#ifndef SAMPO_PARAMS_H
#define SAMPO_PARAMS_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* ---- Parameters --------------------------------------------------------------------------- */

typedef struct nn_params nn_params;

/* How a parameter is filled. Of a weight [in, out], or [out, in] as tied heads and tables have it, or [out, in, k...] as
 * convolutions have it, fan in is in k..., fan out is out k.... */
typedef enum nn_init_kind {
    NN_INIT_VALUE,
    NN_INIT_UNIFORM,
    NN_INIT_NORMAL,
    NN_INIT_TRUNCATED,
    NN_INIT_XAVIER_UNIFORM,
    NN_INIT_XAVIER_NORMAL,
    NN_INIT_KAIMING_UNIFORM,
    NN_INIT_KAIMING_NORMAL,
    NN_INIT_ORTHOGONAL
} nn_init_kind;
typedef struct nn_init {
    nn_init_kind kind;
    float a, b; /* the value; low and high; mean and deviation; gain and fan */
} nn_init;
typedef enum nn_fan { NN_FAN_IN, NN_FAN_OUT } nn_fan;
#define NN_ZEROS (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 0, 0})
#define NN_ONES (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 1, 0})
#define NN_UNIFORM(bound) (TENSOR_LITERAL(nn_init){NN_INIT_UNIFORM, -(float)(bound), (float)(bound)})
#define NN_NORMAL(deviation) (TENSOR_LITERAL(nn_init){NN_INIT_NORMAL, 0, (float)(deviation)})
/* Normal, without what is more than two deviations from 0: 0.88 times the deviation remains. */
#define NN_TRUNCATED_NORMAL(deviation) (TENSOR_LITERAL(nn_init){NN_INIT_TRUNCATED, 0, (float)(deviation)})
/* gain sqrt(6 / (fan in + fan out)) as the bound, gain sqrt(2 / (fan in + fan out)) as the deviation (Glorot & Bengio
 * 2010). */
#define NN_XAVIER_UNIFORM(gain) (TENSOR_LITERAL(nn_init){NN_INIT_XAVIER_UNIFORM, (float)(gain), 0})
#define NN_XAVIER_NORMAL(gain) (TENSOR_LITERAL(nn_init){NN_INIT_XAVIER_NORMAL, (float)(gain), 0})
/* gain sqrt(3 / fan) as the bound, gain sqrt(1 / fan) as the deviation, fan being NN_FAN_IN or NN_FAN_OUT (He et al.
 * 2015). */
#define NN_KAIMING_UNIFORM(gain, fan)                                                                        \
    (TENSOR_LITERAL(nn_init){NN_INIT_KAIMING_UNIFORM, (float)(gain), (float)(fan)})
#define NN_KAIMING_NORMAL(gain, fan)                                                                         \
    (TENSOR_LITERAL(nn_init){NN_INIT_KAIMING_NORMAL, (float)(gain), (float)(fan)})
#define NN_GAIN_RELU 1.4142135623730951
#define NN_GAIN_TANH (5.0 / 3)
/* Rows, or where there are more rows than columns the columns, of length `gain` and orthogonal to each other, all such
 * matrices being equally likely (Saxe et al. 2014); axes behind the first are columns side by side. */
#define NN_ORTHOGONAL(gain) (TENSOR_LITERAL(nn_init){NN_INIT_ORTHOGONAL, (float)(gain), 0})

/* An empty registry; NULL when memory is out. Free with nn_params_free (NULL is accepted). */
nn_params *nn_params_new(void);
void nn_params_free(nn_params *params);
/* The first failure, which the registry owns; NULL: none. */
const char *nn_params_error(const nn_params *params);

/* Registers a parameter of a shape and returns its variable, whose value is there after nn_params_finalize; the
 * registry owns it and copies the name. NULL where the registry has failed; modules may keep it all the same. */
ag_var *nn_param(nn_params *params, const char *name, nn_init init, int rank, const int64_t *shape);

/* Registers a buffer of a shape, filled with a value, and returns its variable, which the registry owns: a tensor that
 * belongs to the model but is not trained, such as running statistics. It is among the entries, and so in checkpoints,
 * but has no gradient and is no part of nn_values and nn_params_count; nn_set_init and nn_freeze leave it alone. What a
 * loss leaves for it on the tape (ag_leave) becomes its value at the end of nn_backward or, as the mean over the shards
 * by their rows, of nn_parallel_backward. NULL where the registry has failed. */
ag_var *nn_buffer(nn_params *params, const char *name, float value, int rank, const int64_t *shape);

/* Gives a registered parameter, of any shape, a second name: one entry, one gradient (tied weights). */
void nn_tie(nn_params *params, const char *alias, ag_var *parameter);

/* A name that the registry owns: nn_name(params, "h.%d.ln_1", 3). NULL when memory is out (accepted by the
 * functions that take names). */
const char *nn_name(nn_params *params, const char *format, ...) TENSOR_PRINTF(2, 3);

/* Gives the parameters registered so far whose names fit another initialiser: nn_set_init(params, "*.weight",
 * NN_XAVIER_UNIFORM(1)), for patterns as nn_group has them. Returns how many fit. */
int nn_set_init(nn_params *params, const char *names, nn_init init);

/* Allocates all values and gradients, one flat array each, and fills the values: parameter number i from
 * stream i of the seed, so a parameter's values do not depend on the others' sizes. */
bool nn_params_finalize(nn_params *params, uint64_t seed);
/* The same, but values that nn_params_load will give are not filled. */
bool nn_params_reserve(nn_params *params);

/* After nn_params_finalize: all values, all gradients, each [count], in the order of registration; no tensor before. */
tensor nn_values(const nn_params *params);
tensor nn_grads(nn_params *params);
/* The part of nn_grads that belongs to one parameter, in its shape; no tensor for what is no parameter of these. */
tensor nn_grad(nn_params *params, const ag_var *parameter);
int64_t nn_params_count(const nn_params *params); /* numbers in all, tied ones once */

/* Entries by index, 0 <= i < nn_params_entries, aliases included (an alias returns the parameter it stands for), and by
 * name. The registry owns the names and the variables, which have the parameters' shapes; by index they are never NULL. */
int nn_params_entries(const nn_params *params);
const char *nn_params_name(const nn_params *params, int i);
ag_var *nn_params_at(const nn_params *params, int i);
bool nn_params_is_alias(const nn_params *params, int i);           /* whether it is one */
ag_var *nn_params_find(const nn_params *params, const char *name); /* NULL: no such name */

/* Writes the model as a table: names, shapes, how many numbers, also before nn_params_finalize. False where writing
 * fails. */
bool nn_summary(FILE *file, const nn_params *params);

SAMPO_END_DECLS
#endif
