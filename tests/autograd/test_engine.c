/* The engine's contracts: errors, recording, values changed in place, watching. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

/* ---- Errors ------------------------------------------------------------------------------- */

Test(engine, the_first_failure_stays_and_null_passes_through) {
    ag_tape *tape = ag_tape_new();
    ag_var *a = filled(tape, true, 0, TENSOR_SHAPE(256, 64)),
           *b = filled(tape, true, 0, TENSOR_SHAPE(63, 192));
    ag_var *first = ag_matmul(a, b), *second = ag_matmul(b, a), *y = total(ag_relu(ag_add(first, second)));
    cr_expect_null(y);
    cr_expect_not(ag_backward(y));
    cr_expect_str_eq(ag_error(tape), "matmul: inner sizes differ: [256, 64] x [63, 192]");
    cr_expect_null(ag_exp(a), "a tape with a failure does nothing more");
    ag_reset(tape);
    cr_expect(ag_ok(tape));
    a = filled(tape, true, 0, TENSOR_SHAPE(2, 2));
    cr_expect(ag_backward(total(a)));
    ag_tape_free(tape);
}

/* A wrong shape in each operation: NULL and a text that begins with the operation's name. */
static ag_var *bad_add(ag_var *a, ag_var *b) {
    return ag_add(a, b);
}
static ag_var *bad_where(ag_var *a, ag_var *b) {
    return ag_where(a, a, b);
}
static ag_var *bad_matmul(ag_var *a, ag_var *b) {
    return ag_matmul(a, b);
}
static ag_var *bad_linear(ag_var *a, ag_var *b) {
    return ag_linear_no_bias(a, b);
}
static ag_var *bad_bias(ag_var *a, ag_var *b) {
    return ag_linear(a, ag_transpose(a, 0, 1), b);
}
static ag_var *bad_embedding(ag_var *a, ag_var *b) {
    return ag_embedding(a, b);
}
static ag_var *bad_softmax(ag_var *a, ag_var *b) {
    return b ? ag_softmax(a, 2) : NULL;
}
static ag_var *bad_sum(ag_var *a, ag_var *b) {
    return b ? ag_sum(a, AG_AXIS(5), false) : NULL;
}
static ag_var *bad_reshape(ag_var *a, ag_var *b) {
    return b ? ag_reshape(a, TENSOR_SHAPE(5, -1)) : NULL;
}
static ag_var *bad_permute(ag_var *a, ag_var *b) {
    return b ? ag_permute(a, (int[]){0, 0}) : NULL;
}
static ag_var *bad_transpose(ag_var *a, ag_var *b) {
    return b ? ag_transpose(a, 0, 2) : NULL;
}
static ag_var *bad_slice(ag_var *a, ag_var *b) {
    return b ? ag_slice(a, 0, 0, 2, 0) : NULL;
}
static ag_var *bad_expand(ag_var *a, ag_var *b) {
    return b ? ag_expand(a, TENSOR_SHAPE(2, 2, 4)) : NULL;
}
static ag_var *bad_concat(ag_var *a, ag_var *b) {
    return ag_concat((ag_var *[]){a, b}, 2, 0);
}
static ag_var *bad_squeeze(ag_var *a, ag_var *b) {
    return b ? ag_squeeze(a, 0) : NULL;
}
static ag_var *bad_layer_norm(ag_var *a, ag_var *b) {
    return ag_layer_norm(a, b, b, 1e-5f);
}
static ag_var *bad_attention(ag_var *a, ag_var *b) {
    return ag_attention(a, b, b, AG_ATTENTION_DEFAULTS);
}
static ag_var *bad_heads(ag_var *a, ag_var *b) {
    return b ? ag_causal_attention(ag_reshape(a, TENSOR_SHAPE(1, 2, 3)), 2, 1) : NULL;
}
static ag_var *bad_select(ag_var *a, ag_var *b) {
    return b ? ag_select(a, 1, 3) : NULL;
}
static ag_var *bad_rotary(ag_var *a, ag_var *b) {
    return ag_rotary(a, b->value, b->value, false);
}
static ag_var *bad_dropout(ag_var *a, ag_var *b) {
    return b ? ag_dropout(a, 0.5f, NULL) : NULL;
}
static ag_var *bad_cross_entropy(ag_var *a, ag_var *b) {
    return ag_cross_entropy(a, b);
}
static ag_var *bad_unslice(ag_var *a, ag_var *b) {
    return b ? ag_unslice(a, TENSOR_SHAPE(9, 9), 0, 0, 3, 1) : NULL;
}

