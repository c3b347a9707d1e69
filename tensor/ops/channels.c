/* Normalisation of channels of x [N, C, S]: batch norm and group norm. Statistics are of sets of planes, each S
 * elements side by side: of a channel in all images, or of neighbouring channels in one. A set is normalised while it
 * is in a cache. Where S is 1, the channels of a batch norm are columns: many are summed side by side, and then rows
 * are normalised. */
#include <float.h>
#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 16384, /* elements a thread takes at least */
    COLUMNS = 16,  /* columns that stay on one thread */
    STRIP = 1024,  /* those that are summed side by side at most, */
    PIECE = 128    /* and rows whose moments are taken together */
};

typedef struct channel_job {
    int64_t images, channels, size; /* N, C, S */
    int64_t sets, planes;           /* of a set, */
    int64_t first, apart;           /* which begins set by set `first`, and has them so far apart */
    int64_t weight, next_weight;    /* the set's first channel is this times its number; the next plane's */
    int64_t groups;                 /* set number modulo this counts for it */
    float eps;
    const float *x, *w, *b, *dy;
    float *y, *dx, *stats; /* [3, sets] */
    double *sums;          /* [sets, planes, 2]: of dy and dy x^ */
    float *means;          /* [2, channels]: of columns */
    bool accumulate;
} channel_job;

/* The mean and the variance's sum of what has been added. */
typedef struct moments {
    double count, mean, squares;
} moments;

static void add_moments(moments *m, int64_t n, double mean, double squares) {
    const double all = m->count + (double)n, away = mean - m->mean;
    m->mean += away * (double)n / all;
    m->squares += squares + away * away * m->count * (double)n / all;
    m->count = all;
}

static void end_moments(const channel_job *t, int64_t set, const moments *m) {
    const double variance = m->squares / m->count;
    t->stats[set] = (float)m->mean;
    t->stats[t->sets + set] = (float)variance;
    t->stats[2 * t->sets + set] = variance <= FLT_MAX ? 1 / sqrtf((float)(variance + (double)t->eps))
                                                      : (float)(1 / sqrt(variance + (double)t->eps));
}

static void stats_of(const channel_job *t, int64_t set, float stats[2]) {
    stats[0] = t->stats[set];
    stats[1] = t->stats[2 * t->sets + set];
}

static int64_t channel_of(const channel_job *t, int64_t set, int64_t plane) {
    return set % t->groups * t->weight + plane * t->next_weight;
}

/* ---- Planes ------------------------------------------------------------------------------------- */

static void forward_sets(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    for (int64_t set = begin; set < end; set++) {
        moments m = {0};
        float stats[2];
        for (int64_t p = 0; p < t->planes; p++) {
            double part[2];
            tensor_kernels_get()->norm_moments(t->size, t->x + set * t->first + p * t->apart, part);
            add_moments(&m, t->size, part[0], part[1]);
        }
        end_moments(t, set, &m);
        stats_of(t, set, stats);
        for (int64_t p = 0; p < t->planes; p++) {
            const int64_t at = set * t->first + p * t->apart, c = channel_of(t, set, p);
            tensor_kernels_get()->norm_scale(t->size, t->y + at, stats, t->x + at, t->w[c], t->b[c]);
        }
    }
}

static void vjp_sets(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    const double count = (double)t->planes * (double)t->size;
    for (int64_t set = begin; set < end; set++) {
        float stats[2], means[2];
        double total[2] = {0, 0}, *sums = t->sums + 2 * set * t->planes;
        stats_of(t, set, stats);
        for (int64_t p = 0; p < t->planes; p++) {
            const int64_t at = set * t->first + p * t->apart;
            const double weight = (double)t->w[channel_of(t, set, p)];
            tensor_kernels_get()->norm_sums(t->size, stats, t->dy + at, t->x + at, sums + 2 * p);
            for (int i = 0; i < 2; i++) total[i] += weight * sums[2 * p + i];
        }
        for (int i = 0; i < 2; i++) means[i] = (float)(total[i] / count);
        for (int64_t p = 0; t->dx && p < t->planes; p++) {
            const int64_t at = set * t->first + p * t->apart;
            tensor_kernels_get()->norm_scale_vjp(t->size, t->dx + at, stats, t->dy + at, t->x + at,
                                                 t->w[channel_of(t, set, p)], means, t->accumulate);
        }
    }
}

