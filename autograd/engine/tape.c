/* Tapes and variables: memory, leaves, and how an operation becomes a node. */
#include "autograd/autograd_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

ag_tape *ag_tape_new(void) {
    ag_tape *tape = calloc(1, sizeof *tape);
    if (!tape) return NULL;
    tape->arena = tensor_arena_new(NULL);
    tape->buffers = tensor_arena_new(NULL);
    if (!tape->arena || !tape->buffers) {
        ag_tape_free(tape);
        return NULL;
    }
    tape->recording = true;
    tape->turn = 1;
    tape->profile = ag_profile_new();
    return tape;
}

void ag_tape_free(ag_tape *tape) {
    if (!tape) return;
    ag_profile_end(tape->profile, tape->used);
    tensor_arena_free(tape->arena);
    tensor_arena_free(tape->buffers);
    free(tape->used_params);
    free(tape);
}

void ag_reset(ag_tape *tape) {
    if (!tape) return;
    ag_profile_reset(tape->profile, tape->used);
    tensor_arena_reset(tape->arena);
    ag_reset_memory(tape);
    tape->error.text[0] = '\0';
    tape->first = tape->last = NULL;
    tape->hooked_leaves = false;
    tape->used_count = 0;
    tape->turn++;
}

bool ag_ok(const ag_tape *tape) {
    return tape && !ag_failed(tape);
}

const char *ag_error(const ag_tape *tape) {
    if (!tape) return "out of memory";
    if (ag_failed(tape)) return tape->error.text;
    return "nothing has failed on this tape; an expression that is NULL all the same was given no operand "
           "that is on a tape (ag_use puts a parameter on one)";
}

ag_var *ag_fail(ag_tape *tape, const char *format, ...) {
    if (!tape || ag_failed(tape)) return NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(tape->error.text, sizeof tape->error.text, format, args);
    va_end(args);
    return NULL;
}

bool ag_is_recording(const ag_tape *tape) {
    return tape && tape->recording;
}

void ag_set_recording(ag_tape *tape, bool recording) {
    if (tape) tape->recording = recording;
}

size_t ag_tape_bytes(const ag_tape *tape) {
    return tape ? tensor_arena_bytes(tape->arena) + tensor_arena_bytes(tape->buffers) : 0;
}

size_t ag_tape_peak(const ag_tape *tape) {
    return tape ? tape->used : 0;
}

void ag_set_precision(ag_tape *tape, tensor_precision precision) {
    if (tape) tape->precision = precision;
}

void ag_watch(ag_tape *tape, ag_watcher *watcher, void *context) {
    if (!tape) return;
    tape->watcher = watcher;
    tape->watcher_context = context;
}

/* Unused memory on the tape in a shape, row-major, as *value; `what` names who asks. Every operation comes here, so that
 * the tensor is made in place. */
static ag_buffer *buffer_of(ag_tape *tape, const char *what, tensor_dtype dtype, int rank,
                            const int64_t *shape, tensor *value) {
    int64_t size = 1; /* without sizes of 0: as little may overflow as in tensor_new */
    bool possible = rank >= 0 && rank <= TENSOR_MAX_RANK, empty = false;
    for (int axis = possible ? rank - 1 : -1; possible && axis >= 0; axis--) {
        value->shape[axis] = shape[axis];
        value->stride[axis] = size;
        empty = empty || shape[axis] == 0;
        possible =
            shape[axis] == 0 ||
            (shape[axis] > 0 && !__builtin_mul_overflow(size, shape[axis], &size) && size <= INT64_MAX / 64);
    }
    if (empty) size = 0;
    ag_buffer *buffer = possible ? ag_buffer_new(tape, (size_t)size * sizeof(float)) : NULL;
    if (!buffer) {
        char text[TENSOR_SHAPE_TEXT];
        value->storage = NULL;
        ag_fail(tape, "%s: the shape %s is not possible", what,
                tensor_shape_text(text, sizeof text, rank < TENSOR_MAX_RANK ? rank : TENSOR_MAX_RANK, shape));
        return NULL;
    }
    value->data = buffer->storage.data;
    value->storage = &buffer->storage;
    value->dtype = dtype;
    value->rank = rank;
    return buffer;
}