Test(engine, every_wrong_shape_is_an_error_that_names_the_operation) {
    const struct {
        const char *name;
        ag_var *(*run)(ag_var *a, ag_var *b);
    } bad[] = {
        {"add", bad_add},
        {"where", bad_where},
        {"matmul", bad_matmul},
        {"linear", bad_linear},
        {"linear", bad_bias},
        {"embedding", bad_embedding},
        {"gather", bad_embedding},
        {"softmax", bad_softmax},
        {"sum", bad_sum},
        {"reshape", bad_reshape},
        {"permute", bad_permute},
        {"transpose", bad_transpose},
        {"slice", bad_slice},
        {"expand", bad_expand},
        {"concat", bad_concat},
        {"squeeze", bad_squeeze},
        {"layer_norm", bad_layer_norm},
        {"attention", bad_attention},
        {"split_heads", bad_heads},
        {"select", bad_select},
        {"rotary", bad_rotary},
        {"dropout", bad_dropout},
        {"cross_entropy", bad_cross_entropy},
        {"unslice", bad_unslice},
    };
    ag_tape *tape = ag_tape_new();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ag_reset(tape);
        ag_var *a = filled(tape, true, 0, TENSOR_SHAPE(2, 3)), *b = filled(tape, true, 0, TENSOR_SHAPE(4, 5));
        cr_expect_null(bad[i].run(a, b), "%s", bad[i].name);
        const char *text = ag_error(tape);
        cr_assert_not(ag_ok(tape), "%s failed without a text", bad[i].name);
        if (bad[i].run != bad_embedding)
            cr_expect_eq(strncmp(text, bad[i].name, strlen(bad[i].name)), 0, "%s: \"%s\"", bad[i].name, text);
    }
    ag_tape_free(tape);
}

Test(engine, operands_of_two_tapes_and_bad_starts_are_errors) {
    ag_tape *one = ag_tape_new(), *two = ag_tape_new();
    ag_var *a = filled(one, true, 0, TENSOR_SHAPE(2)), *b = filled(two, true, 0, TENSOR_SHAPE(2));
    cr_expect_null(ag_add(a, b));
    cr_expect_str_eq(ag_error(one), "add: operand 1 is on another tape");
    cr_expect_not(ag_backward(b));
    cr_expect_str_eq(ag_error(two), "backward: begins at a float32 scalar, not at [2]");
    ag_reset(two);
    cr_expect_not(ag_backward(total(filled(two, false, 0, TENSOR_SHAPE(2)))));
    cr_expect_str_eq(ag_error(two),
                     "backward: the result depends on nothing that needs a gradient, or was not recorded");
    cr_expect_not(ag_backward(NULL));
    ag_tape_free(one);
    ag_tape_free(two);
}

Test(engine, ids_outside_the_table_are_named) {
    ag_tape *tape = ag_tape_new();
    const tensor ids = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(3));
    ids.i32[0] = 0, ids.i32[1] = 57, ids.i32[2] = -1;
    cr_expect_null(ag_embedding(filled(tape, true, 0, TENSOR_SHAPE(51, 2)), ag_input(tape, ids)));
    cr_expect(strstr(ag_error(tape), "57") != NULL, "%s", ag_error(tape));
    ag_reset(tape);
    const tensor targets = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(1));
    targets.i32[0] = 9;
    cr_expect_null(ag_cross_entropy(filled(tape, true, 0, TENSOR_SHAPE(1, 4)), ag_input(tape, targets)));
    cr_expect(strstr(ag_error(tape), "9") != NULL, "%s", ag_error(tape));
    ag_tape_free(tape);
}

