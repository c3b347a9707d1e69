/* Shared by the tests of tensor/: awkward views, element access by row-major index, error in ulp. */
#ifndef SAMPO_TENSOR_TEST_H
#define SAMPO_TENSOR_TEST_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampo/tensor.h"

/* Layouts of one shape; the last repeats elements and cannot be written to. */
enum { VIEW_PLAIN, VIEW_TRANSPOSED, VIEW_STEPPED, VIEW_REVERSED, VIEW_BROADCAST, VIEW_COUNT };
enum { VIEW_WRITABLE = VIEW_BROADCAST };

static inline tensor test_view(tensor_arena *arena, tensor_dtype dtype, int kind, int rank,
                               const int64_t *shape) {
    int64_t sizes[TENSOR_MAX_RANK] = {0};
    int axes[TENSOR_MAX_RANK];
    tensor_error err = {0};
    tensor x;
    for (int i = 0; i < rank; i++) {
        axes[i] = rank - 1 - i;
        sizes[i] = kind == VIEW_TRANSPOSED ? shape[rank - 1 - i] : shape[i];
    }
    if (rank > 0 && kind == VIEW_STEPPED) sizes[rank - 1] *= 2;
    if (rank > 0 && kind == VIEW_BROADCAST) sizes[0] = 1;
    x = tensor_zeros(arena, dtype, rank, sizes, &err);
    if (rank > 0 && kind == VIEW_TRANSPOSED) x = tensor_permute(x, axes, &err);
    if (rank > 0 && kind == VIEW_STEPPED) x = tensor_slice(x, -1, 0, INT64_MAX, 2, &err);
    if (rank > 0 && kind == VIEW_REVERSED) x = tensor_slice(x, -1, INT64_MAX, INT64_MIN, -1, &err);
    if (rank > 0 && kind == VIEW_BROADCAST) x = tensor_expand(x, rank, shape, &err);
    cr_assert(tensor_ok(x), "%s", err.text);
    return x;
}

/* The element at a row-major index, and at the index that broadcasting `x` to `shape` gives it. */
static inline float *test_at_as(tensor x, int64_t index, int rank, const int64_t *shape) {
    float *p = x.f32;
    uint64_t rest = (uint64_t)
        index; /* divisions are what the oracles' time goes into: of one of a size of 1 none is made */
    for (int i = rank - 1, axis = x.rank - 1; i >= 0; i--, axis--) {
        if (shape[i] == 1) continue;
        const uint64_t size = (uint64_t)shape[i], at = i == 0 ? rest : rest % size;
        rest = i == 0 ? 0 : rest / size;
        if (axis >= 0 && x.shape[axis] != 1) p += (int64_t)at * x.stride[axis];
    }
    return p;
}
static inline float *test_at(tensor x, int64_t index) {
    return test_at_as(x, index, x.rank, x.shape);
}
static inline int32_t *test_int_at(tensor x, int64_t index) {
    return (int32_t *)(void *)test_at(x, index);
}

/* Goes through all elements in row-major order, without test_at's divisions. */
typedef struct test_walk {
    tensor x;
    float *next;
    int64_t at[TENSOR_MAX_RANK];
} test_walk;
static inline test_walk test_begin(tensor x) {
    return (test_walk){.x = x, .next = x.f32};
}
static inline float *test_next(test_walk *w) {
    float *const element = w->next;
    for (int i = w->x.rank - 1; i >= 0; i--) {
        w->next += w->x.stride[i];
        if (++w->at[i] < w->x.shape[i]) break;
        w->next -= w->at[i] * w->x.stride[i];
        w->at[i] = 0;
    }
    return element;
}

/* The elements in row-major order, for oracles that look at each several times. */
static inline float *test_numbers(tensor_arena *arena, tensor x) {
    const int64_t size = tensor_size(x);
    float *numbers = tensor_arena_alloc(arena, (size_t)(size + 1) * sizeof *numbers, NULL);
    test_walk walk = test_begin(x);
    cr_assert(numbers);
    for (int64_t i = 0; i < size; i++) memcpy(&numbers[i], test_next(&walk), sizeof *numbers);
    return numbers;
}

/* Uniform in low..high, the same at every call with the same seed. */
static inline void test_fill(tensor x, uint64_t seed, float low, float high) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    const int64_t size = tensor_size(x);
    test_walk walk = test_begin(x);
    for (int64_t i = 0; i < size; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        *test_next(&walk) = low + (high - low) * ((float)(state >> 40) * 0x1p-24f);
    }
}

/* |y - exact| in units of the last place of a float at `exact`; NaN, infinities and overflow must agree. */
static inline double test_ulp(float y, double exact) {
    if (isnan(exact) || isnan(y)) return isnan(exact) && isnan(y) ? 0 : HUGE_VAL;
    if (isinf(y) || isinf((float)exact)) {
        if (y == (float)exact) return 0;
        return !isinf(exact) && fabs((double)y) > 3.4e38 && fabs(exact) > 3.4e38 && (y > 0) == (exact > 0)
                   ? 1
                   : HUGE_VAL;
    }
    int exponent;
    frexp(exact, &exponent);
    return fabs((double)y - exact) / ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

/* cr_assert for each of many elements: Criterion hands every assertion to another process, also one that holds. */
#define TEST_EACH(condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition)) cr_assert_fail(__VA_ARGS__);                                                       \
    } while (0)

static inline void test_close(double y, double exact, double tolerance, const char *what) {
    TEST_EACH(fabs(y - exact) <= tolerance * (1 + fabs(exact)), "%s: %.9g, expected %.9g", what, y, exact);
}

/* Compares for each of `count` geometries, with x in every layout, but broadcast where it is empty, and results in the
 * writable ones. */
static inline void test_layouts(int count, bool (*empty)(int which),
                                void (*compare)(tensor_arena *arena, int which, int x_view, int y_view)) {
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int which = 0; which < count; which++)
        for (int x_view = 0; x_view < VIEW_COUNT; x_view++) {
            if (x_view == VIEW_BROADCAST && empty(which)) continue;
            tensor_arena_reset(arena);
            compare(arena, which, x_view, x_view % VIEW_WRITABLE);
        }
    tensor_arena_free(arena);
}

/* A call that must fail, with this text. */
#define TEST_FAILS(call, expected)                                                                           \
    do {                                                                                                     \
        tensor_error err = {0};                                                                              \
        cr_assert(!(call));                                                                                  \
        cr_assert_str_eq(err.text, expected);                                                                \
    } while (0)

/* A call that must succeed; `err` is in it. */
#define TEST_OK(call)                                                                                        \
    do {                                                                                                     \
        tensor_error err = {0};                                                                              \
        cr_assert((call), "%s", err.text);                                                                   \
    } while (0)

#endif
