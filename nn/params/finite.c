/* Numbers that are no longer finite: which tensor was the first. */
#include <inttypes.h>
#include <math.h>

#include "sampo/nn.h"

/* Squares of float32 cannot overflow a double, so the sum is finite exactly where all elements are. */
static bool all_finite(tensor x) {
    return x.dtype != TENSOR_F32 || isfinite(tensor_sum_squares(x));
}

bool nn_finite(const nn_params *params) {
    return all_finite(nn_values(params));
}

/* "the parameter h.0.ln_1.weight", or "the gradient of ...". */
static bool find_parameter(nn_params *params, bool gradients, char *text, size_t size) {
    for (int i = 0; i < nn_params_entries(params); i++) {
        ag_var *p = nn_params_at(params, i);
        if (all_finite(gradients ? nn_grad(params, p) : p->value)) continue;
        snprintf(text, size, "the %s %s", gradients ? "gradient of" : "parameter", nn_params_name(params, i));
        return true;
    }
    return false;
}

/* The first bad result on a tape, by its operation and the parameter that it used. */
static bool find_result(const ag_var *last, int64_t row, char *text, size_t size) {
    const ag_var *first = NULL;
    for (const ag_var *y = last; y; y = y->previous)
        if (!all_finite(y->value)) first = y;
    if (!first) return false;
    const char *parameter = NULL;
    for (int i = 0; i < first->inputs && !parameter; i++) parameter = first->in[i]->name;
    snprintf(text, size, "the result of %s%s%s in row %" PRId64 " of the batch",
             first->op ? first->op->name : "the loss function", parameter ? " with " : "",
             parameter ? parameter : "", row);
    return true;
}

/* Computes the loss once more, row by row. */
static bool find_activation(int64_t rows, nn_loss *loss, void *context, char *text, size_t size) {
    ag_tape *tape = ag_tape_new();
    bool found = false;
    for (int64_t row = 0; !found && row < rows; row++) {
        ag_reset(tape);
        found = find_result(loss(context, tape, row, row + 1), row, text, size);
    }
    ag_tape_free(tape);
    return found;
}

bool nn_find_not_finite(nn_params *params, int64_t rows, nn_loss *loss, void *context, char *text,
                        size_t size) {
    return find_parameter(params, false, text, size) ||
           (loss && find_activation(rows, loss, context, text, size)) ||
           find_parameter(params, true, text, size);
}
