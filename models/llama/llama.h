/* The configuration of a Llama, which its file shares with the one that knows it as published. */
#ifndef SAMPO_LLAMA_H
#define SAMPO_LLAMA_H

#include "models/lm/lm.h"

enum { LLAMA_MAX_LAYERS = 256, LLAMA_MAX_HEADS = 1024, LLAMA_MAX_HIDDEN = 1 << 20 };

struct llama_config {
    int64_t layers, heads, key_heads, width, hidden; /* key_heads 0: as heads; hidden 0: 8/3 width */
    int64_t head_size;                               /* 0: width / heads */
    double norm_epsilon, rotary_base;
    double deviation; /* of initial weights; 0: PyTorch's defaults */
    double dropout;
    bool tied_head;
};

/* Sets the configuration for a Llama as Hugging Face's transformers saves it, and the other way; as lm_model's adopt and
 * publish. */
bool llama_adopt(struct llama_config *config, lm_published *published, tensor_error *err);
bool llama_publish(const struct llama_config *config, const lm_instance *instance,
                   lm_publication *publication, tensor_error *err);

#endif
