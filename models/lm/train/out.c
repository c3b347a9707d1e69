/* The folder of a run, before it begins: whether it may be written to, or a new one. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/train/train_internal.h"

bool lm_out_name(lm_trainer *t) {
    const char *out = t->set.out;
    if (!out) return true;
    t->last = lm_path_in(out, "last.safetensors", t->arena, NULL);
    t->best = lm_path_in(out, "best.safetensors", t->arena, NULL);
    return t->last && t->best;
}

/* Makes the folders above a file; `path` is changed only on the way. */
static bool make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok) return false;
    }
    return true;
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
    if (!make_folders(path)) return lm_fail(model, "%s: cannot be made: %s", out, strerror(errno));
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
    bool made = mkdir("runs", 0777) == 0 || errno == EEXIST;
    for (int n = 1; made && !t->new_folder; n++) {
        snprintf(out, ROOM, "runs/%.40s-%d", model->name, n);
        t->new_folder = mkdir(out, 0777) == 0;
        made = t->new_folder || errno == EEXIST;
    }
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
    if (!t->new_folder) return;
    lm_run_unlock(&t->lock);
    const char *tokens = lm_path_in(t->set.out, "tokens.bin", t->arena, NULL);
    if (tokens) unlink(tokens);
    rmdir(t->set.out);
    rmdir("runs"); /* only where it is empty */
}

bool lm_out_forget(const lm_trainer *t, tensor_error *err) {
    if (!t->set.out || t->set.resume || unlink(t->best) == 0 || errno == ENOENT) return true;
    return tensor_fail(err, "%.150s: cannot be removed: %s", t->best, strerror(errno));
}
