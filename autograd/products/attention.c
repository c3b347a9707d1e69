/* Attention: queries, keys and values as views of any strides, and rotary positions. */
#include "autograd/ops.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { Q, K, V, MASK };

typedef struct attention {
    ag_attention_options options; /* scale and all as they are used */
    tensor stats;                 /* [B, H, Tq, 2]: of each query's softmax */
} attention;

static tensor_attention_options kernel_options(const ag_var *y) {
    const attention *s = y->saved;
    tensor_attention_options o = {.scale = s->options.scale, .causal = s->options.causal};
    if (y->inputs > MASK) o.mask = y->in[MASK]->value, o.additive = s->options.additive;
    return o;
}

/* The kernels want neighbours along the last axis. */
static bool has_neighbours(const tensor *x) {
    return x->rank == 0 || x->shape[x->rank - 1] <= 1 || x->stride[x->rank - 1] == 1;
}

static tensor with_neighbours(ag_var *y, const tensor *x) {
    return has_neighbours(x) ? *x : ag_contiguous(y->tape, *x);
}

/* Whether two gradients may share an element, as those of one variable that is queries and keys do. Parts of packed rows
 * do not: where all far steps are whole rows, each part keeps to its own columns. */
static bool may_overlap(const tensor *a, const tensor *b) {
    if (!tensor_ok(*a) || !tensor_ok(*b) || tensor_size(*a) == 0 || tensor_size(*b) == 0) return false;
    const int64_t row = a->stride[2];
    const tensor *both[] = {a, b};
    const float *low = a->f32 < b->f32 ? a->f32 : b->f32, *end[2];
    int64_t column[2], width[2];
    bool columns = row > 0 && b->stride[2] == row;
    for (int k = 0; k < 2; k++) {
        int64_t reach = 0;
        width[k] = 1;
        for (int axis = 0; axis < 4; axis++) {
            const int64_t stride = both[k]->stride[axis], last = both[k]->shape[axis] - 1;
            if (last == 0) continue;
            if (stride < 0) return true;
            reach += stride * last;
            if (stride < row)
                width[k] += stride * last;
            else if (stride % row != 0)
                columns = false;
        }
        end[k] = both[k]->f32 + reach + 1;
        column[k] = row > 0 ? (both[k]->f32 - low) % row : 0;
        columns = columns && column[k] + width[k] <= row;
    }
    if (end[0] <= b->f32 || end[1] <= a->f32) return false;
    return !columns || (column[0] < column[1] + width[1] && column[1] < column[0] + width[0]);
}

/* The memory of dx[i], and whether it is added to; apart where it has no neighbours or may overlap another's. */
static bool gradient_memory(ag_var *y, int i, tensor *dx, bool *accumulate, ag_var **apart) {
    bool fresh = false;
    dx[i] = ag_grad_buffer(y, y->in[i], &fresh);
    accumulate[i] = !fresh;
    bool alone = has_neighbours(&dx[i]);
    for (int k = 0; k < i; k++) alone = alone && !may_overlap(&dx[k], &dx[i]);
    if (!tensor_ok(dx[i]) || alone) return !ag_failed(y->tape);
    if (fresh) tensor_fill(dx[i], 0, ag_err(y));
    apart[i] = ag_new_var(y->tape, 0);
    if (!apart[i] || !ag_allocate(apart[i], TENSOR_F32, dx[i].rank, dx[i].shape)) return false;
    dx[i] = apart[i]->value;
    accumulate[i] = false;
    return true;
}

static void attention_backward(ag_var *y, ag_var *dy) {
    const attention *s = y->saved;
    const tensor_attention_options options = kernel_options(y);
    tensor dx[3], x[3];
    ag_var *apart[3] = {0};
    bool accumulate[3];
    for (int i = 0; i < 3; i++) {
        x[i] = with_neighbours(y, &y->in[i]->value);
        if (!gradient_memory(y, i, dx, accumulate, apart)) return;
    }
    tensor_attention_vjp(dx[Q], dx[K], dx[V], with_neighbours(y, &dy->value), y->value, s->stats, x[Q], x[K],
                         x[V], &options, accumulate, ag_err(y));
    for (int i = 0; i < 3; i++)
        if (apart[i]) ag_add_grad(y->in[i], apart[i]);
}

