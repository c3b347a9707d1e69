/* Every operation of the table, on the instruction set that SAMPO_ISA names: its gradient, the gradient of its
 * gradient, and, where it is fused, value and gradient against its composed reference. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "sampo/autograd.h"

/* Float32 results differ from their exact values by about 1e-7; a difference quotient with a step of 1/64
 * multiplies that by about 100. Wrong gradients are off by a per cent at least. */
static const double tolerance = 2e-4, second_tolerance = 1e-3;

Test(gradients, every_operation_has_cases_or_a_reason) {
    int count = 0;
    for (const ag_op *const *op = ag_ops; *op; op++, count++) {
        cr_expect((*op)->case_count > 0 || (*op)->no_cases,
                  "%s has neither check cases nor a reason for none", (*op)->name);
        cr_expect((*op)->case_count == 0 || (*op)->backward, "%s has cases, but no backward", (*op)->name);
        for (const ag_op *const *other = ag_ops; other < op; other++)
            cr_expect(strcmp((*op)->name, (*other)->name) != 0, "%s is in the table twice", (*op)->name);
    }
    cr_expect(count >= 40, "only %d operations in the table", count);
}

static void check_all(int order, double bound) {
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++) {
            const ag_case *c = &(*op)->cases[i];
            tensor_error err = {0};
            const double error = ag_check(c, order, &err);
            cr_expect(error >= 0 && error <= bound, "%s (%s), order %d on %s: error %g %s", (*op)->name,
                      c->name, order, tensor_isa(), error, err.text);
        }
}

Test(gradients, first_order) {
    check_all(1, tolerance);
}

Test(gradients, second_order) {
    check_all(2, second_tolerance);
}

/* The check itself must fail where a gradient is wrong: this operation doubles it. */
static void wrong_backward(ag_var *y, ag_var *dy) {
    ag_give(y->in[0], ag_affine(dy, 2, 0));
}
static const ag_op wrong_op = {"wrong", wrong_backward};
static ag_var *wrong(ag_var **in) {
    ag_var *y = ag_begin(&wrong_op, 1, in);
    if (ag_out(y, TENSOR_F32, in[0]->value.rank, in[0]->value.shape))
        tensor_copy(y->value, in[0]->value, ag_err(y));
    return ag_end(y);
}
static ag_var *forgets(ag_var **in) {
    return ag_mul(in[0], ag_input(in[0]->tape, in[0]->value));
}
static ag_var *fails(ag_var **in) {
    return ag_matmul(in[0], in[0]);
}

Test(gradients, a_wrong_gradient_is_found) {
    tensor_error err = {0};
    cr_expect_gt(ag_check(&(ag_case){"wrong", wrong, 1, {{1, {5}}}}, 1, &err), 0.1);
    cr_expect_gt(ag_check(&(ag_case){"forgets one use", forgets, 1, {{1, {5}}}}, 1, &err), 0.1);
    cr_expect_str_empty(err.text);
    cr_expect_lt(ag_check(&(ag_case){"fails", fails, 1, {{2, {2, 3}}}}, 1, &err), 0);
    cr_expect_str_eq(err.text, "matmul: inner sizes differ: [2, 3] x [2, 3]");
}

/* ---- Fused operations against their composed references -------------------------------------- */

/* Relative to the largest element, or to 1. */
static double largest_difference(tensor a, tensor b) {
    double worst = 0, size = 1;
    for (int64_t i = 0; i < tensor_size(a); i++) {
        const double off = fabs((double)a.f32[i] - (double)b.f32[i]);
        worst = off <= worst ? worst : off;
        size = fmax(size, fabs((double)b.f32[i]));
    }
    return worst / size;
}

/* Value and gradient of sum(y^2) for one node and for its reference, on the same operands. */
static void compare(const ag_op *op, int inputs, ag_var *y, ag_var **in) {
    ag_tape *tape = y->tape;
    ag_var *reference = op->composed(y);
    cr_assert(reference, "%s: %s", op->name, ag_error(tape));
    cr_expect_lt(largest_difference(y->value, reference->value), 1e-6, "%s: values differ", op->name);
    tensor first[3];
    cr_assert(ag_backward(ag_sum(ag_square(y), AG_ALL, false)));
    for (int i = 0; i < inputs; i++) {
        first[i] = ag_grad(in[i]);
        in[i]->grad = NULL;
    }
    cr_assert(ag_backward(ag_sum(ag_square(reference), AG_ALL, false)), "%s", ag_error(tape));
    for (int i = 0; i < inputs; i++)
        if (tensor_ok(first[i]))
            cr_expect_lt(largest_difference(first[i], ag_grad(in[i])), 5e-6,
                         "%s: gradients of operand %d differ", op->name, i);
}

static ag_var *normal(ag_tape *tape, int rank, const int64_t *shape) {
    static _Thread_local uint64_t stream;
    tensor_rng rng = {.seed = 1, .stream = stream++};
    const tensor x = ag_tensor(tape, TENSOR_F32, rank, shape);
    cr_assert(tensor_rand_normal(x, &rng, 0, 1, NULL));
    return ag_variable(tape, x);
}

static ag_var *ids(ag_tape *tape, int64_t n, int32_t below) {
    tensor_rng rng = {.seed = 2};
    const tensor x = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(n));
    cr_assert(tensor_rand_integers(x, &rng, 0, below, NULL));
    return ag_input(tape, x);
}

Test(gradients, fused_operations_equal_their_references) {
    ag_tape *tape = ag_tape_new();
    ag_var *x = normal(tape, TENSOR_SHAPE(2, 9, 33)), *w = normal(tape, TENSOR_SHAPE(33, 17)),
           *b = normal(tape, TENSOR_SHAPE(17));
    ag_var *y = ag_linear(x, w, b);
    compare(y->op, 3, y, (ag_var *[]){x, w, b});
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(3, 5, 65)), w = normal(tape, TENSOR_SHAPE(65)),
    b = normal(tape, TENSOR_SHAPE(65));
    y = ag_layer_norm(x, w, b, 1e-5f);
    compare(y->op, 3, y, (ag_var *[]){x, w, b});
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(11, 51)), w = ids(tape, 11, 51);
    y = ag_cross_entropy(x, w);
    compare(y->op, 1, y, &x);
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(20, 6)), w = ids(tape, 33, 20);
    y = ag_embedding(x, w);
    compare(y->op, 1, y, &x);
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(100));
    y = ag_relu(x);
    compare(y->op, 1, y, &x);
    y = ag_gelu(x);
    x->grad = NULL;
    compare(y->op, 1, y, &x);
    y = ag_gelu_tanh(x);
    x->grad = NULL;
    compare(y->op, 1, y, &x);
    ag_tape_free(tape);
}

/* Lengths around the attention kernel's tile of 64, several tiles, head sizes that are no multiple of a vector. */
Test(gradients, attention_equals_its_reference) {
    const struct {
        int64_t batch, t, width;
        int heads;
    } shapes[] = {{2, 1, 8, 2},   {1, 63, 20, 4},  {2, 64, 32, 2},
                  {1, 65, 10, 1}, {1, 130, 24, 3}, {1, 200, 140, 2}};
    ag_tape *tape = ag_tape_new();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        ag_reset(tape);
        ag_var *qkv = normal(tape, TENSOR_SHAPE(shapes[i].batch, shapes[i].t, 3 * shapes[i].width));
        ag_var *y = ag_causal_attention(qkv, shapes[i].heads, 0.3f);
        cr_assert(y, "%s", ag_error(tape));
        compare(y->op, 1, y, &qkv);
    }
    ag_tape_free(tape);
}
