#!/usr/bin/env python3
"""Makes every call of the programs fail that can fail, one at a time: inject.py BUILD [--every N] [--only PART].

Each scenario below runs with the first call of a kind failing, with the second, and so on until none is left to fail; and so
for each kind and each fault that it can have. Whatever fails, the program ends with status 1 and a line that says why, or
with the complete right result. It is ended by no signal and keeps no memory; what was in the folder before is whole; and the same
command, or --resume, without a fault then ends with the bytes of a run that was never disturbed.

--every N makes only each Nth of the calls fail; --only names a part, "train" or "export:write:EIO"."""
import argparse
import concurrent.futures
import errno
import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tty

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("build", help="the build folder")
parser.add_argument("--every", type=int, default=1, help="make each Nth call fail")
parser.add_argument("--only", default="", help="those whose name has this: scenario:kind:fault")
parser.add_argument("--jobs", type=int, default=os.cpu_count())
options = parser.parse_args()
build = os.path.abspath(options.build)
library = os.path.join(build, "tests", "libinject.so")

# ---- What can fail, and how: "+" means from then on -------------------------------------------------------
FAULTS = {
    "memory": ["ENOMEM", "ENOMEM+"],
    "thread": ["EAGAIN", "EAGAIN+"],
    "open": ["EACCES", "EMFILE", "EIO", "ENOMEM", "EINTR", "EACCES+"],
    "read": ["EIO", "EINTR", "short", "short+", "EIO+"],
    "write": ["ENOSPC", "EIO", "EINTR", "short", "short+", "ENOSPC+"],
    "sync": ["EIO", "ENOSPC", "EINTR"],
    "rename": ["EIO", "ENOSPC", "EACCES"],
    "close": ["EIO", "EINTR"],
    "cut": ["EIO", "EINTR"],
    "map": ["ENOMEM", "EACCES", "ENOMEM+"],
    "unlink": ["EIO", "EACCES"],
    "stat": ["EACCES", "EIO", "ENOMEM"],
    "folder": ["EACCES", "ENOSPC"],
    "seek": ["EIO"],
    "lock": ["EIO", "EINTR", "ENOLCK"],
    "pipe": ["EMFILE"],
    "link": ["EACCES", "ENOMEM"],
}

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")

# ---- The scenarios -------------------------------------------------------------------------------------------
TEXT = "".join(f"the cat sat on the mat, number {i}\n" for i in range(60))
TINY = "--data text --context 8 --batch 4 --layers 1 --heads 2 --width 8 --eval-batches 2 --eval-every 2 --sample-tokens 10"
RESUME = "gpt train --resume run --threads 1"


class Scenario:
    """A command, what it reads, and what must be there before it; `again`: what completes its work after a fault, as far as
    there is a checkpoint to go on from."""

    def __init__(self, command, before=(), stdin="", again=None, terminal=False, is_ours=True):
        self.command, self.before, self.stdin, self.again = command.split(), [b.split() for b in before], stdin, again
        self.terminal, self.is_ours = terminal, is_ours


SCENARIOS = {
    "train": Scenario(f"gpt train {TINY} --iters 6 --out run --threads 1", again=RESUME),
    "resume": Scenario("gpt train --resume run --iters 8 --threads 1", [f"gpt train {TINY} --iters 5 --out run --threads 1"]),
    "threads": Scenario(f"gpt train {TINY} --iters 4 --out run --threads 3 --accumulate 2 --dropout 0.1", again=RESUME),
    "bpe": Scenario(f"gpt train {TINY} --iters 3 --out run --tokenizer bpe --vocab-size 270 --threads 1", again=RESUME),
    "input": Scenario(f"gpt train {TINY.replace('text', '-', 1)} --iters 3 --out run --threads 1", stdin=TEXT, again=RESUME),
    "own folder": Scenario(f"gpt train {TINY} --iters 2 --threads 1"),
    "counts": Scenario("ngram train --data text --out run --threads 1"),
    "sample": Scenario("gpt sample run --tokens 12 --samples 3 --prompt the --threads 1", ["RUN"]),
    "prompt": Scenario("gpt sample run/best.safetensors --config options --prompt - --threads 1", ["RUN"], "the cat"),
    "interactive": Scenario("gpt sample run --interactive --tokens 6 --threads 1", ["RUN"], "the\ncat\n\nmat\n"),
    "terminal": Scenario("gpt sample run --interactive --tokens 6 --threads 1", ["RUN"], "the\x1b[Dat\x7f\r\x1b[A\r\x04", terminal=True),
    "published": Scenario(f"gpt eval {FIXTURES}/gpt2 --data text --threads 1"),
    "vocabulary": Scenario(f"gpt train {TINY} --iters 2 --out run --tokenizer {FIXTURES}/bpe --data options --threads 1", again=RESUME),
    "init": Scenario(f"gpt train {TINY} --iters 2 --out new --init run --average 2 --optimizer muon --threads 1", ["RUN"],
                     again=RESUME.replace("run", "new")),
    "eval": Scenario("gpt eval run --threads 2", ["RUN"]),
    "info": Scenario("gpt info run", ["RUN"]),
    "plot": Scenario("gpt plot run --svg loss.svg", ["RUN"]),
    "report": Scenario("gpt report run --threads 1", ["RUN"]),
    "reports": Scenario("gpt report run other --html both.html --threads 1", ["RUN", f"gpt train {TINY} --iters 2 --out other"]),
    "export": Scenario("gpt export run folder", ["RUN"]),
    "gguf": Scenario("gpt export run --gguf model.gguf", ["RUN"]),
    "quantize": Scenario("gpt quantize run --out small.safetensors", ["RUN"]),
    "library": Scenario("circle", is_ours=False),
}
RUN = f"gpt train {TINY} --iters 5 --out run --threads 1"
PLACES = {"circle": "tests"}


