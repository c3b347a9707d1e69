/* Every operation of the table, on the instruction set that SAMPO_ISA names: its gradient, the gradient of its
 * gradient, and, where it is fused, value and gradient against its decomposition. */
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

/* ---- Derived cases: every operation squared, with sizes of 0 and 1, and with operands of any strides -------- */

static _Thread_local const ag_case *original;

static ag_var *run_squared(ag_var **in) {
    return ag_square(original->run(in));
}

/* The second derivative of what is linear is 0, whatever the backward of its backward does: that shows in its square's. */
Test(gradients, second_order_of_squares) {
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++) {
            original = &(*op)->cases[i];
            ag_case c = *original;
            tensor_error err = {0};
            c.run = run_squared;
            const double error = ag_check(&c, 2, &err);
            cr_expect(error >= 0 && error <= second_tolerance, "%s (%s): error %g %s", (*op)->name, c.name,
                      error, err.text);
        }
}

static void expect_good(const ag_case *c, const char *op, const char *how) {
    for (int order = 1; order <= 2; order++) {
        tensor_error err = {0};
        const double error = ag_check(c, order, &err);
        cr_expect(error >= 0 && error <= (order == 1 ? tolerance : second_tolerance),
                  "%s (%s), %s, order %d: error %g %s", op, c->name, how, order, error, err.text);
    }
}

/* One size of a case is `to` wherever it stands. */
static ag_case with_size(const ag_case *c, int64_t size, int64_t to) {
    ag_case changed = *c;
    for (int k = 0; k < c->inputs; k++) {
        for (int axis = 0; axis < c->in[k].rank; axis++)
            if (c->in[k].shape[axis] == size) changed.in[k].shape[axis] = to;
        if (c->in[k].ids == size) changed.in[k].ids = (int32_t)to;
    }
    return changed;
}

static bool is_first_of_its_size(const ag_case *c, int operand, int axis) {
    for (int k = 0; k <= operand; k++)
        for (int i = 0; i < (k < operand ? c->in[k].rank : axis); i++)
            if (c->in[k].shape[i] == c->in[operand].shape[axis]) return false;
    return true;
}

Test(gradients, every_operation_with_sizes_of_0_and_1) {
    for (const ag_op *const *op = ag_ops; *op; op++) {
        int derived = 0;
        for (int i = 0; i < (*op)->case_count; i++) {
            const ag_case *c = &(*op)->cases[i];
            for (int k = 0; k < c->inputs; k++)
                for (int axis = 0; axis < c->in[k].rank; axis++) {
                    const int64_t size = c->in[k].shape[axis];
                    if (size < 2 || size == c->fixed || !is_first_of_its_size(c, k, axis)) continue;
                    for (int64_t to = size == c->not_empty; to < 2; to++, derived++) {
                        char how[64];
                        snprintf(how, sizeof how, "a size of %d instead of %d", (int)to, (int)size);
                        const ag_case changed = with_size(c, size, to);
                        expect_good(&changed, (*op)->name, how);
                    }
                }
        }
        cr_expect((*op)->no_cases || derived > 1, "%s: no case of it has a size that may vary", (*op)->name);
    }
}

/* The operand with the most axes. */
static const ag_operand *widest(const ag_case *c) {
    int most = 0;
    for (int k = 1; k < c->inputs; k++)
        if (c->in[k].rank > c->in[most].rank) most = k;
    return &c->in[most];
}

/* Whether the case ran, forward and backward; not where an operand would not be empty, as no memory has room for it. */
static bool run_empty(ag_tape *tape, const ag_case *c) {
    ag_var *in[AG_MAX_OPERANDS];
    ag_reset(tape);
    for (int k = 0; k < c->inputs; k++) {
        const ag_operand *o = &c->in[k];
        const tensor x = ag_tensor(tape, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
        if (!tensor_ok(x) || !tensor_fill(x, 0, NULL)) return false;
        in[k] = o->ids ? ag_input(tape, x) : ag_variable(tape, x);
    }
    return ag_backward(ag_sum(c->run(in), AG_ALL, false));
}

/* What has nothing to do takes no time, however many rows of nothing there are. */
Test(gradients, every_operation_of_very_many_empty_rows, .timeout = 120) {
    const int64_t very_many = (int64_t)1 << 50;
    ag_tape *tape = ag_tape_new();
    int ran = 0;
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++) {
            const ag_case *c = &(*op)->cases[i];
            const ag_operand *o = widest(c);
            for (int none = 0; none < o->rank; none++)
                for (int many = 0; many < o->rank; many++) {
                    if (o->shape[none] == o->shape[many]) continue;
                    const ag_case empty = with_size(c, o->shape[none], 0);
                    const ag_case rows = with_size(&empty, o->shape[many], very_many);
                    ran += run_empty(tape, &rows);
                }
        }
    ag_tape_free(tape);
    cr_expect_gt(ran, 100, "only %d ran", ran);
}

