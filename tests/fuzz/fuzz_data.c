/* Feeds bytes to the readers of IDX and CSV files, as float32 and integers, with a header and without. What they accept
 * has the numbers that it says; what they refuse has a reason of one line. */
#include "sampo/nn.h"
#include "tests/fuzz/folder.h"

#include <math.h>
#include <string.h>

/* What is read goes here, so that the reads are not optimised away. */
static volatile double fuzz_total;

static void check_result(bool accepted, const tensor_error *err) {
    CHECK(accepted == !err->text[0]);
    CHECK(accepted || (strstr(err->text, fuzz_folder) && !strchr(err->text, '\n')));
}

static void check_idx(const char *input, size_t size, tensor_dtype dtype, tensor_arena *arena) {
    tensor_error err = {0};
    const tensor x = nn_idx_read(input, dtype, arena, &err);
    check_result(tensor_ok(x), &err);
    if (!tensor_ok(x)) return;
    CHECK((size_t)tensor_size(x) <= size && x.dtype == dtype);
    for (int64_t i = 0; i < tensor_size(x); i++)
        fuzz_total += dtype == TENSOR_F32 ? (double)x.f32[i] : x.i32[i];
}

static void check_csv(const char *input, size_t size, nn_csv_options options, tensor_arena *arena) {
    tensor_error err = {0};
    nn_csv csv;
    const bool accepted = nn_csv_read(&csv, input, options, arena, &err);
    check_result(accepted, &err);
    CHECK(accepted == tensor_ok(csv.values));
    if (!accepted) return;
    CHECK((size_t)tensor_size(csv.values) <= size && csv.values.rank == 2);
    for (int64_t i = 0; i < tensor_size(csv.values); i++) CHECK(isfinite(csv.values.f32[i]));
    for (int64_t i = 0; i < csv.values.shape[1]; i++) fuzz_total += (double)strlen(csv.names[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const chosen[] = {"2", "1", NULL};
    char input[FUZZ_PATH];
    fuzz_folder_begin();
    tensor_arena *arena = fuzz_arena();
    fuzz_path("input", input);
    fuzz_file("input", data, size);
    check_idx(input, size, TENSOR_F32, arena);
    check_idx(input, size, TENSOR_I32, arena);
    for (int header = 0; header < 2; header++) {
        check_csv(input, size, (nn_csv_options){NULL, header == 0, ','}, arena);
        check_csv(input, size, (nn_csv_options){chosen, header == 0, ';'}, arena);
    }
    return 0;
}
