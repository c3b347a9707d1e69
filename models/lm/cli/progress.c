/* How far training is, on one line. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "models/lm/cli/cli.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int lm_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    const char *columns = getenv("COLUMNS");
    int n = columns ? atoi(columns) : 0;
    return n > 0 ? n : 80;
}

bool lm_is_terminal(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

bool lm_shows_colour(int fd) {
    const char *no_color = getenv("NO_COLOR");
    return lm_is_terminal(fd) && !(no_color && *no_color);
}

void lm_progress_begin(lm_progress *p, int64_t first, int64_t total) {
    double t = now();
    *p = (lm_progress){.first = first, .done = first, .total = total, .begun = t, .resumed = t, .shown = t};
    p->terminal = lm_is_terminal(STDERR_FILENO);
    p->colour = lm_shows_colour(STDERR_FILENO);
}

char *lm_progress_text(const lm_progress *p, int columns, char *buffer, size_t size) {
    char field[4][64];
    int64_t left = (int64_t)ceil(p->seconds_left), hours = left / 3600, minutes = left / 60 % 60;
    snprintf(field[0], sizeof *field, "iteration %" PRId64 "/%" PRId64, p->done, p->total);
    snprintf(field[1], sizeof *field, ", loss %.3f", p->loss);
    snprintf(field[2], sizeof *field, ", %.0f tokens/s", p->tokens_per_second);
    if (hours)
        snprintf(field[3], sizeof *field, ", %" PRId64 " h %02" PRId64 " min left", hours, minutes);
    else
        snprintf(field[3], sizeof *field, ", %" PRId64 ":%02" PRId64 " left", minutes, left % 60);

    size_t room = columns > 0 ? (size_t)columns : 0, used = 0;
    if (room >= size) room = size - 1;
    for (int i = 0; i < 4; i++) {
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

void lm_progress_step(lm_progress *p, int64_t done, double loss, int64_t tokens) {
    char text[256];
    double t = now();
    p->done = done;
    p->loss = loss;
    p->step_seconds = t - p->resumed;
    p->trained += p->step_seconds;
    p->resumed = t;
    double steps = (double)(done - p->first);
    if (p->trained > 0) p->tokens_per_second = steps * (double)tokens / p->trained;
    p->seconds_left = (t - p->begun) / steps * (double)(p->total - done);
    if (!p->terminal || t - p->shown < 0.1) return;
    p->shown = t;
    lm_progress_text(p, lm_columns() - 1, text, sizeof text); /* the last column would wrap on some */
    fprintf(stderr, "\r%s%s%s\033[K", p->colour ? "\033[2m" : "", text, p->colour ? "\033[0m" : "");
}

void lm_progress_clear(const lm_progress *p) {
    if (p->terminal) fputs("\r\033[K", stderr);
}

void lm_progress_report(lm_progress *p) {
    char text[256];
    p->resumed = now();
    lm_progress_clear(p);
    if (!p->terminal && p->done > p->first)
        fprintf(stderr, "%s\n", lm_progress_text(p, (int)sizeof text, text, sizeof text));
}
