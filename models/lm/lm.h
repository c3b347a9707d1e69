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

#include <signal.h>

#include "sampo/nn.h"

enum { LM_MAX_CONTEXT = 65536, LM_MAX_VOCABULARY = 0x110000 /* all of Unicode */ };
#define LM_MAX_SEED 9007199254740992.0 /* 2^53: limits of options are doubles */

/* ---- Options ------------------------------------------------------------------------------ */

typedef enum lm_option_kind {
    LM_INTEGER, /* value: int64_t */
    LM_REAL,    /* double */
    LM_TEXT,    /* const char * */
    LM_FILES,   /* lm_paths, one more each time the option is given */
    LM_CHOICE,  /* int64_t, the index of one of `words` */
    LM_YES_NO,  /* bool */
    LM_FLAG,    /* bool, set by the option's mere presence */
    LM_PRESET   /* const lm_preset *, one of `presets` */
} lm_option_kind;

/* Settings of other options under one name: "layers=12 width=768". A table of presets ends with {0}. */
typedef struct lm_preset {
    const char *name, *settings;
} lm_preset;

/* Whether the checkpoint that `train --resume` goes on from holds an option, and which value then counts. */
typedef enum lm_resume {
    LM_FIXED,      /* the checkpoint's; another one on the command line is refused */
    LM_CHANGEABLE, /* the checkpoint's, unless the command line has one */
    LM_UNKEPT      /* it holds none: what the option says is no property of the run */
} lm_resume;

/* Names of files, as an option collects them. lm_open_text sets the rest. */
enum { LM_MAX_FILES = 256 };
typedef struct lm_paths {
    const char *paths[LM_MAX_FILES];
    int count;
    const char *joined; /* all, with newlines between them, as checkpoints keep them */
    const char *name;   /* for messages */
} lm_paths;

/* One option. `value` holds the default until the option is given. A number outside low..high stands for "not
 * given", so --help does not show it as a default. A table of options ends with {0}. */
typedef struct lm_option {
    const char *name; /* "batch" for --batch */
    lm_option_kind kind;
    void *value;
    double low, high;  /* of a number */
    const char *words; /* of a choice: "relu|gelu"; of a text: what stands for it in --help */
    const char *key;   /* under which checkpoints keep the value; NULL: only for --resume, as "train.batch" */
    const char *help;
    const lm_preset *presets;
    lm_resume resume;
} lm_option;

/* Entries of a table. */
static inline lm_option lm_integer(const char *name, int64_t *value, double low, double high,
                                   const char *help) {
    return (lm_option){
        .name = name, .kind = LM_INTEGER, .value = value, .low = low, .high = high, .help = help};
}
static inline lm_option lm_real(const char *name, double *value, double low, double high, const char *help) {
    return (lm_option){.name = name, .kind = LM_REAL, .value = value, .low = low, .high = high, .help = help};
}
static inline lm_option lm_string(const char *name, const char **value, const char *word, const char *help) {
    return (lm_option){.name = name, .kind = LM_TEXT, .value = value, .words = word, .help = help};
}
static inline lm_option lm_files(const char *name, lm_paths *value, const char *word, const char *help) {
    return (lm_option){.name = name, .kind = LM_FILES, .value = value, .words = word, .help = help};
}
static inline lm_option lm_choice(const char *name, int64_t *value, const char *words, const char *help) {
    return (lm_option){.name = name, .kind = LM_CHOICE, .value = value, .words = words, .help = help};
}
static inline lm_option lm_yes_no(const char *name, bool *value, const char *help) {
    return (lm_option){.name = name, .kind = LM_YES_NO, .value = value, .help = help};
}
static inline lm_option lm_flag(const char *name, bool *value, const char *help) {
    return (lm_option){.name = name, .kind = LM_FLAG, .value = value, .help = help};
}
static inline lm_option lm_presets(const lm_preset **value, const lm_preset *presets, const char *help) {
    return (lm_option){.name = "preset", .kind = LM_PRESET, .value = value, .presets = presets, .help = help};
}
/* --seed and --threads, which commands have in common. */
static inline lm_option lm_seed(int64_t *value) {
    return lm_integer("seed", value, 0, LM_MAX_SEED, "the same seed gives the same result");
}
static inline lm_option lm_threads(int64_t *value) {
    lm_option option =
        lm_integer("threads", value, 1, TENSOR_MAX_THREADS, "threads; one per processor unless given");
    option.resume = LM_UNKEPT;
    return option;
}
/* An option that checkpoints keep. */
static inline lm_option lm_kept(const char *key, lm_option option) {
    option.key = key;
    return option;
}
static inline lm_option lm_resumed(lm_resume resume, lm_option option) {
    option.resume = resume;
    return option;
}

