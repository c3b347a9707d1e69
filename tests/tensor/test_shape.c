/* Shapes, views, and the loops that kernels go over them with. */
#include "tensor/tensor_internal.h"
#include "tests/arena.h"

#include <criterion/criterion.h>
#include <string.h>

ARENA_SUITE(shape);

/* An int32 tensor whose elements are 0, 1, 2, ... */
static tensor counting(int rank, const int64_t *shape) {
    tensor x = tensor_new(arena, TENSOR_I32, rank, shape, &err);
    cr_assert(tensor_ok(x), "%s", err.text);
    for (int64_t i = 0; i < tensor_size(x); i++) x.i32[i] = (int32_t)i;
    return x;
}

static int32_t at(tensor x, const int64_t *index) {
    int64_t offset = 0;
    for (int i = 0; i < x.rank; i++) offset += index[i] * x.stride[i];
    return x.i32[offset];
}

/* Goes to the next index in row-major order; false after the last. */
static bool next_index(tensor x, int64_t *index) {
    for (int i = x.rank - 1; i >= 0; i--) {
        if (++index[i] < x.shape[i]) return true;
        index[i] = 0;
    }
    return false;
}

static void expect_elements(tensor x, int rank, const int64_t *shape, const int32_t *elements) {
    cr_assert(tensor_ok(x), "%s", err.text);
    char got[TENSOR_SHAPE_TEXT], wanted[TENSOR_SHAPE_TEXT];
    cr_assert_str_eq(tensor_shape_text(got, sizeof got, x.rank, x.shape),
                     tensor_shape_text(wanted, sizeof wanted, rank, shape));
    if (tensor_size(x) == 0) return;
    int64_t index[TENSOR_MAX_RANK] = {0}, i = 0;
    do {
        cr_assert_eq(at(x, index), elements[i], "element %lld is %d, not %d", (long long)i, at(x, index),
                     elements[i]);
        i++;
    } while (next_index(x, index));
    cr_assert_eq(i, tensor_size(x));
}
#define ELEMENTS(...)                                                                                        \
    (int32_t[]) {                                                                                            \
        __VA_ARGS__                                                                                          \
    }

/* `call` gives no tensor, and this text. */
#define EXPECT_FAIL(call, message)                                                                           \
    do {                                                                                                     \
        err.text[0] = '\0';                                                                                  \
        cr_assert_not(tensor_ok(call));                                                                      \
        cr_assert_str_eq(err.text, message);                                                                 \
    } while (0)

Test(shape, text) {
    char text[TENSOR_SHAPE_TEXT];
    cr_assert_str_eq(tensor_shape_text(text, sizeof text, TENSOR_SHAPE(256, 64)), "[256, 64]");
    cr_assert_str_eq(tensor_shape_text(text, sizeof text, 0, NULL), "[]");
    int64_t most = INT64_MIN;
    tensor_shape_text(text, sizeof text, TENSOR_SHAPE(most, most, most, most, most, most, most, most));
    cr_assert_eq(text[strlen(text) - 1], ']', "%s", text);
    char small[8];
    memset(small, 'x', sizeof small);
    cr_assert_str_eq(tensor_shape_text(small, 6, TENSOR_SHAPE(256, 64)), "[256,");
    cr_assert_eq(small[6], 'x');
}

Test(shape, size_and_contiguity) {
    tensor x = counting(TENSOR_SHAPE(2, 3, 4));
    cr_assert_eq(tensor_size(x), 24);
    cr_assert_eq(tensor_size((tensor){0}), 0);
    cr_assert(tensor_is_contiguous(x));
    cr_assert_not(tensor_is_contiguous((tensor){0}));
    cr_assert_not(tensor_is_contiguous(tensor_transpose(x, 0, 1, &err)));
    cr_assert_not(tensor_is_contiguous(tensor_slice(x, 2, 0, 3, 1, &err)));
    cr_assert(tensor_is_contiguous(tensor_slice(x, 0, 1, 2, 1, &err)));
    cr_assert(tensor_is_contiguous(tensor_transpose(counting(TENSOR_SHAPE(5, 1)), 0, 1, &err)),
              "size 1 is ignored");
    cr_assert(tensor_is_contiguous(tensor_transpose(counting(TENSOR_SHAPE(5, 0, 7)), 0, 2, &err)));
    cr_assert(tensor_is_contiguous(counting(0, NULL)));
    cr_assert_not(tensor_is_contiguous(tensor_expand(counting(TENSOR_SHAPE(1)), TENSOR_SHAPE(3), &err)));
}

