"""How long things take on an idle machine of two cores, and what is said of a slower one."""

from __future__ import annotations

import os

# Seconds.
USUAL = {
    "world": 0.5,
    "keys": 0.5,
    "hosts": 1.0,
    "tokens": 3.0,
    "consul": 3.0,
    "services": 1.0,
    "repositories": 0.5,
    "push": 10.0,
    "promotion": 18.0,
}
SLOW = 3  # times the usual
NOTICEABLE_SECONDS = 5


def remark(what: str, seconds: float) -> str:
    """What to say of something that took so long: nothing, unless it was slow."""
    if seconds < max(NOTICEABLE_SECONDS, SLOW * USUAL[what]):
        return ""
    return f"usually {USUAL[what]:g} s; {load()}"


def load() -> str:
    """How much this machine does at once: `load 12.3 on 2 cores`."""
    cores = _cores()
    return f"load {os.getloadavg()[0]:.1f} on {cores} core{'s' if cores > 1 else ''}"


def patience(seconds: float) -> float:
    """How long to wait for what takes at most so long on an idle machine; at most eight times."""
    return seconds * min(8.0, max(1.0, os.getloadavg()[0] / _cores()))


def _cores() -> int:
    return len(os.sched_getaffinity(0))
