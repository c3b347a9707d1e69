/* Gradients of shards are added in the tree's order. */
#include "nn/parallel/call.h"

enum {
    ADD_NUMBERS = 8192
}; /* of each lane, that are added at once: together they fit the second-level cache */

/* out = the sum of `count` arrays, which are overwritten, in the tree's order: of the numbers from `first` on. */
typedef struct addition {
    const nn_gradients *lanes;
    int64_t count, first;
    tensor out;
} addition;

static tensor part_of(tensor all, int64_t begin, int64_t end) {
    return tensor_slice(all, 0, begin, end, 1, NULL);
}

static void add_numbers(void *context, int64_t begin, int64_t end, int number) {
    const addition *a = context;
    (void)number;
    for (int64_t at = a->first + begin; at < a->first + end; at += ADD_NUMBERS) {
        const int64_t to = at + ADD_NUMBERS < a->first + end ? at + ADD_NUMBERS : a->first + end;
        for (int64_t step = 1; step < a->count; step *= 2)
            for (int64_t i = 0; i + step < a->count; i += 2 * step) {
                const tensor left = part_of(a->lanes[i].all, at, to);
                tensor_binary(2 * step < a->count ? left : part_of(a->out, at, to), TENSOR_ADD, left,
                              part_of(a->lanes[i + step].all, at, to), NULL);
            }
    }
}

static void add_lanes(const nn_gradients *lanes, int64_t count, tensor out, int64_t begin, int64_t end) {
    addition a = {lanes, count, begin, out};
    if (count == 1)
        tensor_copy(part_of(out, begin, end), part_of(lanes->all, begin, end), NULL);
    else
        tensor_parallel(end - begin, ADD_NUMBERS, add_numbers, &a);
}

void nn_add_shards(const nn_call *b, int64_t first, int64_t last, int64_t begin, int64_t end, nn_node *nodes,
                   int *count) {
    const nn_gradients *sums = b->parallel->sums;
    for (int64_t at = first; at < last;) {
        nn_node node = nn_tree_node(b->shards, at, last, NN_MAX_LEVEL), to, from;
        const int64_t next = nn_node_end(node, b->shards);
        node.owner = nn_rank_of(b), node.place = *count;
        if (last - first > 1)
            add_lanes(b->parallel->lanes + (at - first), next - at, sums[node.place].all, begin, end);
        nodes[(*count)++] = node;
        while (nn_tree_merge(nodes, count, b->shards, &to, &from)) {
            const tensor sum = part_of(sums[to.place].all, begin, end);
            tensor_binary(sum, TENSOR_ADD, sum, part_of(sums[from.place].all, begin, end), NULL);
        }
        at = next;
    }
}
