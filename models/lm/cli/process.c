/* What the system gives a program when it begins. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "models/lm/cli/process.h"

static bool open_streams(tensor_error *err) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return tensor_fail(err, "a standard stream is closed, and /dev/null cannot take its place");
    }
    return true;
}

/* The stack of the first thread grows up to its limit, and a signal ends what grows beyond. */
static bool make_stack(tensor_error *err) {
    enum { NEEDED = 1 << 20 };
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) != 0 || stack.rlim_cur >= NEEDED) return true;
    const unsigned long long kib = stack.rlim_cur / 1024;
    stack.rlim_cur = NEEDED;
    return setrlimit(RLIMIT_STACK, &stack) == 0 ||
           tensor_fail(err, "a stack of %llu KiB is too small; %d are needed, such as ulimit -s gives", kib,
                       NEEDED / 1024);
}

bool lm_process_begin(tensor_error *err) {
    signal(SIGPIPE, SIG_DFL);
#ifdef SIGXFSZ
    signal(SIGXFSZ, SIG_IGN);
#endif
    return open_streams(err) && make_stack(err);
}
