/* Reading whole files. */
#include "nn/files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 30 }; /* some systems refuse larger reads */

int nn_read_begin(const char *path, int64_t *bytes, tensor_error *err) {
    struct stat status;
    /* Not to wait for a writer where the path is a pipe. */
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        nn_file_fail(err, path, "cannot open: %s", strerror(errno));
    else if (fstat(fd, &status) != 0)
        nn_file_fail(err, path, "cannot read: %s", strerror(errno));
    else if (S_ISDIR(status.st_mode))
        nn_file_fail(err, path, "is a folder");
    else if (!S_ISREG(status.st_mode))
        nn_file_fail(err, path, "is no regular file");
    else if (status.st_size == 0)
        nn_file_fail(err, path, "is empty");
    else if ((uint64_t)status.st_size > SIZE_MAX / 2)
        nn_file_fail(err, path, "is too large for this processor's addresses");
    else
        return *bytes = status.st_size, fd;
    if (fd >= 0) close(fd);
    return -1;
}

bool nn_read_all(int fd, const char *path, void *buffer, int64_t bytes, tensor_error *err) {
    for (char *at = buffer; bytes > 0;) {
        const ssize_t n = read(fd, at, (size_t)(bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return nn_file_fail(err, path, "cannot read: %s", strerror(errno));
        if (n == 0) return nn_file_fail(err, path, "truncated while it was read");
        at += n;
        bytes -= n;
    }
    return true;
}
