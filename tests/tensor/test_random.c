/* Random numbers: known answers, distributions, and the promise that they depend on their place alone. */
#include "sampo/tensor.h"
#include "tests/arena.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

ARENA_SUITE(random);

static tensor new_f32(int64_t n) {
    tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(n), &err);
    cr_assert(tensor_ok(x));
    return x;
}

static tensor new_i32(int64_t n) {
    tensor x = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(n), &err);
    cr_assert(tensor_ok(x));
    return x;
}

/* FNV-1a of the elements' bits. */
static uint64_t hash(tensor x) {
    uint64_t h = UINT64_C(14695981039346656037);
    for (int64_t i = 0; i < tensor_size(x); i++)
        for (int byte = 0; byte < 4; byte++)
            h = (h ^ ((uint32_t)x.i32[i] >> 8 * byte & 255)) * UINT64_C(1099511628211);
    return h;
}

/* ---- Words ---------------------------------------------------------------------------------------- */

/* kat_vectors of Random123: philox4x32 10. */
Test(random, philox_known_answers) {
    static const struct {
        tensor_rng rng;
        uint32_t words[4];
    } cases[] = {
        {{0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT64_MAX, UINT64_MAX, UINT64_MAX}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        tensor_rng rng = cases[i].rng;
        uint32_t words[4];
        tensor_rng_block(&rng, words);
        for (int k = 0; k < 4; k++) cr_assert_eq(words[k], cases[i].words[k], "case %d, word %d", i, k);
        cr_assert_eq(rng.counter, cases[i].rng.counter + 1);
        cr_assert(rng.seed == cases[i].rng.seed && rng.stream == cases[i].rng.stream);
    }
}

Test(random, below_is_uniform) {
    enum { BOUND = 7, N = 70000 };
    tensor_rng rng = {.seed = 1};
    int count[BOUND] = {0};
    for (int i = 0; i < N; i++) {
        uint64_t value = tensor_rng_below(&rng, BOUND);
        cr_assert_lt(value, BOUND);
        count[value]++;
    }
    cr_assert_geq(rng.counter, N);
    double chi2 = 0;
    for (int i = 0; i < BOUND; i++) chi2 += pow(count[i] - N / BOUND, 2) / (N / BOUND);
    cr_assert_lt(chi2, 22.5, "chi-square %g on 6 degrees of freedom (p = 0.001)", chi2);
}

Test(random, below_refuses_what_would_be_biased) {
    /* Of 3 * 2^62 values the lower third would come twice as often if the 64 bits were only reduced. */
    tensor_rng rng = {.seed = 2};
    uint64_t bound = UINT64_C(3) << 62;
    int low = 0, n = 30000;
    for (int i = 0; i < n; i++) low += tensor_rng_below(&rng, bound) < UINT64_C(1) << 62;
    cr_assert_float_eq(low, n / 3.0, 5 * sqrt(n * 2.0 / 9), "%d of %d", low, n);
    cr_assert_gt(rng.counter, (uint64_t)n * 5 / 4, "some blocks are refused");
    cr_assert_eq(tensor_rng_below(&rng, 1), 0);
}

Test(random, uniform_double) {
    tensor_rng rng = {.seed = 3};
    double sum = 0, squares = 0;
    int n = 100000, fine = 0;
    for (int i = 0; i < n; i++) {
        double u = tensor_rng_uniform(&rng);
        cr_assert(u >= 0 && u < 1);
        sum += u, squares += u * u;
        fine += fmod(u * 0x1p40, 1) != 0;
    }
    cr_assert_eq(rng.counter, (uint64_t)n, "one block a number");
    cr_assert_float_eq(sum / n, 0.5, 5 * sqrt(1.0 / 12 / n));
    cr_assert_float_eq(squares / n, 1.0 / 3, 5 * sqrt(4.0 / 45 / n));
    cr_assert_gt(fine, n * 0.99, "53 bits, not 32");
}

/* ---- Fills: where each element comes from ------------------------------------------------------------ */

typedef bool fill_function(tensor out, tensor_rng *rng, tensor_error *err);

static bool fill_uniform(tensor out, tensor_rng *rng, tensor_error *e) {
    return tensor_rand_uniform(out, rng, -1, 3, e);
}
static bool fill_normal(tensor out, tensor_rng *rng, tensor_error *e) {
    return tensor_rand_normal(out, rng, 1, 2, e);
}
static bool fill_integers(tensor out, tensor_rng *rng, tensor_error *e) {
    return tensor_rand_integers(out, rng, INT32_MIN, INT32_MAX / 2, e); /* a range with many refused words */
}
static bool fill_dropout(tensor out, tensor_rng *rng, tensor_error *e) {
    return tensor_rand_dropout(out, rng, 0.3f, e);
}
static const struct {
    fill_function *fill;
    tensor_dtype dtype;
    uint64_t hash; /* of 10001 elements of seed 42, stream 7, counter 5: pins every bit */
} fills[] = {
    {fill_uniform, TENSOR_F32, UINT64_C(0xe4dd308a782d0529)},
    {fill_normal, TENSOR_F32, UINT64_C(0xdbdc425caf598544)},
    {fill_integers, TENSOR_I32, UINT64_C(0x22454001f81cb72a)},
    {fill_dropout, TENSOR_F32, UINT64_C(0x3878be0787f444d5)},
};
enum { FILLS = sizeof fills / sizeof *fills };

Test(random, fills_have_pinned_bits) {
    for (int f = 0; f < FILLS; f++) {
        tensor_rng rng = {.seed = 42, .stream = 7, .counter = 5};
        tensor x = tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(10001), &err);
        cr_assert(fills[f].fill(x, &rng, &err));
        cr_assert_eq(hash(x), fills[f].hash, "fill %d: 0x%016llx", f, (unsigned long long)hash(x));
        cr_assert_eq(rng.counter, 5 + (10001 + 3) / 4);
        cr_assert_eq(x.storage->version, 1, "a change in place is counted");
    }
}

