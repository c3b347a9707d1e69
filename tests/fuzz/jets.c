#include "tests/fuzz/jets.h"

#include <math.h>

enum { TAME = 1000 };

/* ---- Numbers -------------------------------------------------------------------------------- */

static jet_number add(jet_number a, jet_number b) {
    return (jet_number){a.value + b.value, a.size + b.size};
}

static jet_number mul(jet_number a, jet_number b) {
    return (jet_number){a.value * b.value, a.size * b.size};
}

static jet jet_add(jet a, jet b) {
    return (jet){{add(a.d[0], b.d[0]), add(a.d[1], b.d[1]), add(a.d[2], b.d[2])}};
}

static jet jet_mul(jet a, jet b) {
    const jet_number middle = mul(a.d[1], b.d[1]);
    return (jet){{mul(a.d[0], b.d[0]), add(mul(a.d[0], b.d[1]), mul(a.d[1], b.d[0])),
                  add(add(mul(a.d[0], b.d[2]), mul(a.d[2], b.d[0])), add(middle, middle))}};
}

/* ---- Functions ------------------------------------------------------------------------------ */

static void polynomial(double g[4], double a, double b, double c, double d) {
    g[0] = a, g[1] = b, g[2] = c, g[3] = d;
}

/* x^p and its derivatives. */
static void power(double g[4], double x, double p) {
    polynomial(g, pow(x, p), p * pow(x, p - 1), p * (p - 1) * pow(x, p - 2),
               p * (p - 1) * (p - 2) * pow(x, p - 3));
}

static void sigmoid(double s[4], double x) {
    const double y = 1 / (1 + exp(-x)), z = y * (1 - y);
    polynomial(s, y, z, z * (1 - 2 * y), z * (1 - 6 * z));
}

/* g becomes f and its first three derivatives at x. False where it is not smooth there. */
static bool derivatives(double g[4], double x, jet_function f, double p, double q) {
    const double far = 0.05, e = exp(x), s = sin(x), c = cos(x),
                 density = exp(-x * x / 2) / 2.5066282746310005;
    double t[4];
    switch (f) {
    case JET_AFFINE:
        polynomial(g, p * x + q, p, 0, 0);
        return true;
    case JET_EXP:
        polynomial(g, e, e, e, e);
        return true;
    case JET_EXPM1:
        polynomial(g, expm1(x), e, e, e);
        return true;
    case JET_LOG:
        polynomial(g, log(x), 1 / x, -1 / (x * x), 2 / (x * x * x));
        return x > 1e-4;
    case JET_LOG1P:
        polynomial(g, log1p(x), 1 / (1 + x), -1 / ((1 + x) * (1 + x)), 2 / pow(1 + x, 3));
        return x > far - 1;
    case JET_SQRT:
        power(g, x, 0.5);
        return x > far;
    case JET_RSQRT:
        power(g, x, -0.5);
        return x > far;
    case JET_SQUARE:
        polynomial(g, x * x, 2 * x, 2, 0);
        return true;
    case JET_RECIPROCAL:
        power(g, x, -1);
        return fabs(x) > far;
    case JET_ABS:
        polynomial(g, fabs(x), x > 0 ? 1 : -1, 0, 0);
        return fabs(x) > far;
    case JET_SIN:
        polynomial(g, s, c, -s, -c);
        return true;
    case JET_COS:
        polynomial(g, c, -s, -c, s);
        return true;
    case JET_TANH: {
        const double y = tanh(x), z = 1 - y * y;
        polynomial(g, y, z, -2 * y * z, z * (6 * y * y - 2));
        return true;
    }
    case JET_ERF: {
        const double d = 1.1283791670955126 * exp(-x * x);
        polynomial(g, erf(x), d, -2 * x * d, (4 * x * x - 2) * d);
        return true;
    }
    case JET_SIGMOID:
        sigmoid(g, x);
        return true;
    case JET_SOFTPLUS:
        sigmoid(t, x);
        polynomial(g, log1p(exp(-fabs(x))) + fmax(x, 0), t[0], t[1], t[2]);
        return true;
    case JET_GELU: {
        const double below = 0.5 * (1 + erf(x * 0.70710678118654752));
        polynomial(g, x * below, below + x * density, density * (2 - x * x), density * x * (x * x - 4));
        return true;
    }
    case JET_SILU:
        sigmoid(t, x);
        polynomial(g, x * t[0], t[0] + x * t[1], 2 * t[1] + x * t[2], 3 * t[2] + x * t[3]);
        return true;
    case JET_LEAKY:
        polynomial(g, x > 0 ? x : p * x, x > 0 ? 1 : p, 0, 0);
        return fabs(x) > far;
    case JET_ELU:
        if (x > 0)
            polynomial(g, x, 1, 0, 0);
        else
            polynomial(g, p * expm1(x), p * e, p * e, p * e);
        return fabs(x) > far;
    case JET_CLAMP:
        polynomial(g, fmin(fmax(x, p), q), x > p && x < q, 0, 0);
        return fabs(x - p) > far && fabs(x - q) > far;
    case JET_STEP:
        polynomial(g, x > 0 ? 1 : -1, 0, 0, 0);
        return fabs(x) > far;
    }
    return false;
}

