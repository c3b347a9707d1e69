/* Printing. The expected texts are what NumPy prints, set to print as its version 2.2 (newer ones turn to
 * exponents at 1e6 in float32 instead of 1e8). */
#include "sampo/tensor.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_print(tensor x, const char *text) {
    char *got = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&got, &size);
    cr_assert(tensor_print(file, x));
    fclose(file);
    cr_assert_str_eq(got, text, "\n%s\nbut NumPy has\n%s", got, text);
    free(got);
}

static void expect_view(tensor_dtype dtype, int rank, const int64_t *shape, const void *data,
                        const char *text) {
    tensor_storage storage = {.data = (void *)data, .bytes = 1 << 20};
    expect_print(tensor_wrap(&storage, dtype, rank, shape, NULL), text);
}

static void expect_f32(int rank, const int64_t *shape, const float *data, const char *text) {
    expect_view(TENSOR_F32, rank, shape, data, text);
}

static void expect_i32(int rank, const int64_t *shape, const int32_t *data, const char *text) {
    expect_view(TENSOR_I32, rank, shape, data, text);
}

/* The numbers 0, 1, 2, ... times `scale`. */
static void expect_count(tensor_dtype dtype, float scale, int rank, const int64_t *shape, const char *text) {
    static union {
        float f;
        int32_t i;
    } data[4096];
    for (int i = 0; i < 4096; i++)
        if (dtype == TENSOR_F32)
            data[i].f = (float)i * scale;
        else
            data[i].i = i;
    expect_view(dtype, rank, shape, data, text);
}

Test(print, fixed_columns) {
    expect_f32(TENSOR_SHAPE(3), (const float[]){0.1f, 2, -3.5f}, "[ 0.1  2.  -3.5]");
    expect_f32(TENSOR_SHAPE(3), (const float[]){1, 2, 3}, "[1. 2. 3.]");
    expect_f32(TENSOR_SHAPE(2, 2), (const float[]){1.5f, 22.25f, -333, 0.125f},
               "[[ 1.500e+00  2.225e+01]\n"
               " [-3.330e+02  1.250e-01]]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){0.33333334f, 0.6666667f}, "[0.33333334 0.6666667 ]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){-0.0f, 0}, "[-0.  0.]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){100000, 123456.79f}, "[100000.   123456.79]");
}

Test(print, eight_fractional_digits) {
    expect_f32(TENSOR_SHAPE(2), (const float[]){0.00012345678f, 0.09f}, "[0.00012346 0.09      ]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){0.12345679f, 0.001f}, "[0.12345679 0.001     ]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){98680952, 21580296}, "[98680952. 21580296.]");
}

Test(print, scientific_where_numpy_chooses_it) {
    expect_f32(TENSOR_SHAPE(1), (const float[]){100000000}, "[1.e+08]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){99999992}, "[99999992.]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){1e-04f, 0.01f}, "[0.0001 0.01  ]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){0.00011f, 0.1f}, "[0.00011 0.1    ]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){9e-05f}, "[9.e-05]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){1, 1001}, "[1.000e+00 1.001e+03]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){1, 1000}, "[   1. 1000.]");
    expect_f32(TENSOR_SHAPE(3), (const float[]){0, 10000000000, 1}, "[0.e+00 1.e+10 1.e+00]");
    expect_f32(TENSOR_SHAPE(3), (const float[]){0.0002469795f, 5.7178528e-05f, -1},
               "[ 2.4697950e-04  5.7178528e-05 -1.0000000e+00]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){1.4012985e-45f, 3.4028235e+38f},
               "[1.4012985e-45 3.4028235e+38]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){0.5f, 1000000}, "[5.e-01 1.e+06]");
}

Test(print, shortest_digits_below_powers_of_two) {
    expect_f32(TENSOR_SHAPE(1), (const float[]){5.684342e-14f}, "[5.684342e-14]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){5.9604645e-08f}, "[5.9604645e-08]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){1.2379401e+27f}, "[1.2379401e+27]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){1.1754944e-38f}, "[1.1754944e-38]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){9.536743e-07f}, "[9.536743e-07]");
}

