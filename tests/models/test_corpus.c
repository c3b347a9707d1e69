/* Texts as tokens in files: read as they were written, used again only where they fit, and how much text they are. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/text/tokenizer_internal.h"
#include "models/lm/train/train.h"
#include "tests/faults.h"

static tensor_error err;
static tensor_arena *arena;
static char folder[64], path[96];

static void setup(void) {
    arena = tensor_arena_new(&err);
    strcpy(folder, "/tmp/sampo-corpus-XXXXXX");
    cr_assert(arena && mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tokens.bin", folder);
}

static void teardown(void) {
    unlink(path);
    cr_expect_eq(rmdir(folder), 0, "something was left behind");
    tensor_arena_free(arena);
}

TestSuite(corpus, .init = setup, .fini = teardown);

static lm_text text_of(const char *bytes) {
    return (lm_text){.bytes = bytes, .size = strlen(bytes)};
}

/* `count` characters from U+0100 on, and a text with each of them. */
static void characters(lm_tokenizer *t, int count, lm_text *text) {
    char *bytes = tensor_arena_alloc(arena, (size_t)count * 4 + 1, &err), *end = bytes;
    for (int i = 0; i < count; i++)
        end += lm_utf8_encode((uint32_t)(0x100 + i + (i > 50000 ? 0x2000 : 0)), end);
    *text = (lm_text){.bytes = bytes, .size = (size_t)(end - bytes)};
    cr_assert(lm_tokenizer_of_text(t, text, arena, &err) && t->count == count);
}

Test(corpus, tokens_are_as_small_as_the_vocabulary_allows) {
    static const int counts[][2] = {{2, 1}, {256, 1}, {257, 2}, {65536, 2}, {65537, 4}};
    for (int i = 0; i < 5; i++) {
        lm_tokenizer t;
        lm_text text;
        lm_corpus corpus;
        const int count = counts[i][0];
        characters(&t, count, &text);
        cr_assert(lm_corpus_open(&corpus, &t, &text, NULL, &err), "%s", err.text);
        cr_expect_eq(corpus.tokens.width, counts[i][1]);
        cr_assert_eq(corpus.tokens.count, count);
        int32_t *ids = malloc((size_t)count * sizeof *ids);
        lm_tokens_read(corpus.tokens, 0, count, ids);
        for (int k = 0; k < count; k++) cr_assert_eq(ids[k], k);
        cr_expect_eq(corpus.hash, lm_hash(LM_HASH_BEGIN, ids, (size_t)count * sizeof *ids), "%d tokens",
                     count);
        lm_tokens_read(lm_tokens_from(corpus.tokens, 1, count - 1), 0, count - 1, ids);
        cr_expect_eq(ids[count - 2], count - 1);
        free(ids);
        lm_corpus_free(&corpus);
    }
}

/* Whether the file is made anew; the tokens are right either way. */
static bool opens_anew(const lm_tokenizer *t, const char *bytes) {
    struct stat before = {0}, after;
    const lm_text text = text_of(bytes);
    lm_corpus corpus;
    int32_t ids[256];
    stat(path, &before);
    cr_assert(lm_corpus_open(&corpus, t, &text, path, &err), "%s", err.text);
    tensor expected = lm_encode(t, bytes, strlen(bytes), arena, &err);
    cr_assert_eq(corpus.tokens.count, expected.shape[0]);
    lm_tokens_read(corpus.tokens, 0, corpus.tokens.count, ids);
    cr_assert_arr_eq(ids, expected.i32, (size_t)corpus.tokens.count * sizeof *ids);
    cr_assert_eq(corpus.hash, lm_hash(LM_HASH_BEGIN, ids, (size_t)corpus.tokens.count * sizeof *ids));
    lm_corpus_free(&corpus);
    cr_assert_eq(stat(path, &after), 0);
    return before.st_ino != after.st_ino;
}

Test(corpus, the_file_is_used_again_where_it_fits) {
    lm_tokenizer t, other;
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b"}, 2, arena, &err));
    cr_assert(lm_tokenizer_of_strings(&other, (const char *[]){"b", "a"}, 2, arena, &err));
    cr_expect(opens_anew(&t, "abba"));
    cr_expect_not(opens_anew(&t, "abba"));
    cr_expect(opens_anew(&t, "abbb"), "another text");
    cr_expect(opens_anew(&t, "abbba"), "a longer one");
    cr_expect(opens_anew(&other, "abbba"), "another tokenizer");
    cr_expect_not(opens_anew(&other, "abbba"));
}

