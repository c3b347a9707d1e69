/* Texts: files, tokenizers, and texts as tokens. */
#ifndef SAMPO_LM_TEXT_H
#define SAMPO_LM_TEXT_H

#include "models/lm/text/utf8.h"
#include "sampo/nn.h"

enum { LM_MAX_VOCABULARY = 0x110000 /* all of Unicode */ };

/* ---- Texts ----------------------------------------------------------------------------------------- */

/* Whether a character would control a terminal instead of standing there: U+0000 to U+001F, U+007F to U+009F. */
bool lm_is_control(uint32_t code);
/* Writes text in at most `columns` columns, with '?' for control characters, for what is not UTF-8, and without `utf8`
 * for all but ASCII; returns the columns it took. */
int lm_visible(FILE *file, const char *text, int columns, bool utf8);
/* The same for a text of lines, of any width. */
void lm_visible_lines(FILE *file, const char *bytes, size_t size);

/* What tokens are: characters of a UTF-8 text; bytes of anything; sequences of bytes, by byte pair encoding. */
typedef enum lm_tokenizer_kind { LM_CHAR, LM_BYTE, LM_BPE } lm_tokenizer_kind;

/* What lies at a path, behind links. Only what is certainly not there is LM_NOTHING; an error is LM_UNKNOWN, with its
 * text, and must never be taken for that. */
typedef enum lm_place { LM_NOTHING, LM_FILE, LM_FOLDER, LM_UNKNOWN } lm_place;
lm_place lm_place_of(const char *path, tensor_error *err);

/* "folder/name", with one slash however many the folder ends with, and a file beside the one at `path`; on the arena, NULL
 * where memory is out. */
char *lm_path_in(const char *folder, const char *name, tensor_arena *arena, tensor_error *err);
char *lm_path_beside(const char *path, const char *name, tensor_arena *arena, tensor_error *err);

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
/* A file without NUL as a string on the arena; NULL: failed. */
char *lm_text_string(const char *path, tensor_arena *arena, tensor_error *err);

/* Finds the text that is used where none is named: kalevala.txt or verses.txt in $SAMPO_DATA, or in the source
 * tree, or where it is installed. The path is on the arena; NULL: none is there. */
const char *lm_text_default(tensor_arena *arena, tensor_error *err);

/* FNV-1a of 64 bits, going on from LM_HASH_BEGIN or from what came before. */
#define LM_HASH_BEGIN 0xcbf29ce484222325u
#define LM_HASH_PRIME 0x100000001b3u
uint64_t lm_hash(uint64_t hash, const void *bytes, size_t size);

/* ---- Tokenizers ------------------------------------------------------------------------------------ */

/* A vocabulary: token i, 0 <= i < count, stands for the bytes of lm_decode; for none where it is spare. It lives on an
 * arena. */
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
/* Byte pairs from files such as GPT-2's vocab.json, merges.txt and, or NULL, added_tokens.json, for a table of `rows`
 * tokens (0: as many as there are). Entries that are not written as bytes are, and "<|endoftext|>", are one token
 * wherever a text has them. The error text names the file. */
bool lm_tokenizer_of_files(lm_tokenizer *tokenizer, const char *vocabulary, const char *merges,
                           const char *added, int64_t rows, tensor_arena *arena, tensor_error *err);
/* The same from a folder with tokenizer.json, or with these two and perhaps added_tokens.json. `rows` is how many
 * tokens the model's table has, and then the tokenizer: those that the files lack are spare, never met and never
 * chosen; added ones behind the table are left out. 0: as many as the files have. */
bool lm_tokenizer_of_folder(lm_tokenizer *tokenizer, const char *folder, int64_t rows, tensor_arena *arena,
                            tensor_error *err);
bool lm_tokenizer_of_json(lm_tokenizer *tokenizer, const char *path, int64_t rows, tensor_arena *arena,
                          tensor_error *err); /* a tokenizer.json */
/* As --tokenizer says: "char", "byte", "bpe" learned from the text, else a folder with a tokenizer's files.
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
int32_t lm_tokenizer_end(const lm_tokenizer *tokenizer);   /* the token that ends a text; -1: none */
void lm_tokenizer_set_end(lm_tokenizer *tokenizer, int64_t id); /* nothing where it is no token */

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
enum { LM_TOKENIZER_KEYS = 5 };
int lm_tokenizer_metadata(const lm_tokenizer *tokenizer, nn_metadata metadata[LM_TOKENIZER_KEYS],
                          tensor_arena *arena, tensor_error *err);
bool lm_tokenizer_of_file(lm_tokenizer *tokenizer, const nn_file *file, tensor_arena *arena,
                          tensor_error *err);

/* ---- For other programs ------------------------------------------------------------------------------ */

/* Writes text as a string of JSON; what is not UTF-8 becomes U+FFFD. */
void lm_json_piece(FILE *file, lm_piece piece);
void lm_json_string(FILE *file, const char *text);
/* Writes a tokenizer.json for the tokenizers package, which makes the same tokens of any text. */
bool lm_tokenizer_write_json(const lm_tokenizer *tokenizer, FILE *file, tensor_error *err);

/* As a GPT-2's byte pairs, for llama.cpp: each token as symbols, ended by NUL, and merges "a b". On the arena; false:
 * memory is out. Spare tokens are empty. */
bool lm_tokenizer_as_bpe(const lm_tokenizer *tokenizer, const char *const **tokens,
                         const char *const **merges, int32_t *merge_count, tensor_arena *arena,
                         tensor_error *err);
/* Whether a token is whole wherever a text has it, as "<|endoftext|>" is. */
bool lm_tokenizer_is_whole(const lm_tokenizer *tokenizer, int32_t id);

/* ---- Corpora --------------------------------------------------------------------------------------- */

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
/* What the file at `path` has of any text; false without a text in err: there is none, or none that fits the tokenizer. */
bool lm_corpus_reuse(lm_corpus *corpus, const lm_tokenizer *tokenizer, const char *path, tensor_error *err);
void lm_corpus_free(lm_corpus *corpus);

#endif