Test(shape, same_shape) {
    tensor a = counting(TENSOR_SHAPE(2, 3));
    cr_assert(tensor_same_shape(a, tensor_transpose(counting(TENSOR_SHAPE(3, 2)), 0, 1, &err)));
    cr_assert_not(tensor_same_shape(a, counting(TENSOR_SHAPE(3, 2))));
    cr_assert_not(tensor_same_shape(a, counting(TENSOR_SHAPE(2, 3, 1))));
    cr_assert_not(tensor_same_shape(a, (tensor){0}));
    cr_assert(tensor_same_shape(counting(0, NULL), counting(0, NULL)));
}

Test(shape, reshape) {
    tensor x = counting(TENSOR_SHAPE(2, 6));
    int32_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    expect_elements(tensor_reshape(x, TENSOR_SHAPE(3, 4), &err), TENSOR_SHAPE(3, 4), all);
    expect_elements(tensor_reshape(x, TENSOR_SHAPE(-1, 1, 2), &err), TENSOR_SHAPE(6, 1, 2), all);
    expect_elements(tensor_reshape(x, TENSOR_SHAPE(1, 12, 1), &err), TENSOR_SHAPE(1, 12, 1), all);
    expect_elements(tensor_reshape(counting(TENSOR_SHAPE(1, 1)), 0, NULL, &err), 0, NULL, all);
    expect_elements(tensor_reshape(counting(0, NULL), TENSOR_SHAPE(1, 1), &err), TENSOR_SHAPE(1, 1), all);
    tensor empty = tensor_reshape(counting(TENSOR_SHAPE(0, 3)), TENSOR_SHAPE(7, 0), &err);
    cr_assert(tensor_ok(empty) && empty.shape[0] == 7 && empty.shape[1] == 0);
    cr_assert_eq(tensor_reshape(x, TENSOR_SHAPE(12), &err).storage, x.storage, "a view");
}

Test(shape, reshape_of_strided_views) {
    /* [4, 6] cut to [4, 4]: rows cannot be joined but can be split. */
    tensor part = tensor_slice(counting(TENSOR_SHAPE(4, 6)), 1, 1, 5, 1, &err);
    expect_elements(tensor_reshape(part, TENSOR_SHAPE(2, 2, 2, 2), &err), TENSOR_SHAPE(2, 2, 2, 2),
                    ELEMENTS(1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16, 19, 20, 21, 22));
    EXPECT_FAIL(tensor_reshape(part, TENSOR_SHAPE(16), &err),
                "reshape: the strides of [4, 4] do not permit a view as [16]");
    EXPECT_FAIL(
        tensor_reshape(tensor_transpose(counting(TENSOR_SHAPE(2, 3)), 0, 1, &err), TENSOR_SHAPE(6), &err),
        "reshape: the strides of [3, 2] do not permit a view as [6]");
    /* Every second element, backwards: evenly spaced, so it folds. */
    tensor back = tensor_slice(counting(TENSOR_SHAPE(12)), 0, 11, INT64_MIN, -2, &err);
    expect_elements(tensor_reshape(back, TENSOR_SHAPE(2, 3), &err), TENSOR_SHAPE(2, 3),
                    ELEMENTS(11, 9, 7, 5, 3, 1));
    tensor same = tensor_expand(counting(TENSOR_SHAPE(1)), TENSOR_SHAPE(6), &err);
    expect_elements(tensor_reshape(same, TENSOR_SHAPE(3, 2), &err), TENSOR_SHAPE(3, 2),
                    ELEMENTS(0, 0, 0, 0, 0, 0));
}

