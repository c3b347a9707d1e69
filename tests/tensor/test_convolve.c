/* Convolutions against plain loops in double, in all their options, for operands of any strides; and their bits. */
#include "tests/tensor/tensor_test.h"

typedef struct geometry {
    int64_t n, c, o, height, width, rows, cols; /* c, o: of a group */
    tensor_windows windows;
} geometry;

static const geometry geometries[] = {
    {2, 3, 4, 7, 6, 3, 3, {.padding = {1, 1}}},
    {1, 5, 2, 9, 20, 3, 2, {.padding = {1, 0}}},
    {2, 1, 1, 1, 1, 1, 1, {{0}}},
    {0, 2, 3, 5, 5, 3, 3, {.padding = {1, 1}}},
    {2, 0, 3, 5, 5, 3, 3, {.padding = {1, 1}}},
    {1, 2, 3, 0, 4, 2, 2, {.padding = {1, 1}}},
    {3, 2, 3, 8, 11, 3, 4, {.stride = {2, 3}, .padding = {2, 1}, .dilation = {2, 1}}},
    {1, 3, 2, 10, 9, 2, 3, {.stride = {3, 2}, .padding = {0, 4}, .dilation = {1, 3}, .groups = 3}},
    {2, 1, 1, 12, 12, 5, 5, {.padding = {2, 2}, .groups = 7}},
    {1, 4, 8, 1, 70, 1, 5, {.stride = {1, 4}, .padding = {0, 2}}},
    {2,
     2,
     3,
     4,
     75,
     2,
     3,
     {.stride = {1, 2}, .padding = {0, 1}}},        /* several vectors of every second column */
    {1, 40, 30, 19, 21, 3, 3, {.padding = {1, 1}}}, /* several blocks of a chain */
    {2, 3, 270, 6, 6, 3, 3, {.padding = {1, 1}}},   /* and of results */
    {1, 290, 3, 5, 5, 1, 1, {{0}}},
    {3, 2, 2, 4, 5, 3, 9, {.padding = {6, 7}}}, /* windows beside the image */
    {2, 2, 2, 3, 3, 2, 2, {.stride = {5, 4}, .padding = {1, 2}}},
    /* Rows of windows that fill vectors, which are read where they lie: */
    {2, 3, 17, 5, 32, 3, 3, {.padding = {1, 1}}},
    {1, 75, 25, 6, 16, 3, 3, {.padding = {1, 1}}},                 /* several blocks of a chain, */
    {1, 3, 270, 3, 16, 3, 3, {.padding = {1, 1}}},                 /* and of results, */
    {1, 40, 3, 70, 30, 3, 3, {.padding = {1, 1}}},                 /* and several strips */
    {2, 2, 5, 9, 31, 3, 3, {.stride = {2, 2}, .padding = {1, 1}}}, /* two phases of rows and of columns */
    {1, 3, 4, 11, 62, 1, 1, {.stride = {2, 2}}},                   /* one of several */
    {2, 2, 3, 9, 80, 2, 3, {.stride = {3, 5}, .padding = {1, 4}, .dilation = {2, 3}, .groups = 2}},
    {1, 1, 2, 4, 150, 2, 12, {.stride = {1, 9}, .padding = {0, 6}}}, /* more phases than are kept */
};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };

static int64_t or_one(int64_t x) {
    return x ? x : 1;
}

/* The operands of one geometry; y has the size of the result. */
typedef struct operands {
    tensor x, w, bias, y, scratch;
} operands;