/* ---- Columns ------------------------------------------------------------------------------------ */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The moments of n columns from column `first` on, PIECE rows at a time, around their own means. */
static void strip_moments(const channel_job *t, int64_t first, int64_t n) {
    const tensor_kernels *kernels = tensor_kernels_get();
    moments m[STRIP];
    float guess[STRIP];
    double sums[STRIP], squares[STRIP];
    for (int64_t j = 0; j < n; j++) m[j] = (moments){0};
    for (int64_t row = 0; row < t->images; row += PIECE) {
        const int64_t size = least(PIECE, t->images - row);
        const float *x = t->x + row * t->channels + first;
        for (int64_t j = 0; j < n; j++) sums[j] = squares[j] = 0;
        for (int64_t r = 0; r < size; r += SUM_ROWS) {
            const float *rows[SUM_ROWS];
            const int64_t count = least(SUM_ROWS, size - r);
            for (int64_t i = 0; i < count; i++) rows[i] = x + (r + i) * t->channels;
            kernels->add_rows(n, sums, count, rows);
        }
        for (int64_t j = 0; j < n; j++) guess[j] = (float)(sums[j] / (double)size), sums[j] = 0;
        for (int64_t r = 0; r < size; r += SUM_ROWS)
            kernels->add_column_squares(n, sums, squares, least(SUM_ROWS, size - r), x + r * t->channels,
                                        t->channels, guess);
        for (int64_t j = 0; j < n; j++) {
            const double shift = sums[j] / (double)size, rest = squares[j] - sums[j] * shift;
            double part[2] = {(double)guess[j] + shift, rest > 0 ? rest : 0};
            if (!(rest <= FLT_MAX)) { /* too large for float, which norm_moments knows to do */
                float column[PIECE];
                for (int64_t i = 0; i < size; i++) column[i] = x[i * t->channels + j];
                kernels->norm_moments(size, column, part);
            }
            add_moments(&m[j], size, part[0], part[1]);
        }
    }
    for (int64_t j = 0; j < n; j++) end_moments(t, first + j, &m[j]);
}

/* Sums of dy and of dy x^ of n columns, and their means, with weights. */
static void strip_sums(const channel_job *t, int64_t first, int64_t n) {
    double sums[STRIP], dots[STRIP];
    for (int64_t j = 0; j < n; j++) sums[j] = dots[j] = 0;
    for (int64_t r = 0; r < t->images; r += SUM_ROWS) {
        const int64_t at = r * t->channels + first;
        tensor_kernels_get()->add_column_dots(n, dots, sums, least(SUM_ROWS, t->images - r), t->dy + at,
                                              t->x + at, t->channels, t->stats + first,
                                              t->stats + 2 * t->sets + first);
    }
    for (int64_t j = 0; j < n; j++) {
        const double both[2] = {sums[j], dots[j]}, part = (double)t->w[first + j] / (double)t->images;
        for (int i = 0; i < 2; i++) {
            t->sums[2 * (first + j) + i] = both[i];
            t->means[i * t->channels + first + j] = (float)(part * both[i]);
        }
    }
}

/* Threads share the columns, so that every sum keeps its order. */
static void each_strip(const channel_job *t, int64_t begin, int64_t end,
                       void strip(const channel_job *, int64_t, int64_t)) {
    const int64_t last = least(end * COLUMNS, t->channels);
    for (int64_t first = begin * COLUMNS; first < last; first += STRIP)
        strip(t, first, least(STRIP, last - first));
}

static void forward_strips(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    each_strip(context, begin, end, strip_moments);
}

static void vjp_strips(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    each_strip(context, begin, end, strip_sums);
}

static void forward_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    for (int64_t at = begin * t->channels; at < end * t->channels; at += t->channels)
        tensor_kernels_get()->norm_columns(t->channels, t->y + at, t->x + at, t->stats,
                                           t->stats + 2 * t->sets, t->w, t->b);
}

static void vjp_rows(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    for (int64_t at = begin * t->channels; at < end * t->channels; at += t->channels)
        tensor_kernels_get()->norm_columns_vjp(t->channels, t->dx + at, t->dy + at, t->x + at, t->stats,
                                               t->stats + 2 * t->sets, t->w, t->means, t->means + t->channels,
                                               t->accumulate);
}

/* ---- Both --------------------------------------------------------------------------------------- */

static bool expect_any(const char *name, const tensor *x, int rank, const int64_t *shape, tensor_error *err) {
    return tensor_expect("channel_norm", name, x, TENSOR_F32, err) &&
           tensor_expect_shape("channel_norm", name, x, rank, shape, err);
}

/* An argument of a shape, without gaps. */
static bool expect(const char *name, const tensor *x, int rank, const int64_t *shape, tensor_error *err) {
    return expect_any(name, x, rank, shape, err) &&
           (tensor_dense(x) || tensor_fail(err, "channel_norm: %s has gaps between its elements", name));
}

bool tensor_channel_sets(tensor x, int64_t groups, int64_t *sets, tensor_error *err) {
    if (!tensor_expect("channel_norm", "x", &x, TENSOR_F32, err)) return false;
    if (x.rank < 2) return tensor_fail(err, "channel_norm: needs x[N, C, ...], not a rank of %d", x.rank);
    *sets = x.shape[1];
    if (groups < 0 || (groups > 0 && x.shape[1] % groups != 0) ||
        (groups > 0 && __builtin_mul_overflow(x.shape[0], groups, sets)))
        return tensor_fail(err, "channel_norm: %lld groups do not divide %lld channels", (long long)groups,
                           (long long)x.shape[1]);
    const int64_t size = tensor_size(x);
    return *sets == 0 || size > 0 || tensor_fail(err, "channel_norm: there are no elements");
}

