"""Timestamps as they stand in Consul: ISO 8601, UTC, to the second."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timedelta, timezone

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def now(later_s: int = 0) -> str:
    """Returns the time, or that so many seconds later."""
    return (datetime.now(timezone.utc) + timedelta(seconds=later_s)).strftime(FORMAT)


def seconds_since(timestamp: str) -> float:
    """Returns the seconds that have passed since a timestamp; negative for one to come.

    :raises ValueError: when it is not such a timestamp.
    """
    then = datetime.strptime(timestamp, FORMAT).replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds()


def lasted(since: str) -> str:
    """Returns how long ago a timestamp was, exactly enough for people: `14 s`, `2 min 5 s`, `3 h`.

    :raises ValueError: when it is not such a timestamp.
    """
    return duration(max(0, int(seconds_since(since))))


def with_ages(text: str) -> str:
    """Returns a text with `since <timestamp>` told as `for 5 min`."""

    def told(found: re.Match[str]) -> str:
        with contextlib.suppress(ValueError):
            return f"for {lasted(found[1])}"
        return found[0]

    return re.sub(r"\bsince ([0-9TZ:-]{20})(?!\S)", told, text)


def duration(seconds: int) -> str:
    """Returns a length of time in its two largest units: `14 s`, `2 min 5 s`, `3 d 4 h`."""
    parts: list[str] = []
    for size, unit in UNITS:
        if seconds >= size and len(parts) < 2:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def ago(timestamp: str) -> str:
    """Returns the time since, in one unit: `5 min`, `2 d`."""
    return " ".join(lasted(timestamp).split()[:2])
