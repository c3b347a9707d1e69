/* Training one model with several processes: what they must have in common, and what they decide together. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/lm/train/train_internal.h"

enum { COMPARE_EVERY = 100 }; /* iterations: it costs less than a step */

int lm_train_agree(lm_trainer *t, int status) {
    int64_t values[] = {lm_interrupted(), t->time_up};
    if (t->ranks.world.size == 1) return status;
    status = lm_ranks_agree(&t->ranks, t->instance.model, status, values, 2);
    t->signal = (int)values[0];
    t->time_up = values[1] != 0;
    return status;
}

/* All that the command line, the files and the program have led to. */
static bool compare(const lm_trainer *t, tensor_error *err) {
    const nn_world *world = &t->ranks.world;
    const int64_t text[] = {t->state.text_tokens, t->state.text_hash, t->parts[LM_TRAIN].count};
    char version[128];
    snprintf(version, sizeof version, "%s %s", SAMPO_VERSION, t->instance.model->name);
    if (!nn_world_same(world, "the program's version", version, strlen(version), err) ||
        !nn_world_same(world, "the command line", &t->argc, sizeof t->argc, err))
        return false;
    for (int i = 0; i < t->argc; i++)
        if (!nn_world_same(world, "the command line", t->argv[i], strlen(t->argv[i]), err)) return false;
    const bool fused = strcmp(tensor_isa(), "baseline") != 0;
    return nn_world_same(world, "the instruction set, as 'baseline' rounds in other places", &fused,
                         sizeof fused, err) &&
           nn_world_same(world, "the text", text, sizeof text, err) &&
           nn_world_same(world, "the iteration", &t->state.iteration, sizeof t->state.iteration, err) &&
           nn_params_same(t->instance.params, world, err);
}

int lm_train_compare(lm_trainer *t) {
    tensor_error err = {0};
    const lm_model *model = t->instance.model;
    if (t->ranks.world.size == 1) return LM_DONE;
    if (!compare(t, &err)) return lm_fail(model, "%s", err.text);
    lm_say(model, "%d processes share the %" PRId64 " shards of each step%s", t->ranks.world.size, t->shards,
           t->ranks.world.size > t->shards ? "; some have nothing to do, and --shards would change that"
                                           : "");
    nn_parallel_set_world(t->parallel, &t->ranks.world);
    return LM_DONE;
}

int lm_train_compare_weights(lm_trainer *t) {
    tensor_error err = {0};
    if (t->ranks.world.size == 1 || t->state.iteration % COMPARE_EVERY != 0) return LM_DONE;
    return nn_params_same(t->instance.params, &t->ranks.world, &err)
               ? LM_DONE
               : lm_fail(t->instance.model, "after iteration %" PRId64 ", %s", t->state.iteration, err.text);
}
