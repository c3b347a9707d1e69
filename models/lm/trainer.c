/* The training loop: steps, reports, checkpoints, Ctrl-C. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>

#include "models/lm/train_internal.h"

/* ---- Ctrl-C: the loop finishes its step; a second one ends the program at once ---------------- */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal) {
    (void)signal;
    interrupted = 1;
}

/* *old receives what was done on Ctrl-C before. */
static void catch_interrupts(struct sigaction *old) {
    struct sigaction new = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&new.sa_mask);
    sigaction(SIGINT, &new, old);
    if (old->sa_handler == SIG_IGN) sigaction(SIGINT, old, NULL); /* a background job stays undisturbed */
}

/* ---- The loop --------------------------------------------------------------------------------- */

static int save(const lm_trainer *t) {
    tensor_error err = {0};
    if (!t->checkpoint || lm_checkpoint_save(&t->instance, t->checkpoint, &err)) return LM_DONE;
    return lm_fail(t->instance.model, "%s", err.text);
}

/* Mean loss of random batches of a part of the text. Ends early, without a meaning, after Ctrl-C. */
static bool estimate(lm_trainer *t, lm_split split, int64_t iteration, double *loss, tensor_error *err) {
    tensor_rng rng = lm_rng((uint64_t)t->set.seed, LM_STREAM_EVALUATION, 2 * (uint64_t)iteration + split);
    double sum = 0;
    for (int64_t i = 0; i < t->set.report_batches && !interrupted; i++) {
        double mean;
        rng.counter = (uint64_t)i << 32;
        lm_batch_draw(&t->batch, t->parts[split], rng);
        lm_loss_context c = {.model = t->instance.model, .batch = t->batch};
        if (!nn_parallel_loss(t->parallel, t->set.batch, lm_loss, &c, &mean, err)) return false;
        sum += mean;
    }
    *loss = sum / (double)t->set.report_batches;
    return true;
}

/* Ends the loop with a line of its own. */
static int fail(const lm_trainer *t, const char *text) {
    lm_progress_clear(&t->progress);
    return lm_fail(t->instance.model, "%s", text);
}

static int not_finite(const lm_trainer *t, int64_t iteration) {
    char text[128];
    snprintf(text, sizeof text,
             "the loss is no longer a finite number at iteration %" PRId64
             "; train with a lower --lr than %g",
             iteration, t->set.rate);
    return fail(t, text);
}

/* Saves before it prints: once a line is out, its checkpoint is there. */
static int report(lm_trainer *t, int64_t iteration) {
    tensor_error err = {0};
    double train, validation;
    if (!estimate(t, LM_TRAIN, iteration, &train, &err) ||
        !estimate(t, LM_VALIDATION, iteration, &validation, &err)) {
        return fail(t, err.text);
    }
    if (interrupted) return LM_DONE;
    if (!isfinite(train) || !isfinite(validation)) return not_finite(t, iteration);
    lm_progress_report(&t->progress);
    int status = save(t);
    if (status != LM_DONE) return status;
    printf("Iter %" PRId64 " - Train loss: %.3f, Validation loss: %.3f\n", iteration, train, validation);
    return lm_flush(stdout, &err) ? LM_DONE : fail(t, err.text);
}

static int step(lm_trainer *t, int64_t iteration) {
    const lm_settings *set = &t->set;
    tensor_error err = {0};
    double loss;
    tensor_rng dropout = lm_rng((uint64_t)set->seed, LM_STREAM_DROPOUT, (uint64_t)iteration);
    lm_batch_draw(&t->batch, t->parts[LM_TRAIN],
                  lm_rng((uint64_t)set->seed, LM_STREAM_BATCHES, (uint64_t)iteration));
    lm_loss_context c = {.model = t->instance.model, .batch = t->batch, .dropout = &dropout};
    if (!nn_parallel_backward(t->parallel, set->batch, lm_loss, &c, &loss, &err)) {
        return fail(t, err.text);
    }
    if (!isfinite(loss)) return not_finite(t, iteration);
    if (!nn_adamw_step(&t->adamw, t->instance.params)) return fail(t, nn_params_error(t->instance.params));
    lm_progress_step(&t->progress, iteration + 1, loss, set->batch * set->context);
    return LM_DONE;
}

static int stop(const lm_trainer *t, int64_t done) {
    const lm_model *model = t->instance.model;
    const char *path = t->checkpoint;
    int status = save(t);
    if (status != LM_DONE) return status;
    lm_say(model, "interrupted after %" PRId64 " iterations; %s%s", done,
           path ? "saved " : "nothing is saved without --out", path ? path : "");
    return LM_INTERRUPTED;
}

int lm_train_loop(lm_trainer *t) {
    const lm_settings *set = &t->set;
    int status = LM_DONE;
    int64_t i = 0;
    struct sigaction old;
    catch_interrupts(&old);
    lm_progress_begin(&t->progress, set->iterations);
    for (; i < set->iterations && !interrupted && status == LM_DONE; i++) {
        if (i % set->report_every == 0 || i == set->iterations - 1) status = report(t, i);
        if (interrupted) break;
        if (status == LM_DONE) status = step(t, i);
    }
    if (status == LM_DONE) {
        lm_progress_report(&t->progress);
        status = interrupted ? stop(t, i) : save(t);
    }
    sigaction(SIGINT, &old, NULL);
    return status;
}
