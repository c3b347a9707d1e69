/* GPT-2s as transformers publishes them: logits and greedy tokens are those of transformers. A small one is in
 * tests/fixtures; $SAMPO_PUBLISHED names another folder that published.py has made. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/files/files.h"

#define FIXTURE SAMPO_FIXTURES "/gpt2"

static tensor_error err;
static char folder[64];

/* What model makes of tokens, without gradients: logits [1, N, V], until the tape is reset. */
static tensor logits_of(const lm_instance *instance, ag_tape *tape, const int32_t *ids, int64_t count) {
    const tensor x = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(1, count));
    memcpy(x.i32, ids, (size_t)count * sizeof *ids);
    const ag_var *y = instance->model->forward(instance->model->self, ag_input(tape, x), NULL, NULL);
    cr_assert(y, "%s", ag_error(tape));
    return y->value;
}

static int32_t likeliest(tensor logits) {
    const int64_t count = logits.shape[2];
    const float *last = logits.f32 + (logits.shape[1] - 1) * count;
    int32_t best = 0;
    for (int32_t i = 0; i < count; i++)
        if (last[i] > last[best]) best = i;
    return best;
}

Test(published, equals_transformers) {
    enum { MOST = 1024 };
    const char *given = getenv("SAMPO_PUBLISHED"), *from = given ? given : FIXTURE;
    char path[4200];
    lm_instance instance;
    cr_assert(lm_checkpoint_load(&instance, lm_program(), from, &err), "%s", err.text);
    snprintf(path, sizeof path, "%s/expected.safetensors", from);
    nn_file *expected = nn_file_open(path, &err);
    cr_assert(expected, "%s", err.text);
    const nn_entry *logits = nn_file_find(expected, "logits"), *greedy = nn_file_find(expected, "greedy");
    const nn_entry *prompt = nn_file_find(expected, "ids");
    int32_t ids[MOST];
    int64_t count = prompt->shape[0];
    cr_assert_leq(instance.context, MOST);
    memcpy(ids, prompt->data, prompt->bytes);

    const char *text = nn_file_metadata(expected, "prompt");
    const tensor encoded = lm_encode(&instance.tokenizer, text, strlen(text), instance.arena, &err);
    cr_assert(tensor_ok(encoded) && encoded.shape[0] == count, "%s", err.text);
    cr_expect_arr_eq(encoded.i32, ids, prompt->bytes);

    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    const tensor y = logits_of(&instance, tape, ids, count);
    const int64_t rows = logits->shape[0], vocabulary = logits->shape[1];
    cr_assert_eq(y.shape[2], vocabulary);
    const float *got = y.f32 + (count - rows) * vocabulary, *want = logits->data;
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < rows * vocabulary; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        difference = fmax(difference, fabs((double)got[i] - (double)want[i]));
    }
    cr_expect(largest > 1 && difference < 1e-4, "logits up to %g differ by %g", largest, difference);
    if (given) printf("%s: logits up to %.3g differ by %.3g\n", given, largest, difference);

    for (int64_t i = 0; i < greedy->shape[0]; i++) {
        ag_reset(tape);
        ids[count] = likeliest(logits_of(&instance, tape, ids, count));
        count++;
        cr_assert_eq(ids[count - 1], ((const int32_t *)greedy->data)[i], "token %d", (int)i);
    }
    cr_expect_gt(greedy->shape[0], 5);
    ag_tape_free(tape);
    nn_file_close(expected);
    lm_instance_free(&instance);
}

/* ---- Faults --------------------------------------------------------------------------------------- */

static char *slurp(const char *name, size_t *size) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", FIXTURE, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    char *bytes = calloc(1, 1 << 20);
    *size = fread(bytes, 1, (1 << 20) - 1, file);
    fclose(file);
    return bytes;
}

