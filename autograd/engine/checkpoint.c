/* Recomputing: a part of an expression whose intermediate results are not kept, but computed again in backward
 * (torch.utils.checkpoint; Chen et al. 2016). */
#include <string.h>

#include "autograd/ops.h"

typedef struct recomputed {
    ag_block *block;
    const void *context;
    ag_var **in; /* of the block; the node's operands are all that it used and that needs a gradient */
    tensor_rng rng;
    bool random;
    tensor_precision precision;
} recomputed;

/* What the block gives; NULL, with a text, where that is nothing, or nothing of this tape. */
static ag_var *result_of(const recomputed *r, ag_tape *tape, ag_var *const *in, tensor_rng *rng) {
    ag_var *z = r->block(r->context, in, rng);
    if (!z) return ag_fail(tape, "checkpoint: the block gave no result");
    if (z->tape && z->tape != tape) return ag_fail(tape, "checkpoint: the block's result is on another tape");
    return z;
}

/* The block with the random numbers and the precision that it began with. */
static ag_var *run_again(ag_var *y) {
    const recomputed *r = y->saved;
    ag_tape *tape = y->tape;
    tensor_rng rng = r->rng;
    const tensor_precision precision = tape->precision;
    const bool recomputing = tape->recomputing;
    tape->precision = r->precision;
    tape->recomputing = true;
    ag_var *z = result_of(r, tape, r->in, r->random ? &rng : NULL);
    tape->precision = precision;
    tape->recomputing = recomputing;
    char is[TENSOR_SHAPE_TEXT], was[TENSOR_SHAPE_TEXT];
    if (z && !tensor_same_shape(z->value, y->value))
        return ag_fail(tape, "checkpoint: the block gave %s and then %s",
                       tensor_shape_text(was, sizeof was, y->value.rank, y->value.shape),
                       tensor_shape_text(is, sizeof is, z->value.rank, z->value.shape));
    return z;
}

/* Takes the nodes behind `mark` off the tape. */
static void forget_nodes(ag_tape *tape, ag_var *mark) {
    tape->last = mark;
    if (mark)
        mark->next = NULL;
    else
        tape->first = NULL;
}

static void checkpoint_backward(ag_var *y, ag_var *dy) {
    ag_tape *tape = y->tape;
    ag_var *mark = tape->last;
    const ag_scratch outer = ag_scratch_begin(tape);
    tape->phase = AG_FORWARD;
    tape->recording = true;
    ag_var *z = run_again(y);
    tape->phase = AG_GRADIENTS;
    tape->recording = false;
    if (z) ag_propagate_block(z, dy, mark);
    forget_nodes(tape, mark);
    ag_scratch_end(tape, outer, NULL);
}

static ag_var *square_block(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)context, (void)rng;
    return ag_mul(ag_tanh(ag_matmul(in[0], in[1])), in[0]);
}
static ag_var *checkpoint_case(ag_var **in) {
    return ag_checkpoint(square_block, NULL, 0, 2, in, NULL);
}
static const ag_case checkpoint_cases[] = {
    {"two operands", checkpoint_case, 2, {{2, {5, 3}}, {2, {3, 3}}}, .fixed = 3}};
const ag_op ag_op_checkpoint = {"checkpoint", checkpoint_backward, .decompose = run_again,
                                .reads = AG_READS_OPERANDS, AG_CASES(checkpoint_cases)};

/* What the block was given, and what else its nodes, those behind `mark`, used from outside and what needs a gradient:
 * such as parameters. NULL: the tape has failed. */
static ag_var **operands_of(ag_tape *tape, const ag_var *mark, int given, ag_var *const *in, int *count) {
    size_t most = (size_t)given;
    for (ag_var *n = mark ? mark->next : tape->first; n; n = n->next) {
        n->inside = true;
        most += (size_t)n->inputs;
    }
    ag_var **list = tensor_arena_alloc(tape->arena, (most + 1) * sizeof *list, &tape->error);
    if (!list) return NULL;
    for (*count = 0; *count < given; ++*count) list[*count] = in[*count];
    for (const ag_var *n = mark ? mark->next : tape->first; n; n = n->next)
        for (int i = 0; i < n->inputs; i++) {
            ag_var *x = n->in[i];
            int at = 0;
            if (!x->needs_grad || x->inside) continue;
            while (at < *count && list[at] != x) at++;
            if (at == *count) list[(*count)++] = x;
        }
    return list;
}

/* The node that stands for the block, whose result is z. */
static ag_var *node_of(ag_var *z, recomputed r, size_t bytes, int inputs, int count, ag_var **operands) {
    ag_var *y = ag_begin(&ag_op_checkpoint, count, operands);
    recomputed *saved = ag_save(y, sizeof r);
    ag_var **in = ag_save(y, (size_t)inputs * sizeof *in + 1);
    void *context = bytes ? ag_save(y, bytes) : NULL;
    if (!saved || !in || (bytes && !context)) return NULL;
    for (int i = 0; i < inputs; i++) in[i] = r.in[i];
    if (bytes) r.context = memcpy(context, r.context, bytes);
    *saved = r;
    saved->in = in;
    y->saved = saved; /* not what was saved last */
    ag_out_view(y, z, z->value);
    return ag_end(y);
}

ag_var *ag_checkpoint(ag_block *block, const void *context, size_t bytes, int count, ag_var *const *in,
                      tensor_rng *rng) {
    ag_tape *tape = NULL;
    for (int i = 0; i < count && !tape; i++) tape = ag_tape_of(in[i]);
    for (int i = 0; i < count; i++)
        if (!in[i]) return ag_fail(tape, "checkpoint: operand %d is NULL", i);
    if (!tape || ag_failed(tape)) return NULL;
    const recomputed r = {.block = block,
                          .context = context,
                          .in = (ag_var **)in,
                          .rng = rng ? *rng : (tensor_rng){0},
                          .random = rng != NULL,
                          .precision = tape->precision};
    if (tape->phase == AG_RECORDED_GRADIENTS)
        return result_of(&r, tape, in, rng); /* all is kept for its gradient */
    ag_var *mark = tape->last;
    const ag_scratch outer = ag_scratch_begin(tape);
    ag_var *z = result_of(&r, tape, in, rng);
    int used = 0;
    ag_var **operands = z ? operands_of(tape, mark, count, in, &used) : NULL;
    if (z) forget_nodes(tape, mark);
    ag_scratch_end(tape, outer, z ? z->buffer : NULL);
    return operands && z->inside ? node_of(z, r, bytes, count, used, operands) : z;
}
