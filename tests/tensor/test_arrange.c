/* Elements by number and in order, over layouts, against plain loops. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(arrange, .init = setup, .fini = teardown);

static const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 5}, {3, 7, 2}, {2, 1, 300}, {2, 70, 3}, {0, 3, 2}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static tensor view(tensor_dtype dtype, int kind, int64_t a, int64_t b, int64_t c) {
    return test_view(arena, dtype, kind, 3, (int64_t[]){a, b, c});
}

static tensor scratch(tensor_dtype dtype, int64_t n) {
    return tensor_new(arena, dtype, TENSOR_SHAPE(n), NULL);
}

/* The element of x at [i, j, k] but for `at` along the axis. */
static float *element(tensor x, const int64_t index[3], int axis, int64_t at) {
    float *p = x.f32;
    for (int i = 0; i < 3; i++) p += (i == axis ? at : index[i]) * x.stride[i];
    return p;
}

/* Calls the block for each index of a shape. */
#define EACH_INDEX(index, shape)                                                                             \
    for (int64_t index[3] = {0}; index[0] < (shape)[0]; index[0]++)                                          \
        for (index[1] = 0; index[1] < (shape)[1]; index[1]++)                                                \
            for (index[2] = 0; index[2] < (shape)[2]; index[2]++)

Test(arrange, gather_and_scatter_add) {
    for (int s = 0; s < SHAPES; s++)
        for (int axis = 0; axis < 3; axis++)
            for (int kind = 0; kind < VIEW_COUNT; kind++)
                for (int64_t count = 0; count < 12; count += 5) {
                    int64_t few[3] = {shapes[s][0], shapes[s][1], shapes[s][2]};
                    const int64_t n = few[axis];
                    few[axis] = n > 0 ? count : 0;
                    const int plain = kind % VIEW_WRITABLE;
                    tensor x = test_view(arena, TENSOR_F32, kind, 3, shapes[s]);
                    tensor out = test_view(arena, TENSOR_F32, plain, 3, few);
                    tensor ids = test_view(arena, TENSOR_I32, (kind + 1) % VIEW_COUNT, 3, few);
                    tensor into = test_view(arena, TENSOR_F32, plain, 3, shapes[s]);
                    tensor before = view(TENSOR_F32, VIEW_PLAIN, shapes[s][0], shapes[s][1], shapes[s][2]);
                    test_fill(x, 3, -1, 1);
                    test_fill(into, 4, -1, 1);
                    for (int64_t i = 0; i < tensor_size(ids); i++)
                        *test_int_at(ids, i) = (int32_t)((i * i + 3 * i) % n);
                    TEST_OK(tensor_gather(out, x, axis - 3, ids, &err));
                    EACH_INDEX(at, few) {
                        const int32_t id = *(int32_t *)(void *)element(ids, at, axis, at[axis]);
                        cr_assert_eq(*element(out, at, axis, at[axis]), *element(x, at, axis, id));
                    }
                    TEST_OK(tensor_copy(before, into, &err));
                    TEST_OK(tensor_scatter_add(into, axis, ids, out, scratch(TENSOR_F32, 32 * n), &err));
                    EACH_INDEX(to, shapes[s]) {
                        double sum = (double)*element(before, to, axis, to[axis]);
                        for (int64_t i = 0; i < few[axis]; i++)
                            if (*(int32_t *)(void *)element(ids, to, axis, i) == to[axis])
                                sum += (double)*element(out, to, axis, i);
                        test_close((double)*element(into, to, axis, to[axis]), sum, 2e-7, "scatter_add");
                    }
                    tensor_arena_reset(arena);
                }
}

/* One list of ids for all lines, which are many neighbours. */
static void scatter_add_with_room(int64_t times) {
    enum { IDS = 9, N = 5, WIDTH = 137 };
    tensor out = view(TENSOR_F32, VIEW_PLAIN, 2, N, WIDTH), x = view(TENSOR_F32, VIEW_PLAIN, 2, IDS, WIDTH);
    tensor list = view(TENSOR_I32, VIEW_PLAIN, 1, IDS, 1);
    tensor ids = tensor_expand(list, TENSOR_SHAPE(2, IDS, WIDTH), NULL);
    test_fill(x, 3, -1, 1);
    for (int i = 0; i < IDS; i++) list.i32[i] = i * i % N;
    TEST_OK(tensor_fill(out, 2, &err) &&
            tensor_scatter_add(out, 1, ids, x, scratch(TENSOR_F32, times * N), &err));
    EACH_INDEX(to, out.shape) {
        double sum = 2;
        for (int i = 0; i < IDS; i++)
            if (list.i32[i] == to[1]) sum += (double)*element(x, to, 1, i);
        test_close((double)*element(out, to, 1, to[1]), sum, 2e-7, "scatter_add");
    }
}

