/* What a run writes beside its checkpoints: log.csv, a row a step, and samples.txt, a text a report. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

/* The columns. A log that has others, or these in another order, goes on with its own: what is not known stays empty. */
static const struct {
    const char *name, *format;
    size_t place;  /* in the row */
    bool reported; /* there only where a report was made */
} columns[] = {
    {"iteration", "%.0f", offsetof(lm_log_row, iteration), false},
    {"loss", "%.7g", offsetof(lm_log_row, loss), false},
    {"learning_rate", "%.9g", offsetof(lm_log_row, rate), false},
    {"gradient_norm", "%.7g", offsetof(lm_log_row, gradient_norm), false},
    {"tokens_per_second", "%.0f", offsetof(lm_log_row, tokens_per_second), false},
    {"train_loss", "%.9g", offsetof(lm_log_row, train_loss), true},
    {"validation_loss", "%.9g", offsetof(lm_log_row, validation_loss), true},
    {"seconds", "%.2f", offsetof(lm_log_row, seconds), false},
    {"train_loss_per_character", "%.9g", offsetof(lm_log_row, train_loss_per_character), true},
    {"validation_loss_per_character", "%.9g", offsetof(lm_log_row, validation_loss_per_character), true},
    {"train_bits_per_byte", "%.9g", offsetof(lm_log_row, train_bits_per_byte), true},
    {"validation_bits_per_byte", "%.9g", offsetof(lm_log_row, validation_bits_per_byte), true},
};
enum { COLUMNS = sizeof columns / sizeof *columns, ITERATION = 0, LOSS = 1, SECONDS = 7 };

static bool failed(tensor_error *err, const char *path) {
    return tensor_fail(err, "%.150s: cannot be written: %s", path,
                       errno ? strerror(errno) : "some of it was lost");
}

/* ---- Reading what is there ---------------------------------------------------------------------- */

/* What comes next in a file: something of an earlier iteration than training goes on with, or of a later one; something
 * that the end of the file cuts off; nothing; or none of these, with a text in err. */
typedef enum item { EARLIER, LATER, TORN, END, FAULT } item;

typedef struct reader {
    lm_log *log;
    lm_log_file *file;
    int64_t from;   /* the iteration that training goes on with */
    int64_t number; /* of the line or sample */
    char *line;
    size_t room;
} reader;

/* Reads a line and takes off its end, "\n" or "\r\n"; where the file ends without one, that is noted. */
static item read_line(reader *r, size_t *length, tensor_error *err) {
    FILE *stream = r->file->stream;
    errno = 0;
    ssize_t got = getline(&r->line, &r->room, stream);
    if (got < 0 && feof(stream) && !ferror(stream)) return END;
    if (got < 0) return tensor_fail(err, "cannot be read: %s", strerror(errno)), FAULT;
    r->number++;
    r->file->unended = r->line[got - 1] != '\n';
    if (!r->file->unended) got--;
    if (got > 0 && r->line[got - 1] == '\r') got--;
    r->line[got] = '\0';
    *length = (size_t)got;
    return EARLIER;
}

/* Takes the columns from the header, which may have a byte order mark. */
static item read_header(reader *r, size_t length, tensor_error *err) {
    lm_log *log = r->log;
    bool found[COLUMNS + 1] = {false};
    char *at = r->line + lm_byte_order_mark(r->line, length);
    for (log->columns = 0; at && log->columns < LM_LOG_COLUMNS; log->columns++) {
        char *comma = strchr(at, ',');
        if (comma) *comma = '\0';
        int i = 0;
        while (i < COLUMNS && strcmp(at, columns[i].name) != 0) i++;
        found[i] = true;
        log->column[log->columns] = i;
        at = comma ? comma + 1 : NULL;
    }
    if (found[ITERATION] && found[LOSS] && !at) return EARLIER;
    return tensor_fail(err, "line 1 is not the header of a log"), FAULT;
}

