/* A text as tokens in a file, its two parts, and batches drawn from them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/text/text.h"

/* ---- Tokens -------------------------------------------------------------------------------- */

void lm_tokens_read(lm_tokens tokens, int64_t begin, int64_t count, int32_t *ids) {
    const uint8_t *one = tokens.data;
    const uint16_t *two = tokens.data;
    const int32_t *four = tokens.data;
    switch (tokens.width) {
    case 1:
        for (int64_t i = 0; i < count; i++) ids[i] = one[begin + i];
        break;
    case 2:
        for (int64_t i = 0; i < count; i++) ids[i] = two[begin + i];
        break;
    default:
        memcpy(ids, four + begin, (size_t)count * sizeof *ids);
    }
}

lm_tokens lm_tokens_from(lm_tokens tokens, int64_t begin, int64_t count) {
    return (lm_tokens){(const char *)tokens.data + begin * tokens.width, count, tokens.width};
}

lm_tokens lm_split_of(lm_tokens tokens, lm_split split) {
    int64_t count = tokens.count, train = count / 10 * 9 + count % 10 * 9 / 10; /* 9 count / 10 */
    int64_t begin = split == LM_VALIDATION ? train : 0;
    int64_t end = split == LM_TRAIN ? train : count;
    return lm_tokens_from(tokens, begin, end - begin);
}

/* How often each token occurs. */
static bool count_tokens(int64_t *times, int32_t vocabulary, lm_tokens tokens, tensor_error *err) {
    int32_t ids[1024];
    for (int64_t at = 0; at < tokens.count; at += 1024) {
        int64_t count = tokens.count - at < 1024 ? tokens.count - at : 1024;
        lm_tokens_read(tokens, at, count, ids);
        for (int64_t i = 0; i < count; i++) {
            if (ids[i] < 0 || ids[i] >= vocabulary)
                return tensor_fail(err, "token %d is not in the vocabulary", ids[i]);
            times[ids[i]]++;
        }
    }
    return true;
}

bool lm_extent_of(lm_extent *extent, const lm_tokenizer *tokenizer, lm_tokens tokens, tensor_error *err) {
    *extent = (lm_extent){.tokens = tokens.count};
    int64_t *times = calloc((size_t)tokenizer->count + 1, sizeof *times);
    bool ok = times ? count_tokens(times, tokenizer->count, tokens, err) : tensor_fail(err, "out of memory");
    for (int32_t id = 0; ok && id < tokenizer->count; id++) {
        const lm_piece piece = lm_decode(tokenizer, id);
        extent->bytes += times[id] * (int64_t)piece.size;
        for (size_t k = 0; k < piece.size; k++)
            extent->characters += (piece.bytes[k] & 0xc0) != 0x80 ? times[id] : 0;
    }
    free(times);
    return ok;
}

/* ---- The file ------------------------------------------------------------------------------ */

/* What stands before the tokens. All that was there when the file was made: another byte order fits no more than
 * another text. */
typedef struct header {
    char magic[8];
    uint64_t width, count, text_size, text_hash, tokenizer_hash, token_hash, zero;
} header;

/* A sink that narrows tokens and writes them. */
typedef struct writer {
    int fd;
    header *head;
} writer;

/* lm_hash of the ids' four bytes, the lowest first. A byte that is 0 only multiplies, and most ids are small. */
static uint64_t hash_ids(uint64_t hash, const int32_t *ids, int64_t count) {
    const uint64_t one = LM_HASH_PRIME, two = one * one, three = two * one, four = two * two;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t id = (uint32_t)ids[i];
        if (id < 1 << 8)
            hash = (hash ^ id) * four;
        else if (id < 1 << 16)
            hash = (((hash ^ (id & 0xff)) * one) ^ id >> 8) * three;
        else
            hash = (((((((hash ^ (id & 0xff)) * one) ^ (id >> 8 & 0xff)) * one) ^ (id >> 16 & 0xff)) * one) ^
                    id >> 24) *
                   one;
    }
    return hash;
}

static bool write_tokens(void *context, const int32_t *ids, int64_t count, tensor_error *err) {
    union {
        uint8_t one[4096];
        uint16_t two[4096];
        int32_t four[4096];
    } buffer;
    const writer *w = context;
    for (int64_t at = 0; at < count; at += 4096) {
        int64_t n = count - at < 4096 ? count - at : 4096;
        for (int64_t i = 0; i < n; i++) {
            if (w->head->width == 1) buffer.one[i] = (uint8_t)ids[at + i];
            if (w->head->width == 2) buffer.two[i] = (uint16_t)ids[at + i];
            if (w->head->width == 4) buffer.four[i] = ids[at + i];
        }
        if (!lm_write_all(w->fd, &buffer, (size_t)n * w->head->width, err)) return false;
    }
    w->head->count += (uint64_t)count;
    w->head->token_hash = hash_ids(w->head->token_hash, ids, count);
    return true;
}

static uint64_t hash_tokens(lm_tokens tokens) {
    uint64_t hash = LM_HASH_BEGIN;
    int32_t ids[1024];
    for (int64_t at = 0; at < tokens.count; at += 1024) {
        int64_t count = tokens.count - at < 1024 ? tokens.count - at : 1024;
        lm_tokens_read(tokens, at, count, ids);
        hash = hash_ids(hash, ids, count);
    }
    return hash;
}