static bool differ(ag_var *y, const char *what, const tensor *a, const tensor *b) {
    char one[TENSOR_SHAPE_TEXT], two[TENSOR_SHAPE_TEXT];
    return ag_fail(y->tape, "attention: %s: %s and %s", what,
                   tensor_shape_text(one, sizeof one, a->rank, a->shape),
                   tensor_shape_text(two, sizeof two, b->rank, b->shape));
}

static bool check(ag_var *y) {
    const tensor *q = &y->in[Q]->value, *k = &y->in[K]->value, *v = &y->in[V]->value;
    if (q->rank != 4 || k->rank != 4)
        return differ(y, "needs q [B, H, Tq, D] and k [B, H, Tk, D], not", q, k);
    if (v->rank != 4 || memcmp(k->shape, v->shape, 4 * sizeof *k->shape) != 0)
        return differ(y, "keys and values differ", k, v);
    if (q->shape[0] != k->shape[0] || q->shape[3] != k->shape[3] ||
        (k->shape[1] == 0 ? q->shape[1] != 0 : q->shape[1] % k->shape[1] != 0))
        return differ(y, "queries do not fit keys", q, k);
    if (y->inputs > MASK && y->in[MASK]->needs_grad)
        return ag_fail(y->tape, "attention: the mask gets no gradient; make it with ag_input");
    return true;
}

/* ---- The same in simpler operations ---------------------------------------------------------- */

/* 1 where a query may see a key, else 0: [Tq, Tk], or as the mask broadcasts. */
static ag_var *visible(ag_tape *tape, int64_t tq, int64_t tk, const ag_attention_options *o) {
    const tensor seen = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(tq, tk));
    if (!tensor_ok(seen)) return NULL;
    for (int64_t i = 0; i < tq * tk; i++) seen.f32[i] = !o->causal || i % tk <= i / tk + tk - tq;
    ag_var *all = ag_input(tape, seen);
    if (!o->mask) return all;
    ag_var *hidden = o->additive ? ag_equal(o->mask, ag_constant(tape, -INFINITY))
                                 : ag_equal(o->mask, ag_constant(tape, 0));
    return ag_mul(all, ag_affine(hidden, -1, 1));
}

/* softmax(scale q k^T + mask) as [B, H_kv, H / H_kv, Tq, Tk], 0 where hidden. */
static ag_var *grouped_weights(ag_var *q, ag_var *k, const ag_attention_options *o) {
    const int64_t *qs = q->value.shape, *ks = k->value.shape;
    const int64_t group = ks[1] > 0 ? qs[1] / ks[1] : 1;
    ag_var *grouped = ag_reshape(q, TENSOR_SHAPE(qs[0], ks[1], group, qs[2], qs[3]));
    ag_var *scores = ag_matmul(grouped, ag_transpose(ag_unsqueeze(k, 2), -1, -2));
    scores = ag_affine(ag_reshape(scores, TENSOR_SHAPE(qs[0], qs[1], qs[2], ks[2])), o->scale, 0);
    ag_var *seen = visible(q->tape, qs[2], ks[2], o), *low = ag_constant(q->tape, -1e30f);
    if (o->mask && o->additive) scores = ag_add(scores, ag_where(seen, o->mask, ag_constant(q->tape, 0)));
    ag_var *weights = ag_mul(ag_softmax(ag_where(seen, scores, low), -1), seen);
    return ag_reshape(weights, TENSOR_SHAPE(qs[0], ks[1], group, qs[2], ks[2]));
}

static ag_var *attention_decompose(ag_var *y) {
    const attention *s = y->saved;
    ag_attention_options o = s->options;
    o.mask = y->inputs > MASK ? y->in[MASK] : NULL;
    ag_var *weights = grouped_weights(y->in[Q], y->in[K], &o);
    return ag_reshape(ag_matmul(weights, ag_unsqueeze(y->in[V], 2)), y->value.rank, y->value.shape);
}

/* ---- The operation --------------------------------------------------------------------------- */