/* Whether a line has as many fields as the header, each of them empty or a number. */
static bool is_row(const reader *r, size_t length, double *iteration, double *seconds) {
    const char *at = r->line;
    *iteration = -1;
    for (int i = 0; i < r->log->columns; i++) {
        char *end;
        double value = strtod(at, &end);
        if (*end != (i == r->log->columns - 1 ? '\0' : ',')) return false;
        if (r->log->column[i] == ITERATION && end > at) *iteration = value;
        if (r->log->column[i] == SECONDS && end > at) *seconds = value;
        at = end + 1;
    }
    return *iteration >= 0 && at == r->line + length + 1; /* else there is a NUL in it */
}

static item read_row(reader *r, tensor_error *err) {
    size_t length;
    double iteration, seconds = r->log->seconds;
    item what = read_line(r, &length, err);
    if (what != EARLIER) return what;
    if (r->number == 1) return read_header(r, length, err);
    if (!is_row(r, length, &iteration, &seconds)) {
        if (r->file->unended) return TORN;
        return tensor_fail(err, "line %" PRId64 " is not a row of this log", r->number), FAULT;
    }
    if (iteration >= (double)r->from) return LATER;
    if (iteration <= r->file->last)
        return tensor_fail(err, "line %" PRId64 ": iteration %.15g comes after %.15g", r->number, iteration,
                           r->file->last),
               FAULT;
    r->file->last = iteration;
    r->log->seconds = seconds;
    return EARLIER;
}

/* The same for a sample: "# iteration 500, 213 bytes", a newline, as many bytes, a newline. */
static item read_sample(reader *r, tensor_error *err) {
    FILE *stream = r->file->stream;
    struct stat status;
    int64_t iteration, bytes;
    size_t length;
    int end = 0;
    item what = read_line(r, &length, err);
    if (what != EARLIER) return what;
    if (r->file->unended) return TORN;
    sscanf(r->line, "# iteration %" SCNd64 ", %" SCNd64 " bytes%n", &iteration, &bytes, &end);
    if (end == 0 || (size_t)end != length || bytes < 0)
        return tensor_fail(err, "what follows sample %" PRId64 " is not the head of a sample", r->number - 1),
               FAULT;
    if (iteration >= r->from) return LATER;
    const off_t at = ftello(stream);
    if (at < 0 || fstat(fileno(stream), &status) != 0)
        return tensor_fail(err, "cannot be read: %s", strerror(errno)), FAULT;
    if (bytes > status.st_size - at) return TORN;
    const int newline = fseeko(stream, at + bytes, SEEK_SET) == 0 ? fgetc(stream) : 0;
    if (newline == 0 || ferror(stream)) return tensor_fail(err, "cannot be read: %s", strerror(errno)), FAULT;
    r->file->unended = newline == EOF;
    if (newline == '\n' || newline == EOF) return EARLIER;
    return tensor_fail(err, "sample %" PRId64 " does not end where its head says", r->number), FAULT;
}

/* Finds the end of what stays. */
static bool read_file(reader r, item (*read)(reader *, tensor_error *), tensor_error *err) {
    tensor_error fault = {0};
    lm_log_file *file = r.file;
    bool unended = false;
    item what;
    while ((what = read(&r, &fault)) == EARLIER) {
        if ((file->end = ftello(file->stream)) < 0) {
            tensor_fail(&fault, "cannot be read: %s", strerror(errno));
            what = FAULT;
            break;
        }
        unended = file->unended;
    }
    file->unended = unended;
    file->torn = what == TORN;
    file->later = what == LATER;
    free(r.line);
    return what != FAULT || tensor_fail(err, "%.150s: %s", file->path, fault.text);
}

/* ---- Opening ------------------------------------------------------------------------------------ */

