/* Backward through time: an Elman network and a gated recurrent unit (Cho et al. 2014), built of plain operations over a
 * sequence of 1024 steps, forward and backward on one tape.
 *
 *     build/benches/recurrent [--threads N] [--json FILE]
 */
#include "benches/measure.h"
#include "sampo/nn.h"

enum { STEPS = 1024, BATCH = 16, WIDTH = 64, TURNS = 11 };

typedef struct network {
    nn_params *params;
    ag_tape *tape;
    struct nn_linear input, hidden;
    tensor x; /* [BATCH, STEPS, WIDTH] */
    bool gated;
} network;

/* h = tanh(x + W h + b) */
static ag_var *elman(const network *m, ag_var *x, ag_var *h) {
    for (int64_t t = 0; t < STEPS; t++) h = ag_tanh(ag_add(ag_select(x, 1, t), nn_linear(&m->hidden, h)));
    return h;
}

/* Part i of three. */
static ag_var *gate(ag_var *x, int64_t i) {
    return ag_slice(x, 1, i * WIDTH, (i + 1) * WIDTH, 1);
}

/* r, z = sigmoid(U x + W h); n = tanh(U x + r W h); h = n + z (h - n): the inputs' products are one for all steps. */
static ag_var *gru(const network *m, ag_var *x, ag_var *h) {
    ag_var *all = nn_linear(&m->input, x);
    for (int64_t t = 0; t < STEPS; t++) {
        ag_var *u = ag_select(all, 1, t), *w = nn_linear(&m->hidden, h);
        ag_var *reset = ag_sigmoid(ag_add(gate(u, 0), gate(w, 0)));
        ag_var *update = ag_sigmoid(ag_add(gate(u, 1), gate(w, 1)));
        ag_var *new = ag_tanh(ag_add(gate(u, 2), ag_mul(reset, gate(w, 2))));
        h = ag_add(new, ag_mul(update, ag_sub(h, new)));
    }
    return h;
}

static double step(void *context) {
    network *m = context;
    const double begin = now();
    ag_reset(m->tape);
    ag_var *x = ag_variable(m->tape, m->x);
    const tensor zeros = ag_tensor(m->tape, TENSOR_F32, TENSOR_SHAPE(BATCH, WIDTH));
    tensor_fill(zeros, 0, NULL);
    ag_var *h = ag_input(m->tape, zeros);
    h = m->gated ? gru(m, x, h) : elman(m, x, h);
    nn_zero_grad(m->params);
    const bool ok = nn_backward(m->params, ag_mean(h, AG_ALL, false));
    return ok ? now() - begin : -1;
}

static bool measure(bench *b, bool gated, tensor_arena *arena, tensor_error *err) {
    network m = {.gated = gated, .params = nn_params_new(), .tape = ag_tape_new()};
    const int64_t parts = gated ? 3 : 1;
    nn_linear_init(&m.input, m.params, "input", WIDTH, parts * WIDTH, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m.hidden, m.params, "hidden", WIDTH, parts * WIDTH, NN_LINEAR_DEFAULTS);
    m.x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(BATCH, STEPS, WIDTH), err);
    bench_side side = {.run = step, .context = &m};
    bool ok = nn_params_finalize(m.params, 1) && tensor_rand_normal(m.x, &(tensor_rng){.seed = 1}, 0, 1, err);
    ok = ok && bench_alternate(b, &side, 1, TURNS);
    if (ok)
        bench_row(b, (bench_cell[]){cell_text(gated ? "GRU" : "Elman"),
                                    cell_figure(figure_times(side.seconds, 1e3)),
                                    cell_number((double)ag_tape_bytes(m.tape) / 1e6)});
    else if (!ag_ok(m.tape))
        tensor_fail(err, "%s", ag_error(m.tape));
    ag_tape_free(m.tape);
    nn_params_free(m.params);
    return ok;
}

int main(int argc, char **argv) {
    bench b;
    const int status = bench_begin(&b, "recurrent", "Backward through time", NULL, argc, argv);
    if (status >= 0) return status;
    static const bench_column columns[] = {
        {"network", "network", -8, 0}, {"ms", "ms a step", 14, 2}, {"tape_mb", "tape MB", 8, 1}, {0}};
    bench_table(&b, "1024 steps, batch 16, width 64, forward and backward", columns);
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    const bool ok = arena && measure(&b, false, arena, &err) && measure(&b, true, arena, &err);
    tensor_arena_free(arena);
    if (!ok) tensor_fail(&err, "it failed");
    return bench_end(&b, &err);
}
