/* Charts before they are drawn: axes with round ticks, and the curves of runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* ---- Axes ----------------------------------------------------------------------------------- */

/* The smallest of 1, 2, 5 times a power of ten of which at most `most` fit into the span. */
static double round_step(double span, int most) {
    static const double digits[] = {1, 2, 5};
    double power = pow(10, floor(log10(span / most)));
    for (int i = 0; i < 3; i++)
        if (digits[i] * power * most >= span * (1 - 1e-9)) return digits[i] * power;
    return 10 * power;
}

static void linear_ticks(lm_axis *axis, bool widen, int most) {
    double step = round_step(axis->high - axis->low, most), slack = step * 1e-6;
    double above = ceil((axis->high - slack) / step) * step;
    if (widen || above - axis->high < 0.02 * (axis->high - axis->low)) axis->high = above;
    if (widen) axis->low = floor((axis->low + slack) / step) * step;
    double first = ceil((axis->low - slack) / step);
    for (int i = 0; i < LM_TICKS && (first + i) * step <= axis->high + slack; i++)
        axis->tick[axis->ticks++] = (first + i) * step + 0.0; /* + 0: no -0 */
}

/* Powers of ten, with their multiples by 2 and 5 where there is room. */
static void log_ticks(lm_axis *axis, int most) {
    static const double digits[] = {1, 2, 5};
    int first = (int)floor(log10(axis->low)), last = (int)ceil(log10(axis->high)), decades = last - first;
    int each = decades / most + 1;           /* decades from tick to tick */
    int parts = 3 * decades <= most ? 3 : 1; /* ticks in a decade */
    for (int i = first; i <= last; i += each) {
        for (int k = 0; k < parts && axis->ticks < LM_TICKS; k++) {
            double tick = digits[k] * pow(10, i);
            if (tick >= axis->low * (1 - 1e-9) && tick <= axis->high * (1 + 1e-9))
                axis->tick[axis->ticks++] = tick;
        }
    }
}

lm_axis lm_axis_over(double low, double high, bool log, bool widen, int most) {
    double size = fmax(fabs(low), fabs(high)), half = size > 0 ? size / 2 : 1;
    if (high - low < 1e-4 * size || size == 0) { /* one value, or none that labels could tell apart */
        low = low < 0 ? low - half : log ? low / 2 : fmax(low - half, 0);
        high += half;
    }
    lm_axis axis = {.low = low, .high = high, .log = log};
    if (log && high / low >= 10)
        log_ticks(&axis, most);
    else
        linear_ticks(&axis, widen && !log, most);
    return axis;
}

void lm_axis_whole(lm_axis *axis) {
    int kept = 0;
    for (int i = 0; i < axis->ticks; i++)
        if (axis->tick[i] == rint(axis->tick[i])) axis->tick[kept++] = axis->tick[i];
    axis->ticks = kept;
}

double lm_axis_at(const lm_axis *axis, double value) {
    if (!axis->log) return (value - axis->low) / (axis->high - axis->low);
    return value > 0 ? log(value / axis->low) / log(axis->high / axis->low) : NAN;
}

