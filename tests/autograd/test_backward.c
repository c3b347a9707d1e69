/* Gradients: which are computed, where they lie, and what memory backward takes. */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

/* ---- ag_backward -------------------------------------------------------------------------- */

Test(backward, gradients_accumulate_over_uses_and_over_calls) {
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
Test(backward, memory_of_gradients_is_shared_without_mixing_them) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 2)), *h = x;
    for (int i = 0; i < 3; i++)
        h = ag_add(h, ag_reshape(ag_affine(ag_reshape(h, TENSOR_SHAPE(4)), 2, 0), TENSOR_SHAPE(2, 2)));
    ag_var *twice = ag_add(h, h);
    cr_assert(ag_backward(total(ag_add(twice, ag_transpose(x, 0, 1)))));
    for (int i = 0; i < 4; i++) cr_expect_eq(ag_grad(x).f32[i], 2 * 27 + 1);
    ag_tape_free(tape);
}

/* What the user reads has its shape in memory, even where every element is the same one. */
Test(backward, a_leafs_gradient_is_contiguous_and_its_own) {
    ag_tape *tape = ag_tape_new();
    ag_var *a = filled(tape, true, 1, TENSOR_SHAPE(2, 3)), *b = filled(tape, true, 1, TENSOR_SHAPE(2, 3));
    cr_assert(ag_backward(total(ag_add(a, ag_transpose(ag_transpose(b, 0, 1), 0, 1)))));
    cr_expect(tensor_is_contiguous(ag_grad(a)) && tensor_is_contiguous(ag_grad(b)));
    cr_assert(tensor_fill(ag_grad(a), 7, NULL));
    for (int i = 0; i < 6; i++) cr_expect_eq(ag_grad(b).f32[i], 1);
    ag_tape_free(tape);
}

Test(backward, constants_get_no_gradient) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2)), *c = filled(tape, false, 5, TENSOR_SHAPE(2));
    cr_assert(ag_backward(total(ag_mul(x, c))));
    cr_expect_not(tensor_ok(ag_grad(c)));
    cr_expect_eq(ag_grad(x).f32[1], 6);
    ag_tape_free(tape);
}

/* Views of views: gradients are added to one memory, whatever the order in which they come. */
Test(backward, gradients_of_views_meet_in_their_operand) {
    ag_tape *tape = ag_tape_new();
    ag_var *leaf = filled(tape, true, 1, TENSOR_SHAPE(4, 6)), *x = ag_affine(leaf, 1, 0);
    ag_var *rows = ag_slice(x, 0, 1, 3, 1);                          /* 1 for each element */
    ag_var *turned = ag_transpose(ag_slice(rows, 1, 0, 6, 2), 0, 1); /* 2 for every other of these */
    ag_var *back = ag_slice(x, 0, -1, INT64_MIN, -1);                /* 4 for all */
    ag_var *one = ag_select(ag_select(x, 0, 0), 0, 5);               /* 8 for one */
    ag_var *flat = ag_reshape(ag_square(ag_reshape(x, TENSOR_SHAPE(24))), TENSOR_SHAPE(4, 6)); /* 2x */
    ag_var *parts[] = {total(ag_affine(rows, 1, 0)), total(ag_affine(turned, 2, 0)),
                       total(ag_affine(back, 4, 0)), ag_affine(one, 8, 0), total(flat)};
    for (int order = 0; order < 5; order++) {
        ag_var *sum = parts[order];
        for (int i = 1; i < 5; i++) sum = ag_add(sum, parts[(order + i) % 5]);
        ag_var *dx;
        cr_assert(ag_gradients(sum, 1, &leaf, &dx, order % 2), "%s", ag_error(tape));
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 6; c++) {
                const bool inside = r == 1 || r == 2;
                const float expected = (float)inside + (inside && c % 2 == 0 ? 2 : 0) + 4 +
                                       (r == 0 && c == 5 ? 8 : 0) + 2 * leaf->value.f32[r * 6 + c];
                cr_expect_eq(dx->value.f32[r * 6 + c], expected, "%d %d: %g, not %g", r, c,
                             (double)dx->value.f32[r * 6 + c], (double)expected);
            }
    }
    ag_tape_free(tape);
}

