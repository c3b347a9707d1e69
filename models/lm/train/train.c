/* The command train: its options, and what stands before and after the loop. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

/* ---- Before the loop ------------------------------------------------------------------------- */

static const char *const no_parts =
    "%s: %" PRId64 " tokens are too few: a context of %" PRId64 " needs at least %" PRId64
    " in each part of the text (90 %% to train on, 10 %% to validate)";

/* The two parts of the corpus, and how much text their tokens are. */
static int cut_corpus(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_tokenizer *tokenizer = &t->instance.tokenizer;
    const int64_t context = t->set.context;
    for (int i = 0; i < 2; i++) {
        tensor_error err = {0};
        lm_extent extent = {0};
        t->parts[i] = lm_split_of(t->corpus.tokens, (lm_split)i);
        if (t->parts[i].count <= context)
            return lm_fail(model, no_parts, t->set.data.name, t->corpus.tokens.count, context, context + 1);
        if (tokenizer->kind != LM_CHAR && !lm_extent_of(&extent, tokenizer, t->parts[i], &err))
            return lm_fail(model, "%s", err.text);
        if (extent.characters > 0) t->per_character[i] = (double)extent.tokens / (double)extent.characters;
    }
    return LM_DONE;
}

/* Whether a run goes on that read its text from standard input: that is gone, its tokens are kept. */
static bool text_is_gone(const lm_trainer *t) {
    for (int i = 0; t->set.resume && i < t->set.data.count; i++)
        if (strcmp(t->set.data.paths[i], "-") == 0) return true;
    return false;
}

/* Reads the text, takes its vocabulary unless a checkpoint has given one, and makes its tokens. */
static int prepare_text(lm_trainer *t) {
    lm_instance *instance = &t->instance;
    const lm_model *model = instance->model;
    tensor_error err = {0};
    lm_text text = {0};
    lm_tokenizer *tokenizer = &instance->tokenizer;
    const bool loaded = tokenizer->count > 0, gone = text_is_gone(t);
    const lm_tokenizer_kind kind = loaded ? tokenizer->kind : lm_tokenizer_kind_of(t->set.tokenizer);
    const char *path = t->set.out ? lm_run_file(t->set.out, "tokens.bin", t->arena, &err) : NULL;
    int status = gone ? LM_DONE : lm_open_text(model, &text, &t->set.data, kind, t->arena);
    if (status != LM_DONE) return status;
    if (gone) lm_name_texts(model, &t->set.data, t->arena, &err);
    bool ok = !err.text[0] &&
              (loaded || lm_tokenizer_choose(tokenizer, t->set.tokenizer, (int32_t)t->set.vocab_size, &text,
                                             instance->arena, &err));
    ok = ok && lm_corpus_open(&t->corpus, tokenizer, gone ? NULL : &text, path, &err);
    lm_text_free(&text);
    if (!ok) return lm_fail(model, "%s: %s", t->set.data.name, err.text);
    status = cut_corpus(t);
    if (status != LM_DONE) return status;
    return lm_resume_text(t, &err) ? LM_DONE : lm_fail(model, "%s: %s", t->set.data.name, err.text);
}

/* Parameters, unless a checkpoint has given them. */
static bool make_parameters(lm_trainer *t) {
    lm_instance *instance = &t->instance;
    nn_params *params = instance->params;
    if (params) return true;
    params = instance->params = nn_params_new();
    if (params)
        instance->model->init(instance->model->self, params, instance->tokenizer.count, instance->context);
    return nn_params_finalize(params, (uint64_t)t->set.seed);
}

