/* A training step on random tokens: forward, backward, the addition of the lanes, AdamW; of the bigram, of the GPT with
 * its default configuration and of GPT-2 124M's shape, on one thread and more.
 *
 *     build/benches/train [--threads N] [--model NAME] [--large] [--json FILE]
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "benches/measure.h"

/* models/bigram.c and models/gpt.c, each compiled with a name of its own for lm_program. */
const lm_model *bench_bigram(void);
const lm_model *bench_gpt(void);

typedef struct setting {
    const char *name, *what;
    const lm_model *(*program)(void);
    int64_t vocabulary, positions, context, rows; /* 0: the model's default */
    const char *const *options;                   /* names and values */
    int turns;
    bool large;
} setting;

static const char *const gpt2[] = {"layers",     "12",   "heads",     "12",  "width",           "768",
                                   "activation", "gelu", "qkv-bias",  "yes", "final-norm",      "yes",
                                   "tied-head",  "yes",  "head-bias", "no",  "attention-scale", "0.125",
                                   NULL};
static const setting settings[] = {
    {"bigram", "bigram", bench_bigram, 51, 0, 0, 0, NULL, 41, false},
    {"gpt", "GPT", bench_gpt, 51, 0, 0, 0, NULL, 21, false},
    {"gpt2", "GPT-2 124M", bench_gpt, 50257, 1024, 64, 4, gpt2, 3, true},
    {"gpt2-long", "GPT-2 124M", bench_gpt, 50257, 1024, 1024, 1, gpt2, 3, true},
};
enum { SETTINGS = sizeof settings / sizeof *settings };
#define NAMES "all|bigram|gpt|gpt2|gpt2-long"

