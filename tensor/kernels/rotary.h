/* One row of pairs, each turned by its angle. */
#ifndef SAMPO_TENSOR_ROTARY_H
#define SAMPO_TENSOR_ROTARY_H

#include "tensor/kernels/kernels.h"
#include "tensor/kernels/lanes.h"

static inline lanes load_steps(const float *x, int64_t step, int64_t count) {
    if (step == 1) return lanes_load_some(x, count, 0);
    float pad[LANES] = {0};
    for (int64_t i = 0; i < count; i++) pad[i] = x[i * step];
    return lanes_load(pad);
}

static inline void store_steps(float *out, int64_t step, lanes x, int64_t count) {
    if (step == 1) {
        lanes_store_some(out, x, count);
    } else {
        float pad[LANES];
        lanes_store(pad, x);
        for (int64_t i = 0; i < count; i++) out[i * step] = pad[i];
    }
}

/* Both halves of sixteen pairs are read before one is written: out may be x. The steps are constants where this is
 * inlined for the usual ones. */
static inline __attribute__((always_inline)) void
rotary_steps(const rotary_args *t, int64_t out_step, int64_t x_step, int64_t cos_step, int64_t sin_step) {
    const vec sign = vec_splat(t->sign);
    EACH_LANES(t->n, i, count, {
        const float *x = t->x + i * x_step;
        float *out = t->out + i * out_step;
        const lanes a = load_steps(x, x_step, count), b = load_steps(x + t->x_apart, x_step, count);
        const lanes cos = load_steps(t->cos + i * cos_step, cos_step, count);
        const lanes sin = load_steps(t->sin + i * sin_step, sin_step, count);
        lanes first, second;
        for (int v = 0; v < LANE_VECS; v++) {
            const vec s = sin.v[v] * sign;
            first.v[v] = a.v[v] * cos.v[v] - b.v[v] * s;
            second.v[v] = b.v[v] * cos.v[v] + a.v[v] * s;
        }
        store_steps(out, out_step, first, count);
        store_steps(out + t->out_apart, out_step, second, count);
    });
}

static void rotary_row(const rotary_args *t) {
    const bool alike = t->out_step == t->x_step && t->cos_step == 1 && t->sin_step == 1;
    if (alike && t->x_step == 1)
        rotary_steps(t, 1, 1, 1, 1);
    else if (alike && t->x_step == 2)
        rotary_steps(t, 2, 2, 1, 1);
    else
        rotary_steps(t, t->out_step, t->x_step, t->cos_step, t->sin_step);
}

#endif
