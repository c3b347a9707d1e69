/* JSON, as much as checkpoints need: a strict reader for what the caller expects, and quoting. */
#include "nn/files/files.h"

#include <string.h>

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

int nn_utf8(const char *at, const char *end) {
    const unsigned char *s = (const unsigned char *)at;
    int64_t room = end - at;
    if (room < 1) return 0;
    if (s[0] < 0x80) return 1;
    int length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || room < length) return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    /* Longer than needed, a surrogate, above U+10FFFF. */
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90)) return 0;
    if ((s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
    return length;
}

static int encode_utf8(uint32_t c, char *out) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = length - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[length] | c);
    return length;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool fail(nn_json *json, const char *fault) {
    return tensor_fail(&json->error, "byte %lld: %s", (long long)(json->at - json->begin), fault);
}

bool nn_json_expected(nn_json *json, const char *what) {
    return tensor_fail(&json->error, "byte %lld: expected %s", (long long)(json->at - json->begin), what);
}

/* The next character that is not white space, which stays; 0 at the end and after a failure. */
static char peek(nn_json *json) {
    if (!nn_json_ok(json)) return 0;
    while (json->at < json->end && strchr(" \t\n\r", *json->at) && *json->at) json->at++;
    return json->at < json->end ? *json->at : 0;
}

bool nn_json_open(nn_json *json, char bracket) {
    if (peek(json) != bracket) return nn_json_expected(json, bracket == '{' ? "an object" : "an array");
    json->at++;
    return json->first = true;
}

bool nn_json_next(nn_json *json, char close) {
    char c = peek(json);
    bool first = json->first;
    json->first = false;
    if (c != close && first) return nn_json_ok(json);
    if (c != close && c != ',') return nn_json_expected(json, close == '}' ? "',' or '}'" : "',' or ']'");
    json->at++;
    return c == ',';
}

/* Four hexadecimal digits; -1: there are none. */
static int32_t hex4(const nn_json *json, const char *at) {
    if (json->end - at < 4) return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = at[i] ? strchr(digits, at[i] >= 'A' && at[i] <= 'F' ? at[i] + 32 : at[i]) : NULL;
        if (!digit) return -1;
        value = value * 16 + (int32_t)(digit - digits);
    }
    return value;
}

/* Behind \u: one code point, or the two surrogates of one. */
static bool unicode_escape(nn_json *json) {
    int32_t c = hex4(json, json->at), low;
    if (c < 0) return nn_json_expected(json, "four hexadecimal digits");
    json->at += 4;
    if (c >= 0xD800 && c < 0xE000) {
        low = json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u'
                  ? hex4(json, json->at + 2)
                  : 0;
        if (c >= 0xDC00 || low < 0xDC00 || low >= 0xE000) return fail(json, "half a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        json->at += 6;
    }
    if (c == 0) return fail(json, "a NUL in a string");
    json->text += encode_utf8((uint32_t)c, json->text);
    return true;
}

static bool escape(nn_json *json) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = json->at < json->end ? *json->at : 0;
    const char *name = c ? strchr(names, c) : NULL;
    if (c != 'u' && !name) return fail(json, "unknown escape");
    json->at++;
    if (c == 'u') return unicode_escape(json);
    *json->text++ = values[name - names];
    return true;
}

const char *nn_json_string(nn_json *json) {
    char *string = json->text;
    if (peek(json) != '"') return nn_json_expected(json, "a string"), NULL;
    json->at++;
    /* Decoding never lengthens a string, so that `text` may trail `at` in the same buffer. */
    while (json->at < json->end && *json->at != '"') {
        if (*json->at == '\\') {
            json->at++;
            if (!escape(json)) return NULL;
            continue;
        }
        int length = nn_utf8(json->at, json->end);
        if (length == 0) return fail(json, "invalid UTF-8"), NULL;
        if (length == 1 && (unsigned char)*json->at < 0x20)
            return fail(json, "a control character in a string"), NULL;
        while (length--) *json->text++ = *json->at++;
    }
    if (json->at == json->end) return fail(json, "a string without an end"), NULL;
    json->at++;
    *json->text++ = '\0';
    return string;
}

const char *nn_json_key(nn_json *json) {
    const char *key = nn_json_string(json);
    if (key && peek(json) != ':') return nn_json_expected(json, "':'"), NULL;
    if (key) json->at++;
    return key;
}