/* ---- Arrays --------------------------------------------------------------------------------- */

int64_t jets_size(const jets *a) {
    int64_t size = 1;
    for (int i = 0; i < a->rank; i++) size *= a->shape[i];
    return size;
}

bool jets_ok(const jets *a) {
    if (a->rank < 0 || jets_size(a) > JET_MOST) return false;
    for (int64_t i = 0; i < jets_size(a); i++)
        for (int k = 0; k < 3; k++)
            if (!(a->x[i].d[k].size < (k ? 1e4 * TAME : TAME))) return false;
    return true;
}

void jets_map(jets *out, const jets *a, jet_function f, double p, double q) {
    out->rank = a->rank;
    for (int i = 0; i < a->rank; i++) out->shape[i] = a->shape[i];
    for (int64_t i = 0; a->rank >= 0 && i < jets_size(a); i++) {
        double g[4];
        jet_number n[3];
        const jet_number *x = a->x[i].d;
        if (!derivatives(g, x[0].value, f, p, q)) {
            out->rank = -1;
            return;
        }
        for (int k = 0; k < 3; k++) n[k] = (jet_number){g[k], fabs(g[k]) + fabs(g[k + 1]) * x[0].size};
        out->x[i] = (jet){{n[0], mul(n[1], x[1]), add(mul(n[2], mul(x[1], x[1])), mul(n[1], x[2]))}};
    }
}

/* The index of an array's element that broadcasts to element i of out. */
static int64_t below(const jets *a, const jets *out, int64_t i) {
    int64_t index = 0, step = 1;
    for (int axis = out->rank - 1; axis >= 0; axis--) {
        const int own = axis - (out->rank - a->rank);
        const int64_t at = i % out->shape[axis];
        i /= out->shape[axis];
        if (own < 0) continue;
        if (a->shape[own] > 1) index += at * step;
        step *= a->shape[own];
    }
    return index;
}

static void broadcast(jets *out, const jets *a, const jets *b) {
    out->rank = a->rank < 0 || b->rank < 0 ? -1 : a->rank > b->rank ? a->rank : b->rank;
    for (int i = 1; i <= out->rank; i++) {
        const int64_t m = i > a->rank ? 1 : a->shape[a->rank - i],
                      n = i > b->rank ? 1 : b->shape[b->rank - i];
        out->shape[out->rank - i] = m > n ? m : n;
    }
    if (jets_size(out) > JET_MOST) out->rank = -1;
}

void jets_add(jets *out, const jets *a, const jets *b) {
    broadcast(out, a, b);
    for (int64_t i = 0; out->rank >= 0 && i < jets_size(out); i++)
        out->x[i] = jet_add(a->x[below(a, out, i)], b->x[below(b, out, i)]);
}

void jets_mul(jets *out, const jets *a, const jets *b) {
    broadcast(out, a, b);
    for (int64_t i = 0; out->rank >= 0 && i < jets_size(out); i++)
        out->x[i] = jet_mul(a->x[below(a, out, i)], b->x[below(b, out, i)]);
}

/* Whether x is larger than y, or smaller; *clear becomes false where they are close. */
static bool beyond(jet x, jet y, bool least, bool *clear) {
    const double difference = x.d[0].value - y.d[0].value;
    if (fabs(difference) < 0.01) *clear = false;
    return (difference < 0) == least;
}

