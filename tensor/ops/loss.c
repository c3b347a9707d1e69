/* Softmax cross-entropy with integer targets. */
#include "tensor/kernels/kernels.h"
#include "tensor/ops/softmax_internal.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 8192, STAGE = 256 };
#define NONE INT64_MIN

/* The rows of the logits with their targets, in row-major order; row r has lse[r lse_stride]. */
typedef struct loss_job {
    tensor_loop rows; /* targets, logits, and dlogits in the vjp */
    int64_t n, stride, d_stride;
    float *lse;
    int64_t lse_stride;
    const float *scale; /* of row r: scale[r scale_stride] */
    int64_t scale_stride;
    int64_t ignored; /* a target; NONE: no one */
    bool accumulate;
} loss_job;

static tensor without_last_axis(tensor x) {
    x.rank--;
    return x;
}

static bool check_targets(const loss_job *t, tensor_error *err) {
    int64_t row = 0;
    tensor_run run = tensor_loop_runs(&t->rows, 0, t->rows.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, row++) {
            const int32_t target = ((const int32_t *)run.at[0])[i * t->rows.inner_stride[0]];
            if ((target < 0 || target >= t->n) && target != t->ignored)
                return tensor_fail(err, "cross_entropy: target %d of row %lld is outside 0..%lld",
                                   (int)target, (long long)row, (long long)t->n - 1);
        }
    return true;
}

static bool loss_init(loss_job *t, int64_t ignored, tensor lse, tensor logits, tensor targets, tensor dlogits,
                      tensor_error *err) {
    const char *what = "cross_entropy";
    if (!tensor_expect(what, "lse", &lse, TENSOR_F32, err) ||
        !tensor_expect(what, "logits", &logits, TENSOR_F32, err) ||
        !tensor_expect(what, "targets", &targets, TENSOR_I32, err))
        return false;
    if (logits.rank == 0) return tensor_fail(err, "cross_entropy: logits have no axis of classes");
    const int last = logits.rank - 1;
    if (!tensor_expect_shape(what, "targets", &targets, last, logits.shape, err) ||
        !tensor_expect_shape(what, "lse", &lse, 1, (int64_t[]){tensor_size(targets)}, err))
        return false;
    *t = (loss_job){.n = logits.shape[last],
                    .stride = logits.stride[last],
                    .lse = lse.f32,
                    .lse_stride = lse.stride[0],
                    .ignored = ignored};
    const bool vjp = tensor_ok(dlogits);
    if (vjp) t->d_stride = dlogits.stride[last];
    tensor_loop_init(
        &t->rows, TENSOR_ROW_MAJOR, vjp ? 3 : 2,
        (tensor[]){targets, without_last_axis(logits), without_last_axis(vjp ? dlogits : logits)});
    return check_targets(t, err);
}

static void lse_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const loss_job *t = context;
    float *lse = t->lse + begin * t->lse_stride;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        if (t->stride == 1 && t->lse_stride == 1) {
            tensor_kernels_get()->log_sum_exp(run.n, t->n, lse, run.at[1], t->rows.inner_stride[1]);
            lse += run.n;
        } else {
            for (int64_t i = 0; i < run.n; i++, lse += t->lse_stride)
                *lse = tensor_row_log_sum_exp(t->n, (const float *)run.at[1] + i * t->rows.inner_stride[1],
                                              t->stride);
        }
}

/* Each row's loss into losses[r stride], unless that is NULL; and their sum. */
static double row_losses(const loss_job *t, float *losses, int64_t stride) {
    double total = 0;
    const float *log_sum = t->lse;
    tensor_run run = tensor_loop_runs(&t->rows, 0, t->rows.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, log_sum += t->lse_stride) {
            const int32_t target = ((const int32_t *)run.at[0])[i * t->rows.inner_stride[0]];
            const float *x = (const float *)run.at[1] + i * t->rows.inner_stride[1];
            const bool counts = target != t->ignored;
            const double loss = counts ? (double)*log_sum - (double)x[target * t->stride] : 0;
            if (losses) *losses = (float)loss, losses += stride;
            total += loss;
        }
    return total;
}

bool tensor_cross_entropy(tensor loss, tensor lse, tensor logits, tensor targets, tensor_error *err) {
    loss_job t;
    if (!tensor_expect("cross_entropy", "loss", &loss, TENSOR_F32, err) ||
        !tensor_expect_shape("cross_entropy", "loss", &loss, 0, NULL, err) ||
        !loss_init(&t, NONE, lse, logits, targets, (tensor){0}, err))
        return false;
    tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, lse_rows, &t);
    *loss.f32 = (float)(row_losses(&t, NULL, 0) / (double)t.rows.size);
    tensor_touch(loss);
    tensor_touch(lse);
    return true;
}

