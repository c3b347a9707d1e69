/* What optimizers share: rates by name, and what they and means keep, to and from checkpoints. */
#include <string.h>

#include "nn/optim/state.h"

double nn_group_rate(const nn_group *groups, const char *name) {
    for (; groups && groups->names; groups++)
        if (nn_name_fits(groups->names, name)) return groups->rate;
    return 1;
}

bool nn_state_new(nn_state *s, nn_params *params, const char *what, int arrays, const char *const *names) {
    *s = (nn_state){.arrays = arrays, .steps = "optimizer.step"};
    if (!nn_params_ready(params, what)) return false;
    for (int k = 0; k < arrays; k++) {
        s->names[k] = names[k];
        s->array[k] = tensor_zeros(params->arena, TENSOR_F32, 1, &params->numbers, &params->error);
        if (!tensor_ok(s->array[k])) return false;
    }
    return true;
}

bool nn_state_fits(const nn_state *s, nn_params *params, const char *what, int arrays) {
    bool fits = s->arrays == arrays;
    for (int k = 0; k < arrays && fits; k++) fits = tensor_same_shape(s->array[k], params->values);
    return fits || tensor_fail(&params->error, "%s_step: its state is not of this model; %s_init makes it",
                               what, what);
}

/* What the array is called: of a mean that is shown, it has the values that were trained. */
static const char *name_of(const nn_state *s, int k) {
    return s->shown ? s->shown_name : s->names[k];
}

int nn_state_list(const nn_state *s, nn_entry entries[NN_STATE_ENTRIES]) {
    int count = 0;
    for (int k = 0; k < s->arrays; k++)
        entries[count++] = (nn_entry){.name = name_of(s, k),
                                      .dtype = "F32",
                                      .rank = 1,
                                      .shape = {tensor_size(s->array[k])},
                                      .data = s->array[k].data,
                                      .bytes = (size_t)tensor_size(s->array[k]) * sizeof(float)};
    if (s->steps)
        entries[count++] = (nn_entry){
            .name = s->steps, .dtype = "I32", .rank = 0, .data = &s->step, .bytes = sizeof s->step};
    return count;
}

bool nn_state_load(nn_state *s, const nn_file *file, tensor_error *err) {
    const nn_entry *entries[NN_STATE_ARRAYS], *steps = s->steps ? nn_file_find(file, s->steps) : NULL;
    const bool shown = s->shown_name && nn_file_find(file, s->shown_name);
    for (int k = 0; k < s->arrays; k++) {
        const char *name = shown ? s->shown_name : s->names[k];
        const nn_entry *entry = entries[k] = nn_file_find(file, name);
        if (!entry || strcmp(entry->dtype, "F32") != 0 ||
            entry->bytes != (size_t)tensor_size(s->array[k]) * sizeof(float))
            return tensor_fail(err, "the tensor %s does not fit the parameters", name);
    }
    int32_t step = -1;
    if (steps && strcmp(steps->dtype, "I32") == 0 && steps->bytes == sizeof step)
        memcpy(&step, steps->data, sizeof step);
    if (steps && step < 0) return tensor_fail(err, "the tensor %s is no count of steps", s->steps);
    for (int k = 0; k < s->arrays; k++) memcpy(s->array[k].data, entries[k]->data, entries[k]->bytes);
    if (steps) s->step = step;
    s->shown = shown;
    return true;
}
