#include "sampo/tensor.h"

#include <stdarg.h>

bool tensor_fail(tensor_error *err, const char *format, ...) {
    if (!err || err->text[0]) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}
