/* Ranks: processes that share a batch get the gradients that one alone gets, bit for bit. */
#include "sampo/nn.h"
#include "tests/leave.h"
#include "tests/nn/sockets.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { ROWS = 37, WIDTH = 7, MOST = 8, COUNTS = 9 };
static const int64_t shard_counts[COUNTS] = {0, 1, 2, 3, 5, 8, 13, 31, ROWS};

/* ---- Processes of this machine, with a socket for each two --------------------------------------------- */

static int sockets[MOST][MOST]; /* [a][b]: what rank a has to b */

/* Starts the other ranks, which run `work` and end with what it returns; this process is rank 0. */
static nn_world start(int size, int (*work)(const nn_world *world), pid_t *others) {
    nn_world world = {.size = size, .context = sockets[0], .send = send_bytes, .receive = receive_bytes};
    for (int a = 0; a < size; a++)
        for (int b = a + 1; b < size; b++) {
            int pair[2];
            cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
            sockets[a][b] = pair[0], sockets[b][a] = pair[1];
        }
    for (int rank = 1; rank < size; rank++) {
        others[rank] = fork();
        cr_assert_geq(others[rank], 0);
        if (others[rank] > 0) continue;
        for (int a = 0; a < size; a++) /* else none would see that another has ended */
            for (int b = 0; b < size; b++)
                if (a != b && a != rank) close(sockets[a][b]);
        world.rank = rank, world.context = sockets[rank];
        leave(work(&world));
    }
    for (int a = 1; a < size; a++)
        for (int b = 0; b < size; b++)
            if (a != b) close(sockets[a][b]);
    return world;
}

static void finish(const nn_world *world, const pid_t *others, int expected) {
    for (int rank = 1; rank < world->size; rank++) {
        int status;
        close(sockets[0][rank]);
        cr_assert_eq(waitpid(others[rank], &status, 0), others[rank]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == expected, "rank %d of %d: %d", rank,
                  world->size, status);
    }
}

/* ---- A model --------------------------------------------------------------------------------------------- */

enum { LAYERS = 3, WIDE = 1100 };
static bool is_large; /* so that its gradients travel in several parts: then there are threads, too */
static bool has_norm;

typedef struct model {
    nn_params *params;
    struct nn_linear linear, layers[LAYERS];
    struct nn_batch_norm norm;
    float x[ROWS][WIDTH];
    int64_t bad; /* a row that fails */
} model;

static bool model_new(model *m) {
    *m = (model){.params = nn_params_new(), .bad = -1};
    nn_linear_init(&m->linear, m->params, "linear", WIDTH, is_large ? WIDE : 3, NN_LINEAR_DEFAULTS);
    for (int i = 0; is_large && i < LAYERS; i++)
        nn_linear_init(&m->layers[i], m->params, nn_name(m->params, "layers.%d", i), WIDE, WIDE,
                       NN_LINEAR_DEFAULTS);
    if (has_norm)
        nn_batch_norm_init(&m->norm, m->params, "norm", is_large ? WIDE : 3, NN_BATCH_NORM_DEFAULTS);
    if (is_large) nn_param(m->params, "idle", NN_ZEROS, TENSOR_SHAPE(5));
    for (int i = 0; i < ROWS * WIDTH; i++) m->x[i / WIDTH][i % WIDTH] = (float)((i * 7919) % 101) / 37 - 1;
    return nn_params_finalize(m->params, 5) && tensor_set_threads(is_large ? 2 : 1, NULL);
}

static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    model *m = context;
    if (begin <= m->bad && m->bad < end) return ag_fail(tape, "row %d is bad", (int)m->bad);
    tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(end - begin, WIDTH));
    if (!tensor_ok(x)) return NULL;
    memcpy(x.f32, m->x[begin], (size_t)(end - begin) * sizeof m->x[0]);
    ag_var *y = nn_linear(&m->linear, ag_input(tape, x));
    y = ag_tanh(has_norm ? nn_batch_norm(&m->norm, y) : y);
    for (int i = 0; is_large && i < LAYERS; i++) y = ag_tanh(nn_linear(&m->layers[i], y));
    return ag_mean(ag_square(y), AG_ALL, false);
}

