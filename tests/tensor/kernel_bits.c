/* Prints one line for the kernels it is linked with: a hash over the results of all of them. Built at several levels of
 * optimisation by test_kernel_bits.sh, with the kernels of SAMPO_ISA and with the product of AVX512_BF16, whose bits are
 * those of the other kernels' product; without SAMPO_ISA, for the table that the library has and has chosen. */
#include <stdio.h>
#include <string.h>

#include "tensor/kernels/kernels.h"

#ifdef SAMPO_ISA
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
extern const tensor_kernels PASTE(tensor_kernels_, SAMPO_ISA);
#endif
static const tensor_kernels *kernels;

typedef void product(const gemm_args *args);

enum { N = 20003, ROW = 1300 }; /* more than a block, and no whole vectors */
static float x[N], y[N], z[N], out[N];
static uint64_t hash = 14695981039346656037u;

/* NaN's sign and payload are the compiler's choice of an operand. */
static void add(const void *results, size_t floats) {
    const float *f = results;
    for (size_t i = 0; i < floats; i++) {
        uint32_t bits = 0x7fc00000;
        if (f[i] == f[i]) memcpy(&bits, &f[i], sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
}

static void fill(float *to, uint64_t seed, float low, float high) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < N; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        to[i] = low + (high - low) * ((float)(state >> 40) * 0x1p-24f);
    }
}

static void elementwise(float low, float high) {
    fill(x, 1, low, high);
    fill(y, 2, low, high);
    for (int op = 0; op < TENSOR_UNARY_COUNT; op++) kernels->unary[op](N, out, x), add(out, N);
    for (int op = 0; op < TENSOR_BINARY_COUNT; op++)
        for (int step = 0; step < 3; step++)
            kernels->binary[op](N, out, x, step != 1, y, step != 2), add(out, N);
    for (int op = 0; op < TENSOR_PARAMETRIC_COUNT; op++)
        kernels->parametric[op](N, out, x, y, 1.3f, -0.7f), add(out, N);
    kernels->where(N, out, x, y, x), add(out, N);
}

