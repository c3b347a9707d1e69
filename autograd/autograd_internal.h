/* What the files of autograd/ share. */
#ifndef SAMPO_AUTOGRAD_INTERNAL_H
#define SAMPO_AUTOGRAD_INTERNAL_H

#include "sampo/autograd.h"

/* Memory of one value or gradient. Gradients come and go during backward, so their memory is used again:
 * `users` counts the variables whose gradient lies in it. */
typedef struct ag_buffer {
    tensor_storage storage;
    int users;
    bool recyclable; /* made while backward computes numbers */
    struct ag_buffer *next;
} ag_buffer;

/* The gradient of a parameter, where the lane has one. */
typedef struct ag_lane_part {
    const float *sink;
    struct ag_lane_part *next;
} ag_lane_part;

typedef enum ag_phase {
    AG_FORWARD,
    AG_NUMBERS, /* inside ag_backward */
    AG_GRAPH    /* inside ag_backward_graph */
} ag_phase;

struct ag_tape {
    tensor_arena *arena;
    tensor_error error;
    ag_var *last; /* the newest node; each leads to the one before */
    bool recording;
    ag_phase phase;
    ag_buffer *unused;  /* recyclable memory without users */
    tensor grads, lane; /* see ag_set_lane */
    ag_lane_part *written;
    ag_watcher *watcher;
    void *watcher_context;
};

static inline void ag_tell(const ag_tape *tape, const ag_op *op, ag_moment moment) {
    if (tape->watcher) tape->watcher(tape->watcher_context, op, moment);
}

/* A variable with room for its operands. NULL and an error without memory. */
ag_var *ag_new_var(ag_tape *tape, int inputs);

/* Gives y new, uninitialised memory of a shape. */
bool ag_allocate(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape);

static inline bool ag_failed(const ag_tape *tape) {
    return tape->error.text[0] != '\0';
}

/* The axis from the front, or -1 and the operation's error on y's tape. */
int ag_axis(ag_var *y, int axis, int rank);

/* ag_tensor with x's dtype and shape. */
tensor ag_tensor_like(ag_tape *tape, tensor x);

/* Ones at [..., ids[...]], else zeros, as data. The ids are in 0..classes-1. */
ag_var *ag_one_hot(ag_tape *tape, tensor ids, int64_t classes);

#define AG_CASES(array) .cases = array, .case_count = (int)(sizeof(array) / sizeof((array)[0]))

#endif
