/* The loss of a whole text, and the command eval. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/ranks.h"
#include "models/lm/train/train.h"

/* Windows evaluated at once: bounds the memory, and fixes the order of the sum. So few that a shard's mean, a
 * float32, covers few tokens: its rounding is the largest error of the result. */
enum { WINDOWS = 16 };

/* The sum of the losses of `rows` windows, `context` tokens each, from token `begin` on. */
static bool add_windows(lm_loss_context *c, nn_parallel *parallel, const lm_measured *on, int64_t begin,
                        int64_t rows, double *sum, tensor_error *err) {
    const int64_t context = c->batch.ids.shape[1];
    double mean;
    lm_tokens_read(on->tokens, begin, rows * context, c->batch.ids.i32);
    lm_tokens_read(on->tokens, begin + 1, rows * context, c->batch.targets.i32);
    for (int64_t i = 0; i < rows * context; i++)
        c->without.i32[i] = begin + 1 + i < on->counted ? c->batch.targets.i32[i] : -1;
    if (!nn_parallel_loss(parallel, rows, lm_loss, c, &mean, err)) return false;
    *sum += mean * (double)rows;
    return true;
}

/* Room for so many windows. */
static bool make_room(lm_loss_context *c, int64_t rows, int64_t context, tensor_arena *arena,
                      tensor_error *err) {
    c->without = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    return tensor_ok(c->without) && lm_batch_new(&c->batch, rows, context, arena, err);
}

bool lm_evaluate(const lm_instance *instance, nn_parallel *parallel, lm_measured on, double *loss,
                 int64_t *predicted, tensor_error *err) {
    const int64_t count = on.tokens.count;
    const int64_t context = instance->context, windows = count > 0 ? (count - 1) / context : 0;
    const int64_t rest = on.all || windows == 0 ? count - 1 - windows * context : 0;
    if (count < 2)
        return tensor_fail(err, "this part of the text has %" PRId64 " token%s; a loss needs 2 at least",
                           count, count == 1 ? "" : "s");
    lm_loss_context c = {.model = instance->model, .counts = instance->counts};
    tensor_arena *arena = tensor_arena_new(err);
    bool ok = arena && make_room(&c, WINDOWS, context, arena, err);
    double sum = 0, last = 0;
    for (int64_t begin = 0; ok && begin < windows; begin += WINDOWS) {
        const int64_t rows = windows - begin < WINDOWS ? windows - begin : WINDOWS;
        ok = add_windows(&c, parallel, &on, begin * context, rows, &sum, err);
    }
    if (rest > 0) {
        ok = ok && make_room(&c, 1, rest, arena, err) &&
             add_windows(&c, parallel, &on, windows * context, 1, &last, err);
    }
    *predicted = windows * context + rest;
    *loss = rest == 0 ? sum / (double)windows
                      : (sum * (double)context + last * (double)rest) / (double)*predicted;
    tensor_arena_free(arena);
    return ok;
}

static ag_var *forward_counts(const void *self, const lm_input *in) {
    (void)self;
    return lm_count(in).log_p;
}

bool lm_evaluate_counts(const lm_instance *instance, nn_parallel *parallel, lm_measured on, double *loss,
                        int64_t *predicted, tensor_error *err) {
    static const lm_model model = {.name = "counts", .forward = forward_counts};
    lm_instance alone = *instance;
    alone.model = &model;
    return lm_evaluate(&alone, parallel, on, loss, predicted, err);
}

/* ---- Printing it --------------------------------------------------------------------------- */

/* What eval finds out about a checkpoint. */
typedef struct result {
    const char *checkpoint, *text;
    int64_t split;
    double loss, counted; /* the latter of the counts alone; NaN: there are none */
    lm_extent seen;
} result;

static double bits_per_byte(const result *r) {
    return r->loss * (double)r->seen.tokens / log(2) / (double)r->seen.bytes;
}

static double per_character(const result *r) {
    return r->loss * (double)r->seen.tokens / (double)r->seen.characters;
}