Test(arrange, scatter_add_with_repeated_ids) {
    const int64_t times[] = {32, 66, 128, 1000};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) scatter_add_with_room(times[i]);
}

/* A sum into one element does not lose with its length. */
Test(arrange, scatter_add_of_many) {
    enum { MANY = 1 << 20 };
    tensor out = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2), NULL);
    tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(MANY), NULL);
    tensor ids = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(MANY), NULL);
    TEST_OK(tensor_fill(x, 0.1, &err));
    TEST_OK(tensor_scatter_add(out, 0, ids, x, scratch(TENSOR_F32, 64), &err));
    cr_assert_eq(out.f32[0], (float)(MANY * (double)0.1f));
    TEST_OK(tensor_cumulative_sum(x, x, 0, &err));
    cr_assert_eq(x.f32[MANY - 1], (float)(MANY * (double)0.1f));
}

Test(arrange, errors_of_indices) {
    tensor x = view(TENSOR_F32, VIEW_PLAIN, 2, 3, 4), out = view(TENSOR_F32, VIEW_PLAIN, 2, 3, 2);
    tensor ids = view(TENSOR_I32, VIEW_PLAIN, 2, 3, 2), room = scratch(TENSOR_F32, 128);
    *test_int_at(ids, 5) = 4;
    TEST_FAILS(tensor_gather(out, x, 2, ids, &err), "gather: id 4 is outside 0..3");
    *test_int_at(ids, 5) = -1;
    TEST_FAILS(tensor_scatter_add(x, 2, ids, out, room, &err), "scatter_add: id -1 is outside 0..3");
    for (int kind = 0; kind < VIEW_COUNT; kind++)
        for (int64_t i = 0; i < 12; i++) { /* wherever it stands */
            tensor bad = test_view(arena, TENSOR_I32, kind, TENSOR_SHAPE(2, 3, 2));
            *test_int_at(bad, i) = 4;
            TEST_FAILS(tensor_gather(out, x, 2, bad, &err), "gather: id 4 is outside 0..3");
        }
    *test_int_at(ids, 5) = 0;
    TEST_FAILS(tensor_gather(out, x, 1, ids, &err), "gather: ids is [2, 3, 2], expected [2, 3, 4]");
    TEST_FAILS(tensor_gather(out, x, 3, ids, &err), "gather: axis 3 is outside a tensor of rank 3");
    TEST_FAILS(tensor_scatter_add(x, 2, ids, out, scratch(TENSOR_F32, 7), &err),
               "scatter_add: scratch needs 8 elements without gaps");
    TEST_FAILS(tensor_top_k(view(TENSOR_I32, VIEW_PLAIN, 2, 3, 5), x, 2, scratch(TENSOR_I32, 10), &err),
               "top_k: 5 elements of 4");
    TEST_FAILS(
        tensor_argsort(view(TENSOR_I32, VIEW_PLAIN, 2, 3, 4), x, 2, false, scratch(TENSOR_I32, 8), &err),
        "argsort: scratch needs 16 elements without gaps");
    TEST_FAILS(tensor_triangle(room, room, 0, false, &err), "triangle: x has rank 1, expected 2 or more");
}

/* Whether a comes before b. */
static bool ordered(float a, float b, bool falling) {
    if (isnan(a) || isnan(b)) return falling ? isnan(a) : isnan(b);
    return falling ? a >= b : a <= b;
}

static void check_order(tensor x, int axis, bool falling, tensor order) {
    const int64_t n = order.shape[axis];
    EACH_INDEX(at, order.shape) {
        if (at[axis] + 1 == n) continue;
        const int32_t a = *(int32_t *)(void *)element(order, at, axis, at[axis]);
        const int32_t b = *(int32_t *)(void *)element(order, at, axis, at[axis] + 1);
        const float u = *element(x, at, axis, a), v = *element(x, at, axis, b);
        cr_assert(ordered(u, v, falling), "%g before %g", (double)u, (double)v);
        cr_assert(a < b || u != v || a == b, "%d before %d, which are equal", a, b);
    }
}

