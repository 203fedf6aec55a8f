"""Timestamps as they stand in Consul: ISO 8601, UTC, to the second."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now(later_s: int = 0) -> str:
    """Returns the time, or that so many seconds later."""
    return (datetime.now(timezone.utc) + timedelta(seconds=later_s)).strftime(FORMAT)


def seconds_since(timestamp: str) -> float:
    """Returns the seconds that have passed since a timestamp; negative for one to come.

    :raises ValueError: when it is not such a timestamp.
    """
    then = datetime.strptime(timestamp, FORMAT).replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - then).total_seconds()
