/* Tables of numbers from comma-separated values (RFC 4180). The text is walked through twice: first its lines and
 * fields are counted, so that memory for exactly these is taken, then their numbers are read. */
#include "nn/files/files.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Fields ------------------------------------------------------------------------------------- */

typedef struct reader {
    const char *path, *at, *end; /* a NUL stands at the end */
    char delimiter;
    int64_t line; /* counted from 1 */
    tensor_error *err;
} reader;

typedef struct field {
    const char *begin, *end; /* inside the quotes, if it has some */
    int64_t line;            /* on which it begins */
    bool quoted, last;       /* last: of its record */
} field;

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static bool read_quoted(reader *r, field *f) {
    f->begin = ++r->at;
    for (; r->at < r->end; r->at++) {
        r->line += *r->at == '\n';
        if (*r->at != '"') continue;
        if (r->at[1] != '"') {
            f->end = r->at++;
            return true;
        }
        r->at++;
    }
    return nn_file_fail(r->err, r->path, "line %lld: a quote is not closed", (long long)f->line);
}

static bool read_plain(reader *r, field *f) {
    while (r->at < r->end && is_blank(*r->at) && *r->at != r->delimiter) r->at++;
    f->begin = r->at;
    for (; r->at < r->end && *r->at != r->delimiter && *r->at != '\n' && *r->at != '\r'; r->at++)
        if (*r->at == '"')
            return nn_file_fail(r->err, r->path,
                                "line %lld: a quote inside a field that does not begin with one",
                                (long long)f->line);
    for (f->end = r->at; f->end > f->begin && is_blank(f->end[-1]);) f->end--;
    return true;
}

/* The next field, with the delimiter or the line's end behind it. */
static bool next_field(reader *r, field *f) {
    *f = (field){.line = r->line, .quoted = r->at < r->end && *r->at == '"'};
    if (!(f->quoted ? read_quoted(r, f) : read_plain(r, f))) return false;
    if (r->at < r->end && *r->at == r->delimiter) {
        r->at++;
        return true;
    }
    f->last = true;
    if (r->at == r->end) return true;
    if (*r->at == '\r' && r->at[1] == '\n') r->at++;
    if (*r->at != '\n')
        return nn_file_fail(r->err, r->path,
                            *r->at == '\r' ? "line %lld: a carriage return without a line feed"
                                           : "line %lld: text behind a closing quote",
                            (long long)r->line);
    r->at++;
    r->line++;
    return true;
}

/* ---- Numbers ------------------------------------------------------------------------------------ */

/* Digits from *at on; their value goes behind the `many` digits that *mantissa has. */
static int64_t read_digits(const char **at, const char *end, uint64_t *mantissa, int64_t *many) {
    int64_t count = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at, count++) {
        if (*many > 0 || **at != '0') ++*many;
        if (*many <= 19) *mantissa = 10 * *mantissa + (uint64_t)(**at - '0');
    }
    return count;
}

/* Whether all of a text is one decimal number, which goes to *x. Up to 2^53 times a power of ten that is exact it is
 * rounded once (Clinger 1990), without libc and its locale; others are left to strtod. */
static bool parse_number(const char *begin, const char *end, double *x) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    enum { EXACT = (int)(sizeof powers / sizeof powers[0]) - 1, FAR = 100000 };
    const char *at = begin;
    const bool negative = at < end && *at == '-';
    uint64_t mantissa = 0, size = 0;
    int64_t many = 0, exponent = 0, places = 0;
    if (at < end && (*at == '-' || *at == '+')) at++;
    int64_t digits = read_digits(&at, end, &mantissa, &many);
    if (at < end && *at == '.') {
        at++;
        exponent = -read_digits(&at, end, &mantissa, &many);
        digits -= exponent;
    }
    if (digits == 0) return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
        const bool down = ++at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        if (read_digits(&at, end, &size, &places) == 0) return false;
        const int64_t power = places > 5 ? FAR : (int64_t)size;
        exponent += down ? -power : power;
    }
    if (at != end) return false;
    if (many > 19 || mantissa > UINT64_C(1) << 53 || exponent > EXACT || exponent < -EXACT) {
        char *stop;
        *x = strtod(begin, &stop);
        return stop == end;
    }
    *x = exponent < 0 ? (double)mantissa / powers[-exponent] : (double)mantissa * powers[exponent];
    if (negative) *x = -*x;
    return true;
}

/* ---- Columns ------------------------------------------------------------------------------------ */

typedef struct table {
    const char **all; /* [count] names of all columns */
    int64_t *place;   /* [count] where among those that are kept a column goes; -1: nowhere */
    int64_t count, kept;
    const char **names; /* [kept] */
    int64_t rows;
} table;

/* A field as a name of its own, "" being a quote. */
static const char *name_of(const field *f, tensor_arena *arena, tensor_error *err) {
    char *name = tensor_arena_alloc(arena, (size_t)(f->end - f->begin) + 1, err), *to = name;
    if (!name) return NULL;
    for (const char *at = f->begin; at < f->end; at++) {
        *to++ = *at;
        if (f->quoted && *at == '"') at++;
    }
    *to = '\0';
    return name;
}

/* The names of all columns, from the first line or as numbers. */
static bool name_columns(table *t, reader r, bool no_header, tensor_arena *arena) {
    field f = {0};
    reader first = r;
    for (t->count = 0; !f.last; t->count++)
        if (!next_field(&first, &f)) return false;
    t->all = tensor_arena_alloc(arena, (size_t)t->count * sizeof *t->all, r.err);
    t->place = tensor_arena_alloc(arena, (size_t)t->count * sizeof *t->place, r.err);
    if (!t->all || !t->place) return false;
    for (int64_t i = 0; i < t->count; i++) {
        char number[24];
        next_field(&r, &f);
        if (no_header) {
            const int length = snprintf(number, sizeof number, "%lld", (long long)i + 1);
            f = (field){.begin = number, .end = number + length};
        }
        if (!(t->all[i] = name_of(&f, arena, r.err))) return false;
    }
    return true;
}

