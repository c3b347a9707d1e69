/* How time and memory of a training step grow with each size of the GPT: context, batch, width, layers, vocabulary, and
 * threads. One of them varies, the others stay; the limit is the time of the same arithmetic at the machine's peak.
 *
 *     build/benches/scaling [--axis NAME] [--seconds N] [--svg FILE] [--svg-memory FILE] [--threads N] [--json FILE]
 */
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "benches/step.h"
#include "models/lm/look/chart.h"

const lm_model *bench_gpt(void);

enum { POINTS = 9, AXES = 6, TURNS = 9 };

/* What varies, and from which model on: rows 0: as many as make 4096 tokens. */
typedef struct axis {
    const char *name;
    int64_t context, rows, width, layers, vocabulary;
    int64_t values[POINTS + 1]; /* up to a 0 */
} axis;
static const axis axes[AXES] = {
    {"context", 0, 0, 64, 3, 51, {64, 128, 256, 512, 1024, 2048, 4096, 8192}},
    {"batch", 64, 0, 64, 3, 51, {1, 4, 16, 64, 256, 1024, 4096}},
    {"width", 64, 8, 0, 3, 51, {16, 32, 64, 128, 256, 512, 1024, 2048}},
    {"layers", 64, 64, 64, 0, 51, {1, 2, 3, 6, 12, 24, 48}},
    {"vocabulary", 64, 64, 64, 3, 0, {51, 256, 1024, 4096, 16384, 50257}},
    {"threads", 64, 64, 64, 3, 51, {0}},
};
#define NAMES "all|context|batch|width|layers|vocabulary|threads"

typedef struct scaling {
    bench b;
    int64_t only, seconds;
    const char *svg[2]; /* time, memory */
    tensor_error err;
    lm_series time[AXES], limit[AXES], memory[AXES];
} scaling;

/* A model of the axis; its texts are in `text`. */
typedef struct sized {
    char text[3][24];
    const char *options[7];
    setting s;
} sized;

static void size_up(sized *z, const axis *a, int64_t value) {
    const int64_t width = a->width ? a->width : value, layers = a->layers ? a->layers : value;
    const int64_t context = strcmp(a->name, "context") == 0 ? value : a->context;
    const int64_t rows = a->rows                         ? a->rows
                         : strcmp(a->name, "batch") == 0 ? value
                                                         : (4096 + context - 1) / context;
    const int64_t sizes[] = {width, layers, (width + 15) / 16};
    static const char *const names[] = {"width", "layers", "heads"};
    for (int i = 0; i < 3; i++) {
        snprintf(z->text[i], sizeof z->text[i], "%lld", (long long)sizes[i]);
        z->options[2 * i] = names[i];
        z->options[2 * i + 1] = z->text[i];
    }
    z->options[6] = NULL;
    z->s = (setting){.name = a->name,
                     .program = bench_gpt,
                     .vocabulary = a->vocabulary ? a->vocabulary : value,
                     .context = context,
                     .rows = rows < 1 ? 1 : rows,
                     .options = z->options};
}

static void row(scaling *x, const axis *a, int64_t value, const setting *s, figure ms, double percent,
                double limit, double mb, const char *skipped) {
    char shape[48];
    snprintf(shape, sizeof shape, "B %lld T %lld", (long long)s->rows, (long long)s->context);
    const bool ok = !skipped;
    bench_row(&x->b, (bench_cell[]){cell_text(a->name), cell_number((double)value), cell_text(shape),
                                    ok ? cell_figure(ms) : (bench_cell){0}, cell_number(limit),
                                    ok ? cell_number(percent) : (bench_cell){0},
                                    ok ? cell_number(1e3 * ms.median / (double)(s->rows * s->context))
                                       : (bench_cell){0},
                                    ok ? cell_number(mb) : (bench_cell){0}, cell_text(ok ? "" : skipped)});
}

/* What the process of a point tells. */
typedef struct outcome {
    figure seconds;
    double percent, megabytes; /* of the peak; of memory, at most */
    limit_peak peak;
    tensor_error err; /* empty: it went well */
} outcome;

static void run_point(outcome *o, const bench *b, const setting *s, double flops, int turns) {
    training t;
    o->peak = b->peak;
    bench_side sides[] = {{.run = training_step, .context = &t}, limit_peak_side(&o->peak, NULL)};
    if (training_begin(&t, s, TENSOR_FLOAT32, &o->err) && bench_alternate(b, sides, 2, turns) &&
        limit_percent(&sides[1], flops, sides[0].seconds.median, &o->percent, &o->err))
        o->seconds = sides[0].seconds;
    else if (!o->err.text[0])
        tensor_fail(&o->err, "the step failed");
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    o->megabytes = (double)usage.ru_maxrss / 1024; /* Linux counts KiB */
    training_end(&t);
}

/* Runs a point in a process of its own, so that its memory is not that of the points before. False: it ended early. */
static bool run_apart(outcome *o, const bench *b, const setting *s, double flops, int turns) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    const pid_t child = fork();
    if (child == 0) {
        *o = (outcome){0};
        run_point(o, b, s, flops, turns);
        _exit(write(ends[1], o, sizeof *o) == (ssize_t)sizeof *o ? 0 : 1);
    }
    close(ends[1]);
    const bool told = child > 0 && read(ends[0], o, sizeof *o) == (ssize_t)sizeof *o;
    close(ends[0]);
    return child > 0 && waitpid(child, NULL, 0) == child && told;
}

