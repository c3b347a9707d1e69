/* Sampo tensor: computing with numbers, without gradients: elementwise, reductions, products, fused kernels of neural
 * networks, random numbers. sampo/tensor.h, which includes this, says how errors and memory work. */
#ifndef SAMPO_KERNELS_H
#define SAMPO_KERNELS_H

#include "sampo/tensor.h"

SAMPO_BEGIN_DECLS

/* ---- Elementwise -------------------------------------------------------------------------- */

/* out = x; the same dtype, x broadcasts to out. Overlap is not permitted. */
bool tensor_copy(tensor out, tensor x, tensor_error *err);
/* out = x[0], x[1], ... x[count - 1] one after the other along `axis`; the same dtype, and out's shape but for that axis,
 * along which the sizes add up to out's: "concat: x is [2, 3], expected [2, 4]". Overlap is not permitted. */
bool tensor_concat(tensor out, int count, const tensor *x, int axis, tensor_error *err);
/* Every element becomes `value`; for int32 truncated, and an error where it does not fit. */
bool tensor_fill(tensor out, double value, tensor_error *err);

/* Unary operations on float32: name, formula and the bound on its error in units in the last place.
 * One list for the enumeration, the names and the kernels. */
#define TENSOR_UNARY_OPS(_)                                                                                  \
    _(NEG, "neg")               /* -x; exact */                                                              \
    _(ABS, "abs")               /* |x|; exact */                                                             \
    _(SIGN, "sign")             /* -1, 0 or 1; NaN and -0 stay; exact */                                     \
    _(EXP, "exp")               /* e^x; 1 ulp */                                                             \
    _(EXPM1, "expm1")           /* e^x - 1; 2 ulp */                                                         \
    _(LOG, "log")               /* natural logarithm; 1 ulp; NaN below 0 */                                  \
    _(LOG1P, "log1p")           /* log(1 + x); 3 ulp */                                                      \
    _(SQRT, "sqrt")             /* correctly rounded; NaN below 0 */                                         \
    _(RSQRT, "rsqrt")           /* 1 / sqrt x; 2 ulp */                                                      \
    _(SIN, "sin")               /* 2 ulp for every x, however large */                                       \
    _(COS, "cos")               /* likewise */                                                               \
    _(TANH, "tanh")             /* 2 ulp */                                                                  \
    _(ERF, "erf")               /* 2 ulp */                                                                  \
    _(SIGMOID, "sigmoid")       /* 1 / (1 + e^-x); 3 ulp */                                                  \
    _(SOFTPLUS, "softplus")     /* log(1 + e^x); 5 ulp */                                                    \
    _(RELU, "relu")             /* max(x, 0); NaN and -0 stay; exact */                                      \
    _(GELU_TANH, "gelu_tanh")   /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */                          \
    _(GELU_ERF, "gelu_erf")     /* x/2 (1 + erf(x / sqrt 2)) */                                              \
    _(SILU, "silu")             /* x / (1 + e^-x); 5 ulp */                                                  \
    _(RECIPROCAL, "reciprocal") /* 1 / x; correctly rounded */                                               \
    _(SQUARE, "square")         /* x x; correctly rounded */                                                 \
    _(FLOOR, "floor")           /* the largest integer that is not above x; exact */                         \
    _(ROUND, "round")           /* the nearest integer, of two the even one; exact */

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
    _(NOT_EQUAL, "not_equal")           /* a != b */                                                         \
    _(AND, "and")                       /* a and b are not 0; NaN is not */                                  \
    _(OR, "or")                         /* a or b is not 0 */                                                \
    _(LOGISTIC_LOSS, "logistic_loss")   /* log(1 + e^a) - a b; 4 ulp of its two parts where 0 <= b <= 1 */   \
    _(KL, "kl")                         /* b (log b - a), 0 where b is 0 */                                  \
    _(RELU_VJP, "relu_vjp")             /* b <= 0 ? 0 : a */                                                 \
    _(GELU_TANH_VJP, "gelu_tanh_vjp")   /* a times the slope of gelu_tanh at b */                            \
    _(GELU_ERF_VJP, "gelu_erf_vjp")     /* a times the slope of gelu_erf at b */                             \
    _(SILU_VJP, "silu_vjp")             /* a times the slope of silu at b */                                 \
    _(TANH_VJP, "tanh_vjp")             /* a / cosh(b)^2; 7 ulp */                                           \
    _(SIGMOID_VJP, "sigmoid_vjp")       /* a s(b) s(-b), s: sigmoid; 7 ulp */                                \
    _(ERF_VJP, "erf_vjp")               /* a 2/sqrt(pi) e^(-b^2); 4 ulp */                                   \
    _(SQRT_VJP, "sqrt_vjp")             /* a / (2 b), b the root; correctly rounded */                       \
    _(SQUARE_VJP, "square_vjp")         /* 2 a b; correctly rounded */                                       \
    _(RECIPROCAL_VJP, "reciprocal_vjp") /* -a b b, b the result; 2 ulp */                                    \
    _(RSQRT_VJP, "rsqrt_vjp")           /* -a b^3 / 2, b the result; 3 ulp */                                \
    _(POW_BASE_SLOPE, "pow_base_slope") /* b a^(b-1), the slope of a^b in a; 0 where b is 0; 2 ulp */        \
    _(POW_EXPONENT_SLOPE, "pow_exponent_slope") /* a^b log a; 0 where a is 0 and b >= 0; 2 ulp */            \
    _(MAX_SHARE, "max_share") /* a < b: 0, a == b: 1/2, else 1: the slope of max(a, b) in a */

