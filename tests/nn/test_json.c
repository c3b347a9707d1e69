/* JSON: arrays of strings, objects of integers, members of any object, and quoting. The reader of objects is tested with
 * the headers of files. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <string.h>

Test(json, reads_arrays_of_strings) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    const char *const *strings;
    int count;
    cr_assert(nn_json_strings(" [ \"a\" , \"\\n\\t\\b\\f\\r\\/\\\\\\\"\",\"\", \"\\u00E4\\uD83D\\uDE00\"] \n",
                              arena, &strings, &count, &err));
    cr_assert_eq(count, 4);
    const char *const expected[] = {"a", "\n\t\b\f\r/\\\"", "", "\xc3\xa4\xf0\x9f\x98\x80"};
    for (int i = 0; i < 4; i++) cr_assert_str_eq(strings[i], expected[i]);
    cr_assert(nn_json_strings("[]", arena, &strings, &count, &err) && count == 0);
    const char *const faulty[] = {"", "[", "[\"a\"", "[\"a\",]", "[,]", "[1]", "[\"a\"]x", "{\"a\"}",
                                  "[\"\\u0000\"]", "[\"a\" \"b\"]", "[[\"a\"]]", "[null]", "['a']",
                                  /* Longer than needed, a surrogate, above U+10FFFF. */
                                  "[\"\xc1\xbf\"]", "[\"\xe0\x9f\xbf\"]", "[\"\xf0\x8f\xbf\xbf\"]",
                                  "[\"\xed\xa0\x80\"]", "[\"\xf4\x90\x80\x80\"]", "[\"\xf5\x80\x80\x80\"]",
                                  "[\"\xe4\xa4\"]", "[\"\x80\"]", "[\"\\u12\"]", "[\"\\u123", "[\"\\ud83d\"]",
                                  "[\"\\ud83d\\u0041\"]", "[\"\\ude00\"]"};
    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        err = (tensor_error){0};
        cr_expect_not(nn_json_strings(faulty[i], arena, &strings, &count, &err), "%s", faulty[i]);
        cr_expect(strncmp(err.text, "JSON, byte ", 11) == 0, "%s", err.text);
    }
    const char *const last[] = {"[\"\xf4\x8f\xbf\xbf\"]", "[\"\xed\x9f\xbf\"]", "[\"\xee\x80\x80\"]",
                                "[\"\xc2\x80\"]"};
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        cr_expect(nn_json_strings(last[i], arena, &strings, &count, NULL) && count == 1, "%s", last[i]);
    for (char c = 1; c < 0x7f; c++) { /* control characters are written as escapes */
        if (c == '"' || c == '\\') continue;
        const char one[] = {'[', '"', c, '"', ']', '\0'};
        cr_expect_eq(nn_json_strings(one, arena, &strings, &count, NULL), c >= ' ', "0x%02x", c);
    }
    tensor_arena_free(arena);
}

Test(json, reads_objects_of_integers) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    const char *const *keys;
    const int64_t *values;
    int count;
    cr_assert(
        nn_json_integers(" {\"a\":1 , \"\":-2,\"\\u0120b\" : 50256} ", arena, &keys, &values, &count, &err));
    cr_assert_eq(count, 3);
    const char *const expected[] = {"a", "", "\304\240b"};
    for (int i = 0; i < 3; i++) cr_assert_str_eq(keys[i], expected[i]);
    cr_expect(values[0] == 1 && values[1] == -2 && values[2] == 50256);
    cr_assert(nn_json_integers("{}", arena, &keys, &values, &count, &err) && count == 0);
    const char *const faulty[] = {"",           "{",           "{\"a\"}",  "{\"a\":}",
                                  "{\"a\":1,}", "{\"a\":1.5}", "{\"a\":1", "{\"a\":\"1\"}",
                                  "{\"a\":1}x", "{\"a\" 1}",   "[\"a\"]",  "{a:1}"};
    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        err = (tensor_error){0};
        cr_expect_not(nn_json_integers(faulty[i], arena, &keys, &values, &count, &err), "%s", faulty[i]);
        cr_expect(strncmp(err.text, "JSON, byte ", 11) == 0, "%s", err.text);
    }
    const char *const real[] = {"{\"a\":1.5}", "{\"a\":1e5}", "{\"a\":1E5}"};
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        err = (tensor_error){0};
        cr_expect_not(nn_json_integers(real[i], arena, &keys, &values, &count, &err));
        cr_expect_str_eq(err.text, "JSON, byte 5: expected an integer");
    }
    tensor_arena_free(arena);
}

