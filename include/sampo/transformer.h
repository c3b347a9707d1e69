/* Sampo nn: attention in its general form, gated layers, and the blocks of encoders and decoders. */
#ifndef SAMPO_TRANSFORMER_H
#define SAMPO_TRANSFORMER_H

#include "sampo/modules.h"

SAMPO_BEGIN_DECLS

/* nn_attention and nn_block of sampo/modules.h are the short way for GPT-2's form. These have the parameters of Llama,
 * under the names of its published files. */

/* ---- Attention ------------------------------------------------------------------------------ */

/* Cosines and sines [count, D/2] of the positions from `first` on, for heads of D, on the tape (Su et al. 2021). */
typedef struct nn_rotary {
    tensor cos, sin;
    bool interleaved; /* as in ag_rotary */
} nn_rotary;
nn_rotary nn_rotary_positions(ag_tape *tape, int64_t first, int64_t count, int64_t head_size, double base);

/* Attention of H heads of D, whose keys and values have H_kv heads: o_proj(attention(q_proj(x), k_proj(m), v_proj(m)))
 * of x [B, T, C] on m [B, Tk, M], or on x itself. q_proj [C, H D], k_proj and v_proj [M, H_kv D], o_proj [H D, C]. */
struct nn_multihead {
    struct nn_linear q_proj, k_proj, v_proj, o_proj;
    struct nn_dropout dropout; /* after o_proj */
    int heads, key_heads;
    float scale;
};
typedef struct nn_multihead_options {
    int heads;
    int key_heads;        /* divides the heads; 0: as many */
    int64_t head_size;    /* 0: width / heads, which must be whole */
    int64_t memory_width; /* M; 0: the width */
    float scale;          /* 0: 1 / sqrt(head size) */
    bool no_bias;         /* of queries, keys and values */
    bool no_out_bias;
    bool out_in; /* as in nn_linear_options, and so are the next two */
    float deviation, out_deviation;
    float dropout;
} nn_multihead_options;
#define NN_MULTIHEAD_DEFAULTS                                                                                \
    (TENSOR_LITERAL(nn_multihead_options){1, 0, 0, 0, 0, false, false, false, 0, 0, 0})
void nn_multihead_init(struct nn_multihead *m, nn_params *params, const char *name, int64_t width,
                       nn_multihead_options options);

/* How attention is called; {0}: x on all of itself. */
typedef struct nn_attend {
    bool causal;
    ag_var *mask; /* as in ag_attention_options */
    bool additive;
    nn_rotary rotary;    /* of x's tokens, and of m's where that is x; no tensors: none */
    tensor_rng *dropout; /* NULL: none */
    /* NULL, or what holds the tokens before x, whose keys and values are appended to its layer `layer`; see nn_cache. */
    const nn_cache *cache;
    int64_t layer;
    int64_t first; /* only the results of x[:, first:] are wanted; -1: of the last token */
} nn_attend;
/* Self-attention, and attention to memory [B, Tk, M], which no cache holds. [B, T - first, C]. */
ag_var *nn_multihead(const struct nn_multihead *m, ag_var *x, nn_attend how);
ag_var *nn_multihead_cross(const struct nn_multihead *m, ag_var *x, ag_var *memory, nn_attend how);
/* How much each token attends to each: [B, H, T, T] of self-attention, without a cache. */
ag_var *nn_multihead_weights(const struct nn_multihead *m, ag_var *x, nn_attend how);

/* ---- Gated layers ------------------------------------------------------------------------------ */

/* x [..., C] -> down_proj(activation(gate_proj(x)) up_proj(x)) [..., C] (Shazeer 2020); with NN_SILU it is SwiGLU. */
struct nn_gated {
    struct nn_linear gate_proj, up_proj, down_proj;
    nn_activation activation;
};
typedef struct nn_gated_options {
    int64_t hidden; /* 0: 8/3 width, rounded up */
    nn_activation activation;
    bool no_bias, out_in;
    float deviation, down_deviation;
} nn_gated_options;
#define NN_GATED_DEFAULTS (TENSOR_LITERAL(nn_gated_options){0, NN_SILU, false, false, 0, 0})
void nn_gated_init(struct nn_gated *m, nn_params *params, const char *name, int64_t width,
                   nn_gated_options options);
ag_var *nn_gated(const struct nn_gated *m, ag_var *x);

/* ---- Blocks ------------------------------------------------------------------------------------- */

/* A block of an encoder or of a decoder, each part with its norm in front:
 *
 *     x += self_attn(input_layernorm(x))
 *     x += cross_attn(cross_attn_layernorm(x), memory)    if it has that
 *     x += mlp(post_attention_layernorm(x))
 *
 * The norms are layer norms or RMS norms, mlp is nn_mlp or nn_gated. */
struct nn_transformer {
    struct nn_layer_norm norm[3]; /* bias NULL: an RMS norm */
    struct nn_multihead self_attn, cross_attn;
    struct nn_mlp mlp;
    struct nn_gated gated_mlp;
    struct nn_dropout dropout; /* after gated_mlp, as nn_mlp has it */
    bool cross, gated;
};
typedef struct nn_transformer_options {
    nn_multihead_options attention; /* of both; memory_width is cross_attn's */
    nn_mlp_options mlp;
    nn_gated_options gated_mlp;
    float eps; /* of the norms */
    bool cross, gated, rms;
} nn_transformer_options;
#define NN_TRANSFORMER_DEFAULTS                                                                              \
    (TENSOR_LITERAL(nn_transformer_options){NN_MULTIHEAD_DEFAULTS, NN_MLP_DEFAULTS, NN_GATED_DEFAULTS,       \
                                            NN_LAYER_NORM_EPS, false, false, false})
void nn_transformer_init(struct nn_transformer *m, nn_params *params, const char *name, int64_t width,
                         nn_transformer_options options);
/* x [B, T, C] -> [B, T, C]. `how` is self_attn's. An encoder's block has nothing in it, a decoder's `causal`. */
ag_var *nn_transformer(const struct nn_transformer *m, ag_var *x, nn_attend how);
/* The same of a block with cross_attn, memory [B, S, C]. Its `how` is {0} but for a mask, where some of memory is
 * padding. */
ag_var *nn_transformer_cross(const struct nn_transformer *m, ag_var *x, ag_var *memory, nn_attend how,
                             nn_attend cross);

SAMPO_END_DECLS
#endif
