/* The engine: gradients pass through the nodes in one loop, from the last to the first. */
#include <string.h>

#include "autograd/autograd_internal.h"

enum { MOST_VIEWS = 32 }; /* of each other whose gradient lies in one memory: the depth of the recursion */

/* ---- Where a gradient lies ------------------------------------------------------------------ */

bool ag_needs_grad(const ag_var *x) {
    return x && x->needs_grad && (!x->tape->call || x->reached == x->tape->call);
}

/* The gradient of x so far may be added to in place: no other variable has it, and each element lies there once. */
static bool is_own(const ag_var *x) {
    const ag_var *g = x->grad;
    if (g->owner) return g->owner == x;
    return g->buffer && g->buffer->recyclable && g->buffer->users == 1 && tensor_is_contiguous(g->value);
}

static void set_gradient(ag_var *x, ag_var *g) {
    ag_hold(g);
    if (x->grad) ag_release(x->grad);
    x->grad = g;
}

static ag_var *new_gradient(ag_tape *tape, const ag_var *x) {
    ag_var *g = ag_new_var(tape, 0);
    return g && ag_allocate(g, TENSOR_F32, x->value.rank, x->value.shape) ? g : NULL;
}

/* A gradient that lies in the place that was chosen for it. */
static ag_var *placed_gradient(ag_tape *tape, const ag_var *x) {
    ag_var *g = ag_new_var(tape, 0);
    if (!g) return NULL;
    g->value = *x->place;
    g->owner = x;
    return g;
}

/* How the memory of x's gradient is or will be laid out; no tensor where x is a view whose gradient cannot be one of its
 * operand's. Only the shape and the strides count. */
static tensor layout(const ag_var *x) {
    if (x->grad) return x->grad->value;
    if (x->place) return *x->place;
    if (!x->keeps_grad && !x->hooks && x->op && x->op->view && x->views <= MOST_VIEWS) {
        const tensor of = layout(x->in[0]);
        const tensor view = tensor_ok(of) ? x->op->view(x, of) : of;
        if (tensor_ok(view)) return view;
    }
    tensor row_major = x->value;
    int64_t step = 1;
    for (int axis = x->value.rank - 1; axis >= 0; axis--) {
        row_major.stride[axis] = step;
        step *= x->value.shape[axis];
    }
    return row_major;
}

/* Whether the gradient of x is added to its operand's in place. */
static bool lies_in_operand(const ag_var *x) {
    return !x->grad && !x->place && !x->keeps_grad && !x->hooks && x->op && x->op->view &&
           x->views <= MOST_VIEWS && ag_needs_grad(x->in[0]) && tensor_ok(x->op->view(x, layout(x->in[0])));
}

static bool is_whole(const ag_var *view) {
    return tensor_size(view->value) == tensor_size(view->in[0]->value);
}

/* Memory that belongs to x's gradient alone. *fresh: nothing is in it yet. */
static tensor own_memory(ag_tape *tape, ag_var *x, bool *fresh) {
    *fresh = false;
    if (x->grad && is_own(x)) return x->grad->value;
    ag_var *g = !x->grad && x->place ? placed_gradient(tape, x) : new_gradient(tape, x);
    if (!g) return (tensor){0};
    if (x->grad)
        tensor_copy(g->value, x->grad->value, &tape->error);
    else
        *fresh = !(x->place && tape->accumulates);
    set_gradient(x, g);
    return g->value;
}

tensor ag_grad_buffer(ag_var *y, ag_var *x, bool *fresh) {
    ag_tape *tape = y->tape;
    if (fresh) *fresh = false;
    if (!ag_needs_grad(x) || ag_failed(tape)) return (tensor){0};
    if (tape->phase == AG_RECORDED_GRADIENTS) {
        ag_fail(tape, "%s: without a decomposition it cannot be differentiated twice", y->op->name);
        return (tensor){0};
    }
    if (lies_in_operand(x)) /* what a part leaves out becomes 0, so that only the whole can be overwritten */
        return x->op->view(x, ag_grad_buffer(y, x->in[0], is_whole(x) ? fresh : NULL));
    bool empty;
    const tensor memory = own_memory(tape, x, &empty);
    if (fresh)
        *fresh = empty;
    else if (empty)
        tensor_fill(memory, 0, &tape->error);
    return memory;
}

