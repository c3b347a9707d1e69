/* UTF-8, files of text, vocabularies, tokens, splits, batches and the streams they are drawn from. */
#include "models/lm/train/train.h"
#include "tests/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ARENA_SUITE(text);

/* A text without a file. */
static lm_text text_of(const char *bytes) {
    return (lm_text){.bytes = bytes, .size = strlen(bytes)};
}

/* Both ways of reading a character. */
static int decode(const char *bytes, size_t size, uint32_t *code) {
    uint32_t other = *code;
    const int length = lm_utf8_decode(bytes, size, code);
    cr_assert_eq(lm_utf8_next(bytes, size, &other), length);
    cr_assert_eq(other, *code);
    return length;
}

Test(text, every_code_point_goes_round) {
    for (uint32_t code = 1; code < 0x110000; code++) {
        if (code == 0xd800) code = 0xe000;
        char bytes[5];
        uint32_t back = 0;
        int length = lm_utf8_encode(code, bytes);
        cr_assert_eq(decode(bytes, (size_t)length, &back), length, "U+%04X", code);
        cr_assert_eq(back, code);
        cr_assert_eq(decode(bytes, (size_t)length - 1, &back), 0, "U+%04X cut short", code);
        cr_assert_eq(bytes[length], '\0');
    }
}

Test(text, what_is_not_utf8) {
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xe2\x82",
                                      "\xe2(\xa1",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xfe",
                                      "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t code = 0;
        cr_expect_eq(decode(bad[i], strlen(bad[i]), &code), 0, "case %zu", i);
    }
    cr_expect_eq(lm_utf8_count("p\xc3\xa4iv\xe4", 6, &err), -1);
    cr_expect_str_eq(err.text, "byte 6 is not valid UTF-8 (0xe4); convert it, e.g. iconv -f latin1 -t utf-8");
    cr_expect_eq(lm_utf8_count("p\xc3\xa4iv\xc3\xa4", 7, NULL), 5);
}

/* Writes a file of `size` bytes and reads it as a text. */
static bool read_as(lm_tokenizer_kind kind, const char *bytes, size_t size, lm_text *text) {
    char path[] = "/tmp/sampo-text-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
    err = (tensor_error){0};
    bool ok = lm_text_read(text, path, kind, &err);
    unlink(path);
    return ok;
}

static bool read_back(const char *bytes, size_t size, lm_text *text) {
    return read_as(LM_CHAR, bytes, size, text);
}

Test(text, files) {
    lm_text text;
    cr_assert(read_back("\xc3\xa4y\n", 4, &text), "%s", err.text);
    cr_expect(text.size == 4 && memcmp(text.bytes, "\xc3\xa4y\n", 4) == 0);
    lm_text_free(&text);
    cr_assert(read_back("\xef\xbb\xbf\xc3\xa4", 5, &text));
    cr_expect(text.size == 2 && memcmp(text.bytes, "\xc3\xa4", 2) == 0);
    lm_text_free(&text);

    cr_expect_not(read_back("", 0, &text));
    cr_expect_str_eq(err.text, "the file is empty");
    cr_expect_not(read_back("\xef\xbb\xbf", 3, &text));
    cr_expect_str_eq(err.text, "the file is empty");
    cr_expect_not(read_back("ab\0c", 4, &text));
    cr_expect_str_eq(err.text, "byte 3 is 0: this is not a text file; --tokenizer byte trains on any file");
    cr_expect_not(read_back("\xef\xbb\xbf\xe4", 4, &text));
    cr_expect(strstr(err.text, "byte 4 is not valid UTF-8 (0xe4)"), "%s", err.text);
    cr_expect_null(text.map.bytes);

    static const struct {
        const char *bytes;
        size_t size;
    } utf16[] = {{"\xff\xfe"
                  "a",
                  3},
                 {"\xfe\xff\0a\0b", 6},
                 {"a\0b\0c\0", 6},
                 {"\0a\0b\x20\xac\0c\0d", 10}};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_not(read_back(utf16[i].bytes, utf16[i].size, &text));
        cr_expect_str_eq(err.text, "this looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8");
        cr_expect(read_as(LM_BYTE, utf16[i].bytes, utf16[i].size, &text) && text.size == utf16[i].size);
        lm_text_free(&text);
    }
    cr_expect_not(read_back("a\0\0\0\0\0b\0", 8, &text)); /* zeros in even places and in odd ones */
    cr_expect_str_eq(err.text, "byte 2 is 0: this is not a text file; --tokenizer byte trains on any file");
    cr_expect_not(read_as(LM_BYTE, "", 0, &text));
    cr_expect_str_eq(err.text, "the file is empty");
}

