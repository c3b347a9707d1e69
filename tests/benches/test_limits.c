/* The parts of the peak that benchmarks report, with made-up figures. */
#include "benches/measure.h"

#include <criterion/criterion.h>

/* A peak that a loaded machine shows little by little: each run one of `rates`, and then the last again. */
typedef struct shown {
    limit_peak peak; /* first: limit_percent looks here */
    const double *rates;
    int count, runs;
} shown;

static double show(void *context) {
    shown *s = context;
    const double rate = s->rates[s->runs < s->count ? s->runs : s->count - 1];
    s->runs++;
    if (s->peak.best < rate) s->peak.best = rate;
    return 1;
}

static bool percent_of(shown *s, double flops, double seconds, double *percent, tensor_error *err) {
    const bench_side side = {.run = show, .context = s};
    return limit_percent(&side, flops, seconds, percent, err);
}

Test(limits, work_below_the_peak_measures_nothing_anew) {
    shown s = {.peak = {.best = 100e9}, .rates = (double[]){1}, .count = 1};
    double percent;
    cr_assert(percent_of(&s, 75e9, 1, &percent, NULL) && percent == 75 && s.runs == 0);
    cr_assert(percent_of(&s, 208e9, 2, &percent, NULL) && percent == 104 && s.runs == 0,
              "a twentieth is noise");
    cr_assert(percent_of(&s, 0, 1, &percent, NULL) && percent == 0, "no arithmetic");
}

Test(limits, a_peak_that_was_disturbed_is_measured_until_it_shows) {
    shown s = {.rates = (double[]){40e9, 90e9, 60e9, 125e9, 130e9}, .count = 5};
    double percent;
    cr_assert(percent_of(&s, 100e9, 1, &percent, NULL));
    cr_assert(percent == 80 && s.runs == 4, "%g %% after %d runs", percent, s.runs);
}

Test(limits, more_than_the_peak_is_an_error) {
    shown s = {.rates = (double[]){100e9}, .count = 1};
    double percent;
    tensor_error err = {0};
    cr_assert_not(percent_of(&s, 126e9, 1, &percent, &err));
    cr_assert_str_eq(err.text,
                     "126.0 GFLOP/s are 126 % of the peak, which is 100.0: it was measured too low, or the "
                     "work is less than was counted");
}

Test(limits, the_best_run_is_kept_while_set_and_threads_stay) {
    limit_peak peak = {0};
    bench_side side = limit_peak_side(&peak, NULL);
    cr_assert(side.run(side.context) > 0 && peak.best > 0);
    peak.best = 1e30;
    side = limit_peak_side(&peak, NULL);
    cr_assert(side.run(side.context) > 0 && peak.best == 1e30);
    cr_assert(tensor_set_threads(tensor_threads() + 1, NULL));
    limit_peak_side(&peak, NULL);
    cr_assert_eq(peak.best, 0);
}
