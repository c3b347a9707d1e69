/* Gradient checking: backward against difference quotients of the forward pass. */
#include "autograd/autograd_internal.h"

#include <math.h>

/* Differences are multiples of 1/64, and operands are rounded to multiples of 1/1024, so that x + step is
 * exact. */
#define STEP (1.0 / 64)

typedef struct check {
    const ag_case *c;
    int order;
    ag_tape *tape;                    /* for the function; reset at each call */
    tensor_arena *arena;              /* for what follows */
    tensor in[AG_MAX_OPERANDS];       /* the operands' values */
    tensor gradient[AG_MAX_OPERANDS]; /* by backward */
} check;

/* Fixed weights of both signs without symmetry, for element i of tensor number k. */
static float weight(int64_t i, int k) {
    const int64_t h = (i + 1) * 37 + (k + 1) * 11;
    return (float)(h * h % 61) / 32 - 0.9f;
}

/* Evenly spread over low..high, shuffled by a step that has no factor in common with the count. */
static tensor spread(check *t, const ag_operand *o, int number, tensor_error *err) {
    const tensor x = tensor_new(t->arena, o->ids > 0 ? TENSOR_I32 : TENSOR_F32, o->rank, o->shape, err);
    if (!tensor_ok(x)) return x;
    const int64_t n = tensor_size(x);
    const double low = o->low == 0 && o->high == 0 ? -2 : o->low,
                 high = o->low == 0 && o->high == 0 ? 2 : o->high;
    int64_t step = 7 + 2 * number;
    for (int64_t d = 2; n > 0 && d <= step; d++)
        if (n % d == 0 && step % d == 0) {
            step++;
            d = 1;
        }
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = (i * step + 3 * number) % n;
        if (o->ids > 0)
            x.i32[i] = (int32_t)((i * i + i + number) % o->ids);
        else
            x.f32[i] = (float)(round((low + (high - low) * ((double)at + 0.5) / (double)n) * 1024) / 1024);
    }
    return x;
}

static bool differentiable(const ag_operand *o) {
    return o->ids == 0 && !o->constant;
}

/* sum(r y) as a variable, r the fixed weights. */
static ag_var *weighted_sum(ag_var *y, int number) {
    if (!y) return NULL;
    const tensor r = ag_tensor_like(y->tape, y->value);
    if (!tensor_ok(r)) return NULL;
    for (int64_t i = 0; i < tensor_size(r); i++) r.f32[i] = weight(i, number);
    return ag_sum(ag_mul(y, ag_input(y->tape, r)), AG_ALL, false);
}

/* The same of a tensor, in double. */
static bool weighted_value(check *t, tensor y, int number, double *sum, tensor_error *err) {
    y = tensor_contiguous(t->tape->arena, y, err);
    if (!tensor_ok(y)) return false;
    for (int64_t i = 0; i < tensor_size(y); i++) *sum += (double)weight(i, number) * (double)y.f32[i];
    return true;
}

static ag_var *run(check *t, ag_var **in) {
    ag_reset(t->tape);
    for (int k = 0; k < t->c->inputs; k++)
        in[k] = differentiable(&t->c->in[k]) ? ag_variable(t->tape, t->in[k]) : ag_input(t->tape, t->in[k]);
    return t->c->run(in);
}

/* Moves the failure on the tape to err. */
static bool failed(check *t, tensor_error *err) {
    tensor_fail(err, "%s", ag_error(t->tape));
    return false;
}

/* The number that is differentiated: order 1: sum(r y); order 2: the operands' gradients of that, summed with
 * weights. */
static bool value(check *t, double *sum, tensor_error *err) {
    ag_var *in[AG_MAX_OPERANDS], *y = run(t, in);
    *sum = 0;
    if (!y) return failed(t, err);
    if (t->order == 1) return weighted_value(t, y->value, 0, sum, err);
    if (!ag_backward(weighted_sum(y, 0))) return failed(t, err);
    for (int k = 0; k < t->c->inputs; k++)
        if (tensor_ok(ag_grad(in[k])) && !weighted_value(t, ag_grad(in[k]), k + 1, sum, err)) return false;
    return true;
}

/* The sum, with weights, of the recorded gradients of y for all operands that have one. */
static ag_var *sum_of_gradients(check *t, ag_var *y, ag_var **in) {
    ag_var *x[AG_MAX_OPERANDS], *dx[AG_MAX_OPERANDS], *total = NULL;
    int number[AG_MAX_OPERANDS], count = 0;
    for (int k = 0; k < t->c->inputs; k++)
        if (differentiable(&t->c->in[k])) number[count] = k, x[count++] = in[k];
    if (!ag_gradients(y, count, x, dx, true)) return NULL;
    for (int i = 0; i < count; i++) {
        ag_var *part = weighted_sum(dx[i], number[i] + 1);
        total = total ? ag_add(total, part) : part;
    }
    return total;
}

/* Its gradient by backward, into t->gradient. */
static bool gradients(check *t, tensor_error *err) {
    ag_var *in[AG_MAX_OPERANDS], *y = weighted_sum(run(t, in), 0);
    if (t->order == 2) y = sum_of_gradients(t, y, in);
    if (!y) return failed(t, err);
    if (y->needs_grad && !ag_backward(y)) return failed(t, err);
    for (int k = 0; k < t->c->inputs; k++) {
        if (!differentiable(&t->c->in[k])) continue;
        const tensor g = ag_grad(in[k]);
        if (!(tensor_ok(g) ? tensor_copy(t->gradient[k], g, err) : tensor_fill(t->gradient[k], 0, err)))
            return false;
    }
    return true;
}

/* (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h */
static bool quotient(check *t, float *x, double *slope, tensor_error *err) {
    const float at = *x;
    double f[4];
    for (int i = 0; i < 4; i++) {
        *x = (float)((double)at + STEP * (double[]){-2, -1, 1, 2}[i]);
        if (!value(t, &f[i], err)) return false;
    }
    *x = at;
    *slope = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * STEP);
    return true;
}

static double largest_error(check *t, tensor_error *err) {
    double worst = 0;
    for (int k = 0; k < t->c->inputs; k++) {
        if (!differentiable(&t->c->in[k])) continue;
        double error = 0, size = 1;
        for (int64_t i = 0; i < tensor_size(t->in[k]); i++) {
            double slope;
            if (!quotient(t, &t->in[k].f32[i], &slope, err)) return -1;
            const double off = fabs((double)t->gradient[k].f32[i] - slope);
            size = fmax(size, fabs(slope));
            error = off <= error ? error : off; /* NaN too becomes the error */
        }
        worst = error / size <= worst ? worst : error / size;
    }
    return worst;
}

double ag_check(const ag_case *c, int order, tensor_error *err) {
    check t = {.c = c, .order = order, .tape = ag_tape_new(), .arena = tensor_arena_new(err)};
    bool ok = t.tape && t.arena;
    if (!ok) tensor_fail(err, "out of memory");
    for (int k = 0; ok && k < c->inputs; k++) {
        t.in[k] = spread(&t, &c->in[k], k, err);
        t.gradient[k] = tensor_new(t.arena, TENSOR_F32, c->in[k].rank, c->in[k].shape, err);
        ok = tensor_ok(t.in[k]) && tensor_ok(t.gradient[k]);
    }
    const double worst = ok && gradients(&t, err) ? largest_error(&t, err) : -1;
    tensor_arena_free(t.arena);
    ag_tape_free(t.tape);
    return worst;
}
