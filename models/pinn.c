/* A physics-informed network (Raissi et al. 2019): it learns a function u(x, t) from an equation that it must obey, and
 * from no data. The equation is Burgers', u_t + u u_x = v u_xx, where a wave from u(x, 0) = -sin(pi x) steepens until
 * viscosity holds it; u is 0 at x = -1 and 1. */
#include <math.h>

#include "models/example/example.h"

enum { HIDDEN = 32, POINTS = 256 };
static const double pi = 3.14159265358979323846;

struct pinn {
    struct nn_linear in, middle, out;
};

/* u = -sin(pi x) + t (1 - x^2) network(x, t), which has the right values at the start and at both ends whatever the
 * network says (Lagaris et al. 1998). x, t and u are [N, 1]. */
static ag_var *solution(const struct pinn *m, ag_var *x, ag_var *t) {
    ag_var *h = ag_concat((ag_var *[]){x, t}, 2, 1);
    h = ag_tanh(nn_linear(&m->in, h));
    h = ag_tanh(nn_linear(&m->middle, h));
    ag_var *inside = ag_mul(t, ag_affine(ag_square(x), -1, 1));
    return ag_sub(ag_mul(inside, nn_linear(&m->out, h)), ag_sin(ag_affine(x, (float)pi, 0)));
}

/* The mean square of u_t + u u_x - v u_xx. Points do not see each other, so the gradients of the sum of all u are those
 * of each; they are expressions themselves, of which gradients are taken again. */
static ag_var *residual(const struct pinn *m, double viscosity, ag_var *x, ag_var *t) {
    ag_var *u = solution(m, x, t), *slope[2], *bend;
    if (!ag_gradients(ag_sum(u, AG_ALL, false), 2, (ag_var *[]){x, t}, slope, true)) return NULL;
    if (!ag_gradients(ag_sum(slope[0], AG_ALL, false), 1, &x, &bend, true)) return NULL;
    ag_var *moved = ag_add(slope[1], ag_mul(u, slope[0]));
    return ag_mean(ag_square(ag_sub(moved, ag_affine(bend, (float)viscosity, 0))), AG_ALL, false);
}

/* The solution by the formula of Cole and Hopf: a mean of -sin(pi y) over y around x, weighted by e^(-cos(pi y) / (2 pi
 * v)) and by a normal distribution of variance 2 v t. */
static double exact(double viscosity, double x, double t) {
    double sum = 0, weights = 0;
    if (t <= 0) return -sin(pi * x);
    for (int i = -400; i <= 400; i++) {
        const double z = i / 50.0, y = x - z * sqrt(2 * viscosity * t);
        const double weight = exp(-z * z / 2 - (cos(pi * y) + 1) / (2 * pi * viscosity));
        sum -= weight * sin(pi * y);
        weights += weight;
    }
    return sum / weights;
}

/* A table of the network's u and the exact one, and the error of both over all points of it. */
static bool compare(const struct pinn *m, double viscosity, ag_tape *tape) {
    enum { TIMES = 5, PLACES = 9, ALL = TIMES * PLACES };
    double square = 0, difference = 0;
    ag_set_recording(tape, false);
    ag_var *t = ag_reshape(ag_linspace(tape, 0, 1, TIMES), TENSOR_SHAPE(TIMES, 1));
    ag_var *x = ag_reshape(ag_linspace(tape, -1, 1, PLACES), TENSOR_SHAPE(1, PLACES));
    t = ag_reshape(ag_expand(t, TENSOR_SHAPE(TIMES, PLACES)), TENSOR_SHAPE(ALL, 1));
    x = ag_reshape(ag_expand(x, TENSOR_SHAPE(TIMES, PLACES)), TENSOR_SHAPE(ALL, 1));
    ag_var *u = solution(m, x, t);
    if (!u) return false;
    printf("\n      x");
    for (int i = 0; i < PLACES; i++) printf("%8.2f", (double)x->value.f32[i]);
    for (int i = 0; i < ALL; i++) {
        const double found = (double)u->value.f32[i];
        const double right = exact(viscosity, (double)x->value.f32[i], (double)t->value.f32[i]);
        if (i % PLACES == 0) printf("\nt %.2f u", (double)t->value.f32[i]);
        printf("%8.3f", found);
        square += right * right;
        difference += (found - right) * (found - right);
    }
    printf("\n\nrelative error %.2g\n", sqrt(difference / square));
    return true;
}

int main(int argc, char **argv) {
    example e;
    double viscosity = 0.05, rate = 1e-2;
    const lm_option own[] = {
        lm_about(LM_ABOUT_MODEL, lm_real("viscosity", &viscosity, 0.01, 10, "How viscous the fluid is: v.")),
        lm_about(LM_ABOUT_TRAINING, lm_real("lr", &rate, 0, 1, "The learning rate.")),
        {0}};
    const int status = example_begin(
        &e, "pinn", "Solves Burgers' equation with a network that learns from the equation alone.", 10000,
        own, argc, argv);
    if (status >= 0) return status;

    nn_params *params = nn_params_new();
    ag_tape *tape = ag_tape_new();
    struct pinn m;
    nn_linear_init(&m.in, params, "in", 2, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m.middle, params, "middle", HIDDEN, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m.out, params, "out", HIDDEN, 1, NN_LINEAR_DEFAULTS);
    nn_set_init(params, "*.weight", NN_XAVIER_UNIFORM(NN_GAIN_TANH));
    struct nn_adamw adam;
    bool ok = nn_params_finalize(params, (uint64_t)e.seed) && nn_adamw_init(&adam, params, NN_ADAM_DEFAULTS);

    tensor_rng rng = {.seed = (uint64_t)e.seed, .stream = EXAMPLE_STREAM};
    const nn_schedule schedule = {.kind = NN_COSINE_DECAY, .rate = rate, .end = e.iterations};
    for (int64_t step = 0; ok && step < e.iterations; step++) {
        ag_reset(tape);
        ag_var *x = ag_leaf(ag_rand_uniform(tape, &rng, -1, 1, TENSOR_SHAPE(POINTS, 1)));
        ag_var *t = ag_leaf(ag_rand_uniform(tape, &rng, 0, 1, TENSOR_SHAPE(POINTS, 1)));
        ag_var *loss = residual(&m, viscosity, x, t);
        nn_zero_grad(params);
        adam.options.rate = nn_schedule_rate(&schedule, step);
        ok = nn_backward(params, loss) && example_step(&e, step, (double)ag_item(loss)) &&
             nn_adamw_step(&adam, params);
    }
    ok = ok && compare(&m, viscosity, tape);
    return example_end(&e, ok, tape, params, NULL);
}
