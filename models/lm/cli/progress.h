/* How far the work is: the line that shows progress, signs of life, and quantities as people write them. */
#ifndef SAMPO_LM_PROGRESS_H
#define SAMPO_LM_PROGRESS_H

#include "sampo/nn.h"

/* The ending of a noun that is counted: iterations, but 1 iteration. */
static inline const char *lm_s(int64_t count) {
    return count == 1 ? "" : "s";
}

double lm_now(void); /* seconds, on a clock that nobody sets */

/* A line on stderr: where that is a terminal, one that is overwritten and never wraps; elsewhere one with each report,
 * or once a minute. */
typedef struct lm_progress {
    int64_t first, done, total;     /* iterations; the first is above 0 in a resumed run */
    int64_t every;                  /* iterations between reports; 0: there are none */
    int64_t evaluated, to_evaluate; /* batches, while a report is being made */
    double loss, tokens_per_second, seconds_left, step_seconds, report_seconds;
    double resumed, shown; /* clock: at the last step or report, at the last update */
    double until;          /* clock: when it ends at the latest; 0: when all iterations are done */
    double trained;        /* seconds, without reports */
    bool terminal, colour, quiet;
} lm_progress;
void lm_progress_begin(lm_progress *progress, int64_t first, int64_t total, int64_t every);
/* After each iteration: shown on a terminal, ten times a second at most. */
void lm_progress_step(lm_progress *progress, int64_t done, double loss, int64_t tokens);
/* While a report is made: `done` of so many batches are evaluated. */
void lm_progress_evaluating(lm_progress *progress, int64_t done, int64_t of);
/* Seconds to the end: steps as they took on average, reports as the last one did, but no longer than `until`. */
double lm_progress_left(const lm_progress *progress);
/* After something else was printed: puts the line back on a terminal. */
void lm_progress_again(lm_progress *progress);
/* Before anything else is printed: takes the line off a terminal. */
void lm_progress_clear(const lm_progress *progress);
/* When a report is ready: the same; elsewhere writes a line of its own. */
void lm_progress_report(lm_progress *progress);
/* The line in at most `columns` columns: what does not fit is left out from the end. Returns `buffer`. */
char *lm_progress_text(const lm_progress *progress, int columns, char *buffer, size_t size);
/* Of the terminal that stderr is, else $COLUMNS, else 80. */
int lm_columns(void);
int lm_columns_of(int fd); /* the same of another stream */
/* Whether a stream is a terminal that can move its cursor, and one that shows colours. */
bool lm_is_terminal(int fd);
bool lm_shows_colour(int fd); /* not where $NO_COLOR is set */

/* A sign of life from the first second on, "gpt: reading the text, 1 s", until lm_busy_end. NULL where no memory or
 * no thread is left: then there is none. */
typedef struct lm_busy lm_busy;
lm_busy *lm_busy_begin(const char *program, const char *what);
void lm_busy_end(lm_busy *busy);

/* "3 min 20 s"; "27 MB", rounded up. Return `buffer`. */
char *lm_duration(double seconds, char *buffer, size_t size);
char *lm_memory_text(double bytes, char *buffer, size_t size);
/* Seconds of "90", "90s", "10m", "1h30m". */
bool lm_duration_parse(const char *text, double *seconds, tensor_error *err);

#endif
