/* A graph as a drawing for Graphviz. */
#include <inttypes.h>

#include "autograd/autograd_internal.h"

/* A text inside quotes. */
static void put(FILE *file, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putc('\\', file);
        putc(*text == '\n' ? ' ' : *text, file);
    }
}

/* Whether it is in the chain of the tape's nodes. */
static bool is_node(const ag_var *x) {
    return x->op && x->needs_grad;
}

static void declare(FILE *file, const ag_var *x, uint64_t number) {
    char shape[TENSOR_SHAPE_TEXT];
    fprintf(file, "  n%" PRIu64 " [label=\"", number);
    put(file, x->op ? x->op->name : x->name ? x->name : x->needs_grad ? "variable" : "data");
    fprintf(file, "\\n%s\"", tensor_shape_text(shape, sizeof shape, x->value.rank, x->value.shape));
    if (!x->op) fprintf(file, ", shape=%s", x->needs_grad ? "box, style=filled" : "box");
    fprintf(file, "];\n");
}

/* The number of a variable in the drawing; what is met for the first time gets one. */
static uint64_t number_of(FILE *file, ag_var *x, uint64_t before) {
    if (x->reached <= before) {
        x->reached = ++x->tape->calls;
        declare(file, x, x->reached - before);
    }
    return x->reached - before;
}

bool ag_dot(FILE *file, ag_var *y) {
    if (!file || !y || !y->tape) return false;
    const uint64_t before = y->tape->calls; /* marks of calls so far are not above it */
    fprintf(file, "digraph {\n  node [fontname=\"sans-serif\", shape=ellipse];\n");
    number_of(file, y, before);
    for (ag_var *n = is_node(y) ? y : NULL; n; n = n->previous) {
        if (n->reached <= before) continue;
        for (int i = 0; i < n->inputs; i++) {
            const uint64_t from = number_of(file, n->in[i], before);
            fprintf(file, "  n%" PRIu64 " -> n%" PRIu64 ";\n", from, n->reached - before);
        }
    }
    fprintf(file, "}\n");
    return !ferror(file);
}
