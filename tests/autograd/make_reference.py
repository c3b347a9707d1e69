#!/usr/bin/env python3
"""PyTorch's values and gradients of operations, in float64, for tests/autograd/test_reference.c:
make_reference.py > tests/fixtures/autograd/reference.txt

A line "NAME" begins a case, which test_reference.c knows by that name. Lines "f SHAPE : VALUES" and "i SHAPE : VALUES" are its
operands, floats and ids, "c" floats without gradient; "y" is the result and "g" the gradient of each f, of
sum r y with r = ((7 i + 3) mod 11) / 8 - 1/2 for element i.

What is left out with `without`, and that log_sum_exp of nothing but -infinity has no gradient here, are the differences that
docs/numerics.md lists."""
import math

import torch
from torch.nn import functional as F

torch.manual_seed(7)
inf, nan = math.inf, math.nan
SPECIAL = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e30, -1e30, 1e-30, -1e-30, 100.0, -100.0]


def number(v):
    if v != v or v in (inf, -inf):
        return {True: "inf", False: "-inf"}[v > 0] if v == v else "nan"
    return f"{v:.8g}"


def line(kind, x):
    return f"{kind} {' '.join(map(str, x.shape))} : {' '.join(number(v) for v in x.flatten().tolist())}"


def rand(*shape, low=-2.0, high=2.0):
    """Multiples of 1/16, so that they are short and exact."""
    return torch.round(torch.empty(shape, dtype=torch.float64).uniform_(low, high) * 16) / 16


def floats(*values):
    # As float32 has them: 1e30 is not itself.
    return torch.tensor(values, dtype=torch.float32).double()


def ids(high, *shape):
    return torch.randint(high, shape)


def weights(y):
    i = torch.arange(y.numel(), dtype=torch.float64)
    return ((7 * i + 3) % 11 / 8 - 0.5).reshape(y.shape)


def case(name, f, *operands, constants=()):
    lines, wanted = [name], []
    for k, x in enumerate(operands):
        if not x.is_floating_point():
            lines.append(line("i", x))
        elif k in constants:
            lines.append(line("c", x))
        else:
            x.requires_grad_()
            wanted.append(x)
            lines.append(line("f", x.detach()))
    y = f(*operands)
    lines.append(line("y", y.detach().double()))
    if y.requires_grad:
        # NaN in the result's weight would hide gradients, so that the sum is not taken.
        grads = torch.autograd.grad(y, wanted, weights(y), allow_unused=True)
        lines += [line("g", torch.zeros_like(x) if g is None else g) for x, g in zip(wanted, grads)]
    print("\n".join(lines))


def unary(name, f, low=-2.0, high=2.0, without=()):
    case(name, f, rand(2, 3, low=low, high=high))
    case(name, f, floats(*[v for v in SPECIAL if not any(v == w or (v != v and w != w) for w in without)]))
    case(name, f, floats(0.75).reshape(()))
    case(name, f, torch.zeros(2, 0, dtype=torch.float64))


def binary(name, f, low=-2.0, high=2.0, special=True):
    case(name, f, rand(3, 1, 2, low=low, high=high), rand(4, 1, low=low, high=high))
    case(name, f, floats(0.75).reshape(()), rand(3, low=low, high=high))
    case(name, f, torch.zeros(0, 2, dtype=torch.float64), rand(2, low=low, high=high))
    if special:
        pairs = [(0, 0), (1, 1), (-1, -1), (0, 1), (1, 0), (inf, 1), (1, inf), (nan, 1), (1, nan), (-inf, 2), (inf, inf)]
        case(name, f, floats(*[a for a, _ in pairs]), floats(*[b for _, b in pairs]))


