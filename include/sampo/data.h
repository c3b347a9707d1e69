/* Sampo nn: data in memory: tables and images from files, standardised columns, batches in a shuffled order. */
#ifndef SAMPO_DATA_H
#define SAMPO_DATA_H

#include "sampo/autograd.h"

SAMPO_BEGIN_DECLS

/* ---- Files -------------------------------------------------------------------------------- *
 * A reader takes a whole regular file. It fails with one line in err that names the file and the fault. */

/* The numbers of an IDX file, the format of MNIST (http://yann.lecun.com/exdb/mnist/: two zero bytes, a type, a rank,
 * sizes and numbers, big-endian; unpacked with gunzip first), in the file's shape, on the arena. TENSOR_F32 takes any
 * type, rounded to float32 and not scaled: a pixel is 0 to 255. TENSOR_I32 takes integers alone, such as labels. Fails,
 * with no tensor, where the file is shorter or longer than its sizes say. */
tensor nn_idx_read(const char *path, tensor_dtype dtype, tensor_arena *arena, tensor_error *err);

/* A table of numbers, and the names of its columns. */
typedef struct nn_csv {
    tensor values;            /* float32 [rows, columns] */
    const char *const *names; /* [columns] */
} nn_csv;
typedef struct nn_csv_options {
    const char *const *columns; /* the names of those to keep, in this order, ended by NULL; NULL: all */
    bool no_header;             /* the first line has values; columns are called "1", "2", ... */
    char delimiter;
} nn_csv_options;
#define NN_CSV_DEFAULTS (TENSOR_LITERAL(nn_csv_options){NULL, false, ','})
/* Reads comma-separated values (RFC 4180: lines end with LF or CRLF; a field in quotes may hold delimiters, line ends and
 * "" for a quote) into memory of the arena. Spaces around a field without quotes do not belong to it; a byte order mark
 * is passed over. In the columns that are kept a number is decimal, as 1, -2.5 or 6e-3, with a point whatever the
 * locale says. Fails where a field is missing, no number or beyond float32, or where lines have different numbers of
 * fields, with the line and the column. */
bool nn_csv_read(nn_csv *csv, const char *path, nn_csv_options options, tensor_arena *arena,
                 tensor_error *err);

/* ---- Standardised columns ------------------------------------------------------------------ */

/* Mean and standard deviation of columns, each float32 [columns]: made of one table, such as what a model is trained
 * on, and applied to it and to others. */
typedef struct nn_scaling {
    tensor mean;
    tensor deviation; /* sqrt(mean (x - mean)^2), summed in double; 1 where a column has one value only */
} nn_scaling;
bool nn_scaling_fit(nn_scaling *s, tensor x, tensor_arena *arena, tensor_error *err); /* x [rows, columns] */
/* x = (x - mean) / deviation in place, x [..., columns]; any strides: also some columns of a larger table. */
bool nn_scaling_apply(const nn_scaling *s, tensor x, tensor_error *err);

/* ---- Batches ------------------------------------------------------------------------------- *
 * The rows of a dataset in memory, in a new order each epoch:
 *
 *     nn_batches b;
 *     nn_batches_init(&b, images.shape[0], (nn_batches_options){.batch = 64, .seed = 1}, arena, &err);
 *     for (int64_t step = 0; step < 10 * nn_batches_per_epoch(&b); step++, ag_reset(tape)) {
 *         nn_batches_go(&b, step);
 *         ag_var *x = nn_batch(&b, tape, images, 0, b.size), *y = nn_batch(&b, tape, labels, 0, b.size);
 */

typedef struct nn_batches_options {
    int64_t batch; /* rows of a batch; an epoch's last one may have fewer */
    uint64_t seed;
    bool in_order;  /* as they lie in memory, in every epoch */
    bool drop_last; /* a last batch of fewer rows is left out */
} nn_batches_options;
typedef struct nn_batches {
    nn_batches_options options;
    int64_t size;  /* rows of the batch at hand */
    tensor rows;   /* which rows they are: int32 [size] */
    tensor order;  /* int32 [rows of the dataset] */
    int64_t epoch; /* whose order it is */
} nn_batches;
/* For a dataset of `rows` rows, 1 to 2^31 - 1; memory is the arena's. Goes to step 0. */
bool nn_batches_init(nn_batches *b, int64_t rows, nn_batches_options options, tensor_arena *arena,
                     tensor_error *err);
int64_t nn_batches_per_epoch(const nn_batches *b);
/* To a step counted from 0 through all epochs, in any sequence: which rows it has is a pure function of the seed and the
 * step. Allocates nothing; a new epoch's order takes time in proportion to the rows. */
void nn_batches_go(nn_batches *b, int64_t step);
/* Rows begin..end-1 of the batch at hand, of `data` [rows of the dataset, ...], as data on the tape: [end - begin,
 * ...]. Of a shard (nn_loss) or, with 0 and b->size, the whole. Only reads *b: threads may share it. NULL with a text
 * on the tape where `data` has other rows or the range is outside. */
ag_var *nn_batch(const nn_batches *b, ag_tape *tape, tensor data, int64_t begin, int64_t end);

SAMPO_END_DECLS
#endif
