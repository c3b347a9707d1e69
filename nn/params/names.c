/* Patterns of names. */
#include <string.h>

#include "nn/params/params.h"

/* Whether a name fits the pattern begin..end-1. */
static bool fits(const char *begin, const char *end, const char *name) {
    for (; begin < end && *begin != '*'; begin++, name++)
        if (*name != *begin) return false;
    if (begin == end) return !*name;
    for (;; name++) { /* what * stands for ends here, or later */
        if (fits(begin + 1, end, name)) return true;
        if (!*name) return false;
    }
}

bool nn_name_fits(const char *patterns, const char *name) {
    for (const char *begin = patterns ? patterns : "", *end; *begin; begin = end + (*end == ' ')) {
        end = begin + strcspn(begin, " ");
        if (fits(begin, end, name)) return true;
    }
    return false;
}
