/* Models in files: the way there and back, and files that say what cannot be. */
#include "models/lm/files/files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A model with an option of each kind that is kept, and one that is not. */
typedef struct toy {
    int64_t width, activation;
    double scale, dropout;
    bool bias;
    struct nn_embedding wte;
    struct nn_linear head;
} toy;

static toy self;
static lm_option options[6];
static tensor_error err;
static char path[] = "/tmp/sampo-checkpoint-XXXXXX";

static void init(void *state, nn_params *params, int64_t vocabulary, int64_t context) {
    toy *m = state;
    (void)context;
    nn_embedding_init(&m->wte, params, "wte", vocabulary, m->width, 1);
    nn_linear_init(&m->head, params, "head", m->width, vocabulary, (nn_linear_options){.no_bias = !m->bias});
}

static bool check(void *state, tensor_error *fault) {
    return ((toy *)state)->width % 2 == 0 || tensor_fail(fault, "the width is odd");
}

static const lm_model model = {
    .name = "toy", .self = &self, .options = options, .check = check, .init = init};

static void setup(void) {
    self = (toy){.width = 4, .activation = 1, .scale = 0.125, .dropout = 0.1, .bias = true};
    options[0] = lm_kept("n_embd", lm_integer("width", &self.width, 1, 65536, ""));
    options[1] = lm_kept("activation", lm_choice("activation", &self.activation, "relu|gelu", ""));
    options[2] = lm_kept("scale", lm_real("scale", &self.scale, 1e-6, 1000, ""));
    options[3] = lm_kept("bias", lm_yes_no("bias", &self.bias, ""));
    options[4] = lm_real("dropout", &self.dropout, 0, 1, "");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
}

static void teardown(void) {
    unlink(path);
}

TestSuite(checkpoint, .init = setup, .fini = teardown);

Test(checkpoint, goes_round) {
    static const char alphabet[] = "\n\"\\ a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\x01";
    lm_instance a = {.model = &model, .arena = tensor_arena_new(&err), .context = 17}, b;
    lm_text text = {.bytes = alphabet, .size = strlen(alphabet)};
    cr_assert(lm_tokenizer_of_text(&a.tokenizer, &text, a.arena, &err));
    a.params = nn_params_new();
    init(&self, a.params, a.tokenizer.count, a.context);
    cr_assert(nn_params_finalize(a.params, 3));
    cr_assert(lm_checkpoint_save(&a, (lm_extras){0}, path, &err), "%s", err.text);

    self = (toy){.width = 999, .dropout = 0.5};
    cr_assert(lm_checkpoint_load(&b, &model, path, &err), "%s", err.text);
    cr_expect(self.width == 4 && self.activation == 1 && self.scale == 0.125 && self.bias);
    cr_expect_eq(self.dropout, 0.5);
    cr_expect_eq(b.context, 17);
    cr_assert_eq(b.tokenizer.count, a.tokenizer.count);
    for (int i = 0; i < a.tokenizer.count; i++) {
        lm_piece x = lm_decode(&a.tokenizer, i), y = lm_decode(&b.tokenizer, i);
        cr_expect(x.size == y.size && memcmp(x.bytes, y.bytes, x.size) == 0);
    }
    cr_assert_eq(nn_params_count(b.params), nn_params_count(a.params));
    cr_expect_arr_eq(nn_values(b.params).f32, nn_values(a.params).f32,
                     (size_t)nn_params_count(a.params) * sizeof(float));
    lm_instance_free(&a);
    lm_instance_free(&b);
}

/* A good file's metadata; a case replaces one value, or with NULL leaves the key out. */
static const nn_metadata good[] = {
    {"architecture", "toy"}, {"tokenizer", "char"}, {"vocab_size", "2"},
    {"context_length", "8"}, {"n_embd", "4"},       {"activation", "relu"},
    {"scale", "0.5"},        {"bias", "true"},      {"vocabulary", "[\"a\", \"b\"]"}};
