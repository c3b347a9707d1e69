/* Elementwise operations: shapes, broadcasting and threads around kernels that see contiguous memory. */

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 32768, /* elements a thread takes at least */
    STAGE = 256,   /* elements of a strided operand copied to the stack at a time */
    SHORT = 64,    /* runs up to this length share a call of the kernel */
    COPIES = 32    /* unless more elements of each than these must be copied for it */
};

#define NAME_ENTRY(name, text) text,
const char *tensor_unary_name(tensor_unary_op op) {
    static const char *const names[] = {TENSOR_UNARY_OPS(NAME_ENTRY)};
    return op < TENSOR_UNARY_COUNT ? names[op] : "unknown";
}
const char *tensor_binary_name(tensor_binary_op op) {
    static const char *const names[] = {TENSOR_BINARY_OPS(NAME_ENTRY)};
    return op < TENSOR_BINARY_COUNT ? names[op] : "unknown";
}

#define PARAMETRIC_NAME(name, text, operands) text,
const char *tensor_parametric_name(tensor_parametric_op op) {
    static const char *const names[] = {TENSOR_PARAMETRIC_OPS(PARAMETRIC_NAME)};
    return op < TENSOR_PARAMETRIC_COUNT ? names[op] : "unknown";
}

/* One elementwise operation: `apply` calls its kernel on n contiguous elements of at[0] (the result) and
 * of the operands at[1], ...; a binary kernel also takes operands that repeat one element, whose step is 0. */
typedef struct job job;
struct job {
    void (*apply)(const job *t, int64_t n, void *const at[], const int64_t step[]);
    unary_kernel *unary;
    binary_kernel *binary;
    parametric_kernel *parametric;
    float a, b;
    const tensor_loop *loop;
};

static void load_strided(float *to, const float *from, int64_t stride, int64_t n) {
    if (stride == 0) {
        tensor_kernels_get()->fill(n, to, from);
        return;
    }
    for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];
}

/* Whether the kernel takes operand k as it is. */
static bool fits(const job *t, int k) {
    const int64_t stride = t->loop->inner_stride[k];
    return stride == 1 || (stride == 0 && k > 0 && t->binary);
}

/* One run in which some operand does not fit: through the stack, a piece at a time. An operand that
 * repeats one element is spread out once. */
static void apply_staged(const job *t, const tensor_run *run) {
    _Alignas(64) float stage[TENSOR_LOOP_OPERANDS][STAGE]; /* vectors in one cache line each */
    void *at[TENSOR_LOOP_OPERANDS];
    const int64_t *stride = t->loop->inner_stride;
    int64_t step[TENSOR_LOOP_OPERANDS];
    for (int k = 0; k < t->loop->operands; k++) step[k] = fits(t, k) ? stride[k] : 1;
    for (int64_t i = 0; i < run->n; i += STAGE) {
        const int64_t n = run->n - i < STAGE ? run->n - i : STAGE;
        for (int k = 0; k < t->loop->operands; k++) {
            float *from = (float *)run->at[k] + i * stride[k];
            at[k] = fits(t, k) ? from : stage[k];
            if (k > 0 && !fits(t, k) && (stride[k] != 0 || i == 0)) load_strided(at[k], from, stride[k], n);
        }
        t->apply(t, n, at, step);
        float *out = (float *)run->at[0] + i * stride[0];
        if (stride[0] != 1)
            for (int64_t j = 0; j < n; j++) out[j * stride[0]] = stage[0][j];
    }
}

static void apply_runs(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *t = context;
    bool all_fit = true;
    for (int k = 0; k < t->loop->operands; k++) all_fit &= fits(t, k);
    tensor_run run = tensor_loop_runs(t->loop, begin, end);
    while (tensor_run_next(&run)) {
        if (all_fit)
            t->apply(t, run.n, run.at, t->loop->inner_stride);
        else
            apply_staged(t, &run);
    }
}

