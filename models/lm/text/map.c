/* Files: names, whether one is there, temporary ones, and files as memory: mapped where the system can, so that large
 * ones need none of their own. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/text/text.h"

lm_place lm_place_of(const char *path, tensor_error *err) {
    struct stat status;
    if (stat(path, &status) == 0) return S_ISDIR(status.st_mode) ? LM_FOLDER : LM_FILE;
    if (errno == ENOENT || errno == ENOTDIR) return LM_NOTHING;
    tensor_fail(err, "%.150s: cannot be looked at: %s", path, strerror(errno));
    return LM_UNKNOWN;
}

/* The name behind the first `length` bytes of a folder's. */
static char *join(const char *folder, size_t length, const char *name, tensor_arena *arena,
                  tensor_error *err) {
    const size_t size = length + strlen(name) + 2;
    char *path = tensor_arena_alloc(arena, size, err);
    if (path) snprintf(path, size, "%.*s/%s", (int)length, folder, name);
    return path;
}

char *lm_path_in(const char *folder, const char *name, tensor_arena *arena, tensor_error *err) {
    size_t length = strlen(folder);
    while (length > 0 && folder[length - 1] == '/') length--;
    return join(folder, length, name, arena, err);
}

char *lm_path_beside(const char *path, const char *name, tensor_arena *arena, tensor_error *err) {
    const char *slash = strrchr(path, '/');
    return slash ? join(path, (size_t)(slash - path), name, arena, err) : join(".", 1, name, arena, err);
}

/* Where a file cannot be mapped. */
static bool read_all(lm_map *map, int fd, tensor_error *err) {
    char *memory = malloc(map->size);
    map->bytes = memory;
    if (!memory) return tensor_fail(err, "out of memory: %zu bytes", map->size);
    for (size_t at = 0; at < map->size;) {
        ssize_t got = pread(fd, memory + at, map->size - at, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return tensor_fail(err, "cannot be read: %s", strerror(errno));
        if (got == 0) return tensor_fail(err, "has become shorter while it was read");
        at += (size_t)got;
    }
    return true;
}

bool lm_map_open(lm_map *map, int fd, tensor_error *err) {
    struct stat status;
    *map = (lm_map){0};
    if (fstat(fd, &status) != 0) return tensor_fail(err, "cannot be read: %s", strerror(errno));
    if ((uint64_t)status.st_size > SIZE_MAX / 2)
        return tensor_fail(err, "is too large for this processor's addresses");
    map->size = (size_t)status.st_size;
    if (map->size == 0) return true;
    void *memory = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
    map->mapped = memory != MAP_FAILED;
    if (map->mapped) map->bytes = memory;
    if (map->mapped || read_all(map, fd, err)) return true;
    lm_map_free(map);
    return false;
}

void lm_map_free(lm_map *map) {
    if (map->mapped)
        munmap((void *)map->bytes, map->size);
    else
        free((void *)map->bytes);
    *map = (lm_map){0};
}

int lm_temporary(tensor_error *err) {
    char path[4096];
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    snprintf(path, sizeof path, "%s/sampo-XXXXXX", folder);
    int fd = mkstemp(path);
    if (fd < 0)
        tensor_fail(err, "no temporary file in %.120s ($TMPDIR): %s", folder, strerror(errno));
    else if (unlink(path) != 0) {
        tensor_fail(err, "%.120s: cannot be removed: %s", path, strerror(errno));
        close(fd);
        fd = -1;
    }
    return fd;
}

bool lm_write_all(int fd, const void *bytes, size_t size, tensor_error *err) {
    for (size_t at = 0; at < size;) {
        ssize_t put = write(fd, (const char *)bytes + at, size - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return tensor_fail(err, "cannot be written: %s", strerror(errno));
        at += (size_t)put;
    }
    return true;
}