static void print_lines(const result *r) {
    printf("loss %.6f over %" PRId64 " token%s\n", r->loss, r->seen.tokens, lm_s(r->seen.tokens));
    printf("bits per token %.6f\nperplexity %.6f\n", r->loss / log(2), exp(r->loss));
    if (!isnan(r->counted)) printf("loss of the counts alone %.6f\n", r->counted);
    if (r->seen.characters > 0)
        printf("loss per character %.6f over %" PRId64 "\n", per_character(r), r->seen.characters);
    printf("bits per byte %.6f over %" PRId64 "\n", bits_per_byte(r), r->seen.bytes);
}

/* An object on a line. */
static void print_json(const result *r) {
    static const char *const splits[] = {"train", "val", "all"};
    const char *strings[] = {r->checkpoint, r->text, splits[r->split]},
               *keys[] = {"{\"checkpoint\": ", ", \"text\": ", ", \"split\": "};
    for (int i = 0; i < 3; i++) {
        fputs(keys[i], stdout);
        lm_json_string(stdout, strings[i]);
    }
    printf(", \"tokens\": %" PRId64 ", \"loss\": %.9g, \"bits_per_token\": %.9g, \"perplexity\": %.9g",
           r->seen.tokens, r->loss, r->loss / log(2), exp(r->loss));
    if (!isnan(r->counted)) printf(", \"loss_of_counts\": %.9g", r->counted);
    printf(", \"characters\": %" PRId64, r->seen.characters);
    if (r->seen.characters > 0) printf(", \"loss_per_character\": %.9g", per_character(r));
    printf(", \"bytes\": %" PRId64 ", \"bits_per_byte\": %.9g}\n", r->seen.bytes, bits_per_byte(r));
}

/* A line of a table; the first one is below the titles. */
static void print_row(const result *r, bool first) {
    enum { CELLS = 5 };
    lm_cell cells[CELLS] = {{.title = "loss", .width = 8},
                            {.title = "per char", .width = 8},
                            {.title = "bits/byte", .width = 9},
                            {.title = "perplexity", .width = 10},
                            {.title = "tokens", .width = 10}};
    snprintf(cells[0].text, sizeof cells->text, "%.6f", r->loss);
    if (r->seen.characters > 0) snprintf(cells[1].text, sizeof cells->text, "%.6f", per_character(r));
    snprintf(cells[2].text, sizeof cells->text, "%.6f", bits_per_byte(r));
    snprintf(cells[3].text, sizeof cells->text, "%.6g", exp(r->loss));
    snprintf(cells[4].text, sizeof cells->text, "%" PRId64, r->seen.tokens);
    if (first) lm_table_line(cells, CELLS, NULL, lm_columns_of(STDOUT_FILENO));
    lm_table_line(cells, CELLS, r->checkpoint, lm_columns_of(STDOUT_FILENO));
}

/* ---- The command --------------------------------------------------------------------------- */

typedef struct request {
    const char **files; /* the last is NULL */
    lm_paths data;
    int64_t split, threads;
    bool all, json;
    lm_ranks ranks; /* the processes that measure together */
} request;

/* Whether all processes measure the same weights on the same text. */
static bool compare(const request *q, const lm_instance *instance, const lm_corpus *corpus,
                    tensor_error *err) {
    const int64_t text[] = {corpus->tokens.count, (int64_t)corpus->hash};
    return nn_world_same(&q->ranks.world, "the text", text, sizeof text, err) &&
           nn_params_same(instance->params, &q->ranks.world, err);
}

