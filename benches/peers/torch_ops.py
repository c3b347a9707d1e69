#!/usr/bin/env python3
"""The operations of benches/ops in PyTorch: torch_ops.py THREADS, which benches/ops starts.

A line "LABEL/forward ROWS" or "LABEL/backward ROWS" on stdin is answered with the seconds of one run, or with "none" where
PyTorch has no such operation. Exits with 77 where PyTorch is not installed."""

import sys
import time

try:
    import torch
    from torch.nn import functional as F
except ImportError:
    sys.exit(77)

W, T, C, HEADS = 256, 64, 64, 4  # as in benches/lines.c


def uniform(*shape, low=-2.0, high=2.0):
    return torch.empty(shape).uniform_(low, high).requires_grad_()


def data(x):
    return x.detach()


def positive(rows):
    return uniform(rows, W, low=0.5)


def ids(high, *shape):
    return torch.randint(high, shape)


def x(rows):
    return uniform(rows, W)


def half(rows):
    return uniform(rows, W // 2)


def weight():
    return uniform(W, W, low=-0.1, high=0.1)


def one(f, operand=x):
    return lambda rows: [operand(rows)], f


def two(f, operand=x):
    return lambda rows: [operand(rows), operand(rows)], f


def attention(qkv):
    b = qkv.shape[0]
    q, k, v = qkv.view(b, T, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, T, C)


def convolution():
    return [uniform(8, 64, 32, 32, low=-1.0, high=1.0), uniform(64, 64, 3, 3, low=-0.1, high=0.1), uniform(64)]


def images(f, affine=False):
    return lambda _: convolution()[:1] + ([uniform(64), uniform(64)] if affine else []), f


# Operands for a number of rows, and the operation.
OPERATIONS = {
    "add": two(torch.add),
    "add a column": (lambda r: [x(r), uniform(r, 1)], torch.add),
    "add a row": (lambda r: [x(r), uniform(W)], torch.add),
    "sub": two(torch.sub),
    "mul": two(torch.mul),
    "div": two(torch.div, positive),
    "pow": two(torch.pow, positive),
    "max": two(torch.maximum),
    "min": two(torch.minimum),
    "less": two(lambda a, b: (a < b).float()),
    "equal": two(lambda a, b: (a == b).float()),
    "where": (lambda r: [data(x(r)) > 0, x(r), x(r)], torch.where),
    "affine": one(lambda a: 2 * a + 1),
    "exp": one(torch.exp),
    "log": one(torch.log, positive),
    "sqrt": one(torch.sqrt, positive),
    "square": one(torch.square),
    "tanh": one(torch.tanh),
    "erf": one(torch.erf),
    "sigmoid": one(torch.sigmoid),
    "softplus": one(F.softplus),
    "relu": one(torch.relu),
    "gelu": one(F.gelu),
    "gelu_tanh": one(lambda a: F.gelu(a, approximate="tanh")),
    "silu": one(F.silu),
    "expm1": one(torch.expm1),
    "log1p": one(torch.log1p, positive),
    "rsqrt": one(torch.rsqrt, positive),
    "reciprocal": one(torch.reciprocal, positive),
    "abs": one(torch.abs),
    "sin": one(torch.sin),
    "cos": one(torch.cos),
    "floor": one(torch.floor),
    "leaky_relu": one(lambda a: F.leaky_relu(a, 0.25)),
    "elu": one(lambda a: F.elu(a, 0.75)),
    "clamp": one(lambda a: torch.clamp(a, -1, 1.5)),
    "dropout": one(lambda a: F.dropout(a, 0.1)),
    "sum": one(lambda a: a.sum(1)),
    "sum of columns": one(lambda a: a.sum(0)),
    "mean": one(lambda a: a.mean(1)),
    "max_over": one(lambda a: a.amax(1)),
    "max of columns": one(lambda a: a.amax(0)),
    "min_over": one(lambda a: a.amin(1)),
    "product": one(lambda a: a.prod(1), lambda r: uniform(r, W, low=0.97, high=1.03)),
    "sum_squares": one(lambda a: a.square().sum(1)),
    "log_sum_exp": one(lambda a: a.logsumexp(1)),
    "variance": one(lambda a: a.var(1)),
    "variance of columns": one(lambda a: a.var(0)),
    "deviation": one(lambda a: a.std(1)),
    "norm": one(lambda a: torch.linalg.vector_norm(a, 2, 1)),
    "norm 1": one(lambda a: torch.linalg.vector_norm(a, 1, 1)),
    "cumulative_sum": one(lambda a: a.cumsum(1)),
    "cumulative of rows": one(lambda a: a.cumsum(0)),
    "stack": two(lambda a, b: torch.stack((a, b), 1), half),
    "gather": (lambda r: [x(r), ids(W, r, W)], lambda a, i: a.gather(1, i)),
    "scatter_add": (lambda r: [x(r), ids(W, r, W), x(r)], lambda a, i, s: a.scatter_add(1, i, s)),
    "index_select": (lambda r: [x(r), ids(256, r)], lambda a, i: a.index_select(0, i)),
    "argsort": one(lambda a: data(a).argsort(stable=True, dim=1)),
    "sort": one(lambda a: a.sort(dim=1, stable=True)[0]),
    "top_k": one(lambda a: a.topk(8, 1)[0]),
    "argmax": one(lambda a: data(a).argmax(1)),
    "one_hot": (lambda r: [ids(W, r)], lambda i: F.one_hot(i, W).float()),
    "row_losses": (lambda r: [x(r), ids(W, r)], lambda a, i: F.cross_entropy(a, i, reduction="none")),
    "smoothed": (lambda r: [x(r), ids(W, r)], lambda a, i: F.cross_entropy(a, i, label_smoothing=0.1)),
    "mse_loss": two(F.mse_loss),
    "l1_loss": two(F.l1_loss),
    "huber_loss": two(F.huber_loss),
    "smooth_l1_loss": two(lambda a, b: F.smooth_l1_loss(a, b, beta=0.5)),
    "binary_cross_entropy": (lambda r: [x(r), data(uniform(r, W, low=0.1, high=0.9))], F.binary_cross_entropy_with_logits),
    "kl_divergence": (lambda r: [x(r), data(uniform(r, W, low=0.1, high=0.9))],
                      lambda a, t: F.kl_div(a, t, reduction="mean")),
    "reshape": one(lambda a: a.t().reshape(-1)),
    "slice": one(lambda a: a[:, : W // 2]),
    "unslice": one(lambda a: F.pad(a, (0, W // 2)), half),
    "expand": (lambda r: [uniform(1, W), r], lambda a, r: a.expand(r, W)),
    "concat": two(lambda a, b: torch.cat((a, b), 1), half),
    "matmul": (lambda r: [x(r), weight()], torch.matmul),
    "linear": (lambda r: [x(r), weight(), uniform(W)], lambda a, w, b: torch.addmm(b, a, w)),
    "embedding": (lambda r: [weight(), ids(W, r)], lambda w, i: F.embedding(i, w)),
    "softmax": one(lambda a: a.softmax(-1)),
    "log_softmax": one(lambda a: a.log_softmax(-1)),
    "layer_norm": (lambda r: [x(r), uniform(W), uniform(W)], lambda a, w, b: F.layer_norm(a, (W,), w, b)),
    "rms_norm": (lambda r: [x(r), uniform(W)], lambda a, w: F.rms_norm(a, (W,), w, 1e-5)),
    "attention": (lambda r: [uniform(r // T, T, 3 * C)], attention),
    "cross_entropy": (lambda r: [x(r), ids(W, r)], F.cross_entropy),
    # of shapes of their own
    "index_select 1": (lambda _: [uniform(32, 64, 256), ids(64, 64)], lambda a, i: a.index_select(1, i)),
    "index_select 2": (lambda _: [uniform(32, 64, 256), ids(256, 256)], lambda a, i: a.index_select(2, i)),
    "sort 100000": (lambda _: [uniform(4, 100000)], lambda a: a.sort(dim=1, stable=True)[0]),
    "top_k 50257": (lambda _: [uniform(16, 50257)], lambda a: a.topk(8, 1)[0]),
    "tril": (lambda _: [uniform(32, 256, 256)], torch.tril),
    "conv2d": (lambda _: convolution(), lambda a, w, b: F.conv2d(a, w, b, padding=1)),
    "conv2d, stride 2": (lambda _: convolution(), lambda a, w, b: F.conv2d(a, w, b, stride=2, padding=1)),
    "conv_transpose2d": (lambda _: convolution(), lambda a, w, b: F.conv_transpose2d(a, w, b, padding=1)),
    "max_pool2d": images(lambda a: F.max_pool2d(a, 2)),
    "max_pool2d 3": images(lambda a: F.max_pool2d(a, 3, 2, 1)),
    "average_pool2d": images(lambda a: F.avg_pool2d(a, 2)),
    "average_pool2d 3": images(lambda a: F.avg_pool2d(a, 3, 1, 1, count_include_pad=False)),
    "average_pool2d all": images(lambda a: F.avg_pool2d(a, 32)),
    "unfold": images(lambda a: F.unfold(a, 3, padding=1)),
    "pad": images(lambda a: F.pad(a, (1, 1, 1, 1))),
    "batch_norm": images(lambda a, w, b: F.batch_norm(a, None, None, w, b, True), True),
    "batch_norm, rows": (lambda r: [x(r), uniform(W), uniform(W)], lambda a, w, b: F.batch_norm(a, None, None, w, b, True)),
    "group_norm": images(lambda a, w, b: F.group_norm(a, 8, w, b), True),
    "transpose 2048^2": (lambda _: [uniform(2048, 2048)], lambda a: a.t().contiguous()),
    "permute 0 2 1 3": (lambda _: [uniform(32, 64, 8, 64)], lambda a: a.permute(0, 2, 1, 3).contiguous()),
    "permute 0 2 3 1": (lambda _: [uniform(32, 64, 8, 64)], lambda a: a.permute(0, 2, 3, 1).contiguous()),
    "permute 2 1 0": (lambda _: [uniform(64, 96, 128)], lambda a: a.permute(2, 1, 0).contiguous()),
    "cross_entropy 51": (lambda _: [uniform(4096, 51), ids(51, 4096)], F.cross_entropy),
    "cross_entropy 50257": (lambda _: [uniform(64, 50257), ids(50257, 64)], F.cross_entropy),
    "embedding 64": (lambda _: [uniform(51, 64), ids(51, 4096)], lambda w, i: F.embedding(i, w)),
}


class Work:
    def __init__(self, label, rows):
        operands, self.run = OPERATIONS[label]
        self.operands = operands(rows)
        self.wanted = [a for a in self.operands if isinstance(a, torch.Tensor) and a.requires_grad]
        y = self.run(*self.operands)
        self.dy = torch.ones(()) if y.dim() == 0 else torch.empty(y.shape).uniform_(-1, 1)

    def seconds(self, backward):
        start = time.perf_counter()
        y = self.run(*self.operands)
        if backward:
            for a in self.wanted:
                a.grad = None
            start = time.perf_counter()
            y.backward(self.dy)
        return time.perf_counter() - start


torch.set_num_threads(int(sys.argv[1]))
print("PyTorch", torch.__version__, flush=True)
label, rows, work = "", 0, None
for line in sys.stdin:
    what, count = line.rsplit(None, 1)
    name, backward = what.split("/")
    if name not in OPERATIONS:
        print("none", flush=True)
        continue
    try:
        if (name, count) != (label, rows):
            label, rows, work = name, count, Work(name, int(count))
    except AttributeError:
        print("none", flush=True)
        continue
    print(work.seconds(backward == "backward"), flush=True)