/* ---- Memory ------------------------------------------------------------------------------------ */

/* Every size that may vary is eight times as large, so that headers and scalars hardly count. */
static ag_case enlarged(const ag_case *c) {
    ag_case large = *c;
    for (int k = 0; k < c->inputs; k++) {
        for (int axis = 0; axis < c->in[k].rank; axis++)
            if (c->in[k].shape[axis] > 1 && c->in[k].shape[axis] != c->fixed) large.in[k].shape[axis] *= 8;
        if (c->in[k].ids > 0 && c->in[k].ids != c->fixed) large.in[k].ids *= 8;
    }
    return large;
}

/* A chain of the operation through its first operand; the others are data. */
static ag_var *chain(ag_tape *tape, const ag_case *c, int links) {
    ag_var *in[AG_MAX_OPERANDS];
    for (int k = 0; k < c->inputs; k++) {
        tensor_rng rng = {.seed = 3, .stream = (uint64_t)k};
        const ag_operand *o = &c->in[k];
        const tensor x = ag_tensor(tape, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
        cr_assert(o->ids ? tensor_rand_integers(x, &rng, 0, o->ids, NULL)
                         : tensor_rand_uniform(x, &rng, 0.5f, 1, NULL));
        in[k] = k == 0 ? ag_variable(tape, x) : ag_input(tape, x);
    }
    for (int i = 0; i < links; i++) {
        ag_var *y = c->run(in);
        cr_assert(y, "%s: %s", c->name, ag_error(tape));
        in[0] = tensor_same_shape(y->value, in[0]->value) ? y : ag_add(in[0], ag_mean(y, AG_ALL, false));
    }
    return ag_sum(in[0], AG_ALL, false);
}

/* Backward's memory is a scope: its peak is that of two gradients, the one that comes and the one that goes, and of the
 * leaf's, which stays. */
Test(gradients, memory_of_chains_of_every_operation) {
    enum { SMALL = 4096 }; /* headers, and what is saved of rows */
    ag_tape *tape = ag_tape_new();
    for (const ag_op *const *op = ag_ops; *op; op++) {
        if ((*op)->case_count == 0 || (*op)->cases[0].in[0].constant) continue;
        ag_reset(tape);
        const ag_case c = enlarged(&(*op)->cases[0]);
        ag_var *y = chain(tape, &c, 6);
        size_t largest[2] = {0};
        for (const ag_var *n = y; n; n = n->previous) {
            const size_t bytes = (size_t)tensor_size(n->value) * sizeof(float);
            if (bytes > largest[0])
                largest[1] = largest[0], largest[0] = bytes;
            else if (bytes > largest[1])
                largest[1] = bytes;
        }
        size_t leaf = sizeof(float);
        for (int axis = 0; axis < c.in[0].rank; axis++) leaf *= (size_t)c.in[0].shape[axis];
        const size_t before = ag_tape_peak(tape);
        cr_assert(ag_backward(y), "%s: %s", (*op)->name, ag_error(tape));
        const size_t peak = ag_tape_peak(tape) - before - leaf;
        cr_expect_leq(peak, (largest[0] + largest[1]) * 6 / 5 + SMALL,
                      "%s: %zu bytes for gradients of %zu and %zu", (*op)->name, peak, largest[0],
                      largest[1]);
    }
    ag_tape_free(tape);
}

/* ---- Strides ----------------------------------------------------------------------------------- */

/* The same values in another order in memory. */
static ag_var *columns_first(ag_var *x) {
    int back[TENSOR_MAX_RANK];
    for (int axis = 0; axis < ag_rank(x); axis++) back[axis] = ag_rank(x) - 1 - axis;
    return ag_permute(ag_affine(ag_permute(x, back), 1, 0), back);
}
static ag_var *backwards(ag_var *x) {
    for (int times = 0; times < 2; times++) {
        for (int axis = 0; axis < ag_rank(x); axis++) x = ag_slice(x, axis, -1, INT64_MIN, -1);
        if (times == 0) x = ag_affine(x, 1, 0);
    }
    return x;
}
static ag_var *every_other(ag_var *x) {
    if (ag_rank(x) == 0 || ag_rank(x) == TENSOR_MAX_RANK) return x;
    ag_var *one = ag_unsqueeze(x, -1), *two = ag_concat((ag_var *[]){one, one}, 2, -1);
    int64_t shape[TENSOR_MAX_RANK];
    for (int axis = 0; axis < ag_rank(x); axis++)
        shape[axis] = ag_size(x, axis) * (axis == ag_rank(x) - 1 ? 2 : 1);
    return ag_slice(ag_reshape(two, ag_rank(x), shape), -1, 1, INT64_MAX, 2);
}
/* As it was before one of its sizes became 1. */
static ag_var *repeated(ag_var *x) {
    return x;
}
typedef ag_var *layout(ag_var *x);
static _Thread_local layout *chosen;

static ag_var *run_in_layout(ag_var **in) {
    ag_var *x[AG_MAX_OPERANDS];
    for (int k = 0; k < original->inputs; k++) {
        const ag_operand *o = &original->in[k];
        x[k] = in[k];
        if (o->ids > 0) continue;
        if (chosen == repeated)
            x[k] = ag_expand(in[k], o->rank, o->shape);
        else
            x[k] = chosen(in[k]);
    }
    return original->run(x);
}

Test(gradients, every_operation_with_operands_of_any_strides) {
    static const struct {
        layout *layout;
        const char *name;
    } layouts[] = {{columns_first, "columns first"},
                   {backwards, "backwards"},
                   {every_other, "every other element"},
                   {repeated, "repeated along an axis"}};
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++)
            for (size_t l = 0; l < sizeof layouts / sizeof layouts[0]; l++) {
                original = &(*op)->cases[i];
                chosen = layouts[l].layout;
                ag_case c = *original;
                c.run = run_in_layout;
                for (int k = 0; chosen == repeated && k < c.inputs; k++)
                    if (c.in[k].rank > 0 && c.in[k].ids == 0) c.in[k].shape[(k + i) % c.in[k].rank] = 1;
                expect_good(&c, (*op)->name, layouts[l].name);
            }
}