static bool prepare(channel_job *t, const tensor *x, const tensor *w, const tensor *stats, int64_t groups,
                    tensor_error *err) {
    if (!tensor_channel_sets(*x, groups, &t->sets, err) || !expect("x", x, x->rank, x->shape, err) ||
        !expect("w", w, 1, &x->shape[1], err) || !expect("stats", stats, 2, (int64_t[]){3, t->sets}, err))
        return false;
    t->images = x->shape[0], t->channels = x->shape[1], t->size = 1;
    for (int axis = 2; axis < x->rank; axis++) t->size *= x->shape[axis];
    const int64_t some = groups > 0 ? t->channels / groups : 1; /* channels of a set */
    t->planes = groups > 0 ? some : t->images;
    t->first = some * t->size;
    t->apart = groups > 0 ? t->size : t->channels * t->size;
    t->weight = some;
    t->next_weight = groups > 0;
    t->groups = groups > 0 ? groups : t->channels > 0 ? t->channels : 1;
    t->x = x->f32, t->w = w->f32, t->stats = stats->f32;
    return true;
}

static bool has_columns(const channel_job *t, int64_t groups) {
    return groups == 0 && t->size == 1;
}

/* All sets, or strips of columns and then, where they are wanted, rows. */
static void run(channel_job *t, int64_t groups, tensor_work *sets, tensor_work *strips, tensor_work *rows) {
    if (!has_columns(t, groups)) {
        tensor_parallel(t->sets, GRAIN / (t->planes * t->size + 1) + 1, sets, t);
        return;
    }
    t->planes = 1;
    tensor_parallel((t->channels + COLUMNS - 1) / COLUMNS, GRAIN / (COLUMNS * t->images + 1) + 1, strips, t);
    if (rows) tensor_parallel(t->images, GRAIN / (t->channels + 1) + 1, rows, t);
}

bool tensor_channel_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, int64_t groups, float eps,
                         tensor_error *err) {
    channel_job t = {.eps = eps};
    if (!prepare(&t, &x, &w, &stats, groups, err) || !expect("y", &y, x.rank, x.shape, err) ||
        !expect("b", &b, 1, &x.shape[1], err))
        return false;
    t.y = y.f32, t.b = b.f32;
    run(&t, groups, forward_sets, forward_strips, forward_rows);
    tensor_touch(y);
    tensor_touch(stats);
    return true;
}

/* out += the sums of all planes of each channel, part 0 or 1. */
static void add_planes(const channel_job *t, tensor out, int part) {
    for (int64_t c = 0; c < t->channels; c++) {
        const int64_t set = c / t->weight, plane = t->next_weight * (c % t->weight);
        double total = 0;
        if (t->next_weight) /* one plane of each image */
            for (int64_t n = 0; n < t->images; n++)
                total += t->sums[2 * ((n * t->groups + set) * t->planes + plane) + part];
        else
            for (int64_t p = 0; p < t->planes; p++) total += t->sums[2 * (set * t->planes + p) + part];
        out.f32[c * out.stride[0]] += (float)total;
    }
    tensor_touch(out);
}

bool tensor_channel_norm_vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats,
                             int64_t groups, bool accumulate, tensor scratch, tensor_error *err) {
    channel_job t = {.accumulate = accumulate};
    if (!prepare(&t, &x, &w, &stats, groups, err) || !expect("dy", &dy, x.rank, x.shape, err) ||
        (tensor_ok(dx) && !expect("dx", &dx, x.rank, x.shape, err)) ||
        (tensor_ok(dw) && !expect_any("dw", &dw, 1, &x.shape[1], err)) ||
        (tensor_ok(db) && !expect_any("db", &db, 1, &x.shape[1], err)) ||
        !tensor_expect("channel_norm", "scratch", &scratch, TENSOR_F32, err))
        return false;
    const int64_t need = (4 * t.images + 2) * t.channels;
    if (tensor_size(scratch) < need || !tensor_dense(&scratch) || (uintptr_t)scratch.data % sizeof(double))
        return tensor_fail(err, "channel_norm: scratch needs %lld elements without gaps", (long long)need);
    t.dy = dy.f32, t.dx = tensor_ok(dx) ? dx.f32 : NULL, t.sums = scratch.data;
    t.means = scratch.f32 + 4 * t.images * t.channels;
    run(&t, groups, vjp_sets, vjp_strips, t.dx ? vjp_rows : NULL);
    if (tensor_ok(dw)) add_planes(&t, dw, 1);
    if (tensor_ok(db)) add_planes(&t, db, 0);
    if (tensor_ok(dx)) tensor_touch(dx);
    tensor_touch(scratch);
    return true;
}
