/* Attention against plain loops in double: every shape, layout and mask, large scores, NaN, caches. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;
static void set_up(void) {
    arena = tensor_arena_new(NULL);
}
static void tear_down(void) {
    tensor_arena_free(arena);
}
TestSuite(attention, .init = set_up, .fini = tear_down);

static const tensor none;

/* Drawn once for each stream, as many hundreds of operands want them. */
static void fill_normal(tensor x, uint64_t stream) {
    enum { STREAMS = 7, MOST = 2 * 4 * 130 * 130 };
    static float numbers[STREAMS][MOST];
    static bool drawn[STREAMS];
    const int64_t size = tensor_size(x);
    cr_assert(stream < STREAMS && size <= MOST);
    tensor_storage storage = {.data = numbers[stream], .bytes = sizeof numbers[stream]};
    const tensor all = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(MOST), NULL);
    tensor_rng rng = {.seed = 1, .stream = stream};
    if (!drawn[stream]) TEST_OK(tensor_rand_normal(all, &rng, 0, 1, &err));
    drawn[stream] = true;
    test_walk walk = test_begin(x);
    for (int64_t i = 0; i < size; i++) *test_next(&walk) = numbers[stream][i];
}

/* [B, H, T, D] in memory without gaps, as [B, T, H, D], as heads side by side among others' elements, with both batch
 * axes backwards, and, for operands alone, one batch for all, and each head's rows as columns. A stream of normal numbers
 * fills it; stream 1 is NaN, for results. */
enum {
    PACKED,
    BY_TOKEN,
    WIDE,
    BACKWARDS,
    WRITABLE,
    REPEATED = WRITABLE,
    ROWS_LAYOUTS,
    COLUMNS = ROWS_LAYOUTS
};
static tensor laid_out(int layout, uint64_t stream, int64_t b, int64_t h, int64_t t, int64_t d) {
    tensor x;
    if (layout == BY_TOKEN || layout == WIDE) {
        x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(b, t, 3 * h, d), NULL);
        if (layout == BY_TOKEN) x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(b, t, h, d), NULL);
        if (layout == WIDE) x = tensor_slice(x, 2, h, 2 * h, 1, NULL);
        x = tensor_transpose(x, 1, 2, NULL);
    } else if (layout == COLUMNS) {
        x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(b, h, d, t + 3), NULL);
        x = tensor_transpose(tensor_slice(x, 3, 0, t, 1, NULL), 2, 3, NULL);
    } else {
        x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(layout == REPEATED ? 1 : b, h, t, d), NULL);
    }
    if (layout == BACKWARDS)
        for (int axis = 0; axis < 2; axis++) x = tensor_slice(x, axis, INT64_MAX, INT64_MIN, -1, NULL);
    if (stream == 1)
        TEST_OK(tensor_fill(x, NAN, &err));
    else
        fill_normal(x, stream);
    x = tensor_expand(x, TENSOR_SHAPE(b, h, t, d), NULL);
    cr_assert(tensor_ok(x));
    return x;
}

static float at(const tensor *x, int64_t b, int64_t h, int64_t i, int64_t j) {
    return x->f32[b * x->stride[0] + h * x->stride[1] + i * x->stride[2] + j * x->stride[3]];
}

/* ---- Plain loops ------------------------------------------------------------------------------- */

typedef struct call {
    tensor q, k, v, dy, mask; /* the mask as it broadcasts */
    tensor_attention_options options;
} call;

/* What y, stats, dq, dk, dv should be, packed. */
typedef struct expected {
    double *y, *stats, *d[3];
} expected;

static double *zeros(int64_t n) {
    return memset(tensor_arena_alloc(arena, (size_t)(n + 1) * sizeof(double), NULL), 0,
                  (size_t)(n + 1) * sizeof(double));
}

static double dot(const tensor *x, int64_t b, int64_t hx, int64_t i, const tensor *y, int64_t hy, int64_t j) {
    double sum = 0;
    for (int64_t e = 0; e < x->shape[3]; e++) sum += (double)at(x, b, hx, i, e) * (double)at(y, b, hy, j, e);
    return sum;
}

