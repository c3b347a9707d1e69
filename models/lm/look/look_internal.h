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
    LM_CHARACTER_TRAIN, /* the same in nats per character, and in bits per byte */
    LM_CHARACTER_VALIDATION,
    LM_BYTE_TRAIN,
    LM_BYTE_VALIDATION,
    LM_SECONDS, /* since training began */
    LM_COLUMNS
} lm_column;
/* What a loss is the mean over: nats per token, nats per character, bits per byte. */
typedef enum lm_unit { LM_PER_TOKEN, LM_PER_CHARACTER, LM_PER_BYTE, LM_UNITS } lm_unit;
typedef struct lm_history {
    int64_t rows, left_out; /* left_out: numbers that are not finite, or beyond 1e30 */
    bool torn;              /* the last row is not whole, and left out: it may still be being written */
    double iteration, loss; /* of the last row; the last loss that is a number */
    double seconds;         /* of training so far; NaN: the log does not say */
    struct {
        int64_t count;
        double iteration, train, validation, best, best_iteration; /* of the last report; NaN: none */
        double ratio[LM_UNITS]; /* of such a validation loss to that of tokens; NaN: not known */
    } reports;
    lm_series series[LM_COLUMNS];
} lm_history;

/* Reads a log, which may still be growing: a last row that is not whole is left out. It needs the columns iteration
 * and loss, ascending iterations and a row at least; columns of other names are passed over. The series have what lies
 * in the range of iterations, the rest describes the whole run. The text in err names the line, not the file. */
bool lm_history_read(lm_history *history, const char *path, lm_range iterations, tensor_error *err);
/* Makes the losses, which are of tokens, those of another unit; false where the log does not know them. */
bool lm_history_convert(lm_history *history, lm_unit unit);
/* Whether all runs know the losses of a unit. */
bool lm_unit_known(const lm_history *const *runs, int count, lm_unit unit);
/* The unit that makes runs comparable: tokens where they are alike, else characters or bytes if all know them. */
lm_unit lm_unit_for(const lm_history *const *runs, int count);

/* The losses of one run, or of several with their names; curves[LM_RUN_CURVES count] is memory for them. A loss of 5 nats
 * above where the runs begin is beyond the fence: such a run is lost, and must not flatten the others. */
void lm_chart_losses(lm_chart *chart, const lm_history *const *runs, const char *const *names, int count,
                     lm_unit unit, lm_curve *curves);
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

/* What DIR/run.txt says of how the run was made; NULL: nothing. A file that is not there is an empty record. */
typedef struct lm_record {
    int starts;
    const char *started, *last_started, *command, *last_command;
    const char *processor, *threads, *instructions; /* of the last start */
} lm_record;
bool lm_record_read(lm_record *record, const char *path, tensor_arena *arena, tensor_error *err);

/* ---- Pages ---------------------------------------------------------------------------------- */

/* All that the page about a run shows, read and computed before its first word is written. */
typedef struct lm_page {
    const lm_model *model;
    tensor_arena *arena;
    const char *name;
    const lm_history *history;
    lm_record record;
    const char *samples_path, *checkpoint; /* NULL: not there */
    lm_samples samples;
    lm_piece texts[LM_SAMPLES];
    lm_instance instance; /* without parameters where there is no checkpoint */
    int64_t parameters;   /* their number; 0: not known */
    double counted_loss;  /* of what was counted alone, for validation; 0: nothing was */
    nn_file *file;        /* whose metadata are the configuration; NULL: there is none */
    bool comparable;      /* with the published figures */
    const char *prompt;
    tensor ids;     /* of the prompt: [N] */
    tensor weights; /* [layers, H, N, N]; no tensor: not to be shown */
    tensor table;   /* [V, V], the probabilities after each token; no tensor: not to be shown */
    ag_tape *tape;  /* owns them */
} lm_page;

/* The page about one run, and that about several. */
void lm_page_write(FILE *file, const lm_page *page);
void lm_pages_write(FILE *file, const lm_page *const *runs, int count, tensor_arena *arena);

/* Parts of both: from <html> to the heading, and the end. */
void lm_page_begin(FILE *file, const char *kind, const char *title);
void lm_page_end(FILE *file, const lm_model *model, const char *checkpoint);
void lm_page_figure(FILE *file, lm_chart *chart, int ticks);
void lm_page_sample(FILE *file, const lm_page *page, int i, const char *title);
void lm_page_record(FILE *file, const lm_page *page);
void lm_page_text(FILE *file, const char *text); /* as lm_markup */
/* What the model does: maps of its attention, or the table of what follows what. */
void lm_page_maps(FILE *file, const lm_page *page);

#endif
