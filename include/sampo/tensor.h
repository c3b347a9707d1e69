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

/* The library exports what its public headers declare: all else in it is compiled with -fvisibility=hidden. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ------------------------------------------------------------------------------- */

/* The text of the first failure, empty while there is none. Initialise with {0}. */
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

static inline bool tensor_ok(tensor x) {
    return x.storage != NULL;
}
int64_t tensor_size(tensor x);       /* number of elements: the product of the sizes */
bool tensor_is_contiguous(tensor x); /* row-major without gaps (axes of size 1 are ignored) */
bool tensor_same_shape(tensor a, tensor b);

/* The shape as text, "[256, 64]", into `buffer`; returns `buffer`. TENSOR_SHAPE_TEXT bytes hold any. */
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

/* x itself where it is contiguous, else a row-major copy on the arena. */
tensor tensor_contiguous(tensor_arena *arena, tensor x, tensor_error *err);

/* NumPy's broadcasting rule: the common shape of a and b into *rank and shape[TENSOR_MAX_RANK]. `what`
 * names the operation in the error text: "add: shapes do not broadcast: [3, 4] and [5]". */
bool tensor_broadcast_shape(const char *what, tensor a, tensor b, int *rank, int64_t *shape,
                            tensor_error *err);

/* ---- Elementwise -------------------------------------------------------------------------- */

/* out = x; the same dtype, x broadcasts to out. Overlap is not permitted. */
bool tensor_copy(tensor out, tensor x, tensor_error *err);
/* Every element becomes `value`; for int32 truncated, and an error where it does not fit. */
bool tensor_fill(tensor out, double value, tensor_error *err);

/* Unary operations on float32: name, formula and the bound on its error in units in the last place.
 * One list for the enumeration, the names and the kernels. */
#define TENSOR_UNARY_OPS(_)                                                                                  \
    _(NEG, "neg")               /* -x; exact */                                                              \
    _(ABS, "abs")               /* |x|; exact */                                                             \
    _(SIGN, "sign")             /* -1, 0 or 1; NaN and -0 stay; exact */                                     \
    _(EXP, "exp")               /* e^x; 1 ulp */                                                             \
    _(LOG, "log")               /* natural logarithm; 1 ulp; NaN below 0 */                                  \
    _(SQRT, "sqrt")             /* correctly rounded; NaN below 0 */                                         \
    _(TANH, "tanh")             /* 2 ulp */                                                                  \
    _(ERF, "erf")               /* 2 ulp */                                                                  \
    _(SIGMOID, "sigmoid")       /* 1 / (1 + e^-x); 3 ulp */                                                  \
    _(SOFTPLUS, "softplus")     /* log(1 + e^x); 5 ulp */                                                    \
    _(RELU, "relu")             /* max(x, 0); NaN and -0 stay; exact */                                      \
    _(GELU_TANH, "gelu_tanh")   /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */                          \
    _(GELU_ERF, "gelu_erf")     /* x/2 (1 + erf(x / sqrt 2)) */                                              \
    _(RECIPROCAL, "reciprocal") /* 1 / x; correctly rounded */                                               \
    _(SQUARE, "square")         /* x x; correctly rounded */

/* Binary operations on float32 with broadcasting. Comparisons give 1 or 0. Those named vjp are products of a
 * gradient a with the slope of a function at b, which backward passes use; their bounds are for all b. */
