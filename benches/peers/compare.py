#!/usr/bin/env python3
"""A GPT's training step and sampling beside other frameworks, in turns: benches/peers/compare.py [options].

--shape takes the names that benches/train --list prints; without it the default GPT is compared, and sampling from it.
Beside PyTorch in bfloat16 our step has its products in bfloat16, too.

Needs the built programs, and any of: PyTorch, JAX (in the Python that runs this, or --python), llama2.c's `run` with a
model (--llama2), llm.c's `train_gpt2` in a folder with its data (--llmc). What is missing is left out; where nothing is
there the exit status is 77.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, TOKENS = 10, 200  # of a peer in a turn, of the default GPT
VARIANTS = ("eager", "compile", "eager+bf16", "compile+bf16")  # of PyTorch


class Peer:
    """A framework's script, kept running."""

    def __init__(self, python, script, *args):
        command = [python, os.path.join(HERE, script), *args]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        ready = self.process.stdout.readline()
        self.name = ready[len("ready: ") :].strip()
        if not self.name and self.process.wait() != 77:
            print(f"{script} {' '.join(args)} failed: left out", file=sys.stderr)

    def ask(self, what, count):
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Sampo:
    """Our programs."""

    def __init__(self, build, threads, folder):
        self.build, self.threads, self.folder = build, threads, folder
        listing = subprocess.run([f"{build}/benches/train", "--list"], check=True, capture_output=True, text=True)
        self.shapes = {line.split()[0]: line.split()[1:] for line in listing.stdout.splitlines()}
        subprocess.run(
            [f"{build}/models/gpt", "train", "--iters", "1", "--eval-batches", "1", "--force", "--out", folder],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def step(self, model="gpt", precision="float32"):
        record = os.path.join(self.folder, "record.json")
        command = [f"{self.build}/benches/train", "--model", model, "--precision", precision, "--json", record]
        command += ["--threads", str(self.threads)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with open(record, encoding="utf-8") as file:
            return json.load(file)["rows"][0]["ms"]["median"] / 1000

    def seconds_of(self, tokens):
        command = [f"{self.build}/models/gpt", "sample", f"{self.folder}/last.safetensors", "--tokens", str(tokens)]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--threads", str(self.threads)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return time.perf_counter() - start

    def sample(self, tokens=5000):
        """Without what starting the program and loading the weights takes."""
        return (self.seconds_of(tokens + 1) - self.seconds_of(1)) / tokens


def llama2(command, threads):
    """Seconds a token, from the line that `run` prints at its end."""
    result = subprocess.run(
        shlex.split(command), capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
    )
    return 1 / float(re.search(r"tok/s: ([\d.]+)", result.stderr + result.stdout)[1])


def llmc(program, threads, steps=4):
    """Seconds of a step; the program is stopped after a few of its steps."""
    process = subprocess.Popen(
        [os.path.abspath(program)], cwd=os.path.dirname(os.path.abspath(program)), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    times = []
    for line in process.stdout:
        found = re.search(r"took ([\d.]+) ms", line)
        if found:
            times.append(float(found[1]) / 1000)
        if len(times) == steps:
            break
    process.kill()
    process.wait()
    return statistics.median(times)


def alternate(turns, ours, theirs):
    """The medians of both, of theirs / ours within a turn, and the range of that."""
    a, b = [], []
    for _ in range(turns):
        a.append(ours())
        b.append(theirs())
    ratios = sorted(y / x for x, y in zip(a, b))
    return statistics.median(a), statistics.median(b), statistics.median(ratios), ratios[0], ratios[-1]


def start_peers(options, sizes):
    """PyTorch's variants and JAX at these sizes, where they are installed."""
    threads = str(options.threads)
    for python in options.python or [sys.executable]:
        for arguments in [("torch_gpt.py", threads, variant) for variant in VARIANTS] + [("jax_gpt.py", threads)]:
            peer = Peer(python, *arguments, *sizes)
            if peer.name:
                yield peer


def comparisons(sampo, options):
    """What is compared: its text, the peer's name, our work, theirs."""
    for shape in options.shape or ["gpt"]:
        steps = STEPS if shape == "gpt" else 1
        for peer in start_peers(options, sampo.shapes[shape]):
            precision = "bf16" if "bf16" in peer.name else "float32"
            yield shape, peer.name, lambda: sampo.step(shape, precision), lambda: peer.ask("step", steps)
            if not options.shape:
                yield "token", peer.name, sampo.sample, lambda: peer.ask("sample", TOKENS)
            peer.end()
    if options.llama2:
        yield "token", "llama2.c", sampo.sample, lambda: llama2(options.llama2, options.threads)
    if options.llmc:
        yield "gpt2", "llm.c", lambda: sampo.step("gpt2"), lambda: llmc(options.llmc, options.threads)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"compare.py: {message}\n")


def command_line():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "../../build"), help="build folder (default: build)")
    parser.add_argument("--python", action="append", help="Python that has PyTorch or JAX; may be repeated")
    parser.add_argument("--shape", action="append", metavar="NAME", help="compare the step of this shape; may be repeated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--llama2", metavar="COMMAND", help="'path/run model.bin ...'; a model of its own size")
    parser.add_argument("--llmc", metavar="PROGRAM", help="path/train_gpt2, at B 4 T 64, with its data beside it")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    if options.turns < 1 or options.threads < 1:
        parser.error("--turns and --threads are 1 or more")
    if not os.path.exists(f"{options.build}/benches/train"):
        parser.error(f"{options.build} has no benches/train; build first, or name the folder with --build")
    return options


def main():
    options = command_line()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sampo = Sampo(options.build, options.threads, folder)
        for shape in options.shape or []:
            if shape not in sampo.shapes:
                print(f"compare.py: no shape {shape}; there are {', '.join(sampo.shapes)}", file=sys.stderr)
                return 2
        for what, name, ours, theirs in comparisons(sampo, options):
            if not rows:
                print(f"{options.threads} threads, {options.turns} turns\n")
                print(f"{'what':<14} {'peer':<32} {'ours ms':>9} {'theirs ms':>10} {'theirs/ours':>12}   range")
            x, y, ratio, low, high = alternate(options.turns, ours, theirs)
            print(f"{what:<14} {name:<32} {1e3 * x:9.3f} {1e3 * y:10.3f} {ratio:12.2f}   {low:.2f} to {high:.2f}", flush=True)
            rows.append({"what": what, "peer": name, "threads": options.threads, "ours_s": x, "theirs_s": y,
                         "ratio": ratio, "low": low, "high": high})
    if not rows:
        print("neither PyTorch nor JAX is installed, and no other program is named: nothing to compare")
        return 77
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"program": "peers", "rows": rows}, file, indent=1)
    return 0


try:
    sys.exit(main())
except (subprocess.CalledProcessError, OSError) as fault:
    sys.exit(f"compare.py: {fault}")