def program(word):
    return os.path.join(build, PLACES.get(word, "models"), word)


# ---- Running a command ---------------------------------------------------------------------------------------
class Outcome:
    def __init__(self, status, stdout, stderr, report):
        self.status, self.stdout, self.stderr = status, stdout, stderr.decode(errors="replace")
        words = dict(line.split() for line in report.decode().splitlines())
        self.fired, self.left = "fired" in words, int(words.get("left", -1))


def has_terminal():
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError:
        return False
    return True


def at_terminal(command, keys, **how):
    """As subprocess.run, with standard input and output at a terminal at which the keys are typed ahead."""
    ours, its = pty.openpty()
    tty.setraw(its)
    os.write(ours, keys)
    output = b""
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=subprocess.PIPE, **how) as child:
        os.close(its)
        watch = threading.Timer(60, child.kill)
        watch.start()
        try:
            while data := os.read(ours, 65536):
                output += data
        except OSError:  # Linux says so that the other end is closed
            pass
        error = child.stderr.read()
        status = child.wait()
        os.close(ours)
        if not watch.is_alive():
            raise subprocess.TimeoutExpired(command, 60)
        watch.cancel()
    return subprocess.CompletedProcess(command, status, output, error)


def run(words, folder, stdin="", fault="", terminal=False):
    """Runs a command in a folder with a fault; None: it does not end."""
    reading, writing = os.pipe()
    how = {"cwd": folder, "pass_fds": [writing],
           "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", "TERM": "xterm", "TMPDIR": folder, "LD_PRELOAD": library,
                   "SAMPO_FAULT": fault, "SAMPO_FAULT_REPORT": str(writing)}}
    command = [program(words[0]), *words[1:]]
    try:
        if terminal:
            done = at_terminal(command, stdin.encode(), **how)
        else:
            done = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=60, check=False, **how)
        os.close(writing)
        writing = -1
        return Outcome(done.returncode, done.stdout, done.stderr, os.read(reading, 4096))
    except subprocess.TimeoutExpired:
        return None
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def contents(folder):
    """The files of a folder by name, without what depends on the time: the speeds in a log, the starts of a run; nor a lock, which
    is no obstacle."""
    files = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                data = file.read()
            if name == "log.csv":
                data = b"\n".join(b",".join(f for i, f in enumerate(row.split(b",")) if i not in (4, 7)) for row in data.split(b"\n"))
            if name not in ("run.txt", ".lock"):
                files[os.path.relpath(path, folder)] = data
    return files


def digest(files):
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def differing(a, b):
    return ", ".join(sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name)))


# ---- Judging it ----------------------------------------------------------------------------------------------
def reason_is_clear(outcome, name, fault):
    """The last line is the program's, and says what failed."""
    last = (outcome.stderr.strip().splitlines() or [""])[-1]
    if not last.startswith(name + ": "):
        return False
    error = fault.rstrip("+")
    words = {"ENOMEM": "memory|allocate|" + os.strerror(errno.EAGAIN), "short": ""}.get(error)
    text = os.strerror(getattr(errno, error)) if words is None else words
    return bool(re.search(text + "|some of it was lost", last))  # of a stream nobody knows why it failed before


