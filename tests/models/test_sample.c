/* Sampling with a cache of keys and values: the bits of the whole window's forward pass, and no memory per token. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/write/write.h"
#include "tests/faults.h"

enum { VOCABULARY = 51, MAX_CONTEXT = 80 };

static tensor_error err;
static lm_instance instance;
static ag_tape *tape;

static void set(const char *name, const char *value) {
    for (const lm_option *o = instance.model->options; o->name; o++)
        if (strcmp(o->name, name) == 0) {
            cr_assert(lm_option_set(o, value, &err), "%s", err.text);
            return;
        }
    cr_assert_fail("no option %s", name);
}

/* Counts of a text in which sequences come again. */
static lm_counts *make_counts(int order) {
    enum { LENGTH = 3000 };
    static int32_t text[LENGTH];
    tensor_rng rng = {.seed = 4};
    for (int i = 0; i < LENGTH; i++)
        text[i] =
            (int32_t)(i < 100 || i % 9 == 0 ? tensor_rng_below(&rng, VOCABULARY) : (uint64_t)text[i - 97]);
    lm_counts *counts = lm_counts_learn((lm_tokens){text, LENGTH, 4}, VOCABULARY, order, &err);
    cr_assert(counts, "%s", err.text);
    return counts;
}

/* A GPT with random weights: of the defaults, or with everything that they leave out, or with counts and tables. The
 * variant's context is longer than a tile of attention's keys. */
typedef enum model_kind { PLAIN, VARIANT, COUNTED } model_kind;
static void make_instance(model_kind kind) {
    static const char *const options[][8][2] = {{{0}},
                                                {{"layers", "2"},
                                                 {"heads", "3"},
                                                 {"width", "36"},
                                                 {"activation", "gelu"},
                                                 {"qkv-bias", "yes"},
                                                 {"final-norm", "yes"},
                                                 {"tied-head", "yes"},
                                                 {"head-bias", "no"}},
                                                {{"layers", "2"},
                                                 {"width", "16"},
                                                 {"prior", "4"},
                                                 {"gram-rows", "300"},
                                                 {"value-rows", "2704"},
                                                 {"final-norm", "yes"}}};
    const char *strings[VOCABULARY];
    char texts[VOCABULARY][2] = {"\n"};
    for (int i = 0; i < VOCABULARY; i++) {
        if (i > 0) texts[i][0] = (char)('@' + i);
        strings[i] = texts[i];
    }
    instance =
        (lm_instance){.model = lm_program(), .arena = tensor_arena_new(&err), .params = nn_params_new()};
    const lm_model *model = instance.model;
    instance.context = kind == VARIANT ? MAX_CONTEXT : kind == COUNTED ? 24 : model->defaults.context;
    for (int i = 0; i < 8 && options[kind][i][0]; i++) set(options[kind][i][0], options[kind][i][1]);
    if (kind == COUNTED) instance.counts = make_counts(4);
    cr_assert(model->check(model->self, &err), "%s", err.text);
    cr_assert(lm_tokenizer_of_strings(&instance.tokenizer, strings, VOCABULARY, instance.arena, &err));
    model->init(model->self, instance.params, VOCABULARY, instance.context);
    cr_assert(nn_params_finalize(instance.params, 1), "%s", nn_params_error(instance.params));
    tensor_rng rng = {.seed = 2}; /* biases are not 0 either */
    cr_assert(tensor_rand_normal(nn_values(instance.params), &rng, 0, 0.3f, &err));
    tape = ag_tape_new();
    ag_set_recording(tape, false);
}

static void free_instance(void) {
    ag_tape_free(tape);
    lm_instance_free(&instance);
}

TestSuite(sample, .fini = free_instance);

/* The logits after ids[begin..end-1], as the tape has them. */
static tensor logits_of(tensor ids, int64_t begin, int64_t end, nn_cache *cache) {
    const lm_model *model = instance.model;
    ag_reset(tape);
    const lm_input in = {.ids = ag_input(tape, tensor_slice(ids, 1, begin, end, 1, &err)),
                         .cache = cache,
                         .counts = instance.counts,
                         .window = tensor_slice(ids, 1, cache ? 0 : begin, end, 1, &err)};
    ag_var *x = model->forward(model->self, &in);
    cr_assert(x, "%s", ag_error(tape));
    return x->value;
}

