/* A transformer of an encoder and a decoder (Vaswani et al. 2017) that translates number words into digits: "five
 * thousand sixteen" is 5016. The encoder reads all words; the decoder writes digit after digit, and looks at what is
 * written and, by cross-attention, at the words. */
#include <inttypes.h>
#include <string.h>

#include "models/example/example.h"

enum { WIDTH = 64, LAYERS = 2, BATCH = 64, LIMIT = 1000000, MOST_WORDS = 9, MOST_DIGITS = 7 };

/* What a token of either language is: NOTHING fills a short row up. */
static const char *const names[] = {
    "",        "one",       "two",      "three",    "four",    "five",     "six",      "seven",
    "eight",   "nine",      "ten",      "eleven",   "twelve",  "thirteen", "fourteen", "fifteen",
    "sixteen", "seventeen", "eighteen", "nineteen", "twenty",  "thirty",   "forty",    "fifty",
    "sixty",   "seventy",   "eighty",   "ninety",   "hundred", "thousand", "zero"};
enum { NOTHING = 0, TWENTY = 20, HUNDRED = 28, THOUSAND, ZERO, WORDS, STOP = 10, START, SIGNS };

struct translator {
    struct nn_embedding words, word_places, digits, digit_places;
    struct nn_transformer encoder[LAYERS], decoder[LAYERS];
    struct nn_layer_norm read, written;
    struct nn_linear out;
};

static void init(struct translator *m, nn_params *params) {
    nn_transformer_options options = NN_TRANSFORMER_DEFAULTS;
    options.attention.heads = 4;
    nn_embedding_init(&m->words, params, "words", WORDS, WIDTH, 1);
    nn_embedding_init(&m->word_places, params, "word_places", MOST_WORDS, WIDTH, 1);
    nn_embedding_init(&m->digits, params, "digits", SIGNS, WIDTH, 1);
    nn_embedding_init(&m->digit_places, params, "digit_places", MOST_DIGITS, WIDTH, 1);
    for (int i = 0; i < LAYERS; i++)
        nn_transformer_init(&m->encoder[i], params, nn_name(params, "encoder.%d", i), WIDTH, options);
    options.cross = true;
    for (int i = 0; i < LAYERS; i++)
        nn_transformer_init(&m->decoder[i], params, nn_name(params, "decoder.%d", i), WIDTH, options);
    nn_layer_norm_init(&m->read, params, "read", WIDTH, NN_LAYER_NORM_EPS);
    nn_layer_norm_init(&m->written, params, "written", WIDTH, NN_LAYER_NORM_EPS);
    nn_linear_init(&m->out, params, "out", WIDTH, SIGNS, NN_LINEAR_DEFAULTS);
}

/* The vectors of tokens [N, T], each with that of its place: [N, T, WIDTH]. */
static ag_var *embed(const struct nn_embedding *tokens, const struct nn_embedding *places, ag_var *ids) {
    ag_var *at = ag_indices(ag_tape_of(ids), ag_size(ids, 1));
    return ag_add(nn_embedding(tokens, ids), nn_embedding(places, at));
}

/* The logits of the sign after each of `digits` [N, T]: [N, T, SIGNS]; words [N, S]. The words that only fill a row up
 * are 0, and their row of the mask hides them from attention. */
static ag_var *forward(const struct translator *m, ag_var *words, ag_var *digits) {
    ag_var *there = ag_reshape(ag_float(words), TENSOR_SHAPE(ag_size(words, 0), 1, 1, -1));
    ag_var *x = embed(&m->words, &m->word_places, words), *y = embed(&m->digits, &m->digit_places, digits);
    for (int i = 0; i < LAYERS; i++) x = nn_transformer(&m->encoder[i], x, (nn_attend){.mask = there});
    x = nn_layer_norm(&m->read, x);
    for (int i = 0; i < LAYERS; i++)
        y = nn_transformer_cross(&m->decoder[i], y, x, (nn_attend){.causal = true},
                                 (nn_attend){.mask = there});
    return nn_linear(&m->out, nn_layer_norm(&m->written, y));
}

