/* What optimizers share: the state beside the parameters, rates by name. */
#ifndef SAMPO_NN_OPTIM_STATE_H
#define SAMPO_NN_OPTIM_STATE_H

#include "nn/params/params.h"

/* The state of an optimizer or a mean, zeros. False, with a text in the registry that names who asks, where that is not
 * ready or memory is out. */
bool nn_state_new(nn_state *s, nn_params *params, const char *what, int arrays, const char *const *names);
/* Whether a state has been made for a registry; `what` is the optimizer, as "nn_sgd". */
bool nn_state_fits(const nn_state *s, nn_params *params, const char *what, int arrays);

/* One step more; the last number that there is stays, as a file may begin with it. */
static inline void nn_state_count(nn_state *s) {
    if (s->step < INT32_MAX) s->step++;
}

/* By how much a parameter's rate is multiplied. */
double nn_group_rate(const nn_group *groups, const char *name);

/* x^n by squaring: libm's pow may differ in its last bit between platforms. */
static inline double nn_power(double x, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) result *= x;
    return result;
}

#endif
