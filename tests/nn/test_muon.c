/* Muon: PyTorch's values, both layouts of a weight, weights that stand beside each other, groups, threads. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* ---- PyTorch's values ---------------------------------------------------------------------------- */

enum { MOST = 12, STEPS = 3 };

/* Weight and gradients by a formula that Python has as well: ((37 i + 11) mod 61) / 30 - 1, and of step s
 * ((53 i + 17 s + 5) mod 71) / 35 - 1. */
static float weight_at(int i) {
    return (float)((37 * i + 11) % 61) / 30 - 1;
}
static float gradient_at(int i, int step) {
    return (float)((53 * i + 17 * step + 5) % 71) / 35 - 1;
}

/* Three steps of torch.optim.Muon of PyTorch 2.15 with lr 0.1, weight_decay 0.2 and momentum 0.8, in float64: in a copy
 * of the module torch.optim._muon where torch.bfloat16 is replaced by torch.float64. */
static const struct {
    int64_t out, in;
    bool nesterov;
    double values[MOST]; /* [out, in] */
} cases[] = {
    {4,
     3,
     true,
     {-0.431153482, 0.611275793, -0.189238999, -0.917243349, 0.349026316, -0.451092136, 0.661346593,
      -0.114233077, -0.680888334, 0.366298130, -0.462287130, 0.716052110}},
    {4,
     3,
     false,
     {-0.363150594, 0.606020815, -0.189464613, -0.907915276, 0.419780836, -0.493675998, 0.676465002,
      -0.126681456, -0.597873394, 0.361596480, -0.488722049, 0.766993172}},
    {2,
     5,
     true,
     {-0.470841022, 0.606545268, -0.186497195, -0.960976633, 0.353230841, -0.478058549, 0.642076831,
      -0.141242051, -0.743263845, 0.345982915}},
    {2,
     5,
     false,
     {-0.436136705, 0.581708452, -0.218560933, -0.936908418, 0.388417867, -0.506767785, 0.607847046,
      -0.115243395, -0.706926964, 0.317413273}},
    {3,
     3,
     true,
     {-0.438995618, 0.640024000, -0.198342353, -0.945106979, 0.342889859, -0.447455793, 0.627079649,
      -0.121363947, -0.706455559}},
    {3,
     3,
     false,
     {-0.334249660, 0.594684136, -0.209225484, -0.951316000, 0.410353900, -0.495819701, 0.635035207,
      -0.120547476, -0.615031131}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Trains one weight; values receives it as [out, in]. */
static void train(int c, bool out_in, float values[MOST]) {
    const int64_t out = cases[c].out, in = cases[c].in;
    nn_params *params = nn_params_new();
    struct nn_linear linear;
    nn_linear_init(&linear, params, "w", in, out, (nn_linear_options){.no_bias = true, .out_in = out_in});
    cr_assert(nn_params_finalize(params, 1), "%s", nn_params_error(params));
    tensor p = linear.weight->value, g = nn_grad(params, linear.weight);
    if (!out_in) p = tensor_transpose(p, 0, 1, NULL), g = tensor_transpose(g, 0, 1, NULL);
    struct nn_muon muon;
    cr_assert(nn_muon_init(
        &muon, params,
        (nn_muon_options){
            .rate = 0.1, .momentum = 0.8, .eps = 1e-7, .decay = 0.2, .nesterov = cases[c].nesterov}));
    for (int step = -1; step < STEPS; step++) {
        for (int i = 0; i < out * in; i++) {
            const int64_t row = i / in, column = i % in;
            if (step < 0) p.f32[row * p.stride[0] + column * p.stride[1]] = weight_at(i);
            if (step >= 0) g.f32[row * g.stride[0] + column * g.stride[1]] = gradient_at(i, step);
        }
        nn_grads(params);
        if (step >= 0) cr_assert(nn_muon_step(&muon, params), "%s", nn_params_error(params));
    }
    for (int i = 0; i < out * in; i++) values[i] = p.f32[i / in * p.stride[0] + i % in * p.stride[1]];
    nn_params_free(params);
}

Test(muon, values_of_pytorch) {
    for (int c = 0; c < CASES; c++) {
        float values[MOST];
        train(c, true, values);
        for (int i = 0; i < cases[c].out * cases[c].in; i++)
            cr_expect_float_eq((double)values[i], cases[c].values[i], 2e-5, "case %d, number %d: %.9f", c, i,
                               (double)values[i]);
    }
}

Test(muon, both_layouts_have_the_same_bits) {
    for (int c = 0; c < CASES; c++) {
        float one[MOST], other[MOST];
        train(c, true, one);
        train(c, false, other);
        cr_expect_eq(memcmp(one, other, (size_t)(cases[c].out * cases[c].in) * sizeof *one), 0, "case %d", c);
    }
}

Test(muon, defaults_are_those_of_pytorch) {
    const nn_muon_options o = NN_MUON_DEFAULTS;
    cr_expect(o.rate == 1e-3 && o.momentum == 0.95 && o.eps == 1e-7 && o.decay == 0.1 && o.nesterov);
}

/* ---- A block ------------------------------------------------------------------------------------- */

enum { WIDTH = 24 };

typedef struct model {
    nn_params *params;
    struct nn_embedding table;
    struct nn_block block;
    struct nn_muon muon;
    struct nn_adamw adamw;
} model;

static const nn_group hidden[] = {{"*.c_*.weight", 1}, {"*", 0}, {0}};
static const nn_group others[] = {{"*.c_*.weight", 0}, {0}};

static void build(model *m) {
    m->params = nn_params_new();
    nn_embedding_init(&m->table, m->params, "table", 7, WIDTH, 1);
    nn_block_init(&m->block, m->params, "h.0", WIDTH, (nn_attention_options){.heads = 2}, NN_MLP_DEFAULTS);
    cr_assert(nn_params_finalize(m->params, 3));
    nn_muon_options muon = NN_MUON_DEFAULTS;
    nn_adamw_options adamw = NN_ADAMW_DEFAULTS;
    muon.groups = hidden;
    adamw.groups = others;
    cr_assert(nn_muon_init(&m->muon, m->params, muon), "%s", nn_params_error(m->params));
    cr_assert(nn_adamw_init(&m->adamw, m->params, adamw));
}

static void draw_gradients(model *m, uint64_t step) {
    cr_assert(tensor_rand_normal(nn_grads(m->params), &(tensor_rng){7, step, 0}, 0, 0.5f, NULL));
}

static void *copy_values(const nn_params *params) {
    const size_t bytes = (size_t)nn_params_count(params) * sizeof(float);
    return memcpy(malloc(bytes), nn_values(params).f32, bytes);
}

Test(muon, any_number_of_threads_has_the_same_bits) {
    float *first = NULL;
    for (int threads = 1; threads <= 5; threads++) {
        model m;
        cr_assert(tensor_set_threads(threads, NULL));
        build(&m);
        for (uint64_t step = 0; step < 4; step++) {
            draw_gradients(&m, step);
            if (step == 2) cr_assert(tensor_set_threads(6 - threads, NULL)); /* and when it changes */
            cr_assert(nn_muon_step(&m.muon, m.params));
        }
        float *values = copy_values(m.params);
        if (!first)
            first = values;
        else
            cr_expect_eq(memcmp(first, values, (size_t)nn_params_count(m.params) * sizeof *values), 0,
                         "%d threads", threads);
        if (first != values) free(values);
        nn_params_free(m.params);
    }
    free(first);
}

/* Each number belongs to one of the two optimizers. */
Test(muon, shares_the_parameters_with_adamw) {
    model m;
    build(&m);
    for (int turn = 0; turn < 2; turn++) {
        float *before = copy_values(m.params);
        const float *now = nn_values(m.params).f32;
        draw_gradients(&m, (uint64_t)turn);
        cr_assert(turn ? nn_adamw_step(&m.adamw, m.params) : nn_muon_step(&m.muon, m.params));
        for (int i = 0; i < nn_params_entries(m.params); i++) {
            const char *name = nn_params_name(m.params, i);
            const tensor value = nn_params_at(m.params, i)->value;
            const bool matrix = strstr(name, ".c_") && strstr(name, ".weight");
            int64_t changed = 0;
            for (int64_t k = value.f32 - now, end = k + tensor_size(value); k < end; k++)
                changed += now[k] != before[k];
            if (matrix != turn)
                cr_expect_gt(changed, tensor_size(value) * 9 / 10, "%s, turn %d", name, turn);
            else
                cr_expect_eq(changed, 0, "%s, turn %d", name, turn);
        }
        free(before);
    }
    nn_params_free(m.params);
}

/* Queries, keys and values beside each other change as three weights. */
Test(muon, parts_are_weights_of_their_own) {
    model m;
    build(&m);
    nn_params *params = nn_params_new();
    struct nn_linear apart[3];
    for (int k = 0; k < 3; k++)
        nn_linear_init(&apart[k], params, nn_name(params, "%d", k), WIDTH, WIDTH,
                       (nn_linear_options){.no_bias = true});
    cr_assert(nn_params_finalize(params, 1));
    struct nn_muon muon;
    cr_assert(nn_muon_init(&muon, params, NN_MUON_DEFAULTS));
    const ag_var *all = m.block.attn.c_attn.weight;
    for (uint64_t step = 0; step < 3; step++) {
        draw_gradients(&m, step);
        for (int k = 0; k < 3; k++) {
            const int64_t from = k * WIDTH, to = from + WIDTH;
            tensor part = tensor_slice(nn_grad(m.params, all), 1, from, to, 1, NULL);
            cr_assert(tensor_copy(nn_grad(params, apart[k].weight), part, NULL));
            if (step == 0)
                cr_assert(tensor_copy(apart[k].weight->value, tensor_slice(all->value, 1, from, to, 1, NULL),
                                      NULL));
        }
        nn_grads(params);
        cr_assert(nn_muon_step(&m.muon, m.params) && nn_muon_step(&muon, params));
    }
    for (int i = 0; i < WIDTH; i++)
        for (int k = 0; k < 3; k++)
            cr_expect_eq(memcmp(&all->value.f32[(i * 3 + k) * WIDTH], &apart[k].weight->value.f32[i * WIDTH],
                                WIDTH * sizeof(float)),
                         0, "row %d of part %d", i, k);
    nn_params_free(params);
    nn_params_free(m.params);
}

/* So do the gates of a recurrent network: the room is that of one of them. */
Test(muon, gates_are_weights_of_their_own) {
    static const int gates[] = {[NN_RNN] = 1, [NN_GRU] = 3, [NN_LSTM] = 4};
    const nn_muon_options options = NN_MUON_DEFAULTS;
    cr_assert(tensor_set_threads(1, NULL));
    for (int kind = NN_RNN; kind <= NN_LSTM; kind++) {
        nn_params *params = nn_params_new();
        struct nn_cell cell;
        nn_cell_init(&cell, params, "cell", (nn_cell_kind)kind, 12, 8, true);
        cr_expect_eq(nn_muon_numbers(params, &options), gates[kind] * (12 + 8) * 8 + 2 * 8 * 12 + 2 * 8 * 8);
        nn_params_free(params);
    }
}

/* ---- Groups -------------------------------------------------------------------------------------- */

/* By how much AdamW's first step, which is the rate, is multiplied for a parameter of this name. */
static double factor_of(const char *name, const nn_group *groups) {
    nn_params *params = nn_params_new();
    struct nn_adamw adamw;
    nn_param(params, "1", NN_ONES, TENSOR_SHAPE(3));
    ag_var *p = nn_param(params, name, NN_ZEROS, TENSOR_SHAPE(2));
    nn_param(params, "2", NN_ONES, TENSOR_SHAPE(5));
    cr_assert(nn_params_finalize(params, 1));
    nn_adamw_options options = {.rate = 0.25, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-12, .groups = groups};
    cr_assert(nn_adamw_init(&adamw, params, options));
    cr_assert(tensor_fill(nn_grads(params), -1, NULL));
    cr_assert(nn_adamw_step(&adamw, params));
    for (int i = 0; i < 10; i++)
        if (i < 3 || i > 4) cr_expect_float_eq((double)nn_values(params).f32[i], 1.25, 1e-6);
    const double factor = (double)p->value.f32[1] / 0.25;
    nn_params_free(params);
    return factor;
}

Test(groups, the_first_that_fits_counts) {
    const nn_group groups[] = {{"a.b a.*.c", 2}, {"x*y*", 3}, {"a*", 0.5}, {"frozen", 0}, {0}};
    static const struct {
        const char *name;
        double factor;
    } names[] = {{"a.b", 2}, {"a.b.c", 2},  {"a..c", 2},  {"a.c.c.c", 2}, {"a.b.cd", 0.5},
                 {"a", 0.5}, {"xy", 3},     {"x1y2", 3},  {"x12", 1},     {"ab", 0.5},
                 {"ba", 1},  {"frozen", 0}, {"froze", 1}, {"frozen1", 1}, {"a.b a", 0.5}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect_float_eq(factor_of(names[i].name, groups), names[i].factor, 1e-5, "%s", names[i].name);
        cr_expect_float_eq(factor_of(names[i].name, NULL), 1, 1e-5);
    }
}

/* ---- Faults -------------------------------------------------------------------------------------- */

static void expect_fault(bool ok, const nn_params *params, const char *text) {
    cr_expect_not(ok);
    cr_expect_str_eq(nn_params_error(params), text);
}

Test(muon, faults) {
    model m, other;
    build(&m);
    expect_fault(nn_muon_step(&m.muon, m.params), m.params,
                 "nn_muon_step: there is no gradient; nn_backward(params, loss) computes it");
    build(&other);
    draw_gradients(&other, 1);
    static const char foreign[] = "nn_muon_step: its state is not of this model; nn_muon_init makes it";
    expect_fault(nn_muon_step(&m.muon, other.params), other.params, foreign);
    nn_params_free(m.params);
    nn_params_free(other.params);

    build(&m);
    draw_gradients(&m, 1);
    expect_fault(nn_muon_step(&(struct nn_muon){.options = NN_MUON_DEFAULTS}, m.params), m.params, foreign);
    nn_params_free(m.params);

    build(&m);
    expect_fault(nn_muon_init(&m.muon, m.params, NN_MUON_DEFAULTS), m.params,
                 "nn_muon_init: h.0.ln_1.weight is no matrix; a group with a rate of 0 leaves it out");
    cr_expect_not(nn_muon_init(&m.muon, NULL, NN_MUON_DEFAULTS));
    cr_expect_not(nn_muon_step(&m.muon, NULL));
    nn_params_free(m.params);

    nn_params *params = nn_params_new();
    expect_fault(nn_muon_init(&m.muon, params, NN_MUON_DEFAULTS), params,
                 "nn_muon_init: nn_params_finalize comes first");
    nn_params_free(params);
}

/* A gradient of zeros moves nothing but by the decay. */
Test(muon, no_gradient_no_step) {
    model m;
    build(&m);
    m.muon.options.decay = 0;
    float *before = copy_values(m.params);
    nn_grads(m.params);
    cr_assert(nn_muon_step(&m.muon, m.params));
    cr_expect_eq(memcmp(before, nn_values(m.params).f32, (size_t)nn_params_count(m.params) * sizeof *before),
                 0);
    free(before);
    nn_params_free(m.params);
}

Test(muon, takes_the_memory_that_it_says) {
    nn_params *params = nn_params_new();
    struct nn_linear one, two;
    nn_linear_init(&one, params, "one", 300, 500, (nn_linear_options){.no_bias = true});
    nn_linear_init(&two, params, "two", 400, 100, (nn_linear_options){.no_bias = true});
    cr_assert(tensor_set_threads(2, NULL));
    const nn_muon_options options = NN_MUON_DEFAULTS;
    cr_expect_eq(nn_muon_numbers(params, &options), 190000 + 2 * (2 * 300 * 500 + 2 * 300 * 300));
    cr_expect_eq(nn_muon_numbers(NULL, &options), 0); /* no registry, as without memory for one */
    nn_params_free(params);
}