def reduction(name, f, ties=True, empty=True, nans=True, low=-2.0, high=2.0):
    """f(x, axes, keep)."""
    case(name + " 1", lambda x: f(x, (1,), False), rand(2, 3, 2, low=low, high=high))
    case(name + " 0-1k", lambda x: f(x, (0, 2), True), rand(2, 3, 2, low=low, high=high))
    case(name + " all", lambda x: f(x, tuple(range(x.dim())), False), rand(2, 3, low=low, high=high))
    case(name + " all", lambda x: f(x, (), False) if name != "product" else x.prod(), floats(0.75).reshape(()))
    if ties:
        case(name + " all", lambda x: f(x, (0, 1), False), floats(1, 2, 2, 1, 1, 2).reshape(2, 3))
    case(name + " all", lambda x: f(x, (0,), False), floats(1, nan if nans else inf, 2))
    if empty:
        case(name + " 1", lambda x: f(x, (1,), False), torch.zeros(2, 0, dtype=torch.float64))


def loss(name, f, low=-2.0, high=2.0, special=()):
    for form in ("mean", "sum", "none"):
        case(f"{name} {form}", lambda x, t: f(x, t, reduction=form), rand(2, 3), rand(2, 3, low=low, high=high))
    if special:
        case(f"{name} none", lambda x, t: f(x, t, reduction="none"), floats(*[a for a, _ in special]),
             floats(*[b for _, b in special]))
    case(f"{name} sum", lambda x, t: f(x, t, reduction="sum"), *[torch.zeros(0, dtype=torch.float64) for _ in "xt"])
    case(f"{name} mean", lambda x, t: f(x, t), floats(0.5).reshape(()), floats(0.25).reshape(()))


# ---- Elementwise -------------------------------------------------------------------------------

for name in "add sub mul div".split():
    binary(name, getattr(torch, name))
binary("pow", torch.pow, low=0.25)
binary("max", torch.maximum)
binary("min", torch.minimum)
for name, f in {"less": torch.lt, "less_equal": torch.le, "greater": torch.gt, "greater_equal": torch.ge,
                "equal": torch.eq, "not_equal": torch.ne, "and": torch.logical_and, "or": torch.logical_or}.items():
    binary(name, f)
unary("not", torch.logical_not)
for name in "exp expm1 sqrt rsqrt square reciprocal sin cos tanh erf sigmoid floor round".split():
    unary(name, getattr(torch, name), low=0.25 if name in ("sqrt", "rsqrt") else -2.0,
          without=(-100,) if name == "sigmoid" else ())
unary("abs", torch.abs, without=(nan,))
unary("sign", torch.sign, without=(nan,))
unary("log", torch.log, low=0.25)
unary("log1p", torch.log1p, low=-0.75)
unary("softplus", F.softplus)
unary("relu", F.relu)
unary("gelu", F.gelu, without=(inf, -inf))
unary("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), without=(inf, -inf))
unary("silu", F.silu, without=(inf, -inf))
unary("leaky_relu", lambda x: F.leaky_relu(x, 0.125))
unary("elu", lambda x: F.elu(x, 1.5))
unary("clamp", lambda x: torch.clamp(x, -1, 0.75))
case("clamp upside down", lambda x: torch.clamp(x, 1, -1), floats(-2, -1, 0, 1, 2))
case("where", lambda c, a, b: torch.where(c != 0, a, b), floats(1, 0, nan).reshape(3, 1), rand(2), rand(3, 1), constants=(0,))
case("masked_fill", lambda x, m: x.masked_fill(m != 0, 0.5), floats(1, inf, nan, 2), floats(0, 1, 1, 0), constants=(1,))

# ---- Reductions --------------------------------------------------------------------------------

reduction("sum", lambda x, axes, keep: x.sum(axes, keep))
reduction("mean", lambda x, axes, keep: x.mean(axes, keep))
reduction("max_over", lambda x, axes, keep: x.amax(axes, keep), empty=False)
reduction("min_over", lambda x, axes, keep: x.amin(axes, keep), empty=False)
reduction("sum_squares", lambda x, axes, keep: x.square().sum(axes, keep))
reduction("log_sum_exp", lambda x, axes, keep: x.logsumexp(axes, keep))


def product(x, axes, keep):
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep)
    return x


