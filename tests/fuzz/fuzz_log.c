/* Feeds bytes to the readers of what a run has written, log.csv, samples.txt and run.txt, with a NUL between them: as
 * commands that look at the run, and as training that goes on with it. What opens has rows in order. */
#include <math.h>

#include "models/lm/look/look_internal.h"
#include "models/lm/train/log.h"
#include "tests/fuzz/folder.h"

static void check_history(const char *path, tensor_arena *arena) {
    tensor_error err = {0};
    lm_history *h = tensor_arena_alloc(arena, sizeof *h, NULL);
    CHECK(h);
    const bool ok = lm_history_read(h, path, (lm_range){NAN, NAN}, &err);
    CHECK(ok == !err.text[0] && !strchr(err.text, '\n'));
    for (int i = 0; ok && i < LM_COLUMNS; i++) {
        CHECK(h->series[i].count >= 0 && h->series[i].count <= LM_POINTS);
        for (int k = 1; k < h->series[i].count; k++)
            CHECK(h->series[i].points[k].x > h->series[i].points[k - 1].x);
    }
}

/* Opened and cut for going on, it opens again and has nothing more to cut. */
static void check_log(int64_t from, tensor_arena *arena) {
    for (int turn = 0; turn < 2; turn++) {
        lm_log log;
        tensor_error err = {0};
        bool ok = lm_log_open(&log, fuzz_folder, from, arena, &err);
        CHECK(ok == !err.text[0]);
        CHECK(ok || turn == 0);
        CHECK(turn == 0 || (!log.csv.later && !log.csv.torn && !log.samples.later && !log.samples.torn));
        ok = ok && lm_log_begin(&log, lm_program(), &err);
        lm_log_close(&log);
        if (!ok) return;
    }
}

static void command(const char *const *words) {
    char *argv[6] = {0};
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    const int status = lm_main(lm_program(), argc, argv);
    CHECK(status == LM_DONE || status == LM_FAILED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"log.csv", "samples.txt", "run.txt"};
    fuzz_piece rest = {data, size}, piece;
    char path[FUZZ_PATH], page[FUZZ_PATH];
    fuzz_folder_begin();
    tensor_arena *arena = fuzz_arena();
    for (int i = 0; i < 3 && fuzz_cut(&rest, &piece); i++) fuzz_file(names[i], piece.bytes, piece.size);
    check_history(fuzz_path("log.csv", path), arena);
    arena = fuzz_arena();
    command((const char *[]){"gpt", "report", fuzz_folder, "--html", fuzz_path("page.html", page), NULL});
    command((const char *[]){"gpt", "plot", fuzz_folder, NULL});
    check_log(size % 8, arena);
    return 0;
}