/* -infinity where the key is hidden. As in tensor.h, scale q . k is a float before the mask is added. */
static double score(const call *c, int64_t b, int64_t h, int64_t of_keys, int64_t i, int64_t j) {
    const bool additive = c->options.additive;
    if (c->options.causal && j > i + c->k.shape[2] - c->q.shape[2]) return -INFINITY;
    const double mask = tensor_ok(c->mask) ? (double)at(&c->mask, b, h, i, j) : additive ? 0 : 1;
    if (additive ? mask == -INFINITY : mask == 0) return -INFINITY;
    return dot(&c->q, b, h, i, &c->k, of_keys, j) * (double)c->options.scale + (additive ? mask : 0);
}

/* One query: p[j] and what follows from it; dp[j] is p[j]'s gradient. */
static void expect_row(const call *c, expected *x, int64_t b, int64_t h, int64_t i, double *p, double *dp) {
    const int64_t *q = c->q.shape, *k = c->k.shape, tk = k[2], d = q[3], of_keys = h / (q[1] / k[1]);
    const int64_t row = (b * q[1] + h) * q[2] + i, keys = (b * k[1] + of_keys) * tk;
    double high = -INFINITY, sum = 0, share = 0;
    for (int64_t j = 0; j < tk; j++) {
        p[j] = score(c, b, h, of_keys, i, j);
        if (p[j] > high) high = p[j];
    }
    for (int64_t j = 0; j < tk; j++) sum += p[j] = p[j] == -INFINITY ? 0 : exp(p[j] - high);
    x->stats[2 * row] = sum == 0 ? 0 : high;
    x->stats[2 * row + 1] = sum == 0 ? 0 : 1 / sum;
    for (int64_t j = 0; j < tk; j++) {
        if (p[j] == 0) continue; /* hidden, or without influence */
        p[j] /= sum;
        for (int64_t e = 0; e < d; e++) {
            x->y[row * d + e] += p[j] * (double)at(&c->v, b, of_keys, j, e);
            x->d[2][(keys + j) * d + e] += p[j] * (double)at(&c->dy, b, h, i, e);
        }
        dp[j] = dot(&c->dy, b, h, i, &c->v, of_keys, j);
        share += p[j] * dp[j];
    }
    for (int64_t j = 0; j < tk; j++) {
        if (p[j] == 0) continue;
        const double ds = (double)c->options.scale * p[j] * (dp[j] - share);
        for (int64_t e = 0; e < d; e++) {
            x->d[0][row * d + e] += ds * (double)at(&c->k, b, of_keys, j, e);
            x->d[1][(keys + j) * d + e] += ds * (double)at(&c->q, b, h, i, e);
        }
    }
}

static expected expect(const call *c) {
    const int64_t *q = c->q.shape, queries = tensor_size(c->q), keys = tensor_size(c->k);
    expected x = {zeros(queries), zeros(2 * q[0] * q[1] * q[2]), {zeros(queries), zeros(keys), zeros(keys)}};
    double *p = zeros(c->k.shape[2]), *dp = zeros(c->k.shape[2]);
    for (int64_t b = 0; b < q[0]; b++)
        for (int64_t h = 0; h < q[1]; h++)
            for (int64_t i = 0; i < q[2]; i++) expect_row(c, &x, b, h, i, p, dp);
    return x;
}

/* |x - exact| against the largest of all, as small ones are differences of large ones. `before` was there. */
static void check(const char *name, tensor x, const double *exact, float before, double tolerance) {
    double scale = 1;
    const int64_t size = tensor_size(x);
    test_walk walk = test_begin(x);
    for (int64_t i = 0; i < size; i++) scale = fabs(exact[i]) > scale ? fabs(exact[i]) : scale;
    for (int64_t i = 0; i < size; i++) {
        const double got = (double)*test_next(&walk), want = exact[i] + (double)before;
        TEST_EACH(isnan(want) ? isnan(got) : fabs(got - want) <= tolerance * scale,
                  "%s[%lld]: %.9g, expected %.9g", name, (long long)i, got, want);
    }
}

/* The call's mask as it is given; broadcasts here. */
static void set_mask(call *c, tensor mask) {
    c->options.mask = c->mask = mask;
    if (tensor_ok(mask))
        c->mask = tensor_expand(
            mask, TENSOR_SHAPE(c->q.shape[0], c->q.shape[1], c->q.shape[2], c->k.shape[2]), NULL);
    cr_assert(tensor_ok(mask) == tensor_ok(c->mask));
}

