/* SVG: charts whose text keeps its size while they stretch, and escaped text. */
#include <math.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* ---- Text ----------------------------------------------------------------------------------- */

/* Whether XML may hold the character (XML 1.0, 2.2), and it does not control a terminal or an editor. */
static bool allowed(uint32_t code) {
    if (code == '\t' || code == '\n' || code == '\r') return true;
    return !lm_is_control(code) && code != 0xfffe && code != 0xffff;
}

void lm_markup(FILE *file, const char *text, size_t size) {
    static const char special[] = "&<>\"'";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < size;) {
        uint32_t code;
        int length = lm_utf8_decode(text + i, size - i, &code);
        const char *found = text[i] ? strchr(special, text[i]) : NULL;
        if (length == 0 || !allowed(code))
            fputs("\xef\xbf\xbd", file); /* U+FFFD */
        else if (found)
            fputs(entities[found - special], file);
        else
            fwrite(text + i, 1, (size_t)length, file);
        i += length ? (size_t)length : 1;
    }
}

static void markup(FILE *file, const char *text) {
    lm_markup(file, text, strlen(text));
}

/* ---- Charts --------------------------------------------------------------------------------- *
 * Everything is placed in percent of the element around it. Curves are paths in units of WIDTH x HEIGHT in an
 * element of their own that stretches; strokes, dots and text do not. */

enum {
    WIDTH = 690,
    HEIGHT = 320,
    MOST_DOTS = 100,
    MOST_HITS = 128,
    MOST_WORDS = 24,
    LEGEND_LINE = 18,
    NAME_CHARACTERS = 36
};

/* What charts and heat maps look like, in light and in dark. */
static const char *const css[] = {
    ".chart text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#5a6472}",
    ".chart .grid{stroke:#e4e8ed}",
    ".chart .base{stroke:#9aa5b1}.chart .tick{fill:#9aa5b1}",
    ".chart .line{fill:none;stroke:currentColor;stroke-width:1.5;stroke-linejoin:round}",
    ".chart .dotted{stroke-width:1.2;stroke-dasharray:2 3;opacity:.8}",
    ".chart .band{fill:currentColor;opacity:.18}",
    ".chart .dot{fill:currentColor}",
    ".chart .ring{fill:#fff;stroke:currentColor;stroke-width:1.5}",
    ".chart .legend{fill:#29323d;stroke:#fff;stroke-width:4;paint-order:stroke}",
    ".chart .paper{fill:#fff}",
    ".heat path{fill:currentColor}",
    ".heat .frame{fill:none;stroke:#d5dbe2;stroke-width:.06}",
    ".heat text{font:.72px ui-monospace,Menlo,Consolas,monospace;fill:#5a6472}",
    ".chart .hit{fill:transparent}.chart .hit:hover{fill:#5a6472;fill-opacity:.14}",
    ".d1{stroke-dasharray:8 3}.d2{stroke-dasharray:3 2}.d3{stroke-dasharray:9 3 2 3}",
    ".c0{color:#2563c9}.c1{color:#b45309}.c2{color:#0f7a52}.c3{color:#b8328f}",
    ".c4{color:#0a7a8a}.c5{color:#c53030}.c6{color:#6f6900}.c7{color:#6b4fd8}",
    "@media(prefers-color-scheme:dark){",
    ".chart text,.heat text{fill:#9aa6b4}",
    ".chart .grid{stroke:#29313b}",
    ".chart .base{stroke:#566270}.chart .tick{fill:#566270}",
    ".chart .ring,.chart .paper{fill:#14181d}",
    ".chart .legend{fill:#d7dee7;stroke:#14181d}",
    ".heat .frame{stroke:#343d48}",
    ".c0{color:#6ea8ff}.c1{color:#ffa04d}.c2{color:#4cc38a}.c3{color:#f07cc8}",
    ".c4{color:#3fc6d4}.c5{color:#ff7b72}.c6{color:#cfc94a}.c7{color:#a792ff}",
    "}",
};

void lm_svg_css(FILE *file) {
    for (size_t i = 0; i < sizeof css / sizeof css[0]; i++) fprintf(file, "%s\n", css[i]);
}

/* A place along the chart in percent, rounded so that it is never -0. */
static double percent(double at) {
    return round(1e4 * at) / 100 + 0.0;
}

static void axes(FILE *file, const lm_chart *chart) {
    char label[32];
    for (int i = 0; i < chart->y.ticks; i++) {
        double y = percent(1 - lm_axis_at(&chart->y, chart->y.tick[i]));
        fprintf(file,
                "<line class=\"grid\" x1=\"0\" x2=\"100%%\" y1=\"%g%%\" y2=\"%g%%\"/>"
                "<text x=\"-8\" y=\"%g%%\" dy=\".34em\" text-anchor=\"end\">%s</text>\n",
                y, y, y, lm_axis_label(chart->y.tick[i], label, sizeof label));
    }
    fputs("<line class=\"base\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>\n", file);
    for (int i = 0; i < chart->x.ticks; i++) {
        double x = percent(lm_axis_at(&chart->x, chart->x.tick[i]));
        fprintf(file,
                "<rect class=\"tick\" x=\"%g%%\" y=\"100%%\" width=\"1\" height=\"5\"/>"
                "<text x=\"%g%%\" y=\"100%%\" dy=\"19\" text-anchor=\"middle\">%s</text>\n",
                x, x, lm_axis_label(chart->x.tick[i], label, sizeof label));
    }
}

