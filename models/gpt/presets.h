/* The presets of the GPT: sizes, with the settings that trials found good for them. Included by gpt.c alone. */
#ifndef SAMPO_GPT_PRESETS_H
#define SAMPO_GPT_PRESETS_H

#include "models/lm/cli/cli.h"

/* kalevala is what the options hold without a preset. small to huge lie between it and GPT-2, whose blocks they have.
 * Trials of small on an English novel of 3 MB had a training loss of 1.94 after 250 iterations with first weights as
 * PyTorch draws them, an output of its own and this rate, and 2.00 with half of it; GPT-2's way had 2.06 after 300. The
 * rates of the others follow from it, as larger models want lower ones. GPT-2's sizes are those of Radford et al.
 * (2019), how it is trained is as Brown et al. (2020) trained models of these sizes. Its vocabulary is the tokenizer's.
 * A batch of 4 rows of 1024 tokens is what a computer at home has the memory for. */
#define GPT2_SHAPE                                                                                           \
    "activation=gelu qkv-bias=yes final-norm=yes tied-head=yes head-bias=no attention-scale-by=head "
#define GPT2                                                                                                 \
    GPT2_SHAPE "init-deviation=0.02 context=1024 batch=4 schedule=cosine warmup=200 clip=1 beta2=0.95 "      \
               "weight-decay=0.1 decay-on=matrices eval-batches=10 "
#define SMALLER                                                                                              \
    "activation=gelu qkv-bias=yes final-norm=yes attention-scale-by=head schedule=cosine warmup=25 clip=1 "  \
    "beta2=0.99 "
/* fast and best stand on counted n-grams (models/lm/count), which are better alone than the preset kalevala ever
 * becomes, and learn what these lack. The rate falls over the last part of the run, and the loss with it: nothing is
 * gained by stopping before. */
#define COUNTED                                                                                              \
    "prior=12 final-norm=yes zero-init=yes batch=32 optimizer=muon table-lr=0.03 beta2=0.99 "                \
    "schedule=linear cooldown=0.6 patience=1000 eval-batches=0 "
static const lm_preset presets[] = {
    {"kalevala", "", "100 KB to 1 MB"},
    {"fast", COUNTED "dropout=0.1 iters=300 eval-every=100", "10 KB to 10 MB"},
    {"best", COUNTED "dropout=0.2 value-rows=2704 gram-rows=8192 iters=2400 eval-every=200",
     "100 KB to 10 MB"},
    {"small", SMALLER "layers=4 width=128 heads=4 context=128 batch=32 lr=1e-2", "500 KB to 3 MB"},
    {"medium", SMALLER "layers=4 width=256 heads=8 context=256 batch=16 lr=3e-3", "2 to 10 MB"},
    {"large", SMALLER "layers=6 width=384 heads=6 context=256 batch=16 lr=2e-3 eval-batches=50",
     "5 to 50 MB"},
    {"huge", SMALLER "layers=10 width=512 heads=8 context=512 batch=8 lr=1e-3 eval-batches=25", "from 30 MB"},
    {"gpt2", GPT2 "layers=12 width=768 heads=12 lr=6e-4", "from 500 MB"},
    {"gpt2-medium", GPT2 "layers=24 width=1024 heads=16 lr=3e-4", "fine-tuning"},
    {"gpt2-large", GPT2 "layers=36 width=1280 heads=20 lr=2.5e-4", "fine-tuning"},
    {"gpt2-xl", GPT2 "layers=48 width=1600 heads=25 lr=2e-4", "fine-tuning"},
    {0},
};

#endif
