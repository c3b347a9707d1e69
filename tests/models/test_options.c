/* The command line: values, faults, suggestions, help. */
#include "models/lm/cli/pages.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What parse sets: the options' values, anew for each command line, and what comes beside them. */
static int64_t count, kind;
static double rate, tiny;
static const char *name, *operand;
static lm_paths files;
static bool bias, force, help;
static tensor_error err;

static bool parse(const char *operand_name, const char *const *words) {
    count = 5, kind = 0, rate = 0.5, name = NULL, bias = true, force = false, files.count = 0;
    err = (tensor_error){0};
    const lm_option first[] = {lm_integer("batch", &count, 1, 100, "rows"),
                               lm_real("lr", &rate, 0, 10, "rate"),
                               lm_string("data", &name, "TEXT", "text"),
                               lm_flag("force", &force, "overwrite"),
                               lm_real("tiny", &tiny, 1e-9, 1e20, "tiny"),
                               lm_files("texts", &files, "FILE", "texts"),
                               {0}};
    const lm_option second[] = {lm_choice("activation", &kind, "relu|gelu|gelu_tanh", "shape"),
                                lm_yes_no("qkv-bias", &bias, "bias"),
                                {0}};
    const lm_usage usage = {"prog", "train", "Trains.", operand_name, {first, second}};
    int argc = 0;
    while (words[argc]) argc++;
    return lm_options_parse(&usage, argc, (char *const *)words, &operand, &help, &err);
}

#define PARSE(operand_name, ...) parse(operand_name, (const char *const[]){__VA_ARGS__, NULL})

/* The text of the fault of a command line without operand. */
#define FAULT(expected, ...)                                                                                 \
    do {                                                                                                     \
        cr_expect_not(PARSE(NULL, __VA_ARGS__));                                                             \
        cr_expect_str_eq(err.text, expected);                                                                \
    } while (0)

Test(options, values_of_every_kind) {
    cr_assert(PARSE(NULL, "--batch", "7", "--lr=1e-3", "--data", "a b", "--force", "--activation", "gelu",
                    "--qkv-bias=no"),
              "%s", err.text);
    cr_expect_eq(count, 7);
    cr_expect_eq(rate, 1e-3);
    cr_expect_str_eq(name, "a b");
    cr_expect(force);
    cr_expect_eq(kind, 1);
    cr_expect_not(bias);
    cr_expect_not(help);
    cr_expect_null(operand);
}

Test(options, what_is_not_given_keeps_its_default) {
    cr_assert(PARSE(NULL, "--force"), "%s", err.text);
    cr_expect(count == 5 && kind == 0 && rate == 0.5 && name == NULL && bias);
}

Test(options, the_last_of_two_counts) {
    cr_assert(PARSE(NULL, "--batch", "7", "--batch", "9"), "%s", err.text);
    cr_expect_eq(count, 9);
}

Test(options, limits_belong_to_the_range) {
    cr_assert(PARSE(NULL, "--batch", "100", "--lr", "0"), "%s", err.text);
    cr_expect(count == 100 && rate == 0);
}

Test(options, operands) {
    cr_assert(PARSE("FILE", "--batch", "7", "x", "--force"));
    cr_expect_str_eq(operand, "x");
    cr_assert(PARSE("FILE", "--", "--batch"));
    cr_expect_str_eq(operand, "--batch");
    cr_assert(PARSE("FILE", "--", "--config=x"));
    cr_expect_str_eq(operand, "--config=x");
    cr_expect_not(PARSE("FILE", "--", "--config=x", "--batch"));
    cr_expect_str_eq(err.text, "'--batch' is one argument too many");
    cr_expect_not(PARSE("FILE", "--batch", "7"));
    cr_expect_str_eq(err.text, "no file is named");
    cr_expect_not(PARSE("FILE [DIR]", "--batch", "7"));
    cr_expect_str_eq(err.text, "no file is named");
    cr_expect_not(PARSE("DIR...", "--batch", "7"));
    cr_expect_str_eq(err.text, "no folder is named");
    cr_expect_not(PARSE("a|b|c", "--batch", "7"));
    cr_expect_str_eq(err.text, "say which: a or b or c");
    cr_expect_not(PARSE("FILE", "x", "y"));
    cr_expect_str_eq(err.text, "'y' is one argument too many");
}

Test(options, help_ends_reading) {
    cr_expect(PARSE("FILE", "--help", "--nonsense") && help);
    cr_expect(PARSE("FILE", "-h") && help);
}

