/* How far training is, on one line. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "models/lm/cli/cli.h"

enum {
    MOST_COLUMNS = 10000, /* of $COLUMNS, with which others compute */
    FIRST_LINE = 5,       /* seconds, where there is no terminal */
    EACH_LINE = 60
};

int lm_columns_of(int fd) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    const char *columns = getenv("COLUMNS");
    const long n = columns ? strtol(columns, NULL, 10) : 0;
    return n < 1 ? 80 : n < MOST_COLUMNS ? (int)n : MOST_COLUMNS;
}

int lm_columns(void) {
    return lm_columns_of(STDERR_FILENO);
}

bool lm_is_terminal(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

bool lm_shows_colour(int fd) {
    const char *no_color = getenv("NO_COLOR");
    return lm_is_terminal(fd) && !(no_color && *no_color);
}

double lm_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void lm_progress_begin(lm_progress *p, int64_t first, int64_t total, int64_t every) {
    const double t = lm_now();
    *p = (lm_progress){.first = first, .done = first, .total = total, .every = every, .resumed = t};
    p->terminal = lm_is_terminal(STDERR_FILENO);
    p->shown = p->terminal ? 0 : t + FIRST_LINE - EACH_LINE;
    p->colour = lm_shows_colour(STDERR_FILENO);
}

/* Reports are made before the steps whose iteration `every` divides, and before the last one. */
static double reports_left(const lm_progress *p) {
    if (p->every < 1 || p->done >= p->total) return 0;
    const int64_t last = p->total - 1, made = p->done > 0 ? (p->done - 1) / p->every : -1;
    return (double)(last / p->every - made + (last % p->every != 0));
}

double lm_progress_left(const lm_progress *p) {
    if (p->done <= p->first) return 0;
    const double step = p->trained / (double)(p->done - p->first);
    const double left = step * (double)(p->total - p->done) + reports_left(p) * p->report_seconds;
    return p->until > 0 ? fmin(left, fmax(p->until - p->resumed, 0)) : left;
}

char *lm_progress_text(const lm_progress *p, int columns, char *buffer, size_t size) {
    enum { FIELDS = 5 };
    char field[FIELDS][64] = {""};
    const int64_t left = (int64_t)ceil(p->seconds_left), hours = left / 3600, minutes = left / 60 % 60;
    snprintf(field[0], sizeof *field, "iteration %" PRId64 "/%" PRId64, p->done, p->total);
    if (p->to_evaluate > 0)
        snprintf(field[1], sizeof *field, ", evaluating %" PRId64 "/%" PRId64, p->evaluated, p->to_evaluate);
    if (p->done > p->first) {
        snprintf(field[2], sizeof *field, fabs(p->loss) < 1e4 ? ", loss %.3f" : ", loss %.3g", p->loss);
        snprintf(field[3], sizeof *field, ", %.0f tokens/s", p->tokens_per_second);
        if (hours)
            snprintf(field[4], sizeof *field, ", %" PRId64 " h %02" PRId64 " min left", hours, minutes);
        else
            snprintf(field[4], sizeof *field, ", %" PRId64 ":%02" PRId64 " left", minutes, left % 60);
    }

    size_t room = columns > 0 ? (size_t)columns : 0, used = 0;
    if (room >= size) room = size - 1;
    for (int i = 0; i < FIELDS; i++) {
        size_t length = strlen(field[i]);
        if (used + length > room) {
            if (i > 0) break;
            length = room; /* not even the first fits */
        }
        memcpy(buffer + used, field[i], length);
        used += length;
    }
    buffer[used] = '\0';
    return buffer;
}

/* Writes the line where it is time for it. */
static void show(lm_progress *p, double t) {
    char text[256];
    if (p->quiet || t - p->shown < (p->terminal ? 0.1 : EACH_LINE)) return;
    p->shown = t;
    if (p->terminal) {
        lm_progress_text(p, lm_columns() - 1, text, sizeof text); /* the last column would wrap on some */
        fprintf(stderr, "\r%s%s%s\033[K", p->colour ? "\033[2m" : "", text, p->colour ? "\033[0m" : "");
    } else {
        fprintf(stderr, "%s\n", lm_progress_text(p, (int)sizeof text, text, sizeof text));
    }
}

void lm_progress_step(lm_progress *p, int64_t done, double loss, int64_t tokens) {
    const double t = lm_now();
    p->done = done;
    p->loss = loss;
    p->step_seconds = t - p->resumed;
    p->trained += p->step_seconds;
    p->resumed = t;
    if (p->trained > 0) p->tokens_per_second = (double)(done - p->first) * (double)tokens / p->trained;
    p->seconds_left = lm_progress_left(p);
    show(p, t);
}

void lm_progress_evaluating(lm_progress *p, int64_t done, int64_t of) {
    p->evaluated = done;
    p->to_evaluate = of;
    show(p, lm_now());
}

void lm_progress_again(lm_progress *p) {
    if (!p->terminal) return;
    p->shown = 0;
    show(p, lm_now());
}

void lm_progress_clear(const lm_progress *p) {
    if (p->terminal && !p->quiet) fputs("\r\033[K", stderr);
}

void lm_progress_report(lm_progress *p) {
    char text[256];
    const double t = lm_now();
    if (p->to_evaluate > 0) p->report_seconds = t - p->resumed;
    p->evaluated = p->to_evaluate = 0;
    p->resumed = t;
    p->seconds_left = lm_progress_left(p);
    lm_progress_clear(p);
    if (p->terminal || p->quiet || p->done == p->first) return;
    p->shown = t;
    fprintf(stderr, "%s\n", lm_progress_text(p, (int)sizeof text, text, sizeof text));
}
