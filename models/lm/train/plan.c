/* What a run will be: how many iterations and reports fit the text, or the time; and what it takes. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "models/lm/cli/pages.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

enum {
    FEWEST = 100, /* iterations: a model learns little in fewer, whatever the text */
    WARMUPS = 5,
    REPORTS = 10,              /* of a run that is fitted */
    VALIDATIONS = 8,           /* a report looks at the validation text so often at most */
    PATIENCE = 5,              /* reports */
    MOST_VALIDATION = 1 << 18, /* tokens */
    MEASURED = 512,            /* rows and columns of the products that the machine is measured with */
    MEASURING_MS = 100
};

bool lm_train_given(const lm_trainer *t, const char *name) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(t->usage, i)); i++)
        if (strcmp(o->name, name) == 0) return lm_option_given(o, t->argc, t->argv);
    return false;
}

static double step_tokens(const lm_settings *set) {
    return (double)set->batch * (double)set->accumulate * (double)set->context;
}

double lm_passes(const lm_trainer *t) {
    return (double)t->set.iterations * step_tokens(&t->set) / (double)t->parts[LM_TRAIN].count;
}

int64_t lm_useful_iterations(const lm_trainer *t) {
    const int64_t *order = t->instance.model->order;
    const int passes = order && *order > 0 ? LM_MOST_COUNTED_PASSES : LM_MOST_PASSES;
    const double most = ceil(passes * (double)t->parts[LM_TRAIN].count / step_tokens(&t->set));
    return most < FEWEST ? FEWEST : most < 1e12 ? (int64_t)most : (int64_t)1e12;
}

lm_tokens lm_validation(const lm_trainer *t) {
    const lm_tokens all = t->parts[LM_VALIDATION];
    return lm_tokens_from(all, 0, all.count < MOST_VALIDATION ? all.count : MOST_VALIDATION);
}

int64_t lm_report_batches(const lm_trainer *t) {
    const double each = (double)t->set.batch * (double)t->set.context;
    const double batches = ceil((double)lm_validation(t).count / each);
    return t->set.report_batches > 0 ? t->set.report_batches : batches < 1 ? 1 : (int64_t)batches;
}

/* So many reports, and a warmup that leaves most of it. */
static void fit_rest(lm_trainer *t, int64_t reports) {
    lm_settings *set = &t->set;
    const int64_t warmup = set->iterations / WARMUPS;
    if (!lm_train_given(t, "eval-every")) set->report_every = (set->iterations + reports - 1) / reports;
    if (!lm_train_given(t, "warmup") && set->warmup > warmup) set->warmup = warmup;
}

void lm_plan_fit(lm_trainer *t) {
    lm_settings *set = &t->set;
    if (set->resume || lm_train_given(t, "iters")) return;
    const double rows = VALIDATIONS * (double)t->parts[LM_VALIDATION].count / (double)set->context;
    const int64_t most = lm_useful_iterations(t), batches = (int64_t)ceil(rows / (double)set->batch);
    if (!lm_train_given(t, "eval-batches") && set->report_batches > batches) set->report_batches = batches;
    if (!lm_train_given(t, "patience") && set->patience == 0) set->patience = PATIENCE;
    if (set->seconds > 0 || set->iterations <= most) return;
    set->iterations = most;
    t->fitted = true;
    fit_rest(t, REPORTS);
}

/* A batch of a report takes a third of what it takes to learn from. */
void lm_plan_time(lm_trainer *t, double step_seconds) {
    lm_settings *set = &t->set;
    const double steps = 0.85 * set->seconds / step_seconds; /* the rest is for what is not counted */
    const double batch = 2.0 / 3 / (double)set->accumulate,
                 most = 0.2 * steps; /* a fifth of the time for reports */
    int64_t reports = REPORTS;
    if (set->report_batches == 0) { /* which look at all: there can only be fewer */
        const double fit = floor(most / (batch * (double)lm_report_batches(t))) - 1;
        reports = fit < 1 ? 1 : fit < REPORTS ? (int64_t)fit : REPORTS;
    } else {
        const double fit = floor(most / (batch * (REPORTS + 1)));
        if (!lm_train_given(t, "eval-batches") && (double)set->report_batches > fit)
            set->report_batches = fit < 1 ? 1 : (int64_t)fit;
    }
    const double left = floor(steps - batch * (double)(reports + 1) * (double)lm_report_batches(t));
    set->iterations = left < 1 ? 1 : left < 1e12 ? (int64_t)left : (int64_t)1e12;
    fit_rest(t, reports);
}