/* A command line's description. */
typedef struct lm_usage {
    const char *program, *command, *summary;
    const char *operand;         /* the argument that is no option, such as "FILE"; NULL: none */
    const lm_option *options[2]; /* tables; NULL: none */
    int most;                    /* operands; 0 stands for 1 */
} lm_usage;

/* Sets an option from its text: "'x' is not a number", "0 is out of range: 1 to 256". */
bool lm_option_set(const lm_option *option, const char *text, tensor_error *err);
/* The value as lm_option_set reads it, numbers exactly, nothing for one that is not given; returns
 * `buffer`. */
char *lm_option_text(const lm_option *option, char *buffer, size_t size);

/* Sets options from "name=value name=value". */
bool lm_options_apply(const lm_usage *usage, const char *settings, tensor_error *err);

/* Reads --name value, --name=value and the operands, into operand[most], NULL behind the last. *help becomes
 * true, and reading ends, at --help. A preset's settings are made first: options override them wherever they
 * stand. */
bool lm_options_parse(const lm_usage *usage, int argc, char *const *argv, const char **operand, bool *help,
                      tensor_error *err);
/* Options that may change when a run is resumed are marked. */
void lm_options_help(const lm_usage *usage, FILE *file);
/* The i-th option of both tables; NULL after the last. */
const lm_option *lm_option_at(const lm_usage *usage, int i);
/* Whether a command line that lm_options_parse has accepted gives the option. */
bool lm_option_given(const lm_option *option, int argc, char *const *argv);

/* The one of `count` names that is most like `text`; NULL where none is. */
const char *lm_nearest(const char *text, const char *const *names, int count);

/* ---- Texts ------------------------------------------------------------------------------ */

/* Length in bytes, 1 to 4, of the UTF-8 character at `bytes`, and its code point; 0: not valid. */
int lm_utf8_decode(const char *bytes, size_t size, uint32_t *code);
/* Writes the character and a NUL; returns its length. */
int lm_utf8_encode(uint32_t code, char bytes[5]);
/* The number of characters; -1 and a text that names the first byte (counted from 1) that is not UTF-8. */
int64_t lm_utf8_count(const char *bytes, size_t size, tensor_error *err);

/* What tokens are: characters of a UTF-8 text; bytes of anything; sequences of bytes, by byte pair encoding. */
typedef enum lm_tokenizer_kind { LM_CHAR, LM_BYTE, LM_BPE } lm_tokenizer_kind;

/* A file in memory, mapped or read; do not cut it short meanwhile. Descriptors stay the caller's. */
typedef struct lm_map {
    const char *bytes; /* NULL where there are none */
    size_t size;
    bool mapped;
} lm_map;
bool lm_map_open(lm_map *map, int fd, tensor_error *err);
void lm_map_free(lm_map *map);
int lm_temporary(tensor_error *err); /* a file without a name, in $TMPDIR or /tmp; -1: failed */
bool lm_write_all(int fd, const void *bytes, size_t size, tensor_error *err);

/* A text: what a file has behind its byte order mark, not empty; for characters valid UTF-8 without NUL. */
typedef struct lm_text {
    lm_map map;
    const char *bytes;
    size_t size;
} lm_text;
bool lm_text_read(lm_text *text, const char *path, lm_tokenizer_kind kind,
                  tensor_error *err); /* "-": stdin */
bool lm_text_map(lm_text *text, int fd, lm_tokenizer_kind kind, tensor_error *err);
void lm_text_free(lm_text *text);

/* Finds the text that is used where none is named: kalevala.txt or verses.txt in $SAMPO_DATA, or in the source
 * tree, or where it is installed. The path is on the arena; NULL: none is there. */
const char *lm_text_default(tensor_arena *arena, tensor_error *err);

/* FNV-1a of 64 bits, going on from LM_HASH_BEGIN or from what came before. */
#define LM_HASH_BEGIN 0xcbf29ce484222325u
uint64_t lm_hash(uint64_t hash, const void *bytes, size_t size);

/* ---- Tokenizers --------------------------------------------------------------------------- */

/* A vocabulary: token i, 0 <= i < count, stands for the bytes of lm_decode. It lives on an arena. */
typedef struct lm_tokenizer {
    lm_tokenizer_kind kind;
    int32_t count;
    struct lm_table *tokens;
    struct lm_bpe *bpe; /* LM_BPE only */
} lm_tokenizer;

