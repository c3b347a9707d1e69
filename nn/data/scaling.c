/* Standardised columns. */
#include <math.h>

#include "sampo/data.h"

bool nn_scaling_fit(nn_scaling *s, tensor x, tensor_arena *arena, tensor_error *err) {
    *s = (nn_scaling){0};
    if (!tensor_ok(x)) return tensor_fail(err, "scaling: there is no table");
    if (x.dtype != TENSOR_F32 || x.rank != 2 || x.shape[0] < 1) {
        char text[TENSOR_SHAPE_TEXT];
        return tensor_fail(err, "scaling: x is %s, expected float32 [rows, columns]",
                           tensor_shape_text(text, sizeof text, x.rank, x.shape));
    }
    const int64_t rows = x.shape[0], columns = x.shape[1];
    s->mean = tensor_new(arena, TENSOR_F32, 1, &columns, err);
    s->deviation = tensor_new(arena, TENSOR_F32, 1, &columns, err);
    if (!tensor_ok(s->mean) || !tensor_ok(s->deviation)) return false;
    for (int64_t j = 0; j < columns; j++) {
        const float *column = x.f32 + j * x.stride[1];
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < rows; i++) sum += (double)column[i * x.stride[0]];
        const double mean = sum / (double)rows;
        for (int64_t i = 0; i < rows; i++) {
            const double apart = (double)column[i * x.stride[0]] - mean;
            squares += apart * apart;
        }
        s->mean.f32[j] = (float)mean;
        s->deviation.f32[j] = squares > 0 ? (float)sqrt(squares / (double)rows) : 1;
    }
    return true;
}

bool nn_scaling_apply(const nn_scaling *s, tensor x, tensor_error *err) {
    return tensor_binary(x, TENSOR_SUB, x, s->mean, err) &&
           tensor_binary(x, TENSOR_DIV, x, s->deviation, err);
}
