"""How tests wait for what happens beside them."""

from __future__ import annotations

import time
from typing import Any, Callable, TypeVar

Found = TypeVar("Found")

PATIENCE_S = 120  # a busy machine takes a minute for what otherwise takes two seconds


def wait_for(
    condition: Callable[[], Found], seconds: float = PATIENCE_S, what: str = "it"
) -> Found:
    """Asks until the answer is true, and returns it; AssertionError after so many seconds.

    :param what: is waited for, in words; stands in the error.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


def wait_to_equal(ask: Callable[[], Any], wanted: Any, seconds: float = PATIENCE_S) -> None:
    """Asks until the answer is this one; AssertionError with what it was after so many seconds."""
    deadline = time.monotonic() + seconds
    while ask() != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ask() == wanted
