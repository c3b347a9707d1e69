/* Layer and RMS normalisation over the last axis. */
#include "tensor/kernels/kernels.h"
#include "tensor/ops/columns_internal.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 16384, /* elements a thread takes at least */
    COLUMNS = 16,  /* columns that stay on one thread */
    FAR = 1 << 17  /* more elements than these, and their gradients, are in no second-level cache */
};

/* The kernels want neighbouring elements along the last axis. An operand that has not is copied for the
 * call, onto an arena that exists only then; an output's copy goes back at the end. */
typedef struct dense {
    tensor given, used;
} dense;

static bool dense_init(dense *d, tensor x, tensor_arena **arena, tensor_error *err) {
    *d = (dense){x, x};
    if (!tensor_ok(x) || x.shape[x.rank - 1] <= 1 || x.stride[x.rank - 1] == 1) return true;
    if (!*arena) *arena = tensor_arena_new(err);
    if (!*arena) return false;
    d->used = tensor_contiguous(*arena, x, err);
    return tensor_ok(d->used);
}

static bool dense_write_back(const dense *d, tensor_error *err) {
    return d->used.data == d->given.data || tensor_copy(d->given, d->used, err);
}

typedef struct norm_job {
    tensor_loop rows; /* first elements of y, x or dy, x, dx */
    int64_t n;
    float *stats;
    int64_t stats_row, stats_column;
    const float *w, *b;
    float *dw, *db;
    float eps;
    bool centred;    /* layer norm, not RMS norm */
    bool accumulate; /* dx is added to */
    bool together;   /* dx is computed while its rows are in a cache for the sums of columns */
} norm_job;

/* x may be no tensor: NULL. */
static float *data_of(tensor x) {
    return tensor_ok(x) ? x.f32 : NULL;
}

/* Whether x, where it is a tensor, is one row of neighbours. */
static bool one_row(const tensor *x) {
    if (!tensor_ok(*x)) return true;
    for (int i = 0; i < x->rank - 1; i++)
        if (x->shape[i] != 1) return false;
    return x->stride[x->rank - 1] == 1;
}

static tensor row_starts(tensor x) {
    x.rank--;
    return x;
}

/* The arguments that both directions share. `y`: y or dy. */
static bool check(const char *what, const char *y_name, tensor y, tensor x, tensor w, tensor stats,
                  tensor_error *err) {
    if (!tensor_expect(what, "x", &x, TENSOR_F32, err) || !tensor_expect(what, y_name, &y, TENSOR_F32, err))
        return false;
    if (x.rank == 0) return tensor_fail(err, "%s: x has no axis to normalise", what);
    int64_t rows = 1;
    for (int i = 0; i < x.rank - 1; i++) rows *= x.shape[i];
    return tensor_expect_shape(what, y_name, &y, x.rank, x.shape, err) &&
           (!tensor_ok(stats) ||
            (tensor_expect(what, "stats", &stats, TENSOR_F32, err) &&
             tensor_expect_shape(what, "stats", &stats, 2, (int64_t[]){rows, 2}, err))) &&
           (!tensor_ok(w) || (tensor_expect(what, "w", &w, TENSOR_F32, err) &&
                              tensor_expect_shape(what, "w", &w, 1, &x.shape[x.rank - 1], err)));
}

/* An optional argument of shape [n]. */
static bool check_vector(const char *what, const char *name, tensor x, int64_t n, tensor_error *err) {
    return !tensor_ok(x) || (tensor_expect(what, name, &x, TENSOR_F32, err) &&
                             tensor_expect_shape(what, name, &x, 1, &n, err));
}

static void forward_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const norm_job *t = context;
    int64_t row = begin;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, row++) {
            float row_stats[2];
            tensor_kernels_get()->norm(t->n, (float *)run.at[0] + i * t->rows.inner_stride[0], row_stats,
                                       (float *)run.at[1] + i * t->rows.inner_stride[1], t->w, t->b, t->eps,
                                       t->centred);
            if (!t->stats) continue;
            t->stats[row * t->stats_row] = row_stats[0];
            t->stats[row * t->stats_row + t->stats_column] = row_stats[1];
        }
}

static norm_job norm_init(tensor x, tensor stats, bool centred) {
    return (norm_job){.n = x.shape[x.rank - 1],
                      .centred = centred,
                      .stats = tensor_ok(stats) ? stats.f32 : NULL,
                      .stats_row = stats.stride[0],
                      .stats_column = stats.stride[1]};
}

