/* What plot and report draw: logs in bounded memory, round ticks, text that breaks no page and no terminal. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/look/look_internal.h"

static tensor_error err;
static lm_history history;

/* What is written into `file` between the two, as a string that lives until the next begin. */
static FILE *file;
static char *out;
static size_t out_size;

static void begin(void) {
    free(out);
    out = NULL;
    file = open_memstream(&out, &out_size);
    cr_assert(file);
}
static void end(void) {
    cr_assert_eq(fclose(file), 0);
}

/* ---- Series and logs ------------------------------------------------------------------------ */

Test(look, a_short_series_keeps_every_value) {
    lm_series s = {0};
    for (int i = 0; i < LM_POINTS; i++) lm_series_add(&s, i, 2 * i);
    cr_assert_eq(s.count, LM_POINTS);
    for (int i = 0; i < LM_POINTS; i++) {
        const lm_point *p = &s.points[i];
        cr_assert(p->x == i && p->mean == 2 * i && p->low == 2 * i && p->high == 2 * i);
    }
}

Test(look, a_long_series_is_thinned_evenly) {
    enum { N = 1000003 };
    lm_series s = {0};
    for (int i = 0; i < N; i++) lm_series_add(&s, i, i % 10);
    cr_assert(s.count > LM_POINTS / 2 && s.count <= LM_POINTS, "%d", s.count);
    int64_t next = 0;
    for (int i = 0; i < s.count; i++) { /* every value is in one point, in order */
        int64_t n = i < s.count - 1 ? s.each : s.filled;
        cr_assert_float_eq(s.points[i].x, (double)next + (double)(n - 1) / 2, 1e-6);
        cr_assert(s.points[i].low == 0 && s.points[i].high == 9);
        cr_assert_float_eq(s.points[i].mean, 4.5, 13.0 / (double)n);
        next += n;
    }
    cr_assert_eq(next, N);
}

/* Reads a log of this text; an empty string or the fault. */
static const char *fault_of(const char *text, size_t size) {
    char path[] = "/tmp/sampo-look-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, size) == (ssize_t)size && close(fd) == 0);
    err = (tensor_error){0};
    bool ok = lm_history_read(&history, path, LM_EVERYTHING, &err);
    unlink(path);
    cr_assert_eq(ok, err.text[0] == '\0');
    return err.text;
}
#define FAULT_OF(text) fault_of(text, sizeof(text) - 1)
#define HEADER "iteration,loss,learning_rate,gradient_norm,tokens_per_second,train_loss,validation_loss\n"

/* Files come from anywhere: no number in them is too large to be shown. */
Test(look, numbers_beyond_all_bounds) {
    static const char *const numbers[] = {"1e300", "-1e300", "inf", "nan"};
    char text[32];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const nn_metadata tokens = {"train.text_tokens", numbers[i]};
        cr_expect_str_eq(lm_value_of(&tokens, text, sizeof text), numbers[i]);
    }
    cr_expect_str_eq(FAULT_OF(HEADER "1e25,4.5,0.01,1,100,,\n"), "line 2 has no iteration");
}

Test(look, a_log) {
    cr_expect_str_empty(FAULT_OF(HEADER
                                 "0,4.5,0.01,1,100,4.25,4.75\n1,3.5,0.01,1,300,,\n7,3,0.02,1,200,2.75,2.5\r\n"
                                 "8,2.875,0.02,1,200,2.5,2.625\n9,1"));
    cr_expect_eq(history.rows, 4); /* the last line is still being written */
    cr_expect_eq(history.iteration, 8);
    cr_expect_eq(history.series[LM_LOSS].count, 4);
    cr_expect_eq(history.series[LM_LOSS].points[2].x, 7);
    cr_expect_eq(history.series[LM_RATE].points[3].mean, 0.02);
    cr_expect_eq(history.series[LM_SPEED].points[1].mean, 300);
    cr_expect_eq(history.series[LM_REPORT_TRAIN].count, 3);
    cr_expect_eq(history.reports.count, 3);
    cr_expect(history.reports.iteration == 8 && history.reports.train == 2.5 &&
              history.reports.validation == 2.625);
    cr_expect(history.reports.best == 2.5 && history.reports.best_iteration == 7);
    cr_expect_str_empty(FAULT_OF(HEADER "0,4,0.01,1,100,4,2\n1,4,0.01,1,100,4,\n2,4,0.01,1,100,4,3\n"));
    cr_expect(history.reports.count == 3 && history.reports.best == 2 && history.reports.best_iteration == 0,
              "a report without a loss is not the best");
}