static operands make(tensor_arena *arena, const geometry *g, int x_view, int y_view) {
    const int64_t groups = or_one(g->windows.groups);
    operands t;
    int64_t shape[4];
    tensor_error err = {0};
    t.x = test_view(arena, TENSOR_F32, x_view, TENSOR_SHAPE(g->n, groups * g->c, g->height, g->width));
    t.w = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(groups * g->o, g->c, g->rows, g->cols));
    t.bias = test_view(arena, TENSOR_F32, x_view == VIEW_BROADCAST ? VIEW_PLAIN : x_view,
                       TENSOR_SHAPE(groups * g->o));
    cr_assert(tensor_convolve_shape(t.x, t.w, &g->windows, shape, &err), "%s", err.text);
    t.y = test_view(arena, TENSOR_F32, y_view, 4, shape);
    t.scratch = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(tensor_size(t.w)));
    test_fill(t.x, 1, -1, 1), test_fill(t.w, 2, -1, 1), test_fill(t.bias, 3, -1, 1), test_fill(t.y, 4, -1, 1);
    return t;
}

static float *element(tensor x, int64_t a, int64_t b, int64_t c, int64_t d) {
    return x.f32 + a * x.stride[0] + b * x.stride[1] + c * x.stride[2] + d * x.stride[3];
}

/* Calls a function for each product of the sum: of y's element, x's and w's. */
typedef void each(void *context, int64_t y, int64_t x, int64_t w);
static void all_products(const geometry *g, const operands *t, each *call, void *context) {
    const tensor_windows *o = &g->windows;
    const int64_t channels = t->x.shape[1], outputs = t->y.shape[1];
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t out = 0; out < outputs; out++)
            for (int64_t r = 0; r < t->y.shape[2]; r++)
                for (int64_t q = 0; q < t->y.shape[3]; q++)
                    for (int64_t c = 0; c < g->c; c++)
                        for (int64_t i = 0; i < g->rows; i++)
                            for (int64_t j = 0; j < g->cols; j++) {
                                const int64_t row =
                                    r * or_one(o->stride[0]) - o->padding[0] + i * or_one(o->dilation[0]);
                                const int64_t col =
                                    q * or_one(o->stride[1]) - o->padding[1] + j * or_one(o->dilation[1]);
                                if (row < 0 || row >= g->height || col < 0 || col >= g->width) continue;
                                const int64_t channel = out / g->o * g->c + c;
                                call(context, ((n * outputs + out) * t->y.shape[2] + r) * t->y.shape[3] + q,
                                     ((n * channels + channel) * g->height + row) * g->width + col,
                                     ((out * g->c + c) * g->rows + i) * g->cols + j);
                            }
}

typedef struct sums {
    const float *dy, *dx, *dw; /* the operands' numbers */
    double *y, *x, *w;
} sums;

static void add_products(void *context, int64_t y, int64_t x, int64_t w) {
    const sums *s = context;
    const double dy = (double)s->dy[y], dx = (double)s->dx[x], dw = (double)s->dw[w];
    s->y[y] += dw * dx;
    s->x[x] += dw * dy;
    s->w[w] += dy * dx;
}

static void expect_near(const char *what, int which, tensor got, const double *expected, const float *bias) {
    for (int64_t i = 0; i < tensor_size(got); i++) {
        const int64_t plane = got.shape[2] * got.shape[3];
        const double e = expected[i] + (bias ? (double)bias[i / plane % got.shape[1]] : 0);
        const double off = fabs((double)*test_at(got, i) - e);
        cr_assert(off <= 2e-5 * (1 + fabs(e)), "%s of geometry %d on %s: element %d is %g, expected %g", what,
                  which, tensor_isa(), (int)i, (double)*test_at(got, i), e);
    }
}

