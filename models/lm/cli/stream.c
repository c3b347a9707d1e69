/* Streams that lose nothing in silence. */
#include <errno.h>
#include <string.h>

#include "models/lm/cli/cli.h"

bool lm_flush(FILE *file, tensor_error *err) {
    errno = 0;
    if (fflush(file) == 0 && !ferror(file)) return true;
    return tensor_fail(err, "cannot write to standard output: %s",
                       errno ? strerror(errno) : "some of it was lost");
}
