/* The mean of a model's values over the steps of training. */
#include "nn/optim/state.h"

bool nn_average_init(struct nn_average *o, nn_params *params, double decay) {
    o->decay = decay;
    const bool done =
        nn_state_new(&o->state, params, "nn_average_init", 1, (const char *const[]){"optimizer.average"});
    o->state.shown_name = "optimizer.values";
    o->state.steps = "optimizer.averaged";
    return done;
}

bool nn_average_add(struct nn_average *o, nn_params *params) {
    if (!params) return false;
    tensor_error *err = &params->error;
    nn_state *s = &o->state;
    if (!tensor_same_shape(s->array[0], params->values))
        return tensor_fail(err, "nn_average_add: its state is not of this model; nn_average_init makes it");
    if (s->shown) return tensor_fail(err, "nn_average_add: nn_average_show(.., false) comes first");
    const float share = (float)(o->decay > 0 ? 1 - o->decay : 1 / ((double)s->step + 1));
    nn_state_count(s);
    if (s->step == 1) return tensor_copy(s->array[0], params->values, err);
    return tensor_affine(s->array[0], 1 - share, s->array[0], 0, err) &&
           tensor_axpy(s->array[0], share, params->values, err);
}

void nn_average_show(struct nn_average *o, nn_params *params, bool shown) {
    nn_state *s = &o->state;
    if (s->step == 0 || s->shown == shown) return;
    float *a = s->array[0].f32, *b = params->values.f32;
    for (int64_t i = 0; i < params->numbers; i++) {
        const float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
    __atomic_fetch_add(&params->values.storage->version, 1, __ATOMIC_RELAXED);
    s->shown = shown;
}
