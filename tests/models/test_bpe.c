/* Byte pairs: tokens as the tokenizers package has them (test_tokenizers.py made tests/fixtures/bpe with it), what is
 * learned, checkpoints, and files that are wrong. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/text/tokenizer_internal.h"
#include "tests/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

ARENA_SUITE(bpe);

/* A file of the fixture, with a NUL behind it. */
static char *fixture(const char *name, size_t *size) {
    char path[4096];
    lm_text text;
    snprintf(path, sizeof path, SAMPO_FIXTURES "/bpe/%s", name);
    cr_assert(lm_text_read(&text, path, LM_BYTE, &err), "%s: %s", path, err.text);
    char *copy = tensor_arena_alloc(arena, text.size + 1, &err);
    memcpy(copy, text.bytes, text.size);
    copy[ *size = text.size] = '\0';
    lm_text_free(&text);
    return copy;
}

static void load_fixture(lm_tokenizer *t) {
    cr_assert(lm_tokenizer_choose(t, SAMPO_FIXTURES "/bpe", 0, NULL, arena, &err), "%s", err.text);
}

/* The tokens of the fixture's text are those of its ids.txt. */
static void check_fixture(const lm_tokenizer *t) {
    size_t size, ignored;
    const char *text = fixture("text.txt", &size);
    char *expected = fixture("ids.txt", &ignored);
    tensor ids = lm_encode(t, text, size, arena, &err);
    cr_assert(tensor_ok(ids), "%s", err.text);
    for (int64_t i = 0; i < ids.shape[0]; i++)
        cr_assert_eq(ids.i32[i], strtol(expected, &expected, 10), "token %lld", (long long)i);
    cr_expect_str_eq(expected, "\n");
}

Test(bpe, tokens_are_those_of_the_reference) {
    lm_tokenizer t;
    load_fixture(&t);
    cr_expect_eq(t.count, 420);
    cr_expect_eq(lm_tokenizer_start(&t), 0);
    cr_expect_eq(lm_tokenizer_find(&t, LM_END_OF_TEXT, 13), 0);
    check_fixture(&t);
}