/* Operations on float32 with two numbers a and b, of the result's shape x and, in the last ones, y: name, text, how many
 * operands. In those named vjp x is the gradient of the result, and y the operand. */
#define TENSOR_PARAMETRIC_OPS(_)                                                                             \
    _(AFFINE, "affine", 1)                 /* a x + b; one multiply-add */                                   \
    _(CLAMP, "clamp", 1)                   /* min(max(x, a), b); NaN stays; exact */                         \
    _(LEAKY_RELU, "leaky_relu", 1)         /* x > 0 ? x : a x; correctly rounded */                          \
    _(ELU, "elu", 1)                       /* x > 0 ? x : a (e^x - 1); 3 ulp */                              \
    _(HUBER, "huber", 1)                   /* |x| <= a ? x^2 / 2 : a (|x| - a / 2) */                        \
    _(AXPY, "axpy", 2)                     /* a x + y; one multiply-add */                                   \
    _(CLAMP_VJP, "clamp_vjp", 2)           /* a < y < b ? x : 0 */                                           \
    _(LEAKY_RELU_VJP, "leaky_relu_vjp", 2) /* y > 0 ? x : a x */                                             \
    _(ELU_VJP, "elu_vjp", 2)               /* y > 0 ? x : a e^y x; 3 ulp */                                  \
    _(HUBER_VJP, "huber_vjp", 2)           /* x min(max(y, -a), a) */

#define TENSOR_ENUM_ENTRY(name, text) TENSOR_##name,
#define TENSOR_PARAMETRIC_ENTRY(name, text, operands) TENSOR_##name,
typedef enum tensor_parametric_op {
    TENSOR_PARAMETRIC_OPS(TENSOR_PARAMETRIC_ENTRY) TENSOR_PARAMETRIC_COUNT
} tensor_parametric_op;
typedef enum tensor_unary_op { TENSOR_UNARY_OPS(TENSOR_ENUM_ENTRY) TENSOR_UNARY_COUNT } tensor_unary_op;
typedef enum tensor_binary_op { TENSOR_BINARY_OPS(TENSOR_ENUM_ENTRY) TENSOR_BINARY_COUNT } tensor_binary_op;

/* The name of an operation, as listed above: a constant; never NULL. */
const char *tensor_unary_name(tensor_unary_op op);
const char *tensor_binary_name(tensor_binary_op op);
const char *tensor_parametric_name(tensor_parametric_op op);

/* Of each element; x, a and b broadcast to out's shape. */
bool tensor_unary(tensor out, tensor_unary_op op, tensor x, tensor_error *err);             /* out = op(x) */
bool tensor_binary(tensor out, tensor_binary_op op, tensor a, tensor b, tensor_error *err); /* a op b */

/* Of each element, with two numbers; x and y broadcast to out; y is no tensor where the operation has one operand. */
bool tensor_parametric(tensor out, tensor_parametric_op op, tensor x, tensor y, float a, float b,
                       tensor_error *err);

