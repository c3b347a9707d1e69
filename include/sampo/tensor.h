/* Sampo tensors: strided views of float32 and int32 storage, and the numerical kernels over them.
 *
 * Conventions, valid for every function below:
 *  - A `tensor` is a small value: a view of storage that an arena (or the caller) owns. Copying the
 *    struct copies the view, never the elements. A tensor lives as long as its storage.
 *  - A tensor whose `storage` is NULL is "no tensor": what a failed function returns. Every function
 *    accepts it and fails in turn, without replacing the first error text, so that a chain of calls
 *    is checked once at its end.
 *  - The last argument `err` receives the text of the first failure; it may be NULL.
 *  - Kernels write into a destination `out` whose shape must be the result's shape. They take any
 *    strides, also 0 and negative ones. Unless said otherwise `out` may be an operand itself (the
 *    same view), but must not overlap one in another way, nor have strides of 0.
 *  - Numerics: elements are float32; sums have an order fixed by the source alone (16 lanes and a
 *    fixed tree, or ascending index), so results do not depend on the number of threads, nor on the
 *    instruction set as long as it has fused multiply-add.
 *  - Axes may be negative: -1 is the last.
 */
#ifndef SAMPO_TENSOR_H
#define SAMPO_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A value of a struct type, TENSOR_LITERAL(tensor_rng){seed, 0, 0}: in C a compound literal; C++ writes it without
 * parentheses. */
#ifdef __cplusplus
#include <initializer_list>
#define TENSOR_LITERAL(type) type
template <class... sizes> char (&tensor_shape_rank(sizes...))[sizeof...(sizes)]; /* for TENSOR_SHAPE */
#else
#define TENSOR_LITERAL(type) (type)
#endif

/* Around the declarations of every public header. The library exports these: all else in it is compiled with
 * -fvisibility=hidden. */
#if defined(__GNUC__)
#define SAMPO_VISIBILITY(change) _Pragma(change)
#else
#define SAMPO_VISIBILITY(change)
#endif
#ifdef __cplusplus
#define SAMPO_BEGIN_DECLS SAMPO_VISIBILITY("GCC visibility push(default)") extern "C" {
#define SAMPO_END_DECLS                                                                                      \
    }                                                                                                        \
    SAMPO_VISIBILITY("GCC visibility pop")
#else
#define SAMPO_BEGIN_DECLS SAMPO_VISIBILITY("GCC visibility push(default)")
#define SAMPO_END_DECLS SAMPO_VISIBILITY("GCC visibility pop")
#endif

SAMPO_BEGIN_DECLS

/* ---- Errors ------------------------------------------------------------------------------- */

/* The text of the first failure, empty while there is none; where memory was wanting it has the words "out of memory".
 * Initialise with {0}: one that holds anything else seems to have failed already, and the message is lost. */
typedef struct tensor_error {
    char text[256];
} tensor_error;

#if defined(__GNUC__)
#define TENSOR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define TENSOR_PRINTF(text, first)
#endif

/* Writes the formatted text into `err`, unless `err` is NULL or holds an earlier failure. Always
 * returns false, so that a function can `return tensor_fail(err, ...)`. */
bool tensor_fail(tensor_error *err, const char *format, ...) TENSOR_PRINTF(2, 3);

/* ---- Memory ------------------------------------------------------------------------------- */

/* Memory behind one or more tensors. `version` counts the changes made in place by kernels, so that
 * autograd can tell when a value it saved has been overwritten. */
typedef struct tensor_storage {
    void *data;
    size_t bytes;
    uint64_t version;
} tensor_storage;

/* An arena: memory that is handed out in order and taken back all at once. It grows by blocks and
 * keeps them on reset, so a loop that resets it allocates nothing after its first turn. */
typedef struct tensor_arena tensor_arena;

/* A new, empty arena; NULL when memory is out. Free with tensor_arena_free (NULL is accepted). */
tensor_arena *tensor_arena_new(tensor_error *err);
void tensor_arena_free(tensor_arena *arena);