/* What x is a view of. */
static const ag_var *root(const ag_var *x) {
    while (x->op && x->op->view) x = x->in[0];
    return x;
}

tensor ag_grad_apart(ag_var *y, int operand, ag_var **apart) {
    ag_var *x = y->in[operand];
    bool alone = true;
    for (int i = 0; i < operand; i++) alone = alone && root(y->in[i]) != root(x);
    if (alone) return ag_grad_buffer(y, x, NULL);
    if (!ag_needs_grad(x) || ag_failed(y->tape)) return (tensor){0};
    *apart = new_gradient(y->tape, x);
    if (!*apart) return (tensor){0};
    tensor_fill((*apart)->value, 0, ag_err(y));
    return (*apart)->value;
}

/* ---- Adding --------------------------------------------------------------------------------- */

/* The axes of g along which a variable of x's shape was broadcast: missing in x, or of size 1 there. */
static unsigned broadcast_axes(tensor g, tensor x) {
    unsigned axes = 0;
    const int missing = g.rank - x.rank;
    for (int axis = 0; axis < g.rank; axis++)
        if (axis < missing || (x.shape[axis - missing] == 1 && g.shape[axis] != 1)) axes |= AG_AXIS(axis);
    return axes;
}

static void add_recorded(ag_var *x, ag_var *g) {
    if (!tensor_same_shape(g->value, x->value))
        g = ag_reshape(ag_sum(g, broadcast_axes(g->value, x->value), true), x->value.rank, x->value.shape);
    if (g) x->grad = x->grad ? ag_add(x->grad, g) : g;
}

static void add_summed(ag_var *x, ag_var *g) {
    bool fresh;
    tensor memory = ag_grad_buffer(g, x, &fresh);
    const unsigned axes = broadcast_axes(g->value, x->value);
    int64_t shape[TENSOR_MAX_RANK]; /* x's, with the missing axes in front */
    for (int axis = 0; axis < g->value.rank; axis++)
        shape[axis] = axes & AG_AXIS(axis) ? 1 : g->value.shape[axis];
    memory = tensor_reshape(memory, g->value.rank, shape, ag_err(g));
    tensor_reduce(memory, TENSOR_SUM, g->value, axes, !fresh, ag_err(g));
}

/* Whether g, x's first gradient, may be it without a copy. A leaf's is the user's: contiguous, and no other's. */
static bool may_be_taken(const ag_var *x, const ag_var *g) {
    if (x->grad || x->place) return false;
    if (!x->op || x->keeps_grad)
        return g->buffer && g->buffer->temporary && g->buffer->users == 0 && tensor_is_contiguous(g->value);
    return !lies_in_operand(x) || is_whole(x);
}

void ag_add_grad(ag_var *x, ag_var *g) {
    if (!g || !ag_needs_grad(x) || ag_failed(g->tape)) return;
    if (g->tape->phase == AG_RECORDED_GRADIENTS) {
        add_recorded(x, g);
    } else if (!tensor_same_shape(g->value, x->value)) {
        add_summed(x, g);
    } else if (may_be_taken(x, g)) {
        set_gradient(x, g);
    } else if (x->grad && !is_own(x)) {
        ag_var *sum = new_gradient(g->tape, x);
        if (!sum) return;
        tensor_binary(sum->value, TENSOR_ADD, x->grad->value, g->value, ag_err(g));
        set_gradient(x, sum);
    } else {
        bool fresh;
        const tensor memory = ag_grad_buffer(g, x, &fresh);
        if (fresh)
            tensor_copy(memory, g->value, ag_err(g));
        else
            tensor_binary(memory, TENSOR_ADD, memory, g->value, ag_err(g));
    }
}

ag_var *ag_reuse(ag_var *x) {
    if (x && x->buffer && x->buffer->temporary && x->buffer->users == 0 && tensor_is_contiguous(x->value))
        x->overwritable = true;
    return x;
}

/* ---- Hooks ---------------------------------------------------------------------------------- */

struct ag_hooked {
    ag_var *x;
    ag_hook *hook;
    void *context;
    ag_hooked *next; /* of the same variable */
};