Test(look, a_log_with_other_columns) {
    cr_expect_str_empty(FAULT_OF("note,loss,iteration\nhello,4,1\n,3,2\n"));
    cr_expect_eq(history.series[LM_LOSS].count, 2);
    cr_expect_eq(history.series[LM_RATE].count, 0);
    cr_expect(isnan(history.reports.best));
}

Test(look, numbers_that_are_not_finite_are_left_out) {
    cr_expect_str_empty(FAULT_OF("iteration,loss\n1,nan\n2,3\n3,inf\n4,-1e300\n5,2\n"));
    cr_expect_eq(history.left_out, 3);
    cr_expect_eq(history.series[LM_LOSS].count, 2);
}

Test(look, what_is_no_log) {
    static char lines[1 << 13] = "iteration,loss\n";
    memset(lines + strlen(lines), '1', 5000);
    cr_expect_str_eq(fault_of(lines, strlen(lines)), "line 2 is not a row of a log");
    cr_expect_str_eq(FAULT_OF(""), "the log is empty");
    cr_expect_str_eq(FAULT_OF("loss,iter\n1,2\n"),
                     "line 1 is not the header of a log: no column 'iteration'");
    cr_expect_str_eq(FAULT_OF("iteration\n1\n"), "line 1 is not the header of a log: no column 'loss'");
    cr_expect_str_eq(FAULT_OF("loss,iteration,loss\n"), "line 1: the column loss comes twice");
    cr_expect_str_eq(FAULT_OF(HEADER), "the log has no rows yet");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n1,nan\n"), "no loss in it is a finite number");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n1,2\n2,x\n"), "line 3: loss 'x' is not a number");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n1,2\n2\n"), "line 3 has 1 fields, the header 2");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n1,2\n,2\n"), "line 3 has no iteration");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n4,2\n4,2\n"), "line 3: iteration 4 comes after 4");
    cr_expect_str_eq(FAULT_OF("iteration,loss\n4,2\n\0,2\n"), "line 3 is not a row of a log");
    cr_expect(!lm_history_read(&history, "/nowhere/log.csv", LM_EVERYTHING, &(tensor_error){0}));
}

/* ---- Samples -------------------------------------------------------------------------------- */

/* Reads samples from a text; an empty string or the fault. */
static lm_samples samples;
static const char *sample_fault(const char *text) {
    FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert(from);
    err = (tensor_error){0};
    cr_assert_eq(lm_samples_read(&samples, from, &err), err.text[0] == '\0');
    fclose(from);
    return err.text;
}

Test(look, samples_and_one_that_is_being_written) {
    cr_expect_str_empty(sample_fault(
        "# iteration 0, 3 bytes\na\nb\n# iteration 5, 0 bytes\n\n# iteration 9, 4 bytes\nabc\n"));
    cr_expect(samples.count == 2 && samples.total == 2);
    cr_expect(samples.places[0].iteration == 0 && samples.places[0].offset == 23 &&
              samples.places[0].bytes == 3);
    cr_expect(samples.places[1].iteration == 5 && samples.places[1].bytes == 0);
}

