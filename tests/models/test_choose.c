/* The choice of tokens against plain reckoning, and text on its way to a stream. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/lm/write/write_internal.h"

static tensor_error err;

/* ---- Top-k, top-p, min-p ---------------------------------------------------------------------- */

enum { MOST = 300 };

typedef struct ranked {
    float weight;
    int id;
} ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return x->id - y->id;
}

/* The same by sorting. */
static void keep_plainly(const lm_sampling *s, float *weights, int64_t count) {
    ranked all[MOST];
    for (int i = 0; i < count; i++) all[i] = (ranked){weights[i], i};
    qsort(all, (size_t)count, sizeof *all, by_rank);
    const int64_t most = s->top_k > 0 && s->top_k < count ? s->top_k : count;
    double total = 0, sum = 0;
    for (int64_t i = 0; i < most; i++) total += (double)all[i].weight;
    for (int64_t i = 0; i < count; i++) {
        const bool share = s->top_p == 0 || s->top_p >= 1 || sum < s->top_p * total;
        sum += (double)all[i].weight;
        if (i >= most || !share || (double)all[i].weight < s->min_p * (double)all[0].weight)
            weights[all[i].id] = 0;
    }
}

Test(choose, the_likeliest_are_kept) {
    const int64_t counts[] = {1, 2, 3, 51, 300}, top_k[] = {0, 1, 2, 7, 50, 51, 1000};
    const double top_p[] = {0, 1e-9, 0.1, 0.5, 0.9, 1}, min_p[] = {0, 0.05, 0.5, 1};
    uint64_t stream = 0;
    for (int a = 0; a < 5; a++)
        for (int k = 0; k < 7; k++)
            for (int p = 0; p < 6; p++)
                for (int m = 0; m < 4; m++) {
                    const lm_sampling s = {.top_k = top_k[k], .top_p = top_p[p], .min_p = min_p[m]};
                    float weights[MOST], expected[MOST];
                    int32_t order[MOST];
                    tensor_rng rng = {.seed = 1, .stream = stream++};
                    for (int64_t i = 0; i < counts[a]; i++) /* multiples of 1/64, so that many are equal */
                        expected[i] = weights[i] = (float)(1 + tensor_rng_below(&rng, 20)) / 64;
                    keep_plainly(&s, expected, counts[a]);
                    lm_keep_likeliest(&s, weights, order, counts[a]);
                    cr_assert_arr_eq(weights, expected, (size_t)counts[a] * sizeof *weights,
                                     "%lld tokens, top-k %lld, top-p %g, min-p %g", (long long)counts[a],
                                     (long long)top_k[k], top_p[p], min_p[m]);
                }
}

/* ---- The choice ------------------------------------------------------------------------------- */

static int32_t choose(const lm_sampling *s, const float *logits, int64_t count, const int32_t *recent,
                      int64_t recent_count, uint64_t counter) {
    float scores[MOST];
    int32_t order[MOST], id = -1;
    memcpy(scores, logits, (size_t)count * sizeof *scores);
    tensor_storage storage = {.data = scores, .bytes = sizeof scores};
    tensor_rng rng = {.seed = 5, .counter = counter};
    const tensor x = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(count), &err);
    cr_assert(lm_choose(s, x, order, recent, recent_count, &rng, &id, &err), "%s", err.text);
    return id;
}

Test(choose, the_likeliest_at_temperature_0) {
    const float logits[] = {-3, 2, 5, 5, 1};
    cr_expect_eq(choose(&(lm_sampling){0}, logits, 5, NULL, 0, 0), 2);
    const int32_t recent[] = {2, 2, 2, 0};
    const lm_sampling once = {.repetition_penalty = 1.25};
    cr_expect_eq(choose(&once, logits, 5, recent, 4, 0), 3, "divided by 1.25, once");
    const float near[] = {5, 3.5f}; /* 5 / 1.25 is above it, 5 / 1.25 / 1.25 is not */
    cr_expect_eq(choose(&once, near, 2, (int32_t[]){0, 1, 0, 0}, 4, 0), 0);
    cr_expect_eq(choose(&once, near, 2, (int32_t[]){0, 0}, 2, 0), 0);
    const lm_sampling harsh = {.repetition_penalty = 2};
    const float below[] = {-1, -1.5f};
    cr_expect_eq(choose(&harsh, below, 2, (int32_t[]){0}, 1, 0), 1, "a negative logit is multiplied");
}

/* A temperature by which nothing can be divided is as good as 0. */
Test(choose, the_likeliest_at_temperatures_near_0) {
    const float logits[] = {-3, 2, 5, 5, 1};
    static const double near[] = {1e-7, 1e-39, 1e-44, 1e-300};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
        for (uint64_t draw = 0; draw < 9; draw++)
            cr_expect_eq(choose(&(lm_sampling){.temperature = near[i]}, logits, 5, NULL, 0, draw), 2, "%g",
                         near[i]);
}