reduction("product", product)
case("product 1", lambda x: x.prod(1), floats(0, 2, 3, 0, 5, 0, 1, 2, 3).reshape(3, 3))
case("log_sum_exp all", lambda x: x.logsumexp(0), floats(-inf, -inf), constants=(0,))
case("log_sum_exp all", lambda x: x.logsumexp(0), floats(10, -10, 9))
for correction in (0, 1):
    reduction(f"variance {correction}", lambda x, axes, keep: x.var(axes, correction=correction, keepdim=keep), empty=False)
    reduction(f"deviation {correction}", lambda x, axes, keep: x.std(axes, correction=correction, keepdim=keep), empty=False)
    case(f"deviation {correction} all", lambda x: x.std(correction=correction), floats(2, 2, 2))
for p in (0, 1, 2, 3, inf):
    reduction(f"norm {number(p)}", lambda x, axes, keep: torch.linalg.vector_norm(x, p, axes or None, keep), empty=p != inf,
              nans=p not in (1, inf))
    if p != inf:
        case(f"norm {number(p)} all", lambda x: torch.linalg.vector_norm(x, p), floats(0, 0))
case("cumulative_sum", lambda x: x.cumsum(1), rand(2, 4))
case("cumulative_sum", lambda x: x.cumsum(1), rand(2, 3, 2))
case("cumulative_sum", lambda x: x.cumsum(1), floats(1, nan, 2, 1, inf, -inf).reshape(2, 3))
case("cumulative_sum", lambda x: x.cumsum(1), torch.zeros(2, 0, dtype=torch.float64))

# ---- Shape, numbers of elements, order --------------------------------------------------------------

case("stack", lambda a, b: torch.stack((a, b), 1), rand(2, 3), rand(2, 3))
case("stack", lambda a, b: torch.stack((a, b), 1), rand(2), rand(2))
case("concat", lambda a, b: torch.cat((a, b), 1), rand(2, 3), rand(2, 1))
case("split", lambda x: x.split((1, 2), 1)[1] * x.split((1, 2), 1)[0], rand(2, 3))
case("unbind", lambda x: x.unbind(1)[0] * x.unbind(1)[1], rand(2, 2, 3))
case("flip", lambda x: x.flip(0, 2), rand(2, 3, 2))
for d in (0, 1, -1):
    case(f"tril {d}", lambda x: x.tril(d), rand(2, 3, 4))
    case(f"triu {d}", lambda x: x.triu(d), rand(4, 3))
case("tril 0", lambda x: x.tril(0), floats(1, nan, inf, 2).reshape(2, 2))
case("one_hot", lambda i: F.one_hot(i, 4), ids(4, 2, 3))
case("gather", lambda x, i: x.gather(1, i), rand(2, 4), ids(4, 2, 6))
case("gather", lambda x, i: x.gather(1, i), rand(2, 3, 2), ids(3, 2, 1, 2))
case("gather", lambda x, i: x.gather(1, i), rand(2, 3), torch.zeros(2, 0, dtype=torch.int64))
case("scatter_add", lambda x, i, s: x.scatter_add(1, i, s), rand(2, 3), ids(3, 2, 5), rand(2, 5))
case("scatter_add", lambda x, i, s: x.scatter_add(1, i, s), rand(2, 3, 2), ids(3, 2, 4, 2), rand(2, 4, 2))
case("index_select 0", lambda x, i: x.index_select(0, i), rand(3, 2, 2), ids(3, 5))
case("index_select 0", lambda x, i: x.index_select(0, i), rand(3), ids(3, 4))
case("index_select 1", lambda x, i: x.index_select(1, i), rand(2, 3, 2), ids(3, 4))
case("embedding", lambda w, i: F.embedding(i, w), rand(3, 2), ids(3, 2, 2))
for falling in (0, 1):
    for x in (rand(2, 5), floats(1, 2, 1, 2, nan, 0, -0.0, inf, -inf, 1).reshape(2, 5)):
        case(f"sort {falling}", lambda x: x.sort(dim=1, descending=bool(falling), stable=True)[0], x)
        case(f"argsort {falling}", lambda x: x.sort(dim=1, descending=bool(falling), stable=True)[1], x.detach(), constants=(0,))
