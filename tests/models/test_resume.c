/* Runs that are interrupted and resumed end with the files of one that was not. */
#include "models/lm/train/train.h"
#include "tests/faults.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 16 };

static lm_model model; /* the GPT, whose forward counts its calls and presses Ctrl-C at one of them */
static ag_var *(*real_forward)(const void *, const lm_input *);
static _Atomic long calls;
static long press_at; /* 0: never */
static char folder[64];

static int64_t allocations[2]; /* before calls number 100 and 300 */

static ag_var *forward(const void *self, const lm_input *in) {
    if (++calls == press_at) kill(getpid(), SIGINT); /* threads of the pool take no signals themselves */
    if (calls == 100 || calls == 300) allocations[calls == 300] = fault_calls(FAULT_MEMORY);
    return real_forward(self, in);
}

static void ignore(int signal) { /* Ctrl-C after the loop, in the last sample */
    (void)signal;
}

static const char *in_folder(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/%s", folder, name);
    return path;
}

static void setup(void) {
    snprintf(folder, sizeof folder, "/tmp/sampo-resume-XXXXXX");
    cr_assert(mkdtemp(folder));
    FILE *text = fopen(in_folder("text"), "w");
    for (int i = 0; i < 40; i++) fprintf(text, "number %d sat on the mat, number %d did not\n", i, i * i);
    fclose(text);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = ignore}, NULL);
    int null = open("/dev/null", O_WRONLY);
    cr_assert(dup2(null, STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0);
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_expect_eq(system(command), 0);
}

TestSuite(resume, .init = setup, .fini = teardown, .timeout = 300);

/* Trains with a command line of words; presses Ctrl-C at a call of the model. */
static int train(long press, int threads, const char *line) {
    char text[1024], number[8], *argv[64], *rest = NULL;
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    snprintf(number, sizeof number, "%d", threads);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc++] = "--threads";
    argv[argc++] = number;
    model = *lm_program();
    real_forward = model.forward;
    model.forward = forward;
    calls = 0;
    press_at = press;
    return lm_train_command(&model, argc, argv);
}

/* A short run with all that a step may have, into folder/name. */
static int start(long press, int threads, const char *name, const char *more) {
    char line[1024];
    snprintf(
        line, sizeof line,
        "--data %s --out %s --iters 7 --eval-every 3 --eval-batches 2 --batch 8 --accumulate 2 --context 16 "
        "--layers 1 --heads 2 --width 8 --dropout 0.2 --schedule cosine --warmup 2 --clip 0.5 --lr 0.03 "
        "--min-lr 0.001 --decay-on matrices --sample-tokens 5 %s",
        in_folder("text"), in_folder(name), more);
    return train(press, threads, line);
}

static int resume(long press, int threads, const char *name, const char *more) {
    char line[1024];
    snprintf(line, sizeof line, "--resume %s %s", in_folder(name), more);
    return train(press, threads, line);
}

/* A file as a text; log.csv without its columns of tokens/s and of seconds, which are a matter of the clock. */
static size_t contents(const char *run, const char *name, char *bytes) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", in_folder(run), name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    size_t size = fread(bytes, 1, MAX_FILE - 1, file);
    fclose(file);
    cr_assert(size < MAX_FILE - 1);
    if (strcmp(name, "log.csv") != 0) return size;
    size_t kept = 0;
    for (size_t i = 0, column = 0; i < size; i++) {
        column = bytes[i] == '\n' ? 0 : column + (bytes[i] == ',');
        if (column != 4 && column != 7) bytes[kept++] = bytes[i];
    }
    return kept;
}

static bool same(const char *run, const char *other, const char *name) {
    static char a[MAX_FILE], b[MAX_FILE];
    size_t size = contents(run, name, a);
    return contents(other, name, b) == size && memcmp(a, b, size) == 0;
}

