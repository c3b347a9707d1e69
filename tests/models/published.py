#!/usr/bin/env python3
"""Writes small GPT-2s and Llamas as transformers publishes them, with what transformers makes of them.

usage: published.py FOLDER [VARIANT]: a folder below FOLDER for each variant, or FOLDER itself for one. Beside the
model's files lies expected.safetensors: ids and their logits, and greedy, the likeliest tokens after ids; its metadata
have prompt and text, the same as text. tests/fixtures/gpt2 was made by: published.py tests/fixtures/gpt2 fixture, and tests/fixtures/llama so.
"""
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = os.path.join(HERE, '..', '..', 'models', 'data', 'verses.txt')
PROMPT = 'Vaka vanha'

# Options of the configuration, then of the file: buffers of old versions, prefix, dtype, whether config.json is there,
# the size of files where there are several, tokenizer.json instead of vocab.json and merges.txt.
VARIANTS = {
    'fixture': (dict(n_embd=6, n_head=3, n_layer=2, n_positions=19), dict(prefix='', buffers=True)),
    'odd': (dict(n_embd=40, n_head=5, n_layer=3, n_positions=37), dict()),
    'plain': (dict(n_embd=40, n_head=8, n_layer=3, n_positions=37), dict(prefix='', buffers=True)),
    'untied': (dict(n_embd=21, n_head=3, n_layer=1, n_positions=50, tie_word_embeddings=False), dict()),
    'erf': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33, activation_function='gelu'), dict()),
    'relu': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33, activation_function='relu'), dict()),
    'bare': (dict(n_embd=128, n_head=2, n_layer=2, n_positions=29, initializer_range=0.2), dict(prefix='', config=False)),
    'f16': (dict(n_embd=40, n_head=5, n_layer=2, n_positions=31), dict(dtype=torch.float16)),
    'bf16': (dict(n_embd=40, n_head=5, n_layer=2, n_positions=31), dict(dtype=torch.bfloat16)),
    'epsilon': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33, layer_norm_epsilon=0.03), dict()),
    'unscaled': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33, scale_attn_weights=False), dict()),
    'by_layer': (dict(n_embd=24, n_head=2, n_layer=3, n_positions=33, scale_attn_by_inverse_layer_idx=True), dict()),
    'inner': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33, n_inner=31), dict()),
    'sharded': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33), dict(files='20KB')),
    'tokenizer': (dict(n_embd=24, n_head=2, n_layer=2, n_positions=33), dict(tokenizer_json=True)),
}


def llama(width, heads, layers, positions, hidden, **more):
    return dict(hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, max_position_embeddings=positions,
                intermediate_size=hidden, num_key_value_heads=more.pop('keys', heads), **more)


LLAMAS = {
    'llama-fixture': (llama(8, 2, 2, 19, 10, keys=1, tie_word_embeddings=True), dict()),
    'llama': (llama(40, 4, 3, 37, 56), dict()),
    'llama-grouped': (llama(48, 6, 3, 41, 100, keys=2), dict(tokenizer_json=True)),
    'llama-tied': (llama(36, 3, 2, 33, 50, keys=1, tie_word_embeddings=True, head_dim=8), dict(dtype=torch.bfloat16)),
    'llama-base': (llama(32, 4, 2, 50, 44, rms_norm_eps=0.03,
                         rope_parameters=dict(rope_type='default', rope_theta=500.0)), dict(files='20KB')),
}
VARIANTS |= LLAMAS


def tokenizer_files(folder):
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train(TEXT, vocab_size=283, min_frequency=1, special_tokens=['<|endoftext|>'], show_progress=False)
    tokenizer.save_model(folder)
    return tokenizer


def readable(tokenizer, token):
    text = tokenizer.decode([token])
    return text.isascii() and text.isprintable() and text != '' and token != 0


def random_model(tokenizer, options):
    torch.manual_seed(1)
    common = {'vocab_size': tokenizer.get_vocab_size(), 'initializer_range': 0.5, 'bos_token_id': 0, 'eos_token_id': None}
    if 'hidden_size' in options:
        model = LlamaForCausalLM(LlamaConfig(**{**common, **options})).eval()
    else:
        model = GPT2LMHeadModel(GPT2Config(**{**common, **options})).eval()
    config = model.config
    with torch.no_grad():
        for name, p in model.named_parameters():  # biases are 0 and norms 1 in a new model
            if p.dim() == 1:
                p += 0.3 * torch.randn_like(p)
        if 'hidden_size' in options:  # there is no bias: such tokens get a logit of 0, which is hardly ever the largest
            for token in range(config.vocab_size):
                if not readable(tokenizer, token):
                    model.lm_head.weight[token] = 0
            return model
        # A direction that makes tokens unlikely whose text a terminal would not show.
        away = torch.ones(config.n_embd) / config.n_embd**0.5
        model.transformer.ln_f.bias += 5 * away
        head = model.lm_head.weight
        for token in range(config.vocab_size):
            if not readable(tokenizer, token):
                head[token] -= 5 * away
    return model


def file_of(model, prefix='transformer.', buffers=False, dtype=torch.float32):
    tensors = {}
    for name, value in model.state_dict().items():
        if name.endswith(('.attn.bias', '.attn.masked_bias')):
            continue
        if name == 'lm_head.weight' and model.config.tie_word_embeddings:
            continue
        tensors[name.replace('transformer.', prefix, 1)] = value.to(dtype).contiguous()
    if buffers:  # the causal mask, as the published files have it
        n = model.config.n_positions
        for i in range(model.config.n_layer):
            tensors[f'{prefix}h.{i}.attn.bias'] = torch.tril(torch.ones(1, 1, n, n))
            tensors[f'{prefix}h.{i}.attn.masked_bias'] = torch.tensor(-10000.0)
    return tensors


def write(folder, options, prefix='transformer.', buffers=False, dtype=torch.float32, config=True, files=None,
          tokenizer_json=False):
    os.makedirs(folder, exist_ok=True)
    tokenizer = tokenizer_files(folder)
    model = random_model(tokenizer, options)
    path = os.path.join(folder, 'model.safetensors')
    if files:
        model.save_pretrained(folder, max_shard_size=files)
    else:
        save_file(file_of(model, prefix, buffers, dtype), path, metadata={'format': 'pt'})
    model.config.save_pretrained(folder)
    if tokenizer_json:
        tokenizer.save(os.path.join(folder, 'tokenizer.json'))
        os.remove(os.path.join(folder, 'vocab.json'))
        os.remove(os.path.join(folder, 'merges.txt'))
    model = type(model).from_pretrained(folder).float().eval()  # as anybody would load it
    if not config:
        os.remove(os.path.join(folder, 'config.json'))

    ids = torch.tensor([tokenizer.encode(PROMPT).ids])
    with torch.no_grad():
        logits = model(ids).logits[0]
        greedy = model.generate(ids, do_sample=False, max_length=model.config.max_position_embeddings,
                                pad_token_id=0)[0, ids.shape[1]:]
    save_file({'ids': ids[0].int(), 'logits': logits[-4:].contiguous(), 'greedy': greedy.int().contiguous()},
              os.path.join(folder, 'expected.safetensors'),
              metadata={'prompt': PROMPT, 'text': PROMPT + tokenizer.decode(greedy.tolist())})


def main():
    folder, chosen = sys.argv[1], sys.argv[2:]
    for name in chosen or [v for v in VARIANTS if not v.endswith('fixture')]:
        options, how = VARIANTS[name]
        write(folder if chosen else os.path.join(folder, name), options, **how)


main()