char *lm_axis_label(double value, char *buffer, size_t size) {
    static const struct {
        double unit;
        const char *suffix;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (int i = 0; i < 3 && fabs(value) >= 1e4 && fabs(value) < 1e12; i++) {
        if (fabs(value) < units[i].unit) continue;
        snprintf(buffer, size, "%.6g%s", value / units[i].unit, units[i].suffix);
        return buffer;
    }
    snprintf(buffer, size, "%.6g", value);
    return buffer;
}

/* ---- Curves --------------------------------------------------------------------------------- */

void lm_chart_add(lm_chart *chart, lm_curve curve) {
    if (curve.series->count > 0 && chart->count < chart->room) chart->curves[chart->count++] = curve;
}

const char *lm_chart_x(const lm_chart *chart) {
    return chart->x_label ? chart->x_label : "iteration";
}

int lm_chart_names(const lm_chart *chart) {
    int names = 0;
    for (int i = 0; i < chart->count; i++) names += chart->curves[i].in_legend;
    return names;
}

/* Widens low..high to a value; a logarithmic axis passes over what it cannot show. */
static void include(lm_range *range, double value, bool log) {
    if (log && value <= 0) return;
    range->low = fmin(range->low, value); /* which passes over NaN */
    range->high = fmax(range->high, value);
}

/* What the curves' points need, but for those above the fence. */
static void measure(const lm_chart *chart, lm_frame frame, double fence, lm_range *x, lm_range *y) {
    for (int i = 0; i < chart->count; i++) {
        const lm_series *s = chart->curves[i].series;
        for (int k = 0; k < s->count; k++) {
            const lm_point *p = &s->points[k];
            include(x, p->x, frame.log_x);
            if (p->mean <= fence) include(y, p->mean, frame.log_y);
        }
    }
}

static void count_above(lm_chart *chart) {
    for (int i = 0; i < chart->count; i++) {
        const lm_series *s = chart->curves[i].series;
        for (int k = 0; k < s->count; k++) {
            if (s->points[k].mean <= chart->y.high) continue;
            chart->above++;
            chart->highest = fmax(chart->highest, s->points[k].mean);
        }
    }
}

/* One end of an axis: what is given, else what is needed. */
static lm_range ends(lm_range given, lm_range needed, bool log) {
    if (isnan(needed.low)) needed = (lm_range){1, 1}; /* nothing that the axis can show */
    if (!isnan(given.low) && !(log && given.low <= 0)) needed.low = given.low;
    if (!isnan(given.high)) needed.high = given.high;
    if (needed.high < needed.low) { /* all lies beyond the one that is given */
        const double end = isnan(given.low) ? needed.high : needed.low;
        needed = (lm_range){end, end};
    }
    return needed;
}

void lm_chart_fit(lm_chart *chart, lm_frame frame) {
    lm_range x = LM_EVERYTHING, y = LM_EVERYTHING;
    const bool fenced = chart->fence > 0 && isnan(frame.y.high) && !frame.log_y;
    measure(chart, frame, fenced ? chart->fence : (double)INFINITY, &x, &y);
    const bool free_y = isnan(frame.y.low) && isnan(frame.y.high);
    if (!frame.log_x && isnan(frame.x.low)) x.low = fmin(x.low, 0);
    x = ends(frame.x, x, frame.log_x);
    y = ends(frame.y, y, frame.log_y);
    chart->x = lm_axis_over(x.low, x.high, frame.log_x, false, frame.ticks);
    lm_axis_whole(&chart->x); /* iterations */
    chart->y = lm_axis_over(y.low, y.high, frame.log_y, free_y, frame.ticks);
    if (fenced) count_above(chart);
}

char *lm_chart_cut(const lm_chart *chart, char *buffer, size_t size) {
    char from[32], to[32], digits[32];
    *buffer = '\0';
    if (chart->above == 0) return buffer;
    snprintf(digits, sizeof digits, "%.3g", chart->highest);
    snprintf(buffer, size, "cut off above %s: values up to %s",
             lm_axis_label(chart->y.high, from, sizeof from),
             lm_axis_label(strtod(digits, NULL), to, sizeof to));
    return buffer;
}

static void one_run(lm_chart *chart, const lm_history *run) {
    lm_chart_add(chart, (lm_curve){&run->series[LM_LOSS], "training, every step", NULL, LM_STEPS, 0, true});
    lm_chart_add(chart,
                 (lm_curve){&run->series[LM_REPORT_TRAIN], "training, at reports", NULL, LM_RINGS, 0, true});
    lm_chart_add(chart,
                 (lm_curve){&run->series[LM_REPORT_VALIDATION], "validation", NULL, LM_REPORTS, 1, true});
}

static int compare_numbers(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Where the curves begin: the lower one of the two in the middle. */
static double beginning(const lm_chart *chart) {
    enum { MOST = 64 };
    double first[MOST];
    int count = 0;
    for (; count < chart->count && count < MOST; count++)
        first[count] = chart->curves[count].series->points[0].low;
    qsort(first, (size_t)count, sizeof *first, compare_numbers);
    return count ? first[(count - 1) / 2] : 0;
}

void lm_chart_losses(lm_chart *chart, const lm_history *const *runs, const char *const *names, int count,
                     lm_unit unit, lm_curve *curves) {
    static const char *const labels[][LM_UNITS] = {{"nats per token", "nats per character", "bits per byte"},
                                                   {"nats per token; lines: training, dots: validation",
                                                    "nats per character; lines: training, dots: validation",
                                                    "bits per byte; lines: training, dots: validation"}};
    *chart = (lm_chart){
        .title = "Loss", .y_label = labels[count > 1][unit], .curves = curves, .room = LM_RUN_CURVES * count};
    if (count == 1) {
        one_run(chart, runs[0]);
    } else {
        for (int i = 0; i < count; i++) {
            const lm_series *loss = &runs[i]->series[LM_LOSS],
                            *validation = &runs[i]->series[LM_REPORT_VALIDATION];
            const bool dots = validation->count > 0;
            lm_chart_add(chart, (lm_curve){loss, names[i], "training", LM_LINE, i, !dots});
            lm_chart_add(chart, (lm_curve){validation, names[i], "validation", LM_REPORTS, i, true});
        }
    }
    chart->fence = beginning(chart) + 5;
}
