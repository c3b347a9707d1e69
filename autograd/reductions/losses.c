/* Losses. */
#include "autograd/elementwise_internal.h"

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
    ag_var *hot = ag_one_hot(y->in[1], logits->value.shape[last]);
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

/* ---- Cross-entropy of each row ------------------------------------------------------------------- */

typedef struct rows {
    tensor lse;
    int32_t ignored;
} rows;

static void row_losses_backward(ag_var *y, ag_var *dy) {
    const rows *r = y->saved;
    bool fresh;
    const tensor dlogits = ag_grad_buffer(y, y->in[0], &fresh);
    if (tensor_ok(dlogits))
        tensor_cross_entropy_rows_vjp(dlogits, ag_contiguous(y->tape, dy->value), r->lse, y->in[0]->value,
                                      y->in[1]->value, r->ignored, !fresh, ag_err(y));
}
static ag_var *row_losses_decompose(ag_var *y) {
    ag_var *logits = y->in[0];
    const int last = logits->value.rank - 1;
    ag_var *hot = ag_one_hot_but(y->in[1], logits->value.shape[last], ((const rows *)y->saved)->ignored);
    return ag_neg(ag_sum(ag_mul(ag_log_softmax(logits, last), hot), AG_AXIS(last), false));
}
static ag_var *smoothed_case(ag_var **in) {
    ag_cross_entropy_options o = AG_CROSS_ENTROPY_DEFAULTS;
    o.smoothing = 0.25f;
    o.ignored = 3;
    return ag_cross_entropy_with(in[0], in[1], o);
}
static ag_var *weighted_case(ag_var **in) {
    ag_cross_entropy_options o = {.form = AG_LOSS_EACH, .weights = in[2], .ignored = -1, .smoothing = 0.5f};
    return ag_cross_entropy_with(in[0], in[1], o);
}
static const ag_case row_losses_cases[] = {
    {"smoothed", smoothed_case, 2, {{2, {5, 7}}, {1, {5}, .ids = 7}}, .not_empty = 7, .fixed = 5},
    {"weights",
     weighted_case,
     3,
     {{3, {2, 3, 4}}, {2, {2, 3}, .ids = 4}, {1, {4}, 0.5f, 2, .constant = true}},
     .not_empty = 4},
};
const ag_op ag_op_row_losses = {"row_losses", row_losses_backward, row_losses_decompose,
                                AG_READS(0) | AG_READS(1), AG_CASES(row_losses_cases)};

static ag_var *row_losses(ag_var *logits, ag_var *targets, int32_t ignored) {
    ag_var *y = ag_begin(&ag_op_row_losses, 2, (ag_var *[]){logits, targets});
    rows *r = ag_save(y, sizeof *r);
    if (!r) return NULL;
    r->ignored = ignored;
    r->lse = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(tensor_size(targets->value)));
    if (ag_out(y, TENSOR_F32, targets->value.rank, targets->value.shape))
        tensor_cross_entropy_rows(y->value, r->lse, logits->value, targets->value, ignored, ag_err(y));
    return ag_end(y);
}

/* The weight of each row as data, 0 where its target is ignored, and their sum. */
static ag_var *row_weights(ag_tape *tape, tensor targets, tensor weights, int32_t ignored, double *total) {
    const tensor w = ag_tensor(tape, TENSOR_F32, targets.rank, targets.shape);
    targets = ag_contiguous(tape, targets);
    *total = 0;
    if (!tensor_ok(w) || !tensor_ok(targets)) return NULL;
    for (int64_t r = 0; r < tensor_size(w); r++) {
        const int32_t target = targets.i32[r];
        w.f32[r] = target == ignored ? 0 : tensor_ok(weights) ? weights.f32[target * weights.stride[0]] : 1;
        *total += (double)w.f32[r];
    }
    return ag_input(tape, w);
}

/* sum_c w[c] (lse - x[c]) / V of each row. */
static ag_var *smooth_losses(ag_var *logits, ag_var *weights) {
    const tensor x = logits->value;
    const unsigned last = AG_AXIS(-1);
    const float v = (float)x.shape[x.rank - 1];
    ag_var *lse = ag_log_sum_exp(logits, last, false);
    ag_var *all = weights ? ag_mul(lse, ag_sum(weights, AG_ALL, false)) : ag_affine(lse, v, 0);
    ag_var *sum = ag_sum(weights ? ag_mul(logits, weights) : logits, last, false);
    return ag_affine(ag_sub(all, sum), 1 / v, 0);
}

static ag_var *formed(ag_var *y, ag_loss_form form) {
    return form == AG_LOSS_EACH  ? y
           : form == AG_LOSS_SUM ? ag_sum(y, AG_ALL, false)
                                 : ag_mean(y, AG_ALL, false);
}

