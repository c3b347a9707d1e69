/* A model as a table, and a part of it from a file. */
#include "sampo/nn.h"
#include "tests/nn/temporary.h"

TestSuite(inspect_model, .init = setup, .fini = teardown);

Test(inspect_model, summary) {
    nn_params *params = nn_params_new();
    struct nn_linear a, b;
    nn_linear_init(&a, params, "encoder.first", 40, 30, NN_LINEAR_DEFAULTS);
    nn_linear_init(&b, params, "head", 40, 30, (nn_linear_options){.no_bias = true, .tied = a.weight});
    nn_freeze(params, "*.bias", true);
    FILE *file = tmpfile();
    char text[1000];
    cr_assert(file && nn_summary(file, params));
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    cr_expect_str_eq(text, "parameter             shape                       numbers\n"
                           "encoder.first.weight  [40, 30]                      1,200\n"
                           "encoder.first.bias    [30]                             30 frozen\n"
                           "head.weight           [40, 30]                         is encoder.first.weight\n"
                           "1,230 numbers in 2 parameters, 30 of them frozen\n");
    fclose(file);
    cr_expect_not(nn_summary(stdout, NULL));
    nn_params_free(params);
}

/* A file of a larger model, whose part has another name there. */
Test(inspect_model, loads_a_part) {
    float w[] = {1, 2, 3, 4}, b[] = {5, 6}, h[] = {7, 8};
    const nn_entry entries[] = {{"bert.encoder.0.weight", "F32", 2, {2, 2}, w, sizeof w},
                                {"bert.encoder.0.bias", "F32", 1, {2}, b, sizeof b},
                                {"head.bias", "F32", 1, {2}, h, sizeof h}};
    cr_assert(nn_file_save(path, entries, 3, NULL, 0, NULL));
    nn_file *file = nn_file_open(path, NULL);
    nn_params *params = nn_params_new();
    ag_var *weight = nn_param(params, "encoder.0.weight", NN_ZEROS, TENSOR_SHAPE(2, 2)),
           *bias = nn_param(params, "encoder.0.bias", NN_ZEROS, TENSOR_SHAPE(2)),
           *more = nn_param(params, "encoder.1.weight", NN_ONES, TENSOR_SHAPE(2, 2)),
           *head = nn_param(params, "head.bias", NN_ZEROS, TENSOR_SHAPE(2));
    tensor_error err = {0};
    const char *missing[4];
    cr_expect_eq(nn_params_load_part(params, file, "encoder.", "bert.encoder.", missing, &err), -1);
    cr_expect(strstr(err.text, "the parameters are not finalized") != NULL);
    cr_assert(nn_params_finalize(params, 1));
    cr_assert_eq(nn_params_load_part(params, file, "encoder.", "bert.encoder.", missing, &err), 1);
    cr_expect_str_eq(missing[0], "encoder.1.weight");
    cr_expect(weight->value.f32[3] == 4 && bias->value.f32[1] == 6 && more->value.f32[0] == 1 &&
              head->value.f32[0] == 0);
    cr_expect_eq(nn_params_load_part(params, file, "", "", missing, &err), 3);
    cr_expect(head->value.f32[1] == 8, "all of it, as far as it goes");
    cr_expect_str_eq(missing[2], "encoder.1.weight");
    cr_expect_eq(nn_params_load_part(params, file, "nobody", "", NULL, &err), 0);
    nn_params_free(params);

    params = nn_params_new();
    bias = nn_param(params, "encoder.0.bias", NN_ZEROS, TENSOR_SHAPE(2));
    nn_param(params, "encoder.0.weight", NN_ZEROS, TENSOR_SHAPE(2, 3));
    cr_assert(nn_params_finalize(params, 1));
    err = (tensor_error){0};
    cr_expect_eq(nn_params_load_part(params, file, "", "bert.", NULL, &err), -1);
    cr_expect(strstr(err.text, "tensor \"bert.encoder.0.weight\" is [2, 2], expected [2, 3]"), "%s",
              err.text);
    cr_expect_eq(bias->value.f32[0], 0, "nothing has changed");
    nn_params_free(params);
    nn_file_close(file);
}
