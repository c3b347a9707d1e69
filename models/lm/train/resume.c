/* Going on with a run: what a checkpoint holds for it beside the model, and how it comes back. Under "train.": the
 * options that make the run what it is, and how far it is; as tensors: the optimizer's state. Nothing in it depends on
 * when or how often the run was interrupted, so that a resumed run ends with the same bytes. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/lm/train/optimize.h"
#include "models/lm/train/train_internal.h"

enum { NAME_BYTES = 48, STATE_OPTIONS = 7, BEST_OPTIONS = 4 };
static const char prefix[] = "train.";

/* The state, as options, which are read and written already: first those that the best report's checkpoint has. */
static void state_options(lm_state *s, lm_option options[STATE_OPTIONS]) {
    options[0] = lm_kept("train.iteration", lm_integer(NULL, &s->iteration, 0, 1e12, NULL));
    options[1] = lm_kept("train.best_loss", lm_real(NULL, &s->best_loss, 0, LM_NO_LOSS, NULL));
    options[2] = lm_kept("train.text_tokens", lm_integer(NULL, &s->text_tokens, 0, INT64_MAX, NULL));
    options[3] = lm_kept("train.text_hash", lm_integer(NULL, &s->text_hash, 0, INT64_MAX, NULL));
    options[4] = lm_kept("train.averaged", lm_integer(NULL, &s->averaged, 0, 1e12, NULL));
    options[5] = lm_kept("train.best_iteration", lm_integer(NULL, &s->best_iteration, 0, 1e12, NULL));
    options[6] = lm_kept("train.reports_since_best", lm_integer(NULL, &s->reports_since_best, 0, 1e12, NULL));
}

/* ---- Saving ------------------------------------------------------------------------------------ */

/* Strings for a checkpoint, with memory for those that are made here. */
typedef struct strings {
    nn_metadata list[LM_MAX_EXTRAS];
    char keys[LM_MAX_EXTRAS][NAME_BYTES], values[LM_MAX_EXTRAS][32];
    int count;
} strings;

static void add(strings *s, const lm_option *o) {
    char *key = s->keys[s->count], *value = s->values[s->count];
    nn_metadata *entry = &s->list[s->count++];
    if (!o->key) snprintf(key, NAME_BYTES, "%s%s", prefix, o->name);
    *entry = (nn_metadata){o->key ? o->key : key, value};
    if (o->kind != LM_TEXT && o->kind != LM_FILES) {
        lm_option_text(o, value, sizeof *s->values);
        return;
    }
    const char *text = o->kind == LM_FILES ? ((lm_paths *)o->value)->joined : *(const char **)o->value;
    bool fits =
        text && lm_utf8_count(text, strlen(text), NULL) >= 0; /* metadata are UTF-8; paths need not be */
    entry->value = fits ? text : "";
}

/* The state's first `counts` entries and the options: all that resuming needs, or those that no resuming changes and the
 * text's name. */
static void add_run(strings *s, const lm_trainer *t, lm_state *state, int counts, bool all) {
    lm_option options[STATE_OPTIONS];
    const lm_option *o;
    state_options(state, options);
    for (int i = 0; i < counts; i++) add(s, &options[i]);
    double counted = t->counted_loss;
    const lm_option loss = lm_kept("train.counted_loss", lm_real(NULL, &counted, 0, LM_NO_LOSS, NULL));
    if (!isnan(counted)) add(s, &loss);
    for (int i = 0; (o = lm_option_at(t->usage, i)) && s->count < LM_MAX_EXTRAS; i++) {
        const bool stays = o->resume == LM_FIXED || o->kind == LM_FILES || all;
        if (o->resume < LM_ANEW && !o->key && stays) add(s, o);
    }
}

bool lm_resume_save(lm_trainer *t, tensor_error *err) {
    strings s = {0};
    lm_average_show(t, true); /* it is the model for whoever loads the file */
    lm_state state = t->state;
    add_run(&s, t, &state, STATE_OPTIONS, true);
    nn_entry optimizer[LM_OPTIMIZER_ENTRIES];
    const int count = lm_optimizer_list(t, optimizer);
    const lm_extras extras = {optimizer, s.list, count, s.count};
    const bool saved = lm_checkpoint_save(&t->instance, extras, t->last, err);
    lm_average_show(t, false);
    return saved;
}

