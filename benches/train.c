/* A training step of the GPT with its default configuration, on random tokens: forward, backward, the addition of the
 * lanes, AdamW. Its arithmetic is compared with the machine's peak, measured between the turns.
 *
 *     build/benches/train [THREADS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "benches/measure.h"
#include "models/lm/lm.h"

enum { TURNS = 41, VOCABULARY = 51 };

/* Products of the forward pass and twice as many backward, the causal half of attention once: the multiply-adds of a
 * token with each parameter but the tables, and of its query with half of the keys and values. */
static double step_gflop(int64_t tokens, int64_t context) {
    enum { LAYERS = 3, WIDTH = 64 };
    const double parameters = LAYERS * 12.0 * WIDTH * WIDTH + (double)VOCABULARY * WIDTH;
    return 6e-9 * (double)tokens * (parameters + LAYERS * (double)context * WIDTH);
}

int main(int argc, char **argv) {
    tensor_error err = {0};
    char *end = NULL;
    const long threads = argc > 1 ? strtol(argv[1], &end, 10) : 1;
    if (argc > 2 || (end && *end) || threads < 1 || threads > TENSOR_MAX_THREADS) {
        fprintf(stderr, "usage: train [THREADS], 1 to %d\n", TENSOR_MAX_THREADS);
        return 2;
    }
    const lm_model *model = lm_program();
    const int64_t context = model->defaults.context, rows = model->defaults.batch;
    nn_params *params = nn_params_new();
    nn_parallel *parallel = nn_parallel_new(params);
    tensor_arena *arena = tensor_arena_new(&err);
    struct nn_adamw adamw;
    lm_loss_context c = {.model = model};
    tensor_rng rng = {.seed = 1};
    bool ok = params && parallel && arena && tensor_isa_check(&err) &&
              tensor_set_threads((int)threads, &err) && model->check(model->self, &err);
    if (ok) model->init(model->self, params, VOCABULARY, context);
    ok = ok && nn_params_finalize(params, 1) && nn_adamw_init(&adamw, params, NN_ADAMW_DEFAULTS) &&
         lm_batch_new(&c.batch, rows, context, arena, &err) &&
         tensor_rand_integers(c.batch.ids, &rng, 0, VOCABULARY, &err) &&
         tensor_rand_integers(c.batch.targets, &rng, 0, VOCABULARY, &err);
    double times[TURNS], parts[TURNS], peaks[TURNS], loss;
    for (int i = -2; ok && i < TURNS; i++) { /* two to warm up */
        const double start = now();
        ok = nn_parallel_backward(parallel, rows, lm_loss, &c, &loss, &err) && nn_adamw_step(&adamw, params);
        if (i < 0) continue;
        times[i] = now() - start;
        peaks[i] = peak_gflops();
        parts[i] = step_gflop(rows * context, context) / times[i] / peaks[i];
    }
    if (ok) {
        const double time = median(times, TURNS);
        printf("%s, %ld thread%s: %.1f ms a step, %.0f tokens/s, %.0f %% of a peak of %.0f GFLOP/s\n",
               tensor_isa(), threads, threads > 1 ? "s" : "", 1e3 * time, (double)(rows * context) / time,
               100 * median(parts, TURNS), median(peaks, TURNS));
    } else {
        fprintf(stderr, "train: %s\n",
                err.text[0] ? err.text
                : params    ? nn_params_error(params)
                            : "out of memory");
    }
    nn_parallel_free(parallel);
    nn_params_free(params);
    tensor_arena_free(arena);
    return ok ? 0 : 1;
}
