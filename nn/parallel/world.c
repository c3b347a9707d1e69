/* What ranks agree on, by messages between two of them. */
#include "nn/params/params.h"

#include <string.h>

static bool alone(const nn_world *world) {
    return !world || world->size <= 1;
}

void nn_world_close(nn_world *world, bool failed) {
    if (world->close) world->close(world->context, failed);
    *world = (nn_world){.size = 1};
}

/* A binomial tree: in each turn, every rank that has the bytes sends them to one that has not. */
bool nn_world_broadcast(const nn_world *world, void *data, size_t bytes, tensor_error *err) {
    if (alone(world) || bytes == 0) return true;
    for (int have = 1; have < world->size; have *= 2) {
        const int rank = world->rank;
        if (rank < have && rank + have < world->size) {
            if (!world->send(world->context, rank + have, data, bytes, err)) return false;
        } else if (rank >= have && rank < 2 * have) {
            if (!world->receive(world->context, rank - have, data, bytes, err)) return false;
        }
    }
    return true;
}

/* One after the other: whoever has a greater receiver sends first, so that on each circle of ranks both ways are taken. */
bool nn_world_exchange(const nn_world *world, int step, const void *out, size_t out_bytes, void *in,
                       size_t in_bytes, tensor_error *err) {
    if (alone(world)) return true;
    void *context = world->context;
    const int size = world->size, ahead = (step % size + size) % size, to = (world->rank + ahead) % size,
              from = (world->rank + size - ahead) % size;
    if (world->exchange) return world->exchange(context, to, out, out_bytes, from, in, in_bytes, err);
    const bool first = world->rank < to;
    return (!first || out_bytes == 0 || world->send(context, to, out, out_bytes, err)) &&
           (in_bytes == 0 || world->receive(context, from, in, in_bytes, err)) &&
           (first || out_bytes == 0 || world->send(context, to, out, out_bytes, err));
}

bool nn_world_max(const nn_world *world, int64_t *values, int count, tensor_error *err) {
    enum { MOST = 8 };
    int64_t other[MOST];
    if (alone(world)) return true;
    if (count < 0 || count > MOST) return tensor_fail(err, "nn_world_max of %d values", count);
    const size_t bytes = (size_t)count * sizeof *values;
    if (world->rank > 0 && !world->send(world->context, 0, values, bytes, err)) return false;
    for (int from = 1; world->rank == 0 && from < world->size; from++) {
        if (!world->receive(world->context, from, other, bytes, err)) return false;
        for (int i = 0; i < count; i++)
            if (other[i] > values[i]) values[i] = other[i];
    }
    return nn_world_broadcast(world, values, bytes, err);
}

/* 64 bits of all bytes, after those that `hash` is of (FNV-1a). */
static const uint64_t no_bytes = 0xcbf29ce484222325u;
static uint64_t digest(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

static bool same_digest(const nn_world *world, const char *what, size_t bytes, uint64_t hash,
                        tensor_error *err) {
    const uint64_t own[2] = {bytes, hash};
    uint64_t first[2] = {own[0], own[1]};
    if (!nn_world_broadcast(world, first, sizeof first, err)) return false;
    int64_t different = memcmp(own, first, sizeof own) != 0 ? world->size - world->rank : 0;
    if (!nn_world_max(world, &different, 1, err)) return false;
    if (different == 0) return true;
    return tensor_fail(err, "%s: rank %d differs from rank 0", what, world->size - (int)different);
}

bool nn_world_same(const nn_world *world, const char *what, const void *data, size_t bytes,
                   tensor_error *err) {
    return alone(world) || same_digest(world, what, bytes, digest(no_bytes, data, bytes), err);
}

/* What an entry holds of its own; nothing where it stands for another. */
static const void *held_by(const nn_registered *entry, size_t *bytes) {
    const tensor value = entry->parameter->value;
    *bytes = entry->alias          ? 0
             : entry->compact.data ? (size_t)tensor_compact_bytes(&entry->compact)
                                   : (size_t)tensor_size(value) * sizeof(float);
    return entry->compact.data ? entry->compact.data : value.data;
}

bool nn_params_same(const nn_params *params, const nn_world *world, tensor_error *err) {
    if (alone(world) || !tensor_ok(nn_values(params))) return true;
    tensor_error fault = {0};
    uint64_t hash = no_bytes;
    size_t bytes, all = 0;
    for (int i = 0; i < params->count; i++) {
        const void *held = held_by(&params->entries[i], &bytes);
        hash = digest(hash, held, bytes);
        all += bytes;
    }
    if (same_digest(world, "the weights", all, hash, &fault)) return true;
    for (int i = 0; i < params->count; i++) { /* a rank that is gone fails at the first one */
        const void *held = held_by(&params->entries[i], &bytes);
        if (!nn_world_same(world, params->entries[i].name, held, bytes, err)) return false;
    }
    return tensor_fail(err, "%s", fault.text);
}
