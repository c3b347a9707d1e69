/* The progress line: its fields, and that it fits. */
#include "models/lm/cli/cli.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const lm_progress sample = {
    .done = 1234, .total = 5000, .loss = 2.3456, .tokens_per_second = 123456.7, .seconds_left = 200.2};
static const char full[] = "iteration 1234/5000, loss 2.346, 123457 tokens/s, 3:21 left";

Test(progress, all_fields) {
    char text[256];
    cr_expect_str_eq(lm_progress_text(&sample, 200, text, sizeof text), full);
    cr_expect_str_eq(lm_progress_text(&sample, (int)strlen(full), text, sizeof text), full);
    lm_progress hours = sample;
    hours.seconds_left = 3 * 3600 + 5 * 60;
    cr_expect(strstr(lm_progress_text(&hours, 200, text, sizeof text), ", 3 h 05 min left"), "%s", text);
}

Test(progress, fits_every_width) {
    char text[256];
    for (int columns = 0; columns < 80; columns++) {
        lm_progress_text(&sample, columns, text, sizeof text);
        cr_expect_leq(strlen(text), (size_t)columns);
        cr_expect_eq(strncmp(full, text, strlen(text)), 0);
        char next = full[strlen(text)];
        if (strlen(text) >= strlen("iteration 1234/5000"))
            cr_expect(next == ',' || next == '\0', "'%s'", text);
        else
            cr_expect_eq(strlen(text), (size_t)columns);
    }
    cr_expect_str_eq(lm_progress_text(&sample, -1, text, sizeof text), "");
}

Test(progress, fits_a_small_buffer) {
    char text[10];
    cr_expect_str_eq(lm_progress_text(&sample, 80, text, sizeof text), "iteration");
}

Test(progress, a_resumed_run_counts_its_own_steps) {
    lm_progress p;
    lm_progress_begin(&p, 1000, 2000);
    lm_progress_step(&p, 1001, 1.5, 64);
    lm_progress_step(&p, 1002, 1.5, 64);
    cr_expect_float_eq(p.tokens_per_second * p.trained, 2 * 64, 1e-6);
    cr_expect(p.step_seconds >= 0 && p.step_seconds <= p.trained);
    cr_expect_float_eq(p.seconds_left, (p.resumed - p.begun) / 2 * 998, 1e-6);
}

Test(progress, columns_without_a_terminal) {
    int null = open("/dev/null", O_WRONLY);
    cr_assert(dup2(null, STDERR_FILENO) >= 0);
    setenv("COLUMNS", "44", 1);
    cr_expect_eq(lm_columns(), 44);
    setenv("COLUMNS", "wide", 1);
    cr_expect_eq(lm_columns(), 80);
    unsetenv("COLUMNS");
    cr_expect_eq(lm_columns(), 80);
}