static uint64_t fnv(uint64_t hash, const void *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t fnv_of(uint64_t hash, tensor x) {
    return fnv(hash, x.data, (size_t)tensor_size(x) * sizeof(float));
}

/* FNV-1a of losses, gradients and running statistics for several numbers of shards, in turn; 0: something failed. */
static uint64_t digest(const nn_world *world, tensor_error *err) {
    model m;
    uint64_t hash = 0xcbf29ce484222325u;
    bool ok = model_new(&m);
    nn_parallel *parallel = nn_parallel_new(m.params);
    nn_parallel_set_world(parallel, world);
    for (int i = 0; ok && i < 2 * COUNTS; i += is_large ? 3 : 1) {
        double mean;
        nn_parallel_set_shards(parallel, shard_counts[i % COUNTS]);
        ok = i < COUNTS ? nn_parallel_backward(parallel, ROWS, loss_of, &m, &mean, err)
                        : nn_parallel_loss(parallel, ROWS, loss_of, &m, &mean, err);
        hash = fnv(hash, &mean, sizeof mean);
        if (i < COUNTS) hash = fnv_of(hash, nn_grads(m.params));
        if (has_norm) hash = fnv_of(fnv_of(hash, m.norm.running_mean->value), m.norm.running_var->value);
    }
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    return ok ? hash : 0;
}

static uint64_t alone; /* the digest of one process */

static int same_digest(const nn_world *world) {
    return digest(world, NULL) == alone ? 0 : 1;
}

static void expect_same_bits(int most) {
    tensor_error err = {0};
    int pipes[2]; /* a process that has used its threads should not fork: another finds the digest */
    cr_assert_eq(pipe(pipes), 0);
    if (fork() == 0) {
        alone = digest(NULL, &err);
        leave(write(pipes[1], &alone, sizeof alone) != sizeof alone);
    }
    cr_assert_eq(read(pipes[0], &alone, sizeof alone), sizeof alone);
    cr_assert_neq(alone, 0, "%s", err.text);
    for (int size = 2; size <= most; size += size < 5 ? 1 : 3) {
        pid_t others[MOST];
        const nn_world world = start(size, same_digest, others);
        cr_assert_eq(digest(&world, &err), alone, "%d ranks: %s", size, err.text);
        finish(&world, others, 0);
    }
}

Test(world, any_number_of_ranks_gives_the_same_bits, .timeout = 60) {
    expect_same_bits(MOST);
}

Test(world, gradients_that_travel_while_others_are_computed_have_the_same_bits, .timeout = 120) {
    is_large = has_norm = true;
    expect_same_bits(3);
}

Test(world, running_statistics_are_those_of_one_process, .timeout = 60) {
    has_norm = true;
    expect_same_bits(4);
}

/* The sum of the gradients of single rows, by the tree's definition. */
static void expected_sum(float (*rows)[WIDTH * 3 + 3], int64_t begin, int64_t size, float *sum) {
    if (size == 1) {
        memcpy(sum, rows[begin], sizeof rows[0]);
        return;
    }
    float right[WIDTH * 3 + 3];
    expected_sum(rows, begin, size / 2, sum);
    if (begin + size / 2 >= ROWS) return;
    expected_sum(rows, begin + size / 2, size / 2, right);
    for (int i = 0; i < WIDTH * 3 + 3; i++) sum[i] += right[i];
}

Test(world, gradients_are_added_in_a_binary_tree) {
    static float rows[64][WIDTH * 3 + 3];
    float sum[WIDTH * 3 + 3];
    model m;
    double mean;
    cr_assert(model_new(&m));
    cr_assert_eq(nn_params_count(m.params), WIDTH * 3 + 3);
    ag_tape *tape = ag_tape_new();
    for (int64_t row = 0; row < ROWS; row++) {
        ag_reset(tape);
        nn_zero_grad(m.params);
        ag_var *loss = ag_affine(loss_of(&m, tape, row, row + 1), (float)(1. / ROWS), 0);
        cr_assert(nn_backward(m.params, loss), "%s", ag_error(tape));
        memcpy(rows[row], nn_grads(m.params).f32, sizeof rows[row]);
    }
    expected_sum(rows, 0, 64, sum);
    nn_parallel *parallel = nn_parallel_new(m.params);
    nn_parallel_set_shards(parallel, ROWS);
    cr_assert(nn_parallel_backward(parallel, ROWS, loss_of, &m, &mean, NULL));
    cr_assert(memcmp(sum, nn_grads(m.params).f32, sizeof sum) == 0);
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    ag_tape_free(tape);
}

/* ---- Faults ------------------------------------------------------------------------------------------------ */

static int64_t bad;

/* Whether every rank gets the text of the rank whose row is bad. */
static int all_fail(const nn_world *world) {
    model m;
    double mean;
    tensor_error err = {0};
    char expected[64] = "row 36 is bad";
    model_new(&m);
    m.bad = bad;
    if (bad == ROWS - 1) snprintf(expected, sizeof expected, "rank %d: row 36 is bad", world->size - 1);
    if (bad == 0) snprintf(expected, sizeof expected, "row 0 is bad");
    nn_parallel *parallel = nn_parallel_new(m.params);
    nn_parallel_set_world(parallel, world);
    const bool ok = nn_parallel_backward(parallel, ROWS, loss_of, &m, &mean, &err);
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    return ok || strcmp(err.text, expected) != 0;
}

Test(world, a_failure_of_one_rank_is_that_of_all, .timeout = 60) {
    for (int i = 0; i < 4; i++) {
        pid_t others[MOST];
        bad = i % 2 * (ROWS - 1), is_large = i > 1;
        const nn_world world = start(3, all_fail, others);
        cr_assert_eq(all_fail(&world), 0);
        finish(&world, others, 0);
    }
}

static int gone(const nn_world *world) {
    return world->rank == 1 ? 0 : digest(world, NULL) != 0;
}

Test(world, a_rank_that_is_gone_is_a_failure, .timeout = 60) {
    pid_t others[MOST];
    tensor_error err = {0};
    for (int i = 0; i < 2; i++) {
        is_large = i > 0;
        const nn_world world = start(3, gone, others);
        cr_assert_eq(digest(&world, &err), 0);
        cr_assert_str_eq(err.text, "a rank is gone");
        finish(&world, others, 0);
    }
}

/* A world of two in which only the first part of the gradients is lost. */
static int exchanges;
static bool lose_first(void *context, int to, const void *out, size_t out_bytes, int from, void *in,
                       size_t in_bytes, tensor_error *err) {
    (void)context, (void)to, (void)out, (void)out_bytes, (void)from;
    if (in_bytes > 0) memset(in, 0, in_bytes);
    return exchanges++ > 0 || tensor_fail(err, "the first part is lost");
}
static bool send_nothing(void *context, int to, const void *data, size_t bytes, tensor_error *err) {
    (void)context, (void)to, (void)data, (void)bytes, (void)err;
    return true;
}
static bool receive_zeros(void *context, int from, void *data, size_t bytes, tensor_error *err) {
    (void)context, (void)from, (void)err;
    memset(data, 0, bytes);
    return true;
}

/* What comes after a part that was lost does not hide that. */
Test(world, a_part_that_is_lost_is_a_failure, .timeout = 60) {
    const nn_world world = {
        .size = 2, .send = send_nothing, .receive = receive_zeros, .exchange = lose_first};
    for (int i = 0; i < 2; i++) {
        model m;
        double mean;
        tensor_error err = {0};
        is_large = i > 0, exchanges = 0;
        cr_assert(model_new(&m));
        nn_parallel *parallel = nn_parallel_new(m.params);
        nn_parallel_set_world(parallel, &world);
        cr_expect_not(nn_parallel_backward(parallel, ROWS, loss_of, &m, &mean, &err));
        cr_expect_str_eq(err.text, "the first part is lost");
        nn_parallel_free(parallel);
        nn_params_free(m.params);
    }
}

static int agree(const nn_world *world) {
    tensor_error err = {0};
    int64_t value = world->rank == 2 ? 9 : world->rank;
    char text[16] = "zero";
    if (world->rank > 0) memset(text, 'x', sizeof text);
    if (!nn_world_max(world, &value, 1, &err) || value != 9) return 1;
    if (!nn_world_broadcast(world, text, sizeof text, &err) || strcmp(text, "zero") != 0) return 2;
    if (!nn_world_same(world, "the text", text, sizeof text, &err)) return 3;
    text[5] = (char)(world->rank >= 3);
    if (nn_world_same(world, "the text", text, sizeof text, &err)) return 4;
    return strcmp(err.text, "the text: rank 3 differs from rank 0") != 0 ? 5 : 0;
}

Test(world, ranks_agree, .timeout = 60) {
    pid_t others[MOST];
    const nn_world world = start(5, agree, others);
    cr_assert_eq(agree(&world), 0);
    finish(&world, others, 0);
    int64_t value = 3;
    cr_assert(nn_world_max(NULL, &value, 1, NULL) && value == 3);
    cr_assert(nn_world_same(NULL, "nothing", "", 0, NULL));
}

static bool seen(void *context, int to, const void *out, size_t out_bytes, int from, void *in,
                 size_t in_bytes, tensor_error *err) {
    (void)out, (void)out_bytes, (void)in, (void)in_bytes, (void)err;
    ((int *)context)[0] = to;
    ((int *)context)[1] = from;
    return true;
}

Test(world, any_step_leads_to_a_rank) {
    int ranks[2];
    for (int step = -12; step <= 12; step++) {
        const nn_world world = {.rank = 1, .size = 5, .context = ranks, .exchange = seen};
        cr_assert(nn_world_exchange(&world, step, NULL, 0, NULL, 0, NULL));
        cr_expect_eq(ranks[0], (1 + step + 15) % 5, "%d", step);
        cr_expect_eq(ranks[1], (1 - step + 15) % 5, "%d", step);
    }
    const nn_world none = {0}; /* nobody has opened it */
    int64_t value = 7;
    cr_expect(nn_world_exchange(&none, 1, NULL, 0, NULL, 0, NULL) && nn_world_max(&none, &value, 1, NULL));
    cr_expect(nn_world_same(&none, "it", &value, sizeof value, NULL) &&
              nn_world_broadcast(&none, &value, sizeof value, NULL));
    cr_expect_eq(value, 7);
}

/* More than once, as MPI can begin only once, and so must not where nobody else is there. */
Test(world, a_process_is_alone_without_others) {
    for (int i = 0; i < 3; i++) {
        nn_world world;
        tensor_error err = {0};
        cr_assert(nn_world_open(&world, &err), "%s", err.text);
        cr_assert_eq(world.rank, 0);
        cr_assert_eq(world.size, 1);
        nn_world_close(&world, false);
        cr_assert_eq(world.size, 1);
    }
}

/* A bit of one rank's memory that turns is found, and the parameter or buffer named. */
static int turned(const nn_world *world) {
    nn_params *params = nn_params_new();
    ag_var *entries[] = {nn_param(params, "weight", NN_NORMAL(1), TENSOR_SHAPE(4, 3)),
                         nn_buffer(params, "mean", 0, TENSOR_SHAPE(3)),
                         nn_param(params, "bias", NN_ZEROS, TENSOR_SHAPE(3))};
    nn_tie(params, "head", entries[0]);
    bool ok = nn_params_finalize(params, 1);
    for (int i = 0; ok && i < 3; i++) {
        tensor_error err = {0};
        char expected[64];
        snprintf(expected, sizeof expected, "%s: rank 2 differs from rank 0", nn_params_name(params, i));
        ok = nn_params_same(params, world, &err);
        if (world->rank == 2) entries[i]->value.i32[1] ^= 1;
        ok = ok && !nn_params_same(params, world, &err) && strcmp(err.text, expected) == 0;
        if (world->rank == 2) entries[i]->value.i32[1] ^= 1;
    }
    nn_params_free(params);
    return !ok;
}

Test(world, a_turned_bit_is_named, .timeout = 60) {
    pid_t others[MOST];
    const nn_world world = start(4, turned, others);
    cr_assert_eq(turned(&world), 0);
    finish(&world, others, 0);
}
