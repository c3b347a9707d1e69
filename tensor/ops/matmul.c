/* Matrix products: shapes, broadcasting and threads around the gemm kernel. */
#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

static bool mismatch(const char *what, tensor a, tensor b, tensor_error *err) {
    char at[TENSOR_SHAPE_TEXT], bt[TENSOR_SHAPE_TEXT];
    return tensor_fail(err, "%s: %s x %s", what, tensor_shape_text(at, sizeof at, a.rank, a.shape),
                       tensor_shape_text(bt, sizeof bt, b.rank, b.shape));
}

bool tensor_matmul_shape(tensor a, tensor b, int *rank, int64_t *shape, tensor_error *err) {
    if (!tensor_expect("matmul", "a", &a, TENSOR_F32, err) ||
        !tensor_expect("matmul", "b", &b, TENSOR_F32, err))
        return false;
    if (a.rank < 2 || b.rank < 2) return mismatch("matmul: both operands need rank 2 or more", a, b, err);
    if (a.shape[a.rank - 1] != b.shape[b.rank - 2]) return mismatch("matmul: inner sizes differ", a, b, err);
    tensor a_batch = a, b_batch = b;
    a_batch.rank -= 2;
    b_batch.rank -= 2;
    if (!tensor_broadcast_shape("matmul", a_batch, b_batch, rank, shape, NULL))
        return mismatch("matmul: batch sizes do not broadcast", a, b, err);
    shape[*rank] = a.shape[a.rank - 2];
    shape[*rank + 1] = b.shape[b.rank - 1];
    *rank += 2;
    return true;
}

/* What computes one product. */
typedef void product_kernel(const gemm_args *args);

/* NULL: products of two tensors have no such precision. */
static product_kernel *kernel_of(const char *what, tensor_precision precision, tensor_error *err) {
    const tensor_kernels *kernels = tensor_kernels_get();
    if (precision == TENSOR_BFLOAT16) return kernels->gemm_bf16;
    if (precision == TENSOR_FLOAT32) return kernels->gemm;
    tensor_fail(err, "%s: the precision is neither float32 nor bfloat16", what);
    return NULL;
}

/* The products of a batch: out, a and b expanded to one batch shape, and a grid of blocks of C. */
typedef struct product {
    const tensor *out, *a, *b;
    product_kernel *kernel;
    gemm_args g;            /* of the first product */
    int64_t rows, cols;     /* of a block */
    int64_t grid_m, grid_n; /* blocks of one product */
} product;

static void product_blocks(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const product *t = context;
    for (int64_t task = begin; task < end; task++) {
        gemm_args g = t->g;
        const int64_t block = task % (t->grid_m * t->grid_n);
        const int64_t i = block % t->grid_m * t->rows, j = block / t->grid_m * t->cols;
        int64_t batch = task / (t->grid_m * t->grid_n);
        g.m = g.m - i < t->rows ? g.m - i : t->rows;
        g.n = g.n - j < t->cols ? g.n - j : t->cols;
        g.a += i * g.a_row;
        g.b += j * g.b_col;
        int64_t c = i * g.c_row + j * g.c_col;
        for (int axis = t->out->rank - 3; axis >= 0; axis--) {
            const int64_t at = batch % t->out->shape[axis];
            batch /= t->out->shape[axis];
            g.a += at * t->a->stride[axis];
            g.b += at * t->b->stride[axis];
            c += at * t->out->stride[axis];
        }
        if (g.start == g.c)
            g.start += c;
        else if (g.start)
            g.start += i * g.start_row + j * g.start_col;
        g.c += c;
        t->kernel(&g);
    }
}

static gemm_args transposed(gemm_args g) {
    return (gemm_args){.m = g.n,
                       .n = g.m,
                       .k = g.k,
                       .a = g.b,
                       .a_row = g.b_col,
                       .a_col = g.b_row,
                       .b = g.a,
                       .b_row = g.a_col,
                       .b_col = g.a_row,
                       .c = g.c,
                       .c_row = g.c_col,
                       .c_col = g.c_row,
                       .start = g.start,
                       .start_row = g.start_col,
                       .start_col = g.start_row};
}

