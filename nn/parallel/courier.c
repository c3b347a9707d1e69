/* The courier. */
#include "nn/parallel/courier.h"

#include <signal.h>

static void wait_until_filled(nn_courier *c, int bucket) {
    pthread_mutex_lock(&c->mutex);
    while (c->senders[bucket] > 0) pthread_cond_wait(&c->filled, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
}

static void deliver_all(nn_courier *c) {
    c->ok = true;
    for (int bucket = 0; bucket < c->buckets && c->ok; bucket++) {
        wait_until_filled(c, bucket);
        c->ok = c->deliver(c->context, bucket, &c->err);
    }
}

static void work(void *courier, int64_t begin, int64_t end, int number) {
    (void)begin, (void)end, (void)number;
    deliver_all(courier);
}

static void *thread_main(void *courier) {
    tensor_parallel(1, 1, work, courier); /* nested, so that nothing inside is parallel */
    return NULL;
}

void nn_courier_start(nn_courier *c, int buckets, int senders, nn_delivery *deliver, void *context) {
    *c = (nn_courier){.buckets = buckets, .deliver = deliver, .context = context};
    for (int bucket = 0; bucket < buckets; bucket++) c->senders[bucket] = senders;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->filled, NULL);
    if (buckets == 1) return;
    sigset_t all, before; /* signals are the application's threads' business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->started = pthread_create(&c->thread, NULL, thread_main, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void nn_courier_filled(nn_courier *c, int bucket) {
    pthread_mutex_lock(&c->mutex);
    if (--c->senders[bucket] == 0) pthread_cond_signal(&c->filled);
    pthread_mutex_unlock(&c->mutex);
}

bool nn_courier_end(nn_courier *c, tensor_error *err) {
    if (c->started)
        pthread_join(c->thread, NULL);
    else
        deliver_all(c);
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->filled);
    return c->ok || tensor_fail(err, "%s", c->err.text);
}