/* Takes back everything allocated on the arena; O(1), the memory is kept for what comes next. All
 * tensors on the arena end here. */
void tensor_arena_reset(tensor_arena *arena);

/* `bytes` bytes, 64-byte aligned, not initialised; they live until the next reset. NULL on failure. */
void *tensor_arena_alloc(tensor_arena *arena, size_t bytes, tensor_error *err);

/* Bytes the arena holds from the system, in use or not. */
size_t tensor_arena_bytes(const tensor_arena *arena);

/* ---- Tensors and views -------------------------------------------------------------------- */

enum { TENSOR_MAX_RANK = 8 };

typedef enum tensor_dtype { TENSOR_F32 = 1, TENSOR_I32 = 2 } tensor_dtype; /* both four bytes wide */

typedef struct tensor {
    union { /* the element at index 0, 0, ... */
        void *data;
        float *f32;
        int32_t *i32;
    };
    tensor_storage *storage; /* NULL: no tensor */
    tensor_dtype dtype;
    int rank;                        /* 0 to 8; a rank of 0 is a scalar */
    int64_t shape[TENSOR_MAX_RANK];  /* sizes, each >= 0; an empty tensor has one that is 0 */
    int64_t stride[TENSOR_MAX_RANK]; /* in elements; 0 repeats an element, negative walks backwards */
} tensor;

/* A shape as an argument pair "rank, sizes": tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(2, 3), err).
 * The array lives until the enclosing block ends, in C++ until the statement does. A scalar is written 0, NULL. */
#ifdef __cplusplus
#define TENSOR_SHAPE(...)                                                                                    \
    int(sizeof(tensor_shape_rank(__VA_ARGS__))), std::initializer_list<int64_t>{__VA_ARGS__}.begin()
#else
#define TENSOR_SHAPE(...)                                                                                    \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) {                                 \
        __VA_ARGS__                                                                                          \
    }
#endif

/* A new tensor on the arena: row-major, elements not initialised (tensor_zeros: all zero). Fails on
 * a rank over 8, a negative size, a size that overflows, or when memory is out. */
tensor tensor_new(tensor_arena *arena, tensor_dtype dtype, int rank, const int64_t *shape, tensor_error *err);
tensor tensor_zeros(tensor_arena *arena, tensor_dtype dtype, int rank, const int64_t *shape,
                    tensor_error *err);

/* A row-major view of memory that the caller owns: `storage` (data and bytes set, version 0) must
 * outlive the view. Fails when the shape needs more than storage->bytes. */
tensor tensor_wrap(tensor_storage *storage, tensor_dtype dtype, int rank, const int64_t *shape,
                   tensor_error *err);

/* Whether x is a tensor, of any shape. */
static inline bool tensor_ok(tensor x) {
    return x.storage != NULL;
}
int64_t tensor_size(tensor x);       /* number of elements: the product of the sizes */
bool tensor_is_contiguous(tensor x); /* whether it is row-major without gaps (axes of size 1 are ignored) */
bool tensor_same_shape(tensor a, tensor b); /* whether rank and sizes are equal */

/* The shape as text, "[256, 64]", into `buffer`, which the caller owns; returns it, never NULL.
 * TENSOR_SHAPE_TEXT bytes hold any. */
enum { TENSOR_SHAPE_TEXT = 192 };
char *tensor_shape_text(char *buffer, size_t size, int rank, const int64_t *shape);

/* Views: no element is copied, storage is shared. Each fails on an axis, a size or a range that does
 * not fit, naming both. */

/* Same elements, other shape; one size may be -1 and is computed. Fails where strides rule out a view
 * (copy with tensor_contiguous first). */
tensor tensor_reshape(tensor x, int rank, const int64_t *shape, tensor_error *err);
tensor tensor_transpose(tensor x, int axis0, int axis1, tensor_error *err); /* swaps two axes */
tensor tensor_permute(tensor x, const int *axes, tensor_error *err);        /* axis i is x's axis axes[i] */
/* Elements start, start+step, ... before `stop` along `axis`, as Python's x[start:stop:step]: negative
 * bounds count from the end, bounds outside are clipped, step is not 0. With a negative step, a stop
 * of INT64_MIN means "through index 0". */
