/* Nodes of the tree in which gradients are added. */
#include "nn/parallel/gradient_tree.h"

void nn_tree_range(int64_t shards, int rank, int ranks, int64_t *begin, int64_t *end) {
    *begin = (shards * rank + ranks - 1) / ranks;
    *end = (shards * (rank + 1) + ranks - 1) / ranks;
}

int64_t nn_node_end(nn_node node, int64_t shards) {
    const int64_t end = (node.index + 1) << node.level;
    return end < shards ? end : shards;
}

nn_node nn_tree_node(int64_t shards, int64_t begin, int64_t end, int most_level) {
    nn_node node = {.level = 0, .index = begin};
    while (node.level < most_level && node.index % 2 == 0) {
        const nn_node parent = {.level = node.level + 1, .index = node.index / 2};
        if (nn_node_end(parent, shards) > end) break;
        node = parent;
    }
    return node;
}

/* The highest node that has the same shards: its right children have none. */
static nn_node highest(nn_node node, int64_t shards) {
    while (node.index > 0 && node.index % 2 == 0 && (node.index + 1) << node.level >= shards) {
        node.index /= 2;
        node.level++;
    }
    return node;
}

bool nn_tree_merge(nn_node *nodes, int *count, int64_t shards, nn_node *to, nn_node *from) {
    if (*count == 0) return false;
    nodes[*count - 1] = highest(nodes[*count - 1], shards);
    if (*count < 2) return false;
    const nn_node left = nodes[*count - 2], right = nodes[*count - 1];
    if (left.level != right.level || left.index % 2 != 0 || right.index != left.index + 1) return false;
    *to = left, *from = right;
    nodes[*count - 2] = (nn_node){left.level + 1, left.index / 2, left.owner, left.place};
    --*count;
    return true;
}

int nn_tree_nodes(int64_t shards, int64_t begin, int64_t end, int owner, nn_node *nodes) {
    int count = 0;
    while (begin < end) {
        nn_node to, from;
        nodes[count] = nn_tree_node(shards, begin, end, NN_MAX_LEVEL);
        nodes[count].owner = owner, nodes[count].place = count;
        begin = nn_node_end(nodes[count], shards);
        count++;
        while (nn_tree_merge(nodes, &count, shards, &to, &from)) continue;
    }
    return count;
}