Test(json, reads_members_of_objects) {
    tensor_arena *arena = tensor_arena_new(NULL);
    tensor_error err = {0};
    const nn_metadata *members;
    int count;
    cr_assert(
        nn_json_members(" { \"a\\n\" : \"b\\u00e4\" ,\"i\":-12,\"e\": 1.5e-05 , \"null\":null,\"t\":true,"
                        "\"list\":[ \"x]\", [1,{}] ],\"o\":{\"p\": {\"q\":\"}\"}, \"r\":false},\"\":\"\"}\n",
                        arena, &members, &count, &err),
        "%s", err.text);
    const nn_metadata expected[] = {{"a\n", "b\xc3\xa4"},
                                    {"i", "-12"},
                                    {"e", "1.5e-05"},
                                    {"null", "null"},
                                    {"t", "true"},
                                    {"list", "[ \"x]\", [1,{}] ]"},
                                    {"o", "{\"p\": {\"q\":\"}\"}, \"r\":false}"},
                                    {"", ""}};
    cr_assert_eq(count, 8);
    for (int i = 0; i < 8; i++) {
        cr_expect_str_eq(members[i].key, expected[i].key);
        cr_expect_str_eq(members[i].value, expected[i].value);
    }
    cr_assert(nn_json_members("{}", arena, &members, &count, &err) && count == 0);
    cr_assert(nn_json_members("{\"a\":0,\"b\":0.25,\"c\":10E+7,\"d\":-0}", arena, &members, &count, &err) &&
              count == 4);

    static char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    const char *const faulty[] = {"",
                                  "[]",
                                  "{",
                                  "{\"a\"}",
                                  "{\"a\":}",
                                  "{\"a\":1",
                                  "{\"a\":1,}",
                                  "{\"a\":1}x",
                                  "{\"a\":01}",
                                  "{\"a\":1.}",
                                  "{\"a\":.5}",
                                  "{\"a\":1e}",
                                  "{\"a\":+1}",
                                  "{\"a\":nul}",
                                  "{\"a\":NaN}",
                                  "{\"a\":[1,]}",
                                  "{\"a\":[1}}",
                                  "{\"a\":{1:2}}",
                                  "{a:1}",
                                  "{\"a\":\"\\q\"}",
                                  "{\"a\":--1}",
                                  "{\"a\":[\"]}",
                                  "{\"a\":tru e}",
                                  deep};
    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        err = (tensor_error){0};
        cr_expect_not(nn_json_members(faulty[i], arena, &members, &count, &err), "%s", faulty[i]);
        cr_expect(strncmp(err.text, "JSON, byte ", 11) == 0, "%s: %s", faulty[i], err.text);
    }
    cr_expect(strstr(err.text, "nested too deeply") != NULL, "%s", err.text);
    for (size_t depth = 63; depth < 67; depth++) {
        char text[200] = "{\"a\":";
        memset(text + 5, '[', depth);
        memset(text + 5 + depth, ']', depth);
        strcpy(text + 5 + 2 * depth, "}");
        cr_expect_eq(nn_json_members(text, arena, &members, &count, NULL), depth <= 64, "%zu", depth);
    }
    tensor_arena_free(arena);
}

Test(json, values_of_any_kind) {
    const char *const *values;
    int count;
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(NULL);
    cr_assert(
        nn_json_values(" [ \"a\\n\", 1.5, null,[1, \"]\"], {\"b\": true} ]", arena, &values, &count, &err),
        "%s", err.text);
    static const char *const expected[] = {"a\n", "1.5", "null", "[1, \"]\"]", "{\"b\": true}"};
    cr_assert_eq(count, 5);
    for (int i = 0; i < 5; i++) cr_expect_str_eq(values[i], expected[i]);
    cr_assert(nn_json_values("[]", arena, &values, &count, &err) && count == 0);
    static const char *const faulty[] = {"", "{}", "[1", "[1,]", "[1 2]", "[01]", "[1]x", "[[1]", "[a]"};
    for (size_t i = 0; i < sizeof faulty / sizeof *faulty; i++)
        cr_expect_not(nn_json_values(faulty[i], arena, &values, &count, &err), "%s", faulty[i]);
    const nn_metadata list[] = {{"a", "null"}, {"b", "1"}};
    cr_expect_null(nn_json_member(list, 2, "a"));
    cr_expect_null(nn_json_member(list, 2, "c"));
    cr_expect_str_eq(nn_json_member(list, 2, "b"), "1");
    tensor_arena_free(arena);
}

/* As nn_file_metadata has it where a file lacks the key. */
Test(json, no_text_is_refused) {
    tensor_arena *arena = tensor_arena_new(NULL);
    const char *const *list;
    const nn_metadata *members;
    const int64_t *numbers;
    int count;
    tensor_error errors[4] = {0};
    cr_expect_not(nn_json_strings(NULL, arena, &list, &count, &errors[0]));
    cr_expect_not(nn_json_integers(NULL, arena, &list, &numbers, &count, &errors[1]));
    cr_expect_not(nn_json_values(NULL, arena, &list, &count, &errors[2]));
    cr_expect_not(nn_json_members(NULL, arena, &members, &count, &errors[3]));
    for (int i = 0; i < 4; i++) cr_expect_str_eq(errors[i].text, "no JSON");
    tensor_arena_free(arena);
}

Test(json, quotes) {
    char buffer[64];
    const char *const text = "a\"\\\n\t\r\b\f\x01\x1f\x7f\xc3\xa4\xff";
    const char *const quoted = "\"a\\\"\\\\\\n\\t\\r\\b\\f\\u0001\\u001f\x7f\xc3\xa4\\ufffd\"";
    cr_assert_eq(nn_json_quote(buffer, sizeof buffer, text), strlen(quoted));
    cr_assert_str_eq(buffer, quoted);
    cr_assert_eq(nn_json_quote(NULL, 0, text), strlen(quoted));
    memset(buffer, 'x', sizeof buffer);
    cr_assert_eq(nn_json_quote(buffer, 5, "abcdef"), 8);
    cr_assert_str_eq(buffer, "\"abc");
    cr_assert_eq(buffer[5], 'x');
    cr_assert_eq(nn_json_quote(buffer, 9, "abcdef"), 8);
    cr_assert_str_eq(buffer, "\"abcdef\"");
    for (size_t size = 1; size < 12;
         size++) { /* which holds the NUL, too, and nothing is written behind it */
        memset(buffer, 'x', sizeof buffer);
        cr_expect_eq(nn_json_quote(buffer, size, "abcdef"), 8);
        cr_expect_eq(strlen(buffer), size <= 8 ? size - 1 : 8);
        cr_expect_eq(buffer[size], 'x', "%zu", size);
    }
}
