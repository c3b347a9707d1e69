/* Tensors, their shapes, views of them, and loops over their elements. */
#include "tensor/tensor_internal.h"

#include <string.h>

/* ---- Shapes -------------------------------------------------------------------------------- */

typedef struct shape_text {
    char text[TENSOR_SHAPE_TEXT];
} shape_text;

char *tensor_shape_text(char *buffer, size_t size, int rank, const int64_t *shape) {
    size_t used = 0;
    for (int i = 0; i <= rank && used < size; i++) {
        const char *before = i == 0 ? "[" : i < rank ? ", " : "";
        int n = i < rank ? snprintf(buffer + used, size - used, "%s%lld", before, (long long)shape[i])
                         : snprintf(buffer + used, size - used, "%s]", before);
        used += (size_t)n;
    }
    return buffer;
}

/* The text as a value, for arguments of tensor_fail: SHAPE(x) lives until the full expression ends. */
static shape_text text_of(int rank, const int64_t *shape) {
    shape_text t;
    tensor_shape_text(t.text, sizeof t.text, rank < TENSOR_MAX_RANK ? rank : TENSOR_MAX_RANK, shape);
    return t;
}
#define SHAPE(x) text_of((x).rank, (x).shape).text

bool tensor_unexpected(const char *what, const char *name, const tensor *x, tensor_dtype dtype,
                       tensor_error *err) {
    if (!tensor_ok(*x)) return tensor_fail(err, "%s: %s is no tensor", what, name);
    return tensor_fail(err, "%s: %s is %s, expected %s", what, name,
                       x->dtype == TENSOR_F32 ? "float32" : "int32",
                       dtype == TENSOR_F32 ? "float32" : "int32");
}

bool tensor_unexpected_shape(const char *what, const char *name, const tensor *x, int rank,
                             const int64_t *shape, tensor_error *err) {
    return tensor_fail(err, "%s: %s is %s, expected %s", what, name, SHAPE(*x), text_of(rank, shape).text);
}

int tensor_expect_axis(const char *what, int axis, int rank, tensor_error *err) {
    if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
    tensor_fail(err, "%s: axis %d is outside a tensor of rank %d", what, axis, rank);
    return -1;
}

int64_t tensor_size(tensor x) {
    if (!tensor_ok(x)) return 0;
    int64_t size = 1;
    for (int i = 0; i < x.rank; i++) size *= x.shape[i];
    return size;
}

bool tensor_is_contiguous(tensor x) {
    return tensor_ok(x) && tensor_dense(&x);
}

bool tensor_same_shape(tensor a, tensor b) {
    return tensor_ok(a) && tensor_ok(b) && tensor_equal_sizes(a.rank, a.shape, b.rank, b.shape);
}

bool tensor_broadcast_shape(const char *what, tensor a, tensor b, int *rank, int64_t *shape,
                            tensor_error *err) {
    if (!tensor_ok(a) || !tensor_ok(b)) return tensor_fail(err, "%s: an operand is no tensor", what);
    int n = a.rank > b.rank ? a.rank : b.rank;
    int64_t result[TENSOR_MAX_RANK];
    for (int i = 0; i < n; i++) { /* from the last axis on */
        int64_t size_a = i < a.rank ? a.shape[a.rank - 1 - i] : 1;
        int64_t size_b = i < b.rank ? b.shape[b.rank - 1 - i] : 1;
        if (size_a != size_b && size_a != 1 && size_b != 1)
            return tensor_fail(err, "%s: shapes do not broadcast: %s and %s", what, SHAPE(a), SHAPE(b));
        result[n - 1 - i] = size_a == 1 ? size_b : size_a;
    }
    *rank = n;
    for (int i = 0; i < n; i++) shape[i] = result[i];
    return true;
}

/* ---- New tensors ---------------------------------------------------------------------------- */

/* Sets shape and row-major strides; the bytes needed, or -1 where the shape is impossible. The sizes
 * other than 0 must not overflow together, so that no product of some of them, a stride, ever does. */
