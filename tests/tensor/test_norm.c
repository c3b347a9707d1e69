/* Layer and RMS normalisation and their gradients, against the formulas in double. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(norm, .init = setup, .fini = teardown);

static bool rms; /* which of both is tested */

/* y of one row into double[n]; the statistics too. */
static void exact_row(int64_t n, double *y, const double *x, const double *w, const double *b, double eps) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) mean += rms ? 0 : x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(variance + eps) * (w ? w[i] : 1) + (b ? b[i] : 0);
}

static const int64_t widths[] = {1, 7, 15, 16, 17, 33, 64, 257};
enum { WIDTHS = sizeof widths / sizeof *widths, ROWS = 6, WIDEST = 257 };

typedef struct operands {
    tensor x, y, w, b, stats, dy, dx, dw, db;
    int64_t n;
} operands;

static operands make(int64_t n, int kind, bool has_w, bool has_b) {
    operands o = {.n = n};
    o.x = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(2, 3, n));
    o.y = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(2, 3, n));
    o.dy = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(2, 3, n));
    o.dx = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(2, 3, n));
    o.stats = test_view(arena, TENSOR_F32, kind, TENSOR_SHAPE(ROWS, 2));
    o.dw = test_view(arena, TENSOR_F32, kind, 1, &n);
    o.db = test_view(arena, TENSOR_F32, kind, 1, &n);
    if (has_w) o.w = test_view(arena, TENSOR_F32, kind, 1, &n), test_fill(o.w, 3, 0.5f, 2);
    if (has_b) o.b = test_view(arena, TENSOR_F32, kind, 1, &n), test_fill(o.b, 4, -1, 1);
    test_fill(o.x, 1, -2, 3);
    test_fill(o.dy, 2, -1, 1);
    return o;
}

static bool normalise(const operands *o, tensor_error *err) {
    return rms ? tensor_rms_norm(o->y, o->stats, o->x, o->w, 1e-5f, err)
               : tensor_layer_norm(o->y, o->stats, o->x, o->w, o->b, 1e-5f, err);
}

static bool differentiate(const operands *o, tensor dx, tensor dw, tensor db, bool accumulate,
                          tensor_error *err) {
    return rms ? tensor_rms_norm_vjp(dx, dw, o->dy, o->x, o->w, o->stats, accumulate, err)
               : tensor_layer_norm_vjp(dx, dw, db, o->dy, o->x, o->w, o->stats, accumulate, err);
}

static void read_row(double *row, tensor x, int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++) row[i] = (double)*test_at(x, first + i);
}

Test(norm, forward_in_every_layout) {
    for (int s = 0; s < WIDTHS; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++)
            for (int with = 0; with < 6; with++) { /* w, b */
                operands o = make(widths[s], kind, with & 1, with & 2);
                rms = with & 4;
                TEST_OK(normalise(&o, &err));
                double x[WIDEST], y[WIDEST], w[WIDEST], b[WIDEST];
                if (with & 1) read_row(w, o.w, 0, o.n);
                if (with & 2) read_row(b, o.b, 0, o.n);
                for (int64_t r = 0; r < ROWS; r++) {
                    read_row(x, o.x, r * o.n, o.n);
                    exact_row(o.n, y, x, with & 1 ? w : NULL, with & 2 ? b : NULL, (double)1e-5f);
                    for (int64_t i = 0; i < o.n; i++)
                        test_close((double)*test_at(o.y, r * o.n + i), y[i], 3e-6, "y");
                    double mean = 0;
                    for (int64_t i = 0; i < o.n; i++) mean += rms ? 0 : x[i] / (double)o.n;
                    test_close((double)*test_at(o.stats, 2 * r), mean, 1e-6, "mean");
                }
                tensor_arena_reset(arena);
            }
}