Test(engine, a_null_tape_does_nothing) {
    ag_reset(NULL);
    ag_set_recording(NULL, true);
    ag_tape_free(NULL);
    cr_expect_not(tensor_ok(ag_tensor(NULL, TENSOR_F32, TENSOR_SHAPE(2))));
    cr_expect_null(ag_input(NULL, (tensor){0}));
    cr_expect_null(ag_constant(NULL, 1));
    cr_expect_null(ag_use(NULL, NULL));
    cr_expect_null(ag_fail(NULL, "nowhere"));
    cr_expect_eq(ag_tape_bytes(NULL), 0);
    cr_expect_eq(ag_tape_peak(NULL), 0);
    cr_expect_not(ag_ok(NULL));
    cr_expect_str_eq(ag_error(NULL), "out of memory");
}

/* Every operation with one operand NULL, the others on the tape: the text names the operation and the operand. */
static ag_var *null_operand(int operation, ag_var *a, ag_var *b, ag_var *c) {
    switch (operation) {
    case 0:
        return ag_add(a, b);
    case 1:
        return ag_where(a, b, c);
    case 2:
        return ag_matmul(a, b);
    case 3:
        return ag_linear(a, b, c);
    case 4:
        return ag_linear_no_bias(a, b);
    case 5:
        return ag_embedding(a, b);
    case 6:
        return ag_layer_norm(a, b, c, 1e-5f);
    case 7:
        return ag_cross_entropy(a, b);
    case 8:
        return ag_attention(a, b, c, AG_ATTENTION_DEFAULTS);
    case 9:
        return ag_concat((ag_var *[]){a, b, c}, 3, 0);
    case 10:
        return ag_add_in_place(a, b);
    default:
        return ag_masked_fill(a, b, 0);
    }
}

Test(engine, a_null_operand_is_named) {
    static const int operands[] = {2, 3, 2, 3, 2, 2, 3, 2, 3, 3, 2, 2};
    ag_tape *tape = ag_tape_new();
    for (int operation = 0; operation < 12; operation++)
        for (int missing = 0; missing < operands[operation]; missing++) {
            ag_reset(tape);
            ag_var *x[3];
            for (int i = 0; i < 3; i++)
                x[i] = i == missing ? NULL : filled(tape, true, 0, TENSOR_SHAPE(2, 2));
            cr_expect_null(null_operand(operation, x[0], x[1], x[2]));
            cr_expect(!ag_ok(tape) && strstr(ag_error(tape), " is NULL"), "operation %d: %s", operation,
                      ag_error(tape));
        }
    ag_tape_free(tape);
}

Test(engine, a_null_list_is_an_error) {
    ag_tape *tape = ag_tape_new();
    for (int i = 0; i < 7; i++) {
        ag_reset(tape);
        ag_var *x = filled(tape, true, 0, TENSOR_SHAPE(2, 2)), *y = total(x);
        const bool failed = i == 0   ? !ag_reshape(x, 1, NULL)
                            : i == 1 ? !ag_permute(x, NULL)
                            : i == 2 ? !ag_expand(x, 3, NULL)
                            : i == 3 ? !ag_unslice(x, 2, NULL, 0, 0, 2, 1)
                            : i == 4 ? !ag_gradients(y, 1, &x, NULL, false)
                            : i == 5 ? !ag_gradients(y, 1, NULL, &y, false)
                                     : !ag_gradients_into(y, 1, &x, NULL, false);
        cr_expect(failed && !ag_ok(tape), "%d", i);
    }
    cr_expect_null(ag_concat(NULL, 2, 0));
    ag_tape_free(tape);
}