#define TENSOR_BINARY_OPS(_)                                                                                 \
    _(ADD, "add")                       /* a + b */                                                          \
    _(SUB, "sub")                       /* a - b */                                                          \
    _(MUL, "mul")                       /* a b */                                                            \
    _(DIV, "div")                       /* a / b; correctly rounded */                                       \
    _(POW, "pow")                       /* a^b as C's powf, 1 ulp */                                         \
    _(MAX, "max")                       /* the larger; NaN if either is */                                   \
    _(MIN, "min")                       /* the smaller; NaN if either is */                                  \
    _(LESS, "less")                     /* a < b */                                                          \
    _(LESS_EQUAL, "less_equal")         /* a <= b */                                                         \
    _(EQUAL, "equal")                   /* a == b */                                                         \
    _(RELU_VJP, "relu_vjp")             /* b > 0 ? a : 0 */                                                  \
    _(GELU_TANH_VJP, "gelu_tanh_vjp")   /* a times the slope of gelu_tanh at b */                            \
    _(GELU_ERF_VJP, "gelu_erf_vjp")     /* a times the slope of gelu_erf at b */                             \
    _(TANH_VJP, "tanh_vjp")             /* a / cosh(b)^2; 7 ulp */                                           \
    _(SIGMOID_VJP, "sigmoid_vjp")       /* a s(b) s(-b), s: sigmoid; 7 ulp */                                \
    _(ERF_VJP, "erf_vjp")               /* a 2/sqrt(pi) e^(-b^2); 4 ulp */                                   \
    _(SQRT_VJP, "sqrt_vjp")             /* a / (2 b), b the root; correctly rounded */                       \
    _(SQUARE_VJP, "square_vjp")         /* 2 a b; correctly rounded */                                       \
    _(POW_BASE_SLOPE, "pow_base_slope") /* b a^(b-1), the slope of a^b in a; 0 where b is 0; 2 ulp */        \
    _(POW_EXPONENT_SLOPE, "pow_exponent_slope") /* a^b log a; 0 where a is 0 and b >= 0; 2 ulp */            \
    _(MAX_SHARE, "max_share") /* a > b: 1, a == b: 1/2, else 0: the slope of max(a, b) in a */

#define TENSOR_ENUM_ENTRY(name, text) TENSOR_##name,
typedef enum tensor_unary_op { TENSOR_UNARY_OPS(TENSOR_ENUM_ENTRY) TENSOR_UNARY_COUNT } tensor_unary_op;
typedef enum tensor_binary_op { TENSOR_BINARY_OPS(TENSOR_ENUM_ENTRY) TENSOR_BINARY_COUNT } tensor_binary_op;

const char *tensor_unary_name(tensor_unary_op op);
const char *tensor_binary_name(tensor_binary_op op);

bool tensor_unary(tensor out, tensor_unary_op op, tensor x, tensor_error *err);             /* out = op(x) */
bool tensor_binary(tensor out, tensor_binary_op op, tensor a, tensor b, tensor_error *err); /* a op b */

/* out = a x + b with two numbers, one multiply-add an element. */
bool tensor_affine(tensor out, float a, tensor x, float b, tensor_error *err);

/* y += a x with a number, one multiply-add an element; x broadcasts to y (BLAS's axpy). */
bool tensor_axpy(tensor y, float a, tensor x, tensor_error *err);

/* out = cond != 0 ? a : b; the three broadcast to out; all float32. */
bool tensor_where(tensor out, tensor cond, tensor a, tensor b, tensor_error *err);

/* ---- Reductions --------------------------------------------------------------------------- */

typedef enum tensor_reduce_op {
    TENSOR_SUM,
    TENSOR_MEAN,
    TENSOR_REDUCE_MAX,
    TENSOR_REDUCE_COUNT
} tensor_reduce_op;

/* Reduces the axes whose bit is set in `axes` (bit i: axis i). out has x's rank with 1 for each reduced
 * axis. An empty sum is 0, an empty mean NaN, an empty max an error. With `accumulate`, which sum and
 * mean permit, the result is added to out. Max of a row with NaN is NaN.
 * A sum's error does not grow with the count: at most 72 roundings of float (1 + 2^-24), relative to the sum of the
 * sizes, as runs of elements, added in float, are added up in double: blocks of 1024 in 16 lanes along the last axis,
 * else 16. */
bool tensor_reduce(tensor out, tensor_reduce_op op, tensor x, unsigned axes, bool accumulate,
                   tensor_error *err);

/* Index of the first largest element along `axis` (NaN counts as largest); out is int32 with 1 at `axis`. */
bool tensor_argmax(tensor out, tensor x, int axis, tensor_error *err);

/* Sum of squares of all elements, in double, in a fixed order. 0 for "no tensor". */
double tensor_sum_squares(tensor x);

/* ---- Matrix products ---------------------------------------------------------------------- */

/* out[..., M, N] = a[..., M, K] b[..., K, N], batch axes broadcast; ranks >= 2. Each element is one
 * chain of fused multiply-adds over ascending k, starting from 0 or, with `accumulate`, from out.
 * out must not overlap a or b. Error: "matmul: inner sizes differ: [256, 64] x [63, 192]". */
