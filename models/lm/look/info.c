/* The command info: what is in a checkpoint, or in any other safetensors file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/look/look.h"

enum { MIN_COLUMNS = 24, MAX_COLUMNS = 200, CELL = 4 * MAX_COLUMNS + 8 };

/* How wide to print, and how headings begin and end. */
typedef struct page {
    int columns;
    const char *bold, *plain;
} page;

static page page_of_stdout(void) {
    const bool colour = lm_shows_colour(STDOUT_FILENO);
    page p = {isatty(STDOUT_FILENO) ? lm_columns() : MAX_COLUMNS, colour ? "\033[1m" : "",
              colour ? "\033[0m" : ""};
    if (p.columns < MIN_COLUMNS) p.columns = MIN_COLUMNS;
    if (p.columns > MAX_COLUMNS) p.columns = MAX_COLUMNS;
    return p;
}

/* ---- Cells ----------------------------------------------------------------------------------- */

/* A text in at most `columns` characters, with "..." for what is left out, and without control characters: names and
 * metadata come from anywhere. Returns how many there are. */
static int fit(char cell[CELL], const char *text, int columns) {
    const size_t length = strlen(text);
    size_t at = 0, used = 0, cut = 0; /* `cut`: where the dots would begin */
    int characters = 0;
    for (; at < length && characters <= columns; characters++) {
        uint32_t code = 0;
        const int n = lm_utf8_decode(text + at, length - at, &code);
        const bool control = n < 1 || code < 0x20 || (code >= 0x7f && code < 0xa0);
        const size_t bytes = control ? 1 : (size_t)n;
        if (characters == columns - 3) cut = used;
        memcpy(cell + used, control ? "?" : text + at, bytes);
        used += bytes;
        at += n < 1 ? 1 : (size_t)n;
    }
    const bool whole = characters <= columns;
    snprintf(cell + (whole ? used : cut), 4, "%s", whole ? "" : "...");
    return whole ? characters : columns;
}

/* 1234567 as 1,234,567. */
static char *grouped(int64_t number, char buffer[32]) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, number);
    char *out = buffer;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return buffer;
}

/* ---- Metadata ---------------------------------------------------------------------------------- */

static const char training[] = "train."; /* how its keys begin */

typedef enum section { CONFIGURATION, TRAINING, OTHER } section;

/* Of a key: an option of the model that checkpoints keep, or what every model has; training's; any other. */
static section section_of(const lm_model *model, const char *key) {
    static const char *const common[] = {"architecture", "context_length", "vocab_size",   "tokenizer",
                                         "vocabulary",   "merges",         "added_tokens", "end_of_text"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strcmp(common[i], key) == 0) return CONFIGURATION;
    for (const lm_option *o = model->options; o && o->name; o++)
        if (o->key && strcmp(o->key, key) == 0) return CONFIGURATION;
    return strncmp(key, training, strlen(training)) == 0 ? TRAINING : OTHER;
}

/* The metadata of a section, but for options that were not given. */
static void print_metadata(page p, const lm_model *model, const nn_file *file, section part) {
    static const char *const titles[] = {"Configuration", "Training", "Other metadata"};
    const size_t skip = part == TRAINING ? strlen(training) : 0;
    int columns = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first measures the keys */
        if (pass == 1 && columns > 0) printf("\n%s%s%s\n", p.bold, titles[part], p.plain);
        if (columns > p.columns / 2) columns = p.columns / 2;
        for (int i = 0; i < nn_file_metadata_count(file); i++) {
            const nn_metadata *m = nn_file_metadata_at(file, i);
            char cell[CELL];
            if (section_of(model, m->key) != part || !*m->value) continue;
            const int length = fit(cell, m->key + skip, pass == 0 ? MAX_COLUMNS : columns);
            if (pass == 0) {
                if (length > columns) columns = length;
                continue;
            }
            printf("  %s%*s", cell, columns - length, "");
            fit(cell, m->value, p.columns - columns - 4);
            printf("  %s\n", cell);
        }
    }
}

