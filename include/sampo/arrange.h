/* Sampo tensor: elements by number and in order: gather, scatter, sort, running sums. sampo/tensor.h, which includes
 * this, says how errors and memory work. */
#ifndef SAMPO_ARRANGE_H
#define SAMPO_ARRANGE_H

#include "sampo/tensor.h"

SAMPO_BEGIN_DECLS

/* out[..., i, ...] = x[..., ids[..., i, ...], ...] along `axis`: out and ids (int32) have one shape, which is x's in all
 * other axes. An id outside of x's axis is an error that names it. */
bool tensor_gather(tensor out, tensor x, int axis, tensor ids, tensor_error *err);

/* out[..., ids[..., i, ...], ...] += x[..., i, ...] along `axis`: the opposite. What comes to one element is added up in
 * double first. `scratch` is float32 memory without gaps of 32 times as many elements as the axis of out has (up to
 * 128 times: faster where many places share their ids), or, where neighbours along it lie side by side in memory, twice
 * as many. */
bool tensor_scatter_add(tensor out, int axis, tensor ids, tensor x, tensor scratch, tensor_error *err);

/* The numbers, int32 and of x's shape, of the elements along `axis` in rising or falling order. Equal ones stay in their
 * order; NaN is above all others. `scratch` is int32 memory without gaps of four times the length of the axis. */
bool tensor_argsort(tensor out, tensor x, int axis, bool falling, tensor scratch, tensor_error *err);

/* The numbers, int32, of the k largest elements along `axis`, in the order that tensor_argsort gives them; out has x's
 * shape with k there. `scratch` is int32 memory without gaps of 2 k elements. */
bool tensor_top_k(tensor out, tensor x, int axis, tensor scratch, tensor_error *err);

/* out[..., i, ...] = the sum of x[..., j, ...] over j <= i along `axis`, added in double; out has x's shape. */
bool tensor_cumulative_sum(tensor out, tensor x, int axis, tensor_error *err);

/* out = x where column - row of the last two axes is at most `diagonal` or, with `upper`, at least that; elsewhere 0. */
bool tensor_triangle(tensor out, tensor x, int64_t diagonal, bool upper, tensor_error *err);

SAMPO_END_DECLS
#endif
