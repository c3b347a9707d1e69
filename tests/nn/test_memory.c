/* What else nn does, where memory is out at any moment: a failure with a text, or it gets along without. */
#include "sampo/nn.h"
#include "tests/nn/checkpoint_files.h"
#include "tests/starve.h"

TestSuite(memory, .init = setup, .fini = teardown);

enum { IN = 6, OUT = 4 };

typedef struct model {
    nn_params *params;
    struct nn_embedding table;
    struct nn_recurrent recurrent;
    struct nn_linear linear;
} model;

/* The registry's text is err's where it failed. */
static bool made(model *m, bool finalize, tensor_error *err) {
    m->params = nn_params_new();
    if (!m->params) return tensor_fail(err, "no memory for a registry");
    nn_embedding_init(&m->table, m->params, "table", 5, IN, 1);
    nn_recurrent_init(&m->recurrent, m->params, "recurrent", NN_LSTM, IN, IN,
                      (nn_recurrent_options){.layers = 2});
    nn_linear_init(&m->linear, m->params, "linear", IN, OUT, NN_LINEAR_DEFAULTS);
    nn_set_init(m->params, "linear.weight", NN_ORTHOGONAL(1));
    if (!nn_params_error(m->params) && finalize) nn_params_finalize(m->params, 1);
    return !nn_params_error(m->params) || tensor_fail(err, "%s", nn_params_error(m->params));
}

static bool every_optimizer(nn_params *p) {
    struct nn_sgd sgd;
    struct nn_adamw adamw;
    struct nn_rmsprop rmsprop;
    struct nn_adagrad adagrad;
    struct nn_lion lion;
    struct nn_muon muon;
    struct nn_average average;
    nn_sgd_options with_momentum = NN_SGD_DEFAULTS;
    with_momentum.momentum = 0.9;
    nn_muon_options matrices = NN_MUON_DEFAULTS;
    matrices.groups = (const nn_group[]){{"linear.weight", 1}, {"*", 0}, {0}};
    return nn_sgd_init(&sgd, p, with_momentum) && nn_adamw_init(&adamw, p, NN_ADAMW_DEFAULTS) &&
           nn_rmsprop_init(&rmsprop, p, NN_RMSPROP_DEFAULTS) &&
           nn_adagrad_init(&adagrad, p, NN_ADAGRAD_DEFAULTS) && nn_lion_init(&lion, p, NN_LION_DEFAULTS) &&
           nn_muon_init(&muon, p, matrices) && nn_average_init(&average, p, 0.9) && nn_sgd_step(&sgd, p) &&
           nn_adamw_step(&adamw, p) && nn_muon_step(&muon, p) && nn_average_add(&average, p);
}

static bool optimizers(void *context, tensor_error *err) {
    (void)context;
    model m = {0};
    bool ok = made(&m, true, err) && tensor_ok(nn_grads(m.params));
    ok = ok && every_optimizer(m.params);
    if (!ok && m.params && !err->text[0]) tensor_fail(err, "%s", nn_params_error(m.params));
    nn_params_free(m.params);
    return ok;
}

/* Three steps one by one, which a cache carries. */
static bool generated(const model *m, ag_tape *tape, nn_cache *cache, tensor_error *err) {
    for (int step = 0; step < 3; step++) {
        ag_reset(tape);
        ag_var *id = ag_input(tape, ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(1, 1)));
        if (id) id->value.i32[0] = step;
        if (!nn_linear(&m->linear, nn_recurrent_cached(&m->recurrent, nn_embedding(&m->table, id), cache)))
            return tensor_fail(err, "%s", ag_error(tape));
        cache->length++;
    }
    return true;
}

static bool generation(void *context, tensor_error *err) {
    (void)context;
    model m = {0};
    nn_cache cache = {0};
    tensor_arena *arena = tensor_arena_new(err);
    ag_tape *tape = ag_tape_new();
    if (!tape) tensor_fail(err, "no memory for a tape");
    ag_set_recording(tape, false);
    const bool ok = arena && tape && made(&m, true, err) &&
                    nn_recurrent_cache(&m.recurrent, &cache, 1, arena, err) &&
                    generated(&m, tape, &cache, err);
    ag_tape_free(tape);
    nn_params_free(m.params);
    tensor_arena_free(arena);
    return ok;
}

