/* The engine's contracts: errors, accumulation, recording, lanes, memory, versions. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "sampo/autograd.h"

static ag_var *filled(ag_tape *tape, bool gradient, float first, int rank, const int64_t *shape) {
    const tensor x = ag_tensor(tape, TENSOR_F32, rank, shape);
    if (!tensor_ok(x)) return NULL;
    for (int64_t i = 0; i < tensor_size(x); i++) x.f32[i] = first + (float)i;
    return gradient ? ag_variable(tape, x) : ag_input(tape, x);
}

static ag_var *total(ag_var *x) {
    return ag_sum(x, AG_ALL, false);
}

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
    cr_expect_null(ag_error(tape));
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
    return b ? ag_causal_attention(a, 2, 1) : NULL;
}
static ag_var *bad_heads(ag_var *a, ag_var *b) {
    return b ? ag_causal_attention(ag_reshape(a, TENSOR_SHAPE(1, 2, 3)), 2, 1) : NULL;
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
        {"causal_attention", bad_attention},
        {"causal_attention", bad_heads},
        {"cross_entropy", bad_cross_entropy},
        {"unslice", bad_unslice},
    };
    ag_tape *tape = ag_tape_new();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ag_reset(tape);
        ag_var *a = filled(tape, true, 0, TENSOR_SHAPE(2, 3)), *b = filled(tape, true, 0, TENSOR_SHAPE(4, 5));
        cr_expect_null(bad[i].run(a, b), "%s", bad[i].name);
        const char *text = ag_error(tape);
        cr_assert(text, "%s failed without a text", bad[i].name);
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
    cr_expect_str_eq(ag_error(two), "backward: the result depends on nothing that needs a gradient");
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
    ag_set_lane(NULL, (tensor){0}, (tensor){0});
    ag_tape_free(NULL);
    cr_expect_not(tensor_ok(ag_tensor(NULL, TENSOR_F32, TENSOR_SHAPE(2))));
    cr_expect_null(ag_input(NULL, (tensor){0}));
    cr_expect_null(ag_constant(NULL, 1));
    cr_expect_null(ag_use(NULL, NULL));
    cr_expect_null(ag_fail(NULL, "nowhere"));
    cr_expect_eq(ag_tape_bytes(NULL), 0);
    cr_expect_str_eq(ag_error(NULL), "out of memory");
}

/* ---- Gradients ---------------------------------------------------------------------------- */

Test(engine, gradients_accumulate_over_uses_and_over_calls) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3));
    ag_var *y = total(ag_add(ag_mul(x, x), ag_affine(x, 3, 0))); /* x^2 + 3x */
    cr_assert(ag_backward(y));
    for (int i = 0; i < 3; i++) cr_expect_eq(ag_grad(x).f32[i], 2 * (1 + (float)i) + 3);
    cr_assert(ag_backward(y));
    for (int i = 0; i < 3; i++) cr_expect_eq(ag_grad(x).f32[i], 2 * (2 * (1 + (float)i) + 3));
    ag_tape_free(tape);
}

/* A residual network: each activation's gradient arrives in two parts, in shared memory at first. */
Test(engine, memory_of_gradients_is_shared_without_mixing_them) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 2)), *h = x;
    for (int i = 0; i < 3; i++)
        h = ag_add(h, ag_reshape(ag_affine(ag_reshape(h, TENSOR_SHAPE(4)), 2, 0), TENSOR_SHAPE(2, 2)));
    ag_var *twice = ag_add(h, h);
    cr_assert(ag_backward(total(ag_add(twice, ag_transpose(x, 0, 1)))));
    for (int i = 0; i < 4; i++) cr_expect_eq(ag_grad(x).f32[i], 2 * 27 + 1);
    ag_tape_free(tape);
}

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

Test(engine, constants_get_no_gradient) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2)), *c = filled(tape, false, 5, TENSOR_SHAPE(2));
    cr_assert(ag_backward(total(ag_mul(x, c))));
    cr_expect_null(c->grad);
    cr_expect_eq(ag_grad(x).f32[1], 6);
    ag_tape_free(tape);
}

