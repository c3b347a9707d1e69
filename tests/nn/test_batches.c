/* Batches of a dataset and standardised columns. */
#include "sampo/nn.h"
#include "tests/arena.h"
#include "tests/faults.h"

#include <math.h>
#include <string.h>

ARENA_SUITE(batches);

enum { ROWS = 10 };

/* Row i is i, i + 0.5, ... */
static tensor make_rows(void) {
    tensor x = tensor_new(arena, TENSOR_F32, TENSOR_SHAPE(ROWS, 2, 3), NULL);
    for (int i = 0; i < ROWS * 6; i++) x.f32[i] = (float)(i / 6) + 0.125f * (float)(i % 6);
    return x;
}

static void rows_of(nn_batches *b, int64_t step, int32_t *rows) {
    nn_batches_go(b, step);
    memcpy(rows, b->rows.i32, (size_t)b->size * sizeof *rows);
}

Test(batches, an_epoch_has_each_row_once) {
    nn_batches b, again;
    cr_assert(nn_batches_init(&b, ROWS, (nn_batches_options){.batch = 4, .seed = 3}, arena, &err));
    cr_assert(nn_batches_init(&again, ROWS, (nn_batches_options){.batch = 4, .seed = 3}, arena, &err));
    cr_expect_eq(nn_batches_per_epoch(&b), 3);
    int32_t order[4][12];
    for (int epoch = 0; epoch < 4; epoch++) {
        bool seen[ROWS] = {false};
        for (int i = 0; i < 3; i++) {
            rows_of(&b, 3 * epoch + i, order[epoch] + 4 * i);
            cr_expect_eq(b.size, i < 2 ? 4 : 2);
        }
        for (int i = 0; i < ROWS; i++) seen[order[epoch][i]] = true;
        for (int i = 0; i < ROWS; i++) cr_expect(seen[i], "epoch %d lacks row %d", epoch, i);
        for (int k = 0; k < epoch; k++)
            cr_expect_neq(memcmp(order[epoch], order[k], ROWS * sizeof(int32_t)), 0);
    }
    for (int step = 11; step >= 0; step--) { /* backwards, as after a resume at any step */
        int32_t rows[4];
        rows_of(&again, step, rows);
        cr_expect_eq(memcmp(rows, order[step / 3] + 4 * (step % 3), (size_t)again.size * sizeof *rows), 0);
    }
    cr_assert(nn_batches_init(&again, ROWS, (nn_batches_options){.batch = 4, .seed = 4}, arena, &err));
    cr_expect_neq(memcmp(again.order.i32, order[0], ROWS * sizeof(int32_t)), 0, "another seed");
    cr_assert(nn_batches_init(&b, ROWS, (nn_batches_options){.batch = 4, .in_order = true, .drop_last = true},
                              arena, &err));
    cr_expect_eq(nn_batches_per_epoch(&b), 2);
    rows_of(&b, 3, order[0]);
    cr_expect(b.size == 4 && order[0][0] == 4 && order[0][3] == 7);
}

Test(batches, every_row_comes_first_equally_often) {
    nn_batches b;
    int count[ROWS] = {0};
    cr_assert(nn_batches_init(&b, ROWS, (nn_batches_options){.batch = ROWS, .seed = 1}, arena, &err));
    for (int step = 0; step < 5000; step++) nn_batches_go(&b, step), count[b.rows.i32[0]]++;
    for (int i = 0; i < ROWS; i++)
        cr_expect(abs(count[i] - 500) < 5 * 22, "row %d came %d times", i, count[i]);
}

