/* Sampo nn: the registry of parameters. */
#ifndef SAMPO_PARAMS_H
#define SAMPO_PARAMS_H

#include "sampo/autograd.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parameters --------------------------------------------------------------------------- */

typedef struct nn_params nn_params;

/* How a parameter is filled: low..high uniform, or normal(mean, deviation), or one value. */
typedef enum nn_init_kind { NN_INIT_VALUE, NN_INIT_UNIFORM, NN_INIT_NORMAL } nn_init_kind;
typedef struct nn_init {
    nn_init_kind kind;
    float a, b; /* the value; low and high; mean and deviation */
} nn_init;
#define NN_ZEROS (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 0, 0})
#define NN_ONES (TENSOR_LITERAL(nn_init){NN_INIT_VALUE, 1, 0})
#define NN_UNIFORM(bound) (TENSOR_LITERAL(nn_init){NN_INIT_UNIFORM, -(float)(bound), (float)(bound)})
#define NN_NORMAL(deviation) (TENSOR_LITERAL(nn_init){NN_INIT_NORMAL, 0, (float)(deviation)})

/* An empty registry; NULL when memory is out. Free with nn_params_free (NULL is accepted). */
nn_params *nn_params_new(void);
void nn_params_free(nn_params *params);
/* The first failure, which the registry owns; NULL: none. */
const char *nn_params_error(const nn_params *params);

/* Registers a parameter of a shape and returns its variable, whose value is there after nn_params_finalize; the
 * registry owns it and copies the name. NULL where the registry has failed; modules may keep it all the same. */
ag_var *nn_param(nn_params *params, const char *name, nn_init init, int rank, const int64_t *shape);

/* Gives a registered parameter, of any shape, a second name: one entry, one gradient (tied weights). */
void nn_tie(nn_params *params, const char *alias, ag_var *parameter);

/* A name that the registry owns: nn_name(params, "h.%d.ln_1", 3). NULL when memory is out (accepted by the
 * functions that take names). */
const char *nn_name(nn_params *params, const char *format, ...) TENSOR_PRINTF(2, 3);

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

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
