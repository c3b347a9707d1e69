/* Buffers: what a step leaves for them, beside the gradients of a flat array. */
#include "nn/params/params.h"

/* Where what a step leaves for the buffers begins. */
static float *behind_gradients(const nn_params *params, tensor flat) {
    return flat.f32 + params->numbers;
}

void nn_buffers_gather(const nn_params *params, const ag_tape *tape, double weight, tensor flat) {
    float *at = behind_gradients(params, flat);
    for (int i = 0; params->buffers > 0 && i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        if (!entry->buffer) continue;
        const tensor next = ag_left(tape, entry->parameter);
        const int64_t size = nn_size_of(&entry->parameter->value);
        for (int64_t k = 0; k < size; k++)
            at[k] = tensor_ok(next) ? (float)(weight * (double)next.f32[k]) : 0;
        at[size] = tensor_ok(next) ? (float)weight : 0;
        at += size + 1;
    }
}

void nn_buffers_take(nn_params *params, tensor flat) {
    const float *at = behind_gradients(params, flat);
    for (int i = 0; params->buffers > 0 && i < params->count; i++) {
        const nn_registered *entry = &params->entries[i];
        if (!entry->buffer) continue;
        const tensor value = entry->parameter->value;
        const int64_t size = tensor_size(value);
        if (at[size] > 0) {
            for (int64_t k = 0; k < size; k++) value.f32[k] = (float)((double)at[k] / (double)at[size]);
            __atomic_fetch_add(&value.storage->version, 1, __ATOMIC_RELAXED);
        }
        at += size + 1;
    }
}
