/* What threads share where gradients travel to another rank while backward computes others, without Criterion, as in
 * shared_model.c: two ranks, processes with a socket between them and two threads each, train a model that is large
 * enough for several buckets. Exits with 1 where a gradient is not that of one process, or none has travelled so. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "sampo/nn.h"
#include "tests/nn/sockets.h"

enum { RANKS = 2, ROWS = 16, WIDTH = 1100, LAYERS = 3, COUNT = LAYERS * (WIDTH * WIDTH + WIDTH), STEPS = 4 };

/* In memory that all processes share: what came out of each step. */
typedef struct result {
    double mean[STEPS];
    float gradients[STEPS][COUNT];
} result;

/* ---- A rank ------------------------------------------------------------------------------------------------ */

typedef struct rank {
    int sockets[RANKS];
    pthread_t main;
    bool travelled; /* another thread has sent something, which may write here as threads take turns */
} rank;

static bool note_and_send(void *context, int to, const void *data, size_t bytes, tensor_error *err) {
    rank *r = context;
    r->travelled |= !pthread_equal(pthread_self(), r->main);
    return send_bytes(r->sockets, to, data, bytes, err);
}

static bool receive(void *context, int from, void *data, size_t bytes, tensor_error *err) {
    return receive_bytes(((rank *)context)->sockets, from, data, bytes, err);
}

/* ---- Training ---------------------------------------------------------------------------------------------- */

typedef struct model {
    nn_params *params;
    struct nn_linear layers[LAYERS];
} model;

static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const model *m = context;
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(end - begin, WIDTH));
    for (int64_t i = 0; tensor_ok(x) && i < tensor_size(x); i++)
        x.f32[i] = (float)((begin * WIDTH + i) * 7919 % 101) / 37 - 1;
    ag_var *y = ag_input(tape, x);
    for (int i = 0; i < LAYERS; i++) y = ag_tanh(nn_linear(&m->layers[i], y));
    return ag_mean(ag_square(y), AG_ALL, false);
}

/* In turns each thread has shards of its own, and the operations of a single shard run on both. */
static bool train(const nn_world *world, result *to) {
    model m = {.params = nn_params_new()};
    tensor_error err = {0};
    struct nn_sgd sgd;
    for (int i = 0; i < LAYERS; i++)
        nn_linear_init(&m.layers[i], m.params, nn_name(m.params, "layers.%d", i), WIDTH, WIDTH,
                       NN_LINEAR_DEFAULTS);
    nn_parallel *parallel = nn_parallel_new(m.params);
    nn_parallel_set_world(parallel, world);
    bool ok = nn_params_finalize(m.params, 5) && tensor_set_threads(2, &err) &&
              nn_sgd_init(&sgd, m.params, NN_SGD_DEFAULTS) && nn_params_count(m.params) == COUNT;
    for (int step = 0; ok && step < STEPS; step++) {
        nn_parallel_set_shards(parallel, step % 2 == 0 ? 4 * RANKS : RANKS);
        ok = nn_parallel_backward(parallel, ROWS, loss_of, &m, &to->mean[step], &err);
        if (!ok) break;
        memcpy(to->gradients[step], nn_grads(m.params).f32, sizeof to->gradients[step]);
        ok = nn_sgd_step(&sgd, m.params);
    }
    if (!ok)
        fprintf(stderr, "rank %d: %s %s\n", world ? world->rank : 0, err.text, nn_params_error(m.params));
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    return ok;
}

/* ---- Processes --------------------------------------------------------------------------------------------- */

static bool ended_well(pid_t process) {
    int status;
    return process > 0 && waitpid(process, &status, 0) == process && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static bool train_alone(result *to) {
    const pid_t process = fork();
    if (process == 0) _exit(!train(NULL, to));
    return ended_well(process);
}

static bool train_together(result *to) {
    int pair[RANKS];
    pid_t processes[RANKS];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return false;
    for (int i = 0; i < RANKS; i++) {
        processes[i] = fork();
        if (processes[i] != 0) continue;
        close(pair[1 - i]); /* else none would see that the other has ended */
        rank r = {.main = pthread_self()};
        r.sockets[1 - i] = pair[i];
        const nn_world world = {
            .rank = i, .size = RANKS, .context = &r, .send = note_and_send, .receive = receive};
        _exit(!train(&world, &to[i]) || !r.travelled);
    }
    for (int i = 0; i < RANKS; i++) close(pair[i]);
    bool ok = true;
    for (int i = 0; i < RANKS; i++) ok = ended_well(processes[i]) && ok;
    return ok;
}

int main(void) {
    result *results =
        mmap(NULL, (1 + RANKS) * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = results != MAP_FAILED && train_alone(&results[0]) && train_together(&results[1]);
    for (int i = 1; ok && i <= RANKS; i++) ok = memcmp(&results[i], &results[0], sizeof *results) == 0;
    puts(ok ? "ok: gradients travel while others are computed" : "FAILED: gradients that travel");
    return ok ? 0 : 1;
}
