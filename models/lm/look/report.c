/* The command report: reads a run and looks into its model for the page. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

enum { MOST_MAP_TOKENS = 64, MOST_TABLE = 128, SAMPLE_BYTES = 2000, PROMPT_CHARACTERS = 32 };

/* ---- Gathering ------------------------------------------------------------------------------ */

static bool read_samples(lm_page *p, tensor_error *err) {
    FILE *file = fopen(p->samples_path, "rb");
    if (!file) return errno == ENOENT || tensor_fail(err, "cannot be opened: %s", strerror(errno));
    bool ok = lm_samples_read(&p->samples, file, err);
    for (int i = 0; ok && i < p->samples.count; i++) {
        const lm_sample_place *place = &p->samples.places[i];
        size_t size = place->bytes < SAMPLE_BYTES ? (size_t)place->bytes : SAMPLE_BYTES;
        char *text = tensor_arena_alloc(p->arena, size, err);
        ok = text && ((fseeko(file, place->offset, SEEK_SET) == 0 && fread(text, 1, size, file) == size) ||
                      tensor_fail(err, "cannot be read: %s", strerror(errno)));
        p->texts[i] = (lm_piece){text, size};
    }
    fclose(file);
    return ok;
}

/* Whether the text was the Kalevala as Project Gutenberg has it: its vocabulary, and its length where it is known. */
static bool is_kalevala(const lm_tokenizer *t, const nn_file *file) {
    const char *length = nn_file_metadata(file, "train.text_tokens");
    if (length && strcmp(length, "545594") != 0) return false;
    static const char all[] = "\n !\"'*,-.:;?AEHIJKLMNOPRSTUVYadeghijklmnoprstuvyÄäö";
    size_t at = 0;
    for (int32_t i = 0; t->kind == LM_CHAR && i < t->count; i++) {
        lm_piece piece = lm_decode(t, i);
        if (strncmp(all + at, piece.bytes, piece.size) != 0) return false;
        at += piece.size;
    }
    return at == sizeof all - 1;
}

/* Loads the checkpoint and sees whether its model is the one with the published figures. */
static bool load(lm_page *p, tensor_error *err) {
    enum { MOST_OPTIONS = 32, VALUE_BYTES = 32 };
    char defaults[MOST_OPTIONS][VALUE_BYTES], value[VALUE_BYTES];
    const lm_model *model = p->model;
    if (model->check && !model->check(model->self, err)) return false; /* completes the defaults */
    for (int i = 0; model->options && model->options[i].name && i < MOST_OPTIONS; i++)
        lm_option_text(&model->options[i], defaults[i], VALUE_BYTES);
    if (!p->file) p->file = nn_file_open(p->checkpoint, err);
    if (!p->file || !lm_checkpoint_load(&p->instance, model, p->checkpoint, err)) return false;
    p->parameters = nn_params_count(p->instance.params);
    const char *counted = nn_file_metadata(p->file, "train.counted_loss");
    p->counted_loss = counted ? strtod(counted, NULL) : 0;
    p->comparable = model->references && p->instance.context == model->defaults.context &&
                    is_kalevala(&p->instance.tokenizer, p->file);
    for (int i = 0; model->options && model->options[i].name && i < MOST_OPTIONS; i++)
        if (model->options[i].key &&
            strcmp(defaults[i], lm_option_text(&model->options[i], value, VALUE_BYTES)) != 0)
            p->comparable = false;
    return true;
}

/* The first characters of a text, behind white space, on the arena; NULL: there are none. */
static const char *beginning_of(lm_page *p, lm_piece text, tensor_error *err) {
    while (text.size > 0 && strchr(" \n\t\r", *text.bytes)) text.bytes++, text.size--;
    size_t end = 0;
    for (int i = 0; i < PROMPT_CHARACTERS && end < text.size; i++) {
        uint32_t code;
        int length = lm_utf8_decode(text.bytes + end, text.size - end, &code);
        if (length == 0 || code == 0) break;
        end += (size_t)length;
    }
    char *prompt = end > 0 ? tensor_arena_alloc(p->arena, end + 1, err) : NULL;
    if (prompt) {
        memcpy(prompt, text.bytes, end); /* which no NUL ends */
        prompt[end] = '\0';
    }
    return prompt;
}

