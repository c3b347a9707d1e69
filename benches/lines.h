/* What benches/ops measures: each operation of autograd, with operands and what it needs at least. */
#ifndef SAMPO_BENCHES_LINES_H
#define SAMPO_BENCHES_LINES_H

#include "benches/measure.h"

enum { LINE_WIDTH = 256 }; /* numbers of a row */

/* What one row needs at least. Floats: operands read and results written, once each, wherever they lie; flops: two for
 * each addition, product or multiply-add of floats in tensor/kernels/math.h, a division or root taken for one. */
typedef struct cost {
    double floats, flops;
} cost;

typedef struct line {
    const char *op;
    ag_var *(*run)(ag_var **in);
    int inputs;
    ag_operand in[AG_MAX_OPERANDS]; /* a size below 0 stands for the rows divided by it */
    cost forward, backward;
    bool no_gradient;
    const char *reason; /* for measuring nothing */
    const char *form;   /* another name, where an operation has several lines */
    bool once;          /* the operands have sizes of their own: the costs are of the whole */
} line;

extern const line lines[];
extern const int line_count;
/* An operation without a line is elementwise: its first check case on rows of LINE_WIDTH, against its traffic. */
line usual_line(const ag_op *op);

#endif