/* Whether x is one row of n neighbours; an optional one may be no tensor. */
static bool is_row(const tensor *x, int64_t n, bool optional) {
    if (!x->storage) return optional;
    return x->dtype == TENSOR_F32 && x->rank > 0 && x->shape[x->rank - 1] == n && one_row(x);
}

/* One row, as where text is written token by token: straight to the kernel, without the loop over rows. */
static bool normalise_row(const tensor *y, const tensor *stats, const tensor *x, const tensor *w,
                          const tensor *b, float eps, bool centred) {
    const int64_t n = x->rank > 0 ? x->shape[x->rank - 1] : 0;
    float unused[2];
    if (!is_row(x, n, false) || !is_row(y, n, false) || y->rank != x->rank || !is_row(stats, 2, true) ||
        (stats->storage && stats->rank != 2) || !is_row(w, n, true) || w->rank > 1 || !is_row(b, n, true) ||
        b->rank > 1)
        return false;
    tensor_kernels_get()->norm(n, y->f32, stats->storage ? stats->f32 : unused, x->f32,
                               w->storage ? w->f32 : NULL, b->storage ? b->f32 : NULL, eps, centred);
    tensor_touch(*y);
    if (stats->storage) tensor_touch(*stats);
    return true;
}

static bool normalise(const char *what, tensor y, tensor stats, tensor x, tensor w, tensor b, float eps,
                      bool centred, tensor_error *err) {
    if (normalise_row(&y, &stats, &x, &w, &b, eps, centred)) return true;
    if (!check(what, "y", y, x, w, stats, err) || !check_vector(what, "b", b, x.shape[x.rank - 1], err))
        return false;
    if (tensor_size(x) == 0 && !tensor_ok(stats)) return true; /* however many rows */
    tensor_arena *arena = NULL;
    dense dy, dx, dw, db;
    bool ok = dense_init(&dy, y, &arena, err) && dense_init(&dx, x, &arena, err) &&
              dense_init(&dw, w, &arena, err) && dense_init(&db, b, &arena, err);
    if (ok) {
        norm_job t = norm_init(x, stats, centred);
        t.w = data_of(dw.used);
        t.b = data_of(db.used);
        t.eps = eps;
        tensor_loop_init(&t.rows, TENSOR_ROW_MAJOR, 2, (tensor[]){row_starts(dy.used), row_starts(dx.used)});
        tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, forward_rows, &t);
        ok = dense_write_back(&dy, err);
        tensor_touch(y);
        if (tensor_ok(stats)) tensor_touch(stats);
    }
    tensor_arena_free(arena);
    return ok;
}

bool tensor_layer_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, float eps, tensor_error *err) {
    return normalise("layer_norm", y, stats, x, w, b, eps, true, err);
}

bool tensor_rms_norm(tensor y, tensor stats, tensor x, tensor w, float eps, tensor_error *err) {
    return normalise("rms_norm", y, stats, x, w, (tensor){0}, eps, false, err);
}

/* dx of row i of a run. */
static void vjp_row(const norm_job *t, const tensor_run *run, int64_t i, const float *stats) {
    const int64_t *step = t->rows.inner_stride;
    tensor_kernels_get()->norm_vjp(t->n, (float *)run->at[2] + i * step[2],
                                   (float[]){stats[0], stats[t->stats_column]},
                                   (const float *)run->at[0] + i * step[0],
                                   (const float *)run->at[1] + i * step[1], t->w, t->centred, t->accumulate);
}

static void vjp_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const norm_job *t = context;
    const float *stats = t->stats + begin * t->stats_row;
    tensor_run run = tensor_loop_runs(&t->rows, begin, end);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, stats += t->stats_row) vjp_row(t, &run, i, stats);
}

static void add_batch(const norm_job *t, int64_t n, double *dw, double *db, const norm_rows *batch) {
    const tensor_kernels *kernels = tensor_kernels_get();
    if (t->together)
        kernels->norm_vjp_rows(n, dw, db, batch, t->w, t->centred, t->accumulate);
    else
        kernels->add_norm_rows(n, dw, db, batch);
}

