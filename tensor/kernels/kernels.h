/* The table of kernels that each instruction set exports. Private to tensor/.
 *
 * Kernels see raw pointers; shapes, strides, broadcasting and threads are the callers' business. `n`
 * counts elements; elementwise kernels are contiguous and accept out == operand. */
#ifndef SAMPO_TENSOR_KERNELS_H
#define SAMPO_TENSOR_KERNELS_H

#include "sampo/tensor.h"

/* C[m, n] = start + A[m, k] B[k, n]. Each element is one chain of fused multiply-adds over ascending p
 * that begins with its `start`: NULL: 0; start == c: accumulate; start_row 0: a row added to all. */
typedef struct gemm_args {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_col; /* strides in elements */
    const float *b;
    int64_t b_row, b_col;
    float *c;
    int64_t c_row, c_col;
    const float *start;
    int64_t start_row, start_col;
} gemm_args;

/* Along one axis of an image: tap t of window p lies at p step + first + t apart. Outside of 0..size-1 is 0. */
typedef struct window_axis {
    int64_t windows, taps;
    int64_t step, first, apart; /* step above 0 */
    int64_t size, stride;       /* of the image */
} window_axis;

/* Windows begin..begin+n-1, counted over images, rows and columns. Each tap of each channel is a row of a matrix: number
 * (channel, tap's row, tap's column); rows from..to-1 of it, out_row apart; what is between n and out_row becomes 0. */
typedef struct windows_args {
    window_axis rows, cols;
    float *x; /* channel 0 of image 0; gather only reads it */
    int64_t image, channel;
    int64_t begin, n, from, to, out_row;
} windows_args;

/* C[rows, window] = start + A[rows, k] B[k, window] for rows of windows of one image: B[p, window] lies offset[p] from the
 * window's first element. A vector's width behind the last window is read, too. Chains as those of gemm_args. */
typedef struct slide_args {
    int64_t rows, k;
    const float *a;
    int64_t a_row; /* its columns are neighbours */
    const float *b;
    const int64_t *offset;
    int64_t window_rows, windows, b_next; /* windows of a row are neighbours in B; rows are b_next apart */
    float *c;                             /* windows of a row are neighbours, too */
    int64_t c_row, c_next;
    const float *bias; /* that chains start with; NULL: they go on from C */
    int64_t bias_step;
} slide_args;

/* Windows over one image that is pooled: out [rows.windows, cols.windows], in elements `out_row` and `out_col` apart. */
typedef struct pool_args {
    window_axis rows, cols;
    const float *x;
    int64_t out_row, out_col;
    float divisor; /* of sums */
} pool_args;

/* One head of attention for one sequence: row strides in elements, columns are contiguous (of the keys: forward any). */
typedef struct attention_args {
    int64_t tq, tk, d; /* queries, keys, head size */
    float scale;
    bool causal;       /* query i is at position i + tk - tq */
    const float *mask; /* [tq, tk] of any strides; NULL: none */
    int64_t mask_row, mask_col;
    bool additive;
    const float *q, *k, *v;
    int64_t q_row, k_row, k_col, v_row;
    float *y; /* forward: written; backward: read */
    int64_t y_row;
    float *stats; /* [tq, 2]; forward: written, NULL: not wanted; backward: read */
    int64_t stats_row, stats_col;
    /* backward only */
    const float *dy;
    int64_t dy_row;
    float *dq, *dk, *dv; /* NULL: not wanted */
    int64_t dq_row, dk_row, dv_row;
    bool add_q, add_k, add_v; /* added to, else overwritten */
} attention_args;

/* n pairs (a, b) -> (a cos - b sign sin, b cos + a sign sin): from one pair to the next `step`, from a to b `apart`. */
typedef struct rotary_args {
    int64_t n;
    float *out; /* may be x */
    const float *x, *cos, *sin;
    int64_t out_step, out_apart, x_step, x_apart, cos_step, sin_step;
    float sign;
} rotary_args;

/* Rows of n logits with their targets; dx (+)= scale (e^(x - lse) - [j == target]). */
typedef struct cross_entropy_args {
    int64_t rows, n;
    const float *scale; /* of row r: scale[r scale_stride] */
    int64_t scale_stride;
    int64_t ignored; /* a target whose rows have a scale of 0 */
    bool accumulate;
    const float *lse, *x;
    int64_t x_row;
    const int32_t *targets;
    int64_t targets_stride;
    float *dx;
    int64_t dx_row;
} cross_entropy_args;

