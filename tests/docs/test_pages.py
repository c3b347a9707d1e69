#!/usr/bin/env python3
"""The documents as HTML: whole, with nothing from elsewhere, every link leading somewhere; and made only where each public
function is documented and each link in a document leads somewhere. $1 is the root of the tree."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser

root = os.path.abspath(sys.argv[1])
VOID = {"meta", "br", "img", "link", "input", "hr"}
failed = 0


def check(name, good, fault=""):
    global failed
    failed += not good
    print(("ok: " if good else "FAILED: ") + name + ("" if good else f": {fault}"))


class Page(HTMLParser):
    """Names, addresses and the first element that is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.tags, self.fault = [], [], [], [], set(), ""
        self.feed(text)
        self.fault = self.fault or " ".join(self.open)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.fault = self.fault or f"</{tag}> closes nothing"


def make(tree, folder):
    done = subprocess.run([sys.executable, os.path.join(tree, "docs/html/make.py"), tree, folder], capture_output=True, text=True)
    return done.returncode, done.stderr


with tempfile.TemporaryDirectory() as tmp:
    site = os.path.join(tmp, "site")
    status, said = make(root, site)
    check("the pages are made", status == 0, said)
    pages = {}
    for path in glob.glob(site + "/*.html"):
        with open(path, encoding="utf-8") as file:
            pages[os.path.basename(path)] = Page(file.read())

    for name, page in sorted(pages.items()):
        dead = [a for a in page.links if not re.match("https?:", a)
                and not ((a.partition("#")[0] or name) in pages
                         and a.partition("#")[2] in ["", *pages[a.partition("#")[0] or name].ids])]
        missing = [s for s in page.sources if not os.path.exists(os.path.join(site, s))]
        check(f"{name}: well-formed, whole in itself, each name once, each link leads somewhere",
              not page.fault and not dead and not missing and not page.tags & {"script", "link", "iframe"}
              and len(page.ids) == len(set(page.ids)),
              f"{page.fault} {dead} {missing} {page.tags & {'script', 'link', 'iframe'}}")

    with open(os.path.join(root, "tests/install/symbols.txt"), encoding="utf-8") as file:
        exported = set(re.findall(r"\w+", file.read())) - {"ag_ops"}  # a table, no function
    described = {name for page in pages.values() for name in page.ids}
    check("every exported function is in the reference", exported <= described, sorted(exported - described)[:5])

    # What must not be made, each by a small change of the tree.
    tree = os.path.join(tmp, "tree")
    for part in ("docs", "include"):
        shutil.copytree(os.path.join(root, part), os.path.join(tree, part))
    for part in os.listdir(root):
        if part not in ("docs", "include"):
            os.symlink(os.path.join(root, part), os.path.join(tree, part))

    def refused(name, path, new, words):
        path = os.path.join(tree, path)
        old = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(new(old))
        status, said = make(tree, os.path.join(tmp, "none"))
        check(name, status != 0 and words in said and not os.path.exists(os.path.join(tmp, "none")), said)
        if old is None:
            os.remove(path)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(old)

    def declare(lines):
        return lambda old: old.replace("\nSAMPO_END_DECLS", "\n/* ---- New ---- */\n\n" + lines + "\n\nSAMPO_END_DECLS")

    header = "include/sampo/parallel.h"
    refused("a function without a comment", header, declare("void nn_new(int x);"), "nn_new has no comment")
    refused("a tensor without its shape", header, declare("/* Twice as much. */\nvoid nn_new(tensor x);"), "nn_new does not say: shapes")
    refused("a pointer without an owner", header, declare("/* A text, or NULL. */\nconst char *nn_new(int x);"),
            "nn_new does not say: owner")
    refused("a status that nobody explains", header, declare("/* Makes one. */\nbool nn_new(int x);"), "nn_new does not say: errors")
    refused("a comment beside it is not its own", header,
            declare("void nn_old(int x); /* doubles it */\nvoid nn_new(int x);"), "nn_new has no comment")
    refused("a convention that is gone", "include/sampo/tensor.h",
            lambda old: old.replace("receives the text of the first failure", "is an error"), "does not say: errors")
    refused("a link to nowhere", "docs/library.md", lambda old: old + "\n[gone](gone.md)\n", "gone.md, which is not there")
    refused("a link to no heading", "docs/library.md", lambda old: old + "\n[gone](training.md#gone)\n", "no such heading")
    refused("a file that was renamed", "docs/library.md", lambda old: old + "\nSee `nn/gone.c`.\n", "nn/gone.c, which is not there")
    refused("a page in no list", "docs/lonely.md", lambda old: "# Alone\n", "lonely.md is not listed")

sys.exit(1 if failed else 0)
