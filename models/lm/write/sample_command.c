/* The command `sample`: what it is told, where the prompt comes from, and conversation. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* The person types a beginning, the model goes on. Ctrl-C ends the text, or the program where there is none under way;
 * the end of the input ends it too. */
static int converse(const lm_instance *instance, lm_sampling *sampling) {
    struct sigaction action = {.sa_handler = interrupt}, before; /* without SA_RESTART: reading ends */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before);
    sampling->interrupted = &interrupted;
    char *line = NULL;
    size_t room = 0;
    int status = -1;
    const bool terminal = isatty(STDIN_FILENO);
    bool first = true;
    while (status < 0) {
        tensor_error err = {0};
        interrupted = 0;
        if (terminal) fputs("> ", stdout);
        if (!lm_flush(stdout, &err)) {
            status = lm_fail(instance->model, "%s", err.text);
            break;
        }
        ssize_t length = getline(&line, &room, stdin);
        if (length < 0) {
            status = interrupted ? 128 + SIGINT : LM_DONE;
            if (terminal) fputc('\n', stdout);
            break;
        }
        line[without_newline(line, (size_t)length)] = '\0';
        sampling->prompt = line + (first ? lm_byte_order_mark(line, (size_t)length) : 0);
        first = false;
        if (!lm_sample(instance, sampling, stdout, &err)) lm_say(instance->model, "%s", err.text);
        if (ferror(stdout)) status = LM_FAILED;
        sampling->number += sampling->samples;
    }
    free(line);
    sigaction(SIGINT, &before, NULL);
    return status;
}

/* ---- The command ---------------------------------------------------------------------------- */

static int sample(const lm_model *model, const char *file, lm_sampling *sampling, bool interactive) {
    tensor_error err = {0};
    lm_instance instance;
    int status = LM_DONE;
    if (!lm_checkpoint_load(&instance, model, file, &err))
        status = lm_fail(model, "%s", err.text);
    else if (interactive)
        status = converse(&instance, sampling);
    else if (!lm_sample(&instance, sampling, stdout, &err))
        status = lm_fail(model, "%s", err.text);
    lm_instance_free(&instance);
    return status;
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
        lm_string("prompt", &sampling.prompt, "TEXT", "what to continue; -: standard input"),
        lm_string("prompt-file", &prompt_file, "FILE", "what to continue, but for its last newline"),
        lm_integer("tokens", &sampling.tokens, 0, 1e12, "how many tokens to write"),
        lm_string("stop", &sampling.stop, "TEXT", "write up to this text"),
        lm_real("temperature", &sampling.temperature, 0, 1000,
                "0: always the likeliest token; higher: bolder"),
        lm_integer("top-k", &sampling.top_k, 0, LM_MAX_VOCABULARY, "choose among the K likeliest; 0: all"),
        lm_real("top-p", &sampling.top_p, 1e-9, 1, "then among the likeliest that together have this share"),
        lm_real("min-p", &sampling.min_p, 0, 1, "and this share of the likeliest one's probability"),
        lm_real("repetition-penalty", &sampling.repetition_penalty, 0.01, 100,
                "above 1: tokens that came lately become less likely"),
        lm_integer("repetition-window", &sampling.repetition_window, 1, LM_MAX_CONTEXT,
                   "lately: among so many"),
        lm_seed(&seed),
        lm_integer("samples", &sampling.samples, 1, 1e9, "how many texts to write, made together"),
        lm_integer("hop", &sampling.hop, 1, LM_MAX_CONTEXT,
                   "tokens by which the window moves, once full; more than 1 is faster"),
        lm_flag("watch", &watch, "write at a pace to read along"),
        lm_real("pace", &sampling.pace, 0.1, 1e6,
                "characters a second, with or without --watch, which takes 30"),
        lm_flag("interactive", &interactive, "continue what is typed, line by line, until Ctrl-D"),
        lm_flag("no-cache", &sampling.no_cache, "compute the whole window for each token, to compare"),
        lm_threads(&threads),
        {0}};
    const lm_usage usage = {model->name, "sample", "Writes text with a checkpoint.", "FILE", {options}};
    int status = lm_begin(model, &usage, argc, argv, &file, &threads);
    if (status >= 0) return status;
    if (!!sampling.prompt + !!prompt_file + interactive > 1) {
        lm_say(model, "sample: only one of --prompt, --prompt-file and --interactive can be given");
        return LM_BAD_USAGE;
    }
    if (watch && sampling.pace == 0) sampling.pace = DEFAULT_PACE;
    sampling.seed = (uint64_t)seed;
    if (sampling.prompt && strcmp(sampling.prompt, "-") == 0) prompt_file = sampling.prompt;
    char *text = NULL;
    if (prompt_file) {
        if (!fetch_prompt(model, prompt_file, &text)) return LM_FAILED;
        sampling.prompt = text;
    }
    status = sample(model, file, &sampling, interactive);
    free(text);
    return status;
}