Test(engine, second_derivatives) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 2, 0, NULL);
    cr_assert(ag_backward_graph(ag_mul(ag_square(x), x))); /* x^3: 3 x^2, then 6 x */
    ag_var *first = x->grad;
    cr_expect_float_eq(first->value.f32[0], 12, 1e-5);
    x->grad = NULL;
    cr_assert(ag_backward(first), "%s", ag_error(tape));
    cr_expect_float_eq(ag_grad(x).f32[0], 12, 1e-5);
    ag_tape_free(tape);
}

static void numbers_backward(ag_var *y, ag_var *dy) {
    const tensor target = ag_grad_target(y, y->in[0], NULL);
    tensor_binary(target, TENSOR_ADD, target, dy->value, ag_err(y));
}
static const ag_op numbers_op = {"numbers", numbers_backward};

Test(engine, a_backward_of_numbers_alone_is_refused_in_a_graph) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 2, 0, NULL), *y = ag_begin(&numbers_op, 1, &x);
    cr_assert(ag_out_view(y, x, x->value));
    y = ag_end(y);
    cr_assert(ag_backward(y));
    cr_expect_eq(ag_grad(x).f32[0], 1);
    cr_expect_not(ag_backward_graph(y));
    cr_expect_str_eq(ag_error(tape), "numbers: without a composed form it cannot be differentiated twice");
    ag_tape_free(tape);
}

/* ---- Parameters and lanes ------------------------------------------------------------------- */

typedef struct model {
    tensor_arena *arena;
    tensor values, grads;
    ag_var w, b; /* [2, 3] and [3], flat in values and grads */
} model;

static model make_model(void) {
    model m = {.arena = tensor_arena_new(NULL)};
    m.values = tensor_zeros(m.arena, TENSOR_F32, TENSOR_SHAPE(9), NULL);
    m.grads = tensor_zeros(m.arena, TENSOR_F32, TENSOR_SHAPE(9), NULL);
    for (int i = 0; i < 9; i++) m.values.f32[i] = (float)i;
    const tensor v = tensor_slice(m.values, 0, 0, 6, 1, NULL), g = tensor_slice(m.grads, 0, 0, 6, 1, NULL);
    ag_parameter(&m.w, tensor_reshape(v, TENSOR_SHAPE(2, 3), NULL),
                 tensor_reshape(g, TENSOR_SHAPE(2, 3), NULL), "layer.weight");
    ag_parameter(&m.b, tensor_slice(m.values, 0, 6, 9, 1, NULL), tensor_slice(m.grads, 0, 6, 9, 1, NULL),
                 "layer.bias");
    return m;
}

static ag_var *loss_of(model *m, ag_tape *tape) {
    return total(ag_linear(filled(tape, false, 1, TENSOR_SHAPE(1, 2)), &m->w, &m->b));
}

Test(engine, parameters_live_on_no_tape_and_gradients_go_to_the_lane) {
    model m = make_model();
    ag_tape *tape = ag_tape_new();
    const float expected[9] = {1, 1, 1, 2, 2, 2, 1, 1, 1};
    cr_assert(ag_backward(loss_of(&m, tape)), "%s", ag_error(tape));
    for (int i = 0; i < 9; i++) cr_expect_eq(m.grads.f32[i], expected[i], "gradient %d", i);
    const tensor lane = tensor_new(m.arena, TENSOR_F32, TENSOR_SHAPE(9), NULL);
    tensor_fill(lane, NAN, NULL);
    ag_set_lane(tape, m.grads, lane);
    cr_assert(ag_backward(loss_of(&m, tape)));
    ag_set_lane(tape, (tensor){0}, (tensor){0});
    for (int i = 0; i < 9; i++) {
        cr_expect_eq(lane.f32[i], expected[i], "lane %d", i);
        cr_expect_eq(m.grads.f32[i], expected[i], "gradient %d changed", i);
    }
    cr_assert(ag_backward(total(ag_square(ag_use(tape, &m.w)))));
    for (int i = 0; i < 6; i++) cr_expect_eq(m.grads.f32[i], expected[i] + 2 * (float)i);
    cr_expect_null(ag_add(&m.w, &m.w), "operands without a tape");
    ag_tape_free(tape);
    tensor_arena_free(m.arena);
}

