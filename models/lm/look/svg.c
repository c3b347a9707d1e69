/* SVG: charts and heat maps whose text keeps its size while they stretch, and escaped text. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

/* ---- Text ----------------------------------------------------------------------------------- */

/* Whether XML may hold the character (XML 1.0, 2.2), and it does not control a terminal or an editor. */
static bool allowed(uint32_t code) {
    if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
    return code != 0x7f && !(code >= 0x80 && code < 0xa0) && code != 0xfffe && code != 0xffff;
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

enum { WIDTH = 690, HEIGHT = 320, MOST_DOTS = 100, NAME_CHARACTERS = 36 };

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
    ".c0{color:#2563c9}.c1{color:#d9690a}.c2{color:#14835a}.c3{color:#b8328f}",
    ".c4{color:#0a8090}.c5{color:#c53030}.c6{color:#7a7400}.c7{color:#6b4fd8}",
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

static void line(FILE *file, const lm_chart *chart, const lm_curve *c) {
    if (c->style == LM_STEPS && c->series->each > 1) {
        fprintf(file, "<path class=\"band c%d\" d=\"", c->colour);
        path(file, chart, c->series, offsetof(lm_point, low), false, 'M');
        path(file, chart, c->series, offsetof(lm_point, high), true, 'L');
        fputs("Z\"/>\n", file);
    }
    if (c->style == LM_RINGS) return;
    fprintf(file, "<path class=\"%s c%d\" vector-effect=\"non-scaling-stroke\" d=\"",
            c->style == LM_REPORTS ? "line dotted" : "line", c->colour);
    path(file, chart, c->series, offsetof(lm_point, mean), false, 'M');
    fputs("\"/>\n", file);
}

static void dots(FILE *file, const lm_chart *chart, const lm_curve *c) {
    bool ring = c->style == LM_RINGS;
    if ((!ring && c->style != LM_REPORTS) || c->series->count > MOST_DOTS) return;
    for (int i = 0; i < c->series->count; i++) {
        const lm_point *p = &c->series->points[i];
        double x = percent(lm_axis_at(&chart->x, p->x)), y = percent(1 - lm_axis_at(&chart->y, p->mean));
        if (isnan(x) || isnan(y)) continue;
        fprintf(file, "<circle class=\"%s c%d\" cx=\"%g%%\" cy=\"%g%%\" r=\"%s\"><title>",
                ring ? "ring" : "dot", c->colour, x, y, ring ? "3.4" : "2.8");
        if (c->name) markup(file, c->name);
        fprintf(file, ": %.4g at iteration %.15g</title></circle>\n", p->mean, round(p->x));
    }
}

/* A name's last characters: of folders, what tells them apart. */
static const char *ending(const char *name) {
    int64_t characters = 0;
    for (const char *c = name; *c; c++) characters += (*c & 0xc0) != 0x80;
    for (; characters > NAME_CHARACTERS; characters--) do
            name++;
        while ((*name & 0xc0) == 0x80);
    return name;
}

/* In the upper right corner, which falling curves leave free. */
static void legend(FILE *file, const lm_chart *chart) {
    int y = 4;
    for (int i = 0; i < chart->count; i++) {
        const lm_curve *c = &chart->curves[i];
        if (!c->name) continue;
        const char *name = ending(c->name);
        if (c->style == LM_STEPS || c->style == LM_LINE)
            fprintf(file,
                    "<rect class=\"dot c%d\" x=\"100%%\" y=\"%d\" width=\"12\" height=\"2\" "
                    "transform=\"translate(-13)\"/>",
                    c->colour, y - 1);
        else
            fprintf(file,
                    "<circle class=\"%s c%d\" cx=\"100%%\" cy=\"%d\" r=\"3.4\" transform=\"translate(-7)\"/>",
                    c->style == LM_RINGS ? "ring" : "dot", c->colour, y);
        fprintf(file,
                "<text class=\"legend\" x=\"100%%\" y=\"%d\" dx=\"-16\" dy=\".34em\" text-anchor=\"end\">%s",
                y, name > c->name ? "\xe2\x80\xa6" : "");
        markup(file, name);
        fputs("</text>\n", file);
        y += 18;
    }
}

void lm_svg_chart(FILE *file, const lm_chart *chart) {
    axes(file, chart);
    fprintf(file,
            "<svg width=\"100%%\" height=\"100%%\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">\n",
            WIDTH, HEIGHT);
    for (int i = 0; i < chart->count; i++) line(file, chart, &chart->curves[i]);
    fputs("</svg>\n", file);
    for (int i = 0; i < chart->count; i++) dots(file, chart, &chart->curves[i]);
    legend(file, chart);
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
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
            W, H, W, H);
    markup(file, chart->title);
    fputs("</title>\n<style>\n", file);
    lm_svg_css(file);
    fprintf(
        file,
        "</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n"
        "<text x=\"%d\" y=\"22\">%s, %s</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">iteration</text>\n"
        "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" overflow=\"visible\">\n",
        LEFT, chart->title, chart->y_label, W - RIGHT, H - 12, LEFT, TOP, WIDTH, HEIGHT);
    lm_svg_chart(file, chart);
    fputs("</svg>\n</svg>\n", file);
}