bool tensor_cross_entropy_rows(tensor losses, tensor lse, tensor logits, tensor targets, int32_t ignored,
                               tensor_error *err) {
    loss_job t;
    if (!tensor_expect("cross_entropy", "losses", &losses, TENSOR_F32, err) ||
        !loss_init(&t, ignored, lse, logits, targets, (tensor){0}, err) ||
        !tensor_expect_shape("cross_entropy", "losses", &losses, targets.rank, targets.shape, err))
        return false;
    if (!tensor_is_contiguous(losses)) return tensor_fail(err, "cross_entropy: losses have gaps");
    tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, lse_rows, &t);
    row_losses(&t, losses.f32, 1);
    tensor_touch(losses);
    tensor_touch(lse);
    return true;
}

/* A row with any strides, in pieces: a target outside a piece is not in it. */
static void vjp_strided(const loss_job *t, float *dx, float scale, float lse, const float *x,
                        int32_t target) {
    if (target == t->ignored) scale = 0;
    float x_stage[STAGE], d_stage[STAGE];
    for (int64_t i = 0; i < t->n; i += STAGE, target -= STAGE) {
        const int64_t n = t->n - i < STAGE ? t->n - i : STAGE;
        for (int64_t j = 0; j < n; j++) {
            x_stage[j] = x[(i + j) * t->stride];
            d_stage[j] = dx[(i + j) * t->d_stride];
        }
        tensor_kernels_get()->cross_entropy_vjp(&(cross_entropy_args){.rows = 1,
                                                                      .n = n,
                                                                      .scale = &scale,
                                                                      .ignored = NONE,
                                                                      .accumulate = t->accumulate,
                                                                      .lse = &lse,
                                                                      .x = x_stage,
                                                                      .targets = &target,
                                                                      .dx = d_stage});
        for (int64_t j = 0; j < n; j++) dx[(i + j) * t->d_stride] = d_stage[j];
    }
}

static void vjp_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const loss_job *t = context;
    const int64_t *stride = t->rows.inner_stride;
    const float *lse = t->lse + begin * t->lse_stride, *scale = t->scale + begin * t->scale_stride;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run)) {
        cross_entropy_args args = {.rows = run.n,
                                   .n = t->n,
                                   .scale = scale,
                                   .scale_stride = t->scale_stride,
                                   .ignored = t->ignored,
                                   .accumulate = t->accumulate,
                                   .lse = lse,
                                   .x = run.at[1],
                                   .x_row = stride[1],
                                   .targets = run.at[0],
                                   .targets_stride = stride[0],
                                   .dx = run.at[2],
                                   .dx_row = stride[2]};
        if (t->stride == 1 && t->d_stride == 1 && t->lse_stride == 1)
            tensor_kernels_get()->cross_entropy_vjp(&args);
        else
            for (int64_t i = 0; i < run.n; i++)
                vjp_strided(t, args.dx + i * stride[2], scale[i * t->scale_stride], lse[i * t->lse_stride],
                            args.x + i * stride[1], args.targets[i * stride[0]]);
        lse += run.n * t->lse_stride;
        scale += run.n * t->scale_stride;
    }
}

static bool vjp(loss_job t, tensor dlogits, tensor lse, tensor logits, tensor targets, tensor_error *err) {
    const loss_job given = t;
    if (!tensor_expect("cross_entropy", "dlogits", &dlogits, TENSOR_F32, err)) return false;
    if (tensor_ok(logits) &&
        !tensor_expect_shape("cross_entropy", "dlogits", &dlogits, logits.rank, logits.shape, err))
        return false;
    if (!loss_init(&t, given.ignored, lse, logits, targets, dlogits, err)) return false;
    t.scale = given.scale;
    t.scale_stride = given.scale_stride;
    t.accumulate = given.accumulate;
    tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, vjp_rows, &t);
    tensor_touch(dlogits);
    return true;
}

bool tensor_cross_entropy_vjp(tensor dlogits, float scale, tensor lse, tensor logits, tensor targets,
                              bool accumulate, tensor_error *err) {
    const loss_job t = {.scale = &scale, .ignored = NONE, .accumulate = accumulate};
    return vjp(t, dlogits, lse, logits, targets, err);
}

bool tensor_cross_entropy_rows_vjp(tensor dlogits, tensor scales, tensor lse, tensor logits, tensor targets,
                                   int32_t ignored, bool accumulate, tensor_error *err) {
    if (!tensor_expect("cross_entropy", "scales", &scales, TENSOR_F32, err) ||
        !tensor_expect_shape("cross_entropy", "scales", &scales, targets.rank, targets.shape, err))
        return false;
    if (!tensor_is_contiguous(scales)) return tensor_fail(err, "cross_entropy: scales have gaps");
    const loss_job t = {.scale = scales.f32, .scale_stride = 1, .ignored = ignored, .accumulate = accumulate};
    return vjp(t, dlogits, lse, logits, targets, err);
}
