/* Builds an expression from bytes, over views with any strides, and compares its value, its gradient and its second
 * gradient along a direction with an interpreter in double (jets.h). Each operation of expression.h is one of a table
 * there. */
#include "tests/fuzz/expression.h"

#include <math.h>
#include <string.h>

enum { LEAVES = 3, STEPS = 12 };

int64_t expression_byte(expression *e, int64_t count) {
    if (e->size == 0) return 0;
    e->size--;
    return *e->data++ % count;
}

/* ---- Leaves --------------------------------------------------------------------------------- */

/* A view of numbers in memory of its own: axes in any order, steps of 1, 2, -1 or 0. */
static tensor strided(expression *e, ag_tape *tape) {
    const int rank = (int)expression_byte(e, 4), turn = rank > 1 ? (int)expression_byte(e, rank) : 0;
    int64_t shape[JET_RANK] = {0}, room[JET_RANK] = {0};
    for (int i = 0; i < rank; i++) {
        shape[i] = 1 + expression_byte(e, 4);
        room[i] = 2 * shape[i];
    }
    tensor x = ag_tensor(tape, TENSOR_F32, rank, room);
    CHECK(tensor_ok(x));
    memset(x.f32, 0, (size_t)tensor_size(x) * sizeof *x.f32);
    for (int i = 0; i < rank; i++) {
        const int64_t step = (const int64_t[]){1, 1, 2, -1, 0}[expression_byte(e, 5)];
        if (step < 0) x.f32 += (shape[i] - 1) * x.stride[i];
        x.shape[i] = shape[i];
        x.stride[i] *= step;
    }
    return turn ? tensor_transpose(x, 0, turn, NULL) : x;
}

/* The place of element i, in row-major order. */
static float *element(tensor x, int64_t i) {
    int64_t at = 0;
    for (int axis = x.rank - 1; axis >= 0; axis--) {
        at += i % x.shape[axis] * x.stride[axis];
        i /= x.shape[axis];
    }
    return x.f32 + at;
}

/* Component i of the direction. */
static float direction(int leaf, int64_t i) {
    return (float)((i * 37 + leaf * 11 + 3) % 7 - 3) / 2;
}

static void add_leaf(expression *e, ag_tape *tape) {
    operand *leaf = &e->operands[e->count];
    const tensor x = strided(e, tape);
    leaf->var = ag_variable(tape, x);
    leaf->jets.rank = x.rank;
    memcpy(leaf->jets.shape, x.shape, sizeof leaf->jets.shape);
    for (int64_t i = 0; i < tensor_size(x); i++) *element(x, i) = (float)(expression_byte(e, 256) - 128) / 64;
    for (int64_t i = 0; i < tensor_size(x); i++) {
        const double value = (double)*element(x, i), slope = (double)direction(e->count, i);
        leaf->jets.x[i] = (jet){{{value, fabs(value)}, {slope, fabs(slope)}, {0, 0}}};
    }
    e->count++;
}

/* ---- Comparing ------------------------------------------------------------------------------ */

static void compare(const char *what, double found, jet_number expected) {
    const double tolerance = 1e-4 * expected.size + 1e-5;
    if (fabs(found - expected.value) <= tolerance) return;
    fprintf(stderr, "%s: %.9g, not %.9g, of size %.3g\n", what, found, expected.value, expected.size);
    abort();
}

/* A result's shape and elements. */
static void check_result(const operand *x) {
    const tensor value = x->var->value;
    CHECK(value.rank == x->jets.rank &&
          memcmp(value.shape, x->jets.shape, (size_t)value.rank * sizeof *value.shape) == 0);
    for (int64_t i = 0; i < tensor_size(value); i++)
        compare(x->var->op->name, (double)*element(value, i), x->jets.x[i].d[0]);
}

/* Adds to the expression's total the elements of an operand times numbers, and its size. */
static ag_var *weighted(ag_tape *tape, const operand *x, jet *total) {
    const tensor weights = ag_tensor(tape, TENSOR_F32, x->jets.rank, x->jets.shape);
    for (int64_t i = 0; i < jets_size(&x->jets); i++) {
        const double w = (double)(weights.f32[i] = 1 - 0.75f * (float)(i % 3));
        for (int k = 0; k < 3; k++) {
            total->d[k].value += w * x->jets.x[i].d[k].value;
            total->d[k].size += fabs(w) * x->jets.x[i].d[k].size;
        }
    }
    return ag_sum(ag_mul(x->var, ag_input(tape, weights)), AG_ALL, false);
}

/* The sum of the gradients times the direction. */
static ag_var *along(const expression *e, ag_tape *tape, ag_var **dx) {
    ag_var *sum = ag_constant(tape, 0);
    for (int leaf = 0; leaf < LEAVES; leaf++) {
        const tensor u =
            ag_tensor(tape, TENSOR_F32, e->operands[leaf].jets.rank, e->operands[leaf].jets.shape);
        for (int64_t i = 0; i < tensor_size(u); i++) u.f32[i] = direction(leaf, i);
        sum = ag_add(sum, ag_sum(ag_mul(dx[leaf], ag_input(tape, u)), AG_ALL, false));
    }
    return sum;
}

/* The total of the last operands and, so that all derivatives are there, of the first leaf's squares. */
static void check(expression *e, ag_tape *tape) {
    jet total = {0};
    ag_var *y = ag_constant(tape, 0), *x[LEAVES], *dx[LEAVES], *ddx[LEAVES];
    operand squares = {ag_square(e->operands[0].var), {0}};
    jets_map(&squares.jets, &e->operands[0].jets, JET_SQUARE, 0, 0);
    y = ag_add(y, weighted(tape, &squares, &total));
    for (int i = e->count < LEAVES + 3 ? 0 : e->count - 3; i < e->count; i++)
        y = ag_add(y, weighted(tape, &e->operands[i], &total));
    if (!ag_ok(tape)) fprintf(stderr, "%s\n", ag_error(tape));
    CHECK(y);
    compare("value", (double)ag_item(y), total.d[0]);
    for (int leaf = 0; leaf < LEAVES; leaf++) x[leaf] = e->operands[leaf].var;
    const bool first = ag_gradients(y, LEAVES, x, dx, true);
    ag_var *slope = first ? along(e, tape, dx) : NULL;
    if (!ag_ok(tape)) fprintf(stderr, "%s\n", ag_error(tape));
    CHECK(slope);
    compare("gradient", (double)ag_item(slope), total.d[1]);
    const bool second = ag_gradients(slope, LEAVES, x, ddx, false);
    ag_var *curvature = second ? along(e, tape, ddx) : NULL;
    if (!ag_ok(tape)) fprintf(stderr, "%s\n", ag_error(tape));
    CHECK(curvature);
    compare("second gradient", (double)ag_item(curvature), total.d[2]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ag_tape *tape;
    static expression e; /* large, and without pointers into it */
    if (!tape) tape = ag_tape_new();
    CHECK(tape);
    ag_reset(tape);
    e.data = data;
    e.size = size;
    e.count = 0;
    while (e.count < LEAVES) add_leaf(&e, tape);
    for (int step = 0; step < STEPS && e.size > 0; step++) {
        operand *result = &e.operands[e.count];
        *result = (operand){NULL, {.rank = -1}};
        expression_step(&e, result);
        if (!ag_ok(tape)) fprintf(stderr, "%s\n", ag_error(tape));
        CHECK(ag_ok(tape));
        if (!result->var || !jets_ok(&result->jets)) continue;
        check_result(result);
        e.count++;
    }
    check(&e, tape);
    return 0;
}
