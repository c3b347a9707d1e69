#!/usr/bin/env python3
"""What other programs make of exported models.

usage: export.py transformers PROMPT TEXT NAME...: of the folder NAME.hf, NAME.expected/expected.safetensors, as published.py
           makes it; fails where its tokenizer does not give the file TEXT back
       export.py llama NAME.gguf PROMPT N: prints the prompt and the N likeliest tokens after it
"""
import sys


def check_tokenizer(tokenizer, name, given):
    back = tokenizer.decode(tokenizer(given).input_ids)
    if back != given:
        sys.exit(f'{name}: {back[:60]!r} comes back for {given[:60]!r}')


def transformers_folder(prompt, path, *names):
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    with open(path, encoding='utf-8', newline='') as f:
        text = f.read()
    for name in names:
        tokenizer = AutoTokenizer.from_pretrained(f'{name}.hf')
        check_tokenizer(tokenizer, name, text)
        model, info = AutoModelForCausalLM.from_pretrained(f'{name}.hf', output_loading_info=True)
        model.eval()
        for problem, keys in info.items():
            if keys:
                sys.exit(f'{name}: {problem}: {keys}')
        ids = tokenizer(prompt, return_tensors='pt').input_ids
        context = model.config.max_position_embeddings
        with torch.no_grad():
            logits = model(ids).logits[0]
            greedy = model.generate(ids, do_sample=False, max_length=context, attention_mask=torch.ones_like(ids),
                                    pad_token_id=0, eos_token_id=None)[0, ids.shape[1]:]
        save_file({'ids': ids[0].int(), 'logits': logits[-4:].contiguous(), 'greedy': greedy.int().contiguous()},
                  f'{name}.expected/expected.safetensors',
                  metadata={'prompt': prompt, 'text': prompt + tokenizer.decode(greedy.tolist())})


def llama(path, prompt, count):
    from llama_cpp import Llama
    model = Llama(path, n_ctx=0, verbose=False, n_threads=1)
    ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    if model.detokenize(ids) != prompt.encode():
        sys.exit(f'{model.detokenize(ids)!r} comes back for {prompt!r}')
    out = []
    for token in model.generate(ids, temp=0, repeat_penalty=1):
        out.append(token)
        if token == model.token_eos() or len(out) == int(count):
            break
    sys.stdout.buffer.write(prompt.encode() + b''.join(model.detokenize([t]) for t in out) + b'\n')


{'transformers': transformers_folder, 'llama': llama}[sys.argv[1]](*sys.argv[2:])
