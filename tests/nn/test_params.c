#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static nn_params *three_parameters(uint64_t seed, int64_t first) {
    nn_params *params = nn_params_new();
    nn_param(params, "first", NN_UNIFORM(0.5f), TENSOR_SHAPE(first, 3));
    ag_var *table = nn_param(params, "table", NN_NORMAL(2), TENSOR_SHAPE(10, 20));
    nn_tie(params, "head", table);
    nn_param(params, "scale", ((nn_init){NN_INIT_VALUE, 7, 0}), 0, NULL);
    cr_assert(nn_params_finalize(params, seed), "%s", nn_params_error(params));
    return params;
}

Test(params, are_flat_and_in_order) {
    nn_params *params = three_parameters(1, 5);
    tensor values = nn_values(params), grads = nn_grads(params);
    cr_assert_eq(nn_params_count(params), 15 + 200 + 1);
    cr_assert(values.rank == 1 && values.shape[0] == 216 && tensor_is_contiguous(values));
    cr_assert(grads.rank == 1 && grads.shape[0] == 216 && tensor_is_contiguous(grads));
    cr_assert((uintptr_t)values.data % 64 == 0 && (uintptr_t)grads.data % 64 == 0);
    const int64_t offset[] = {0, 15, 215};
    const char *const name[] = {"first", "table", "scale"};
    for (int i = 0; i < 3; i++) {
        ag_var *p = nn_params_find(params, name[i]);
        cr_assert_eq(p->value.f32, values.f32 + offset[i]);
        cr_assert_eq(nn_grad(params, p).f32, grads.f32 + offset[i]);
        cr_assert(p->value.storage == values.storage && nn_grad(params, p).storage == grads.storage);
        cr_assert(tensor_same_shape(p->value, nn_grad(params, p)));
        cr_assert_str_eq(p->name, name[i]);
        cr_assert_null(p->tape);
    }
    for (int i = 0; i < 216; i++) cr_assert_eq(grads.f32[i], 0);
    nn_params_free(params);
}

Test(params, are_found_by_name_and_index) {
    nn_params *params = three_parameters(1, 5);
    const char *const names[] = {"first", "table", "head", "scale"};
    cr_assert_eq(nn_params_entries(params), 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_str_eq(nn_params_name(params, i), names[i]);
        cr_assert_eq(nn_params_at(params, i), nn_params_find(params, names[i]));
        cr_assert_eq(nn_params_is_alias(params, i), i == 2);
    }
    cr_assert_eq(nn_params_at(params, 1), nn_params_at(params, 2));
    cr_assert_null(nn_params_find(params, "tab"));
    cr_assert_null(nn_params_find(params, NULL));
    nn_params_free(params);
}

/* Parameter i comes from stream i of the seed; an alias takes no number. */
Test(params, are_filled_from_their_own_streams) {
    nn_params *params = three_parameters(42, 5);
    float expected[200];
    tensor_storage storage = {expected, sizeof expected, 0};
    tensor first = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(5, 3), NULL);
    cr_assert(tensor_rand_uniform(first, &(tensor_rng){42, 0, 0}, -0.5f, 0.5f, NULL));
    cr_assert(memcmp(expected, nn_params_find(params, "first")->value.data, 15 * sizeof(float)) == 0);
    tensor table = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(10, 20), NULL);
    cr_assert(tensor_rand_normal(table, &(tensor_rng){42, 1, 0}, 0, 2, NULL));
    cr_assert(memcmp(expected, nn_params_find(params, "table")->value.data, sizeof expected) == 0);
    cr_assert_eq(nn_params_find(params, "scale")->value.f32[0], 7);

    nn_params *other = three_parameters(42, 9), *seeded = three_parameters(43, 5);
    const void *here = nn_params_find(params, "table")->value.data;
    cr_assert(memcmp(here, nn_params_find(other, "table")->value.data, sizeof expected) == 0);
    cr_assert(memcmp(here, nn_params_find(seeded, "table")->value.data, sizeof expected) != 0);
    nn_params_free(params);
    nn_params_free(other);
    nn_params_free(seeded);
}

