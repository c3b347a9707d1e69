#!/usr/bin/env python3
"""Writes tests/fixtures/nn/sequence.safetensors: small recurrent networks and blocks of a transformer with what PyTorch makes
of them in float64: values, last states, and the gradients of sum(y r) for a given r.

usage: make_sequence.py FILE
"""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
out = {}


def keep(name, x):
    out[name] = x.detach().float().contiguous()


def gradients(name, y, parameters, x):
    r = torch.randn_like(y)
    keep(f'{name}.r', r)
    keep(f'{name}.y', y)
    (y * r).sum().backward()
    keep(f'{name}.x', x)
    keep(f'{name}.dx', x.grad)
    for key, p in parameters:
        keep(f'{name}.{key}', p)
        keep(f'{name}.d.{key}', p.grad)


for name, module in ('rnn', torch.nn.RNN), ('gru', torch.nn.GRU), ('lstm', torch.nn.LSTM):
    m = module(3, 4, num_layers=2, batch_first=True)
    x = torch.randn(2, 5, 3, requires_grad=True)
    y, last = m(x)
    for key, state in zip('hc', last if name == 'lstm' else (last,)):
        keep(f'{name}.last_{key}', state)
    gradients(name, y, m.named_parameters(), x)

WIDTH, HEADS, D = 12, 4, 6


def parameters(shapes):
    return {k: torch.nn.Parameter(torch.randn(*s) / (s[-1]**0.5 if len(s) == 2 else 2)) for k, s in shapes.items()}


def attention_shapes(name, keys, memory, bias):
    shapes = {f'{name}.q_proj.weight': (HEADS * D, WIDTH), f'{name}.k_proj.weight': (keys * D, memory),
              f'{name}.v_proj.weight': (keys * D, memory), f'{name}.o_proj.weight': (WIDTH, HEADS * D)}
    if bias:
        shapes |= {f'{name}.{k}.bias': (s[0],) for k, s in [(k.split('.')[1], s) for k, s in shapes.items()]}
    return shapes


def rotate(x, base=10000.0):
    t, d = x.shape[-2:]
    angle = torch.arange(t)[:, None] * base ** (-2 * torch.arange(d // 2) / d)
    cos, sin = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
    return x * cos + torch.cat((-x[..., d // 2:], x[..., :d // 2]), -1) * sin


def attention(p, name, x, memory, rotary, **how):
    def heads(y):
        return y.unflatten(-1, (-1, D)).transpose(1, 2)
    q, k, v = (heads(F.linear(a, p[f'{name}.{k}_proj.weight'], p.get(f'{name}.{k}_proj.bias')))
               for k, a in (('q', x), ('k', memory), ('v', memory)))
    if rotary:
        q, k = rotate(q), rotate(k)
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **how).transpose(1, 2).flatten(2)
    return F.linear(y, p[f'{name}.o_proj.weight'], p.get(f'{name}.o_proj.bias'))


# As Llama: RMS norms, grouped heads, rotary positions, a gated layer, no biases.
p = parameters({'input_layernorm.weight': (WIDTH,), **attention_shapes('self_attn', 2, WIDTH, False),
                'post_attention_layernorm.weight': (WIDTH,), 'mlp.gate_proj.weight': (10, WIDTH),
                'mlp.up_proj.weight': (10, WIDTH), 'mlp.down_proj.weight': (WIDTH, 10)})
x = torch.randn(2, 5, WIDTH, requires_grad=True)
n = F.rms_norm(x, (WIDTH,), p['input_layernorm.weight'], 1e-5)
h = x + attention(p, 'self_attn', n, n, True, is_causal=True)
n = F.rms_norm(h, (WIDTH,), p['post_attention_layernorm.weight'], 1e-5)
y = F.silu(F.linear(n, p['mlp.gate_proj.weight'])) * F.linear(n, p['mlp.up_proj.weight'])
gradients('llama', h + F.linear(y, p['mlp.down_proj.weight']), p.items(), x)

# A decoder's block with a memory of another width, some of which is hidden: layer norms, biases, gelu.
MEMORY = 7
norms = ('input_layernorm', 'cross_attn_layernorm', 'post_attention_layernorm')
p = parameters({**{f'{n}.{k}': (WIDTH,) for n in norms for k in ('weight', 'bias')},
                **attention_shapes('self_attn', HEADS, WIDTH, True), **attention_shapes('cross_attn', HEADS, MEMORY, True),
                'mlp.c_fc.weight': (WIDTH, 20), 'mlp.c_fc.bias': (20,), 'mlp.c_proj.weight': (20, WIDTH),
                'mlp.c_proj.bias': (WIDTH,)})
x = torch.randn(2, 5, WIDTH, requires_grad=True)
memory = torch.randn(2, 3, MEMORY, requires_grad=True)
seen = torch.tensor([[1, 1, 1], [1, 0, 1]]).bool()[:, None, None, :]


def norm(which, x):
    return F.layer_norm(x, (WIDTH,), p[f'{norms[which]}.weight'], p[f'{norms[which]}.bias'])


n = norm(0, x)
h = x + attention(p, 'self_attn', n, n, False, is_causal=True)
h = h + attention(p, 'cross_attn', norm(1, h), memory, False, attn_mask=seen)
y = F.gelu(norm(2, h) @ p['mlp.c_fc.weight'] + p['mlp.c_fc.bias']) @ p['mlp.c_proj.weight'] + p['mlp.c_proj.bias']
keep('decoder.memory', memory)
keep('decoder.seen', seen)
gradients('decoder', h + y, p.items(), x)
keep('decoder.dmemory', memory.grad)

# Convolutions and normalisation of channels. Running statistics after two steps, and what they make of x.
for name, m, shape in (('conv1d', torch.nn.Conv1d(4, 6, 3, 2, 1, groups=2), (2, 4, 7)),
                       ('conv_transpose1d', torch.nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5)),
                       ('conv_transpose2d', torch.nn.ConvTranspose2d(3, 2, (3, 2), (2, 1), (1, 0), (1, 0)), (2, 3, 4, 5)),
                       ('group_norm', torch.nn.GroupNorm(2, 4), (3, 4, 5)), ('batch_norm', torch.nn.BatchNorm2d(3), (2, 3, 4, 2))):
    for key, p in m.named_parameters():
        p.data = torch.randn_like(p)
    if name == 'batch_norm':
        keep(f'{name}.running_mean', m.running_mean)
        keep(f'{name}.running_var', m.running_var)
    x = torch.randn(*shape, requires_grad=True)
    gradients(name, m(x), m.named_parameters(), x)
m(x * 2 + 1)
keep('batch_norm.next_mean', m.running_mean)
keep('batch_norm.next_var', m.running_var)
keep('batch_norm.eval', m.eval()(x))

save_file(out, sys.argv[1])
