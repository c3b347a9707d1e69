/* Data: readers of IDX and CSV files, and one clear line for each fault. */
#include <float.h>
#include <math.h>

#define LLVMFuzzerTestOneInput fuzz_data /* the safetensors' target has that name */
#include "tests/fuzz/fuzz_data.c"

#include "tests/nn/temporary.h"

TestSuite(data, .init = setup, .fini = teardown);

static void write_bytes(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

/* The text of a failure without the path before it. */
static const char *fault_of(const tensor_error *err) {
    cr_assert(strncmp(err->text, path, strlen(path)) == 0, "%s", err->text);
    return err->text + strlen(path) + 2;
}

/* ---- IDX ---------------------------------------------------------------------------------------- */

#define EXPECT_IDX(text, wanted, ...)                                                                        \
    do {                                                                                                     \
        const unsigned char bytes[] = {__VA_ARGS__};                                                         \
        tensor_error err = {0};                                                                              \
        write_bytes(bytes, sizeof bytes);                                                                    \
        cr_expect_not(tensor_ok(nn_idx_read(path, wanted, arena, &err)));                                    \
        cr_expect_str_eq(fault_of(&err), text);                                                              \
    } while (0)

Test(data, idx) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 1, 255, 7, 128, 9};
    write_bytes(images, sizeof images);
    for (int k = 0; k < 2; k++) {
        tensor_error err = {0};
        const tensor x = nn_idx_read(path, k ? TENSOR_I32 : TENSOR_F32, arena, &err);
        cr_assert(tensor_ok(x), "%s", err.text);
        cr_assert(x.rank == 3 && x.shape[0] == 2 && x.shape[1] == 1 && x.shape[2] == 3);
        for (int i = 0; i < 6; i++) cr_expect_eq(k ? (float)x.i32[i] : x.f32[i], images[16 + i]);
    }
    const unsigned char all[][16] = {
        {0, 0, 0x09, 1, 0, 0, 0, 1, 0xfe},
        {0, 0, 0x0b, 1, 0, 0, 0, 1, 0xff, 0xfe},
        {0, 0, 0x0c, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe},
        {0, 0, 0x0d, 1, 0, 0, 0, 1, 0xc0, 0, 0, 0},
        {0, 0, 0x0e, 1, 0, 0, 0, 1, 0xc0, 0, 0, 0, 0, 0, 0, 0},
    };
    const size_t sizes[] = {9, 10, 12, 12, 16};
    for (int i = 0; i < 5; i++) {
        write_bytes(all[i], sizes[i]);
        const tensor x = nn_idx_read(path, TENSOR_F32, arena, NULL);
        cr_assert(tensor_ok(x), "type %d", all[i][2]);
        cr_expect_eq(x.f32[0], -2, "type %d", all[i][2]);
        cr_expect_eq(tensor_ok(nn_idx_read(path, TENSOR_I32, arena, NULL)), i < 3);
    }
    write_bytes((unsigned char[]){0, 0, 8, 2, 0, 0, 0, 0, 255, 255, 255, 255}, 12);
    const tensor none = nn_idx_read(path, TENSOR_F32, arena, NULL);
    cr_expect(tensor_ok(none) && none.shape[1] == UINT32_MAX);
    unsigned char most[4 + 4 * TENSOR_MAX_RANK + 2] = {0, 0, 8, TENSOR_MAX_RANK};
    for (int i = 0; i < TENSOR_MAX_RANK; i++) most[7 + 4 * i] = i == 3 ? 2 : 1;
    most[sizeof most - 1] = 6;
    write_bytes(most, sizeof most);
    const tensor deep = nn_idx_read(path, TENSOR_I32, arena, NULL);
    cr_expect(tensor_ok(deep) && deep.rank == TENSOR_MAX_RANK && deep.shape[3] == 2 && deep.i32[1] == 6);
    write_bytes((unsigned char[]){0, 0, 8, 0, 5}, 5);
    cr_expect_eq(nn_idx_read(path, TENSOR_F32, arena, NULL).f32[0], 5);
    tensor_arena_free(arena);
}

