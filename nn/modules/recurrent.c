/* Recurrent networks, step by step over the products of whole sequences. */
#include "nn/params/params.h"

#include <math.h>
#include <string.h>

static int64_t parts_of(nn_cell_kind kind) {
    return kind == NN_LSTM ? 4 : kind == NN_GRU ? 3 : 1;
}

/* ---- What they register --------------------------------------------------------------------------- */

static void register_cell(struct nn_cell *m, nn_params *params, const char *name, const char *suffix,
                          bool no_bias, int64_t in) {
    const nn_init init = NN_UNIFORM(m->hidden > 0 ? 1 / sqrt((double)m->hidden) : 0);
    const char *names[4] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    ag_var **const weights[4] = {&m->weight_ih, &m->weight_hh, &m->bias_ih, &m->bias_hh};
    int64_t rows;
    if (__builtin_mul_overflow(m->hidden, parts_of(m->kind), &rows)) rows = -1; /* which nn_param refuses */
    for (int i = 0; i < (no_bias ? 2 : 4); i++) {
        const int64_t shape[2] = {rows, i == 0 ? in : m->hidden};
        const char *full = name ? nn_name(params, "%s.%s%s", name, names[i], suffix) : NULL;
        *weights[i] = nn_param(params, full, init, i < 2 ? 2 : 1, shape);
        if (i > 1) continue;
        nn_set_form(params, *weights[i], NN_OUT_IN);
        nn_set_parts(params, *weights[i], (int)parts_of(m->kind));
    }
}

void nn_cell_init(struct nn_cell *m, nn_params *params, const char *name, nn_cell_kind kind, int64_t in,
                  int64_t hidden, bool no_bias) {
    *m = (struct nn_cell){.kind = kind, .hidden = hidden};
    register_cell(m, params, name, "", no_bias, in);
}

void nn_recurrent_init(struct nn_recurrent *m, nn_params *params, const char *name, nn_cell_kind kind,
                       int64_t in, int64_t hidden, nn_recurrent_options options) {
    *m = (struct nn_recurrent){.dropout = {options.dropout}};
    if (options.layers < 1 || options.layers > NN_MAX_RECURRENT) {
        tensor_fail(params ? &params->error : NULL, "%s: %d layers are not 1 to %d",
                    name ? name : "recurrent", options.layers, NN_MAX_RECURRENT);
        return;
    }
    m->layers = options.layers;
    for (int i = 0; i < options.layers; i++) {
        const char *suffix = nn_name(params, "_l%d", i);
        m->layer[i] = (struct nn_cell){.kind = kind, .hidden = hidden};
        if (suffix) register_cell(&m->layer[i], params, name, suffix, options.no_bias, i == 0 ? in : hidden);
    }
}

/* ---- A step ------------------------------------------------------------------------------------- */

/* A weight [G H, n] as [n, G H], to multiply with. One that many steps use is copied, so that its rows are neighbours. */
static ag_var *turned(ag_var *weight, ag_tape *tape, bool copied) {
    if (weight && weight->compact) return weight;
    ag_var *w = ag_transpose(ag_use(tape, weight), 0, 1);
    return copied ? ag_concat(&w, 1, 0) : w;
}

/* W_ih x + b_ih; a gated recurrent unit alone needs the other bias for itself. */
static ag_var *input_product(const struct nn_cell *m, ag_var *x) {
    ag_tape *tape = ag_tape_of(x);
    ag_var *w = turned(m->weight_ih, tape, false);
    if (!m->bias_ih) return ag_linear_no_bias(x, w);
    ag_var *bias = ag_use(tape, m->bias_ih);
    return ag_linear(x, w, m->kind == NN_GRU ? bias : ag_add(bias, ag_use(tape, m->bias_hh)));
}

static ag_var *state_product(const struct nn_cell *m, ag_var *h, ag_var *w) {
    return m->kind == NN_GRU && m->bias_hh ? ag_linear(h, w, m->bias_hh) : ag_linear_no_bias(h, w);
}

/* Parts begin..end-1 of a row. */
static ag_var *parts(const struct nn_cell *m, ag_var *x, int begin, int end) {
    return ag_slice(x, 1, begin * m->hidden, end * m->hidden, 1);
}

/* The next state from a, the input's product [B, G H], and W_hh. */
static nn_hidden step(const struct nn_cell *m, ag_var *a, ag_var *w, nn_hidden s) {
    ag_var *b = state_product(m, s.h, w);
    if (m->kind == NN_RNN) return (nn_hidden){.h = ag_tanh(ag_add_in_place(b, a))};
    if (m->kind == NN_GRU) {
        ag_var *gates = ag_sigmoid(ag_add(parts(m, b, 0, 2), parts(m, a, 0, 2)));
        ag_var *r = parts(m, gates, 0, 1), *z = parts(m, gates, 1, 2);
        ag_var *n = ag_tanh(ag_add(ag_mul(r, parts(m, b, 2, 3)), parts(m, a, 2, 3)));
        return (nn_hidden){.h = ag_add(n, ag_mul(z, ag_sub(s.h, n)))};
    }
    ag_var *all = ag_add_in_place(b, a), *first = ag_sigmoid(parts(m, all, 0, 2));
    ag_var *i = parts(m, first, 0, 1), *f = parts(m, first, 1, 2), *g = ag_tanh(parts(m, all, 2, 3));
    ag_var *o = ag_sigmoid(parts(m, all, 3, 4));
    ag_var *kept = ag_mul(f, s.c), *c = ag_add(kept, ag_mul(i, g));
    return (nn_hidden){ag_mul(o, ag_tanh(c)), c};
}

