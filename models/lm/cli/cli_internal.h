/* What the files of the command line share. */
#ifndef SAMPO_LM_CLI_INTERNAL_H
#define SAMPO_LM_CLI_INTERNAL_H

#include "models/lm/cli/pages.h"

enum { LM_MAX_NAME = 31, LM_MAX_WORDS = 512, LM_MAX_CHOICES = 64, LM_MAX_OPTIONS = 128 };

/* The i-th word of "a|b|c" and its length; NULL: there are fewer, or no words. */
const char *lm_word(const char *words, int64_t i, int *length);
/* What stands for an option's value: "relu|gelu", "yes|no", "FILE", the names of presets; NULL: nothing says. May use
 * the buffer. */
const char *lm_option_words(const lm_option *option, char buffer[LM_MAX_WORDS]);
/* Whether there is a value that --help shows as the default. */
bool lm_option_has_value(const lm_option *option);
/* Takes the zeros out of the exponent of a number, as people write it: 1e-8 for 1e-08, 1e20 for 1e+20. Returns it. */
char *lm_plain_number(char *text);
/* Reads "yes" or "no". */
bool lm_yes(const char *text, bool *yes, tensor_error *err);

/* The fault of a name that is no option, with the option that it stands for, or why there is none. Returns false. */
bool lm_unknown_option(const lm_usage *usage, const char *name, tensor_error *err);
const lm_option *lm_find_option(const lm_usage *usage, const char *name);

/* Every command has them: --config and --help. They end with {0}. */
extern const lm_option lm_common_options[];
bool lm_option_is_common(const lm_option *option);
/* Whether --resume takes the option: pages mark it with a star. */
bool lm_option_is_free(const lm_option *option);
/* The i-th option of the tables and of the common ones, in the order of groups; NULL after the last. *group is its
 * group. */
const lm_option *lm_option_listed(const lm_usage *usage, int i, lm_group *group);
extern const char *const lm_group_titles[LM_GROUPS];
/* What stands for the value behind the name: "N", "FILE", "relu|gelu", nothing for a flag. Choices of more than `most`
 * bytes become "NAME", and *listed the choices. */
const char *lm_option_value(const lm_option *option, int most, char buffer[LM_MAX_WORDS],
                            const char **listed);
/* The option's text with those choices, if any, and its default. Returns `text`. */
char *lm_option_help(const lm_option *option, const char *listed, char *text, size_t size);

#endif
