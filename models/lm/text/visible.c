/* Text from anywhere as others may have it: terminals, which it must not control, and JSON. */
#include <string.h>

#include "models/lm/text/text.h"

bool lm_is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

/* Columns of a character, at most: from U+1100 on some take two. */
static int columns_of(uint32_t code) {
    return code >= 0x1100 && !(code >= 0x2000 && code < 0x2e80) ? 2 : 1;
}

int lm_visible(FILE *file, const char *text, int columns, bool utf8) {
    const size_t size = strlen(text);
    size_t i = 0, begin = 0; /* of what is shown and not yet written: standard error writes piece by piece */
    int used = 0;
    while (i < size) {
        uint32_t code;
        const int length = lm_utf8_decode(text + i, size - i, &code);
        const bool shown = length > 0 && !lm_is_control(code) && (utf8 || length == 1);
        const int width = shown ? columns_of(code) : 1;
        if (used + width > columns) break;
        if (!shown) fprintf(file, "%.*s?", (int)(i - begin), text + begin);
        used += width;
        i += length ? (size_t)length : 1;
        if (!shown) begin = i;
    }
    fwrite(text + begin, 1, i - begin, file);
    return used;
}

void lm_visible_lines(FILE *file, const char *bytes, size_t size) {
    for (size_t i = 0; i < size;) {
        uint32_t code;
        const int length = lm_utf8_decode(bytes + i, size - i, &code);
        if (length > 0 && (code == '\n' || code == '\t' || !lm_is_control(code)))
            fwrite(bytes + i, 1, (size_t)length, file);
        else
            fputc('?', file);
        i += length > 0 ? (size_t)length : 1;
    }
}

void lm_json_piece(FILE *file, lm_piece piece) {
    fputc('"', file);
    for (size_t i = 0; i < piece.size;) {
        uint32_t code;
        const int length = lm_utf8_decode(piece.bytes + i, piece.size - i, &code);
        if (length == 0)
            fputs("\xef\xbf\xbd", file); /* U+FFFD */
        else if (code < 0x20)
            fprintf(file, "\\u%04x", (unsigned)code);
        else
            fprintf(file, code == '"' || code == '\\' ? "\\%.*s" : "%.*s", length, piece.bytes + i);
        i += length ? (size_t)length : 1;
    }
    fputc('"', file);
}

void lm_json_string(FILE *file, const char *text) {
    lm_json_piece(file, (lm_piece){text, strlen(text)});
}
