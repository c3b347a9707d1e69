/* GPT-2s and Llamas as transformers publishes them: logits and greedy tokens are those of transformers. Small ones are in
 * tests/fixtures; $SAMPO_PUBLISHED names another folder that published.py has made. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/write/write.h"

#define FIXTURE SAMPO_FIXTURES "/gpt2"

/* models/llama.c, compiled with a name of its own for lm_program. */
const lm_model *llama_program(void);

static tensor_error err;
static char folder[64];

/* What model makes of tokens, without gradients: logits [1, N, V], until the tape is reset. */
static tensor logits_of(const lm_instance *instance, ag_tape *tape, const int32_t *ids, int64_t count) {
    const tensor x = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(1, count));
    memcpy(x.i32, ids, (size_t)count * sizeof *ids);
    const ag_var *y = instance->model->forward(instance->model->self, &(lm_input){.ids = ag_input(tape, x)});
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

/* Whether the model at `path` is what `expected`/expected.safetensors says. */
static void check_model(const lm_model *model, const char *path, const char *expected_folder, bool tell) {
    enum { MOST = 1024 };
    char name[4200];
    lm_instance instance;
    cr_assert(lm_checkpoint_load(&instance, model, path, &err), "%s", err.text);
    snprintf(name, sizeof name, "%s/expected.safetensors", expected_folder);
    nn_file *expected = nn_file_open(name, &err);
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
    cr_assert_geq(y.shape[2], vocabulary); /* more: spare ones */
    const float *got = y.f32 + (count - rows) * y.shape[2], *want = logits->data;
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < rows * vocabulary; i++) {
        const double x = (double)got[i / vocabulary * y.shape[2] + i % vocabulary];
        largest = fmax(largest, fabs((double)want[i]));
        difference = fmax(difference, fabs(x - (double)want[i]));
    }
    cr_expect(largest > 1 && difference < 1e-4, "logits up to %g differ by %g", largest, difference);
    if (tell) printf("%s: logits up to %.3g differ by %.3g\n", path, largest, difference);

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

static void check_expected(const char *path, const char *expected_folder, bool tell) {
    check_model(lm_program(), path, expected_folder, tell);
}

/* $SAMPO_PUBLISHED is a Llama where its folder is called so. */
Test(published, equals_transformers) {
    const char *given = getenv("SAMPO_PUBLISHED"), *from = given ? given : FIXTURE;
    const char *llama = given ? strstr(given, "/llama") : NULL;
    check_model(llama && !strchr(llama + 1, '/') ? llama_program() : lm_program(), from, from, given);
}

