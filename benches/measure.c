/* The clock, options, turns, tables and records of the benchmarks. */
#include "benches/measure.h"
#include "models/lm/cli/pages.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Figures ------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[n / 2];
}

figure figure_of(double *x, int n) {
    const double middle = median(x, n);
    return (figure){middle, x[n / 4], x[n - 1 - n / 4]};
}

figure figure_times(figure f, double factor) {
    return (figure){f.median * factor, f.low * factor, f.high * factor};
}

figure figure_rate(double amount, figure seconds) {
    return (figure){amount / seconds.median, amount / seconds.high, amount / seconds.low};
}

/* ---- Turns -------------------------------------------------------------------------------- */

static void keep_busy(void *context, int64_t begin, int64_t end, int worker) {
    (void)context, (void)begin, (void)end, (void)worker;
    for (const double until = now() + 0.04; now() < until;) continue;
}

/* Sleeps, and then has all threads at work: Linux may wake one on the processor of another, and takes tens of
 * milliseconds to notice that a second one is idle. */
static void settle(double seconds) {
    if (seconds <= 0) return;
    const struct timespec t = {.tv_nsec = (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
    tensor_parallel(tensor_threads(), 1, keep_busy, NULL);
}

bool bench_alternate(const bench *b, bench_side *sides, int count, int turns) {
    enum { WARM = 2 }; /* turns before the first that counts */
    const double shortest = b->quick ? 0 : 2e-3;
    double seconds[BENCH_MAX_SIDES][BENCH_MAX_TURNS], lead[BENCH_MAX_TURNS];
    int repeat[BENCH_MAX_SIDES] = {0};
    if (b->quick || turns < 1) turns = 1;
    if (turns > BENCH_MAX_TURNS) turns = BENCH_MAX_TURNS;
    for (int turn = turns < 5 ? -1 : -WARM; turn < turns; turn++) {
        for (int s = 0; s < count; s++) {
            double sum = 0;
            int runs = 0;
            while (runs == 0 || (turn < 0 ? sum < shortest : runs < repeat[s])) {
                const double one = sides[s].run ? sides[s].run(sides[s].context) : -1;
                if (one < 0) return false;
                sum += one;
                runs++;
            }
            if (turn < 0)
                repeat[s] = runs;
            else
                seconds[s][turn] = sum / runs;
            settle(sides[s].settle);
        }
    }
    for (int s = count - 1; s >= 0; s--) { /* the first last: figure_of sorts */
        for (int turn = 0; turn < turns; turn++) lead[turn] = seconds[s][turn] / seconds[0][turn];
        sides[s].lead = figure_of(lead, turns);
        sides[s].seconds = figure_of(seconds[s], turns);
    }
    return true;
}

/* ---- Records ------------------------------------------------------------------------------ */

static void json_text(FILE *file, const char *text) {
    char buffer[256];
    nn_json_quote(buffer, sizeof buffer, text);
    fputs(buffer, file);
}

static void json_number(FILE *file, double x) {
    if (isfinite(x))
        fprintf(file, "%.9g", x);
    else
        fputs("null", file);
}

static void json_cell(FILE *file, const bench_cell *cell) {
    if (cell->spread) {
        fputs("{\"median\": ", file);
        json_number(file, cell->value.median);
        fputs(", \"low\": ", file);
        json_number(file, cell->value.low);
        fputs(", \"high\": ", file);
        json_number(file, cell->value.high);
        fputs("}", file);
    } else if (cell->number) {
        json_number(file, cell->value.median);
    } else if (cell->text) {
        json_text(file, cell->text);
    } else {
        fputs("null", file);
    }
}

static void json_begin(bench *b) {
    fputs("{\"program\": ", b->json);
    json_text(b->json, b->name);
    fputs(", \"compiler\": ", b->json);
    json_text(b->json, __VERSION__);
    fputs(", \"isa\": ", b->json);
    json_text(b->json, tensor_isa());
    fprintf(b->json, ", \"quick\": %s, \"rows\": [", b->quick ? "true" : "false");
}

/* ---- The program -------------------------------------------------------------------------- */

static int fault(const bench *b, int status, const char *text) {
    fprintf(stderr, "%s: %s\n", b->name, text);
    return status;
}

int bench_begin(bench *b, const char *name, const char *summary, const lm_option *options, int argc,
                char **argv) {
    *b = (bench){.name = name};
    const lm_option common[] = {
        lm_threads(&b->threads),
        lm_string("json", &b->path, "FILE", "Write the figures into this file, too."),
        lm_flag("quick", &b->quick, "Hardly measure, to see that the program works."),
        {0},
    };
    char quoted[LM_QUOTED];
    const char *typed = argc > 0 ? lm_quoted(argv[0], quoted, sizeof quoted) : name;
    const lm_usage usage = {
        .program = typed, .command = "", .summary = summary, .options = {options, common}};
    tensor_error err = {0};
    const char *operand;
    bool help;
    if (!lm_process_begin(&err)) return fault(b, LM_FAILED, err.text);
    if (!lm_options_parse(&usage, argc - 1, argv + 1, &operand, &help, &err)) {
        fprintf(stderr, "%s: %s (%s --help lists the options)\n", name, err.text, typed);
        return LM_BAD_USAGE;
    }
    if (help) {
        lm_options_help(&usage, stdout);
        return lm_flush(stdout, &err) ? LM_DONE : fault(b, LM_FAILED, err.text);
    }
    b->threads_set = b->threads > 0;
    if (!tensor_isa_check(&err) || !tensor_threads_check(&err) ||
        (b->threads_set && !tensor_set_threads((int)b->threads, &err)))
        return fault(b, LM_FAILED, err.text);
    b->threads = tensor_threads();
    if (b->path) {
        b->json = fopen(b->path, "w");
        if (!b->json) {
            tensor_fail(&err, "%.200s: %s", b->path, strerror(errno));
            return fault(b, LM_FAILED, err.text);
        }
        json_begin(b);
    }
    return -1;
}

int bench_end(bench *b, tensor_error *err) {
    if (b->json) {
        fputs("\n]}\n", b->json);
        lm_flush(b->json, err);
        fclose(b->json);
    }
    lm_flush(stdout, err);
    return err->text[0] ? fault(b, LM_FAILED, err->text) : LM_DONE;
}

/* ---- Tables ------------------------------------------------------------------------------- */

bench_cell cell_text(const char *text) {
    return (bench_cell){.text = text};
}

bench_cell cell_number(double x) {
    return (bench_cell){.value = {x, x, x}, .number = true};
}

bench_cell cell_figure(figure f) {
    return (bench_cell){.value = f, .number = true, .spread = true};
}

void bench_table(bench *b, const char *title, const bench_column *columns) {
    b->title = title;
    b->columns = columns;
    printf("\n%s (%s, %lld thread%s)\n", title, tensor_isa(), (long long)b->threads,
           b->threads > 1 ? "s" : "");
    for (const bench_column *c = columns; c->key; c++)
        printf("%s%*s", c > columns ? "  " : "", c->width, c->head);
    putchar('\n');
}

static void print_cell(const bench_column *c, const bench_cell *cell) {
    char text[64] = "-";
    if (cell->spread) { /* half the distance of the quartiles, in parts of the median */
        const figure f = cell->value;
        const double spread = 50 * (f.high - f.low) / f.median;
        snprintf(text, sizeof text, "%.*f +-%2.0f%%", c->decimals, f.median, isfinite(spread) ? spread : 0);
    } else if (cell->number) {
        snprintf(text, sizeof text, "%.*f", c->decimals, cell->value.median);
    } else if (cell->text) {
        snprintf(text, sizeof text, "%s", cell->text);
    }
    printf("%*s", c->width, text);
}

void bench_row(bench *b, const bench_cell *cells) {
    for (int i = 0; b->columns[i].key; i++) {
        if (i > 0) fputs("  ", stdout);
        print_cell(&b->columns[i], &cells[i]);
    }
    putchar('\n');
    fflush(stdout); /* a row takes a while */
    if (!b->json) return;
    fprintf(b->json, "%s\n{\"table\": ", b->rows++ > 0 ? "," : "");
    json_text(b->json, b->title);
    fprintf(b->json, ", \"threads\": %lld", (long long)b->threads);
    for (int i = 0; b->columns[i].key; i++) {
        if (!b->columns[i].key[0]) continue;
        fputs(", ", b->json);
        json_text(b->json, b->columns[i].key);
        fputs(": ", b->json);
        json_cell(b->json, &cells[i]);
    }
    fputs("}", b->json);
}
