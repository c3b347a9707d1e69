#!/usr/bin/env python3
"""How soon a run reaches a loss, and how low it comes, by recipe and over seeds: benches/recipe.py [options].

Each line is a way to learn a text, trained anew for each seed: the loss over the whole validation split, in windows of the
context's length, by `eval`, its mean and deviation over the seeds; the probability that the true mean is not below the target, by
Student's one-sided t-test; the seconds from starting the program to the report in which the validation loss is at the target
or below. An equivalent is a batch of 64 rows of 64 tokens.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = {
    **{f"ngram {order}": ("ngram", f"--order {order}") for order in (3, 5, 6, 8, 10, 12, 16)},
    "kalevala": ("gpt", ""),
    "kalevala on counts": ("gpt", "--prior 12"),
    "fast": ("gpt", "--preset fast"),
    "fast, 36 equivalents": ("gpt", "--preset fast --batch 8 --iters 288"),
    "fast without counts": ("gpt", "--preset fast --prior 0"),
    "without counts": (
        "gpt",
        "--iters 1200 --batch 16 --value-rows 2704 --gram-rows 65536 --final-norm yes --zero-init yes"
        " --attention-scale-by head --init-deviation 0.1 --optimizer muon --muon-lr 0.025 --table-lr 0.08 --beta2 0.99"
        " --weight-decay 0.1 --schedule linear --cooldown 0.6 --patience 1000 --eval-batches 0",
    ),
    "best": ("gpt", "--preset best"),
    "best without counts": ("gpt", "--preset best --prior 0"),
    "best, 10 s": ("gpt", "--preset best --time 10s"),
    "best, 60 s": ("gpt", "--preset best --time 60s"),
    "best, 300 s": ("gpt", "--preset best --time 300s"),
}
REPORT = re.compile(r"Iter (\d+) - .*Validation loss: ([0-9.]+)")


def student(t, freedom):
    """P(T > t), by the trapezoidal rule over t = sqrt(n) tan(a), where the density is cos^(n-1)(a) up to a factor."""
    steps = 20000
    grid = [-math.pi / 2 + math.pi * i / steps for i in range(steps + 1)]
    density = [math.cos(a) ** (freedom - 1) if freedom > 1 else 1.0 for a in grid]
    above = sum(d for a, d in zip(grid, density) if math.sqrt(freedom) * math.tan(a) > t)
    return above / sum(density)


def p_value(losses, target):
    """That the mean is at or above the target, if it were so."""
    if len(losses) < 2 or statistics.stdev(losses) == 0:
        return None
    t = (target - statistics.mean(losses)) / (statistics.stdev(losses) / math.sqrt(len(losses)))
    return student(t, len(losses) - 1)


def train(build, program, options, seed, data, target, folder):
    """A run: its iterations, tokens, seconds in all and to the target, and the loss of its best weights."""
    command = [f"{build}/models/{program}", "train", "--data", data, "--out", folder, "--force", "--seed", str(seed)]
    begin = time.monotonic()
    run = subprocess.Popen(
        [*command, "--sample-tokens", "0", *options.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    reached = None
    for line in run.stdout:
        found = REPORT.match(line)
        if found and reached is None and float(found[2]) <= target:
            reached = time.monotonic() - begin
    said = run.stderr.read()
    if run.wait() != 0:
        sys.exit(f"recipe: {' '.join(command)} {options}: {said.strip().splitlines()[-1]}")
    seconds = time.monotonic() - begin
    about = json.loads(subprocess.check_output([command[0], "info", "--json", f"{folder}/last.safetensors"], text=True))
    meta = about["metadata"]
    measured = json.loads(subprocess.check_output([command[0], "eval", "--json", folder], text=True))
    iterations = int(meta["train.iteration"])
    tokens = iterations * int(meta.get("train.batch", 0)) * int(meta.get("train.accumulate", 1)) * int(meta["context_length"])
    return iterations, tokens, seconds, reached, measured["loss"], measured.get("loss_of_counts")


def peak(build):
    """The machine's multiply-adds, in words."""
    try:
        with tempfile.NamedTemporaryFile() as record:
            subprocess.run(
                [f"{build}/benches/peak", "--quick", "--json", record.name], check=True, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            text = record.read().decode()
        rates = [float(x) for x in re.findall(r'"per_thread": ([0-9.]+)', text)]
        return f"peak {max(rates):.0f} GFLOP/s a core" if rates else "peak not measured"
    except (OSError, subprocess.CalledProcessError):
        return "peak not measured"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "build"), help="the build folder")
    parser.add_argument("--data", help="the text; the default one of the programs unless given")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each recipe (default %(default)s)")
    parser.add_argument("--target", type=float, default=1.479, help="a loss to reach (default %(default)s, the published one)")
    parser.add_argument("--only", action="append", metavar="NAME", help="this recipe; may be given several times")
    parser.add_argument("--more", default="", metavar="OPTIONS", help="further options of train for each GPT, such as '--iters 100'")
    parser.add_argument("--list", action="store_true", help="list the recipes")
    parser.add_argument("--json", metavar="FILE", help="record every run, an object a line")
    q = parser.parse_args()
    if q.list:
        print("\n".join(f"{name:20} {program} train {options}" for name, (program, options) in RECIPES.items()))
        return
    unknown = [name for name in q.only or [] if name not in RECIPES]
    if unknown or q.seeds < 1:
        parser.error(f"there is no recipe '{unknown[0]}'; --list names them" if unknown else "--seeds needs 1 at least")
    data = q.data or os.path.join(HERE, "..", "models", "data", "kalevala.txt")
    if not os.path.exists(data):
        sys.exit(f"recipe: {data} is not there; --data names a text, and models/data/get-kalevala fetches the Kalevala")
    record = open(q.json, "w", encoding="utf-8") if q.json else None
    print(f"{os.path.basename(data)}, {q.seeds} seeds, target {q.target}; {peak(q.build)}")
    print(f"{'recipe':20} {'iters':>6} {'equiv.':>7} {'to target':>9} {'seconds':>8} {'loss':>7} {'dev.':>7} {'counts':>7} {'p':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name in q.only or RECIPES:
            program, options = RECIPES[name]
            options += f" {q.more}" if program == "gpt" else ""
            runs = []
            for seed in range(1, (1 if program == "ngram" else q.seeds) + 1):  # counting has nothing random
                if sys.stderr.isatty():
                    print(f"\r{name}, seed {seed} ...\033[K", end="", file=sys.stderr, flush=True)
                runs.append(train(q.build, program, options, seed, data, q.target, os.path.join(folder, "run")))
                if record:
                    keys = ("iterations", "tokens", "seconds", "to_target", "loss", "loss_of_counts")
                    print(json.dumps({"recipe": name, "seed": seed, **dict(zip(keys, runs[-1]))}), file=record, flush=True)
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            losses, reached = [r[4] for r in runs], [r[3] for r in runs]
            soon = f"{statistics.median(reached):.2f}" if None not in reached else "-"
            p = p_value(losses, q.target)
            print(
                f"{name:20} {runs[0][0]:6} {runs[0][1] / 4096:7.0f} {soon:>9} {statistics.median(r[2] for r in runs):8.2f}"
                f" {statistics.mean(losses):7.4f} {statistics.stdev(losses) if len(losses) > 1 else 0:7.4f}"
                f" {'' if runs[0][5] is None else format(runs[0][5], '.4f'):>7} {'' if p is None else format(p, '.1e'):>8}",
                flush=True,
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
