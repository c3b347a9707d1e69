/* What the program says about itself: all its commands at once. */
#ifndef SAMPO_LM_MANUAL_H
#define SAMPO_LM_MANUAL_H

#include "models/lm/cli/pages.h"
#include "models/lm/lm.h"

/* A command. A table of them ends with {0}. */
enum { LM_MAX_COMMANDS = 32 };
typedef struct lm_command {
    const char *name;
    int (*run)(const lm_model *model, int argc, char *const *argv);
    const char *help;
    const char *other_names; /* "show|inspect": how other programs call it */
} lm_command;

/* The commands, and what to type first. */
void lm_manual_help(const lm_model *model, const lm_command *commands, FILE *file);
/* A page for man, and a script for bash or zsh, on stdout. The installed names are sampo-gpt for gpt. */
void lm_manual_man(const lm_model *model, const lm_command *commands);
void lm_manual_completion(const lm_model *model, const lm_command *commands, bool zsh);

#endif