/* Tokens of the same bytes in a row, which are cut otherwise; and, as they have two bytes, half a token more. */
Test(corpus, tokens_may_be_cut_otherwise) {
    lm_tokenizer t[2];
    for (int i = 0; i < 2; i++) {
        bool repeated;
        cr_assert(lm_bpe_new(&t[i], arena, &err));
        const int32_t a = lm_tokenizer_find(&t[i], "a", 1), aa = t[i].count;
        cr_assert(lm_bpe_add(&t[i], a, a, &repeated, &err) &&
                  lm_bpe_add(&t[i], aa, i ? a : aa, &repeated, &err) &&
                  lm_bpe_add(&t[i], aa, i ? aa : a, &repeated, &err));
    }
    for (int i = 0; i < 4; i++) cr_expect(opens_anew(&t[i % 2], "aaaaaaa"), "%d", i);
    cr_expect_not(opens_anew(&t[1], "aaaaaaa"));
    const int fd = open(path, O_WRONLY | O_APPEND);
    cr_assert(fd >= 0 && write(fd, "", 1) == 1 && close(fd) == 0);
    cr_expect(opens_anew(&t[1], "aaaaaaa"));
}

Test(corpus, a_damaged_file_is_made_anew) {
    lm_tokenizer t;
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b"}, 2, arena, &err));
    cr_expect(opens_anew(&t, "abba"));
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    for (off_t at = 0; at < status.st_size; at++) {
        int fd = open(path, O_RDWR);
        char byte;
        cr_assert(pread(fd, &byte, 1, at) == 1);
        byte ^= 1;
        cr_assert(pwrite(fd, &byte, 1, at) == 1);
        close(fd);
        bool unused = at >= 56 && at < 64; /* the header's last number */
        cr_expect_eq(opens_anew(&t, "abba"), !unused, "byte %d", (int)at);
        cr_assert(truncate(path, at) == 0);
        cr_expect(opens_anew(&t, "abba"), "%d bytes", (int)at);
    }
}

Test(corpus, without_its_text) {
    lm_tokenizer t, other;
    lm_corpus corpus;
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b"}, 2, arena, &err));
    cr_assert(lm_tokenizer_of_strings(&other, (const char *[]){"b", "a"}, 2, arena, &err));
    cr_expect_not(lm_corpus_open(&corpus, &t, NULL, path, &err));
    cr_expect(strstr(err.text, path) && strstr(err.text, "the tokens of the text are not there"), "%s",
              err.text);
    cr_expect(opens_anew(&t, "abba"));
    cr_assert(lm_corpus_open(&corpus, &t, NULL, path, &err));
    cr_expect_eq(corpus.tokens.count, 4);
    lm_corpus_free(&corpus);
    cr_expect_not(lm_corpus_open(&corpus, &other, NULL, path, &err));
}

Test(corpus, extents) {
    lm_tokenizer t;
    lm_corpus corpus;
    lm_extent extent;
    const lm_text text = text_of("p\xc3\xa4iv\xc3\xa4\xc3\xa4 \xe2\x82\xac\xf0\x9f\x98\x80");
    cr_assert(lm_tokenizer_of_bytes(&t, arena, &err) && lm_corpus_open(&corpus, &t, &text, NULL, &err));
    cr_assert(lm_extent_of(&extent, &t, corpus.tokens, &err));
    cr_expect(extent.tokens == 17 && extent.bytes == 17 && extent.characters == 9);
    cr_assert(lm_extent_of(&extent, &t, lm_tokens_from(corpus.tokens, 2, 3), &err));
    cr_expect(extent.tokens == 3 && extent.bytes == 3 && extent.characters == 2);
    lm_corpus_free(&corpus);
    cr_assert(lm_tokenizer_of_text(&t, &text, arena, &err) && lm_corpus_open(&corpus, &t, &text, NULL, &err));
    cr_assert(lm_extent_of(&extent, &t, corpus.tokens, &err));
    cr_expect(extent.tokens == 9 && extent.bytes == 17 && extent.characters == 9);
    lm_tokens wrong = {"\x09", 1, 1};
    cr_expect_not(lm_extent_of(&extent, &t, wrong, &err));
    lm_corpus_free(&corpus);
}

/* Whatever fails, the earlier file stays whole or is replaced by a whole one. */
Test(corpus, each_file_operation_can_fail) {
    lm_tokenizer t;
    const lm_text text = text_of("abba");
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b"}, 2, arena, &err));
    int64_t n = 1;
    for (bool finished = false; !finished; n++) {
        cr_assert_lt(n, 50);
        opens_anew(&t, "bb");
        tensor_error fault = {0};
        lm_corpus corpus;
        const int64_t before = fault_calls(FAULT_FILE);
        fault_inject(FAULT_FILE, n, 0);
        bool ok = lm_corpus_open(&corpus, &t, &text, path, &fault);
        finished = fault_calls(FAULT_FILE) - before < n;
        fault_inject(FAULT_FILE, 0, 0);
        cr_expect(ok || strstr(fault.text, "No space left"), "operation %lld: %s", (long long)n, fault.text);
        lm_corpus_free(&corpus);
        cr_expect_not(opens_anew(&t, ok ? "abba" : "bb"), "operation %lld", (long long)n);
    }
    cr_expect_gt(n, 3, "only %lld operations were made to fail", (long long)n);
}
