/* What a run says of itself when it goes wrong: one line each, once. */
#include <inttypes.h>
#include <math.h>

#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

enum {
    FEW_TOKENS = 1000, /* of a validation part: the loss of fewer is mostly chance */
    MANY_TIMES = 4,    /* as many passes as are useful */
    FIRST_STEPS = 20   /* in which a loss may be anything */
};

void lm_warn_plan(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_settings *set = &t->set;
    const int64_t validation = t->parts[LM_VALIDATION].count, useful = lm_useful_iterations(t);
    if (set->iterations > 0 && (set->rate > 0.1 || set->rate < 1e-6))
        lm_say(model, "warning: a --lr of %g is far from what is useful: between 0.00001 and 0.03",
               set->rate);
    if (!set->resume && !set->init && lm_train_given(t, "vocab-size") &&
        t->instance.tokenizer.count < set->vocab_size)
        lm_say(model, "warning: the text has byte pairs for %d tokens, not for a --vocab-size of %" PRId64,
               t->instance.tokenizer.count, set->vocab_size);
    if (set->iterations > 0 && set->warmup >= set->iterations)
        lm_say(model,
               "warning: a --warmup of %" PRId64 " does not end within the run: its rate never reaches --lr",
               set->warmup);
    const bool ends_before = set->resume && set->seconds > 0; /* by --time, and not by its iterations */
    if (set->iterations / MANY_TIMES > useful && !ends_before)
        lm_say(model,
               "warning: %.0f passes over the text are far more than is useful; %" PRId64
               " iterations would do",
               lm_passes(t), useful);
    if (validation < FEW_TOKENS)
        lm_say(model, "warning: %" PRId64 " token%s to validate: the loss of so few says little", validation,
               lm_s(validation));
}

void lm_warn_report(lm_trainer *t, double train, double validation) {
    const lm_state *state = &t->state;
    if (t->said_overfit || validation < 1.03 * state->best_loss || train >= t->best_train) return;
    t->said_overfit = true;
    lm_say(t->instance.model,
           "warning: it begins to learn the text by heart: since iteration %" PRId64
           " the validation loss has been rising while the training loss falls%s; more text helps, or "
           "--dropout, or a "
           "smaller model",
           state->best_iteration,
           t->best && lm_train_keeps(t, state->best_iteration) ? "; best.safetensors keeps that iteration"
                                                               : "");
}

void lm_warn_step(lm_trainer *t, double loss) {
    const double guessing = log((double)t->instance.tokenizer.count);
    if (t->said_diverged || t->progress.done - t->progress.first < FIRST_STEPS || loss < 2 * guessing + 1)
        return;
    t->said_diverged = true;
    lm_progress_clear(&t->progress);
    lm_say(t->instance.model,
           "warning: at iteration %" PRId64
           " the loss is %.5g, and mere guessing has %.2f: it diverges; train with a lower "
           "--lr than %g, or with --clip 1",
           t->state.iteration, loss, guessing, t->set.rate);
}
