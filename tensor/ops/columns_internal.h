/* Sums of rows, column by column, that lose nothing with the number of rows: sixteen rows at a time are added in float,
 * in the order in which they come, and their sum goes to totals in double. So a sum's error is at most 16 roundings of
 * float, relative to the sum of the sizes. */
#ifndef SAMPO_TENSOR_COLUMNS_INTERNAL_H
#define SAMPO_TENSOR_COLUMNS_INTERNAL_H

#include "tensor/kernels/kernels.h"

enum { COLUMN_SUMS = 1024 };

typedef struct column_sums {
    int64_t n; /* columns, COLUMN_SUMS at most */
    int64_t rows;
    const float *row[SUM_ROWS]; /* not yet added */
    double total[COLUMN_SUMS];
    float room[SUM_ROWS]
              [COLUMN_SUMS + 16]; /* a cache line more, or all rows would lie in the same sets of a cache */
} column_sums;

static inline void column_sums_begin(column_sums *s, int64_t n) {
    s->n = n;
    s->rows = 0;
    for (int64_t j = 0; j < n; j++) s->total[j] = 0;
}

/* Adds what is left; the totals are complete. */
static inline void column_sums_end(column_sums *s) {
    if (s->rows > 0) tensor_kernels_get()->add_rows(s->n, s->total, s->rows, s->row);
    s->rows = 0;
}

/* A row of neighbours, which must stay as it is until column_sums_end. */
static inline void column_sums_add(column_sums *s, const float *row) {
    s->row[s->rows++] = row;
    if (s->rows == SUM_ROWS) column_sums_end(s);
}

/* Any row; one whose elements are not neighbours is copied. */
static inline void column_sums_add_strided(column_sums *s, const float *row, int64_t stride) {
    if (stride != 1) {
        float *to = s->room[s->rows];
        for (int64_t j = 0; j < s->n; j++) to[j] = row[j * stride];
        row = to;
    }
    column_sums_add(s, row);
}

#endif