/* Appends points first to last of a curve to a path, in either direction; `value` picks which of a point's. */
static void path(FILE *file, const lm_chart *chart, const lm_series *s, size_t value, bool back, char begin) {
    for (int i = 0; i < s->count; i++) {
        const lm_point *p = &s->points[back ? s->count - 1 - i : i];
        double y, x = WIDTH * lm_axis_at(&chart->x, p->x);
        memcpy(&y, (const char *)p + value, sizeof y);
        y = HEIGHT * (1 - lm_axis_at(&chart->y, y));
        if (isnan(x) || isnan(y)) continue;
        fprintf(file, "%c%.1f %.1f", begin, x, fmin(fmax(y, -HEIGHT), 2 * HEIGHT));
        begin = 'L';
    }
}

int lm_colour_of(int run) {
    return run % LM_COLOURS;
}

int lm_dashes_of(int run) {
    return run / LM_COLOURS % 4;
}

static void line(FILE *file, const lm_chart *chart, const lm_curve *c) {
    if (c->style == LM_STEPS && c->series->each > 1) {
        fprintf(file, "<path class=\"band c%d\" d=\"", lm_colour_of(c->run));
        path(file, chart, c->series, offsetof(lm_point, low), false, 'M');
        path(file, chart, c->series, offsetof(lm_point, high), true, 'L');
        fputs("Z\"/>\n", file);
    }
    if (c->style == LM_RINGS) return;
    fprintf(file, "<path class=\"line%s c%d d%d\" vector-effect=\"non-scaling-stroke\" d=\"",
            c->style == LM_REPORTS ? " dotted" : "", lm_colour_of(c->run), lm_dashes_of(c->run));
    path(file, chart, c->series, offsetof(lm_point, mean), false, 'M');
    fputs("\"/>\n", file);
}

static void dots(FILE *file, const lm_chart *chart, const lm_curve *c) {
    bool ring = c->style == LM_RINGS;
    if ((!ring && c->style != LM_REPORTS) || c->series->count > MOST_DOTS) return;
    for (int i = 0; i < c->series->count; i++) {
        const lm_point *p = &c->series->points[i];
        double x = percent(lm_axis_at(&chart->x, p->x)), y = percent(1 - lm_axis_at(&chart->y, p->mean));
        if (!(x >= 0 && x <= 100 && y >= 0 && y <= 100)) continue; /* cut off, or nowhere */
        fprintf(file, "<circle class=\"%s c%d\" cx=\"%g%%\" cy=\"%g%%\" r=\"%s\"/>\n", ring ? "ring" : "dot",
                lm_colour_of(c->run), x, y, ring ? "3.4" : "2.8");
    }
}

/* ---- Values under the pointer, and in words -------------------------------------------------- */

static void curve_name(FILE *file, const lm_curve *c) {
    if (c->name) markup(file, c->name);
    if (c->name && c->what) fprintf(file, ", %s", c->what);
    if (c->name) fputs(": ", file);
}

/* The point of a series that is nearest to x. */
static const lm_point *nearest(const lm_series *s, double x) {
    const lm_point *best = s->points;
    for (int i = 1; i < s->count; i++)
        if (fabs(s->points[i].x - x) < fabs(best->x - x)) best = &s->points[i];
    return best;
}

static const lm_series *longest(const lm_chart *chart) {
    const lm_series *s = NULL;
    for (int i = 0; i < chart->count; i++)
        if (!s || chart->curves[i].series->count > s->count) s = chart->curves[i].series;
    return s;
}

/* Bands of the chart, each with the values that lie in it, or next to it where a curve is a line. */
static void hits(FILE *file, const lm_chart *chart) {
    const lm_series *s = longest(chart);
    const int bands = !s ? 0 : s->count < MOST_HITS ? s->count : MOST_HITS;
    double left = 0;
    for (int k = 0; k < bands; k++) {
        const double x = s->points[k * s->count / bands].x;
        const double next = k + 1 < bands ? s->points[(k + 1) * s->count / bands].x : x;
        double right = k + 1 < bands ? lm_axis_at(&chart->x, (x + next) / 2) : 1;
        if (!(right > left)) continue;
        fprintf(file, "<rect class=\"hit\" x=\"%g%%\" width=\"%g%%\" height=\"100%%\"><title>%s %.15g",
                percent(left), percent(right - left), lm_chart_x(chart), round(x));
        for (int i = 0; i < chart->count && i < MOST_WORDS; i++) {
            const lm_curve *c = &chart->curves[i];
            const lm_point *p = nearest(c->series, x);
            const double at = lm_axis_at(&chart->x, p->x);
            const bool within = at >= left && at <= right;
            if (!within && (c->style == LM_REPORTS || c->style == LM_RINGS)) continue;
            fputc('\n', file);
            curve_name(file, c);
            fprintf(file, "%.4g", p->mean);
        }
        fputs("</title></rect>\n", file);
        left = right;
    }
}