bool nn_json_integer(nn_json *json, int64_t *value) {
    char first = peek(json);
    const char *at = json->at + (first == '-');
    if (!nn_json_ok(json) || at == json->end || *at < '0' || *at > '9')
        return nn_json_expected(json, "an integer");
    if (*at == '0' && json->end - at > 1 && at[1] >= '0' && at[1] <= '9')
        return fail(json, "an integer with a leading zero");
    int64_t result = 0;
    bool overflow = false;
    for (; at < json->end && *at >= '0' && *at <= '9'; at++) {
        int digit = first == '-' ? '0' - *at : *at - '0';
        overflow |=
            __builtin_mul_overflow(result, 10, &result) || __builtin_add_overflow(result, digit, &result);
    }
    if (overflow) return fail(json, "an integer beyond 64 bits");
    if (at < json->end && (*at == '.' || *at == 'e' || *at == 'E'))
        return nn_json_expected(json, "an integer");
    json->at = at;
    *value = result;
    return true;
}

/* ---- Values of any kind ---------------------------------------------------------------------- */

enum { MAX_DEPTH = 64, MAX_WORD = 63 };

static bool digits(const char **at) {
    const char *begin = *at;
    while (**at >= '0' && **at <= '9') (*at)++;
    return *at > begin;
}

static bool is_number(const char *at) { /* -0.5e+3 */
    at += *at == '-';
    if (*at == '0')
        at++;
    else if (!digits(&at))
        return false;
    if (*at == '.' && (at++, !digits(&at))) return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '+' || *at == '-';
        if (!digits(&at)) return false;
    }
    return !*at;
}

/* A number, true, false or null. */
static bool pass_word(nn_json *json) {
    char word[MAX_WORD + 1];
    int length = 0;
    while (length < MAX_WORD && json->end - json->at > length && json->at[length] &&
           !strchr(" \t\n\r,]}", json->at[length])) {
        word[length] = json->at[length];
        length++;
    }
    word[length] = '\0';
    bool known = strcmp(word, "true") == 0 || strcmp(word, "false") == 0 || strcmp(word, "null") == 0;
    if (!known && !is_number(word)) return nn_json_expected(json, "a value");
    json->at += length;
    return true;
}

static bool pass_value(nn_json *json, int depth) {
    char open = peek(json);
    if (open == '"') return nn_json_string(json) != NULL;
    if (open != '{' && open != '[') return nn_json_ok(json) && pass_word(json);
    if (depth == MAX_DEPTH) return fail(json, "nested too deeply");
    nn_json_open(json, open);
    while (nn_json_next(json, open == '{' ? '}' : ']')) {
        if (open == '{') nn_json_key(json);
        pass_value(json, depth + 1);
    }
    return nn_json_ok(json);
}

/* A string, or the text of any other value; NULL on failure. */
static const char *value(nn_json *json) {
    if (peek(json) == '"') return nn_json_string(json);
    const char *begin = json->at;
    char *text = json->text;
    if (!pass_value(json, 0)) return NULL;
    size_t length = (size_t)(json->at - begin); /* there is room: what ends a value is a byte more */
    memcpy(text, begin, length);
    text[length] = '\0';
    json->text = text + length + 1;
    return text;
}

/* ---- Whole texts --------------------------------------------------------------------------- */

/* Memory for what the text may hold at most: half as many strings as it has quotes, and all their bytes. */
static bool prepare(nn_json *reader, const char *json, tensor_arena *arena, const char ***list,
                    tensor_error *err) {
    if (!json) return tensor_fail(err, "no JSON");
    size_t length = strlen(json), quotes = 0;
    for (const char *c = json; *c; c++) quotes += *c == '"';
    if (quotes / 2 > INT32_MAX) return tensor_fail(err, "JSON: more strings than an int counts");
    *list = tensor_arena_alloc(arena, quotes / 2 * sizeof **list, err);
    char *text = tensor_arena_alloc(arena, length, err);
    *reader = (nn_json){.begin = json, .at = json, .end = json + length, .text = text};
    return *list && text;
}

/* Whether all has been read, and well. */
static bool finish(nn_json *reader, tensor_error *err) {
    peek(reader);
    if (reader->at != reader->end) nn_json_expected(reader, "the end");
    return nn_json_ok(reader) || tensor_fail(err, "JSON, %s", reader->error.text);
}

bool nn_json_strings(const char *json, tensor_arena *arena, const char *const **strings, int *count,
                     tensor_error *err) {
    const char **list = NULL;
    nn_json reader;
    if (!prepare(&reader, json, arena, &list, err)) return false;
    *strings = list;
    *count = 0;
    nn_json_open(&reader, '[');
    while (nn_json_next(&reader, ']')) {
        const char *string = nn_json_string(&reader);
        if (string) list[(*count)++] = string;
    }
    return finish(&reader, err);
}