/* Element i is a function of (seed, stream, counter + i / 4, i mod 4): any cut at a multiple of 4 gives the
 * same, and so does any number of threads. */
Test(random, fills_do_not_depend_on_partition) {
    enum { N = 50000 };
    for (int f = 0; f < FILLS; f++) {
        tensor whole = tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(N), &err);
        tensor_rng rng = {.seed = 9, .stream = 1, .counter = 100};
        tensor_set_threads(1, NULL);
        cr_assert(fills[f].fill(whole, &rng, &err));
        for (int threads = 2; threads <= 5; threads++) {
            tensor again = tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(N), &err);
            tensor_set_threads(threads, NULL);
            rng.counter = 100;
            cr_assert(fills[f].fill(again, &rng, &err));
            cr_assert_arr_eq(again.data, whole.data, N * 4);
        }
        tensor parts = tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(N), &err);
        rng.counter = 100;
        for (int64_t begin = 0, size = 4; begin < N; begin += size, size = size * 3 / 8 * 4) {
            tensor part = tensor_slice(parts, 0, begin, begin + size, 1, &err);
            cr_assert_eq(rng.counter, 100 + (uint64_t)begin / 4);
            cr_assert(fills[f].fill(part, &rng, &err));
        }
        cr_assert_arr_eq(parts.data, whole.data, N * 4);
    }
}

Test(random, fills_are_row_major_in_strided_tensors) {
    for (int f = 0; f < FILLS; f++) {
        tensor dense = tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(37, 90), &err);
        tensor strided =
            tensor_transpose(tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(90, 37), &err), 0, 1, &err);
        tensor_rng a = {.seed = 5}, b = a;
        cr_assert(fills[f].fill(dense, &a, &err) && fills[f].fill(strided, &b, &err));
        for (int64_t i = 0; i < 37; i++)
            for (int64_t k = 0; k < 90; k++) cr_assert_eq(dense.i32[i * 90 + k], strided.i32[i + k * 37]);
        cr_assert_eq(a.counter, b.counter);
    }
}

Test(random, fills_of_scalars_and_nothing) {
    for (int f = 0; f < FILLS; f++) {
        tensor_rng rng = {.seed = 5};
        cr_assert(fills[f].fill(tensor_new(arena, fills[f].dtype, TENSOR_SHAPE(3, 0), &err), &rng, &err));
        cr_assert_eq(rng.counter, 0);
        cr_assert(fills[f].fill(tensor_new(arena, fills[f].dtype, 0, NULL, &err), &rng, &err));
        cr_assert_eq(rng.counter, 1);
    }
}

Test(random, streams_and_seeds_differ) {
    tensor x = new_f32(64), y = new_f32(64);
    for (int which = 0; which < 3; which++) {
        tensor_rng a = {.seed = 1, .stream = 1, .counter = 1000}, b = a;
        if (which == 0) b.seed += UINT64_C(1) << 32;
        if (which == 1) b.stream += UINT64_C(1) << 32;
        if (which == 2) b.counter += UINT64_C(1) << 32;
        tensor_rand_uniform(x, &a, 0, 1, &err);
        tensor_rand_uniform(y, &b, 0, 1, &err);
        int equal = 0;
        for (int i = 0; i < 64; i++) equal += x.f32[i] == y.f32[i];
        cr_assert_leq(equal, 1);
    }
}

