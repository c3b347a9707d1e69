/* What a rank does together with others: its last shards, during which the gradients that are final travel. */
#include <string.h>

#include "nn/parallel/call.h"
#include "nn/params/params.h"

enum { BUCKET_BYTES = 4 << 20 }; /* less does not pay for a thread and more messages */

/* ---- Buckets ------------------------------------------------------------------------------------------ */

/* Whole parameters, whatever their order in backward: one whose gradient is final late delays its bucket, and those
 * after it. */
static bool make_buckets(nn_parallel *parallel, tensor_error *err) {
    const nn_params *params = parallel->params;
    const int64_t all = params->flat.shape[0], equal = (all + NN_BUCKETS - 1) / NN_BUCKETS,
                  least = BUCKET_BYTES / (int64_t)sizeof(float), length = equal > least ? equal : least;
    parallel->bucket_of = tensor_arena_alloc(parallel->arena, (size_t)params->trained * sizeof(int) + 1, err);
    if (!parallel->bucket_of) return false;
    int64_t end = all;
    int bucket = 0;
    for (int i = params->trained - 1; i >= 0; i--) {
        const int64_t begin = params->gradients[i].f32 - params->flat.f32;
        parallel->bucket_of[i] = bucket;
        if (end - begin < length || begin < length) continue;
        parallel->bucket_begin[bucket++] = end = begin;
    }
    parallel->bucket_begin[bucket] = 0;
    parallel->buckets = bucket + 1;
    return true;
}

bool nn_prepare_join(nn_parallel *parallel, int64_t shards, tensor_error *err) {
    const int64_t room = nn_join_room(parallel->world, shards, parallel->params->flat.shape[0]);
    if (!tensor_ok(parallel->incoming) || tensor_size(parallel->incoming) < room)
        parallel->incoming = tensor_new(parallel->arena, TENSOR_F32, TENSOR_SHAPE(room), err);
    return tensor_ok(parallel->incoming) && (parallel->bucket_of || make_buckets(parallel, err));
}

/* ---- The last shards ------------------------------------------------------------------------------------ */

typedef struct delivery {
    const nn_call *batch;
    int64_t first, last; /* the shards under way */
    bool failed;         /* before them: whatever is sent, it will not be used */
} delivery;

static bool deliver(void *context, int bucket, tensor_error *err) {
    const delivery *d = context;
    const nn_call *b = d->batch;
    const nn_parallel *parallel = b->parallel;
    const tensor flat = parallel->params->flat;
    const int64_t begin = parallel->bucket_begin[bucket],
                  end = bucket > 0 ? parallel->bucket_begin[bucket - 1] : flat.shape[0];
    nn_node nodes[NN_MAX_NODES];
    tensor sums[NN_MAX_NODES];
    int count = b->count;
    memcpy(nodes, b->nodes, sizeof nodes);
    if (!d->failed) nn_add_shards(b, d->first, d->last, begin, end, nodes, &count);
    for (int i = 0; i < NN_MAX_NODES; i++)
        sums[i] = tensor_slice(!d->failed && i < count ? parallel->sums[nodes[i].place].all : flat, 0, begin,
                               end, 1, NULL);
    return nn_join(parallel->world, b->shards, sums, sums[NN_MAX_NODES - 1], parallel->incoming, err);
}

bool nn_run_and_join(nn_call *b, int64_t first, int64_t last, tensor_error *failure, tensor_error *err) {
    delivery d = {b, first, last, failure->text[0] != '\0'};
    nn_courier courier;
    nn_courier_start(&courier, b->parallel->buckets, d.failed ? 0 : (int)(last - first), deliver, &d);
    b->courier = &courier;
    if (!d.failed && first < last) nn_run_shards(b, first, last, failure);
    b->courier = NULL;
    return nn_courier_end(&courier, err);
}
