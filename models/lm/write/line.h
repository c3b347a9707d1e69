/* A line that a person types at a terminal, with editing and history. */
#ifndef SAMPO_LM_LINE_H
#define SAMPO_LM_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { LM_MAX_HISTORY = 200 };

/* Initialise with {0}. */
typedef struct lm_line {
    char *text; /* ended by NUL */
    size_t size, capacity, at;
    char *history[LM_MAX_HISTORY]; /* the oldest first */
    int count, shown;              /* shown == count: the new line */
    char *draft;                   /* the new line while another is shown */
    const char *prompt;
} lm_line;

/* Whether standard input and output are a terminal on which a line can be edited. */
bool lm_line_is_possible(void);
/* Lets a person edit a line behind the prompt. Returns its length, and *line and *room as getline does, with a newline
 * at its end; -1: the input has ended (Ctrl-D), and errno is 0, or errno says what failed. Ctrl-C begins a
 * fresh line. The terminal is as before, also where a signal ends the program meanwhile. */
ssize_t lm_line_read(lm_line *l, const char *prompt, char **line, size_t *room);
void lm_line_free(lm_line *l);

/* ---- Keys (keys.c) ------------------------------------------------------------------------------- */

#define LM_CTRL(letter) ((letter)-0x40)
enum {
    LM_KEY_RUBOUT = 0x7f,
    LM_KEY_DELETE = 0x100,
    LM_KEY_TEXT, /* a character */
    LM_KEY_NONE, /* of no meaning */
    LM_KEY_END   /* of the input; or a fault, which errno tells */
};

/* From the first to the second, standard input gives keys unseen. Signals that end the program restore it first. */
bool lm_keys_begin(void);
void lm_keys_end(void);
/* A control character, which cursor keys become too, or one of the above; the character of LM_KEY_TEXT into `text`. */
int lm_keys_read(char text[5]);

#endif
