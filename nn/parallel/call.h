/* What the files of data-parallel training share: its memory, and one call. Private to nn/. */
#ifndef SAMPO_NN_CALL_H
#define SAMPO_NN_CALL_H

#include "nn/parallel/courier.h"
#include "nn/parallel/gradient_tree.h"

enum { NN_MAX_LANES = 16 }; /* shards that are computed at once */

/* A thread's tape, and the largest shard it has held: without and with recording. */
typedef struct nn_worker {
    ag_tape *tape;
    int64_t rows[2];
} nn_worker;

/* An array of gradients, and its part of each parameter, [trained]. */
typedef struct nn_gradients {
    tensor all; /* as params->flat: what is left for buffers behind the gradients */
    const tensor *parts;
} nn_gradients;

struct nn_parallel {
    nn_params *params;
    const nn_world *world; /* NULL: one process */
    int64_t grain;         /* rows of a shard at least */
    int64_t shards;        /* of a batch; 0: as it is best */
    tensor_precision precision;
    tensor_arena *arena; /* owns this struct and gradients */
    /* Allocated when they are needed first. sums[0] is the registry's. */
    nn_gradients lanes[NN_MAX_LANES], sums[NN_MAX_NODES];
    nn_worker workers[TENSOR_MAX_THREADS];
    double *means; /* the losses of a batch's shards, each by its part of the rows; room for so many: */
    int64_t means_room;
    /* For other ranks. The flat array is cut into buckets, from its end on, as backward ends with the first parameters. */
    tensor incoming; /* their sums, in part */
    int buckets;
    int *bucket_of;                   /* each parameter, [trained] */
    int64_t bucket_begin[NN_BUCKETS]; /* bucket k ends where bucket k - 1 begins */
};

/* One call: what to do, and what comes out. */
typedef struct nn_call {
    nn_parallel *parallel;
    nn_loss *loss;
    void *context;
    int64_t rows, shards, lanes;
    int threads;
    bool backward;
    int64_t first; /* the shard in lane 0 */
    tensor_error errors[NN_MAX_LANES];
    nn_node nodes[NN_MAX_NODES]; /* sums of this rank's shards so far, from left to right */
    int count;
    nn_courier *courier; /* to which a shard says what is final; NULL: nobody wants to know */
} nn_call;

static inline int nn_rank_of(const nn_call *b) {
    return b->parallel->world ? b->parallel->world->rank : 0;
}

/* The array's memory, which it may not have yet. */
const nn_gradients *nn_gradients_memory(nn_parallel *parallel, nn_gradients *g, tensor_error *err);

/* ---- Shards (shard.c) ------------------------------------------------------------------------------ */

/* The mean loss of shards begin..end-1, at most b->lanes, and where gradients are asked for these as well: in the
 * lanes, or of one shard in the sum behind those that are there. */
bool nn_run_shards(nn_call *b, int64_t begin, int64_t end, tensor_error *err);
/* Tapes that have not held a shard of the largest size do so, for their memory's sake. */
void nn_warm_tapes(nn_call *b);

/* ---- Adding (adding.c) ------------------------------------------------------------------------------ */

/* Numbers begin..end-1 of what nn_run_shards has made of some shards become sums: the nodes from left to right. The
 * memory of all sums is there. */
void nn_add_shards(const nn_call *b, int64_t first, int64_t last, int64_t begin, int64_t end, nn_node *nodes,
                   int *count);

/* ---- Other ranks (deliver.c) -------------------------------------------------------------------------- */

/* Room for their sums, and the buckets. */
bool nn_prepare_join(nn_parallel *parallel, int64_t shards, tensor_error *err);
/* Computes this rank's last shards, first..last-1, of which there may be none, while what is final of the sums of all
 * is joined; every rank gets the gradients. A failure of the shards is in `failure`; such a rank takes part all the
 * same. */
bool nn_run_and_join(nn_call *b, int64_t first, int64_t last, tensor_error *failure, tensor_error *err);

#endif