/* ---- Tensors ----------------------------------------------------------------------------------- */

/* The length of a part of a name that is a number: "12" in "h.12.ln_1.bias"; 0: it is none. */
static size_t number_at(const char *name, const char *at) {
    const size_t length = strspn(at, "0123456789");
    const bool whole = (at == name || at[-1] == '.') && (at[length] == '.' || at[length] == '\0');
    return whole ? length : 0;
}

/* Orders tensors so that those with the same name but for such numbers, of one type and shape, stand together. */
static int compare_kind(const nn_entry *a, const nn_entry *b) {
    for (const char *x = a->name, *y = b->name; *x || *y; x++, y++) {
        const size_t m = number_at(a->name, x), n = number_at(b->name, y);
        if (m && n) x += m, y += n;
        if (*x != *y) return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
        if (!*x) break;
    }
    const int type = strcmp(a->dtype, b->dtype);
    if (type) return type;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    return memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape);
}

static int compare_entries(const void *a, const void *b) {
    const nn_entry *x = *(const nn_entry *const *)a, *y = *(const nn_entry *const *)b;
    const int kind = compare_kind(x, y);
    return kind ? kind : (x > y) - (x < y); /* then as in the file */
}

/* A line of the table: `count` tensors of one kind, the first of which is this. */
typedef struct row {
    const nn_entry *first;
    int count;
} row;

static int compare_rows(const void *a, const void *b) {
    const row *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* The rows of a file, in its order; returns how many, -1 without memory. */
static int make_rows(const nn_file *file, row **rows, tensor_arena *arena, tensor_error *err) {
    const int count = nn_file_entries(file);
    const nn_entry **entries = tensor_arena_alloc(arena, (size_t)count * sizeof *entries, err);
    *rows = tensor_arena_alloc(arena, (size_t)count * sizeof **rows, err);
    if (!entries || !*rows) return -1;
    for (int i = 0; i < count; i++) entries[i] = nn_file_at(file, i);
    qsort(entries, (size_t)count, sizeof *entries, compare_entries);
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (i == 0 || compare_kind(entries[i - 1], entries[i]) != 0) (*rows)[n++] = (row){entries[i], 0};
        (*rows)[n - 1].count++;
    }
    qsort(*rows, (size_t)n, sizeof **rows, compare_rows);
    return n;
}

/* "h.N.ln_1.bias" for several of them. */
static void name_text(const row *r, char text[CELL]) {
    const char *name = r->first->name;
    size_t used = 0;
    for (const char *at = name; *at && used < CELL - 1;) {
        const size_t number = r->count > 1 ? number_at(name, at) : 0;
        text[used++] = number ? 'N' : *at;
        at += number ? number : 1;
    }
    text[used] = '\0';
}

/* "12 x [768, 3072] F16"; the type only where it is not float32. */
static void shape_text(const row *r, char *text, size_t size) {
    char shape[TENSOR_SHAPE_TEXT], times[16] = "";
    const bool f32 = strcmp(r->first->dtype, "F32") == 0;
    tensor_shape_text(shape, sizeof shape, r->first->rank, r->first->shape);
    if (r->count > 1) snprintf(times, sizeof times, "%d x ", r->count);
    snprintf(text, size, "%s%s%s%s", times, shape, f32 ? "" : " ", f32 ? "" : r->first->dtype);
}

static int64_t numbers_of(const nn_entry *e) {
    int64_t numbers = 1;
    for (int i = 0; i < e->rank; i++) numbers = e->shape[i] == 0 ? 0 : numbers * e->shape[i];
    return numbers;
}