static double largest(tensor x) {
    double found = 1;
    const int64_t size = tensor_size(x);
    test_walk walk = test_begin(x);
    for (int64_t i = 0; i < size; i++) {
        const double one = fabs((double)*test_next(&walk));
        if (one > found) found = one;
    }
    return found;
}

/* Forward, also with keys as columns, and the gradients, overwritten or added to; outputs in `layout`. */
static void check_call(const call *c, int layout, bool accumulate, double tolerance) {
    const int64_t *q = c->q.shape, *k = c->k.shape;
    const expected exact = expect(c);
    const tensor y = laid_out(layout, 1, q[0], q[1], q[2], q[3]);
    const tensor stats = laid_out(layout, 1, q[0], q[1], q[2], 2);
    const tensor columns = laid_out(COLUMNS, 1, k[0], k[1], k[2], k[3]);
    TEST_OK(tensor_copy(columns, c->k, &err));
    TEST_OK(tensor_attention(y, none, c->q, columns, c->v, &c->options, &err));
    check("y of keys as columns", y, exact.y, 0, tolerance);
    TEST_OK(tensor_fill(y, NAN, &err));
    TEST_OK(tensor_attention(y, stats, c->q, c->k, c->v, &c->options, &err));
    check("y", y, exact.y, 0, tolerance);
    check("stats", stats, exact.stats, 0, tolerance);

    static const char *const names[] = {"dq", "dk", "dv"};
    const float before = accumulate ? 3 : 0;
    tensor d[3];
    for (int i = 0; i < 3; i++) {
        const int64_t *shape = i ? k : q;
        d[i] = laid_out(layout, 1, shape[0], shape[1], shape[2], shape[3]);
        if (accumulate) TEST_OK(tensor_fill(d[i], 3, &err));
    }
    const bool all[3] = {accumulate, accumulate, accumulate};
    TEST_OK(
        tensor_attention_vjp(d[0], d[1], d[2], c->dy, y, stats, c->q, c->k, c->v, &c->options, all, &err));
    const double scales[3] = {largest(c->k), largest(c->q), 1}; /* what a score's gradient is multiplied by */
    for (int i = 0; i < 3; i++) check(names[i], d[i], exact.d[i], before, tolerance * scales[i]);
}

/* ---- Every shape, mask and layout ---------------------------------------------------------------- */

/* 0: no mask; else which of the axes B, H, Tq, Tk are not 1, the last read forwards or backwards; of five keys one is
 * hidden, at times a whole row. Additive masks have numbers elsewhere. */
enum { MASKS = 33 };
static tensor some_mask(const call *c, int kind) {
    if (kind == 0) return none;
    int64_t shape[] = {c->q.shape[0], c->q.shape[1], c->q.shape[2], c->k.shape[2]};
    for (int axis = 0; axis < 4; axis++)
        if (!((kind - 1) >> axis & 1)) shape[axis] = 1;
    tensor mask = tensor_new(arena, TENSOR_F32, 4, shape, NULL);
    if (kind > 16) mask = tensor_slice(mask, 3, INT64_MAX, INT64_MIN, -1, NULL);
    fill_normal(mask, 6);
    test_walk walk = test_begin(mask);
    const int64_t size = tensor_size(mask);
    for (int64_t i = 0; i < size; i++) {
        float *at = test_next(&walk);
        const bool hidden = *at < -0.85f || i / shape[3] % 7 == 2;
        if (hidden) *at = c->options.additive ? -INFINITY : 0;
    }
    return mask;
}

