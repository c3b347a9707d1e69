/* Einstein's sums: each operand's axes are brought into the order batch, own, summed, and products are ag_matmul's. */
#include "autograd/ops.h"

#include <string.h>

enum { LETTERS = 128 };

/* A variable whose axes have letters. */
typedef struct term {
    ag_var *x;
    char axes[TENSOR_MAX_RANK + 1];
} term;

typedef struct formula {
    ag_tape *tape;
    const char *text;
    char out[LETTERS];
    int64_t size[LETTERS]; /* of a letter's axis; -1: it does not come */
} formula;

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has(const char *axes, char letter) {
    return letter && strchr(axes, letter) != NULL;
}

static void append(char *axes, char letter) {
    const size_t n = strlen(axes);
    axes[n] = letter;
    axes[n + 1] = '\0';
}

/* ---- Reading ---------------------------------------------------------------------------------- */

/* The letters of operand number i; *at goes to what follows. */
static bool read_operand(formula *f, term *t, int i, const char **at) {
    t->axes[0] = '\0';
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        const char c = **at;
        if (c == ' ') continue;
        if (!is_letter(c) || has(t->axes, c) || strlen(t->axes) == TENSOR_MAX_RANK)
            return ag_fail(f->tape, "einsum: '%c' in operand %d of \"%.60s\" is no letter of a new axis", c,
                           i, f->text);
        append(t->axes, c);
    }
    const int rank = ag_rank(t->x);
    if ((size_t)rank != strlen(t->axes))
        return ag_fail(f->tape, "einsum: operand %d of \"%.60s\" has rank %d", i, f->text, rank);
    for (int axis = 0; axis < rank; axis++) {
        int64_t *size = &f->size[(int)t->axes[axis]];
        if (*size >= 0 && *size != ag_size(t->x, axis))
            return ag_fail(f->tape, "einsum: '%c' in \"%.60s\" is %lld and %lld", t->axes[axis], f->text,
                           (long long)*size, (long long)ag_size(t->x, axis));
        *size = ag_size(t->x, axis);
    }
    return true;
}

static bool read_result(formula *f, const char *at) {
    for (; *at; at++) {
        if (*at == ' ') continue;
        if (!is_letter(*at) || f->size[(int)*at] < 0 || has(f->out, *at))
            return ag_fail(f->tape, "einsum: '%c' behind the arrow of \"%.60s\" is no axis, or there twice",
                           *at, f->text);
        append(f->out, *at);
    }
    return true;
}

/* Without an arrow: the letters that come once, in order. */
static void usual_result(formula *f, const term *t, int count) {
    for (int c = 'A'; c <= 'z'; c++) {
        int times = 0;
        for (int i = 0; i < count; i++) times += has(t[i].axes, (char)c);
        if (times == 1) append(f->out, (char)c);
    }
}

static bool read_formula(formula *f, term *t, int count) {
    const char *at = f->text;
    for (int i = 0; i < LETTERS; i++) f->size[i] = -1;
    for (int i = 0; i < count; i++) {
        if (!read_operand(f, &t[i], i, &at)) return false;
        if (i + 1 < count && *at++ != ',')
            return ag_fail(f->tape, "einsum: \"%.60s\" does not have %d operands", f->text, count);
    }
    if (*at == ',') return ag_fail(f->tape, "einsum: \"%.60s\" has more than %d operands", f->text, count);
    if (*at == '\0') {
        usual_result(f, t, count);
        return true;
    }
    if (at[1] != '>') return ag_fail(f->tape, "einsum: \"%.60s\" has no arrow ->", f->text);
    return read_result(f, at + 2);
}

/* ---- Computing -------------------------------------------------------------------------------- */

/* The same with its axes in the order of `axes`, all of which it has. */
static term in_order(term t, const char *axes) {
    int order[TENSOR_MAX_RANK];
    bool same = true;
    for (int i = 0; axes[i]; i++) {
        order[i] = (int)(strchr(t.axes, axes[i]) - t.axes);
        same = same && order[i] == i;
    }
    if (!same) t.x = ag_permute(t.x, order);
    strcpy(t.axes, axes);
    return t;
}

/* Sums over the axes that nothing else has. */
static term without(term t, const char *others, const char *out) {
    unsigned axes = 0;
    char left[TENSOR_MAX_RANK + 1] = "";
    for (int i = 0; t.axes[i]; i++)
        if (has(others, t.axes[i]) || has(out, t.axes[i]))
            append(left, t.axes[i]);
        else
            axes |= AG_AXIS(i);
    if (axes) t.x = ag_sum(t.x, axes, false);
    strcpy(t.axes, left);
    return t;
}

static int64_t size_of(const formula *f, const char *axes) {
    int64_t size = 1;
    for (; *axes; axes++) size *= f->size[(int)*axes];
    return size;
}

