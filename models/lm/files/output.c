/* Files that commands write for people and other programs: pages, pictures, models. */
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/files/files.h"

static bool failed(tensor_error *err, const char *path, int fault) {
    return tensor_fail(err, "%.150s: cannot be written: %s", path,
                       fault ? strerror(fault) : "some of it was lost");
}

/* The file that a path names, behind the links that lie there; NULL: it cannot be told, and errno says why. */
static const char *behind_links(const char *path, char resolved[PATH_MAX]) {
    return realpath(path, resolved) ? resolved : errno == ENOENT ? path : NULL;
}

bool lm_may_write(const char *path, bool force, tensor_error *err) {
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT || tensor_fail(err, "%.200s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return tensor_fail(err, "%.200s is there, and no file", path);
    return force || tensor_fail(err, "%.200s is there; --force writes over it", path);
}

FILE *lm_create(const char *path, tensor_error *err) {
    char resolved[PATH_MAX];
    struct stat status;
    const bool there = stat(path, &status) == 0, replaced = !there || S_ISREG(status.st_mode);
    const char *name = there || errno == ENOENT ? behind_links(path, resolved) : NULL;
    if (!name) return failed(err, path, errno), NULL;
    const int fd =
        replaced ? nn_file_begin(name, err) : open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file) return file;
    failed(err, path, errno);
    if (fd >= 0 && replaced)
        nn_file_end(fd, name, false, err);
    else if (fd >= 0)
        close(fd);
    return NULL;
}

bool lm_finish(FILE *file, const char *path, bool whole, tensor_error *err) {
    char resolved[PATH_MAX];
    struct stat status;
    errno = 0;
    if (whole && (fflush(file) != 0 || ferror(file))) whole = failed(err, path, errno);
    const char *name = behind_links(path, resolved);
    const int fd = dup(fileno(file)); /* that of the stream goes with it */
    const bool known = name && fd >= 0 && fstat(fd, &status) == 0;
    if (whole && !known) whole = failed(err, path, errno);
    fclose(file);
    if (known && S_ISREG(status.st_mode)) return nn_file_end(fd, name, whole, err);
    if (fd >= 0) close(fd);
    return whole;
}
