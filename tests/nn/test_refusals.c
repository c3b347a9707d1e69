/* What does not fit modules: their inputs, and the sizes that they are made with. */
#include <string.h>

#include "sampo/nn.h"
#include "tests/refusals.h"

enum { C = 4 };

static struct modules {
    struct nn_linear linear;
    struct nn_embedding embedding;
    struct nn_conv2d conv2d;
    struct nn_conv1d conv1d;
    struct nn_conv_transpose2d conv_transpose2d;
    struct nn_conv_transpose1d conv_transpose1d;
    struct nn_batch_norm batch_norm;
    struct nn_group_norm group_norm;
    struct nn_layer_norm layer_norm;
    struct nn_rms_norm rms_norm;
    struct nn_attention attention;
    struct nn_mlp mlp;
    struct nn_block block;
    struct nn_multihead multihead;
    struct nn_gated gated;
    struct nn_transformer encoder, decoder;
    struct nn_cell cell;
    struct nn_recurrent recurrent;
} m;

/* Each module by its name, with a number of channels, and a size that only some have: 3 unless it is to be wrong. */
#define INITS(_)                                                                                             \
    _("linear", nn_linear_init(&m.linear, p, name, c, n, NN_LINEAR_DEFAULTS))                                \
    _("embedding", nn_embedding_init(&m.embedding, p, name, n, c, 1))                                        \
    _("conv2d", nn_conv2d_init(&m.conv2d, p, name, c, 3, n, n, NN_CONV2D_DEFAULTS))                          \
    _("conv1d", nn_conv1d_init(&m.conv1d, p, name, c, 3, n, NN_CONV2D_DEFAULTS))                             \
    _("conv_transpose2d",                                                                                    \
      nn_conv_transpose2d_init(&m.conv_transpose2d, p, name, c, 3, n, n, NN_CONV_TRANSPOSE2D_DEFAULTS))      \
    _("conv_transpose1d",                                                                                    \
      nn_conv_transpose1d_init(&m.conv_transpose1d, p, name, c, 3, n, NN_CONV_TRANSPOSE2D_DEFAULTS))         \
    _("batch_norm", nn_batch_norm_init(&m.batch_norm, p, name, c, NN_BATCH_NORM_DEFAULTS))                   \
    _("group_norm", nn_group_norm_init(&m.group_norm, p, name, 2, c, NN_GROUP_NORM_EPS))                     \
    _("layer_norm", nn_layer_norm_init(&m.layer_norm, p, name, c, NN_LAYER_NORM_EPS))                        \
    _("rms_norm", nn_rms_norm_init(&m.rms_norm, p, name, c, NN_LAYER_NORM_EPS))                              \
    _("attention", nn_attention_init(&m.attention, p, name, c, (nn_attention_options){.heads = 2}))          \
    _("mlp", nn_mlp_init(&m.mlp, p, name, c, (nn_mlp_options){.hidden = n}))                                 \
    _("block", nn_block_init(&m.block, p, name, c, (nn_attention_options){.heads = 2},                       \
                             (nn_mlp_options){.hidden = n}))                                                 \
    _("multihead", nn_multihead_init(&m.multihead, p, name, c, (nn_multihead_options){.heads = 2}))          \
    _("gated", nn_gated_init(&m.gated, p, name, c, (nn_gated_options){.hidden = n}))                         \
    _("encoder", nn_transformer_init(&m.encoder, p, name, c, NN_TRANSFORMER_DEFAULTS))                       \
    _("decoder",                                                                                             \
      nn_transformer_init(                                                                                   \
          &m.decoder, p, name, c,                                                                            \
          (nn_transformer_options){.attention = {.heads = 2}, .cross = true, .gated = true, .rms = true}))   \
    _("cell", nn_cell_init(&m.cell, p, name, NN_LSTM, c, n, false))                                          \
    _("recurrent", nn_recurrent_init(&m.recurrent, p, name, NN_GRU, c, n, NN_RECURRENT_DEFAULTS))

