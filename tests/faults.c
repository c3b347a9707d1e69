#include "tests/faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "sampo/tensor.h"

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
    errno = kind == FAULT_FILE ? ENOSPC : ENOMEM;
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

/* Of what has another name in glibc where files may be large, which meson.build says: stat64. */
#define JOIN(name, suffix) name##suffix
#define JOINED(name, suffix) JOIN(name, suffix)
#define REAL(name) JOINED(__real_##name, LARGE)
#define WRAPPED(name) JOINED(__wrap_##name, LARGE)

#define WRAP_LARGE(kind, type, name, parameters, arguments, failure)                                         \
    type REAL(name) parameters;                                                                              \
    type WRAPPED(name) parameters;                                                                           \
    type WRAPPED(name) parameters {                                                                          \
        return refused(kind) ? failure : REAL(name) arguments;                                               \
    }
WRAP_LARGE(FAULT_FILE, FILE *, fopen, (const char *path, const char *how), (path, how), NULL)
WRAP_LARGE(FAULT_FILE, int, fseeko, (FILE * file, off_t to, int from), (file, to, from), -1)
WRAP_LARGE(FAULT_FILE, off_t, lseek, (int file, off_t to, int from), (file, to, from), -1)
WRAP_LARGE(FAULT_FILE, int, fstat, (int file, struct stat *status), (file, status), -1)
WRAP_LARGE(FAULT_FILE, int, stat, (const char *path, struct stat *status), (path, status), -1)
WRAP_LARGE(FAULT_FILE, int, ftruncate, (int file, off_t size), (file, size), -1)
WRAP_LARGE(FAULT_FILE, ssize_t, pread, (int file, void *to, size_t size, off_t from), (file, to, size, from),
           -1)
WRAP_LARGE(FAULT_FILE, void *, mmap, (void *at, size_t size, int protection, int flags, int file, off_t from),
           (at, size, protection, flags, file, from), MAP_FAILED)

/* ---- What makes a file last, in its order ---- */

static char trace[64];

const char *fault_trace(void) {
    return trace;
}

void fault_trace_begin(void) {
    *trace = '\0';
}

static void note(char what) {
    const size_t length = strlen(trace);
    if (length + 1 < sizeof trace) memcpy(trace + length, (char[]){what, '\0'}, 2);
}

int __real_fsync(int file);
int __wrap_fsync(int file);
int __wrap_fsync(int file) {
    struct stat status;
    if (refused(FAULT_FILE)) return -1;
    note(REAL(fstat)(file, &status) == 0 && S_ISDIR(status.st_mode) ? 'd' : 'f');
    return __real_fsync(file);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    if (refused(FAULT_FILE)) return -1;
    note('r');
    return __real_rename(from, to);
}

WRAP(FAULT_MEMORY, void *, malloc, (size_t size), (size), NULL)
WRAP(FAULT_MEMORY, void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(FAULT_MEMORY, void *, realloc, (void *p, size_t size), (p, size), NULL)
WRAP(FAULT_MEMORY, char *, strdup, (const char *text), (text), NULL)
WRAP(FAULT_MEMORY, FILE *, open_memstream, (char **text, size_t *size), (text, size), NULL)
WRAP(FAULT_MEMORY, void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(FAULT_ARENA, void *, tensor_arena_alloc, (tensor_arena * arena, size_t bytes, tensor_error *err),
     (arena, bytes, err), (tensor_fail(err, "out of memory: %zu bytes", bytes), NULL))
WRAP(FAULT_FILE, ssize_t, read, (int file, void *to, size_t size), (file, to, size), -1)
WRAP(FAULT_FILE, ssize_t, write, (int file, const void *from, size_t size), (file, from, size), -1)
WRAP(FAULT_FILE, ssize_t, getline, (char **line, size_t *room, FILE *file), (line, room, file), -1)
WRAP(FAULT_FILE, int, unlink, (const char *path), (path), -1)
WRAP(FAULT_FILE, int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
WRAP(FAULT_FILE, int, access, (const char *path, int how), (path, how), -1)
WRAP(FAULT_FILE, FILE *, fdopen, (int file, const char *how), (file, how), NULL)
WRAP(FAULT_FILE, DIR *, opendir, (const char *path), (path), NULL)
WRAP(FAULT_FILE, int, fflush, (FILE * file), (file), EOF)

int __real_close(int file);
int __wrap_close(int file);
int __wrap_close(int file) {
    const int failure = __real_close(file);
    return refused(FAULT_FILE) ? -1 : failure; /* closed it is in any case */
}

int REAL(open)(const char *path, int flags, ...);
int WRAPPED(open)(const char *path, int flags, ...);
int WRAPPED(open)(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return refused(FAULT_FILE) ? -1 : REAL(open)(path, flags, mode);
}

/* Of its commands only locking. */
int REAL(fcntl)(int file, int command, ...);
int WRAPPED(fcntl)(int file, int command, ...);
int WRAPPED(fcntl)(int file, int command, ...) {
    va_list args;
    va_start(args, command);
    const bool locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
    struct flock *lock = locks ? va_arg(args, struct flock *) : NULL;
    va_end(args);
    if (!lock) return REAL(fcntl)(file, command);
    return refused(FAULT_FILE) ? -1 : REAL(fcntl)(file, command, lock);
}
