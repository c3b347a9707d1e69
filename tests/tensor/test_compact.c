/* Compact weights: how far rounding goes, and products and look-ups against plain loops. */
#include "tests/tensor/tensor_test.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampo/tensor.h"

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_arena_free(arena);
}
TestSuite(compact, .init = set_up, .fini = tear_down);

static tensor normal(uint64_t stream, int64_t m, int64_t n, float deviation) {
    tensor_rng rng = {.seed = 1, .stream = stream};
    const tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(m, n), NULL);
    cr_assert(tensor_rand_normal(x, &rng, 0, deviation, NULL));
    return x;
}

/* A matrix, what it is rounded to, and the compact form of that. */
typedef struct rounded {
    tensor w, back;
    bool by_rows;
    tensor_compact compact;
} rounded;

static rounded rounded_of(tensor w, tensor_precision precision, bool by_rows) {
    rounded r = {w, normal(9, w.shape[0], w.shape[1], 1), by_rows, {0}};
    int64_t shape[2];
    tensor_scale_shape(w.shape, by_rows, shape);
    void *values = tensor_arena_alloc(arena, (size_t)tensor_size(w) * 2, NULL);
    uint16_t *scales = tensor_arena_alloc(arena, (size_t)(shape[0] * shape[1]) * 2, NULL);
    tensor_error err = {0};
    cr_assert(tensor_round_weights(w, precision, by_rows, values, scales, &err), "%s", err.text);
    tensor_unround_weights(r.back, precision, by_rows, values, scales);
    cr_assert(tensor_compact_new(&r.compact, precision, w.shape, by_rows, values, scales, arena, NULL));
    return r;
}

/* The weight that step p of output j meets. */
static float weight(const rounded *r, tensor w, int64_t p, int64_t j) {
    return r->by_rows ? w.f32[j * w.shape[1] + p] : w.f32[p * w.shape[1] + j];
}

Test(compact, bf16_is_nearest_to_even) {
    const float x[] = {1, 1.00390625f, 1.01171875f, -1.004f, 3.14159265f, 1e-40f, 0, -0.0f};
    const float y[] = {1, 1, 1.015625f, -1.0078125f, 3.140625f, 9.18355e-41f, 0, -0.0f};
    tensor_storage storage = {.data = (void *)x, .bytes = sizeof x};
    const rounded r =
        rounded_of(tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2, 4), NULL), TENSOR_BFLOAT16, false);
    for (int i = 0; i < 8; i++)
        cr_assert(fabsf(r.back.f32[i] - y[i]) <= 1e-44f && signbit(r.back.f32[i]) == signbit(y[i]), "%d: %g",
                  i, (double)r.back.f32[i]);
}

/* No number of a block is wrong by more than half of its scale, which is at most the largest / 127 and 1/128 more. */
Test(compact, int8_is_as_near_as_promised) {
    for (int by_rows = 0; by_rows < 2; by_rows++) {
        const rounded r = rounded_of(normal(1, 75, 70, 0.02f), TENSOR_INT8, by_rows);
        for (int64_t j = 0; j < r.compact.out; j++)
            for (int64_t b = 0; b < r.compact.in; b += 32) {
                float most = 0;
                for (int64_t p = b; p < b + 32 && p < r.compact.in; p++)
                    most = fmaxf(most, fabsf(weight(&r, r.w, p, j)));
                for (int64_t p = b; p < b + 32 && p < r.compact.in; p++)
                    cr_assert_float_eq(weight(&r, r.back, p, j), weight(&r, r.w, p, j),
                                       most / 127 * 1.008f / 2);
            }
    }
}

