/* The page about several runs: their figures in one table, their losses in one chart, what their options differ in. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

enum { MOST_TICKS = 6, MOST_DIFFERENCES = 48 };

/* ---- Figures -------------------------------------------------------------------------------- */

/* The name of run i, with the line that it has in the chart. */
static void name_cell(FILE *file, const lm_page *run, int i) {
    fprintf(file,
            "<th scope=\"row\" class=\"run\"><svg class=\"swatch\" width=\"24\" height=\"8\" "
            "aria-hidden=\"true\"><line "
            "class=\"c%d d%d\" x2=\"24\" y1=\"4\" y2=\"4\"/></svg>",
            lm_colour_of(i), lm_dashes_of(i));
    lm_page_text(file, run->name);
    fputs("</th>", file);
}

static void number_cell(FILE *file, const char *format, double value) {
    fputs("<td>", file);
    if (!isnan(value)) fprintf(file, format, value);
    fputs("</td>", file);
}

static void figures(FILE *file, const lm_page *const *runs, int count) {
    static const char *const titles[] = {"iterations",    "validation",    "at best",
                                         "per character", "bits per byte", "perplexity",
                                         "parameters",    "tokens/s",      "of training"};
    char text[32];
    fputs("<div class=\"wide card\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">run</th>", file);
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        fprintf(file, "<th scope=\"col\">%s</th>", titles[i]);
    fputs("</tr></thead><tbody>\n", file);
    for (int i = 0; i < count; i++) {
        const lm_history *h = runs[i]->history;
        const lm_series *speed = &h->series[LM_SPEED];
        fputs("<tr>", file);
        name_cell(file, runs[i], i);
        fprintf(file, "<td>%s</td>", lm_grouped((int64_t)h->iteration + 1, text));
        number_cell(file, "%.3f", h->reports.validation);
        number_cell(file, "%.3f", h->reports.best);
        number_cell(file, "%.3f", h->reports.best * h->reports.ratio[LM_PER_CHARACTER]);
        number_cell(file, "%.3f", h->reports.best * h->reports.ratio[LM_PER_BYTE]);
        number_cell(file, "%.4g", exp(h->reports.best));
        fprintf(file, "<td>%s</td>", runs[i]->parameters > 0 ? lm_grouped(runs[i]->parameters, text) : "");
        snprintf(text, sizeof text, "%.3g", speed->count ? speed->points[speed->count / 2].mean : 0);
        fprintf(file, "<td>%s</td>",
                speed->count ? lm_axis_label(strtod(text, NULL), text, sizeof text) : "");
        fprintf(file, "<td>%s</td></tr>\n",
                isnan(h->seconds) ? "" : lm_duration(h->seconds, text, sizeof text));
    }
    fputs("</tbody></table></div>\n", file);
}

/* In a unit that makes the runs comparable; of histories of its own. */
static void chart(FILE *file, const lm_page *const *runs, int count, tensor_arena *arena) {
    lm_history *copies = tensor_arena_alloc(arena, (size_t)count * sizeof *copies, NULL);
    const lm_history **histories = tensor_arena_alloc(arena, (size_t)count * sizeof *histories, NULL);
    const char **names = tensor_arena_alloc(arena, (size_t)count * sizeof *names, NULL);
    lm_curve *curves = tensor_arena_alloc(arena, LM_RUN_CURVES * (size_t)count * sizeof *curves, NULL);
    lm_chart losses;
    if (!copies || !histories || !names || !curves) return;
    for (int i = 0; i < count; i++) {
        copies[i] = *runs[i]->history;
        histories[i] = &copies[i];
        names[i] = runs[i]->name;
    }
    const lm_unit unit = lm_unit_for(histories, count);
    for (int i = 0; i < count; i++) lm_history_convert(&copies[i], unit);
    lm_chart_losses(&losses, histories, names, count, unit, curves);
    for (int i = 0; i < losses.count; i++) losses.curves[i].in_legend = false; /* the table is one */
    lm_page_figure(file, &losses, MOST_TICKS);
}

/* ---- What differs --------------------------------------------------------------------------- */

static const char *value_in(const lm_page *run, const char *key, char *buffer, size_t size) {
    const nn_metadata m = {key, run->file ? nn_file_metadata(run->file, key) : NULL};
    return m.value ? lm_value_of(&m, buffer, size) : "";
}

static bool differs(const lm_page *const *runs, int count, const char *key) {
    char first[64], other[64];
    for (int i = 1; i < count; i++)
        if (strcmp(value_in(runs[0], key, first, sizeof first),
                   value_in(runs[i], key, other, sizeof other)) != 0)
            return true;
    return false;
}

/* The keys with different values, of all runs; returns how many. */
static int differences(const lm_page *const *runs, int count, const char *keys[MOST_DIFFERENCES]) {
    enum { LONGEST = 80 }; /* not a vocabulary */
    int found = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; runs[i]->file && k < nn_file_metadata_count(runs[i]->file); k++) {
            const nn_metadata *m = nn_file_metadata_at(runs[i]->file, k);
            const lm_section section = lm_section_of(runs[i]->model, m->key);
            bool known = section == LM_OTHER_METADATA || strlen(m->value) > LONGEST ||
                         strstr(m->key, "_hash") || !differs(runs, count, m->key);
            for (int n = 0; !known && n < found; n++) known = strcmp(keys[n], m->key) == 0;
            if (!known && found < MOST_DIFFERENCES) keys[found++] = m->key;
        }
    }
    return found;
}

