/* Heat maps: probabilities as an SVG element of coloured cells. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

enum { SHADES = 16, MOST_WORDS = 32 };

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
        lm_markup(file, heat->labels[i], strlen(heat->labels[i]));
        fputs("</text>", file);
    }
    fprintf(file, "</g>\n<g%s>", upright ? " text-anchor=\"middle\"" : "");
    for (int64_t j = 0; j < heat->columns; j++) {
        fprintf(file,
                upright ? "<text x=\"%" PRId64 ".5\" y=\"-.3\">"
                        : "<text transform=\"translate(%" PRId64 ".74 -.3)rotate(-90)\">",
                j);
        lm_markup(file, heat->labels[j], strlen(heat->labels[j]));
        fputs("</text>", file);
    }
    fputs("</g>\n", file);
}

/* In words: of each row, up to MOST_WORDS, the likeliest column. */
static void heat_words(FILE *file, const lm_heat *heat) {
    const int64_t rows = heat->rows < MOST_WORDS ? heat->rows : MOST_WORDS;
    fputs("<desc>Strongest in each row:", file);
    for (int64_t i = 0; i < rows; i++) {
        const float *p = heat->p + i * heat->stride;
        int64_t best = 0;
        for (int64_t j = 1; j < heat->columns; j++)
            if (p[j] > p[best]) best = j;
        fputs(i ? "; " : " ", file);
        lm_markup(file, heat->labels[i], strlen(heat->labels[i]));
        fputs(" \xe2\x86\x92 ", file);
        lm_markup(file, heat->labels[best], strlen(heat->labels[best]));
        fprintf(file, " %.0f %%", 100 * (double)p[best]);
    }
    fprintf(file, "%s.</desc>", rows < heat->rows ? "; and so on" : "");
}

void lm_svg_heat(FILE *file, const lm_heat *heat) {
    int64_t longest = 1, labels = heat->rows > heat->columns ? heat->rows : heat->columns;
    for (int64_t i = 0; i < labels; i++) {
        int64_t characters = lm_utf8_count(heat->labels[i], strlen(heat->labels[i]), NULL);
        if (characters > longest) longest = characters;
    }
    const double margin = 0.7 + 0.45 * (double)longest, width = (double)heat->columns,
                 height = (double)heat->rows;
    fprintf(file, "<svg class=\"heat c0\" viewBox=\"%g %g %g %g\" role=\"img\" aria-label=\"", -margin,
            -margin, width + margin + 0.1, height + margin + 0.1);
    lm_markup(file, heat->title, strlen(heat->title));
    fputs("\"><title>", file);
    lm_markup(file, heat->title, strlen(heat->title));
    fputs("</title>", file);
    heat_words(file, heat);
    fprintf(file, "<rect class=\"frame\" width=\"%g\" height=\"%g\"/>\n", width, height);
    for (int i = 1; i <= SHADES; i++) cells(file, heat, i);
    heat_labels(file, heat, longest == 1);
    fputs("</svg>\n", file);
}
