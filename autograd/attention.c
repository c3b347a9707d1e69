/* Causal self-attention over queries, keys and values that lie side by side in one tensor. */
#include "autograd/ops.h"

typedef struct attention {
    int heads;
    float scale;
    tensor stats; /* [B, H, T, 2] */
} attention;

/* Part 0 (queries), 1 (keys) or 2 (values) of [B, T, parts C] as [B, H, T, C / H]. */
static tensor heads_of(ag_var *y, tensor x, int part, int parts, int heads) {
    const int64_t width = x.shape[2] / parts;
    x = tensor_slice(x, 2, part * width, (part + 1) * width, 1, ag_err(y));
    x = tensor_reshape(x, TENSOR_SHAPE(x.shape[0], x.shape[1], heads, width / heads), ag_err(y));
    return tensor_transpose(x, 1, 2, ag_err(y));
}

static void causal_attention_backward(ag_var *y, ag_var *dy) {
    const attention *s = y->saved;
    const tensor_attention_options options = {.scale = s->scale, .causal = true};
    bool fresh;
    const tensor qkv = y->in[0]->value, dqkv = ag_grad_target(y, y->in[0], &fresh);
    if (!tensor_ok(dqkv)) return;
    const tensor g = tensor_contiguous(y->tape->arena, dy->value, ag_err(y));
    tensor_attention_vjp(heads_of(y, dqkv, 0, 3, s->heads), heads_of(y, dqkv, 1, 3, s->heads),
                         heads_of(y, dqkv, 2, 3, s->heads), heads_of(y, g, 0, 1, s->heads),
                         heads_of(y, y->value, 0, 1, s->heads), s->stats, heads_of(y, qkv, 0, 3, s->heads),
                         heads_of(y, qkv, 1, 3, s->heads), heads_of(y, qkv, 2, 3, s->heads), &options,
                         (const bool[]){!fresh, !fresh, !fresh}, ag_err(y));
}

static bool check(ag_var *qkv, int heads) {
    if (!qkv || !qkv->tape) return false;
    const tensor x = qkv->value;
    char text[TENSOR_SHAPE_TEXT];
    if (x.rank != 3 || x.shape[2] % 3)
        ag_fail(qkv->tape, "causal_attention: needs [B, T, 3C], not %s",
                tensor_shape_text(text, sizeof text, x.rank, x.shape));
    else if (heads < 1 || x.shape[2] / 3 % heads)
        ag_fail(qkv->tape, "causal_attention: %d heads do not divide a width of %lld", heads,
                (long long)(x.shape[2] / 3));
    else
        return true;
    return false;
}

static ag_var *composed_part(ag_var *qkv, int part, int heads) {
    const int64_t *shape = qkv->value.shape, width = shape[2] / 3;
    ag_var *x = ag_slice(qkv, 2, part * width, (part + 1) * width, 1);
    return ag_transpose(ag_reshape(x, TENSOR_SHAPE(shape[0], shape[1], heads, width / heads)), 1, 2);
}

ag_var *ag_attention_weights(ag_var *qkv, int heads, float scale) {
    if (!check(qkv, heads)) return NULL;
    const int64_t t = qkv->value.shape[1];
    const tensor future = ag_tensor(qkv->tape, TENSOR_F32, TENSOR_SHAPE(t, t));
    if (!tensor_ok(future)) return NULL;
    for (int64_t i = 0; i < t * t; i++) future.f32[i] = i % t > i / t;
    ag_var *scores =
        ag_matmul(composed_part(qkv, 0, heads), ag_transpose(composed_part(qkv, 1, heads), 2, 3));
    scores = ag_masked_fill(ag_affine(scores, scale, 0), ag_input(qkv->tape, future), -1e30f);
    return ag_softmax(scores, -1);
}

static ag_var *causal_attention_composed(ag_var *y) {
    const attention *s = y->saved;
    ag_var *weights = ag_attention_weights(y->in[0], s->heads, s->scale);
    ag_var *out = ag_matmul(weights, composed_part(y->in[0], 2, s->heads));
    return ag_reshape(ag_transpose(out, 1, 2), y->value.rank, y->value.shape);
}
static ag_var *causal_attention_case(ag_var **in) {
    return ag_causal_attention(in[0], 2, 0.5f);
}
static ag_var *causal_attention_residual(ag_var **in) {
    return ag_add(ag_slice(in[0], 2, 0, 3, 1), ag_causal_attention(in[0], 1, 1));
}
static const ag_case causal_attention_cases[] = {
    {"two heads", causal_attention_case, 1, {{3, {2, 5, 12}, -1, 1}}},
    {"one head, used twice", causal_attention_residual, 1, {{3, {1, 7, 9}, -1, 1}}},
};
const ag_op ag_op_causal_attention = {"causal_attention", causal_attention_backward,
                                      causal_attention_composed, AG_READS(0) | AG_READS_OUTPUT,
                                      AG_CASES(causal_attention_cases)};

ag_var *ag_causal_attention(ag_var *qkv, int heads, float scale) {
    ag_var *y = ag_begin(&ag_op_causal_attention, 1, &qkv);
    attention *s = ag_save(y, sizeof *s);
    if (!s) return NULL;
    const tensor_attention_options options = {.scale = scale, .causal = true};
    tensor x = qkv->value;
    if (!check(qkv, heads)) return NULL;
    const int64_t batch = x.shape[0], t = x.shape[1], width = x.shape[2] / 3;
    *s = (attention){heads, scale, ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(batch, heads, t, 2))};
    x = tensor_contiguous(y->tape->arena, x, ag_err(y));
    if (ag_out(y, TENSOR_F32, TENSOR_SHAPE(batch, t, width)))
        tensor_attention(heads_of(y, y->value, 0, 1, heads), s->stats, heads_of(y, x, 0, 3, heads),
                         heads_of(y, x, 1, 3, heads), heads_of(y, x, 2, 3, heads), &options, ag_err(y));
    return ag_end(y);
}