static void compare(tensor_arena *arena, int which, int x_view, int y_view) {
    const geometry *g = &geometries[which];
    operands t = make(arena, g, x_view, y_view);
    tensor_error err = {0};
    sums s = {test_numbers(arena, t.y),
              test_numbers(arena, t.x),
              test_numbers(arena, t.w),
              calloc((size_t)tensor_size(t.y) + 1, sizeof(double)),
              calloc((size_t)tensor_size(t.x) + 1, sizeof(double)),
              calloc((size_t)tensor_size(t.w) + 1, sizeof(double))};
    all_products(g, &t, add_products, &s);
    const int out_view = x_view == VIEW_BROADCAST ? VIEW_PLAIN : x_view;
    const tensor x = test_view(arena, TENSOR_F32, out_view, 4, t.x.shape),
                 w = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, t.w.shape),
                 y = test_view(arena, TENSOR_F32, y_view, 4, t.y.shape);
    float bias[512];
    for (int64_t i = 0; i < tensor_size(t.bias); i++) bias[i] = *test_at(t.bias, i);
    cr_assert(tensor_convolve_transposed(x, t.y, t.w, (tensor){0}, &g->windows, t.scratch, &err), "%s",
              err.text);
    cr_assert(tensor_convolve_weight(w, t.y, t.x, &g->windows, t.scratch, &err), "%s", err.text);
    cr_assert(tensor_convolve(y, t.x, t.w, t.bias, &g->windows, &err), "%s", err.text);
    expect_near("the convolution", which, y, s.y, bias);
    expect_near("the gradient for x", which, x, s.x, NULL);
    expect_near("the gradient for w", which, w, s.w, NULL);
    free(s.x), free(s.y), free(s.w);
}

static bool is_empty(int which) {
    return geometries[which].n == 0;
}

Test(convolve, equals_plain_loops_for_any_strides) {
    test_layouts(GEOMETRIES, is_empty, compare);
}

/* y[n, o, r, q] is fma(w, x, ... fma(w, x, bias)) over ascending (c, i, j), to the last bit: zeros beside the image,
 * too. */
static float chain(const geometry *g, const operands *t, int64_t n, int64_t o, int64_t r, int64_t q) {
    const tensor_windows *k = &g->windows;
    float sum = t->bias.f32[o * t->bias.stride[0]];
    for (int64_t c = 0; c < g->c; c++)
        for (int64_t i = 0; i < g->rows; i++)
            for (int64_t j = 0; j < g->cols; j++) {
                const int64_t row = r * or_one(k->stride[0]) - k->padding[0] + i * or_one(k->dilation[0]);
                const int64_t col = q * or_one(k->stride[1]) - k->padding[1] + j * or_one(k->dilation[1]);
                const bool inside = row >= 0 && row < g->height && col >= 0 && col < g->width;
                const float x = inside ? *element(t->x, n, o / g->o * g->c + c, row, col) : 0;
                sum = fmaf(*element(t->w, o, c, i, j), x, sum);
            }
    return sum;
}

Test(convolve, each_result_is_one_chain_of_fused_multiply_adds) {
    if (strcmp(tensor_isa(), "baseline") == 0) cr_skip_test("no fused multiply-add");
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int which = 0; which < GEOMETRIES; which++) {
        const geometry *g = &geometries[which];
        tensor_arena_reset(arena);
        const operands t = make(arena, g, VIEW_PLAIN, VIEW_PLAIN);
        cr_assert(tensor_convolve(t.y, t.x, t.w, t.bias, &g->windows, NULL));
        for (int64_t n = 0; n < t.y.shape[0]; n++)
            for (int64_t o = 0; o < t.y.shape[1]; o++)
                for (int64_t r = 0; r < t.y.shape[2]; r++)
                    for (int64_t q = 0; q < t.y.shape[3]; q++)
                        cr_assert_eq(*element(t.y, n, o, r, q), chain(g, &t, n, o, r, q), "geometry %d",
                                     which);
    }
    tensor_arena_free(arena);
}

