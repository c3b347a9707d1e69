/* A convolutional network (LeCun et al. 1989) that reads digits: those that it draws itself, or pictures from IDX files
 * such as MNIST's. */
#include <inttypes.h>

#include "models/example/example.h"

enum { LAYERS = 3, SIDE = 28, CLASSES = 10, DRAWN = 8000, DRAWN_TO_TEST = 2000, BATCH = 64 };

struct convnet {
    struct nn_conv2d conv[LAYERS];
    struct nn_linear out;
};

/* Each convolution looks at 3 x 3 pixels, and moves by two: its result has more channels and a quarter of the pixels. */
static void init(struct convnet *m, nn_params *params, tensor images) {
    int64_t in = 1, rows = images.shape[2], columns = images.shape[3];
    for (int i = 0; i < LAYERS; i++) {
        const int64_t out = 16 << i;
        nn_conv2d_init(&m->conv[i], params, nn_name(params, "conv.%d", i), in, out, 3, 3,
                       (nn_conv2d_options){.windows = {.stride = {2, 2}, .padding = {1, 1}}});
        in = out, rows = (rows + 1) / 2, columns = (columns + 1) / 2;
    }
    nn_linear_init(&m->out, params, "out", in * rows * columns, CLASSES, NN_LINEAR_DEFAULTS);
}

/* x [N, 1, H, W] -> logits [N, CLASSES]. */
static ag_var *forward(const struct convnet *m, ag_var *x) {
    for (int i = 0; i < LAYERS; i++) x = ag_relu(nn_conv2d(&m->conv[i], x));
    return nn_linear(&m->out, ag_reshape(x, TENSOR_SHAPE(ag_size(x, 0), -1)));
}

/* ---- Data ------------------------------------------------------------------------------------------ */

typedef struct data {
    tensor images; /* [N, 1, H, W], 0 to 1 */
    tensor labels; /* [N] int32 */
} data;

static data draw(int64_t count, tensor_rng *rng, tensor_arena *arena, tensor_error *err) {
    const data d = {tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(count, 1, SIDE, SIDE), err),
                    tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(count), err)};
    for (int64_t i = 0; tensor_ok(d.images) && tensor_ok(d.labels) && i < count; i++) {
        d.labels.i32[i] = (int32_t)tensor_rng_below(rng, CLASSES);
        example_digit(d.images.f32 + i * SIDE * SIDE, SIDE, d.labels.i32[i], rng);
    }
    return d;
}

/* Pictures [N, H, W] of bytes and their labels [N]. */
static data read(const char *images, const char *labels, tensor_arena *arena, tensor_error *err) {
    data d = {nn_idx_read(images, TENSOR_F32, arena, err), nn_idx_read(labels, TENSOR_I32, arena, err)};
    if (!tensor_ok(d.images) || !tensor_ok(d.labels)) return d;
    if (d.images.rank != 3 || d.labels.rank != 1 || d.labels.shape[0] != d.images.shape[0])
        tensor_fail(err, "%s and %s are not pictures and a label for each", images, labels);
    tensor_affine(d.images, 1 / 255.f, d.images, 0, err);
    d.images = tensor_unsqueeze(d.images, 1, err);
    return d;
}

/* ---- Training -------------------------------------------------------------------------------------- */

typedef struct task {
    const struct convnet *model;
    const data *data;
    nn_batches batches;
} task;

/* The loss of rows begin..end-1 of the batch at hand; threads share its rows. */
static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const task *t = context;
    ag_var *x = nn_batch(&t->batches, tape, t->data->images, begin, end);
    return ag_cross_entropy(forward(t->model, x), nn_batch(&t->batches, tape, t->data->labels, begin, end));
}

