/* The optimizer of a run: AdamW for all parameters, or Muon for the hidden matrices and AdamW for the others; and the
 * mean of the last weights. */
#include "models/lm/train/optimize.h"
#include "models/lm/train/train_internal.h"

bool lm_optimizer_check(const lm_trainer *t, tensor_error *err) {
    const lm_settings *set = &t->set;
    const lm_model *model = t->instance.model;
    const bool muon = set->optimizer == LM_MUON;
    if (muon && !model->matrices)
        return tensor_fail(err, "--optimizer muon needs a model with hidden layers");
    if (set->table_rate > 0 && !model->tables)
        return tensor_fail(err, "--table-lr needs a model with tables beside its output");
    if (!muon && !set->resume && (lm_train_given(t, "muon-lr") || lm_train_given(t, "muon-momentum")))
        return tensor_fail(err, "--muon-lr and --muon-momentum need --optimizer muon");
    if ((muon || set->table_rate > 0) && set->rate == 0)
        return tensor_fail(err, "%s%s needs an --lr above 0", muon ? "the optimizer muon" : "--table-lr",
                           lm_train_given(t, muon ? "optimizer" : "table-lr") ? ""
                                                                              : ", which the preset has,");
    if (set->cooldown < 1 && set->schedule == NN_CONSTANT)
        return tensor_fail(err, "--cooldown needs --schedule linear or cosine");
    return true;
}

static nn_adamw_options adamw_options(lm_trainer *t) {
    const lm_settings *set = &t->set;
    const lm_model *model = t->instance.model;
    nn_group *group = t->adamw_groups;
    if (set->optimizer == LM_MUON) *group++ = (nn_group){model->matrices, 0};
    if (set->table_rate > 0) *group++ = (nn_group){model->tables, set->table_rate / set->rate};
    *group = (nn_group){0};
    return (nn_adamw_options){.rate = set->rate,
                              .beta1 = set->beta1,
                              .beta2 = set->beta2,
                              .eps = set->eps,
                              .decay = set->decay,
                              .decay_matrices = set->decay_on == 1,
                              .groups = t->adamw_groups};
}

static nn_muon_options muon_options(lm_trainer *t) {
    nn_muon_options options = NN_MUON_DEFAULTS;
    t->muon_groups[0] = (nn_group){t->instance.model->matrices, 1};
    t->muon_groups[1] = (nn_group){"*", 0};
    options.momentum = t->set.muon_momentum;
    options.decay = 0;
    options.groups = t->muon_groups;
    return options;
}

bool lm_optimizer_init(lm_trainer *t) {
    nn_params *params = t->instance.params;
    return nn_adamw_init(&t->adamw, params, adamw_options(t)) &&
           (t->set.optimizer != LM_MUON || nn_muon_init(&t->muon, params, muon_options(t))) &&
           (t->set.average == 0 || nn_average_init(&t->average, params, 0));
}

bool lm_optimizer_load(lm_trainer *t, const nn_file *file, tensor_error *err) {
    nn_params *params = t->instance.params;
    nn_state *mean = &t->average.state;
    if (!lm_optimizer_init(t)) return tensor_fail(err, "%s", nn_params_error(params));
    if (!nn_state_load(&t->adamw.state, file, err) ||
        (t->set.optimizer == LM_MUON && !nn_state_load(&t->muon.state, file, err)) ||
        (t->set.average > 0 && t->state.averaged > 0 && !nn_state_load(mean, file, err)))
        return false;
    t->adamw.state.step = (int32_t)t->state.iteration; /* files that have no counts are older */
    mean->step = (int32_t)t->state.averaged;
    nn_average_show(&t->average, params, false);
    return true;
}

int lm_optimizer_list(const lm_trainer *t, nn_entry entries[LM_OPTIMIZER_ENTRIES]) {
    int count = nn_state_list(&t->adamw.state, entries);
    if (t->set.optimizer == LM_MUON) count += nn_state_list(&t->muon.state, entries + count);
    return t->average.state.shown ? count + nn_state_list(&t->average.state, entries + count) : count;
}

double lm_optimizer_numbers(const lm_trainer *t) {
    lm_trainer other = *t; /* of which the groups are made */
    const nn_params *params = t->instance.params;
    double numbers = (t->set.average > 0 ? 3 : 2) * (double)nn_params_count(params);
    if (t->set.optimizer == LM_MUON) {
        const nn_muon_options options = muon_options(&other);
        numbers += (double)nn_muon_numbers(params, &options);
    }
    return numbers;
}

/* The schedule's rate at the state's iteration. */
static double rate_now(const lm_trainer *t) {
    const lm_settings *set = &t->set;
    const int64_t end = set->schedule_end ? set->schedule_end : set->iterations;
    const nn_schedule schedule = {.kind = (nn_schedule_kind)set->schedule,
                                  .rate = set->rate,
                                  .lowest = set->lowest_rate,
                                  .warmup = set->warmup,
                                  .fall = (int64_t)((1 - set->cooldown) * (double)end),
                                  .end = end};
    return nn_schedule_rate(&schedule, t->state.iteration);
}

/* Adds the weights of the last iterations to their mean. A run that goes on behind its end begins a new one. */
static bool average(lm_trainer *t) {
    const int64_t first = t->set.iterations - t->set.average;
    if (t->set.average == 0) return true;
    if (t->state.iteration <= first) t->average.state.step = 0;
    const bool ok = t->state.iteration < first || nn_average_add(&t->average, t->instance.params);
    t->state.averaged = t->average.state.step;
    return ok;
}

bool lm_optimizer_step(lm_trainer *t, double *rate) {
    nn_params *params = t->instance.params;
    *rate = t->adamw.options.rate = rate_now(t);
    t->muon.options.rate = t->set.rate > 0 ? t->set.muon_rate * (*rate / t->set.rate) : 0;
    return nn_adamw_step(&t->adamw, params) &&
           (t->set.optimizer != LM_MUON || nn_muon_step(&t->muon, params)) && average(t);
}

bool lm_optimizer_rehearse(const lm_trainer *t) {
    struct nn_muon muon = t->muon;
    muon.options.rate = 0;
    muon.options.momentum = 1; /* the gradient has no share in it */
    return t->set.optimizer != LM_MUON || nn_muon_step(&muon, t->instance.params);
}

void lm_average_show(lm_trainer *t, bool shown) {
    nn_average_show(&t->average, t->instance.params, shown);
}
