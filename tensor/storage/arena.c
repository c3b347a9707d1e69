/* Arenas: memory in blocks that double, filled from the front and kept on reset. */
#define _DEFAULT_SOURCE /* madvise */
#include "sampo/tensor.h"

#include <stdlib.h>
#include <sys/mman.h>

/* For the fuzz targets AddressSanitizer is told which bytes have been handed out, and a gap stays behind them: it then
 * sees whoever leaves his own piece of a block, as with memory of malloc. */
#ifdef SAMPO_ARENA_GAPS
#include <sanitizer/asan_interface.h>
enum { GAP = 64 };
#else
enum { GAP = 0 };
#define ASAN_POISON_MEMORY_REGION(memory, size) (void)(memory)
#define ASAN_UNPOISON_MEMORY_REGION(memory, size) (void)(memory)
#endif

/* Blocks from LARGE_BLOCK on are whole huge pages: with ordinary ones, a training step spends a tenth of its time
 * on misses of the translation cache. */
enum { ALIGNMENT = 64, FIRST_BLOCK = 1 << 16, LARGE_BLOCK = 1 << 18, HUGE_PAGE = 2 << 20 };

/* The header at the front of a block's memory; the padding keeps what follows aligned. */
typedef struct block {
    _Alignas(ALIGNMENT) struct block *next;
    size_t bytes; /* of the block, header included */
} block;

struct tensor_arena {
    block *first, *current, *last;
    char *next;  /* the first free byte of the current block */
    size_t left; /* bytes from there to its end */
    size_t total;
};

static void enter(tensor_arena *arena, block *b) {
    arena->current = b;
    arena->next = b ? (char *)(b + 1) : NULL;
    arena->left = b ? b->bytes - sizeof(block) : 0;
    if (b) ASAN_POISON_MEMORY_REGION(arena->next, arena->left);
}

tensor_arena *tensor_arena_new(tensor_error *err) {
    tensor_arena *arena = calloc(1, sizeof *arena);
    if (!arena) tensor_fail(err, "out of memory: %zu bytes for an arena", sizeof *arena);
    return arena;
}

void tensor_arena_free(tensor_arena *arena) {
    if (!arena) return;
    for (block *b = arena->first; b;) {
        block *next = b->next;
        ASAN_UNPOISON_MEMORY_REGION(b, b->bytes);
        free(b);
        b = next;
    }
    free(arena);
}

void tensor_arena_reset(tensor_arena *arena) {
    if (!arena) return;
    for (block *b = GAP ? arena->first : NULL; b; b = b->next)
        ASAN_POISON_MEMORY_REGION(b + 1, b->bytes - sizeof *b);
    enter(arena, arena->first);
}

size_t tensor_arena_bytes(const tensor_arena *arena) {
    return arena ? arena->total : 0;
}

/* At least *size bytes; *size receives how many. */
static block *new_block(size_t *size) {
    if (*size < LARGE_BLOCK || GAP > 0) return aligned_alloc(ALIGNMENT, *size);
    *size = (*size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    block *b = aligned_alloc(HUGE_PAGE, *size);
#ifdef MADV_HUGEPAGE
    if (b) madvise(b, *size, MADV_HUGEPAGE);
#endif
    return b;
}

/* A new last block with room for `bytes`, at least twice as large as the one before. Where that much is
 * not to be had, as much as is needed. */
static bool grow(tensor_arena *arena, size_t bytes, tensor_error *err) {
    size_t need = bytes + sizeof(block);
    size_t size = arena->last && arena->last->bytes <= SIZE_MAX / 4 ? 2 * arena->last->bytes : FIRST_BLOCK;
    if (size < need) size = need;
    block *b = new_block(&size);
    if (!b && size > need) {
        size = need;
        b = new_block(&size);
    }
    if (!b) return tensor_fail(err, "out of memory: %zu bytes", bytes);
    *b = (block){.next = NULL, .bytes = size};
    if (arena->last)
        arena->last->next = b;
    else
        arena->first = b;
    arena->last = b;
    arena->total += size;
    enter(arena, b);
    return true;
}

static void *take(tensor_arena *arena, size_t size) {
    void *memory = arena->next;
    arena->next += size;
    arena->left -= size;
    return memory;
}

/* Where the current block has no room. One that is too small is passed over until the next reset: a loop that asks for
 * the same sizes again gets the same places again. A function of its own, so that the usual case saves no registers. */
__attribute__((noinline)) static void *take_elsewhere(tensor_arena *arena, size_t size, tensor_error *err) {
    while (arena->current && arena->current->next) {
        enter(arena, arena->current->next);
        if (size <= arena->left) return take(arena, size);
    }
    return grow(arena, size, err) ? take(arena, size) : NULL;
}

void *tensor_arena_alloc(tensor_arena *arena, size_t bytes, tensor_error *err) {
    /* Nothing takes up a unit too, so that every pointer is its own. */
    const size_t size = (bytes + (bytes == 0) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
    if (!arena) {
        tensor_fail(err, "no arena to allocate on");
        return NULL;
    }
    if (bytes > PTRDIFF_MAX - 2 * ALIGNMENT) {
        tensor_fail(err, "out of memory: %zu bytes", bytes);
        return NULL;
    }
    void *memory = size <= arena->left ? take(arena, size) : take_elsewhere(arena, size, err);
    if (memory) ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
    return memory;
}
