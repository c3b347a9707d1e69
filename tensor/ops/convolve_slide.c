/* Convolutions that read windows where they lie (kernels/slide.h): strips of an image are copied with their border of
 * zeros, once, whatever the number of taps. Where windows are several elements apart, every such class of columns and of
 * rows (a phase) has a copy of its own, so that what a tap shows of a row of windows are neighbours. */
#include "tensor/ops/convolve_internal.h"
#include "tensor/tensor_internal.h"

enum {
    STEPS = 320, /* of a chain at once: with a tile of weights, a first-level cache */
    LINE = 16,   /* numbers of a cache line */
    SLACK = 16,  /* the last vector of a row reads behind it */
    MOST_PHASES = 8
};

/* Along one axis: tap t shows element number at[t] of phase[t] to the first window. */
typedef struct slide_axis {
    int64_t low;   /* the first element that a tap shows, before the image perhaps */
    int64_t reach; /* elements of a phase behind the last window's */
    int64_t phases;
    int64_t first[MOST_PHASES]; /* of each phase, from `low` */
    int64_t at[STEPS], phase[STEPS];
} slide_axis;

static bool slide_axis_init(slide_axis *s, const window_axis *axis) {
    const int64_t taps = axis->taps, span = (taps - 1) * axis->apart;
    s->low = axis->first + (span < 0 ? span : 0);
    s->reach = s->phases = 0;
    for (int64_t t = 0; t < taps; t++) {
        const int64_t from = axis->first + t * axis->apart - s->low, first = from % axis->step;
        int64_t phase = 0;
        while (phase < s->phases && s->first[phase] != first) phase++;
        if (phase == MOST_PHASES) return false;
        if (phase == s->phases) s->first[s->phases++] = first;
        s->phase[t] = phase;
        s->at[t] = from / axis->step;
        if (s->at[t] > s->reach) s->reach = s->at[t];
    }
    return true;
}

typedef struct slide_job {
    const products *p;
    slide_axis rows, cols;
    int64_t taps, channels, some;  /* of a window; of a group; of them at once */
    int64_t images, strips, strip; /* window rows of a strip */
    int64_t row_blocks, block_rows;
    int64_t width; /* of a row of a phase */
} slide_job;

/* Begins to read what a strip shows of a channel: phases come back to each row and would wait for memory time and again. */
static void fetch(const slide_job *t, const float *channel, int64_t row, int64_t height) {
    const window_axis *y = &t->p->from.rows, *x = &t->p->from.cols;
    const int64_t above = t->rows.low + row * y->step, below = above + height * y->step;
    for (int64_t i = above > 0 ? above : 0; i < below && i < y->size; i++)
        for (int64_t j = 0; j < x->size; j += LINE)
            __builtin_prefetch(channel + i * y->stride + j * x->stride);
}

/* Channels first..first+count-1 of a strip that begins with row `row` of windows, all phases of one after the other. */
static void copy_strip(const slide_job *t, float *to, float *image, int64_t row, int64_t rows, int64_t first,
                       int64_t count) {
    const window_axis *y = &t->p->from.rows, *x = &t->p->from.cols;
    const int64_t height = rows + t->rows.reach, plane = height * t->width;
    const int64_t phases = t->rows.phases * t->cols.phases, together = phases > 1 ? 1 : count;
    for (int64_t channel = first; channel < first + count; channel += together) {
        if (phases > 1 && channel + 1 < first + count)
            fetch(t, image + (channel + 1) * t->p->from.channel, row, height);
        for (int64_t p = 0; p < phases; p++, to += together * plane) {
            windows_args phase = {.rows = *y, .cols = *x, .x = image, .channel = t->p->from.channel};
            phase.rows.windows = height, phase.rows.taps = 1;
            phase.rows.first = t->rows.low + t->rows.first[p / t->cols.phases] + row * y->step;
            phase.cols.windows = t->width, phase.cols.taps = 1;
            phase.cols.first = t->cols.low + t->cols.first[p % t->cols.phases];
            phase.n = phase.out_row = plane;
            phase.from = channel, phase.to = channel + together;
            tensor_kernels_get()->gather_windows(&phase, to);
        }
    }
}

/* Where each tap of each of `count` channels lies in a strip of `rows` rows of windows. */
static void find_taps(const slide_job *t, int64_t *offset, int64_t rows, int64_t count) {
    const int64_t plane = (rows + t->rows.reach) * t->width;
    for (int64_t c = 0; c < count; c++)
        for (int64_t i = 0; i < t->p->from.rows.taps; i++)
            for (int64_t j = 0; j < t->p->from.cols.taps; j++) {
                const int64_t phase =
                    (c * t->rows.phases + t->rows.phase[i]) * t->cols.phases + t->cols.phase[j];
                *offset++ = phase * plane + t->rows.at[i] * t->width + t->cols.at[j];
            }
}

