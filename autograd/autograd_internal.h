/* What the files of autograd/ share. */
#ifndef SAMPO_AUTOGRAD_INTERNAL_H
#define SAMPO_AUTOGRAD_INTERNAL_H

#include "sampo/autograd.h"

/* ---- Memory (memory.c) ---------------------------------------------------------------------- */

/* The header of the memory of one value or gradient, which follows it. Gradients come and go during backward, so their
 * memory is used again: `users` counts the variables whose gradient lies in it. */
typedef struct ag_buffer {
    tensor_storage storage;
    struct ag_buffer *below;           /* the block that ends where this one begins; NULL: none */
    struct ag_buffer *next, *previous; /* in a list of free blocks; next also of temporaries or scratch */
    uint64_t taken; /* the version that the last operation in place left; what is older is gone */
    int users;
    bool last;       /* no block begins where this one ends */
    bool free;       /* in a list of free blocks */
    bool recyclable; /* made while backward computes numbers */
    bool temporary;  /* made by the backward of the node at hand */
} ag_buffer;

enum { AG_FREE_CLASSES = 512 };

/* At least `bytes` bytes. NULL and an error without memory. */
ag_buffer *ag_buffer_new(ag_tape *tape, size_t bytes);
/* One more, or one less, variable has g as its gradient. Memory that nobody holds is used again. */
void ag_hold(ag_var *g);
void ag_release(ag_var *g);
/* The backward of a node ends: what it made and nobody holds is used again. */
void ag_end_temporaries(ag_tape *tape);
void ag_reset_memory(ag_tape *tape);

/* What is allocated from now on while no gradients are computed, until ag_scratch_end takes it back, but for `keep`
 * (NULL: nothing); and what was so before. */
typedef struct ag_scratch {
    ag_buffer *list;
    bool on;
} ag_scratch;
ag_scratch ag_scratch_begin(ag_tape *tape);
void ag_scratch_end(ag_tape *tape, ag_scratch outer, const ag_buffer *keep);

/* ---- Measuring (profile.c) ------------------------------------------------------------------- */

/* What SAMPO_PROFILE=1 asks for; NULL: it does not. Told as a watcher is, and printed where it ends. */
typedef struct ag_profile ag_profile;
ag_profile *ag_profile_new(void);
void ag_profile_tell(ag_profile *p, const ag_var *y, ag_moment moment);
void ag_profile_reset(ag_profile *p, size_t used);
void ag_profile_end(ag_profile *p, size_t used);

/* ---- Tapes (tape.c) ------------------------------------------------------------------------- */

typedef enum ag_phase {
    AG_FORWARD,
    AG_GRADIENTS,         /* backward computes numbers */
    AG_RECORDED_GRADIENTS /* backward is recorded itself */
} ag_phase;

/* A parameter and the leaf that stands for it on the tape. */
typedef struct ag_used {
    const ag_var *parameter;
    ag_var *leaf;
    tensor *left;  /* see ag_leave; NULL: nothing */
    uint64_t turn; /* of the tape: entries of earlier turns are empty */
} ag_used;

struct ag_tape {
    tensor_arena *arena;   /* variables and what operations save */
    tensor_arena *buffers; /* values and gradients */
    tensor_error error;
    ag_var *first, *last; /* the oldest and the newest node */
    bool recording;
    ag_phase phase;
    tensor_precision precision; /* of products */
    uint64_t turn;              /* grows with each reset */
    uint64_t call;  /* number of the call of ag_gradients under way; 0: none, all gradients are asked for */
    uint64_t calls; /* so far */
    bool differentiating; /* gradients are being computed, whatever the phase is inside a block */
    bool recomputing;     /* a block that has been computed before: see ag_checkpoint */
    bool accumulates;     /* this call adds to what its places hold */
    ag_used *used_params; /* a hash table, [capacity] */
    size_t used_count, used_capacity;
    ag_buffer *free[AG_FREE_CLASSES];
    uint64_t free_classes[AG_FREE_CLASSES / 64]; /* a bit for each list that is not empty */
    size_t free_count;                           /* blocks in all lists */
    ag_buffer *temporaries;
    ag_scratch scratch;
    bool hooked_leaves;  /* some leaf has a hook */
    ag_buffer *newest;   /* the block that the arena gave last */
    size_t used;         /* bytes of `buffers` */
    ag_profile *profile; /* NULL: nothing is measured */
    ag_watcher *watcher;
    void *watcher_context;
};

/* y is no more than its operation where it begins. */
static inline void ag_tell(const ag_tape *tape, const ag_op *op, const ag_var *y, ag_moment moment) {
    if (tape->profile) ag_profile_tell(tape->profile, y, moment);
    if (tape->watcher) tape->watcher(tape->watcher_context, op, moment);
}

/* A variable with room for its operands. NULL and an error without memory. */
ag_var *ag_new_var(ag_tape *tape, int inputs);

/* Adds dz to the gradient of z, the newest node or one before it, and passes it on through the nodes behind `until`. */
void ag_propagate_block(ag_var *z, ag_var *dz, ag_var *until);

/* Gives y new, uninitialised memory of a shape. */
bool ag_allocate(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape);

/* In a backward that writes numbers, and holds the memory of several gradients at once: that of an operand behind the
 * first, to be added to. Where it may be a part of an earlier one's, as operands may be views of each other, it is *apart,
 * which the caller gives to ag_add_grad when all are written. */
tensor ag_grad_apart(ag_var *y, int operand, ag_var **apart);

static inline bool ag_failed(const ag_tape *tape) {
    return tape->error.text[0] != '\0';
}

/* The leaf that stands for a parameter on the tape, where there is one already. */
ag_var *ag_used_leaf(const ag_tape *tape, const ag_var *parameter);

/* The axis from the front, or -1 and an error on the tape (y's), which names the operation. */
int ag_axis_of(ag_tape *tape, const char *what, int axis, int rank);
int ag_axis(ag_var *y, int axis, int rank);
/* The axes of a set made with AG_AXIS as bits from the front. False and an error where one is not there. */
bool ag_axes_of(ag_tape *tape, const char *what, unsigned axes, int rank, unsigned *front);

/* ag_tensor with x's dtype and shape. */
tensor ag_tensor_like(ag_tape *tape, tensor x);

/* x itself where it is contiguous, else a copy on the tape. */
tensor ag_contiguous(ag_tape *tape, tensor x);

/* Samples [N, C, T] as images of one row, and how windows over samples move over those. */
ag_var *ag_one_row(ag_tape *tape, const char *what, ag_var *x);
tensor_windows ag_along_columns(tensor_windows w);

/* ag_one_hot, in which an id may be `ignored`: zeros there. */
ag_var *ag_one_hot_but(ag_var *ids, int64_t classes, int64_t ignored);

#define AG_CASES(array) .cases = array, .case_count = (int)(sizeof(array) / sizeof((array)[0]))

#endif
