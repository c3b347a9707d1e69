#!/usr/bin/env python3
"""Runs the program at a pseudo terminal, and types into it: test_line.py FOLDER, the one with gpt."""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

LEFT, RIGHT, UP, DOWN = "\033[D", "\033[C", "\033[A", "\033[B"
failed = 0


def check(name, right, seen=""):
    global failed
    failed += not right
    print(f"{'ok   ' if right else 'FAIL '} {name}{'' if right else ': ' + repr(seen)}")


class Terminal:
    """The program at a terminal of its own, of so many columns."""

    def __init__(self, gpt, model, *options, columns=80, term="xterm"):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.slave, self.before, self.text = slave, termios.tcgetattr(slave), ""

        def own():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        env = dict(os.environ, TERM=term)
        command = [gpt, "sample", model, "--interactive", *options]
        self.child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=own)

    def read(self, until, seconds=20):
        """What comes up to a pattern."""
        end = time.time() + seconds
        while not (found := re.search(until, self.text)) and time.time() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        if not found:
            check(f"{until!r} comes", False, self.text)
            raise SystemExit(1)
        seen, self.text = self.text[: found.end()], self.text[found.end() :]
        return seen

    def press(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def enter(self, keys):
        """Types keys and Enter; returns the line that the program took, which it writes behind a new line."""
        self.press(keys)
        self.press("\r\x01\x01")  # the next prompt shows twice more
        seen = self.read(r"\n[^\n]*\n(?:\r> \033\[K\r\033\[2C){3}")
        return seen.split("\n")[-2].strip("\r")

    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def end(self):
        status = self.child.wait(20)
        restored = termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return status, restored


def edit(gpt, model):
    t = Terminal(gpt, model, "--tokens", "0")
    said = t.read("> ")
    check("the first line names Ctrl-D", "Ctrl-D ends" in said, said)
    for name, keys, line in [
        ("a line", "the cat", "the cat"),
        ("left", "ac" + LEFT + "b", "abc"),
        ("right", "ad" + LEFT * 2 + RIGHT + "bc", "abcd"),
        ("left beyond the beginning", "b" + LEFT * 5 + "a", "ab"),
        ("right beyond the end", "a" + RIGHT * 5 + "b", "ab"),
        ("Ctrl-A, Ctrl-E", "b\x01a\x05c", "abc"),
        ("Home, End", "b\033[Ha\033[Fc", "abc"),
        ("Home, End of other terminals", "b\033[1~a\033[4~c\033OHx\033OFy", "xabcy"),
        ("with Ctrl held", "b\033[1;5Da", "ab"),
        ("backspace", "abx\x7fc", "abc"),
        ("Ctrl-H", "abx\x08c", "abc"),
        ("backspace at the beginning", "\x7fa\x01\x7fb", "ba"),
        ("delete", "axb" + LEFT * 2 + "\033[3~", "ab"),
        ("delete of nothing ends nothing", "\033[3~a", "a"),
        ("Ctrl-D in a line deletes", "axb" + LEFT * 2 + "\x04", "ab"),
        ("Ctrl-K", "abcd" + LEFT * 2 + "\x0b", "ab"),
        ("Ctrl-U", "abcd" + LEFT * 2 + "\x15", "cd"),
        ("Ctrl-W", "one two  \x17three", "one three"),
        ("Ctrl-C empties", "abc\x03d", "d"),
        ("Ctrl-L", "ab\x0cc", "abc"),
        ("letters of more bytes", "päivä" + LEFT * 3 + "\x7f" + "\x01ö", "öpivä"),
        ("wide ones", "漢字" + LEFT + "\x7f" + "か", "か字"),
        ("pictures", "a😀b" + LEFT + "\x7f", "ab"),
        ("letters with marks over them", "xe\u0301y" + LEFT * 2 + "-", "x-e\u0301y"),
        ("deleting one with its mark", "xe\u0301y" + LEFT + "\x7f", "xy"),
        ("bytes that are no UTF-8", b"a\xe4\xff\xc3b", "ab"),
        ("unknown keys", "a\033[5~\033[15~\033OP\x00\x1e\tb", "ab"),
        ("an escape alone", "a\033", "a"),
    ]:
        seen = t.enter(keys)
        check(name, seen == line, seen)
    seen = [t.enter(keys) for keys in ["first", "second", UP, UP * 2, UP * 2 + DOWN, "new" + UP + DOWN, UP * 999 + "!"]]
    check("history", seen == ["first", "second", "second", "first", "first", "new", "the cat!"], seen)
    check("keys come at once", t.raw())
    t.press("\x04")
    status = t.end()
    check("Ctrl-D ends", status == (0, True), status)


def rows(text):
    """What one row shows, written over again and again: the widest, without sequences."""
    return max((re.sub(r"\033\[[0-9]*[A-Z]", "", row) for row in text.split("\r")), key=len)


def narrow(gpt, model):
    for columns in 20, 40:
        t = Terminal(gpt, model, "--tokens", "0", columns=columns)
        t.read("> ")
        t.press("0123456789" * 20 + "\x01\x05" + LEFT * 30 + "\x07x")
        time.sleep(0.5)
        t.press("\r")
        seen = t.read("\n")
        check(f"a long line in {columns} columns stays in its row", len(rows(seen)) < columns, rows(seen))
        t.press("\x04")
        t.end()


def ends(gpt, model):
    for name, stop, expected in [
        ("SIGTERM", lambda t: t.child.send_signal(signal.SIGTERM), -signal.SIGTERM),
        ("SIGHUP", lambda t: t.child.send_signal(signal.SIGHUP), -signal.SIGHUP),
        ("SIGINT", lambda t: t.child.send_signal(signal.SIGINT), -signal.SIGINT),
    ]:
        t = Terminal(gpt, model)
        t.read(r"> \033\[K\r\033\[2C")
        stop(t)
        status = t.end()
        check(f"{name} ends, and restores the terminal", status == (expected, True), status)
    t = Terminal(gpt, model)
    t.read(r"> \033\[K\r\033\[2C")
    termios.tcflow(t.slave, termios.TCOOFF)
    t.press("a")  # the line cannot be shown: the program does not read yet
    time.sleep(0.5)
    t.child.send_signal(signal.SIGINT)
    time.sleep(0.5)
    termios.tcflow(t.slave, termios.TCOON)
    status = t.end()
    check("SIGINT just before a key is read ends, too", status == (-signal.SIGINT, True), status)

    t = Terminal(gpt, model, "--tokens", "1e9")
    t.read("> ")
    t.press("a\r")
    t.read(r"\n[^\n]{0,9}\S")
    check("the terminal is as ever while a text comes", not t.raw())
    t.press("\x03")
    t.read("\n\r> ")
    t.press("\x04")
    status = t.end()
    check("Ctrl-C stops a text, Ctrl-D then ends", status == (0, True), status)

    t = Terminal(gpt, model, "--tokens", "300", "--pace", "600")
    t.read("> ")
    t.press("a\r")
    t.read(r"\n[^\n]{0,9}\S")
    t.press("\x04")
    status = t.end()
    check("Ctrl-D while a text comes ends after it", status == (0, True), status)


def fresh(gpt, model):
    """Ctrl-C where a line is awaited gives a fresh one; only Ctrl-D ends, or a signal."""
    for term, prompt in ("xterm", "\r> \033\\[K\r\033\\[2C"), ("dumb", "> "):
        t = Terminal(gpt, model, "--tokens", "0", term=term)
        t.read(prompt)
        for _ in range(3):
            t.press("\x03")
            t.read("\n" + prompt)
        t.press("abc")
        t.read("abc")
        t.press("\x03")
        t.read("\n" + prompt)
        t.press("the cat" + ("\r" if term == "xterm" else "\n"))
        seen = t.read("\nthe cat\r\n" + prompt)
        check(f"Ctrl-C on {term}: a fresh line", "abc" not in seen, seen)
        t.press("\x03")
        t.read("\n" + prompt)
        t.press("\x04")
        status = t.end()
        check(f"Ctrl-C on {term}: Ctrl-D ends", status == (0, True), status)
        for name, number in ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGHUP):
            t = Terminal(gpt, model, term=term)
            t.read(prompt)
            t.press("\x03")
            t.read("\n" + prompt)
            t.child.send_signal(number)
            status = t.end()
            check(f"Ctrl-C on {term}: {name} ends", status == (-number, True), status)