void jets_max(jets *out, const jets *a, const jets *b, bool least) {
    bool clear = true;
    broadcast(out, a, b);
    for (int64_t i = 0; out->rank >= 0 && i < jets_size(out); i++) {
        const jet x = a->x[below(a, out, i)], y = b->x[below(b, out, i)];
        out->x[i] = beyond(x, y, least, &clear) ? x : y;
    }
    if (!clear) out->rank = -1;
}

/* The shape without the axes, each of which stays with size 1. */
static void reduced(jets *out, const jets *a, unsigned axes) {
    out->rank = a->rank;
    for (int i = 0; i < a->rank; i++) out->shape[i] = axes >> i & 1 ? 1 : a->shape[i];
    for (int64_t i = 0; a->rank >= 0 && i < jets_size(out); i++) out->x[i] = (jet){0};
}

void jets_sum(jets *out, const jets *a, unsigned axes) {
    reduced(out, a, axes);
    for (int64_t i = 0; a->rank >= 0 && i < jets_size(a); i++) {
        jet *sum = &out->x[below(out, a, i)];
        *sum = jet_add(*sum, a->x[i]);
    }
}

/* Not tame where the product of some of the elements leaves float32's range: which ones are multiplied first is free. */
void jets_product(jets *out, const jets *a, unsigned axes) {
    double most[JET_MOST], least[JET_MOST];
    bool within = true;
    reduced(out, a, axes);
    for (int64_t i = 0; a->rank >= 0 && i < jets_size(out); i++) {
        out->x[i].d[0] = (jet_number){1, 1};
        most[i] = least[i] = 1;
    }
    for (int64_t i = 0; a->rank >= 0 && i < jets_size(a); i++) {
        const int64_t at = below(out, a, i);
        const double size = fabs(a->x[i].d[0].value);
        most[at] *= fmax(size, 1);
        least[at] *= fmin(size, 1);
        within = within && most[at] < 1e37 && least[at] > 1e-37;
        out->x[at] = jet_mul(out->x[at], a->x[i]);
    }
    if (!within) out->rank = -1;
}

void jets_max_over(jets *out, const jets *a, unsigned axes, bool least) {
    bool found[JET_MOST] = {false}, clear = true;
    reduced(out, a, axes);
    for (int64_t i = 0; i < jets_size(a); i++) {
        const int64_t at = below(out, a, i);
        if (!found[at] || beyond(a->x[i], out->x[at], least, &clear)) out->x[at] = a->x[i];
        found[at] = true;
    }
    if (!clear) out->rank = -1;
}

void jets_matmul(jets *out, const jets *a, const jets *b, bool transposed) {
    jets batches_a = *a, batches_b = *b;
    out->rank = -1;
    if (a->rank < 2 || b->rank < 2) return;
    const int64_t m = a->shape[a->rank - 2], inner = a->shape[a->rank - 1],
                  n = b->shape[b->rank - (transposed ? 2 : 1)];
    batches_a.rank -= 2;
    batches_b.rank -= 2;
    broadcast(out, &batches_a, &batches_b);
    if (out->rank < 0) return;
    const int64_t count = jets_size(out);
    jets batches = *out;
    out->rank = batches.rank + 2;
    out->shape[batches.rank] = m;
    out->shape[batches.rank + 1] = n;
    if (jets_size(out) > JET_MOST) {
        out->rank = -1;
        return;
    }
    for (int64_t i = 0; i < count * m * n; i++) {
        const int64_t batch = i / (m * n), row = i / n % m, column = i % n;
        const jet *x = a->x + (below(&batches_a, &batches, batch) * m + row) * inner;
        const jet *y = b->x + below(&batches_b, &batches, batch) * inner * n;
        jet sum = {0};
        for (int64_t k = 0; k < inner; k++)
            sum = jet_add(sum, jet_mul(x[k], y[transposed ? column * inner + k : k * n + column]));
        out->x[i] = sum;
    }
}

void jets_view(jets *out, const jets *a, int64_t start, const int64_t *stride) {
    const int64_t size = jets_size(out);
    for (int64_t i = 0; i < size; i++) {
        int64_t at = start, rest = i;
        for (int axis = out->rank - 1; axis >= 0; axis--) {
            at += rest % out->shape[axis] * stride[axis];
            rest /= out->shape[axis];
        }
        out->x[i] = a->x[at];
    }
}
