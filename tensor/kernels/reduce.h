/* Reductions of a row of contiguous elements, in an order that the source alone defines. */
#ifndef SAMPO_TENSOR_REDUCE_H
#define SAMPO_TENSOR_REDUCE_H

#include "tensor/kernels/lanes.h"

enum { REDUCE_BLOCK = 4096 }; /* elements summed in float before double takes over */

/* One block: each lane adds its elements in ascending order, then the tree. */
static float sum_block(int64_t n, const float *x) {
    lanes total = lanes_splat(0);
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, 0);
        for (int v = 0; v < LANE_VECS; v++) total.v[v] += row.v[v];
    });
    return lanes_sum(total);
}

static float reduce_sum(int64_t n, const float *x) {
    double total = 0;
    for (int64_t i = 0; i < n; i += REDUCE_BLOCK)
        total += (double)sum_block(n - i < REDUCE_BLOCK ? n - i : REDUCE_BLOCK, x + i);
    return (float)total;
}

static float reduce_max(int64_t n, const float *x) {
    lanes top = lanes_splat(-__builtin_inff());
    EACH_LANES(n, i, count, {
        const lanes row = lanes_load_some(x + i, count, -__builtin_inff());
        for (int v = 0; v < LANE_VECS; v++) top.v[v] = vec_max(top.v[v], row.v[v]);
    });
    return lanes_max(top);
}

/* Squares of floats are exact in double, so a fused addition rounds as two steps do. */
static double reduce_sum_squares(int64_t n, const float *x) {
    double total[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) total[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i + l < n; l++) total[l] += (double)x[i + l] * (double)x[i + l];
    for (int half = LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++) total[l] += total[l + half];
    return total[0];
}

#endif