/* The first product of a batch. */
static gemm_args first_product(const tensor *out, const tensor *a, const tensor *b, bool accumulate,
                               const tensor *bias) {
    const int m = out->rank - 2, n = out->rank - 1;
    gemm_args g = {.m = out->shape[m],
                   .n = out->shape[n],
                   .k = a->shape[n],
                   .a = a->f32,
                   .a_row = a->stride[m],
                   .a_col = a->stride[n],
                   .b = b->f32,
                   .b_row = b->stride[m],
                   .b_col = b->stride[n],
                   .c = out->f32,
                   .c_row = out->stride[m],
                   .c_col = out->stride[n]};
    if (tensor_ok(*bias)) {
        g.start = bias->f32;
        g.start_col = bias->stride[0];
    } else if (accumulate) {
        g.start = g.c;
        g.start_row = g.c_row;
        g.start_col = g.c_col;
    }
    return g;
}

/* What a product costs, in operations: a number that is read takes the time of about eight of them. */
static double work_of(int64_t m, int64_t n, int64_t k) {
    return (2.0 * (double)m * (double)n + 8.0 * (double)(m + n)) * (double)k;
}

/* How many pieces of `size` n makes, at least one. */
static int64_t pieces(int64_t n, int64_t size) {
    return n > size ? (n + size - 1) / size : 1;
}

/* The grid of blocks for `threads` that each take the next when they are done with one: as few as the caches permit, or,
 * where those are not many, the ones that are done first. A block costs its area and a border, for what is read and
 * copied anew; it is whole panels of every instruction set. Products of few rows read whole rows of B (gemv.h): a share
 * for a thread. */
static void cut(product *t, int threads) {
    enum {
        ROWS = 768,
        COLS = 1152,
        ROW = 2,
        PANEL = 32,
        BORDER_ROWS = 6,
        BORDER_COLS = 8,
        ENOUGH = 4,
        FEW = 8
    };
    const int64_t m = t->g.m, n = t->g.n, least_m = pieces(m, ROWS), least_n = m <= FEW ? 1 : pieces(n, COLS);
    const int64_t most = threads > 1 ? ENOUGH * threads : 1;
    double best = 0;
    for (int64_t i = least_m; i == least_m || i * least_n <= most; i++)
        for (int64_t j = least_n; j == least_n || i * j <= most; j++) {
            const int64_t rows = pieces(pieces(m, i), ROW) * ROW, cols = pieces(pieces(n, j), PANEL) * PANEL;
            const int64_t grid_m = pieces(m, rows), grid_n = pieces(n, cols);
            const double turns = (double)pieces(grid_m * grid_n, threads);
            const double cost =
                turns * (double)(rows + BORDER_ROWS) * (double)((cols < n ? cols : n) + BORDER_COLS);
            if (best > 0 && cost >= best) continue;
            best = cost;
            t->rows = rows, t->grid_m = grid_m;
            t->cols = cols, t->grid_n = grid_n;
        }
}

