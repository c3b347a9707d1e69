/* Matrix products and table look-ups. */
#include "autograd/ops.h"

/* ---- matmul ------------------------------------------------------------------------------- */

static void matmul_backward(ag_var *y, ag_var *dy) {
    ag_var *a = y->in[0], *b = y->in[1];
    if (ag_wants(a)) ag_give(a, ag_matmul(dy, ag_transpose(ag_use(y->tape, b), -1, -2)));
    if (ag_wants(b)) ag_give(b, ag_matmul(ag_transpose(ag_use(y->tape, a), -1, -2), dy));
}
static ag_var *matmul_case(ag_var **in) {
    return ag_matmul(in[0], in[1]);
}
static ag_var *matmul_transposed_case(ag_var **in) {
    return ag_matmul(ag_transpose(in[0], 0, 1), ag_transpose(in[1], 0, 1));
}
static ag_var *matmul_twice_case(ag_var **in) {
    return ag_matmul(in[0], in[0]);
}
static const ag_case matmul_cases[] = {
    {"matrices", matmul_case, 2, {{2, {3, 4}}, {2, {4, 5}}}},
    {"batches broadcast", matmul_case, 2, {{3, {2, 3, 2}}, {4, {2, 1, 2, 3}}}},
    {"one row", matmul_case, 2, {{2, {1, 17}}, {2, {17, 1}}}},
    {"transposed", matmul_transposed_case, 2, {{2, {4, 3}}, {2, {5, 4}}}},
    {"operand twice", matmul_twice_case, 1, {{2, {3, 3}}}},
};
const ag_op ag_op_matmul = {"matmul", matmul_backward, .reads = AG_READS(0) | AG_READS(1),
                            AG_CASES(matmul_cases)};

ag_var *ag_matmul(ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(&ag_op_matmul, 2, (ag_var *[]){a, b});
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (y && tensor_matmul_shape(a->value, b->value, &rank, shape, ag_err(y)) &&
        ag_out(y, TENSOR_F32, rank, shape))
        tensor_matmul(y->value, a->value, b->value, false, ag_err(y));
    return ag_end(y);
}

/* ---- linear: operands x, w and, where there is a bias, b ------------------------------------ */

/* x as [rows, last axis], copied where strides rule out a view. */
static tensor as_rows(ag_var *y, tensor x) {
    const int64_t last = x.shape[x.rank - 1];
    x = tensor_contiguous(y->tape->arena, x, ag_err(y));
    return tensor_reshape(x, TENSOR_SHAPE(last ? tensor_size(x) / last : 0, last), ag_err(y));
}

static void linear_backward(ag_var *y, ag_var *dy) {
    ag_var *x = y->in[0], *w = y->in[1], *b = y->inputs > 2 ? y->in[2] : NULL;
    const tensor g = as_rows(y, dy->value);
    bool fresh;
    if (ag_wants(x)) {
        tensor dx = ag_grad_target(y, x, &fresh);
        dx = tensor_reshape(dx, TENSOR_SHAPE(g.shape[0], w->value.shape[0]), ag_err(y));
        tensor_matmul(dx, g, tensor_transpose(w->value, 0, 1, ag_err(y)), !fresh, ag_err(y));
    }
    if (ag_wants(w)) {
        const tensor dw = ag_grad_target(y, w, &fresh);
        tensor_matmul(dw, tensor_transpose(as_rows(y, x->value), 0, 1, ag_err(y)), g, !fresh, ag_err(y));
    }
    if (ag_wants(b)) {
        tensor db = ag_grad_target(y, b, &fresh);
        tensor_reduce(tensor_unsqueeze(db, 0, ag_err(y)), TENSOR_SUM, g, AG_AXIS(0), !fresh, ag_err(y));
    }
}
static ag_var *linear_composed(ag_var *y) {
    ag_var *x = y->in[0], *w = y->in[1];
    ag_var *product = x->value.rank > 1 ? ag_matmul(x, w) : ag_squeeze(ag_matmul(ag_unsqueeze(x, 0), w), 0);
    return y->inputs > 2 ? ag_add(product, y->in[2]) : product;
}
static ag_var *linear_case(ag_var **in) {
    return ag_linear(in[0], in[1], in[2]);
}
static ag_var *linear_no_bias_case(ag_var **in) {
    return ag_linear_no_bias(in[0], in[1]);
}
static ag_var *linear_shared_case(ag_var **in) {
    return ag_add(in[0], ag_linear(in[0], ag_transpose(in[1], 0, 1), in[2]));
}
static const ag_case linear_cases[] = {
    {"batched", linear_case, 3, {{3, {2, 3, 4}}, {2, {4, 5}}, {1, {5}}}},
    {"one row", linear_case, 3, {{1, {4}}, {2, {4, 3}}, {1, {3}}}},
    {"no bias", linear_no_bias_case, 2, {{2, {3, 4}}, {2, {4, 5}}}},
    {"residual, transposed weight", linear_shared_case, 3, {{2, {3, 4}}, {2, {4, 4}}, {1, {4}}}},
};
const ag_op ag_op_linear = {"linear", linear_backward, linear_composed, AG_READS(0) | AG_READS(1),
                            AG_CASES(linear_cases)};