/* C[m, n] = start + X[m, k] W with W in the order that compact.h states; start [n] or NULL: 0. */
enum {
    COMPACT_BLOCK = 32,                               /* steps that share a scale */
    COMPACT_BLOCK_BYTES = COMPACT_BLOCK * 16 + 2 * 16 /* of 16 columns, with their scales */
};
typedef struct compact_args {
    int64_t m, n, k;
    const void *w;
    int64_t panel;  /* bytes of 16 columns */
    const float *x; /* bfloat16: the rows */
    int64_t x_row;
    int64_t blocks; /* 8 bits: the rows as compact_round makes them, [m, blocks, 32] and [m, blocks] */
    const int16_t *rounded;
    const float *scales;
    float *c;
    int64_t c_row;
    const float *start;
} compact_args;

/* Rows whose sum is taken in float, before double takes over. */
enum { SUM_ROWS = 16 };

/* Rows of a norm's gradient, with their mean and rstd. */
typedef struct norm_rows {
    int64_t rows;
    const float *dy[SUM_ROWS], *x[SUM_ROWS];
    float *dx[SUM_ROWS]; /* norm_vjp_rows alone */
    bool far;            /* in no near cache, so that rows are best read one by one */
    float stats[SUM_ROWS][2];
} norm_rows;
enum { NORM_COLUMNS = 1024 }; /* that norm_vjp_rows takes at most */

/* Elements of a row that are summed in float, before double takes over: what drivers hand to a kernel in pieces of this
 * size has the same bits as whole rows. */
enum { REDUCE_BLOCK = 1024 };

typedef void unary_kernel(int64_t n, float *out, const float *x);
/* The elements of a and of b are 1 apart or 0. */
typedef void binary_kernel(int64_t n, float *out, const float *a, int64_t a_step, const float *b,
                           int64_t b_step);

typedef void parametric_kernel(int64_t n, float *out, const float *x, const float *y, float a, float b);

/* out[r] of row r of `rows`, x_row elements apart. */
typedef void rows_kernel(int64_t rows, int64_t n, float *out, const float *x, int64_t x_row);

/* total[j] = op(total[j], x[r, j]) row by row, to the bits of binary[op]: for few columns. */
typedef void fold_rows_kernel(int64_t n, float *total, int64_t rows, const float *x, int64_t x_row);

static inline float reduce_one(rows_kernel *kernel, int64_t n, const float *x) {
    float out;
    kernel(1, n, &out, x, n);
    return out;
}

