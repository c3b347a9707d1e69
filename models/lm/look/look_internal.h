/* What the commands of this room share: words, a run's history, its page. */
#ifndef SAMPO_LM_LOOK_INTERNAL_H
#define SAMPO_LM_LOOK_INTERNAL_H

#include "models/lm/look/chart.h"
#include "models/lm/look/look.h"
#include "models/lm/train/train.h"

/* ---- Words ---------------------------------------------------------------------------------- */

/* What a checkpoint's metadata are about: the model, its training, anything else. */
typedef enum lm_section { LM_CONFIGURATION, LM_TRAINING, LM_OTHER_METADATA, LM_SECTIONS } lm_section;
lm_section lm_section_of(const lm_model *model, const char *key);
/* A key as people read it: the name of its option ("layers" for n_layer), else words. */
const char *lm_word_of(const lm_model *model, const char *key);
/* A value as people read it, with long numbers rounded: the metadata's own, or in `buffer`; "": there is none yet. */
const char *lm_value_of(const nn_metadata *metadata, char *buffer, size_t size);
/* 1234567 as 1,234,567; returns `buffer`. */
char *lm_grouped(int64_t number, char buffer[32]);

/* ---- Histories ------------------------------------------------------------------------------ */

/* The columns of DIR/log.csv, which train writes: one row a step; those of reports only where one was made. */
typedef enum lm_column {
    LM_LOSS,
    LM_RATE,
    LM_NORM,
    LM_SPEED,
    LM_REPORT_TRAIN,
    LM_REPORT_VALIDATION,
    LM_CHARACTER_TRAIN, /* the same per character */
    LM_CHARACTER_VALIDATION,
    LM_SECONDS, /* since training began */
    LM_COLUMNS
} lm_column;
typedef struct lm_history {
    int64_t rows, left_out; /* left_out: numbers that are not finite, or beyond 1e30 */
    double iteration, loss; /* of the last row; the last loss that is a number */
    double seconds;         /* of training so far; NaN: the log does not say */
    struct {
        int64_t count;
        double iteration, train, validation, best, best_iteration; /* of the last report; NaN: none */
        double per_character; /* characters' share in a token's validation loss; NaN: not known */
    } reports;
    lm_series series[LM_COLUMNS];
} lm_history;

/* Reads a log, which may still be growing: a last line without an end is left out. It needs the columns iteration
 * and loss, ascending iterations and a row at least; columns of other names are passed over. The series have what lies
 * in the range of iterations, the rest describes the whole run. The text in err names the line, not the file. */
bool lm_history_read(lm_history *history, const char *path, lm_range iterations, tensor_error *err);
/* Makes the losses those of a character; false where the log does not know them. */
bool lm_history_per_character(lm_history *history);

/* The losses of one run, or of several with their names; curves[LM_RUN_CURVES count] is memory for them. A loss of 5 nats
 * above where the runs begin is beyond the fence: such a run is lost, and must not flatten the others. */
void lm_chart_losses(lm_chart *chart, const lm_history *const *runs, const char *const *names, int count,
                     lm_curve *curves);
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
lm_history *lm_run_read(const lm_model *model, const char *folder, lm_range iterations, const char **name,
                        tensor_arena *arena);

/* Files that the commands write: NULL and false with a text that names the file. */
FILE *lm_create(const char *path, tensor_error *err);
bool lm_finish(FILE *file, const char *path, tensor_error *err);

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
