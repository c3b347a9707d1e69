/* The commands, in this process, where memory is out or an operation on a file fails at any moment: each ends with status
 * 0 or 1, with a line that says why, and in the end as if nothing had been. What stands on the disk then is
 * tests/faults/inject.py's. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/lm.h"
#include "tests/starve.h"

enum { MOST_WORDS = 40, PATH = 256, SAID = 4096 };

static char folder[64];

static char *in_folder(const char *name, char path[PATH]) {
    snprintf(path, PATH, "%s/%s", folder, name);
    return path;
}

static void empty(const char *path) {
    DIR *all = opendir(path);
    if (!all) return;
    for (const struct dirent *entry; (entry = readdir(all));) {
        char name[2 * PATH];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (unlink(name) != 0) {
            empty(name);
            rmdir(name);
        }
    }
    closedir(all);
}

static void copy_file(const char *from, const char *to) {
    char bytes[1 << 14];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    cr_assert(in && out);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, in)) > 0;) cr_assert_eq(fwrite(bytes, 1, n, out), n);
    fclose(in);
    cr_assert_eq(fclose(out), 0);
}

/* A folder of files alone. */
static void copy_folder(const char *from, const char *to) {
    DIR *all = opendir(from);
    cr_assert(all);
    mkdir(to, 0700);
    empty(to);
    for (const struct dirent *entry; (entry = readdir(all));) {
        char names[2][2 * PATH];
        if (entry->d_name[0] == '.') continue;
        snprintf(names[0], sizeof names[0], "%s/%s", from, entry->d_name);
        snprintf(names[1], sizeof names[1], "%s/%s", to, entry->d_name);
        copy_file(names[0], names[1]);
    }
    closedir(all);
}

/* In memory where Linux has that, as files are synced. What is printed is nowhere, what is said in a file. */
static void setup(void) {
    char path[PATH];
    snprintf(folder, sizeof folder, "%s/sampo-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert(mkdtemp(folder));
    FILE *text = fopen(in_folder("text", path), "w");
    cr_assert(text);
    for (int i = 0; i < 20; i++) fprintf(text, "the cat sat on the mat, number %d\n", i);
    cr_assert_eq(fclose(text), 0);
    const int null = open("/dev/null", O_WRONLY),
              said = open(in_folder("said", path), O_RDWR | O_CREAT | O_APPEND, 0600);
    cr_assert(dup2(null, STDOUT_FILENO) >= 0 && dup2(said, STDERR_FILENO) >= 0);
    cr_assert(setenv("TMPDIR", folder, 1) == 0 && chdir(folder) == 0);
}

static void teardown(void) {
    cr_expect_eq(chdir("/"), 0);
    empty(folder);
    rmdir(folder);
}

TestSuite(commands, .init = setup, .fini = teardown, .timeout = 120);

/* Runs a command line with call number n of a kind failing, 0: none; `said` receives what it says, *reached whether there
 * were so many. */
static int run(const char *line, fault_kind kind, int64_t n, char said[SAID], bool *reached) {
    char words[1024], *argv[MOST_WORDS + 1] = {0};
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word && argc < MOST_WORDS; word = strtok(NULL, " "))
        argv[argc++] = word;
    cr_assert_eq(ftruncate(STDERR_FILENO, 0), 0);
    const int64_t before = fault_calls(kind);
    fault_inject(kind, n, 0);
    const int status = lm_main(lm_program(), argc, argv);
    *reached = fault_calls(kind) - before >= n;
    fault_inject(kind, 0, 0);
    clearerr(stdout);
    const ssize_t size = pread(STDERR_FILENO, said, SAID - 1, 0);
    said[size > 0 ? size : 0] = '\0';
    return status;
}

/* Of one shape, which a step takes no time with. */
#define SHAPE                                                                                                \
    " --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 1 --eval-every 1 --sample-tokens " \
    "4"
#define TRAIN "gpt train --data text --threads 1" SHAPE

/* A command, and what it reads: standard input, and a folder that is copied to `run` before each. */
typedef struct scenario {
    const char *line, *input, *before;
} scenario;

static int begin_and_run(const scenario *s, fault_kind kind, int64_t n, char said[SAID], bool *reached) {
    if (s->before)
        copy_folder(s->before, "run");
    else
        empty("run");
    if (s->input) cr_assert(freopen(s->input, "r", stdin));
    return run(s->line, kind, n, said, reached);
}