Test(print, not_finite) {
    expect_f32(TENSOR_SHAPE(3), (const float[]){NAN, 1.5f, INFINITY}, "[nan 1.5 inf]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){NAN}, "[nan]");
    expect_f32(TENSOR_SHAPE(2), (const float[]){-INFINITY, 1}, "[-inf   1.]");
    expect_f32(TENSOR_SHAPE(1), (const float[]){INFINITY}, "[inf]");
    expect_f32(TENSOR_SHAPE(3), (const float[]){-INFINITY, NAN, 10000000000}, "[  -inf    nan 1.e+10]");
}

Test(print, integers) {
    expect_i32(TENSOR_SHAPE(3), (const int32_t[]){1, -20, 300}, "[  1 -20 300]");
    expect_i32(TENSOR_SHAPE(2, 2), (const int32_t[]){INT32_MIN, INT32_MAX, 0, 1},
               "[[-2147483648  2147483647]\n"
               " [          0           1]]");
    expect_i32(TENSOR_SHAPE(1), (const int32_t[]){7}, "[7]");
}

Test(print, scalars) {
    expect_f32(0, NULL, (const float[]){1.5f}, "1.5");
    expect_f32(0, NULL, (const float[]){7}, "7.0");
    expect_f32(0, NULL, (const float[]){-0.0f}, "-0.0");
    expect_f32(0, NULL, (const float[]){0.33333334f}, "0.33333334");
    expect_f32(0, NULL, (const float[]){1e+16f}, "1e+16");
    expect_f32(0, NULL, (const float[]){9899999475269632}, "9900000000000000.0");
    expect_f32(0, NULL, (const float[]){1.25e-05f}, "1.25e-05");
    expect_f32(0, NULL, (const float[]){0.001f}, "0.001");
    expect_f32(0, NULL, (const float[]){NAN}, "nan");
    expect_f32(0, NULL, (const float[]){-INFINITY}, "-inf");
    expect_f32(0, NULL, (const float[]){0.00012345679f}, "0.00012345679");
    expect_f32(0, NULL, (const float[]){10000000000}, "10000000000.0");
    expect_i32(0, NULL, (const int32_t[]){-42}, "-42");
}

Test(print, nested_brackets) {
    expect_f32(TENSOR_SHAPE(2, 2, 2), (const float[]){0, 1, 2, 3, 4, 5, 6, 7},
               "[[[0. 1.]\n"
               "  [2. 3.]]\n"
               "\n"
               " [[4. 5.]\n"
               "  [6. 7.]]]");
    expect_f32(TENSOR_SHAPE(2, 1, 1, 2), (const float[]){0, 1, 2, 3},
               "[[[[0. 1.]]]\n"
               "\n"
               "\n"
               " [[[2. 3.]]]]");
    expect_f32(TENSOR_SHAPE(1, 1, 1, 1), (const float[]){5}, "[[[[5.]]]]");
}

Test(print, long_rows_wrap) {
    expect_count(TENSOR_F32, 1, TENSOR_SHAPE(30),
                 "[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n"
                 " 18. 19. 20. 21. 22. 23. 24. 25. 26. 27. 28. 29.]");
    expect_count(TENSOR_F32, 0.25f, TENSOR_SHAPE(3, 20),
                 "[[ 0.    0.25  0.5   0.75  1.    1.25  1.5   1.75  2.    2.25  2.5   2.75\n"
                 "   3.    3.25  3.5   3.75  4.    4.25  4.5   4.75]\n"
                 " [ 5.    5.25  5.5   5.75  6.    6.25  6.5   6.75  7.    7.25  7.5   7.75\n"
                 "   8.    8.25  8.5   8.75  9.    9.25  9.5   9.75]\n"
                 " [10.   10.25 10.5  10.75 11.   11.25 11.5  11.75 12.   12.25 12.5  12.75\n"
                 "  13.   13.25 13.5  13.75 14.   14.25 14.5  14.75]]");
    expect_count(TENSOR_I32, 1, TENSOR_SHAPE(2, 1, 24),
                 "[[[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22\n"
                 "   23]]\n"
                 "\n"
                 " [[24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46\n"
                 "   47]]]");
}

Test(print, abbreviation) {
    expect_count(TENSOR_I32, 1, TENSOR_SHAPE(1001), "[   0    1    2 ...  998  999 1000]");
    expect_count(TENSOR_F32, 1, TENSOR_SHAPE(40, 30),
                 "[[0.000e+00 1.000e+00 2.000e+00 ... 2.700e+01 2.800e+01 2.900e+01]\n"
                 " [3.000e+01 3.100e+01 3.200e+01 ... 5.700e+01 5.800e+01 5.900e+01]\n"
                 " [6.000e+01 6.100e+01 6.200e+01 ... 8.700e+01 8.800e+01 8.900e+01]\n"
                 " ...\n"
                 " [1.110e+03 1.111e+03 1.112e+03 ... 1.137e+03 1.138e+03 1.139e+03]\n"
                 " [1.140e+03 1.141e+03 1.142e+03 ... 1.167e+03 1.168e+03 1.169e+03]\n"
                 " [1.170e+03 1.171e+03 1.172e+03 ... 1.197e+03 1.198e+03 1.199e+03]]");
    expect_count(TENSOR_I32, 1, TENSOR_SHAPE(8, 8, 20),
                 "[[[   0    1    2 ...   17   18   19]\n"
                 "  [  20   21   22 ...   37   38   39]\n"
                 "  [  40   41   42 ...   57   58   59]\n"
                 "  ...\n"
                 "  [ 100  101  102 ...  117  118  119]\n"
                 "  [ 120  121  122 ...  137  138  139]\n"
                 "  [ 140  141  142 ...  157  158  159]]\n"
                 "\n"
                 " [[ 160  161  162 ...  177  178  179]\n"
                 "  [ 180  181  182 ...  197  198  199]\n"
                 "  [ 200  201  202 ...  217  218  219]\n"
                 "  ...\n"
                 "  [ 260  261  262 ...  277  278  279]\n"
                 "  [ 280  281  282 ...  297  298  299]\n"
                 "  [ 300  301  302 ...  317  318  319]]\n"
                 "\n"
                 " [[ 320  321  322 ...  337  338  339]\n"
                 "  [ 340  341  342 ...  357  358  359]\n"
                 "  [ 360  361  362 ...  377  378  379]\n"
                 "  ...\n"
                 "  [ 420  421  422 ...  437  438  439]\n"
                 "  [ 440  441  442 ...  457  458  459]\n"
                 "  [ 460  461  462 ...  477  478  479]]\n"
                 "\n"
                 " ...\n"
                 "\n"
                 " [[ 800  801  802 ...  817  818  819]\n"
                 "  [ 820  821  822 ...  837  838  839]\n"
                 "  [ 840  841  842 ...  857  858  859]\n"
                 "  ...\n"
                 "  [ 900  901  902 ...  917  918  919]\n"
                 "  [ 920  921  922 ...  937  938  939]\n"
                 "  [ 940  941  942 ...  957  958  959]]\n"
                 "\n"
                 " [[ 960  961  962 ...  977  978  979]\n"
                 "  [ 980  981  982 ...  997  998  999]\n"
                 "  [1000 1001 1002 ... 1017 1018 1019]\n"
                 "  ...\n"
                 "  [1060 1061 1062 ... 1077 1078 1079]\n"
                 "  [1080 1081 1082 ... 1097 1098 1099]\n"
                 "  [1100 1101 1102 ... 1117 1118 1119]]\n"
                 "\n"
                 " [[1120 1121 1122 ... 1137 1138 1139]\n"
                 "  [1140 1141 1142 ... 1157 1158 1159]\n"
                 "  [1160 1161 1162 ... 1177 1178 1179]\n"
                 "  ...\n"
                 "  [1220 1221 1222 ... 1237 1238 1239]\n"
                 "  [1240 1241 1242 ... 1257 1258 1259]\n"
                 "  [1260 1261 1262 ... 1277 1278 1279]]]");
    expect_count(TENSOR_I32, 1, TENSOR_SHAPE(6, 200),
                 "[[   0    1    2 ...  197  198  199]\n"
                 " [ 200  201  202 ...  397  398  399]\n"
                 " [ 400  401  402 ...  597  598  599]\n"
                 " [ 600  601  602 ...  797  798  799]\n"
                 " [ 800  801  802 ...  997  998  999]\n"
                 " [1000 1001 1002 ... 1197 1198 1199]]");
    expect_count(TENSOR_I32, 1, TENSOR_SHAPE(2, 600),
                 "[[   0    1    2 ...  597  598  599]\n"
                 " [ 600  601  602 ... 1197 1198 1199]]");
}

Test(print, a_thousand_elements_are_not_abbreviated) {
    static float ones[1000];
    tensor_storage storage = {.data = ones, .bytes = sizeof ones};
    char *got = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&got, &size);
    cr_assert(tensor_print(file, tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(1000), NULL)));
    fclose(file);
    cr_assert_null(strstr(got, "..."));
    cr_assert_eq(size, 3042, "%zu characters", size);
    free(got);
}

