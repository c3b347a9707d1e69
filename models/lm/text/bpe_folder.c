/* Vocabularies of byte pairs as they are published: a folder with tokenizer.json, or with vocab.json and merges.txt, as
 * GPT-2 has them, and perhaps added_tokens.json. */
#include <stdlib.h>
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

/* A file as a string on the arena; the fault names it. */
static char *read_file(const char *path, tensor_arena *arena, tensor_error *err) {
    tensor_error fault = {0};
    char *text = lm_text_string(path, arena, &fault);
    if (!text) tensor_fail(err, "%.200s: %s", path, fault.text);
    return text;
}

/* ---- vocab.json, merges.txt, added_tokens.json ---------------------------------------------------- */

/* A line for each merge, behind one that names the version. The text becomes the lines. */
static bool split_merges(lm_bpe_source *s, char *text, tensor_arena *arena, tensor_error *err) {
    int count = 1;
    for (const char *at = text; *at; at++) count += *at == '\n';
    const char **lines = tensor_arena_alloc(arena, (size_t)count * sizeof *lines, err);
    if (!lines) return false;
    for (char *at = text, *end; *at; at = end) {
        end = at + strcspn(at, "\n");
        char *last = end;
        if (*end) end++;
        if (last > at && last[-1] == '\r') last--;
        *last = '\0';
        const bool merge = *at && strncmp(at, "#version", 8) != 0;
        lines[s->merge_count++] = merge ? at : NULL;
    }
    s->merges = lines;
    s->merge = "line";
    return true;
}

/* Whether `good`; if not, the text in *fault goes to err, with the name of the file. */
static bool in_file(bool good, const char *path, const tensor_error *fault, tensor_error *err) {
    return good || tensor_fail(err, "%.200s: %s", path, fault->text);
}

bool lm_tokenizer_of_files(lm_tokenizer *t, const char *vocabulary, const char *merges, const char *added,
                           int64_t rows, tensor_arena *arena, tensor_error *err) {
    lm_bpe_source s = {.rows = rows};
    tensor_error fault = {0};
    const char *json = read_file(vocabulary, arena, err);
    char *lines = json ? read_file(merges, arena, err) : NULL;
    if (!lines || !split_merges(&s, lines, arena, err)) return false;
    if (!in_file(nn_json_integers(json, arena, &s.tokens, &s.ids, &s.count, &fault), vocabulary, &fault, err))
        return false;
    if (added && !(json = read_file(added, arena, err))) return false;
    if (added && !in_file(nn_json_integers(json, arena, &s.whole, &s.whole_ids, &s.whole_count, &fault),
                          added, &fault, err))
        return false;
    return lm_bpe_make(t, &s, arena, &fault) ||
           in_file(false, strncmp(fault.text, "line ", 5) == 0 ? merges : vocabulary, &fault, err);
}

/* ---- tokenizer.json ----------------------------------------------------------------------------------- *
 * https://huggingface.co/docs/tokenizers: only what GPT-2's tokenizer is made of. What would make other tokens is
 * refused. */

typedef struct object {
    const nn_metadata *members;
    int count;
} object;

/* A member's value; NULL: none, or null. */
static const char *find(object o, const char *key) {
    return nn_json_member(o.members, o.count, key);
}

static bool read_object(object *o, const char *json, tensor_arena *arena, tensor_error *err) {
    return nn_json_members(json, arena, &o->members, &o->count, err);
}

/* Whether a member, where it is there, is `expected`. */
static bool expect(object o, const char *of, const char *key, const char *expected, tensor_error *err) {
    const char *value = find(o, key);
    return !value || strcmp(value, expected) == 0 ||
           tensor_fail(err, "%s%s is %.40s; GPT-2's tokenizer has %s", of, key, value,
                       *expected ? expected : "none");
}

static bool check_parts(object top, object model, tensor_arena *arena, tensor_error *err) {
    const char *words = find(top, "pre_tokenizer");
    object cut = {0};
    if (find(top, "normalizer")) return tensor_fail(err, "it has a normalizer; GPT-2's tokenizer has none");
    if (!words) return tensor_fail(err, "it has no pre_tokenizer; GPT-2's tokenizer has ByteLevel");
    return read_object(&cut, words, arena, err) && expect(cut, "pre_tokenizer: ", "type", "ByteLevel", err) &&
           expect(cut, "pre_tokenizer: ", "add_prefix_space", "false", err) &&
           expect(cut, "pre_tokenizer: ", "use_regex", "true", err) &&
           expect(model, "model: ", "type", "BPE", err) &&
           expect(model, "model: ", "byte_fallback", "false", err) &&
           expect(model, "model: ", "ignore_merges", "false", err) &&
           expect(model, "model: ", "continuing_subword_prefix", "", err) &&
           expect(model, "model: ", "end_of_word_suffix", "", err);
}

/* [{"id": 0, "content": "<|endoftext|>", ...}, ...] */
static bool read_added(lm_bpe_source *s, const char *json, tensor_arena *arena, tensor_error *err) {
    const char *const *items;
    int count;
    if (!json) return true;
    if (!nn_json_values(json, arena, &items, &count, err)) return false;
    const char **whole = tensor_arena_alloc(arena, (size_t)count * sizeof *whole, err);
    int64_t *ids = tensor_arena_alloc(arena, (size_t)count * sizeof *ids, err);
    if (!whole || !ids) return false;
    for (int i = 0; i < count; i++) {
        object o;
        if (!read_object(&o, items[i], arena, err)) return false;
        const char *id = find(o, "id"), *content = find(o, "content");
        if (!id || !content || !*id || id[strspn(id, "0123456789")])
            return tensor_fail(err, "added token %d has no content with a number", i);
        if (!expect(o, "added_tokens: ", "lstrip", "false", err) ||
            !expect(o, "added_tokens: ", "rstrip", "false", err) ||
            !expect(o, "added_tokens: ", "single_word", "false", err))
            return false;
        whole[i] = content;
        ids[i] = strtoll(id, NULL, 10);
    }
    s->whole = whole;
    s->whole_ids = ids;
    s->whole_count = count;
    return true;
}