static void check_shapes(bool causal, bool additive) {
    static const int64_t lengths[][2] = {{0, 3},    {3, 0},    {1, 1},   {2, 2},   {1, 130},
                                         {2, 63},   {63, 64},  {64, 64}, {65, 65}, {130, 130},
                                         {63, 130}, {130, 65}, {65, 1}},
                         heads[][2] = {{1, 1}, {4, 2}, {3, 1}, {0, 2}}, sizes[] = {0, 1, 4, 16, 20};
    int round = 0;
    for (size_t t = 0; t < sizeof lengths / sizeof lengths[0]; t++)
        for (size_t h = 0; h < sizeof heads / sizeof heads[0]; h++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
                for (int m = 0; m < 4; m++, round++) {
                    const int64_t tq = lengths[t][0], tk = lengths[t][1], hq = heads[h][0], hkv = heads[h][1];
                    tensor_arena_reset(arena);
                    call c = {.q = laid_out(round % ROWS_LAYOUTS, 2, 2, hq, tq, sizes[s]),
                              .k = laid_out((round + 1) % ROWS_LAYOUTS, 3, 2, hkv, tk, sizes[s]),
                              .v = laid_out((round + 2) % ROWS_LAYOUTS, 4, 2, hkv, tk, sizes[s]),
                              .dy = laid_out((round + 3) % ROWS_LAYOUTS, 5, 2, hq, tq, sizes[s]),
                              .options = {.scale = 0.3f, .causal = causal, .additive = additive}};
                    set_mask(&c, some_mask(&c, m ? 1 + round % (MASKS - 1) : 0));
                    check_call(&c, round % WRITABLE, round / WRITABLE % 2, 1e-5);
                }
}

Test(attention, full) {
    check_shapes(false, false);
}
Test(attention, full_with_a_mask_that_is_added) {
    check_shapes(false, true);
}
Test(attention, causal) {
    check_shapes(true, false);
}
Test(attention, causal_with_a_mask_that_is_added) {
    check_shapes(true, true);
}

/* ---- Numbers -------------------------------------------------------------------------------------- */

static call random_call(int64_t hq, int64_t hkv, int64_t tq, int64_t tk, int64_t d, bool causal) {
    return (call){.q = laid_out(PACKED, 2, 1, hq, tq, d),
                  .k = laid_out(PACKED, 3, 1, hkv, tk, d),
                  .v = laid_out(PACKED, 4, 1, hkv, tk, d),
                  .dy = laid_out(PACKED, 5, 1, hq, tq, d),
                  .options = {.scale = 0.25f, .causal = causal}};
}

/* Of one token all weights are 1, whatever its score and however the product with the scale rounds. */
Test(attention, one_token) {
    const float sizes[] = {1e-30f, 0, 0.7f, 1002, 4001, 78332, 1e18f};
    const float scales[] = {0.35f, 1, 0.125f, 0.3333333f};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] * 4; i++) {
        call c = random_call(1, 1, 1, 1, 1, true);
        const float x = sizes[i / 4];
        c.options.scale = scales[i % 4];
        c.q.f32[0] = c.k.f32[0] = x, c.v.f32[0] = 5, c.dy.f32[0] = 1;
        const tensor y = laid_out(PACKED, 1, 1, 1, 1, 1), stats = laid_out(PACKED, 1, 1, 1, 1, 2);
        const tensor dv = laid_out(PACKED, 1, 1, 1, 1, 1), dq = laid_out(PACKED, 1, 1, 1, 1, 1);
        TEST_OK(tensor_attention(y, stats, c.q, c.k, c.v, &c.options, &err));
        TEST_OK(tensor_attention_vjp(dq, none, dv, c.dy, y, stats, c.q, c.k, c.v, &c.options, (bool[3]){0},
                                     &err));
        cr_expect_eq(y.f32[0], 5, "y of %g: %.9g", (double)x, (double)y.f32[0]);
        cr_expect_eq(dv.f32[0], 1, "dv of %g: %.9g", (double)x, (double)dv.f32[0]);
        cr_expect_eq(dq.f32[0], 0, "dq of %g: %.9g", (double)x, (double)dq.f32[0]);
    }
}

/* Scores that are whole numbers, so that float has them exactly: their differences decide. `base` is added to all, and
 * the largest lie in the first tile, in the last, or rise from tile to tile. */