/* Tokens in runs of `step`: the last of each run has the bits of the full pass. */
static void check_logits(int64_t step) {
    const int64_t context = instance.context;
    float full[MAX_CONTEXT * VOCABULARY];
    nn_cache cache;
    tensor_rng rng = {.seed = 3};
    const tensor ids = tensor_new(instance.arena, TENSOR_I32, TENSOR_SHAPE(1, context), &err);
    cr_assert(tensor_rand_integers(ids, &rng, 0, VOCABULARY, &err));
    cr_assert(instance.model->cache(instance.model->self, &cache, 1, context, instance.arena, &err));
    memcpy(full, logits_of(ids, 0, context, NULL).f32, (size_t)(context * VOCABULARY) * sizeof *full);
    for (int64_t end; cache.length < context; cache.length = end) {
        end = cache.length + step < context ? cache.length + step : context;
        const tensor x = logits_of(ids, cache.length, end, &cache);
        cr_assert_eq(tensor_size(x), VOCABULARY);
        cr_assert_arr_eq(x.f32, full + (end - 1) * VOCABULARY, VOCABULARY * sizeof *full,
                         "token %lld in runs of %lld", (long long)end, (long long)step);
    }
}

static void check_all_logits(model_kind kind) {
    make_instance(kind);
    const int64_t steps[] = {1, 2, 13, MAX_CONTEXT};
    for (int i = 0; i < 4; i++) check_logits(steps[i]);
}

Test(sample, logits_have_the_bits_of_the_full_pass) {
    check_all_logits(PLAIN);
}

Test(sample, logits_of_a_variant_have_the_bits_of_the_full_pass) {
    check_all_logits(VARIANT);
}

Test(sample, logits_with_counts_have_the_bits_of_the_full_pass) {
    check_all_logits(COUNTED);
}

/* What stood before the window changes nothing in it. */
Test(sample, counts_and_tables_see_the_window_alone) {
    make_instance(COUNTED);
    const int64_t context = instance.context;
    float first[MAX_CONTEXT * VOCABULARY];
    tensor_rng rng = {.seed = 5};
    const tensor ids = tensor_new(instance.arena, TENSOR_I32, TENSOR_SHAPE(1, 3 * context), &err);
    cr_assert(tensor_rand_integers(ids, &rng, 0, VOCABULARY, &err));
    const size_t bytes = (size_t)(context * VOCABULARY) * sizeof *first;
    memcpy(first, logits_of(ids, context, 2 * context, NULL).f32, bytes);
    for (int64_t i = 0; i < context; i++)
        ids.i32[i] = ids.i32[2 * context + i] = -1; /* no token: not to be read */
    cr_expect_arr_eq(logits_of(ids, context, 2 * context, NULL).f32, first, bytes);
}

/* The likeliest text after `prompt`, every token from a full pass over the last tokens: with the prompt and a newline,
 * as lm_sample writes it. */
static void plain_text(const char *prompt, int64_t tokens, char *text) {
    const int64_t context = instance.context, given = (int64_t)strlen(prompt);
    const tensor all = tensor_new(instance.arena, TENSOR_I32, TENSOR_SHAPE(1, given + tokens), &err);
    cr_assert(tensor_ok(all));
    strcpy(text, prompt);
    for (int64_t i = 0; i < given + tokens; i++) {
        if (i >= given) {
            const int64_t begin = i > context ? i - context : 0;
            const tensor x = logits_of(all, begin, i, NULL);
            const float *last = x.f32 + (i - begin - 1) * VOCABULARY;
            int best = 0;
            for (int v = 1; v < VOCABULARY; v++)
                if (last[v] > last[best]) best = v;
            text[i] = *lm_decode(&instance.tokenizer, best).bytes;
        }
        all.i32[i] = lm_tokenizer_find(&instance.tokenizer, text + i, 1);
    }
    strcpy(text + given + tokens, "\n");
}

static void check_text(model_kind kind, const char *prompt) {
    enum { TOKENS = 4 * MAX_CONTEXT };
    make_instance(kind);
    char expected[2 * TOKENS], written[2 * TOKENS] = "";
    plain_text(prompt, TOKENS, expected);
    FILE *file = fmemopen(written, sizeof written, "w");
    cr_assert(file);
    const lm_sampling sampling = {.prompt = prompt, .tokens = TOKENS, .temperature = 0};
    cr_assert(lm_sample(&instance, &sampling, file, &err), "%s", err.text);
    fclose(file);
    cr_expect_str_eq(written, expected);
}

Test(sample, text_is_that_of_full_passes) {
    check_text(PLAIN, "KALEVALA");
}

Test(sample, text_of_a_variant_is_that_of_full_passes) {
    char prompt[MAX_CONTEXT + 8];
    for (size_t i = 0; i < sizeof prompt - 1; i++) prompt[i] = (char)('B' + i * i % 31);
    prompt[sizeof prompt - 1] = '\0';
    check_text(VARIANT, prompt);
}

