/* Matrix products and table look-ups. */
#include "autograd/ops.h"

/* out (+)= a b, in the precision of y's tape. */
static void multiply(ag_var *y, tensor out, tensor a, tensor b, bool accumulate) {
    tensor_matmul_at(out, a, b, accumulate, y->tape->precision, ag_err(y));
}

/* ---- matmul ------------------------------------------------------------------------------- */

/* Adds the product of a and b to x's gradient: as numbers in place, where no batch was broadcast. */
static void add_product(ag_var *y, ag_var *x, ag_var *a, ag_var *b) {
    if (!ag_needs_grad(x) || !a || !b) return;
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    bool fresh,
        same = tensor_matmul_shape(a->value, b->value, &rank, shape, ag_err(y)) && rank == x->value.rank;
    for (int axis = 0; same && axis < rank; axis++) same = shape[axis] == x->value.shape[axis];
    if (y->tape->phase == AG_RECORDED_GRADIENTS || !same) {
        ag_add_grad(x, ag_matmul(a, b));
    } else {
        const tensor dx = ag_grad_buffer(y, x, &fresh);
        multiply(y, dx, a->value, b->value, !fresh);
    }
}

static void matmul_backward(ag_var *y, ag_var *dy) {
    ag_var *a = y->in[0], *b = y->in[1];
    add_product(y, a, dy, ag_transpose(b, -1, -2));
    add_product(y, b, ag_transpose(a, -1, -2), dy);
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
static double product_flops(const ag_var *y) {
    const tensor a = y->in[0]->value;
    return 2 * (double)tensor_size(y->value) * (double)a.shape[a.rank - 1];
}

const ag_op ag_op_matmul = {"matmul", matmul_backward, .flops = product_flops,
                            .reads = AG_READS(0) | AG_READS(1), AG_CASES(matmul_cases)};

ag_var *ag_matmul(ag_var *a, ag_var *b) {
    ag_var *y = ag_begin(&ag_op_matmul, 2, (ag_var *[]){a, b});
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (y && tensor_matmul_shape(a->value, b->value, &rank, shape, ag_err(y)) &&
        ag_out(y, TENSOR_F32, rank, shape))
        multiply(y, y->value, a->value, b->value, false);
    return ag_end(y);
}

/* ---- linear: operands x, w and, where there is a bias, b ------------------------------------ */

/* x as [rows, last axis], copied where strides rule out a view. */
static tensor as_rows(ag_var *y, tensor x) {
    int64_t rows = 1;
    for (int axis = 0; axis < x.rank - 1; axis++) rows *= x.shape[axis];
    return tensor_reshape(ag_contiguous(y->tape, x), TENSOR_SHAPE(rows, x.shape[x.rank - 1]), ag_err(y));
}

static void linear_backward(ag_var *y, ag_var *dy) {
    ag_var *x = y->in[0], *w = y->in[1], *b = y->inputs > 2 ? y->in[2] : NULL;
    const tensor g = as_rows(y, dy->value);
    bool fresh;
    if (ag_needs_grad(x)) { /* of any strides: where x is a view, those of a part of its operand's gradient */
        const tensor dx = ag_grad_buffer(y, x, &fresh), wt = tensor_transpose(w->value, 0, 1, ag_err(y));
        if (x->value.rank > 1)
            multiply(y, dx, tensor_reshape(g, y->value.rank, y->value.shape, ag_err(y)), wt, !fresh);
        else
            multiply(y, tensor_unsqueeze(dx, 0, ag_err(y)), g, wt, !fresh);
    }
    if (ag_needs_grad(w)) {
        const tensor dw = ag_grad_buffer(y, w, &fresh);
        multiply(y, dw, tensor_transpose(as_rows(y, x->value), 0, 1, ag_err(y)), g, !fresh);
    }
    if (ag_needs_grad(b)) {
        tensor db = ag_grad_buffer(y, b, &fresh);
        tensor_reduce(tensor_unsqueeze(db, 0, ag_err(y)), TENSOR_SUM, g, AG_AXIS(0), !fresh, ag_err(y));
    }
}
static ag_var *linear_decompose(ag_var *y) {
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
const ag_op ag_op_linear = {"linear",
                            linear_backward,
                            linear_decompose,
                            AG_READS(0) | AG_READS(1),
                            AG_CASES(linear_cases),
                            .flops = product_flops,
                            .compact = true};

static ag_var *linear_compact(ag_var *y, const tensor *x, const tensor_compact *w, const tensor *bias) {
    int64_t shape[TENSOR_MAX_RANK];
    const int last = x->rank - 1;
    if (last < 0) return ag_fail(y->tape, "linear: needs x[..., K]");
    for (int axis = 0; axis < last; axis++) shape[axis] = x->shape[axis];
    shape[last] = w->out;
    const tensor rows = ag_contiguous(y->tape, *x);
    const int64_t need = tensor_compact_scratch(w, rows);
    const tensor scratch = need > 0 ? ag_tensor(y->tape, TENSOR_I32, 1, &need) : (tensor){0};
    if (ag_out(y, TENSOR_F32, x->rank, shape))
        tensor_compact_linear(y->value, rows, w, *bias, scratch, ag_err(y));
    return ag_end(y);
}

static ag_var *linear(int inputs, ag_var *const *in) {
    ag_var *y = ag_begin(&ag_op_linear, inputs, in);
    if (!y) return NULL;
    static const tensor none = {0};
    const tensor *x = &in[0]->value, *w = &in[1]->value, *bias = inputs > 2 ? &in[2]->value : &none;
    if (in[1]->compact) return linear_compact(y, x, in[1]->compact, bias);
    int rank = x->rank;
    int64_t shape[TENSOR_MAX_RANK];
    if (rank < 1 || w->rank != 2) { /* the text */
        tensor_linear_shape(*x, *w, *bias, &rank, shape, ag_err(y));
        return NULL;
    }
    for (int axis = 0; axis < rank - 1; axis++) shape[axis] = x->shape[axis];
    shape[rank - 1] = w->shape[1];
    if (ag_out(y, TENSOR_F32, rank, shape))
        tensor_linear_at(y->value, *x, *w, *bias, y->tape->precision, ag_err(y));
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
    const tensor table = ag_grad_buffer(y, y->in[0], NULL);
    if (!tensor_ok(table)) return;
    const tensor ids = y->in[1]->value;
    const tensor scratch =
        ag_tensor(y->tape, TENSOR_I32, TENSOR_SHAPE(tensor_scatter_add_scratch(table, ids)));
    tensor_scatter_add_rows(table, ids, dy->value, scratch, ag_err(y));
}

static ag_var *embedding_decompose(ag_var *y) {
    ag_var *table = y->in[0];
    ag_var *hot = ag_one_hot(y->in[1], table->value.shape[0]);
    return ag_reshape(ag_matmul(ag_reshape(hot, TENSOR_SHAPE(-1, table->value.shape[0])), table),
                      y->value.rank, y->value.shape);
}
static ag_var *embedding_case(ag_var **in) {
    return ag_embedding(in[0], in[1]);
}
static const ag_case embedding_cases[] = {
    {"rows repeat", embedding_case, 2, {{2, {4, 3}}, {2, {2, 5}, .ids = 4}}, .not_empty = 4},
};
const ag_op ag_op_embedding = {"embedding", embedding_backward,        embedding_decompose,
                               AG_READS(1), AG_CASES(embedding_cases), .compact = true};

ag_var *ag_embedding(ag_var *table, ag_var *ids) {
    ag_var *y = ag_begin(&ag_op_embedding, 2, (ag_var *[]){table, ids});
    if (!y) return NULL;
    const tensor_compact *compact = table->compact;
    const tensor t = table->value, i = compact ? ag_contiguous(y->tape, ids->value) : ids->value;
    if (t.rank != 2 || i.rank + 1 > TENSOR_MAX_RANK)
        return ag_fail(y->tape, "embedding: needs a table [V, C], not one of rank %d", t.rank);
    int64_t shape[TENSOR_MAX_RANK];
    for (int axis = 0; axis < i.rank; axis++) shape[axis] = i.shape[axis];
    shape[i.rank] = t.shape[1];
    if (ag_out(y, TENSOR_F32, i.rank + 1, shape)) {
        if (compact)
            tensor_compact_gather(y->value, compact, i, ag_err(y));
        else
            tensor_gather_rows(y->value, t, i, ag_err(y));
    }
    return ag_end(y);
}
