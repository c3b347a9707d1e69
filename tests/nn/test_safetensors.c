/* Checkpoints: what is written, what is read, and one clear line for each fault. */
#include "sampo/nn.h"
#include "tests/nn/temporary.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

TestSuite(safetensors, .init = setup, .fini = teardown);

static void write_at(const char *at, const void *bytes, size_t size) {
    FILE *file = fopen(at, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void write_bytes(const void *bytes, size_t size) {
    write_at(path, bytes, size);
}

static size_t read_bytes(void *buffer, size_t size) {
    FILE *file = fopen(path, "rb");
    cr_assert(file);
    size_t n = fread(buffer, 1, size, file);
    fclose(file);
    return n;
}

/* A file of a header, its length before it, and `data` bytes 0, 1, 2, ... behind it. */
static size_t make_file(unsigned char *file, const char *header, size_t data) {
    uint64_t length = strlen(header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < data; i++) file[8 + length + i] = (unsigned char)i;
    return 8 + length + data;
}

static nn_file *open_header(const char *header, size_t data, tensor_error *err) {
    unsigned char file[2048];
    cr_assert(strlen(header) + data + 8 < sizeof file);
    write_bytes(file, make_file(file, header, data));
    return nn_file_open(path, err);
}

/* No file beside the target is left, neither after success nor after failure. */
static void expect_no_temporary(const char *target) {
    char temporary[160];
    snprintf(temporary, sizeof temporary, "%s.tmp", target);
    struct stat status;
    cr_expect_neq(lstat(temporary, &status), 0);
    unlink(temporary);
}

/* ---- Writing ------------------------------------------------------------------------------------ */

static const float numbers[] = {0, 1, 2, 3, 4, 5};

/* The very bytes that the reference writes for this tensor (its test test_serialization). */
Test(safetensors, writes_the_bytes_of_the_reference) {
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

Test(safetensors, writes_an_empty_file_as_the_reference) {
    unsigned char found[64];
    cr_assert(nn_file_save(path, NULL, 0, NULL, 0, NULL));
    cr_assert_eq(read_bytes(found, sizeof found), 16);
    cr_assert(memcmp(found, "\10\0\0\0\0\0\0\0{}      ", 16) == 0);
    cr_assert(nn_file_save(path, NULL, 0, &(nn_metadata){"framework", "pt"}, 1, NULL));
    cr_assert_eq(read_bytes(found, sizeof found), 48);
    cr_assert(memcmp(found, "\50\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ", 48) == 0);
}

Test(safetensors, reads_what_it_wrote) {
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

Test(safetensors, refuses_to_write_what_could_not_be_read) {
    const struct {
        nn_entry entry;
        const char *fault;
    } cases[] = {
        {{"__metadata__", "F32", 0, {0}, numbers, 4}, "\"__metadata__\" cannot be a tensor's name"},
        {{"\xff", "F32", 0, {0}, numbers, 4}, "\"\\ufffd\" cannot be a tensor's name"},
        {{"a", "F64", 0, {0}, numbers, 8}, "tensor \"a\": cannot write \"F64\""},
        {{"a", "F32", 1, {3}, numbers, 8}, "tensor \"a\": its shape does not have 8 bytes"},
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

Test(safetensors, a_failed_write_leaves_the_old_file) {
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

Test(safetensors, writes_never_through_a_link) {
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

Test(safetensors, what_a_killed_program_left_is_no_obstacle) {
    char temporary[128];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    write_at(temporary, "abc", 3);
    cr_expect(nn_file_save(path, NULL, 0, NULL, 0, NULL));
    expect_no_temporary(path);
}

/* Two that write one file at once: neither leaves a part of it under the file's name. */
Test(safetensors, another_writer_is_noticed) {
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

Test(safetensors, cannot_write_into_no_folder_or_over_one) {
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

/* ---- Reading ------------------------------------------------------------------------------------ */

#define TENSOR_A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

Test(safetensors, accepts_any_order_and_spacing) {
    tensor_error err = {0};
    nn_file *file = open_header(
        "{ \"z\" : { \"data_offsets\" : [ 8 , 24 ] , \"shape\" : [ 1 ,2] ,\n\t\"dtype\":\"F64\" } ,"
        "\r\n\"__metadata__\":{}, \"\\u00e4\\ud83d\\ude00\\/\":{\"dtype\":\"I32\",\"shape\":"
        "[2],\"data_offsets\":[0,8]},\"e\":{\"dtype\":\"BOOL\",\"shape\":[3,0],"
        "\"data_offsets\":[8,8]}}  ",
        24, &err);
    cr_assert(file, "%s", err.text);
    cr_assert_eq(nn_file_entries(file), 3);
    cr_assert_str_eq(nn_file_at(file, 0)->name, "z");
    cr_assert_str_eq(nn_file_at(file, 0)->dtype, "F64");
    cr_assert_str_eq(nn_file_at(file, 1)->name, "\xc3\xa4\xf0\x9f\x98\x80/");
    cr_assert_eq(nn_file_find(file, "e")->bytes, 0);
    nn_file_close(file);
}

Test(safetensors, aligns_what_the_file_does_not) {
    tensor_error err = {0};
    nn_file *file =
        open_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"b\":{\"dtype\":\"F64\","
                    "\"shape\":[2],\"data_offsets\":[3,19]}}",
                    19, &err);
    cr_assert(file, "%s", err.text);
    const nn_entry *b = nn_file_find(file, "b");
    cr_assert_eq((uintptr_t)b->data % 8, 0);
    for (int i = 0; i < 16; i++) cr_assert_eq(((const unsigned char *)b->data)[i], 3 + i);
    nn_file_close(file);
}

Test(safetensors, refuses_faulty_headers) {
#define WITH(part) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]" part
#define SHAPE_OF(shape) "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[0,8]}}"
#define OFFSETS(offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" offsets "}}"
    const struct {
        const char *header, *fault;
    } cases[] = {
        {"[]", "header, byte 0: expected an object"},
        {" {" TENSOR_A "}", "header, byte 0: expected an object"},
        {"{" TENSOR_A, "header, byte 53: expected ',' or '}'"},
        {"{" TENSOR_A "}}", "header, byte 54: expected the header's end or spaces"},
        {"{" TENSOR_A "}\n", "header, byte 54: expected the header's end or spaces"},
        {"{" TENSOR_A ",}", "header, byte 54: expected a string"},
        {"{" TENSOR_A "," TENSOR_A "}", "tensor \"a\" comes twice"},
        {"{a:1}", "header, byte 1: expected a string"},
        {"{\"a\" {}}", "header, byte 5: expected ':'"},
        {"{\"a\":[]}", "header, byte 5: expected an object"},
        {"{\"a\":{}}", "header, byte 7: expected dtype, shape and two data_offsets"},
        {WITH(",\"x\":1}}"), "header, byte 57: expected dtype, shape and data_offsets, once each"},
        {WITH(",\"shape\":[2]}}"), "header, byte 61: expected dtype, shape and data_offsets, once each"},
        {"{\"a\":{\"dtype\":\"F33\"}}", "header, byte 19: expected a known dtype"},
        {"{\"a\":{\"dtype\":32}}", "header, byte 14: expected a string"},
        {SHAPE_OF("2"), "header, byte 28: expected an array"},
        {SHAPE_OF("[2.0]"), "header, byte 29: expected an integer"},
        {SHAPE_OF("[2e0]"), "header, byte 29: expected an integer"},
        {SHAPE_OF("[02]"), "header, byte 29: an integer with a leading zero"},
        {SHAPE_OF("[-2]"), "header, byte 31: expected no negative number"},
        {SHAPE_OF("[+2]"), "header, byte 29: expected an integer"},
        {SHAPE_OF("[[2]]"), "header, byte 29: expected an integer"},
        {SHAPE_OF("[9223372036854775808]"), "header, byte 29: an integer beyond 64 bits"},
        {SHAPE_OF("[9223372036854775807,2]"), "tensor \"a\": its size overflows"},
        {SHAPE_OF("[1,1,1,1,1,1,1,1,2]"), "header, byte 46: expected a rank of at most 8"},
        {SHAPE_OF("[3]"), "tensor \"a\" needs 12 bytes, its offsets are 0 to 8"},
        {SHAPE_OF("[2"), "header, byte 31: expected an integer"},
        {SHAPE_OF("[0]"), "tensor \"a\" needs 0 bytes, its offsets are 0 to 8"},
        {OFFSETS("[0]"), "header, byte 51: expected dtype, shape and two data_offsets"},
        {OFFSETS("[0,8,9]"), "header, byte 53: expected two offsets"},
        {OFFSETS("[8,0]"), "tensor \"a\" needs 8 bytes, its offsets are 8 to 0"},
        {OFFSETS("[1,9]"), "tensor \"a\" begins at 1, expected 0: a hole or an overlap"},
        {WITH("},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[7,8]}}"),
         "tensor \"b\" begins at 7, expected 8: a hole or an overlap"},
        {WITH("},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}"),
         "truncated: the tensors need 9 bytes, the file has 8"},
        {"{}", "8 bytes behind the last tensor"},
        {"{\"__metadata__\":{\"a\":1}}", "header, byte 21: expected a string"},
        {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", "header, byte 21: expected a string"},
        {"{\"__metadata__\":\"a\"}", "header, byte 16: expected an object"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "header, byte 34: expected __metadata__ once"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "metadata \"a\" comes twice"},
        {"{\"\xff\":1}", "header, byte 2: invalid UTF-8"},
        {"{\"\xc0\x80\":1}", "header, byte 2: invalid UTF-8"},
        {"{\"\xe0\x80\x80\":1}", "header, byte 2: invalid UTF-8"},
        {"{\"\xed\xa0\x80\":1}", "header, byte 2: invalid UTF-8"},
        {"{\"\xf4\x90\x80\x80\":1}", "header, byte 2: invalid UTF-8"},
        {"{\"\xc3", "header, byte 2: invalid UTF-8"},
        {"{\"\n\":1}", "header, byte 2: a control character in a string"},
        {"{\"a", "header, byte 3: a string without an end"},
        {"{\"\\", "header, byte 3: unknown escape"},
        {"{\"\\x\":1}", "header, byte 3: unknown escape"},
        {"{\"\\u12g4\":1}", "header, byte 4: expected four hexadecimal digits"},
        {"{\"\\u0000\":1}", "header, byte 8: a NUL in a string"},
        {"{\"\\ud800\":1}", "header, byte 8: half a surrogate pair"},
        {"{\"\\udc00\":1}", "header, byte 8: half a surrogate pair"},
        {"{\"\\ud800\\u0041\":1}", "header, byte 8: half a surrogate pair"},
        {"{\"new\\nline\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}",
         "tensor \"new\\nline\" needs 4 bytes, its offsets are 0 to 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tensor_error err = {0};
        cr_expect_null(open_header(cases[i].header, 8, &err), "%s", cases[i].header);
        cr_expect(strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
        if (strlen(err.text) < strlen(path) + 2) continue;
        cr_expect_str_eq(err.text + strlen(path) + 2, cases[i].fault, "%s: %s", cases[i].header, err.text);
    }
}

/* What stands behind the header, the data, is never taken for a part of it. */
Test(safetensors, a_header_ends_where_its_length_says) {
    static const char *const whole[] = {"{\"\\u1|234\":1}", "{\"\\ud83d\\ude|00\":1}",
                                        "{\"\xf0\x9f|\x98\x80\":1}", "{\"a\\|n\":1}", "{\"a|\":1}"};
    static const char *const faults[] = {"byte 4: expected four hexadecimal digits",
                                         "byte 8: half a surrogate pair", "byte 2: invalid UTF-8",
                                         "byte 4: unknown escape", "byte 3: a string without an end"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        unsigned char file[64] = {0};
        tensor_error err = {0};
        const size_t length = strcspn(whole[i], "|"), rest = strlen(whole[i]) - length - 1;
        file[0] = (unsigned char)length;
        memcpy(file + 8, whole[i], length);
        memcpy(file + 8 + length, whole[i] + length + 1, rest);
        write_bytes(file, 8 + length + rest);
        tensor_arena *arena =
            tensor_arena_new(NULL); /* whose memory the file's is likely to get, full of digits */
        void *digits = tensor_arena_alloc(arena, 4096, NULL);
        cr_assert(digits);
        memset(digits, '4', 4096);
        tensor_arena_free(arena);
        cr_expect_null(nn_file_open(path, &err));
        cr_expect(strstr(err.text, faults[i]), "%s", err.text);
    }
}

static void expect_fault(const char *where, const char *fault) {
    tensor_error err = {0};
    cr_expect_null(nn_file_open(where, &err));
    cr_expect(strncmp(err.text, where, strlen(where)) == 0, "%s", err.text);
    cr_expect(strstr(err.text, fault), "%s, expected %s", err.text, fault);
}

/* A small file must not take much memory and time: a header of empty tensors or of metadata, one too many. */
Test(safetensors, refuses_a_header_of_very_many, .timeout = 60) {
    enum { MOST = 1 << 18, EACH = 64 };
    char *file = malloc(8 + 64 + (size_t)(MOST + 1) * EACH);
    cr_assert(file);
    for (int metadata = 0; metadata < 2; metadata++) {
        for (int count = MOST; count <= MOST + 1; count++) {
            char *at = file + 8;
            at += sprintf(at, metadata ? "{\"__metadata__\":{" : "{");
            for (int i = 0; i < count; i++)
                at += sprintf(at,
                              metadata ? "%s\"%x\":\"\""
                                       : "%s\"%x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              i ? "," : "", (unsigned)i);
            at += sprintf(at, metadata ? "}}" : "}");
            const uint64_t length = (uint64_t)(at - file) - 8;
            memcpy(file, &length, 8);
            write_bytes(file, 8 + length);
            tensor_error err = {0};
            nn_file *open = nn_file_open(path, &err);
            if (count == MOST)
                cr_expect_not_null(open, "%s", err.text);
            else
                cr_expect(!open && strstr(err.text, "at most 262144"), "%s", err.text);
            nn_file_close(open);
        }
    }
    free(file);
}

Test(safetensors, refuses_what_is_no_file) {
    expect_fault(path, "cannot open: No such file");
    expect_fault(folder, "is a folder");
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_fault(path, "is no regular file");
    unlink(path);
    write_bytes("", 0);
    expect_fault(path, "is empty");
    write_bytes("abc", 3);
    expect_fault(path, "truncated: 3 bytes");
    write_bytes("\1\0\0\0\0\0\0\0{", 9);
    expect_fault(path, "a header of 1 bytes");
    write_bytes("\377\377\377\377\377\377\377\377{}", 10);
    expect_fault(path, "a header of 18446744073709551615 bytes");
    write_bytes("\1\341\365\5\0\0\0\0{}", 10); /* 100000001 */
    expect_fault(path, "a header of 100000001 bytes");
    write_bytes("\3\0\0\0\0\0\0\0{}", 10);
    expect_fault(path, "truncated: a header of 3 bytes in a file of 10");
}

/* Every file that ends too early is refused. */
Test(safetensors, refuses_every_truncated_file) {
    unsigned char file[512];
    nn_entry entry = {"a", "F32", 1, {6}, numbers, sizeof numbers};
    cr_assert(nn_file_save(path, &entry, 1, &(nn_metadata){"key", "value"}, 1, NULL));
    size_t size = read_bytes(file, sizeof file);
    for (size_t n = 0; n < size; n++) {
        write_bytes(file, n);
        expect_fault(path, n == 0 ? "is empty" : "truncated");
    }
}

Test(safetensors, names_the_end_of_a_long_path) {
    char longest[400];
    memset(longest, 'x', sizeof longest);
    strcpy(longest + 380, "/model.safetensors");
    tensor_error err = {0};
    cr_assert_null(nn_file_open(longest, &err));
    cr_assert(strncmp(err.text, "...xxx", 6) == 0);
    cr_assert(strstr(err.text, "x/model.safetensors: cannot open: "), "%s", err.text);
}

/* The fuzz target, over mutations of valid files and headers that a fixed generator makes. */
Test(safetensors, survives_mutated_files, .timeout = 60) {
    static const char *const headers[] = {
        "{\"__metadata__\":{\"k\":\"\\u00e4v\",\"a\":\"[\\\"\\\\n\\\"]\"}," TENSOR_A
        ",\"b\":{\"dtype\":\"F64\",\"shape\":[1,2],\"data_offsets\":[8,24]}} ",
        "{\"x\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"y\":{\"dtype\":\"BF16\",\"shape\":["
        "],"
        "\"data_offsets\":[3,5]},\"z\":{\"dtype\":\"I8\",\"shape\":[19],\"data_offsets\":[5,24]}}",
        "[\"a\", \"\\n\", \"\\ud83d\\ude00\", \"\xc3\xa4\"]",
    };
    static const char pieces[] = "{}[]\":,0189-.eu\\dn \t\n\xff\xc3\xa4\x01";
    tensor_rng rng = {2024, 0, 0};
    for (int turn = 0; turn < 4000; turn++) {
        unsigned char file[512];
        const char *header = headers[tensor_rng_below(&rng, 3)];
        size_t size = make_file(file, header, 24);
        for (uint64_t n = tensor_rng_below(&rng, 4); n > 0; n--) {
            size_t at = (size_t)tensor_rng_below(&rng, size), rest = size - at;
            switch (tensor_rng_below(&rng, 5)) {
            case 0:
                file[at] ^= (unsigned char)(1u << tensor_rng_below(&rng, 8));
                break;
            case 1:
                file[at] = (unsigned char)pieces[tensor_rng_below(&rng, sizeof pieces - 1)];
                break;
            case 2:
                size = at;
                break;
            case 3:
                memmove(file + at, file + at + rest / 8, rest - rest / 8), size -= rest / 8;
                break;
            default:
                if (size + 8 < sizeof file) memmove(file + at + 8, file + at, rest), size += 8;
            }
            if (size == 0) break;
        }
        LLVMFuzzerTestOneInput(file, size);
        if (size > 8) LLVMFuzzerTestOneInput(file + 8, size - 8);
    }
}

/* ---- Parameters --------------------------------------------------------------------------------- */

static nn_params *registry(uint64_t seed, bool tied) {
    nn_params *params = nn_params_new();
    ag_var *wte = nn_param(params, "wte", NN_NORMAL(1), TENSOR_SHAPE(4, 3));
    nn_param(params, "bias", NN_NORMAL(1), TENSOR_SHAPE(5));
    if (tied) nn_tie(params, "lm_head", wte);
    cr_assert(nn_params_finalize(params, seed));
    return params;
}

static bool same_values(const nn_params *a, const nn_params *b) {
    return memcmp(nn_values(a).data, nn_values(b).data, (size_t)nn_params_count(a) * sizeof(float)) == 0;
}

Test(safetensors, parameters_go_out_and_back) {
    nn_params *params = registry(1, true), *other = registry(2, true);
    tensor_error err = {0};
    cr_assert(nn_params_save(params, path, &(nn_metadata){"tied_head", "true"}, 1, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert_eq(nn_file_entries(file), 2);
    cr_assert_null(nn_file_find(file, "lm_head"));
    cr_assert_str_eq(nn_file_metadata(file, "tied_head"), "true");
    uint64_t version = nn_values(other).storage->version;
    cr_assert_not(same_values(params, other));
    cr_assert(nn_params_load(other, file, &err), "%s", err.text);
    cr_assert(same_values(params, other));
    cr_assert_gt(nn_values(other).storage->version, version);
    nn_file_close(file);
    nn_params_free(params);
    nn_params_free(other);
}

Test(safetensors, parameters_without_values_are_loaded) {
    nn_params *params = registry(1, true), *other = nn_params_new();
    nn_param(other, "wte", NN_ONES, 2, (int64_t[]){4, 3});
    nn_param(other, "bias", NN_ONES, 1, (int64_t[]){5});
    tensor_error err = {0};
    cr_assert(nn_params_reserve(other) && nn_params_save(params, path, NULL, 0, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert(nn_params_load(other, file, &err), "%s", err.text);
    cr_expect(same_values(params, other));
    cr_expect_eq(tensor_size(nn_grads(other)), tensor_size(nn_grads(params)));
    nn_file_close(file);
    nn_params_free(params);
    nn_params_free(other);
}

static void save(const nn_entry *entries, int count) {
    cr_assert(nn_file_save(path, entries, count, NULL, 0, NULL));
}

Test(safetensors, parameters_load_by_alias_and_ignore_the_rest) {
    float wte[12] = {1}, bias[5] = {2}, rest[2] = {3};
    save((nn_entry[]){{"mask", "F32", 1, {2}, rest, sizeof rest},
                      {"lm_head", "F32", 2, {4, 3}, wte, sizeof wte},
                      {"bias", "F32", 1, {5}, bias, sizeof bias}},
         3);
    nn_params *params = registry(1, true);
    tensor_error err = {0};
    nn_file *file = nn_file_open(path, &err);
    cr_assert(nn_params_load(params, file, &err), "%s", err.text);
    cr_assert(nn_values(params).f32[0] == 1 && nn_values(params).f32[12] == 2);
    nn_file_close(file);
    nn_params_free(params);
}

/* A file that does not fit says why and changes nothing, not even the parameters before the fault. */
static void expect_no_load(const nn_entry *entries, int count, const char *fault) {
    save(entries, count);
    nn_params *params = registry(1, false), *untouched = registry(1, false);
    tensor_error err = {0};
    nn_file *file = nn_file_open(path, &err);
    cr_assert(file, "%s", err.text);
    cr_expect_not(nn_params_load(params, file, &err));
    cr_expect(strncmp(err.text, path, strlen(path)) == 0);
    cr_expect_str_eq(err.text + strlen(path) + 2, fault);
    cr_expect(same_values(params, untouched));
    nn_file_close(file);
    nn_params_free(params);
    nn_params_free(untouched);
}

Test(safetensors, parameters_that_do_not_fit_are_refused) {
    float wte[12] = {1}, bias[5] = {2};
    nn_entry good = {"wte", "F32", 2, {4, 3}, wte, sizeof wte};
    expect_no_load((nn_entry[]){good}, 1, "no tensor \"bias\"");
    expect_no_load((nn_entry[]){good, {"bias", "I32", 1, {5}, bias, sizeof bias}}, 2,
                   "tensor \"bias\" is I32, expected F32, F16 or BF16");
    expect_no_load((nn_entry[]){good, {"bias", "F32", 1, {4}, bias, 16}}, 2,
                   "tensor \"bias\" is [4], expected [5]");
    expect_no_load((nn_entry[]){good, {"bias", "F32", 2, {1, 5}, bias, sizeof bias}}, 2,
                   "tensor \"bias\" is [1, 5], expected [5]");
    nn_params *params = registry(1, false);
    tensor_error err = {0};
    cr_assert_not(nn_params_load(params, NULL, &err));
    cr_assert_str_eq(err.text, "no file to load from");
    nn_params_free(params);
    params = nn_params_new();
    cr_assert_not(nn_params_save(params, "out", NULL, 0, (err = (tensor_error){0}, &err)));
    cr_assert_str_eq(err.text, "out: the parameters are not finalized");
    nn_params_free(params);
}

/* Halves: zeros of both signs, the smallest subnormal, one, the largest number, infinity, no number. */
Test(safetensors, halves_load_as_float32) {
    static const uint16_t f16[] = {0x0000, 0x8000, 0x0001, 0x03ff, 0x3c00,
                                   0xbc01, 0x7bff, 0xfc00, 0x7e00, 0x3555};
    static const float f16_values[] = {0,           -0.f,  0x1p-24f,  0x3ffp-24f, 1,
                                       -0x1.004p0f, 65504, -INFINITY, NAN,        0x1.554p-2f};
    static const uint16_t bf16[] = {0x0000, 0x8000, 0x0001, 0x3f80, 0xbf81,
                                    0x7f7f, 0xff80, 0x7fc0, 0x4049, 0x0080};
    static const float bf16_values[] = {0,           -0.f,      0x1p-133f, 1,         -0x1.02p0f,
                                        0x1.fep127f, -INFINITY, NAN,       0x1.92p1f, 0x1p-126f};
    enum { COUNT = 10 };
    unsigned char file[512];
    const size_t size = make_file(file,
                                  "{\"a\":{\"dtype\":\"F16\",\"shape\":[10],\"data_offsets\":[0,20]},"
                                  "\"b\":{\"dtype\":\"BF16\",\"shape\":[10],\"data_offsets\":[20,40]}}",
                                  40);
    memcpy(file + size - 40, f16, 20);
    memcpy(file + size - 20, bf16, 20);
    write_bytes(file, size);
    nn_params *params = nn_params_new();
    const ag_var *a = nn_param(params, "a", NN_ONES, 1, (int64_t[]){COUNT});
    const ag_var *b = nn_param(params, "b", NN_ONES, 1, (int64_t[]){COUNT});
    cr_assert(nn_params_finalize(params, 1));
    tensor_error err = {0};
    nn_file *opened = nn_file_open(path, &err);
    cr_assert(nn_params_load(params, opened, &err), "%s", err.text);
    for (int i = 0; i < COUNT; i++) {
        const float x = a->value.f32[i], y = b->value.f32[i];
        cr_expect(isnan(x) ? isnan(f16_values[i]) : memcmp(&x, &f16_values[i], 4) == 0, "F16 %d: %a", i,
                  (double)x);
        cr_expect(isnan(y) ? isnan(bf16_values[i]) : memcmp(&y, &bf16_values[i], 4) == 0, "BF16 %d: %a", i,
                  (double)y);
    }
    nn_file_close(opened);
    nn_params_free(params);
}

Test(safetensors, metadata_and_names_without_a_prefix) {
    float x[2] = {1, 2}, y[1] = {3};
    const nn_entry entries[] = {{"model.h.0", "F32", 1, {2}, x, sizeof x},
                                {"modelling", "F32", 1, {1}, y, sizeof y}};
    const nn_metadata metadata[] = {{"format", "pt"}, {"author", "me"}};
    tensor_error err = {0};
    cr_assert(nn_file_save(path, entries, 2, metadata, 2, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert_eq(nn_file_metadata_count(file), 2);
    cr_expect_str_eq(nn_file_metadata_at(file, 0)->key, "author");
    cr_expect_str_eq(nn_file_metadata_at(file, 1)->value, "pt");
    cr_assert(nn_file_strip(file, "model.", &err));
    cr_expect_null(nn_file_find(file, "model.h.0"));
    cr_assert(nn_file_find(file, "h.0"));
    cr_expect_arr_eq(nn_file_find(file, "h.0")->data, x, sizeof x);
    cr_expect(nn_file_find(file, "modelling") != NULL);
    nn_file_close(file);

    save((nn_entry[]){{"a", "F32", 1, {1}, y, sizeof y}, {"b.a", "F32", 1, {1}, y, sizeof y}}, 2);
    file = nn_file_open(path, &err);
    cr_expect_not(nn_file_strip(file, "b.", &err));
    cr_expect(strstr(err.text, "tensor \"a\" comes twice") != NULL, "%s", err.text);
    nn_file_close(file);
}

/* A model in two files, of which one tensor loses its last rows. */
Test(safetensors, joined_and_cropped, .init = setup, .fini = teardown) {
    const float x[] = {1, 2, 3, 4, 5, 6};
    tensor_error err = {0};
    nn_file *files[3];
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"a", "b", "a"};
        save((nn_entry[]){{names[i], "F32", 2, {3 - i, 2}, x, (size_t)(3 - i) * 8}}, 1);
        cr_assert((files[i] = nn_file_open(path, &err)), "%s", err.text);
    }
    cr_assert(nn_file_join(files[0], files[1], &err), "%s", err.text);
    cr_expect_eq(nn_file_entries(files[0]), 2);
    cr_expect_arr_eq(nn_file_find(files[0], "b")->data, x, 16);
    cr_assert(nn_file_crop(files[0], "a", 2, &err), "%s", err.text);
    cr_expect_eq(nn_file_find(files[0], "a")->shape[0], 2);
    cr_expect_eq(nn_file_find(files[0], "a")->bytes, 16);
    cr_expect_not(nn_file_crop(files[0], "a", 3, &err));
    cr_expect(strstr(err.text, "tensor \"a\" has no 3 rows"), "%s", err.text);
    err = (tensor_error){0};
    cr_expect_not(nn_file_crop(files[0], "c", 1, &err));
    cr_expect(strstr(err.text, "no tensor \"c\""), "%s", err.text);
    err = (tensor_error){0};
    cr_expect_not(nn_file_join(files[0], files[2], &err));
    cr_expect(strstr(err.text, "tensor \"a\" comes twice"), "%s", err.text);
    nn_file_close(files[0]); /* and with it the others */
}

/* ---- A file that PyTorch made --------------------------------------------------------------------- */

Test(safetensors, reads_a_file_of_pytorch) {
    const char *shared = getenv("SAMPO_SHARED");
    char name[512];
    snprintf(name, sizeof name, "%s/parity/kalevala-torch.safetensors", shared ? shared : "../shared");
    if (access(name, R_OK) != 0)
        cr_skip_test("the parity files are not here (SAMPO_SHARED names their folder)");
    tensor_error err = {0};
    nn_file *file = nn_file_open(name, &err);
    cr_assert(file, "%s", err.text);
    cr_assert_eq(nn_file_entries(file), 37);
    cr_assert_str_eq(nn_file_metadata(file, "attention_scale"), "0.125");
    const nn_entry *wte = nn_file_find(file, "wte.weight");
    cr_assert(wte && wte->rank == 2 && wte->shape[0] == 51 && wte->shape[1] == 64);
    tensor_arena *arena = tensor_arena_new(NULL);
    const char *const *strings;
    int count;
    cr_assert(nn_json_strings(nn_file_metadata(file, "vocabulary"), arena, &strings, &count, &err), "%s",
              err.text);
    cr_assert_eq(count, 51);
    cr_assert_str_eq(strings[0], "\n");
    cr_assert_str_eq(strings[50], "\xc3\xb6");
    tensor_arena_free(arena);
    nn_file_close(file);
}
