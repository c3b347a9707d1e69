/* UTF-8: bytes to characters and back. */
#ifndef SAMPO_LM_UTF8_H
#define SAMPO_LM_UTF8_H

#include "sampo/tensor.h"

/* Length in bytes, 1 to 4, of the UTF-8 character at `bytes`, and its code point; 0: not valid. */
int lm_utf8_decode(const char *bytes, size_t size, uint32_t *code);
/* The same, without a call for the characters of one or two bytes: where a whole text is read. */
static inline int lm_utf8_next(const char *bytes, size_t size, uint32_t *code) {
    const unsigned char *b = (const unsigned char *)bytes;
    if (size > 0 && b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    if (size > 1 && b[0] >= 0xc2 && b[0] < 0xe0 && (b[1] & 0xc0) == 0x80) {
        *code = (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
        return 2;
    }
    return lm_utf8_decode(bytes, size, code);
}
/* Writes the character and a NUL; returns its length. */
int lm_utf8_encode(uint32_t code, char bytes[5]);
/* The number of characters; -1 and a text that names the first byte (counted from 1) that is not UTF-8. */
int64_t lm_utf8_count(const char *bytes, size_t size, tensor_error *err);
/* The length of the byte order mark that a text begins with: 3 or 0. */
size_t lm_byte_order_mark(const char *bytes, size_t size);

#endif
