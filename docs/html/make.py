#!/usr/bin/env python3
"""Writes the documents as HTML: make.py ROOT [FOLDER]; without a folder it only checks. They are README.md, the pages of
docs/, and a reference made from the public headers, in the order of docs/README.md. Fails, and writes nothing, where a comment in a header lacks what the rule of
headers.py asks for, where a link leads nowhere, or where a page stands in no list."""
import html
import os
import posixpath
import re
import shutil
import sys

sys.dont_write_bytecode = True  # the tree stays clean
import headers
from markdown import Writer, headings, slug

INDEX = "docs/README.md"
FILE = r"`((?:autograd|benches|docs|include|models|nn|tensor|tests)/[a-z0-9_./]+\.[a-z]+)`"


class Site:
    def __init__(self, root):
        self.root, self.faults = root, []
        self.pages = {INDEX: "index.html", "README.md": "readme.html"}
        self.pages |= {name: name[:-3].lower() + ".html" for name in ("CONTRIBUTING.md", "CHANGELOG.md")}
        self.pages |= {"docs/" + n: n[:-3] + ".html" for n in self.files("docs", ".md") if n != "README.md"}
        self.headers = {"include/sampo/" + n: headers.read(os.path.join(root, "include/sampo", n))
                        for n in self.files("include/sampo", ".h")}
        self.pages |= {path: header.name + ".html" for path, header in self.headers.items()}
        self.names = {}  # of functions, types and macros: their addresses
        for path, header in self.headers.items():
            for section in header.sections:
                for group in section.groups:
                    for block in group:
                        self.names |= {n: f"{self.pages[path]}#{n}" for n in headers.names(block.code)}
        self.shown = set()  # pages and names that have their place there
        self.pictures = {}  # by file name: the path
        self.texts = {path: self.read(path) for path in self.pages if path.endswith(".md")}
        for path, text in self.texts.items():
            for name in re.findall(FILE, text):
                if not os.path.exists(os.path.join(root, name)):
                    self.fault(f"{path} names {name}, which is not there")

    def files(self, folder, end):
        return sorted(name for name in os.listdir(os.path.join(self.root, folder)) if name.endswith(end))

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def fault(self, text):
        self.faults.append(text)

    def writer(self, source, declared=()):
        """Of a page whose links are relative to its source. The names in `declared` have no links: they stand there."""
        def link(target):
            if re.match(r"https?:", target):
                return target
            path, _, anchor = target.partition("#")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source
            if path not in self.pages:
                if not os.path.exists(os.path.join(self.root, path)):
                    self.fault(f"{source}: a link to {target}, which is not there")
                return None
            if anchor and path in self.texts and anchor not in headings(self.texts[path]):
                self.fault(f"{source}: a link to {target}, but there is no such heading")
            return self.pages[path] + ("#" + anchor if anchor else "")

        def picture(target):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
            if not os.path.exists(os.path.join(self.root, path)):
                self.fault(f"{source}: the picture {target} is not there")
            self.pictures[posixpath.basename(path)] = path
            return posixpath.basename(path)

        def word(name):
            if name in declared:
                return self.declared(source, name)
            known = name in self.names and name != "tensor"  # which is also a word
            return f'<a href="{self.names[name]}">{name}</a>' if known else name

        return Writer(link, picture, word)

    def declared(self, path, name):
        """A name where it is declared, which links lead to the first time."""
        first = (path, name) not in self.shown
        self.shown.add((path, name))
        return f'<b id="{name}">{name}</b>' if first else f"<b>{name}</b>"

    # ---- The order of pages -----------------------------------------------------------------------

    def order(self):
        """From the index: headings, and beneath each the pages, as (path, words). All headers stand where the first does."""
        parts = []
        for line in self.texts[INDEX].split("\n"):
            if line.startswith("## "):
                parts.append((line[3:], []))
            for words, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", line):
                path = posixpath.normpath(posixpath.join("docs", target))
                if parts and path in self.pages:
                    parts[-1][1].append((path, words))
        for _, pages in parts:
            if any(path in self.headers for path, _ in pages):
                pages += [(path, header.name) for path, header in self.headers.items() if path not in dict(pages)]
        listed = {path for _, pages in parts for path, _ in pages} | {INDEX}
        for path in self.texts:
            if path not in listed:
                self.fault(f"{path} is not listed in {INDEX}")
        return parts

    def navigation(self, current, parts):
        out = [f'<p><a href="index.html"{" aria-current=page" if current == INDEX else ""}>All pages</a></p>']
        for heading, pages in parts:
            items = "".join(f'<li><a href="{self.pages[path]}"{" aria-current=page" if path == current else ""}>'
                            f"{html.escape(words)}</a></li>" for path, words in pages)
            out.append(f"<h2>{html.escape(heading)}</h2><ul>{items}</ul>")
        return "\n".join(out)

    # ---- Pages --------------------------------------------------------------------------------------

    def page(self, path, title, body, parts):
        in_order = [p for _, pages in parts for p in pages]
        at = next((i for i, p in enumerate(in_order) if p[0] == path), None)
        following = in_order[at + 1] if at is not None and at + 1 < len(in_order) else None
        after = f'<p class="next">Next: <a href="{self.pages[following[0]]}">{html.escape(following[1])}</a></p>' if following else ""
        style = self.read("docs/html/style.css")
        return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title><style>
{style}</style></head><body>
<p class="skip"><a href="#pages">All pages</a></p>
<main>
{body}
{after}
</main>
<nav id="pages" aria-label="Pages">
{self.navigation(path, parts)}
</nav>
</body></html>
"""

    def document(self, path, parts):
        text = self.texts[path]
        body = self.writer(path).blocks(text)
        if path == INDEX:
            body += self.all_names()
        return self.page(path, re.sub(r"[`*]", "", text.split("\n", 1)[0].lstrip("# ")), body, parts)

    def all_names(self):
        links = ", ".join(f'<a href="{address}">{name}</a>' for name, address in sorted(self.names.items()))
        return f"<h2 id=names>All names of the library</h2><p class=names>{links}</p>"

    def reference(self, path, parts):
        header = self.headers[path]
        write = self.writer(path)
        body = [f"<h1><code>sampo/{header.name}</code></h1>", self.comment(header.intro, write)]
        for section in header.sections:
            if section.title:
                body.append(f'<h2 id="{slug(section.title)}">{html.escape(section.title)}</h2>')
            body.append(self.comment(section.text, write))
            for group in section.groups:
                body.append("<section>" + "".join(self.block(block, path) for block in group) + "</section>")
        return self.page(path, f"sampo/{header.name}", "\n".join(body), parts)

    def block(self, block, path):
        code = self.writer(path, headers.names(block.code)).code(block.code, "c")
        return self.comment(block.comment, self.writer(path)) + (f'<pre tabindex="0"><code>{code}</code></pre>' if code else "")

    def comment(self, text, write):
        """A comment: paragraphs, lists whose items begin with a dash, code that is set in."""
        text = re.sub(r"^ ?- (.*(?:\n {2,4}\S.*)*)", lambda m: "- " + re.sub(r"\n +", "\n  ", m.group(1)), text, flags=re.M)
        out = []
        for part in re.split(r"\n\s*\n|\n(?=- )", text):
            if part.startswith("    "):
                code = "\n".join(line[4:] for line in part.split("\n"))
                out.append(f'<pre tabindex="0"><code>{write.code(code, "c")}</code></pre>')
            elif part.strip():
                tag = "li" if part.startswith("- ") else "p"
                words = write.code((part[2:] if tag == "li" else part).strip(), "names")
                words = re.sub(r"`([^`]+)`", r"<code>\1</code>", words)
                out.append(f"<{tag}>{words}</{tag}>")
        return re.sub(r"(<li>.*</li>)", r"<ul>\1</ul>", "\n".join(out), flags=re.S)

    def write(self, folder):
        lacks = list(headers.lacks(list(self.headers.values())))
        self.faults += lacks + ["docs/html/headers.py says what a header's comments have to say"] * bool(lacks)
        parts = self.order()
        made = {self.pages[path]: self.document(path, parts) for path in self.texts}
        made |= {self.pages[path]: self.reference(path, parts) for path in self.headers}
        if self.faults:
            sys.exit("\n".join("docs: " + fault for fault in self.faults))
        if not folder:
            return
        os.makedirs(folder, exist_ok=True)
        for name, text in made.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        for name, path in self.pictures.items():
            shutil.copyfile(os.path.join(self.root, path), os.path.join(folder, name))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: make.py ROOT [FOLDER]")
    Site(sys.argv[1]).write(sys.argv[2] if len(sys.argv) == 3 else None)
