/* The loss of a batch, of a whole text, and the command eval. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/lm.h"

/* Tokens of a shard at least: fewer take less time than a shard costs. */
enum { SHARD_TOKENS = 64 };

nn_parallel *lm_parallel_new(nn_params *params, int64_t context) {
    nn_parallel *parallel = nn_parallel_new(params);
    nn_parallel_set_grain(parallel, (SHARD_TOKENS + context - 1) / context);
    return parallel;
}

/* Windows evaluated at once: bounds the memory, and fixes the order of the sum. So few that a shard's mean, a
 * float32, covers few tokens: its rounding is the largest error of the result. */
enum { WINDOWS = 16 };

ag_var *lm_positions(ag_var *ids, const nn_cache *cache) {
    if (!ids) return NULL;
    int64_t count = ids->value.shape[ids->value.rank - 1], first = cache ? cache->length : 0;
    tensor positions = ag_tensor(ids->tape, TENSOR_I32, TENSOR_SHAPE(count));
    if (!tensor_ok(positions)) return NULL;
    for (int64_t i = 0; i < count; i++) positions.i32[i] = (int32_t)(first + i);
    return ag_input(ids->tape, positions);
}

ag_var *lm_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const lm_loss_context *c = context;
    ag_var *ids = ag_input(tape, tensor_slice(c->batch.ids, 0, begin, end, 1, NULL));
    ag_var *targets = ag_input(tape, tensor_slice(c->batch.targets, 0, begin, end, 1, NULL));
    tensor_rng rng = c->dropout ? *c->dropout : (tensor_rng){0};
    rng.counter = (uint64_t)begin << 40;
    return nn_cross_entropy(c->model->forward(c->model->self, ids, NULL, c->dropout ? &rng : NULL), targets);
}

/* Windows of T tokens as the rows of a batch, without copying: `shift` tokens further for the targets. */
static tensor windows_of(tensor tokens, int64_t count, int64_t context, int64_t shift, tensor_error *err) {
    tensor run = tensor_slice(tokens, 0, shift, shift + count * context, 1, err);
    return tensor_reshape(run, TENSOR_SHAPE(count, context), err);
}

bool lm_evaluate(const lm_instance *instance, nn_parallel *parallel, tensor tokens, double *loss,
                 int64_t *predicted, tensor_error *err) {
    int64_t length = tokens.shape[0], context = instance->context, windows = (length - 1) / context;
    if (length <= context) {
        return tensor_fail(err,
                           "this part of the text has %" PRId64 " tokens; a context of %" PRId64
                           " needs at least %" PRId64,
                           length, context, context + 1);
    }
    lm_batch all = {windows_of(tokens, windows, context, 0, err),
                    windows_of(tokens, windows, context, 1, err)};
    double sum = 0;
    for (int64_t begin = 0; begin < windows; begin += WINDOWS) {
        int64_t rows = windows - begin < WINDOWS ? windows - begin : WINDOWS;
        lm_loss_context c = {.model = instance->model};
        c.batch.ids = tensor_slice(all.ids, 0, begin, begin + rows, 1, err);
        c.batch.targets = tensor_slice(all.targets, 0, begin, begin + rows, 1, err);
        double mean;
        if (!nn_parallel_loss(parallel, rows, lm_loss, &c, &mean, err)) return false;
        sum += mean * (double)rows;
    }
    *loss = sum / (double)windows;
    *predicted = windows * context;
    return true;
}

/* ---- The command --------------------------------------------------------------------------- */

static int print_loss(const lm_model *model, double loss, int64_t predicted) {
    tensor_error err = {0};
    if (!isfinite(loss)) return lm_fail(model, "the loss is not a finite number: the checkpoint is damaged");
    printf("loss %.6f over %" PRId64 " tokens\n", loss, predicted);
    printf("bits per token %.6f\nperplexity %.6f\n", loss / log(2), exp(loss));
    return lm_flush(stdout, &err) ? LM_DONE : lm_fail(model, "%s", err.text);
}

/* Evaluates the text with the checkpoint. */
static int evaluate_text(lm_instance *instance, const lm_text *text, const char *path, lm_split split) {
    const lm_model *model = instance->model;
    tensor_error err = {0};
    double loss;
    int64_t predicted;
    tensor tokens = lm_encode(&instance->tokenizer, text->bytes, text->size, instance->arena, &err);
    if (tensor_ok(tokens)) tokens = lm_split_of(tokens, split, &err);
    nn_parallel *parallel = lm_parallel_new(instance->params, instance->context);
    bool ok = tensor_ok(tokens) && lm_evaluate(instance, parallel, tokens, &loss, &predicted, &err);
    nn_parallel_free(parallel);
    return ok ? print_loss(model, loss, predicted) : lm_fail(model, "%s: %s", path, err.text);
}

int lm_eval_command(const lm_model *model, int argc, char *const *argv) {
    const char *data = NULL, *file;
    int64_t split = LM_VALIDATION, threads = 0;
    const lm_option options[] = {lm_string("data", &data, "FILE", "the text"),
                                 lm_choice("split", &split, "train|val|all", "its part"),
                                 lm_threads(&threads),
                                 {0}};
    const lm_usage usage = {
        model->name, "eval", "Prints the mean loss of a checkpoint over a text.", "FILE", {options}};
    int status = lm_begin(model, &usage, argc, argv, &file, &threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    lm_instance instance;
    lm_text text = {0};
    if (!lm_checkpoint_load(&instance, model, file, &err))
        status = lm_fail(model, "%s", err.text);
    else
        status = lm_open_text(model, &text, &data, instance.tokenizer.kind, instance.arena);
    if (status == LM_DONE) status = evaluate_text(&instance, &text, data, (lm_split)split);
    lm_text_free(&text);
    lm_instance_free(&instance);
    return status;
}
