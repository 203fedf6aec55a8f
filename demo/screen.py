"""The demo's output: 80 columns, colours only on a terminal, no line ever redrawn."""

from __future__ import annotations

import os
import sys
from typing import Any, Sequence

from packengine.chat import wrapped

WIDTH = 80
INDENT = "   "
INSET_WIDTH = WIDTH - len(INDENT)
EVENT_INDENT = " " * 13  # below an event's text, right of its time
GREEN, RED, YELLOW, CYAN, GREY, BOLD = "32", "31", "33", "36", "90", "1"


def coloured(text: str, colour: str) -> str:
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return f"\033[{colour}m{text}\033[0m"
    return text


def say(text: str = "") -> None:
    print(text, flush=True)


def heading(number: int, text: str) -> None:
    """A chapter of the story."""
    title = f" {number}  {text} "
    say()
    say(coloured(f"──{title}{'─' * max(0, WIDTH - len(title) - 2)}", BOLD))


def explain(text: str) -> None:
    """Prints a sentence of explanation."""
    for line in wrapped(text, INSET_WIDTH, ""):
        say(coloured(INDENT + line, GREY))


def step(at_s: float, what: str, detail: str, seconds: float, succeeded: bool = True) -> None:
    """Prints a step of the pipeline: time, workflow, task and duration."""
    mark = coloured("✓", GREEN) if succeeded else coloured("✗", RED)
    say(f"   {at_s:6.1f} s  {what:<16}{detail:<34}{seconds:7.2f} s  {mark}")


def event(at_s: float, text: str) -> None:
    """Prints an event in the delivery's own words."""
    first, *rest = wrapped(text, WIDTH - len(EVENT_INDENT), "")
    say(f"   {at_s:6.1f} s  {coloured(first, CYAN)}")
    for line in rest:
        say(EVENT_INDENT + coloured(line, CYAN))


def chat(user: str, line: str) -> None:
    """Prints a line typed in chat."""
    say(f"   {coloured(user, YELLOW)}: {coloured(line, BOLD)}")


def check(text: str, true: bool) -> None:
    """Prints the outcome of a check."""
    mark, colour = ("✓", GREEN) if true else ("✗ FAILED:", RED)
    first, *rest = wrapped(f"{mark} {text}", INSET_WIDTH, "  ")
    say(INDENT + coloured(mark, colour) + first[len(mark) :])
    for line in rest:
        say(INDENT + line)


def remark(text: str) -> None:
    """Prints what there is to say about the check above."""
    for line in wrapped(f"  {text}", INSET_WIDTH):
        say(INDENT + line)


def table(rows: Sequence[Sequence[Any]], widths: Sequence[int]) -> None:
    """Rows of cells, the first one being the headings."""
    for number, row in enumerate(rows):
        line = "   " + "".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths)).rstrip()
        say(coloured(line, GREY) if number == 0 else line)