/* Columns first..first+n-1 of dw += sum dy (x - mean) rstd and db += sum dy over all rows, as columns_internal.h sums. */
static void add_columns(const norm_job *t, int64_t first, int64_t n) {
    double dw[COLUMN_SUMS], db[COLUMN_SUMS];
    norm_rows batch = {.rows = 0, .far = t->rows.size * t->n > FAR};
    const float *stats = t->stats;
    for (int64_t j = 0; j < n; j++) dw[j] = db[j] = 0;
    tensor_run run = tensor_loop_runs(&t->rows, 0, t->rows.size);
    while (tensor_run_next(&run))
        for (int64_t i = 0; i < run.n; i++, stats += t->stats_row) {
            const int64_t r = batch.rows++;
            batch.dy[r] = (const float *)run.at[0] + i * t->rows.inner_stride[0] + first;
            batch.x[r] = (const float *)run.at[1] + i * t->rows.inner_stride[1] + first;
            batch.stats[r][0] = stats[0];
            batch.stats[r][1] = stats[t->stats_column];
            if (t->together) batch.dx[r] = (float *)run.at[2] + i * t->rows.inner_stride[2];
            if (batch.rows == SUM_ROWS) {
                add_batch(t, n, dw, db, &batch);
                batch.rows = 0;
            }
        }
    add_batch(t, n, dw, db, &batch);
    for (int64_t j = 0; t->dw && j < n; j++) t->dw[first + j] += (float)dw[j];
    for (int64_t j = 0; t->db && j < n; j++) t->db[first + j] += (float)db[j];
}

/* Threads share the columns, not the rows: every sum keeps its order. */
static void vjp_columns(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const norm_job *t = context;
    const int64_t last = end * COLUMNS < t->n ? end * COLUMNS : t->n;
    for (int64_t first = begin * COLUMNS; first < last; first += COLUMN_SUMS)
        add_columns(t, first, last - first < COLUMN_SUMS ? last - first : COLUMN_SUMS);
}

/* All operands dense. */
static void vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats, bool centred,
                bool accumulate) {
    norm_job t = norm_init(x, stats, centred);
    t.accumulate = accumulate;
    t.w = data_of(w);
    t.dw = data_of(dw);
    t.db = data_of(db);
    tensor_loop_init(&t.rows, TENSOR_ROW_MAJOR, tensor_ok(dx) ? 3 : 2,
                     (tensor[]){row_starts(dy), row_starts(x), row_starts(tensor_ok(dx) ? dx : x)});
    t.together = tensor_ok(dx) && (t.dw || t.db) && t.n <= NORM_COLUMNS &&
                 (tensor_threads() == 1 || tensor_is_nested());
    if (tensor_ok(dx) && !t.together) tensor_parallel(t.rows.size, GRAIN / (t.n + 1) + 1, vjp_rows, &t);
    if (t.together)
        add_columns(&t, 0, t.n);
    else if (t.dw || t.db)
        tensor_parallel((t.n + COLUMNS - 1) / COLUMNS, GRAIN / (COLUMNS * (t.rows.size + 1)) + 1, vjp_columns,
                        &t);
}

static bool differentiate(const char *what, tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w,
                          tensor stats, bool centred, bool accumulate, tensor_error *err) {
    if (!tensor_expect(what, "stats", &stats, TENSOR_F32, err) || !check(what, "dy", dy, x, w, stats, err))
        return false;
    if (tensor_ok(dx) && (!tensor_expect(what, "dx", &dx, TENSOR_F32, err) ||
                          !tensor_expect_shape(what, "dx", &dx, x.rank, x.shape, err)))
        return false;
    const int64_t n = x.shape[x.rank - 1];
    if (!check_vector(what, "dw", dw, n, err) || !check_vector(what, "db", db, n, err)) return false;
    tensor_arena *arena = NULL;
    dense all[6];
    const tensor given[6] = {dx, dw, db, dy, x, w};
    bool ok = true;
    for (int i = 0; i < 6 && ok; i++) ok = dense_init(&all[i], given[i], &arena, err);
    if (ok) {
        vjp(all[0].used, all[1].used, all[2].used, all[3].used, all[4].used, all[5].used, stats, centred,
            accumulate);
        for (int i = 0; i < 3; i++) {
            ok = dense_write_back(&all[i], err) && ok;
            if (tensor_ok(given[i])) tensor_touch(given[i]);
        }
    }
    tensor_arena_free(arena);
    return ok;
}

bool tensor_layer_norm_vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats,
                           bool accumulate, tensor_error *err) {
    return differentiate("layer_norm_vjp", dx, dw, db, dy, x, w, stats, true, accumulate, err);
}

bool tensor_rms_norm_vjp(tensor dx, tensor dw, tensor dy, tensor x, tensor w, tensor stats, bool accumulate,
                         tensor_error *err) {
    return differentiate("rms_norm_vjp", dx, dw, (tensor){0}, dy, x, w, stats, false, accumulate, err);
}
