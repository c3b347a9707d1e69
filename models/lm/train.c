/* The command train: its options, and what stands before and after the loop. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/train_internal.h"

/* ---- Before the loop ------------------------------------------------------------------------- */

static const char *const no_parts =
    "%s: %" PRId64 " tokens are too few: a context of %" PRId64 " needs at least %" PRId64
    " in each part of the text (90 %% to train on, 10 %% to validate)";

/* Reads the text, takes its vocabulary and cuts it into its parts. */
static int prepare_text(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    tensor_arena *arena = t->instance.arena;
    tensor_error err = {0};
    lm_text text = {0};
    tensor tokens = {0};
    const lm_tokenizer_kind kind = lm_tokenizer_kind_of(t->set.tokenizer);
    lm_tokenizer *tokenizer = &t->instance.tokenizer;
    int status = lm_open_text(model, &text, &t->set.data, kind, arena);
    if (status != LM_DONE) return status;
    int64_t context = t->set.context;
    if (lm_tokenizer_choose(tokenizer, t->set.tokenizer, (int32_t)t->set.vocab_size, &text, arena, &err)) {
        tokens = lm_encode(tokenizer, text.bytes, text.size, arena, &err);
    }
    lm_text_free(&text);
    if (!tensor_ok(tokens)) return lm_fail(model, "%s: %s", t->set.data, err.text);
    for (int i = 0; i < 2; i++) {
        t->parts[i] = lm_split_of(tokens, (lm_split)i, &err);
        if (t->parts[i].shape[0] > context) continue;
        return lm_fail(model, no_parts, t->set.data, tokens.shape[0], context, context + 1);
    }
    return LM_DONE;
}

static int prepare_parameters(lm_trainer *t) {
    lm_instance *instance = &t->instance;
    const lm_model *model = instance->model;
    const lm_settings *set = &t->set;
    tensor_error err = {0};
    nn_params *params = instance->params = nn_params_new();
    if (params) model->init(model->self, params, instance->tokenizer.count, instance->context);
    nn_adamw_options options = NN_ADAMW_DEFAULTS;
    options.rate = set->rate;
    options.beta1 = set->beta1;
    options.beta2 = set->beta2;
    options.decay = set->decay;
    if (!nn_params_finalize(params, (uint64_t)set->seed) || !nn_adamw_init(&t->adamw, params, options)) {
        return lm_fail(model, "%" PRId64 " parameters: %s", nn_params_count(params), nn_params_error(params));
    }
    t->parallel = lm_parallel_new(params, instance->context);
    if (!t->parallel) return lm_fail(model, "out of memory");
    if (!lm_batch_new(&t->batch, set->batch, set->context, instance->arena, &err))
        return lm_fail(model, "%s", err.text);
    return LM_DONE;
}

/* Makes the folder and those above it; `path` is changed only on the way. */
static bool make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok) return false;
    }
    return true;
}

/* Sees to it that the checkpoint can be written before time goes into training. */
static int prepare_out(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const char *out = t->set.out;
    if (!out) return LM_DONE;
    if (!*out) return lm_say(model, "train: --out needs the name of a folder"), LM_BAD_USAGE;
    static const char file[] = "/last.safetensors";
    size_t size = strlen(out) + sizeof file;
    char *path = tensor_arena_alloc(t->instance.arena, size, NULL);
    if (!path) return lm_fail(model, "out of memory");
    snprintf(path, size, "%s%s", out, file);
    t->checkpoint = path;
    struct stat status;
    if (!make_folders(path)) return lm_fail(model, "%s: cannot be made: %s", out, strerror(errno));
    if (stat(out, &status) != 0 || !S_ISDIR(status.st_mode))
        return lm_fail(model, "%s: not a directory", out);
    if (access(out, W_OK | X_OK) != 0)
        return lm_fail(model, "%s: cannot be written to: %s", out, strerror(errno));
    if (t->set.force || access(path, F_OK) != 0) return LM_DONE;
    return lm_fail(model, "%s is there from another run; choose another --out, or overwrite it with --force",
                   path);
}

/* After training: a look at what it has learned. */
static int finish(const lm_trainer *t) {
    const lm_settings *set = &t->set;
    tensor_error err = {0};
    lm_sampling sampling = {
        .tokens = set->sample_tokens, .temperature = set->temperature, .seed = (uint64_t)set->seed};
    if (t->checkpoint) lm_say(t->instance.model, "saved %s", t->checkpoint);
    if (set->sample_tokens == 0) return LM_DONE;
    fputc('\n', stdout);
    return lm_sample(&t->instance, &sampling, stdout, &err) ? LM_DONE
                                                            : lm_fail(t->instance.model, "%s", err.text);
}

