/* The folder of a run: the names in it, and the lock of who writes there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/files/files.h"

char *lm_run_file(const char *folder, const char *name, tensor_arena *arena, tensor_error *err) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = tensor_arena_alloc(arena, size, err);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* Says who holds the lock, as far as the system tells: not where that process is on another machine. */
static bool taken(const char *folder, int fd, tensor_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char who[40] = "another process";
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        snprintf(who, sizeof who, "process %ld", (long)lock.l_pid);
    return tensor_fail(err, "%.150s: %s is training there; wait for its end, or choose another folder",
                       folder, who);
}

bool lm_run_lock(const char *folder, int *fd, tensor_arena *arena, tensor_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const char *path = lm_run_file(folder, ".lock", arena, err);
    *fd = path ? open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666) : -1;
    if (*fd < 0) return path && tensor_fail(err, "%.150s: cannot be opened: %s", path, strerror(errno));
    if (fcntl(*fd, F_SETLK, &lock) == 0) return true;
    const bool free = errno != EACCES && errno != EAGAIN;
    const bool ok = free ? errno == ENOLCK || errno == ENOSYS || errno == ENOTSUP || /* no locks here */
                               tensor_fail(err, "%.150s: cannot be locked: %s", path, strerror(errno))
                         : taken(folder, *fd, err);
    if (ok) return true;
    close(*fd);
    *fd = -1;
    return false;
}
