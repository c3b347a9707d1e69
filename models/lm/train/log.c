/* What a run writes beside its checkpoints: log.csv, a row a step, and samples.txt, a text a report. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

/* A log that an earlier version began has fewer columns, and keeps them. */
static const char header[] =
    "iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss,seconds,"
    "train_loss_per_character,validation_loss_per_character,train_bits_per_byte,validation_bits_per_byte\n";
enum { COLUMNS = 12, SECONDS = 7 /* columns before it */ };

static bool failed(tensor_error *err, const char *path) {
    return tensor_fail(err, "%.150s: cannot write: %s", path,
                       errno ? strerror(errno) : "some of it was lost");
}

/* Reads one row, or the header; false at the end, at a row that is cut off, and from iteration `from` on. */
static bool keep_row(FILE *file, int64_t from) {
    char line[512], *end;
    if (!fgets(line, sizeof line, file) || !strchr(line, '\n')) return false;
    if (strncmp(line, "iteration,", strlen("iteration,")) == 0) return true;
    int64_t iteration = strtoll(line, &end, 10);
    return end > line && *end == ',' && iteration < from;
}

/* The same for one sample: "# iteration 500, 213 bytes", a newline, as many bytes, a newline. */
static bool keep_sample(FILE *file, int64_t from) {
    int64_t iteration, bytes;
    char newline;
    if (fscanf(file, "# iteration %" SCNd64 ", %" SCNd64 " bytes%c", &iteration, &bytes, &newline) != 3)
        return false;
    if (newline != '\n' || iteration >= from || bytes < 0) return false;
    for (; bytes > 0; bytes--)
        if (fgetc(file) == EOF) return false;
    return fgetc(file) == '\n';
}

/* Opens a file to write on: what `keep` accepts stays, all behind it is cut off. */
static FILE *open_from(const char *path, int64_t from, bool (*keep)(FILE *, int64_t), tensor_error *err) {
    errno = 0;
    FILE *file = from > 0 ? fopen(path, "r+b") : NULL;
    if (!file) file = fopen(path, "w+b");
    long end = 0;
    while (file && keep(file, from)) end = ftell(file);
    if (file && fseek(file, end, SEEK_SET) == 0 && ftruncate(fileno(file), end) == 0) return file;
    failed(err, path);
    if (file) fclose(file);
    return NULL;
}

/* The place behind n commas; NULL: there are fewer. */
static char *behind_commas(char *line, int n) {
    for (; n > 0 && line; n--)
        if ((line = strchr(line, ','))) line++;
    return line;
}

/* What the rows that stay say: how many columns they have, and the seconds of the last one. Leaves the place behind
 * them. */
static void read_rows(lm_log *log) {
    char line[512];
    const long end = ftell(log->csv);
    log->columns = COLUMNS;
    rewind(log->csv);
    for (bool first = true; end > 0 && ftell(log->csv) < end && fgets(line, sizeof line, log->csv);
         first = false) {
        char *field = behind_commas(line, SECONDS);
        if (field && !first) log->seconds = strtod(field, NULL);
        if (first) {
            log->columns = 1;
            for (const char *at = line; (at = strchr(at, ',')); at++) log->columns++;
        }
    }
    fseek(log->csv, end, SEEK_SET);
}

bool lm_log_open(lm_log *log, const char *folder, int64_t from, tensor_arena *arena, tensor_error *err) {
    *log = (lm_log){.csv_path = lm_run_file(folder, "log.csv", arena, err),
                    .samples_path = lm_run_file(folder, "samples.txt", arena, err)};
    if (!log->csv_path || !log->samples_path) return false;
    log->csv = open_from(log->csv_path, from, keep_row, err);
    log->samples = log->csv ? open_from(log->samples_path, from, keep_sample, err) : NULL;
    if (log->csv) read_rows(log);
    if (log->csv && ftell(log->csv) == 0) fputs(header, log->csv);
    return log->samples && lm_log_flush(log, err);
}

void lm_log_close(lm_log *log) {
    if (log->csv) fclose(log->csv);
    if (log->samples) fclose(log->samples);
    *log = (lm_log){0};
}

void lm_log_step(lm_log *log, int64_t iteration, const lm_log_row *row) {
    char text[512], *end = text;
    const char *const last = text + sizeof text;
    if (!log->csv) return;
    end += snprintf(end, (size_t)(last - end), "%" PRId64 ",%.7g,%.9g,%.7g,%.0f,", iteration, row->loss,
                    row->rate, row->gradient_norm, row->tokens_per_second);
    const double reported[] = {row->train_loss,
                               row->validation_loss,
                               row->train_loss_per_character,
                               row->validation_loss_per_character,
                               row->train_bits_per_byte,
                               row->validation_bits_per_byte};
    for (int i = 0; i < 6; i++) {
        const bool known = row->report && isfinite(reported[i]);
        if (i == 2) end += snprintf(end, (size_t)(last - end), "%.2f,", row->seconds);
        end += snprintf(end, (size_t)(last - end), known ? "%.9g," : ",", reported[i]);
    }
    end = behind_commas(text, log->columns);
    if (end) end[-1] = '\0';
    fprintf(log->csv, "%s\n", text);
}

bool lm_log_flush(lm_log *log, tensor_error *err) {
    errno = 0;
    if (log->csv && (fflush(log->csv) != 0 || ferror(log->csv))) return failed(err, log->csv_path);
    if (log->samples && (fflush(log->samples) != 0 || ferror(log->samples)))
        return failed(err, log->samples_path);
    return true;
}

bool lm_log_sample(lm_log *log, int64_t iteration, const char *text, size_t bytes, tensor_error *err) {
    if (!log->samples) return true;
    fprintf(log->samples, "# iteration %" PRId64 ", %zu bytes\n", iteration, bytes);
    fwrite(text, 1, bytes, log->samples);
    fputc('\n', log->samples);
    return lm_log_flush(log, err);
}

char *lm_run_file(const char *folder, const char *name, tensor_arena *arena, tensor_error *err) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = tensor_arena_alloc(arena, size, err);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}
