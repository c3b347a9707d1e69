/* Every elementwise operation over shapes and layouts, against its formula in double. */
#include "tests/tensor/tensor_test.h"

static tensor_arena *arena;

static void setup(void) {
    arena = tensor_arena_new(NULL);
}
static void teardown(void) {
    tensor_arena_free(arena);
}
TestSuite(elementwise, .init = setup, .fini = teardown);

static const struct {
    int rank;
    int64_t shape[3];
} shapes[] = {{0, {0}},       {1, {0}},       {1, {1}},        {1, {7}},      {1, {15}},        {1, {16}},
              {1, {17}},      {1, {33}},      {1, {257}},      {2, {3, 5}},   {2, {17, 33}},    {2, {5, 1}},
              {3, {2, 0, 3}}, {3, {3, 4, 7}}, {3, {1, 16, 1}}, {2, {2, 700}}, {3, {33, 40, 64}}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static double exact_unary(tensor_unary_op op, double x) {
    switch (op) {
    case TENSOR_NEG:
        return -x;
    case TENSOR_ABS:
        return fabs(x);
    case TENSOR_SIGN:
        return (x > 0) - (x < 0);
    case TENSOR_EXP:
        return exp(x);
    case TENSOR_EXPM1:
        return expm1(x);
    case TENSOR_LOG:
        return log(x);
    case TENSOR_LOG1P:
        return log1p(x);
    case TENSOR_SQRT:
        return sqrt(x);
    case TENSOR_RSQRT:
        return 1 / sqrt(x);
    case TENSOR_SIN:
        return sin(x);
    case TENSOR_COS:
        return cos(x);
    case TENSOR_TANH:
        return tanh(x);
    case TENSOR_ERF:
        return erf(x);
    case TENSOR_SOFTPLUS:
        return log1p(exp(x));
    case TENSOR_SIGMOID:
        return 1 / (1 + exp(-x));
    case TENSOR_RELU:
        return x > 0 ? x : 0;
    case TENSOR_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case TENSOR_GELU_ERF:
        return x / 2 * (1 + erf(x / sqrt(2)));
    case TENSOR_SILU:
        return x / (1 + exp(-x));
    case TENSOR_RECIPROCAL:
        return 1 / x;
    case TENSOR_SQUARE:
        return x * x;
    case TENSOR_FLOOR:
        return floor(x);
    case TENSOR_ROUND:
        return nearbyint(x);
    default:
        cr_assert_fail("%s has no formula here", tensor_unary_name(op));
        return 0;
    }
}

static double exact_binary(tensor_binary_op op, double a, double b) {
    const double c = sqrt(2 / acos(-1.0)), u = tanh(c * (b + 0.044715 * b * b * b));
    switch (op) {
    case TENSOR_ADD:
        return a + b;
    case TENSOR_SUB:
        return a - b;
    case TENSOR_MUL:
        return a * b;
    case TENSOR_DIV:
        return a / b;
    case TENSOR_POW:
        return pow(a, b);
    case TENSOR_MAX:
        return a > b ? a : b;
    case TENSOR_MIN:
        return a < b ? a : b;
    case TENSOR_LESS:
        return a < b;
    case TENSOR_LESS_EQUAL:
        return a <= b;
    case TENSOR_EQUAL:
        return a == b;
    case TENSOR_NOT_EQUAL:
        return a != b;
    case TENSOR_AND:
        return a != 0 && b != 0;
    case TENSOR_OR:
        return a != 0 || b != 0;
    case TENSOR_LOGISTIC_LOSS:
        return log1p(exp(a)) - a * b;
    case TENSOR_KL:
        return b == 0 ? 0 : b * (log(b) - a);
    case TENSOR_RECIPROCAL_VJP:
        return -a * b * b;
    case TENSOR_RSQRT_VJP:
        return -a * b * b * b / 2;
    case TENSOR_RELU_VJP:
        return b > 0 ? a : 0;
    case TENSOR_GELU_TANH_VJP:
        return a * ((1 + u) / 2 + b / 2 * (1 - u * u) * c * (1 + 3 * 0.044715 * b * b));
    case TENSOR_GELU_ERF_VJP:
        return a * ((1 + erf(b / sqrt(2))) / 2 + b * exp(-b * b / 2) / sqrt(2 * acos(-1.0)));
    case TENSOR_SILU_VJP:
        return a * (1 / (1 + exp(-b)) + b / (2 + 2 * cosh(b)));
    case TENSOR_TANH_VJP:
        return a / (cosh(b) * cosh(b));
    case TENSOR_SIGMOID_VJP:
        return a / (2 + 2 * cosh(b));
    case TENSOR_ERF_VJP:
        return a * 2 / sqrt(acos(-1.0)) * exp(-b * b);
    case TENSOR_SQRT_VJP:
        return a / (2 * b);
    case TENSOR_SQUARE_VJP:
        return 2 * a * b;
    case TENSOR_POW_BASE_SLOPE:
        return b * pow(a, b - 1);
    case TENSOR_POW_EXPONENT_SLOPE:
        return pow(a, b) * log(a);
    case TENSOR_MAX_SHARE:
        return a > b ? 1 : a == b ? 0.5 : 0;
    default:
        cr_assert_fail("%s has no formula here", tensor_binary_name(op));
        return 0;
    }
}

static void same(float y, double exact, const char *what) {
    if (isnan(exact) || isnan(y))
        cr_assert(isnan(exact) && isnan(y), "%s: %g, expected %g", what, (double)y, exact);
    else
        test_close((double)y, exact, 1e-6, what);
}

static void check_unary(tensor_unary_op op, tensor out, tensor x) {
    const tensor before = test_view(arena, TENSOR_F32, VIEW_PLAIN, x.rank, x.shape);
    test_fill(x, 7, -3, 3);
    TEST_OK(tensor_copy(before, x, &err));
    const uint64_t version = out.storage->version;
    TEST_OK(tensor_unary(out, op, x, &err));
    cr_assert_gt(out.storage->version, version);
    for (int64_t i = 0; i < tensor_size(x); i++)
        same(*test_at(out, i), exact_unary(op, (double)*test_at(before, i)), tensor_unary_name(op));
}

Test(elementwise, unary_operations_shapes_layouts) {
    for (int op = 0; op < TENSOR_UNARY_COUNT; op++)
        for (int s = 0; s < SHAPES - (op > 0); s++)
            for (int to = 0; to < VIEW_WRITABLE; to++)
                for (int from = 0; from < VIEW_COUNT; from++) {
                    tensor x = test_view(arena, TENSOR_F32, from, shapes[s].rank, shapes[s].shape);
                    check_unary((tensor_unary_op)op, test_view(arena, TENSOR_F32, to, x.rank, x.shape), x);
                    if (from < VIEW_WRITABLE) check_unary((tensor_unary_op)op, x, x);
                    tensor_arena_reset(arena);
                }
}

static void check_binary(tensor_binary_op op, tensor out, tensor a, tensor b) {
    test_fill(a, 3, 0.5f, 3);
    test_fill(b, 4, -2, 3);
    if (tensor_size(a) > 2 && tensor_size(b) > 2) *test_at(a, 1) = *test_at(b, 1);
    tensor a0 = test_view(arena, TENSOR_F32, VIEW_PLAIN, a.rank, a.shape);
    tensor b0 = test_view(arena, TENSOR_F32, VIEW_PLAIN, b.rank, b.shape);
    TEST_OK(tensor_copy(a0, a, &err) && tensor_copy(b0, b, &err));
    TEST_OK(tensor_binary(out, op, a, b, &err));
    for (int64_t i = 0; i < tensor_size(out); i++) {
        const double x = (double)*test_at_as(a0, i, out.rank, out.shape);
        const double y = (double)*test_at_as(b0, i, out.rank, out.shape);
        same(*test_at(out, i), exact_binary(op, x, y), tensor_binary_name(op));
    }
}

Test(elementwise, binary_operations_shapes_layouts) {
    for (int op = 0; op < TENSOR_BINARY_COUNT; op++)
        for (int s = 0; s < SHAPES - (op > 0); s++)
            for (int to = 0; to < VIEW_WRITABLE; to++)
                for (int from = 0; from < VIEW_COUNT; from++) {
                    tensor out = test_view(arena, TENSOR_F32, to, shapes[s].rank, shapes[s].shape);
                    tensor a = test_view(arena, TENSOR_F32, from, out.rank, out.shape);
                    tensor b = test_view(arena, TENSOR_F32, (from + to) % VIEW_COUNT, out.rank, out.shape);
                    check_binary((tensor_binary_op)op, out, a, b);
                    check_binary((tensor_binary_op)op, out, out, b); /* in place */
                    check_binary((tensor_binary_op)op, out, a, out);
                    tensor_arena_reset(arena);
                }
}

Test(elementwise, binary_broadcasts_each_side) {
    static const struct {
        int a_rank, b_rank;
        int64_t a[3], b[3], out[3];
    } cases[] = {{3, 1, {2, 3, 17}, {17}, {2, 3, 17}},   {3, 2, {2, 3, 17}, {3, 1}, {2, 3, 17}},
                 {3, 0, {2, 3, 300}, {0}, {2, 3, 300}},  {3, 3, {2, 1, 17}, {1, 5, 1}, {2, 5, 17}},
                 {3, 2, {4, 1, 1}, {3, 16}, {4, 3, 16}}, {3, 1, {2, 0, 5}, {1}, {2, 0, 5}},
                 {3, 1, {2, 99, 5}, {5}, {2, 99, 5}},    {3, 3, {2, 1, 9}, {1, 70, 1}, {2, 70, 9}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
            tensor out = test_view(arena, TENSOR_F32, kind, 3, cases[c].out);
            tensor a = test_view(arena, TENSOR_F32, kind, cases[c].a_rank, cases[c].a);
            tensor b = test_view(arena, TENSOR_F32, kind, cases[c].b_rank, cases[c].b);
            for (int op = 0; op < TENSOR_BINARY_COUNT; op++) {
                check_binary((tensor_binary_op)op, out, a, b);
                check_binary((tensor_binary_op)op, out, b, a);
            }
        }
}

Test(elementwise, same_operand_twice) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_STEPPED, TENSOR_SHAPE(5, 33));
    test_fill(x, 1, -2, 2);
    const double before = (double)*test_at(x, 40);
    TEST_OK(tensor_binary(x, TENSOR_MUL, x, x, &err));
    test_close((double)*test_at(x, 40), before * before, 1e-6, "x x");
}

