/* Variables made of a shape alone, and data made of variables. */
#include "autograd/ops.h"

#include <math.h>

ag_var *ag_full(ag_tape *tape, float value, int rank, const int64_t *shape) {
    if (!tape || ag_failed(tape)) return NULL;
    if (rank > 0 && !shape) return ag_fail(tape, "full: the list of sizes is NULL");
    const tensor x = ag_tensor(tape, TENSOR_F32, rank, shape);
    return tensor_fill(x, (double)value, &tape->error) ? ag_input(tape, x) : NULL;
}

ag_var *ag_zeros(ag_tape *tape, int rank, const int64_t *shape) {
    return ag_full(tape, 0, rank, shape);
}

ag_var *ag_ones(ag_tape *tape, int rank, const int64_t *shape) {
    return ag_full(tape, 1, rank, shape);
}

ag_var *ag_rand_uniform(ag_tape *tape, tensor_rng *rng, float low, float high, int rank,
                        const int64_t *shape) {
    ag_var *x = ag_zeros(tape, rank, shape);
    if (x && !rng) return ag_fail(tape, "rand_uniform: there is no generator");
    return x && tensor_rand_uniform(x->value, rng, low, high, &tape->error) ? x : NULL;
}

ag_var *ag_rand_normal(ag_tape *tape, tensor_rng *rng, float mean, float deviation, int rank,
                       const int64_t *shape) {
    ag_var *x = ag_zeros(tape, rank, shape);
    if (x && !rng) return ag_fail(tape, "rand_normal: there is no generator");
    return x && tensor_rand_normal(x->value, rng, mean, deviation, &tape->error) ? x : NULL;
}

ag_var *ag_arange(ag_tape *tape, double start, double stop, double step) {
    if (!tape || ag_failed(tape)) return NULL;
    const double count = ceil((stop - start) / step);
    if (!(step != 0 && count < (double)INT32_MAX))
        return ag_fail(tape, "arange: there is no way from %g to %g in steps of %g", start, stop, step);
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(count > 0 ? (int64_t)count : 0));
    for (int64_t i = 0; tensor_ok(x) && i < x.shape[0]; i++) x.f32[i] = (float)(start + (double)i * step);
    return ag_input(tape, x);
}

ag_var *ag_linspace(ag_tape *tape, double first, double last, int64_t count) {
    if (!tape || ag_failed(tape)) return NULL;
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(count));
    const double step = count > 1 ? (last - first) / (double)(count - 1) : 0;
    for (int64_t i = 0; tensor_ok(x) && i < count; i++) /* from the end that is nearer */
        x.f32[i] = (float)(i < count / 2 || count == 1 ? first + (double)i * step
                                                       : last - (double)(count - 1 - i) * step);
    return ag_input(tape, x);
}

ag_var *ag_indices(ag_tape *tape, int64_t count) {
    if (!tape || ag_failed(tape)) return NULL;
    if (count > INT32_MAX) return ag_fail(tape, "indices: %lld are too many for int32", (long long)count);
    const tensor x = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(count));
    for (int64_t i = 0; tensor_ok(x) && i < count; i++) x.i32[i] = (int32_t)i;
    return ag_input(tape, x);
}

/* ---- Of variables --------------------------------------------------------------------------- */

const ag_op ag_op_one_hot = {"one_hot", NULL, .no_cases = "it has no operand with a gradient"};

ag_var *ag_one_hot_but(ag_var *ids, int64_t classes, int64_t ignored) {
    ag_var *y = ag_begin(&ag_op_one_hot, 1, &ids);
    if (!y) return NULL;
    const tensor x = ag_contiguous(y->tape, ids->value);
    int64_t shape[TENSOR_MAX_RANK + 1];
    if (!tensor_ok(x)) return NULL;
    if (x.dtype != TENSOR_I32) return ag_fail(y->tape, "one_hot: ids are not int32");
    for (int axis = 0; axis < x.rank; axis++) shape[axis] = x.shape[axis];
    shape[x.rank] = classes;
    if (!ag_out(y, TENSOR_F32, x.rank + 1, shape) || !tensor_fill(y->value, 0, ag_err(y))) return NULL;
    for (int64_t i = 0; i < tensor_size(x); i++) {
        if (x.i32[i] == ignored) continue;
        if (x.i32[i] < 0 || x.i32[i] >= classes)
            return ag_fail(y->tape, "one_hot: id %d is outside 0..%lld", (int)x.i32[i],
                           (long long)classes - 1);
        y->value.f32[i * classes + x.i32[i]] = 1;
    }
    return ag_end(y);
}

ag_var *ag_one_hot(ag_var *ids, int64_t classes) {
    return ag_one_hot_but(ids, classes, INT64_MIN);
}

const ag_op ag_op_detach = {"detach", NULL, .no_cases = "its result is data"};

ag_var *ag_detach(ag_var *x) {
    ag_var *y = ag_begin(&ag_op_detach, 1, &x);
    if (y) ag_out_view(y, x, x->value);
    return ag_end(y);
}

ag_var *ag_leaf(ag_var *x) {
    if (!x) return NULL;
    return ag_variable(x->tape, x->value);
}

ag_var *ag_float(ag_var *ids) {
    if (ids && ids->value.dtype != TENSOR_I32) return ag_fail(ids->tape, "float: ids are not int32");
    ag_var *y = ids ? ag_zeros(ids->tape, ids->value.rank, ids->value.shape) : NULL;
    const tensor x = y ? ag_contiguous(y->tape, ids->value) : (tensor){0};
    if (!tensor_ok(x)) return NULL;
    for (int64_t i = 0; i < tensor_size(x); i++) y->value.f32[i] = (float)x.i32[i];
    return y;
}