bool lm_best_save(const lm_trainer *t, tensor_error *err) {
    strings s = {0};
    lm_state state = t->state;
    add_run(&s, t, &state, BEST_OPTIONS, false);
    return lm_checkpoint_save(&t->instance, (lm_extras){.metadata = s.list, .metadata_count = s.count},
                              t->best, err);
}

/* ---- The text ---------------------------------------------------------------------------------- */

bool lm_resume_text(lm_trainer *t, tensor_error *err) {
    const lm_state was = t->state;
    t->state.text_tokens = t->corpus.tokens.count;
    t->state.text_hash = (int64_t)(t->corpus.hash >> 12);
    bool same = t->state.text_tokens == was.text_tokens && t->state.text_hash == was.text_hash;
    if (!t->set.resume || same) return true;
    return tensor_fail(err,
                       "this is not the text that the run was trained on: that had %" PRId64
                       " tokens, this has %" PRId64 "%s",
                       was.text_tokens, t->state.text_tokens,
                       was.text_tokens == t->state.text_tokens ? ", but others" : "");
}

/* ---- Options ----------------------------------------------------------------------------------- */

/* Whether the command line's value has to agree with the checkpoint's. */
static bool must_agree(const lm_trainer *t, const lm_option *o) {
    return o->resume == LM_FIXED && (t->set.resume || o->key);
}

/* Notes what the command line says, before the checkpoint's values take its place. */
static void note_given(const lm_trainer *t, int argc, char *const *argv, strings *given) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(t->usage, i)) && i < LM_MAX_EXTRAS; i++) {
        if (!must_agree(t, o) || !lm_option_given(o, argc, argv)) continue;
        lm_option_text(o, given->values[i], sizeof *given->values);
        given->list[i].key = o->name;
    }
}

static int compare_given(const lm_trainer *t, const strings *given) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(t->usage, i)) && i < LM_MAX_EXTRAS; i++) {
        char value[sizeof *given->values];
        if (!given->list[i].key || strcmp(lm_option_text(o, value, sizeof value), given->values[i]) == 0)
            continue;
        lm_say(t->instance.model,
               "train: --%s %s: %s has %s, and that cannot change (train --help says what can)", o->name,
               given->values[i], t->set.resume ? t->last : t->set.init, *value ? value : "none");
        return LM_BAD_USAGE;
    }
    return LM_DONE;
}

/* Sets an option from a file's metadata, with memory on the arena; what the file lacks stays as it is. A number that the
 * run was made without is an empty text there. */
static bool read_option(const nn_file *file, const lm_option *o, tensor_arena *arena, tensor_error *err) {
    char key[NAME_BYTES];
    tensor_error fault = {0};
    snprintf(key, sizeof key, "%s%s", prefix, o->name ? o->name : "");
    const char *value = nn_file_metadata(file, o->key ? o->key : key);
    if (value && !*value) lm_option_take_away(o);
    if (!value || !*value) return true;
    if (o->kind == LM_TEXT || o->kind == LM_FILES) {
        char *copy = tensor_arena_alloc(arena, strlen(value) + 1, err);
        if (!copy) return false;
        value = strcpy(copy, value);
        for (char *end; o->kind == LM_FILES && (end = strchr(copy, '\n')); copy = end + 1) {
            *end = '\0';
            if (!lm_option_set(o, copy, err)) return false;
            value = end + 1;
        }
    }
    if (lm_option_set(o, value, &fault)) return true;
    return tensor_fail(err, "%s: %s", o->key ? o->key : key, fault.text);
}

/* ---- The state --------------------------------------------------------------------------------- */

static bool read_state(lm_trainer *t, const nn_file *file, int argc, char *const *argv, tensor_error *err) {
    lm_option counts[STATE_OPTIONS];
    const lm_option *o;
    state_options(&t->state, counts);
    if (!nn_file_metadata(file, counts[STATE_OPTIONS - 1].key)) /* the best report's has but the first */
        return tensor_fail(err, "no training state; start from its weights with --init");
    for (int i = 0; i < STATE_OPTIONS; i++)
        if (!read_option(file, &counts[i], t->arena, err)) return false;
    for (int i = 0; (o = lm_option_at(t->usage, i)); i++) {
        bool stays =
            o->key || o->resume >= LM_ANEW || (o->resume == LM_CHANGEABLE && lm_option_given(o, argc, argv));
        if (!stays && !read_option(file, o, t->arena, err)) return false;
    }
    return true;
}