static const lm_option *option_of(const lm_model *model, const char *name) {
    for (const lm_option *o = model->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static double number_of(const lm_model *model, const char *name) {
    const lm_option *o = option_of(model, name);
    return o ? (double)*(const int64_t *)o->value : 0;
}

/* Products of the forward pass and twice as many backward, the causal half of attention once: the multiply-adds of a
 * token with each parameter but the tables, and of its query with half of the keys and values. */
static double step_flops(const lm_model *model, const setting *s, int64_t tokens, int64_t context) {
    const double layers = number_of(model, "layers"), width = number_of(model, "width");
    const double parameters = layers * 12 * width * width + (double)s->vocabulary * width;
    return 6 * (double)tokens * (parameters + layers * (double)context * width);
}

/* ---- A step --------------------------------------------------------------------------------- */

typedef struct training {
    nn_params *params;
    nn_parallel *parallel;
    struct nn_adamw adamw;
    lm_loss_context c;
    int64_t rows, context;
    tensor_error *err;
} training;

static double step(void *context) {
    training *t = context;
    double loss;
    const double start = now();
    if (!nn_parallel_backward(t->parallel, t->rows, lm_loss, &t->c, &loss, t->err) ||
        !nn_adamw_step(&t->adamw, t->params))
        return -1;
    return now() - start;
}

static bool set_options(const lm_model *model, const char *const *options, tensor_error *err) {
    for (; options && *options; options += 2) {
        const lm_option *o = option_of(model, options[0]);
        if (!o) return tensor_fail(err, "%s has no option %s", model->name, options[0]);
        if (!lm_option_set(o, options[1], err)) return false;
    }
    return !model->check || model->check(model->self, err);
}

static bool begin(training *t, const lm_model *model, const setting *s, tensor_arena *arena,
                  tensor_error *err) {
    tensor_rng rng = {.seed = 1};
    const int32_t vocabulary = (int32_t)s->vocabulary;
    t->context = s->context ? s->context : model->defaults.context;
    t->rows = s->rows ? s->rows : model->defaults.batch;
    t->c.model = model;
    t->err = err;
    t->params = nn_params_new();
    if (!t->params || !set_options(model, s->options, err)) return false;
    model->init(model->self, t->params, vocabulary, s->positions ? s->positions : t->context);
    if (!nn_params_finalize(t->params, 1) || !nn_adamw_init(&t->adamw, t->params, NN_ADAMW_DEFAULTS))
        return tensor_fail(err, "%.200s", nn_params_error(t->params));
    t->parallel = lm_parallel_new(t->params, t->context);
    return t->parallel && lm_batch_new(&t->c.batch, t->rows, t->context, arena, err) &&
           tensor_rand_integers(t->c.batch.ids, &rng, 0, vocabulary, err) &&
           tensor_rand_integers(t->c.batch.targets, &rng, 0, vocabulary, err);
}

/* ---- Measuring ------------------------------------------------------------------------------ */

/* Begins a new high-water mark of memory, where Linux permits; elsewhere it is that of all so far. */
static void forget_peak_memory(void) {
    const int file = open("/proc/self/clear_refs", O_WRONLY);
    if (file < 0) return;
    const ssize_t written = write(file, "5", 1);
    (void)written;
    close(file);
}

static double peak_megabytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024; /* Linux counts KiB */
}

/* One row; *single is the time of a step on one thread, 0 where that is not known. */
static bool measure(bench *b, const setting *s, double *single, tensor_error *err) {
    training t = {0};
    tensor_arena *arena = tensor_arena_new(err);
    const lm_model *model = s->program();
    limit_peak peak;
    bench_side sides[] = {{.run = step, .context = &t}, limit_peak_side(&peak, NULL)};
    forget_peak_memory();
    const bool ok = arena && begin(&t, model, s, arena, err) && bench_alternate(b, sides, 2, s->turns);
    if (ok) {
        const double seconds = sides[0].seconds.median, tokens = (double)(t.rows * t.context);
        const double flops = step_flops(model, s, t.rows * t.context, t.context);
        char shape[48];
        snprintf(shape, sizeof shape, "B %lld T %lld", (long long)t.rows, (long long)t.context);
        if (b->threads == 1) *single = seconds;
        bench_row(b, (bench_cell[]){cell_text(s->what), cell_text(shape), cell_number((double)b->threads),
                                    cell_figure(figure_times(sides[0].seconds, 1e3)),
                                    cell_number(tokens / seconds),
                                    flops > 0 ? cell_number(1e-9 * flops) : (bench_cell){0},
                                    flops > 0 ? cell_number(100 * sides[1].lead.median * flops / peak.flops)
                                              : (bench_cell){0},
                                    *single > 0 ? cell_number(*single / seconds) : (bench_cell){0},
                                    cell_number(peak_megabytes())});
    } else {
        tensor_fail(err, "%.200s",
                    t.params && nn_params_error(t.params) ? nn_params_error(t.params) : "out of memory");
    }
    nn_parallel_free(t.parallel);
    nn_params_free(t.params);
    tensor_arena_free(arena);
    return ok;
}

/* On 1, 2, 4, ... threads and all of them; with --threads on that many alone. */
static bool scale(bench *b, const setting *s, int64_t most, tensor_error *err) {
    double single = 0;
    for (int64_t threads = b->threads_set ? most : 1;; threads = 2 * threads < most ? 2 * threads : most) {
        b->threads = threads;
        if (!tensor_set_threads((int)threads, err) || !measure(b, s, &single, err)) return false;
        if (threads == most) return true;
    }
}

int main(int argc, char **argv) {
    bench b;
    int64_t only = 0;
    bool large = false;
    const lm_option options[] = {
        lm_choice("model", &only, NAMES, "which step; gpt2 only by name or with --large"),
        lm_flag("large", &large, "GPT-2 124M too: minutes, and 4 GB of memory"),
        {0}};
    const int status = bench_begin(&b, "train", "A training step", options, argc, argv);
    if (status >= 0) return status;
    static const bench_column columns[] = {{"model", "model", -10, 0},
                                           {"shape", "batch", -12, 0},
                                           {"", "threads", 7, 0},
                                           {"ms", "ms a step", 14, 2},
                                           {"tokens_per_s", "tokens/s", 9, 0},
                                           {"gflop", "GFLOP", 8, 2},
                                           {"percent_of_peak", "% of peak", 9, 0},
                                           {"speedup", "speedup", 7, 2},
                                           {"peak_mb", "MiB", 7, 0},
                                           {0}};
    bench_table(&b, "a training step", columns);
    tensor_error err = {0};
    const int64_t most = b.threads;
    bool ok = true;
    for (int i = 0; ok && i < SETTINGS; i++)
        if (only == i + 1 || (only == 0 && (large || !settings[i].large)))
            ok = scale(&b, &settings[i], most, &err);
    return bench_end(&b, &err);
}
