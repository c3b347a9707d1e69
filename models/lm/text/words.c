/* Cutting a text into words, as GPT-2 does before it looks for byte pairs (Radford et al. 2019). */
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

enum { MAX_WORD = 1 << 16 };

/* The same as lm_class_of for most characters of most texts. */
static lm_class class_of_ascii(uint32_t code) {
    if ((code | 0x20) - 'a' < 26) return LM_LETTER;
    if (code - '0' < 10) return LM_NUMBER;
    return code == ' ' || code - '\t' < 5 ? LM_SPACE : LM_OTHER;
}

/* The class of the character at `bytes`, and its length. */
static lm_class class_at(const char *bytes, size_t size, size_t *length) {
    uint32_t code = (unsigned char)bytes[0];
    *length = 1;
    if (code < 0x80) return class_of_ascii(code);
    int n = lm_utf8_decode(bytes, size, &code);
    *length = n > 0 ? (size_t)n : 1;
    return n > 0 ? lm_class_of(code) : LM_OTHER;
}

/* A run of white space leaves its last character to the word after it, unless it is the only one. */
static size_t space_length(const char *bytes, size_t size) {
    size_t at = 0, last = 0, length;
    while (at < size && at < MAX_WORD && class_at(bytes + at, size - at, &length) == LM_SPACE) {
        last = at;
        at += length;
    }
    return at == size || at >= MAX_WORD || last == 0 ? at : last;
}

size_t lm_word_length(const char *bytes, size_t size) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; bytes[0] == '\'' && i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(endings[i]);
        if (length <= size && memcmp(bytes, endings[i], length) == 0) return length;
    }
    size_t at = size > 1 && bytes[0] == ' ', length;
    const lm_class class = class_at(bytes + at, size - at, &length);
    if (class == LM_SPACE) return space_length(bytes, size);
    do at += length;
    while (at < size && at < MAX_WORD && class_at(bytes + at, size - at, &length) == class);
    return at;
}