Test(shape, reshape_refuses) {
    tensor x = counting(TENSOR_SHAPE(3, 4));
    EXPECT_FAIL(tensor_reshape(x, TENSOR_SHAPE(5, 3), &err), "reshape: [3, 4] does not fit [5, 3]");
    EXPECT_FAIL(tensor_reshape(x, TENSOR_SHAPE(5, -1), &err), "reshape: [3, 4] does not fit [5, -1]");
    EXPECT_FAIL(tensor_reshape(x, TENSOR_SHAPE(-1, -1), &err), "reshape: wrong size in [-1, -1]");
    EXPECT_FAIL(tensor_reshape(x, TENSOR_SHAPE(-3, -4), &err), "reshape: wrong size in [-3, -4]");
    int64_t large = INT64_C(1) << 62;
    EXPECT_FAIL(tensor_reshape(x, TENSOR_SHAPE(large, 4), &err),
                "reshape: [3, 4] does not fit [4611686018427387904, 4]");
    EXPECT_FAIL(tensor_reshape(counting(TENSOR_SHAPE(0)), TENSOR_SHAPE(0, -1), &err),
                "reshape: [0] does not fit [0, -1]");
    EXPECT_FAIL(tensor_reshape(x, 9, (int64_t[9]){0}, &err), "reshape: a rank of 9 is not in 0..8");
}

Test(shape, transpose) {
    tensor x = counting(TENSOR_SHAPE(2, 3));
    expect_elements(tensor_transpose(x, 0, 1, &err), TENSOR_SHAPE(3, 2), ELEMENTS(0, 3, 1, 4, 2, 5));
    expect_elements(tensor_transpose(x, -1, -2, &err), TENSOR_SHAPE(3, 2), ELEMENTS(0, 3, 1, 4, 2, 5));
    expect_elements(tensor_transpose(x, 1, 1, &err), TENSOR_SHAPE(2, 3), ELEMENTS(0, 1, 2, 3, 4, 5));
    EXPECT_FAIL(tensor_transpose(x, 0, 3, &err), "transpose: axis 3 is outside a tensor of rank 2");
    EXPECT_FAIL(tensor_transpose(x, -3, 0, &err), "transpose: axis -3 is outside a tensor of rank 2");
}

Test(shape, permute) {
    tensor x = counting(TENSOR_SHAPE(2, 1, 3));
    expect_elements(tensor_permute(x, (int[]){2, 0, 1}, &err), TENSOR_SHAPE(3, 2, 1),
                    ELEMENTS(0, 3, 1, 4, 2, 5));
    expect_elements(tensor_permute(x, (int[]){-1, 0, -2}, &err), TENSOR_SHAPE(3, 2, 1),
                    ELEMENTS(0, 3, 1, 4, 2, 5));
    EXPECT_FAIL(tensor_permute(x, (int[]){0, 2, -1}, &err), "permute: axis 2 of [2, 1, 3] comes twice");
    EXPECT_FAIL(tensor_permute(x, (int[]){0, 1, 3}, &err), "permute: axis 3 is outside a tensor of rank 3");
}

/* Python's range(n)[start:stop:step], by its definition in the language reference. */
static int python_slice(int64_t n, int64_t start, int64_t stop, int64_t step, int32_t *elements) {
    bool through = stop == INT64_MIN;
    if (start < 0) start += n;
    if (stop < 0 && !through) stop += n;
    int count = 0;
    if (step > 0) {
        if (start < 0) start = 0;
        for (int64_t i = start; i < n && i < stop; i += step) elements[count++] = (int32_t)i;
    } else {
        if (start > n - 1) start = n - 1;
        for (int64_t i = start; i >= 0 && (through || (i > stop && i > -1)); i += step)
            elements[count++] = (int32_t)i;
    }
    return count;
}

Test(shape, slice_as_python) {
    for (int64_t n = 0; n <= 5; n++) {
        tensor x = counting(TENSOR_SHAPE(n));
        for (int64_t start = -8; start <= 8; start++)
            for (int64_t stop = -9; stop <= 8; stop++)
                for (int64_t step = -4; step <= 4; step++) {
                    if (step == 0) continue;
                    int64_t end = stop == -9 ? INT64_MIN : stop;
                    int32_t elements[8];
                    int count = python_slice(n, start, end, step, elements);
                    expect_elements(tensor_slice(x, 0, start, end, step, &err), TENSOR_SHAPE(count),
                                    elements);
                }
    }
}

