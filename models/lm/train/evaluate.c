/* The loss of a whole text, and the command eval. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/train/train.h"

/* Windows evaluated at once: bounds the memory, and fixes the order of the sum. So few that a shard's mean, a
 * float32, covers few tokens: its rounding is the largest error of the result. */
enum { WINDOWS = 16 };

/* Fills the batch's first rows with the windows from `begin` on. */
static void read_windows(lm_batch *batch, lm_tokens tokens, int64_t begin, int64_t rows) {
    int64_t context = batch->ids.shape[1];
    lm_tokens_read(tokens, begin * context, rows * context, batch->ids.i32);
    lm_tokens_read(tokens, begin * context + 1, rows * context, batch->targets.i32);
}

bool lm_evaluate(const lm_instance *instance, nn_parallel *parallel, lm_tokens tokens, double *loss,
                 int64_t *predicted, tensor_error *err) {
    int64_t context = instance->context, windows = (tokens.count - 1) / context;
    if (tokens.count <= context) {
        return tensor_fail(err,
                           "this part of the text has %" PRId64 " tokens; a context of %" PRId64
                           " needs at least %" PRId64,
                           tokens.count, context, context + 1);
    }
    lm_loss_context c = {.model = instance->model};
    tensor_arena *arena = tensor_arena_new(err);
    bool ok = arena && lm_batch_new(&c.batch, WINDOWS, context, arena, err);
    double sum = 0;
    for (int64_t begin = 0; ok && begin < windows; begin += WINDOWS) {
        int64_t rows = windows - begin < WINDOWS ? windows - begin : WINDOWS;
        double mean;
        read_windows(&c.batch, tokens, begin, rows);
        ok = nn_parallel_loss(parallel, rows, lm_loss, &c, &mean, err);
        if (ok) sum += mean * (double)rows;
    }
    *loss = sum / (double)windows;
    *predicted = windows * context;
    tensor_arena_free(arena);
    return ok;
}

/* ---- The command --------------------------------------------------------------------------- */

static int print_loss(const lm_model *model, double loss, lm_extent text) {
    tensor_error err = {0};
    const double total = loss * (double)text.tokens;
    if (!isfinite(loss)) return lm_fail(model, "the loss is not a finite number: the checkpoint is damaged");
    printf("loss %.6f over %" PRId64 " tokens\n", loss, text.tokens);
    printf("bits per token %.6f\nperplexity %.6f\n", loss / log(2), exp(loss));
    if (text.characters > 0)
        printf("loss per character %.6f over %" PRId64 "\n", total / (double)text.characters,
               text.characters);
    printf("bits per byte %.6f over %" PRId64 "\n", total / log(2) / (double)text.bytes, text.bytes);
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

/* Evaluates the text with the checkpoint. */
static int evaluate_text(lm_instance *instance, const lm_text *text, const char *name, lm_split split) {
    const lm_model *model = instance->model;
    tensor_error err = {0};
    double loss;
    int64_t predicted;
    lm_corpus corpus;
    lm_extent extent;
    nn_parallel *parallel = lm_parallel_new(instance->params, instance->context);
    bool ok = lm_corpus_open(&corpus, &instance->tokenizer, text, NULL, &err);
    if (ok) {
        lm_tokens tokens = lm_split_of(corpus.tokens, split);
        ok = lm_evaluate(instance, parallel, tokens, &loss, &predicted, &err);
        lm_tokens seen = lm_tokens_from(tokens, 1, predicted); /* the first token is not predicted */
        ok = ok && lm_extent_of(&extent, &instance->tokenizer, seen, &err);
    }
    lm_corpus_free(&corpus);
    nn_parallel_free(parallel);
    return ok ? print_loss(model, loss, extent) : lm_fail(model, "%s: %s", name, err.text);
}

int lm_eval_command(const lm_model *model, int argc, char *const *argv) {
    const char *file;
    lm_paths data = {0};
    int64_t split = LM_VALIDATION, threads = 0;
    const lm_option options[] = {
        lm_about(
            LM_ABOUT_DATA,
            lm_files(
                "data", &data, "FILE",
                "Measure on the text in this file; - stands for standard input. Given several times, the "
                "texts are joined.")),
        lm_choice("split", &split, "train|val|all",
                  "Which part of the text to use: the first 90 %, the last 10 %, or all of it."),
        lm_threads(&threads),
        {0}};
    const lm_usage usage = {model->name,
                            "eval",
                            "Prints how well a trained model predicts a text: its mean loss.",
                            "FILE",
                            {options}};
    int status = lm_begin(model, &usage, argc, argv, &file, &threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    lm_instance instance;
    lm_text text = {0};
    if (!lm_checkpoint_load(&instance, model, file, &err))
        status = lm_fail(model, "%s", err.text);
    else
        status = lm_open_text(model, &text, &data, instance.tokenizer.kind, instance.arena);
    if (status == LM_DONE) status = evaluate_text(&instance, &text, data.name, (lm_split)split);
    lm_text_free(&text);
    lm_instance_free(&instance);
    return status;
}