/* ---- The check itself ----------------------------------------------------------------------- */

/* The check itself must fail where a gradient is wrong: this operation doubles it. */
static void wrong_backward(ag_var *y, ag_var *dy) {
    ag_add_grad(y->in[0], ag_affine(dy, 2, 0));
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

/* ---- Fused operations against their decompositions -------------------------------------- */

/* Relative to the largest element, or to 1. */
static double largest_difference(ag_tape *tape, tensor a, tensor b) {
    double worst = 0, size = 1;
    tensor copy = ag_tensor(tape, TENSOR_F32, a.rank, a.shape);
    cr_assert(tensor_copy(copy, a, NULL));
    a = copy;
    copy = ag_tensor(tape, TENSOR_F32, b.rank, b.shape);
    cr_assert(tensor_copy(copy, b, NULL));
    b = copy;
    for (int64_t i = 0; i < tensor_size(a); i++) {
        const double off = fabs((double)a.f32[i] - (double)b.f32[i]);
        worst = off <= worst ? worst : off;
        size = fmax(size, fabs((double)b.f32[i]));
    }
    return worst / size;
}

/* Value and gradients of sum(y^2) for one node and for its decomposition, for the same leaves. */
static void compare(ag_var *y, int count, ag_var **leaves) {
    ag_tape *tape = y->tape;
    ag_var *reference = y->op->decompose(y), *fused[3], *simple[3];
    cr_assert(reference, "%s: %s", y->op->name, ag_error(tape));
    cr_expect_lt(largest_difference(tape, y->value, reference->value), 1e-6, "%s: values differ",
                 y->op->name);
    cr_assert(ag_gradients(ag_sum(ag_square(y), AG_ALL, false), count, leaves, fused, false));
    cr_assert(ag_gradients(ag_sum(ag_square(reference), AG_ALL, false), count, leaves, simple, false), "%s",
              ag_error(tape));
    for (int i = 0; i < count; i++)
        cr_expect_lt(largest_difference(tape, fused[i]->value, simple[i]->value), 5e-6,
                     "%s: gradients of operand %d differ", y->op->name, i);
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
    compare(ag_linear(x, w, b), 3, (ag_var *[]){x, w, b});
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(3, 5, 65)), w = normal(tape, TENSOR_SHAPE(65)),
    b = normal(tape, TENSOR_SHAPE(65));
    compare(ag_layer_norm(x, w, b, 1e-5f), 3, (ag_var *[]){x, w, b});
    compare(ag_rms_norm(x, w, 1e-5f), 2, (ag_var *[]){x, w});
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(3, 6, 65)), w = normal(tape, TENSOR_SHAPE(6)),
    b = normal(tape, TENSOR_SHAPE(6));
    compare(ag_batch_norm(x, w, b, 1e-5f, NULL), 3, (ag_var *[]){x, w, b});
    compare(ag_group_norm(x, w, b, 3, 1e-5f), 3, (ag_var *[]){x, w, b});
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(11, 51)), w = ids(tape, 11, 51);
    compare(ag_cross_entropy(x, w), 1, &x);
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(20, 6)), w = ids(tape, 33, 20);
    compare(ag_embedding(x, w), 1, &x);
    ag_reset(tape);
    x = normal(tape, TENSOR_SHAPE(100));
    compare(ag_relu(x), 1, &x);
    compare(ag_gelu(x), 1, &x);
    compare(ag_gelu_tanh(x), 1, &x);
    compare(ag_silu(x), 1, &x);
    ag_tape_free(tape);
}

