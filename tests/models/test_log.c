/* log.csv and samples.txt of a run that goes on: what stays of them, and that what is written is there. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "models/lm/train/log.h"
#include "tests/faults.h"

static const lm_model model = {.name = "model"};
static tensor_arena *arena;
static char folder[64], csv[80], samples[80];

static void setup(void) {
    strcpy(folder, "/tmp/sampo-log-XXXXXX");
    arena = tensor_arena_new(NULL);
    cr_assert(arena && mkdtemp(folder));
    snprintf(csv, sizeof csv, "%s/log.csv", folder);
    snprintf(samples, sizeof samples, "%s/samples.txt", folder);
    const int null = open("/dev/null", O_WRONLY); /* what is removed is said */
    cr_assert(dup2(null, STDERR_FILENO) >= 0);
}

static void teardown(void) {
    unlink(csv);
    unlink(samples);
    cr_expect_eq(rmdir(folder), 0, "something was left behind");
    tensor_arena_free(arena);
}

TestSuite(log, .init = setup, .fini = teardown);

static void put(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void expect_file(const char *path, const char *expected) {
    char bytes[512];
    FILE *file = fopen(path, "rb");
    cr_assert(file);
    bytes[fread(bytes, 1, sizeof bytes - 1, file)] = '\0';
    fclose(file);
    cr_expect_str_eq(bytes, expected);
}

/* Files of a run that goes on at an iteration; what becomes of them, or why they are refused. */
typedef struct files {
    const char *rows, *drafts;
    int64_t from;
    const char *rows_after, *drafts_after; /* NULL: they stay, and there is a fault */
    const char *fault;
    size_t size; /* of the rows, where there is a NUL in them */
} files;

#define HEAD "iteration,loss\n"
#define DRAFT "# iteration 0, 3 bytes\nabc\n"

Test(log, goes_on_where_it_is_whole) {
    static const files all[] = {
        {HEAD "0,5\n1,4\n", DRAFT, 2, HEAD "0,5\n1,4\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4", DRAFT, 2, HEAD "0,5\n1,4\n", DRAFT, NULL, 0}, /* an editor took the last newline */
        {HEAD "0,5\n1,4\n", "# iteration 0, 3 bytes\nabc", 2, HEAD "0,5\n1,4\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4\n", DRAFT "# iteration 1, 3 bytes\nde", 2, HEAD "0,5\n1,4\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4\n", DRAFT "# iteration 1, 3 by", 2, HEAD "0,5\n1,4\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4\n", DRAFT "# iteration 1, 0 bytes\n\n", 1, HEAD "0,5\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,", DRAFT, 2, HEAD "0,5\n1,\n", DRAFT, NULL, 0}, /* a loss may be missing */
        {HEAD "0,5\n1", DRAFT, 2, HEAD "0,5\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4\0", DRAFT, 2, HEAD "0,5\n", DRAFT, NULL, sizeof HEAD - 1 + 8},
        {HEAD "0,5\r\n1,4\r\n", DRAFT, 2, HEAD "0,5\r\n1,4\r\n", DRAFT, NULL, 0},
        {HEAD "0,5\n1,4\0\n", DRAFT, 2, NULL, NULL, "line 3 is not a row of this log", sizeof HEAD - 1 + 9},
        {HEAD "0,5\n,4\n", DRAFT, 2, NULL, NULL, "line 3 is not a row of this log", 0},
        {HEAD "1,5\n1,4\n", DRAFT, 2, NULL, NULL, "line 3: iteration 1 comes after 1", 0},
        {"iteration,rate\n", DRAFT, 2, NULL, NULL, "line 1 is not the header of a log", 0},
        {HEAD, "# iteration 0, 3 bytes\nabcd\n", 2, NULL, NULL, "sample 1 does not end where its head says",
         0},
        {HEAD, DRAFT "x\n", 2, NULL, NULL, "what follows sample 1 is not the head of a sample", 0},
        {HEAD, "# iteration 0, -1 bytes\n", 2, NULL, NULL, "what follows sample 0 is not the head", 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const files *f = &all[i];
        lm_log log;
        tensor_error err = {0};
        put(csv, f->rows, f->size ? f->size : strlen(f->rows));
        put(samples, f->drafts, strlen(f->drafts));
        const bool done = lm_log_open(&log, folder, f->from, arena, &err) && lm_log_begin(&log, &model, &err);
        lm_log_close(&log);
        cr_expect_eq(done, !f->fault, "case %zu: %s", i, err.text);
        if (f->fault) cr_expect(strstr(err.text, f->fault), "case %zu: %s", i, err.text);
        if (!f->rows_after) continue;
        expect_file(csv, f->rows_after);
        expect_file(samples, f->drafts_after);
    }
}

/* Before a checkpoint the rows are on the disk. */
Test(log, is_synced) {
    lm_log log;
    tensor_error err = {0};
    cr_assert(lm_log_open(&log, folder, -1, arena, &err) && lm_log_begin(&log, &model, &err), "%s", err.text);
    lm_log_step(&log, &(lm_log_row){.loss = 1});
    fault_trace_begin();
    cr_assert(lm_log_sync(&log, &err), "%s", err.text);
    cr_expect_str_eq(fault_trace(), "ff");
    lm_log_close(&log);
}

/* A row that was lost on its way is a failure later, too, when there is room again. */
Test(log, tells_what_was_lost) {
    lm_log log;
    tensor_error err = {0};
    cr_assert(lm_log_open(&log, folder, -1, arena, &err) && lm_log_begin(&log, &model, &err), "%s", err.text);
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files stands for a full disk */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){20000, RLIM_INFINITY}), 0);
    for (int i = 0; i < 10000; i++) lm_log_step(&log, &(lm_log_row){.iteration = i, .loss = 1});
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}), 0);
    cr_expect_not(lm_log_flush(&log, &err));
    cr_expect(strstr(err.text, "log.csv: cannot be written"), "%s", err.text);
    lm_log_close(&log);
}
