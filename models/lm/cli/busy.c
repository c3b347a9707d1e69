/* A sign of life while something takes long that cannot say itself how far it is: a thread of its own says it. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "models/lm/cli/cli.h"

struct lm_busy {
    const char *program, *what;
    bool terminal, shown;
    pthread_t thread;
    int ended[2]; /* a pipe, closed when the work is over: to wait for that does not depend on the date */
};

/* On a terminal twice a second, on one line; elsewhere after half a second, and then once a minute. */
static void show(lm_busy *b, int half_seconds) {
    if (!b->terminal && half_seconds != 1 && half_seconds % 120 != 0) return;
    const char *begin = b->terminal ? "\r" : "", *end = b->terminal ? "\033[K" : "\n";
    fprintf(stderr, "%s%s: %s, %d s%s", begin, b->program, b->what, (half_seconds + 1) / 2, end);
    b->shown = true;
}

static void *tell(void *context) {
    lm_busy *b = context;
    struct pollfd over = {.fd = b->ended[0], .events = POLLIN};
    for (int half_seconds = 1; poll(&over, 1, 500) == 0; half_seconds++) show(b, half_seconds);
    return NULL;
}

lm_busy *lm_busy_begin(const char *program, const char *what) {
    lm_busy *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    *b = (lm_busy){.program = program, .what = what, .terminal = lm_is_terminal(STDERR_FILENO)};
    if (pipe(b->ended) != 0) {
        free(b);
        return NULL;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* Ctrl-C is the main thread's */
    const bool started = pthread_create(&b->thread, NULL, tell, b) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) return b;
    close(b->ended[0]);
    close(b->ended[1]);
    free(b);
    return NULL;
}

void lm_busy_end(lm_busy *b) {
    if (!b) return;
    close(b->ended[1]);
    pthread_join(b->thread, NULL);
    close(b->ended[0]);
    if (b->shown && b->terminal) fputs("\r\033[K", stderr);
    free(b);
}
