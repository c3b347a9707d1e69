/* Counted n-grams against a plain program: every count anew, by looking at all places of the text. */
#include "models/lm/count/count.h"
#include "tests/faults.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOCABULARY = 5, LENGTH = 400, ORDER = 4 };

static tensor_error err;
static int32_t text[LENGTH];
static tensor_rng rng;

/* Letters in habits, so that contexts of any length come again. */
static void write_text(void) {
    rng = (tensor_rng){.seed = 7};
    for (int i = 0; i < LENGTH; i++) {
        const bool copies = i >= 40 && tensor_rng_below(&rng, 8) > 0;
        text[i] = copies ? text[i - 37 + i / 100] : (int32_t)tensor_rng_below(&rng, VOCABULARY - 1);
    }
}

static lm_counts *learn(int order) {
    lm_counts *counts = lm_counts_learn((lm_tokens){text, LENGTH, 4}, VOCABULARY, order, &err);
    cr_assert(counts, "%s", err.text);
    return counts;
}

/* ---- The plain program ------------------------------------------------------------------------- */

/* Whether place i of the text counts, and ends with context[-k..-1] and token. */
static bool is_at(int i, int without, const int32_t *end, int k, int32_t token) {
    if (i == without || i < k || text[i] != token) return false;
    for (int j = 1; j <= k; j++)
        if (text[i - j] != end[-j]) return false;
    return true;
}

/* How often; or after how many different tokens. */
static int times(int without, const int32_t *end, int k, int32_t token, bool own) {
    bool before[VOCABULARY] = {false};
    int count = 0;
    for (int i = 0; i < LENGTH; i++) {
        if (!is_at(i, without, end, k, token)) continue;
        if (own)
            count++;
        else if (i > k && !before[text[i - k - 1]])
            count++, before[text[i - k - 1]] = true;
    }
    return count;
}

/* The discounts of contexts of k tokens, of the whole text. */
static void find_discounts(double discount[4], int k, bool own) {
    double n[5] = {0};
    int32_t gram[ORDER + 1];
    long grams = 1;
    for (int j = 0; j <= k; j++) grams *= VOCABULARY;
    for (long g = 0; g < grams; g++) {
        long rest = g;
        for (int j = 0; j <= k; j++, rest /= VOCABULARY) gram[j] = (int32_t)(rest % VOCABULARY);
        const int count = times(-1, gram + k, k, gram[k], own);
        if (count < 5) n[count]++;
    }
    const double y = n[1] / (n[1] + 2 * n[2]);
    for (int i = 1; i <= 3; i++) {
        const bool known = k > 0 && n[1] > 0 && n[i] > 0;
        discount[i] = known ? fmax(0.1, i - (i + 1) * y * n[i + 1] / n[i]) : 0.5;
    }
    discount[0] = 0;
}

static double discounts[2][ORDER + 1][4];

static double plain(int without, const int32_t *end, int k, int longest, int32_t token) {
    if (k < 0) return 1.0 / VOCABULARY;
    const bool own = k == longest;
    const double *d = discounts[own][k];
    double total = 0, freed = 0;
    for (int32_t v = 0; v < VOCABULARY; v++) {
        const int count = times(without, end, k, v, own);
        total += count;
        freed += d[count < 3 ? count : 3];
    }
    const double shorter = plain(without, end, k - 1, longest, token);
    if (total == 0) return shorter;
    const int count = times(without, end, k, token, own);
    return (count - d[count < 3 ? count : 3] + freed * shorter) / total;
}

static void compare(const lm_counts *counts, const int32_t *end, int available, int place) {
    float p[VOCABULARY];
    const int longest = available < ORDER ? available : ORDER;
    double sum = 0;
    lm_counts_predict(counts, end, available, place < 0 ? -1 : text[place], p, NULL);
    for (int32_t v = 0; v < VOCABULARY; v++) {
        const double expected = plain(place, end, longest, longest, v);
        cr_expect_float_eq(p[v], expected, 1e-6, "after %d tokens, without %d: %g, not %g", available, place,
                           p[v], expected);
        sum += p[v];
    }
    cr_expect_float_eq(sum, 1, 1e-6);
}

/* ---- Tests -------------------------------------------------------------------------------------- */

static void setup(void) {
    write_text();
    for (int k = 0; k <= ORDER; k++)
        for (int own = 0; own < 2; own++) find_discounts(discounts[own][k], k, own);
}

TestSuite(count, .init = setup);

Test(count, probabilities_are_those_of_kneser_ney) {
    lm_counts *counts = learn(ORDER);
    for (int i = 0; i < LENGTH; i += 3) compare(counts, text + i, i < 9 ? i : i % 8, -1);
    int32_t other[ORDER];
    for (int n = 0; n < 200; n++) { /* contexts that the text has not, and tokens that it has not */
        for (int i = 0; i < ORDER; i++) other[i] = (int32_t)tensor_rng_below(&rng, VOCABULARY);
        compare(counts, other + ORDER, n % (ORDER + 1), -1);
    }
    lm_counts_free(counts);
}

