#!/usr/bin/env python3
"""A GPT's step and sampling in JAX, for compare.py: jax_gpt.py THREADS [NAME=SIZE ...].

The sizes are those that `train --list` prints, else the default GPT's. Exits with 77 where JAX is not installed, and for
GPT-2, whose parts are not all here."""

import math
import os
import sys

# XLA sizes its pool from the processors that the process may use.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
os.environ["JAX_PLATFORMS"] = "cpu"
try:
    import jax
    import numpy
    from jax import numpy as jnp
except ImportError:
    sys.exit(77)

from serve import serve, sizes

S = sizes(sys.argv[2:])
V, T, B, C, LAYERS, HEADS = (S[name] for name in ("vocabulary", "context", "batch", "width", "layers", "heads"))
if S["gpt2"]:
    sys.exit(77)


def linear(key, rows, columns, bias=True):
    bound = 1 / math.sqrt(rows)
    w, b = jax.random.split(key)
    p = {"w": jax.random.uniform(w, (rows, columns), minval=-bound, maxval=bound)}
    if bias:
        p["b"] = jax.random.uniform(b, (columns,), minval=-bound, maxval=bound)
    return p


def init(key):
    keys = iter(jax.random.split(key, 3 + 4 * LAYERS))
    norm = {"w": jnp.ones(C), "b": jnp.zeros(C)}
    return {
        "wte": jax.random.normal(next(keys), (V, C)),
        "wpe": jax.random.normal(next(keys), (T, C)),
        "h": [
            {
                "ln_1": dict(norm),
                "c_attn": linear(next(keys), C, 3 * C, bias=False),
                "c_proj": linear(next(keys), C, C),
                "ln_2": dict(norm),
                "mlp_in": linear(next(keys), C, 4 * C),
                "mlp_out": linear(next(keys), 4 * C, C),
            }
            for _ in range(LAYERS)
        ],
        "lm_head": linear(next(keys), C, V),
    }


def apply(p, x):
    y = x @ p["w"]
    return y + p["b"] if "b" in p else y


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["w"] + p["b"]


def attention(p, x):
    b, t, _ = x.shape
    q, k, v = apply(p["c_attn"], x).reshape(b, t, 3, HEADS, C // HEADS).transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(-2, -1) * C**-0.5
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -jnp.inf)
    y = jax.nn.softmax(scores) @ v
    return apply(p["c_proj"], y.swapaxes(1, 2).reshape(b, t, C))


def forward(p, ids):
    x = p["wte"][ids] + p["wpe"][: ids.shape[1]]
    for h in p["h"]:
        x = x + attention(h, layer_norm(h["ln_1"], x))
        x = x + apply(h["mlp_out"], jax.nn.relu(apply(h["mlp_in"], layer_norm(h["ln_2"], x))))
    return apply(p["lm_head"], x)


def loss(p, ids, targets):
    logits = jax.nn.log_softmax(forward(p, ids))
    return -jnp.take_along_axis(logits, targets[..., None], -1).mean()


def adamw(p, m, v, g, step, rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01):
    m = jax.tree_util.tree_map(lambda m, g: m + (1 - beta1) * (g - m), m, g)
    v = jax.tree_util.tree_map(lambda v, g: v + (1 - beta2) * (g * g - v), v, g)
    bias1, bias2 = 1 - beta1**step, 1 - beta2**step
    p = jax.tree_util.tree_map(
        lambda p, m, v: p * (1 - rate * decay) - rate / bias1 * m / (jnp.sqrt(v / bias2) + eps), p, m, v
    )
    return p, m, v


@jax.jit
def train_step(state, ids, targets):
    p, m, v, step = state
    value, g = jax.value_and_grad(loss)(p, ids, targets)
    return (*adamw(p, m, v, g, step + 1), step + 1), value


@jax.jit
def next_token(p, window, length, i):
    """The window holds `length` tokens and zeros after them: of one shape, so that it compiles once."""
    key = jax.random.fold_in(jax.random.PRNGKey(1), i)
    return jax.random.categorical(key, forward(p, window)[0, length - 1])


def main():
    key = jax.random.PRNGKey(1)
    p = init(key)
    zeros = jax.tree_util.tree_map(jnp.zeros_like, p)
    state = (p, zeros, zeros, jnp.zeros(()))
    ids, targets = jax.random.randint(key, (2, B, T), 0, V)

    def step():
        nonlocal state
        state, value = train_step(state, ids, targets)
        value.block_until_ready()

    def sample(tokens):
        window = [0]
        for i in range(tokens):
            padded = numpy.array([window + [0] * (T - len(window))])
            window = (window + [int(next_token(state[0], padded, len(window), i))])[-T:]

    serve("JAX " + jax.__version__, step, sample)


main()
