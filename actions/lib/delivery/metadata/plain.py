"""A file VERSION, whose first line that is not empty is the version."""

from __future__ import annotations

from typing import Any

from delivery.metadata.reader import Reader, text_of


def version(raw: bytes) -> dict[str, Any]:
    lines = (line.strip() for line in text_of(raw).split("\n"))
    return {"first line": next(filter(None, lines), None)}


READERS = (Reader("VERSION", version, {"version": ("first line",)}),)
