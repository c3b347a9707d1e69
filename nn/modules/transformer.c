/* Attention in its general form, gated layers, and the blocks of encoders and decoders. */
#include "nn/params/params.h"

#include <math.h>

/* ---- Attention ---------------------------------------------------------------------------------- */

nn_rotary nn_rotary_positions(ag_tape *tape, int64_t first, int64_t count, int64_t head_size, double base) {
    const int64_t shape[2] = {count, head_size / 2};
    const nn_rotary r = {ag_tensor(tape, TENSOR_F32, 2, shape), ag_tensor(tape, TENSOR_F32, 2, shape), false};
    tensor_error err = {0};
    if (tensor_ok(r.sin) && !tensor_rotary_table(r.cos, r.sin, first, base, &err))
        ag_fail(tape, "%s", err.text);
    return r;
}

/* Whether the sizes fit; completes those that are not given. */
static bool complete(nn_multihead_options *o, int64_t width, nn_params *params, const char *name) {
    if (!params) return false;
    if (o->key_heads == 0) o->key_heads = o->heads;
    if (o->memory_width == 0) o->memory_width = width;
    if (o->heads < 1 || o->key_heads < 1 || o->heads % o->key_heads != 0)
        return tensor_fail(&params->error, "%s: %d heads of keys do not divide %d heads",
                           name ? name : "attention", o->key_heads, o->heads);
    if (o->head_size == 0 && width % o->heads != 0)
        return tensor_fail(&params->error, "%s: %d heads do not divide a width of %lld",
                           name ? name : "attention", o->heads, (long long)width);
    if (o->head_size == 0) o->head_size = width / o->heads;
    int64_t all;
    const bool fits = o->head_size > 0 && !__builtin_mul_overflow(o->heads, o->head_size, &all);
    return fits || tensor_fail(&params->error, "%s: heads of %lld", name ? name : "attention",
                               (long long)o->head_size);
}

void nn_multihead_init(struct nn_multihead *m, nn_params *params, const char *name, int64_t width,
                       nn_multihead_options options) {
    *m = (struct nn_multihead){.heads = options.heads, .dropout = {options.dropout}};
    if (!complete(&options, width, params, name)) return;
    const int64_t all = options.heads * options.head_size, keys = options.key_heads * options.head_size;
    const nn_linear_options in = {
        .no_bias = options.no_bias, .out_in = options.out_in, .deviation = options.deviation};
    m->key_heads = options.key_heads;
    m->scale = options.scale != 0 ? options.scale : (float)(1 / sqrt((double)options.head_size));
    nn_linear_init(&m->q_proj, params, nn_part(params, name, "q_proj"), width, all, in);
    nn_linear_init(&m->k_proj, params, nn_part(params, name, "k_proj"), options.memory_width, keys, in);
    nn_linear_init(&m->v_proj, params, nn_part(params, name, "v_proj"), options.memory_width, keys, in);
    nn_linear_init(&m->o_proj, params, nn_part(params, name, "o_proj"), all, width,
                   (nn_linear_options){.no_bias = options.no_out_bias,
                                       .out_in = options.out_in,
                                       .deviation = options.out_deviation});
}

/* Rows begin.. of all, and tables of them. */
static ag_var *turn(ag_var *x, const nn_rotary *rotary, int64_t begin) {
    if (!tensor_ok(rotary->cos)) return x;
    const nn_rotary r = *rotary;
    return ag_rotary(x, tensor_slice(r.cos, 0, begin, INT64_MAX, 1, NULL),
                     tensor_slice(r.sin, 0, begin, INT64_MAX, 1, NULL), r.interleaved);
}

static ag_var *heads_of(const struct nn_linear *projection, ag_var *x, int heads) {
    return ag_split_heads(nn_linear(projection, x), heads, 0, 1);
}

static ag_attention_options options_of(const struct nn_multihead *m, const nn_attend *how) {
    return (ag_attention_options){m->scale, how->causal, how->mask, how->additive};
}

