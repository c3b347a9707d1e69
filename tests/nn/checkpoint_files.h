/* Files of tensors that a test writes at `path`. */
#ifndef SAMPO_TESTS_NN_CHECKPOINT_FILES_H
#define SAMPO_TESTS_NN_CHECKPOINT_FILES_H

#include "sampo/nn.h"
#include "tests/nn/temporary.h"

static inline void write_at(const char *at, const void *bytes, size_t size) {
    FILE *file = fopen(at, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static inline void write_bytes(const void *bytes, size_t size) {
    write_at(path, bytes, size);
}

static inline size_t read_bytes(void *buffer, size_t size) {
    FILE *file = fopen(path, "rb");
    cr_assert(file);
    size_t n = fread(buffer, 1, size, file);
    fclose(file);
    return n;
}

/* A file of a header, its length before it, and `data` bytes 0, 1, 2, ... behind it. */
static inline size_t make_file(unsigned char *file, const char *header, size_t data) {
    uint64_t length = strlen(header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < data; i++) file[8 + length + i] = (unsigned char)i;
    return 8 + length + data;
}

static inline nn_file *open_header(const char *header, size_t data, tensor_error *err) {
    unsigned char file[2048];
    cr_assert(strlen(header) + data + 8 < sizeof file);
    write_bytes(file, make_file(file, header, data));
    return nn_file_open(path, err);
}

static inline void save(const nn_entry *entries, int count) {
    cr_assert(nn_file_save(path, entries, count, NULL, 0, NULL));
}

#endif
