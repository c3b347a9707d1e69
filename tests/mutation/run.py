#!/usr/bin/env python3
"""Breaks the code on purpose, one place at a time, and runs the tests that must notice.

    tests/mutation/run.py [--list] [WORD...]

Each mutant of mutants.txt is made in a copy of the tree, built, and given to the suite that it names, with that suite's
filter. One whose tests still pass has survived: a test is missing. WORDs choose the mutants whose file or text has one of
them. With --list they are listed, and looked for in the tree. Equivalents are breaks that no test can see, with the reason; they
are not run. The exit status is 1 where a mutant survived or could not be made. About half a minute each on two cores; BUILD
names the folder of the copy, which stays for the next time.

The form of mutants.txt: a line "FILE | SUITE | FILTER" or "FILE | equivalent | REASON", lines "- old" and "+ new", of
which the old ones stand in the file exactly once (indentation and all but the first blank count), and an empty line."""
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COPY = os.environ.get("BUILD", os.path.join(ROOT, "build-mutation"))
LIMIT = 240  # seconds: what hangs is noticed, too


def read():
    mutants = []
    with open(os.path.join(HERE, "mutants.txt"), encoding="utf-8") as file:
        for block in re.split(r"\n\s*\n", file.read()):
            lines = [line for line in block.splitlines() if not line.startswith("#")]
            if not lines:
                continue
            path, suite, what = (part.strip() for part in lines[0].split("|", 2))
            old = "\n".join(line[2:] for line in lines[1:] if line.startswith("-"))
            new = "\n".join(line[2:] for line in lines[1:] if line.startswith("+"))
            mutants.append((path, suite, what, old, new))
    return mutants


def call(*command, limit=None, **options):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False, **options)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return 124, ""


def copy():
    """The tree as it stands, with few instruction sets, as a break in a kernel is built for each."""
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True).stdout
    for name in names.decode().split("\n")[:-1]:
        source, target = os.path.join(ROOT, name), os.path.join(COPY, "tree", name)
        with open(source, "rb") as file:
            content = file.read()
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target) or open(target, "rb").read() != content:
            with open(target, "wb") as file:
                file.write(content)
            shutil.copymode(source, target)
    if not os.path.exists(COPY + "/build/build.ninja"):
        status, output = call("meson", "setup", COPY + "/build", COPY + "/tree", "-Doptimization=1", "-Disas=avx2",
                              "-Dbenches=false", "-Db_ndebug=false")
        if status:
            sys.exit(output)


def test(suite, words):
    """The status of building and of running: (built, passed, output)."""
    program = "tests/fuzz/fuzz_" + suite[5:] if suite.startswith("fuzz ") else "tests/test_" + suite
    status, output = call("ninja", "-C", COPY + "/build", program)
    if status:
        return False, False, output
    environment = dict(os.environ, SAMPO_ISA=os.environ.get("SAMPO_ISA", "avx2"))
    if suite.startswith("fuzz "):
        runs = [[os.path.join(HERE, "../fuzz/seeds", suite[5:])]]
    else:
        runs = [["--filter", word] for word in words.split()]
    for arguments in runs:
        status, output = call(os.path.join(COPY, "build", program), *arguments, limit=LIMIT, env=environment)
        if status:
            return True, False, output
    return True, True, output


def main():
    arguments = sys.argv[1:]
    only_list = "--list" in arguments
    words = [word for word in arguments if word != "--list"]
    mutants = [m for m in read() if not words or any(word in m[0] + m[3] + m[4] for word in words)]
    if only_list:
        gone = 0
        for path, suite, what, old, new in mutants:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                count = file.read().count(old)
            print(f"{path} | {suite} | {what}\n- {old}\n+ {new}\n" + ("" if count == 1 else f"NOT SO: it stands there {count} times\n"))
            gone += count != 1
        return 1 if gone else 0
    copy()
    killed, survived, broken, equivalent = 0, [], [], 0
    passes = {}
    for path, suite, what, old, new in mutants:
        if suite == "equivalent":
            equivalent += 1
            continue
        where = os.path.join(COPY, "tree", path)
        with open(where, encoding="utf-8") as file:
            text = file.read()
        name = f"{path}: {new.strip() or 'without ' + old.strip()}".replace("\n", " ")
        if text.count(old) != 1:
            broken.append(f"{name}: the old text stands there {text.count(old)} times")
            continue
        if (suite, what) not in passes:
            built, passed, output = test(suite, what)
            passes[suite, what] = built and passed
            if not passes[suite, what]:
                print(output[-2000:])
        begun = time.time()
        with open(where, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        try:
            built, passed, output = test(suite, what)
        finally:
            with open(where, "w", encoding="utf-8") as file:
                file.write(text)
        if not passes[suite, what]:
            broken.append(f"{name}: {suite} {what} fails without it")
        elif not built:
            broken.append(f"{name}: does not build: {output[-300:]}")
        elif passed:
            survived.append(name)
            print(f"SURVIVED {name} ({suite} {what})", flush=True)
        else:
            killed += 1
            print(f"killed   {name} ({time.time() - begun:.0f} s)", flush=True)
    for name in broken:
        print(f"BROKEN   {name}")
    print(f"{killed} killed, {len(survived)} survived, {len(broken)} could not be made, {equivalent} equivalents")
    return 1 if survived or broken else 0


if __name__ == "__main__":
    sys.exit(main())
