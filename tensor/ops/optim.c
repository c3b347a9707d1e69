/* Optimizer updates over flat memory. */
#include "tensor/kernels/kernels.h"
#include "tensor/tensor_internal.h"

enum { GRAIN = 16384 };

typedef struct adamw_job {
    float *p, *m, *v;
    const float *g;
    const tensor_adamw_step *step;
} adamw_job;

static void adamw_range(void *context, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const adamw_job *t = context;
    tensor_kernels_get()->adamw(end - begin, t->p + begin, t->m + begin, t->v + begin, t->g + begin, t->step);
}

bool tensor_adamw(tensor p, tensor m, tensor v, tensor g, const tensor_adamw_step *step, tensor_error *err) {
    const tensor all[] = {p, m, v, g};
    const char *const names[] = {"p", "m", "v", "g"};
    for (int k = 0; k < 4; k++) {
        if (!tensor_expect("adamw", names[k], &all[k], TENSOR_F32, err) ||
            !tensor_expect_shape("adamw", names[k], &all[k], p.rank, p.shape, err))
            return false;
        if (!tensor_is_contiguous(all[k])) return tensor_fail(err, "adamw: %s is not contiguous", names[k]);
    }
    adamw_job t = {p.f32, m.f32, v.f32, g.f32, step};
    tensor_parallel(tensor_size(p), GRAIN, adamw_range, &t);
    tensor_touch(p);
    tensor_touch(m);
    tensor_touch(v);
    return true;
}