/* What the tape cannot know of has a text too, so that it can always be printed. */
Test(engine, there_is_always_a_text) {
    ag_tape *tape = ag_tape_new();
    ag_var w;
    tensor_storage storage = {(float[]){1, 2}, 8, 0};
    ag_parameter(&w, tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2), NULL), true, "w");
    ag_var *penalty = total(ag_square(&w));
    cr_expect_null(penalty);
    cr_expect_not(ag_backward(penalty));
    cr_expect(strstr(ag_error(tape), "ag_use puts a parameter on one") != NULL, "%s", ag_error(tape));
    cr_expect_null(ag_add(filled(tape, true, 0, 0, NULL), penalty));
    cr_expect_str_eq(ag_error(tape),
                     "add: operand 1 is NULL: it was not made, or of parameters alone, which needs ag_use");
    ag_reset(tape);
    cr_assert(ag_backward(total(ag_square(ag_use(tape, &w)))), "%s", ag_error(tape));
    cr_expect_eq(ag_grad(ag_use(tape, &w)).f32[1], 4);
    ag_tape_free(tape);
}

Test(engine, sizes_carry_null) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 3, TENSOR_SHAPE(2, 5));
    cr_expect(ag_size(x, 0) == 2 && ag_size(x, -1) == 5 && ag_rank(x) == 2 && ag_count(x) == 10);
    cr_expect(ag_item(x) == 3 && ag_tape_of(x) == tape);
    cr_expect(ag_size(NULL, 0) == 0 && ag_rank(NULL) == 0 && ag_count(NULL) == 0 && !ag_tape_of(NULL));
    cr_expect(isnan(ag_item(NULL)) && ag_ok(tape));
    cr_expect_eq(ag_size(x, 2), 0);
    cr_expect_str_eq(ag_error(tape), "size: axis 2 is outside a tensor of rank 2");
    ag_tape_free(tape);
}

Test(engine, axes_count_from_both_ends) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 0, TENSOR_SHAPE(2, 3, 4));
    for (int axis = -3; axis < 3; axis++) {
        const ag_var *y = ag_sum(x, AG_AXIS(axis), true);
        cr_assert_not_null(y, "%s", ag_error(tape));
        for (int i = 0; i < 3; i++)
            cr_expect_eq(y->value.shape[i], i == (axis + 3) % 3 ? 1 : x->value.shape[i], "axis %d", axis);
    }
    const ag_var *both = ag_sum(x, AG_AXIS(0) | AG_AXIS(-1), false);
    cr_expect(both->value.rank == 1 && both->value.shape[0] == 3 && both->value.f32[0] == 60);
    cr_expect_null(ag_sum(x, AG_AXIS(-4), false));
    cr_expect_str_eq(ag_error(tape), "sum: axis -4 is outside a tensor of rank 3");
    ag_tape_free(tape);
}

/* ---- Recording ------------------------------------------------------------------------------ */

Test(engine, without_recording_there_are_values_but_no_nodes) {
    ag_tape *tape = ag_tape_new();
    ag_set_recording(tape, false);
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3)), *y = total(ag_square(x));
    cr_assert(y);
    cr_expect_eq(y->value.f32[0], 14);
    cr_expect_not(y->needs_grad);
    cr_expect_not(ag_backward(y));
    ag_tape_free(tape);
}

/* ---- Versions ----------------------------------------------------------------------------- */

Test(engine, in_place_takes_the_memory_of_a_result_that_nobody_needs) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, -1, TENSOR_SHAPE(4)), *h = ag_affine(x, 2, 0);
    ag_var *y = ag_relu_in_place(ag_add_in_place(h, x));
    cr_assert_not_null(y, "%s", ag_error(tape));
    cr_expect_eq(y->value.f32, h->value.f32);
    cr_assert(ag_backward(total(y)), "%s", ag_error(tape));
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(y->value.f32[i], x->value.f32[i] > 0 ? 3 * x->value.f32[i] : 0);
        cr_expect_eq(ag_grad(x).f32[i], x->value.f32[i] > 0 ? 3 : 0);
    }
    ag_reset(tape);
    x = filled(tape, true, 1, TENSOR_SHAPE(4)), h = ag_exp(x), y = ag_add_in_place(h, x);
    cr_expect_not(ag_backward(total(y)));
    cr_expect_str_eq(ag_error(tape), "exp: its result was changed in place; backward needs its value");
    ag_reset(tape);
    cr_expect_null(ag_relu_in_place(filled(tape, true, 1, TENSOR_SHAPE(4))));
    cr_expect_str_eq(ag_error(tape),
                     "relu_in_place: the first operand is no contiguous result of an operation");
    ag_reset(tape);
    h = ag_exp(filled(tape, true, 1, TENSOR_SHAPE(4)));
    cr_expect_null(ag_add_in_place(h, ag_slice(h, 0, 0, 1, 1)));
    cr_expect_str_eq(ag_error(tape), "add_in_place: the second operand lies in the memory of the first");
    ag_tape_free(tape);
}

