"""HTML of the part of Markdown that the pages here use: headings, paragraphs, lists, tables, quotes, code, pictures, links,
emphasis. What a link leads to, and which words of code have links, the caller says."""
import html
import re


def slug(heading):
    """A heading's name in links, as GitHub makes it."""
    text = re.sub(r"[`*]", "", heading.lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def headings(text):
    """The names of all headings of a page."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return {slug(line.lstrip("# ")) for line in outside.split("\n") if re.match(r"#+ ", line)}


class Writer:
    """`link(target)` gives the address for a target, or None: it is no link; `picture(target)` that of a picture; `word(word)`
    the markup of a word in code."""

    def __init__(self, link, picture, word):
        self.link, self.picture, self.word = link, picture, word

    def code(self, text, language=""):
        """Escaped, with links behind known names, and in C with comments marked."""
        def part(piece):
            return re.sub(r"(?<!&)\b[A-Za-z_]\w*\b", lambda m: self.word(m.group()), html.escape(piece, quote=False))
        if language != "c":
            return part(text) if language == "names" else html.escape(text, quote=False)
        pieces = re.split(r"(/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\")", text, flags=re.S)
        return "".join(f"<i>{html.escape(p, quote=False)}</i>" if p.startswith("/") and i % 2 else
                       html.escape(p, quote=False) if i % 2 else part(p) for i, p in enumerate(pieces))

    def inline(self, text):
        kept = []

        def keep(markup):
            kept.append(markup)
            return f"\0{len(kept) - 1}\0"

        def link(m):
            address = self.link(m.group(2))
            return keep(f'<a href="{html.escape(address)}">') + m.group(1) + keep("</a>") if address else m.group(1)

        def picture(m):
            address, words = self.picture(m.group(2)), html.escape(m.group(1))
            return keep(f'<img src="{address}" alt="{words}">')

        def code(m):
            short = ' class="short"' if len(m.group(1)) < 25 else ""
            return keep(f"<code{short}>{self.code(m.group(1), 'names')}</code>")

        text = re.sub(r"`([^`]+)`", code, text)
        text = re.sub(r"<br>", lambda m: keep("<br>"), text)
        text = html.escape(text, quote=False)
        text = re.sub(r"!\[([^\]]*)\]\(([^)]+)\)", picture, text)
        text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, text)
        text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
        text = re.sub(r"(?<![\w*])\*(?! )([^*]+?)\*(?!\w)", r"<em>\1</em>", text)
        while "\0" in text:
            text = re.sub(r"\0(\d+)\0", lambda m: kept[int(m.group(1))], text)
        return text

    def table(self, lines):
        rows = [re.split(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", line.strip().strip("|")) for line in lines]
        head, body = rows[0], rows[2:]
        cells = lambda row, tag: "".join(f"<{tag}>{self.inline(c.strip())}</{tag}>" for c in row)
        top = f"<thead><tr>{cells(head, 'th')}</tr></thead>" if any(c.strip() for c in head) else ""
        return (f'<div class="wide" tabindex="0"><table>{top}<tbody>'
                + "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in body) + "</tbody></table></div>")

    def blocks(self, text):
        """The whole, block by block."""
        lines, out, i = text.split("\n"), [], 0

        def take(belongs):
            nonlocal i
            taken = []
            while i < len(lines) and belongs(lines[i]):
                taken.append(lines[i])
                i += 1
            return taken

        while i < len(lines):
            line = lines[i]
            if not line.strip():
                i += 1
            elif line.startswith("```"):
                language, i = line[3:].strip(), i + 1
                inside = take(lambda l: not l.startswith("```"))
                i += 1
                out.append(f'<pre tabindex="0"><code>{self.code(chr(10).join(inside), language)}</code></pre>')
            elif line.startswith("    "):
                inside = take(lambda l: l.startswith("    ") or not l.strip())
                out.append(f'<pre tabindex="0"><code>{self.code(chr(10).join(l[4:] for l in inside).rstrip())}</code></pre>')
            elif re.match(r"#{1,6} ", line):
                level, words = len(line) - len(line.lstrip("#")), line.lstrip("# ")
                out.append(f'<h{level} id="{slug(words)}">{self.inline(words)}</h{level}>')
                i += 1
            elif line.startswith("|"):
                out.append(self.table(take(lambda l: l.startswith("|"))))
            elif line.startswith(">"):
                inside = "\n".join(re.sub(r"^> ?", "", l) for l in take(lambda l: l.startswith(">")))
                out.append(f"<blockquote>{self.blocks(inside)}</blockquote>")
            elif re.match(r"([-*]|\d+\.) ", line):
                tag = "ol" if line[0].isdigit() else "ul"
                items = []
                for l in take(lambda l: re.match(r"([-*]|\d+\.) |  +\S", l)):
                    item = re.match(r"(?:[-*]|\d+\.) (.*)", l)
                    if item:
                        items.append(item.group(1))
                    else:
                        items[-1] += "\n" + l.strip()
                out.append(f"<{tag}>" + "\n".join(f"<li>{self.inline(item)}</li>" for item in items) + f"</{tag}>")
            else:
                inside = take(lambda l: l.strip() and not re.match(r"```|#{1,6} |\||>|[-*] |\d+\. ", l))
                if not inside:  # begins like a list, but is none
                    inside = [lines[i]]
                    i += 1
                words = self.inline("\n".join(inside))
                tag = "figure" if re.fullmatch(r"<img [^>]*>", words) else "p"
                out.append(f"<{tag}>{words}</{tag}>")
        return "\n".join(out)
