/* Pooling of one image: for each row of results, the rows that its windows show become one row, element by element, and
 * then its elements become results. Both steps are on vectors, whatever the windows are. */
#ifndef SAMPO_TENSOR_POOL_H
#define SAMPO_TENSOR_POOL_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/windows.h"

enum {
    POOL_RESULTS = 256,                  /* at once */
    POOL_COLUMNS = 2048,                 /* of the image that they show, at once */
    POOL_ROOM = POOL_COLUMNS + 2 * LANES /* whole vectors may be read */
};

/* Results begin..begin+n-1 of a row, of whose windows the taps from..to-1 show columns first..first+columns-1. */
typedef struct pool_block {
    int64_t begin, n, from, to, first, columns;
} pool_block;

/* The next block, or the first after {0}: all taps of some results, before those beside them. False: there is none. */
static inline bool pool_next(const window_axis *cols, pool_block *b) {
    const int64_t apart = cols->apart < 0 ? -cols->apart : cols->apart, half = POOL_COLUMNS / 2 - 1;
    const int64_t taps = half / apart + 1, results = min64(POOL_RESULTS, half / cols->step + 1);
    if (b->to < cols->taps && b->n > 0) {
        b->from = b->to;
    } else {
        b->begin += b->n;
        b->from = 0;
    }
    b->to = min64(b->from + taps, cols->taps);
    b->n = min64(results, cols->windows - b->begin);
    b->first = cols->first + b->begin * cols->step + (cols->apart < 0 ? b->to - 1 : b->from) * cols->apart;
    b->columns = b->to > b->from ? (b->n - 1) * cols->step + (b->to - b->from - 1) * apart + 1 : 0;
    return b->n > 0;
}

/* Where among a block's columns tap j of its first result is. */
static inline int64_t pool_tap(const window_axis *cols, const pool_block *b, int64_t j) {
    return cols->first + b->begin * cols->step + j * cols->apart - b->first;
}

/* The columns of a block that are in the image: *low to *high - 1. */
static inline void pool_inside(const window_axis *cols, const pool_block *b, int64_t *low, int64_t *high) {
    *low = min64(max64(-b->first, 0), b->columns);
    *high = min64(max64(cols->size - b->first, *low), b->columns);
}

/* A row of neighbours in the image: itself, or its copy. */
static inline const float *pool_row(const float *row, int64_t n, int64_t stride, float *copy) {
    if (stride == 1) return row;
    for (int64_t i = 0; i < n; i++) copy[i] = row[i * stride];
    return copy;
}

/* ---- Sums ----------------------------------------------------------------------------------------- */

/* The sum of any number of rows of n elements: up to SUM_ROWS in float; more in runs of so many, which are added in
 * double. */
typedef struct pool_sum {
    int64_t n, rows;
    bool many;
    const float *row[SUM_ROWS];
    float room[SUM_ROWS][POOL_ROOM];
    double total[POOL_ROOM];
} pool_sum;

static inline void pool_sum_run(pool_sum *s) {
    if (!s->many)
        for (int64_t i = 0; i < s->n; i++) s->total[i] = 0;
    s->many = true;
    add_rows(s->n, s->total, s->rows, s->row);
    s->rows = 0;
}

/* Room for the next row, which pool_sum_add adds. */
static inline float *pool_sum_room(pool_sum *s) {
    if (s->rows == SUM_ROWS) pool_sum_run(s);
    return s->room[s->rows];
}

static inline void pool_sum_add(pool_sum *s, const float *row) {
    s->row[s->rows++] = row;
}

static inline void pool_sum_end(pool_sum *s, float *out) {
    if (s->many && s->rows > 0) pool_sum_run(s);
    if (s->many)
        for (int64_t i = 0; i < s->n; i++) out[i] = (float)s->total[i];
    if (s->many) return;
    for (int64_t i = 0; i < s->n; i += VEC_WIDTH) {
        const int64_t left = s->n - i;
        vec sum = vec_splat(0);
        for (int64_t r = 0; r < s->rows; r++) {
            const vec x = left >= VEC_WIDTH ? vec_load(s->row[r] + i) : vec_load_part(s->row[r] + i, left);
            sum = r == 0 ? x : sum + x;
        }
        vec_store(out + i, sum);
    }
}

