/* Modules: what they register, and their forward passes. */
#include "nn/params/params.h"

#include <math.h>
#include <string.h>

/* ---- Linear ----------------------------------------------------------------------------------- */

/* Registers `name` as a second name of `tied`, which must have the shape a weight of its own would have. */
static ag_var *tie_weight(nn_params *params, const char *name, ag_var *tied, const int64_t *shape) {
    nn_tie(params, name, tied);
    if (nn_params_error(params)) return NULL;
    if (tied->value.rank == 2 && memcmp(tied->value.shape, shape, 2 * sizeof *shape) == 0) return tied;
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    tensor_shape_text(is, sizeof is, tied->value.rank, tied->value.shape);
    tensor_shape_text(expected, sizeof expected, 2, shape);
    tensor_fail(&params->error, "%s: tied to a weight of %s, expected %s", name, is, expected);
    return NULL;
}

void nn_linear_init(struct nn_linear *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    nn_linear_options options) {
    float bound = in > 0 ? (float)(1 / sqrt((double)in)) : 0;
    const nn_init noise = options.deviation > 0 ? NN_NORMAL(options.deviation) : NN_UNIFORM(bound);
    int64_t shape[2] = {in, out};
    if (options.out_in) shape[0] = out, shape[1] = in;
    const char *weight = nn_part(params, name, "weight");
    *m = (struct nn_linear){.out_in = options.out_in};
    m->weight = options.tied ? tie_weight(params, weight, options.tied, shape)
                             : nn_param(params, weight, options.zero ? NN_ZEROS : noise, 2, shape);
    if (!options.tied) nn_set_form(params, m->weight, options.out_in ? NN_OUT_IN : NN_IN_OUT);
    if (!options.no_bias)
        m->bias = nn_param(params, nn_part(params, name, "bias"),
                           options.zero || options.deviation > 0 ? NN_ZEROS : noise, 1, &out);
}

ag_var *nn_linear(const struct nn_linear *m, ag_var *x) {
    ag_var *w = m->out_in && m->weight && !m->weight->compact
                    ? ag_transpose(ag_use(ag_tape_of(x), m->weight), 0, 1)
                    : m->weight;
    return m->bias ? ag_linear(x, w, m->bias) : ag_linear_no_bias(x, w);
}

/* ---- Embedding, norms, dropout, activation -------------------------------------------------- */

void nn_embedding_init(struct nn_embedding *m, nn_params *params, const char *name, int64_t count,
                       int64_t width, float deviation) {
    m->weight =
        nn_param(params, nn_part(params, name, "weight"), NN_NORMAL(deviation), TENSOR_SHAPE(count, width));
    nn_set_form(params, m->weight, NN_OUT_IN);
}

ag_var *nn_embedding(const struct nn_embedding *m, ag_var *ids) {
    return ag_embedding(m->weight, ids);
}

void nn_layer_norm_init(struct nn_layer_norm *m, nn_params *params, const char *name, int64_t width,
                        float eps) {
    m->weight = nn_param(params, nn_part(params, name, "weight"), NN_ONES, 1, &width);
    m->bias = nn_param(params, nn_part(params, name, "bias"), NN_ZEROS, 1, &width);
    m->eps = eps;
}

ag_var *nn_layer_norm(const struct nn_layer_norm *m, ag_var *x) {
    return ag_layer_norm(x, m->weight, m->bias, m->eps);
}

void nn_rms_norm_init(struct nn_rms_norm *m, nn_params *params, const char *name, int64_t width, float eps) {
    m->weight = nn_param(params, nn_part(params, name, "weight"), NN_ONES, 1, &width);
    m->eps = eps;
}

ag_var *nn_rms_norm(const struct nn_rms_norm *m, ag_var *x) {
    return ag_rms_norm(x, m->weight, m->eps);
}

ag_var *nn_dropout(const struct nn_dropout *m, ag_var *x, tensor_rng *rng) {
    return rng ? ag_dropout(x, m->p, rng) : x;
}

ag_var *nn_activate(nn_activation activation, ag_var *x) {
    switch (activation) {
    case NN_RELU:
        return ag_relu(x);
    case NN_GELU:
        return ag_gelu(x);
    case NN_GELU_TANH:
        return ag_gelu_tanh(x);
    case NN_SILU:
        return ag_silu(x);
    }
    return x ? ag_fail(x->tape, "unknown activation %d", (int)activation) : NULL;
}

