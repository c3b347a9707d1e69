/* Sampo lm: what language models share. A model is a small program: its configuration, its parameters and its
 * forward pass, which it hands over as lm_program. lm has the rest: options, texts and their batches, the
 * tokenizer, training, evaluation, sampling and checkpoints.
 *
 * Conventions: B rows of a batch, T tokens of context, V entries of the vocabulary. Functions that can fail
 * return false (or no tensor, or NULL) and leave the text in `err`; texts do not name the file that the caller
 * passed, unless said otherwise. What is allocated on an arena needs no freeing.
 */
#ifndef SAMPO_LM_H
#define SAMPO_LM_H

#include "models/lm/cli/cli.h"
#include "models/lm/count/count.h"
#include "models/lm/publication.h"

enum { LM_MAX_CONTEXT = 65536 };

/* ---- Random streams -------------------------------------------------------------------------------- */

/* Every use of random numbers has streams of its own, numbered by an index, so that each drawing is a pure
 * function of the seed and the index. nn_params_finalize uses streams 0, 1, ... */
typedef enum lm_stream {
    LM_STREAM_INITIALISATION,
    LM_STREAM_BATCHES,    /* index: the iteration */
    LM_STREAM_EVALUATION, /* index: the iteration and the split */
    LM_STREAM_DROPOUT,    /* index: the iteration; counter: the row */
    LM_STREAM_SAMPLING    /* index: the sample's number */
} lm_stream;
tensor_rng lm_rng(uint64_t seed, lm_stream stream, uint64_t index);

/* ---- Models ---------------------------------------------------------------------------------------- */

/* Losses that others have reached with a model's defaults on the Kalevala; NaN: not known. A list ends with {0}. */
typedef struct lm_reference {
    const char *what;
    double train, validation;
} lm_reference;

/* What a model computes from. */
typedef struct lm_input {
    ag_var *ids; /* [B, N] int32 */
    /* NULL, or what is known of the tokens before them: only the last logits are needed then. */
    nn_cache *cache;
    tensor_rng *dropout;     /* NULL: none */
    const lm_counts *counts; /* NULL: the model counts nothing */
    /* [B, W] int32: all tokens that the model sees, the last of which are ids. No tensor: ids are all. */
    tensor window;
    /* [B, N] int32: the token after each one where the text that was counted goes on with it, else -1. No tensor:
     * nowhere. */
    tensor without;
} lm_input;
/* What the counts say of the token after each one, by the tokens of the window alone; constants. What stands in the
 * text that was counted is counted without itself. NULL: failed. */
typedef struct lm_counted {
    ag_var *log_p; /* [B, N, V]: the logarithms of its probabilities p */
    /* [B, N, V + order + 1], for a model's input: 8 p and log(1 + n_k) / 8, where the text has had the last k = 0, 1,
     * ... tokens n_k times, as lm_counts_predict has it. The factors make them about as large as embeddings are. */
    ag_var *features;
} lm_counted;
lm_counted lm_count(const lm_input *in);

struct lm_instance;
typedef struct lm_model {
    const char *name;    /* of the program, and the architecture in checkpoints */
    const char *summary; /* what it is: "a GPT" */
    const char *typed;   /* how the program was called: what lines to type begin with */
    void *self;          /* configuration and parameters */
    const lm_option *options;
    struct { /* what `train` does unless told otherwise; no iterations: there is nothing to train */
        int64_t context, batch, iterations;
        double rate;
    } defaults;
    /* Whether the options fit together; completes those that were not given. NULL: always. */
    bool (*check)(void *self, tensor_error *err);
    void (*init)(void *self, nn_params *params, int64_t vocabulary, int64_t context);
    /* ids [B, N] -> logits [B, N, V], or with a cache [B, 1 or N, V]. Called by several threads at once. */
    ag_var *(*forward)(const void *self, const lm_input *in);
    /* An option: how many tokens the contexts have that are counted in the text for it. NULL, or 0: nothing is counted. */
    const int64_t *order;
    /* How many rows of a batch are best computed together at least, such as those that a recurrent model's products
     * have. 0: any */
    int64_t rows;
    /* How many float32 numbers a step of training holds at once for each token. NULL: not known, few. */
    double (*activations)(const void *self, int64_t vocabulary);
    /* How many parameters are rows of tables, of which a token takes one: they cost no time. NULL: few. */
    double (*looked_up)(const void *self);
    /* Makes the cache that forward takes, for B rows of T tokens. One of a state alone, without keys and values, goes on
     * where the tokens have become more than T. NULL: the model needs none. */
    bool (*cache)(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                  tensor_error *err);
    /* Configures the model for a published checkpoint of it, gives the tensors our names and fills vocabulary and
     * context. False: it is none, with the reason. NULL: nobody publishes this model. */
    bool (*adopt)(void *self, lm_published *published, tensor_error *err);
    /* Fills form, spare and arena of a publication with the rest, for an instance of the model. False: the form has no
     * word for something, with the reason. NULL: no other program knows this model. */
    bool (*publish)(const void *self, const struct lm_instance *instance, lm_publication *publication,
                    tensor_error *err);
    /* Names of parameters, as nn_group has them: the matrices of hidden layers, and the tables that tokens and positions
     * choose rows of. NULL: none. */
    const char *matrices, *tables;
    /* The tensor with a row for each token of the context; NULL: the context is no part of the parameters. */
    const char *positions;
    /* How much each token attends to those before it: [B, layers, H, N, N], without a cache. NULL: it has no attention. */
    ag_var *(*attention)(const void *self, const lm_input *in);
    const lm_reference *references; /* NULL: none */
} lm_model;

