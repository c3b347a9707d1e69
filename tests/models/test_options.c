/* The command line: values, faults, suggestions, help. */
#include "models/lm/cli/cli.h"

#include <criterion/criterion.h>
#include <string.h>

/* What parse sets: the options' values, anew for each command line, and what comes beside them. */
static int64_t count, kind;
static double rate;
static const char *name, *operand;
static bool bias, force, help;
static tensor_error err;

static bool parse(const char *operand_name, const char *const *words) {
    count = 5, kind = 0, rate = 0.5, name = NULL, bias = true, force = false;
    err = (tensor_error){0};
    const lm_option first[] = {lm_integer("batch", &count, 1, 100, "rows"),
                               lm_real("lr", &rate, 0, 10, "rate"),
                               lm_string("data", &name, "FILE", "text"),
                               lm_flag("force", &force, "overwrite"),
                               {0}};
    const lm_option second[] = {lm_choice("activation", &kind, "relu|gelu|gelu_tanh", "shape"),
                                lm_yes_no("qkv-bias", &bias, "bias"),
                                {0}};
    const lm_usage usage = {"prog", "train", "Trains.", operand_name, {first, second}};
    char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)words[argc];
    return lm_options_parse(&usage, argc, argv, &operand, &help, &err);
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
    cr_expect_not(PARSE("FILE", "--batch", "7"));
    cr_expect_str_eq(err.text, "FILE is missing");
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
    FAULT("--batch '' is not a whole number", "--batch=");
    FAULT("--batch ' 7' is not a whole number", "--batch", " 7");
    FAULT("--batch '7x' is not a whole number", "--batch", "7x");
    FAULT("--batch '1.5' is not a whole number", "--batch", "1.5");
    FAULT("--batch 0 is out of range: 1 to 100", "--batch", "0");
    FAULT("--batch -3 is out of range: 1 to 100", "--batch", "-3");
    FAULT("--batch 101 is out of range: 1 to 100", "--batch=101");
    FAULT("--batch 99999999999999999999 is out of range: 1 to 100", "--batch", "99999999999999999999");
    FAULT("--lr 'fast' is not a number", "--lr", "fast");
    FAULT("--lr 'nan' is not a number", "--lr", "nan");
    FAULT("--lr 'inf' is not a number", "--lr", "inf");
    FAULT("--lr '1e-3,' is not a number", "--lr", "1e-3,");
    FAULT("--lr -1 is out of range: 0 to 10", "--lr", "-1");
    FAULT("--lr 1e999 is out of range: 0 to 10", "--lr", "1e999");
    FAULT("--activation 'tanh' is none of relu|gelu|gelu_tanh", "--activation", "tanh");
    FAULT("--activation 'gel' is none of relu|gelu|gelu_tanh", "--activation", "gel");
    FAULT("--qkv-bias 'maybe' is neither yes nor no", "--qkv-bias", "maybe");
    FAULT("--force takes no value", "--force=yes");
    FAULT("'x' is one argument too many", "x");
    FAULT("unknown option -b; options begin with two dashes", "-b");
}

Test(options, suggestions) {
    FAULT("unknown option --bacth; did you mean --batch?", "--bacth", "3");
    FAULT("unknown option --acti; did you mean --activation?", "--acti=relu");
    FAULT("unknown option --qkv_bias; did you mean --qkv-bias?", "--qkv_bias");
    FAULT("unknown option --halp; did you mean --help?", "--halp");
    FAULT("unknown option --zebra", "--zebra");
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
    cr_expect_str_eq(err.text, "--preset 'larg' is none of small|large");
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

Test(options, help_shows_defaults) {
    int64_t unset = 0, batch = 32;
    bool yes = true;
    const lm_option options[] = {lm_resumed(LM_CHANGEABLE, lm_integer("batch", &batch, 1, 100, "rows")),
                                 lm_integer("threads", &unset, 1, 256, "threads"),
                                 lm_yes_no("bias", &yes, "bias"),
                                 lm_choice("activation", &unset, "relu|gelu|gelu_tanh", "shape"),
                                 {0}};
    const lm_usage usage = {"prog", "train", "Trains.", "FILE", {options}};
    char buffer[2000] = "";
    FILE *file = fmemopen(buffer, sizeof buffer, "w");
    cr_assert(file);
    lm_options_help(&usage, file);
    fclose(file);
    cr_expect_str_eq(buffer, "usage: prog train FILE [options]\nTrains.\n\n"
                             "  --batch N            rows (default 32) *\n"
                             "  --threads N          threads\n"
                             "  --bias yes|no        bias (default yes)\n"
                             "  --activation relu|gelu|gelu_tanh\n"
                             "                       shape (default relu)\n"
                             "  --help               print this and exit\n\n"
                             "* may change when a run is resumed; all else is the checkpoint's\n");
}
