/* The training loop: steps, reports, checkpoints, Ctrl-C. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "models/lm/train/train_internal.h"

/* ---- Ctrl-C, a closed terminal, SIGTERM: the loop ends after its step; a second one ends the program at once -- */

enum { SIGNALS = 3 };
static const int signals[SIGNALS] = {SIGINT, SIGHUP, SIGTERM};
static volatile sig_atomic_t interrupted; /* the signal's number */

static void interrupt(int signal) {
    interrupted = signal;
}

/* old[] receives what was done on the signals before. */
static void catch_interrupts(struct sigaction *old) {
    struct sigaction new = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&new.sa_mask);
    interrupted = 0;
    for (int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], &new, &old[i]);
        if (old[i].sa_handler == SIG_IGN) sigaction(signals[i], &old[i], NULL); /* a background job */
    }
}

static void release_interrupts(const struct sigaction *old) {
    for (int i = 0; i < SIGNALS; i++) sigaction(signals[i], &old[i], NULL);
}

/* ---- Faults ------------------------------------------------------------------------------------ */

/* Ends the loop with a line of its own. */
static int fail(const lm_trainer *t, const char *text) {
    lm_progress_clear(&t->progress);
    return lm_fail(t->instance.model, "%s", text);
}

/* `what` is no longer finite; `batch` is the one that showed it, NULL: none. */
static int not_finite(const lm_trainer *t, const char *what, lm_loss_context *batch) {
    char first[160], kept[64] = "";
    if (!nn_find_not_finite(t->instance.params, t->set.batch, batch ? lm_loss : NULL, batch, first,
                            sizeof first))
        snprintf(first, sizeof first, "none of the tensors alone");
    if (t->saved >= 0)
        snprintf(kept, sizeof kept, "; the checkpoint of iteration %" PRId64 " is kept", t->saved);
    lm_progress_clear(&t->progress);
    return lm_fail(t->instance.model,
                   "%s no longer a finite number at iteration %" PRId64
                   "; the first to go bad is %s; train with a lower --lr than %g, or with --clip 1%s",
                   what, t->state.iteration, first, t->set.rate, kept);
}

/* ---- Checkpoints ------------------------------------------------------------------------------- */

/* Once for an iteration: what its report changes belongs to the checkpoint of a later one. */
static int save(lm_trainer *t) {
    tensor_error err = {0};
    if (!t->last || t->saved == t->state.iteration) return LM_DONE;
    if (!nn_finite(t->instance.params)) return not_finite(t, "a weight is", NULL);
    if (!lm_log_sync(&t->log, &err) || !lm_resume_save(t, &err)) return fail(t, err.text);
    t->saved = t->state.iteration;
    return LM_DONE;
}

static bool is_best(lm_trainer *t, double validation) {
    lm_state *state = &t->state;
    if (!(validation < state->best_loss)) {
        state->reports_since_best++;
        return false;
    }
    state->best_loss = validation;
    state->best_iteration = state->iteration;
    state->reports_since_best = 0;
    return true;
}

/* ---- Reports ----------------------------------------------------------------------------------- */

/* Mean loss of random batches of a part of the text. Ends early, without a meaning, after Ctrl-C. */
static int estimate(lm_trainer *t, lm_split split, double *loss) {
    tensor_error err = {0};
    tensor_rng rng =
        lm_rng((uint64_t)t->set.seed, LM_STREAM_EVALUATION, 2 * (uint64_t)t->state.iteration + split);
    double sum = 0;
    for (int64_t i = 0; i < t->set.report_batches && !interrupted; i++) {
        double mean;
        rng.counter = (uint64_t)i << 32;
        lm_batch_draw(&t->batch, t->parts[split], rng);
        lm_loss_context c = {.model = t->instance.model, .batch = t->batch};
        if (!nn_parallel_loss(t->parallel, t->set.batch, lm_loss, &c, &mean, &err)) return fail(t, err.text);
        if (!isfinite(mean)) return not_finite(t, "the loss is", &c);
        sum += mean;
    }
    *loss = sum / (double)t->set.report_batches;
    return LM_DONE;
}

/* Adds a text to samples.txt. Its random numbers are a stream of their own: training goes on as without it. */
static bool write_sample(lm_trainer *t, tensor_error *err) {
    const lm_sampling sampling = {
        .tokens = t->set.sample_tokens, .temperature = t->set.temperature, .seed = (uint64_t)t->set.seed};
    if (!t->log.samples.stream || sampling.tokens == 0) return true;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) return tensor_fail(err, "out of memory");
    bool ok = lm_sample(&t->instance, &sampling, file, err);
    fclose(file);
    ok = ok && lm_log_sample(&t->log, t->state.iteration, text, size - 1, err); /* without its last newline */
    free(text);
    return ok;
}

/* Saves before it prints: once a line is out, its checkpoint is there. */
static int report(lm_trainer *t) {
    tensor_error err = {0};
    double train, validation;
    int status = estimate(t, LM_TRAIN, &train);
    if (status == LM_DONE) status = estimate(t, LM_VALIDATION, &validation);
    if (interrupted || status != LM_DONE) return status;
    lm_progress_clear(&t->progress);
    if ((status = save(t)) != LM_DONE) return status;
    if (is_best(t, validation) && t->best && !lm_best_save(t, &err)) return fail(t, err.text);
    if (!write_sample(t, &err)) return fail(t, err.text);
    lm_progress_report(&t->progress);
    printf("Iter %" PRId64 " - Train loss: %.3f, Validation loss: %.3f", t->state.iteration, train,
           validation);
    if (t->per_character[LM_TRAIN] > 0 && t->per_character[LM_VALIDATION] > 0)
        printf(", per character: %.3f, %.3f", train * t->per_character[LM_TRAIN],
               validation * t->per_character[LM_VALIDATION]);
    printf("\n");
    t->row = (lm_log_row){.report = true, .train_loss = train, .validation_loss = validation};
    t->stopped = t->set.patience > 0 && t->state.reports_since_best >= t->set.patience;
    return lm_flush(stdout, &err) ? LM_DONE : fail(t, err.text);
}

