/* The two parts of a text, and batches drawn from them. */
#include <string.h>

#include "models/lm/lm.h"

tensor lm_split_of(tensor tokens, lm_split split, tensor_error *err) {
    int64_t count = tokens.shape[0], train = count / 10 * 9 + count % 10 * 9 / 10; /* 9 count / 10 */
    int64_t begin = split == LM_VALIDATION ? train : 0;
    int64_t end = split == LM_TRAIN ? train : count;
    return tensor_slice(tokens, 0, begin, end, 1, err);
}

tensor_rng lm_rng(uint64_t seed, lm_stream stream, uint64_t index) {
    return (tensor_rng){.seed = seed, .stream = (uint64_t)stream << 56 | index};
}

bool lm_batch_new(lm_batch *batch, int64_t rows, int64_t context, tensor_arena *arena, tensor_error *err) {
    batch->ids = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    batch->targets = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(rows, context), err);
    return tensor_ok(batch->ids) && tensor_ok(batch->targets);
}

void lm_batch_draw(lm_batch *batch, tensor tokens, tensor_rng rng) {
    int64_t rows = batch->ids.shape[0], context = batch->ids.shape[1];
    size_t bytes = (size_t)context * sizeof(int32_t);
    uint64_t places = (uint64_t)(tokens.shape[0] - context);
    for (int64_t i = 0; i < rows; i++) {
        const int32_t *from = tokens.i32 + tensor_rng_below(&rng, places);
        memcpy(batch->ids.i32 + i * context, from, bytes);
        memcpy(batch->targets.i32 + i * context, from + 1, bytes);
    }
}