/* ---- Data ------------------------------------------------------------------------------------------ */

/* Pairs of a number's words and its digits, in rows of equal length. */
typedef struct pairs {
    tensor words;  /* [N, MOST_WORDS] int32, filled up with 0 */
    tensor given;  /* [N, MOST_DIGITS]: START and the digits */
    tensor wanted; /* [N, MOST_DIGITS]: the digits and STOP, then -1: what is not asked for */
} pairs;

/* Appends the words of a number below 1000. */
static int32_t *say(int32_t *at, int64_t number) {
    if (number >= 100) *at++ = (int32_t)(number / 100), *at++ = HUNDRED;
    if (number % 100 >= 20) *at++ = (int32_t)(number % 100 / 10) + TWENTY - 2, number %= 10;
    if (number % 100 > 0) *at++ = (int32_t)(number % 100);
    return at;
}

/* Numbers are as often short as long. One of sixteen, spread over all (Knuth's multiplicative hashing), is never
 * learned from. */
static int64_t draw(tensor_rng *rng, bool other) {
    static const int64_t limits[] = {100, 1000, 10000, 100000, LIMIT};
    for (;;) {
        const int64_t n = (int64_t)tensor_rng_below(rng, (uint64_t)limits[tensor_rng_below(rng, 5)]);
        if (((uint32_t)n * 2654435769u >> 28 == 5) == other) return n;
    }
}

static void fill(pairs *p, int64_t row, int64_t number) {
    int32_t *word = p->words.i32 + row * MOST_WORDS, *end = word;
    int32_t *given = p->given.i32 + row * MOST_DIGITS, *wanted = p->wanted.i32 + row * MOST_DIGITS;
    char digits[MOST_DIGITS + 1];
    memset(word, 0, MOST_WORDS * sizeof *word);
    if (number >= 1000) end = say(end, number / 1000), *end++ = THOUSAND;
    end = say(end, number % 1000);
    if (number == 0) *end = ZERO;
    const int count = snprintf(digits, sizeof digits, "%d", (int)number);
    for (int i = 0; i < MOST_DIGITS; i++) {
        given[i] = i == 0 ? START : i <= count ? digits[i - 1] - '0' : STOP;
        wanted[i] = i < count ? digits[i] - '0' : i == count ? STOP : -1;
    }
}

static bool make(pairs *p, int64_t count, tensor_arena *arena, tensor_error *err) {
    p->words = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(count, MOST_WORDS), err);
    p->given = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(count, MOST_DIGITS), err);
    p->wanted = tensor_new(arena, TENSOR_I32, TENSOR_SHAPE(count, MOST_DIGITS), err);
    return tensor_ok(p->words) && tensor_ok(p->given) && tensor_ok(p->wanted);
}

/* ---- Training and translating ---------------------------------------------------------------------- */

typedef struct task {
    struct translator model;
    pairs batch;
} task;

static ag_var *rows(ag_tape *tape, tensor x, int64_t begin, int64_t end) {
    return ag_slice(ag_input(tape, x), 0, begin, end, 1);
}

/* The mean loss of the signs that rows begin..end-1 of the batch ask for; threads share the rows. */
static ag_var *loss_of(void *context, ag_tape *tape, int64_t begin, int64_t end) {
    const task *t = context;
    ag_cross_entropy_options options = AG_CROSS_ENTROPY_DEFAULTS;
    options.ignored = -1;
    ag_var *logits =
        forward(&t->model, rows(tape, t->batch.words, begin, end), rows(tape, t->batch.given, begin, end));
    return ag_cross_entropy_with(logits, rows(tape, t->batch.wanted, begin, end), options);
}

