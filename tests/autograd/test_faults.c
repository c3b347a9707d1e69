/* Every operation, and its gradients of both orders, where memory is out at any moment: no result and a text, and
 * afterwards the same call has the same result. */
#include <criterion/criterion.h>

#include "sampo/autograd.h"
#include "tests/starve.h"

typedef enum pass { FORWARD, BACKWARD, RECORDED, PASSES } pass;

typedef struct attempt {
    ag_tape *tape; /* NULL: each has one of its own */
    const ag_case *c;
    pass pass;
    double sum; /* of the result and of the gradients */
} attempt;

static ag_var *leaf(const attempt *t, int k) {
    const ag_operand *o = &t->c->in[k];
    tensor_rng rng = {.seed = 5, .stream = (uint64_t)k};
    const bool usual = o->low == 0 && o->high == 0;
    const tensor x = ag_tensor(t->tape, o->ids ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape);
    if (!tensor_ok(x)) return NULL;
    if (o->ids)
        tensor_rand_integers(x, &rng, 0, o->ids, NULL);
    else
        tensor_rand_uniform(x, &rng, usual ? -2 : o->low, usual ? 2 : o->high, NULL);
    return o->ids || o->constant ? ag_input(t->tape, x) : ag_variable(t->tape, x);
}

static ag_var *square_sum(ag_var *y) {
    return ag_sum(ag_square(y), AG_ALL, false);
}

/* The sum of the squares of y and of its gradients, as a variable: gradients of gradients go through it. */
static ag_var *sum_of_gradients(ag_var *y, int count, ag_var **leaves) {
    ag_var *dx[AG_MAX_OPERANDS], *sum = y;
    if (!ag_gradients(y, count, leaves, dx, true)) return NULL;
    for (int i = 0; i < count; i++) sum = ag_add(sum, square_sum(dx[i]));
    return sum;
}

static bool passes(attempt *t) {
    ag_var *in[AG_MAX_OPERANDS], *leaves[AG_MAX_OPERANDS];
    int count = 0;
    for (int k = 0; k < t->c->inputs; k++) {
        in[k] = leaf(t, k);
        if (!in[k]) return false;
        if (ag_needs_grad(in[k])) leaves[count++] = in[k];
    }
    ag_var *y = square_sum(t->c->run(in));
    if (y && t->pass == RECORDED) y = sum_of_gradients(y, count, leaves);
    if (!y || (t->pass != FORWARD && ag_needs_grad(y) && !ag_backward(y))) return false;
    t->sum = (double)ag_item(y);
    for (int k = 0; k < count && t->pass != FORWARD; k++) {
        const tensor dx = ag_grad(leaves[k]);
        for (int64_t i = 0; tensor_ok(dx) && i < tensor_size(dx); i++)
            t->sum += (double)dx.f32[i] * (double)(i + 1);
    }
    return true;
}

static bool attempted(void *context, tensor_error *err) {
    attempt *shared = context, t = *shared;
    if (t.tape)
        ag_reset(t.tape);
    else if (!(t.tape = ag_tape_new()))
        return tensor_fail(err, "no memory for a tape");
    ag_set_recording(t.tape, t.pass != FORWARD);
    t.sum = 0;
    const bool ok = passes(&t);
    if (ok != ag_ok(t.tape))
        tensor_fail(err, "the result and the text do not agree: '%s'", ag_error(t.tape));
    else if (!ok)
        tensor_fail(err, "%s", ag_error(t.tape));
    shared->sum = t.sum;
    if (!shared->tape) ag_tape_free(t.tape);
    return ok && !err->text[0];
}

static void starve_each(fault_kind kind, ag_tape *tape) {
    on_one_instruction_set();
    int64_t failures = 0;
    attempt t = {.tape = tape};
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++)
            for (t.pass = FORWARD; t.pass < PASSES; t.pass++) {
                tensor_error err = {0};
                t.c = &(*op)->cases[i];
                if (!attempted(&t, &err)) cr_assert_fail("%s: %s", (*op)->name, err.text);
                const double sum = t.sum;
                failures += starve((*op)->name, kind, attempted, &t);
                if (t.sum != sum) cr_expect_fail("%s, %s: %g is not %g", (*op)->name, t.c->name, t.sum, sum);
            }
    cr_expect_gt(failures, 500, "only %lld failures", (long long)failures);
}

Test(faults, every_operation_without_room_on_the_tape) {
    ag_tape *tape = ag_tape_new();
    starve_each(FAULT_ARENA, tape);
    ag_tape_free(tape);
}

Test(faults, every_operation_without_memory) {
    starve_each(FAULT_MEMORY, NULL);
}
