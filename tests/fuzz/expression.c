#include "tests/fuzz/expression.h"

#include <math.h>
#include <string.h>

static const operand *choose(expression *e) {
    return &e->operands[e->count - 1 - expression_byte(e, e->count)];
}

/* ---- Elementwise ---------------------------------------------------------------------------- */

static void unary(expression *e, operand *y) {
    static const struct {
        ag_var *(*f)(ag_var *);
        jet_function jet;
        double p, q;
    } table[] = {{ag_neg, JET_AFFINE, -1, 0},
                 {ag_exp, JET_EXP, 0, 0},
                 {ag_expm1, JET_EXPM1, 0, 0},
                 {ag_log, JET_LOG, 0, 0},
                 {ag_log1p, JET_LOG1P, 0, 0},
                 {ag_sqrt, JET_SQRT, 0, 0},
                 {ag_rsqrt, JET_RSQRT, 0, 0},
                 {ag_square, JET_SQUARE, 0, 0},
                 {ag_reciprocal, JET_RECIPROCAL, 0, 0},
                 {ag_abs, JET_ABS, 0, 0},
                 {ag_sin, JET_SIN, 0, 0},
                 {ag_cos, JET_COS, 0, 0},
                 {ag_tanh, JET_TANH, 0, 0},
                 {ag_erf, JET_ERF, 0, 0},
                 {ag_sigmoid, JET_SIGMOID, 0, 0},
                 {ag_softplus, JET_SOFTPLUS, 0, 0},
                 {ag_relu, JET_LEAKY, 0, 0},
                 {ag_gelu, JET_GELU, 0, 0},
                 {ag_silu, JET_SILU, 0, 0},
                 {ag_sign, JET_STEP, 0, 0}};
    const int i = (int)expression_byte(e, sizeof table / sizeof *table);
    const operand *x = choose(e);
    jets_map(&y->jets, &x->jets, table[i].jet, table[i].p, table[i].q);
    y->var = table[i].f(x->var);
}

static void with_numbers(expression *e, operand *y) {
    const operand *x = choose(e);
    const float p = (float)expression_byte(e, 16) / 8 - 1, q = p + 0.5f;
    switch (expression_byte(e, 4)) {
    case 0:
        y->var = ag_affine(x->var, p, q), jets_map(&y->jets, &x->jets, JET_AFFINE, p, q);
        break;
    case 1:
        y->var = ag_leaky_relu(x->var, p), jets_map(&y->jets, &x->jets, JET_LEAKY, p, 0);
        break;
    case 2:
        y->var = ag_elu(x->var, p), jets_map(&y->jets, &x->jets, JET_ELU, p, 0);
        break;
    default:
        y->var = ag_clamp(x->var, p, q), jets_map(&y->jets, &x->jets, JET_CLAMP, p, q);
    }
}

/* Whether two shapes broadcast. */
static bool fit(const jets *a, const jets *b) {
    for (int i = 1; i <= a->rank && i <= b->rank; i++) {
        const int64_t m = a->shape[a->rank - i], n = b->shape[b->rank - i];
        if (m != n && m != 1 && n != 1) return false;
    }
    return true;
}

static void binary(expression *e, operand *y) {
    static jets other;
    const operand *a = choose(e), *b = choose(e);
    const int64_t which = expression_byte(e, 6);
    if (!fit(&a->jets, &b->jets)) return;
    if (which == 1) jets_map(&other, &b->jets, JET_AFFINE, -1, 0);
    if (which == 3) jets_map(&other, &b->jets, JET_RECIPROCAL, 0, 0);
    if ((which == 1 || which == 3) && !jets_ok(&other)) return;
    switch (which) {
    case 0:
        y->var = ag_add(a->var, b->var), jets_add(&y->jets, &a->jets, &b->jets);
        break;
    case 1:
        y->var = ag_sub(a->var, b->var), jets_add(&y->jets, &a->jets, &other);
        break;
    case 2:
        y->var = ag_mul(a->var, b->var), jets_mul(&y->jets, &a->jets, &b->jets);
        break;
    case 3:
        y->var = ag_div(a->var, b->var), jets_mul(&y->jets, &a->jets, &other);
        break;
    case 4:
        y->var = ag_max(a->var, b->var), jets_max(&y->jets, &a->jets, &b->jets, false);
        break;
    default:
        y->var = ag_min(a->var, b->var), jets_max(&y->jets, &a->jets, &b->jets, true);
    }
}

/* ---- Reductions ----------------------------------------------------------------------------- */

static double count_of(const jets *a, unsigned axes) {
    double count = 1;
    for (int i = 0; i < a->rank; i++) count *= axes >> i & 1 ? (double)a->shape[i] : 1;
    return count;
}

