/* The command plot: the losses of runs in the terminal and as an SVG file. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* ---- Runs and files ------------------------------------------------------------------------- */

lm_history *lm_run_read(const lm_model *model, const char *folder, lm_range iterations, const char **name,
                        tensor_arena *arena) {
    tensor_error err = {0};
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/') length--;
    char *copy = tensor_arena_alloc(arena, length + 1, &err);
    lm_history *history = tensor_arena_alloc(arena, sizeof *history, &err);
    if (copy) snprintf(copy, length + 1, "%s", folder);
    const char *path = copy ? lm_path_in(copy, "log.csv", arena, &err) : NULL;
    if (!path || !history) return lm_fail(model, "%s", err.text), NULL;
    if (!lm_history_read(history, path, iterations, &err)) {
        const char *run = lm_place_of(path, NULL) == LM_NOTHING ? lm_newest_run(copy, arena) : NULL;
        if (run)
            lm_fail(model, LM_FOLDER_OF_RUNS, copy, run);
        else
            lm_fail(model, "%s: %s", path, err.text);
        return NULL;
    }
    if (history->left_out > 0)
        lm_say(model, "%s: %" PRId64 " number%s not finite and left out", path, history->left_out,
               history->left_out == 1 ? " is" : "s are");
    if (history->torn) lm_say(model, "%s: the last row is not whole and left out", path);
    *name = copy;
    return history;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* Appends ", text" to a line, or begins the next line where it does not fit. Returns the columns used. */
static int append(int used, const char *text, lm_terminal terminal) {
    const int length = (int)strlen(text);
    const bool fits = used + 2 + length <= terminal.columns;
    fputs(fits ? ", " : ",\n  ", stdout);
    return (fits ? used + 2 : 2) + lm_visible(stdout, text, terminal.columns - 2, terminal.utf8);
}

/* How far a run is, and the losses of its reports. */
static void summarise(const lm_history *run, const char *name, lm_terminal terminal) {
    char text[80];
    int used = lm_visible(stdout, name, terminal.columns - 2, terminal.utf8);
    snprintf(text, sizeof text, "iteration %.15g", run->iteration);
    const bool fits = used + 2 + (int)strlen(text) < terminal.columns;
    fputs(fits ? ": " : ":\n  ", stdout);
    used = (fits ? used + 2 : 2) + lm_visible(stdout, text, terminal.columns - 3, terminal.utf8);
    snprintf(text, sizeof text, run->loss < 100 ? "loss %.3f" : "loss %.3g", run->loss);
    used = append(used, text, terminal);
    const double validation = run->reports.validation;
    snprintf(text, sizeof text, validation < 100 ? "validation %.3f" : "validation %.3g", validation);
    if (!isnan(validation)) used = append(used, text, terminal);
    snprintf(text, sizeof text, "at best %.3f at %.15g", run->reports.best, run->reports.best_iteration);
    if (run->reports.best_iteration < run->reports.iteration) used = append(used, text, terminal);
    if (run->rows == 1) append(used, "measured once: no curve", terminal);
    fputc('\n', stdout);
}

static int draw(const lm_model *model, const lm_chart *chart, const lm_history *const *runs,
                const char *const *names, int count) {
    tensor_error err = {0};
    lm_terminal terminal = lm_terminal_of_stdout();
    bool some = false;
    for (int i = 0; i < count; i++) some |= runs[i]->rows > 1;
    if (some) lm_terminal_chart(stdout, chart, terminal); /* a point is no curve */
    for (int i = 0; i < count; i++) summarise(runs[i], names[i], terminal);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

static int write_svg(const lm_model *model, const lm_chart *chart, const char *path) {
    tensor_error err = {0};
    FILE *file = lm_create(path, &err);
    if (file) lm_svg_file(file, chart);
    if (!file || !lm_finish(file, path, true, &err)) return lm_fail(model, "%s", err.text);
    lm_say(model, "wrote %s", path);
    return LM_DONE;
}

/* What the command line asks for. */
enum { PER_AUTO, PER_TOKEN }; /* from then on an lm_unit, and 1 */
typedef struct request {
    const char *svg, *x, *y;
    int64_t log, per;
    lm_frame frame;
} request;

/* Makes the losses those of the unit that is wanted. */
static bool choose_unit(const request *q, lm_history *const *runs, int count, lm_unit *unit,
                        tensor_error *err) {
    static const char *const nouns[] = {"token", "character", "byte"};
    const lm_history *const *all = (const lm_history *const *)runs;
    *unit = q->per == PER_AUTO ? lm_unit_for(all, count) : (lm_unit)(q->per - PER_TOKEN);
    if (!lm_unit_known(all, count, *unit))
        return tensor_fail(err, "a log has no losses per %s", nouns[*unit]);
    for (int i = 0; i < count; i++) lm_history_convert(runs[i], *unit);
    return true;
}

static int plot_runs(const request *q, const lm_model *model, const char *const *folders, int count,
                     tensor_arena *arena) {
    tensor_error err = {0};
    lm_chart chart;
    lm_unit unit;
    lm_history **runs = tensor_arena_alloc(arena, (size_t)count * sizeof *runs, &err);
    const char **names = tensor_arena_alloc(arena, (size_t)count * sizeof *names, &err);
    lm_curve *curves = tensor_arena_alloc(arena, LM_RUN_CURVES * (size_t)count * sizeof *curves, &err);
    if (!runs || !names || !curves) return lm_fail(model, "%s", err.text);
    for (int i = 0; i < count; i++)
        if (!(runs[i] = lm_run_read(model, folders[i], q->frame.x, &names[i], arena))) return LM_FAILED;
    if (!choose_unit(q, runs, count, &unit, &err)) return lm_fail(model, "%s", err.text);
    lm_chart_losses(&chart, (const lm_history *const *)runs, names, count, unit, curves);
    if (chart.count == 0) return lm_fail(model, "no run has a loss in the iterations %s", q->x);
    lm_chart_fit(&chart, q->frame);
    const int status = draw(model, &chart, (const lm_history *const *)runs, names, count);
    return status == LM_DONE && q->svg ? write_svg(model, &chart, q->svg) : status;
}

int lm_plot_command(const lm_model *model, int argc, char *const *argv) {
    enum { LOG_X = 1, LOG_Y = 2 };
    request q = {.frame = {.x = LM_EVERYTHING, .y = LM_EVERYTHING, .ticks = 6}};
    const int64_t threads = 0;
    const lm_option options[] = {
        lm_about(LM_ABOUT_REPORTS, lm_string("svg", &q.svg, "FILE", "Draw into this SVG file as well.")),
        lm_choice("log", &q.log, "none|x|y|xy", "Make these axes logarithmic."),
        lm_string("x", &q.x, "FROM..TO", "Show only these iterations; either end may be left out."),
        lm_string("y", &q.y, "FROM..TO", "Show only these losses."),
        lm_choice("per", &q.per, "auto|token|character|byte",
                  "The loss is the mean over these. With auto, runs with different tokens are compared by "
                  "characters or bytes where the logs have them."),
        {0}};
    const lm_usage usage = {
        model->name, "plot",    "Draws the losses of runs, from the logs in their folders.",
        "DIR...",    {options}, argc + 1};
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    const char **folders =
        arena ? tensor_arena_alloc(arena, ((size_t)argc + 1) * sizeof *folders, &err) : NULL;
    int count = 0, status = folders ? lm_begin(model, &usage, argc, argv, folders, &threads)
                                    : lm_fail(model, "%s", err.text);
    if (status < 0) {
        q.frame.log_x = q.log & LOG_X;
        q.frame.log_y = q.log & LOG_Y;
        while (folders[count]) count++;
        if ((q.x && !lm_range_parse(&q.frame.x, q.x, &err)) ||
            (q.y && !lm_range_parse(&q.frame.y, q.y, &err))) {
            lm_say(model, "plot: %s", err.text);
            status = LM_BAD_USAGE;
        } else {
            status = plot_runs(&q, model, folders, count, arena);
        }
    }
    tensor_arena_free(arena);
    return status;
}