/* out = start + a b for operands of one rank whose batch axes have out's sizes; `bias`: no tensor, or [N]. */
static void multiply(product_kernel *kernel, const tensor *out, const tensor *a, const tensor *b,
                     bool accumulate, const tensor *bias) {
    enum {
        SHARED_FLOPS = 1 << 19,
        GRAIN_FLOPS = 1 << 18
    };                                  /* of a product that is cut; of a thread's share */
    if (tensor_size(*out) == 0) return; /* however many products */
    product t = {out, a, b, kernel, first_product(out, a, b, accumulate, bias), 0, 0, 0, 0};
    if (t.g.c_col != 1 && t.g.c_row == 1) { /* C is written along its rows: compute its transpose instead */
        t.g = transposed(t.g);
        t.a = b;
        t.b = a;
    }
    const bool shared =
        tensor_threads() > 1 && !tensor_is_nested() && work_of(t.g.m, t.g.n, t.g.k) >= SHARED_FLOPS;
    int64_t tasks = 1; /* products first */
    for (int axis = 0; axis < out->rank - 2; axis++) tasks *= out->shape[axis];
    cut(&t, shared && tasks < tensor_threads() ? tensor_threads() : 1);
    tasks *= t.grid_m * t.grid_n;
    if (tasks == 1) {
        kernel(&t.g);
        return;
    }
    const double work = work_of(t.g.m < t.rows ? t.g.m : t.rows, t.g.n < t.cols ? t.g.n : t.cols, t.g.k);
    const double grain = work > 0 ? GRAIN_FLOPS / work : (double)tasks;
    tensor_parallel(tasks,
                    grain < 1               ? 1
                    : grain > (double)tasks ? tasks
                                            : (int64_t)grain,
                    product_blocks, &t);
}

/* x as [rows, last axis], where its strides permit. */
static bool fold_rows(tensor *x) {
    int64_t rows = 1, step = 0;
    for (int axis = x->rank - 2; axis >= 0; axis--) {
        if (x->shape[axis] == 1) continue;
        if (rows == 1) step = x->stride[axis];
        if (x->stride[axis] != rows * step) return false;
        rows *= x->shape[axis];
    }
    x->shape[1] = x->shape[x->rank - 1], x->stride[1] = x->stride[x->rank - 1];
    x->shape[0] = rows, x->stride[0] = step;
    x->rank = 2;
    return true;
}

static void multiply_batch(product_kernel *kernel, const tensor *out, const tensor *a, const tensor *b,
                           bool accumulate, const tensor *bias, tensor_error *err) {
    int64_t shape[TENSOR_MAX_RANK];
    for (int axis = 0; axis < out->rank; axis++) shape[axis] = out->shape[axis];
    shape[out->rank - 2] = a->shape[a->rank - 2];
    shape[out->rank - 1] = a->shape[a->rank - 1];
    const tensor all_a = tensor_expand(*a, out->rank, shape, err);
    shape[out->rank - 2] = b->shape[b->rank - 2];
    shape[out->rank - 1] = b->shape[b->rank - 1];
    const tensor all_b = tensor_expand(*b, out->rank, shape, err);
    multiply(kernel, out, &all_a, &all_b, accumulate, bias);
}

static void multiply_folded(product_kernel *kernel, const tensor *out, const tensor *a, const tensor *b,
                            bool accumulate, const tensor *bias, tensor_error *err) {
    tensor rows, a_rows;
    if (out->rank == 2)
        multiply(kernel, out, a, b, accumulate, bias);
    else if (b->rank == 2 && (rows = *out, fold_rows(&rows)) && (a_rows = *a, fold_rows(&a_rows)))
        multiply(kernel, &rows, &a_rows, b, accumulate, bias);
    else
        multiply_batch(kernel, out, a, b, accumulate, bias, err);
    tensor_touch(*out);
}

bool tensor_matmul_at(tensor out, tensor a, tensor b, bool accumulate, tensor_precision precision,
                      tensor_error *err) {
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    product_kernel *kernel = kernel_of("matmul", precision, err);
    if (!kernel || !tensor_matmul_shape(a, b, &rank, shape, err) ||
        !tensor_expect("matmul", "out", &out, TENSOR_F32, err) ||
        !tensor_expect_shape("matmul", "out", &out, rank, shape, err))
        return false;
    multiply_folded(kernel, &out, &a, &b, accumulate, &(tensor){0}, err);
    return true;
}

bool tensor_matmul(tensor out, tensor a, tensor b, bool accumulate, tensor_error *err) {
    return tensor_matmul_at(out, a, b, accumulate, TENSOR_FLOAT32, err);
}

