/* Sampo nn: modules and losses. */
#ifndef SAMPO_MODULES_H
#define SAMPO_MODULES_H

#include "sampo/params.h"

SAMPO_BEGIN_DECLS

/* ---- Modules ------------------------------------------------------------------------------ */

/* y = x W + b. W [in, out] (out_in: [out, in], as tied heads have it), b [out]. Initialised uniform in
 * +-1/sqrt(in), as torch.nn.Linear, or normal(0, deviation) with zero biases, as GPT-2, for deviation > 0. */
struct nn_linear {
    ag_var *weight, *bias; /* bias NULL: none */
    bool out_in;
};
typedef struct nn_linear_options {
    bool no_bias, out_in;
    float deviation;
    ag_var *tied; /* use this weight instead of registering one; the name becomes its alias */
    bool zero;    /* weight and bias begin as zeros */
} nn_linear_options;
#define NN_LINEAR_DEFAULTS (TENSOR_LITERAL(nn_linear_options){false, false, 0, NULL, false})
void nn_linear_init(struct nn_linear *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    nn_linear_options options);
ag_var *nn_linear(const struct nn_linear *m, ag_var *x);

/* Rows of a table [count, width], normal(0, deviation); torch.nn.Embedding has 1. ids int32. */
struct nn_embedding {
    ag_var *weight;
};
void nn_embedding_init(struct nn_embedding *m, nn_params *params, const char *name, int64_t count,
                       int64_t width, float deviation);
ag_var *nn_embedding(const struct nn_embedding *m, ag_var *ids);

/* y = ag_conv2d(x, weight, bias): x [N, in, H, W], weight [out, in / groups, height, width], bias [out], both uniform in
 * +-1/sqrt(in / groups height width), as torch.nn.Conv2d. Groups that do not divide in and out fail in the registry. */
struct nn_conv2d {
    ag_var *weight, *bias; /* bias NULL: none */
    tensor_windows windows;
};
typedef struct nn_conv2d_options {
    tensor_windows windows; /* {0}: a stride of 1, no padding, one group */
    bool no_bias;
} nn_conv2d_options;
#define NN_CONV2D_DEFAULTS (TENSOR_LITERAL(nn_conv2d_options){{{0, 0}, {0, 0}, {0, 0}, 0}, false})
void nn_conv2d_init(struct nn_conv2d *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    int64_t height, int64_t width, nn_conv2d_options options);
ag_var *nn_conv2d(const struct nn_conv2d *m, ag_var *x);

/* The same of one axis, with the first of each pair of the options: x [N, in, T], weight [out, in / groups, width];
 * torch.nn.Conv1d. */
struct nn_conv1d {
    ag_var *weight, *bias;
    tensor_windows windows;
};
void nn_conv1d_init(struct nn_conv1d *m, nn_params *params, const char *name, int64_t in, int64_t out,
                    int64_t width, nn_conv2d_options options);
ag_var *nn_conv1d(const struct nn_conv1d *m, ag_var *x);

/* y = ag_conv_transpose2d(x, weight, bias): x [N, in, H, W], weight [in, out / groups, height, width], bias [out],
 * uniform in +-1/sqrt(out / groups height width); and the same of one axis. torch.nn.ConvTranspose2d and 1d. */
struct nn_conv_transpose2d {
    ag_var *weight, *bias; /* bias NULL: none */
    tensor_windows windows;
    int64_t more[2];
};
struct nn_conv_transpose1d {
    ag_var *weight, *bias;
    tensor_windows windows;
    int64_t more;
};
typedef struct nn_conv_transpose2d_options {
    tensor_windows windows;
    int64_t more[2]; /* rows and columns of the result beyond the least */
    bool no_bias;
} nn_conv_transpose2d_options;
#define NN_CONV_TRANSPOSE2D_DEFAULTS                                                                         \
    (TENSOR_LITERAL(nn_conv_transpose2d_options){{{0, 0}, {0, 0}, {0, 0}, 0}, {0, 0}, false})
void nn_conv_transpose2d_init(struct nn_conv_transpose2d *m, nn_params *params, const char *name, int64_t in,
                              int64_t out, int64_t height, int64_t width,
                              nn_conv_transpose2d_options options);
ag_var *nn_conv_transpose2d(const struct nn_conv_transpose2d *m, ag_var *x);
void nn_conv_transpose1d_init(struct nn_conv_transpose1d *m, nn_params *params, const char *name, int64_t in,
                              int64_t out, int64_t width, nn_conv_transpose2d_options options);
