/* Heap memory: none is asked for after the first training step. Running out of it, or of disk, at any moment is an error
 * like any other, and leaves an earlier checkpoint whole. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sampo/nn.h"
#include "tests/faults.h"

/* A transformer block between an embedding and a head. */
typedef struct model {
    nn_params *params;
    nn_parallel *parallel;
    struct nn_embedding table;
    struct nn_layer_norm ln_1, ln_2;
    struct nn_attention attn;
    struct nn_mlp mlp;
    struct nn_linear head;
    struct nn_adamw adamw;
    struct nn_muon muon;
    tensor ids, targets;
} model;

enum { ROWS = 20, T = 12, WIDTH = 24, VOCABULARY = 11 };

static bool build(model *m, tensor_arena *arena) {
    m->params = nn_params_new();
    m->parallel = nn_parallel_new(m->params);
    if (!m->params || !m->parallel) return false;
    nn_attention_options attention = NN_ATTENTION_DEFAULTS;
    attention.heads = 2;
    attention.dropout = 0.1f;
    nn_embedding_init(&m->table, m->params, "table", VOCABULARY, WIDTH, 1);
    nn_layer_norm_init(&m->ln_1, m->params, "ln_1", WIDTH, NN_LAYER_NORM_EPS);
    nn_attention_init(&m->attn, m->params, "attn", WIDTH, attention);
    nn_layer_norm_init(&m->ln_2, m->params, "ln_2", WIDTH, NN_LAYER_NORM_EPS);
    nn_mlp_init(&m->mlp, m->params, "mlp", WIDTH, NN_MLP_DEFAULTS);
    nn_linear_init(&m->head, m->params, "head", WIDTH, VOCABULARY,
                   (nn_linear_options){.out_in = true, .tied = m->table.weight});
    static const nn_group matrices[] = {{"*.c_*.weight", 1}, {"*", 0}, {0}},
                          others[] = {{"*.c_*.weight", 0}, {0}};
    nn_adamw_options adamw = NN_ADAMW_DEFAULTS;
    nn_muon_options muon = NN_MUON_DEFAULTS;
    adamw.groups = others;
    muon.groups = matrices;
    if (!nn_params_finalize(m->params, 1) || !nn_adamw_init(&m->adamw, m->params, adamw) ||
        !nn_muon_init(&m->muon, m->params, muon))
        return false;
    tensor_rng rng = {.seed = 1};
    m->ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(ROWS, T), NULL);
    m->targets = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(ROWS, T), NULL);
    return tensor_rand_integers(m->ids, &rng, 0, VOCABULARY, NULL) &&
           tensor_rand_integers(m->targets, &rng, 0, VOCABULARY, NULL);
}

static void take_down(model *m) {
    nn_parallel_free(m->parallel);
    nn_params_free(m->params);
}

static ag_var *loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const model *m = context;
    tensor_rng rng = {.seed = 5, .stream = (uint64_t)begin};
    ag_var *x = nn_embedding(&m->table, ag_input(tape, tensor_slice(m->ids, 0, begin, end, 1, NULL)));
    x = ag_add(x, nn_attention(&m->attn, nn_layer_norm(&m->ln_1, x), &rng));
    x = ag_add(x, nn_mlp(&m->mlp, nn_layer_norm(&m->ln_2, x), &rng));
    return nn_cross_entropy(nn_linear(&m->head, x),
                            ag_input(tape, tensor_slice(m->targets, 0, begin, end, 1, NULL)));
}

static bool step(model *m, double *mean, tensor_error *err) {
    if (!nn_parallel_backward(m->parallel, ROWS, loss, m, mean, err)) return false;
    nn_clip_grad_norm(m->params, 1);
    return nn_adamw_step(&m->adamw, m->params) && nn_muon_step(&m->muon, m->params);
}

Test(faults, a_step_allocates_nothing_after_the_first) {
    for (int threads = 1; threads <= 3; threads++) {
        cr_assert(tensor_set_threads(threads, NULL));
        tensor_arena *arena = tensor_arena_new(NULL);
        model m = {0};
        double mean;
        const int64_t at_first = fault_calls(FAULT_MEMORY);
        cr_assert(build(&m, arena));
        cr_expect_gt(fault_calls(FAULT_MEMORY), at_first, "the counter does not count");
        cr_assert(step(&m, &mean, NULL));
        const int64_t before = fault_calls(FAULT_MEMORY);
        for (int i = 0; i < 20; i++) cr_assert(step(&m, &mean, NULL));
        cr_expect_eq(fault_calls(FAULT_MEMORY), before, "%lld allocations in 20 steps with %d threads",
                     (long long)(fault_calls(FAULT_MEMORY) - before), threads);
        take_down(&m);
        tensor_arena_free(arena);
    }
}