Test(batches, rows_are_copied) {
    const tensor data = make_rows();
    tensor labels = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(ROWS), NULL);
    for (int i = 0; i < ROWS; i++) labels.i32[i] = INT32_MIN + i;
    const tensor column = tensor_slice(tensor_reshape(data, TENSOR_SHAPE(ROWS, 6), NULL), 1, 2, 4, 1, NULL);
    ag_tape *tape = ag_tape_new();
    nn_batches b;
    cr_assert(nn_batches_init(&b, ROWS, (nn_batches_options){.batch = 4, .seed = 3}, arena, &err));
    nn_batches_go(&b, 1);
    const int64_t before = fault_calls(FAULT_MEMORY);
    for (int turn = 0; turn < 3; turn++, ag_reset(tape)) {
        const ag_var *x = nn_batch(&b, tape, data, 1, 4), *y = nn_batch(&b, tape, labels, 0, 4),
                     *c = nn_batch(&b, tape, column, 0, 4), *none = nn_batch(&b, tape, data, 2, 2);
        cr_assert(x && y && c && none, "%s", ag_error(tape));
        cr_assert(x->value.rank == 3 && x->value.shape[0] == 3 && x->value.shape[2] == 3 && !x->needs_grad);
        for (int i = 0; i < 18; i++)
            cr_expect_eq(x->value.f32[i], data.f32[6 * b.rows.i32[1 + i / 6] + i % 6]);
        for (int i = 0; i < 4; i++) cr_expect_eq(y->value.i32[i], INT32_MIN + b.rows.i32[i]);
        for (int i = 0; i < 8; i++)
            cr_expect_eq(c->value.f32[i], data.f32[6 * b.rows.i32[i / 2] + 2 + i % 2]);
        cr_expect_eq(ag_size(none, 0), 0);
        if (turn > 0) nn_batches_go(&b, turn * 100);
    }
    cr_expect_leq(fault_calls(FAULT_MEMORY), before + 2, "only the tape's first turn allocates");
    nn_batches_go(&b, 0);
    cr_expect_null(nn_batch(&b, tape, tensor_slice(data, 0, 0, 3, 1, NULL), 0, 4));
    cr_expect_str_eq(ag_error(tape), "batch: data is [3, 2, 3], expected 10 rows");
    ag_reset(tape);
    cr_expect_null(nn_batch(&b, tape, data, 1, 5));
    cr_expect_str_eq(ag_error(tape), "batch: rows 1 to 5 are not in a batch of 4");
    ag_reset(tape);
    nn_batches_go(&b, 2); /* the last of the epoch, which is smaller */
    cr_expect(nn_batch(&b, tape, data, 0, 2) != NULL);
    cr_expect_null(nn_batch(&b, tape, data, 0, 4));
    cr_expect_str_eq(ag_error(tape), "batch: rows 0 to 4 are not in a batch of 2");
    ag_tape_free(tape);
    cr_expect_not(nn_batches_init(&b, 0, (nn_batches_options){.batch = 4}, arena, &err));
    cr_expect_str_eq(err.text, "batches: a dataset of 0 rows; 1 to 2147483647 are possible");
    err = (tensor_error){0};
    cr_expect_not(nn_batches_init(&b, 3, (nn_batches_options){.batch = 4, .drop_last = true}, arena, &err));
    cr_expect_str_eq(err.text, "batches: a batch of 4 rows out of 3");
    err = (tensor_error){0};
    cr_expect_not(nn_batches_init(&b, 3, (nn_batches_options){0}, arena, &err));
    err = (tensor_error){0};
}

Test(batches, standardised_columns) {
    const float table[] = {1, 7, 5, 0, 3, 7, 1, 0, 5, 7, 3, 0}, other[] = {3, 8, 3, 0};
    tensor_storage memory = {(void *)table, sizeof table, 0}, more = {(void *)other, sizeof other, 0};
    tensor x = tensor_contiguous(arena, tensor_wrap(&memory, TENSOR_F32, TENSOR_SHAPE(3, 4), &err), &err);
    tensor features = tensor_slice(x, 1, 0, 3, 1, &err);
    nn_scaling s;
    cr_assert(nn_scaling_fit(&s, features, arena, &err) && nn_scaling_apply(&s, features, &err), "%s",
              err.text);
    cr_expect(s.mean.f32[0] == 3 && s.mean.f32[1] == 7 && s.mean.f32[2] == 3 && s.deviation.f32[1] == 1);
    const float root = (float)sqrt(8.0 / 3), expected[] = {-2, 0, 2, 0, 0, 0, -2, 0, 2, 0, 0, 0};
    for (int i = 0; i < 12; i++) cr_expect_eq(x.f32[i], expected[i] / root, "number %d", i);
    float copy[4];
    memcpy(copy, other, sizeof copy);
    more.data = copy;
    cr_assert(nn_scaling_apply(&s, tensor_wrap(&more, TENSOR_F32, TENSOR_SHAPE(3), &err), &err));
    cr_expect(copy[0] == 0 && copy[1] == 1 && copy[2] == 0);
    cr_expect_not(nn_scaling_fit(&s, s.mean, arena, &err));
    cr_expect_str_eq(err.text, "scaling: x is [3], expected float32 [rows, columns]");
    err = (tensor_error){0};
}