Test(elementwise, nan_and_zero) {
    tensor nan = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL),
           one = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
    tensor y = test_view(arena, TENSOR_F32, VIEW_PLAIN, 0, NULL);
    *nan.f32 = NAN, *one.f32 = 1;
    const tensor_binary_op ops[] = {TENSOR_MAX, TENSOR_MIN, TENSOR_ADD};
    for (int i = 0; i < 3; i++) {
        TEST_OK(tensor_binary(y, ops[i], nan, one, &err));
        cr_assert(isnan(*y.f32));
        TEST_OK(tensor_binary(y, ops[i], one, nan, &err));
        cr_assert(isnan(*y.f32));
    }
    const tensor_unary_op unary[] = {TENSOR_RELU, TENSOR_SIGN, TENSOR_TANH, TENSOR_ERF, TENSOR_GELU_TANH};
    for (int i = 0; i < 5; i++) {
        TEST_OK(tensor_unary(y, unary[i], nan, &err));
        cr_assert(isnan(*y.f32), "%s", tensor_unary_name(unary[i]));
    }
}

static double exact_parametric(tensor_parametric_op op, double x, double y, double a, double b) {
    switch (op) {
    case TENSOR_AFFINE:
        return a * x + b;
    case TENSOR_CLAMP:
        return fmin(fmax(x, a), b);
    case TENSOR_LEAKY_RELU:
        return x > 0 ? x : a * x;
    case TENSOR_ELU:
        return x > 0 ? x : a * expm1(x);
    case TENSOR_HUBER:
        return fabs(x) <= a ? x * x / 2 : a * (fabs(x) - a / 2);
    case TENSOR_AXPY:
        return a * x + y;
    case TENSOR_CLAMP_VJP:
        return y > a && y < b ? x : 0;
    case TENSOR_LEAKY_RELU_VJP:
        return y > 0 ? x : a * x;
    case TENSOR_ELU_VJP:
        return y > 0 ? x : a * exp(y) * x;
    case TENSOR_HUBER_VJP:
        return x * fmin(fmax(y, -a), a);
    default:
        cr_assert_fail("%s has no formula here", tensor_parametric_name(op));
        return 0;
    }
}