Test(attention, large_scores) {
    enum { T = 200, FORMS = 4 };
    const float bases[] = {0, 1e4f, -1e4f, 8e6f};
    for (int i = 0; i < 4 * FORMS * 2; i++) {
        const float base = bases[i % 4];
        const int form = i / 4 % FORMS;
        call c = random_call(1, 1, T, T, 2, i >= 4 * FORMS);
        c.options.scale = 1;
        for (int64_t j = 0; j < T; j++) {
            const int64_t offset = form == 0   ? j * 7 % 5
                                   : form == 1 ? (j == 3) * 2000
                                   : form == 2 ? (j == 190) * 2000
                                               : j * j / 8;
            c.q.f32[2 * j] = c.q.f32[2 * j + 1] = 1;
            c.k.f32[2 * j] = base, c.k.f32[2 * j + 1] = (float)offset;
        }
        check_call(&c, PACKED, false, 4e-6);
    }
}

/* The largest finite numbers of a mask that is added, as others write "hidden", do no harm. */
Test(attention, large_masks) {
    call c = random_call(1, 1, 70, 130, 4, false);
    c.options.additive = true;
    const tensor mask = laid_out(PACKED, 6, 1, 1, 70, 130);
    for (int64_t i = 0; i < tensor_size(mask); i++) mask.f32[i] = i % 3 ? -1e30f : i % 2 ? -3.4028235e38f : 0;
    set_mask(&c, mask);
    check_call(&c, PACKED, false, 4e-6);
}

/* An operand that is NaN or infinite reaches the rows that see it and nothing else, on any instruction set. `where` 0: a
 * query, 1: a key, 2: a value, 3: dy; of those one is hidden from all others if not `visible`. */
static void check_odd_operand(bool causal, int where, float odd, int64_t position, bool visible) {
    enum { T = 150, D = 4 };
    call c = random_call(2, 1, T, T, D, causal);
    const tensor mask = laid_out(PACKED, 6, 1, 1, T, T), in[] = {c.q, c.k, c.v, c.dy};
    for (int64_t i = 0; i < T * T; i++)
        mask.f32[i] = i % 11 != 0 && (visible || position != (where == 1 || where == 2 ? i % T : i / T));
    set_mask(&c, mask);
    float *operand = in[where].f32 + position * D + 1;
    *operand = NAN;
    const expected exact = expect(&c);
    *operand = odd;
    const tensor y = laid_out(PACKED, 1, 1, 2, T, D), stats = laid_out(PACKED, 1, 1, 2, T, 2);
    const tensor d[] = {laid_out(PACKED, 1, 1, 2, T, D), laid_out(PACKED, 1, 1, 1, T, D),
                        laid_out(PACKED, 1, 1, 1, T, D)};
    TEST_OK(tensor_attention(y, stats, c.q, c.k, c.v, &c.options, &err));
    TEST_OK(tensor_attention_vjp(d[0], d[1], d[2], c.dy, y, stats, c.q, c.k, c.v, &c.options, (bool[3]){0},
                                 &err));
    const tensor out[] = {y, d[0], d[1], d[2]};
    const double *want[] = {exact.y, exact.d[0], exact.d[1], exact.d[2]};
    for (int k = 0; k < 4; k++)
        for (int64_t i = 0; i < tensor_size(out[k]); i++) {
            const double got = (double)out[k].f32[i], x = want[k][i];
            TEST_EACH(isnan(x) ? isnan(got) || isinf(odd) : fabs(got - x) < 1e-4,
                      "causal %d, operand %d, position %lld, visible %d: output %d[%lld] is %g, expected %g",
                      causal, where, (long long)position, visible, k, (long long)i, got, x);
        }
}

Test(attention, what_is_not_finite_reaches_only_those_that_see_it) {
    const int64_t positions[] = {0, 5, 63, 64, 100, 149};
    for (int i = 0; i < 2 * 4 * 2 * 6 * 2; i++)
        check_odd_operand(i % 2, i / 2 % 4, i / 8 % 2 ? NAN : INFINITY, positions[i / 16 % 6], i / 96);
}

/* ---- Contracts ------------------------------------------------------------------------------------- */

/* Position i computed alone, its keys and values being a cache, has the bits it has in the whole sequence; so have a
 * few positions at a time. */
