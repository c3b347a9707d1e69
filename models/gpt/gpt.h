/* The GPT's configuration, which its file shares with the one that knows GPT-2 as published. */
#ifndef SAMPO_GPT_H
#define SAMPO_GPT_H

#include "models/lm/lm.h"

enum { GPT_MAX_LAYERS = 256, GPT_MAX_HEADS = 1024, GPT_MAX_HIDDEN = 1 << 20, GPT_MAX_ROWS = 1 << 24 };

struct gpt_config {
    int64_t layers, heads, width; /* C = width */
    int64_t hidden;               /* channels of the MLP; 0: 4 C */
    int64_t activation;           /* nn_activation */
    double attention_scale;       /* 0: as scale_by says */
    int64_t scale_by;
    double norm_epsilon;
    double dropout;
    double deviation;              /* of initial weights, as GPT-2 draws them; 0: PyTorch's defaults */
    int64_t prior;                 /* tokens of the contexts that are counted; 0: none */
    int64_t gram_rows, value_rows; /* of tables for sequences of tokens; 0: none */
    bool zero;                     /* the branches' projections and the output begin as zeros */
    bool scale_by_layer, qkv_bias, final_norm, tied_head, head_bias;
};

/* Sets the configuration for a GPT-2 as Hugging Face's transformers saves it; as lm_model's adopt. */
bool gpt2_adopt(struct gpt_config *config, lm_published *published, tensor_error *err);
/* The other way: an instance as a GPT-2 for other programs; as lm_model's publish. */
bool gpt2_publish(const struct gpt_config *config, const lm_instance *instance, lm_publication *publication,
                  tensor_error *err);

#endif
