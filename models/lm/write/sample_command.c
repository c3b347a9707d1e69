/* The command `sample`: what it is told, where the prompt comes from, and conversation. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "models/lm/ranks.h"
#include "models/lm/write/line.h"
#include "models/lm/write/write.h"

enum { DEFAULT_PACE = 30, PIECE = 1 << 16 };

/* The length of a line, or a text, without the newline that ends it. */
static size_t without_newline(const char *text, size_t size) {
    if (size == 0 || text[size - 1] != '\n') return size;
    return size - (size > 1 && text[size - 2] == '\r' ? 2 : 1);
}

/* All of a stream, without its byte order mark and its last newline, ended by NUL and to be freed; NULL on failure. */
static char *read_all(FILE *file, tensor_error *err) {
    char *text = NULL;
    size_t size = 0, got;
    errno = 0;
    do {
        char *more = realloc(text, size + PIECE + 1);
        if (!more) {
            free(text);
            tensor_fail(err, "out of memory");
            return NULL;
        }
        text = more;
        got = fread(text + size, 1, PIECE, file);
        size += got;
    } while (got == PIECE);
    if (lm_byte_order_mark(text, size)) memmove(text, text + 3, size -= 3);
    size = without_newline(text, size);
    text[size] = '\0';
    const bool ok = ferror(file) ? tensor_fail(err, "cannot be read: %s", strerror(errno))
                                 : !memchr(text, '\0', size) || tensor_fail(err, "there is a NUL byte in it");
    if (ok) return text;
    free(text);
    return NULL;
}

/* The prompt from standard input or a file; *text is to be freed. False with the fault printed. */
static bool fetch_prompt(const lm_model *model, const char *path, char **text) {
    tensor_error err = {0};
    const bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "r");
    if (!file) {
        lm_fail(model, "%s: cannot be opened: %s", path, strerror(errno));
        return false;
    }
    *text = read_all(file, &err);
    if (!standard) fclose(file);
    if (!*text) lm_fail(model, "%s: %s", standard ? "standard input" : path, err.text);
    return *text;
}

/* ---- Conversation --------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal) {
    (void)signal;
    interrupted = 1;
}

/* From here on Ctrl-C interrupts, and ends nothing, until the signal does again what `before` gets. */
static void catch_interrupts(struct sigaction *before) {
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    interrupted = 0;
    sigaction(SIGINT, &action, before);
}

/* Writes a text that Ctrl-C ends. */
static bool answer(const lm_instance *instance, lm_sampling *sampling) {
    struct sigaction before;
    tensor_error err = {0};
    catch_interrupts(&before);
    const bool ok = lm_sample(instance, sampling, stdout, &err);
    if (!ok) lm_say(instance->model, "%s", err.text);
    sigaction(SIGINT, &before, NULL);
    sampling->number += sampling->samples;
    return ok;
}

/* A line as the terminal gives it. Ctrl-C begins a fresh one. The signal comes only while pselect waits: one that came
 * between a look at a flag and reading would be missed. */
static ssize_t ask(char **line, size_t *room) {
    struct sigaction before;
    sigset_t interrupts, old;
    fd_set input;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupts, &old);
    catch_interrupts(&before);
    do {
        fputs(interrupted ? "\n> " : "> ", stdout);
        fflush(stdout);
        interrupted = 0;
        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
    } while (pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &old) < 0 && errno == EINTR);
    const ssize_t length = getline(line, room, stdin);
    const int fault = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigaction(SIGINT, &before, NULL);
    errno = fault;
    return length;
}

/* A line that the person types; `editor` NULL: as the terminal or a file gives it. Returns its length, without its end;
 * -1 at the end of the input; -2 with the fault printed. */
static ssize_t next_line(const lm_model *model, lm_line *editor, char **line, size_t *room) {
    tensor_error err = {0};
    const bool asks = !editor && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!lm_flush(stdout, &err)) return lm_fail(model, "%s", err.text), -2;
    errno = 0;
    ssize_t length = editor ? lm_line_read(editor, "> ", line, room)
                     : asks ? ask(line, room)
                            : getline(line, room, stdin);
    const int fault = length < 0 && (editor || !feof(stdin) || ferror(stdin)) ? errno : 0;
    if (fault) return lm_fail(model, "standard input: cannot be read: %s", strerror(fault)), -2;
    if (length < 0 && asks) fputc('\n', stdout);
    if (length < 0) return lm_flush(stdout, &err) ? -1 : (lm_fail(model, "%s", err.text), -2);
    length = (ssize_t)without_newline(*line, (size_t)length);
    (*line)[length] = '\0';
    return length;
}

/* The person types a beginning, the model goes on, until the input ends. What cannot be continued is said, and the next
 * line read; the status tells it at the end. */
static int converse(const lm_instance *instance, lm_sampling *sampling) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    lm_line editor = {0};
    bool first = true, all = true;
    const bool edited = lm_line_is_possible();
    sampling->interrupted = &interrupted;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        lm_say(instance->model, "type how a text begins, then Enter; Ctrl-C stops it, Ctrl-D ends");
    while ((length = next_line(instance->model, edited ? &editor : NULL, &line, &room)) >= 0) {
        sampling->prompt = line + (first ? lm_byte_order_mark(line, (size_t)length) : 0);
        first = false;
        all &= answer(instance, sampling);
    }
    free(line);
    lm_line_free(&editor);
    return length == -1 && all ? LM_DONE : LM_FAILED;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* Rank 0's prompt, which the others cannot read from their standard input, and whether all have the same weights. */
