/* The training loop: steps, reports, checkpoints, Ctrl-C. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/pages.h"
#include "models/lm/train/optimize.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

/* ---- Ctrl-C, a closed terminal, SIGTERM: the loop ends after its step; a second one ends the program at once -- */

const int lm_signals[LM_SIGNALS] = {SIGINT, SIGHUP, SIGTERM};
static volatile sig_atomic_t interrupted; /* the signal's number */

static void interrupt(int signal) {
    interrupted = signal;
}

int lm_interrupted(void) {
    return interrupted;
}

/* The signal that ends the run: of a process alone at once, of several when all have agreed; 0: none. */
static int told(const lm_trainer *t) {
    return t->ranks.world.size > 1 ? t->signal : interrupted;
}

/* old[] receives what was done on the signals before. */
static void catch_interrupts(struct sigaction *old) {
    struct sigaction new = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&new.sa_mask);
    interrupted = 0;
    for (int i = 0; i < LM_SIGNALS; i++) {
        sigaction(lm_signals[i], &new, &old[i]);
        if (old[i].sa_handler == SIG_IGN) sigaction(lm_signals[i], &old[i], NULL); /* a background job */
    }
}

static void release_interrupts(const struct sigaction *old) {
    for (int i = 0; i < LM_SIGNALS; i++) sigaction(lm_signals[i], &old[i], NULL);
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
    const int64_t rows = batch ? batch->batch.ids.shape[0] : 0;
    if (!nn_find_not_finite(t->instance.params, rows, batch ? lm_loss : NULL, batch, first, sizeof first))
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

static bool is_best(lm_trainer *t, double train, double validation) {
    lm_state *state = &t->state;
    if (!(validation < state->best_loss)) {
        state->reports_since_best++;
        return false;
    }
    t->best_train = train;
    state->best_loss = validation;
    state->best_iteration = state->iteration;
    state->reports_since_best = 0;
    return true;
}

bool lm_train_keeps(const lm_trainer *t, int64_t iteration) {
    return iteration > 0 || (t->instance.counts && t->set.iterations > 0);
}

/* Keeps the weights, in the folder or in memory. */
static bool keep_best(const lm_trainer *t, tensor_error *err) {
    return t->best ? lm_best_save(t, err) : tensor_copy(t->best_values, nn_values(t->instance.params), err);
}

/* ---- Reports ----------------------------------------------------------------------------------- */

/* Mean loss of the validation text. */
static int validate(lm_trainer *t, int64_t batches, double *loss) {
    tensor_error err = {0};
    int64_t predicted;
    lm_progress_evaluating(&t->progress, batches, 2 * batches);
    if (!lm_evaluate(&t->instance, t->parallel, (lm_measured){.tokens = lm_validation(t)}, loss, &predicted,
                     &err))
        return fail(t, err.text);
    return isfinite(*loss) ? LM_DONE : not_finite(t, "the loss is", NULL);
}

/* Mean loss of random batches of a part of the text. Ends early, without a meaning, after Ctrl-C. */
static int estimate(lm_trainer *t, lm_split split, double *loss) {
    tensor_error err = {0};
    tensor_rng rng =
        lm_rng((uint64_t)t->set.seed, LM_STREAM_EVALUATION, 2 * (uint64_t)t->state.iteration + split);
    const int64_t batches = lm_report_batches(t);
    double sum = 0;
    if (t->set.report_batches == 0 && split == LM_VALIDATION) return validate(t, batches, loss);
    for (int64_t i = 0; i < batches && !told(t); i++) {
        double mean;
        lm_progress_evaluating(&t->progress, split * batches + i, 2 * batches);
        rng.counter = (uint64_t)i << 32;
        lm_batch batch = lm_batch_rows(t->batches, 0, t->set.batch);
        lm_batch_draw(&batch, t->parts[split], rng);
        lm_loss_context c = {.model = t->instance.model, .counts = t->instance.counts, .batch = batch};
        if (split == LM_TRAIN) c.without = batch.targets;
        if (!nn_parallel_loss(t->parallel, t->set.batch, lm_loss, &c, &mean, &err)) return fail(t, err.text);
        if (!isfinite(mean)) return not_finite(t, "the loss is", &c);
        sum += mean;
    }
    *loss = sum / (double)batches;
    return LM_DONE;
}

/* Writes a text with the model, to be freed; NULL where nobody wants one. Its random numbers are a stream of their own:
 * training goes on as without it. */
static bool make_sample(lm_trainer *t, lm_sheet *sheet, tensor_error *err) {
    const lm_sampling sampling = {
        .tokens = t->set.sample_tokens, .temperature = t->set.temperature, .seed = (uint64_t)t->set.seed};
    const bool shown = t->progress.terminal && !t->set.quiet;
    if ((!t->log.samples.stream && !shown) || sampling.tokens == 0) return true;
    if (!lm_sheet_open(sheet, err)) return false;
    const bool ok = lm_sample(&t->instance, &sampling, sheet->file, err);
    if (!lm_sheet_close(sheet, ok ? err : NULL) || !ok) return false;
    sheet->size--; /* without its last newline */
    return lm_log_sample(&t->log, t->state.iteration, sheet->text, sheet->size, err);
}

/* On the terminal, without what would move its cursor. */
static void show_sample(lm_trainer *t, const char *text, size_t size) {
    if (!text || !t->progress.terminal || t->set.quiet) return;
    t->shown = t->state.iteration;
    fputs(t->progress.colour ? "\033[2m" : "", stderr);
    lm_visible_lines(stderr, text, size);
    fputs(t->progress.colour ? "\033[0m\n\n" : "\n\n", stderr);
}

static double times(double loss, double tokens) {
    return tokens > 0 ? loss * tokens : (double)NAN;
}

/* The losses by token, by character, and by byte in bits. */
static void note_losses(lm_trainer *t, double train, double validation) {
    const double *characters = t->per_character, *bytes = t->per_byte;
    t->row = (lm_log_row){.report = true,
                          .train_loss = train,
                          .validation_loss = validation,
                          .train_loss_per_character = times(train, characters[LM_TRAIN]),
                          .validation_loss_per_character = times(validation, characters[LM_VALIDATION]),
                          .train_bits_per_byte = times(train / log(2), bytes[LM_TRAIN]),
                          .validation_bits_per_byte = times(validation / log(2), bytes[LM_VALIDATION])};
}

static bool print_losses(const lm_trainer *t, tensor_error *err) {
    const lm_log_row *row = &t->row;
    char line[512];
    size_t used =
        (size_t)snprintf(line, sizeof line, "Iter %" PRId64 " - Train loss: %.3f, Validation loss: %.3f",
                         t->state.iteration, row->train_loss, row->validation_loss);
    if (t->instance.tokenizer.kind != LM_CHAR && row->train_loss_per_character > 0 &&
        row->validation_loss_per_character > 0)
        used += (size_t)snprintf(line + used, sizeof line - used, ", per character: %.3f, %.3f",
                                 row->train_loss_per_character, row->validation_loss_per_character);
    if (!isnan(t->counted_loss))
        snprintf(line + used, sizeof line - used, " (counts alone: %.3f)", t->counted_loss);
    lm_wrap(stdout, line, 0, 2, lm_line_columns(stdout));
    return lm_flush(stdout, err);
}

/* Saves before it prints: once a line is out, its checkpoint is there. */
static int report_shown(lm_trainer *t) {
    tensor_error err = {0};
    double train, validation;
    lm_sheet sheet = {0};
    int status = estimate(t, LM_TRAIN, &train);
    if (status == LM_DONE) status = estimate(t, LM_VALIDATION, &validation);
    if (told(t) || status != LM_DONE) return status;
    lm_progress_clear(&t->progress);
    if ((status = save(t)) != LM_DONE) return status;
    lm_average_show(t, true);
    if (is_best(t, train, validation) && lm_train_keeps(t, t->state.iteration) && !keep_best(t, &err))
        return fail(t, err.text);
    bool ok = make_sample(t, &sheet, &err);
    note_losses(t, train, validation);
    lm_progress_report(&t->progress);
    ok = ok && print_losses(t, &err);
    if (ok) show_sample(t, sheet.text, sheet.size);
    free(sheet.text);
    if (!ok) return fail(t, err.text);
    lm_warn_report(t, train, validation);
    lm_progress_again(&t->progress);
    t->stopped = t->set.patience > 0 && t->state.reports_since_best >= t->set.patience;
    return LM_DONE;
}

static int report(lm_trainer *t) {
    lm_average_show(t, true);
    const int status = report_shown(t);
    lm_average_show(t, false);
    return status;
}

/* ---- Steps ------------------------------------------------------------------------------------- */

/* The gradient of the mean loss of this iteration's batches, which are one batch of all their rows. */
static int gradient(lm_trainer *t, double *loss) {
    const lm_settings *set = &t->set;
    const uint64_t seed = (uint64_t)set->seed;
    tensor_error err = {0};
    tensor_rng dropout = lm_rng(seed, LM_STREAM_DROPOUT, (uint64_t)t->state.iteration);
    for (int64_t j = 0; j < set->accumulate; j++) {
        lm_batch part = lm_batch_rows(t->batches, j * set->batch, (j + 1) * set->batch);
        lm_batch_draw(&part, t->parts[LM_TRAIN],
                      lm_rng(seed, LM_STREAM_BATCHES, (uint64_t)(t->state.iteration * set->accumulate + j)));
    }
    lm_loss_context c = {.model = t->instance.model,
                         .counts = t->instance.counts,
                         .batch = t->batches,
                         .without = t->batches.targets,
                         .dropout = &dropout};
    nn_parallel_set_shards(t->parallel, t->shards);
    const bool ok = nn_parallel_backward(t->parallel, set->batch * set->accumulate, lm_loss, &c, loss, &err);
    nn_parallel_set_shards(t->parallel, 0);
    if (!ok) return fail(t, err.text);
    return isfinite(*loss) ? LM_DONE : not_finite(t, "the loss is", &c);
}

int lm_train_timing(lm_trainer *t, double *seconds) {
    double first = 0;
    for (int i = 0; i < 2; i++) { /* the first one takes memory, which takes time */
        const double begin = lm_now();
        double loss;
        int status = gradient(t, &loss);
        if (status != LM_DONE) return status;
        if (!lm_optimizer_rehearse(t)) return fail(t, nn_params_error(t->instance.params));
        *seconds = lm_now() - begin;
        if (i == 0) first = *seconds;
    }
    if (first < *seconds) *seconds = first;
    return LM_DONE;
}

/* How long it will take, once that is known. */
static void say_duration(lm_trainer *t) {
    const lm_progress *p = &t->progress;
    const int64_t steps = p->done - p->first;
    char step[32], left[32];
    if (t->timed || p->trained < 1 || (steps < 3 && p->trained < 5)) return;
    t->timed = true;
    if (p->seconds_left < 5 || p->quiet) return;
    const double each = p->trained / (double)steps;
    lm_progress_clear(p);
    snprintf(step, sizeof step, each < 1 ? "%.0f ms" : "%.1f s", each < 1 ? 1e3 * each : each);
    lm_say(t->instance.model, "an iteration takes %s: about %s to go", step,
           lm_duration(p->seconds_left, left, sizeof left));
}

static int step(lm_trainer *t) {
    const lm_settings *set = &t->set;
    const int64_t tokens = set->batch * set->accumulate * set->context;
    nn_params *params = t->instance.params;
    lm_log_row *row = &t->row;
    int status = gradient(t, &row->loss);
    if (status != LM_DONE) return status;
    row->gradient_norm = nn_clip_grad_norm(params, set->clip > 0 ? set->clip : (double)INFINITY);
    if (!isfinite(row->gradient_norm)) return not_finite(t, "the gradient is", NULL);
    if (!lm_optimizer_step(t, &row->rate)) return fail(t, nn_params_error(params));
    lm_progress_step(&t->progress, t->state.iteration + 1, row->loss, tokens);
    row->tokens_per_second = (double)tokens / t->progress.step_seconds;
    row->seconds = t->log.seconds + t->progress.resumed - t->begun;
    row->iteration = (double)t->state.iteration;
    lm_log_step(&t->log, row);
    lm_warn_step(t, row->loss);
    t->row = (lm_log_row){0};
    t->state.iteration++;
    t->time_up = set->seconds > 0 && t->progress.resumed - t->begun >= set->seconds;
    say_duration(t);
    return LM_DONE;
}

/* ---- The loop ---------------------------------------------------------------------------------- */

static bool report_is_due(const lm_trainer *t) {
    int64_t i = t->state.iteration;
    return i % t->set.report_every == 0 || i == t->set.iterations - 1;
}

static bool is_over(const lm_trainer *t) {
    return told(t) || t->stopped || t->time_up || t->state.iteration >= t->set.iterations;
}

static int stop(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    char folder[LM_QUOTED];
    int status = save(t);
    if (status != LM_DONE) return status;
    if (t->last)
        lm_say(model,
               "interrupted after %" PRId64
               " iteration%s; saved %s; to go on: " LM_COMMAND("%s train --resume %s"),
               t->state.iteration, lm_s(t->state.iteration), t->last, lm_typed(model),
               lm_quoted(t->set.out, folder, sizeof folder));
    else
        lm_say(model, "interrupted after %" PRId64 " iteration%s; --out none keeps nothing",
               t->state.iteration, lm_s(t->state.iteration));
    return LM_SIGNALLED + told(t);
}

/* The row of a report that no step has followed. */
static void log_report(lm_trainer *t) {
    t->row.iteration = (double)t->state.iteration;
    t->row.loss = t->row.train_loss;
    t->row.rate = t->row.gradient_norm = t->row.tokens_per_second = (double)NAN;
    t->row.seconds = t->log.seconds + lm_now() - t->begun;
    lm_log_step(&t->log, &t->row);
    t->row = (lm_log_row){0};
}

int lm_train_loop(lm_trainer *t) {
    struct sigaction old[LM_SIGNALS];
    tensor_error err = {0};
    catch_interrupts(old);
    t->begun = lm_now();
    t->saved = t->shown = -1;
    int status = LM_DONE;
    const int64_t from = t->set.resume ? t->state.iteration : -1;
    lm_busy *busy = lm_busy_begin(t->instance.model->name, "saving");
    if (t->set.out && !lm_log_open(&t->log, t->set.out, from, t->arena, &err)) status = fail(t, err.text);
    if (status == LM_DONE) status = save(t);
    if (status == LM_DONE && !lm_out_forget(t, &err)) status = fail(t, err.text);
    lm_busy_end(busy);
    if (status == LM_DONE && !(lm_log_begin(&t->log, t->instance.model, &err) && lm_start_write(t, &err)))
        status = fail(t, err.text);
    lm_progress_begin(&t->progress, t->state.iteration, t->set.iterations, t->set.report_every);
    t->progress.quiet = t->set.quiet;
    if (t->set.seconds > 0) t->progress.until = t->begun + t->set.seconds;
    if (status == LM_DONE && t->set.iterations == 0) status = report(t);
    status = lm_train_agree(t, status);
    while (status == LM_DONE && !is_over(t)) {
        if (report_is_due(t)) status = lm_train_agree(t, report(t));
        if (status == LM_DONE && !is_over(t)) status = lm_train_agree(t, step(t));
        if (status == LM_DONE) status = lm_train_compare_weights(t);
    }
    if (status == LM_DONE && t->time_up && t->state.iteration < t->set.iterations && !told(t))
        status = report(t); /* the last weights may be the best */
    lm_progress_clear(&t->progress);
    if (status == LM_DONE && !t->row.report)
        lm_progress_report(&t->progress); /* else it has said that line */
    if (status == LM_DONE && t->row.report && !told(t)) log_report(t);
    if (status == LM_DONE) {
        status = told(t) ? stop(t) : save(t);
        if (status == LM_DONE && !lm_log_sync(&t->log, &err)) status = fail(t, err.text);
        lm_average_show(t, true);
    }
    lm_log_close(&t->log);
    release_interrupts(old);
    return status;
}
