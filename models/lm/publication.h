/* A model as other programs know it: read from what they publish, and written for them. */
#ifndef SAMPO_LM_PUBLICATION_H
#define SAMPO_LM_PUBLICATION_H

#include "models/lm/cli/cli.h"
#include "sampo/nn.h"

/* A checkpoint as published for Hugging Face's transformers: tensors without our metadata, and files of text beside
 * them. */
typedef struct lm_published {
    nn_file *file;
    const nn_metadata *config; /* members of config.json; none where that is not there */
    int config_count;
    int64_t vocabulary, context;
} lm_published;
/* What config.json says of a key, where that is there and not null; else *value stays. Numbers are compared as numbers:
 * 1e-5 is 0.00001. False and a text that names the key where it is something else, or out of range. */
bool lm_published_integer(const lm_published *published, const char *key, int64_t least, int64_t most,
                          int64_t *value, tensor_error *err);
bool lm_published_real(const lm_published *published, const char *key, double low, double high, double *value,
                       tensor_error *err);
bool lm_published_flag(const lm_published *published, const char *key, bool *value, tensor_error *err);
const char *lm_published_text(const lm_published *published, const char *key); /* NULL: nothing, or null */

/* A model as other programs load it: its tensors, with their names and layout, and what they ask to know. */
typedef enum lm_form { LM_TRANSFORMERS, LM_GGUF } lm_form;
typedef struct lm_fact {
    const char *key;
    lm_option_kind kind; /* which of these it is: */
    union {
        int64_t integer;
        double real;
        bool yes;
        const char *text; /* NULL: none */
    };
} lm_fact;
static inline lm_fact lm_fact_integer(const char *key, int64_t value) {
    return (lm_fact){.key = key, .kind = LM_INTEGER, .integer = value};
}
static inline lm_fact lm_fact_real(const char *key, double value) {
    return (lm_fact){.key = key, .kind = LM_REAL, .real = value};
}
static inline lm_fact lm_fact_yes(const char *key, bool value) {
    return (lm_fact){.key = key, .kind = LM_YES_NO, .yes = value};
}
static inline lm_fact lm_fact_text(const char *key, const char *value) {
    return (lm_fact){.key = key, .kind = LM_TEXT, .text = value};
}
enum { LM_MAX_FACTS = 24 };
typedef struct lm_publication {
    lm_form form;
    bool spare;          /* the tables have a row more than there are tokens, for one that is never chosen */
    tensor_arena *arena; /* for all that follows */
    nn_entry *tensors;
    int tensor_count;
    const char *type, *architecture; /* "gpt2", "GPT2LMHeadModel" */
    lm_fact facts[LM_MAX_FACTS];
    int fact_count;
} lm_publication;

#endif
