/* Values and gradients of operations against PyTorch's, which make_reference.py has written: random, broadcast, empty, of
 * rank 0, tied and extreme; each case with operands as they are, transposed in memory, and backwards. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampo/autograd.h"

/* ---- What a case's name stands for ------------------------------------------------------------- */

enum { OPERANDS = 4, WORDS = 4, NUMBERS = 64 };

/* A case: the words of its name, its operands, the result and the gradients. */
typedef struct reference {
    char name[64], words[WORDS][32];
    int inputs, gradients;
    ag_var *in[OPERANDS];
    ag_tape *tape;
} reference;

typedef ag_var *run(const reference *c, ag_var *const *in);
#define RUN(name, call)                                                                                      \
    static ag_var *run_##name(const reference *c, ag_var *const *in) {                                       \
        (void)c;                                                                                             \
        (void)in;                                                                                            \
        return call;                                                                                         \
    }
/* clang-format off */
#define EACH_UNARY(_) \
    _(not) _(exp) _(expm1) _(sqrt) _(rsqrt) _(square) _(reciprocal) _(abs) _(sin) _(cos) _(tanh) _(erf) _(sigmoid) \
    _(floor) _(round) _(sign) _(log) _(log1p) _(softplus) _(relu) _(gelu) _(gelu_tanh) _(silu)
#define EACH_BINARY(_) \
    _(add) _(sub) _(mul) _(div) _(pow) _(max) _(min) _(less) _(less_equal) _(greater) _(greater_equal) _(equal) \
    _(not_equal) _(and) _(or) _(embedding) _(matmul)
#define EACH_REDUCTION(_) _(sum) _(mean) _(max_over) _(min_over) _(sum_squares) _(log_sum_exp) _(product)
#define EACH_LOSS(_) _(mse_loss) _(l1_loss) _(binary_cross_entropy) _(kl_divergence)
#define EACH_OTHER(_) \
    _(leaky_relu) _(elu) _(clamp) _(where) _(masked_fill) _(variance) _(deviation) _(norm) _(cumulative_sum) _(stack) \
    _(concat) _(flip) _(tril) _(triu) _(one_hot) _(gather) _(scatter_add) _(index_select) _(sort) _(argsort) _(top_k) \
    _(argmax) _(argmin) _(einsum) _(linear) _(softmax) _(log_softmax) _(layer_norm) _(rms_norm) _(huber_loss) \
    _(smooth_l1_loss) _(arange) _(linspace) _(split) _(unbind) _(cross_entropy) _(max_pool2d) \
    _(average_pool2d) _(max_pool1d) _(average_pool1d) _(pad) _(unfold) _(batch_norm) _(group_norm)
/* clang-format on */

/* The words behind the first: a number, axes, a loss's form. */
static float number(const reference *c) {
    return strtof(c->words[1], NULL);
}
static const char *last(const reference *c) {
    int i = WORDS - 1;
    while (!c->words[i][0]) i--;
    return c->words[i];
}
static unsigned axes(const reference *c) {
    return strcmp(last(c), "all") == 0 ? AG_ALL
           : strcmp(last(c), "1") == 0 ? AG_AXIS(1)
                                       : AG_AXIS(0) | AG_AXIS(-1);
}
static bool keep(const reference *c) {
    return strcmp(last(c), "0-1k") == 0;
}
static bool has_word(const reference *c, const char *word) {
    for (int i = 1; i < WORDS; i++)
        if (strcmp(c->words[i], word) == 0) return true;
    return false;
}
static ag_loss_form form(const reference *c) {
    return has_word(c, "mean") ? AG_LOSS_MEAN : has_word(c, "sum") ? AG_LOSS_SUM : AG_LOSS_EACH;
}