static void slide_strip(const slide_job *t, int64_t task) {
    float memory[CONVOLVE_ROOM] __attribute__((aligned(64)));
    int64_t offset[STEPS];
    const products *p = t->p;
    const int64_t row = task % t->strips * t->strip, block = task / t->strips % t->row_blocks * t->block_rows;
    const int64_t image = task / t->strips / t->row_blocks % t->images;
    const int64_t group = task / t->strips / t->row_blocks / t->images;
    const int64_t windows = p->from.rows.windows;
    const window_axis *to_rows = &p->to.rows, *to_cols = &p->to.cols;
    slide_args s = {.rows = p->rows - block < t->block_rows ? p->rows - block : t->block_rows,
                    .a = p->a + group * p->a_group + block * p->a_row,
                    .a_row = p->a_row,
                    .b = memory,
                    .offset = offset,
                    .window_rows = windows - row < t->strip ? windows - row : t->strip,
                    .windows = p->from.cols.windows,
                    .b_next = t->width,
                    .c_row = p->to.channel,
                    .c_next = to_rows->step * to_rows->stride};
    s.c = p->to.x + group * p->to_group + image * p->to.image + block * p->to.channel + row * s.c_next +
          to_rows->first * to_rows->stride + to_cols->first * to_cols->stride;
    static const float zero = 0;
    for (int64_t c = 0; c < t->channels; c += t->some) {
        const int64_t count = t->channels - c < t->some ? t->channels - c : t->some;
        copy_strip(t, memory, p->from.x + group * p->from_group + image * p->from.image, row, s.window_rows,
                   c, count);
        find_taps(t, offset, s.window_rows, count);
        s.k = count * t->taps;
        s.bias = c > 0 ? NULL : p->bias ? p->bias + (group * p->rows + block) * p->bias_step : &zero;
        s.bias_step = p->bias_step;
        tensor_kernels_get()->slide(&s);
        s.a += s.k;
    }
}

static void slide_strips(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    for (int64_t task = begin; task < end; task++) slide_strip(context, task);
}

/* Strips as high as the room lets them be, and as many as threads want. False: not even one row has room. */
static bool slide_cut(slide_job *t) {
    enum { ENOUGH = 4 }; /* tasks of a thread */
    const int64_t rows = t->p->from.rows.windows, blocks = convolve_pieces(t->channels, STEPS / t->taps);
    t->some = convolve_pieces(t->channels, blocks);
    const int64_t row = t->rows.phases * t->cols.phases * t->some * t->width;
    t->strip = (CONVOLVE_ROOM - SLACK) / row - t->rows.reach;
    if (t->strip < 1) return false;
    t->row_blocks = convolve_pieces(t->p->rows, CONVOLVE_ROWS);
    t->block_rows = convolve_pieces(t->p->rows, t->row_blocks);
    const int64_t others = t->p->groups * t->images * t->row_blocks;
    const int64_t threads = tensor_is_nested() ? 1 : tensor_threads();
    const int64_t wanted = threads > 1 ? convolve_pieces(ENOUGH * threads, others) : 1;
    const int64_t least = convolve_pieces(rows, t->strip);
    t->strip = convolve_pieces(rows, wanted > least ? wanted : least);
    t->strips = convolve_pieces(rows, t->strip);
    return true;
}

bool convolve_slide(const products *p) {
    const window_axis *rows = &p->from.rows, *cols = &p->from.cols;
    const int64_t width = tensor_kernels_get()->slide_width;
    const int64_t computed = convolve_pieces(cols->windows, width) * width;
    slide_job t = {.p = p, .taps = rows->taps * cols->taps};
    if (p->rows < 1 || p->windows < 1 || p->k < 1 || rows->taps > STEPS || cols->taps > STEPS ||
        t.taps > STEPS || 7 * computed > 8 * cols->windows || p->to.cols.step * p->to.cols.stride != 1 ||
        !slide_axis_init(&t.rows, rows) || !slide_axis_init(&t.cols, cols))
        return false;
    t.channels = p->k / t.taps;
    t.images = p->windows / (rows->windows * cols->windows);
    t.width = cols->windows + t.cols.reach;
    if (!slide_cut(&t)) return false;
    tensor_parallel(p->groups * t.images * t.row_blocks * t.strips,
                    convolve_grain((double)t.block_rows * (double)(t.strip * cols->windows) * (double)p->k),
                    slide_strips, &t);
    return true;
}