bool tensor_matmul(tensor out, tensor a, tensor b, bool accumulate, tensor_error *err);

/* The shape of the result, by the rules above. */
bool tensor_matmul_shape(tensor a, tensor b, int *rank, int64_t *shape, tensor_error *err);

/* out[..., N] = x[..., K] w[K, N] + bias[N]: the chain starts from bias; no tensor: from 0. */
bool tensor_linear(tensor out, tensor x, tensor w, tensor bias, tensor_error *err);
bool tensor_linear_shape(tensor x, tensor w, tensor bias, int *rank, int64_t *shape, tensor_error *err);

/* ---- Compact weights ---------------------------------------------------------------------- *
 * A matrix of weights that is only read, in half or a quarter of its memory, in the order in which products with few rows
 * stream it. TENSOR_BF16: each number rounded to bfloat16, to nearest even. TENSOR_INT8: the 32 numbers that a sum meets
 * one after the other share a scale s, bfloat16, at least their largest size / 127; each is q s with an integer q of -127
 * to 127, rounded to nearest: so none is wrong by more than half of s. */
typedef enum tensor_precision { TENSOR_BF16 = 1, TENSOR_INT8 } tensor_precision;
typedef struct tensor_compact {
    tensor_precision precision;
    int64_t in, out; /* it multiplies x[..., in] to [..., out] */
    const void *data;
} tensor_compact;

/* The numbers of w, [in, out] or, with `by_rows`, [out, in], as files hold them: row-major, int8_t or uint16_t, the upper
 * half of a float32. scales (8 bits): uint16_t [ceil(in / 32), out] or [out, ceil(in / 32)]; tensor_scale_shape says so.
 * w is contiguous. False where a number is not finite, or too large. */
bool tensor_round_weights(tensor w, tensor_precision precision, bool by_rows, void *values, uint16_t *scales,
                          tensor_error *err);
void tensor_scale_shape(const int64_t shape[2], bool by_rows, int64_t scale_shape[2]);
/* The same back: float32, exactly. */
void tensor_unround_weights(tensor w, tensor_precision precision, bool by_rows, const void *values,
                            const uint16_t *scales);

/* A compact matrix from such numbers, which are copied to the arena. */
bool tensor_compact_new(tensor_compact *compact, tensor_precision precision, const int64_t shape[2],
                        bool by_rows, const void *values, const uint16_t *scales, tensor_arena *arena,
                        tensor_error *err);
int64_t tensor_compact_bytes(const tensor_compact *w);

/* out[..., out] = x[..., in] W + bias[out] (no tensor: 0). With bfloat16 each element is the chain of tensor_linear. With 8
 * bits x is rounded, too: to 16 bits, in blocks of 32 as well; sums in a block are exact, and their products with the two
 * scales are added by one chain over ascending blocks that starts from bias. Results do not depend on the rows beside them.
 * scratch: int32, at least tensor_compact_scratch elements, which are overwritten; no tensor where that is 0. */
bool tensor_compact_linear(tensor out, tensor x, const tensor_compact *w, tensor bias, tensor scratch,
                           tensor_error *err);
int64_t tensor_compact_scratch(const tensor_compact *w, tensor x);

/* out[..., in] = column ids[...] of W, as float32: a table's rows. */
bool tensor_compact_gather(tensor out, const tensor_compact *w, tensor ids, tensor_error *err);

/* ---- Rows --------------------------------------------------------------------------------- */

/* out[..., C] = table[ids[...], C]; ids int32. An id outside 0..V-1 is an error that names it. */
bool tensor_gather_rows(tensor out, tensor table, tensor ids, tensor_error *err);

/* table[ids[...], C] += rows[..., C], in the order of their positions: up to 16 rows of an id one by one, more are summed
 * as tensor_reduce sums a leading axis. `scratch` is int32 memory of tensor_scatter_add_scratch(table, ids) elements, which are overwritten. */
bool tensor_scatter_add_rows(tensor table, tensor ids, tensor rows, tensor scratch, tensor_error *err);
int64_t tensor_scatter_add_scratch(tensor table, tensor ids);

