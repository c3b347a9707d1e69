/* Sampo autograd: reverse-mode differentiation over tensors.
 *
 *     ag_tape *tape = ag_tape_new();
 *     ag_var *x = ag_variable(tape, points), *y = f(x);        // y is a scalar
 *     if (!ag_backward(y)) puts(ag_error(tape));               // one check for the whole expression
 *     tensor slope = ag_grad(x);
 *     ag_reset(tape);                                          // takes everything back, keeps the memory
 *
 * Conventions, valid for every operation below:
 *  - An operation returns a new variable on the tape of its operands, which owns it: it lives until the
 *    next ag_reset. At least one operand must be on a tape, and all that are must be on the same one.
 *  - An operation that cannot be done returns NULL; the first failure stays on the tape as a text. Every
 *    operation accepts NULL and returns NULL, so an expression is checked once, at its end.
 *  - Operands of elementwise operations broadcast as in NumPy. Axes may be negative: -1 is the last.
 *  - A NULL tape, as ag_tape_new returns it without memory, is accepted everywhere and does nothing.
 *  - A tape, and all on it, belongs to one thread at a time. Parameters belong to no tape, and nothing here
 *    writes to them: any number of threads may use and differentiate one model, each with its own tape.
 *  - C leaves the order open in which arguments are computed: in ag_add(f(x), g(x)) either may come first. Where the
 *    order matters, as for random numbers that both draw, give each a statement of its own.
 */
#ifndef SAMPO_AUTOGRAD_H
#define SAMPO_AUTOGRAD_H

#include "sampo/tensor.h"

SAMPO_BEGIN_DECLS

typedef struct ag_tape ag_tape;
typedef struct ag_var ag_var;
typedef struct ag_op ag_op;
typedef struct ag_hooked ag_hooked;

/* ---- Tapes -------------------------------------------------------------------------------- */

/* A tape is an arena that owns every variable, saved buffer and gradient made on it. NULL when memory is
 * out. Free with ag_tape_free (NULL is accepted). */
ag_tape *ag_tape_new(void);
void ag_tape_free(ag_tape *tape);

/* Ends all variables on the tape and clears its error; O(1), the memory is kept: a loop that repeats the
 * same work allocates nothing after its first turn. */
void ag_reset(ag_tape *tape);

/* Whether nothing has failed since the last reset. */
bool ag_ok(const ag_tape *tape);

/* The first failure since the last reset. Never NULL: while there is none, the text says so, and why an
 * expression may be NULL all the same. The tape owns it until the next reset. */
const char *ag_error(const ag_tape *tape);

/* Writes a failure of the caller's own (unless there is one already); returns NULL, a variable of no shape, as operations
 * do. */
ag_var *ag_fail(ag_tape *tape, const char *format, ...) TENSOR_PRINTF(2, 3);

/* Whether operations are recorded for ag_backward (they are on a new tape). Without it the same code
 * computes values only. */
void ag_set_recording(ag_tape *tape, bool recording);
bool ag_is_recording(const ag_tape *tape);

/* In which precision ag_matmul and ag_linear multiply from now on, forward and in backward; float32 on a new tape.
 * Values, sums and gradients are float32 in any case, and so is all that other operations compute: attention with its
 * products, softmax, norms, losses. */
void ag_set_precision(ag_tape *tape, tensor_precision precision);

/* A row-major tensor of a shape, elements not initialised, that lives as long as the tape's variables: for data that is
 * handed to them. No tensor, with a text on the tape, for a bad shape or without memory. */
tensor ag_tensor(ag_tape *tape, tensor_dtype dtype, int rank, const int64_t *shape);

/* Bytes the tape holds from the system; and those of values and gradients at their most since the last reset. */
size_t ag_tape_bytes(const ag_tape *tape);
size_t ag_tape_peak(const ag_tape *tape);

/* For measuring: the watcher is told when an operation begins and ends, forward and in backward, on the thread that
 * does it. NULL: nobody watches, as on a new tape. */
typedef enum ag_moment { AG_FORWARD_BEGINS, AG_FORWARD_ENDS, AG_BACKWARD_BEGINS, AG_BACKWARD_ENDS } ag_moment;
typedef void ag_watcher(void *context, const ag_op *op, ag_moment moment);
void ag_watch(ag_tape *tape, ag_watcher *watcher, void *context);