Test(text, a_file_larger_than_the_first_buffer) {
    enum { SIZE = 3 << 20 };
    char *bytes = malloc(SIZE);
    lm_text text;
    for (int i = 0; i < SIZE; i++) bytes[i] = (char)('a' + i % 23);
    cr_assert(read_back(bytes, SIZE, &text));
    cr_expect(text.size == SIZE && memcmp(text.bytes, bytes, SIZE) == 0);
    lm_text_free(&text);
    free(bytes);
}

Test(text, vocabulary_is_sorted_and_distinct) {
    lm_tokenizer t;
    lm_text text = text_of("b\xc3\xa4"
                           "a\nb\xe2\x82\xac\xf0\x9f\x98\x80");
    cr_assert(lm_tokenizer_of_text(&t, &text, arena, &err));
    static const char *const expected[] = {"\n", "a", "b", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    cr_assert_eq(t.count, 6);
    for (int i = 0; i < 6; i++) {
        lm_piece piece = lm_decode(&t, i);
        cr_expect(piece.size == strlen(expected[i]) && memcmp(piece.bytes, expected[i], piece.size) == 0);
    }
    tensor ids = lm_encode(&t, text.bytes, text.size, arena, &err);
    static const int32_t tokens[] = {2, 3, 1, 0, 2, 4, 5};
    cr_assert(tensor_ok(ids) && ids.shape[0] == 7);
    cr_expect_arr_eq(ids.i32, tokens, sizeof tokens);
}

Test(text, encoding_and_decoding_go_round) {
    static const char poem[] = "Vaka vanha V\xc3\xa4in\xc3\xa4m\xc3\xb6inen\nitse tuon sanoiksi virkki";
    lm_tokenizer t;
    lm_text text = text_of(poem);
    cr_assert(lm_tokenizer_of_text(&t, &text, arena, &err));
    tensor ids = lm_encode(&t, text.bytes, text.size, arena, &err);
    char back[sizeof poem + 4], *end = back;
    for (int64_t i = 0; i < ids.shape[0]; i++) {
        lm_piece piece = lm_decode(&t, ids.i32[i]);
        memcpy(end, piece.bytes, piece.size);
        end += piece.size;
    }
    *end = '\0';
    cr_expect_str_eq(back, poem);
}

/* More tokens than go to a sink at once, of every value. */
Test(text, bytes_are_tokens) {
    enum { SIZE = 10000 };
    char bytes[SIZE];
    for (int i = 0; i < SIZE; i++) bytes[i] = (char)(i * 7);
    lm_tokenizer t;
    cr_assert(lm_tokenizer_of_bytes(&t, arena, &err) && t.count == 256);
    tensor ids = lm_encode(&t, bytes, SIZE, arena, &err);
    cr_assert(tensor_ok(ids) && ids.shape[0] == SIZE);
    for (int i = 0; i < SIZE; i++) {
        lm_piece piece = lm_decode(&t, ids.i32[i]);
        cr_assert(ids.i32[i] == i * 7 % 256 && piece.size == 1 && piece.bytes[0] == bytes[i]);
    }
    cr_expect_eq(lm_tokenizer_start(&t), '\n');
}

Test(text, a_sample_begins_after_a_newline) {
    lm_tokenizer t;
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "\n"}, 2, arena, &err));
    cr_expect_eq(lm_tokenizer_start(&t), 1);
    cr_assert(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b"}, 2, arena, &err));
    cr_expect_eq(lm_tokenizer_start(&t), 0);
}

