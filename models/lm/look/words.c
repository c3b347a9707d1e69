/* What people call the things that checkpoints keep: as the options that set them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

static const char training[] = "train."; /* how the keys of training begin */

/* Keys without an option of their own. */
static const struct {
    const char *key, *word;
} words[] = {
    {"architecture", "model"},
    {"context_length", "context"},
    {"vocab_size", "vocab-size"},
    {"tokenizer", "tokenizer"},
    {"vocabulary", "vocabulary"},
    {"merges", "merges"},
    {"train.best_loss", "best validation loss"},
    {"train.counted_loss", "validation loss of the counts alone"},
    {"train.best_iteration", "best iteration"},
    {"train.reports_since_best", "reports since the best"},
    {"train.text_tokens", "tokens of the text"},
    {"train.text_hash", "hash of the text"},
};
enum { WORDS = sizeof words / sizeof words[0] };

static const lm_option *option_of(const lm_model *model, const char *key) {
    for (const lm_option *o = model->options; o && o->name; o++)
        if (o->key && strcmp(o->key, key) == 0) return o;
    return NULL;
}

static const char *word_of(const char *key) {
    for (int i = 0; i < WORDS; i++)
        if (strcmp(words[i].key, key) == 0) return words[i].word;
    return NULL;
}

lm_section lm_section_of(const lm_model *model, const char *key) {
    if (strncmp(key, training, strlen(training)) == 0) return LM_TRAINING;
    return option_of(model, key) || word_of(key) ? LM_CONFIGURATION : LM_OTHER_METADATA;
}

const char *lm_word_of(const lm_model *model, const char *key) {
    const lm_option *option = option_of(model, key);
    const char *word = word_of(key);
    if (option) return option->name;
    if (word) return word;
    return strncmp(key, training, strlen(training)) == 0 ? key + strlen(training) : key;
}

const char *lm_value_of(const nn_metadata *m, char *buffer, size_t size) {
    enum { DIGITS = 7 }; /* of numbers that need not be rounded */
    char *end;
    const double number = strtod(m->value, &end);
    const bool real = *m->value && !*end && isfinite(number) && strpbrk(m->value, ".e");
    if (strcmp(m->key, "train.vocab-size") == 0)
        return ""; /* what was wished for; vocab_size is what came of it */
    if (strcmp(m->key, "train.text_tokens") == 0 && size >= 32 && fabs(number) < 1e15)
        return lm_grouped((int64_t)number, buffer);
    if (strcmp(m->key, "train.best_loss") == 0 && number >= LM_NO_LOSS) return "";
    if (strcmp(m->value, "true") == 0) return "yes";
    if (strcmp(m->value, "false") == 0) return "no";
    if (!real || strlen(m->value) <= DIGITS) return m->value;
    snprintf(buffer, size, "%.4g", number);
    return buffer;
}

char *lm_grouped(int64_t number, char buffer[32]) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%lld", (long long)number);
    char *out = buffer;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return buffer;
}