tensor tensor_slice(tensor x, int axis, int64_t start, int64_t stop, int64_t step, tensor_error *err);
/* Broadcasts to `shape`: axes of size 1, and missing leading axes, repeat with stride 0. */
tensor tensor_expand(tensor x, int rank, const int64_t *shape, tensor_error *err);
tensor tensor_squeeze(tensor x, int axis, tensor_error *err);   /* drops an axis of size 1 */
tensor tensor_unsqueeze(tensor x, int axis, tensor_error *err); /* inserts one before `axis`; -1: last */

/* x itself where it is contiguous, else a row-major copy of its shape on the arena. */
tensor tensor_contiguous(tensor_arena *arena, tensor x, tensor_error *err);

/* NumPy's broadcasting rule: the common shape of a and b into *rank and shape[TENSOR_MAX_RANK]. `what`
 * names the operation in the error text: "add: shapes do not broadcast: [3, 4] and [5]". */
bool tensor_broadcast_shape(const char *what, tensor a, tensor b, int *rank, int64_t *shape,
                            tensor_error *err);

/* ---- Printing ------------------------------------------------------------------------------ */

/* Writes x, of any shape, as NumPy's print does (up to its version 2.2; 8 digits at most, long tensors abbreviated with
 * "..."), without a newline at the end. False where writing fails or x is no tensor. */
bool tensor_print(FILE *file, tensor x);

/* ---- Threads ------------------------------------------------------------------------------- *
 * One pool a process, started at first use, sized from the processors the process may run on and from the time
 * that its control group (a container's quota) has on them, or as the environment variable SAMPO_THREADS says. A thread of
 * your own that calls operations needs a stack of 1 MiB, as kernels keep copies of their operands on it. */

/* Number of threads that parallel work uses, the caller's included; at least 1. */
int tensor_threads(void);
/* Fails with a text where SAMPO_THREADS is no such number and so was passed over: programs call it once at their
 * start. */
bool tensor_threads_check(tensor_error *err);
/* Sets it (1 to TENSOR_MAX_THREADS; 0: as many as processors). Not while parallel work runs. Fails where
 * threads cannot be started; then the old number stays, or as many of them as run. */
enum { TENSOR_MAX_THREADS = 256 };
bool tensor_set_threads(int threads, tensor_error *err);

/* How many bytes of memory the process can still take without swapping: what the machine has free, or less where a
 * control group or a limit of the process says so. -1: not known. */
int64_t tensor_memory(void);

/* Calls work(context, begin, end, worker) for ranges that cover 0..n-1, on up to tensor_threads()
 * threads, `grain` indices a range at least; returns when all are done. Every `begin` is a multiple of
 * grain. `worker` in 0..tensor_threads()-1 is unique among the calls under way within one outermost
 * tensor_parallel. Which worker gets which range varies: results must not depend on it. Runs inline where
 * n < 2 grain, with one thread, and inside another tensor_parallel (the worker's number is then kept). */
typedef void tensor_work(void *context, int64_t begin, int64_t end, int worker);
void tensor_parallel(int64_t n, int64_t grain, tensor_work *work, void *context);

/* ---- Instruction sets ---------------------------------------------------------------------- *
 * Kernels exist once per instruction set; the best one this processor has is chosen at first use. The
 * environment variable SAMPO_ISA forces another: baseline, avx2, avx512, avx512bf16, neon. */

/* The set in use. Where SAMPO_ISA names one that is unknown or not to be had here, the best one is used
 * and tensor_isa_check fails with a text that says so: programs call it once at their start. Names are constants. */
const char *tensor_isa(void);
bool tensor_isa_check(tensor_error *err);
/* The i-th set compiled in that this processor can run, best first, a constant; NULL after the last. */
const char *tensor_isa_available(int i);

SAMPO_END_DECLS

#include "sampo/arrange.h"
#include "sampo/kernels.h"
#include "sampo/windows.h"

#endif
