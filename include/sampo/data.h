/* Sampo nn: data in memory: tables and images from files, standardised columns, batches in a shuffled order. */
#ifndef SAMPO_DATA_H
#define SAMPO_DATA_H

#include "sampo/autograd.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* ---- Files -------------------------------------------------------------------------------- *
 * A reader takes a whole regular file. It fails with one line in err that names the file and the fault. */

/* The numbers of an IDX file, the format of MNIST (http://yann.lecun.com/exdb/mnist/: two zero bytes, a type, a rank, sizes
 * and numbers, big-endian; unpacked with gunzip first), in the file's shape, on the arena. TENSOR_F32 takes any type, rounded
 * to float32 and not scaled: a pixel is 0 to 255. TENSOR_I32 takes integers alone, such as labels. Fails, with no tensor,
 * where the file is shorter or longer than its sizes say. */
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
 * "" for a quote) into memory of the arena. Spaces around a field without quotes do not belong to it; a byte order mark is
 * passed over. In the columns that are kept a number is decimal, as 1, -2.5 or 6e-3, with a point whatever the locale says.
 * Fails where a field is missing, no number or beyond float32, or where lines have different numbers of fields, with the
 * line and the column. */
bool nn_csv_read(nn_csv *csv, const char *path, nn_csv_options options, tensor_arena *arena,
                 tensor_error *err);

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
