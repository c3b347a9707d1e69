/* Optimizer updates, one sweep over the parameters. */
#ifndef SAMPO_TENSOR_OPTIM_H
#define SAMPO_TENSOR_OPTIM_H

#include "tensor/kernels/math.h"

/* What AdamW multiplies by, from the step's numbers in double. */
typedef struct adamw_factors {
    float keep, lerp1, lerp2, rate, inverse_root_bias2, eps;
} adamw_factors;

/* One vector's worth; p, m and v are read and written. As in PyTorch, no gradient of less than 1e20 overflows: its
 * square is never without its factor, nor is v taken up again before the root. */
static inline void adamw_vec(const adamw_factors *f, vec *p, vec *m, vec *v, vec g) {
    const vec lerp2 = vec_splat(f->lerp2);
    *m = vec_fma(g - *m, vec_splat(f->lerp1), *m);
    *v = vec_fma(lerp2 * g, g, vec_fma(-lerp2, *v, *v));
    const vec deviation = vec_fma(vec_sqrt(*v), vec_splat(f->inverse_root_bias2), vec_splat(f->eps));
    const vec update = (*m * vec_splat(f->rate)) / deviation;
    *p = vec_fma(*p, vec_splat(f->keep), -update);
}

static void adamw(int64_t n, float *p, float *m, float *v, const float *g, const tensor_adamw_step *step) {
    const adamw_factors f = {
        .keep = (float)(1.0 - (double)step->rate * (double)step->decay),
        .lerp1 = (float)(1.0 - (double)step->beta1),
        .lerp2 = (float)(1.0 - (double)step->beta2),
        .rate = (float)((double)step->rate / (double)step->bias1),
        .inverse_root_bias2 = (float)(1.0 / __builtin_sqrt(step->bias2)),
        .eps = (float)step->eps,
    };
    for (int64_t i = 0; i < n; i += VEC_WIDTH) {
        const int64_t part = n - i;
        if (part >= VEC_WIDTH) {
            vec vp = vec_load(p + i), vm = vec_load(m + i), vv = vec_load(v + i);
            adamw_vec(&f, &vp, &vm, &vv, vec_load(g + i));
            vec_store(p + i, vp);
            vec_store(m + i, vm);
            vec_store(v + i, vv);
        } else {
            vec vp = vec_load_part(p + i, part), vm = vec_load_part(m + i, part);
            vec vv = vec_load_part(v + i, part);
            adamw_vec(&f, &vp, &vm, &vv, vec_load_part(g + i, part));
            vec_store_part(p + i, vp, part);
            vec_store_part(m + i, vm, part);
            vec_store_part(v + i, vv, part);
        }
    }
}

#endif