enum { KEYS = sizeof good / sizeof *good };

/* Writes a file with tensors for two tokens and a width of 4, and loads it. */
static bool load_with(const char *key, const char *value) {
    nn_metadata metadata[KEYS];
    int count = 0;
    for (int i = 0; i < KEYS; i++) {
        bool changed = key && strcmp(good[i].key, key) == 0;
        if (changed && !value) continue;
        metadata[count++] = (nn_metadata){good[i].key, changed ? value : good[i].value};
    }
    static float zeros[8];
    const nn_entry entries[] = {{"wte.weight", "F32", 2, {2, 4}, zeros, 32},
                                {"head.weight", "F32", 2, {4, 2}, zeros, 32},
                                {"head.bias", "F32", 1, {2}, zeros, 8}};
    err = (tensor_error){0};
    cr_assert(nn_file_save(path, entries, 3, metadata, count, &err), "%s", err.text);
    lm_instance instance;
    bool ok = lm_checkpoint_load(&instance, &model, path, &err);
    lm_instance_free(&instance);
    return ok;
}

static void expect_fault(const char *key, const char *value, const char *fault) {
    cr_expect_not(load_with(key, value), "%s %s", key, value ? value : "missing");
    size_t length = strlen(path);
    bool named = strncmp(err.text, path, length) == 0 && strncmp(err.text + length, ": ", 2) == 0;
    cr_expect(named, "%s", err.text);
    if (named) cr_expect_str_eq(err.text + length + 2, fault);
}

Test(checkpoint, every_key_is_needed) {
    cr_assert(load_with(NULL, NULL), "%s", err.text);
    for (int i = 0; i < KEYS; i++) {
        char fault[100];
        snprintf(fault, sizeof fault, "the metadata lack '%s'", good[i].key);
        expect_fault(good[i].key, NULL, fault);
    }
}

Test(checkpoint, hostile_metadata) {
    expect_fault("architecture", "gpt", "its architecture is 'gpt', not 'toy'; the program gpt reads it");
    expect_fault("tokenizer", "bpe", "the metadata lack 'merges'");
    expect_fault("tokenizer", "chars", "its tokenizer is 'chars', none of char, byte and bpe");
    expect_fault("tokenizer", "byte", "the vocabulary has 256 entries, vocab_size says 2");
    expect_fault("context_length", "0", "context_length: 0 is out of range: 1 to 65536");
    expect_fault("context_length", "1000000000000",
                 "context_length: 1000000000000 is out of range: 1 to 65536");
    expect_fault("vocab_size", "3", "the vocabulary has 2 entries, vocab_size says 3");
    expect_fault("vocab_size", "99999999999999999999",
                 "vocab_size: 99999999999999999999 is out of range: 1 to 1114112");
    expect_fault("n_embd", "-4", "n_embd: -4 is out of range: 1 to 65536");
    expect_fault("n_embd", "4x", "n_embd: '4x' is not a whole number");
    expect_fault("n_embd", "3", "the width is odd");
    expect_fault("n_embd", "65536",
                 "its tensors have 18 numbers, too few for the 262146 parameters of its configuration");
    expect_fault("n_embd", "2", "tensor \"wte.weight\" is [2, 4], expected [2, 2]");
    expect_fault("activation", "swish", "activation: 'swish' is none of relu|gelu");
    expect_fault("scale", "nan", "scale: 'nan' is not a number");
    expect_fault("scale", "0", "scale: 0 is out of range: 1e-6 to 1000");
    expect_fault("bias", "1", "bias: '1' is neither yes nor no");
    expect_fault("vocabulary", "[\"a\", \"a\"]", "the vocabulary has entry 1 twice");
    expect_fault("vocabulary", "[\"a\", \"bb\"]", "entry 1 of the vocabulary is not one character");
    cr_expect_not(load_with("vocabulary", "[\"a\", "));
    cr_expect_not(load_with("vocabulary", "{}"));
    cr_expect_not(load_with("vocabulary", "[]"));
}
