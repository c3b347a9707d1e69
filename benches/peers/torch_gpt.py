#!/usr/bin/env python3
"""A GPT's step and sampling in PyTorch, for compare.py: torch_gpt.py THREADS VARIANT [NAME=SIZE ...].

VARIANT is some of eager, compile and bf16 (autocast), joined by +; the sizes are those that `train --list` prints, else the
default GPT's. Attention is PyTorch's fused one. Exits with 77 where PyTorch, or its compiler, is not installed."""

import sys

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit(77)

from serve import serve, sizes

S = sizes(sys.argv[3:])
V, T, B, C, LAYERS, HEADS = (S[name] for name in ("vocabulary", "context", "batch", "width", "layers", "heads"))
GPT2 = S["gpt2"] != 0


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(C, 3 * C, bias=GPT2), nn.Linear(C, C)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=(C // HEADS if GPT2 else C) ** -0.5)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(C), Attention(), nn.LayerNorm(C)
        activation = nn.GELU(approximate="tanh") if GPT2 else nn.ReLU()
        self.mlp = nn.Sequential(nn.Linear(C, 4 * C), activation, nn.Linear(4 * C, C))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, C), nn.Embedding(T, C)
        self.h = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.ln_f = nn.LayerNorm(C) if GPT2 else nn.Identity()
        self.lm_head = nn.Linear(C, V, bias=not GPT2)
        if GPT2:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids):
        return self.lm_head(self.ln_f(self.h(self.wte(ids) + self.wpe(torch.arange(ids.shape[1])))))


def main():
    variant = sys.argv[2].split("+")
    torch.manual_seed(1)
    torch.set_num_threads(int(sys.argv[1]))
    model = GPT()
    if "compile" in variant:
        if not hasattr(torch, "compile"):
            sys.exit(77)
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters())
    ids, targets = torch.randint(V, (2, B, T))

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in variant):
            loss = F.cross_entropy(model(ids).view(-1, V), targets.view(-1))
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def sample(tokens):
        text = torch.zeros(1, 1, dtype=torch.long)
        for _ in range(tokens):
            probabilities = F.softmax(model(text[:, -T:])[:, -1], dim=-1)
            text = torch.cat([text, torch.multinomial(probabilities, 1)], dim=1)

    serve(f"PyTorch {torch.__version__} {sys.argv[2]}", step, sample)


main()
