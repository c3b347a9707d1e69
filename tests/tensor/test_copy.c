/* Concatenation along every axis, of parts of every layout; copies of what repeats. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

#include "sampo/kernels.h"

static tensor_arena *arena;

static void begin(void) {
    arena = tensor_arena_new(NULL);
}
static void end(void) {
    tensor_arena_free(arena);
    tensor_set_threads(1, NULL);
}
TestSuite(copy, .init = begin, .fini = end);

enum { PARTS = 3 };

static void check_concat(tensor out, const tensor *x, int axis) {
    TEST_OK(tensor_concat(out, PARTS, x, axis, &err));
    int64_t at = 0;
    for (int i = 0; i < PARTS; i++) {
        const tensor part = tensor_slice(out, axis, at, at + x[i].shape[axis], 1, NULL);
        cr_assert(tensor_same_shape(part, x[i]));
        cr_assert_eq(memcmp(test_numbers(arena, part), test_numbers(arena, x[i]),
                            (size_t)tensor_size(part) * sizeof(float)),
                     0, "axis %d, part %d", axis, i);
        at += x[i].shape[axis];
    }
}

Test(copy, concat) {
    static const int64_t sizes[][PARTS] = {{2, 1, 4}, {0, 3, 17}, {1, 1, 1}, {300, 0, 257}};
    static const int64_t shapes[][3] = {{3, 5, 2}, {1, 4, 64}, {70, 9, 1}, {2, 0, 3}};
    for (int threads = 1; threads <= 3; threads += 2)
        for (int s = 0; s < 4; s++)
            for (int k = 0; k < 4; k++)
                for (int axis = 0; axis < 3; axis++)
                    for (int kind = 0; kind < VIEW_COUNT; kind++)
                        for (int to = 0; to < VIEW_WRITABLE; to++) {
                            tensor_arena_reset(arena);
                            TEST_OK(tensor_set_threads(threads, &err));
                            int64_t shape[3] = {shapes[s][0], shapes[s][1], shapes[s][2]}, all = 0;
                            tensor x[PARTS];
                            for (int i = 0; i < PARTS; i++) {
                                shape[axis] = sizes[k][i];
                                all += shape[axis];
                                x[i] = test_view(arena, TENSOR_F32, i == 1 ? kind : VIEW_PLAIN, 3, shape);
                                test_fill(x[i], (uint64_t)i + 1, -1, 1);
                            }
                            shape[axis] = all;
                            check_concat(test_view(arena, TENSOR_F32, to, 3, shape), x, axis);
                        }
}

Test(copy, concat_refuses) {
    const tensor a = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 3), NULL),
                 b = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(3, 3), NULL),
                 c = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2), NULL),
                 ids = tensor_zeros(arena, TENSOR_I32, TENSOR_SHAPE(2, 3), NULL),
                 out = tensor_zeros(arena, TENSOR_F32, TENSOR_SHAPE(2, 6), NULL);
    TEST_FAILS(tensor_concat(out, 2, (tensor[]){a, b}, 1, &err), "concat: x is [3, 3], expected [2, 3]");
    TEST_FAILS(tensor_concat(out, 2, (tensor[]){a, c}, 1, &err), "concat: x is [2], expected [2, 6]");
    TEST_FAILS(tensor_concat(out, 2, (tensor[]){a, ids}, 1, &err), "concat: x is int32, expected float32");
    TEST_FAILS(tensor_concat(out, 1, &a, 1, &err), "concat: out is [2, 6], expected [2, 3]");
    TEST_FAILS(tensor_concat(out, 2, (tensor[]){a, a}, 2, &err),
               "concat: axis 2 is outside a tensor of rank 2");
    TEST_FAILS(tensor_concat((tensor){0}, 2, (tensor[]){a, a}, 1, &err), "concat: out is no tensor");
    TEST_OK(tensor_concat(out, 2, (tensor[]){a, a}, -1, &err));
}

/* Elements that are repeated along a row, along rows, or both. */
Test(copy, of_what_repeats) {
    static const int64_t from[][2] = {{9, 1}, {1, 21}, {1, 1}};
    for (int f = 0; f < 3; f++)
        for (int to = 0; to < VIEW_WRITABLE; to++) {
            const tensor x = tensor_zeros(arena, TENSOR_F32, 2, from[f], NULL),
                         out = test_view(arena, TENSOR_F32, to, 2, (int64_t[]){9, 21});
            test_fill(x, 5, -1, 1);
            TEST_OK(tensor_copy(out, x, &err));
            for (int64_t e = 0; e < 9 * 21; e++)
                TEST_EACH(*test_at(out, e) == *test_at_as(x, e, 2, out.shape), "element %d", (int)e);
        }
}