/* x minus its mean over the axes. */
static void centred(jets *out, const jets *x, unsigned axes) {
    static jets sum, mean;
    jets_sum(&sum, x, axes);
    jets_map(&mean, &sum, JET_AFFINE, -1 / count_of(x, axes), 0);
    jets_add(out, x, &mean);
}

/* The mean of the squares. */
static void mean_squares(jets *out, const jets *x, unsigned axes, double count) {
    static jets square, sum;
    jets_map(&square, x, JET_SQUARE, 0, 0);
    jets_sum(&sum, &square, axes);
    jets_map(out, &sum, JET_AFFINE, 1 / count, 0);
}

static void log_sum_exp(jets *out, const jets *x, unsigned axes) {
    static jets power, sum;
    jets_map(&power, x, JET_EXP, 0, 0);
    jets_sum(&sum, &power, axes);
    jets_map(out, &sum, JET_LOG, 0, 0);
}

static void drop_axes(jets *a, unsigned axes) {
    int rank = 0;
    for (int i = 0; i < a->rank; i++)
        if (!(axes >> i & 1)) a->shape[rank++] = a->shape[i];
    if (a->rank >= 0) a->rank = rank;
}

static void reduction(expression *e, operand *y) {
    static jets some;
    const operand *x = choose(e);
    const jets *a = &x->jets;
    const unsigned axes = a->rank ? (unsigned)expression_byte(e, 1 << a->rank) : AG_ALL;
    const bool keep = expression_byte(e, 2);
    if (axes == 0) return;
    const double count = count_of(a, axes);
    switch (expression_byte(e, 8)) {
    case 0:
        y->var = ag_sum(x->var, axes, keep), jets_sum(&y->jets, a, axes);
        break;
    case 1:
        y->var = ag_mean(x->var, axes, keep);
        jets_sum(&some, a, axes);
        jets_map(&y->jets, &some, JET_AFFINE, 1 / count, 0);
        break;
    case 2:
        y->var = ag_sum_squares(x->var, axes, keep), mean_squares(&y->jets, a, axes, 1);
        break;
    case 3:
        y->var = ag_max_over(x->var, axes, keep), jets_max_over(&y->jets, a, axes, false);
        break;
    case 4:
        y->var = ag_min_over(x->var, axes, keep), jets_max_over(&y->jets, a, axes, true);
        break;
    case 5:
        jets_map(&some, a, JET_ABS, 0, 0); /* away from 0, as the header says */
        if (some.rank < 0) return;
        y->var = ag_product(x->var, axes, keep), jets_product(&y->jets, a, axes);
        break;
    case 6:
        y->var = ag_log_sum_exp(x->var, axes, keep), log_sum_exp(&y->jets, a, axes);
        break;
    default:
        if (count < 2) return;
        y->var = ag_variance(x->var, axes, 1, keep);
        centred(&some, a, axes);
        mean_squares(&y->jets, &some, axes, count - 1);
    }
    if (!keep) drop_axes(&y->jets, axes);
}

/* ---- Shape ---------------------------------------------------------------------------------- */

static void row_major(const jets *a, int64_t *stride) {
    for (int i = a->rank - 1, step = 1; i >= 0; step *= (int)a->shape[i--]) stride[i] = step;
}

static void view(expression *e, operand *y) {
    const operand *x = choose(e);
    const jets *a = &x->jets;
    int64_t stride[JET_RANK] = {0}, start = 0;
    row_major(a, stride);
    y->jets.rank = a->rank;
    memcpy(y->jets.shape, a->shape, sizeof a->shape);
    const int64_t which = expression_byte(e, 5);
    if (a->rank == 0) return;
    const int axis = (int)expression_byte(e, a->rank), other = (int)expression_byte(e, a->rank);
    const int64_t size = a->shape[axis], index = expression_byte(e, size), step = stride[axis];
    switch (which) {
    case 0:
        y->var = ag_transpose(x->var, axis, other);
        y->jets.shape[axis] = a->shape[other], y->jets.shape[other] = size;
        stride[axis] = stride[other], stride[other] = step;
        break;
    case 1: /* from index on */
        y->var = ag_slice(x->var, axis, index, size, 1 + other);
        y->jets.shape[axis] = (size - index + other) / (1 + other);
        start = index * step, stride[axis] *= 1 + other;
        break;
    case 2: /* backwards */
        y->var = ag_flip(x->var, AG_AXIS(axis));
        start = (size - 1) * step, stride[axis] = -step;
        break;
    case 3:
        y->var = ag_select(x->var, axis, index);
        start = index * step;
        y->jets.shape[axis] = 1;
        break;
    default: /* a new first axis of size 2 */
        if (a->rank == JET_RANK) return;
        y->jets.rank = a->rank + 1;
        y->jets.shape[0] = 2;
        memcpy(y->jets.shape + 1, a->shape, (size_t)a->rank * sizeof *a->shape);
        memmove(stride + 1, stride, (size_t)a->rank * sizeof *stride);
        stride[0] = 0;
        y->var = ag_expand(x->var, y->jets.rank, y->jets.shape);
    }
    if (jets_size(&y->jets) > JET_MOST) y->jets.rank = -1;
    if (y->jets.rank >= 0) jets_view(&y->jets, a, start, stride);
    if (which == 3) drop_axes(&y->jets, 1u << axis);
}