Test(engine, a_lane_is_written_first_and_then_added_to) {
    model m = make_model();
    ag_tape *tape = ag_tape_new();
    const tensor lane = tensor_new(m.arena, TENSOR_F32, TENSOR_SHAPE(9), NULL);
    tensor_fill(lane, NAN, NULL);
    ag_set_lane(tape, m.grads, lane);
    /* All of w is written, then added to; b gets nothing. */
    for (int times = 1; times <= 2; times++) {
        ag_var *x = filled(tape, false, 1, TENSOR_SHAPE(1, 2));
        cr_assert(ag_backward(total(ag_linear_no_bias(x, &m.w))));
        for (int i = 0; i < 6; i++) cr_expect_eq(lane.f32[i], (float)times * (i < 3 ? 1 : 2), "%d", i);
        cr_expect(ag_lane_has(tape, &m.w) && !ag_lane_has(tape, &m.b) && isnan(lane.f32[6]));
    }
    /* After a reset it is written again: first a part of w, then another, and b, which an operation adds to. */
    ag_reset(tape);
    cr_expect_not(ag_lane_has(tape, &m.w));
    ag_var *w = ag_use(tape, &m.w), *b = ag_use(tape, &m.b);
    ag_var *parts = ag_add(ag_mul(ag_slice(w, 0, 0, 1, 1), b), ag_slice(w, 0, 0, 1, 1));
    cr_assert(ag_backward(total(parts)), "%s", ag_error(tape));
    const float expected[9] = {7, 8, 9, 0, 0, 0, 0, 1, 2};
    for (int i = 0; i < 9; i++) cr_expect_eq(lane.f32[i], expected[i], "%d: %g", i, (double)lane.f32[i]);
    ag_tape_free(tape);
    tensor_arena_free(m.arena);
}

Test(engine, a_frozen_parameter_gets_no_gradient) {
    model m = make_model();
    ag_parameter(&m.b, m.b.value, (tensor){0}, "layer.bias");
    ag_tape *tape = ag_tape_new();
    cr_assert(ag_backward(loss_of(&m, tape)));
    for (int i = 6; i < 9; i++) cr_expect_eq(m.grads.f32[i], 0);
    ag_tape_free(tape);
    tensor_arena_free(m.arena);
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

Test(engine, a_value_changed_in_place_is_an_error_that_names_it) {
    model m = make_model();
    ag_tape *tape = ag_tape_new();
    ag_var *loss = loss_of(&m, tape);
    cr_assert(tensor_fill(m.values, 0.5, NULL));
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
    tensor_arena_free(m.arena);
}

/* ---- Memory ------------------------------------------------------------------------------- */

Test(engine, a_reset_tape_repeats_its_work_in_the_same_memory) {
    ag_tape *tape = ag_tape_new();
    size_t bytes = 0;
    for (int turn = 0; turn < 50; turn++) {
        ag_reset(tape);
        ag_var *x = filled(tape, true, -5, TENSOR_SHAPE(40, 40)), *h = x;
        for (int i = 0; i < 20; i++) h = ag_tanh(ag_matmul(h, x));
        cr_assert(ag_backward(total(h)));
        if (turn == 1) bytes = ag_tape_bytes(tape);
    }
    cr_expect_eq(ag_tape_bytes(tape), bytes);
    ag_tape_free(tape);
}

/* The 200 gradients of a deep chain do not add up: their memory is used again. */
Test(engine, gradients_reuse_each_others_memory) {
    ag_tape *tape = ag_tape_new();
    ag_var *h = filled(tape, true, 0, TENSOR_SHAPE(1 << 18));
    for (int i = 0; i < 200; i++) h = ag_reshape(ag_affine(h, 0.5f, 0), TENSOR_SHAPE(1 << 18));
    h = total(h);
    const size_t before = ag_tape_bytes(tape);
    cr_assert(ag_backward(h));
    cr_expect_leq(ag_tape_bytes(tape), before + before / 2 + (8u << 20), "grew from %zu to %zu", before,
                  ag_tape_bytes(tape));
    ag_tape_free(tape);
}

/* A T x T matrix of one head would have 16 MiB. */
Test(engine, attention_has_no_memory_of_tokens_times_tokens) {
    enum { T = 2048, C = 32 };
    ag_tape *tape = ag_tape_new();
    tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(1, T, 3 * C));
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 1}, 0, 1, NULL));
    cr_assert(ag_backward(total(ag_causal_attention(ag_variable(tape, x), 4, 0.35f))));
    cr_expect_lt(ag_tape_bytes(tape), 12u << 20, "%zu bytes", ag_tape_bytes(tape));
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
