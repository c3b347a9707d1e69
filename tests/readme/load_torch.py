import json, sys
import torch, torch.nn.functional as F
from safetensors import safe_open

path, text, prompt = sys.argv[1:]
with safe_open(path, 'pt') as f:
    said, w = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
heads, T, scale = int(said['n_head']), int(said['context_length']), float(said['attention_scale'])
activation = {'relu': F.relu, 'gelu': lambda x: F.gelu(x, approximate='tanh'), 'gelu_erf': F.gelu}[said['activation']]

def linear(x, name):
    return x @ w[name + '.weight'] + w.get(name + '.bias', 0)

def norm(x, name):
    return F.layer_norm(x, x.shape[-1:], w[name + '.weight'], w[name + '.bias'])

def attention(x, name):
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in linear(x, name + '.c_attn').chunk(3, -1))
    later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
    scores = (q @ k.transpose(2, 3) * scale).masked_fill(later, -torch.inf)
    return linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), name + '.c_proj')

def gpt(ids):  # [B, T] -> logits [B, T, V]
    x = w['wte.weight'][ids] + w['wpe.weight'][:ids.shape[1]]
    for i in range(int(said['n_layer'])):
        x = x + attention(norm(x, f'h.{i}.ln_1'), f'h.{i}.attn')
        x = x + linear(activation(linear(norm(x, f'h.{i}.ln_2'), f'h.{i}.mlp.c_fc')), f'h.{i}.mlp.c_proj')
    if 'ln_f.weight' in w:
        x = norm(x, 'ln_f')
    return x @ w.get('lm_head.weight', w['wte.weight']).T + w.get('lm_head.bias', 0)

characters = json.loads(said['vocabulary'])
def encode(text):
    return torch.tensor([characters.index(c) for c in text])

tokens = encode(open(text, encoding='utf-8').read())
tokens = tokens[len(tokens) * 9 // 10:]
n = (len(tokens) - 1) // T
rows, targets = tokens[:n * T].view(n, T), tokens[1:n * T + 1].view(n, T)
losses = [F.cross_entropy(gpt(x[None])[0], y) for x, y in zip(rows, targets)]
print(f'loss {torch.stack(losses).double().mean():.6f} over {n * T} tokens')  # as gpt eval

ids = encode(prompt)
for _ in range(100):
    ids = torch.cat([ids, gpt(ids[None, -T:])[0, -1:].argmax(-1)])
print(''.join(characters[i] for i in ids))  # as gpt sample --temperature 0 --tokens 100