/* Rounded weights are written; and read as they are, as numbers, and in part. */
static bool writing(void *context, tensor_error *err) {
    nn_entry list[64];
    model m = {0};
    tensor_arena *arena = tensor_arena_new(err);
    const bool made_it = arena && made(&m, true, err);
    const int count = made_it ? nn_params_list_rounded(m.params, *(tensor_precision *)context, "table.weight",
                                                       list, arena, err)
                              : -1;
    const bool ok =
        count > 0 && nn_file_save(path, list, count, (const nn_metadata[]){{"key", "value"}}, 1, err);
    nn_params_free(m.params);
    tensor_arena_free(arena);
    return ok;
}

static bool reading(void *context, tensor_error *err) {
    (void)context;
    const char *missing[32];
    model compact = {0}, numbers = {0};
    nn_file *file = nn_file_open(path, err);
    const bool ok = file && made(&compact, false, err) && nn_params_load_compact(compact.params, file, err) &&
                    made(&numbers, true, err) && nn_params_load(numbers.params, file, err) &&
                    nn_params_load_part(numbers.params, file, "linear", "linear", missing, err) >= 0 &&
                    nn_file_crop(file, "table.weight", 3, err) && nn_file_strip(file, "linear.", err);
    nn_file_close(file);
    nn_params_free(compact.params);
    nn_params_free(numbers.params);
    return ok;
}

Test(memory, rounded_files) {
    on_one_instruction_set();
    for (tensor_precision precision = TENSOR_BFLOAT16; precision <= TENSOR_INT8; precision++)
        for (int kind = FAULT_MEMORY; kind <= FAULT_ARENA; kind++) {
            cr_expect_gt(starve("writing", (fault_kind)kind, writing, &precision), 3);
            cr_expect_gt(starve("reading", (fault_kind)kind, reading, NULL), 3);
        }
}

static const char csv[] = "a,\"b \"\"c\"\"\",d\n1,2,3\n4,5,6.5\n-7,8,9e2\n";
static const unsigned char idx[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};

static bool tables(void *context, tensor_error *err) {
    (void)context;
    nn_csv table = {0};
    nn_scaling scaling;
    nn_batches batches;
    char beside[128];
    snprintf(beside, sizeof beside, "%s.idx", path);
    tensor_arena *arena = tensor_arena_new(err);
    ag_tape *tape = ag_tape_new();
    if (!tape) tensor_fail(err, "no memory for a tape");
    bool ok =
        arena && tape && nn_csv_read(&table, path, NN_CSV_DEFAULTS, arena, err) &&
        nn_csv_read(&table, path,
                    (nn_csv_options){.columns = (const char *const[]){"d", "a", NULL}, .delimiter = ','},
                    arena, err) &&
        nn_scaling_fit(&scaling, table.values, arena, err) && nn_scaling_apply(&scaling, table.values, err) &&
        tensor_ok(nn_idx_read(beside, TENSOR_F32, arena, err)) &&
        nn_batches_init(&batches, 3, (nn_batches_options){.batch = 2}, arena, err);
    if (ok && !nn_batch(&batches, tape, table.values, 0, 2)) ok = tensor_fail(err, "%s", ag_error(tape));
    ag_tape_free(tape);
    tensor_arena_free(arena);
    return ok;
}

static bool json(void *context, tensor_error *err) {
    (void)context;
    const char *const *strings, *const *keys;
    const int64_t *values;
    const nn_metadata *members;
    int count;
    tensor_arena *arena = tensor_arena_new(err);
    const bool ok = arena && nn_json_strings("[\"a\", \"b\\u00e4\"]", arena, &strings, &count, err) &&
                    nn_json_integers("{\"a\": 1, \"b\": 2}", arena, &keys, &values, &count, err) &&
                    nn_json_values("[1, [2], {\"a\": 3}]", arena, &strings, &count, err) &&
                    nn_json_members("{\"a\": [1], \"b\": null}", arena, &members, &count, err);
    tensor_arena_free(arena);
    return ok;
}

Test(memory, each_allocation_can_fail) {
    on_one_instruction_set();
    const struct {
        const char *name;
        bool (*call)(void *context, tensor_error *err);
    } lives[] = {{"optimizers", optimizers}, {"generation", generation}, {"tables", tables}, {"JSON", json}};
    char beside[128];
    snprintf(beside, sizeof beside, "%s.idx", path);
    write_bytes(csv, sizeof csv - 1);
    write_at(beside, idx, sizeof idx);
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++)
        for (int kind = FAULT_MEMORY; kind <= FAULT_ARENA; kind++)
            cr_expect_gt(starve(lives[i].name, (fault_kind)kind, lives[i].call, NULL), 0, "%s",
                         lives[i].name);
    unlink(beside);
}
