/* Sampo nn: modules, parameters, optimizers, data-parallel training, checkpoints and data.
 *
 * A model is a struct of modules. Its parameters are registered by name, then laid out flat:
 *
 *     nn_params *params = nn_params_new();
 *     struct nn_linear hidden, out;
 *     nn_linear_init(&hidden, params, "hidden", 2, 16, NN_LINEAR_DEFAULTS);
 *     nn_linear_init(&out, params, "out", 16, 1, NN_LINEAR_DEFAULTS);
 *     if (!nn_params_finalize(params, seed)) puts(nn_params_error(params));
 *     ag_var *y = nn_linear(&out, ag_tanh(nn_linear(&hidden, x)));
 *     if (!nn_backward(params, loss)) puts(ag_error(tape));
 *     nn_adamw_step(&adamw, params);
 *
 * Conventions: registering never fails visibly; the first failure (memory, a name used twice, a bad size)
 * stays in the registry and makes nn_params_finalize fail with it. A function of a registry that returns false
 * leaves its text there, unless it has an `err`: nn_params_error. A module is a plain struct without
 * memory of its own: it lives as long as the registry. Forward functions follow autograd.h: NULL in, NULL
 * out. Defaults equal PyTorch's.
 */
#ifndef SAMPO_NN_H
#define SAMPO_NN_H

#include "sampo/checkpoint.h"
#include "sampo/data.h"
#include "sampo/modules.h"
#include "sampo/optim.h"
#include "sampo/parallel.h"
#include "sampo/params.h"
#include "sampo/recurrent.h"
#include "sampo/transformer.h"

#endif