/* Without samples: how the validation part of the run's own text begins. */
static const char *own_prompt(lm_page *p, tensor_error *err) {
    enum { TOKENS = 2 * PROMPT_CHARACTERS, BYTES = 512 };
    int32_t ids[TOKENS];
    char bytes[BYTES];
    size_t size = 0;
    lm_corpus corpus;
    if (!lm_open_kept_text(&p->instance, p->checkpoint, &corpus, err)) return NULL;
    const lm_tokens part = lm_split_of(corpus.tokens, LM_VALIDATION);
    const int64_t count = part.count < TOKENS ? part.count : TOKENS;
    lm_tokens_read(part, 0, count, ids);
    lm_corpus_free(&corpus);
    for (int64_t i = 0; i < count; i++) {
        const lm_piece piece = lm_decode(&p->instance.tokenizer, ids[i]);
        if (size + piece.size > sizeof bytes) break;
        memcpy(bytes + size, piece.bytes, piece.size);
        size += piece.size;
    }
    return beginning_of(p, (lm_piece){bytes, size}, err);
}

static bool attend(lm_page *p, tensor_error *err) {
    const lm_instance *instance = &p->instance;
    int64_t most = instance->context < MOST_MAP_TOKENS ? instance->context : MOST_MAP_TOKENS;
    tensor_error fault = {0};
    if (!p->prompt && p->samples.count > 0) p->prompt = beginning_of(p, p->texts[p->samples.count - 1], err);
    if (!p->prompt) p->prompt = own_prompt(p, err);
    if (!p->prompt || !*p->prompt) return !err->text[0];
    p->ids = lm_encode(&instance->tokenizer, p->prompt, strlen(p->prompt), p->arena, &fault);
    if (!tensor_ok(p->ids)) return tensor_fail(err, "the prompt: %s", fault.text);
    p->ids = tensor_slice(p->ids, 0, 0, most, 1, err);
    ag_var *ids = ag_unsqueeze(ag_input(p->tape, p->ids), 0);
    const lm_input in = {.ids = ids, .counts = instance->counts};
    ag_var *weights = ag_squeeze(instance->model->attention(instance->model->self, &in), 0);
    if (!weights) return tensor_fail(err, "%s", ag_error(p->tape));
    p->weights = tensor_contiguous(p->arena, weights->value, err);
    return tensor_ok(p->weights);
}

/* What the model predicts after every token alone. */
static bool tabulate(lm_page *p, tensor_error *err) {
    const lm_instance *instance = &p->instance;
    const int64_t count = instance->tokenizer.count;
    if (count > MOST_TABLE) return true;
    tensor ids = tensor_new(p->arena, TENSOR_I32, TENSOR_SHAPE(count, 1), err);
    if (!tensor_ok(ids)) return false;
    for (int32_t i = 0; i < count; i++) ids.i32[i] = i;
    const lm_input in = {.ids = ag_input(p->tape, ids), .counts = instance->counts};
    ag_var *logits = instance->model->forward(instance->model->self, &in);
    ag_var *table = ag_squeeze(ag_softmax(logits, -1), 1);
    if (!table) return tensor_fail(err, "%s", ag_error(p->tape));
    p->table = tensor_contiguous(p->arena, table->value, err);
    return tensor_ok(p->table);
}

/* Of one among several runs: what its metadata say, and how many parameters it has, without them. */
static bool count_parameters(lm_page *p, tensor_error *err) {
    lm_instance instance = {0};
    tensor_error fault = {0};
    nn_file *file = nn_file_open(p->checkpoint, err); /* in which names may change */
    if (!p->file) p->file = nn_file_open(p->checkpoint, err);
    if (file && lm_checkpoint_configure(&instance, p->model, file, p->checkpoint, &fault))
        p->parameters = nn_params_count(instance.params);
    else if (file && lm_wants_memory(&fault))
        tensor_fail(err, "%s: %s", p->checkpoint, fault.text);
    else if (file)
        lm_say(p->model, "%s: %s; its losses are shown", p->checkpoint, fault.text);
    lm_instance_free(&instance);
    nn_file_close(file);
    return !err->text[0];
}

