/* What a run says of itself: before the loop what it will learn from, after it what it has reached. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "models/lm/train/plan.h"
#include "models/lm/train/train_internal.h"

void lm_train_introduce(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_counts *counts = t->instance.counts;
    const int64_t parameters = nn_params_count(t->instance.params);
    char resumed[64] = "", size[48] = "";
    if (counts)
        lm_say(model, "%" PRId64 " counted sequences of up to %d tokens and the next one",
               lm_counts_grams(counts), lm_counts_order(counts));
    if (parameters > 0)
        snprintf(size, sizeof size, "%" PRId64 " parameter%s, ", parameters, lm_s(parameters));
    if (t->set.resume)
        snprintf(resumed, sizeof resumed, "; going on after %" PRId64 " iteration%s", t->state.iteration,
                 lm_s(t->state.iteration));
    const int distinct = t->instance.tokenizer.count;
    lm_say(model, "%s%d distinct %s%s; %" PRId64 " to train on, %" PRId64 " to validate%s", size, distinct,
           t->instance.tokenizer.kind == LM_CHAR ? "character" : "token", lm_s(distinct),
           t->parts[LM_TRAIN].count, t->parts[LM_VALIDATION].count, resumed);
}

/* Whether weights of a report were kept. */
static bool has_best(const lm_trainer *t) {
    return t->state.best_loss < LM_NO_LOSS && lm_train_keeps(t, t->state.best_iteration);
}

/* Whether whoever looks at the terminal has the text of these weights before him already. */
static bool best_is_shown(const lm_trainer *t) {
    return has_best(t) && t->shown == t->state.best_iteration && lm_is_terminal(STDOUT_FILENO);
}

/* Takes back the best weights. */
static bool load_best(lm_trainer *t, tensor_error *err) {
    if (!has_best(t)) return true;
    if (!t->best) return tensor_copy(nn_values(t->instance.params), t->best_values, err);
    nn_file *file = nn_file_open(t->best, err);
    const bool ok = file && nn_params_load(t->instance.params, file, err);
    nn_file_close(file);
    return ok;
}

/* A few words that the text has, to begin with; "" where the first ones would need quoting. */
static const char *first_words(const lm_trainer *t, char *words, size_t size) {
    char text[400];
    size_t filled = 0, length;
    for (int64_t i = 0; i < t->parts[LM_VALIDATION].count; i++) {
        int32_t id;
        lm_tokens_read(t->parts[LM_VALIDATION], i, 1, &id);
        const lm_piece piece = lm_decode(&t->instance.tokenizer, id);
        if (filled + piece.size >= sizeof text) break;
        memcpy(text + filled, piece.bytes, piece.size);
        filled += piece.size;
    }
    text[filled] = '\0';
    const char *begin = strpbrk(text, "\n"), *end = NULL;
    begin = begin ? begin + strspn(begin, "\n\r\t ") : text;
    for (length = 0; begin[length] && !strchr("'\\\"$`!\n\r\t.,;:?", begin[length]); length++)
        if (begin[length] == ' ' && length < size) end = begin + length;
    if (length < size) end = begin + length;
    snprintf(words, size, "%.*s", end ? (int)(end - begin) : 0, begin);
    return lm_utf8_count(words, strlen(words), NULL) > 0 ? words : "";
}

static void say_result(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const lm_state *state = &t->state;
    char took[32], words[40], folder[LM_QUOTED];
    if (has_best(t) && t->set.sample_tokens > 0 && !best_is_shown(t))
        lm_say(model, "written with the best weights, those of iteration %" PRId64, state->best_iteration);
    if (t->stopped)
        lm_say(model,
               "stopped after %" PRId64 " iteration%s: since iteration %" PRId64
               ", with a validation loss of %.3f, %" PRId64 " report%s no better",
               state->iteration, lm_s(state->iteration), state->best_iteration, state->best_loss,
               state->reports_since_best, state->reports_since_best == 1 ? " was" : "s were");
    if (t->time_up && state->iteration < t->set.iterations)
        lm_say(model, "the time ran out after %" PRId64 " of %" PRId64 " iterations", state->iteration,
               t->set.iterations);
    lm_duration(lm_now() - t->begun, took, sizeof took);
    if (t->set.iterations == 0)
        lm_say(model, "done in %s; the validation loss is %.3f", took, state->best_loss);
    else
        lm_say(model, "done in %s; the best validation loss, %.3f, was at iteration %" PRId64, took,
               state->best_loss, state->best_iteration);
    if (!t->last) return;
    if (has_best(t))
        lm_say(model, "saved %s, and the best weights in %s", t->last, t->best);
    else
        lm_say(model, "saved %s", t->last);
    const char *begin = first_words(t, words, sizeof words);
    lm_say(model, "to write with it: " LM_COMMAND("%s sample %s%s%s%s"), lm_typed(model),
           lm_quoted(t->set.out, folder, sizeof folder), *begin ? " --prompt '" : "", begin,
           *begin ? "'" : "");
}

int lm_train_finish(lm_trainer *t) {
    const lm_settings *set = &t->set;
    const lm_model *model = t->instance.model;
    tensor_error err = {0};
    lm_sampling sampling = {
        .tokens = set->sample_tokens, .temperature = set->temperature, .seed = (uint64_t)set->seed};
    if (!load_best(t, &err)) return lm_fail(model, "%s", err.text);
    if (set->sample_tokens > 0 && !best_is_shown(t)) {
        fputc('\n', stdout);
        if (!lm_sample(&t->instance, &sampling, stdout, &err)) return lm_fail(model, "%s", err.text);
    }
    say_result(t);
    return LM_DONE;
}
