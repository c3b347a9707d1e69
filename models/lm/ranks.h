/* A command that several processes run together, started by mpirun: rank 0 alone writes files and says something. A
 * process that was started alone is rank 0 of 1. */
#ifndef SAMPO_LM_RANKS_H
#define SAMPO_LM_RANKS_H

#include <stdio.h>

#include "models/lm/lm.h"

typedef struct lm_ranks {
    nn_world world;
    FILE *said;       /* what a rank that is silent says goes into a file without a name */
    int shown;        /* its standard error, for its last words */
    bool own_failure; /* this process has failed, and rank 0 has not */
    bool lost;        /* a rank does not answer */
} lm_ranks;
#define LM_ALONE ((lm_ranks){.world.size = 1, .shown = -1})

/* Joins the others. All but rank 0 are silent from then on. A warning is said where several processes were started that
 * cannot join. Returns an exit status. */
int lm_ranks_begin(lm_ranks *ranks, const lm_model *model);
/* All call it with their exit status, and up to 6 values, each of which becomes the largest of all ranks'. Returns the
 * status, or a failure where another rank has one, which that rank says. */
int lm_ranks_agree(lm_ranks *ranks, const lm_model *model, int status, int64_t *values, int count);
/* Returns the status; does not return where a rank does not answer, which ends the others. The last line of a failure
 * that is not rank 0's as well is shown. */
int lm_ranks_end(lm_ranks *ranks, int status);

#endif
