/* Causal attention: shapes and threads around the kernel of one head. */
#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

/* All tensors of a call; those that a pass has no use for are NULL, or no tensor. */
typedef struct heads {
    const tensor *q, *k, *v, *y, *lse, *dy, *dq, *dk, *dv;
    float scale;
    bool overwrite;
} heads;

static bool check(const char *what, const heads *t, tensor_error *err) {
    const tensor *const all[] = {t->q, t->k, t->v, t->y};
    const char *names[] = {"q", "k", "v", "y"};
    for (int i = 0; i < 4; i++) {
        if (!tensor_expect(what, names[i], *all[i], TENSOR_F32, err)) return false;
        if (all[i]->rank != 4)
            return tensor_fail(err, "%s: %s has rank %d, expected [B, H, T, D]", what, names[i],
                               all[i]->rank);
    }
    const int64_t *q = t->q->shape, keys[] = {q[0], q[1], t->k->shape[2], q[3]};
    const struct {
        const char *name;
        const tensor *x;
        const int64_t *shape;
        int rank;
    } expected[] = {{"k", t->k, keys, 4},   {"v", t->v, keys, 4},  {"y", t->y, q, 4},
                    {"lse", t->lse, q, 3},  {"dy", t->dy, q, 4},   {"dq", t->dq, q, 4},
                    {"dk", t->dk, keys, 4}, {"dv", t->dv, keys, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const tensor *x = expected[i].x;
        if (!x || !tensor_ok(*x)) continue;
        if (!tensor_expect_shape(what, expected[i].name, *x, expected[i].rank, expected[i].shape, err))
            return false;
        if (x->rank == 4 && x->stride[3] != 1 && x->shape[3] > 1)
            return tensor_fail(err, "%s: %s needs a last axis of stride 1, not %lld", what, expected[i].name,
                               (long long)x->stride[3]);
    }
    if (t->q->stride[3] != 1 && q[3] > 1)
        return tensor_fail(err, "%s: q needs a last axis of stride 1, not %lld", what,
                           (long long)t->q->stride[3]);
    if (t->k->shape[2] < q[2])
        return tensor_fail(err, "%s: %lld keys are fewer than %lld queries", what, (long long)t->k->shape[2],
                           (long long)q[2]);
    if (!(t->scale > 0))
        return tensor_fail(err, "%s: the scale must be above 0, not %g", what, (double)t->scale);
    return true;
}

static float *head_of(const tensor *x, int64_t b, int64_t h) {
    return x && tensor_ok(*x) ? x->f32 + b * x->stride[0] + h * x->stride[1] : NULL;
}

static int64_t row_stride(const tensor *x) {
    return x ? x->stride[2] : 0;
}

static attention_args args_of(const heads *t, int64_t index) {
    const int64_t b = index / t->q->shape[1], h = index % t->q->shape[1];
    return (attention_args){.tq = t->q->shape[2],
                            .tk = t->k->shape[2],
                            .d = t->q->shape[3],
                            .scale = t->scale,
                            .overwrite = t->overwrite,
                            .q = head_of(t->q, b, h),
                            .q_row = t->q->stride[2],
                            .k = head_of(t->k, b, h),
                            .k_row = t->k->stride[2],
                            .k_col = 1,
                            .v = head_of(t->v, b, h),
                            .v_row = t->v->stride[2],
                            .y = head_of(t->y, b, h),
                            .y_row = t->y->stride[2],
                            .lse = head_of(t->lse, b, h),
                            .lse_row = row_stride(t->lse),
                            .dy = head_of(t->dy, b, h),
                            .dy_row = row_stride(t->dy),
                            .dq = head_of(t->dq, b, h),
                            .dq_row = row_stride(t->dq),
                            .dk = head_of(t->dk, b, h),
                            .dk_row = row_stride(t->dk),
                            .dv = head_of(t->dv, b, h),
                            .dv_row = row_stride(t->dv)};
}

static void forward(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const attention_args args = args_of(context, i);
        tensor_kernels_get()->attention(&args);
    }
}

static void backward(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const attention_args args = args_of(context, i);
        tensor_kernels_get()->attention_vjp(&args);
    }
}

static void each_head(heads *t, tensor_work *work) {
    enum { GRAIN_FLOPS = 1 << 20 };
    const double flops = 2.0 * (double)t->q->shape[2] * (double)t->k->shape[2] * (double)t->q->shape[3];
    if (tensor_size(*t->q) == 0) return;
    tensor_parallel(t->q->shape[0] * t->q->shape[1], flops < GRAIN_FLOPS ? (int64_t)(GRAIN_FLOPS / flops) : 1,
                    work, t);
}

bool tensor_attention(tensor y, tensor lse, tensor q, tensor k, tensor v, float scale, tensor_error *err) {
    heads t = {.q = &q, .k = &k, .v = &v, .y = &y, .lse = &lse, .scale = scale};
    if (!check("attention", &t, err)) return false;
    each_head(&t, forward);
    tensor_touch(y);
    if (tensor_ok(lse)) tensor_touch(lse);
    return true;
}

bool tensor_attention_vjp(tensor dq, tensor dk, tensor dv, tensor dy, tensor y, tensor lse, tensor q,
                          tensor k, tensor v, float scale, bool accumulate, tensor_error *err) {
    heads t = {.q = &q,
               .k = &k,
               .v = &v,
               .y = &y,
               .lse = &lse,
               .dy = &dy,
               .dq = &dq,
               .dk = &dk,
               .dv = &dv,
               .scale = scale};
    if (!tensor_expect("attention_vjp", "dy", dy, TENSOR_F32, err) ||
        !tensor_expect("attention_vjp", "lse", lse, TENSOR_F32, err) || !check("attention_vjp", &t, err))
        return false;
    const tensor written[] = {dq, dk, dv};
    t.overwrite = !accumulate && q.shape[2] == k.shape[2];
    for (int i = 0; i < 3; i++)
        if (tensor_ok(written[i]) && !accumulate && !t.overwrite) tensor_fill(written[i], 0, err);
    each_head(&t, backward);
    for (int i = 0; i < 3; i++)
        if (tensor_ok(written[i])) tensor_touch(written[i]);
    return true;
}
