"""How tests wait for what happens beside them."""

from __future__ import annotations

import time


def wait_for(condition, seconds=30):
    """Asks until the answer is true, and returns it; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
