/* The fixed binary tree in which the gradients of a batch's shards are added. A node of level l and index i stands for
 * shards i 2^l to (i + 1) 2^l - 1, as far as there are some; its sum is that of its two children, left plus right, or
 * the left one where there is no right one. So the root does not depend on who computes which nodes, nor when. Private
 * to nn/. */
#ifndef SAMPO_NN_GRADIENT_TREE_H
#define SAMPO_NN_GRADIENT_TREE_H

#include "nn/params/params.h"

typedef struct nn_node {
    int level;
    int64_t index;
    int owner; /* the rank that has its sum ... */
    int place; /* ... in this buffer */
} nn_node;

/* The nodes that one rank holds while it computes its shards from left to right: less than two a level. */
enum { NN_MAX_LEVEL = 24, NN_MAX_SHARDS = 1 << NN_MAX_LEVEL, NN_MAX_NODES = 2 * NN_MAX_LEVEL };

/* The shards of a rank: *begin to *end - 1. Rank 0 has the first one always, and so the root in the end. */
void nn_tree_range(int64_t shards, int rank, int ranks, int64_t *begin, int64_t *end);

/* The largest node that begins with shard `begin`, has at most 2^most_level shards and none from `end` on. */
nn_node nn_tree_node(int64_t shards, int64_t begin, int64_t end, int most_level);
/* The shard after its last. */
int64_t nn_node_end(nn_node node, int64_t shards);

/* Nodes side by side, from left to right, in which the last one has just been added: the next step towards their common
 * ancestors. True where the last two are the children of one node, which then stands for both: the sum of buffer *from
 * is to be added to that of *to. Call it until it returns false. */
bool nn_tree_merge(nn_node *nodes, int *count, int64_t shards, nn_node *to, nn_node *from);

/* The nodes that shards begin..end-1 end as, on the rank that owns them, into a list with room for NN_MAX_NODES: how
 * many. Their places are those of a rank that keeps each in the first buffer that is free. */
int nn_tree_nodes(int64_t shards, int64_t begin, int64_t end, int owner, nn_node *nodes);

/* ---- Ranks (join.c) ------------------------------------------------------------------------------- */

/* `sums` are those of this rank's nodes (nn_tree_nodes), [P] each, the first of which is `root` where there is one.
 * Every rank gets the sum of all shards in `root`, [P]; the others' are overwritten. `room` has nn_join_room numbers. */
int64_t nn_join_room(const nn_world *world, int64_t shards, int64_t numbers);
bool nn_join(const nn_world *world, int64_t shards, const tensor *sums, tensor root, tensor room,
             tensor_error *err);

#endif
