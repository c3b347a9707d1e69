/* The GPT's presets: their sizes, what overrides them, their initial weights. */
#include "models/lm/train/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static tensor_error err;
static int64_t batch, context, schedule, warmup, decay_on, batches;
static double rate, decay, beta2, clip;

/* Parses a command line with what presets set: the model's options and those of `train`. */
static const lm_model *parse(const char *const *words) {
    const lm_model *model = lm_program();
    batch = 64, context = 64, rate = 1e-2, decay = 0.01, beta2 = 0.999, clip = 0;
    schedule = warmup = decay_on = 0;
    const lm_option options[] = {lm_integer("batch", &batch, 1, 65536, ""),
                                 lm_integer("context", &context, 1, LM_MAX_CONTEXT, ""),
                                 lm_integer("eval-batches", &batches, 1, 1000, ""),
                                 lm_real("lr", &rate, 0, 1000, ""),
                                 lm_real("weight-decay", &decay, 0, 1000, ""),
                                 lm_real("beta2", &beta2, 0, 1, ""),
                                 lm_real("clip", &clip, 0, 1, ""),
                                 lm_integer("warmup", &warmup, 0, 1000, ""),
                                 lm_choice("schedule", &schedule, "constant|linear|cosine", ""),
                                 lm_choice("decay-on", &decay_on, "all|matrices", ""),
                                 {0}};
    const lm_usage usage = {"gpt", "train", "", NULL, {options, model->options}};
    char *argv[16];
    int argc = 0;
    const char *operand;
    bool help;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    err = (tensor_error){0};
    cr_assert(lm_options_parse(&usage, argc, argv, &operand, &help, &err), "%s", err.text);
    cr_assert(model->check(model->self, &err), "%s", err.text);
    return model;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

/* An option's value as text. */
static const char *value(const lm_model *model, const char *name) {
    static char text[80];
    for (const lm_option *o = model->options; o->name; o++) {
        if (strcmp(o->name, name) == 0) return lm_option_text(o, text, sizeof text);
    }
    return "no such option";
}

static int64_t parameters(const char *preset) {
    const lm_model *model = PARSE("--preset", preset);
    nn_params *params = nn_params_new();
    model->init(model->self, params, 50257, context);
    cr_expect_null(nn_params_error(params));
    const int64_t count = nn_params_count(params);
    nn_params_free(params);
    return count;
}

/* As transformers counts those of the published models. */
Test(gpt, presets_have_the_published_sizes) {
    cr_expect_eq(parameters("gpt2"), 124439808);
    cr_expect_eq(parameters("gpt2-medium"), 354823168);
    cr_expect_eq(parameters("gpt2-large"), 774030080);
    cr_expect_eq(parameters("gpt2-xl"), 1557611200);
    cr_expect(context == 1024 && batch == 4 && rate == 2e-4 && decay == 0.1 && beta2 == 0.95);
    cr_expect(clip == 1 && warmup == 200 && schedule == 2 && decay_on == 1);
}

Test(gpt, kalevala_is_the_default) {
    const char *const names[] = {"layers",   "heads",      "width",     "activation", "attention-scale",
                                 "qkv-bias", "final-norm", "tied-head", "head-bias",  "dropout"};
    const char *const values[] = {"3", "4", "64", "relu", "0.125", "no", "no", "no", "yes", "0"};
    for (int i = 0; i < 10; i++) {
        cr_expect_str_eq(value(PARSE(NULL), names[i]), values[i], "%s", names[i]);
        cr_expect_str_eq(value(PARSE("--preset=gpt2", "--preset=kalevala"), names[i]), values[i], "%s",
                         names[i]);
    }
    cr_expect(context == 64 && batch == 64 && rate == 1e-2);
}

Test(gpt, options_override_a_preset_wherever_they_stand) {
    const lm_model *model = PARSE("--layers", "2", "--lr=1", "--preset", "gpt2", "--width=64", "--heads=4");
    cr_expect_str_eq(value(model, "layers"), "2");
    cr_expect_str_eq(value(model, "width"), "64");
    cr_expect_str_eq(value(model, "activation"), "gelu");
    cr_expect_str_eq(value(model, "attention-scale"), "0.25"); /* 1/sqrt(16): a head's size */
    cr_expect_eq(rate, 1);
    cr_expect_eq(context, 1024);
    cr_expect_str_eq(value(PARSE("--preset", "gpt2", "--attention-scale=0.5"), "attention-scale"), "0.5");
    cr_expect_str_eq(value(PARSE("--attention-scale-by=width", "--preset=gpt2", "--width=64", "--heads=4"),
                           "attention-scale"),
                     "0.125");
}

static void expect_normal(const nn_params *params, const char *name, double deviation) {
    const tensor x = nn_params_find(params, name)->value;
    const int64_t count = tensor_size(x);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x.f32[i] * (double)x.f32[i];
    const double measured = sqrt(sum / (double)count);
    cr_expect_float_eq(measured, deviation, 5 * deviation / sqrt(2 * (double)count), "%s: %g", name,
                       measured);
}

Test(gpt, initial_weights_are_those_of_gpt2) {
    const lm_model *model = PARSE("--preset=gpt2", "--layers=8", "--width=48", "--heads=4");
    nn_params *params = nn_params_new();
    model->init(model->self, params, 300, 100);
    cr_assert(nn_params_finalize(params, 1));
    expect_normal(params, "wte.weight", 0.02);
    expect_normal(params, "wpe.weight", 0.02);
    expect_normal(params, "h.0.attn.c_attn.weight", 0.02);
    expect_normal(params, "h.7.attn.c_proj.weight", 0.005); /* 0.02 / sqrt(2 8) */
    expect_normal(params, "h.0.mlp.c_fc.weight", 0.02);
    expect_normal(params, "h.7.mlp.c_proj.weight", 0.005);
    const char *const zeros[] = {"h.0.attn.c_attn.bias", "h.0.attn.c_proj.bias", "h.7.mlp.c_fc.bias",
                                 "h.7.mlp.c_proj.bias"};
    for (int i = 0; i < 4; i++) {
        const tensor x = nn_params_find(params, zeros[i])->value;
        for (int64_t k = 0; k < tensor_size(x); k++) cr_assert_eq(x.f32[k], 0, "%s", zeros[i]);
    }
    nn_params_free(params);
}