/* The same without a program's help: with SAMPO_PROFILE=1 in the environment each tape that is made measures its
 * operations and writes, where it is freed, a table to stderr: calls, time, GFLOP/s and GB/s of each, forward and in
 * backward. */

/* Writes the graph that y was computed by as text for Graphviz (`dot -Tsvg`): operations, parameters by name, shapes.
 * What was not recorded is a leaf. False for NULL, or where writing fails. */
bool ag_dot(FILE *file, ag_var *y);

/* ---- Variables ---------------------------------------------------------------------------- */

struct ag_var {
    tensor value;
    ag_tape *tape;    /* NULL: a parameter */
    const char *name; /* of a parameter, for error texts; NULL: none */
    bool needs_grad;
    const tensor_compact
        *compact; /* a parameter's value, which `value` then is not; NULL: as usual. ag_linear takes it
                                    * as w [in, out], ag_embedding as a table [out, in], where nothing is recorded */

    /* What follows is for operations and the engine; see "Writing an operation". */
    bool keeps_grad;   /* while gradients are computed: its own is asked for */
    bool overwritable; /* see ag_reuse */
    bool inside;       /* see ag_checkpoint: a node of the block */
    int inputs;
    int views;                /* this is a view of a view of ... so many */
    const ag_op *op;          /* NULL: a leaf */
    ag_var **in;              /* operands */
    uint64_t *in_version;     /* of the operands' storage when this was computed */
    uint64_t version;         /* of value's storage when this was computed */
    void *saved;              /* the operation's own data */
    struct ag_buffer *buffer; /* the memory of `value` where the tape allocated it */
    ag_var *previous, *next; /* the nodes recorded before and after this one; backward uses those of a leaf */
    ag_var *grad;            /* its gradient so far */
    const tensor *place;     /* where its gradient is to lie; NULL: anywhere */
    ag_hooked *hooks;        /* see ag_add_hook */
    const ag_var *owner;     /* of a gradient that lies in a place: the variable it belongs to */
    uint64_t reached;        /* the last call that computed gradients through it */
};

/* A leaf of any shape, without gradient (data, integer ids) and with one (float32). The tensor is not copied: its
 * storage must live until the next ag_reset. */
ag_var *ag_input(ag_tape *tape, tensor value);
ag_var *ag_variable(ag_tape *tape, tensor value);

/* A float32 scalar without gradient. */
ag_var *ag_constant(ag_tape *tape, float value);

/* Makes *p a parameter of any shape: a leaf on no tape, used by any number of tapes. The caller owns value and name.
 * One that is not trainable gets no gradient. */
void ag_parameter(ag_var *p, tensor value, bool trainable, const char *name);

/* The parameter as a leaf of its shape on a tape, always the same one until the next reset: for expressions that have
 * no other operand there, such as a penalty on weights, and for its gradient: ag_grad(ag_use(tape, w)). */
ag_var *ag_use(ag_tape *tape, const ag_var *parameter);

/* Leaves on the tape what a parameter is to become when a step is done, such as running statistics; the parameter stays
 * as it is, and its owner decides (nn_backward takes it for buffers). The value, of its shape, is copied, and takes the
 * place of one left before; where ag_checkpoint computes a block once more, nothing is left. False with a text on the
 * tape. ag_left gives it until the next reset; no tensor: there is none. */
bool ag_leave(ag_tape *tape, const ag_var *parameter, tensor value);
tensor ag_left(const ag_tape *tape, const ag_var *parameter);

/* What a model asks of a variable that may be NULL: the size along an axis, the number of axes and of elements (0 for
 * NULL), the tape, which lives until ag_tape_free (NULL for NULL and for a parameter), the first element as a number (NaN
 * for NULL). */
int64_t ag_size(const ag_var *x, int axis);
int ag_rank(const ag_var *x);
int64_t ag_count(const ag_var *x);
ag_tape *ag_tape_of(const ag_var *x);
float ag_item(const ag_var *x);

/* ---- Gradients: they belong to the tape ---------------------------------------------------- *
 * y is a scalar. Each function fails with a text on y's tape where y is not, where it depends on nothing that has a
 * gradient, or where a value that is needed was changed in place since it was used; and where a hook or a block calls
 * it while gradients of that tape are computed. */