Test(attention, a_cache_gives_the_same_bits) {
    enum { T = 150, D = 20, HEADS = 4 };
    for (int columns = 0; columns < 2; columns++) {
        call c = random_call(HEADS, 2, T, T, D, true);
        if (columns) c.k = laid_out(COLUMNS, 3, 1, 2, T, D);
        const tensor y = laid_out(PACKED, 1, 1, HEADS, T, D);
        TEST_OK(tensor_attention(y, none, c.q, c.k, c.v, &c.options, &err));
        for (int64_t count = 1; count < 70; count += 33)
            for (int64_t i = 0; i + count <= T; i++) {
                const tensor few = laid_out(BY_TOKEN, 1, 1, HEADS, count, D);
                const tensor keys = tensor_slice(c.k, 2, 0, i + count, 1, NULL);
                const tensor values = tensor_slice(c.v, 2, 0, i + count, 1, NULL);
                TEST_OK(tensor_attention(few, none, tensor_slice(c.q, 2, i, i + count, 1, NULL), keys, values,
                                         &c.options, &err));
                for (int64_t h = 0; h < HEADS; h++)
                    for (int64_t r = 0; r < count; r++)
                        cr_assert_arr_eq(few.f32 + (r * HEADS + h) * D, y.f32 + (h * T + i + r) * D,
                                         D * sizeof(float), "head %lld, position %lld of %lld", (long long)h,
                                         (long long)(i + r), (long long)count);
            }
    }
}

/* The bits of a group are those of its keys and values repeated for every query head; their gradients are the sums over
 * those, in the order of the heads. */
Test(attention, groups_share_keys) {
    enum { T = 70, D = 8, HEADS = 6, GROUP = 3 };
    const call c = random_call(HEADS, HEADS / GROUP, T, T, D, true);
    const tensor y = laid_out(PACKED, 1, 1, HEADS, T, D), stats = laid_out(PACKED, 1, 1, HEADS, T, 2);
    const tensor dk = laid_out(PACKED, 1, 1, HEADS / GROUP, T, D), sum = laid_out(PACKED, 1, 1, 1, T, D);
    const tensor one = laid_out(PACKED, 1, 1, 1, T, D), one_stats = laid_out(PACKED, 1, 1, 1, T, 2);
    TEST_OK(tensor_attention(y, stats, c.q, c.k, c.v, &c.options, &err));
    TEST_OK(
        tensor_attention_vjp(none, dk, none, c.dy, y, stats, c.q, c.k, c.v, &c.options, (bool[3]){0}, &err));
    for (int64_t h = 0; h < HEADS; h++) {
        const int64_t g = h / GROUP;
        const tensor q = tensor_slice(c.q, 1, h, h + 1, 1, NULL),
                     dy = tensor_slice(c.dy, 1, h, h + 1, 1, NULL);
        const tensor k = tensor_slice(c.k, 1, g, g + 1, 1, NULL), v = tensor_slice(c.v, 1, g, g + 1, 1, NULL);
        TEST_OK(tensor_attention(one, one_stats, q, k, v, &c.options, &err));
        cr_assert_arr_eq(one.f32, y.f32 + h * T * D, T * D * sizeof(float));
        TEST_OK(tensor_attention_vjp(none, sum, none, dy, one, one_stats, q, k, v, &c.options,
                                     (bool[3]){false, h % GROUP > 0, false}, &err));
        if (h % GROUP == GROUP - 1) cr_assert_arr_eq(sum.f32, dk.f32 + g * T * D, T * D * sizeof(float));
    }
}

/* Each gradient alone has the bits it has beside the others. */
Test(attention, gradients_one_by_one) {
    const call c = random_call(2, 1, 70, 130, 12, true);
    const tensor y = laid_out(PACKED, 1, 1, 2, 70, 12), stats = laid_out(PACKED, 1, 1, 2, 70, 2);
    TEST_OK(tensor_attention(y, stats, c.q, c.k, c.v, &c.options, &err));
    tensor all[3];
    for (int i = 0; i < 3; i++) all[i] = laid_out(PACKED, 1, 1, i ? 1 : 2, i ? 130 : 70, 12);
    TEST_OK(tensor_attention_vjp(all[0], all[1], all[2], c.dy, y, stats, c.q, c.k, c.v, &c.options,
                                 (bool[3]){0}, &err));
    for (int i = 0; i < 3; i++) {
        tensor d[3] = {none, none, none};
        d[i] = laid_out(PACKED, 1, 1, i ? 1 : 2, i ? 130 : 70, 12);
        TEST_OK(tensor_fill(d[i], 0, &err));
        bool add[3] = {false};
        add[i] = true;
        TEST_OK(tensor_attention_vjp(d[0], d[1], d[2], c.dy, y, stats, c.q, c.k, c.v, &c.options, add, &err));
        cr_assert_arr_eq(d[i].f32, all[i].f32, (size_t)tensor_size(d[i]) * sizeof(float), "gradient %d", i);
    }
}