/* So many views of each other are not one gradient, and the stack does not grow with them. */
Test(backward, a_long_chain_of_views) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 3)), *y = x;
    for (int i = 0; i < 100000; i++) y = ag_transpose(y, 0, 1);
    cr_assert(ag_backward(total(ag_square(ag_slice(y, 0, 1, 2, 1)))), "%s", ag_error(tape));
    for (int i = 0; i < 6; i++) cr_expect_eq(ag_grad(x).f32[i], i < 3 ? 0 : 2 * (1 + (float)i));
    ag_tape_free(tape);
}

/* ---- ag_gradients ------------------------------------------------------------------------- */

static void note(void *context, const ag_op *op, ag_moment moment) {
    if (moment == AG_BACKWARD_BEGINS) strcat(strcat(context, op->name), " ");
}

Test(backward, chosen_gradients_and_nothing_else) {
    ag_tape *tape = ag_tape_new();
    char seen[256] = "";
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2)), *w = filled(tape, true, 3, TENSOR_SHAPE(2));
    ag_var *h = ag_exp(ag_affine(w, 0.5f, 0)), *y = total(ag_mul(ag_square(x), h)), *dx;
    ag_watch(tape, note, seen);
    cr_assert(ag_gradients(y, 1, &x, &dx, false));
    cr_expect_str_eq(seen, "sum mul square ", "w's part is not computed");
    for (int i = 0; i < 2; i++) cr_expect_eq(dx->value.f32[i], 2 * x->value.f32[i] * h->value.f32[i]);
    cr_expect(!tensor_ok(ag_grad(x)) && !tensor_ok(ag_grad(w)), "ag_backward's are not touched");
    /* An intermediate result and a leaf before it. */
    ag_var *chosen[] = {h, w, h}, *d[3];
    cr_assert(ag_gradients(y, 3, chosen, d, false));
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(d[0]->value.f32[i], x->value.f32[i] * x->value.f32[i]);
        cr_expect_eq(d[1]->value.f32[i], d[0]->value.f32[i] * h->value.f32[i] * 0.5f);
        cr_expect_eq(d[2]->value.f32[i], d[0]->value.f32[i], "chosen twice");
    }
    cr_assert(ag_backward(y));
    const float before = ag_grad(x).f32[1];
    cr_assert(ag_gradients(y, 1, &x, &dx, false));
    cr_expect_eq(ag_grad(x).f32[1], before);
    ag_tape_free(tape);
}

Test(backward, gradients_that_do_not_exist) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2)), *other = filled(tape, true, 1, TENSOR_SHAPE(3));
    ag_var *y = total(ag_square(x)), *both[] = {x, other}, *d[2];
    cr_assert(ag_gradients(y, 2, both, d, false));
    cr_expect(d[1]->value.shape[0] == 3 && tensor_sum_squares(d[1]->value) == 0, "zeros");
    cr_assert(ag_gradients(y, 1, &y, d, false));
    cr_expect_eq(ag_item(d[0]), 1, "of y itself");
    ag_var *data = filled(tape, false, 1, TENSOR_SHAPE(2));
    cr_expect_not(ag_gradients(y, 1, &data, d, false));
    cr_expect_str_eq(ag_error(tape),
                     "gradients: variable 0 needs no gradient; ag_variable makes one that does");
    ag_reset(tape);
    x = filled(tape, true, 1, TENSOR_SHAPE(2));
    ag_tape *second = ag_tape_new();
    other = filled(second, true, 1, TENSOR_SHAPE(2));
    cr_expect_not(ag_gradients(total(x), 1, &other, d, false));
    cr_expect_str_eq(ag_error(tape), "gradients: variable 0 is on another tape");
    ag_reset(tape);
    x = filled(tape, true, 1, TENSOR_SHAPE(2));
    const tensor narrow = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(1));
    cr_expect_not(ag_gradients_into(total(x), 1, &x, &narrow, false));
    cr_expect_str_eq(ag_error(tape), "gradients: place 0 is [1], expected [2] without gaps");
    ag_tape_free(tape);
    ag_tape_free(second);
}