/* The characters of a text that lm_text_read has checked, in ascending order; those of a list; all bytes. */
bool lm_tokenizer_of_text(lm_tokenizer *tokenizer, const lm_text *text, tensor_arena *arena,
                          tensor_error *err);
bool lm_tokenizer_of_strings(lm_tokenizer *tokenizer, const char *const *strings, int count,
                             tensor_arena *arena, tensor_error *err);
bool lm_tokenizer_of_bytes(lm_tokenizer *tokenizer, tensor_arena *arena, tensor_error *err);

/* Byte pairs, learned from a text: `count` tokens, or fewer where no pair is left that occurs twice. The most
 * frequent pair comes next; of equally frequent ones that with the lower first token, then the lower second.
 * This is what the tokenizers package does. Only the first 64 MiB of a text are looked at. */
enum { LM_BPE_MIN = 256, LM_BPE_MAX = 1 << 20 };
bool lm_tokenizer_learn(lm_tokenizer *tokenizer, const lm_text *text, int32_t count, tensor_arena *arena,
                        tensor_error *err);
/* Byte pairs from files such as GPT-2's vocab.json and merges.txt. "<|endoftext|>" in a vocabulary is one token
 * wherever a text has it. The error text names the file. */
bool lm_tokenizer_of_files(lm_tokenizer *tokenizer, const char *vocab_path, const char *merges_path,
                           tensor_arena *arena, tensor_error *err);
/* As --tokenizer says: "char", "byte", "bpe" learned from the text, else a folder with vocab.json and merges.txt.
 * lm_tokenizer_check: whether it says so. */
bool lm_tokenizer_check(const char *choice, tensor_error *err);
bool lm_tokenizer_choose(lm_tokenizer *tokenizer, const char *choice, int32_t count, const lm_text *text,
                         tensor_arena *arena, tensor_error *err);
lm_tokenizer_kind lm_tokenizer_kind_of(const char *choice);
const char *lm_tokenizer_name(lm_tokenizer_kind kind); /* the same, the other way */

/* The bytes of a token, valid as long as the tokenizer and not ended by NUL. They may be less than a character
 * of UTF-8, or end within one, unless tokens are characters. */
typedef struct lm_piece {
    const char *bytes;
    size_t size;
} lm_piece;
lm_piece lm_decode(const lm_tokenizer *tokenizer, int32_t id);
int32_t lm_tokenizer_find(const lm_tokenizer *tokenizer, const char *bytes, size_t size); /* -1: no token */
int32_t lm_tokenizer_start(const lm_tokenizer *tokenizer); /* what a text without beginning goes on from */

/* Tokens of bytes, [N] int32 on the arena. A character outside the vocabulary is an error that names it, its
 * line and its column. */
tensor lm_encode(const lm_tokenizer *tokenizer, const char *bytes, size_t size, tensor_arena *arena,
                 tensor_error *err);
/* The same for texts of any length: hands the tokens over in runs, as they come. */
typedef bool (*lm_token_sink)(void *context, const int32_t *ids, int64_t count, tensor_error *err);
bool lm_encode_to(const lm_tokenizer *tokenizer, const char *bytes, size_t size, lm_token_sink sink,
                  void *context, tensor_error *err);

/* The metadata that keep it in a checkpoint, with texts on the arena; returns their number, -1 on failure. And
 * back again. */
enum { LM_TOKENIZER_KEYS = 3 };
int lm_tokenizer_metadata(const lm_tokenizer *tokenizer, nn_metadata metadata[LM_TOKENIZER_KEYS],
                          tensor_arena *arena, tensor_error *err);
bool lm_tokenizer_of_file(lm_tokenizer *tokenizer, const nn_file *file, tensor_arena *arena,
                          tensor_error *err);

/* ---- Corpora ------------------------------------------------------------------------------ */

/* Tokens in memory, as small as the vocabulary allows. */
typedef struct lm_tokens {
    const void *data;
    int64_t count;
    int width; /* bytes of a token: 1 or 2, unsigned, or 4 */
} lm_tokens;
/* `count` of them from `begin` on: a view; or written to ids. */
lm_tokens lm_tokens_from(lm_tokens tokens, int64_t begin, int64_t count);
void lm_tokens_read(lm_tokens tokens, int64_t begin, int64_t count, int32_t *ids);

