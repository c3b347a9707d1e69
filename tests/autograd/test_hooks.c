/* Gradient hooks: what they see and what becomes of it. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

typedef struct seen {
    int calls;
    float first;
} seen;

static ag_var *look(void *context, ag_var *x, ag_var *dx) {
    seen *s = context;
    (void)x;
    s->calls++;
    s->first = dx->value.f32[0];
    return dx;
}
static ag_var *halve(void *context, ag_var *x, ag_var *dx) {
    (void)context, (void)x;
    return ag_affine(dx, 0.5f, 0);
}
static ag_var *lose(void *context, ag_var *x, ag_var *dx) {
    (void)x;
    return context ? NULL : total(dx);
}

/* A leaf, its view and a result, each with a hook that halves: the leaf's gradient is an eighth. */
Test(hooks, hooks_see_and_change_gradients) {
    ag_tape *tape = ag_tape_new();
    for (int graph = 0; graph < 3; graph++, ag_reset(tape)) {
        seen before = {0}, after = {0}, result = {0};
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 3)), *view = ag_transpose(x, 0, 1),
               *y = ag_square(view), *dx;
        cr_assert(ag_add_hook(y, look, &result) && ag_add_hook(y, halve, NULL) &&
                  ag_add_hook(view, halve, NULL) && ag_add_hook(x, look, &before) &&
                  ag_add_hook(x, halve, NULL) && ag_add_hook(x, look, &after));
        ag_var *loss = total(ag_add(y, y));
        if (graph == 0)
            cr_assert(ag_backward(loss));
        else
            cr_assert(ag_gradients(loss, 1, &x, &dx, graph == 2), "%s", ag_error(tape));
        const tensor g = graph == 0 ? ag_grad(x) : dx->value;
        for (int i = 0; i < 6; i++)
            cr_expect_eq(g.f32[i], 2 * 2 * (float)(i + 1) / 8, "%d: %g", i, (double)g.f32[i]);
        cr_expect(before.calls == 1 && after.calls == 1 && result.calls == 1);
        cr_expect(result.first == 2 && before.first == 1 && after.first == 0.5f);
        if (graph == 2) {
            cr_assert(ag_gradients(total(dx), 1, &x, &dx, false), "%s", ag_error(tape));
            cr_expect_eq(dx->value.f32[0], 0.5f / 4,
                         "once more through the hooks of the view and of the leaf");
        }
    }
    for (int way = 0; way < 2; way++, ag_reset(tape)) {
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(2, 3));
        cr_assert(ag_add_hook(x, lose, way ? tape : NULL));
        cr_expect_not(ag_backward(total(ag_exp(x))));
        cr_expect_str_eq(ag_error(tape), way ? "hook: it returned no gradient"
                                             : "hook: the gradient it returned is [], expected [2, 3]");
    }
    cr_expect_not(ag_add_hook(filled(tape, false, 1, TENSOR_SHAPE(2)), halve, NULL));
    cr_expect_str_eq(ag_error(tape), "hook: the variable needs no gradient");
    cr_expect_not(ag_add_hook(NULL, halve, NULL));
    ag_tape_free(tape);
}

/* A gradient that several variables share, and one that lies in a place of the caller's. */
Test(hooks, a_hook_changes_no_other_gradient) {
    ag_tape *tape = ag_tape_new();
    ag_var *a = filled(tape, true, 1, TENSOR_SHAPE(3)), *b = filled(tape, true, 1, TENSOR_SHAPE(3));
    ag_var *sum = ag_add(a, b), *loss = total(sum);
    cr_assert(ag_add_hook(a, halve, NULL));
    const tensor places[] = {ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3)),
                             ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3))};
    cr_assert(ag_gradients_into(loss, 2, (ag_var *[]){a, b}, places, false));
    cr_expect(places[0].f32[2] == 0.5f && places[1].f32[2] == 1);
    cr_assert(ag_backward(loss));
    cr_expect(ag_grad(a).f32[0] == 0.5f && ag_grad(b).f32[0] == 1);
    ag_tape_free(tape);
}

static ag_var *note(void *context, ag_var *x, ag_var *dx) {
    char *order = context;
    strcat(order, x->name);
    return dx;
}

static ag_var *block(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)rng;
    return ag_mul(ag_tanh(in[0]), (ag_var *)context);
}

static ag_var *named(ag_tape *tape, const char *name) {
    ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(3));
    x->name = name;
    return x;
}

/* The hook of a leaf runs once the oldest node that uses it is done, before gradients reach those before it: also where
 * a block that is computed again uses it, where it is used again later, twice at once, and by what the result does not
 * depend on. */
