/* Data made on a tape: random numbers, leaves of results, numbers of ids. */
#include <criterion/criterion.h>

#include "tests/autograd/tape_test.h"

Test(create, random_data_is_what_the_generator_gives) {
    ag_tape *tape = ag_tape_new();
    tensor_rng rng = {.seed = 3}, same = {.seed = 3};
    ag_var *u = ag_rand_uniform(tape, &rng, -1, 2, TENSOR_SHAPE(5, 3));
    ag_var *n = ag_rand_normal(tape, &rng, 1, 0.5f, TENSOR_SHAPE(7));
    tensor v = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(5, 3)),
           m = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(7));
    tensor_rand_uniform(v, &same, -1, 2, NULL);
    tensor_rand_normal(m, &same, 1, 0.5f, NULL);
    cr_assert(u && n);
    cr_expect_arr_eq(u->value.f32, v.f32, 15 * sizeof(float));
    cr_expect_arr_eq(n->value.f32, m.f32, 7 * sizeof(float));
    cr_expect_eq(rng.counter, same.counter);
    cr_expect_not(u->needs_grad);

    cr_expect_null(ag_rand_uniform(tape, NULL, 0, 1, TENSOR_SHAPE(2)));
    cr_expect_str_eq(ag_error(tape), "rand_uniform: there is no generator");
    ag_reset(tape);
    cr_expect_null(ag_rand_normal(tape, NULL, 0, 1, TENSOR_SHAPE(2)));
    cr_expect_str_eq(ag_error(tape), "rand_normal: there is no generator");
    ag_reset(tape);
    cr_expect_null(ag_rand_uniform(tape, &rng, 1, 0, TENSOR_SHAPE(2)));
    cr_expect_str_eq(ag_error(tape), "rand_uniform: the range from 1 to 0 is not one");
    cr_expect_null(ag_rand_normal(NULL, &rng, 0, 1, TENSOR_SHAPE(2)));
    ag_tape_free(tape);
}

Test(create, a_leaf_of_a_result_has_a_gradient_of_its_own) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3)), *leaf = ag_leaf(ag_square(x)), *slope;
    ag_var *y = total(ag_square(leaf));
    cr_assert(ag_gradients(y, 1, &leaf, &slope, false));
    for (int i = 0; i < 3; i++) cr_expect_eq(slope->value.f32[i], 2 * x->value.f32[i] * x->value.f32[i]);
    cr_assert(ag_backward(y));
    cr_expect_not(tensor_ok(ag_grad(x)), "nothing flows through it");
    cr_expect_null(ag_leaf(NULL));
    cr_expect_null(ag_leaf(ag_indices(tape, 3)));
    cr_expect_str_eq(ag_error(tape), "only float32 has gradients");
    ag_tape_free(tape);
}

Test(create, ids_become_numbers_whatever_their_strides) {
    ag_tape *tape = ag_tape_new();
    ag_var *ids = ag_transpose(ag_reshape(ag_indices(tape, 6), TENSOR_SHAPE(2, 3)), 0, 1);
    ag_var *x = ag_float(ids), *none = ag_float(ag_indices(tape, 0));
    cr_assert(x && none);
    cr_expect_eq(ag_size(x, 0), 3);
    for (int i = 0; i < 6; i++) cr_expect_eq(x->value.f32[i], (float)(i / 2 + i % 2 * 3));
    cr_expect_eq(ag_count(none), 0);
    cr_expect_null(ag_float(NULL));
    cr_expect_null(ag_float(x));
    cr_expect_str_eq(ag_error(tape), "float: ids are not int32");
    ag_tape_free(tape);
}