/* A buffer takes no random numbers: what comes behind it is what it would be without. */
Test(params, are_not_moved_by_buffers) {
    nn_params *params = nn_params_new(), *with = nn_params_new();
    nn_buffer(with, "mean", 0, TENSOR_SHAPE(4));
    for (int i = 0; i < 2; i++) nn_param(i ? with : params, "weight", NN_NORMAL(1), TENSOR_SHAPE(7));
    cr_assert(nn_params_finalize(params, 3) && nn_params_finalize(with, 3));
    cr_expect_arr_eq(nn_values(params).f32, nn_values(with).f32, 7 * sizeof(float));
    nn_params_free(params);
    nn_params_free(with);
}

/* What is said of an alias is said of its parameter, before there are values, too; and nothing of it to a buffer. */
Test(params, an_alias_stands_for_its_parameter) {
    for (int way = 0; way < 2; way++) {
        nn_params *params = nn_params_new();
        ag_var *table = nn_param(params, "table", NN_ZEROS, TENSOR_SHAPE(2, 3)),
               *mean = nn_buffer(params, "mean", 3, TENSOR_SHAPE(4));
        nn_tie(params, "head", table);
        nn_tie(params, "head.mean", mean);
        cr_expect_eq(nn_set_init(params, way ? "head*" : "*", NN_ONES), way ? 1 : 2);
        cr_expect_eq(nn_freeze(params, "head*", true), 1);
        cr_assert(nn_params_finalize(params, 1), "%s", nn_params_error(params));
        cr_expect(!table->needs_grad && table->value.f32[5] == 1);
        cr_expect(!mean->needs_grad && mean->value.f32[3] == 3);
        cr_expect_eq(nn_freeze(params, "*", false), 2, "the table, by both of its names");
        cr_expect(table->needs_grad && !mean->needs_grad);
        nn_params_free(params);
    }
}

Test(params, list_grows) {
    nn_params *params = nn_params_new();
    char name[16]; /* which takes no memory between the parameters */
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "p.%d", i);
        nn_param(params, name, NN_ONES, TENSOR_SHAPE(2));
    }
    cr_assert(nn_params_finalize(params, 0));
    cr_assert_eq(nn_params_entries(params), 500);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "p.%d", i);
        const ag_var *p = nn_params_find(params, name);
        cr_assert(p && p->value.f32 == nn_values(params).f32 + 2 * i, "p.%d", i);
    }
    nn_params_free(params);
}

Test(params, copy_names) {
    nn_params *params = nn_params_new();
    char name[] = "mine";
    nn_param(params, name, NN_ONES, 0, NULL);
    name[0] = 'f';
    cr_assert_not_null(nn_params_find(params, "mine"));
    nn_params_free(params);
}

/* Registers something wrong, then expects the text, that what follows does not replace it, and that finalising
 * fails with it. */
#define EXPECT_FAILURE(text, ...)                                                                            \
    do {                                                                                                     \
        nn_params *params = nn_params_new();                                                                 \
        ag_var *fine = nn_param(params, "fine", NN_ONES, TENSOR_SHAPE(2));                                   \
        (void)fine;                                                                                          \
        __VA_ARGS__;                                                                                         \
        nn_param(params, "fine", NN_ONES, TENSOR_SHAPE(-5));                                                 \
        cr_expect_not(nn_params_finalize(params, 1));                                                        \
        cr_expect_str_eq(nn_params_error(params), text);                                                     \
        cr_expect_not(tensor_ok(nn_values(params)));                                                         \
        nn_params_free(params);                                                                              \
    } while (0)

Test(params, keep_the_first_failure) {
    ag_var stranger = {0};
    EXPECT_FAILURE("fine: the name is registered already", nn_param(params, "fine", NN_ONES, 0, NULL));
    EXPECT_FAILURE("fine: the name is registered already", nn_tie(params, "fine", fine));
    EXPECT_FAILURE("a: bad size [2, 0]", cr_expect_null(nn_param(params, "a", NN_ONES, TENSOR_SHAPE(2, 0))));
    EXPECT_FAILURE("a: bad size [-1]", nn_param(params, "a", NN_ONES, TENSOR_SHAPE(-1)));
    EXPECT_FAILURE("a: bad size [4294967296, 4294967296]",
                   nn_param(params, "a", NN_ONES, TENSOR_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32)));
    EXPECT_FAILURE("a: bad size [9223372036854775807]",
                   nn_param(params, "a", NN_ONES, TENSOR_SHAPE(INT64_MAX)));
    EXPECT_FAILURE("a: a rank of 9 is not in 0..8",
                   nn_param(params, "a", NN_ONES, TENSOR_SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1)));
    EXPECT_FAILURE("a: tied to what is no parameter of this registry", nn_tie(params, "a", &stranger));
    EXPECT_FAILURE("a: tied to what is no parameter of this registry", nn_tie(params, "a", NULL));
    EXPECT_FAILURE("a parameter without a name", nn_param(params, NULL, NN_ONES, 0, NULL));
}

