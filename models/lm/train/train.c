/* The command train: its options, and what stands before and after the loop. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "models/lm/train/optimize.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

/* Whether both names are of one file. */
static bool is_same(const char *a, const char *b) {
    struct stat one, other;
    if (strcmp(a, b) == 0) return true;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && S_ISREG(one.st_mode) && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* Options that do not fit together; false with a text. */
static bool check(lm_trainer *t, tensor_error *err) {
    lm_settings *set = &t->set;
    tensor_error fault = {0};
    if (set->resume && set->out)
        return tensor_fail(err, "--resume goes on in the run's own folder, without --out");
    if (set->resume && set->init)
        return tensor_fail(err, "--resume has weights already, and takes no --init");
    if (set->time && !set->resume && lm_train_given(t, "iters"))
        return tensor_fail(err, "--time and --iters both say how long");
    if (set->time && !lm_duration_parse(set->time, &set->seconds, &fault))
        return tensor_fail(err, "--time %s", fault.text);
    for (int i = 1; i < set->data.count; i++)
        for (int k = 0; k < i; k++)
            if (is_same(set->data.paths[i], set->data.paths[k]))
                return tensor_fail(err, "--data %.150s is given twice", set->data.paths[i]);
    const lm_option *o;
    for (int i = 0; set->init && (o = lm_option_at(t->usage, i)); i++)
        if (o->of_new && lm_option_given(o, t->argc, t->argv))
            return tensor_fail(err, "--%s is for a new model, and --init has one already", o->name);
    if (!set->resume && !set->init && lm_train_given(t, "vocab-size") && strcmp(set->tokenizer, "bpe") != 0)
        return tensor_fail(err, "--vocab-size needs --tokenizer bpe");
    if (set->lowest_rate > set->rate)
        return tensor_fail(err, "--min-lr %g is above --lr %g", set->lowest_rate, set->rate);
    return lm_optimizer_check(t, err);
}

/* Text, tokens, plan and parameters: all that stands before the loop. */
static int prepare(lm_trainer *t) {
    lm_text text = {0};
    int status = lm_out_prepare(t);
    if (status == LM_DONE) status = lm_prepare_text(t, &text);
    if (status == LM_DONE) status = lm_prepare_model(t);
    if (status == LM_DONE) status = lm_memory_check(t);
    if (status == LM_DONE) status = lm_out_make(t);
    if (status == LM_DONE) status = lm_prepare_tokens(t, &text);
    lm_text_free(&text);
    if (status != LM_DONE) return status;
    lm_plan_fit(t);
    if (t->set.dry_run) return LM_DONE;
    status = lm_prepare_counts(t);
    return status == LM_DONE ? lm_prepare_parameters(t) : status;
}

/* As many iterations as --time has room for, by rank 0's clock. */
static int plan_time(lm_trainer *t) {
    tensor_error err = {0};
    double seconds = 0;
    lm_busy *busy = lm_busy_begin(t->instance.model->name, "timing an iteration");
    const int status = lm_train_timing(t, &seconds);
    lm_busy_end(busy);
    if (status != LM_DONE) return status;
    if (!nn_world_broadcast(&t->ranks.world, &seconds, sizeof seconds, &err))
        return lm_fail(t->instance.model, "%s", err.text);
    lm_plan_time(t, seconds);
    return LM_DONE;
}

/* Options, checkpoint, text, weights: all that a process does for itself. */
static int begin(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const bool loads = t->set.resume || t->set.init;
    tensor_error err = {0};
    int status = LM_DONE;
    if (!check(t, &err) || (!loads && model->check && !model->check(model->self, &err)) ||
        !lm_tokenizer_check(t->set.tokenizer, &err)) {
        lm_say(model, "train: %s", err.text);
        return LM_BAD_USAGE;
    }
    t->keeps_nothing =
        t->ranks.world.rank > 0 ||
        (!t->set.resume && (t->set.dry_run || (t->set.out && strcmp(t->set.out, "none") == 0)));
    if (t->keeps_nothing) t->set.out = NULL;
    if (t->set.resume) t->set.out = t->set.resume;
    if (!(t->arena = tensor_arena_new(NULL)) || !lm_out_name(t)) return lm_fail(model, "out of memory");
    if (loads)
        status = lm_resume_load(t, t->argc, t->argv);
    else if (!(t->instance.arena = tensor_arena_new(&err)))
        status = lm_fail(model, "%s", err.text);
    t->instance.context = t->set.context;
    if (t->keeps_nothing) t->set.out = NULL, t->last = t->best = NULL;
    return status == LM_DONE ? prepare(t) : status;
}

/* What is measured before the loop. */
static int measure(lm_trainer *t) {
    int status = lm_train_compare(t);
    if (status == LM_DONE && t->set.seconds > 0 && !t->set.resume) status = plan_time(t);
    return status == LM_DONE ? lm_measure_counts(t) : status;
}

/* All that stands before the loop; where it fails or is interrupted, a new folder is gone again. */
static int ready(lm_trainer *t) {
    if (t->ranks.world.rank == 0) lm_out_guard(t);
    int status = lm_train_agree(t, begin(t));
    if (status == LM_DONE && !t->set.dry_run) status = measure(t);
    lm_out_unguard();
    if (status != LM_DONE) lm_out_remove(t);
    return status;
}

static int run(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    int status = ready(t);
    if (status != LM_DONE) return status;
    if (t->set.dry_run) return lm_plan_print(t);
    lm_train_introduce(t);
    if (t->set.resume && t->state.iteration >= t->set.iterations) {
        lm_say(model, "the run is complete; to go on, give --iters more than %" PRId64, t->state.iteration);
        return LM_DONE;
    }
    lm_plan_say(t);
    lm_warn_plan(t);
    status = lm_train_loop(t);
    return status == LM_DONE ? lm_train_finish(t) : status;
}

static int train(lm_trainer *t, const void *context) {
    (void)context;
    const int status = lm_ranks_begin(&t->ranks, t->instance.model);
    if (status != LM_DONE) return status;
    if (t->ranks.world.rank > 0) t->set.quiet = true, t->set.sample_tokens = 0;
    return lm_ranks_end(&t->ranks, run(t));
}

int lm_train_command(const lm_model *model, int argc, char *const *argv) {
    return lm_train_with(model, argc, argv, train, NULL);
}

/* Drops the options that have no meaning for a model with nothing to train. */
static void drop_training(lm_option *options) {
    static const char left[] =
        "data|tokenizer|vocab-size|out|force|dry-run|quiet|context|seed|threads|eval-batches|"
        "sample-tokens|temperature";
    int kept = 0;
    lm_group group = options->group;
    for (lm_option *o = options; o->name; o++) {
        if (o->group) group = o->group; /* the first of its run may go */
        if (!lm_has_word(left, o->name)) continue;
        options[kept] = *o;
        if (o->resume == LM_CHANGEABLE) options[kept].resume = LM_FIXED; /* no run goes on */
        if (o->resume == LM_ANEW) options[kept].resume = LM_UNKEPT;
        options[kept++].group = group;
    }
    options[kept] = (lm_option){0};
}

int lm_train_with(const lm_model *model, int argc, char *const *argv,
                  int (*then)(lm_trainer *t, const void *context), const void *context) {
    lm_trainer t = {.instance.model = model,
                    .ranks = LM_ALONE,
                    .lock.fd = -1,
                    .state.best_loss = LM_NO_LOSS,
                    .best_train = (double)NAN,
                    .counted_loss = (double)NAN,
                    .argc = argc,
                    .argv = argv,
                    .set = {.iterations = model->defaults.iterations,
                            .batch = model->defaults.batch,
                            .accumulate = 1,
                            .context = model->defaults.context,
                            .rate = model->defaults.rate,
                            .decay = 0.01,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .cooldown = 1,
                            .muon_rate = 0.03,
                            .muon_momentum = 0.9,
                            .seed = 1,
                            .report_every = 500,
                            .report_batches = model->defaults.iterations > 0 ? 100 : 0,
                            .sample_tokens = 200,
                            .temperature = 1,
                            .tokenizer = "char",
                            .vocab_size = 1024}};
    lm_settings *s = &t.set;
    lm_option options[] = {
        lm_about(LM_ABOUT_DATA,
                 lm_resumed(
                     LM_CHANGEABLE,
                     lm_files("data", &s->data, "FILE",
                              "Learn from the text in this file; - stands for standard input. Given several "
                              "times, the texts are joined. Without it: what get-kalevala fetched, or verses "
                              "that come with the program."))),
        lm_kept("tokenizer",
                lm_string(
                    "tokenizer", &s->tokenizer, "char|byte|bpe|DIR",
                    "Cut the text into characters, into bytes (of any file), into byte pairs learned from it "
                    "(bpe), or into the tokens of a folder with tokenizer.json, or with vocab.json and "
                    "merges.txt.")),
        lm_of_new(lm_integer("vocab-size", &s->vocab_size, LM_BPE_MIN, LM_BPE_MAX,
                             "With --tokenizer bpe: learn this many tokens.")),
        lm_about(LM_ABOUT_FILES,
                 lm_resumed(
                     LM_UNKEPT,
                     lm_string("out", &s->out, "DIR",
                               "Keep the run in this folder: weights, tokens, log.csv and samples.txt. With "
                               "none, keep nothing. Without it: in a new folder in ./runs."))),
        lm_resumed(LM_ANEW, lm_flag("force", &s->force,
                                    "Overwrite what another run has saved in that folder, and train also "
                                    "where memory seems too small.")),
        lm_resumed(LM_ANEW,
                   lm_flag("dry-run", &s->dry_run, "Print what the run would need, and do not train.")),
        lm_resumed(LM_ANEW,
                   lm_flag("quiet", &s->quiet, "Show neither samples nor progress while it trains.")),
        lm_resumed(LM_UNKEPT, lm_string("resume", &s->resume, "DIR",
                                        "Go on with the run in this folder, as if it had never stopped.")),
        lm_resumed(LM_UNKEPT, lm_string("init", &s->init, "FILE",
                                        "Begin with the weights of this checkpoint instead of random ones.")),
        lm_about(
            LM_ABOUT_TRAINING,
            lm_resumed(LM_CHANGEABLE,
                       lm_integer("iters", &s->iterations, 1, 1e12,
                                  "Train for this many iterations. Without it, a short text gets fewer."))),
        lm_resumed(LM_ANEW, lm_string("time", &s->time, "TIME",
                                      "Train for this long instead, such as 90s, 10m or 2h; with --resume, "
                                      "for this long at most.")),
        lm_integer("batch", &s->batch, 1, 65536, "Learn from this many pieces of text at a time."),
        lm_integer("accumulate", &s->accumulate, 1, 65536,
                   "Add up the gradients of this many batches before each step."),
        lm_integer(
            "shards", &s->shards, 1, 1 << 24,
            "Cut the rows of a step into this many parts, which are computed apart and added; 16 for each "
            "batch unless given, or 1 for a large model. It says how many threads, or processes, can work "
            "at once."),
        lm_about(LM_ABOUT_MODEL,
                 lm_kept("context_length", lm_integer("context", &s->context, 1, LM_MAX_CONTEXT,
                                                      "The model sees this many tokens at once."))),
        lm_about(LM_ABOUT_TRAINING,
                 lm_real("lr", &s->rate, 0, 1000,
                         "The learning rate of the optimizer AdamW: how far a step goes.")),
        lm_choice("schedule", &s->schedule, "constant|linear|cosine",
                  "How the learning rate falls after the warmup."),
        lm_real("cooldown", &s->cooldown, 0.001, 1,
                "The learning rate stays until this last share of the run, in which it falls."),
        lm_real("min-lr", &s->lowest_rate, 0, 1000, "The schedule lowers the learning rate to this."),
        lm_resumed(LM_CHANGEABLE,
                   lm_integer("schedule-end", &s->schedule_end, 1, 1e12,
                              "The schedule ends at this iteration; at --iters unless given.")),
        lm_integer("warmup", &s->warmup, 0, 1e12,
                   "The learning rate rises from zero during this many first iterations."),
        lm_real("weight-decay", &s->decay, 0, 1000, "How strongly AdamW pulls weights towards zero."),
        lm_choice("decay-on", &s->decay_on, "all|matrices",
                  "What the weight decay acts on: all weights, or neither biases nor layer norms."),
        lm_real("beta1", &s->beta1, 0, 0.999999, "How long AdamW remembers gradients."),
        lm_real("beta2", &s->beta2, 0, 0.999999, "How long AdamW remembers the squares of gradients."),
        lm_real("eps", &s->eps, 1e-20, 1, "AdamW adds this before it divides."),
        lm_choice("optimizer", &s->optimizer, "adamw|muon",
                  "With muon, the matrices in the layers are trained by Muon, which learns faster from the "
                  "same text; all else stays with AdamW."),
        lm_real("muon-lr", &s->muon_rate, 0, 1000,
                "The learning rate of Muon; it falls as that of AdamW does."),
        lm_real("muon-momentum", &s->muon_momentum, 0, 0.999999, "How long Muon remembers gradients."),
        lm_real("table-lr", &s->table_rate, 1e-20, 1000,
                "The learning rate of the tables of tokens and positions; that of --lr unless given."),
        lm_integer("average", &s->average, 1, 1e12,
                   "Take the mean of the weights of this many last iterations as the model."),
        lm_choice("precision", &s->precision, "float32|bf16",
                  "Round the numbers that training multiplies to this; weights and sums stay float32."),
        lm_real("clip", &s->clip, 1e-20, 1e20,
                "Scale a gradient down to this norm where it is longer; no limit unless given."),
        lm_seed(&s->seed),
        lm_resumed(LM_ANEW, lm_threads(&s->threads)),
        lm_about(
            LM_ABOUT_REPORTS,
            lm_resumed(LM_CHANGEABLE,
                       lm_integer("eval-every", &s->report_every, 1, 1e12,
                                  "Report the losses every this many iterations. A run that is shortened for "
                                  "its text makes ten reports."))),
        lm_resumed(
            LM_CHANGEABLE,
            lm_integer(
                "eval-batches", &s->report_batches, 0, 1e9,
                "A reported loss is the mean of this many random batches, or of fewer where the text is "
                "short. "
                "0 stands for all of the validation text, up to 262144 tokens, and as many to train on.")),
        lm_resumed(
            LM_CHANGEABLE,
            lm_integer("patience", &s->patience, 1, 1e12,
                       "Stop when this many reports have not lowered the validation loss. A run that is "
                       "shortened for its text stops after 5.")),
        lm_resumed(LM_CHANGEABLE, lm_integer("sample-tokens", &s->sample_tokens, 0, 1e12,
                                             "Write this many tokens at each report and after training.")),
        lm_resumed(LM_CHANGEABLE,
                   lm_real("temperature", &s->temperature, 0, 1000,
                           "How boldly samples choose their tokens; 0 always takes the likeliest.")),
        {0}};
    const lm_usage usage = {model->name,
                            "train",
                            "Learns from a text, prints its losses and writes a sample.",
                            NULL,
                            {options, model->options}};
    const char *operand;
    if (model->defaults.iterations == 0) drop_training(options);
    int status = lm_begin(model, &usage, argc, argv, &operand, &s->threads);
    if (status >= 0) return status;
    t.usage = &usage;
    status = then(&t, context);
    nn_parallel_free(t.parallel);
    lm_corpus_free(&t.corpus);
    lm_instance_free(&t.instance);
    lm_run_unlock(&t.lock);
    tensor_arena_free(t.arena);
    return status;
}