/* Two of them: out = a x + b, and y += a x, where x broadcasts to y (BLAS's axpy). */
bool tensor_affine(tensor out, float a, tensor x, float b, tensor_error *err);
bool tensor_axpy(tensor y, float a, tensor x, tensor_error *err);

/* out = cond != 0 ? a : b; the three broadcast to out; all float32. */
bool tensor_where(tensor out, tensor cond, tensor a, tensor b, tensor_error *err);

/* ---- Reductions --------------------------------------------------------------------------- */

typedef enum tensor_reduce_op {
    TENSOR_SUM,
    TENSOR_MEAN,
    TENSOR_REDUCE_MAX,
    TENSOR_REDUCE_MIN,
    TENSOR_REDUCE_PRODUCT,
    TENSOR_REDUCE_COUNT
} tensor_reduce_op;

/* Reduces the axes whose bit is set in `axes` (bit i: axis i). out has x's rank with 1 for each reduced
 * axis. An empty sum is 0, an empty product 1, an empty mean NaN, an empty max or min an error. With `accumulate`, which
 * sum and mean permit, the result is added to out. Max and min of a row with NaN are NaN.
 * A sum's error does not grow with the count: at most 72 roundings of float (1 + 2^-24), relative to the sum of the
 * sizes, as runs of elements, added in float, are added up in double: blocks of 1024 in 16 lanes along the last axis,
 * else 16. */
bool tensor_reduce(tensor out, tensor_reduce_op op, tensor x, unsigned axes, bool accumulate,
                   tensor_error *err);
/* The same of map(x), which is not stored: with TENSOR_SQUARE a sum of squares. */
bool tensor_reduce_of(tensor out, tensor_reduce_op op, tensor_unary_op map, tensor x, unsigned axes,
                      bool accumulate, tensor_error *err);

/* Index of the first largest element along `axis` (NaN counts as largest); out is int32 with 1 at `axis`. */
bool tensor_argmax(tensor out, tensor x, int axis, tensor_error *err);

/* Sum of squares of all elements, in double, in a fixed order. 0 for "no tensor". */
double tensor_sum_squares(tensor x);

/* ---- Matrix products ---------------------------------------------------------------------- */

/* out[..., M, N] = a[..., M, K] b[..., K, N], batch axes broadcast; ranks >= 2. Each element is one
 * chain of fused multiply-adds over ascending k, starting from 0 or, with `accumulate`, from out.
 * out must not overlap a or b. Error: "matmul: inner sizes differ: [256, 64] x [63, 192]". */
bool tensor_matmul(tensor out, tensor a, tensor b, bool accumulate, tensor_error *err);

/* What the numbers of a product are rounded to before they are multiplied; tensors and sums are float32 in any case. In
 * bfloat16 (8 bits of mantissa, float32's range) operands are rounded to nearest, ties to even, denormals to zero, and a
 * chain takes the steps of k by pairs, the second one first: 1, 0, 3, 2, ...; a pair that k does not fill has a zero.
 * Each multiply-add is rounded once; denormal sums are zero. It is what AVX512_BF16's VDPBF16PS does; other processors
 * compute the same bits with float32's multiply-add. (But for ARM, where a sum within 2^-151 below 2^-126 is 0 instead.)
 * Blocks of 8 bits are for compact weights alone, see below: as the precision of a product they are an error. */
typedef enum tensor_precision { TENSOR_FLOAT32, TENSOR_BFLOAT16, TENSOR_INT8 } tensor_precision;

/* tensor_matmul with such operands: out[..., M, N] = a[..., M, K] b[..., K, N]. */
bool tensor_matmul_at(tensor out, tensor a, tensor b, bool accumulate, tensor_precision precision,
                      tensor_error *err);

/* The shape of the result, by the rules above. */
bool tensor_matmul_shape(tensor a, tensor b, int *rank, int64_t *shape, tensor_error *err);

/* out[..., N] = x[..., K] w[K, N] + bias[N]: the chain starts from bias; no tensor: from 0. */
bool tensor_linear(tensor out, tensor x, tensor w, tensor bias, tensor_error *err);
bool tensor_linear_at(tensor out, tensor x, tensor w, tensor bias, tensor_precision precision,
                      tensor_error *err);
