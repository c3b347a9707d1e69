/* Initialisers: how new parameters are filled. */
#include <math.h>

#include "nn/params/params.h"

/* Numbers that a unit sums, and units that read one. */
static bool fans_of(tensor value, nn_form form, double *in, double *out, tensor_error *err) {
    if (value.rank < 2)
        return tensor_fail(err, "a parameter of rank %d has no fan; an initialiser without one is possible",
                           value.rank);
    const bool out_first = value.rank > 2 || form == NN_OUT_IN;
    *in = (double)value.shape[out_first];
    *out = (double)value.shape[!out_first];
    for (int i = 2; i < value.rank; i++) *in *= (double)value.shape[i], *out *= (double)value.shape[i];
    return true;
}

/* Numbers are drawn in runs; what is too far from 0 is left out. */
static bool fill_truncated(tensor value, double deviation, tensor_rng rng, tensor_error *err) {
    enum { RUN = 256, FAR = 2 };
    float run[RUN];
    tensor_storage memory = {run, sizeof run, 0};
    const tensor drawn = tensor_wrap(&memory, TENSOR_F32, TENSOR_SHAPE(RUN), err);
    for (int64_t at = 0, size = tensor_size(value); at < size;) {
        if (!tensor_rand_normal(drawn, &rng, 0, 1, err)) return false;
        for (int i = 0; i < RUN && at < size; i++)
            if (run[i] >= -FAR && run[i] <= FAR) value.f32[at++] = (float)(deviation * (double)run[i]);
    }
    return true;
}

static double dot(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* Gram and Schmidt's way in double, each vector twice, after which it is orthogonal to all before it (Giraud et al.
 * 2005). Vectors of normal numbers have no direction that is likelier than others. */
static bool make_orthogonal(double *vectors, int64_t count, int64_t n, tensor_error *err) {
    for (int64_t k = 0; k < count; k++) {
        double *x = vectors + k * n;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < k; j++) {
                const double *y = vectors + j * n, share = dot(x, y, n);
                for (int64_t i = 0; i < n; i++) x[i] -= share * y[i];
            }
        const double length = sqrt(dot(x, x, n));
        if (!(length > 0)) return tensor_fail(err, "orthogonal: a vector is 0");
        for (int64_t i = 0; i < n; i++) x[i] /= length;
    }
    return true;
}

static bool fill_orthogonal(tensor value, double gain, tensor_rng rng, tensor_error *err) {
    double in, out;
    if (!fans_of(value, NN_NUMBERS, &in, &out, err)) return false;
    const int64_t rows = value.shape[0], columns = tensor_size(value) / rows;
    const bool by_rows = rows <= columns;
    const int64_t count = by_rows ? rows : columns, n = by_rows ? columns : rows;
    tensor_arena *room = tensor_arena_new(err);
    double *vectors = room ? tensor_arena_alloc(room, (size_t)(count * n) * sizeof *vectors, err) : NULL;
    bool done = vectors && tensor_rand_normal(value, &rng, 0, 1, err);
    for (int64_t i = 0; done && i < count * n; i++) vectors[i] = (double)value.f32[i];
    done = done && make_orthogonal(vectors, count, n, err);
    for (int64_t k = 0; done && k < count; k++)
        for (int64_t i = 0; i < n; i++)
            value.f32[by_rows ? k * columns + i : i * columns + k] = (float)(gain * vectors[k * n + i]);
    tensor_arena_free(room);
    return done;
}

bool nn_fill(tensor value, nn_init init, nn_form form, tensor_rng rng, tensor_error *err) {
    const double gain = (double)init.a;
    double in = 0, out = 0;
    const bool by_fan = init.kind >= NN_INIT_XAVIER_UNIFORM && init.kind <= NN_INIT_KAIMING_NORMAL;
    if (by_fan && !fans_of(value, form, &in, &out, err)) return false;
    const double both = in + out, one = init.b != 0 ? out : in;
    switch (init.kind) {
    case NN_INIT_VALUE:
        return tensor_fill(value, (double)init.a, err);
    case NN_INIT_UNIFORM:
        return tensor_rand_uniform(value, &rng, init.a, init.b, err);
    case NN_INIT_NORMAL:
        return tensor_rand_normal(value, &rng, init.a, init.b, err);
    case NN_INIT_TRUNCATED:
        return fill_truncated(value, (double)init.b, rng, err);
    case NN_INIT_XAVIER_UNIFORM:
        return nn_fill(value, NN_UNIFORM(gain * sqrt(6 / both)), form, rng, err);
    case NN_INIT_XAVIER_NORMAL:
        return nn_fill(value, NN_NORMAL(gain * sqrt(2 / both)), form, rng, err);
    case NN_INIT_KAIMING_UNIFORM:
        return nn_fill(value, NN_UNIFORM(gain * sqrt(3 / one)), form, rng, err);
    case NN_INIT_KAIMING_NORMAL:
        return nn_fill(value, NN_NORMAL(gain * sqrt(1 / one)), form, rng, err);
    case NN_INIT_ORTHOGONAL:
        return fill_orthogonal(value, gain, rng, err);
    }
    return tensor_fail(err, "unknown initialiser %d", (int)init.kind);
}