static int64_t lay_out(tensor *x, const char *what, int rank, const int64_t *shape, tensor_error *err) {
    if (rank < 0 || rank > TENSOR_MAX_RANK) {
        tensor_fail(err, "%s: a rank of %d is not in 0..%d", what, rank, TENSOR_MAX_RANK);
        return -1;
    }
    int64_t step = 1, bytes;
    bool empty = false;
    x->rank = rank;
    for (int i = rank - 1; i >= 0; i--) {
        x->shape[i] = shape[i];
        x->stride[i] = step;
        if (shape[i] < 0) {
            tensor_fail(err, "%s: negative size in %s", what, text_of(rank, shape).text);
            return -1;
        }
        empty |= shape[i] == 0;
        if (shape[i] > 0 && __builtin_mul_overflow(step, shape[i], &step)) step = INT64_MAX;
    }
    if (__builtin_mul_overflow(step, (int64_t)sizeof(float), &bytes) || (uint64_t)bytes > SIZE_MAX / 2) {
        tensor_fail(err, "%s: the size of %s overflows", what, text_of(rank, shape).text);
        return -1;
    }
    return empty ? 0 : bytes;
}

static bool known_dtype(const char *what, tensor_dtype dtype, tensor_error *err) {
    if (dtype == TENSOR_F32 || dtype == TENSOR_I32) return true;
    return tensor_fail(err, "%s: unknown dtype %d", what, (int)dtype);
}

static tensor new_tensor(const char *what, tensor_arena *arena, tensor_dtype dtype, int rank,
                         const int64_t *shape, tensor_error *err) {
    tensor x = {.dtype = dtype};
    if (!known_dtype(what, dtype, err)) return (tensor){0};
    int64_t bytes = lay_out(&x, what, rank, shape, err);
    if (bytes < 0) return (tensor){0};
    /* Elements first: where they fail, nothing has been taken. */
    x.data = tensor_arena_alloc(arena, (size_t)bytes, err);
    if (!x.data) return (tensor){0};
    x.storage = tensor_arena_alloc(arena, sizeof *x.storage, err);
    if (!x.storage) return (tensor){0};
    *x.storage = (tensor_storage){.data = x.data, .bytes = (size_t)bytes};
    return x;
}

tensor tensor_new(tensor_arena *arena, tensor_dtype dtype, int rank, const int64_t *shape,
                  tensor_error *err) {
    return new_tensor("tensor_new", arena, dtype, rank, shape, err);
}

tensor tensor_zeros(tensor_arena *arena, tensor_dtype dtype, int rank, const int64_t *shape,
                    tensor_error *err) {
    tensor x = new_tensor("tensor_zeros", arena, dtype, rank, shape, err);
    if (tensor_ok(x)) memset(x.data, 0, x.storage->bytes);
    return x;
}

tensor tensor_wrap(tensor_storage *storage, tensor_dtype dtype, int rank, const int64_t *shape,
                   tensor_error *err) {
    tensor x = {.dtype = dtype};
    if (!known_dtype("tensor_wrap", dtype, err)) return (tensor){0};
    int64_t bytes = lay_out(&x, "tensor_wrap", rank, shape, err);
    if (bytes < 0) return (tensor){0};
    if (!storage) {
        tensor_fail(err, "tensor_wrap: no storage");
        return (tensor){0};
    }
    if ((size_t)bytes > storage->bytes) {
        tensor_fail(err, "tensor_wrap: %s needs %lld bytes, the storage has %zu", SHAPE(x), (long long)bytes,
                    storage->bytes);
        return (tensor){0};
    }
    x.storage = storage;
    x.data = storage->data;
    return x;
}

tensor tensor_contiguous(tensor_arena *arena, tensor x, tensor_error *err) {
    if (!tensor_ok(x)) {
        tensor_fail(err, "contiguous: x is no tensor");
        return x;
    }
    if (tensor_is_contiguous(x)) return x;
    tensor out = new_tensor("contiguous", arena, x.dtype, x.rank, x.shape, err);
    return tensor_ok(out) && tensor_copy(out, x, err) ? out : (tensor){0};
}

/* ---- Views ----------------------------------------------------------------------------------- */

/* What a view returns where it fails: no tensor, and the text. */
#define NO_VIEW(...) (tensor_fail(err, __VA_ARGS__), (tensor){0})