/* ---- Fused kernels of neural networks ------------------------------------------------------ *
 * Each comes with its vector-Jacobian product (vjp): from the gradient dy of the result, the operands' gradients.
 * A vjp adds to its outputs, unless it says otherwise; an output that is "no tensor" is not computed. */

/* Softmax along `axis`: e^(x - max) / sum e^(x - max); log-softmax: x - max - log sum e^(x - max). */
bool tensor_softmax(tensor out, tensor x, int axis, tensor_error *err);
bool tensor_log_softmax(tensor out, tensor x, int axis, tensor_error *err);
/* From the results y: dx = y (dy - sum dy y), and of log-softmax dx = dy - e^y sum dy; or +=, with `accumulate`.
 * dx may be dy's memory where it is overwritten. */
bool tensor_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err);
bool tensor_log_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err);

/* y = (x - mean) rstd w + b over the last axis C, rstd = 1/sqrt(variance + eps), variance divided by C
 * (Ba et al. 2016). w and b [C] may be no tensor (1 and 0). stats [rows, 2] receives mean and rstd, for the
 * vjp; it may be no tensor. */
bool tensor_layer_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, float eps, tensor_error *err);
bool tensor_layer_norm_vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats,
                           tensor_error *err);

typedef struct tensor_attention_options {
    float scale;   /* of q . k; above 0 */
    bool causal;   /* query i, at position i + Tk - Tq, sees the keys up to its own position */
    tensor mask;   /* float32, broadcasts to [B, Hq, Tq, Tk] (any strides, also 0); no tensor: none */
    bool additive; /* the mask is added, -infinity hides; else keys where it is 0 are hidden */
} tensor_attention_options;

/* Scaled dot-product attention (Vaswani et al. 2017), tiled so that its memory grows with T (Dao et al. 2022):
 * y_i = sum_j softmax_j(scale q_i . k_j + mask_ij) v_j over the keys j that query i sees. q and y are [B, Hq, Tq, D],
 * k and v [B, Hkv, Tk, D]; Hq is a multiple of Hkv, and query head h reads key head h / (Hq / Hkv) (grouped heads,
 * Ainslie et al. 2023). A query that sees no key gives 0. What is hidden has no influence, be it infinite or NaN. stats
 * [B, Hq, Tq, 2], or no tensor, receives each row's largest score (0 where no key is seen) and 1 / sum_j e^(score -
 * largest) (0 there), which the vjp reads. Strides may be any, but the last is 1, in forward except the keys' (a cache
 * may keep a token's key as a column): "attention: v needs a last axis of stride 1, not 2". */
bool tensor_attention(tensor y, tensor stats, tensor q, tensor k, tensor v,
                      const tensor_attention_options *options, tensor_error *err);
/* accumulate[i]: dq, dk, dv (in this order) are added to, else overwritten; one that is no tensor is not computed. The
 * gradients of a key head sum over its query heads in ascending order. The mask has none. */
bool tensor_attention_vjp(tensor dq, tensor dk, tensor dv, tensor dy, tensor y, tensor stats, tensor q,
                          tensor k, tensor v, const tensor_attention_options *options,
                          const bool accumulate[3], tensor_error *err);

/* Cosines and sines of rotary positions (Su et al. 2021): cos, sin [T, D/2], row t, column i: of the angle
 * (first + t) base^(-2i/D), base >= 1. No libm function is used: the same bits everywhere, right to 1e-7 up to positions
 * of a million. */
bool tensor_rotary_table(tensor cos, tensor sin, int64_t first, double base, tensor_error *err);
/* Turns each pair (a, b) of x [..., T, D] by its angle: (a cos - b sin, b cos + a sin); cos, sin [T, D/2]. Pair i is
 * the elements (i, i + D/2), as Llama and GPT-NeoX have them, or (2i, 2i + 1) where `interleaved`. `inverse` turns back,
 * which is also the vjp. */
bool tensor_rotary(tensor out, tensor x, tensor cos, tensor sin, bool interleaved, bool inverse,
                   tensor_error *err);

/* Softmax cross-entropy with integer targets: the mean over rows of lse(row) - row[target], into the
 * scalar `loss` (accumulated in double). logits [..., V], targets [...] int32; lse [rows] receives
 * log sum e^x. A target outside 0..V-1 is an error that names it. */
