/* Losses. */
#include "autograd/ops.h"

static void cross_entropy_backward(ag_var *y, ag_var *dy) {
    const tensor *lse = y->saved;
    bool fresh;
    const tensor dlogits = ag_grad_buffer(y, y->in[0], &fresh);
    if (!tensor_ok(dlogits)) return;
    const float scale = dy->value.f32[0] / (float)tensor_size(y->in[1]->value);
    tensor_cross_entropy_vjp(dlogits, scale, *lse, y->in[0]->value, y->in[1]->value, !fresh, ag_err(y));
}
static ag_var *cross_entropy_decompose(ag_var *y) {
    ag_var *logits = y->in[0];
    const tensor targets = y->in[1]->value;
    const int last = logits->value.rank - 1;
    ag_var *hot = ag_one_hot(y->tape, targets, logits->value.shape[last]);
    ag_var *picked = ag_sum(ag_mul(ag_log_softmax(logits, last), hot), AG_ALL, false);
    return ag_affine(picked, -1 / (float)tensor_size(targets), 0);
}
static ag_var *cross_entropy_case(ag_var **in) {
    return ag_cross_entropy(in[0], in[1]);
}
static const ag_case cross_entropy_cases[] = {
    {"rows", cross_entropy_case, 2, {{2, {5, 7}}, {1, {5}, .ids = 7}}, .not_empty = 7},
    {"batched", cross_entropy_case, 2, {{3, {2, 3, 4}}, {2, {2, 3}, .ids = 4}}, .not_empty = 4},
};
const ag_op ag_op_cross_entropy = {"cross_entropy", cross_entropy_backward, cross_entropy_decompose,
                                   AG_READS(0) | AG_READS(1), AG_CASES(cross_entropy_cases)};

ag_var *ag_cross_entropy(ag_var *logits, ag_var *targets) {
    ag_var *y = ag_begin(&ag_op_cross_entropy, 2, (ag_var *[]){logits, targets});
    tensor *lse = ag_save(y, sizeof *lse);
    if (!lse) return NULL;
    *lse = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(tensor_size(targets->value)));
    if (ag_out(y, TENSOR_F32, 0, NULL))
        tensor_cross_entropy(y->value, *lse, logits->value, targets->value, ag_err(y));
    return ag_end(y);
}
