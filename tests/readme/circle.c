#include <sampo/nn.h>
#include <stdio.h>

int main(void) { /* learns which points of a square lie inside a circle */
    nn_params *params = nn_params_new();
    struct nn_linear hidden, out;
    nn_linear_init(&hidden, params, "hidden", 2, 16, NN_LINEAR_DEFAULTS);
    nn_linear_init(&out, params, "out", 16, 1, NN_LINEAR_DEFAULTS);

    struct nn_adamw adamw;
    nn_adamw_options options = NN_ADAMW_DEFAULTS;
    options.rate = 0.02;
    if (!nn_params_finalize(params, 42) || !nn_adamw_init(&adamw, params, options)) return 1;

    ag_tape *tape = ag_tape_new();
    tensor_rng rng = {.seed = 42};
    for (int step = 0; step <= 1000; step++, ag_reset(tape)) {
        tensor points = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(64, 2));
        tensor_rand_uniform(points, &rng, -1, 1, NULL);
        ag_var *x = ag_input(tape, points);
        ag_var *inside = ag_less(ag_sum(ag_square(x), AG_AXIS(1), true), ag_constant(tape, 0.5f));
        ag_var *y = ag_sigmoid(nn_linear(&out, ag_tanh(nn_linear(&hidden, x))));
        ag_var *loss = nn_mse_loss(y, inside);
        nn_zero_grad(params);
        if (!nn_backward(params, loss)) return puts(ag_error(tape)), 1;
        nn_adamw_step(&adamw, params);
        if (step % 200 == 0) printf("step %4d  loss %.3f\n", step, (double)ag_item(loss));
    }
    ag_tape_free(tape);
    nn_params_free(params);
}