Test(elementwise, parametric_operations_shapes_layouts) {
    for (int op = 0; op < TENSOR_PARAMETRIC_COUNT; op++)
        for (int s = 0; s < SHAPES - 1; s++)
            for (int from = 0; from < VIEW_COUNT; from++) {
                const int rank = shapes[s].rank;
                tensor out = test_view(arena, TENSOR_F32, from % VIEW_WRITABLE, rank, shapes[s].shape);
                tensor x = test_view(arena, TENSOR_F32, from, rank, shapes[s].shape);
                tensor y = test_view(arena, TENSOR_F32, (from + 1) % VIEW_COUNT, rank, shapes[s].shape);
                test_fill(x, 5, -2, 2);
                test_fill(y, 6, -2, 2);
                TEST_OK(tensor_parametric(out, (tensor_parametric_op)op, x, y, 0.5f, 1.25f, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    same(*test_at(out, i),
                         exact_parametric((tensor_parametric_op)op, (double)*test_at(x, i),
                                          (double)*test_at(y, i), 0.5, 1.25),
                         tensor_parametric_name((tensor_parametric_op)op));
                tensor_arena_reset(arena);
            }
    float data[] = {NAN, -INFINITY, INFINITY, 0, -0.f};
    tensor_storage storage = {data, sizeof data, 0};
    tensor x = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(5), NULL);
    TEST_OK(tensor_parametric(x, TENSOR_CLAMP, x, (tensor){0}, -1, 2, &err));
    cr_assert(isnan(data[0]) && data[1] == -1 && data[2] == 2 && data[3] == 0);
    TEST_FAILS(tensor_parametric(x, TENSOR_AXPY, x, (tensor){0}, -1, 2, &err), "axpy: y is no tensor");
    TEST_FAILS(tensor_parametric(x, TENSOR_PARAMETRIC_COUNT, x, x, -1, 2, &err),
               "parametric: there is no operation 10");
}

Test(elementwise, affine_axpy_where_copy_fill) {
    for (int s = 0; s < SHAPES; s++)
        for (int to = 0; to < VIEW_WRITABLE; to++)
            for (int from = 0; from < VIEW_COUNT; from++) {
                const int rank = shapes[s].rank;
                const int64_t *shape = shapes[s].shape;
                tensor out = test_view(arena, TENSOR_F32, to, rank, shape);
                tensor x = test_view(arena, TENSOR_F32, from, rank, shape);
                tensor c = test_view(arena, TENSOR_F32, (from + 2) % VIEW_COUNT, rank, shape);
                tensor ids = test_view(arena, TENSOR_I32, to, rank, shape);
                test_fill(x, 9, -1, 1);
                test_fill(c, 5, -1, 1);
                for (int64_t i = 0; i < tensor_size(c); i++)
                    if (*test_at(c, i) < 0) *test_at(c, i) = 0;
                TEST_OK(tensor_affine(out, 2.5f, x, -0.75f, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    test_close((double)*test_at(out, i), 2.5 * (double)*test_at(x, i) - 0.75, 1e-6, "affine");
                TEST_OK(tensor_copy(out, x, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    TEST_EACH(*test_at(out, i) == *test_at(x, i), "copy");
                TEST_OK(tensor_axpy(out, -3, c, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    test_close((double)*test_at(out, i), (double)*test_at(x, i) - 3 * (double)*test_at(c, i),
                               1e-6, "axpy");
                TEST_OK(tensor_where(out, c, x, out, &err) && tensor_where(out, c, out, c, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    TEST_EACH(*test_at(out, i) == (*test_at(c, i) != 0 ? *test_at(x, i) : 0), "where");
                TEST_OK(tensor_fill(ids, -7.9, &err) && tensor_fill(out, 0.3, &err));
                for (int64_t i = 0; i < tensor_size(x); i++)
                    TEST_EACH(*test_int_at(ids, i) == -7 && *test_at(out, i) == 0.3f, "fill");
                tensor_arena_reset(arena);
            }
}

/* Every order of three axes, sizes around those of tiles; the words are the bits of NaNs, which must stay. */
Test(elementwise, copy_of_permuted_axes) {
    static const int order[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int64_t shape[][3] = {{3, 4, 5},    {4, 4, 4},    {1, 17, 133},
                                       {2, 131, 18}, {129, 3, 16}, {5, 0, 7}};
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (size_t o = 0; o < 6; o++)
            for (int kind = 0; kind < VIEW_WRITABLE; kind++) {
                tensor x = test_view(arena, TENSOR_I32, kind, 3, shape[s]);
                for (int64_t i = 0; i < tensor_size(x); i++) *test_int_at(x, i) = 0x7f800001 + (int32_t)i;
                tensor y = tensor_permute(x, order[o], NULL);
                tensor out = test_view(arena, TENSOR_I32, VIEW_PLAIN, 3, y.shape);
                TEST_OK(tensor_copy(out, y, &err));
                for (int64_t i = 0; i < tensor_size(y); i++)
                    TEST_EACH(out.i32[i] == *test_int_at(y, i), "shape %zu, order %zu, view %d", s, o, kind);
                tensor one = tensor_slice(tensor_reshape(out, TENSOR_SHAPE(-1), NULL), 0, 0, 1, 1, NULL);
                if (tensor_size(out) == 0) continue;
                TEST_OK(tensor_copy(y, tensor_expand(one, 3, y.shape, &err), &err));
                for (int64_t i = 0; i < tensor_size(y); i++)
                    TEST_EACH(*test_int_at(y, i) == out.i32[0], "repeated");
                tensor_arena_reset(arena);
            }
}

Test(elementwise, errors_name_operation_and_shapes) {
    tensor x = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(3, 4));
    tensor y = test_view(arena, TENSOR_F32, VIEW_PLAIN, TENSOR_SHAPE(5));
    tensor ids = test_view(arena, TENSOR_I32, VIEW_PLAIN, TENSOR_SHAPE(5));
    TEST_FAILS(tensor_binary(x, TENSOR_ADD, x, y, &err), "add: shapes do not broadcast: [3, 4] and [5]");
    TEST_FAILS(tensor_unary(y, TENSOR_EXP, x, &err), "exp: out is [5], expected [3, 4]");
    TEST_FAILS(tensor_unary(y, TENSOR_EXP, ids, &err), "exp: x is int32, expected float32");
    TEST_FAILS(tensor_unary(y, TENSOR_EXP, (tensor){0}, &err), "exp: x is no tensor");
    TEST_FAILS(tensor_copy(y, ids, &err), "copy: x is int32, expected float32");
    TEST_FAILS(tensor_fill(ids, 1e10, &err), "fill: 1e+10 does not fit into int32");
    cr_assert(!tensor_unary((tensor){0}, TENSOR_EXP, x, NULL));
}
