/* Optimizer updates over flat memory. */
#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 };

static const struct {
    const char *name;
    int states;
} rules[] = {
#define ENTRY(rule, text, states) {text, states},
    TENSOR_UPDATE_RULES(ENTRY)
#undef ENTRY
};

int tensor_update_states(tensor_update_rule rule) {
    return rules[rule].states;
}

typedef struct update_job {
    tensor_update_rule rule;
    float *p, *a, *b;
    const float *g;
    const tensor_update_step *step;
} update_job;

static void update_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const update_job *t = context;
    const int states = rules[t->rule].states;
    tensor_kernels_get()->update[t->rule](end - begin, t->p + begin, states > 0 ? t->a + begin : t->p,
                                          states > 1 ? t->b + begin : t->p, t->g + begin, t->step);
}

bool tensor_update(tensor_update_rule rule, tensor p, tensor a, tensor b, tensor g,
                   const tensor_update_step *step, tensor_error *err) {
    const tensor all[] = {p, g, a, b};
    const char *const names[] = {"p", "g", "a", "b"}, *what = rules[rule].name;
    for (int k = 0; k < 2 + rules[rule].states; k++) {
        if (!tensor_expect(what, names[k], &all[k], TENSOR_F32, err) ||
            !tensor_expect_shape(what, names[k], &all[k], p.rank, p.shape, err))
            return false;
        if (!tensor_is_contiguous(all[k]))
            return tensor_fail(err, "%s: %s is not contiguous", what, names[k]);
    }
    update_job t = {rule, p.f32, a.f32, b.f32, g.f32, step};
    tensor_parallel(tensor_size(p), GRAIN, update_range, &t);
    tensor_touch(p);
    if (rules[rule].states > 0) tensor_touch(a);
    if (rules[rule].states > 1) tensor_touch(b);
    return true;
}