#define UNARY(name) RUN(name, ag_##name(in[0]))
#define BINARY(name) RUN(name, ag_##name(in[0], in[1]))
#define REDUCTION(name) RUN(name, ag_##name(in[0], axes(c), keep(c)))
#define LOSS(name) RUN(name, ag_##name(in[0], in[1], form(c)))
EACH_UNARY(UNARY)
EACH_BINARY(BINARY)
EACH_REDUCTION(REDUCTION)
EACH_LOSS(LOSS)
RUN(leaky_relu, ag_leaky_relu(in[0], 0.125f))
RUN(elu, ag_elu(in[0], 1.5f))
RUN(clamp, has_word(c, "upside") ? ag_clamp(in[0], 1, -1) : ag_clamp(in[0], -1, 0.75f))
RUN(where, ag_where(in[0], in[1], in[2]))
RUN(masked_fill, ag_masked_fill(in[0], in[1], 0.5f))
RUN(variance, ag_variance(in[0], axes(c), (double)number(c), keep(c)))
RUN(deviation, ag_deviation(in[0], axes(c), (double)number(c), keep(c)))
RUN(norm, ag_norm(in[0], (double)number(c), axes(c), keep(c)))
RUN(cumulative_sum, ag_cumulative_sum(in[0], 1))
RUN(stack, ag_stack(in, 2, 1))
RUN(concat, ag_concat(in, 2, 1))
RUN(flip, ag_flip(in[0], AG_AXIS(0) | AG_AXIS(2)))
RUN(tril, ag_tril(in[0], (int64_t)number(c)))
RUN(triu, ag_triu(in[0], (int64_t)number(c)))
RUN(one_hot, ag_one_hot(in[0], 4))
RUN(gather, ag_gather(in[0], 1, in[1]))
RUN(scatter_add, ag_scatter_add(in[0], 1, in[1], in[2]))
RUN(index_select, ag_index_select(in[0], (int)number(c), in[1]))
RUN(sort, ag_sort(in[0], 1, number(c) != 0, NULL))
RUN(argsort, ag_argsort(in[0], 1, number(c) != 0))
RUN(top_k, ag_top_k(in[0], 1, 2, NULL))
RUN(argmax, ag_argmax(in[0], 1))
RUN(argmin, ag_argmin(in[0], 1))
RUN(einsum, ag_einsum(c->words[1], in, c->inputs))
RUN(linear, ag_linear(in[0], in[1], in[2]))
RUN(softmax, ag_softmax(in[0], 1))
RUN(log_softmax, ag_log_softmax(in[0], 1))
RUN(layer_norm, ag_layer_norm(in[0], in[1], in[2], 1e-5f))
RUN(rms_norm, ag_rms_norm(in[0], in[1], 1e-5f))
RUN(batch_norm, ag_batch_norm(in[0], in[1], in[2], 1e-2f, NULL))
RUN(group_norm, ag_group_norm(in[0], in[1], in[2], 2, 1e-2f))
RUN(huber_loss, ag_huber_loss(in[0], in[1], 0.75f, form(c)))
RUN(smooth_l1_loss, ag_smooth_l1_loss(in[0], in[1], has_word(c, "0") ? 0 : 0.5f, form(c)))
RUN(arange, ag_arange(c->tape, -1, 2, 0.4))
RUN(linspace, ag_linspace(c->tape, -1, 2, 7))

static const tensor_windows overlapping = {.stride = {1, 2}, .padding = {1, 1}};
RUN(max_pool2d, has_word(c, "2x2") ? ag_max_pool2d(in[0], 2, 2, (tensor_windows){0})
                : has_word(c, "3x2")
                    ? ag_max_pool2d(in[0], 3, 2, overlapping)
                    : ag_max_pool2d(in[0], 2, 3, (tensor_windows){{2, 1}, {0, 0}, {2, 2}, 0}))
RUN(average_pool2d, has_word(c, "2x2")   ? ag_average_pool2d(in[0], 2, 2, (tensor_windows){0}, true)
                    : has_word(c, "3x2") ? ag_average_pool2d(in[0], 3, 2, overlapping, true)
                                         : ag_average_pool2d(in[0], 2, 3, overlapping, false))
RUN(max_pool1d, ag_max_pool1d(in[0], 3, (tensor_windows){.stride = {2}, .padding = {1}}))
RUN(average_pool1d, ag_average_pool1d(in[0], 3, (tensor_windows){.stride = {2}, .padding = {1}}, true))
RUN(pad, has_word(c, "cropped") ? ag_pad(in[0], (int64_t[]){0, 1, -1}, (int64_t[]){0, -2, 1}, 0)
                                : ag_pad(in[0], (int64_t[]){0, 2, 1}, (int64_t[]){0, 0, 3}, 0.5f))
RUN(unfold, has_word(c, "strided") ? ag_unfold(in[0], 2, 2, (tensor_windows){{2, 3}, {0, 1}, {2, 1}, 0})
                                   : ag_unfold(in[0], 2, 3, (tensor_windows){.padding = {1, 0}}))

static ag_var *run_split(const reference *c, ag_var *const *in) {
    (void)c;
    ag_var *y[2];
    return ag_split(in[0], 1, 2, (int64_t[]){1, 2}, y) ? ag_mul(y[0], y[1]) : NULL;
}
static ag_var *run_unbind(const reference *c, ag_var *const *in) {
    (void)c;
    ag_var *y[2];
    return ag_unbind(in[0], 1, 2, y) ? ag_mul(y[0], y[1]) : NULL;
}
static ag_var *run_cross_entropy(const reference *c, ag_var *const *in) {
    ag_cross_entropy_options o = AG_CROSS_ENTROPY_DEFAULTS;
    o.form = form(c);
    if (has_word(c, "weights") || has_word(c, "both")) o.weights = in[2];
    o.smoothing = has_word(c, "smooth") ? 0.25f : has_word(c, "both") ? 0.5f : 0;
    return ag_cross_entropy_with(in[0], in[1], o);
}