/* Whether the checkpoint of --resume is there; if not, why. */
static int look_for_last(const lm_trainer *t) {
    const lm_model *model = t->instance.model;
    const char *const paths[] = {t->last, t->best, t->set.resume};
    lm_place places[3];
    tensor_error err = {0};
    for (int i = 0; i < 3; i++)
        if ((places[i] = lm_place_of(paths[i], &err)) == LM_UNKNOWN) return lm_fail(model, "%s", err.text);
    if (places[0] != LM_NOTHING) return LM_DONE;
    if (places[2] == LM_NOTHING)
        return lm_fail(model, "%s: there is no such folder to go on from", t->set.resume);
    if (places[2] == LM_FILE) return lm_fail(model, "%s is a file, not a run's folder", t->set.resume);
    if (places[1] != LM_NOTHING)
        return lm_fail(model, "%s is not there; start from the weights of the best report with --init %s",
                       t->last, t->best);
    const char *run = lm_newest_run(t->set.resume, t->arena);
    return run ? lm_fail(model, LM_FOLDER_OF_RUNS, t->set.resume, run)
               : lm_fail(model, "%s: there is no run to go on with", t->last);
}

/* Whether the command line names a context: --init then takes so much of the checkpoint's. */
static bool context_given(const lm_trainer *t, int argc, char *const *argv) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(t->usage, i)); i++)
        if (o->value == &t->set.context) return lm_option_given(o, argc, argv);
    return false;
}

/* How the weights of --init were trained does not come with them. */
static bool say_preset(const lm_trainer *t, int argc, char *const *argv, tensor_error *err) {
    const lm_option *o;
    for (int i = 0; (o = lm_option_at(t->usage, i)) && o->kind != LM_PRESET;) i++;
    if (!o || lm_option_given(o, argc, argv)) return true;
    const char *path = lm_checkpoint_path(t->set.init, t->arena, err);
    nn_file *file = path ? lm_checkpoint_open(path, err) : NULL;
    const char *was = file ? nn_file_metadata(file, "train.preset") : NULL;
    char now[32];
    if (was && strcmp(was, lm_option_text(o, now, sizeof now)) != 0)
        lm_say(t->instance.model, "trains by the preset %s; these weights were trained by --preset %s", now,
               was);
    nn_file_close(file);
    return file;
}

/* The options come first: the model is made from them. */
static bool load(lm_trainer *t, int argc, char *const *argv, tensor_error *err) {
    const lm_model *model = t->instance.model;
    if (!t->set.resume)
        return lm_checkpoint_load_cropped(&t->instance, model, t->set.init,
                                          context_given(t, argc, argv) ? t->set.context : 0, err) &&
               say_preset(t, argc, argv, err);
    tensor_error fault = {0};
    nn_file *file = nn_file_open(t->last, err);
    bool ok = file && read_state(t, file, argc, argv, &fault) &&
              lm_checkpoint_load(&t->instance, model, t->last, err) && lm_optimizer_load(t, file, &fault);
    if (fault.text[0]) tensor_fail(err, "%.100s: %s", t->last, fault.text);
    nn_file_close(file);
    return ok;
}

int lm_resume_load(lm_trainer *t, int argc, char *const *argv) {
    const lm_model *model = t->instance.model;
    strings given = {0};
    tensor_error err = {0};
    if (t->set.resume && look_for_last(t) != LM_DONE) return LM_FAILED;
    const bool writes = t->set.resume && !t->keeps_nothing;
    if (writes && !lm_run_lock(&t->lock, t->set.resume, t->arena, &err)) /* before it is read */
        return lm_fail(model, "%s", err.text);
    note_given(t, argc, argv, &given);
    if (!load(t, argc, argv, &err)) return lm_fail(model, "%s", err.text);
    t->set.context = t->instance.context;
    t->set.tokenizer = lm_tokenizer_name(t->instance.tokenizer.kind);
    return compare_given(t, &given);
}
