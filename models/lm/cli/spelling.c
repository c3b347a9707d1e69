/* What people type instead of a name: slips of the finger, and the words of other programs. */
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "models/lm/cli/cli_internal.h"

/* The number of letters to insert, delete, change or swap with their neighbour; many for what is no name. */
static int distance(const char *a, const char *b) {
    int m = (int)strlen(a), n = (int)strlen(b);
    if (m > LM_MAX_NAME || n > LM_MAX_NAME) return INT_MAX;
    int d[LM_MAX_NAME + 1][LM_MAX_NAME + 1];
    for (int i = 0; i <= m; i++) {
        for (int j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[m][n];
}

const char *lm_nearest(const char *text, const char *const *names, int count) {
    const char *nearest = NULL;
    int best = (int)strlen(text) / 3 + 1; /* more than a third of the letters wrong is another word */
    for (int i = 0; i < count; i++) {
        int d = distance(text, names[i]);
        bool longer = strlen(text) > 2 && strncmp(text, names[i], strlen(text)) == 0; /* an abbreviation */
        if (longer && d > 1) d = 1;
        if (d > best || (d == best && nearest)) continue;
        nearest = names[i];
        best = d;
    }
    return nearest;
}

/* ---- Words of other programs ----------------------------------------------------------------- */

/* Words of other programs, with our option, or with the reason why there is none; that is given where a command has the
 * option, or to all where there is no option. */
static const struct {
    const char *words, *option, *reason;
} foreign[] = {
    {"learning-rate|rate|eta|step-size", "lr", NULL},
    {"min-learning-rate|lr-min|final-lr", "min-lr", NULL},
    {"lr-scheduler|lr-scheduler-type|scheduler|lr-schedule|decay-lr|lr-decay", "schedule", NULL},
    {"lr-decay-iters|decay-iters|lr-decay-steps", "schedule-end", NULL},
    {"warmup-iters|warmup-steps|lr-warmup|num-warmup-steps", "warmup", NULL},
    {"wd|decay|l2", "weight-decay", NULL},
    {"adam-beta1|b1", "beta1", NULL},
    {"adam-beta2|b2", "beta2", NULL},
    {"adam-eps|adam-epsilon|epsilon", "eps", NULL},
    {"grad-clip|clip-grad|max-grad-norm|gradient-clipping|gradient-clip-val|grad-norm", "clip", NULL},
    {"batch-size|bs|micro-batch-size|per-device-train-batch-size|train-batch-size", "batch", NULL},
    {"grad-accum|gradient-accumulation-steps|grad-accumulation|accumulate-grad-batches", "accumulate", NULL},
    {"max-iters|iterations|max-iterations|iter|num-iters|num-iterations|steps|max-steps|num-steps|n-iters|"
     "train-steps|num-train-steps|num-iterations",
     "iters", NULL},
    {"epochs|num-epochs|max-epochs|num-train-epochs|n-epochs|epoch", "iters",
     "there are no epochs, --iters says for how many iterations to train"},
    {"early-stopping|early-stopping-patience|early-stop", "patience", NULL},
    {"block-size|seq-len|sequence-length|context-length|context-size|ctx|ctx-size|n-ctx|max-length|"
     "max-seq-len|max-seq-length|n-positions|window|bptt",
     "context", NULL},
    {"n-layer|n-layers|num-layers|num-hidden-layers|depth|blocks|nlayers", "layers", NULL},
    {"n-head|n-heads|num-heads|num-attention-heads|nhead", "heads", NULL},
    {"n-embd|n-embed|embd|embed-dim|embedding-dim|emb-dim|d-model|dim|hidden-size|n-hidden|channels|emsize",
     "width", NULL},
    {"bias", "qkv-bias", NULL},
    {"tie-weights|tied|tie-word-embeddings|weight-tying", "tied-head", NULL},
    {"init-std|initializer-range", "init-deviation", NULL},
    {"vocabulary-size|n-vocab|vocab", "vocab-size", NULL},
    {"model-size|size|model-type", "preset", NULL},
    {"input|file|text|dataset|corpus|data-file|data-dir|train-file|train-data|input-file|train|filename",
     "data", NULL},
    {"output|output-dir|out-dir|save|save-dir|checkpoint-dir|model-dir|run|run-dir|save-path|o", "out", NULL},
    {"overwrite|overwrite-output-dir|yes|f", "force", NULL},
    {"resume-from|resume-from-checkpoint|continue|from-checkpoint|restart", "resume", NULL},
    {"init-from|finetune|fine-tune|pretrained|weights|load|model-name-or-path|checkpoint|ckpt|model", "init",
     NULL},
    {"eval-interval|eval-steps|val-every|eval-freq|val-loss-every|log-interval|log-every|logging-steps|"
     "report-every|save-every|sample-every",
     "eval-every", NULL},
    {"eval-iters|val-batches|val-max-steps|eval-batch", "eval-batches", NULL},
    {"max-new-tokens|max-tokens|n-predict|num-tokens|n-tokens|length|num-predict|n|count", "tokens", NULL},
    {"temp|t", "temperature", NULL},
    {"k", "top-k", NULL},
    {"p|nucleus", "top-p", NULL},
    {"repeat-penalty|rep-penalty|frequency-penalty", "repetition-penalty", NULL},
    {"repeat-last-n", "repetition-window", NULL},
    {"num-samples|n-samples|num-return-sequences|best-of", "samples", NULL},
    {"start|start-text|begin|seed-text|prefix|input|text", "prompt", NULL},
    {"file|input-file|prompt-path", "prompt-file", NULL},
    {"reverse-prompt|stop-sequence|stop-token|stop-string|eos", "stop", NULL},
    {"chat|interact|i|conversation", "interactive", NULL},
    {"random-seed|manual-seed|rng-seed|s", "seed", NULL},
    {"n-threads|num-threads|jobs|j|workers|num-workers|nproc|cpus|cores", "threads", NULL},
    {"config-file|conf|settings|cfg", "config", NULL},
    {"device|gpu|gpus|cuda|no-cuda|mps|n-gpu-layers|ngl|use-cuda|accelerator", NULL,
     "there is no GPU to choose, it always runs on the CPU"},
    {"dtype|fp16|bf16|half|amp|precision|mixed-precision|quantize|load-in-8bit", NULL,
     "it always computes in 32 bits"},
    {"compile|flash|flash-attn|flash-attention", NULL, "there is nothing to switch on, it is always fast"},
    {"optimizer|optim", "lr", "the optimizer is always AdamW"},
    {"wandb|wandb-log|wandb-project|tensorboard|log-dir|report-to", "out",
     "what a run logs is in log.csv of its --out, and `plot` and `report` show it"},
    {"model|checkpoint|ckpt|ckpt-path|model-path|weights|load|init-from|out-dir|m", NULL,
     "the model needs no option; write its file or folder alone"},
    {"version|v", NULL, "--version stands alone, without a command"},
};

bool lm_has_word(const char *words, const char *word) {
    int length;
    const char *at;
    for (int64_t i = 0; (at = lm_word(words, i, &length)); i++)
        if (strlen(word) == (size_t)length && memcmp(at, word, (size_t)length) == 0) return true;
    return false;
}

/* The option that other programs call so, or the reason why there is none; NULL: neither is known. */
static const char *translate(const lm_usage *usage, const char *name, const char **reason) {
    *reason = NULL;
    if (lm_find_option(usage, name)) return name;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (!lm_has_word(foreign[i].words, name)) continue;
        if (foreign[i].option && !lm_find_option(usage, foreign[i].option)) continue;
        *reason = foreign[i].reason;
        return foreign[i].option;
    }
    return NULL;
}

bool lm_unknown_option(const lm_usage *usage, const char *given, tensor_error *err) {
    const char *name = given + strspn(given, "-"), *reason, *nearest;
    const char *dashes = name - given == 1 ? "-" : "--";
    char plain[LM_MAX_NAME + 1];
    snprintf(plain, sizeof plain, "%s", name);
    for (char *c = plain; *c; c++) *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    nearest = translate(usage, plain, &reason);
    if (reason) return tensor_fail(err, "unknown option %s%.60s; %s", dashes, name, reason);
    if (!nearest && (name - given > 1 || plain[1])) {
        const char *names[LM_MAX_OPTIONS];
        lm_group group;
        int count = 0;
        for (const lm_option *o; count < LM_MAX_OPTIONS && (o = lm_option_listed(usage, count, &group));)
            names[count++] = o->name;
        nearest = lm_nearest(plain, names, count);
    }
    if (nearest) return tensor_fail(err, "unknown option %s%.60s; did you mean --%s?", dashes, name, nearest);
    if (name - given == 1)
        return tensor_fail(err, "unknown option -%.60s; options begin with two dashes", name);
    return tensor_fail(err, "unknown option --%.60s", name);
}
