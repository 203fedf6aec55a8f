"""How the engine's tests wait for what happens beside them."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], seconds: float = 30) -> Found:
    """Asks until the answer is true, and returns it; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s"
        time.sleep(0.02)
