/* Compact weights: rounding, their order in memory (kernels/compact.h), products with them and look-ups. */
#include <string.h>

#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { LANES = 16, BLOCK = COMPACT_BLOCK };

/* ---- Numbers ------------------------------------------------------------------------------------ */

static float of_bf16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The upper half of a float, after `more` was added to the lower one. */
static uint16_t upper_half(float x, uint32_t more) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + more) >> 16);
}

static uint16_t to_bf16(float x) {
    return upper_half(x, 0x7fff + (upper_half(x, 0) & 1u));
}

/* A matrix as its sums meet it: step p of column j lies at p p_step + j j_step, block b's scale at b b_step + j s_step. */
typedef struct layout {
    int64_t in, out, p_step, j_step, b_step, s_step;
} layout;

static layout layout_of(const int64_t shape[2], bool by_rows) {
    int64_t scales[2];
    tensor_scale_shape(shape, by_rows, scales);
    return by_rows ? (layout){shape[1], shape[0], 1, shape[1], 1, scales[1]}
                   : (layout){shape[0], shape[1], shape[1], 1, scales[1], 1};
}

static int64_t blocks_of(int64_t in) {
    return (in + BLOCK - 1) / BLOCK;
}

void tensor_scale_shape(const int64_t shape[2], bool by_rows, int64_t scale_shape[2]) {
    scale_shape[0] = by_rows ? shape[0] : blocks_of(shape[0]);
    scale_shape[1] = by_rows ? blocks_of(shape[1]) : shape[1];
}

/* One block of n numbers, `step` apart. */
static void round_block(int64_t n, int64_t step, const float *x, int8_t *q, uint16_t *scale) {
    float most = 0;
    for (int64_t i = 0; i < n; i++) most = __builtin_fmaxf(most, __builtin_fabsf(x[i * step]));
    *scale = most >= 0x1p-100f ? upper_half(most / 127, 0xffff) : 0; /* up, so that none is over 127 */
    const float s = of_bf16(*scale);
    for (int64_t i = 0; i < n; i++) q[i * step] = (int8_t)(*scale ? __builtin_rintf(x[i * step] / s) : 0);
}

bool tensor_round_weights(tensor w, tensor_precision precision, bool by_rows, void *values, uint16_t *scales,
                          tensor_error *err) {
    if (!tensor_expect("round", "w", &w, TENSOR_F32, err)) return false;
    if (w.rank != 2 || !tensor_dense(&w)) return tensor_fail(err, "round: w is no contiguous matrix");
    for (int64_t i = 0; i < tensor_size(w); i++) /* so that bfloat16 does not become infinite either */
        if (!(__builtin_fabsf(w.f32[i]) < 0x1.ffp127f))
            return tensor_fail(err, "round: number %lld is %g", (long long)i, (double)w.f32[i]);
    if (precision == TENSOR_BFLOAT16) {
        for (int64_t i = 0; i < tensor_size(w); i++) ((uint16_t *)values)[i] = to_bf16(w.f32[i]);
        return true;
    }
    const layout l = layout_of(w.shape, by_rows);
    for (int64_t b = 0; b < blocks_of(l.in); b++)
        for (int64_t j = 0; j < l.out; j++) {
            const int64_t at = b * BLOCK * l.p_step + j * l.j_step, left = l.in - b * BLOCK;
            round_block(left < BLOCK ? left : BLOCK, l.p_step, w.f32 + at, (int8_t *)values + at,
                        scales + b * l.b_step + j * l.s_step);
        }
    return true;
}

void tensor_unround_weights(tensor w, tensor_precision precision, bool by_rows, const void *values,
                            const uint16_t *scales) {
    const layout l = layout_of(w.shape, by_rows);
    if (precision == TENSOR_BFLOAT16) {
        for (int64_t i = 0; i < tensor_size(w); i++) w.f32[i] = of_bf16(((const uint16_t *)values)[i]);
    } else {
        for (int64_t r = 0; r < w.shape[0]; r++)
            for (int64_t c = 0; c < w.shape[1]; c++) {
                const int64_t p = by_rows ? c : r, j = by_rows ? r : c;
                w.f32[r * w.shape[1] + c] = (float)((const int8_t *)values)[r * w.shape[1] + c] *
                                            of_bf16(scales[p / BLOCK * l.b_step + j * l.s_step]);
            }
    }
    tensor_touch(w);
}

