/* The command plot: the losses of runs in the terminal and as an SVG file. */
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/look/look_internal.h"

/* ---- Runs and files ------------------------------------------------------------------------- */

lm_history *lm_run_read(const lm_model *model, const char *folder, const char **name, tensor_arena *arena) {
    tensor_error err = {0};
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/') length--;
    char *copy = tensor_arena_alloc(arena, length + 1, &err);
    lm_history *history = tensor_arena_alloc(arena, sizeof *history, &err);
    if (copy) snprintf(copy, length + 1, "%s", folder);
    const char *path = copy ? lm_run_file(copy, "log.csv", arena, &err) : NULL;
    if (!path || !history) return lm_fail(model, "%s", err.text), NULL;
    if (!lm_history_read(history, path, &err)) return lm_fail(model, "%s: %s", path, err.text), NULL;
    if (history->left_out > 0)
        lm_say(model, "%s: %" PRId64 " numbers are not finite and left out", path, history->left_out);
    if (history->torn) lm_say(model, "%s: the last row is not whole and left out", path);
    *name = copy;
    return history;
}

/* The file that a path names, which is behind links that lie there. */
static const char *behind_links(const char *path, char resolved[PATH_MAX]) {
    return realpath(path, resolved) ? resolved : path;
}

FILE *lm_create(const char *path, tensor_error *err) {
    char resolved[PATH_MAX];
    struct stat status;
    const bool replaced = stat(path, &status) != 0 || S_ISREG(status.st_mode);
    int fd = replaced ? nn_file_begin(behind_links(path, resolved), err)
                      : open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file && (fd >= 0 || !replaced))
        tensor_fail(err, "%.150s: cannot be written: %s", path, strerror(errno));
    if (!file && fd >= 0)
        replaced ? (void)nn_file_end(fd, behind_links(path, resolved), false, err) : (void)close(fd);
    return file;
}

bool lm_finish(FILE *file, const char *path, tensor_error *err) {
    char resolved[PATH_MAX];
    struct stat status;
    errno = 0;
    bool ok = fflush(file) == 0 && !ferror(file);
    if (!ok)
        tensor_fail(err, "%.150s: cannot be written: %s", path,
                    errno ? strerror(errno) : "some of it was lost");
    const bool replaced = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
    int fd = replaced ? dup(fileno(file)) : -1;
    fclose(file);
    return replaced ? nn_file_end(fd, behind_links(path, resolved), ok, err) : ok;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* A run in one line: how far it is, and the losses of its reports. */
static void summarise(const lm_history *run, const char *name, lm_terminal terminal) {
    char text[512];
    int used = snprintf(text, sizeof text, "%.200s: iteration %.15g", name, run->iteration);
    const lm_series *loss = &run->series[LM_LOSS];
    used +=
        snprintf(text + used, sizeof text - (size_t)used, ", loss %.3f", loss->points[loss->count - 1].mean);
    if (!isnan(run->reports.validation))
        used +=
            snprintf(text + used, sizeof text - (size_t)used, ", validation %.3f", run->reports.validation);
    if (run->reports.best_iteration < run->reports.iteration)
        snprintf(text + used, sizeof text - (size_t)used, ", at best %.3f at %.15g", run->reports.best,
                 run->reports.best_iteration);
    lm_terminal_text(stdout, text, terminal.columns, terminal.utf8);
    fputc('\n', stdout);
}

static int draw(const lm_model *model, const lm_chart *chart, const lm_history *const *runs,
                const char *const *names, int count) {
    tensor_error err = {0};
    lm_terminal terminal = lm_terminal_of_stdout();
    lm_terminal_chart(stdout, chart, terminal);
    for (int i = 0; i < count; i++) summarise(runs[i], names[i], terminal);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

static int write_svg(const lm_model *model, const lm_chart *chart, const char *path) {
    tensor_error err = {0};
    FILE *file = lm_create(path, &err);
    if (file) lm_svg_file(file, chart);
    if (!file || !lm_finish(file, path, &err)) return lm_fail(model, "%s", err.text);
    lm_say(model, "wrote %s", path);
    return LM_DONE;
}

int lm_plot_command(const lm_model *model, int argc, char *const *argv) {
    enum { NO_LOG, LOG_X, LOG_Y, LOG_XY, MOST_TICKS = 6 };
    const char *svg = NULL, *folders[LM_COLOURS], *names[LM_COLOURS];
    int64_t log = NO_LOG, threads = 0;
    const lm_option options[] = {lm_string("svg", &svg, "FILE", "draw into this file as well"),
                                 lm_choice("log", &log, "none|x|y|xy", "logarithmic axes"),
                                 {0}};
    const lm_usage usage = {
        model->name, "plot",    "Draws the losses of runs, from the logs in their folders.",
        "DIR...",    {options}, LM_COLOURS};
    int status = lm_begin(model, &usage, argc, argv, folders, &threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    lm_chart chart;
    const lm_history *runs[LM_COLOURS];
    tensor_arena *arena = tensor_arena_new(&err);
    int count = 0;
    status = arena ? LM_DONE : lm_fail(model, "%s", err.text);
    for (; status == LM_DONE && count < LM_COLOURS && folders[count]; count++) {
        runs[count] = lm_run_read(model, folders[count], &names[count], arena);
        if (!runs[count]) status = LM_FAILED;
    }
    if (status == LM_DONE) {
        lm_chart_losses(&chart, runs, names, count);
        lm_chart_fit(&chart, log & LOG_X, log & LOG_Y, MOST_TICKS);
        status = draw(model, &chart, runs, names, count);
    }
    if (status == LM_DONE && svg) status = write_svg(model, &chart, svg);
    tensor_arena_free(arena);
    return status;
}
