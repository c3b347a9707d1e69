/* Normalisation of channels: batch norm and group norm. */
#include "autograd/ops.h"

typedef struct channels {
    int64_t groups; /* 0: batch norm */
    float eps;
    tensor x, stats; /* x without gaps; mean, variance and 1 / deviation of each set */
} channels;

static void channels_backward(ag_var *y, ag_var *dy) {
    const channels *saved = y->saved;
    ag_var *x = y->in[0], *w = y->in[1], *b = y->in[2], *w_apart = NULL, *b_apart = NULL;
    const tensor scratch =
        ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE((4 * ag_size(x, 0) + 2) * ag_size(x, 1)));
    const tensor given = ag_contiguous(y->tape, dy->value);
    bool fresh = false;
    const tensor dx = ag_grad_buffer(y, x, &fresh), dw = ag_grad_apart(y, 1, &w_apart),
                 db = ag_grad_apart(y, 2, &b_apart);
    const bool gaps = tensor_ok(dx) && !tensor_is_contiguous(dx);
    const tensor dense = gaps ? ag_tensor_like(y->tape, dx) : dx;
    tensor_channel_norm_vjp(dense, dw, db, given, saved->x, ag_contiguous(y->tape, w->value), saved->stats,
                            saved->groups, !fresh && !gaps, scratch, ag_err(y));
    if (gaps && fresh)
        tensor_copy(dx, dense, ag_err(y));
    else if (gaps)
        tensor_binary(dx, TENSOR_ADD, dx, dense, ag_err(y));
    ag_add_grad(w, w_apart);
    ag_add_grad(b, b_apart);
}

/* [N, C, ...] as images [N, groups, channels of a group, ...]: of a set, the images or the channels, and what is in
 * them. */
static ag_var *channels_decompose(ag_var *y) {
    const channels *saved = y->saved;
    ag_var *x = y->in[0];
    if (ag_count(x) == 0) return ag_affine(x, 1, 0);
    const int64_t n = ag_size(x, 0), c = ag_size(x, 1), groups = saved->groups > 0 ? saved->groups : c;
    const int64_t some = c / groups, size = ag_count(x) / (n * c);
    const unsigned axes = saved->groups > 0 ? AG_AXIS(2) | AG_AXIS(3) : AG_AXIS(0) | AG_AXIS(2) | AG_AXIS(3);
    ag_var *sets = ag_reshape(x, TENSOR_SHAPE(n, groups, some, size));
    ag_var *centred = ag_sub(sets, ag_mean(sets, axes, true));
    ag_var *deviation = ag_sqrt(ag_affine(ag_mean(ag_square(centred), axes, true), 1, saved->eps));
    ag_var *weight = ag_reshape(y->in[1], TENSOR_SHAPE(groups, some, 1)),
           *bias = ag_reshape(y->in[2], TENSOR_SHAPE(groups, some, 1));
    sets = ag_add(ag_mul(ag_div(centred, deviation), weight), bias);
    return ag_reshape(sets, ag_rank(x), x->value.shape);
}

static ag_var *normalise(const ag_op *op, ag_var *const *in, int64_t groups, float eps, tensor *stats) {
    ag_var *y = ag_begin(op, 3, in);
    channels *saved = ag_save(y, sizeof *saved);
    int64_t sets;
    if (!saved || !tensor_channel_sets(in[0]->value, groups, &sets, ag_err(y))) return NULL;
    *saved = (channels){groups, eps, ag_contiguous(y->tape, in[0]->value),
                        ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(3, sets))};
    const tensor w = ag_contiguous(y->tape, in[1]->value), b = ag_contiguous(y->tape, in[2]->value);
    if (ag_out(y, TENSOR_F32, in[0]->value.rank, in[0]->value.shape))
        tensor_channel_norm(y->value, saved->stats, saved->x, w, b, groups, eps, ag_err(y));
    if (stats) *stats = saved->stats;
    return ag_end(y);
}

static ag_var *batch_norm_case(ag_var **in) {
    return ag_batch_norm(in[0], in[1], in[2], 1e-2f, NULL);
}
static ag_var *batch_norm_residual(ag_var **in) {
    return ag_add(in[0], ag_batch_norm(in[0], in[1], in[2], 1e-2f, NULL));
}
static const ag_case batch_norm_cases[] = {
    {"images", batch_norm_case, 3, {{4, {2, 4, 3, 3}}, {1, {4}}, {1, {4}}}, .fixed = 2, .not_empty = 3},
    {"rows", batch_norm_residual, 3, {{2, {5, 17}}, {1, {17}}, {1, {17}}}, .fixed = 5},
};
const ag_op ag_op_batch_norm = {"batch_norm", channels_backward, channels_decompose,
                                AG_READS(0) | AG_READS(1), AG_CASES(batch_norm_cases)};

ag_var *ag_batch_norm(ag_var *x, ag_var *w, ag_var *b, float eps, tensor *stats) {
    return normalise(&ag_op_batch_norm, (ag_var *[]){x, w, b}, 0, eps, stats);
}

static ag_var *group_norm_case(ag_var **in) {
    return ag_group_norm(in[0], in[1], in[2], 2, 1e-2f);
}
static ag_var *group_norm_residual(ag_var **in) {
    return ag_add(in[0], ag_group_norm(in[0], in[1], in[2], 1, 1e-2f));
}
static const ag_case group_norm_cases[] = {
    {"images", group_norm_case, 3, {{4, {2, 4, 3, 3}}, {1, {4}}, {1, {4}}}, .fixed = 4, .not_empty = 3},
    {"rows", group_norm_residual, 3, {{2, {5, 17}}, {1, {17}}, {1, {17}}}, .fixed = 17},
};
const ag_op ag_op_group_norm = {"group_norm", channels_backward, channels_decompose,
                                AG_READS(0) | AG_READS(1), AG_CASES(group_norm_cases)};

ag_var *ag_group_norm(ag_var *x, ag_var *w, ag_var *b, int64_t groups, float eps) {
    if (groups < 1 && x) return ag_fail(ag_tape_of(x), "group_norm: %lld groups", (long long)groups);
    return normalise(&ag_op_group_norm, (ag_var *[]){x, w, b}, groups, eps, NULL);
}