/* Each call, on inputs x, and inputs that fit, as tests/refusals.h writes them. */
#define CALLS(_)                                                                                             \
    _(linear, "^f2~4", nn_linear(&m.linear, x[0]))                                                           \
    _(embedding, "^i2~", nn_embedding(&m.embedding, x[0]))                                                   \
    _(conv2d, "f1~45~5~", nn_conv2d(&m.conv2d, x[0]))                                                        \
    _(conv1d, "f1~45~", nn_conv1d(&m.conv1d, x[0]))                                                          \
    _(conv_transpose2d, "f1~45~5~", nn_conv_transpose2d(&m.conv_transpose2d, x[0]))                          \
    _(conv_transpose1d, "f1~45~", nn_conv_transpose1d(&m.conv_transpose1d, x[0]))                            \
    _(batch_norm, "f3~4", nn_batch_norm(&m.batch_norm, x[0]))                                                \
    _(group_norm, "f3~4", nn_group_norm(&m.group_norm, x[0]))                                                \
    _(layer_norm, "^f2~4", nn_layer_norm(&m.layer_norm, x[0]))                                               \
    _(rms_norm, "^f2~4", nn_rms_norm(&m.rms_norm, x[0]))                                                     \
    _(dropout, "*f4", nn_dropout(&(struct nn_dropout){0.5f}, x[0], &(tensor_rng){.seed = 1}))                \
    _(activate, "*f4", nn_activate(NN_SILU, x[0]))                                                           \
    _(attention, "f2~3~4", nn_attention(&m.attention, x[0], NULL))                                           \
    _(attention_weights, "f2~3~4", nn_attention_weights(&m.attention, x[0]))                                 \
    _(mlp, "^f2~4", nn_mlp(&m.mlp, x[0], NULL))                                                              \
    _(block, "f2~3~4", nn_block(&m.block, x[0], NULL))                                                       \
    _(block_with_values, "f234 f234", nn_block_with_values(&m.block, x[0], x[1], NULL))                      \
    _(multihead, "f2~3~4", nn_multihead(&m.multihead, x[0], (nn_attend){0}))                                 \
    _(multihead_cross, "f23~4 f25~4", nn_multihead_cross(&m.multihead, x[0], x[1], (nn_attend){0}))          \
    _(multihead_weights, "f2~3~4", nn_multihead_weights(&m.multihead, x[0], (nn_attend){0}))                 \
    _(gated, "^f2~4", nn_gated(&m.gated, x[0]))                                                              \
    _(transformer, "f2~3~4", nn_transformer(&m.encoder, x[0], (nn_attend){0}))                               \
    _(transformer_cross, "f23~4 f25~4",                                                                      \
      nn_transformer_cross(&m.decoder, x[0], x[1], (nn_attend){0}, (nn_attend){0}))                          \
    _(cell, "f24 ?f23 ?f23", nn_cell(&m.cell, x[0], (nn_hidden){x[1], x[2]}).h)                              \
    _(recurrent, "f2~3~4", nn_recurrent(&m.recurrent, x[0], NULL, NULL))                                     \
    _(recurrent_with_state, "f23~4 ?f23",                                                                    \
      nn_recurrent(&m.recurrent, x[0], (nn_hidden[NN_MAX_RECURRENT]){{x[1], NULL}}, NULL))                   \
    _(cross_entropy, "f23~ i2", nn_cross_entropy(x[0], x[1]))                                                \
    _(mse_loss, "f23 f23", nn_mse_loss(x[0], x[1]))

/* Whether there is a result; if not, the tape has the reason. The first input fails on the tape where it is absent, as an
 * operation before the module would have. */
#define FUNCTION(name, operands, ...)                                                                        \
    static bool call_##name(const tensor *t, tensor_error *err) {                                            \
        ag_tape *tape = ag_tape_new();                                                                       \
        ag_var *x[MOST_OPERANDS];                                                                            \
        for (int i = 0; i < MOST_OPERANDS; i++)                                                              \
            x[i] = i == 0 || tensor_ok(t[i]) ? ag_input(tape, t[i]) : NULL;                                  \
        const bool ok = (__VA_ARGS__) != NULL;                                                               \
        if (!ok && !ag_ok(tape)) tensor_fail(err, "%s", ag_error(tape));                                     \
        ag_tape_free(tape);                                                                                  \
        return ok;                                                                                           \
    }
CALLS(FUNCTION)

#define ENTRY(name, operands, ...) {"nn_" #name, operands, call_##name},
static const refusing calls[] = {CALLS(ENTRY)};

/* Makes the module of that number, in a registry of its own; its name. */
static const char *make(nn_params *p, int which, int64_t c, int64_t n) {
    const char *name;
    int i = 0;
#define MAKE(text, ...)                                                                                      \
    if (i++ == which) {                                                                                      \
        name = text;                                                                                         \
        __VA_ARGS__;                                                                                         \
        return name;                                                                                         \
    }
    INITS(MAKE)
    return NULL;
}

Test(refusals, inputs) {
    nn_params *params = nn_params_new();
    for (int which = 0; make(params, which, C, 3); which++) continue;
    cr_assert(nn_params_finalize(params, 1), "%s", nn_params_error(params));
    refuse_all(sizeof calls / sizeof *calls, calls);
    starve_all(sizeof calls / sizeof *calls, calls);
    nn_params_free(params);
}

/* The registry's text begins with the module's name. */
Test(refusals, sizes) {
    for (int which = 0;; which++) {
        nn_params *params = nn_params_new();
        const char *name = make(params, which, -C, 3);
        if (name) {
            cr_expect_not(nn_params_finalize(params, 1), "%s", name);
            const char *text = nn_params_error(params);
            cr_expect_eq(strncmp(text, name, strlen(name)), 0, "%s: %s", name, text);
        }
        nn_params_free(params);
        if (!name) break;
    }
}