ag_var *nn_conv_transpose1d(const struct nn_conv_transpose1d *m, ag_var *x);

/* Batch norm of channels of x [N, C, ...], weight 1, bias 0; torch.nn.BatchNorm1d and 2d. On a tape that records, mean
 * and variance are the batch's (of nn_parallel: the shard's), and the running ones, which are buffers, get
 * (1 - momentum) running + momentum batch, with the variance divided by count - 1, when the step is done (see
 * nn_buffer). On a tape that does not record, or where `fixed`, as in a part that is not trained, the running ones
 * count and stay. */
struct nn_batch_norm {
    ag_var *weight, *bias;
    ag_var *running_mean, *running_var; /* buffers [C], 0 and 1 at first */
    float eps;
    double momentum;
    bool fixed;
};
typedef struct nn_batch_norm_options {
    float eps;
    double momentum;
    bool fixed;
} nn_batch_norm_options;
#define NN_BATCH_NORM_DEFAULTS (TENSOR_LITERAL(nn_batch_norm_options){1e-5f, 0.1, false})
void nn_batch_norm_init(struct nn_batch_norm *m, nn_params *params, const char *name, int64_t channels,
                        nn_batch_norm_options options);
ag_var *nn_batch_norm(const struct nn_batch_norm *m, ag_var *x);

/* Group norm of channels of x [N, C, ...], weight 1, bias 0; torch.nn.GroupNorm. Groups that do not divide the channels
 * fail in the registry. */
struct nn_group_norm {
    ag_var *weight, *bias;
    int64_t groups;
    float eps;
};
#define NN_GROUP_NORM_EPS 1e-5f
void nn_group_norm_init(struct nn_group_norm *m, nn_params *params, const char *name, int64_t groups,
                        int64_t channels, float eps);
ag_var *nn_group_norm(const struct nn_group_norm *m, ag_var *x);

/* Layer normalisation over the last axis, weight 1, bias 0. */
struct nn_layer_norm {
    ag_var *weight, *bias;
    float eps;
};
#define NN_LAYER_NORM_EPS 1e-5f
void nn_layer_norm_init(struct nn_layer_norm *m, nn_params *params, const char *name, int64_t width,
                        float eps);
ag_var *nn_layer_norm(const struct nn_layer_norm *m, ag_var *x);

/* RMS normalisation over the last axis, weight 1; torch.nn.RMSNorm. */
struct nn_rms_norm {
    ag_var *weight;
    float eps;
};
void nn_rms_norm_init(struct nn_rms_norm *m, nn_params *params, const char *name, int64_t width, float eps);
ag_var *nn_rms_norm(const struct nn_rms_norm *m, ag_var *x);

/* Dropout of each element of x while rng is given, nothing without (evaluation). */
struct nn_dropout {
    float p;
};
ag_var *nn_dropout(const struct nn_dropout *m, ag_var *x, tensor_rng *rng);

/* The function of that name of each element of x: ag_relu, ag_gelu_tanh, ag_gelu, ag_silu. */
typedef enum nn_activation { NN_RELU, NN_GELU_TANH, NN_GELU, NN_SILU } nn_activation;
ag_var *nn_activate(nn_activation activation, ag_var *x);

/* Causal self-attention: x [B, T, C] -> projection of the attention of x's queries, keys and values.
 * Parameters c_attn [C, 3C] and c_proj [C, C], as GPT-2 names them. */
struct nn_attention {
    struct nn_linear c_attn, c_proj;
    struct nn_dropout dropout; /* after the projection */
    int heads;
    float scale;
};
typedef struct nn_attention_options {
    int heads;   /* divides the width */
    float scale; /* 0: 1 / sqrt(width / heads) */
    bool no_qkv_bias;
    float dropout;
    float deviation, projection_deviation; /* as in nn_linear_options */
    bool zero_projection;                  /* c_proj begins as zeros */
} nn_attention_options;
#define NN_ATTENTION_DEFAULTS (TENSOR_LITERAL(nn_attention_options){1, 0, false, 0, 0, 0, false})
void nn_attention_init(struct nn_attention *m, nn_params *params, const char *name, int64_t width,
                       nn_attention_options options);
ag_var *nn_attention(const struct nn_attention *m, ag_var *x, tensor_rng *dropout);
/* How much each token attends to those before it: ag_attention_weights of x's queries and keys. */
ag_var *nn_attention_weights(const struct nn_attention *m, ag_var *x);