/* The next of the calls that fail: each of the first, then ever fewer, as what repeats is alike. */
static int64_t next_call(int64_t n) {
    return n + 1 + n / 12;
}

static void starve_command(const scenario *s, fault_kind kind) {
    char said[SAID];
    int64_t failures = 0;
    bool reached = true;
    for (int64_t n = 1; reached; n = next_call(n)) {
        const int status = begin_and_run(s, kind, n, said, &reached);
        failures += status != LM_DONE;
        if (status != LM_DONE && (status != LM_FAILED || !reached || !strchr(said, '\n')))
            cr_expect_fail("%s: kind %d, call %lld: status %d, '%s'", s->line, (int)kind, (long long)n,
                           status, said);
    }
    cr_expect_gt(failures, 0, "%s: nothing fails", s->line);
}

static void starve_each(int count, const scenario *scenarios) {
    for (int i = 0; i < count; i++)
        for (int kind = 0; kind < FAULT_KINDS; kind++) starve_command(&scenarios[i], (fault_kind)kind);
}
#define STARVE(list) starve_each(sizeof(list) / sizeof *(list), list)

static void make(const char *line) {
    char said[SAID];
    bool reached;
    cr_assert_eq(run(line, FAULT_FILE, 0, said, &reached), LM_DONE, "%s: %s", line, said);
}

Test(commands, training) {
    on_one_instruction_set();
    static const scenario list[] = {
        {TRAIN " --iters 2 --out run", NULL, NULL},
        {TRAIN " --iters 2 --out run --tokenizer bpe --vocab-size 260 --optimizer muon --average 1", NULL,
         NULL},
        {"gpt train --data - --threads 1 --iters 1 --prior 3 --out run" SHAPE, "text", NULL},
        {"gpt train --resume run --iters 3 --threads 1", NULL, "made"}};
    make(TRAIN " --iters 2 --out made");
    STARVE(list);
}

Test(commands, writing) {
    on_one_instruction_set();
    static const scenario list[] = {
        {"gpt sample run --tokens 6 --samples 3 --prompt the --threads 1", NULL, "counted"},
        {"gpt sample run --tokens 6 --prompt - --threads 1 --stop m", "text", "made"},
        {"gpt sample run --tokens 2 --interactive --threads 1", "text", "made"},
        {"gpt eval run --threads 1", NULL, "counted"},
        {"gpt export run out --force", NULL, "made"},
        {"gpt export run --gguf out/model.gguf --force", NULL, "made"},
        {"gpt quantize run --out out/small.safetensors --force", NULL, "counted"}};
    make(TRAIN " --iters 2 --out made --tokenizer bpe --vocab-size 260");
    make(TRAIN " --iters 2 --out counted --tokenizer bpe --vocab-size 260 --prior 2");
    mkdir("out", 0700);
    STARVE(list);
}

Test(commands, looking) {
    on_one_instruction_set();
    static const scenario list[] = {
        {"gpt info run", NULL, "made"},
        {"gpt info run --json", NULL, "made"},
        {"gpt plot run --svg out/loss.svg", NULL, "made"},
        {"gpt report run --html out/page.html --threads 1", NULL, "made"},
        {"gpt report run made --html out/page.html --threads 1", NULL, "made"},
        {"gpt info " SAMPO_FIXTURES "/gpt2", NULL, "made"},
        {"gpt eval " SAMPO_FIXTURES "/gpt2 --data text --threads 1", NULL, "made"}};
    make(TRAIN " --iters 2 --out made");
    mkdir("out", 0700);
    STARVE(list);
}

/* ---- What they say ------------------------------------------------------------------------------------------ */

/* A whole file as a string. */
static char *slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    char *text = calloc(1, 1 << 22);
    cr_assert(text && fread(text, 1, (1 << 22) - 1, file) > 0);
    fclose(file);
    return text;
}

static void expect_in(const char *path, const char *const *texts) {
    char *all = slurp(path);
    for (; *texts; texts++) cr_expect(strstr(all, *texts), "%s: there is no '%s'", path, *texts);
    free(all);
}

/* A text of the Kalevala's length and characters stands for it: the page puts the published figures beside the run's. A
 * resumed run has both commands. */