bool nn_json_integers(const char *json, tensor_arena *arena, const char *const **keys, const int64_t **values,
                      int *count, tensor_error *err) {
    const char **list = NULL;
    nn_json reader;
    if (!prepare(&reader, json, arena, &list, err)) return false;
    size_t room = (size_t)(reader.end - reader.begin) / 2; /* a key, a colon and a digit are more than that */
    int64_t *numbers = tensor_arena_alloc(arena, room * sizeof *numbers, err);
    if (!numbers) return false;
    *keys = list;
    *values = numbers;
    *count = 0;
    nn_json_open(&reader, '{');
    while (nn_json_next(&reader, '}')) {
        const char *key = nn_json_key(&reader);
        if (!key || !nn_json_integer(&reader, &numbers[*count])) continue;
        list[(*count)++] = key;
    }
    return finish(&reader, err);
}

/* A reader of a text that is kept as strings; false where memory is out. */
static bool begin(nn_json *reader, const char *json, tensor_arena *arena, tensor_error *err) {
    if (!json) return tensor_fail(err, "no JSON");
    const size_t length = strlen(json);
    char *text = tensor_arena_alloc(arena, length, err);
    *reader = (nn_json){.begin = json, .at = json, .end = json + length, .text = text};
    return text;
}

bool nn_json_values(const char *json, tensor_arena *arena, const char *const **values, int *count,
                    tensor_error *err) {
    nn_json reader;
    void *list = NULL;
    int n = 0, capacity = 0;
    if (!begin(&reader, json, arena, err)) return false;
    nn_json_open(&reader, '[');
    while (nn_json_next(&reader, ']')) {
        const char *item = value(&reader);
        if (!item || !nn_grow(arena, &list, sizeof item, n, &capacity, &reader.error)) break;
        ((const char **)list)[n++] = item;
    }
    *values = list;
    *count = n;
    return finish(&reader, err);
}

bool nn_json_members(const char *json, tensor_arena *arena, const nn_metadata **members, int *count,
                     tensor_error *err) {
    nn_json reader;
    void *list = NULL;
    int n = 0, capacity = 0;
    if (!begin(&reader, json, arena, err)) return false;
    nn_json_open(&reader, '{');
    while (nn_json_next(&reader, '}')) {
        nn_metadata member = {.key = nn_json_key(&reader)};
        member.value = value(&reader);
        if (!member.value || !nn_grow(arena, &list, sizeof member, n, &capacity, &reader.error)) break;
        ((nn_metadata *)list)[n++] = member;
    }
    *members = list;
    *count = n;
    return finish(&reader, err);
}

const char *nn_json_member(const nn_metadata *members, int count, const char *key) {
    for (int i = 0; i < count; i++)
        if (strcmp(members[i].key, key) == 0)
            return strcmp(members[i].value, "null") == 0 ? NULL : members[i].value;
    return NULL;
}

/* ---- Writing --------------------------------------------------------------------------------- */

void nn_text_add(nn_text *text, const char *bytes, size_t count) {
    if (text->length < text->size) {
        size_t room = text->size - text->length;
        memcpy(text->buffer + text->length, bytes, count < room ? count : room);
    }
    text->length += count;
}

void nn_text_quote(nn_text *text, const char *string) {
    static const char names[] = "\"\\bfnrt", values[] = "\"\\\b\f\n\r\t";
    const char *end = string + strlen(string);
    nn_text_add(text, "\"", 1);
    while (string < end) {
        int length = nn_utf8(string, end);
        const char *value = strchr(values, *string);
        char code[8];
        if (value) {
            nn_text_add(text, (char[]){'\\', names[value - values]}, 2);
        } else if (length == 0) { /* not UTF-8: the replacement character */
            nn_text_add(text, "\\ufffd", 6);
        } else if ((unsigned char)*string < 0x20) {
            snprintf(code, sizeof code, "\\u%04x", (unsigned)(unsigned char)*string);
            nn_text_add(text, code, 6);
        } else {
            nn_text_add(text, string, (size_t)length);
        }
        string += length ? length : 1;
    }
    nn_text_add(text, "\"", 1);
}

size_t nn_json_quote(char *buffer, size_t size, const char *text) {
    nn_text out = {.buffer = buffer, .size = size};
    nn_text_quote(&out, text);
    if (size > 0) buffer[out.length < size ? out.length : size - 1] = '\0';
    return out.length;
}