/* ---- Steps ------------------------------------------------------------------------------------- */

/* The gradient of the mean loss of micro-batch number j of this iteration, added to `sum` where there are several. */
static int micro_batch(lm_trainer *t, int64_t j, double *loss) {
    const lm_settings *set = &t->set;
    const uint64_t seed = (uint64_t)set->seed, index = (uint64_t)(t->state.iteration * set->accumulate + j);
    const float share = (float)(1 / (double)set->accumulate);
    tensor grads = nn_grads(t->instance.params);
    tensor_error err = {0};
    double mean;
    tensor_rng dropout = lm_rng(seed, LM_STREAM_DROPOUT, index);
    lm_batch_draw(&t->batch, t->parts[LM_TRAIN], lm_rng(seed, LM_STREAM_BATCHES, index));
    lm_loss_context c = {.model = t->instance.model, .batch = t->batch, .dropout = &dropout};
    if (!nn_parallel_backward(t->parallel, set->batch, lm_loss, &c, &mean, &err)) return fail(t, err.text);
    if (!isfinite(mean)) return not_finite(t, "the loss is", &c);
    *loss += mean;
    if (!tensor_ok(t->sum)) return LM_DONE;
    bool ok = j == 0 ? tensor_affine(t->sum, share, grads, 0, &err) : tensor_axpy(t->sum, share, grads, &err);
    if (ok && j == set->accumulate - 1) ok = tensor_copy(grads, t->sum, &err);
    return ok ? LM_DONE : fail(t, err.text);
}

static int step(lm_trainer *t) {
    const lm_settings *set = &t->set;
    const nn_schedule schedule = {.kind = (nn_schedule_kind)set->schedule,
                                  .rate = set->rate,
                                  .lowest = set->lowest_rate,
                                  .warmup = set->warmup,
                                  .end = set->schedule_end ? set->schedule_end : set->iterations};
    const int64_t tokens = set->batch * set->accumulate * set->context;
    nn_params *params = t->instance.params;
    lm_log_row *row = &t->row;
    for (int64_t j = 0; j < set->accumulate; j++) {
        int status = micro_batch(t, j, &row->loss);
        if (status != LM_DONE) return status;
    }
    row->loss /= (double)set->accumulate;
    row->gradient_norm = nn_clip_grad_norm(params, set->clip > 0 ? set->clip : (double)INFINITY);
    if (!isfinite(row->gradient_norm)) return not_finite(t, "the gradient is", NULL);
    row->rate = t->adamw.options.rate = nn_schedule_rate(&schedule, t->state.iteration);
    if (!nn_adamw_step(&t->adamw, params)) return fail(t, nn_params_error(params));
    lm_progress_step(&t->progress, t->state.iteration + 1, row->loss, tokens);
    row->tokens_per_second = (double)tokens / t->progress.step_seconds;
    row->iteration = (double)t->state.iteration;
    lm_log_step(&t->log, row);
    t->row = (lm_log_row){0};
    t->state.iteration++;
    return LM_DONE;
}

/* ---- The loop ---------------------------------------------------------------------------------- */

static bool report_is_due(const lm_trainer *t) {
    int64_t i = t->state.iteration;
    return i % t->set.report_every == 0 || i == t->set.iterations - 1;
}

static int stop(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    int status = save(t);
    if (status != LM_DONE) return status;
    if (t->last)
        lm_say(model, "interrupted after %" PRId64 " iterations; saved %s; to go on: %s train --resume %s",
               t->state.iteration, t->last, model->name, t->set.out);
    else
        lm_say(model, "interrupted after %" PRId64 " iterations; nothing is saved without --out",
               t->state.iteration);
    return LM_SIGNALLED + interrupted;
}

int lm_train_loop(lm_trainer *t) {
    struct sigaction old[SIGNALS];
    tensor_error err = {0};
    catch_interrupts(old);
    lm_progress_begin(&t->progress, t->state.iteration, t->set.iterations);
    t->saved = -1;
    int status = LM_DONE;
    const int64_t from = t->set.resume ? t->state.iteration : -1;
    if (t->set.out && !lm_log_open(&t->log, t->set.out, from, t->arena, &err)) status = fail(t, err.text);
    if (status == LM_DONE) status = save(t);
    if (status == LM_DONE && !lm_log_begin(&t->log, t->instance.model, &err)) status = fail(t, err.text);
    while (status == LM_DONE && !interrupted && !t->stopped && t->state.iteration < t->set.iterations) {
        if (report_is_due(t)) status = report(t);
        if (status == LM_DONE && !interrupted && !t->stopped) status = step(t);
    }
    if (status == LM_DONE) {
        lm_progress_report(&t->progress);
        status = interrupted ? stop(t) : save(t);
    }
    lm_log_close(&t->log);
    release_interrupts(old);
    return status;
}