/* Who cannot see the chart reads where its curves begin, end and are lowest. */
static void words(FILE *file, const lm_chart *chart) {
    char cut[128];
    fprintf(file, "<title>%s</title><desc>%s by %s%s%s.", chart->title, chart->title, lm_chart_x(chart),
            chart->y_label ? ", " : "", chart->y_label ? chart->y_label : "");
    for (int i = 0; i < chart->count && i < MOST_WORDS; i++) {
        const lm_series *s = chart->curves[i].series;
        const lm_point *first = s->points, *last = &s->points[s->count - 1], *low = first;
        for (int k = 1; k < s->count; k++)
            if (s->points[k].mean < low->mean) low = &s->points[k];
        fputc(' ', file);
        curve_name(file, &chart->curves[i]);
        fprintf(file, "%.4g at %s %.15g, %.4g at %.15g, lowest %.4g at %.15g.", first->mean,
                lm_chart_x(chart), round(first->x), last->mean, round(last->x), low->mean, round(low->x));
    }
    if (*lm_chart_cut(chart, cut, sizeof cut)) fprintf(file, " %s.", cut);
    fputs("</desc>\n", file);
}

/* ---- The whole ------------------------------------------------------------------------------ */

/* A name's last characters: of folders, what tells them apart. */
static const char *ending(const char *name) {
    int64_t characters = 0;
    for (const char *c = name; *c; c++) characters += (*c & 0xc0) != 0x80;
    for (; characters > NAME_CHARACTERS; characters--) do
            name++;
        while ((*name & 0xc0) == 0x80);
    return name;
}

/* A line for each name: at the right edge, or from the left one on. */
static void legend(FILE *file, const lm_chart *chart, bool left) {
    int y = 4;
    for (int i = 0; i < chart->count; i++) {
        const lm_curve *c = &chart->curves[i];
        if (!c->in_legend) continue;
        const char *name = ending(c->name), *x = left ? "0" : "100%";
        fprintf(file, "<svg x=\"%s\" y=\"%d\" overflow=\"visible\">", x, y);
        if (c->style == LM_STEPS || c->style == LM_LINE || c->run >= LM_COLOURS)
            fprintf(file, "<line class=\"line c%d d%d\" x1=\"%d\" x2=\"%d\"/>", lm_colour_of(c->run),
                    lm_dashes_of(c->run), left ? 0 : -24, left ? 24 : 0);
        else
            fprintf(file, "<circle class=\"%s c%d\" cx=\"%d\" r=\"3.4\"/>",
                    c->style == LM_RINGS ? "ring" : "dot", lm_colour_of(c->run), left ? 12 : -12);
        fprintf(file, "<text class=\"legend\" x=\"%d\" dy=\".34em\" text-anchor=\"%s\">%s", left ? 32 : -30,
                left ? "start" : "end", name > c->name ? "\xe2\x80\xa6" : "");
        markup(file, name);
        fputs("</text></svg>\n", file);
        y += LEGEND_LINE;
    }
}

void lm_svg_chart(FILE *file, const lm_chart *chart) {
    words(file, chart);
    axes(file, chart);
    fprintf(file,
            "<svg width=\"100%%\" height=\"100%%\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">\n",
            WIDTH, HEIGHT);
    for (int i = 0; i < chart->count; i++) line(file, chart, &chart->curves[i]);
    fputs("</svg>\n", file);
    for (int i = 0; i < chart->count; i++) dots(file, chart, &chart->curves[i]);
    hits(file, chart);
    if (lm_chart_names(chart) <= LM_LEGEND) legend(file, chart, false);
}

void lm_svg_file(FILE *file, const lm_chart *chart) {
    enum {
        LEFT = 56,
        TOP = 44,
        RIGHT = 20,
        BOTTOM = 52,
        W = LEFT + WIDTH + RIGHT,
        H = TOP + HEIGHT + BOTTOM
    };
    char cut[128];
    const int names = lm_chart_names(chart), height = H + (names > LM_LEGEND ? names * LEGEND_LINE : 0);
    lm_chart_cut(chart, cut, sizeof cut);
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n<style>\n",
            W, height, W, height, chart->title);
    lm_svg_css(file);
    fprintf(file,
            "</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n"
            "<text x=\"%d\" y=\"22\">%s, %s%s%s</text><text x=\"%d\" y=\"%d\" "
            "text-anchor=\"end\">%s</text>\n",
            LEFT, chart->title, chart->y_label, *cut ? "; " : "", cut, W - RIGHT, H - 12, lm_chart_x(chart));
    fprintf(file, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" overflow=\"visible\">\n", LEFT, TOP,
            WIDTH, HEIGHT);
    lm_svg_chart(file, chart);
    fputs("</svg>\n", file);
    if (names > LM_LEGEND) {
        fprintf(file, "<svg x=\"%d\" y=\"%d\" overflow=\"visible\">\n", LEFT, H);
        legend(file, chart, true);
        fputs("</svg>\n", file);
    }
    fputs("</svg>\n", file);
}