Test(backward, gradients_go_where_the_caller_says) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 2)), *w = filled(tape, true, 1, TENSOR_SHAPE(2, 2));
    ag_var *unused = filled(tape, true, 1, TENSOR_SHAPE(1)), *chosen[] = {x, w, unused, x};
    tensor place[4];
    for (int i = 0; i < 4; i++) {
        place[i] = ag_tensor(tape, TENSOR_F32, chosen[i]->value.rank, chosen[i]->value.shape);
        tensor_fill(place[i], NAN, NULL);
    }
    /* x comes in parts: through a transposed view, a slice and whole. */
    ag_var *y = ag_add(total(ag_matmul(ag_transpose(x, 0, 1), w)), total(ag_slice(x, 0, 0, 1, 1)));
    y = ag_add(y, total(ag_mul(x, w)));
    const float dx[] = {1 + 2 + 1 + 1, 1 + 2 + 1 + 2, 3 + 4 + 3, 3 + 4 + 4};
    for (int times = 1; times <= 2; times++) {
        cr_assert(ag_gradients_into(y, 3, chosen, place, times > 1), "%s", ag_error(tape));
        for (int i = 0; i < 4; i++) {
            cr_expect_eq(place[0].f32[i], (float)times * dx[i], "%d: %g", i, (double)place[0].f32[i]);
        }
        cr_expect_eq(place[2].f32[0], 0);
    }
    place[2].f32[0] = 5; /* which has nothing to be added to it */
    cr_assert(ag_gradients_into(y, 3, chosen, place, true));
    cr_expect_eq(place[2].f32[0], 5);
    cr_expect_not(ag_gradients_into(y, 4, chosen, place, false));
    cr_expect_str_eq(ag_error(tape), "gradients: variable 3 has a place already");
    ag_tape_free(tape);
}

/* A variable that is chosen twice has the gradient of an earlier call back when the call ends. What the caller gets lies
 * as his variable does. */
Test(backward, chosen_gradients_leave_no_trace_and_have_no_gaps) {
    ag_tape *tape = ag_tape_new();
    for (int graph = 0; graph < 2; graph++, ag_reset(tape)) {
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 3)), *twice[] = {x, x}, *dx[2];
        cr_assert(ag_backward(total(ag_square(x))));
        cr_assert(ag_gradients(ag_sum(ag_transpose(x, 0, 1), AG_ALL, false), 2, twice, dx, graph), "%s",
                  ag_error(tape));
        for (int i = 0; i < 2; i++) cr_expect(tensor_is_contiguous(dx[i]->value) && ag_rank(dx[i]) == 2);
        for (int i = 0; i < 6; i++) cr_expect_eq(dx[i / 3]->value.f32[i], 1);
        cr_assert(tensor_ok(ag_grad(x)));
        for (int i = 0; i < 6; i++) cr_expect_eq(ag_grad(x).f32[i], 2 * (1 + (float)i));

        ag_var *leaf = filled(tape, true, 1, TENSOR_SHAPE(2)), *h = ag_affine(leaf, 2, 0),
               *y = total(ag_exp(h)), *dh;
        cr_assert(ag_gradients(y, 1, &h, &dh, graph)); /* of a result */
        for (int i = 0; i < 2; i++) cr_assert(ag_backward(y));
        cr_expect_float_eq(ag_grad(leaf).f32[0], 2 * 2 * exp(2), 1e-4);
    }
    ag_tape_free(tape);
}

