/* What the files of tensor/ share: checks of arguments, and loops over strided operands. */
#ifndef SAMPO_TENSOR_INTERNAL_H
#define SAMPO_TENSOR_INTERNAL_H

#include "sampo/tensor.h"

/* ---- Checks: `what` names the operation, `name` the argument: "add: out is no tensor" ------- */

/* The tests stand here so that those that hold cost no call; the functions write the text and return false. Tensors come
 * by address, as copies of them would cost more than the tests. */
bool tensor_unexpected(const char *what, const char *name, const tensor *x, tensor_dtype dtype,
                       tensor_error *err);
bool tensor_unexpected_shape(const char *what, const char *name, const tensor *x, int rank,
                             const int64_t *shape, tensor_error *err);

static inline bool tensor_equal_sizes(int rank_a, const int64_t *a, int rank_b, const int64_t *b) {
    bool same = rank_a == rank_b;
    for (int i = 0; same && i < rank_a; i++) same = a[i] == b[i];
    return same;
}

/* x is a tensor (of the given dtype). */
static inline bool tensor_expect(const char *what, const char *name, const tensor *x, tensor_dtype dtype,
                                 tensor_error *err) {
    return (x->storage && x->dtype == dtype) || tensor_unexpected(what, name, x, dtype, err);
}

/* x has this shape: "softmax: out is [3, 4], expected [3, 5]". */
static inline bool tensor_expect_shape(const char *what, const char *name, const tensor *x, int rank,
                                       const int64_t *shape, tensor_error *err) {
    return tensor_equal_sizes(x->rank, x->shape, rank, shape) ||
           tensor_unexpected_shape(what, name, x, rank, shape, err);
}

/* tensor_is_contiguous of a tensor that is one. */
static inline bool tensor_dense(const tensor *x) {
    bool dense = true;
    int64_t step = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        if (x->shape[i] == 0) return true;
        if (x->shape[i] != 1 && x->stride[i] != step) dense = false;
        step *= x->shape[i];
    }
    return dense;
}

/* The axis counted from the front, 0..rank-1; -1 and "transpose: axis 3 is outside a tensor of rank 2"
 * where there is no such axis. */
int tensor_expect_axis(const char *what, int axis, int rank, tensor_error *err);

/* Counts a change in place: every kernel calls it for what it has written. Two threads may write to different parts of
 * one storage, so both steps are atomic. They may then count once, which is no matter, as the number changes all the
 * same; a locked addition would make them wait for each other. */
static inline void tensor_touch(tensor x) {
    __atomic_store_n(&x.storage->version, __atomic_load_n(&x.storage->version, __ATOMIC_RELAXED) + 1,
                     __ATOMIC_RELAXED);
}

/* Whether this runs inside tensor_parallel, where a further one would run inline: work need not be cut for it. */
bool tensor_is_nested(void);

/* How many processors' time the control groups of the process leave it, rounded up, and how many bytes of memory the
 * process can still take. -1: no limit; not known. The files of the system are looked for below the folder `root`. */
int tensor_quota(const char *root);
int64_t tensor_memory_under(const char *root);

/* ---- Loops over up to four tensors of one shape ---------------------------------------------- *
 * Axes of size 1 are dropped and neighbouring axes merged where the strides of all operands permit, so
 * that contiguous operands become one row. What is left is cut into runs along the innermost axis:
 *
 *     tensor_loop loop;
 *     tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, x}); // x expanded to out's shape
 *     tensor_parallel(loop.size, grain, work, &loop);
 * and in work:
 *     tensor_run run = tensor_loop_runs(&loop, begin, end);
 *     while (tensor_run_next(&run)) kernel(run.n, run.at[0], run.at[1]);
 *
 * Positions in the loop count elements. One range may cut a run in two; to keep rows whole, divide the
 * loop.size / loop.inner rows and multiply by loop.inner. */

enum { TENSOR_LOOP_OPERANDS = 4 };

typedef enum tensor_loop_order {
    TENSOR_ROW_MAJOR, /* elements come in row-major order */
    TENSOR_ANY_ORDER  /* axes are sorted: innermost the smallest stride of operand 0, the destination;
                         an axis along which it repeats (stride 0) goes by the next operand */
} tensor_loop_order;

typedef struct tensor_loop {
    int64_t size;  /* elements in all; 0 where the tensors are empty */
    int64_t inner; /* length of the innermost axis, at least 1 */
    int64_t inner_stride[TENSOR_LOOP_OPERANDS];
    int operands;
    int outer_rank; /* the other axes, outermost first */
    int64_t outer_shape[TENSOR_MAX_RANK];
    int64_t outer_stride[TENSOR_MAX_RANK][TENSOR_LOOP_OPERANDS];
    void *base[TENSOR_LOOP_OPERANDS];
} tensor_loop;

/* The operands have one shape (see tensor_expand); their dtypes may differ. */
void tensor_loop_init(tensor_loop *loop, tensor_loop_order order, int operands, const tensor *operand);

/* Over the runs themselves: their first elements, which are along its innermost axis as the runs are along the next. */
static inline tensor_loop tensor_loop_rows(const tensor_loop *loop) {
    tensor_loop rows = *loop;
    rows.size = loop->size / loop->inner;
    rows.inner = 1;
    if (loop->outer_rank == 0) return rows;
    const int last = --rows.outer_rank;
    rows.inner = loop->outer_shape[last];
    for (int k = 0; k < loop->operands; k++) rows.inner_stride[k] = loop->outer_stride[last][k];
    return rows;
}

typedef uint32_t __attribute__((may_alias)) tensor_word;

/* n words, the first of which is x[0], to out: four at a time where they become neighbours. */
static inline void tensor_copy_line(int64_t n, tensor_word *out, int64_t to, const tensor_word *x,
                                    int64_t from) {
    typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias));
    int64_t i = 0;
    if (to == 1 && from == 1)
        for (; i + 4 <= n; i += 4) *(four *)(out + i) = *(const four *)(x + i);
    if (to == 1 && from == 0)
        for (; i + 4 <= n; i += 4) *(four *)(out + i) = *x - (four){0};
    for (; i < n; i++) out[i * to] = x[i * from];
}

/* Elements by rows and columns where rows are too short for a call each; the strides are of both. */
static inline void tensor_copy_short(int64_t rows, int64_t columns, void *out, const int64_t out_stride[2],
                                     const void *x, const int64_t x_stride[2]) {
    enum { FEW = 8 };
    const int line = columns >= FEW; /* the axis that is gone along innermost */
    const int64_t count = line ? rows : columns, n = line ? columns : rows;
    for (int64_t i = 0; i < count; i++)
        tensor_copy_line(n, (tensor_word *)out + i * out_stride[!line], out_stride[line],
                         (const tensor_word *)x + i * x_stride[!line], x_stride[line]);
}

/* `n` elements along the innermost axis: operand k has them at at[k], inner_stride[k] apart. */
typedef struct tensor_run {
    int64_t n;
    void *at[TENSOR_LOOP_OPERANDS];
    /* private: */
    const tensor_loop *loop;
    int64_t left, column;
    int64_t index[TENSOR_MAX_RANK];
    float *row[TENSOR_LOOP_OPERANDS];
} tensor_run;

/* The runs that make up the positions begin..end-1; tensor_run_next goes to the first, then the next. */
tensor_run tensor_loop_runs(const tensor_loop *loop, int64_t begin, int64_t end);
bool tensor_run_next(tensor_run *run);

#endif
