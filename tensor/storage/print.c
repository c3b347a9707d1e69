/* Printing as NumPy's arrayprint.py does with its default options: 8 fractional digits, a threshold of 1000
 * elements, 3 items at each edge, lines of 75 columns. Numbers never depend on the locale. */
#include "sampo/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 8, THRESHOLD = 1000, EDGE_ITEMS = 3, LINE_WIDTH = 75, WORD = 64 };

/* ---- Decimal digits of a float ---------------------------------------------------------------- */

typedef struct decimal { /* digits times 10^power, no trailing zeros */
    unsigned digits;
    int power;
} decimal;

static int digit_count(decimal d) {
    int count = 1;
    for (unsigned rest = d.digits; rest >= 10; rest /= 10) count++;
    return count;
}

static decimal without_zeros(decimal d) {
    while (d.digits && d.digits % 10 == 0) d.digits /= 10, d.power++;
    if (!d.digits) d.power = 0;
    return d;
}

/* |x| rounded to `count` <= 9 significant digits, ties to even. */
static decimal rounded(float x, int count) {
    char text[32];
    snprintf(text, sizeof text, "%.*e", count - 1, fabs((double)x));
    decimal d = {0};
    const char *c = text;
    for (; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9') d.digits = 10 * d.digits + (unsigned)(*c - '0');
    d.power = (*c ? atoi(c + 1) : 0) - (count - 1);
    return d;
}

static bool round_trips(decimal d, float x) {
    char text[32];
    snprintf(text, sizeof text, "%ue%d", d.digits, d.power);
    return strtof(text, NULL) == fabsf(x);
}

/* The shortest decimal that reads back as |x|; of several, the nearest. */
static decimal shortest(float x) {
    for (int count = 1; count < 9; count++) {
        decimal d = rounded(x, count);
        if (round_trips(d, x)) return without_zeros(d);
        /* Below a power of two floats lie closer than above: the nearest decimal, below, may belong to the
         * next float while the one above still belongs to x. */
        d.digits++;
        if (round_trips(d, x)) return without_zeros(d);
    }
    return without_zeros(rounded(x, 9));
}

/* The shortest one, but neither more than PRECISION fractional digits nor zeros in place of digits before the
 * point: with such x is rounded there. */
static decimal shortest_fixed(float x) {
    decimal d = shortest(x);
    int before_point = digit_count(d) + d.power; /* negative: zeros after the point */
    if (d.power > 0) return without_zeros(rounded(x, before_point));
    if (d.power < -PRECISION) return without_zeros(rounded(x, before_point + PRECISION));
    return d;
}

/* x rounded to as many digits, unless the shortest has as many or more. */
static decimal shortest_filled(float x, int count) {
    decimal d = shortest(x);
    return x == 0 || digit_count(d) >= count ? d : without_zeros(rounded(x, count));
}

/* ---- Words --------------------------------------------------------------------------------------- */

typedef struct printer {
    FILE *file;
    tensor x;
    bool abbreviated;
    /* what the elements shown have in common: */
    float largest, smallest; /* of the absolute values but 0; largest is 0 where there is none */
    bool finite, infinite_below, not_finite;
    bool scientific;
    int left, fraction; /* characters before the point, and after it */
    int width;
    /* output: spaces wait until something follows them, since lines do not end in any */
    int64_t column, spaces;
} printer;

static int length(const char *word) {
    return (int)strlen(word);
}

/* x as 12.5 into `word`; with no fraction: "12." */
static void write_fixed(char *word, decimal d, bool negative) {
    char digits[16];
    int count = snprintf(digits, sizeof digits, "%u", d.digits);
    int before = count + d.power; /* digits before the point */
    char *w = word;
    if (negative) *w++ = '-';
    if (before <= 0) *w++ = '0';
    for (int i = 0; i < before; i++) *w++ = i < count ? digits[i] : '0';
    *w++ = '.';
    for (int i = before; i < 0; i++) *w++ = '0';
    for (int i = before > 0 ? before : 0; i < count; i++) *w++ = digits[i];
    *w = '\0';
}

/* x as 1.25e+01 into `word`, with zeros up to `fraction` fractional digits. */
static void write_scientific(char *word, decimal d, bool negative, int fraction) {
    char digits[16];
    int count = snprintf(digits, sizeof digits, "%u", d.digits);
    char *w = word;
    if (negative) *w++ = '-';
    *w++ = digits[0];
    *w++ = '.';
    for (int i = 1; i < count || i <= fraction; i++) *w++ = i < count ? digits[i] : '0';
    int exponent = d.power + count - 1;
    snprintf(w, 8, "e%c%02u", exponent < 0 ? '-' : '+', (unsigned)abs(exponent) % 100);
}

static const char *name_of_not_finite(float x) {
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

/* The word for the element at `at`, not yet aligned with the others. */
static void write_word(const printer *p, char word[WORD], const void *at) {
    if (p->x.dtype == TENSOR_I32) {
        snprintf(word, WORD, "%d", *(const int32_t *)at);
        return;
    }
    float x = *(const float *)at;
    if (!isfinite(x))
        snprintf(word, WORD, "%s", name_of_not_finite(x));
    else if (p->scientific)
        write_scientific(word, shortest_filled(x, 1 + p->fraction), signbit(x), p->fraction);
    else
        write_fixed(word, shortest_fixed(x), signbit(x));
}

/* ---- The common format of all elements shown ------------------------------------------------------ */

typedef void visitor(printer *p, const void *at);

/* Whether only the edges of an axis of n are shown. */
static bool leaves_out(const printer *p, int64_t n) {
    return p->abbreviated && n > 2 * EDGE_ITEMS;
}

static const void *element(const printer *p, const void *at, int axis, int64_t i) {
    return (const int32_t *)at + i * p->x.stride[axis];
}

static void visit(printer *p, int axis, const void *at, visitor *see) {
    if (axis == p->x.rank) {
        see(p, at);
        return;
    }
    int64_t n = p->x.shape[axis];
    for (int64_t i = 0; i < n; i++) {
        if (i == EDGE_ITEMS && leaves_out(p, n)) i = n - EDGE_ITEMS;
        visit(p, axis + 1, element(p, at, axis, i), see);
    }
}

static void see_range(printer *p, const void *at) {
    float x = *(const float *)at;
    if (!isfinite(x)) {
        p->not_finite = true;
        if (x < 0) p->infinite_below = true;
        return;
    }
    p->finite = true;
    if (x == 0) return;
    if (p->largest == 0 || fabsf(x) < p->smallest) p->smallest = fabsf(x);
    if (fabsf(x) > p->largest) p->largest = fabsf(x);
}

static void see_digits(printer *p, const void *at) {
    char word[WORD];
    if (!isfinite(*(const float *)at)) return;
    write_word(p, word, at);
    int left = (int)strcspn(word, "."), fraction = (int)strcspn(word + left + 1, "e");
    if (left > p->left) p->left = left;
    if (fraction > p->fraction) p->fraction = fraction;
}

static void see_width(printer *p, const void *at) {
    char word[WORD];
    write_word(p, word, at);
    if (length(word) > p->width) p->width = length(word);
}

static void choose_format(printer *p) {
    if (p->x.dtype == TENSOR_I32) {
        visit(p, 0, p->x.data, see_width);
        return;
    }
    visit(p, 0, p->x.data, see_range);
    p->scientific =
        p->largest > 0 && (p->largest >= 1e8f || p->smallest < 1e-4f || p->largest / p->smallest > 1000.0f);
    visit(p, 0, p->x.data, see_digits);
    p->width = p->left + 1 + p->fraction + (p->scientific ? length("e+00") : 0);
    int special = p->infinite_below ? length("-inf") : p->not_finite ? length("nan") : 0;
    if (p->width < special) p->width = special;
}

/* ---- Brackets and lines ------------------------------------------------------------------------------ */

static void put(printer *p, const char *text) {
    if (p->spaces) fprintf(p->file, "%*s", (int)p->spaces, "");
    p->spaces = 0;
    fputs(text, p->file);
    p->column += length(text);
}

static void put_spaces(printer *p, int64_t n) {
    p->spaces += n;
    p->column += n;
}

static void put_line_end(printer *p, int indent) {
    p->spaces = p->column = 0;
    put(p, "\n");
    p->column = 0;
    put_spaces(p, indent);
}

/* One item of a row, aligned in `width` columns, on a new line where this one is full: the closing brackets
 * must fit on it too. */
static void put_item(printer *p, const char *word, int width, int after) {
    if (p->column > p->x.rank) put_spaces(p, 1);
    if (p->column + width > LINE_WIDTH - p->x.rank && p->column > p->x.rank) put_line_end(p, p->x.rank);
    put_spaces(p, width - length(word) - after);
    put(p, word);
    put_spaces(p, after);
}

static void put_row(printer *p, const void *at) {
    int axis = p->x.rank - 1;
    int64_t n = p->x.shape[axis];
    put(p, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i == EDGE_ITEMS && leaves_out(p, n)) {
            put_item(p, "...", length("..."), 0);
            i = n - EDGE_ITEMS;
        }
        char word[WORD];
        write_word(p, word, element(p, at, axis, i));
        const char *point = p->scientific ? NULL : strchr(word, '.');
        put_item(p, word, p->width, point ? p->fraction - length(point + 1) : 0);
    }
    put(p, "]");
}

/* Between two items of an axis: a new line, and one more for each axis between it and the rows. */
static void put_break(printer *p, int axis) {
    for (int i = axis + 1; i < p->x.rank; i++) put_line_end(p, axis + 1);
}

static void put_axis(printer *p, int axis, const void *at) {
    if (axis == p->x.rank - 1) {
        put_row(p, at);
        return;
    }
    int64_t n = p->x.shape[axis];
    put(p, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) put_break(p, axis);
        if (i == EDGE_ITEMS && leaves_out(p, n)) {
            put(p, "...");
            put_break(p, axis);
            i = n - EDGE_ITEMS;
        }
        put_axis(p, axis + 1, element(p, at, axis, i));
    }
    put(p, "]");
}