static bool keep_all(table *t) {
    t->kept = t->count;
    t->names = t->all;
    for (int64_t i = 0; i < t->count; i++) t->place[i] = i;
    return true;
}

static bool keep_columns(table *t, const char *const *columns, const reader *r, tensor_arena *arena) {
    while (columns[t->kept]) t->kept++;
    t->names = tensor_arena_alloc(arena, (size_t)t->kept * sizeof *t->names, r->err);
    if (!t->names) return false;
    for (int64_t i = 0; i < t->count; i++) t->place[i] = -1;
    for (int64_t k = 0; k < t->kept; k++) {
        int64_t found = -1;
        for (int64_t i = 0; i < t->count; i++) {
            if (strcmp(t->all[i], columns[k]) != 0) continue;
            if (found >= 0)
                return nn_file_fail(r->err, r->path, "two columns are called %s", NN_QUOTED(columns[k]));
            found = i;
        }
        if (found < 0) return nn_file_fail(r->err, r->path, "no column is called %s", NN_QUOTED(columns[k]));
        if (t->place[found] >= 0)
            return nn_file_fail(r->err, r->path, "column %s is asked for twice", NN_QUOTED(columns[k]));
        t->place[found] = k;
        t->names[k] = t->all[found];
    }
    return true;
}

/* ---- Lines -------------------------------------------------------------------------------------- */

/* Counts the lines, each of which has a field for every column. */
static bool count_rows(table *t, reader r) {
    while (r.at < r.end) {
        field f = {0};
        int64_t count = 0;
        const int64_t line = r.line;
        for (; !f.last; count++)
            if (!next_field(&r, &f)) return false;
        if (count == 1 && !f.quoted && f.begin == f.end)
            return nn_file_fail(r.err, r.path, "line %lld is empty", (long long)line);
        if (count != t->count)
            return nn_file_fail(r.err, r.path, "line %lld has %lld field%s, expected %lld", (long long)line,
                                (long long)count, count == 1 ? "" : "s", (long long)t->count);
        t->rows++;
    }
    return true;
}

static bool read_number(const reader *r, const field *f, const char *column, float *value) {
    double x;
    char text[48] = "";
    const size_t length = (size_t)(f->end - f->begin);
    memcpy(text, f->begin, length < sizeof text ? length : sizeof text - 1);
    if (length == 0)
        return nn_file_fail(r->err, r->path, "line %lld, column %s: the number is missing",
                            (long long)f->line, NN_QUOTED(column));
    if (!parse_number(f->begin, f->end, &x))
        return nn_file_fail(r->err, r->path, "line %lld, column %s: %s is no number", (long long)f->line,
                            NN_QUOTED(column), NN_QUOTED(text));
    *value = (float)x;
    return isfinite(*value) || nn_file_fail(r->err, r->path, "line %lld, column %s: %s is beyond float32",
                                            (long long)f->line, NN_QUOTED(column), NN_QUOTED(text));
}

static bool read_rows(const table *t, reader r, tensor values) {
    for (float *row = values.f32; r.at < r.end; row += t->kept) {
        for (int64_t i = 0; i < t->count; i++) {
            field f;
            if (!next_field(&r, &f)) return false;
            if (t->place[i] >= 0 && !read_number(&r, &f, t->all[i], &row[t->place[i]])) return false;
        }
    }
    return true;
}

/* ---- Files -------------------------------------------------------------------------------------- */

static bool read_table(nn_csv *csv, reader r, nn_csv_options options, tensor_arena *arena) {
    table t = {0};
    field f = {0};
    if (memchr(r.at, 0, (size_t)(r.end - r.at)))
        return nn_file_fail(r.err, r.path, "this is no text: a byte is 0");
    if (strchr("\"\r\n", options.delimiter)) /* and NUL */
        return nn_file_fail(r.err, r.path, "the delimiter is no quote, line end or NUL");
    if (r.end - r.at >= 3 && memcmp(r.at, "\xef\xbb\xbf", 3) == 0) r.at += 3;
    if (r.at == r.end) return nn_file_fail(r.err, r.path, "is empty");
    if (!name_columns(&t, r, options.no_header, arena)) return false;
    if (!(options.columns ? keep_columns(&t, options.columns, &r, arena) : keep_all(&t))) return false;
    while (!options.no_header && !f.last) next_field(&r, &f);
    if (!count_rows(&t, r)) return false;
    csv->names = t.names;
    csv->values = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(t.rows, t.kept), r.err);
    return tensor_ok(csv->values) && read_rows(&t, r, csv->values);
}

bool nn_csv_read(nn_csv *csv, const char *path, nn_csv_options options, tensor_arena *arena,
                 tensor_error *err) {
    *csv = (nn_csv){0};
    int64_t bytes;
    const int fd = nn_read_begin(path, &bytes, err);
    if (fd < 0) return false;
    tensor_arena *room = tensor_arena_new(err);
    char *text = room ? tensor_arena_alloc(room, (size_t)bytes + 1, err) : NULL;
    bool done = text && nn_read_all(fd, path, text, bytes, err);
    close(fd);
    if (done) {
        text[bytes] = '\0';
        const reader r = {path, text, text + bytes, options.delimiter, 1, err};
        done = read_table(csv, r, options, arena);
    }
    if (!done) *csv = (nn_csv){0};
    tensor_arena_free(room);
    return done;
}
