/* Every case of every operation with one operand that does not fit: it gives a result, or NULL and a text on the tape. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

enum {
    NOTHING,
    OTHER_TYPE,
    OTHER_RANK,
    EMPTY,
    LONGER,
    CHANGES
}; /* the last axis in LONGER, the first in EMPTY */

static tensor operand(ag_tape *tape, const ag_operand *o, int change) {
    int64_t shape[TENSOR_MAX_RANK] = {5};
    int rank = change == OTHER_RANK;
    for (int i = 0; i < o->rank; i++) shape[rank++] = o->shape[i];
    if (change == EMPTY) shape[0] = 0;
    if (change == LONGER && rank > 0) shape[rank - 1]++;
    const bool ids = (o->ids > 0) != (change == OTHER_TYPE);
    const tensor x = ag_tensor(tape, ids ? TENSOR_I32 : TENSOR_F32, rank, shape);
    cr_assert(tensor_fill(x, 0, NULL));
    return x;
}

/* Whether the case has a result where operand `which` is changed. */
static bool runs(ag_tape *tape, const ag_case *c, const char *name, int which, int change) {
    ag_var *in[AG_MAX_OPERANDS];
    ag_reset(tape);
    for (int i = 0; i < c->inputs; i++) {
        const tensor x = operand(tape, &c->in[i], i == which ? change : CHANGES);
        in[i] = i == which && change == NOTHING ? NULL
                : x.dtype == TENSOR_F32         ? ag_variable(tape, x)
                                                : ag_input(tape, x);
    }
    const bool ok = c->run(in) != NULL;
    const bool alone = change == NOTHING && c->inputs == 1; /* then there is no tape that could have a text */
    if (ok != ag_ok(tape) && !alone)
        cr_expect_fail("%s, %s: operand %d, change %d: '%s'", name, c->name, which, change, ag_error(tape));
    return ok;
}

/* Whether its cases give a list of as many numbers as there are axes. */
static bool has_list(const ag_op *op) {
    return strcmp(op->name, "permute") == 0 || strcmp(op->name, "pad") == 0;
}

Test(refusals, every_operation) {
    ag_tape *tape = ag_tape_new();
    int refused = 0;
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++)
            for (int which = 0; which < (*op)->cases[i].inputs; which++)
                for (int change = 0; change < CHANGES; change++) {
                    if (change == OTHER_RANK && has_list(*op)) continue;
                    refused += !runs(tape, &(*op)->cases[i], (*op)->name, which, change);
                }
    cr_expect_gt(refused, 100, "%d", refused);
    ag_tape_free(tape);
}

/* What has failed stays: no operation has a result, and the text is the first one. */
Test(refusals, every_operation_after_a_failure) {
    ag_tape *tape = ag_tape_new();
    for (const ag_op *const *op = ag_ops; *op; op++)
        for (int i = 0; i < (*op)->case_count; i++) {
            const ag_case *c = &(*op)->cases[i];
            ag_var *in[AG_MAX_OPERANDS];
            ag_reset(tape);
            for (int k = 0; k < c->inputs; k++) in[k] = ag_input(tape, operand(tape, &c->in[k], CHANGES));
            ag_fail(tape, "before");
            if (c->run(in) || strcmp(ag_error(tape), "before") != 0)
                cr_expect_fail("%s, %s: '%s'", (*op)->name, c->name, ag_error(tape));
        }
    ag_tape_free(tape);
}