Test(look, what_is_no_sample) {
    cr_expect_str_eq(sample_fault("# iteration 0, 1 bytes\na\nb\n"),
                     "what follows sample 1 is not the head of a sample");
    cr_expect_str_eq(sample_fault("# iteration 0, -1 bytes\na\n"),
                     "what follows sample 0 is not the head of a sample");
    cr_expect_str_eq(sample_fault("# iteration 0, 1 bytes, or so\na\n"),
                     "what follows sample 0 is not the head of a sample");
    cr_expect_str_empty(sample_fault("# iteration 0, 9223372036854775000 bytes\na\n"));
    cr_expect_eq(samples.count, 0);
    cr_expect_str_eq(
        sample_fault("# iteration 0, 9223372036854775807 bytes\na\n"), /* would end behind INT64_MAX */
        "what follows sample 0 is not the head of a sample");
}

Test(look, many_samples_are_thinned_evenly) {
    for (int n = 1; n < 300; n++) {
        begin();
        for (int i = 0; i < n; i++) fprintf(file, "# iteration %d, 1 bytes\nx\n", 10 * i);
        end();
        cr_assert_str_empty(sample_fault(out));
        const lm_sample_place *p = samples.places;
        cr_assert(samples.total == n && samples.count <= LM_SAMPLES && (n < 8 || samples.count >= 8));
        cr_assert(p[0].iteration == 0 && p[samples.count - 1].iteration == 10 * (n - 1));
        for (int i = 2; i < samples.count - 1; i++)
            cr_assert_eq(p[i].iteration - p[i - 1].iteration, p[1].iteration, "%d of %d", i, n);
    }
}

/* ---- Axes ----------------------------------------------------------------------------------- */

static void expect_ticks(lm_axis axis, const char *expected) {
    char text[256] = "", label[32];
    for (int i = 0; i < axis.ticks; i++) {
        strcat(text, i ? " " : "");
        strcat(text, lm_axis_label(axis.tick[i], label, sizeof label));
    }
    cr_expect_str_eq(text, expected);
}

Test(look, round_ticks) {
    expect_ticks(lm_axis_over(0, 4999, false, false, 6), "0 1000 2000 3000 4000 5000");
    expect_ticks(lm_axis_over(0, 4500, false, false, 6), "0 1000 2000 3000 4000");
    expect_ticks(lm_axis_over(1.31, 4.39, false, true, 6), "1 2 3 4 5");
    expect_ticks(lm_axis_over(-0.35, 0.32, false, true, 6), "-0.4 -0.2 0 0.2 0.4");
    expect_ticks(lm_axis_over(0, 123456, false, true, 6), "0 50k 100k 150k");
    expect_ticks(lm_axis_over(0, 3e6, false, true, 6), "0 500k 1M 1.5M 2M 2.5M 3M");
    expect_ticks(lm_axis_over(0.01, 0.01, false, true, 4), "0.005 0.01 0.015");
    expect_ticks(lm_axis_over(0, 0, false, false, 4), "0 0.5 1");
    expect_ticks(lm_axis_over(1, 5000, true, false, 6), "1 10 100 1000");
    expect_ticks(lm_axis_over(1, 100, true, false, 6), "1 2 5 10 20 50 100");
    expect_ticks(lm_axis_over(1.4, 4.4, true, true, 6), "1.5 2 2.5 3 3.5 4");
    expect_ticks(lm_axis_over(1e-9, 1e9, true, false, 6), "1e-09 1e-05 0.1 1000 10M");
}

Test(look, iterations_are_whole) {
    lm_series losses = {0};
    for (int i = 0; i < 3; i++) lm_series_add(&losses, i, 4 - i);
    lm_curve curve;
    lm_chart chart = {.curves = &curve, .room = 1};
    lm_chart_add(&chart, (lm_curve){.series = &losses});
    lm_chart_fit(&chart, (lm_frame){LM_EVERYTHING, LM_EVERYTHING, .ticks = 6});
    expect_ticks(chart.x, "0 1 2");
}

