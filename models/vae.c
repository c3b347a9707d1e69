/* A variational autoencoder (Kingma & Welling 2014) of handwritten digits, which it draws itself. The encoder says of a
 * picture x where its code z may lie, as a normal distribution; the decoder makes a picture of a code. Afterwards a
 * code drawn at random is a new picture. */
#include "models/example/example.h"

enum { SIDE = 19, PIXELS = SIDE * SIDE, HIDDEN = 256, BATCH = 64, SHOWN = 4 };

struct vae {
    struct nn_linear encoder, mean, log_variance, decoder, out;
};

static void init(struct vae *m, nn_params *params, int64_t code) {
    nn_linear_init(&m->encoder, params, "encoder", PIXELS, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->mean, params, "mean", HIDDEN, code, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->log_variance, params, "log_variance", HIDDEN, code, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->decoder, params, "decoder", code, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m->out, params, "out", HIDDEN, PIXELS, NN_LINEAR_DEFAULTS);
}

/* Codes [N, Z] -> the logits of pixels [N, PIXELS]. */
static ag_var *decode(const struct vae *m, ag_var *z) {
    return nn_linear(&m->out, ag_relu(nn_linear(&m->decoder, z)));
}

/* The negative evidence lower bound of a picture, in nats, a mean over x [N, PIXELS]: what decoding a code z ~ q(z | x)
 * leaves unsaid about x, and how far q is from the normal distribution that new codes are drawn from:
 *     -log p(x | z) + 1/2 sum (mean^2 + variance - 1 - log variance). */
static ag_var *bound(const struct vae *m, ag_var *x, ag_var *noise) {
    ag_var *h = ag_relu(nn_linear(&m->encoder, x));
    ag_var *mean = nn_linear(&m->mean, h), *log_variance = nn_linear(&m->log_variance, h);
    ag_var *z = ag_add(mean, ag_mul(noise, ag_exp(ag_affine(log_variance, 0.5f, 0))));
    ag_var *unsaid = ag_binary_cross_entropy(decode(m, z), x, AG_LOSS_SUM);
    ag_var *far = ag_sub(ag_add(ag_square(mean), ag_expm1(log_variance)), log_variance);
    return ag_affine(ag_add(unsaid, ag_affine(ag_sum(far, AG_ALL, false), 0.5f, 0)),
                     1.f / (float)ag_size(x, 0), 0);
}

/* New pictures of random digits, [N, PIXELS]. */
static ag_var *draw(ag_tape *tape, tensor_rng *rng, int64_t count) {
    ag_var *x = ag_zeros(tape, TENSOR_SHAPE(count, PIXELS));
    for (int64_t i = 0; x && i < count; i++)
        example_digit(x->value.f32 + i * PIXELS, SIDE, (int)tensor_rng_below(rng, 10), rng);
    return x;
}

static bool show(const char *title, ag_var *x) {
    ag_var *pictures = ag_reshape(x, TENSOR_SHAPE(-1, SIDE, SIDE));
    if (!pictures) return false;
    printf("\n%s\n", title);
    example_show(pictures->value);
    return true;
}

/* Shows pictures, the same after coding and decoding, and new ones; prints the bound of many. */
static bool show_all(const struct vae *m, ag_tape *tape, tensor_rng *rng, int64_t code) {
    enum { MANY = 1000 };
    ag_reset(tape);
    ag_set_recording(tape, false);
    ag_var *x = draw(tape, rng, SHOWN);
    ag_var *z = nn_linear(&m->mean, ag_relu(nn_linear(&m->encoder, x)));
    ag_var *random = ag_rand_normal(tape, rng, 0, 1, TENSOR_SHAPE(2 * SHOWN, code));
    ag_var *many = draw(tape, rng, MANY), *noise = ag_rand_normal(tape, rng, 0, 1, TENSOR_SHAPE(MANY, code));
    ag_var *nats = bound(m, many, noise);
    if (!show("Digits", x) || !show("The same, decoded from their codes", ag_sigmoid(decode(m, z))) ||
        !show("Decoded from random codes", ag_sigmoid(decode(m, random))) || !nats)
        return false;
    printf("\n%.1f nats a digit, the mean of %d others\n", (double)ag_item(nats), MANY);
    return true;
}

int main(int argc, char **argv) {
    example e;
    int64_t code = 8;
    double rate = 1e-3;
    const lm_option own[] = {lm_about(LM_ABOUT_MODEL, lm_integer("code", &code, 1, 1024,
                                                                 "How many numbers a picture's code has.")),
                             lm_about(LM_ABOUT_TRAINING, lm_real("lr", &rate, 0, 1, "The learning rate.")),
                             {0}};
    const int status =
        example_begin(&e, "vae", "Learns what digits look like, and draws new ones.", 3000, own, argc, argv);
    if (status >= 0) return status;

    nn_params *params = nn_params_new();
    ag_tape *tape = ag_tape_new();
    struct vae m;
    init(&m, params, code);
    struct nn_adamw adam;
    nn_adamw_options options = NN_ADAM_DEFAULTS;
    options.rate = rate;
    bool ok = nn_params_finalize(params, (uint64_t)e.seed) && nn_adamw_init(&adam, params, options);

    tensor_rng rng = {.seed = (uint64_t)e.seed, .stream = EXAMPLE_STREAM};
    for (int64_t step = 0; ok && step < e.iterations; step++) {
        ag_reset(tape);
        ag_var *x = draw(tape, &rng, BATCH);
        ag_var *loss = bound(&m, x, ag_rand_normal(tape, &rng, 0, 1, TENSOR_SHAPE(BATCH, code)));
        nn_zero_grad(params);
        ok = nn_backward(params, loss) && example_step(&e, step, (double)ag_item(loss)) &&
             nn_adamw_step(&adam, params);
    }
    ok = ok && show_all(&m, tape, &rng, code);
    return example_end(&e, ok, tape, params, NULL);
}