static ag_var *zeros(ag_tape *tape, int64_t rows, int64_t width) {
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(rows, width));
    return tensor_ok(x) && tensor_fill(x, 0, NULL) ? ag_input(tape, x) : NULL;
}

/* Zeros where there is no state; NULL where it is not [B, H], as it would be broadcast. */
static ag_var *state_of(const struct nn_cell *m, ag_var *s, ag_tape *tape, int64_t rows) {
    if (!s) return zeros(tape, rows, m->hidden);
    if (ag_rank(s) == 2 && ag_size(s, 0) == rows && ag_size(s, 1) == m->hidden) return s;
    char is[TENSOR_SHAPE_TEXT];
    return ag_fail(tape, "cell: a state is %s, expected [%lld, %lld]",
                   tensor_shape_text(is, sizeof is, s->value.rank, s->value.shape), (long long)rows,
                   (long long)m->hidden);
}

static nn_hidden begin(const struct nn_cell *m, nn_hidden s, ag_tape *tape, int64_t rows) {
    s.h = state_of(m, s.h, tape, rows);
    if (m->kind == NN_LSTM) s.c = state_of(m, s.c, tape, rows);
    return s;
}

nn_hidden nn_cell(const struct nn_cell *m, ag_var *x, nn_hidden state) {
    if (!x) return (nn_hidden){0};
    if (ag_rank(x) != 2) {
        ag_fail(ag_tape_of(x), "cell: needs [B, in], not rank %d", ag_rank(x));
        return (nn_hidden){0};
    }
    ag_tape *tape = ag_tape_of(x);
    state = begin(m, state, tape, ag_size(x, 0));
    return step(m, input_product(m, x), turned(m->weight_hh, tape, false), state);
}

/* ---- Sequences ------------------------------------------------------------------------------------ */

/* h after each step [B, T, H]; *s becomes the last state. */
static ag_var *run_layer(const struct nn_cell *m, ag_var *x, nn_hidden *s) {
    ag_tape *tape = ag_tape_of(x);
    if (!x) return NULL;
    const int64_t count = ag_size(x, 1);
    ag_var *w = turned(m->weight_hh, tape, count > 1), *a = input_product(m, x);
    /* The tape's memory for a list of pointers: a tensor of as many bytes. */
    const tensor list = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(count, sizeof(ag_var *) / sizeof(int32_t)));
    if (!tensor_ok(list)) return NULL;
    ag_var **h = list.data;
    *s = begin(m, *s, tape, ag_size(x, 0));
    for (int64_t t = 0; t < count; t++) {
        *s = step(m, ag_select(a, 1, t), w, *s);
        h[t] = ag_unsqueeze(s->h, 1);
    }
    return count == 1 ? h[0] : ag_concat(h, (int)count, 1);
}

ag_var *nn_recurrent(const struct nn_recurrent *m, ag_var *x, nn_hidden *states, tensor_rng *dropout) {
    if (!x) return NULL;
    if (m->layers < 1 || m->layers > NN_MAX_RECURRENT)
        return ag_fail(x->tape, "recurrent: it has %d layers, not 1 to %d", m->layers, NN_MAX_RECURRENT);
    if (ag_rank(x) != 3 || ag_size(x, 1) < 1)
        return ag_fail(x->tape, "recurrent: needs [B, T, in] of one step or more, not rank %d and %lld steps",
                       ag_rank(x), (long long)(ag_rank(x) > 1 ? ag_size(x, 1) : 0));
    for (int i = 0; i < m->layers; i++) {
        nn_hidden state = states ? states[i] : (nn_hidden){0};
        x = run_layer(&m->layer[i], x, &state);
        if (states) states[i] = state;
        if (i < m->layers - 1) x = nn_dropout(&m->dropout, x, dropout);
    }
    return x;
}

/* ---- A cache ----------------------------------------------------------------------------------------- */

bool nn_recurrent_cache(const struct nn_recurrent *m, nn_cache *cache, int64_t batch, tensor_arena *arena,
                        tensor_error *err) {
    const int64_t each = m->layer[0].kind == NN_LSTM ? 2 : 1;
    *cache =
        (nn_cache){.state = tensor_zeros(arena, TENSOR_F32,
                                         TENSOR_SHAPE(each * m->layers, batch, m->layer[0].hidden), err)};
    return tensor_ok(cache->state);
}

/* Part number i of the state: [B, H]. */
static tensor part_at(const nn_cache *cache, int64_t i) {
    return tensor_squeeze(tensor_slice(cache->state, 0, i, i + 1, 1, NULL), 0, NULL);
}

ag_var *nn_recurrent_cached(const struct nn_recurrent *m, ag_var *x, const nn_cache *cache) {
    nn_hidden states[NN_MAX_RECURRENT] = {{0}};
    const int64_t each = m->layer[0].kind == NN_LSTM ? 2 : 1;
    if (!x) return NULL;
    ag_tape *tape = x->tape;
    if (x->needs_grad || !tensor_ok(cache->state) || cache->state.shape[0] != each * m->layers)
        return ag_fail(tape, "recurrent: a cache of %d layers, without gradients, is needed", m->layers);
    for (int64_t i = 0; cache->length > 0 && i < m->layers; i++) {
        states[i].h = ag_input(tape, part_at(cache, each * i));
        if (each == 2) states[i].c = ag_input(tape, part_at(cache, each * i + 1));
    }
    ag_var *y = nn_recurrent(m, x, states, NULL);
    if (!y) return NULL;
    tensor_error err = {0};
    for (int64_t i = 0; i < m->layers; i++)
        if (!tensor_copy(part_at(cache, each * i), states[i].h->value, &err) ||
            (each == 2 && !tensor_copy(part_at(cache, each * i + 1), states[i].c->value, &err)))
            return ag_fail(tape, "recurrent: %s", err.text);
    return y;
}
