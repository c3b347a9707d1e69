/* Every operation of autograd, forward and backward, against the limit that binds it, traffic or multiply-adds, and
 * beside PyTorch where that is installed.
 *
 *     build/benches/ops [--threads N] [--json FILE] [--only NAME] [--torch PYTHON]
 */
#include <string.h>

#include "benches/lines.h"
#include "benches/peer.h"

static bool is_operation(const char *name) {
    for (int i = 0; ag_ops[i]; i++)
        if (strcmp(ag_ops[i]->name, name) == 0) return true;
    return false;
}

/* Every line is of an operation. */
static bool complete(tensor_error *err) {
    for (const line *l = lines; l < lines + line_count; l++)
        if (!is_operation(l->op)) return tensor_fail(err, "%s is no operation of autograd", l->op);
    return true;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

typedef struct task {
    line line;
    int64_t rows;
    ag_tape *tape;
    tensor in[AG_MAX_OPERANDS], dy;
    bool backward; /* what is measured */
    peer *torch;
} task;

/* What the table calls it; the peer knows it by this name. */
static const char *name_of(const line *l) {
    return l->form ? l->form : l->op;
}

/* A scalar whose backward gives its operand a gradient that was made before. */
static void seed_backward(ag_var *y, ag_var *dy) {
    (void)dy;
    ag_add_grad(y->in[0], ag_input(y->tape, *(const tensor *)y->saved));
}
static const ag_op seed_op = {.name = "seed", .backward = seed_backward};

static ag_var *seed(ag_var *x, tensor dy) {
    ag_var *y = ag_begin(&seed_op, 1, &x);
    tensor *saved = ag_save(y, sizeof *saved);
    if (!saved || !ag_out(y, TENSOR_F32, 0, NULL)) return NULL;
    *saved = dy;
    return ag_end(y);
}

static ag_var *forward(task *t, double *seconds) {
    ag_var *in[AG_MAX_OPERANDS];
    ag_reset(t->tape);
    for (int k = 0; k < t->line.inputs; k++) {
        const ag_operand *o = &t->line.in[k];
        in[k] = o->ids || o->constant ? ag_input(t->tape, t->in[k]) : ag_variable(t->tape, t->in[k]);
    }
    const double start = now();
    ag_var *y = t->line.run(in);
    *seconds = now() - start;
    return y;
}

static double theirs(void *context) {
    const task *t = context;
    char question[80];
    snprintf(question, sizeof question, "%s/%s %lld", name_of(&t->line), t->backward ? "backward" : "forward",
             (long long)t->rows);
    return peer_ask(t->torch, question);
}

static double ours(void *context) {
    task *t = context;
    double seconds;
    ag_var *y = forward(t, &seconds);
    if (!t->backward || !y) return y ? seconds : -1;
    if (y->value.rank > 0) y = seed(y, t->dy);
    const double start = now();
    return ag_backward(y) ? now() - start : -1;
}

/* Operands, and a gradient of the result. */
static bool prepare(task *t, tensor_arena *arena, tensor_error *err) {
    tensor_rng rng = {.seed = 1};
    for (int k = 0; k < t->line.inputs; k++) {
        const ag_operand *o = &t->line.in[k];
        int64_t shape[4];
        for (int i = 0; i < o->rank; i++) shape[i] = o->shape[i] < 0 ? t->rows / -o->shape[i] : o->shape[i];
        t->in[k] = tensor_new(arena, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, shape, err);
        const bool ok = o->ids ? tensor_rand_integers(t->in[k], &rng, 0, o->ids, err)
                               : tensor_rand_uniform(t->in[k], &rng, o->low, o->high, err);
        if (!ok) return false;
    }
    double seconds;
    const ag_var *y = forward(t, &seconds);
    if (!y) return tensor_fail(err, "%s: %.200s", name_of(&t->line), ag_error(t->tape));
    t->dy = tensor_new(arena, TENSOR_F32, y->value.rank, y->value.shape, err);
    return tensor_rand_uniform(t->dy, &rng, -1, 1, err);
}

/* One row of the table: times against both limits, of which the one that takes longer binds, and beside PyTorch. */
static bool measure(bench *b, task *t, tensor_arena *arena, tensor_error *err) {
    enum { TURNS = 11 };
    const cost c = t->backward ? t->line.backward : t->line.forward;
    const double bytes = 4 * c.floats * (double)t->rows, flops = c.flops * (double)t->rows;
    /* PyTorch's threads spin on, on processors that ours need. */
    const double settle = tensor_threads() > 1 && !b->quick ? 0.04 : 0;
    limit_stream stream;
    bench_side sides[] = {{.run = ours, .context = t},
                          limit_peak_side(&b->peak, NULL),
                          limit_stream_side(&stream, LIMIT_TRIAD, (int64_t)bytes, arena, err),
                          {.run = theirs, .context = t, .settle = settle}};
    const bool beside = t->torch->to && theirs(t) >= 0;
    if (t->torch->to && feof(t->torch->from))
        return tensor_fail(err, "%s: PyTorch has ended", name_of(&t->line));
    if (!bench_alternate(b, sides, beside ? 4 : 3, TURNS))
        return tensor_fail(err, "%s: %.200s", name_of(&t->line),
                           ag_error(t->tape) ? ag_error(t->tape) : "PyTorch has ended");
    const double seconds = sides[0].seconds.median;
    const double by_bytes = 100 * sides[2].lead.median * bytes / stream.moved;
    double by_flops;
    if (!limit_percent(&sides[1], flops, seconds, &by_flops, err)) return false;
    const bool work = bytes > 0;
    bench_row(b,
              (bench_cell[]){cell_text(name_of(&t->line)), cell_text(t->backward ? "backward" : "forward"),
                             cell_figure(figure_times(sides[0].seconds, 1e6)),
                             work ? cell_number(1e-9 * bytes / seconds) : (bench_cell){0},
                             flops > 0 ? cell_number(1e-9 * flops / seconds) : (bench_cell){0},
                             cell_text(!work                 ? "no work"
                                       : by_bytes > by_flops ? "traffic"
                                                             : "arithmetic"),
                             work ? cell_number(by_bytes > by_flops ? by_bytes : by_flops) : (bench_cell){0},
                             beside ? cell_number(1e6 * sides[3].seconds.median) : (bench_cell){0},
                             beside ? cell_number(sides[3].lead.median) : (bench_cell){0}});
    return true;
}

/* Both passes of a line. */
static bool measure_line(bench *b, task *t, tensor_arena *arena, tensor_error *err) {
    for (int pass = 0; pass < (t->line.no_gradient ? 1 : 2); pass++) {
        tensor_arena_reset(arena);
        t->backward = pass;
        if (!prepare(t, arena, err) || !measure(b, t, arena, err)) return false;
    }
    return true;
}

/* The lines of rows of W, or, where `rows` is 1, those of sizes of their own. */
static bool all(bench *b, task *t, const char *only, tensor_arena *arena, tensor_error *err) {
    static const bench_column columns[] = {{"op", "operation", -19, 0},
                                           {"pass", "pass", -8, 0},
                                           {"us", "us", 15, 1},
                                           {"gb_per_s", "GB/s", 7, 1},
                                           {"gflops", "GFLOP/s", 7, 1},
                                           {"bound", "bound by", -10, 0},
                                           {"percent_of_bound", "% of it", 7, 0},
                                           {"torch_us", "PyTorch us", 10, 1},
                                           {"torch_by_ours", "by ours", 7, 2},
                                           {0}};
    char title[64];
    snprintf(title, sizeof title, t->rows > 1 ? "%lld rows of %d" : "sizes of their own", (long long)t->rows,
             LINE_WIDTH);
    bench_table(b, title, columns);
    for (int i = 0; ag_ops[i]; i++) {
        const char *name = ag_ops[i]->name;
        if (only && strcmp(only, name) != 0) continue;
        bool listed = false;
        for (const line *l = lines; l < lines + line_count; l++) {
            if (strcmp(l->op, name) != 0) continue;
            listed = true;
            t->line = *l;
            if (!l->reason && l->once == (t->rows == 1) && !measure_line(b, t, arena, err)) return false;
        }
        t->line = usual_line(ag_ops[i]);
        if (!listed && !t->line.reason && t->rows > 1 && !measure_line(b, t, arena, err)) return false;
    }
    return true;
}

/* PyTorch, with as many threads as ours. */
static void begin_torch(peer *torch, const char *python) {
    char threads[16];
    snprintf(threads, sizeof threads, "%d", tensor_threads());
    if (peer_begin(torch, python, PEERS_FOLDER "/torch_ops.py", threads))
        printf("beside %s, %s thread%s\n", torch->name, threads, tensor_threads() == 1 ? "" : "s");
    else
        printf("PyTorch is not installed for %s (--torch names another Python): its columns stay empty\n",
               python);
}

int main(int argc, char **argv) {
    bench b;
    const char *only = NULL, *python = "python3";
    const lm_option options[] = {
        lm_string("only", &only, "NAME", "Measure this operation alone."),
        lm_string("torch", &python, "PYTHON", "Compare with PyTorch, which this Python has."),
        {0}};
    const int status = bench_begin(&b, "ops", "The operations of autograd", options, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    ag_tape *tape = ag_tape_new();
    if (!tape) tensor_fail(&err, "out of memory");
    if (only && !is_operation(only)) tensor_fail(&err, "--only %.60s: autograd has no such operation", only);
    bool ok = !err.text[0] && complete(&err);
    peer torch = {.process = -1};
    if (ok) begin_torch(&torch, python);
    for (int i = 0; ok && i < 3; i++) {
        task t = {.rows = (const int64_t[]){256, 8192, 1}[i], .tape = tape, .torch = &torch};
        ok = all(&b, &t, only, arena, &err);
    }
    peer_end(&torch);
    if (ok) {
        puts("\nnot measured:");
        for (const line *l = lines; l < lines + line_count; l++)
            if (l->reason) printf("%-16s  %s\n", l->op, l->reason);
    }
    ag_tape_free(tape);
    tensor_arena_free(arena);
    return bench_end(&b, &err);
}