Test(shape, slice_of_extremes) {
    tensor x = counting(TENSOR_SHAPE(3, 4));
    expect_elements(tensor_slice(x, -1, INT64_MIN, INT64_MAX, INT64_MAX, &err), TENSOR_SHAPE(3, 1),
                    ELEMENTS(0, 4, 8));
    expect_elements(tensor_slice(x, 1, INT64_MAX, INT64_MIN, INT64_MIN, &err), TENSOR_SHAPE(3, 1),
                    ELEMENTS(3, 7, 11));
    expect_elements(tensor_slice(x, 0, INT64_MAX, INT64_MIN, -1, &err), TENSOR_SHAPE(3, 4),
                    ELEMENTS(8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    EXPECT_FAIL(tensor_slice(x, 1, 0, 2, 0, &err), "slice: the step along axis 1 of [3, 4] is 0");
    EXPECT_FAIL(tensor_slice(x, 2, 0, 2, 1, &err), "slice: axis 2 is outside a tensor of rank 2");
    EXPECT_FAIL(tensor_slice(counting(0, NULL), 0, 0, 1, 1, &err),
                "slice: axis 0 is outside a tensor of rank 0");
}

Test(shape, expand) {
    tensor x = counting(TENSOR_SHAPE(2, 1));
    tensor y = tensor_expand(x, TENSOR_SHAPE(2, 2, 3), &err);
    expect_elements(y, TENSOR_SHAPE(2, 2, 3), ELEMENTS(0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1));
    cr_assert_eq(y.stride[0], 0);
    cr_assert_eq(y.stride[2], 0);
    expect_elements(tensor_expand(counting(0, NULL), TENSOR_SHAPE(2), &err), TENSOR_SHAPE(2), ELEMENTS(0, 0));
    cr_assert(tensor_ok(tensor_expand(x, TENSOR_SHAPE(2, 0), &err)), "1 broadcasts to 0");
    EXPECT_FAIL(tensor_expand(x, TENSOR_SHAPE(3, 1), &err), "expand: [2, 1] does not broadcast to [3, 1]");
    EXPECT_FAIL(tensor_expand(x, TENSOR_SHAPE(2), &err), "expand: [2, 1] does not broadcast to [2]");
    EXPECT_FAIL(tensor_expand(x, TENSOR_SHAPE(2, -1), &err), "expand: negative size in [2, -1]");
}

Test(shape, squeeze_and_unsqueeze) {
    tensor x = counting(TENSOR_SHAPE(2, 1, 2));
    int32_t all[] = {0, 1, 2, 3};
    expect_elements(tensor_squeeze(x, 1, &err), TENSOR_SHAPE(2, 2), all);
    expect_elements(tensor_squeeze(x, -2, &err), TENSOR_SHAPE(2, 2), all);
    expect_elements(tensor_unsqueeze(x, 0, &err), TENSOR_SHAPE(1, 2, 1, 2), all);
    expect_elements(tensor_unsqueeze(x, -1, &err), TENSOR_SHAPE(2, 1, 2, 1), all);
    expect_elements(tensor_unsqueeze(x, 2, &err), TENSOR_SHAPE(2, 1, 1, 2), all);
    cr_assert(tensor_is_contiguous(tensor_unsqueeze(x, 1, &err)));
    EXPECT_FAIL(tensor_squeeze(x, 0, &err), "squeeze: axis 0 of [2, 1, 2] is not of size 1");
    EXPECT_FAIL(tensor_unsqueeze(x, 4, &err), "unsqueeze: axis 4 is outside a tensor of rank 4");
    tensor highest = counting(TENSOR_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    EXPECT_FAIL(tensor_unsqueeze(highest, 0, &err),
                "unsqueeze: [1, 1, 1, 1, 1, 1, 1, 1] has the highest rank already");
}

Test(shape, contiguous) {
    tensor x = counting(TENSOR_SHAPE(2, 3));
    cr_assert_eq(tensor_contiguous(arena, x, &err).data, x.data, "no copy where none is needed");
    tensor y = tensor_contiguous(arena, tensor_transpose(x, 0, 1, &err), &err);
    expect_elements(y, TENSOR_SHAPE(3, 2), ELEMENTS(0, 3, 1, 4, 2, 5));
    cr_assert(tensor_is_contiguous(y));
    cr_assert_neq(y.storage, x.storage);
}

Test(shape, no_tensor_passes_through_a_chain) {
    tensor none = {0};
    tensor_fail(&err, "the first");
    cr_assert_not(tensor_ok(tensor_reshape(none, TENSOR_SHAPE(1), &err)));
    cr_assert_not(tensor_ok(tensor_transpose(none, 0, 0, &err)));
    cr_assert_not(tensor_ok(tensor_permute(none, NULL, &err)));
    cr_assert_not(tensor_ok(tensor_slice(none, 0, 0, 1, 1, &err)));
    cr_assert_not(tensor_ok(tensor_expand(none, TENSOR_SHAPE(1), &err)));
    cr_assert_not(tensor_ok(tensor_squeeze(none, 0, &err)));
    cr_assert_not(tensor_ok(tensor_unsqueeze(none, 0, &err)));
    cr_assert_not(tensor_ok(tensor_contiguous(arena, none, &err)));
    cr_assert_str_eq(err.text, "the first");
    EXPECT_FAIL(tensor_squeeze(none, 0, &err), "squeeze: x is no tensor");
}

Test(shape, broadcast) {
    static const struct {
        int rank_a, rank_b, rank;
        int64_t a[3], b[3], shape[3];
    } cases[] = {
        {2, 1, 2, {3, 4}, {4}, {3, 4}}, {2, 2, 2, {3, 1}, {1, 4}, {3, 4}},
        {0, 2, 2, {0}, {2, 2}, {2, 2}}, {3, 2, 3, {5, 1, 2}, {3, 1}, {5, 3, 2}},
        {2, 1, 2, {3, 1}, {0}, {3, 0}}, {0, 0, 0, {0}, {0}, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensor a = counting(cases[i].rank_a, cases[i].a), b = counting(cases[i].rank_b, cases[i].b);
        for (int swapped = 0; swapped < 2; swapped++) {
            int rank = -1;
            int64_t shape[TENSOR_MAX_RANK];
            cr_assert(tensor_broadcast_shape("add", swapped ? b : a, swapped ? a : b, &rank, shape, &err));
            cr_assert_eq(rank, cases[i].rank);
            for (int k = 0; k < rank; k++) cr_assert_eq(shape[k], cases[i].shape[k]);
        }
    }
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    tensor x = counting(TENSOR_SHAPE(3, 4));
    cr_assert_not(tensor_broadcast_shape("add", x, counting(TENSOR_SHAPE(5)), &rank, shape, &err));
    cr_assert_str_eq(err.text, "add: shapes do not broadcast: [3, 4] and [5]");
    cr_assert_not(tensor_broadcast_shape("add", x, (tensor){0}, &rank, shape, NULL));
}

/* ---- Loops ------------------------------------------------------------------------------------ */

/* A view with axes of size 1, reversed, transposed, sliced and repeated ones, by the bits of `kind`. */
static tensor odd_view(unsigned kind) {
    tensor x = counting(TENSOR_SHAPE(3, 1, 4, 6));
    if (kind & 1) x = tensor_slice(x, 3, 1, 5, 1, &err);
    if (kind & 2) x = tensor_slice(x, 0, 2, INT64_MIN, -1, &err);
    if (kind & 4) x = tensor_transpose(x, 2, 3, &err);
    if (kind & 8) x = tensor_expand(x, TENSOR_SHAPE(2, x.shape[0], x.shape[1], x.shape[2], x.shape[3]), &err);
    if (kind & 16) x = tensor_transpose(x, 0, x.rank - 1, &err);
    cr_assert(tensor_ok(x), "%s", err.text);
    return x;
}

/* Adds 1 to the destination at each position begin..end-1 and checks that the operand is the one beside it. */
static void walk(const tensor_loop *loop, int64_t begin, int64_t end, int64_t shift) {
    tensor_run run = tensor_loop_runs(loop, begin, end);
    int64_t count = 0;
    while (tensor_run_next(&run)) {
        cr_assert(run.n > 0 && run.n <= loop->inner);
        for (int64_t i = 0; i < run.n; i++) {
            int32_t *out = (int32_t *)run.at[0] + i * loop->inner_stride[0];
            const int32_t *x = (const int32_t *)run.at[1] + i * loop->inner_stride[1];
            cr_assert_eq(x - out, shift, "operands in step");
            ++*out;
        }
        count += run.n;
    }
    cr_assert_eq(count, end - begin);
}

Test(shape, loop_visits_every_element_once_in_any_cut) {
    for (unsigned kind = 0; kind < 32; kind++) {
        if (kind & 8) continue; /* a destination does not repeat */
        tensor x = odd_view(kind);
        memset(x.storage->data, 0, x.storage->bytes);
        tensor beside = x;
        beside.i32++;
        tensor_loop loop;
        tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){x, beside});
        cr_assert_eq(loop.size, tensor_size(x));
        int32_t rounds = 0;
        for (int64_t piece = 1; piece <= loop.size + 1; piece += 1 + piece / 3, rounds++)
            for (int64_t begin = 0; begin < loop.size; begin += piece)
                walk(&loop, begin, begin + piece < loop.size ? begin + piece : loop.size, 1);
        int64_t index[TENSOR_MAX_RANK] = {0};
        do cr_assert_eq(at(x, index), rounds);
        while (next_index(x, index));
    }
}

Test(shape, loop_keeps_row_major_order) {
    for (unsigned kind = 0; kind < 32; kind++) {
        tensor x = odd_view(kind);
        tensor_loop loop;
        tensor_loop_init(&loop, TENSOR_ROW_MAJOR, 1, &x);
        tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
        int64_t index[TENSOR_MAX_RANK] = {0};
        while (tensor_run_next(&run))
            for (int64_t i = 0; i < run.n; i++) {
                cr_assert_eq(((int32_t *)run.at[0])[i * loop.inner_stride[0]], at(x, index));
                next_index(x, index);
            }
    }
}

Test(shape, loop_merges_and_sorts_axes) {
    tensor_loop loop;
    tensor x = counting(TENSOR_SHAPE(3, 1, 4, 5)), y = counting(TENSOR_SHAPE(3, 1, 4, 5));
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){x, y});
    cr_assert(loop.inner == 60 && loop.outer_rank == 0 && loop.inner_stride[1] == 1, "contiguous is one row");

    tensor xt = tensor_transpose(x, 0, 3, &err), yt = tensor_transpose(y, 0, 3, &err);
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){xt, yt});
    cr_assert(loop.inner == 60 && loop.outer_rank == 0, "transposed alike too");
    tensor_loop_init(&loop, TENSOR_ROW_MAJOR, 2, (tensor[]){xt, yt});
    cr_assert(loop.inner == 3 && loop.outer_rank == 2, "but not against the order");

    tensor row = tensor_expand(counting(TENSOR_SHAPE(5)), TENSOR_SHAPE(3, 1, 4, 5), &err);
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){x, row});
    cr_assert(loop.inner == 5 && loop.outer_rank == 1 && loop.outer_shape[0] == 12, "a repeated row");

    /* A destination that repeats along an axis, as in a reduction: there the operand decides. */
    tensor rows = tensor_reshape(x, TENSOR_SHAPE(12, 5), &err);
    tensor out = tensor_expand(counting(TENSOR_SHAPE(12, 1)), TENSOR_SHAPE(12, 5), &err);
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, rows});
    cr_assert(loop.inner == 5 && loop.inner_stride[0] == 0 && loop.inner_stride[1] == 1);
    out = tensor_expand(counting(TENSOR_SHAPE(1, 5)), TENSOR_SHAPE(12, 5), &err);
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 2, (tensor[]){out, rows});
    cr_assert(loop.inner == 5 && loop.inner_stride[0] == 1 && loop.inner_stride[1] == 1);
}

