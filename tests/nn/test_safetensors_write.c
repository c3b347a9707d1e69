/* Writing files of tensors: the bytes of the reference, and what stands there after a failure. */
#include "sampo/nn.h"
#include "tests/nn/checkpoint_files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(safetensors_write, .init = setup, .fini = teardown);

/* No file beside the target is left, neither after success nor after failure. */
static void expect_no_temporary(const char *target) {
    char temporary[160];
    snprintf(temporary, sizeof temporary, "%s.tmp", target);
    struct stat status;
    cr_expect_neq(lstat(temporary, &status), 0);
    unlink(temporary);
}

static const float numbers[] = {0, 1, 2, 3, 4, 5};

/* The very bytes that the reference writes for this tensor (its test test_serialization). */
Test(safetensors_write, writes_the_bytes_of_the_reference) {
    nn_entry entry = {"attn.0", "F32", 3, {1, 2, 3}, numbers, sizeof numbers};
    tensor_error err = {0};
    cr_assert(nn_file_save(path, &entry, 1, NULL, 0, &err), "%s", err.text);
    static const char header[] = "{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}";
    unsigned char expected[128] = {sizeof header - 1}, found[128];
    cr_assert_eq((sizeof header - 1) % 8, 0);
    memcpy(expected + 8, header, sizeof header - 1);
    memcpy(expected + 8 + sizeof header - 1, numbers, sizeof numbers);
    size_t size = 8 + sizeof header - 1 + sizeof numbers;
    cr_assert_eq(read_bytes(found, sizeof found), size);
    cr_assert(memcmp(found, expected, size) == 0);
}

Test(safetensors_write, writes_an_empty_file_as_the_reference) {
    unsigned char found[64];
    cr_assert(nn_file_save(path, NULL, 0, NULL, 0, NULL));
    cr_assert_eq(read_bytes(found, sizeof found), 16);
    cr_assert(memcmp(found, "\10\0\0\0\0\0\0\0{}      ", 16) == 0);
    cr_assert(nn_file_save(path, NULL, 0, &(nn_metadata){"framework", "pt"}, 1, NULL));
    cr_assert_eq(read_bytes(found, sizeof found), 48);
    cr_assert(memcmp(found, "\50\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ", 48) == 0);
}