Test(options, faults) {
    FAULT("--batch needs a value", "--batch");
    FAULT("--batch needs a value", "--batch", "--force");
    FAULT("--batch 'x' is not a whole number", "--batch", "x");
    FAULT("--batch needs a value", "--batch=");
    FAULT("--lr needs a value", "--lr=");
    FAULT("--lr needs a value", "--lr", "");
    FAULT("--activation needs a value", "--activation=");
    FAULT("--qkv-bias needs a value", "--qkv-bias=");
    FAULT("--batch '0x10' is not a whole number", "--batch", "0x10");
    FAULT("--lr '0x1p3' is not a number", "--lr", "0x1p3");
    FAULT("--batch ' 7' is not a whole number", "--batch", " 7");
    FAULT("--batch '7x' is not a whole number", "--batch", "7x");
    FAULT("--batch '1.5' is not a whole number", "--batch", "1.5");
    FAULT("--batch 0 is out of range: 1 to 100", "--batch", "0");
    FAULT("--batch -3 is out of range: 1 to 100", "--batch", "-3");
    FAULT("--batch 101 is out of range: 1 to 100", "--batch=101");
    FAULT("--batch 99999999999999999999 is out of range: 1 to 100", "--batch", "99999999999999999999");
    FAULT("--lr 'fast' is not a number", "--lr", "fast");
    FAULT("--lr 'nan' is not a number", "--lr", "nan");
    FAULT("--lr +nan is out of range: 0 to 10", "--lr", "+nan");
    FAULT("--lr +inf is out of range: 0 to 10", "--lr", "+inf");
    FAULT("--lr 'inf' is not a number", "--lr", "inf");
    FAULT("--lr '1e-3,' is not a number", "--lr", "1e-3,");
    FAULT("--tiny 0 is out of range: 1e-9 to 1e20", "--tiny", "0");
    FAULT("--lr -1 is out of range: 0 to 10", "--lr", "-1");
    FAULT("--lr 1e999 is out of range: 0 to 10", "--lr", "1e999");
    FAULT("--activation 'tanh' is none of relu|gelu|gelu_tanh", "--activation", "tanh");
    FAULT("--activation 'gel' is none of relu|gelu|gelu_tanh; did you mean gelu?", "--activation", "gel");
    FAULT("--qkv-bias 'maybe' is neither yes nor no", "--qkv-bias", "maybe");
    FAULT("--force takes no value", "--force=yes");
    FAULT("'/' is one argument too many; did you mean --data '/'?", "/");
    FAULT("'/no/such/file' is one argument too many", "/no/such/file");
    FAULT("unknown option -b; options begin with two dashes", "-b");
}

Test(options, suggestions) {
    FAULT("unknown option --bacth; did you mean --batch?", "--bacth", "3");
    FAULT("unknown option --acti; did you mean --activation?", "--acti=relu");
    FAULT("unknown option --qkv_bias; did you mean --qkv-bias?", "--qkv_bias");
    FAULT("unknown option --halp; did you mean --help?", "--halp");
    FAULT("unknown option --zebra", "--zebra");
}

Test(options, whole_numbers_with_exponents) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"1e2", 100}, {"2E1", 20}, {"+3e0", 3}, {"2.5e1", 25}, {"50e-1", 5}, {"0.1e2", 10}};
    for (int i = 0; i < 6; i++) {
        cr_assert(PARSE(NULL, "--batch", good[i].text), "%s: %s", good[i].text, err.text);
        cr_expect_eq(count, good[i].value, "%s", good[i].text);
    }
    FAULT("--batch '2.55e1' is not a whole number", "--batch", "2.55e1");
    FAULT("--batch '1e' is not a whole number", "--batch", "1e");
    FAULT("--batch 'e1' is not a whole number", "--batch", "e1");
    FAULT("--batch '1e1x' is not a whole number", "--batch", "1e1x");
    FAULT("--batch '5.0' is not a whole number", "--batch", "5.0");
    FAULT("--batch 1e3 is out of range: 1 to 100", "--batch", "1e3");
    FAULT("--batch 1e300 is out of range: 1 to 100", "--batch", "1e300");
    FAULT("--batch 1e999 is out of range: 1 to 100", "--batch", "1e999");
    FAULT("--batch -1e1 is out of range: 1 to 100", "--batch", "-1e1");
    int64_t seed = 0;
    const lm_option option = lm_seed(&seed);
    cr_expect(lm_option_set(&option, "9223372036854775807", NULL) && seed == INT64_MAX, "exactly");
    cr_expect(lm_option_set(&option, "9007199254740993", NULL) && seed == 9007199254740993);
    cr_expect_not(lm_option_set(&option, "9223372036854775808", &err));
    cr_expect_not(lm_option_set(&option, "9007199254740993e0", &err), "beyond what a double counts");
}

