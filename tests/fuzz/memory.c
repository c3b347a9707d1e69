/* Files in memory for the fuzz targets under libFuzzer. The linker hands the calls that look at, read and write files to
 * these functions (--wrap): what is in the folder is here, without a call of the system; all else goes to libc. It is one
 * folder without others in it. A mapping is a piece of malloc as large as the file, so that AddressSanitizer sees what is
 * read behind its end, which the rest of a page would hide. */
#define _GNU_SOURCE /* fopencookie */
#include "tests/fuzz/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { FILES = 16, PLACES = 16, PATH = 160, FIRST_FD = 1 << 20 };

static struct {
    char path[PATH]; /* empty: it has been removed */
    char *bytes;     /* `room` of them */
    size_t size, room;
} files[FILES]; /* the first is the folder itself */
enum { FOLDER };

static struct {
    bool used, writes, appends;
    int file;
    size_t at;
    FILE *stream; /* that has this descriptor, or NULL */
} opened[PLACES]; /* descriptor FIRST_FD + i */

static void *maps[PLACES];

/* libc keeps what is freed, also large pieces, instead of asking the system again with each input. */
__attribute__((constructor)) static void keep_memory(void) {
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    mallopt(M_MMAP_THRESHOLD, 1 << 25);
}

/* ---- The table ------------------------------------------------------------------------------ */

void fuzz_memory_begin(const char *folder) {
    CHECK(strlen(folder) < PATH);
    strcpy(files[FOLDER].path, folder);
    for (int i = FOLDER + 1; i < FILES; i++) files[i].path[0] = '\0';
    for (int i = 0; i < PLACES; i++)
        CHECK(!opened[i].used && !maps[i]); /* the input before left nothing open */
}

/* The file's number, or one of these, with a reason in errno for NOTHING. */
enum { ELSEWHERE = -1, NOTHING = -2 };
static int find(const char *path) {
    const size_t length = strlen(files[FOLDER].path);
    if (!length || strncmp(path, files[FOLDER].path, length) != 0 || (path[length] && path[length] != '/'))
        return ELSEWHERE;
    for (int i = 0; i < FILES; i++)
        if (strcmp(files[i].path, path) == 0) return i;
    errno = ENOENT;
    return NOTHING;
}

static bool is_taken(int file) {
    bool taken = files[file].path[0];
    for (int i = 0; i < PLACES; i++) taken |= opened[i].used && opened[i].file == file;
    return taken;
}

/* A file of no bytes. It takes the place of one that is removed and that nobody has open. */
static int make(const char *path) {
    const char *name = path + strlen(files[FOLDER].path) + 1;
    int file = FOLDER + 1;
    if (strchr(name, '/')) return errno = ENOENT, NOTHING;
    if (strlen(path) >= PATH) return errno = ENAMETOOLONG, NOTHING;
    while (file < FILES && is_taken(file)) file++;
    CHECK(file < FILES);
    strcpy(files[file].path, path);
    files[file].size = 0;
    return file;
}

/* As large as this; what is new is zero. */
static void resize(int file, size_t size) {
    if (files[file].room < size) {
        files[file].bytes = realloc(files[file].bytes, files[file].room = 2 * size);
        CHECK(files[file].bytes);
    }
    if (files[file].size < size) memset(files[file].bytes + files[file].size, 0, size - files[file].size);
    files[file].size = size;
}

static ssize_t put(int file, size_t at, const void *bytes, size_t size) {
    if (files[file].size < at + size) resize(file, at + size);
    if (size) memcpy(files[file].bytes + at, bytes, size);
    return (ssize_t)size;
}

static ssize_t get(int file, size_t at, void *bytes, size_t size) {
    const size_t left = at < files[file].size ? files[file].size - at : 0, n = size < left ? size : left;
    if (n) memcpy(bytes, files[file].bytes + at, n);
    return (ssize_t)n;
}

void fuzz_memory_put(const char *path, const void *bytes, size_t size) {
    int file = find(path);
    if (file < 0) file = make(path);
    CHECK(file > FOLDER);
    resize(file, 0);
    put(file, 0, bytes, size);
}

static int describe(int file, struct stat *status) {
    *status = (struct stat){.st_mode = file == FOLDER ? S_IFDIR | 0700 : S_IFREG | 0600,
                            .st_ino = (ino_t)file + 1, /* its device is 0, and no other's */
                            .st_nlink = files[file].path[0] != '\0',
                            .st_size = (off_t)files[file].size};
    return 0;
}