Test(safetensors_write, reads_what_it_wrote) {
    const int32_t ids[] = {INT32_MIN, -1, 7};
    const nn_entry entries[] = {
        {"b \"\\\n\x01 \xc3\xa4\xf0\x9f\x98\x80", "F32", 2, {2, 3}, numbers, sizeof numbers},
        {"a", "I32", 1, {3}, ids, sizeof ids},
        {"empty", "F32", 2, {0, 5}, NULL, 0},
        {"scalar", "F32", 0, {0}, numbers + 5, 4},
        {"", "F32", 8, {1, 1, 1, 1, 1, 1, 1, 1}, numbers + 4, 4},
    };
    const nn_metadata metadata[] = {{"vocabulary", "[\"\\n\", \"\xc3\xa4\"]"}, {"", "x"}, {"a", ""}};
    tensor_error err = {0};
    cr_assert(nn_file_save(path, entries, 5, metadata, 3, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert(file, "%s", err.text);
    cr_assert_eq(nn_file_entries(file), 5);
    for (int i = 0; i < 5; i++) {
        const nn_entry *found = nn_file_at(file, i);
        cr_assert_eq(nn_file_find(file, entries[i].name), found);
        cr_assert_str_eq(found->name, entries[i].name);
        cr_assert_str_eq(found->dtype, entries[i].dtype);
        cr_assert(found->rank == entries[i].rank && found->bytes == entries[i].bytes);
        cr_assert(memcmp(found->shape, entries[i].shape, sizeof found->shape) == 0);
        cr_assert((uintptr_t)found->data % 4 == 0);
        cr_assert(found->bytes == 0 || memcmp(found->data, entries[i].data, found->bytes) == 0);
    }
    for (int i = 0; i < 3; i++) cr_assert_str_eq(nn_file_metadata(file, metadata[i].key), metadata[i].value);
    cr_assert_null(nn_file_metadata(file, "b"));
    cr_assert_null(nn_file_find(file, "c"));
    nn_file_close(file);
}

Test(safetensors_write, refuses_to_write_what_could_not_be_read) {
    const struct {
        nn_entry entry;
        const char *fault;
    } cases[] = {
        {{"__metadata__", "F32", 0, {0}, numbers, 4}, "\"__metadata__\" cannot be a tensor's name"},
        {{"\xff", "F32", 0, {0}, numbers, 4}, "\"\\ufffd\" cannot be a tensor's name"},
        {{"a", "F64", 0, {0}, numbers, 8}, "tensor \"a\": cannot write \"F64\""},
        {{"a", "F32", 1, {3}, numbers, 8}, "tensor \"a\": its shape does not have 8 bytes"},
        {{"a", "F32", 1, {3}, numbers, 16}, "tensor \"a\": its shape does not have 16 bytes"},
        {{"a", "F32", 2, {-1, -1}, numbers, 4}, "tensor \"a\": its shape does not have 4 bytes"},
        {{"a", "F32", 9, {1}, numbers, 4}, "tensor \"a\": its shape does not have 4 bytes"},
        {{"a", "F32", 2, {INT64_MAX, 2}, numbers, 4}, "tensor \"a\": its shape does not have 4 bytes"},
        {{"same", "F32", 0, {0}, numbers, 4}, "tensor \"same\" comes twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nn_entry entries[] = {{"same", "F32", 0, {0}, numbers, 4}, cases[i].entry};
        tensor_error err = {0};
        cr_expect_not(nn_file_save(path, entries, 2, NULL, 0, &err));
        cr_expect(strncmp(err.text, path, strlen(path)) == 0);
        cr_expect_str_eq(err.text + strlen(path) + 2, cases[i].fault);
        cr_expect_neq(access(path, F_OK), 0);
    }
    tensor_error err = {0};
    cr_expect_not(nn_file_save(path, NULL, 0, (nn_metadata[]){{"a", "1"}, {"a", "2"}}, 2, &err));
    cr_expect(strstr(err.text, "metadata \"a\" comes twice"));
    err = (tensor_error){0};
    cr_expect_not(nn_file_save(path, NULL, 0, &(nn_metadata){"a", "\xed\xa0\x80"}, 1, &err));
    cr_expect(strstr(err.text, "metadata \"a\": invalid UTF-8"));
}

Test(safetensors_write, a_failed_write_leaves_the_old_file) {
    enum { COUNT = 100000 };
    float *large = calloc(COUNT, sizeof *large);
    nn_entry small = {"a", "F32", 1, {6}, numbers, sizeof numbers};
    nn_entry entry = {"a", "F32", 1, {COUNT}, large, COUNT * sizeof *large};
    cr_assert(nn_file_save(path, &small, 1, NULL, 0, NULL));
    /* A limit on the size of files stands for a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){50000, RLIM_INFINITY}), 0);
    tensor_error err = {0};
    cr_assert_not(nn_file_save(path, &entry, 1, NULL, 0, &err));
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}), 0);
    cr_assert(strstr(err.text, path) && strstr(err.text, "cannot be written"), "%s", err.text);
    nn_file *file = nn_file_open(path, NULL);
    cr_assert(file && nn_file_find(file, "a")->bytes == sizeof numbers);
    nn_file_close(file);
    free(large);
    expect_no_temporary(path);
}

Test(safetensors_write, writes_never_through_a_link) {
    char temporary[128], victim[128];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    snprintf(victim, sizeof victim, "%s/victim", folder);
    for (int exists = 0; exists < 2; exists++) {
        struct stat status;
        tensor_error err = {0};
        if (exists) write_at(victim, "abc", 3);
        cr_assert_eq(symlink(victim, temporary), 0);
        cr_expect_not(nn_file_save(path, NULL, 0, NULL, 0, &err));
        cr_expect(strstr(err.text, "the .tmp file beside it is taken"), "%s", err.text);
        cr_expect_neq(lstat(path, &status), 0);
        cr_expect_eq(stat(victim, &status), exists - 1);
        cr_expect(!exists || status.st_size == 3);
        unlink(temporary);
    }
    unlink(victim);
}

Test(safetensors_write, what_a_killed_program_left_is_no_obstacle) {
    char temporary[128];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    write_at(temporary, "abc", 3);
    cr_expect(nn_file_save(path, NULL, 0, NULL, 0, NULL));
    expect_no_temporary(path);
}

/* Two that write one file at once: neither leaves a part of it under the file's name. */
Test(safetensors_write, another_writer_is_noticed) {
    tensor_error err = {0};
    int first = nn_file_begin(path, NULL), second = nn_file_begin(path, NULL);
    cr_assert(first >= 0 && second >= 0 && write(second, "abc", 3) == 3);
    cr_expect_not(nn_file_end(first, path, true, &err));
    cr_expect(strstr(err.text, "another program is writing it"), "%s", err.text);
    cr_expect_neq(access(path, F_OK), 0);
    cr_expect(nn_file_end(second, path, true, NULL));
    struct stat status;
    cr_expect(stat(path, &status) == 0 && status.st_size == 3);
    expect_no_temporary(path);
}

/* A file would take the place of what is no file: of /dev/null, where root saves to it. */
Test(safetensors_write, devices_and_pipes_stay) {
    char pipe[128];
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    const char *const links[] = {NULL, pipe, "/dev/null"};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        struct stat before, after;
        tensor_error err = {0};
        const char *target = links[i] ? path : pipe;
        if (links[i]) cr_assert_eq(symlink(links[i], path), 0);
        cr_assert_eq(lstat(target, &before), 0);
        cr_expect_not(nn_file_save(target, NULL, 0, NULL, 0, &err));
        cr_expect(strstr(err.text, "cannot be written: it is there, and no regular file"), "%s", err.text);
        cr_expect(lstat(target, &after) == 0 && after.st_ino == before.st_ino);
        expect_no_temporary(target);
        unlink(path);
    }
    unlink(pipe);
}

/* What is not there: a name, for which memory was out, or a value, which another file does not have. */
Test(safetensors_write, refuses_what_is_not_there) {
    const struct {
        nn_entry entry;
        nn_metadata metadata;
        const char *fault;
    } cases[] = {
        {{NULL, "F32", 0, {0}, numbers, 4}, {"a", "b"}, "a tensor without a name or a dtype"},
        {{"a", NULL, 0, {0}, numbers, 4}, {"a", "b"}, "a tensor without a name or a dtype"},
        {{"a", "F32", 0, {0}, numbers, 4}, {NULL, "b"}, "metadata without a key has no value"},
        {{"a", "F32", 0, {0}, numbers, 4}, {"a", NULL}, "metadata \"a\" has no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tensor_error err = {0};
        cr_expect_not(nn_file_save(path, &cases[i].entry, 1, &cases[i].metadata, 1, &err));
        cr_expect(strstr(err.text, cases[i].fault), "%s", err.text);
    }
    tensor_error err = {0};
    cr_expect_not(nn_file_save(NULL, NULL, 0, NULL, 0, &err));
    cr_expect_str_eq(err.text, "a file without a name");
    err = (tensor_error){0};
    cr_expect_not(nn_file_open(NULL, &err));
    cr_expect_str_eq(err.text, "a file without a name");
    cr_expect_neq(access("(null)", F_OK), 0);
}

Test(safetensors_write, cannot_write_into_no_folder_or_over_one) {
    char target[128];
    tensor_error err = {0};
    snprintf(target, sizeof target, "%s/none/file", folder);
    cr_assert_not(nn_file_save(target, NULL, 0, NULL, 0, &err));
    cr_assert(strstr(err.text, "none/file: cannot be written") && strstr(err.text, strerror(ENOENT)), "%s",
              err.text);
    snprintf(target, sizeof target, "%s/folder", folder);
    cr_assert_eq(mkdir(target, 0777), 0);
    err = (tensor_error){0};
    cr_assert_not(nn_file_save(target, NULL, 0, NULL, 0, &err));
    cr_assert(strstr(err.text, "folder: cannot be written"), "%s", err.text);
    expect_no_temporary(target);
    cr_assert_eq(rmdir(target), 0);
}