Test(look, every_axis_has_ticks_within_it) {
    for (int i = 0; i < 4000; i++) {
        double low = pow(10, i % 61 - 30), high = low * (1 + pow(10, i / 61 % 12 - 6));
        for (int kind = 0; kind < 4; kind++) {
            bool log = kind & 1, widen = kind & 2;
            lm_axis a = lm_axis_over(log || widen ? low : -low, high, log, widen, 2 + i % 5);
            cr_assert(a.ticks >= 1 && a.ticks <= LM_TICKS && a.low < a.high, "%g %g", low, high);
            for (int k = 0; k < a.ticks; k++) {
                double at = lm_axis_at(&a, a.tick[k]);
                cr_assert(at > -1e-6 && at < 1 + 1e-6, "tick %g of %g to %g", a.tick[k], a.low, a.high);
                cr_assert(k == 0 || a.tick[k] > a.tick[k - 1]);
            }
        }
    }
}

/* ---- Ranges, and what is cut off ----------------------------------------------------------------- */

Test(look, ranges) {
    static const struct {
        const char *text;
        double low, high;
    } good[] = {{"100..5000", 100, 5000},
                {"1.5..", 1.5, NAN},
                {"..2", NAN, 2},
                {"-1..1", -1, 1},
                {"1e3..1e4", 1e3, 1e4}};
    static const char *const bad[] = {"",     "..",   "5",     "x",     "1..2..3", "1.. 2",
                                      "2..1", "3..3", "nan..", "inf..", "1..x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        lm_range r;
        err = (tensor_error){0};
        cr_assert(lm_range_parse(&r, good[i].text, &err), "%s: %s", good[i].text, err.text);
        cr_expect(isnan(good[i].low) ? isnan(r.low) : r.low == good[i].low, "%s", good[i].text);
        cr_expect(isnan(good[i].high) ? isnan(r.high) : r.high == good[i].high, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lm_range r;
        cr_expect_not(lm_range_parse(&r, bad[i], &(tensor_error){0}), "%s", bad[i]);
    }
}

/* Whatever the values and the frame: axes with ticks, and SVG that a path can be in. */
Test(look, every_frame_has_axes) {
    static const double values[] = {1e-30, 0.5, 1.5, 4, 9, 69136, 1e30, -3, 0};
    enum { COUNT = sizeof values / sizeof values[0] };
    for (int n = 0; n < 1 << COUNT; n++) {
        static lm_history run;
        const lm_history *runs[] = {&run, &run};
        static lm_curve curves[2 * LM_RUN_CURVES];
        lm_chart chart;
        run = (lm_history){0};
        for (int i = 0; i < COUNT; i++)
            if (n >> i & 1) lm_series_add(&run.series[LM_LOSS], i, values[i]);
        lm_chart_losses(&chart, runs, (const char *const[]){"a", "b"}, 1 + n % 2, LM_PER_TOKEN, curves);
        const lm_range y = {n % 3 ? NAN : 2, n % 5 ? NAN : 5};
        lm_chart_fit(&chart, (lm_frame){LM_EVERYTHING, y, n % 7 == 0, n % 4 == 0, 6});
        cr_assert(chart.x.ticks > 0 && chart.y.ticks > 0 && chart.y.low < chart.y.high, "%d", n);
        begin();
        lm_svg_file(file, &chart);
        lm_terminal_chart(file, &chart, (lm_terminal){60, true, false});
        end();
        cr_assert_not(strstr(out, "nan") || strstr(out, "inf"), "%d: %s", n, out);
    }
}

/* ---- What is written ------------------------------------------------------------------------ */

Test(look, markup_is_escaped) {
    static const char text[] = "<a href='x'>\"&\x01\x1b[31m\xc2\x9b\xff\xc3\xa4\xef\xbf\xbf\n";
    begin();
    lm_markup(file, text, sizeof text - 1);
    end();
    cr_expect_str_eq(
        out,
        "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4"
        "\xef\xbf\xbd\n");
}

Test(look, text_fits_a_terminal) {
    int used = 0;
    begin();
    used = lm_visible(file, "a\x1b[m\xc2\x9b\xc3\xa4\xe6\xbc\xa2z", 8, true);
    end();
    cr_expect_str_eq(out, "a?[m?\xc3\xa4\xe6\xbc\xa2");
    cr_expect_eq(used, 8);
    begin();
    lm_visible(file, "\xc3\xa4\xff!", 8, false);
    end();
    cr_expect_str_eq(out, "?"
                          "?!");
}

/* A chart of one run, or of several. */
static lm_chart chart_of(int runs) {
    static const char *const names[] = {"a/very/long/name/that/no/terminal/line/holds/a", "b\x1b", "c"};
    const lm_history *all[] = {&history, &history, &history};
    lm_chart chart;
    FAULT_OF(HEADER "0,4.5,0.01,1,100,4.25,4.75\n10,3.5,0.01,1,300,,\n70,3,0.02,1,200,2.75,2.5\n");
    static lm_curve curves[3 * LM_RUN_CURVES];
    lm_chart_losses(&chart, all, names, runs, LM_PER_TOKEN, curves);
    lm_chart_fit(&chart, (lm_frame){LM_EVERYTHING, LM_EVERYTHING, .ticks = 6});
    return chart;
}

Test(look, a_chart_fits_every_terminal) {
    for (int runs = 1; runs <= 3; runs++) {
        lm_chart chart = chart_of(runs);
        for (int columns = 1; columns < 300; columns++) {
            for (int utf8 = 0; utf8 < 2; utf8++) {
                begin();
                lm_terminal_chart(file, &chart, (lm_terminal){columns, utf8, false});
                end();
                int lines = 0;
                for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"), lines++) {
                    int64_t width = lm_utf8_count(line, strlen(line), &err);
                    cr_assert(width >= 0 && width <= columns, "%d columns: '%s'", columns, line);
                    if (utf8) continue;
                    for (char *c = line; *c; c++) cr_assert(*c >= ' ' && *c <= '~', "'%s'", line);
                }
                cr_assert(lines >= 7 && lines < 30);
            }
        }
    }
}