tensor ag_tensor(ag_tape *tape, tensor_dtype dtype, int rank, const int64_t *shape) {
    tensor value = {0};
    if (tape) buffer_of(tape, "tensor", dtype, rank, shape, &value);
    return value;
}

tensor ag_tensor_like(ag_tape *tape, tensor x) {
    return ag_tensor(tape, x.dtype, x.rank, x.shape);
}

tensor ag_contiguous(ag_tape *tape, tensor x) {
    if (!tensor_ok(x) || tensor_is_contiguous(x)) return x;
    const tensor copy = ag_tensor_like(tape, x);
    return tensor_copy(copy, x, &tape->error) ? copy : (tensor){0};
}

/* ---- Variables ---------------------------------------------------------------------------- */

ag_var *ag_new_var(ag_tape *tape, int inputs) {
    const size_t operands = (size_t)inputs * sizeof(ag_var *),
                 versions = tape->recording ? (size_t)inputs * sizeof(uint64_t) : 0;
    ag_var *x = tensor_arena_alloc(tape->arena, sizeof *x + operands + versions, &tape->error);
    if (!x) return NULL;
    /* One by one: cleared whole, the value would be written twice. What else a tensor has counts only once it has
     * storage. */
    x->value.storage = NULL;
    x->tape = tape;
    x->name = NULL;
    x->needs_grad = x->keeps_grad = x->overwritable = x->inside = false;
    x->compact = NULL;
    x->inputs = inputs;
    x->views = 0;
    x->op = NULL;
    x->in = (ag_var **)(x + 1);
    x->in_version = (uint64_t *)(x->in + inputs);
    x->version = x->reached = 0;
    x->saved = NULL;
    x->buffer = NULL;
    x->previous = x->next = x->grad = NULL;
    x->place = NULL;
    x->owner = NULL;
    x->hooks = NULL;
    return x;
}

static ag_var *leaf(ag_tape *tape, tensor value, bool needs_grad) {
    if (!tape || ag_failed(tape)) return NULL;
    if (!tensor_ok(value)) return ag_fail(tape, "a leaf needs a tensor");
    if (needs_grad && value.dtype != TENSOR_F32) return ag_fail(tape, "only float32 has gradients");
    ag_var *x = ag_new_var(tape, 0);
    if (!x) return NULL;
    x->value = value;
    x->needs_grad = needs_grad;
    return x;
}

ag_var *ag_input(ag_tape *tape, tensor value) {
    return leaf(tape, value, false);
}

ag_var *ag_variable(ag_tape *tape, tensor value) {
    return leaf(tape, value, true);
}

ag_var *ag_constant(ag_tape *tape, float value) {
    if (!tape || ag_failed(tape)) return NULL;
    const tensor x = ag_tensor(tape, TENSOR_F32, 0, NULL);
    if (!tensor_ok(x)) return NULL;
    x.f32[0] = value;
    return ag_input(tape, x);
}

tensor ag_grad(const ag_var *leaf) {
    return leaf && leaf->grad ? leaf->grad->value : (tensor){0};
}

/* ---- What a model asks ---------------------------------------------------------------------- */

int64_t ag_size(const ag_var *x, int axis) {
    if (!x) return 0;
    const int at = axis < 0 ? axis + x->value.rank : axis;
    if (at >= 0 && at < x->value.rank) return x->value.shape[at];
    ag_fail(x->tape, "size: axis %d is outside a tensor of rank %d", axis, x->value.rank);
    return 0;
}

int ag_rank(const ag_var *x) {
    return x ? x->value.rank : 0;
}

int64_t ag_count(const ag_var *x) {
    return x ? tensor_size(x->value) : 0;
}

ag_tape *ag_tape_of(const ag_var *x) {
    return x ? x->tape : NULL;
}

float ag_item(const ag_var *x) {
    return x && x->value.dtype == TENSOR_F32 && tensor_ok(x->value) && tensor_size(x->value) > 0
               ? x->value.f32[0]
               : NAN;
}

/* ---- Parameters on a tape ------------------------------------------------------------------- */

void ag_parameter(ag_var *p, tensor value, bool trainable, const char *name) {
    *p = (ag_var){.value = value, .name = name, .needs_grad = trainable};
}