case("top_k", lambda x: x.topk(2, 1)[0], floats(3, 1, 4, 1.5, 9, 2, 6, 5, nan, -inf).reshape(2, 5))
for x in (floats(3, 1, 4, 4, 1, 2, nan, 5).reshape(2, 4), floats(0.0, -0.0, inf, inf).reshape(1, 4)):
    case("argmax", lambda x: x.argmax(1), x, constants=(0,))
    case("argmin", lambda x: x.argmin(1), x, constants=(0,))
for formula, shapes in {"bij,bjk->bik": ((2, 2, 3), (2, 3, 2)), "ij->ji": ((2, 3),), "i,j->ij": ((2,), (3,)),
                        "ij,ij->": ((2, 3), (2, 3)), "ij->": ((2, 3),), "bhqd,bhkd->bhqk": ((1, 2, 2, 3), (1, 2, 3, 3)),
                        "ij,jk,kl->il": ((2, 2), (2, 3), (3, 2)), "ij,kj": ((2, 3), (2, 3)), "b,bij->ij": ((2,), (2, 2, 2)),
                        "ij,j->ij": ((2, 3), (3,)), "bnm,ank->bmk": ((2, 2, 2), (3, 2, 2))}.items():
    case("einsum " + formula, lambda *x: torch.einsum(formula, *x), *[rand(*shape) for shape in shapes])

# ---- Products and normalisation ----------------------------------------------------------------------

case("matmul", torch.matmul, rand(2, 1, 2, 3), rand(3, 2))
case("matmul", torch.matmul, rand(2, 0), torch.zeros(0, 2, dtype=torch.float64))
case("linear", lambda x, w, b: x @ w + b, rand(2, 3), rand(3, 2), rand(2))
case("softmax", lambda x: x.softmax(1), rand(2, 3, 2))
case("softmax", lambda x: x.softmax(1), floats(1000, -1000, 0, -inf, 1, 2).reshape(2, 3))
case("log_softmax", lambda x: x.log_softmax(1), rand(2, 3, 2))
case("log_softmax", lambda x: x.log_softmax(1), floats(1000, -1000, 0, 3, 1, 2).reshape(2, 3))
case("layer_norm", lambda x, w, b: F.layer_norm(x, (3,), w, b), rand(2, 3), rand(3), rand(3))
case("rms_norm", lambda x, w: F.rms_norm(x, (3,), w, 1e-5), rand(2, 3), rand(3))

# ---- Losses ------------------------------------------------------------------------------------------

loss("mse_loss", F.mse_loss)
loss("l1_loss", F.l1_loss, special=[(1, 1), (inf, 1)])
loss("huber_loss", lambda x, t, **k: F.huber_loss(x, t, delta=0.75, **k), special=[(1, 1), (1.75, 1), (0.25, 1), (inf, 1)])
loss("smooth_l1_loss", lambda x, t, **k: F.smooth_l1_loss(x, t, beta=0.5, **k), special=[(1, 1), (1.5, 1), (0.5, 1)])
loss("smooth_l1_loss 0", lambda x, t, **k: F.smooth_l1_loss(x, t, beta=0, **k))
loss("binary_cross_entropy", F.binary_cross_entropy_with_logits, low=0, high=1,
     special=[(100, 0), (100, 1), (-100, 0), (-100, 1), (0, 0.5), (1e30, 1), (-1e30, 0)])
