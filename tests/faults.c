#include "tests/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

static struct {
    atomic_int_fast64_t count, fail_at;
    atomic_int fail_all;
} faults[FAULT_KINDS];

int64_t fault_calls(fault_kind kind) {
    return faults[kind].count;
}

void fault_inject(fault_kind kind, int64_t nth, int all) {
    faults[kind].fail_all = all;
    faults[kind].fail_at = nth ? faults[kind].count + nth : 0;
}

static int refused(fault_kind kind) {
    const int64_t number = ++faults[kind].count, at = faults[kind].fail_at;
    if (!at || (faults[kind].fail_all ? number < at : number != at)) return 0;
    errno = kind == FAULT_MEMORY ? ENOMEM : ENOSPC;
    return 1;
}

/* One line a function: its result, its name, its parameters, its arguments, and its result where it fails. The names are
 * the linker's. */
#define WRAP(kind, type, name, parameters, arguments, failure)                                               \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters {                                                                          \
        return refused(kind) ? failure : __real_##name arguments;                                            \
    }

WRAP(FAULT_MEMORY, void *, malloc, (size_t size), (size), NULL)
WRAP(FAULT_MEMORY, void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(FAULT_MEMORY, void *, realloc, (void *p, size_t size), (p, size), NULL)
WRAP(FAULT_MEMORY, void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(FAULT_FILE, ssize_t, read, (int file, void *to, size_t size), (file, to, size), -1)
WRAP(FAULT_FILE, ssize_t, write, (int file, const void *from, size_t size), (file, from, size), -1)
WRAP(FAULT_FILE, int, fsync, (int file), (file), -1)
WRAP(FAULT_FILE, int, rename, (const char *from, const char *to), (from, to), -1)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return refused(FAULT_FILE) ? -1 : __real_open(path, flags, mode);
}
