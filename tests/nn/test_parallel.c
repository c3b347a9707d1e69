/* Data-parallel gradients: the sum over the batch, the same bits with any number of threads. */
#include "sampo/nn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 37, T = 5, C = 12, V = 9, MOST_CALLS = 64 };

/* A small language model and a batch; rows `bad` and after fail, in a way of their own. */
typedef struct model {
    nn_params *params;
    struct nn_embedding wte;
    struct nn_attention attention;
    struct nn_layer_norm norm;
    struct nn_linear head;
    int32_t ids[ROWS][T + 1];
    int64_t bad;
    bool plain; /* without attention */
    int calls;
    int64_t begin[MOST_CALLS], end[MOST_CALLS];
} model;

static void model_init(model *m) {
    *m = (model){.params = nn_params_new(), .bad = INT64_MAX};
    nn_embedding_init(&m->wte, m->params, "wte", V, C, 1);
    nn_attention_init(&m->attention, m->params, "attn", C, (nn_attention_options){.heads = 2});
    nn_layer_norm_init(&m->norm, m->params, "ln", C, NN_LAYER_NORM_EPS);
    nn_linear_init(&m->head, m->params, "head", C, V,
                   (nn_linear_options){.out_in = true, .tied = m->wte.weight});
    cr_assert(nn_params_finalize(m->params, 4), "%s", nn_params_error(m->params));
    tensor_storage storage = {m->ids, sizeof m->ids, 0};
    tensor ids = tensor_wrap(&storage, TENSOR_I32, TENSOR_SHAPE(ROWS, T + 1), NULL);
    cr_assert(tensor_rand_integers(ids, &(tensor_rng){1, 2, 3}, 0, V, NULL));
}

/* Rows begin..end-1 of the batch, T of their ids from `first` on, on the tape. */
static ag_var *ids_of(const model *m, ag_tape *tape, int64_t begin, int64_t end, int first) {
    tensor ids = ag_tensor(tape, TENSOR_I32, TENSOR_SHAPE(end - begin, T));
    for (int64_t row = begin; tensor_ok(ids) && row < end; row++)
        memcpy(ids.i32 + (row - begin) * T, &m->ids[row][first], T * sizeof(int32_t));
    return ag_input(tape, ids);
}

static ag_var *model_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    model *m = context;
    int call = __atomic_fetch_add(&m->calls, 1, __ATOMIC_RELAXED);
    if (call < MOST_CALLS) m->begin[call] = begin, m->end[call] = end;
    if (end > m->bad) return ag_fail(tape, "rows %lld to %lld are bad", (long long)begin, (long long)end);
    ag_var *x = nn_embedding(&m->wte, ids_of(m, tape, begin, end, 0));
    if (!m->plain) x = ag_add(x, nn_attention(&m->attention, x, NULL));
    ag_var *logits = nn_linear(&m->head, nn_layer_norm(&m->norm, x));
    return nn_cross_entropy(logits, ids_of(m, tape, begin, end, 1));
}

/* The gradient of the whole batch at once, without shards. */
static double serial_gradient(model *m, int64_t rows, float *grads) {
    ag_tape *tape = ag_tape_new();
    nn_zero_grad(m->params);
    ag_var *loss = model_loss(m, tape, 0, rows);
    cr_assert(nn_backward(m->params, loss), "%s", ag_error(tape));
    double mean = (double)loss->value.f32[0];
    memcpy(grads, nn_grads(m->params).f32, (size_t)nn_params_count(m->params) * sizeof *grads);
    ag_tape_free(tape);
    return mean;
}

