/* What stands before the loop: the text, its tokens, the model with its parameters. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/train/optimize.h"
#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

/* ---- The text ------------------------------------------------------------------------------------- */

/* The two parts of the corpus, and how much text their tokens are. */
static bool cut_corpus(lm_trainer *t, tensor_error *err) {
    const int64_t context = t->set.context;
    for (int i = 0; i < 2; i++) {
        lm_extent extent;
        t->parts[i] = lm_split_of(t->corpus.tokens, (lm_split)i);
        if (t->parts[i].count <= context)
            return tensor_fail(err,
                               "%" PRId64 " token%s too few: a context of %" PRId64 " needs at least %" PRId64
                               " in each part of the text (90 %% to train on, 10 %% to validate)",
                               t->corpus.tokens.count, t->corpus.tokens.count == 1 ? " is" : "s are", context,
                               context + 1);
        if (!lm_extent_of(&extent, &t->instance.tokenizer, t->parts[i], err)) return false;
        if (extent.characters > 0) t->per_character[i] = (double)extent.tokens / (double)extent.characters;
        if (extent.bytes > 0) t->per_byte[i] = (double)extent.tokens / (double)extent.bytes;
    }
    return true;
}

/* Whether a run goes on that read its text from standard input, or from a file whose name no checkpoint can keep: the
 * text cannot be found again, its tokens are kept. */
static bool text_is_gone(const lm_trainer *t) {
    bool gone = t->set.data.count == 0;
    for (int i = 0; i < t->set.data.count; i++) gone = gone || strcmp(t->set.data.paths[i], "-") == 0;
    return t->set.resume && gone;
}

int lm_prepare_text(lm_trainer *t, lm_text *text) {
    lm_instance *instance = &t->instance;
    const lm_model *model = instance->model;
    tensor_error err = {0};
    const bool loaded = instance->tokenizer.count > 0;
    const lm_tokenizer_kind kind = loaded ? instance->tokenizer.kind : lm_tokenizer_kind_of(t->set.tokenizer);
    if (text_is_gone(t)) {
        t->set.data.name = "its text", t->set.data.joined = "";
        return t->set.data.count == 0 || lm_name_texts(model, &t->set.data, t->arena, &err)
                   ? LM_DONE
                   : lm_fail(model, "%s", err.text);
    }
    for (int i = 0; t->set.resume && i < t->set.data.count; i++)
        if (lm_place_of(t->set.data.paths[i], NULL) == LM_NOTHING)
            return lm_fail(model, "%s: the text of the run is not there any more; name it with --data",
                           t->set.data.paths[i]);
    const int status = lm_open_text(model, text, &t->set.data, kind, t->arena);
    if (status != LM_DONE || loaded) return status;
    lm_busy *busy = lm_busy_begin(model->name, "learning tokens from the text");
    const bool ok = lm_tokenizer_choose(&instance->tokenizer, t->set.tokenizer, (int32_t)t->set.vocab_size,
                                        text, instance->arena, &err);
    lm_busy_end(busy);
    return ok ? LM_DONE : lm_fail(model, "%s: %s", t->set.data.name, err.text);
}

int lm_prepare_tokens(lm_trainer *t, const lm_text *text) {
    const lm_model *model = t->instance.model;
    tensor_error err = {0};
    const char *path = t->set.out ? t->tokens : NULL;
    lm_busy *busy = lm_busy_begin(model->name, "cutting the text into tokens");
    const bool ok =
        lm_corpus_open(&t->corpus, &t->instance.tokenizer, text->bytes ? text : NULL, path, &err) &&
        cut_corpus(t, &err);
    lm_busy_end(busy);
    return ok && lm_resume_text(t, &err) ? LM_DONE : lm_fail(model, "%s: %s", t->set.data.name, err.text);
}

int lm_prepare_counts(lm_trainer *t) {
    lm_instance *instance = &t->instance;
    const lm_model *model = instance->model;
    tensor_error err = {0};
    if (!model->order || *model->order == 0) return LM_DONE;
    if (t->set.resume && instance->counts) return LM_DONE; /* of this text */
    if (lm_memory_check(t) != LM_DONE) return LM_FAILED;   /* now that the number of tokens is known */
    lm_busy *busy = lm_busy_begin(model->name, "counting the text");
    lm_counts_free(instance->counts); /* of another text, perhaps */
    instance->counts =
        lm_counts_learn(t->parts[LM_TRAIN], instance->tokenizer.count, (int)*model->order, &err);
    lm_busy_end(busy);
    return instance->counts ? LM_DONE : lm_fail(model, "%s", err.text);
}

int lm_measure_counts(lm_trainer *t) {
    const lm_measured on = {.tokens = lm_validation(t)};
    tensor_error err = {0};
    int64_t predicted;
    if (!t->instance.counts || nn_params_count(t->instance.params) == 0) return LM_DONE;
    return lm_evaluate_counts(&t->instance, t->parallel, on, &t->counted_loss, &predicted, &err)
               ? LM_DONE
               : lm_fail(t->instance.model, "%s", err.text);
}

int lm_prepare_model(lm_trainer *t) {
    lm_instance *instance = &t->instance;
    if (!instance->params) {
        instance->params = nn_params_new();
        if (instance->params)
            instance->model->init(instance->model->self, instance->params, instance->tokenizer.count,
                                  instance->context);
    }
    if (nn_params_error(instance->params))
        return lm_fail(instance->model, "%" PRId64 " parameters: %s", nn_params_count(instance->params),
                       nn_params_error(instance->params));
    t->parallel = lm_parallel_new(instance);
    nn_parallel_set_precision(t->parallel, (tensor_precision)t->set.precision);
    if (!t->parallel) return lm_fail(instance->model, "out of memory");
    t->shards = lm_train_shards(t);
    return LM_DONE;
}

int lm_prepare_parameters(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_settings *set = &t->set;
    nn_params *params = t->instance.params;
    const int64_t count = nn_params_count(params);
    lm_busy *busy = lm_busy_begin(model->name, "making the weights");
    bool ok = tensor_ok(nn_values(params)) || nn_params_finalize(params, (uint64_t)set->seed);
    ok = ok && (set->resume || lm_optimizer_init(t));
    lm_busy_end(busy);
    if (!ok) return lm_fail(model, "%" PRId64 " parameters: %s", count, nn_params_error(params));

    tensor_error err = {0};
    if (!set->out) t->best_values = tensor_new(t->arena, TENSOR_F32, TENSOR_SHAPE(count), &err);
    if ((!set->out && !tensor_ok(t->best_values)) ||
        !lm_batch_new(&t->batches, set->batch * set->accumulate, set->context, t->arena, &err))
        return lm_fail(model, "%s", err.text);
    return LM_DONE;
}
