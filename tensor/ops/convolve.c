/* Convolutions as matrix products: a block of windows is copied to the stack, as columns of a matrix that stays in the
 * second-level cache, and multiplied there (Chellapilla et al. 2006). The transposed one is the same over images whose
 * windows are chosen so: with a stride of s, results that are s apart meet the same taps and are a convolution of their
 * own. */
#include "tensor/ops/convolve_internal.h"
#include "tensor/tensor_internal.h"

/* ---- Arguments ------------------------------------------------------------------------------------ */

static bool mismatch(const char *why, tensor x, tensor w, tensor_error *err) {
    char a[TENSOR_SHAPE_TEXT], b[TENSOR_SHAPE_TEXT];
    return tensor_fail(err, "convolution: %s: x %s, w %s", why,
                       tensor_shape_text(a, sizeof a, x.rank, x.shape),
                       tensor_shape_text(b, sizeof b, w.rank, w.shape));
}

bool tensor_convolve_shape(tensor x, tensor w, const tensor_windows *windows, int64_t shape[4],
                           tensor_error *err) {
    if (!tensor_expect("convolution", "x", &x, TENSOR_F32, err) ||
        !tensor_expect("convolution", "w", &w, TENSOR_F32, err))
        return false;
    const tensor_windows t = windows_complete(windows);
    if (x.rank != 4 || w.rank != 4) return mismatch("needs x[N, C, H, W] and w[O, C, h, w]", x, w, err);
    if (t.groups < 1 || w.shape[0] % t.groups != 0 || x.shape[1] % t.groups != 0)
        return mismatch("the groups do not divide the channels", x, w, err);
    if (x.shape[1] / t.groups != w.shape[1]) return mismatch("channels differ", x, w, err);
    shape[0] = x.shape[0];
    shape[1] = w.shape[0];
    for (int i = 0; i < 2; i++)
        if (!windows_count("convolution", &t, i, x.shape[2 + i], w.shape[2 + i], &shape[2 + i], err))
            return false;
    return true;
}

/* Whether y is the convolution of x and w, and what else there is has a bias's shape and the scratch's. */
static bool check(const tensor *y, const tensor *x, const tensor *w, const tensor *bias, int64_t channels,
                  const tensor_windows *windows, const tensor *scratch, tensor_error *err) {
    int64_t shape[4];
    const int64_t size = tensor_size(*w);
    if (!tensor_convolve_shape(*x, *w, windows, shape, err) ||
        !tensor_expect("convolution", "y", y, TENSOR_F32, err) ||
        !tensor_expect_shape("convolution", "y", y, 4, shape, err))
        return false;
    if (bias && tensor_ok(*bias) &&
        (!tensor_expect("convolution", "bias", bias, TENSOR_F32, err) ||
         !tensor_expect_shape("convolution", "bias", bias, 1, &channels, err)))
        return false;
    if (scratch && (!tensor_expect("convolution", "scratch", scratch, TENSOR_F32, err) ||
                    tensor_size(*scratch) < size || !tensor_is_contiguous(*scratch)))
        return tensor_fail(err, "convolution: needs scratch of %lld numbers without gaps", (long long)size);
    tensor filter = *w; /* one row of the matrix is the weights of one channel */
    if (filter.shape[0] > 0) filter.shape[0] = 1;
    return tensor_dense(&filter) || tensor_fail(err, "convolution: w has gaps between its numbers");
}

/* ---- Products ------------------------------------------------------------------------------------- */

/* Blocks of about equal sizes: whole vectors of every instruction set. */
static void cut(products *t) {
    enum { VECTOR = 16, PANELS = 96 }; /* a panel of B has 24 or 32 columns */
    t->row_blocks = convolve_pieces(t->rows, CONVOLVE_ROWS);
    t->block_rows = t->row_blocks > 0 ? convolve_pieces(t->rows, t->row_blocks) : 1;
    const int64_t deep = t->k < CONVOLVE_ROWS ? t->k : CONVOLVE_ROWS;
    int64_t most = CONVOLVE_ROOM / (deep + t->block_rows);
    most -= most % (most >= PANELS ? PANELS : VECTOR);
    t->window_blocks = convolve_pieces(t->windows, most);
    t->block_windows = t->window_blocks > 0
                           ? convolve_pieces(convolve_pieces(t->windows, t->window_blocks), VECTOR) * VECTOR
                           : VECTOR;
    t->window_blocks = convolve_pieces(t->windows, t->block_windows);
}