/* A gradient that is recorded, for which an operation may be computed anew of others, is the one that is not. */
Test(gradients, recorded_gradients_equal_plain_ones) {
    ag_tape *tape = ag_tape_new();
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++) {
            const ag_case *c = &(*op)->cases[i];
            ag_var *in[AG_MAX_OPERANDS], *leaves[AG_MAX_OPERANDS], *plain[AG_MAX_OPERANDS],
                *recorded[AG_MAX_OPERANDS];
            int count = 0;
            ag_reset(tape);
            for (int k = 0; k < c->inputs; k++) {
                const ag_operand *o = &c->in[k];
                tensor_rng rng = {.seed = 5, .stream = (uint64_t)k};
                const bool usual = o->low == 0 && o->high == 0, leaf = !o->ids && !o->constant;
                const tensor x = ag_tensor(tape, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
                cr_assert(o->ids
                              ? tensor_rand_integers(x, &rng, 0, o->ids, NULL)
                              : tensor_rand_uniform(x, &rng, usual ? -2 : o->low, usual ? 2 : o->high, NULL));
                in[k] = leaf ? ag_variable(tape, x) : ag_input(tape, x);
                if (leaf) leaves[count++] = in[k];
            }
            ag_var *y = ag_sum(ag_square(c->run(in)), AG_ALL, false);
            cr_assert(y && ag_gradients(y, count, leaves, plain, false) &&
                          ag_gradients(y, count, leaves, recorded, true),
                      "%s (%s): %s", (*op)->name, c->name, ag_error(tape));
            for (int k = 0; k < count; k++)
                cr_expect_lt(largest_difference(tape, recorded[k]->value, plain[k]->value), 2e-5,
                             "%s (%s), operand %d", (*op)->name, c->name, k);
        }
    ag_tape_free(tape);
}

/* Lengths around the attention kernel's tile of 64, several tiles, head sizes that are no multiple of a vector, packed
 * and apart, grouped heads, masks. */
Test(gradients, attention_equals_its_reference) {
    const struct {
        int64_t batch, tq, tk, d;
        int heads, key_heads;
        bool causal;
        int mask; /* 0: none, 1: additive, 2: of zeros and ones */
    } cases[] = {
        {2, 1, 1, 4, 2, 2, true, 0},    {1, 63, 63, 5, 4, 4, true, 0},   {2, 64, 64, 16, 2, 2, true, 0},
        {1, 65, 65, 10, 1, 1, true, 0}, {1, 130, 130, 8, 3, 3, true, 0}, {1, 200, 200, 70, 2, 2, true, 0},
        {2, 3, 70, 8, 4, 2, true, 0},   {1, 70, 3, 8, 2, 1, true, 0},    {1, 66, 130, 16, 6, 2, false, 0},
        {2, 65, 70, 4, 2, 2, false, 1}, {1, 65, 70, 4, 4, 1, true, 2},   {1, 130, 130, 20, 2, 1, true, 1}};
    ag_tape *tape = ag_tape_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ag_reset(tape);
        const int64_t b = cases[i].batch, tq = cases[i].tq, tk = cases[i].tk, d = cases[i].d;
        ag_var *q = normal(tape, TENSOR_SHAPE(b, tq, cases[i].heads, d)),
               *kv = normal(tape, TENSOR_SHAPE(b, tk, 2, cases[i].key_heads, d));
        ag_var *parts = ag_permute(kv, (int[]){2, 0, 3, 1, 4});
        ag_attention_options o = {.scale = 0.3f, .causal = cases[i].causal};
        if (cases[i].mask) {
            ag_var *mask = normal(tape, TENSOR_SHAPE(cases[i].heads, 1, tk));
            mask = cases[i].mask == 1 ? mask : ag_less(ag_constant(tape, 0), mask);
            o.mask = ag_input(tape, mask->value), o.additive = cases[i].mask == 1;
        }
        ag_var *y = ag_attention(ag_transpose(q, 1, 2), ag_select(parts, 0, 0), ag_select(parts, 0, 1), o);
        cr_assert(y, "%zu: %s", i, ag_error(tape));
        compare(y, 2, (ag_var *[]){q, kv});
    }
    ag_tape_free(tape);
}
