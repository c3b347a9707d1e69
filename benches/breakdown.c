/* Where the time of a training step goes, on one thread: its parts, and each operation forward and backward. */
#include <string.h>

#include "benches/step.h"

enum {
    MOST_OPERATIONS = 128,
    TURNS = 15 /* at most */
};

typedef enum part { DATA, REDUCTION, UPDATE, REST, PARTS } part;

/* Seconds of one step. */
typedef struct times {
    double part[PARTS], forward[MOST_OPERATIONS],
        backward[MOST_OPERATIONS]; /* operations by their place in ag_ops */
    double whole;
} times;

typedef struct observer {
    training *t;
    times *times;
    double begun, ended; /* of the operation under way, of the last one */
} observer;

static int place_of(const ag_op *op) {
    int i = 0;
    while (ag_ops[i] && ag_ops[i] != op && i + 1 < MOST_OPERATIONS) i++;
    return i;
}

static void watch(void *context, const ag_op *op, ag_moment moment) {
    observer *o = context;
    const double at = now();
    if (moment == AG_FORWARD_ENDS || moment == AG_BACKWARD_ENDS) {
        double *seconds = moment == AG_FORWARD_ENDS ? o->times->forward : o->times->backward;
        seconds[place_of(op)] += at - o->begun;
        o->ended = at;
    }
    o->begun = now(); /* without what watching takes */
}

static ag_var *watched_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    observer *o = context;
    ag_watch(tape, watch, o);
    return lm_loss(&o->t->c, tape, begin, end);
}

/* The shards are added after the last operation. What is left is tapes and leaves. */
static bool take(training *t, times *x) {
    *x = (times){0};
    observer o = {.t = t, .times = x};
    x->part[DATA] = training_draw(t);
    const double start = now(), seconds = training_backward(t, watched_loss, &o);
    if (seconds < 0 || (x->part[UPDATE] = training_update(t)) < 0) return false;
    x->part[REDUCTION] = start + seconds - o.ended;
    x->whole = x->part[DATA] + seconds + x->part[UPDATE];
    x->part[REST] = seconds - x->part[REDUCTION];
    for (int i = 0; i < MOST_OPERATIONS; i++) x->part[REST] -= x->forward[i] + x->backward[i];
    return true;
}

/* A row of the table: the seconds at `offset` bytes of each turn's times, in which so many operations are done. */
static bool print_row(bench *b, const setting *s, const char *what, const char *pass, const times *x,
                      int turns, size_t offset, double flops, tensor_error *err) {
    double seconds[TURNS], share[TURNS], percent;
    for (int i = 0; i < turns; i++) {
        seconds[i] = *(const double *)((const char *)&x[i] + offset);
        share[i] = 100 * seconds[i] / x[i].whole;
    }
    const figure f = figure_of(seconds, turns);
    if (f.median <= 0) return true;
    const bench_side peak = limit_peak_side(&b->single, NULL);
    if (!limit_percent(&peak, flops, f.median, &percent, err)) return false;
    bench_row(b,
              (bench_cell[]){cell_text(s->what), cell_text(what), cell_text(pass),
                             cell_figure(figure_times(f, 1e3)), cell_number(figure_of(share, turns).median),
                             flops > 0 ? cell_number(percent) : (bench_cell){0}});
    return true;
}

static double flops_of(const training *t, const char *operation) {
    if (training_limited(t) == 0) return 0;
    if (strcmp(operation, "linear") == 0) return t->linear_flops;
    return strcmp(operation, "attention") == 0 ? t->attention_flops : 0;
}

static bool print_rows(bench *b, const setting *s, const training *t, const times *x, int turns) {
    static const char *const names[PARTS] = {"data", "adding the shards", "AdamW", "the rest"};
    for (int i = 0; ag_ops[i] && i < MOST_OPERATIONS; i++) {
        const size_t at = (size_t)i * sizeof(double);
        const double flops = flops_of(t, ag_ops[i]->name);
        if (!print_row(b, s, ag_ops[i]->name, "forward", x, turns, offsetof(times, forward) + at, flops,
                       t->err) ||
            !print_row(b, s, ag_ops[i]->name, "backward", x, turns, offsetof(times, backward) + at, 2 * flops,
                       t->err))
            return false;
    }
    for (int i = 0; i < PARTS; i++)
        if (!print_row(b, s, names[i], "", x, turns, offsetof(times, part) + (size_t)i * sizeof(double), 0,
                       t->err))
            return false;
    return true;
}

bool breakdown_begin(bench *b, tensor_error *err) {
    static const bench_column columns[] = {{"model", "model", -10, 0},
                                           {"part", "part", -18, 0},
                                           {"pass", "", -8, 0},
                                           {"ms", "ms a step", 15, 4},
                                           {"percent", "% of it", 7, 1},
                                           {"percent_of_peak", "% of peak", 9, 0},
                                           {0}};
    b->threads = 1;
    bench_table(b, "where the time of a step goes", columns);
    return tensor_set_threads(1, err);
}

bool breakdown(bench *b, const setting *s, tensor_precision precision, tensor_error *err) {
    const bench_side peak = limit_peak_side(&b->single, NULL);
    times x[TURNS];
    training t;
    const int most = s->turns < TURNS ? s->turns : TURNS, turns = b->quick ? 1 : most;
    bool ok = training_begin(&t, s, precision, err) && take(&t, x);
    for (int i = 0; ok && i < turns; i++) ok = take(&t, &x[i]) && peak.run(peak.context) >= 0;
    ok = ok && print_rows(b, s, &t, x, turns);
    training_end(&t);
    return ok;
}