static void reshape(expression *e, operand *y) {
    const operand *x = choose(e);
    const int64_t size = jets_size(&x->jets), first = 1 + expression_byte(e, 6);
    const bool flat = size % first != 0;
    y->jets = x->jets;
    y->jets.rank = flat ? 1 : 2;
    y->jets.shape[0] = flat ? size : first;
    y->jets.shape[1] = size / first;
    y->var = ag_reshape(x->var, y->jets.rank, y->jets.shape);
}

/* Both along the first axis, the second being of the first's shape. */
static void join(expression *e, operand *y) {
    const operand *a = choose(e), *b = choose(e);
    const bool stack = expression_byte(e, 2);
    const int64_t size = jets_size(&a->jets);
    if (a->jets.rank != b->jets.rank || 2 * size > JET_MOST || a->jets.rank == (stack ? JET_RANK : 0)) return;
    if (memcmp(a->jets.shape, b->jets.shape, (size_t)a->jets.rank * sizeof *a->jets.shape) != 0) return;
    ag_var *const both[] = {a->var, b->var};
    y->jets = a->jets;
    memcpy(y->jets.x + size, b->jets.x, (size_t)size * sizeof *b->jets.x);
    if (stack) {
        memmove(y->jets.shape + 1, a->jets.shape, (size_t)a->jets.rank * sizeof *a->jets.shape);
        y->jets.rank++;
        y->jets.shape[0] = 2;
    } else {
        y->jets.shape[0] *= 2;
    }
    y->var = stack ? ag_stack(both, 2, 0) : ag_concat(both, 2, 0);
}

/* Parts along the first axis, by number, some twice. */
static void index_select(expression *e, operand *y) {
    const operand *x = choose(e);
    const jets *a = &x->jets;
    if (a->rank == 0) return;
    const int64_t count = 1 + expression_byte(e, 4), part = jets_size(a) / a->shape[0];
    const bool table = expression_byte(e, 2) && a->rank == 2;
    if (count * part > JET_MOST) return;
    const tensor ids = ag_tensor(x->var->tape, TENSOR_I32, TENSOR_SHAPE(count));
    y->jets.rank = a->rank;
    memcpy(y->jets.shape, a->shape, sizeof a->shape);
    y->jets.shape[0] = count;
    for (int64_t i = 0; i < count; i++) {
        ids.i32[i] = (int32_t)expression_byte(e, a->shape[0]);
        memcpy(y->jets.x + i * part, a->x + ids.i32[i] * part, (size_t)part * sizeof *a->x);
    }
    ag_var *numbers = ag_input(x->var->tape, ids);
    y->var = table ? ag_embedding(x->var, numbers) : ag_index_select(x->var, 0, numbers);
}

/* ---- Along an axis, and products ------------------------------------------------------------ */

/* What is added to `rank` axes and broadcast along all but the last, from an operand of one axis that fits. */
static const operand *last_axis(expression *e, const jets *a) {
    const operand *w = choose(e);
    return w->jets.rank == 1 && w->jets.shape[0] == a->shape[a->rank - 1] ? w : NULL;
}

static void softmax(jets *out, const jets *x, unsigned axes, bool logarithm) {
    static jets sum, minus, y;
    log_sum_exp(&sum, x, axes);
    jets_map(&minus, &sum, JET_AFFINE, -1, 0);
    jets_add(logarithm ? out : &y, x, &minus);
    if (!logarithm) jets_map(out, &y, JET_EXP, 0, 0);
}

static void along_axis(expression *e, operand *y) {
    const operand *x = choose(e);
    const jets *a = &x->jets;
    if (a->rank == 0) return;
    const int axis = (int)expression_byte(e, a->rank);
    const bool logarithm = expression_byte(e, 2);
    y->var = logarithm ? ag_log_softmax(x->var, axis) : ag_softmax(x->var, axis);
    softmax(&y->jets, a, 1u << axis, logarithm);
}

