/* Normalisations over an axis: softmax, log-softmax, layer norm, RMS norm. */
#include "autograd/ops.h"

/* ---- softmax and log-softmax ---------------------------------------------------------------- */

typedef bool softmax_kernel(tensor out, tensor x, int axis, tensor_error *err);

static ag_var *softmax(const ag_op *op, softmax_kernel *kernel, ag_var *x, int axis) {
    ag_var *y = ag_begin(op, 1, &x);
    int *saved = ag_save(y, sizeof *saved);
    if (!saved) return NULL;
    *saved = ag_axis(y, axis, x->value.rank);
    if (*saved >= 0 && ag_out(y, TENSOR_F32, x->value.rank, x->value.shape))
        kernel(y->value, x->value, *saved, ag_err(y));
    return ag_end(y);
}

typedef bool softmax_vjp_kernel(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err);

static void softmax_numbers(ag_var *y, ag_var *dy, softmax_vjp_kernel *kernel) {
    bool fresh;
    const tensor dx = ag_grad_buffer(y, y->in[0], &fresh);
    if (tensor_ok(dx)) kernel(dx, dy->value, y->value, *(const int *)y->saved, !fresh, ag_err(y));
}

/* dx = y (dy - sum(dy y)) */
static void softmax_backward(ag_var *y, ag_var *dy) {
    const unsigned axis = AG_AXIS(*(const int *)y->saved);
    if (y->tape->phase == AG_GRADIENTS)
        softmax_numbers(y, dy, tensor_softmax_vjp);
    else
        ag_add_grad(y->in[0], ag_mul(y, ag_sub(dy, ag_sum(ag_mul(dy, y), axis, true))));
}
/* dx = dy - e^y sum(dy) */
static void log_softmax_backward(ag_var *y, ag_var *dy) {
    const unsigned axis = AG_AXIS(*(const int *)y->saved);
    if (y->tape->phase == AG_GRADIENTS)
        softmax_numbers(y, dy, tensor_log_softmax_vjp);
    else
        ag_add_grad(y->in[0], ag_sub(dy, ag_mul(ag_exp(y), ag_sum(dy, axis, true))));
}

#define SOFTMAX(fn)                                                                                          \
    static ag_var *fn##_last(ag_var **in) {                                                                  \
        return ag_##fn(in[0], -1);                                                                           \
    }                                                                                                        \
    static ag_var *fn##_first(ag_var **in) {                                                                 \
        return ag_##fn(in[0], 0);                                                                            \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {{"last axis", fn##_last, 1, {{2, {3, 6}}}},                         \
                                         {"first axis", fn##_first, 1, {{2, {5, 3}}}}};                      \
    const ag_op ag_op_##fn = {#fn, fn##_backward, .reads = AG_READS_OUTPUT, AG_CASES(fn##_cases)};           \
    ag_var *ag_##fn(ag_var *x, int axis) {                                                                   \
        return softmax(&ag_op_##fn, tensor_##fn, x, axis);                                                   \
    }
SOFTMAX(softmax)
SOFTMAX(log_softmax)

/* ---- layer norm and RMS norm --------------------------------------------------------------- */

typedef struct norm {
    float eps;
    tensor stats; /* mean and 1 / deviation of each row */
} norm;

static void layer_norm_backward(ag_var *y, ag_var *dy) {
    const norm *saved = y->saved;
    ag_var *x = y->in[0], *w = y->in[1], *b = y->in[2], *w_apart = NULL, *b_apart = NULL;
    bool fresh = false;
    const tensor dx = ag_grad_buffer(y, x, &fresh), dw = ag_grad_apart(y, 1, &w_apart),
                 db = ag_grad_apart(y, 2, &b_apart);
    tensor_layer_norm_vjp(dx, dw, db, dy->value, x->value, w->value, saved->stats, !fresh, ag_err(y));
    ag_add_grad(w, w_apart);
    ag_add_grad(b, b_apart);
}
static ag_var *layer_norm_decompose(ag_var *y) {
    const norm *saved = y->saved;
    ag_var *x = y->in[0];
    const unsigned last = AG_AXIS(x->value.rank - 1);
    ag_var *centred = ag_sub(x, ag_mean(x, last, true));
    ag_var *deviation = ag_sqrt(ag_affine(ag_mean(ag_square(centred), last, true), 1, saved->eps));
    return ag_add(ag_mul(ag_div(centred, deviation), y->in[1]), y->in[2]);
}
static ag_var *layer_norm_case(ag_var **in) {
    return ag_layer_norm(in[0], in[1], in[2], 1e-5f);
}
static ag_var *layer_norm_residual(ag_var **in) {
    return ag_add(in[0], ag_layer_norm(in[0], in[1], in[2], 1e-2f));
}
static const ag_case layer_norm_cases[] = {
    {"rows", layer_norm_case, 3, {{3, {2, 2, 5}}, {1, {5}}, {1, {5}}}},
    {"residual", layer_norm_residual, 3, {{2, {2, 17}}, {1, {17}}, {1, {17}}}},
};
const ag_op ag_op_layer_norm = {"layer_norm", layer_norm_backward, layer_norm_decompose,
                                AG_READS(0) | AG_READS(1), AG_CASES(layer_norm_cases)};

/* A node of one of both, with room for its statistics and its result. */
static ag_var *begin_norm(const ag_op *op, int inputs, ag_var *const *in, float eps) {
    ag_var *y = ag_begin(op, inputs, in);
    norm *saved = ag_save(y, sizeof *saved);
    if (!saved) return NULL;
    const tensor *x = &in[0]->value;
    if (x->rank < 1) return ag_fail(y->tape, "%s: x needs an axis", op->name);
    int64_t rows = 1;
    for (int axis = 0; axis < x->rank - 1; axis++) rows *= x->shape[axis];
    *saved = (norm){.eps = eps};
    if (y->tape->recording) saved->stats = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(rows, 2));
    return ag_out(y, TENSOR_F32, x->rank, x->shape) ? y : NULL;
}

