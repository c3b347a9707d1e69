/* Charts and heat maps: from series of numbers to SVG or to a terminal. */
#ifndef SAMPO_LM_CHART_H
#define SAMPO_LM_CHART_H

#include <math.h>

#include "models/lm/lm.h"

/* ---- Series --------------------------------------------------------------------------------- */

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

/* From one number to another; NaN: from the beginning, to the end. */
typedef struct lm_range {
    double low, high;
} lm_range;
#define LM_EVERYTHING ((lm_range){NAN, NAN})
bool lm_range_holds(lm_range range, double value);
/* Reads "100..5000", "100.." or "..5000". */
bool lm_range_parse(lm_range *range, const char *text, tensor_error *err);

/* ---- Charts --------------------------------------------------------------------------------- */

enum { LM_TICKS = 16, LM_COLOURS = 8 };

typedef struct lm_axis {
    double low, high;
    bool log;
    int ticks;
    double tick[LM_TICKS];
} lm_axis;
/* An axis over low..high with about `most` ticks at round numbers; `widen`: up to the ticks around it, else
 * only to one that is just above it. A logarithmic one needs low > 0. */
lm_axis lm_axis_over(double low, double high, bool log, bool widen, int most);
/* Leaves only the ticks that are whole numbers. */
void lm_axis_whole(lm_axis *axis);
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
    const char *name; /* of the run, or what it is; NULL: the chart has one curve */
    const char *what; /* of the run's; NULL: the name says it */
    lm_style style;
    int run; /* its number: decides about colour, dashes and letter */
    bool in_legend;
} lm_curve;
enum { LM_RUN_CURVES = 3 }; /* of a run's losses, at most */
typedef struct lm_chart {
    const char *title, *y_label, *x_label; /* x_label NULL: "iteration" */
    int count, room;
    lm_curve *curves; /* the caller's memory */
    double fence;     /* values above it do not widen the axis; 0: there is none */
    lm_axis x, y;
    int64_t above;  /* points that the axis leaves out though nobody asked for that */
    double highest; /* of them */
} lm_chart;
/* What of the axes is given. */
typedef struct lm_frame {
    lm_range x, y;
    bool log_x, log_y;
    int ticks; /* about so many */
} lm_frame;
/* Adds a curve, unless the series is empty or there is no room. */
void lm_chart_add(lm_chart *chart, lm_curve curve);
/* Sets the axes to what the curves need within the frame. */
void lm_chart_fit(lm_chart *chart, lm_frame frame);
/* What is cut off, in words; "": nothing. Returns `buffer`. */
char *lm_chart_cut(const lm_chart *chart, char *buffer, size_t size);
/* The legend has at most so many names within the chart; more stand below it. */
enum { LM_LEGEND = 8 };
int lm_chart_names(const lm_chart *chart);

/* What the other axis counts. */
const char *lm_chart_x(const lm_chart *chart);

/* The classes c0, c1, ... and d0, d1, ... of a run: beyond the colours, dashes tell runs apart. */
int lm_colour_of(int run);
int lm_dashes_of(int run);

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

#endif
