/* A training step on random tokens: the batch, forward, backward, the addition of the shards, AdamW; of the bigram, of
 * the GPT with its default configuration and of other shapes, on one thread and more, and where its time goes (with
 * --threads, on that many alone and without that).
 *
 *     build/benches/train [--threads N] [--model NAME] [--large] [--precision bf16] [--list] [--json FILE]
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "benches/step.h"

/* models/bigram.c and models/gpt.c, each compiled with a name of its own for lm_program. */
const lm_model *bench_bigram(void);
const lm_model *bench_gpt(void);

/* A model of other sizes than the default's: what its row varies. */
#define OPTIONS(...)                                                                                         \
    (const char *const[]) {                                                                                  \
        __VA_ARGS__, NULL                                                                                    \
    }
#define GPT2                                                                                                 \
    OPTIONS("layers", "12", "heads", "12", "width", "768", "activation", "gelu", "qkv-bias", "yes",          \
            "final-norm", "yes", "tied-head", "yes", "head-bias", "no", "attention-scale", "0.125")

static const setting settings[] = {
    {"bigram", "bigram", bench_bigram, .vocabulary = 51, .turns = 41},
    {"gpt", "GPT", bench_gpt, .vocabulary = 51, .turns = 21},
    {"heads-1", "1 head", bench_gpt, 51, .options = OPTIONS("heads", "1"), .turns = 11, .large = true},
    {"heads-16", "16 heads", bench_gpt, 51, .options = OPTIONS("heads", "16"), .turns = 11, .large = true},
    {"context-1", "context 1", bench_gpt, 51, .context = 1, .rows = 4096, .turns = 11, .large = true},
    {"batch-4", "batch 4", bench_gpt, 51, .rows = 4, .turns = 21, .large = true},
    {"vocabulary-8", "50257 words", bench_gpt, 50257, .rows = 8, .turns = 7, .large = true},
    {"vocabulary-1", "50257 words", bench_gpt, 50257, .rows = 1, .turns = 11, .large = true},
    {"width-32", "width 32", bench_gpt, 51, .options = OPTIONS("width", "32"), .turns = 11, .large = true},
    {"width-128", "width 128", bench_gpt, 51, .options = OPTIONS("width", "128"), .turns = 7, .large = true},
    {"width-512", "width 512", bench_gpt, 51, .options = OPTIONS("width", "512"), .turns = 3, .large = true},
    {"width-2048", "width 2048", bench_gpt, 51, .rows = 8, .options = OPTIONS("width", "2048"), .turns = 3,
     .large = true},
    {"char", "nanoGPT char", bench_gpt, 65, .context = 256, .rows = 8,
     .options = OPTIONS("layers", "6", "heads", "6", "width", "384"), .turns = 3, .large = true},
    {"gpt2", "GPT-2 124M", bench_gpt, 50257, .positions = 1024, .rows = 4, .options = GPT2, .turns = 3,
     .large = true},
    {"gpt2-long", "GPT-2 124M", bench_gpt, 50257, .positions = 1024, .context = 1024, .rows = 1,
     .options = GPT2, .turns = 3, .large = true},
};
enum { SETTINGS = sizeof settings / sizeof *settings };
#define NAMES                                                                                                \
    "all|bigram|gpt|heads-1|heads-16|context-1|batch-4|vocabulary-8|vocabulary-1|width-32|width-128|"        \
    "width-512|width-2048|char|gpt2|gpt2-long"

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
static bool measure(bench *b, const setting *s, tensor_precision precision, double *single,
                    tensor_error *err) {
    training t;
    limit_peak *peak = b->threads == 1 ? &b->single : &b->peak; /* rows of both kinds take turns */
    bench_side sides[] = {{.run = training_step, .context = &t}, limit_peak_side(peak, NULL)};
    double percent;
    forget_peak_memory();
    const bool ok = training_begin(&t, s, precision, err) && bench_alternate(b, sides, 2, s->turns) &&
                    limit_percent(&sides[1], training_limited(&t), sides[0].seconds.median, &percent, err);
    if (ok) {
        const double seconds = sides[0].seconds.median, flops = training_flops(&t);
        char shape[48];
        snprintf(shape, sizeof shape, "B %lld T %lld", (long long)t.rows, (long long)t.context);
        if (b->threads == 1) *single = seconds;
        bench_row(b, (bench_cell[]){cell_text(s->what), cell_text(shape), cell_number((double)b->threads),
                                    cell_figure(figure_times(sides[0].seconds, 1e3)),
                                    cell_number((double)(t.rows * t.context) / seconds),
                                    flops > 0 ? cell_number(1e-9 * flops) : (bench_cell){0},
                                    training_limited(&t) > 0 ? cell_number(percent) : (bench_cell){0},
                                    *single > 0 ? cell_number(*single / seconds) : (bench_cell){0},
                                    cell_number(peak_megabytes())});
    }
    training_end(&t);
    return ok;
}

/* On 1, 2, 4, ... threads and all of them; with --threads on that many alone. */
static bool scale(bench *b, const setting *s, tensor_precision precision, int64_t most, tensor_error *err) {
    double single = 0;
    for (int64_t threads = b->threads_set ? most : 1;; threads = 2 * threads < most ? 2 * threads : most) {
        b->threads = threads;
        if (!tensor_set_threads((int)threads, err) || !measure(b, s, precision, &single, err)) return false;
        if (threads == most) return true;
    }
}

static bool is_chosen(int i, int64_t only, bool large) {
    return only ? only == i + 1 : large || !settings[i].large;
}

int main(int argc, char **argv) {
    bench b;
    int64_t only = 0, precision = TENSOR_FLOAT32;
    bool large = false, list = false;
    const lm_option options[] = {
        lm_choice("model", &only, NAMES, "Measure this step; those after gpt only by name or with --large."),
        lm_flag("large", &large, "Measure all of them, in a quarter of an hour and 4 GB of memory."),
        lm_choice("precision", &precision, "float32|bf16",
                  "Round the numbers that products multiply to this."),
        lm_flag("list", &list, "Print their sizes alone, for other frameworks to repeat."),
        {0}};
    const int status = bench_begin(&b, "train", "A training step", options, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    if (list) {
        for (int i = 0; i < SETTINGS; i++) setting_print(&settings[i], &err);
        return bench_end(&b, &err);
    }
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
    const int64_t most = b.threads;
    bool ok = true;
    for (int i = 0; ok && i < SETTINGS; i++)
        if (is_chosen(i, only, large)) ok = scale(&b, &settings[i], (tensor_precision)precision, most, &err);
    const bool parts = !b.threads_set;
    if (parts) ok = ok && breakdown_begin(&b, &err);
    for (int i = 0; ok && parts && i < SETTINGS; i++)
        if (is_chosen(i, only, large)) ok = breakdown(&b, &settings[i], (tensor_precision)precision, &err);
    return bench_end(&b, &err);
}
