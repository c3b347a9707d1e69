/* The command line: options and their help; process.h: how a program begins and ends; progress.h: how far its work is. */
#ifndef SAMPO_LM_CLI_H
#define SAMPO_LM_CLI_H

#include "models/lm/cli/process.h"
#include "models/lm/cli/progress.h"
#include "sampo/nn.h"

/* ---- Options --------------------------------------------------------------------------------------- */

typedef enum lm_option_kind {
    LM_INTEGER, /* value: int64_t */
    LM_REAL,    /* double */
    LM_TEXT,    /* const char * */
    LM_FILES,   /* lm_paths, one more each time the option is given */
    LM_CHOICE,  /* int64_t, the index of one of `words` */
    LM_YES_NO,  /* bool */
    LM_FLAG,    /* bool, set by the option's mere presence */
    LM_PRESET   /* const lm_preset *, one of `presets` */
} lm_option_kind;

/* Settings of other options under one name: "layers=12 width=768"; for which texts: "a few MB". A table of presets
 * ends with {0}. */
typedef struct lm_preset {
    const char *name, *settings, *suits;
} lm_preset;

/* Whether the checkpoint that `train --resume` goes on from holds an option, and which value then counts. */
typedef enum lm_resume {
    LM_FIXED,      /* the checkpoint's; another one on the command line is refused */
    LM_CHANGEABLE, /* the checkpoint's, unless the command line has one */
    LM_ANEW,       /* it holds none: each start of the run may say it again */
    LM_UNKEPT      /* it holds none, and goes on without it */
} lm_resume;

/* Names of files, as an option collects them. lm_open_text sets the rest. */
enum { LM_MAX_FILES = 256 };
typedef struct lm_paths {
    const char *paths[LM_MAX_FILES];
    int count;
    const char *joined; /* all, with newlines between them, as checkpoints keep them */
    const char *name;   /* for messages */
} lm_paths;

/* Under which title --help lists an option, in this order. In a table, LM_AS_BEFORE stands for the group of the entry
 * before: a run of entries names its group once. */
typedef enum lm_group {
    LM_AS_BEFORE,
    LM_ABOUT_DATA,
    LM_ABOUT_MODEL,
    LM_ABOUT_TRAINING,
    LM_ABOUT_WRITING,
    LM_ABOUT_REPORTS,
    LM_ABOUT_FILES,
    LM_ABOUT_RUNNING, /* what every command has */
    LM_GROUPS
} lm_group;

/* One option. `value` holds the default until the option is given. A number outside its range stands for "not
 * given", so --help does not show it as a default. A table of options ends with {0}. */
typedef struct lm_option {
    const char *name; /* "batch" for --batch */
    lm_option_kind kind;
    void *value;
    int64_t least, most; /* of an integer */
    double low, high;    /* of a real number */
    const char *words;   /* of a choice: "relu|gelu"; of a text: what stands for it in --help */
    const char
        *since; /* what checkpoints stand for that are older than the option; NULL: it was always there */
    const char *key; /* under which checkpoints keep the value; NULL: only for --resume, as "train.batch" */
    const char *help;
    const lm_preset *presets;
    lm_resume resume;
    lm_group group;
    bool of_new; /* it says how a new model begins: --init, which has one already, takes none */
} lm_option;