/* ---- Attention ---------------------------------------------------------------------------------- */

void nn_attention_init(struct nn_attention *m, nn_params *params, const char *name, int64_t width,
                       nn_attention_options options) {
    *m = (struct nn_attention){.heads = options.heads, .scale = options.scale, .dropout = {options.dropout}};
    if (params && (options.heads < 1 || width < 1 || width % options.heads != 0)) {
        tensor_fail(&params->error, "%s: %d heads do not divide a width of %lld", name ? name : "attention",
                    options.heads, (long long)width);
        return;
    }
    int64_t all;
    if (__builtin_mul_overflow(width, 3, &all)) all = -1; /* which nn_param refuses */
    if (options.scale == 0) m->scale = (float)(1 / sqrt((double)(width / options.heads)));
    nn_linear_init(&m->c_attn, params, nn_part(params, name, "c_attn"), width, all,
                   (nn_linear_options){.no_bias = options.no_qkv_bias, .deviation = options.deviation});
    nn_set_parts(params, m->c_attn.weight, 3); /* queries, keys, values */
    nn_linear_init(
        &m->c_proj, params, nn_part(params, name, "c_proj"), width, width,
        (nn_linear_options){.deviation = options.projection_deviation, .zero = options.zero_projection});
}

/* Columns begin..end-1 of x W + b. */
static ag_var *linear_columns(const struct nn_linear *m, ag_var *x, int64_t begin, int64_t end) {
    ag_tape *tape = ag_tape_of(x);
    ag_var *w = ag_slice(ag_use(tape, m->weight), 1, begin, end, 1);
    return m->bias ? ag_linear(x, w, ag_slice(ag_use(tape, m->bias), 0, begin, end, 1))
                   : ag_linear_no_bias(x, w);
}

static ag_attention_options causal(const struct nn_attention *m) {
    return (ag_attention_options){.scale = m->scale, .causal = true};
}

/* What the tokens x[:, first:] attend to, of x and of what the cache (NULL: none) holds: [B, T - first, C]. *more
 * (NULL: there is none) is added to the values. */
static ag_var *attend(const struct nn_attention *m, ag_var *x, ag_var *const *more, const nn_cache *cache,
                      int64_t layer, int64_t first) {
    if (x && ag_rank(x) != 3) return ag_fail(x->tape, "attention: needs [B, T, C], not rank %d", ag_rank(x));
    const int64_t width = ag_size(x, -1);
    ag_var *q, *k, *v;
    if (first == 0 || (m->c_attn.weight && m->c_attn.weight->compact)) { /* of which no columns can be cut */
        ag_var *qkv = nn_linear(&m->c_attn, x);
        q = ag_split_heads(first == 0 ? qkv : ag_slice(qkv, 1, first, INT64_MAX, 1), m->heads, 0, 3);
        k = ag_split_heads(qkv, m->heads, 1, 3);
        v = ag_split_heads(qkv, m->heads, 2, 3);
    } else {
        ag_var *kv = linear_columns(&m->c_attn, x, width, 3 * width);
        q = linear_columns(&m->c_attn, ag_slice(x, 1, first, INT64_MAX, 1), 0, width);
        q = ag_split_heads(q, m->heads, 0, 1);
        k = ag_split_heads(kv, m->heads, 0, 2);
        v = ag_split_heads(kv, m->heads, 1, 2);
    }
    if (more) v = ag_add(v, ag_split_heads(*more, m->heads, 0, 1));
    if (cache && !nn_cache_append(cache, layer, &k, &v)) return NULL;
    return ag_merge_heads(ag_attention(q, k, v, causal(m)));
}

static ag_var *attention(const struct nn_attention *m, ag_var *x, ag_var *const *more, tensor_rng *dropout) {
    return nn_dropout(&m->dropout, nn_linear(&m->c_proj, attend(m, x, more, NULL, 0, 0)), dropout);
}

ag_var *nn_attention(const struct nn_attention *m, ag_var *x, tensor_rng *dropout) {
    return attention(m, x, NULL, dropout);
}

