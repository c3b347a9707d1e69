/* What the tokenizers' files share. */
#ifndef SAMPO_LM_TOKENIZER_INTERNAL_H
#define SAMPO_LM_TOKENIZER_INTERNAL_H

#include "models/lm/lm.h"

/* ---- Tables ------------------------------------------------------------------------------- *
 * Strings of bytes, numbered 0, 1, ... in the order they came; on an arena, as a hash table with open addressing.
 * What belongs to a string lies in the caller's arrays, at its number. */
typedef struct lm_slot {
    uint32_t hash;
    int32_t number; /* -1: free */
} lm_slot;

struct lm_table {
    tensor_arena *arena;
    lm_slot *slots;
    size_t slot_count; /* a power of two, at least twice `count` */
    char *bytes;       /* of all strings, one behind the other */
    size_t *ends;      /* string i is bytes[ends[i]] to bytes[ends[i + 1] - 1] */
    size_t room;       /* in bytes */
    int32_t count, capacity;
};
typedef struct lm_table lm_table;

lm_table *lm_table_new(tensor_arena *arena, tensor_error *err);
int32_t lm_table_find(const lm_table *table, const void *bytes, size_t size); /* -1: not there */
/* The string's number, a new one where it was not there; -1: memory is out. */
int32_t lm_table_add(lm_table *table, const void *bytes, size_t size, tensor_error *err);
static inline lm_piece lm_table_at(const lm_table *table, int32_t number) {
    const size_t *ends = table->ends + number;
    return (lm_piece){table->bytes + ends[0], ends[1] - ends[0]};
}

/* ---- Encoding ----------------------------------------------------------------------------- */

/* Tokens on their way to a sink, in runs. */
typedef struct lm_outlet {
    lm_token_sink sink;
    void *context;
    int64_t count;
    int32_t ids[4096];
} lm_outlet;
bool lm_outlet_flush(lm_outlet *outlet, tensor_error *err);
static inline bool lm_outlet_put(lm_outlet *outlet, int32_t id, tensor_error *err) {
    const int64_t room = (int64_t)(sizeof outlet->ids / sizeof outlet->ids[0]);
    outlet->ids[outlet->count++] = id;
    return outlet->count < room || lm_outlet_flush(outlet, err);
}

#endif
