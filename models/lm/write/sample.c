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

/* Writes the tokens of each row, until there are enough or all rows have stopped: at the stop text, or where the model
 * ends its text. */
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

/* What another rank has written, or its failure, comes to rank 0. */
static bool send_text(const nn_world *world, const char *text, size_t size, const tensor_error *failure,
                      tensor_error *err) {
    return world->send(world->context, 0, failure, sizeof *failure, err) &&
           world->send(world->context, 0, &size, sizeof size, err) &&
           world->send(world->context, 0, text, size, err);
}

static bool receive_text(const nn_world *world, int from, const lm_sampling *sampling, FILE *file,
                         tensor_error *err) {
    lm_writer w = {.file = file, .terminal = isatty(fileno(file)), .pace = sampling->pace};
    tensor_error failure;
    size_t size;
    if (!world->receive(world->context, from, &failure, sizeof failure, err) ||
        !world->receive(world->context, from, &size, sizeof size, err))
        return false;
    char *text = malloc(size + 1);
    bool ok =
        text ? world->receive(world->context, from, text, size, err) : tensor_fail(err, "out of memory");
    if (ok && failure.text[0]) ok = tensor_fail(err, "rank %d: %s", from, failure.text);
    ok = ok && lm_writer_bytes(&w, text, size, err) && lm_writer_end(&w, err) && lm_flush(file, err);
    free(text);
    return ok;
}

/* The share of one rank, which is not rank 0, of the texts that are made at once. */
static bool sample_for_another(const lm_instance *instance, const lm_sampling *sampling, int64_t first,
                               int64_t rows, tensor_error *err) {
    lm_sheet sheet = {0};
    tensor_error failure = {0};
    bool ok = lm_sheet_open(&sheet, &failure);
    if (ok && rows > 0) {
        fputs("---\n", sheet.file);
        ok = sample_rows(instance, sampling, first, rows, sheet.file, &failure);
    }
    ok = lm_sheet_close(&sheet, ok ? &failure : NULL) && ok;
    ok = send_text(sampling->world, sheet.text, ok ? sheet.size : 0, &failure, err);
    free(sheet.text);
    return ok;
}

bool lm_sample(const lm_instance *instance, const lm_sampling *sampling, FILE *file, tensor_error *err) {
    const int64_t samples = sampling->samples > 1 ? sampling->samples : 1;
    const nn_world *world = sampling->world, alone = {.size = 1};
    if (!world) world = &alone;
    for (int64_t i = 0; i < samples;) {
        const int64_t share = (samples - i + world->size - 1) / world->size;
        for (int rank = 0; rank < world->size; rank++) {
            const int64_t most = share < MOST_ROWS ? share : MOST_ROWS;
            const int64_t rows = samples - i < most ? samples - i : most;
            if (world->rank == rank && rank > 0) {
                if (!sample_for_another(instance, sampling, sampling->number + i, rows, err)) return false;
            } else if (world->rank == 0 && rank > 0) {
                if (!receive_text(world, rank, sampling, file, err)) return false;
            } else if (world->rank == 0) {
                if (i > 0) fputs("---\n", file);
                if (!sample_rows(instance, sampling, sampling->number + i, rows, file, err)) return false;
            }
            i += rows;
        }
        if (sampling->interrupted && *sampling->interrupted) break;
    }
    return true;
}