Test(published, a_llama_equals_transformers) {
    check_model(llama_program(), SAMPO_FIXTURES "/llama", SAMPO_FIXTURES "/llama", false);
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

enum { MODEL, CONFIG, VOCAB, MERGES, COPIED, NAMES = 9 };
static const char *const names[NAMES] = {"model.safetensors",
                                         "config.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.json",
                                         "added_tokens.json",
                                         "model.safetensors.index.json",
                                         "one.safetensors",
                                         "two.safetensors"};

/* A copy of the fixture where, in the file `name`, `from` is `to`, of the same length in a file of tensors; `to` NULL:
 * without that file. */
static void copy(const char *name, const char *from, const char *to) {
    for (int i = 0; i < COPIED; i++) {
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
    for (int i = 0; i < NAMES; i++) {
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
    refuses("config.json", "\"n_head\": 3", "\"n_head\": 4", "a width of 6 cannot be divided among 4 heads");
    refuses("config.json", "\"n_head\": 3", "\"n_head\": \"x\"",
            "config.json: n_head: 'x' is not a whole number");
    refuses("config.json", "\"n_head\": 3", "\"n_head\": 0",
            "config.json: n_head: 0 is out of range: 1 to 1024");
    refuses("config.json", "\"n_embd\": 6", "\"n_embd\": 8", "config.json: n_embd is 8, expected 6");
    refuses("config.json", "\"n_layer\": 2", "\"n_layer\": 3", "config.json: n_layer is 3, expected 2");
    refuses("config.json", "gelu_new", "swish",
            "config.json: activation_function is swish, expected gelu_new, gelu or relu");
    refuses("config.json", "\"gpt2\"", "\"opt\"",
            "config.json: model_type is opt, expected gpt2; what export writes as opt is for other programs");
    refuses("config.json", "\"gpt2\"", "\"mpt\"", "config.json: model_type is mpt, expected gpt2");
    refuses("config.json", "1e-05", "\"1e-05\"x", "config.json: JSON, byte ");
    refuses("config.json", "1e-05", "1e-05\xff", "config.json: JSON, byte "); /* no advice about texts */
    refuses("config.json", "1e-05", "-1", "config.json: layer_norm_epsilon: -1 is out of range: 1e-20 to 1");
    refuses("config.json", "1e-05", "true", "config.json: layer_norm_epsilon: 'true' is not a number");
    refuses("config.json", "\"n_inner\": null", "\"n_inner\": 25", "config.json: n_inner is 25, expected 24");
    refuses("config.json", "\"n_layer\": 2", "\"n_layer\": 2.5",
            "config.json: n_layer: '2.5' is not a whole number");
    refuses("config.json", "{", "{\"add_cross_attention\": true, ",
            "config.json: add_cross_attention is true");
    refuses("config.json", "\"scale_attn_weights\": true", "\"scale_attn_weights\": 1",
            "config.json: scale_attn_weights: '1' is neither true nor false");
    refuses("config.json", "{", "{\"tie_word_embeddings\": false, ",
            "config.json: tie_word_embeddings is false, but there is no lm_head.weight");
    refuses("vocab.json", "\"!\":1,", "\"!\":283,", "vocab.json: token 283: the model has only 283 tokens");
    refuses("config.json", "{", "[", "config.json: JSON, byte ");
    refuses("vocab.json", "", NULL,
            "what its tokens are is not known: tokenizer.json, or vocab.json and merges.txt, must lie there");
    refuses("merges.txt", "", NULL,
            "what its tokens are is not known: tokenizer.json, or vocab.json and merges.txt, must lie there");
    refuses("model.safetensors", "\"wte.weight\"", "\"wtx.weight\"",
            "it was not written by Sampo, and is not a GPT-2: it has no table wte.weight");
    refuses("model.safetensors", "\"h.1.mlp.c_fc.bias\"", "\"h.1.mlp.c_fx.bias\"",
            "no tensor \"h.1.mlp.c_fc.bias\"");
}

/* ---- Forms ---------------------------------------------------------------------------------------- */

static void expect_as_fixture(const char *what) {
    char path[128];
    snprintf(path, sizeof path, "%s", folder);
    check_expected(path, FIXTURE, false);
    (void)what;
    teardown();
    cr_assert_eq(mkdir(folder, 0777), 0);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void leave_out(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(unlink(path), 0);
}

/* Files from any editor and system; numbers however they are written. */
Test(published, texts, .init = setup, .fini = teardown) {
    size_t size;
    copy("config.json", "1e-05", "0.0000100");
    expect_as_fixture("a number");
    copy("config.json", "\"n_layer\": 2", "\"n_layer\": 2.0");
    expect_as_fixture("a whole number");
    copy("config.json", "{", "\xef\xbb\xbf{");
    expect_as_fixture("a byte order mark");
    copy("", "", "");
    char *lines = slurp("merges.txt", &size), *changed = calloc(2, size + 4), *to = changed;
    to += sprintf(to, "\xef\xbb\xbf");
    for (char *at = lines; *at; at++) {
        if (*at == '\n') *to++ = '\r';
        *to++ = *at;
    }
    put("merges.txt", changed, (size_t)(to - changed) - 2); /* no newline at the end */
    expect_as_fixture("another system's lines");
    free(lines);
    free(changed);
}

/* tokenizer.json of the fixture's vocab.json and merges.txt: its merges as strings, or as pairs. */
static void put_tokenizer_json(bool pairs, const char *before, const char *added) {
    size_t size, merges_size;
    char *vocabulary = slurp("vocab.json", &size), *merges = slurp("merges.txt", &merges_size);
    char *json = calloc(1, size + 4 * merges_size + 4000), *to = json;
    to += sprintf(to,
                  "{\"version\":\"1.0\",%s\"added_tokens\":[{\"id\":0,\"content\":\"<|endoftext|>\","
                  "\"lstrip\":false}%s],"
                  "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                  "\"model\":{\"type\":\"BPE\",\"vocab\":%s,\"merges\":[ ",
                  before, added, vocabulary);
    for (char *line = strtok(merges, "\n"), *space; line; line = strtok(NULL, "\n")) {
        if (*line == '#' || !(space = strchr(line, ' '))) continue;
        *space = '\0';
        to += sprintf(to, pairs ? "[\"%s\",\"%s\"]," : "\"%s %s\",", line, space + 1);
    }
    sprintf(to - 1, "]}}");
    put_text("tokenizer.json", json);
    free(vocabulary);
    free(merges);
    free(json);
}

Test(published, tokenizer_json, .init = setup, .fini = teardown) {
    for (int pairs = 0; pairs < 2; pairs++) {
        copy("vocab.json", "", NULL);
        leave_out("merges.txt");
        put_tokenizer_json(pairs, "", "");
        expect_as_fixture("tokenizer.json alone");
    }
    static const char *const faults[][3] = {
        {"\"normalizer\":{\"type\":\"NFC\"},", "", "tokenizer.json: it has a normalizer"},
        {"", ",{\"id\":1}", "tokenizer.json: added token 1 has no content with a number"},
        {"", ",{\"id\":1,\"content\":\"x\",\"rstrip\":true}",
         "tokenizer.json: added_tokens: rstrip is true; GPT-2's tokenizer has false"},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\"},", "",
         "tokenizer.json: pre_tokenizer: type is Metaspace; GPT-2's tokenizer has ByteLevel"},
        {"\"model\":{\"type\":\"WordPiece\"},", "", "tokenizer.json: model: type is WordPiece"},
        {"[", "", "tokenizer.json: JSON, byte "},
        {"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},", "",
         "pre_tokenizer: add_prefix_space is true; GPT-2's tokenizer has false"},
        {"\"pre_tokenizer\":[],", "", "tokenizer.json: JSON"},
        {"\"pre_tokenizer\":null,", "", "tokenizer.json: it has no pre_tokenizer"},
        {"\"model\":{\"byte_fallback\":true},", "", "model: byte_fallback is true"},
        {"\"model\":{\"ignore_merges\":true},", "", "model: ignore_merges is true"},
        {"\"model\":{\"continuing_subword_prefix\":\"#\"},", "", "model: continuing_subword_prefix is #"},
        {"\"model\":{\"end_of_word_suffix\":\"w\"},", "", "model: end_of_word_suffix is w"},
        {"\"model\":{},", "", "model: it has no vocab"},
        {"\"model\":[],", "", "tokenizer.json: JSON"},
        {"\"added_tokens\":{},", "", "tokenizer.json: JSON"},
        {"\"added_tokens\":[1],", "", "tokenizer.json: JSON"},
        {"\"added_tokens\":[{\"id\":\"x\",\"content\":\"y\"}],", "",
         "added token 0 has no content with a number"},
        {"\"added_tokens\":[{\"id\":1,\"content\":\"y\",\"lstrip\":true}],", "",
         "added_tokens: lstrip is true"},
        {"\"added_tokens\":[{\"id\":1,\"content\":\"y\",\"single_word\":true}],", "",
         "added_tokens: single_word is true"},
        {"\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}},", "", "it has 1 tokens, the model 283"},
        {"\"model\":{\"type\":\"WordLevel\",\"vocab\":[]},", "", "tokenizer.json: JSON"},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]},", "", "tokenizer.json: "},
        {"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}},", "", "tokenizer.json: JSON"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        copy("", "", "");
        put_tokenizer_json(true, faults[i][0], faults[i][1]);
        cr_expect_not(load(), "%s", faults[i][2]);
        cr_expect(strstr(err.text, faults[i][2]), "'%s' is not '%s'", err.text, faults[i][2]);
    }
}

/* The tensors of the fixture, those from `begin` to `end` - 1 of them, as a file. */
static void put_tensors(const char *name, const nn_entry *list, int begin, int end) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert(nn_file_save(path, list + begin, end - begin, NULL, 0, &err), "%s", err.text);
}

enum { MOST_TENSORS = 100 };
static nn_file *open_fixture(nn_entry list[MOST_TENSORS], int *count) {
    nn_file *file = nn_file_open(FIXTURE "/model.safetensors", &err);
    cr_assert(file, "%s", err.text);
    *count = nn_file_entries(file);
    cr_assert_lt(*count, MOST_TENSORS);
    for (int i = 0; i < *count; i++) list[i] = *nn_file_at(file, i);
    return file;
}

Test(published, several_files, .init = setup, .fini = teardown) {
    nn_entry list[MOST_TENSORS];
    int count;
    nn_file *file = open_fixture(list, &count);
    char map[8000];
    static const char *const faults[][3] = {
        {"two.safetensors", "three.safetensors", "three.safetensors: cannot open"},
        {"two.safetensors", "../two.safetensors", "'../two.safetensors' is not a file beside it"},
        {"weight_map", "weight_mop", "model.safetensors.index.json: it has no weight_map"},
        {"two.safetensors", "one.safetensors", "it has no table wte.weight"},
    };
    for (int k = -1; k < 4; k++) {
        const char *second = k < 0 || k == 2 ? "two.safetensors" : faults[k][1];
        char *to = map + sprintf(map, "{\"metadata\": {}, \"%s\": {", k == 2 ? faults[k][1] : "weight_map");
        for (int i = 0; i < count; i++)
            to += sprintf(to, "%s\"%s\": \"%s\"", i ? ", " : "", list[i].name,
                          i < 9 ? "one.safetensors" : second);
        sprintf(to, "}}");
        copy("model.safetensors", "", NULL);
        put_tensors("one.safetensors", list, 0, 9);
        put_tensors("two.safetensors", list, 9, count);
        put_text("model.safetensors.index.json", map);
        if (k < 0) {
            expect_as_fixture("two files");
            continue;
        }
        cr_expect_not(load(), "%s", faults[k][2]);
        cr_expect(strstr(err.text, faults[k][2]), "'%s' is not '%s'", err.text, faults[k][2]);
    }
    put_tensors("one.safetensors", list, 0, 10); /* a tensor is in both */
    copy("model.safetensors", "", NULL);
    sprintf(map, "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
    put_text("model.safetensors.index.json", map);
    cr_expect_not(load());
    cr_expect(strstr(err.text, "comes twice"), "%s", err.text);
    nn_file_close(file);
}

/* Rows of the table that are no tokens, of which the last have large logits: they are never chosen. */
Test(published, spare_rows, .init = setup, .fini = teardown) {
    nn_entry list[MOST_TENSORS];
    int count, wte = 0;
    nn_file *file = open_fixture(list, &count);
    while (strcmp(list[wte].name, "wte.weight") != 0) wte++;
    const size_t bytes = list[wte].bytes, row = bytes / (size_t)list[wte].shape[0];
    const int64_t tokens = list[wte].shape[0];
    float *table = calloc(1, bytes + 4 * row);
    memcpy(table, list[wte].data, bytes);
    list[wte].data = table;
    for (int spare = 1; spare <= 4; spare += 3) {
        for (int added = 0; added < 2; added++) {
            list[wte].bytes = bytes + (size_t)spare * row;
            list[wte].shape[0] = tokens + spare;
            copy("config.json", "\"vocab_size\": 283",
                 spare == 1 ? "\"vocab_size\": 284" : "\"vocab_size\": 287");
            put_tensors("model.safetensors", list, 0, count);
            if (added) put_text("added_tokens.json", "{\"[PAD]\": 283, \"[FAR]\": 400}");
            lm_instance instance;
            cr_assert(lm_checkpoint_load(&instance, lm_program(), folder, &err), "%s", err.text);
            cr_expect_eq(instance.tokenizer.count, tokens + spare);
            const tensor ids = lm_encode(&instance.tokenizer, "a[PAD]a", 7, instance.arena, &err);
            cr_expect(tensor_ok(ids) && (ids.shape[0] == 3) == added);
            if (added) cr_expect_eq(ids.i32[1], 283);
            lm_instance_free(&instance);
            expect_as_fixture("spare rows");
        }
    }
    /* The likeliest by far, and not chosen. */
    for (size_t i = bytes / sizeof *table; i < (bytes + 4 * row) / sizeof *table; i++) table[i] = 1e3f;
    copy("config.json", "\"vocab_size\": 283", "\"vocab_size\": 287");
    put_tensors("model.safetensors", list, 0, count);
    lm_instance instance;
    cr_assert(lm_checkpoint_load(&instance, lm_program(), folder, &err), "%s", err.text);
    for (int greedy = 0; greedy < 2; greedy++) {
        char *text;
        size_t size;
        FILE *stream = open_memstream(&text, &size);
        const lm_sampling sampling = {
            .prompt = "Vaka", .tokens = 12, .temperature = greedy ? 0 : 2, .top_p = 1, .samples = 9};
        cr_expect(lm_sample(&instance, &sampling, stream, &err), "%s", err.text);
        fclose(stream);
        cr_expect_gt(size, 9 * 10); /* what spare tokens stand for is nothing */
        free(text);
    }
    lm_instance_free(&instance);
    nn_file_close(file);
    free(table);
}

/* A head of its own counts, whatever config.json says. */
Test(published, heads, .init = setup, .fini = teardown) {
    nn_entry list[MOST_TENSORS];
    int count, wte = 0;
    nn_file *file = open_fixture(list, &count);
    while (strcmp(list[wte].name, "wte.weight") != 0) wte++;
    float *table = malloc(list[wte].bytes);
    for (int changed = 0; changed < 2; changed++) {
        memcpy(table, list[wte].data, list[wte].bytes);
        table[7] += (float)changed;
        list[count] = list[wte];
        list[count].name = "lm_head.weight";
        list[count].data = table;
        copy("", "", "");
        put_tensors("model.safetensors", list, 0, count + 1);
        lm_instance instance;
        cr_assert(lm_checkpoint_load(&instance, lm_program(), folder, &err), "%s", err.text);
        for (const lm_option *o = instance.model->options; o->name; o++)
            if (strcmp(o->name, "tied-head") == 0) cr_expect_eq(*(bool *)o->value, !changed);
        lm_instance_free(&instance);
    }
    nn_file_close(file);
    free(table);
}

/* A context that is shorter than the model's: what it makes of so many tokens is the same. */
Test(published, cropped) {
    static const int32_t ids[] = {5, 70, 33, 12, 90, 41};
    float logits[2][6 * 283];
    for (int crop = 0; crop < 2; crop++) {
        lm_instance instance;
        cr_assert(lm_checkpoint_load_cropped(&instance, lm_program(), FIXTURE, crop ? 6 : 0, &err), "%s",
                  err.text);
        cr_expect_eq(instance.context, crop ? 6 : 19);
        ag_tape *tape = ag_tape_new();
        const tensor y = logits_of(&instance, tape, ids, 6);
        memcpy(logits[crop], y.f32, sizeof *logits);
        ag_tape_free(tape);
        lm_instance_free(&instance);
    }
    cr_expect_arr_eq(logits[0], logits[1], sizeof *logits);
    lm_instance instance;
    cr_expect_not(lm_checkpoint_load_cropped(&instance, lm_program(), FIXTURE, 20, &err));
    cr_expect(strstr(err.text, "its context is 19, so --context can be lower, but not 20"), "%s", err.text);
    lm_instance_free(&instance);
}

/* What `sample` writes after a prompt, always the likeliest token. */
static char *greedy_text(const lm_instance *instance, const char *prompt, int64_t tokens) {
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    const lm_sampling sampling = {.prompt = prompt, .tokens = tokens, .top_p = 1};
    cr_assert(lm_sample(instance, &sampling, stream, &err), "%s", err.text);
    fclose(stream);
    text[size - 1] = '\0'; /* the newline */
    for (char *at; (at = memchr(text, '\0', size - 1));) *at = '\1';
    return text;
}

/* The token that config.json names ends a text: nothing is written from there on, and other texts go on. */
Test(published, end_of_text, .init = setup, .fini = teardown) {
    nn_file *file = nn_file_open(FIXTURE "/expected.safetensors", &err);
    const int32_t *greedy = nn_file_find(file, "greedy")->data;
    char end[64], *texts[2];
    snprintf(end, sizeof end, "\"eos_token_id\": %d", greedy[4]);
    for (int given = 0; given < 2; given++) {
        lm_instance instance;
        copy("config.json", "\"eos_token_id\": null", given ? end : "\"eos_token_id\": [0, 1]");
        cr_assert(lm_checkpoint_load(&instance, lm_program(), folder, &err), "%s", err.text);
        cr_expect_eq(lm_tokenizer_end(&instance.tokenizer), given ? greedy[4] : 0);
        texts[given] = greedy_text(&instance, nn_file_metadata(file, "prompt"), 9);
        lm_instance_free(&instance);
    }
    cr_expect_lt(strlen(texts[1]), strlen(texts[0]));
    cr_expect(strncmp(texts[0], texts[1], strlen(texts[1])) == 0, "'%s', '%s'", texts[0], texts[1]);
    free(texts[0]);
    free(texts[1]);
    nn_file_close(file);
}

/* ---- Folders that people have ------------------------------------------------------------------- */

static void check_case(const char *path, const char *said, tensor_arena *arena) {
    const nn_metadata *o;
    const char *const *expected;
    int count, logits;
    lm_instance instance;
    cr_assert(nn_json_members(said, arena, &o, &count, &err));
    cr_assert(nn_json_values(nn_json_member(o, count, "first_logits"), arena, &expected, &logits, &err));
    const char *prompt = nn_json_member(o, count, "prompt");
    cr_assert(lm_checkpoint_load(&instance, lm_program(), path, &err), "%s", err.text);
    const tensor ids = lm_encode(&instance.tokenizer, prompt, strlen(prompt), arena, &err);
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    const tensor y = logits_of(&instance, tape, ids.i32, ids.shape[0]);
    for (int i = 0; i < logits; i++)
        cr_expect_lt(fabs(strtod(expected[i], NULL) - (double)y.f32[(ids.shape[0] - 1) * y.shape[2] + i]),
                     2e-5, "%s", path);
    char *text = greedy_text(&instance, prompt, strtoll(nn_json_member(o, count, "greedy_tokens"), NULL, 10));
    cr_expect_str_eq(text, nn_json_member(o, count, "greedy_text"), "%s", path);
    free(text);
    ag_tape_free(tape);
    lm_instance_free(&instance);
}

Test(published, cases) {
    const char *shared = getenv("SAMPO_SHARED");
    char path[4200];
    lm_text text;
    const nn_metadata *cases;
    int count;
    snprintf(path, sizeof path, "%s/cases/programs/published/expected.json", shared ? shared : "../shared");
    if (access(path, F_OK) != 0) cr_skip_test("%s is not there", path);
    cr_assert(lm_text_read(&text, path, LM_CHAR, &err), "%s", err.text);
    tensor_arena *arena = tensor_arena_new(&err);
    char *json = tensor_arena_alloc(arena, text.size + 1, &err);
    memcpy(json, text.bytes, text.size);
    json[text.size] = '\0';
    for (char *at; (at = strstr(json, "\\u0000"));) at[5] = '1'; /* JSON's readers refuse a NUL; so does C */
    cr_assert(nn_json_members(json, arena, &cases, &count, &err), "%s", err.text);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/cases/programs/published/%s", shared ? shared : "../shared",
                 cases[i].key);
        check_case(path, cases[i].value, arena);
    }
    lm_text_free(&text);
    tensor_arena_free(arena);
}