/* The parameter's entry in the table, or the empty one that it would have. */
static ag_used *entry_of(ag_used *table, size_t capacity, uint64_t turn, const ag_var *parameter) {
    size_t at = (size_t)((uintptr_t)parameter / 64 * 0x9E3779B97F4A7C15u >> 20) & (capacity - 1);
    while (table[at].turn == turn && table[at].parameter != parameter) at = (at + 1) & (capacity - 1);
    return &table[at];
}

/* Room for one more entry, and as many empty ones; false and an error without memory. */
static bool reserve_entry(ag_tape *tape) {
    enum { FIRST = 64 };
    if (2 * (tape->used_count + 1) <= tape->used_capacity) return true;
    const size_t capacity = tape->used_capacity ? 2 * tape->used_capacity : FIRST;
    ag_used *table = calloc(capacity, sizeof *table);
    if (!table) return tensor_fail(&tape->error, "out of memory: %zu bytes", capacity * sizeof *table);
    for (size_t i = 0; i < tape->used_capacity; i++)
        if (tape->used_params[i].turn == tape->turn)
            *entry_of(table, capacity, tape->turn, tape->used_params[i].parameter) = tape->used_params[i];
    free(tape->used_params);
    tape->used_params = table;
    tape->used_capacity = capacity;
    return true;
}

ag_var *ag_used_leaf(const ag_tape *tape, const ag_var *parameter) {
    if (tape->used_count == 0) return NULL;
    const ag_used *entry = entry_of(tape->used_params, tape->used_capacity, tape->turn, parameter);
    return entry->turn == tape->turn ? entry->leaf : NULL;
}

ag_var *ag_use(ag_tape *tape, const ag_var *parameter) {
    if (!tape || ag_failed(tape)) return NULL;
    if (!parameter) return ag_fail(tape, "use: the parameter is NULL");
    if (parameter->tape) return (ag_var *)parameter; /* a variable already */
    ag_var *leaf = ag_used_leaf(tape, parameter);
    if (leaf) return leaf;
    if (parameter->compact)
        return ag_fail(tape,
                       "%s is compact: products and look-ups may read it, but nothing can be trained on it",
                       parameter->name ? parameter->name : "a parameter");
    if (!tensor_ok(parameter->value))
        return ag_fail(tape, "use: the parameter %s has no value yet; nn_params_finalize gives it one",
                       parameter->name ? parameter->name : "");
    leaf = reserve_entry(tape) ? ag_new_var(tape, 0) : NULL;
    if (!leaf) return NULL;
    leaf->value = parameter->value;
    leaf->name = parameter->name;
    leaf->needs_grad = parameter->needs_grad;
    *entry_of(tape->used_params, tape->used_capacity, tape->turn, parameter) =
        (ag_used){parameter, leaf, NULL, tape->turn};
    tape->used_count++;
    return leaf;
}

/* Memory of the arena, which a block that is recomputed does not take back. */
bool ag_leave(ag_tape *tape, const ag_var *parameter, tensor value) {
    if (!ag_use(tape, parameter)) return false;
    if (tape->recomputing) return true;
    if (parameter->tape) return ag_fail(tape, "leave: a value can be left for parameters alone");
    ag_used *entry = entry_of(tape->used_params, tape->used_capacity, tape->turn, parameter);
    const tensor *shape = &parameter->value;
    if (!entry->left) {
        tensor *left = tensor_arena_alloc(tape->arena, sizeof *left, &tape->error);
        if (!left) return false;
        *left = tensor_new(tape->arena, shape->dtype, shape->rank, shape->shape, &tape->error);
        if (!tensor_ok(*left)) return false;
        entry->left = left;
    }
    return tensor_copy(*entry->left, value, &tape->error);
}

tensor ag_left(const ag_tape *tape, const ag_var *parameter) {
    if (!tape || !ag_used_leaf(tape, parameter)) return (tensor){0};
    const ag_used *entry = entry_of(tape->used_params, tape->used_capacity, tape->turn, parameter);
    return entry->left ? *entry->left : (tensor){0};
}

/* ---- Nodes -------------------------------------------------------------------------------- */

