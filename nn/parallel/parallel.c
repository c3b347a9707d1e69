/* Data-parallel training: shards of a batch on threads and ranks, each with gradients of its own, which are added in a tree. */
#include "nn/parallel/gradient_tree.h"
#include "nn/params/params.h"

enum {
    SHARDS = 16,            /* of a batch, unless told otherwise */
    MAX_LANES = 16,         /* shards that are computed at once */
    LANES_BYTES = 64 << 20, /* their gradients together; a larger model gets fewer lanes */
    FEW_LANES = 4,          /* fewer do not pay: shards come one by one, and operations run parallel inside */
    ADD_NUMBERS = 8192 /* of each lane, that are added at once: together they fit the second-level cache */
};

/* A thread's tape, and the largest shard it has held: without and with recording. */
typedef struct worker {
    ag_tape *tape;
    int64_t rows[2];
} worker;

/* An array of gradients, and its part of each parameter, [trained]. */
typedef struct gradients {
    tensor all; /* as params->flat: what is left for buffers behind the gradients */
    const tensor *parts;
} gradients;

struct nn_parallel {
    nn_params *params;
    const nn_world *world; /* NULL: one process */
    int64_t grain;         /* rows of a shard at least */
    int64_t shards;        /* of a batch; 0: as it is best */
    tensor_precision precision;
    tensor_arena *arena; /* owns this struct and gradients */
    /* Allocated when they are needed first. sums[0] is the registry's. */
    gradients lanes[MAX_LANES], sums[NN_MAX_NODES];
    tensor incoming; /* other ranks' sums, in part */
    worker workers[TENSOR_MAX_THREADS];
    double *means; /* the losses of a batch's shards, each by its part of the rows; room for so many: */
    int64_t means_room;
};

/* One call: what to do, and what comes out. */
typedef struct batch {
    nn_parallel *parallel;
    nn_loss *loss;
    void *context;
    int64_t rows, shards, lanes;
    int threads;
    bool backward;
    int64_t first; /* the shard in lane 0 */
    tensor_error errors[MAX_LANES];
    nn_node nodes[NN_MAX_NODES]; /* sums of this rank's shards so far, from left to right */
    int count;
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
    int64_t lanes = MAX_LANES;
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

static const gradients *memory_of(nn_parallel *parallel, gradients *g, tensor_error *err) {
    const nn_params *params = parallel->params;
    if (tensor_ok(g->all)) return g;
    if (g == &parallel->sums[0]) {
        *g = (gradients){params->flat, params->gradients};
        return g;
    }
    const tensor all = tensor_new(parallel->arena, TENSOR_F32, 1, params->flat.shape, err);
    tensor *parts = tensor_arena_alloc(parallel->arena, (size_t)params->trained * sizeof *parts, err);
    if (!tensor_ok(all) || !parts) return NULL;
    nn_params_parts(params, all, parts);
    *g = (gradients){all, parts};
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

/* ---- One shard ---------------------------------------------------------------------------------- */

static int64_t first_row(const batch *b, int64_t shard) {
    return b->rows * shard / b->shards;
}

/* The mean loss of a shard's rows, weighted by their part of the batch, and its gradient. */
static bool run_shard(batch *b, int64_t shard, worker *w, const gradients *to, double *mean,
                      tensor_error *err) {
    const nn_params *params = b->parallel->params;
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
                                                    params->parameters, to->parts, false)))
        return tensor_fail(err, "%s", ag_ok(w->tape) ? "the loss function returned NULL" : ag_error(w->tape));
    if (b->backward) nn_buffers_gather(params, w->tape, weight, to->all);
    *mean = weight * (double)loss->value.f32[0];
    if (w->rows[b->backward] < end - begin) w->rows[b->backward] = end - begin;
    return true;
}

static void run_lanes(void *context, int64_t begin, int64_t end, int number) {
    batch *b = context;
    nn_parallel *parallel = b->parallel;
    for (int64_t lane = begin; lane < end; lane++)
        run_shard(b, b->first + lane, &parallel->workers[number], &parallel->lanes[lane],
                  &parallel->means[b->first + lane], &b->errors[lane]);
}

static bool is_cold(const batch *b, const worker *w) {
    return w->rows[b->backward] < b->rows - first_row(b, b->shards - 1);
}

/* Chance decides which thread gets which shards: one may get none, or only smaller ones, and its tape would grow
 * in a later step. So every such tape runs the last shard, which is a largest one, for its memory's sake; the
 * results are dropped. Index i serves the tapes i, i + lanes, ... with lane i. */
static void warm_tapes(void *context, int64_t begin, int64_t end, int number) {
    batch *b = context;
    nn_parallel *parallel = b->parallel;
    (void)number;
    double dropped;
    for (int64_t lane = begin; lane < end; lane++)
        for (int64_t i = lane; i < b->threads; i += b->lanes)
            if (is_cold(b, &parallel->workers[i]))
                run_shard(b, b->shards - 1, &parallel->workers[i], &parallel->lanes[lane], &dropped,
                          &b->errors[lane]);
}

/* ---- Adding -------------------------------------------------------------------------------------- */

/* out = the sum of `count` arrays, which are overwritten, in the tree's order. */
typedef struct addition {
    const gradients *lanes;
    int64_t count;
    tensor out;
} addition;

static tensor part_of(tensor all, int64_t begin, int64_t end) {
    return tensor_slice(all, 0, begin, end, 1, NULL);
}