/* The number of the first wanted row of x [B, T, C]; -1: there is none such, and the tape says why. */
static int64_t first_row(const char *what, ag_var *x, int64_t first) {
    if (x && x->value.rank != 3) ag_fail(x->tape, "%s: needs [B, T, C], not rank %d", what, x->value.rank);
    if (!x || x->value.rank != 3) return -1;
    const int64_t count = x->value.shape[1], from = first < 0 ? first + count : first;
    if (from >= 0 && from <= count) return from;
    ag_fail(x->tape, "%s: row %lld is outside of %lld", what, (long long)first, (long long)count);
    return -1;
}

/* x[:, first:] */
static ag_var *rows_from(ag_var *x, int64_t first) {
    return first > 0 ? ag_slice(x, 1, first, INT64_MAX, 1) : x;
}

static ag_var *project(const struct nn_multihead *m, ag_var *y, const nn_attend *how) {
    return nn_dropout(&m->dropout, nn_linear(&m->o_proj, ag_merge_heads(y)), how->dropout);
}

ag_var *nn_multihead(const struct nn_multihead *m, ag_var *x, nn_attend how) {
    const int64_t first = first_row("attention", x, how.first);
    if (first < 0) return NULL;
    ag_var *q = turn(heads_of(&m->q_proj, rows_from(x, first), m->heads), &how.rotary, first);
    ag_var *k = turn(heads_of(&m->k_proj, x, m->key_heads), &how.rotary, 0);
    ag_var *v = heads_of(&m->v_proj, x, m->key_heads);
    if (how.cache && !nn_cache_append(how.cache, how.layer, &k, &v)) return NULL;
    return project(m, ag_attention(q, k, v, options_of(m, &how)), &how);
}

ag_var *nn_multihead_cross(const struct nn_multihead *m, ag_var *x, ag_var *memory, nn_attend how) {
    const int64_t first = first_row("attention", x, how.first);
    if (first < 0) return NULL;
    if (!memory) return ag_fail(x->tape, "attention: the memory is NULL");
    if (ag_rank(memory) != 3)
        return ag_fail(x->tape, "attention: needs a memory [B, Tk, M], not rank %d", ag_rank(memory));
    ag_var *q = turn(heads_of(&m->q_proj, rows_from(x, first), m->heads), &how.rotary, first);
    ag_var *k = heads_of(&m->k_proj, memory, m->key_heads), *v = heads_of(&m->v_proj, memory, m->key_heads);
    return project(m, ag_attention(q, k, v, options_of(m, &how)), &how);
}

ag_var *nn_multihead_weights(const struct nn_multihead *m, ag_var *x, nn_attend how) {
    if (first_row("attention", x, 0) < 0) return NULL;
    return ag_attention_weights(turn(heads_of(&m->q_proj, x, m->heads), &how.rotary, 0),
                                turn(heads_of(&m->k_proj, x, m->key_heads), &how.rotary, 0),
                                options_of(m, &how));
}

/* ---- Gated layers --------------------------------------------------------------------------------- */

void nn_gated_init(struct nn_gated *m, nn_params *params, const char *name, int64_t width,
                   nn_gated_options options) {
    int64_t hidden = options.hidden;
    if (hidden == 0 && !__builtin_mul_overflow(width, 8, &hidden)) hidden = (hidden + 2) / 3;
    nn_linear_options linear = {
        .no_bias = options.no_bias, .out_in = options.out_in, .deviation = options.deviation};
    *m = (struct nn_gated){.activation = options.activation};
    nn_linear_init(&m->gate_proj, params, nn_part(params, name, "gate_proj"), width, hidden, linear);
    nn_linear_init(&m->up_proj, params, nn_part(params, name, "up_proj"), width, hidden, linear);
    linear.deviation = options.down_deviation;
    nn_linear_init(&m->down_proj, params, nn_part(params, name, "down_proj"), hidden, width, linear);
}

