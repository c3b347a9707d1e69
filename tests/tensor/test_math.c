/* The elementary functions against libm in double: over a dense sample of all floats, and special values. */
#include <string.h>

#include "tests/tensor/tensor_test.h"

enum { BATCH = 4096 };

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static tensor wrap(tensor_storage *storage, float *data, int64_t n) {
    *storage = (tensor_storage){data, (size_t)n * sizeof *data, 0};
    return tensor_wrap(storage, TENSOR_F32, 1, &n, NULL);
}

static double exact_neg(double x) {
    return -x;
}
static double exact_sign(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : x;
}
static double exact_sigmoid(double x) {
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
static double exact_softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x))) + (x != x ? x : 0);
}
static double exact_silu(double x) {
    return x / (1 + exp(-x));
}
static double exact_relu(double x) {
    return x < 0 ? 0 : x;
}
static double exact_reciprocal(double x) {
    return 1 / x;
}
static double exact_rsqrt(double x) {
    return 1 / sqrt(x);
}
static double exact_square(double x) {
    return x * x;
}

/* The bounds in units of the last place that tensor.h states; 0.5: correctly rounded. */
static const struct {
    tensor_unary_op op;
    double (*exact)(double);
    double bound;
} functions[] = {
    {TENSOR_NEG, exact_neg, 0},
    {TENSOR_ABS, fabs, 0},
    {TENSOR_SIGN, exact_sign, 0},
    {TENSOR_EXP, exp, 1},
    {TENSOR_EXPM1, expm1, 2},
    {TENSOR_LOG, log, 1},
    {TENSOR_LOG1P, log1p, 3},
    {TENSOR_SQRT, sqrt, 0.5},
    {TENSOR_RSQRT, exact_rsqrt, 2},
    {TENSOR_SIN, sin, 2},
    {TENSOR_COS, cos, 2},
    {TENSOR_TANH, tanh, 2},
    {TENSOR_ERF, erf, 2},
    {TENSOR_SIGMOID, exact_sigmoid, 3},
    {TENSOR_SOFTPLUS, exact_softplus, 5},
    {TENSOR_SILU, exact_silu, 5},
    {TENSOR_RELU, exact_relu, 0},
    {TENSOR_SQUARE, exact_square, 0.5},
    {TENSOR_RECIPROCAL, exact_reciprocal, 0.5},
    {TENSOR_FLOOR, floor, 0},
    {TENSOR_ROUND, nearbyint, 0},
};

static void check_batch(size_t f, float *x, int64_t n) {
    float y[BATCH];
    tensor_storage xs, ys;
    TEST_OK(tensor_unary(wrap(&ys, y, n), functions[f].op, wrap(&xs, x, n), &err));
    for (int64_t i = 0; i < n; i++) {
        if (test_ulp(y[i], functions[f].exact((double)x[i])) <= functions[f].bound + 1e-6) continue;
        cr_assert_fail("%s(%a) = %a, expected %a", tensor_unary_name(functions[f].op), (double)x[i],
                       (double)y[i], functions[f].exact((double)x[i]));
    }
}

/* Of all floats every 16411th, a prime. SAMPO_FLOATS=1 takes every one, an hour for each function on one core. */
Test(math, unary_within_stated_ulp_over_all_floats) {
    static float x[BATCH];
    const char *chosen = getenv("SAMPO_FLOATS");
    const uint64_t step = chosen && atoi(chosen) > 0 ? (uint64_t)atoi(chosen) : 16411;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        uint64_t bits = f;
        while (bits < 0x100000000u) {
            int64_t n = 0;
            for (; n < BATCH && bits < 0x100000000u; bits += step) x[n++] = from_bits((uint32_t)bits);
            check_batch(f, x, n);
        }
    }
}

/* Where the functions have their largest errors and change their formula. */
Test(math, unary_within_stated_ulp_where_it_is_hard) {
    static const float ranges[][2] = {{0.4f, 2.2f},  {-2.2f, -0.4f},    {-104, -86},   {86, 89},
                                      {3.5f, 10.5f}, {-1, -0.9f},       {-0.4f, 0.4f}, {-18, -16},
                                      {3.1f, 3.2f},  {1048400, 1048700}};
    static float x[BATCH];
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
        for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
            for (int part = 0; part < 20; part++) {
                for (int i = 0; i < BATCH; i++)
                    x[i] = ranges[r][0] +
                           (ranges[r][1] - ranges[r][0]) * (float)(part * BATCH + i) / (20 * BATCH);
                check_batch(f, x, BATCH);
            }
}