/* Reads all of a run, or what stands among others. */
static int gather(lm_page *p, const char *folder, bool alone) {
    tensor_error err = {0};
    p->history = lm_run_read(p->model, folder, LM_EVERYTHING, &p->name, p->arena);
    if (!p->history) return LM_FAILED;
    const char *best = lm_path_in(p->name, "best.safetensors", p->arena, &err);
    const char *last = lm_path_in(p->name, "last.safetensors", p->arena, &err);
    const char *record = lm_path_in(p->name, "run.txt", p->arena, &err);
    p->samples_path = lm_path_in(p->name, "samples.txt", p->arena, &err);
    if (!best || !last || !record || !p->samples_path || !lm_record_read(&p->record, record, p->arena, &err))
        return lm_fail(p->model, "%s", err.text);
    if (!read_samples(p, &err)) return lm_fail(p->model, "%s: %s", p->samples_path, err.text);
    const lm_place places[] = {lm_place_of(best, &err), lm_place_of(last, &err)};
    if (err.text[0]) return lm_fail(p->model, "%s", err.text);
    p->checkpoint = places[0] != LM_NOTHING ? best : places[1] != LM_NOTHING ? last : NULL;
    if (!p->checkpoint) {
        lm_say(p->model, "%s: no checkpoint, so the page shows no model", p->name);
        return LM_DONE;
    }
    if (places[1] != LM_NOTHING) p->file = nn_file_open(last, &err); /* has the options of training as well */
    bool ok = !err.text[0];
    if (ok && alone) {
        p->tape = ag_tape_new();
        ag_set_recording(p->tape, false);
        ok = load(p, &err) && (p->model->attention ? attend(p, &err) : tabulate(p, &err));
    } else if (ok) {
        ok = count_parameters(p, &err);
    }
    return ok ? LM_DONE : lm_fail(p->model, "%s", err.text);
}

/* ---- The command ---------------------------------------------------------------------------- */

typedef struct request {
    const char *html, *prompt;
    const char **folders; /* the last is NULL */
    int64_t threads;
    tensor_arena *arena;
} request;

static int write_page(const lm_model *model, const char *html, const lm_page *const *pages, int count,
                      tensor_arena *arena) {
    tensor_error err = {0};
    FILE *file = html ? lm_create(html, &err) : NULL;
    if (file && count == 1) lm_page_write(file, pages[0]);
    if (file && count > 1) lm_pages_write(file, pages, count, arena);
    if (!file || !lm_finish(file, html, true, &err)) return lm_fail(model, "%s", err.text);
    lm_say(model, "wrote %s", html);
    return LM_DONE;
}

static int report_runs(const request *q, const lm_model *model) {
    tensor_error err = {0};
    int count = 0, status = LM_DONE;
    while (q->folders[count]) count++;
    lm_page **pages = tensor_arena_alloc(q->arena, (size_t)count * sizeof *pages, &err);
    for (int i = 0; pages && i < count; i++) {
        if (!(pages[i] = tensor_arena_alloc(q->arena, sizeof **pages, &err)))
            return lm_fail(model, "%s", err.text);
        *pages[i] = (lm_page){.model = model, .arena = q->arena, .prompt = q->prompt};
    }
    if (!pages) return lm_fail(model, "%s", err.text);
    for (int i = 0; status == LM_DONE && i < count; i++) status = gather(pages[i], q->folders[i], count == 1);
    const char *html = q->html;
    if (status == LM_DONE && !html) html = lm_path_in(pages[0]->name, "report.html", q->arena, &err);
    if (status == LM_DONE) status = write_page(model, html, (const lm_page *const *)pages, count, q->arena);
    for (int i = 0; i < count; i++) {
        nn_file_close(pages[i]->file);
        lm_instance_free(&pages[i]->instance);
        ag_tape_free(pages[i]->tape);
    }
    return status;
}

static int report(request *q, const lm_model *model, int argc, char *const *argv) {
    const lm_option options[] = {
        lm_about(
            LM_ABOUT_REPORTS,
            lm_string("html", &q->html, "FILE",
                      "Write the page into this file instead of DIR/report.html. Several runs need it.")),
        lm_string("prompt", &q->prompt, "TEXT",
                  "Show attention on this text instead of the beginning of the last sample."),
        lm_threads(&q->threads),
        {0}};
    const lm_usage usage = {model->name, "report",  "Writes one HTML page about a run, or about several.",
                            "DIR...",    {options}, argc + 1};
    const int status = lm_begin(model, &usage, argc, argv, q->folders, &q->threads);
    if (status >= 0) return status;
    if (q->folders[1] && !q->html) {
        lm_say(model, "report: a page about several runs needs a name: --html FILE");
        return LM_BAD_USAGE;
    }
    return report_runs(q, model);
}

int lm_report_command(const lm_model *model, int argc, char *const *argv) {
    tensor_error err = {0};
    request q = {.arena = tensor_arena_new(&err)};
    if (q.arena) q.folders = tensor_arena_alloc(q.arena, ((size_t)argc + 1) * sizeof *q.folders, &err);
    const int status = q.folders ? report(&q, model, argc, argv) : lm_fail(model, "%s", err.text);
    tensor_arena_free(q.arena);
    return status;
}