Test(look, colour_is_taken_back) {
    lm_chart chart = chart_of(2);
    begin();
    lm_terminal_chart(file, &chart, (lm_terminal){60, true, true});
    end();
    int on = 0, off = 0;
    for (char *c = out; (c = strchr(c, '\x1b')); c++) strncmp(c, "\x1b[0m", 4) == 0 ? off++ : on++;
    cr_expect(on > 10 && on == off);
    begin();
    lm_terminal_chart(file, &chart, (lm_terminal){60, true, false});
    end();
    cr_expect(!strchr(out, '\x1b'));
    cr_expect(strstr(out, "b?") && strchr(out, 'A'), "marks where there is no colour");
}

Test(look, heat_maps_join_cells) {
    const float p[] = {1, 0, 0, 0.25f, 0.25f, 0.5f};
    const char *labels[] = {"a", "<", "c"};
    const lm_heat heat = {.title = "t", .p = p, .rows = 2, .columns = 3, .stride = 3, .labels = labels};
    begin();
    lm_svg_heat(file, &heat);
    end();
    cr_expect(strstr(out, "<path fill-opacity=\"1.00\" d=\"M0 0h1v1h-1z\"/>"), "%s", out);
    cr_expect(strstr(out, "<path fill-opacity=\"0.50\" d=\"M0 1h2v1h-2z\"/>"), "%s", out);
    cr_expect(strstr(out, "<path fill-opacity=\"0.69\" d=\"M2 1h1v1h-1z\"/>"), "%s", out);
    cr_expect(strstr(out, ">&lt;</text>") && !strstr(out, "><<"), "%s", out);
}
