/* What the files of sampling share. */
#ifndef SAMPO_LM_SAMPLE_INTERNAL_H
#define SAMPO_LM_SAMPLE_INTERNAL_H

#include "models/lm/write/write.h"

/* Rows begin..end-1 of a generator, which one thread computes. */
typedef struct lm_share {
    int64_t begin, end;
    ag_tape *tape;
    nn_cache cache;       /* of these rows */
    const ag_var *logits; /* [rows, 1 or N, V]; NULL: failed */
} lm_share;
enum { LM_SHARES = 16 };

/* Texts that begin alike, one a row. */
typedef struct lm_generator {
    const lm_instance *instance;
    const lm_sampling *sampling;
    lm_share share[LM_SHARES];
    int shares;
    tensor_arena *arena;
    int64_t rows;
    tensor window;        /* [rows, T]: the last tokens */
    int64_t length;       /* of what is in it */
    int64_t read;         /* so many of these are in the cache, or need none */
    nn_cache cache;       /* of all rows */
    tensor recent;        /* [rows, repetition_window]: the last tokens, in no order */
    int64_t count;        /* of all tokens so far */
    tensor scores, order; /* [V] */
    int32_t *ids;         /* [rows]: the newest */
    int32_t *spare;       /* tokens that are never chosen */
    int64_t spare_count;
    tensor_rng *rng; /* [rows] */
} lm_generator;

/* Row i is sample number first + i: its random numbers depend on that number alone. Free it also after a failure. */
bool lm_generator_init(lm_generator *g, const lm_instance *instance, const lm_sampling *sampling,
                       int64_t rows, int64_t first, tensor_error *err);
void lm_generator_free(lm_generator *g);
/* Appends a token to each row, ids[row step]. A full window drops as many of its first as it hops. */
void lm_generator_push(lm_generator *g, const int32_t *ids, int64_t step);
/* Chooses and appends the next token of each row. */
bool lm_generator_next(lm_generator *g, tensor_error *err);

/* Bytes on their way to a stream: UTF-8 is never cut, what is none becomes U+FFFD, and what may be the beginning of the
 * stop text is held back. */
typedef struct lm_writer {
    FILE *file;
    const char *stop; /* NULL: none */
    bool terminal;    /* which a text must not control: such characters become U+FFFD */
    double pace;      /* characters a second; 0: any */
    double next;      /* clock: when the next character is due, or output was last flushed */
    char *held;
    size_t size, capacity; /* of `held` */
    unsigned char part[4]; /* the beginning of a character */
    size_t part_size;
    bool stopped; /* the stop text, or the text's end, has come: nothing is written from then on */
} lm_writer;
bool lm_writer_bytes(lm_writer *w, const char *bytes, size_t size, tensor_error *err);
/* The text ends here: nothing more is taken. */
bool lm_writer_stop(lm_writer *w, tensor_error *err);
/* Writes what is held back, and flushes. */
bool lm_writer_end(lm_writer *w, tensor_error *err);

#endif
