/* run.txt in a run's folder: a paragraph each time that training starts, for whoever asks later how the run was made. The
 * checkpoints know nothing of it: their bytes do not depend on when, where or how often a run was interrupted. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "models/lm/cli/pages.h"
#include "models/lm/train/train_internal.h"

/* A word of a command line as a shell reads it; control characters are made visible. */
static void write_word(FILE *file, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:+@%";
    const bool quoted = !*word || word[strspn(word, plain)];
    fputs(quoted ? " '" : " ", file);
    for (const char *c = word; *c; c++) {
        if (*c == '\'')
            fputs("'\\''", file);
        else
            fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, file);
    }
    if (quoted) fputc('\'', file);
}

/* The processor's name, as far as the system tells it. */
static void write_processor(FILE *file) {
    static const char key[] = "model name";
    char line[256] = "";
    struct utsname system;
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info && fgets(line, sizeof line, info) && strncmp(line, key, sizeof key - 1) != 0) line[0] = '\0';
    if (info) fclose(info);
    const char *name = strchr(line, ':');
    line[strcspn(line, "\n")] = '\0';
    if (name)
        fputs(name + 1 + strspn(name + 1, " \t"), file);
    else
        fputs(uname(&system) == 0 ? system.machine : "unknown", file);
}

static void write_start(FILE *file, const lm_trainer *t) {
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &utc);
    fprintf(file, "started %s\ncommand %s train", date, t->instance.model->name);
    for (int i = 0; i < t->argc; i++)
        if (!lm_is_place(t->argv[i])) write_word(file, t->argv[i]);
    fprintf(file, "\nversion %s\nprocessor ", SAMPO_VERSION);
    write_processor(file);
    fprintf(file, "\nthreads %d\ninstructions %s\n\n", tensor_threads(), tensor_isa());
}

/* Appends the paragraph; what cannot be written whole is taken back. */
static bool append(int fd, const lm_trainer *t) {
    struct stat before;
    FILE *file = fstat(fd, &before) == 0 ? fdopen(fd, "a") : NULL;
    if (!file) return close(fd) == 0 && false;
    write_start(file, t);
    const bool ok = fflush(file) == 0 && !ferror(file);
    const int fault = errno;
    if (!ok) (void)!ftruncate(fd, before.st_size);
    fclose(file);
    errno = fault;
    return ok;
}

bool lm_start_write(const lm_trainer *t, tensor_error *err) {
    const char *path = t->set.out ? lm_path_in(t->set.out, "run.txt", t->arena, err) : NULL;
    if (!path) return !t->set.out;
    const int begin = t->set.resume ? 0 : O_TRUNC;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | begin, 0666);
    if (fd >= 0 && append(fd, t)) return true;
    return tensor_fail(err, "%.150s: cannot be written: %s", path, strerror(errno));
}