class Bench:
    """One scenario: how it begins, its right result, what was seen already."""

    def __init__(self, name, scratch):
        self.name, self.scenario = name, SCENARIOS[name]
        self.scratch = scratch
        self.template = tempfile.mkdtemp(dir=scratch)
        with open(os.path.join(self.template, "text"), "w", encoding="utf-8") as file:
            file.write(TEXT)
        with open(os.path.join(self.template, "options"), "w", encoding="utf-8") as file:
            file.write("# short\ntokens = 9\n")
        for words in self.scenario.before:
            done = run(RUN.split() if words == ["RUN"] else words, self.template)
            assert done and done.status == 0, (words, done and done.stderr)
        self.before = contents(self.template)
        folder = self.fresh()
        self.right = self.run(folder)
        assert self.right and self.right.status == 0, (self.scenario.command, self.right and self.right.stderr)
        self.after = contents(folder)
        shutil.rmtree(folder)
        self.seen = {digest(self.after): "", digest(self.before): ""}

    def run(self, folder, fault=""):
        s = self.scenario
        return run(s.command, folder, s.stdin, fault, s.terminal)

    def fresh(self):
        folder = tempfile.mkdtemp(dir=self.scratch)
        shutil.copytree(self.template, folder, dirs_exist_ok=True)
        return folder

    def completes(self, folder, files):
        """After a failure: whether the command that goes on ends as if nothing had been; "" or what is wrong."""
        key = digest(files)
        if key not in self.seen:
            self.seen[key] = self.completed(folder)
        return self.seen[key]

    def completed(self, folder):
        words = self.scenario.command
        if self.scenario.again and os.path.exists(os.path.join(folder, self.scenario.again.split()[3], "last.safetensors")):
            words = self.scenario.again.split()
        elif words[1] == "train" and "--out" in words or words[1] == "export":
            words = [*words, "--force"]
        done = run(words, folder, self.scenario.stdin, terminal=self.scenario.terminal)
        if not done or done.status != 0:
            return f"what goes on fails: {done.stderr.splitlines()[-1:] if done else 'it does not end'}"
        now = contents(folder)
        wanted = {**self.before, **self.after}
        if "--out" not in words and words[1] == "train" and "--resume" not in words:
            return ""  # a folder of a further number
        return f"what goes on ends otherwise: {differing(now, wanted)}" if now != wanted else ""

    def judge(self, outcome, folder, kind, fault):
        """What is wrong with an outcome; "": nothing."""
        if outcome is None:
            return "it does not end"
        if outcome.status < 0:
            return f"signal {-outcome.status}"
        for name in os.listdir(folder):
            if name.startswith("sampo-") and outcome.status == 1 and name in outcome.stderr:
                os.remove(os.path.join(folder, name))  # it could not, and has said so
        files = contents(folder)
        if outcome.status == 0:
            if outcome.stdout != self.right.stdout:
                return "status 0, and another output"
            if files != self.after:
                return f"status 0, and other files: {differing(files, self.after)}"
            return ""
        if outcome.status != 1:
            return f"status {outcome.status}"
        if self.scenario.is_ours:
            if not reason_is_clear(outcome, self.scenario.command[0], fault):
                return "no clear line"
            if outcome.left > self.right.left:
                return f"{outcome.left - self.right.left} pieces of memory are lost"
        return self.completes(folder, files)

    def attack(self, kind, fault, offset):
        """All calls of a kind, or each Nth of them; returns how many failed, and the findings."""
        findings, number, count = [], 1 + offset, 0
        error = fault.rstrip("+")
        value = error if error == "short" else getattr(errno, error)
        while True:
            folder = self.fresh()
            text = f"{kind}:{number}{'+' if '+' in fault else ''}:{value}"
            outcome = self.run(folder, text)
            if outcome and outcome.status == 77:
                print("skipped: this system does not let a program filter its calls")
                os._exit(77)
            if outcome and not outcome.fired:
                shutil.rmtree(folder)
                return count, findings
            count += 1
            wrong = self.judge(outcome, folder, kind, fault)
            if wrong:
                findings.append((self.name, f"{kind}:{number}:{fault}", wrong, outcome.stderr.strip().splitlines()[-1:] if outcome else []))
            shutil.rmtree(folder)
            number += options.every


def main():
    scratch = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    total, findings, tasks = 0, [], []
    try:
        for name, scenario in SCENARIOS.items():
            if scenario.terminal and not has_terminal():
                print(f"skipped: {name}, as no terminal can be made")
                continue
            wanted = [(kind, fault) for kind, faults in FAULTS.items() for fault in faults if options.only in f"{name}:{kind}:{fault}"]
            if wanted:
                bench = Bench(name, scratch)
                tasks += [(bench, kind, fault) for kind, fault in wanted]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            waiting = {pool.submit(b.attack, kind, fault, i * 7 % options.every): b.name for i, (b, kind, fault) in enumerate(tasks)}
            for done in concurrent.futures.as_completed(waiting):
                count, found = done.result()
                total += count
                findings += found
                for finding in found:
                    print(*finding, flush=True)
    finally:
        shutil.rmtree(scratch)
    print(f"{total} faults in {len({id(b) for b, _, _ in tasks})} scenarios, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
