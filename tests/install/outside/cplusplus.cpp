// Each macro of the headers that makes a value, in C++17. Exits with the number of wrong values.
#include <sampo/nn.h>

#include <cstdio>

static int wrong = 0;

static void check(bool right, const char *what) {
    if (!right) wrong += std::printf("wrong: %s\n", what) > 0;
}

int main() {
    tensor_error err = {};
    tensor_arena *arena = tensor_arena_new(&err);
    int rows = 1;
    const int64_t columns = 3;
    tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(++rows, columns), &err);
    check(tensor_ok(x) && x.rank == 2 && x.shape[0] == 2 && x.shape[1] == 3, "TENSOR_SHAPE");
    check(rows == 2, "TENSOR_SHAPE evaluates its arguments once");
    check(TENSOR_LITERAL(tensor_rng){7, 0, 0}.seed == 7, "TENSOR_LITERAL");

    const double spread = 0.5;
    nn_init normal = NN_NORMAL(spread), uniform = NN_UNIFORM(spread), zeros = NN_ZEROS, ones = NN_ONES;
    check(normal.kind == NN_INIT_NORMAL && normal.b == 0.5f, "NN_NORMAL");
    check(uniform.kind == NN_INIT_UNIFORM && uniform.a == -0.5f && uniform.b == 0.5f, "NN_UNIFORM");
    check(zeros.kind == NN_INIT_VALUE && zeros.a == 0 && ones.a == 1, "NN_ZEROS, NN_ONES");

    nn_linear_options linear = NN_LINEAR_DEFAULTS;
    nn_attention_options attention = NN_ATTENTION_DEFAULTS;
    ag_attention_options scores = AG_ATTENTION_DEFAULTS;
    nn_mlp_options mlp = NN_MLP_DEFAULTS;
    nn_sgd_options sgd = NN_SGD_DEFAULTS;
    nn_adamw_options adamw = NN_ADAMW_DEFAULTS;
    check(!linear.no_bias && !linear.tied, "NN_LINEAR_DEFAULTS");
    check(attention.heads == 1 && attention.dropout == 0, "NN_ATTENTION_DEFAULTS");
    check(scores.scale == 0 && !scores.causal && !scores.mask, "AG_ATTENTION_DEFAULTS");
    check(mlp.hidden == 0 && mlp.activation == NN_RELU, "NN_MLP_DEFAULTS");
    check(sgd.rate == 1e-3 && sgd.momentum == 0, "NN_SGD_DEFAULTS");
    check(adamw.rate == 1e-3 && adamw.beta1 == 0.9 && adamw.beta2 == 0.999 && adamw.eps == 1e-8 &&
              adamw.decay == 0.01 && !adamw.decay_matrices,
          "NN_ADAMW_DEFAULTS");

    nn_params *params = nn_params_new();
    struct nn_linear layer;
    nn_linear_init(&layer, params, "layer", columns, 1, NN_LINEAR_DEFAULTS);
    check(nn_params_finalize(params, 42), "nn_params_finalize");
    ag_tape *tape = ag_tape_new();
    tensor_fill(x, 1, &err);
    check(nn_backward(params, ag_sum(nn_linear(&layer, ag_input(tape, x)), AG_AXIS(-1) | AG_AXIS(0), false)),
          "nn_backward");
    ag_tape_free(tape);
    nn_params_free(params);
    tensor_arena_free(arena);
    return wrong;
}
