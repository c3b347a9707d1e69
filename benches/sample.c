/* Sampling with GPTs of random weights. With the default configuration: the time to the first token, with everything that
 * is set up once, and the tokens a second within the context, where each is computed alone, for one text and for a batch
 * of them, and past it, where each is computed with the window before it: with each token, or with every 32nd where
 * the window hops. Times of n tokens less those of one or of a full context. Then, by size and precision: how fast
 * weights stream, beside reading as many bytes.
 *
 *     build/benches/sample [--threads N] [--large] [--folder DIR] [--json FILE]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "benches/measure.h"
#include "models/lm/files/files.h"
#include "models/lm/write/write.h"

/* models/gpt.c, compiled with this name for lm_program. */
const lm_model *bench_gpt(void);

enum { TURNS = 41, PAST = 192, TEXTS = 32, HOP = 32, MORE = 16, LARGE_TURNS = 7, MOST_OPTIONS = 16 };

/* A model by what its configuration varies. */
typedef struct size {
    const char *name, *what;
    int vocabulary;
    int64_t context;
    const char *options[MOST_OPTIONS + 1]; /* names and values */
} size;
static const size sizes[] = {
    {"kalevala",
     "Kalevala",
     51,
     64,
     {"layers", "3", "heads", "4", "width", "64", "qkv-bias", "no", "final-norm", "no", "tied-head", "no",
      "head-bias", "yes"}},
    {"24m",
     "24.5M",
     32000,
     256,
     {"layers", "6", "heads", "6", "width", "288", "qkv-bias", "yes", "final-norm", "yes", "tied-head", "no",
      "head-bias", "no"}},
    {"gpt2",
     "GPT-2 124M",
     50257,
     1024,
     {"layers", "12", "heads", "12", "width", "768", "qkv-bias", "yes", "final-norm", "yes", "tied-head",
      "yes", "head-bias", "no"}},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool set_options(const lm_model *model, const size *s, tensor_error *err) {
    for (const char *const *o = s->options; *o; o += 2) {
        const lm_option *option = model->options;
        while (strcmp(option->name, *o) != 0) option++;
        if (!lm_option_set(option, o[1], err)) return false;
    }
    return true;
}

static bool make_instance(lm_instance *instance, const size *s, tensor_error *err) {
    const lm_model *model = bench_gpt();
    const char **strings = calloc((size_t)s->vocabulary, sizeof *strings);
    char(*texts)[5] = calloc((size_t)s->vocabulary, sizeof *texts);
    bool ok = strings && texts;
    for (int i = 0; ok && i < s->vocabulary; i++) {
        lm_utf8_encode(i == 0 ? '\n' : i < 62 ? (uint32_t)('A' + i) : (uint32_t)(0x100 + i), texts[i]);
        strings[i] = texts[i];
    }
    *instance = (lm_instance){
        .model = model, .arena = tensor_arena_new(err), .context = s->context, .params = nn_params_new()};
    ok = (ok && instance->arena && instance->params) || tensor_fail(err, "out of memory");
    ok = ok && lm_tokenizer_of_strings(&instance->tokenizer, strings, s->vocabulary, instance->arena, err) &&
         set_options(model, s, err) && model->check(model->self, err);
    free(strings);
    free(texts);
    if (!ok) return false;
    model->init(model->self, instance->params, s->vocabulary, instance->context);
    return nn_params_finalize(instance->params, 1) ||
           tensor_fail(err, "%s", nn_params_error(instance->params));
}

/* The figures, in this order. */
enum { FIRST, WITHIN, BATCH, PAST_CONTEXT, HOPPING, FIGURES };
static const char *const names[FIGURES] = {"the first token", "within the context", "the same, 32 texts",
                                           "past the context", "the same, hops of 32"};

/* Seconds that `tokens` tokens of each text take; below 0: failed. */
static double time_of(const lm_instance *instance, int64_t tokens, int64_t texts, int64_t hop, FILE *file,
                      tensor_error *err) {
    const lm_sampling sampling = {
        .tokens = tokens, .temperature = 1, .seed = 1, .samples = texts, .hop = hop};
    const double start = now();
    return lm_sample(instance, &sampling, file, err) ? now() - start : -1;
}

/* The seconds a token in each of `turns` turns. */
static bool take_turns(const lm_instance *instance, int turns, FILE *file, double seconds[FIGURES][TURNS],
                       tensor_error *err) {
    const int64_t context = instance->context;
    for (int i = -2; i < turns; i++) { /* two to warm up */
        const double one = time_of(instance, 1, 1, 1, file, err);
        const double full = time_of(instance, context, 1, 1, file, err);
        const double one_each = time_of(instance, 1, TEXTS, 1, file, err);
        const double full_each = time_of(instance, context, TEXTS, 1, file, err);
        const double more = time_of(instance, context + PAST, 1, 1, file, err);
        const double hopping = time_of(instance, context + PAST, 1, HOP, file, err);
        if (one < 0 || full < 0 || one_each < 0 || full_each < 0 || more < 0 || hopping < 0) return false;
        if (i < 0) continue;
        seconds[FIRST][i] = one;
        seconds[WITHIN][i] = (full - one) / (double)(context - 1);
        seconds[BATCH][i] = (full_each - one_each) / (double)(TEXTS * (context - 1));
        seconds[PAST_CONTEXT][i] = (more - full) / PAST;
        seconds[HOPPING][i] = (hopping - full) / PAST;
    }
    return true;
}

/* ---- By size and precision --------------------------------------------------------------------- */

static const char *const precisions[] = {"float32", "bf16", "int8"};
enum { PRECISIONS = 3 };

/* Writes the model with a precision, and reads it as sampling does. */
static bool reload(lm_instance *instance, const size *s, int precision, const char *folder,
                   tensor_error *err) {
    char path[4096];
    lm_instance whole = {0};
    lm_extras all = {0};
    snprintf(path, sizeof path, "%s/%s-%s.safetensors", folder, s->name, precisions[precision]);
    tensor_arena *arena = tensor_arena_new(err);
    bool ok = arena && make_instance(&whole, s, err);
    nn_entry *list =
        ok ? tensor_arena_alloc(arena, 2 * (size_t)nn_params_entries(whole.params) * sizeof *list, err)
           : NULL;
    if (list) {
        all.entries = list;
        all.entry_count =
            precision == 0
                ? nn_params_list(whole.params, list)
                : nn_params_list_rounded(whole.params, precision == 1 ? TENSOR_BFLOAT16 : TENSOR_INT8,
                                         whole.model->positions, list, arena, err);
    }
    ok = list && all.entry_count >= 0 && lm_checkpoint_write(&whole, all, path, err);
    lm_instance_free(&whole);
    tensor_arena_free(arena);
    return ok && lm_checkpoint_load_compact(instance, bench_gpt(), path, err);
}

/* The bytes of weights that a token reads: all but tables of which it reads a row. */
static double bytes_of(const lm_instance *instance) {
    const nn_params *params = instance->params;
    const ag_var *head = nn_params_find(params, "lm_head.weight");
    double bytes = 0;
    for (int i = 0; i < nn_params_entries(params); i++) {
        const ag_var *p = nn_params_at(params, i);
        const char *name = nn_params_name(params, i);
        if (nn_params_is_alias(params, i) || strcmp(name, "wpe.weight") == 0) continue;
        if (strcmp(name, "wte.weight") == 0 && p != head) continue;
        bytes += p->compact ? (double)tensor_compact_bytes(p->compact) : 4 * (double)tensor_size(p->value);
    }
    return bytes;
}

typedef struct stream {
    const lm_instance *instance;
    FILE *file;
    int64_t tokens;
    tensor_error *err;
} stream;

/* The tokens behind the first, without what is set up once. */
static double stream_run(void *context) {
    const stream *s = context;
    const double one = time_of(s->instance, 1, 1, 1, s->file, s->err);
    const double all = time_of(s->instance, 1 + s->tokens, 1, 1, s->file, s->err);
    return one < 0 || all < 0 ? -1 : fmax(all - one, 1e-9);
}

static bool stream_row(bench *b, const size *s, int precision, const lm_instance *instance, FILE *file,
                       tensor_error *err) {
    stream run = {instance, file, s->context < 4 * MORE ? s->context - 1 : MORE, err};
    limit_stream read;
    tensor_arena *arena = tensor_arena_new(err);
    const double bytes = bytes_of(instance);
    bench_side sides[] = {{.run = stream_run, .context = &run},
                          limit_stream_side(&read, LIMIT_READ, (int64_t)bytes, arena, err)};
    const bool ok = arena && sides[1].run && bench_alternate(b, sides, 2, b->quick ? 1 : LARGE_TURNS);
    if (ok) {
        const double tokens = (double)run.tokens, speed = bytes * tokens / sides[0].seconds.median;
        bench_row(b, (bench_cell[]){cell_text(s->what), cell_text(precisions[precision]),
                                    cell_number((double)b->threads),
                                    cell_figure(figure_rate(tokens, sides[0].seconds)),
                                    cell_number(bytes * 1e-6), cell_number(speed * 1e-9),
                                    cell_number(100 * sides[1].lead.median * bytes * tokens / read.moved)});
    }
    tensor_arena_free(arena);
    return ok;
}

static bool stream_sizes(bench *b, bool large, const char *folder, FILE *file, tensor_error *err) {
    static const bench_column columns[] = {
        {"model", "model", -10, 0},         {"precision", "weights", -8, 0},
        {"threads", "threads", 7, 0},       {"per_second", "tokens/s", 16, 0},
        {"mb", "MB a token", 10, 1},        {"gb_per_s", "GB/s", 6, 1},
        {"percent", "% of reading", 12, 0}, {0}};
    const int64_t most = b->threads;
    bool ok = true;
    bench_table(b, "sampling within the context: weights that are read for each token", columns);
    for (int i = 0; ok && i < (large ? SIZES : 1); i++)
        for (int precision = 0; ok && precision < PRECISIONS; precision++) {
            lm_instance instance = {0};
            ok = reload(&instance, &sizes[i], precision, folder, err);
            for (int64_t threads = b->threads_set ? most : 1; ok;
                 threads = 2 * threads < most ? 2 * threads : most) {
                b->threads = threads;
                ok = tensor_set_threads((int)threads, err) &&
                     stream_row(b, &sizes[i], precision, &instance, file, err);
                if (threads == most) break;
            }
            lm_instance_free(&instance);
        }
    b->threads = most;
    return ok;
}

/* Takes the files of a folder of our own away. */
static void remove_folder(const char *folder) {
    char path[4096];
    for (int i = 0; i < SIZES; i++)
        for (int precision = 0; precision < PRECISIONS; precision++) {
            snprintf(path, sizeof path, "%s/%s-%s.safetensors", folder, sizes[i].name, precisions[precision]);
            unlink(path);
        }
    rmdir(folder);
}

int main(int argc, char **argv) {
    bench b;
    bool large = false;
    const char *kept = NULL;
    char own[] = "/tmp/sampo-sample-XXXXXX";
    const lm_option options[] = {lm_flag("large", &large, "Measure larger models, too, in 2 GB of memory."),
                                 lm_string("folder", &kept, "DIR", "Keep the models in this folder."),
                                 {0}};
    const int status = bench_begin(&b, "sample", "Sampling with GPTs", options, argc, argv);
    if (status >= 0) return status;
    tensor_error err = {0};
    lm_instance instance = {0};
    FILE *file = fopen("/dev/null", "w");
    const int turns = b.quick ? 3 : TURNS;
    double seconds[FIGURES][TURNS];
    if (!file) tensor_fail(&err, "/dev/null cannot be opened");
    if (file && make_instance(&instance, &sizes[0], &err) &&
        take_turns(&instance, turns, file, seconds, &err)) {
        static const bench_column columns[] = {
            {"what", "what", -24, 0}, {"per_second", "tokens/s", 16, 0}, {"ms", "ms a token", 16, 4}, {0}};
        bench_table(&b, "sampling: random weights, a context of 64", columns);
        for (int i = 0; i < FIGURES; i++) {
            const figure time = figure_of(seconds[i], turns);
            bench_row(&b, (bench_cell[]){cell_text(names[i]), cell_figure(figure_rate(1, time)),
                                         cell_figure(figure_times(time, 1e3))});
        }
    }
    lm_instance_free(&instance);
    const char *folder = kept ? kept : mkdtemp(own);
    if (file && !err.text[0]) {
        if (folder)
            stream_sizes(&b, large, folder, file, &err);
        else
            tensor_fail(&err, "no folder can be made in /tmp");
    }
    if (folder && !kept) remove_folder(folder);
    if (file) fclose(file);
    return bench_end(&b, &err);
}