static void difference_table(FILE *file, const lm_page *const *runs, int count) {
    const char *keys[MOST_DIFFERENCES];
    char value[64];
    const int found = differences(runs, count, keys);
    if (found == 0) return;
    fputs("<h2>What differs</h2>\n<div class=\"wide card\" tabindex=\"0\"><table><thead><tr><th "
          "scope=\"col\">run</th>",
          file);
    for (int k = 0; k < found; k++) {
        fputs("<th scope=\"col\">", file);
        lm_page_text(file, lm_word_of(runs[0]->model, keys[k]));
        fputs("</th>", file);
    }
    fputs("</tr></thead><tbody>\n", file);
    for (int i = 0; i < count; i++) {
        fputs("<tr>", file);
        name_cell(file, runs[i], i);
        for (int k = 0; k < found; k++) {
            fputs("<td>", file);
            lm_page_text(file, value_in(runs[i], keys[k], value, sizeof value));
            fputs("</td>", file);
        }
        fputs("</tr>\n", file);
    }
    fputs("</tbody></table></div>\n", file);
}

/* ---- The page ------------------------------------------------------------------------------- */

void lm_pages_write(FILE *file, const lm_page *const *runs, int count, tensor_arena *arena) {
    char kind[96], title[64];
    int samples = 0, records = 0;
    snprintf(kind, sizeof kind, "%s \xc2\xb7 training runs", runs[0]->model->name);
    snprintf(title, sizeof title, "%d runs", count);
    lm_page_begin(file, kind, title);
    figures(file, runs, count);
    fputs("<h2>How they learned</h2>\n", file);
    chart(file, runs, count, arena);
    difference_table(file, runs, count);
    for (int i = 0; i < count; i++) {
        if (runs[i]->samples.count == 0) continue;
        if (samples++ == 0)
            fputs("<h2>What they write</h2>\n<p>The last sample of each.</p>\n<ol class=\"samples\">\n",
                  file);
        lm_page_sample(file, runs[i], runs[i]->samples.count - 1, runs[i]->name);
    }
    if (samples > 0) fputs("</ol>\n", file);
    for (int i = 0; i < count; i++) {
        if (runs[i]->record.starts == 0) continue;
        if (records++ == 0) fputs("<h2>How they were made</h2>\n", file);
        fputs("<h3>", file);
        lm_page_text(file, runs[i]->name);
        fputs("</h3>\n", file);
        lm_page_record(file, runs[i]);
    }
    lm_page_end(file, runs[0]->model, NULL);
}
