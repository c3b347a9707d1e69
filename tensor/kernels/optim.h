/* Optimizer updates, one sweep over the parameters: each rule is a function of one vector. */
#ifndef SAMPO_TENSOR_OPTIM_H
#define SAMPO_TENSOR_OPTIM_H

#include "tensor/kernels/elementwise.h"

/* What the rules multiply by, from the step's numbers in double. */
typedef struct update_factors {
    float keep, beta1, lerp1, beta2, lerp2, step, rate, inverse_root_bias2, eps, decay;
} update_factors;

static update_factors update_factors_of(const tensor_update_step *step) {
    return (update_factors){
        .keep = (float)(1.0 - step->rate * step->decay),
        .beta1 = (float)step->beta1,
        .lerp1 = (float)(1.0 - step->beta1),
        .beta2 = (float)step->beta2,
        .lerp2 = (float)(1.0 - step->beta2),
        .step = (float)step->rate,
        .rate = (float)(step->rate / step->bias1),
        .inverse_root_bias2 = (float)(1.0 / __builtin_sqrt(step->bias2)),
        .eps = (float)step->eps,
        .decay = (float)step->decay,
    };
}

/* One vector's worth; p and the states a and b are read and written. As in PyTorch, no gradient of less than 1e20
 * overflows where it is squared: its square is never without its factor, nor is b taken up again before the root. */
typedef void update_rule(const update_factors *f, vec *p, vec *a, vec *b, vec g);

/* The gradient with L2's. */
static inline vec update_decayed(const update_factors *f, vec p, vec g) {
    return vec_fma(vec_splat(f->decay), p, g);
}

static inline void update_SGD(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    (void)a, (void)b;
    *p = vec_fma(vec_splat(-f->step), update_decayed(f, *p, g), *p);
}

static inline void update_MOMENTUM(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    (void)b;
    *a = vec_fma(vec_splat(f->beta1), *a, update_decayed(f, *p, g));
    *p = vec_fma(vec_splat(-f->step), *a, *p);
}

/* b = beta2 b + (1 - beta2) g g. */
static inline vec update_square(const update_factors *f, vec b, vec g) {
    const vec lerp2 = vec_splat(f->lerp2);
    return vec_fma(lerp2 * g, g, vec_fma(-lerp2, b, b));
}

static inline void update_ADAMW(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    *a = vec_fma(g - *a, vec_splat(f->lerp1), *a);
    *b = update_square(f, *b, g);
    const vec deviation = vec_fma(vec_sqrt(*b), vec_splat(f->inverse_root_bias2), vec_splat(f->eps));
    const vec update = (*a * vec_splat(f->rate)) / deviation;
    *p = vec_fma(*p, vec_splat(f->keep), -update);
}

static inline void update_ADAM(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    update_factors kept = *f;
    kept.keep = 1;
    update_ADAMW(&kept, p, a, b, update_decayed(f, *p, g));
}

static inline void update_RMSPROP(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    (void)b;
    g = update_decayed(f, *p, g);
    *a = update_square(f, *a, g);
    *p -= vec_splat(f->step) * g / (vec_sqrt(*a) + vec_splat(f->eps));
}

static inline void update_RMSPROP_MOMENTUM(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    g = update_decayed(f, *p, g);
    *a = update_square(f, *a, g);
    *b = vec_fma(vec_splat(f->beta1), *b, g / (vec_sqrt(*a) + vec_splat(f->eps)));
    *p = vec_fma(vec_splat(-f->step), *b, *p);
}

static inline void update_ADAGRAD(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    (void)b;
    g = update_decayed(f, *p, g);
    *a = vec_fma(g, g, *a);
    *p -= vec_splat(f->step) * g / (vec_sqrt(*a) + vec_splat(f->eps));
}

static inline void update_LION(const update_factors *f, vec *p, vec *a, vec *b, vec g) {
    (void)b;
    const vec direction = vec_sign(vec_fma(g - *a, vec_splat(f->lerp1), *a));
    *p = vec_fma(vec_splat(-f->step), direction, *p * vec_splat(f->keep));
    *a = vec_fma(g - *a, vec_splat(f->lerp2), *a);
}

static inline __attribute__((always_inline)) void update_vector(update_rule *rule, const int states,
                                                                const update_factors *f, float *p, float *a,
                                                                float *b, const float *g, int64_t part) {
    const bool full = part >= VEC_WIDTH;
    vec vp = full ? vec_load(p) : vec_load_part(p, part), vg = full ? vec_load(g) : vec_load_part(g, part);
    vec va = vp, vb = vp;
    if (states > 0) va = full ? vec_load(a) : vec_load_part(a, part);
    if (states > 1) vb = full ? vec_load(b) : vec_load_part(b, part);
    rule(f, &vp, &va, &vb, vg);
    if (full)
        vec_store(p, vp);
    else
        vec_store_part(p, vp, part);
    if (states > 0 && full) vec_store(a, va);
    if (states > 0 && !full) vec_store_part(a, va, part);
    if (states > 1 && full) vec_store(b, vb);
    if (states > 1 && !full) vec_store_part(b, vb, part);
}

static inline __attribute__((always_inline)) void update_all(update_rule *rule, const int states, int64_t n,
                                                             float *p, float *a, float *b, const float *g,
                                                             const tensor_update_step *step) {
    const update_factors f = update_factors_of(step);
    int64_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
        update_vector(rule, states, &f, p + i, a + i, b + i, g + i, VEC_WIDTH);
    if (i < n) update_vector(rule, states, &f, p + i, a + i, b + i, g + i, n - i);
}

#define UPDATE(rule, text, states)                                                                           \
    static void updates_##rule(int64_t n, float *p, float *a, float *b, const float *g,                      \
                               const tensor_update_step *step) {                                             \
        update_all(update_##rule, states, n, p, a, b, g, step);                                              \
    }
TENSOR_UPDATE_RULES(UPDATE)
#undef UPDATE

#endif