Test(print, empty) {
    expect_f32(TENSOR_SHAPE(0), NULL, "[]");
    expect_f32(TENSOR_SHAPE(2, 0, 3), NULL, "[]");
}

Test(print, views_print_as_their_elements) {
    float data[] = {0, 1, 2, 3, 4, 5};
    tensor_storage storage = {.data = data, .bytes = sizeof data};
    tensor x = tensor_wrap(&storage, TENSOR_F32, TENSOR_SHAPE(2, 3), NULL);
    expect_print(tensor_transpose(x, 0, 1, NULL), "[[0. 3.]\n [1. 4.]\n [2. 5.]]");
    expect_print(tensor_slice(x, 1, 2, INT64_MIN, -2, NULL), "[[2. 0.]\n [5. 3.]]");
    tensor row = tensor_slice(x, 0, 0, 1, 1, NULL);
    expect_print(tensor_expand(row, TENSOR_SHAPE(2, 3), NULL), "[[0. 1. 2.]\n [0. 1. 2.]]");
}

Test(print, does_not_depend_on_the_locale) {
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fi_FI.UTF-8", "fr_FR.UTF-8"};
    for (int i = 0; i < 4 && !setlocale(LC_ALL, locales[i]); i++) continue;
    expect_f32(TENSOR_SHAPE(2), (const float[]){1.5f, 0.123456789f}, "[1.5        0.12345679]");
}

Test(print, failures) {
    cr_assert_not(tensor_print(stdout, (tensor){0}));
    FILE *full = fopen("/dev/full", "w");
    if (!full) return; /* not on this system */
    setvbuf(full, NULL, _IONBF, 0);
    float one = 1;
    tensor_storage storage = {.data = &one, .bytes = sizeof one};
    cr_assert_not(tensor_print(full, tensor_wrap(&storage, TENSOR_F32, 0, NULL, NULL)));
    fclose(full);
}
