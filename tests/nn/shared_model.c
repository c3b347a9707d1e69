/* What threads share, without Criterion, whose sandboxes ThreadSanitizer does not permit: several tapes differentiate one
 * model to first and second order, and the data-parallel step runs on the pool. Exits with 1 where a gradient differs. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "sampo/nn.h"

enum { IN = 5, HIDDEN = 16, ROWS = 32, THREADS = 4, TURNS = 100 };

typedef struct model {
    nn_params *params;
    struct nn_linear hidden, out;
} model;

static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const model *m = context;
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(end - begin, IN));
    for (int64_t i = 0; tensor_ok(x) && i < tensor_size(x); i++)
        x.f32[i] = (float)((begin * IN + i) * 37 % 61) / 30 - 1;
    return ag_mean(ag_square(nn_linear(&m->out, ag_tanh(nn_linear(&m->hidden, ag_input(tape, x))))), AG_ALL,
                   false);
}

typedef struct thread {
    pthread_t id;
    model *m;
    float first[IN * HIDDEN], second[IN * HIDDEN];
    bool ok;
} thread;

/* The gradient for the hidden weights, and that of its sum of squares. */
static void *differentiate(void *context) {
    thread *t = context;
    ag_tape *tape = ag_tape_new();
    ag_var *w = t->m->hidden.weight, *dw, *d2w;
    t->ok = tape != NULL;
    for (int turn = 0; t->ok && turn < TURNS; turn++, ag_reset(tape)) {
        ag_var *loss = loss_of(t->m, tape, 0, ROWS);
        t->ok = ag_gradients(loss, 1, &w, &dw, true) &&
                ag_gradients(ag_sum(ag_square(dw), AG_ALL, false), 1, &w, &d2w, false) && ag_backward(loss);
        if (!t->ok) break;
        memcpy(t->first, dw->value.f32, sizeof t->first);
        memcpy(t->second, d2w->value.f32, sizeof t->second);
    }
    ag_tape_free(tape);
    return NULL;
}

static bool several_tapes(model *m) {
    thread t[THREADS];
    bool ok = true;
    for (int i = 0; i < THREADS; i++) {
        t[i] = (thread){.m = m};
        if (pthread_create(&t[i].id, NULL, differentiate, &t[i]) != 0) return false;
    }
    for (int i = 0; i < THREADS; i++) pthread_join(t[i].id, NULL);
    for (int i = 0; i < THREADS; i++)
        ok = ok && t[i].ok && memcmp(t[i].first, t[0].first, sizeof t->first) == 0 &&
             memcmp(t[i].second, t[0].second, sizeof t->second) == 0;
    return ok;
}

static bool data_parallel(model *m) {
    nn_parallel *parallel = nn_parallel_new(m->params);
    double mean, first = 0;
    bool ok = parallel && tensor_set_threads(THREADS, NULL);
    for (int turn = 0; ok && turn < TURNS; turn++) {
        ok = nn_parallel_backward(parallel, ROWS, loss_of, m, &mean, NULL);
        if (turn == 0) first = mean;
        ok = ok && mean == first;
    }
    nn_parallel_free(parallel);
    return ok;
}

int main(void) {
    model m = {.params = nn_params_new()};
    nn_linear_init(&m.hidden, m.params, "hidden", IN, HIDDEN, NN_LINEAR_DEFAULTS);
    nn_linear_init(&m.out, m.params, "out", HIDDEN, 1, NN_LINEAR_DEFAULTS);
    const bool ok = nn_params_finalize(m.params, 1) && several_tapes(&m) && data_parallel(&m);
    nn_params_free(m.params);
    puts(ok ? "ok: threads share one model" : "FAILED: threads that share one model");
    return ok ? 0 : 1;
}