/* The first 90 % of a text's tokens train, the others validate. */
typedef enum lm_split { LM_TRAIN, LM_VALIDATION, LM_ALL } lm_split;
lm_tokens lm_split_of(lm_tokens tokens, lm_split split);

/* How much text tokens stand for. Characters are the bytes that begin one in UTF-8. */
typedef struct lm_extent {
    int64_t tokens, bytes, characters;
} lm_extent;
bool lm_extent_of(lm_extent *extent, const lm_tokenizer *tokenizer, lm_tokens tokens, tensor_error *err);

/* A text as tokens, in a mapped file: no memory of its own for any length. */
typedef struct lm_corpus {
    lm_map map;
    lm_tokens tokens;
    uint64_t hash; /* of the tokens: the same text and tokenizer give the same */
} lm_corpus;
/* The file is at `path`, for the next time: it is used again where text and tokenizer are those that made it, and
 * else made anew. NULL: a temporary file. Without a text (NULL) it has to be there. */
bool lm_corpus_open(lm_corpus *corpus, const lm_tokenizer *tokenizer, const lm_text *text, const char *path,
                    tensor_error *err);
void lm_corpus_free(lm_corpus *corpus);

/* ---- Random streams ----------------------------------------------------------------------- */

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

/* ---- Batches ------------------------------------------------------------------------------ */

/* Rows of tokens and, one further, those to predict: both [B, T] int32. */
typedef struct lm_batch {
    tensor ids, targets;
} lm_batch;
bool lm_batch_new(lm_batch *batch, int64_t rows, int64_t context, tensor_arena *arena, tensor_error *err);
/* Fills it with rows that begin at uniformly drawn places of `tokens`, at least T + 1 of them. */
void lm_batch_draw(lm_batch *batch, lm_tokens tokens, tensor_rng rng);

/* ---- Models ------------------------------------------------------------------------------- */

/* A checkpoint as published for Hugging Face's transformers: tensors without our metadata, and files of text beside
 * them. */
typedef struct lm_published {
    nn_file *file;
    const nn_metadata *config; /* members of config.json; none where that is not there */
    int config_count;
    int64_t vocabulary, context;
} lm_published;
/* What config.json says of a key; NULL: nothing, or null. */
const char *lm_published_config(const lm_published *published, const char *key);

/* Losses that others have reached with a model's defaults on the Kalevala; NaN: not known. A list ends with {0}. */
typedef struct lm_reference {
    const char *what;
    double train, validation;
} lm_reference;

typedef struct lm_model {
    const char *name;    /* of the program, and the architecture in checkpoints */
    const char *summary; /* what it is: "a GPT" */
    void *self;          /* configuration and parameters */
    const lm_option *options;
    struct { /* what `train` does unless told otherwise */
        int64_t context, batch, iterations;
        double rate;
    } defaults;
    /* Whether the options fit together; completes those that were not given. NULL: always. */
    bool (*check)(void *self, tensor_error *err);
    void (*init)(void *self, nn_params *params, int64_t vocabulary, int64_t context);
    /* ids [B, T] -> logits [B, T, V]. Called by several threads at once. Dropout NULL: none. With a cache, ids
     * [B, N] are the tokens after the cache's, and only the last logits need to be there: [B, 1 or N, V]. */
    ag_var *(*forward)(const void *self, ag_var *ids, nn_cache *cache, tensor_rng *dropout);
    /* Makes the cache that forward takes, for B rows of T tokens. NULL: the model needs none. */
    bool (*cache)(const void *self, nn_cache *cache, int64_t batch, int64_t context, tensor_arena *arena,
                  tensor_error *err);
    /* For a published checkpoint of this model: the settings of its options, for lm_options_apply and in memory of the
     * arena. Gives the tensors our names and fills vocabulary and context. NULL: it is none, with the reason. */
    const char *(*adopt)(lm_published *published, tensor_arena *arena, tensor_error *err);
    /* How much each token attends to those before it: ids [B, T] -> [B, layers, H, T, T]. NULL: it has no
     * attention. */
    ag_var *(*attention)(const void *self, ag_var *ids);
    const lm_reference *references; /* NULL: none */
} lm_model;

/* Defined by each model's file: the model with its defaults, in static memory. */
const lm_model *lm_program(void);

/* The program: returns its exit status. */
int lm_main(const lm_model *model, int argc, char **argv);

/* Positions of ids [B, T] after the cache's tokens (NULL: 0..T-1), on the same tape. */
ag_var *lm_positions(ag_var *ids, const nn_cache *cache);

