/* The folder of a run: the names in it, and the lock of who writes there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/files/files.h"

/* Says who holds the lock, as far as the system tells: not where that process is on another machine. */
static bool taken(const char *folder, int fd, tensor_error *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char who[40] = "another process";
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        snprintf(who, sizeof who, "process %ld", (long)lock.l_pid);
    return tensor_fail(err, "%.150s: %s is training there; wait for its end, or choose another folder",
                       folder, who);
}

/* Whether the locked file is still the one that has the name: who held the lock before may have removed it. */
static bool is_named(const lm_lock *lock) {
    struct stat locked, named;
    return fstat(lock->fd, &locked) == 0 && lstat(lock->path, &named) == 0 && locked.st_dev == named.st_dev &&
           locked.st_ino == named.st_ino;
}

/* Locks the open file; errors that say that the file system has no locks are none. */
static bool lock_file(const char *folder, const lm_lock *lock, tensor_error *err) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(lock->fd, F_SETLK, &whole) == 0) return true;
    if (errno == EACCES || errno == EAGAIN) return taken(folder, lock->fd, err);
    return errno == ENOLCK || errno == ENOSYS || errno == ENOTSUP ||
           tensor_fail(err, "%.150s: cannot be locked: %s", lock->path, strerror(errno));
}

bool lm_run_lock(lm_lock *lock, const char *folder, tensor_arena *arena, tensor_error *err) {
    lm_lock next = {-1, lm_path_in(folder, ".lock", arena, err)};
    *lock = next;
    for (int i = 0; lock->path && i < 100; i++) {
        next.fd = open(lock->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (next.fd < 0) return tensor_fail(err, "%.150s: cannot be opened: %s", lock->path, strerror(errno));
        const bool locked = lock_file(folder, &next, err);
        if (locked && is_named(&next)) {
            lock->fd = next.fd; /* not before: a signal takes away what is locked */
            return true;
        }
        close(next.fd);
        if (!locked) return false;
    }
    return lock->path && tensor_fail(err, "%.150s: cannot be locked: others do so all the time", lock->path);
}

void lm_run_unlock(lm_lock *lock) {
    if (lock->fd < 0) return;
    unlink(lock->path); /* while it is locked: nobody else's */
    close(lock->fd);
    lock->fd = -1;
}