Test(count, a_place_is_left_out_as_if_it_were_not_counted) {
    lm_counts *counts = learn(ORDER);
    for (int i = 0; i < LENGTH; i += 2)
        for (int available = 0; available <= (i < ORDER + 2 ? i : ORDER + 2); available++)
            compare(counts, text + i, available, i);
    lm_counts_free(counts);
}

Test(count, only_the_tokens_that_are_available_are_looked_at) {
    lm_counts *counts = learn(ORDER);
    float p[VOCABULARY], q[VOCABULARY];
    for (int available = 0; available < ORDER; available++) {
        int32_t other[ORDER + 1];
        memcpy(other, text + 100 - ORDER, sizeof other);
        for (int i = 0; i < ORDER - available; i++) other[i] = -77;
        lm_counts_predict(counts, text + 100, available, -1, p, NULL);
        lm_counts_predict(counts, other + ORDER, available, -1, q, NULL);
        cr_expect_arr_eq(p, q, sizeof p, "of %d tokens", available);
    }
    lm_counts_free(counts);
}

static nn_file *file_of(const lm_counts *counts) {
    nn_entry entries[LM_COUNT_ENTRIES];
    const int count = lm_counts_list(counts, entries);
    char path[] = "/tmp/sampo-count-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    cr_assert(nn_file_save(path, entries, count, NULL, 0, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    unlink(path);
    cr_assert(file, "%s", err.text);
    return file;
}

static void expect_same(const lm_counts *a, const lm_counts *b) {
    float p[VOCABULARY], q[VOCABULARY];
    cr_expect_eq(lm_counts_grams(a), lm_counts_grams(b));
    for (int i = 0; i < LENGTH; i++) {
        lm_counts_predict(a, text + i, i, i % 2 ? text[i] : -1, p, NULL);
        lm_counts_predict(b, text + i, i, i % 2 ? text[i] : -1, q, NULL);
        cr_assert_arr_eq(p, q, sizeof p);
    }
}

Test(count, any_number_of_threads_counts_the_same) {
    cr_assert(tensor_set_threads(1, &err));
    lm_counts *one = learn(ORDER);
    cr_assert(tensor_set_threads(3, &err));
    lm_counts *three = learn(ORDER);
    expect_same(one, three);
    lm_counts_free(one);
    lm_counts_free(three);
}

Test(count, a_file_keeps_them) {
    lm_counts *counts = learn(ORDER);
    nn_file *file = file_of(counts);
    lm_counts *again = lm_counts_of_file(file, VOCABULARY, ORDER, &err);
    cr_assert(again, "%s", err.text);
    expect_same(counts, again);
    cr_expect_not(lm_counts_of_file(file, VOCABULARY - 2, ORDER, &err), "a token outside the vocabulary");
    err.text[0] = '\0';
    cr_expect_not(lm_counts_of_file(file, VOCABULARY, ORDER + 1, &err), "contexts that are not there");
    cr_expect(strstr(err.text, "counts"), "%s", err.text);
    lm_counts_free(again);
    lm_counts_free(counts);
    nn_file_close(file);
}

/* A list with one number changed, or without its last: refused, or counts that can be used without reading beside them. */
Test(count, damaged_files_are_refused_or_harmless) {
    lm_counts *counts = learn(2);
    nn_entry entries[LM_COUNT_ENTRIES];
    const int count = lm_counts_list(counts, entries);
    int refused = 0, taken = 0;
    for (int n = 0; n < 1000; n++) {
        nn_entry *e = &entries[tensor_rng_below(&rng, (uint64_t)count)];
        const nn_entry whole = *e;
        unsigned char *bytes = malloc(whole.bytes + 1);
        cr_assert(bytes);
        if (whole.bytes > 0) memcpy(bytes, whole.data, whole.bytes);
        e->data = bytes;
        if (n % 4 == 0 && e->bytes > 0) {
            e->shape[0]--;
            e->bytes -= e->bytes / (size_t)whole.shape[0];
        } else if (e->bytes > 0) {
            bytes[tensor_rng_below(&rng, e->bytes)] = (unsigned char)tensor_rng_below(&rng, 256);
        }
        char path[] = "/tmp/sampo-count-XXXXXX";
        close(mkstemp(path));
        cr_assert(nn_file_save(path, entries, count, NULL, 0, &err), "%s", err.text);
        nn_file *file = nn_file_open(path, &err);
        unlink(path);
        cr_assert(file, "%s", err.text);
        lm_counts *damaged = lm_counts_of_file(file, VOCABULARY, 2, &err);
        refused += !damaged;
        taken += damaged != NULL;
        float p[VOCABULARY];
        for (int i = 0; damaged && i < LENGTH; i++)
            lm_counts_predict(damaged, text + i, i, i % 2 ? text[i] : -1, p, NULL);
        lm_counts_free(damaged);
        nn_file_close(file);
        free(bytes);
        *e = whole;
    }
    cr_expect(refused > 300 && taken > 100, "%d refused, %d taken", refused, taken);
    lm_counts_free(counts);
}