static uint64_t hash_tokenizer(const lm_tokenizer *t) {
    uint64_t hash = lm_hash(LM_HASH_BEGIN, &t->kind, sizeof t->kind);
    for (int32_t i = 0; i < t->count; i++) {
        lm_piece piece = lm_decode(t, i);
        hash = lm_hash(lm_hash(hash, &piece.size, sizeof piece.size), piece.bytes, piece.size);
    }
    return hash;
}

/* The header of a text's tokens, but for what only making them shows. */
static header expected(const lm_tokenizer *t, const lm_text *text) {
    header head = {.magic = "sampo 1", .tokenizer_hash = hash_tokenizer(t), .token_hash = LM_HASH_BEGIN};
    head.width = t->count <= 1 << 8 ? 1 : t->count <= 1 << 16 ? 2 : 4;
    if (text) {
        head.text_size = text->size;
        head.text_hash = lm_hash(LM_HASH_BEGIN, text->bytes, text->size);
    }
    return head;
}

static void use(lm_corpus *corpus, const lm_map *map, const header *head) {
    *corpus = (lm_corpus){.map = *map, .hash = head->token_hash};
    corpus->tokens = (lm_tokens){map->bytes + sizeof *head, (int64_t)head->count, (int)head->width};
}

/* Uses the mapped file where it has the tokens that are expected, undamaged. */
static bool use_fitting(lm_corpus *corpus, const lm_map *map, const header *head, bool any_text) {
    header found;
    if (map->size < sizeof found) return false;
    memcpy(&found, map->bytes, sizeof found);
    size_t bytes = map->size - sizeof found;
    bool same = memcmp(found.magic, head->magic, sizeof head->magic) == 0 && found.width == head->width &&
                found.tokenizer_hash == head->tokenizer_hash && bytes % head->width == 0 &&
                found.count == bytes / head->width;
    bool same_text = found.text_size == head->text_size && found.text_hash == head->text_hash;
    if (!same || !(same_text || any_text)) return false;
    use(corpus, map, &found);
    return hash_tokens(corpus->tokens) == found.token_hash;
}

/* Takes the file as it is, where it fits. False with a text in err: that cannot be told. */
static bool reuse(lm_corpus *corpus, header head, bool any_text, const char *path, tensor_error *err) {
    lm_map map;
    tensor_error fault = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return false;
    if (fd < 0) return tensor_fail(err, "%.120s: cannot be opened: %s", path, strerror(errno));
    bool ok = lm_map_open(&map, fd, &fault), good = ok && use_fitting(corpus, &map, &head, any_text);
    if (!ok) tensor_fail(err, "%.120s: %s", path, fault.text);
    close(fd);
    if (ok && !good) lm_map_free(&map);
    return good;
}

static bool make(lm_corpus *corpus, header head, const lm_tokenizer *t, const lm_text *text, int fd,
                 tensor_error *err) {
    writer w = {fd, &head};
    lm_map map;
    bool ok = lm_write_all(fd, &head, sizeof head, err) &&
              lm_encode_to(t, text->bytes, text->size, write_tokens, &w, err);
    if (ok && pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
        ok = tensor_fail(err, "cannot be written: %s", strerror(errno));
    ok = ok && lm_map_open(&map, fd, err);
    if (ok) use(corpus, &map, &head);
    return ok;
}

static bool make_at(lm_corpus *corpus, header head, const lm_tokenizer *t, const lm_text *text,
                    const char *path, tensor_error *err) {
    tensor_error fault = {0};
    int fd = nn_file_begin(path, err);
    bool made = fd >= 0 && make(corpus, head, t, text, fd, &fault);
    if (fault.text[0]) tensor_fail(err, "%.120s: %s", path, fault.text);
    if (fd >= 0 && nn_file_end(fd, path, made, err)) return true;
    if (made) lm_corpus_free(corpus);
    return false;
}

bool lm_corpus_reuse(lm_corpus *corpus, const lm_tokenizer *t, const char *path, tensor_error *err) {
    *corpus = (lm_corpus){0};
    return reuse(corpus, expected(t, NULL), true, path, err);
}

bool lm_corpus_open(lm_corpus *corpus, const lm_tokenizer *t, const lm_text *text, const char *path,
                    tensor_error *err) {
    *corpus = (lm_corpus){0};
    header head = expected(t, text);
    tensor_error fault = {0};
    if (path && reuse(corpus, head, !text, path, &fault)) return true;
    if (fault.text[0]) return tensor_fail(err, "%s", fault.text);
    if (!text)
        return tensor_fail(err, "%.120s: the tokens of the text are not there, damaged, or of another text",
                           path ? path : "");
    if (path) return make_at(corpus, head, t, text, path, err);
    int fd = lm_temporary(err);
    bool ok = fd >= 0 && make(corpus, head, t, text, fd, err);
    if (fd >= 0) close(fd);
    return ok;
}

void lm_corpus_free(lm_corpus *corpus) {
    lm_map_free(&corpus->map);
    *corpus = (lm_corpus){0};
}