#define ENTRY(name) {#name, run_##name},
static const struct {
    const char *name;
    run *run;
} functions[] = {EACH_UNARY(ENTRY) EACH_BINARY(ENTRY) EACH_REDUCTION(ENTRY) EACH_LOSS(ENTRY)
                     EACH_OTHER(ENTRY)};

static run *function_of(const char *word) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(functions[i].name, word) == 0) return functions[i].run;
    cr_assert_fail("nothing here is called %s", word);
    return NULL;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

/* A tensor as a line says it, "f 2 3 : 0.5 ...", in one of three layouts. */
enum { PLAIN, TRANSPOSED, BACKWARDS, LAYOUTS };

static tensor laid_out(ag_tape *tape, tensor x, int layout) {
    int axes[TENSOR_MAX_RANK];
    tensor view = x;
    for (int axis = 0; axis < x.rank; axis++) axes[axis] = x.rank - 1 - axis;
    if (layout == TRANSPOSED) view = tensor_permute(x, axes, NULL);
    for (int axis = 0; layout == BACKWARDS && axis < x.rank; axis++)
        view = tensor_slice(view, axis, -1, INT64_MIN, -1, NULL);
    if (layout == PLAIN) return x;
    const tensor memory = ag_tensor(tape, x.dtype, view.rank, view.shape);
    cr_assert(tensor_copy(memory, view, NULL));
    view = memory;
    if (layout == TRANSPOSED) view = tensor_permute(view, axes, NULL);
    for (int axis = 0; layout == BACKWARDS && axis < x.rank; axis++)
        view = tensor_slice(view, axis, -1, INT64_MIN, -1, NULL);
    return view;
}

static tensor read_tensor(ag_tape *tape, const char *line, double *exact) {
    int64_t shape[TENSOR_MAX_RANK];
    int rank = 0;
    char *at = (char *)line + 1;
    while (*at == ' ' && at[1] != ':' && at[1] != ' ') shape[rank++] = strtoll(at, &at, 10);
    at = strchr(at, ':') + 1;
    const tensor x = ag_tensor(tape, line[0] == 'i' ? TENSOR_I32 : TENSOR_F32, rank, shape);
    cr_assert(tensor_ok(x) && tensor_size(x) <= NUMBERS, "%s", line);
    for (int64_t i = 0; i < tensor_size(x); i++) {
        const double value = strtod(at, &at);
        if (exact) exact[i] = value;
        if (line[0] == 'i')
            x.i32[i] = (int32_t)value;
        else
            x.f32[i] = (float)value;
    }
    return x;
}

/* ---- Comparing --------------------------------------------------------------------------------- */

static void compare(const reference *c, int layout, tensor y, const char *line, const char *what) {
    double exact[NUMBERS];
    char is[TENSOR_SHAPE_TEXT], expected[TENSOR_SHAPE_TEXT];
    const tensor shape = read_tensor(c->tape, line, exact);
    cr_assert(tensor_same_shape(y, shape), "%s: %s is %s, expected %s", c->name, what,
              tensor_shape_text(is, sizeof is, y.rank, y.shape),
              tensor_shape_text(expected, sizeof expected, shape.rank, shape.shape));
    const tensor plain = ag_tensor(c->tape, y.dtype, y.rank, y.shape);
    cr_assert(tensor_copy(plain, y, NULL));
    for (int64_t i = 0; i < tensor_size(y); i++) {
        const double is_here = y.dtype == TENSOR_I32 ? (double)plain.i32[i] : (double)plain.f32[i];
        const double e = fabs(exact[i]) > (double)FLT_MAX ? copysign((double)INFINITY, exact[i]) : exact[i];
        const bool same =
            isnan(e)   ? isnan(is_here)
            : isinf(e) ? is_here == e
                       : fabs(is_here - e) <= 4e-6 * fabs(e) + (fabs(e) > 1e-5 || e == 0 ? 1e-6 : 3e-44);
        cr_expect(same, "%s, layout %d: %s[%d] = %.9g, PyTorch has %.9g", c->name, layout, what, (int)i,
                  is_here, exact[i]);
    }
}