/* ---- Fills: distributions ------------------------------------------------------------------------------ */

Test(random, uniform_moments_and_range) {
    enum { N = 200000 };
    tensor x = new_f32(N);
    tensor_rng rng = {.seed = 6};
    cr_assert(tensor_rand_uniform(x, &rng, -2, 4, &err));
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double u = (double)x.f32[i];
        cr_assert(u >= -2 && u < 4);
        sum += u, squares += (u - 1) * (u - 1);
    }
    cr_assert_float_eq(sum / N, 1, 5 * sqrt(3.0 / N));
    cr_assert_float_eq(squares / N, 3, 5 * sqrt(7.2 / N));
}

Test(random, uniform_never_reaches_high) {
    /* Between these two lies no float: only the lower one is possible, though half of all sums round up. */
    float low = 1, high = nextafterf(1, 2);
    tensor x = new_f32(1000);
    tensor_rng rng = {.seed = 7};
    cr_assert(tensor_rand_uniform(x, &rng, low, high, &err));
    for (int i = 0; i < 1000; i++) cr_assert_eq(x.f32[i], low);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

Test(random, normal_moments_and_distribution) {
    enum { N = 1 << 20 };
    tensor x = new_f32(N);
    tensor_rng rng = {.seed = 8};
    cr_assert(tensor_rand_normal(x, &rng, 0, 1, &err));
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (int i = 0; i < N; i++) {
        double v = (double)x.f32[i];
        m1 += v / N, m2 += v * v / N, m3 += v * v * v / N, m4 += v * v * v * v / N;
    }
    cr_assert_float_eq(m1, 0, 5 * sqrt(1.0 / N));
    cr_assert_float_eq(m2, 1, 5 * sqrt(2.0 / N));
    cr_assert_float_eq(m3, 0, 5 * sqrt(15.0 / N));
    cr_assert_float_eq(m4, 3, 5 * sqrt(96.0 / N));
    /* Kolmogorov-Smirnov: sqrt(N) times the largest distance exceeds 1.95 once in a thousand times. */
    qsort(x.f32, N, sizeof(float), ascending);
    double distance = 0;
    for (int i = 0; i < N; i++)
        distance = fmax(distance, fabs(erfc(-(double)x.f32[i] / sqrt(2)) / 2 - (i + 0.5) / N));
    cr_assert_lt(distance * sqrt(N), 1.95, "distance %g", distance);
    cr_assert(x.f32[0] < -4.5f && x.f32[N - 1] > 4.5f, "the tails are there");
}

/* Word by word: the number belongs to the word's place in (0, 1). Includes a word far out in the tail. */
Test(random, normal_is_the_quantile_of_its_word) {
    enum { N = 40000 };
    tensor x = new_f32(N);
    tensor_rng rng = {.seed = 12}, again = rng;
    cr_assert(tensor_rand_normal(x, &rng, 0, 1, &err));
    double worst = 0;
    for (int i = 0; i < N; i++) {
        uint32_t words[4];
        again.counter = (uint64_t)i / 4;
        tensor_rng_block(&again, words);
        double p = (words[i % 4] + 0.5) * 0x1p-32, v = (double)x.f32[i];
        double tail = erfc(fabs(v) / sqrt(2)) / 2, wanted = p < 0.5 ? p : 1 - p;
        cr_assert(v < 0 ? p < 0.5 : p >= 0.5);
        /* d tail / tail is about (|v| + 1) dv, and dv half a unit in the last place of a float. */
        worst = fmax(worst, fabs(tail - wanted) / (wanted * (fabs(v) + 1) * fmax(fabs(v), 0x1p-20)));
    }
    cr_assert_lt(worst, 0x1p-23, "relative error %g", worst);
}

Test(random, normal_mean_and_deviation) {
    tensor x = new_f32(1000), y = new_f32(1000);
    tensor_rng a = {.seed = 8}, b = a;
    cr_assert(tensor_rand_normal(x, &a, 0, 1, &err) && tensor_rand_normal(y, &b, 10, 0.5f, &err));
    for (int i = 0; i < 1000; i++) cr_assert_float_eq(y.f32[i], 10 + 0.5f * x.f32[i], 1e-6);
    cr_assert(tensor_rand_normal(y, &b, 10, 0, &err));
    for (int i = 0; i < 1000; i++) cr_assert_eq(y.f32[i], 10);
}

Test(random, integers_are_uniform) {
    enum { LOW = -5, HIGH = 6, N = 110000 };
    tensor x = new_i32(N);
    tensor_rng rng = {.seed = 10};
    cr_assert(tensor_rand_integers(x, &rng, LOW, HIGH, &err));
    int count[HIGH - LOW] = {0};
    for (int i = 0; i < N; i++) {
        cr_assert(x.i32[i] >= LOW && x.i32[i] < HIGH);
        count[x.i32[i] - LOW]++;
    }
    double chi2 = 0;
    for (int i = 0; i < HIGH - LOW; i++) chi2 += pow(count[i] - N / (HIGH - LOW), 2) / (N / (HIGH - LOW));
    cr_assert_lt(chi2, 29.6, "chi-square %g on 10 degrees of freedom (p = 0.001)", chi2);
}

Test(random, integers_of_a_wide_range_are_unbiased) {
    /* 3 * 2^30 values: without refused words those divisible by 3 would come twice as often. */
    enum { N = 30000 };
    tensor x = new_i32(N);
    tensor_rng rng = {.seed = 11};
    cr_assert(tensor_rand_integers(x, &rng, INT32_MIN, 1 << 30, &err));
    int divisible = 0;
    for (int i = 0; i < N; i++) divisible += ((int64_t)x.i32[i] - INT32_MIN) % 3 == 0;
    cr_assert_float_eq(divisible, N / 3.0, 5 * sqrt(N * 2.0 / 9), "%d of %d", divisible, N);
    cr_assert(tensor_rand_integers(x, &rng, INT32_MAX - 1, INT32_MAX, &err));
    for (int i = 0; i < N; i++) cr_assert_eq(x.i32[i], INT32_MAX - 1);
}

Test(random, dropout) {
    enum { N = 100000 };
    static const float probabilities[] = {0, 0.1f, 0.5f, 0.999f};
    tensor x = new_f32(N);
    tensor_rng rng = {.seed = 13};
    for (int k = 0; k < 4; k++) {
        float p = probabilities[k];
        cr_assert(tensor_rand_dropout(x, &rng, p, &err));
        int dropped = 0;
        for (int i = 0; i < N; i++) {
            cr_assert(x.f32[i] == 0 || x.f32[i] == 1 / (1 - p));
            dropped += x.f32[i] == 0;
        }
        cr_assert_float_eq(dropped, N * (double)p, 5 * sqrt(N * (double)p * (1 - (double)p)) + 1e-9);
    }
}

/* ---- Categorical ------------------------------------------------------------------------------------- */

Test(random, categorical_follows_the_weights) {
    enum { ROWS = 60000, V = 6 };
    static const float weights[V] = {0, 3, 1, 0, 2, 0};
    tensor_storage storage = {.data = (void *)weights, .bytes = sizeof weights};
    tensor w = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(V), &err);
    tensor out = new_i32(ROWS);
    tensor_rng rng = {.seed = 14};
    cr_assert(tensor_rand_categorical(out, &rng, tensor_expand(w, TENSOR_SHAPE(ROWS, V), &err), &err));
    cr_assert_eq(rng.counter, ROWS, "one block a row");
    cr_assert_eq(out.storage->version, 1);
    int count[V] = {0};
    for (int i = 0; i < ROWS; i++) count[out.i32[i]]++;
    cr_assert(count[0] == 0 && count[3] == 0 && count[5] == 0, "weight 0 is never drawn");
    double chi2 = 0;
    for (int i = 0; i < V; i++)
        if (weights[i] > 0)
            chi2 += pow(count[i] - ROWS * (double)weights[i] / 6, 2) / (ROWS * (double)weights[i] / 6);
    cr_assert_lt(chi2, 13.9, "chi-square %g on 2 degrees of freedom (p = 0.001)", chi2);
}