Test(options, words_of_other_programs) {
    FAULT("unknown option --learning-rate; did you mean --lr?", "--learning-rate", "1");
    FAULT("unknown option --learning_rate; did you mean --lr?", "--learning_rate=1");
    FAULT("unknown option --batch_size; did you mean --batch?", "--batch_size");
    FAULT("unknown option --LR; did you mean --lr?", "--LR");
    FAULT("unknown option -lr; did you mean --lr?", "-lr", "1");
    FAULT("unknown option --device; there is no GPU to choose, it always runs on the CPU", "--device=cpu");
    FAULT("unknown option --block-size", "--block-size", "3"); /* this command has no --context */
    FAULT("unknown option --epochs", "--epochs", "3");         /* nor --iters */
}

/* With presets, which set options of both tables. */
static bool parse_preset(const char *settings, const char *const *words) {
    static const lm_preset *chosen;
    const lm_preset presets[] = {{"small", ""}, {"large", settings}, {0}};
    count = 5, bias = true, help = false, chosen = presets;
    err = (tensor_error){0};
    const lm_option first[] = {lm_integer("batch", &count, 1, 100, "rows"), {0}};
    const lm_option second[] = {
        lm_presets(&chosen, presets, "size"), lm_yes_no("qkv-bias", &bias, "bias"), {0}};
    const lm_usage usage = {"prog", "train", "Trains.", NULL, {first, second}};
    char *argv[16], text[80];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    bool ok = lm_options_parse(&usage, argc, argv, &operand, &help, &err);
    if (ok) cr_expect_str_eq(lm_option_text(&second[0], text, sizeof text), chosen->name);
    return ok;
}
#define PRESET(settings, ...) parse_preset(settings, (const char *const[]){__VA_ARGS__, NULL})

Test(options, presets) {
    cr_expect(PRESET("batch=70 qkv-bias=no", NULL) && count == 5 && bias);
    cr_expect(PRESET("batch=70 qkv-bias=no", "--preset", "large") && count == 70 && !bias);
    cr_expect(PRESET("batch=70 qkv-bias=no", "--preset=large", "--batch=9") && count == 9 && !bias);
    cr_expect(PRESET("batch=70 qkv-bias=no", "--batch", "9", "--preset", "large") && count == 9 && !bias);
    cr_expect(PRESET("batch=70 qkv-bias=no", "--preset", "large", "--preset", "small") && count == 5 && bias);
    cr_expect(PRESET("batch=70 qkv-bias=no", "--help", "--preset", "large") && count == 70 && help);
    cr_expect_not(PRESET("", "--preset", "larg"));
    cr_expect_str_eq(err.text, "--preset 'larg' is none of small|large; did you mean large?");
    cr_expect_not(PRESET("", "--preset"));
    cr_expect_str_eq(err.text, "--preset needs a value");
    cr_expect_not(PRESET("", "--presets=large"));
    cr_expect_str_eq(err.text, "unknown option --presets; did you mean --preset?");
    cr_expect_not(PRESET("batch=70 width=3", "--preset", "large"));
    cr_expect_str_eq(err.text, "the preset large: there is no option width");
    cr_expect_not(PRESET("batch=700", "--preset", "large"));
    cr_expect_str_eq(err.text, "the preset large: batch: 700 is out of range: 1 to 100");
}

Test(options, nearest_of_long_and_empty_words) {
    const char *names[] = {"train", "sample", "eval"};
    char endless[100];
    memset(endless, 'x', sizeof endless - 1);
    endless[99] = '\0';
    cr_expect_null(lm_nearest(endless, names, 3));
    cr_expect_null(lm_nearest("", names, 3));
    cr_expect_str_eq(lm_nearest("smaple", names, 3), "sample");
    cr_expect_str_eq(lm_nearest("evaluate", (const char *[]){"evaluated"}, 1), "evaluated");
}

Test(options, a_value_and_its_text_go_round) {
    char text[64];
    double x;
    for (double value = 1e-6; value < 1e3; value *= 3.7) {
        x = value;
        lm_option option = lm_real("x", &x, 0, 1e9, "");
        lm_option_text(&option, text, sizeof text);
        x = -1;
        cr_assert(lm_option_set(&option, text, NULL));
        cr_expect_eq(x, value, "%s", text);
    }
    lm_option unset = lm_real("x", &x, 0, 1, "");
    x = 2;
    cr_expect_str_eq(lm_option_text(&unset, text, sizeof text), "", "not given");
    for (int64_t i = 0; i < 3; i++) {
        int64_t value = i;
        lm_option option = lm_choice("x", &value, "relu|gelu|gelu_tanh", "");
        lm_option_text(&option, text, sizeof text);
        value = -1;
        cr_assert(lm_option_set(&option, text, NULL));
        cr_expect_eq(value, i);
    }
}