Test(data, idx_that_is_wrong) {
    tensor_arena *arena = tensor_arena_new(NULL);
    EXPECT_IDX("truncated: 3 bytes, no IDX file", TENSOR_F32, 0, 0, 8);
    EXPECT_IDX("no IDX file: it begins with 00 00 0a 01", TENSOR_F32, 0, 0, 10, 1, 0, 0, 0, 0);
    EXPECT_IDX("no IDX file: it begins with 1f 8b 08 08, as gzip does; gunzip unpacks it", TENSOR_F32, 0x1f,
               0x8b, 8, 8);
    EXPECT_IDX("a rank of 9 is above 8", TENSOR_F32, 0, 0, 8, 9);
    EXPECT_IDX("truncated: its sizes are cut off", TENSOR_F32, 0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0);
    EXPECT_IDX("truncated: [3] numbers do not fit into the 2 bytes behind the sizes", TENSOR_F32, 0, 0, 8, 1,
               0, 0, 0, 3, 1, 2);
    EXPECT_IDX("1 bytes behind the last number", TENSOR_F32, 0, 0, 8, 1, 0, 0, 0, 1, 1, 2);
    EXPECT_IDX("1 bytes behind the last number", TENSOR_F32, 0, 0, 8, 1, 0, 0, 0, 0, 1);
    EXPECT_IDX("truncated: [4294967295, 4294967295, 4294967295] numbers do not fit into the 1 bytes behind "
               "the sizes",
               TENSOR_F32, 0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0);
    EXPECT_IDX("its numbers are no integers; float32 takes them", TENSOR_I32, 0, 0, 13, 1, 0, 0, 0, 1, 0, 0,
               0, 0);
    tensor_error err = {0};
    write_bytes("", 0);
    cr_expect_not(tensor_ok(nn_idx_read(path, TENSOR_F32, arena, &err)));
    cr_expect_str_eq(fault_of(&err), "is empty");
    err = (tensor_error){0};
    cr_expect_not(tensor_ok(nn_idx_read("/nowhere/x", TENSOR_F32, arena, &err)));
    cr_expect_str_eq(err.text, "/nowhere/x: cannot open: No such file or directory");
    tensor_arena_free(arena);
}

/* ---- CSV ---------------------------------------------------------------------------------------- */

static nn_csv read_text(const char *text, nn_csv_options options, tensor_arena *arena, tensor_error *err) {
    nn_csv csv;
    write_bytes(text, strlen(text));
    cr_expect_eq(nn_csv_read(&csv, path, options, arena, err), tensor_ok(csv.values));
    return csv;
}

static void expect_table(nn_csv csv, const tensor_error *err, int64_t rows, int64_t columns,
                         const char *names, const float *values) {
    cr_assert(tensor_ok(csv.values), "%s", err->text);
    cr_assert(csv.values.rank == 2 && csv.values.shape[0] == rows && csv.values.shape[1] == columns);
    char joined[100] = "";
    for (int i = 0; i < columns; i++) strcat(strcat(joined, csv.names[i]), "|");
    cr_expect_str_eq(joined, names);
    for (int i = 0; i < rows * columns; i++)
        cr_expect_eq(csv.values.f32[i], values[i], "number %d is %g", i, (double)csv.values.f32[i]);
}

Test(data, csv) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    nn_csv_options options = NN_CSV_DEFAULTS;
    const float six[] = {1, 2, 3, 4, 5, 6};
    expect_table(read_text("a,b,c\n1,2,3\n4,5,6\n", options, arena, &err), &err, 2, 3, "a|b|c|", six);
    expect_table(read_text("\xef\xbb\xbf"
                           "a, b ,\"c\"\r\n1,2,\"3\"\r\n 4,\t5 ,6",
                           options, arena, &err),
                 &err, 2, 3, "a|b|c|", six);
    expect_table(read_text("\"a \"\"x\"\", y\",\"two\nlines\"\n1,2\n", options, arena, &err), &err, 1, 2,
                 "a \"x\", y|two\nlines|", six);
    expect_table(read_text("a,b\n", options, arena, &err), &err, 0, 2, "a|b|", six);
    const char *const chosen[] = {"c", "a", NULL};
    options.columns = chosen;
    expect_table(read_text("a,b,c\n2,\"any, \"\"text\n\"\"\",1\n4,,3\n", options, arena, &err), &err, 2, 2,
                 "c|a|", six);
    options = (nn_csv_options){.no_header = true, .delimiter = ';'};
    expect_table(read_text("1;2;3\n4;5;6", options, arena, &err), &err, 2, 3, "1|2|3|", six);
    options.columns = (const char *const[]){"3", NULL};
    expect_table(read_text("1;2;3\n4;5;6", options, arena, &err), &err, 2, 1, "3|", (const float[]){3, 6});
    tensor_arena_free(arena);
}