/* Makes the file only where there is certainly none. */
static bool open_file(lm_log_file *file, tensor_error *err) {
    int fd = open(file->path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    file->stream = fd >= 0 ? fdopen(fd, "r+b") : NULL;
    if (file->stream) return true;
    tensor_fail(err, "%.150s: cannot be opened: %s", file->path, strerror(errno));
    if (fd >= 0) close(fd);
    return false;
}

bool lm_log_open(lm_log *log, const char *folder, int64_t from, tensor_arena *arena, tensor_error *err) {
    *log = (lm_log){.csv = {.path = lm_path_in(folder, "log.csv", arena, err), .last = -1},
                    .samples = {.path = lm_path_in(folder, "samples.txt", arena, err)},
                    .from = from};
    if (!log->csv.path || !log->samples.path || !open_file(&log->csv, err) || !open_file(&log->samples, err))
        return false;
    return from < 0 || (read_file((reader){log, &log->csv, from, 0, NULL, 0}, read_row, err) &&
                        read_file((reader){log, &log->samples, from, 0, NULL, 0}, read_sample, err));
}

/* Cuts off what is behind the end of what stays, with a word about it. */
static bool cut(lm_log_file *file, const lm_model *model, int64_t from, tensor_error *err) {
    if (file->later)
        lm_say(model,
               "%s: all that is of iteration %" PRId64
               " and later is removed, and training computes it again",
               file->path, from);
    if (file->torn) lm_say(model, "%s: its end is incomplete and is removed", file->path);
    errno = 0;
    if (fseeko(file->stream, file->end, SEEK_SET) != 0 || ftruncate(fileno(file->stream), file->end) != 0)
        return failed(err, file->path);
    if (file->unended) fputc('\n', file->stream);
    return true;
}

bool lm_log_begin(lm_log *log, const lm_model *model, tensor_error *err) {
    if (!log->csv.stream) return true;
    if (!cut(&log->csv, model, log->from, err) || !cut(&log->samples, model, log->from, err)) return false;
    const int64_t missing = (int64_t)log->csv.last + 1;
    if (missing < log->from)
        lm_say(model, "%s: has no rows of iterations %" PRId64 " to %" PRId64, log->csv.path, missing,
               log->from - 1);
    if (log->csv.end > 0) return lm_log_flush(log, err);
    for (log->columns = 0; log->columns < COLUMNS; log->columns++) {
        log->column[log->columns] = log->columns;
        fprintf(log->csv.stream, "%s%s", log->columns ? "," : "", columns[log->columns].name);
    }
    fputc('\n', log->csv.stream);
    return lm_log_flush(log, err);
}

void lm_log_close(lm_log *log) {
    if (log->csv.stream) fclose(log->csv.stream);
    if (log->samples.stream) fclose(log->samples.stream);
    *log = (lm_log){0};
}

/* ---- Writing ------------------------------------------------------------------------------------ */

void lm_log_step(lm_log *log, const lm_log_row *row) {
    FILE *file = log->csv.stream;
    if (!file) return;
    for (int i = 0; i < log->columns; i++) {
        const int c = log->column[i];
        if (i > 0) fputc(',', file);
        if (c == COLUMNS || (columns[c].reported && !row->report)) continue;
        const double value = *(const double *)((const char *)row + columns[c].place);
        if (isfinite(value)) fprintf(file, columns[c].format, value);
    }
    fputc('\n', file);
}

static bool flush(const lm_log_file *file, bool sync, tensor_error *err) {
    errno = 0;
    if (!file->stream) return true;
    if (fflush(file->stream) != 0 || ferror(file->stream)) return failed(err, file->path);
    return !sync || nn_file_sync(fileno(file->stream)) || failed(err, file->path);
}

bool lm_log_flush(lm_log *log, tensor_error *err) {
    return flush(&log->csv, false, err) && flush(&log->samples, false, err);
}

bool lm_log_sync(lm_log *log, tensor_error *err) {
    return flush(&log->csv, true, err) && flush(&log->samples, true, err);
}

bool lm_log_sample(lm_log *log, int64_t iteration, const char *text, size_t bytes, tensor_error *err) {
    FILE *file = log->samples.stream;
    if (!file) return true;
    fprintf(file, "# iteration %" PRId64 ", %zu bytes\n", iteration, bytes);
    fwrite(text, 1, bytes, file);
    fputc('\n', file);
    return lm_log_flush(log, err);
}
