#!/usr/bin/env python3
"""Draws docs/demo.svg, the README's picture of a terminal, from a real run of script/demo.

Usage: docs/draw_demo.py [--chapters 2-4] [TRANSCRIPT]

Without TRANSCRIPT it runs script/demo (as root, about a minute) on a pseudo-terminal, so that the
demo prints its colours. TRANSCRIPT is a file with such output, and `-` is standard input.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "demo.svg"

COLUMNS = 80
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 7.8, 17, 13  # pixels
MARGIN, TITLE_BAR = 16, 34
CLASSES = {"1": "bold", "31": "red", "32": "green", "33": "yellow", "36": "cyan", "90": "grey"}

COLOUR = re.compile(r"\x1b\[([0-9;]*)m")
CHAPTER = re.compile(r"── (\d+) ")

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
  <title id="title">A run of script/demo in a terminal</title>
  <style>
    text {{ font: {size}px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d5dae3; }}
    .bold {{ fill: #ffffff; font-weight: bold; }}
    .red {{ fill: #ff7b72; }} .green {{ fill: #56d364; }} .yellow {{ fill: #e3b341; }}
    .cyan {{ fill: #6cd0e0; }} .grey {{ fill: #8b949e; }}
  </style>
  <rect width="{width}" height="{height}" rx="10" fill="#161b22"/>
  <circle cx="20" cy="17" r="6" fill="#ff5f57"/>
  <circle cx="40" cy="17" r="6" fill="#febc2e"/>
  <circle cx="60" cy="17" r="6" fill="#28c840"/>
  <text x="{middle}" y="21" text-anchor="middle" class="grey">script/demo</text>
"""


class Span(NamedTuple):
    """Text of one colour without a gap: where it starts, its class in the picture, and itself."""

    column: int
    kind: str
    text: str


def spans(line: str) -> Iterator[Span]:
    """Yields the spans of a line that may hold colour sequences.

    A gap of two or more spaces starts a new span, so that columns line up in any font.
    """
    column, kind = 0, ""
    for number, part in enumerate(COLOUR.split(line)):
        if number % 2:
            kind = CLASSES.get(part, "")
            continue
        for word in re.finditer(r"\S+(?: \S+)*", part):
            yield Span(column + word.start(), kind, word.group())
        column += len(part)


def chapters(transcript: str, first: int, last: int) -> list[str]:
    """Returns the lines of the chapters `first` to `last`, without blank lines at either end.

    :raises SystemExit: when the transcript lacks the first of them.
    """
    chosen: list[str] = []
    chapter = 0
    for line in transcript.replace("\r", "").split("\n"):
        heading = CHAPTER.match(COLOUR.sub("", line))
        chapter = int(heading.group(1)) if heading else chapter
        if first <= chapter <= last:
            chosen.append(line.rstrip())
    while chosen and not chosen[-1]:
        chosen.pop()
    if not chosen:
        raise SystemExit(f"draw_demo: no picture drawn: the transcript has no chapter {first}")
    return chosen


def picture(lines: list[str]) -> str:
    """Returns an SVG image of the lines, in a terminal of 80 columns."""
    width = round(COLUMNS * CELL_WIDTH) + 2 * MARGIN
    height = TITLE_BAR + len(lines) * LINE_HEIGHT + MARGIN
    drawn = [HEAD.format(width=width, height=height, middle=width // 2, size=FONT_SIZE)]
    for number, line in enumerate(lines):
        y = TITLE_BAR + (number + 1) * LINE_HEIGHT - 4
        for span in spans(line):
            x = MARGIN + span.column * CELL_WIDTH
            kind = f' class="{span.kind}"' if span.kind else ""
            length = len(span.text) * CELL_WIDTH
            drawn.append(
                f'  <text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{kind}>'
                f"{escape(span.text)}</text>\n"
            )
    return "".join([*drawn, "</svg>\n"])


def run_demo() -> str:
    """Runs script/demo on a pseudo-terminal, shows its output and returns it.

    :raises SystemExit: when the demo fails.
    """
    seen = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        seen.extend(data)
        return data

    if pty.spawn([str(ROOT / "script" / "demo")], read):
        raise SystemExit("draw_demo: no picture drawn: script/demo failed, see its output above")
    return seen.decode("utf-8", "replace")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="docs/draw_demo.py", description=__doc__.split("\n")[0])
    parser.add_argument("--chapters", default="2-4", help="such as 2-4, the default")
    parser.add_argument("transcript", nargs="?", help="the demo's output; runs the demo if omitted")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[1-9]-[1-9]", options.chapters):
        parser.error("--chapters: expected two numbers such as 2-4")
    first, last = map(int, options.chapters.split("-"))
    if options.transcript == "-":
        transcript = sys.stdin.read()
    elif options.transcript:
        transcript = Path(options.transcript).read_text(encoding="utf-8")
    else:
        transcript = run_demo()
    PICTURE.write_text(picture(chapters(transcript, first, last)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
