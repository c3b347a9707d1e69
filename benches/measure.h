/* What the benchmarks share: options, turns, figures, tables, and the limits of the machine.
 *
 * Machines are shared and drift. So works that are compared, ours, the machine's limit, another library's, take turns
 * in one loop; a ratio is the median of the ratios within a turn, and every figure comes with its quartiles. */
#ifndef SAMPO_BENCHES_MEASURE_H
#define SAMPO_BENCHES_MEASURE_H

#include "models/lm/lm.h"

double now(void);                /* seconds */
double median(double *x, int n); /* sorts x */

/* ---- The program -------------------------------------------------------------------------- */

/* Fused multiply-adds in registers, on all threads: a fraction of a millisecond. */
typedef struct limit_peak {
    const char *isa;
    double flops; /* of a run */
    double best;  /* flop/s: the most that a run has shown so far */
} limit_peak;

typedef struct bench {
    const char *name;
    int64_t threads;   /* --threads, or one a processor; set for the tensor library */
    bool threads_set;  /* --threads was given */
    limit_peak peak;   /* of the instruction set in use, on `threads` */
    limit_peak single; /* the same on one */
    bool quick;        /* --quick: hardly any turns, to see that the program works */
    const char *path;  /* --json */
    FILE *json;
    const struct bench_column *columns; /* of the table under way */
    const char *title;
    int rows; /* so far */
} bench;

/* Reads the options, the program's own (NULL: none) and those of all; opens the record. Returns -1 to go on, else the
 * exit status: the help or the fault has been printed. */
int bench_begin(bench *b, const char *name, const char *summary, const lm_option *options, int argc,
                char **argv);
/* Ends the record; says what is in `err`. Returns the exit status. */
int bench_end(bench *b, tensor_error *err);

/* ---- Figures ------------------------------------------------------------------------------ */

typedef struct figure {
    double median, low, high; /* low and high: the quartiles */
} figure;
figure figure_of(double *x, int n); /* sorts x */
figure figure_times(figure f, double factor);
figure figure_rate(double amount, figure seconds); /* amount a second */

/* One of the works that take turns. */
typedef struct bench_side {
    double (*run)(void *context); /* does the work once; the seconds it took, below 0: it failed */
    void *context;
    double settle;  /* seconds to wait after its turn, for threads that spin on */
    figure seconds; /* of one run */
    figure lead;    /* its seconds by those of the first side: how many times faster that is */
} bench_side;

enum { BENCH_MAX_SIDES = 4, BENCH_MAX_TURNS = 101 };

/* Runs the sides in turns, short ones several times a turn, and fills in their figures. */
bool bench_alternate(const bench *b, bench_side *sides, int count, int turns);

/* ---- Tables ------------------------------------------------------------------------------- */

/* A table ends with {0}. */
typedef struct bench_column {
    const char *key;  /* in the record; empty: not there */
    const char *head; /* above the column */
    int width;        /* below 0: left-aligned */
    int decimals;
} bench_column;

/* A text, a number, a figure, or {0}: nothing. */
typedef struct bench_cell {
    const char *text;
    figure value;
    bool number, spread;
} bench_cell;
bench_cell cell_text(const char *text);
bench_cell cell_number(double x);
bench_cell cell_figure(figure f);

/* Begins a table, on stdout and in the record. */
void bench_table(bench *b, const char *title, const bench_column *columns);
void bench_row(bench *b, const bench_cell *cells);

/* ---- Limits ------------------------------------------------------------------------------- */

/* The side that measures it; isa NULL: the one in use. What `peak` knows of the same set and as many threads is kept; let
 * it begin as {0}. */
bench_side limit_peak_side(limit_peak *peak, const char *isa);
/* What percentage of the peak `flops` in `seconds` are. A loaded machine shows less than its peak, never more; so the
 * peak is the best of all runs, and where the work seems to surpass it by 5 % the side runs on until it does not. False,
 * with the reason in err, where it still does: then the peak or the work is counted wrongly. */
bool limit_percent(const bench_side *side, double flops, double seconds, double *percent, tensor_error *err);

/* Memory traffic of all threads, each in its own share of `bytes`. */
typedef enum limit_traffic { LIMIT_READ, LIMIT_WRITE, LIMIT_TRIAD /* a = b c + a */ } limit_traffic;
typedef struct limit_stream {
    limit_traffic traffic;
    float *memory;
    int64_t share;  /* floats of a thread */
    int64_t passes; /* over its share in a run */
    double moved;   /* bytes of a run: 4 a float read or written */
} limit_stream;
/* Memory is on the arena. A side without `run`: there is not enough. */
bench_side limit_stream_side(limit_stream *stream, limit_traffic traffic, int64_t bytes, tensor_arena *arena,
                             tensor_error *err);

/* Bytes of the cache of level 1 (data), 2 or 3; a common size where the system does not say. */
int64_t limit_cache(int level);

#endif