static void expect_same_run(const char *run, const char *other, long at) {
    static const char *const names[] = {"last.safetensors", "best.safetensors", "log.csv", "samples.txt"};
    for (int i = 0; i < 4; i++)
        cr_expect(same(run, other, names[i]), "%s, interrupted at call %ld", names[i], at);
}

Test(resume, from_every_point) {
    cr_assert_eq(start(0, 1, "whole", ""), LM_DONE);
    const long all = calls;
    cr_assert_gt(all, 60);
    int interrupted = 0;
    for (long at = 1; at <= all; at++) {
        int status = start(at, 1 + (int)(at % 3), "part", "--force");
        cr_assert(status == LM_DONE || status == LM_SIGNALLED + SIGINT, "%d", status);
        interrupted += status != LM_DONE;
        if (status != LM_DONE) cr_assert_eq(resume(0, 1 + (int)(at / 3 % 3), "part", ""), LM_DONE);
        expect_same_run("part", "whole", at);
    }
    cr_expect_gt(interrupted, 40);
}

/* The precision stays with the run: part of it in another would end with other bytes. */
Test(resume, in_bfloat16) {
    cr_assert_eq(start(0, 1, "float32", ""), LM_DONE);
    cr_assert_eq(start(0, 1, "whole", "--precision bf16"), LM_DONE);
    cr_expect_not(same("whole", "float32", "last.safetensors"));
    int interrupted = 0;
    for (long at = 15; at <= 60; at += 15) {
        const int status = start(at, 2, "part", "--force --precision bf16");
        interrupted += status != LM_DONE;
        if (status != LM_DONE) cr_assert_eq(resume(0, 1, "part", ""), LM_DONE);
        expect_same_run("part", "whole", at);
    }
    cr_expect_gt(interrupted, 1);
}

/* What was counted, and the tables, come back. */
Test(resume, with_counts_and_tables) {
    static const char options[] = "--prior 3 --gram-rows 100 --value-rows 50 --final-norm yes";
    char forced[128];
    snprintf(forced, sizeof forced, "--force %s", options);
    cr_assert_eq(start(0, 1, "whole", options), LM_DONE);
    int interrupted = 0;
    for (long at = 15; at <= 60; at += 15) {
        const int status = start(at, 2, "part", forced);
        interrupted += status != LM_DONE;
        if (status != LM_DONE) cr_assert_eq(resume(0, 1, "part", ""), LM_DONE);
        expect_same_run("part", "whole", at);
    }
    cr_expect_gt(interrupted, 1);
}

/* The momentum of Muon comes back as well, and so do all the rates. */
Test(resume, with_muon) {
    const char *const more =
        "--optimizer muon --muon-lr 0.05 --table-lr 0.02 --cooldown 0.5 --zero-init yes --average 5 --force";
    cr_assert_eq(start(0, 1, "adamw", "--cooldown 0.5 --zero-init yes"), LM_DONE);
    cr_assert_eq(start(0, 1, "whole", more), LM_DONE);
    cr_expect_not(same("whole", "adamw", "last.safetensors"));
    const long all = calls;
    int interrupted = 0;
    for (long at = 1; at <= all; at += 3) {
        const int status = start(at, 1 + (int)(at % 3), "part", more);
        interrupted += status != LM_DONE;
        if (status != LM_DONE) cr_assert_eq(resume(0, 1 + (int)(at / 3 % 3), "part", ""), LM_DONE);
        expect_same_run("part", "whole", at);
    }
    cr_expect_gt(interrupted, 10);
    cr_expect_eq(resume(0, 1, "part", "--optimizer adamw"), LM_BAD_USAGE);
}