static void rows(void) {
    float one[] = {reduce_one(kernels->sum, N, x),       kernels->dot(N, x, y),
                   reduce_one(kernels->max, N, x),       reduce_one(kernels->min, N, x),
                   reduce_one(kernels->product, ROW, x), 0};
    double total[ROW] = {0}, more[ROW] = {0}, squares = kernels->sum_squares(N, x);
    const float *row[16];
    for (int i = 0; i < 16; i++) row[i] = x + i * ROW / 2;
    add(one, 5);
    rows_kernel *const each[] = {kernels->sum, kernels->max, kernels->min, kernels->product};
    for (int i = 0; i < 4; i++) each[i](15, ROW, out, x, ROW), add(out, 15);
    kernels->add_rows(ROW - 1, total, 16, row);
    for (int j = 0; j < ROW; j++) out[j] = (float)total[j];
    out[0] += (float)squares;
    add(out, ROW);
    kernels->softmax(N, out, x), add(out, N);
    kernels->softmax_vjp(N, out, y, x, one[1], true), add(out, N);
    kernels->log_softmax(N, out, x), add(out, N);
    kernels->log_softmax_vjp(N, out, y, out, one[0], false), add(out, N);
    kernels->log_sum_exp(15, ROW, out, x, ROW), add(out, 15);
    const int32_t target[2] = {3, ROW - 1};
    kernels->cross_entropy_vjp(
        &(cross_entropy_args){2, ROW, one, 1, -1, true, z, x, ROW, target, 1, out, ROW});
    add(out, 2 * ROW);
    for (int centred = 1; centred >= 0; centred--) {
        kernels->norm(N, out, one, x, y, z, 1e-5f, centred), add(out, N), add(one, 2);
        kernels->norm_vjp(N, out, one, y, x, z, centred, true), add(out, N);
    }
    norm_rows batch = {.rows = 16};
    for (int i = 0; i < 16; i++) batch.x[i] = row[i], batch.dy[i] = y + i, batch.stats[i][1] = one[1];
    kernels->add_norm_rows(ROW - 1, total, more, &batch);
    for (int j = 0; j < ROW; j++) out[j] = (float)(total[j] + more[j]);
    add(out, ROW);
    kernels->take_totals(ROW - 1, out, total), add(out, ROW);
    batch.rows = 15;
    for (int i = 0; i < 15; i++) batch.dx[i] = out + i * ROW;
    kernels->norm_vjp_rows(NORM_COLUMNS - 1, total, more, &batch, z, true, true), add(out, 15 * ROW);
    for (int j = 0; j < ROW; j++) out[j] = (float)(total[j] + more[j]);
    add(out, ROW);
    double sums[2];
    kernels->norm_moments(N, x, sums), one[0] = (float)sums[0], one[1] = (float)sums[1], add(one, 2);
    kernels->norm_sums(N, one, x, y, sums), one[2] = (float)sums[0], one[3] = (float)sums[1], add(one + 2, 2);
    kernels->norm_scale(N, out, one, x, 0.7f, -0.2f), add(out, N);
    kernels->norm_scale_vjp(N, out, one, x, y, 0.7f, one + 2, true), add(out, N);
    kernels->add_column_squares(ROW - 1, total, more, 16, x, ROW / 2, y);
    kernels->add_column_dots(ROW - 1, total, more, 16, x, y, ROW / 2, y, z);
    for (int j = 0; j < ROW; j++) out[j] = (float)(total[j] + more[j]);
    kernels->norm_columns(ROW - 1, out + ROW, x, y, z, x + ROW, y + ROW);
    kernels->norm_columns_vjp(ROW - 1, out + 2 * ROW, x, y, z, x + ROW, y + ROW, z + ROW, x + 2 * ROW, true);
    add(out, 3 * ROW);
    const pool_args pool = {.rows = {3, 2, 2, -1, 1, 5, 31},
                            .cols = {15, 3, 2, -1, 1, 31, 1},
                            .x = x,
                            .out_row = 15,
                            .out_col = 1,
                            .divisor = 6};
    int32_t ids[3 * 15];
    kernels->pool_sums(&pool, out), add(out, 3 * 15);
    kernels->pool_largest(&pool, ids);
    kernels->pool_shares(&pool, out), add(out, 5 * 31);
    for (int i = 0; i < 3 * 15; i++) out[i] = (float)ids[i];
    add(out, 3 * 15);
    const tensor_update_step step = {1e-3, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.001};
    for (int rule = 0; rule < TENSOR_UPDATE_COUNT; rule++) {
        kernels->unary[TENSOR_ABS](N, y, y), kernels->unary[TENSOR_ABS](N, z, z);
        kernels->update[rule](N, out, y, z, x, &step), add(out, N), add(y, N), add(z, N);
    }
}

/* One row, few and several, B as it is and transposed, from 0 and in place. */
static void products(void) {
    static const int64_t rows[] = {1, 37, 2, 8};
    for (int form = 0; form < 16; form++) {
        const int64_t m = rows[form % 2 + form / 8 * 2], n = 61, k = 259;
        const bool transposed = form & 2;
        gemm_args g = {.m = m, .n = n, .k = k, .a = x, .a_row = k, .a_col = 1, .b = y, .c = out};
        g.b_row = transposed ? 1 : n, g.b_col = transposed ? k : 1, g.c_row = n, g.c_col = 1;
        if (form & 4) g.start = out, g.start_row = n, g.start_col = 1;
        kernels->gemm(&g), add(out, (size_t)(m * n));
    }
}

/* Whole tiles and less, vectors and less, from a bias and in place. */
static void sliding_products(void) {
    int64_t offset[29];
    for (int64_t p = 0; p < 29; p++) offset[p] = p * 41 % 977;
    slide_args s = {37, 29, x, 29, y, offset, 3, 0, 40, out, 3 * 48, 48, NULL, 1};
    for (int form = 0; form < 6; form++) {
        s.windows = (const int64_t[]){32, 35, 5}[form / 2];
        s.bias = form % 2 ? NULL : z;
        kernels->slide(&s), add(out, 37 * 3 * 48);
    }
}