/* Adds dy/dx to the gradient of every leaf x that y depends on, parameters included (torch's y.backward()). The
 * gradients stay on the tape. To train a model, nn_backward puts them where its optimizer looks. */
bool ag_backward(ag_var *y);

/* The gradient that ag_backward has gathered for a leaf, contiguous and with the leaf's shape; no tensor where there is
 * none. Of a parameter: ag_grad(ag_use(tape, w)). It lives as long as the tape's variables. */
tensor ag_grad(const ag_var *leaf);

/* dx[i] = dy/dx[i] for chosen variables: leaves, parameters or intermediate results (torch.autograd.grad, jax.grad).
 * Nothing else is computed and no gradient of ag_backward is touched. Zeros where y does not depend on x[i], or x[i] is
 * a parameter that is not trainable. With create_graph the computation is recorded, so that dx[i] can be used in
 * expressions and differentiated again. */
bool ag_gradients(ag_var *y, int count, ag_var *const *x, ag_var **dx, bool create_graph);

/* The same as numbers into the caller's memory: places[i], contiguous and of x[i]'s shape, is overwritten, or added to
 * with `accumulate`. */
bool ag_gradients_into(ag_var *y, int count, ag_var *const *x, const tensor *places, bool accumulate);

/* Calls the hook, until the next reset, each time when the gradient dx of x is complete: of a result before it is
 * passed on, of a leaf (of a parameter that is ag_use(tape, w), with all that its place holds) behind the oldest node
 * that uses it. The hook returns dx, or another variable of that shape that takes its place, made of it by operations:
 * to look at gradients, to clip or to weigh them. Hooks of one variable run in the order in which they were added.
 * False, with a text on x's tape, where x has no gradient. */
typedef ag_var *ag_hook(void *context, ag_var *x, ag_var *dx);
bool ag_add_hook(ag_var *x, ag_hook *hook, void *context);

/* ---- Recomputing ---------------------------------------------------------------------------- */

/* The block's result, whose intermediate results are not kept: backward computes the block once more, for a third more
 * time and much less memory where a model is made of such blocks (torch.utils.checkpoint; Chen et al. 2016). Same bits,
 * second derivatives included, which keep everything. A block is a pure function of its context, of in[count] and of
 * rng; it may use parameters and other variables, but what it makes ends with it, except its result. The context,
 * `bytes` bytes, is copied; with 0 bytes it is passed as it is and lives until backward. rng (NULL: none) is where
 * random numbers come from, such as dropout's: the block draws the same ones again. */
typedef ag_var *ag_block(const void *context, ag_var *const *in, tensor_rng *rng);
ag_var *ag_checkpoint(ag_block *block, const void *context, size_t bytes, int count, ag_var *const *in,
                      tensor_rng *rng);

/* ---- Checking gradients ------------------------------------------------------------------- */

/* An operand of a check: its shape and values. */
typedef struct ag_operand {
    int rank;
    int64_t shape[4];
    float low, high; /* values are spread evenly over low..high and shuffled; both 0: -2..2 */
    int32_t ids;     /* above 0: int32 values in 0..ids-1, which get no gradient */
    bool constant;   /* gets no gradient */
} ag_operand;

enum { AG_MAX_OPERANDS = 4 };

/* A function and the operands it is checked on. */
typedef struct ag_case {
    const char *name;
    ag_var *(*run)(ag_var **in);
    int inputs;
    ag_operand in[AG_MAX_OPERANDS];
    /* Tests derive further cases, in which one of the sizes above is 0 or 1 wherever it stands. But not this one, ... */
    int64_t fixed;
    int64_t not_empty; /* ... and this one only 1. */
} ag_case;

/* Compares the gradient of sum(r run(in)), r fixed weights, with a 4-point difference quotient (in double,
 * step 1/64) for every element of every operand; with order 2, the gradient of that gradient instead.
 * The error of an element is |gradient - quotient| / max(1, largest |quotient| of the operand). Returns the
 * largest error, or a negative number with a text in err where the function itself fails. */
double ag_check(const ag_case *c, int order, tensor_error *err);