static ag_var *full_case(ag_var **in) {
    return ag_attention(in[0], in[1], in[2], (ag_attention_options){.scale = 0.5f});
}
static ag_var *causal_case(ag_var **in) {
    return ag_attention(in[0], in[1], in[2], (ag_attention_options){.scale = 0.5f, .causal = true});
}
static ag_var *packed_case(ag_var **in) {
    return ag_add(ag_slice(in[0], 2, 0, 4, 1), ag_causal_attention(in[0], 2, 1));
}
static ag_var *mask_case(ag_var **in) {
    return ag_attention(in[0], in[0], in[1],
                        (ag_attention_options){.mask = ag_less(in[2], ag_constant(ag_tape_of(in[2]), 0))});
}
static ag_var *additive_case(ag_var **in) {
    return ag_attention(in[0], in[1], in[1],
                        (ag_attention_options){.causal = true, .mask = in[2], .additive = true});
}
static const ag_case attention_cases[] = {
    {"cross", full_case, 3, {{4, {2, 1, 3, 4}, -1, 1}, {4, {2, 1, 5, 4}, -1, 1}, {4, {2, 1, 5, 4}, -1, 1}}},
    {"causal, grouped heads",
     causal_case,
     3,
     {{4, {1, 4, 3, 6}, -1, 1}, {4, {1, 2, 5, 6}, -1, 1}, {4, {1, 2, 5, 6}, -1, 1}},
     .fixed = 4,
     .not_empty = 2},
    {"causal, one head of keys",
     causal_case,
     3,
     {{4, {1, 2, 3, 4}, -1, 1}, {4, {1, 1, 5, 4}, -1, 1}, {4, {1, 1, 5, 4}, -1, 1}}},
    {"more queries than keys",
     causal_case,
     3,
     {{4, {1, 1, 5, 3}, -1, 1}, {4, {1, 1, 2, 3}, -1, 1}, {4, {1, 1, 2, 3}, -1, 1}}},
    {"packed, used twice", packed_case, 1, {{3, {2, 5, 12}, -1, 1}}, .fixed = 12},
    {"mask",
     mask_case,
     3,
     {{4, {1, 2, 3, 4}, -1, 1}, {4, {1, 2, 3, 4}, -1, 1}, {2, {3, 3}, .constant = true}}},
    {"additive mask",
     additive_case,
     3,
     {{4, {1, 2, 3, 4}, -1, 1}, {4, {1, 2, 3, 4}, -1, 1}, {3, {2, 1, 3}, .constant = true}}},
};
static double attention_flops(const ag_var *y) {
    const attention *s = y->saved;
    const double all = 4 * (double)tensor_size(y->in[Q]->value) * (double)y->in[K]->value.shape[2];
    return s->options.causal ? all / 2 : all;
}

const ag_op ag_op_attention = {"attention",
                               attention_backward,
                               attention_decompose,
                               AG_READS(Q) | AG_READS(K) | AG_READS(V) | AG_READS_OUTPUT,
                               AG_CASES(attention_cases),
                               .flops = attention_flops};

static float scale_of(const ag_attention_options *o, int64_t d) {
    return o->scale != 0 ? o->scale : d > 0 ? 1 / sqrtf((float)d) : 1;
}

ag_var *ag_attention(ag_var *q, ag_var *k, ag_var *v, ag_attention_options options) {
    ag_var *y = ag_begin(&ag_op_attention, options.mask ? 4 : 3, (ag_var *[]){q, k, v, options.mask});
    attention *s = ag_save(y, sizeof *s);
    if (!s || !check(y)) return NULL;
    const tensor *x = &y->in[Q]->value;
    const int64_t batch = x->shape[0], heads = x->shape[1], t = x->shape[2], d = x->shape[3];
    options.scale = scale_of(&options, d);
    *s = (attention){.options = options};
    if (y->tape->recording) s->stats = ag_tensor(y->tape, TENSOR_F32, TENSOR_SHAPE(batch, heads, t, 2));
    /* In memory [B, T, H, D], so that the heads lie side by side for what comes next. */
    if (!ag_out(y, TENSOR_F32, TENSOR_SHAPE(batch, t, heads, d))) return NULL;
    y->value.shape[1] = heads, y->value.stride[1] = d;
    y->value.shape[2] = t, y->value.stride[2] = heads * d;
    const tensor_attention_options o = kernel_options(y);
    tensor_attention(y->value, s->stats, with_neighbours(y, x), y->in[K]->value,
                     with_neighbours(y, &y->in[V]->value), &o, ag_err(y));
    return ag_end(y);
}

