/* Charts in a terminal: curves of braille dots or, where dots cannot be told apart, of one mark a curve. */
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/look/look_internal.h"

enum { MOST_COLUMNS = 160, MOST_ROWS = 20, LEAST_ROWS = 5, LETTERS = 26 };

lm_terminal lm_terminal_of_stdout(void) {
    lm_terminal t = {.columns = lm_columns_of(STDOUT_FILENO)};
    locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    if (locale) {
        t.utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
        freelocale(locale);
    }
    t.colour = lm_shows_colour(STDOUT_FILENO);
    return t;
}

/* ---- The canvas ----------------------------------------------------------------------------- */

typedef struct cell {
    unsigned char dots; /* of a braille character, from U+2800 on */
    char mark;          /* instead of them; 0: none */
    signed char colour;
} cell;
typedef struct canvas {
    lm_terminal terminal;
    bool braille;
    int columns, rows, left; /* cells; columns left of them, for labels */
    cell cells[MOST_ROWS][MOST_COLUMNS];
} canvas;

static cell *cell_at(canvas *c, int row, int column) {
    return row >= 0 && row < c->rows && column >= 0 && column < c->columns ? &c->cells[row][column] : NULL;
}

/* A curve's mark: letters of runs, small for lines and large for reports. */
static char mark_of(const lm_chart *chart, const lm_curve *curve) {
    bool one_run = chart->count > 0 && chart->curves[0].style == LM_STEPS,
         report = curve->style == LM_REPORTS;
    if (one_run) return report ? 'o' : '.';
    return (char)((report ? 'A' : 'a') + curve->run % LETTERS);
}