static int prepare_parameters(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_settings *set = &t->set;
    const nn_adamw_options options = {.rate = set->rate,
                                      .beta1 = set->beta1,
                                      .beta2 = set->beta2,
                                      .eps = set->eps,
                                      .decay = set->decay,
                                      .decay_matrices = set->decay_on == 1};
    bool ok = make_parameters(t);
    nn_params *params = t->instance.params;
    int64_t count = nn_params_count(params);
    ok = ok && (set->resume || nn_adamw_init(&t->adamw, params, options));
    if (!ok) return lm_fail(model, "%" PRId64 " parameters: %s", count, nn_params_error(params));
    t->adamw.options = options;

    tensor_error err = {0};
    t->parallel = lm_parallel_new(params, t->instance.context);
    if (!t->parallel) return lm_fail(model, "out of memory");
    if (set->accumulate > 1) t->sum = tensor_new(t->arena, TENSOR_F32, TENSOR_SHAPE(count), &err);
    if ((set->accumulate > 1 && !tensor_ok(t->sum)) ||
        !lm_batch_new(&t->batch, set->batch, set->context, t->arena, &err))
        return lm_fail(model, "%s", err.text);
    return LM_DONE;
}

/* ---- The folder ----------------------------------------------------------------------------------- */

static bool name_files(lm_trainer *t) {
    const char *out = t->set.out;
    if (!out) return true;
    t->last = lm_run_file(out, "last.safetensors", t->arena, NULL);
    t->best = lm_run_file(out, "best.safetensors", t->arena, NULL);
    return t->last && t->best;
}

/* Makes the folders above a file; `path` is changed only on the way. */
static bool make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok) return false;
    }
    return true;
}

/* No other run's files may be in the folder. */
static int check_unused(lm_trainer *t) {
    static const char *const names[] = {"last.safetensors", "best.safetensors", "log.csv", "samples.txt"};
    const lm_model *model = t->instance.model;
    const char *out = t->set.out;
    tensor_error err = {0};
    for (int i = 0; i < 4; i++) {
        const char *path = lm_run_file(out, names[i], t->arena, &err);
        const lm_place place = path ? lm_place_of(path, &err) : LM_UNKNOWN;
        if (place == LM_UNKNOWN) return lm_fail(model, "%s", err.text);
        if (place == LM_NOTHING) continue;
        return lm_fail(
            model,
            "%s is there from another run; choose another --out, overwrite it with --force, or go on "
            "with it: --resume %s",
            path, out);
    }
    return LM_DONE;
}

/* Sees to it that the folder can be written to before time goes into training, and that nobody else does. */
static int prepare_out(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const char *out = t->set.out;
    tensor_error err = {0};
    if (!out) return LM_DONE;
    char *path = lm_run_file(out, "", t->arena, NULL);
    if (!path) return lm_fail(model, "out of memory");
    if (!make_folders(path)) return lm_fail(model, "%s: cannot be made: %s", out, strerror(errno));
    const lm_place place = lm_place_of(out, &err);
    if (place == LM_UNKNOWN) return lm_fail(model, "%s", err.text);
    if (place != LM_FOLDER) return lm_fail(model, "%s: not a directory", out);
    if (access(out, W_OK | X_OK) != 0)
        return lm_fail(model, "%s: cannot be written to: %s", out, strerror(errno));
    if (t->lock.fd < 0 && !lm_run_lock(&t->lock, out, t->arena, &err)) return lm_fail(model, "%s", err.text);
    return t->set.force || t->set.resume ? LM_DONE : check_unused(t);
}

/* ---- The command --------------------------------------------------------------------------- */

static void introduce(const lm_trainer *t) {
    char resumed[64] = "";
    if (t->set.resume)
        snprintf(resumed, sizeof resumed, "; going on after %" PRId64 " iterations", t->state.iteration);
    lm_say(t->instance.model,
           "%" PRId64 " parameters, %d distinct %s; %" PRId64 " to train on, %" PRId64 " to validate%s",
           nn_params_count(t->instance.params), t->instance.tokenizer.count,
           t->instance.tokenizer.kind == LM_CHAR ? "characters" : "tokens", t->parts[LM_TRAIN].count,
           t->parts[LM_VALIDATION].count, resumed);
}