ag_var *nn_attention_weights(const struct nn_attention *m, ag_var *x) {
    ag_var *qkv = nn_linear(&m->c_attn, x);
    return ag_attention_weights(ag_split_heads(qkv, m->heads, 0, 3), ag_split_heads(qkv, m->heads, 1, 3),
                                causal(m));
}

/* ---- MLP ------------------------------------------------------------------------------------------ */

void nn_mlp_init(struct nn_mlp *m, nn_params *params, const char *name, int64_t width,
                 nn_mlp_options options) {
    int64_t hidden = options.hidden;
    if (hidden == 0 && __builtin_mul_overflow(width, 4, &hidden)) hidden = -1; /* which nn_param refuses */
    *m = (struct nn_mlp){.activation = options.activation, .dropout = {options.dropout}};
    nn_linear_init(&m->c_fc, params, nn_part(params, name, "c_fc"), width, hidden,
                   (nn_linear_options){.deviation = options.deviation});
    nn_linear_init(
        &m->c_proj, params, nn_part(params, name, "c_proj"), hidden, width,
        (nn_linear_options){.deviation = options.projection_deviation, .zero = options.zero_projection});
}

ag_var *nn_mlp(const struct nn_mlp *m, ag_var *x, tensor_rng *dropout) {
    ag_var *hidden = nn_linear(&m->c_fc, x);
    hidden = m->activation == NN_RELU ? ag_relu_in_place(hidden) : nn_activate(m->activation, hidden);
    return nn_dropout(&m->dropout, nn_linear(&m->c_proj, hidden), dropout);
}

/* ---- Block ---------------------------------------------------------------------------------------- */

void nn_block_init(struct nn_block *m, nn_params *params, const char *name, int64_t width,
                   nn_attention_options attention, nn_mlp_options mlp) {
    nn_layer_norm_init(&m->ln_1, params, nn_part(params, name, "ln_1"), width, NN_LAYER_NORM_EPS);
    nn_attention_init(&m->attn, params, nn_part(params, name, "attn"), width, attention);
    nn_layer_norm_init(&m->ln_2, params, nn_part(params, name, "ln_2"), width, NN_LAYER_NORM_EPS);
    nn_mlp_init(&m->mlp, params, nn_part(params, name, "mlp"), width, mlp);
}

static ag_var *block(const struct nn_block *m, ag_var *x, ag_var *const *more, tensor_rng *dropout) {
    x = ag_add_in_place(attention(&m->attn, nn_layer_norm(&m->ln_1, x), more, dropout), x);
    return ag_add_in_place(nn_mlp(&m->mlp, nn_layer_norm(&m->ln_2, x), dropout), x);
}

ag_var *nn_block(const struct nn_block *m, ag_var *x, tensor_rng *dropout) {
    return block(m, x, NULL, dropout);
}

ag_var *nn_block_with_values(const struct nn_block *m, ag_var *x, ag_var *values, tensor_rng *dropout) {
    return block(m, x, &values, dropout);
}

static ag_var *block_cached(const struct nn_block *m, ag_var *x, ag_var *const *more, const nn_cache *cache,
                            int64_t layer, int64_t first) {
    if (!x) return NULL;
    if (x->value.rank != 3) return ag_fail(x->tape, "block: needs [B, N, C], not rank %d", x->value.rank);
    const int64_t n = x->value.shape[1], from = first < 0 ? first + n : first;
    if (from < 0 || from > n)
        return ag_fail(x->tape, "block: row %lld is outside of %lld", (long long)first, (long long)n);
    ag_var *y =
        nn_linear(&m->attn.c_proj, attend(&m->attn, nn_layer_norm(&m->ln_1, x), more, cache, layer, from));
    if (from > 0) x = ag_slice(x, 1, from, n, 1);
    x = ag_add_in_place(y, x);
    return ag_add_in_place(nn_mlp(&m->mlp, nn_layer_norm(&m->ln_2, x), NULL), x);
}

ag_var *nn_block_cached(const struct nn_block *m, ag_var *x, const nn_cache *cache, int64_t layer,
                        int64_t first) {
    return block_cached(m, x, NULL, cache, layer, first);
}

ag_var *nn_block_with_values_cached(const struct nn_block *m, ag_var *x, ag_var *values,
                                    const nn_cache *cache, int64_t layer, int64_t first) {
    return block_cached(m, x, &values, cache, layer, first);
}