/* ---- Order in memory ---------------------------------------------------------------------------- */

static int64_t panel_bytes(const tensor_compact *w) {
    return w->precision == TENSOR_BFLOAT16 ? (w->in + 1) / 2 * 2 * LANES * 2
                                           : blocks_of(w->in) * COMPACT_BLOCK_BYTES;
}

static int64_t panels_of(const tensor_compact *w) {
    return (w->out + LANES - 1) / LANES;
}

int64_t tensor_compact_bytes(const tensor_compact *w) {
    return panels_of(w) * panel_bytes(w);
}

/* Where step p of a column, lane `lane` of a panel, lies in it: a number of elements, behind whole blocks of bytes. */
static int64_t place_of(int64_t p, int64_t lane) {
    return (p / 2 * LANES + lane) * 2 + p % 2;
}

static void pack_bf16(uint16_t *to, layout l, const uint16_t *values, int64_t j, int64_t lane) {
    for (int64_t p = 0; p < l.in; p++) to[place_of(p, lane)] = values[p * l.p_step + j * l.j_step];
}

static void pack_int8(char *to, layout l, const int8_t *values, const uint16_t *scales, int64_t j,
                      int64_t lane) {
    for (int64_t b = 0; b * BLOCK < l.in; b++, to += COMPACT_BLOCK_BYTES) {
        const int8_t *from = values + b * BLOCK * l.p_step + j * l.j_step;
        for (int64_t p = 0; p < BLOCK && b * BLOCK + p < l.in; p++)
            ((int8_t *)to)[place_of(p, lane)] = from[p * l.p_step];
        memcpy(to + BLOCK * LANES + lane * 2, scales + b * l.b_step + j * l.s_step, 2);
    }
}

bool tensor_compact_new(tensor_compact *w, tensor_precision precision, const int64_t shape[2], bool by_rows,
                        const void *values, const uint16_t *scales, tensor_arena *arena, tensor_error *err) {
    const layout l = layout_of(shape, by_rows);
    *w = (tensor_compact){.precision = precision, .in = l.in, .out = l.out};
    char *data = tensor_arena_alloc(arena, (size_t)tensor_compact_bytes(w), err);
    if (!data) return false;
    memset(data, 0, (size_t)tensor_compact_bytes(w));
    for (int64_t j = 0; j < l.out; j++) {
        char *panel = data + j / LANES * panel_bytes(w);
        if (precision == TENSOR_BFLOAT16)
            pack_bf16((uint16_t *)(void *)panel, l, values, j, j % LANES);
        else
            pack_int8(panel, l, values, scales, j, j % LANES);
    }
    w->data = data;
    return true;
}

/* ---- Products ----------------------------------------------------------------------------------- */

typedef struct compact_product {
    const tensor_compact *w;
    compact_args args;
} compact_product;

static void some_panels(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const compact_product *t = context;
    compact_args g = t->args;
    const int64_t j = begin * LANES, last = end * LANES;
    g.w = (const char *)g.w + begin * g.panel;
    g.n = (last < t->args.n ? last : t->args.n) - j;
    g.c += j;
    if (g.start) g.start += j;
    if (t->w->precision == TENSOR_BFLOAT16)
        tensor_kernels_get()->compact_bf16(&g);
    else
        tensor_kernels_get()->compact_int8(&g);
}

static int64_t rows_of(tensor x) {
    int64_t rows = 1;
    for (int axis = 0; axis < x.rank - 1; axis++) rows *= x.shape[axis];
    return rows;
}

int64_t tensor_compact_scratch(const tensor_compact *w, tensor x) {
    return w->precision == TENSOR_BFLOAT16 ? 0 : rows_of(x) * blocks_of(w->in) * (BLOCK / 2 + 1);
}

/* Rounds the rows into the scratch: first all of the integers, then the scales. */
static void round_rows(compact_args *g, const float *x, int64_t x_row, tensor scratch) {
    int16_t *rounded = scratch.data;
    float *scales = (float *)(scratch.i32 + g->m * g->blocks * (BLOCK / 2));
    for (int64_t i = 0; i < g->m; i++)
        tensor_kernels_get()->compact_round(g->k, rounded + i * g->blocks * BLOCK, scales + i * g->blocks,
                                            x + i * x_row);
    g->rounded = rounded;
    g->scales = scales;
}

