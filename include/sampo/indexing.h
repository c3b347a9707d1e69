/* Sampo autograd: elements by number, in order and by formula. sampo/autograd.h, which includes this, says who owns
 * results and how failures show. Ids are int32, without gradient; one that is out of range is an error that names it. */
#ifndef SAMPO_INDEXING_H
#define SAMPO_INDEXING_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* y[..., i, ...] = x[..., ids[..., i, ...], ...] along an axis: ids and y have one shape, which beside the axis is x's. */
ag_var *ag_gather(ag_var *x, int axis, ag_var *ids);
/* x with src[..., i, ...] added to its elements [..., ids[..., i, ...], ...]: ids and src have one shape, which beside
 * the axis is x's, and so has the result. What comes to one element is added up in double. */
ag_var *ag_scatter_add(ag_var *x, int axis, ag_var *ids, ag_var *src);
/* The parts of x with the numbers ids [n] along an axis, which then has n of them. */
ag_var *ag_index_select(ag_var *x, int axis, ag_var *ids);

/* The k largest along an axis in falling order, x's shape with k there; *ids receives their numbers, int32, of the same
 * shape, unless it is NULL. Equal elements come in their order, and NaN first. */
ag_var *ag_top_k(ag_var *x, int axis, int64_t k, ag_var **ids);
/* All along an axis in rising or falling order, likewise, x's shape; NaN counts as the largest. ag_argsort gives the
 * numbers alone. */
ag_var *ag_sort(ag_var *x, int axis, bool falling, ag_var **ids);
ag_var *ag_argsort(ag_var *x, int axis, bool falling);
/* The number, int32, of the first largest or smallest element along an axis, which goes: x [2, 5] gives [2] for axis 1.
 * NaN counts as largest and as smallest. */
ag_var *ag_argmax(ag_var *x, int axis);
ag_var *ag_argmin(ag_var *x, int axis);

/* x backwards along a set of axes (AG_AXIS(0) | AG_AXIS(-1), or AG_ALL), a view of x's shape. */
ag_var *ag_flip(ag_var *x, unsigned axes);

/* x [..., M, N], where column - row of the last two axes is at most `diagonal` (tril), or at least (triu); elsewhere 0. */
ag_var *ag_tril(ag_var *x, int64_t diagonal);
ag_var *ag_triu(ag_var *x, int64_t diagonal);

/* Einstein's sums over `count` operands: "bij,bjk->bik" is a product of matrices in batches, "ij->ji" a transpose,
 * "i,j->ij" an outer product, "ij->" a sum. A letter is an axis, at most once in an operand (no diagonals); those that
 * are not behind the arrow are summed over, and without an arrow those that come once stay, in the order of the
 * alphabet. Products of two operands are ag_matmul's; more are taken from the left. The result has the shape that the
 * letters say. */
ag_var *ag_einsum(const char *formula, ag_var *const *x, int count);

SAMPO_END_DECLS
#endif