/* Sum of dy y, of which the gradients are the derivatives. */
static double objective(int64_t n, const double *dy, const double *x, const double *w) {
    double y[WIDEST], sum = 0;
    exact_row(n, y, x, w, NULL, (double)1e-5f);
    for (int64_t i = 0; i < n; i++) sum += dy[i] * y[i];
    return sum;
}

static void check_dx(const operands *o, const double *w, double before) {
    double x[WIDEST], dy[WIDEST];
    for (int64_t r = 0; r < ROWS; r++) {
        read_row(x, o->x, r * o->n, o->n);
        read_row(dy, o->dy, r * o->n, o->n);
        for (int64_t i = 0; i < o->n; i++) {
            const double at = x[i], h = 1e-4;
            double f[4];
            for (int k = 0; k < 4; k++) {
                x[i] = at + h * (double[]){-2, -1, 1, 2}[k];
                f[k] = objective(o->n, dy, x, w);
            }
            x[i] = at;
            const double slope = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
            test_close((double)*test_at(o->dx, r * o->n + i), before + slope, 1e-5, "dx");
        }
    }
}

static void check_parameters(const operands *o, double before) {
    double x[WIDEST], normal[WIDEST], dw[WIDEST] = {0}, db[WIDEST] = {0};
    for (int64_t r = 0; r < ROWS; r++) {
        read_row(x, o->x, r * o->n, o->n);
        exact_row(o->n, normal, x, NULL, NULL, (double)1e-5f);
        for (int64_t i = 0; i < o->n; i++) {
            dw[i] += (double)*test_at(o->dy, r * o->n + i) * normal[i];
            db[i] += (double)*test_at(o->dy, r * o->n + i);
        }
    }
    for (int64_t i = 0; i < o->n; i++) {
        test_close((double)*test_at(o->dw, i), before + dw[i], 1e-5, "dw");
        if (!rms) test_close((double)*test_at(o->db, i), before + db[i], 1e-5, "db");
    }
}

Test(norm, gradients_are_added_in_every_layout) {
    for (int s = 1; s < WIDTHS; s++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++)
            for (int with = 0; with < 4; with++) {
                const bool has_w = with & 1;
                operands o = make(widths[s], kind, has_w, false);
                rms = with & 2;
                double w[WIDEST];
                if (has_w) read_row(w, o.w, 0, o.n);
                TEST_OK(normalise(&o, &err));
                TEST_OK(tensor_fill(o.dx, 1, &err) && tensor_fill(o.dw, 2, &err) &&
                        tensor_fill(o.db, 2, &err));
                TEST_OK(differentiate(&o, o.dx, o.dw, o.db, true, &err));
                check_dx(&o, has_w ? w : NULL, 1);
                check_parameters(&o, 2);
                TEST_OK(differentiate(&o, (tensor){0}, (tensor){0}, o.db, true, &err));
                test_close((double)*test_at(o.dw, 0), (double)*test_at(o.dw, 0), 0, "dw");
                TEST_OK(tensor_fill(o.dx, 7, &err)); /* overwritten */
                TEST_OK(differentiate(&o, o.dx, (tensor){0}, (tensor){0}, false, &err));
                check_dx(&o, has_w ? w : NULL, 0);
                tensor_arena_reset(arena);
            }
}

/* One thread takes rows and columns together, several one after the other. */
Test(norm, gradients_have_the_same_bits_for_any_threads) {
    enum { R = 500, N = 70 };
    float sum[2][R * N + 2 * N];
    for (int threads = 1; threads <= 2; threads++) {
        tensor_arena_reset(arena);
        tensor t[7];
        for (int i = 0; i < 4; i++) t[i] = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(R, N));
        for (int i = 4; i < 7; i++) t[i] = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(N));
        tensor stats = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(R, 2));
        for (int i = 0; i < 7; i++) test_fill(t[i], (uint64_t)i, -2, 2);
        TEST_OK(tensor_set_threads(threads, &err));
        TEST_OK(tensor_layer_norm(t[0], stats, t[1], t[4], (tensor){0}, 1e-5f, &err));
        TEST_OK(tensor_layer_norm_vjp(t[3], t[5], t[6], t[2], t[1], t[4], stats, true, &err));
        memcpy(sum[threads - 1], t[3].f32, R * N * sizeof(float));
        memcpy(sum[threads - 1] + R * N, t[5].f32, N * sizeof(float));
        memcpy(sum[threads - 1] + R * N + N, t[6].f32, N * sizeof(float));
    }
    cr_assert_arr_eq(sum[0], sum[1], sizeof sum[0]);
}

