/* Data-parallel training: shards of a batch on threads, each with gradients of its own, which are added in order. */
#include "nn/nn_internal.h"

enum {
    MAX_SHARDS = 16,
    SHARD_BYTES = 64 << 20, /* gradients of all shards together; a larger model gets fewer shards */
    FEW_SHARDS = 4          /* fewer do not pay for their addition: operations then run parallel inside */
};

/* A thread's tape, and the largest shard it has held: without and with recording. */
typedef struct worker {
    ag_tape *tape;
    int64_t rows[2];
} worker;

struct nn_parallel {
    nn_params *params;
    int64_t grain; /* rows of a shard at least */
    tensor_precision precision;
    tensor_arena *arena; /* owns this struct and the shards' gradients */
    tensor grads;        /* [shards of the largest batch so far, count]; no tensor before the first */
    tensor *parts;       /* [shards, parameters]: of each parameter in grads */
    worker workers[TENSOR_MAX_THREADS];
};

/* One call: what to do, and what comes out, by shard. */
typedef struct batch {
    nn_parallel *parallel;
    nn_loss *loss;
    void *context;
    int64_t rows;
    int shards, threads;
    bool backward;
    double means[MAX_SHARDS];
    tensor_error errors[MAX_SHARDS];
} batch;

nn_parallel *nn_parallel_new(nn_params *params) {
    tensor_arena *arena = tensor_arena_new(NULL);
    nn_parallel *parallel = arena ? tensor_arena_alloc(arena, sizeof *parallel, NULL) : NULL;
    if (!parallel) {
        tensor_arena_free(arena);
        return NULL;
    }
    *parallel = (nn_parallel){.params = params, .grain = 1, .arena = arena};
    return parallel;
}

void nn_parallel_set_grain(nn_parallel *parallel, int64_t rows) {
    if (parallel) parallel->grain = rows < 1 ? 1 : rows;
}

void nn_parallel_set_precision(nn_parallel *parallel, tensor_precision precision) {
    if (parallel) parallel->precision = precision;
}

void nn_parallel_free(nn_parallel *parallel) {
    if (!parallel) return;
    for (int i = 0; i < TENSOR_MAX_THREADS; i++) ag_tape_free(parallel->workers[i].tape);
    tensor_arena_free(parallel->arena);
}

size_t nn_parallel_bytes(const nn_parallel *parallel) {
    if (!parallel) return 0;
    size_t bytes = tensor_arena_bytes(parallel->arena);
    for (int i = 0; i < TENSOR_MAX_THREADS; i++)
        if (parallel->workers[i].tape) bytes += ag_tape_bytes(parallel->workers[i].tape);
    return bytes;
}

/* ---- One shard ---------------------------------------------------------------------------------- */

static int64_t first_row(const batch *b, int shard) {
    return b->rows * shard / b->shards;
}

/* Where the gradients of a shard go, by parameter: a single shard's are those of the registry. */
static const tensor *parts_of(const batch *b, int shard) {
    const nn_params *params = b->parallel->params;
    return b->shards == 1 ? params->gradients : b->parallel->parts + (int64_t)shard * params->trained;
}

/* The mean loss of a shard's rows, weighted by their part of the batch, and its gradient, among those of shard `place`. */
static bool run_shard(batch *b, int shard, worker *w, int place) {
    const nn_params *params = b->parallel->params;
    tensor_error *err = &b->errors[place];
    if (!w->tape && !(w->tape = ag_tape_new())) return tensor_fail(err, "out of memory for a tape");
    int64_t begin = first_row(b, shard), end = first_row(b, shard + 1);
    double weight = (double)(end - begin) / (double)b->rows;
    ag_reset(w->tape);
    ag_set_recording(w->tape, b->backward);
    ag_set_precision(w->tape, b->backward ? b->parallel->precision : TENSOR_FLOAT32);
    ag_var *loss = b->loss(b->context, w->tape, begin, end);
    if (loss && (loss->value.dtype != TENSOR_F32 || tensor_size(loss->value) != 1))
        loss = ag_fail(w->tape, "the loss is not a float32 scalar");
    if (!loss || (b->backward && !ag_gradients_into(ag_affine(loss, (float)weight, 0), params->trained,
                                                    params->parameters, parts_of(b, place), false)))
        return tensor_fail(err, "%s", ag_ok(w->tape) ? "the loss function returned NULL" : ag_error(w->tape));
    b->means[place] = weight * (double)loss->value.f32[0];
    if (w->rows[b->backward] < end - begin) w->rows[b->backward] = end - begin;
    return true;
}

static void run_shards(void *context, int64_t begin, int64_t end, int number) {
    batch *b = context;
    for (int shard = (int)begin; shard < end; shard++)
        run_shard(b, shard, &b->parallel->workers[number], shard);
}

