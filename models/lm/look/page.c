/* The page about a run: HTML without parts elsewhere and without scripts. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"
#include "models/report_css.h"

enum { MOST_TICKS = 6, TABLE_ROWS = 64 };

/* ---- Figures -------------------------------------------------------------------------------- */

void lm_page_text(FILE *file, const char *text) {
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

void lm_page_figure(FILE *file, lm_chart *chart, int ticks) {
    if (chart->count == 0) return;
    lm_chart_fit(chart, (lm_frame){LM_EVERYTHING, LM_EVERYTHING, .ticks = ticks});
    char cut[128];
    fprintf(file,
            "<figure class=\"chart card\"><figcaption><b>%s</b> by iteration%s%s%s%s</figcaption><svg "
            "role=\"img\" "
            "aria-label=\"%s\">\n",
            chart->title, chart->y_label ? ", " : "", chart->y_label ? chart->y_label : "",
            chart->above ? "; " : "", lm_chart_cut(chart, cut, sizeof cut), chart->title);
    lm_svg_chart(file, chart);
    fputs("</svg></figure>\n", file);
}

void lm_page_begin(FILE *file, const char *kind, const char *title) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
          file);
    lm_page_text(file, title);
    fprintf(file, " \xe2\x80\x93 %s</title>\n<style>\n", kind);
    for (size_t i = 0; i < sizeof report_css / sizeof report_css[0]; i++)
        fprintf(file, "%s\n", report_css[i]);
    lm_svg_css(file);
    fprintf(file, "</style>\n</head>\n<body>\n<main>\n<p class=\"kind\">%s</p>\n<h1>", kind);
    lm_page_text(file, title);
    fputs("</h1>\n", file);
}

void lm_page_end(FILE *file, const lm_model *model, const char *checkpoint) {
    fputs("<footer>", file);
    if (checkpoint) {
        fputs("The model is that of ", file);
        lm_page_text(file, checkpoint);
        fputs(". ", file);
    }
    fprintf(file,
            "Losses are means in nats per token unless said otherwise. Written by %s report, Sampo "
            "%s.</footer>\n</main>\n</body>\n</html>\n",
            model->name, SAMPO_VERSION);
}

static void text_tile(FILE *file, const char *what, const char *value) {
    fprintf(file, "<div><b>%s</b><span>%s</span></div>\n", value, what);
}

static void tiles(FILE *file, const lm_page *p) {
    const lm_history *h = p->history;
    const lm_series *speed = &h->series[LM_SPEED];
    char text[64], digits[32];
    fputs("<div class=\"tiles\">\n", file);
    text_tile(file, "iterations", lm_grouped((int64_t)h->iteration + 1, text));
    tile(file, "validation loss at the last report", "%.3f", h->reports.validation);
    snprintf(text, sizeof text, "at best, iteration %.15g", h->reports.best_iteration);
    if (h->reports.best_iteration < h->reports.iteration) tile(file, text, "%.3f", h->reports.best);
    if (p->counted_loss > 0) tile(file, "validation loss of what is counted alone", "%.3f", p->counted_loss);
    tile(file, "training loss at the last report", "%.3f", h->reports.train);
    tile(file, "validation perplexity, at best", "%.4g", exp(h->reports.best));
    if (fabs(h->reports.ratio[LM_PER_CHARACTER] - 1) > 1e-6)
        tile(file, "validation loss per character, at best", "%.3f",
             h->reports.best * h->reports.ratio[LM_PER_CHARACTER]);
    tile(file, "validation bits per byte, at best", "%.3f", h->reports.best * h->reports.ratio[LM_PER_BYTE]);
    if (speed->count) {
        snprintf(digits, sizeof digits, "%.3g", mean_of(speed));
        text_tile(file, "tokens a second", lm_axis_label(strtod(digits, NULL), text, sizeof text));
    }
    if (p->parameters > 0) text_tile(file, "parameters", lm_grouped(p->parameters, text));
    if (!isnan(h->seconds)) text_tile(file, "of training", lm_duration(h->seconds, text, sizeof text));
    fputs("</div>\n", file);
}

/* The reports as a table, for who reads rather than looks. */
static void report_table(FILE *file, const lm_history *h) {
    const lm_series *train = &h->series[LM_REPORT_TRAIN], *validation = &h->series[LM_REPORT_VALIDATION];
    const int each = validation->count / TABLE_ROWS + 1;
    if (validation->count == 0 || train->count != validation->count) return;
    fputs("<details><summary>The reports as a table</summary><div class=\"wide card\" "
          "tabindex=\"0\"><table><thead><tr>"
          "<th scope=\"col\">iteration</th><th scope=\"col\">training</th><th scope=\"col\">validation</th>"
          "</tr></thead><tbody>\n",
          file);
    for (int i = 0; i < validation->count; i++) {
        if (i % each != 0 && i != validation->count - 1) continue;
        fprintf(file, "<tr><th scope=\"row\">%.15g</th><td>%.3f</td><td>%.3f</td></tr>\n",
                round(validation->points[i].x), train->points[i].mean, validation->points[i].mean);
    }
    fputs("</tbody></table></div></details>\n", file);
}

