/* A thread that delivers buckets, one after the other, each as soon as all its senders have filled it, while they go on
 * computing. Private to nn/. */
#ifndef SAMPO_NN_COURIER_H
#define SAMPO_NN_COURIER_H

#include <pthread.h>

#include "sampo/tensor.h"

enum { NN_BUCKETS = 8 };

typedef bool nn_delivery(void *context, int bucket, tensor_error *err);

typedef struct nn_courier {
    int buckets;
    nn_delivery *deliver; /* false ends the deliveries */
    void *context;
    bool started; /* false: there is no thread, and nn_courier_end delivers */
    pthread_t thread;
    pthread_mutex_t mutex; /* of the next two */
    pthread_cond_t filled;
    int senders[NN_BUCKETS]; /* that have not filled a bucket yet */
    bool ok;
    tensor_error err;
} nn_courier;

/* In the thread, operations on tensors do not run parallel inside: other threads are for those who compute. A single
 * bucket gets no thread. */
void nn_courier_start(nn_courier *c, int buckets, int senders, nn_delivery *deliver, void *context);
/* Each sender calls it once for each bucket. */
void nn_courier_filled(nn_courier *c, int bucket);
/* Waits until all is delivered. */
bool nn_courier_end(nn_courier *c, tensor_error *err);

#endif