/* Row r uses block counter + r, and the first index whose running sum exceeds u times the whole. */
Test(random, categorical_rows_are_independent) {
    tensor w = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(3, 4, 5), &err),
           wt = tensor_transpose(w, 0, 1, &err);
    tensor_rng rng = {.seed = 15}, scan = {.seed = 16};
    cr_assert(tensor_rand_uniform(w, &rng, 0, 1, &err));
    tensor out = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(4, 3), &err);
    rng = scan;
    cr_assert(tensor_rand_categorical(out, &rng, wt, &err));
    for (int row = 0; row < 12; row++) {
        const float *weights = w.f32 + (row % 3 * 4 + row / 3) * 5;
        double sum = 0, running = 0, u = tensor_rng_uniform(&scan);
        for (int i = 0; i < 5; i++) sum += (double)weights[i];
        int drawn = 0;
        while ((running += (double)weights[drawn]) <= u * sum) drawn++;
        cr_assert_eq(out.i32[row], drawn);
    }
    tensor one = tensor_new(arena, TENSOR_I32, 0, NULL, &err);
    tensor row = tensor_reshape(tensor_slice(w, 0, 0, 1, 1, &err), TENSOR_SHAPE(20), &err);
    cr_assert(tensor_rand_categorical(one, &rng, row, &err), "a scalar from a vector");
}