Test(attention, same_bits_with_any_number_of_threads) {
    call c = random_call(8, 4, 130, 130, 16, true);
    tensor first[4];
    for (int threads = 1; threads <= 4; threads++) {
        TEST_OK(tensor_set_threads(threads, &err));
        tensor out[4];
        for (int i = 0; i < 4; i++) out[i] = laid_out(PACKED, 1, 1, i < 2 ? 8 : 4, 130, 16);
        const tensor stats = laid_out(PACKED, 1, 1, 8, 130, 2);
        TEST_OK(tensor_attention(out[0], stats, c.q, c.k, c.v, &c.options, &err));
        TEST_OK(tensor_attention_vjp(out[1], out[2], out[3], c.dy, out[0], stats, c.q, c.k, c.v, &c.options,
                                     (bool[3]){0}, &err));
        for (int i = 0; i < 4; i++) {
            if (threads == 1) first[i] = out[i];
            cr_assert_arr_eq(out[i].f32, first[i].f32, (size_t)tensor_size(out[i]) * sizeof(float));
        }
    }
}

Test(attention, wrong_arguments) {
    const tensor_attention_options plain = {.scale = 1};
    const tensor x = laid_out(PACKED, 1, 1, 2, 4, 3), small = laid_out(PACKED, 1, 1, 2, 3, 3);
    const tensor wide = laid_out(PACKED, 1, 1, 3, 4, 3), columns = laid_out(COLUMNS, 1, 1, 2, 4, 3);
    const tensor stats = laid_out(PACKED, 1, 1, 2, 4, 2);
    const bool add[3] = {false};
    TEST_FAILS(tensor_attention(x, none, tensor_squeeze(x, 0, NULL), x, x, &plain, &err),
               "attention: q has rank 3, expected [B, H, T, D]");
    TEST_FAILS(tensor_attention(x, none, x, x, small, &plain, &err),
               "attention: v is [1, 2, 3, 3], expected [1, 2, 4, 3]");
    TEST_FAILS(tensor_attention(x, none, x, wide, wide, &plain, &err),
               "attention: 2 heads of queries are no multiple of 3 heads of keys");
    TEST_FAILS(tensor_attention(x, x, x, x, x, &plain, &err),
               "attention: stats is [1, 2, 4, 3], expected [1, 2, 4, 2]");
    TEST_FAILS(tensor_attention(x, none, columns, x, x, &plain, &err),
               "attention: q needs a last axis of stride 1, not 7");
    TEST_FAILS(tensor_attention(x, none, x, x, columns, &plain, &err),
               "attention: v needs a last axis of stride 1, not 7");
    TEST_FAILS(tensor_attention_vjp(x, x, x, x, x, stats, x, columns, x, &plain, add, &err),
               "attention_vjp: k needs a last axis of stride 1, not 7");
    TEST_FAILS(tensor_attention_vjp(x, x, columns, x, x, stats, x, x, x, &plain, add, &err),
               "attention_vjp: dv needs a last axis of stride 1, not 7");
    TEST_FAILS(tensor_attention_vjp(x, x, x, x, x, none, x, x, x, &plain, add, &err),
               "attention_vjp: stats is no tensor");
    TEST_FAILS(tensor_attention(x, none, x, x, x, NULL, &err), "attention: no options");
    TEST_FAILS(tensor_attention(x, none, x, x, x, &(tensor_attention_options){.scale = 0}, &err),
               "attention: the scale must be above 0 and finite, not 0");
    TEST_FAILS(
        tensor_attention(x, none, x, x, x, &(tensor_attention_options){.scale = 1, .mask = small}, &err),
        "attention: mask is [1, 2, 3, 3], which does not broadcast to [1, 2, 4, 4]");
}