/* A model with its parameters and its vocabulary, new or from a checkpoint. Initialise with {0}. */
typedef struct lm_instance {
    const lm_model *model;
    tensor_arena *arena;
    lm_tokenizer tokenizer;
    int64_t context;
    nn_params *params;
} lm_instance;
void lm_instance_free(lm_instance *instance);

/* nn_parallel_new for rows of T tokens, of which a shard gets enough to be worth it. */
nn_parallel *lm_parallel_new(nn_params *params, int64_t context);

/* The mean loss of a batch's rows, as an nn_loss whose context is this. */
typedef struct lm_loss_context {
    const lm_model *model;
    lm_batch batch;
    const tensor_rng *dropout; /* NULL: none; else row i's numbers begin at counter i 2^40 */
} lm_loss_context;
ag_var *lm_loss(void *context, ag_tape *tape, int64_t begin, int64_t end);

/* ---- Checkpoints -------------------------------------------------------------------------- */

/* Tensors and strings that a checkpoint holds beside the model. */
typedef struct lm_extras {
    const nn_entry *entries;
    const nn_metadata *metadata;
    int entry_count, metadata_count; /* the latter up to LM_MAX_EXTRAS */
} lm_extras;
enum { LM_MAX_EXTRAS = 96 };
bool lm_checkpoint_save(const lm_instance *instance, lm_extras extras, const char *path, tensor_error *err);
/* Fills an instance, and the model's options, from a file; the error text names the file. Free it also after a
 * failure. */
bool lm_checkpoint_load(lm_instance *instance, const lm_model *model, const char *path, tensor_error *err);
/* The first part of it: options, tokenizer, context, and parameters without memory for their values; the error
 * text does not name the file. */
bool lm_checkpoint_configure(lm_instance *instance, const lm_model *model, nn_file *file, const char *path,
                             tensor_error *err);
/* The file that `path` names, or that lies in the folder it names; on the arena, or `path` itself. */
const char *lm_checkpoint_path(const char *path, tensor_arena *arena, tensor_error *err);

/* Configures the model, and an instance's tokenizer and context, for a published checkpoint at `path`. */
bool lm_published_read(lm_instance *instance, nn_file *file, const char *path, tensor_error *err);

/* ---- Training ----------------------------------------------------------------------------- */

/* The learning rate of an iteration: a linear warm-up, rate (i + 1) / (warmup + 1) for i < warmup; then constant, or
 * falling to `lowest` at iteration `end`, on a line or as half a period of a cosine (Loshchilov & Hutter 2017). The
 * same bits on every machine. */
typedef enum lm_schedule_kind { LM_CONSTANT, LM_LINEAR, LM_COSINE } lm_schedule_kind;
typedef struct lm_schedule {
    lm_schedule_kind kind;
    double rate, lowest;
    int64_t warmup, end;
} lm_schedule;
double lm_schedule_rate(const lm_schedule *schedule, int64_t iteration);

/* Whether all parameters are finite numbers. */
bool lm_finite(const nn_params *params);
/* Names what is not, into `text`: a parameter; else the first result of computing the batch (NULL: none); else a
 * parameter's gradient. False where all is finite. */
bool lm_find_not_finite(nn_params *params, lm_loss_context *batch, char *text, size_t size);

/* ---- Evaluation --------------------------------------------------------------------------- */

/* Mean loss over consecutive windows of T tokens, the last partial one left out, summed in double; *predicted
 * receives the number of tokens. */
bool lm_evaluate(const lm_instance *instance, nn_parallel *parallel, lm_tokens tokens, double *loss,
                 int64_t *predicted, tensor_error *err);

/* ---- Sampling ----------------------------------------------------------------------------- */

/* How text is written. What is 0 is off. */
typedef struct lm_sampling {
    const char *prompt; /* NULL: a line's beginning */
    int64_t tokens;
    const char *stop;   /* the text ends before this one; NULL: none */
    double temperature; /* below 1e-6: always the likeliest token */
    int64_t top_k;      /* only the k likeliest tokens */
    double top_p;       /* of these, the fewest that have this share of their probability */
    double min_p;       /* of these, those with this share of the likeliest one's */
    double
        repetition_penalty; /* divides positive logits of the last `repetition_window` tokens, multiplies others */
    int64_t repetition_window;
    int64_t samples, number; /* how many texts; of the first one: others have other random numbers */
    int64_t hop;             /* tokens by which a full window moves; 0 is 1 */
    bool no_cache;
    double pace; /* characters a second */
    uint64_t seed;
    const volatile sig_atomic_t *interrupted; /* NULL, or ends the texts where it becomes other than 0 */
} lm_sampling;
/* Writes each sample: the prompt and the tokens after it, as they come and whole characters at a time, and a newline;
 * "---" stands on a line between samples. Fails also where writing fails. */
