/* Reading files of tensors: what is read, and one clear line for each fault. */
#include "sampo/nn.h"
#include "tests/nn/checkpoint_files.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

TestSuite(safetensors, .init = setup, .fini = teardown);

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
    expect_fault(path, ": not a safetensors file");
    write_bytes("\1\341\365\5\0\0\0\0{}", 10); /* 100000001 */
    expect_fault(path, ": not a safetensors file");
    write_bytes("\3\0\0\0\0\0\0\0{}", 10);
    expect_fault(path, "truncated: a header of 3 bytes in a file of 10");
}

/* Every file that ends too early is refused. */
Test(safetensors, refuses_every_truncated_file) {
    unsigned char file[512];
    const float numbers[] = {0, 1, 2, 3, 4, 5};
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
    save((nn_entry[]){{"none", "F32", 2, {0, 2}, x, 0}}, 1);
    nn_file *empty = nn_file_open(path, NULL);
    cr_assert(nn_file_crop(empty, "none", 0, NULL));
    cr_expect_eq(nn_file_find(empty, "none")->bytes, 0);
    nn_file_close(empty);
}

/* As after nn_file_open, whose result nobody has looked at, and nn_name without memory. */
Test(safetensors, changes_of_no_file_are_refused, .init = setup, .fini = teardown) {
    const float x[] = {1, 2};
    save((nn_entry[]){{"a", "F32", 1, {2}, x, 8}}, 1);
    nn_file *file = nn_file_open(path, NULL), *part = nn_file_open(path, NULL);
    tensor_error errors[9] = {0};
    cr_expect_not(nn_file_join(file, file, &errors[0]));
    cr_expect_not(nn_file_join(file, NULL, &errors[1]));
    cr_expect_not(nn_file_join(NULL, nn_file_open(path, NULL), &errors[2]));
    cr_expect_not(nn_file_strip(NULL, "a", &errors[3]));
    cr_expect_not(nn_file_crop(NULL, "a", 1, &errors[4]));
    cr_expect_not(nn_file_strip(file, NULL, &errors[5]));
    cr_expect_not(nn_file_crop(file, NULL, 1, &errors[6]));
    cr_assert(nn_file_strip(part, "a", NULL) && nn_file_join(file, part, NULL));
    cr_expect_not(nn_file_join(file, part, &errors[7]));
    cr_expect_not(nn_file_join(part, file, &errors[8]));
    static const char *const texts[] = {
        "the part is joined already", "no file to join",  "no file to join",  "no file to change",
        "no file to change",          "no name is given", "no name is given", "the part is joined already",
        "the part is joined already"};
    for (int i = 0; i < 9; i++) cr_expect(strstr(errors[i].text, texts[i]), "%d: %s", i, errors[i].text);
    cr_expect_eq(nn_file_entries(file), 2);
    cr_expect_null(nn_file_find(file, NULL));
    cr_expect_null(nn_file_metadata(file, NULL));
    nn_file_close(file);
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