/* ---- Writing an operation ----------------------------------------------------------------- *
 * An operation is one block in one file: its function, its backward, its table entry with check cases:
 *
 *     static void exp_backward(ag_var *y, ag_var *dy) { ag_add_grad(y->in[0], ag_mul(dy, y)); }
 *     static ag_var *exp_case(ag_var **in) { return ag_exp(in[0]); }
 *     const ag_op ag_op_exp = {"exp", exp_backward, .reads = AG_READS_OUTPUT, .cases = ...};
 *     ag_var *ag_exp(ag_var *x) {
 *         ag_var *y = ag_begin(&ag_op_exp, 1, &x);
 *         if (ag_out(y, TENSOR_F32, x->value.rank, x->value.shape))
 *             tensor_unary(y->value, TENSOR_EXP, x->value, ag_err(y));
 *         return ag_end(y);
 *     }
 */
struct ag_op {
    const char *name;

    /* Adds to the gradient of each operand its share of dy, the gradient of y: with ag_add_grad and operations of this
     * header, which serves ag_backward and recorded gradients alike; or, for speed, straight into ag_grad_buffer. */
    void (*backward)(ag_var *y, ag_var *dy);

    /* For an operation whose backward writes numbers: the same function of the same operands, made of simpler
     * operations (PyTorch calls it a decomposition). Recorded gradients differentiate this instead. */
    ag_var *(*decompose)(ag_var *y);

    unsigned reads; /* what backward reads: bit i: operand i's value; AG_READS_OUTPUT: y's value */

    const ag_case *cases; /* for ag_check */
    int case_count;
    const char *no_cases; /* the reason for having none */

    /* Where the result is a view of the only operand that shows each element once: the same view of another tensor of the
     * operand's shape. With it, the view's gradient is added to the operand's in place. */
    tensor (*view)(const ag_var *y, tensor x);

    /* The multiplications and additions of computing y, for measuring; backward is taken for twice as much. NULL: it is
     * not measured by these. */
    double (*flops)(const ag_var *y);

    bool compact; /* where nothing is recorded, operands may be parameters with compact values */
};
#define AG_READS(i) (1u << (i))
#define AG_READS_OUTPUT (1u << 31)
#define AG_READS_OPERANDS (~AG_READS_OUTPUT) /* all, however many */

/* All operations; a NULL ends the table. */
extern const ag_op *const ag_ops[];

/* Begins a node: finds the tape of the operands, and puts parameters on it. NULL, with a text that names the operand,
 * where one is NULL or on another tape; NULL where no operand is on a tape or the tape holds a failure. */
ag_var *ag_begin(const ag_op *op, int inputs, ag_var *const *in);
/* The tape's error, which the tape owns, for kernels to report to. Never NULL. */
tensor_error *ag_err(ag_var *y);
/* Allocates y's value. False for a NULL y or without memory. */
bool ag_out(ag_var *y, tensor_dtype dtype, int rank, const int64_t *shape);
/* Makes y's value a view of operand `of`. False for a NULL y or no tensor. */
bool ag_out_view(ag_var *y, ag_var *of, tensor view);
/* Memory for y->saved, until the next reset. */
void *ag_save(ag_var *y, size_t bytes);
/* Records the node, if anything needs its gradient. Returns y, or NULL where the tape holds a failure. */
ag_var *ag_end(ag_var *y);

/* In backward: whether the gradient of x is asked for. */
bool ag_needs_grad(const ag_var *x);
/* In backward: adds g to the gradient of x, summed over the axes along which x was broadcast. */
void ag_add_grad(ag_var *x, ag_var *g);
/* In a backward that writes numbers: the memory of x's gradient, no tensor where it is not asked for or memory is
 * out. With `fresh` the caller overwrites it where *fresh becomes true, else adds; with NULL it always adds. Operands may
 * be views of each other: write one gradient before you ask for the memory of the next. */
tensor ag_grad_buffer(ag_var *y, ag_var *x, bool *fresh);
/* In backward: x, a result that backward has just made, whose memory the next elementwise operation may take for its own
 * result. Without effect where the gradient is recorded. */
ag_var *ag_reuse(ag_var *x);

SAMPO_END_DECLS

#include "sampo/convolution.h"
#include "sampo/creation.h"
#include "sampo/indexing.h"
#include "sampo/losses.h"
#include "sampo/operations.h"

#endif
