/* The page about a run: HTML without parts elsewhere and without scripts. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"
#include "models/report_css.h"

enum { MOST_TICKS = 6, MOST_MAP_LAYERS = 24, MOST_MAP_HEADS = 16, LABEL_BYTES = 32, LABEL_CHARACTERS = 8 };

/* ---- Figures -------------------------------------------------------------------------------- */

static void escaped(FILE *file, const char *text) {
    lm_markup(file, text, strlen(text));
}

static double mean_of(const lm_series *s) {
    double sum = 0;
    for (int i = 0; i < s->count; i++) sum += s->points[i].mean;
    return s->count ? sum / s->count : NAN;
}

static int compare_numbers(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const lm_series *s) {
    double all[LM_POINTS];
    for (int i = 0; i < s->count; i++) all[i] = s->points[i].mean;
    qsort(all, (size_t)s->count, sizeof *all, compare_numbers);
    return s->count ? all[s->count / 2] : 0;
}

static void tile(FILE *file, const char *what, const char *format, double value) {
    if (isnan(value)) return;
    fputs("<div><b>", file);
    fprintf(file, format, value);
    fprintf(file, "</b><span>%s</span></div>\n", what);
}

static void figure(FILE *file, lm_chart *chart, int ticks) {
    if (chart->count == 0) return;
    lm_chart_fit(chart, (lm_frame){LM_EVERYTHING, LM_EVERYTHING, .ticks = ticks});
    char cut[128];
    fprintf(file,
            "<figure class=\"chart card\"><figcaption><b>%s</b>%s%s%s%s</figcaption><svg role=\"img\" "
            "aria-label=\"%s\">\n",
            chart->title, chart->y_label ? ", " : "", chart->y_label ? chart->y_label : "",
            chart->above ? "; " : "", lm_chart_cut(chart, cut, sizeof cut), chart->title);
    lm_svg_chart(file, chart);
    fputs("</svg></figure>\n", file);
}

static void head(FILE *file, const lm_page *p) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
          file);
    escaped(file, p->name);
    fprintf(file, " \xe2\x80\x93 %s</title>\n<style>\n", p->model->name);
    for (size_t i = 0; i < sizeof report_css / sizeof report_css[0]; i++)
        fprintf(file, "%s\n", report_css[i]);
    lm_svg_css(file);
    fprintf(file, "</style>\n</head>\n<body>\n<main>\n<p class=\"kind\">%s \xc2\xb7 training run</p>\n<h1>",
            p->model->name);
    escaped(file, p->name);
    fputs("</h1>\n<div class=\"tiles\">\n", file);
    const lm_history *h = p->history;
    const lm_series *speed = &h->series[LM_SPEED];
    char text[64];
    fprintf(file, "<div><b>%s</b><span>iterations</span></div>\n",
            lm_grouped((int64_t)h->iteration + 1, text));
    tile(file, "validation loss at the last report", "%.3f", h->reports.validation);
    snprintf(text, sizeof text, "at best, iteration %.15g", h->reports.best_iteration);
    if (h->reports.best_iteration < h->reports.iteration) tile(file, text, "%.3f", h->reports.best);
    tile(file, "training loss at the last report", "%.3f", h->reports.train);
    if (speed->count) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.3g", mean_of(speed));
        fprintf(file, "<div><b>%s</b><span>tokens a second</span></div>\n",
                lm_axis_label(atof(digits), text, sizeof text));
    }
    if (p->instance.params)
        fprintf(file, "<div><b>%s</b><span>parameters</span></div>\n",
                lm_grouped(nn_params_count(p->instance.params), text));
    fputs("</div>\n", file);
}

static void charts(FILE *file, const lm_page *p) {
    static const struct {
        const char *title;
        lm_column column;
    } others[] = {{"Learning rate", LM_RATE}, {"Gradient norm", LM_NORM}, {"Tokens a second", LM_SPEED}};
    lm_chart chart;
    lm_curve curves[LM_RUN_CURVES];
    fputs("<h2>How it learned</h2>\n", file);
    lm_chart_losses(&chart, &p->history, &p->name, 1, curves);
    figure(file, &chart, MOST_TICKS);
    fputs("<div class=\"row\">\n", file);
    for (int i = 0; i < 3; i++) {
        const lm_series *series = &p->history->series[others[i].column];
        chart = (lm_chart){.title = others[i].title, .curves = curves, .room = 1};
        lm_chart_add(&chart, (lm_curve){series, NULL, NULL, LM_STEPS, 0, false});
        chart.fence = 20 * median_of(series);
        figure(file, &chart, 3);
    }
    fputs("</div>\n", file);
}

