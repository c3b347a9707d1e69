/* How an elementwise operation becomes a node. */
#include "autograd/elementwise_internal.h"

/* Memory for y: that of an operand which may be overwritten, or new. */
bool ag_elementwise_out(ag_var *y, int rank, const int64_t *shape) {
    for (int i = 0; y && i < y->inputs; i++) {
        ag_var *x = y->in[i];
        if (!x->overwritable || x->value.rank != rank) continue;
        bool fits = true;
        for (int axis = 0; axis < rank; axis++) fits = fits && x->value.shape[axis] == shape[axis];
        if (!fits) continue;
        x->overwritable = false;
        return ag_out_view(y, x, x->value);
    }
    return ag_out(y, TENSOR_F32, rank, shape);
}

ag_var *ag_unary(const ag_op *op, tensor_unary_op kernel, ag_var *x) {
    ag_var *y = ag_begin(op, 1, &x);
    if (y && ag_elementwise_out(y, x->value.rank, x->value.shape))
        tensor_unary(y->value, kernel, x->value, ag_err(y));
    return ag_end(y);
}

ag_var *ag_binary(const ag_op *op, tensor_binary_op kernel, ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(op, 2, (ag_var *[]){a, b});
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (y && tensor_broadcast_shape(op->name, a->value, b->value, &rank, shape, ag_err(y)) &&
        ag_elementwise_out(y, rank, shape))
        tensor_binary(y->value, kernel, a->value, b->value, ag_err(y));
    return ag_end(y);
}

ag_var *ag_parametric(const ag_op *op, tensor_parametric_op kernel, ag_var *x, ag_var *y, float a, float b) {
    ag_var *z = ag_begin(op, y ? 2 : 1, (ag_var *[]){x, y});
    float *saved = ag_save(z, 2 * sizeof *saved);
    if (saved && ag_elementwise_out(z, x->value.rank, x->value.shape)) {
        saved[0] = a;
        saved[1] = b;
        tensor_parametric(z->value, kernel, x->value, y ? y->value : (tensor){0}, a, b, ag_err(z));
    }
    return ag_end(z);
}