/* The sums of a block's columns over the rows that windows of row r show; 0 beside the image. */
static void pool_sum_columns(const pool_args *t, int64_t r, const pool_block *b, pool_sum *s, float *out) {
    int64_t low, high;
    pool_inside(&t->cols, b, &low, &high);
    s->n = high - low, s->rows = 0, s->many = false;
    for (int64_t i = 0; i < t->rows.taps; i++) {
        const int64_t y = r * t->rows.step + t->rows.first + i * t->rows.apart;
        if (y < 0 || y >= t->rows.size) continue;
        float *room = pool_sum_room(s);
        const float *row = t->x + y * t->rows.stride + (b->first + low) * t->cols.stride;
        pool_sum_add(s, pool_row(row, s->n, t->cols.stride, room));
    }
    clear(out, low);
    pool_sum_end(s, out + low);
    clear(out + high, b->columns - high);
}

static void pool_sums(const pool_args *t, float *out) {
    pool_sum down, across;
    float columns[POOL_ROOM], results[POOL_RESULTS + LANES];
    const vec divisor = vec_splat(t->divisor);
    for (int64_t r = 0; r < t->rows.windows; r++, out += t->out_row)
        for (pool_block b = {0}; pool_next(&t->cols, &b);) {
            const bool whole = b.from == 0 && b.to == t->cols.taps;
            pool_sum_columns(t, r, &b, &down, columns);
            if (b.from == 0) across.n = b.n, across.rows = 0, across.many = false;
            for (int64_t j = b.from; j < b.to; j++) {
                const float *tap = columns + pool_tap(&t->cols, &b, j);
                float *room = pool_sum_room(&across);
                if (!whole || t->cols.step != 1) copy_steps(room, tap, b.n, t->cols.step), tap = room;
                pool_sum_add(&across, tap);
            }
            if (b.to < t->cols.taps) continue;
            pool_sum_end(&across, results);
            for (int64_t q = 0; q < b.n; q += VEC_WIDTH)
                vec_store(results + q, vec_load(results + q) / divisor);
            float *to = out + b.begin * t->out_col;
            for (int64_t q = 0; q < b.n; q++) to[q * t->out_col] = results[q];
        }
}

/* ---- Shares: the gradient of sums of few -------------------------------------------------------------- */

/* out += x, n elements that are out_step and x_step apart. */
static inline void pool_add(int64_t n, float *out, int64_t out_step, const float *x, int64_t x_step) {
    int64_t i = 0;
    if (out_step == 1 && x_step == 1)
        for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(out + i, vec_load(out + i) + vec_load(x + i));
    for (; i < n; i++) out[i * out_step] += x[i * x_step];
}

/* Results become a row of the image, which then is added to all rows that their windows show. */
static void pool_shares(const pool_args *t, float *image) {
    const window_axis *rows = &t->rows, *cols = &t->cols;
    float row[POOL_ROOM];
    const vec divisor = vec_splat(t->divisor);
    for (int64_t begin = 0, n; begin < cols->size; begin += n, image += n * cols->stride) {
        n = min64(cols->size - begin, POOL_COLUMNS);
        for (int64_t y = 0; y < rows->size; y++) {
            if (cols->stride == 1) clear(image + y * rows->stride, n);
            for (int64_t c = 0; cols->stride != 1 && c < n; c++)
                image[y * rows->stride + c * cols->stride] = 0;
        }
        for (int64_t r = 0; r < rows->windows; r++) {
            clear(row, n + LANES);
            for (int64_t j = 0; j < cols->taps; j++) {
                const int64_t at = cols->first + j * cols->apart - begin;
                const int64_t low = first_window(cols, at, 0), high = first_window(cols, at, n);
                pool_add(high - low, row + at + low * cols->step, cols->step,
                         t->x + r * t->out_row + low * t->out_col, t->out_col);
            }
            for (int64_t c = 0; c < n; c += VEC_WIDTH) vec_store(row + c, vec_load(row + c) / divisor);
            for (int64_t i = 0; i < rows->taps; i++) {
                const int64_t y = r * rows->step + rows->first + i * rows->apart;
                if (y >= 0 && y < rows->size) pool_add(n, image + y * rows->stride, cols->stride, row, 1);
            }
        }
    }
}