/* The model's numbers in a run's last checkpoint; returns how many. */
static size_t weights_of(const char *run, float *weights) {
    char path[128];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/last.safetensors", in_folder(run));
    nn_file *file = nn_file_open(path, NULL);
    cr_assert(file);
    for (int k = 0; k < nn_file_entries(file); k++) {
        const nn_entry *entry = nn_file_at(file, k);
        if (strncmp(entry->name, "optimizer.", 10) == 0) continue;
        memcpy(weights + count, entry->data, entry->bytes);
        count += entry->bytes / sizeof(float);
    }
    nn_file_close(file);
    return count;
}

/* The rate of a schedule is that of each optimizer, and the tables' is a rate by itself. */
Test(resume, rates_of_a_schedule) {
    static float weights[5][MAX_FILE];
    static const char *const more[] = {"--warmup 0", "--warmup 1", "--warmup 0 --optimizer muon",
                                       "--warmup 1 --optimizer muon", "--warmup 0 --table-lr 0.03"};
    size_t count = 0;
    for (int i = 0; i < 5; i++) {
        char line[160], name[16];
        snprintf(line, sizeof line, "--iters 1 --schedule constant --weight-decay 0 --clip 1e9 %s", more[i]);
        snprintf(name, sizeof name, "%d", i);
        cr_assert_eq(start(0, 1, name, line), LM_DONE);
        count = weights_of(name, weights[i]);
    }
    size_t slower[2] = {0}, other = 0;
    for (size_t k = 0; k < count; k++) {
        for (int i = 0; i < 2; i++) slower[i] += weights[2 * i][k] != weights[2 * i + 1][k];
        other += weights[4][k] != weights[0][k];
    }
    cr_expect_eq(slower[1], slower[0],
                 "numbers that a slower step takes elsewhere: %zu with Muon, %zu without", slower[1],
                 slower[0]);
    cr_expect_gt(slower[0], count / 2);
    cr_expect_eq(other, 0);
}

/* The mean is the model, and not what training goes on with. */
Test(resume, with_an_average) {
    static float weights[5][MAX_FILE];
    const char *const more[] = {"--iters 6", "--iters 7", "--iters 7 --average 2", "--iters 9 --average 2"};
    size_t count = 0;
    for (int i = 0; i < 4; i++) {
        char line[128];
        snprintf(line, sizeof line, "--schedule constant --sample-tokens 0 --force %s", more[i]);
        cr_assert_eq(start(0, 1, i == 2 ? "part" : "whole", line), LM_DONE);
        count = weights_of(i == 2 ? "part" : "whole", weights[i]);
    }
    cr_assert_gt(count, 100);
    for (size_t k = 0; k < count; k++)
        cr_expect_float_eq((double)weights[2][k], ((double)weights[0][k] + (double)weights[1][k]) / 2, 1e-6);
    cr_assert_eq(resume(0, 1, "part", "--iters 9"), LM_DONE);
    cr_expect_eq(weights_of("part", weights[4]), count);
    cr_expect_eq(memcmp(weights[4], weights[3], count * sizeof(float)), 0, "it begins anew");
}

Test(resume, again_and_again) {
    cr_assert_eq(start(0, 2, "whole", ""), LM_DONE);
    int all = 0;
    for (long stride = 24; stride <= 44; stride++) { /* so many calls that each time a step is done */
        int status = start(stride, 1, "part", "--force"), times = 0;
        for (; status == LM_SIGNALLED + SIGINT && times < 50; times++) status = resume(stride, 2, "part", "");
        cr_assert_eq(status, LM_DONE);
        all += times;
        expect_same_run("part", "whole", stride);
    }
    cr_expect_gt(all, 20);
}

/* Zeros in place of so many tensors of the optimizer, which are the last ones in the file. */
static void forget(const char *run, int count) {
    char path[128];
    static char zeros[1 << 16];
    snprintf(path, sizeof path, "%s/last.safetensors", in_folder(run));
    nn_file *opened = nn_file_open(path, NULL);
    cr_assert(opened);
    size_t bytes = 0;
    for (int i = nn_file_entries(opened) - count; i < nn_file_entries(opened); i++) {
        cr_assert_eq(strncmp(nn_file_at(opened, i)->name, "optimizer.", 10), 0);
        bytes += nn_file_at(opened, i)->bytes;
    }
    cr_assert(bytes > 0 && bytes <= sizeof zeros);
    nn_file_close(opened);
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, -(long)bytes, SEEK_END) == 0 && fwrite(zeros, 1, bytes, file) == bytes);
    fclose(file);
}