/* ---- Memory ------------------------------------------------------------------------------------- */

/* As many shards as rows, and the memory of their gradients, permit: not a function of the machine. */
int nn_parallel_shards(const nn_parallel *parallel, int64_t rows) {
    int64_t count = nn_params_count(parallel->params), fit = MAX_SHARDS;
    if (count > 0) fit = SHARD_BYTES / (int64_t)sizeof(float) / count;
    int64_t shards = rows / parallel->grain;
    if (shards > MAX_SHARDS) shards = MAX_SHARDS;
    if (shards > fit) shards = fit < FEW_SHARDS ? 1 : fit;
    return shards < 1 ? 1 : (int)shards;
}

static bool make_grads(nn_parallel *parallel, int shards, tensor_error *err) {
    const nn_params *params = parallel->params;
    if (shards == 1 || (tensor_ok(parallel->grads) && parallel->grads.shape[0] >= shards)) return true;
    tensor grads =
        tensor_new(parallel->arena, TENSOR_F32, TENSOR_SHAPE(shards, nn_params_count(params)), err);
    tensor *parts =
        tensor_arena_alloc(parallel->arena, (size_t)shards * (size_t)params->trained * sizeof *parts, err);
    if (!tensor_ok(grads) || !parts) return false;
    for (int i = 0; i < shards; i++)
        nn_params_parts(params, tensor_slice(grads, 0, i, i + 1, 1, err),
                        parts + (int64_t)i * params->trained);
    parallel->grads = grads;
    parallel->parts = parts;
    return true;
}

static bool is_cold(const batch *b, const worker *w) {
    return w->rows[b->backward] < b->rows - first_row(b, b->shards - 1);
}

/* Chance decides which thread gets which shards: one may get none, or only smaller ones, and its tape would grow
 * in a later step. So every such tape runs the last shard, which is a largest one, for its memory's sake; the
 * results are dropped. Index i serves the tapes i, i + shards, ... with the place of shard i. */
static void warm_tapes(void *context, int64_t begin, int64_t end, int number) {
    batch *b = context;
    (void)number;
    for (int place = (int)begin; place < end; place++)
        for (int i = place; i < b->threads; i += b->shards)
            if (is_cold(b, &b->parallel->workers[i]))
                run_shard(b, b->shards - 1, &b->parallel->workers[i], place);
}

/* ---- The batch ---------------------------------------------------------------------------------- */

static bool finish(const batch *b, double *mean, tensor_error *err) {
    double sum = 0;
    for (int shard = 0; shard < b->shards; shard++) {
        if (b->errors[shard].text[0]) return tensor_fail(err, "%s", b->errors[shard].text);
        sum += b->means[shard];
    }
    *mean = sum;
    return true;
}

static bool add_shards(const batch *b, tensor_error *err) {
    tensor shards = tensor_slice(b->parallel->grads, 0, 0, b->shards, 1, err);
    tensor grads = tensor_unsqueeze(b->parallel->params->grads, 0, err);
    return tensor_reduce(grads, TENSOR_SUM, shards, 1u << 0, false, err);
}

static bool run(batch *b, double *mean, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    if (!parallel) return tensor_fail(err, "out of memory");
    if (!tensor_ok(parallel->params->values)) return tensor_fail(err, "the parameters are not finalized");
    if (b->rows < 1 || b->rows > INT64_MAX / MAX_SHARDS)
        return tensor_fail(err, "a batch of %lld rows", (long long)b->rows);
    b->shards = nn_parallel_shards(parallel, b->rows);
    b->threads = tensor_threads();
    if (b->shards == 1) { /* outside tensor_parallel: operations run parallel inside */
        run_shard(b, 0, &parallel->workers[0], 0);
        return finish(b, mean, err);
    }
    if (b->backward && !make_grads(parallel, b->shards, err)) return false;
    tensor_parallel(b->shards, 1, run_shards, b);
    if (!finish(b, mean, err) || (b->backward && !add_shards(b, err))) return false;
    bool cold = false;
    for (int i = 0; i < b->threads; i++) cold |= is_cold(b, &parallel->workers[i]);
    if (cold) tensor_parallel(b->shards, 1, warm_tapes, b);
    return true;
}

bool nn_parallel_backward(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                          tensor_error *err) {
    batch b = {.parallel = parallel, .loss = loss, .context = context, .rows = rows, .backward = true};
    if (parallel) parallel->params->has_grads = true;
    return run(&b, mean, err);
}

bool nn_parallel_loss(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                      tensor_error *err) {
    batch b = {.parallel = parallel, .loss = loss, .context = context, .rows = rows};
    return run(&b, mean, err);
}
