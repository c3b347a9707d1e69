/* Where the time of a program goes: with SAMPO_PROFILE=1 each tape measures its operations and says so where it ends. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "autograd/autograd_internal.h"

enum { MOST_OPERATIONS = 256, DEEPEST = 64 };

typedef struct pass {
    double seconds, flops, bytes;
    int64_t calls;
} pass;

/* An operation, forward and in backward. */
typedef struct row {
    const ag_op *op;
    pass passes[2];
} row;

struct ag_profile {
    row rows[MOST_OPERATIONS]; /* a hash table; what does not fit is left out */
    double began[DEEPEST],
        inside[DEEPEST]; /* of the operations under way: when, and seconds of others within */
    int depth;
    size_t peak; /* bytes of values and gradients */
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

ag_profile *ag_profile_new(void) {
    const char *wish = getenv("SAMPO_PROFILE");
    return wish && strcmp(wish, "1") == 0 ? calloc(1, sizeof(ag_profile)) : NULL;
}

static row *row_of(ag_profile *p, const ag_op *op) {
    const size_t first = (size_t)((uintptr_t)op / 16 * 0x9E3779B97F4A7C15u >> 20) % MOST_OPERATIONS;
    for (size_t i = 0; i < MOST_OPERATIONS; i++) {
        row *r = &p->rows[(first + i) % MOST_OPERATIONS];
        if (!r->op) r->op = op;
        if (r->op == op) return r;
    }
    return NULL;
}

static void add(pass *p, const ag_var *y, bool backward, double seconds) {
    double operands = 0;
    for (int i = 0; i < y->inputs; i++) operands += (double)tensor_size(y->in[i]->value);
    p->calls++;
    p->seconds += seconds;
    p->bytes += sizeof(float) * ((backward ? 2 : 1) * operands + (double)tensor_size(y->value));
    if (y->op->flops) p->flops += (backward ? 2 : 1) * y->op->flops(y);
}

void ag_profile_tell(ag_profile *p, const ag_var *y, ag_moment moment) {
    const bool ends = moment == AG_FORWARD_ENDS || moment == AG_BACKWARD_ENDS;
    if (!ends) {
        if (p->depth < DEEPEST) p->inside[p->depth] = 0, p->began[p->depth] = now();
        p->depth++;
        return;
    }
    if (p->depth == 0 || --p->depth >= DEEPEST) return;
    const double seconds = now() - p->began[p->depth];
    row *r = row_of(p, y->op);
    const bool backward = moment == AG_BACKWARD_ENDS;
    if (r) add(&r->passes[backward], y, backward, seconds - p->inside[p->depth]);
    if (p->depth > 0) p->inside[p->depth - 1] += seconds;
}

void ag_profile_reset(ag_profile *p, size_t used) {
    if (!p) return;
    p->depth = 0; /* an operation that failed has no end */
    if (used > p->peak) p->peak = used;
}

typedef struct line {
    const char *name;
    pass pass;
    bool backward;
} line;

static int compare_lines(const void *a, const void *b) {
    const double x = ((const line *)a)->pass.seconds, y = ((const line *)b)->pass.seconds;
    return (x < y) - (x > y);
}

void ag_profile_end(ag_profile *p, size_t used) {
    if (!p) return;
    ag_profile_reset(p, used);
    line lines[2 * MOST_OPERATIONS];
    int count = 0;
    double total = 0;
    for (int i = 0; i < 2 * MOST_OPERATIONS; i++) {
        const row *r = &p->rows[i / 2];
        if (!r->op || r->passes[i % 2].calls == 0) continue;
        lines[count++] = (line){r->op->name, r->passes[i % 2], i % 2};
        total += r->passes[i % 2].seconds;
    }
    if (count > 0) {
        qsort(lines, (size_t)count, sizeof *lines, compare_lines);
        fprintf(
            stderr,
            "SAMPO_PROFILE: %.3f ms in the operations of a tape, values and gradients took %.3f MB at most\n",
            1e3 * total, 1e-6 * (double)p->peak);
        fprintf(stderr, "%-20s %-8s %9s %11s %6s %9s %9s\n", "operation", "pass", "calls", "ms", "%",
                "GFLOP/s", "GB/s");
    }
    for (int i = 0; i < count; i++) {
        const pass *s = &lines[i].pass;
        const double seconds = s->seconds > 0 ? s->seconds : 1e-9;
        char rate[24] = "";
        if (s->flops > 0) snprintf(rate, sizeof rate, "%.1f", 1e-9 * s->flops / seconds);
        fprintf(stderr, "%-20s %-8s %9lld %11.3f %6.1f %9s %9.2f\n", lines[i].name,
                lines[i].backward ? "backward" : "forward", (long long)s->calls, 1e3 * s->seconds,
                total > 0 ? 100 * s->seconds / total : 0, rate, 1e-9 * s->bytes / seconds);
    }
    free(p);
}
