/* Gradients in the flat array of a registry. */
#include <math.h>

#include "nn/params/params.h"

bool nn_backward(nn_params *params, ag_var *loss) {
    if (!params || !loss) return false;
    if (!tensor_ok(params->values)) return ag_fail(loss->tape, "backward: nn_params_finalize comes first");
    const bool done = ag_gradients_into(loss, params->trained, params->parameters, params->gradients, true);
    params->has_grads |= done;
    if (done && params->buffers > 0) {
        nn_buffers_gather(params, loss->tape, 1, params->flat);
        nn_buffers_take(params, params->flat);
    }
    return done;
}

void nn_zero_grad(nn_params *params) {
    if (!params) return;
    tensor_fill(params->grads, 0, NULL);
    params->has_grads = false;
}

double nn_clip_grad_norm(nn_params *params, double max_norm) {
    if (!params) return 0;
    tensor grads = params->grads;
    double norm = sqrt(tensor_sum_squares(grads));
    double scale = max_norm / (norm + 1e-6); /* PyTorch's slack against a norm of 0 */
    if (scale < 1) tensor_affine(grads, (float)scale, grads, 0, NULL);
    return norm;
}