/* ["a b", ...] or, newer, [["a", "b"], ...] */
static bool read_merges(lm_bpe_source *s, const char *json, tensor_arena *arena, tensor_error *err) {
    const char *const *items, *const *pair;
    int count;
    s->merge = "merge";
    if (!json) return tensor_fail(err, "model: it has no merges");
    const char *first = json + (*json == '[');
    first += strspn(first, " \t\r\n");
    if (*first != '[') return nn_json_strings(json, arena, &s->merges, &s->merge_count, err);
    if (!nn_json_values(json, arena, &items, &s->merge_count, err)) return false;
    const char **merges = tensor_arena_alloc(arena, (size_t)s->merge_count * sizeof *merges, err);
    for (int i = 0; merges && i < s->merge_count; i++) {
        if (!nn_json_strings(items[i], arena, &pair, &count, err)) return false;
        if (count != 2) return tensor_fail(err, "merge %d is not two tokens", i + 1);
        const size_t size = strlen(pair[0]) + strlen(pair[1]) + 2;
        char *text = tensor_arena_alloc(arena, size, err);
        if (!text) return false;
        snprintf(text, size, "%s %s", pair[0], pair[1]);
        merges[i] = text;
    }
    s->merges = merges;
    return merges;
}

/* Characters, as lm_tokenizer_write_json writes them: words of one character each, numbered 0, 1, ... */
static bool read_characters(lm_tokenizer *t, const char *tokens, int64_t rows, tensor_arena *arena,
                            tensor_error *err) {
    const char *const *keys;
    const int64_t *ids;
    int count;
    if (!nn_json_integers(tokens, arena, &keys, &ids, &count, err)) return false;
    if (rows > 0 && rows != count)
        return tensor_fail(err, "it has %d tokens, the model %lld", count, (long long)rows);
    const char **list = tensor_arena_alloc(arena, (size_t)count * sizeof *list, err);
    if (!list) return false;
    for (int i = 0; i < count; i++) list[i] = NULL;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= count || list[ids[i]])
            return tensor_fail(err, "token %lld: %d tokens should have the numbers 0 to %d, each once",
                               (long long)ids[i], count, count - 1);
        list[ids[i]] = keys[i];
    }
    return lm_tokenizer_of_strings(t, list, count, arena, err);
}

static bool read_json(lm_tokenizer *t, const char *json, int64_t rows, tensor_arena *arena,
                      tensor_error *err) {
    lm_bpe_source s = {.rows = rows};
    object top, model;
    if (!read_object(&top, json, arena, err)) return false;
    const char *part = find(top, "model");
    if (!part) return tensor_fail(err, "it has no model");
    if (!read_object(&model, part, arena, err)) return false;
    const char *tokens = find(model, "vocab"), *type = find(model, "type");
    const bool characters = type && strcmp(type, "WordLevel") == 0;
    if (!characters && !check_parts(top, model, arena, err)) return false;
    if (!tokens) return tensor_fail(err, "model: it has no vocab");
    if (characters) return read_characters(t, tokens, rows, arena, err);
    return nn_json_integers(tokens, arena, &s.tokens, &s.ids, &s.count, err) &&
           read_merges(&s, find(model, "merges"), arena, err) &&
           read_added(&s, find(top, "added_tokens"), arena, err) && lm_bpe_make(t, &s, arena, err);
}

bool lm_tokenizer_of_json(lm_tokenizer *t, const char *path, int64_t rows, tensor_arena *arena,
                          tensor_error *err) {
    tensor_error fault = {0};
    const char *json = read_file(path, arena, err);
    return json && in_file(read_json(t, json, rows, arena, &fault), path, &fault, err);
}

/* ---- A folder ------------------------------------------------------------------------------------------- */

bool lm_tokenizer_of_folder(lm_tokenizer *t, const char *folder, int64_t rows, tensor_arena *arena,
                            tensor_error *err) {
    enum { WHOLE, VOCABULARY, MERGES, ADDED, FILES };
    static const char *const names[FILES] = {"tokenizer.json", "vocab.json", "merges.txt",
                                             "added_tokens.json"};
    const char *paths[FILES]; /* NULL: not there */
    for (int i = 0; i < FILES; i++) {
        paths[i] = lm_path_in(folder, names[i], arena, err);
        const lm_place place = paths[i] ? lm_place_of(paths[i], err) : LM_UNKNOWN;
        if (place == LM_UNKNOWN) return false;
        if (place == LM_NOTHING) paths[i] = NULL;
    }
    if (paths[WHOLE]) return lm_tokenizer_of_json(t, paths[WHOLE], rows, arena, err);
    if (!paths[VOCABULARY] || !paths[MERGES])
        return tensor_fail(err, "%.200s: what its tokens are is not known: %s, or %s and %s, must lie there",
                           folder, names[WHOLE], names[VOCABULARY], names[MERGES]);
    return lm_tokenizer_of_files(t, paths[VOCABULARY], paths[MERGES], paths[ADDED], rows, arena, err);
}
