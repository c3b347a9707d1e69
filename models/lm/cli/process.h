/* How a program begins and ends: exit statuses, and streams that lose nothing in silence. */
#ifndef SAMPO_LM_PROCESS_H
#define SAMPO_LM_PROCESS_H

#include <stdbool.h>
#include <stdio.h>

#include "sampo/tensor.h"

/* Exit statuses. */
enum {
    LM_DONE = 0,
    LM_FAILED = 1,
    LM_BAD_USAGE = 2,
    LM_SIGNALLED = 128 /* and its number */
};

/* What programs begin with. A standard stream that is closed becomes one that fails, so that no file takes its number
 * and gets what is printed. A file that grows beyond its limit is an error of writing, and no signal; a closed pipe ends
 * the program quietly (`gpt sample | head`), also where the parent ignores its signal. The stack is as large as the
 * library wants it. False where that cannot be done. */
bool lm_process_begin(tensor_error *err);
/* Flushes a stream; fails where anything written to it was lost. */
bool lm_flush(FILE *file, tensor_error *err);

/* A stream into memory. Closed, it has left `size` bytes of text and a NUL, to be freed; where there was not memory
 * enough it has left nothing: NULL, 0 and false. libc's own streams of that kind say nothing then. */
typedef struct lm_sheet {
    FILE *file; /* NULL: not open */
    char *text;
    size_t size;
} lm_sheet;
bool lm_sheet_open(lm_sheet *sheet, tensor_error *err);
bool lm_sheet_close(lm_sheet *sheet, tensor_error *err);

#endif