static void losses(FILE *file, const char *class, const char *what, double train, double validation) {
    fprintf(file, "<tr class=\"%s\"><th scope=\"row\">%s</th>", class, what);
    const double both[] = {train, validation};
    for (int i = 0; i < 2; i++) fprintf(file, isnan(both[i]) ? "<td></td>" : "<td>%.3f</td>", both[i]);
    fputs("</tr>\n", file);
}

static void comparison(FILE *file, const lm_page *p) {
    char text[64];
    if (!p->comparable || isnan(p->history->reports.validation)) return;
    fputs("<h2>Beside the published figures</h2>\n<p>Of the same model on the same text, the Kalevala; nats "
          "per character.</p>\n"
          "<div class=\"wide "
          "card\"><table><thead><tr><th></th><th>training</th><th>validation</th></tr></thead><tbody>\n",
          file);
    for (const lm_reference *row = p->model->references; row->what; row++)
        losses(file, "", row->what, row->train, row->validation);
    snprintf(text, sizeof text, "this run, iteration %.15g", p->history->reports.iteration);
    losses(file, "own", text, p->history->reports.train, p->history->reports.validation);
    fputs("</tbody></table></div>\n", file);
}

/* The validation loss of the report at an iteration; NaN where the history no longer has it alone. */
static double validation_at(const lm_history *h, int64_t iteration) {
    const lm_series *s = &h->series[LM_REPORT_VALIDATION];
    for (int i = 0; s->each == 1 && i < s->count; i++)
        if (s->points[i].x == (double)iteration) return s->points[i].mean;
    return NAN;
}

static void samples(FILE *file, const lm_page *p) {
    char text[32];
    if (p->samples.count == 0) return;
    fputs("<h2>What it writes</h2>\n<p>A sample at each report", file);
    if (p->samples.count < p->samples.total)
        fprintf(file, "; %d of %s", p->samples.count, lm_grouped(p->samples.total, text));
    fputs(".</p>\n<ol class=\"samples\">\n", file);
    for (int i = 0; i < p->samples.count; i++) {
        const lm_sample_place *place = &p->samples.places[i];
        double validation = validation_at(p->history, place->iteration);
        fprintf(file, "<li class=\"card\"><b>Iteration %s</b>", lm_grouped(place->iteration, text));
        if (!isnan(validation)) fprintf(file, "<i>validation %.3f</i>", validation);
        fputs("<blockquote tabindex=\"0\">", file);
        lm_markup(file, p->texts[i].bytes, p->texts[i].size);
        fprintf(file, "%s</blockquote></li>\n",
                (int64_t)p->texts[i].size < place->bytes ? "\xe2\x80\xa6" : "");
    }
    fputs("</ol>\n", file);
}

/* ---- Looking into the model ----------------------------------------------------------------- */

/* A token as a label: visible signs for white space, hexadecimal digits for what is no UTF-8. */
static void label_of(lm_piece piece, char label[LABEL_BYTES]) {
    size_t used = 0;
    int shown = 0;
    for (size_t i = 0; i < piece.size && shown < LABEL_CHARACTERS; shown++) {
        uint32_t code = 0;
        char character[5];
        int length = lm_utf8_decode(piece.bytes + i, piece.size - i, &code);
        if (length == 0)
            snprintf(character, sizeof character, "%02X", (unsigned char)piece.bytes[i]);
        else
            lm_utf8_encode(code == '\n'  ? 0x23ce
                           : code == ' ' ? 0x2423
                           : code < 0x20 ? 0x2400 + code
                                         : code,
                           character);
        used += (size_t)snprintf(label + used, LABEL_BYTES - used, "%s", character);
        i += length ? (size_t)length : 1;
    }
}

/* Labels of tokens ids[count], or of all tokens; NULL: out of memory, nothing is drawn. */
static const char *const *labels_of(const lm_page *p, const int32_t *ids, int64_t count) {
    char(*labels)[LABEL_BYTES] = tensor_arena_alloc(p->arena, (size_t)count * sizeof *labels, NULL);
    const char **list = tensor_arena_alloc(p->arena, (size_t)count * sizeof *list, NULL);
    for (int64_t i = 0; labels && list && i < count; i++) {
        labels[i][0] = '\0';
        label_of(lm_decode(&p->instance.tokenizer, ids ? ids[i] : (int32_t)i), labels[i]);
        list[i] = labels[i];
    }
    return labels ? list : NULL;
}