bool tensor_linear_shape(tensor x, tensor w, tensor bias, int *rank, int64_t *shape, tensor_error *err);

/* ---- Compact weights ---------------------------------------------------------------------- *
 * A matrix of weights that is only read, in half or a quarter of its memory, in the order in which products with few rows
 * stream it. TENSOR_BFLOAT16: each number rounded to bfloat16, to nearest even. TENSOR_INT8: the 32 numbers that a sum
 * meets one after the other share a scale s, bfloat16, at least their largest size / 127; each is q s with an integer q
 * of -127 to 127, rounded to nearest: so none is wrong by more than half of s. */
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

/* out[..., out] = x[..., in] W + bias[out] (no tensor: 0). With bfloat16 each element is the chain of tensor_linear.
 * With 8 bits x is rounded, too: to 16 bits, in blocks of 32 as well; sums in a block are exact, and their products
 * with the two scales are added by one chain over ascending blocks that starts from bias. Results do not depend on the
 * rows beside them. scratch: int32, at least tensor_compact_scratch elements, which are overwritten; no tensor where
 * that is 0. */
bool tensor_compact_linear(tensor out, tensor x, const tensor_compact *w, tensor bias, tensor scratch,
                           tensor_error *err);
int64_t tensor_compact_scratch(const tensor_compact *w, tensor x);

/* out[..., in] = column ids[...] of W, as float32: a table's rows. */
bool tensor_compact_gather(tensor out, const tensor_compact *w, tensor ids, tensor_error *err);

/* ---- Rows --------------------------------------------------------------------------------- */

/* out[..., C] = table[ids[...], C]; ids int32. An id outside 0..V-1 is an error that names it. */
bool tensor_gather_rows(tensor out, tensor table, tensor ids, tensor_error *err);

/* table[ids[...], C] += rows[..., C], in the order of their positions: up to 16 rows of an id one by one, more are summed
 * as tensor_reduce sums a leading axis. `scratch` is int32 memory of tensor_scatter_add_scratch(table, ids) elements,
 * which are overwritten. */
bool tensor_scatter_add_rows(tensor table, tensor ids, tensor rows, tensor scratch, tensor_error *err);
int64_t tensor_scatter_add_scratch(tensor table, tensor ids);

/* ---- Fused kernels of neural networks ------------------------------------------------------ *
 * Each comes with its vector-Jacobian product (vjp): from the gradient dy of the result, the operands' gradients.
 * A vjp adds to its outputs, unless it says otherwise; an output that is "no tensor" is not computed. */

/* log sum e^x along `axis`; out has x's shape with 1 there. -infinity where nothing is summed. */
bool tensor_log_sum_exp(tensor out, tensor x, int axis, tensor_error *err);

/* Softmax along `axis`: e^(x - max) / sum e^(x - max); log-softmax: x - max - log sum e^(x - max). */
bool tensor_softmax(tensor out, tensor x, int axis, tensor_error *err);
bool tensor_log_softmax(tensor out, tensor x, int axis, tensor_error *err);
/* From the results y: dx = y (dy - sum dy y), and of log-softmax dx = dy - e^y sum dy; or +=, with `accumulate`.
 * dx may be dy's memory where it is overwritten. */
bool tensor_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err);
bool tensor_log_softmax_vjp(tensor dx, tensor dy, tensor y, int axis, bool accumulate, tensor_error *err);

/* y = (x - mean) rstd w + b over the last axis C, rstd = 1/sqrt(variance + eps), variance divided by C
 * (Ba et al. 2016). w and b [C] may be no tensor (1 and 0). stats [rows, 2] receives mean and rstd, for the
 * vjp; it may be no tensor. The vjp overwrites dx or, with `accumulate`, adds to it; to dw and db it always adds. */
bool tensor_layer_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, float eps, tensor_error *err);
bool tensor_layer_norm_vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats,
                           bool accumulate, tensor_error *err);
/* y = x rstd w, rstd = 1/sqrt(mean of x^2 + eps) (Zhang & Sennrich 2019). Otherwise as tensor_layer_norm, with a mean
 * of 0 and no b. */
bool tensor_rms_norm(tensor y, tensor stats, tensor x, tensor w, float eps, tensor_error *err);
bool tensor_rms_norm_vjp(tensor dx, tensor dw, tensor dy, tensor x, tensor w, tensor stats, bool accumulate,
                         tensor_error *err);

