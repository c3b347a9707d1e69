/* Rotary positions: the table of angles, and rows turned by them. */
#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 }; /* elements a thread takes at least */

/* ---- The table: double, and nothing but correctly rounded operations in a fixed order ---------- */

enum { POWER_BITS = 60 };

/* roots[k] = base^(2^-(k + 1)). */
static void square_roots(double roots[POWER_BITS], double base) {
    for (int k = 0; k < POWER_BITS; k++) roots[k] = base = sqrt(base);
}

/* base^e for e in [0, 1): the roots that e's binary digits name. */
static double power(const double roots[POWER_BITS], double e) {
    double x = 1;
    for (int k = 0; k < POWER_BITS && e > 0; k++) {
        e += e;
        if (e >= 1) x *= roots[k], e -= 1;
    }
    return x;
}

/* Cosine and sine by their Taylor series behind x = r + n pi/2, |r| <= pi/4. The first two parts of pi/2 have 33 bits
 * each, so that their products with n are exact up to a million. */
static void turn(double x, float *cos, float *sin) {
    const double magic = 0x1.8p52, n = (x * 0x1.45f306dc9c883p-1 + magic) - magic;
    const double r = ((x - n * 0x1.921fb544p0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69, u = r * r;
    double s = 0, c = 0;
    for (int k = 17; k >= 3; k -= 2) s = (1 - s) * (u * (1.0 / (k * (k - 1))));
    for (int k = 16; k >= 2; k -= 2) c = (1 - c) * (u * (1.0 / (k * (k - 1))));
    s = r * (1 - s), c = 1 - c;
    const int quarter = (int)(n - 4 * floor(n * 0.25));
    const double swapped = quarter % 2 ? c : s, other = quarter % 2 ? s : c;
    *sin = (float)(quarter >= 2 ? -swapped : swapped);
    *cos = (float)(quarter == 1 || quarter == 2 ? -other : other);
}

typedef struct table_job {
    tensor cos, sin;
    double first, roots[POWER_BITS];
} table_job;

static void table_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const table_job *t = context;
    const int64_t *shape = t->cos.shape, *cos = t->cos.stride, *sin = t->sin.stride;
    for (int64_t i = begin; i < end; i++) {
        const double frequency = 1 / power(t->roots, (double)i / (double)shape[1]);
        for (int64_t row = 0; row < shape[0]; row++)
            turn((t->first + (double)row) * frequency, t->cos.f32 + row * cos[0] + i * cos[1],
                 t->sin.f32 + row * sin[0] + i * sin[1]);
    }
}

bool tensor_rotary_table(tensor cos, tensor sin, int64_t first, double base, tensor_error *err) {
    const char *what = "rotary_table";
    if (!tensor_expect(what, "cos", &cos, TENSOR_F32, err) ||
        !tensor_expect(what, "sin", &sin, TENSOR_F32, err))
        return false;
    if (cos.rank != 2) return tensor_fail(err, "%s: cos has rank %d, expected [T, D/2]", what, cos.rank);
    if (!tensor_expect_shape(what, "sin", &sin, 2, cos.shape, err)) return false;
    if (!(base >= 1) || isinf(base))
        return tensor_fail(err, "%s: the base must be 1 or more and finite, not %g", what, base);
    table_job t = {.cos = cos, .sin = sin, .first = (double)first};
    square_roots(t.roots, base);
    tensor_parallel(tensor_size(cos) > 0 ? cos.shape[1] : 0, GRAIN / 16 / (cos.shape[0] + 1) + 1,
                    table_columns, &t);
    tensor_touch(cos);
    tensor_touch(sin);
    return true;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

typedef struct rotary_job {
    tensor_loop rows; /* first elements of out, x, cos, sin */
    rotary_args args; /* what all rows share */
} rotary_job;

static void rotary_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const rotary_job *t = context;
    const int64_t *stride = t->rows.inner_stride;
    rotary_args args = t->args;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++) {
            args.out = (float *)run.at[0] + i * stride[0];
            args.x = (float *)run.at[1] + i * stride[1];
            args.cos = (float *)run.at[2] + i * stride[2];
            args.sin = (float *)run.at[3] + i * stride[3];
            tensor_kernels_get()->rotary(&args);
        }
}

static tensor row_starts(tensor x) {
    x.rank--;
    return x;
}

/* The first elements of a table's rows, for each row of x. */
static tensor table_starts(tensor table, tensor x) {
    return tensor_expand(row_starts(table), x.rank - 1, x.shape, NULL);
}

bool tensor_rotary(tensor out, tensor x, tensor cos, tensor sin, bool interleaved, bool inverse,
                   tensor_error *err) {
    const char *what = "rotary";
    if (!tensor_expect(what, "x", &x, TENSOR_F32, err) ||
        !tensor_expect(what, "out", &out, TENSOR_F32, err) ||
        !tensor_expect(what, "cos", &cos, TENSOR_F32, err) ||
        !tensor_expect(what, "sin", &sin, TENSOR_F32, err) ||
        !tensor_expect_shape(what, "out", &out, x.rank, x.shape, err))
        return false;
    if (x.rank < 2) return tensor_fail(err, "%s: x has rank %d, expected [..., T, D]", what, x.rank);
    const int last = x.rank - 1;
    if (x.shape[last] % 2)
        return tensor_fail(err, "%s: a width of %lld has no pairs", what, (long long)x.shape[last]);
    const int64_t pairs = x.shape[last] / 2, table[] = {x.shape[last - 1], pairs};
    if (!tensor_expect_shape(what, "cos", &cos, 2, table, err) ||
        !tensor_expect_shape(what, "sin", &sin, 2, table, err))
        return false;
    const int64_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : pairs;
    if (pairs == 0) return true; /* however many rows */
    rotary_job t = {.args = {.n = pairs,
                             .out_step = step * out.stride[last],
                             .out_apart = apart * out.stride[last],
                             .x_step = step * x.stride[last],
                             .x_apart = apart * x.stride[last],
                             .cos_step = cos.stride[1],
                             .sin_step = sin.stride[1],
                             .sign = inverse ? -1 : 1}};
    tensor_loop_init(&t.rows, TENSOR_ANY_ORDER, 4,
                     (tensor[]){row_starts(out), row_starts(x), table_starts(cos, x), table_starts(sin, x)});
    tensor_parallel(t.rows.size, GRAIN / (x.shape[last] + 1) + 1, rotary_rows, &t);
    tensor_touch(out);
    return true;
}