/* sum r y, with PyTorch's r. */
static ag_var *weighted(ag_var *y) {
    const tensor r = ag_tensor(y->tape, TENSOR_F32, y->value.rank, y->value.shape);
    for (int64_t i = 0; i < tensor_size(r); i++) r.f32[i] = (float)((7 * i + 3) % 11) / 8 - 0.5f;
    return ag_sum(ag_mul(y, ag_input(y->tape, r)), AG_ALL, false);
}

/* ---- Which operations have been here ------------------------------------------------------------ */

enum { MOST = 256 };

static int number_of(const char *name) {
    int i = 0;
    while (ag_ops[i] && strcmp(ag_ops[i]->name, name) != 0) i++;
    cr_assert(i < MOST);
    return i;
}

static void note(void *context, const ag_op *op, ag_moment moment) {
    bool *seen = context;
    if (moment == AG_FORWARD_BEGINS) seen[number_of(op->name)] = true;
}

/* What other tests compare with PyTorch or with a reference in double, and what PyTorch does not have. */
static const char *const elsewhere[] = {"add_in_place", "relu_in_place", "dropout",          "unslice",
                                        "attention",    "split_heads",   "merge_heads",      "rotary",
                                        "conv2d",       "conv2d_weight", "conv_transpose2d", "detach",
                                        "checkpoint",   "cross_entropy", "average_share"};

static void expect_all(const bool *seen) {
    for (int i = 0; ag_ops[i]; i++) {
        bool known = seen[i];
        for (size_t k = 0; k < sizeof elsewhere / sizeof *elsewhere; k++)
            known = known || strcmp(elsewhere[k], ag_ops[i]->name) == 0;
        cr_expect(known, "%s is not compared with PyTorch: make_reference.py has no case of it",
                  ag_ops[i]->name);
    }
}

/* The lines of a case, up to the next name. */
typedef struct lines {
    int count;
    char *line[1 + 2 * OPERANDS + 1];
} lines;

static void check(lines *text, int layout, ag_tape *tape) {
    reference c = {.tape = tape};
    ag_reset(tape);
    snprintf(c.name, sizeof c.name, "%s", text->line[0]);
    sscanf(text->line[0], "%31s %31s %31s %31s", c.words[0], c.words[1], c.words[2], c.words[3]);
    int at = 1;
    ag_var *wanted[OPERANDS];
    int count = 0;
    for (; at < text->count && strchr("fic", text->line[at][0]); at++) {
        const tensor x = laid_out(tape, read_tensor(tape, text->line[at], NULL), layout);
        const bool gradient = text->line[at][0] == 'f';
        c.in[c.inputs] = gradient ? ag_variable(tape, x) : ag_input(tape, x);
        if (gradient) wanted[count++] = c.in[c.inputs];
        c.inputs++;
    }
    ag_var *y = function_of(c.words[0])(&c, c.in);
    cr_assert(y, "%s: %s", c.name, ag_error(tape));
    compare(&c, layout, y->value, text->line[at++], "the result");
    if (at == text->count) return;
    ag_var *dx[OPERANDS];
    const bool flat = !y->needs_grad; /* PyTorch has zeros where there is no gradient here */
    cr_assert(flat || ag_gradients(weighted(y), count, wanted, dx, false), "%s: %s", c.name, ag_error(tape));
    for (int i = 0; i < count; i++, at++) {
        if (flat) dx[i] = ag_zeros(tape, ag_rank(wanted[i]), wanted[i]->value.shape);
        compare(&c, layout, dx[i]->value, text->line[at], "the gradient");
    }
}

Test(reference, values_and_gradients_are_those_of_pytorch) {
    FILE *file = fopen(SAMPO_FIXTURES "/autograd/reference.txt", "r");
    cr_assert(file);
    ag_tape *tape = ag_tape_new();
    bool seen[MOST] = {false};
    ag_watch(tape, note, seen);
    static char memory[16][4096];
    lines text = {0};
    int cases = 0;
    for (bool more = true; more;) {
        char line[4096];
        more = fgets(line, sizeof line, file) != NULL;
        line[strcspn(line, "\n")] = '\0';
        const bool name = !more || line[1] != ' ';
        if (name && text.count > 0) {
            char word[32];
            if (sscanf(text.line[0], "%31s", word) == 1) seen[number_of(word)] = true; /* made of others */
            for (int layout = 0; layout < LAYOUTS; layout++) check(&text, layout, tape);
            cases++;
        }
        if (name) text.count = 0;
        cr_assert(text.count < (int)(sizeof text.line / sizeof *text.line));
        strcpy(memory[text.count], line);
        text.line[text.count] = memory[text.count];
        text.count++;
    }
    cr_expect(cases > 380, "only %d cases", cases);
    expect_all(seen);
    ag_tape_free(tape);
    fclose(file);
}
