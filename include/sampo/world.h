/* Sampo nn: the processes that train one model together. */
#ifndef SAMPO_WORLD_H
#define SAMPO_WORLD_H

#include "sampo/params.h"

SAMPO_BEGIN_DECLS

/* The processes of a run, ranks 0 to size - 1, as one of them sees them. Where Sampo is built with MPI, nn_world_open
 * joins those that mpirun has started; without it, or without mpirun, a process is alone: {0, 1}. Whoever has another
 * way to send bytes makes a world of his own functions.
 *
 *     nn_world world;
 *     if (!nn_world_open(&world, &err)) puts(err.text);
 *     nn_parallel_set_world(parallel, &world);   // each rank computes its shards of every batch; gradients are equal
 *     ...
 *     nn_world_close(&world, false);
 */
typedef struct nn_world {
    int rank, size;
    void *context;
    /* Called by one thread at a time, which need not be the same always. All bytes go to, or come from, another rank,
     * in the order in which they were sent. False with a text, also where the other does not answer in time. */
    bool (*send)(void *context, int to, const void *data, size_t bytes, tensor_error *err);
    bool (*receive)(void *context, int from, void *data, size_t bytes, tensor_error *err);
    /* Both at once; NULL: one after the other. */
    bool (*exchange)(void *context, int to, const void *out, size_t out_bytes, int from, void *in,
                     size_t in_bytes, tensor_error *err);
    /* Ends this process's part; NULL: nothing is to be done. `failed`: ends those of the others as well. */
    void (*close)(void *context, bool failed);
} nn_world;

/* Joins the others, once a process, at its start. Where none of the variables is set by which mpirun and the like tell
 * a process its rank, and MPI does not run, nothing is begun. False with a text where MPI fails. How long a rank waits
 * for another is the environment variable SAMPO_WAIT, in seconds; 300 unless given. */
bool nn_world_open(nn_world *world, tensor_error *err);
void nn_world_close(nn_world *world, bool failed);
/* What nn_world_open joins processes with, such as "MPICH 4.0.2", a text that lives as long as the program; NULL: Sampo
 * was built without MPI. */
const char *nn_world_library(void);

/* Every rank calls these, in the same order. A NULL world is one process, and so is
 * {0}. */

/* Each rank sends to the one that comes `step` ranks after it, cyclically, and receives from the one `step` ranks
 * before. */
bool nn_world_exchange(const nn_world *world, int step, const void *out, size_t out_bytes, void *in,
                       size_t in_bytes, tensor_error *err);

/* Rank 0's bytes come to all. */
bool nn_world_broadcast(const nn_world *world, void *data, size_t bytes, tensor_error *err);
/* Each of up to 8 values becomes the largest of all ranks'. */
bool nn_world_max(const nn_world *world, int64_t *values, int count, tensor_error *err);
/* Fails on every rank, with a text that begins with `what` and names the first rank whose bytes are not rank 0's. */
bool nn_world_same(const nn_world *world, const char *what, const void *data, size_t bytes,
                   tensor_error *err);
/* The same of all values of parameters and buffers: the text names the first that differs. */
bool nn_params_same(const nn_params *params, const nn_world *world, tensor_error *err);

SAMPO_END_DECLS
#endif
