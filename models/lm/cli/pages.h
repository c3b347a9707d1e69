/* What the program prints about its options, and options that files hold. */
#ifndef SAMPO_LM_PAGES_H
#define SAMPO_LM_PAGES_H

#include "models/lm/cli/cli.h"

/* What a command can do and its options: for a terminal as wide as the file's, else 80 columns or $COLUMNS; as a section
 * of a manual page; as a command's part of a script by which bash and zsh complete command lines. */
void lm_options_help(const lm_usage *usage, FILE *file);
void lm_options_man(const lm_usage *usage, FILE *file);
void lm_options_bash(const lm_usage *usage, FILE *file);
void lm_options_zsh(const lm_usage *usage, FILE *file);

/* Parts of such pages: how wide help is for a file; a text in lines of at most `columns`, `indent` spaces before each but
 * the first, which begins at column `used` (a tab is a space that ends no line); for man, a text, a name and its
 * meaning. */
int lm_help_columns(FILE *file);
/* The same for what others may read line by line: there is no limit where the file is no terminal. */
int lm_line_columns(FILE *file);
void lm_wrap(FILE *file, const char *text, int used, int indent, int columns);
void lm_man_text(FILE *file, const char *text);
void lm_man_entry(FILE *file, const char *name, const char *value, const char *text);

/* A command line with the options that --config reads from files, one a line: the same names, before its own words, so
 * that those override them. Returns an exit status, LM_FAILED where it was not the fault of who wrote them; the text
 * names the file and the line. Free it also after a failure. */
typedef struct lm_words {
    char **argv;
    int argc, made; /* the first `made` are its own */
} lm_words;
int lm_config_expand(lm_words *words, int argc, char *const *argv, tensor_error *err);
void lm_words_free(lm_words *words);
/* Whether a word is none, but says where the next stands in a file. */
bool lm_is_place(const char *word);

#endif