bool tensor_cross_entropy(tensor loss, tensor lse, tensor logits, tensor targets, tensor_error *err);
/* dlogits = scale (softmax(logits) - onehot(targets)), or += with `accumulate`. */
bool tensor_cross_entropy_vjp(tensor dlogits, float scale, tensor lse, tensor logits, tensor targets,
                              bool accumulate, tensor_error *err);

/* ---- Optimizer updates: one sweep over flat, contiguous memory ----------------------------- */

/* AdamW (Loshchilov & Hutter 2019), as PyTorch computes it:
 * p -= rate decay p; m += (1 - beta1)(g - m); v += (1 - beta2)(g g - v);
 * p -= rate / bias1 m / (sqrt(v / bias2) + eps), where bias_i = 1 - beta_i^step. */
typedef struct tensor_adamw_step {
    double rate, beta1, beta2, eps, decay, bias1, bias2;
} tensor_adamw_step;
bool tensor_adamw(tensor p, tensor m, tensor v, tensor g, const tensor_adamw_step *step, tensor_error *err);

/* ---- Random numbers ------------------------------------------------------------------------ *
 * Philox 4x32-10 (Salmon et al. 2011): block number `counter` of stream `stream` of seed `seed` is a
 * pure function of the three. */
typedef struct tensor_rng {
    uint64_t seed, stream, counter;
} tensor_rng;

/* The four 32-bit words of the block at rng->counter; rng->counter grows by one. */
void tensor_rng_block(tensor_rng *rng, uint32_t words[4]);
uint64_t tensor_rng_below(tensor_rng *rng,
                          uint64_t bound);  /* uniform in 0..bound-1, unbiased; one block or more */
double tensor_rng_uniform(tensor_rng *rng); /* uniform in [0, 1), 53 bits; one block */

/* Fill `out`. Element i (row-major) uses word i mod 4 of block counter + i / 4; the counter then grows
 * by ceil(size / 4). No libm function is used: the same bits everywhere. */
bool tensor_rand_uniform(tensor out, tensor_rng *rng, float low, float high,
                         tensor_error *err); /* [low, high) */
bool tensor_rand_normal(tensor out, tensor_rng *rng, float mean, float deviation, tensor_error *err);
/* low..high-1, without bias: a word that would bring one is replaced from another key. */
bool tensor_rand_integers(tensor out, tensor_rng *rng, int32_t low, int32_t high, tensor_error *err);
/* out[...] int32 drawn from the unnormalised probabilities >= 0 along the last axis of weights[..., V];
 * one block a row. Fails where a row has no positive finite sum. */
bool tensor_rand_categorical(tensor out, tensor_rng *rng, tensor weights, tensor_error *err);
/* out = with probability p: 0, else 1 / (1 - p): dropout's mask, 0 <= p < 1. */
bool tensor_rand_dropout(tensor out, tensor_rng *rng, float p, tensor_error *err);

/* ---- Printing ------------------------------------------------------------------------------ */

/* Writes x as NumPy's print does (up to its version 2.2; 8 digits at most, long tensors abbreviated with "..."), without a
 * newline at the end. False where writing fails or x is no tensor. */
bool tensor_print(FILE *file, tensor x);

/* ---- Threads ------------------------------------------------------------------------------- *
 * One pool a process, started at first use, sized from the processors the process may run on and from the time
 * that its control group (a container's quota) has on them, or as the environment variable SAMPO_THREADS says. */

/* Number of threads that parallel work uses, the caller's included; at least 1. */
int tensor_threads(void);
/* Fails with a text where SAMPO_THREADS is no such number and so was passed over: programs call it once at their
 * start. */
bool tensor_threads_check(tensor_error *err);
/* Sets it (1 to TENSOR_MAX_THREADS; 0: as many as processors). Not while parallel work runs. Fails where
 * threads cannot be started; the old number stays. */
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
 * environment variable SAMPO_ISA forces another: baseline, avx2, avx512, neon. */

/* The set in use. Where SAMPO_ISA names one that is unknown or not to be had here, the best one is used
 * and tensor_isa_check fails with a text that says so: programs call it once at their start. */
const char *tensor_isa(void);
bool tensor_isa_check(tensor_error *err);
/* The i-th set compiled in that this processor can run, best first; NULL after the last. */
const char *tensor_isa_available(int i);

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
