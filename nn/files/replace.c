/* Files that are replaced as a whole: written beside what they replace, on the disk before they take its name. */
#include "nn/files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static bool failed(tensor_error *err, const char *path, int fault) {
    return nn_file_fail(err, path, "cannot be written: %s", strerror(fault));
}

/* The name of the file that is written first; false: it is too long. */
static bool name_beside(char name[PATH_BYTES], const char *path) {
    return snprintf(name, PATH_BYTES, "%s.tmp", path) < PATH_BYTES;
}

/* Whether a file may take the place of what is there: a device or a pipe would be gone. */
static bool may_replace(const char *path, tensor_error *err) {
    struct stat there;
    if (stat(path, &there) != 0) return errno == ENOENT || failed(err, path, errno);
    return S_ISREG(there.st_mode) ||
           nn_file_fail(err, path, "cannot be written: it is there, and no regular file");
}

int nn_file_begin(const char *path, tensor_error *err) {
    char name[PATH_BYTES];
    struct stat there;
    if (!path || !name_beside(name, path)) return failed(err, path, ENAMETOOLONG), -1;
    if (!may_replace(path, err)) return -1;
    if (lstat(name, &there) == 0) {
        if (!S_ISREG(there.st_mode)) {
            nn_file_fail(err, path, "cannot be written: the name of the .tmp file beside it is taken");
            return -1;
        }
        unlink(name); /* a program that was killed has left it */
    }
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) failed(err, path, errno);
    return fd;
}

bool nn_file_sync(int fd) {
    while (fsync(fd) != 0)
        if (errno != EINTR) return false;
    return true;
}

/* Makes a rename last. Folders that cannot be opened or synced are not worth a failure: the file is there. */
static void sync_folder(char *path) {
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path] = '\0';
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) return;
    nn_file_sync(fd);
    close(fd);
}

/* Whether the name is still that of the open file; *fault: why that cannot be told, 0: it can. */
static bool has_name(int fd, const char *name, int *fault) {
    struct stat ours, there;
    const bool known = fstat(fd, &ours) == 0 && lstat(name, &there) == 0;
    *fault = known || errno == ENOENT ? 0 : errno;
    return known && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

bool nn_file_end(int fd, const char *path, bool whole, tensor_error *err) {
    char name[PATH_BYTES];
    int unknown, fault;
    name_beside(name, path); /* fits, as it did at the beginning */
    const bool same = has_name(fd, name, &unknown);
    bool done = whole && nn_file_sync(fd);
    fault = errno;
    if (close(fd) != 0 && done) { /* NFS reports here that the disk is full */
        done = false;
        fault = errno;
    }
    if (done && unknown) return failed(err, path, unknown);
    if (done && !same) return nn_file_fail(err, path, "another program is writing it at the same time");
    if (done && rename(name, path) != 0) {
        done = false;
        fault = errno;
    }
    if (done) {
        sync_folder(name);
        return true;
    }
    if (same) unlink(name);
    return whole && failed(err, path, fault);
}