/* Sets the strides of `view`, which has its shape, from those of x; false where they do not permit it. Both
 * shapes fall into groups of axes of equal product; within a group x must be evenly spaced: each stride is
 * the next one's times its size. */
static bool regroup(const tensor *x, tensor *view) {
    int old = 0, new = 0;
    while (old < x->rank || new < view->rank) {
        int old_end = old, new_end = new;
        int64_t old_size = 1, new_size = 1;
        if (old_end < x->rank) old_size = x->shape[old_end++];
        if (new_end < view->rank) new_size = view->shape[new_end++];
        while (old_size != new_size) {
            if (old_size < new_size)
                old_size *= x->shape[old_end++];
            else
                new_size *= view->shape[new_end++];
        }
        int64_t step = 1; /* of the innermost axis of the group that is not of size 1 */
        bool known = false;
        int64_t expected = 0;
        for (int i = old_end - 1; i >= old; i--) {
            if (x->shape[i] == 1) continue;
            if (known && x->stride[i] != expected) return false;
            if (!known) step = x->stride[i];
            known = true;
            expected = x->stride[i] * x->shape[i];
        }
        for (int i = new_end - 1; i >= new; i--) {
            view->stride[i] = step;
            step *= view->shape[i];
        }
        old = old_end;
        new = new_end;
    }
    return true;
}

/* Replaces a -1 among the sizes of `view` and checks that it has `size` elements. */
static bool complete_sizes(tensor *view, tensor x, tensor_error *err) {
    int64_t size = tensor_size(x), product = 1;
    int unknown = -1;
    bool overflow = false, empty = false;
    for (int i = 0; i < view->rank; i++) {
        if (view->shape[i] == -1 && unknown < 0) {
            unknown = i;
            continue;
        }
        if (view->shape[i] < 0) return tensor_fail(err, "reshape: wrong size in %s", SHAPE(*view));
        empty |= view->shape[i] == 0;
        if (view->shape[i] > 0) overflow |= __builtin_mul_overflow(product, view->shape[i], &product);
    }
    if (overflow) return tensor_fail(err, "reshape: %s does not fit %s", SHAPE(x), SHAPE(*view));
    if (empty) product = 0;
    if (unknown >= 0 && product > 0 && size % product == 0) view->shape[unknown] = size / product;
    if (unknown >= 0 ? view->shape[unknown] < 0 : product != size)
        return tensor_fail(err, "reshape: %s does not fit %s", SHAPE(x), SHAPE(*view));
    return true;
}

tensor tensor_reshape(tensor x, int rank, const int64_t *shape, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("reshape: x is no tensor");
    if (rank < 0 || rank > TENSOR_MAX_RANK)
        return NO_VIEW("reshape: a rank of %d is not in 0..%d", rank, TENSOR_MAX_RANK);
    tensor view = x;
    view.rank = rank;
    for (int i = 0; i < rank; i++) view.shape[i] = shape[i];
    if (!complete_sizes(&view, x, err)) return (tensor){0};
    if (tensor_size(x) == 0) {
        lay_out(&view, "reshape", rank, view.shape, NULL);
        return view;
    }
    if (!regroup(&x, &view))
        return NO_VIEW("reshape: the strides of %s do not permit a view as %s", SHAPE(x), SHAPE(view));
    return view;
}

tensor tensor_transpose(tensor x, int axis0, int axis1, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("transpose: x is no tensor");
    int a = tensor_expect_axis("transpose", axis0, x.rank, err);
    int b = tensor_expect_axis("transpose", axis1, x.rank, err);
    if (a < 0 || b < 0) return (tensor){0};
    tensor view = x;
    view.shape[a] = x.shape[b], view.stride[a] = x.stride[b];
    view.shape[b] = x.shape[a], view.stride[b] = x.stride[a];
    return view;
}

tensor tensor_permute(tensor x, const int *axes, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("permute: x is no tensor");
    tensor view = x;
    unsigned seen = 0;
    for (int i = 0; i < x.rank; i++) {
        int axis = tensor_expect_axis("permute", axes[i], x.rank, err);
        if (axis < 0) return (tensor){0};
        if (seen & 1u << axis) return NO_VIEW("permute: axis %d of %s comes twice", axis, SHAPE(x));
        seen |= 1u << axis;
        view.shape[i] = x.shape[axis];
        view.stride[i] = x.stride[axis];
    }
    return view;
}

