/* The mean of a model's values over the steps of training. */
#include "nn/nn_internal.h"

bool nn_average_init(struct nn_average *o, nn_params *params) {
    *o = (struct nn_average){.other = nn_params_state(params, "nn_average_init")};
    return tensor_ok(o->other);
}

bool nn_average_add(struct nn_average *o, nn_params *params) {
    if (!params) return false;
    tensor_error *err = &params->error;
    if (!tensor_same_shape(o->other, params->values))
        return tensor_fail(err, "nn_average_add: its state is not of this model; nn_average_init makes it");
    if (o->shown) return tensor_fail(err, "nn_average_add: nn_average_show(.., false) comes first");
    const float share = (float)(1 / (double)++o->count);
    if (o->count == 1) return tensor_copy(o->other, params->values, err);
    return tensor_affine(o->other, 1 - share, o->other, 0, err) &&
           tensor_axpy(o->other, share, params->values, err);
}

void nn_average_show(struct nn_average *o, nn_params *params, bool shown) {
    if (o->count == 0 || o->shown == shown) return;
    float *a = o->other.f32, *b = params->values.f32;
    for (int64_t i = 0; i < params->numbers; i++) {
        const float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
    __atomic_fetch_add(&params->values.storage->version, 1, __ATOMIC_RELAXED);
    o->shown = shown;
}

/* ---- In checkpoints: the mean is the model, the trained values stand beside it -------------------- */

static const char trained_name[] = "optimizer.values";

int nn_average_list(const struct nn_average *o, nn_entry entries[NN_AVERAGE_ENTRIES]) {
    if (o->count == 0 || !o->shown) return 0;
    entries[0] = nn_state_entry(trained_name, o->other);
    return NN_AVERAGE_ENTRIES;
}

bool nn_average_load(struct nn_average *o, nn_params *params, const nn_file *file, int64_t count,
                     tensor_error *err) {
    if (!nn_average_init(o, params)) return tensor_fail(err, "%s", nn_params_error(params));
    if (count == 0) return true;
    if (!nn_load_state(o->other, file, trained_name, err)) return false;
    o->count = count;
    o->shown = true;
    nn_average_show(o, params, false);
    return true;
}