/* One point; skipped where it would take too long, at a third of the peak, or too much memory. */
static bool measure(scaling *x, int which, int64_t value) {
    enum { PEAKS = 20 }; /* runs to know the peak before the first point */
    const axis *a = &axes[which];
    bench *b = &x->b;
    sized z;
    setting_cost cost;
    size_up(&z, a, value);
    const bench_side peak = limit_peak_side(&b->peak, NULL);
    for (int i = 0; i < PEAKS; i++)
        if (peak.run(peak.context) < 0) return false;
    if (!setting_estimate(&z.s, &cost, &x->err)) return false;
    const double limit = 1e3 * cost.flops / b->peak.best, likely = 3e-3 * limit;
    const double most = b->quick ? 0.1 : (double)x->seconds, free = (double)tensor_memory();
    const char *skipped = 2 * likely > most                      ? "skipped: too long"
                          : free >= 0 && cost.bytes > 0.8 * free ? "skipped: too much memory"
                                                                 : NULL;
    if (skipped) {
        row(x, a, value, &z.s, (figure){0}, 0, limit, 0, skipped);
        return true;
    }
    outcome o;
    const double turns = most / likely;
    if (!run_apart(&o, b, &z.s, cost.flops, turns > TURNS ? TURNS : (int)turns))
        return tensor_fail(&x->err, "%s %lld: its process ended early", a->name, (long long)value);
    if (o.err.text[0]) return tensor_fail(&x->err, "%s %lld: %s", a->name, (long long)value, o.err.text);
    b->peak.best = o.peak.best;
    const double ms = 1e3 * o.seconds.median;
    row(x, a, value, &z.s, figure_times(o.seconds, 1e3), o.percent, ms * o.percent / 100, o.megabytes, NULL);
    lm_series_add(&x->time[which], (double)value, ms);
    lm_series_add(&x->limit[which], (double)value, ms * o.percent / 100);
    lm_series_add(&x->memory[which], (double)value, o.megabytes);
    return true;
}

static bool measure_axis(scaling *x, int which) {
    const int64_t most = x->b.threads;
    if (axes[which].values[0] > 0) {
        for (const int64_t *value = axes[which].values; *value; value++)
            if (!measure(x, which, *value)) return false;
        return true;
    }
    for (int64_t threads = 1;; threads = 2 * threads < most ? 2 * threads : most) {
        x->b.threads = threads;
        if (!tensor_set_threads((int)threads, &x->err) || !measure(x, which, threads)) return false;
        if (threads == most) return true;
    }
}

/* A picture: measured, a line; the limit, dots of the same colour. */
static bool draw(scaling *x, const char *path, const char *title, const char *unit, const lm_series *measured,
                 const lm_series *limit) {
    lm_curve curves[2 * AXES];
    lm_chart chart = {.title = title, .y_label = unit, .x_label = "size", .room = 2 * AXES, .curves = curves};
    for (int i = 0; i < AXES; i++) {
        lm_chart_add(&chart, (lm_curve){&measured[i], axes[i].name, NULL, LM_LINE, i, true});
        if (limit) lm_chart_add(&chart, (lm_curve){&limit[i], axes[i].name, "limit", LM_REPORTS, i, false});
    }
    if (chart.count == 0) return tensor_fail(&x->err, "%.200s: there is nothing to draw", path);
    lm_chart_fit(&chart, (lm_frame){{1, 1e6}, LM_EVERYTHING, true, true, 8}); /* the legend is at the right */
    FILE *file = lm_create(path, &x->err);
    if (file) lm_svg_file(file, &chart);
    return file && lm_finish(file, path, true, &x->err);
}

int main(int argc, char **argv) {
    static scaling x = {.seconds = 8}; /* the series are large */
    const lm_option options[] = {
        lm_choice("axis", &x.only, NAMES, "Vary this size."),
        lm_integer("seconds", &x.seconds, 1, 3600,
                   "Leave out points that would take longer than about so many seconds."),
        lm_string("svg", &x.svg[0], "FILE", "Draw the times, with their limits, into this SVG file."),
        lm_string("svg-memory", &x.svg[1], "FILE", "Draw the memory into this SVG file."),
        {0}};
    const int status = bench_begin(&x.b, "scaling", "The growth of a training step", options, argc, argv);
    if (status >= 0) return status;
    static const bench_column columns[] = {{"axis", "size", -10, 0},
                                           {"value", "value", 6, 0},
                                           {"shape", "batch", -13, 0},
                                           {"ms", "ms a step", 16, 2},
                                           {"limit_ms", "at the peak", 11, 2},
                                           {"percent_of_peak", "% of peak", 9, 0},
                                           {"us_per_token", "us a token", 10, 2},
                                           {"peak_mb", "MiB", 7, 0},
                                           {"note", "", -1, 0},
                                           {0}};
    bench_table(&x.b, "a training step of the GPT, by its sizes", columns);
    bool ok = true;
    for (int i = 0; ok && i < AXES; i++)
        if (!x.only || x.only == i + 1) ok = measure_axis(&x, i);
    if (ok && x.svg[0])
        ok = draw(&x, x.svg[0], "A training step (dots: at the peak)", "milliseconds", x.time, x.limit);
    if (ok && x.svg[1]) ok = draw(&x, x.svg[1], "The memory of training", "MiB", x.memory, NULL);
    return bench_end(&x.b, &x.err);
}
