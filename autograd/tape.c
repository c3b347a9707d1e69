/* Tapes and variables: memory, leaves, and how an operation becomes a node. */
#include "autograd/autograd_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

ag_tape *ag_tape_new(void) {
    ag_tape *tape = calloc(1, sizeof *tape);
    if (!tape) return NULL;
    tape->arena = tensor_arena_new(NULL);
    if (!tape->arena) {
        free(tape);
        return NULL;
    }
    tape->recording = true;
    return tape;
}

void ag_tape_free(ag_tape *tape) {
    if (!tape) return;
    tensor_arena_free(tape->arena);
    free(tape);
}

void ag_reset(ag_tape *tape) {
    if (!tape) return;
    tensor_arena_reset(tape->arena);
    tape->error.text[0] = '\0';
    tape->last = NULL;
    tape->unused = NULL;
    tape->written = NULL;
}

const char *ag_error(const ag_tape *tape) {
    if (!tape) return "out of memory";
    return ag_failed(tape) ? tape->error.text : NULL;
}

ag_var *ag_fail(ag_tape *tape, const char *format, ...) {
    if (!tape || ag_failed(tape)) return NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(tape->error.text, sizeof tape->error.text, format, args);
    va_end(args);
    return NULL;
}

void ag_set_recording(ag_tape *tape, bool recording) {
    if (tape) tape->recording = recording;
}

size_t ag_tape_bytes(const ag_tape *tape) {
    return tape ? tensor_arena_bytes(tape->arena) : 0;
}

void ag_set_lane(ag_tape *tape, tensor grads, tensor lane) {
    if (!tape) return;
    tape->grads = grads;
    tape->lane = lane;
    tape->written = NULL;
}

bool ag_lane_has(const ag_tape *tape, const ag_var *parameter) {
    for (const ag_lane_part *part = tape ? tape->written : NULL; part; part = part->next)
        if (part->sink == parameter->sink.f32) return true;
    return false;
}

void ag_watch(ag_tape *tape, ag_watcher *watcher, void *context) {
    if (!tape) return;
    tape->watcher = watcher;
    tape->watcher_context = context;
}

tensor ag_tensor(ag_tape *tape, tensor_dtype dtype, int rank, const int64_t *shape) {
    return tape ? tensor_new(tape->arena, dtype, rank, shape, &tape->error) : (tensor){0};
}

/* ---- Variables ---------------------------------------------------------------------------- */

ag_var *ag_new_var(ag_tape *tape, int inputs) {
    const size_t each = sizeof(ag_var *) + sizeof(uint64_t);
    ag_var *x = tensor_arena_alloc(tape->arena, sizeof *x + (size_t)inputs * each, &tape->error);
    if (!x) return NULL;
    memset(x, 0, sizeof *x);
    x->tape = tape;
    x->inputs = inputs;
    x->in_version = (uint64_t *)(x + 1);
    x->in = (ag_var **)(x->in_version + inputs);
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

void ag_parameter(ag_var *p, tensor value, tensor grad, const char *name) {
    *p = (ag_var){.value = value, .sink = grad, .name = name, .needs_grad = tensor_ok(grad)};
}

tensor ag_grad(const ag_var *leaf) {
    if (!leaf) return (tensor){0};
    if (leaf->grad) return leaf->grad->value;
    return leaf->tape ? (tensor){0} : leaf->sink;
}

/* ---- Nodes -------------------------------------------------------------------------------- */

ag_var *ag_begin(const ag_op *op, int inputs, ag_var *const *in) {
    ag_tape *tape = NULL;
    for (int i = 0; i < inputs; i++) {
        if (!in[i]) return NULL;
        if (!tape) tape = in[i]->tape;
    }
    if (!tape || ag_failed(tape)) return NULL;
    for (int i = 0; i < inputs; i++)
        if (in[i]->tape && in[i]->tape != tape)
            return ag_fail(tape, "%s: operand %d is on another tape", op->name, i);
    if (tape->phase == AG_FORWARD) ag_tell(tape, op, AG_FORWARD_BEGINS);
    ag_var *y = ag_new_var(tape, inputs);
    if (!y) return NULL;
    y->op = op;
    memcpy(y->in, in, (size_t)inputs * sizeof *in);
    return y;
}

tensor_error *ag_err(ag_var *y) {
    return &y->tape->error;
}

/* Unused memory of this very size, or new. The data begin at the next 64 bytes after the header. */
static ag_buffer *buffer_of(ag_tape *tape, size_t bytes) {
    for (ag_buffer **at = &tape->unused; *at; at = &(*at)->next)
        if ((*at)->storage.bytes == bytes) {
            ag_buffer *found = *at;
            *at = found->next;
            return found;
        }
    const size_t header = (sizeof(ag_buffer) + 63) / 64 * 64;
    char *memory =
        bytes <= SIZE_MAX - header ? tensor_arena_alloc(tape->arena, header + bytes, &tape->error) : NULL;
    if (!memory) return NULL;
    ag_buffer *buffer = (ag_buffer *)memory;
    *buffer = (ag_buffer){.storage = {.data = memory + header, .bytes = bytes}};
    return buffer;
}

bool ag_allocate(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape) {
    int64_t size = 1;
    for (int axis = 0; axis < rank; axis++)
        if (shape[axis] < 0 || __builtin_mul_overflow(size, shape[axis], &size) || size > INT64_MAX / 64) {
            char text[TENSOR_SHAPE_TEXT];
            ag_fail(y->tape, "%s: the shape %s is not possible", y->op ? y->op->name : "gradient",
                    tensor_shape_text(text, sizeof text, rank, shape));
            return false;
        }
    y->buffer = buffer_of(y->tape, (size_t)size * sizeof(float));
    if (!y->buffer) return false;
    y->buffer->recyclable = y->tape->phase == AG_NUMBERS;
    y->value = tensor_wrap(&y->buffer->storage, dtype, rank, shape, &y->tape->error);
    return tensor_ok(y->value);
}

bool ag_out(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape) {
    return y && !ag_failed(y->tape) && ag_allocate(y, dtype, rank, shape);
}

bool ag_out_view(ag_var *y, ag_var *of, tensor view) {
    if (!y || !tensor_ok(view)) return false;
    y->buffer = of->buffer;
    y->value = view;
    return true;
}

void *ag_save(ag_var *y, size_t bytes) {
    if (!y) return NULL;
    y->saved = tensor_arena_alloc(y->tape->arena, bytes, &y->tape->error);
    return y->saved;
}

ag_var *ag_end(ag_var *y) {
    if (!y || ag_failed(y->tape) || !tensor_ok(y->value)) return NULL;
    if (y->tape->phase == AG_FORWARD) ag_tell(y->tape, y->op, AG_FORWARD_ENDS);
    if (!y->tape->recording || !y->op->backward) return y;
    for (int i = 0; i < y->inputs; i++) {
        y->needs_grad |= y->in[i]->needs_grad;
        y->in_version[i] = y->in[i]->value.storage->version;
    }
    if (!y->needs_grad) return y;
    y->version = y->value.storage->version;
    y->previous = y->tape->last;
    y->tape->last = y;
    return y;
}

int ag_axis(ag_var *y, int axis, int rank) {
    const int at = axis < 0 ? axis + rank : axis;
    if (at >= 0 && at < rank) return at;
    ag_fail(y->tape, "%s: axis %d is outside a tensor of rank %d", y->op->name, axis, rank);
    return -1;
}

tensor ag_tensor_like(ag_tape *tape, tensor x) {
    return ag_tensor(tape, x.dtype, x.rank, x.shape);
}