static bool train(example *e, task *t, nn_params *params, double rate, tensor_rng *rng) {
    struct nn_adamw adam;
    const nn_schedule schedule = {.kind = NN_COSINE_DECAY, .rate = rate, .warmup = 50, .end = e->iterations};
    bool ok = nn_params_finalize(params, (uint64_t)e->seed) && nn_adamw_init(&adam, params, NN_ADAM_DEFAULTS);
    nn_parallel *parallel = nn_parallel_new(params);
    for (int64_t step = 0; ok && step < e->iterations; step++) {
        double loss;
        for (int64_t i = 0; i < BATCH; i++) fill(&t->batch, i, draw(rng, false));
        adam.options.rate = nn_schedule_rate(&schedule, step);
        ok = nn_parallel_backward(parallel, BATCH, loss_of, t, &loss, &e->err) &&
             example_step(e, step, loss) && nn_clip_grad_norm(params, 1) >= 0 && nn_adamw_step(&adam, params);
    }
    nn_parallel_free(parallel);
    return ok;
}

/* Translates the words of all pairs: writes the likeliest sign behind those that it has written, into `given`. */
static bool translate(const struct translator *m, const pairs *p, ag_tape *tape) {
    const int64_t count = p->words.shape[0];
    ag_set_recording(tape, false);
    for (int64_t at = 0; at + 1 < MOST_DIGITS; at++) {
        ag_reset(tape);
        ag_var *logits = forward(m, ag_input(tape, p->words), ag_input(tape, p->given));
        ag_var *sign = ag_argmax(ag_select(logits, 1, at), 1);
        if (!sign) return false;
        for (int64_t i = 0; i < count; i++) p->given.i32[i * MOST_DIGITS + at + 1] = sign->value.i32[i];
    }
    return true;
}

/* Translates numbers that it has not learned from; prints some of them, and how many are right. */
static bool test(const struct translator *m, tensor_rng *rng, ag_tape *tape, tensor_arena *arena,
                 tensor_error *err) {
    enum { COUNT = 1000, SHOWN = 10 };
    int64_t right = 0;
    pairs p;
    if (!make(&p, COUNT, arena, err)) return false;
    for (int64_t i = 0; i < COUNT; i++) fill(&p, i, draw(rng, true));
    if (!translate(m, &p, tape)) return false;
    for (int64_t i = 0; i < COUNT; i++) {
        const int32_t *word = p.words.i32 + i * MOST_WORDS, *wanted = p.wanted.i32 + i * MOST_DIGITS;
        const int32_t *written = p.given.i32 + i * MOST_DIGITS + 1;
        bool same = true;
        for (int j = 0; j + 1 < MOST_DIGITS; j++) same = same && (wanted[j] < 0 || written[j] == wanted[j]);
        right += same;
        if (i >= SHOWN) continue;
        for (int j = 0; j < MOST_WORDS && word[j] != NOTHING; j++)
            printf("%s%s", j ? " " : "\n", names[word[j]]);
        printf(": ");
        for (int j = 0; j + 1 < MOST_DIGITS && written[j] < STOP; j++) printf("%d", (int)written[j]);
        if (!same) printf(", which is wrong");
    }
    printf("\n\n%.1f %% of %d numbers that it has not learned from are right\n", 100 * (double)right / COUNT,
           COUNT);
    return true;
}

int main(int argc, char **argv) {
    example e;
    double rate = 2e-3;
    const lm_option own[] = {
        lm_about(LM_ABOUT_TRAINING, lm_real("lr", &rate, 0, 1, "The highest learning rate.")), {0}};
    const int status = example_begin(&e, "translate", "Learns to translate number words into digits.", 1000,
                                     own, argc, argv);
    if (status >= 0) return status;

    tensor_arena *arena = tensor_arena_new(&e.err);
    tensor_rng rng = {.seed = (uint64_t)e.seed, .stream = EXAMPLE_STREAM};
    nn_params *params = nn_params_new();
    ag_tape *tape = ag_tape_new();
    task t;
    init(&t.model, params);
    const bool ok = make(&t.batch, BATCH, arena, &e.err) && train(&e, &t, params, rate, &rng) &&
                    test(&t.model, &rng, tape, arena, &e.err);
    tensor_arena_free(arena);
    return example_end(&e, ok, tape, params, NULL);
}
