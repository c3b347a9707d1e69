/* Attention: shapes, groups of heads and threads around the kernel of one head. */
#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

/* All tensors of a call; one that it has no use for is no tensor. */
enum { Q, K, V, Y, DY, DQ, DK, DV, OPERANDS };

typedef struct heads {
    const tensor *of[OPERANDS], *stats;
    tensor mask;         /* expanded to [B, Hq, Tq, Tk] */
    int64_t group;       /* query heads a key head */
    attention_args args; /* what all heads share */
} heads;

static bool check_shapes(const char *what, heads *t, bool backward, tensor_error *err) {
    static const char *const names[OPERANDS] = {"q", "k", "v", "y", "dy", "dq", "dk", "dv"};
    for (int i = Q; i <= (backward ? DY : Y); i++) {
        if (!tensor_expect(what, names[i], t->of[i], TENSOR_F32, err)) return false;
        if (t->of[i]->rank != 4)
            return tensor_fail(err, "%s: %s has rank %d, expected [B, H, T, D]", what, names[i],
                               t->of[i]->rank);
    }
    const int64_t *q = t->of[Q]->shape, *k = t->of[K]->shape, keys[] = {q[0], k[1], k[2], q[3]};
    if (k[1] == 0 ? q[1] != 0 : q[1] % k[1] != 0)
        return tensor_fail(err, "%s: %lld heads of queries are no multiple of %lld heads of keys", what,
                           (long long)q[1], (long long)k[1]);
    t->group = k[1] ? q[1] / k[1] : 0;
    for (int i = 0; i < OPERANDS; i++) {
        const tensor *x = t->of[i];
        const bool of_keys = i == K || i == V || i == DK || i == DV;
        if (!x || !x->storage) continue;
        if (!tensor_expect(what, names[i], x, TENSOR_F32, err) ||
            !tensor_expect_shape(what, names[i], x, 4, of_keys ? keys : q, err))
            return false;
        if (x->stride[3] != 1 && x->shape[3] > 1 && (i != K || backward))
            return tensor_fail(err, "%s: %s needs a last axis of stride 1, not %lld", what, names[i],
                               (long long)x->stride[3]);
    }
    return true;
}

static int64_t row_stride(const tensor *x) {
    return x ? x->stride[2] : 0;
}

static bool check(const char *what, heads *t, const tensor_attention_options *options, bool backward,
                  tensor_error *err) {
    if (!check_shapes(what, t, backward, err)) return false;
    const int64_t *q = t->of[Q]->shape, stats[] = {q[0], q[1], q[2], 2},
                  scores[] = {q[0], q[1], q[2], t->of[K]->shape[2]};
    if ((backward || t->stats->storage) && (!tensor_expect(what, "stats", t->stats, TENSOR_F32, err) ||
                                            !tensor_expect_shape(what, "stats", t->stats, 4, stats, err)))
        return false;
    if (!options) return tensor_fail(err, "%s: no options", what);
    if (!(options->scale > 0) || isinf(options->scale))
        return tensor_fail(err, "%s: the scale must be above 0 and finite, not %g", what,
                           (double)options->scale);
    if (tensor_ok(options->mask)) {
        char have[TENSOR_SHAPE_TEXT], want[TENSOR_SHAPE_TEXT];
        const tensor mask = options->mask;
        if (!tensor_expect(what, "mask", &mask, TENSOR_F32, err)) return false;
        t->mask = tensor_expand(mask, 4, scores, NULL);
        if (!tensor_ok(t->mask))
            return tensor_fail(err, "%s: mask is %s, which does not broadcast to %s", what,
                               tensor_shape_text(have, sizeof have, mask.rank, mask.shape),
                               tensor_shape_text(want, sizeof want, 4, scores));
    }
    t->args = (attention_args){.tq = q[2],
                               .tk = scores[3],
                               .d = q[3],
                               .scale = options->scale,
                               .causal = options->causal,
                               .mask_row = t->mask.stride[2],
                               .mask_col = t->mask.stride[3],
                               .additive = options->additive,
                               .q_row = row_stride(t->of[Q]),
                               .k_row = row_stride(t->of[K]),
                               .k_col = q[3] > 1 ? t->of[K]->stride[3] : 1,
                               .v_row = row_stride(t->of[V]),
                               .y_row = row_stride(t->of[Y]),
                               .stats_row = row_stride(t->stats),
                               .stats_col = t->stats->stride[3],
                               .dy_row = row_stride(t->of[DY]),
                               .dq_row = row_stride(t->of[DQ]),
                               .dk_row = row_stride(t->of[DK]),
                               .dv_row = row_stride(t->of[DV])};
    return true;
}