/* Whether a call for each run would take longer than to bring many together. */
static bool is_short(const tensor_loop *loop) {
    int64_t copies = 0;
    for (int k = 0; loop->outer_rank > 0 && k < loop->operands; k++) {
        const int64_t next = loop->outer_stride[loop->outer_rank - 1][k];
        if (next != 0 && (next != loop->inner || loop->inner_stride[k] != 1)) copies += loop->inner;
    }
    return loop->outer_rank > 0 && loop->inner <= SHORT && copies <= COPIES;
}

/* A run of `rows`, each of which is a short run of the loop: as many as the stage holds at a time. Operands whose rows
 * follow each other are taken as they are; one whose rows are the same is spread out once. */
static void apply_short(const job *t, const tensor_loop *rows, const tensor_run *run) {
    static const int64_t step[TENSOR_LOOP_OPERANDS] = {1, 1, 1, 1};
    _Alignas(64) float stage[TENSOR_LOOP_OPERANDS][STAGE];
    void *at[TENSOR_LOOP_OPERANDS];
    const int64_t columns = t->loop->inner, together = STAGE / columns, dense[] = {columns, 1};
    for (int64_t i = 0; i < run->n; i += together) {
        const int64_t count = run->n - i < together ? run->n - i : together;
        for (int k = t->loop->operands - 1; k >= 0; k--) {
            const int64_t stride[] = {rows->inner_stride[k], t->loop->inner_stride[k]};
            float *from = (float *)run->at[k] + i * stride[0];
            const bool whole = stride[0] == dense[0] && stride[1] == dense[1];
            at[k] = whole ? from : stage[k];
            if (k > 0 && !whole && (stride[0] != 0 || i == 0))
                tensor_copy_short(count, columns, at[k], dense, from, stride);
            if (k > 0) continue;
            t->apply(t, count * columns, at, step);
            if (!whole) tensor_copy_short(count, columns, from, stride, at[k], dense);
        }
    }
}

static void apply_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const job *t = context;
    const tensor_loop rows = tensor_loop_rows(t->loop);
    tensor_run run = tensor_loop_runs(&rows, begin, end);
    while (tensor_run_next(&run)) apply_short(t, &rows, &run);
}

/* Whether x is of the result's shape but for leading axes of size 1. */
static bool same_elements(const tensor *out, const tensor *x) {
    const int more = out->rank - x->rank;
    if (more < 0) return false;
    for (int i = 0; i < more; i++)
        if (out->shape[i] != 1) return false;
    return tensor_equal_sizes(x->rank, x->shape, x->rank, out->shape + more);
}

/* Small operands of the same elements without gaps need no loop: the kernel itself. */
static bool run_small(const job *t, int operands, const tensor *const x[]) {
    static const int64_t step[TENSOR_LOOP_OPERANDS] = {1, 1, 1, 1};
    void *at[TENSOR_LOOP_OPERANDS];
    int64_t n = 1;
    int rank = 0; /* that the operands give the result */
    for (int i = 0; i < x[0]->rank; i++) n *= x[0]->shape[i];
    if (n > GRAIN) return false;
    for (int k = 0; k < operands; k++) {
        if (!same_elements(x[0], x[k]) || !tensor_dense(x[k])) return false;
        if (k > 0 && x[k]->rank > rank) rank = x[k]->rank;
        at[k] = x[k]->f32;
    }
    if (rank < x[0]->rank) return false;
    t->apply(t, n, at, step);
    tensor_touch(*x[0]);
    return true;
}

/* Checks the operands x[1..], expands them to x[0], the result, and runs the job. */
static bool run_job(const char *what, job *t, int operands, const tensor *const given[],
                    const char *const names[], tensor_error *err) {
    for (int k = 0; k < operands; k++)
        if (!given[k]->storage || given[k]->dtype != TENSOR_F32)
            return tensor_unexpected(what, names[k], given[k], TENSOR_F32, err);
    if (run_small(t, operands, given)) return true;
    tensor x[TENSOR_LOOP_OPERANDS], common = *given[1];
    for (int k = 0; k < operands; k++) x[k] = *given[k];
    for (int k = 2; k < operands; k++)
        if (!tensor_broadcast_shape(what, common, x[k], &common.rank, common.shape, err)) return false;
    if (!tensor_expect_shape(what, "out", &x[0], common.rank, common.shape, err)) return false;
    for (int k = 1; k < operands; k++) x[k] = tensor_expand(x[k], x[0].rank, x[0].shape, err);
    tensor_loop loop;
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, operands, x);
    t->loop = &loop;
    if (is_short(&loop))
        tensor_parallel(loop.size / loop.inner, GRAIN / loop.inner, apply_rows, t);
    else
        tensor_parallel(loop.size, GRAIN, apply_runs, t);
    tensor_touch(x[0]);
    return true;
}

