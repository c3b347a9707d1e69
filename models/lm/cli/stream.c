/* Streams that lose nothing in silence. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/cli/process.h"

bool lm_flush(FILE *file, tensor_error *err) {
    errno = 0;
    if (fflush(file) == 0 && !ferror(file)) return true;
    return tensor_fail(err, "cannot write to standard output: %s",
                       errno ? strerror(errno) : "some of it was lost");
}

bool lm_sheet_open(lm_sheet *sheet, tensor_error *err) {
    *sheet = (lm_sheet){0};
    sheet->file = open_memstream(&sheet->text, &sheet->size);
    return sheet->file || tensor_fail(err, "out of memory");
}

bool lm_sheet_close(lm_sheet *sheet, tensor_error *err) {
    if (!sheet->file) return false;
    const bool written = fflush(sheet->file) == 0 && !ferror(sheet->file);
    const bool whole = fclose(sheet->file) == 0 && written && sheet->text;
    sheet->file = NULL;
    if (whole) return true;
    free(sheet->text);
    *sheet = (lm_sheet){0};
    return tensor_fail(err, "out of memory");
}