static float *head_of(const tensor *x, int64_t b, int64_t h) {
    return x && x->storage ? x->f32 + b * x->stride[0] + h * x->stride[1] : NULL;
}

/* Makes *args those of query head `index` of all B Hq. */
static void go_to_head(attention_args *args, const heads *t, int64_t index) {
    const int64_t count = t->of[Q]->shape[1], b = index / count, h = index % count, of_keys = h / t->group;
    if (t->mask.storage) args->mask = head_of(&t->mask, b, h);
    args->q = head_of(t->of[Q], b, h);
    args->k = head_of(t->of[K], b, of_keys);
    args->v = head_of(t->of[V], b, of_keys);
    args->y = head_of(t->of[Y], b, h);
    args->stats = head_of(t->stats, b, h);
    if (!t->of[DY]) return;
    args->dy = head_of(t->of[DY], b, h);
    args->dq = head_of(t->of[DQ], b, h);
    args->dk = head_of(t->of[DK], b, of_keys);
    args->dv = head_of(t->of[DV], b, of_keys);
}

/* Heads of queries. */
static void forward(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const heads *t = context;
    attention_args args = t->args;
    for (int64_t i = begin; i < end; i++) {
        go_to_head(&args, t, i);
        tensor_kernels_get()->attention(&args);
    }
}

/* Heads of keys, each with its group of query heads, which add to the same gradients. */
static void backward(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const heads *t = context;
    for (int64_t i = begin * t->group; i < end * t->group; i++) {
        attention_args args = t->args;
        go_to_head(&args, t, i);
        if (i % t->group > 0) args.add_k = args.add_v = true;
        tensor_kernels_get()->attention_vjp(&args);
    }
}

/* `n` heads or groups, all alike. */
static void each_head(heads *t, int64_t n, tensor_work *work) {
    enum { GRAIN_FLOPS = 1 << 18 };
    const double all = (double)tensor_size(*t->of[Q]) * (double)t->args.tk * 2;
    const double flops = n ? all / (double)n + 1 : 1;
    tensor_parallel(n, flops < GRAIN_FLOPS ? (int64_t)(GRAIN_FLOPS / flops) : 1, work, t);
}

bool tensor_attention(tensor y, tensor stats, tensor q, tensor k, tensor v,
                      const tensor_attention_options *options, tensor_error *err) {
    heads t = {.of = {[Q] = &q, [K] = &k, [V] = &v, [Y] = &y}, .stats = &stats};
    if (!check("attention", &t, options, false, err)) return false;
    const bool some = tensor_size(y) > 0 || (tensor_ok(stats) && tensor_size(stats) > 0);
    each_head(&t, some ? q.shape[0] * q.shape[1] : 0, forward);
    tensor_touch(y);
    if (tensor_ok(stats)) tensor_touch(stats);
    return true;
}

bool tensor_attention_vjp(tensor dq, tensor dk, tensor dv, tensor dy, tensor y, tensor stats, tensor q,
                          tensor k, tensor v, const tensor_attention_options *options,
                          const bool accumulate[3], tensor_error *err) {
    heads t = {.of = {[Q] = &q, [K] = &k, [V] = &v, [Y] = &y, [DY] = &dy, [DQ] = &dq, [DK] = &dk, [DV] = &dv},
               .stats = &stats};
    if (!check("attention_vjp", &t, options, true, err)) return false;
    t.args.add_q = accumulate[0];
    t.args.add_k = accumulate[1];
    t.args.add_v = accumulate[2];
    each_head(&t, t.group && q.shape[2] ? k.shape[0] * k.shape[1] : 0, backward);
    for (int i = DQ; i <= DV; i++) {
        if (!tensor_ok(*t.of[i])) continue;
        /* Keys that no query met. */
        if (!accumulate[i - DQ] && (q.shape[1] == 0 || q.shape[2] == 0)) tensor_fill(*t.of[i], 0, err);
        tensor_touch(*t.of[i]);
    }
    return true;
}