/* As many characters as tables grow for. */
Test(text, a_large_vocabulary) {
    enum { COUNT = 100000, FIRST = 0x10000 };
    const char **strings = malloc(COUNT * sizeof *strings);
    char(*characters)[5] = malloc(COUNT * sizeof *characters);
    for (int i = 0; i < COUNT; i++) {
        lm_utf8_encode((uint32_t)(FIRST + i), characters[i]);
        strings[i] = characters[i];
    }
    lm_tokenizer t;
    cr_assert(lm_tokenizer_of_strings(&t, strings, COUNT, arena, &err) && t.count == COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(lm_tokenizer_find(&t, characters[i], 4), i);
        cr_assert(memcmp(lm_decode(&t, i).bytes, characters[i], 4) == 0);
    }
    cr_expect_eq(lm_tokenizer_find(&t, "a", 1), -1);
    free(characters);
    free(strings);
}

Test(text, a_given_vocabulary_keeps_its_order) {
    lm_tokenizer t;
    const char *strings[] = {"z", "\xc3\xa4", "a"};
    cr_assert(lm_tokenizer_of_strings(&t, strings, 3, arena, &err), "%s", err.text);
    cr_expect_eq(lm_tokenizer_find(&t, "z", 1), 0);
    cr_expect_eq(lm_tokenizer_find(&t, "\xc3\xa4", 2), 1);
    cr_expect_eq(lm_tokenizer_find(&t, "a", 1), 2);
    cr_expect_eq(lm_tokenizer_find(&t, "b", 1), -1);
    cr_expect_eq(lm_tokenizer_find(&t, "\xc3", 1), -1);
}

Test(text, bad_vocabularies) {
    lm_tokenizer t;
    cr_expect_not(lm_tokenizer_of_strings(&t, (const char *[]){"a", "bc"}, 2, arena, &err));
    cr_expect_str_eq(err.text, "entry 1 of the vocabulary is not one character");
    err = (tensor_error){0};
    cr_expect_not(lm_tokenizer_of_strings(&t, (const char *[]){""}, 1, arena, &err));
    cr_expect_str_eq(err.text, "entry 0 of the vocabulary is not one character");
    err = (tensor_error){0};
    cr_expect_not(lm_tokenizer_of_strings(&t, (const char *[]){"a", "b", "a"}, 3, arena, &err));
    cr_expect(strstr(err.text, "twice"), "%s", err.text);
}

Test(text, unknown_characters_are_named_with_their_place) {
    lm_tokenizer t;
    const char *strings[] = {"a", "\n", "\xc3\xa4"};
    cr_assert(lm_tokenizer_of_strings(&t, strings, 3, arena, &err));
    static const char bytes[] = "a\xc3\xa4\n\xc3\xa4\xc3\xb6";
    cr_expect_not(tensor_ok(lm_encode(&t, bytes, strlen(bytes), arena, &err)));
    cr_expect_str_eq(
        err.text,
        "the character '\xc3\xb6' U+00F6 in line 2, column 2 is not in the checkpoint's vocabulary");
    err = (tensor_error){0};
    cr_expect_not(tensor_ok(lm_encode(&t, "aa\r", 3, arena, &err)));
    cr_expect_str_eq(err.text,
                     "the character U+000D in line 1, column 3 is not in the checkpoint's vocabulary");
}

Test(text, default_text) {
    char folder[] = "/tmp/sampo-data-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    setenv("SAMPO_DATA", folder, 1);
    cr_expect_null(lm_text_default(arena, &err));
    cr_expect(strstr(err.text, folder) && strstr(err.text, "--data FILE"), "%s", err.text);
    static const char *const names[] = {"verses.txt", "kalevala.txt"}; /* the second is preferred */
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        fclose(fopen(path, "w"));
        const char *found = lm_text_default(arena, &err);
        cr_assert(found);
        cr_expect_str_eq(found, path);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* ---- Splits and batches ------------------------------------------------------------------------ */

/* Tokens 0, 1, ... so that a value tells its place. */
static lm_tokens count_to(int64_t n) {
    tensor tokens = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(n), &err);
    cr_assert(tensor_ok(tokens));
    for (int64_t i = 0; i < n; i++) tokens.i32[i] = (int32_t)i;
    return (lm_tokens){tokens.i32, n, 4};
}