/* Builds, trains, saves and loads; returns whether all of it was done. Without memory it must say so. */
static bool whole_life(const char *path, tensor_error *err) {
    tensor_arena *arena = tensor_arena_new(err);
    model m = {0};
    double mean;
    nn_file *file = NULL;
    const nn_metadata metadata[] = {{"key", "value"}};
    bool done =
        arena && build(&m, arena) && step(&m, &mean, err) && nn_params_save(m.params, path, metadata, 1, err);
    done = done && (file = nn_file_open(path, err)) && nn_params_load(m.params, file, err);
    if (!done && m.params && !err->text[0])
        tensor_fail(err, "%s", nn_params_error(m.params) ? nn_params_error(m.params) : "");
    nn_file_close(file);
    take_down(&m);
    tensor_arena_free(arena);
    return done;
}

Test(faults, each_allocation_can_fail) {
    char path[] = "/tmp/sampo-test-XXXXXX";
    const int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    cr_assert(tensor_set_threads(2, NULL));
    for (int all = 0; all < 2; all++) {
        int64_t n = 1;
        for (bool done = false; !done; n++) {
            cr_assert_lt(n, 10000);
            tensor_error err = {0};
            fault_inject(FAULT_MEMORY, n, all);
            const int64_t before = fault_calls(FAULT_MEMORY);
            done = whole_life(path, &err);
            const bool failed = fault_calls(FAULT_MEMORY) - before >= n;
            fault_inject(FAULT_MEMORY, 0, 0);
            cr_assert(done || failed, "allocation %lld: failed without a reason: %s", (long long)n, err.text);
            if (failed && done) done = false; /* it got along without */
        }
        cr_expect_gt(n, 10, "only %lld allocations were made to fail", (long long)n);
    }
    remove(path);
}

static tensor values_of(const char *path, tensor_arena *arena) {
    nn_file *file = nn_file_open(path, NULL);
    const nn_entry *e = file ? nn_file_find(file, "x") : NULL;
    tensor x = {0};
    if (e) {
        x = tensor_new(arena, TENSOR_F32, e->rank, e->shape, NULL);
        memcpy(x.data, e->data, e->bytes);
    }
    nn_file_close(file);
    return x;
}

/* Whatever file operation fails, the file holds the old values or the new ones, and failure is reported: of all up to the
 * rename. What comes behind it, for the folder, may fail. */
Test(faults, each_file_operation_can_fail) {
    char folder[] = "/tmp/sampo-test-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    tensor_arena *arena = tensor_arena_new(NULL);
    float values[] = {1, 2, 3};
    const nn_entry entry = {"x", "F32", 1, {3}, values, sizeof values};
    for (int all = 0; all < 2; all++) {
        int64_t n = 1;
        bool renamed = false;
        for (bool finished = false; !finished; n++) {
            cr_assert_lt(n, 100);
            values[0] = 1;
            cr_assert(nn_file_save(path, &entry, 1, NULL, 0, NULL));
            values[0] = 7;
            tensor_error err = {0};
            const int64_t before = fault_calls(FAULT_FILE);
            fault_inject(FAULT_FILE, n, all);
            const bool saved = nn_file_save(path, &entry, 1, NULL, 0, &err);
            finished = fault_calls(FAULT_FILE) - before < n;
            fault_inject(FAULT_FILE, 0, 0);
            const tensor now = values_of(path, arena);
            cr_assert(tensor_ok(now), "operation %lld: the file is lost", (long long)n);
            cr_expect_eq(now.f32[0], saved ? 7 : 1, "operation %lld", (long long)n);
            cr_expect(saved || !renamed, "the failure of an operation before number %lld was passed over",
                      (long long)n);
            renamed = saved;
            cr_expect(saved || (strstr(err.text, path) && strstr(err.text, "No space left")),
                      "operation %lld: %s", (long long)n, err.text);
        }
        cr_expect_gt(n, 4, "only %lld operations were made to fail", (long long)n);
    }
    bool opened = false;
    int64_t n = 1;
    for (bool finished = false; !finished; n++) { /* of reading it: of all but closing, which comes last */
        tensor_error err = {0};
        const int64_t before = fault_calls(FAULT_FILE);
        fault_inject(FAULT_FILE, n, 0);
        nn_file *file = nn_file_open(path, &err);
        finished = fault_calls(FAULT_FILE) - before < n;
        fault_inject(FAULT_FILE, 0, 0);
        cr_expect(file || (!opened && strstr(err.text, path) && strstr(err.text, "No space left")),
                  "operation %lld: %s", (long long)n, err.text);
        opened = file;
        nn_file_close(file);
    }
    cr_expect_geq(n, 6, "open, fstat, read twice, mmap, close");
    remove(path);
    cr_expect_eq(rmdir(folder), 0, "something was left behind");
    tensor_arena_free(arena);
}

/* A power cut at any moment leaves the old file or the new one: its data are on the disk before it takes its name, and
 * the folder with the name is then. */
Test(faults, a_saved_file_is_synced_renamed_and_its_folder_synced) {
    char folder[] = "/tmp/sampo-test-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    float value = 1;
    const nn_entry entry = {"x", "F32", 1, {1}, &value, sizeof value};
    fault_trace_begin();
    cr_assert(nn_file_save(path, &entry, 1, NULL, 0, NULL));
    cr_expect_str_eq(fault_trace(), "frd");
    remove(path);
    cr_expect_eq(rmdir(folder), 0);
}