static void multiply_block(const products *t, int64_t task) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float memory[CONVOLVE_ROOM] __attribute__((aligned(64)));
    const int64_t block = task % t->window_blocks,
                  row = task / t->window_blocks % t->row_blocks * t->block_rows;
    const int64_t group = task / t->window_blocks / t->row_blocks;
    const int64_t rows = t->rows - row < t->block_rows ? t->rows - row : t->block_rows;
    const int64_t width = t->block_windows;
    float *sums = memory, *columns = memory + rows * width;
    windows_args from = t->from, to = t->to;
    from.begin = to.begin = block * width;
    from.n = to.n = t->windows - from.begin < width ? t->windows - from.begin : width;
    from.out_row = to.out_row = width;
    from.x += group * t->from_group;
    to.x += group * t->to_group + row * to.channel;
    to.from = 0, to.to = rows;
    const float zero = 0, *bias = t->bias ? t->bias + (group * t->rows + row) * t->bias_step : &zero;
    for (int64_t r = 0; r < rows; r++) kernels->fill(width, sums + r * width, bias + r * t->bias_step);
    for (int64_t k = 0; k < t->k; k += CONVOLVE_ROWS) {
        from.from = k;
        from.to = t->k - k < CONVOLVE_ROWS ? t->k : k + CONVOLVE_ROWS;
        kernels->gather_windows(&from, columns);
        kernels->gemm(&(gemm_args){.m = rows,
                                   .n = width,
                                   .k = from.to - k,
                                   .a = t->a + group * t->a_group + row * t->a_row + k,
                                   .a_row = t->a_row,
                                   .a_col = 1,
                                   .b = columns,
                                   .b_row = width,
                                   .b_col = 1,
                                   .c = sums,
                                   .c_row = width,
                                   .c_col = 1,
                                   .start = sums,
                                   .start_row = width,
                                   .start_col = 1});
    }
    kernels->scatter_windows(&to, sums);
}

static void multiply_blocks(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t task = begin; task < end; task++) multiply_block(context, task);
}

static void multiply(products *t) {
    if (convolve_slide(t)) return;
    cut(t);
    tensor_parallel(t->groups * t->row_blocks * t->window_blocks,
                    convolve_grain((double)t->block_rows * (double)t->block_windows * (double)t->k),
                    multiply_blocks, t);
}

static windows_args images(const tensor *x, window_axis rows, window_axis cols) {
    return (windows_args){
        .rows = rows, .cols = cols, .x = x->f32, .image = x->stride[0], .channel = x->stride[1]};
}

/* ---- Convolution ---------------------------------------------------------------------------------- */

bool tensor_convolve(tensor y, tensor x, tensor w, tensor bias, const tensor_windows *windows,
                     tensor_error *err) {
    if (!check(&y, &x, &w, &bias, w.rank > 0 ? w.shape[0] : 0, windows, NULL, err)) return false;
    const tensor_windows t = windows_complete(windows);
    products p = {.from = images(&x, windows_along(&t, 0, &x, w.shape[2], &y),
                                 windows_along(&t, 1, &x, w.shape[3], &y)),
                  .to = images(&y, windows_elements(&y, 0, 0, 1), windows_elements(&y, 1, 0, 1)),
                  .groups = t.groups,
                  .rows = w.shape[0] / t.groups,
                  .k = w.shape[1] * w.shape[2] * w.shape[3],
                  .windows = y.shape[0] * y.shape[2] * y.shape[3],
                  .from_group = w.shape[1] * x.stride[1],
                  .to_group = w.shape[0] / t.groups * y.stride[1],
                  .a = w.f32,
                  .a_group = w.shape[0] / t.groups * w.stride[0],
                  .a_row = w.stride[0],
                  .bias = tensor_ok(bias) ? bias.f32 : NULL,
                  .bias_step = tensor_ok(bias) ? bias.stride[0] : 0};
    multiply(&p);
    tensor_touch(y);
    return true;
}