/* ---- The largest ---------------------------------------------------------------------------------- */

/* The largest numbers so far, and where they lie; -1: nowhere yet. */
typedef struct pool_best {
    float value[POOL_ROOM], place[POOL_ROOM]; /* the bits of an integer */
} pool_best;

static inline veci pool_places(const float *p) {
    veci place;
    memcpy(&place, p, sizeof place);
    return place;
}

/* Whole vectors. */
static void pool_nowhere(pool_best *best, int64_t n) {
    for (int64_t i = 0; i < n; i += VEC_WIDTH) {
        vec_store(best->value + i, vec_splat(-__builtin_inff()));
        vec_store(best->place + i, (vec)((veci){0} - 1));
    }
}

/* n elements become the better of themselves and others: a NaN, else what is larger, of equals what comes first in the
 * image. Whole vectors: what stands behind them is read and written, too. */
static inline void pool_better(pool_best *best, int64_t n, const float *value, const float *place) {
    for (int64_t i = 0; i < n; i += VEC_WIDTH) {
        const vec x = vec_load(value + i), top = vec_load(best->value + i);
        const veci at = pool_places(place + i), top_at = pool_places(best->place + i);
        const veci better = (((x > top) | (x != x)) & (top == top)) | ((x == top) & (at < top_at));
        const veci take = (at >= 0) & (better | (top_at < 0));
        vec_store(best->value + i, vec_select(take, x, top));
        vec_store(best->place + i, vec_select(take, (vec)at, (vec)top_at));
    }
}

/* The best of each of a block's columns among the rows that windows of row r show. */
static void pool_best_columns(const pool_args *t, int64_t r, const pool_block *b, pool_best *best) {
    int64_t low, high;
    float copy[POOL_ROOM];
    pool_inside(&t->cols, b, &low, &high);
    pool_nowhere(best, b->columns + LANES);
    for (int64_t i = 0; i < t->rows.taps; i++) {
        const int64_t y = r * t->rows.step + t->rows.first + i * t->rows.apart, n = high - low;
        if (y < 0 || y >= t->rows.size) continue;
        const float *row = t->x + y * t->rows.stride + (b->first + low) * t->cols.stride;
        row = pool_row(row, n, t->cols.stride, copy);
        veci at = lane_numbers(0) + (int32_t)(y * t->cols.size + b->first + low);
        for (int64_t c = 0; c < n; c += VEC_WIDTH, at += VEC_WIDTH) {
            float *value = best->value + low + c, *place = best->place + low + c;
            const bool all = n - c >= VEC_WIDTH;
            const vec x = all ? vec_load(row + c) : vec_load_part(row + c, n - c), top = vec_load(value);
            const veci top_at = pool_places(place);
            veci take = (((x > top) | (x != x)) & (top == top)) | (top_at < 0);
            if (!all) take &= lane_numbers(0) < (int32_t)(n - c);
            vec_store(value, vec_select(take, x, top));
            vec_store(place, vec_select(take, (vec)at, (vec)top_at));
        }
    }
}

static void pool_largest(const pool_args *t, int32_t *out) {
    pool_best columns, results;
    float value[POOL_RESULTS + LANES] = {0}, place[POOL_RESULTS + LANES] = {0};
    for (int64_t r = 0; r < t->rows.windows; r++, out += t->out_row)
        for (pool_block b = {0}; pool_next(&t->cols, &b);) {
            pool_best_columns(t, r, &b, &columns);
            if (b.from == 0) pool_nowhere(&results, b.n + LANES);
            for (int64_t j = b.from; j < b.to; j++) {
                const int64_t tap = pool_tap(&t->cols, &b, j);
                const float *v = columns.value + tap, *p = columns.place + tap;
                if (t->cols.step != 1) {
                    copy_steps(value, v, b.n, t->cols.step), v = value;
                    copy_steps(place, p, b.n, t->cols.step), p = place;
                }
                pool_better(&results, b.n, v, p);
            }
            if (b.to < t->cols.taps) continue;
            for (int64_t q = 0; q < b.n; q++)
                memcpy(out + (b.begin + q) * t->out_col, results.place + q, sizeof *out);
        }
}

#endif
