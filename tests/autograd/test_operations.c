/* Operands that do not fit an operation: it returns NULL, and the tape says what was wrong, with the numbers. Forms of
 * operations that have no gradient check of their own. */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "tests/autograd/tape_test.h"

static ag_tape *tape;
static void set_up(void) {
    tape = ag_tape_new();
}
static void tear_down(void) {
    ag_tape_free(tape);
}
TestSuite(operations, .init = set_up, .fini = tear_down);

/* A leaf of the sizes. */
#define X(...) filled(tape, true, 1, TENSOR_SHAPE(__VA_ARGS__))

/* Computes the expression on an empty tape; what it says has the text. */
#define REFUSED(text, ...)                                                                                   \
    do {                                                                                                     \
        ag_reset(tape);                                                                                      \
        cr_expect_not((__VA_ARGS__), "%s", #__VA_ARGS__);                                                    \
        cr_expect(strstr(ag_error(tape), text), "%s: %s", #__VA_ARGS__, ag_error(tape));                     \
    } while (0)

static ag_var *einsum(const char *formula, ag_var *a, ag_var *b) {
    return ag_einsum(formula, (ag_var *[]){a, b}, b ? 2 : 1);
}

Test(operations, refuse_formulas) {
    ag_var *nine[9];
    for (int i = 0; i < 9; i++) nine[i] = X(1);
    cr_expect_null(ag_einsum("a", nine, 9));
    cr_expect(strstr(ag_error(tape), "no more than 8 operands"), "%s", ag_error(tape));
    REFUSED("needs a formula", einsum(NULL, X(2), NULL));
    REFUSED("is no letter of a new axis", einsum("aa", X(2, 2), NULL));
    REFUSED("is no letter of a new axis", einsum("a1", X(2, 2), NULL));
    REFUSED("operand 0 of \"ab\" has rank 1", einsum("ab", X(2), NULL));
    REFUSED("'b' in \"ab,bc\" is 3 and 4", einsum("ab,bc", X(2, 3), X(4, 5)));
    REFUSED("is no axis, or there twice", einsum("ab->aa", X(2, 3), NULL));
    REFUSED("is no axis, or there twice", einsum("ab->c", X(2, 3), NULL));
    REFUSED("does not have 2 operands", einsum("ab", X(2, 3), X(2)));
    REFUSED("has more than 1 operands", einsum("ab,c", X(2, 3), NULL));
    REFUSED("has no arrow", einsum("ab-", X(2, 3), NULL));
    REFUSED("has more than 8 axes", einsum("abcde,fghij", X(1, 1, 1, 1, 1), X(1, 1, 1, 1, 1)));
}

Test(operations, refuse_layouts) {
    ag_var *y[4], *ids;
    REFUSED("there is no way from 0 to 1", ag_arange(tape, 0, 1, 0));
    REFUSED("there is no way from 0 to inf", ag_arange(tape, 0, INFINITY, 1));
    REFUSED("there is no way from nan to 1", ag_arange(tape, NAN, 1, 1));
    REFUSED("one_hot: id 3 is outside 0..2", ag_one_hot(ag_indices(tape, 4), 3));
    REFUSED("index_select: ids have rank 2",
            ag_index_select(X(3), 0, ag_reshape(ag_indices(tape, 2), TENSOR_SHAPE(1, 2))));
    REFUSED("top_k: there are 3 elements, not 4", ag_top_k(X(2, 3), 1, 4, &ids));
    REFUSED("pad: borders of -2 and -2 leave nothing of axis 0 of size 3",
            ag_pad(X(3), (int64_t[]){-2}, (int64_t[]){-2}, 0));
    REFUSED("pad: borders of -3 and 5 leave nothing of axis 0 of size 2",
            ag_pad(X(2), (int64_t[]){-3}, (int64_t[]){5}, 0));
    REFUSED("pad: a list of borders is NULL", ag_pad(X(3), NULL, (int64_t[]){1}, 0));
    REFUSED("unfold: windows of 3 x 1 are not possible over 2 x 2",
            ag_unfold(X(1, 1, 2, 2), 3, 1, (tensor_windows){.groups = 1}));
    REFUSED("axis 0 of size 3 does not have 2 such parts", ag_split(X(3), 0, 2, NULL, y));
    REFUSED("axis 0 of size 3 does not have 2 such parts", ag_split(X(3), 0, 2, (int64_t[]){1, 1}, y));
    REFUSED("axis 0 of size 3 does not have 3 such parts", ag_split(X(3), 0, 3, (int64_t[]){3, -1, 1}, y));
    REFUSED("unbind: axis 0 has 3 parts, not 2", ag_unbind(X(3), 0, 2, y));
    REFUSED("unbind", ag_unbind(X(3), 1, 2, y));
    cr_expect(!y[0] && !y[1]);
    ag_reset(tape);
    const ag_var *one = ag_ones(tape, TENSOR_SHAPE(2));
    cr_expect(one && one->value.f32[0] == 1 && one->value.f32[1] == 1);
}

/* Sizes that are products or sums of others: these overflow, and some would come out as if they fitted. */
Test(operations, refuse_what_overflows) {
    const int64_t huge = INT64_C(1) << 62, most = INT64_MAX;
    ag_var *y[5];
    REFUSED("pad: borders of -9223372036854775808 and 9223372036854775807 leave nothing of axis 0 of size 2",
            ag_pad(X(2), (int64_t[]){INT64_MIN}, (int64_t[]){most}, 0));
    REFUSED("pad: borders of 9223372036854775807 and 1 are too large for axis 0 of size 2",
            ag_pad(X(2), (int64_t[]){most}, (int64_t[]){1}, 0));
    REFUSED("unfold: windows of 5 x 1 are not possible over 2 x 2",
            ag_unfold(X(1, 1, 2, 2), 5, 1, (tensor_windows){.dilation = {huge, 1}}));
    REFUSED("unfold: windows of 1 x 1 are not possible over 2 x 2",
            ag_unfold(X(1, 1, 2, 2), 1, 1, (tensor_windows){.padding = {huge, 0}}));
    REFUSED("unfold: windows of 65536 x 32768 are not possible over 2 x 2",
            ag_unfold(X(0, 1, 2, 2), 65536, 32768, (tensor_windows){.padding = {32768, 16384}}));
    REFUSED("split: axis 0 of size 3 does not have 5 such parts",
            ag_split(X(3), 0, 5, (int64_t[]){huge, huge, huge, huge, 3}, y));
    REFUSED("the shape [9, 4611686018427387904, 0] is not possible",
            ag_zeros(tape, TENSOR_SHAPE(9, huge, 0)));
    REFUSED("is not possible", ag_zeros(tape, INT_MIN, NULL));
    REFUSED("is not possible", ag_conv_transpose2d_no_bias(X(1, 2, 2, 2), X(2, 2, 1, 1),
                                                           (tensor_windows){.groups = huge}, NULL));
    REFUSED("is not possible",
            ag_conv_transpose1d_no_bias(X(1, 2, 2), X(2, 2, 1), (tensor_windows){.stride = {most}}, most));
    REFUSED("groups do not divide 0 channels", ag_group_norm(X(3, 0, 2), X(0), X(0), most, 1));
}

Test(operations, refuse_products) {
    const ag_attention_options plain = AG_ATTENTION_DEFAULTS;
    ag_attention_options masked = plain;
    const tensor_windows once = {.groups = 1};
    REFUSED("keys and values differ", ag_attention(X(1, 1, 2, 4), X(1, 1, 2, 4), X(1, 1, 3, 4), plain));
    REFUSED("queries do not fit keys", ag_attention(X(1, 1, 2, 3), X(1, 1, 2, 4), X(1, 1, 2, 4), plain));
    REFUSED("needs q [B, H, Tq, D]", ag_attention(X(2, 4), X(1, 1, 2, 4), X(1, 1, 2, 4), plain));
    ag_reset(tape);
    masked.mask = X(2, 2);
    cr_expect_null(ag_attention(X(1, 1, 2, 4), X(1, 1, 2, 4), X(1, 1, 2, 4), masked));
    cr_expect(strstr(ag_error(tape), "the mask gets no gradient"), "%s", ag_error(tape));
    REFUSED("attention_weights: needs q", ag_attention_weights(X(2, 4), X(1, 1, 2, 4), plain));
    REFUSED("merge_heads: needs [B, H, T, D], not rank 3", ag_merge_heads(X(2, 3, 4)));
    REFUSED("embedding: needs a table [V, C], not one of rank 1", ag_embedding(X(4), ag_indices(tape, 2)));
    REFUSED("linear", ag_linear(X(2, 3), X(4, 5), X(5)));
    REFUSED("conv_transpose2d: needs y[N, O, R, Q]",
            ag_conv_transpose2d_no_bias(X(1, 2, 3), X(1, 1, 2, 2), once, NULL));
    REFUSED("conv2d_weight: needs y[N, O, R, Q]", ag_conv2d_weight(X(1, 2, 3), X(1, 1, 2, 2), 1, 1, once));
    REFUSED("needs a rank of 3, not of 2", ag_conv1d_no_bias(X(2, 3), X(1, 1, 2), once));
    REFUSED("pooling: a window over 3 is larger than 2",
            ag_average_pool2d(X(1, 1, 2, 2), 2, 2, (tensor_windows){.dilation = {1, 2}}, true));
    REFUSED("pooling: a window over 3 is larger than 2",
            ag_average_pool2d(X(1, 1, 2, 2), 2, 2, (tensor_windows){.dilation = {2, 1}}, true));
}

Test(operations, refuse_losses) {
    ag_cross_entropy_options o = AG_CROSS_ENTROPY_DEFAULTS;
    o.smoothing = 2;
    REFUSED("a smoothing of 2 is not in 0..1", ag_cross_entropy_with(X(2, 3), ag_indices(tape, 2), o));
    o.smoothing = NAN;
    REFUSED("a smoothing of nan is not in 0..1", ag_cross_entropy_with(X(2, 3), ag_indices(tape, 2), o));
    ag_reset(tape);
    o = (ag_cross_entropy_options){.weights = X(4), .ignored = -100};
    cr_expect_null(ag_cross_entropy_with(X(2, 3), ag_indices(tape, 2), o));
    cr_expect(strstr(ag_error(tape), "no vector of 3 classes"), "%s", ag_error(tape));
}

/* Along one axis, without a bias, as along one row of images: the same numbers. */
Test(operations, convolutions_of_one_axis_are_those_of_one_row) {
    const tensor_windows along = {.stride = {2}, .padding = {1}, .groups = 1},
                         row = {.stride = {0, 2}, .padding = {0, 1}, .groups = 1};
    const ag_var *y = ag_conv1d_no_bias(X(2, 3, 7), X(4, 3, 3), along);
    const ag_var *image = ag_conv2d_no_bias(X(2, 3, 1, 7), X(4, 3, 1, 3), row);
    cr_assert(y && image, "%s", ag_error(tape));
    cr_assert(y->value.rank == 3 && tensor_size(y->value) == tensor_size(image->value));
    cr_expect_arr_eq(y->value.f32, image->value.f32, (size_t)tensor_size(y->value) * sizeof(float));
    y = ag_conv_transpose1d_no_bias(X(2, 4, 4), X(4, 3, 3), along, 1);
    image = ag_conv_transpose2d_no_bias(X(2, 4, 1, 4), X(4, 3, 1, 3), row, (int64_t[]){0, 1});
    cr_assert(y && image, "%s", ag_error(tape));
    cr_assert(y->value.rank == 3 && tensor_size(y->value) == tensor_size(image->value));
    cr_expect_arr_eq(y->value.f32, image->value.f32, (size_t)tensor_size(y->value) * sizeof(float));
}

Test(operations, a_window_over_a_whole_image_is_its_mean) {
    const ag_var *y = ag_average_pool2d(X(1, 2, 2, 2), 2, 2, (tensor_windows){.groups = 1}, false);
    cr_assert(y && tensor_size(y->value) == 2, "%s", ag_error(tape));
    cr_expect(y->value.f32[0] == 2.5f && y->value.f32[1] == 6.5f);
}

/* The mean of what a window shows of an image [1, 1, H, W], without what lies beside it. */
static double mean_inside(const ag_var *x, int64_t row, int64_t column, const int64_t window[2],
                          const int64_t dilation[2]) {
    double sum = 0, count = 0;
    for (int64_t i = 0; i < window[0] * window[1]; i++) {
        const int64_t r = row + i / window[1] * dilation[0], c = column + i % window[1] * dilation[1];
        if (r < 0 || c < 0 || r >= ag_size(x, 2) || c >= ag_size(x, 3)) continue;
        sum += (double)x->value.f32[r * ag_size(x, 3) + c];
        count++;
    }
    return sum / count;
}

Test(operations, a_mean_may_leave_out_the_padding) {
    static const tensor_windows all[] = {{.padding = {1, 1}},
                                         {.padding = {1, 0}, .stride = {1, 2}},
                                         {.padding = {0, 1}, .stride = {2, 1}, .dilation = {2, 1}},
                                         {.padding = {1, 1}, .dilation = {1, 3}}};
    const int64_t window[2] = {3, 2};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        ag_reset(tape);
        const tensor_windows w = all[k];
        ag_var *x = X(1, 1, 7, 6);
        const ag_var *y = ag_average_pool2d(x, window[0], window[1], w, false);
        cr_assert(y, "%s", ag_error(tape));
        int64_t stride[2], dilation[2];
        for (int i = 0; i < 2; i++) {
            stride[i] = w.stride[i] ? w.stride[i] : window[i];
            dilation[i] = w.dilation[i] ? w.dilation[i] : 1;
        }
        for (int64_t r = 0; r < ag_size(y, 2); r++)
            for (int64_t c = 0; c < ag_size(y, 3); c++)
                cr_expect_float_eq((double)y->value.f32[r * ag_size(y, 3) + c],
                                   mean_inside(x, r * stride[0] - w.padding[0], c * stride[1] - w.padding[1],
                                               window, dilation),
                                   1e-5, "windows %zu, row %d, column %d", k, (int)r, (int)c);
    }
}

/* As in PyTorch nothing is divided by less than 0. */
Test(operations, a_variance_without_elements_enough) {
    const ag_var *two = ag_variance(X(2, 3), AG_AXIS(0), 3, false), *one = ag_variance(X(3), 0, 2, false);
    cr_assert(two && one, "%s", ag_error(tape));
    for (int i = 0; i < 3; i++) cr_expect(isinf(two->value.f32[i]) && two->value.f32[i] > 0);
    for (int i = 0; i < 3; i++) cr_expect(isnan(one->value.f32[i]));
}

/* A row in which all is -infinity has no slope, and its neighbours have theirs. */
Test(operations, log_sum_exp_of_what_is_hidden) {
    ag_var *x = X(2, 3);
    for (int i = 0; i < 3; i++) x->value.f32[i] = i < 2 ? -INFINITY : 0, x->value.f32[3 + i] = -INFINITY;
    cr_assert(ag_backward(total(ag_log_sum_exp(x, AG_AXIS(1), false))), "%s", ag_error(tape));
    for (int i = 0; i < 6; i++)
        cr_expect_eq(ag_grad(x).f32[i], i == 2, "%d: %g", i, (double)ag_grad(x).f32[i]);
}