Test(backward, second_derivatives) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 2, 0, NULL), *first, *second, *third;
    ag_var *y = ag_mul(ag_square(x), ag_square(x)); /* x^4 */
    cr_assert(ag_gradients(y, 1, &x, &first, true));
    cr_assert(ag_gradients(first, 1, &x, &second, true), "%s", ag_error(tape));
    cr_assert(ag_gradients(second, 1, &x, &third, false), "%s", ag_error(tape));
    cr_expect_float_eq(ag_item(first), 32, 1e-4);
    cr_expect_float_eq(ag_item(second), 48, 1e-4);
    cr_expect_float_eq(ag_item(third), 48, 1e-4);
    cr_assert(ag_backward(ag_add(first, second)));
    cr_expect_float_eq(ag_grad(x).f32[0], 96, 1e-3);
    ag_tape_free(tape);
}

static void numbers_backward(ag_var *y, ag_var *dy) {
    const tensor memory = ag_grad_buffer(y, y->in[0], NULL);
    tensor_binary(memory, TENSOR_ADD, memory, dy->value, ag_err(y));
}
static const ag_op numbers_op = {"numbers", numbers_backward};

Test(backward, a_backward_of_numbers_alone_is_refused_in_a_graph) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 2, 0, NULL), *y = ag_begin(&numbers_op, 1, &x), *dx;
    cr_assert(ag_out_view(y, x, x->value));
    y = ag_end(y);
    cr_assert(ag_backward(y));
    cr_expect_eq(ag_grad(x).f32[0], 1);
    cr_expect_not(ag_gradients(y, 1, &x, &dx, true));
    cr_expect_str_eq(ag_error(tape), "numbers: without a decomposition it cannot be differentiated twice");
    ag_tape_free(tape);
}

/* ---- Parameters ----------------------------------------------------------------------------- */

typedef struct model {
    tensor_storage storage;
    float values[9];
    ag_var w, b; /* [2, 3] and [3] */
} model;

static void make_model(model *m) {
    for (int i = 0; i < 9; i++) m->values[i] = (float)i;
    m->storage = (tensor_storage){m->values, sizeof m->values, 0};
    const tensor all = tensor_wrap(&m->storage, TENSOR_F32, TENSOR_SHAPE(9), NULL);
    ag_parameter(&m->w, tensor_reshape(tensor_slice(all, 0, 0, 6, 1, NULL), TENSOR_SHAPE(2, 3), NULL), true,
                 "layer.weight");
    ag_parameter(&m->b, tensor_slice(all, 0, 6, 9, 1, NULL), true, "layer.bias");
}

static ag_var *loss_of(model *m, ag_tape *tape) {
    return total(ag_square(ag_linear(filled(tape, false, 1, TENSOR_SHAPE(1, 2)), &m->w, &m->b)));
}

/* An operation whose backward gives two of its operand's three numbers a gradient. */
static void short_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_slice(dy, 0, 0, 2, 1));
}
static ag_var *run_short(ag_var *x) {
    static const ag_op op = {"short", short_backward, .no_cases = "it is wrong"};
    ag_var *y = ag_begin(&op, 1, &x);
    if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape)) tensor_copy(y->value, x->value, ag_err(y));
    return ag_end(y);
}

Test(backward, a_fault_in_a_backward_is_named_after_its_operation) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3)), *dx;
    cr_expect_not(ag_backward(total(run_short(x))));
    cr_expect_str_eq(ag_error(tape), "backward of short: reshape: [3] does not fit [2]");
    ag_reset(tape);
    x = filled(tape, true, 1, TENSOR_SHAPE(3));
    cr_expect_not(ag_gradients(total(run_short(x)), 1, &x, &dx, true));
    cr_expect_eq(strncmp(ag_error(tape), "backward of short: ", 19), 0, "%s", ag_error(tape));
    ag_tape_free(tape);
}

