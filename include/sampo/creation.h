/* Sampo autograd: variables made of nothing but a shape: data without gradient on a tape, which owns it until the next
 * ag_reset. NULL with a text on the tape for a shape that is not possible or without memory. A scalar is written 0,
 * NULL. */
#ifndef SAMPO_CREATION_H
#define SAMPO_CREATION_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* All elements 0, 1, or `value`: ag_zeros(tape, TENSOR_SHAPE(2, 3)) is [2, 3]. */
ag_var *ag_zeros(ag_tape *tape, int rank, const int64_t *shape);
ag_var *ag_ones(ag_tape *tape, int rank, const int64_t *shape);
ag_var *ag_full(ag_tape *tape, float value, int rank, const int64_t *shape);

/* Random numbers of any shape, a pure function of *rng, which advances: uniform in [low, high), and normal. No
 * generator is an error, and so is a range that is none or a deviation below 0 (tensor_rand_uniform,
 * tensor_rand_normal). */
ag_var *ag_rand_uniform(ag_tape *tape, tensor_rng *rng, float low, float high, int rank,
                        const int64_t *shape);
ag_var *ag_rand_normal(ag_tape *tape, tensor_rng *rng, float mean, float deviation, int rank,
                       const int64_t *shape);

/* start, start + step, ... before `stop`, [ceil((stop - start) / step)], each computed in double; a step of 0 is an
 * error. */
ag_var *ag_arange(ag_tape *tape, double start, double stop, double step);
/* `count` numbers from first to last at equal distances, both included, [count]. */
ag_var *ag_linspace(ag_tape *tape, double first, double last, int64_t count);
/* 0, 1, ... count - 1 as int32, [count]: ids, such as positions for ag_embedding. */
ag_var *ag_indices(ag_tape *tape, int64_t count);

/* 1 at [..., ids[...]], else 0: ids [...] int32, the result [..., classes]. An id outside 0..classes-1 is an error that
 * names it. */
ag_var *ag_one_hot(ag_var *ids, int64_t classes);

/* int32 numbers as float32 data of the same shape: ids to be compared, or a mask of where they are not 0. */
ag_var *ag_float(ag_var *ids);

/* x as data of the same shape: its value, in the same memory, without gradient. */
ag_var *ag_detach(ag_var *x);
/* The same with a gradient: a variable of its own, x's shape, which ag_gradients can be asked for. float32 only. */
ag_var *ag_leaf(ag_var *x);

SAMPO_END_DECLS
#endif
