/* The memory of values and gradients. What backward has no more use for is used again: free memory lies in lists by size
 * class, eight classes from each power of two to the next, is split where it is too large, and grows together again with
 * free neighbours (Masmano et al. 2004, TLSF). */
#include "autograd/autograd_internal.h"

#include <string.h>

enum {
    UNIT = 64,   /* sizes are multiples of it, and so is the header */
    STEPS = 8,   /* classes from a power of two to the next */
    SPLIT = 1024 /* bytes that are worth a block of their own */
};
_Static_assert(sizeof(ag_buffer) <= UNIT, "the header of a buffer is one unit");

/* The class that a size belongs to. */
static int class_of(size_t bytes) {
    const unsigned long long units = bytes / UNIT;
    if (units < STEPS) return (int)units;
    const int power = 63 - __builtin_clzll(units); /* at least 3 */
    return (power - 2) * STEPS + (int)(units >> (power - 3) & (STEPS - 1));
}

static ag_buffer *above(const ag_buffer *b) {
    return b->last ? NULL : (ag_buffer *)((char *)b->storage.data + b->storage.bytes);
}

static void put(ag_tape *tape, ag_buffer *b) {
    tape->free_count++;
    const int class = class_of(b->storage.bytes);
    ag_buffer **list = &tape->free[class];
    b->free = true;
    b->previous = NULL;
    b->next = *list;
    if (*list) (*list)->previous = b;
    *list = b;
    tape->free_classes[class / 64] |= 1ull << class % 64;
}

static void take(ag_tape *tape, ag_buffer *b) {
    tape->free_count--;
    const int class = class_of(b->storage.bytes);
    if (b->previous)
        b->previous->next = b->next;
    else
        tape->free[class] = b->next;
    if (b->next) b->next->previous = b->previous;
    if (!tape->free[class]) tape->free_classes[class / 64] &= ~(1ull << class % 64);
    b->free = false;
}

/* A free block of at least `bytes`; NULL: none. Of its own class only the first is looked at. */
static ag_buffer *find(const ag_tape *tape, size_t bytes) {
    if (tape->free_count == 0) return NULL;
    const int class = class_of(bytes);
    if (tape->free[class] && tape->free[class]->storage.bytes >= bytes) return tape->free[class];
    for (int from = class + 1, word = from / 64; word < AG_FREE_CLASSES / 64; word++) {
        const uint64_t some = tape->free_classes[word] & (word == from / 64 ? ~0ull << from % 64 : ~0ull);
        if (some) return tape->free[word * 64 + __builtin_ctzll(some)];
    }
    return NULL;
}

/* Gives back what b has beyond `bytes`. */
static void split(ag_tape *tape, ag_buffer *b, size_t bytes) {
    if (b->storage.bytes - bytes < UNIT + SPLIT) return;
    ag_buffer *rest = (ag_buffer *)((char *)b->storage.data + bytes), *after = above(b);
    *rest = (ag_buffer){.storage = {.data = (char *)rest + UNIT, .bytes = b->storage.bytes - bytes - UNIT},
                        .below = b,
                        .last = b->last};
    if (after) after->below = rest;
    b->storage.bytes = bytes;
    b->last = false;
    if (tape->newest == b) tape->newest = rest;
    put(tape, rest);
}

/* Fresh memory from the arena, linked to the block below it where that is its neighbour. */
static ag_buffer *grow(ag_tape *tape, size_t bytes) {
    char *memory = tensor_arena_alloc(tape->buffers, UNIT + bytes, &tape->error);
    if (!memory) return NULL;
    ag_buffer *b = (ag_buffer *)memory, *newest = tape->newest;
    *b = (ag_buffer){.storage = {.data = memory + UNIT, .bytes = bytes}, .last = true};
    if (newest && (char *)newest->storage.data + newest->storage.bytes == memory) {
        b->below = newest;
        newest->last = false;
    }
    tape->newest = b;
    tape->used += UNIT + bytes;
    return b;
}

ag_buffer *ag_buffer_new(ag_tape *tape, size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2) {
        tensor_fail(&tape->error, "out of memory: %zu bytes", bytes);
        return NULL;
    }
    bytes = bytes ? (bytes + UNIT - 1) / UNIT * UNIT : UNIT;
    ag_buffer *b = find(tape, bytes);
    if (b) {
        take(tape, b);
        split(tape, b, bytes);
        b->storage.version++; /* what the old content was computed from is gone */
    } else if (!(b = grow(tape, bytes))) {
        return NULL;
    }
    b->users = 0;
    b->taken = 0;
    b->recyclable = tape->phase == AG_GRADIENTS;
    if (b->recyclable) {
        b->next = tape->temporaries;
        tape->temporaries = b;
    } else if (tape->scratch.on) {
        b->next = tape->scratch.list;
        tape->scratch.list = b;
    }
    b->temporary = b->recyclable;
    return b;
}

static void give_back(ag_tape *tape, ag_buffer *b) {
    ag_buffer *neighbour = above(b);
    if (neighbour && neighbour->free) {
        take(tape, neighbour);
        b->storage.bytes += UNIT + neighbour->storage.bytes;
        b->last = neighbour->last;
        if (tape->newest == neighbour) tape->newest = b;
        neighbour = above(b);
        if (neighbour) neighbour->below = b;
    }
    neighbour = b->below;
    if (neighbour && neighbour->free) {
        take(tape, neighbour);
        neighbour->storage.bytes += UNIT + b->storage.bytes;
        neighbour->last = b->last;
        if (tape->newest == b) tape->newest = neighbour;
        b = neighbour;
        neighbour = above(b);
        if (neighbour) neighbour->below = b;
    }
    put(tape, b);
}

void ag_hold(ag_var *g) {
    if (g->buffer) g->buffer->users++;
}

void ag_release(ag_var *g) {
    ag_buffer *b = g->buffer;
    if (b && --b->users == 0 && b->recyclable && !b->temporary) give_back(g->tape, b);
}

void ag_end_temporaries(ag_tape *tape) {
    for (ag_buffer *b = tape->temporaries, *next; b; b = next) {
        next = b->next;
        b->temporary = false;
        if (b->users == 0) give_back(tape, b);
    }
    tape->temporaries = NULL;
}

ag_scratch ag_scratch_begin(ag_tape *tape) {
    const ag_scratch outer = tape->scratch;
    tape->scratch = (ag_scratch){.on = true};
    return outer;
}

void ag_scratch_end(ag_tape *tape, ag_scratch outer, const ag_buffer *keep) {
    for (ag_buffer *b = tape->scratch.list, *next; b; b = next) {
        next = b->next;
        if (b != keep) {
            give_back(tape, b);
        } else if (outer.on) {
            b->next = outer.list;
            outer.list = b;
        }
    }
    tape->scratch = outer;
}

void ag_reset_memory(ag_tape *tape) {
    tensor_arena_reset(tape->buffers);
    for (int word = 0; tape->free_count > 0 && word < AG_FREE_CLASSES / 64; word++)
        for (; tape->free_classes[word]; tape->free_classes[word] &= tape->free_classes[word] - 1)
            tape->free[word * 64 + __builtin_ctzll(tape->free_classes[word])] = NULL;
    tape->temporaries = tape->newest = NULL;
    tape->used = tape->free_count = 0;
    tape->scratch = (ag_scratch){0};
}
