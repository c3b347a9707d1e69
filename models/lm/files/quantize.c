/* The command quantize: a model with rounded weights, in a half or about a quarter of the memory. */
#include <string.h>
#include <sys/stat.h>

#include "models/lm/files/files.h"

/* What is written. */
typedef struct quantized {
    const lm_instance *instance;
    const char *path; /* of the checkpoint that is rounded */
    const char *out;
    tensor_precision precision;
} quantized;

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The strings of the checkpoint go along: what it was trained on stays known. */
static bool list_metadata(lm_extras *all, const quantized *q, const nn_file *file, tensor_arena *arena,
                          tensor_error *err) {
    const int count = nn_file_metadata_count(file);
    nn_metadata *list = tensor_arena_alloc(arena, ((size_t)count + 1) * sizeof *list, err);
    if (!list) return false;
    list[0] = (nn_metadata){"precision", q->precision == TENSOR_BFLOAT16 ? "bf16" : "int8"};
    for (int i = 0; i < count; i++) list[i + 1] = *nn_file_metadata_at(file, i);
    all->metadata = list;
    all->metadata_count = count + 1;
    return true;
}

static bool is_float(const nn_file *file, tensor_error *err) {
    for (int i = 0; i < nn_file_entries(file); i++)
        if (strcmp(nn_file_at(file, i)->dtype, "I8") == 0)
            return tensor_fail(err,
                               "its weights have 8 bits already: round the checkpoint that they come from");
    return true;
}

static bool write_rounded(const quantized *q, const nn_file *file, tensor_arena *arena, tensor_error *err) {
    const nn_params *params = q->instance->params;
    lm_extras all = {0};
    nn_entry *list = tensor_arena_alloc(arena, 2 * (size_t)nn_params_entries(params) * sizeof *list, err);
    if (!list || !list_metadata(&all, q, file, arena, err)) return false;
    /* One row of the positions is read for a token: nothing is won there. */
    all.entry_count =
        nn_params_list_rounded(params, q->precision, q->instance->model->positions, list, arena, err);
    all.entries = list;
    return all.entry_count >= 0 && lm_checkpoint_write(q->instance, all, q->out, err);
}

static void say_sizes(const quantized *q) {
    struct stat status;
    const lm_counts *counts = q->instance->counts; /* which stay as they are */
    const double before =
        4 * (double)nn_params_count(q->instance->params) + (counts ? (double)lm_counts_bytes(counts) : 0);
    const double unit = before < 1e6 ? 1e3 : 1e6;
    if (stat(q->out, &status) == 0)
        lm_say(q->instance->model, "wrote %s: %.1f %s, of %.1f as float32", q->out,
               (double)status.st_size / unit, before < 1e6 ? "KB" : "MB", before / unit);
}

static int quantize(const lm_model *model, quantized q, bool force) {
    tensor_error err = {0}, fault = {0};
    lm_instance instance = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    q.path = arena ? lm_checkpoint_path(q.path, arena, &err) : NULL;
    nn_file *file = q.path ? lm_checkpoint_open(q.path, &err) : NULL;
    q.instance = &instance;
    bool ok = file && (is_float(file, &fault) || tensor_fail(&err, "%.100s: %s", q.path, fault.text));
    if (ok && same_file(q.path, q.out)) ok = tensor_fail(&err, "--out %.100s is the model itself", q.out);
    ok = ok && lm_may_write(q.out, force, &err) && lm_checkpoint_load(&instance, model, q.path, &err) &&
         write_rounded(&q, file, arena, &err);
    if (ok) say_sizes(&q);
    nn_file_close(file);
    lm_instance_free(&instance);
    tensor_arena_free(arena);
    return ok ? LM_DONE : lm_fail(model, "%s", err.text);
}

int lm_quantize_command(const lm_model *model, int argc, char *const *argv) {
    enum { BF16, INT8 };
    quantized q = {0};
    int64_t to = INT8;
    bool force = false;
    const int64_t threads = 0;
    const lm_option options[] = {
        lm_choice("to", &to, "bf16|int8",
                  "Round each weight to 16 bits (bfloat16), or to 8 bits with a scale for 32 of them."),
        lm_string("out", &q.out, "FILE", "Write this file, such as small.safetensors."),
        lm_flag("force", &force, "Write over a file that is there."),
        {0}};
    const lm_usage usage = {
        model->name,
        "quantize",
        "Writes a model with rounded weights: sampling from it takes less memory and time. "
        "The command eval says what its loss is then.",
        "FILE",
        {options}};
    const int status = lm_begin(model, &usage, argc, argv, &q.path, &threads);
    if (status >= 0) return status;
    if (!q.out) {
        lm_say(model, "quantize: where to? --out FILE names the file to write");
        return LM_BAD_USAGE;
    }
    q.precision = to == BF16 ? TENSOR_BFLOAT16 : TENSOR_INT8;
    return quantize(model, q, force);
}