Test(parallel, gradient_is_that_of_the_whole_batch) {
    model m;
    model_init(&m);
    int64_t count = nn_params_count(m.params);
    float *expected = malloc((size_t)count * sizeof *expected);
    nn_parallel *parallel = nn_parallel_new(m.params);
    const int64_t rows[] = {1, 2, 15, 16, 17, 32, ROWS};
    for (int i = 0; i < 7; i++) {
        double mean, serial = serial_gradient(&m, rows[i], expected);
        tensor_error err = {0};
        cr_assert(tensor_fill(nn_grads(m.params), 1e9, NULL)); /* overwritten */
        cr_assert(nn_parallel_backward(parallel, rows[i], model_loss, &m, &mean, &err), "%s", err.text);
        cr_assert_float_eq(mean, serial, 1e-6);
        for (int64_t k = 0; k < count; k++)
            cr_assert_float_eq(nn_grads(m.params).f32[k], expected[k], 2e-6,
                               "%lld rows, number %lld: %g, expected %g", (long long)rows[i], (long long)k,
                               (double)nn_grads(m.params).f32[k], (double)expected[k]);
        double alone;
        cr_assert(nn_parallel_loss(parallel, rows[i], model_loss, &m, &alone, &err), "%s", err.text);
        cr_assert_eq(alone, mean);
    }
    cr_assert_gt(nn_parallel_bytes(parallel), 16 * (size_t)count * sizeof(float));
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    free(expected);
}

Test(parallel, a_parameter_that_the_loss_does_not_depend_on_has_no_gradient_left_over) {
    model m;
    model_init(&m);
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean;
    for (m.plain = false;; m.plain = true) {
        cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &mean, NULL));
        const tensor grad = nn_grad(m.params, nn_params_at(m.params, 1));
        cr_assert_str_eq(nn_params_name(m.params, 1), "attn.c_attn.weight");
        for (int64_t i = 0; i < tensor_size(grad); i++) cr_assert_eq(grad.f32[i] == 0, m.plain);
        if (m.plain) break;
    }
    nn_parallel_free(parallel);
    nn_params_free(m.params);
}

Test(parallel, same_bits_with_any_number_of_threads) {
    model m;
    model_init(&m);
    size_t bytes = (size_t)nn_params_count(m.params) * sizeof(float);
    float *first = malloc(bytes);
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean[5];
    for (int threads = 1; threads <= 4; threads++) {
        cr_assert(tensor_set_threads(threads, NULL));
        for (int turn = 0; turn < 20; turn++) {
            tensor_error err = {0};
            cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &mean[threads], &err), "%s",
                      err.text);
            if (threads == 1 && turn == 0) memcpy(first, nn_grads(m.params).f32, bytes);
            cr_assert(memcmp(first, nn_grads(m.params).f32, bytes) == 0, "%d threads", threads);
            cr_assert(memcmp(&mean[1], &mean[threads], sizeof mean[1]) == 0);
        }
    }
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    free(first);
}

/* Gradients of rounded products: the same with any number of threads, near those of float32. The loss alone is
 * float32's. */
Test(parallel, bfloat16_is_for_gradients) {
    model m;
    model_init(&m);
    const int64_t count = nn_params_count(m.params);
    const size_t bytes = (size_t)count * sizeof(float);
    float *exact = malloc(bytes), *first = malloc(bytes);
    double mean, rounded, alone, error = 0, norm = 0;
    nn_parallel *parallel = nn_parallel_new(m.params);
    cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &mean, NULL));
    memcpy(exact, nn_grads(m.params).f32, bytes);
    nn_parallel_set_precision(parallel, TENSOR_BFLOAT16);
    for (int threads = 1; threads <= 3; threads++) {
        cr_assert(tensor_set_threads(threads, NULL));
        cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &rounded, NULL));
        if (threads == 1) memcpy(first, nn_grads(m.params).f32, bytes);
        cr_assert(memcmp(first, nn_grads(m.params).f32, bytes) == 0, "%d threads", threads);
    }
    for (int64_t i = 0; i < count; i++) {
        error += (double)(first[i] - exact[i]) * (double)(first[i] - exact[i]);
        norm += (double)exact[i] * (double)exact[i];
    }
    cr_expect_gt(sqrt(error / norm), 1e-5);
    cr_expect_lt(sqrt(error / norm), 2e-2);
    cr_expect_neq(rounded, mean);
    cr_expect_float_eq(rounded, mean, 1e-2);
    cr_assert(nn_parallel_loss(parallel, ROWS, model_loss, &m, &alone, NULL));
    cr_expect_eq(alone, mean);
    nn_parallel_set_precision(parallel, TENSOR_FLOAT32);
    cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &rounded, NULL));
    cr_expect_eq(rounded, mean);
    cr_expect(memcmp(exact, nn_grads(m.params).f32, bytes) == 0);
    nn_parallel_free(parallel);
    nn_params_free(m.params);
    free(exact);
    free(first);
}