static bool linear_fits(const tensor *x, const tensor *w, const tensor *bias, tensor_error *err) {
    if (!tensor_expect("linear", "x", x, TENSOR_F32, err) ||
        !tensor_expect("linear", "w", w, TENSOR_F32, err))
        return false;
    if (x->rank < 1 || w->rank != 2) return mismatch("linear: needs x[..., K] and w[K, N]", *x, *w, err);
    if (x->shape[x->rank - 1] != w->shape[0]) return mismatch("linear: inner sizes differ", *x, *w, err);
    return !tensor_ok(*bias) || (tensor_expect("linear", "bias", bias, TENSOR_F32, err) &&
                                 tensor_expect_shape("linear", "bias", bias, 1, &w->shape[1], err));
}

static void linear_sizes(const tensor *x, const tensor *w, int64_t *shape) {
    for (int axis = 0; axis < x->rank - 1; axis++) shape[axis] = x->shape[axis];
    shape[x->rank - 1] = w->shape[1];
}

bool tensor_linear_shape(tensor x, tensor w, tensor bias, int *rank, int64_t *shape, tensor_error *err) {
    if (!linear_fits(&x, &w, &bias, err)) return false;
    *rank = x.rank;
    linear_sizes(&x, &w, shape);
    return true;
}

/* A single row of neighbours, as where text is written token by token: straight to the kernel. */
static bool multiply_row(product_kernel *kernel, const tensor *out, const tensor *x, const tensor *w,
                         const tensor *bias) {
    enum { MOST = 1 << 16 }; /* numbers of w: more are worth several threads */
    const int last = x->rank - 1;
    for (int axis = 0; axis < last; axis++)
        if (x->shape[axis] != 1) return false;
    const int64_t most = tensor_threads() > 1 && !tensor_is_nested() ? MOST : INT64_MAX;
    if (x->stride[last] != 1 || out->stride[last] != 1 || w->shape[0] * w->shape[1] > most) return false;
    kernel(&(gemm_args){.m = 1,
                        .n = w->shape[1],
                        .k = w->shape[0],
                        .a = x->f32,
                        .a_col = 1,
                        .b = w->f32,
                        .b_row = w->stride[0],
                        .b_col = w->stride[1],
                        .c = out->f32,
                        .c_col = 1,
                        .start = bias->storage ? bias->f32 : NULL,
                        .start_col = bias->stride[0]});
    tensor_touch(*out);
    return true;
}

/* Whether out has the sizes of the result; a loop, as for one row copying them would cost more than the test. */
static bool linear_result(const tensor *out, const tensor *x, const tensor *w, tensor_error *err) {
    const int last = x->rank - 1;
    bool fits = out->rank == x->rank && out->shape[last] == w->shape[1];
    for (int axis = 0; fits && axis < last; axis++) fits = out->shape[axis] == x->shape[axis];
    if (fits) return true;
    int64_t shape[TENSOR_MAX_RANK];
    linear_sizes(x, w, shape);
    return tensor_unexpected_shape("linear", "out", out, x->rank, shape, err);
}

bool tensor_linear_at(tensor out, tensor x, tensor w, tensor bias, tensor_precision precision,
                      tensor_error *err) {
    product_kernel *kernel = kernel_of("linear", precision, err);
    if (!kernel || !linear_fits(&x, &w, &bias, err) ||
        !tensor_expect("linear", "out", &out, TENSOR_F32, err) || !linear_result(&out, &x, &w, err))
        return false;
    if (multiply_row(kernel, &out, &x, &w, &bias)) return true;
    if (x.rank == 1) {
        x = tensor_unsqueeze(x, 0, err);
        out = tensor_unsqueeze(out, 0, err);
    }
    multiply_folded(kernel, &out, &x, &w, false, &bias, err);
    return true;
}

bool tensor_linear(tensor out, tensor x, tensor w, tensor bias, tensor_error *err) {
    return tensor_linear_at(out, x, w, bias, TENSOR_FLOAT32, err);
}