Test(arrange, argsort_and_top_k) {
    for (int s = 0; s < SHAPES; s++)
        for (int axis = 0; axis < 3; axis++)
            for (int kind = 0; kind < VIEW_COUNT; kind++)
                for (int falling = 0; falling < 2; falling++) {
                    tensor x = test_view(arena, TENSOR_F32, kind, 3, shapes[s]);
                    tensor out = test_view(arena, TENSOR_I32, kind % VIEW_WRITABLE, 3, shapes[s]);
                    const int64_t n = shapes[s][axis];
                    test_fill(x, 5, -8, 8);
                    for (int64_t i = 0; i < tensor_size(x);
                         i++) { /* ties, zeros of both signs, what is no number */
                        float *v = test_at(x, i);
                        *v = i % 11 == 7 ? NAN : i % 13 == 2 ? INFINITY : i % 7 ? rintf(*v) : -0.f;
                    }
                    TEST_OK(tensor_argsort(out, x, axis, falling, scratch(TENSOR_I32, 4 * n), &err));
                    check_order(x, axis, falling, out);
                    EACH_INDEX(to, shapes[s]) { /* each number comes once */
                        int times = 0;
                        for (int64_t i = 0; i < n; i++)
                            times += *(int32_t *)(void *)element(out, to, axis, i) == to[axis];
                        cr_assert_eq(times, 1);
                    }
                    for (int64_t k = 0; falling && k <= n; k += k < 3 ? 1 : 20) {
                        int64_t part[3] = {shapes[s][0], shapes[s][1], shapes[s][2]};
                        part[axis] = k;
                        tensor top = test_view(arena, TENSOR_I32, kind % VIEW_WRITABLE, 3, part);
                        TEST_OK(tensor_top_k(top, x, axis, scratch(TENSOR_I32, 2 * k), &err));
                        EACH_INDEX(at, part)
                        cr_assert_eq(*(int32_t *)(void *)element(top, at, axis, at[axis]),
                                     *(int32_t *)(void *)element(out, at, axis, at[axis]));
                    }
                    tensor_arena_reset(arena);
                }
}

/* Lines of neighbours that are as far apart as they like, in x and in the result, in both directions. */
Test(arrange, cumulative_sums_of_lines_that_lie_apart) {
    enum { LINES = 23, N = 9 };
    for (int way = 0; way < 8; way++) {
        tensor x = view(TENSOR_F32, VIEW_PLAIN, 1, LINES, way & 1 ? 2 * N : N),
               out = view(TENSOR_F32, VIEW_PLAIN, 1, LINES, way & 2 ? 3 * N : N);
        test_fill(x, 5, -1, 1);
        x = tensor_slice(x, 2, 0, N, 1, NULL), out = tensor_slice(out, 2, 0, N, 1, NULL);
        if (way & 4)
            x = tensor_slice(x, 2, -1, INT64_MIN, -1, NULL),
            out = tensor_slice(out, 2, -1, INT64_MIN, -1, NULL);
        TEST_OK(tensor_cumulative_sum(out, x, 2, &err));
        for (int64_t line = 0; line < LINES; line++) {
            double sum = 0;
            for (int64_t i = 0; i < N; i++) {
                sum += (double)*test_at(x, line * N + i);
                test_close((double)*test_at(out, line * N + i), sum, 1e-7, "cumulative_sum");
            }
        }
        tensor_arena_reset(arena);
    }
}

Test(arrange, cumulative_sum_and_triangles) {
    for (int s = 0; s < SHAPES; s++)
        for (int kind = 0; kind < VIEW_COUNT; kind++) {
            tensor x = test_view(arena, TENSOR_F32, kind, 3, shapes[s]);
            tensor out = test_view(arena, TENSOR_F32, kind % VIEW_WRITABLE, 3, shapes[s]);
            test_fill(x, 5, -1, 1);
            for (int axis = 0; axis < 3; axis++) {
                TEST_OK(tensor_cumulative_sum(out, x, axis, &err));
                EACH_INDEX(at, shapes[s]) {
                    double sum = 0;
                    for (int64_t i = 0; i <= at[axis]; i++) sum += (double)*element(x, at, axis, i);
                    test_close((double)*element(out, at, axis, at[axis]), sum, 1e-7, "cumulative_sum");
                }
            }
            static const int64_t diagonals[] = {0, 1, -2, 400, -400, INT64_MAX, INT64_MIN};
            for (int d = 0; d < 7; d++)
                for (int upper = 0; upper < 2; upper++) {
                    TEST_OK(tensor_triangle(out, x, diagonals[d], upper, &err));
                    EACH_INDEX(at, shapes[s]) {
                        const int64_t off = at[2] - at[1];
                        const bool kept = upper ? off >= diagonals[d] : off <= diagonals[d];
                        cr_assert_eq(*element(out, at, 2, at[2]), kept ? *element(x, at, 2, at[2]) : 0);
                    }
                }
            tensor_arena_reset(arena);
        }
}