static int compare_rows(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Shards are rows*s/shards .. rows*(s+1)/shards, whatever the number of threads. */
Test(parallel, shards_cover_the_rows) {
    model m;
    model_init(&m);
    cr_assert(tensor_set_threads(1, NULL));
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean;
    for (int64_t grain = 1; grain <= 5; grain++)
        for (int64_t rows = 1; rows <= ROWS; rows++) {
            m.calls = 0;
            nn_parallel_set_grain(parallel, grain);
            cr_assert(nn_parallel_loss(parallel, rows, model_loss, &m, &mean, NULL));
            int shards = rows < grain ? 1 : rows < 16 * grain ? (int)(rows / grain) : 16;
            cr_assert_eq(m.calls, shards);
            qsort(m.begin, (size_t)shards, sizeof m.begin[0], compare_rows);
            qsort(m.end, (size_t)shards, sizeof m.end[0], compare_rows);
            for (int s = 0; s < shards; s++)
                cr_assert(m.begin[s] == rows * s / shards && m.end[s] == rows * (s + 1) / shards);
        }
    nn_parallel_free(parallel);
    nn_params_free(m.params);
}

/* After the first call of a size no tape grows, whichever thread gets which shards. */
Test(parallel, holds_its_memory_after_the_first_call) {
    for (int threads = 1; threads <= 4; threads++) {
        model m;
        model_init(&m);
        cr_assert(tensor_set_threads(threads, NULL));
        nn_parallel *parallel = nn_parallel_new(m.params);
        double mean;
        cr_assert(nn_parallel_backward(parallel, ROWS, model_loss, &m, &mean, NULL));
        cr_assert(nn_parallel_loss(parallel, ROWS, model_loss, &m, &mean, NULL));
        size_t bytes = nn_parallel_bytes(parallel);
        for (int turn = 0; turn < 50; turn++) {
            cr_assert(nn_parallel_backward(parallel, ROWS - turn % ROWS, model_loss, &m, &mean, NULL));
            cr_assert(nn_parallel_loss(parallel, ROWS - turn % ROWS, model_loss, &m, &mean, NULL));
        }
        cr_assert_eq(nn_parallel_bytes(parallel), bytes);
        nn_parallel_free(parallel);
        nn_params_free(m.params);
    }
}

Test(parallel, reports_the_first_failing_shard) {
    model m;
    model_init(&m);
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean;
    for (int threads = 1; threads <= 3; threads++) {
        cr_assert(tensor_set_threads(threads, NULL));
        for (int backward = 0; backward < 2; backward++) {
            tensor_error err = {0};
            m.bad = 20;
            cr_assert_not(backward ? nn_parallel_backward(parallel, 32, model_loss, &m, &mean, &err)
                                   : nn_parallel_loss(parallel, 32, model_loss, &m, &mean, &err));
            cr_assert_str_eq(err.text, "rows 20 to 22 are bad");
        }
        m.bad = INT64_MAX; /* and works again */
        cr_assert(nn_parallel_backward(parallel, 32, model_loss, &m, &mean, NULL));
    }
    nn_parallel_free(parallel);
    nn_params_free(m.params);
}

static ag_var *no_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    (void)context, (void)tape, (void)begin, (void)end;
    return NULL;
}

static ag_var *vector_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    return ag_use(tape, ((model *)context)->wte.weight);
}

