#include "sampo/nn.h"

ag_var *nn_cross_entropy(ag_var *logits, ag_var *targets) {
    return ag_cross_entropy(logits, targets);
}

ag_var *nn_mse_loss(ag_var *x, ag_var *target) {
    if (x && target && !tensor_same_shape(x->value, target->value)) { /* broadcasting would hide a mistake */
        char a[TENSOR_SHAPE_TEXT], b[TENSOR_SHAPE_TEXT];
        return ag_fail(x->tape ? x->tape : target->tape, "mse_loss: shapes differ: %s and %s",
                       tensor_shape_text(a, sizeof a, x->value.rank, x->value.shape),
                       tensor_shape_text(b, sizeof b, target->value.rank, target->value.shape));
    }
    return ag_mean(ag_square(ag_sub(x, target)), AG_ALL, false);
}