static void charts(FILE *file, const lm_page *p) {
    static const struct {
        const char *title;
        lm_column column;
    } others[] = {{"Learning rate", LM_RATE}, {"Gradient norm", LM_NORM}, {"Tokens a second", LM_SPEED}};
    lm_chart chart;
    lm_curve curves[LM_RUN_CURVES];
    if (p->history->rows == 1) return; /* measured once: there is no curve */
    fputs("<h2>How it learned</h2>\n", file);
    lm_chart_losses(&chart, &p->history, &p->name, 1, LM_PER_TOKEN, curves);
    lm_page_figure(file, &chart, MOST_TICKS);
    report_table(file, p->history);
    fputs("<div class=\"row\">\n", file);
    for (int i = 0; i < 3; i++) {
        const lm_series *series = &p->history->series[others[i].column];
        chart = (lm_chart){.title = others[i].title, .curves = curves, .room = 1};
        lm_chart_add(&chart, (lm_curve){series, NULL, NULL, LM_STEPS, 0, false});
        chart.fence = 20 * median_of(series);
        lm_page_figure(file, &chart, 3);
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
          "card\" tabindex=\"0\"><table><thead><tr><td></td><th scope=\"col\">training</th><th "
          "scope=\"col\">validation</th></tr></thead><tbody>\n",
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

void lm_page_sample(FILE *file, const lm_page *p, int i, const char *title) {
    char text[32];
    const lm_sample_place *place = &p->samples.places[i];
    double validation = validation_at(p->history, place->iteration);
    fputs("<li class=\"card\">", file);
    if (!isnan(validation)) fprintf(file, "<i>validation %.3f</i>", validation);
    fputs("<b>", file);
    if (title) {
        lm_page_text(file, title);
        fputs(", iteration ", file);
    } else {
        fputs("Iteration ", file);
    }
    fprintf(file, "%s</b><blockquote tabindex=\"0\">", lm_grouped(place->iteration, text));
    lm_markup(file, p->texts[i].bytes, p->texts[i].size);
    fprintf(file, "%s</blockquote></li>\n", (int64_t)p->texts[i].size < place->bytes ? "\xe2\x80\xa6" : "");
}

static void samples(FILE *file, const lm_page *p) {
    char text[32];
    if (p->samples.count == 0) return;
    fputs("<h2>What it writes</h2>\n<p>A sample at each report", file);
    if (p->samples.count < p->samples.total)
        fprintf(file, "; %d of %s", p->samples.count, lm_grouped(p->samples.total, text));
    fputs(".</p>\n<ol class=\"samples\">\n", file);
    for (int i = 0; i < p->samples.count; i++) lm_page_sample(file, p, i, NULL);
    fputs("</ol>\n", file);
}

/* ---- How it was made ------------------------------------------------------------------------ */

static void fact(FILE *file, const char *what, const char *value) {
    if (!value || !*value) return;
    fprintf(file, "<div><dt>%s</dt><dd>", what);
    lm_page_text(file, value);
    fputs("</dd></div>\n", file);
}

void lm_page_record(FILE *file, const lm_page *p) {
    const lm_record *r = &p->record;
    char text[32], machine[512];
    if (r->starts == 0) return;
    fputs("<p class=\"command\">", file);
    lm_page_text(file, r->command ? r->command : "");
    if (r->starts > 1 && r->last_command) {
        fputs("\n", file);
        lm_page_text(file, r->last_command);
    }
    fputs("</p>\n<dl>\n", file);
    fact(file, "started", r->started);
    if (r->starts > 1) {
        snprintf(text, sizeof text, "%d", r->starts);
        fact(file, "starts", text);
        fact(file, "the last one", r->last_started);
    }
    if (!isnan(p->history->seconds))
        fact(file, "duration", lm_duration(p->history->seconds, text, sizeof text));
    fact(file, "processor", r->processor);
    snprintf(machine, sizeof machine, "%s%s%s", r->threads ? r->threads : "", r->instructions ? ", " : "",
             r->instructions ? r->instructions : "");
    fact(file, "threads, instructions", machine);
    fputs("</dl>\n", file);
}

/* A section of the checkpoint's metadata. */
static void metadata(FILE *file, const lm_page *p, const char *title, lm_section section) {
    enum { LONGEST = 200 }; /* not a vocabulary */
    bool begun = false;
    char rounded[32];
    for (int i = 0; i < nn_file_metadata_count(p->file); i++) {
        const nn_metadata *m = nn_file_metadata_at(p->file, i);
        const char *value = lm_value_of(m, rounded, sizeof rounded);
        if (lm_section_of(p->model, m->key) != section || !*value || strlen(value) > LONGEST) continue;
        if (!begun) fprintf(file, "<h3>%s</h3>\n<dl>\n", title);
        begun = true;
        fputs("<div><dt>", file);
        lm_page_text(file, lm_word_of(p->model, m->key));
        fputs("</dt><dd>", file);
        lm_page_text(file, value);
        fputs("</dd></div>\n", file);
    }
    if (begun) fputs("</dl>\n", file);
}

static void how_it_was_made(FILE *file, const lm_page *p) {
    if (p->record.starts == 0 && !p->file) return;
    fputs("<h2>How it was made</h2>\n", file);
    lm_page_record(file, p);
    if (!p->file) return;
    metadata(file, p, "Model", LM_CONFIGURATION);
    metadata(file, p, "Training", LM_TRAINING);
    metadata(file, p, "Other", LM_OTHER_METADATA);
}

void lm_page_write(FILE *file, const lm_page *p) {
    char kind[96];
    snprintf(kind, sizeof kind, "%s \xc2\xb7 training run", p->model->name);
    lm_page_begin(file, kind, p->name);
    tiles(file, p);
    charts(file, p);
    comparison(file, p);
    samples(file, p);
    lm_page_maps(file, p);
    how_it_was_made(file, p);
    lm_page_end(file, p->model, p->checkpoint);
}
