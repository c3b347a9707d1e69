/* Shards of a batch, each with gradients of its own, on the threads of one process. */
#include "nn/parallel/call.h"
#include "nn/params/params.h"

static int64_t first_row(const nn_call *b, int64_t shard) {
    return b->rows * shard / b->shards;
}

/* ---- What is final ---------------------------------------------------------------------------------- */

/* A bucket of one shard's gradients, some of which are still to come. */
typedef struct filling {
    nn_courier *courier;
    int bucket, missing; /* parameters */
    bool filled;
} filling;

static void fill(filling *f) {
    if (!f->filled) nn_courier_filled(f->courier, f->bucket);
    f->filled = true;
}

static ag_var *note_final(void *context, ag_var *x, ag_var *dx) {
    filling *f = context;
    (void)x;
    if (--f->missing == 0) fill(f);
    return dx;
}

static bool watch(const nn_call *b, ag_tape *tape, filling *buckets) {
    const nn_parallel *parallel = b->parallel;
    for (int i = 0; i < parallel->params->trained && parallel->buckets > 1; i++) {
        const ag_var *parameter = parallel->params->parameters[i];
        filling *f = &buckets[parallel->bucket_of[i]];
        if (!parameter->needs_grad) continue;
        if (!ag_add_hook(ag_use(tape, parameter), note_final, f)) return false;
        f->missing++;
    }
    return true;
}

/* ---- One shard ---------------------------------------------------------------------------------- */

static bool compute(const nn_call *b, int64_t shard, nn_worker *w, const nn_gradients *to, filling *buckets,
                    double *mean, tensor_error *err) {
    const nn_params *params = b->parallel->params;
    if (!w->tape && !(w->tape = ag_tape_new())) return tensor_fail(err, "out of memory for a tape");
    int64_t begin = first_row(b, shard), end = first_row(b, shard + 1);
    double weight = (double)(end - begin) / (double)b->rows;
    ag_reset(w->tape);
    ag_set_recording(w->tape, b->backward);
    ag_set_precision(w->tape, b->backward ? b->parallel->precision : TENSOR_FLOAT32);
    ag_var *loss = b->loss(b->context, w->tape, begin, end);
    if (loss && (loss->value.dtype != TENSOR_F32 || tensor_size(loss->value) != 1))
        loss = ag_fail(w->tape, "the loss is not a float32 scalar");
    if (loss && b->backward) {
        nn_buffers_gather(params, w->tape, weight, to->all);
        if ((b->courier && !watch(b, w->tape, buckets)) ||
            !ag_gradients_into(ag_affine(loss, (float)weight, 0), params->trained, params->parameters,
                               to->parts, false))
            loss = NULL;
    }
    if (!loss)
        return tensor_fail(err, "%s", ag_ok(w->tape) ? "the loss function returned NULL" : ag_error(w->tape));
    *mean = weight * (double)loss->value.f32[0];
    if (w->rows[b->backward] < end - begin) w->rows[b->backward] = end - begin;
    return true;
}

/* The mean loss of a shard's rows, weighted by their part of the batch, and its gradient. The courier is told of every
 * bucket, also where the shard fails. */
static bool run_shard(const nn_call *b, int64_t shard, nn_worker *w, const nn_gradients *to, double *mean,
                      tensor_error *err) {
    filling buckets[NN_BUCKETS];
    const int count = b->courier ? b->parallel->buckets : 0;
    for (int k = 0; k < count; k++) buckets[k] = (filling){.courier = b->courier, .bucket = k};
    const bool ok = compute(b, shard, w, to, buckets, mean, err);
    for (int k = 0; k < count; k++) fill(&buckets[k]);
    return ok;
}

/* ---- Several ------------------------------------------------------------------------------------- */

static void run_lanes(void *context, int64_t begin, int64_t end, int number) {
    nn_call *b = context;
    nn_parallel *parallel = b->parallel;
    for (int64_t lane = begin; lane < end; lane++)
        run_shard(b, b->first + lane, &parallel->workers[number], &parallel->lanes[lane],
                  &parallel->means[b->first + lane], &b->errors[lane]);
}

/* Where it is only one, operations run parallel inside. */
bool nn_run_shards(nn_call *b, int64_t begin, int64_t end, tensor_error *err) {
    nn_parallel *parallel = b->parallel;
    if (end - begin == 1)
        return run_shard(b, begin, &parallel->workers[0], &parallel->sums[b->count], &parallel->means[begin],
                         err);
    b->first = begin;
    tensor_parallel(end - begin, 1, run_lanes, b);
    for (int64_t i = 0; i < end - begin; i++)
        if (b->errors[i].text[0]) return tensor_fail(err, "%s", b->errors[i].text);
    return true;
}

/* ---- Memory of tapes ------------------------------------------------------------------------------ */

static bool is_cold(const nn_call *b, const nn_worker *w) {
    return w->rows[b->backward] < b->rows - first_row(b, b->shards - 1);
}

/* Chance decides which thread gets which shards: one may get none, or only smaller ones, and its tape would grow
 * in a later step. So every such tape runs the last shard, which is a largest one; the results are dropped. Index i
 * serves the tapes i, i + lanes, ... with lane i. */
static void warm_lanes(void *context, int64_t begin, int64_t end, int number) {
    nn_call *b = context;
    nn_parallel *parallel = b->parallel;
    (void)number;
    double dropped;
    for (int64_t lane = begin; lane < end; lane++)
        for (int64_t i = lane; i < b->threads; i += b->lanes)
            if (is_cold(b, &parallel->workers[i]))
                run_shard(b, b->shards - 1, &parallel->workers[i], &parallel->lanes[lane], &dropped,
                          &b->errors[lane]);
}

void nn_warm_tapes(nn_call *b) {
    bool cold = false;
    for (int i = 0; i < b->threads; i++) cold |= is_cold(b, &b->parallel->workers[i]);
    if (cold && b->lanes > 1) tensor_parallel(b->lanes, 1, warm_lanes, b);
}
