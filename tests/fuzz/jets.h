/* A plain interpreter in double for the differential target: arrays of jets, which are a value and its first and second
 * derivative along one direction of the inputs. Each number has a size beside it: what it were if nothing cancelled, of
 * which rounding in float32 is a small part. */
#ifndef SAMPO_TESTS_JETS_H
#define SAMPO_TESTS_JETS_H

#include <stdbool.h>
#include <stdint.h>

enum { JET_RANK = 4, JET_MOST = 512 };

typedef struct jet_number {
    double value, size;
} jet_number;

typedef struct jet {
    jet_number d[3];
} jet;

/* Row-major. An array with a rank below 0 is what something out of an operation's tame domain gives: near a kink or a
 * pole, or too large, where float32 and double may part for good reasons. */
typedef struct jets {
    int rank;
    int64_t shape[JET_RANK];
    jet x[JET_MOST];
} jets;

int64_t jets_size(const jets *a);
/* Whether all numbers are tame. */
bool jets_ok(const jets *a);

typedef enum jet_function {
    JET_AFFINE, /* p x + q */
    JET_EXP,
    JET_EXPM1,
    JET_LOG,
    JET_LOG1P,
    JET_SQRT,
    JET_RSQRT,
    JET_SQUARE,
    JET_RECIPROCAL,
    JET_ABS,
    JET_SIN,
    JET_COS,
    JET_TANH,
    JET_ERF,
    JET_SIGMOID,
    JET_SOFTPLUS,
    JET_GELU,
    JET_SILU,
    JET_LEAKY, /* p x below 0 */
    JET_ELU,   /* p (e^x - 1) below 0 */
    JET_CLAMP, /* p to q */
    JET_STEP   /* the sign */
} jet_function;

/* Each writes `out`, which is none of the operands. */
void jets_map(jets *out, const jets *a, jet_function f, double p, double q);
void jets_add(jets *out, const jets *a, const jets *b); /* these two broadcast */
void jets_mul(jets *out, const jets *a, const jets *b);
void jets_max(jets *out, const jets *a, const jets *b, bool least);
void jets_sum(jets *out, const jets *a, unsigned axes); /* bit i: axis i, which stays with size 1 */
void jets_product(jets *out, const jets *a, unsigned axes);
void jets_max_over(jets *out, const jets *a, unsigned axes, bool least);
void jets_matmul(jets *out, const jets *a, const jets *b,
                 bool transposed); /* [..., M, K] x [..., K, N], or b [..., N, K] */

/* Elements in another order: out, whose shape is set, has at each index the element of `a` that the strides lead to from
 * `start`. */
void jets_view(jets *out, const jets *a, int64_t start, const int64_t *stride);

#endif