static void add_numbers(void *context, int64_t begin, int64_t end, int number) {
    const addition *a = context;
    (void)number;
    for (int64_t at = begin; at < end; at += ADD_NUMBERS) {
        const int64_t to = at + ADD_NUMBERS < end ? at + ADD_NUMBERS : end;
        for (int64_t step = 1; step < a->count; step *= 2)
            for (int64_t i = 0; i + step < a->count; i += 2 * step) {
                const tensor left = part_of(a->lanes[i].all, at, to);
                tensor_binary(2 * step < a->count ? left : part_of(a->out, at, to), TENSOR_ADD, left,
                              part_of(a->lanes[i + step].all, at, to), NULL);
            }
    }
}

static void add_lanes(const gradients *lanes, int64_t count, tensor out) {
    addition a = {lanes, count, out};
    if (count == 1)
        tensor_copy(out, lanes->all, NULL);
    else
        tensor_parallel(out.shape[0], ADD_NUMBERS, add_numbers, &a);
}

static bool add_sum(nn_parallel *parallel, int to, const gradients *from) {
    const tensor sum = parallel->sums[to].all;
    return tensor_binary(sum, TENSOR_ADD, sum, from->all, NULL);
}

/* The node is the next of this rank; its sum is in the buffer of that place. */
static void add_node(batch *b, nn_node node) {
    nn_node to, from;
    b->nodes[b->count++] = node;
    while (nn_tree_merge(b->nodes, &b->count, b->shards, &to, &from))
        add_sum(b->parallel, to.place, &b->parallel->sums[from.place]);
}

/* ---- The shards of a rank ------------------------------------------------------------------------- */

static int rank_of(const batch *b) {
    return b->parallel->world ? b->parallel->world->rank : 0;
}

/* Shards begin..end-1 at once; where it is only one, operations run parallel inside. */
static bool run_group(batch *b, int64_t begin, int64_t end, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    const bool one = end - begin == 1;
    const int64_t count = end - begin;
    gradients *to = one ? &parallel->sums[b->count] : parallel->lanes;
    for (int64_t i = 0; b->backward && i < (one ? 1 : b->lanes); i++)
        if (!memory_of(parallel, to + i, err)) return false;
    if (one) {
        if (!run_shard(b, begin, &parallel->workers[0], to, &parallel->means[begin], err)) return false;
        if (b->backward) add_node(b, (nn_node){.index = begin, .owner = rank_of(b), .place = b->count});
        return true;
    }
    b->first = begin;
    tensor_parallel(count, 1, run_lanes, b);
    for (int64_t i = 0; i < count; i++)
        if (b->errors[i].text[0]) return tensor_fail(err, "%s", b->errors[i].text);
    for (int64_t at = begin; b->backward && at < end;) {
        nn_node node = nn_tree_node(b->shards, at, end, NN_MAX_LEVEL);
        node.owner = rank_of(b), node.place = b->count;
        const gradients *sum = memory_of(parallel, &parallel->sums[node.place], err);
        if (!sum) return false;
        add_lanes(parallel->lanes + (at - begin), nn_node_end(node, b->shards) - at, sum->all);
        at = nn_node_end(node, b->shards);
        add_node(b, node);
    }
    return true;
}

static bool run_own(batch *b, tensor_error *err) {
    const nn_world *world = b->parallel->world;
    int64_t begin, end;
    nn_tree_range(b->shards, rank_of(b), world ? world->size : 1, &begin, &end);
    for (int64_t at = begin; at < end; at += b->lanes)
        if (!run_group(b, at, at + b->lanes < end ? at + b->lanes : end, err)) return false;
    bool cold = false;
    for (int i = 0; i < b->threads; i++) cold |= is_cold(b, &b->parallel->workers[i]);
    if (cold && b->lanes > 1 && end - begin > 1) tensor_parallel(b->lanes, 1, warm_tapes, b);
    return true;
}

/* ---- Ranks ---------------------------------------------------------------------------------------- */

/* Every rank gets the losses of all shards, or the first rank's failure. */
static bool share_means(batch *b, tensor_error *failure, tensor_error *err) {
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

/* The nodes of all ranks become the root, which every rank gets. */
static bool join_ranks(batch *b, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    const nn_world *world = parallel->world;
    const tensor flat = parallel->params->flat;
    tensor sums[NN_MAX_NODES];
    const int64_t room = nn_join_room(world, b->shards, flat.shape[0]);
    if (!tensor_ok(parallel->incoming) || tensor_size(parallel->incoming) < room)
        parallel->incoming = tensor_new(parallel->arena, TENSOR_F32, TENSOR_SHAPE(room), err);
    if (!tensor_ok(parallel->incoming)) return false;
    for (int i = 0; i < b->count; i++) sums[i] = parallel->sums[b->nodes[i].place].all;
    return nn_join(world, b->shards, sums, flat, parallel->incoming, err);
}

/* ---- The batch ---------------------------------------------------------------------------------- */

static bool run(batch *b, double *mean, tensor_error *err) {
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
    const bool ok = run_own(b, &failure);
    if (!parallel->world) {
        if (!ok) return tensor_fail(err, "%s", failure.text);
    } else if (!share_means(b, &failure, err) || (b->backward && !join_ranks(b, err))) {
        return false;
    }
    if (b->backward) nn_buffers_take(parallel->params, parallel->params->flat);
    *mean = 0;
    for (int64_t shard = 0; shard < b->shards; shard++) *mean += parallel->means[shard];
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