/* ---- What it takes --------------------------------------------------------------------------------- */

double lm_step_work(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const double rows = model->looked_up ? model->looked_up(model->self) : 0;
    return 6 * ((double)nn_params_count(t->instance.params) - rows) * step_tokens(&t->set);
}

double lm_machine_speed(tensor_error *err) {
    tensor_arena *arena = tensor_arena_new(err);
    tensor x[3];
    bool ok = arena != NULL;
    for (int i = 0; ok && i < 3; i++) {
        x[i] = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(MEASURED, MEASURED), err);
        ok = tensor_ok(x[i]);
    }
    ok = ok && tensor_matmul(x[0], x[1], x[2], false, err); /* wakes the threads */
    double least = 1e9;
    for (const double begin = lm_now(); ok && lm_now() - begin < 1e-3 * MEASURING_MS;) {
        const double before = lm_now();
        ok = tensor_matmul(x[0], x[1], x[2], false, err);
        least = fmin(least, lm_now() - before); /* others may have used the machine meanwhile */
    }
    tensor_arena_free(arena);
    return ok && least > 0 ? 2 * pow(MEASURED, 3) / least : 0;
}

double lm_step_estimate(const lm_trainer *t, double speed) {
    return lm_step_work(t) / (0.6 * speed); /* what training reaches of it */
}

/* ---- Saying it --------------------------------------------------------------------------------------- */

/* "42 passes" */
static char *passes_text(const lm_trainer *t, char *buffer, size_t size) {
    const double passes = lm_passes(t);
    snprintf(buffer, size,
             passes < 0.095  ? "%.2g passes"
             : passes < 9.95 ? "%.1f passes"
                             : "%.0f passes",
             passes);
    return buffer;
}

void lm_plan_say(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_memory need = lm_memory_needed(t);
    char text[48];
    if (t->set.iterations > 0)
        lm_say(model, "%" PRId64 " iteration%s, %s over the text%s", t->set.iterations,
               lm_s(t->set.iterations), passes_text(t, text, sizeof text),
               t->fitted                             ? "; more would learn it by heart"
               : t->set.resume && t->set.seconds > 0 ? ", or as many as there is time for"
                                                     : "");
    lm_memory_text(need.weights + need.batch, text, sizeof text);
    if (t->set.out)
        lm_say(model, "about %s of memory; the run is kept in %s", text, t->set.out);
    else
        lm_say(model, "about %s of memory; nothing is kept", text);
}

/* A line of it; on a terminal as many lines as it needs. */
static void fact(const char *name, const char *format, ...) {
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const int indent = printf("%-12s", name);
    lm_wrap(stdout, text, indent, indent, lm_line_columns(stdout));
}

int lm_plan_print(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_settings *set = &t->set;
    const lm_memory need = lm_memory_needed(t);
    tensor_error err = {0};
    char text[3][48];
    fact("parameters", "%" PRId64, nn_params_count(t->instance.params));
    if (set->seconds > 0)
        fact("iterations", "as many as there is time for in %s",
             lm_duration(set->seconds, text[0], sizeof *text));
    else
        fact("iterations", "%" PRId64 ", %s over the text", set->iterations,
             passes_text(t, text[0], sizeof *text));
    fact("memory", "about %s: %s for %s, %s for a batch",
         lm_memory_text(need.weights + need.batch, text[0], sizeof *text),
         lm_memory_text(need.weights, text[1], sizeof *text), lm_memory_parts(t),
         lm_memory_text(need.batch, text[2], sizeof *text));
    const int64_t bytes = tensor_memory();
    if (bytes >= 0)
        fact("free", "%s%s", lm_memory_text((double)bytes, text[0], sizeof *text),
             lm_memory_fits(t, (double)bytes) ? ""
             : set->force                     ? ", which is too little: it begins all the same, by --force"
                                              : ", which is too little: it would not begin without --force");
    const double speed = model->activations ? lm_machine_speed(&err) : 0;
    if (speed > 0 && set->seconds == 0)
        fact("time", "roughly %s, without reports",
             lm_duration(lm_step_estimate(t, speed) * (double)set->iterations, text[0], sizeof *text));
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}