/* Defined by each model's file: the model with its defaults, in static memory. */
const lm_model *lm_program(void);

/* The program: returns its exit status. */
int lm_main(const lm_model *model, int argc, char **argv);

/* The last n tokens of the window up to each of ids, the oldest first: [B, N, n] int32, on the same tape. What stands
 * before the window is the token `before`. */
ag_var *lm_last(const lm_input *in, int n, int32_t before);
/* A number below `rows` for the last n tokens of the window up to each of ids: [B, N] int32, on the same tape.
 * Different for all sequences where rows is (V + 1)^n or more, else by hashing. What stands before the window is a
 * token of its own. */
ag_var *lm_grams(const lm_input *in, int n, int64_t vocabulary, int64_t rows);

/* Positions of ids [B, T] after the cache's tokens (NULL: 0..T-1), on the same tape. */
ag_var *lm_positions(ag_var *ids, const nn_cache *cache);

/* A model with its parameters and its vocabulary, new or from a checkpoint. Initialise with {0}. */
typedef struct lm_instance {
    const lm_model *model;
    tensor_arena *arena;
    lm_tokenizer tokenizer;
    int64_t context;
    nn_params *params;
    lm_counts *counts; /* NULL: none */
} lm_instance;
void lm_instance_free(lm_instance *instance);

/* ---- Messages ---------------------------------------------------------------------------- */

/* A word as a shell takes it, in quotes where it needs them, into `buffer`, which it returns. */
enum { LM_QUOTED = 4096 };
const char *lm_quoted(const char *word, char *buffer, size_t size);
const char *lm_typed(const lm_model *model); /* what a line to type begins with: "build/models/gpt" */
/* One line on stderr, "gpt: ...", without control characters. lm_fail returns LM_FAILED. A terminal gets several lines
 * where they do not fit; none of them breaks an LM_COMMAND("...") of the format, a command to type. */
#define LM_COMMAND(words) "\x0e" words "\x0f"
enum { LM_COMMAND_BEGIN = '\x0e', LM_COMMAND_END = '\x0f' };
void lm_say(const lm_model *model, const char *format, ...) TENSOR_PRINTF(2, 3);
int lm_fail(const lm_model *model, const char *format, ...) TENSOR_PRINTF(2, 3);

/* Whether an error is one of memory, and none of what a file has: such texts say "out of memory". */
bool lm_wants_memory(const tensor_error *err);

/* A line of a table on stdout: cells, each right in its width, and a name behind them; without a name the titles. Cells
 * that leave the name less than its share of so many columns are left out, the last ones first. */
typedef struct lm_cell {
    const char *title;
    int width;
    char text[32];
} lm_cell;
void lm_table_line(const lm_cell *cells, int count, const char *name, int columns);

/* Parses a command's options, sets the number of threads where `threads` is above 0 after it and checks the
 * instruction set. Returns -1 to go on, else the exit status: the help or the fault has been printed. */
int lm_begin(const lm_model *model, const lm_usage *usage, int argc, char *const *argv, const char **operand,
             const int64_t *threads);

/* Completes the names; where there are none, with the default text's, and says so. */
bool lm_name_texts(const lm_model *model, lm_paths *data, tensor_arena *arena, tensor_error *err);
/* The same, and opens the text of all files one behind the other. Returns LM_DONE or LM_FAILED, with the fault printed. */
int lm_open_text(const lm_model *model, lm_text *text, lm_paths *data, lm_tokenizer_kind kind,
                 tensor_arena *arena);

#endif
