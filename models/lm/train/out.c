/* The folder of a run, before it begins: whether it may be written to, or a new one. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

bool lm_out_name(lm_trainer *t) {
    const char *out = t->set.out;
    if (!out) return true;
    t->last = lm_path_in(out, "last.safetensors", t->arena, NULL);
    t->best = lm_path_in(out, "best.safetensors", t->arena, NULL);
    t->tokens = lm_path_in(out, "tokens.bin", t->arena, NULL);
    t->unfinished = lm_path_in(out, "tokens.bin.tmp", t->arena, NULL);
    return t->last && t->best && t->tokens && t->unfinished;
}

/* Makes the folders above a file; `path` is changed only on the way. */
static bool make_folders(lm_trainer *t, char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const bool made = mkdir(path, 0777) == 0, ok = made || errno == EEXIST;
        *slash = '/';
        if (!ok) return false;
        t->made += made;
    }
    return true;
}

/* What is taken away, files while the folder is locked and folders when the lock's file is gone, too. A handler of a
 * signal may call both: the system's functions in them are those that may be called there. */
static void remove_tokens(const lm_trainer *t) {
    struct stat s;
    if (t->lock.fd < 0) return;
    if (lstat(t->unfinished, &s) == 0 && S_ISREG(s.st_mode)) unlink(t->unfinished);
    if (t->made > 0) unlink(t->tokens);
}
static void remove_folders(const lm_trainer *t) {
    char path[PATH_MAX];
    const char *out = t->set.out ? t->set.out : "";
    size_t length = strlen(out);
    if (length >= sizeof path) return;
    for (int left = t->made; left > 0; left--) {
        while (length > 1 && out[length - 1] == '/') length--;
        memcpy(path, out, length);
        path[length] = '\0';
        if (rmdir(path) != 0) return;
        while (length > 0 && out[length - 1] != '/') length--;
    }
}

/* Whether nothing is lost with a file: a run that is killed before its first checkpoint leaves empty ones. */
static bool is_empty(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == 0;
}

/* No other run's files may be in the folder. */
static int check_unused(lm_trainer *t) {
    static const char *const names[] = {"last.safetensors", "best.safetensors", "log.csv", "samples.txt"};
    const lm_model *model = t->instance.model;
    const char *out = t->set.out;
    tensor_error err = {0};
    for (int i = 0; i < 4; i++) {
        const char *path = lm_path_in(out, names[i], t->arena, &err);
        const lm_place place = path ? lm_place_of(path, &err) : LM_UNKNOWN;
        if (place == LM_UNKNOWN) return lm_fail(model, "%s", err.text);
        if (place == LM_NOTHING || is_empty(path)) continue;
        return lm_fail(
            model,
            "%s is there from another run; choose another --out, overwrite it with --force, or go on "
            "with it: --resume %s",
            path, out);
    }
    return LM_DONE;
}

int lm_out_prepare(lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const char *out = t->set.out;
    tensor_error err = {0};
    if (!out) return LM_DONE;
    char *path = lm_path_in(out, "", t->arena, NULL);
    if (!path) return lm_fail(model, "out of memory");
    if (!make_folders(t, path)) return lm_fail(model, "%s: cannot be made: %s", out, strerror(errno));
    const lm_place place = lm_place_of(out, &err);
    if (place == LM_UNKNOWN) return lm_fail(model, "%s", err.text);
    if (place != LM_FOLDER) return lm_fail(model, "%s: not a directory", out);
    if (access(out, W_OK | X_OK) != 0)
        return lm_fail(model, "%s: cannot be written to: %s", out, strerror(errno));
    if (t->lock.fd < 0 && !lm_run_lock(&t->lock, out, t->arena, &err)) return lm_fail(model, "%s", err.text);
    return t->set.force || t->set.resume ? LM_DONE : check_unused(t);
}

/* mkdir sees to it that two runs never get the same one. */
int lm_out_make(lm_trainer *t) {
    enum { ROOM = 64 };
    const lm_model *model = t->instance.model;
    if (t->set.out || t->keeps_nothing) return LM_DONE;
    char *out = tensor_arena_alloc(t->arena, ROOM, NULL);
    if (!out) return lm_fail(model, "out of memory");
    const bool first = mkdir("runs", 0777) == 0;
    bool made = first || errno == EEXIST, found = false;
    t->made += first;
    for (int n = 1; made && !found; n++) {
        snprintf(out, ROOM, "runs/%.40s-%d", model->name, n);
        found = mkdir(out, 0777) == 0;
        made = found || errno == EEXIST;
    }
    t->made += found;
    if (!made)
        return lm_fail(
            model,
            "no folder for the run can be made in ./runs: %s; name one with --out, or keep nothing with "
            "--out none",
            strerror(errno));
    t->set.out = out;
    return lm_out_name(t) ? lm_out_prepare(t) : lm_fail(model, "out of memory");
}

void lm_out_remove(lm_trainer *t) {
    remove_tokens(t);
    lm_run_unlock(&t->lock);
    remove_folders(t);
    t->made = 0;
}

/* ---- A signal before the first iteration ------------------------------------------------------------------- */

static struct {
    const lm_trainer *trainer;
    char line[160];
} waiting;

/* The signal then ends the program, as its action is the default again. */
static void abandon(int signal) {
    (void)!write(STDERR_FILENO, waiting.line, strlen(waiting.line));
    remove_tokens(waiting.trainer);
    if (waiting.trainer->lock.fd >= 0)
        unlink(waiting.trainer->lock.path); /* the lock itself ends with the program */
    remove_folders(waiting.trainer);
    raise(signal);
}

void lm_out_guard(const lm_trainer *t) {
    struct sigaction new = {.sa_handler = abandon, .sa_flags = (int)SA_RESETHAND}, old;
    sigemptyset(&new.sa_mask);
    waiting.trainer = t;
    snprintf(waiting.line, sizeof waiting.line, "%s%.32s: interrupted before the first iteration; %s\n",
             lm_is_terminal(STDERR_FILENO) ? "\r\033[K" : "", t->instance.model->name,
             t->set.resume ? "the run is as it was" : "nothing was saved");
    for (int i = 0; i < LM_SIGNALS; i++)
        if (sigaction(lm_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(lm_signals[i], &new, NULL);
}

void lm_out_unguard(void) {
    struct sigaction old;
    for (int i = 0; i < LM_SIGNALS; i++)
        if (sigaction(lm_signals[i], NULL, &old) == 0 && old.sa_handler == abandon)
            signal(lm_signals[i], SIG_DFL);
}

bool lm_out_forget(const lm_trainer *t, tensor_error *err) {
    if (!t->set.out || t->set.resume || unlink(t->best) == 0 || errno == ENOENT) return true;
    return tensor_fail(err, "%.150s: cannot be removed: %s", t->best, strerror(errno));
}