Test(options, which_are_given) {
    char *argv[] = {"--batch", "7", "--lr=1", "--data", "-lrs", "--", "--force"};
    lm_option option = {0};
    const char *const names[] = {"batch", "lr", "data", "force", "lrs", "bat"};
    for (int i = 0; i < 6; i++) {
        option.name = names[i];
        cr_expect_eq(lm_option_given(&option, 7, argv), i < 3, "%s", names[i]);
    }
}

static char given[64]; /* as --data */

/* The options of a file that has these bytes, then those of the command line. */
static bool parse_file(const char *text, size_t size, const char *const *words) {
    char path[] = "/tmp/sampo-options-XXXXXX", *argv[16] = {"--config", path};
    int argc = 2, fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    close(fd);
    for (int i = 0; words[i]; i++) argv[argc++] = (char *)words[i];
    lm_words expanded;
    err = (tensor_error){0};
    bool ok = lm_config_expand(&expanded, argc, argv, &err) == LM_DONE;
    ok = ok && parse(NULL, (const char *const *)expanded.argv);
    char *at = strstr(err.text, path);
    if (at) memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
    snprintf(given, sizeof given, "%s", name ? name : "");
    unlink(path);
    lm_words_free(&expanded);
    return ok;
}
#define FILE_HAS(text, ...) parse_file(text, sizeof(text) - 1, (const char *const[]){__VA_ARGS__, NULL})
#define FILE_FAULT(expected, contents)                                                                       \
    do {                                                                                                     \
        cr_expect_not(FILE_HAS(contents, NULL));                                                             \
        cr_expect_str_eq(err.text, expected);                                                                \
    } while (0)

Test(options, files_of_options) {
    cr_assert(FILE_HAS("# mine\n\nbatch = 7\n  lr 0.25 # slow\nactivation=gelu\n--qkv-bias no", NULL), "%s",
              err.text);
    cr_expect(count == 7 && rate == 0.25 && kind == 1 && !bias);
    cr_assert(FILE_HAS("\xef\xbb\xbf"
                       "batch = 7\r\nlr\t0.25\r\n",
                       NULL),
              "%s", err.text);
    cr_expect(count == 7 && rate == 0.25);
    cr_assert(FILE_HAS("batch = 7\nlr = 0.25", "--batch", "9"), "%s", err.text);
    cr_expect(count == 9 && rate == 0.25);
    cr_assert(FILE_HAS("force\n", NULL) && force);
    cr_assert(FILE_HAS("force = yes\n", NULL) && force);
    cr_assert(FILE_HAS("force = no\n", NULL) && !force);
    cr_assert(FILE_HAS("texts = a\ntexts = b\n", NULL) && files.count == 2);
    cr_assert(FILE_HAS("texts = a\ntexts = b\n", "--texts", "c") && files.count == 1);
    cr_assert(FILE_HAS("", NULL) && count == 5);
}

/* What a file takes grows with its size, and not with its square: this took minutes. */
Test(options, a_file_of_many_lines, .timeout = 30) {
    enum { LINES = 400000 };
    static char text[8 * LINES];
    for (int i = 0; i < LINES; i++)
        memcpy(text + 8 * (size_t)i, i + 1 < LINES ? "lr=0.50\n" : "lr=0.25\n", 8);
    const char *const words[] = {"--batch", "9", NULL};
    cr_assert(parse_file(text, sizeof text, words), "%s", err.text);
    cr_expect(count == 9 && rate == 0.25);
}

Test(options, values_in_files) {
    static const char *const values[][2] = {
        {"a b", "a b"}, {"\"a # b \"", "a # b "}, {"'it \"s'", "it \"s"}, {"a#b", "a#b"}, {"a #b", "a"},
        {"\"\"", ""},   {"a=b", "a=b"},           {"\"a\" # c", "a"}};
    for (int i = 0; i < 8; i++) {
        char text[80];
        snprintf(text, sizeof text, "data = %s\n", values[i][0]);
        cr_assert(parse_file(text, strlen(text), (const char *const[]){NULL}), "%s", err.text);
        cr_expect_str_eq(given, values[i][1]);
    }
}