/* Normalisation of channels of x [N, C, ...]: y = (x - mean) rstd w + b with w and b [C]. groups 0: the statistics are
 * each channel's, over all N (Ioffe & Szegedy 2015); above: each image's, of each of so many runs of channels (Wu & He
 * 2018). stats [3, tensor_channel_sets] receives mean, variance, divided by the count, and rstd. Without gaps in
 * memory, but for dw and db. The vjp overwrites dx or, with `accumulate`, adds to it; to dw and db it always adds. Each
 * may be no tensor. scratch: float32, (4 N + 2) C. */
bool tensor_channel_sets(tensor x, int64_t groups, int64_t *sets, tensor_error *err);
bool tensor_channel_norm(tensor y, tensor stats, tensor x, tensor w, tensor b, int64_t groups, float eps,
                         tensor_error *err);
bool tensor_channel_norm_vjp(tensor dx, tensor dw, tensor db, tensor dy, tensor x, tensor w, tensor stats,
                             int64_t groups, bool accumulate, tensor scratch, tensor_error *err);

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
/* The same for each row: losses [...], 0 where the target is `ignored`; and with a scale for each row, scales [...]. */
bool tensor_cross_entropy_rows(tensor losses, tensor lse, tensor logits, tensor targets, int32_t ignored,
                               tensor_error *err);
bool tensor_cross_entropy_rows_vjp(tensor dlogits, tensor scales, tensor lse, tensor logits, tensor targets,
                                   int32_t ignored, bool accumulate, tensor_error *err);

/* ---- Optimizer updates: one sweep over flat, contiguous memory ----------------------------- */

/* Changes of values p by gradients g, with up to two states a and b for each number: name, text, how many states. h is
 * g + decay p; each formula is PyTorch's, but for Lion (Chen et al. 2023).
 * SGD:      p -= rate h
 * MOMENTUM: a = beta1 a + h; p -= rate a
 * ADAMW:    p -= rate decay p; a += (1 - beta1)(g - a); b += (1 - beta2)(g g - b);
 *           p -= rate / bias1 a / (sqrt(b / bias2) + eps), where bias_i = 1 - beta_i^step (Loshchilov & Hutter 2019)
 * ADAM:     the same of h without the first change (Kingma & Ba 2015)
 * RMSPROP:  a += (1 - beta2)(h h - a); p -= rate h / (sqrt(a) + eps) (Tieleman & Hinton 2012)
 * RMSPROP_MOMENTUM: a as before; b = beta1 b + h / (sqrt(a) + eps); p -= rate b
 * ADAGRAD:  a += h h; p -= rate h / (sqrt(a) + eps) (Duchi et al. 2011)
 * LION:     p -= rate decay p; p -= rate sign(beta1 a + (1 - beta1) g); a += (1 - beta2)(g - a) */
#define TENSOR_UPDATE_RULES(_)                                                                               \
    _(SGD, "sgd", 0)                                                                                         \
    _(MOMENTUM, "momentum", 1)                                                                               \
    _(ADAMW, "adamw", 2)                                                                                     \
    _(ADAM, "adam", 2)                                                                                       \
    _(RMSPROP, "rmsprop", 1)                                                                                 \
    _(RMSPROP_MOMENTUM, "rmsprop_momentum", 2)                                                               \
    _(ADAGRAD, "adagrad", 1)                                                                                 \
    _(LION, "lion", 1)
#define TENSOR_UPDATE_ENTRY(rule, text, states) TENSOR_UPDATE_##rule,
typedef enum tensor_update_rule {
    TENSOR_UPDATE_RULES(TENSOR_UPDATE_ENTRY) TENSOR_UPDATE_COUNT
} tensor_update_rule;
typedef struct tensor_update_step {
    double rate, beta1, beta2, eps, decay, bias1,
        bias2; /* those that the rule has; biases 1 where it has none */
} tensor_update_step;
int tensor_update_states(tensor_update_rule rule);
/* All float32, contiguous and of p's shape; a state that the rule does not have is not looked at. */
bool tensor_update(tensor_update_rule rule, tensor p, tensor a, tensor b, tensor g,
                   const tensor_update_step *step, tensor_error *err);

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

SAMPO_END_DECLS
#endif