Test(parallel, refuses_what_is_no_batch_and_no_loss) {
    model m;
    model_init(&m);
    nn_parallel *parallel = nn_parallel_new(m.params);
    double mean;
    const struct {
        int64_t rows;
        nn_loss *loss;
        const char *text;
    } cases[] = {
        {0, model_loss, "a batch of 0 rows"},
        {-3, model_loss, "a batch of -3 rows"},
        {INT64_MAX, model_loss, "a batch of 9223372036854775807 rows"},
        {4, no_loss, "the loss function returned NULL"},
        {4, vector_loss, "the loss is not a float32 scalar"},
    };
    for (int i = 0; i < 5; i++) {
        tensor_error err = {0};
        cr_expect_not(nn_parallel_backward(parallel, cases[i].rows, cases[i].loss, &m, &mean, &err));
        cr_expect_str_eq(err.text, cases[i].text);
        err = (tensor_error){0};
        cr_expect_not(nn_parallel_loss(parallel, cases[i].rows, cases[i].loss, &m, &mean, &err));
        cr_expect_str_eq(err.text, cases[i].text);
    }
    nn_parallel_free(parallel);
    tensor_error err = {0};
    cr_expect_not(nn_parallel_backward(NULL, 1, model_loss, &m, &mean, &err));
    cr_expect_str_eq(err.text, "out of memory");
    nn_params_free(m.params);
    nn_params *empty = nn_params_new();
    parallel = nn_parallel_new(empty);
    err = (tensor_error){0};
    cr_expect_not(nn_parallel_backward(parallel, 1, model_loss, &m, &mean, &err));
    cr_expect_str_eq(err.text, "the parameters are not finalized");
    nn_parallel_free(parallel);
    nn_parallel_free(NULL);
    nn_params_free(empty);
    cr_expect_null(nn_parallel_new(NULL));
}

static ag_var *constant_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    (void)begin, (void)end;
    return ag_constant(tape, *(const float *)context);
}

/* A loss that no operation has computed has no name. */
Test(parallel, a_constant_loss_that_is_not_finite_is_found) {
    model m;
    model_init(&m);
    char text[100];
    float loss = 1;
    cr_expect_not(nn_find_not_finite(m.params, 2, constant_loss, &loss, text, sizeof text));
    loss = NAN;
    cr_assert(nn_find_not_finite(m.params, 2, constant_loss, &loss, text, sizeof text));
    cr_expect_str_eq(text, "the result of the loss function in row 0 of the batch");
    nn_params_free(m.params);
}

/* The mean over rows of sum(w) * (row + 1), and how it is called. */
typedef struct large {
    ag_var *w;
    int calls;
} large;

static ag_var *large_loss(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    large *l = context;
    __atomic_fetch_add(&l->calls, 1, __ATOMIC_RELAXED);
    ag_var *sum = ag_sum(ag_use(tape, l->w), AG_ALL, false);
    return ag_affine(sum, (float)(begin + end + 1) / 2, 0);
}

/* 64 MiB of gradients at once: a larger model has fewer shards under way, and where they would be few, one shard that
 * writes to nn_grads. */
static void check_large(int64_t count, int shards, size_t gradients) {
    nn_params *params = nn_params_new();
    large l = {.w = nn_param(params, "w", NN_ZEROS, TENSOR_SHAPE(count))};
    cr_assert(nn_params_finalize(params, 1));
    nn_parallel *parallel = nn_parallel_new(params);
    double mean;
    cr_assert(nn_parallel_loss(parallel, 8, large_loss, &l, &mean, NULL));
    l.calls = 0;
    cr_assert(tensor_set_threads(1, NULL));
    cr_assert(nn_parallel_backward(parallel, 8, large_loss, &l, &mean, NULL));
    cr_assert_eq(l.calls, shards, "%d shards, expected %d", l.calls, shards);
    cr_assert_float_eq(nn_grads(params).f32[0], 4.5, 1e-6);
    cr_assert_float_eq(nn_grads(params).f32[count - 1], 4.5, 1e-6);
    cr_assert(nn_parallel_backward(parallel, 8, large_loss, &l, &mean, NULL));
    cr_assert_float_eq(nn_grads(params).f32[0], 4.5, 1e-6, "overwritten, not added");
    enum { TAPE = 4 }; /* what backward needs beside them */
    cr_assert_leq(nn_parallel_bytes(parallel), (gradients + TAPE) * (size_t)count * sizeof(float));
    nn_parallel_free(parallel);
    nn_params_free(params);
}

Test(parallel, gradients_of_shards_are_limited) {
    check_large((3 << 20) - 1, 8, 4 + 1);
    check_large(4 << 20, 8, 4 + 1);
    check_large((4 << 20) + 1, 1, 0);
    check_large(16 << 20, 1, 0);
}