/* A token comes once in a list, and is one of the vocabulary. */
Test(count, tokens_that_do_not_ascend_are_refused) {
    lm_counts *counts = learn(2);
    nn_entry entries[LM_COUNT_ENTRIES];
    const int count = lm_counts_list(counts, entries);
    static const char *const names[] = {"counts.0.next", "counts.1.token"};
    for (int k = 0; k < 2; k++)
        for (int way = 0; way < 3; way++) {
            char path[] = "/tmp/sampo-count-XXXXXX";
            close(mkstemp(path));
            uint8_t bytes[VOCABULARY];
            nn_entry *e = entries;
            while (strcmp(e->name, names[k]) != 0) e++;
            const nn_entry whole = *e;
            cr_assert(strcmp(e->dtype, "U8") == 0 && e->bytes >= 3 && e->bytes <= VOCABULARY);
            memcpy(bytes, e->data, e->bytes);
            e->data = bytes;
            if (way == 0) bytes[1] = bytes[0];
            if (way == 1) bytes[1] = bytes[2], bytes[2] = ((const uint8_t *)whole.data)[1];
            if (way == 2) bytes[e->bytes - 1] = VOCABULARY;
            cr_assert(nn_file_save(path, entries, count, NULL, 0, &err), "%s", err.text);
            nn_file *file = nn_file_open(path, &err);
            unlink(path);
            tensor_error fault = {0};
            cr_expect_null(lm_counts_of_file(file, VOCABULARY, 2, &fault));
            cr_expect(strstr(fault.text, "its tokens do not ascend"), "%s, way %d: %s", names[k], way,
                      fault.text);
            nn_file_close(file);
            *e = whole;
        }
    lm_counts_free(counts);
}

Test(count, short_and_strange_texts) {
    static const int32_t same[9] = {0};
    float p[VOCABULARY];
    for (int64_t length = 0; length <= 9; length++)
        for (int order = 0; order <= LM_MAX_ORDER; order += 4) {
            lm_counts *counts = lm_counts_learn((lm_tokens){same, length, 4}, VOCABULARY, order, &err);
            cr_assert(counts, "%s", err.text);
            for (int64_t i = 0; i < length; i++) {
                double sum = 0;
                lm_counts_predict(counts, same + i, i, i % 2 ? 0 : -1, p, NULL);
                for (int v = 0; v < VOCABULARY; v++) sum += p[v];
                cr_expect_float_eq(sum, 1, 1e-5);
            }
            lm_counts_free(counts);
        }
    cr_expect_not(lm_counts_learn((lm_tokens){same, 9, 4}, VOCABULARY, LM_MAX_ORDER + 1, &err));
}

/* As many tokens as places, so that the shares of the threads are as small as they can be. */
Test(count, texts_in_which_nothing_comes_twice) {
    enum { MOST = 300 };
    static int32_t different[MOST];
    static float p[MOST];
    for (int i = 0; i < MOST; i++) different[i] = (i * 7) % MOST;
    for (int64_t length = 1; length <= MOST; length++) {
        lm_counts *counts = lm_counts_learn((lm_tokens){different, length, 4}, MOST, 3, &err);
        cr_assert(counts, "%s", err.text);
        double sum = 0;
        lm_counts_predict(counts, different + length / 2, length / 2, -1, p, NULL);
        for (int v = 0; v < MOST; v++) sum += p[v];
        cr_expect_float_eq(sum, 1, 1e-5, "%d tokens: %g", (int)length, sum);
        lm_counts_free(counts);
    }
}

Test(count, memory_that_is_out_is_a_failure) {
    cr_assert(tensor_set_threads(1, &err));
    int failed = 0;
    const int64_t before = fault_calls(FAULT_MEMORY);
    lm_counts *whole = learn(ORDER);
    const int64_t calls = fault_calls(FAULT_MEMORY) - before;
    for (int64_t n = 1; n <= calls; n++) {
        fault_inject(FAULT_MEMORY, n, 0);
        lm_counts *counts = lm_counts_learn((lm_tokens){text, LENGTH, 4}, VOCABULARY, ORDER, &err);
        fault_inject(FAULT_MEMORY, 0, 0);
        failed += !counts;
        if (counts)
            expect_same(counts, whole); /* an arena does without the block that it would rather have */
        else
            cr_assert(err.text[0]);
        err.text[0] = '\0';
        lm_counts_free(counts);
    }
    cr_expect_gt(calls, 10);
    cr_expect_gt(failed, calls / 2);
    lm_counts_free(whole);
}
