/* The progress line: its fields, and that it fits. */
#include "models/lm/cli/cli.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
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
    lm_progress_begin(&p, 1000, 2000, 100);
    lm_progress_step(&p, 1001, 1.5, 64);
    lm_progress_step(&p, 1002, 1.5, 64);
    cr_expect_float_eq(p.tokens_per_second * p.trained, 2 * 64, 1e-6);
    cr_expect(p.step_seconds >= 0 && p.step_seconds <= p.trained);
    cr_expect_float_eq(p.seconds_left, p.trained / 2 * 998, 1e-6);
}

/* Of 1000 iterations 100 are done in 20 s; reports come at 100, 200, ... 900 and 999, and the last took 5 s. */
Test(progress, reports_count_apart) {
    lm_progress p = {.done = 100, .total = 1000, .every = 100, .trained = 20, .report_seconds = 5};
    cr_expect_float_eq(lm_progress_left(&p), 180 + 10 * 5, 1e-9);
    p.done = 101;
    p.trained = 20.2;
    cr_expect_float_eq(lm_progress_left(&p), 0.2 * 899 + 9 * 5, 1e-9);
    p = (lm_progress){.done = 5, .total = 11, .every = 10, .trained = 5, .report_seconds = 1};
    cr_expect_float_eq(lm_progress_left(&p), 6 + 1, 1e-9, "the last one is that of every tenth");
    p = (lm_progress){.done = 0, .total = 11, .every = 10, .report_seconds = 100};
    cr_expect_eq(lm_progress_left(&p), 0, "nothing is known yet");
}

/* Of 1000 iterations 100 are done in 20 s, but in 50 s the time is over. */
Test(progress, it_ends_with_its_time) {
    lm_progress p = {
        .done = 100, .total = 1000, .every = 1000, .trained = 20, .resumed = 1000, .until = 1050};
    cr_expect_float_eq(lm_progress_left(&p), 50, 1e-9);
    p.resumed = 1060;
    cr_expect_eq(lm_progress_left(&p), 0, "it is over");
    p.until = 2000;
    cr_expect_float_eq(lm_progress_left(&p), 180, 1e-9, "the iterations are done before");
}

Test(progress, evaluating) {
    char text[256];
    lm_progress p = {.total = 5000, .evaluated = 37, .to_evaluate = 200};
    cr_expect_str_eq(lm_progress_text(&p, 200, text, sizeof text), "iteration 0/5000, evaluating 37/200");
}

Test(progress, quantities) {
    char text[64];
    cr_expect_str_eq(lm_duration(3.2, text, sizeof text), "4 s");
    cr_expect_str_eq(lm_duration(200, text, sizeof text), "3 min 20 s");
    cr_expect_str_eq(lm_duration(7500, text, sizeof text), "2 h 05 min");
    cr_expect_str_eq(lm_duration(30 * 86400.0, text, sizeof text), "30 days");
    cr_expect_str_eq(lm_duration(-1e30, text, sizeof text), "0 s");
    cr_expect_str_eq(lm_duration((double)NAN, text, sizeof text), "0 s");
    cr_expect_str_eq(lm_memory_text(26.2e6, text, sizeof text), "27 MB");
    cr_expect_str_eq(lm_memory_text(6.34e9, text, sizeof text), "6.3 GB");
    cr_expect_str_eq(lm_memory_text(47.2e9, text, sizeof text), "47 GB");
}

Test(progress, times) {
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"90", 90}, {"90s", 90}, {"10m", 600}, {"1.5h", 5400}, {"1h30m", 5400}, {"2d", 172800}};
    static const char *const bad[] = {"", "m", "0", "10x", "-5", "10m ", "1e99", "nan", "h1", "10mm"};
    double seconds;
    tensor_error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(lm_duration_parse(good[i].text, &seconds, &err) && seconds == good[i].seconds, "%s",
                  good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(lm_duration_parse(bad[i], &seconds, &err), "%s", bad[i]);
}

Test(progress, columns_without_a_terminal) {
    int null = open("/dev/null", O_WRONLY);
    cr_assert(dup2(null, STDERR_FILENO) >= 0);
    setenv("COLUMNS", "44", 1);
    cr_expect_eq(lm_columns(), 44);
    setenv("COLUMNS", "99999999999999999999", 1);
    cr_expect_eq(lm_columns(), 10000);
    setenv("COLUMNS", "wide", 1);
    cr_expect_eq(lm_columns(), 80);
    unsetenv("COLUMNS");
    cr_expect_eq(lm_columns(), 80);
}