/* The place of a descriptor, or -1. */
static int place_of(int fd) {
    return fd >= FIRST_FD && fd < FIRST_FD + PLACES && opened[fd - FIRST_FD].used ? fd - FIRST_FD : -1;
}

/* A descriptor, or -1. */
static int open_file(int file, const char *path, int flags) {
    const bool writes = (flags & O_ACCMODE) != O_RDONLY;
    int i = 0;
    if (file >= 0 && flags & O_CREAT && flags & O_EXCL) return errno = EEXIST, -1;
    if (file == FOLDER && writes) return errno = EISDIR, -1;
    if (file > FOLDER && flags & O_DIRECTORY) return errno = ENOTDIR, -1;
    if (file == NOTHING && flags & O_CREAT) file = make(path);
    if (file < 0) return -1;
    if (flags & O_TRUNC) resize(file, 0);
    while (i < PLACES && opened[i].used) i++;
    CHECK(i < PLACES); /* a descriptor that is never closed ends here */
    opened[i].used = true;
    opened[i].writes = writes;
    opened[i].appends = flags & O_APPEND;
    opened[i].file = file;
    opened[i].at = 0;
    opened[i].stream = NULL;
    return FIRST_FD + i;
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

#define REAL(type, name, parameters)                                                                         \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters

REAL(int, open64, (const char *path, int flags, ...)) {
    const int file = find(path);
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return file == ELSEWHERE ? __real_open64(path, flags, mode) : open_file(file, path, flags);
}

REAL(int, close, (int fd)) {
    const int i = place_of(fd);
    if (i < 0) return __real_close(fd);
    opened[i].used = false;
    return 0;
}

/* The other one has a place of its own in the file; nobody reads from both. */
REAL(int, dup, (int fd)) {
    const int i = place_of(fd);
    if (i < 0) return __real_dup(fd);
    return open_file(opened[i].file, NULL, opened[i].writes ? O_RDWR : O_RDONLY);
}

REAL(ssize_t, read, (int fd, void *buffer, size_t size)) {
    const int i = place_of(fd);
    if (i < 0) return __real_read(fd, buffer, size);
    if (opened[i].file == FOLDER) return errno = EISDIR, -1;
    const ssize_t n = get(opened[i].file, opened[i].at, buffer, size);
    opened[i].at += (size_t)n;
    return n;
}

REAL(ssize_t, write, (int fd, const void *bytes, size_t size)) {
    const int i = place_of(fd);
    if (i < 0) return __real_write(fd, bytes, size);
    CHECK(opened[i].writes);
    if (opened[i].appends) opened[i].at = files[opened[i].file].size;
    opened[i].at += size;
    return put(opened[i].file, opened[i].at - size, bytes, size);
}

REAL(ssize_t, pwrite64, (int fd, const void *bytes, size_t size, off_t at)) {
    const int i = place_of(fd);
    if (i < 0) return __real_pwrite64(fd, bytes, size, at);
    CHECK(opened[i].writes);
    return put(opened[i].file, (size_t)at, bytes, size);
}

REAL(off_t, lseek64, (int fd, off_t offset, int whence)) {
    const int i = place_of(fd);
    if (i < 0) return __real_lseek64(fd, offset, whence);
    if (whence == SEEK_CUR) offset += (off_t)opened[i].at;
    if (whence == SEEK_END) offset += (off_t)files[opened[i].file].size;
    if (offset < 0) return errno = EINVAL, -1;
    opened[i].at = (size_t)offset;
    return offset;
}

REAL(int, ftruncate64, (int fd, off_t size)) {
    const int i = place_of(fd);
    if (i < 0) return __real_ftruncate64(fd, size);
    CHECK(opened[i].writes && size >= 0);
    resize(opened[i].file, (size_t)size);
    return 0;
}

REAL(int, fsync, (int fd)) {
    return place_of(fd) < 0 ? __real_fsync(fd) : 0;
}

REAL(int, fstat64, (int fd, struct stat *status)) {
    const int i = place_of(fd);
    return i < 0 ? __real_fstat64(fd, status) : describe(opened[i].file, status);
}

/* Locks, which nobody else holds; and questions whether a descriptor is open. */
REAL(int, fcntl64, (int fd, int what, ...)) {
    va_list rest;
    va_start(rest, what);
    void *lock = what == F_GETFD ? NULL : va_arg(rest, void *);
    va_end(rest);
    if (place_of(fd) < 0) return __real_fcntl64(fd, what, lock);
    CHECK(what == F_SETLK || what == F_GETFD);
    return 0;
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

/* ---- Names ---------------------------------------------------------------------------------- */

static int describe_name(int file, struct stat *status) {
    return file == NOTHING ? -1 : describe(file, status);
}

REAL(int, stat64, (const char *path, struct stat *status)) {
    const int file = find(path);
    return file == ELSEWHERE ? __real_stat64(path, status) : describe_name(file, status);
}

REAL(int, lstat64, (const char *path, struct stat *status)) {
    const int file = find(path);
    return file == ELSEWHERE ? __real_lstat64(path, status) : describe_name(file, status);
}

REAL(int, access, (const char *path, int how)) {
    const int file = find(path);
    return file == ELSEWHERE ? __real_access(path, how) : file == NOTHING ? -1 : 0;
}

REAL(char *, realpath, (const char *path, char *resolved)) {
    const int file = find(path);
    if (file == ELSEWHERE) return __real_realpath(path, resolved);
    return file == NOTHING ? NULL : strcpy(resolved, path);
}

REAL(int, unlink, (const char *path)) {
    const int file = find(path);
    if (file == ELSEWHERE) return __real_unlink(path);
    if (file == NOTHING) return -1;
    CHECK(file != FOLDER);
    files[file].path[0] = '\0';
    return 0;
}

REAL(int, rename, (const char *from, const char *to)) {
    const int file = find(from), there = find(to);
    if (file == ELSEWHERE && there == ELSEWHERE) return __real_rename(from, to);
    CHECK(file != ELSEWHERE && there != ELSEWHERE && file != FOLDER && there != FOLDER && strlen(to) < PATH);
    if (file == NOTHING) return errno = ENOENT, -1;
    if (there >= 0) files[there].path[0] = '\0';
    strcpy(files[file].path, to);
    return 0;
}

/* One at a time is read. */
static int entry;

REAL(DIR *, opendir, (const char *path)) {
    const int file = find(path);
    if (file == ELSEWHERE) return __real_opendir(path);
    if (file > FOLDER) errno = ENOTDIR;
    entry = FOLDER;
    return file == FOLDER ? (DIR *)&entry : NULL;
}

REAL(struct dirent *, readdir64, (DIR * folder)) {
    static struct dirent found;
    if (folder != (DIR *)&entry) return __real_readdir64(folder);
    while (++entry < FILES) {
        if (!files[entry].path[0]) continue;
        strcpy(found.d_name, files[entry].path + strlen(files[FOLDER].path) + 1);
        return &found;
    }
    return NULL;
}

REAL(int, closedir, (DIR * folder)) {
    return folder == (DIR *)&entry ? 0 : __real_closedir(folder);
}

/* ---- Streams -------------------------------------------------------------------------------- */

static int fd_of(void *cookie) {
    return FIRST_FD + (int)(intptr_t)cookie;
}
static ssize_t stream_read(void *cookie, char *bytes, size_t size) {
    return __wrap_read(fd_of(cookie), bytes, size);
}
static ssize_t stream_write(void *cookie, const char *bytes, size_t size) {
    return __wrap_write(fd_of(cookie), bytes, size);
}
static int stream_seek(void *cookie, off_t *offset, int whence) {
    return (*offset = __wrap_lseek64(fd_of(cookie), *offset, whence)) < 0 ? -1 : 0;
}
static int stream_close(void *cookie) {
    return __wrap_close(fd_of(cookie));
}

REAL(FILE *, fdopen, (int fd, const char *mode)) {
    const int i = place_of(fd);
    if (i < 0) return __real_fdopen(fd, mode);
    opened[i].stream =
        fopencookie((void *)(intptr_t)i, mode,
                    (cookie_io_functions_t){stream_read, stream_write, stream_seek, stream_close});
    CHECK(opened[i].stream);
    return opened[i].stream;
}

REAL(FILE *, fopen64, (const char *path, const char *mode)) {
    const int file = find(path), made = mode[0] == 'w'   ? O_CREAT | O_TRUNC
                                        : mode[0] == 'a' ? O_CREAT | O_APPEND
                                                         : 0;
    if (file == ELSEWHERE) return __real_fopen64(path, mode);
    const int fd = open_file(file, path, (mode[0] == 'r' && !strchr(mode, '+') ? O_RDONLY : O_RDWR) | made);
    return fd < 0 ? NULL : __wrap_fdopen(fd, mode);
}

REAL(int, fileno, (FILE * stream)) {
    for (int i = 0; i < PLACES; i++)
        if (opened[i].used && opened[i].stream == stream) return FIRST_FD + i;
    return __real_fileno(stream);
}
