/* The engine: one loop over the nodes from the last to the first. */
#include "autograd/autograd_internal.h"

/* ---- The memory of gradients --------------------------------------------------------------- */

static void hold(ag_var *g) {
    if (g->buffer) g->buffer->users++;
}

static void release(ag_var *g) {
    ag_buffer *buffer = g->buffer;
    if (!buffer || --buffer->users > 0 || !buffer->recyclable) return;
    buffer->next = g->tape->unused;
    g->tape->unused = buffer;
}

/* g's memory holds this gradient alone, and each element once: it may be added to in place. */
static bool exclusive(const ag_var *g) {
    return g->buffer && g->buffer->recyclable && g->buffer->users == 1 && tensor_is_contiguous(g->value);
}

static bool has_lane(const ag_tape *tape, const ag_var *p) {
    return tensor_ok(tape->lane) && p->sink.storage == tape->grads.storage;
}

/* Where a parameter's gradients go on this tape. */
static tensor parameter_sink(const ag_tape *tape, const ag_var *p) {
    tensor sink = p->sink;
    if (has_lane(tape, p)) {
        sink.f32 = tape->lane.f32 + (p->sink.f32 - tape->grads.f32);
        sink.storage = tape->lane.storage;
    }
    return sink;
}

/* The same for a view of a parameter; no tensor for other variables, and where there is a gradient already. */
static tensor sink_of(const ag_tape *tape, const ag_var *x) {
    if (!x->tape) return parameter_sink(tape, x);
    if (x->grad || !x->op || !x->op->view) return (tensor){0};
    const tensor sink = sink_of(tape, x->in[0]);
    return tensor_ok(sink) ? x->op->view(x, sink) : sink;
}

/* Before a gradient of x, a parameter or a view of one, goes to its sink: whether it is the first in a lane, and so to be
 * written. Only all of a parameter can be; for a part, and where the caller adds, the parameter's place is cleared. */
static bool first_in_lane(ag_tape *tape, ag_var *x, bool adds) {
    const ag_var *p = x;
    while (p->tape) p = p->in[0];
    if (!has_lane(tape, p) || tensor_size(p->value) == 0 || ag_lane_has(tape, p)) return false;
    ag_lane_part *part = tensor_arena_alloc(tape->arena, sizeof *part, &tape->error);
    if (!part) return false;
    *part = (ag_lane_part){p->sink.f32, tape->written};
    tape->written = part;
    if (p == x && !adds) return true;
    tensor_fill(parameter_sink(tape, p), 0, &tape->error);
    return false;
}

static ag_var *new_gradient(ag_tape *tape, tensor like) {
    ag_var *g = ag_new_var(tape, 0);
    return g && ag_allocate(g, TENSOR_F32, like.rank, like.shape) ? g : NULL;
}

static void set_gradient(ag_var *x, ag_var *g) {
    hold(g);
    if (x->grad) release(x->grad);
    x->grad = g;
}

bool ag_wants(const ag_var *x) {
    return x && x->needs_grad;
}

tensor ag_grad_target(ag_var *y, ag_var *x, bool *fresh) {
    ag_tape *tape = y->tape;
    if (fresh) *fresh = false;
    if (!ag_wants(x) || ag_failed(tape)) return (tensor){0};
    if (tape->phase == AG_GRAPH) {
        ag_fail(tape, "%s: without a composed form it cannot be differentiated twice", y->op->name);
        return (tensor){0};
    }
    const tensor sink = sink_of(tape, x);
    if (tensor_ok(sink)) {
        const bool first = first_in_lane(tape, x, !fresh);
        if (fresh) *fresh = first;
        return ag_failed(tape) ? (tensor){0} : sink;
    }
    if (x->grad && exclusive(x->grad)) return x->grad->value;
    ag_var *g = new_gradient(tape, x->value);
    if (!g) return (tensor){0};
    if (x->grad)
        tensor_copy(g->value, x->grad->value, &tape->error);
    else if (fresh)
        *fresh = true;
    else
        tensor_fill(g->value, 0, &tape->error);
    set_gradient(x, g);
    return g->value;
}

/* ---- Giving ------------------------------------------------------------------------------- */

/* The axes of g along which a variable of x's shape was broadcast: missing in x, or of size 1 there. */
static unsigned broadcast_axes(tensor g, tensor x) {
    unsigned axes = 0;
    const int missing = g.rank - x.rank;
    for (int axis = 0; axis < g.rank; axis++)
        if (axis < missing || (x.shape[axis - missing] == 1 && g.shape[axis] != 1)) axes |= AG_AXIS(axis);
    return axes;
}