bool lm_sample(const lm_instance *instance, const lm_sampling *sampling, FILE *file, tensor_error *err);

/* The next token of one text: from its logits [V], contiguous, which it changes. `order` has room for V tokens,
 * `recent` are those that count as repeated. */
bool lm_choose(const lm_sampling *sampling, tensor scores, int32_t *order, const int32_t *recent,
               int64_t recent_count, tensor_rng *rng, int32_t *id, tensor_error *err);
/* Sets the weights to 0 that top_k, top_p and min_p, in this order, leave out. */
void lm_keep_likeliest(const lm_sampling *sampling, float *weights, int32_t *order, int64_t count);

/* ---- Progress ----------------------------------------------------------------------------- */

/* A line on stderr: where that is a terminal, one that is overwritten and never wraps. */
typedef struct lm_progress {
    int64_t first, done, total; /* iterations; the first is above 0 in a resumed run */
    double loss, tokens_per_second, seconds_left, step_seconds;
    double begun, resumed, shown; /* clock: at the start, at the last step or report, at the last update */
    double trained;               /* seconds, without reports */
    bool terminal, colour;
} lm_progress;
void lm_progress_begin(lm_progress *progress, int64_t first, int64_t total);
/* After each iteration: shown on a terminal, ten times a second at most. */
void lm_progress_step(lm_progress *progress, int64_t done, double loss, int64_t tokens);
/* Before anything else is printed: takes the line off a terminal. */
void lm_progress_clear(const lm_progress *progress);
/* When a report is ready: the same; elsewhere writes a line of its own. */
void lm_progress_report(lm_progress *progress);
/* The line in at most `columns` columns: what does not fit is left out from the end. Returns `buffer`. */
char *lm_progress_text(const lm_progress *progress, int columns, char *buffer, size_t size);
/* Of the terminal that stderr is, else $COLUMNS, else 80. */
int lm_columns(void);
/* Whether a stream is a terminal that can move its cursor, and one that shows colours. */
bool lm_is_terminal(int fd);
bool lm_shows_colour(int fd); /* not where $NO_COLOR is set */

/* ---- Commands and messages ---------------------------------------------------------------- */

int lm_train_command(const lm_model *model, int argc, char *const *argv);
int lm_sample_command(const lm_model *model, int argc, char *const *argv);
int lm_eval_command(const lm_model *model, int argc, char *const *argv);
int lm_info_command(const lm_model *model, int argc, char *const *argv);
int lm_plot_command(const lm_model *model, int argc, char *const *argv);
int lm_report_command(const lm_model *model, int argc, char *const *argv);

enum {
    LM_DONE = 0,
    LM_FAILED = 1,
    LM_BAD_USAGE = 2,
    LM_SIGNALLED = 128 /* and its number */
};                     /* exit statuses */

/* One line on stderr, "gpt: ...", without control characters. lm_fail returns LM_FAILED. */
void lm_say(const lm_model *model, const char *format, ...) TENSOR_PRINTF(2, 3);
int lm_fail(const lm_model *model, const char *format, ...) TENSOR_PRINTF(2, 3);

/* Parses a command's options, sets the number of threads where `threads` is above 0 after it and checks the
 * instruction set. Returns -1 to go on, else the exit status: the help or the fault has been printed. */
int lm_begin(const lm_model *model, const lm_usage *usage, int argc, char *const *argv, const char **operand,
             const int64_t *threads);

/* Completes the names; where there are none, with the default text's, and says so. */
bool lm_name_texts(const lm_model *model, lm_paths *data, tensor_arena *arena, tensor_error *err);
/* The same, and opens the text of all files one behind the other. Returns LM_DONE or LM_FAILED, with the fault printed. */
int lm_open_text(const lm_model *model, lm_text *text, lm_paths *data, lm_tokenizer_kind kind,
                 tensor_arena *arena);

/* "folder/name" of a run's file on the arena. */
char *lm_run_file(const char *folder, const char *name, tensor_arena *arena, tensor_error *err);

/* Flushes a stream; fails where anything written to it was lost. */
bool lm_flush(FILE *file, tensor_error *err);

#endif
