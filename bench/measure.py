"""Times, their medians, and how they are shown."""

from __future__ import annotations

import statistics
import time
from typing import Any, Callable, Sequence


class BenchError(Exception):
    """What was measured did not work, so there is no figure; one line."""


def seconds(work: Callable[[], Any]) -> float:
    """Returns how long it took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.02)


def row(what: str, taken: Sequence[float], *more: str) -> list[str]:
    """One row of a table: median, least and most of what was measured, in seconds."""
    return [
        what,
        f"{statistics.median(taken):.2f}",
        f"{min(taken):.2f}",
        f"{max(taken):.2f}",
        *more,
    ]


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; the first column is as wide as it needs, the others hold figures."""
    print(f"\n{title}\n")
    width = max(len(row[0]) for row in rows)
    for cells in ([*headings], *rows):
        print(f"  {cells[0]:<{width}}" + "".join(f"{cell:>12}" for cell in cells[1:]), flush=True)
