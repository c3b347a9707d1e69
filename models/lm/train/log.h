/* What a run writes beside its checkpoints: log.csv and samples.txt. */
#ifndef SAMPO_LM_TRAIN_LOG_H
#define SAMPO_LM_TRAIN_LOG_H

#include <stdio.h>
#include <sys/types.h>

#include "models/lm/lm.h"

/* One of the two. One that is not open (of a run without --out) is not written to. */
typedef struct lm_log_file {
    const char *path;
    FILE *stream;
    off_t end;    /* of what stays of an earlier part of the run */
    bool unended; /* its last newline is missing */
    bool later;   /* behind it are things that are made again */
    bool torn;    /* behind it is something that is not whole */
    double last;  /* iteration in it */
} lm_log_file;

enum { LM_LOG_COLUMNS = 64 };
typedef struct lm_log {
    lm_log_file csv, samples;
    int columns, column[LM_LOG_COLUMNS]; /* of log.csv: what each is */
    int64_t from;
    double seconds; /* of the last row when it was opened */
} lm_log;

typedef struct lm_log_row {
    double iteration, loss, rate, gradient_norm, tokens_per_second;
    double seconds; /* since the run began, interruptions left out */
    /* Whether a report was made before the step, or without a step, whose rate, norm and speed are NaN then. Its losses,
     * NaN where they are not known: */
    bool report;
    double train_loss, validation_loss;
    double train_loss_per_character, validation_loss_per_character, train_bits_per_byte,
        validation_bits_per_byte;
} lm_log_row;

/* Opens log.csv and samples.txt in a folder, to go on at iteration `from`, which is below 0 for a new run, whose files
 * begin anew. Nothing is changed yet: a file that cannot be read to its end, or is not what the program writes, is a
 * failure. Editors may have changed the ends of lines. */
bool lm_log_open(lm_log *log, const char *folder, int64_t from, tensor_arena *arena, tensor_error *err);
/* Drops what is in them of iteration `from` and later, saying so, and what is cut off at the end. */
bool lm_log_begin(lm_log *log, const lm_model *model, tensor_error *err);
void lm_log_close(lm_log *log);
/* Rows are written when a buffer is full or at lm_log_flush, which fails where any was lost. lm_log_sync: to the disk. */
void lm_log_step(lm_log *log, const lm_log_row *row);
bool lm_log_flush(lm_log *log, tensor_error *err);
bool lm_log_sync(lm_log *log, tensor_error *err);
bool lm_log_sample(lm_log *log, int64_t iteration, const char *text, size_t bytes, tensor_error *err);

#endif
