#include "benches/peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: the program, with the ends of the pipes that are its own. */
static void become(const int ends[2], const char *python, const char *script, const char *argument) {
    dup2(ends[0], STDIN_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    const int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    execlp(python, python, "-B", script, argument, (char *)NULL);
    _exit(127);
}

/* Pipes whose ends no later program inherits. */
static bool open_pipes(int down[2], int up[2]) {
    if (pipe(down) != 0) return false;
    if (pipe(up) != 0) {
        close(down[0]);
        close(down[1]);
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(down[i], F_SETFD, FD_CLOEXEC);
        fcntl(up[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

bool peer_begin(peer *p, const char *python, const char *script, const char *argument) {
    int down[2], up[2];
    *p = (peer){.process = -1};
    if (!open_pipes(down, up)) return false;
    signal(SIGPIPE, SIG_IGN); /* where the program has ended, writing fails instead */
    fflush(NULL);
    p->process = fork();
    if (p->process == 0) become((int[]){down[0], up[1]}, python, script, argument);
    close(down[0]);
    close(up[1]);
    p->to = fdopen(down[1], "w");
    p->from = fdopen(up[0], "r");
    if (p->process > 0 && p->to && p->from && fgets(p->name, sizeof p->name, p->from)) {
        p->name[strcspn(p->name, "\n")] = '\0';
        return true;
    }
    peer_end(p);
    return false;
}

double peer_ask(peer *p, const char *question) {
    char answer[64], *end = answer;
    if (!p->to || fprintf(p->to, "%s\n", question) < 0 || fflush(p->to) != 0) return -1;
    if (!fgets(answer, sizeof answer, p->from)) return -1;
    const double seconds = strtod(answer, &end);
    return end > answer ? seconds : -1;
}

void peer_end(peer *p) {
    if (p->to) fclose(p->to);
    if (p->from) fclose(p->from);
    if (p->process > 0) waitpid(p->process, NULL, 0);
    *p = (peer){.process = -1};
}
