#!/usr/bin/env python3
"""Writes optim_values.h: what torch.optim makes of twelve numbers in twenty steps, in float64. Lion, which PyTorch lacks, is
its authors' formula. The last two are averages of weights. Run it beside that file: ./make_optim.py > optim_values.h"""
import torch

STEPS, COUNT = 20, 12
weights = [((37 * i + 11) % 61) / 30 - 1 for i in range(COUNT)]


def gradient(step):
    return torch.tensor([((53 * i + 17 * step + 5) % 71) / 35 - 1 for i in range(COUNT)], dtype=torch.float64)


def lion(p, rate, beta1, beta2, decay):
    m = torch.zeros_like(p)
    for step in range(STEPS):
        g = gradient(step)
        p = p * (1 - rate * decay) - rate * torch.sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g
    return p


def run(make):
    p = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    optimizer = make([p])
    for step in range(STEPS):
        p.grad = gradient(step)
        optimizer.step()
    return p.detach()


def averaged(multi_avg_fn):
    """The average of the weights after each step of SGD."""
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(torch.tensor(weights, dtype=torch.float64))
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=multi_avg_fn)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        model.p.grad = gradient(step)
        optimizer.step()
        average.update_parameters(model)
    return average.module.p.detach()


o = torch.optim
cases = {
    "sgd": run(lambda p: o.SGD(p, lr=0.05)),
    "sgd decay": run(lambda p: o.SGD(p, lr=0.05, weight_decay=0.1)),
    "sgd momentum": run(lambda p: o.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1)),
    "adamw": run(lambda p: o.AdamW(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)),
    "adam": run(lambda p: o.Adam(p, lr=0.05)),
    "adam decay": run(lambda p: o.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.1)),
    "rmsprop": run(lambda p: o.RMSprop(p, lr=0.05)),
    "rmsprop decay": run(lambda p: o.RMSprop(p, lr=0.05, alpha=0.9, eps=1e-3, weight_decay=0.1)),
    "rmsprop momentum": run(lambda p: o.RMSprop(p, lr=0.05, alpha=0.9, weight_decay=0.1, momentum=0.5)),
    "adagrad": run(lambda p: o.Adagrad(p, lr=0.05)),
    "adagrad decay": run(lambda p: o.Adagrad(p, lr=0.05, lr_decay=0.1, weight_decay=0.1)),
    "lion": lion(torch.tensor(weights, dtype=torch.float64), 0.05, 0.9, 0.99, 0),
    "lion decay": lion(torch.tensor(weights, dtype=torch.float64), 0.05, 0.8, 0.95, 0.1),
    "mean": averaged(o.swa_utils.get_swa_multi_avg_fn()),
    "moving average": averaged(o.swa_utils.get_ema_multi_avg_fn(0.9)),
}
print("/* Made by make_optim.py with PyTorch", torch.__version__.split("+")[0] + ". */")
for name, values in cases.items():
    print('{"%s",\n {%s}},' % (name, ",\n  ".join(", ".join("%.9f" % v for v in values[i : i + 6]) for i in (0, 6))))