/* nn_name gives NULL without memory, and whoever takes names goes on with that. */
Test(params, names_that_memory_was_wanting_for) {
    nn_params *params = nn_params_new();
    struct nn_linear m;
    nn_param(params, "w", NN_ONES, TENSOR_SHAPE(2, 2));
    cr_expect_eq(nn_freeze(params, NULL, true), 0);
    cr_expect_eq(nn_set_init(params, NULL, NN_ZEROS), 0);
    cr_expect_null(nn_params_find(params, NULL));
    cr_expect_null(nn_params_error(params));
    nn_linear_init(&m, params, NULL, 2, 2, NN_LINEAR_DEFAULTS);
    cr_expect_not_null(nn_params_error(params));
    nn_params_free(params);
}

Test(params, name_a_bad_initialiser) {
    nn_params *params = nn_params_new();
    nn_param(params, "odd", (nn_init){NN_INIT_UNIFORM, 1, -1}, TENSOR_SHAPE(2));
    cr_assert_not(nn_params_finalize(params, 1));
    cr_assert(strncmp(nn_params_error(params), "odd: rand_uniform", 17) == 0, "%s", nn_params_error(params));
    nn_params_free(params);
    params = nn_params_new();
    nn_param(params, "odd", (nn_init){(nn_init_kind)9, 1, -1}, TENSOR_SHAPE(2));
    cr_assert_not(nn_params_finalize(params, 1));
    cr_assert_str_eq(nn_params_error(params), "odd: unknown initialiser 9");
    nn_params_free(params);
}

Test(params, are_finalized_once) {
    nn_params *params = three_parameters(1, 1);
    cr_assert_null(nn_param(params, "late", NN_ONES, 0, NULL));
    cr_assert_str_eq(nn_params_error(params), "late: registered after nn_params_finalize");
    nn_params_free(params);
    params = three_parameters(1, 1);
    cr_assert_not(nn_params_finalize(params, 1));
    cr_assert_str_eq(nn_params_error(params), "nn_params_finalize: called twice");
    nn_params_free(params);
}

Test(params, too_large_for_memory_fails) {
    nn_params *params = nn_params_new();
    nn_param(params, "a", NN_ONES, TENSOR_SHAPE(INT64_C(1) << 61));
    cr_assert_not(nn_params_finalize(params, 1));
    cr_assert(nn_params_error(params)[0]);
    nn_params_free(params);
    params = nn_params_new();
    nn_param(params, "a", NN_ONES, TENSOR_SHAPE(INT64_C(1) << 58));
    cr_assert_not(nn_params_finalize(params, 1));
    nn_params_free(params);
}

/* What nn_params_new returns without memory can be handed on: the example in nn.h does. */
Test(params, accept_no_registry) {
    struct nn_linear linear;
    struct nn_attention attention;
    struct nn_adamw adamw;
    struct nn_sgd sgd;
    nn_linear_init(&linear, NULL, nn_name(NULL, "x.%d", 1), 2, 3, NN_LINEAR_DEFAULTS);
    nn_attention_init(&attention, NULL, "a", 7, (nn_attention_options){.heads = 2});
    cr_assert_not(nn_params_finalize(NULL, 1));
    cr_assert_str_eq(nn_params_error(NULL), "out of memory");
    cr_assert_not(tensor_ok(nn_values(NULL)));
    cr_assert_eq(nn_params_entries(NULL), 0);
    cr_assert_not(nn_adamw_init(&adamw, NULL, NN_ADAMW_DEFAULTS));
    cr_assert_not(nn_adamw_step(&adamw, NULL));
    cr_assert_not(nn_sgd_init(&sgd, NULL, NN_SGD_DEFAULTS));
    nn_zero_grad(NULL);
    nn_params_free(NULL);
}
