/* Data-parallel training: shards of a batch on threads and ranks, each with gradients of its own, which are added in a
 * tree. */
#include "nn/parallel/call.h"
#include "nn/params/params.h"

enum {
    SHARDS = 16,            /* of a batch, unless told otherwise */
    LANES_BYTES = 64 << 20, /* gradients of all lanes together; a larger model gets fewer lanes */
    FEW_LANES = 4           /* fewer do not pay: shards come one by one, and operations run parallel inside */
};

nn_parallel *nn_parallel_new(nn_params *params) {
    tensor_arena *arena = params ? tensor_arena_new(NULL) : NULL;
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

void nn_parallel_set_shards(nn_parallel *parallel, int64_t shards) {
    if (parallel) parallel->shards = shards < 0 ? 0 : shards > NN_MAX_SHARDS ? NN_MAX_SHARDS : shards;
}

void nn_parallel_set_world(nn_parallel *parallel, const nn_world *world) {
    if (parallel) parallel->world = world && world->size > 1 ? world : NULL;
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

/* ---- Sizes: functions of the batch and the model, never of the machine ----------------------------- */

static int64_t lanes_of(const nn_parallel *parallel) {
    const int64_t count = nn_params_count(parallel->params);
    int64_t lanes = NN_MAX_LANES;
    while (lanes > 1 && lanes * count > LANES_BYTES / (int64_t)sizeof(float)) lanes /= 2;
    return lanes < FEW_LANES ? 1 : lanes;
}

int64_t nn_parallel_shards(const nn_parallel *parallel, int64_t rows) {
    int64_t shards = parallel->shards, most = rows;
    if (shards == 0) {
        shards = lanes_of(parallel) == 1 ? 1 : SHARDS;
        most = rows / parallel->grain;
    }
    if (shards > most) shards = most;
    return shards < 1 ? 1 : shards;
}

int64_t nn_parallel_lanes(const nn_parallel *parallel, int64_t shards) {
    const int64_t lanes = lanes_of(parallel);
    return shards < lanes ? shards : lanes;
}

/* ---- Memory of gradients ------------------------------------------------------------------------- */

const nn_gradients *nn_gradients_memory(nn_parallel *parallel, nn_gradients *g, tensor_error *err) {
    const nn_params *params = parallel->params;
    if (tensor_ok(g->all)) return g;
    if (g == &parallel->sums[0]) {
        *g = (nn_gradients){params->flat, params->gradients};
        return g;
    }
    const tensor all = tensor_new(parallel->arena, TENSOR_F32, 1, params->flat.shape, err);
    tensor *parts = tensor_arena_alloc(parallel->arena, (size_t)params->trained * sizeof *parts, err);
    if (!tensor_ok(all) || !parts) return NULL;
    nn_params_parts(params, all, parts);
    *g = (nn_gradients){all, parts};
    return g;
}

static bool make_means(nn_parallel *parallel, int64_t shards, tensor_error *err) {
    if (shards <= parallel->means_room) return true;
    double *means = tensor_arena_alloc(parallel->arena, (size_t)shards * sizeof *means, err);
    if (!means) return false;
    parallel->means = means;
    parallel->means_room = shards;
    return true;
}

/* Memory for shards begin..end-1, and for the nodes that they become. */
static bool reserve(nn_call *b, int64_t begin, int64_t end, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    for (int64_t i = 0; end - begin > 1 && i < b->lanes; i++)
        if (!nn_gradients_memory(parallel, &parallel->lanes[i], err)) return false;
    for (int place = b->count; begin < end; place++) {
        if (!nn_gradients_memory(parallel, &parallel->sums[place], err)) return false;
        begin = nn_node_end(nn_tree_node(b->shards, begin, end, NN_MAX_LEVEL), b->shards);
    }
    return true;
}

/* ---- Ranks ---------------------------------------------------------------------------------------- */

/* Every rank gets the losses of all shards, or the first rank's failure. */
static bool share_means(nn_call *b, tensor_error *failure, tensor_error *err) {
    const nn_world *world = b->parallel->world;
    double *means = b->parallel->means;
    int64_t begin, end;
    for (int rank = 1; rank < world->size; rank++) {
        nn_tree_range(b->shards, rank, world->size, &begin, &end);
        const size_t bytes = (size_t)(end - begin) * sizeof *means;
        tensor_error theirs;
        if (world->rank == rank) {
            if (!world->send(world->context, 0, failure, sizeof *failure, err) ||
                !world->send(world->context, 0, means + begin, bytes, err))
                return false;
        } else if (world->rank == 0) {
            if (!world->receive(world->context, rank, &theirs, sizeof theirs, err) ||
                !world->receive(world->context, rank, means + begin, bytes, err))
                return false;
            if (theirs.text[0] && !failure->text[0]) tensor_fail(failure, "rank %d: %s", rank, theirs.text);
        }
    }
    if (!nn_world_broadcast(world, failure, sizeof *failure, err) ||
        !nn_world_broadcast(world, means, (size_t)b->shards * sizeof *means, err))
        return false;
    return !failure->text[0] || tensor_fail(err, "%s", failure->text);
}

/* ---- The batch ---------------------------------------------------------------------------------- */

static bool run_groups(nn_call *b, int64_t begin, int64_t end, tensor_error *failure) {
    for (int64_t to; begin < end; begin = to) {
        to = begin + b->lanes < end ? begin + b->lanes : end;
        if (b->backward && !reserve(b, begin, to, failure)) return false;
        if (!nn_run_shards(b, begin, to, failure)) return false;
        if (b->backward)
            nn_add_shards(b, begin, to, 0, b->parallel->params->flat.shape[0], b->nodes, &b->count);
    }
    return true;
}

/* This rank's shards, in groups as large as there are lanes. Where gradients are to be joined with other ranks', what
 * is final travels while the last group is computed. */
static bool run_own(nn_call *b, tensor_error *failure, tensor_error *err) {
    const nn_world *world = b->parallel->world;
    int64_t begin, end;
    nn_tree_range(b->shards, nn_rank_of(b), world ? world->size : 1, &begin, &end);
    const bool joins = world && b->backward;
    const int64_t groups = (end - begin + b->lanes - 1) / b->lanes,
                  last = joins && groups > 0 ? begin + (groups - 1) * b->lanes : end;
    if (run_groups(b, begin, last, failure) && joins) reserve(b, last, end, failure);
    if (joins && !nn_run_and_join(b, last, end, failure, err)) return false;
    if (!failure->text[0] && end - begin > 1) nn_warm_tapes(b);
    return true;
}

static bool run(nn_call *b, double *mean, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    if (!parallel) return tensor_fail(err, "out of memory");
    if (!tensor_ok(parallel->params->values)) return tensor_fail(err, "the parameters are not finalized");
    if (b->rows < 1 || b->rows > INT64_MAX >> NN_MAX_LEVEL)
        return tensor_fail(err, "a batch of %lld rows", (long long)b->rows);
    b->shards = nn_parallel_shards(parallel, b->rows);
    if (!make_means(parallel, b->shards, err)) return false;
    b->lanes = nn_parallel_lanes(parallel, b->shards);
    b->threads = tensor_threads();
    tensor_error failure = {0};
    if (parallel->world && b->backward && !nn_prepare_join(parallel, b->shards, err)) return false;
    if (!run_own(b, &failure, err) || (parallel->world && !share_means(b, &failure, err))) return false;
    if (failure.text[0]) return tensor_fail(err, "%s", failure.text);
    if (b->backward) nn_buffers_take(parallel->params, parallel->params->flat);
    *mean = 0;
    for (int64_t shard = 0; shard < b->shards; shard++) *mean += parallel->means[shard];
    return true;
}

bool nn_parallel_backward(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                          tensor_error *err) {
    nn_call b = {.parallel = parallel, .loss = loss, .context = context, .rows = rows, .backward = true};
    if (parallel) parallel->params->has_grads = true;
    return run(&b, mean, err);
}

bool nn_parallel_loss(nn_parallel *parallel, int64_t rows, nn_loss *loss, void *context, double *mean,
                      tensor_error *err) {
    nn_call b = {.parallel = parallel, .loss = loss, .context = context, .rows = rows};
    return run(&b, mean, err);
}