/* ---- Transposed ----------------------------------------------------------------------------------- */

/* out[group][c][(o, i, j)] = w[o, c, i, j] of the taps of two phases. */
static void turn(float *out, const tensor *w, int64_t groups, const windows_phase *rows,
                 const windows_phase *cols) {
    const int64_t outputs = w->shape[0] / groups;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 0; c < w->shape[1]; c++)
            for (int64_t o = 0; o < outputs; o++) {
                const float *filter = w->f32 + (g * outputs + o) * w->stride[0] + c * w->stride[1];
                for (int64_t i = 0; i < rows->axis.taps; i++)
                    for (int64_t j = 0; j < cols->axis.taps; j++)
                        *out++ = filter[(rows->tap + i * rows->every) * w->stride[2] +
                                        (cols->tap + j * cols->every) * w->stride[3]];
            }
}

bool tensor_convolve_transposed(tensor x, tensor y, tensor w, tensor bias, const tensor_windows *windows,
                                tensor scratch, tensor_error *err) {
    if (!check(&y, &x, &w, &bias, x.rank > 1 ? x.shape[1] : 0, windows, &scratch, err)) return false;
    const tensor_windows t = windows_complete(windows);
    const int64_t outputs = w.shape[0] / t.groups;
    for (int64_t r = 0; r < t.stride[0] && r < x.shape[2]; r++)
        for (int64_t q = 0; q < t.stride[1] && q < x.shape[3]; q++) {
            const windows_phase rows = windows_phase_of(&t, 0, r, &x, w.shape[2], &y),
                                cols = windows_phase_of(&t, 1, q, &x, w.shape[3], &y);
            const int64_t k = outputs * rows.axis.taps * cols.axis.taps;
            turn(scratch.f32, &w, t.groups, &rows, &cols);
            products p = {.from = images(&y, rows.axis, cols.axis),
                          .to = images(&x, windows_elements(&x, 0, r, t.stride[0]),
                                       windows_elements(&x, 1, q, t.stride[1])),
                          .groups = t.groups,
                          .rows = w.shape[1],
                          .k = k,
                          .windows = x.shape[0] * rows.axis.windows * cols.axis.windows,
                          .from_group = outputs * y.stride[1],
                          .to_group = w.shape[1] * x.stride[1],
                          .a = scratch.f32,
                          .a_group = w.shape[1] * k,
                          .a_row = k,
                          .bias = tensor_ok(bias) ? bias.f32 : NULL,
                          .bias_step = tensor_ok(bias) ? bias.stride[0] : 0};
            multiply(&p);
        }
    tensor_touch(x);
    tensor_touch(scratch);
    return true;
}

/* ---- Weights -------------------------------------------------------------------------------------- */

/* Of each group sums[k, outputs] = columns[k, windows] y[windows, outputs], both copied block by block of windows. */
typedef struct weights {
    windows_args x, y;
    int64_t groups, k, outputs, windows;
    int64_t x_group, y_group;
    int64_t block_k, block_outputs, k_blocks, output_blocks;
    float *sums;
} weights;