Test(resume, needs_the_moments) {
    const char *const more[] = {"", "--optimizer muon --force"};
    const int tensors[] = {2, 1};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(start(0, 1, "whole", more[i]), LM_DONE);
        cr_assert_eq(start(2 * calls / 3, 1, "part", more[i]), LM_SIGNALLED + SIGINT);
        forget("part", tensors[i]);
        cr_assert_eq(resume(0, 1, "part", ""), LM_DONE);
        cr_expect_not(same("part", "whole", "last.safetensors"));
    }
}

Test(resume, a_cold_start_is_another_run) {
    char more[256];
    cr_assert_eq(start(0, 1, "whole", ""), LM_DONE);
    cr_assert_eq(start(2 * calls / 3, 1, "part", ""), LM_SIGNALLED + SIGINT);
    snprintf(more, sizeof more, "--init %s/last.safetensors", in_folder("part"));
    cr_assert_eq(start(0, 1, "cold", more), LM_DONE);
    cr_expect_not(same("cold", "whole", "last.safetensors"));
}

Test(resume, more_iterations) {
    cr_assert_eq(start(0, 1, "long", "--schedule constant --iters 10"), LM_DONE);
    cr_assert_eq(start(2 * calls / 3, 1, "part", "--schedule constant --iters 9"), LM_SIGNALLED + SIGINT);
    cr_assert_eq(resume(0, 1, "part", "--iters 10"), LM_DONE);
    expect_same_run("part", "long", 0);
    cr_assert_eq(resume(0, 1, "part", ""), LM_DONE, "a complete run");
    expect_same_run("part", "long", 0);
    cr_assert_eq(resume(0, 1, "part", "--iters 12"), LM_DONE);
    cr_expect_not(same("part", "long", "last.safetensors"));
}

Test(resume, early_stop_is_the_same_again) {
    const char *const more = "--iters 100 --eval-every 1 --patience 2 --lr 0 --min-lr 0 --weight-decay 0";
    cr_assert_eq(start(0, 1, "whole", more), LM_DONE);
    cr_expect_lt(calls, 200, "100 iterations would be more");
    cr_assert_eq(start(2 * calls / 3, 1, "part", more), LM_SIGNALLED + SIGINT);
    cr_assert_eq(resume(0, 1, "part", ""), LM_DONE);
    expect_same_run("part", "whole", 0);
    cr_assert_eq(resume(0, 1, "part", ""), LM_DONE, "stops at the same report");
    expect_same_run("part", "whole", 0);
}

/* How often a text comes in a run's file. */
static int times(const char *run, const char *name, const char *text) {
    static char bytes[MAX_FILE];
    int count = 0;
    bytes[contents(run, name, bytes)] = '\0';
    for (const char *at = bytes; (at = strstr(at, text)); at++) count++;
    return count;
}

/* A loss that is as low as the best is no better. The last iteration is reported, whatever its number. In the end the log
 * is on the disk, with the row of a last report, too. */
Test(resume, reports_that_count) {
    fault_trace_begin();
    cr_assert_eq(start(0, 1, "still",
                       "--iters 100 --eval-every 1 --eval-batches 0 --patience 2 --lr 0 --min-lr 0 "
                       "--weight-decay 0"),
                 LM_DONE);
    cr_expect_eq(times("still", "samples.txt", "# iteration"), 3);
    const size_t synced = strlen(fault_trace());
    cr_expect(synced < 60 && strcmp(fault_trace() + synced - 3, "dff") == 0, "%s", fault_trace());
    cr_assert_eq(start(0, 1, "eight", "--iters 8"), LM_DONE);
    cr_expect_eq(times("eight", "samples.txt", "# iteration 6,"), 1);
    cr_expect_eq(times("eight", "samples.txt", "# iteration 7,"), 1);
}