/* Reads all pictures, prints how many rightly, and shows some that it takes for another digit. */
static bool test(const struct convnet *m, const data *d, ag_tape *tape) {
    enum { SHOWN = 5, TOGETHER = 500 };
    const int64_t count = d->images.shape[0];
    int64_t wrong = 0;
    ag_set_recording(tape, false);
    for (int64_t at = 0; at < count; at += TOGETHER, ag_reset(tape)) {
        ag_var *x = ag_slice(ag_input(tape, d->images), 0, at, at + TOGETHER, 1);
        ag_var *said = ag_argmax(forward(m, x), 1);
        if (!said) return false;
        for (int64_t i = 0; i < ag_size(x, 0); i++) {
            if (said->value.i32[i] == d->labels.i32[at + i]) continue;
            if (wrong++ >= SHOWN) continue;
            printf("\nThis is %d, and was read as %d:\n", (int)d->labels.i32[at + i],
                   (int)said->value.i32[i]);
            example_show(tensor_slice(tensor_squeeze(x->value, 1, NULL), 0, i, i + 1, 1, NULL));
        }
    }
    printf("\n%.2f %% of %" PRId64 " other pictures are read rightly\n",
           100 - 100 * (double)wrong / (double)count, count);
    return true;
}

static bool train(example *e, task *t, nn_params *params, double rate) {
    struct nn_adamw adam;
    const nn_schedule schedule = {.kind = NN_COSINE_DECAY, .rate = rate, .end = e->iterations};
    bool ok = nn_params_finalize(params, (uint64_t)e->seed) && nn_adamw_init(&adam, params, NN_ADAM_DEFAULTS);
    nn_parallel *parallel = nn_parallel_new(params);
    for (int64_t step = 0; ok && step < e->iterations; step++) {
        double loss;
        nn_batches_go(&t->batches, step);
        adam.options.rate = nn_schedule_rate(&schedule, step);
        ok = nn_parallel_backward(parallel, t->batches.size, loss_of, t, &loss, &e->err) &&
             example_step(e, step, loss) && nn_adamw_step(&adam, params);
    }
    nn_parallel_free(parallel);
    return ok;
}

int main(int argc, char **argv) {
    example e;
    const char *images = NULL, *labels = NULL, *test_images = NULL, *test_labels = NULL;
    double rate = 2e-3;
    const lm_option own[] = {
        lm_about(LM_ABOUT_DATA,
                 lm_string("images", &images, "FILE",
                           "Learn from the pictures of this IDX file; without it the program draws digits.")),
        lm_string("labels", &labels, "FILE", "Which digits they are, 0 to 9: an IDX file."),
        lm_string("test-images", &test_images, "FILE", "Pictures to be tested with."),
        lm_string("test-labels", &test_labels, "FILE", "Which digits those are."),
        lm_about(LM_ABOUT_TRAINING, lm_real("lr", &rate, 0, 1, "The learning rate.")),
        {0}};
    const int status = example_begin(&e, "convnet", "Learns to read digits.", 500, own, argc, argv);
    if (status >= 0) return status;
    const int files = !!images + !!labels + !!test_images + !!test_labels;
    if (files % 4 != 0) {
        lm_fail(&e.program, "--images, --labels, --test-images and --test-labels go together");
        return LM_BAD_USAGE;
    }

    tensor_arena *arena = tensor_arena_new(&e.err);
    tensor_rng rng = {.seed = (uint64_t)e.seed, .stream = EXAMPLE_STREAM};
    data known = {0}, other = {0};
    if (files == 4)
        known = read(images, labels, arena, &e.err), other = read(test_images, test_labels, arena, &e.err);
    else
        known = draw(DRAWN, &rng, arena, &e.err), other = draw(DRAWN_TO_TEST, &rng, arena, &e.err);

    struct convnet m;
    task t = {.model = &m, .data = &known};
    nn_params *params = nn_params_new();
    ag_tape *tape = ag_tape_new();
    bool ok = !*e.err.text &&
              nn_batches_init(&t.batches, known.images.shape[0],
                              (nn_batches_options){.batch = BATCH, .seed = (uint64_t)e.seed}, arena, &e.err);
    if (ok) init(&m, params, known.images);
    ok = ok && train(&e, &t, params, rate) && test(&m, &other, tape);
    tensor_arena_free(arena);
    return example_end(&e, ok, tape, params, NULL);
}
