/* Leaves and a scalar for tests of the engine. */
#ifndef SAMPO_TESTS_TAPE_TEST_H
#define SAMPO_TESTS_TAPE_TEST_H

#include "sampo/autograd.h"

/* A leaf of first, first + 1, ... */
static inline ag_var *filled(ag_tape *tape, bool gradient, float first, int rank, const int64_t *shape) {
    const tensor x = ag_tensor(tape, TENSOR_F32, rank, shape);
    if (!tensor_ok(x)) return NULL;
    for (int64_t i = 0; i < tensor_size(x); i++) x.f32[i] = first + (float)i;
    return gradient ? ag_variable(tape, x) : ag_input(tape, x);
}

static inline ag_var *total(ag_var *x) {
    return ag_sum(x, AG_ALL, false);
}

#endif
