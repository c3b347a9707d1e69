/* Normalisation of channels of x [N, C, S]: batch norm and group norm. Statistics are of sets of planes, each S elements side
 * by side: of a channel in all images, or of neighbouring channels in one. A set is normalised while it is in a cache. Where
 * S is 1, channels are columns: sixty-four of them at a time are turned into rows, and pieces of these are the planes. */
#include <float.h>
#include <math.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum {
    GRAIN = 16384,     /* elements a thread takes at least */
    STRIP = 64,        /* columns */
    PIECE = 256,       /* of their rows, */
    ROOM = PIECE + 16, /* a cache line more, or columns would lie in the same sets of a cache */
    TILE = 16          /* of which so many stay in the first cache while they are turned */
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
    bool accumulate;
} channel_job;

/* The mean and the variance's sum of what has been added. */
typedef struct moments {
    double count, mean, squares;
} moments;

static void add_moments(moments *m, int64_t n, const float *x) {
    double part[2];
    tensor_kernels_get()->norm_moments(n, x, part);
    const double all = m->count + (double)n, away = part[0] - m->mean;
    m->mean += away * (double)n / all;
    m->squares += part[1] + away * away * m->count * (double)n / all;
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
        for (int64_t p = 0; p < t->planes; p++)
            add_moments(&m, t->size, t->x + set * t->first + p * t->apart);
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

/* Up to STRIP columns from `column` on, of up to PIECE rows from `row` on. */
typedef struct strip {
    int64_t column, columns, row, rows;
} strip;

static bool next_piece(const channel_job *t, strip *s) {
    s->row += s->rows;
    s->rows = t->images - s->row < PIECE ? t->images - s->row : PIECE;
    return s->rows > 0;
}

static strip strip_of(const channel_job *t, int64_t number) {
    const int64_t column = number * STRIP;
    return (strip){.column = column, .columns = t->channels - column < STRIP ? t->channels - column : STRIP};
}

static void load(const channel_job *t, const strip *s, float rows[STRIP][ROOM], const float *x) {
    for (int64_t r = 0; r < s->rows; r += TILE)
        tensor_kernels_get()->transpose(s->columns, s->rows - r < TILE ? s->rows - r : TILE, rows[0] + r,
                                        ROOM, x + (s->row + r) * t->channels + s->column, t->channels);
}

static void store(const channel_job *t, const strip *s, float rows[STRIP][ROOM], float *y) {
    for (int64_t r = 0; r < s->rows; r += TILE)
        tensor_kernels_get()->transpose(s->rows - r < TILE ? s->rows - r : TILE, s->columns,
                                        y + (s->row + r) * t->channels + s->column, t->channels, rows[0] + r,
                                        ROOM);
}

static void forward_strips(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    float x[STRIP][ROOM], stats[2];
    for (int64_t number = begin; number < end; number++) {
        moments m[STRIP] = {{0}};
        for (strip s = strip_of(t, number); next_piece(t, &s);) {
            load(t, &s, x, t->x);
            for (int64_t c = 0; c < s.columns; c++) add_moments(&m[c], s.rows, x[c]);
        }
        strip s = strip_of(t, number);
        for (int64_t c = 0; c < s.columns; c++) end_moments(t, s.column + c, &m[c]);
        while (next_piece(t, &s)) {
            if (t->images > PIECE) load(t, &s, x, t->x);
            for (int64_t c = 0; c < s.columns; c++) {
                const int64_t channel = s.column + c;
                stats_of(t, channel, stats);
                tensor_kernels_get()->norm_scale(s.rows, x[c], stats, x[c], t->w[channel], t->b[channel]);
            }
            store(t, &s, x, t->y);
        }
    }
}

static void vjp_strips(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const channel_job *t = context;
    float x[STRIP][ROOM], dy[STRIP][ROOM], dx[STRIP][ROOM], stats[2];
    for (int64_t number = begin; number < end; number++) {
        for (strip s = strip_of(t, number); next_piece(t, &s);) {
            load(t, &s, x, t->x), load(t, &s, dy, t->dy);
            for (int64_t c = 0; c < s.columns; c++) {
                double part[2], *sums = t->sums + 2 * (s.column + c);
                stats_of(t, s.column + c, stats);
                tensor_kernels_get()->norm_sums(s.rows, stats, dy[c], x[c], part);
                for (int i = 0; i < 2; i++) sums[i] = s.row == 0 ? part[i] : sums[i] + part[i];
            }
        }
        for (strip s = strip_of(t, number); t->dx && next_piece(t, &s);) {
            if (t->images > PIECE) load(t, &s, x, t->x), load(t, &s, dy, t->dy);
            if (t->accumulate) load(t, &s, dx, t->dx);
            for (int64_t c = 0; c < s.columns; c++) {
                const int64_t channel = s.column + c;
                const double *sums = t->sums + 2 * channel, part = (double)t->w[channel] / (double)t->images;
                const float means[2] = {(float)(part * sums[0]), (float)(part * sums[1])};
                stats_of(t, channel, stats);
                tensor_kernels_get()->norm_scale_vjp(s.rows, dx[c], stats, dy[c], x[c], t->w[channel], means,
                                                     t->accumulate);
            }
            store(t, &s, dx, t->dx);
        }
    }
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
    if (groups < 0 || (groups > 0 && x.shape[1] % groups != 0))
        return tensor_fail(err, "channel_norm: %lld groups do not divide %lld channels", (long long)groups,
                           (long long)x.shape[1]);
    *sets = groups > 0 ? x.shape[0] * groups : x.shape[1];
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

static void run(channel_job *t, int64_t groups, tensor_work *sets, tensor_work *strips) {
    const bool columns = groups == 0 && t->size == 1;
    const int64_t each = (columns ? STRIP * t->images : t->planes * t->size) + 1;
    if (columns) t->planes = 1;
    tensor_parallel(columns ? (t->channels + STRIP - 1) / STRIP : t->sets, GRAIN / each + 1,
                    columns ? strips : sets, t);
}

bool tensor_channel_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, int64_t groups, float eps,
                         tensor_error *err) {
    channel_job t = {.eps = eps};
    if (!prepare(&t, &x, &w, &stats, groups, err) || !expect("y", &y, x.rank, x.shape, err) ||
        !expect("b", &b, 1, &x.shape[1], err))
        return false;
    t.y = y.f32, t.b = b.f32;
    run(&t, groups, forward_sets, forward_strips);
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
    const int64_t need = 4 * t.images * t.channels;
    if (tensor_size(scratch) < need || !tensor_dense(&scratch) || (uintptr_t)scratch.data % sizeof(double))
        return tensor_fail(err, "channel_norm: scratch needs %lld elements without gaps", (long long)need);
    t.dy = dy.f32, t.dx = tensor_ok(dx) ? dx.f32 : NULL, t.sums = scratch.data;
    run(&t, groups, vjp_sets, vjp_strips);
    if (tensor_ok(dw)) add_planes(&t, dw, 1);
    if (tensor_ok(db)) add_planes(&t, db, 0);
    if (tensor_ok(dx)) tensor_touch(dx);
    tensor_touch(scratch);
    return true;
}