/* Sets what lies at x, y: 0 to 1 from the left and from the bottom. */
static void plot(canvas *c, double x, double y, const lm_curve *curve, char mark) {
    static const unsigned char bits[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    bool dots = c->braille && curve->style != LM_REPORTS;
    if (!(x > -1e-9 && x < 1 + 1e-9 && y > -1e-9 && y < 1 + 1e-9)) return; /* cut off */
    int across = dots ? 2 : 1, down = dots ? 4 : 1;
    int column = (int)(x * (c->columns * across - 1) + 0.5),
        row = (int)((1 - y) * (c->rows * down - 1) + 0.5);
    cell *at = cell_at(c, row / down, column / across);
    if (!at) return;
    at->colour = (signed char)(curve->run % LM_COLOURS);
    if (dots)
        at->dots |= bits[row % down][column % across];
    else
        at->mark = mark;
}

static void draw_line(canvas *c, const lm_chart *chart, const lm_curve *curve, char mark) {
    double from[2] = {NAN, NAN};
    for (int i = 0; i < curve->series->count; i++) {
        const lm_point *p = &curve->series->points[i];
        double to[2] = {lm_axis_at(&chart->x, p->x), lm_axis_at(&chart->y, p->mean)};
        if (isnan(to[0]) || isnan(to[1])) continue;
        to[1] = fmin(fmax(to[1], -1), 2); /* far beyond the chart a line need not go */
        if (isnan(from[0])) memcpy(from, to, sizeof to);
        const double dx = to[0] - from[0], dy = to[1] - from[1];
        const int steps = (int)(4 * fmax(c->columns * fabs(dx), c->rows * fabs(dy))) + 1;
        for (int k = 1; k <= steps; k++)
            plot(c, from[0] + dx * k / steps, from[1] + dy * k / steps, curve, mark);
        memcpy(from, to, sizeof to);
    }
}

static void draw_marks(canvas *c, const lm_chart *chart, const lm_curve *curve, char mark) {
    for (int i = 0; i < curve->series->count; i++) {
        const lm_point *p = &curve->series->points[i];
        double x = lm_axis_at(&chart->x, p->x), y = lm_axis_at(&chart->y, p->mean);
        if (!isnan(x) && !isnan(y)) plot(c, x, y, curve, mark);
    }
}

/* ---- Writing it ----------------------------------------------------------------------------- */

static void colour_on(FILE *file, const canvas *c, int colour) {
    static const unsigned char codes[LM_COLOURS] = {33, 208, 35, 170, 37, 167, 142, 99}; /* of 256 */
    if (c->terminal.colour) fprintf(file, "\033[38;5;%dm", codes[colour]);
}

static void colour_off(FILE *file, const canvas *c) {
    if (c->terminal.colour) fputs("\033[0m", file);
}

static void write_cell(FILE *file, const canvas *c, const cell *at) {
    char braille[5];
    if (!at->mark && !at->dots) {
        fputc(' ', file);
        return;
    }
    colour_on(file, c, at->colour);
    if (at->mark) {
        fputc(at->mark, file);
    } else {
        lm_utf8_encode(0x2800 + at->dots, braille);
        fputs(braille, file);
    }
    colour_off(file, c);
}

/* A row with what stands left of it: the label of the tick that lies there. */
static void write_row(FILE *file, const canvas *c, const lm_axis *y, int row) {
    char label[32] = "";
    for (int i = 0; i < y->ticks; i++)
        if ((int)((1 - lm_axis_at(y, y->tick[i])) * (c->rows - 1) + 0.5) == row)
            lm_axis_label(y->tick[i], label, sizeof label);
    const bool tick = label[0];
    if (c->left)
        fprintf(file, "%*s %s", c->left - 2, label, c->terminal.utf8 ? tick ? "┤" : "│" : tick ? "+" : "|");
    int last = c->columns - 1;
    while (last >= 0 && !c->cells[row][last].mark && !c->cells[row][last].dots) last--;
    for (int i = 0; i <= last; i++) write_cell(file, c, &c->cells[row][i]);
    fputc('\n', file);
}

/* The line below the plot and its labels, those that do not touch. */
static void write_base(FILE *file, const canvas *c, const lm_axis *x) {
    char line[MOST_COLUMNS + 64], label[32];
    int width = c->left + c->columns, free = 0;
    memset(line, ' ', sizeof line);
    if (c->left) fprintf(file, "%*s%s", c->left - 1, "", c->terminal.utf8 ? "└" : "+");
    for (int i = 0; i < c->columns; i++) fputs(c->terminal.utf8 ? "─" : "-", file);
    for (int i = 0; i < x->ticks; i++) {
        int length = (int)strlen(lm_axis_label(x->tick[i], label, sizeof label));
        int at = c->left + (int)(lm_axis_at(x, x->tick[i]) * (c->columns - 1) + 0.5) - length / 2;
        if (at + length > width) at = width - length;
        if (at < free) continue;
        memcpy(line + at, label, (size_t)length);
        free = at + length + 2;
    }
    fprintf(file, "\n%.*s\n", free > 2 ? free - 2 : 0, line);
}

static void write_legend(FILE *file, const canvas *c, const lm_chart *chart) {
    for (int i = 0; i < chart->count; i++) {
        const lm_curve *curve = &chart->curves[i];
        const bool line = curve->style == LM_STEPS || curve->style == LM_LINE;
        const char letter = mark_of(chart, curve);
        char text[512], mark[16] = {letter};
        if (!curve->in_legend || curve->style == LM_RINGS) continue;
        if (line && c->braille)
            strcpy(mark, "⠒");
        else if (!line && letter == 'A' + curve->run % LETTERS) /* the same of its line */
            snprintf(mark, sizeof mark, "%c%c", letter, 'a' + curve->run % LETTERS);
        snprintf(text, sizeof text, "%s %s", mark, curve->name);
        colour_on(file, c, curve->run % LM_COLOURS);
        lm_visible(file, text, c->terminal.columns, c->terminal.utf8);
        colour_off(file, c);
        fputc('\n', file);
    }
}

void lm_terminal_chart(FILE *file, const lm_chart *chart, lm_terminal terminal) {
    canvas c = {.terminal = terminal};
    char label[32], title[256];
    for (int i = 0; i < chart->y.ticks; i++) {
        int length = (int)strlen(lm_axis_label(chart->y.tick[i], label, sizeof label));
        if (length + 2 > c.left) c.left = length + 2;
    }
    if (terminal.columns < 3 * c.left) c.left = 0; /* too narrow for labels */
    c.columns = terminal.columns - c.left < MOST_COLUMNS ? terminal.columns - c.left : MOST_COLUMNS;
    c.rows = c.columns / 4 < LEAST_ROWS ? LEAST_ROWS : c.columns / 4 > MOST_ROWS ? MOST_ROWS : c.columns / 4;
    const bool one_run = chart->count > 0 && chart->curves[0].style == LM_STEPS;
    const bool told_apart =
        terminal.colour && chart->count > 0 && chart->curves[chart->count - 1].run < LM_COLOURS;
    c.braille = terminal.utf8 && (one_run || told_apart);
    for (int i = 0; i < chart->count; i++)
        if (chart->curves[i].style == LM_STEPS || chart->curves[i].style == LM_LINE)
            draw_line(&c, chart, &chart->curves[i], mark_of(chart, &chart->curves[i]));
    for (int i = 0; i < chart->count; i++)
        if (chart->curves[i].style == LM_REPORTS)
            draw_marks(&c, chart, &chart->curves[i], mark_of(chart, &chart->curves[i]));
    const int length = snprintf(title, sizeof title, "%s, %s", chart->title, chart->y_label);
    if (length > terminal.columns) title[strcspn(title, ";")] = '\0';
    lm_visible(file, title, terminal.columns, terminal.utf8);
    fputc('\n', file);
    for (int row = 0; row < c.rows; row++) write_row(file, &c, &chart->y, row);
    write_base(file, &c, &chart->x);
    if (*lm_chart_cut(chart, title, sizeof title)) {
        lm_visible(file, title, terminal.columns, terminal.utf8);
        fputc('\n', file);
    }
    write_legend(file, &c, chart);
}