ag_var *ag_attention_weights(ag_var *q, ag_var *k, ag_attention_options options) {
    ag_tape *tape = ag_tape_of(q ? q : k);
    if (!q || !k || q->value.rank != 4 || k->value.rank != 4)
        return ag_fail(tape, "attention_weights: needs q [B, H, Tq, D] and k [B, H, Tk, D]");
    options.scale = scale_of(&options, q->value.shape[3]);
    ag_var *weights = grouped_weights(q, k, &options);
    return ag_reshape(weights, TENSOR_SHAPE(ag_size(q, 0), ag_size(q, 1), ag_size(q, 2), ag_size(k, 2)));
}

/* ---- Heads that lie side by side --------------------------------------------------------------- */

typedef struct split {
    int64_t heads;
    int part, parts;
} split;

/* Part number `part` of [B, T, parts H D] as [B, H, T, D]. */
static tensor part_of(const split *s, tensor x) {
    const int64_t d = x.shape[2] / s->parts / s->heads, column = x.stride[2];
    x.f32 += (int64_t)s->part * s->heads * d * column;
    x.rank = 4;
    x.shape[2] = x.shape[1], x.stride[2] = x.stride[1];
    x.shape[1] = s->heads, x.stride[1] = d * column;
    x.shape[3] = d, x.stride[3] = column;
    return x;
}
static tensor split_view(const ag_var *y, tensor x) {
    return part_of(y->saved, x);
}
static void split_heads_backward(ag_var *y, ag_var *dy) {
    const split *s = y->saved;
    const tensor x = y->in[0]->value;
    const int64_t width = x.shape[2] / s->parts;
    ag_add_grad(y->in[0],
                ag_unslice(ag_merge_heads(dy), 3, x.shape, 2, s->part * width, (s->part + 1) * width, 1));
}
static ag_var *split_heads_case(ag_var **in) {
    return ag_mul(ag_split_heads(in[0], 2, 1, 3), ag_split_heads(in[0], 2, 2, 3));
}
static const ag_case split_heads_cases[] = {{"", split_heads_case, 1, {{3, {2, 3, 12}}}, .fixed = 12}};
const ag_op ag_op_split_heads = {"split_heads", split_heads_backward, AG_CASES(split_heads_cases),
                                 .view = split_view};

ag_var *ag_split_heads(ag_var *x, int heads, int part, int parts) {
    ag_var *y = ag_begin(&ag_op_split_heads, 1, &x);
    split *s = ag_save(y, sizeof *s);
    char text[TENSOR_SHAPE_TEXT];
    if (!s) return NULL;
    if (x->value.rank != 3 || heads < 1 || parts < 1 || part < 0 || part >= parts ||
        x->value.shape[2] % ((int64_t)heads * parts))
        return ag_fail(y->tape, "split_heads: part %d of %d with %d heads is not in %s", part, parts, heads,
                       tensor_shape_text(text, sizeof text, x->value.rank, x->value.shape));
    *s = (split){heads, part, parts};
    ag_out_view(y, x, split_view(y, x->value));
    return ag_end(y);
}

/* [B, H, T, D] as [B, T, H D]; no tensor where the heads do not lie side by side. */
static tensor merge_view(const ag_var *y, tensor x) {
    (void)y;
    if (x.stride[1] != x.shape[3] * x.stride[3] && x.shape[1] > 1) return (tensor){0};
    x.rank = 3;
    x.shape[3] *= x.shape[1];
    x.shape[1] = x.shape[2], x.stride[1] = x.stride[2];
    x.shape[2] = x.shape[3], x.stride[2] = x.stride[3];
    return x;
}
static void merge_heads_backward(ag_var *y, ag_var *dy) {
    const int heads = (int)y->in[0]->value.shape[1];
    if (heads > 0) ag_add_grad(y->in[0], ag_split_heads(dy, heads, 0, 1));
}
static ag_var *merge_copy(ag_var **in) {
    return ag_merge_heads(in[0]);
}
static ag_var *merge_in_place(ag_var **in) {
    return ag_merge_heads(ag_split_heads(ag_merge_heads(in[0]), 2, 0, 1));
}
static const ag_case merge_heads_cases[] = {{"copy", merge_copy, 1, {{4, {3, 2, 4, 5}}}},
                                            {"view", merge_in_place, 1, {{4, {3, 2, 4, 5}}}, .fixed = 2}};
