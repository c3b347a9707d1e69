/* How much memory training takes, before it is taken. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/train/optimize.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

enum {
    PROGRAM_BYTES = 4 << 20,
    THREAD_BYTES = 1 << 20, /* of a stack, with a kernel's panels */
    SPARE_BYTES = 1 << 20   /* of a tape: its last huge page is not full */
};

/* While the text is counted, and rather too much: known once it is cut into tokens. The factor is measured. */
static double counting_bytes(const lm_trainer *t) {
    const int64_t *order = t->instance.model->order;
    return order && *order > 0 ? 12.0 * (double)t->parts[LM_TRAIN].count * (double)(*order + 1) : 0;
}

/* The option that says how much is counted. */
static const char *order_option(const lm_model *model) {
    const lm_option *o = model->options;
    while (o && o->name && o->value != model->order) o++;
    return o && o->name ? o->name : "";
}

const char *lm_memory_parts(const lm_trainer *t) {
    return counting_bytes(t) > 0 ? "weights, gradients, optimizer and counts"
                                 : "weights, gradients and optimizer";
}

int64_t lm_train_shards(const lm_trainer *t) {
    const lm_settings *set = &t->set;
    const int64_t rows = set->batch * set->accumulate;
    if (set->shards > 0) return set->shards < rows ? set->shards : rows;
    return nn_parallel_shards(t->parallel, set->batch) * set->accumulate;
}

lm_memory lm_memory_needed(const lm_trainer *t) {
    const lm_settings *set = &t->set;
    const lm_model *model = t->instance.model;
    const int32_t vocabulary = t->instance.tokenizer.count;
    const double each = sizeof(float), count = (double)nn_params_count(t->instance.params);
    const int64_t shards = lm_train_shards(t), lanes = nn_parallel_lanes(t->parallel, shards);
    const int64_t all = set->batch * set->accumulate, rows = (all + shards - 1) / shards;
    const int tapes = lanes > 1 ? tensor_threads() : 1;
    int sums = 0; /* of shards that wait for those beside them */
    for (int64_t groups = (shards + lanes - 1) / lanes; groups > 1; groups = (groups + 1) / 2) sums++;
    const double numbers =
        model->activations ? model->activations(model->self, vocabulary) : 4 * (double)vocabulary;
    /* values, gradients; the best values; the shards' gradients */
    const int64_t copies = 2 + t->keeps_nothing + (lanes > 1 ? lanes : 0) + sums;
    const double ids = 2 * each * (double)(all * set->context);
    return (lm_memory){.weights = each * (count * (double)copies + lm_optimizer_numbers(t)) + PROGRAM_BYTES +
                                  ids + (double)tensor_threads() * THREAD_BYTES + counting_bytes(t),
                       .batch = tapes * (each * numbers * (double)(rows * set->context) + SPARE_BYTES)};
}

/* The largest part of the batch with which training fits; 0: none. */
static int64_t fitting_batch(const lm_trainer *t, double bytes) {
    lm_trainer smaller = *t;
    for (int64_t parts = 2; parts <= t->set.batch; parts *= 2) {
        smaller.set.batch = t->set.batch / parts;
        smaller.set.accumulate = t->set.accumulate * parts;
        const lm_memory need = lm_memory_needed(&smaller);
        if (need.weights + need.batch <= bytes) return smaller.set.batch;
    }
    return 0;
}

/* What it has taken already. */
static double taken(const lm_trainer *t) {
    const bool loaded =
        tensor_ok(nn_values(t->instance.params)); /* with gradients, and what is needed to go on */
    const double numbers = 2 * (double)nn_params_count(t->instance.params);
    return loaded ? sizeof(float) * (numbers + (t->set.resume ? lm_optimizer_numbers(t) : 0)) : 0;
}

bool lm_memory_fits(const lm_trainer *t, double bytes) {
    const lm_memory need = lm_memory_needed(t);
    return bytes < 0 || need.weights + need.batch - taken(t) <= bytes;
}

int lm_memory_check(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_memory need = lm_memory_needed(t);
    const double all = need.weights + need.batch, bytes = (double)tensor_memory();
    char text[3][32], less[120] = "a smaller --vocab-size";
    if (lm_memory_fits(t, bytes) || t->set.force || t->set.dry_run) return LM_DONE;
    const int64_t batch = fitting_batch(t, bytes + taken(t));
    if (counting_bytes(t) > all / 2)
        snprintf(less, sizeof less, "a smaller --%s", order_option(model));
    else if (batch > 0)
        snprintf(less, sizeof less, "--batch %" PRId64 " --accumulate %" PRId64, batch,
                 t->set.accumulate * ((t->set.batch + batch - 1) / batch));
    else if (model->options)
        snprintf(less, sizeof less, "a smaller --preset, or --layers, --width or --context");
    return lm_fail(model,
                   "training would take about %s of memory (%s for %s), and %s are free; "
                   "%s takes less; --force tries all the same",
                   lm_memory_text(all, text[0], sizeof *text),
                   lm_memory_text(need.weights, text[1], sizeof *text), lm_memory_parts(t),
                   lm_memory_text(bytes, text[2], sizeof *text), less);
}