static bool compare(const lm_instance *instance, lm_sampling *sampling, char **prompt, tensor_error *err) {
    const nn_world *world = sampling->world;
    size_t size = sampling->prompt ? strlen(sampling->prompt) + 1 : 0;
    if (!nn_params_same(instance->params, world, err) || !nn_world_broadcast(world, &size, sizeof size, err))
        return false;
    if (size == 0) return true;
    char *text = malloc(size);
    if (!text) return tensor_fail(err, "out of memory");
    if (world->rank == 0 && sampling->prompt) memcpy(text, sampling->prompt, size);
    free(*prompt);
    sampling->prompt = *prompt = text;
    return nn_world_broadcast(world, text, size, err);
}

static int sample(const lm_model *model, const char *file, const char *prompt_file, lm_sampling *sampling,
                  bool interactive) {
    tensor_error err = {0};
    lm_ranks ranks;
    lm_instance instance = {0};
    char *prompt = NULL;
    int status = lm_ranks_begin(&ranks, model);
    if (status != LM_DONE) return status;
    sampling->world = &ranks.world;
    if (interactive && ranks.world.size > 1) status = lm_fail(model, "--interactive is for one process");
    if (status == LM_DONE && prompt_file && ranks.world.rank == 0) {
        status = fetch_prompt(model, prompt_file, &prompt) ? LM_DONE : LM_FAILED;
        sampling->prompt = prompt;
    }
    if (status == LM_DONE && !lm_checkpoint_load_compact(&instance, model, file, &err))
        status = lm_fail(model, "%s", err.text);
    status = lm_ranks_agree(&ranks, model, status, NULL, 0);
    if (status == LM_DONE && ranks.world.size > 1 && !compare(&instance, sampling, &prompt, &err))
        status = lm_fail(model, "%s", err.text);
    if (status == LM_DONE && interactive)
        status = converse(&instance, sampling);
    else if (status == LM_DONE && !lm_sample(&instance, sampling, stdout, &err)) {
        status = lm_fail(model, "%s", err.text);
        ranks.lost = ranks.world.size > 1; /* others may wait for this one */
    }
    lm_instance_free(&instance);
    free(prompt);
    return lm_ranks_end(&ranks, status);
}

int lm_sample_command(const lm_model *model, int argc, char *const *argv) {
    lm_sampling sampling = {.tokens = 200,
                            .temperature = 1,
                            .top_p = 1,
                            .repetition_penalty = 1,
                            .repetition_window = 64,
                            .samples = 1,
                            .hop = 1};
    int64_t seed = 1, threads = 0;
    bool watch = false, interactive = false;
    const char *file, *prompt_file = NULL;
    const lm_option options[] = {
        lm_about(LM_ABOUT_DATA, lm_string("prompt", &sampling.prompt, "TEXT",
                                          "Go on from this text; - stands for standard input.")),
        lm_string("prompt-file", &prompt_file, "FILE",
                  "Go on from the text in this file, without its last newline."),
        lm_flag("interactive", &interactive, "Go on from each line that you type, until Ctrl-D."),
        lm_about(LM_ABOUT_WRITING,
                 lm_integer("tokens", &sampling.tokens, 0, 1e12, "Write this many tokens.")),
        lm_string("stop", &sampling.stop, "TEXT", "Stop before this text."),
        lm_integer("samples", &sampling.samples, 1, 1e9, "Write this many texts, all at a time."),
        lm_real(
            "temperature", &sampling.temperature, 0, 1000,
            "How boldly to choose: 0 always takes the likeliest token, 1 follows the model, more is wilder."),
        lm_integer("top-k", &sampling.top_k, 0, LM_MAX_VOCABULARY,
                   "Choose among this many of the likeliest tokens; 0 means all."),
        lm_real("top-p", &sampling.top_p, 1e-9, 1,
                "Choose among the likeliest tokens that together have this probability."),
        lm_real("min-p", &sampling.min_p, 0, 1,
                "Leave out tokens less likely than this share of the likeliest one's probability."),
        lm_real("repetition-penalty", &sampling.repetition_penalty, 0.01, 100,
                "Above 1, tokens that were written lately become less likely."),
        lm_integer("repetition-window", &sampling.repetition_window, 1, LM_MAX_CONTEXT,
                   "The penalty looks back over this many tokens."),
        lm_seed(&seed),
        lm_flag("watch", &watch, "Write at a pace to read along."),
        lm_real("pace", &sampling.pace, 0.1, 1e6,
                "Write this many characters a second; --watch alone means 30."),
        lm_about(LM_ABOUT_RUNNING,
                 lm_integer("hop", &sampling.hop, 1, LM_MAX_CONTEXT,
                            "Move a full context on by this many tokens at a time; more than 1 is faster.")),
        lm_flag("no-cache", &sampling.no_cache, "Compute the whole context anew for each token, to compare."),
        lm_threads(&threads),
        {0}};
    const lm_usage usage = {model->name,
                            "sample",
                            "Writes text with a trained model: a checkpoint, or a run's folder.",
                            "FILE",
                            {options}};
    int status = lm_begin(model, &usage, argc, argv, &file, &threads);
    if (status >= 0) return status;
    if (!!sampling.prompt + !!prompt_file + interactive > 1) {
        lm_say(model, "sample: only one of --prompt, --prompt-file and --interactive can be given");
        return LM_BAD_USAGE;
    }
    if (watch && sampling.pace == 0) sampling.pace = DEFAULT_PACE;
    sampling.seed = (uint64_t)seed;
    if (sampling.prompt && strcmp(sampling.prompt, "-") == 0) prompt_file = sampling.prompt;
    return sample(model, file, prompt_file, &sampling, interactive);
}
