"""Timestamps as they stand in Consul: ISO 8601, UTC, to the second; and lengths of time."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import datetime, timedelta, timezone

from delivery.errors import DeliveryError
from delivery.names import shown

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}  # by the first letter of a unit


def now(later_s: int = 0) -> str:
    """Returns the time, or that so many seconds later."""
    return (datetime.now(timezone.utc) + timedelta(seconds=later_s)).strftime(FORMAT)


def parsed(timestamp: str) -> datetime:
    """
    :raises ValueError: when it is not such a timestamp.
    """
    return datetime.strptime(timestamp, FORMAT).replace(tzinfo=timezone.utc)


def seconds_since(timestamp: str) -> float:
    """Returns the seconds that have passed since a timestamp; negative for one to come.

    :raises ValueError: when it is not such a timestamp.
    """
    return (datetime.now(timezone.utc) - parsed(timestamp)).total_seconds()


def seconds_in(duration: str) -> int:
    """Returns the seconds in `30 min`, `2h`, `3 days` or `2 weeks`.

    :raises DeliveryError: when it is none of these.
    """
    found = re.match(r"(\d{1,4}) ?([mhdw])", duration.lower())
    if not found:
        raise DeliveryError(f"{shown(duration)} is not a length of time; use 30 min, 2h or 3 days")
    return int(found[1]) * SECONDS[found[2]]


def lasted(since: str) -> str:
    """Returns the time since a timestamp, in its two largest units."""
    return lasting(max(0, int(seconds_since(since))))


def left(until: str) -> str:
    """Returns the time until a timestamp, in its two largest units."""
    return lasting(max(0, math.ceil(-seconds_since(until))))


def lasting(seconds: int) -> str:
    """Returns a length of time in its two largest units: `14 s`, `2 min 5 s`, `3 d`."""
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


def with_ages(text: str) -> str:
    """Returns a text with `since <timestamp>` told as `for 5 min`."""

    def told(found: re.Match[str]) -> str:
        with contextlib.suppress(ValueError):
            return f"for {lasted(found[1])}"
        return found[0]

    return re.sub(r"\bsince ([0-9TZ:-]{20})(?!\S)", told, text)