static int measure(request *q, const lm_instance *instance, result *r) {
    const lm_model *model = instance->model;
    tensor_error err = {0};
    lm_corpus corpus;
    lm_paths data = q->data;
    int64_t predicted;
    bool own;
    int status = lm_open_own_text(instance, r->checkpoint, &data, &corpus, &own);
    status = lm_ranks_agree(&q->ranks, model, status, NULL, 0);
    if (status == LM_DONE && !compare(q, instance, &corpus, &err)) status = lm_fail(model, "%s", err.text);
    if (status != LM_DONE) {
        lm_corpus_free(&corpus);
        return status;
    }
    r->text = data.name;
    nn_parallel *parallel = lm_parallel_new(instance);
    nn_parallel_set_world(parallel, &q->ranks.world);
    const int64_t learned = lm_split_of(corpus.tokens, LM_TRAIN).count;
    const lm_measured on = {.tokens = lm_split_of(corpus.tokens, (lm_split)q->split),
                            .counted = own && q->split != LM_VALIDATION ? learned : 0,
                            .all = q->all};
    const bool on_top =
        instance->counts && nn_params_count(instance->params) > 0; /* else it is nothing but counts */
    lm_busy *busy = lm_busy_begin(model->name, "evaluating");
    bool ok = lm_evaluate(instance, parallel, on, &r->loss, &predicted, &err) &&
              (!on_top || lm_evaluate_counts(instance, parallel, on, &r->counted, &predicted, &err));
    lm_busy_end(busy);
    if (ok) { /* the first token is not predicted */
        const lm_tokens seen = lm_tokens_from(on.tokens, 1, predicted);
        ok = lm_extent_of(&r->seen, &instance->tokenizer, seen, &err);
    }
    lm_corpus_free(&corpus);
    nn_parallel_free(parallel);
    if (!ok) return lm_fail(model, "%s: %s", r->text, err.text);
    return isfinite(r->loss)
               ? LM_DONE
               : lm_fail(model, "%s: the loss is not a finite number: the checkpoint is damaged",
                         r->checkpoint);
}

static int evaluate_file(request *q, const lm_model *model, int i) {
    result r = {.checkpoint = q->files[i], .split = q->split, .counted = (double)NAN};
    tensor_error err = {0};
    lm_instance instance;
    int status = lm_checkpoint_load_compact(&instance, model, r.checkpoint, &err)
                     ? LM_DONE
                     : lm_fail(model, "%s", err.text);
    status = lm_ranks_agree(&q->ranks, model, status, NULL, 0);
    if (status == LM_DONE) status = measure(q, &instance, &r);
    if (status == LM_DONE) {
        if (q->json)
            print_json(&r);
        else if (q->files[1])
            print_row(&r, i == 0);
        else
            print_lines(&r);
        if (!lm_flush(stdout, &err)) status = lm_fail(model, "%s", err.text);
    }
    lm_instance_free(&instance);
    return status;
}

static int evaluate_files(request *q, const lm_model *model, int argc, char *const *argv) {
    const lm_option options[] = {
        lm_about(
            LM_ABOUT_DATA,
            lm_files("data", &q->data, "FILE",
                     "Measure on the text in this file; - stands for standard input. Given several times, "
                     "the texts are joined. Without it: the text that the model was trained on.")),
        lm_choice("split", &q->split, "train|val|all",
                  "Which part of the text to use: the first 90 %, the last 10 %, or all of it."),
        lm_flag("all-tokens", &q->all, "Count also the tokens behind the last whole window."),
        lm_about(LM_ABOUT_REPORTS,
                 lm_flag("json", &q->json, "Print JSON, an object on a line for each checkpoint.")),
        lm_threads(&q->threads),
        {0}};
    const lm_usage usage = {
        model->name, "eval",    "Prints the mean loss of a checkpoint over a text, of several a table.",
        "FILE...",   {options}, argc + 1};
    int status = lm_begin(model, &usage, argc, argv, q->files, &q->threads);
    if (status >= 0) return status;
    for (int i = 0; q->files[1] && i < q->data.count; i++) {
        if (strcmp(q->data.paths[i], "-") != 0) continue;
        lm_say(model, "eval: --data - can be read once, for one checkpoint");
        return LM_BAD_USAGE;
    }
    status = lm_ranks_begin(&q->ranks, model);
    if (status != LM_DONE) return status;
    for (int i = 0; status == LM_DONE && q->files[i]; i++) status = evaluate_file(q, model, i);
    return lm_ranks_end(&q->ranks, status);
}

int lm_eval_command(const lm_model *model, int argc, char *const *argv) {
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    request q = {.split = LM_VALIDATION};
    q.files = arena ? tensor_arena_alloc(arena, ((size_t)argc + 1) * sizeof *q.files, &err) : NULL;
    const int status = q.files ? evaluate_files(&q, model, argc, argv) : lm_fail(model, "%s", err.text);
    tensor_arena_free(arena);
    return status;
}