Test(backward, parameters_are_leaves_of_each_tape) {
    model m;
    make_model(&m);
    const model before = m;
    ag_tape *tape = ag_tape_new(), *other = ag_tape_new();
    cr_assert(ag_backward(loss_of(&m, tape)), "%s", ag_error(tape));
    ag_var *b = ag_use(tape, &m.b);
    cr_expect_eq(b, ag_use(tape, &m.b), "always the same leaf");
    cr_expect(tensor_ok(ag_grad(b)) && !tensor_ok(ag_grad(&m.b)) && !tensor_ok(ag_grad(ag_use(other, &m.b))));
    ag_var *chosen[] = {&m.b, &m.w}, *d[2];
    cr_assert(ag_gradients(loss_of(&m, other), 2, chosen, d, true), "%s", ag_error(other));
    for (int i = 0; i < 3; i++) cr_expect_eq(d[0]->value.f32[i], ag_grad(b).f32[i]);
    cr_expect_eq(memcmp(&before, &m, sizeof m), 0, "nothing is written to a parameter");
    for (int turn = 0; turn < 3; turn++) { /* gradients of gradients, turn after turn */
        ag_reset(tape);
        ag_var *loss = loss_of(&m, tape);
        cr_assert(ag_gradients(loss, 2, chosen, d, true), "%s", ag_error(tape));
        cr_assert(ag_backward(ag_add(total(ag_square(d[0])), total(ag_square(d[1])))), "%s", ag_error(tape));
    }
    ag_tape_free(tape);
    ag_tape_free(other);
}

Test(backward, a_frozen_parameter_gets_no_gradient) {
    model m;
    make_model(&m);
    m.b.needs_grad = false;
    ag_tape *tape = ag_tape_new();
    cr_assert(ag_backward(loss_of(&m, tape)));
    cr_expect(tensor_ok(ag_grad(ag_use(tape, &m.w))) && !tensor_ok(ag_grad(ag_use(tape, &m.b))));
    ag_tape_free(tape);
}

/* More parameters than a table begins with. */
Test(backward, many_parameters) {
    enum { MANY = 1000 };
    static ag_var w[MANY];
    static float values[MANY];
    static tensor_storage storage = {values, sizeof values, 0};
    const tensor all = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(MANY), NULL);
    for (int i = 0; i < MANY; i++) {
        values[i] = (float)i;
        ag_parameter(&w[i], tensor_slice(all, 0, i, i + 1, 1, NULL), true, NULL);
    }
    ag_tape *tape = ag_tape_new();
    for (int turn = 0; turn < 3; turn++, ag_reset(tape)) {
        ag_var *y = ag_constant(tape, 0);
        for (int i = 0; i < MANY; i++) y = ag_add(y, ag_square(ag_use(tape, &w[i])));
        cr_assert(ag_backward(total(y)), "%s", ag_error(tape));
        for (int i = 0; i < MANY; i++) cr_expect_eq(ag_grad(ag_use(tape, &w[i])).f32[0], 2 * values[i]);
    }
    ag_tape_free(tape);
}

typedef struct thread {
    pthread_t id;
    model *m;
    float gradient[3];
    bool ok;
} thread;

static void *differentiate(void *context) {
    thread *t = context;
    ag_tape *tape = ag_tape_new();
    ag_var *chosen[] = {&t->m->b, &t->m->w}, *d[2];
    t->ok = tape != NULL;
    for (int turn = 0; t->ok && turn < 200; turn++, ag_reset(tape)) {
        ag_var *loss = loss_of(t->m, tape);
        t->ok = ag_gradients(loss, 2, chosen, d, true) && ag_backward(total(ag_square(d[1]))) &&
                ag_backward(loss);
        if (t->ok) memcpy(t->gradient, d[0]->value.f32, sizeof t->gradient);
    }
    ag_tape_free(tape);
    return NULL;
}

