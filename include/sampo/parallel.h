/* Sampo nn: data-parallel training. */
#ifndef SAMPO_PARALLEL_H
#define SAMPO_PARALLEL_H

#include "sampo/params.h"
#include "sampo/world.h"

SAMPO_BEGIN_DECLS

/* ---- Data-parallel training --------------------------------------------------------------- *
 * A batch of rows is cut into shards, which do not depend on the machine. Each shard runs forward and backward with
 * gradients of its own, and these are added in a fixed binary tree: ((s0 + s1) + (s2 + s3)) + ... Whoever computes a
 * shard, the sum is the same: one seed gives the same bits with any number of threads, and of ranks. A shard runs on
 * one thread, with a tape of that thread; where the model is so large that the gradients of four shards would take more
 * than 64 MB, shards come one by one, and operations run parallel inside. Then S shards need the memory of 1 + log2 S
 * gradients. */

typedef struct nn_parallel nn_parallel;

/* For this registry (finalized; must outlive it). NULL when memory is out, or for NULL. Free with nn_parallel_free (NULL is
 * accepted). */
nn_parallel *nn_parallel_new(nn_params *params);
void nn_parallel_free(nn_parallel *parallel);

/* Every shard has at least so many rows (1 unless told otherwise), where the batch has them: for rows so small that
 * handing them out takes longer than their work. */
void nn_parallel_set_grain(nn_parallel *parallel, int64_t rows);

/* So many shards a batch, but no more than its rows; 0, as at first: 16, with as many rows as the grain says, or one of
 * a model that is as large as above. Up to 2^24. More shards than threads need less memory at a time. */
void nn_parallel_set_shards(nn_parallel *parallel, int64_t shards);

/* The processes that share the shards of every batch: each computes a contiguous range of them, and all end with the same
 * gradients and losses. They all have the same parameters and call the functions below in the same order, with the same
 * rows. Each calls its loss function for the rows of its own shards alone. NULL, as at first: one process. The world must
 * outlive this. */
void nn_parallel_set_world(nn_parallel *parallel, const nn_world *world);

/* In which precision nn_parallel_backward multiplies (ag_set_precision), its loss included; float32 unless told
 * otherwise. Parameters, their gradients and the optimizer stay float32, and nn_parallel_loss multiplies in float32 as
 * ever: what a model has learned is looked at in one precision, however it was trained. */
void nn_parallel_set_precision(nn_parallel *parallel, tensor_precision precision);

/* The mean loss of rows begin..end-1 of a batch, a scalar on `tape`. Called by several threads at once, so it
 * reads `context` only; may be called again for the same rows, to size a thread's tape. */
typedef ag_var *nn_loss(void *context, ag_tape *tape, int64_t begin, int64_t end);

/* The mean loss of rows 0..rows-1 and its gradient, which overwrites nn_grads. False with a text in err. */
bool nn_parallel_backward(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                          tensor_error *err);
/* The mean loss alone, without recording. */
bool nn_parallel_loss(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                      tensor_error *err);
/* Into how many shards a batch is cut, and how many of so many shards are computed at once. */
int64_t nn_parallel_shards(const nn_parallel *parallel, int64_t rows);
int64_t nn_parallel_lanes(const nn_parallel *parallel, int64_t shards);
/* Bytes held by tapes and the shards' gradients. */
size_t nn_parallel_bytes(const nn_parallel *parallel);

/* Whether all parameters are finite numbers. */
bool nn_finite(const nn_params *params);
/* Names what is not, into `text`: a parameter; else the first result of computing rows 0..rows-1 of the loss, one by one
 * (NULL: none); else a parameter's gradient. False where all is finite. */
bool nn_find_not_finite(nn_params *params, int64_t rows, nn_loss *loss, void *context, char *text,
                        size_t size);

SAMPO_END_DECLS
#endif
