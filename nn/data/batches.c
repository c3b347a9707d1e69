/* Batches of a dataset in memory. */
#include "sampo/data.h"

/* The order of an epoch (Fisher & Yates, as Durstenfeld 1964 has it), from stream 2^63 + epoch of the seed: parameters
 * have the streams from 0 on. */
static void make_order(nn_batches *b, int64_t epoch) {
    int32_t *order = b->order.i32;
    const int64_t rows = b->order.shape[0];
    tensor_rng rng = {.seed = b->options.seed, .stream = UINT64_C(1) << 63 | (uint64_t)epoch};
    b->epoch = epoch;
    for (int64_t i = 0; i < rows; i++) order[i] = (int32_t)i;
    for (int64_t i = rows - 1; i > 0 && !b->options.in_order; i--) {
        const uint64_t other = tensor_rng_below(&rng, (uint64_t)i + 1);
        const int32_t row = order[i];
        order[i] = order[other];
        order[other] = row;
    }
}

bool nn_batches_init(nn_batches *b, int64_t rows, nn_batches_options options, tensor_arena *arena,
                     tensor_error *err) {
    *b = (nn_batches){.options = options};
    if (rows < 1 || rows > INT32_MAX)
        return tensor_fail(err, "batches: a dataset of %lld rows; 1 to 2147483647 are possible",
                           (long long)rows);
    if (options.batch < 1 || (options.drop_last && options.batch > rows))
        return tensor_fail(err, "batches: a batch of %lld rows out of %lld", (long long)options.batch,
                           (long long)rows);
    b->order = tensor_new(arena, TENSOR_I32, 1, &rows, err);
    if (!tensor_ok(b->order)) return false;
    make_order(b, 0);
    nn_batches_go(b, 0);
    return true;
}

int64_t nn_batches_per_epoch(const nn_batches *b) {
    const int64_t rows = b->order.shape[0], batch = b->options.batch;
    return rows / batch + (rows % batch != 0 && !b->options.drop_last);
}

void nn_batches_go(nn_batches *b, int64_t step) {
    const int64_t count = nn_batches_per_epoch(b), begin = step % count * b->options.batch;
    if (step / count != b->epoch) make_order(b, step / count);
    b->rows = tensor_slice(b->order, 0, begin, begin + b->options.batch, 1, NULL);
    b->size = b->rows.shape[0];
}

ag_var *nn_batch(const nn_batches *b, ag_tape *tape, tensor data, int64_t begin, int64_t end) {
    tensor_error err = {0};
    if (!tensor_ok(data) || data.rank < 1 || data.shape[0] != b->order.shape[0]) {
        char text[TENSOR_SHAPE_TEXT] = "no tensor";
        if (tensor_ok(data)) tensor_shape_text(text, sizeof text, data.rank, data.shape);
        return ag_fail(tape, "batch: data is %s, expected %lld rows", text, (long long)b->order.shape[0]);
    }
    if (begin < 0 || end < begin || end > b->size)
        return ag_fail(tape, "batch: rows %lld to %lld are not in a batch of %lld", (long long)begin,
                       (long long)end, (long long)b->size);
    int64_t shape[TENSOR_MAX_RANK], rows = end - begin;
    for (int i = 0; i < data.rank; i++) shape[i] = i ? data.shape[i] : rows;
    const tensor out = ag_tensor(tape, data.dtype, data.rank, shape);
    /* Integers travel as they are: rows are copied, and both types have four bytes. */
    tensor from = data.rank > 1 ? tensor_reshape(data, TENSOR_SHAPE(data.shape[0], -1), &err)
                                : tensor_unsqueeze(data, -1, &err);
    tensor to = tensor_reshape(out, TENSOR_SHAPE(rows, from.shape[1]), &err);
    from.dtype = to.dtype = TENSOR_F32;
    if (!tensor_ok(out) || !tensor_gather_rows(to, from, tensor_slice(b->rows, 0, begin, end, 1, &err), &err))
        return ag_fail(tape, "batch: %s", err.text);
    return ag_input(tape, out);
}
