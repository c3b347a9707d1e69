#!/usr/bin/env python3
"""The public headers as data, for the reference, and the rule that their comments follow: headers.py HEADER... says where
one does not, and fails.

The rule. Lines without an empty line between them are a group; a comment `/* ---- Title ----` begins a section. Each
prototype has a comment: before it in its group, or behind it on its line. Besides,

    a prototype that          has in its comments, or in those of its section,
    has tensors               their shape: [B, T, C], scalar, elements, along an axis, ...
    returns a pointer         who owns what it points to, or how long that lives
    may fail                  what it returns then; `whether ...` for a question

Conventions that hold for all headers stand at the top of one of them and need not be repeated (CONVENTIONS below)."""
import re
import sys

NEED = {
    "shapes": r"\[[^\]]*\]|[Ss]hape|scalar|[Aa]x[ie]s|[Ee]lement|[Bb]roadcast|flat",
    "owner": r"\bown(s|er|ed)\b|[Ff]ree with|\blives?\b|until|valid as long|as long as|[Cc]onstants?\b",
    "errors": r"[Ff]ail|NULL|false|False|error|[Ww]hether|[Nn]ever|[Nn]o tensor|NaN|-1",
}

# What a header says once for all: the header, words that must stand at its top, what is covered, and for which prototypes.
CONVENTIONS = [
    ("tensor.h", "The last argument `err` receives the text of the first failure", "errors",
     lambda p: re.search(r"tensor_error \*err$", p.arguments)),
    ("tensor.h", "A tensor lives as long as its storage", "owner", lambda p: p.result == "tensor"),
    ("autograd.h", "An operation that cannot be done returns NULL", "errors", lambda p: p.is_operation),
    ("autograd.h", "which owns it: it lives until the", "owner", lambda p: p.is_operation),
    ("nn.h", "A function of a registry that returns false leaves its text there", "errors",
     lambda p: p.result == "bool" and "nn_params *params" in p.arguments),
    ("nn.h", "Forward functions follow autograd.h: NULL in, NULL", "errors", lambda p: p.is_operation),
]

BOILERPLATE = re.compile(
    r"SAMPO_(BEGIN|END)_DECLS\n"
    r"|#include [^\n]*\n"
    r"|#ifndef SAMPO_\w+_H\n#define SAMPO_\w+_H\n")


class Prototype:
    def __init__(self, name, result, arguments):
        self.name, self.result, self.arguments = name, result, " ".join(arguments.split())
        self.comment = self.own_comment = ""

    @property
    def is_operation(self):
        """A function of variables on a tape, which makes one."""
        return self.result == "ag_var *" and bool(re.search(r"ag_var \*|ag_tape \*", self.arguments))

    def needs(self):
        if re.search(r"\b(tensor|ag_var \*) ?\w*(,|$)", self.result + "," + self.arguments):
            yield "shapes"
        if self.result.endswith("*"):
            yield "owner"
        if self.result.endswith("*") or self.result in ("bool", "tensor"):
            yield "errors"


class Block:
    """A comment and the code below it."""

    def __init__(self, comment, code):
        self.comment, self.code = comment, code


class Section:
    def __init__(self, title="", text=""):
        self.title, self.text, self.groups = title, text, []


class Header:
    def __init__(self, name, text):
        self.name = name
        end = text.index("*/") + 2
        self.intro = plain(text[:end])
        rest = re.sub(r"\n#endif\s*$", "\n", BOILERPLATE.sub("\n", text[end:]))
        self.sections = [Section()]
        for group in groups(rest):
            self.add(group)
        self.sections = [s for s in self.sections if s.groups or s.text]

    def add(self, group):
        title = re.match(r"/\* ---- (.+?) -+( \*/| \*\n)", group)
        if title:
            end = group.index("*/") + 2
            text = plain("/*\n" + group[title.end():end]) if title.group(2) == " *\n" else ""
            self.sections.append(Section(title.group(1), text))
            group = group[end:].lstrip("\n")
        if group.strip():
            self.sections[-1].groups.append(blocks(group))

    def prototypes(self):
        """Each with the comments that speak about it."""
        for section in self.sections:
            for group in section.groups:
                above = ""
                for block in group:
                    above += block.comment + "\n"
                    for prototype in prototypes(block):
                        prototype.own_comment = above + prototype.own_comment
                        prototype.comment = section.text + "\n" + prototype.own_comment
                        yield prototype


