/* A Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017) on points of the plane, which lie around eight
 * places of a circle. The critic learns a function that is high where the points lie, and low where the generator's do,
 * with a slope of about 1; the generator learns to make points from noise where the critic is high. */
#include <math.h>

#include "models/example/example.h"

enum { HIDDEN = 64, BATCH = 128, NOISE = 4, PLACES = 8, CRITIC_STEPS = 5 };
static const float spread = 0.05f;
#define D 0.70710678f /* on the diagonals */
static const float places[PLACES][2] = {{1, 0}, {D, D}, {0, 1}, {-D, D}, {-1, 0}, {-D, -D}, {0, -1}, {D, -D}};

/* Two hidden layers: [N, in] -> [N, out]. */
struct net {
    nn_params *params;
    struct nn_linear in, middle, out;
    struct nn_adamw adam;
};

static bool init(struct net *m, int64_t in, int64_t out, uint64_t seed) {
    nn_adamw_options options = NN_ADAM_DEFAULTS;
    options.beta1 = 0.5, options.beta2 = 0.9;
    m->params = nn_params_new();
    nn_linear_init(&m->in, m->params, "in", in, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->middle, m->params, "middle", HIDDEN, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->out, m->params, "out", HIDDEN, out, NN_LINEAR_DEFAULTS);
    return nn_params_finalize(m->params, seed) && nn_adamw_init(&m->adam, m->params, options);
}

static ag_var *run(const struct net *m, ag_var *x) {
    x = ag_leaky_relu(nn_linear(&m->in, x), 0.2f);
    return nn_linear(&m->out, ag_leaky_relu(nn_linear(&m->middle, x), 0.2f));
}

/* One step of Adam for the parameters of one net alone. */
static bool learn(struct net *m, ag_var *loss) {
    nn_zero_grad(m->params);
    return nn_backward(m->params, loss) && nn_adamw_step(&m->adam, m->params);
}

/* Points as they are to be, [N, 2]. */
static ag_var *draw(ag_tape *tape, tensor_rng *rng, int64_t count) {
    ag_var *x = ag_rand_normal(tape, rng, 0, spread, TENSOR_SHAPE(count, 2));
    for (int64_t i = 0; x && i < count; i++) {
        const float *place = places[tensor_rng_below(rng, PLACES)];
        x->value.f32[2 * i] += place[0], x->value.f32[2 * i + 1] += place[1];
    }
    return x;
}

static ag_var *generate(const struct net *generator, ag_tape *tape, tensor_rng *rng, int64_t count) {
    return run(generator, ag_rand_normal(tape, rng, 0, 1, TENSOR_SHAPE(count, NOISE)));
}

static ag_var *mean(ag_var *x) {
    return ag_mean(x, AG_ALL, false);
}

/* The mean of (|slope| - 1)^2 at points between the real ones and the others; the slope is an expression of its own. */
static ag_var *penalty(const struct net *critic, ag_var *real, ag_var *fake, ag_var *share) {
    ag_var *x = ag_leaf(ag_add(fake, ag_mul(share, ag_sub(real, fake)))), *slope;
    if (!ag_gradients(ag_sum(run(critic, x), AG_ALL, false), 1, &x, &slope, true)) return NULL;
    return mean(ag_square(ag_affine(ag_norm(slope, 2, AG_AXIS(1), false), 1, -1)));
}

/* The critic's loss: -(how much higher it is at the real points than at the others) + 0.1 penalty. */
static ag_var *criticise(const struct net *critic, ag_var *real, ag_var *fake, ag_var *share) {
    ag_var *distance = ag_sub(mean(run(critic, real)), mean(run(critic, fake)));
    return ag_sub(ag_affine(penalty(critic, real, fake, share), 0.1f, 0), distance);
}