static void cumulative_sum(expression *e, operand *y) {
    const operand *x = choose(e);
    if (x->jets.rank == 0) return;
    const int axis = (int)expression_byte(e, x->jets.rank);
    int64_t stride[JET_RANK] = {0};
    row_major(&x->jets, stride);
    y->jets = x->jets;
    for (int64_t i = 0; i < jets_size(&x->jets); i++) {
        if (i / stride[axis] % x->jets.shape[axis] == 0) continue;
        for (int k = 0; k < 3; k++) {
            y->jets.x[i].d[k].value += y->jets.x[i - stride[axis]].d[k].value;
            y->jets.x[i].d[k].size += y->jets.x[i - stride[axis]].d[k].size;
        }
    }
    y->var = ag_cumulative_sum(x->var, axis);
}

static void norm(expression *e, operand *y) {
    static jets middle, squares, inverse, scaled, weighted;
    const operand *x = choose(e);
    const jets *a = &x->jets;
    const bool layer = expression_byte(e, 2);
    const operand *w = a->rank ? last_axis(e, a) : NULL, *b = w && layer ? last_axis(e, a) : w;
    if (!w || !b) return;
    const unsigned last = 1u << (a->rank - 1);
    const double eps = 0.25;
    centred(&middle, a, last);
    const jets *from = layer ? &middle : a;
    mean_squares(&squares, from, last, (double)a->shape[a->rank - 1]);
    jets_map(&inverse, &squares, JET_AFFINE, 1, eps);
    jets_map(&squares, &inverse, JET_RSQRT, 0, 0);
    jets_mul(&scaled, from, &squares);
    jets_mul(layer ? &weighted : &y->jets, &scaled, &w->jets);
    if (layer) jets_add(&y->jets, &weighted, &b->jets);
    y->var =
        layer ? ag_layer_norm(x->var, w->var, b->var, (float)eps) : ag_rms_norm(x->var, w->var, (float)eps);
}

static void product(expression *e, operand *y) {
    static jets xw;
    const operand *a = choose(e), *b = choose(e);
    const int64_t which = expression_byte(e, 3);
    if (a->jets.rank < 2 || b->jets.rank < 2) return;
    if (a->jets.shape[a->jets.rank - 1] != b->jets.shape[b->jets.rank - 2]) return;
    jets batches_a = a->jets, batches_b = b->jets;
    batches_a.rank -= 2;
    batches_b.rank -= 2;
    if (!fit(&batches_a, &batches_b) || (which && b->jets.rank != 2)) return;
    const operand *bias = which == 1 ? choose(e) : NULL;
    if (bias && (bias->jets.rank != 1 || bias->jets.shape[0] != b->jets.shape[1])) return;
    jets_matmul(bias ? &xw : &y->jets, &a->jets, &b->jets, false);
    if (bias && !jets_ok(&xw)) return;
    if (bias) jets_add(&y->jets, &xw, &bias->jets);
    y->var = bias         ? ag_linear(a->var, b->var, bias->var)
             : which == 2 ? ag_linear_no_bias(a->var, b->var)
                          : ag_matmul(a->var, b->var);
}

/* Operands [H, T, D] as queries, keys and values of one batch. */
static void attention(expression *e, operand *y) {
    static jets scores, scaled, weights;
    const operand *q = choose(e), *k = choose(e), *v = choose(e);
    const bool causal = expression_byte(e, 2);
    for (int i = 0; i < 3; i++) {
        if (q->jets.rank != 3 || k->jets.rank != 3 || v->jets.rank != 3) return;
        if (k->jets.shape[i] != v->jets.shape[i] || (i != 1 && q->jets.shape[i] != k->jets.shape[i])) return;
    }
    const int64_t queries = q->jets.shape[1], keys = k->jets.shape[1];
    if (causal && keys < queries) return;
    const float scale = 0.5f;
    ag_attention_options options = AG_ATTENTION_DEFAULTS;
    options.scale = scale;
    options.causal = causal;
    ag_var *q4 = ag_unsqueeze(q->var, 0), *k4 = ag_unsqueeze(k->var, 0), *v4 = ag_unsqueeze(v->var, 0);
    y->var = ag_squeeze(ag_attention(q4, k4, v4, options), 0);
    jets_matmul(&scores, &q->jets, &k->jets, true);
    jets_map(&scaled, &scores, JET_AFFINE, (double)scale, 0);
    for (int64_t i = 0; causal && i < jets_size(&scaled); i++)
        if (i % keys > i / keys % queries + keys - queries) scaled.x[i] = (jet){{{-50, 0}, {0, 0}, {0, 0}}};
    softmax(&weights, &scaled, 4, false);
    jets_matmul(&y->jets, &weights, &v->jets, false);
}

void expression_step(expression *e, operand *result) {
    static void (*const steps[])(expression *, operand *) = {
        unary, with_numbers, binary,     binary, reduction,      view,    view,    reshape,
        join,  index_select, along_axis, norm,   cumulative_sum, product, product, attention};
    steps[expression_byte(e, sizeof steps / sizeof *steps)](e, result);
}
