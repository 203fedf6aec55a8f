"""The README's picture of a run of the demo, and the script that draws it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "demo.svg"
SVG = "{http://www.w3.org/2000/svg}"

specification = importlib.util.spec_from_file_location("draw_demo", ROOT / "docs" / "draw_demo.py")
draw_demo = importlib.util.module_from_spec(specification)
specification.loader.exec_module(draw_demo)

TRANSCRIPT = (
    "sandbox: keys  0.11 s\r\n\r\n"
    "\x1b[1m── 1  First ──\x1b[0m\r\n   one\r\n\r\n"
    "\x1b[1m── 2  Second ──\x1b[0m\r\n   \x1b[33molga\x1b[0m: \x1b[1m<&>\x1b[0m    0.7 s\r\n\r\n"
)


def texts(svg):
    return [
        (node.get("class"), node.text) for node in ElementTree.fromstring(svg).iter(SVG + "text")
    ]


def test_the_chosen_chapters_are_drawn_without_what_surrounds_them():
    assert draw_demo.chapters(TRANSCRIPT, 1, 1) == ["\x1b[1m── 1  First ──\x1b[0m", "   one"]


def test_a_transcript_without_the_chapter_is_an_error_that_names_it():
    with pytest.raises(SystemExit, match="no chapter 4"):
        draw_demo.chapters(TRANSCRIPT, 4, 4)


def test_every_span_stands_in_its_column_with_its_colour():
    line = draw_demo.chapters(TRANSCRIPT, 2, 2)[1]
    assert list(draw_demo.spans(line)) == [
        (3, "yellow", "olga"),
        (7, "", ":"),
        (9, "bold", "<&>"),
        (16, "", "0.7 s"),
    ]


def test_the_drawing_is_an_image_with_the_text_in_it():
    svg = draw_demo.picture(draw_demo.chapters(TRANSCRIPT, 2, 2))
    assert ("bold", "<&>") in texts(svg)
    assert (None, "0.7 s") in texts(svg)


def test_the_picture_in_the_readme_shows_a_run_that_kept_every_promise():
    shown = " ".join(text for _, text in texts(PICTURE.read_text(encoding="utf-8")))
    assert re.search(r"[1-9][0-9]* requests(?: were)? sent, 0 failed", shown)
    assert "!deploy promote" in shown
    assert "✗" not in shown


def test_the_picture_in_the_readme_has_80_columns():
    root = ElementTree.fromstring(PICTURE.read_text(encoding="utf-8"))
    right = draw_demo.MARGIN + 80 * draw_demo.CELL_WIDTH
    spans = [node for node in root.iter(SVG + "text") if node.get("textLength")]
    assert spans
    assert all(float(node.get("x")) + float(node.get("textLength")) <= right + 1 for node in spans)
