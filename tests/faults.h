/* Counts the allocations and the file operations of the code under test, and makes one of them fail. The linker's
 * --wrap puts these functions between the code and libc. */
#ifndef SAMPO_TESTS_FAULTS_H
#define SAMPO_TESTS_FAULTS_H

#include <stdint.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc, calloc, realloc, aligned_alloc, strdup, open_memstream */
    FAULT_ARENA,  /* what arenas are asked for, which seldom have to ask libc */
    FAULT_FILE, /* what opens, reads, writes, closes, looks at, moves in, syncs, cuts, maps, renames, removes, locks or
                   * makes a file or a folder */
    FAULT_KINDS
} fault_kind;

/* Calls so far, on all threads. */
int64_t fault_calls(fault_kind kind);

/* Makes the nth call from now fail (1: the next), and all after it where `all` is not 0; 0: none. Memory fails with
 * ENOMEM, files with ENOSPC. */
void fault_inject(fault_kind kind, int64_t nth, int all);

/* What was done since the beginning to make files last, a letter each: a file (f) or a folder (d) was synced, a file was
 * renamed (r). */
void fault_trace_begin(void);
const char *fault_trace(void);

#endif