/* ---- Heat maps ------------------------------------------------------------------------------ */

enum { SHADES = 16 };

/* Shades go with the square root, so that small probabilities are seen. */
static int shade(float p) {
    return p > 0 ? (int)(sqrtf(fminf(p, 1)) * SHADES + 0.5f) : 0;
}

/* The cells of one shade as one path; neighbours in a row are one rectangle. */
static void cells(FILE *file, const lm_heat *heat, int wanted) {
    bool open = false;
    for (int64_t i = 0; i < heat->rows; i++) {
        const float *p = heat->p + i * heat->stride;
        for (int64_t j = 0, end; j < heat->columns; j = end) {
            end = j + 1;
            if (shade(p[j]) != wanted) continue;
            while (end < heat->columns && shade(p[end]) == wanted) end++;
            if (!open) fprintf(file, "<path fill-opacity=\"%.2f\" d=\"", (double)wanted / SHADES);
            open = true;
            fprintf(file, "M%" PRId64 " %" PRId64 "h%" PRId64 "v1h-%" PRId64 "z", j, i, end - j, end - j);
        }
    }
    if (open) fputs("\"/>\n", file);
}

static void heat_labels(FILE *file, const lm_heat *heat, bool upright) {
    fputs("<g text-anchor=\"end\">", file);
    for (int64_t i = 0; i < heat->rows; i++) {
        fprintf(file, "<text x=\"-.3\" y=\"%" PRId64 ".74\">", i);
        markup(file, heat->labels[i]);
        fputs("</text>", file);
    }
    fprintf(file, "</g>\n<g%s>", upright ? " text-anchor=\"middle\"" : "");
    for (int64_t j = 0; j < heat->columns; j++) {
        fprintf(file,
                upright ? "<text x=\"%" PRId64 ".5\" y=\"-.3\">"
                        : "<text transform=\"translate(%" PRId64 ".74 -.3)rotate(-90)\">",
                j);
        markup(file, heat->labels[j]);
        fputs("</text>", file);
    }
    fputs("</g>\n", file);
}

void lm_svg_heat(FILE *file, const lm_heat *heat) {
    int64_t longest = 1, labels = heat->rows > heat->columns ? heat->rows : heat->columns;
    for (int64_t i = 0; i < labels; i++) {
        int64_t characters = lm_utf8_count(heat->labels[i], strlen(heat->labels[i]), NULL);
        if (characters > longest) longest = characters;
    }
    const double margin = 0.7 + 0.45 * (double)longest, width = (double)heat->columns,
                 height = (double)heat->rows;
    fprintf(file, "<svg class=\"heat c0\" viewBox=\"%g %g %g %g\" role=\"img\"><title>", -margin, -margin,
            width + margin + 0.1, height + margin + 0.1);
    markup(file, heat->title);
    fprintf(file, "</title><rect class=\"frame\" width=\"%g\" height=\"%g\"/>\n", width, height);
    for (int i = 1; i <= SHADES; i++) cells(file, heat, i);
    heat_labels(file, heat, longest == 1);
    fputs("</svg>\n", file);
}