bool ag_add_hook(ag_var *x, ag_hook *hook, void *context) {
    ag_tape *tape = ag_tape_of(x);
    if (!tape || ag_failed(tape)) return false;
    if (!x->needs_grad) return ag_fail(tape, "hook: the variable needs no gradient");
    ag_hooked *h = tensor_arena_alloc(tape->arena, sizeof *h, &tape->error), **end = &x->hooks;
    if (!h) return false;
    *h = (ag_hooked){.x = x, .hook = hook, .context = context};
    tape->hooked_leaves |= !x->op;
    while (*end) end = &(*end)->next;
    *end = h;
    return true;
}

/* The gradient becomes what a hook has made of it, in memory of its own. */
static void replace_gradient(ag_var *x, ag_var *dx) {
    ag_tape *tape = x->tape;
    if (tape->phase == AG_RECORDED_GRADIENTS) {
        x->grad = dx;
    } else if (x->grad->owner == x) {
        tensor_copy(x->grad->value, dx->value, &tape->error);
    } else {
        ag_var *own = new_gradient(tape, x);
        if (own && tensor_copy(own->value, dx->value, &tape->error)) set_gradient(x, own);
    }
}

static void run_hooks(ag_var *x) {
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    for (const ag_hooked *h = x->hooks; h && !ag_failed(x->tape); h = h->next) {
        ag_var *dx = h->hook(h->context, x, x->grad);
        if (!dx)
            ag_fail(x->tape, "hook: it returned no gradient");
        else if (!tensor_same_shape(dx->value, x->value))
            ag_fail(x->tape, "hook: the gradient it returned is %s, expected %s",
                    tensor_shape_text(is, sizeof is, dx->value.rank, dx->value.shape),
                    tensor_shape_text(expected, sizeof expected, x->value.rank, x->value.shape));
        else if (dx != x->grad)
            replace_gradient(x, dx);
    }
}

/* ---- The loop ------------------------------------------------------------------------------- */

