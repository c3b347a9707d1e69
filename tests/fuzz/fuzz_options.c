/* Feeds bytes to the reader of options: a file of --config, then words of a command line, with NULs between them. What is
 * accepted has values in their ranges, which their own texts give back. */
#include "models/lm/cli/pages.h"
#include "models/lm/look/look_internal.h"
#include "tests/fuzz/folder.h"

enum { WORDS = 32, OPTIONS = 12 };

typedef struct values {
    int64_t integer, choice, threads;
    double real;
    const char *text;
    lm_paths files;
    bool yes, flag;
    const lm_preset *preset;
} values;

static void options_of(values *v, lm_option options[OPTIONS]) {
    static const lm_preset presets[] = {
        {"small", "number=1 rate=0.5", "all"}, {"large", "number=9 yes=no", "none"}, {0}};
    v->preset = presets;
    const lm_option all[OPTIONS] = {lm_presets(&v->preset, presets, "Takes other options."),
                                    lm_integer("number", &v->integer, -5, 1000, "How many."),
                                    lm_real("rate", &v->real, 0, 1, "How fast."),
                                    lm_string("name", &v->text, "NAME", "Its name."),
                                    lm_files("data", &v->files, "FILE", "The texts."),
                                    lm_choice("colour", &v->choice, "red|green|blue", "Which."),
                                    lm_yes_no("yes", &v->yes, "Whether."),
                                    lm_flag("force", &v->flag, "Whether at all."),
                                    lm_threads(&v->threads)};
    memcpy(options, all, sizeof all);
}

static void check_values(const values *v, const lm_option *options) {
    char text[64], again[64];
    CHECK(v->integer >= -5 && v->integer <= 1000 && v->real >= 0 && v->real <= 1);
    CHECK(v->choice >= 0 && v->choice < 3 && v->files.count <= LM_MAX_FILES);
    for (const lm_option *o = options; o->name; o++) {
        if (o->kind == LM_TEXT || o->kind == LM_FILES || o->kind == LM_PRESET || o->kind == LM_FLAG) continue;
        lm_option_text(o, text, sizeof text);
        if (!*text) continue; /* not given */
        CHECK(lm_option_set(o, text, NULL));
        CHECK(strcmp(lm_option_text(o, again, sizeof again), text) == 0);
    }
}

static void check_words(int argc, char *const *argv) {
    values v = {.integer = 7, .real = 0.5, .threads = 0};
    lm_option options[OPTIONS] = {{0}};
    const lm_usage usage = {"fuzz", "options", "Reads options.", "FILE...", {options}, 4};
    const char *operands[5];
    tensor_error err = {0};
    lm_words words;
    bool help = false;
    options_of(&v, options);
    bool ok = lm_config_expand(&words, argc, argv, &err) == LM_DONE;
    CHECK(ok == !err.text[0] && !strchr(err.text, '\n'));
    if (ok) {
        ok = lm_options_parse(&usage, words.argc, words.argv, operands, &help, &err);
        CHECK(ok == !err.text[0]);
        if (ok) check_values(&v, options);
    }
    lm_words_free(&words);
}

/* One word as everything that people type. */
static void check_word(const char *word) {
    double number;
    lm_range range;
    char quoted[LM_QUOTED];
    tensor_error err = {0};
    static const char *const names[] = {"batch", "data", "iters"};
    CHECK(lm_duration_parse(word, &number, &err) == !err.text[0]);
    err = (tensor_error){0};
    CHECK(lm_range_parse(&range, word, &err) == !err.text[0]);
    lm_nearest(word, names, 3);
    lm_quoted(word, quoted, sizeof quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_piece rest = {data, size}, piece = {0};
    char path[FUZZ_PATH], config[] = "--config", *argv[WORDS + 3] = {config, path}, *words[WORDS];
    int argc = 2, count = 0;
    fuzz_folder_begin();
    fuzz_path("options", path);
    fuzz_cut(&rest, &piece);
    fuzz_file("options", piece.bytes ? piece.bytes : data, piece.size);
    while (count < WORDS && fuzz_cut(&rest, &piece)) {
        char *word = words[count++] = malloc(piece.size + 1);
        CHECK(word);
        if (piece.size) memcpy(word, piece.bytes, piece.size);
        word[piece.size] = '\0';
        check_word(word);
        if (strncmp(word, "--c", 3) != 0 || strncmp(word, "--co", 4) != 0 || word[4] == 'l')
            argv[argc++] = word;
    }
    check_words(argc, argv);
    while (count > 0) free(words[--count]);
    return 0;
}