loss("kl_divergence", F.kl_div, low=0.0625, high=1, special=[(-1, 1), (-1000, 0.5)])
case("kl_divergence none", lambda x, t: F.kl_div(x, t, reduction="none"), floats(-1, 2), floats(0, 0), constants=(1,))
for form in ("mean", "sum", "none"):
    for text, options in {"": {}, " smooth": {"label_smoothing": 0.25}, " weights": {"weight": True},
                          " both": {"weight": True, "label_smoothing": 0.5}}.items():
        targets = torch.tensor([3, 0, 1, -100, 2])
        case(f"cross_entropy {form}{text}",
             lambda x, t, w: F.cross_entropy(x, t, reduction=form,
                                             **{k: w if k == "weight" else v for k, v in options.items()}),
             rand(5, 4), targets, floats(0.5, 2, 1, 0.25), constants=(2,))
case("cross_entropy mean", lambda x, t, w: F.cross_entropy(x, t), rand(2, 4), torch.tensor([-100, -100]),
     floats(1, 1, 1, 1), constants=(2,))
case("cross_entropy sum", lambda x, t, w: F.cross_entropy(x, t, reduction="sum"), floats(1000, -1000, 0).reshape(1, 3),
     torch.tensor([1]), floats(1, 1, 1), constants=(2,))
case("arange", lambda: torch.arange(-1, 2, 0.4, dtype=torch.float64))
case("linspace", lambda: torch.linspace(-1, 2, 7, dtype=torch.float64))

# ---- Windows ---------------------------------------------------------------------------------------

TIES = floats(*[2, 1, 2, 2, 0, 2, 2, 2, 1, 1, 1, 1, -inf, -inf, 3, nan, -inf, -inf, 0.5, 3]).reshape(1, 1, 4, 5)
for x in (rand(1, 2, 5, 6), TIES, torch.zeros(0, 2, 5, 6, dtype=torch.float64)):
    case("max_pool2d 2x2", lambda x: F.max_pool2d(x, 2), x)
    case("max_pool2d 3x2", lambda x: F.max_pool2d(x, (3, 2), (1, 2), (1, 1)), x)
    case("max_pool2d dilated", lambda x: F.max_pool2d(x, (2, 3), (2, 1), 0, (2, 2)), x)
    case("average_pool2d 2x2", lambda x: F.avg_pool2d(x, 2), x)
    case("average_pool2d 3x2", lambda x: F.avg_pool2d(x, (3, 2), (1, 2), (1, 1)), x)
    case("average_pool2d uncounted", lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (1, 1), count_include_pad=False), x)
case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), rand(1, 2, 7))
case("average_pool1d", lambda x: F.avg_pool1d(x, 3, 2, 1), rand(1, 2, 7))
case("pad", lambda x: F.pad(x, (1, 3, 2, 0), value=0.5), rand(2, 2, 3))
case("pad", lambda x: F.pad(x, (1, 3, 2, 0), value=0.5), torch.zeros(2, 0, 3, dtype=torch.float64))
case("pad cropped", lambda x: F.pad(x, (-1, 1, 1, -2)), rand(2, 3, 3))
case("unfold", lambda x: F.unfold(x, (2, 3), padding=(1, 0)), rand(1, 2, 2, 3))
case("unfold", lambda x: F.unfold(x, (2, 3), padding=(1, 0)), torch.zeros(0, 2, 2, 3, dtype=torch.float64))
case("unfold strided", lambda x: F.unfold(x, 2, dilation=(2, 1), padding=(0, 1), stride=(2, 3)), rand(1, 2, 4, 5))

for shape in ((2, 4, 3), (3, 4), (2, 4, 2, 2)):
    case("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=1e-2), rand(*shape), rand(4), rand(4))
    case("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b, eps=1e-2), rand(*shape), rand(4), rand(4))
case("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=1e-2), floats(*[3] * 6).reshape(2, 1, 3), rand(1), rand(1))
