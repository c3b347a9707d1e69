#!/usr/bin/env python3
"""Byte pairs against the tokenizers package: the same tokens of texts in many scripts, and the same vocabulary
learned. $1 is the program `tokens`. Skipped where the package is missing (pip install tokenizers)."""
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
except ImportError:
    print("skipped: the tokenizers package is not there (pip install tokenizers)")
    sys.exit(77)

program, repo = sys.argv[1], os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
shared = os.environ.get("SAMPO_SHARED", os.path.join(repo, "../shared"))
failed = 0

SCRIPTS = [  # ranges that words are made of
    (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x586), (0x5D0, 0x5EA), (0x620, 0x64A),
    (0x904, 0x939), (0xE01, 0xE3A), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x3041, 0x3096), (0x30A1, 0x30FA),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1D400, 0x1D7FF), (0x20000, 0x2A6DF), (0x1E900, 0x1E943)]
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \t ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028",
          "\u0085", "\x1c", "\x00", "\v", "\f", "\ufeff", "    \n    "]
DIGITS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "๐๑๒๓๔๕๖๗๘๙", "ⅠⅡⅢⅣ", "½¼¾", "²³¹", "①②③", "〇一二三", "𝟘𝟙𝟚"]
ODD = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "’s", "' s", "''s", "don't", "they'll've", "e\u0301", "a\u0308\u0323",
       "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇮", "🇫🇮🇸🇪", "👍🏽", "!!!", "...", "—", "«»", "_x_", "a1b2", "x=y+1;", "<|endoftext|>", "<|endof", "<",
       "\u0e33\u0e49", "क्षि", "\u064b", "ﷺ", "\ud7ff", "\ue000", "\uffff", "\U0010ffff", "\u0378"]


def sample(rng, words):
    parts = []
    for _ in range(words):
        choice = rng.random()
        if choice < 0.6:
            low, high = rng.choice(SCRIPTS)
            width = rng.choice([2, 20, high - low + 1])
            parts.append("".join(chr(rng.randrange(low, min(high, low + width) + 1)) for _ in range(rng.randint(1, 9))))
        elif choice < 0.7:
            digits = rng.choice(DIGITS)
            parts.append("".join(rng.choice(digits) for _ in range(rng.randint(1, 6))))
        elif choice < 0.85:
            parts.append(rng.choice(ODD))
        else:
            code = rng.randrange(0x110000)
            parts.append("" if 0xD800 <= code < 0xE000 else chr(code))
        if rng.random() < 0.8:
            parts.append(rng.choice(SPACES))
    return "".join(parts)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def run(*args):
    return subprocess.run([program, *args], check=True, stdout=subprocess.PIPE).stdout.decode()


def verdict(name, ok, detail=""):
    global failed
    failed += not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {name}{'' if ok else ': ' + detail}")


def reference(texts, size, special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def place(expected, found):
    differ = [i for i, (a, b) in enumerate(zip(expected, found)) if a != b]
    at = differ[0] if differ else min(len(expected), len(found))
    return f"{len(expected)} and {len(found)}, from {at} on: {expected[at:at + 5]} and {found[at:at + 5]}"


def compare_encoding(name, folder, tokenizer, text):
    path = os.path.join(folder, "text")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    expected, found = tokenizer.encode(text).ids, [int(line) for line in run("encode", folder, path).split()]
    verdict(f"{name}: {len(text)} characters, {len(expected)} tokens", expected == found, place(expected, found))


def compare_learning(folder, path, size):
    tokenizer = reference([read(path)], size, [])
    tokenizer.model.save(folder)
    merges = read(os.path.join(folder, "merges.txt")).split("\n")[1:-1]
    vocabulary = tokenizer.get_vocab()
    tokens, found = map(json.loads, run("learn", str(size), path).splitlines())
    verdict(f"{size} tokens learned from {os.path.basename(path)}", merges == found, place(merges, found))
    verdict("with the same numbers", {token: i for i, token in enumerate(tokens)} == vocabulary, "they differ")


rng = random.Random(int(os.environ.get("SEED", "1")))
with tempfile.TemporaryDirectory() as folder:
    texts = [path for path in [os.path.join(repo, "models/data/verses.txt"), os.path.join(shared, "kalevala.txt")]
             if os.path.exists(path)]
    training = sample(rng, 40000) + read(texts[-1])[:300000]
    for size, special in ((3000, ["<|endoftext|>"]), (800, [])):
        tokenizer = reference([training], size, special)
        tokenizer.model.save(folder)
        compare_encoding(f"scripts with {size} tokens", folder, tokenizer, sample(rng, 100000))
        for path in texts:
            compare_encoding(os.path.basename(path), folder, tokenizer, read(path))
        short = [sample(rng, rng.randint(1, 3)) for _ in range(100)]
        for text in [" ", "  ", "\n", "'", "'s", " 's", "  a", "a  ", "<|endoftext|>", " <|endoftext|>  <|endoftext|>"]:
            compare_encoding(repr(text), folder, tokenizer, text)
        compare_encoding("one long word", folder, tokenizer, "ab" * 30000)
        compare_encoding("short texts", folder, tokenizer, "<|endoftext|>".join(short))
    mixed = os.path.join(folder, "mixed")
    with open(mixed, "w", encoding="utf-8", newline="") as file:
        file.write(training)
    for path in texts + [mixed]:
        for size in (300, 1000, 4000):
            compare_learning(folder, path, size)
print(f"{failed} failed")
sys.exit(failed > 0)
