/* What lies at a path, and the lock of a run's folder. */
#include "models/lm/files/files.h"
#include "tests/faults.h"
#include "tests/leave.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static tensor_arena *arena;
static tensor_error err;

static const char *in_folder(const char *name) {
    return lm_path_in(folder, name, arena, NULL);
}

static void setup(void) {
    strcpy(folder, "/tmp/sampo-folder-XXXXXX");
    cr_assert(mkdtemp(folder));
    arena = tensor_arena_new(NULL);
    err = (tensor_error){0};
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_expect_eq(system(command), 0);
    tensor_arena_free(arena);
}

TestSuite(folder, .init = setup, .fini = teardown, .timeout = 60);

static void make(const char *name) {
    FILE *file = fopen(in_folder(name), "w");
    cr_assert(file);
    fclose(file);
}

Test(folder, what_lies_at_a_path) {
    make("file");
    cr_assert(symlink("nothing", in_folder("dangling")) == 0 && symlink("loop", in_folder("loop")) == 0);
    cr_expect_eq(lm_place_of(folder, &err), LM_FOLDER);
    cr_expect_eq(lm_place_of(in_folder("file"), &err), LM_FILE);
    cr_expect_eq(lm_place_of(in_folder("nothing"), &err), LM_NOTHING);
    cr_expect_eq(lm_place_of(in_folder("nothing/deep"), &err), LM_NOTHING);
    cr_expect_eq(lm_place_of(in_folder("file/deep"), &err), LM_NOTHING);
    cr_expect_eq(lm_place_of(in_folder("dangling"), &err), LM_NOTHING);
    cr_expect_str_empty(err.text);
    cr_expect_eq(lm_place_of(in_folder("loop"), &err), LM_UNKNOWN);
    cr_expect(strstr(err.text, "loop: cannot be looked at: "), "%s", err.text);
    err = (tensor_error){0};
    fault_inject(FAULT_FILE, 1, 0);
    cr_expect_eq(lm_place_of(in_folder("nothing"), &err), LM_UNKNOWN);
    cr_expect(strstr(err.text, "nothing: cannot be looked at: No space left"), "%s", err.text);
}

/* A process that locks the folder, says so through a pipe and waits. */
static pid_t start_holder(void) {
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        lm_lock lock;
        if (lm_run_lock(&lock, folder, arena, NULL) && write(ready[1], "x", 1) == 1) pause();
        leave(1);
    }
    close(ready[1]);
    cr_assert(child > 0 && read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    return child;
}

Test(folder, is_locked_by_one_process) {
    lm_lock lock;
    char who[128];
    for (int i = 0; i < 3; i++) { /* each leaves a file behind */
        pid_t holder = start_holder();
        err = (tensor_error){0};
        snprintf(who, sizeof who, "%s: process %d is training there", folder, (int)holder);
        cr_expect_not(lm_run_lock(&lock, folder, arena, &err));
        cr_expect(strstr(err.text, who), "%s", err.text);
        cr_expect_eq(lock.fd, -1);
        cr_assert(kill(holder, SIGKILL) == 0 && waitpid(holder, NULL, 0) == holder);
    }
    cr_expect(lm_run_lock(&lock, folder, arena, &err));
    lm_run_unlock(&lock);
    lm_run_unlock(&lock); /* no matter */
    cr_expect_eq(lm_place_of(in_folder(".lock"), &err), LM_NOTHING);
}

/* Several processes that lock and unlock all the time: a file that each writes and reads while it has the lock is never
 * touched by another. */
Test(folder, the_lock_excludes) {
    enum { PROCESSES = 4, TURNS = 300 };
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] != 0) continue;
        for (int done = 0; done < TURNS;) {
            lm_lock lock;
            if (!lm_run_lock(&lock, folder, arena, NULL)) continue;
            if (mkdir(in_folder("busy"), 0777) != 0) leave(1);
            if (rmdir(in_folder("busy")) != 0) leave(2);
            lm_run_unlock(&lock);
            done++;
        }
        leave(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
    }
}

Test(folder, a_lock_that_fails) {
    lm_lock lock;
    for (int n = 1; n <= 2; n++) { /* open, fcntl */
        err = (tensor_error){0};
        fault_inject(FAULT_FILE, n, 0);
        cr_expect_not(lm_run_lock(&lock, folder, arena, &err));
        fault_inject(FAULT_FILE, 0, 0);
        cr_expect(strstr(err.text, "/.lock: cannot be") && strstr(err.text, "No space left"), "%s", err.text);
        cr_expect_eq(lock.fd, -1);
    }
    cr_assert(unlink(in_folder(".lock")) == 0 && symlink("elsewhere", in_folder(".lock")) == 0);
    cr_expect_not(lm_run_lock(&lock, folder, arena, &err));
    cr_expect_eq(lm_place_of(in_folder("elsewhere"), &err), LM_NOTHING);
}
