/* All small products: each number of rows and of columns up to some more than the largest tile has, on each instruction
 * set, with each way in which the operands may lie, so that every copy of a tile's code runs. The numbers are small
 * integers, whose products and sums are exact in any order. */
#include "sampo/tensor.h"
#include "tests/tensor/tensor_test.h"

enum { ROWS = 26, COLS = 53, STEPS = 9 };

/* How a matrix lies in memory: rows or columns side by side, columns so far apart that they are copied, every second
 * element of both axes. */
enum { BY_ROWS, BY_COLUMNS, FAR_COLUMNS, STEPPED, LIES };

/* A matrix of small integers, which `lies` and `seed` decide. */
static tensor integers(tensor_arena *arena, int64_t rows, int64_t cols, int lies, uint64_t seed) {
    enum { FAR = 1 << 14 };
    const bool turned = lies == BY_COLUMNS || lies == FAR_COLUMNS;
    const int64_t step = lies == STEPPED ? 2 : 1;
    const int64_t plain[] = {rows * step, cols * step}, other[] = {cols, lies == FAR_COLUMNS ? FAR : rows};
    tensor x = tensor_zeros(arena, TENSOR_F32, 2, turned ? other : plain, NULL);
    if (turned) x = tensor_slice(tensor_transpose(x, 0, 1, NULL), 0, 0, rows, 1, NULL);
    if (lies == STEPPED)
        x = tensor_slice(tensor_slice(x, 0, 0, INT64_MAX, 2, NULL), 1, 0, INT64_MAX, 2, NULL);
    uint64_t state = seed;
    for (int64_t i = 0; i < rows * cols; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        *test_at(x, i) = (float)(state >> 61) - 3;
    }
    return x;
}

static tensor corner(tensor x, int64_t rows, int64_t cols) {
    return tensor_slice(tensor_slice(x, 0, 0, rows, 1, NULL), 1, 0, cols, 1, NULL);
}

/* The products of the first k steps. */
typedef float expected[ROWS][COLS];

static void add_step(expected sum, tensor a, tensor b, int64_t p) {
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < COLS; j++)
            sum[i][j] += a.f32[i * a.stride[0] + p * a.stride[1]] * b.f32[p * b.stride[0] + j * b.stride[1]];
}

/* Whether c is what is expected, plus `before` where it was there. */
static bool holds(tensor c, expected sum, float before) {
    bool right = true;
    for (int64_t i = 0; i < c.shape[0]; i++)
        for (int64_t j = 0; j < c.shape[1]; j++)
            right &= c.f32[i * c.stride[0] + j * c.stride[1]] == sum[i][j] + before;
    return right;
}

static void all_sizes(tensor a, tensor b, tensor c, int64_t k, expected sum, int lies) {
    static const int64_t columns[] = {1, 3, 4, 5, 8, 11, 12, 16, 21, 24, 27, 32, 40, 48, 53};
    enum { BEFORE = 5 };
    for (int64_t m = 1; m <= ROWS; m++)
        for (size_t at = 0; at < sizeof columns / sizeof *columns; at++)
            for (int more = 0; more < 2; more++) {
                const int64_t n = columns[at];
                const tensor out = corner(c, m, n);
                tensor_error err = {0};
                TEST_EACH(tensor_fill(out, BEFORE, &err) &&
                              tensor_matmul(out, corner(a, m, k), corner(b, k, n), more, &err),
                          "%s", err.text);
                TEST_EACH(holds(out, sum, more ? BEFORE : 0),
                          "[%d, %d] x [%d, %d], lie as %03o, accumulated %d", (int)m, (int)k, (int)k, (int)n,
                          lies, more);
            }
}

Test(matmul_tiles, all_small_products) {
    static const int64_t steps[] = {0, 1, 4, 9};
    tensor_arena *arena = tensor_arena_new(NULL);
    for (int lies = 0; lies < LIES * LIES * LIES; lies++) {
        const int of_a = lies % LIES, of_b = lies / LIES % LIES, of_c = lies / LIES / LIES;
        if (of_b == FAR_COLUMNS || of_c == FAR_COLUMNS) continue;
        const tensor a = integers(arena, ROWS, STEPS, of_a, 1), b = integers(arena, STEPS, COLS, of_b, 2);
        const tensor c = integers(arena, ROWS, COLS, of_c, 3);
        expected sum = {{0}};
        int64_t p = 0;
        for (size_t at = 0; at < sizeof steps / sizeof *steps; at++) {
            for (; p < steps[at]; p++) add_step(sum, a, b, p);
            all_sizes(a, b, c, p, sum, of_a * 64 + of_b * 8 + of_c);
        }
        tensor_arena_reset(arena);
    }
    tensor_arena_free(arena);
}
