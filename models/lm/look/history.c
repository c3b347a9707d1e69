/* The history of a run: its log.csv, read in bounded memory however long it is. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* ---- Series --------------------------------------------------------------------------------- */

static lm_point merge(lm_point a, lm_point b) {
    return (lm_point){(a.x + b.x) / 2, (a.mean + b.mean) / 2, fmin(a.low, b.low), fmax(a.high, b.high)};
}

void lm_series_add(lm_series *s, double x, double y) {
    if (s->filled < s->each) {
        lm_point *last = &s->points[s->count - 1];
        double n = (double)++s->filled;
        last->x += (x - last->x) / n;
        last->mean += (y - last->mean) / n;
        last->low = fmin(last->low, y);
        last->high = fmax(last->high, y);
        return;
    }
    if (s->count == LM_POINTS) {
        s->count /= 2;
        s->each *= 2;
        for (int i = 0; i < s->count; i++) s->points[i] = merge(s->points[2 * i], s->points[2 * i + 1]);
    }
    if (s->each == 0) s->each = 1;
    s->filled = 1;
    s->points[s->count++] = (lm_point){x, y, y, y};
}

/* ---- The log -------------------------------------------------------------------------------- */

enum { LINE_BYTES = 4096, FIELDS = 64, ITERATION = LM_COLUMNS, OTHER = LM_COLUMNS + 1 };

static const char *const names[] = {[LM_LOSS] = "loss",
                                    [LM_RATE] = "learning_rate",
                                    [LM_NORM] = "gradient_norm",
                                    [LM_SPEED] = "tokens_per_second",
                                    [LM_REPORT_TRAIN] = "train_loss",
                                    [LM_REPORT_VALIDATION] = "validation_loss",
                                    [LM_CHARACTER_TRAIN] = "train_loss_per_character",
                                    [LM_CHARACTER_VALIDATION] = "validation_loss_per_character",
                                    [LM_BYTE_TRAIN] = "train_bits_per_byte",
                                    [LM_BYTE_VALIDATION] = "validation_bits_per_byte",
                                    [LM_SECONDS] = "seconds",
                                    [ITERATION] = "iteration"};

typedef struct reader {
    FILE *file;
    int64_t line;
    char text[LINE_BYTES];
    char *field[FIELDS];
    int fields, columns; /* of this line; of the header */
    bool ended;          /* this line, by a newline */
    int column[FIELDS];  /* what each is: an lm_column, ITERATION, OTHER */
    lm_range iterations; /* that the series are to have */
    lm_history *history;
} reader;

/* Reads a line and cuts it at its commas. False at the end, and after a failure. */
static bool next_line(reader *r, tensor_error *err) {
    errno = 0;
    if (!fgets(r->text, sizeof r->text, r->file))
        return ferror(r->file) && tensor_fail(err, "cannot be read: %s", strerror(errno));
    r->line++;
    size_t length = strlen(r->text), mark = r->line == 1 ? lm_byte_order_mark(r->text, length) : 0;
    r->ended = length > 0 && r->text[length - 1] == '\n';
    if (!r->ended && !feof(r->file))
        return tensor_fail(err, "line %" PRId64 " is not a row of a log", r->line);
    if (r->ended) r->text[--length] = '\0';
    if (length > 0 && r->text[length - 1] == '\r') r->text[--length] = '\0';
    r->fields = 0;
    for (char *at = r->text + mark; at && r->fields < FIELDS; r->fields++) {
        r->field[r->fields] = at;
        at = strchr(at, ',');
        if (at) *at++ = '\0';
    }
    return true;
}

static bool read_header(reader *r, tensor_error *err) {
    bool found[OTHER + 1] = {false};
    if (!next_line(r, err)) return err->text[0] ? false : tensor_fail(err, "the log is empty");
    r->columns = r->fields;
    for (int i = 0; i < r->fields; i++) {
        int column = 0;
        while (column < OTHER && strcmp(names[column], r->field[i]) != 0) column++;
        if (column < OTHER && found[column])
            return tensor_fail(err, "line 1: the column %s comes twice", names[column]);
        found[column] = true;
        r->column[i] = column;
    }
    const int needed[] = {ITERATION, LM_LOSS};
    for (int i = 0; i < 2; i++)
        if (!found[needed[i]])
            return tensor_fail(err, "line 1 is not the header of a log: no column '%s'", names[needed[i]]);
    return true;
}