static ag_var *linear(int inputs, ag_var *const *in) {
    ag_var *y = ag_begin(&ag_op_linear, inputs, in);
    if (!y) return NULL;
    const tensor x = in[0]->value, w = in[1]->value, bias = inputs > 2 ? in[2]->value : (tensor){0};
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (tensor_linear_shape(x, w, bias, &rank, shape, ag_err(y)) && ag_out(y, TENSOR_F32, rank, shape))
        tensor_linear(y->value, x, w, bias, ag_err(y));
    return ag_end(y);
}

ag_var *ag_linear(ag_var *x, ag_var *w, ag_var *bias) {
    return linear(3, (ag_var *[]){x, w, bias});
}

ag_var *ag_linear_no_bias(ag_var *x, ag_var *w) {
    return linear(2, (ag_var *[]){x, w});
}

/* ---- embedding ---------------------------------------------------------------------------- */

static void embedding_backward(ag_var *y, ag_var *dy) {
    const tensor table = ag_grad_target(y, y->in[0], NULL);
    if (!tensor_ok(table)) return;
    const tensor ids = y->in[1]->value;
    const tensor scratch =
        ag_tensor(y->tape, TENSOR_I32, TENSOR_SHAPE(tensor_scatter_add_scratch(table, ids)));
    tensor_scatter_add_rows(table, ids, dy->value, scratch, ag_err(y));
}

ag_var *ag_one_hot(ag_tape *tape, tensor ids, int64_t classes) {
    int64_t shape[TENSOR_MAX_RANK];
    if (ids.rank + 1 > TENSOR_MAX_RANK) return ag_fail(tape, "one_hot: rank %d is too high", ids.rank);
    for (int axis = 0; axis < ids.rank; axis++) shape[axis] = ids.shape[axis];
    shape[ids.rank] = classes;
    const tensor hot = ag_tensor(tape, TENSOR_F32, ids.rank + 1, shape);
    ids = tensor_contiguous(tape->arena, ids, &tape->error);
    if (!tensor_fill(hot, 0, &tape->error) || !tensor_ok(ids)) return NULL;
    for (int64_t i = 0; i < tensor_size(ids); i++) hot.f32[i * classes + ids.i32[i]] = 1;
    return ag_input(tape, hot);
}

static ag_var *embedding_composed(ag_var *y) {
    ag_var *table = ag_use(y->tape, y->in[0]);
    ag_var *hot = ag_one_hot(y->tape, y->in[1]->value, table->value.shape[0]);
    return ag_reshape(ag_matmul(ag_reshape(hot, TENSOR_SHAPE(-1, table->value.shape[0])), table),
                      y->value.rank, y->value.shape);
}
static ag_var *embedding_case(ag_var **in) {
    return ag_embedding(in[0], in[1]);
}
static const ag_case embedding_cases[] = {
    {"rows repeat", embedding_case, 2, {{2, {4, 3}}, {2, {2, 5}, .ids = 4}}},
};
const ag_op ag_op_embedding = {"embedding", embedding_backward, embedding_composed, AG_READS(1),
                               AG_CASES(embedding_cases)};

ag_var *ag_embedding(ag_var *table, ag_var *ids) {
    ag_var *y = ag_begin(&ag_op_embedding, 2, (ag_var *[]){table, ids});
    if (!y) return NULL;
    const tensor t = table->value, i = ids->value;
    if (t.rank != 2 || i.rank + 1 > TENSOR_MAX_RANK)
        return ag_fail(y->tape, "embedding: needs a table [V, C], not one of rank %d", t.rank);
    int64_t shape[TENSOR_MAX_RANK];
    for (int axis = 0; axis < i.rank; axis++) shape[axis] = i.shape[axis];
    shape[i.rank] = t.shape[1];
    if (ag_out(y, TENSOR_F32, i.rank + 1, shape)) tensor_gather_rows(y->value, t, i, ag_err(y));
    return ag_end(y);
}