/* Prints a picture of how many of points [N, 2] fall on each of its pixels. */
static void show_points(const char *title, tensor points, tensor picture) {
    const int64_t count = points.shape[0], side = picture.shape[1];
    tensor_fill(picture, 0, NULL);
    for (int64_t i = 0; i < count; i++) {
        const float x = (points.f32[2 * i] + 1.3f) / 2.6f, y = (1.3f - points.f32[2 * i + 1]) / 2.6f;
        if (x >= 0 && x < 1 && y >= 0 && y < 1)
            picture.f32[(int64_t)(y * (float)side) * side + (int64_t)(x * (float)side)] +=
                60.f / (float)count;
    }
    printf("\n%s\n", title);
    example_show(picture);
}

/* Shows points of both kinds, and prints how many of the generator's are within four deviations of a place, of each of
 * them. */
static bool show(const struct net *generator, ag_tape *tape, tensor_rng *rng) {
    enum { COUNT = 10000, SIDE = 39 };
    int64_t near[PLACES] = {0}, all = 0;
    ag_reset(tape);
    ag_set_recording(tape, false);
    ag_var *real = draw(tape, rng, COUNT), *fake = generate(generator, tape, rng, COUNT);
    ag_var *picture = ag_zeros(tape, TENSOR_SHAPE(1, SIDE, SIDE));
    if (!real || !fake || !picture) return false;
    show_points("Points to learn from", real->value, picture->value);
    show_points("Points of the generator", fake->value, picture->value);
    for (int64_t i = 0; i < COUNT * PLACES; i++) {
        const float *at = fake->value.f32 + 2 * (i / PLACES), *place = places[i % PLACES];
        const float x = at[0] - place[0], y = at[1] - place[1];
        if (x * x + y * y < 16 * spread * spread) near[i % PLACES]++, all++;
    }
    printf("\n%.1f %% of the points lie at a place; at each of the eight lie", 100 * (double)all / COUNT);
    for (int j = 0; j < PLACES; j++) printf(" %.0f", 100 * (double)near[j] / COUNT);
    printf(" %%\n");
    return true;
}

int main(int argc, char **argv) {
    example e;
    double rate = 1e-3;
    const lm_option own[] = {lm_about(LM_ABOUT_TRAINING, lm_real("lr", &rate, 0, 1, "The learning rate.")),
                             {0}};
    const int status = example_begin(
        &e, "wgan", "Learns where points lie, from points alone, and makes new ones.", 3000, own, argc, argv);
    if (status >= 0) return status;

    const nn_schedule schedule = {.kind = NN_LINEAR_DECAY, .rate = rate, .end = e.iterations};
    ag_tape *tape = ag_tape_new();
    struct net critic, generator;
    bool ok = init(&critic, 2, 1, (uint64_t)e.seed), made = init(&generator, NOISE, 2, (uint64_t)e.seed + 1);
    ok = ok && made;

    tensor_rng rng = {.seed = (uint64_t)e.seed, .stream = EXAMPLE_STREAM};
    for (int64_t step = 0; ok && step < e.iterations; step++) {
        double loss = 0;
        critic.adam.options.rate = generator.adam.options.rate = nn_schedule_rate(&schedule, step);
        for (int i = 0; ok && i < CRITIC_STEPS; i++) {
            ag_reset(tape);
            ag_var *real = draw(tape, &rng, BATCH), *fake = generate(&generator, tape, &rng, BATCH);
            ag_var *share = ag_rand_uniform(tape, &rng, 0, 1, TENSOR_SHAPE(BATCH, 1));
            ag_var *critics = criticise(&critic, real, ag_detach(fake), share);
            ok = learn(&critic, critics);
            loss = (double)ag_item(critics);
        }
        ag_reset(tape);
        ag_var *high = mean(run(&critic, generate(&generator, tape, &rng, BATCH)));
        ok = ok && learn(&generator, ag_neg(high)) && example_step(&e, step, loss);
    }
    ok = ok && show(&generator, tape, &rng);
    return example_end(&e, ok, tape, critic.params, generator.params);
}