/* A field's number; NaN where it is empty, and where it is of no use for a chart. */
static bool number(reader *r, int i, double *value, tensor_error *err) {
    char *end;
    *value = NAN;
    if (!r->field[i][0]) return true;
    double x = strtod(r->field[i], &end);
    if (*end)
        return tensor_fail(err, "line %" PRId64 ": %s '%.40s' is not a number", r->line, names[r->column[i]],
                           r->field[i]);
    if (fabs(x) <= 1e30)
        *value = x;
    else
        r->history->left_out++;
    return true;
}

static void add_report(lm_history *h, double iteration, double train, double validation) {
    if (isnan(train) && isnan(validation)) return;
    h->reports.count++;
    h->reports.iteration = iteration;
    h->reports.train = train;
    h->reports.validation = validation;
    if (!(validation >= h->reports.best) && !isnan(validation)) {
        h->reports.best = validation;
        h->reports.best_iteration = iteration;
    }
}

static lm_column validation_column(lm_unit unit) {
    return unit == LM_PER_BYTE        ? LM_BYTE_VALIDATION
           : unit == LM_PER_CHARACTER ? LM_CHARACTER_VALIDATION
                                      : LM_REPORT_VALIDATION;
}

static bool read_row(reader *r, tensor_error *err) {
    lm_history *h = r->history;
    double value[OTHER];
    for (int i = 0; i < OTHER; i++) value[i] = NAN;
    if (r->fields != r->columns)
        return tensor_fail(err, "line %" PRId64 " has %d fields, the header %d", r->line, r->fields,
                           r->columns);
    for (int i = 0; i < r->fields; i++)
        if (r->column[i] != OTHER && !number(r, i, &value[r->column[i]], err)) return false;
    double iteration = value[ITERATION];
    if (!(iteration >= 0 && iteration <= 1e15))
        return tensor_fail(err, "line %" PRId64 " has no iteration", r->line);
    if (h->rows > 0 && iteration <= h->iteration)
        return tensor_fail(err, "line %" PRId64 ": iteration %.15g comes after %.15g", r->line, iteration,
                           h->iteration);
    h->rows++;
    h->iteration = iteration;
    if (!isnan(value[LM_LOSS])) h->loss = value[LM_LOSS];
    if (!isnan(value[LM_SECONDS])) h->seconds = value[LM_SECONDS];
    for (int unit = LM_PER_CHARACTER; unit < LM_UNITS; unit++) {
        const double loss = value[validation_column((lm_unit)unit)];
        if (loss > 0) h->reports.ratio[unit] = loss / value[LM_REPORT_VALIDATION];
    }
    for (int i = 0; i < LM_COLUMNS && lm_range_holds(r->iterations, iteration); i++)
        if (!isnan(value[i])) lm_series_add(&h->series[i], iteration, value[i]);
    add_report(h, iteration, value[LM_REPORT_TRAIN], value[LM_REPORT_VALIDATION]);
    return true;
}

bool lm_history_read(lm_history *history, const char *path, lm_range iterations, tensor_error *err) {
    tensor_error fault = {0};
    reader r = {.file = fopen(path, "r"), .history = history, .iterations = iterations};
    *history = (lm_history){
        .loss = NAN, .seconds = NAN, .reports = {0, NAN, NAN, NAN, NAN, NAN, .ratio = {1, NAN, NAN}}};
    if (!r.file) return tensor_fail(err, "cannot be opened: %s", strerror(errno));
    bool ok = read_header(&r, &fault);
    while (ok && next_line(&r, &fault)) {
        tensor_error torn = {0};
        ok = read_row(&r, r.ended ? &fault : &torn);
        history->torn = !ok && !r.ended;
    }
    fclose(r.file);
    if (!fault.text[0] && history->rows == 0) tensor_fail(&fault, "the log has no rows yet");
    if (!fault.text[0] && isnan(history->loss)) tensor_fail(&fault, "no loss in it is a finite number");
    return !fault.text[0] || tensor_fail(err, "%s", fault.text);
}

static void scale(lm_series *s, double factor) {
    for (int i = 0; i < s->count; i++) {
        lm_point *p = &s->points[i];
        *p = (lm_point){p->x, p->mean * factor, p->low * factor, p->high * factor};
    }
}