/* Of bfloat16 the bits of tensor_linear with the rounded weights; of 8 bits as near as 16 bits of x are. */
static void check_linear(int64_t m, int64_t k, int64_t n, tensor_precision precision, bool by_rows,
                         bool bias) {
    const tensor w = by_rows ? normal(1, n, k, 1) : normal(1, k, n, 1), x = normal(2, m, k, 1),
                 b = normal(3, 1, n, 1);
    const tensor out = normal(4, m, n, 1), plain = normal(5, m, n, 1), none = {0};
    const tensor start = bias ? tensor_squeeze(b, 0, NULL) : none;
    const rounded r = rounded_of(w, precision, by_rows);
    tensor_error err = {0};
    cr_assert(r.compact.in == k && r.compact.out == n);
    const int64_t need = tensor_compact_scratch(&r.compact, x);
    const tensor scratch = tensor_new(arena, TENSOR_I32, 1, &need, NULL);
    cr_assert(tensor_compact_linear(out, x, &r.compact, start, scratch, &err), "%s", err.text);
    if (need > 0) {
        const tensor one = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(1), NULL);
        cr_assert_not(
            tensor_compact_linear(out, x, &r.compact, start, tensor_expand(one, 1, &need, NULL), &err));
        cr_assert(strstr(err.text, "numbers without gaps"), "%s", err.text);
        err = (tensor_error){0};
    }
    cr_assert(tensor_linear(plain, x, by_rows ? tensor_transpose(r.back, 0, 1, NULL) : r.back, start, &err));
    const double bound = precision == TENSOR_BFLOAT16 ? 0 : 3e-4 * sqrt((double)k + 1);
    for (int64_t i = 0; i < m * n; i++)
        TEST_EACH(fabs((double)out.f32[i] - (double)plain.f32[i]) <= bound,
                  "%lld x %lld x %lld, %d, at %lld: %g, not %g", (long long)m, (long long)k, (long long)n,
                  precision, (long long)i, (double)out.f32[i], (double)plain.f32[i]);
    for (int64_t i = 0; i < m; i++) { /* a row alone has the same bits */
        const tensor one = normal(6, 1, n, 1);
        cr_assert(tensor_compact_linear(one, tensor_slice(x, 0, i, i + 1, 1, NULL), &r.compact, start,
                                        scratch, &err));
        cr_assert_eq(memcmp(one.f32, out.f32 + i * n, (size_t)n * sizeof(float)), 0, "row %lld of %lld",
                     (long long)i, (long long)m);
    }
    tensor_arena_reset(arena);
}

Test(compact, products_of_all_sizes) {
    const int64_t rows[] = {1, 2, 3, 4, 7, 13}, steps[] = {1, 31, 32, 33, 64, 291},
                  columns[] = {1, 15, 16, 51, 130};
    for (int m = 0; m < 6; m++)
        for (int k = 0; k < 6; k++)
            for (int n = 0; n < 5; n++)
                for (int form = 0; form < 8; form++)
                    check_linear(rows[m], steps[k], columns[n], form & 1 ? TENSOR_BFLOAT16 : TENSOR_INT8,
                                 form & 2, form & 4);
}

Test(compact, large_products_on_all_threads) {
    for (int form = 0; form < 2; form++)
        check_linear(3, 512, 2100, form ? TENSOR_BFLOAT16 : TENSOR_INT8, true, false);
}

Test(compact, look_ups_are_the_rounded_rows) {
    for (int precision = TENSOR_BFLOAT16; precision <= TENSOR_INT8; precision++) {
        const rounded r = rounded_of(normal(1, 53, 45, 1), (tensor_precision)precision, true);
        int32_t list[] = {52, 0, 17, 17};
        tensor_storage storage = {.data = list, .bytes = sizeof list};
        const tensor ids = tensor_wrap(&storage, TENSOR_I32, TENSOR_SHAPE(4), NULL),
                     out = normal(2, 4, 45, 1);
        tensor_error err = {0};
        cr_assert(tensor_compact_gather(out, &r.compact, ids, &err), "%s", err.text);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(memcmp(out.f32 + i * 45, r.back.f32 + list[i] * 45, 45 * sizeof(float)), 0);
        list[2] = 53;
        cr_assert(!tensor_compact_gather(out, &r.compact, ids, &err));
        cr_assert_str_eq(err.text, "gather_rows: id 53 is outside of 0..52");
    }
}

/* Numbers that are none come out as such, and of zeros nothing but bias. */
Test(compact, extremes) {
    const rounded r = rounded_of(normal(1, 64, 20, 1), TENSOR_INT8, false);
    const tensor x = normal(2, 3, 64, 1), out = normal(3, 3, 20, 1), none = {0};
    const int64_t need = tensor_compact_scratch(&r.compact, x);
    const tensor scratch = tensor_new(arena, TENSOR_I32, 1, &need, NULL);
    for (int i = 0; i < 64; i++) x.f32[i] = 0, x.f32[64 + i] *= 1e30f;
    x.f32[2 * 64 + 40] = INFINITY;
    cr_assert(tensor_compact_linear(out, x, &r.compact, none, scratch, NULL));
    for (int j = 0; j < 20; j++)
        cr_assert(out.f32[j] == 0 && isfinite(out.f32[20 + j]) && isnan(out.f32[40 + j]));
    tensor_error err = {0};
    const float bad[] = {1, NAN};
    uint16_t values[2];
    tensor_storage storage = {.data = (void *)bad, .bytes = sizeof bad};
    cr_assert(!tensor_round_weights(tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(1, 2), NULL),
                                    TENSOR_BFLOAT16, true, values, NULL, &err));
    cr_assert_str_eq(err.text, "round: number 1 is nan");
}