Test(math, gelu_follows_its_formula) {
    const double c = sqrt(2 / acos(-1.0));
    for (float x = -12; x < 12; x += 0.0137f) {
        float tanh_y = x, erf_y = x;
        tensor_storage s1, s2;
        tensor y1 = wrap(&s1, &tanh_y, 1), y2 = wrap(&s2, &erf_y, 1);
        TEST_OK(tensor_unary(y1, TENSOR_GELU_TANH, y1, &err) && tensor_unary(y2, TENSOR_GELU_ERF, y2, &err));
        const double d = (double)x;
        test_close((double)tanh_y, d / 2 * (1 + tanh(c * (d + 0.044715 * d * d * d))), 4e-7, "gelu_tanh");
        test_close((double)erf_y, d / 2 * (1 + erf(d / sqrt(2))), 4e-7, "gelu_erf");
    }
}

static double exact_activation(tensor_binary_op op, double x) {
    if (op == TENSOR_SILU_VJP) return exact_silu(x);
    if (op == TENSOR_GELU_ERF_VJP) return x / 2 * (1 + erf(x / sqrt(2)));
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

Test(math, vjp_of_activations_is_the_slope_times_the_gradient) {
    const tensor_binary_op ops[] = {TENSOR_GELU_TANH_VJP, TENSOR_GELU_ERF_VJP, TENSOR_SILU_VJP};
    for (int k = 0; k < 3; k++)
        for (float x = -12; x < 12; x += 0.0137f) {
            float dy = 1.7f, at = x, dx;
            tensor_storage s[3];
            TEST_OK(
                tensor_binary(wrap(&s[0], &dx, 1), ops[k], wrap(&s[1], &dy, 1), wrap(&s[2], &at, 1), &err));
            const double h = 1e-3, d = (double)x;
            const double slope =
                (8 * (exact_activation(ops[k], d + h) - exact_activation(ops[k], d - h)) -
                 (exact_activation(ops[k], d + 2 * h) - exact_activation(ops[k], d - 2 * h))) /
                (12 * h);
            test_close((double)dx, (double)dy * slope, 1e-6, tensor_binary_name(ops[k]));
        }
}

static double slope_tanh(double x) {
    return 1 / (cosh(x) * cosh(x));
}
static double slope_sigmoid(double x) {
    return slope_tanh(x / 2) / 4;
}
static double slope_erf(double x) {
    return 2 / sqrt(acos(-1.0)) * exp(-x * x);
}
static double slope_sqrt(double y) {
    return 1 / (2 * y);
}
static double slope_reciprocal(double y) {
    return -y * y;
}
static double slope_rsqrt(double y) {
    return -y * y * y / 2;
}
static double slope_square(double x) {
    return 2 * x;
}

/* Also where the slope is no float any more, but its product with the gradient is. */
Test(math, vjps_within_stated_ulp_over_all_floats) {
    static const struct {
        tensor_binary_op op;
        double (*slope)(double);
        float dy;
        double bound;
    } vjps[] = {{TENSOR_TANH_VJP, slope_tanh, 1, 7},       {TENSOR_TANH_VJP, slope_tanh, -1.7e30f, 7},
                {TENSOR_SIGMOID_VJP, slope_sigmoid, 1, 7}, {TENSOR_SIGMOID_VJP, slope_sigmoid, 1.3e30f, 7},
                {TENSOR_ERF_VJP, slope_erf, -1.7f, 4},     {TENSOR_SQRT_VJP, slope_sqrt, 1.7f, 0.5},
                {TENSOR_SQUARE_VJP, slope_square, 1, 0.5}, {TENSOR_RECIPROCAL_VJP, slope_reciprocal, 1.7f, 2},
                {TENSOR_RSQRT_VJP, slope_rsqrt, 1.7f, 3}};
    static float x[BATCH], dy[BATCH], dx[BATCH];
    tensor_storage s[3];
    for (size_t f = 0; f < sizeof vjps / sizeof *vjps; f++)
        for (uint64_t bits = f; bits < 0x100000000u;) {
            int64_t n = 0;
            for (; n < BATCH && bits < 0x100000000u; bits += 4099, n++)
                x[n] = from_bits((uint32_t)bits), dy[n] = vjps[f].dy;
            TEST_OK(
                tensor_binary(wrap(&s[0], dx, n), vjps[f].op, wrap(&s[1], dy, n), wrap(&s[2], x, n), &err));
            for (int64_t i = 0; i < n; i++) {
                const double exact = (double)dy[i] * vjps[f].slope((double)x[i]);
                if (vjps[f].op == TENSOR_SQRT_VJP && fabs((double)x[i]) > 1e38) continue; /* no root */
                cr_assert(test_ulp(dx[i], exact) <= vjps[f].bound + 1e-6, "%s(%a, %a) = %a, expected %a",
                          tensor_binary_name(vjps[f].op), (double)dy[i], (double)x[i], (double)dx[i], exact);
            }
        }
}

/* Both parts that a loss is the sum of keep their digits, however far out x is. */
Test(math, losses_keep_their_digits) {
    static const float targets[] = {0, 1, 0.3f};
    for (int k = 0; k < 3; k++)
        for (float x = -90; x < 90; x += 0.173f) {
            float t = targets[k], at = x, y;
            tensor_storage s[3];
            TEST_OK(tensor_binary(wrap(&s[0], &y, 1), TENSOR_LOGISTIC_LOSS, wrap(&s[1], &at, 1),
                                  wrap(&s[2], &t, 1), &err));
            const double d = (double)x, straight = x > 0 ? d * (1 - (double)t) : -d * (double)t;
            const double exact = straight + log1p(exp(-fabs(d)));
            cr_assert(test_ulp(y, exact) <= 4, "x %g, t %g: %g, expected %g", d, (double)t, (double)y, exact);
            TEST_OK(
                tensor_binary(wrap(&s[0], &y, 1), TENSOR_KL, wrap(&s[1], &at, 1), wrap(&s[2], &t, 1), &err));
            test_close((double)y, t == 0 ? 0 : (double)t * (log((double)t) - d), 4e-7, "kl");
        }
    float x = -INFINITY, t = 0, y;
    tensor_storage s[3];
    TEST_OK(tensor_binary(wrap(&s[0], &y, 1), TENSOR_KL, wrap(&s[1], &x, 1), wrap(&s[2], &t, 1), &err));
    cr_assert_eq(y, 0);
}

static float binary(tensor_binary_op op, float a, float b) {
    float y;
    tensor_storage s[3];
    TEST_OK(tensor_binary(wrap(&s[0], &y, 1), op, wrap(&s[1], &a, 1), wrap(&s[2], &b, 1), &err));
    return y;
}

static void check_power(tensor_binary_op op, float a, float b, double exact, double bound) {
    const float y = binary(op, a, b);
    cr_assert(test_ulp(y, exact) <= bound, "%s(%a, %a) = %a, expected %a", tensor_binary_name(op), (double)a,
              (double)b, (double)y, exact);
    cr_assert(isnan(y) || signbit(y) == signbit((float)exact), "the sign of %s(%a, %a)",
              tensor_binary_name(op), (double)a, (double)b);
}

/* The slopes by their definition, but for a power beyond the range of floats times an exponent or a logarithm that
 * would bring it back. */
static void check_pow(float a, float b) {
    const double x = (double)a, y = (double)b;
    check_power(TENSOR_POW, a, b, pow(x, y), 1);
    const double less = pow(x, y - 1);
    if (y - 1 + 1 == y && y - 1 != y && !(fabs(less) > 3e38 && isfinite(less)) &&
        !(fabs(less) < 1e-37 && less != 0))
        check_power(TENSOR_POW_BASE_SLOPE, a, b, b == 0 ? 0 : y * less, 2);
    if (!(fabs(pow(x, y)) < 1e-37 || fabs(pow(x, y)) > 3e38))
        check_power(TENSOR_POW_EXPONENT_SLOPE, a, b, a == 0 && b >= 0 ? 0 : pow(x, y) * log(x), 2);
}

Test(math, slopes_of_powers_at_zero) {
    for (float b = 0; b < 4; b += 0.5f) cr_assert_eq(binary(TENSOR_POW_EXPONENT_SLOPE, 0, b), 0);
    cr_assert_eq(binary(TENSOR_POW_EXPONENT_SLOPE, 0, -1), -INFINITY);
    cr_assert(isnan(binary(TENSOR_POW_EXPONENT_SLOPE, -2, 3)));
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, 0, 0), 0);
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, INFINITY, 0), 0);
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, 0, 1), 1);
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, 0, 0.5f), INFINITY);
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, -3, 3), 27);
    cr_assert_eq(binary(TENSOR_POW_BASE_SLOPE, -1, 16777218),
                 -16777218); /* the exponent less 1 is no float */
    cr_assert(binary(TENSOR_MAX_SHARE, NAN, 1) == 1 && binary(TENSOR_MAX_SHARE, 1, NAN) == 1);
    cr_assert_eq(binary(TENSOR_RELU_VJP, 2, NAN), 2);
}

Test(math, pow_as_in_c) {
    static const float special[] = {
        0,       -0.f,       1,           -1,         INFINITY,     -INFINITY,  NAN,
        2,       -2,         3,           -3,         0.5f,         -0.5f,      1.5f,
        -2.5f,   8388607.f,  -8388607.f,  16777215.f, 1e38f,        -1e38f,     1e-45f,
        -1e-45f, 4194303.5f, 0.99999994f, 1.0000001f, -0.99999994f, 16777216.f, -1.0000001f};
    const size_t n = sizeof special / sizeof *special;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) check_pow(special[i], special[j]);
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 100000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        check_pow(from_bits((uint32_t)state), from_bits((uint32_t)(state >> 32)));
        check_pow(from_bits(((uint32_t)state & 0x7fffff) | 0x3f800000),
                  (float)(int32_t)(state >> 32) * 0x1p-24f);
    }
}
