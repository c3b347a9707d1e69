/* Compact parameters: a file's rounded weights are computed with as they are, and are not trained. */
#include "sampo/nn.h"
#include "tests/nn/temporary.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(compact, .init = setup, .fini = teardown);

/* A linear layer and a table, with the weights of both rounded in a file. */
static nn_params *small_model(struct nn_linear *linear, struct nn_embedding *table) {
    nn_params *params = nn_params_new();
    nn_embedding_init(table, params, "table", 5, 40, 1);
    nn_linear_init(linear, params, "linear", 40, 3, NN_LINEAR_DEFAULTS);
    return params;
}

/* Returns the parameters, which own names and numbers of the list. */
static nn_params *write_rounded(tensor_precision precision, nn_entry list[8], int *entries,
                                tensor_arena *arena) {
    struct nn_linear linear;
    struct nn_embedding table;
    nn_params *params = small_model(&linear, &table);
    cr_assert(nn_params_finalize(params, 1));
    const int count = nn_params_list_rounded(params, precision, NULL, list, arena, NULL);
    cr_assert(count == (precision == TENSOR_INT8 ? 5 : 3));
    cr_assert(nn_file_save(path, list, count, NULL, 0, NULL));
    *entries = count;
    return params;
}

static const float *forward(const struct nn_linear *linear, const struct nn_embedding *table, ag_tape *tape) {
    static int32_t list[] = {4, 0};
    static tensor_storage storage = {.data = list, .bytes = sizeof list};
    const tensor ids = tensor_wrap(&storage, TENSOR_I32, TENSOR_SHAPE(2), NULL);
    const ag_var *y = nn_linear(linear, nn_embedding(table, ag_input(tape, ids)));
    return y ? y->value.f32 : NULL;
}

Test(compact, parameters_compute_and_are_not_trained) {
    for (int precision = TENSOR_BFLOAT16; precision <= TENSOR_INT8; precision++) {
        nn_entry list[8];
        tensor_arena *arena = tensor_arena_new(NULL);
        int count;
        nn_params *written = write_rounded((tensor_precision)precision, list, &count, arena);
        nn_file *file = nn_file_open(path, NULL);
        struct nn_linear linear[2];
        struct nn_embedding table[2];
        nn_params *params[2];
        ag_tape *tapes[2];
        const float *y[2];
        tensor_error err = {0};
        for (int compact = 0; compact < 2; compact++) {
            params[compact] = small_model(&linear[compact], &table[compact]);
            if (!compact) cr_assert(nn_params_reserve(params[compact]));
            cr_assert((compact ? nn_params_load_compact : nn_params_load)(params[compact], file, &err), "%s",
                      err.text);
            tapes[compact] = ag_tape_new();
            ag_set_recording(tapes[compact], false);
            y[compact] = forward(&linear[compact], &table[compact], tapes[compact]);
            cr_assert(y[compact], "%s", ag_error(tapes[compact]));
        }
        for (int i = 0; i < 6; i++)
            cr_assert_float_eq(y[0][i], y[1][i], precision == TENSOR_BFLOAT16 ? 0 : 1e-3, "%g %g",
                               (double)y[0][i], (double)y[1][i]);
        cr_assert_eq(nn_params_count(params[1]), 3, "the bias alone");
        cr_assert(!nn_params_save(params[1], path, NULL, 0, &err));
        cr_assert(strstr(err.text, "table.weight\" is compact") ||
                      strstr(err.text, "table.weight is compact"),
                  "%s", err.text);
        ag_reset(tapes[1]);
        ag_set_recording(tapes[1], true);
        cr_assert(!forward(&linear[1], &table[1], tapes[1]));
        cr_assert_str_eq(ag_error(tapes[1]),
                         "table.weight is compact: products and look-ups may read it, but nothing "
                         "can be trained on it");
        for (int i = 0; i < 2; i++) nn_params_free(params[i]), ag_tape_free(tapes[i]);
        nn_file_close(file);
        nn_params_free(written);
        tensor_arena_free(arena);
    }
}

Test(compact, faulty_scales_are_refused) {
    nn_entry list[8];
    tensor_arena *arena = tensor_arena_new(NULL);
    int count;
    nn_params *written = write_rounded(TENSOR_INT8, list, &count, arena);
    const struct {
        const char *name, *dtype, *text;
        int64_t rows;
    } faults[] = {{"other", "BF16", "and there is no tensor of its scales", 2},
                  {"linear.weight.scale", "F32", "is F32, expected BF16", 1},
                  {"linear.weight.scale", "BF16", "is [1, 3], expected [2, 3]", 1}};
    for (int i = 0; i < 3; i++)
        for (int compact = 0; compact < 2; compact++) {
            nn_entry *scale = &list[count - 1], before = *scale;
            cr_assert_str_eq(scale->name, "linear.weight.scale");
            scale->name = faults[i].name, scale->dtype = faults[i].dtype, scale->shape[0] = faults[i].rows;
            scale->bytes = (size_t)faults[i].rows * 3 * (faults[i].dtype[0] == 'F' ? 4 : 2);
            cr_assert(nn_file_save(path, list, count, NULL, 0, NULL));
            *scale = before;
            struct nn_linear linear;
            struct nn_embedding table;
            nn_params *params = small_model(&linear, &table);
            nn_file *file = nn_file_open(path, NULL);
            tensor_error err = {0};
            if (!compact) cr_assert(nn_params_reserve(params));
            cr_assert(!(compact ? nn_params_load_compact : nn_params_load)(params, file, &err));
            cr_assert(strstr(err.text, faults[i].text), "%s", err.text);
            nn_file_close(file);
            nn_params_free(params);
        }
    nn_params_free(written);
    tensor_arena_free(arena);
}