Test(engine, what_was_overwritten_in_place_is_refused) {
    ag_tape *tape = ag_tape_new();
    ag_var *a = ag_affine(filled(tape, true, -1, TENSOR_SHAPE(2)), 1, 0), *part = ag_slice(a, 0, 0, 1, 1);
    ag_var *y = ag_relu_in_place(a);
    cr_expect_not_null(ag_exp(y));
    cr_expect_null(ag_add(y, a));
    cr_expect_str_eq(ag_error(tape), "add: operand 1 was overwritten by an operation in place");
    ag_reset(tape);
    a = ag_affine(filled(tape, true, -1, TENSOR_SHAPE(2)), 1, 0), part = ag_slice(a, 0, 0, 1, 1);
    ag_relu_in_place(a);
    cr_expect_null(ag_exp(part), "a view of it");
    cr_expect_str_eq(ag_error(tape), "exp: operand 0 was overwritten by an operation in place");
    ag_tape_free(tape);
}

Test(engine, a_value_changed_in_place_is_an_error_that_names_it) {
    ag_tape *tape = ag_tape_new();
    ag_var w;
    tensor_storage storage = {(float[]){1, 2}, 8, 0};
    ag_parameter(&w, tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2, 1), NULL), true, "layer.weight");
    ag_var *loss = total(ag_linear_no_bias(filled(tape, true, 0, TENSOR_SHAPE(1, 2)), &w));
    cr_assert(tensor_fill(w.value, 0.5, NULL));
    cr_expect_not(ag_backward(loss));
    cr_expect_str_eq(
        ag_error(tape),
        "linear: operand 1 (layer.weight) was changed in place after its use; backward needs its value");
    ag_reset(tape);
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2)), *y = ag_exp(x);
    tensor_fill(y->value, 0, NULL);
    cr_expect_not(ag_backward(total(y)));
    cr_expect_str_eq(ag_error(tape), "exp: its result was changed in place; backward needs its value");
    ag_reset(tape);
    x = filled(tape, true, 1, TENSOR_SHAPE(2)), y = total(ag_add(x, x));
    tensor_fill(x->value, 0, NULL);
    cr_expect(ag_backward(y), "a sum's backward does not need its operands: %s", ag_error(tape));
    ag_tape_free(tape);
}

/* ---- Watching ----------------------------------------------------------------------------- */

static void note(void *context, const ag_op *op, ag_moment moment) {
    char *text = context;
    strcat(strcat(text, op->name), (const char *[]){"( ", ") ", "[ ", "] "}[moment]);
}

Test(engine, a_watcher_sees_operations_begin_and_end) {
    ag_tape *tape = ag_tape_new();
    char text[256] = "";
    ag_watch(tape, note, text);
    ag_var *x = filled(tape, true, -1, TENSOR_SHAPE(3));
    cr_assert(ag_backward(total(ag_mul(x, ag_exp(x))))); /* backward calls operations, which are not seen */
    cr_expect_str_eq(text, "exp( exp) mul( mul) sum( sum) sum[ sum] mul[ mul] exp[ exp] ");
    const size_t length = strlen(text);
    ag_watch(tape, NULL, NULL);
    ag_exp(x);
    cr_expect_eq(strlen(text), length);
    ag_tape_free(tape);
}

