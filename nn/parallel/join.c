/* The ranks' sums become the root of the tree, on every rank. The gradients are cut into slices, of which each rank has
 * one: it gets that slice of all sums, adds them in the tree's order, and the root's slices go to all. So a rank sends
 * less than twice the gradients for each of its sums, whatever the number of ranks (reduce-scatter and allgather, as in
 * Thakur, Rabenseifner and Gropp 2005). */
#include "nn/parallel/gradient_tree.h"

typedef struct join {
    const nn_world *world;
    int64_t shards, numbers;
    const tensor *sums;
    tensor room;
    int64_t begin, end; /* this rank's slice */
} join;

static void slice_of(const join *j, int rank, int64_t *begin, int64_t *end) {
    *begin = j->numbers * rank / j->world->size;
    *end = j->numbers * (rank + 1) / j->world->size;
}

static int nodes_of(const nn_world *world, int64_t shards, int rank, nn_node *nodes) {
    int64_t begin, end;
    nn_tree_range(shards, rank, world->size, &begin, &end);
    return nn_tree_nodes(shards, begin, end, rank, nodes);
}

/* How many sums other ranks have, of those before `rank`. */
static int64_t sums_before(const nn_world *world, int64_t shards, int rank) {
    nn_node nodes[NN_MAX_NODES];
    int64_t count = 0;
    for (int other = 0; other < rank; other++)
        if (other != world->rank) count += nodes_of(world, shards, other, nodes);
    return count;
}

int64_t nn_join_room(const nn_world *world, int64_t shards, int64_t numbers) {
    return sums_before(world, shards, world->size) * (numbers / world->size + 1);
}

/* Every rank's slice of every sum comes to it, into `room`, in the order of the ranks. */
static bool scatter(const join *j, tensor_error *err) {
    const nn_world *world = j->world;
    nn_node nodes[NN_MAX_NODES];
    const int own = nodes_of(world, j->shards, world->rank, nodes);
    int64_t place = sums_before(world, j->shards, world->rank);
    for (int step = 1; step < world->size; step++) {
        const int to = (world->rank + step) % world->size;
        const int from = (world->rank - step + world->size) % world->size;
        const int theirs = nodes_of(world, j->shards, from, nodes);
        if (from == world->size - 1) place = sums_before(world, j->shards, world->size);
        place -= theirs;
        int64_t begin, end;
        slice_of(j, to, &begin, &end);
        for (int i = 0; i < own || i < theirs; i++) {
            const size_t out = i < own ? (size_t)(end - begin) * sizeof(float) : 0;
            const size_t in = i < theirs ? (size_t)(j->end - j->begin) * sizeof(float) : 0;
            if (!nn_world_exchange(world, step, out > 0 ? j->sums[i].f32 + begin : NULL, out,
                                   in > 0 ? j->room.f32 + (place + i) * (j->end - j->begin) : NULL, in, err))
                return false;
        }
    }
    return true;
}

static tensor slice_at(const join *j, nn_node node) {
    if (node.owner == j->world->rank) return tensor_slice(j->sums[node.place], 0, j->begin, j->end, 1, NULL);
    const int64_t length = j->end - j->begin;
    return tensor_slice(j->room, 0, node.place * length, (node.place + 1) * length, 1, NULL);
}

/* Adds this rank's slices of all sums, from left to right. */
static nn_node add(const join *j) {
    nn_node all[2 * NN_MAX_NODES], nodes[NN_MAX_NODES], to, from;
    int count = 0, place = 0;
    for (int rank = 0; rank < j->world->size; rank++) {
        const int theirs = nodes_of(j->world, j->shards, rank, nodes);
        for (int i = 0; i < theirs; i++) {
            all[count] = nodes[i];
            if (rank != j->world->rank) all[count].place = place++;
            count++;
            while (nn_tree_merge(all, &count, j->shards, &to, &from))
                tensor_binary(slice_at(j, to), TENSOR_ADD, slice_at(j, to), slice_at(j, from), NULL);
        }
    }
    return all[0];
}

/* Each rank's slice of the root goes to all. */
static bool gather(const join *j, tensor root, tensor_error *err) {
    for (int step = 1; step < j->world->size; step++) {
        int64_t begin, end;
        slice_of(j, (j->world->rank - step + j->world->size) % j->world->size, &begin, &end);
        if (!nn_world_exchange(j->world, step, root.f32 + j->begin,
                               (size_t)(j->end - j->begin) * sizeof(float), root.f32 + begin,
                               (size_t)(end - begin) * sizeof(float), err))
            return false;
    }
    return true;
}

bool nn_join(const nn_world *world, int64_t shards, const tensor *sums, tensor root, tensor room,
             tensor_error *err) {
    join j = {.world = world, .shards = shards, .numbers = root.shape[0], .sums = sums, .room = room};
    slice_of(&j, world->rank, &j.begin, &j.end);
    if (!scatter(&j, err)) return false;
    const tensor sum = slice_at(&j, add(&j)), slice = tensor_slice(root, 0, j.begin, j.end, 1, NULL);
    if (sum.f32 != slice.f32) tensor_copy(slice, sum, NULL);
    return gather(&j, root, err);
}