/* Each number is the float32 that is nearest to the double that strtod reads. */
Test(data, csv_numbers) {
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "+1",
                                          "1.",
                                          ".5",
                                          "-1.5e3",
                                          "1E-3",
                                          "12345678901234567890",
                                          "0.1",
                                          "3.4028234e38",
                                          "1e-50",
                                          "9007199254740993",
                                          "0.000000000000000000000000000000000000000001234",
                                          "1e22",
                                          "1e23",
                                          "123456789012345e-22",
                                          "00000000000000000000000000012.5",
                                          "0e99999999999999999999999",
                                          "16777217",
                                          "9373880500000001e-9",
                                          "11575422377063659e-21",
                                          "-2.5e-45"};
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const nn_csv csv = read_text(numbers[i], (nn_csv_options){NULL, true, ','}, arena, &err);
        cr_assert(tensor_ok(csv.values), "%s", err.text);
        const float expected = (float)strtod(numbers[i], NULL);
        cr_expect(memcmp(csv.values.f32, &expected, sizeof expected) == 0, "%s is read as %.9g", numbers[i],
                  (double)csv.values.f32[0]);
    }
    enum { ROWS = 2000, WIDTH = 40 };
    static char text[ROWS * WIDTH + 1];
    tensor_rng rng = {.seed = 1};
    for (int i = 0; i < ROWS; i++) {
        uint32_t words[4];
        tensor_rng_block(&rng, words);
        snprintf(text + strlen(text), WIDTH, "%.*e\n", (int)(words[0] % 20),
                 ldexp((double)words[1] * 4294967296.0 + words[2], (int)(words[3] % 250) - 190));
    }
    const nn_csv csv = read_text(text, (nn_csv_options){NULL, true, ','}, arena, &err);
    cr_assert(tensor_ok(csv.values) && csv.values.shape[0] == ROWS, "%s", err.text);
    char *rest = text;
    for (int i = 0; i < ROWS; i++) {
        const char *number = rest;
        cr_expect_eq(csv.values.f32[i], (float)strtod(number, &rest), "%.*s", WIDTH, number);
    }
    tensor_arena_free(arena);
}

static void expect_fault(const char *text, nn_csv_options options, const char *fault) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    cr_expect_not(tensor_ok(read_text(text, options, arena, &err).values), "%s", fault);
    cr_expect_str_eq(fault_of(&err), fault);
    tensor_arena_free(arena);
}