/* ---- Dropout ------------------------------------------------------------------------------ */

Test(engine, dropout_is_a_function_of_its_stream) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(1000));
    tensor_rng a = {.seed = 3, .stream = 9}, b = a;
    ag_var *one = ag_dropout(x, 0.25f, &a), *two = ag_dropout(x, 0.25f, &b),
           *three = ag_dropout(x, 0.25f, &b);
    int zeros = 0, differ = 0;
    for (int i = 0; i < 1000; i++) {
        const float v = one->value.f32[i];
        cr_expect_eq(v, two->value.f32[i]);
        cr_expect(v == 0 || fabsf(v - x->value.f32[i] / 0.75f) < 1e-3f);
        zeros += v == 0;
        differ += v != three->value.f32[i];
    }
    cr_expect(zeros > 200 && zeros < 300, "%d zeros", zeros);
    cr_expect_gt(differ, 200);
    cr_expect_eq(ag_dropout(x, 0, &a), x);
    ag_tape_free(tape);
}

/* ---- Precision ------------------------------------------------------------------------------ */

/* Numbers that bfloat16 does not hold, on a tape's memory. */
static tensor thirds(ag_tape *tape, int64_t m, int64_t n, float first) {
    const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(m, n));
    for (int64_t i = 0; i < m * n; i++) x.f32[i] = (first + (float)(i % 7)) / 3;
    return x;
}

static bool same_bits(tensor a, tensor b) {
    return memcmp(a.f32, b.f32, (size_t)tensor_size(a) * sizeof(float)) == 0;
}

/* Products and their gradients are those of tensor_matmul_at; all else is as on any tape. */
Test(engine, products_have_the_precision_of_their_tape) {
    ag_tape *tape = ag_tape_new();
    ag_set_precision(tape, TENSOR_BFLOAT16);
    for (int form = 0; form < 2; form++) {
        ag_reset(tape);
        const tensor x = thirds(tape, 5, 9, 1), w = thirds(tape, 9, 4, 2), s = thirds(tape, 5, 4, 3);
        const tensor y = thirds(tape, 5, 4, 0), dx = thirds(tape, 5, 9, 0), dw = thirds(tape, 9, 4, 0);
        ag_var *a = ag_variable(tape, x), *b = ag_variable(tape, w);
        ag_var *product = form == 0 ? ag_matmul(a, b) : ag_linear_no_bias(a, b);
        cr_assert(ag_backward(total(ag_mul(product, ag_input(tape, s)))), "%s", ag_error(tape));
        tensor_matmul_at(y, x, w, false, TENSOR_BFLOAT16, NULL);
        tensor_matmul_at(dx, s, tensor_transpose(w, 0, 1, NULL), false, TENSOR_BFLOAT16, NULL);
        tensor_matmul_at(dw, tensor_transpose(x, 0, 1, NULL), s, false, TENSOR_BFLOAT16, NULL);
        cr_expect(same_bits(product->value, y) && same_bits(ag_grad(a), dx) && same_bits(ag_grad(b), dw));
        tensor_matmul(y, x, w, false, NULL);
        cr_expect_not(same_bits(product->value, y));
    }
    ag_tape_free(tape);
    ag_set_precision(NULL, TENSOR_BFLOAT16);
}

Test(engine, attention_is_float32_on_any_tape) {
    ag_tape *tape = ag_tape_new();
    ag_var *y[2];
    for (int precision = 0; precision < 2; precision++) {
        ag_set_precision(tape, (tensor_precision)precision);
        ag_var *x = ag_input(tape, tensor_reshape(thirds(tape, 6, 8, 1), TENSOR_SHAPE(1, 1, 6, 8), NULL));
        y[precision] = ag_attention(x, x, x, (ag_attention_options){.scale = 0.3f, .causal = true});
        cr_assert(y[precision], "%s", ag_error(tape));
    }
    cr_expect(same_bits(y[0]->value, y[1]->value));
    ag_tape_free(tape);
}