ag_var *ag_cross_entropy_with(ag_var *logits, ag_var *targets, ag_cross_entropy_options o) {
    ag_var *y = row_losses(logits, targets, o.ignored);
    if (!y) return NULL;
    ag_tape *tape = y->tape;
    const int64_t v = logits->value.shape[logits->value.rank - 1];
    ag_var *weights = o.weights ? ag_detach(ag_use(tape, o.weights)) : NULL;
    const tensor given = weights ? weights->value : (tensor){0};
    if (o.weights && (!weights || given.dtype != TENSOR_F32 || given.rank != 1 || given.shape[0] != v))
        return ag_fail(tape, "cross_entropy: the weights are no vector of %lld classes", (long long)v);
    if (!(o.smoothing >= 0 && o.smoothing <= 1))
        return ag_fail(tape, "cross_entropy: a smoothing of %g is not in 0..1", (double)o.smoothing);
    double total, counted;
    ag_var *w = row_weights(tape, targets->value, given, o.ignored, &total);
    if (weights) y = ag_mul(y, w);
    if (o.smoothing > 0) {
        ag_var *counts = row_weights(tape, targets->value, (tensor){0}, o.ignored, &counted);
        ag_var *smooth = ag_mul(smooth_losses(logits, weights), counts);
        y = ag_add(ag_affine(y, 1 - o.smoothing, 0), ag_affine(smooth, o.smoothing, 0));
    }
    if (o.form != AG_LOSS_MEAN) return formed(y, o.form);
    return ag_affine(ag_sum(y, AG_ALL, false), (float)(1 / total), 0);
}

/* ---- Losses of elements ------------------------------------------------------------------------- */

/* Whether both have one shape: broadcasting would hide a mistake. */
static bool alike(const char *what, const ag_var *x, const ag_var *t) {
    if (!x || !t || tensor_same_shape(x->value, t->value)) return true;
    char a[TENSOR_SHAPE_TEXT], b[TENSOR_SHAPE_TEXT];
    ag_fail(x->tape ? x->tape : t->tape, "%s: shapes differ: %s and %s", what,
            tensor_shape_text(a, sizeof a, x->value.rank, x->value.shape),
            tensor_shape_text(b, sizeof b, t->value.rank, t->value.shape));
    return false;
}

/* A loss that is made of other operations; in the check x is in -2..2, t in [lo, hi]. */
#define LOSS(fn, lo, hi, call)                                                                               \
    static ag_var *fn##_mean(ag_var **in) {                                                                  \
        const ag_loss_form form = AG_LOSS_MEAN;                                                              \
        return ag_##fn call;                                                                                 \
    }                                                                                                        \
    static ag_var *fn##_sum(ag_var **in) {                                                                   \
        const ag_loss_form form = AG_LOSS_SUM;                                                               \
        return ag_##fn call;                                                                                 \
    }                                                                                                        \
    static const ag_case fn##_cases[] = {                                                                    \
        {"mean", fn##_mean, 2, {{2, {3, 5}, -2, 2}, {2, {3, 5}, lo, hi}}},                                   \
        {"sum", fn##_sum, 2, {{1, {7}, -2, 2}, {1, {7}, lo, hi}}},                                           \
    };                                                                                                       \
    const ag_op ag_op_##fn = {#fn, AG_CASES(fn##_cases)};

LOSS(mse_loss, -2, 2, (in[0], in[1], form))
ag_var *ag_mse_loss(ag_var *x, ag_var *t, ag_loss_form form) {
    return alike("mse_loss", x, t) ? formed(ag_square(ag_sub(x, t)), form) : NULL;
}

LOSS(l1_loss, 2.25f, 4, (in[0], in[1], form))
ag_var *ag_l1_loss(ag_var *x, ag_var *t, ag_loss_form form) {
    return alike("l1_loss", x, t) ? formed(ag_abs(ag_sub(x, t)), form) : NULL;
}

LOSS(huber_loss, 2.25f, 4, (in[0], in[1], 0.125f, form))
ag_var *ag_huber_loss(ag_var *x, ag_var *t, float delta, ag_loss_form form) {
    if (!alike("huber_loss", x, t)) return NULL;
    ag_var *d = ag_sub(x, t);
    if (d && !(delta > 0)) return ag_fail(d->tape, "huber_loss: delta is %g", (double)delta);
    return formed(ag_huber(d, delta), form);
}

LOSS(smooth_l1_loss, -2, 2, (in[0], in[1], 6, form))
ag_var *ag_smooth_l1_loss(ag_var *x, ag_var *t, float beta, ag_loss_form form) {
    if (!alike("smooth_l1_loss", x, t)) return NULL;
    if (beta == 0) return ag_l1_loss(x, t, form);
    ag_var *d = ag_sub(x, t);
    if (d && !(beta > 0)) return ag_fail(d->tape, "smooth_l1_loss: beta is %g", (double)beta);
    return ag_affine(formed(ag_huber(d, beta), form), 1 / beta, 0);
}

LOSS(binary_cross_entropy, 0.1f, 0.9f, (in[0], in[1], form))
ag_var *ag_binary_cross_entropy(ag_var *x, ag_var *t, ag_loss_form form) {
    return alike("binary_cross_entropy", x, t) ? formed(ag_logistic_loss(x, t), form) : NULL;
}

LOSS(kl_divergence, 0.25f, 0.9f, (in[0], in[1], form))
ag_var *ag_kl_divergence(ag_var *x, ag_var *t, ag_loss_form form) {
    return alike("kl_divergence", x, t) ? formed(ag_kl(x, t), form) : NULL;
}
