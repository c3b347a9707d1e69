/* Blocks that are computed again: with what, and what may not be taken out of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

static ag_var *product(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)rng;
    return ag_affine(ag_square(ag_matmul(in[0], in[1])), *(const float *)context, 0);
}

/* The precision and the context are those that the block began with, whatever they are when it is computed again. */
Test(checkpoint, a_block_begins_again_with_what_it_had) {
    ag_tape *tape = ag_tape_new();
    float kept[12];
    for (int way = 0; way < 2; way++, ag_reset(tape)) {
        float factor = 0.3f;
        ag_var *x = filled(tape, true, 0.1f, TENSOR_SHAPE(4, 3)),
               *w = filled(tape, false, 0.7f, TENSOR_SHAPE(3, 5));
        ag_var *in[] = {ag_tanh(x), ag_tanh(w)};
        ag_set_precision(tape, TENSOR_BFLOAT16);
        ag_var *y = way == 0 ? product(&factor, in, NULL)
                             : ag_checkpoint(product, &factor, sizeof factor, 2, in, NULL);
        factor = NAN;
        ag_set_precision(tape, TENSOR_FLOAT32);
        cr_assert(ag_backward(total(y)), "%s", ag_error(tape));
        if (way == 0)
            memcpy(kept, ag_grad(x).f32, sizeof kept);
        else
            cr_expect_arr_eq(kept, ag_grad(x).f32, sizeof kept);
    }
    ag_tape_free(tape);
}

static _Thread_local ag_var *given[2]; /* what the block gives at first and when it is computed again */
static _Thread_local int turn;

static ag_var *wayward(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)context, (void)rng;
    ag_var *y = given[turn++];
    return y == in[0] ? ag_tanh(y) : y;
}

/* Neither a gradient that is wrong nor a NULL without a text, with and without recorded gradients. */
Test(checkpoint, a_block_without_a_result_is_refused) {
    ag_tape *tape = ag_tape_new(), *other = ag_tape_new();
    for (int way = 0; way < 6; way++) {
        ag_reset(tape);
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3)), *away = filled(other, true, 1, TENSOR_SHAPE(3)),
               *dx;
        ag_var *bad = way % 2 ? away : NULL;
        turn = 0;
        given[0] = way < 2 ? bad : x;
        given[1] = bad;
        ag_var *y = total(ag_checkpoint(wayward, NULL, 0, 1, &x, NULL));
        cr_expect_eq(y != NULL, way >= 2);
        cr_expect_not(way < 4 ? ag_backward(y) : ag_gradients(y, 1, &x, &dx, true));
        cr_expect_str_eq(ag_error(tape), way % 2 ? "checkpoint: the block's result is on another tape"
                                                 : "checkpoint: the block gave no result");
    }
    ag_tape_free(tape);
    ag_tape_free(other);
}

static ag_var *nested(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)context, (void)rng;
    ag_var *y = ag_tanh(in[0]);
    if (turn++ > 0) cr_expect_not(ag_backward(total(y)));
    return y;
}

Test(checkpoint, a_block_begins_no_gradients_when_it_is_computed_again) {
    ag_tape *tape = ag_tape_new();
    for (int way = 0; way < 2; way++, ag_reset(tape)) {
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3)), *dx;
        turn = 0;
        ag_var *y = total(ag_checkpoint(nested, NULL, 0, 1, &x, NULL));
        cr_expect_not(way ? ag_gradients(y, 1, &x, &dx, true) : ag_backward(y));
        cr_expect(strstr(ag_error(tape), "a hook or a block began it"), "%s", ag_error(tape));
    }
    ag_tape_free(tape);
}

enum { NUMBERS = 400 };
static _Thread_local ag_var *inside;

static ag_var *leak(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)context, (void)rng;
    inside = ag_exp(ag_tanh(in[0]));
    return ag_mul(inside, in[0]);
}

/* What was computed in a block is gone behind it: an expression of it is refused once its memory has another use, also
 * where the caller fills that by hand. */
Test(checkpoint, a_result_inside_a_block_is_gone) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(NUMBERS));
    ag_var *y = ag_checkpoint(leak, NULL, 0, 1, &x, NULL), *z = ag_square(inside);
    cr_assert(y && z, "%s", ag_error(tape));
    const tensor taken = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(NUMBERS));
    cr_assert_eq(taken.data, inside->value.data, "its memory is used again");
    for (int i = 0; i < NUMBERS; i++) taken.f32[i] = 7;
    cr_expect_not(ag_backward(total(ag_add(y, z))));
    cr_expect(strstr(ag_error(tape), "square: operand 0 was changed in place"), "%s", ag_error(tape));
    ag_tape_free(tape);
}