Test(convolve, threads_do_not_change_the_bits) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const geometry g = {6, 24, 40, 33, 31, 3, 3, {.stride = {1, 2}, .padding = {1, 1}}};
    tensor results[2][3];
    for (int threads = 1; threads <= 2; threads++) {
        cr_assert(tensor_set_threads(threads == 1 ? 1 : 3, NULL));
        const operands t = make(arena, &g, VIEW_PLAIN, VIEW_PLAIN);
        tensor *r = results[threads - 1];
        r[0] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, t.y.shape);
        r[1] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, t.x.shape);
        r[2] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, t.w.shape);
        cr_assert(tensor_convolve(r[0], t.x, t.w, t.bias, &g.windows, NULL) &&
                  tensor_convolve_transposed(r[1], t.y, t.w, (tensor){0}, &g.windows, t.scratch, NULL) &&
                  tensor_convolve_weight(r[2], t.y, t.x, &g.windows, t.scratch, NULL));
    }
    for (int i = 0; i < 3; i++)
        cr_expect_arr_eq(results[0][i].data, results[1][i].data,
                         (size_t)tensor_size(results[0][i]) * sizeof(float));
    tensor_arena_free(arena);
}

/* Windows farther apart than the image is long: one window an axis, at once. */
Test(convolve, strides_beyond_the_image, .timeout = 60) {
    const tensor_windows windows = {.stride = {(1 << 30) - 1, (1 << 30) - 1}};
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(1, 1, 8, 8), NULL),
           w = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(1, 1, 4, 4), NULL),
           y = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(1, 1, 1, 1), NULL),
           scratch = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(16), NULL);
    cr_assert(tensor_fill(x, 1, NULL) && tensor_fill(w, 2, NULL));
    cr_expect(tensor_convolve(y, x, w, (tensor){0}, &windows, NULL));
    cr_expect_eq(y.f32[0], 32);
    cr_expect(tensor_convolve_transposed(x, y, w, (tensor){0}, &windows, scratch, NULL));
    for (int i = 0; i < 64; i++) cr_expect_eq(x.f32[i], i / 8 < 4 && i % 8 < 4 ? 64 : 0, "element %d", i);
    const int64_t window[] = {2, 2};
    cr_expect(tensor_pool_average(y, x, window, &windows, NULL));
    cr_expect_eq(y.f32[0], 64);
    cr_expect(tensor_pool_average_vjp(x, y, window, &windows, NULL));
    for (int i = 0; i < 64; i++) cr_expect_eq(x.f32[i], i / 8 < 2 && i % 8 < 2 ? 16 : 0, "element %d", i);
    tensor_arena_free(arena);
}

Test(convolve, errors_say_what_does_not_fit) {
    static const struct {
        int64_t x[4], w[4];
        tensor_windows windows;
        const char *text;
    } cases[] = {
        {{1, 3, 5, 5}, {2, 4, 3, 3}, {{0}}, "convolution: channels differ: x [1, 3, 5, 5], w [2, 4, 3, 3]"},
        {{1, 3, 5, 5},
         {2, 3, 3, 3},
         {.groups = 2},
         "convolution: the groups do not divide the channels: x [1, 3, 5, 5], w [2, 3, 3, 3]"},
        {{1, 3, 5, 5},
         {2, 3, 3, 8},
         {.padding = {1, 1}},
         "convolution: a window over 8 is larger than 5 with a padding of 1"},
        {{1, 3, 5, 5},
         {2, 3, 0, 3},
         {{0}},
         "convolution: a window of 0 with stride 1, padding 0 and dilation 1 is not possible"},
        {{1, 3, 5, 5},
         {2, 3, 3, 3},
         {.stride = {-1, 1}},
         "convolution: a window of 3 with stride -1, padding 0 and dilation 1 is not possible"},
    };
    tensor_arena *arena = tensor_arena_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensor_error err = {0};
        int64_t shape[4];
        cr_expect_not(tensor_convolve_shape(tensor_zeros(arena, TENSOR_F32, 4, cases[i].x, NULL),
                                            tensor_zeros(arena, TENSOR_F32, 4, cases[i].w, NULL),
                                            &cases[i].windows, shape, &err));
        cr_expect_str_eq(err.text, cases[i].text);
    }
    tensor_arena_free(arena);
}
