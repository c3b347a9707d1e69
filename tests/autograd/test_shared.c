/* Operands used twice, and elements that tie: where a backward rule that is right for one use is wrong for two. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/autograd/tape_test.h"

/* The gradient of each operand where f has all of them twice is that where two leaves of one value have it once each,
 * added. */
static void expect_sum(const ag_case *c, const char *name) {
    ag_tape *tape = ag_tape_new();
    ag_var *once[AG_MAX_OPERANDS], *again[AG_MAX_OPERANDS], *shared[AG_MAX_OPERANDS];
    for (int k = 0; k < c->inputs; k++) {
        const ag_operand *o = &c->in[k];
        tensor_rng rng = {.seed = 5, .stream = (uint64_t)k};
        const tensor x = ag_tensor(tape, o->ids > 0 ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
        cr_assert(tensor_ok(x));
        const bool wide = o->low == 0 && o->high == 0;
        if (o->ids > 0)
            for (int64_t i = 0; i < tensor_size(x); i++) x.i32[i] = (int32_t)(i % o->ids);
        else
            cr_assert(tensor_rand_uniform(x, &rng, wide ? -2 : o->low, wide ? 2 : o->high, NULL));
        const bool leaf = o->ids == 0 && !o->constant;
        once[k] = leaf ? ag_variable(tape, x) : ag_input(tape, x);
        again[k] = leaf ? ag_variable(tape, x) : ag_input(tape, x);
        shared[k] = leaf ? ag_variable(tape, x) : ag_input(tape, x);
    }
    ag_var *first = c->run(once), *second = c->run(again), *a = c->run(shared), *b = c->run(shared);
    cr_assert(ag_ok(tape), "%s, %s: %s", name, c->name, ag_error(tape));
    cr_assert(ag_backward(total(ag_add(first, ag_affine(second, 2, 0)))), "%s", name);
    cr_assert(ag_backward(total(ag_add(a, ag_affine(b, 2, 0)))), "%s", name);
    for (int k = 0; k < c->inputs; k++) {
        const tensor sum = ag_grad(shared[k]), p = ag_grad(once[k]), q = ag_grad(again[k]);
        for (int64_t i = 0; tensor_ok(sum) && i < tensor_size(sum); i++) {
            const double expected = (double)p.f32[i] + (double)q.f32[i],
                         size = fabs((double)p.f32[i]) + fabs((double)q.f32[i]);
            cr_assert(fabs((double)sum.f32[i] - expected) <= 1e-5 * size + 1e-6,
                      "%s, %s: operand %d has %g, not %g", name, c->name, k, (double)sum.f32[i], expected);
        }
    }
    ag_tape_free(tape);
}

Test(shared, every_operation_with_all_its_operands_twice) {
    int checked = 0;
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++, checked++) expect_sum(&(*op)->cases[i], (*op)->name);
    cr_expect_gt(checked, 100);
}

/* An operand of a case as the first elements of a leaf, of its column, or of the leaf backwards. */
typedef enum way { FORWARDS, COLUMN, BACKWARDS, WAYS } way;
static ag_var *part(ag_var *leaf, way w, const ag_operand *o, int64_t size) {
    ag_var *x = w == COLUMN ? ag_select(leaf, 1, 0) : w == BACKWARDS ? ag_flip(leaf, AG_AXIS(0)) : leaf;
    return ag_reshape(ag_slice(x, 0, 0, size, 1), o->rank, o->shape);
}

/* Where element i of a part lies in a leaf of which a part has `size`. */
static int64_t place(way w, int64_t i, int64_t size) {
    return w == COLUMN ? 2 * i : w == BACKWARDS ? size - 1 - i : i;
}

/* The gradient of a leaf of which all operands are parts, the same part where they are of one size, is the sum of those of
 * leaves of their own. Its backward then finds all gradients in one memory. */
