/* stat and its kin fill their struct, which clang 14's MemorySanitizer does not know where glibc is 2.33 or newer: linked
 * before glibc's with --wrap. */
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>

#define FILLS(name, first)                                                                                   \
    int __real_##name(first, struct stat *to);                                                               \
    int __wrap_##name(first, struct stat *to);                                                               \
    int __wrap_##name(first at, struct stat *to) {                                                           \
        const int status = __real_##name(at, to);                                                            \
        if (status == 0) __msan_unpoison(to, sizeof *to);                                                    \
        return status;                                                                                       \
    }
FILLS(stat64, const char *)
FILLS(lstat64, const char *)
FILLS(fstat64, int)
