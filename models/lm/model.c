/* What belongs to a model and to no room. */
#include <stdlib.h>

#include "models/lm/lm.h"

tensor_rng lm_rng(uint64_t seed, lm_stream stream, uint64_t index) {
    return (tensor_rng){.seed = seed, .stream = (uint64_t)stream << 56 | index};
}

ag_var *lm_positions(ag_var *ids, const nn_cache *cache) {
    if (!ids) return NULL;
    int64_t count = ids->value.shape[ids->value.rank - 1], first = cache ? cache->length : 0;
    tensor positions = ag_tensor(ids->tape, TENSOR_I32, TENSOR_SHAPE(count));
    if (!tensor_ok(positions)) return NULL;
    for (int64_t i = 0; i < count; i++) positions.i32[i] = (int32_t)(first + i);
    return ag_input(ids->tape, positions);
}

const char *lm_typed(const lm_model *model) {
    const char *script = getenv("SAMPO_PROGRAM"); /* which has called the program */
    return script && *script ? script : model->typed ? model->typed : model->name;
}

void lm_instance_free(lm_instance *instance) {
    nn_params_free(instance->params);
    tensor_arena_free(instance->arena);
    *instance = (lm_instance){0};
}