const ag_op ag_op_merge_heads = {"merge_heads", merge_heads_backward, AG_CASES(merge_heads_cases),
                                 .view = merge_view};

ag_var *ag_merge_heads(ag_var *x) {
    ag_var *y = ag_begin(&ag_op_merge_heads, 1, &x);
    if (!y) return NULL;
    if (x->value.rank != 4)
        return ag_fail(y->tape, "merge_heads: needs [B, H, T, D], not rank %d", x->value.rank);
    if (x->value.shape[1] > INT_MAX) return ag_fail(y->tape, "merge_heads: more heads than an int counts");
    if (!ag_out_view(y, x, merge_view(y, x->value))) {
        const int64_t *s = x->value.shape;
        if (ag_out(y, x->value.dtype, 3, (int64_t[]){s[0], s[2], s[1] * s[3]}))
            tensor_copy(part_of(&(split){s[1], 0, 1}, y->value), x->value, ag_err(y));
    }
    return ag_end(y);
}

ag_var *ag_causal_attention(ag_var *qkv, int heads, float scale) {
    return ag_merge_heads(ag_attention(ag_split_heads(qkv, heads, 0, 3), ag_split_heads(qkv, heads, 1, 3),
                                       ag_split_heads(qkv, heads, 2, 3),
                                       (ag_attention_options){.scale = scale, .causal = true}));
}

/* ---- Rotary positions ------------------------------------------------------------------------ */

typedef struct rotary {
    tensor cos, sin;
    bool interleaved, inverse;
} rotary;

static ag_var *rotate(ag_var *x, const rotary *how);

/* A rotation's gradient is turned back. */
static void rotary_backward(ag_var *y, ag_var *dy) {
    rotary back = *(const rotary *)y->saved;
    back.inverse = !back.inverse;
    ag_add_grad(y->in[0], rotate(dy, &back));
}
static ag_var *rotary_case_of(ag_var *x, bool interleaved) {
    ag_tape *tape = ag_tape_of(x);
    const tensor cos = ag_tensor(tape, TENSOR_F32, TENSOR_SHAPE(ag_size(x, -2), ag_size(x, -1) / 2)),
                 sin = ag_tensor_like(tape, cos);
    return tensor_rotary_table(cos, sin, 3, 100, NULL) ? ag_rotary(x, cos, sin, interleaved) : NULL;
}
static ag_var *rotary_case(ag_var **in) {
    return rotary_case_of(in[0], false);
}
static ag_var *rotary_interleaved(ag_var **in) {
    return rotary_case_of(in[0], true);
}
static const ag_case rotary_cases[] = {{"halves", rotary_case, 1, {{3, {2, 3, 6}}}, .fixed = 6},
                                       {"interleaved", rotary_interleaved, 1, {{2, {5, 4}}}, .fixed = 4}};
const ag_op ag_op_rotary = {"rotary", rotary_backward, AG_CASES(rotary_cases)};

static ag_var *rotate(ag_var *x, const rotary *how) {
    ag_var *y = ag_begin(&ag_op_rotary, 1, &x);
    rotary *s = ag_save(y, sizeof *s);
    if (!s) return NULL;
    *s = *how;
    if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape))
        tensor_rotary(y->value, x->value, s->cos, s->sin, s->interleaved, s->inverse, ag_err(y));
    return ag_end(y);
}

ag_var *ag_rotary(ag_var *x, tensor cos, tensor sin, bool interleaved) {
    return rotate(x, &(rotary){cos, sin, interleaved, false});
}
