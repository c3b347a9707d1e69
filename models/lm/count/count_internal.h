/* The tree of contexts that learning makes, files keep and predictions read. */
#ifndef SAMPO_LM_COUNT_INTERNAL_H
#define SAMPO_LM_COUNT_INTERNAL_H

#include "models/lm/count/count.h"

/* What there is of the contexts of one length, a list each, in the order of their last token, then of the one before
 * it, and so on: the contexts that are one token longer than one, by a token in front, are its children and stand
 * together. */
typedef enum count_part {
    COUNT_TOKEN,    /* of each context: its first token; of none for the empty context */
    COUNT_CHILDREN, /* of each context: how many it has; not of the longest */
    COUNT_GRAMS,    /* of each context: how many different tokens follow it */
    COUNT_NEXT,     /* of each of these: the token, in ascending order */
    COUNT_TIMES,    /* how often it follows */
    COUNT_DIFFERENT, /* after how many different tokens it and the context stand; not of the longest contexts */
    COUNT_PARTS
} count_part;

/* Numbers below 2^32 in as few bytes as the largest needs. */
typedef struct count_list {
    const void *data;
    int64_t count;
    int width; /* 1, 2 or 4 */
} count_list;

static inline uint32_t count_at(const count_list *list, int64_t i) {
    return list->width == 1   ? ((const uint8_t *)list->data)[i]
           : list->width == 2 ? ((const uint16_t *)list->data)[i]
                              : ((const uint32_t *)list->data)[i];
}

/* Where the children and the n-grams of a context begin; they end where those of the next one begin. */
typedef struct count_start {
    uint32_t child, gram;
} count_start;

typedef struct count_level {
    count_list part[COUNT_PARTS];
    const count_start *start; /* [contexts + 1] */
    double discount[2][4]; /* of how often it follows, after how many tokens it stands: for 0, 1, 2, more */
} count_level;

struct lm_counts {
    tensor_arena *arena; /* owns everything, this struct as well */
    int64_t vocabulary;
    int order;
    count_level level[LM_MAX_ORDER + 1];
    char name[LM_MAX_ORDER + 1][COUNT_PARTS][24]; /* of the lists in files */
};

bool counts_possible(int64_t vocabulary, int order, tensor_error *err);
/* Empty counts with an arena; NULL: memory is out, or the sizes are not possible. */
lm_counts *counts_new(int64_t vocabulary, int order, tensor_error *err);
/* Once all lists are there: checks that they fit together, and makes what follows from them. */
bool counts_complete(lm_counts *counts, tensor_error *err);

#endif
