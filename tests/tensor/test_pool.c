/* Pooling against plain loops in double, in all its options, for operands of any strides; and its bits. */
#include "tests/tensor/tensor_test.h"

typedef struct geometry {
    int64_t n, c, height, width, window[2];
    tensor_windows windows;
} geometry;

static const geometry geometries[] = {
    {2, 3, 8, 6, {2, 2}, {{0}}},
    {1, 2, 7, 9, {3, 2}, {.stride = {1, 2}, .padding = {1, 1}}},
    {2, 1, 5, 40, {2, 3}, {.stride = {2, 1}, .dilation = {3, 2}}},
    {1, 1, 1, 1, {1, 1}, {{0}}},
    {0, 2, 5, 5, {3, 3}, {{0}}},
    {2, 0, 5, 5, {3, 3}, {{0}}},
    {1, 2, 20, 30, {20, 30}, {{0}}},                                      /* more than 16 taps of both */
    {1, 1, 35, 36, {33, 34}, {.stride = {1, 1}, .padding = {16, 17}}},    /* and of gradients */
    {1, 1, 1, 9000, {1, 5000}, {.stride = {1, 7}, .padding = {0, 2500}}}, /* several blocks of taps */
    {1, 1, 2, 3000, {1, 3}, {.stride = {1, 1}}},                          /* of results */
    {1, 1, 2, 5000, {1, 20}, {.stride = {1, 13}, .dilation = {1, 200}}},
    {1, 1, 3, 9000, {2, 3}, {.stride = {1, 1500}, .dilation = {1, 3000}}},
};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries };

static int64_t or_else(int64_t x, int64_t usual) {
    return x ? x : usual;
}

/* Calls a function for each element that a window shows: of the result and of x. */
typedef void each(void *context, int64_t y, int64_t x);
static void all_elements(const geometry *g, const int64_t *shape, each *call, void *context) {
    const tensor_windows *o = &g->windows;
    for (int64_t plane = 0; plane < g->n * g->c; plane++)
        for (int64_t r = 0; r < shape[2]; r++)
            for (int64_t q = 0; q < shape[3]; q++)
                for (int64_t i = 0; i < g->window[0]; i++)
                    for (int64_t j = 0; j < g->window[1]; j++) {
                        const int64_t row = r * or_else(o->stride[0], g->window[0]) - o->padding[0] +
                                            i * or_else(o->dilation[0], 1),
                                      col = q * or_else(o->stride[1], g->window[1]) - o->padding[1] +
                                            j * or_else(o->dilation[1], 1);
                        if (row < 0 || row >= g->height || col < 0 || col >= g->width) continue;
                        call(context, (plane * shape[2] + r) * shape[3] + q,
                             (plane * g->height + row) * g->width + col);
                    }
}

typedef struct sums {
    const float *x, *dy;
    int64_t count; /* of a window */
    double *y, *dx;
    int64_t *largest; /* -1: none so far */
} sums;

static void add(void *context, int64_t y, int64_t x) {
    const sums *s = context;
    const float at = s->x[x];
    s->y[y] += (double)at / (double)s->count;
    s->dx[x] += (double)s->dy[y] / (double)s->count;
    const float best = s->largest[y] >= 0 ? s->x[s->largest[y]] : 0;
    if (s->largest[y] < 0 || (!isnan(best) && !(at <= best))) s->largest[y] = x;
}

static void compare(tensor_arena *arena, int which, int x_view, int y_view) {
    const geometry *g = &geometries[which];
    tensor_error err = {0};
    int64_t shape[4];
    const tensor x = test_view(arena, TENSOR_F32, x_view, TENSOR_SHAPE(g->n, g->c, g->height, g->width));
    test_fill(x, 1, -1, 1);
    cr_assert(tensor_pool_shape(x, g->window, &g->windows, shape, &err), "%s", err.text);
    const tensor dy = test_view(arena, TENSOR_F32, y_view, 4, shape);
    test_fill(dy, 2, -1, 1);
    for (int64_t i = 0; i < tensor_size(x); i++) /* many ties, for ids */
        *test_at(x, i) = x_view % 2 ? *test_at(x, i) : roundf(4 * *test_at(x, i)) / 4;
    sums s = {
        .x = test_numbers(arena, x), .dy = test_numbers(arena, dy), .count = g->window[0] * g->window[1]};
    const tensor y = test_view(arena, TENSOR_F32, y_view, 4, shape),
                 ids = test_view(arena, TENSOR_I32, y_view, 4, shape),
                 dx = test_view(arena, TENSOR_F32, x_view % VIEW_WRITABLE, 4, x.shape);
    s.y = calloc((size_t)tensor_size(y) + 1, sizeof(double));
    s.dx = calloc((size_t)tensor_size(dx) + 1, sizeof(double));
    s.largest = malloc(((size_t)tensor_size(y) + 1) * sizeof *s.largest);
    for (int64_t i = 0; i < tensor_size(y); i++) s.largest[i] = -1;
    all_elements(g, shape, add, &s);
    cr_assert(tensor_pool_average(y, x, g->window, &g->windows, &err), "%s", err.text);
    cr_assert(tensor_pool_average_vjp(dx, dy, g->window, &g->windows, &err), "%s", err.text);
    cr_assert(tensor_pool_largest(ids, x, g->window, &g->windows, &err), "%s", err.text);
    for (int64_t i = 0; i < tensor_size(y); i++) {
        test_close((double)*test_at(y, i), s.y[i], 1e-6, "the mean");
        cr_assert_eq(*test_int_at(ids, i), s.largest[i] % (g->height * g->width),
                     "geometry %d, element %d: %d", which, (int)i, *test_int_at(ids, i));
    }
    for (int64_t i = 0; i < tensor_size(dx); i++)
        test_close((double)*test_at(dx, i), s.dx[i], 1e-6, "its gradient");
    free(s.y), free(s.dx), free(s.largest);
}