Test(options, faults_in_files) {
    FILE_FAULT(", line 2: --batch 'x' is not a whole number", "lr = 1\nbatch = x\n");
    FILE_FAULT(", line 1: --batch needs a value", "batch =\n");
    FILE_FAULT(", line 1: --batch needs a value", "batch\nlr = 1\n");
    FILE_FAULT(", line 3: unknown option --bacth; did you mean --batch?", "\n\nbacth = 3\n");
    FILE_FAULT(", line 1: '[train]' is not of the form name = value", "[train]\n");
    FILE_FAULT(", line 1: 'qkv-bias: no' is not of the form name = value", "qkv-bias: no\n");
    FILE_FAULT(", line 1: its quotes do not match", "data = \"a\n");
    FILE_FAULT(", line 1: its quotes do not match", "data = \"a\" b\n");
    FILE_FAULT(", line 2: a file of options cannot name another one", "lr = 1\nconfig = x\n");
    FILE_FAULT(", line 1: there is a NUL byte in it: this is not a text file", "batch = \0007\n");
    FILE_FAULT(", line 1: --force 'maybe' is neither yes nor no", "force = maybe\n");
    lm_words words;
    cr_expect_eq(lm_config_expand(&words, 1, (char *[]){"--config"}, &err), LM_BAD_USAGE);
    lm_words_free(&words);
    cr_expect_eq(lm_config_expand(&words, 2, (char *[]){"--config=", "x"}, &err), LM_BAD_USAGE);
    lm_words_free(&words);
}

/* What --help prints for a terminal so wide. */
static const char *help_of(const lm_usage *usage, const char *columns) {
    static char buffer[4000];
    memset(buffer, 0, sizeof buffer);
    FILE *file = fmemopen(buffer, sizeof buffer, "w");
    cr_assert(file);
    setenv("COLUMNS", columns, 1);
    lm_options_help(usage, file);
    unsetenv("COLUMNS");
    fclose(file);
    return buffer;
}

Test(options, help_has_groups_and_defaults) {
    int64_t unset = 0, batch = 32;
    bool yes = true;
    const lm_option options[] = {
        lm_about(LM_ABOUT_TRAINING, lm_resumed(LM_CHANGEABLE, lm_integer("batch", &batch, 1, 100, "Rows."))),
        lm_threads(&unset),
        lm_about(LM_ABOUT_DATA, lm_choice("activation", &unset, "relu|gelu|gelu_tanh", "Shape.")),
        {0}};
    const lm_option model[] = {lm_yes_no("bias", &yes, "Biases."), {0}};
    const lm_usage usage = {"prog", "train", "Trains.", "FILE", {options, model}};
    cr_expect_str_eq(help_of(&usage, "80"),
                     "usage: prog train FILE [options]\nTrains.\n\n"
                     "Data\n"
                     "  --activation relu|gelu|gelu_tanh\n"
                     "                          Shape. (default relu)\n\n"
                     "Model\n"
                     "  --bias yes|no           Biases. (default yes)\n\n"
                     "Training\n"
                     "* --batch N               Rows. (default 32)\n\n"
                     "Running\n"
                     "  --threads N             Compute with this many threads; one for each processor\n"
                     "                          unless given.\n"
                     "  --config FILE           Read options from this file, one a line: lr = 0.003.\n"
                     "                          The command line overrides them.\n"
                     "  --help                  Print this and end.\n\n"
                     "* can be given anew with --resume. All other options then stay what they were.\n");
}

Test(options, help_is_never_wider_than_the_terminal) {
    static const lm_preset presets[] = {{"one-of-many", ""}, {"two-of-many", ""}, {"three-of-many", ""}, {0}};
    const lm_preset *chosen = presets;
    const char *path = "/a/path/that/is/longer/than/any/line/of/this/terminal/can/ever/be";
    const lm_option options[] = {
        lm_presets(&chosen, presets, "Size."), lm_string("out", &path, "DIR", "Where."), {0}};
    const lm_usage usage = {"prog", "train", "Trains on a text that is long enough.", NULL, {options}};
    for (int columns = 24; columns <= 130; columns++) {
        char text[16];
        snprintf(text, sizeof text, "%d", columns);
        for (const char *line = help_of(&usage, text); *line; line += strcspn(line, "\n") + 1)
            cr_expect_leq((int)strcspn(line, "\n"), columns);
    }
    cr_expect(strstr(help_of(&usage, "40"), "--preset NAME\n"));
    cr_expect(strstr(help_of(&usage, "60"), "--preset one-of-many|two-of-many|three-of-many\n"));
}
