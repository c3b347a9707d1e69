/* A sign of life while something takes long that cannot say itself how far it is: a thread of its own says it. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "models/lm/cli/cli.h"

struct lm_busy {
    const char *program, *what;
    bool terminal, over, shown;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
};

/* On a terminal twice a second, on one line; elsewhere after the first second, and then once a minute. */
static void show(lm_busy *b, int half_seconds) {
    if (!b->terminal && half_seconds != 1 && half_seconds % 120 != 0) return;
    const char *begin = b->terminal ? "\r" : "", *end = b->terminal ? "\033[K" : "\n";
    fprintf(stderr, "%s%s: %s, %d s%s", begin, b->program, b->what, (half_seconds + 1) / 2, end);
    b->shown = true;
}

static void *tell(void *context) {
    lm_busy *b = context;
    struct timespec next;
    clock_gettime(CLOCK_REALTIME, &next);
    pthread_mutex_lock(&b->mutex);
    for (int half_seconds = 1; !b->over; half_seconds++) {
        next.tv_nsec += 500000000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        while (!b->over && pthread_cond_timedwait(&b->ended, &b->mutex, &next) == 0) {
        }
        if (!b->over) show(b, half_seconds);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

lm_busy *lm_busy_begin(const char *program, const char *what) {
    lm_busy *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    *b = (lm_busy){.program = program, .what = what, .terminal = lm_is_terminal(STDERR_FILENO)};
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->ended, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* Ctrl-C is the main thread's */
    const bool started = pthread_create(&b->thread, NULL, tell, b) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) return b;
    free(b);
    return NULL;
}

void lm_busy_end(lm_busy *b) {
    if (!b) return;
    pthread_mutex_lock(&b->mutex);
    b->over = true;
    pthread_cond_signal(&b->ended);
    pthread_mutex_unlock(&b->mutex);
    pthread_join(b->thread, NULL);
    if (b->shown && b->terminal) fputs("\r\033[K", stderr);
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}