/* Entries of a table. */
static inline lm_option lm_integer(const char *name, int64_t *value, int64_t least, int64_t most,
                                   const char *help) {
    return (lm_option){
        .name = name, .kind = LM_INTEGER, .value = value, .least = least, .most = most, .help = help};
}
static inline lm_option lm_real(const char *name, double *value, double low, double high, const char *help) {
    return (lm_option){.name = name, .kind = LM_REAL, .value = value, .low = low, .high = high, .help = help};
}
static inline lm_option lm_string(const char *name, const char **value, const char *word, const char *help) {
    return (lm_option){.name = name, .kind = LM_TEXT, .value = value, .words = word, .help = help};
}
static inline lm_option lm_files(const char *name, lm_paths *value, const char *word, const char *help) {
    return (lm_option){.name = name, .kind = LM_FILES, .value = value, .words = word, .help = help};
}
static inline lm_option lm_choice(const char *name, int64_t *value, const char *words, const char *help) {
    return (lm_option){.name = name, .kind = LM_CHOICE, .value = value, .words = words, .help = help};
}
static inline lm_option lm_yes_no(const char *name, bool *value, const char *help) {
    return (lm_option){.name = name, .kind = LM_YES_NO, .value = value, .help = help};
}
static inline lm_option lm_flag(const char *name, bool *value, const char *help) {
    return (lm_option){.name = name, .kind = LM_FLAG, .value = value, .help = help};
}
static inline lm_option lm_presets(const lm_preset **value, const lm_preset *presets, const char *help) {
    return (lm_option){.name = "preset",
                       .kind = LM_PRESET,
                       .value = value,
                       .presets = presets,
                       .help = help,
                       .group = LM_ABOUT_MODEL};
}
/* --seed and --threads, which commands have in common. */
static inline lm_option lm_seed(int64_t *value) {
    return lm_integer("seed", value, 0, INT64_MAX, "The same seed gives the same result.");
}
static inline lm_option lm_threads(int64_t *value) {
    lm_option option = lm_integer("threads", value, 1, TENSOR_MAX_THREADS,
                                  "Compute with this many threads; one for each processor unless given.");
    option.resume = LM_UNKEPT;
    option.group = LM_ABOUT_RUNNING;
    return option;
}
/* An option that checkpoints keep. */
static inline lm_option lm_kept(const char *key, lm_option option) {
    option.key = key;
    return option;
}
/* The same of one that older checkpoints lack, which stand for `since`. */
static inline lm_option lm_kept_since(const char *key, const char *since, lm_option option) {
    option.key = key;
    option.since = since;
    return option;
}
/* An option that says how a new model begins. */
static inline lm_option lm_of_new(lm_option option) {
    option.of_new = true;
    return option;
}
/* The first option of a run of them in a table. */
static inline lm_option lm_about(lm_group group, lm_option option) {
    option.group = group;
    return option;
}
/* An option with another rule for --resume than LM_FIXED. */
static inline lm_option lm_resumed(lm_resume resume, lm_option option) {
    option.resume = resume;
    return option;
}

/* A command line's description. */
typedef struct lm_usage {
    const char *program, *command, *summary; /* command "": the program has none */
    const char *operand;                     /* the argument that is no option, such as "FILE"; NULL: none */
    const lm_option *options[2];             /* tables; NULL: none */
    int most;                                /* operands; 0 stands for 1 */
} lm_usage;

/* Sets an option from its text: "'x' is not a number", "0 is out of range: 1 to 256". */
bool lm_option_set(const lm_option *option, const char *text, tensor_error *err);
/* A number becomes one that is not given, where its range has no 0. */
void lm_option_take_away(const lm_option *option);
/* The value as lm_option_set reads it, numbers exactly, nothing for one that is not given; returns
 * `buffer`. */
char *lm_option_text(const lm_option *option, char *buffer, size_t size);

/* Sets options from "name=value name=value". */
bool lm_options_apply(const lm_usage *usage, const char *settings, tensor_error *err);

/* Reads --name value, --name=value and the operands, into operand[most], NULL behind the last. *help becomes
 * true, and reading ends, at --help. A preset's settings are made first: options override them wherever they
 * stand. Of an option given twice the last counts. */
bool lm_options_parse(const lm_usage *usage, int argc, char *const *argv, const char **operand, bool *help,
                      tensor_error *err);
/* The i-th option of both tables; NULL after the last. */
const lm_option *lm_option_at(const lm_usage *usage, int i);
/* Whether a command line that lm_options_parse has accepted gives the option. */
bool lm_option_given(const lm_option *option, int argc, char *const *argv);

/* The one of `count` names that is most like `text`; NULL where none is. */
const char *lm_nearest(const char *text, const char *const *names, int count);
/* Whether a word is one of "a|b|c". */
bool lm_has_word(const char *words, const char *word);

#endif