Test(text, nine_tenths_train) {
    static const int64_t lengths[][2] = {{545594, 491034}, {10, 9}, {19, 17}, {1, 0}, {11, 9}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        lm_tokens tokens = count_to(lengths[i][0]);
        lm_tokens train = lm_split_of(tokens, LM_TRAIN), validation = lm_split_of(tokens, LM_VALIDATION);
        cr_expect(train.count == lengths[i][1] && train.data == tokens.data);
        cr_expect_eq(validation.count, lengths[i][0] - lengths[i][1]);
        cr_expect_eq((const int32_t *)validation.data, (const int32_t *)tokens.data + lengths[i][1]);
        cr_expect_eq(lm_split_of(tokens, LM_ALL).count, lengths[i][0]);
    }
}

Test(text, a_batch_is_a_function_of_seed_and_iteration) {
    lm_tokens tokens = count_to(1000);
    lm_batch a, b;
    cr_assert(lm_batch_new(&a, 16, 8, arena, &err) && lm_batch_new(&b, 16, 8, arena, &err));
    size_t bytes = 16 * 8 * sizeof(int32_t);
    lm_batch_draw(&a, tokens, lm_rng(1, LM_STREAM_BATCHES, 5));
    lm_batch_draw(&b, tokens, lm_rng(7, LM_STREAM_BATCHES, 3));
    lm_batch_draw(&b, tokens, lm_rng(1, LM_STREAM_BATCHES, 5));
    cr_expect_arr_eq(a.ids.i32, b.ids.i32, bytes);
    cr_expect_arr_eq(a.targets.i32, b.targets.i32, bytes);
    static const struct {
        uint64_t seed, index;
        lm_stream stream;
    } others[] = {{2, 5, LM_STREAM_BATCHES}, {1, 6, LM_STREAM_BATCHES}, {1, 5, LM_STREAM_EVALUATION}};
    for (int i = 0; i < 3; i++) {
        lm_batch_draw(&b, tokens, lm_rng(others[i].seed, others[i].stream, others[i].index));
        cr_expect_arr_neq(a.ids.i32, b.ids.i32, bytes, "case %d", i);
    }
}

Test(text, batches_stay_inside_and_reach_every_place) {
    enum { TOKENS = 20, CONTEXT = 8, PLACES = TOKENS - CONTEXT };
    lm_tokens tokens = count_to(TOKENS);
    lm_batch batch;
    int seen[PLACES] = {0};
    cr_assert(lm_batch_new(&batch, 64, CONTEXT, arena, &err));
    for (uint64_t iteration = 0; iteration < 75; iteration++) {
        lm_batch_draw(&batch, tokens, lm_rng(1, LM_STREAM_BATCHES, iteration));
        for (int64_t i = 0; i < 64; i++) {
            int32_t first = batch.ids.i32[i * CONTEXT];
            cr_assert(first >= 0 && first < PLACES);
            seen[first]++;
            for (int64_t t = 0; t < CONTEXT; t++) {
                cr_assert_eq(batch.ids.i32[i * CONTEXT + t], first + t);
                cr_assert_eq(batch.targets.i32[i * CONTEXT + t], first + t + 1);
            }
        }
    }
    /* 4800 drawings over 12 places: 400 each, standard deviation 19. */
    for (int i = 0; i < PLACES; i++) cr_expect(seen[i] > 300 && seen[i] < 500, "place %d: %d", i, seen[i]);
}

Test(text, the_shortest_text_has_one_row) {
    lm_tokens tokens = count_to(9);
    lm_batch batch;
    cr_assert(lm_batch_new(&batch, 2, 8, arena, &err));
    lm_batch_draw(&batch, tokens, lm_rng(1, LM_STREAM_BATCHES, 0));
    for (int i = 0; i < 8; i++) cr_expect(batch.ids.i32[i] == i && batch.targets.i32[8 + i] == i + 1);
}

Test(text, streams_differ) {
    uint32_t words[6][4];
    for (int i = 0; i < 6; i++) {
        tensor_rng rng = lm_rng(1, (lm_stream)(i % 5), i < 5 ? 0 : 1);
        tensor_rng_block(&rng, words[i]);
        for (int k = 0; k < i; k++) cr_expect_arr_neq(words[i], words[k], sizeof words[0], "%d and %d", i, k);
    }
}
