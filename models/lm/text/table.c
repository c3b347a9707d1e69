/* Tables of strings of bytes. */
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

enum { FIRST_SLOTS = 1024, FIRST_STRINGS = 256, FIRST_BYTES = 4096 };

/* A larger copy; the old one stays in the arena. */
static bool grow(tensor_arena *arena, void *memory, size_t used, size_t size, tensor_error *err) {
    void *old, *new = tensor_arena_alloc(arena, size, err);
    if (!new) return false;
    memcpy(&old, memory, sizeof old);
    if (used) memcpy(new, old, used);
    memcpy(memory, &new, sizeof new);
    return true;
}

static lm_slot *free_slots(tensor_arena *arena, size_t count, tensor_error *err) {
    lm_slot *slots = tensor_arena_alloc(arena, count * sizeof *slots, err);
    for (size_t i = 0; slots && i < count; i++) slots[i].number = -1;
    return slots;
}

lm_table *lm_table_new(tensor_arena *arena, tensor_error *err) {
    lm_table *t = tensor_arena_alloc(arena, sizeof *t, err);
    if (!t) return NULL;
    *t =
        (lm_table){.arena = arena, .slot_count = FIRST_SLOTS, .room = FIRST_BYTES, .capacity = FIRST_STRINGS};
    t->slots = free_slots(arena, FIRST_SLOTS, err);
    t->bytes = tensor_arena_alloc(arena, FIRST_BYTES, err);
    t->ends = tensor_arena_alloc(arena, (FIRST_STRINGS + 1) * sizeof *t->ends, err);
    if (!t->slots || !t->bytes || !t->ends) return NULL;
    t->ends[0] = 0;
    return t;
}

/* The slot that holds the string, or the free one where it belongs. */
static size_t slot_of(const lm_table *t, const void *bytes, size_t size, uint32_t hash) {
    size_t mask = t->slot_count - 1, i = hash & mask;
    for (; t->slots[i].number >= 0; i = (i + 1) & mask) {
        if (t->slots[i].hash != hash) continue;
        lm_piece piece = lm_table_at(t, t->slots[i].number);
        if (piece.size == size && memcmp(piece.bytes, bytes, size) == 0) break;
    }
    return i;
}

static uint32_t hash_of(const void *bytes, size_t size) {
    uint64_t hash = lm_hash(LM_HASH_BEGIN, bytes, size);
    return (uint32_t)(hash >> 32) ^ (uint32_t)hash;
}

int32_t lm_table_find(const lm_table *t, const void *bytes, size_t size) {
    return t->slots[slot_of(t, bytes, size, hash_of(bytes, size))].number;
}

static bool more_slots(lm_table *t, tensor_error *err) {
    size_t count = 2 * t->slot_count, mask = count - 1;
    lm_slot *slots = free_slots(t->arena, count, err);
    if (!slots) return false;
    for (size_t k = 0; k < t->slot_count; k++) {
        if (t->slots[k].number < 0) continue;
        size_t i = t->slots[k].hash & mask;
        while (slots[i].number >= 0) i = (i + 1) & mask;
        slots[i] = t->slots[k];
    }
    t->slots = slots;
    t->slot_count = count;
    return true;
}

static bool make_room(lm_table *t, size_t size, tensor_error *err) {
    size_t used = t->ends[t->count];
    if (t->room - used < size) {
        size_t room = 2 * t->room < used + size ? used + size : 2 * t->room;
        if (!grow(t->arena, &t->bytes, used, room, err)) return false;
        t->room = room;
    }
    if (t->count == t->capacity) {
        if (t->count > INT32_MAX / 2) return tensor_fail(err, "too many different strings");
        size_t count = (size_t)t->count;
        if (!grow(t->arena, &t->ends, (count + 1) * sizeof *t->ends, (2 * count + 1) * sizeof *t->ends, err))
            return false;
        t->capacity *= 2;
    }
    return 2 * ((size_t)t->count + 1) <= t->slot_count || more_slots(t, err);
}

int32_t lm_table_append(lm_table *t, const void *bytes, size_t size, tensor_error *err) {
    if (!make_room(t, size, err)) return -1;
    if (size > 0) memcpy(t->bytes + t->ends[t->count], bytes, size);
    t->ends[t->count + 1] = t->ends[t->count] + size;
    return t->count++;
}

int32_t lm_table_add(lm_table *t, const void *bytes, size_t size, tensor_error *err) {
    const uint32_t hash = hash_of(bytes, size);
    const size_t slot = slot_of(t, bytes, size, hash);
    if (t->slots[slot].number >= 0) return t->slots[slot].number;
    const int32_t number = lm_table_append(t, bytes, size, err);
    if (number >= 0) t->slots[slot_of(t, bytes, size, hash)] = (lm_slot){hash, number};
    return number;
}