/* Drawn often, a token comes as often as its probability says. */
Test(choose, draws_follow_the_probabilities) {
    enum { DRAWS = 20000 };
    const float logits[] = {0, 1, 2, -30};
    const lm_sampling s = {.temperature = 0.5};
    const double weight[] = {1, 7.38905609893065, 54.598150033144236}; /* e^0, e^2, e^4 */
    int drawn[4] = {0};
    for (int i = 0; i < DRAWS; i++) drawn[choose(&s, logits, 4, NULL, 0, (uint64_t)i)]++;
    for (int i = 0; i < 3; i++)
        cr_expect_float_eq(drawn[i], DRAWS * weight[i] / (weight[0] + weight[1] + weight[2]), 300);
    cr_expect_eq(drawn[3], 0);
}

Test(choose, only_what_is_kept_is_drawn) {
    const float logits[] = {0, 0.1f, 0.2f, 0.3f};
    const lm_sampling s = {.temperature = 100, .top_k = 2};
    for (uint64_t i = 0; i < 200; i++) cr_assert_geq(choose(&s, logits, 4, NULL, 0, i), 2);
}

/* The choice itself is the same on every platform. */
Test(choose, is_the_same_everywhere) {
    static const int32_t expected[] = {24, 46, 207, 210, 35, 90, 210, 177};
    float logits[MOST];
    for (int i = 0; i < MOST; i++) logits[i] = (float)(i * 37 % 101) / 16;
    const lm_sampling s = {.temperature = 0.8, .top_k = 100, .top_p = 0.95, .min_p = 0.01};
    for (uint64_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_expect_eq(choose(&s, logits, MOST, NULL, 0, i), expected[i], "draw %d", (int)i);
}

Test(choose, numbers_that_are_not_finite_are_an_error) {
    float scores[] = {1, 0.0f / 0.0f};
    int32_t order[2], id;
    tensor_storage storage = {.data = scores, .bytes = sizeof scores};
    const tensor x = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2), &err);
    cr_assert_not(lm_choose(&(lm_sampling){0}, x, order, NULL, 0, NULL, &id, &err));
    cr_assert_str_eq(err.text, "the model predicts no finite numbers");
}

/* ---- The writer ------------------------------------------------------------------------------- */

/* What comes out of bytes that go in one by one, or all at once. */
static void check_written(const char *bytes, const char *stop, const char *expected) {
    for (int whole = 0; whole < 2; whole++) {
        char *text = NULL;
        size_t size = 0, given = strlen(bytes);
        lm_writer w = {.file = open_memstream(&text, &size), .stop = stop};
        cr_assert(w.file);
        for (size_t i = 0; i < given; i += whole ? given : 1)
            cr_assert(lm_writer_bytes(&w, bytes + i, whole ? given : 1, &err), "%s", err.text);
        cr_assert(lm_writer_end(&w, &err), "%s", err.text);
        fclose(w.file);
        cr_expect_str_eq(text, expected);
        free(text);
    }
}

#define LOST "\xef\xbf\xbd" /* U+FFFD */

Test(writer, only_whole_characters) {
    check_written("Väinämöinen 世界 🙂", NULL, "Väinämöinen 世界 🙂");
    check_written("a\xc3", NULL, "a" LOST);
    check_written("a\xf0\x9f\x99", NULL, "a" LOST);
    check_written("\xc3\xc3\xa4", NULL, LOST "ä");
    check_written("\xe4\xb8z\x80\xff", NULL, LOST "z" LOST LOST);
    check_written("\xed\xa0\x80", NULL, LOST LOST LOST); /* a surrogate */
    check_written("\xc0\x80", NULL, LOST LOST);          /* longer than needed */
}

/* Before the end nothing of a character is on the stream. */
Test(writer, waits_for_the_rest_of_a_character) {
    char *text = NULL;
    size_t size = 0;
    lm_writer w = {.file = open_memstream(&text, &size)};
    cr_assert(lm_writer_bytes(&w, "\xe4\xb8", 2, &err));
    fflush(w.file);
    cr_expect_eq(size, 0);
    cr_assert(lm_writer_bytes(&w, "\x96", 1, &err));
    fflush(w.file);
    cr_expect_eq(size, 3);
    cr_assert(lm_writer_end(&w, &err));
    fclose(w.file);
    free(text);
}

Test(writer, ends_before_the_stop_text) {
    check_written("one. two. three", ". t", "one");
    check_written("one. two. three", "three", "one. two. ");
    check_written("one. two", "x", "one. two");
    check_written("aaab", "aab", "a");
    check_written("abababac", "abac", "abab");
    check_written("one. t", ". three", "one. t"); /* held back, but not the stop text */
    check_written("työ ja ö", "ö ja", "ty");
    check_written("stop", "stop", "");
}

/* A pace of 100 characters a second: 10 take a tenth of a second. */
Test(writer, keeps_the_pace) {
    char *text = NULL;
    size_t size = 0;
    struct timespec begun, ended;
    lm_writer w = {.file = open_memstream(&text, &size), .pace = 100};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    cr_assert(lm_writer_bytes(&w, "0123456789", 10, &err));
    clock_gettime(CLOCK_MONOTONIC, &ended);
    const double seconds =
        (double)(ended.tv_sec - begun.tv_sec) + 1e-9 * (double)(ended.tv_nsec - begun.tv_nsec);
    cr_expect_geq(seconds, 0.099);
    cr_assert(lm_writer_end(&w, &err));
    fclose(w.file);
    cr_expect_str_eq(text, "0123456789");
    free(text);
}
