/* Keys and values that are kept while text is written. */
#include "sampo/nn.h"

bool nn_cache_init(nn_cache *cache, int64_t layers, int64_t batch, int64_t context, int64_t width,
                   tensor_arena *arena, tensor_error *err) {
    *cache = (nn_cache){.k = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(layers, batch, width, context), err),
                        .v = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(layers, batch, context, width), err)};
    return tensor_ok(cache->k) && tensor_ok(cache->v);
}

static const tensor *value_of(const ag_var *parameter) {
    return parameter ? &parameter->value : NULL;
}

static tensor layer_of(tensor x, int64_t layer) {
    x.f32 += layer * x.stride[0];
    x.rank = 3;
    for (int i = 0; i < 3; i++) x.shape[i] = x.shape[i + 1], x.stride[i] = x.stride[i + 1];
    return x;
}

ag_var *nn_block_cached(const struct nn_block *m, ag_var *x, const nn_cache *cache, int64_t layer,
                        int64_t first) {
    static const tensor_unary_op activations[] = {
        [NN_RELU] = TENSOR_RELU, [NN_GELU_TANH] = TENSOR_GELU_TANH, [NN_GELU] = TENSOR_GELU_ERF};
    if (!x || !x->tape) return NULL;
    if (x->needs_grad) return ag_fail(x->tape, "a block with a cache has no gradients");
    if (x->value.rank != 3) return ag_fail(x->tape, "a block needs [B, N, C], not rank %d", x->value.rank);
    if (layer < 0 || layer >= cache->k.shape[0])
        return ag_fail(x->tape, "layer %lld is outside a cache of %lld", (long long)layer,
                       (long long)cache->k.shape[0]);
    const int64_t batch = x->value.shape[0], n = x->value.shape[1];
    const int64_t asked = first < 0 ? -first : n - first;
    if (asked < 0 || asked > n)
        return ag_fail(x->tape, "row %lld is outside of %lld", (long long)first, (long long)n);
    const tensor_block block = {.ln_1_weight = value_of(m->ln_1.weight),
                                .ln_1_bias = value_of(m->ln_1.bias),
                                .attn_weight = value_of(m->attn.c_attn.weight),
                                .attn_bias = value_of(m->attn.c_attn.bias),
                                .proj_weight = value_of(m->attn.c_proj.weight),
                                .proj_bias = value_of(m->attn.c_proj.bias),
                                .ln_2_weight = value_of(m->ln_2.weight),
                                .ln_2_bias = value_of(m->ln_2.bias),
                                .fc_weight = value_of(m->mlp.c_fc.weight),
                                .fc_bias = value_of(m->mlp.c_fc.bias),
                                .mlp_weight = value_of(m->mlp.c_proj.weight),
                                .mlp_bias = value_of(m->mlp.c_proj.bias),
                                .heads = m->attn.heads,
                                .scale = m->attn.scale,
                                .eps = m->ln_1.eps,
                                .activation = activations[m->mlp.activation]};
    const tensor y = ag_tensor(x->tape, TENSOR_F32, TENSOR_SHAPE(batch, asked, x->value.shape[2]));
    const tensor scratch =
        ag_tensor(x->tape, TENSOR_F32, TENSOR_SHAPE(tensor_block_scratch(&block, batch * n, batch * asked)));
    if (!tensor_block_cached(y, x->value, &block, layer_of(cache->k, layer), layer_of(cache->v, layer),
                             cache->length, scratch, ag_err(x)))
        return NULL;
    return ag_input(x->tape, y);
}