ag_var *ag_layer_norm(ag_var *x, ag_var *w, ag_var *b, float eps) {
    ag_var *y = begin_norm(&ag_op_layer_norm, 3, (ag_var *[]){x, w, b}, eps);
    if (y)
        tensor_layer_norm(y->value, ((const norm *)y->saved)->stats, x->value, w->value, b->value, eps,
                          ag_err(y));
    return ag_end(y);
}

static void rms_norm_backward(ag_var *y, ag_var *dy) {
    const norm *saved = y->saved;
    ag_var *x = y->in[0], *w = y->in[1], *apart = NULL;
    bool fresh = false;
    const tensor dx = ag_grad_buffer(y, x, &fresh), dw = ag_grad_apart(y, 1, &apart);
    tensor_rms_norm_vjp(dx, dw, dy->value, x->value, w->value, saved->stats, !fresh, ag_err(y));
    ag_add_grad(w, apart);
}
static ag_var *rms_norm_decompose(ag_var *y) {
    const norm *saved = y->saved;
    ag_var *x = y->in[0], *squares = ag_mean(ag_square(x), AG_AXIS(-1), true);
    return ag_mul(ag_div(x, ag_sqrt(ag_affine(squares, 1, saved->eps))), y->in[1]);
}
static ag_var *rms_norm_case(ag_var **in) {
    return ag_rms_norm(in[0], in[1], 1e-5f);
}
static ag_var *rms_norm_residual(ag_var **in) {
    return ag_add(in[0], ag_rms_norm(in[0], in[1], 1e-2f));
}
static const ag_case rms_norm_cases[] = {
    {"rows", rms_norm_case, 2, {{3, {2, 2, 5}}, {1, {5}}}},
    {"residual", rms_norm_residual, 2, {{2, {2, 17}}, {1, {17}}}},
};
const ag_op ag_op_rms_norm = {"rms_norm", rms_norm_backward, rms_norm_decompose, AG_READS(0) | AG_READS(1),
                              AG_CASES(rms_norm_cases)};

ag_var *ag_rms_norm(ag_var *x, ag_var *w, float eps) {
    ag_var *y = begin_norm(&ag_op_rms_norm, 2, (ag_var *[]){x, w}, eps);
    if (y) tensor_rms_norm(y->value, ((const norm *)y->saved)->stats, x->value, w->value, eps, ag_err(y));
    return ag_end(y);
}