/* Whether operand i may be one of y, and where it is a parameter: its leaf on the tape in its place. */
static bool take_operand(ag_var *y, int i, ag_var *x) {
    ag_tape *tape = y->tape;
    if (!x)
        ag_fail(tape, "%s: operand %d is NULL: it was not made, or of parameters alone, which needs ag_use",
                y->op->name, i);
    else if (!x->tape)
        x = x->compact && !tape->recording && y->op->compact     ? x
            : tape->recording || !x->value.storage || x->compact ? ag_use(tape, x)
                                                                 : x;
    else if (x->tape != tape)
        ag_fail(tape, "%s: operand %d is on another tape", y->op->name, i);
    else if (tape->phase == AG_FORWARD && x->buffer && x->version < x->buffer->taken)
        ag_fail(tape, "%s: operand %d was overwritten by an operation in place", y->op->name, i);
    y->in[i] = x;
    return !ag_failed(tape);
}

ag_var *ag_begin(const ag_op *op, int inputs, ag_var *const *in) {
    ag_tape *tape = NULL;
    for (int i = 0; i < inputs && !tape; i++)
        if (in[i]) tape = in[i]->tape;
    if (!tape || ag_failed(tape)) return NULL;
    if (tape->phase == AG_FORWARD) ag_tell(tape, op, NULL, AG_FORWARD_BEGINS);
    ag_var *y = ag_new_var(tape, inputs);
    if (!y) return NULL;
    y->op = op;
    for (int i = 0; i < inputs; i++)
        if (!take_operand(y, i, in[i])) return NULL;
    return y;
}

tensor_error *ag_err(ag_var *y) {
    return &y->tape->error;
}

bool ag_allocate(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape) {
    y->buffer = buffer_of(y->tape, y->op ? y->op->name : "gradient", dtype, rank, shape, &y->value);
    return tensor_ok(y->value);
}

bool ag_out(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape) {
    return y && !ag_failed(y->tape) && ag_allocate(y, dtype, rank, shape);
}

bool ag_out_view(ag_var *y, ag_var *of, tensor view) {
    if (!y || !tensor_ok(view)) return false;
    y->buffer = of->buffer;
    y->value = view;
    y->views = of->views + 1;
    return true;
}

void *ag_save(ag_var *y, size_t bytes) {
    if (!y) return NULL;
    y->saved = tensor_arena_alloc(y->tape->arena, bytes, &y->tape->error);
    return y->saved;
}

ag_var *ag_end(ag_var *y) {
    if (!y || ag_failed(y->tape) || !tensor_ok(y->value)) return NULL;
    ag_tape *tape = y->tape;
    if (tape->phase == AG_FORWARD) ag_tell(tape, y->op, y, AG_FORWARD_ENDS);
    y->version = y->value.storage->version;
    if (!tape->recording || !y->op->backward) return y;
    for (int i = 0; i < y->inputs; i++) {
        y->needs_grad |= y->in[i]->needs_grad;
        y->in_version[i] = y->in[i]->value.storage->version;
        if (tape->call && y->in[i]->reached == tape->call) y->reached = tape->call;
    }
    if (!y->needs_grad) return y;
    y->previous = tape->last;
    if (tape->last)
        tape->last->next = y;
    else
        tape->first = y;
    tape->last = y;
    return y;
}

int ag_axis_of(ag_tape *tape, const char *what, int axis, int rank) {
    const int at = axis < 0 ? axis + rank : axis;
    if (at >= 0 && at < rank) return at;
    ag_fail(tape, "%s: axis %d is outside a tensor of rank %d", what, axis, rank);
    return -1;
}

int ag_axis(ag_var *y, int axis, int rank) {
    return ag_axis_of(y->tape, y->op->name, axis, rank);
}

bool ag_axes_of(ag_tape *tape, const char *what, unsigned axes, int rank, unsigned *front) {
    *front = 0;
    for (int bit = 0; bit < 32; bit++) { /* bit 32 - i is axis -i */
        if (!(axes >> bit & 1u) || (axes == AG_ALL && bit >= rank)) continue;
        const int axis = ag_axis_of(tape, what, bit < 16 ? bit : bit - 32, rank);
        if (axis < 0) return false;
        *front |= 1u << axis;
    }
    return true;
}
