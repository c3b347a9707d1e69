/* The end of a process that a test has forked: none of the test's own ends are run, but what was counted is kept. */
#ifndef SAMPO_TESTS_LEAVE_H
#define SAMPO_TESTS_LEAVE_H

#include <unistd.h>

#ifdef SAMPO_COVERAGE
void __gcov_dump(void);
#else
#define __gcov_dump() (void)0
#endif

static inline _Noreturn void leave(int status) {
    __gcov_dump();
    _exit(status);
}

#endif