ag_var *nn_gated(const struct nn_gated *m, ag_var *x) {
    ag_var *gate = nn_activate(m->activation, nn_linear(&m->gate_proj, x));
    return nn_linear(&m->down_proj, ag_mul(gate, nn_linear(&m->up_proj, x)));
}

/* ---- Blocks ---------------------------------------------------------------------------------------- */

enum { INPUT, CROSS, MLP };

static ag_var *norm(const struct nn_layer_norm *m, ag_var *x) {
    return m->bias ? nn_layer_norm(m, x) : ag_rms_norm(x, m->weight, m->eps);
}

static void init_norm(struct nn_layer_norm *m, nn_params *params, const char *name, int64_t width,
                      const nn_transformer_options *options) {
    struct nn_rms_norm rms;
    *m = (struct nn_layer_norm){0};
    if (!options->rms) {
        nn_layer_norm_init(m, params, name, width, options->eps);
        return;
    }
    nn_rms_norm_init(&rms, params, name, width, options->eps);
    m->weight = rms.weight;
    m->eps = rms.eps;
}

void nn_transformer_init(struct nn_transformer *m, nn_params *params, const char *name, int64_t width,
                         nn_transformer_options options) {
    static const char *const names[] = {"input_layernorm", "cross_attn_layernorm",
                                        "post_attention_layernorm"};
    nn_multihead_options self = options.attention;
    self.memory_width = 0;
    *m = (struct nn_transformer){
        .cross = options.cross, .gated = options.gated, .dropout = {options.mlp.dropout}};
    for (int i = INPUT; i <= MLP; i++)
        if (i != CROSS || options.cross)
            init_norm(&m->norm[i], params, nn_part(params, name, names[i]), width, &options);
    nn_multihead_init(&m->self_attn, params, nn_part(params, name, "self_attn"), width, self);
    if (options.cross)
        nn_multihead_init(&m->cross_attn, params, nn_part(params, name, "cross_attn"), width,
                          options.attention);
    if (options.gated)
        nn_gated_init(&m->gated_mlp, params, nn_part(params, name, "mlp"), width, options.gated_mlp);
    else
        nn_mlp_init(&m->mlp, params, nn_part(params, name, "mlp"), width, options.mlp);
}

static ag_var *mlp(const struct nn_transformer *m, ag_var *x, tensor_rng *dropout) {
    ag_var *h = norm(&m->norm[MLP], x);
    h = m->gated ? nn_dropout(&m->dropout, nn_gated(&m->gated_mlp, h), dropout) : nn_mlp(&m->mlp, h, dropout);
    return ag_add_in_place(h, x);
}

/* x[:, first:] with what self_attn adds to it. */
static ag_var *attend(const struct nn_transformer *m, ag_var *x, const nn_attend *how) {
    const int64_t first = first_row("transformer", x, how->first);
    if (first < 0) return NULL;
    ag_var *y = nn_multihead(&m->self_attn, norm(&m->norm[INPUT], x), *how);
    return ag_add_in_place(y, rows_from(x, first));
}

ag_var *nn_transformer(const struct nn_transformer *m, ag_var *x, nn_attend how) {
    if (x && m->cross) return ag_fail(x->tape, "transformer: a block with cross_attn needs a memory");
    return mlp(m, attend(m, x, &how), how.dropout);
}

ag_var *nn_transformer_cross(const struct nn_transformer *m, ag_var *x, ag_var *memory, nn_attend how,
                             nn_attend cross) {
    if (x && !m->cross) return ag_fail(x->tape, "transformer: the block has no cross_attn");
    x = attend(m, x, &how);
    x = ag_add_in_place(nn_multihead_cross(&m->cross_attn, norm(&m->norm[CROSS], x), memory, cross), x);
    return mlp(m, x, how.dropout);
}
