/* Training one model with several processes (nn_world): what they must have in common, and what they decide together. Rank 0 alone
 * writes files and says something. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

/* What a rank says goes into a file without a name; of a failure that is not rank 0's as well, the last line is shown. */
static FILE *said;
static int shown = -1;

static bool be_silent(tensor_error *err) {
    said = tmpfile();
    shown = dup(STDERR_FILENO);
    if (said && shown >= 0 && freopen("/dev/null", "w", stdout) && dup2(fileno(said), STDERR_FILENO) >= 0)
        return true;
    return tensor_fail(err, "no file for what is said: %s", strerror(errno));
}

static void show_last_line(int rank) {
    char line[512] = "", last[512] = "";
    if (!said || shown < 0) return;
    fflush(stderr);
    rewind(said);
    while (fgets(line, sizeof line, said))
        if (line[0] != '\n') memcpy(last, line, sizeof last);
    dprintf(shown, "rank %d: %s%s", rank, last, strchr(last, '\n') ? "" : "\n");
}

static bool alone(const lm_trainer *t) {
    return t->world.size == 1;
}

bool lm_ranks_begin(lm_trainer *t, tensor_error *err) {
    if (!nn_world_open(&t->world, err)) return false;
    if (t->world.rank == 0) return true;
    t->set.quiet = true;
    t->set.sample_tokens = 0;
    return be_silent(err);
}

int lm_ranks_agree(lm_trainer *t, int status) {
    tensor_error err = {0};
    int64_t values[] = {status, lm_interrupted(), t->time_up, t->world.rank == 0 ? status : LM_DONE};
    if (alone(t)) return status;
    if (!nn_world_max(&t->world, values, 4, &err)) {
        t->lost = true; /* as a failure may have said */
        return status == LM_DONE ? lm_fail(t->instance.model, "%s", err.text) : status;
    }
    t->signal = (int)values[1];
    t->time_up = values[2] != 0;
    t->own_failure = status != LM_DONE && values[3] == LM_DONE;
    return status == LM_DONE && values[0] != LM_DONE ? LM_FAILED : status; /* who has failed says why */
}

/* All that the command line, the files and the program have led to. */
static bool compare(const lm_trainer *t, tensor_error *err) {
    const nn_world *world = &t->world;
    const tensor values = nn_values(t->instance.params);
    const int64_t text[] = {t->state.text_tokens, t->state.text_hash, t->parts[LM_TRAIN].count};
    char version[128];
    snprintf(version, sizeof version, "%s %s", SAMPO_VERSION, t->instance.model->name);
    if (!nn_world_same(world, "the program's version", version, strlen(version), err) ||
        !nn_world_same(world, "the command line", &t->argc, sizeof t->argc, err))
        return false;
    for (int i = 0; i < t->argc; i++)
        if (!nn_world_same(world, "the command line", t->argv[i], strlen(t->argv[i]), err)) return false;
    return nn_world_same(world, "the text", text, sizeof text, err) &&
           nn_world_same(world, "the iteration", &t->state.iteration, sizeof t->state.iteration, err) &&
           nn_world_same(world, "the weights", values.f32, (size_t)tensor_size(values) * sizeof(float), err);
}

int lm_ranks_compare(lm_trainer *t) {
    tensor_error err = {0};
    const lm_model *model = t->instance.model;
    if (alone(t)) return LM_DONE;
    if (!compare(t, &err)) return lm_fail(model, "%s", err.text);
    lm_say(model, "%d processes share the %" PRId64 " shards of each step%s", t->world.size, t->shards,
           t->world.size > t->shards ? "; some have nothing to do, and --shards would change that" : "");
    nn_parallel_set_world(t->parallel, &t->world);
    return LM_DONE;
}

int lm_ranks_end(lm_trainer *t, int status) {
    if (t->world.rank > 0 && (t->own_failure || t->lost)) show_last_line(t->world.rank);
    nn_world_close(&t->world, t->lost);
    return status;
}