/* The letters of a that b has, or has not, and the result has, or has not. */
static void pick(char *to, const term *a, const term *b, bool in_b, const char *out, bool in_out) {
    to[0] = '\0';
    for (const char *c = a->axes; *c; c++)
        if (has(b->axes, *c) == in_b && has(out, *c) == in_out) append(to, *c);
}

/* As a batch of matrices: three groups of axes, each one axis. */
static ag_var *matrices(const formula *f, term t, const char *batch, const char *rows, const char *cols) {
    char axes[3 * TENSOR_MAX_RANK + 1];
    strcpy(axes, batch);
    strcat(axes, rows);
    strcat(axes, cols);
    return ag_reshape(in_order(t, axes).x,
                      TENSOR_SHAPE(size_of(f, batch), size_of(f, rows), size_of(f, cols)));
}

/* The product of two terms, summed over what neither `out` nor later operands have. */
static term product(const formula *f, term a, term b, const char *out) {
    char batch[TENSOR_MAX_RANK + 1], sum[TENSOR_MAX_RANK + 1], rows[TENSOR_MAX_RANK + 1],
        cols[TENSOR_MAX_RANK + 1];
    a = without(a, b.axes, out);
    b = without(b, a.axes, out);
    pick(batch, &a, &b, true, out, true);
    pick(sum, &a, &b, true, out, false);
    pick(rows, &a, &b, false, out, true);
    pick(cols, &b, &a, false, out, true);
    term y = {.axes = ""};
    if (strlen(batch) + strlen(rows) + strlen(cols) > TENSOR_MAX_RANK) {
        ag_fail(f->tape, "einsum: a product in \"%.60s\" has more than %d axes", f->text, TENSOR_MAX_RANK);
        return y;
    }
    /* Where nothing is summed, elements are multiplied. */
    y.x = sum[0] ? ag_matmul(matrices(f, a, batch, rows, sum), matrices(f, b, batch, sum, cols))
                 : ag_mul(matrices(f, a, batch, rows, ""), matrices(f, b, batch, "", cols));
    strcat(strcat(strcat(y.axes, batch), rows), cols);
    int64_t shape[TENSOR_MAX_RANK];
    for (int i = 0; y.axes[i]; i++) shape[i] = f->size[(int)y.axes[i]];
    y.x = ag_reshape(y.x, (int)strlen(y.axes), shape);
    return y;
}

static ag_var *einsum_matrices(ag_var **in) {
    return ag_einsum("bij,bkj->bik", in, 2);
}
static ag_var *einsum_one(ag_var **in) {
    return ag_einsum("ijk -> ki", in, 1);
}
static ag_var *einsum_three(ag_var **in) {
    return ag_einsum("ia,jb,ab->ij", in, 3);
}
static ag_var *einsum_batch(ag_var **in) {
    return ag_einsum("bi,bj->bji", in, 2);
}
static ag_var *einsum_sums(ag_var **in) {
    return ag_einsum("ij,jk,", (ag_var *[]){in[0], in[1], in[2]}, 3);
}
static const ag_case einsum_cases[] = {
    {"matrices", einsum_matrices, 2, {{3, {2, 3, 4}}, {3, {2, 5, 4}}}},
    {"one operand", einsum_one, 1, {{3, {2, 3, 4}}}},
    {"three", einsum_three, 3, {{2, {2, 3}}, {2, {4, 5}}, {2, {3, 5}}}},
    {"elements", einsum_batch, 2, {{2, {2, 3}}, {2, {2, 4}}}},
    {"no arrow", einsum_sums, 3, {{2, {2, 3}}, {2, {3, 4}}, {0}}},
};
const ag_op ag_op_einsum = {"einsum", AG_CASES(einsum_cases)};

ag_var *ag_einsum(const char *text, ag_var *const *x, int count) {
    enum { MOST = 8 };
    formula f = {.text = text};
    term t[MOST];
    for (int i = 0; x && i < count && !f.tape; i++) f.tape = ag_tape_of(x[i]);
    if (!f.tape || ag_failed(f.tape)) return NULL;
    if (count > MOST || !text)
        return ag_fail(f.tape, "einsum: needs a formula, and no more than %d operands", MOST);
    for (int i = 0; i < count; i++)
        if (!(t[i].x = ag_use(f.tape, x[i]))) return NULL;
    if (!read_formula(&f, t, count)) return NULL;
    term y = t[0];
    for (int i = 1; i < count; i++) {
        char later[MOST * TENSOR_MAX_RANK + LETTERS + 1];
        strcpy(later, f.out);
        for (int k = i + 1; k < count; k++) strcat(later, t[k].axes);
        y = product(&f, y, t[i], later);
    }
    y = without(y, "", f.out);
    return y.x ? in_order(y, f.out).x : NULL;
}
