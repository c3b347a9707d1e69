/* Batches of a text, and their loss. */
#include "models/lm/train/train.h"

bool lm_batch_new(lm_batch *batch, int64_t rows, int64_t context, tensor_arena *arena, tensor_error *err) {
    batch->ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    batch->targets = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    return tensor_ok(batch->ids) && tensor_ok(batch->targets);
}

lm_batch lm_batch_rows(lm_batch batch, int64_t begin, int64_t end) {
    return (lm_batch){tensor_slice(batch.ids, 0, begin, end, 1, NULL),
                      tensor_slice(batch.targets, 0, begin, end, 1, NULL)};
}

void lm_batch_draw(lm_batch *batch, lm_tokens tokens, tensor_rng rng) {
    int64_t rows = batch->ids.shape[0], context = batch->ids.shape[1];
    uint64_t places = (uint64_t)(tokens.count - context);
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = (int64_t)tensor_rng_below(&rng, places);
        lm_tokens_read(tokens, from, context, batch->ids.i32 + i * context);
        lm_tokens_read(tokens, from + 1, context, batch->targets.i32 + i * context);
    }
}

/* Tokens of a shard at least: fewer take less time than a shard costs. */
enum { SHARD_TOKENS = 64 };

nn_parallel *lm_parallel_new(const lm_instance *instance) {
    nn_parallel *parallel = nn_parallel_new(instance->params);
    const int64_t rows = (SHARD_TOKENS + instance->context - 1) / instance->context;
    nn_parallel_set_grain(parallel, rows > instance->model->rows ? rows : instance->model->rows);
    return parallel;
}

static tensor rows_of(tensor x, int64_t begin, int64_t end) {
    return tensor_ok(x) ? tensor_slice(x, 0, begin, end, 1, NULL) : x;
}

ag_var *lm_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const lm_loss_context *c = context;
    ag_var *ids = ag_input(tape, rows_of(c->batch.ids, begin, end));
    ag_var *targets = ag_input(tape, rows_of(c->batch.targets, begin, end));
    tensor_rng rng = c->dropout ? *c->dropout : (tensor_rng){0};
    rng.counter = (uint64_t)begin << 40;
    const lm_input in = {.ids = ids,
                         .dropout = c->dropout ? &rng : NULL,
                         .counts = c->counts,
                         .without = rows_of(c->without, begin, end)};
    return nn_cross_entropy(c->model->forward(c->model->self, &in), targets);
}
