/* Writing text: one token after the other from the model's own probabilities. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/write/write_internal.h"

enum { MOST_ROWS = 64 }; /* of samples that are made together */

/* A text among others; all but the first wait in memory for their turn. */
typedef struct draft {
    lm_sheet sheet;
    lm_writer writer;
} draft;

/* Fills the windows with the prompt, or with what a line begins after, and writes the prompt. */
static bool begin(lm_generator *g, draft *drafts, tensor_error *err) {
    const lm_tokenizer *tokenizer = &g->instance->tokenizer;
    const char *prompt = g->sampling->prompt;
    if (!prompt || !*prompt) {
        const int32_t start = lm_tokenizer_start(tokenizer);
        lm_generator_push(g, &start, 0);
        return true;
    }
    tensor_error fault = {0};
    tensor ids = lm_encode(tokenizer, prompt, strlen(prompt), g->arena, &fault);
    if (!tensor_ok(ids)) return tensor_fail(err, "the prompt: %s", fault.text);
    for (int64_t i = 0; i < ids.shape[0]; i++) lm_generator_push(g, &ids.i32[i], 0);
    for (int64_t row = 0; row < g->rows; row++) {
        lm_writer *w = &drafts[row].writer;
        if (!lm_writer_bytes(w, prompt, strlen(prompt), err)) return false;
        if (row == 0 && !lm_flush(w->file, err)) return false;
    }
    return true;
}

/* Writes the tokens of each row, until there are enough or all rows have stopped: at the stop text, or where the model ends
 * its text. */
static bool go_on(lm_generator *g, draft *drafts, tensor_error *err) {
    const lm_sampling *sampling = g->sampling;
    const lm_tokenizer *tokenizer = &g->instance->tokenizer;
    const int32_t end = lm_tokenizer_end(tokenizer);
    int64_t going = g->rows;
    for (int64_t i = 0; i < sampling->tokens && going > 0; i++) {
        if (sampling->interrupted && *sampling->interrupted) return true;
        if (!lm_generator_next(g, err)) return false;
        going = 0;
        for (int64_t row = 0; row < g->rows; row++) {
            const lm_piece piece = lm_decode(tokenizer, g->ids[row]);
            lm_writer *w = &drafts[row].writer;
            if (!(g->ids[row] == end ? lm_writer_stop(w, err)
                                     : lm_writer_bytes(w, piece.bytes, piece.size, err)))
                return false;
            going += !w->stopped;
        }
    }
    return true;
}

/* One text goes to the file as it comes, the others follow it, each after a line of its own. */
static bool copy_drafts(const draft *drafts, int64_t rows, const lm_sampling *sampling, FILE *file,
                        tensor_error *err) {
    for (int64_t row = 1; row < rows; row++) {
        lm_writer w = {.file = file, .terminal = isatty(fileno(file)), .pace = sampling->pace};
        fputs("---\n", file);
        if (!lm_writer_bytes(&w, drafts[row].sheet.text, drafts[row].sheet.size, err) ||
            !lm_writer_end(&w, err))
            return false;
        fputc('\n', file);
    }
    return lm_flush(file, err);
}

/* Samples number `first` to first + rows - 1, made together: each is what it would be alone. */
static bool sample_rows(const lm_instance *instance, const lm_sampling *sampling, int64_t first, int64_t rows,
                        FILE *file, tensor_error *err) {
    draft drafts[MOST_ROWS] = {{.writer.file = file}};
    lm_generator g;
    bool ok = lm_generator_init(&g, instance, sampling, rows, first, err);
    for (int64_t row = 1; ok && row < rows; row++) {
        ok = lm_sheet_open(&drafts[row].sheet, err);
        drafts[row].writer.file = drafts[row].sheet.file;
    }
    drafts[0].writer.terminal = isatty(fileno(file));
    ok = ok && begin(&g, drafts, err);
    for (int64_t row = 0; row < rows; row++) {
        drafts[row].writer.stop = sampling->stop && *sampling->stop ? sampling->stop : NULL;
        if (row == 0) drafts[row].writer.pace = sampling->pace;
    }
    ok = ok && go_on(&g, drafts, err);
    for (int64_t row = 0; row < rows; row++)
        if (drafts[row].writer.file) ok = lm_writer_end(&drafts[row].writer, ok ? err : NULL) && ok;
    if (ok) fputc('\n', file);
    for (int64_t row = 1; row < rows; row++) ok = lm_sheet_close(&drafts[row].sheet, ok ? err : NULL) && ok;
    ok = ok && copy_drafts(drafts, rows, sampling, file, err);
    for (int64_t row = 1; row < rows; row++) free(drafts[row].sheet.text);
    lm_generator_free(&g);
    return ok;
}

bool lm_sample(const lm_instance *instance, const lm_sampling *sampling, FILE *file, tensor_error *err) {
    const int64_t samples = sampling->samples > 1 ? sampling->samples : 1;
    for (int64_t i = 0, rows; i < samples; i += rows) {
        rows = samples - i < MOST_ROWS ? samples - i : MOST_ROWS;
        if (i > 0) fputs("---\n", file);
        if (!sample_rows(instance, sampling, sampling->number + i, rows, file, err)) return false;
        if (sampling->interrupted && *sampling->interrupted) break;
    }
    return true;
}
