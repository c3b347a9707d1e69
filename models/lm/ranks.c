/* What processes that run one command together say, and how they end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/ranks.h"

/* Processes that were started by one command and do not know of each other would each do all of the work. */
static void warn_of_strangers(const lm_model *model) {
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *size = getenv(sizes[i]);
        if (!size || strtol(size, NULL, 10) <= 1) continue;
        lm_say(model,
               "%.9s processes were started together, but each works by itself: build with -Dmpi=openmpi or "
               "-Dmpi=mpich, and start with the mpirun of that MPI, or with srun --mpi=pmix or --mpi=pmi2",
               size);
        return;
    }
}

int lm_ranks_begin(lm_ranks *ranks, const lm_model *model) {
    tensor_error err = {0};
    *ranks = LM_ALONE;
    if (!nn_world_open(&ranks->world, &err)) return lm_fail(model, "%s", err.text);
    if (ranks->world.size == 1) warn_of_strangers(model);
    if (ranks->world.rank == 0) return LM_DONE;
    ranks->said = tmpfile();
    ranks->shown = dup(STDERR_FILENO);
    if (ranks->said && ranks->shown >= 0 && freopen("/dev/null", "w", stdout) &&
        dup2(fileno(ranks->said), STDERR_FILENO) >= 0)
        return LM_DONE;
    return lm_fail(model, "no file for what is said: %s", strerror(errno));
}

int lm_ranks_agree(lm_ranks *ranks, const lm_model *model, int status, int64_t *values, int count) {
    enum { MORE = 6 };
    int64_t all[2 + MORE] = {status, ranks->world.rank == 0 ? status : LM_DONE};
    tensor_error err = {0};
    if (ranks->world.size == 1) return status;
    if (count < 0 || count > MORE) return lm_fail(model, "%d values to agree on", count);
    for (int i = 0; i < count; i++) all[2 + i] = values[i];
    if (!nn_world_max(&ranks->world, all, 2 + count, &err)) {
        ranks->lost = true; /* as a failure may have said */
        return status == LM_DONE ? lm_fail(model, "%s", err.text) : status;
    }
    for (int i = 0; i < count; i++) values[i] = all[2 + i];
    ranks->own_failure = status != LM_DONE && all[1] == LM_DONE;
    return status == LM_DONE && all[0] != LM_DONE ? LM_FAILED : status; /* who has failed says why */
}

static void show_last_line(const lm_ranks *ranks) {
    char line[512] = "", last[512] = "";
    if (!ranks->said || ranks->shown < 0) return;
    fflush(stderr);
    rewind(ranks->said);
    while (fgets(line, sizeof line, ranks->said))
        if (line[0] != '\n') memcpy(last, line, sizeof last);
    dprintf(ranks->shown, "rank %d: %s%s", ranks->world.rank, last, strchr(last, '\n') ? "" : "\n");
}

int lm_ranks_end(lm_ranks *ranks, int status) {
    if (ranks->world.rank > 0 && (ranks->own_failure || ranks->lost)) show_last_line(ranks);
    nn_world_close(&ranks->world, ranks->lost);
    return status;
}