def plain(comment):
    """The text of a comment without its stars."""
    inside = re.sub(r"^/\*+|\*+/$", "", comment.strip())
    lines = [re.sub(r"^ *\* ?|^ +", "", line) if i else line.strip() for i, line in enumerate(inside.split("\n"))]
    return "\n".join(line.rstrip() for line in lines).strip("\n").rstrip()


def groups(text):
    """What stands between empty lines, outside comments and braces."""
    group, depth, comment = [], 0, False
    for line in text.split("\n"):
        if not line.strip() and depth == 0 and not comment:
            if group:
                yield "\n".join(group)
            group = []
            continue
        group.append(line)
        for token in re.findall(r"/\*|\*/|//|[{}]", line):
            if token == "//" and not comment:
                break
            if token in ("/*", "*/"):
                comment = token == "/*"
            elif not comment:
                depth += 1 if token == "{" else -1
    if group:
        yield "\n".join(group)


def blocks(group):
    """A group, cut before each comment that begins a line."""
    result = []
    for part in re.split(r"^(?=/\*)", group, flags=re.M):
        if not part.strip():
            continue
        comment = ""
        code = part
        if part.startswith("/*"):
            end = part.index("*/") + 2
            comment, code = part[:end], part[end:].lstrip(" ")
        result.append(Block(plain(comment), code.strip("\n")))
    return result


def without_macros(code):
    return re.sub(r"^#(?:[^\n]*\\\n)*[^\n]*\n?", "", code, flags=re.M)


def prototypes(block):
    """Of the functions of a block; comments behind one on its line are its own."""
    code = without_macros(block.code)
    code = re.sub(r"^static inline ([^{;]*)\{.*?^\}", r"\1;", code, flags=re.M | re.S)
    found, begin, depth = [], 0, 0
    for token in re.finditer(r"/\*.*?\*/|[{};]", code, re.S):
        if token.group() == "{":
            depth += 1
        elif token.group() == "}":
            depth -= 1
        elif token.group() == ";" and depth == 0:
            statement = code[begin:token.end() - 1]
            comments = re.findall(r"/\*.*?\*/", statement, re.S)
            behind = re.match(r" */\*.*?\*/", code[token.end():], re.S)
            if behind:
                comments.append(behind.group().strip())
            begin = token.end() + (behind.end() if behind else 0)
            statement = " ".join(re.sub(r"/\*.*?\*/", "", statement, flags=re.S).split())
            match = re.match(r"(?!typedef|struct \w+ \{|enum|extern)([\w ]+?[ *]+)(\w+)\((.*?)\)( TENSOR_PRINTF\(.*\))?$", statement)
            if match:
                prototype = Prototype(match.group(2), match.group(1).strip(), match.group(3))
                prototype.own_comment = "\n".join(plain(c) for c in comments)
                found.append(prototype)
    return found


def names(code):
    """What code declares and documents may link to: functions, types, macros."""
    found = [p.name for p in prototypes(Block("", code))]
    found += re.findall(r"^(?:typedef )?(?:struct|enum|union) (\w+)(?= \{|;)", code, re.M)
    found += re.findall(r"^typedef (?:struct|enum) \w+ (\w+);", code, re.M)
    found += re.findall(r"^typedef [\w ]+[ *](\w+)\(", code, re.M)
    found += re.findall(r"^#define (\w+)", code, re.M)
    return found


def read(path):
    with open(path, encoding="utf-8") as file:
        return Header(path.rsplit("/", 1)[-1], file.read())


def lacks(headers):
    """What comments of these headers do not say."""
    top = {header.name: " ".join(header.intro.split()) for header in headers}
    said = [(kind, applies) for name, words, kind, applies in CONVENTIONS if words in top.get(name, "")]
    for header in headers:
        for prototype in header.prototypes():
            if not prototype.own_comment.strip():
                yield f"{header.name}: {prototype.name} has no comment"
                continue
            for need in prototype.needs():
                covered = any(kind == need and applies(prototype) for kind, applies in said)
                if not covered and not re.search(NEED[need], prototype.comment):
                    yield f"{header.name}: the comment of {prototype.name} does not say: {need}"


if __name__ == "__main__":
    faults = list(lacks([read(path) for path in sys.argv[1:]]))
    sys.exit("\n".join(faults) or 0)