Test(hooks, a_leafs_hook_runs_as_soon_as_its_gradient_is_complete) {
    ag_tape *tape = ag_tape_new();
    for (int graph = 0; graph < 3; graph++, ag_reset(tape)) {
        char order[16] = "";
        ag_var *a = named(tape, "a"), *b = named(tape, "b"), *c = named(tape, "c"), *d = named(tape, "d");
        ag_var *all[] = {a, b, c, d}, *dx[4];
        ag_mul(d, d); /* of which nothing comes */
        ag_var *y = ag_mul(a, a), *z = ag_mul(y, b);
        y->name = "y", z->name = "z";
        ag_var *loss = total(ag_mul(ag_mul(ag_checkpoint(block, c, 0, 1, &z, NULL), b), d));
        for (int i = 0; i < 4; i++) cr_assert(ag_add_hook(all[i], note, order));
        cr_assert(ag_add_hook(y, note, order) && ag_add_hook(z, note, order));
        cr_assert(graph == 0 ? ag_backward(loss) : ag_gradients(loss, 4, all, dx, graph == 2), "%s",
                  ag_error(tape));
        cr_expect_str_eq(order, "czbyad", "%d", graph);
    }
    for (int way = 0; way < 2; way++, ag_reset(tape)) { /* the result is a leaf itself */
        seen s = {0};
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(1)), *dx;
        cr_assert(ag_add_hook(x, look, &s));
        cr_assert(way == 0 ? ag_backward(x) : ag_gradients(x, 1, &x, &dx, false), "%s", ag_error(tape));
        cr_expect(s.calls == 1 && s.first == 1);
    }
    ag_tape_free(tape);
}

/* A view whose gradient would be added to its operand's in place has one of its own for its hook. */
Test(hooks, a_hook_of_a_view_sees_what_is_added) {
    ag_tape *tape = ag_tape_new();
    for (int way = 0; way < 4; way++, ag_reset(tape)) {
        seen s = {0};
        ag_var *x = filled(tape, true, 1, TENSOR_SHAPE(4, 3)), *h = ag_affine(x, 1, 0);
        ag_var *view = way == 0   ? ag_transpose(h, 0, 1)
                       : way == 1 ? ag_slice(h, 0, 0, 2, 1)
                       : way == 2 ? ag_reshape(h, TENSOR_SHAPE(2, 6))
                                  : ag_unsqueeze(ag_select(h, 0, 0), 0);
        cr_assert(ag_add_hook(view, look, &s) && ag_add_hook(view, halve, NULL));
        ag_var *w = ag_input(tape, ag_ones(tape, TENSOR_SHAPE(ag_size(view, -1), 5))->value);
        cr_assert(ag_backward(total(ag_matmul(view, w))), "%s", ag_error(tape));
        cr_expect(s.calls == 1 && s.first == 5, "%d: %d calls, %g", way, s.calls, (double)s.first);
        cr_expect_eq(ag_grad(x).f32[0], 2.5f, "%d", way);
    }
    ag_tape_free(tape);
}

/* The gradient that a leaf has from before is no gradient of this call. */
Test(hooks, a_hook_of_a_leaf_that_is_not_asked_for_does_not_run) {
    ag_tape *tape = ag_tape_new();
    seen s = {0};
    ag_var *a = filled(tape, true, 1, TENSOR_SHAPE(3)), *b = filled(tape, true, 1, TENSOR_SHAPE(3)), *db;
    cr_assert(ag_add_hook(a, look, &s));
    ag_var *loss = total(ag_mul(a, b));
    cr_assert(ag_backward(loss));
    cr_expect_eq(s.calls, 1);
    cr_assert(ag_gradients(loss, 1, &b, &db, false), "%s", ag_error(tape));
    cr_expect_eq(s.calls, 1);
    ag_tape_free(tape);
}

static ag_var *nested(void *context, ag_var *x, ag_var *dx) {
    ag_var *y = ag_sum(ag_square(x), AG_ALL, false), *g;
    cr_expect_not(*(int *)context ? ag_gradients(y, 1, &x, &g, true) : ag_backward(y));
    return dx;
}

/* Gradients that are begun while others are computed would take theirs. */
Test(hooks, a_hook_begins_no_gradients) {
    ag_tape *tape = ag_tape_new();
    for (int way = 0; way < 16; way++, ag_reset(tape)) {
        int chosen = way & 1;
        const tensor values = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3));
        tensor_fill(values, 2, NULL);
        ag_var *x = ag_variable(tape, values), *y = ag_tanh(x), *z = ag_sum(ag_square(y), AG_ALL, false), *dx;
        cr_assert(ag_add_hook(way & 2 ? x : y, nested, &chosen));
        const bool ok = way & 4 ? ag_gradients(z, 1, &x, &dx, way & 8) : ag_backward(z);
        cr_expect_not(ok);
        cr_expect(strstr(ag_error(tape), "a hook or a block began it"), "%s", ag_error(tape));
        ag_reset(tape); /* and none is refused afterwards */
        const tensor again = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(3));
        tensor_fill(again, 2, NULL);
        cr_expect(ag_backward(ag_sum(ag_square(ag_variable(tape, again)), AG_ALL, false)), "%s",
                  ag_error(tape));
    }
    ag_tape_free(tape);
}
