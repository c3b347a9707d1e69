/* The GPT against PyTorch in float64: the same weights and batches give the same logits, gradients, losses and trained
 * weights. The traces hold all of them, for 20 steps of AdamW
 * with a batch of 4. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/train/train.h"

enum { BATCH = 4, STEPS = 20, MAX_TENSORS = 64 };

typedef struct trace {
    nn_file *file;
    lm_instance instance;
    tensor_arena *arena;
    tensor ids, targets; /* [STEPS BATCH, T] */
} trace;

static const nn_entry *find(const trace *t, const char *prefix, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const nn_entry *entry = nn_file_find(t->file, full);
    cr_assert(entry, "%s is not in the trace", full);
    return entry;
}

static tensor integers(trace *t, const char *name) {
    const nn_entry *e = find(t, "", name);
    const tensor x = tensor_new(t->arena, TENSOR_I32, e->rank, e->shape, NULL);
    cr_assert(tensor_ok(x) && strcmp(e->dtype, "I32") == 0);
    memcpy(x.data, e->data, e->bytes);
    return x;
}

/* The trace's weights, "param.NAME", and its metadata are a checkpoint once the prefix is gone. */
static void load_weights(trace *t) {
    static const char *const keys[] = {"architecture", "vocab_size", "context_length", "n_layer",
                                       "n_head",       "n_embd",     "activation",     "qkv_bias",
                                       "final_norm",   "tied_head",  "head_bias",      "attention_scale",
                                       "tokenizer",    "vocabulary"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    nn_metadata metadata[KEYS];
    nn_entry weights[MAX_TENSORS];
    int count = 0;
    for (int i = 0; i < KEYS; i++) metadata[i] = (nn_metadata){keys[i], nn_file_metadata(t->file, keys[i])};
    for (int i = 0; i < nn_file_entries(t->file); i++) {
        const nn_entry *e = nn_file_at(t->file, i);
        if (strncmp(e->name, "param.", 6) != 0) continue;
        cr_assert_lt(count, MAX_TENSORS);
        weights[count] = *e;
        weights[count++].name += 6;
    }
    char path[] = "/tmp/sampo-parity-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    tensor_error err = {0};
    cr_assert(nn_file_save(path, weights, count, metadata, KEYS, &err), "%s", err.text);
    cr_assert(lm_checkpoint_load(&t->instance, lm_program(), path, &err), "%s", err.text);
    remove(path);
}

static trace open_trace(const char *name) {
    trace t = {.arena = tensor_arena_new(NULL)};
    char path[4096];
    const char *shared = getenv("SAMPO_SHARED");
    snprintf(path, sizeof path, "%s/parity/%s", shared ? shared : "../shared", name);
    if (access(path, R_OK) != 0) cr_skip_test("PyTorch's results are not here: %s", path);
    tensor_error err = {0};
    t.file = nn_file_open(path, &err);
    cr_assert(t.file, "%s", err.text);
    load_weights(&t);
    t.ids = integers(&t, "input_ids");
    t.targets = integers(&t, "target_ids");
    return t;
}

static void close_trace(trace *t) {
    lm_instance_free(&t->instance);
    nn_file_close(t->file);
    tensor_arena_free(t->arena);
}

/* The largest |x - expected|, and the largest |expected|, over columns begin..end-1 of the last axis. */
static double difference(tensor x, const nn_entry *expected, int64_t begin, int64_t end, double *size) {
    const double *e = expected->data;
    double worst = 0;
    const int64_t last = x.shape[x.rank - 1];
    *size = 0;
    cr_assert_str_eq(expected->dtype, "F64");
    cr_assert_eq(expected->bytes, (size_t)tensor_size(x) * sizeof(double));
    for (int64_t i = 0; i < tensor_size(x); i++) {
        *size = fmax(*size, fabs(e[i]));
        const double off = fabs((double)x.f32[i] - e[i]);
        if (i % last >= begin && i % last < end) worst = off <= worst ? worst : off;
    }
    return worst;
}

static void check_logits(trace *t) {
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    const lm_model *model = t->instance.model;
    const lm_input in = {.ids = ag_input(tape, tensor_slice(t->ids, 0, 0, BATCH, 1, NULL))};
    ag_var *logits = model->forward(model->self, &in);
    cr_assert(logits, "%s", ag_error(tape));
    double size;
    const double off = difference(logits->value, find(t, "", "first_logits"), 0, INT64_MAX, &size);
    cr_expect_leq(off, 1e-5, "logits differ by %g", off);
    ag_tape_free(tape);
}

static void check_gradients(trace *t) {
    for (int i = 0; i < nn_params_entries(t->instance.params); i++) {
        if (nn_params_is_alias(t->instance.params, i)) continue;
        const char *name = nn_params_name(t->instance.params, i);
        const tensor grad = nn_grad(t->instance.params, nn_params_at(t->instance.params, i));
        double size, off = difference(grad, find(t, "grad.", name), 0, INT64_MAX, &size);
        /* The keys' bias moves all scores of a query alike: its gradient is zero but for rounding. */
        cr_expect_leq(off, 3e-6 * size, "the gradient of %s differs by %g of %g", name, off, size);
    }
}

static void check_weights(trace *t) {
    for (int i = 0; i < nn_params_entries(t->instance.params); i++) {
        if (nn_params_is_alias(t->instance.params, i)) continue;
        const char *name = nn_params_name(t->instance.params, i);
        const tensor value = nn_params_at(t->instance.params, i)->value;
        const nn_entry *expected = find(t, "final.", name);
        const int64_t last = value.shape[value.rank - 1];
        const bool qkv = strstr(name, "c_attn.bias") != NULL;
        double size, off = difference(value, expected, 0, qkv ? last / 3 : last, &size);
        if (qkv) off = fmax(off, difference(value, expected, 2 * last / 3, last, &size));
        cr_expect_leq(off, 5e-5, "the trained %s differs by %g", name, off);
    }
}

static void check_training(const char *name, float rate) {
    trace t = open_trace(name);
    tensor_error err = {0};
    check_logits(&t);
    nn_params *params = t.instance.params;
    nn_parallel *parallel = nn_parallel_new(params);
    struct nn_adamw adamw;
    nn_adamw_options options = NN_ADAMW_DEFAULTS;
    options.rate = rate;
    cr_assert(nn_adamw_init(&adamw, params, options));
    const double *losses = find(&t, "", "losses")->data;
    for (int step = 0; step < STEPS; step++) {
        lm_loss_context c = {.model = t.instance.model};
        c.batch.ids = tensor_slice(t.ids, 0, step * BATCH, (step + 1) * BATCH, 1, NULL);
        c.batch.targets = tensor_slice(t.targets, 0, step * BATCH, (step + 1) * BATCH, 1, NULL);
        double loss;
        cr_assert(nn_parallel_backward(parallel, BATCH, lm_loss, &c, &loss, &err), "%s", err.text);
        cr_expect_leq(fabs(loss / losses[step] - 1), 5e-6, "step %d: loss %.9f, not %.9f", step, loss,
                      losses[step]);
        if (step == 0) check_gradients(&t);
        cr_assert(nn_adamw_step(&adamw, params));
    }
    check_weights(&t);
    nn_parallel_free(parallel);
    close_trace(&t);
}

Test(parity, kalevala_style) {
    check_training("seed-style-trace.safetensors", 1e-2f);
}

Test(parity, gpt2_style) {
    check_training("gpt2-style-trace.safetensors", 1e-3f);
}
