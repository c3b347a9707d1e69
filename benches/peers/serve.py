"""What a peer answers: "step N" on stdin with the seconds of the median step, "sample N" with the seconds a token."""

import sys
import time

DEFAULTS = {"vocabulary": 51, "context": 64, "batch": 64, "width": 64, "layers": 3, "heads": 4, "gpt2": 0}


def sizes(arguments):
    """The default GPT's sizes with those of NAME=SIZE."""
    return DEFAULTS | {name: int(size) for name, size in (argument.split("=") for argument in arguments)}


def median_step(step, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def seconds_of(sample, tokens):
    start = time.perf_counter()
    sample(tokens)
    return (time.perf_counter() - start) / tokens


def serve(name, step, sample):
    median_step(step, 3)
    print("ready:", name, flush=True)
    for line in sys.stdin:
        what, count = line.split()[0], int(line.split()[1])
        print(median_step(step, count) if what == "step" else seconds_of(sample, count), flush=True)