static bool expect_parts(const ag_case *c, const char *name, way w) {
    ag_tape *tape = ag_tape_new();
    ag_var *alone[AG_MAX_OPERANDS] = {0}, *parts[AG_MAX_OPERANDS];
    tensor values[AG_MAX_OPERANDS];
    float low = -2, high = 2;
    int64_t size = 0;
    for (int k = 0; k < c->inputs; k++) {
        const ag_operand *o = &c->in[k];
        values[k] = ag_tensor(tape, o->ids > 0 ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
        if (tensor_size(values[k]) > size) size = tensor_size(values[k]);
        if (o->ids > 0 || (o->low == 0 && o->high == 0)) continue;
        if (o->low > low) low = o->low;
        if (o->high < high) high = o->high;
    }
    const tensor x = ag_tensor(tape, TENSOR_F32, w == COLUMN ? 2 : 1, (int64_t[]){size, 2});
    tensor_rng rng = {.seed = 6};
    const bool fit = low < high; /* the operands' domains */
    cr_assert(tensor_rand_uniform(x, &rng, low, fit ? high : low + 1, NULL));
    ag_var *leaf = ag_variable(tape, x);
    for (int k = 0; k < c->inputs; k++) {
        const ag_operand *o = &c->in[k];
        for (int64_t i = 0; i < tensor_size(values[k]); i++) {
            if (o->ids > 0)
                values[k].i32[i] = (int32_t)(i % o->ids);
            else
                values[k].f32[i] = x.f32[place(w, i, size)];
        }
        const bool given = o->ids > 0 || o->constant;
        alone[k] = given ? ag_input(tape, values[k]) : ag_variable(tape, values[k]);
        parts[k] = given ? alone[k] : part(leaf, w, o, tensor_size(values[k]));
    }
    ag_var *expected = c->run(alone), *y = c->run(parts);
    cr_assert(ag_ok(tape), "%s, %s: %s", name, c->name, ag_error(tape));
    const bool both = fit && ag_backward(total(ag_square(expected))) && ag_backward(total(ag_square(y)));
    for (int64_t i = 0; both && i < size; i++) {
        double sum = 0, most = 0;
        for (int k = 0; k < c->inputs; k++) {
            const tensor dx = ag_grad(alone[k]);
            if (!tensor_ok(dx) || i >= tensor_size(dx)) continue;
            sum += (double)dx.f32[i];
            most += fabs((double)dx.f32[i]);
        }
        const double found = (double)ag_grad(leaf).f32[place(w, i, size)];
        cr_assert(fabs(found - sum) <= 1e-4 * most + 1e-5, "%s, %s: element %d has %g, not %g", name, c->name,
                  (int)i, found, sum);
    }
    ag_tape_free(tape);
    return both;
}

Test(shared, every_operation_with_parts_of_one_leaf) {
    int checked = 0;
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++)
            for (way w = FORWARDS; w < WAYS; w++) checked += expect_parts(&(*op)->cases[i], (*op)->name, w);
    cr_expect_gt(checked, 300, "%d", checked);
}

static void expect_gradient(ag_var *x, ag_var *y, const float *expected) {
    cr_assert(ag_backward(total(y)));
    for (int64_t i = 0; i < ag_count(x); i++)
        cr_expect_eq(ag_grad(x).f32[i], expected[i], "element %d: %g", (int)i, (double)ag_grad(x).f32[i]);
}

/* Equal maxima share the gradient, along an axis and of all. */
Test(shared, ties_share_the_gradient) {
    static const float values[] = {3, 1, 3, 3, 1, 2}, rows[] = {0.5f, 0, 0.5f, 1, 0, 0},
                       columns[] = {0.5f, 0.5f, 1, 0.5f, 0.5f, 0},
                       all[] = {1.f / 3, 0, 1.f / 3, 1.f / 3, 0, 0};
    static const struct {
        unsigned axes;
        const float *expected;
    } cases[] = {{AG_AXIS(1), rows}, {AG_AXIS(0), columns}, {AG_ALL, all}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int least = 0; least < 2; least++) {
            ag_tape *tape = ag_tape_new();
            const tensor x = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(2, 3));
            for (int i = 0; i < 6; i++) x.f32[i] = least ? -values[i] : values[i];
            ag_var *leaf = ag_variable(tape, x);
            ag_var *y =
                least ? ag_min_over(leaf, cases[k].axes, false) : ag_max_over(leaf, cases[k].axes, true);
            expect_gradient(leaf, y, cases[k].expected);
            ag_tape_free(tape);
        }
}

Test(shared, two_sides_that_tie_share_the_gradient) {
    static const float halves[] = {0.5f, 0.5f};
    for (int least = 0; least < 2; least++) {
        ag_tape *tape = ag_tape_new();
        ag_var *a = filled(tape, true, 1, TENSOR_SHAPE(2)), *b = filled(tape, true, 1, TENSOR_SHAPE(2));
        expect_gradient(a, least ? ag_min(a, b) : ag_max(a, b), halves);
        for (int i = 0; i < 2; i++) cr_expect_eq(ag_grad(b).f32[i], 0.5f);
        ag_tape_free(tape);
    }
}
