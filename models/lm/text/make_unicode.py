#!/usr/bin/env python3
"""Writes unicode.c: which characters are letters, numbers and white space, for GPT-2's way to cut a text into
words. Needs unicodedata2 of the version below, the one that the tokenizers package goes by:
    pip install unicodedata2==16.0.0; models/lm/make_unicode.py >models/lm/unicode.c"""
import unicodedata2 as unicodedata

assert unicodedata.unidata_version == "16.0.0"
SPACES = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def kind(code):
    if code in SPACES:
        return 3
    return {"L": 1, "N": 2}.get(unicodedata.category(chr(code))[0], 0)


runs = [(code, kind(code)) for code in range(0x110000) if code == 0 or kind(code) != kind(code - 1)]
print("""/* Classes of characters in Unicode 16.0: written by make_unicode.py. */
#include "models/lm/tokenizer_internal.h"

/* Where each run of characters of one class begins: 4 * code point + class. */
static const uint32_t runs[] = {""")
line = "   "
for code, value in runs:
    text = " 0x%x," % (4 * code + value)
    if len(line) + len(text) > 110:
        print(line)
        line = "   "
    line += text
print(line.rstrip(",") + "};")
print("""
lm_class lm_class_of(uint32_t code) {
    size_t low = 0, high = sizeof runs / sizeof *runs;
    while (high - low > 1) { /* runs[low] begins at or before the character, runs[high] behind it */
        size_t middle = low + (high - low) / 2;
        if (runs[middle] >> 2 <= code)
            low = middle;
        else
            high = middle;
    }
    return (lm_class)(runs[low] & 3);
}""")