/* Products in bfloat16: blocks with edges on all sides, A and B as they are and transposed. */
static void rounded_products(product *gemm_bf16) {
    for (int form = 0; form < 16; form++) {
        const int64_t m = form & 1 ? 37 : 1, n = 61, k = 319;
        gemm_args g = {.m = m, .n = n, .k = k, .a = x, .b = y, .c = out, .c_row = n, .c_col = 1};
        g.a_row = form & 8 ? 1 : k, g.a_col = form & 8 ? m : 1;
        g.b_row = form & 2 ? 1 : n, g.b_col = form & 2 ? k : 1;
        if (form & 4) g.start = out, g.start_row = n, g.start_col = 1;
        gemm_bf16(&g), add(out, (size_t)(m * n));
    }
}

static void fill_bits(float *to, uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < N; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        const uint32_t bits = (uint32_t)(state >> 20);
        memcpy(&to[i], &bits, sizeof bits);
    }
}

static void rounded_bits(product *gemm_bf16) {
    for (int64_t k = 0; k < 8; k++) {
        gemm_args g = {
            .m = 100, .n = 90, .k = k, .a = x, .a_row = k, .a_col = 1, .b = y, .b_row = 90, .b_col = 1};
        g.c = out, g.c_row = 90, g.c_col = 1;
        if (k & 1) g.start = z, g.start_row = 90, g.start_col = 1;
        gemm_bf16(&g), add(out, 100 * 90);
    }
}

/* Compact weights from any bytes, for one row, few and many. */
static void compact_products(void) {
    static const int64_t rows[] = {1, 2, 7, 14};
    static uint16_t w[4 * 16 * 20 * COMPACT_BLOCK];
    static int16_t rounded[14 * 8 * COMPACT_BLOCK];
    static float scales[14 * 8];
    const int64_t n = 61, k = 245, blocks = 8;
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = (uint16_t)(0x3c00 + i * 40503 % 0x300 + i % 2 * 0x8000);
    for (int64_t i = 0; i < 14; i++)
        kernels->compact_round(k, rounded + i * blocks * COMPACT_BLOCK, scales + i * blocks, x + i * k);
    add(scales, sizeof scales / sizeof *scales);
    for (int i = 0; i < 4; i++) {
        compact_args g = {.m = rows[i], .n = n, .k = k, .w = w, .panel = (k + 1) * 32, .x = x, .x_row = k};
        g.c = out, g.c_row = n, g.start = i % 2 ? y : NULL;
        kernels->compact_bf16(&g), add(out, (size_t)(rows[i] * n));
        g.blocks = blocks, g.rounded = rounded, g.scales = scales, g.panel = blocks * COMPACT_BLOCK_BYTES;
        kernels->compact_int8(&g), add(out, (size_t)(rows[i] * n));
    }
}

static void rounded(product *gemm_bf16) {
    fill(x, 3, -3, 2), fill(y, 4, -1, 1);
    rounded_products(gemm_bf16);
    fill_bits(x, 6), fill_bits(y, 7), fill_bits(z, 8);
    rounded_bits(gemm_bf16);
}

int main(void) {
#ifdef SAMPO_ISA
    kernels = &PASTE(tensor_kernels_, SAMPO_ISA);
#else
    tensor_error err = {0};
    if (!tensor_isa_check(&err)) return fprintf(stderr, "%s\n", err.text), 77;
    kernels = tensor_kernels_get();
#endif
    elementwise(-1, 1);
    elementwise(-40, 100);
    elementwise(0, 0x1p-120f);
    fill(x, 3, -3, 2), fill(y, 4, -1, 1), fill(z, 5, -1, 1);
    rows();
    fill(x, 3, -3, 2), fill(y, 4, -1, 1);
    products();
    sliding_products();
    compact_products();
#ifdef SAMPO_ISA
    const uint64_t before = hash;
    rounded(tensor_gemm_avx512bf16);
    const uint64_t by_pairs = hash;
    hash = before;
#endif
    rounded(kernels->gemm_bf16);
#ifdef SAMPO_ISA
    if (hash != by_pairs) return fprintf(stderr, "the product by pairs has other bits\n"), 1;
#endif
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