static void weight_block(const weights *t, int64_t task) {
    const tensor_kernels *kernels = tensor_kernels_get();
    float memory[CONVOLVE_ROOM] __attribute__((aligned(64)));
    const int64_t group = task / t->k_blocks / t->output_blocks;
    windows_args x = t->x, y = t->y;
    x.from = task % t->k_blocks * t->block_k;
    x.to = t->k - x.from < t->block_k ? t->k : x.from + t->block_k;
    y.from = task / t->k_blocks % t->output_blocks * t->block_outputs;
    y.to = t->outputs - y.from < t->block_outputs ? t->outputs : y.from + t->block_outputs;
    x.x += group * t->x_group;
    y.x += group * t->y_group;
    const int64_t k = x.to - x.from, outputs = y.to - y.from;
    int64_t most = CONVOLVE_ROOM / (k + outputs);
    if (most > CONVOLVE_ROWS) most = CONVOLVE_ROWS;
    float *sums = t->sums + (group * t->k + x.from) * t->outputs + y.from;
    for (int64_t begin = 0, n; begin == 0 || begin < t->windows; begin += n) {
        n = t->windows - begin < most ? t->windows - begin : most;
        x.begin = y.begin = begin;
        x.n = y.n = x.out_row = y.out_row = n;
        if (n > 0) kernels->gather_windows(&x, memory);
        if (n > 0) kernels->gather_windows(&y, memory + k * n);
        kernels->gemm(&(gemm_args){.m = k,
                                   .n = outputs,
                                   .k = n,
                                   .a = memory,
                                   .a_row = n,
                                   .a_col = 1,
                                   .b = memory + k * n,
                                   .b_row = 1,
                                   .b_col = n,
                                   .c = sums,
                                   .c_row = t->outputs,
                                   .c_col = 1,
                                   .start = begin > 0 ? sums : NULL,
                                   .start_row = t->outputs,
                                   .start_col = 1});
        if (n <= 0) break;
    }
}

static void weight_blocks(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t task = begin; task < end; task++) weight_block(context, task);
}

/* w [groups outputs, c, i, j] from sums [groups, k, outputs]. */
static bool turn_back(tensor w, tensor sums, const weights *t, tensor_error *err) {
    sums = tensor_slice(tensor_reshape(sums, TENSOR_SHAPE(-1), err), 0, 0, tensor_size(w), 1, err);
    sums = tensor_reshape(sums, TENSOR_SHAPE(t->groups, t->k, t->outputs), err);
    return tensor_copy(tensor_reshape(w, TENSOR_SHAPE(t->groups, t->outputs, t->k), err),
                       tensor_transpose(sums, 1, 2, err), err);
}

bool tensor_convolve_weight(tensor w, tensor y, tensor x, const tensor_windows *windows, tensor scratch,
                            tensor_error *err) {
    if (!check(&y, &x, &w, NULL, 0, windows, &scratch, err)) return false;
    if (tensor_size(w) == 0) return true;
    const tensor_windows o = windows_complete(windows);
    weights t = {
        .x = images(&x, windows_along(&o, 0, &x, w.shape[2], &y), windows_along(&o, 1, &x, w.shape[3], &y)),
        .y = images(&y, windows_elements(&y, 0, 0, 1), windows_elements(&y, 1, 0, 1)),
        .groups = o.groups,
        .k = w.shape[1] * w.shape[2] * w.shape[3],
        .outputs = w.shape[0] / o.groups,
        .windows = y.shape[0] * y.shape[2] * y.shape[3],
        .x_group = w.shape[1] * x.stride[1],
        .y_group = w.shape[0] / o.groups * y.stride[1],
        .sums = scratch.f32};
    const int threads = tensor_is_nested() ? 1 : tensor_threads();
    t.k_blocks = convolve_pieces(t.k, CONVOLVE_ROWS);
    while (t.k_blocks * t.groups < threads && 2 * CONVOLVE_ROWS * t.k_blocks < 8 * t.k) t.k_blocks++;
    t.block_k = convolve_pieces(t.k, t.k_blocks);
    t.k_blocks = convolve_pieces(t.k, t.block_k);
    t.output_blocks = convolve_pieces(t.outputs, CONVOLVE_ROWS);
    t.block_outputs = convolve_pieces(t.outputs, t.output_blocks);
    tensor_parallel(t.groups * t.k_blocks * t.output_blocks,
                    convolve_grain((double)t.block_k * (double)t.block_outputs * (double)t.windows),
                    weight_blocks, &t);
    tensor_touch(scratch);
    return turn_back(w, scratch, &t, err);
}