/* A scalar stands alone: all its digits, and an exponent only from 1e16 on and below 1e-4. */
static void put_scalar(printer *p) {
    char word[WORD];
    float x = p->x.dtype == TENSOR_F32 ? *p->x.f32 : 0;
    if (p->x.dtype == TENSOR_I32) {
        write_word(p, word, p->x.data);
    } else if (!isfinite(x)) {
        snprintf(word, sizeof word, "%s", name_of_not_finite(x));
    } else if (x == 0 || (fabsf(x) >= 1e-4 && fabsf(x) < 1e16)) {
        write_fixed(word, shortest(x), signbit(x));
        if (word[length(word) - 1] == '.') strcat(word, "0");
    } else {
        write_scientific(word, shortest(x), signbit(x), 0);
        char *point = strstr(word, ".e");
        if (point) memmove(point, point + 1, strlen(point));
    }
    put(p, word);
}

bool tensor_print(FILE *file, tensor x) {
    if (!tensor_ok(x)) return false;
    printer p = {.file = file, .x = x, .abbreviated = tensor_size(x) > THRESHOLD};
    if (tensor_size(x) == 0) {
        put(&p, "[]");
    } else if (x.rank == 0) {
        put_scalar(&p);
    } else {
        choose_format(&p);
        put_axis(&p, 0, x.data);
    }
    return !ferror(file);
}
