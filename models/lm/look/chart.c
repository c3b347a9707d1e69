/* Charts before they are drawn: axes with round ticks, and the curves of runs. */
#include <math.h>
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

void lm_chart_add(lm_chart *chart, const lm_series *series, const char *name, lm_style style, int colour) {
    if (series->count > 0 && chart->count < LM_CURVES)
        chart->curves[chart->count++] = (lm_curve){series, name, style, colour};
}

/* Widens low..high to a value; a logarithmic axis passes over what it cannot show. */
static void include(double *low, double *high, double value, bool log) {
    if (log && value <= 0) return;
    *low = fmin(*low, value);
    *high = fmax(*high, value);
}

void lm_chart_fit(lm_chart *chart, bool log_x, bool log_y, int most) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int i = 0; i < chart->count; i++) {
        const lm_series *s = chart->curves[i].series;
        for (int k = 0; k < s->count; k++) {
            include(&low[0], &high[0], s->points[k].x, log_x);
            include(&low[1], &high[1], s->points[k].mean, log_y);
        }
    }
    for (int i = 0; i < 2; i++)
        if (low[i] > high[i]) low[i] = high[i] = 1; /* nothing that the axis can show */
    chart->x = lm_axis_over(log_x ? low[0] : fmin(low[0], 0), high[0], log_x, false, most);
    chart->y = lm_axis_over(low[1], high[1], log_y, true, most);
}

static void one_run(lm_chart *chart, const lm_history *run) {
    lm_chart_add(chart, &run->series[LM_LOSS], "training, every step", LM_STEPS, 0);
    lm_chart_add(chart, &run->series[LM_REPORT_TRAIN], "training, at reports", LM_RINGS, 0);
    lm_chart_add(chart, &run->series[LM_REPORT_VALIDATION], "validation", LM_REPORTS, 1);
}

void lm_chart_losses(lm_chart *chart, const lm_history *const *runs, const char *const *names, int count) {
    *chart = (lm_chart){.title = "Loss", .y_label = "nats per token"};
    if (count == 1) {
        one_run(chart, runs[0]);
        return;
    }
    chart->y_label = "nats per token; lines: training, dots: validation";
    for (int i = 0; i < count; i++) {
        const lm_series *validation = &runs[i]->series[LM_REPORT_VALIDATION];
        lm_chart_add(chart, &runs[i]->series[LM_LOSS], validation->count ? NULL : names[i], LM_LINE, i);
        lm_chart_add(chart, validation, names[i], LM_REPORTS, i);
    }
}
