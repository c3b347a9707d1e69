#include "sampo/nn.h"

ag_var *nn_cross_entropy(ag_var *logits, ag_var *targets) {
    return ag_cross_entropy(logits, targets);
}

ag_var *nn_mse_loss(ag_var *x, ag_var *target) {
    return ag_mse_loss(x, target, AG_LOSS_MEAN);
}