typedef struct tensor_kernels {
    const char *name;

    /* elementwise.h */
    unary_kernel *unary[TENSOR_UNARY_COUNT];
    binary_kernel *binary[TENSOR_BINARY_COUNT];
    parametric_kernel *parametric[TENSOR_PARAMETRIC_COUNT]; /* y: NULL where the operation has one operand */
    void (*where)(int64_t n, float *out, const float *cond, const float *a, const float *b);

    /* copy.h, words of any meaning: out[i] = x[0]; out[i, j] = x[j, i] */
    void (*fill)(int64_t n, float *out, const float *x);
    void (*transpose)(int64_t rows, int64_t cols, float *out, int64_t out_row, const float *x, int64_t x_row);

    /* random.h: the four words of each of `blocks` counters from `counter` on; kept where a word is not below `dropped`,
     * else 0 */
    void (*philox)(int64_t blocks, uint32_t *words, uint64_t seed, uint64_t stream, uint64_t counter);
    void (*dropout)(int64_t n, float *out, const uint32_t *words, uint32_t dropped, float kept);

    /* reduce.h: rows of n contiguous elements */
    rows_kernel *sum;     /* 16 lanes, blocks of REDUCE_BLOCK added in double */
    rows_kernel *max;     /* n >= 1; NaN if any is */
    rows_kernel *min;     /* likewise */
    rows_kernel *product; /* 16 lanes */
    float (*dot)(int64_t n, const float *a, const float *b); /* as sum */
    double (*sum_squares)(int64_t n, const float *x);        /* in double */
    /* total[j] += row[0][j] + row[1][j] + ...: 1 to SUM_ROWS rows, added in float in this order */
    void (*add_rows)(int64_t n, double *total, int64_t rows, const float *const row[]);
    fold_rows_kernel *fold_max, *fold_min, *fold_product;
    /* out[j] += total[j], which becomes 0 */
    void (*take_totals)(int64_t n, float *out, double *total);

    /* softmax.h: rows of n contiguous elements, n >= 1 */
    void (*softmax)(int64_t n, float *out, const float *x);
    void (*log_softmax)(int64_t n, float *out, const float *x);
    void (*log_sum_exp)(int64_t rows, int64_t n, float *out, const float *x, int64_t x_row);
    /* dx (+)= y (dy - share), where share = sum dy y, and dx (+)= dy - e^y share, where share = sum dy */
    void (*softmax_vjp)(int64_t n, float *dx, const float *dy, const float *y, float share, bool accumulate);
    void (*log_softmax_vjp)(int64_t n, float *dx, const float *dy, const float *y, float share,
                            bool accumulate);
    void (*cross_entropy_vjp)(const cross_entropy_args *args);

    /* norm.h: one row of n; w, b may be NULL; stats = {mean, rstd}; not centred: RMS norm */
    void (*norm)(int64_t n, float *y, float stats[2], const float *x, const float *w, const float *b,
                 float eps, bool centred);
    void (*norm_vjp)(int64_t n, float *dx, const float stats[2], const float *dy, const float *x,
                     const float *w, bool centred, bool accumulate);
    /* dw += sum of dy (x - mean) rstd over the rows, db += sum of dy, as add_rows */
    void (*add_norm_rows)(int64_t n, double *dw, double *db, const norm_rows *rows);
    /* norm_vjp of each row, and add_norm_rows */
    void (*norm_vjp_rows)(int64_t n, double *dw, double *db, const norm_rows *rows, const float *w,
                          bool centred, bool accumulate);

    /* rows of n of channels, x^ = (x - mean) rstd: mean and sum of squares around it, n > 0; x^ w + b; sums of dy and
     * dy x^; dx (+)= rstd (w dy - means[0] - x^ means[1]) */
    void (*norm_moments)(int64_t n, const float *x, double moments[2]);
    void (*norm_scale)(int64_t n, float *y, const float stats[2], const float *x, float w, float b);
    void (*norm_sums)(int64_t n, const float stats[2], const float *dy, const float *x, double sums[2]);
    void (*norm_scale_vjp)(int64_t n, float *dx, const float stats[2], const float *dy, const float *x,
                           float w, const float means[2], bool accumulate);
    /* columns.h: the same of channels as n columns: sums over 1 to SUM_ROWS rows, as add_rows, of x - centre and of its
     * square, and of dy x^ and dy; then one row */
    void (*add_column_squares)(int64_t n, double *sum, double *squares, int64_t rows, const float *x,
                               int64_t x_row, const float *centre);
    void (*add_column_dots)(int64_t n, double *dot, double *sum, int64_t rows, const float *dy,
                            const float *x, int64_t row, const float *mean, const float *rstd);
    void (*norm_columns)(int64_t n, float *y, const float *x, const float *mean, const float *rstd,
                         const float *w, const float *b);
    void (*norm_columns_vjp)(int64_t n, float *dx, const float *dy, const float *x, const float *mean,
                             const float *rstd, const float *w, const float *mean_g, const float *mean_dot,
                             bool accumulate);

    /* gemm.h (with gemv.h), gemm_bf16.h (A and B rounded to bfloat16), compact.h,
     * attention.h */
    void (*gemm)(const gemm_args *args);
    void (*gemm_bf16)(const gemm_args *args);
    void (*compact_bf16)(const compact_args *args);
    void (*compact_int8)(const compact_args *args);
    void (*compact_round)(int64_t n, int16_t *q, float *scale, const float *x); /* q: whole blocks */
    void (*attention)(const attention_args *args);
    void (*attention_vjp)(const attention_args *args);

    /* windows.h */
    void (*gather_windows)(const windows_args *args, float *out);
    void (*scatter_windows)(const windows_args *args, const float *from);

    /* slide.h */
    void (*slide)(const slide_args *args);
    int64_t slide_width; /* windows that are computed together: a row of them is rounded up to these */

    /* pool.h: sums, taps in runs of 16 along columns, then along rows, added in double; and where the first of the
     * largest lies, row cols.size + column: each window shows an element */
    void (*pool_sums)(const pool_args *args, float *out);
    void (*pool_shares)(const pool_args *args, float *out); /* x: results; out: the image */
    void (*pool_largest)(const pool_args *args, int32_t *out);

    /* rotary.h */
    void (*rotary)(const rotary_args *args);

    /* optim.h */
    /* p and as many states as the rule has are read and written. */
    void (*update[TENSOR_UPDATE_COUNT])(int64_t n, float *p, float *a, float *b, const float *g,
                                        const tensor_update_step *step);
} tensor_kernels;

/* gemm_bf16 by AVX512_BF16's own instruction, where the processor has it; its other kernels are those of AVX-512. */
void tensor_gemm_avx512bf16(const gemm_args *args);

/* The table in use; chosen once. */
const tensor_kernels *tensor_kernels_get(void);

#endif