bool tensor_compact_linear(tensor out, tensor x, const tensor_compact *w, tensor bias, tensor scratch,
                           tensor_error *err) {
    enum { GRAIN = 1 << 17 }; /* bytes, or operations of 64, that are worth a thread */
    if (!tensor_expect("linear", "x", &x, TENSOR_F32, err) ||
        !tensor_expect("linear", "out", &out, TENSOR_F32, err))
        return false;
    int64_t shape[TENSOR_MAX_RANK];
    if (x.rank < 1 || x.shape[x.rank - 1] != w->in)
        return tensor_fail(err, "linear: x has no rows of %lld", (long long)w->in);
    for (int axis = 0; axis < x.rank - 1; axis++) shape[axis] = x.shape[axis];
    shape[x.rank - 1] = w->out;
    if (!tensor_expect_shape("linear", "out", &out, x.rank, shape, err) ||
        (tensor_ok(bias) && (!tensor_expect("linear", "bias", &bias, TENSOR_F32, err) ||
                             !tensor_expect_shape("linear", "bias", &bias, 1, &w->out, err))))
        return false;
    const int64_t need = tensor_compact_scratch(w, x);
    if (!tensor_dense(&x) || !tensor_dense(&out) || (tensor_ok(bias) && !tensor_dense(&bias)))
        return tensor_fail(err, "linear: with compact weights the others are contiguous");
    if (need > 0 && (!tensor_expect("linear", "scratch", &scratch, TENSOR_I32, err) ||
                     tensor_size(scratch) < need || !tensor_dense(&scratch)))
        return tensor_fail(err, "linear: needs scratch of %lld numbers without gaps", (long long)need);
    compact_product t = {.w = w,
                         .args = {.m = rows_of(x),
                                  .n = w->out,
                                  .k = w->in,
                                  .w = w->data,
                                  .panel = panel_bytes(w),
                                  .x = x.f32,
                                  .x_row = w->in,
                                  .blocks = blocks_of(w->in),
                                  .c = out.f32,
                                  .c_row = w->out,
                                  .start = tensor_ok(bias) ? bias.f32 : NULL}};
    if (t.args.m > 0 && need > 0) round_rows(&t.args, x.f32, w->in, scratch);
    /* Groups of panels that a kernel takes together stay together. */
    const int64_t work = t.args.panel * (1 + t.args.m / 4) + 1, grain = (GRAIN / work + 8) / 8 * 8;
    if (t.args.m > 0) tensor_parallel(panels_of(w), grain, some_panels, &t);
    tensor_touch(out);
    return true;
}

/* ---- Look-ups ----------------------------------------------------------------------------------- */

static void gather_column(const tensor_compact *w, int64_t j, float *out) {
    const char *panel = (const char *)w->data + j / LANES * panel_bytes(w);
    for (int64_t p = 0; p < w->in && w->precision == TENSOR_BFLOAT16; p++)
        out[p] = of_bf16(((const uint16_t *)(const void *)panel)[place_of(p, j % LANES)]);
    for (int64_t p = 0; p < w->in && w->precision == TENSOR_INT8; p++) {
        const char *block = panel + p / BLOCK * COMPACT_BLOCK_BYTES;
        uint16_t scale;
        memcpy(&scale, block + BLOCK * LANES + j % LANES * 2, sizeof scale);
        out[p] = (float)((const int8_t *)block)[place_of(p % BLOCK, j % LANES)] * of_bf16(scale);
    }
}

bool tensor_compact_gather(tensor out, const tensor_compact *w, tensor ids, tensor_error *err) {
    if (!tensor_expect("gather_rows", "ids", &ids, TENSOR_I32, err) ||
        !tensor_expect("gather_rows", "out", &out, TENSOR_F32, err))
        return false;
    if (!tensor_dense(&ids) || !tensor_dense(&out) || tensor_size(out) != tensor_size(ids) * w->in)
        return tensor_fail(err,
                           "gather_rows: with a compact table ids and out are contiguous, a row for each id");
    for (int64_t i = 0; i < tensor_size(ids); i++) {
        const int32_t id = ids.i32[i];
        if (id < 0 || id >= w->out)
            return tensor_fail(err, "gather_rows: id %d is outside of 0..%lld", id, (long long)w->out - 1);
        gather_column(w, id, out.f32 + i * w->in);
    }
    tensor_touch(out);
    return true;
}
