/* Files in memory for the fuzz targets under libFuzzer. The linker hands the calls that read files to these functions
 * (--wrap): what fuzz_memory_put has put under a name is opened, read and mapped from there, without a call of the system;
 * everything else goes to libc. A mapping is a piece of malloc as large as the file, so that AddressSanitizer sees what is
 * read behind its end, which the rest of a page would hide. */
#include "tests/fuzz/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { FILES = 8, PLACES = 16, PATH = 160, FIRST_FD = 1 << 20 };

static struct {
    char path[PATH];
    char *bytes; /* `room` of them */
    size_t size, room;
} files[FILES];
static int count;

static struct {
    bool used;
    int file;
    size_t at;
} opened[PLACES]; /* descriptor FIRST_FD + i */

static void *maps[PLACES];

static const char *only; /* the folder; its files are those above, until something is written */
static bool written;

bool fuzz_memory_clear(void) {
    const bool was = written;
    written = false;
    count = 0;
    return was;
}

void fuzz_memory_put(const char *folder, const char *path, const void *bytes, size_t size) {
    int i = 0;
    only = folder;
    while (i < count && strcmp(files[i].path, path) != 0) i++;
    CHECK(i < FILES && strlen(path) < PATH);
    if (i == count) strcpy(files[count++].path, path);
    if (files[i].room < size) {
        free(files[i].bytes);
        files[i].bytes = malloc(files[i].room = 2 * size);
        CHECK(files[i].bytes);
    }
    files[i].size = size;
    if (size) memcpy(files[i].bytes, bytes, size);
}

/* The file's number, or one of these. */
enum { ELSEWHERE = -1, NOTHING = -2 };
static int find(const char *path) {
    for (int i = 0; i < count; i++)
        if (strcmp(files[i].path, path) == 0) return i;
    const size_t length = only && !written ? strlen(only) : 0;
    const bool inside = length && strncmp(path, only, length) == 0 && path[length] == '/';
    if (!inside) return ELSEWHERE;
    errno = ENOENT;
    return NOTHING;
}

/* The same for who opens it, and may write it. */
static int find_to_open(const char *path, bool reads, bool makes) {
    const int file = find(path);
    if (reads || file == ELSEWHERE) return file;
    if (makes) written = true;
    return ELSEWHERE;
}

static int place_of(int fd) {
    return fd >= FIRST_FD && fd < FIRST_FD + PLACES && opened[fd - FIRST_FD].used ? fd - FIRST_FD : -1;
}

static int describe(int file, struct stat *status) {
    *status = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_size = (off_t)files[file].size};
    return 0;
}

/* libc keeps what is freed, instead of giving it back to the system and asking again with each input. */
__attribute__((constructor)) static void keep_memory(void) {
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    mallopt(M_MMAP_THRESHOLD, 1 << 18);
}

/* ---- The calls ------------------------------------------------------------------------------ */

#define REAL(type, name, parameters)                                                                         \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters

REAL(int, open64, (const char *path, int flags, ...)) {
    const int file = find_to_open(path, (flags & O_ACCMODE) == O_RDONLY, flags & O_CREAT);
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (file < 0) return file == NOTHING ? -1 : __real_open64(path, flags, mode);
    int i = 0;
    while (i < PLACES && opened[i].used) i++;
    CHECK(i < PLACES); /* a descriptor that is never closed ends here */
    opened[i].used = true;
    opened[i].file = file;
    opened[i].at = 0;
    return FIRST_FD + i;
}

REAL(int, close, (int fd)) {
    const int i = place_of(fd);
    if (i < 0) return __real_close(fd);
    opened[i].used = false;
    return 0;
}

REAL(ssize_t, read, (int fd, void *buffer, size_t size)) {
    const int i = place_of(fd);
    if (i < 0) return __real_read(fd, buffer, size);
    const size_t left = files[opened[i].file].size - opened[i].at, n = size < left ? size : left;
    if (n) memcpy(buffer, files[opened[i].file].bytes + opened[i].at, n);
    opened[i].at += n;
    return (ssize_t)n;
}

REAL(off_t, lseek64, (int fd, off_t offset, int whence)) {
    const int i = place_of(fd);
    if (i < 0) return __real_lseek64(fd, offset, whence);
    CHECK(offset == 0 && whence == SEEK_CUR); /* a reader asks whether it can seek, and no more */
    return (off_t)opened[i].at;
}

REAL(int, fstat64, (int fd, struct stat *status)) {
    const int i = place_of(fd);
    return i < 0 ? __real_fstat64(fd, status) : describe(opened[i].file, status);
}

REAL(int, stat64, (const char *path, struct stat *status)) {
    const int file = find(path);
    return file >= 0 ? describe(file, status) : file == NOTHING ? -1 : __real_stat64(path, status);
}

REAL(void *, mmap64, (void *at, size_t size, int protection, int flags, int fd, off_t offset)) {
    const int i = place_of(fd);
    int free_map = 0;
    if (i < 0) return __real_mmap64(at, size, protection, flags, fd, offset);
    while (free_map < PLACES && maps[free_map]) free_map++;
    CHECK(free_map < PLACES && offset == 0 && size == files[opened[i].file].size);
    void *map = malloc(size);
    CHECK(map);
    return maps[free_map] = memcpy(map, files[opened[i].file].bytes, size);
}

REAL(int, munmap, (void *map, size_t size)) {
    for (int i = 0; i < PLACES; i++) {
        if (maps[i] != map || !map) continue;
        maps[i] = NULL;
        free(map);
        return 0;
    }
    return __real_munmap(map, size);
}

REAL(FILE *, fopen64, (const char *path, const char *mode)) {
    const int file = find_to_open(path, mode[0] == 'r' && !strchr(mode, '+'), mode[0] != 'r');
    if (file >= 0) return fmemopen(files[file].bytes, files[file].size, "r");
    return file == NOTHING ? NULL : __real_fopen64(path, mode);
}
