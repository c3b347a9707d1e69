/* Tokenizers for other programs: tokenizer.json, and the tokens and merges of a GPT-2. */
#include <string.h>

#include "models/lm/text/tokenizer_internal.h"

bool lm_tokenizer_is_whole(const lm_tokenizer *t, int32_t id) {
    return t->kind == LM_BPE && t->bpe->is_whole && id >= 0 && id < t->count && t->bpe->is_whole[id];
}

/* ---- Tokens and merges ------------------------------------------------------------------------------ */

/* The two tokens of a merge, as symbols: "a b". */
static const char *merge_text(lm_piece left, lm_piece right, tensor_arena *arena, tensor_error *err) {
    const char *a = lm_bpe_symbols(left, arena, err), *b = lm_bpe_symbols(right, arena, err);
    const size_t size = a && b ? strlen(a) + strlen(b) + 2 : 0;
    char *text = size > 0 ? tensor_arena_alloc(arena, size, err) : NULL;
    if (text) snprintf(text, size, "%s %s", a, b);
    return text;
}

/* Characters of several bytes are merged from their bytes: first all that are the first two of one, and so on. */
static bool merge_characters(const lm_tokenizer *t, const char **merges, int32_t *count, tensor_arena *arena,
                             tensor_error *err) {
    lm_table *done = lm_table_new(arena, err);
    if (!done) return false;
    for (size_t length = 2; length <= 4; length++) {
        for (int32_t i = 0; i < t->count; i++) {
            const lm_piece piece = lm_decode(t, i);
            if (piece.size < length || lm_table_find(done, piece.bytes, length) >= 0) continue;
            const lm_piece left = {piece.bytes, length - 1}, right = {piece.bytes + length - 1, 1};
            if (lm_table_add(done, piece.bytes, length, err) < 0) return false;
            if (!(merges[(*count)++] = merge_text(left, right, arena, err))) return false;
        }
    }
    return true;
}

bool lm_tokenizer_as_bpe(const lm_tokenizer *t, const char *const **tokens, const char *const **merges,
                         int32_t *merge_count, tensor_arena *arena, tensor_error *err) {
    const int32_t most = t->kind == LM_BPE ? t->bpe->pairs->count : 3 * t->count;
    const char **list = tensor_arena_alloc(arena, (size_t)t->count * sizeof *list, err);
    const char **pairs = tensor_arena_alloc(arena, (size_t)most * sizeof *pairs, err);
    if (!list || !pairs) return false;
    *tokens = list;
    *merges = pairs;
    *merge_count = 0;
    for (int32_t i = 0; i < t->count; i++)
        if (!(list[i] = lm_bpe_symbols(lm_decode(t, i), arena, err))) return false;
    if (t->kind == LM_CHAR) return merge_characters(t, pairs, merge_count, arena, err);
    for (int32_t i = 0; t->kind == LM_BPE && i < most; i++) {
        int32_t pair[2];
        memcpy(pair, lm_table_at(t->bpe->pairs, i).bytes, sizeof pair);
        if (!(pairs[i] = merge_text(lm_decode(t, pair[0]), lm_decode(t, pair[1]), arena, err))) return false;
        ++*merge_count;
    }
    return true;
}

/* ---- tokenizer.json ----------------------------------------------------------------------------------- */

/* Whole tokens are found in a text before anything else is done with it. */
static void put_added(const lm_tokenizer *t, FILE *file) {
    const char *separator = "";
    fputs("  \"added_tokens\": [", file);
    for (int32_t i = 0; t->kind == LM_BPE && i < t->count; i++) {
        if (!lm_tokenizer_is_whole(t, i)) continue;
        fprintf(file, "%s\n    {\"id\": %d, \"content\": ", separator, i);
        lm_json_piece(file, lm_decode(t, i));
        fputs(", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
              "\"special\": true}",
              file);
        separator = ",";
    }
    fputs("],\n  \"normalizer\": null,\n", file);
}

/* {"a": 0, ...}: tokens as they are where they are characters or whole, else as symbols. */
static void put_vocabulary(const lm_tokenizer *t, const char *const *symbols, FILE *file) {
    const char *separator = "";
    fputs("    \"vocab\": {", file);
    for (int32_t i = 0; i < t->count; i++) {
        const lm_piece piece = lm_decode(t, i);
        const bool as_is = t->kind == LM_CHAR || lm_tokenizer_is_whole(t, i);
        if (piece.size == 0) continue; /* spare */
        fprintf(file, "%s\n      ", separator);
        if (as_is)
            lm_json_piece(file, piece);
        else
            lm_json_string(file, symbols[i]);
        fprintf(file, ": %d", i);
        separator = ",";
    }
    fputs("}", file);
}

/* Each character is a word of its own; one that is not in the vocabulary is an error, as it is here. */
static const char characters[] =
    "  \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\s\\\\S]\"}, "
    "\"behavior\": \"Isolated\", \"invert\": false},\n"
    "  \"post_processor\": null,\n  \"decoder\": {\"type\": \"Fuse\"},\n"
    "  \"model\": {\n    \"type\": \"WordLevel\",\n    \"unk_token\": \"\",\n";
static const char byte_pairs[] =
    "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
    "\"use_regex\": true},\n"
    "  \"post_processor\": null,\n"
    "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
    "\"use_regex\": true},\n"
    "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
    "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
    "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n";

bool lm_tokenizer_write_json(const lm_tokenizer *t, FILE *file, tensor_error *err) {
    const char *const *tokens, *const *merges;
    int32_t count;
    tensor_arena *arena = tensor_arena_new(err);
    const bool ok = arena && lm_tokenizer_as_bpe(t, &tokens, &merges, &count, arena, err);
    if (ok) {
        fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n", file);
        put_added(t, file);
        fputs(t->kind == LM_CHAR ? characters : byte_pairs, file);
        put_vocabulary(t, tokens, file);
        if (t->kind != LM_CHAR) fputs(",\n    \"merges\": [", file);
        for (int32_t i = 0; t->kind != LM_CHAR && i < count; i++) {
            fputs(i > 0 ? ",\n      " : "\n      ", file);
            lm_json_string(file, merges[i]);
        }
        fputs(t->kind != LM_CHAR ? "]\n  }\n}\n" : "\n  }\n}\n", file);
    }
    tensor_arena_free(arena);
    return ok;
}
