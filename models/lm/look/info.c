/* The command info: what is in a checkpoint, or in any other safetensors file. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/lm/look/look_internal.h"

enum { MIN_COLUMNS = 24, MAX_COLUMNS = 200, CELL = 4 * MAX_COLUMNS + 8 };

/* How wide to print, and how headings begin and end. */
typedef struct page {
    int columns;
    const char *bold, *plain;
} page;

static page page_of_stdout(void) {
    const bool colour = lm_shows_colour(STDOUT_FILENO);
    page p = {isatty(STDOUT_FILENO) ? lm_columns_of(STDOUT_FILENO) : MAX_COLUMNS, colour ? "\033[1m" : "",
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
        const bool control = n < 1 || lm_is_control(code);
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

/* ---- Metadata ---------------------------------------------------------------------------------- */

/* The metadata of a section, but for options that were not given. */
static void print_metadata(page p, const lm_model *model, const nn_file *file, lm_section part) {
    static const char *const titles[] = {"Configuration", "Training", "Other metadata"};
    int columns = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first measures the keys */
        if (pass == 1 && columns > 0) printf("\n%s%s%s\n", p.bold, titles[part], p.plain);
        if (columns > p.columns / 2) columns = p.columns / 2;
        for (int i = 0; i < nn_file_metadata_count(file); i++) {
            const nn_metadata *m = nn_file_metadata_at(file, i);
            char cell[CELL], rounded[32];
            const char *value = lm_value_of(m, rounded, sizeof rounded);
            if (lm_section_of(model, m->key) != part || !*value) continue;
            const int length = fit(cell, lm_word_of(model, m->key), pass == 0 ? MAX_COLUMNS : columns);
            if (pass == 0) {
                if (length > columns) columns = length;
                continue;
            }
            printf("  %s%*s", cell, columns - length, "");
            fit(cell, value, p.columns - columns - 4);
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

/* Whether a tensor belongs to what was counted: there are many, and none says much by itself. */
static bool is_count(const nn_entry *e) {
    return strncmp(e->name, LM_COUNTS_PREFIX, sizeof LM_COUNTS_PREFIX - 1) == 0;
}

/* The rows of a file but for counts, in its order; returns how many, -1 without memory. */
static int make_rows(const nn_file *file, row **rows, tensor_arena *arena, tensor_error *err) {
    const int count = nn_file_entries(file);
    const nn_entry **entries = tensor_arena_alloc(arena, (size_t)count * sizeof *entries, err);
    *rows = tensor_arena_alloc(arena, (size_t)count * sizeof **rows, err);
    if (!entries || !*rows) return -1;
    int shown = 0, n = 0;
    for (int i = 0; i < count; i++)
        if (!is_count(nn_file_at(file, i))) entries[shown++] = nn_file_at(file, i);
    qsort(entries, (size_t)shown, sizeof *entries, compare_entries);
    for (int i = 0; i < shown; i++) {
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
            lm_grouped(r->count * numbers_of(r->first), number);
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
    printf("  %-19s  %" PRId64 "\n  %-19s  %d\n", "context", instance->context, "vocab-size",
           instance->tokenizer.count);
    for (const lm_option *o = instance->model->options; o->name; o++) {
        char value[32];
        if (o->key) printf("  %-19s  %s\n", o->name, lm_option_text(o, value, sizeof value));
    }
}

/* What can be said of a file. */
typedef struct subject {
    const lm_model *model;
    const char *path;
    int64_t bytes;
    nn_file *file;
    nn_file *other;       /* the same, in which names may change */
    lm_instance instance; /* without values */
    tensor_error fault;   /* why the program cannot use it */
} subject;

static void print_summary(page p, const subject *s, const row *rows, int count) {
    const nn_file *file = s->file;
    char cell[CELL], number[32];
    int64_t numbers = 0, tensors = 0, grams = 0, bytes = 0;
    for (int i = 0; i < count; i++) {
        numbers += rows[i].count * numbers_of(rows[i].first);
        tensors += rows[i].count;
    }
    for (int i = 0; i < nn_file_entries(file); i++) {
        const nn_entry *e = nn_file_at(file, i);
        if (!is_count(e)) continue;
        const size_t length = strlen(e->name);
        bytes += (int64_t)e->bytes;
        if (length > 5 && strcmp(e->name + length - 5, ".next") == 0) grams += numbers_of(e);
    }
    fit(cell, s->path, p.columns);
    printf("%s%s%s\n", p.bold, cell, p.plain);
    printf("%s bytes\n", lm_grouped(s->bytes, number));
    printf("%s number%s", lm_grouped(numbers, number), lm_s(numbers));
    printf(" in %s tensor%s\n", lm_grouped(tensors, number), lm_s(tensors));
    if (bytes > 0) {
        printf("%s counted sequences", lm_grouped(grams, number));
        printf(" in %s bytes\n", lm_grouped(bytes, number));
    }
}

static void close_subject(subject *s) {
    lm_instance_free(&s->instance);
    nn_file_close(s->other);
    nn_file_close(s->file);
}

static bool open_subject(subject *s, const char *path, tensor_arena *arena, tensor_error *err) {
    struct stat status;
    s->path = lm_checkpoint_path(path, arena, err);
    s->file = s->path ? lm_checkpoint_open(s->path, err) : NULL;
    s->other = s->file ? lm_checkpoint_open(s->path, err) : NULL;
    if (!s->other) return false;
    if (stat(s->path, &status) != 0) return tensor_fail(err, "%.150s: %s", s->path, strerror(errno));
    s->bytes = status.st_size;
    return lm_checkpoint_configure(&s->instance, s->model, s->other, s->path, &s->fault) ||
           !lm_wants_memory(&s->fault) || tensor_fail(err, "%.150s: %s", s->path, s->fault.text);
}

static bool is_known(const subject *s) {
    return !s->fault.text[0];
}

static bool print_file(page p, const subject *s, tensor_arena *arena, tensor_error *err) {
    row *rows;
    char cell[CELL], number[32];
    const int count = make_rows(s->file, &rows, arena, err);
    if (count < 0) return false;
    print_summary(p, s, rows, count);
    fit(cell, s->fault.text, MAX_COLUMNS);
    if (is_known(s))
        printf("%s parameters\n", lm_grouped(nn_params_count(s->instance.params), number));
    else
        printf("%s cannot use it: %s\n", s->model->name, cell);
    if (is_known(s) && !nn_file_metadata(s->file, "architecture")) print_options(p, &s->instance);
    for (lm_section part = LM_CONFIGURATION; part < LM_SECTIONS; part++)
        print_metadata(p, s->model, s->file, part);
    if (count > 0) printf("\n%sTensors%s\n", p.bold, p.plain);
    print_tensors(p, rows, count);
    return true;
}

/* ---- JSON, and a table of several files ------------------------------------------------------- */

static void print_json(const subject *s) {
    printf("{\"file\": ");
    lm_json_string(stdout, s->path);
    printf(", \"bytes\": %" PRId64, s->bytes);
    if (is_known(s)) {
        printf(", \"parameters\": %" PRId64, nn_params_count(s->instance.params));
    } else {
        printf(", \"fault\": ");
        lm_json_string(stdout, s->fault.text);
    }
    printf(", \"metadata\": {");
    for (int i = 0; i < nn_file_metadata_count(s->file); i++) {
        const nn_metadata *m = nn_file_metadata_at(s->file, i);
        fputs(i ? ", " : "", stdout);
        lm_json_string(stdout, m->key);
        printf(": ");
        lm_json_string(stdout, m->value);
    }
    printf("}, \"tensors\": [");
    for (int i = 0; i < nn_file_entries(s->file); i++) {
        const nn_entry *e = nn_file_at(s->file, i);
        char shape[TENSOR_SHAPE_TEXT];
        printf("%s{\"name\": ", i ? ", " : "");
        lm_json_string(stdout, e->name);
        tensor_shape_text(shape, sizeof shape, e->rank, e->shape);
        printf(", \"type\": \"%s\", \"shape\": %s}", e->dtype, shape);
    }
    printf("]}\n");
}

static void print_row(const subject *s, bool first) {
    enum { PARAMETERS, LOSS, CONTEXT, VOCABULARY, CELLS };
    lm_cell cells[CELLS] = {{.title = "parameters", .width = 11},
                            {.title = "best loss", .width = 9},
                            {.title = "context", .width = 7},
                            {.title = "vocab-size", .width = 10}};
    const nn_metadata loss = {"train.best_loss", nn_file_metadata(s->file, "train.best_loss")};
    char rounded[32];
    if (is_known(s)) {
        lm_grouped(nn_params_count(s->instance.params), rounded);
        snprintf(cells[PARAMETERS].text, sizeof cells->text, "%s", rounded);
        snprintf(cells[CONTEXT].text, sizeof cells->text, "%" PRId64, s->instance.context);
        snprintf(cells[VOCABULARY].text, sizeof cells->text, "%d", s->instance.tokenizer.count);
    }
    if (loss.value && *lm_value_of(&loss, rounded, sizeof rounded))
        snprintf(cells[LOSS].text, sizeof cells->text, "%.3f", strtod(loss.value, NULL));
    if (first) lm_table_line(cells, CELLS, NULL, lm_columns_of(STDOUT_FILENO));
    lm_table_line(cells, CELLS, s->path, lm_columns_of(STDOUT_FILENO));
}

/* ---- The command --------------------------------------------------------------------------- */

static int describe(const lm_model *model, const char *const *files, bool json, tensor_arena *arena) {
    for (int i = 0; files[i]; i++) {
        subject s = {.model = model};
        tensor_error err = {0};
        bool ok = open_subject(&s, files[i], arena, &err);
        if (ok && json)
            print_json(&s);
        else if (ok && files[1])
            print_row(&s, i == 0);
        else if (ok)
            ok = print_file(page_of_stdout(), &s, arena, &err);
        ok = ok && lm_flush(stdout, &err);
        close_subject(&s);
        if (!ok) return lm_fail(model, "%s", err.text);
    }
    return LM_DONE;
}

int lm_info_command(const lm_model *model, int argc, char *const *argv) {
    const int64_t threads = 0;
    bool json = false;
    const lm_option options[] = {
        lm_about(LM_ABOUT_REPORTS, lm_flag("json", &json, "Print JSON, an object on a line for each file.")),
        {0}};
    const lm_usage usage = {model->name,
                            "info",
                            "Prints what is in a checkpoint, or in any safetensors file; of several a table.",
                            "FILE...",
                            {options},
                            argc + 1};
    tensor_error err = {0};
    tensor_arena *arena = tensor_arena_new(&err);
    const char **files = arena ? tensor_arena_alloc(arena, ((size_t)argc + 1) * sizeof *files, &err) : NULL;
    int status =
        files ? lm_begin(model, &usage, argc, argv, files, &threads) : lm_fail(model, "%s", err.text);
    if (status < 0) status = describe(model, files, json, arena);
    tensor_arena_free(arena);
    return status;
}
