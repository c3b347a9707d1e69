/* Ranks that are processes of this machine: a world's functions over sockets. Its context is an array that has a socket
 * to each other rank. */
#ifndef SAMPO_TESTS_NN_SOCKETS_H
#define SAMPO_TESTS_NN_SOCKETS_H

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sampo/tensor.h"

static bool move(int file, bool out, char *data, size_t bytes, tensor_error *err) {
    while (bytes > 0) {
        const ssize_t moved = out ? send(file, data, bytes, MSG_NOSIGNAL) : read(file, data, bytes);
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) return tensor_fail(err, "a rank is gone");
        data += moved, bytes -= (size_t)moved;
    }
    return true;
}

static bool send_bytes(void *context, int to, const void *data, size_t bytes, tensor_error *err) {
    return move(((int *)context)[to], true, (char *)data, bytes, err);
}

static bool receive_bytes(void *context, int from, void *data, size_t bytes, tensor_error *err) {
    return move(((int *)context)[from], false, data, bytes, err);
}

#endif