Test(sample, text_with_counts_is_that_of_full_passes) {
    check_text(COUNTED, "KALEVALA");
}

/* The text that `sampling` writes, to be freed. */
static char *written(lm_sampling sampling) {
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    cr_assert(file);
    cr_assert(lm_sample(&instance, &sampling, file, &err), "%s", err.text);
    fclose(file);
    return text;
}

static void check_cache(model_kind kind, int64_t tokens) {
    make_instance(kind);
    const int64_t hops[] = {1, 2, 7, instance.context - 1, instance.context, 1000};
    for (int i = 0; i < 6; i++) {
        lm_sampling sampling = {.tokens = tokens, .hop = hops[i], .prompt = "A"};
        char *cached = written(sampling);
        sampling.no_cache = true;
        char *plain = written(sampling);
        cr_expect_eq(strlen(plain), (size_t)tokens + 2);
        cr_expect_str_eq(cached, plain, "a hop of %lld", (long long)hops[i]);
        free(cached);
        free(plain);
    }
}

Test(sample, the_cache_does_not_change_the_text) {
    check_cache(PLAIN, 400);
}

Test(sample, the_cache_does_not_change_the_text_of_a_variant) {
    check_cache(VARIANT, 300);
}

Test(sample, the_cache_does_not_change_the_text_with_counts) {
    check_cache(COUNTED, 100);
}

/* Each of several samples, more than are made together, is what it would be alone. */
Test(sample, samples_do_not_depend_on_each_other) {
    enum { SAMPLES = 70 };
    make_instance(VARIANT);
    lm_sampling sampling = {.tokens = 100,
                            .temperature = 1,
                            .seed = 3,
                            .samples = SAMPLES,
                            .prompt = "AB",
                            .stop = "C",
                            .hop = 50};
    char *all = written(sampling), *at = all;
    sampling.samples = 1;
    for (int i = 0; i < SAMPLES; i++, sampling.number++) {
        char *one = written(sampling);
        cr_assert_eq(strncmp(at, one, strlen(one)), 0, "sample %d", i);
        at += strlen(one);
        if (i + 1 < SAMPLES) {
            cr_assert_eq(strncmp(at, "---\n", 4), 0, "after sample %d", i);
            at += 4;
        }
        free(one);
    }
    cr_expect_str_eq(at, "");
    free(all);
}

/* The penalty looks back over what there is, however far it may look: token 0, the likeliest of all, has not come. */
Test(sample, only_tokens_that_came_are_made_less_likely) {
    make_instance(PLAIN);
    nn_params_find(instance.params, "lm_head.bias")->value.f32[0] = 100;
    for (int64_t window = 1; window < 50; window *= 7) {
        char *text = written((lm_sampling){
            .tokens = 1, .prompt = "A", .repetition_penalty = 100, .repetition_window = window});
        cr_expect_str_eq(text, "A\n\n");
        free(text);
    }
}

Test(sample, an_empty_prompt_is_none) {
    make_instance(PLAIN);
    lm_sampling sampling = {.tokens = 30, .temperature = 1, .seed = 2};
    char *without = written(sampling);
    sampling.prompt = "";
    char *empty = written(sampling);
    cr_expect_str_eq(empty, without);
    free(without);
    free(empty);
}

Test(sample, an_interruption_ends_the_text) {
    make_instance(PLAIN);
    const volatile sig_atomic_t interrupted = 1;
    char *text = written((lm_sampling){.tokens = 1000, .prompt = "A", .interrupted = &interrupted});
    cr_expect_str_eq(text, "A\n");
    free(text);
}

static int64_t allocations_of(int64_t tokens) {
    FILE *file = fopen("/dev/null", "w");
    cr_assert(file);
    const int64_t before = fault_calls(FAULT_MEMORY);
    const lm_sampling sampling = {.tokens = tokens, .temperature = 1};
    cr_assert(lm_sample(&instance, &sampling, file, &err), "%s", err.text);
    const int64_t count = fault_calls(FAULT_MEMORY) - before;
    fclose(file);
    return count;
}

/* All memory is there once a window is full and once it has moved. */
static void check_allocations(model_kind kind) {
    make_instance(kind);
    const int64_t two = allocations_of(2), context = instance.context;
    cr_expect_gt(two, 0);
    cr_expect_eq(allocations_of(context), two);
    cr_expect_eq(allocations_of(8 * context), allocations_of(context + 2));
}

Test(sample, no_allocation_per_token) {
    check_allocations(PLAIN);
}

Test(sample, no_allocation_per_token_with_counts) {
    check_allocations(COUNTED);
}