/* What backward reads must be as it was when the node was computed. */
static bool unchanged(const ag_var *n) {
    for (int i = 0; i < n->inputs; i++) {
        const ag_var *x = n->in[i];
        if ((n->op->reads == AG_READS_OPERANDS || (n->op->reads & AG_READS(i & 31))) &&
            x->value.storage->version != n->in_version[i]) {
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

static bool asks_for_any(const ag_var *n) {
    for (int i = 0; i < n->inputs; i++)
        if (ag_needs_grad(n->in[i])) return true;
    return false;
}

/* The node's backward; a fault in it is named after the operation. */
static void run_backward(ag_var *n, ag_var *dy) {
    tensor_error *err = ag_err(n), fault;
    ag_tell(n->tape, n->op, n, AG_BACKWARD_BEGINS);
    n->op->backward(n, dy);
    ag_tell(n->tape, n->op, n, AG_BACKWARD_ENDS);
    if (!ag_failed(n->tape) || strncmp(err->text, n->op->name, strlen(n->op->name)) == 0) return;
    fault = *err;
    *err = (tensor_error){{0}};
    tensor_fail(err, "backward of %s: %s", n->op->name, fault.text);
}

/* Notes for each leaf with a hook the oldest node that it is an operand of: behind that one nothing is added any more. */
static void note_first_uses(ag_var *y) {
    for (ag_var *n = y->tape->hooked_leaves ? y : NULL; n; n = n->previous)
        for (int i = 0; i < n->inputs; i++)
            if (!n->in[i]->op && n->in[i]->hooks) n->in[i]->next = n;
}

static void run_leaf_hooks(const ag_var *n) {
    for (int i = 0; i < n->inputs; i++) {
        ag_var *x = n->in[i];
        if (x->op || !x->hooks || x->next != n) continue;
        x->next = NULL;
        if (x->grad && ag_needs_grad(x)) run_hooks(x);
    }
}

/* Passes the gradient of a node on to its operands. */
static void pass_on(ag_tape *tape, ag_var *n) {
    if (n->hooks) run_hooks(n);
    ag_var *dy = n->grad;
    if (asks_for_any(n) && unchanged(n)) {
        if (tape->phase == AG_RECORDED_GRADIENTS && n->op->decompose) {
            ag_var *mark = tape->last, *same = n->op->decompose(n);
            if (same) ag_propagate_block(same, dy, mark);
        } else {
            run_backward(n, dy);
        }
    }
    if (n->keeps_grad) return;
    n->grad = NULL;
    if (tape->phase == AG_GRADIENTS) ag_release(dy);
}

/* Passes the gradients of the nodes from `from` back to, and without, `until` on to their operands. */
static void propagate(ag_tape *tape, ag_var *from, ag_var *until) {
    for (ag_var *n = from; n != until && !ag_failed(tape); n = n->previous) {
        if (n->grad) pass_on(tape, n);
        if (tape->hooked_leaves) run_leaf_hooks(n);
        ag_end_temporaries(tape);
    }
}

void ag_propagate_block(ag_var *z, ag_var *dz, ag_var *until) {
    ag_add_grad(z, dz);
    propagate(z->tape, z->tape->last, until);
}

static bool may_begin(const ag_var *y) {
    if (!y || !y->tape || ag_failed(y->tape)) return false;
    char text[TENSOR_SHAPE_TEXT];
    if (y->tape->differentiating)
        ag_fail(y->tape, "backward: a hook or a block began it while gradients of its tape are computed");
    else if (tensor_size(y->value) != 1 || y->value.dtype != TENSOR_F32)
        ag_fail(y->tape, "backward: begins at a float32 scalar, not at %s",
                tensor_shape_text(text, sizeof text, y->value.rank, y->value.shape));
    else if (!y->needs_grad)
        ag_fail(y->tape,
                "backward: the result depends on nothing that needs a gradient, or was not recorded");
    return !ag_failed(y->tape);
}

/* From a gradient of 1 for y back to all that is asked for. */
static void run(ag_var *y, ag_phase phase) {
    ag_tape *tape = y->tape;
    const bool recording = tape->recording;
    tape->phase = phase;
    tape->differentiating = true;
    tape->recording = phase == AG_RECORDED_GRADIENTS;
    ag_var *one = new_gradient(tape, y);
    if (one) {
        tensor_fill(one->value, 1, &tape->error);
        ag_add_grad(y, one);
        if (y->op)
            note_first_uses(y), propagate(tape, y, NULL);
        else if (y->hooks)
            run_hooks(y);
        ag_end_temporaries(tape);
    }
    tape->phase = AG_FORWARD;
    tape->differentiating = false;
    tape->recording = recording;
}

bool ag_backward(ag_var *y) {
    if (!may_begin(y)) return false;
    run(y, AG_GRADIENTS);
    return ag_ok(y->tape);
}

/* ---- Gradients of chosen variables ----------------------------------------------------------- */

/* One call: the chosen variables on the tape, and what gradients they had before. */
typedef struct choice {
    ag_tape *tape;
    int count;
    ag_var **x;      /* NULL: a parameter that is not used on this tape, or frozen */
    ag_var **before; /* their gradients */
    ag_var **found;  /* and those that the call gave them */
} choice;

static bool choose_one(choice *c, int i, ag_var *x, const tensor *place) {
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    if (!x) return ag_fail(c->tape, "gradients: variable %d is NULL", i);
    if (x->tape && x->tape != c->tape)
        return ag_fail(c->tape, "gradients: variable %d is on another tape", i);
    c->x[i] = x->tape ? x : ag_used_leaf(c->tape, x);
    if (!x->tape && !x->needs_grad)
        c->x[i] = NULL; /* it is frozen: zeros */
    else if (!x->needs_grad)
        return ag_fail(c->tape, "gradients: variable %d needs no gradient; ag_variable makes one that does",
                       i);
    if (place &&
        (!tensor_ok(*place) || !tensor_same_shape(*place, x->value) || !tensor_is_contiguous(*place)))
        return ag_fail(c->tape, "gradients: place %d is %s, expected %s without gaps", i,
                       tensor_shape_text(is, sizeof is, place->rank, place->shape),
                       tensor_shape_text(expected, sizeof expected, x->value.rank, x->value.shape));
    return true;
}

static bool choose(choice *c, ag_var *y, int count, ag_var *const *x, const tensor *places) {
    if (!may_begin(y)) return false;
    ag_tape *tape = y->tape;
    if (count > 0 && !x) return ag_fail(tape, "gradients: there is no list of variables");
    count = count > 0 ? count : 0;
    const size_t bytes = (size_t)count * sizeof(ag_var *);
    ag_var **room = tensor_arena_alloc(tape->arena, 3 * bytes, &tape->error);
    if (!room) return false;
    *c = (choice){tape, count, room, room + count, room + 2 * count};
    for (int i = 0; i < count; i++)
        if (!choose_one(c, i, x[i], places ? &places[i] : NULL)) return false;
    return true;
}

/* What y is computed through, on the way from the chosen variables. */
static void reach(const choice *c, const ag_var *y) {
    ag_tape *tape = c->tape;
    tape->call = ++tape->calls;
    for (int i = 0; i < c->count; i++)
        if (c->x[i]) c->x[i]->reached = tape->call;
    for (ag_var *n = tape->first; n; n = n == y ? NULL : n->next)
        for (int i = 0; i < n->inputs; i++)
            if (n->in[i]->reached == tape->call) n->reached = tape->call;
}

static void run_choice(choice *c, ag_var *y, const tensor *places, bool accumulate, bool create_graph) {
    ag_tape *tape = c->tape;
    for (int i = 0; i < c->count; i++) {
        if (!c->x[i]) continue;
        if (places && c->x[i]->place) ag_fail(tape, "gradients: variable %d has a place already", i);
        c->before[i] = c->x[i]->grad;
        c->x[i]->grad = NULL;
        c->x[i]->keeps_grad = true;
        c->x[i]->place = places ? &places[i] : NULL;
    }
    reach(c, y);
    tape->accumulates = accumulate;
    if (y->reached == tape->call && ag_ok(tape)) run(y, create_graph ? AG_RECORDED_GRADIENTS : AG_GRADIENTS);
    tape->call = 0;
}

/* Notes the gradients of the chosen variables, NULL where there is none, and puts back what these had before. */
static void end_choice(choice *c) {
    for (int i = 0; i < c->count; i++) c->found[i] = c->x[i] ? c->x[i]->grad : NULL;
    for (int i = c->count - 1; i >= 0; i--) { /* backwards, for one that was chosen twice */
        if (!c->x[i]) continue;
        c->x[i]->grad = c->before[i];
        c->x[i]->keeps_grad = false;
        c->x[i]->place = NULL;
    }
}

/* As the user gets it: of x's shape, contiguous. */
static ag_var *finish_gradient(ag_tape *tape, const ag_var *x, ag_var *g) {
    if (g) return tensor_is_contiguous(g->value) ? g : ag_affine(g, 1, 0);
    const tensor zeros = ag_tensor(tape, TENSOR_F32, x->value.rank, x->value.shape);
    return tensor_fill(zeros, 0, &tape->error) ? ag_input(tape, zeros) : NULL;
}

bool ag_gradients(ag_var *y, int count, ag_var *const *x, ag_var **dx, bool create_graph) {
    choice c;
    if (count > 0 && !dx) return y && ag_fail(y->tape, "gradients: there is no room for the results");
    for (int i = 0; i < count; i++) dx[i] = NULL;
    if (!choose(&c, y, count, x, NULL)) return false;
    run_choice(&c, y, NULL, false, create_graph);
    end_choice(&c);
    for (int i = 0; i < count; i++) dx[i] = finish_gradient(c.tape, x[i], c.found[i]);
    return ag_ok(c.tape);
}

bool ag_gradients_into(ag_var *y, int count, ag_var *const *x, const tensor *places, bool accumulate) {
    choice c;
    if (count > 0 && !places) return y && ag_fail(y->tape, "gradients: there are no places");
    if (!choose(&c, y, count, x, places)) return false;
    run_choice(&c, y, places, accumulate, false);
    end_choice(&c);
    for (int i = 0; i < count && ag_ok(c.tape); i++)
        if (!c.found[i] && !accumulate) tensor_fill(places[i], 0, &c.tape->error);
    return ag_ok(c.tape);
}