/* ---- The command --------------------------------------------------------------------------- */

static void introduce(const lm_trainer *t) {
    lm_say(t->instance.model,
           "%" PRId64 " parameters, %d distinct %s; %" PRId64 " to train on, %" PRId64 " to validate",
           nn_params_count(t->instance.params), t->instance.tokenizer.count,
           t->instance.tokenizer.kind == LM_CHAR ? "characters" : "tokens", t->parts[LM_TRAIN].shape[0],
           t->parts[LM_VALIDATION].shape[0]);
}

static int train(lm_trainer *t) {
    int status = prepare_text(t);
    if (status == LM_DONE) status = prepare_parameters(t);
    if (status == LM_DONE) status = prepare_out(t);
    if (status == LM_DONE) introduce(t);
    if (status == LM_DONE) status = lm_train_loop(t);
    return status == LM_DONE ? finish(t) : status;
}

int lm_train_command(const lm_model *model, int argc, char *const *argv) {
    lm_trainer t = {.set = {.iterations = model->defaults.iterations,
                            .batch = model->defaults.batch,
                            .context = model->defaults.context,
                            .rate = model->defaults.rate,
                            .seed = 1,
                            .report_every = 500,
                            .report_batches = 100,
                            .sample_tokens = 200,
                            .temperature = 1,
                            .tokenizer = "char",
                            .vocab_size = 1024}};
    lm_settings *s = &t.set;
    s->decay = 0.01, s->beta1 = 0.9, s->beta2 = 0.999;
    const lm_option options[] = {
        lm_string("data", &s->data, "FILE", "the text; else what get-kalevala fetched, or verses of our own"),
        lm_string("tokenizer", &s->tokenizer, "char|byte|bpe|DIR",
                  "what tokens are: characters, bytes of any file, byte pairs learned from the text, or "
                  "those of DIR/vocab.json and DIR/merges.txt"),
        lm_integer("vocab-size", &s->vocab_size, LM_BPE_MIN, LM_BPE_MAX, "tokens that bpe learns"),
        lm_string("out", &s->out, "DIR", "save DIR/last.safetensors"),
        lm_flag("force", &s->force, "overwrite what another run saved there"),
        lm_integer("iters", &s->iterations, 1, 1e12, "iterations"),
        lm_integer("batch", &s->batch, 1, 65536, "rows of a batch"),
        lm_integer("context", &s->context, 1, LM_MAX_CONTEXT, "tokens of a row"),
        lm_real("lr", &s->rate, 0, 1000, "learning rate of AdamW"),
        lm_real("weight-decay", &s->decay, 0, 1000, "its weight decay"),
        lm_real("beta1", &s->beta1, 0, 0.999999, "its beta 1"),
        lm_real("beta2", &s->beta2, 0, 0.999999, "its beta 2"),
        lm_seed(&s->seed),
        lm_threads(&s->threads),
        lm_integer("eval-every", &s->report_every, 1, 1e12, "iterations between reports"),
        lm_integer("eval-batches", &s->report_batches, 1, 1e9, "batches that a reported loss is the mean of"),
        lm_integer("sample-tokens", &s->sample_tokens, 0, 1e12, "tokens to write after training"),
        lm_real("temperature", &s->temperature, 0, 1000, "how boldly to write them; 0: always the likeliest"),
        {0}};
    const lm_usage usage = {model->name,
                            "train",
                            "Trains on a text; prints losses, then a sample.",
                            NULL,
                            {options, model->options}};
    const char *operand;
    int status = lm_begin(model, &usage, argc, argv, &operand, &s->threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    if ((model->check && !model->check(model->self, &err)) || !lm_tokenizer_check(s->tokenizer, &err)) {
        lm_say(model, "train: %s", err.text);
        return LM_BAD_USAGE;
    }
    t.instance = (lm_instance){.model = model, .arena = tensor_arena_new(&err), .context = s->context};
    status = t.instance.arena ? train(&t) : lm_fail(model, "%s", err.text);
    nn_parallel_free(t.parallel);
    lm_instance_free(&t.instance);
    return status;
}