def plain(gpt, model):
    t = Terminal(gpt, model, "--tokens", "0", term="dumb")
    t.read("> ")
    check("a dumb terminal: no editing", not t.raw())
    t.press("the cat\n")
    seen = t.read("\nthe cat\r\n> ")
    check("a dumb terminal: no sequences", "\033" not in seen, seen)
    t.press("\x04")
    check("a dumb terminal: Ctrl-D ends", t.end() == (0, True))
    given = subprocess.run([gpt, "sample", model, "--interactive", "--tokens", "0"], input=b"a\nb\n", capture_output=True)
    check("a pipe: lines and nothing else", given.stdout == b"a\nb\n" and given.stderr == b"", given)


def faults(gpt):
    """A fault stands on a line of its own, also where a sign of life stood there."""
    master, slave = os.openpty()
    env = dict(os.environ, TERM="xterm")
    command = [gpt, "train", "--data", "-", "--out", "none"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=slave, stderr=slave, env=env)
    seen = b""
    while b"reading the text" not in seen:
        seen += os.read(master, 65536)
    child.communicate(b"a\xff")
    while b"any file\r\n" not in seen:
        seen += os.read(master, 65536)
    check("a fault after a sign of life", b"\r\033[Kgpt: standard input: byte 2 is not" in seen, seen)


def once(gpt, shape):
    """The text of the last report, by the best weights, is not written again at the end."""
    master, slave = os.openpty()
    env = dict(os.environ, TERM="xterm")
    options = "--iters 2 --eval-every 1 --eval-batches 1 --sample-tokens 5 --lr 0.01 --out none".split()
    child = subprocess.Popen([gpt, "train", "--data", "text", *shape, *options], stdout=slave, stderr=slave, env=env)
    seen = b""
    while b"was at iteration" not in seen:
        seen += os.read(master, 65536)
    child.wait()
    check("the last report is the best one", b"was at iteration 1" in seen, seen)
    check("and its text is not written twice", b"written with the best weights" not in seen, seen)


def main():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup may have left it ignored
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as fault:
        print(f"skipped: no terminal can be made: {fault}")
        return 77
    gpt = os.path.join(os.path.abspath(sys.argv[1]), "gpt")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open("text", "w", encoding="utf-8") as file:
            file.write("the cat sat on the mat\n" * 40)
        shape = "--tokenizer byte --layers 1 --heads 1 --width 4 --context 8 --batch 2".split()
        short = "--iters 1 --eval-batches 1 --sample-tokens 0 --out run".split()
        subprocess.run([gpt, "train", "--data", "text", *shape, *short], check=True, capture_output=True)
        for part in edit, narrow, ends, fresh, plain:
            part(gpt, "run/last.safetensors")
        faults(gpt)
        once(gpt, shape)
    return 1 if failed else 0


sys.exit(main())