static void apply_unary(const job *t, int64_t n, void *const at[], const int64_t step[]) {
    (void)step;
    t->unary(n, at[0], at[1]);
}
static void apply_binary(const job *t, int64_t n, void *const at[], const int64_t step[]) {
    t->binary(n, at[0], at[1], step[1], at[2], step[2]);
}
static void apply_parametric(const job *t, int64_t n, void *const at[], const int64_t step[]) {
    (void)step;
    t->parametric(n, at[0], at[1], NULL, t->a, t->b);
}
static void apply_parametric_binary(const job *t, int64_t n, void *const at[], const int64_t step[]) {
    (void)step;
    t->parametric(n, at[0], at[1], at[2], t->a, t->b);
}
static void apply_where(const job *t, int64_t n, void *const at[], const int64_t step[]) {
    (void)step;
    (void)t;
    tensor_kernels_get()->where(n, at[0], at[1], at[2], at[3]);
}

bool tensor_unary(tensor out, tensor_unary_op op, tensor x, tensor_error *err) {
    if (op >= TENSOR_UNARY_COUNT) return tensor_fail(err, "unary: there is no operation %d", (int)op);
    job t = {.apply = apply_unary, .unary = tensor_kernels_get()->unary[op]};
    return run_job(tensor_unary_name(op), &t, 2, (const tensor *[]){&out, &x}, (const char *[]){"out", "x"},
                   err);
}

bool tensor_binary(tensor out, tensor_binary_op op, tensor a, tensor b, tensor_error *err) {
    if (op >= TENSOR_BINARY_COUNT) return tensor_fail(err, "binary: there is no operation %d", (int)op);
    job t = {.apply = apply_binary, .binary = tensor_kernels_get()->binary[op]};
    return run_job(tensor_binary_name(op), &t, 3, (const tensor *[]){&out, &a, &b},
                   (const char *[]){"out", "a", "b"}, err);
}

#define OPERANDS(name, text, operands) operands,

bool tensor_parametric(tensor out, tensor_parametric_op op, tensor x, tensor y, float a, float b,
                       tensor_error *err) {
    static const int operands[] = {TENSOR_PARAMETRIC_OPS(OPERANDS)};
    if (op >= TENSOR_PARAMETRIC_COUNT)
        return tensor_fail(err, "parametric: there is no operation %d", (int)op);
    const bool two = operands[op] == 2;
    job t = {.apply = two ? apply_parametric_binary : apply_parametric,
             .parametric = tensor_kernels_get()->parametric[op],
             .a = a,
             .b = b};
    return run_job(tensor_parametric_name(op), &t, two ? 3 : 2, (const tensor *[]){&out, &x, &y},
                   (const char *[]){"out", "x", "y"}, err);
}

bool tensor_affine(tensor out, float a, tensor x, float b, tensor_error *err) {
    return tensor_parametric(out, TENSOR_AFFINE, x, (tensor){0}, a, b, err);
}

bool tensor_axpy(tensor y, float a, tensor x, tensor_error *err) {
    return tensor_parametric(y, TENSOR_AXPY, x, y, a, 0, err);
}

bool tensor_where(tensor out, tensor cond, tensor a, tensor b, tensor_error *err) {
    job t = {.apply = apply_where};
    return run_job("where", &t, 4, (const tensor *[]){&out, &cond, &a, &b},
                   (const char *[]){"out", "cond", "a", "b"}, err);
}