Test(data, csv_that_is_wrong) {
    nn_csv_options options = NN_CSV_DEFAULTS;
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"a,b\n1,2\n3,x\n", "line 3, column \"b\": \"x\" is no number"},
        {"a,b\n1,2\n,4\n", "line 3, column \"a\": the number is missing"},
        {"a,b\n1,2\n3,\"\"\n", "line 3, column \"b\": the number is missing"},
        {"a,b\n1,nan\n", "line 2, column \"b\": \"nan\" is no number"},
        {"a,b\n1,inf\n", "line 2, column \"b\": \"inf\" is no number"},
        {"a,b\n1,0x10\n", "line 2, column \"b\": \"0x10\" is no number"},
        {"a,b\n1,1 2\n", "line 2, column \"b\": \"1 2\" is no number"},
        {"a,b\n1,1e\n", "line 2, column \"b\": \"1e\" is no number"},
        {"a,b\n1,.\n", "line 2, column \"b\": \".\" is no number"},
        {"a,b\n1,--1\n", "line 2, column \"b\": \"--1\" is no number"},
        {"a,b\n1,\" 1\"\n", "line 2, column \"b\": \" 1\" is no number"},
        {"a,b\n1,1e39\n", "line 2, column \"b\": \"1e39\" is beyond float32"},
        {"a,b\n1,-1e400\n", "line 2, column \"b\": \"-1e400\" is beyond float32"},
        {"a,b\n1\n", "line 2 has 1 field, expected 2"},
        {"a,b\n\"x\ny\",2,3\n", "line 2 has 3 fields, expected 2"},
        {"\"two\nlines\",b\n1,x\n", "line 3, column \"b\": \"x\" is no number"},
        {"a,b\n1,2\n\n3,4\n", "line 3 is empty"},
        {"a\n1\n\n", "line 3 is empty"},
        {"a,b\n1,2\n\"3,4\n5,6\n", "line 3: a quote is not closed"},
        {"a,b\n1,2\"3\"\n", "line 2: a quote inside a field that does not begin with one"},
        {"a,b\n1,\"2\"3\n", "line 2: text behind a closing quote"},
        {"a,b\r1,2\r", "line 1: a carriage return without a line feed"},
        {"\xef\xbb\xbf", "is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_fault(cases[i].text, options, cases[i].fault);
    options.columns = (const char *const[]){"b", "c", NULL};
    expect_fault("a,b\n1,2\n", options, "no column is called \"c\"");
    expect_fault("b,c,b\n1,2,3\n", options, "two columns are called \"b\"");
    options.columns = (const char *const[]){"b", "b", NULL};
    expect_fault("a,b\n1,2\n", options, "column \"b\" is asked for twice");
    options = (nn_csv_options){.delimiter = '"'};
    expect_fault("a\n", options, "the delimiter is no quote, line end or NUL");
    expect_fault("a\n", (nn_csv_options){0}, "the delimiter is no quote, line end or NUL");
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    nn_csv csv;
    write_bytes("a\n1\0\n", 5);
    cr_expect_not(nn_csv_read(&csv, path, NN_CSV_DEFAULTS, arena, &err));
    cr_expect_str_eq(fault_of(&err), "this is no text: a byte is 0");
    err = (tensor_error){0};
    cr_expect_not(nn_csv_read(&csv, folder, NN_CSV_DEFAULTS, arena, &err));
    cr_expect(strstr(err.text, "is a folder") != NULL);
    tensor_arena_free(arena);
}

/* ---- Corrupt files ------------------------------------------------------------------------------ */

/* Good files, cut at every length and with every byte changed: each reader accepts or refuses them with a reason. */
Test(data, readers_survive_corrupt_files) {
    static const unsigned char idx[] = {0, 0, 11, 2, 0, 0, 0, 2, 0, 0,  0,  3,
                                        1, 2, 3,  4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const char csv[] = "2,\"1 \"\"\",c\r\n1.5,-2e3,\"3\"\r\n.5,0,12345678901234567890123\n";
    const struct {
        const void *bytes;
        size_t size;
    } files[] = {{idx, sizeof idx}, {csv, sizeof csv - 1}};
    for (int k = 0; k < 2; k++) {
        const size_t size = files[k].size;
        for (size_t length = 0; length <= size; length++) fuzz_data(files[k].bytes, length);
        for (size_t at = 0; at < size; at++)
            for (int bit = 0; bit < 8; bit++) {
                unsigned char copy[128];
                memcpy(copy, files[k].bytes, size);
                copy[at] ^= (unsigned char)(1 << bit);
                fuzz_data(copy, size);
            }
    }
    for (int i = 0; i < 3000; i++) { /* bytes that such files are made of, in any order */
        static const char letters[] = "0123456789.,;\"\"\n\r\n\r-+eE a\0\1\10\14\377";
        tensor_rng rng = {.seed = 4, .stream = (uint64_t)i};
        unsigned char bytes[64];
        const size_t size = tensor_rng_below(&rng, sizeof bytes);
        for (size_t at = 0; at < size; at++)
            bytes[at] = (unsigned char)letters[tensor_rng_below(&rng, sizeof letters)];
        fuzz_data(bytes, size);
    }
}
