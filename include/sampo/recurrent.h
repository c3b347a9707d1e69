/* Sampo nn: recurrent networks. */
#ifndef SAMPO_RECURRENT_H
#define SAMPO_RECURRENT_H

#include "sampo/modules.h"

SAMPO_BEGIN_DECLS

/* Elman's network h = tanh(a) (1990), a gated recurrent unit (Cho et al. 2014, in the form of cuDNN, where r is applied
 * after the product) and long short-term memory (Hochreiter & Schmidhuber 1997). With a = W_ih x + b_ih and b = W_hh h
 * + b_hh, in PyTorch's order of gates:
 *
 *     NN_RNN   h' = tanh(a + b)
 *     NN_GRU   r, z = sigmoid(a + b) of the first two parts; n = tanh(a_3 + r b_3); h' = (1 - z) n + z h
 *     NN_LSTM  i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of the parts of a + b; c' = f c + i g; h' = o tanh(c')
 */
typedef enum nn_cell_kind { NN_RNN, NN_GRU, NN_LSTM } nn_cell_kind;

/* What a layer remembers: h [B, H] and, of an LSTM, c [B, H]. NULL: zeros. */
typedef struct nn_hidden {
    ag_var *h, *c;
} nn_hidden;

/* One layer, with G = 1, 3 or 4 parts. Parameters as torch.nn.RNNCell, GRUCell and LSTMCell name and initialise them:
 * weight_ih [G H, in], weight_hh [G H, H], bias_ih and bias_hh [G H], uniform in +-1/sqrt(H). */
struct nn_cell {
    nn_cell_kind kind;
    int64_t hidden;
    ag_var *weight_ih, *weight_hh, *bias_ih, *bias_hh; /* biases NULL: none */
};
void nn_cell_init(struct nn_cell *m, nn_params *params, const char *name, nn_cell_kind kind, int64_t in,
                  int64_t hidden, bool no_bias);
/* The state after x [B, in]. It has NULL where something failed. */
nn_hidden nn_cell(const struct nn_cell *m, ag_var *x, nn_hidden state);

/* Layers one over the other, over whole sequences. Parameters as torch.nn.RNN, GRU and LSTM name them: weight_ih_l0,
 * weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l1 and so on. */
enum { NN_MAX_RECURRENT = 16 };
struct nn_recurrent {
    struct nn_cell layer[NN_MAX_RECURRENT];
    int layers;
    struct nn_dropout dropout; /* of what all layers but the last give */
};
typedef struct nn_recurrent_options {
    int layers; /* up to NN_MAX_RECURRENT */
    bool no_bias;
    float dropout;
} nn_recurrent_options;
#define NN_RECURRENT_DEFAULTS (TENSOR_LITERAL(nn_recurrent_options){1, false, 0})
void nn_recurrent_init(struct nn_recurrent *m, nn_params *params, const char *name, nn_cell_kind kind,
                       int64_t in, int64_t hidden, nn_recurrent_options options);
/* x [B, T, in] -> h of the last layer after each step [B, T, H], T >= 1. `states` [layers] holds the states before it and
 * receives those after it; NULL: zeros, and nobody asks. A sequence's inputs are one product. */
ag_var *nn_recurrent(const struct nn_recurrent *m, ag_var *x, nn_hidden *states, tensor_rng *dropout);

/* The state of B rows as the state of a cache, zeros: [layers or, of an LSTM, 2 layers, B, H]. */
bool nn_recurrent_cache(const struct nn_recurrent *m, nn_cache *cache, int64_t batch, tensor_arena *arena,
                        tensor_error *err);
/* nn_recurrent without dropout for the tokens after the cache's, whose state it then holds. Without recording only. */
ag_var *nn_recurrent_cached(const struct nn_recurrent *m, ag_var *x, const nn_cache *cache);

SAMPO_END_DECLS
#endif
