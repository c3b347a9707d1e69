#!/usr/bin/env python3
"""The default GPT's step and sampling in PyTorch, for compare.py: torch_gpt.py THREADS [compile].

Exits with 77 where PyTorch, or its compiler, is not installed."""

import math
import sys

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit(77)

from serve import serve

V, T, B, C, LAYERS, HEADS = 51, 64, 64, 64, 3, 4


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(C, 3 * C, bias=False), nn.Linear(C, C)
        self.register_buffer("future", torch.ones(T, T, dtype=torch.bool).triu(1))

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) * C**-0.5
        scores = scores.masked_fill(self.future[:t, :t], -math.inf)
        y = F.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(b, t, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(C), Attention(), nn.LayerNorm(C)
        self.mlp = nn.Sequential(nn.Linear(C, 4 * C), nn.ReLU(), nn.Linear(4 * C, C))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, C), nn.Embedding(T, C)
        self.h = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.lm_head = nn.Linear(C, V)

    def forward(self, ids):
        return self.lm_head(self.h(self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(int(sys.argv[1]))
    model = GPT()
    if "compile" in sys.argv[2:]:
        if not hasattr(torch, "compile"):
            sys.exit(77)
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters())
    ids, targets = torch.randint(V, (2, B, T))

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(ids).view(-1, V), targets.view(-1)).backward()
        optimizer.step()

    @torch.no_grad()
    def sample(tokens):
        text = torch.zeros(1, 1, dtype=torch.long)
        for _ in range(tokens):
            probabilities = F.softmax(model(text[:, -T:])[:, -1], dim=-1)
            text = torch.cat([text, torch.multinomial(probabilities, 1)], dim=1)

    name = "torch.compile" if "compile" in sys.argv[2:] else "PyTorch"
    serve(name + " " + torch.__version__, step, sample)


main()
