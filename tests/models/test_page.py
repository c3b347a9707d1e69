#!/usr/bin/env python3
"""The pages and pictures of gpt report and gpt plot, made from short runs: well-formed, whole in themselves, escaped,
and drawn by a browser. $1 is the folder with gpt and bigram. What needs Chromium is skipped where it is missing."""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
import zlib

programs = os.path.abspath(sys.argv[1])
failed = 0
VOID = {"meta", "br", "img", "link", "input", "hr"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def check(name, good, fault=""):
    global failed
    failed += not good
    print(("ok    " if good else "FAIL  ") + name + ("" if good else f": {fault}"))


def run(program, *args):
    done = subprocess.run([os.path.join(programs, program), *args], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAIL  {program} {' '.join(args)}: {done.stderr}")
    return done.stdout


class Page(html.parser.HTMLParser):
    """Collects text, tags and attributes, and sees that every element ends."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text, self.fault = [], [], [], [], ""
        self.feed(text)
        self.close()
        self.text = " ".join(self.text)
        self.fault = self.fault or (f"not closed: {self.open}" if self.open else "")

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.fault = self.fault or f"</{tag}> closes nothing, line {self.getpos()[0]}"

    def handle_data(self, data):
        self.text.append(data)


def needs_nothing(name, text):
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    page = Page(text)
    outside = [a for a in page.attributes if a[0] in ("src", "href", "srcset", "data", "xlink:href") or a[0].startswith("on")]
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    check(f"{name}: nothing from outside, no scripts",
          not outside and not {"script", "link", "iframe", "img", "object", "use", "image"} & set(page.tags)
          and not re.search(r"url\(|@import|//", styles), f"{outside} {set(page.tags)}")
    return page


def alternatives(name, text):
    """Every picture has a name and a description, every region that scrolls can be reached, headings go down one by one."""
    pictures = re.findall(r"<svg[^>]*role=\"img\".*?</desc>", text, re.S)
    check(f"{name}: pictures have a name", pictures and len(pictures) == text.count('role="img"')
          and all(re.search(r'aria-label="[^"]+"', p) for p in pictures), len(pictures))
    check(f"{name}: and say in words what they show",
          all(re.search(r"<title>[^<]+</title>.*<desc>[^<]{20,}</desc>", p, re.S) for p in pictures))
    levels = [int(n) for n in re.findall(r"<h(\d)", text)]
    check(f"{name}: headings in order", all(b <= a + 1 for a, b in zip([0] + levels, levels)), levels)
    check(f"{name}: no second element of an id", len(set(re.findall(r' id="([^"]*)"', text))) == text.count(' id="'))


def luminance(colour):
    if len(colour) == 4:
        colour = "#" + "".join(2 * c for c in colour[1:])
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(name, text):
    """The contrast of every colour of text and of curves with what is behind it, in light and in dark: 4.5 to 1."""
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    dark = "".join(re.findall(r"@media\(prefers-color-scheme:dark\)\{(.*?\})\s*\}", styles, re.S))
    light = re.sub(r"@media.*?\}\s*\}", "", styles, flags=re.S)
    for mode, css in ("light", light), ("dark", light + dark):  # the last rule wins
        names = dict(re.findall(r"--(\w+):(#\w+)", css))
        paper = names.get("paper") or re.findall(r"\.paper\{fill:(#\w+)\}", css)[-1]
        grounds = {paper, names.get("ground", paper)}
        inks = {k: names[k] for k in ("ink", "soft", "accent") if k in names}
        inks.update(dict(re.findall(r"\.(c\d)\{color:(#\w+)\}", css)))
        inks.update(dict(re.findall(r"[ .](legend|text)\{[^}]*?fill:(#\w+)", css)))
        bad = [(ink, ground) for ink in inks.items() for ground in (grounds if ink[0] in names else {paper})
               if (max(luminance(ink[1]), luminance(ground)) + 0.05) / (min(luminance(ink[1]), luminance(ground)) + 0.05) < 4.5]
        check(f"{name}, {mode}: contrast of 4.5 to 1", len(inks) >= 9 and not bad, f"{len(inks)} {bad}")


def pixels(path):
    """How many pixels of each colour are in a PNG of 8 bits a channel."""
    data, at, body = open(path, "rb").read(), 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        if kind == b"IHDR":
            width, height, channels = (*(int.from_bytes(data[at + 8 + i:at + 12 + i], "big") for i in (0, 4)),
                                       {2: 3, 6: 4}[data[at + 17]])
        if kind == b"IDAT":
            body += data[at + 8:at + 8 + size]
        at += 12 + size
    raw, stride, before, colours = zlib.decompress(body), width * channels, bytearray(width * channels), {}
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, corner = (row[i - channels], before[i - channels]) if i >= channels else (0, 0)
            if kind == 4:
                guess = left + before[i] - corner
                near = sorted((abs(guess - c), n) for n, c in enumerate((left, before[i], corner)))
                row[i] = row[i] + (left, before[i], corner)[near[0][1]] & 255
            elif kind:
                row[i] = row[i] + {1: left, 2: before[i], 3: (left + before[i]) // 2}[kind] & 255
        before = row
        for i in range(0, stride, channels):
            colour = bytes(row[i:i + 3])
            colours[colour] = colours.get(colour, 0) + 1
    return colours


def browse(path, size, *options):
    return subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=profile",
                           f"--window-size={size}", *options, "file://" + os.path.abspath(path)],
                          capture_output=True, text=True, timeout=120).stdout


def look(name, size):
    """Draws a page in a window of this size, light and dark."""
    ground = {}
    for mode in ("light", "dark"):
        browse(name, size, "--screenshot=shot.png", *(["--blink-settings=preferredColorScheme=0"] if mode == "dark" else []))
        colours = pixels("shot.png")
        ground[mode] = sum(max(colours, key=colours.get))
        check(f"{name}, {mode}: something is drawn, in colour",
              len(colours) > 50 and any(max(c) - min(c) > 60 for c in colours), f"{len(colours)} colours")
    check(f"{name}: dark is dark", ground["dark"] < 150 < 600 < ground["light"], str(ground))


os.chdir(tempfile.mkdtemp())
try:
    with open("text", "w") as file:
        file.writelines(f"the cat sat on the mat, number {i}: <b>päivää</b> & \"more\"\n" for i in range(200))
    sizes = ["--data", "text", "--eval-batches", "2", "--eval-every", "4", "--iters", "11", "--sample-tokens", "90", "--context", "16"]
    hostile = "runs/<img src=x onerror=alert(1)>\"'&\x1b[31m"
    os.mkdir("runs")
    run("gpt", "train", *sizes, "--layers", "2", "--heads", "3", "--width", "12", "--out", hostile)
    run("bigram", "train", *sizes, "--out", "bigram")
    run("gpt", "report", hostile, "--prompt", "the <b>cat</b>\n")
    run("bigram", "report", "bigram", "--html", "bigram.html")
    run("gpt", "plot", hostile, "bigram", "--svg", "plot.svg")

    text = open(hostile + "/report.html").read()
    page = needs_nothing("report", text)
    check("report: every element ends", not page.fault, page.fault)
    check("report: the name is text", "onerror=alert(1)" in page.text and "\x1b" not in text)
    check("report: the prompt is text", "the <b>cat</b>" in page.text)
    for title in ("How it learned", "What it writes", "Where it looks", "How it was made", "Learning rate", "Gradient norm"):
        check(f"report: {title}", title in page.text)
    check("report: not beside figures that are another text's", "Beside the published" not in page.text)
    check("report: a sample a report", page.text.count("Iteration ") == 4, page.text.count("Iteration "))
    maps = re.findall(r'<svg class="heat.*?</svg>', text, re.S)
    check("report: a map for each head of each layer", len(maps) == 6, len(maps))
    for i, svg in enumerate(maps):
        cells = [(int(y), int(x) + k) for x, y, n in re.findall(r"M(\d+) (\d+)h(\d+)v1", svg) for k in range(int(n))]
        labels = [e.text for e in xml.etree.ElementTree.fromstring(svg).iter("text")]
        check(f"report: map {i}: labels, and nothing looks ahead",
              labels == 2 * list("the␣<b>cat</b>⏎") and (0, 0) in cells
              and all(x <= y for y, x in cells) and len(cells) == len(set(cells)), f"{labels} {cells}")

    alternatives("report", text)
    contrast("report", text)
    check("report: values under the pointer", text.count('class="hit"') >= 22 and "\ntraining, every step: " in text)
    check("report: the reports as a table", re.search(r"<th scope=\"row\">8</th><td>\d\.\d+</td><td>\d\.\d+</td>", text))
    check("report: how it was made", "gpt train --data text" in page.text and " UTC" in page.text and "processor" in page.text)
    check("report: options' names", all(f"<dt>{word}</dt>" in text for word in ("width", "layers", "heads", "context"))
          and "n_embd" not in text)

    run("gpt", "train", *sizes, "--layers", "1", "--heads", "1", "--width", "8", "--out", "narrow")
    run("gpt", "report", hostile, "narrow", "bigram", "--html", "several.html")
    text = open("several.html").read()
    page = needs_nothing("report of several", text)
    alternatives("report of several", text)
    contrast("report of several", text)
    check("report of several: every element ends", not page.fault, page.fault)
    check("report of several: names are text", "onerror=alert(1)" in page.text and "\x1b" not in text)
    check("report of several: a row a run, and again for what differs", text.count('class="run"') == 6, text.count('class="run"'))
    check("report of several: what differs", '<th scope="col">width</th>' in text and '<th scope="col">seed</th>' not in text)
    check("report of several: a sample each", text.count("<blockquote") == 3)
    check("report of several: how each was made", page.text.count(" train --data text") == 3)

    text = open("bigram.html").read()
    alternatives("report of a bigram", text)
    page = needs_nothing("report of a bigram", text)
    check("report of a bigram: every element ends", not page.fault, page.fault)
    check("report of a bigram: its table", "What follows what" in page.text and "Where it looks" not in page.text)
    for svg in re.findall(r"<svg.*?</figure>|<svg class=\"heat.*?</svg>", text, re.S):
        xml.etree.ElementTree.fromstring(svg.replace("</figure>", ""))

    text = open("plot.svg").read()
    needs_nothing("plot", text)
    alternatives("plot", text)
    contrast("plot", text)
    names = [e.text for e in xml.etree.ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    check("plot: names in the legend", hostile[-36:].replace("\x1b", "\ufffd") in "".join(map(str, names)), names)

    if CHROMIUM:
        shutil.copy(hostile + "/report.html", "report.html")
        look("report.html", "1000,700")
        look("several.html", "1000,700")
        look("plot.svg", "760,400")
        for name in "report", "several", "bigram":
            with open("measured.html", "w") as file:
                file.write(open(name + ".html").read().replace("</body>", "<script>parent.document.title = 'is ' + "
                           "document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"))
            for width in (1280, 500, 375):  # in a frame: a window of the browser may not be so narrow
                with open("frame.html", "w") as file:
                    file.write(f'<title>no</title><iframe src="measured.html" style="width:{width}px;height:600px;border:0"></iframe>')
                title = re.search(r"<title>is (\d+) of (\d+)", browse("frame.html", "1400,700", "--dump-dom",
                                                                      "--allow-file-access-from-files"))
                check(f"{name}: fits a window of {width}", title and int(title[1]) <= int(title[2]) == width, title and title[0])
    else:
        print("skip  in a browser: no chromium")
finally:
    folder = os.getcwd()
    os.chdir("/")
    shutil.rmtree(folder, ignore_errors=True)
sys.exit(failed > 0)
