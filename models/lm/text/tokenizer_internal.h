/* What the tokenizers' files share. */
#ifndef SAMPO_LM_TOKENIZER_INTERNAL_H
#define SAMPO_LM_TOKENIZER_INTERNAL_H

#include "models/lm/text/text.h"

/* ---- Tables ------------------------------------------------------------------------------- *
 * Strings of bytes, numbered 0, 1, ... in the order they came; on an arena, as a hash table with open addressing.
 * What belongs to a string lies in the caller's arrays, at its number. */
typedef struct lm_slot {
    uint32_t hash;
    int32_t number; /* -1: free */
} lm_slot;

struct lm_table {
    tensor_arena *arena;
    lm_slot *slots;
    size_t slot_count; /* a power of two, at least twice `count` */
    char *bytes;       /* of all strings, one behind the other */
    size_t *ends;      /* string i is bytes[ends[i]] to bytes[ends[i + 1] - 1] */
    size_t room;       /* in bytes */
    int32_t count, capacity;
};
typedef struct lm_table lm_table;

lm_table *lm_table_new(tensor_arena *arena, tensor_error *err);
int32_t lm_table_find(const lm_table *table, const void *bytes, size_t size); /* -1: not there */
/* The string's number, a new one where it was not there; -1: memory is out. */
int32_t lm_table_add(lm_table *table, const void *bytes, size_t size, tensor_error *err);
/* The same for one that lm_table_find is not to find: always a new number. */
int32_t lm_table_append(lm_table *table, const void *bytes, size_t size, tensor_error *err);
static inline lm_piece lm_table_at(const lm_table *table, int32_t number) {
    const size_t *ends = table->ends + number;
    return (lm_piece){table->bytes + ends[0], ends[1] - ends[0]};
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* ["a", "b"] on the arena; NULL: memory is out, or a string is NULL. */
const char *lm_json_array(const char *const *strings, int32_t count, tensor_arena *arena, tensor_error *err);
/* The strings of a checkpoint's list. */
bool lm_read_strings(const nn_file *file, const char *key, tensor_arena *arena, const char *const **strings,
                     int *count, tensor_error *err);

/* ---- Encoding ----------------------------------------------------------------------------- */

/* Says which character, or byte where that is none, the vocabulary lacks, and where: at bytes[at]. Returns false. */
bool lm_fail_unknown(const char *bytes, size_t size, size_t at, tensor_error *err);

/* Tokens on their way to a sink, in runs. */
typedef struct lm_outlet {
    lm_token_sink sink;
    void *context;
    int64_t count;
    int32_t ids[4096];
} lm_outlet;
bool lm_outlet_flush(lm_outlet *outlet, tensor_error *err);
static inline bool lm_outlet_put(lm_outlet *outlet, int32_t id, tensor_error *err) {
    const int64_t room = (int64_t)(sizeof outlet->ids / sizeof outlet->ids[0]);
    outlet->ids[outlet->count++] = id;
    return outlet->count < room || lm_outlet_flush(outlet, err);
}

/* ---- Words -------------------------------------------------------------------------------- */

typedef enum lm_class { LM_OTHER, LM_LETTER, LM_NUMBER, LM_SPACE } lm_class;
lm_class lm_class_of(uint32_t code); /* Unicode's L*, N* and White_Space */

/* The length of the first word of a text, above 0, as GPT-2 cuts it:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * What is not UTF-8 counts as neither letter, number nor space. A word of more than 64 KiB is cut, so that
 * memory stays bounded. */
size_t lm_word_length(const char *bytes, size_t size);

/* ---- Byte pairs --------------------------------------------------------------------------- */

#define LM_END_OF_TEXT "<|endoftext|>" /* where a vocabulary has it, a whole token */

/* The merges of a vocabulary of byte pairs: merge i makes token made[i] of the two tokens that are string i of
 * `pairs`, two int32. The lower i, the earlier it is done. */
typedef struct lm_bpe {
    lm_table *pairs;
    int32_t *made;
    int32_t capacity;
    int32_t of_byte[256]; /* -1: the vocabulary lacks the byte */
    /* Whole tokens: one each, wherever a text has them, before it is cut into words. The longest come first. */
    int32_t *whole;
    int32_t whole_count;
    bool *is_whole;    /* of each token; NULL: none is */
    int32_t *in_order; /* the whole tokens in the order of their bytes, the first of equal ones */
    int32_t in_order_count;
    bool begins[256];    /* whether one of them begins with the byte */
    int32_t end_of_text; /* what a text begins after, and what ends it; -1: none */
} lm_bpe;

/* A vocabulary as files have it, in memory that is written over. Tokens are written as symbols, one for each byte, whole
 * ones as they are. A token without text is a spare row of a model's table: it is never met or chosen. */
typedef struct lm_bpe_source {
    const char *const *tokens;
    const int64_t *ids; /* their numbers; NULL: 0, 1, ... */
    const char *const *whole;
    const int64_t *whole_ids;
    const char *const *merges; /* "a b"; NULL: none in this line */
    const char *merge;         /* what the place of one is called, counted from 1: "line" */
    int count, whole_count, merge_count;
    int64_t rows; /* of the model's table, which are all tokens; 0: as many as there are */
} lm_bpe_source;
bool lm_bpe_make(lm_tokenizer *tokenizer, const lm_bpe_source *source, tensor_arena *arena,
                 tensor_error *err);
/* A token as symbols, ended by NUL: on the arena. */
char *lm_bpe_symbols(lm_piece piece, tensor_arena *arena, tensor_error *err);
/* Adds a merge and, unless it is there, the token that it makes. *repeated: the merge was there. */
bool lm_bpe_add(lm_tokenizer *tokenizer, int32_t left, int32_t right, bool *repeated, tensor_error *err);
/* A vocabulary of the 256 bytes, in the order of their symbols. */
bool lm_bpe_new(lm_tokenizer *tokenizer, tensor_arena *arena, tensor_error *err);
bool lm_bpe_encode(const lm_tokenizer *tokenizer, const char *bytes, size_t size, lm_outlet *outlet,
                   tensor_error *err);
/* Up to 4 entries of metadata; their number, -1 on failure. */
int lm_bpe_metadata(const lm_tokenizer *tokenizer, nn_metadata *metadata, tensor_arena *arena,
                    tensor_error *err);
bool lm_bpe_of_file(lm_tokenizer *tokenizer, const nn_file *file, tensor_arena *arena, tensor_error *err);

#endif