/* The table: on a line where it fits, else what follows the name on a second one. */
static void print_tensors(page p, const row *rows, int count) {
    enum { NAME, SHAPE, NUMBERS };
    int width[3] = {0};
    char text[CELL], cell[CELL], number[32];
    for (int pass = 0; pass < 2; pass++) {
        const bool narrow = width[NAME] + width[SHAPE] + width[NUMBERS] + 6 > p.columns;
        for (int i = 0; i < count; i++) {
            const row *r = &rows[i];
            char shape[TENSOR_SHAPE_TEXT + 32];
            name_text(r, text);
            const int name = fit(cell, text, pass == 0 ? MAX_COLUMNS : p.columns - 2);
            shape_text(r, shape, sizeof shape);
            grouped(r->count * numbers_of(r->first), number);
            const int lengths[3] = {name, (int)strlen(shape), (int)strlen(number)};
            for (int k = 0; pass == 0 && k < 3; k++)
                if (lengths[k] > width[k]) width[k] = lengths[k];
            if (pass == 0) continue;
            printf("  %s%*s", cell, narrow ? 0 : width[NAME] - name, "");
            printf(narrow ? "\n    " : "  ");
            printf("%-*s  %*s\n", width[SHAPE], shape, width[NUMBERS], number);
        }
    }
}

/* ---- The command --------------------------------------------------------------------------- */

/* Of a published checkpoint: what the model's options are for it. */
static void print_options(page p, const lm_instance *instance) {
    printf("\n%sConfiguration, as %s understands it%s\n", p.bold, instance->model->name, p.plain);
    printf("  %-15s  %" PRId64 "\n  %-15s  %d\n", "context_length", instance->context, "vocab_size",
           instance->tokenizer.count);
    for (const lm_option *o = instance->model->options; o->name; o++) {
        char value[32];
        if (o->key) printf("  %-15s  %s\n", o->key, lm_option_text(o, value, sizeof value));
    }
}

static void print_summary(page p, const nn_file *file, const char *path, const row *rows, int count) {
    char cell[CELL], number[32];
    struct stat status;
    int64_t numbers = 0;
    for (int i = 0; i < count; i++) numbers += rows[i].count * numbers_of(rows[i].first);
    fit(cell, path, p.columns);
    printf("%s%s%s\n", p.bold, cell, p.plain);
    if (stat(path, &status) == 0) printf("%s bytes\n", grouped(status.st_size, number));
    printf("%s numbers", grouped(numbers, number));
    printf(" in %s tensors\n", grouped(nn_file_entries(file), number));
}

static bool print_file(page p, const lm_model *model, const nn_file *file, const char *path,
                       tensor_arena *arena, tensor_error *err) {
    row *rows;
    lm_instance instance = {0};
    tensor_error fault = {0};
    char cell[CELL], number[32];
    const int count = make_rows(file, &rows, arena, err);
    if (count < 0) return false;
    print_summary(p, file, path, rows, count);
    nn_file *other = lm_checkpoint_open(path, &fault); /* in which names may change */
    const bool known = other && lm_checkpoint_configure(&instance, model, other, path, &fault);
    fit(cell, fault.text, MAX_COLUMNS);
    if (known)
        printf("%s parameters\n", grouped(nn_params_count(instance.params), number));
    else
        printf("%s cannot use it: %s\n", model->name, cell);
    if (known && !nn_file_metadata(file, "architecture")) print_options(p, &instance);
    for (section part = CONFIGURATION; part <= OTHER; part++) print_metadata(p, model, file, part);
    if (count > 0) printf("\n%sTensors%s\n", p.bold, p.plain);
    print_tensors(p, rows, count);
    lm_instance_free(&instance);
    nn_file_close(other);
    return lm_flush(stdout, err);
}

int lm_info_command(const lm_model *model, int argc, char *const *argv) {
    const lm_usage usage = {
        model->name, "info", "Prints what is in a checkpoint, or in any safetensors file.", "FILE", {NULL}};
    const int64_t threads = 0;
    const char *path;
    int status = lm_begin(model, &usage, argc, argv, &path, &threads);
    if (status >= 0) return status;

    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    path = arena ? lm_checkpoint_path(path, arena, &err) : NULL;
    nn_file *file = path ? lm_checkpoint_open(path, &err) : NULL;
    const bool ok = file && print_file(page_of_stdout(), model, file, path, arena, &err);
    nn_file_close(file);
    tensor_arena_free(arena);
    return ok ? LM_DONE : lm_fail(model, "%s", err.text);
}