Test(shape, loop_over_scalars_and_nothing) {
    tensor_loop loop;
    tensor scalar = counting(TENSOR_SHAPE(1, 1));
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 1, &scalar);
    tensor_run run = tensor_loop_runs(&loop, 0, loop.size);
    cr_assert(tensor_run_next(&run) && run.n == 1 && run.at[0] == scalar.data);
    cr_assert_not(tensor_run_next(&run));
    tensor empty = counting(TENSOR_SHAPE(3, 0));
    tensor_loop_init(&loop, TENSOR_ANY_ORDER, 1, &empty);
    cr_assert_eq(loop.size, 0);
    run = tensor_loop_runs(&loop, 0, 0);
    cr_assert_not(tensor_run_next(&run));
}

Test(shape, expectations_name_what_is_wrong) {
    tensor x = counting(TENSOR_SHAPE(3, 4));
    cr_assert(tensor_expect("add", "out", &x, TENSOR_I32, &err));
    cr_assert(tensor_expect_shape("add", "out", &x, TENSOR_SHAPE(3, 4), &err));
    cr_assert_not(tensor_expect("add", "out", &x, TENSOR_F32, &err));
    cr_assert_str_eq(err.text, "add: out is int32, expected float32");
    err.text[0] = '\0';
    cr_assert_not(tensor_expect_shape("add", "out", &x, TENSOR_SHAPE(3, 5), &err));
    cr_assert_str_eq(err.text, "add: out is [3, 4], expected [3, 5]");
    tensor_touch(x);
    cr_assert_eq(x.storage->version, 1);
}