/* As many tokens of another text are noticed. */
Test(resume, another_text_is_refused) {
    FILE *other = fopen(in_folder("other"), "w");
    for (int i = 39; i >= 0; i--) fprintf(other, "number %d sat on the mat, number %d did not\n", i, i * i);
    fclose(other);
    cr_assert_eq(start(20, 1, "part", ""), LM_SIGNALLED + SIGINT);
    char line[256];
    snprintf(line, sizeof line, "--data %s", in_folder("other"));
    cr_expect_eq(resume(0, 1, "part", line), LM_FAILED);
    snprintf(line, sizeof line, "--data %s", in_folder("text"));
    cr_expect_eq(resume(0, 1, "part", line), LM_DONE);

    char run[128], tokens[160]; /* nor is it measured in place of the run's own */
    strcpy(run, in_folder("part"));
    snprintf(tokens, sizeof tokens, "%s/tokens.bin", run);
    char *const argv[] = {run};
    cr_assert_eq(unlink(tokens), 0);
    cr_expect_eq(lm_eval_command(lm_program(), 1, argv), LM_DONE);
    cr_assert_eq(rename(in_folder("other"), in_folder("text")), 0);
    cr_expect_eq(lm_eval_command(lm_program(), 1, argv), LM_FAILED);
}

Test(resume, samples_do_not_influence_training) {
    cr_assert_eq(start(0, 1, "with", "--sample-tokens 9"), LM_DONE);
    cr_assert_eq(start(0, 1, "without", "--sample-tokens 0"), LM_DONE);
    cr_expect(same("with", "without", "best.safetensors"));
    cr_expect(same("with", "without", "log.csv"));
}

Test(resume, steps_allocate_nothing) {
    const char *const more[] = {"", "--optimizer muon --table-lr 0.1"};
    for (int i = 0; i < 2; i++) {
        char line[128];
        snprintf(line, sizeof line, "--iters 100 --eval-every 100 --sample-tokens 0 --force %s", more[i]);
        cr_assert_eq(start(0, 1, "run", line), LM_DONE);
        cr_assert(allocations[0] > 10, "the counter does not count");
        cr_expect_eq(allocations[1], allocations[0]);
    }
}

/* Whatever fails while a run is resumed: it is an error, and what the run has is still there to be resumed. */
Test(resume, each_file_operation_can_fail) {
    char copy[256];
    cr_assert_eq(start(0, 1, "whole", ""), LM_DONE);
    cr_assert_eq(start(calls * 3 / 4, 1, "part", ""), LM_SIGNALLED + SIGINT);
    snprintf(copy, sizeof copy, "rm -rf %s && cp -r %s %s", in_folder("try"), in_folder("part"),
             in_folder("try"));
    int64_t n = 1;
    for (bool finished = false; !finished; n++) {
        cr_assert_lt(n, 500);
        cr_assert_eq(system(copy), 0);
        const int64_t before = fault_calls(FAULT_FILE);
        fault_inject(FAULT_FILE, n, 0);
        int status = resume(0, 1, "try", "");
        finished = fault_calls(FAULT_FILE) - before < n;
        fault_inject(FAULT_FILE, 0, 0);
        cr_expect(status == LM_DONE || (status == LM_FAILED && !finished), "operation %d: %d", (int)n,
                  status);
        if (status != LM_DONE) cr_expect_eq(resume(0, 1, "try", ""), LM_DONE, "operation %d", (int)n);
        expect_same_run("try", "whole", (long)n);
    }
    cr_expect_gt(n, 40, "only %d operations were made to fail", (int)n);
}