static void put(const char *name, const char *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static const char *const names[] = {"model.safetensors", "config.json", "vocab.json", "merges.txt"};

/* A copy of the fixture where, in the file `name`, `from` is `to`, of the same length in a file of tensors; `to` NULL:
 * without that file. */
static void copy(const char *name, const char *from, const char *to) {
    for (int i = 0; i < 4; i++) {
        size_t size;
        char *bytes = slurp(names[i], &size);
        const bool changed = strcmp(names[i], name) == 0;
        if (changed && to) {
            char *at = bytes;
            while (at < bytes + size && memcmp(at, from, strlen(from)) != 0) at++;
            cr_assert_lt(at, bytes + size, "%s", from);
            memmove(at + strlen(to), at + strlen(from), size - (size_t)(at - bytes) - strlen(from));
            memcpy(at, to, strlen(to));
            size = size + strlen(to) - strlen(from);
        }
        if (!changed || to) put(names[i], bytes, size);
        free(bytes);
    }
}

static void setup(void) {
    strcpy(folder, "/tmp/sampo-published-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void teardown(void) {
    for (int i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static bool load(void) {
    lm_instance instance;
    err = (tensor_error){0};
    const bool ok = lm_checkpoint_load(&instance, lm_program(), folder, &err);
    lm_instance_free(&instance);
    return ok;
}

static void refuses(const char *name, const char *from, const char *to, const char *fault) {
    copy(name, from, to);
    cr_expect_not(load(), "%s: %s", name, fault);
    cr_expect(strstr(err.text, fault) != NULL, "'%s' is not '%s'", err.text, fault);
    teardown();
    cr_assert_eq(mkdir(folder, 0777), 0);
}

Test(published, faults, .init = setup, .fini = teardown) {
    copy("", "", "");
    cr_expect(load(), "%s", err.text);
    teardown();
    cr_assert_eq(mkdir(folder, 0777), 0);
    cr_expect_not(load());
    cr_expect(strstr(err.text, ": a folder without model.safetensors, best.safetensors or last.safetensors"),
              "%s", err.text);
    refuses("config.json", "", NULL,
            "model.safetensors: a width of 6 are no heads of 64, as GPT-2 has them; config.json with its "
            "n_head must lie "
            "beside it");
    refuses("config.json", "\"n_head\": 3", "\"n_head\": 4", "4 heads do not divide a width of 6");
    refuses("config.json", "\"n_head\": 3", "\"n_head\": \"x\"",
            "config.json: n_head: 'x' is not a whole number");
    refuses("config.json", "\"n_head\": 3", "\"n_head\": 0",
            "config.json: n_head: 0 is out of range: 1 to 1024");
    refuses("config.json", "\"n_embd\": 6", "\"n_embd\": 8", "config.json: n_embd is 8, expected 6");
    refuses("config.json", "\"n_layer\": 2", "\"n_layer\": 3", "config.json: n_layer is 3, expected 2");
    refuses("config.json", "gelu_new", "swish",
            "config.json: activation_function is swish, expected gelu_new, gelu or relu");
    refuses("config.json", "\"gpt2\"", "\"opt\"", "config.json: model_type is opt, expected gpt2");
    refuses("config.json", "1e-05", "1e-06", "config.json: layer_norm_epsilon is 1e-06, expected 1e-05");
    refuses("config.json", "{", "[", "config.json: JSON, byte ");
    refuses("vocab.json", "", NULL,
            "what its tokens are is not known: vocab.json and merges.txt must lie beside it");
    refuses("merges.txt", "", NULL,
            "what its tokens are is not known: vocab.json and merges.txt must lie beside it");
    refuses("model.safetensors", "\"wte.weight\"", "\"wtx.weight\"",
            "neither has it our metadata, nor is it a GPT-2: it has no table wte.weight");
    refuses("model.safetensors", "\"h.1.mlp.c_fc.bias\"", "\"h.1.mlp.c_fx.bias\"",
            "no tensor \"h.1.mlp.c_fc.bias\"");
}