Test(bpe, goes_through_a_checkpoint) {
    lm_tokenizer t, back;
    nn_metadata metadata[LM_TOKENIZER_KEYS];
    char path[] = "/tmp/sampo-bpe-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    load_fixture(&t);
    const int keys = lm_tokenizer_metadata(&t, metadata, arena, &err);
    cr_assert_eq(keys, 4); /* with the token that ends a text */
    cr_assert(nn_file_save(path, NULL, 0, metadata, keys, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    cr_assert(file && lm_tokenizer_of_file(&back, file, arena, &err), "%s", err.text);
    nn_file_close(file);
    unlink(path);
    cr_assert(back.kind == LM_BPE && back.count == t.count);
    for (int32_t i = 0; i < t.count; i++) {
        lm_piece a = lm_decode(&t, i), b = lm_decode(&back, i);
        cr_assert(a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0);
    }
    check_fixture(&back);
}

/* ---- Odd vocabularies ------------------------------------------------------------------------------- */

/* A vocabulary as a checkpoint has it; merges NULL: none. */
static void make(lm_tokenizer *t, const char *vocabulary, const char *merges, const char *added) {
    char path[] = "/tmp/sampo-bpe-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert(fd >= 0 && close(fd) == 0);
    const nn_metadata metadata[] = {{"tokenizer", "bpe"},
                                    {"vocabulary", vocabulary},
                                    {"merges", merges ? merges : "[]"},
                                    {"added_tokens", added}};
    cr_assert(nn_file_save(path, NULL, 0, metadata, added ? 4 : 3, &err), "%s", err.text);
    nn_file *file = nn_file_open(path, &err);
    unlink(path);
    cr_assert(file && lm_tokenizer_of_file(t, file, arena, &err), "%s", err.text);
    nn_file_close(file);
}

static void expect_ids(const lm_tokenizer *t, const char *text, const int32_t *ids, int64_t count) {
    const tensor got = lm_encode(t, text, strlen(text), arena, &err);
    cr_assert(tensor_ok(got), "%s", err.text);
    cr_expect_eq(got.shape[0], count, "'%s' is %lld tokens", text, (long long)got.shape[0]);
    for (int64_t i = 0; i < count && i < got.shape[0]; i++)
        cr_expect_eq(got.i32[i], ids[i], "'%s': token %lld is %d", text, (long long)i, got.i32[i]);
}
#define IDS(t, text, ...)                                                                                    \
    expect_ids(t, text, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4)

/* Whole tokens with spaces, of other scripts, one the beginning of another, one that has the bytes of an ordinary one. */
Test(bpe, whole_tokens) {
    lm_tokenizer t;
    make(&t, "[\"a\", \"b\", \"Ġ\", \"ab\", \"\", \"Ã\", \"¤\", \"Ã¤\"]", "[\"a b\", \"Ã ¤\"]",
         "{\"< b >\": 4, \"ä\": 9}");
    cr_expect_eq(t.count, 8); /* the ninth lies behind the table */
    IDS(&t, "ab< b >ä a", 3, 4, 7, 2, 0);
    make(&t, "[\"a\", \"b\", \"Ġ\", \"ab\", \"\", \"Ã\", \"¤\", \"Ã¤\", \"\", \"\"]", "[\"a b\", \"Ã ¤\"]",
         "{\"< b >\": 4, \"ä\": 8, \"< b\": 9}");
    IDS(&t, "\xc3\xa4< b< b >b", 8, 9, 4, 1);
    cr_expect_eq(lm_tokenizer_find(&t, "\xc3\xa4", 2), 7);
}

/* Only a text that needs a missing byte fails; spare tokens never come. */
Test(bpe, bytes_that_are_not_there) {
    lm_tokenizer t;
    make(&t, "[\"a\", \"\", \"b\", \"\"]", NULL, NULL);
    cr_expect_eq(t.count, 4);
    cr_expect_eq(lm_decode(&t, 1).size, 0);
    IDS(&t, "abba", 0, 2, 2, 0);
    static const char *const texts[][2] = {
        {"ab\nac", "the character 'c' U+0063 in line 2, column 2 is not in"},
        {"ab\xc3\xa4", "the character '\xc3\xa4' U+00E4 in line 1, column 3 is not in"},
        {"b\xff", "the byte 0xff in line 1, column 2 is not in"},
    };
    for (int i = 0; i < 3; i++) {
        err = (tensor_error){0};
        make(&t, i == 0 ? "[\"a\", \"b\", \"Ċ\"]" : "[\"a\", \"b\"]", NULL, NULL);
        cr_expect_not(tensor_ok(lm_encode(&t, texts[i][0], strlen(texts[i][0]), arena, &err)));
        cr_expect(strstr(err.text, texts[i][1]), "%s", err.text);
    }
}

/* ---- Words -------------------------------------------------------------------------------------- */

static void check_words(const char *text, size_t size, const size_t *lengths) {
    for (size_t at = 0; at < size; at += *lengths++)
        cr_assert_eq(lm_word_length(text + at, size - at), *lengths, "'%s' at %zu: %zu", text, at,
                     lm_word_length(text + at, size - at));
}
#define WORDS(text, ...) check_words(text, sizeof text - 1, (size_t[]){__VA_ARGS__})

Test(bpe, words) {
    WORDS("the mill, 12 x", 3, 5, 1, 3, 2);
    WORDS("it'll we'd 'S '", 2, 3, 3, 2, 2, 1, 2);
    WORDS("a  b\n\nc   ", 1, 1, 2, 1, 1, 1, 3);
    WORDS("a\xc2\xa0 b \xe2\x80\x83", 1, 2, 2, 4);   /* no-break space; em space */
    WORDS("\xc3\xa4\xc2\xbd\xcc\x81", 2, 2, 2);      /* a letter, a fraction, an accent */
    WORDS("a\xff\xfe b\xc3", 1, 2, 2, 1);            /* not UTF-8 */
    WORDS(" \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd!", 10); /* an emoji and its skin */
}

Test(bpe, long_words_are_cut) {
    enum { SIZE = 200000 };
    char *text = malloc(SIZE);
    for (int letter = 0; letter < 2; letter++) {
        memset(text, letter ? 'a' : ' ', SIZE);
        size_t at = 0, length;
        for (; at < SIZE; at += length) {
            length = lm_word_length(text + at, SIZE - at);
            cr_assert(length > 0 && length <= 1 << 16);
        }
        cr_expect_eq(at, SIZE);
    }
    free(text);
}

/* ---- Learning ----------------------------------------------------------------------------------- */

static void learn(lm_tokenizer *t, const char *bytes, int32_t count) {
    const lm_text text = {.bytes = bytes, .size = strlen(bytes)};
    cr_assert(lm_tokenizer_learn(t, &text, count, arena, &err), "%s", err.text);
}

static void check_token(const lm_tokenizer *t, int32_t id, const char *expected) {
    lm_piece piece = lm_decode(t, id);
    cr_expect(piece.size == strlen(expected) && memcmp(piece.bytes, expected, piece.size) == 0,
              "token %d is '%.*s', not '%s'", id, (int)piece.size, piece.bytes, expected);
}

Test(bpe, the_most_frequent_pair_comes_first) {
    lm_tokenizer t;
    learn(&t,
          "low low low low low lower lower newest newest newest newest newest newest widest widest widest",
          266);
    static const char *const expected[] = {"es",  "est",  "lo",   "low",     "ew",
                                           "new", " low", " new", " newest", "dest"};
    cr_assert_eq(t.count, 266);
    for (int32_t i = 0; i < 10; i++) check_token(&t, 256 + i, expected[i]);
}

Test(bpe, equal_pairs_by_their_tokens) {
    lm_tokenizer t;
    learn(&t, "ba\nba\nab\nab\nca\nca", 300); /* ab, ba and ca, each twice */
    cr_assert_eq(t.count, 259);
    check_token(&t, 256, "ab");
    check_token(&t, 257, "ba");
    check_token(&t, 258, "ca");
}

Test(bpe, no_pair_that_occurs_once) {
    lm_tokenizer t;
    learn(&t, "abcdefgh", 1000);
    cr_expect_eq(t.count, 256);
    check_token(&t, 0, "!");
    check_token(&t, 255, "\xad");
    learn(&t, "aaaa aaaa", 1000);
    check_token(&t, 256, "aa");
    check_token(&t, 257, "aaaa");
}

/* So many that all tables grow. A pair is two of 64 letters, and a word occurs twice. */
Test(bpe, thousands_of_merges) {
    enum { LETTERS = 64, COUNT = 256 + LETTERS * LETTERS };
    static char text[2 * LETTERS * LETTERS * 3 + 1];
    char *at = text;
    for (int i = 0; i < 2 * LETTERS * LETTERS; i++) {
        *at++ = (char)('0' + i / LETTERS % LETTERS);
        *at++ = (char)('0' + i % LETTERS);
        *at++ = '\n';
    }
    lm_tokenizer t;
    learn(&t, text, COUNT);
    cr_expect_gt(t.count, 256 + 1500, "only %d", t.count);
    tensor ids = lm_encode(&t, text, strlen(text), arena, &err);
    cr_assert(tensor_ok(ids), "%s", err.text);
    const char *rest = text;
    for (int64_t i = 0; i < ids.shape[0]; i++) {
        const lm_piece piece = lm_decode(&t, ids.i32[i]);
        cr_assert(memcmp(rest, piece.bytes, piece.size) == 0, "token %d", (int)i);
        rest += piece.size;
    }
    cr_expect(*rest == '\0' && ids.shape[0] < 3 * LETTERS * LETTERS * 2);
    for (int32_t id = 256; id < t.count; id++) /* each is made of its own pair */
        cr_assert_eq(lm_tokenizer_find(&t, lm_decode(&t, id).bytes, lm_decode(&t, id).size), id);
    cr_expect(t.bpe->pairs->count <= t.bpe->capacity, "%d merges in a list of %d", t.bpe->pairs->count,
              t.bpe->capacity);
}

/* Of equal pairs in a word the leftmost is merged first, as going through the merges in their order does. */
Test(bpe, equal_pairs_from_the_left) {
    enum { MOST = 60 };
    static const char *const texts[] = {"aaaaaaaa aaaaaaaa", "abababab bababa aabb aabb"};
    for (int k = 0; k < 2; k++) {
        const lm_text text = {.bytes = texts[k], .size = strlen(texts[k])};
        lm_tokenizer t;
        cr_assert(lm_tokenizer_learn(&t, &text, 256 + 6, arena, &err), "%s", err.text);
        for (int n = 1; n < MOST; n++) {
            char word[MOST];
            int32_t plain[MOST];
            int count = n;
            for (int i = 0; i < n; i++) {
                word[i] = k == 0 ? 'a' : "ab"[(i * i / 3 + n) % 2];
                plain[i] = lm_tokenizer_find(&t, &word[i], 1);
            }
            for (int32_t rank = 0; rank < t.bpe->pairs->count; rank++) {
                int32_t pair[2];
                int out = 0;
                memcpy(pair, lm_table_at(t.bpe->pairs, rank).bytes, sizeof pair);
                for (int i = 0; i < count; out++) {
                    const bool both = i + 1 < count && plain[i] == pair[0] && plain[i + 1] == pair[1];
                    plain[out] = both ? t.bpe->made[rank] : plain[i];
                    i += both ? 2 : 1;
                }
                count = out;
            }
            const tensor ids = lm_encode(&t, word, (size_t)n, arena, &err);
            cr_assert_eq(ids.shape[0], count, "%.*s", n, word);
            cr_expect_arr_eq(ids.i32, plain, (size_t)count * sizeof *plain, "%.*s", n, word);
        }
    }
}

/* ---- Files that are wrong --------------------------------------------------------------------------- */

static char *fuzz_input(size_t *size) {
    size_t vocab_size, merges_size;
    const char *vocab = fixture("vocab.json", &vocab_size), *merges = fixture("merges.txt", &merges_size);
    char *input = tensor_arena_alloc(arena, vocab_size + merges_size + 1, &err);
    memcpy(input, vocab, vocab_size + 1);
    memcpy(input + vocab_size + 1, merges, merges_size);
    *size = vocab_size + 1 + merges_size;
    return input;
}

static const char tokenizer_json[] =
    "{\"added_tokens\":[{\"id\":5,\"content\":\"<| a b |>\",\"lstrip\":false},{\"id\":9,\"content\":\"ä\"}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":3,\"<\":4,\"{\":2,\"Ġ\":6,\"Ġa\":7},"
    "\"merges\":[[\"a\",\"b\"],[\"Ġ\",\"a\"]]}}";

/* The fuzz target with an input that is good, and with ones that are damaged. */
static void damage(const char *good, size_t size, int times) {
    uint8_t *bad = malloc(2 * size);
    tensor_rng rng = {.seed = 1};
    LLVMFuzzerTestOneInput((const uint8_t *)good, size);
    for (int i = 0; i < times; i++) {
        size_t at = (size_t)tensor_rng_below(&rng, size), other = (size_t)tensor_rng_below(&rng, size);
        size_t count = (size_t)tensor_rng_below(&rng, 8), length = size;
        memcpy(bad, good, size);
        if (count > size - (at > other ? at : other)) continue;
        switch (i % 4) {
        case 0: /* another byte */
            bad[at] = (uint8_t)tensor_rng_below(&rng, 256);
            break;
        case 1: /* cut off */
            length = at;
            break;
        case 2: /* bytes from elsewhere */
            memcpy(bad + at, good + other, count);
            break;
        default: /* some left out */
            memmove(bad + at, bad + at + count, size - at - count);
            length -= count;
        }
        LLVMFuzzerTestOneInput(bad, length);
    }
    free(bad);
}

Test(bpe, damaged_files, .timeout = 60) {
    size_t size;
    const char *good = fuzz_input(&size);
    damage(good, size, 3000);
    damage(tokenizer_json, strlen(tokenizer_json), 3000);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* The fixture with a text put at the end of the vocabulary, or of the merges. */
static void expect_fault(const char *entry, const char *merge, const char *fault) {
    char folder[] = "/tmp/sampo-bpe-XXXXXX", paths[2][64];
    static const char *const names[] = {"vocab.json", "merges.txt"};
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        size_t size;
        char *text = fixture(names[i], &size), *changed = tensor_arena_alloc(arena, size + 100, &err);
        if (i == 0) text[strlen(text) - 1] = '\0'; /* the brace */
        snprintf(changed, size + 100, "%s%s%s", text, i == 0 ? entry : merge, i == 0 ? "}" : "");
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
        write_file(paths[i], changed);
    }
    lm_tokenizer t;
    err = (tensor_error){0};
    bool ok = lm_tokenizer_of_files(&t, paths[0], paths[1], NULL, 0, arena, &err);
    cr_expect_eq(ok, !fault);
    if (fault) cr_expect(strstr(err.text, fault) && strstr(err.text, folder), "%s", err.text);
    for (int i = 0; i < 2; i++) unlink(paths[i]);
    rmdir(folder);
}

/* A vocabulary of "a" and `count` whole tokens, "< ", "<< ", ... or "<1 ", "<2 ", ..., and "b" with a number. */
static void write_whole(const char *path, int count, bool longer, int last) {
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs("{\"a\":0", file) >= 0);
    for (int i = 1; i <= count; i++) {
        fputs(",\"", file);
        for (int k = 0; k < (longer ? i : 1); k++) fputc('<', file);
        if (!longer) fprintf(file, "%d", i);
        fprintf(file, " \":%d", i);
    }
    cr_assert(fprintf(file, ",\"b\":%d}", last) > 0 && fclose(file) == 0);
}

/* What a file takes grows with its size, and not with its square: each of these took minutes or hours. */
Test(bpe, many_whole_tokens, .timeout = 30) {
    enum { LENGTHS = 4000, TOKENS = 400000 };
    char vocab[] = "/tmp/sampo-vocab-XXXXXX", merges[] = "/tmp/sampo-merges-XXXXXX";
    lm_tokenizer t;
    close(mkstemp(vocab));
    close(mkstemp(merges));
    write_file(merges, "#version: 0.2\n");
    write_whole(vocab, LENGTHS, true, LM_MAX_VOCABULARY - 1); /* as many lengths, with as many tokens */
    cr_assert(lm_tokenizer_of_files(&t, vocab, merges, NULL, 0, arena, &err), "%s", err.text);
    cr_expect_eq(lm_decode(&t, t.bpe->whole[0]).size, LENGTHS + 1);
    write_whole(vocab, TOKENS, false, TOKENS + 1);
    cr_assert(lm_tokenizer_of_files(&t, vocab, merges, NULL, 0, arena, &err), "%s", err.text);
    int32_t whole = 0;
    for (int32_t i = 0; i < t.count; i++) whole += lm_tokenizer_is_whole(&t, i);
    cr_expect_eq(whole, TOKENS);
    char *text = tensor_arena_alloc(arena, 4 * TOKENS, &err); /* no token, but each begins as all do */
    for (int i = 0; i < 4 * TOKENS; i++) text[i] = '<';
    cr_expect_not(tensor_ok(lm_encode(&t, text, 4 * TOKENS, arena, &err)));
    unlink(vocab);
    unlink(merges);
}

/* The longest whole token wins, of equal ones the first, wherever it stands among those that begin alike. */
Test(bpe, the_longest_whole_token) {
    char vocab[] = "/tmp/sampo-vocab-XXXXXX", merges[] = "/tmp/sampo-merges-XXXXXX";
    static const char text[] = "< a< ab< < abc< ";
    static const int32_t expected[] = {5, 4, 6, 1, 2, 3};
    lm_tokenizer t;
    close(mkstemp(vocab));
    close(mkstemp(merges));
    write_file(merges, "#version: 0.2\n");
    write_file(vocab,
               "{\"a\":0,\"b\":1,\"c\":2,\"< \":3,\"< ab\":4,\"< a\":5,\"< < a\":6,\"< a\":7,\"<\":8}");
    cr_assert(lm_tokenizer_of_files(&t, vocab, merges, NULL, 0, arena, &err), "%s", err.text);
    const tensor ids = lm_encode(&t, text, strlen(text), arena, &err);
    cr_assert(tensor_ok(ids), "%s", err.text);
    for (int64_t i = 0; i < ids.shape[0]; i++)
        cr_expect_eq(ids.i32[i], expected[i], "%d: %d", (int)i, ids.i32[i]);
    unlink(vocab);
    unlink(merges);
}

Test(bpe, faults_are_named) {
    expect_fault("", "", NULL);
    expect_fault(",\"zzz\":420", "", NULL);
    expect_fault(",\"zzz\":421", "", NULL);
    expect_fault(",\"zzz\":7", "", "vocab.json: two tokens have the number 7");
    expect_fault(",\"zzz\":-1", "", "token -1: the numbers of tokens are 0 to 1114111");
    expect_fault(",\"zzz\":1114112", "", "token 1114112: the numbers");
    expect_fault(",\"z z\":420", "", NULL);
    expect_fault(",\"\":420", "", NULL);
    expect_fault(",\"!\":420", "", "the vocabulary has entry 420 twice");
    expect_fault(",\"zzz\":1.5", "", "vocab.json: JSON, byte ");
    expect_fault("", "\r\n\n", NULL);
    expect_fault("", "q\r\n", "merges.txt: line 165: 'q' is not two tokens");
    expect_fault("", "q\n", "line 165: 'q' is not two tokens");
    expect_fault("", "q zzz\n", "line 165: it does not merge two tokens of the vocabulary");
    expect_fault("", "q q\n", "line 165: what it makes is not in the vocabulary");
    expect_fault("", "i n\ni n\n", "it is there twice");
    lm_tokenizer t;
    err = (tensor_error){0};
    cr_expect_not(
        lm_tokenizer_of_files(&t, "/nowhere/vocab.json", "/nowhere/merges.txt", NULL, 0, arena, &err));
    cr_expect(strstr(err.text, "/nowhere/vocab.json: cannot be opened"), "%s", err.text);
}