static int64_t clip(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

tensor tensor_slice(tensor x, int axis, int64_t start, int64_t stop, int64_t step, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("slice: x is no tensor");
    int a = tensor_expect_axis("slice", axis, x.rank, err);
    if (a < 0) return (tensor){0};
    if (step == 0) return NO_VIEW("slice: the step along axis %d of %s is 0", axis, SHAPE(x));
    int64_t n = x.shape[a], length;
    if (start < 0) start += n;
    if (stop < 0) stop += n; /* INT64_MIN stays below -1: "through index 0" */
    if (step > 0) {
        start = clip(start, 0, n);
        stop = clip(stop, 0, n);
        length = start < stop ? (stop - start - 1) / step + 1 : 0;
    } else {
        start = clip(start, -1, n - 1);
        stop = clip(stop, -1, n - 1);
        length = start > stop ? (stop - start + 1) / step + 1 : 0;
    }
    tensor view = x;
    view.shape[a] = length;
    if (length > 0) view.f32 += start * x.stride[a];
    if (length > 1) view.stride[a] *= step;
    return view;
}

tensor tensor_expand(tensor x, int rank, const int64_t *shape, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("expand: x is no tensor");
    tensor view = {.data = x.data, .storage = x.storage, .dtype = x.dtype};
    if (lay_out(&view, "expand", rank, shape, err) < 0) return (tensor){0};
    int extra = rank - x.rank;
    bool fits = extra >= 0;
    for (int i = 0; fits && i < rank; i++) {
        int64_t size = i < extra ? 1 : x.shape[i - extra];
        fits = size == shape[i] || size == 1;
        view.stride[i] = i >= extra && size == shape[i] ? x.stride[i - extra] : 0;
    }
    if (!fits) return NO_VIEW("expand: %s does not broadcast to %s", SHAPE(x), SHAPE(view));
    return view;
}

tensor tensor_squeeze(tensor x, int axis, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("squeeze: x is no tensor");
    int a = tensor_expect_axis("squeeze", axis, x.rank, err);
    if (a < 0) return (tensor){0};
    if (x.shape[a] != 1) return NO_VIEW("squeeze: axis %d of %s is not of size 1", axis, SHAPE(x));
    tensor view = x;
    view.rank--;
    for (int i = a; i < view.rank; i++) view.shape[i] = x.shape[i + 1], view.stride[i] = x.stride[i + 1];
    return view;
}

tensor tensor_unsqueeze(tensor x, int axis, tensor_error *err) {
    if (!tensor_ok(x)) return NO_VIEW("unsqueeze: x is no tensor");
    if (x.rank == TENSOR_MAX_RANK) return NO_VIEW("unsqueeze: %s has the highest rank already", SHAPE(x));
    int a = tensor_expect_axis("unsqueeze", axis, x.rank + 1, err);
    if (a < 0) return (tensor){0};
    tensor view = x;
    view.rank++;
    for (int i = a; i < x.rank; i++) view.shape[i + 1] = x.shape[i], view.stride[i + 1] = x.stride[i];
    view.shape[a] = 1;
    view.stride[a] = a < x.rank ? x.stride[a] * x.shape[a] : 1;
    return view;
}

/* ---- Loops ----------------------------------------------------------------------------------- */

/* Whether axis a should lie further in than axis b: by the first operand that moves along both. */
static bool inner_of(const tensor_loop *loop, int a, int b) {
    for (int k = 0; k < loop->operands; k++) {
        int64_t step_a = loop->outer_stride[a][k], step_b = loop->outer_stride[b][k];
        if (step_a < 0) step_a = -step_a;
        if (step_b < 0) step_b = -step_b;
        if (step_a != 0 && step_b != 0 && step_a != step_b) return step_a < step_b;
    }
    return false;
}

static void swap_axes(tensor_loop *loop, int a, int b) {
    int64_t size = loop->outer_shape[a], step[TENSOR_LOOP_OPERANDS];
    loop->outer_shape[a] = loop->outer_shape[b];
    loop->outer_shape[b] = size;
    memcpy(step, loop->outer_stride[a], sizeof step);
    memcpy(loop->outer_stride[a], loop->outer_stride[b], sizeof step);
    memcpy(loop->outer_stride[b], step, sizeof step);
}

/* Insertion sort, innermost first; axes that nothing decides keep their order. */
static void sort_axes(tensor_loop *loop) {
    for (int i = loop->outer_rank - 2; i >= 0; i--)
        for (int j = i; j + 1 < loop->outer_rank && inner_of(loop, j, j + 1); j++) swap_axes(loop, j, j + 1);
}

static bool mergeable(const tensor_loop *loop, int outer, int inner) {
    for (int k = 0; k < loop->operands; k++)
        if (loop->outer_stride[outer][k] != loop->outer_stride[inner][k] * loop->outer_shape[inner])
            return false;
    return true;
}

static void merge_axes(tensor_loop *loop) {
    int last = 0;
    for (int i = 1; i < loop->outer_rank; i++) {
        if (mergeable(loop, last, i))
            loop->outer_shape[i] *= loop->outer_shape[last];
        else
            last++;
        if (last == i) continue;
        loop->outer_shape[last] = loop->outer_shape[i];
        memcpy(loop->outer_stride[last], loop->outer_stride[i], sizeof loop->outer_stride[i]);
    }
    if (loop->outer_rank > 0) loop->outer_rank = last + 1;
}

void tensor_loop_init(tensor_loop *loop, tensor_loop_order order, int operands, const tensor *operand) {
    *loop = (tensor_loop){.size = tensor_size(operand[0]), .inner = 1, .operands = operands};
    for (int k = 0; k < operands; k++) loop->base[k] = operand[k].data;
    if (loop->size == 0) return;
    for (int i = 0; i < operand[0].rank; i++) {
        if (operand[0].shape[i] == 1) continue;
        int axis = loop->outer_rank++;
        loop->outer_shape[axis] = operand[0].shape[i];
        for (int k = 0; k < operands; k++) loop->outer_stride[axis][k] = operand[k].stride[i];
    }
    if (order == TENSOR_ANY_ORDER) sort_axes(loop);
    merge_axes(loop);
    if (loop->outer_rank == 0) return;
    int innermost = --loop->outer_rank;
    loop->inner = loop->outer_shape[innermost];
    memcpy(loop->inner_stride, loop->outer_stride[innermost], sizeof loop->inner_stride);
}

tensor_run tensor_loop_runs(const tensor_loop *loop, int64_t begin, int64_t end) {
    tensor_run run = {.loop = loop, .left = end - begin, .column = begin % loop->inner};
    int64_t row = begin / loop->inner;
    for (int k = 0; k < loop->operands; k++) run.row[k] = loop->base[k];
    for (int i = loop->outer_rank - 1; i >= 0; i--) {
        run.index[i] = row % loop->outer_shape[i];
        row /= loop->outer_shape[i];
        for (int k = 0; k < loop->operands; k++) run.row[k] += run.index[i] * loop->outer_stride[i][k];
    }
    return run;
}

static void next_row(tensor_run *run) {
    const tensor_loop *loop = run->loop;
    for (int i = loop->outer_rank - 1; i >= 0; i--) {
        bool carry = ++run->index[i] == loop->outer_shape[i];
        int64_t steps = carry ? 1 - loop->outer_shape[i] : 1;
        if (carry) run->index[i] = 0;
        for (int k = 0; k < loop->operands; k++) run->row[k] += steps * loop->outer_stride[i][k];
        if (!carry) return;
    }
}

bool tensor_run_next(tensor_run *run) {
    const tensor_loop *loop = run->loop;
    if (run->left <= 0) return false;
    if (run->n > 0) {
        run->column = 0;
        next_row(run);
    }
    run->n = loop->inner - run->column;
    if (run->n > run->left) run->n = run->left;
    run->left -= run->n;
    for (int k = 0; k < loop->operands; k++) run->at[k] = run->row[k] + run->column * loop->inner_stride[k];
    return true;
}