static bool make_without_memory(void *context, tensor_error *err) {
    nn_params *params = nn_params_new();
    if (!params) return tensor_fail(err, "no memory for a registry");
    make(params, *(const int *)context, C, 3);
    const bool ok = nn_params_finalize(params, 1);
    if (!ok) tensor_fail(err, "%s", nn_params_error(params));
    nn_params_free(params);
    return ok;
}

Test(refusals, no_memory) {
    on_one_instruction_set();
    for (int which = 0, last = 0; !last; which++) {
        nn_params *params = nn_params_new();
        const char *name = make(params, which, C, 3);
        nn_params_free(params);
        last = !name;
        for (int kind = FAULT_MEMORY; name && kind <= FAULT_ARENA; kind++)
            cr_expect_gt(starve(name, (fault_kind)kind, make_without_memory, &which), 0, "%s", name);
    }
}

/* Without a registry, as when there was no memory for one, what has parameters has none, and gives nothing. */
Test(refusals, no_registry) {
    for (int which = 0; make(NULL, which, C, 3); which++) continue;
    tensor_arena *arena = tensor_arena_new(NULL);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        tensor t[MOST_OPERANDS] = {0};
        bool may, can;
        int count = 0;
        for (const char *text = calls[i].operands; *text;)
            t[count++] = operand(arena, &text, FITS, &may, &can);
        const bool without = strstr("nn_dropout nn_activate nn_cross_entropy nn_mse_loss", calls[i].name);
        cr_expect_eq(calls[i].function(t, NULL), without, "%s", calls[i].name);
    }
    tensor_arena_free(arena);
}

/* The text names the module by the name that it has, or else by its kind. */
Test(refusals, groups_and_heads) {
    static const struct { const char *name, *text; } names[] = {{"m", "m: "}, {NULL, ""}};
    for (int k = 0; k < 2; k++) {
        const char *name = names[k].name;
        for (int which = 0; which < 9; which++) {
            nn_params *p = nn_params_new();
            const tensor_windows three = {.groups = 3};
            if (which == 0) nn_conv2d_init(&m.conv2d, p, name, 4, 6, 1, 1, (nn_conv2d_options){three, false});
            if (which == 1) nn_conv1d_init(&m.conv1d, p, name, 6, 4, 1, (nn_conv2d_options){three, true});
            if (which == 2) nn_group_norm_init(&m.group_norm, p, name, 3, 4, 1);
            if (which == 3) nn_group_norm_init(&m.group_norm, p, name, 0, 4, 1);
            if (which == 4) nn_attention_init(&m.attention, p, name, 4, (nn_attention_options){.heads = 3});
            if (which == 5) nn_multihead_init(&m.multihead, p, name, 4, (nn_multihead_options){.heads = 3});
            if (which == 6)
                nn_multihead_init(&m.multihead, p, name, 4,
                                  (nn_multihead_options){.heads = 2, .key_heads = 3});
            if (which == 7)
                nn_multihead_init(&m.multihead, p, name, 4,
                                  (nn_multihead_options){.heads = 2, .head_size = -1});
            if (which == 8) /* of which four heads would be 4 wide, as 64 bits count */
                nn_multihead_init(&m.multihead, p, name, 4,
                                  (nn_multihead_options){.heads = 4, .head_size = (INT64_C(1) << 62) + 1});
            cr_expect(strncmp(nn_params_error(p), names[k].text, strlen(names[k].text)) == 0 &&
                          nn_params_error(p)[0],
                      "%d: %s", which, nn_params_error(p));
            nn_params_free(p);
        }
    }
}

/* Of three tokens the results from the fourth on are none, and those before the first do not exist. */
Test(refusals, first_rows) {
    static const struct {
        int64_t first, rows;
    } cases[] = {{3, 0}, {-3, 3}, {4, -1}, {-4, -1}, {INT64_MAX, -1}};
    nn_params *p = nn_params_new();
    nn_multihead_init(&m.multihead, p, "m", C, NN_MULTIHEAD_DEFAULTS);
    nn_transformer_init(&m.encoder, p, "t", C, NN_TRANSFORMER_DEFAULTS);
    cr_assert(nn_params_finalize(p, 1));
    tensor_arena *arena = tensor_arena_new(NULL);
    const tensor input = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 3, C), NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int which = 0; which < 2; which++) {
            ag_tape *tape = ag_tape_new();
            ag_var *x = ag_input(tape, input);
            const nn_attend how = {.first = cases[i].first};
            ag_var *y = which ? nn_transformer(&m.encoder, x, how) : nn_multihead(&m.multihead, x, how);
            if (cases[i].rows < 0)
                cr_expect(!y && strstr(ag_error(tape), "is outside of 3"), "%s", ag_error(tape));
            else
                cr_expect(y && y->value.shape[1] == cases[i].rows, "%s", ag_error(tape));
            ag_tape_free(tape);
        }
    tensor_arena_free(arena);
    nn_params_free(p);
}
