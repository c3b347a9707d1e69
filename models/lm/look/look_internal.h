/* What the commands plot and report share: a run's history, charts of it, and writing them as SVG or into a
 * terminal. */
#ifndef SAMPO_LM_LOOK_INTERNAL_H
#define SAMPO_LM_LOOK_INTERNAL_H

#include "models/lm/look/look.h"

/* ---- Histories ------------------------------------------------------------------------------ */

/* A curve in bounded memory: a point stands for `each` neighbouring values; when there is no room for a further
 * point, pairs become one. Initialise with {0}. */
enum { LM_POINTS = 512 };
typedef struct lm_point {
    double x, mean, low, high; /* mean x; mean, least and largest value */
} lm_point;
typedef struct lm_series {
    int64_t each, filled; /* values of a point; those the last one has so far */
    int count;
    lm_point points[LM_POINTS];
} lm_series;
void lm_series_add(lm_series *series, double x, double y);

/* The columns of DIR/log.csv, which train writes: one row a step; the last two only where a report was made. */
typedef enum lm_column {
    LM_LOSS,
    LM_RATE,
    LM_NORM,
    LM_SPEED,
    LM_REPORT_TRAIN,
    LM_REPORT_VALIDATION,
    LM_COLUMNS
} lm_column;
typedef struct lm_history {
    int64_t rows, left_out; /* left_out: numbers that are not finite, or beyond 1e30 */
    bool torn;              /* the last row is not whole, and left out: it may still be being written */
    double iteration;       /* of the last row */
    struct {
        int64_t count;
        double iteration, train, validation, best, best_iteration; /* of the last report; NaN: none */
    } reports;
    lm_series series[LM_COLUMNS];
} lm_history;

/* Reads a log, which may still be growing: a last row that is not whole is left out. It needs the columns iteration
 * and loss, ascending iterations and a row at least; columns of other names are passed over. The text in err
 * names the line, not the file. */
bool lm_history_read(lm_history *history, const char *path, tensor_error *err);

/* Where DIR/samples.txt has the texts that train wrote at its reports: "# iteration 500, 213 bytes", a newline, the
 * bytes, a newline. Of many samples some are left out evenly, never the last. */
enum { LM_SAMPLES = 16 };
typedef struct lm_sample_place {
    int64_t iteration, offset, bytes;
} lm_sample_place;
typedef struct lm_samples {
    int64_t total; /* in the file */
    int count;
    lm_sample_place places[LM_SAMPLES];
} lm_samples;
/* A last sample without an end is still being written and left out. */
bool lm_samples_read(lm_samples *samples, FILE *file, tensor_error *err);

/* Reads the log of a run's folder; *name becomes the folder's name as it is shown. NULL: the fault, which names the
 * file, has been printed, as has been what was left out. */
lm_history *lm_run_read(const lm_model *model, const char *folder, const char **name, tensor_arena *arena);

/* Files that the commands write: NULL and false with a text that names the file. An earlier file stays whole until all
 * of the new one is on the disk; devices and pipes are written to as they are. */
FILE *lm_create(const char *path, tensor_error *err);
bool lm_finish(FILE *file, const char *path, tensor_error *err);

/* ---- Charts --------------------------------------------------------------------------------- */

enum { LM_TICKS = 16, LM_CURVES = 24, LM_COLOURS = 8 };

typedef struct lm_axis {
    double low, high;
    bool log;
    int ticks;
    double tick[LM_TICKS];
} lm_axis;
/* An axis over low..high with about `most` ticks at round numbers; `widen`: up to the ticks around it, else
 * only to one that is just above it. A logarithmic one needs low > 0. */
lm_axis lm_axis_over(double low, double high, bool log, bool widen, int most);
/* Where a value lies, 0 to 1 from one end to the other; NaN: nowhere, a logarithmic axis having no 0. */
double lm_axis_at(const lm_axis *axis, double value);
/* A tick's label: "0.25", "5000", "20k", "3M"; returns `buffer`. */
char *lm_axis_label(double value, char *buffer, size_t size);

typedef enum lm_style {
    LM_STEPS,   /* a line amid the band of its values */
    LM_LINE,    /* a line alone */
    LM_REPORTS, /* dots, and a dotted line between them */
    LM_RINGS    /* rings alone */
} lm_style;
typedef struct lm_curve {
    const lm_series *series;
    const char *name; /* in the legend; NULL: not there */
    lm_style style;
    int colour; /* 0 to LM_COLOURS - 1 */
} lm_curve;
typedef struct lm_chart {
    const char *title, *y_label; /* the other axis is that of iterations */
    int count;
    lm_curve curves[LM_CURVES];
    lm_axis x, y;
} lm_chart;
/* Adds a curve, unless the series is empty. */
void lm_chart_add(lm_chart *chart, const lm_series *series, const char *name, lm_style style, int colour);
/* Sets the axes to what the curves need. */
void lm_chart_fit(lm_chart *chart, bool log_x, bool log_y, int most);
/* The losses of one run, or of several with their names, up to LM_COLOURS. */
void lm_chart_losses(lm_chart *chart, const lm_history *const *runs, const char *const *names, int count);

/* Writes text into HTML or SVG: what is not UTF-8, or not allowed in XML, becomes U+FFFD. */
void lm_markup(FILE *file, const char *text, size_t size);
/* A chart that fills the SVG element around it; the CSS that charts and heat maps need; and a whole file. */
void lm_svg_chart(FILE *file, const lm_chart *chart);
void lm_svg_css(FILE *file);
void lm_svg_file(FILE *file, const lm_chart *chart);

/* The probabilities p[rows][columns], rows `stride` apart, as an SVG element of square cells, coloured the
 * stronger the likelier. labels[i] stands beside row i and over column i, short UTF-8. */
typedef struct lm_heat {
    const char *title;
    const float *p;
    int64_t rows, columns, stride;
    const char *const *labels;
} lm_heat;
void lm_svg_heat(FILE *file, const lm_heat *heat);

/* ---- Terminals ------------------------------------------------------------------------------ */

/* What a terminal, or whatever stdout is, can show. */
typedef struct lm_terminal {
    int columns;
    bool utf8, colour;
} lm_terminal;
lm_terminal lm_terminal_of_stdout(void);
/* A chart in at most that many columns, its legend below. */
void lm_terminal_chart(FILE *file, const lm_chart *chart, lm_terminal terminal);
/* Writes text in at most `columns` columns, without control characters; returns the columns it took. */
int lm_terminal_text(FILE *file, const char *text, int columns, bool utf8);

/* ---- Pages ---------------------------------------------------------------------------------- */

/* All that the page about a run shows, read and computed before its first word is written. */
typedef struct lm_page {
    const lm_model *model;
    tensor_arena *arena;
    const char *name;
    const lm_history *history;
    const char *samples_path, *checkpoint; /* NULL: not there */
    lm_samples samples;
    lm_piece texts[LM_SAMPLES];
    lm_instance instance; /* without parameters where there is no checkpoint */
    nn_file *file;        /* whose metadata are the configuration */
    bool comparable;      /* with the published figures */
    const char *prompt;
    tensor ids;     /* of the prompt: [N] */
    tensor weights; /* [layers, H, N, N]; no tensor: not to be shown */
    tensor table;   /* [V, V], the probabilities after each token; no tensor: not to be shown */
    ag_tape *tape;  /* owns them */
} lm_page;
void lm_page_write(FILE *file, const lm_page *page);

#endif
