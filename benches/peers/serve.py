"""What a peer answers: "step N" on stdin with the seconds of the median step, "sample N" with the seconds a token."""

import sys
import time


def serve(name, step, sample):
    for _ in range(3):
        step()
    sample(2)
    print("ready:", name, flush=True)
    for line in sys.stdin:
        what, count = line.split()[0], int(line.split()[1])
        times = []
        for _ in range(count if what == "step" else 1):
            start = time.perf_counter()
            if what == "step":
                step()
            else:
                sample(count)
            times.append(time.perf_counter() - start)
        times.sort()
        print(times[len(times) // 2] / (1 if what == "step" else count), flush=True)