/* Under ThreadSanitizer this is the proof that no backward writes to a parameter. */
Test(backward, several_threads_differentiate_one_model) {
    model m;
    make_model(&m);
    thread t[4];
    for (int i = 0; i < 4; i++) {
        t[i] = (thread){.m = &m};
        cr_assert_eq(pthread_create(&t[i].id, NULL, differentiate, &t[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(t[i].id, NULL);
    for (int i = 0; i < 4; i++) {
        cr_expect(t[i].ok);
        cr_expect_eq(memcmp(t[i].gradient, t[0].gradient, sizeof t->gradient), 0);
    }
}

/* ---- Memory ------------------------------------------------------------------------------- */

Test(backward, a_reset_tape_repeats_its_work_in_the_same_memory) {
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

/* The gradients of a deep chain do not add up: their memory is used again. */
Test(backward, gradients_reuse_each_others_memory) {
    enum { SIZE = 1 << 16 };
    ag_tape *tape = ag_tape_new();
    ag_var *h = filled(tape, true, 0, TENSOR_SHAPE(SIZE));
    for (int i = 0; i < 20; i++) h = ag_tanh(h);
    h = total(h);
    const size_t before = ag_tape_peak(tape);
    cr_assert(ag_backward(h));
    cr_expect_leq(ag_tape_peak(tape) - before, 4 * SIZE * 5 / 2, "%zu bytes", ag_tape_peak(tape) - before);
    ag_tape_free(tape);
}

/* Gradients of 4000 different sizes: a free block that is larger is split, and grows together again. */
Test(backward, memory_of_many_sizes_does_not_add_up) {
    enum { SIZES = 4000, FIRST = 1000 };
    ag_tape *tape = ag_tape_new();
    for (int up = 0; up < 2; up++) {
        ag_reset(tape);
        ag_var *h = filled(tape, true, 0, TENSOR_SHAPE(FIRST + SIZES));
        for (int i = 1; i <= SIZES; i++) {
            ag_var *part = ag_slice(h, 0, 0, FIRST + SIZES - i, 1);
            h = up ? ag_affine(part, 0.5f, 0) : ag_concat((ag_var *[]){part, part}, 2, 0);
            if (!up) h = ag_slice(h, 0, 0, FIRST + i, 1);
        }
        ag_var *y = total(h);
        const size_t before = ag_tape_peak(tape);
        cr_assert(ag_backward(y), "%s", ag_error(tape));
        cr_expect_leq(ag_tape_peak(tape) - before, 10 * 4 * (FIRST + SIZES), "%zu bytes",
                      ag_tape_peak(tape) - before);
    }
    ag_tape_free(tape);
}

/* Every slice's gradient is added to the whole's in place. */
Test(backward, slices_of_a_sequence_share_one_gradient) {
    enum { T = 512, B = 4, C = 16 };
    ag_tape *tape = ag_tape_new();
    ag_var *x = filled(tape, true, 0, TENSOR_SHAPE(B, T, C)), *h = filled(tape, false, 0, TENSOR_SHAPE(B, C));
    ag_var *w = filled(tape, true, 0, TENSOR_SHAPE(C, C));
    for (int i = 0; i < T; i++)
        h = ag_tanh(ag_add(ag_squeeze(ag_slice(x, 1, i, i + 1, 1), 1), ag_matmul(h, ag_affine(w, 1e-4f, 0))));
    ag_var *y = ag_mean(h, AG_ALL, false);
    const size_t before = ag_tape_peak(tape);
    cr_assert(ag_backward(y));
    const size_t sequence = sizeof(float) * B * T * C, step = sizeof(float) * C * (B + C);
    cr_expect_leq(ag_tape_peak(tape) - before, sequence + 20 * step, "%zu bytes",
                  ag_tape_peak(tape) - before);
    ag_tape_free(tape);
}

/* A T x T matrix of one head would have 16 MiB. */
Test(backward, attention_has_no_memory_of_tokens_times_tokens) {
    enum { T = 2048, C = 32 };
    ag_tape *tape = ag_tape_new();
    tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(1, T, 3 * C));
    cr_assert(tensor_rand_normal(x, &(tensor_rng){.seed = 1}, 0, 1, NULL));
    cr_assert(ag_backward(total(ag_causal_attention(ag_variable(tape, x), 4, 0.35f))), "%s", ag_error(tape));
    cr_expect_lt(ag_tape_bytes(tape), 12u << 20, "%zu bytes", ag_tape_bytes(tape));
    ag_tape_free(tape);
}