static bool is_empty(int which) {
    return geometries[which].n == 0;
}

Test(pool, equals_plain_loops_for_any_strides) {
    test_layouts(GEOMETRIES, is_empty, compare);
}

Test(pool, not_a_number_is_the_largest) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const float values[2][6] = {{1, NAN, 3, NAN, 5, 6}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY, 0, NAN}};
    const int32_t expected[2][3] = {{1, 3, 5}, {0, 2, 5}};
    const tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(2, 1, 1, 6)),
                 ids = test_view(arena, TENSOR_I32, VIEW_PLAIN, TENSOR_SHAPE(2, 1, 1, 3));
    memcpy(x.f32, values, sizeof values);
    TEST_OK(tensor_pool_largest(ids, x, (int64_t[]){1, 2}, &(tensor_windows){0}, &err));
    cr_expect_arr_eq(ids.i32, expected, sizeof expected);
    tensor_arena_free(arena);
}

/* A million terms, and as many would lose no more. */
Test(pool, long_sums_lose_nothing) {
    enum { LONG = 1 << 20 };
    tensor_arena *arena = tensor_arena_new(NULL);
    const tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 1, 1, LONG)),
                 y = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 1, 1, 1));
    TEST_OK(tensor_fill(x, 0.1, &err));
    TEST_OK(tensor_pool_average(y, x, (int64_t[]){1, LONG}, &(tensor_windows){0}, &err));
    cr_expect_lt(test_ulp(*y.f32, (double)0.1f), 16); /* a run of 16 is added in float */
    enum { WIDTH = 4096 };                            /* and of elements that are in many windows */
    const tensor dx = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 1, 1, 2 * WIDTH)),
                 dy = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(1, 1, 1, WIDTH + 1));
    TEST_OK(tensor_fill(dy, 0.1, &err));
    TEST_OK(
        tensor_pool_average_vjp(dx, dy, (int64_t[]){1, WIDTH}, &(tensor_windows){.stride = {1, 1}}, &err));
    for (int i = WIDTH - 1; i <= WIDTH; i++) cr_expect_lt(test_ulp(dx.f32[i], (double)0.1f), 16);
    tensor_arena_free(arena);
}

Test(pool, threads_do_not_change_the_bits) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const int64_t window[2] = {3, 3};
    const tensor_windows windows = {.stride = {2, 2}, .padding = {1, 1}};
    tensor results[2][3];
    const tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(5, 7, 64, 64)),
                 dy = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(5, 7, 32, 32));
    test_fill(x, 1, -1, 1), test_fill(dy, 2, -1, 1);
    for (int i = 0; i < 2; i++) {
        tensor *r = results[i];
        cr_assert(tensor_set_threads(i == 0 ? 1 : 3, NULL));
        r[0] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, dy.shape);
        r[1] = test_view(arena, TENSOR_I32, VIEW_PLAIN, 4, dy.shape);
        r[2] = test_view(arena, TENSOR_F32, VIEW_PLAIN, 4, x.shape);
        cr_assert(tensor_pool_average(r[0], x, window, &windows, NULL) &&
                  tensor_pool_largest(r[1], x, window, &windows, NULL) &&
                  tensor_pool_average_vjp(r[2], dy, window, &windows, NULL));
    }
    for (int i = 0; i < 3; i++)
        cr_expect_arr_eq(results[0][i].data, results[1][i].data,
                         (size_t)tensor_size(results[0][i]) * sizeof(float));
    tensor_arena_free(arena);
}

Test(pool, errors_say_what_does_not_fit) {
    tensor_arena *arena = tensor_arena_new(NULL);
    int64_t shape[4];
    const tensor x = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(1, 1, 3, 4), NULL),
                 ids = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(1, 1, 3, 1), NULL),
                 narrow = tensor_slice(x, 3, 0, 1, 1, NULL);
    TEST_FAILS(tensor_pool_shape(x, (int64_t[]){4, 1}, &(tensor_windows){0}, shape, &err),
               "pooling: a window over 4 is larger than 3 with a padding of 0");
    TEST_FAILS(tensor_pool_shape(x, (int64_t[]){2, 2}, &(tensor_windows){.padding = {0, 2}}, shape, &err),
               "pooling: a padding of 2 is more than half of a window of 2");
    TEST_FAILS(tensor_pool_shape(x, (int64_t[]){0, 2}, &(tensor_windows){0}, shape, &err),
               "pooling: a window of 0 with stride 0, padding 0 and dilation 1 is not possible");
    TEST_FAILS(tensor_pool_largest(ids, narrow, (int64_t[]){1, 2},
                                   &(tensor_windows){.padding = {0, 2}, .dilation = {0, 3}}, &err),
               "pooling: a window shows nothing but padding, of 2 elements 3 apart");
    TEST_FAILS(tensor_pool_average(ids, x, (int64_t[]){1, 4}, &(tensor_windows){0}, &err),
               "pooling: out is int32, expected float32");
    TEST_FAILS(tensor_pool_largest(ids,
                                   tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(0, 1, 1 << 16, 1 << 16), NULL),
                                   (int64_t[]){1, 1}, &(tensor_windows){0}, &err),
               "pooling: an image of 65536 x 65536 elements is too large for int32");
    tensor_arena_free(arena);
}