bool lm_history_convert(lm_history *h, lm_unit unit) {
    const double validation = h->reports.ratio[unit];
    if (isnan(validation)) return false;
    const lm_series *train = &h->series[validation_column(unit) - 1], *tokens = &h->series[LM_REPORT_TRAIN];
    const bool both = train->count > 0 && tokens->count > 0 && tokens->points[0].mean > 0;
    const double training = both ? train->points[0].mean / tokens->points[0].mean : validation;
    h->loss *= training;
    h->reports.train *= training;
    h->reports.validation *= validation;
    h->reports.best *= validation;
    scale(&h->series[LM_LOSS], training);
    scale(&h->series[LM_REPORT_TRAIN], training);
    scale(&h->series[LM_REPORT_VALIDATION], validation);
    return true;
}

bool lm_unit_known(const lm_history *const *runs, int count, lm_unit unit) {
    for (int i = 0; i < count; i++)
        if (isnan(runs[i]->reports.ratio[unit])) return false;
    return true;
}

lm_unit lm_unit_for(const lm_history *const *runs, int count) {
    for (int unit = LM_PER_CHARACTER; unit < LM_UNITS; unit++) {
        const double first = runs[0]->reports.ratio[unit];
        bool alike = true;
        for (int i = 1; i < count; i++)
            alike = alike && fabs(runs[i]->reports.ratio[unit] - first) < 1e-3 * first;
        if (!alike && lm_unit_known(runs, count, (lm_unit)unit)) return (lm_unit)unit;
    }
    return LM_PER_TOKEN;
}

/* ---- Ranges --------------------------------------------------------------------------------- */

bool lm_range_holds(lm_range range, double value) {
    return !(value < range.low) && !(value > range.high);
}

/* A number, or nothing, which is NaN; `end` becomes what follows. */
static double end_of_range(const char *text, const char **end) {
    char *behind;
    *end = text;
    if (!strchr("+-0123456789", *text) || !*text) return NAN;
    char number[32];
    const size_t length = strspn(text, "+-0123456789eE.");
    const char *dots = strstr(text, "..");
    const size_t size = dots && (size_t)(dots - text) < length ? (size_t)(dots - text) : length;
    if (size >= sizeof number) return NAN;
    memcpy(number, text, size);
    number[size] = '\0';
    const double value = strtod(number, &behind);
    *end = text + (behind - number);
    return value;
}

bool lm_range_parse(lm_range *range, const char *text, tensor_error *err) {
    const char *end;
    range->low = end_of_range(text, &end);
    const bool dots = strncmp(end, "..", 2) == 0;
    range->high = dots ? end_of_range(end + 2, &end) : NAN;
    const bool some = !isnan(range->low) || !isnan(range->high);
    if (!dots || *end || !some)
        return tensor_fail(err, "'%.60s' is not a range; write 100..5000, 100.. or ..5000", text);
    return !(range->low >= range->high) || tensor_fail(err, "'%.60s' ends before it begins", text);
}

/* ---- Samples -------------------------------------------------------------------------------- */

/* Appends a sample. Kept are those whose number is a multiple of `each`, and the last. */
static void keep_sample(lm_samples *s, lm_sample_place place, int64_t *each) {
    if (s->total > 0 && (s->total - 1) % *each != 0) s->count--;
    if (s->count == LM_SAMPLES) {
        for (int i = 1; i < LM_SAMPLES / 2; i++) s->places[i] = s->places[2 * i];
        s->count = LM_SAMPLES / 2;
        *each *= 2;
    }
    s->places[s->count++] = place;
    s->total++;
}

bool lm_samples_read(lm_samples *samples, FILE *file, tensor_error *err) {
    char line[128];
    int64_t each = 1;
    *samples = (lm_samples){0};
    while (fgets(line, sizeof line, file) && strchr(line, '\n')) {
        lm_sample_place place;
        int end = 0;
        sscanf(line, "# iteration %" SCNd64 ", %" SCNd64 " bytes%n", &place.iteration, &place.bytes, &end);
        place.offset = ftello(file);
        if (place.offset < 0) return tensor_fail(err, "cannot be read: %s", strerror(errno));
        if (end == 0 || strcmp(line + end, "\n") != 0 || place.bytes < 0 ||
            place.bytes > INT64_MAX - place.offset)
            return tensor_fail(err, "what follows sample %" PRId64 " is not the head of a sample",
                               samples->total);
        const bool there = fseeko(file, place.offset + place.bytes, SEEK_SET) == 0;
        if (!there && errno != EINVAL) return tensor_fail(err, "cannot be read: %s", strerror(errno));
        if (!there || fgetc(file) != '\n') break; /* EINVAL: no file is as long as it says */
        keep_sample(samples, place, &each);
    }
    return !ferror(file) || tensor_fail(err, "cannot be read: %s", strerror(errno));
}
