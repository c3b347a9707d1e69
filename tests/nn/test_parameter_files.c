/* Parameters in files: out and back, by other names, of other types, and what does not fit. */
#include "sampo/nn.h"
#include "tests/nn/checkpoint_files.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(parameter_files, .init = setup, .fini = teardown);

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

Test(parameter_files, go_out_and_back) {
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

Test(parameter_files, without_values_are_loaded) {
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

Test(parameter_files, load_by_alias_and_ignore_the_rest) {
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

Test(parameter_files, that_do_not_fit_are_refused) {
    float wte[12] = {1}, bias[5] = {2};
    nn_entry good = {"wte", "F32", 2, {4, 3}, wte, sizeof wte};
    expect_no_load((nn_entry[]){good}, 1, "no tensor \"bias\"");
    expect_no_load((nn_entry[]){good, {"bias", "I32", 1, {5}, bias, sizeof bias}}, 2,
                   "tensor \"bias\" is I32, expected F32, F16 or BF16");
    expect_no_load((nn_entry[]){good, {"bias", "F32", 1, {4}, bias, 16}}, 2,
                   "tensor \"bias\" is [4], expected [5]");
    expect_no_load((nn_entry[]){good, {"bias", "F32", 2, {1, 5}, bias, sizeof bias}}, 2,
                   "tensor \"bias\" is [1, 5], expected [5]");
    float more[24] = {3}; /* whose shape begins as it should */
    expect_no_load((nn_entry[]){{"wte", "F32", 3, {4, 3, 2}, more, sizeof more},
                                {"bias", "F32", 1, {5}, bias, sizeof bias}},
                   2, "tensor \"wte\" is [4, 3, 2], expected [4, 3]");
    expect_no_load((nn_entry[]){{"wte", "F32", 1, {4}, wte, 16}, {"bias", "F32", 1, {5}, bias, sizeof bias}},
                   2, "tensor \"wte\" is [4], expected [4, 3]");
    nn_params *params = registry(1, false);
    tensor_error err = {0};
    cr_assert_not(nn_params_load(params, NULL, &err));
    cr_assert_str_eq(err.text, "no file to load from");
    nn_file *file = nn_file_open(path, NULL);
    cr_expect_not(nn_params_load_compact(params, file, (err = (tensor_error){0}, &err)));
    cr_expect(strstr(err.text, ": the parameters are finalized already"), "%s", err.text);
    for (int i = 0; i < 2; i++) { /* as nn_name has it without memory */
        const char *scope = i ? "h." : NULL, *prefix = i ? NULL : "h.";
        cr_expect_eq(nn_params_load_part(params, file, scope, prefix, NULL, (err = (tensor_error){0}, &err)),
                     -1);
        cr_expect(strstr(err.text, ": no scope or no prefix is given"), "%s", err.text);
    }
    nn_params_free(params);
    params = nn_params_new();
    nn_param(params, "wte", NN_ONES, TENSOR_SHAPE(4, 3));
    cr_expect_not(nn_params_load(params, file, (err = (tensor_error){0}, &err)));
    cr_expect(strstr(err.text, ": the parameters are not finalized"), "%s", err.text);
    nn_file_close(file);
    nn_params_free(params);
    params = nn_params_new();
    cr_assert_not(nn_params_save(params, "out", NULL, 0, (err = (tensor_error){0}, &err)));
    cr_assert_str_eq(err.text, "out: the parameters are not finalized");
    nn_params_free(params);
}

/* Halves: zeros of both signs, the smallest subnormal, one, the largest number, infinity, no number. */
Test(parameter_files, halves_load_as_float32) {
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
