/* IDX, the format of MNIST. */
#include "nn/files/files.h"

#include <string.h>
#include <unistd.h>

typedef enum idx_type { UBYTE = 0x08, BYTE, SHORT = 0x0b, INT, FLOAT, DOUBLE } idx_type;

/* Bytes of a number; 0: no such type. */
static int width_of(int type) {
    switch ((idx_type)type) {
    case UBYTE:
    case BYTE:
        return 1;
    case SHORT:
        return 2;
    case INT:
    case FLOAT:
        return 4;
    case DOUBLE:
        return 8;
    }
    return 0;
}

static uint64_t big_endian(const unsigned char *bytes, int width) {
    uint64_t x = 0;
    for (int i = 0; i < width; i++) x = x << 8 | bytes[i];
    return x;
}

static double number_of(const unsigned char *bytes, idx_type type) {
    const uint64_t bits = big_endian(bytes, width_of((int)type));
    const uint32_t half = (uint32_t)bits;
    float single;
    double whole;
    switch (type) {
    case UBYTE:
        return (double)bits;
    case BYTE:
        return (int8_t)bits;
    case SHORT:
        return (int16_t)bits;
    case INT:
        return (int32_t)bits;
    case FLOAT:
        return memcpy(&single, &half, sizeof single), (double)single;
    case DOUBLE:
        return memcpy(&whole, &bits, sizeof whole), whole;
    }
    return 0;
}

static bool read_numbers(int fd, const char *path, tensor out, idx_type type, tensor_error *err) {
    unsigned char part[8192];
    const int width = width_of((int)type);
    const int64_t count = tensor_size(out), most = (int64_t)sizeof part / width;
    for (int64_t at = 0, n; at < count; at += n) {
        n = count - at < most ? count - at : most;
        if (!nn_read_all(fd, path, part, n * width, err)) return false;
        for (int64_t i = 0; i < n; i++) {
            const double x = number_of(part + i * width, type);
            if (out.dtype == TENSOR_F32)
                out.f32[at + i] = (float)x;
            else
                out.i32[at + i] = (int32_t)x;
        }
    }
    return true;
}

/* Type and shape from the header; false where they do not fit a file of so many bytes. */
static bool read_header(int fd, const char *path, int64_t bytes, idx_type *type, tensor *shape,
                        tensor_error *err) {
    unsigned char magic[4], sizes[TENSOR_MAX_RANK * 4];
    if (bytes < (int64_t)sizeof magic)
        return nn_file_fail(err, path, "truncated: %lld bytes, no IDX file", (long long)bytes);
    if (!nn_read_all(fd, path, magic, sizeof magic, err)) return false;
    int64_t need = width_of(magic[2]), rest;
    if (magic[0] || magic[1] || need == 0)
        return nn_file_fail(err, path, "no IDX file: it begins with %02x %02x %02x %02x%s", magic[0],
                            magic[1], magic[2], magic[3],
                            magic[0] == 0x1f && magic[1] == 0x8b ? ", as gzip does; gunzip unpacks it" : "");
    if (magic[3] > TENSOR_MAX_RANK)
        return nn_file_fail(err, path, "a rank of %d is above %d", magic[3], TENSOR_MAX_RANK);
    *type = (idx_type)magic[2];
    shape->rank = magic[3];
    rest = bytes - (int64_t)sizeof magic - 4 * shape->rank;
    if (rest < 0) return nn_file_fail(err, path, "truncated: its sizes are cut off");
    if (!nn_read_all(fd, path, sizes, 4 * shape->rank, err)) return false;
    bool fits = true, empty = false;
    for (int i = 0; i < shape->rank; i++) {
        shape->shape[i] = (int64_t)big_endian(sizes + 4 * i, 4);
        if (shape->shape[i] == 0) empty = true;
        fits = fits && !__builtin_mul_overflow(need, shape->shape[i] ? shape->shape[i] : 1, &need);
    }
    if (empty) need = 0;
    char text[TENSOR_SHAPE_TEXT];
    if (!empty && (!fits || need > rest))
        return nn_file_fail(err, path,
                            "truncated: %s numbers do not fit into the %lld bytes behind the sizes",
                            tensor_shape_text(text, sizeof text, shape->rank, shape->shape), (long long)rest);
    return need == rest ||
           nn_file_fail(err, path, "%lld bytes behind the last number", (long long)(rest - need));
}

tensor nn_idx_read(const char *path, tensor_dtype dtype, tensor_arena *arena, tensor_error *err) {
    int64_t bytes;
    idx_type type = UBYTE;
    tensor shape, out = {0};
    const int fd = nn_read_begin(path, &bytes, err);
    if (fd < 0) return out;
    if (read_header(fd, path, bytes, &type, &shape, err)) {
        tensor_error fault = {0};
        if (dtype == TENSOR_I32 && type >= FLOAT)
            nn_file_fail(err, path, "its numbers are no integers; float32 takes them");
        else if (out = tensor_new(arena, dtype, shape.rank, shape.shape, &fault), !tensor_ok(out))
            nn_file_fail(err, path, "%s", fault.text);
        else if (!read_numbers(fd, path, out, type, err))
            out = (tensor){0};
    }
    close(fd);
    return out;
}