/* After training: a look at what it has learned. */
static int finish(const lm_trainer *t) {
    const lm_settings *set = &t->set;
    const lm_model *model = t->instance.model;
    tensor_error err = {0};
    lm_sampling sampling = {
        .tokens = set->sample_tokens, .temperature = set->temperature, .seed = (uint64_t)set->seed};
    if (t->stopped)
        lm_say(model,
               "stopped after %" PRId64 " iterations: since iteration %" PRId64
               ", with a validation loss of %.3f, %" PRId64 " reports were no better",
               t->state.iteration, t->state.best_iteration, t->state.best_loss, t->state.reports_since_best);
    if (t->last) lm_say(model, "saved %s", t->last);
    if (set->sample_tokens == 0) return LM_DONE;
    fputc('\n', stdout);
    return lm_sample(&t->instance, &sampling, stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

/* Options that do not fit together; false with a text. */
static bool check(const lm_settings *set, tensor_error *err) {
    if (set->resume && set->out)
        return tensor_fail(err, "--resume goes on in the run's own folder, without --out");
    if (set->resume && set->init)
        return tensor_fail(err, "--resume has weights already, and takes no --init");
    if ((set->out && !*set->out) || (set->resume && !*set->resume))
        return tensor_fail(err, "--%s needs the name of a folder", set->out ? "out" : "resume");
    if (set->lowest_rate > set->rate)
        return tensor_fail(err, "--min-lr %g is above --lr %g", set->lowest_rate, set->rate);
    return true;
}

static int train(lm_trainer *t, int argc, char *const *argv) {
    const lm_model *model = t->instance.model;
    const bool loads = t->set.resume || t->set.init;
    tensor_error err = {0};
    int status = LM_DONE;
    if (!check(&t->set, &err) || (!loads && model->check && !model->check(model->self, &err)) ||
        !lm_tokenizer_check(t->set.tokenizer, &err)) {
        lm_say(model, "train: %s", err.text);
        return LM_BAD_USAGE;
    }
    if (t->set.resume) t->set.out = t->set.resume;
    if (!(t->arena = tensor_arena_new(NULL)) || !name_files(t)) return lm_fail(model, "out of memory");
    if (loads)
        status = lm_resume_load(t, argc, argv);
    else if (!(t->instance.arena = tensor_arena_new(&err)))
        status = lm_fail(model, "%s", err.text);
    t->instance.context = t->set.context;
    if (status == LM_DONE) status = prepare_out(t);
    if (status == LM_DONE) status = prepare_text(t);
    if (status == LM_DONE) status = prepare_parameters(t);
    if (status == LM_DONE) introduce(t);
    if (status == LM_DONE && t->set.resume && t->state.iteration >= t->set.iterations) {
        lm_say(model, "the run is complete; --iters with more than %" PRId64 " goes on", t->state.iteration);
        return LM_DONE;
    }
    if (status == LM_DONE) status = lm_train_loop(t);
    return status == LM_DONE ? finish(t) : status;
}

int lm_train_command(const lm_model *model, int argc, char *const *argv) {
    lm_trainer t = {.instance.model = model,
                    .lock.fd = -1,
                    .state.best_loss = LM_NO_LOSS,
                    .set = {.iterations = model->defaults.iterations,
                            .batch = model->defaults.batch,
                            .accumulate = 1,
                            .context = model->defaults.context,
                            .rate = model->defaults.rate,
                            .decay = 0.01,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .seed = 1,
                            .report_every = 500,
                            .report_batches = 100,
                            .sample_tokens = 200,
                            .temperature = 1,
                            .tokenizer = "char",
                            .vocab_size = 1024}};
    lm_settings *s = &t.set;
    const lm_option options[] = {
        lm_resumed(LM_CHANGEABLE,
                   lm_files("data", &s->data, "FILE",
                            "the text, \"-\" for standard input; several are joined; else what "
                            "get-kalevala fetched, or verses of our own")),
        lm_kept(
            "tokenizer",
            lm_string("tokenizer", &s->tokenizer, "char|byte|bpe|DIR",
                      "what tokens are: characters, bytes of any file, byte pairs learned from the text, or "
                      "those of DIR/vocab.json and DIR/merges.txt")),
        lm_integer("vocab-size", &s->vocab_size, LM_BPE_MIN, LM_BPE_MAX, "tokens that bpe learns"),
        lm_resumed(LM_UNKEPT, lm_string("out", &s->out, "DIR",
                                        "keep checkpoints, tokens, log.csv and samples.txt in this folder")),
        lm_resumed(LM_UNKEPT, lm_flag("force", &s->force, "overwrite what another run saved there")),
        lm_resumed(LM_UNKEPT, lm_string("resume", &s->resume, "DIR",
                                        "go on with the run there, as if never interrupted")),
        lm_resumed(LM_UNKEPT,
                   lm_string("init", &s->init, "FILE", "begin with the weights of this checkpoint")),
        lm_resumed(LM_CHANGEABLE, lm_integer("iters", &s->iterations, 1, 1e12, "iterations")),
        lm_integer("batch", &s->batch, 1, 65536, "rows of a batch"),
        lm_integer("accumulate", &s->accumulate, 1, 65536, "batches whose gradients make one step"),
        lm_kept("context_length", lm_integer("context", &s->context, 1, LM_MAX_CONTEXT, "tokens of a row")),
        lm_real("lr", &s->rate, 0, 1000, "learning rate of AdamW"),
        lm_choice("schedule", &s->schedule, "constant|linear|cosine", "how it falls"),
        lm_real("min-lr", &s->lowest_rate, 0, 1000, "to what it falls"),
        lm_resumed(LM_CHANGEABLE, lm_integer("schedule-end", &s->schedule_end, 1, 1e12,
                                             "the iteration by when; --iters unless given")),
        lm_integer("warmup", &s->warmup, 0, 1e12, "iterations in which it rises first"),
        lm_real("weight-decay", &s->decay, 0, 1000, "its weight decay"),
        lm_choice("decay-on", &s->decay_on, "all|matrices",
                  "what decays: all, or neither biases nor layer norms"),
        lm_real("beta1", &s->beta1, 0, 0.999999, "its beta 1"),
        lm_real("beta2", &s->beta2, 0, 0.999999, "its beta 2"),
        lm_real("eps", &s->eps, 1e-20, 1, "its epsilon"),
        lm_real("clip", &s->clip, 1e-20, 1e20, "largest norm of the gradient; unlimited unless given"),
        lm_seed(&s->seed),
        lm_threads(&s->threads),
        lm_resumed(LM_CHANGEABLE,
                   lm_integer("eval-every", &s->report_every, 1, 1e12, "iterations between reports")),
        lm_resumed(LM_CHANGEABLE, lm_integer("eval-batches", &s->report_batches, 1, 1e9,
                                             "batches that a reported loss is the mean of")),
        lm_resumed(LM_CHANGEABLE,
                   lm_integer("patience", &s->patience, 1, 1e12,
                              "stop when so many reports have not improved the validation loss")),
        lm_resumed(LM_CHANGEABLE, lm_integer("sample-tokens", &s->sample_tokens, 0, 1e12,
                                             "tokens to write at each report and after training")),
        lm_resumed(LM_CHANGEABLE, lm_real("temperature", &s->temperature, 0, 1000,
                                          "how boldly to write them; 0: always the likeliest")),
        {0}};
    const lm_usage usage = {model->name,
                            "train",
                            "Trains on a text; prints losses, then a sample.",
                            NULL,
                            {options, model->options}};
    const char *operand;
    int status = lm_begin(model, &usage, argc, argv, &operand, &s->threads);
    if (status >= 0) return status;
    t.usage = &usage;
    status = train(&t, argc, argv);
    nn_parallel_free(t.parallel);
    lm_corpus_free(&t.corpus);
    lm_instance_free(&t.instance);
    lm_run_unlock(&t.lock);
    tensor_arena_free(t.arena);
    return status;
}