Test(norm, in_place_and_empty) {
    operands o = make(33, VIEW_PLAIN, true, true);
    TEST_OK(tensor_layer_norm(o.y, o.stats, o.x, o.w, o.b, 1e-5f, &err));
    TEST_OK(tensor_layer_norm(o.x, o.stats, o.x, o.w, o.b, 1e-5f, &err));
    for (int64_t i = 0; i < tensor_size(o.x); i++) cr_assert_eq(o.x.f32[i], o.y.f32[i]);
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(0, 4)),
           stats = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(0, 2));
    TEST_OK(tensor_layer_norm(x, stats, x, (tensor){0}, (tensor){0}, 1e-5f, &err));
}

/* A row that does not vary becomes b, also where its sum is not exact; rows without elements are none. */
Test(norm, constant_and_empty_rows) {
    static const int64_t width[] = {0, 1, 5, 768, 5000};
    for (size_t s = 0; s < sizeof width / sizeof *width; s++)
        for (int64_t rows = 0; rows < 4; rows++) {
            tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(rows, width[s]));
            tensor y = test_view(arena, TENSOR_F32, VIEW_PLAIN, 2, x.shape);
            tensor w = test_view(arena, TENSOR_F32, VIEW_PLAIN, 1, &width[s]);
            tensor stats = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(rows, 2));
            TEST_OK(tensor_fill(x, 0.1, &err) && tensor_fill(w, 1, &err));
            TEST_OK(tensor_layer_norm(y, stats, x, w, (tensor){0}, 1e-5f, &err));
            for (int64_t i = 0; i < tensor_size(y); i++)
                cr_assert(fabsf(y.f32[i]) <= 2e-6f, "width %lld: %g", (long long)width[s], (double)y.f32[i]);
            TEST_OK(tensor_layer_norm_vjp(y, w, w, x, x, (tensor){0}, stats, true, &err));
        }
}

Test(norm, very_many_empty_rows_take_no_time, .timeout = 60) {
    const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE((int64_t)1 << 50, 0), NULL), none = {0};
    TEST_OK(tensor_layer_norm(x, none, x, none, none, 1e-5f, &err));
    TEST_OK(tensor_rms_norm(x, none, x, none, 1e-5f, &err));
}

Test(norm, errors) {
    operands o = make(7, VIEW_PLAIN, true, true);
    tensor y = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3));
    TEST_FAILS(tensor_layer_norm(y, o.stats, o.x, o.w, o.b, 1e-5f, &err),
               "layer_norm: y is [3], expected [2, 3, 7]");
    TEST_FAILS(tensor_layer_norm(o.y, o.stats, o.x, y, o.b, 1e-5f, &err),
               "layer_norm: w is [3], expected [7]");
    TEST_FAILS(tensor_layer_norm(o.y, y, o.x, o.w, o.b, 1e-5f, &err),
               "layer_norm: stats is [3], expected [6, 2]");
    TEST_FAILS(tensor_layer_norm_vjp(o.dx, y, o.db, o.dy, o.x, o.w, o.stats, true, &err),
               "layer_norm_vjp: dw is [3], expected [7]");
    TEST_FAILS(tensor_rms_norm(o.y, o.stats, o.x, y, 1e-5f, &err), "rms_norm: w is [3], expected [7]");
}