static void give_graph(ag_var *x, ag_var *g) {
    if (!tensor_same_shape(g->value, x->value))
        g = ag_reshape(ag_sum(g, broadcast_axes(g->value, x->value), true), x->value.rank, x->value.shape);
    if (g) x->grad = x->grad ? ag_add(x->grad, g) : g;
}

static void give_sum(ag_var *x, ag_var *g) {
    bool fresh;
    tensor target = ag_grad_target(g, x, &fresh);
    const unsigned axes = broadcast_axes(g->value, x->value);
    int64_t shape[TENSOR_MAX_RANK]; /* x's, with the missing axes in front */
    for (int axis = 0; axis < g->value.rank; axis++)
        shape[axis] = axes & AG_AXIS(axis) ? 1 : g->value.shape[axis];
    target = tensor_reshape(target, g->value.rank, shape, ag_err(g));
    tensor_reduce(target, TENSOR_SUM, g->value, axes, !fresh, ag_err(g));
}

void ag_give(ag_var *x, ag_var *g) {
    if (!g || !ag_wants(x) || ag_failed(g->tape)) return;
    if (g->tape->phase == AG_GRAPH) {
        give_graph(x, g);
    } else if (!tensor_same_shape(g->value, x->value)) {
        give_sum(x, g);
    } else if (x->tape && !x->grad) {
        set_gradient(x, g);
    } else if (x->tape && !exclusive(x->grad)) {
        ag_var *sum = new_gradient(g->tape, x->value);
        if (!sum) return;
        tensor_binary(sum->value, TENSOR_ADD, x->grad->value, g->value, ag_err(g));
        set_gradient(x, sum);
    } else {
        const tensor target = ag_grad_target(g, x, NULL);
        tensor_binary(target, TENSOR_ADD, target, g->value, ag_err(g));
    }
}

/* ---- The loop ----------------------------------------------------------------------------- */

/* What backward reads must be as it was when the node was computed. */
static bool unchanged(const ag_var *n) {
    for (int i = 0; i < n->inputs; i++) {
        const ag_var *x = n->in[i];
        if ((n->op->reads & AG_READS(i)) && x->value.storage->version != n->in_version[i]) {
            ag_fail(n->tape,
                    "%s: operand %d%s%s%s was changed in place after its use; backward needs its value",
                    n->op->name, i, x->name ? " (" : "", x->name ? x->name : "", x->name ? ")" : "");
            return false;
        }
    }
    if ((n->op->reads & AG_READS_OUTPUT) && n->value.storage->version != n->version) {
        ag_fail(n->tape, "%s: its result was changed in place; backward needs its value", n->op->name);
        return false;
    }
    return true;
}

/* Propagates the gradients of the nodes from `from` back to, and without, `until`. */
static void propagate(ag_tape *tape, ag_var *from, ag_var *until) {
    for (ag_var *n = from; n != until && !ag_failed(tape); n = n->previous) {
        if (!n->grad || !unchanged(n)) continue;
        ag_var *dy = n->grad;
        if (tape->phase == AG_GRAPH && n->op->composed) {
            ag_var *mark = tape->last, *same = n->op->composed(n);
            n->grad = NULL;
            ag_give(same, dy);
            propagate(tape, tape->last, mark);
        } else {
            ag_tell(tape, n->op, AG_BACKWARD_BEGINS);
            n->op->backward(n, dy);
            ag_tell(tape, n->op, AG_BACKWARD_ENDS);
            n->grad = NULL;
            if (tape->phase == AG_NUMBERS) release(dy);
        }
    }
}

static bool backward(ag_var *y, ag_phase phase) {
    if (!y || !y->tape || ag_failed(y->tape)) return false;
    ag_tape *tape = y->tape;
    if (tensor_size(y->value) != 1 || y->value.dtype != TENSOR_F32) {
        char text[TENSOR_SHAPE_TEXT];
        ag_fail(tape, "backward: begins at a float32 scalar, not at %s",
                tensor_shape_text(text, sizeof text, y->value.rank, y->value.shape));
        return false;
    }
    if (!y->needs_grad) {
        ag_fail(tape, "backward: the result depends on nothing that needs a gradient");
        return false;
    }
    const bool recording = tape->recording;
    tape->phase = phase;
    tape->recording = phase == AG_GRAPH;
    ag_var *one = new_gradient(tape, y->value);
    if (one) {
        tensor_fill(one->value, 1, &tape->error);
        ag_give(y, one);
        if (y->op) propagate(tape, y, NULL);
    }
    tape->phase = AG_FORWARD;
    tape->recording = recording;
    return !ag_failed(tape);
}

bool ag_backward(ag_var *y) {
    return backward(y, AG_NUMBERS);
}

bool ag_backward_graph(ag_var *y) {
    return backward(y, AG_GRAPH);
}