Test(random, categorical_refuses) {
    static const float bad[][2] = {{0, 0}, {1, NAN}, {INFINITY, 1}, {2, -1}};
    tensor out = new_i32(3), w = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(3, 2), &err);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 6; i++) w.f32[i] = i < 4 ? 1 : bad[k][i % 2];
        tensor_rng rng = {.seed = 17};
        err.text[0] = '\0';
        cr_assert_not(tensor_rand_categorical(out, &rng, w, &err));
        cr_assert_str_eq(err.text, "rand_categorical: the weights of row 2 have no positive finite sum");
        cr_assert_eq(rng.counter, 0);
    }
    tensor_rng rng = {0};
    err.text[0] = '\0';
    cr_assert_not(tensor_rand_categorical(new_i32(4), &rng, w, &err));
    cr_assert_str_eq(err.text, "rand_categorical: out is [4], expected [3]");
}

/* ---- Refusals -------------------------------------------------------------------------------------------- */

#define EXPECT_FAIL(call, message)                                                                           \
    do {                                                                                                     \
        err.text[0] = '\0';                                                                                  \
        cr_assert_not(call);                                                                                 \
        cr_assert_str_eq(err.text, message);                                                                 \
        cr_assert_eq(rng.counter, 0);                                                                        \
    } while (0)

Test(random, fills_refuse) {
    tensor_rng rng = {0};
    tensor f = new_f32(2), i = new_i32(2), none = {0};
    EXPECT_FAIL(tensor_rand_uniform(f, &rng, 1, 1, &err), "rand_uniform: the range from 1 to 1 is not one");
    EXPECT_FAIL(tensor_rand_uniform(f, &rng, 0, NAN, &err),
                "rand_uniform: the range from 0 to nan is not one");
    EXPECT_FAIL(tensor_rand_normal(f, &rng, 0, -1, &err), "rand_normal: a deviation of -1 is not 0 or more");
    EXPECT_FAIL(tensor_rand_integers(i, &rng, 3, 3, &err),
                "rand_integers: there is no integer from 3 to below 3");
    EXPECT_FAIL(tensor_rand_dropout(f, &rng, 1, &err), "rand_dropout: a probability of 1 is not in [0, 1)");
    EXPECT_FAIL(tensor_rand_uniform(i, &rng, 0, 1, &err), "rand_uniform: out is int32, expected float32");
    EXPECT_FAIL(tensor_rand_integers(f, &rng, 0, 1, &err), "rand_integers: out is float32, expected int32");
    EXPECT_FAIL(tensor_rand_normal(none, &rng, 0, 1, &err), "rand_normal: out is no tensor");
    EXPECT_FAIL(tensor_rand_dropout(none, &rng, 0, &err), "rand_dropout: out is no tensor");
    EXPECT_FAIL(tensor_rand_categorical(i, &rng, none, &err), "rand_categorical: weights is no tensor");
}

/* Where the low word of the counter overflows, and wherever a tensor ends. */
Test(random, words_of_a_tensor_are_those_of_its_counters) {
    for (int64_t n = 1; n < 140; n++) {
        tensor_arena_reset(arena);
        tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(n), &err);
        tensor_rng rng = {.seed = 77, .stream = 0x123456789a, .counter = UINT32_MAX - 7}, same = rng;
        cr_assert(tensor_rand_uniform(x, &rng, 0, 1, &err));
        for (int64_t i = 0; i < n; i += 4) {
            uint32_t words[4];
            tensor_rng_block(&same, words);
            for (int64_t j = 0; j < 4 && i + j < n; j++)
                cr_assert_eq(x.f32[i + j], (float)((double)(words[j] >> 8) * 0x1p-24), "n %d", (int)n);
        }
        cr_assert_eq(rng.counter, same.counter);
    }
}