/* c_proj(activation(c_fc(x))), then dropout: x [..., C] -> [..., C]. Parameters c_fc [C, hidden] and c_proj [hidden,
 * C]. */
struct nn_mlp {
    struct nn_linear c_fc, c_proj;
    struct nn_dropout dropout;
    nn_activation activation;
};
typedef struct nn_mlp_options {
    int64_t hidden; /* 0: 4 width */
    nn_activation activation;
    float dropout;
    float deviation, projection_deviation;
    bool zero_projection;
} nn_mlp_options;
#define NN_MLP_DEFAULTS (TENSOR_LITERAL(nn_mlp_options){0, NN_RELU, 0, 0, 0, false})
void nn_mlp_init(struct nn_mlp *m, nn_params *params, const char *name, int64_t width,
                 nn_mlp_options options);
ag_var *nn_mlp(const struct nn_mlp *m, ag_var *x, tensor_rng *dropout);

/* A transformer's block with its norms in front: x += attn(ln_1(x)); x += mlp(ln_2(x)); x [B, T, C]. Parameters as
 * GPT-2 names them: ln_1, attn, ln_2, mlp. */
struct nn_block {
    struct nn_layer_norm ln_1;
    struct nn_attention attn;
    struct nn_layer_norm ln_2;
    struct nn_mlp mlp;
};
void nn_block_init(struct nn_block *m, nn_params *params, const char *name, int64_t width,
                   nn_attention_options attention, nn_mlp_options mlp);
ag_var *nn_block(const struct nn_block *m, ag_var *x, tensor_rng *dropout);
/* The same where `values` [B, T, C] is added to the values of attention, all heads side by side: such as rows of a
 * table for each token, or for each pair of tokens, which then need not go through the block's input. */
ag_var *nn_block_with_values(const struct nn_block *m, ag_var *x, ag_var *values, tensor_rng *dropout);

/* ---- Writing token by token: keys and values are kept --------------------------------------- */

/* What is known of the tokens that a model has read, so that the tokens after them are computed alone: their keys and
 * values, or a recurrent state (sampo/recurrent.h); what a model has not is no tensor. Whoever runs the model adds the
 * number of new tokens to `length` after each run; 0 forgets everything. H is the number of key heads. */
typedef struct nn_cache {
    tensor k;       /* [layers, B, H, D, T]: a token's key is a column */
    tensor v;       /* [layers, B, H, T, D] */
    tensor state;   /* [parts, B, C] */
    int64_t length; /* tokens it holds: of keys and values up to T */
} nn_cache;
bool nn_cache_init(nn_cache *cache, int64_t layers, int64_t batch, int64_t heads, int64_t context,
                   int64_t head_size, tensor_arena *arena, tensor_error *err);
/* The same cache for rows begin..end-1 of the batch alone (clipped, as tensor_slice does), in the same memory: for
 * threads that share the rows. */
nn_cache nn_cache_rows(const nn_cache *cache, int64_t begin, int64_t end);
/* Appends *k and *v [B, H, N, D], those of the N tokens after the cache's, to a layer, and makes of them views of all
 * tokens so far: [B, H, length + N, D], for ag_attention with `causal`. A row of its result has the bits that it has for
 * the whole sequence at once. Rotary positions come before it, for positions from `length` on. Without recording only. */
bool nn_cache_append(const nn_cache *cache, int64_t layer, ag_var **k, ag_var **v);

/* nn_block without recording or dropout, where x [B, N, C] are the tokens after the cache's: appends their keys and
 * values to its layer `layer` and returns the results of x[:, first:], -1 being the last. */
ag_var *nn_block_cached(const struct nn_block *m, ag_var *x, const nn_cache *cache, int64_t layer,
                        int64_t first);
ag_var *nn_block_with_values_cached(const struct nn_block *m, ag_var *x, ag_var *values,
                                    const nn_cache *cache, int64_t layer,
                                    int64_t first); /* values [B, N, C] */

/* ---- Losses ------------------------------------------------------------------------------- */

ag_var *nn_cross_entropy(ag_var *logits, ag_var *targets); /* ag_cross_entropy: logits [..., V]; a scalar */
ag_var *nn_mse_loss(ag_var *x, ag_var *target);            /* mean of (x - target)^2; equal shapes */

SAMPO_END_DECLS
#endif