static void attention_maps(FILE *file, const lm_page *p) {
    if (!tensor_ok(p->weights)) return;
    const int64_t layers = p->weights.shape[0], heads = p->weights.shape[1], count = p->weights.shape[2];
    const char *const *labels = labels_of(p, p->ids.i32, count);
    if (!labels) return;
    fputs("<h2>Where it looks</h2>\n<p>Each row is a token of the prompt; the stronger a cell's colour, the "
          "more "
          "the token attends to the one above that column. Colours go with the square root. Click a map to "
          "enlarge it.</p>\n<p class=\"prompt\">",
          file);
    escaped(file, p->prompt);
    fputs("</p>\n", file);
    for (int64_t l = 0; l < layers && l < MOST_MAP_LAYERS; l++) {
        fprintf(file, "<h3>Layer %" PRId64 "</h3>\n<div class=\"maps\">\n", l + 1);
        for (int64_t h = 0; h < heads && h < MOST_MAP_HEADS; h++) {
            char title[64];
            snprintf(title, sizeof title, "Layer %" PRId64 ", head %" PRId64, l + 1, h + 1);
            fputs("<figure class=\"card\" tabindex=\"0\">", file);
            lm_svg_heat(file, &(lm_heat){title, p->weights.f32 + (l * heads + h) * count * count, count,
                                         count, count, labels});
            fprintf(file, "<figcaption>head %" PRId64 "</figcaption></figure>\n", h + 1);
        }
        fputs("</div>\n", file);
    }
    if (layers > MOST_MAP_LAYERS || heads > MOST_MAP_HEADS)
        fprintf(file, "<p>Of %" PRId64 " layers with %" PRId64 " heads the first.</p>\n", layers, heads);
}

static void table_map(FILE *file, const lm_page *p) {
    if (!tensor_ok(p->table)) return;
    const int64_t count = p->table.shape[0];
    const char *const *labels = labels_of(p, NULL, count);
    if (!labels) return;
    fputs(
        "<h2>What follows what</h2>\n<p>All that the model knows: each row is a token; the stronger a cell's "
        "colour, the likelier the token above that column comes next. Colours go with the square root.</p>\n"
        "<div class=\"alone card\">",
        file);
    lm_svg_heat(file,
                &(lm_heat){"Probabilities of the next token", p->table.f32, count, count, count, labels});
    fputs("</div>\n", file);
}

/* The checkpoint's metadata: of training those that begin with this word, else the others. */
static void metadata(FILE *file, const lm_page *p, const char *title, bool training) {
    enum { LONGEST = 200 }; /* not a vocabulary */
    static const char prefix[] = "train.";
    bool begun = false;
    for (int i = 0; i < nn_file_metadata_count(p->file); i++) {
        const nn_metadata *m = nn_file_metadata_at(p->file, i);
        const bool of_training = strncmp(m->key, prefix, sizeof prefix - 1) == 0;
        if (of_training != training || !*m->value || strlen(m->value) > LONGEST) continue;
        if (!begun) fprintf(file, "<h3>%s</h3>\n<dl>\n", title);
        begun = true;
        fputs("<div><dt>", file);
        escaped(file, m->key + (training ? sizeof prefix - 1 : 0));
        fputs("</dt><dd>", file);
        escaped(file, m->value);
        fputs("</dd></div>\n", file);
    }
    if (begun) fputs("</dl>\n", file);
}

static void configuration(FILE *file, const lm_page *p) {
    if (!p->file) return;
    fputs("<h2>Configuration</h2>\n", file);
    metadata(file, p, "Model", false);
    metadata(file, p, "Training", true);
}

void lm_page_write(FILE *file, const lm_page *p) {
    head(file, p);
    charts(file, p);
    comparison(file, p);
    samples(file, p);
    attention_maps(file, p);
    table_map(file, p);
    configuration(file, p);
    fputs("<footer>", file);
    if (p->checkpoint) {
        fputs("The model is that of ", file);
        escaped(file, p->checkpoint);
        fputs(". ", file);
    }
    fprintf(file,
            "Losses are means in nats per token. Written by %s report, Sampo "
            "%s.</footer>\n</main>\n</body>\n</html>\n",
            p->model->name, SAMPO_VERSION);
}