Test(commands, a_page_beside_the_published_figures) {
    on_one_instruction_set();
    static const char all[] = "\n !\"'*,-.:;?AEHIJKLMNOPRSTUVYadeghijklmnoprstuvy\u00c4\u00e4\u00f6";
    enum { CHARACTERS = 545594, KINDS = sizeof all - 1 - 3 };
    FILE *text = fopen("kalevala", "w");
    cr_assert(text && fputs(all, text) >= 0);
    for (int i = KINDS; i < CHARACTERS; i++) fputc("aek \n"[i % 5], text);
    cr_assert_eq(fclose(text), 0);
    make("gpt train --data kalevala --iters 1 --batch 1 --eval-batches 1 --sample-tokens 4 --threads 1 --out "
         "made");
    make("gpt train --resume made --iters 2 --threads 1");
    make("gpt report made --html page.html --threads 1");
    expect_in("page.html",
              (const char *const[]){"Beside the published figures", ">1.479<", "this run, iteration ",
                                    "gpt train --resume made --iters 2", ">the last one<", NULL});
}

/* A piece of a character, which is no UTF-8, stands in hexadecimal digits. */
Test(commands, a_page_of_bytes) {
    on_one_instruction_set();
    FILE *text = fopen("bytes", "w");
    cr_assert(text);
    for (int i = 0; i < 60; i++) fputs("\u00e4\u00f6 \u00c4iti\t", text);
    cr_assert_eq(fclose(text), 0);
    make("gpt train --data bytes --tokenizer byte --iters 1 --threads 1 --out made" SHAPE);
    make("gpt report made --html page.html --threads 1 --prompt \u00e4\u00f6\u00e4");
    expect_in("page.html", (const char *const[]){"C3", "A4", "B6", NULL});
}

/* A curve of more points than it keeps has a band from the lowest to the highest; what is not finite is left out. */
Test(commands, a_long_log) {
    on_one_instruction_set();
    enum { ROWS = 20000 };
    char said[SAID];
    bool reached;
    cr_assert_eq(mkdir("run", 0700), 0);
    FILE *log = fopen("run/log.csv", "w");
    cr_assert(log && fputs("iteration,loss\n", log) >= 0);
    for (int i = 0; i < ROWS; i++) fprintf(log, i == 7 ? "%d,nan\n" : "%d,%d.5\n", i, i % 4 + 1);
    cr_assert_eq(fclose(log), 0);
    cr_expect_eq(run("gpt plot run --svg loss.svg", FAULT_FILE, 0, said, &reached), LM_DONE);
    cr_expect(strstr(said, "run/log.csv: 1 number is not finite and left out"), "%s", said);
    expect_in("loss.svg", (const char *const[]){"class=\"band c0\"", NULL});
}

Test(commands, refusals) {
    on_one_instruction_set();
    static const struct {
        const char *line, *text;
    } list[] = {
        {"gpt export made model.gguf", "--gguf model.gguf writes a file for llama.cpp"},
        {"gpt export made", "where to? A folder for transformers, or --gguf FILE"},
        {"gpt sample made --interactive --prompt x --threads 0", "--threads"},
        {"gpt sample made/config.toml", "config.toml"},
        {"gpt sample made --config nowhere", "nowhere"},
        {"gpt sample made --prompt-file nowhere", "nowhere"},
        {"gpt report made --prompt \u017f", "is not in the checkpoint's vocabulary"},
        {"gpt plot made --svg nowhere/loss.svg", "nowhere/loss.svg"},
        {"gpt quantize made --out made/last.safetensors --force", "made/last.safetensors"},
        {"gpt eval made --data nowhere", "nowhere"},
        {"gpt train --data text --iters 1 --out text", "text"},
        {"gpt train --data text --time 0s", "--time"},
        {"gpt help a b c", "help"},
        {"gpt completion fish", "'fish' is neither bash nor zsh"},
    };
    char said[SAID];
    bool reached;
    make(TRAIN " --iters 1 --out made");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const int status = run(list[i].line, FAULT_FILE, 0, said, &reached);
        cr_expect(status == LM_FAILED || status == LM_BAD_USAGE, "%s: %d", list[i].line, status);
        cr_expect(strstr(said, list[i].text), "%s: %s", list[i].line, said);
    }
}
